# SPDX-License-Identifier: Apache-2.0
"""Radio paths from a radar to the surfaces around it and back, traced by Sionna RT.

Importing it needs the extra [raytrace]; see `llvm.prepare`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation import llvm
from radio_visual_ssl.simulation.triangles import Triangles

llvm.prepare()

import mitsuba as mi  # noqa: E402 - only importable after prepare
from sionna import rt  # noqa: E402
from sionna.rt.rcs import ConstantRCSSensingTarget, RCSSolver  # noqa: E402

MOST = 2  # surfaces that a path meets
SLAB = 1.0  # m, thickness of what the waves enter: nothing comes out again
GONE = -1000.0  # m, height of what is not there
_SPECK = 0.05  # m, edge of what a point reflector hides
_SEED = 42  # of the directions after a first scattering; the phases are drawn elsewhere


@dataclass(frozen=True)
class Part:
    """Faces that have one radio material.

    Attributes:
        name: unique in the scene.
        surface: scene frame, m.
        permittivity: relative.
        conductivity: S/m.
        role: what happens where a wave meets it: it 'scatters', is 'reflected' as by a mirror, or ends ('absorbs').
        directivity: exponent of the lobe that it scatters into; 0 = Lambert's.
    """

    name: str
    surface: Triangles
    permittivity: float = 1.0
    conductivity: float = 0.0
    role: str = 'scatters'
    directivity: int = 0


@dataclass(frozen=True, eq=False)
class TracedPaths:
    """Paths from a radar back to itself.

    Attributes:
        amplitude: (K,) complex128, field with isotropic antennas, polarised upright, as if all that is reflected were
            scattered by surfaces that scatter.
        vertices: (2, K, 3) m, scene frame, where the paths meet surfaces.
        part: (2, K) place in the parts of the scene; -1 where a path meets one surface only.
        face: (2, K) of the part.
    """

    amplitude: NDArray[np.complex128]
    vertices: NDArray[np.float64]
    part: NDArray[np.int64]
    face: NDArray[np.int64]

    def chosen(self, index: NDArray) -> 'TracedPaths':
        """Some of the paths."""
        return TracedPaths(self.amplitude[index], self.vertices[:, index], self.part[:, index], self.face[:, index])


class PathTracer:
    """A scene for Sionna RT.

    Args:
        parts: of the scene.
        frequency: Hz.
        reflectors: m^2 of each point that reflects the same in all directions.

    Attributes:
        scene: of Sionna RT; its parts stand where `move` put them last, its radar where `paths` did.
    """

    def __init__(self, parts: Sequence[Part], frequency: float, reflectors: Sequence[float] = ()) -> None:
        self._parts = list(parts)
        self.scene = rt.load_scene()
        self.scene.frequency = frequency
        objects = [self._object(part) for part in self._parts]
        self._targets = [
            ConstantRCSSensingTarget(
                f'reflector-{index}', rcs, length=_SPECK, width=_SPECK, height=_SPECK, position=mi.Point3f(0, 0, GONE)
            )
            for index, rcs in enumerate(reflectors)
        ]
        self.scene.edit(add=[*objects, *self._targets])
        array = rt.PlanarArray(num_rows=1, num_cols=1, pattern='iso', polarization='V')
        self.scene.tx_array = self.scene.rx_array = array
        self._devices = (rt.Transmitter('transmitter', [0, 0, 0]), rt.Receiver('receiver', [0, 0, 0]))
        for device in self._devices:
            self.scene.add(device)
        self._places = {int(item.object_id): index for index, item in enumerate(objects)}
        self._solver = rt.PathSolver()

    @staticmethod
    def _object(part: Part) -> rt.SceneObject:
        material: rt.RadioMaterialBase
        if part.role == 'absorbs':
            material = rt.AbsorberRadioMaterial(f'{part.name}-material')
        else:
            lobe = {'scattering_pattern': 'directive', 'alpha_r': part.directivity} if part.directivity else {}
            material = rt.RadioMaterial(
                f'{part.name}-material',
                thickness=SLAB,
                relative_permittivity=part.permittivity,
                conductivity=part.conductivity,
                scattering_coefficient=1.0 if part.role == 'scatters' else 0.0,
                **lobe,
            )
        return rt.SceneObject(mi_mesh=as_mesh(part.name, part.surface), name=part.name, radio_material=material)

    def move(self, surfaces: dict[str, NDArray[np.float64] | None]) -> None:
        """Put the points (V, 3) m of parts, by name, elsewhere; None takes a part away until it is moved again."""
        params = self.scene.mi_scene_params
        for part in self._parts:
            if part.name in surfaces:
                points = surfaces[part.name]
                if points is None:
                    points = np.full_like(part.surface.points, GONE)
                params[f'{part.name}.vertex_positions'] = mi.Float(points.astype(np.float32).ravel())
        params.update()

    def paths(self, place: NDArray[np.float64], rays: int, depth: int, mirrors: bool) -> TracedPaths:
        """All paths of a radar.

        Args:
            place: (3,) m, scene frame, of the radar.
            rays: sent in all directions, as densely everywhere.
            depth: most surfaces that a path meets, 1 or 2.
            mirrors: whether some parts reflect.
        """
        for device in self._devices:
            device.position = mi.Point3f(*(float(value) for value in place))
        found = self._solver(
            self.scene,
            max_depth=depth,
            samples_per_src=rays,
            max_num_paths_per_src=rays * depth,
            los=False,
            specular_reflection=mirrors,
            diffuse_reflection=True,
            refraction=False,
            seed=_SEED,
        )
        return self._gathered(found, depth)

    def _gathered(self, found: rt.Paths, depth: int) -> TracedPaths:
        real, imaginary = (np.array(part).ravel().astype(np.float64) for part in found.a)
        count = len(real)
        part, face = np.full((2, MOST, count), -1, dtype=np.int64)
        vertices = np.zeros((MOST, count, 3))
        if count:
            objects = np.array(found.objects).reshape(depth, count)
            for number, place in self._places.items():
                part[:depth][objects == number] = place
            face[:depth] = np.array(found.primitives).reshape(depth, count)
            vertices[:depth] = np.array(found.vertices).reshape(depth, count, 3)
        heard = np.flatnonzero(real**2 + imaginary**2 > 0)
        return TracedPaths(real + 1j * imaginary, vertices, part, face).chosen(heard)

    def reflections(self, place: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Echoes of the point reflectors, by Sionna RT's solver of radar cross sections.

        Args:
            place: (3,) m of the radar.
            points: (N, 3) m, scene frame, of all reflectors.

        Returns:
            (N,) field amplitude with isotropic antennas; 0 where something hides the reflector.
        """
        for device in self._devices:
            device.position = mi.Point3f(*(float(value) for value in place))
        for target, point in zip(self._targets, points, strict=True):
            target.position = mi.Point3f(*(float(value) for value in point))
        found = RCSSolver()(self.scene, max_depth=1, samples_per_sp=1, los=True, specular_reflection=False)
        real, imaginary = (np.array(part).ravel() for part in found.a)
        echoes = np.zeros(len(points))
        if len(real):
            order = {target: index for index, target in enumerate(self._targets)}
            numbers = [order[target] for target in self.scene.sensing_targets.values()]
            which = np.array(found.objects).reshape(-1, len(real))[0]
            for number, amplitude in zip(which, np.hypot(real, imaginary), strict=True):
                if amplitude > 0:
                    echoes[numbers[number]] = amplitude
        return echoes


