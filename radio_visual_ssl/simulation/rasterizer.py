# SPDX-License-Identifier: Apache-2.0
"""A small rasteriser: flat polygons into an image with a depth buffer and a buffer that tells whose each pixel is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radio_visual_ssl.simulation.meshes import Facet, Texture

NEAR = 0.3  # m, nearest depth that is drawn
SAME_PLANE = np.float32(1 - 1e-4)  # of two facets this near to each other, the later one is seen
_SUBPIXEL = 4  # fractional bits of polygon corners


@dataclass(frozen=True, eq=False)
class Solid:
    """The facets of one or more bodies as arrays.

    Attributes:
        points: (P, 3) m.
        starts: (F,) index of each facet's first point.
        normals: (F, 3), zero where a facet is seen from both sides.
        colours: (F, 3) rgb.
        textures: of each facet.
        owner: (F,) uint8, what the owner buffer says where a facet is seen.
    """

    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    normals: NDArray[np.float64]
    colours: NDArray[np.float64]
    textures: tuple[Texture, ...]
    owner: NDArray[np.uint8]

    @classmethod
    def of(cls, facets: Sequence[Facet], owner: int) -> 'Solid':
        """The facets of one body, in its own frame."""
        counts = [len(facet.points) for facet in facets]
        return cls(
            np.concatenate([facet.points for facet in facets]),
            np.append(0, np.cumsum(counts)[:-1]),
            np.array([facet.normal for facet in facets]),
            np.array([facet.colour for facet in facets], dtype=np.float64),
            tuple(facet.texture for facet in facets),
            np.full(len(facets), owner, dtype=np.uint8),
        )

    @classmethod
    def join(cls, parts: Sequence['Solid']) -> 'Solid':
        """All facets of several, at least one."""
        first = np.append(0, np.cumsum([len(part.points) for part in parts])[:-1])
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.starts + shift for part, shift in zip(parts, first, strict=True)]),
            np.concatenate([part.normals for part in parts]),
            np.concatenate([part.colours for part in parts]),
            tuple(texture for part in parts for texture in part.textures),
            np.concatenate([part.owner for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class Pinhole:
    """Where pixels look, in the optical frame (x right, y down, z forward).

    Attributes:
        width, height: px.
        focal: (x, y) px.
        centre: (x, y) px; (0, 0) is the centre of the upper left pixel.
    """

    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float]

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) px of places (N, 3) m in front of the camera."""
        return points[:, :2] / points[:, 2:] * self.focal + self.centre

    def rays(self) -> NDArray[np.float64]:
        """(H, W, 3) directions of depth 1."""
        x = (np.arange(self.width) - self.centre[0]) / self.focal[0]
        y = (np.arange(self.height) - self.centre[1]) / self.focal[1]
        return np.stack([*np.meshgrid(x, y), np.ones((self.height, self.width))], axis=-1)


