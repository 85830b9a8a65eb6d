# SPDX-License-Identifier: Apache-2.0
"""Cubes of point targets with exact delays, written out without any of the package's signal processing."""

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, FmcwWaveform, RadarProfile

Target = tuple[float, float, float]


def slow_times(profile: RadarProfile) -> NDArray[np.float64]:
    """(slow_time, slot) s from the middle of the frame."""
    waveform, slots = profile.waveform, len(profile.tx_order)
    chirp = np.arange(waveform.slow_time_count)[:, None]
    if isinstance(waveform, FmcwWaveform):
        times = (chirp * slots + np.arange(slots)) * waveform.chirp_period
    else:
        times = chirp * waveform.symbol_period + np.zeros(slots)
    return times - times.mean()


def echo(
    profile: RadarProfile, *targets: Target, amplitudes: tuple[complex, ...] = (), noise: float = 0.0, seed: int = 0
) -> NDArray[np.complex64]:
    """(slow_time, virtual_channel, fast_time) of targets (range m, azimuth rad, radial velocity m/s, mid-frame)."""
    waveform = profile.waveform
    if isinstance(waveform, FmcwWaveform):
        frequency = waveform.carrier_frequency + waveform.slope * np.arange(waveform.num_samples) / waveform.sample_rate
        sign = 1
    else:
        count = waveform.num_subcarriers
        offset = (np.arange(count) - (count - 1) / 2) * waveform.subcarrier_spacing
        frequency, sign = waveform.carrier_frequency + offset, -1
    times = slow_times(profile)
    tx, rx = profile.tx_positions[list(profile.tx_order)], profile.rx_positions
    shape = (waveform.slow_time_count, profile.num_virtual_channels, waveform.fast_time_count)
    cube = np.zeros(shape, np.complex128)
    for number, (distance, azimuth, velocity) in enumerate(targets):
        direction = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        place = (distance + velocity * times)[..., None] * direction
        to_tx = np.linalg.norm(place - tx, axis=-1)
        to_rx = np.linalg.norm(place[:, :, None] - rx, axis=-1)
        delay = ((to_tx[:, :, None] + to_rx) / SPEED_OF_LIGHT).reshape(shape[:2])
        amplitude = amplitudes[number] if amplitudes else 1.0
        cube += amplitude * np.exp(2j * np.pi * sign * delay[..., None] * frequency)
    if noise:
        cube += complex_noise(shape, noise, seed)
    if not getattr(waveform, 'complex_samples', True):
        cube = cube.real
    return cube.astype(np.complex64)


def complex_noise(shape: tuple[int, ...], power: float = 1.0, seed: int = 0) -> NDArray[np.complex64]:
    generator = np.random.default_rng(seed)
    parts = generator.standard_normal((2, *shape)) * np.sqrt(power / 2)
    return (parts[0] + 1j * parts[1]).astype(np.complex64)
