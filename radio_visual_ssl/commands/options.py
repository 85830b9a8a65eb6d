# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from radio_visual_ssl.commands.output import leave_stdout_to_json

Json = Annotated[
    bool,
    typer.Option(
        '--json',
        help='Print one JSON object on stdout; what is for people goes to stderr.',
        callback=leave_stdout_to_json,
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
