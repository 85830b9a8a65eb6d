# SPDX-License-Identifier: Apache-2.0
"""From detected cells of a heatmap to targets with position, covariance, radial velocity, SNR and score."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.target import NAN, Target

# Strongest local maxima that are looked at; a heatmap with more is all noise at a false alarm rate near one.
_MAX_PEAKS = 4096

# Standard deviation of a maximum's place is its half-power width / (1.6 sqrt(2 SNR)) (Barton, Modern Radar System
# Analysis, 1988), and never below this share of a bin: interpolation is not exact for every window.
_WIDTH_FACTOR = 1.6
_LEAST_BIN_SHARE = 0.1

# Bins; a flatter peak than this has no width that could be trusted.
_MAX_WIDTH = 16.0

# Half-power full width of a Gaussian in standard deviations; cells that spread wider than a peak of that width by
# this factor make an extended target.
_FULL_WIDTH = 2.355
_EXTENDED = 1.25

# Cells of one target whose velocity differs from its peak's by more than this share of the velocities in the map hold
# something else, or have wrapped around the unambiguous interval.
_SAME_VELOCITY = 1 / 16

# Bins that a peak goes uphill at most; mostly it arrives within a beam.
_STEPS_UPHILL = 16

# dB above the usual power of a cell from which it may be part of a target.
_LEAST_CHANGE = 3.0


@dataclass(frozen=True)
class ClusterSettings:
    """How detected cells become targets.

    Attributes:
        merge_radius: m, peaks closer to a stronger one than this belong to its target.
        extent_db: dB, cells this far below the peak of their target do not count as part of it.
        min_cells: targets of fewer detected cells are dropped.
        min_snr: dB, weaker peaks are dropped.
        sidelobe_rejection: dB, peaks this far below the strongest cell at the same range are dropped; 0 = keep all.
        max_targets: those of highest SNR are kept.
        extent_std: m, standard deviation of the place of a target's strongest reflection around its centre, along x and
            along y, which the covariance includes; 0 = covariance of the reflecting point alone.
        score_midpoint: dB, SNR that scores 0.5.
        score_slope: dB, SNR above the midpoint that scores 0.73.
    """

    merge_radius: float = 3.0
    extent_db: float = 12.0
    min_cells: int = 1
    min_snr: float = 0.0
    sidelobe_rejection: float = 0.0
    max_targets: int = 64
    extent_std: float = 1.0
    score_midpoint: float = 15.0
    score_slope: float = 4.0


def snr_score(snr: NDArray[np.floating], midpoint: float = 15.0, slope: float = 4.0) -> NDArray[np.floating]:
    """Confidence in (0, 1), ``1 / (1 + exp(-(snr - midpoint) / slope))``: rises with SNR (dB), 0.5 at the midpoint."""
    return 1 / (1 + np.exp(-(np.asarray(snr, dtype=np.float64) - midpoint) / slope))


def excess_power(values: NDArray[np.floating], level: NDArray[np.floating]) -> NDArray[np.floating]:
    """Power beyond the usual, where it is at least twice that; relative to the strongest cell, so as not to overflow.

    Args:
        values: (R, A) dB.
        level: (R, A) dB, what the cells usually hold.

    Returns:
        (R, A), 0 where the change is less than 3 dB.
    """
    scale = np.float32(np.log(10) / 10)
    excess = np.exp((values - values.max()) * scale) - np.exp((level - values.max()) * scale)
    return np.where(values - level >= _LEAST_CHANGE, excess, np.float32(0))


def cluster(
    power: NDArray[np.floating],
    noise: NDArray[np.floating],
    detections: NDArray[np.bool_],
    grid: PolarGrid,
    *,
    settings: ClusterSettings = ClusterSettings(),
    velocity: NDArray[np.floating] | None = None,
    excess: NDArray[np.floating] | None = None,
) -> list[Target]:
    """Targets among the detected cells, highest score first.

    Local maxima, strongest first, each take the weaker ones within ``merge_radius``; every detected cell goes to the
    nearest maximum that is left, across the seam of a grid that wraps too. Along range and across it, each axis by
    itself, the position is

    - for a point: the vertex of the parabola through the peak and its neighbours in dB, with the error
      half-power width / (1.6 sqrt(2 SNR)), the width being that parabola's;
    - for a target whose cells spread wider than such a peak: their power-weighted mean, to which the variance of the
      cells in excess of a peak's is added: the centre of an extended target is not known better.

    Both are found in bin indices and taken to the exact grid. The covariance is that of the target's centre: the one
    of the reflecting point and ``extent_std`` squared along x and y. The radial velocity is the power-weighted mean
    over the target's cells of about the velocity of its peak: that of all cells would be one that no cell holds where
    velocities wrap around the unambiguous interval.

    Args:
        power: (R, A) linear power.
        noise: (R, A) mean power of noise alone, finite and positive at the detections.
        detections: (R, A) bool.
        grid: of the maps.
        settings: see :class:`ClusterSettings`.
        velocity: (R, A) m/s, or None; NaN where a cell has none.
        excess: (R, A) power beyond the usual, where ``power`` is the ratio of the two; 0 in cells that are no part of a
            target, see :func:`excess_power`. Beside strong clutter the ratio is largest on the side of a target that
            looks away from the clutter, up to a beam off; places are then those of the excess, at whose maximum each
            peak arrives uphill.
    """
    rows, columns = np.nonzero(detections)
    strength = power[rows, columns].astype(np.float64)
    with np.errstate(divide='ignore'):
        snr = 10 * np.log10(strength / noise[rows, columns])
    peaks = _peaks(power, rows, columns, grid)
    peaks = peaks[snr[peaks] >= settings.min_snr]
    if settings.sidelobe_rejection > 0:
        strongest = ndimage.maximum_filter1d(power.max(axis=1), 3, mode='nearest')
        peaks = peaks[strength[peaks] >= strongest[rows[peaks]] * 10 ** (-settings.sidelobe_rejection / 10)]
    if peaks.size == 0:
        return []
    peaks = peaks[np.argsort(-strength[peaks], kind='stable')[:_MAX_PEAKS]]
    azimuth = grid.azimuth[columns]
    places = np.stack((grid.range[rows] * np.cos(azimuth), grid.range[rows] * np.sin(azimuth)), axis=1)
    peaks = _suppress(places, peaks, settings.merge_radius)
    distance, owner = cKDTree(places[peaks]).query(places, distance_upper_bound=max(settings.merge_radius, 1e-6))
    near = np.flatnonzero(np.isfinite(distance))
    near = near[strength[near] >= strength[peaks[owner[near]]] * 10 ** (-settings.extent_db / 10)]
    # A target is numbered by its place in peaks, here and in owner.
    targets = np.flatnonzero(np.bincount(owner[near], minlength=peaks.size) >= settings.min_cells)
    targets = targets[np.argsort(-snr[peaks[targets]], kind='stable')[: settings.max_targets]]
    number = np.full(peaks.size, -1)
    number[targets] = np.arange(targets.size)
    near = near[number[owner[near]] >= 0]
    cells = _Cells(number[owner[near]], rows[near], columns[near], strength[near], targets.size)
    peaks = peaks[targets]
    tops, alone = (rows[peaks], columns[peaks]), np.arange(peaks.size)
    if excess is None:
        row, column, variances = _locate(power, cells, tops, snr[peaks], grid.wraps)
    else:
        excess = np.maximum(excess, np.finfo(np.float32).tiny)  # has a level in dB
        weighed = replace(cells, strength=excess[cells.rows, cells.columns].astype(np.float64))
        settled = _uphill(excess, tops, grid.wraps)
        row, column, variances = _locate(excess, weighed, settled, snr[peaks], grid.wraps)
        # both sides of a target that stands before narrow clutter may have arrived at the same top
        ranges, azimuths = grid.position(row, column)
        settled_places = np.stack((ranges * np.cos(azimuths), ranges * np.sin(azimuths)), axis=1)
        alone = _suppress(settled_places, alone, settings.merge_radius)
        row, column, variances, peaks = row[alone], column[alone], variances[:, alone], peaks[alone]
    covariance = _covariance(grid, row, column, variances) + settings.extent_std**2 * np.eye(2)
    ranges, azimuths = grid.position(row, column)
    x, y = ranges * np.cos(azimuths), ranges * np.sin(azimuths)
    score = snr_score(snr[peaks], settings.score_midpoint, settings.score_slope)
    radial = np.full(len(tops[0]), NAN)
    if velocity is not None:
        radial = _radial_velocity(velocity, cells, tops)
    radial = radial[alone]
    return [
        Target(
            x=float(x[i]),
            y=float(y[i]),
            covariance=covariance[i],
            radial_velocity=float(radial[i]),
            snr=float(snr[peak]),
            score=float(score[i]),
        )
        for i, peak in enumerate(peaks)
    ]


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of all targets: number of the target, place and power."""

    owner: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    strength: NDArray[np.float64]
    count: int

    def sums(self, values: NDArray) -> NDArray[np.float64]:
        """Power-weighted sum of the values of each target's cells, (count,)."""
        return np.bincount(self.owner, weights=self.strength * values, minlength=self.count).astype(np.float64)


