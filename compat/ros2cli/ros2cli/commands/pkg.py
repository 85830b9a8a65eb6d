# SPDX-License-Identifier: Apache-2.0
"""`ros2 pkg`: packages of the ament index."""

import argparse

from ros2cli.arguments import add_verb, add_verbs
from ros2cli.packages import executables, package_prefix, package_prefixes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verbs of `ros2 pkg`."""
    verbs = add_verbs(parser)

    verb = add_verb(verbs, 'executables', list_executables, 'Output a list of package specific executables')
    verb.add_argument('package_name', nargs='?', help='only those of this package')
    verb.add_argument('--full-path', action='store_true', help='show the full path of each executable')

    add_verb(verbs, 'list', list_packages, 'Output a list of available packages')

    verb = add_verb(verbs, 'prefix', print_prefix, 'Output the prefix path of a package')
    verb.add_argument('package_name', help='name of the package')
    verb.add_argument('--share', action='store_true', help="show the package's share folder instead")


def list_packages(_: argparse.Namespace) -> None:
    """Prints the names of all packages."""
    for name in sorted(package_prefixes()):
        print(name)


def list_executables(arguments: argparse.Namespace) -> None:
    """Prints `package executable` or full paths, a line each."""
    packages = [arguments.package_name] if arguments.package_name else sorted(package_prefixes())
    for package in packages:
        for path in executables(package):
            print(path if arguments.full_path else f'{package} {path.name}')


def print_prefix(arguments: argparse.Namespace) -> None:
    """Prints the install prefix or share folder of one package."""
    prefix = package_prefix(arguments.package_name)
    print(prefix / 'share' / arguments.package_name if arguments.share else prefix)
