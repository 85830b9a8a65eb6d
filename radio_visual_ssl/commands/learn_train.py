# SPDX-License-Identifier: Apache-2.0
"""train: contrastive encoders from pairs alone, or a localizer from labels."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radio_visual_ssl.commands.options import Json, MaskSetting
from radio_visual_ssl.commands.output import check_writable, console, print_json, progress_bar
from radio_visual_ssl.optional_packages import needed_by
from radio_visual_ssl.overrides import changed, overridden, with_overrides
from radio_visual_ssl.vision.mask_settings import MaskSettings

if TYPE_CHECKING:
    from radio_visual_ssl.learning.label_set import LabelSet
    from radio_visual_ssl.learning.recordings import Recording
    from radio_visual_ssl.learning.training_run import Epoch

_TRAINING, _VALIDATION = 'train', 'val'

NO_BAGS: list[Path] = []
NO_TEXTS: list[str] = []


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(train)


def train(
    bags: Annotated[
        list[Path],
        typer.Argument(
            metavar='BAG...',
            help='Paired bags, or data sets of them, of whose parts train and val are used as such.',
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help='Checkpoint (.safetensors); replaced.', show_default=False)],
    labels: Annotated[
        Path | None, typer.Option(help='Label file: a localizer is trained. Default: contrastive encoders are.')
    ] = None,
    truth: Annotated[
        bool, typer.Option('--truth', help='Train a localizer on the ground truth of the bags: the baseline.')
    ] = False,
    fusion: Annotated[
        bool,
        typer.Option(
            '--fusion', help='With --truth: a network that sees the camera beside the radar, the upper baseline.'
        ),
    ] = False,
    label_share: Annotated[
        float | None,
        typer.Option(
            help='Share of the labelled frames that a localizer learns from and is validated on, spread evenly over '
            'all bags: label_share. Default: all.',
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        str,
        typer.Option(
            help='Experiment: YAML file, or a name in config/learning/. Default: contrastive; with labels localizer.'
        ),
    ] = '',
    overrides: Annotated[
        list[str],
        typer.Option('--set', metavar='NAME=VALUE', help='Override a setting of it, as in run.epochs=5; repeatable.'),
    ] = NO_TEXTS,
    validation: Annotated[
        list[Path],
        typer.Option(help='Bags that choose the epoch, repeatable. Default: the part val, or some of the bags.'),
    ] = NO_BAGS,
    seed: Annotated[int | None, typer.Option(help='Of weights, order and variation: run.seed.', min=0)] = None,
    masks: Annotated[
        str,
        typer.Option(
            help="'motion' (what moves before a camera that stands), a topic with masks or detections, or 'none' (with "
            '--truth).'
        ),
    ] = 'motion',
    mask_setting: MaskSetting = NO_TEXTS,
    camera_pose: Annotated[
        str, typer.Option(help='Any name, if the camera stood alike in all bags; the same in label. Default: none.')
    ] = '',
    wrong_masks: Annotated[
        float,
        typer.Option(help='Share of the masks to be exchanged between frames, to study what that costs.', min=0, max=1),
    ] = 0.0,
    wrong_labels: Annotated[
        float, typer.Option(help='Share of the labels whose places are exchanged between frames.', min=0, max=1)
    ] = 0.0,
    label_noise: Annotated[
        float, typer.Option(metavar='M', help='Standard deviation of noise on the labels, each way.', min=0)
    ] = 0.0,
    resume: Annotated[bool, typer.Option('--resume', help='Go on where an interrupted run ended.')] = False,
    cache: Annotated[Path | None, typer.Option(help='Of decoded bags. Default: ~/.cache/radio_visual_ssl.')] = None,
    workers: Annotated[int, typer.Option(help='Processes that decode bags.', min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Train contrastive encoders on pairs of radar and camera, or with labels a localizer on the radar alone.

    Under torchrun, all of its processes train one model together.
    """
    with needed_by('train', 'torch', 'lightning', 'safetensors'):
        from radio_visual_ssl.learning.contrastive_training import ContrastiveTrainingSettings, train_contrastive
        from radio_visual_ssl.learning.experiment import read_experiment, settings_of
        from radio_visual_ssl.learning.label_noise import noisy_labels
        from radio_visual_ssl.learning.label_set import LabelSet
        from radio_visual_ssl.learning.localizer_training import LocalizerTrainingSettings, train_localizer
        from radio_visual_ssl.learning.recording_settings import RecordingSettings
        from radio_visual_ssl.learning.recordings import open_recordings
        from radio_visual_ssl.learning.training_run import process_rank

    if labels is not None and truth:
        raise ValueError('--labels, --truth: expected one of the two, got both')
    localizer = labels is not None or truth
    if label_share is not None and not localizer:
        raise ValueError('--label-share: expected --labels or --truth with it, got neither')
    if fusion and not (truth and camera_pose):
        raise ValueError(
            '--fusion: expected --truth and --camera-pose with it, for it holds for one pose of the camera'
        )
    if not localizer and (label_noise or wrong_labels):
        raise ValueError('--label-noise, --wrong-labels: expected --labels or --truth with them')
    name = config or ('localizer' if localizer else 'contrastive')
    options = {'run.seed': seed, 'label_share': label_share, 'fusion': True if fusion else None}
    given_options = [f'{key}={value}' for key, value in options.items() if value is not None]
    content = overridden(read_experiment(name), [*overrides, *given_options])
    settings: Any = settings_of(
        LocalizerTrainingSettings if localizer else ContrastiveTrainingSettings,
        content,
        with_overrides(name, overrides),
    )
    given = None if labels is None else LabelSet.load(labels)
    check_writable('--out', out)
    training, others = _parts(bags, validation)
    about = RecordingSettings(
        masks=masks,
        mask_settings=changed(MaskSettings(), mask_setting, '--mask-setting'),
        camera_pose=camera_pose,
        wrong_masks=wrong_masks,
    )
    with progress_bar('opening bags') as progress:
        recordings = open_recordings([*training, *others], about, cache, workers, progress)
    told = process_rank() == 0
    for recording in recordings if told else ():
        for fault in recording.faults:
            console.print(f'note: {recording.name}: {fault}', soft_wrap=True)
    chosen, held_out = recordings[: len(training)], recordings[len(training) :]
    common: dict[str, Any] = {'validation': held_out, 'resume': resume, 'on_epoch': _print_epoch if told else None}
    report: Any
    if localizer:
        made = noisy_labels(given or _truth_labels(recordings), label_noise, wrong_labels, settings.run.seed)
        report = train_localizer(chosen, made, settings, out, **common)
        figures = {'validation_loss': report.validation_loss, 'labels': report.labels}
    else:
        seen = {'masks': masks, 'wrong_masks': wrong_masks}
        seen |= {'mask_settings': mask_setting} if mask_setting else {}
        report = train_contrastive(chosen, settings, out, provenance=seen, **common)
        figures = {'validation_loss': report.validation_loss, 'peak_superiority': report.peak_superiority}
    if not told:
        return
    shown = ', '.join(f'{key.replace("_", " ")} {value:.4g}' for key, value in figures.items())
    text = f'{out}: {report.epochs} epochs, {report.seconds:.0f} s, {shown}'
    console.print(text, soft_wrap=True)
    if as_json:
        known = {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in report.to_json().items()
        }
        print_json(known)


def _parts(bags: list[Path], validation: list[Path]) -> tuple[list[Path], list[Path]]:
    """Bags to train on and bags that choose the epoch."""
    from radio_visual_ssl.learning.bag_selection import expand_bags

    training: list[Path] = []
    others = expand_bags(validation) if validation else []
    for path in bags:
        if not (path / 'dataset.yaml').is_file():
            training += expand_bags([path])
            continue
        training += expand_bags([path], _TRAINING)
        if not validation:
            others += expand_bags([path], _VALIDATION)
    return training, others


def _truth_labels(recordings: 'list[Recording]') -> 'LabelSet':
    """Ground truth as labels."""
    from radio_visual_ssl.learning.localizer_data import truth_labels
    from radio_visual_ssl.learning.truth import read_truth

    return truth_labels(recordings, [read_truth(recording) for recording in recordings])


def _print_epoch(epoch: 'Epoch') -> None:
    """A line for each epoch."""
    figures = ', '.join(f'{name.replace("_", " ")} {value:.4g}' for name, value in sorted(epoch.figures.items()))
    console.print(f'epoch {epoch.number} of {epoch.epochs}: {figures}', soft_wrap=True)
