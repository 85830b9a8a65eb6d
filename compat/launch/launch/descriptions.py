# SPDX-License-Identifier: Apache-2.0
"""The description of an executable: what to run, where, and with which environment."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from .action import Action
from .launch_context import LaunchContext
from .some_substitutions_type import SomeSubstitutionsType
from .substitution import Substitution
from .substitutions import LaunchConfiguration
from .utilities import normalize_to_list_of_substitutions, perform_substitutions

__all__ = ['Executable']

_numbers = itertools.count(1)
_Environment = list[tuple[list[Substitution], list[Substitution]]]


def _normalize_environment(
    variables: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None,
) -> _Environment | None:
    if variables is None:
        return None
    normalize = normalize_to_list_of_substitutions
    return [(normalize(name), normalize(value)) for name, value in variables.items()]


class Executable:
    """What is to be executed.

    Args:
        cmd: executable and arguments.
        prefix: a command to put before, such as a debugger; the launch configuration 'launch-prefix' where it is not
            given, for the executables that the regular expression in 'launch-prefix-filter' matches.
        name: what output lines are marked with, a number is added; the executable's base name where it is not given.
        cwd: folder to run in.
        env: all its environment variables; launch's own where it is not given.
        additional_env: variables to add.
        arguments: more arguments.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeSubstitutionsType],
        prefix: SomeSubstitutionsType | None = None,
        name: SomeSubstitutionsType | None = None,
        cwd: SomeSubstitutionsType | None = None,
        env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        additional_env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        arguments: Iterable[SomeSubstitutionsType] | None = None,
    ) -> None:
        arguments = None if arguments is None else list(arguments)
        self._cmd = [normalize_to_list_of_substitutions(part) for part in [*cmd, *(arguments or ())]]
        self._prefix_given = prefix is not None
        self._prefix = normalize_to_list_of_substitutions(
            LaunchConfiguration('launch-prefix', default='') if prefix is None else prefix
        )
        self._name = None if name is None else normalize_to_list_of_substitutions(name)
        self._cwd = None if cwd is None else normalize_to_list_of_substitutions(cwd)
        self._env = _normalize_environment(env)
        self._additional_env = _normalize_environment(additional_env)
        self._arguments = arguments
        self._final_cmd: list[str] | None = None
        self._final_name: str | None = None
        self._final_cwd: str | None = None
        self._final_env: dict[str, str] | None = None

    @property
    def cmd(self) -> list[list[Substitution]]:
        """Executable and arguments."""
        return self._cmd

    @property
    def prefix(self) -> list[Substitution]:
        """The command to put before."""
        return self._prefix

    @property
    def name(self) -> list[Substitution] | None:
        """What output lines are marked with."""
        return self._name

    @property
    def cwd(self) -> list[Substitution] | None:
        """Folder to run in."""
        return self._cwd

    @property
    def env(self) -> _Environment | None:
        """All its environment variables."""
        return self._env

    @property
    def additional_env(self) -> _Environment | None:
        """Variables to add."""
        return self._additional_env

    @property
    def arguments(self) -> list[SomeSubstitutionsType] | None:
        """More arguments."""
        return self._arguments

    @property
    def final_cmd(self) -> list[str] | None:
        """The command once prepared."""
        return self._final_cmd

    @property
    def final_name(self) -> str | None:
        """The name once prepared."""
        return self._final_name

    @property
    def final_cwd(self) -> str | None:
        """The folder once prepared."""
        return self._final_cwd

    @property
    def final_env(self) -> dict[str, str] | None:
        """The environment once prepared."""
        return self._final_env

    def prepare(self, context: LaunchContext, action: Action) -> None:
        """Perform all substitutions, for the action that is to execute this."""
        cmd = [perform_substitutions(context, part) for part in self._cmd]
        pattern = '' if self._prefix_given else context.launch_configurations.get('launch-prefix-filter', '')
        if re.match(pattern, Path(cmd[0]).name):
            cmd = [*shlex.split(perform_substitutions(context, self._prefix)), *cmd]
        self._final_cmd = cmd
        name = Path(cmd[0]).name if self._name is None else perform_substitutions(context, self._name)
        self._final_name = f'{name}-{next(_numbers)}'
        self._final_cwd = None if self._cwd is None else perform_substitutions(context, self._cwd)
        env = dict(context.environment) if self._env is None else {}
        for variable, value in [*(self._env or ()), *(self._additional_env or ())]:
            env[perform_substitutions(context, variable)] = perform_substitutions(context, value)
        self._final_env = env
