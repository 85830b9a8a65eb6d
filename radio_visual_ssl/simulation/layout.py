# SPDX-License-Identifier: Apache-2.0
"""What one seed makes of a scene: bodies with places and trajectories, light and weather; every back end reads it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation.kinds import KINDS, REFLECTIVITY_DB, SURFACES, Colour, Kind, Material
from radio_visual_ssl.simulation.scene import CameraMount, Ego, Lighting, Mover, Scene
from radio_visual_ssl.simulation.trajectory import Pose, Trajectory


@dataclass(frozen=True)
class Body:
    """One solid object: a box on the ground with a look and a radar cross section.

    Attributes:
        kind: a name of KINDS, 'wall', 'pole', 'lamp_post', 'building', 'shelf', 'pillar', 'crate' or 'tree'.
        size: (length, width, height), m.
        rcs: m^2, mean over all aspects.
        colour: rgb.
        number: unique in the layout, movers first from 1 on (their track id).
        material: of most of its surface.
    """

    kind: str
    size: tuple[float, float, float]
    rcs: float
    colour: Colour
    number: int
    material: Material = 'metal'


Placed = tuple[Body, Pose]


@dataclass(frozen=True, eq=False)
class Light:
    """Light and weather of one seed.

    Attributes:
        hour: time of day, 0-24.
        sun: (3,) towards the sun, scene frame.
        sunlight: brightness of a surface that faces the sun, 0 at night and under clouds.
        ambient: brightness of any surface.
        visibility: m, at which fog or haze leaves 5 % of the contrast.
        lamps: brightness that the lamp posts add near them; 0 by day.
        overcast: whether clouds cover the sky.
    """

    hour: float
    sun: NDArray[np.float64]
    sunlight: float
    ambient: float
    visibility: float
    lamps: float
    overcast: bool


@dataclass(frozen=True)
class Layout:
    """What one seed makes of a scene.

    Poses are given in the frame of the sensors: the origin is the ground below the radar, x is the way that it looks.
    On a mast that is the scene frame; on an ego vehicle it moves.

    Attributes:
        scene: description, with the camera where it was mounted.
        seed: that drew it.
        static: clutter with its place in the scene frame.
        movers: targets with their trajectories in the scene frame.
        light: and weather.
        ego: trajectory of the sensors in the scene frame; None = they stand at its origin.
    """

    scene: Scene
    seed: int
    static: tuple[Placed, ...]
    movers: tuple[tuple[Body, Trajectory], ...]
    light: Light
    ego: Trajectory | None = None
    # the last time that was asked for: radar, camera and truth look at the same
    _moving: dict[float, list[Placed]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _standing: dict[float, list[Placed]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def sensors(self, time: float) -> Pose:
        """The sensors' place on the ground, and their motion, in the scene frame at a time in s."""
        pose = None if self.ego is None else self.ego.pose(time)
        return pose or Pose(0.0, 0.0, 0.0)

    def moving(self, time: float) -> list[Placed]:
        """The movers that are present at a time in s."""
        if time not in self._moving:
            poses = ((body, trajectory.pose(time)) for body, trajectory in self.movers)
            seen = self._seen(((body, pose) for body, pose in poses if pose is not None), time)
            self._moving.clear()
            self._moving[time] = seen
        return list(self._moving[time])

    def standing(self, time: float) -> list[Placed]:
        """The clutter; from an ego vehicle it moves too."""
        if self.ego is None:
            return list(self.static)
        if time not in self._standing:
            seen = self._seen(self.static, time)
            self._standing.clear()
            self._standing[time] = seen
        return list(self._standing[time])

    def _seen(self, placed: Iterable[Placed], time: float) -> list[Placed]:
        if self.ego is None:
            return list(placed)
        observer = self.sensors(time)
        return [(body, pose.seen_from(observer)) for body, pose in placed]


# m, longest piece of a body: light, haze and shadows are judged by piece
WALL_PIECE = 4.0
PIECE = 8.0
WALL_THICKNESS = 0.25  # m
POLE_COLOUR: Colour = (128, 132, 136)
CLEAR = 900.0  # m, visibility without fog
SUMMIT = math.radians(58.0)  # highest elevation of the sun
NIGHT, DAYLIGHT = 0.22, 0.36  # ambient brightness at night, and what the day adds
_STREAM, _MOUNTING = 21, 22  # keep these draws apart from each other and from others of the same seed


