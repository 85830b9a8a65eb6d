# SPDX-License-Identifier: Apache-2.0
"""Plays a scene: at any time a raw radar cube, a camera image and the ground truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.profile import RadarProfile
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.simulation.boxes import Boxes, raster, rotated, to_radar
from radio_visual_ssl.simulation.channel import Channel
from radio_visual_ssl.simulation.layout import Body, Layout, Placed, lay_out
from radio_visual_ssl.simulation.rendering import Renderer, camera_on
from radio_visual_ssl.simulation.scatterers import SHADOW, Scatterers
from radio_visual_ssl.simulation.scene import Scene
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.vision.camera import CameraModel

RADAR = np.zeros(3)  # the radar's place in its own frame


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """What the sensors deliver at one time.

    Attributes:
        time: s.
        cube: (slow_time, virtual_channel, fast_time) complex64; the variance of the noise is 1.
        image: (H, W, 3) uint8 rgb.
        targets: ground truth in the radar frame: the movers that are present.
        camera: that took the image.
    """

    time: float
    cube: NDArray[np.complex64]
    image: NDArray[np.uint8]
    targets: list[Target]
    camera: CameraModel


class ScattererChannel:
    """Back end that makes cubes of a layout from point scatterers.

    Walls, poles, the ground and parked vehicles stand still and are computed once; of them only what the movers shadow
    is corrected in each frame.

    Args:
        layout: of the scene.
        profile: of the radar.
    """

    def __init__(self, layout: Layout, profile: RadarProfile) -> None:
        self._layout = layout
        self._height = layout.scene.mast.height
        self._gain = np.float32(10 ** (layout.scene.mast.reference_snr_db / 20))
        self._channel = Channel(profile)
        self._calibration = profile.calibration
        self._surfaces = {body.number: Scatterers.on_body(body, layout.seed) for body, _ in layout.movers}
        self._clutter = Scatterers.join(
            [Scatterers.on_ground(layout.scene.ground, layout.seed).lowered(self._height)]
            + [Scatterers.on_body(body, layout.seed).placed(pose, self._height) for body, pose in layout.static]
        )
        boxes = Boxes.of(layout.static, self._height)
        self._clutter_hidden = boxes.blocked(RADAR, self._clutter.position, self._clutter.body)
        self._clutter_echo = self._gain * self._clutter.amplitudes()
        self._clutter_echo[self._clutter_hidden] *= np.float32(SHADOW)
        self._clutter_cube = self._channel.response(self._clutter.position, self._clutter_echo)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slow_time, virtual_channel, fast_time) of a cube."""
        return self._channel.shape

    def cube(self, time: float) -> NDArray[np.complex64]:
        """Raw samples of the frame that begins at a time in s, with noise of variance 1.

        Over the frame every point moves with constant velocity. The noise is drawn from the seed and the time: the
        same time gives the same cube.

        Returns:
            (slow_time, virtual_channel, fast_time) complex64.
        """
        rng = np.random.default_rng((self._layout.seed, round(time * 1e9) % 2**63))
        parts = rng.standard_normal((*self.shape, 2), dtype=np.float32)
        parts *= np.float32(np.sqrt(0.5))
        cube = parts.view(np.complex64)[..., 0]
        cube += self._clutter_cube
        moving = self._layout.moving(time)
        if moving:
            cube += self._shadow_of(moving)
            cube += self._echo_of(moving)
        if self._calibration is not None:
            cube /= self._calibration[None, :, None]
        return cube

    def _shadow_of(self, moving: list[Placed]) -> NDArray[np.complex64]:
        """What the clutter loses behind the movers."""
        boxes = Boxes.of(moving, self._height)
        hidden = boxes.blocked(RADAR, self._clutter.position, self._clutter.body) & ~self._clutter_hidden
        loss = self._clutter_echo[hidden] * np.float32(SHADOW - 1)
        return self._channel.response(self._clutter.position[hidden], loss)

    def _echo_of(self, moving: list[Placed]) -> NDArray[np.complex64]:
        """What the movers return."""
        points = Scatterers.join([self._surfaces[body.number].placed(pose, self._height) for body, pose in moving])
        echo = self._gain * points.amplitudes()
        boxes = Boxes.of([*self._layout.static, *moving], self._height)
        echo[boxes.blocked(RADAR, points.position, points.body)] *= np.float32(SHADOW)
        seen = np.flatnonzero(echo)
        return self._channel.response(points.position[seen], echo[seen], points.velocity[seen])


