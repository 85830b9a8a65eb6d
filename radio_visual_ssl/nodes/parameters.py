# SPDX-License-Identifier: Apache-2.0
"""Node parameters as a table: type, range, choices and description, checked with clear words."""

import dataclasses
import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

Value: TypeAlias = Any
"""What a parameter holds: bool, int, float, str, or a list of one of these."""

_LARGEST_FLOAT = 1.7976931348623157e308
_LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a node.

    Attributes:
        name: of the parameter; dots make groups.
        default: its type is the parameter's; a list holds at least one element. Numbers are finite; where the default
            is NaN, that stands for none.
        description: one sentence, with the unit.
        minimum, maximum: inclusive bounds of a number (of each element of a list); None = unbounded.
        choices: the allowed values of a string; empty = any.
        static: takes effect at the configure transition, so a change is refused while the node is configured.
        read_only: takes effect at the start of the process only.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    static: bool = False
    read_only: bool = False

    @property
    def element(self) -> type:
        """Type of the value, or of the elements of a list."""
        return type(self.default[0]) if isinstance(self.default, list) else type(self.default)

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return f'one of {", ".join(map(repr, self.choices))}'
        kind = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a text'}[self.element]
        if isinstance(self.default, list):
            kind = f'a list of {len(self.default)}, each {kind}' if self.element is not str else 'a list of texts'
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            return f'{kind} from {low:g} to {high:g}'
        if low is not None:
            return f'{kind} of at least {low:g}'
        if high is not None:
            return f'{kind} of at most {high:g}'
        return kind

    def read(self, value: Any) -> Value:
        """The value in the parameter's own type; an integer stands for a number too.

        Raises:
            ValueError: another type, not finite, out of range or not among the choices, with expected and got.
        """
        wrong = ValueError(f"parameter '{self.name}': expected {self.expected}, got {value!r}")
        if not isinstance(self.default, list):
            return self._read_element(value, wrong)
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise wrong
        elements = [self._read_element(element, wrong) for element in value]
        if not elements or (self.element is not str and len(elements) != len(self.default)):
            raise wrong
        return elements

    def _read_element(self, value: Any, wrong: ValueError) -> Any:
        if self.element is float and type(value) is int:
            value = float(value)
        if type(value) is not self.element or (self.choices and value not in self.choices):
            raise wrong
        number: Any = value
        if isinstance(self.default, float) and math.isnan(self.default) and math.isnan(number):
            return value
        if self.element is float and not math.isfinite(number):
            raise wrong
        below = self.minimum is not None and not number >= self.minimum
        if below or (self.maximum is not None and not number <= self.maximum):
            raise wrong
        return value

    def descriptor(self) -> ParameterDescriptor:
        """What ``ros2 param describe`` shows."""
        descriptor = ParameterDescriptor(description=self.description, read_only=self.read_only)
        notes = [f'one of: {", ".join(self.choices)}'] if self.choices else []
        if self.static:
            notes.append('changes only while the node is unconfigured')
        descriptor.additional_constraints = '; '.join(notes)
        if self.minimum is not None or self.maximum is not None:
            if self.element is float:
                low = -_LARGEST_FLOAT if self.minimum is None else float(self.minimum)
                high = _LARGEST_FLOAT if self.maximum is None else float(self.maximum)
                descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
            else:
                low_integer = -_LARGEST_INTEGER if self.minimum is None else int(self.minimum)
                high_integer = _LARGEST_INTEGER if self.maximum is None else int(self.maximum)
                descriptor.integer_range = [IntegerRange(from_value=low_integer, to_value=high_integer, step=1)]
        return descriptor


def similar_names(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'a' or 'b'?``, or the empty text where nothing is near."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    last = name.rsplit('.', 1)[-1]
    near += [other for other in known if other.rsplit('.', 1)[-1] == last and other not in near]
    return f'; did you mean {" or ".join(map(repr, near[:3]))}?' if near else ''


def specs_from_settings(
    settings: Any, prefix: str, bounds: Mapping[str, tuple[float | None, float | None]] | None = None
) -> list[ParameterSpec]:
    """One parameter for each field of a settings dataclass: default, choices (Literal) and description (docstring).

    An optional number is NaN where it is None, an optional text is empty.

    Args:
        settings: an instance that holds the defaults.
        prefix: before each name, with its dot.
        bounds: (minimum, maximum) by field name.
    """
    cls = type(settings)
    hints = typing.get_type_hints(cls)
    texts = attribute_descriptions(cls)
    specs = []
    for field in dataclasses.fields(settings):
        hint = _without_none(hints[field.name])
        minimum, maximum = (bounds or {}).get(field.name, (None, None))
        specs.append(
            ParameterSpec(
                prefix + field.name,
                to_parameter(getattr(settings, field.name), hint),
                texts.get(field.name, ''),
                minimum,
                maximum,
                choices=typing.get_args(hint) if typing.get_origin(hint) is Literal else (),
            )
        )
    return specs


def settings_from_parameters(cls: type, prefix: str, values: Mapping[str, Value]) -> Any:
    """The settings dataclass that a node's parameters describe.

    Raises:
        ValueError: the dataclass refuses the values; the message names the parameter.
    """
    hints = typing.get_type_hints(cls)
    arguments = {
        field.name: _from_parameter(values[prefix + field.name], hints[field.name]) for field in dataclasses.fields(cls)
    }
    try:
        return cls(**arguments)
    except ValueError as error:
        raise ValueError(name_parameter(prefix, str(error), arguments)) from error


def name_parameter(prefix: str, text: str, fields: Iterable[str]) -> str:
    """A settings error, whose text begins with the field's name, as an error of the node's parameter."""
    field, _, rest = text.partition(': ')
    return f"parameter '{prefix}{field}': {rest}" if field in set(fields) else f"parameters '{prefix}*': {text}"


def to_parameter(value: Any, hint: Any = None) -> Value:
    """A settings value as a parameter value: tuples become lists, None becomes NaN or the empty text."""
    if value is None:
        return '' if hint is str else math.nan
    if isinstance(value, tuple):
        return list(value)
    return value.value if hasattr(value, 'value') else value


def attribute_descriptions(cls: type) -> dict[str, str]:
    """Descriptions of a class's attributes, from the ``Attributes:`` part of its docstring."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        _, _, section = (inspect.getdoc(owner) or '').partition('Attributes:\n')
        section = re.split(r'\n(?=\S)', section)[0]
        for entry in re.findall(r'^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)', section, flags=re.MULTILINE):
            for name in entry[0].split(','):
                found[name.strip()] = ' '.join(entry[1].split())
    return found


def _without_none(hint: Any) -> Any:
    """X of ``X | None``."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(argument for argument in typing.get_args(hint) if argument is not type(None))
    return hint


def _from_parameter(value: Value, hint: Any) -> Any:
    optional = type(None) in typing.get_args(hint)
    hint = _without_none(hint)
    if optional and (value == '' or (isinstance(value, float) and math.isnan(value))):
        return None
    if hint is int and isinstance(value, float):
        return int(value)
    return tuple(value) if isinstance(value, list) else value
