# SPDX-License-Identifier: Apache-2.0
"""Radar peaks that a target seen by the camera may belong to, from raw or background-subtracted heatmaps."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.radar.background import usual_level
from radio_visual_ssl.radar.cfar import cfar
from radio_visual_ssl.radar.clustering import ClusterSettings, cluster, excess_power
from radio_visual_ssl.radar.grid import PolarGrid, turned_towards
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target


@dataclass(frozen=True, eq=False)
class Candidates:
    """Peaks of one heatmap, strongest first.

    Attributes:
        range: (C,) m, as the radar reads it (on a mast: slant range), finer than a bin.
        azimuth: (C,) rad, anticlockwise.
        variance: (C, 2) m^2 and rad^2, of a point reflector's place.
        snr: (C,) dB above the noise (and background) around the peak.
        velocity: (C,) m/s, radial, NaN where unknown.

    Raises:
        ValueError: arrays whose lengths differ, or places that are not finite.
    """

    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    variance: NDArray[np.float64]
    snr: NDArray[np.float64]
    velocity: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check the shapes."""
        count = self.range.size
        for name, shape in (('azimuth', (count,)), ('variance', (count, 2)), ('snr', (count,)), ('velocity', (count,))):
            got = getattr(self, name).shape
            if got != shape:
                raise ValueError(f'{name}: expected shape {shape}, one for each range, got {got}')
        if not (np.all(np.isfinite(self.range)) and np.all(np.isfinite(self.azimuth)) and np.all(self.range > 0)):
            raise ValueError('range, azimuth: expected finite places beyond 0 m')

    def __len__(self) -> int:
        """Number of peaks."""
        return int(self.range.size)

    @classmethod
    def of(cls, targets: Iterable[Target]) -> 'Candidates':
        """Targets of any detector (their places and covariances) as candidates."""
        rows = []
        for target in targets:
            cosine, sine = np.cos(target.azimuth), np.sin(target.azimuth)
            along, across = np.array([cosine, sine]), np.array([-sine, cosine])
            variance = along @ target.covariance @ along, across @ target.covariance @ across / target.range**2
            rows.append((target.range, target.azimuth, *variance, target.snr, target.radial_velocity))
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
        return cls(table[:, 0], table[:, 1], table[:, 2:4], table[:, 4], table[:, 5])


@dataclass(frozen=True)
class CandidateSettings:
    """Which peaks become candidates. A candidate too many costs little: the association knows clutter.

    Attributes:
        method, guard_cells, training_cells, probability_of_false_alarm, rank: see :func:`radar.cfar.cfar`.
        min_snr: dB, weaker peaks are dropped.
        min_range: m, nearer peaks are dropped.
        merge_radius: m, weaker peaks closer than this to a stronger one are part of the same body; 0 keeps all.
        sidelobe_rejection: dB, peaks this far below the strongest at their range are dropped; 0 keeps all.
        max_candidates: those of highest SNR are kept.
    """

    method: Literal['ca', 'go', 'so', 'os'] = 'os'
    guard_cells: tuple[int, int] = (2, 1)
    training_cells: tuple[int, int] = (8, 3)
    probability_of_false_alarm: float = 1e-2
    rank: float = 0.4
    min_snr: float = 3.0
    min_range: float = 2.0
    merge_radius: float = 1.5
    sidelobe_rejection: float = 0.0
    max_candidates: int = 64


def static_level(heatmaps: Iterable[Heatmap], quantile: float = 0.25, most_frames: int = 200) -> NDArray[np.float32]:
    """(R, A) dB that a quarter of a recording's heatmaps do not exceed: what a radar that stands still always sees.

    Labels are made offline, so that the whole recording serves, later frames too, and there is no warm-up as with the
    running backgrounds of :mod:`radar.background`. A target that stays in one cell for three quarters of the frames
    becomes background; of short recordings the median (0.5) loses those who walk.

    Args:
        heatmaps: of one grid, in order of time.
        quantile: share of the heatmaps below the level, in [0, 1].
        most_frames: that are kept in memory; of a longer recording every other one, every fourth...

    Raises:
        ValueError: no heatmap, a change of grid, or an argument out of range.
    """
    if not 0 <= quantile <= 1 or most_frames < 2:
        raise ValueError(f'quantile, most_frames: expected 0 to 1 and 2 or more, got {quantile}, {most_frames}')
    kept: list[NDArray[np.float32]] = []
    grid, step = None, 1
    for number, heatmap in enumerate(heatmaps):
        if grid is not None and heatmap.grid != grid:
            raise ValueError(f'heatmaps: expected one grid, got another at heatmap number {number}')
        grid = heatmap.grid
        if number % step == 0:
            kept.append(heatmap.values)
        if len(kept) > most_frames:
            kept, step = kept[::2], 2 * step
    if not kept:
        raise ValueError('heatmaps: expected at least one, got none')
    return np.quantile(kept, quantile, axis=0).astype(np.float32)


