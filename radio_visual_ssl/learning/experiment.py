# SPDX-License-Identifier: Apache-2.0
"""Experiments as YAML: nested settings by name, each of which can be overridden."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from radio_visual_ssl.config_file import config_file, one_of, read_mapping

Settings = TypeVar('Settings')


class ExperimentError(ValueError):
    """An experiment that cannot be run; the message names file and field, what was expected and got."""


def read_experiment(name: str | Path) -> dict[str, Any]:
    """The settings of a YAML file, or of the shipped one of that name in config/learning/.

    Raises:
        ExperimentError: no such file, or one that is no mapping.
    """
    return read_mapping(config_file(name, 'learning', ExperimentError), ExperimentError)


def settings_of(kind: type[Settings], content: Mapping[str, Any], where: str = 'experiment') -> Settings:
    """Settings of a dataclass, whose fields may be dataclasses in turn, from nested mappings.

    Args:
        kind: dataclass, all of whose fields have defaults.
        content: values by name; fields that are left out keep their defaults.
        where: name for errors.

    Raises:
        ExperimentError: an unknown field, or a value that it cannot have; the message names it.
    """
    types = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in names:
            raise ExperimentError(f'{where}: {name}: {one_of(names, name)}')
        if is_dataclass(types[name]):
            if not isinstance(value, Mapping):
                raise ExperimentError(f'{where}: {name}: expected settings by name, got {value!r}')
            values[name] = settings_of(types[name], value, f'{where}: {name}')  # type: ignore[arg-type]
        else:
            given = _number(types[name], value)
            _check_type(types[name], given, f'{where}: {name}')
            values[name] = tuple(given) if isinstance(given, list) else given
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ExperimentError(f'{where}: {error}') from error


def _number(wanted: Any, value: Any) -> Any:
    """A whole number or a text like 4e-3, which YAML takes for one, as the float that a field wants."""
    kinds = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    if float not in kinds or isinstance(value, bool) or not isinstance(value, int | str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _check_type(wanted: Any, value: Any, where: str) -> None:
    """Refuse what no field of this type takes; a single value may stand for several of its kind.

    Raises:
        ExperimentError: the message names the field, what was expected and got.
    """
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            raise ExperimentError(f'{where}: expected one of {", ".join(map(str, get_args(wanted)))}, got {value!r}')
        return
    kinds = set(_single_kinds(wanted))
    several = get_origin(wanted) is tuple
    for each in _singles(value) if several else (value,):
        if not any(_is_of(kind, each) for kind in kinds):
            names = ' or '.join(sorted(kind.__name__ for kind in kinds))
            raise ExperimentError(f'{where}: expected {"several " if several else ""}{names}, got {value!r}')


def _single_kinds(wanted: Any) -> list[type]:
    """The types of single values in a type such as tuple[tuple[int, int], ...]."""
    if get_origin(wanted) in (tuple, Union, UnionType):
        return [kind for each in get_args(wanted) if each is not Ellipsis for kind in _single_kinds(each)]
    return [wanted]


def _singles(value: Any) -> list[Any]:
    """The single values in lists of lists."""
    return [single for each in value for single in _singles(each)] if isinstance(value, list | tuple) else [value]


def _is_of(kind: type, value: Any) -> bool:
    """Whether a value may stand for one of a type: whole numbers for numbers, but truth values for themselves alone."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)
