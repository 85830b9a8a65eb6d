# SPDX-License-Identifier: Apache-2.0
"""What every radar back end shares: the level of the echoes, thermal noise, and the errors of a real front end."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.link_budget import sample_snr
from radio_visual_ssl.radar.profile import FmcwWaveform, FrontEnd, RadarProfile
from radio_visual_ssl.simulation.channel import Channel
from radio_visual_ssl.simulation.layout import Layout
from radio_visual_ssl.simulation.scatterers import REFERENCE_RANGE, REFERENCE_RCS

Samples = NDArray[np.complex64] | NDArray[np.float32]
"""Of one radar: complex, or real where its ADC is."""

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
        gain: amplitude of the echo of 10 m^2 at 30 m on boresight; the noise has variance 1 before the calibration's
            factors are divided out.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """

    def __init__(self, layout: Layout, profile: RadarProfile, device: str = 'cpu') -> None:
        self.channel = _channel(profile, device)
        self.front_end = profile.front_end or FrontEnd()
        self.gain = np.float32(np.sqrt(reference_snr(layout, profile)))
        self._seed = layout.seed
        self._calibration = profile.calibration
        # chirps or symbols of one slow time
        self._slots = len(profile.tx_order) if isinstance(profile.waveform, FmcwWaveform) else 1
        self._complex_samples = getattr(profile.waveform, 'complex_samples', True)
        self._errors = self._draw_errors()

    def samples(self, echoes: Iterable[NDArray[np.complex64]], time: float) -> Samples:
        """Raw samples of the frame that begins at a time in s, with thermal noise.

        The noise has variance 1 before the calibration's factors are divided out. It is drawn from the seed and the
        time: the same time gives the same cube. Real samples are the real part, at the power of the complex ones.

        Args:
            echoes: noiseless cubes that add up.
            time: s.

        Returns:
            (slow_time, virtual_channel, fast_time) complex64, or float32 where the waveform's samples are real.
        """
        rng = np.random.default_rng((self._seed, round(time * 1e9) % 2**63))
        parts = rng.standard_normal((*self.channel.shape, 2), dtype=np.float32)
        parts *= np.float32(np.sqrt(0.5))
        cube = parts.view(np.complex64)[..., 0]
        errors = self._errors
        if self.front_end.phase_noise_deg > 0:
            slow, channels, _ = self.channel.shape
            jitter = rng.normal(0.0, np.radians(self.front_end.phase_noise_deg), (slow, self._slots, 1))
            # the receivers share one oscillator
            errors = errors * np.repeat(np.exp(1j * jitter).astype(np.complex64), channels // self._slots, axis=1)
        ideal = errors.size == 1 and errors.item() == 1
        for echo in echoes:
            cube += echo if ideal else echo * errors
        if self._calibration is not None:
            cube /= self._calibration[None, :, None]
        return cube if self._complex_samples else np.float32(np.sqrt(2)) * cube.real

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
