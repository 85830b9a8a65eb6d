# SPDX-License-Identifier: Apache-2.0
"""Substitutions that find packages and what they install, and parameters set for all nodes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch.frontend import expose_with_arguments
from launch.substitutions import SubstitutionFailure
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from launch import LaunchContext, SomeSubstitutionsType, Substitution

__all__ = ['ExecutableInPackage', 'FindPackage', 'FindPackagePrefix', 'FindPackageShare', 'Parameter']


def _describe(substitutions: list[Substitution]) -> str:
    return ' + '.join(substitution.describe() for substitution in substitutions)


class FindPackage(Substitution):
    """Base of the substitutions for a folder of a package."""

    def __init__(self, package: SomeSubstitutionsType) -> None:
        super().__init__()
        self._package = normalize_to_list_of_substitutions(package)

    @property
    def package(self) -> list[Substitution]:
        """Name of the package."""
        return self._package

    def find(self, package_name: str) -> str:
        """Return the folder.

        Raises:
            NotImplementedError: in this base class.
        """
        raise NotImplementedError(f'{type(self).__name__} does not define find()')

    def describe(self) -> str:
        """Return a text for people."""
        return f'{type(self).__name__}(pkg={_describe(self._package)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the folder.

        Raises:
            ament_index_python.packages.PackageNotFoundError: if there is no such package.
        """
        return self.find(perform_substitutions(context, self._package))


@expose_with_arguments('find-pkg-prefix', 'package')
class FindPackagePrefix(FindPackage):
    """The folder that a package is installed in."""

    def find(self, package_name: str) -> str:
        """Return the folder."""
        return get_package_prefix(package_name)


@expose_with_arguments('find-pkg-share', 'package')
class FindPackageShare(FindPackage):
    """The folder of a package's data: launch files, settings and the like."""

    def find(self, package_name: str) -> str:
        """Return the folder."""
        return get_package_share_directory(package_name)


@expose_with_arguments('exec-in-pkg', 'executable', 'package')
class ExecutableInPackage(FindPackagePrefix):
    """The path of an executable of a package."""

    def __init__(self, executable: SomeSubstitutionsType, package: SomeSubstitutionsType) -> None:
        super().__init__(package)
        self._executable = normalize_to_list_of_substitutions(executable)

    @property
    def executable(self) -> list[Substitution]:
        """Name of the executable."""
        return self._executable

    def describe(self) -> str:
        """Return a text for people."""
        return f'ExecInPkg(pkg={_describe(self._package)}, exec={_describe(self._executable)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the path.

        Raises:
            ament_index_python.packages.PackageNotFoundError: if there is no such package.
            SubstitutionFailure: if it has no such executable.
        """
        executable = perform_substitutions(context, self._executable)
        package = perform_substitutions(context, self._package)
        prefix = super().perform(context)
        folder = Path(prefix) / 'lib' / package
        if not folder.is_dir():
            raise SubstitutionFailure(
                f"package '{package}' found at '{prefix}', but libexec directory '{folder}' does not exist"
            )
        path = shutil.which(executable, path=str(folder))
        if path is None:
            raise SubstitutionFailure(f"executable '{executable}' not found on the libexec directory '{folder}'")
        return path


@expose_with_arguments('param', 'name', 'default', required=1)
class Parameter(Substitution):
    """The value of a parameter that `SetParameter` has set."""

    def __init__(self, name: SomeSubstitutionsType, *, default: Any | None = None) -> None:
        super().__init__()
        self._name = normalize_to_list_of_substitutions(name)
        if default is not None and not isinstance(default, str | Substitution | list | tuple):
            default = str(default)
        self._default = None if default is None else normalize_to_list_of_substitutions(default)

    @property
    def name(self) -> list[Substitution]:
        """Name of the parameter."""
        return self._name

    def describe(self) -> str:
        """Return a text for people."""
        return f'{type(self).__name__}(name={_describe(self._name)})'

    def perform(self, context: LaunchContext) -> str:
        """Return the value as a text.

        Raises:
            SubstitutionFailure: if it is not set and has no default.
        """
        name = perform_substitutions(context, self._name)
        for parameter in context.launch_configurations.get('global_params', ()):
            if isinstance(parameter, tuple) and parameter[0] == name:
                return str(parameter[1])
        if self._default is None:
            raise SubstitutionFailure(f"parameter '{name}' not found")
        return perform_substitutions(context, self._default)
