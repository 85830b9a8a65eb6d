# SPDX-License-Identifier: Apache-2.0
"""Point scatterers on the surfaces of a scene's bodies, and how strongly each one answers a radar."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation.boxes import rotated, to_radar
from radio_visual_ssl.simulation.kinds import KINDS
from radio_visual_ssl.simulation.layout import Body
from radio_visual_ssl.simulation.meshes import ARM_SWING, CRANK, HIP, LEG_SWING, PEDALLING, SHOULDER, STRIDE
from radio_visual_ssl.simulation.scene import Ground
from radio_visual_ssl.simulation.trajectory import Pose

SHADOW = 0.05  # amplitude left behind an obstacle (-26 dB): some diffraction and reflection off the ground remains
REFERENCE_RCS = 10.0  # m^2
REFERENCE_RANGE = 30.0  # m

# scatterers along (length, width) of each side and over its height, and on top
_DENSITY = {
    'car': ((7, 4), 2, 6),
    'van': ((7, 4), 3, 6),
    'cart': ((4, 3), 2, 2),
    'wall': ((8, 0), 3, 0),
    'building': ((8, 3), 3, 0),
    'shelf': ((12, 2), 4, 0),
    'pillar': ((2, 2), 4, 0),
    'crate': ((2, 2), 2, 2),
}
_POLE_SCATTERERS = 6
_TREE_SCATTERERS = 12
_GROUND_SCATTERERS = 400
_LIMB_WEIGHT = 0.5  # a limb's points against the trunk's
_ANY = -1  # kind of a body whose cross section does not depend on the aspect
_NAMES = tuple(KINDS)


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
        weight: (K,) share of the body's cross section against that of its other points.
        swing: (K, 3), how far a limb swings forward (m), rad of its cycle a metre walked, and where in it (rad).
        heading: (K,) rad, of the body.
        kind: (K,) place in KINDS; -1 where the aspect does not matter.
    """

    position: NDArray[np.float64]
    normal: NDArray[np.float64]
    velocity: NDArray[np.float64]
    rcs: NDArray[np.float64]
    phase: NDArray[np.complex64]
    body: NDArray[np.int64]
    weight: NDArray[np.float64]
    swing: NDArray[np.float64]
    heading: NDArray[np.float64]
    kind: NDArray[np.int64]

    @classmethod
    def join(cls, parts: Sequence['Scatterers']) -> 'Scatterers':
        """All points of several sets, at least one."""
        return cls(*(np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(cls)))

    @classmethod
    def on_body(cls, body: Body, seed: int) -> 'Scatterers':
        """The scatterers of one body in its own frame: x along its heading, z from the ground.

        Points sit in a jittered raster on the sides (and top), with exponentially distributed cross sections and
        uniform phases, so that the sum fluctuates as the body turns and moves (speckle). People have swinging limbs. A
        reflector is one point of its exact cross section.
        """
        rng = np.random.default_rng((seed, body.number))
        length, width, height = body.size
        if body.kind == 'reflector':
            point = cls._with_speckle(np.array([[0.0, 0.0, height]]), np.zeros((1, 3)), body.rcs, body, rng)
            return replace(point, rcs=np.array([body.rcs]))
        if body.kind in ('pedestrian', 'cyclist'):
            position, weight, swing = _walker(body, rng) if body.kind == 'pedestrian' else _rider(body, rng)
            points = cls._with_speckle(position, np.zeros_like(position), body.rcs, body, rng)
            return replace(points, weight=weight, swing=swing)
        if body.kind in _DENSITY:
            counts, levels, top = _DENSITY[body.kind]
            position, normal = _sides(body.size, counts, levels, rng)
            roof = np.column_stack([rng.uniform(-0.5, 0.5, (top, 2)) * (length, width), np.full(top, height)])
            position = np.concatenate([position, roof])
            normal = np.concatenate([normal, np.tile((0.0, 0.0, 1.0), (top, 1))])
        elif body.kind == 'tree':
            position = rng.uniform(-0.5, 0.5, (_TREE_SCATTERERS, 3)) * (0.8 * length, 0.8 * width, 0.6 * height)
            position[:, 2] += 0.65 * height
            normal = np.zeros_like(position)
        else:
            share = (np.arange(_POLE_SCATTERERS) + rng.random(_POLE_SCATTERERS)) / _POLE_SCATTERERS
            position = np.column_stack([np.zeros((_POLE_SCATTERERS, 2)), height * share])
            normal = np.zeros_like(position)
        return cls._with_speckle(position, normal, body.rcs, body, rng)

    @classmethod
    def on_ground(cls, ground: Ground, seed: int) -> 'Scatterers':
        """Weak scatterers all over the ground, in the scene frame."""
        rng = np.random.default_rng((seed, 0))
        lower, upper = np.transpose([ground.x, ground.y])
        place = rng.uniform(lower, upper, (_GROUND_SCATTERERS, 2))
        position = np.column_stack([place, np.zeros(_GROUND_SCATTERERS)])
        rcs = 10 ** (ground.rcs_db_per_m2 / 10) * float(np.prod(upper - lower))
        return cls._with_speckle(position, np.zeros_like(position), rcs, None, rng)

    @classmethod
    def _with_speckle(
        cls,
        position: NDArray[np.float64],
        normal: NDArray[np.float64],
        rcs: float,
        body: Body | None,
        rng: np.random.Generator,
    ) -> 'Scatterers':
        count = len(position)
        phase = np.exp(2j * np.pi * rng.random(count)).astype(np.complex64)
        speckle = rng.exponential(size=count)
        number = 0 if body is None else body.number
        kind = _NAMES.index(body.kind) if body is not None and body.kind in KINDS else _ANY
        return cls(
            position,
            normal,
            np.zeros((count, 3)),
            rcs * speckle,
            phase,
            np.full(count, number, dtype=np.int64),
            np.ones(count),
            np.zeros((count, 3)),
            np.zeros(count),
            np.full(count, kind, dtype=np.int64),
        )

    def lowered(self, mast_height: float) -> 'Scatterers':
        """Points of the scene frame in the radar frame."""
        return replace(self, position=self.position - (0.0, 0.0, mast_height))

    def placed(self, pose: Pose, mast_height: float) -> 'Scatterers':
        """The points of a body where it stands and as it moves, in the radar frame."""
        reach, rate, start = self.swing.T
        cycle = rate * pose.walked + start
        position, stride = self.position.copy(), np.zeros_like(self.position)
        position[:, 0] += reach * np.sin(cycle)
        stride[:, 0] = pose.speed * reach * rate * np.cos(cycle)
        arm = rotated(position, pose.heading)
        turning = pose.yaw_rate * np.stack([-arm[:, 1], arm[:, 0], np.zeros(len(arm))], axis=1)
        return replace(
            self,
            position=to_radar(position, pose, mast_height),
            normal=rotated(self.normal, pose.heading),
            velocity=turning + rotated(stride, pose.heading) + pose.velocity,
            heading=self.heading + pose.heading,
        )

    def seen_from(self, observer: Pose) -> 'Scatterers':
        """Points that stand still in the scene frame, as sensors see them that move over the ground."""
        position = rotated(self.position - np.array([observer.x, observer.y, 0.0]), -observer.heading)
        motion = rotated(np.array(observer.velocity), -observer.heading)
        turning = observer.yaw_rate * np.stack([-position[:, 1], position[:, 0], np.zeros(len(position))], axis=1)
        return replace(
            self,
            position=position,
            normal=rotated(self.normal, -observer.heading),
            velocity=-turning - motion,
            heading=self.heading - observer.heading,
        )

    def amplitudes(self, pattern_exponent: float = 1.0) -> NDArray[np.complex64]:
        """Echo of each point with nothing in its way, for points in the radar frame, whose origin is the radar.

        A body's cross section depends on the aspect and is shared out over what faces the radar, in proportion to the
        cosine of incidence; each echo falls with the square of the distance (radar equation) and with the antennas'
        element pattern. Amplitude 1 is the echo of 10 m^2 at 30 m on boresight.

        Args:
            pattern_exponent: both antennas' power gains fall as this power of the cosine of the angle off boresight.
        """
        distance = np.linalg.norm(self.position, axis=1)
        sight = self.position / distance[:, None]
        facing = np.where(np.any(self.normal, axis=1), -np.sum(self.normal * sight, axis=1), 1.0)
        facing = np.maximum(facing, 0.0) * self.weight
        share = facing / np.maximum(np.bincount(self.body, facing), 1e-9)[self.body]
        rcs = share * self.rcs
        aspect = np.arctan2(-sight[:, 1], -sight[:, 0]) - self.heading
        for kind in np.unique(self.kind):
            if kind != _ANY:
                own = self.kind == kind
                rcs[own] *= KINDS[_NAMES[kind]].aspect_gain(aspect[own])
        amplitude = np.sqrt(rcs / REFERENCE_RCS) * (REFERENCE_RANGE / distance) ** 2
        amplitude *= np.maximum(sight[:, 0], 0.0) ** pattern_exponent
        return (amplitude * self.phase).astype(np.complex64)


Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # positions, weights, swings