def lay_out(scene: Scene, seed: int = 0) -> Layout:
    """Draws what a scene leaves open: what is parked, colours, materials, light, which targets move, where, how fast.

    Args:
        scene: description.
        seed: the same seed gives the same layout; not negative.

    Raises:
        ValueError: negative seed.
    """
    if seed < 0:
        raise ValueError(f'seed: expected 0 or more, got {seed}')
    rng = np.random.default_rng((seed, _STREAM))
    ego = None if scene.ego is None else _ego(scene.ego, rng)
    chosen = np.sort(
        rng.permutation(len(scene.movers))[: rng.integers(scene.presence[0], scene.presence[1], endpoint=True)]
    )
    movers = [_mover(scene.movers[index], int(number) + 1, ego, rng) for number, index in enumerate(chosen)]
    static = _Clutter(len(movers), rng)
    static.park(scene)
    static.build(scene)
    scene = replace(scene, camera=_mounted(scene.camera, seed))
    return Layout(scene, seed, tuple(static.placed), tuple(movers), _light(scene.lighting, rng), ego)


def _mounted(camera: CameraMount, seed: int) -> CameraMount:
    """The camera as a seed mounts it: evenly in a ball of places, and in a cone of directions."""
    rng = np.random.default_rng((seed, _MOUNTING))
    direction, share = rng.normal(size=3), rng.random()
    bearing, tilt = rng.uniform(-math.pi, math.pi), camera.turn_deg * math.sqrt(rng.random())
    shift = direction / np.linalg.norm(direction) * camera.shift * share ** (1 / 3)
    x, y, z = (np.array(camera.offset) + shift).tolist()
    pitch = camera.pitch_deg + tilt * math.sin(bearing)
    yaw = camera.yaw_deg + tilt * math.cos(bearing)
    return replace(camera, offset=(x, y, z), pitch_deg=pitch, yaw_deg=yaw, shift=0.0, turn_deg=0.0)


class _Clutter:
    """Collects what stands still, numbered after the movers."""

    def __init__(self, movers: int, rng: np.random.Generator) -> None:
        self.placed: list[Placed] = []
        self._first, self._rng = movers + 1, rng

    def park(self, scene: Scene) -> None:
        """Vehicles in the parking bays."""
        rng = self._rng
        for row in scene.parked:
            start, end = np.array(row.start), np.array(row.end)
            length = float(np.hypot(*(end - start)))
            for along in np.arange(0.0, length + 1e-9, row.spacing):
                taken, turned = rng.random(2) < (row.occupancy, 0.5)
                kind = KINDS[name := row.kinds[rng.integers(len(row.kinds))]]
                shift, twist = rng.uniform(-0.15, 0.15, 2), rng.normal(0.0, math.radians(1.5))
                scale, paint = rng.uniform(0.94, 1.06), rng.integers(len(kind.colours))
                if taken:
                    x, y = start + (end - start) * (along / length if length else 0.0) + shift
                    heading = math.radians(row.heading_deg) + twist + (math.pi if turned else 0.0)
                    size = [scale * side for side in kind.size]
                    self._add(name, size, kind.rcs, kind.colours[paint], Pose(float(x), float(y), heading))

    def build(self, scene: Scene) -> None:
        """Walls, poles, blocks and trees."""
        rng = self._rng
        for wall in scene.walls:
            start, end = np.array(wall.start), np.array(wall.end)
            length = float(np.hypot(*(end - start)))
            material, colour = self._surface(wall.materials)
            rcs = 10 ** ((wall.rcs_db_per_m2 + REFLECTIVITY_DB[material]) / 10) * wall.height * length
            middle, heading = (start + end) / 2, math.atan2(*(end - start)[::-1])
            self._add_pieces('wall', (length, WALL_THICKNESS, wall.height), rcs, colour, material, middle, heading)
        for pole in scene.poles:
            size = (pole.diameter, pole.diameter, pole.height)
            kind = 'lamp_post' if pole.lamp else 'pole'
            self._add(kind, size, pole.rcs, POLE_COLOUR, Pose(*pole.position, 0.0))
        for block in scene.blocks:
            present, shift = rng.random() < block.presence, rng.uniform(-block.jitter, block.jitter, 2)
            material, colour = self._surface(block.materials)
            area = max(block.size[:2]) * block.size[2]
            rcs = 10 ** ((block.rcs_db_per_m2 + REFLECTIVITY_DB[material]) / 10) * area
            if present:
                middle, heading = np.array(block.position) + shift, math.radians(block.heading_deg)
                self._add_pieces(block.kind, block.size, rcs, colour, material, middle, heading)
        for tree in scene.trees:
            scale, heading = rng.uniform(0.8, 1.2), rng.uniform(-math.pi, math.pi)
            _, colour = self._surface(('vegetation',))
            size = (tree.crown, tree.crown, scale * tree.height)
            self._add('tree', size, tree.rcs, colour, Pose(*tree.position, heading), 'vegetation')

    def _surface(self, materials: Sequence[Material]) -> tuple[Material, Colour]:
        material = materials[int(self._rng.integers(len(materials)))]
        colours = SURFACES[material]
        return material, colours[self._rng.integers(len(colours))]

    def _add_pieces(
        self,
        kind: str,
        size: tuple[float, float, float],
        rcs: float,
        colour: Colour,
        material: Material,
        middle: NDArray[np.float64],
        heading: float,
    ) -> None:
        """A long body as several short ones, one behind the other along its length."""
        count = math.ceil(size[0] / (WALL_PIECE if kind == 'wall' else PIECE))
        ahead = np.array([math.cos(heading), math.sin(heading)])
        for piece in range(count):
            x, y = middle + ahead * size[0] * ((piece + 0.5) / count - 0.5)
            shorter = (size[0] / count, size[1], size[2])
            self._add(kind, shorter, rcs / count, colour, Pose(float(x), float(y), heading), material)

    def _add(
        self, kind: str, size: Sequence[float], rcs: float, colour: Colour, pose: Pose, material: Material = 'metal'
    ) -> None:
        number = self._first + len(self.placed)
        self.placed.append((Body(kind, (size[0], size[1], size[2]), rcs, colour, number, material), pose))


