# SPDX-License-Identifier: Apache-2.0
"""A target on the ground plane of the radar frame."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NAN = float('nan')


@dataclass(frozen=True, eq=False)
class Target:
    """A detection, self-label or ground truth; the fields are those of Target.msg.

    Attributes:
        x, y, z: m, radar frame (REP-103: x forward, y left, z up).
        covariance: (2, 2) float64 of (x, y), m^2; zeros where unknown.
        radial_velocity: m/s, positive = receding; NaN where unknown.
        snr: dB above the local noise; NaN where unknown.
        score: confidence in [0, 1].
        track_id: 0 = none.
        label: class name, empty where unknown.
        size: (length, width, height), m; zeros where unknown.
        heading: rad, anticlockwise from x; NaN where unknown.
        velocity: (3,) m/s; NaN where unknown.
        visibility: share the camera sees, in [0, 1]; NaN where unknown.
        in_radar_view, in_camera_view: ground truth only.
    """

    x: float
    y: float
    z: float = 0.0
    covariance: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))
    radial_velocity: float = NAN
    snr: float = NAN
    score: float = 1.0
    track_id: int = 0
    label: str = ''
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    heading: float = NAN
    velocity: tuple[float, float, float] = (NAN, NAN, NAN)
    visibility: float = NAN
    in_radar_view: bool = False
    in_camera_view: bool = False

    @property
    def range(self) -> float:
        """Ground range, m."""
        return float(np.hypot(self.x, self.y))

    @property
    def azimuth(self) -> float:
        """Azimuth, rad, anticlockwise from x forward."""
        return float(np.arctan2(self.y, self.x))

    @property
    def slant_range(self) -> float:
        """m, straight from the radar to the middle of the target's box: the range that a radar reads.

        A car 10 m from a mast of 5 m reads 0.9 m too long.
        """
        return float(np.sqrt(self.x**2 + self.y**2 + self._middle_height**2))

    @property
    def cone_angle(self) -> float:
        """rad, azimuth that a line of antennas along y reads: its sine is that of the azimuth times cos(elevation).

        Anticlockwise from x forward, within +-pi/2: the line does not tell front from back.
        """
        distance = self.slant_range
        return float(np.arcsin(self.y / distance)) if distance > 0 else 0.0

    def as_read(self, *, cone: bool) -> tuple[float, float]:
        """Slant range (m) and azimuth (rad) of the target's middle as a radar at the origin reads them.

        Args:
            cone: whether the radar reads cone angles, see ``PolarGrid.reads_cone_angles``.
        """
        return self.slant_range, self.cone_angle if cone else self.azimuth

    @property
    def _middle_height(self) -> float:
        """m, of the middle of the box above the radar."""
        return self.z + self.size[2] / 2
