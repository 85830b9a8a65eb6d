# SPDX-License-Identifier: Apache-2.0
"""The fast back end for the radar: cubes of a layout from point scatterers, with occlusion, Doppler and noise."""

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.profile import RadarProfile
from radio_visual_ssl.simulation.boxes import Boxes
from radio_visual_ssl.simulation.layout import Layout, Placed
from radio_visual_ssl.simulation.receiver import Receiver, Samples
from radio_visual_ssl.simulation.scatterers import SHADOW, Scatterers
from radio_visual_ssl.simulation.trajectory import Pose

RADAR = np.zeros(3)  # the radar's place in its own frame
NEGLIGIBLE = 0.03  # echoes that stay 15 dB below the noise even when the whole cube is integrated are left out


class ScattererChannel:
    """Makes the cubes of a layout.

    From a mast, walls, poles, the ground and parked vehicles stand still and are computed once; of them only what the
    movers shadow is corrected in each frame. From an ego vehicle everything moves.

    Args:
        layout: of the scene.
        profile: of the radar.
        device: that sums the echoes: cpu, or a torch device such as cuda.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """

    def __init__(self, layout: Layout, profile: RadarProfile, device: str = 'cpu') -> None:
        self._layout = layout
        self._height, self._ground = layout.scene.mast.height, layout.scene.ground
        self._receiver = Receiver(layout, profile, device)
        self._surfaces = {body.number: Scatterers.on_body(body, layout.seed) for body, _ in layout.movers}
        self._clutter = Scatterers.join(
            [Scatterers.on_ground(self._ground, layout.seed).lowered(self._height)]
            + [Scatterers.on_body(body, layout.seed).placed(pose, self._height) for body, pose in layout.static]
        )
        if layout.ego is None:
            boxes = Boxes.of(layout.static, self._height)
            self._clutter_hidden = boxes.blocked(RADAR, self._clutter.position, self._clutter.body)
            self._clutter_echo = self._echo(self._clutter)
            self._clutter_echo[self._clutter_hidden] *= np.float32(SHADOW)
            self._clutter_cube = self._response(self._clutter.position, self._clutter_echo)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slow_time, virtual_channel, fast_time) of a cube."""
        return self._receiver.channel.shape

    def cube(self, time: float) -> Samples:
        """Raw samples of the frame that begins at a time in s.

        Over the frame every point moves with constant velocity. The thermal noise has variance 1 before the
        calibration's factors are divided out, and is drawn from the seed and the time: the same time gives the same
        cube.

        Returns:
            (slow_time, virtual_channel, fast_time) complex64, or float32 where the waveform's samples are real.
        """
        return self._receiver.samples(self._echoes(time), time)

    def _echoes(self, time: float) -> list[NDArray[np.complex64]]:
        """Noiseless cubes that add up."""
        moving = self._layout.moving(time)
        if self._layout.ego is None:
            echoes = [self._clutter_cube]
            if moving:
                echoes += [self._shadow_of(moving), self._echo_of(moving, self._layout.static)]
            return echoes
        sensors = self._layout.sensors(time)
        return [self._echo_of(moving, self._layout.standing(time), self._passed(sensors).seen_from(sensors))]

    def _passed(self, sensors: Pose) -> Scatterers:
        """The clutter, with the ground's points repeated along x so that they lie around the sensors."""
        position = self._clutter.position.copy()
        own = self._clutter.body == 0
        start, length = self._ground.x[0], self._ground.x[1] - self._ground.x[0]
        position[own, 0] = sensors.x + start + np.mod(position[own, 0] - sensors.x - start, length)
        clutter = self._clutter
        return Scatterers(**{**vars(clutter), 'position': position})

    def _echo(self, points: Scatterers) -> NDArray[np.complex64]:
        return self._receiver.gain * points.amplitudes(self._receiver.front_end.pattern_exponent)

    def _shadow_of(self, moving: list[Placed]) -> NDArray[np.complex64]:
        """What the clutter loses behind the movers."""
        boxes = Boxes.of(moving, self._height)
        hidden = boxes.blocked(RADAR, self._clutter.position, self._clutter.body) & ~self._clutter_hidden
        loss = self._clutter_echo[hidden] * np.float32(SHADOW - 1)
        return self._response(self._clutter.position[hidden], loss)

    def _echo_of(
        self, moving: list[Placed], standing: tuple[Placed, ...] | list[Placed], clutter: Scatterers | None = None
    ) -> NDArray[np.complex64]:
        """What the movers, and clutter that moves past, return."""
        parts = [self._surfaces[body.number].placed(pose, self._height) for body, pose in moving]
        points = Scatterers.join(parts if clutter is None else [*parts, clutter])
        echo = self._echo(points)
        heard = np.flatnonzero(np.abs(echo) ** 2 * np.prod(self.shape) > NEGLIGIBLE)
        boxes = Boxes.of([*standing, *moving], self._height)
        hidden = boxes.blocked(RADAR, points.position[heard], points.body[heard])
        echo[heard[hidden]] *= np.float32(SHADOW)
        heard = heard[np.abs(echo[heard]) ** 2 * np.prod(self.shape) > NEGLIGIBLE]
        return self._response(points.position[heard], echo[heard], points.velocity[heard])

    def _response(
        self,
        positions: NDArray[np.float64],
        echo: NDArray[np.complex64],
        velocities: NDArray[np.float64] | None = None,
    ) -> NDArray[np.complex64]:
        """Echoes on the direct way, and those that bounce off the ground once or twice (images method)."""
        bounce = np.float32(self._ground.reflection)
        if bounce == 0:
            return self._receiver.channel.response(positions, echo, velocities)
        image = positions * (1.0, 1.0, -1.0) - (0.0, 0.0, 2 * self._height)
        out = np.concatenate([positions, positions, image, image])
        back = np.concatenate([positions, image, positions, image])
        amplitudes = np.concatenate([echo, bounce * echo, bounce * echo, bounce**2 * echo])
        motion = None if velocities is None else np.tile(velocities, (4, 1))
        return self._receiver.channel.response(out, amplitudes, motion, back)
