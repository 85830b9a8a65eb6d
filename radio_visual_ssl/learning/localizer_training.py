# SPDX-License-Identifier: Apache-2.0
"""Trains the localizer, on self-labels or, for the baseline, on ground truth: one code path."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from radio_visual_ssl import __version__
from radio_visual_ssl.learning.calibration import CalibrationReport, CalibrationSettings, calibrate
from radio_visual_ssl.learning.held_out import contents, hold_out
from radio_visual_ssl.learning.label_set import LabelSet
from radio_visual_ssl.learning.label_share import share_of_labels
from radio_visual_ssl.learning.localizer_data import (
    AUTO,
    LabelledBatch,
    LabelledFrames,
    SectorSettings,
    encode_batch,
    frame_loader,
    learn_sectors,
    learned_classes,
)
from radio_visual_ssl.learning.localizer_variation import VariationSettings, vary
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.learning.training_run import (
    MONITOR,
    Epoch,
    RunSettings,
    TrainingError,
    fit,
    process_rank,
    rising_and_falling,
    seed_run,
    settings_content,
    variation_generator,
)
from radio_visual_ssl.models.checkpoint import Checkpoint, Kind, save_checkpoint
from radio_visual_ssl.models.fusion import FusionNetwork
from radio_visual_ssl.models.localizer import LocalizerNetwork, check_classes
from radio_visual_ssl.models.localizer_loss import LocalizerLoss
from radio_visual_ssl.models.network_localizer import make_network, network_of
from radio_visual_ssl.models.picture_input import PictureInputSettings
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings
from radio_visual_ssl.radar.geometry import common_radar


@dataclass(frozen=True)
class NetworkSettings:
    """Size of the network, see `LocalizerNetwork`.

    Attributes:
        width: channels inside; multiples of 16 suit a CPU whose vectors hold as many (AVX-512).
        kernel, stride: of the first convolution, (range, azimuth).
        dilations: of the residual blocks.
        coordinate_bands: octaves of the coordinate features.
    """

    width: int = 16
    kernel: tuple[int, int] = (5, 5)
    stride: tuple[int, int] = (2, 2)
    dilations: tuple[int, ...] = (1, 2, 4, 1)
    coordinate_bands: int = 2

    def __post_init__(self) -> None:
        """Lists become tuples; the network checks the values."""
        for name in ('kernel', 'stride', 'dilations'):
            value = getattr(self, name)
            object.__setattr__(self, name, (value, value) if isinstance(value, int) else tuple(value))


@dataclass(frozen=True)
class CameraSettings:
    """The camera's part of a fusion network, see `FusionNetwork`.

    Attributes:
        width: channels of the description of the picture.
        place_width: channels of the places by which cells attend to it.
        loss_weight: of the loss of what the camera tells alone, which teaches it where to look.
    """

    width: int = 24
    place_width: int = 32
    loss_weight: float = 1.0


@dataclass(frozen=True)
class LocalizerTrainingSettings:
    """Everything that training a localizer depends on, beside its data.

    Attributes:
        radar_input: what the network sees.
        network: its size.
        fusion: whether the network sees the camera, too: an upper baseline, for one pose of the camera.
        picture_input: what it sees of it.
        camera: size of that part.
        run: epochs, precision, seed.
        variation: of the training frames.
        sector: how the part that the camera sees is learned from the labels.
        calibration: of the scores.
        batch_size: frames of each process.
        learning_rate: largest; it rises over ``warm_up`` of the steps and falls to 0 with a cosine.
        weight_decay: of AdamW.
        warm_up: share of the steps.
        averaging: part of the averaged weights, which are the ones that are kept, that a step leaves as it is.
        sigma: m, of the bump around a label's place.
        least_sigma: cells, lower bound of it.
        most_spread: m, up to which the standard deviation of a label's place widens its bump.
        dropped_radius: m, around a dropped label nothing is learned.
        offset_loss: see `LocalizerLoss`.
        offset_weight: of the offset loss against the centre loss.
        classes: names of what targets may be that the network learns to tell apart, at least two; 'auto' = all that
            kept labels have, if they have two or more; () = none.
        class_weight: of the class loss against the centre loss.
        held_out: share of the recordings that validation gets where it is given none; of fewer than three recordings
            the end of each.
        label_share: share of the labelled frames that is used, in training and in validation alike, see
            ``label_share.share_of_labels``; drawn by ``run.seed``. An epoch takes each frame that is left a
            whole number of times, so that it has about as many steps as with all labels.
        workers: processes that read frames; 0 = this one, which is enough for arrays that are mapped from files.

    Raises:
        ValueError: a value out of range.
    """

    radar_input: RadarInputSettings = field(default_factory=RadarInputSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fusion: bool = False
    picture_input: PictureInputSettings = field(default_factory=PictureInputSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    run: RunSettings = field(default_factory=RunSettings)
    variation: VariationSettings = field(default_factory=VariationSettings)
    sector: SectorSettings = field(default_factory=SectorSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    batch_size: int = 16
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    warm_up: float = 0.1
    averaging: float = 0.995
    sigma: float = 0.75
    least_sigma: float = 0.7
    most_spread: float = 2.0
    dropped_radius: float = 5.0
    offset_loss: Literal['student_t', 'huber'] = 'student_t'
    offset_weight: float = 1.0
    classes: tuple[str, ...] = (AUTO,)
    class_weight: float = 3.0
    held_out: float = 0.2
    label_share: float = 1.0
    workers: int = 0

    def __post_init__(self) -> None:
        """Check what no part checks itself; a list of classes, or one name, becomes a tuple."""
        object.__setattr__(self, 'classes', (self.classes,) if isinstance(self.classes, str) else tuple(self.classes))
        if self.classes != (AUTO,):
            check_classes(self.classes)
        for name in ('batch_size', 'learning_rate', 'sigma', 'least_sigma', 'dropped_radius'):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f'{name}: expected a positive number, got {getattr(self, name)!r}')
        if not (math.isfinite(self.most_spread) and self.most_spread >= 0):
            raise ValueError(f'most_spread: expected 0 m or more, got {self.most_spread!r}')
        for name in ('warm_up', 'averaging'):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f'{name}: expected a share from 0 to below 1, got {getattr(self, name)!r}')
        if not 0 < self.held_out < 0.6:
            raise ValueError(f'held_out: expected a share from above 0 to 0.6, got {self.held_out!r}')
        if not 0 < self.label_share <= 1:
            raise ValueError(f'label_share: expected a share from above 0 to 1, got {self.label_share!r}')


@dataclass(frozen=True, eq=False)
class LocalizerTrainingReport:
    """What training came to.

    Attributes:
        checkpoint: path of the model.
        validation_loss: of the epoch that was chosen, on labels of recordings that were not trained on.
        epochs: that were run.
        seconds: of this process' part, calibration included.
        samples_per_s: frames trained on per second.
        frames, labels: trained on.
        classes: that were learned.
        calibration: of the model.
    """

    checkpoint: Path
    validation_loss: float
    epochs: int
    seconds: float
    samples_per_s: float
    frames: int
    labels: int
    classes: tuple[str, ...]
    calibration: CalibrationReport

    def to_json(self) -> dict[str, Any]:
        """The figures."""
        return {**self.__dict__, 'checkpoint': str(self.checkpoint), 'calibration': self.calibration.to_json()}


class LocalizerModule(LightningModule):
    """The network and its running average, with the loss and the schedule.

    Args:
        network: to be trained.
        channels: of its input.
        settings: of the training.
        steps: of all epochs.
    """

    def __init__(
        self, network: LocalizerNetwork, channels: Sequence[str], settings: LocalizerTrainingSettings, steps: int
    ) -> None:
        super().__init__()
        # channels last in memory: a fifth faster on a CPU, where the norms over channels would copy the maps
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(network).requires_grad_(False).eval()
        self._channels, self._settings, self._steps = tuple(channels), settings, steps
        self._loss = LocalizerLoss(
            settings.offset_loss, offset_weight=settings.offset_weight, class_weight=settings.class_weight
        )

    def training_step(self, batch: LabelledBatch, batch_idx: int) -> Tensor:
        """The loss of a varied batch; the variation depends on seed, epoch, batch and process alone."""
        generator = variation_generator(self._settings.run.seed, self.current_epoch, batch_idx, self.global_rank)
        batch = vary(batch, self.network.grid, self._channels, self._settings.variation, generator)
        loss = self._loss_of(self.network, batch, self._settings.camera.loss_weight)
        self.log('training_loss', loss, on_step=False, on_epoch=True, batch_size=len(batch.maps), sync_dist=True)
        return loss

    def validation_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        """The loss of the averaged weights."""
        loss = self._loss_of(self.average, batch)
        self.log(MONITOR, loss, on_step=False, on_epoch=True, batch_size=len(batch.maps), sync_dist=True)

    def on_train_batch_end(self, outputs: Any, batch: LabelledBatch, batch_idx: int) -> None:
        """Move the average on; over the first steps it is nearer to the plain mean."""
        step = self.global_step
        kept = min(self._settings.averaging, step / (step + 10))
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(weight, 1 - kept)

    def configure_optimizers(self) -> Any:
        """AdamW with a rise and a cosine fall of the learning rate."""
        settings = self._settings
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        return rising_and_falling(optimizer, self._steps, settings.warm_up)

    def _loss_of(self, network: LocalizerNetwork, batch: LabelledBatch, camera_weight: float = 0.0) -> Tensor:
        settings = self._settings
        labels, visible = encode_batch(
            batch,
            network.cells,
            settings.sigma,
            settings.least_sigma,
            settings.dropped_radius,
            settings.most_spread,
        )
        maps, *others = batch.inputs()
        maps = maps.contiguous(memory_format=torch.channels_last)
        if not (camera_weight and isinstance(network, FusionNetwork)):
            return self._loss(network(maps, *others), labels, visible)
        together, camera = network.both(maps, *others)
        return self._loss(together, labels, visible) + camera_weight * self._loss(camera, labels, visible)


def train_localizer(
    recordings: Sequence[Recording],
    labels: LabelSet,
    settings: LocalizerTrainingSettings,
    out: str | Path,
    *,
    validation: Sequence[Recording] = (),
    run: str | Path | None = None,
    resume: bool = False,
    provenance: Mapping[str, Any] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> LocalizerTrainingReport:
    """Train a localizer on labelled recordings and write its checkpoint; no ground truth is looked at.

    The epoch is chosen by the loss on validation labels, on which scores and variances are calibrated too. For a
    supervised baseline, give ``localizer_data.truth_labels`` as the labels.

    Args:
        recordings: of one radar, to be trained on.
        labels: of these and the validation recordings.
        settings: of input, network and training.
        out: path of the checkpoint, .safetensors.
        validation: recordings that are not trained on; without, some of the others are held out.
        run: folder of logs and the state to go on from; None: ``out`` with the ending .run.
        resume: go on where the run in that folder ended; with equal results.
        provenance: what else the checkpoint tells of its making, as JSON holds it.
        on_epoch: called after each epoch.

    Raises:
        TrainingError: no recordings, one twice, no kept labels on known frames or too few with a share of the labels,
            another run's folder to be resumed, a run's folder that cannot be written, or a camera of several poses.
        LabelError: labels of other bags.
        ValueError: settings that do not fit the radar.
        CheckpointError: the checkpoint cannot be written.
    """
    out, began = Path(out), time.monotonic()
    parts = hold_out(recordings, validation, settings.held_out)
    training, held_out = parts.training, parts.validation
    seed_run(settings.run)
    share, seed = settings.label_share, settings.run.seed
    of_training, of_held_out = (
        share_of_labels([labels.of(each) for each in some], share, seed, span, name)
        for some, span, name in (
            (training, parts.training_span, 'training'),
            (held_out, parts.validation_span, 'validation'),
        )
    )
    sectors = learn_sectors(of_training, settings.sector, parts.training_span)
    classes = learned_classes(of_training, settings.classes, parts.training_span)
    pictures = settings.picture_input if settings.fusion else None
    poses = {each.group for each in (*training, *held_out)}
    if settings.fusion and len(poses) > 1:
        raise TrainingError(f'fusion: expected bags of one camera pose, which has a name, got {len(poses)} poses')
    frames = LabelledFrames(
        training,
        of_training,
        settings.radar_input,
        sectors,
        parts.training_span,
        max(round(1 / share), 1),
        pictures,
        classes,
    )
    others = LabelledFrames(
        held_out,
        of_held_out,
        settings.radar_input,
        sectors,
        parts.validation_span,
        pictures=pictures,
        classes=classes,
    )
    for name, some in (('training', frames), ('validation', others)):
        if not some.kept:
            raise TrainingError(f'{name}: expected kept labels on frames of which the camera knows, got none')
    loader = frame_loader(frames, settings.batch_size, settings.run.seed, workers=settings.workers)
    check = frame_loader(others, settings.batch_size, shuffle=False, workers=settings.workers)
    radar_input = RadarInput(settings.radar_input, recordings[0].grid)
    architecture = asdict(settings.network)
    if classes:
        architecture['classes'] = classes
    kind: Kind = 'localizer'
    if settings.fusion:
        kind = 'fusion'
        architecture |= {
            'picture_width': settings.camera.width,
            'place_width': settings.camera.place_width,
            'picture': asdict(settings.picture_input),
        }
    network = make_network(kind, radar_input, architecture)
    steps = len(loader) * settings.run.epochs
    module = LocalizerModule(network, settings.radar_input.channels, settings, steps)
    about = {
        'settings': settings_content(settings),
        'bags': contents([*training, *held_out]),
        'validation': list(contents(held_out)),
        'labels': labels.method,
        'labels_content': labels.content,
    }
    result = fit(
        module,
        loader,
        check,
        settings.run,
        run or out.with_suffix('.run'),
        fingerprint={**about, 'kept': [frames.kept, others.kept], **dict(provenance or {})},
        resume=resume,
        on_epoch=on_epoch,
    )
    average = {
        name.removeprefix('average.'): weight for name, weight in result.weights.items() if name.startswith('average.')
    }
    radar = common_radar((each.name, each.geometry) for each in recordings)
    checkpoint = Checkpoint(kind, average, radar, settings.radar_input, architecture)
    everything = frame_loader(others, settings.batch_size, shuffle=False, split=False)
    ranges = min(float(each[0]) for each in sectors.values()), max(float(each[1]) for each in sectors.values())
    calibration = calibrate(network_of(checkpoint), everything, settings.calibration, ranges)
    seconds = time.monotonic() - began
    if process_rank() == 0:
        checkpoint = Checkpoint(
            kind,
            average,
            checkpoint.radar,
            settings.radar_input,
            architecture,
            calibration.to_json(),
            {
                'package': __version__,
                **about,
                'labels_provenance': dict(labels.provenance),
                'label_share': settings.label_share,
                'frames': frames.known,
                'kept_labels': frames.kept,
                'validation_frames': others.known,
                'validation_kept_labels': others.kept,
                'epochs': result.epochs,
                'validation_loss': result.loss,
                'seconds': round(seconds, 1),
                **dict(provenance or {}),
            },
        )
        save_checkpoint(out, checkpoint)
    return LocalizerTrainingReport(
        out, result.loss, result.epochs, seconds, result.samples_per_s, frames.known, frames.kept, classes, calibration
    )