class Occluders:
    """Surfaces that get in the way.

    Args:
        surfaces: m, scene frame.
    """

    def __init__(self, surfaces: Sequence[Triangles]) -> None:
        self._scene = mi.load_dict({'type': 'scene', 'surface': as_mesh('surface', Triangles.join(surfaces))})

    def between(self, eye: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(P,) whether something stands between an eye, (3,) or one for each point, and points (P, 3), m."""
        if len(points) == 0:
            return np.zeros(0, dtype=np.bool_)  # Dr.Jit aborts on no rays
        sight = points - eye
        distance = np.linalg.norm(sight, axis=1)
        direction = sight / distance[:, None]
        ray = mi.Ray3f(
            mi.Point3f(*(mi.Float(value.astype(np.float32)) for value in np.broadcast_to(eye, points.shape).T)),
            mi.Vector3f(*(mi.Float(d.astype(np.float32)) for d in direction.T)),
        )
        ray.maxt = mi.Float((distance - 0.01).astype(np.float32))
        return np.array(self._scene.ray_test(ray))


def as_mesh(name: str, surface: Triangles) -> mi.Mesh:
    """A Mitsuba mesh of the current variant."""
    made = mi.Mesh(name, len(surface.points), len(surface.faces))
    params = mi.traverse(made)
    params['vertex_positions'] = mi.Float(surface.points.astype(np.float32).ravel())
    params['faces'] = mi.UInt32(surface.faces.astype(np.uint32).ravel())
    params.update()
    return made
