# SPDX-License-Identifier: Apache-2.0
"""Variations of training frames that move the labels with the data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_visual_ssl.learning.localizer_data import LabelledBatch
from radio_visual_ssl.models.polar_layers import DECIBEL
from radio_visual_ssl.models.radar_input import ABSENT
from radio_visual_ssl.radar.grid import PolarGrid, turned_towards


@dataclass(frozen=True)
class VariationSettings:
    """How training frames are varied, their labels with them.

    Attributes:
        mirror: share of frames seen in a mirror (left is right), where the azimuth bins are symmetric.
        shift: range bins and azimuth bins by which a frame is moved at most, either way.
        gain_db: dB by which all that stands above the noise is made stronger or weaker, standard deviation; velocities
            stay.
        noise: standard deviation of what is added to the maps, in their unit.
        cut_out: share of frames in which a box is blanked out and nothing is learned.
        cut_size: share of the range and azimuth bins that a box has at most.

    Raises:
        ValueError: a value out of range.
    """

    mirror: float = 0.5
    shift: tuple[int, int] = (0, 0)
    gain_db: float = 2.0
    noise: float = 0.0
    cut_out: float = 0.0
    cut_size: float = 0.25

    def __post_init__(self) -> None:
        """Check the values; a list becomes a tuple."""
        object.__setattr__(self, 'shift', tuple(self.shift))
        for name in ('mirror', 'cut_out', 'cut_size'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected a share from 0 to 1, got {getattr(self, name)!r}')
        for name in ('gain_db', 'noise'):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f'{name}: expected 0 or more, got {getattr(self, name)!r}')
        if len(self.shift) != 2 or not all(isinstance(bins, int) and bins >= 0 for bins in self.shift):
            raise ValueError(f'shift: expected two whole numbers from 0 on, got {self.shift!r}')


def vary(
    batch: LabelledBatch,
    grid: PolarGrid,
    channels: Sequence[str],
    settings: VariationSettings,
    generator: torch.Generator,
) -> LabelledBatch:
    """Frames as they might have been, with labels and sectors where these then are.

    Args:
        batch: as recorded.
        grid: of the maps.
        channels: of the maps, see `RadarInputSettings`.
        settings: how much.
        generator: on the CPU; the same numbers give the same frames on every device.

    Raises:
        ValueError: frames with pictures that would be shifted.
    """
    count, device = len(batch.maps), batch.maps.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    if settings.mirror and np.allclose(grid.azimuth, -grid.azimuth[::-1], atol=1e-6):
        batch = _mirrored(batch, (uniform(count) < settings.mirror).to(device))
    if any(settings.shift):
        if batch.pictures is not None:
            raise ValueError(f'shift: expected (0, 0), for pictures would not move along, got {settings.shift}')
        moves = [(2 * uniform(count) - 1) * (bins + 0.5) for bins in settings.shift]
        batch = _shifted(batch, grid, channels, torch.stack([move.round() for move in moves], dim=1).to(device))
    maps = batch.maps
    if settings.gain_db:
        gain = (torch.randn(count, 1, 1, 1, generator=generator) * settings.gain_db * DECIBEL).to(device)
        levels = torch.tensor([float(channel != 'velocity') for channel in channels], device=device)[:, None, None]
        maps = maps + gain * levels * (1 - 2 * torch.exp(-maps)).clamp_min(0)
    if settings.noise:
        maps = maps + torch.randn(maps.shape, generator=generator).to(device) * settings.noise
    batch = batch._replace(maps=maps)
    if settings.cut_out:
        batch = _cut_out(batch, grid, channels, uniform(count, 4).to(device), settings, uniform(count).to(device))
    return batch


def _mirrored(batch: LabelledBatch, chosen: Tensor) -> LabelledBatch:
    """Left and right exchanged in the chosen (B,) frames."""
    maps = torch.where(chosen[:, None, None, None], batch.maps.flip(-1), batch.maps)
    other = torch.stack((batch.sector[:, 0], batch.sector[:, 1], -batch.sector[:, 3], -batch.sector[:, 2]), dim=1)
    sector = torch.where(chosen[:, None], other, batch.sector)
    azimuth = torch.where(chosen[batch.frame], -batch.azimuth, batch.azimuth)
    return batch._replace(maps=maps, sector=sector, azimuth=azimuth, mirrored=chosen)


def _absent(channels: Sequence[str], device: torch.device) -> Tensor:
    """(1, C, 1, 1) what the channels show where there is nothing."""
    return torch.tensor([ABSENT[channel] for channel in channels], device=device)[None, :, None, None]


def _shifted(batch: LabelledBatch, grid: PolarGrid, channels: Sequence[str], moves: Tensor) -> LabelledBatch:
    """Frames moved by whole (B, 2) bins; what comes in is noise, in which nothing is learned."""
    rows, columns = grid.shape
    device = batch.maps.device
    down = torch.arange(rows, device=device)[None] - moves[:, :1].long()
    right = torch.arange(columns, device=device)[None] - moves[:, 1:].long()
    frame = torch.arange(len(moves), device=device)[:, None, None]
    inside = (down >= 0) & (down < rows)
    across = torch.ones_like(right, dtype=torch.bool) if grid.wraps else (right >= 0) & (right < columns)
    picked = batch.maps[frame, :, down.clamp(0, rows - 1)[:, :, None], (right % columns)[:, None]].movedim(-1, 1)
    maps = torch.where((inside[:, :, None] & across[:, None])[:, None], picked, _absent(channels, device))
    place = [torch.from_numpy(each) for each in grid.index(batch.range.cpu().numpy(), batch.azimuth.cpu().numpy())]
    move = moves[batch.frame].double().cpu()
    row, column = place[0] + move[:, 0], place[1] + move[:, 1]
    out = (row < 0) | (row > rows - 1) | ~torch.isfinite(row + column)
    if not grid.wraps:
        out |= (column < 0) | (column > columns - 1)
    range_, azimuth = (
        torch.from_numpy(each).to(device)
        for each in grid.position(torch.nan_to_num(row).numpy(), torch.nan_to_num(column).numpy())
    )
    sectors = _moved_sectors(grid, batch.sector.cpu().numpy(), moves.double().cpu().numpy())
    moved = torch.from_numpy(sectors).to(batch.sector)
    stays = ~out.to(device)
    return LabelledBatch(
        maps,
        moved,
        batch.frame[stays],
        range_[stays],
        azimuth[stays],
        batch.spread[stays],
        batch.confidence[stays],
        batch.kept[stays],
        batch.number,
        class_index=None if batch.class_index is None else batch.class_index[stays],
    )


def _moved_sectors(grid: PolarGrid, sectors: NDArray[np.float64], moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 4) sectors moved by (B, 2) bins; see `in_sector`. Borders are clamped to the grid, a circle turns."""
    bins = np.arange(grid.shape[0])
    range_ = np.interp(np.interp(sectors[:, :2], grid.range, bins) + moves[:, :1], bins, grid.range)
    if grid.wraps:
        return np.hstack((range_, sectors[:, 2:] + moves[:, 1:] * 2 * np.pi / grid.shape[1]))
    centre = sectors[:, 2:].mean(axis=1, keepdims=True)
    turn = turned_towards(centre, (grid.azimuth[0] + grid.azimuth[-1]) / 2) - centre
    bins = np.arange(grid.shape[1])
    column = np.interp(sectors[:, 2:] + turn, grid.azimuth, bins) + moves[:, 1:]
    return np.hstack((range_, np.interp(column, bins, grid.azimuth)))


