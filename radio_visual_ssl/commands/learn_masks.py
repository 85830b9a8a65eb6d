# SPDX-License-Identifier: Apache-2.0
"""masks: what will teach, looked at before anything is learned from it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from radio_visual_ssl.commands.options import Json, MaskSetting
from radio_visual_ssl.commands.output import check_writable, console, print_json, progress_bar, table

NO_TEXTS: list[str] = []
_DOUBTS = ('truncated', 'merged', 'split', 'occluded')
_COLUMNS = ['bag', 'pictures', 'segmented', 'empty', 'masks', ', '.join(_DOUBTS) + ' (%)', 'median area (%)']


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(masks)


def masks(
    bags: Annotated[
        list[Path], typer.Argument(metavar='BAG...', help='Paired bags, or data sets of them.', show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help='PNG with pictures and their masks.')] = None,
    masks: Annotated[
        str,
        typer.Option(help="'motion' (what moves before a camera that stands), or a topic with masks or detections."),
    ] = 'motion',
    mask_setting: MaskSetting = NO_TEXTS,
    split: Annotated[str | None, typer.Option(help='Part of the data sets: train, val or test. Default: all.')] = None,
    count: Annotated[int, typer.Option(help='Pictures of --out, spread over all bags.', min=1, max=48)] = 12,
    cache: Annotated[Path | None, typer.Option(help='Of decoded bags. Default: ~/.cache/radio_visual_ssl.')] = None,
    workers: Annotated[int, typer.Option(help='Processes that decode bags.', min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Show the masks that train and label will learn from: how many there are, and what they look like."""
    from radio_visual_ssl.learning.bag_selection import expand_bags
    from radio_visual_ssl.learning.mask_sheet import MaskFigures, draw_mask_sheet
    from radio_visual_ssl.learning.recording_settings import RecordingSettings
    from radio_visual_ssl.learning.recordings import open_recordings
    from radio_visual_ssl.overrides import changed
    from radio_visual_ssl.vision.mask_settings import MaskSettings

    if out is not None:
        check_writable('--out', out)
    settings = changed(MaskSettings(), mask_setting, '--mask-setting')
    with progress_bar('opening bags') as progress:
        recordings = open_recordings(
            expand_bags(bags, split), RecordingSettings(masks=masks, mask_settings=settings), cache, workers, progress
        )
    figures = {recording.name: MaskFigures.of(recording) for recording in recordings}
    rows = [
        [
            name,
            *map(str, (of.pictures, of.segmented, of.empty, of.masks)),
            ', '.join(f'{100 * getattr(of, doubt) / of.masks:.0f}' for doubt in _DOUBTS) if of.masks else '-',
            '-' if of.median_area is None else f'{100 * of.median_area:.2f}',
        ]
        for name, of in figures.items()
    ]
    table('masks', _COLUMNS, rows)
    for recording in recordings:
        for fault in recording.faults:
            console.print(f'note: {recording.name}: {fault}', soft_wrap=True)
    if out is not None:
        console.print(f'picture: {draw_mask_sheet(recordings, out, count)}', soft_wrap=True)
    if as_json:
        print_json({'bags': {name: asdict(of) for name, of in figures.items()}})
