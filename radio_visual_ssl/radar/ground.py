# SPDX-License-Identifier: Apache-2.0
"""From what a radar above its targets reads to places on the ground."""

import numpy as np
from numpy.typing import NDArray


def to_ground(
    slant_range: NDArray[np.float64], azimuth: NDArray[np.float64], height: float | NDArray[np.float64], *, cone: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ground range and azimuth of points below the radar.

    A line of antennas along y reads the cone angle c with ``y = d sin(c)`` at slant range d; the ground range is
    ``sqrt(d^2 - height^2)``, no less than 0.1 m.

    Args:
        slant_range: (N,) m.
        azimuth: (N,) rad, as read, anticlockwise from x forward.
        height: m, of the radar above the points, one for all or (N,).
        cone: whether azimuths are cone angles; those of a radar that turns round are true.

    Returns:
        (N,) m and (N,) rad.
    """
    ground = np.sqrt(np.maximum(slant_range**2 - np.square(height), 0.01))
    if cone and np.any(height):
        azimuth = np.arcsin(np.clip(slant_range * np.sin(azimuth) / ground, -1, 1))
    return ground, azimuth
