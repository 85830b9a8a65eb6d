# SPDX-License-Identifier: Apache-2.0
"""`ros2 bag`: says which commands take the place of rosbag2, which has no wheels on PyPI."""

import argparse

from ros2cli.errors import CommandError

MESSAGE = (
    'ros2 bag: this machine has no rosbag2. Play a bag with '
    '`ros2 launch radio_visual_ssl localize.launch.py source:=bag bag:=<folder>` or '
    '`ros2 run radio_visual_ssl player_node`; look into it with `radio-visual-ssl inspect <folder>`.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Accepts any arguments of the real command."""
    parser.epilog = MESSAGE
    parser.add_argument('arguments', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Prints the way out.

    Raises:
        CommandError: always, with exit code 2.
    """
    raise CommandError(MESSAGE, exit_code=2)
