# SPDX-License-Identifier: Apache-2.0
"""Messages as text and back: interfaces by name, YAML and CSV of a message, a message filled from YAML."""

import array
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import yaml
from rosidl_parser.definition import (
    AbstractNestedType,
    AbstractString,
    AbstractWString,
    Array,
    BasicType,
    BoundedSequence,
    NamespacedType,
)

from ros2cli.errors import CommandError

Setter = Callable[[Any], None]
"""Takes a builtin_interfaces/Time and puts it where `auto` or `now` stood."""

_SEQUENCES = (list, tuple, array.array, np.ndarray)


def import_interface(name: str, kind: str) -> Any:
    """Class of an interface.

    Args:
        name: `package/Name` or `package/kind/Name`.
        kind: `msg` or `srv`.

    Raises:
        CommandError: it is no name of that kind, or no such interface is installed.
    """
    word = {'msg': 'message', 'srv': 'service'}[kind]
    invalid = f"The passed {word} type is invalid: '{name}'"
    parts = name.split('/')
    if len(parts) == 2:
        parts.insert(1, kind)
    if len(parts) != 3 or parts[1] != kind or not all(part.isidentifier() for part in parts):
        raise CommandError(f'{invalid}; expected package/{kind}/Name')
    package, _, interface = parts
    try:
        return getattr(importlib.import_module(f'{package}.{kind}'), interface)
    except ModuleNotFoundError as error:
        raise CommandError(f"{invalid}: no module named '{error.name}' in this environment") from None
    except AttributeError:
        raise CommandError(f"{invalid}: package '{package}' has no {word} '{interface}'") from None


@dataclass(frozen=True)
class TextStyle:
    """How much of a message is written.

    Attributes:
        truncate_length: longest array, string or bytes that is written in full; None for any length.
        no_arr: arrays are replaced by their type and length.
        no_str: strings are replaced by their length.
    """

    truncate_length: int | None = None
    no_arr: bool = False
    no_str: bool = False


def message_to_yaml(message: Any, style: TextStyle = TextStyle(), flow_style: bool = False) -> str:
    """YAML document of a message, fields in their order."""
    return yaml.dump(
        message_to_plain(message, style),
        allow_unicode=True,
        width=sys.maxsize,
        default_flow_style=flow_style,
        sort_keys=False,
    )


def message_to_plain(message: Any, style: TextStyle = TextStyle()) -> dict[str, Any]:
    """Message as nested dictionaries, lists, strings and numbers."""
    return {name: _plain(getattr(message, name), slot, style) for name, slot in _slots(message).items()}


def message_to_csv(message: Any, style: TextStyle = TextStyle()) -> str:
    """Values of all fields in one line, comma-separated, nested messages flattened."""
    return ','.join(_csv(getattr(message, name), slot, style) for name, slot in _slots(message).items())


def _slots(message: Any) -> dict[str, Any]:
    return dict(zip(message.get_fields_and_field_types(), message.SLOT_TYPES, strict=True))


def _plain(value: Any, slot: Any, style: TextStyle) -> Any:
    limit = style.truncate_length
    if isinstance(value, bytes):
        text = value.decode('latin-1')
        return text if limit is None or len(text) <= limit else text[:limit] + '...'
    if isinstance(value, str):
        if style.no_str:
            return f'<string length: <{len(value)}>>'
        return value if limit is None or len(value) <= limit else value[:limit] + '...'
    if isinstance(value, _SEQUENCES):
        if style.no_arr:
            return _array_summary(value, slot)
        return [_plain(item, None, style) for item in value[:limit]] + (['...'] if _is_cut(value, limit) else [])
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bool | int | float):
        return value
    return message_to_plain(value, style)


def _csv(value: Any, slot: Any, style: TextStyle) -> str:
    if isinstance(value, _SEQUENCES):
        if style.no_arr:
            return _array_summary(value, slot)
        limit = style.truncate_length
        items = [_csv(item, None, style) for item in value[:limit]]
        return ','.join(items + (['...'] if _is_cut(value, limit) else []))
    if hasattr(value, 'SLOT_TYPES'):
        return message_to_csv(value, style)
    return str(_plain(value, slot, style))


def _is_cut(value: Any, limit: int | None) -> bool:
    return limit is not None and len(value) > limit


