# SPDX-License-Identifier: Apache-2.0
"""All substitutions: texts that are known only while launching."""

from __future__ import annotations

import importlib
import math
import os
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import logging as launch_logging
from .frontend import expose_with_arguments
from .launch_context import LaunchContext
from .some_substitutions_type import SomeSubstitutionsType
from .substitution import Substitution, TextSubstitution
from .utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions
from .utilities.type_utils import is_substitution, perform_typed_substitution

__all__ = [
    'AllSubstitution',
    'AndSubstitution',
    'AnonName',
    'AnySubstitution',
    'Command',
    'EnvironmentVariable',
    'EqualsSubstitution',
    'FileContent',
    'FindExecutable',
    'IfElseSubstitution',
    'LaunchConfiguration',
    'LaunchLogDir',
    'LocalSubstitution',
    'NotEqualsSubstitution',
    'NotSubstitution',
    'OrSubstitution',
    'PathJoinSubstitution',
    'PythonExpression',
    'SubstitutionFailure',
    'TextSubstitution',
    'ThisLaunchFile',
    'ThisLaunchFileDir',
]


class SubstitutionFailure(RuntimeError):  # noqa: N818 (upstream's name)
    """A substitution has no text."""


def _describe(subs: Iterable[Substitution]) -> str:
    return ' + '.join(sub.describe() for sub in subs)


def _normalize_default(default: Any) -> list[Substitution]:
    """Return a default of any type as substitutions."""
    items = default if isinstance(default, Iterable) and not isinstance(default, str) else [default]
    return normalize_to_list_of_substitutions(
        [item if isinstance(item, str | Substitution) else str(item) for item in items]
    )


@expose_with_arguments('var', 'variable_name', 'default', required=1)
class LaunchConfiguration(Substitution):
    """The value of a launch configuration, such as a launch argument.

    Args:
        variable_name: name of the launch configuration.
        default: what to use where it is not set.
    """

    def __init__(self, variable_name: SomeSubstitutionsType, *, default: Any | None = None) -> None:
        super().__init__()
        self._variable_name = normalize_to_list_of_substitutions(variable_name)
        self._default = None if default is None else _normalize_default(default)

    @property
    def variable_name(self) -> list[Substitution]:
        """Name of the launch configuration."""
        return self._variable_name

    def describe(self) -> str:
        """Return a text for people."""
        return f'LaunchConfig({_describe(self._variable_name)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the value.

        Raises:
            SubstitutionFailure: if it is not set and has no default.
        """
        name = perform_substitutions(context, self._variable_name)
        if name in context.launch_configurations:
            return context.launch_configurations[name]
        if self._default is None:
            raise SubstitutionFailure(f"launch configuration '{name}' does not exist")
        return perform_substitutions(context, self._default)


@expose_with_arguments('env', 'name', 'default_value', required=1)
class EnvironmentVariable(Substitution):
    """The value of an environment variable of the launch.

    Args:
        name: of the variable.
        default_value: what to use where it is not set.
    """

    def __init__(self, name: SomeSubstitutionsType, *, default_value: SomeSubstitutionsType | None = None) -> None:
        super().__init__()
        self._name = normalize_to_list_of_substitutions(name)
        self._default_value = None if default_value is None else normalize_to_list_of_substitutions(default_value)

    @property
    def name(self) -> list[Substitution]:
        """Name of the variable."""
        return self._name

    @property
    def default_value(self) -> list[Substitution] | None:
        """What to use where it is not set."""
        return self._default_value

    def describe(self) -> str:
        """Return a text for people."""
        return f'EnvVar({_describe(self._name)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the value.

        Raises:
            SubstitutionFailure: if it is not set and has no default.
        """
        name = perform_substitutions(context, self._name)
        if name in context.environment:
            return context.environment[name]
        if self._default_value is None:
            raise SubstitutionFailure(f"environment variable '{name}' does not exist")
        return perform_substitutions(context, self._default_value)


class LocalSubstitution(Substitution):
    """An expression on the local variables of the launch context, as in `LocalSubstitution('event.returncode')`."""

    def __init__(self, expression: str, description: str | None = None) -> None:
        super().__init__()
        ensure_argument_type(expression, str, 'expression', 'LocalSubstitution')
        self._expression = expression
        self._description = description

    @property
    def expression(self) -> str:
        """The expression."""
        return self._expression

    @property
    def description(self) -> str | None:
        """What it stands for, for people."""
        return self._description

    def describe(self) -> str:
        """Return a text for people."""
        return f"LocalVar('{self._description or self._expression}')"

    def perform(self, context: LaunchContext) -> str:
        """Return the value of the expression."""
        return eval(f'context.locals.{self._expression}', {}, {'context': context})


