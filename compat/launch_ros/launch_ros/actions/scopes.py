# SPDX-License-Identifier: Apache-2.0
"""What holds for all nodes in a scope: namespace, parameters, remappings, log folder.

All of it lies in launch configurations, so that a scoped `GroupAction` ends it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch.logging import base_log_directory
from launch.substitutions import SubstitutionFailure
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from launch import Action, LaunchContext, SomeSubstitutionsType, Substitution

from ..names import check_namespace, make_namespace_absolute, prefix_namespace
from ..parameters import ParameterName, SomeParameterValue, evaluate_parameter_dict, normalize_parameter_dict


def _append(context: LaunchContext, configuration: str, items: list) -> None:
    # A new list each time: the outer scope still holds the old one.
    context.launch_configurations[configuration] = [*context.launch_configurations.get(configuration, ()), *items]


class PushROSNamespace(Action):
    """Puts nodes from here on into a namespace, below that of the scope unless it is absolute."""

    def __init__(self, namespace: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._namespace = normalize_to_list_of_substitutions(namespace)

    @property
    def namespace(self) -> list[Substitution]:
        """The namespace."""
        return self._namespace

    def execute(self, context: LaunchContext) -> None:
        """Set the namespace.

        Raises:
            SubstitutionFailure: if the resulting namespace is not valid.
        """
        pushed = perform_substitutions(context, self._namespace)
        previous = context.launch_configurations.get('ros_namespace')
        namespace = make_namespace_absolute(prefix_namespace(previous, pushed))
        try:
            check_namespace(namespace)
        except ValueError as error:
            parts = f"[previous_namespace='{previous}', pushed_namespace='{pushed}']"
            raise SubstitutionFailure(f'The resulting namespace is invalid: {parts}: {error}') from error
        context.launch_configurations['ros_namespace'] = namespace


class SetParameter(Action):
    """Sets a parameter of all nodes from here on."""

    def __init__(self, name: SomeSubstitutionsType, value: SomeParameterValue, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._parameters = normalize_parameter_dict({tuple(normalize_to_list_of_substitutions(name)): value})

    @property
    def name(self) -> ParameterName:
        """Its name."""
        return next(iter(self._parameters))

    @property
    def value(self) -> SomeParameterValue:
        """Its value."""
        return next(iter(self._parameters.values()))

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        _append(context, 'global_params', list(evaluate_parameter_dict(context, self._parameters).items()))


class SetParametersFromFile(Action):
    """Gives a parameter file to all nodes from here on."""

    def __init__(self, filename: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._filename = normalize_to_list_of_substitutions(filename)

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        _append(context, 'global_params', [perform_substitutions(context, self._filename)])


class SetRemap(Action):
    """Sets a remapping of all nodes from here on; it goes before their own."""

    def __init__(self, src: SomeSubstitutionsType, dst: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._src = normalize_to_list_of_substitutions(src)
        self._dst = normalize_to_list_of_substitutions(dst)

    @property
    def src(self) -> list[Substitution]:
        """The name that is remapped."""
        return self._src

    @property
    def dst(self) -> list[Substitution]:
        """The name that it gets."""
        return self._dst

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        rule = perform_substitutions(context, self._src), perform_substitutions(context, self._dst)
        _append(context, 'ros_remaps', [rule])


class SetROSLogDir(Action):
    """Sets the log folder of all nodes from here on; a relative one lies in that of the scope."""

    def __init__(self, new_log_dir: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._log_dir = normalize_to_list_of_substitutions(new_log_dir)

    @property
    def log_dir(self) -> list[Substitution]:
        """The log folder."""
        return self._log_dir

    def execute(self, context: LaunchContext) -> None:
        """Set it."""
        folder = base_log_directory() / Path(perform_substitutions(context, self._log_dir))
        context.environment['ROS_LOG_DIR'] = str(folder)
