# SPDX-License-Identifier: Apache-2.0
"""tune: the classical baseline, as good as it gets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from radio_visual_ssl.commands.options import Json, named_as_options
from radio_visual_ssl.commands.output import check_writable, console, print_json, progress_bar, table
from radio_visual_ssl.whole_file import replacing


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(tune)


def tune(
    bags: Annotated[
        list[Path],
        typer.Argument(metavar='BAG...', help='Bags of one radar with ground truth, or data sets.', show_default=False),
    ],
    out: Annotated[Path, typer.Option(help='YAML file of the best settings; replaced.', show_default=False)],
    split: Annotated[str | None, typer.Option(help='Part of the data sets: train, val or test. Default: all.')] = None,
    tries: Annotated[int, typer.Option(help='Settings that are tried, the defaults among them.', min=1)] = 48,
    seed: Annotated[int, typer.Option(help='Of the random search.', min=0)] = 0,
    false_per_frame: Annotated[
        float, typer.Option(help='False alarms per frame at which recall counts: 0.02, 0.05, 0.1, 0.2 or 0.5.')
    ] = 0.1,
    hit_distance: Annotated[
        float, typer.Option(help="m from a target's footprint within which a detection hits it.", min=0)
    ] = 1.0,
    radar_height: Annotated[
        float, typer.Option(help='m above the middle of the targets, to take slant ranges to the ground.', min=0)
    ] = 0.0,
    background: Annotated[
        Literal['median', 'ewma', 'none'],
        typer.Option(help='That is subtracted; none for a radar that moves, or whose heatmaps hold only what moves.'),
    ] = 'median',
    as_json: Json = False,
) -> None:
    """Tune the CFAR back end on bags with ground truth: random search. Never tune on the bags that you judge with."""
    import yaml

    from radio_visual_ssl.bags.reader import BagReader
    from radio_visual_ssl.evaluation.cfar_tuning import (
        TriedSettings,
        best_of,
        draw_settings,
        nearest_of,
        tune_cfar,
        with_surfaces,
    )
    from radio_visual_ssl.learning.bag_selection import expand_bags
    from radio_visual_ssl.radar.cfar_localizer import CfarLocalizerSettings

    check_writable('--out', out)
    paths = expand_bags(bags, split)
    readers = [BagReader(path) for path in paths]
    total = sum(reader.streams[reader.radar_topic()].count for reader in readers)

    def judged(settings: list[CfarLocalizerSettings], what: str) -> list[TriedSettings]:
        with named_as_options(false_per_frame='--false-per-frame'), progress_bar(what) as progress:
            done = 0

            def on_frame() -> None:
                nonlocal done
                done += 1
                progress(done, total)

            return tune_cfar(
                paths, settings, false_per_frame=false_per_frame, hit_distance=hit_distance, on_frame=on_frame
            )

    base = CfarLocalizerSettings(radar_height=radar_height, background=background)
    tried = judged(draw_settings(tries, seed, base), 'tuning')
    drawn, defaults = best_of(tried), tried[0]
    best = nearest_of(judged(with_surfaces(drawn.settings), 'surface to centre'))
    with replacing(out) as temporary:
        temporary.write_text(yaml.safe_dump(best.changes, sort_keys=False), encoding='utf-8')
    rows = [
        [
            name,
            f'{each.recall:.3f}',
            f'{each.average_precision:.3f}',
            '-' if each.median_error_m is None else f'{each.median_error_m:.2f}',
            f'{each.settings.surface_to_centre:g}',
        ]
        for name, each in (('best', best), ('defaults', defaults))
    ]
    columns = [
        f'recall at {false_per_frame:g} false alarms per frame',
        'AP',
        'median error to the centre there (m)',
        'surface_to_centre (m)',
    ]
    table(f'{tries} settings', ['', *columns], rows)
    told = {**best.changes, 'surface_to_centre': best.settings.surface_to_centre}
    settings = ', '.join(f'{name}: {value}' for name, value in told.items())
    console.print(f'settings: {settings}; in {out}', soft_wrap=True)
    if as_json:
        print_json(
            {
                'out': str(out),
                'settings': best.changes,
                'recall': best.recall,
                'ap': best.average_precision,
                'median_error_m': best.median_error_m,
                'default_recall': defaults.recall,
                'tries': tries,
            }
        )
