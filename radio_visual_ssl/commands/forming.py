# SPDX-License-Identifier: Apache-2.0
"""form: heatmaps of recorded cubes, once and for all."""

from pathlib import Path
from typing import Annotated

import typer

from radio_visual_ssl.commands.options import Bag, Formation, Json
from radio_visual_ssl.commands.output import console, print_json, progress_bar

NOTHING: list[str] = []


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(form)


def form(
    bag: Bag,
    out: Annotated[Path, typer.Option(help='The new bag; never overwritten.', show_default=False)],
    formation: Formation = NOTHING,
    cube_topic: Annotated[str | None, typer.Option(help='Radar cubes. Default: the only ones of the bag.')] = None,
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bag with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Copy a bag of radar cubes with the heatmaps that heatmap_node would have formed in their place."""
    from radio_visual_ssl.bags.forming import form_bag
    from radio_visual_ssl.radar.formation import FormationSettings

    settings = FormationSettings().changed(formation)
    with progress_bar('forming heatmaps') as progress:
        report = form_bag(bag, out, settings, cube_topic=cube_topic, compress=compress, progress=progress)
    rows, columns = report.shape
    console.print(
        f'{report.path}: {report.heatmaps} heatmaps of {rows} range x {columns} azimuth bins of radar '
        f'{report.radar!r} on {report.heatmap_topic}',
        soft_wrap=True,
    )
    if report.refused:
        console.print(
            f'{report.refused} cubes left out; the first: {report.first_fault}',
            soft_wrap=True,
        )
    if report.with_clutter:
        console.print(
            f"what stands is still in {report.with_clutter} of them, for too little told the radar's own velocity",
            soft_wrap=True,
        )
    if as_json:
        print_json(report.to_json())
