# SPDX-License-Identifier: Apache-2.0
"""Pieces of argparse that the commands share: verbs, options of the graph node, checked numbers."""

import argparse
from collections.abc import Callable

Run = Callable[[argparse.Namespace], int | None]

DISCOVERY_SECONDS = 1.0


def add_verbs(parser: argparse.ArgumentParser) -> 'argparse._SubParsersAction[argparse.ArgumentParser]':
    """Gives a command its verbs; called without one it prints its help."""
    parser.set_defaults(run=lambda _: parser.print_help())
    return parser.add_subparsers(title='Commands', metavar='<name of verb>', prog=parser.prog)


def add_verb(
    verbs: 'argparse._SubParsersAction[argparse.ArgumentParser]', name: str, run: Run, summary: str
) -> argparse.ArgumentParser:
    """Adds one verb, whose ``run(arguments)`` returns the exit code (None: 0)."""
    parser = verbs.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run)
    return parser


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of every verb that looks at the ROS graph."""
    parser.add_argument(
        '--spin-time',
        type=non_negative_float,
        default=DISCOVERY_SECONDS,
        metavar='S',
        help='the graph counts as discovered when nothing new turned up for S seconds, '
        'and a name as unknown after 3.5 S (default: %(default)s)',
    )
    parser.add_argument('-s', '--use-sim-time', action='store_true', help='take the time from /clock')
    parser.add_argument('--no-daemon', action='store_true', help='accepted for compatibility: there is no daemon')


def add_hidden_option(parser: argparse.ArgumentParser, option: str, what: str) -> None:
    """Adds ``--include-hidden-...``, which may stand before the verb as well as after it."""
    parser.add_argument(
        option, action='store_true', default=argparse.SUPPRESS, help=f'consider hidden {what} (a part starts with _)'
    )


def non_negative_float(text: str) -> float:
    """Parses a number >= 0.

    Raises:
        argparse.ArgumentTypeError: it is no number, or negative.
    """
    return _number(text, float, lambda value: value >= 0, 'a number >= 0')


def positive_float(text: str) -> float:
    """Parses a number > 0.

    Raises:
        argparse.ArgumentTypeError: it is no number, or not above 0.
    """
    return _number(text, float, lambda value: value > 0, 'a number > 0')


def positive_int(text: str) -> int:
    """Parses an integer > 0.

    Raises:
        argparse.ArgumentTypeError: it is no integer, or not above 0.
    """
    return _number(text, int, lambda value: value > 0, 'an integer > 0')


def non_negative_int(text: str) -> int:
    """Parses an integer >= 0.

    Raises:
        argparse.ArgumentTypeError: it is no integer, or negative.
    """
    return _number(text, int, lambda value: value >= 0, 'an integer >= 0')


def _number(text: str, kind: type, valid: Callable[[float], bool], expected: str) -> float | int:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not valid(value):
        raise argparse.ArgumentTypeError(f'expected {expected}, got {text!r}')
    return value
