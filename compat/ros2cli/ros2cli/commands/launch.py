# SPDX-License-Identifier: Apache-2.0
"""`ros2 launch`: runs, prints or explains a launch file."""

import argparse
import os
import sys
from pathlib import Path

from ros2cli.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `ros2 launch`."""
    parser.add_argument(
        '-n',
        '--noninteractive',
        action='store_true',
        default=not sys.stdin.isatty(),
        help='run with no terminal associated (default where standard input is none)',
    )
    parser.add_argument('-d', '--debug', action='store_true', help='more verbose output of the launch system')
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        '-p', '--print', '--print-description', action='store_true', help='print the launch description, launch nothing'
    )
    group.add_argument(
        '-s', '--show-args', '--show-arguments', action='store_true', help='show the arguments of the launch file'
    )
    parser.add_argument(
        '-a',
        '--show-all-subprocesses-output',
        action='store_true',
        help="show all output of the launch file's processes",
    )
    parser.add_argument('--launch-prefix', help="command to put before all executables, e.g. 'gdb -ex run --args'")
    parser.add_argument('package_name', help='package that holds the launch file, or path of a launch file')
    parser.add_argument('launch_file_name', nargs='?', help='name of the launch file')
    parser.add_argument('launch_arguments', nargs='*', help='<name>:=<value>; the last one of a name counts')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int | None:
    """Does what the options say with the launch file.

    Returns:
        Exit code of the launch; None after printing.

    Raises:
        CommandError: package, launch file or an argument's form is wrong.
    """
    try:
        from ros2launch import api
    except ModuleNotFoundError as error:
        raise CommandError(f"ros2 launch needs launch_ros: no module named '{error.name}'") from None

    launch_arguments = list(arguments.launch_arguments)
    if Path(arguments.package_name).is_file():
        path = arguments.package_name
        if arguments.launch_file_name is not None:
            launch_arguments.insert(0, arguments.launch_file_name)
    else:
        path = _path_in_package(arguments.package_name, arguments.launch_file_name)
    if arguments.launch_prefix:
        launch_arguments.append(f'launch-prefix:={arguments.launch_prefix}')
    if arguments.show_all_subprocesses_output:
        os.environ['OVERRIDE_LAUNCH_PROCESS_OUTPUT'] = 'both'
    try:
        if arguments.print:
            return api.print_a_launch_file(launch_file_path=path)
        if arguments.show_args:
            return api.print_arguments_of_launch_file(launch_file_path=path)
        return api.launch_a_launch_file(
            launch_file_path=path,
            launch_file_arguments=launch_arguments,
            noninteractive=arguments.noninteractive,
            debug=arguments.debug,
        )
    except RuntimeError as error:
        raise CommandError(str(error)) from error


def _path_in_package(package: str, file_name: str | None) -> str:
    from ament_index_python.packages import PackageNotFoundError
    from ros2launch import api

    if file_name is None or '/' in package:
        raise CommandError(f"No launch file supplied: '{package}' is no file; expected a file, or a package and a file")
    try:
        return api.get_share_file_path_from_package(package_name=package, file_name=file_name)
    except PackageNotFoundError as error:
        raise CommandError(f"Package '{package}' not found: {' '.join(str(error).split())}") from None
    except (FileNotFoundError, api.MultipleLaunchFilesError) as error:
        raise CommandError(str(error)) from None
