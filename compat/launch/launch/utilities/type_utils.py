# SPDX-License-Identifier: Apache-2.0
"""Values that may be given as substitutions but must end up as bool, int, float, str or a uniform list of these."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Sequence
from typing import Any

import yaml

from ..launch_context import LaunchContext
from ..some_substitutions_type import SomeSubstitutionsType
from ..substitution import Substitution
from . import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions

ScalarTypesTuple = (int, float, bool, str)
ListTypesTuple = (typing.List[int], typing.List[float], typing.List[bool], typing.List[str])  # noqa: UP006 (upstream's)
AllowedTypesTuple = ScalarTypesTuple + ListTypesTuple
ScalarValueType = int | float | bool | str
SequenceValueType = Sequence[int] | Sequence[float] | Sequence[bool] | Sequence[str]
AllowedValueType = ScalarValueType | SequenceValueType
AllowedTypesType = Any
SomeValueType = SomeSubstitutionsType | ScalarValueType | Sequence[SomeSubstitutionsType | ScalarValueType]
NormalizedValueType = list[Substitution] | ScalarValueType | list[list[Substitution] | ScalarValueType]


def is_typing_list(data_type: Any) -> bool:
    """Tell whether a type is `List`, `List[...]` or `list[...]`."""
    return data_type is typing.List or typing.get_origin(data_type) is list  # noqa: UP006 (what users pass)


def is_valid_scalar_type(data_type: Any) -> bool:
    """Tell whether a type is int, float, bool or str."""
    return data_type in ScalarTypesTuple


def extract_type(data_type: Any) -> tuple[type, bool]:
    """Return the scalar type of a type, and whether the type is a list of it.

    Raises:
        ValueError: if it is neither a scalar type nor a list of one.
    """
    scalar, is_list = data_type, False
    if is_typing_list(data_type) and typing.get_args(data_type):
        scalar, is_list = typing.get_args(data_type)[0], True
    if not is_valid_scalar_type(scalar):
        raise ValueError(
            f'Unrecognized data type: {data_type}, expected int, float, bool, str or a List of one of these'
        )
    return scalar, is_list


def is_instance_of_valid_type(value: Any) -> bool:
    """Tell whether a value is a scalar or a list of scalars of one type."""
    if isinstance(value, list):
        return all(isinstance(item, ScalarTypesTuple) and isinstance(item, type(value[0])) for item in value)
    return isinstance(value, ScalarTypesTuple)


def is_instance_of(value: Any, data_type: AllowedTypesType | None = None) -> bool:
    """Tell whether a value is of a type, or of any valid type where none is given."""
    if data_type is None:
        return is_instance_of_valid_type(value)
    scalar, is_list = extract_type(data_type)
    if is_list:
        return isinstance(value, list) and all(isinstance(item, scalar) for item in value)
    return isinstance(value, scalar)


def _read_yaml(text: str, wanted: str) -> Any:
    if not text:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"Cannot convert '{text}' to {wanted}: not valid YAML: {error}") from error
    if not is_instance_of_valid_type(value):
        raise ValueError(f"Cannot convert '{text}' to {wanted}: YAML gives {value!r} of type {type(value).__name__}")
    return value


def coerce_to_type(value: str, data_type: AllowedTypesType | None = None) -> AllowedValueType:
    """Convert a text to a type, by the rules of YAML where no type is given.

    Raises:
        ValueError: if the text does not denote such a value, or the type is not valid.
        TypeError: if `value` is not a str.
    """
    ensure_argument_type(value, str, 'value', 'coerce_to_type')
    if data_type is None:
        return _read_yaml(value, 'a value')
    scalar, is_list = extract_type(data_type)
    if scalar is str and not is_list:
        return value
    if scalar in (int, float) and not is_list:
        try:
            return scalar(value)
        except ValueError:
            raise ValueError(f"Cannot convert '{value}' to {scalar.__name__}") from None
    wanted = f'a list of {scalar.__name__}' if is_list else scalar.__name__
    converted = _read_yaml(
        {'1': 'true', '0': 'false'}.get(value, value) if scalar is bool and not is_list else value, wanted
    )
    if not is_instance_of(converted, data_type):
        raise ValueError(f"Cannot convert '{value}' to {wanted}: got {converted!r}")
    return converted


def coerce_list(value: list[str], data_type: type | None = None) -> SequenceValueType:
    """Convert a list of texts to a list of values of one type.

    Raises:
        ValueError: if a text does not denote such a value, or the values are not of one type.
        TypeError: if `value` is not a list of str.
    """
    ensure_argument_type(value, list, 'value', 'coerce_list')
    converted = [coerce_to_type(item, data_type) for item in value]
    if not is_instance_of_valid_type(converted):
        raise ValueError(f'Cannot convert {value!r} to a uniform list: got {converted!r}')
    return converted


def get_typed_value(value: str | list[str], data_type: AllowedTypesType | None) -> AllowedValueType:
    """Convert a text or a list of texts to a type.

    Raises:
        ValueError: if that is not possible.
        TypeError: if a list is given for a scalar type.
    """
    if not isinstance(value, list):
        return coerce_to_type(value, data_type)
    if data_type is None:
        return coerce_list(value)
    scalar, is_list = extract_type(data_type)
    if not is_list:
        raise TypeError(f"Cannot convert the list {value!r} to '{scalar.__name__}'")
    return coerce_list(value, scalar)


def is_substitution(x: Any) -> bool:
    """Tell whether x is a substitution, or several strings and substitutions with at least one of the latter."""
    if isinstance(x, Substitution):
        return True
    if isinstance(x, str) or not isinstance(x, collections.abc.Sequence):
        return False
    return all(isinstance(item, Substitution | str) for item in x) and any(isinstance(item, Substitution) for item in x)


def is_normalized_substitution(x: Any) -> bool:
    """Tell whether x is a list of substitutions that is not empty."""
    return isinstance(x, list) and len(x) > 0 and all(isinstance(item, Substitution) for item in x)


def normalize_typed_substitution(value: SomeValueType, data_type: AllowedTypesType | None) -> NormalizedValueType:
    """Return a value, a substitution for it, or a list of both in its normal form.

    Several strings and substitutions (`['a', LaunchConfiguration('b')]`) are one substitution whose text is joined; for
    a list of values put each substitution into a list of its own (`['a', [LaunchConfiguration('b')]]`).

    Raises:
        TypeError: if the value cannot become an instance of `data_type`.
        ValueError: if `data_type` is not valid.
    """
    if isinstance(value, ScalarTypesTuple):
        if not is_instance_of(value, data_type):
            raise TypeError(f"value='{value}' is not an instance of {data_type}")
        return value
    if is_substitution(value):
        return normalize_to_list_of_substitutions(value)
    if not isinstance(value, collections.abc.Iterable):
        raise TypeError(
            f'value must be a scalar, a substitution or several of both, got {value!r} of type {type(value)}'
        )
    items = [normalize_to_list_of_substitutions(item) if is_substitution(item) else item for item in value]
    scalar: type | None = None
    if data_type is not None:
        scalar, is_list = extract_type(data_type)
        if not is_list:
            raise TypeError(f"value={value!r} is a list, expected '{scalar.__name__}'")
    plain = [item for item in items if not is_normalized_substitution(item)]
    types = {type(item) for item in plain}
    if not types <= set(ScalarTypesTuple):
        raise TypeError(f'value={value!r}: each item must be a scalar or a substitution')
    if types == {int, float} or (types == {int} and scalar is float):
        types = {float}
        items = [float(item) if type(item) is int else item for item in items]
    if len(types) > 1 or (scalar is not None and types and types != {scalar}):
        wanted = f"'{scalar.__name__}'" if scalar is not None else 'one type'
        raise TypeError(
            f'value={value!r}: expected a list of {wanted}, got {sorted(type_.__name__ for type_ in types)}'
        )
    return items


def perform_typed_substitution(
    context: LaunchContext, value: NormalizedValueType, data_type: AllowedTypesType | None
) -> AllowedValueType:
    """Return the value that a normal form (see `normalize_typed_substitution()`) has in a launch context.

    Raises:
        ValueError: if the text of a substitution does not denote such a value.
        TypeError: if `value` is not in normal form.
    """
    if isinstance(value, ScalarTypesTuple):
        if data_type is not None and not is_instance_of(value, data_type):
            raise TypeError(f"value='{value}' is not an instance of {data_type}")
        return value
    if is_normalized_substitution(value):
        return coerce_to_type(perform_substitutions(context, value), data_type)
    if not isinstance(value, list):
        raise TypeError(f'value={value!r} is neither a scalar, a list of substitutions nor a list of both')
    scalar: type | None = None
    if data_type is not None:
        scalar, is_list = extract_type(data_type)
        if not is_list:
            raise ValueError(f"value={value!r} is a list, expected '{scalar.__name__}'")
    performed = [
        coerce_to_type(perform_substitutions(context, item), scalar) if is_normalized_substitution(item) else item
        for item in value
    ]
    if not is_instance_of(performed, data_type):
        raise ValueError(f'value={value!r} gives {performed!r}, expected {data_type or "a uniform list"}')
    return performed
