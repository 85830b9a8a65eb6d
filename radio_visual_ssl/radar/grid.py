# SPDX-License-Identifier: Apache-2.0
"""The polar grid of a range-azimuth heatmap, with exact bin centres, and its resampling to Cartesian and back."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

_SAME_BIN = 0.01  # of a bin: more than a message's float32 loses, less than any other grid would differ


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

    @property
    def reads_cone_angles(self) -> bool:
        """Whether azimuths are those that a line of antennas reads, see ``Target.cone_angle``.

        A radar that turns reads true ones; nobody but it tells what is behind the line from what is before it.
        """
        middles = turned_towards(self.azimuth)
        return not self.wraps and float(np.max(np.abs(middles))) <= np.pi / 2 + 1e-9

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

    def difference(self, other: 'PolarGrid') -> str:
        """What makes another grid differ by more than rounding: 'grid: expected ..., got ...', '' if nothing does."""
        if self.shape != other.shape:
            return f'grid: expected {self.described()}, got {other.described()}'
        for name, unit, scale in (('range', 'm', 1.0), ('azimuth', 'deg', 180 / np.pi)):
            expected, got = getattr(self, name), getattr(other, name)
            apart = np.abs(expected - got) / np.gradient(expected)
            if np.any(apart > _SAME_BIN):
                worst = int(np.argmax(apart))
                wanted, given = (f'{scale * centres[worst]:.6g} {unit}' for centres in (expected, got))
                where = f'grid, {name} bins: expected {wanted} at {worst} ({self.described()})'
                return f'{where}, got {given} ({other.described()})'
        return '' if self.wraps == other.wraps else f'grid: expected wraps {self.wraps}, got {other.wraps}'

    def described(self) -> str:
        """Size and extent, in words."""
        low, high = np.degrees(self.azimuth[[0, -1]])
        extent = f'{self.range[0]:.2f} to {self.range[-1]:.2f} m and {low:.2f} to {high:.2f} deg'
        return f'{self.range.size} x {self.azimuth.size} bins of {extent}'

    def position(self, row: ArrayLike, column: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Range (m) and azimuth (rad) at fractional indices; integers are bin centres, outside is clamped.

        On a grid that wraps, the column may lie between the last and the first bin (A - 1 < column < A).
        """
        range_ = np.interp(np.asarray(row), np.arange(self.range.size), self.range)
        azimuth_centres = self.azimuth
        if self.wraps:
            azimuth_centres = np.append(azimuth_centres, azimuth_centres[0] + 2 * np.pi)
            column = np.mod(column, self.azimuth.size)
        azimuth = np.interp(np.asarray(column), np.arange(azimuth_centres.size), azimuth_centres)
        if self.wraps:
            azimuth = turned_towards(azimuth)
        return range_, azimuth

    def index(self, range_: ArrayLike, azimuth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fractional (row, column) of a range (m) and azimuth (rad): NaN outside the grid by more than half a bin.

        Azimuths that differ by whole turns are the same.
        """
        row = _fractional_index(np.asarray(range_, dtype=np.float64), self.range)
        azimuth = np.asarray(azimuth, dtype=np.float64)
        if self.wraps:
            centres = np.append(self.azimuth, self.azimuth[0] + 2 * np.pi)
            turned = self.azimuth[0] + np.mod(azimuth - self.azimuth[0], 2 * np.pi)
            return row, np.interp(turned, centres, np.arange(centres.size))
        middle = (self.azimuth[0] + self.azimuth[-1]) / 2
        return row, _fractional_index(turned_towards(azimuth, middle), self.azimuth)

    def cell_size(self, row: ArrayLike, column: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance (m) and angle (rad) from bin to bin at whole or fractional indices."""
        centres = self.azimuth
        if self.wraps:
            centres = np.concatenate((centres[-1:] - 2 * np.pi, centres, centres[:1] + 2 * np.pi))
            column = np.mod(column, self.azimuth.size) + 1
        height = np.interp(np.asarray(row), np.arange(self.range.size), np.gradient(self.range))
        return height, np.interp(np.asarray(column), np.arange(centres.size), np.gradient(centres))

    def contains(self, range_: ArrayLike, azimuth: ArrayLike) -> NDArray[np.bool_]:
        """Whether a place (m, rad) is inside the grid, half a bin beyond its outer centres included."""
        row, column = self.index(range_, azimuth)
        return np.isfinite(row) & np.isfinite(column)


@dataclass(frozen=True)
class CartesianGrid:
    """Square cells of the ground plane, indexed ``[x_bin, y_bin]``, both ascending (x forward, y left).

    Attributes:
        x_min, y_min: m, centre of the first cell.
        shape: number of cells along (x, y).
        cell_size: m.

    Raises:
        ValueError: no cell, or a cell size that is not positive.
    """

    x_min: float
    y_min: float
    shape: tuple[int, int]
    cell_size: float

    def __post_init__(self) -> None:
        """Check the sizes."""
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ValueError(f'shape: expected two numbers of cells from 1 on, got {self.shape}')
        if not (np.isfinite(self.cell_size) and self.cell_size > 0):
            raise ValueError(f'cell_size: expected a positive length in m, got {self.cell_size}')

    @classmethod
    def around(cls, grid: PolarGrid, cell_size: float) -> 'CartesianGrid':
        """The smallest grid of such cells that holds all bin centres of a polar grid and its origin."""
        azimuth = grid.azimuth
        # The outline's extremes lie at the outer azimuths or where it crosses an axis.
        quarters = azimuth[[0, -1]] / (np.pi / 2)
        crossings = np.arange(np.ceil(quarters[0]), np.floor(quarters[1]) + 1) * np.pi / 2
        outline = np.linspace(-np.pi, np.pi, 5) if grid.wraps else np.concatenate((azimuth[[0, -1]], crossings))
        x = np.append(grid.range[-1] * np.cos(outline), 0.0)
        y = np.append(grid.range[-1] * np.sin(outline), 0.0)
        shape = [int(np.ceil(np.ptp(side) / cell_size - 1e-9)) + 1 for side in (x, y)]
        return cls(float(x.min()), float(y.min()), (shape[0], shape[1]), cell_size)

    @property
    def x(self) -> NDArray[np.floating]:
        """Cell centres along x, m."""
        return self.x_min + self.cell_size * np.arange(self.shape[0])

    @property
    def y(self) -> NDArray[np.floating]:
        """Cell centres along y, m."""
        return self.y_min + self.cell_size * np.arange(self.shape[1])


def turned_towards(azimuth: Any, middle: float = 0.0) -> Any:
    """The same azimuths (rad) within half a turn of a middle (rad); those that are there already keep every bit.

    Args:
        azimuth: rad, an array or a tensor of any shape.
        middle: rad.
    """
    return azimuth - 2 * np.pi * ((azimuth - middle) / (2 * np.pi)).round()


def polar_to_cartesian(
    values: NDArray[np.floating], grid: PolarGrid, cartesian: CartesianGrid, fill: float = float('nan')
) -> NDArray[np.float32]:
    """Resample ``[range_bin, azimuth_bin]`` to ``[x_bin, y_bin]``, bilinear between the exact bin centres.

    The first call for a pair of grids computes the weights; they are kept for the next ones.

    Args:
        values: (R, A), finite.
        grid: of the values.
        cartesian: wanted.
        fill: value of cells outside the polar grid (more than half a bin beyond its outer centres).

    Raises:
        ValueError: values of another shape than their grid.
    """
    _check_shape(values, grid.shape)
    key = (grid.range.tobytes(), grid.azimuth.tobytes(), grid.wraps)
    return _resample(values, *_weights_to_cartesian(key, cartesian), cartesian.shape, fill)


def cartesian_to_polar(
    values: NDArray[np.floating], cartesian: CartesianGrid, grid: PolarGrid, fill: float = float('nan')
) -> NDArray[np.float32]:
    """Resample ``[x_bin, y_bin]`` to ``[range_bin, azimuth_bin]``; see :func:`polar_to_cartesian`.

    Args:
        values: (X, Y), finite.
        cartesian: grid of the values.
        grid: wanted.
        fill: value of bins outside the Cartesian grid.

    Raises:
        ValueError: values of another shape than their grid.
    """
    _check_shape(values, cartesian.shape)
    key = (grid.range.tobytes(), grid.azimuth.tobytes(), grid.wraps)
    return _resample(values, *_weights_to_polar(key, cartesian), grid.shape, fill)


def _check_shape(values: NDArray[np.floating], shape: tuple[int, int]) -> None:
    """Refuse values that do not fit their grid."""
    if values.shape != shape:
        raise ValueError(f'values: expected shape {shape} of their grid, got {values.shape}')


def _resample(
    values: NDArray[np.floating],
    weights: csr_array,
    inside: NDArray[np.bool_],
    shape: tuple[int, int],
    fill: float,
) -> NDArray[np.float32]:
    """Weighted sums of the values where inside, else fill."""
    resampled = np.full(shape, fill, dtype=np.float32)
    resampled[inside] = weights @ values.ravel().astype(np.float32, copy=False)
    return resampled


@lru_cache(maxsize=4)
def _weights_to_cartesian(
    key: tuple[bytes, bytes, bool], cartesian: CartesianGrid
) -> tuple[csr_array, NDArray[np.bool_]]:
    """Bilinear weights, one row per Cartesian cell inside, and which cells these are."""
    grid = PolarGrid(np.frombuffer(key[0]), np.frombuffer(key[1]), key[2])
    x, y = np.meshgrid(cartesian.x, cartesian.y, indexing='ij')
    row, column = grid.index(np.hypot(x, y), np.arctan2(y, x))
    return _bilinear(row, column, grid.shape, grid.wraps)


@lru_cache(maxsize=4)
def _weights_to_polar(key: tuple[bytes, bytes, bool], cartesian: CartesianGrid) -> tuple[csr_array, NDArray[np.bool_]]:
    """Bilinear weights, one row per polar bin inside, and which bins these are."""
    grid = PolarGrid(np.frombuffer(key[0]), np.frombuffer(key[1]), key[2])
    row = (grid.range[:, None] * np.cos(grid.azimuth) - cartesian.x_min) / cartesian.cell_size
    column = (grid.range[:, None] * np.sin(grid.azimuth) - cartesian.y_min) / cartesian.cell_size
    for index, size in ((row, cartesian.shape[0]), (column, cartesian.shape[1])):
        index[(index < -0.5) | (index > size - 0.5)] = np.nan
    return _bilinear(row, column, cartesian.shape, False)


def _bilinear(
    row: NDArray[np.float64], column: NDArray[np.float64], shape: tuple[int, int], wraps: bool
) -> tuple[csr_array, NDArray[np.bool_]]:
    """Weights of the four neighbours of each fractional index that is not NaN, and where those are."""
    inside = np.isfinite(row) & np.isfinite(column)
    row = np.clip(row[inside], 0, shape[0] - 1)
    column = column[inside] if wraps else np.clip(column[inside], 0, shape[1] - 1)
    above = np.minimum(row.astype(np.int64), max(shape[0] - 2, 0))
    left = column.astype(np.int64)
    if not wraps:
        left = np.minimum(left, max(shape[1] - 2, 0))
    down, right = row - above, column - left
    rows = np.stack((above, above, above + 1, above + 1), axis=1) % shape[0]
    columns = np.stack((left, left + 1, left, left + 1), axis=1) % shape[1]
    weights = np.stack(((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right), axis=1)
    indices = (rows * shape[1] + columns).astype(np.int32).ravel()
    starts = np.arange(0, 4 * row.size + 1, 4, dtype=np.int32)
    matrix = csr_array((weights.astype(np.float32).ravel(), indices, starts), shape=(row.size, shape[0] * shape[1]))
    return matrix, inside


def _fractional_index(value: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Position of value among ascending centres, extrapolated by up to half a bin and NaN beyond."""
    lower = np.clip(np.searchsorted(centres, value) - 1, 0, centres.size - 2)
    fraction = (value - centres[lower]) / (centres[lower + 1] - centres[lower])
    index = lower + fraction
    return np.where((index >= -0.5) & (index <= centres.size - 0.5), index, np.nan)
