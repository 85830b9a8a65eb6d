# SPDX-License-Identifier: Apache-2.0
"""The polar grid of a range-azimuth heatmap, with exact bin centres."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class PolarGrid:
    """Bin centres of a heatmap indexed ``[range_bin, azimuth_bin]``.

    Attributes:
        range: (R,) float64, m, strictly ascending, not negative.
        azimuth: (A,) float64, rad, strictly ascending, anticlockwise from x forward (REP-103).
        wraps: the last azimuth bin is a neighbour of the first (360 degree radar).

    Raises:
        ValueError: bin centres that are not 1-D, finite and strictly ascending, or a circle of more than 2 pi.
    """

    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    wraps: bool = False

    def __post_init__(self) -> None:
        """Take the bin centres over as read-only float64 and check them."""
        for name in ('range', 'azimuth'):
            centres = np.array(getattr(self, name), dtype=np.float64)
            if centres.ndim != 1 or centres.size < 2:
                raise ValueError(f'{name}: expected at least 2 bin centres in one dimension, got shape {centres.shape}')
            if not np.all(np.isfinite(centres)) or np.any(np.diff(centres) <= 0):
                raise ValueError(f'{name}: expected finite, strictly ascending bin centres')
            centres.setflags(write=False)
            object.__setattr__(self, name, centres)
        if self.range[0] < 0:
            raise ValueError(f'range: expected bin centres from 0 m on, got {self.range[0]} m')
        if self.wraps and self.azimuth[-1] - self.azimuth[0] >= 2 * np.pi:
            raise ValueError('azimuth: a grid that wraps spans less than 2 pi between its first and last bin centre')

    @property
    def shape(self) -> tuple[int, int]:
        """Number of (range bins, azimuth bins)."""
        return self.range.size, self.azimuth.size

    def __eq__(self, other: object) -> bool:
        """Same bin centres, bit for bit, and same wrap-around."""
        if not isinstance(other, PolarGrid):
            return NotImplemented
        return (
            self.wraps == other.wraps
            and np.array_equal(self.range, other.range)
            and np.array_equal(self.azimuth, other.azimuth)
        )

    __hash__ = None  # type: ignore[assignment]

    def position(self, row: ArrayLike, column: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Range (m) and azimuth (rad) at fractional indices; integers are bin centres, outside is clamped.

        On a grid that wraps, the column may lie between the last and the first bin (A - 1 < column < A).
        """
        range_ = np.interp(row, np.arange(self.range.size), self.range)
        azimuth_centres = self.azimuth
        if self.wraps:
            azimuth_centres = np.append(azimuth_centres, azimuth_centres[0] + 2 * np.pi)
            column = np.mod(column, self.azimuth.size)
        azimuth = np.interp(column, np.arange(azimuth_centres.size), azimuth_centres)
        if self.wraps:
            azimuth = np.mod(azimuth + np.pi, 2 * np.pi) - np.pi
        return range_, azimuth

    def index(self, range_: ArrayLike, azimuth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fractional (row, column) of a range (m) and azimuth (rad): NaN outside the grid by more than half a bin."""
        row = _fractional_index(np.asarray(range_, dtype=np.float64), self.range)
        azimuth = np.asarray(azimuth, dtype=np.float64)
        if self.wraps:
            centres = np.append(self.azimuth, self.azimuth[0] + 2 * np.pi)
            turned = self.azimuth[0] + np.mod(azimuth - self.azimuth[0], 2 * np.pi)
            return row, np.interp(turned, centres, np.arange(centres.size))
        return row, _fractional_index(azimuth, self.azimuth)

    def contains(self, range_: ArrayLike, azimuth: ArrayLike) -> NDArray[np.bool_]:
        """Whether a place (m, rad) is inside the grid, half a bin beyond its outer centres included."""
        row, column = self.index(range_, azimuth)
        return np.isfinite(row) & np.isfinite(column)


def _fractional_index(value: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Position of value among ascending centres, extrapolated by up to half a bin and NaN beyond."""
    lower = np.clip(np.searchsorted(centres, value) - 1, 0, centres.size - 2)
    fraction = (value - centres[lower]) / (centres[lower + 1] - centres[lower])
    index = lower + fraction
    return np.where((index >= -0.5) & (index <= centres.size - 0.5), index, np.nan)
