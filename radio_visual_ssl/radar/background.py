# SPDX-License-Identifier: Apache-2.0
"""What a static radar sees all the time: running backgrounds of heatmaps, and what stands out from them."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap


class Background(Protocol):
    """A running estimate of the static scene, fed in order of time; a change of grid starts it afresh."""

    @property
    def count(self) -> int:
        """Heatmaps learned from since the last reset."""
        ...

    @property
    def level(self) -> NDArray[np.float32] | None:
        """(R, A) dB, the background; None before the first heatmap."""
        ...

    def update(self, heatmap: Heatmap) -> NDArray[np.float32]:
        """Foreground: dB by which each cell stands above what was known before this heatmap, which is then learned.

        The first heatmap defines the background: its foreground is 0 dB everywhere.
        """
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...


class MedianBackground:
    """Exact running median of each cell over the last heatmaps.

    A target that stays less than half the window in a cell leaves no trace. The window is kept sorted, so that an
    update replaces one value per cell instead of sorting again: four passes over (frames, R, A).

    Args:
        frames: length of the window, in heatmaps that are learned.
        interval: learn every n-th heatmap alone: a longer memory at the same cost.

    Raises:
        ValueError: an argument below 1.
    """

    def __init__(self, frames: int = 50, interval: int = 1) -> None:
        for name, value in (('frames', frames), ('interval', interval)):
            if value < 1:
                raise ValueError(f'{name}: expected a whole number from 1 on, got {value}')
        self._frames = frames
        self._interval = interval
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._grid: PolarGrid | None = None
        self._seen = 0
        self._history = np.empty((0, 0, 0), dtype=np.float32)
        self._sorted = np.empty((0, 0, 0), dtype=np.float32)
        self._level: NDArray[np.float32] | None = None

    @property
    def count(self) -> int:
        """Heatmaps learned from since the last reset."""
        return -(-self._seen // self._interval)

    @property
    def level(self) -> NDArray[np.float32] | None:
        """(R, A) dB, the median; None before the first heatmap."""
        return self._level

    def update(self, heatmap: Heatmap) -> NDArray[np.float32]:
        """Foreground, dB above the median of the heatmaps before this one, which is then learned."""
        if self._grid is None or (heatmap.grid is not self._grid and heatmap.grid != self._grid):
            self.reset()
            self._grid = heatmap.grid
            self._history = np.empty((self._frames, *heatmap.values.shape), dtype=np.float32)
            self._sorted = np.empty_like(self._history)
        foreground = np.zeros_like(heatmap.values) if self._level is None else heatmap.values - self._level
        if self._seen % self._interval == 0:
            self._learn(heatmap.values)
        self._seen += 1
        return foreground

    def _learn(self, values: NDArray[np.float32]) -> None:
        """Put the values into the window, in place of the oldest once it is full."""
        filled = min(self.count, self._frames)
        slot = self.count % self._frames
        if filled == self._frames:
            # Close the gap of the oldest value: what lies above it moves down by one.
            kept = np.where(self._sorted[:-1] < self._history[slot], self._sorted[:-1], self._sorted[1:])
        else:
            kept = self._sorted[:filled].copy()
        self._history[slot] = values
        size = len(kept) + 1
        # In the new order a value is its old self, its old neighbour from below, or the new value between them.
        np.minimum(kept, values, out=self._sorted[: size - 1])
        self._sorted[size - 1] = values
        np.maximum(self._sorted[1:size], kept, out=self._sorted[1:size])
        upper, lower = self._sorted[size // 2], self._sorted[(size - 1) // 2]
        self._level = (upper + lower) / 2


class EwmaBackground:
    """Exponentially weighted mean of each cell, in dB, that limits what a single heatmap can do.

    Until ``1 / rate`` heatmaps are learned it is their plain mean. Afterwards a cell moves by at most ``rate * limit``
    a heatmap, so that a passing target (tens of dB) weighs little more than noise does.

    Args:
        rate: weight of a new heatmap, in (0, 1].
        limit: dB, largest deviation that counts in full.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, rate: float = 0.05, limit: float = 6.0) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f'rate: expected a number in (0, 1], got {rate}')
        if not limit > 0:
            raise ValueError(f'limit: expected a positive number of dB, got {limit}')
        self._rate = rate
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._grid: PolarGrid | None = None
        self._count = 0
        self._level: NDArray[np.float32] | None = None

    @property
    def count(self) -> int:
        """Heatmaps learned from since the last reset."""
        return self._count

    @property
    def level(self) -> NDArray[np.float32] | None:
        """(R, A) dB, the mean; None before the first heatmap."""
        return self._level

    def update(self, heatmap: Heatmap) -> NDArray[np.float32]:
        """Foreground, dB above the mean of the heatmaps before this one, which is then learned."""
        if self._grid is None or (heatmap.grid is not self._grid and heatmap.grid != self._grid):
            self.reset()
            self._grid = heatmap.grid
        self._count += 1
        if self._level is None:
            self._level = heatmap.values.astype(np.float32)
            return np.zeros_like(heatmap.values)
        foreground = heatmap.values - self._level
        if self._count * self._rate <= 1:
            self._level = self._level + foreground / np.float32(self._count)
        else:
            step = np.clip(foreground, -self._limit, self._limit)
            step *= np.float32(self._rate)
            self._level = self._level + step
        return foreground


def usual_level(heatmap: Heatmap, level: NDArray[np.float32]) -> NDArray[np.float32]:
    """(R, A) dB that a heatmap is held against: a background, but no less than the noise floor.

    The noise floor is the heatmap's own where known, else the lower quartile of the background: most of its cells hold
    noise alone, which the background has averaged. (Of one heatmap alone, see `Heatmap.noise_level`.)

    Args:
        heatmap: any.
        level: (R, A) dB, the background.
    """
    if np.isfinite(heatmap.noise_floor):
        floor = np.float32(heatmap.noise_floor)
    else:
        quarter = level.size // 4
        floor = np.partition(level, quarter, axis=None)[quarter]
    return np.maximum(level, floor)
