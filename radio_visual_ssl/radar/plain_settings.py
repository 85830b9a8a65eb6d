# SPDX-License-Identifier: Apache-2.0
"""Settings of localizers: dataclasses of plain fields, checked by type and bounds and read from YAML files."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from radio_visual_ssl.config_file import config_file, one_of, read_mapping

Bounds = Mapping[str, tuple[float | None, float | None]]
"""(minimum, maximum) of the number fields, of each element where a field has several; None = unbounded."""

Settings = TypeVar('Settings')


def check_fields(settings: Any, bounds: Bounds) -> None:
    """Check types and bounds of a frozen dataclass; lists become tuples and integers numbers where those are meant.

    Raises:
        ValueError: a value of another type or out of bounds; the message names the field, what was expected and got.
    """
    hints = get_type_hints(type(settings))
    for field in fields(settings):
        value = _checked(field.name, getattr(settings, field.name), hints[field.name], bounds)
        object.__setattr__(settings, field.name, value)


def load_settings(settings: type[Settings], name_or_path: str | Path, folder: str) -> Settings:
    """Settings from a YAML file, a mapping of fields; those that it does not name keep their defaults.

    Args:
        settings: the dataclass.
        name_or_path: a name such as 'static' for config/<folder>/static.yaml, or the path of a file.
        folder: in config/.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a mapping, an unknown field or a value out of range; the message names file and field.
    """
    path = config_file(name_or_path, folder)
    content = read_mapping(path)
    known = list(get_type_hints(settings))
    for key in content:
        if key not in known:
            raise ValueError(f'{path}: {one_of(known, key)}')
    try:
        return settings(**content)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _checked(name: str, value: Any, hint: Any, bounds: Bounds) -> Any:
    """The value in the type of its field.

    Raises:
        ValueError: another type or out of bounds.
    """
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f'{name}: expected one of {", ".join(get_args(hint))}, got {value!r}')
        return value
    if hint is str:
        if not isinstance(value, str):
            raise ValueError(f'{name}: expected a text, got {value!r}')
        return value
    if get_origin(hint) is tuple:
        elements = get_args(hint)
        if not isinstance(value, list | tuple) or len(value) != len(elements):
            raise ValueError(f'{name}: expected {len(elements)} numbers, got {value!r}')
        return tuple(_checked(name, element, kind, bounds) for element, kind in zip(value, elements, strict=True))
    kind = 'a whole number' if hint is int else 'a number'
    low, high = bounds[name]
    if low is not None and high is not None:
        kind += f' from {low:g} to {high:g}'
    elif low is not None:
        kind += f' from {low:g} on'
    if isinstance(value, str) and hint is float:
        # YAML 1.1 takes 1e-6 for a text: it wants 1.0e-6
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f'{name}: expected {kind}, got {value!r}') from None
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    number = whole or (hint is float and isinstance(value, float | np.floating) and np.isfinite(value))
    if not number or (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f'{name}: expected {kind}, got {value!r}')
    return hint(value)