class GroundTruth:
    """What is known of the movers of a layout.

    Args:
        layout: of the scene.
        camera: whose view counts.
        grid: the radar's heatmap grid.
    """

    def __init__(self, layout: Layout, camera: CameraModel, grid: PolarGrid) -> None:
        self._layout, self._camera, self._grid = layout, camera, grid
        self._height = layout.scene.mast.height
        self._half_field = np.radians(layout.scene.mast.field_of_view_deg) / 2
        self._eye = -camera.rotation.T @ camera.translation

    def targets(self, time: float) -> list[Target]:
        """The movers that are present at a time in s.

        The position is the centre of the footprint on the ground (z = minus the mast's height). In radar view: inside
        the grid and the radar's field of view; in camera view: the middle of the box is inside the image; neither
        says whether something stands in between, visibility does: the share of the sides towards the camera that is in
        the image and not behind another body, from a raster of points.
        """
        moving = self._layout.moving(time)
        boxes = Boxes.of([*self._layout.static, *moving], self._height)
        return [self._target(body, pose, boxes) for body, pose in moving]

    def _target(self, body: Body, pose: Pose, boxes: Boxes) -> Target:
        middle = np.array([pose.x, pose.y, body.size[2] / 2 - self._height])
        azimuth = np.arctan2(pose.y, pose.x)
        in_field = abs(azimuth) <= self._half_field
        return Target(
            x=pose.x,
            y=pose.y,
            z=-self._height,
            radial_velocity=float(middle @ pose.velocity / np.linalg.norm(middle)),
            track_id=body.number,
            label=body.kind,
            size=body.size,
            heading=pose.heading,
            velocity=pose.velocity,
            visibility=self._visibility(body, pose, boxes),
            in_radar_view=bool(in_field and self._grid.contains(np.hypot(pose.x, pose.y), azimuth)),
            in_camera_view=bool(self._camera.in_view(middle)[0]),
        )

    def _visibility(self, body: Body, pose: Pose, boxes: Boxes) -> float:
        points, normals, areas = raster(body.size)
        points = to_radar(points, pose, self._height)
        sight = points - self._eye
        distance = np.linalg.norm(sight, axis=1)
        weight = np.maximum(-np.sum(rotated(normals, pose.heading) * sight, axis=1), 0.0) * areas / distance**3
        hidden = boxes.blocked(self._eye, points, np.full(len(points), body.number))
        seen = self._camera.in_view(points) & ~hidden
        return float(np.sum(weight[seen]) / np.sum(weight))


class Simulator:
    """A scene with its sensors, playable at any time and for ever.

    Args:
        scene: description.
        profile: of the radar.
        seed: draws what the scene leaves open and the noise; not negative.
        grid: heatmap grid that decides what is in the radar's view; that of `HeatmapFormer` by default.

    Raises:
        ValueError: negative seed.
    """

    def __init__(self, scene: Scene, profile: RadarProfile, seed: int = 0, grid: PolarGrid | None = None) -> None:
        self.scene = scene
        self.profile = profile
        self.layout = lay_out(scene, seed)
        self.camera = camera_on(scene)
        self._channel = ScattererChannel(self.layout, profile)
        self._renderer = Renderer(self.layout, self.camera)
        self._truth = GroundTruth(self.layout, self.camera, grid or HeatmapFormer(profile).grid)

    def cube(self, time: float) -> NDArray[np.complex64]:
        """(slow_time, virtual_channel, fast_time) complex64 of the frame that begins at a time in s."""
        return self._channel.cube(time)

    def image(self, time: float) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 rgb at a time in s."""
        return self._renderer.image(time)

    def targets(self, time: float) -> list[Target]:
        """Ground truth at a time in s."""
        return self._truth.targets(time)

    def frame(self, time_s: float) -> SimulatedFrame:
        """Everything at a time in s (not negative); depends on nothing but scene, profile, seed and time."""
        return SimulatedFrame(time_s, self.cube(time_s), self.image(time_s), self.targets(time_s), self.camera)
