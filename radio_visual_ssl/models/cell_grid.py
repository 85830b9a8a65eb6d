# SPDX-License-Identifier: Apache-2.0
"""Where the output cells of a strided network lie on the heatmap's polar grid, exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radio_visual_ssl.radar.grid import PolarGrid

AXES = ('range', 'azimuth')

Pair = int | tuple[int, int]
"""One whole number for both axes, or (range, azimuth)."""


def as_pair(name: str, value: Pair, minimum: int) -> tuple[int, int]:
    """A setting as (range, azimuth).

    Raises:
        ValueError: another number of values, or one below the minimum; the message names the setting.
    """
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(number, int) and number >= minimum for number in pair):
        raise ValueError(f'{name}: expected a whole number from {minimum} on or two of them, got {value!r}')
    return pair[0], pair[1]


@dataclass(frozen=True, eq=False)
class CellGrid:
    """Output cells of a chain of convolutions over a heatmap, indexed ``[row, column]`` = (range, azimuth).

    Cell c looks at the ``receptive_field`` heatmap bins around bin ``offset + stride * c`` (per axis). The arithmetic
    of kernels, strides and paddings is that of Araujo et al., "Computing receptive fields of convolutional neural
    networks", Distill 2019.

    Attributes:
        grid: of the heatmap.
        shape: number of cells along (range, azimuth).
        stride: heatmap bins from cell to cell.
        offset: heatmap bin index, whole or fractional, of the centre of cell (0, 0).
        receptive_field: heatmap bins that a cell sees.
    """

    grid: PolarGrid
    shape: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[float, float]
    receptive_field: tuple[int, int]

    @classmethod
    def of(cls, grid: PolarGrid) -> 'CellGrid':
        """The heatmap's own bins as cells."""
        return cls(grid, grid.shape, (1, 1), (0.0, 0.0), (1, 1))

    def convolved(self, kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> 'CellGrid':
        """The cells behind one more convolution (or pooling) with these settings.

        On a grid that wraps, the padding along azimuth is taken as circular.

        Raises:
            ValueError: settings that are not positive, a kernel larger than the padded input, or strides that do not
                divide the number of azimuth bins of a grid that wraps (its cells would not close to a circle).
        """
        kernels, strides = as_pair('kernel', kernel, 1), as_pair('stride', stride, 1)
        paddings, dilations = as_pair('padding', padding, 0), as_pair('dilation', dilation, 1)
        reach = [dilations[axis] * (kernels[axis] - 1) for axis in (0, 1)]
        shape = [(self.shape[axis] + 2 * paddings[axis] - reach[axis] - 1) // strides[axis] + 1 for axis in (0, 1)]
        for axis, name in enumerate(AXES):
            if shape[axis] < 1:
                raise ValueError(f'kernel: {kernels[axis]} does not fit {self.shape[axis]} padded cells along {name}')
        if self.grid.wraps and shape[1] * strides[1] != self.shape[1]:
            raise ValueError(
                f'stride: expected one that divides the {self.shape[1]} azimuth cells of a grid that wraps, '
                f'with padding {reach[1] // 2} for this kernel, got stride {strides[1]} and padding {paddings[1]}'
            )
        offset = [self.offset[axis] + self.stride[axis] * (reach[axis] / 2 - paddings[axis]) for axis in (0, 1)]
        field = [self.receptive_field[axis] + self.stride[axis] * reach[axis] for axis in (0, 1)]
        return CellGrid(
            self.grid,
            (shape[0], shape[1]),
            (self.stride[0] * strides[0], self.stride[1] * strides[1]),
            (offset[0], offset[1]),
            (field[0], field[1]),
        )

    @property
    def wraps(self) -> bool:
        """The last azimuth cell is a neighbour of the first."""
        return self.grid.wraps

    @property
    def range(self) -> NDArray[np.float64]:
        """(rows,) m, centres of the cells."""
        return self.decode(np.arange(self.shape[0]), 0)[0]

    @property
    def azimuth(self) -> NDArray[np.float64]:
        """(columns,) rad, centres of the cells, anticlockwise from x forward."""
        return self.decode(0, np.arange(self.shape[1]))[1]

    def decode(self, row: ArrayLike, column: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Range (m) and azimuth (rad) at fractional cell indices, through the heatmap's true bin centres.

        Places beyond the heatmap's outer bin centres are clamped to them; azimuth goes round where the grid wraps.
        """
        rows = self.offset[0] + self.stride[0] * np.asarray(row, dtype=np.float64)
        columns = self.offset[1] + self.stride[1] * np.asarray(column, dtype=np.float64)
        return self.grid.position(rows, columns)

    def index(self, range_: ArrayLike, azimuth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fractional (row, column) of places (m, rad): NaN outside the heatmap; the inverse of ``decode``.

        On a grid that wraps, the column is in [-0.5, columns - 0.5), so that its nearest whole number is a cell.
        """
        row, column = self.grid.index(range_, azimuth)
        rows, columns = (row - self.offset[0]) / self.stride[0], (column - self.offset[1]) / self.stride[1]
        if self.wraps:
            columns = np.mod(columns + 0.5, self.shape[1]) - 0.5
        return rows, columns

    def cell_size(self, row: ArrayLike, column: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance (m) and angle (rad) from cell to cell at fractional cell indices."""
        rows = self.offset[0] + self.stride[0] * np.asarray(row, dtype=np.float64)
        columns = self.offset[1] + self.stride[1] * np.asarray(column, dtype=np.float64)
        height, width = self.grid.cell_size(rows, columns)
        return self.stride[0] * height, self.stride[1] * width
