# SPDX-License-Identifier: Apache-2.0
"""label: where the radar sees what the camera sees, learned from the bags alone."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from radio_visual_ssl.commands.options import Json, MaskSetting
from radio_visual_ssl.commands.output import check_writable, console, print_json, progress_bar, table
from radio_visual_ssl.optional_packages import needed_by
from radio_visual_ssl.overrides import changed, overridden, with_overrides
from radio_visual_ssl.vision.mask_settings import MaskSettings

if TYPE_CHECKING:
    from radio_visual_ssl.learning.attention_labels import AttentionModel
    from radio_visual_ssl.learning.ground_plane_labels import GroundPlane
    from radio_visual_ssl.learning.label_evaluation import LabelEvaluation
    from radio_visual_ssl.learning.labelling import Labelling, Method
    from radio_visual_ssl.learning.recordings import Recording
    from radio_visual_ssl.radar.localizer import Localizer

# Of the detections that become radar peaks: a peak too many costs little.
_LEAST_SCORE = 0.02

ALL_PARTS: list[str] = []
NO_TEXTS: list[str] = []

# Figures of the table: text, scale and digits.
_ROWS = {
    'masks': ('masks', 1, 0),
    'labels': ('labels', 1, 0),
    'coverage': ('coverage (%)', 100, 1),
    'radial_bias_m': ('range minus near face, median (m)', 1, 2),
    'radial_bias_centre_m': ('range minus centre, median (m)', 1, 2),
    'azimuth_bias_deg': ('azimuth error, median (deg, + left)', 1, 2),
    'median_error_m': ('error to the centre, median (m)', 1, 2),
    'mean_footprint_error_m': ('error to the footprint, mean (m)', 1, 2),
    'p90_footprint_error_m': ('error to the footprint, p90 (m)', 1, 2),
    'gross': ('> 4 m from the target that the mask shows (%)', 100, 1),
    'astray': ('> 4 m from every target of the frame (%)', 100, 1),
    'false': ('of masks that show no target (%)', 100, 1),
}


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(label)


def label(
    bags: Annotated[
        list[Path],
        typer.Argument(metavar='BAG...', help='Paired bags, or data sets of them.', show_default=False),
    ],
    out: Annotated[Path, typer.Option(help='Label file (.safetensors).', show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help='Contrastive checkpoint. Default: none, labels by EM alone.')
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help='How labels are made: auto (mcl_em with --model, else em), mcl_em, em, attention, '
            'attention_candidate, background_peak or ground_plane.'
        ),
    ] = 'auto',
    split: Annotated[
        list[str],
        typer.Option(
            help='Part of the data sets that is labelled: train, val or test; repeatable. Default: all. Other bags are '
            'labelled whole.'
        ),
    ] = ALL_PARTS,
    masks: Annotated[
        str,
        typer.Option(help="'motion' (what moves before a camera that stands), or a topic with masks or detections."),
    ] = 'motion',
    mask_setting: MaskSetting = NO_TEXTS,
    wrong_masks: Annotated[
        float,
        typer.Option(help='Share of the masks to be exchanged between frames, to study what that costs.', min=0, max=1),
    ] = 0.0,
    camera_pose: Annotated[
        str,
        typer.Option(
            help='Any name, if the camera stood alike in all bags; the same in train. Default: a map for each bag.'
        ),
    ] = '',
    background: Annotated[
        Literal['static', 'raw'],
        typer.Option(help='static: what the radar always sees is taken off. raw: it is not (a platform that moves).'),
    ] = 'static',
    coverage: Annotated[float, typer.Option(help='Share of the masks whose labels are kept.', min=0, max=1)] = 0.8,
    confidence: Annotated[
        float, typer.Option(help='Least confidence of a label instead; 0 = --coverage counts.', min=0, max=1)
    ] = 0.0,
    least_masks: Annotated[
        int, typer.Option(help='Fewest masks of a camera pose; bags of one with fewer get no labels.', min=1)
    ] = 100,
    person_depth: Annotated[
        float, typer.Option(help='m from where people and cyclists reflect on average to their middle, added.')
    ] = 0.0,
    vehicle_depth: Annotated[
        float | None,
        typer.Option(
            help='The same of vehicles, told by class or mask; 1 suits cars and vans. Default: by heading and size, '
            'learned from labels and masks (and, where the radar moves, /tf); with --relabel 0.',
            show_default=False,
        ),
    ] = None,
    relabel: Annotated[
        Path | None, typer.Option(help='Localizer checkpoint whose detections are radar peaks too: one more round.')
    ] = None,
    ground_frame: Annotated[
        str,
        typer.Option(
            help='Of method ground_plane: frame of /tf_static whose plane z = 0 is the ground. Default: map, or '
            'base_footprint.',
            show_default=False,
        ),
    ] = '',
    radar_above_ground: Annotated[
        float, typer.Option(help='Of method ground_plane, in place of a frame: m, over level ground.', min=0)
    ] = 0.0,
    report: Annotated[
        Path | None,
        typer.Option(help='Folder for labels.md and curves.png: every method side by side, where truth is known.'),
    ] = None,
    bag_folder: Annotated[
        Path | None, typer.Option('--bags', help='Folder in which each bag gets one with its labels, TargetArray.')
    ] = None,
    radar_height: Annotated[
        float,
        typer.Option(
            help='With --bags: m, of the radar above the middle of the targets, as the parameter of localizer_node; '
            'labels are then places on the ground. 0 = as the radar reads them.'
        ),
    ] = 0.0,
    cache: Annotated[Path | None, typer.Option(help='Of decoded bags. Default: ~/.cache/radio_visual_ssl.')] = None,
    overrides: Annotated[
        list[str],
        typer.Option(
            '--set',
            metavar='NAME=VALUE',
            help='Override any other setting, as in em.error_tolerance=3 or candidates.max_candidates=32; repeatable.',
        ),
    ] = NO_TEXTS,
    workers: Annotated[int, typer.Option(help='Processes; their number changes nothing.', min=1)] = 1,
    seed: Annotated[int, typer.Option(help='Draws everything that is drawn.', min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Label the targets of bags without anybody's help: cross-fitted by bag, with confidence and covariance."""
    import time

    with needed_by('label', 'safetensors'):
        from radio_visual_ssl.learning.label_set import LABEL_TOPIC, write_labels_to_bag
    from radio_visual_ssl.bags.metadata import BagError
    from radio_visual_ssl.learning.bag_selection import expand_bags
    from radio_visual_ssl.learning.experiment import settings_of
    from radio_visual_ssl.learning.label_evaluation import draw_curves, evaluate_labels, read_mask_truth, write_report
    from radio_visual_ssl.learning.label_refinement import RefinementSettings
    from radio_visual_ssl.learning.label_settings import SelfLabelSettings
    from radio_visual_ssl.learning.labelling import WITH_CALIBRATION, LabellingSettings, default_methods, make_labels
    from radio_visual_ssl.learning.recording_settings import RecordingError, RecordingSettings
    from radio_visual_ssl.learning.recordings import open_recordings

    begun = time.monotonic()
    settings = LabellingSettings(
        background=background,
        coverage=coverage,
        confidence=confidence,
        least_masks=least_masks,
        em=SelfLabelSettings(seed=seed),
        refinement=RefinementSettings(person_depth=person_depth, vehicle_depth=vehicle_depth),
    )
    settings = settings_of(
        LabellingSettings, overridden(asdict(settings), overrides), with_overrides('label', overrides)
    )
    contrastive: AttentionModel | None = None
    if model is not None:
        with needed_by('label --model', 'torch'):
            from radio_visual_ssl.learning.contrastive_model import ContrastiveModel

        contrastive = ContrastiveModel.load(model)
    localizer: Localizer | None = None
    if relabel is not None:
        with needed_by('label --relabel', 'torch'):
            from radio_visual_ssl.models.network_localizer import NetworkLocalizer
        from radio_visual_ssl.models.network_settings import NetworkLocalizerSettings

        localizer = NetworkLocalizer(NetworkLocalizerSettings(model=str(relabel), threshold=_LEAST_SCORE))
    methods = default_methods(contrastive, calibrated=True)
    chosen = _chosen(method, methods)
    check_writable('--out', out)
    for option, folder in (('--report', report), ('--bags', bag_folder)):
        if folder is not None:
            check_writable(option, folder / 'labels.md')
    sets = [path for path in bags if not split or (path / 'dataset.yaml').is_file()]
    parts = [expand_bags(sets or bags, part) for part in split] or [expand_bags(sets)]
    alone = [path for path in bags if sets and path not in sets]
    parts += [expand_bags(alone)] if alone else []
    paths = list(dict.fromkeys(path for part in parts for path in part))
    about = RecordingSettings(
        masks=masks,
        mask_settings=changed(MaskSettings(), mask_setting, '--mask-setting'),
        camera_pose=camera_pose,
        wrong_masks=wrong_masks,
    )
    with progress_bar('opening bags') as progress:
        recordings = open_recordings(
            paths,
            about,
            cache,
            workers,
            progress,
        )
    for folder in [bag_folder / recording.name for recording in recordings] if bag_folder is not None else ():
        if folder.exists():
            raise ValueError(f'--bags: expected a folder without bags of these names, got one with {folder}')
    for recording in recordings:
        for fault in recording.faults:
            _say(f'note: {recording.name}: {fault}')
    planes: list[GroundPlane | None] = []
    if report is not None or chosen in WITH_CALIBRATION:
        planes = _planes(recordings, ground_frame, radar_above_ground)
    if chosen not in WITH_CALIBRATION and not any(planes):
        methods = default_methods(contrastive)
    provenance: dict[str, Any] = {'masks': masks, 'wrong_masks': wrong_masks, 'camera_pose': camera_pose}
    provenance |= {'mask_settings': mask_setting} if mask_setting else {}
    provenance |= {key: str(value) for key, value in (('model', model), ('relabel', relabel)) if value is not None}
    with progress_bar('labelling') as progress:
        labelling = make_labels(
            recordings,
            contrastive,
            settings,
            methods if report is not None else [chosen],
            localizer=localizer,
            planes=planes or None,
            provenance=provenance,
            workers=workers,
            progress=lambda _, done, total: progress(done, total),
        )
    for note in labelling.notes:
        _say(f'note: {note}')
    label_set = labelling.methods[chosen].label_set
    label_set.save(out)
    if bag_folder is not None:
        for recording, labels in zip(recordings, label_set, strict=True):
            cone = recording.grid.reads_cone_angles
            write_labels_to_bag(bag_folder / recording.name, labels, recording.frame_id, radar_height, cone=cone)
        _say(f'bags with {LABEL_TOPIC}: {bag_folder}')
    seconds = time.monotonic() - begun
    evaluation: LabelEvaluation | None = None
    try:
        truth = read_mask_truth(recordings)
        evaluation = evaluate_labels(labelling.methods, truth) if truth.known.any() else None
    except (BagError, RecordingError) as error:  # the labels, which do without it, are saved
        _say(f'note: no figures of the labels, for the truth cannot be read: {error}')
    _print(labelling, evaluation)
    for name, share in _masks(evaluation).items():
        _say(f'{name.replace("_", " ")}: {"-" if share is None else f"{share:.3f}"}')
    if report is not None:
        _say(f'report: {write_report(labelling.methods, evaluation, report / "labels.md")}')
        if evaluation is not None:
            _say(f'picture: {draw_curves(evaluation, report / "curves.png")}')
    _say(f'labels of {len(recordings)} bags by {chosen}: {out}')
    if as_json:
        frames = sum(len(recording) for recording in recordings)
        print_json(
            {
                'out': str(out),
                'seconds': round(seconds, 3),
                'samples_per_s': round(frames / seconds, 1),
                'method': chosen,
                **_figures(labelling, evaluation, chosen),
                **_masks(evaluation),
                'methods': {name: _figures(labelling, evaluation, name) for name in labelling.methods},
            }
        )


