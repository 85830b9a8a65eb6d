# SPDX-License-Identifier: Apache-2.0
"""Python packages that only some parts need: what to say where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed_by(part: str, *packages: str) -> Iterator[None]:
    """Around imports of packages that need not be installed.

    Args:
        part: what cannot be used without them, for the message.
        packages: names to import.

    Raises:
        ValueError: one of them is not installed; the message names it and the part.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise ValueError(
            f'{part}: expected the Python package {error.name}, found none; pip install {" ".join(packages)}'
        ) from error
