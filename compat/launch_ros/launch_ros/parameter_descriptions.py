# SPDX-License-Identifier: Apache-2.0
"""Descriptions of parameters, parameter values of a given type, and parameter files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from launch.frontend.parse_substitution import parse_substitution
from launch.logging import launch_config
from launch.substitutions import SubstitutionFailure
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions
from launch.utilities.type_utils import (
    AllowedTypesType,
    AllowedValueType,
    NormalizedValueType,
    SomeValueType,
    normalize_typed_substitution,
    perform_typed_substitution,
)

from launch import LaunchContext, SomeSubstitutionsType, SomeSubstitutionsType_types_tuple, Substitution

__all__ = ['Parameter', 'ParameterFile', 'ParameterValue']


class ParameterValue:
    """The value of a parameter.

    Args:
        value: a value, a substitution, or a list of both.
        value_type: int, float, bool, str or a `List` of one of these; by the rules of YAML where it is not given.
    """

    def __init__(self, value: SomeValueType, *, value_type: AllowedTypesType | None = None) -> None:
        self._value = normalize_typed_substitution(value, value_type)
        self._value_type = value_type
        self._evaluated: AllowedValueType | None = None

    @property
    def value(self) -> NormalizedValueType:
        """The value, as far as it is known yet."""
        return self._value if self._evaluated is None else self._evaluated

    @property
    def value_type(self) -> AllowedTypesType | None:
        """Its type."""
        return self._value_type

    def __str__(self) -> str:
        return f'launch_ros.description.ParameterValue(value={self.value}, value_type={self.value_type})'

    def evaluate(self, context: LaunchContext) -> AllowedValueType:
        """Return the value.

        Raises:
            ValueError: if the text of a substitution does not denote a value of the type.
        """
        self._evaluated = perform_typed_substitution(context, self._value, self._value_type)
        return self._evaluated


class Parameter:
    """A parameter.

    Args:
        name: of the parameter; the parts of nested names stand between dots.
        value: see `ParameterValue`.
        value_type: see `ParameterValue`.
    """

    def __init__(
        self, name: SomeSubstitutionsType, value: SomeValueType, *, value_type: AllowedTypesType | None = None
    ) -> None:
        ensure_argument_type(name, SomeSubstitutionsType_types_tuple, 'name', 'Parameter')
        self._name: list[Substitution] | str = normalize_to_list_of_substitutions(name)
        self._value = ParameterValue(value, value_type=value_type)
        self._evaluated: tuple[str, AllowedValueType] | None = None

    @property
    def name(self) -> list[Substitution] | str:
        """Its name, as far as it is known yet."""
        return self._name if self._evaluated is None else self._evaluated[0]

    @property
    def value(self) -> NormalizedValueType:
        """Its value, as far as it is known yet."""
        return self._value.value

    @property
    def value_type(self) -> AllowedTypesType | None:
        """Type of its value."""
        return self._value.value_type

    def __str__(self) -> str:
        return f'launch_ros.description.Parameter(name={self.name}, value={self.value}, value_type={self.value_type})'

    def evaluate(self, context: LaunchContext) -> tuple[str, AllowedValueType]:
        """Return name and value.

        Raises:
            ValueError: if the text of a substitution does not denote a value of the type.
        """
        if self._evaluated is None:
            self._evaluated = perform_substitutions(context, self._name), self._value.evaluate(context)
        return self._evaluated


class ParameterFile:
    """A YAML file with parameters.

    Args:
        param_file: its path.
        allow_substs: perform substitutions such as `$(env HOME)` in its text, into a copy in the launch's log folder.
    """

    def __init__(
        self,
        param_file: str | os.PathLike | SomeSubstitutionsType,
        *,
        allow_substs: bool | SomeSubstitutionsType = False,
    ) -> None:
        types = (*SomeSubstitutionsType_types_tuple, os.PathLike, bytes)
        ensure_argument_type(param_file, types, 'param_file', 'ParameterFile')
        ensure_argument_type(allow_substs, bool, 'allow_substs', 'ParameterFile')
        self._param_file: Any = param_file
        if isinstance(param_file, SomeSubstitutionsType_types_tuple):
            self._param_file = normalize_to_list_of_substitutions(param_file)
        self._allow_substs = allow_substs
        self._evaluated: Path | None = None

    @property
    def param_file(self) -> Path | str | os.PathLike | list[Substitution]:
        """Its path, as far as it is known yet."""
        return self._param_file if self._evaluated is None else self._evaluated

    @property
    def allow_substs(self) -> bool:
        """Whether substitutions in its text are performed."""
        return self._allow_substs

    def __str__(self) -> str:
        return f'launch_ros.description.ParameterFile(param_file={self.param_file}, allow_substs={self.allow_substs})'

    def evaluate(self, context: LaunchContext) -> Path:
        """Return the path of the file, or of its copy with all substitutions performed.

        Raises:
            SubstitutionFailure: if a substitution fails or the result is not YAML.
        """
        if self._evaluated is not None:
            return self._evaluated
        path = self._param_file
        if isinstance(path, list):
            path = perform_substitutions(context, path)
        path = Path(os.fsdecode(path))
        self._evaluated = self._write_substituted(path, context) if self._allow_substs else path
        return self._evaluated

    @staticmethod
    def _write_substituted(path: Path, context: LaunchContext) -> Path:
        try:
            text = perform_substitutions(context, parse_substitution(path.read_text(encoding='utf-8')))
            yaml.safe_load(text)
        except (ValueError, SubstitutionFailure) as error:
            raise SubstitutionFailure(f"parameter file '{path}': {error}") from error
        except yaml.YAMLError as error:
            raise SubstitutionFailure(f"The substituted parameter file '{path}' is not valid YAML: {error}") from error
        return write_parameter_file(text)

    def cleanup(self) -> None:
        """Delete the copy with all substitutions performed, if there is one."""
        if self._allow_substs and self._evaluated is not None:
            self._evaluated.unlink(missing_ok=True)
            self._evaluated = None


def write_parameter_file(text: str) -> Path:
    """Return the path of a new file with this text, in the launch's log folder: it can be looked up later."""
    with tempfile.NamedTemporaryFile(
        mode='w', encoding='utf-8', dir=launch_config.log_dir, prefix='launch_params_', suffix='.yaml', delete=False
    ) as file:
        file.write(text)
    return Path(file.name)
