# SPDX-License-Identifier: Apache-2.0
"""What radar and camera have seen in each frame, and many frames as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.learning.candidates import Candidates
from radio_visual_ssl.learning.label_settings import SelfLabelError, SelfLabelSettings

# dB of a bin of SNR.
_SNR_BIN = 3.0


@dataclass(frozen=True, eq=False)
class FrameEvidence:
    """One frame: what the radar and the camera have seen, without any truth.

    Attributes:
        scene: recording that the frame is from; labels are cross-fitted by it.
        stamp_ns: of the heatmap.
        candidates: radar peaks.
        features: (I, F), one row for each instance; I = 0 is an empty frame.
        group: name of the camera pose: frames of one group share a map. Usually the bag's own name; one name for
            all bags of a camera that has not moved.
        weight: (I,) in [0, 1], trust in the mask: less for truncated, merged or occluded ones, which then count less
            in the fit, and are labelled with confidence only where the radar agrees; 0 leaves them out of the fit.
            None = 1.
        attention: (I, C) not negative: where a contrastive model looks for each instance, at the candidates (see
            ``learning.candidates.attention_weights``); any scale by row, a row of zeros knows nothing. None = no such
            model.
    """

    scene: str
    stamp_ns: int
    candidates: Candidates
    features: NDArray[np.float64]
    group: str = ''
    weight: NDArray[np.float64] | None = None
    attention: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check shapes and values."""
        where = f'frame {self.stamp_ns} of {self.scene!r}'
        if self.features.ndim != 2 or not np.all(np.isfinite(self.features)):
            raise SelfLabelError(
                f'{where}: features: expected (instances, features), finite, got {self.features.shape}'
            )
        count = len(self.features)
        if self.weight is not None and (
            self.weight.shape != (count,) or not np.all((self.weight >= 0) & (self.weight <= 1))
        ):
            raise SelfLabelError(f'{where}: weight: expected {count} numbers from 0 to 1, got {self.weight}')
        if self.attention is not None:
            shape = (count, len(self.candidates))
            if self.attention.shape != shape:
                raise SelfLabelError(f'{where}: attention: expected shape {shape}, got {self.attention.shape}')
            if not np.all(np.isfinite(self.attention) & (self.attention >= 0)):
                raise SelfLabelError(f'{where}: attention: expected finite weights from 0 on')


@dataclass(frozen=True, eq=False)
class EvidenceBatch:
    """Frames with the same number of instances, filled up to the same number of candidates.

    Attributes:
        instances: (B, I) numbers.
        candidates: (B, C) numbers; 0 where there is none.
        present: (B, C) bool.
        attention: (B, I, C) log of the prior of each candidate, relative to an even one.
    """

    instances: NDArray[np.int64]
    candidates: NDArray[np.int64]
    present: NDArray[np.bool_]
    attention: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EvidenceArrays:
    """All frames as flat arrays."""

    features: NDArray[np.float64]
    weight: NDArray[np.float64]
    instance_frame: NDArray[np.int64]
    place: NDArray[np.float64]  # (M, 2) of the candidates
    variance: NDArray[np.float64]  # (M, 2)
    snr_bin: NDArray[np.int64]
    candidate_frame: NDArray[np.int64]
    frame_group: NDArray[np.int64]
    frame_fold: NDArray[np.int64]
    frame_scene: NDArray[np.int64]
    has_attention: bool
    attention: list[NDArray[np.float64] | None]  # of each frame, log relative to even

    @property
    def group(self) -> NDArray[np.int64]:
        """(N,) of the instances."""
        return self.frame_group[self.instance_frame]

    def batches(self, frames: NDArray[np.int64], partners: NDArray[np.int64] | None = None) -> list[EvidenceBatch]:
        """Batches of frames with instances; with partners, these give the candidates, and there is no attention."""
        first_instance = np.searchsorted(self.instance_frame, np.arange(self.frame_group.size + 1))
        first_candidate = np.searchsorted(self.candidate_frame, np.arange(self.frame_group.size + 1))
        instances, candidates = np.diff(first_instance), np.diff(first_candidate)
        sources = frames if partners is None else partners
        batches = []
        for count in np.unique(instances[frames]):
            if count == 0:
                continue
            chosen = np.flatnonzero(instances[frames] == count)
            width = max(1, int(candidates[sources[chosen]].max()))
            slots = np.arange(width)
            present = slots < candidates[sources[chosen], None]
            numbers = np.where(present, first_candidate[sources[chosen], None] + slots, 0)
            attention = np.zeros((chosen.size, count, width))
            if partners is None and self.has_attention:
                for row, frame in enumerate(frames[chosen]):
                    known = self.attention[frame]
                    if known is not None:
                        attention[row, :, : known.shape[1]] = known
            rows = first_instance[frames[chosen], None] + np.arange(count)
            batches.append(EvidenceBatch(rows, numbers, present, attention))
        return batches