def _peaks(
    power: NDArray[np.floating], rows: NDArray[np.int64], columns: NDArray[np.int64], grid: PolarGrid
) -> NDArray[np.int64]:
    """Which of the cells are local maxima of their 8 neighbours; of equal neighbours the first in reading order."""
    padded = np.full((power.shape[0] + 2, power.shape[1] + 2), -np.inf, dtype=power.dtype)
    padded[1:-1, 1:-1] = power
    if grid.wraps:
        padded[1:-1, 0], padded[1:-1, -1] = power[:, -1], power[:, 0]
    flat, width = padded.ravel(), padded.shape[1]
    place = (rows + 1) * width + columns + 1
    own = flat[place]
    peak = np.ones(rows.size, dtype=bool)
    for offset in (-width - 1, -width, -width + 1, -1):
        peak &= own > flat[place + offset]
        peak &= own >= flat[place - offset]
    return np.flatnonzero(peak)


def _uphill(
    excess: NDArray[np.floating], peaks: tuple[NDArray, NDArray], wraps: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) rows and columns that peaks arrive at in a few steps, each to the largest of 8 neighbours in (R, A)."""
    rows, columns = peaks[0].copy(), peaks[1].copy()
    height, width = excess.shape
    around = np.array([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)])
    for _ in range(_STEPS_UPHILL):
        near_rows = rows[:, None] + around[:, 0]
        near_columns = columns[:, None] + around[:, 1]
        inside = (near_rows >= 0) & (near_rows < height)
        if wraps:
            near_columns = np.mod(near_columns, width)
        else:
            inside &= (near_columns >= 0) & (near_columns < width)
        place = np.clip(near_rows, 0, height - 1), np.clip(near_columns, 0, width - 1)
        level = np.where(inside, excess[place], -np.inf)
        level[:, len(around) // 2] *= 1 + 1e-6  # of equals the peak stays where it is
        best = np.argmax(level, axis=1)
        if np.all(best == len(around) // 2):
            break
        rows, columns = rows + around[best, 0], np.mod(columns + around[best, 1], width)
    return rows, columns


def _suppress(places: NDArray[np.float64], peaks: NDArray[np.int64], radius: float) -> NDArray[np.int64]:
    """Peaks, given strongest first, that are farther than radius from each stronger one that is kept."""
    kept = []
    while peaks.size:
        kept.append(peaks[0])
        peaks = peaks[1:]
        distance = np.hypot(*(places[peaks] - places[kept[-1]]).T)
        peaks = peaks[distance > radius]
    return np.array(kept, dtype=np.int64)


def _locate(
    power: NDArray[np.floating], cells: _Cells, peaks: tuple[NDArray, NDArray], snr: NDArray[np.float64], wraps: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fractional row and column of each target and their variances, (2, count) bins^2; see :func:`cluster`."""
    total = cells.sums(np.ones(cells.owner.size))
    column_offset = cells.columns - peaks[1][cells.owner]
    if wraps:
        size = power.shape[1]
        column_offset = np.mod(column_offset + size // 2, size) - size // 2
    place, variance = [], []
    for axis, offset in enumerate((cells.rows - peaks[0][cells.owner], column_offset)):
        mean = cells.sums(offset) / total
        spread = np.maximum(cells.sums(offset.astype(np.float64) ** 2) / total - mean**2, 0)
        vertex, width = _vertex(power, peaks, axis, wraps and axis == 1)
        error = np.maximum(width / _WIDTH_FACTOR / np.sqrt(2 * 10 ** (snr / 10)), _LEAST_BIN_SHARE)
        beam = (width / _FULL_WIDTH) ** 2
        extended = spread > _EXTENDED**2 * beam
        place.append(peaks[axis] + np.where(extended, mean, vertex))
        variance.append(error**2 + np.where(extended, spread - beam, 0))
    return place[0], place[1], np.stack(variance)


def _vertex(
    power: NDArray[np.floating], peaks: tuple[NDArray, NDArray], axis: int, wraps: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offset of the vertex of the parabola through three cells in dB, and its half-power full width, in bins.

    At an edge, and on a plateau, the offset is 0 and the width that of two bins.
    """
    index, size = peaks[axis], power.shape[axis]
    levels = []
    for step in (-1, 0, 1):
        beside = np.mod(index + step, size) if wraps else np.clip(index + step, 0, size - 1)
        with np.errstate(divide='ignore'):
            level = 10 * np.log10(power[(beside, peaks[1]) if axis == 0 else (peaks[0], beside)].astype(np.float64))
        levels.append(level)
    # An empty neighbour (no power at all) says no more than one 60 dB down.
    before, own, after = (np.maximum(level, levels[1] - 60) for level in levels)
    curvature = 2 * own - before - after
    inner = curvature > 1e-3
    if not wraps:
        inner &= (index > 0) & (index < size - 1)
    safe = np.where(inner, curvature, 1.0)
    offset = np.where(inner, np.clip((after - before) / (2 * safe), -0.5, 0.5), 0)
    # The parabola falls by 3 dB within sqrt(6 / curvature) of its vertex.
    width = np.where(inner, np.minimum(2 * np.sqrt(6 / safe), _MAX_WIDTH), 2.0)
    return offset, width


def _radial_velocity(
    velocity: NDArray[np.floating], cells: _Cells, peaks: tuple[NDArray, NDArray]
) -> NDArray[np.float64]:
    """(count,) m/s, mean over the cells of each target that move as its peak does; NaN where none is known.

    A peak without a velocity is replaced by the strongest of its target's cells that has one.
    """
    every = velocity[np.isfinite(velocity)]
    if every.size == 0:
        return np.full(cells.count, NAN)
    span = _SAME_VELOCITY * float(np.ptp(every))
    speed = velocity[cells.rows, cells.columns].astype(np.float64)
    known = np.flatnonzero(np.isfinite(speed))
    known = known[np.argsort(cells.strength[known], kind='stable')]
    reference = np.full(cells.count, NAN)
    reference[cells.owner[known]] = speed[known]  # of a target's cells the last, the strongest, stays
    own = velocity[peaks].astype(np.float64)
    reference = np.where(np.isfinite(own), own, reference)
    difference = speed - reference[cells.owner]
    alike = np.abs(difference) <= span
    with np.errstate(invalid='ignore'):
        return reference + cells.sums(np.where(alike, difference, 0)) / cells.sums(alike)


def _covariance(
    grid: PolarGrid, row: NDArray[np.float64], column: NDArray[np.float64], variances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, 2, 2) m^2 of (x, y) from variances in bins^2, (2, N), along range and azimuth."""
    range_step, azimuth_step = grid.cell_size(row, column)
    ranges, azimuth = grid.position(row, column)
    along = variances[0] * range_step**2
    across = variances[1] * (azimuth_step * ranges) ** 2
    cos, sin = np.cos(azimuth), np.sin(azimuth)
    cross = (along - across) * cos * sin
    xx, yy = along * cos**2 + across * sin**2, along * sin**2 + across * cos**2
    return np.stack((xx, cross, cross, yy), axis=-1).reshape(-1, 2, 2)