def _array_summary(value: Any, slot: AbstractNestedType) -> str:
    element = slot.value_type
    if isinstance(element, NamespacedType):
        name = '/'.join(element.namespaced_name())
    elif isinstance(element, AbstractString | AbstractWString):
        name = 'string' if isinstance(element, AbstractString) else 'wstring'
    else:
        name = element.typename
    if isinstance(slot, Array):
        return f'<array type: {name}[{slot.size}]>'
    bound = f'[{slot.maximum_size}]' if isinstance(slot, BoundedSequence) else ''
    return f'<sequence type: {name}{bound}, length: {len(value)}>'


def message_from_yaml(message_type: Any, text: str) -> tuple[Any, list[Setter]]:
    """Fills a new message with what a YAML (or JSON) mapping says.

    `auto` for a std_msgs/Header and `now` for a builtin_interfaces/Time stand for the time of sending.

    Returns:
        The message, and one setter for each `auto` and `now` in it.

    Raises:
        CommandError: it is no mapping, or a field is unknown or given a value that does not fit; the field is named.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandError(f'The passed value is not YAML: {" ".join(str(error).split())}') from None
    if values is None:
        values = {}
    setters: list[Setter] = []
    return _fill(message_type, values, '', setters), setters


def _fill(message_type: Any, values: Any, path: str, setters: list[Setter]) -> Any:
    if not isinstance(values, dict):
        if not path:
            raise CommandError('The passed value needs to be a dictionary in YAML format')
        raise _misfit(path, values, 'a dictionary of fields')
    message = message_type(check_fields=True)
    slots = _slots(message)
    for name, value in values.items():
        field = f'{path}.{name}' if path else str(name)
        if name not in slots:
            raise CommandError(f"Failed to populate field: no field '{field}'; expected one of: {', '.join(slots)}")
        slot = slots[name]
        setter = partial(setattr, message, name)
        if value == 'now' and _is(slot, 'builtin_interfaces/msg/Time'):
            setters.append(setter)
        elif value == 'auto' and _is(slot, 'std_msgs/msg/Header'):
            setters.append(partial(setattr, getattr(message, name), 'stamp'))
        else:
            converted = _from_plain(slot, value, field, setters)
            try:
                setter(converted)
            except (AssertionError, OverflowError, TypeError, ValueError) as error:
                raise CommandError(f"Failed to populate field: '{field}': {error}") from None
    return message


def _is(slot: Any, name: str) -> bool:
    return isinstance(slot, NamespacedType) and '/'.join(slot.namespaced_name()) == name


def _from_plain(slot: Any, value: Any, field: str, setters: list[Setter]) -> Any:
    if isinstance(slot, AbstractNestedType):
        if not isinstance(value, list | bytes):
            raise _misfit(field, value, 'a list')
        if isinstance(slot, Array) and len(value) != slot.size:
            raise _misfit(field, value, f'{slot.size} values')
        if isinstance(slot, BoundedSequence) and len(value) > slot.maximum_size:
            raise _misfit(field, value, f'at most {slot.maximum_size} values')
        return [_from_plain(slot.value_type, item, f'{field}[{i}]', setters) for i, item in enumerate(value)]
    if isinstance(slot, NamespacedType):
        *package, name = slot.namespaced_name()
        return _fill(getattr(importlib.import_module('.'.join(package)), name), value, field, setters)
    if isinstance(slot, AbstractString | AbstractWString):
        if isinstance(value, dict | list):
            raise _misfit(field, value, 'a string')
        return str(value)
    assert isinstance(slot, BasicType)
    return _number(slot.typename, value, field)


def _number(typename: str, value: Any, field: str) -> bool | int | float | bytes:
    if typename == 'boolean':
        if value not in (True, False):
            raise _misfit(field, value, 'true or false')
        return bool(value)
    try:
        if typename in ('float', 'double', 'long double'):
            return float(value)
        if typename == 'octet':
            return value.encode('latin-1') if isinstance(value, str) else bytes([value])
        number = int(value)
    except (OverflowError, TypeError, ValueError):
        raise _misfit(field, value, typename) from None
    if number != value and not isinstance(value, str):
        raise _misfit(field, value, typename)
    return number


def _misfit(field: str, value: Any, expected: str) -> CommandError:
    return CommandError(f"Failed to populate field: '{field}' expects {expected}, got {value!r}")