def _walker(body: Body, rng: np.random.Generator) -> Points:
    """Points on a person's trunk, legs and arms; the limbs swing as those that the camera sees."""
    _, width, height = body.size
    trunk = rng.uniform((-0.12, -0.3 * width, HIP * height), (0.12, 0.3 * width, 0.98 * height), (9, 3))
    parts, swings = [trunk], [np.zeros((9, 3))]
    rate = 2 * math.pi / STRIDE
    for side in (-1.0, 1.0):
        leg, arm = (np.arange(3) + rng.random(3)) / 3 * HIP * height, (np.arange(2) + rng.random(2)) / 2 * 0.36 * height
        parts.append(np.column_stack([np.zeros(3), np.full(3, side * 0.1), HIP * height - leg]))
        swings.append(np.column_stack([side * leg * math.sin(LEG_SWING), np.full(3, rate), np.zeros(3)]))
        parts.append(np.column_stack([np.zeros(2), np.full(2, side * (width / 2 - 0.05)), SHOULDER * height - arm]))
        swings.append(np.column_stack([-side * arm * math.sin(ARM_SWING), np.full(2, rate), np.zeros(2)]))
    weight = np.repeat([1.0, _LIMB_WEIGHT], [9, 10])
    return np.concatenate(parts), weight, np.concatenate(swings)


def _rider(body: Body, rng: np.random.Generator) -> Points:
    """Points on a bicycle and its rider, whose feet go round with the pedals."""
    length, width, height = body.size
    trunk = rng.uniform((-0.3, -0.3 * width, 0.5 * height), (0.2, 0.3 * width, 0.98 * height), (7, 3))
    cycle = rng.uniform((-length / 2, -0.04, 0.05), (length / 2, 0.04, 0.9), (9, 3))
    feet, swing = [], []
    for side in (-1.0, 1.0):
        level = 0.34 + 0.4 * rng.random(2)
        feet.append(np.column_stack([np.full(2, 0.05), np.full(2, side * 0.1), level]))
        reach, start = CRANK * (1.0 - (level - 0.34) / 0.8), (1.0 + side) * math.pi / 2
        swing.append(np.column_stack([reach, np.full(2, 2 * math.pi / PEDALLING), np.full(2, start)]))
    weight = np.repeat([1.0, _LIMB_WEIGHT], [16, 4])
    return np.concatenate([trunk, cycle, *feet]), weight, np.concatenate([np.zeros((16, 3)), *swing])


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
