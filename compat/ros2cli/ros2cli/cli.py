# SPDX-License-Identifier: Apache-2.0
"""Entry point of `ros2`: finds the command, imports it alone and runs it."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from ros2cli.errors import CommandError

COMMANDS = {
    'bag': 'Say how to play and inspect bags on this machine',
    'interface': 'Show information about ROS interfaces',
    'launch': 'Run a launch file',
    'lifecycle': 'Various lifecycle related sub-commands',
    'node': 'Various node related sub-commands',
    'param': 'Various param related sub-commands',
    'pkg': 'Various package related sub-commands',
    'run': 'Run a package specific executable',
    'service': 'Various service related sub-commands',
    'topic': 'Various topic related sub-commands',
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `ros2`.

    Args:
        arguments: command line without the program's name; None takes this process's.

    Returns:
        Exit code: 0, 1 for what cannot be done, 2 for Ctrl-C or a wrong command line, 15 when terminated.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(arguments).parse_args(arguments)
    # a pipe or file must see each message when it arrives, not when 8 KiB are full
    sys.stdout.reconfigure(line_buffering=True)
    try:
        return parsed.run(parsed) or 0
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return int(signal.SIGINT)
    except BrokenPipeError:
        # the reader (head, grep -m 1) has seen enough; flushing at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='ros2',
        description='ros2 on rclpy alone: the commands of ros2cli that a machine without a ROS distribution needs.',
    )
    parser.set_defaults(run=lambda _: parser.print_help())
    commands = parser.add_subparsers(title='Commands', metavar='<command name>')
    called = next((argument for argument in arguments if not argument.startswith('-')), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == called:
            importlib.import_module(f'ros2cli.commands.{name}').add_arguments(command)
    return parser
