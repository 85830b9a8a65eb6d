# SPDX-License-Identifier: Apache-2.0
"""The error for launch files that cannot be loaded."""

from __future__ import annotations

from collections.abc import Sequence


class InvalidLaunchFileError(Exception):
    """A launch file cannot be loaded.

    Args:
        extension: of the file, without its dot.
        likely_errors: what came up while loading it; the first becomes the cause.
        message: what to tell people; made from the errors where it is not given.
    """

    def __init__(
        self, extension: str = '', *, likely_errors: Sequence[Exception] | None = None, message: str | None = None
    ) -> None:
        if message is None and likely_errors:
            errors = ''.join(f'\n - {type(error).__name__}: {error}' for error in likely_errors)
            message = f'Caught exception when trying to load file of format [{extension}]:{errors}'
        super().__init__(message or 'The launch file may have a syntax error, or its format is unknown')
        if likely_errors:
            self.__cause__ = likely_errors[0]
