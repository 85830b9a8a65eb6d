# SPDX-License-Identifier: Apache-2.0
"""What the networks see of a heatmap: the same maps live and offline, causal, in order of time."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.models.polar_layers import DECIBEL
from radio_visual_ssl.radar.background import MedianBackground
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

CHANNELS = ('power', 'change', 'moving', 'velocity')

VELOCITY_CHANNELS = ('moving', 'velocity')
"""Those that need a radar which measures velocities."""

ABSENT = {'power': math.log(2), 'change': math.log(2), 'moving': 0.0, 'velocity': 0.0}
"""What a channel shows where there is nothing but noise."""

VERSION = 1
"""Of the maps' definition: part of the key under which they are stored, and of checkpoints."""


@dataclass(frozen=True)
class RadarInputSettings:
    """Which maps, and how they are made.

    Attributes:
        channels: in this order, of
            ``power``: ``log(1 + power / noise)`` of the heatmap;
            ``change``: the same of its power over the background (which counts as no less than the noise floor
                or, where that is unknown, `Heatmap.noise_level`);
            ``moving``: power times a soft gate ``v^2 / (v^2 + moving_speed^2)`` on the radial velocity of the cell's
            strongest return, 0 where the velocity is unknown;
            ``velocity``: that radial velocity itself (positive = receding) over ``velocity_scale``, 0 where it is
            unknown and where the cell is less than ``velocity_min_snr`` above the noise floor. It is relative to the
            radar: what stands beside a moving platform has a velocity, too, which depends on its azimuth alone.
        max_range: m, farther range bins are left out; 0 = all.
        background_frames: heatmaps whose median is the background.
        background_interval: learn every n-th heatmap alone.
        moving_speed: m/s, radial speed at which the gate is half open.
        velocity_scale: m/s, radial velocity that is 1 in ``velocity``.
        velocity_min_snr: dB over the noise floor from which a cell has a ``velocity``; noise alone (of exponentially
            distributed power) is 10 dB above its mean in 1 of 22,000 cells.

    Raises:
        ValueError: a value out of range; the message names the field, what was expected and got.
    """

    channels: tuple[str, ...] = ('power', 'change', 'moving')
    max_range: float = 0.0
    background_frames: int = 50
    background_interval: int = 1
    moving_speed: float = 0.5
    velocity_scale: float = 10.0
    velocity_min_snr: float = 10.0

    def __post_init__(self) -> None:
        """Check the values; a list of channels becomes a tuple."""
        channels = tuple(self.channels) if isinstance(self.channels, list | tuple) else (self.channels,)
        if not channels or len(set(channels)) < len(channels) or not set(channels) <= set(CHANNELS):
            raise ValueError(f'channels: expected some of {", ".join(CHANNELS)}, each once, got {self.channels!r}')
        object.__setattr__(self, 'channels', channels)
        for name in ('background_frames', 'background_interval'):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(f'{name}: expected a whole number from 1 on, got {value!r}')
        if not (np.isfinite(self.max_range) and self.max_range >= 0):
            raise ValueError(f'max_range: expected 0 m or more, got {self.max_range!r}')
        for name in ('moving_speed', 'velocity_scale'):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f'{name}: expected a positive number of m/s, got {getattr(self, name)!r}')
        if not np.isfinite(self.velocity_min_snr):
            raise ValueError(f'velocity_min_snr: expected a number of dB, got {self.velocity_min_snr!r}')

    @property
    def needs_velocity(self) -> bool:
        """Whether a channel needs a radar that measures velocities."""
        return not set(VELOCITY_CHANNELS).isdisjoint(self.channels)


