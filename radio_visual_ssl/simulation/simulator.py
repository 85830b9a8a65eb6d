# SPDX-License-Identifier: Apache-2.0
"""Plays a scene: at any time a raw radar cube, a camera image and the ground truth."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.cube import Axis
from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.profile import OfdmWaveform, RadarProfile
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.simulation.boxes import Boxes, raster, rotated, to_radar
from radio_visual_ssl.simulation.layout import Body, Layout, Placed, lay_out
from radio_visual_ssl.simulation.receiver import Samples
from radio_visual_ssl.simulation.rendering import Renderer, View, camera_on
from radio_visual_ssl.simulation.scatter import ScattererChannel
from radio_visual_ssl.simulation.scene import Scene
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.vision.camera import CameraModel


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """What the sensors deliver at one time.

    Attributes:
        time: s.
        cube: (slow_time, virtual_channel, fast_time) complex64, or float32 where the waveform's samples are real; the
            variance of the noise is 1 before the calibration's factors are divided out.
        image: (H, W, 3) uint8 rgb.
        mask: (H, W) uint8, track id of the target that each pixel shows; 0 = none.
        targets: ground truth in the radar frame: the movers that are present.
        camera: that took the image.
    """

    time: float
    cube: Samples
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    targets: list[Target]
    camera: CameraModel


def cube_axes(profile: RadarProfile) -> tuple[Axis, ...]:
    """What the axes of the cubes of a radar are."""
    if isinstance(profile.waveform, OfdmWaveform):
        return (Axis.SYMBOL, Axis.VIRTUAL_CHANNEL, Axis.SUBCARRIER)
    return (Axis.CHIRP, Axis.VIRTUAL_CHANNEL, Axis.SAMPLE)


class RadarBackend(Protocol):
    """Makes the radar's raw samples."""

    def cube(self, time: float) -> Samples:
        """(slow_time, virtual_channel, fast_time) of the frame that begins at a time in s; see `Receiver.samples`."""
        ...


