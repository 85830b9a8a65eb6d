# SPDX-License-Identifier: Apache-2.0
"""Bodies as triangles, for the ray tracers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation.boxes import rotated
from radio_visual_ssl.simulation.layout import Body
from radio_visual_ssl.simulation.meshes import Facet, mesh
from radio_visual_ssl.simulation.trajectory import Pose

LIFT = 0.004  # m between facets that lie in one plane, so that rays meet the one on top


@dataclass(frozen=True, eq=False)
class Triangles:
    """A surface.

    Attributes:
        points: (V, 3) m.
        faces: (F, 3) places in points.
        colours: (F, 3) rgb 0-255.
        owner: (F,) number of the body.
        covers: (F,) whether it lies on another face of the body, as a window in a side does.
    """

    points: NDArray[np.float64]
    faces: NDArray[np.int64]
    colours: NDArray[np.float64]
    owner: NDArray[np.int64]
    covers: NDArray[np.bool_]

    @classmethod
    def of(cls, body: Body, walked: float = 0.0) -> 'Triangles':
        """The surface of a body in its own frame: x along its heading, z from the ground.

        Args:
            body: to build.
            walked: m along its path so far. It moves points, and leaves their number and the faces as they are.
        """
        parts = [_fan(facet, lift, body.number) for facet, lift in _lifted(mesh(body, walked))]
        return cls.join(parts)

    @classmethod
    def quad(cls, corners: NDArray[np.float64], colour: Sequence[float], number: int = 0) -> 'Triangles':
        """A rectangle of (4, 3) m."""
        faces = np.array([(0, 1, 2), (0, 2, 3)])
        return cls(corners, faces, np.tile(colour, (2, 1)), np.full(2, number), np.zeros(2, dtype=bool))

    @classmethod
    def join(cls, parts: Sequence['Triangles']) -> 'Triangles':
        """All faces of several surfaces, at least one."""
        starts = np.cumsum([0, *(len(part.points) for part in parts)])
        moved = [replace(part, faces=part.faces + start) for part, start in zip(parts, starts.tolist(), strict=False)]
        return cls(*(np.concatenate([getattr(part, entry.name) for part in moved]) for entry in fields(cls)))

    def placed(self, pose: Pose) -> 'Triangles':
        """The surface of a body where it stands, z from the ground."""
        return replace(self, points=rotated(self.points, pose.heading) + np.array([pose.x, pose.y, 0.0]))

    @property
    def corners(self) -> NDArray[np.float64]:
        """(F, 3 corners, 3) m."""
        return self.points[self.faces]

    @property
    def normals(self) -> NDArray[np.float64]:
        """(F, 3) unit normals, of either sign; zeros where a face has no area."""
        a, b, c = np.moveaxis(self.corners, 1, 0)
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        return np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)

    @property
    def areas(self) -> NDArray[np.float64]:
        """(F,) m^2."""
        a, b, c = np.moveaxis(self.corners, 1, 0)
        return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _lifted(facets: Sequence[Facet]) -> list[tuple[Facet, int]]:
    """Each facet with the number of earlier ones that lie in its plane under it."""
    planes = [(facet.normal, float(facet.normal @ facet.points[0])) for facet in facets]
    lifted = []
    for index, (facet, (normal, offset)) in enumerate(zip(facets, planes, strict=True)):
        if not np.any(normal):
            # discs of wheels are seen from both sides: the hub lies on the tyre
            same = sum(
                not np.any(other)
                and len(earlier.points) == len(facet.points)
                and np.allclose(earlier.points.mean(axis=0), facet.points.mean(axis=0), atol=1e-6)
                for earlier, (other, _) in zip(facets[:index], planes, strict=False)
            )
        else:
            same = sum(
                float(normal @ other) > 1 - 1e-6 and abs(offset - distance) < 1e-6 and _touch(earlier, facet)
                for earlier, (other, distance) in zip(facets[:index], planes, strict=False)
            )
        lifted.append((facet, same))
    return lifted


def _touch(a: Facet, b: Facet) -> bool:
    """Whether the boxes around two facets share more than an edge."""
    overlap = np.minimum(a.points.max(axis=0), b.points.max(axis=0)) - np.maximum(
        a.points.min(axis=0), b.points.min(axis=0)
    )
    return bool(np.all(overlap > -1e-9) and np.sum(overlap > 1e-6) >= 2)


def _fan(facet: Facet, lift: int, number: int) -> Triangles:
    """The triangles of one facet; a covering facet without a front is put on both sides."""
    count = len(facet.points)
    step = np.arange(1, count - 1)
    faces = np.stack([np.zeros_like(step), step, step + 1], axis=1)
    if np.any(facet.normal) or lift == 0:
        copies = [facet.points + LIFT * lift * facet.normal]
    else:
        a, b, c = facet.points[:3]
        across = np.cross(b - a, c - a)
        across /= np.linalg.norm(across)
        copies = [facet.points + side * LIFT * lift * across for side in (-1.0, 1.0)]
    total = len(faces) * len(copies)
    return Triangles(
        np.concatenate(copies),
        np.concatenate([faces + index * count for index in range(len(copies))]),
        np.tile(np.array(facet.colour, dtype=np.float64), (total, 1)),
        np.full(total, number, dtype=np.int64),
        np.full(total, lift > 0),
    )
