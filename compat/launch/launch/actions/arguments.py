# SPDX-License-Identifier: Apache-2.0
"""Launch arguments and launch configurations: declaring, setting and scoping them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..action import Action
from ..launch_context import LaunchContext
from ..logging import get_logger
from ..some_substitutions_type import SomeSubstitutionsType
from ..substitution import Substitution
from ..utilities import normalize_to_list_of_substitutions, perform_substitutions


class DeclareLaunchArgument(Action):
    """Declares an argument of the launch file; its value is the launch configuration of the same name.

    Args:
        name: of the argument.
        default_value: its value where none is given; without it a value must be given.
        description: for people.
        choices: all values that it may have.
        kwargs: for `Action`.

    Raises:
        RuntimeError: if `choices` is empty or lacks the default value.
    """

    def __init__(
        self,
        name: str,
        *,
        default_value: SomeSubstitutionsType | None = None,
        description: str | None = None,
        choices: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if choices is not None and not choices:
            raise RuntimeError(f'launch argument "{name}": choices is empty, expected at least one or None')
        if choices is not None and isinstance(default_value, str) and default_value not in choices:
            raise RuntimeError(
                f'launch argument "{name}": default_value "{default_value}" is not in provided choices {choices}'
            )
        self._name = name
        self._default_value = None if default_value is None else normalize_to_list_of_substitutions(default_value)
        self._choices = choices
        self._description = self._describe_argument(description, choices)
        # Set by LaunchDescription.get_launch_arguments(), for those who list arguments.
        self._conditionally_included = False

    @staticmethod
    def _describe_argument(description: str | None, choices: list[str] | None) -> str:
        if description is None:
            return 'no description given' if choices is None else f'One of: {choices}'
        if choices is None:
            return description
        return f'{description}{"" if description.endswith(".") else "."} Valid choices are: {choices}'

    @property
    def name(self) -> str:
        """Name of the argument."""
        return self._name

    @property
    def default_value(self) -> list[Substitution] | None:
        """Its value where none is given."""
        return self._default_value

    @property
    def description(self) -> str:
        """What it is for, for people."""
        return self._description

    @property
    def choices(self) -> list[str] | None:
        """All values that it may have."""
        return self._choices

    def execute(self, context: LaunchContext) -> None:
        """Set the default value if there is no value, and check the value.

        Raises:
            RuntimeError: if there is neither value nor default, or the value is not among the choices.
        """
        configurations = context.launch_configurations
        if self._name not in configurations:
            if self._default_value is None:
                get_logger(__name__).error(
                    f'Required launch argument "{self._name}" (description: "{self._description}") was not provided'
                )
                raise RuntimeError(f'Required launch argument "{self._name}" was not provided.')
            configurations[self._name] = perform_substitutions(context, self._default_value)
        value = configurations[self._name]
        if self._choices is not None and value not in self._choices:
            raise RuntimeError(
                f'Argument "{self._name}" provided value "{value}" is not valid. Valid options are: {self._choices}'
            )


class SetLaunchConfiguration(Action):
    """Sets a launch configuration."""

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
        context.launch_configurations[name] = perform_substitutions(context, self._value)


class UnsetLaunchConfiguration(Action):
    """Removes a launch configuration, if it is set."""

    def __init__(self, name: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = normalize_to_list_of_substitutions(name)

    @property
    def name(self) -> list[Substitution]:
        """Its name."""
        return self._name

    def execute(self, context: LaunchContext) -> None:
        """Remove it."""
        context.launch_configurations.pop(perform_substitutions(context, self._name), None)


class PushLaunchConfigurations(Action):
    """Opens a scope: launch configurations set from here on last until `PopLaunchConfigurations`."""

    def execute(self, context: LaunchContext) -> None:
        """Open the scope."""
        context._push_launch_configurations()


class PopLaunchConfigurations(Action):
    """Closes the scope that `PushLaunchConfigurations` opened."""

    def execute(self, context: LaunchContext) -> None:
        """Close the scope."""
        context._pop_launch_configurations()


class ResetLaunchConfigurations(Action):
    """Removes all launch configurations but those given, whose values may refer to the removed ones."""

    def __init__(
        self,
        launch_configurations: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        normalize = normalize_to_list_of_substitutions
        kept = launch_configurations or {}
        self._kept = [(normalize(name), normalize(value)) for name, value in kept.items()]

    def execute(self, context: LaunchContext) -> None:
        """Remove them."""
        kept = {
            perform_substitutions(context, name): perform_substitutions(context, value) for name, value in self._kept
        }
        context.launch_configurations.clear()
        context.launch_configurations.update(kept)
