# SPDX-License-Identifier: Apache-2.0
"""Heatmaps as pictures for the eye: far is up, left is left."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.grid import CartesianGrid, PolarGrid, polar_to_cartesian
from radio_visual_ssl.radar.heatmap import Heatmap

COLOUR_MAPS = {
    'viridis': cv2.COLORMAP_VIRIDIS,
    'inferno': cv2.COLORMAP_INFERNO,
    'turbo': cv2.COLORMAP_TURBO,
    'grey': None,
}

OUTSIDE = (24, 24, 28)
"""RGB beyond the grid."""

SMOOTHING = 0.1
"""Share of the newest frame in the automatic scale, so that it does not flicker."""


class Preview:
    """Draws the heatmaps of one grid.

    ``cartesian`` looks down on the ground: x forward is up, y left is left, so that places keep their shape. ``polar``
    is the heatmap itself, flipped both ways: range upwards, azimuth from left to right as one looks out.

    Args:
        grid: of the heatmaps.
        view: cartesian or polar.
        colour_map: one of COLOUR_MAPS.
        height: pixels of the picture.
        limits: dB of the darkest and the brightest colour; NaN follows the heatmap (its median, and its brightest
            cells: 99.9th percentile).
    """

    def __init__(
        self,
        grid: PolarGrid,
        view: Literal['cartesian', 'polar'] = 'cartesian',
        colour_map: str = 'viridis',
        height: int = 480,
        limits: tuple[float, float] = (float('nan'), float('nan')),
    ) -> None:
        self.grid = grid
        self._height = height
        self._ground = CartesianGrid.around(grid, _cell_size(grid, height)) if view == 'cartesian' else None
        self._colours = _colour_table(colour_map)
        self._limits = limits
        self._automatic: NDArray[np.float64] | None = None

    def draw(self, heatmap: Heatmap) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of a heatmap on this grid."""
        low, high = self._scale(heatmap.values)
        levels = np.clip((heatmap.values - low) * (255 / max(high - low, 1e-3)), 0, 255)
        if self._ground is None:
            rows, columns = levels.shape
            size = (max(round(self._height * columns / rows), self._height), self._height)
            return self._colours[cv2.resize(levels, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)[::-1, ::-1]]
        picture = polar_to_cartesian(levels, self.grid, self._ground, fill=-1.0)[::-1, ::-1]
        outside = picture < 0
        coloured = self._colours[np.where(outside, 0, picture).astype(np.uint8)]
        coloured[outside] = OUTSIDE
        return coloured

    def _scale(self, values: NDArray[np.float32]) -> tuple[float, float]:
        low, high = self._limits
        if np.isnan(low) or np.isnan(high):
            now = np.percentile(values[::2, ::2].astype(np.float64), (50, 99.9))
            smoothed = now if self._automatic is None else self._automatic + SMOOTHING * (now - self._automatic)
            self._automatic = smoothed
            low = smoothed[0] if np.isnan(low) else low
            high = smoothed[1] if np.isnan(high) else high
        return float(low), float(high)


def _colour_table(name: str) -> NDArray[np.uint8]:
    """(256, 3) RGB."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    colour_map = COLOUR_MAPS[name]
    coloured = np.stack([ramp] * 3, axis=-1) if colour_map is None else cv2.applyColorMap(ramp, colour_map)
    return np.ascontiguousarray(coloured[:, 0, ::-1], dtype=np.uint8)


def _cell_size(grid: PolarGrid, height: int) -> float:
    """Metres per pixel with which the whole grid fills the height."""
    coarse = CartesianGrid.around(grid, grid.range[-1] / 1000)
    return float(np.ptp(coarse.x)) / max(height - 1, 1)
