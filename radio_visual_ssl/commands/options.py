# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands have."""

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from radio_visual_ssl.commands.output import leave_stdout_to_json, messages

Json = Annotated[
    bool,
    typer.Option(
        '--json',
        help='Print one JSON object on stdout; what is for people goes to stderr.',
        callback=leave_stdout_to_json,
    ),
]
Formation = Annotated[
    list[str],
    typer.Option(
        '--formation',
        metavar='NAME=VALUE',
        help='How heatmaps are formed, as in clutter_removal=ego_motion (formation.* of heatmap_node); repeatable.',
    ),
]
MaskSetting = Annotated[
    list[str],
    typer.Option(
        '--mask-setting',
        metavar='NAME=VALUE',
        help='How pictures are segmented for --masks motion, as in smallest=0.001 (the verb masks shows what comes of '
        'it); repeatable.',
    ),
]
Bag = Annotated[Path, typer.Argument(help='A rosbag2 folder (metadata.yaml + MCAP).', show_default=False)]
ImageOffset = Annotated[
    float, typer.Option('--camera-offset', metavar='S', help="Seconds added to the camera's stamps before pairing.")
]
PairedOffset = Annotated[
    float | None,
    typer.Option(
        '--camera-offset',
        metavar='S',
        help="Seconds added to the camera's stamps. Default: what the bag was paired with, if it was.",
    ),
]

_INTERRUPTED = 128 + signal.SIGINT
_AFTER_INTERRUPT = {
    'simulate': '; the same command goes on',
    'train': '; the same command with --resume goes on after the last epoch',
    'label': '; the same command begins anew, with the bags that were read',
}


class Verb(TyperCommand):
    """A command that takes finite numbers only, for NaN passes any limits, and says when it was interrupted."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            BadParameter: an option is NaN or infinite; the message names it.
            Exit: it was interrupted, and has said so.
        """
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, float) and not math.isfinite(value):
                hint = f"'{parameter.opts[0]}'"
                raise typer.BadParameter(f'expected a finite number, got {value}', ctx, param_hint=hint)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            messages.print(f'interrupted{_AFTER_INTERRUPT.get(self.name or "", "")}', soft_wrap=True)
            raise typer.Exit(_INTERRUPTED) from None


@contextmanager
def named_as_options(**options: str) -> Iterator[None]:
    """Let errors of the block, which begin with the name of a parameter, begin with the option that sets it.

    Args:
        options: by name of the parameter.

    Raises:
        ValueError: that of the block.
    """
    try:
        yield
    except ValueError as error:
        name, colon, rest = str(error).partition(': ')
        if not colon or name not in options:
            raise
        raise ValueError(f'{options[name]}: {rest}') from error
