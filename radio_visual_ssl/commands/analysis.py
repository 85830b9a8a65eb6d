# SPDX-License-Identifier: Apache-2.0
"""heatmap and evaluate: what a radar measured, and how well its targets are found."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_visual_ssl.commands.options import Json, PairedOffset
from radio_visual_ssl.commands.output import console, print_json, progress_bar, table
from radio_visual_ssl.evaluation.metrics import HIT_DISTANCE, Metrics, View

if TYPE_CHECKING:
    from radio_visual_ssl.bags.reader import BagReader
    from radio_visual_ssl.evaluation.evaluate import AnyLocalizer, EvaluatedFrame

NONE: list[str] = []


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(heatmap)
    app.command()(evaluate)


def heatmap(
    capture: Annotated[Path, typer.Argument(metavar='FILE', help='A .npy cube or a DCA1000 .bin.', show_default=False)],
    radar: Annotated[
        str, typer.Option(help='Radar profile: a name in config/radars/ or a YAML file.', show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help='PNG: heatmap, range-Doppler map and movers.')] = None,
    frame: Annotated[int, typer.Option(help='Frame of the capture.', min=0)] = 0,
    count: Annotated[int, typer.Option(help='Most movers to list.', min=1, max=100)] = 5,
    min_velocity: Annotated[
        float | None, typer.Option(help='m/s below which nothing counts as a mover. Default: a few Doppler bins.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Look into a raw capture: range-azimuth heatmap, range-Doppler map and the strongest movers."""
    from radio_visual_ssl.radar.quicklook import draw_quick_look, quick_look

    look = quick_look(capture, radar, frame=frame, count=count, min_velocity=min_velocity)
    result = look.to_json()
    rows = [
        [str(number), *(f'{mover[key]:.2f}' for key in ('range_m', 'azimuth_deg', 'velocity_m_s', 'snr_db'))]
        for number, mover in enumerate(result['movers'], 1)
    ]
    columns = ['', 'range (m)', 'azimuth (deg, + left)', 'velocity (m/s, + receding)', 'SNR (dB)']
    table(f'{capture}: strongest movers', columns, rows)
    if out is not None:
        console.print(f'picture: {draw_quick_look(look, out)}', soft_wrap=True)
    if as_json:
        print_json(result)


def evaluate(
    bags: Annotated[
        list[Path],
        typer.Argument(metavar='BAG...', help='Bags of one radar, or data sets of them.', show_default=False),
    ],
    backend: Annotated[
        list[str],
        typer.Option(
            help="What finds the targets: 'cfar', 'peak', 'network', 'fusion' (sees the camera, too), or 'auto' (the "
            "network that ships for the bag's radar, or else CFAR); give it again to compare. Default: 'network' with "
            "--model, else 'cfar'."
        ),
    ] = NONE,
    model: Annotated[
        list[str],
        typer.Option(
            metavar='CKPT',
            help="Of back ends 'network' and 'fusion': a checkpoint, or the name of one in models/; give it again to "
            'compare. '
            "Default: the one that ships for the bag's radar.",
        ),
    ] = NONE,
    settings: Annotated[
        list[str],
        typer.Option(
            help="Of the back end: 'auto' (those shipped for the bag's radar, if any), 'default', the name of a file "
            'in config/<backend>/, or a path; with several back ends BACKEND=SETTINGS. Default: auto.'
        ),
    ] = NONE,
    view: Annotated[
        View, typer.Option(help='Which true targets count: those that the camera sees, that the radar sees, or all.')
    ] = 'camera',
    split: Annotated[
        str | None, typer.Option(help='Part of the data sets that counts: train, val or test. Default: all.')
    ] = None,
    hit_distance: Annotated[
        float, typer.Option(help="m from a target's footprint within which a detection hits it.", min=0)
    ] = HIT_DISTANCE,
    report: Annotated[
        Path | None,
        typer.Option(help='Folder for pictures: error curve, reliability, and the frame with the most targets.'),
    ] = None,
    camera_offset: PairedOffset = None,
    as_json: Json = False,
) -> None:
    """Judge localizers on bags with ground truth: recall, precision, error, signed bias, and at equal false alarms."""
    from radio_visual_ssl.bags.reader import BagReader
    from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame, evaluate_bags
    from radio_visual_ssl.evaluation.pictures import draw_errors, draw_frame, draw_reliability, table_rows
    from radio_visual_ssl.learning.bag_selection import expand_bags

    paths = expand_bags(bags, split)
    readers = [BagReader(path) for path in paths]
    localizers = _localizers(readers[0], backend, model, settings)
    total = sum(reader.streams[reader.radar_topic()].count for reader in readers)
    name = paths[0].name if len(paths) == 1 else f'{len(paths)} bags'
    fullest: tuple[Path, EvaluatedFrame] | None = None
    with progress_bar('evaluating') as progress:
        done = 0

        def on_frame(path: str | Path, frame: EvaluatedFrame) -> None:
            nonlocal done, fullest
            done += 1
            progress(done, total)
            if report is not None and frame.matches and (fullest is None or _telling(frame) > _telling(fullest[1])):
                fullest = Path(path), frame

        evaluation = evaluate_bags(
            paths,
            localizers,
            view=view,
            hit_distance=hit_distance,
            image_offset_s=camera_offset,
            images=report is not None,
            on_frame=on_frame,
        )
    figures = evaluation.metrics
    columns = zip(*table_rows(figures), strict=True)
    header, *rows = ([str(cell) for cell in column] for column in columns)
    table(f'{paths[0] if len(paths) == 1 else name}, targets in view of the {view}', header, rows)
    table('at equal false alarms', ['', *figures], _rows_at_equal_false_alarms(figures))
    for title, metrics in figures.items():
        if metrics.bias_range_m is not None and metrics.bias_azimuth_deg is not None:
            console.print(f'{title}: bias {metrics.bias_range_m:+.2f} m in range, {metrics.bias_azimuth_deg:+.2f} deg')
    for note in evaluation.notes:
        console.print(f'note: {note}', highlight=False, markup=False, soft_wrap=True)
    if report is not None:
        console.print(f'picture: {draw_errors(evaluation, report / "errors.png", name)}', soft_wrap=True)
        reliability = draw_reliability(evaluation, report / 'reliability.png', name)
        console.print(f'picture: {reliability}', soft_wrap=True)
        if fullest is not None:
            first, (path, shown) = next(iter(localizers)), fullest
            picture = draw_frame(
                shown.frame.image,
                shown.frame.heatmap,
                shown.detections[first],
                shown.frame.truth,
                shown.camera,
                out=report / 'frame.png',
                view=evaluation.view,
                hit_distance=hit_distance,
                metrics=figures,
                title=f'{path.name}, {first}',
            )
            console.print(f'picture: {picture}', soft_wrap=True)
    if as_json:
        print_json({**evaluation.to_json(), 'bags': len(paths)})


