# SPDX-License-Identifier: Apache-2.0
"""The ray-traced back end for the camera: images of a layout by Mitsuba's path tracer, with masks and depth.

Importing it needs the extra [raytrace]; see `llvm.prepare`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation import llvm
from radio_visual_ssl.simulation.layout import Layout
from radio_visual_ssl.simulation.rendering import FAR, PAINT, View, ground_colours, sky_colours
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.simulation.triangles import Triangles
from radio_visual_ssl.vision.camera import CameraModel

llvm.prepare()

import mitsuba as mi  # noqa: E402 - only importable after prepare
import mitsuba_oidn as oidn  # noqa: E402
import sionna.rt  # noqa: E402, F401 - chooses the variant of Mitsuba to come back to

SAMPLES = 16  # per pixel
BOUNCES = 3  # legs of a light path
TEXEL = 0.08  # m, of the ground's texture
_GAMMA = 2.2
GONE = -1000.0  # m, height of what is not there
_VARIANTS = ('cuda_ad_rgb', 'llvm_ad_rgb')


@dataclass(frozen=True, eq=False)
class RaytracedView(View):
    """What the camera sees at one time.

    Attributes:
        depth: (H, W) float32 m along the optical axis, of what is seen in the middle of each pixel; inf = sky.
    """

    depth: NDArray[np.float32]


class RaytracedRenderer:
    """Draws the images of one camera: global illumination by sun, sky and lamps; denoised.

    Args:
        layout: of the scene.
        camera: where it is, seen from the radar; without lens distortion.
        samples: light paths per pixel.

    Raises:
        ValueError: a camera with lens distortion.
    """

    def __init__(self, layout: Layout, camera: CameraModel, samples: int = SAMPLES) -> None:
        if np.any(camera.distortion):
            raise ValueError(f'camera: expected one without distortion, got {camera.distortion.tolist()}')
        self._layout, self._camera, self._light, self._samples = layout, camera, layout.light, samples
        self._height = layout.scene.mast.height
        self._haze, self._zenith = sky_colours(layout)
        self._movers = [body for body, _ in layout.movers]
        standing = [Triangles.of(body).placed(pose) for body, pose in layout.static]
        self._moving = Triangles.join([Triangles.of(body) for body in self._movers]) if self._movers else None
        with mi.util.scoped_set_variant(*_VARIANTS):
            self._types = (mi.Ray3f, mi.Point3f, mi.Vector3f, mi.Float, mi.ScalarTransform4f, mi.ShapePtr)
            parts = {'ground': self._ground()}
            if standing:
                parts['standing'] = _coloured('standing', Triangles.join(standing))
            if self._moving is not None:
                parts['moving'] = _coloured('moving', self._moving)
            self._shape = parts.get('moving')
            self._scene = mi.load_dict({'type': 'scene', 'sensor': self._sensor(), **parts, **self._lights()})
            self._params = mi.traverse(self._scene)
            self._integrator = mi.load_dict(
                {
                    'type': 'aov',
                    'aovs': 'albedo:albedo,normal:sh_normal',
                    'image': {'type': 'path', 'max_depth': BOUNCES, 'hide_emitters': True},
                }
            )
        self._rays = self._pixel_rays()

    def image(self, time: float) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 rgb at a time in s."""
        return self.view(time).image

    def view(self, time: float) -> RaytracedView:
        """Image, target masks and depth at a time in s."""
        sensors = self._layout.sensors(time)
        self._arrange(sensors, time)
        depth, distance, mask = self._seen(sensors)
        seed = round(time * 1e6) % 2**31
        layers = np.array(self._integrator.render(self._scene, sensor=0, seed=seed, spp=self._samples))
        light = np.ascontiguousarray(layers[..., :3])
        smooth = oidn.denoise(
            light,
            albedo=np.ascontiguousarray(layers[..., 4:7]),
            normal=np.ascontiguousarray(layers[..., 7:10]),
            hdr=True,
        )
        covered = np.clip(layers[..., 3:4], 0.0, 1.0)
        # the film holds light times coverage
        colour = 255.0 * np.clip(smooth / np.maximum(covered, 1e-3), 0.0, 1.0) ** (1 / _GAMMA)
        clear = np.exp(-3.0 / self._light.visibility * np.minimum(distance, FAR))[..., None]
        colour = self._haze + (colour - self._haze) * clear
        image = covered * colour + (1.0 - covered) * self._sky(sensors)
        return RaytracedView(np.clip(np.rint(image), 0, 255).astype(np.uint8), mask, depth)

    def _pixel_rays(self) -> NDArray[np.float64]:
        """(H, W, 3) through the middle of each pixel, 1 along the optical axis, in the sensor frame."""
        camera = self._camera
        row, column = np.mgrid[: camera.height, : camera.width].astype(np.float64)
        matrix = camera.matrix
        x, y = (column - matrix[0, 2]) / matrix[0, 0], (row - matrix[1, 2]) / matrix[1, 1]
        return np.stack([x, y, np.ones_like(x)], axis=-1) @ camera.rotation

    def _pose(self, sensors: Pose) -> NDArray[np.float64]:
        """(4, 4) from the sensor frame to the scene frame."""
        cosine, sine = math.cos(sensors.heading), math.sin(sensors.heading)
        turned = np.eye(4)
        turned[:2, :2] = (cosine, -sine), (sine, cosine)
        turned[:3, 3] = sensors.x, sensors.y, self._height
        return turned

    def _camera_pose(self, sensors: Pose) -> NDArray[np.float64]:
        """(4, 4) from Mitsuba's camera (x left, y up, z ahead) to the scene frame."""
        rotation, pose = self._camera.rotation, np.eye(4)
        pose[:3, :3] = rotation.T @ np.diag([-1.0, -1.0, 1.0])
        pose[:3, 3] = -rotation.T @ self._camera.translation
        return self._pose(sensors) @ pose

    def _sensor(self) -> dict:
        camera = self._camera
        return {
            'type': 'perspective',
            'fov': math.degrees(2 * math.atan(camera.width / 2 / camera.matrix[0, 0])),
            'fov_axis': 'x',
            'near_clip': 0.05,
            'principal_point_offset_x': float((camera.matrix[0, 2] + 0.5) / camera.width - 0.5),
            'principal_point_offset_y': float((camera.matrix[1, 2] + 0.5) / camera.height - 0.5),
            'to_world': mi.ScalarTransform4f(self._camera_pose(self._layout.sensors(0.0))),
            'film': {
                'type': 'hdrfilm',
                'width': camera.width,
                'height': camera.height,
                'pixel_format': 'rgba',
                'component_format': 'float32',
                'rfilter': {'type': 'box'},
            },
            'sampler': {'type': 'independent'},
        }

    def _arrange(self, sensors: Pose, time: float) -> None:
        """Put the movers and the camera where they are at a time."""
        *_, make_float, transform, _ = self._types
        if self._moving is not None:
            poses = {body.number: trajectory.pose(time) for body, trajectory in self._layout.movers}
            points = []
            for body in self._movers:
                pose = poses[body.number]
                if pose is None:
                    points.append(np.full_like(Triangles.of(body).points, GONE))
                else:
                    points.append(Triangles.of(body, pose.walked).placed(pose).points)
            self._params['moving.vertex_positions'] = make_float(np.concatenate(points).astype(np.float32).ravel())
        if self._layout.ego is not None:
            kind = type(self._params['sensor.to_world'])
            self._params['sensor.to_world'] = kind(transform(self._camera_pose(sensors)).matrix)
            for name, place, ahead in self._headlights(sensors) if self._light.lamps > 0 else ():
                kind = type(self._params[f'{name}.to_world'])
                self._params[f'{name}.to_world'] = kind(transform().look_at(place, ahead, [0.0, 0.0, 1.0]).matrix)
        self._params.update()

    def _seen(self, sensors: Pose) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.uint8]]:
        """Depth, distance and mask (H, W) in the middle of each pixel."""
        ray, point, vector, make_float, _, pointer = self._types
        pose = self._pose(sensors)
        eye = pose @ np.append(-self._camera.rotation.T @ self._camera.translation, 1.0)
        directions = (self._rays @ pose[:3, :3].T).reshape(-1, 3)
        length = np.linalg.norm(directions, axis=1)
        directions /= length[:, None]
        hit = self._scene.ray_intersect_preliminary(
            ray(
                point(*(float(value) for value in eye[:3])),
                vector(*(make_float(column.astype(np.float32)) for column in directions.T)),
            ),
            coherent=True,
        )
        size = (self._camera.height, self._camera.width)
        distance = np.array(hit.t).astype(np.float64)
        mask = np.zeros(len(distance), dtype=np.uint8)
        if self._shape is not None and self._moving is not None:
            target = np.array(hit.shape == pointer(self._shape)) & np.isfinite(distance)
            mask[target] = self._moving.owner[np.array(hit.prim_index)[target]]
        return (distance / length).astype(np.float32).reshape(size), distance.reshape(size), mask.reshape(size)

    def _ground(self) -> 'mi.Mesh':
        """A textured plane as far as the camera sees."""
        ground, ego = self._layout.scene.ground, self._layout.scene.ego
        ahead = 0.0 if ego is None else float(np.array(ego.path)[:, 0].max())
        x, y = (-30.0, ahead + 150.0), (-80.0, 80.0)
        # what lies farther than this is painted in one colour
        inner_x, inner_y = (
            (ground.x[0] - 6.0, max(ahead, 0.0) + ground.x[1] + 8.0),
            (ground.y[0] - 8.0, ground.y[1] + 8.0),
        )
        columns, rows = round((inner_x[1] - inner_x[0]) / TEXEL), round((inner_y[1] - inner_y[0]) / TEXEL)
        u, v = (np.arange(columns) + 0.5) * TEXEL + inner_x[0], (np.arange(rows) + 0.5) * TEXEL + inner_y[0]
        place = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        rng = np.random.default_rng((self._layout.seed, 2**31 + 1))
        colours = ground_colours(ground, place[:, 0], place[:, 1]) * (1 + 0.05 * rng.standard_normal((len(place), 1)))
        colours[self._on_bay_lines(place)] = PAINT
        texture = _linear(colours).reshape(rows, columns, 3)
        corners = np.array([(a, b, 0.0) for a, b in ((x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1]))])
        made = mi.Mesh('ground', 4, 2, has_vertex_texcoords=True)
        params = mi.traverse(made)
        params['vertex_positions'] = mi.Float(corners.astype(np.float32).ravel())
        params['faces'] = mi.UInt32([0, 1, 2, 0, 2, 3])
        uv = (corners[:, :2] - (inner_x[0], inner_y[0])) / (inner_x[1] - inner_x[0], inner_y[1] - inner_y[0])
        params['vertex_texcoords'] = mi.Float(uv.astype(np.float32).ravel())
        params.update()
        bitmap = {
            'type': 'bitmap',
            'data': mi.TensorXf(np.ascontiguousarray(texture[::-1], dtype=np.float32)),
            'raw': True,
            'wrap_mode': 'clamp',
        }
        made.set_bsdf(mi.load_dict({'type': 'twosided', 'side': {'type': 'diffuse', 'reflectance': bitmap}}))
        return made

    def _on_bay_lines(self, place: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(P,) which places (P, 2) are on the white lines between parking bays."""
        painted = np.zeros(len(place), dtype=bool)
        if self._layout.scene.ground.surface != 'lot':
            return painted
        for row in self._layout.scene.parked:
            start, end = np.array(row.start), np.array(row.end)
            length = float(np.hypot(*(end - start)))
            if length == 0:
                continue
            along = (place - start) @ (end - start) / length
            heading = math.radians(row.heading_deg)
            across = (place - start) @ np.array([math.cos(heading), math.sin(heading)])
            near = np.abs(np.mod(along, row.spacing) - row.spacing / 2) < 0.06
            inside = (along > -0.6 * row.spacing) & (along < length + 0.6 * row.spacing)
            painted |= near & inside & (np.abs(across) < 2.6)
        return painted

    def _lights(self) -> dict[str, dict]:
        """Sky, sun and lamps, as bright as in the fast back end where nothing shades them."""
        light = self._light
        ambient = light.ambient**_GAMMA
        emitters: dict[str, dict] = {'sky': {'type': 'constant', 'radiance': ambient}}
        if light.sunlight > 0:
            sun = (light.ambient + light.sunlight) ** _GAMMA - ambient
            emitters['sun'] = {'type': 'directional', 'direction': (-light.sun).tolist(), 'irradiance': math.pi * sun}
        if light.lamps > 0:
            for index, (body, pose) in enumerate(self._layout.static):
                if body.kind == 'lamp_post':
                    height = body.size[2] - 0.5
                    power = math.pi * height**2 * light.lamps**_GAMMA
                    place = [pose.x, pose.y + 0.4, height]
                    emitters[f'lamp-{index}'] = {'type': 'point', 'position': place, 'intensity': power}
            if self._layout.ego is not None:
                for name, place, ahead in self._headlights(self._layout.sensors(0.0)):
                    emitters[name] = {
                        'type': 'spot',
                        'to_world': mi.ScalarTransform4f().look_at(place, ahead, [0.0, 0.0, 1.0]),
                        'intensity': math.pi * 12.0**2 * light.lamps**_GAMMA,
                        'cutoff_angle': 24.0,
                        'beam_width': 8.0,
                    }
        return emitters

    @staticmethod
    def _headlights(sensors: Pose) -> list[tuple[str, list[float], list[float]]]:
        """Name, place and a place ahead of each headlight of the ego vehicle, scene frame."""
        cosine, sine = math.cos(sensors.heading), math.sin(sensors.heading)
        lights = []
        for name, side in (('headlight-left', 0.7), ('headlight-right', -0.7)):
            place = [sensors.x + 1.5 * cosine - side * sine, sensors.y + 1.5 * sine + side * cosine, 0.65]
            lights.append((name, place, [place[0] + 20.0 * cosine, place[1] + 20.0 * sine, 0.0]))
        return lights

    def _sky(self, sensors: Pose) -> NDArray[np.float64]:
        """(H, W, 3) rgb of the sky in each pixel."""
        rise = self._rays[..., 2:] / np.linalg.norm(self._rays, axis=-1, keepdims=True)
        return self._haze + (self._zenith - self._haze) * np.clip(rise / 0.35, 0.0, 1.0) ** 0.7


def _linear(colours: NDArray[np.float64]) -> NDArray[np.float32]:
    """Reflectance of colours 0-255."""
    return (np.clip(colours / 255.0, 0.0, 0.98) ** _GAMMA).astype(np.float32)


def _coloured(name: str, surface: Triangles) -> 'mi.Mesh':
    """A matt mesh with a colour for each face."""
    made = mi.Mesh(name, len(surface.points), len(surface.faces))
    params = mi.traverse(made)
    params['vertex_positions'] = mi.Float(surface.points.astype(np.float32).ravel())
    params['faces'] = mi.UInt32(surface.faces.astype(np.uint32).ravel())
    params.update()
    made.add_attribute('face_color', 3, _linear(surface.colours).ravel())
    colour = {'type': 'mesh_attribute', 'name': 'face_color'}
    made.set_bsdf(mi.load_dict({'type': 'twosided', 'side': {'type': 'diffuse', 'reflectance': colour}}))
    return made
