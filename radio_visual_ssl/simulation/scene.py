# SPDX-License-Identifier: Apache-2.0
"""Scenes: a mast with radar and camera, clutter that stands still and targets that move; read from YAML.

The scene frame has its origin on the ground below the mast: x forward, y left, z up. The radar frame (REP-103) is the
same frame lifted to the radar's height. A `Scene` is the description, a `Layout` is what one seed makes of it; every
back end (radar channel, camera) reads the layout.
"""

import math
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from radio_visual_ssl.share import share_path

Point = tuple[float, float]
Colour = tuple[int, int, int]


class SceneError(ValueError):
    """A scene file that cannot be used; the message names the file, the field, the value got and what was expected."""


@dataclass(frozen=True)
class Kind:
    """What all objects of one kind have in common.

    Attributes:
        size: (length, width, height), m.
        rcs: m^2, mean radar cross section of the whole object.
        colours: rgb 0-255, one is drawn by seed.
    """

    size: tuple[float, float, float]
    rcs: float
    colours: tuple[Colour, ...]


PAINTS: tuple[Colour, ...] = (
    (188, 40, 42),
    (36, 78, 150),
    (225, 226, 224),
    (58, 61, 66),
    (150, 154, 158),
    (30, 100, 84),
    (196, 140, 48),
    (116, 32, 60),
)
CLOTHES: tuple[Colour, ...] = ((200, 60, 40), (40, 90, 170), (60, 60, 64), (226, 178, 44), (36, 122, 90))

# Sizes of common vehicles; cross sections of the order that automotive measurements at 24-79 GHz report.
KINDS: dict[str, Kind] = {
    'car': Kind((4.4, 1.8, 1.5), 10.0, PAINTS),
    'van': Kind((5.2, 2.0, 2.2), 15.0, PAINTS),
    'pedestrian': Kind((0.5, 0.6, 1.75), 0.5, CLOTHES),
    'cyclist': Kind((1.8, 0.6, 1.75), 1.5, CLOTHES),
}
KindName = Literal['car', 'van', 'pedestrian', 'cyclist']


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True)
class Mast:
    """Where the radar stands and how strong it is.

    Attributes:
        height: m of the radar above the ground.
        field_of_view_deg: full horizontal sector in which targets count as in the radar's view.
        reference_snr_db: signal-to-noise ratio of one sample of the cube (one symbol or chirp, one channel, one
            subcarrier or ADC sample) for 10 m^2 at 30 m on boresight; coherent integration adds 10 log10 of the cube's
            size.
    """

    height: float = 4.0
    field_of_view_deg: float = 120.0
    reference_snr_db: float = -10.0

    def __post_init__(self) -> None:
        """Check the values."""
        _expect(self.height > 0, f'height: expected more than 0 m, got {self.height}')
        _expect(
            0 < self.field_of_view_deg <= 180,
            f'field_of_view_deg: expected more than 0 and at most 180, got {self.field_of_view_deg}',
        )


@dataclass(frozen=True)
class CameraMount:
    """A pinhole camera on the mast.

    Attributes:
        width, height: px.
        focal_length: px.
        offset: m from the radar to the camera, in the radar frame.
        pitch_deg: below the horizon.
        yaw_deg: anticlockwise from x.
    """

    width: int = 640
    height: int = 480
    focal_length: float = 520.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.25)
    pitch_deg: float = 10.0
    yaw_deg: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('width', 'height'):
            _expect(getattr(self, name) >= 16, f'{name}: expected at least 16 px, got {getattr(self, name)}')
        _expect(self.focal_length > 0, f'focal_length: expected more than 0 px, got {self.focal_length}')
        _expect(-90 < self.pitch_deg < 90, f'pitch_deg: expected between -90 and 90, got {self.pitch_deg}')


@dataclass(frozen=True)
class Ground:
    """Asphalt.

    Attributes:
        x, y: m, extent of the ground clutter in the scene frame.
        rcs_db_per_m2: mean cross section per area.
    """

    x: tuple[float, float] = (4.0, 45.0)
    y: tuple[float, float] = (-20.0, 20.0)
    rcs_db_per_m2: float = -35.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('x', 'y'):
            lower, upper = getattr(self, name)
            _expect(lower < upper, f'{name}: expected an ascending pair of metres, got [{lower}, {upper}]')