class PathJoinSubstitution(Substitution):
    """A path of several parts."""

    def __init__(self, substitutions: Iterable[str | Substitution]) -> None:
        super().__init__()
        self._substitutions = normalize_to_list_of_substitutions(substitutions)

    @property
    def substitutions(self) -> list[Substitution]:
        """The parts."""
        return self._substitutions

    def describe(self) -> str:
        """Return a text for people."""
        return f"PathJoin('{_describe(self._substitutions)}')"

    def perform(self, context: LaunchContext) -> str:
        """Return the path."""
        return os.path.join(*(sub.perform(context) for sub in self._substitutions))  # noqa: PTH118 (keeps 'a/' and './b')


@expose_with_arguments('eval', 'expression', 'python_modules', required=1)
class PythonExpression(Substitution):
    """The value of a Python expression.

    Args:
        expression: its text; parts of it may be substitutions.
        python_modules: modules that it may name. The names in `math` need no module before them.
    """

    def __init__(self, expression: SomeSubstitutionsType, python_modules: SomeSubstitutionsType = ('math',)) -> None:
        super().__init__()
        self._expression = normalize_to_list_of_substitutions(expression)
        self._python_modules = normalize_to_list_of_substitutions(python_modules)

    @property
    def expression(self) -> list[Substitution]:
        """Parts of the expression."""
        return self._expression

    @property
    def python_modules(self) -> list[Substitution]:
        """Modules that it may name."""
        return self._python_modules

    def describe(self) -> str:
        """Return a text for people."""
        modules = ', '.join(module.describe() for module in self._python_modules)
        return f'PythonExpr({_describe(self._expression)}, [{modules}])'

    def perform(self, context: LaunchContext) -> str:
        """Return the value as a text."""
        names: dict[str, Any] = {}
        for module_name in self._python_modules:
            module = importlib.import_module(context.perform_substitution(module_name))
            names.update(vars(module) if module is math else {})
            names[module.__name__] = module
        return str(eval(perform_substitutions(context, self._expression), {}, names))


@expose_with_arguments('command', 'command', 'on_stderr', required=1)
class Command(Substitution):
    """The output of a command.

    Args:
        command: its line, split as a shell would.
        on_stderr: what to do when it writes to stderr: 'fail', 'ignore', 'warn' or 'capture' (as part of the output).
    """

    def __init__(self, command: SomeSubstitutionsType, *, on_stderr: SomeSubstitutionsType = 'fail') -> None:
        super().__init__()
        self._command = normalize_to_list_of_substitutions(command)
        self._on_stderr = normalize_to_list_of_substitutions(on_stderr)

    @property
    def command(self) -> list[Substitution]:
        """Line of the command."""
        return self._command

    @property
    def on_stderr(self) -> list[Substitution]:
        """What to do when it writes to stderr."""
        return self._on_stderr

    def describe(self) -> str:
        """Return a text for people."""
        return f'Command({_describe(self._command)})'

    def perform(self, context: LaunchContext) -> str:
        """Run the command and return its output.

        Raises:
            SubstitutionFailure: if the command is not found, fails, or writes to stderr under 'fail'.
        """
        line = perform_substitutions(context, self._command)
        on_stderr = perform_substitutions(context, self._on_stderr)
        if on_stderr not in ('fail', 'ignore', 'warn', 'capture'):
            raise SubstitutionFailure(f"on_stderr is '{on_stderr}', expected 'fail', 'ignore', 'warn' or 'capture'")
        try:
            result = subprocess.run(
                shlex.split(line),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if on_stderr == 'capture' else subprocess.PIPE,
                text=True,
                check=False,
            )
        except OSError as error:
            raise SubstitutionFailure(f'file not found: command cannot be run: {error}') from error
        if result.returncode != 0:
            output = f':\n{result.stderr}' if result.stderr else ''
            raise SubstitutionFailure(
                f'executed command failed. Command: {line}, exit code {result.returncode}{output}'
            )
        if result.stderr and on_stderr in ('fail', 'warn'):
            message = f'executed command showed stderr output. Command: {line}\n{result.stderr}'
            if on_stderr == 'fail':
                raise SubstitutionFailure(message)
            launch_logging.get_logger().warning(message)
        return result.stdout


