# SPDX-License-Identifier: Apache-2.0
"""Upright boxes in space: who stands in whose line of sight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation.layout import Placed
from radio_visual_ssl.simulation.trajectory import Pose


def rotated(points: NDArray[np.float64], heading: float) -> NDArray[np.float64]:
    """Points (..., 3) turned anticlockwise about z by heading (rad)."""
    cosine, sine = np.cos(heading), np.sin(heading)
    x, y = points[..., 0], points[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, points[..., 2]], axis=-1)


def to_radar(points: NDArray[np.float64], pose: Pose, mast_height: float) -> NDArray[np.float64]:
    """Points (..., 3) of an object (m, x along its heading, z from the ground) in the radar frame."""
    return rotated(points, pose.heading) + np.array([pose.x, pose.y, -mast_height])


def raster(
    size: tuple[float, float, float], count: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Points all over the sides and the top of a box that stands on the ground, in its own frame.

    Args:
        size: (length, width, height), m.
        count: points along each edge of each face.

    Returns:
        (P, 3) m, outward normals (P, 3), and the area (P,) m^2 that each point stands for.
    """
    first, second = np.divmod(np.arange(count * count), count)
    across, along = (first + 0.5) / count - 0.5, (second + 0.5) / count - 0.5
    points, normals, areas = [], [], []
    for axis, side in ((0, -1.0), (0, 1.0), (1, -1.0), (1, 1.0), (2, 1.0)):
        others = [other for other in range(3) if other != axis]
        face = np.zeros((count * count, 3))
        face[:, axis] = side / 2
        face[:, others[0]], face[:, others[1]] = across, along
        face[:, 2] += 0.5
        points.append(face * np.array(size))
        normals.append(np.tile(side * np.eye(3)[axis], (count * count, 1)))
        areas.append(np.full(count * count, size[others[0]] * size[others[1]] / count**2))
    return np.concatenate(points), np.concatenate(normals), np.concatenate(areas)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes that stand upright, in the radar frame.

    Attributes:
        centre: (B, 3) m.
        half_size: (B, 3) m along heading, left and up.
        heading: (B,) rad.
        number: (B,) of the bodies.
    """

    centre: NDArray[np.float64]
    half_size: NDArray[np.float64]
    heading: NDArray[np.float64]
    number: NDArray[np.int64]

    @classmethod
    def of(cls, placed: Sequence[Placed], mast_height: float) -> 'Boxes':
        """The boxes of placed bodies."""
        sizes = np.array([body.size for body, _ in placed]).reshape(-1, 3)
        centre = np.array([(pose.x, pose.y, 0.0) for _, pose in placed]).reshape(-1, 3)
        centre[:, 2] = sizes[:, 2] / 2 - mast_height
        heading = np.array([pose.heading for _, pose in placed])
        return cls(centre, sizes / 2, heading, np.array([body.number for body, _ in placed], dtype=np.int64))

    def blocked(
        self, eye: NDArray[np.float64], points: NDArray[np.float64], owner: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether a box stands between the eye and each point (slab test of the line of sight).

        Args:
            eye: (3,) m, radar frame.
            points: (P, 3) m, radar frame.
            owner: (P,) number of the body that each point belongs to, whose own box does not count; 0 = none.

        Returns:
            (P,) bool.
        """
        if not len(self.number) or not len(points):
            return np.zeros(len(points), dtype=bool)
        cosine, sine = np.cos(self.heading)[:, None], np.sin(self.heading)[:, None]

        def local(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
            return np.stack([cosine * x + sine * y, cosine * y - sine * x, np.broadcast_to(z, (cosine * x).shape)])

        origin = local((eye - self.centre)[:, None, :])
        direction = local(np.broadcast_to(points - eye, (len(self.number), len(points), 3)))
        direction = np.where(np.abs(direction) < 1e-12, 1e-12, direction)
        half = self.half_size.T[:, :, None]
        enter = np.max(np.minimum((-half - origin) / direction, (half - origin) / direction), axis=0)
        leave = np.min(np.maximum((-half - origin) / direction, (half - origin) / direction), axis=0)
        hit = (enter < leave) & (leave > 0) & (enter < 1) & (self.number[:, None] != owner[None, :])
        return np.any(hit, axis=0)