@dataclass(frozen=True)
class Wall:
    """A straight wall.

    Attributes:
        start, end: m, scene frame.
        height: m.
        rcs_db_per_m2: mean cross section per area of its face.
    """

    start: Point
    end: Point
    height: float = 3.0
    rcs_db_per_m2: float = -12.0

    def __post_init__(self) -> None:
        """Check the values."""
        _expect(self.start != self.end, f'end: expected another point than start {list(self.start)}')
        _expect(self.height > 0, f'height: expected more than 0 m, got {self.height}')


@dataclass(frozen=True)
class Pole:
    """A pole, or a lamp post.

    Attributes:
        position: m, scene frame.
        height, diameter: m.
        rcs: m^2 in all.
        lamp: draw a lamp on top.
    """

    position: Point
    height: float = 4.0
    diameter: float = 0.16
    rcs: float = 1.0
    lamp: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('height', 'diameter', 'rcs'):
            _expect(getattr(self, name) > 0, f'{name}: expected more than 0, got {getattr(self, name)}')


@dataclass(frozen=True)
class ParkedRow:
    """Parking bays in a row; which are taken, and by what, is drawn by seed.

    Attributes:
        start, end: m, scene frame, centre of the first bay and limit of the last.
        spacing: m between the centres of neighbours.
        heading_deg: of the parked vehicles, anticlockwise from x; half of them stand the other way round.
        occupancy: probability that a bay is taken.
        kinds: drawn with equal probability (name one twice to make it likelier).
    """

    start: Point
    end: Point
    spacing: float = 2.8
    heading_deg: float = 90.0
    occupancy: float = 0.8
    kinds: tuple[KindName, ...] = ('car', 'car', 'car', 'van')

    def __post_init__(self) -> None:
        """Check the values."""
        _expect(self.spacing >= 1, f'spacing: expected at least 1 m, got {self.spacing}')
        _expect(0 <= self.occupancy <= 1, f'occupancy: expected a probability in [0, 1], got {self.occupancy}')
        _expect(len(self.kinds) > 0, 'kinds: expected at least one')


@dataclass(frozen=True)
class Mover:
    """A target and its path; the start on the path, small shifts of it and the exact speed are drawn by seed.

    Attributes:
        kind: of object.
        path: waypoints, m, scene frame; a smooth curve passes through them. A constant velocity is two waypoints.
        speed: m/s, mean; each seed varies it by up to 15 %.
        motion: 'loop': round and round a closed path; 'shuttle': there and back; 'reenter': from the first to the last
            waypoint, gone for `pause` seconds, and again.
        pause: s absent ('reenter') or turning round at each end ('shuttle').
        jitter: m, largest shift of each waypoint in x and y.
    """

    kind: KindName
    path: tuple[Point, ...]
    speed: float
    motion: Literal['loop', 'shuttle', 'reenter'] = 'loop'
    pause: float = 0.0
    jitter: float = 0.3

    def __post_init__(self) -> None:
        """Check the values."""
        least = 3 if self.motion == 'loop' else 2
        _expect(
            len(self.path) >= least,
            f'path: expected at least {least} waypoints for a {self.motion}, got {len(self.path)}',
        )
        steps = zip(self.path, self.path[1:] + self.path[:1] if self.motion == 'loop' else self.path[1:], strict=False)
        _expect(
            all(math.dist(a, b) > 2 * math.sqrt(2) * self.jitter for a, b in steps),
            f'path: expected neighbouring waypoints farther apart than the jitter of {self.jitter} m can close',
        )
        _expect(self.speed > 0, f'speed: expected more than 0 m/s, got {self.speed}')
        _expect(self.pause >= 0, f'pause: expected at least 0 s, got {self.pause}')
        _expect(self.motion != 'loop' or self.pause == 0, f'pause: a loop does not pause, got {self.pause} s')
        _expect(self.jitter >= 0, f'jitter: expected at least 0 m, got {self.jitter}')


