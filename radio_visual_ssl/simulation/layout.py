# SPDX-License-Identifier: Apache-2.0
"""What one seed makes of a scene: bodies with their places and trajectories, which every back end reads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radio_visual_ssl.simulation.kinds import KINDS, Colour
from radio_visual_ssl.simulation.scene import Mover, Scene
from radio_visual_ssl.simulation.trajectory import Pose, Trajectory


@dataclass(frozen=True)
class Body:
    """One solid object: a box on the ground with a look and a radar cross section.

    Attributes:
        kind: a name of KINDS, 'wall', 'pole' or 'lamp_post'.
        size: (length, width, height), m.
        rcs: m^2.
        colour: rgb.
        number: unique in the layout, movers first from 1 on (their track id).
    """

    kind: str
    size: tuple[float, float, float]
    rcs: float
    colour: Colour
    number: int


Placed = tuple[Body, Pose]


@dataclass(frozen=True)
class Layout:
    """What one seed makes of a scene.

    Attributes:
        scene: description.
        seed: that drew it.
        static: clutter with its place.
        movers: targets with their trajectories.
    """

    scene: Scene
    seed: int
    static: tuple[Placed, ...]
    movers: tuple[tuple[Body, Trajectory], ...]

    def moving(self, time: float) -> list[Placed]:
        """The movers that are present at a time in s."""
        poses = ((body, trajectory.pose(time)) for body, trajectory in self.movers)
        return [(body, pose) for body, pose in poses if pose is not None]


WALL_PANEL = 4.0  # m, longest piece of a wall: the painter sorts by distance and the shadows are judged by piece
WALL_THICKNESS = 0.25  # m
WALL_COLOUR: Colour = (172, 150, 132)
POLE_COLOUR: Colour = (128, 132, 136)


def lay_out(scene: Scene, seed: int = 0) -> Layout:
    """Draws what a scene leaves open: parked vehicles, colours, which targets move, where they start and how fast.

    Args:
        scene: description.
        seed: the same seed gives the same layout; not negative.

    Raises:
        ValueError: negative seed.
    """
    if seed < 0:
        raise ValueError(f'seed: expected 0 or more, got {seed}')
    rng = np.random.default_rng(seed)
    chosen = np.sort(
        rng.permutation(len(scene.movers))[: rng.integers(scene.presence[0], scene.presence[1], endpoint=True)]
    )
    movers = [_mover(scene.movers[index], int(number) + 1, rng) for number, index in enumerate(chosen)]
    static: list[Placed] = []

    def add(kind: str, size: Sequence[float], rcs: float, colour: Colour, pose: Pose) -> None:
        number = len(movers) + len(static) + 1
        static.append((Body(kind, (size[0], size[1], size[2]), rcs, colour, number), pose))

    for row in scene.parked:
        start, end = np.array(row.start), np.array(row.end)
        length = float(np.hypot(*(end - start)))
        for along in np.arange(0.0, length + 1e-9, row.spacing):
            taken, turned = rng.random(2) < (row.occupancy, 0.5)
            kind = row.kinds[rng.integers(len(row.kinds))]
            shift, twist = rng.uniform(-0.15, 0.15, 2), rng.normal(0.0, math.radians(1.5))
            scale, paint = rng.uniform(0.94, 1.06), rng.integers(len(KINDS[kind].colours))
            if taken:
                x, y = start + (end - start) * (along / length if length else 0.0) + shift
                heading = math.radians(row.heading_deg) + twist + (math.pi if turned else 0.0)
                scaled = [scale * side for side in KINDS[kind].size]
                add(kind, scaled, KINDS[kind].rcs, KINDS[kind].colours[paint], Pose(float(x), float(y), heading))
    for wall in scene.walls:
        start, end = np.array(wall.start), np.array(wall.end)
        length = float(np.hypot(*(end - start)))
        pieces = math.ceil(length / WALL_PANEL)
        heading = math.atan2(*(end - start)[::-1])
        rcs = 10 ** (wall.rcs_db_per_m2 / 10) * wall.height * length / pieces
        for piece in range(pieces):
            x, y = start + (end - start) * (piece + 0.5) / pieces
            size = (length / pieces, WALL_THICKNESS, wall.height)
            add('wall', size, rcs, WALL_COLOUR, Pose(float(x), float(y), heading))
    for pole in scene.poles:
        size = (pole.diameter, pole.diameter, pole.height)
        add('lamp_post' if pole.lamp else 'pole', size, pole.rcs, POLE_COLOUR, Pose(*pole.position, 0.0))
    return Layout(scene, seed, tuple(static), tuple(movers))


def _mover(mover: Mover, number: int, rng: np.random.Generator) -> tuple[Body, Trajectory]:
    kind = KINDS[mover.kind]
    waypoints = np.array(mover.path) + rng.uniform(-mover.jitter, mover.jitter, (len(mover.path), 2))
    if rng.random() < 0.5:
        waypoints = waypoints[::-1]
    speed = mover.speed * rng.uniform(0.85, 1.15)
    trajectory = Trajectory(waypoints, speed, mover.motion, mover.pause, rng.random())
    return Body(mover.kind, kind.size, kind.rcs, kind.colours[rng.integers(len(kind.colours))], number), trajectory
