# SPDX-License-Identifier: Apache-2.0
"""Where an object is at any time: poses, and paths that are walked for ever."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline


@dataclass(frozen=True)
class Pose:
    """Place and motion of an object on the ground at one time, scene frame.

    Attributes:
        x, y: m, centre of the footprint.
        heading: rad, anticlockwise from x.
        speed: m/s along the heading.
        yaw_rate: rad/s.
    """

    x: float
    y: float
    heading: float
    speed: float = 0.0
    yaw_rate: float = 0.0

    @property
    def velocity(self) -> tuple[float, float, float]:
        """m/s, scene (and radar) frame."""
        return self.speed * math.cos(self.heading), self.speed * math.sin(self.heading), 0.0


class Trajectory:
    """A path walked for ever.

    Args:
        waypoints: (P, 2), m.
        speed: m/s.
        motion, pause: as in `Mover`.
        phase: share of the cycle that has passed at time 0, in [0, 1).
    """

    def __init__(
        self, waypoints: NDArray[np.float64], speed: float, motion: str = 'loop', pause: float = 0.0, phase: float = 0.0
    ) -> None:
        self.speed, self.motion, self.pause, self.phase = speed, motion, pause, phase
        closed = motion == 'loop'
        if closed:
            waypoints = np.vstack([waypoints, waypoints[:1]])
        boundary = 'periodic' if closed else 'natural'
        knots = np.append(0.0, np.cumsum(np.hypot(*np.diff(waypoints, axis=0).T)))
        chord = CubicSpline(knots, waypoints, bc_type=boundary)
        dense = chord(np.linspace(0.0, knots[-1], 64 * (len(waypoints) - 1) + 1))
        if closed:
            dense[-1] = dense[0]
        length = np.append(0.0, np.cumsum(np.hypot(*np.diff(dense, axis=0).T)))
        # over its own length, so that the speed is constant
        self._path = CubicSpline(length, dense, bc_type=boundary)
        self.length = float(length[-1])

    @property
    def period(self) -> float:
        """Seconds after which everything repeats."""
        legs = 2 if self.motion == 'shuttle' else 1
        return legs * (self.length / self.speed + self.pause)

    def pose(self, time: float) -> Pose | None:
        """The pose at a time in s; None while the object is away."""
        moment = (time + self.phase * self.period) % self.period
        walk = self.length / self.speed
        back = self.motion == 'shuttle' and moment >= walk + self.pause
        if back:
            moment -= walk + self.pause
        if moment >= walk and self.pause > 0:
            return None if self.motion == 'reenter' else self._turning(back, (moment - walk) / self.pause)
        along = min(self.speed * moment, self.length)
        return self._on_path(self.length - along if back else along, back)

    def _on_path(self, along: float, back: bool) -> Pose:
        x, y = self._path(along)
        dx, dy = self._path(along, 1)
        ddx, ddy = self._path(along, 2)
        curvature = (dx * ddy - dy * ddx) / math.hypot(dx, dy) ** 3
        heading = math.atan2(-dy, -dx) if back else math.atan2(dy, dx)
        return Pose(float(x), float(y), heading, self.speed, float(-curvature if back else curvature) * self.speed)

    def _turning(self, back: bool, share: float) -> Pose:
        """Half a turn on the spot at an end of the path."""
        end = self._on_path(0.0 if back else self.length, back)
        heading = math.remainder(end.heading + math.pi * share, 2 * math.pi)
        return Pose(end.x, end.y, heading, 0.0, math.pi / self.pause)
