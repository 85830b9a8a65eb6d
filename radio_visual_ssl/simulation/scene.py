# SPDX-License-Identifier: Apache-2.0
"""Descriptions of scenes: where the sensors are, clutter that stands still and targets that move; read from YAML.

The scene frame has its origin on the ground below the mast: x forward, y left, z up. The radar frame (REP-103) is the
same frame lifted to the radar's height. A `Scene` leaves much open, which a seed draws: see `layout.lay_out`.
"""

import math
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from radio_visual_ssl.config_file import config_file, config_names, one_of, read_mapping
from radio_visual_ssl.overrides import overridden, with_overrides
from radio_visual_ssl.simulation.kinds import KindName, Material

Point = tuple[float, float]


class SceneError(ValueError):
    """A scene file that cannot be used; the message names the file, the field, the value got and what was expected."""


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _expect_ascending(name: str, values: tuple[float, float], least: float, most: float, unit: str) -> None:
    """Refuse a pair that does not ascend (equal is allowed) or leaves [least, most]."""
    lower, upper = values
    _expect(
        least <= lower <= upper <= most,
        f'{name}: expected an ascending pair in [{least:g}, {most:g}] {unit}, got [{lower}, {upper}]',
    )


@dataclass(frozen=True)
class Mast:
    """Where the radar stands, on a mast or on the ego vehicle, and how strong it is.

    Attributes:
        height: m of the radar above the ground.
        field_of_view_deg: full horizontal sector in which targets count as in the radar's view.
        reference_snr_db: signal-to-noise ratio of one sample of the cube (one symbol or chirp, one channel, one
            subcarrier or ADC sample) for 10 m^2 at 30 m on boresight; coherent integration adds 10 log10 of the cube's
            size. None: what the link budget of the radar's profile says.
    """

    height: float = 4.0
    field_of_view_deg: float = 120.0
    reference_snr_db: float | None = None

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
        shift: m, largest distance from the offset at which a seed mounts it.
        turn_deg: largest angle by which a seed turns it away from pitch and yaw.
    """

    width: int = 640
    height: int = 480
    focal_length: float = 520.0
    offset: tuple[float, float, float] = (0.0, 0.0, 0.25)
    pitch_deg: float = 10.0
    yaw_deg: float = 0.0
    shift: float = 0.0
    turn_deg: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('width', 'height'):
            _expect(getattr(self, name) >= 16, f'{name}: expected at least 16 px, got {getattr(self, name)}')
        _expect(self.focal_length > 0, f'focal_length: expected more than 0 px, got {self.focal_length}')
        _expect(-90 < self.pitch_deg < 90, f'pitch_deg: expected between -90 and 90, got {self.pitch_deg}')
        _expect(0 <= self.shift <= 10, f'shift: expected from 0 to 10 m, got {self.shift}')
        most = 90 - abs(self.pitch_deg)
        _expect(
            0 <= self.turn_deg < most,
            f'turn_deg: expected from 0 to below {most:g}, where it would look up or down, got {self.turn_deg}',
        )


@dataclass(frozen=True)
class Ground:
    """The floor.

    Attributes:
        x, y: m, extent of the ground clutter, in the scene frame (ahead of a moving ego vehicle: seen from it).
        rcs_db_per_m2: mean cross section per area.
        reflection: amplitude of the mirror image that smooth ground shows (ground bounce), in [-1, 1]; 0 = none.
        surface: what the camera sees: a 'lot' (asphalt with painted bays), a 'street' along x, a 'hall' (concrete).
        carriageway: m, half the width of the street's asphalt; beyond are kerb and pavement.
    """

    x: tuple[float, float] = (4.0, 45.0)
    y: tuple[float, float] = (-20.0, 20.0)
    rcs_db_per_m2: float = -35.0
    reflection: float = 0.0
    surface: Literal['lot', 'street', 'hall'] = 'lot'
    carriageway: float = 6.4

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('x', 'y'):
            lower, upper = getattr(self, name)
            _expect(lower < upper, f'{name}: expected an ascending pair of metres, got [{lower}, {upper}]')
        _expect(-1 <= self.reflection <= 1, f'reflection: expected at most 1 either way, got {self.reflection}')
        _expect(self.carriageway > 0, f'carriageway: expected more than 0 m, got {self.carriageway}')


@dataclass(frozen=True)
class Lighting:
    """Time of day, weather, and the lamps of a hall; the seed draws from the ranges.

    Attributes:
        hours: earliest and latest time of day; the sun is up from 6 to 18, before and after the lamp posts are on.
        overcast: probability of a clouded sky.
        fog: probability of fog.
        fog_visibility: m, range of the distance at which fog leaves 5 % of the contrast (meteorological visibility).
        ceiling: m, height of the ceiling of a hall with lamps of its own, where neither sun nor fog come; None = sky.
    """

    hours: tuple[float, float] = (13.0, 13.0)
    overcast: float = 0.0
    fog: float = 0.0
    fog_visibility: tuple[float, float] = (40.0, 160.0)
    ceiling: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        _expect_ascending('hours', self.hours, 0.0, 24.0, 'h')
        _expect_ascending('fog_visibility', self.fog_visibility, 5.0, 10_000.0, 'm')
        for name in ('overcast', 'fog'):
            _expect(0 <= getattr(self, name) <= 1, f'{name}: expected a probability, got {getattr(self, name)}')
        _expect(self.ceiling is None or self.ceiling > 0, f'ceiling: expected more than 0 m, got {self.ceiling}')


@dataclass(frozen=True)
class Wall:
    """A straight wall.

    Attributes:
        start, end: m, scene frame.
        height: m.
        rcs_db_per_m2: mean cross section per area of its face, in concrete.
        materials: one is drawn.
    """

    start: Point
    end: Point
    height: float = 3.0
    rcs_db_per_m2: float = -12.0
    materials: tuple[Material, ...] = ('concrete',)

    def __post_init__(self) -> None:
        """Check the values."""
        _expect(self.start != self.end, f'end: expected another point than start {list(self.start)}')
        _expect(self.height > 0, f'height: expected more than 0 m, got {self.height}')
        _expect(len(self.materials) > 0, 'materials: expected at least one')


@dataclass(frozen=True)
class Block:
    """A box on the ground that stands still: a building, shelves, a pillar or a crate.

    Attributes:
        kind: what it looks like.
        position: m, centre of the footprint, scene frame.
        size: (length, width, height), m.
        heading_deg: of its length, anticlockwise from x.
        rcs_db_per_m2: mean cross section per area of the two larger sides, in concrete.
        materials: one is drawn.
        presence: probability that it is there.
        jitter: m, largest shift in x and y.
    """

    kind: Literal['building', 'shelf', 'pillar', 'crate']
    position: Point
    size: tuple[float, float, float]
    heading_deg: float = 0.0
    rcs_db_per_m2: float = -12.0
    materials: tuple[Material, ...] = ('concrete',)
    presence: float = 1.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        _expect(min(self.size) > 0, f'size: expected more than 0 m, got {list(self.size)}')
        _expect(0 <= self.presence <= 1, f'presence: expected a probability in [0, 1], got {self.presence}')
        _expect(self.jitter >= 0, f'jitter: expected at least 0 m, got {self.jitter}')
        _expect(len(self.materials) > 0, 'materials: expected at least one')


@dataclass(frozen=True)
class Tree:
    """A tree.

    Attributes:
        position: m, scene frame.
        height: m, mean; each seed varies it by up to 20 %.
        crown: m, diameter of the crown.
        rcs: m^2 in all.
    """

    position: Point
    height: float = 6.0
    crown: float = 3.0
    rcs: float = 2.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('height', 'crown', 'rcs'):
            _expect(getattr(self, name) > 0, f'{name}: expected more than 0, got {getattr(self, name)}')


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
            Empty with `ahead`.
        speed: m/s, mean; each seed varies it by up to 15 %.
        motion: 'loop': round and round a closed path; 'shuttle': there and back; 'reenter': from the first to the last
            waypoint, gone for `pause` seconds, and again.
        pause: s absent ('reenter') or turning round at each end ('shuttle').
        jitter: m, largest shift of each waypoint in x and y.
        one_way: never walk the path from its last waypoint to its first, which half of the seeds do otherwise.
        variants: kinds that are drawn instead, as likely as `kind`.
        ahead: m, range of the distance at which it drives in front of the ego vehicle, on the same path and as fast.
    """

    kind: KindName
    path: tuple[Point, ...] = ()
    speed: float = 0.0
    motion: Literal['loop', 'shuttle', 'reenter'] = 'loop'
    pause: float = 0.0
    jitter: float = 0.3
    one_way: bool = False
    variants: tuple[KindName, ...] = ()
    ahead: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        _expect(self.jitter >= 0, f'jitter: expected at least 0 m, got {self.jitter}')
        if self.ahead is not None:
            _expect(not self.path, f'path: expected none with ahead, got {len(self.path)} waypoints')
            _expect_ascending('ahead', self.ahead, 1.0, 200.0, 'm')
            return
        least = 3 if self.motion == 'loop' else 2
        _expect(
            len(self.path) >= least,
            f'path: expected at least {least} waypoints for a {self.motion}, got {len(self.path)}',
        )
        _expect(
            all(math.dist(a, b) > 2 * math.sqrt(2) * self.jitter for a, b in _steps(self.path, self.motion == 'loop')),
            f'path: expected neighbouring waypoints farther apart than the jitter of {self.jitter} m can close',
        )
        _expect(self.speed > 0, f'speed: expected more than 0 m/s, got {self.speed}')
        _expect(self.pause >= 0, f'pause: expected at least 0 s, got {self.pause}')
        _expect(self.motion != 'loop' or self.pause == 0, f'pause: a loop does not pause, got {self.pause} s')


