# SPDX-License-Identifier: Apache-2.0
"""The ray-traced back end for the radar: cubes of a layout from paths that Sionna RT finds in it.

Rays go out in all directions; every surface that one meets scatters it (Lambert), and where the radar is in sight of
the spot there is a path back. From a path's vertices follow the exact delays of every antenna pair and time.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.profile import RadarProfile
from radio_visual_ssl.simulation.boxes import rotated
from radio_visual_ssl.simulation.layout import Body, Layout
from radio_visual_ssl.simulation.path_tracer import GONE, Occluders, Part, PathTracer, TracedPaths
from radio_visual_ssl.simulation.radio_materials import (
    directivity,
    ground_coefficient,
    permittivity,
    scattering_coefficient,
)
from radio_visual_ssl.simulation.receiver import Receiver, Samples
from radio_visual_ssl.simulation.scatterers import REFERENCE_RANGE, REFERENCE_RCS
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.simulation.triangles import Triangles

RAYS = 4_000_000  # 1 per 1.8 mm^2 at 1 m: a person at 40 m gets about 200
EGO_CLUTTER_RAYS = 1_000_000
ENOUGH_PATHS = 50  # to a visible target; with fewer, its echo is a matter of luck
KEPT = {'mast': 40_000, 'ego': 3_000, 'mover': 1_500}  # paths that are left of what does not move, and of each target
MIRRORS = ('wall', 'building')  # flat and large enough to reflect like mirrors
GROUND = 'ground'
_STEP = 1e-3  # m that limbs are walked on to see how fast they swing


@dataclass(frozen=True, eq=False)
class Echoes:
    """Paths as the channel wants them, in the radar frame.

    Attributes:
        out, back: (K, 3) m, where the transmitters and the receivers see the scatterer: itself or a mirror image.
        velocity_out, velocity_back: (K, 3) m/s, of these.
        amplitude: (K,) complex64, in the units of `Receiver.gain`.
        body: (K,) number of the scatterer; 0 = ground.
        first: (K, 3) m, the first spot on the way, which goes on to `back` where that is another one; `out` is then as
            far off as the way is long, in the direction of the first.
    """

    out: NDArray[np.float64]
    back: NDArray[np.float64]
    velocity_out: NDArray[np.float64]
    velocity_back: NDArray[np.float64]
    amplitude: NDArray[np.complex64]
    body: NDArray[np.int64]
    first: NDArray[np.float64]

    def chosen(self, index: NDArray) -> 'Echoes':
        """Some of the paths."""
        return Echoes(*(part[index] for part in vars(self).values()))


class RaytracedChannel:
    """Makes the cubes of a layout.

    From a mast, what stands still is traced once; of it only what the movers hide is taken away in each frame. The
    movers are traced in every frame, also by way of walls that mirror them. From an ego vehicle all is traced in
    every frame.

    Args:
        layout: of the scene.
        profile: of the radar.
        rays: sent out for the movers of each frame, and for what stands still.
        device: that sums the echoes: cpu, or a torch device such as cuda.

    Attributes:
        mover_tracer: of what moves among what stands still; None where nothing moves.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """

    def __init__(self, layout: Layout, profile: RadarProfile, rays: int = RAYS, device: str = 'cpu') -> None:
        self._layout, self._rays = layout, rays
        self._receiver = Receiver(layout, profile, device)
        self._height = layout.scene.mast.height
        self._frequency = profile.waveform.centre_frequency
        # amplitude of the path to REFERENCE_RCS at REFERENCE_RANGE between isotropic antennas
        self._reference = profile.wavelength * math.sqrt(REFERENCE_RCS) / ((4 * math.pi) ** 1.5 * REFERENCE_RANGE**2)
        self._movers = {body.number: body for body, _ in layout.movers if body.kind != 'reflector'}
        self._reflectors = [body for body, _ in layout.movers if body.kind == 'reflector']
        self._shapes = {number: Triangles.of(body) for number, body in self._movers.items()}
        self._coefficients = {0: self._ground_coefficient()}
        standing = self._standing_parts()
        moving = [self._mover_part(body, 'absorbs') for body in self._movers.values()] if layout.ego else []
        self._clutter_parts = [*standing, *moving]
        self._clutter_tracer = PathTracer(self._clutter_parts, self._frequency)
        self._mover_parts = [
            *(self._mover_part(body, 'scatters') for body in self._movers.values()),
            *(self._obstacle(part) for part in standing),
        ]
        self.mover_tracer = (
            PathTracer(self._mover_parts, self._frequency, [body.rcs for body in self._reflectors])
            if layout.movers
            else None
        )
        if layout.ego is None:
            self._clutter = self._trace_clutter(0.0, KEPT['mast'], rays)
            self._clutter_cube = self.response(self._clutter, moving=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slow_time, virtual_channel, fast_time) of a cube."""
        return self._receiver.channel.shape

    def cube(self, time: float) -> Samples:
        """Raw samples of the frame that begins at a time in s.

        Over the frame every point moves with constant velocity. The thermal noise has variance 1 before the
        calibration's factors are divided out; the same time gives the same cube.

        Returns:
            (slow_time, virtual_channel, fast_time) complex64, or float32 where the waveform's samples are real.
        """
        return self.cube_and_counts(time)[0]

    def cube_and_counts(self, time: float) -> tuple[Samples, dict[int, int]]:
        """The cube, and how many paths lead to each mover that is present (1 for a point reflector in sight)."""
        movers, counts = self.mover_echoes(time)
        echoes = [self.response(movers)]
        if self._layout.ego is None:
            echoes.append(self._clutter_cube)
            if counts:
                echoes.append(self._shadow(time))
        else:
            echoes.append(self.response(self._trace_clutter(time, KEPT['ego'], EGO_CLUTTER_RAYS)))
        return self._receiver.samples(echoes, time), counts

    def _ground_coefficient(self) -> float:
        ground = self._layout.scene.ground
        rcs_per_area = 10 ** (ground.rcs_db_per_m2 / 10)
        return ground_coefficient(rcs_per_area, self._height, ground.x, ground.y, self._frequency)

    def _standing_parts(self) -> list[Part]:
        """What stands still, one part for each material, those that mirror apart; and the ground."""
        groups: dict[tuple[str, bool, int], list[Triangles]] = {}
        for body, pose in self._layout.static:
            surface = Triangles.of(body)
            self._coefficients[body.number] = scattering_coefficient(body, surface, self._frequency)
            group = (body.material, body.kind in MIRRORS, directivity(body.kind))
            groups.setdefault(group, []).append(surface.placed(pose))
        parts = [
            Part(
                f'{material}-{lobe}-{"mirror" if mirror else "rough"}',
                Triangles.join(surfaces),
                *permittivity(material, self._frequency),
                directivity=lobe,
            )
            for (material, mirror, lobe), surfaces in sorted(groups.items())
        ]
        return [*parts, Part(GROUND, self._ground_surface(), *permittivity('asphalt', self._frequency))]

    def _ground_surface(self) -> Triangles:
        """The ground clutter of the description; below an ego vehicle all along its way."""
        ground, (x0, x1) = self._layout.scene.ground, self._layout.scene.ground.x
        if self._layout.scene.ego is not None:
            way = np.array(self._layout.scene.ego.path)[:, 0]
            x0, x1 = float(way.min()) + min(x0, 0.0), float(way.max()) + x1
        corners = [(x, y, 0.0) for x, y in ((x0, ground.y[0]), (x1, ground.y[0]), (x1, ground.y[1]), (x0, ground.y[1]))]
        return Triangles.quad(np.array(corners), (98.0, 99.0, 102.0))

    def _mover_part(self, body: Body, role: str) -> Part:
        shape = self._shapes[body.number]
        self._coefficients[body.number] = scattering_coefficient(body, shape, self._frequency)
        return Part(
            f'mover-{body.number}', shape, *permittivity(body.material, self._frequency), role, directivity(body.kind)
        )

    def _obstacle(self, part: Part) -> Part:
        """What a standing part is for the echoes of movers."""
        if part.name == GROUND:
            return replace(part, role='reflected' if self._layout.scene.ground.reflection != 0 else 'absorbs')
        return replace(part, role='reflected' if part.name.endswith('-mirror') else 'absorbs')

    def _scene_poses(self, time: float) -> dict[int, Pose | None]:
        return {body.number: trajectory.pose(time) for body, trajectory in self._layout.movers}

    def _radar(self, time: float) -> tuple[Pose, NDArray[np.float64]]:
        """The sensors' pose, and the radar's place in the scene frame."""
        sensors = self._layout.sensors(time)
        return sensors, np.array([sensors.x, sensors.y, self._height])

    def _surfaces(self, time: float) -> dict[int, Triangles]:
        """The movers that are present as they stand at a time, scene frame."""
        poses = self._scene_poses(time)
        return {
            number: Triangles.of(body, pose.walked).placed(pose)
            for number, body in self._movers.items()
            if (pose := poses[number]) is not None
        }

    def _place(self, tracer: PathTracer, surfaces: dict[int, Triangles]) -> None:
        tracer.move(
            {f'mover-{number}': surfaces[number].points if number in surfaces else None for number in self._movers}
        )

    def mover_echoes(self, time: float) -> tuple[Echoes, dict[int, int]]:
        """Echoes of the movers, and the number of paths to each that is present."""
        poses = self._scene_poses(time)
        if self.mover_tracer is None or all(pose is None for pose in poses.values()):
            return _NOTHING, {}
        _, place = self._radar(time)
        surfaces = self._surfaces(time)
        counts = dict.fromkeys(surfaces, 0)
        parts = [_NOTHING]
        if self._movers:
            self._place(self.mover_tracer, surfaces)
        if surfaces:
            mirrors = any(part.role == 'reflected' for part in self._mover_parts)
            traced = self.mover_tracer.paths(place, self._rays, 1 + mirrors, mirrors)
            for number in surfaces:
                own = self._of_mover(traced, number)
                counts[number] = int(np.sum(own.part[1] < 0))
                kept, scale = _thinned(np.abs(own.amplitude), own.vertices[0], KEPT['mover'], self._layout.seed)
                parts += self._mover_echoes(own.chosen(kept), scale, number, surfaces[number], time)
        if self._reflectors:
            parts.append(self._reflector_echoes(place, time))
            counts |= dict.fromkeys(parts[-1].body.tolist(), 1)
        return _joined(parts), counts

    def _of_mover(self, traced: TracedPaths, number: int) -> TracedPaths:
        """Paths that a mover scatters right back, or that reach it by one mirror."""
        index = next(place for place, part in enumerate(self._mover_parts) if part.name == f'mover-{number}')
        mirrors = [place for place, part in enumerate(self._mover_parts) if part.role == 'reflected']
        direct = (traced.part[0] == index) & (traced.part[1] < 0)
        mirrored = (traced.part[1] == index) & np.isin(traced.part[0], mirrors)
        return traced.chosen(np.flatnonzero(direct | mirrored))

    def _mover_echoes(
        self, traced: TracedPaths, scale: NDArray[np.float64], number: int, surface: Triangles, time: float
    ) -> list[Echoes]:
        """A mover's paths as echoes; those by way of a mirror both ways round."""
        sensors, _ = self._radar(time)
        mirrored = traced.part[1] >= 0
        spot = np.where(mirrored[:, None], traced.vertices[1], traced.vertices[0])
        face = np.where(mirrored, traced.face[1], traced.face[0])
        velocity = self._velocities(spot, face, surface, number, time)
        amplitude = np.abs(traced.amplitude) * scale * self._coefficients[number]
        position = self._seen(spot, sensors)
        phase = _phases(spot, self._layout.seed)
        direct = self._echoes(position, position, velocity, velocity, amplitude, phase, number).chosen(~mirrored)
        if not np.any(mirrored):
            return [direct]
        normal, foot, share = self._mirrors(traced.part[0, mirrored], traced.face[0, mirrored])
        image = spot[mirrored] - 2 * np.sum((spot[mirrored] - foot) * normal, axis=1, keepdims=True) * normal
        turned = rotated(normal, -sensors.heading)
        moving = velocity[mirrored] + self._own_motion(position[mirrored], time)
        reflected = moving - 2 * np.sum(moving * turned, axis=1, keepdims=True) * turned
        there = self._seen(image, sensors)
        reflected -= self._own_motion(there, time)
        both = (amplitude[mirrored] * share, phase[mirrored], number)
        outward = self._echoes(there, position[mirrored], reflected, velocity[mirrored], *both)
        homeward = self._echoes(position[mirrored], there, velocity[mirrored], reflected, *both)
        return [direct, outward, homeward]

    def _mirrors(
        self, part: NDArray[np.int64], face: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Normals (K, 3), points (K, 3) and reflected share of the amplitude (K,) of mirroring faces."""
        normal, foot, share = np.zeros((len(part), 3)), np.zeros((len(part), 3)), np.zeros(len(part))
        for index in np.unique(part):
            own, surface = part == index, self._mover_parts[index].surface
            normal[own] = surface.normals[face[own]]
            foot[own] = surface.corners[face[own], 0]
            scattered = np.array([self._coefficients[number] for number in surface.owner[face[own]].tolist()])
            share[own] = np.sqrt(np.maximum(1 - scattered**2, 0.0))
        return normal, foot, share

    def _reflector_echoes(self, place: NDArray[np.float64], time: float) -> Echoes:
        """Echoes of the point reflectors that are present and in sight."""
        poses, sensors = self._scene_poses(time), self._layout.sensors(time)
        points = np.array(
            [
                (0.0, 0.0, GONE) if (pose := poses[body.number]) is None else (pose.x, pose.y, body.size[2])
                for body in self._reflectors
            ]
        )
        velocity = np.array(
            [
                (0.0, 0.0, 0.0) if (pose := poses[body.number]) is None else pose.seen_from(sensors).velocity
                for body in self._reflectors
            ]
        )
        assert self.mover_tracer is not None
        amplitude = self.mover_tracer.reflections(place, points)
        position, number = self._seen(points, sensors), np.array([body.number for body in self._reflectors])
        echoes = self._echoes(position, position, velocity, velocity, amplitude, np.zeros(len(points)), number)
        return echoes.chosen(np.flatnonzero((amplitude > 0) & (points[:, 2] > 0)))

    def _trace_clutter(self, time: float, keep: int, rays: int) -> Echoes:
        """Echoes of what stands still; the movers hide some of it where they are in the scene."""
        sensors, place = self._radar(time)
        depth = 2
        if self._layout.ego is not None:
            self._place(self._clutter_tracer, self._surfaces(time))
            depth = 1
        traced = self._clutter_tracer.paths(place, rays, depth, mirrors=False)
        ground = [part.name for part in self._clutter_parts].index(GROUND)
        # nothing from behind the antennas; from an ego vehicle, the description's ground begins some metres ahead
        nearest = np.where(traced.part[0] == ground, max(self._layout.scene.ground.x[0], 0.0), 0.0)
        traced = traced.chosen(np.flatnonzero(self._seen(traced.vertices[0], sensors)[:, 0] > nearest))
        owners = np.zeros(traced.part.shape, dtype=np.int64)
        coefficient = np.ones(len(traced.amplitude))
        for index, part in enumerate(self._clutter_parts):
            share = np.array([self._coefficients[number] for number in part.surface.owner.tolist()])
            for level in range(len(owners)):
                own = traced.part[level] == index
                owners[level, own] = part.surface.owner[traced.face[level, own]]
                coefficient[own] *= share[traced.face[level, own]]
        kept, scale = _thinned(np.abs(traced.amplitude) * coefficient, traced.vertices[0], keep, self._layout.seed)
        traced, owner = traced.chosen(kept), owners[0, kept]
        amplitude = np.abs(traced.amplitude) * coefficient[kept] * scale
        twice = traced.part[1] >= 0
        last = np.where(twice[:, None], traced.vertices[1], traced.vertices[0])
        first = self._seen(traced.vertices[0], sensors)
        phase = _phases(last, self._layout.seed)
        # the way between two spots lengthens the way out
        between = np.where(twice, np.linalg.norm(traced.vertices[1] - traced.vertices[0], axis=1), 0.0)
        out = first * (1 + between / np.linalg.norm(first, axis=1))[:, None]
        back = self._seen(last, sensors)
        echoes = self._echoes(
            out, back, -self._own_motion(first, time), -self._own_motion(back, time), amplitude, phase, owner
        )
        return replace(echoes, first=first)

    def _shadow(self, time: float) -> NDArray[np.complex64]:
        """What the clutter loses behind the movers, seen from a mast."""
        surfaces = list(self._surfaces(time).values())
        if not surfaces:
            return np.zeros((1, 1, 1), dtype=np.complex64)
        occluders, radar = Occluders(surfaces), np.array([0.0, 0.0, self._height])
        first, last = self._clutter.first + radar, self._clutter.back + radar
        hidden = occluders.between(radar, first) | occluders.between(radar, last)
        twice = np.flatnonzero(np.any(first != last, axis=1))
        hidden[twice] |= occluders.between(first[twice], last[twice])
        lost = self._clutter.chosen(np.flatnonzero(hidden))
        return self.response(replace(lost, amplitude=-lost.amplitude), moving=False)

    def _seen(self, points: NDArray[np.float64], sensors: Pose) -> NDArray[np.float64]:
        """Points (K, 3) of the scene frame in the radar frame."""
        return rotated(points - np.array([sensors.x, sensors.y, self._height]), -sensors.heading)

    def _own_motion(self, positions: NDArray[np.float64], time: float) -> NDArray[np.float64]:
        """(K, 3) m/s at which the radar frame moves over the ground at positions (K, 3) in it."""
        sensors = self._layout.sensors(time)
        motion = rotated(np.array(sensors.velocity), -sensors.heading)
        turning = np.stack([-positions[:, 1], positions[:, 0], np.zeros(len(positions))], axis=1)
        return motion + sensors.yaw_rate * turning

    def _velocities(
        self, spot: NDArray[np.float64], face: NDArray[np.int64], surface: Triangles, number: int, time: float
    ) -> NDArray[np.float64]:
        """(K, 3) m/s in the radar frame of spots (K, 3), scene frame, on faces of a mover: limbs swing."""
        sensors, pose = self._layout.sensors(time), self._scene_poses(time)[number]
        assert pose is not None
        body = self._movers[number]
        ahead = Triangles.of(body, pose.walked + _STEP).points - Triangles.of(body, pose.walked).points
        stride = rotated(ahead, pose.heading) * (pose.speed / _STEP)
        corners = surface.faces[face]
        weights = _barycentric(spot, surface.points[corners])
        limbs = np.sum(weights[:, :, None] * stride[corners], axis=1)
        arm = spot - np.array([pose.x, pose.y, 0.0])
        turning = pose.yaw_rate * np.stack([-arm[:, 1], arm[:, 0], np.zeros(len(arm))], axis=1)
        moving = rotated(limbs + turning + np.array(pose.velocity), -sensors.heading)
        return moving - self._own_motion(self._seen(spot, sensors), time)

    def _echoes(
        self,
        out: NDArray[np.float64],
        back: NDArray[np.float64],
        velocity_out: NDArray[np.float64],
        velocity_back: NDArray[np.float64],
        amplitude: NDArray[np.float64],
        phase: NDArray[np.float64],
        body: NDArray[np.int64] | int,
    ) -> Echoes:
        """Field amplitudes between isotropic antennas as echoes of this radar, with its antennas' pattern."""
        exponent = self._receiver.front_end.pattern_exponent / 2
        pattern = np.ones(len(amplitude))
        for end in (out, back):
            pattern *= np.maximum(end[:, 0] / np.linalg.norm(end, axis=1), 0.0) ** exponent
        level = amplitude * pattern * (self._receiver.gain / self._reference)
        echo = (level * np.exp(1j * phase)).astype(np.complex64)
        owner = np.broadcast_to(np.asarray(body, dtype=np.int64), amplitude.shape)
        return Echoes(out, back, velocity_out, velocity_back, echo, owner, out)

    def response(self, echoes: Echoes, moving: bool = True) -> NDArray[np.complex64]:
        """The noiseless cube."""
        channel = self._receiver.channel
        if not moving:
            return channel.response(echoes.out, echoes.amplitude, None, echoes.back)
        return channel.response(echoes.out, echoes.amplitude, echoes.velocity_out, echoes.back, echoes.velocity_back)


_NOWHERE = np.zeros((0, 3))
_NOTHING = Echoes(
    _NOWHERE, _NOWHERE, _NOWHERE, _NOWHERE, np.zeros(0, dtype=np.complex64), np.zeros(0, dtype=np.int64), _NOWHERE
)


def _joined(parts: list[Echoes]) -> Echoes:
    return Echoes(*(np.concatenate(columns) for columns in zip(*(vars(part).values() for part in parts), strict=True)))


def _draws(spots: NDArray[np.float64], seed: int, stream: int) -> NDArray[np.float64]:
    """(K,) uniform numbers in [0, 1) that depend on nothing but the place: whoever finds a path, draws the same."""
    words = np.ascontiguousarray(spots, dtype=np.float32).view(np.uint32).astype(np.uint64)
    mixed = np.full(len(words), (seed * 2 + stream) & 0xFFFFFFFF, dtype=np.uint64)
    for word in words.T:
        # finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)
        mixed = (mixed ^ word) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _phases(spots: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """(K,) rad: rough surfaces scatter with random phases."""
    return 2 * math.pi * _draws(spots, seed, 0)


def _thinned(
    amplitude: NDArray[np.float64], spots: NDArray[np.float64], keep: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which paths to keep, about so many, and the factor on their amplitude that keeps the mean power.

    The strongest are kept as they are; of the others each with a probability in proportion to its power.
    """
    power = amplitude**2
    if np.count_nonzero(power) <= keep:
        kept = np.flatnonzero(power)
        return kept, np.ones(len(kept))
    ordered = np.sort(power)[::-1]
    rest = np.cumsum(ordered[::-1])[::-1]
    # the n strongest are certain where the next one's fair probability is below 1
    sure = int(np.argmax((keep - np.arange(keep)) * ordered[:keep] < rest[:keep]))
    probability = np.minimum(1.0, power * ((keep - sure) / rest[sure]))
    kept = np.flatnonzero(_draws(spots, seed, 1) < probability)
    return kept, 1 / np.sqrt(probability[kept])


def _barycentric(spot: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 3) weights of the corners (K, 3, 3) that make up spots (K, 3)."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    squared = np.maximum(np.sum(normal**2, axis=1), 1e-30)
    second = np.sum(np.cross(spot - a, c - a) * normal, axis=1) / squared
    third = np.sum(np.cross(b - a, spot - a) * normal, axis=1) / squared
    return np.stack([1 - second - third, second, third], axis=1)
