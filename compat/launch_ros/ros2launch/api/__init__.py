# SPDX-License-Identifier: Apache-2.0
"""Finding, describing and launching launch files, as `ros2 launch` does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import (
    AnyLaunchDescriptionSource,
    InvalidLaunchFileError,
    InvalidPythonLaunchFileError,
    get_launch_description_from_any_launch_file,
)

from launch import LaunchDescription, LaunchIntrospector, LaunchService

__all__ = [
    'InvalidLaunchFileError',
    'InvalidPythonLaunchFileError',
    'MultipleLaunchFilesError',
    'find_launch_file',
    'get_launch_file_paths',
    'get_share_file_path_from_package',
    'is_launch_file',
    'launch_a_launch_file',
    'parse_launch_arguments',
    'print_a_launch_file',
    'print_arguments_of_launch_description',
    'print_arguments_of_launch_file',
]


class MultipleLaunchFilesError(Exception):
    """A package has several files of a name."""

    def __init__(self, msg: str, paths: list[str]) -> None:
        super().__init__(msg)
        self.paths = paths


def get_share_file_path_from_package(*, package_name: str, file_name: str) -> str:
    """Return the path of a file anywhere below a package's share folder.

    Raises:
        ament_index_python.packages.PackageNotFoundError: if there is no such package.
        FileNotFoundError: if it has no such file.
        MultipleLaunchFilesError: if it has several.
    """
    share = get_package_share_directory(package_name)
    paths = [str(Path(folder) / file_name) for folder, _, files in os.walk(share) if file_name in files]
    if not paths:
        where = f"in the share directory of package '{package_name}' which is at '{share}'"
        raise FileNotFoundError(f"file '{file_name}' was not found {where}")
    if len(paths) > 1:
        where = f"in the share directory of package '{package_name}'"
        listing = ', '.join(f"'{path}'" for path in paths)
        raise MultipleLaunchFilesError(f"file '{file_name}' was found more than once {where}: [{listing}]", paths)
    return paths[0]


def find_launch_file(package: str, file_name: str) -> str:
    """Return the path of a package's launch file; see `get_share_file_path_from_package()`."""
    return get_share_file_path_from_package(package_name=package, file_name=file_name)


def is_launch_file(path: str) -> bool:
    """Tell whether there is a launch file at a path."""
    return path.endswith('launch.py') and Path(path).is_file()


def get_launch_file_paths(*, path: str) -> list[str]:
    """Return the paths of all launch files below a folder."""
    paths = [str(Path(folder) / name) for folder, _, files in os.walk(path) for name in files]
    return [path for path in paths if is_launch_file(path)]


def print_a_launch_file(*, launch_file_path: str) -> None:
    """Print an outline of a launch file.

    Raises:
        InvalidLaunchFileError: if it cannot be loaded.
    """
    description = get_launch_description_from_any_launch_file(launch_file_path)
    print(LaunchIntrospector().format_launch_description(description))


def print_arguments_of_launch_description(*, launch_description: LaunchDescription) -> None:
    """Print the arguments of a launch description."""
    print("Arguments (pass arguments as '<name>:=<value>'):")
    arguments = launch_description.get_launch_arguments()
    if not arguments:
        print('\n  No arguments.')
    for argument in arguments:
        print(f"\n    '{argument.name}':{'*' if argument._conditionally_included else ''}")
        print(f'        {argument.description}')
        if argument.default_value is not None:
            print(f'        (default: {" + ".join(part.describe() for part in argument.default_value)})')
    if any(argument._conditionally_included for argument in arguments):
        print('\n* argument(s) which are only used if specific conditions occur')


def print_arguments_of_launch_file(*, launch_file_path: str) -> None:
    """Print the arguments of a launch file.

    Raises:
        InvalidLaunchFileError: if it cannot be loaded.
    """
    description = get_launch_description_from_any_launch_file(launch_file_path)
    print_arguments_of_launch_description(launch_description=description)


def parse_launch_arguments(launch_arguments: Iterable[str]) -> list[tuple[str, str]]:
    """Return name and value of arguments 'name:=value'; the last one of a name counts.

    Raises:
        RuntimeError: if an argument is not written so.
    """
    parsed: dict[str, str] = {}
    for argument in launch_arguments:
        name, separator, value = argument.partition(':=')
        if not (name and separator and value):
            raise RuntimeError(f"malformed launch argument '{argument}', expected format '<name>:=<value>'")
        parsed[name] = value
    return list(parsed.items())


def launch_a_launch_file(
    *,
    launch_file_path: str,
    launch_file_arguments: list[str],
    noninteractive: bool = False,
    args: Any = None,
    option_extensions: dict[str, Any] | None = None,
    debug: bool = False,
) -> int:
    """Launch a launch file and wait for its end.

    Args:
        launch_file_path: its path.
        launch_file_arguments: its arguments, each 'name:=value'.
        noninteractive: no terminal is attached.
        args: parsed command line; its `launch_prefix` and `launch_prefix_filter` are used where given.
        option_extensions: must be empty; the original's plugins.
        debug: log in detail.

    Returns:
        Exit code for the command line.

    Raises:
        RuntimeError: if an argument is not written as 'name:=value'.
        ValueError: if there are extensions.
    """
    if option_extensions:
        raise ValueError(f'launch option extensions are not supported, got {sorted(option_extensions)}')
    arguments = list(launch_file_arguments)
    for option in ('launch_prefix', 'launch_prefix_filter'):
        value = getattr(args, option, None)
        if value:
            arguments.append(f'{option.replace("_", "-")}:={value}')
    parsed = parse_launch_arguments(arguments)
    service = LaunchService(argv=arguments, noninteractive=noninteractive, debug=debug)
    include = IncludeLaunchDescription(AnyLaunchDescriptionSource(launch_file_path), launch_arguments=parsed)
    service.include_launch_description(LaunchDescription([include]))
    return service.run()
