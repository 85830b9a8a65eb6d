# SPDX-License-Identifier: Apache-2.0
"""What text in files can name: substitutions, written `$(name argument ...)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..substitution import Substitution

SubstitutionClass = TypeVar('SubstitutionClass')
_parse_methods: dict[str, Callable[[Sequence[Any]], tuple[type[Substitution], dict[str, Any]]]] = {}


def expose_substitution(name: str) -> Callable[[SubstitutionClass], SubstitutionClass]:
    """Return a decorator that makes a substitution available as `$(name ...)`.

    It decorates a function that takes the arguments (each a list of substitutions) and returns a substitution's class
    and the keyword arguments for it, or a class with such a class method `parse()`.
    """

    def expose(substitution: SubstitutionClass) -> SubstitutionClass:
        _parse_methods[name] = getattr(substitution, 'parse', substitution)
        return substitution

    return expose


def expose_with_arguments(
    name: str, *arguments: str, required: int | None = None
) -> Callable[[SubstitutionClass], SubstitutionClass]:
    """Return a class decorator for a substitution whose constructor takes the arguments of `$(name ...)` in order.

    Args:
        name: in the text.
        arguments: keyword of the constructor for each argument.
        required: how many arguments there must be at least; all of them where it is not given.
    """
    least = len(arguments) if required is None else required

    def expose(substitution: SubstitutionClass) -> SubstitutionClass:
        def parse(cls: type, data: Sequence[Any]) -> tuple[type, dict[str, Any]]:
            if not least <= len(data) <= len(arguments):
                expected = f'{least}' if least == len(arguments) else f'{least} to {len(arguments)}'
                raise TypeError(f'substitution $({name} ...) expects {expected} arguments, got {len(data)}')
            return cls, dict(zip(arguments, data, strict=False))

        substitution.parse = classmethod(parse)
        return expose_substitution(name)(substitution)

    return expose


def instantiate_substitution(name: str, arguments: Sequence[list[Substitution]]) -> Substitution:
    """Return the substitution that `$(name argument ...)` stands for.

    Raises:
        RuntimeError: if no substitution has this name.
    """
    if name not in _parse_methods:
        raise RuntimeError(f"unknown substitution '$({name} ...)', known are: {', '.join(sorted(_parse_methods))}")
    substitution, keywords = _parse_methods[name](arguments)
    return substitution(**keywords)
