# SPDX-License-Identifier: Apache-2.0
"""A share of the labelled frames, as if no more of them had ever been labelled: for baselines with few labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.learning.label_set import OF_LABELS, RecordingLabels
from radio_visual_ssl.learning.training_run import TrainingError

LEAST_LABELS = 10
"""Kept labels that a share must leave for training, and for validation."""


def share_of_labels(
    labels: Sequence[RecordingLabels],
    share: float,
    seed: int,
    span: tuple[float, float] = (0.0, 1.0),
    name: str = 'labels',
) -> list[RecordingLabels]:
    """The labels of so many of the known frames, spread evenly over all recordings and the time of each.

    The known frames of all recordings, one after the other, are parted into as many equal stretches as frames are
    wanted, and one is drawn from each (stratified sampling): a recording has its share of the frames to within two.
    Frames with nothing in them count as labelled, too: somebody had to look. All other frames are not known any more
    and have no labels, so that they are left out and do not pass for empty ones.

    Args:
        labels: of recordings.
        share: of the known frames, above 0 and up to 1.
        seed: of the draw.
        span: share of each recording from which to which frames are taken; beyond it none are known any more.
        name: of these labels in errors.

    Raises:
        TrainingError: fewer than `LEAST_LABELS` kept labels are left.
    """
    if share == 1:
        return list(labels)
    known = []
    for number, each in enumerate(labels):
        first, end = (round(part * len(each.stamps_ns)) for part in span)
        known += [(number, first + int(frame)) for frame in np.flatnonzero(each.known[first:end])]
    count = min(max(round(share * len(known)), 1), len(known))
    borders = np.round(np.linspace(0, len(known), count + 1)).astype(int)
    places = np.random.default_rng(seed).integers(borders[:-1], borders[1:])
    chosen = [np.zeros(len(each.stamps_ns), np.bool_) for each in labels]
    for place in places.tolist():
        number, frame = known[place]
        chosen[number][frame] = True
    reduced = [_only(each, frames) for each, frames in zip(labels, chosen, strict=True)]
    kept = sum(int(np.count_nonzero(each.kept)) for each in reduced)
    if kept < LEAST_LABELS:
        raise TrainingError(
            f'label_share: expected at least {LEAST_LABELS} kept labels for {name}, got {kept} with a share of'
            f' {share:g}: {count} of {len(known)} frames'
        )
    return reduced


def _only(labels: RecordingLabels, frames: NDArray[np.bool_]) -> RecordingLabels:
    """The labels of some frames; nothing is known of the others."""
    rows = frames[labels.frame]
    return replace(labels, known=frames, **{name: getattr(labels, name)[rows] for name in OF_LABELS})
