# SPDX-License-Identifier: Apache-2.0
"""The base of all substitutions, and the one that wraps a plain string."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .launch_context import LaunchContext


class Substitution:
    """A piece of text that is known only while launching."""

    def describe(self) -> str:
        """Return a text for people."""
        return repr(self)

    def perform(self, context: LaunchContext) -> str:
        """Return the text; derived classes say how.

        Raises:
            NotImplementedError: in this base class.
        """
        raise NotImplementedError(f'{type(self).__name__} does not define perform()')


class TextSubstitution(Substitution):
    """A plain string."""

    def __init__(self, *, text: str) -> None:
        super().__init__()
        if not isinstance(text, str):
            raise TypeError(f'TextSubstitution: text must be a str, got {text!r} of type {type(text).__name__}')
        self._text = text

    @property
    def text(self) -> str:
        """The string."""
        return self._text

    def describe(self) -> str:
        """Return the string in quotes."""
        return f"'{self._text}'"

    def perform(self, context: LaunchContext) -> str:
        """Return the string."""
        return self._text
