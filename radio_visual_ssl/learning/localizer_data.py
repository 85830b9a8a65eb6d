# SPDX-License-Identifier: Apache-2.0
"""What the localizer is trained on: heatmaps with labels, and the part of them that the camera sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from radio_visual_ssl.learning.label_set import LabelSet, RecordingLabels
from radio_visual_ssl.learning.recording_inputs import recording_inputs, recording_pictures
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.learning.training_run import EpochSampler, TrainingError, batch_loader
from radio_visual_ssl.learning.truth import Truth
from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.localizer_loss import LocalizerLabels, encode_labels
from radio_visual_ssl.models.picture_input import PictureInputSettings
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings
from radio_visual_ssl.radar.grid import PolarGrid, turned_towards

AUTO = 'auto'
"""In place of names of classes: those that the labels have."""


class LabelledBatch(NamedTuple):
    """Frames with their labels; all tensors, so that it moves between devices as one.

    Attributes:
        maps: (B, C, R, A) float32, input of the network.
        sector: (B, 4) lowest and highest range (m) and azimuth (rad) at which a target could have been labelled.
        frame: (L,) int64, from 0 to B - 1.
        range, azimuth: (L,) float64, m and rad.
        spread: (L, 2) m, standard deviation of the place along the range and across it.
        confidence: (L,) float32.
        kept: (L,) bool; around the others nothing is learned.
        number: (B,) int64, of the frames in the data set.
        pictures: (B, 4, rows, columns) float32, see `PictureInput`; None where the radar is alone.
        mirrored: (B,) bool, maps seen in a mirror, which pictures never are; None = not one.
        class_index: (L,) int64, place of the label's class among those that are learned, -1 = unknown or another one;
            None = no classes are learned.
    """

    maps: Tensor
    sector: Tensor
    frame: Tensor
    range: Tensor
    azimuth: Tensor
    spread: Tensor
    confidence: Tensor
    kept: Tensor
    number: Tensor
    pictures: Tensor | None = None
    mirrored: Tensor | None = None
    class_index: Tensor | None = None

    def inputs(self, device: torch.device | None = None) -> tuple[Tensor, ...]:
        """What the network takes, on a device; None = where it is."""
        given: tuple[Tensor, ...] = (self.maps,)
        if self.pictures is not None:
            given += (self.pictures,) if self.mirrored is None else (self.pictures, self.mirrored)
        return given if device is None else tuple(each.to(device) for each in given)


@dataclass(frozen=True)
class SectorSettings:
    """How the part of the heatmap that the camera sees is learned from the labels themselves.

    Attributes:
        tail: share of the kept labels beyond each border in azimuth: they may be wrong.
        range_tail: likewise in range.
        labels: a group of recordings (one camera pose) with fewer kept labels has the sector of all groups together.

    Raises:
        ValueError: a share outside [0, 0.25).
    """

    tail: float = 0.005
    range_tail: float = 0.002
    labels: int = 500

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('tail', 'range_tail'):
            if not 0 <= getattr(self, name) < 0.25:
                raise ValueError(f'{name}: expected a share from 0 to 0.25, got {getattr(self, name)!r}')


def learn_sectors(
    labels: Sequence[RecordingLabels], settings: SectorSettings, span: tuple[float, float] = (0.0, 1.0)
) -> dict[str, NDArray[np.float64]]:
    """(4,) lowest and highest range and azimuth of each map group; see `in_sector`.

    Args:
        labels: that it is learned from.
        settings: see `SectorSettings`.
        span: share of each recording from which to which frames are taken.

    Raises:
        TrainingError: not one kept label.
    """
    kept = [each.kept & (each.confidence > 0) & _within(each, span) for each in labels]
    if not any(mask.any() for mask in kept):
        raise TrainingError('labels: expected at least one that was kept, got none')

    def sector(chosen: list[int]) -> NDArray[np.float64]:
        range_ = np.concatenate([labels[number].range[kept[number]] for number in chosen])
        azimuth = np.concatenate([labels[number].azimuth[kept[number]] for number in chosen])
        tails = [np.quantile(range_, (settings.range_tail, 1 - settings.range_tail))]
        # around their mean direction, for a camera may look across the +-180 degrees of a radar that sees all round
        direction = np.angle(np.mean(np.exp(1j * azimuth)))
        azimuth = turned_towards(azimuth, direction)
        return np.concatenate((*tails, np.quantile(azimuth, (settings.tail, 1 - settings.tail))))

    everything = sector(list(range(len(labels))))
    sectors = {}
    for group in {each.group for each in labels}:
        own = [number for number, each in enumerate(labels) if each.group == group]
        enough = sum(np.count_nonzero(kept[number]) for number in own) >= settings.labels
        sectors[group] = sector(own) if enough else everything
    return sectors


def _within(labels: RecordingLabels, span: tuple[float, float]) -> NDArray[np.bool_]:
    """(L,) whether each label is of a frame within a share of its recording."""
    first, end = (round(part * len(labels.stamps_ns)) for part in span)
    return (labels.frame >= first) & (labels.frame < end)


def in_sector(range_: Any, azimuth: Any, sector: Sequence[Any]) -> Any:
    """Whether places (m, rad) lie in a sector, whose azimuths may reach beyond +-pi; arrays or tensors alike.

    Args:
        range_: m.
        azimuth: rad.
        sector: lowest and highest range, lowest and highest azimuth.
    """
    low_range, high_range, low, high = sector
    return (range_ >= low_range) & (range_ <= high_range) & ((azimuth - low) % (2 * math.pi) <= high - low)


def learned_classes(
    labels: Sequence[RecordingLabels], wanted: Sequence[str], span: tuple[float, float] = (0.0, 1.0)
) -> tuple[str, ...]:
    """Names of the classes that a localizer learns to tell apart.

    Args:
        labels: that it learns from.
        wanted: names; ('auto',) = all that kept labels have, if these are two or more.
        span: share of each recording from which to which frames are taken.

    Raises:
        TrainingError: a name that no kept label has.
    """
    found: set[str] = set()
    for each in labels:
        rows = each.kept & each.known[each.frame] & _within(each, span)
        found.update(each.label[rows].tolist())
    present = sorted(found - {''})
    if tuple(wanted) == (AUTO,):
        return tuple(present) if len(present) > 1 else ()
    missing = [name for name in wanted if name not in present]
    if missing:
        raise TrainingError(
            f'classes: expected some of {", ".join(present) or "none"}, which kept labels have,'
            f' got {", ".join(missing)}'
        )
    return tuple(wanted)


class LabelledFrames(Dataset[LabelledBatch]):
    """Those frames of recordings of which it is known what the camera saw, with their labels.

    Args:
        recordings: of one radar.
        labels: of each recording, aligned with its frames.
        settings: of the network's input.
        sectors: by map group, see `learn_sectors`; a group that is not there has the widest span of them all.
        parts: share of each recording from which to which frames are taken.
        repeats: how often an epoch takes each frame.
        pictures: what the network sees of the camera; None = nothing.
        classes: names of those that are learned.

    Raises:
        TrainingError: not one known frame.
        ValueError: as `RadarInput`.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        labels: Sequence[RecordingLabels],
        settings: RadarInputSettings,
        sectors: dict[str, NDArray[np.float64]],
        parts: tuple[float, float] = (0.0, 1.0),
        repeats: int = 1,
        pictures: PictureInputSettings | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.grid: PolarGrid = RadarInput(settings, recordings[0].grid).grid
        self._repeats = repeats
        self._inputs = [recording_inputs(recording, settings) for recording in recordings]
        self._pictures = [recording_pictures(each, pictures) for each in recordings] if pictures is not None else []
        self._labels = list(labels)
        places = {name: place for place, name in enumerate(classes)}
        self._classes = [
            np.array([places.get(name, -1) for name in each.label.tolist()], np.int64) for each in labels if places
        ]
        bounds = np.stack(list(sectors.values()))
        widest = np.where([True, False, True, False], bounds.min(axis=0), bounds.max(axis=0))
        self._sectors = [sectors.get(each.group, widest) for each in labels]
        self._frames = []
        for number, each in enumerate(labels):
            first, end = (round(part * len(each.stamps_ns)) for part in parts)
            self._frames += [(number, first + int(frame)) for frame in np.flatnonzero(each.known[first:end])]
        if not self._frames:
            names = ', '.join(recording.name for recording in recordings[:4])
            raise TrainingError(f'{names}: expected frames of which it is known what the camera sees, got none')

    def __len__(self) -> int:
        """Frames of an epoch."""
        return len(self._frames) * self._repeats

    @property
    def known(self) -> int:
        """Frames, each counted once."""
        return len(self._frames)

    @property
    def kept(self) -> int:
        """Kept labels of all frames."""
        return sum(
            int(self._labels[number].kept[self._labels[number].of_frame(at)].sum()) for number, at in self._frames
        )

    def __getitem__(self, index: int) -> LabelledBatch:
        """A batch of one frame."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> LabelledBatch:
        """A batch of frames by their numbers."""
        maps, sectors, frames, chosen, pictures, classes = [], [], [], [], [], []
        for place, index in enumerate(indices):
            number, frame = self._frames[index % self.known]
            own = self._labels[number].of_frame(frame)
            maps.append(self._inputs[number][frame])
            if self._pictures:
                pictures.append(self._pictures[number][frame])
            if self._classes:
                classes.append(self._classes[number][own])
            sectors.append(self._sectors[number])
            frames.append(np.full(len(own), place))
            chosen.append((self._labels[number], own))

        def gather(name: str) -> NDArray[np.float64]:
            return np.concatenate([np.asarray(getattr(labels, name)[own]) for labels, own in chosen])

        range_, variance = gather('range'), gather('variance')
        spread = np.sqrt(variance) * np.column_stack((np.ones_like(range_), range_))
        return LabelledBatch(
            torch.from_numpy(np.stack(maps)).float(),
            torch.from_numpy(np.stack(sectors)),
            torch.from_numpy(np.concatenate(frames).astype(np.int64)),
            torch.from_numpy(range_),
            torch.from_numpy(gather('azimuth')),
            torch.from_numpy(spread),
            torch.from_numpy(gather('confidence')).float(),
            torch.from_numpy(gather('kept')).bool(),
            torch.as_tensor(indices),
            torch.from_numpy(np.stack(pictures)).float() if pictures else None,
            class_index=torch.from_numpy(np.concatenate(classes)) if classes else None,
        )


def frame_loader(
    frames: LabelledFrames, batch_size: int, seed: int = 0, shuffle: bool = True, split: bool = True, workers: int = 0
) -> DataLoader[LabelledBatch]:
    """Batches of frames, in an order that depends on seed and epoch alone.

    Args:
        frames: to be read.
        batch_size: of each process.
        seed: of the order.
        shuffle: False: in order.
        split: between the processes of the run.
        workers: processes that read frames; 0 = this one.
    """
    return batch_loader(frames, EpochSampler(len(frames), batch_size, seed, shuffle, split), workers)


def encode_batch(
    batch: LabelledBatch,
    cells: CellGrid,
    sigma: float,
    least_sigma: float,
    dropped_radius: float,
    most_spread: float,
) -> tuple[LocalizerLabels, Tensor]:
    """Label maps of a batch, and the weight of each cell in the centre loss.

    The weight is 0 where the camera cannot see and around labels that were dropped, as far as they may be off (their
    standard deviation, twice, up to the radius again).

    Args:
        batch: frames with labels.
        cells: of the network.
        sigma: m, see `encode_labels`.
        least_sigma: cells, see `encode_labels`.
        dropped_radius: m.
        most_spread: m, up to which a label's standard deviation widens its bump, see `encode_labels`.

    Returns:
        Labels and (B, rows, columns) weights in {0, 1}.
    """
    kept, device, frames = batch.kept, batch.maps.device, len(batch.maps)
    labels = encode_labels(
        cells,
        batch.range[kept],
        batch.azimuth[kept],
        batch.frame[kept],
        frames,
        batch.confidence[kept],
        sigma,
        least_sigma,
        None if batch.class_index is None else batch.class_index[kept],
        batch.spread[kept].clamp(max=most_spread),
    )
    range_ = torch.from_numpy(cells.range).to(batch.sector)[:, None]
    azimuth = torch.from_numpy(cells.azimuth).to(batch.sector)[None]
    weight = in_sector(range_, azimuth, [each[:, None, None] for each in batch.sector.unbind(1)]).float()
    dropped = ~kept
    if bool(dropped.any()):
        place, turn = batch.range[dropped, None, None], turned_towards(azimuth - batch.azimuth[dropped, None, None])
        distance = torch.hypot(range_ - place, torch.minimum(range_, place) * turn)
        reach = dropped_radius + (2 * batch.spread[dropped].amax(dim=1)).clamp(max=dropped_radius)
        far = (distance > reach[:, None, None]).float()
        index = batch.frame[dropped, None, None].expand_as(far)
        weight = weight.to(device).scatter_reduce(0, index, far, 'amin')
    return labels, weight


def truth_labels(recordings: Sequence[Recording], truths: Sequence[Truth]) -> LabelSet:
    """Ground truth in the form of labels, for the supervised baseline: the same training takes either.

    Targets in the camera's view that it sees at least in part are kept; other ones in the grid count as dropped, so
    that they are neither targets nor background, as for labels that the camera made. Places are those of the targets'
    middles as the radar reads them (slant range and, of a line of antennas, cone angle).

    Args:
        recordings: of one radar.
        truths: of each.
    """
    made = []
    for recording, truth in zip(recordings, truths, strict=True):
        frame, rows, names = [], [], []
        for index, targets in enumerate(truth.targets):
            for target in targets or ():
                place = target.as_read(cone=recording.grid.reads_cone_angles)
                if not recording.grid.contains(*place):
                    continue
                seen = target.in_camera_view and not target.visibility <= 0
                # where a target is that is kept, is known; one that is dropped reaches as far as it is long
                off = 0.1 if seen else max(target.size[0] / 2, 0.1)
                rows.append((*place, off, seen))
                frame.append(index)
                names.append(target.label)
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        variance = np.stack((table[:, 2] ** 2, (table[:, 2] / np.maximum(table[:, 0], 0.1)) ** 2), axis=1)
        made.append(
            RecordingLabels(
                name=recording.name,
                content=recording.content,
                group=recording.group,
                stamps_ns=np.asarray(recording.stamps_ns),
                known=np.array([targets is not None for targets in truth.targets], dtype=np.bool_),
                frame=np.array(frame, dtype=np.int64),
                instance=np.arange(len(frame)),
                range=table[:, 0],
                azimuth=table[:, 1],
                variance=variance,
                confidence=np.ones(len(frame)),
                kept=table[:, 3] > 0,
                label=np.array(names, dtype=np.str_),
            )
        )
    return LabelSet('truth', recordings[0].radar, tuple(made))
