# SPDX-License-Identifier: Apache-2.0
"""Plays a scene by ray tracing: Sionna RT for the radar, Mitsuba for the camera, both over the same meshes.

Importing it needs the extra [raytrace]; where something is missing, `llvm.RaytracingUnavailable` says what.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation.raytraced_camera import RaytracedRenderer, RaytracedView
from radio_visual_ssl.simulation.raytraced_channel import ENOUGH_PATHS, RaytracedChannel
from radio_visual_ssl.simulation.simulator import SimulatedFrame, Simulator


@dataclass(frozen=True, eq=False)
class RaytracedFrame(SimulatedFrame):
    """What the sensors deliver at one time.

    Attributes:
        depth: (H, W) float32 m along the optical axis; inf = sky.
        paths: how many paths lead from the radar right to each mover that is present, by track id; 0 or 1 for a point
            reflector.
        undersampled: track ids of targets in both views, visible, to which fewer than 50 paths lead: too few for the
            statistics of their echo.
    """

    depth: NDArray[np.float32]
    paths: dict[int, int]
    undersampled: tuple[int, ...]


class RaytracedSimulator(Simulator):
    """A scene with its sensors, playable at any time and for ever; the same truth as `Simulator` with the same seed.

    Arguments and errors are those of `Simulator`.
    """

    _channel: RaytracedChannel
    _renderer: RaytracedRenderer

    def _back_ends(self) -> tuple[RaytracedChannel, RaytracedRenderer]:
        return RaytracedChannel(self.layout, self.profile, device=self._device), RaytracedRenderer(
            self.layout, self.camera
        )

    def view(self, time: float) -> RaytracedView:
        """Image, target masks and depth at a time in s."""
        return self._renderer.view(time)

    def frame(self, time_s: float) -> RaytracedFrame:
        """Everything at a time in s (not negative); depends on nothing but scene, profile, seed and time."""
        view, targets = self.view(time_s), self.targets(time_s)
        cube, paths = self._channel.cube_and_counts(time_s)
        undersampled = tuple(
            target.track_id
            for target in targets
            if target.in_radar_view
            and target.visibility > 0
            and target.label != 'reflector'
            and paths[target.track_id] < ENOUGH_PATHS
        )
        return RaytracedFrame(
            time_s, cube, view.image, view.mask, targets, self.camera, view.depth, paths, undersampled
        )
