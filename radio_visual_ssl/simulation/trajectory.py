# SPDX-License-Identifier: Apache-2.0
"""Where an object is at any time: poses, and paths that are walked for ever."""

import copy
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline


@dataclass(frozen=True)
class Pose:
    """Place and motion of an object on the ground at one time, in the scene frame or seen from moving sensors.

    Attributes:
        x, y: m, centre of the footprint.
        heading: rad, anticlockwise from x.
        speed: m/s along the heading.
        yaw_rate: rad/s.
        drift: (x, y) m/s beside the speed along the heading: what the motion of the observer adds.
        walked: m along the path so far; legs and pedals keep step with it.
    """

    x: float
    y: float
    heading: float
    speed: float = 0.0
    yaw_rate: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)
    walked: float = 0.0

    @property
    def velocity(self) -> tuple[float, float, float]:
        """m/s, in the frame that the place is given in."""
        return (
            self.speed * math.cos(self.heading) + self.drift[0],
            self.speed * math.sin(self.heading) + self.drift[1],
            0.0,
        )

    def seen_from(self, observer: 'Pose') -> 'Pose':
        """The same object in the frame at the observer, x along its heading, that moves and turns with it."""
        cosine, sine = math.cos(observer.heading), math.sin(observer.heading)

        def turned(x: float, y: float) -> tuple[float, float]:
            return cosine * x + sine * y, cosine * y - sine * x

        x, y = turned(self.x - observer.x, self.y - observer.y)
        vx, vy = turned(self.velocity[0] - observer.velocity[0], self.velocity[1] - observer.velocity[1])
        vx, vy = vx + observer.yaw_rate * y, vy - observer.yaw_rate * x
        heading = math.remainder(self.heading - observer.heading, 2 * math.pi)
        drift = (vx - self.speed * math.cos(heading), vy - self.speed * math.sin(heading))
        return Pose(x, y, heading, self.speed, self.yaw_rate - observer.yaw_rate, drift, self.walked)


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

    def ahead_by(self, distance: float) -> 'Trajectory':
        """The same path at the same speed, some metres further on; for paths that 'reenter' without a pause."""
        other = copy.copy(self)
        other.phase = (self.phase + distance / self.length) % 1.0
        return other

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
        yaw_rate = float(-curvature if back else curvature) * self.speed
        walked = self.length - along if back else along
        return Pose(float(x), float(y), heading, self.speed, yaw_rate, walked=walked)

    def _turning(self, back: bool, share: float) -> Pose:
        """Half a turn on the spot at an end of the path."""
        end = self._on_path(0.0 if back else self.length, back)
        heading = math.remainder(end.heading + math.pi * share, 2 * math.pi)
        return Pose(end.x, end.y, heading, 0.0, math.pi / self.pause)
