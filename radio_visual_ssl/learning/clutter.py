# SPDX-License-Identifier: Apache-2.0
"""What radar peaks without a cause look like: how many, where and how strong, against those of targets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from radio_visual_ssl.learning.frame_evidence import EvidenceArrays

# Density: m and rad of a cell, standard deviation of its smoothing in cells, and share that is uniform.
_CLUTTER_CELL = (1.0, np.radians(2.0))
_CLUTTER_SMOOTHING = (2.0, 2.0)
_UNIFORM_SHARE = 0.1
# SNR histograms: smoothing in bins, candidates that the belief in no difference is worth, and the largest log ratio of
# target to clutter.
_SNR_SMOOTHING, _SNR_PRIOR, _SNR_LIMIT = 1.5, 10.0, 2.5


@dataclass(frozen=True, eq=False)
class Clutter:
    """What candidates without a cause look like: how many, where and how strong, against those of targets."""

    log_density: NDArray[np.float64]  # (cells, cells) of candidates in a frame, per m and rad
    log_strength: NDArray[np.float64]  # by SNR bin, log ratio of target to clutter


def fit_clutter(
    world: EvidenceArrays, frames: NDArray[np.int64], clutter: NDArray[np.float64], caused: NDArray[np.float64]
) -> Clutter:
    """Density of clutter and the SNR of targets against it, from the belief in each candidate being either."""
    edges = _clutter_edges(world.place)
    counts, _, _ = np.histogram2d(world.place[:, 0], world.place[:, 1], bins=edges, weights=clutter)
    smooth = gaussian_filter(counts, _CLUTTER_SMOOTHING, mode='nearest')
    total = max(counts.sum(), 1.0)
    smooth = (1 - _UNIFORM_SHARE) * smooth / max(smooth.sum(), 1e-12) + _UNIFORM_SHARE / smooth.size
    density = total / max(frames.size, 1) * smooth / (_CLUTTER_CELL[0] * _CLUTTER_CELL[1])
    bins = int(world.snr_bin.max()) + 1 if world.snr_bin.size else 1
    histograms = [
        gaussian_filter(np.bincount(world.snr_bin, weights=belief, minlength=bins), _SNR_SMOOTHING)
        for belief in (caused, clutter)
    ]
    pooled = np.maximum(histograms[0] + histograms[1], 1e-9)
    pooled *= _SNR_PRIOR / pooled.sum()
    shares = [(histogram + pooled) / (histogram.sum() + _SNR_PRIOR) for histogram in histograms]
    ratio = np.clip(np.log(shares[0] / shares[1]), -_SNR_LIMIT, _SNR_LIMIT)
    return Clutter(np.log(density), ratio if caused.any() else np.zeros(bins))


def log_clutter_density(place: NDArray[np.float64], clutter: Clutter) -> NDArray[np.float64]:
    """Log density of clutter at each candidate."""
    edges = _clutter_edges(place)
    index = [
        np.clip(np.searchsorted(edge, side, side='right') - 1, 0, size - 1)
        for edge, side, size in zip(edges, place.T, clutter.log_density.shape, strict=True)
    ]
    return clutter.log_density[index[0], index[1]]


def _clutter_edges(place: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Edges of the cells of the clutter density, along range and azimuth, around all candidates."""
    return [
        np.arange(side.min() - cell, side.max() + 2 * cell, cell)
        for side, cell in zip(place.T, _CLUTTER_CELL, strict=True)
    ]
