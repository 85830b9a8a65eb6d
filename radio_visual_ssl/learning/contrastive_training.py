# SPDX-License-Identifier: Apache-2.0
"""Stage 1: trains both encoders on pairs alone, by contrastive learning (MCL, SCL) or without negatives (VICReg)."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from radio_visual_ssl import __version__
from radio_visual_ssl.learning.contrastive_data import (
    ContrastiveBatch,
    ContrastiveFrames,
    EachScene,
    SceneSampler,
)
from radio_visual_ssl.learning.contrastive_model import OBJECTIVES, Encoders, EncoderSettings, Objective
from radio_visual_ssl.learning.held_out import contents, hold_out
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.learning.training_run import (
    MONITOR,
    Epoch,
    RunSettings,
    TrainingError,
    batch_loader,
    fit,
    process_rank,
    rising_and_falling,
    seed_run,
    settings_content,
    variation_generator,
    world_size,
)
from radio_visual_ssl.models.attention import held_out_peak_likelihood
from radio_visual_ssl.models.checkpoint import Checkpoint, save_checkpoint
from radio_visual_ssl.models.contrastive import (
    AttentionPooling,
    MaskedContrastiveLoss,
    SceneContrastiveLoss,
    near_in_time,
)
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings
from radio_visual_ssl.models.vicreg import MaskedVicregLoss
from radio_visual_ssl.radar.geometry import common_radar


@dataclass(frozen=True)
class ContrastiveTrainingSettings:
    """Everything that contrastive training depends on, beside its data.

    Attributes:
        objective: mcl, vicreg: a query is a target's mask; scl: a query is the whole picture, no masks are needed; see
            `radio_visual_ssl.learning.contrastive_model.Objective`.
        radar_input: what the radio encoder sees; ('change',) for a radar that stands, ('power',) for one that moves.
        encoders: their size.
        run: epochs, precision, seed.
        scenes: recordings in a batch.
        frames_per_scene: frames of each, for each process.
        steps: batches of an epoch.
        empty_share: of a scene's frames in a batch, drawn from all of its frames: those without a query, which are
            negatives alone, too.
        background: whether what is left of a picture without its targets is a hard negative, of mcl.
        least_mask: pixels at ``encoders.image_width``, smaller masks give no query.
        doubtful: whether truncated, merged, split and occluded masks give queries too.
        temperature: of the loss and its pooling.
        pooling: of the attention, see `AttentionPooling`; vicreg sums what the cells answer instead.
        exclusion_s: s, frames of a recording nearer than this are no negatives of each other.
        soft_negatives: of mcl, from 0 to 1: by how much less a frame counts as a negative of a query in which a mask of
            its size is asked for at its place; see `MaskedContrastiveLoss`. 0 = all negatives count alike.
        learning_rate: largest; it rises over ``warm_up`` of the steps and falls to 0 with a cosine.
        weight_decay: of AdamW.
        warm_up: share of the steps.
        gain_variation: dB, standard deviation by which the radar's log-power is scaled, as a share of 10 dB.
        light_variation: largest change of the pictures' brightness and contrast, as a share.
        held_out: share of the recordings that validation gets where it is given none; of fewer than three recordings
            the end of each.
        workers: processes that read frames; 0 = this one.

    Raises:
        ValueError: a value out of range.
    """

    objective: Objective = 'mcl'
    radar_input: RadarInputSettings = field(default_factory=lambda: RadarInputSettings(channels=('change',)))
    encoders: EncoderSettings = field(default_factory=EncoderSettings)
    run: RunSettings = field(default_factory=RunSettings)
    scenes: int = 8
    frames_per_scene: int = 6
    steps: int = 100
    empty_share: float = 0.15
    background: bool = False
    least_mask: float = 0.5
    doubtful: bool = False
    temperature: float = 0.1
    pooling: str = 'logsumexp'
    exclusion_s: float = 1.0
    soft_negatives: float = 0.0
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.15
    gain_variation: float = 0.5
    light_variation: float = 0.2
    held_out: float = 0.2
    workers: int = 0

    def __post_init__(self) -> None:
        """Check the numbers that no part checks itself."""
        if self.objective not in OBJECTIVES:
            raise ValueError(f'objective: expected one of {", ".join(OBJECTIVES)}, got {self.objective!r}')
        for name in ('background', 'soft_negatives') if self.objective != 'mcl' else ():
            if getattr(self, name):
                raise ValueError(f'{name}: expected none with {self.objective}, got {getattr(self, name)!r}')
        if not 0 <= self.soft_negatives <= 1:
            raise ValueError(f'soft_negatives: expected a weight from 0 to 1, got {self.soft_negatives!r}')
        for name in ('scenes', 'steps'):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise ValueError(f'{name}: expected a whole number from 1 on, got {getattr(self, name)!r}')
        if not (isinstance(self.frames_per_scene, int) and self.frames_per_scene >= 2):
            raise ValueError(f'frames_per_scene: expected a whole number from 2 on, got {self.frames_per_scene!r}')
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f'learning_rate: expected a positive number, got {self.learning_rate!r}')
        if not 0 < self.held_out < 0.6:
            raise ValueError(f'held_out: expected a share from above 0 to 0.6, got {self.held_out!r}')
        for name in ('warm_up', 'empty_share', 'light_variation'):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f'{name}: expected a share from 0 to below 1, got {getattr(self, name)!r}')
        for name in ('gain_variation', 'least_mask', 'weight_decay'):
            if not getattr(self, name) >= 0:
                raise ValueError(f'{name}: expected 0 or more, got {getattr(self, name)!r}')


@dataclass(frozen=True, eq=False)
class ContrastiveTrainingReport:
    """What training came to.

    Attributes:
        checkpoint: path of the model.
        validation_loss: nats, of the epoch that was chosen: 32 frames of each scene that was not trained on.
        peak_likelihood_gain: nats by which the own frame's peak is likelier than a shuffled one's, there.
        peak_superiority: probability that it is higher; 0.5 = nothing was learned.
        epochs: that were run.
        seconds: of this process' part.
        samples_per_s: frames trained on per second.
        frames, queries: that could be trained on.
    """

    checkpoint: Path
    validation_loss: float
    peak_likelihood_gain: float
    peak_superiority: float
    epochs: int
    seconds: float
    samples_per_s: float
    frames: int
    queries: int

    def to_json(self) -> dict[str, Any]:
        """The figures."""
        return {**self.__dict__, 'checkpoint': str(self.checkpoint)}


class ContrastiveModule(LightningModule):
    """Both encoders with the loss and the schedule.

    Args:
        encoders: to be trained.
        settings: of the training.
    """

    def __init__(self, encoders: Encoders, settings: ContrastiveTrainingSettings) -> None:
        super().__init__()
        self.encoders, self._settings = encoders, settings
        pooling = AttentionPooling(settings.pooling, settings.temperature)  # type: ignore[arg-type]
        together = world_size() > 1
        common: dict[str, Any] = {'exclusion_s': settings.exclusion_s, 'gather_distributed': together}
        self._masked_loss = MaskedContrastiveLoss(
            settings.temperature, pooling, soft_negatives=settings.soft_negatives, **common
        )
        self._scene_loss = SceneContrastiveLoss(settings.temperature, pooling, **common)
        self._vicreg_loss = MaskedVicregLoss(settings.temperature, gather_distributed=together)
        # Whatever was trained by is judged alike; a scene by each process by itself.
        self._own_loss = MaskedContrastiveLoss(settings.temperature, pooling, exclusion_s=settings.exclusion_s)

    def training_step(self, batch: ContrastiveBatch, batch_idx: int) -> Tensor:
        """The loss of a varied batch; the variation depends on seed, epoch, batch and process alone."""
        batch = self._varied(batch, batch_idx)
        keys = self.encoders.radio(batch.maps)
        if self._settings.objective == 'scl':
            seen = batch.has_image
            queries = self.encoders.vision(batch.images[seen])
            near = {'stamps_ns': batch.stamps_ns[seen], 'sequence': batch.sequence[seen]}
            loss = self._scene_loss(keys[seen], queries, **near)
        elif self._settings.objective == 'vicreg':
            loss = self._vicreg_loss(keys, self._queries(batch), batch.query_frame, batch.sequence)
        else:
            loss = self._contrast(keys, batch)
        self.log('training_loss', loss, on_step=False, on_epoch=True, batch_size=len(batch.maps), sync_dist=True)
        return loss

    def validation_step(self, batch: ContrastiveBatch, batch_idx: int) -> None:
        """Loss and peak likelihood among the frames of one scene."""
        if self._settings.objective == 'scl':
            seen = batch.has_image
            keys, queries = self.encoders.radio(batch.maps[seen]), self.encoders.vision(batch.images[seen])
            frame, stamps_ns = torch.arange(len(keys), device=keys.device), batch.stamps_ns[seen]
        else:
            keys, queries = self.encoders.radio(batch.maps), self._queries(batch)
            frame, stamps_ns = batch.query_frame, batch.stamps_ns
        loss = self._own_loss(keys, queries, frame, stamps_ns=stamps_ns)
        near = near_in_time(stamps_ns, self._settings.exclusion_s)
        figures = {MONITOR: loss}
        if not bool(near.all()):
            peaks = held_out_peak_likelihood(keys, queries, frame, excluded=near)
            figures |= {'peak_likelihood_gain': peaks.gain, 'peak_superiority': peaks.superiority}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with a rise and a cosine fall of the learning rate."""
        settings = self._settings
        optimizer = torch.optim.AdamW(
            self.encoders.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        return rising_and_falling(optimizer, settings.steps * settings.run.epochs, settings.warm_up)

    def _contrast(self, keys: Tensor, batch: ContrastiveBatch) -> Tensor:
        """The loss of masked contrastive learning."""
        images, masks = batch.images[batch.query_frame], batch.masks
        given = {'stamps_ns': batch.stamps_ns, 'sequence': batch.sequence, 'masks': masks}
        if self._settings.background:
            # together with the targets, so that both are standardised by the same mean and spread
            images, masks = torch.cat((images, batch.images)), torch.cat((masks, batch.background))
        queries, background = self.encoders.vision(images, masks).tensor_split((len(batch.masks),))
        if self._settings.background:
            given |= {'background': background, 'has_background': batch.has_background}
        return self._masked_loss(keys, queries, batch.query_frame, **given)

    def _queries(self, batch: ContrastiveBatch) -> Tensor:
        return self.encoders.vision(batch.images[batch.query_frame], batch.masks)

    def _varied(self, batch: ContrastiveBatch, batch_idx: int) -> ContrastiveBatch:
        """Another gain of the radar in each frame, another light in each picture."""
        settings = self._settings
        generator = variation_generator(settings.run.seed, self.current_epoch, batch_idx, self.global_rank)
        count = len(batch.maps)
        gain = 1 + settings.gain_variation / 10 * torch.randn(count, 1, 1, 1, generator=generator)
        light = 1 + settings.light_variation * (2 * torch.rand(2, count, 1, 1, 1, generator=generator) - 1)
        contrast, brightness = light.to(batch.images)
        images = ((batch.images - 0.5) * contrast + 0.5) * brightness
        levels = torch.tensor([channel != 'velocity' for channel in settings.radar_input.channels])[:, None, None]
        gain = torch.where(levels, gain, 1.0)
        return batch._replace(maps=batch.maps * gain.to(batch.maps), images=images.clamp(0, 1))


def train_contrastive(
    recordings: Sequence[Recording],
    settings: ContrastiveTrainingSettings,
    out: str | Path,
    *,
    validation: Sequence[Recording] = (),
    run: str | Path | None = None,
    resume: bool = False,
    provenance: Mapping[str, Any] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> ContrastiveTrainingReport:
    """Train both encoders on pairs and write their checkpoint; nothing is known of where targets are.

    The epoch is chosen by the loss on scenes, or ends of scenes, that were not trained on.

    Args:
        recordings: of one radar, to be trained on.
        settings: of input, encoders and training.
        out: path of the checkpoint, .safetensors.
        validation: recordings that are not trained on; without, some of the others are held out.
        run: folder of logs and the state to go on from; None: ``out`` with the ending .run.
        resume: go on where the run in that folder ended; with equal results.
        provenance: what else the checkpoint tells of its making, as JSON holds it.
        on_epoch: called after each epoch.

    Raises:
        TrainingError: no recordings, one twice, none with clear masks (or pictures), another run's folder to be
            resumed, or a run's folder that cannot be written.
        ValueError: settings that do not fit the radar.
        CheckpointError: the checkpoint cannot be written.
    """
    out, began = Path(out), time.monotonic()
    parts = hold_out(recordings, validation, settings.held_out)
    training, held_out = parts.training, parts.validation
    seed_run(settings.run)
    frames, others = (
        ContrastiveFrames(
            some,
            settings.radar_input,
            settings.encoders.image_width,
            settings.least_mask,
            settings.doubtful,
            whole=settings.objective == 'scl',
            span=span,
        )
        for some, span in ((training, parts.training_span), (held_out, parts.validation_span))
    )
    sampler = SceneSampler(
        frames,
        settings.scenes,
        settings.frames_per_scene,
        settings.steps,
        settings.run.seed,
        settings.empty_share if settings.objective == 'mcl' else 0.0,
    )
    scenes = EachScene(others)
    if not len(scenes):
        raise TrainingError('validation: expected recordings with clear masks of targets, got none')
    radar_input = RadarInput(settings.radar_input, recordings[0].grid)
    encoders = Encoders(radar_input.grid, radar_input.channels, settings.encoders)
    module = ContrastiveModule(encoders, settings)
    about = {
        'settings': settings_content(settings),
        'bags': contents([*training, *held_out]),
        'validation': list(contents(held_out)),
    }
    result = fit(
        module,
        batch_loader(frames, sampler, settings.workers),
        batch_loader(others, scenes),
        settings.run,
        run or out.with_suffix('.run'),
        fingerprint={**about, **dict(provenance or {})},
        resume=resume,
        on_epoch=on_epoch,
    )
    seconds = time.monotonic() - began
    weights = {name.removeprefix('encoders.'): weight for name, weight in result.weights.items()}
    names = set(encoders.state_dict())
    gain, superiority = (result.figures.get(f'peak_{name}', math.nan) for name in ('likelihood_gain', 'superiority'))
    if process_rank() == 0:
        architecture = {
            'objective': settings.objective,
            # a checkpoint has all weights itself
            'encoders': asdict(replace(settings.encoders, backbone_weights='')),
            'temperature': settings.temperature,
        }
        told = {
            'package': __version__,
            **about,
            'frames': len(frames),
            'queries': frames.masks,
            'epochs': result.epochs,
            'validation_loss': result.loss,
            'seconds': round(seconds, 1),
            **dict(provenance or {}),
        }
        save_checkpoint(
            out,
            Checkpoint(
                'contrastive',
                {name: weight for name, weight in weights.items() if name in names},
                common_radar((each.name, each.geometry) for each in recordings),
                settings.radar_input,
                architecture,
                provenance=told,
            ),
        )
    return ContrastiveTrainingReport(
        out,
        result.loss,
        gain,
        superiority,
        result.epochs,
        seconds,
        result.samples_per_s,
        len(frames),
        frames.masks,
    )
