# SPDX-License-Identifier: Apache-2.0
"""The camera's view of a scene: a small painter's-algorithm rasteriser with flat shading, haze and shadows."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from radio_visual_ssl.simulation.boxes import rotated, to_radar
from radio_visual_ssl.simulation.layout import Layout, Placed
from radio_visual_ssl.simulation.meshes import Facet, mesh
from radio_visual_ssl.simulation.scene import Scene
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.vision.camera import CameraModel

NEAR = 0.3  # m, nearest depth that is drawn
SUN = np.array([-0.45, 0.40, 0.80]) / np.linalg.norm([-0.45, 0.40, 0.80])  # towards the sun, scene frame
AMBIENT = 0.55
HAZE = np.array([214.0, 224.0, 234.0])
HAZE_DISTANCE = 320.0  # m, at which 63 % of the colour is lost
ZENITH = np.array([104.0, 156.0, 212.0])
ASPHALT = np.array([98.0, 99.0, 102.0])
MEADOW = np.array([112.0, 130.0, 88.0])
PAINT = np.array([208.0, 208.0, 202.0])
SHADE = 0.58  # brightness left in a shadow
_SUBPIXEL = 4  # fractional bits of polygon corners


def camera_on(scene: Scene) -> CameraModel:
    """The scene's camera, seen from its radar."""
    mount = scene.camera
    pitch, yaw = np.radians([mount.pitch_deg, mount.yaw_deg])
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    centre = ((mount.width - 1) / 2, (mount.height - 1) / 2)
    matrix = np.array([[mount.focal_length, 0.0, centre[0]], [0.0, mount.focal_length, centre[1]], [0.0, 0.0, 1.0]])
    return CameraModel(mount.width, mount.height, matrix, np.zeros(5), rotation, -rotation @ np.array(mount.offset))


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Polygons of one body in the image, ready to be painted.

    Attributes:
        distance: m from the camera; far bodies are painted first.
        polygons: (P, 2) int32 with _SUBPIXEL fractional bits each.
        colours: rgb each.
    """

    distance: float
    polygons: list[NDArray[np.int32]]
    colours: list[tuple[float, float, float]]


class Renderer:
    """Paints the images of one camera.

    The sky, the ground and what stands still are prepared once.

    Args:
        layout: of the scene.
        camera: where it stands.
    """

    def __init__(self, layout: Layout, camera: CameraModel) -> None:
        self._layout, self._camera = layout, camera
        self._height = layout.scene.mast.height
        self._eye = -camera.rotation.T @ camera.translation
        self._background = self._paint_background()
        self._meshes = {body.number: mesh(body) for body, _ in layout.movers}
        self._static = [self._drawing(mesh(body), pose) for body, pose in layout.static]

    def image(self, time: float) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 rgb at a time in s."""
        image = self._background.copy()
        moving = self._layout.moving(time)
        self._cast_shadows(image, moving)
        drawings = [self._drawing(self._meshes[body.number], pose) for body, pose in moving]
        for drawing in sorted([*self._static, *drawings], key=lambda drawing: -drawing.distance):
            for polygon, colour in zip(drawing.polygons, drawing.colours, strict=True):
                cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_AA, _SUBPIXEL)
        return image

    def _drawing(self, facets: Sequence[Facet], pose: Pose) -> _Drawing:
        """Projects the facets of a body that face the camera, lit by the sun and dimmed by the haze."""
        points = to_radar(np.concatenate([facet.points for facet in facets]), pose, self._height)
        normals = rotated(np.array([facet.normal for facet in facets]), pose.heading)
        ends = np.cumsum([len(facet.points) for facet in facets])
        starts = np.append(0, ends[:-1])
        sight = self._eye - points[starts]
        both_sides = ~np.any(normals, axis=1)
        shown = both_sides | (np.sum(normals * sight, axis=1) > 0)
        light = AMBIENT + (1.0 - AMBIENT) * np.where(both_sides, 0.5, np.maximum(normals @ SUN, 0.0))
        paint = _hazy(np.array([facet.colour for facet in facets]) * light[:, None], np.linalg.norm(sight, axis=1))
        pixels = self._camera.project(points)[0] if np.all(self._depth(points) >= NEAR) else None
        polygons, colours = [], []
        for index in np.flatnonzero(shown):
            facet = slice(starts[index], ends[index])
            polygon = self._polygon(points[facet]) if pixels is None else self._fixed_point(pixels[facet])
            if polygon is not None:
                polygons.append(polygon)
                colours.append(tuple(paint[index].tolist()))
        return _Drawing(float(np.hypot(pose.x - self._eye[0], pose.y - self._eye[1])), polygons, colours)

    def _depth(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points @ self._camera.rotation[2] + self._camera.translation[2]

    def _polygon(self, corners: NDArray[np.float64]) -> NDArray[np.int32] | None:
        """Image of a convex polygon of the radar frame, (P, 3) m; None where it is behind the camera or out of view."""
        depth = self._depth(corners)
        if np.all(depth < NEAR):
            return None
        if np.any(depth < NEAR):
            corners = _clipped(corners, depth - NEAR)
        return self._fixed_point(self._camera.project(corners)[0])

    def _fixed_point(self, pixels: NDArray[np.float64]) -> NDArray[np.int32] | None:
        """Corners as the painter takes them; None where none of the polygon is in the image."""
        (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
        width, height = self._camera.width, self._camera.height
        # a pixel that the lens cannot image is NaN and makes this false
        if not (right >= 0 and bottom >= 0 and left <= width and top <= height):
            return None
        limit = 8 * max(width, height)
        return np.rint(np.clip(pixels, -limit, limit) * 2**_SUBPIXEL).astype(np.int32)

    def _cast_shadows(self, image: NDArray[np.uint8], placed: Sequence[Placed]) -> None:
        """Darkens the ground where the bodies' boxes stand in the sun."""
        for body, pose in placed:
            length, width, height = body.size
            corners = np.array([(x, y, 0.0) for x in (-length / 2, length / 2) for y in (-width / 2, width / 2)])
            lower = to_radar(corners, pose, self._height)
            upper = lower - height * SUN / SUN[2] + np.array([0.0, 0.0, height])
            outline = cv2.convexHull(np.concatenate([lower, upper])[:, :2].astype(np.float32))[:, 0]
            polygon = self._polygon(np.column_stack([outline, np.full(len(outline), -self._height)]))
            if polygon is None:
                continue
            left, top = np.maximum(polygon.min(axis=0) // 2**_SUBPIXEL - 3, 0)
            right, bottom = polygon.max(axis=0) // 2**_SUBPIXEL + 4
            region = image[top:bottom, left:right]
            mask = np.zeros(region.shape[:2], dtype=np.uint8)
            if not mask.size:
                continue
            cv2.fillConvexPoly(mask, polygon - np.array([left, top]) * 2**_SUBPIXEL, 255, cv2.LINE_AA, _SUBPIXEL)
            shade = 1.0 - (1.0 - SHADE) / 255.0 * cv2.blur(mask, (3, 3))
            region[:] = (region * shade[:, :, None]).astype(np.uint8)

    def _paint_background(self) -> NDArray[np.uint8]:
        """Sky, skyline, ground, markings and the shadows of what stands still."""
        width, height = self._camera.width, self._camera.height
        rng = np.random.default_rng((self._layout.seed, 2**31))
        u, v = np.meshgrid(np.arange(width), np.arange(height))
        pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2).astype(np.float64)
        flat = cv2.undistortPoints(pixels, self._camera.matrix, self._camera.distortion)[:, 0]
        rays = np.column_stack([flat, np.ones(len(flat))]) @ self._camera.rotation
        rays /= np.linalg.norm(rays, axis=1)[:, None]
        sky = HAZE + (ZENITH - HAZE) * np.clip(rays[:, 2:] / 0.35, 0.0, 1.0) ** 0.7
        image = sky.reshape(height, width, 3).astype(np.uint8)
        down = rays[:, 2] < -1e-3
        distance = (self._eye[2] + self._height) / np.maximum(-rays[:, 2], 1e-3)
        place = self._eye[:2] + rays[:, :2] * distance[:, None]
        colour = self._ground_colour(place, distance, rng)
        image.reshape(-1, 3)[down] = colour[down].astype(np.uint8)
        self._paint_skyline(image, rng)
        self._paint_bays(image)
        self._cast_shadows(image, self._layout.static)
        return image

    def _ground_colour(
        self, place: NDArray[np.float64], distance: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Colour of the ground at (P, 2) m: asphalt with grain and stains inside the lot, meadow around it."""
        ground = self._layout.scene.ground
        margin = 2.0
        lot = np.all([place[:, 0] < ground.x[1] + margin, np.abs(place[:, 1]) < max(np.abs(ground.y)) + margin], axis=0)
        grain = _noise_at(place, 0.12, rng) * np.exp(-distance / 14.0)
        stains = _noise_at(place, 2.5, rng)
        base = np.where(lot[:, None], ASPHALT, MEADOW)
        colour = base * (1.0 + 0.05 * grain + np.where(lot, 0.035, 0.06) * stains)[:, None]
        return np.clip(_hazy(colour, distance), 0, 255)

    def _paint_skyline(self, image: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """Blocks of flats and trees far behind the scene."""
        for distance in (150.0, 120.0, 95.0):
            for y in np.arange(-110.0, 110.0, 15.0):
                side, height = rng.uniform(8.0, 17.0), rng.uniform(7.0, 17.0) * distance / 120.0
                grey = rng.uniform(120.0, 190.0) * np.array([1.0, 0.97, 0.94])
                if rng.random() < 0.45:
                    self._fill(image, _upright(distance, y, side, 0.0, height), grey, distance)
                    for floor in np.arange(2.0, height - 1.5, 3.0):
                        band = _upright(distance, y, 0.86 * side, floor, floor + 1.3)
                        self._fill(image, band, 0.78 * grey, distance)
                else:
                    green = np.array([62.0, 92.0, 58.0]) * rng.uniform(0.85, 1.2)
                    for _ in range(4):
                        centre = y + rng.uniform(-6, 6)
                        top, spread = rng.uniform(5.0, 9.5), rng.uniform(2.5, 4.0)
                        self._fill(image, _crown(distance - 8, centre, spread, top), green, distance - 8)

    def _paint_bays(self, image: NDArray[np.uint8]) -> None:
        """White lines between the parking bays."""
        for row in self._layout.scene.parked:
            start, end = np.array(row.start), np.array(row.end)
            length = float(np.hypot(*(end - start)))
            if length == 0:
                continue
            along = (end - start) / length
            across = np.array([np.cos(np.radians(row.heading_deg)), np.sin(np.radians(row.heading_deg))])
            for line in np.arange(-row.spacing / 2, length + row.spacing, row.spacing):
                for piece in np.linspace(-2.6, 2.6, 7)[:-1]:
                    a = start + along * line + across * piece
                    b = a + across * 5.2 / 6
                    quad = np.array([a - 0.06 * along, b - 0.06 * along, b + 0.06 * along, a + 0.06 * along])
                    self._fill(image, np.column_stack([quad, np.zeros(4)]), PAINT, float(np.hypot(*a)))

    def _fill(self, image: NDArray[np.uint8], corners: NDArray[np.float64], colour: ArrayLike, distance: float) -> None:
        """Paints one polygon of the scene frame."""
        polygon = self._polygon(corners - np.array([0.0, 0.0, self._height]))
        if polygon is not None:
            paint = _hazy(np.asarray(colour), distance).tolist()
            cv2.fillConvexPoly(image, polygon, paint, cv2.LINE_AA, _SUBPIXEL)


def _hazy(colour: NDArray[np.float64], distance: ArrayLike) -> NDArray[np.float64]:
    """Colours (..., 3) seen through the air."""
    veil = 1.0 - np.exp(-np.asarray(distance) / HAZE_DISTANCE)
    return colour + (HAZE - colour) * veil[..., None]


def _upright(x: float, y: float, width: float, bottom: float, top: float) -> NDArray[np.float64]:
    """A rectangle that faces the mast."""
    left, right = y + width / 2, y - width / 2
    return np.array([(x, left, bottom), (x, right, bottom), (x, right, top), (x, left, top)])


def _crown(x: float, y: float, radius: float, top: float) -> NDArray[np.float64]:
    """The outline of a tree that faces the mast."""
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    return np.column_stack([np.full(14, x), y + radius * np.cos(angle), top / 2 * (1 + np.sin(angle))])


def _noise_at(place: NDArray[np.float64], cell: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth noise of variance about 1 over the plane, (P, 2) m, with cells of a size in m; it repeats after 256."""
    texture = ndimage.gaussian_filter(rng.standard_normal((256, 256)), 1.0, mode='wrap')
    return ndimage.map_coordinates(texture / texture.std(), (place / cell).T, order=1, mode='grid-wrap')


def _clipped(corners: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a convex polygon where a function that is linear over it (its values at the corners) is positive."""
    kept = []
    for index in range(len(corners)):
        following = (index + 1) % len(corners)
        if inside[index] >= 0:
            kept.append(corners[index])
        if (inside[index] >= 0) != (inside[following] >= 0):
            share = inside[index] / (inside[index] - inside[following])
            kept.append(corners[index] + share * (corners[following] - corners[index]))
    return np.array(kept)
