# SPDX-License-Identifier: Apache-2.0
"""export: trained localizers for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from radio_visual_ssl.commands.options import Json
from radio_visual_ssl.commands.output import check_writable, console, print_json, progress_bar
from radio_visual_ssl.optional_packages import needed_by


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(export)


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar='CKPT', help='A localizer (.safetensors).', show_default=False)],
    out: Annotated[Path, typer.Option(help='The ONNX file; one of that name is replaced.', show_default=False)],
    bag: Annotated[
        Path | None, typer.Option(help='Compare the outputs on the heatmaps of this bag too.', show_default=False)
    ] = None,
    frames: Annotated[int, typer.Option(help='Of the bag, from its beginning, that are compared.', min=1)] = 50,
    as_json: Json = False,
) -> None:
    """Write a trained localizer as ONNX, with the radar that it is of, and check it against torch.

    Nothing is written where an output of onnxruntime differs by more than 1e-4.
    """
    with needed_by('export', 'torch', 'safetensors'):
        from radio_visual_ssl.learning.export import export_localizer

    check_writable('--out', out)
    with progress_bar('comparing') as progress:
        report = export_localizer(checkpoint, out, bag=bag, frames=frames, progress=progress)
    console.print(
        f'{report.path}: {report.size / 1e6:.2f} MB, opset {report.opset}; torch and onnxruntime differ by at most '
        f'{report.max_difference_random:.1e} on {report.random_inputs} random frames'
        + (
            f' and {report.max_difference_real:.1e} on {report.real_inputs} of {bag}'
            if report.max_difference_real is not None
            else ''
        ),
        soft_wrap=True,
    )
    if as_json:
        print_json(report.to_json())