@dataclass(frozen=True)
class Scene:
    """The description of one scene.

    Attributes:
        name: of the file.
        description: one line for people.
        mast, camera, ground: the sensors' place and the floor.
        walls, poles, parked: clutter that stands still.
        movers: targets.
        movers_present: least and most movers of one seed; which of them is drawn by seed.
    """

    name: str
    movers: tuple[Mover, ...]
    description: str = ''
    mast: Mast = Mast()
    camera: CameraMount = CameraMount()
    ground: Ground = Ground()
    walls: tuple[Wall, ...] = ()
    poles: tuple[Pole, ...] = ()
    parked: tuple[ParkedRow, ...] = ()
    movers_present: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        least, most = self.presence
        _expect(
            0 <= least <= most <= len(self.movers),
            f'movers_present: expected 0 <= least <= most <= {len(self.movers)} movers, got [{least}, {most}]',
        )

    @property
    def presence(self) -> tuple[int, int]:
        """Least and most movers of one seed; all of them unless the scene says otherwise."""
        return self.movers_present or (len(self.movers), len(self.movers))


def scene_names() -> list[str]:
    """Names of the scenes that ship with the package."""
    return sorted(path.stem for path in share_path('config', 'scenes').glob('*.yaml'))


def load_scene(name_or_path: str | Path) -> Scene:
    """Reads a scene.

    Args:
        name_or_path: name of a shipped scene ('parking_lot') or path of a YAML file.

    Raises:
        FileNotFoundError: no such file; the message lists the shipped scenes.
        SceneError: an unknown or missing field, or a value of the wrong type or out of range.
    """
    path = Path(name_or_path)
    if path.suffix not in ('.yaml', '.yml') and not path.is_file():
        path = share_path('config', 'scenes') / f'{name_or_path}.yaml'
    if not path.is_file():
        raise FileNotFoundError(
            f'scene {name_or_path}: no file {path}; the shipped scenes are {", ".join(scene_names())}'
        )
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SceneError(f'{path}: not a YAML file: {error}') from error
    if isinstance(content, dict):
        content = {'name': path.stem, **content}
    return _read(Scene, content, str(path), '')


def _read(kind: Any, value: Any, file: str, field: str) -> Any:
    """Turns plain YAML data into the type that a field asks for.

    Raises:
        SceneError: what does not fit, with its place in the file.
    """

    def wrong(expected: str) -> SceneError:
        return SceneError(f'{file}: {field or "content"}: expected {expected}, got {value!r}')

    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, dict):
            raise wrong('a mapping of fields')
        prefix = f'{field}.' if field else ''
        hints = typing.get_type_hints(kind)
        for key in value:
            if key not in hints:
                raise SceneError(f'{file}: {prefix}{key}: unknown field; expected one of {", ".join(hints)}')
        for entry in fields(kind):
            if entry.name not in value and entry.default is MISSING:
                raise SceneError(
                    f'{file}: {prefix}{entry.name}: missing; got only {", ".join(map(str, value)) or "nothing"}'
                )
        content = {key: _read(hints[key], item, file, prefix + key) for key, item in value.items()}
        try:
            return kind(**content)
        except ValueError as error:
            raise SceneError(f'{file}: {prefix}{error}') from error
    if origin in (typing.Union, types.UnionType):
        return _read(arguments[0], value, file, field)
    if origin is Literal:
        if value not in arguments:
            raise wrong(f'one of {", ".join(arguments)}')
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise wrong('a list')
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        elif len(arguments) != len(value):
            raise wrong(f'a list of {len(arguments)}')
        places = (f'{field}[{index}]' for index in range(len(value)))
        return tuple(_read(*entry) for entry in zip(arguments, value, [file] * len(value), places, strict=True))
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise wrong('a finite number')
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise wrong({int: 'a whole number', str: 'a text', bool: 'true or false'}[kind])
    return value


@dataclass(frozen=True)
class Pose:
    """Place and motion of an object on the ground at one time, scene frame.

    Attributes:
        x, y: m, centre of the footprint.
        heading: rad, anticlockwise from x.
        speed: m/s along the heading.
        yaw_rate: rad/s.
    """

    x: float
    y: float
    heading: float
    speed: float = 0.0
    yaw_rate: float = 0.0

    @property
    def velocity(self) -> tuple[float, float, float]:
        """m/s, scene (and radar) frame."""
        return self.speed * math.cos(self.heading), self.speed * math.sin(self.heading), 0.0


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
        return Pose(float(x), float(y), heading, self.speed, float(-curvature if back else curvature) * self.speed)

    def _turning(self, back: bool, share: float) -> Pose:
        """Half a turn on the spot at an end of the path."""
        end = self._on_path(0.0 if back else self.length, back)
        heading = math.remainder(end.heading + math.pi * share, 2 * math.pi)
        return Pose(end.x, end.y, heading, 0.0, math.pi / self.pause)


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
