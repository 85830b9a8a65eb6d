# SPDX-License-Identifier: Apache-2.0
"""Point scatterers on the surfaces of a scene's bodies, and how strongly each one answers a radar."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation.boxes import rotated, to_radar
from radio_visual_ssl.simulation.layout import Body
from radio_visual_ssl.simulation.scene import Ground
from radio_visual_ssl.simulation.trajectory import Pose

SHADOW = 0.05  # amplitude left behind an obstacle (-26 dB): some diffraction and reflection off the ground remains
REFERENCE_RCS = 10.0  # m^2
REFERENCE_RANGE = 30.0  # m

# scatterers along (length, width) of each side and over its height, and on top
_DENSITY = {
    'car': ((9, 5), 2, 8),
    'van': ((9, 5), 3, 8),
    'pedestrian': ((2, 2), 3, 0),
    'cyclist': ((5, 2), 3, 0),
    'wall': ((8, 0), 3, 0),
}
_POLE_SCATTERERS = 6
_GROUND_SCATTERERS = 400


@dataclass(frozen=True, eq=False)
class Scatterers:
    """Points that answer the radar.

    Attributes:
        position: (K, 3) m.
        normal: (K, 3) outward normal of the surface; zero where the point answers in all directions.
        velocity: (K, 3) m/s.
        rcs: (K,) m^2 of the whole body times the point's own speckle, whose mean is 1.
        phase: (K,) complex64 of modulus 1.
        body: (K,) number of the body; 0 = ground.
    """

    position: NDArray[np.float64]
    normal: NDArray[np.float64]
    velocity: NDArray[np.float64]
    rcs: NDArray[np.float64]
    phase: NDArray[np.complex64]
    body: NDArray[np.int64]

    @classmethod
    def join(cls, parts: Sequence['Scatterers']) -> 'Scatterers':
        """All points of several sets, at least one."""
        return cls(*(np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(cls)))

    @classmethod
    def on_body(cls, body: Body, seed: int) -> 'Scatterers':
        """The scatterers of one body in its own frame: x along its heading, z from the ground.

        Points sit in a jittered raster on the sides (and top), with exponentially distributed cross sections and
        uniform phases, so that the sum fluctuates as the body turns and moves (speckle).
        """
        rng = np.random.default_rng((seed, body.number))
        length, width, height = body.size
        if body.kind in _DENSITY:
            counts, levels, top = _DENSITY[body.kind]
            position, normal = _sides(body.size, counts, levels, rng)
            roof = np.column_stack([rng.uniform(-0.5, 0.5, (top, 2)) * (length, width), np.full(top, height)])
            position = np.concatenate([position, roof])
            normal = np.concatenate([normal, np.tile((0.0, 0.0, 1.0), (top, 1))])
        else:
            share = (np.arange(_POLE_SCATTERERS) + rng.random(_POLE_SCATTERERS)) / _POLE_SCATTERERS
            position = np.column_stack([np.zeros((_POLE_SCATTERERS, 2)), height * share])
            normal = np.zeros_like(position)
        return cls._with_speckle(position, normal, body.rcs, body.number, rng)

    @classmethod
    def on_ground(cls, ground: Ground, seed: int) -> 'Scatterers':
        """Weak scatterers all over the ground, in the scene frame."""
        rng = np.random.default_rng((seed, 0))
        lower, upper = np.transpose([ground.x, ground.y])
        place = rng.uniform(lower, upper, (_GROUND_SCATTERERS, 2))
        position = np.column_stack([place, np.zeros(_GROUND_SCATTERERS)])
        rcs = 10 ** (ground.rcs_db_per_m2 / 10) * float(np.prod(upper - lower))
        return cls._with_speckle(position, np.zeros_like(position), rcs, 0, rng)

    @classmethod
    def _with_speckle(
        cls,
        position: NDArray[np.float64],
        normal: NDArray[np.float64],
        rcs: float,
        number: int,
        rng: np.random.Generator,
    ) -> 'Scatterers':
        count = len(position)
        phase = np.exp(2j * np.pi * rng.random(count)).astype(np.complex64)
        speckle = rng.exponential(size=count)
        return cls(position, normal, np.zeros((count, 3)), rcs * speckle, phase, np.full(count, number, dtype=np.int64))

    def lowered(self, mast_height: float) -> 'Scatterers':
        """Points of the scene frame in the radar frame."""
        return replace(self, position=self.position - (0.0, 0.0, mast_height))

    def placed(self, pose: Pose, mast_height: float) -> 'Scatterers':
        """The points of a body where it stands and as it moves, in the radar frame."""
        arm = rotated(self.position, pose.heading)
        swing = pose.yaw_rate * np.stack([-arm[:, 1], arm[:, 0], np.zeros(len(arm))], axis=1)
        return replace(
            self,
            position=to_radar(self.position, pose, mast_height),
            normal=rotated(self.normal, pose.heading),
            velocity=swing + pose.velocity,
        )

    def amplitudes(self) -> NDArray[np.complex64]:
        """Echo of each point with nothing in its way, for points in the radar frame, whose origin is the radar.

        A body's cross section is shared out over what faces the radar, in proportion to the cosine of incidence; each
        echo falls with the square of the distance (radar equation) and with the cosine of the angle off boresight
        (patch element, both ways). Amplitude 1 is the echo of 10 m^2 at 30 m on boresight.
        """
        distance = np.linalg.norm(self.position, axis=1)
        sight = self.position / distance[:, None]
        facing = np.where(np.any(self.normal, axis=1), -np.sum(self.normal * sight, axis=1), 1.0)
        facing = np.maximum(facing, 0.0)
        share = facing / np.maximum(np.bincount(self.body, facing), 1e-9)[self.body]
        amplitude = np.sqrt(share * self.rcs / REFERENCE_RCS) * (REFERENCE_RANGE / distance) ** 2
        return (amplitude * np.maximum(sight[:, 0], 0.0) * self.phase).astype(np.complex64)


def _sides(
    size: tuple[float, float, float], counts: tuple[int, int], levels: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in a jittered raster on the four upright sides of a box, and the outward normals there.

    Args:
        size: (length, width, height), m.
        counts: points along the (length, width).
        levels: points over the height.
        rng: of the jitter.
    """
    points, normals = [], []
    for axis, side in ((0, -1.0), (0, 1.0), (1, -1.0), (1, 1.0)):
        count = counts[1 - axis]
        column, level = np.divmod(np.arange(count * levels), levels)
        face = np.zeros((count * levels, 3))
        face[:, axis] = side * size[axis] / 2
        face[:, 1 - axis] = size[1 - axis] * ((column + rng.random(len(column))) / max(count, 1) - 0.5)
        face[:, 2] = size[2] * (level + rng.random(len(level))) / levels
        points.append(face)
        normals.append(np.tile(side * np.eye(3)[axis], (len(face), 1)))
    return np.concatenate(points), np.concatenate(normals)
