# SPDX-License-Identifier: Apache-2.0
"""Running a ROS node."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from launch.actions import ExecuteProcess
from launch.logging import get_logger
from launch.utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions

from launch import LaunchContext, SomeSubstitutionsType

from ..names import check_namespace, check_node_name, make_namespace_absolute, prefix_namespace
from ..parameter_descriptions import Parameter, write_parameter_file
from ..parameters import SomeParameters, evaluate_parameters, normalize_parameters, parameters_to_yaml, value_to_yaml
from ..remappings import SomeRemapRules, normalize_remap_rules
from ..substitutions import ExecutableInPackage


class Node(ExecuteProcess):
    """Runs a ROS node.

    Args:
        executable: name of an executable of the package, or without a package its path.
        package: name of the package.
        name: of the node; its own where it is not given.
        namespace: of the node, below the scope's unless it is absolute.
        exec_name: what output lines are marked with; the base name of the executable where it is not given.
        parameters: a list of dicts (nested ones too), paths of YAML files, `ParameterFile` and `Parameter`; later ones
            override earlier ones. Strings in dicts stay strings, substitutions are read as YAML.
        remappings: tuples (from, to).
        ros_arguments: arguments after --ros-args.
        arguments: other arguments.
        kwargs: for `launch.actions.ExecuteProcess`.
    """

    UNSPECIFIED_NODE_NAME = '<node_name_unspecified>'
    UNSPECIFIED_NODE_NAMESPACE = '<node_namespace_unspecified>'

    def __init__(
        self,
        *,
        executable: SomeSubstitutionsType,
        package: SomeSubstitutionsType | None = None,
        name: SomeSubstitutionsType | None = None,
        namespace: SomeSubstitutionsType | None = None,
        exec_name: SomeSubstitutionsType | None = None,
        parameters: SomeParameters | None = None,
        remappings: SomeRemapRules | None = None,
        ros_arguments: Iterable[SomeSubstitutionsType] | None = None,
        arguments: Iterable[SomeSubstitutionsType] | None = None,
        **kwargs: Any,
    ) -> None:
        if parameters is not None:
            ensure_argument_type(parameters, list, 'parameters', 'Node')
        program = executable if package is None else ExecutableInPackage(package=package, executable=executable)
        cmd = [program, *(arguments or ())]
        if ros_arguments is not None:
            cmd += ['--ros-args', *ros_arguments]
        super().__init__(cmd=[*cmd, '--ros-args'], name=exec_name, **kwargs)
        self._package = package
        self._node_executable = executable
        self._node_name = None if name is None else normalize_to_list_of_substitutions(name)
        self._node_namespace = None if namespace is None else normalize_to_list_of_substitutions(namespace)
        self._parameters = normalize_parameters(parameters or [])
        self._remappings = normalize_remap_rules(remappings or [])
        self._expanded_node_name = self.UNSPECIFIED_NODE_NAME
        self._expanded_node_namespace = self.UNSPECIFIED_NODE_NAMESPACE
        self._expanded_remappings: list[tuple[str, str]] | None = None
        self._final_node_name: str | None = None

    @property
    def node_package(self) -> SomeSubstitutionsType | None:
        """Name of the package."""
        return self._package

    @property
    def node_executable(self) -> SomeSubstitutionsType:
        """Name or path of the executable."""
        return self._node_executable

    @property
    def node_name(self) -> str:
        """Full name of the node, with placeholders for what is not given.

        Raises:
            RuntimeError: before the action is executed.
        """
        if self._final_node_name is None:
            raise RuntimeError("cannot access 'node_name' before executing action")
        return self._final_node_name

    @property
    def expanded_node_namespace(self) -> str:
        """Namespace of the node, once the action is executed."""
        return self._expanded_node_namespace

    @property
    def expanded_remapping_rules(self) -> list[tuple[str, str]] | None:
        """Remappings of the node, once the action is executed."""
        return self._expanded_remappings

    def is_node_name_fully_specified(self) -> bool:
        """Tell whether both name and namespace are given."""
        return not any(
            placeholder in self.node_name
            for placeholder in (self.UNSPECIFIED_NODE_NAME, self.UNSPECIFIED_NODE_NAMESPACE)
        )

    def _perform_substitutions(self, context: LaunchContext) -> None:
        """Find out name, namespace, parameters and remappings, and add them to the command."""
        if self._final_node_name is not None:
            return  # A derived class has already asked for it.
        ros_arguments = [*self._name_arguments(context)]
        ros_arguments += self._parameter_arguments(context)
        ros_arguments += self._remapping_arguments(context)
        self.cmd.extend(normalize_to_list_of_substitutions(argument) for argument in ros_arguments)

    def _name_arguments(self, context: LaunchContext) -> list[str]:
        arguments = []
        if self._node_name is not None:
            self._expanded_node_name = perform_substitutions(context, self._node_name)
            check_node_name(self._expanded_node_name)
            arguments += ['-r', f'__node:={self._expanded_node_name}']
        own = None if self._node_namespace is None else perform_substitutions(context, self._node_namespace)
        scope = context.launch_configurations.get('ros_namespace')
        namespace = make_namespace_absolute(prefix_namespace(scope, own))
        if namespace is not None:
            check_namespace(namespace)
            self._expanded_node_namespace = namespace
            arguments += ['-r', f'__ns:={namespace}']
        self._final_node_name = prefix_namespace(self._expanded_node_namespace, self._expanded_node_name)
        return arguments

    def _parameter_arguments(self, context: LaunchContext) -> list[str]:
        arguments = []
        for parameter in context.launch_configurations.get('global_params', ()):
            if isinstance(parameter, tuple):
                name, value = parameter
                arguments += ['-p', f'{name}:={value_to_yaml(value)}']
            else:
                arguments += self._file_arguments(Path(os.path.abspath(parameter)))  # noqa: PTH100
        for item in evaluate_parameters(context, self._parameters):
            if isinstance(item, Parameter):
                name, value = item.evaluate(context)
                arguments += ['-p', f'{name}:={value_to_yaml(value)}']
            elif isinstance(item, Path):
                arguments += self._file_arguments(item)
            else:
                node = self.node_name if self.is_node_name_fully_specified() else '/**'
                arguments += self._file_arguments(write_parameter_file(parameters_to_yaml(node, item)))
        return arguments

    @staticmethod
    def _file_arguments(path: Path) -> list[str]:
        if not path.is_file():
            get_logger(__name__).warning(f'Parameter file path is not a file: {path}')
            return []
        return ['--params-file', str(path)]

    def _remapping_arguments(self, context: LaunchContext) -> list[str]:
        rules = list(context.launch_configurations.get('ros_remaps', ()))
        rules += [
            (perform_substitutions(context, source), perform_substitutions(context, target))
            for source, target in self._remappings
        ]
        self._expanded_remappings = rules or None
        return [argument for source, target in rules for argument in ('-r', f'{source}:={target}')]

    def execute(self, context: LaunchContext) -> None:
        """Begin to run the node.

        Raises:
            ament_index_python.packages.PackageNotFoundError: if there is no such package.
            launch.substitutions.SubstitutionFailure: if the package has no such executable.
            ValueError: if name or namespace is not valid.
        """
        self._perform_substitutions(context)
        super().execute(context)
        if self.is_node_name_fully_specified():
            self._warn_of_namesakes(context)

    def _warn_of_namesakes(self, context: LaunchContext) -> None:
        counts = context.get_locals_as_dict().get('unique_ros_node_names')
        if counts is None:
            counts = collections.Counter()
            context.extend_globals({'unique_ros_node_names': counts})
        counts[self.node_name] += 1
        if counts[self.node_name] > 1:
            get_logger(self.name).warning(
                f'there are now at least {counts[self.node_name]} nodes with the name {self.node_name} created within '
                'this launch context'
            )