class RadarInput:
    """Turns the heatmaps of one stream, fed in order of time, into the networks' input.

    Values have the precision of float16, in which inputs are stored: what is trained on and what is seen live are the
    same numbers.

    Args:
        settings: see `RadarInputSettings`.
        grid: of the heatmaps.

    Attributes:
        settings: as given.
        grid: of the maps: the heatmaps' up to ``max_range``.
        channels: number of maps.

    Raises:
        ValueError: fewer than 2 range bins up to ``max_range``.
    """

    def __init__(self, settings: RadarInputSettings, grid: PolarGrid) -> None:
        self.settings = settings
        self._source = grid
        rows = np.count_nonzero(grid.range <= settings.max_range) if settings.max_range else grid.shape[0]
        if rows < 2:
            raise ValueError(
                f'max_range: expected at least the {grid.range[1]:.2f} m of the second range bin,'
                f' got {settings.max_range:g} m'
            )
        self.grid = grid if rows == grid.shape[0] else PolarGrid(grid.range[:rows], grid.azimuth, grid.wraps)
        self.channels = len(settings.channels)
        self._background = MedianBackground(settings.background_frames, settings.background_interval)

    def __call__(self, heatmap: Heatmap) -> NDArray[np.float32]:
        """The maps of the next heatmap, whose values the background then learns.

        Returns:
            (C, R, A), finite.

        Raises:
            ValueError: another grid, cells that are NaN or infinite, or no velocity where a channel asks for it.
        """
        if heatmap.grid is not self._source and (difference := self._source.difference(heatmap.grid)):
            raise ValueError(f'heatmap: {difference}')
        heatmap.check_finite()
        if self.settings.needs_velocity and heatmap.velocity is None:
            named = ' and '.join(repr(name) for name in self.settings.channels if name in VELOCITY_CHANNELS)
            raise ValueError(f'velocity: expected a radar that measures it, for the channel {named}, got none')
        rows = self.grid.shape[0]
        floor = np.float32(heatmap.noise_level)
        values = np.ascontiguousarray(heatmap.values[:rows], dtype=np.float32)
        power = _log_power(values - floor)
        maps = []
        for channel in self.settings.channels:
            if channel == 'power':
                maps.append(power)
            elif channel == 'change':
                maps.append(self._change(heatmap, values, floor))
            elif heatmap.velocity is not None:
                speed = heatmap.velocity[:rows].astype(np.float16).astype(np.float32)
                if channel == 'velocity':
                    shown = speed / np.float32(self.settings.velocity_scale)
                    known = np.isfinite(speed) & (values - floor >= self.settings.velocity_min_snr)
                else:
                    shown = power * (speed**2 / (speed**2 + np.float32(self.settings.moving_speed) ** 2))
                    known = np.isfinite(speed)
                maps.append(np.where(known, shown, np.float32(0)))
        return np.stack(maps).astype(np.float16).astype(np.float32)

    def reset(self) -> None:
        """Forget the background: the stream jumped or the radar moved."""
        self._background.reset()

    def share_background(self, other: 'RadarInput') -> None:
        """Go on with what another input of the same stream has learned, if it is learned the same way."""
        names = ('background_frames', 'background_interval')
        if self.grid == other.grid and all(getattr(self.settings, n) == getattr(other.settings, n) for n in names):
            self._background = other._background

    def _change(self, heatmap: Heatmap, values: NDArray[np.float32], floor: np.float32) -> NDArray[np.float32]:
        """Log-power over the background of the heatmaps before this one; that of 0 dB everywhere on the first."""
        level = self._background.level
        self._background.update(replace(heatmap, values=values, grid=self.grid, velocity=None))
        return _log_power(np.zeros_like(values) if level is None else values - np.maximum(level, floor))


def _log_power(decibels: NDArray[np.float32]) -> NDArray[np.float32]:
    """`models.polar_layers.log_power` of an array."""
    return np.logaddexp(np.float32(0), decibels * np.float32(DECIBEL))


def stream_inputs(
    heatmaps: Iterable[Heatmap], settings: RadarInputSettings, grid: PolarGrid
) -> Iterator[NDArray[np.float16]]:
    """The (C, R, A) inputs of the heatmaps of one stream, in order of time.

    Raises:
        ValueError: as `RadarInput`.
    """
    radar_input = RadarInput(settings, grid)
    for heatmap in heatmaps:
        yield radar_input(heatmap).astype(np.float16)
