# SPDX-License-Identifier: Apache-2.0
"""The error that a command ends with: one line for the user, no traceback."""


class CommandError(Exception):
    """Something the user asked for cannot be done; ``str()`` of it is printed on stderr."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