def _cut_out(
    batch: LabelledBatch,
    grid: PolarGrid,
    channels: Sequence[str],
    box: Tensor,
    settings: VariationSettings,
    chance: Tensor,
) -> LabelledBatch:
    """Boxes blanked out; the labels in them count as dropped, so that nothing is learned there."""
    rows, columns = grid.shape
    size = box[:, 2:] * settings.cut_size
    low = box[:, :2] * (1 - size)
    high = low + size
    chosen = (chance < settings.cut_out)[:, None]
    row = (torch.arange(rows, device=box.device) + 0.5)[None] / rows
    column = (torch.arange(columns, device=box.device) + 0.5)[None] / columns
    down = (row >= low[:, :1]) & (row < high[:, :1]) & chosen
    across = (column >= low[:, 1:]) & (column < high[:, 1:])
    inside = (down[:, :, None] & across[:, None])[:, None]
    maps = torch.where(inside, _absent(channels, box.device), batch.maps)
    place = [np.nan_to_num(each) for each in grid.index(batch.range.cpu().numpy(), batch.azimuth.cpu().numpy())]
    at = [torch.from_numpy(each.round().astype(np.int64)).to(box.device) for each in place]
    hidden = inside[batch.frame, 0, at[0].clamp(0, rows - 1), at[1] % columns]
    return batch._replace(maps=maps, kept=batch.kept & ~hidden)