@expose_with_arguments('find-exec', 'name')
class FindExecutable(Substitution):
    """The path of an executable on PATH."""

    def __init__(self, *, name: SomeSubstitutionsType) -> None:
        super().__init__()
        self._name = normalize_to_list_of_substitutions(name)

    @property
    def name(self) -> list[Substitution]:
        """Name of the executable."""
        return self._name

    def describe(self) -> str:
        """Return a text for people."""
        return f'FindExec({_describe(self._name)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the path.

        Raises:
            SubstitutionFailure: if there is no such executable.
        """
        name = perform_substitutions(context, self._name)
        path = shutil.which(name)
        if path is None:
            raise SubstitutionFailure(f"executable '{name}' not found on the PATH")
        return path


@expose_with_arguments('file-content', 'path')
class FileContent(Substitution):
    """The text in a file."""

    def __init__(self, path: SomeSubstitutionsType) -> None:
        super().__init__()
        self._path = normalize_to_list_of_substitutions(path)

    @property
    def path(self) -> list[Substitution]:
        """Path of the file."""
        return self._path

    def describe(self) -> str:
        """Return a text for people."""
        return f'FileContent({_describe(self._path)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the text.

        Raises:
            SubstitutionFailure: if there is no such file.
        """
        path = perform_substitutions(context, self._path)
        try:
            return Path(path).read_text(encoding='utf-8')
        except FileNotFoundError as error:
            raise SubstitutionFailure(f'File not found: {path}') from error


@expose_with_arguments('anon', 'name')
class AnonName(Substitution):
    """A name made unique; the same name gives the same result throughout a launch."""

    def __init__(self, name: SomeSubstitutionsType) -> None:
        super().__init__()
        self._name = normalize_to_list_of_substitutions(name)

    @property
    def name(self) -> list[Substitution]:
        """The name."""
        return self._name

    def describe(self) -> str:
        """Return a text for people."""
        return f'AnonName({_describe(self._name)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the unique name."""
        name = perform_substitutions(context, self._name)
        return context.launch_configurations.setdefault(f'anon{name}', self.compute_name(name))

    def compute_name(self, id_value: str) -> str:
        """Return a new unique name."""
        return re.sub(
            r'[-.:]', '_', f'{id_value}_{socket.gethostname()}_{os.getpid()}_{random.randint(0, sys.maxsize)}'
        )


@expose_with_arguments('launch_log_dir')
@expose_with_arguments('log_dir')
class LaunchLogDir(Substitution):
    """The log folder of this launch."""

    def describe(self) -> str:
        """Return a text for people."""
        return 'LaunchLogDir()'

    def perform(self, context: LaunchContext) -> str:
        """Return the path."""
        return launch_logging.launch_config.log_dir


@expose_with_arguments('filename')
class ThisLaunchFile(Substitution):
    """The path of the launch file being visited."""

    def describe(self) -> str:
        """Return a text for people."""
        return 'ThisLaunchFile()'

    def perform(self, context: LaunchContext) -> str:
        """Return the path.

        Raises:
            SubstitutionFailure: if no launch file is being visited.
        """
        if 'current_launch_file_path' not in context.get_locals_as_dict():
            raise SubstitutionFailure('ThisLaunchFile used outside of a launch file (in a script)')
        return context.locals.current_launch_file_path


@expose_with_arguments('dirname')
class ThisLaunchFileDir(Substitution):
    """The folder of the launch file being visited."""

    def describe(self) -> str:
        """Return a text for people."""
        return 'ThisLaunchFileDir()'

    def perform(self, context: LaunchContext) -> str:
        """Return the path.

        Raises:
            SubstitutionFailure: if no launch file is being visited.
        """
        if 'current_launch_file_directory' not in context.get_locals_as_dict():
            raise SubstitutionFailure('ThisLaunchFileDir used outside of a launch file (in a script)')
        return context.locals.current_launch_file_directory


def _perform_bool(context: LaunchContext, value: list[Substitution]) -> bool:
    try:
        return perform_typed_substitution(context, value, bool)
    except (TypeError, ValueError) as error:
        raise SubstitutionFailure(str(error)) from error


def _bool_text(value: bool) -> str:
    return 'true' if value else 'false'


@expose_with_arguments('not', 'value')
class NotSubstitution(Substitution):
    """'true' where the value is false, 'false' where it is true."""

    def __init__(self, value: SomeSubstitutionsType) -> None:
        super().__init__()
        self._value = normalize_to_list_of_substitutions(value)

    @property
    def value(self) -> list[Substitution]:
        """The value."""
        return self._value

    def describe(self) -> str:
        """Return a text for people."""
        return f'NotSubstitution({_describe(self._value)})'

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'.

        Raises:
            SubstitutionFailure: if the value is not a bool.
        """
        return _bool_text(not _perform_bool(context, self._value))


class _TwoValued(Substitution):
    def __init__(self, left: SomeSubstitutionsType, right: SomeSubstitutionsType) -> None:
        super().__init__()
        self._left = normalize_to_list_of_substitutions(left)
        self._right = normalize_to_list_of_substitutions(right)

    @property
    def left(self) -> list[Substitution]:
        """The first value."""
        return self._left

    @property
    def right(self) -> list[Substitution]:
        """The second value."""
        return self._right

    def describe(self) -> str:
        """Return a text for people."""
        return f'{type(self).__name__}({_describe(self._left)}, {_describe(self._right)})'


@expose_with_arguments('and', 'left', 'right')
class AndSubstitution(_TwoValued):
    """'true' where both values are true."""

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'.

        Raises:
            SubstitutionFailure: if a value is not a bool.
        """
        left, right = _perform_bool(context, self._left), _perform_bool(context, self._right)
        return _bool_text(left and right)