def _ego(ego: Ego, rng: np.random.Generator) -> Trajectory:
    speed, start = ego.speed * rng.uniform(0.85, 1.15), rng.uniform(*ego.start)
    return Trajectory(np.array(ego.path), speed, 'reenter', 0.0, start)


def _mover(mover: Mover, number: int, ego: Trajectory | None, rng: np.random.Generator) -> tuple[Body, Trajectory]:
    names = (mover.kind, *mover.variants)
    name = names[rng.integers(len(names))] if mover.variants else mover.kind
    kind = KINDS[name]
    if mover.ahead is not None and ego is not None:
        trajectory = ego.ahead_by(rng.uniform(*mover.ahead))
    else:
        waypoints = np.array(mover.path) + rng.uniform(-mover.jitter, mover.jitter, (len(mover.path), 2))
        if rng.random() < 0.5 and not mover.one_way:
            waypoints = waypoints[::-1]
        speed = mover.speed * rng.uniform(0.85, 1.15)
        trajectory = Trajectory(waypoints, speed, mover.motion, mover.pause, rng.random())
    return _body(name, kind, number, rng), trajectory


def _body(name: str, kind: Kind, number: int, rng: np.random.Generator) -> Body:
    return Body(name, kind.size, kind.rcs, kind.colours[rng.integers(len(kind.colours))], number, kind.material)


def _light(lighting: Lighting, rng: np.random.Generator) -> Light:
    hour, clouds, fog = rng.uniform(*lighting.hours), rng.random(), rng.random()
    distance, bearing = rng.uniform(*lighting.fog_visibility), rng.uniform(-math.pi, math.pi)
    if lighting.ceiling is not None:
        return Light(hour, np.array([0.0, 0.0, 1.0]), 0.35, 0.6, CLEAR, 0.0, True)
    overcast, foggy = clouds < lighting.overcast, fog < lighting.fog
    # the sun rises at 6, stands highest at 12 and sets at 18
    elevation = SUMMIT * math.sin(math.pi * (hour - 6.0) / 12.0)
    bearing += math.pi * (hour - 12.0) / 12.0
    day = float(np.clip(0.5 + elevation / math.radians(16.0), 0.0, 1.0))
    sun = np.array([math.cos(bearing), math.sin(bearing), math.tan(max(elevation, math.radians(6.0)))])
    sunlight = 0.45 * day * (0.15 if overcast or foggy else 1.0) * float(elevation > 0)
    ambient = (NIGHT + DAYLIGHT * day) * (1.15 if overcast or foggy else 1.0)
    visibility = distance if foggy else CLEAR
    return Light(hour, sun / np.linalg.norm(sun), sunlight, ambient, visibility, 0.9 * (1.0 - day), overcast or foggy)
