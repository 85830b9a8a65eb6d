# SPDX-License-Identifier: Apache-2.0
"""`ros2 run`: becomes the named executable of a package."""

import argparse
import os
import shlex
from typing import NoReturn

from ros2cli.errors import CommandError
from ros2cli.packages import executables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `ros2 run`."""
    parser.add_argument('--prefix', help="command to put before the executable, e.g. 'gdb -ex run --args'")
    parser.add_argument('package_name', help='name of the package')
    parser.add_argument('executable_name', help='name of the executable in lib/<package_name>')
    parser.add_argument('argv', nargs=argparse.REMAINDER, help='arguments handed to the executable')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> NoReturn:
    """Replaces this process, so that signals, standard streams and the exit code are the executable's own.

    Raises:
        CommandError: package or executable is not found, is not unique, or cannot be started.
    """
    package, name = arguments.package_name, arguments.executable_name
    found = executables(package)
    paths = [path for path in found if path.name == name]
    if not paths:
        names = ', '.join(path.name for path in found) or 'it has none'
        raise CommandError(f"No executable found: '{name}' in package '{package}'; its executables: {names}")
    if len(paths) > 1:
        raise CommandError(f'Multiple executables found: {", ".join(map(str, paths))}')
    command = [*shlex.split(arguments.prefix or ''), str(paths[0]), *arguments.argv]
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise CommandError(f'{command[0]} cannot be started: {error.strerror}') from None
