# SPDX-License-Identifier: Apache-2.0
"""Parameters as launch files give them to nodes: checking, evaluating and writing them as YAML."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from launch.substitutions import TextSubstitution
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from launch import LaunchContext, SomeSubstitutionsType, Substitution

from .parameter_descriptions import Parameter, ParameterFile, ParameterValue

SomeParameterValue = Any
SomeParameters = Sequence[Mapping | Parameter | ParameterFile | SomeSubstitutionsType | os.PathLike]
ParameterName = tuple[Substitution, ...]
EvaluatedParameterValue = bool | int | float | str | bytes | tuple
_SCALARS = (bool, int, float, str)
_STRING_HINT = (
    'If the parameter is meant to be a string, try wrapping it in '
    'launch_ros.parameter_descriptions.ParameterValue(value, value_type=str)'
)


@dataclass(frozen=True)
class _Text:
    """A value that is the text of substitutions, read as YAML."""

    substitutions: tuple[Substitution, ...]


@dataclass(frozen=True)
class _List:
    """A list of scalars and texts."""

    items: tuple[bool | int | float | str | _Text, ...]


def _normalize_sequence(value: Sequence) -> _Text | _List:
    """Return the normal form of a list; strings with a bare substitution among them are one text, not a list."""
    if any(isinstance(item, Substitution) for item in value) and all(
        isinstance(item, str | Substitution) for item in value
    ):
        return _Text(tuple(normalize_to_list_of_substitutions(value)))
    items = []
    for item in value:
        if isinstance(item, _SCALARS):
            items.append(item)
        elif isinstance(item, Iterable | Substitution):
            items.append(_Text(tuple(normalize_to_list_of_substitutions(item))))
        else:
            raise TypeError(f'expected a list of bool, int, float, str or substitutions, got {item!r} in {value!r}')
    if {type(item) for item in items} == {int, float}:
        items = [float(item) for item in items]
    return _List(tuple(items))


def normalize_parameter_dict(
    parameters: Mapping[SomeSubstitutionsType, SomeParameterValue], *, _prefix: Sequence[Substitution] = ()
) -> dict[ParameterName, Any]:
    """Return nested parameters with joined names, and their values in a form that `evaluate_parameter_dict()` takes.

    Raises:
        TypeError: if a name or value is of a type that parameters cannot have.
    """
    if not isinstance(parameters, Mapping):
        raise TypeError(f'expected a dict of parameters, got {parameters!r}')
    normal: dict[ParameterName, Any] = {}
    for given_name, value in parameters.items():
        name = [*_prefix, *normalize_to_list_of_substitutions(given_name)]
        if isinstance(value, Mapping):
            normal.update(normalize_parameter_dict(value, _prefix=[*name, TextSubstitution(text='.')]))
        elif isinstance(value, (ParameterValue, bytes, *_SCALARS)):
            normal[tuple(name)] = value
        elif isinstance(value, Substitution):
            normal[tuple(name)] = _Text((value,))
        elif isinstance(value, Sequence):
            normal[tuple(name)] = _normalize_sequence(value)
        else:
            raise TypeError(f'Unexpected type for parameter value {value!r}')
    return normal


def _read_text(context: LaunchContext, text: _Text, name: str) -> Any:
    written = perform_substitutions(context, text.substitutions)
    if not written:
        return ''
    try:
        return yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise TypeError(f"Unable to parse the value '{written}' of parameter {name} as yaml. {_STRING_HINT}") from error


def _uniform(items: Sequence, name: str) -> tuple:
    types = {type(item) for item in items}
    if len(types) != 1 or not types <= set(_SCALARS):
        raise TypeError(
            'Expected a non-empty sequence, with items of uniform type (bool, int, float or str). '
            f'Got {list(items)!r} for "{name}"'
        )
    return tuple(items)


def evaluate_parameter_dict(
    context: LaunchContext, parameters: Mapping[ParameterName, Any]
) -> dict[str, EvaluatedParameterValue]:
    """Return names and values of normalized parameters; substitutions are read as YAML.

    Raises:
        TypeError: if the text of a substitution does not denote a value that parameters can have.
    """
    evaluated: dict[str, EvaluatedParameterValue] = {}
    for parts, given in parameters.items():
        name = perform_substitutions(context, parts)
        value = given
        if isinstance(given, ParameterValue):
            value = given.evaluate(context)
        elif isinstance(given, _List):
            items = [_read_text(context, item, name) if isinstance(item, _Text) else item for item in given.items]
            value = _uniform(items, name)
        elif isinstance(given, _Text):
            value = _read_text(context, given, name)
            if isinstance(value, list):
                value = _uniform(value, name)
        if not isinstance(value, (*_SCALARS, bytes, tuple, list)):
            raise TypeError(
                f'Allowed value types are bytes, bool, int, float, str and sequences of bool, int, float or str. '
                f'Got {value!r} of type {type(value)} for "{name}". {_STRING_HINT}'
            )
        evaluated[name] = value
    return evaluated


def normalize_parameters(
    parameters: SomeParameters,
) -> tuple[dict[ParameterName, Any] | Parameter | ParameterFile, ...]:
    """Return parameters in normal form: dicts, `Parameter` and `ParameterFile`; what is neither is the path of a file.

    Raises:
        TypeError: if they are not given as a list, or anything in it cannot be parameters.
    """
    if isinstance(parameters, str) or not isinstance(parameters, Sequence):
        raise TypeError(f'Expecting list of parameters, got {parameters!r}')
    normal: list[dict[ParameterName, Any] | Parameter | ParameterFile] = []
    for item in parameters:
        if isinstance(item, Mapping):
            normal.append(normalize_parameter_dict(item))
        elif isinstance(item, Parameter | ParameterFile):
            normal.append(item)
        else:
            normal.append(ParameterFile(item))
    return tuple(normal)


def evaluate_parameters(
    context: LaunchContext, parameters: Iterable[Mapping | Parameter | ParameterFile]
) -> tuple[dict[str, EvaluatedParameterValue] | Parameter | Path, ...]:
    """Return normalized parameters with all substitutions performed; files become paths, `Parameter` stays."""
    evaluated: list[dict[str, EvaluatedParameterValue] | Parameter | Path] = []
    for item in parameters:
        if isinstance(item, ParameterFile):
            evaluated.append(item.evaluate(context))
        elif isinstance(item, Parameter):
            evaluated.append(item)
        else:
            evaluated.append(evaluate_parameter_dict(context, item))
    return tuple(evaluated)


class _Quoted(str):
    """A string that keeps its quotes in YAML, so that rcl reads '1e3' or 'on' as a string too."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', str(text), style='"')
)


def _quoted(value: EvaluatedParameterValue | list) -> Any:
    if isinstance(value, str):
        return _Quoted(value)
    return [_quoted(item) for item in value] if isinstance(value, tuple | list) else value


def _dump(data: Any, flow: bool) -> str:
    return yaml.dump(data, Dumper=_Dumper, default_flow_style=flow, allow_unicode=True, width=2**31, sort_keys=False)


def parameters_to_yaml(node: str, parameters: Mapping[str, EvaluatedParameterValue]) -> str:
    """Return the text of a parameter file for one node, given by its full name or a pattern such as '/**'."""
    values = {name: _quoted(value) for name, value in parameters.items()}
    return _dump({node: {'ros__parameters': values}}, flow=False)


def value_to_yaml(value: EvaluatedParameterValue) -> str:
    """Return a value as it stands in `-p name:=value`."""
    return _dump(_quoted(value), flow=True).removesuffix('...\n').rstrip('\n')
