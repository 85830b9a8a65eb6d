# SPDX-License-Identifier: Apache-2.0
"""Heatmaps as pictures for the eye: far is up, left is left."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.grid import PolarGrid
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
        self._colours = _colour_table(colour_map)
        self._limits = limits
        self._automatic: NDArray[np.float64] | None = None
        self._rows, self._columns = _cartesian_maps(grid, height) if view == 'cartesian' else _polar_maps(grid, height)
        self._outside = ~(np.isfinite(self._rows) & np.isfinite(self._columns))
        # remap reads no NaN; what is outside is painted over
        self._rows[self._outside] = self._columns[self._outside] = 0

    def draw(self, heatmap: Heatmap) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of a heatmap on this grid."""
        low, high = self._scale(heatmap.values)
        levels = np.clip((heatmap.values - low) * (255 / max(high - low, 1e-3)), 0, 255)
        if self.grid.wraps:
            levels = np.concatenate([levels, levels[:, :1]], axis=1)
        interpolation = cv2.INTER_LINEAR
        levels = cv2.remap(
            levels.astype(np.float32), self._columns, self._rows, interpolation, None, cv2.BORDER_REPLICATE
        )
        picture = self._colours[levels.astype(np.uint8)]
        picture[self._outside] = OUTSIDE
        return picture

    def _scale(self, values: NDArray[np.float32]) -> tuple[float, float]:
        low, high = self._limits
        if np.isnan(low) or np.isnan(high):
            now = np.percentile(values[::2, ::2], (50, 99.9))
            smoothed = now if self._automatic is None else self._automatic + SMOOTHING * (now - self._automatic)
            self._automatic = smoothed
            low = smoothed[0] if np.isnan(low) else low
            high = smoothed[1] if np.isnan(high) else high
        return float(low), float(high)


def _colour_table(name: str) -> NDArray[np.uint8]:
    """(256, 3) RGB."""
    ramp = np.arange(256, dtype=np.uint8)
    if COLOUR_MAPS[name] is None:
        return np.repeat(ramp[:, None], 3, axis=1)
    return cv2.applyColorMap(ramp[:, None], COLOUR_MAPS[name])[:, 0, ::-1].copy()


def _cartesian_maps(grid: PolarGrid, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fractional row and column, (H, W) each, of every pixel of a view from above; NaN outside the grid."""
    corners = np.append(grid.azimuth, [angle for angle in (-np.pi / 2, 0.0, np.pi / 2) if _inside(grid, angle)])
    if grid.wraps:
        corners = np.linspace(-np.pi, np.pi, 9)
    far = grid.range[-1]
    x_low, x_high = min(0.0, far * np.cos(corners).min()), far * np.cos(corners).max()
    y_low, y_high = min(0.0, far * np.sin(corners).min()), max(0.0, far * np.sin(corners).max())
    width = max(round(height * (y_high - y_low) / (x_high - x_low)), 8)
    x = x_high - (np.arange(height) + 0.5) * (x_high - x_low) / height
    y = y_high - (np.arange(width) + 0.5) * (y_high - y_low) / width
    rows, columns = grid.index(np.hypot(x[:, None], y[None, :]), np.arctan2(y[None, :], x[:, None]))
    return rows.astype(np.float32), np.broadcast_to(columns, rows.shape).astype(np.float32)


def _polar_maps(grid: PolarGrid, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fractional row and column, (H, W) each, of a heatmap flipped both ways; bins keep equal sizes."""
    rows, columns = grid.shape
    width = max(round(height * columns / rows), 8) if columns > rows else height
    down = (np.arange(height) + 0.5) * rows / height - 0.5
    across = (np.arange(width) + 0.5) * columns / width - 0.5
    row, column = np.meshgrid(rows - 1 - down, columns - 1 - across, indexing='ij')
    return row.astype(np.float32), column.astype(np.float32)


def _inside(grid: PolarGrid, angle: float) -> bool:
    return bool(grid.azimuth[0] <= angle <= grid.azimuth[-1])