@expose_with_arguments('or', 'left', 'right')
class OrSubstitution(_TwoValued):
    """'true' where one of two values is true, or both are."""

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'.

        Raises:
            SubstitutionFailure: if a value is not a bool.
        """
        left, right = _perform_bool(context, self._left), _perform_bool(context, self._right)
        return _bool_text(left or right)


class _ManyValued(Substitution):
    def __init__(self, *args: SomeSubstitutionsType) -> None:
        super().__init__()
        self._args = [normalize_to_list_of_substitutions(arg) for arg in args]

    @property
    def args(self) -> list[list[Substitution]]:
        """The values."""
        return self._args

    def describe(self) -> str:
        """Return a text for people."""
        return f'{type(self).__name__}({", ".join(_describe(arg) for arg in self._args)})'

    def _perform_all(self, context: LaunchContext) -> list[bool]:
        return [_perform_bool(context, arg) for arg in self._args]


class AnySubstitution(_ManyValued):
    """'true' where at least one value is true."""

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'.

        Raises:
            SubstitutionFailure: if a value is not a bool.
        """
        return _bool_text(any(self._perform_all(context)))


class AllSubstitution(_ManyValued):
    """'true' where all values are true."""

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'.

        Raises:
            SubstitutionFailure: if a value is not a bool.
        """
        return _bool_text(all(self._perform_all(context)))


def _comparable(value: Any) -> SomeSubstitutionsType:
    if is_substitution(value):
        return value
    if value is None:
        return ''
    return _bool_text(value) if isinstance(value, bool) else str(value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _equal(left: str, right: str) -> bool:
    truth = {'true': True, '1': True, 'false': False, '0': False}
    if left.lower() in truth and right.lower() in truth:
        return truth[left.lower()] == truth[right.lower()]
    left_number, right_number = _number(left), _number(right)
    if left_number is not None and right_number is not None:
        return math.isclose(left_number, right_number)
    return left == right


@expose_with_arguments('equals', 'left', 'right')
class EqualsSubstitution(_TwoValued):
    """'true' where two values are equal: as bools ('1', 'true') or numbers ('2', '2.0') if both are, else as texts."""

    def __init__(self, left: Any, right: Any) -> None:
        super().__init__(_comparable(left), _comparable(right))

    def _holds(self, context: LaunchContext) -> bool:
        return _equal(perform_substitutions(context, self._left), perform_substitutions(context, self._right))

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'."""
        return _bool_text(self._holds(context))


@expose_with_arguments('not-equals', 'left', 'right')
class NotEqualsSubstitution(EqualsSubstitution):
    """'true' where `EqualsSubstitution` gives 'false'."""

    def perform(self, context: LaunchContext) -> str:
        """Return 'true' or 'false'."""
        return _bool_text(not self._holds(context))


@expose_with_arguments('if', 'condition', 'if_value', 'else_value', required=2)
class IfElseSubstitution(Substitution):
    """One of two texts.

    Args:
        condition: a bool.
        if_value: the text where it is true.
        else_value: the text where it is false.
    """

    def __init__(
        self,
        condition: SomeSubstitutionsType,
        if_value: SomeSubstitutionsType = '',
        else_value: SomeSubstitutionsType = '',
    ) -> None:
        super().__init__()
        if if_value == else_value == '':
            raise RuntimeError('IfElseSubstitution: one of if_value and else_value must be specified')
        self._condition = normalize_to_list_of_substitutions(condition)
        self._if_value = normalize_to_list_of_substitutions(if_value)
        self._else_value = normalize_to_list_of_substitutions(else_value)

    @property
    def condition(self) -> list[Substitution]:
        """The condition."""
        return self._condition

    @property
    def if_value(self) -> list[Substitution]:
        """The text where it is true."""
        return self._if_value

    @property
    def else_value(self) -> list[Substitution]:
        """The text where it is false."""
        return self._else_value

    def describe(self) -> str:
        """Return a text for people."""
        parts = (self._condition, self._if_value, self._else_value)
        return f'IfElseSubstitution({", ".join(_describe(part) for part in parts)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the text.

        Raises:
            SubstitutionFailure: if the condition is not a bool.
        """
        holds = _perform_bool(context, self._condition)
        return perform_substitutions(context, self._if_value if holds else self._else_value)
