# SPDX-License-Identifier: Apache-2.0
"""What the attention of a contrastive model says of the place of each mask: at radar peaks, and by itself."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.learning.candidates import Candidates, attention_weights
from radio_visual_ssl.learning.label_set import LabelError
from radio_visual_ssl.learning.recording_evidence import RecordingEvidence
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.learning.self_labels import UNKNOWN_VARIANCE
from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.radar.geometry import RadarGeometry, check_same_radar

_FRAMES_AT_ONCE = 32
# m; peaks nearer to each other are taken for one body where nothing but their strength is known.
_BODY = 3.0


class AttentionModel(Protocol):
    """A contrastive model, see ``learning.contrastive_model``."""

    @property
    def radar(self) -> RadarGeometry:
        """That it was trained for."""
        ...

    @property
    def cells(self) -> CellGrid:
        """Where its attention is."""
        ...

    def attention(self, recording: Recording, frames: NDArray[np.int64]) -> Any:
        """Attention of all masks of some frames, one frame's after the other.

        Args:
            recording: of the radar that the model was trained for.
            frames: numbers of frames.

        Returns:
            (I, rows, columns) logits: cosines over the temperature they were trained with; an array or a tensor.
        """
        ...


@dataclass(frozen=True, eq=False)
class Attention:
    """What a model's attention says of a recording's masks.

    Attributes:
        weights: (N) of (I, C) of each frame, see ``learning.candidates.attention_weights``.
        range, azimuth: (I,) m and rad, where the attention of each mask is highest.
        share: (I,) of the attention that is around that place.
    """

    weights: list[NDArray[np.float64]]
    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    share: NDArray[np.float64]


def check_model(model: AttentionModel, recording: Recording) -> None:
    """Refuse a model of another radar than the recording's.

    Raises:
        OtherRadarError: what differs; the message names the recording and says what was expected and got.
    """
    check_same_radar(model.radar, recording.geometry, recording.name, 'the radar that the model was trained for')


def read_attention(model: AttentionModel, evidence: RecordingEvidence) -> Attention:
    """Attention of a model to all masks of a recording.

    Raises:
        OtherRadarError: a model of another radar.
        LabelError: one whose attention is not one finite map for each mask.
    """
    import torch

    from radio_visual_ssl.models.attention import find_peaks

    recording, cells = evidence.recording, model.cells
    check_model(model, recording)
    counts = np.array([len(features) for features in evidence.features], dtype=np.int64)
    weights = [np.zeros((0, len(candidates))) for candidates in evidence.candidates]
    peaks = []
    with_masks = np.flatnonzero(counts)
    for start in range(0, with_masks.size, _FRAMES_AT_ONCE):
        frames = with_masks[start : start + _FRAMES_AT_ONCE]
        maps = torch.as_tensor(model.attention(recording, frames)).detach().float().cpu()
        expected = (int(counts[frames].sum()), *cells.shape)
        if tuple(maps.shape) != expected or not bool(torch.isfinite(maps).all()):
            raise LabelError(
                f'{recording.name}: attention: expected finite maps of shape {expected}, got {tuple(maps.shape)}'
            )
        found = find_peaks(maps, cells.wraps)
        range_, azimuth = cells.decode(found.row.numpy(), found.column.numpy())
        parts = np.split(maps.numpy(), np.cumsum(counts[frames])[:-1])
        places = np.split(np.column_stack((np.maximum(range_, 1e-3), azimuth)), np.cumsum(counts[frames])[:-1])
        for frame, own, place in zip(frames, parts, places, strict=True):
            weights[frame] = attention_weights(own, cells, evidence.candidates[frame])
            there = np.diagonal(attention_weights(own, cells, _at(place)))
            peaks.append(np.column_stack((place, np.clip(there, 0, 1))))
    table = np.concatenate(peaks) if peaks else np.zeros((0, 3))
    return Attention(weights, table[:, 0], table[:, 1], table[:, 2])


def _at(place: NDArray[np.float64]) -> Candidates:
    """Places (I, 2) in m and rad as candidates."""
    unknown = np.full(len(place), np.nan)
    return Candidates(place[:, 0], place[:, 1], np.tile(UNKNOWN_VARIANCE, (len(place), 1)), unknown, unknown)


def weightiest_candidates(
    weights: NDArray[np.float64], candidates: Candidates
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The radar peak of a frame that the attention of each mask weighs most.

    Args:
        weights: (I, C) of one frame.
        candidates: of the same.

    Returns:
        place (I, 2): m and rad; NaN where there is none.
        share (I,): of the weights of all peaks.
    """
    place, share = np.full((len(weights), 2), np.nan), np.zeros(len(weights))
    if weights.size:
        best = np.argmax(weights, axis=1)
        place = np.column_stack((candidates.range[best], candidates.azimuth[best]))
        total = weights.sum(axis=1)
        share = np.where(total > 0, weights.max(axis=1) / np.where(total > 0, total, 1), 0.0)
    return place, share


def strongest_candidates(
    features: NDArray[np.float64], candidates: Candidates
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The strongest radar peaks of a frame, from left to right as its masks are.

    Args:
        features: (I, F), the first one the column in the picture.
        candidates: of the same frame.

    Returns:
        place (I, 2): m and rad; NaN for the last masks of the frame where there are fewer peaks.
        score (I,): rises with the SNR of the peak.
    """
    place, score = np.full((len(features), 2), np.nan), np.zeros(len(features))
    places = candidates.range * np.exp(1j * candidates.azimuth)
    strongest: list[int] = []
    for peak in np.argsort(-candidates.snr, kind='stable').tolist():
        if len(strongest) < len(features) and all(abs(places[peak] - places[other]) > _BODY for other in strongest):
            strongest.append(peak)
    chosen = np.array(strongest, dtype=np.int64)
    chosen = chosen[np.argsort(-candidates.azimuth[chosen], kind='stable')]
    masks = np.argsort(features[: chosen.size, 0], kind='stable')
    place[masks] = np.column_stack((candidates.range[chosen], candidates.azimuth[chosen]))
    score[masks] = 1 / (1 + np.exp(-(candidates.snr[chosen] - 15) / 4))
    return place, score