class CameraBackend(Protocol):
    """Makes the camera's images."""

    def view(self, time: float) -> View:
        """Image and target masks at a time in s."""
        ...


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
        self._rasters = {body.number: raster(body.size) for body, _ in layout.movers}

    def targets(self, time: float) -> list[Target]:
        """The movers that are present at a time in s.

        The position is the centre of the footprint on the ground (z = minus the mast's height); on an ego vehicle
        velocities are relative to it. In radar view: inside the grid and the radar's field of view; in camera view: the
        middle of the box is inside the image; neither says whether something stands in between, visibility does: the
        share of the sides towards the camera that is in the image and not behind another body, from a raster of points.
        """
        moving = self._layout.moving(time)
        if not moving:
            return []
        middles = np.array([(pose.x, pose.y, body.size[2] / 2 - self._height) for body, pose in moving])
        visible, in_view = self._visibilities(moving, time, middles)
        return [
            self._target(body, pose, middle, share, seen)
            for (body, pose), middle, share, seen in zip(moving, middles, visible, in_view.tolist(), strict=True)
        ]

    def _target(self, body: Body, pose: Pose, middle: NDArray[np.float64], visibility: float, in_view: bool) -> Target:
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
            visibility=visibility,
            in_radar_view=bool(in_field and self._grid.contains(np.hypot(pose.x, pose.y), azimuth)),
            in_camera_view=in_view,
        )

    def _visibilities(
        self, moving: list[Placed], time: float, middles: NDArray[np.float64]
    ) -> tuple[list[float], NDArray[np.bool_]]:
        """Share of each mover that the camera sees, and whether the image takes in its middle."""
        points, weights = [], []
        for body, pose in moving:
            place, normals, areas = self._rasters[body.number]
            place = to_radar(place, pose, self._height)
            sight = place - self._eye
            facing = np.maximum(-np.sum(rotated(normals, pose.heading) * sight, axis=1), 0.0)
            points.append(place)
            weights.append(facing * areas / np.linalg.norm(sight, axis=1) ** 3)
        place, weight = np.concatenate(points), np.concatenate(weights)
        owner = np.repeat([body.number for body, _ in moving], [len(part) for part in points])
        in_view = self._in_image(np.concatenate([place, middles]))
        candidates = np.flatnonzero((weight > 0) & in_view[: len(place)])
        reach = max((np.hypot(pose.x, pose.y) for _, pose in moving), default=0.0)
        near = [(body, pose) for body, pose in self._layout.standing(time) if np.hypot(pose.x, pose.y) < reach + 6.0]
        boxes = Boxes.of([*near, *moving], self._height)
        hidden = boxes.blocked(self._eye, place[candidates], owner[candidates])
        seen = np.zeros(len(place))
        seen[candidates[~hidden]] = weight[candidates[~hidden]]
        ends = np.cumsum([len(part) for part in points])
        shares = [
            float(np.sum(seen[end - len(part) : end]) / np.sum(weight[end - len(part) : end]))
            for part, end in zip(points, ends, strict=True)
        ]
        return shares, in_view[len(place) :]

    def _in_image(self, places: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether places fall on the image; the simulated lens does not distort."""
        camera = self._camera
        optical = places @ camera.rotation.T + camera.translation
        ahead = optical[:, 2] > 1e-6
        pixels = optical[:, :2] / np.where(ahead, optical[:, 2], 1.0)[:, None] * camera.matrix.diagonal()[:2]
        pixels += camera.matrix[:2, 2]
        inside = np.all((pixels >= -0.5) & (pixels < (camera.width - 0.5, camera.height - 0.5)), axis=1)
        return inside & ahead


class Simulator:
    """A scene with its sensors, playable at any time and for ever.

    Args:
        scene: description.
        profile: of the radar.
        seed: draws what the scene leaves open and the noise; not negative.
        grid: heatmap grid that decides what is in the radar's view; that of `HeatmapFormer` by default.
        image_size: (width, height) px of the images; the scene's own by default.
        device: that sums the radar's echoes: cpu, or a torch device such as cuda, on which cubes differ in the
            last bits.

    Raises:
        ValueError: negative seed, or a device that torch does not know or that is not there.
    """

    def __init__(
        self,
        scene: Scene,
        profile: RadarProfile,
        seed: int = 0,
        grid: PolarGrid | None = None,
        image_size: tuple[int, int] | None = None,
        device: str = 'cpu',
    ) -> None:
        self.profile, self._device = profile, device
        self.layout = lay_out(scene, seed)
        self.scene = self.layout.scene
        self.camera = camera_on(self.scene, image_size)
        self._truth = GroundTruth(self.layout, self.camera, grid or HeatmapFormer(profile).grid)
        self._channel, self._renderer = self._back_ends()

    def _back_ends(self) -> tuple[RadarBackend, CameraBackend]:
        """What makes the cubes and the images of this layout."""
        return ScattererChannel(self.layout, self.profile, self._device), Renderer(self.layout, self.camera)

    @property
    def cube_axes(self) -> tuple[Axis, ...]:
        """What the axes of the cubes are."""
        return cube_axes(self.profile)

    def radar_in_scene(self, time: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotation (3, 3), radar frame to scene frame, and the radar's place (3,) m in the scene at a time in s."""
        pose = self.layout.sensors(time)
        turn = rotated(np.eye(3), pose.heading).T
        return turn, np.array([pose.x, pose.y, self.scene.mast.height])

    def cube(self, time: float) -> Samples:
        """(slow_time, virtual_channel, fast_time) of the frame that begins at a time in s; see `SimulatedFrame`."""
        return self._channel.cube(time)

    def image(self, time: float) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 rgb at a time in s."""
        return self.view(time).image

    def view(self, time: float) -> View:
        """Image and target masks at a time in s."""
        return self._renderer.view(time)

    def targets(self, time: float) -> list[Target]:
        """Ground truth at a time in s."""
        return self._truth.targets(time)

    def frame(self, time_s: float) -> SimulatedFrame:
        """Everything at a time in s (not negative); depends on nothing but scene, profile, seed and time."""
        view = self.view(time_s)
        return SimulatedFrame(time_s, self.cube(time_s), view.image, view.mask, self.targets(time_s), self.camera)
