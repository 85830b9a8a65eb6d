# SPDX-License-Identifier: Apache-2.0
"""Environment variables: setting and scoping them."""

from __future__ import annotations

import os
from typing import Any

from ..action import Action
from ..launch_context import LaunchContext
from ..some_substitutions_type import SomeSubstitutionsType
from ..substitution import Substitution
from ..utilities import normalize_to_list_of_substitutions, perform_substitutions
from ..utilities.type_utils import NormalizedValueType, normalize_typed_substitution, perform_typed_substitution


class SetEnvironmentVariable(Action):
    """Sets an environment variable, for processes started from here on."""

    def __init__(self, name: SomeSubstitutionsType, value: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = normalize_to_list_of_substitutions(name)
        self._value = normalize_to_list_of_substitutions(value)

    @property
    def name(self) -> list[Substitution]:
        """Its name."""
        return self._name

    @property
    def value(self) -> list[Substitution]:
        """Its value."""
        return self._value

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        name = perform_substitutions(context, self._name)
        context.environment[name] = perform_substitutions(context, self._value)


class AppendEnvironmentVariable(Action):
    """Adds to an environment variable that is a list, such as PATH; sets it if it is not set.

    Args:
        name: of the variable.
        value: to add.
        prepend: add it before the others.
        separator: between the parts.
        kwargs: for `Action`.
    """

    def __init__(
        self,
        name: SomeSubstitutionsType,
        value: SomeSubstitutionsType,
        prepend: bool | SomeSubstitutionsType = False,
        separator: SomeSubstitutionsType = os.pathsep,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._name = normalize_to_list_of_substitutions(name)
        self._value = normalize_to_list_of_substitutions(value)
        self._prepend = normalize_typed_substitution(prepend, bool)
        self._separator = normalize_to_list_of_substitutions(separator)

    @property
    def name(self) -> list[Substitution]:
        """Its name."""
        return self._name

    @property
    def value(self) -> list[Substitution]:
        """What is added."""
        return self._value

    @property
    def prepend(self) -> NormalizedValueType:
        """Whether it is added before the others."""
        return self._prepend

    @property
    def separator(self) -> list[Substitution]:
        """What stands between the parts."""
        return self._separator

    def execute(self, context: LaunchContext) -> None:
        """Add to it."""
        name = perform_substitutions(context, self._name)
        value = perform_substitutions(context, self._value)
        if name in context.environment:
            parts = [context.environment[name], value]
            if perform_typed_substitution(context, self._prepend, bool):
                parts.reverse()
            value = perform_substitutions(context, self._separator).join(parts)
        context.environment[name] = value


class UnsetEnvironmentVariable(Action):
    """Removes an environment variable, if it is set."""

    def __init__(self, name: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = normalize_to_list_of_substitutions(name)

    @property
    def name(self) -> list[Substitution]:
        """Its name."""
        return self._name

    def execute(self, context: LaunchContext) -> None:
        """Remove it."""
        context.environment.pop(perform_substitutions(context, self._name), None)


class PushEnvironment(Action):
    """Opens a scope: changes of the environment from here on last until `PopEnvironment`."""

    def execute(self, context: LaunchContext) -> None:
        """Open the scope."""
        context._push_environment()


class PopEnvironment(Action):
    """Closes the scope that `PushEnvironment` opened."""

    def execute(self, context: LaunchContext) -> None:
        """Close the scope."""
        context._pop_environment()


class ResetEnvironment(Action):
    """Sets the environment back to what it was when the launch began."""

    def execute(self, context: LaunchContext) -> None:
        """Set it back."""
        context._reset_environment()
