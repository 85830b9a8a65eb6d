# SPDX-License-Identifier: Apache-2.0
"""Finds the strongest moving targets of one frame in its range-Doppler map."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from radio_visual_ssl.radar.formation import HeatmapFormer, peak_position

SLOWEST = 0.35  # m/s: slower is the sway of what stands (leaves, breathing)
STATIC_CELLS = 2.5  # resolution cells either way that a standing target fills through the window's main lobe
REMOVED_STATIC_CELLS = 1.5  # the same where standing targets are subtracted before


@dataclass(frozen=True)
class Mover:
    """A moving target.

    Attributes:
        range: m.
        azimuth: rad, anticlockwise from x forward.
        velocity: m/s, radial, positive = receding.
        snr: dB of its range-Doppler cell above the noise floor.
    """

    range: float
    azimuth: float
    velocity: float
    snr: float


def strongest_movers(
    cube: NDArray[np.complexfloating],
    former: HeatmapFormer,
    count: int = 5,
    *,
    min_velocity: float | None = None,
    min_snr: float = 12.0,
    separation: tuple[int, int] = (3, 3),
) -> list[Mover]:
    """Strongest movers of one frame: peaks of the range-Doppler map away from Doppler 0.

    Range and velocity lie between bins, on the parabola through the dB values around the peak; the azimuth is that of
    the strongest beam over the channels of the peak's cell. One mover is given for each peak: two targets in one cell
    are one, and a target that is spread over range or Doppler (a walker's limbs) may be several.

    Args:
        cube: as for `HeatmapFormer.form`.
        former: of the radar; its settings say windows, zero padding and range.
        count: at most so many.
        min_velocity: m/s; slower ones are left out. None: 0.35 m/s, but at least 2.5 velocity resolutions, or 1.5 where
            the former removes static clutter.
        min_snr: dB above the noise floor; weaker ones are left out.
        separation: resolution cells (range, Doppler) to every side in which a peak must be the strongest.

    Returns:
        Strongest first.

    Raises:
        CubeError: as `HeatmapFormer.form`.
    """
    scan = former.range_doppler(cube)
    spectrum, _ = former.spectrum(cube)
    waveform = former.profile.waveform
    if min_velocity is None:
        cells = REMOVED_STATIC_CELLS if former.settings.clutter_removal == 'static' else STATIC_CELLS
        min_velocity = max(SLOWEST, cells * former.profile.velocity_resolution)
    moving = np.abs(scan.velocity) >= min_velocity
    if not moving.any():
        return []
    values = np.where(moving, scan.values, -np.inf)
    # zero padding makes bins finer than resolution cells
    padding = (former.range_length / waveform.fast_time_count, scan.velocity.size / waveform.slow_time_count)
    size = [2 * round(cells * times) + 1 for cells, times in zip(separation, padding, strict=True)]
    highest = scipy.ndimage.maximum_filter(values, size=size, mode=('nearest', 'wrap'))
    rows, columns = np.nonzero((values == highest) & (values >= min_snr))
    # an edge of the region that is left out may stand above its inner neighbours without being a peak
    peaks = scan.values[rows, columns] >= np.maximum(
        scan.values[rows, columns - 1], scan.values[rows, (columns + 1) % scan.velocity.size]
    )
    rows, columns = rows[peaks], columns[peaks]
    strongest = np.argsort(scan.values[rows, columns])[::-1][:count]
    return [_mover(former, scan.values, spectrum, int(rows[i]), int(columns[i])) for i in strongest]


def _mover(
    former: HeatmapFormer, values: NDArray[np.float32], spectrum: NDArray[np.complex64], row: int, column: int
) -> Mover:
    doppler_bins = values.shape[1]
    ranges, power = former.grid.range, 10 ** (values / 10)
    place = peak_position(power[:, column], row)
    around = power[row, np.arange(column - 1, column + 2) % doppler_bins]
    shift = peak_position(around, 1) - 1
    step = former.profile.velocity_resolution * former.profile.waveform.slow_time_count / doppler_bins
    return Mover(
        range=float(np.interp(place, np.arange(ranges.size), ranges)),
        azimuth=former.azimuth_of(spectrum[column, row]),
        velocity=float((column - doppler_bins // 2 + shift) * step),
        snr=float(values[row, column]),
    )
