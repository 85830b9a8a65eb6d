# SPDX-License-Identifier: Apache-2.0
"""A reader of text with substitutions in it: `$(name argument ...)`, nested, quoted and escaped with a backslash."""

from __future__ import annotations

import re

from ..substitution import Substitution, TextSubstitution
from . import instantiate_substitution

_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def _at(self, token: str) -> bool:
        return self._text.startswith(token, self._position)

    def _fail(self, expected: str) -> ValueError:
        line = self._text.count('\n', 0, self._position) + 1
        got = repr(self._text[self._position : self._position + 20]) if self._position < len(self._text) else 'the end'
        return ValueError(f'line {line}: expected {expected} in a substitution, got {got}')

    def template(self, until: str = '', stop: str = '') -> list[Substitution]:
        """Read text and substitutions up to the token `until`, or before any character of `stop`."""
        parts: list[Substitution] = []
        literal = ''
        while self._position < len(self._text):
            if (until and self._at(until)) or self._text[self._position] in stop:
                break
            if self._at('$('):
                if literal:
                    parts.append(TextSubstitution(text=literal))
                    literal = ''
                parts.append(self._substitution())
                continue
            if self._at('\\') and self._position + 1 < len(self._text) and self._text[self._position + 1] != '\n':
                self._position += 1
            literal += self._text[self._position]
            self._position += 1
        if literal:
            parts.append(TextSubstitution(text=literal))
        if until:
            if not self._at(until):
                raise self._fail(f'a closing {until}')
            self._position += len(until)
        return parts

    def _substitution(self) -> Substitution:
        self._position += len('$(')
        match = _NAME.match(self._text, self._position)
        if match is None:
            raise self._fail('a name')
        self._position = match.end()
        arguments = []
        while not self._at(')'):
            if not self._at(' '):
                raise self._fail("')' or a space")
            while self._at(' '):
                self._position += 1
            if not self._at(')'):
                arguments.append(self._argument())
        self._position += 1
        return instantiate_substitution(match.group(), arguments)

    def _argument(self) -> list[Substitution]:
        for quote in ('"', "'"):
            if self._at(quote):
                self._position += 1
                return self.template(until=quote) or [TextSubstitution(text='')]
        argument = self.template(stop=' ()\'"')
        if not argument:
            raise self._fail('an argument')
        return argument


def parse_substitution(string_value: str) -> list[Substitution]:
    r"""Return the substitutions in a text; a backslash makes the next character plain text.

    Raises:
        ValueError: if a substitution is not well formed.
        RuntimeError: if a substitution is not known.
    """
    return _Reader(string_value).template() or [TextSubstitution(text='')]