def flatten(frames: Sequence[FrameEvidence], settings: SelfLabelSettings) -> EvidenceArrays:
    """Frames as flat arrays.

    Raises:
        SelfLabelError: no frames, or different numbers of features.
    """
    if not frames:
        raise SelfLabelError('frames: expected at least one, got none')
    sizes = {frame.features.shape[1] for frame in frames if len(frame.features)}
    if len(sizes) > 1:
        raise SelfLabelError(f'features: expected the same number for all instances, got {sorted(sizes)}')
    width = sizes.pop() if sizes else 0
    instances = [len(frame.features) for frame in frames]
    features = np.concatenate(
        [frame.features.reshape(-1, width) for frame in frames if len(frame.features)] or [np.zeros((0, width))]
    )
    candidates = [frame.candidates for frame in frames]
    snr = np.concatenate([x.snr for x in candidates])
    snr = np.where(np.isfinite(snr), snr, 0.0)
    snr_bin = np.floor(snr / _SNR_BIN).astype(np.int64)
    _, group = np.unique([frame.group for frame in frames], return_inverse=True)
    _, scene = np.unique([frame.scene for frame in frames], return_inverse=True)
    numbers = np.arange(len(frames))
    return EvidenceArrays(
        features=features.astype(np.float64),
        weight=np.concatenate([np.ones(len(f.features)) if f.weight is None else f.weight for f in frames]),
        instance_frame=np.repeat(numbers, instances),
        place=np.column_stack(
            [np.concatenate([getattr(x, name) for x in candidates]) for name in ('range', 'azimuth')]
        ),
        variance=np.concatenate([x.variance for x in candidates]),
        snr_bin=snr_bin - (snr_bin.min() if snr_bin.size else 0),
        candidate_frame=np.repeat(numbers, [len(x) for x in candidates]),
        frame_group=group,
        frame_fold=_folds(group, scene, settings.folds),
        frame_scene=scene,
        has_attention=any(frame.attention is not None for frame in frames),
        attention=[_log_prior(frame.attention, settings.attention_trust) for frame in frames],
    )


def _log_prior(attention: NDArray[np.float64] | None, trust: float) -> NDArray[np.float64] | None:
    """Log of the prior over candidates, relative to an even one."""
    if attention is None or attention.size == 0:
        return None
    total = attention.sum(axis=1, keepdims=True)
    share = np.where(total > 0, attention / np.where(total > 0, total, 1), 1 / attention.shape[1])
    return np.log(np.maximum(trust * share * attention.shape[1] + 1 - trust, 1e-6))


def _folds(group: NDArray[np.int64], scene: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Fold of each frame: whole scenes where a map group has enough of them, else stretches of time."""
    fold = np.zeros(group.size, dtype=np.int64)
    for number in np.unique(group):
        own = np.flatnonzero(group == number)
        scenes, index = np.unique(scene[own], return_inverse=True)
        if scenes.size >= folds:
            fold[own] = index % folds
        else:
            fold[own] = np.arange(own.size) * folds // own.size
    return fold