def _say(text: str) -> None:
    """A line as it is."""
    console.print(text, soft_wrap=True)


def _chosen(method: str, methods: 'Sequence[Method]') -> 'Method':
    """The method whose labels are saved.

    Raises:
        ValueError: there is none of this name, or it needs a model.
    """
    if method == 'auto':
        return methods[0]
    found = [name for name in methods if name == method]
    if not found:
        raise ValueError(
            f'--method: expected auto, {", ".join(methods)} (those with attention need --model), got {method!r}'
        )
    return found[0]


def _planes(
    recordings: 'Sequence[Recording]', ground_frame: str, radar_above_ground: float
) -> 'list[GroundPlane | None]':
    """Camera and ground of each recording, where they are known; what is not known is told."""
    from radio_visual_ssl.learning.ground_plane_labels import CalibrationError, read_ground_plane

    planes: list[GroundPlane | None] = []
    lacking: list[CalibrationError] = []
    for recording in recordings:
        try:
            planes.append(read_ground_plane(recording, ground_frame, radar_above_ground))
        except CalibrationError as error:
            planes.append(None)
            lacking.append(error)
    if lacking:
        others = f' (one of {len(lacking)} such bags)' if lacking[1:] else ''
        _say(f'note: no labels by ground_plane: {lacking[0]}{others}')
    return planes