def _rows_at_equal_false_alarms(figures: dict[str, Metrics]) -> list[list[str]]:
    """One row for each rate of false alarms, one column for each localizer; a dash where it cannot make as many."""

    def text(value: float | None, unit: str = '') -> str:
        return '-' if value is None else f'{value:.2f}{unit}'

    some = next(iter(figures.values()))
    rows = [
        [f'recall at {rate} per empty frame', *(text(entry.recall_at_false[rate]) for entry in figures.values())]
        for rate in some.recall_at_false
    ]
    for rate in some.at_false_per_frame:
        points = [entry.at_false_per_frame[rate] for entry in figures.values()]
        rows.append([f'recall at {rate} per frame', *(text(point.recall) for point in points)])
        rows.append([f'median error at {rate} per frame', *(text(point.median_error_m, ' m') for point in points)])
    return rows


def _telling(frame: 'EvaluatedFrame') -> tuple[bool, int]:
    """Rank of a frame for the picture: with an image rather than without, then by the targets that count."""
    return frame.frame.image is not None, sum(match.targets for match in frame.matches.values())


def _localizers(
    reader: 'BagReader', backends: list[str], models: list[str], settings: list[str]
) -> dict[str, 'AnyLocalizer']:
    """The localizers that the options of ``evaluate`` ask for, by name; several networks are told apart by their model.

    Raises:
        ValueError: options that contradict each other, or what `load_localizer` raises.
    """
    from radio_visual_ssl.evaluation.backends import AUTO, FUSION, automatic_backend, load_localizer, models_of

    backends = backends or (['network'] if models else ['cfar'])
    if models and not {'network', FUSION} & set(backends):
        raise ValueError(f'--model: expected --backend network with it, got {", ".join(backends)}')
    if AUTO in backends:
        first = next(reader.frames(image_topic=None, truth_topic=None), None)
        if first is None:
            raise ValueError(f'{reader.path}: expected a heatmap, found none')
        choice, reason = automatic_backend(first.heatmap)
        console.print(f'backend {choice}: {reason}', highlight=False, markup=False, soft_wrap=True)
        backends = [choice if name == AUTO else name for name in backends]
    backends = list(dict.fromkeys(backends))
    chosen = dict.fromkeys(backends, 'auto')
    for text in settings:
        name, equals, value = text.partition('=')
        if not (equals and name in chosen):
            if len(backends) > 1 and text not in ('auto', 'default'):
                raise ValueError(f'--settings: expected BACKEND=SETTINGS with several back ends, got {text!r}')
            chosen = dict.fromkeys(backends, text)
        else:
            chosen[name] = value
    radar = reader.radar_name()
    result: dict[str, AnyLocalizer] = {}
    for name in backends:
        files = models_of(name, models, backends)
        for model in files or ['']:
            stem = Path(model).stem
            unique = [Path(other).stem for other in files].count(stem) == 1
            title = name if len(files) < 2 else f'{name} {stem if unique else model}'
            result[title] = load_localizer(name, chosen[name], radar, model)
    return result
