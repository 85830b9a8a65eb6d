# SPDX-License-Identifier: Apache-2.0
"""Single values of nested settings, replaced by name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import yaml

Settings = TypeVar('Settings', bound=Any)


def overridden(content: Mapping[str, Any], overrides: Sequence[str], option: str = '--set') -> dict[str, Any]:
    """Settings with single values replaced.

    Args:
        content: nested settings; they stay as they are.
        overrides: each ``name.of.field=value``, the value as YAML; numbers from 0 on name the entries of lists.
        option: that they were given by, for messages.

    Raises:
        ValueError: an override of another form, or a number beyond a list; the message tells which.
    """
    result = _copied(content)
    for text in overrides:
        path, separator, value = text.partition('=')
        names = path.strip().split('.')
        if not separator or not all(names):
            raise ValueError(f'{option}: expected name.of.field=value, got {text!r}')
        place: Any = result
        for name in names[:-1]:
            key = _key(place, name, f'{option} {text}')
            place = place[key] if isinstance(place, list) else place.setdefault(key, {})
            if not isinstance(place, dict | list):
                raise ValueError(f'{option} {text}: expected {name} to hold further settings, got {place!r}')
        try:
            place[_key(place, names[-1], f'{option} {text}')] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f'{option} {text}: expected a value in YAML, got {error}') from error
    return result


def changed(settings: Settings, overrides: Sequence[str], option: str, fixed: Collection[str] = ()) -> Settings:
    """A dataclass of plain values with some replaced.

    Args:
        settings: the dataclass; it stays as it is.
        overrides: each ``name=value``, the value as YAML.
        option: that they were given by, for messages.
        fixed: names that are not to be replaced.

    Raises:
        ValueError: another form, an unknown name, or a value of another type or that the dataclass refuses; the message
            tells which.
    """
    known = [field.name for field in fields(settings) if field.name not in fixed]
    values = overridden({}, overrides, option)
    for name, value in values.items():
        if name not in known:
            raise ValueError(f'{option} {name}: expected one of {", ".join(known)}')
        usual = getattr(settings, name)
        kind = (int, float) if isinstance(usual, float) else type(usual)
        if not isinstance(value, kind) or isinstance(value, bool) != isinstance(usual, bool):
            raise ValueError(f'{option} {name}: expected a value like {usual!r}, got {value!r}')
    return replace(settings, **values)


def with_overrides(where: str, overrides: Sequence[str], option: str = '--set') -> str:
    """Where settings come from, for messages: a file, and what was given by an option in its place."""
    given = ', '.join(f'{option} {text}' for text in overrides)
    return f'{where} with {given}' if given else where


def _key(place: Any, name: str, text: str) -> Any:
    if not isinstance(place, list):
        return name
    if not (name.isdecimal() and int(name) < len(place)):
        raise ValueError(f'{text}: expected a number below {len(place)}, the length of the list, got {name!r}')
    return int(name)


def _copied(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _copied(value) for name, value in content.items()}
    return [_copied(value) for value in content] if isinstance(content, list) else content
