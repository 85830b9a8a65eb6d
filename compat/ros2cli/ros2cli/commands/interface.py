# SPDX-License-Identifier: Apache-2.0
"""`ros2 interface`: definitions of messages, services and actions."""

import argparse
import re
import sys
from collections.abc import Iterator

from ros2cli.arguments import add_verb, add_verbs
from ros2cli.errors import CommandError
from ros2cli.interfaces import KINDS, interface_names, interface_packages, interface_path

# a field of a message type, whose name alone starts with a capital, and no constant
_NESTED_FIELD = re.compile(r'(?:(?P<package>[a-z]\w*)/)?(?P<name>[A-Z]\w*)(?:\[[^\]]*\])?\s+[A-Za-z]')
# a comment starts at the first # outside quotes
_BEFORE_COMMENT = re.compile(r"""(?:[^#'"]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|['"])*""")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verbs of `ros2 interface`."""
    verbs = add_verbs(parser)

    verb = add_verb(verbs, 'list', list_interfaces, 'List all interface types available')
    _add_kinds(verb)

    verb = add_verb(verbs, 'package', list_package, 'Output a list of available interface types within one package')
    verb.add_argument('package_name', help='name of the package')
    _add_kinds(verb)

    verb = add_verb(verbs, 'packages', list_packages, 'Output a list of packages that provide interfaces')
    _add_kinds(verb)

    verb = add_verb(verbs, 'show', show, 'Output the interface definition')
    verb.add_argument('type', help='e.g. std_msgs/msg/String; - reads it from standard input')
    group = verb.add_mutually_exclusive_group()
    group.add_argument('--all-comments', action='store_true', help='show comments of nested definitions as well')
    group.add_argument('--no-comments', action='store_true', help='show no comments or empty lines')


def _add_kinds(verb: argparse.ArgumentParser) -> None:
    verb.add_argument('-m', '--only-msgs', dest='kinds', action='append_const', const='msg', help='messages')
    verb.add_argument('-s', '--only-srvs', dest='kinds', action='append_const', const='srv', help='services')
    verb.add_argument('-a', '--only-actions', dest='kinds', action='append_const', const='action', help='actions')


def list_interfaces(arguments: argparse.Namespace) -> None:
    """Prints the interfaces of all packages, by kind."""
    packages = {package: interface_names(package) for package in interface_packages()}
    for kind, title in KINDS.items():
        if kind in (arguments.kinds or KINDS):
            print(f'{title}:')
            for package, names in packages.items():
                for name in names:
                    if name.startswith(f'{kind}/'):
                        print(f'    {package}/{name}')


def list_packages(arguments: argparse.Namespace) -> None:
    """Prints the packages that have interfaces of the kinds asked for."""
    for package in interface_packages():
        if {name.split('/')[0] for name in interface_names(package)} & set(arguments.kinds or KINDS):
            print(package)


def list_package(arguments: argparse.Namespace) -> None:
    """Prints the interfaces of one package.

    Raises:
        CommandError: no such package.
    """
    for name in interface_names(arguments.package_name):
        if name.split('/')[0] in (arguments.kinds or KINDS):
            print(f'{arguments.package_name}/{name}')


def show(arguments: argparse.Namespace) -> None:
    """Prints a definition with the definitions of its fields' types indented below them.

    Raises:
        CommandError: the interface, or one of a field, is not installed.
    """
    name = sys.stdin.readline().strip() if arguments.type == '-' else arguments.type
    if not name:
        raise CommandError('the passed value is empty; expected an interface such as std_msgs/msg/String')
    for line in _expand(name, not arguments.no_comments, arguments.all_comments, 0):
        print(line)


def _expand(name: str, comments: bool, nested_comments: bool, level: int) -> Iterator[str]:
    path = interface_path(name)
    package = name.split('/', maxsplit=1)[0]
    for raw_line in path.read_text().splitlines():
        line = raw_line.rstrip()
        code = _BEFORE_COMMENT.match(line).group().rstrip()
        text = line if comments else code
        if text:
            yield '\t' * level + text
        elif comments:
            yield ''
        nested = _NESTED_FIELD.match(code.lstrip())
        if nested:
            field_type = f'{nested["package"] or package}/msg/{nested["name"]}'
            yield from _expand(field_type, nested_comments, nested_comments, level + 1)
