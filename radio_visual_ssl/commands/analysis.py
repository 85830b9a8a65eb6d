# SPDX-License-Identifier: Apache-2.0
"""heatmap and evaluate: what a radar measured, and how well its targets are found."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_visual_ssl import __version__
from radio_visual_ssl.commands.options import Json, PairedOffset, named_as_options
from radio_visual_ssl.commands.output import check_writable, console, print_json, progress_bar, table
from radio_visual_ssl.evaluation.metrics import HIT_DISTANCE, View
from radio_visual_ssl.optional_packages import needed_by

if TYPE_CHECKING:
    from radio_visual_ssl.bags.reader import BagReader
    from radio_visual_ssl.evaluation.evaluate import AnyLocalizer
    from radio_visual_ssl.evaluation.report import Picture
    from radio_visual_ssl.learning.contrastive_model import ContrastiveModel

NONE: list[str] = []
_BAGS_OF_ATTENTION = 2


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

    if out is not None:
        check_writable('--out', out)
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
    ols: Annotated[
        bool,
        typer.Option(
            '--ols', help="Also CRUW's average precision and recall over location similarity, as ROD2021 has them."
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help='Folder for report.html, one page with all figures and pictures, and for these as PNG.'),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            '--compare', help='Tell how much better each localizer is than the first, with 95 % intervals over bags.'
        ),
    ] = False,
    bootstrap: Annotated[int, typer.Option(help='Resamples for the intervals of --compare.', min=200)] = 1000,
    encoders: Annotated[
        Path | None,
        typer.Option(
            metavar='CKPT',
            help='Contrastive checkpoint: the report shows where its queries attend, in two frames of the first bags.',
        ),
    ] = None,
    camera_offset: PairedOffset = None,
    as_json: Json = False,
) -> None:
    """Judge localizers on bags with ground truth: recall, precision, error, signed bias, and at equal false alarms."""
    from radio_visual_ssl.bags.reader import BagReader
    from radio_visual_ssl.evaluation import comparison
    from radio_visual_ssl.evaluation.backends import check_radars, radars_of
    from radio_visual_ssl.evaluation.breakdown import Confusion
    from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame, evaluate_bags
    from radio_visual_ssl.evaluation.examples import ExampleChooser
    from radio_visual_ssl.evaluation.pictures import table_rows
    from radio_visual_ssl.evaluation.report import BOUND_NOTE, difference_text, rows_at_equal_false_alarms, write_report
    from radio_visual_ssl.learning.bag_selection import expand_bags

    paths = expand_bags(bags, split)
    readers = [BagReader(path) for path in paths]
    with named_as_options(backend='--backend', model='--model', settings='--settings'):
        localizers = _localizers(readers[0], backend, model, settings)
    if compare and len(localizers) < 2:
        raise ValueError(f'--compare: expected several back ends or models, got {", ".join(localizers)} alone')
    radars = radars_of(localizers)
    model_of_encoders = None
    if encoders is not None:
        if report is None:
            raise ValueError('--encoders: expected --report with it, for it draws pictures, got none')
        with needed_by('evaluate --encoders', 'torch', 'safetensors'):
            from radio_visual_ssl.learning.contrastive_model import ContrastiveModel

        model_of_encoders = ContrastiveModel.load(encoders)
        radars['--encoders'] = model_of_encoders.radar
    check_radars(radars, readers[0])
    if report is not None:
        check_writable('--report', report / 'report.html')
    total = sum(reader.streams[reader.radar_topic()].count for reader in readers)
    name = paths[0].name if len(paths) == 1 else f'{len(paths)} bags'
    chooser = None if report is None else ExampleChooser()
    with named_as_options(image_offset_s='--camera-offset'), progress_bar('evaluating') as progress:
        done = 0

        def on_frame(path: str | Path, frame: EvaluatedFrame) -> None:
            nonlocal done
            done += 1
            progress(done, total)
            if chooser is not None:
                chooser.add(str(path), frame)

        evaluation = evaluate_bags(
            paths,
            localizers,
            view=view,
            hit_distance=hit_distance,
            ols=ols,
            image_offset_s=camera_offset,
            images=report is not None,
            on_frame=on_frame,
        )
    figures = evaluation.metrics
    compared = None
    if compare:
        compared = comparison.compare(evaluation.tallies, evaluation.recordings, resamples=bootstrap)
    columns = zip(*table_rows(figures), strict=True)
    header, *rows = ([str(cell) for cell in column] for column in columns)
    table(f'{paths[0] if len(paths) == 1 else name}, targets in view of the {view}', header, rows)
    at_equal = [[what, *texts] for what, texts in rows_at_equal_false_alarms(figures)]
    table(f'at equal false alarms; {BOUND_NOTE}', ['', *figures], at_equal)
    for title, similarity in evaluation.ols.items():
        if similarity.average_precision is None or similarity.average_recall is None:
            console.print(f'{title}: no targets of the classes {", ".join(similarity.targets)} to judge by OLS')
        else:
            told = '' if similarity.by_class else ', of targets of any class, for none is named'
            both = f'{similarity.average_precision:.1%} and {similarity.average_recall:.1%}'
            console.print(f'{title}: average precision and recall over OLS {both}{told}')
    for title, metrics in figures.items():
        if metrics.bias_range_m is not None and metrics.bias_azimuth_deg is not None:
            console.print(f'{title}: bias {metrics.bias_range_m:+.2f} m in range, {metrics.bias_azimuth_deg:+.2f} deg')
    for title, tally in evaluation.tallies.items():
        confusion = Confusion.of(tally.records())
        if confusion is not None:
            counts = zip(confusion.classes, confusion.counts.tolist(), strict=True)
            rows = [[one, *map(str, row)] for one, row in counts]
            table(f'{title}: how targets that are found are named (rows: true)', ['', *confusion.names], rows)
            told = f'{confusion.accuracy:.1%} of {confusion.hits} rightly, {confusion.unnamed:.1%} not at all'
            console.print(f'{title}: named {told}')
    if compared is not None:
        differences = compared.differences
        rows = [
            [what, *(difference_text(of[figure]) for of in differences.values())]
            for figure, what in comparison.TITLES.items()
        ]
        table(f'minus {compared.reference}', ['', *differences], rows)
        console.print(compared.method, soft_wrap=True)
    for note in evaluation.notes + ([] if compared is None else compared.notes):
        console.print(f'note: {note}', soft_wrap=True)
    if report is not None and chooser is not None:
        files = write_report(
            evaluation,
            report,
            title=name,
            about=_about(paths, split),
            localizers=localizers,
            examples=chooser.chosen(),
            comparison=compared,
            attention=[] if model_of_encoders is None else _attention(paths, model_of_encoders, camera_offset, report),
        )
        console.print(f'report: {files[0]}, and {len(files) - 1} pictures beside it', soft_wrap=True)
    if as_json:
        result = {**evaluation.to_json(), 'bags': len(paths)}
        print_json(result if compared is None else {**result, 'comparison': compared.to_json()})


def _about(paths: list[Path], split: str | None) -> dict[str, str]:
    """How an evaluation was made, for its report."""
    return {
        'Command': shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        'Package': f'radio_visual_ssl {__version__}',
        'Bags': f'{len(paths)}: {", ".join(path.name for path in paths)}',
        'Split': split or 'all',
    }


def _attention(
    paths: list[Path], model: 'ContrastiveModel', camera_offset: float | None, report: Path
) -> list['Picture']:
    """Pictures of the attention in the first bags: of each, the frame with the most masks of what moves."""
    from radio_visual_ssl.evaluation.report import Picture
    from radio_visual_ssl.learning.attention_picture import draw_attention, most_masked
    from radio_visual_ssl.learning.recording_settings import RecordingSettings
    from radio_visual_ssl.learning.recordings import open_recordings

    recordings = open_recordings(paths[:_BAGS_OF_ATTENTION], RecordingSettings(image_offset_s=camera_offset))
    return [
        Picture(
            draw_attention(recording, frame, model, report / f'attention_{number}.png'),
            'Masks in the camera picture, and the attention of each over the radar heatmap from above.',
            f'{recording.name}, stamp {recording.stamps_ns[frame] * 1e-9:.3f} s, the frame of the bag with the most '
            'masks. In the colour of each mask, where in the heatmap its query attends: contours at 0.2 and 0.6 of the '
            'peak, x the peak with the number of its mask, or of several where they fall together. Nobody has told '
            ' the encoders where anything is; a contour on the target is right.',
        )
        for number, (recording, frame) in enumerate(most_masked(recordings), 1)
    ]


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
        console.print(f'backend {choice}: {reason}', soft_wrap=True)
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