@dataclass(frozen=True)
class Ego:
    """The vehicle that carries the sensors, at the origin of their frame; at the end of its path it starts over.

    Attributes:
        path: waypoints, m, scene frame.
        speed: m/s, mean; each seed varies it by up to 15 %.
        start: range of the share of the path that lies behind it at time 0, in [0, 1].
    """

    path: tuple[Point, ...]
    speed: float
    start: tuple[float, float] = (0.0, 0.5)

    def __post_init__(self) -> None:
        """Check the values."""
        _expect(len(self.path) >= 2, f'path: expected at least 2 waypoints, got {len(self.path)}')
        _expect(all(a != b for a, b in _steps(self.path, False)), 'path: expected neighbouring waypoints that differ')
        _expect(self.speed > 0, f'speed: expected more than 0 m/s, got {self.speed}')
        _expect_ascending('start', self.start, 0.0, 1.0, 'of the path')


def _steps(path: tuple[Point, ...], closed: bool) -> list[tuple[Point, Point]]:
    """Neighbouring waypoints."""
    return list(zip(path, path[1:] + path[:1] if closed else path[1:], strict=False))


@dataclass(frozen=True)
class Scene:
    """The description of one scene.

    Attributes:
        name: of the file.
        description: one line for people.
        mast, camera, ground: the sensors' place and the floor.
        lighting: time of day and weather.
        ego: the vehicle that carries the sensors; None = a mast at the origin, looking along x.
        walls, poles, parked, blocks, trees: clutter that stands still.
        movers: targets.
        movers_present: least and most movers of one seed; which of them is drawn by seed.
    """

    name: str
    movers: tuple[Mover, ...]
    description: str = ''
    mast: Mast = Mast()
    camera: CameraMount = CameraMount()
    ground: Ground = Ground()
    lighting: Lighting = Lighting()
    ego: Ego | None = None
    walls: tuple[Wall, ...] = ()
    poles: tuple[Pole, ...] = ()
    parked: tuple[ParkedRow, ...] = ()
    blocks: tuple[Block, ...] = ()
    trees: tuple[Tree, ...] = ()
    movers_present: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        lowest = self.mast.height + self.camera.offset[2] - self.camera.shift
        _expect(lowest > 0, f'camera.shift: expected a camera above the ground, got one down to {lowest:.2f} m')
        least, most = self.presence
        _expect(
            0 <= least <= most <= len(self.movers),
            f'movers_present: expected 0 <= least <= most <= {len(self.movers)} movers, got [{least}, {most}]',
        )
        _expect(
            self.ego is not None or all(mover.ahead is None for mover in self.movers),
            'movers: expected an ego vehicle for those with ahead, got none',
        )

    @property
    def presence(self) -> tuple[int, int]:
        """Least and most movers of one seed; all of them unless the scene says otherwise."""
        return self.movers_present or (len(self.movers), len(self.movers))


def scene_names() -> list[str]:
    """Names of the scenes that ship with the package."""
    return config_names('scenes')


def load_scene(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Scene:
    """Reads a scene.

    Args:
        name_or_path: name of a shipped scene ('parking_lot') or path of a YAML file.
        overrides: values that replace those of the file, each ``name.of.field=value``.

    Raises:
        FileNotFoundError: no such file; the message lists the shipped scenes.
        SceneError: an unknown or missing field, or a value of the wrong type or out of range.
    """
    path = config_file(name_or_path, 'scenes')
    content = {'name': path.stem, **read_mapping(path, SceneError)}
    try:
        content = overridden(content, overrides)
    except ValueError as error:
        raise SceneError(f'{path}: {error}') from error
    return _read(Scene, content, with_overrides(str(path), overrides), '')


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
                raise SceneError(f'{file}: {prefix}{key}: {one_of(hints, key)}')
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
        return None if value is None else _read(arguments[0], value, file, field)
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