def find_candidates(
    heatmap: Heatmap,
    level: NDArray[np.float32] | None = None,
    settings: CandidateSettings = CandidateSettings(),
) -> Candidates:
    """Peaks of a heatmap that stand out from what surrounds them.

    Args:
        heatmap: any reference; finite.
        level: (R, A) dB, background to subtract, such as :func:`static_level`; None = the raw heatmap. It counts as
            no less than the noise floor, see :func:`usual_level`.
        settings: see :class:`CandidateSettings`.

    Raises:
        ValueError: values that are not finite, a level of another shape, or CFAR settings out of range.
    """
    heatmap.check_finite()
    values, excess = heatmap.values, None
    if level is not None:
        if level.shape != values.shape:
            raise ValueError(f'level: expected shape {values.shape} of the heatmap, got {level.shape}')
        usual = usual_level(heatmap, level)
        excess = excess_power(values, usual)
        values = values - usual
    # Relative to the strongest cell, power cannot overflow.
    power = np.exp((values - values.max()) * np.float32(np.log(10) / 10))
    found = cfar(
        power,
        guard_cells=settings.guard_cells,
        training_cells=settings.training_cells,
        probability_of_false_alarm=settings.probability_of_false_alarm,
        method=settings.method,
        wrap=(False, heatmap.grid.wraps),
        rank=settings.rank,
        everywhere=False,
    )
    detections = found.detections & (found.noise > 0) & (heatmap.grid.range >= settings.min_range)[:, None]
    clusters = ClusterSettings(
        merge_radius=0.0,  # of one cell each: places are those of the peaks, not of the bodies
        min_snr=settings.min_snr,
        sidelobe_rejection=settings.sidelobe_rejection,
        max_targets=values.size,
        extent_std=0.0,
    )
    peaks = cluster(
        power, found.noise, detections, heatmap.grid, settings=clusters, velocity=heatmap.velocity, excess=excess
    )
    return Candidates.of(_apart(peaks, settings.merge_radius)[: settings.max_candidates])


def _apart(peaks: list[Target], radius: float) -> list[Target]:
    """Peaks, highest SNR first, that are farther than the radius from each one before them that is kept."""
    places = np.array([(peak.x, peak.y) for peak in peaks]).reshape(-1, 2)
    order = np.argsort([-peak.snr for peak in peaks], kind='stable')
    kept: list[int] = []
    for index in order:
        if not kept or np.min(np.hypot(*(places[kept] - places[index]).T)) > radius:
            kept.append(int(index))
    return [peaks[index] for index in kept]


def attention_weights(
    attention: NDArray[np.floating],
    grid: PolarGrid | CellGrid,
    candidates: Candidates,
    range_std: float = 2.0,
    azimuth_std: float = 0.08,
) -> NDArray[np.float64]:
    """What a contrastive model's attention says of each candidate.

    Attention may look at any cell that gives a target away, beside it or at its sidelobes; so each candidate gets the
    attention around it, by a normal law of the offset in range and azimuth.

    Args:
        attention: (I, R, A), a map for each instance: logits over the temperature they were trained with.
        grid: of its cells.
        candidates: of the same frame.
        range_std: m, of the offset in range.
        azimuth_std: rad, of the offset in azimuth.

    Returns:
        (I, C), the softmax over the cells gathered at each candidate.

    Raises:
        ValueError: attention of another shape or not finite, or a deviation that is not positive.
    """
    if attention.ndim != 3 or attention.shape[1:] != grid.shape:
        raise ValueError(f'attention: expected (instances, *{grid.shape}) as its grid has it, got {attention.shape}')
    if not np.all(np.isfinite(attention)):
        raise ValueError('attention: expected finite logits')
    if range_std <= 0 or azimuth_std <= 0:
        raise ValueError(f'range_std, azimuth_std: expected positive numbers, got {range_std}, {azimuth_std}')
    if attention.size == 0:
        return np.zeros((len(attention), len(candidates)))
    share = np.exp(attention - attention.max(axis=(1, 2), keepdims=True), dtype=np.float64)
    share /= share.sum(axis=(1, 2), keepdims=True)
    along = np.exp(-0.5 * ((grid.range[:, None] - candidates.range) / range_std) ** 2)
    turned = turned_towards(grid.azimuth[:, None] - candidates.azimuth)
    across = np.exp(-0.5 * (turned / azimuth_std) ** 2)
    return np.einsum('irc,rc->ic', share @ across, along)