class Canvas:
    """An image in the making.

    Args:
        pinhole: the camera.

    Attributes:
        image: (H, W, 3) uint8 rgb.
        nearness: (H, W) float32, 1/m, one over the depth; 0 where nothing has been drawn.
        owner: (H, W) uint8.
    """

    def __init__(self, pinhole: Pinhole) -> None:
        self.pinhole = pinhole
        size = (pinhole.height, pinhole.width)
        self.image = np.zeros((*size, 3), dtype=np.uint8)
        self.nearness = np.zeros(size, dtype=np.float32)
        self.owner = np.zeros(size, dtype=np.uint8)
        self._u, self._v = np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32)

    def take(self, other: 'Canvas') -> None:
        """Become a copy of another canvas of the same size."""
        np.copyto(self.image, other.image)
        np.copyto(self.nearness, other.nearness)
        np.copyto(self.owner, other.owner)

    def draw(self, solid: Solid, colours: NDArray[np.float64], shown: NDArray[np.bool_]) -> None:
        """Draws facets where nothing nearer has been drawn.

        Args:
            solid: in the optical frame.
            colours: (F, 3) rgb as lit and seen through the air.
            shown: (F,) False for facets to leave out.
        """
        points, starts = solid.points, solid.starts
        ends = np.append(starts[1:], len(points))
        depth = np.minimum.reduceat(points[:, 2], starts)
        furthest = np.maximum.reduceat(points[:, 2], starts)
        normals = _plane_normals(solid)
        distance = np.sum(normals * points[starts], axis=1)
        two_sided = ~np.any(solid.normals, axis=1)
        facing = (distance < -1e-6) | (two_sided & (distance > 1e-6))
        whole = depth >= NEAR
        pixels = self.pinhole.project(np.where(points[:, 2:] < NEAR, (0.0, 0.0, 1.0), points))
        lower, upper = np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)
        inside = np.all((upper >= -0.5) & (lower <= (self.pinhole.width - 0.5, self.pinhole.height - 0.5)), axis=1)
        large = np.max(upper - lower, axis=1) > 0.7
        wanted = shown & facing & (furthest > NEAR) & (~whole | (inside & large))
        safe = np.where(np.abs(distance) < 1e-6, 1.0, distance)[:, None]
        # one over the depth is linear in the pixel: slope to the right, slope down, value at pixel (0, 0)
        slopes = normals[:, :2] / np.array(self.pinhole.focal) / safe
        planes = np.column_stack(
            [slopes, normals[:, 2] / safe[:, 0] - np.sum(slopes * np.array(self.pinhole.centre), axis=1)]
        ).astype(np.float32)
        paint = np.clip(colours, 0.0, 255.0).astype(np.uint8)
        chosen = np.flatnonzero(wanted)
        corners = _fixed_point(pixels, self.pinhole)
        first, last = starts[chosen].tolist(), ends[chosen].tolist()
        for index, start, end in zip(chosen.tolist(), first, last, strict=True):
            if whole[index]:
                polygon = corners[start:end]
            else:
                polygon = _fixed_point(self.pinhole.project(clipped(points[start:end])), self.pinhole)
            window = self._window(polygon)
            if window is None:
                continue
            rows, columns, mask = window
            plane = planes[index]
            near = (plane[0] * self._u[columns]) + (plane[1] * self._v[rows] + plane[2])[:, None]
            nearness = self.nearness[rows, columns]
            mask &= near >= nearness * SAME_PLANE
            np.copyto(nearness, near, where=mask)
            self.owner[rows, columns][mask] = solid.owner[index]
            texture = solid.textures[index]
            if texture == 'plain':
                self.image[rows, columns][mask] = paint[index]
            else:
                place = np.nonzero(mask)
                shade = self._shade(texture, points[start:end], place, (rows.start, columns.start), near[place])
                self.image[rows, columns][place] = np.clip(colours[index] * shade, 0, 255).astype(np.uint8)

    def _shade(
        self,
        texture: Texture,
        corners: NDArray[np.float64],
        place: tuple[NDArray[np.int64], ...],
        first: tuple[int, int],
        near: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """(N, 3) factors that a texture gives the colour in pixels of a window that begins at `first`."""
        x = (place[1] + first[1] - self.pinhole.centre[0]) / self.pinhole.focal[0]
        y = (place[0] + first[0] - self.pinhole.centre[1]) / self.pinhole.focal[1]
        return _shade(texture, corners, np.column_stack([x, y, np.ones(len(x))]) / near[:, None])

    def shade(self, polygons: Sequence[NDArray[np.float64]], factor: float) -> None:
        """Darkens convex polygons (P, 3) m, optical frame, where nothing has been drawn yet; overlaps count once."""
        shaded: list[tuple[slice, slice]] = []
        mask = np.zeros(self.owner.shape, dtype=np.bool_)
        for polygon in polygons:
            corners = clipped(polygon)
            window = self._polygon(corners)
            if window is not None:
                rows, columns, inside = window
                mask[rows, columns] |= inside
                shaded.append((rows, columns))
        if shaded:
            rows = slice(min(rows.start for rows, _ in shaded), max(rows.stop for rows, _ in shaded))
            columns = slice(min(part.start for _, part in shaded), max(part.stop for _, part in shaded))
            region, seen = self.image[rows, columns], mask[rows, columns] & (self.nearness[rows, columns] == 0)
            dark = np.clip(np.arange(256) * factor, 0, 255).astype(np.uint8)
            region[seen] = dark[region[seen]]

    def fill(self, corners: NDArray[np.float64], colour: NDArray[np.float64]) -> None:
        """Paints a convex polygon (P, 3) m, optical frame, on the backdrop: the depth is left as it is."""
        corners = clipped(corners)
        window = self._polygon(corners)
        if window is not None:
            rows, columns, mask = window
            np.copyto(self.image[rows, columns], np.clip(colour, 0, 255).astype(np.uint8), where=mask[:, :, None])

    def _polygon(self, corners: NDArray[np.float64]) -> tuple[slice, slice, NDArray[np.bool_]] | None:
        """As `_window`, of clipped corners (P, 3) m."""
        if len(corners) < 3:
            return None
        return self._window(_fixed_point(self.pinhole.project(corners), self.pinhole))

    def _window(self, corners: NDArray[np.int32]) -> tuple[slice, slice, NDArray[np.bool_]] | None:
        """Rows, columns and the mask therein of a convex polygon (P, 2), fixed point; None where it is out of sight."""
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        left, top = max(left >> _SUBPIXEL, 0), max(top >> _SUBPIXEL, 0)
        right, bottom = (right >> _SUBPIXEL) + 1, (bottom >> _SUBPIXEL) + 1
        right, bottom = min(right, self.pinhole.width - 1), min(bottom, self.pinhole.height - 1)
        if right < left or bottom < top:
            return None
        mask = np.zeros((bottom - top + 1, right - left + 1), dtype=np.uint8)
        if left or top:
            corners = corners - np.array((left << _SUBPIXEL, top << _SUBPIXEL), dtype=np.int32)
        cv2.fillConvexPoly(mask, corners, 1, cv2.LINE_8, _SUBPIXEL)
        return slice(top, bottom + 1), slice(left, right + 1), mask.view(np.bool_)


def _fixed_point(pixels: NDArray[np.float64], pinhole: Pinhole) -> NDArray[np.int32]:
    """Corners (P, 2) px as OpenCV takes them with fractions."""
    limit = 16 * max(pinhole.width, pinhole.height)
    return np.rint(np.clip(pixels, -limit, limit) * 2**_SUBPIXEL).astype(np.int32)


def _plane_normals(solid: Solid) -> NDArray[np.float64]:
    """(F, 3) normals, also of the facets that are seen from both sides."""
    first = solid.points[solid.starts]
    normals = np.cross(solid.points[solid.starts + 1] - first, solid.points[solid.starts + 2] - first)
    return np.where(np.any(solid.normals, axis=1)[:, None], solid.normals, normals)


def clipped(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a convex polygon (P, 3) m, optical frame, that is far enough ahead to be drawn."""
    inside = corners[:, 2] - NEAR
    if np.all(inside >= 0):
        return corners
    kept = []
    for index in range(len(corners)):
        following = (index + 1) % len(corners)
        if inside[index] >= 0:
            kept.append(corners[index])
        if (inside[index] >= 0) != (inside[following] >= 0):
            share = inside[index] / (inside[index] - inside[following])
            kept.append(corners[index] + share * (corners[following] - corners[index]))
    return np.array(kept).reshape(-1, 3)


_TEXTURE_CELLS = 64
# m that one tile covers: along the facet's first edge, and across it
_TEXTURE_SIZE: dict[Texture, tuple[float, float]] = {
    'rough': (3.0, 3.0),
    'brick': (0.5, 0.25),
    'windows': (3.2, 3.0),
    'cartons': (2.4, 1.6),
    'leaves': (1.6, 1.6),
}


def _shade(texture: Texture, corners: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N, 3) factors of the colour at places (N, 3) m on a facet, all in the same frame."""
    along = corners[1] - corners[0]
    along = along / np.linalg.norm(along)
    across = corners[-1] - corners[0]
    across = across - along * (across @ along)
    across = across / np.linalg.norm(across)
    size = _TEXTURE_SIZE[texture]
    offset = places - corners[0]
    column = (offset @ along * (_TEXTURE_CELLS / size[0])).astype(np.int64) % _TEXTURE_CELLS
    row = (offset @ across * (_TEXTURE_CELLS / size[1])).astype(np.int64) % _TEXTURE_CELLS
    return texture_tile(texture)[row, column]


@cache
def texture_tile(texture: Texture) -> NDArray[np.float32]:
    """(_TEXTURE_CELLS, _TEXTURE_CELLS, 3) factors around 1, rows from the first edge upwards."""
    rng = np.random.default_rng(7)
    count = _TEXTURE_CELLS
    grain = ndimage.gaussian_filter(rng.standard_normal((count, count)), 1.2, mode='wrap')
    tile = np.ones((count, count, 3)) * (1.0 + 0.06 * grain / grain.std())[:, :, None]
    row, column = np.mgrid[:count, :count]
    if texture == 'brick':
        upper = row >= count // 2
        joint = (row % (count // 2) < 5) | ((column + upper * count // 4) % (count // 2) < 3)
        tile[joint] *= (0.84, 0.92, 0.98)
        tile *= np.where((column + upper * count // 4) // (count // 2) % 2, 0.95, 1.04)[:, :, None]
    elif texture == 'windows':
        pane = (np.abs(column - count / 2) < 0.26 * count) & (np.abs(row - 0.55 * count) < 0.26 * count)
        tile[pane] = (0.34, 0.42, 0.5)
        tile[pane & (np.abs(column - count / 2) < 1.5)] = 0.9
        tile[row < 3] *= 0.85
    elif texture == 'cartons':
        shades = rng.uniform(0.6, 1.15, (4, 5, 1)) * rng.uniform(0.85, 1.1, (4, 5, 3))
        tile *= shades[row * 4 // count, column * 5 // count]
        tile[(row % (count // 4) < 2)] = (0.35, 0.42, 0.6)
        tile[(column % 13 < 1)] *= 0.75
    elif texture == 'leaves':
        tile *= (1.0 + 0.18 * ndimage.gaussian_filter(rng.standard_normal((count, count)), 2.0, mode='wrap') * 8)[
            :, :, None
        ]
    tile = np.clip(tile, 0.2, 1.6).astype(np.float32)
    tile.setflags(write=False)
    return tile
