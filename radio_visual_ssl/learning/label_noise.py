# SPDX-License-Identifier: Apache-2.0
"""Makes labels worse on purpose, to study what that costs."""

import hashlib
import math
from dataclasses import replace

import numpy as np

from radio_visual_ssl.learning.label_set import LabelSet, RecordingLabels
from radio_visual_ssl.learning.wrong_frames import exchanged

_LEAST_RANGE = 0.1  # m


def noisy_labels(labels: LabelSet, deviation: float = 0.0, wrong: float = 0.0, seed: int = 0) -> LabelSet:
    """Labels with noise on their places, some of which are those of other frames.

    The noise is normal, of the same size along the range and across it. Variances stay as they are, or are those of the
    other frame's label, and confidences stay: nobody knows of the noise. It depends on the seed and on the content of
    each bag alone.

    Args:
        labels: to be made worse.
        deviation: m, standard deviation of the noise along the range and across it.
        wrong: share of the kept labels of each bag whose place becomes that of another frame's label.
        seed: of both.

    Raises:
        ValueError: a number out of range.
    """
    if not (math.isfinite(deviation) and deviation >= 0):
        raise ValueError(f'label noise: expected 0 m or more, got {deviation}')
    if not 0 <= wrong <= 1:
        raise ValueError(f'wrong labels: expected a share from 0 to 1, got {wrong}')
    if deviation == 0 and wrong == 0:
        return labels
    about = {'deviation_m': deviation, 'wrong': wrong, 'seed': seed}
    worse = tuple(_noisy(each, deviation, wrong, seed) for each in labels.recordings)
    return replace(labels, recordings=worse, provenance={**labels.provenance, 'noise': about})


def _noisy(labels: RecordingLabels, deviation: float, wrong: float, seed: int) -> RecordingLabels:
    of_bag = int.from_bytes(hashlib.sha256(labels.content.encode()).digest()[:8], 'big')
    generator = np.random.default_rng((seed, of_bag))
    range_, azimuth = labels.range.copy(), labels.azimuth.copy()
    kept = np.flatnonzero(labels.kept)
    others = kept[exchanged(labels.frame[kept], wrong, generator)]
    range_[kept], azimuth[kept] = labels.range[others], labels.azimuth[others]
    variance = labels.variance.copy()
    variance[kept] = labels.variance[others]
    noise = deviation * generator.standard_normal((2, len(labels)))
    azimuth += noise[1] / range_
    range_ = np.maximum(range_ + noise[0], _LEAST_RANGE)
    return replace(labels, range=range_, azimuth=azimuth, variance=variance)
