# SPDX-License-Identifier: Apache-2.0
"""A range-azimuth heatmap and the meaning of its values."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.grid import PolarGrid


class Reference(IntEnum):
    """What 0 dB stands for; the numbers are those of HeatmapInfo.msg."""

    ARBITRARY = 0
    NOISE_FLOOR = 1
    FULL_SCALE = 2
    MILLIWATT = 3
    RCS = 4


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Power over range and azimuth.

    Attributes:
        values: (R, A) float32, dB (10 log10 of power), ``[range_bin, azimuth_bin]``.
        grid: bin centres of the rows and columns.
        reference: what 0 dB stands for.
        noise_floor: dB, level of a cell that holds noise alone; NaN where unknown.
        velocity: (R, A) float32, m/s, radial velocity of the strongest return in each cell, positive = receding;
            None where the radar does not measure it.
        radar: name of the radar profile or sensor.
        carrier_frequency: Hz, 0 where unknown.
        bandwidth: Hz, 0 where unknown.
        formation: by which settings the values were made, see `FormationSettings.summary`; '' where unknown.
        ego_velocity: (2,) m/s of the radar over the ground, forward and to its left, by which what stands was taken
            out; None where it was not. Messages do not carry it.

    Raises:
        ValueError: values or velocity of another shape than the grid.
    """

    values: NDArray[np.float32]
    grid: PolarGrid
    reference: Reference = Reference.ARBITRARY
    noise_floor: float = float('nan')
    velocity: NDArray[np.float32] | None = None
    radar: str = ''
    carrier_frequency: float = 0.0
    bandwidth: float = 0.0
    formation: str = ''
    ego_velocity: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.values.shape != self.grid.shape:
            raise ValueError(f'heatmap: expected shape {self.grid.shape} of its grid, got {self.values.shape}')
        if self.velocity is not None and self.velocity.shape != self.grid.shape:
            raise ValueError(f'velocity: expected shape {self.grid.shape} of its grid, got {self.velocity.shape}')

    @property
    def noise_level(self) -> float:
        """dB, the noise floor where known, else the median of the cells, which targets and clutter raise little."""
        return self.noise_floor if np.isfinite(self.noise_floor) else float(np.median(self.values))

    def check_finite(self) -> None:
        """Refuse a heatmap with cells that hold no number.

        Raises:
            ValueError: cells that are NaN or infinite; the message says how many.
        """
        bad = self.values.size - np.count_nonzero(np.isfinite(self.values))
        if bad:
            raise ValueError(f'heatmap: expected finite values (dB), got {bad} of {self.values.size} NaN or infinite')
