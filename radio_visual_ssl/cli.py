# SPDX-License-Identifier: Apache-2.0
"""The radio-visual-ssl command: work on captures, data sets and bags, without a ROS installation."""

import sys

import typer
from rich.text import Text

from radio_visual_ssl.commands import (
    analysis,
    data,
    forming,
    learn_export,
    learn_label,
    learn_masks,
    learn_train,
    recording,
    study,
    tuning,
)
from radio_visual_ssl.commands.options import Verb
from radio_visual_ssl.commands.output import messages

app = typer.Typer(
    help='Radar-only localization learned from paired radar and camera recordings.',
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={'help_option_names': ['-h', '--help']},
)
for module in (recording, data, forming, learn_masks, learn_train, learn_label, analysis, tuning, learn_export, study):
    module.register(app)
for verb in (*app.registered_commands, *data.import_app.registered_commands):
    verb.cls = Verb


def main() -> None:
    """Run the command; bad input ends with one line on stderr and exit status 1, or that which the error asks for."""
    try:
        app()
    except (OSError, ValueError) as error:
        messages.print(Text.assemble(('error:', 'bold red'), f' {error}'), soft_wrap=True)
        sys.exit(getattr(error, 'exit_status', 1))