def _figures(labelling: 'Labelling', evaluation: 'LabelEvaluation | None', name: str) -> dict[str, Any]:
    """What JSON tells of a method; errors where the truth is known."""
    made = labelling.methods[name]
    masks, labels = len(made.labels), int(made.kept.sum())
    figures: dict[str, Any] = {
        'masks': masks,
        'labels': labels,
        'coverage': round(labels / masks, 4) if masks else None,
    }
    if evaluation is not None:
        judged = asdict(evaluation.figures[name])
        for key in (key for key in _ROWS if key not in figures):
            figures[key] = None if judged[key] is None else round(judged[key], 4)
    return figures


def _masks(evaluation: 'LabelEvaluation | None') -> dict[str, float | None]:
    """How good the masks are that the labels are of, where the truth is known."""
    if evaluation is None:
        return {}
    shares = {'mask_precision': evaluation.masks.precision, 'mask_recall': evaluation.masks.recall}
    return {name: None if share is None else round(share, 4) for name, share in shares.items()}


def _print(labelling: 'Labelling', evaluation: 'LabelEvaluation | None') -> None:
    """A table with a column for each method."""
    columns = {name: _figures(labelling, evaluation, name) for name in labelling.methods}
    rows = []
    for key, (text, scale, digits) in _ROWS.items():
        if all(key in figures for figures in columns.values()):
            values = (figures[key] for figures in columns.values())
            rows.append([text, *('-' if value is None else f'{scale * value:.{digits}f}' for value in values)])
    table('labels that are kept', ['', *columns], rows)
