# SPDX-License-Identifier: Apache-2.0
"""The camera's view of a scene: shading, textures, shadows, time of day, fog, and exact masks of the targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from radio_visual_ssl.simulation.boxes import rotated
from radio_visual_ssl.simulation.layout import DAYLIGHT, NIGHT, Body, Layout, Placed
from radio_visual_ssl.simulation.meshes import PEDALLING, STRIDE, Facet, mesh
from radio_visual_ssl.simulation.rasterizer import Canvas, Pinhole, Solid
from radio_visual_ssl.simulation.scene import Ground, Scene
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.vision.camera import CameraModel

OVERSAMPLING = 2  # pixels are drawn twice as fine and averaged
CLUTTER = 255  # owner of what stands still
GAITS = 36  # shapes of a walking or pedalling body in one cycle
FAR = 250.0  # m, beyond which nothing is drawn
SHADOWS = 12.0  # m, out of the image, from where shadows are looked for
ASPHALT = np.array([98.0, 99.0, 102.0])
MEADOW = np.array([112.0, 130.0, 88.0])
PAVEMENT = np.array([150.0, 147.0, 142.0])
FLOOR = np.array([140.0, 142.0, 144.0])
CEILING = np.array([118.0, 120.0, 124.0])
PAINT = np.array([208.0, 208.0, 202.0])
_DAY_HAZE, _DAY_ZENITH = np.array([214.0, 224.0, 234.0]), np.array([104.0, 156.0, 212.0])
_NIGHT_HAZE, _NIGHT_ZENITH = np.array([30.0, 34.0, 44.0]), np.array([8.0, 10.0, 20.0])
_CLOUD = np.array([186.0, 190.0, 194.0])
_NOISE_CELLS = 256


def camera_on(scene: Scene, size: tuple[int, int] | None = None) -> CameraModel:
    """The scene's camera, seen from its radar.

    Args:
        scene: description.
        size: (width, height) px instead of the scene's own, with the same view across the width.
    """
    mount = scene.camera
    width, height = size or (mount.width, mount.height)
    focal_length = mount.focal_length * width / mount.width
    pitch, yaw = np.radians([mount.pitch_deg, mount.yaw_deg])
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.array([[focal_length, 0.0, centre[0]], [0.0, focal_length, centre[1]], [0.0, 0.0, 1.0]])
    return CameraModel(width, height, matrix, np.zeros(5), rotation, -rotation @ np.array(mount.offset))


@dataclass(frozen=True, eq=False)
class View:
    """What the camera sees at one time.

    Attributes:
        image: (H, W, 3) uint8 rgb.
        mask: (H, W) uint8, the number (track id) of the target that is seen in each pixel; 0 = none.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class Renderer:
    """Draws the images of one camera.

    On a mast, the sky, the ground and what stands still are drawn once.

    Args:
        layout: of the scene.
        camera: where it is, seen from the radar; without lens distortion.

    Raises:
        ValueError: a camera with lens distortion.
    """

    def __init__(self, layout: Layout, camera: CameraModel) -> None:
        if np.any(camera.distortion):
            raise ValueError(f'camera: expected one without distortion, got {camera.distortion.tolist()}')
        self._layout, self._camera, self._light = layout, camera, layout.light
        self._height = layout.scene.mast.height
        self._eye = -camera.rotation.T @ camera.translation
        matrix, fine = camera.matrix, OVERSAMPLING
        self._pinhole = Pinhole(
            fine * camera.width,
            fine * camera.height,
            (fine * matrix[0, 0], fine * matrix[1, 1]),
            (fine * (matrix[0, 2] + 0.5) - 0.5, fine * (matrix[1, 2] + 0.5) - 0.5),
        )
        self._haze, self._zenith = sky_colours(layout)
        shade = self._light.ambient / (self._light.ambient + self._light.sunlight * self._light.sun[2])
        self._shade = 1.0 if layout.scene.lighting.ceiling is not None else float(shade)
        self._lamps = np.array([(pose.x, pose.y) for body, pose in layout.static if body.kind == 'lamp_post'])
        self._solids = {body.number: Solid.of(mesh(body), CLUTTER) for body, _ in layout.static}
        self._floor = _Floor(self._pinhole, camera, self._height, layout)
        self._canvas, self._backdrop = Canvas(self._pinhole), Canvas(self._pinhole)
        self._paint_sky(self._backdrop)
        if layout.ego is None:
            self._paint_floor(self._backdrop, 0.0)
            self._draw(self._backdrop, [(self._solids[body.number], pose) for body, pose in layout.static], 0.0)

    def image(self, time: float) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 rgb at a time in s."""
        return self.view(time).image

    def view(self, time: float) -> View:
        """Image and target masks at a time in s."""
        canvas = self._canvas
        canvas.take(self._backdrop)
        moving = self._layout.moving(time)
        standing: list[Placed] = []
        if self._layout.ego is not None:
            self._paint_floor(canvas, time)
            standing = self._near_view(self._layout.standing(time), 0.5)
        self._cast_shadows(canvas, moving, time)
        placed = [(self._solids[body.number], pose) for body, pose in standing]
        placed += [(self._shape(body, pose), pose) for body, pose in moving]
        self._draw(canvas, placed, time)
        size = (self._camera.width, self._camera.height)
        image = np.asarray(cv2.resize(canvas.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        owner = canvas.owner[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
        return View(image, np.where(owner == CLUTTER, np.uint8(0), owner))

    def _near_view(self, placed: Sequence[Placed], margin: float) -> list[Placed]:
        """Those that may be in the image, or no further than a margin (m) out of it."""
        if not placed:
            return []
        middles = np.array([(pose.x, pose.y, body.size[2] / 2) for body, pose in placed])
        radii = 0.5 * np.linalg.norm([body.size for body, _ in placed], axis=1) + margin
        optical = self._optical(middles)
        pinhole = self._pinhole
        wide = 0.5 * pinhole.width / pinhole.focal[0]
        inside = (np.abs(optical[:, 0]) < wide * optical[:, 2] + radii * np.hypot(1.0, wide)) & (optical[:, 2] < FAR)
        return [placed[index] for index in np.flatnonzero(inside & (optical[:, 2] > -radii)).tolist()]

    def _shape(self, body: Body, pose: Pose) -> Solid:
        """A mover as it is at that point of its walk."""
        cycle = {'pedestrian': STRIDE, 'cyclist': PEDALLING}.get(body.kind)
        gait = 0 if cycle is None else round(pose.walked / cycle * GAITS) % GAITS
        shape = _shaped(replace(body, number=0, rcs=0.0), gait / GAITS * (cycle or 0.0))
        return replace(shape, owner=np.full(len(shape.owner), body.number, dtype=np.uint8))

    def _draw(self, canvas: Canvas, placed: Sequence[tuple[Solid, Pose]], time: float) -> None:
        """Draws bodies, lit and seen through the air."""
        if not placed:
            return
        points, normals = [], []
        for solid, pose in placed:
            points.append(rotated(solid.points, pose.heading) + np.array([pose.x, pose.y, -self._height]))
            normals.append(rotated(solid.normals, pose.heading))
        solid = Solid.join([solid for solid, _ in placed])
        place, normal = np.concatenate(points), np.concatenate(normals)
        middle = place[solid.starts]
        light = self._light_on(normal, middle, time)
        colours = self._through_air(solid.colours * light[:, None], np.linalg.norm(middle - self._eye, axis=1))
        rotation, translation = self._camera.rotation, self._camera.translation
        optical = Solid(
            place @ rotation.T + translation,
            solid.starts,
            normal @ rotation.T,
            solid.colours,
            solid.textures,
            solid.owner,
        )
        canvas.draw(optical, colours, np.ones(len(solid.starts), dtype=bool))

    def _light_on(self, normals: NDArray[np.float64], places: NDArray[np.float64], time: float) -> NDArray[np.float64]:
        """(F,) brightness of facets that face along normals (zero: both ways) at places (F, 3), sensor frame."""
        sun = rotated(self._light.sun, -self._layout.sensors(time).heading)
        both_sides = ~np.any(normals, axis=1)
        facing = np.where(both_sides, 0.5, np.maximum(normals @ sun, 0.0))
        return self._light.ambient + self._light.sunlight * facing + self._lamplight(places[:, :2], time)

    def _lamplight(self, places: NDArray[np.float64], time: float) -> NDArray[np.float64] | float:
        """(N,) brightness that lamp posts and the ego vehicle's headlights add at (N, 2) m, sensor frame."""
        if self._light.lamps == 0:
            return 0.0
        sensors = self._layout.sensors(time)
        total = np.zeros(len(places))
        if len(self._lamps):
            lamps = rotated(
                np.column_stack([self._lamps - (sensors.x, sensors.y), np.zeros(len(self._lamps))]), -sensors.heading
            )
            for x, y, _ in lamps:
                squared = (places[:, 0] - x) ** 2 + (places[:, 1] - y) ** 2
                total += 1.0 / (1.0 + squared / 49.0) ** 2
        if self._layout.ego is not None:
            ahead = np.maximum(places[:, 0], 0.1)
            total += np.exp(-ahead / 22.0 - (places[:, 1] / (1.2 + 0.22 * ahead)) ** 2) * (places[:, 0] > 0)
        return self._light.lamps * np.minimum(total, 1.0)

    def _through_air(self, colours: NDArray[np.float64], distance: ArrayLike) -> NDArray[np.float64]:
        """Colours (..., 3) as fog or haze leaves them."""
        clear = np.exp(-3.0 / self._light.visibility * np.asarray(distance))
        return self._haze + (colours - self._haze) * clear[..., None]

    def _optical(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places (P, 3) above the ground below the radar in the optical frame."""
        return (points - (0.0, 0.0, self._height)) @ self._camera.rotation.T + self._camera.translation

    def _cast_shadows(self, canvas: Canvas, placed: Sequence[Placed], time: float) -> None:
        """Darkens the ground where the bodies' boxes stand in the sun."""
        if self._shade > 0.97:
            return
        sun = rotated(self._light.sun, -self._layout.sensors(time).heading)
        polygons = []
        for body, pose in self._near_view(placed, SHADOWS):
            length, width, height = body.size
            if body.kind == 'tree':
                continue
            corners = np.array([(x, y, 0.0) for x in (-length / 2, length / 2) for y in (-width / 2, width / 2)])
            lower = rotated(corners, pose.heading) + np.array([pose.x, pose.y, 0.0])
            upper = lower - height * np.array([sun[0], sun[1], 0.0]) / sun[2]
            outline = cv2.convexHull(np.concatenate([lower, upper])[:, :2].astype(np.float32))[:, 0]
            polygon = np.column_stack([outline.astype(np.float64), np.zeros(len(outline))])
            polygons.append(self._optical(polygon))
        canvas.shade(polygons, self._shade)

    def _paint_floor(self, canvas: Canvas, time: float) -> None:
        """Ground, markings and the shadows of what stands still."""
        place, distance, rows = self._floor.seen(self._layout.sensors(time))
        local = self._floor.local
        colour = place * (self._light.ambient + self._light.sunlight * self._light.sun[2])
        lamps = self._lamplight(local, time)
        if not np.isscalar(lamps):
            colour = colour + place * np.asarray(lamps)[:, None]
        colour = np.clip(self._through_air(colour, distance), 0, 255).astype(np.uint8)
        coarse = np.zeros((*rows.shape, 3), dtype=np.uint8)
        coarse[rows] = colour
        size = (self._pinhole.width, self._pinhole.height)
        fine = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_NEAREST))
        below = cv2.resize(rows.view(np.uint8), size, interpolation=cv2.INTER_NEAREST).view(np.bool_)
        np.copyto(canvas.image, fine, where=below[:, :, None])
        if self._layout.ego is None:
            self._paint_bays(canvas)
        self._cast_shadows(canvas, self._layout.standing(time), time)

    def _paint_sky(self, canvas: Canvas) -> None:
        """Sky and skyline, or the ceiling of a hall."""
        rays = self._pinhole.rays().astype(np.float32)
        axes = self._camera.rotation.astype(np.float32)
        up, length = rays @ axes[:, 2], np.sqrt(np.einsum('ijk,ijk->ij', rays, rays))
        ceiling = self._layout.scene.lighting.ceiling
        if ceiling is not None:
            share = (ceiling - self._height - self._eye[2]) / np.maximum(up, 1e-3)
            x, y = (self._eye[axis] + rays @ axes[:, axis] * share for axis in (0, 1))
            lamp = (np.mod(x, 5.0) < 2.4) & (np.mod(y, 4.0) < 0.5)
            beam = np.mod(x + 1.3, 5.0) < 0.4
            grey = np.where(lamp, 2.1, np.where(beam, 0.7, 1.0))[:, :, None] * CEILING
            colours = self._through_air(grey, np.minimum(share * length, FAR))
            canvas.image[:] = np.clip(colours, 0, 255).astype(np.uint8)
            return
        share = np.clip(up / length / np.float32(0.35), 0.0, 1.0) ** np.float32(0.7)
        for channel in range(3):
            low, high = self._haze[channel], self._zenith[channel]
            canvas.image[:, :, channel] = low + np.float32(high - low) * share
        self._paint_skyline(canvas, np.random.default_rng((self._layout.seed, 2**31)))

    def _paint_skyline(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Blocks of flats and trees far behind the scene."""
        facets: list[Facet] = []

        def add(points: NDArray[np.float64], colour: NDArray[np.float64]) -> None:
            red, green, blue = np.clip(colour, 0, 255).round().astype(int).tolist()
            facets.append(Facet(points, np.zeros(3), (red, green, blue)))

        for distance in (150.0, 120.0, 95.0):
            for y in np.arange(-110.0, 110.0, 15.0):
                side, height = rng.uniform(8.0, 17.0), rng.uniform(7.0, 17.0) * distance / 120.0
                grey = rng.uniform(120.0, 190.0) * np.array([1.0, 0.97, 0.94])
                if rng.random() < 0.45:
                    add(_upright(distance, y, side, 0.0, height), grey)
                    for floor in np.arange(2.0, height - 1.5, 3.0):
                        add(_upright(distance, y, 0.86 * side, floor, floor + 1.3), 0.78 * grey)
                else:
                    green = np.array([62.0, 92.0, 58.0]) * rng.uniform(0.85, 1.2)
                    for _ in range(4):
                        centre = y + rng.uniform(-6, 6)
                        top, spread = rng.uniform(5.0, 9.5), rng.uniform(2.5, 4.0)
                        add(_crown(distance - 8, centre, spread, top), green)
        self._draw(canvas, [(Solid.of(facets, CLUTTER), Pose(0.0, 0.0, 0.0))], 0.0)
        # it is a backdrop: whatever stands in the scene is nearer
        canvas.nearness[:], canvas.owner[:] = 0.0, 0

    def _paint_bays(self, canvas: Canvas) -> None:
        """White lines between the parking bays."""
        for row in self._layout.scene.parked:
            start, end = np.array(row.start), np.array(row.end)
            length = float(np.hypot(*(end - start)))
            if length == 0:
                continue
            along = (end - start) / length
            across = np.array([np.cos(np.radians(row.heading_deg)), np.sin(np.radians(row.heading_deg))])
            for line in np.arange(-row.spacing / 2, length + row.spacing, row.spacing):
                for piece in (-2.6, 0.0):
                    a = start + along * line + across * piece
                    b = a + across * 2.6
                    quad = np.array([a - 0.06 * along, b - 0.06 * along, b + 0.06 * along, a + 0.06 * along])
                    self._fill(canvas, np.column_stack([quad, np.zeros(4)]), PAINT)

    def _fill(self, canvas: Canvas, corners: NDArray[np.float64], colour: NDArray[np.float64]) -> None:
        """Paints one polygon (P, 3) of the sensor's ground frame on the backdrop."""
        optical = self._optical(corners)
        middle = corners.mean(axis=0)
        light = self._light.ambient + 0.5 * self._light.sunlight + self._lamplight(middle[None, :2], 0.0)
        distance = np.linalg.norm(middle - (0.0, 0.0, self._height) - self._eye)
        canvas.fill(optical, self._through_air(colour * np.atleast_1d(light)[0], distance))


class _Floor:
    """The ground that each pixel of the unrefined image sees.

    Attributes:
        local: (P, 2) m, where the pixels that see it look, in the sensor frame.
    """

    def __init__(self, pinhole: Pinhole, camera: CameraModel, height: float, layout: Layout) -> None:
        scene = layout.scene
        self._ground, self._ceiling = scene.ground, scene.lighting.ceiling
        coarse = Pinhole(
            camera.width,
            camera.height,
            (camera.matrix[0, 0], camera.matrix[1, 1]),
            (camera.matrix[0, 2], camera.matrix[1, 2]),
        )
        eye = -camera.rotation.T @ camera.translation
        rays = coarse.rays() @ camera.rotation
        rays /= np.linalg.norm(rays, axis=2)[:, :, None]
        self._rows = rays[:, :, 2] < -1e-3
        rays = rays[self._rows]
        self._distance = (eye[2] + height) / -rays[:, 2]
        self.local = eye[:2] + rays[:, :2] * self._distance[:, None]
        self._tile = _noise_tile()
        self._shift = np.random.default_rng((layout.seed, 2**31 + 1)).integers(0, 10 * _NOISE_CELLS, 2)
        self._fade = np.exp(-self._distance / 14.0).astype(np.float32)

    def seen(self, sensors: Pose) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """(P, 3) colour, (P,) distance in m, and the (H, W) pixels that see the ground."""
        cosine, sine = np.cos(sensors.heading), np.sin(sensors.heading)
        x = cosine * self.local[:, 0] - sine * self.local[:, 1] + sensors.x
        y = sine * self.local[:, 0] + cosine * self.local[:, 1] + sensors.y
        grain = self._noise(x, y, 0.12) * self._fade
        stains = self._noise(x, y, 2.5)
        base = ground_colours(self._ground, x, y)
        return base * (1.0 + 0.05 * grain + 0.035 * stains)[:, None], self._distance, self._rows

    def _noise(self, x: NDArray[np.float64], y: NDArray[np.float64], cell: float) -> NDArray[np.float32]:
        """Noise of variance 1 over the plane, with cells of a size in m; it repeats after 256."""
        column = (x * (1 / cell) + self._shift[0]).astype(np.int64) & (_NOISE_CELLS - 1)
        row = (y * (1 / cell) + self._shift[1]).astype(np.int64) & (_NOISE_CELLS - 1)
        return self._tile.ravel()[row * _NOISE_CELLS + column]


def ground_colours(ground: Ground, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, 3) rgb 0-255 of the clean ground at places (P,) m of the scene frame; parking bays are painted on it."""
    if ground.surface == 'street':
        aside, edge = np.abs(y), ground.carriageway
        dashes = (aside < 0.07) & (np.mod(x, 6.0) < 3.0)
        kerb = np.abs(aside - edge) < 0.12
        slabs = np.minimum(np.mod(x, 0.8), np.mod(y, 0.8)) < 0.05
        base = np.where((aside < edge)[:, None], ASPHALT, PAVEMENT * np.where(slabs, 0.9, 1.0)[:, None])
        base = np.where((aside > edge + 4.5)[:, None], MEADOW, base)
        return np.where(dashes[:, None], PAINT, np.where(kerb[:, None], 0.8 * PAVEMENT, base))
    if ground.surface == 'hall':
        return np.where((np.abs(np.abs(y) - ground.carriageway) < 0.06)[:, None], (198.0, 170.0, 60.0), FLOOR)
    inside = (x < ground.x[1] + 2.0) & (np.abs(y) < max(np.abs(ground.y)) + 2.0)
    return np.where(inside[:, None], ASPHALT, MEADOW)


@lru_cache(maxsize=1024)
def _shaped(body: Body, walked: float) -> Solid:
    return Solid.of(mesh(body, walked), body.number)


@cache
def _noise_tile() -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal((_NOISE_CELLS, _NOISE_CELLS))
    tile = ndimage.gaussian_filter(noise, 1.0, mode='wrap')
    return (tile / tile.std()).astype(np.float32)


def sky_colours(layout: Layout) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colours of the sky at the horizon, which is that of fog too, and above."""
    light = layout.light
    if layout.scene.lighting.ceiling is not None:
        return CEILING, CEILING
    day = float(np.clip((light.ambient - NIGHT) / DAYLIGHT, 0.0, 1.0))
    haze = _CLOUD if light.overcast else _DAY_HAZE
    zenith = 0.95 * _CLOUD if light.overcast else _DAY_ZENITH
    return _NIGHT_HAZE + (haze - _NIGHT_HAZE) * day, _NIGHT_ZENITH + (zenith - _NIGHT_ZENITH) * day


def _upright(x: float, y: float, width: float, bottom: float, top: float) -> NDArray[np.float64]:
    """A rectangle that faces the sensors."""
    left, right = y + width / 2, y - width / 2
    return np.array([(x, left, bottom), (x, right, bottom), (x, right, top), (x, left, top)])


def _crown(x: float, y: float, radius: float, top: float) -> NDArray[np.float64]:
    """The outline of a tree that faces the sensors."""
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    return np.column_stack([np.full(14, x), y + radius * np.cos(angle), top / 2 * (1 + np.sin(angle))])
