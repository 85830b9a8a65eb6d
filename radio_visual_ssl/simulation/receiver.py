# SPDX-License-Identifier: Apache-2.0
"""What every radar back end shares: the level of the echoes, thermal noise, and the errors of a real front end."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.link_budget import sample_snr
from radio_visual_ssl.radar.profile import FrontEnd, RadarProfile
from radio_visual_ssl.simulation.channel import Channel
from radio_visual_ssl.simulation.layout import Layout
from radio_visual_ssl.simulation.scatterers import REFERENCE_RANGE, REFERENCE_RCS

NO_LINK_SNR_DB = -10.0  # of a profile without a front end, for 10 m^2 at 30 m


class Receiver:
    """Turns noiseless echoes into raw samples.

    Args:
        layout: of the scene.
        profile: of the radar.
        device: that sums the echoes: cpu, or a torch device such as cuda.

    Attributes:
        channel: of point scatterers.
        front_end: of the radar.
        gain: amplitude of the echo of 10 m^2 at 30 m on boresight; the noise has variance 1.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """

    def __init__(self, layout: Layout, profile: RadarProfile, device: str = 'cpu') -> None:
        self.channel = _channel(profile, device)
        self.front_end = profile.front_end or FrontEnd()
        self.gain = np.float32(np.sqrt(reference_snr(layout, profile)))
        self._seed = layout.seed
        self._calibration = profile.calibration
        self._errors = self._draw_errors()

    def samples(self, echoes: Iterable[NDArray[np.complex64]], time: float) -> NDArray[np.complex64]:
        """Raw samples of the frame that begins at a time in s, with thermal noise of variance 1.

        The noise is drawn from the seed and the time: the same time gives the same cube.

        Args:
            echoes: noiseless cubes that add up.
            time: s.

        Returns:
            (slow_time, virtual_channel, fast_time) complex64.
        """
        rng = np.random.default_rng((self._seed, round(time * 1e9) % 2**63))
        parts = rng.standard_normal((*self.channel.shape, 2), dtype=np.float32)
        parts *= np.float32(np.sqrt(0.5))
        cube = parts.view(np.complex64)[..., 0]
        errors = self._errors
        if self.front_end.phase_noise_deg > 0:
            jitter = rng.normal(0.0, np.radians(self.front_end.phase_noise_deg), (self.channel.shape[0], 1, 1))
            errors = errors * np.exp(1j * jitter).astype(np.complex64)
        ideal = errors.size == 1 and errors.item() == 1
        for echo in echoes:
            cube += echo if ideal else echo * errors
        if self._calibration is not None:
            cube /= self._calibration[None, :, None]
        return cube

    def _draw_errors(self) -> NDArray[np.complex64]:
        """(1, virtual_channel, 1) gain and phase of each channel that the calibration does not know."""
        front_end, count = self.front_end, self.channel.shape[1]
        if front_end.gain_error_db == 0 and front_end.phase_error_deg == 0:
            return np.ones((1, 1, 1), dtype=np.complex64)
        rng = np.random.default_rng((self._seed, 2**31 + 2))
        gain = 10 ** (rng.normal(0.0, front_end.gain_error_db, count) / 20)
        phase = rng.normal(0.0, np.radians(front_end.phase_error_deg), count)
        return (gain * np.exp(1j * phase)).astype(np.complex64)[None, :, None]


def _channel(profile: RadarProfile, device: str) -> Channel:
    if device == 'cpu':
        return Channel(profile)
    from radio_visual_ssl.simulation.torch_channel import TorchChannel

    return TorchChannel(profile, device)


def reference_snr(layout: Layout, profile: RadarProfile) -> float:
    """Signal-to-noise ratio (linear) of one sample of the cube for 10 m^2 at 30 m on boresight.

    The scene's own where it states one, else that of the radar's link budget.
    """
    stated = layout.scene.mast.reference_snr_db
    if stated is None and profile.front_end is not None:
        return sample_snr(profile, REFERENCE_RCS, REFERENCE_RANGE)
    return 10 ** ((NO_LINK_SNR_DB if stated is None else stated) / 10)
