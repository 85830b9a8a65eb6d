# SPDX-License-Identifier: Apache-2.0
"""Layers for maps over range and azimuth: convolutions that wrap, normalisation per cell, coordinate features."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from radio_visual_ssl.models.cell_grid import CellGrid, Pair, as_pair

DECIBEL = math.log(10) / 10
"""Natural logarithm of the power ratio 1 dB."""


def log_power(decibels: Tensor) -> Tensor:
    """The networks' input: ``log(1 + power / noise)`` of heatmaps in dB above the noise floor, of any shape.

    Noise stays near 0.7 and weaker cells go to 0 instead of to minus infinity: with unbounded decibels contrastive
    training did not converge.
    """
    return functional.softplus(decibels * DECIBEL)


class PolarConv2d(nn.Conv2d):
    """A convolution over (B, C, range, azimuth) that keeps the grid: odd kernels, padded by half of them.

    Zeros are padded along range; along azimuth zeros, or the other end of the circle where the grid wraps. Cell c of
    the output is centred on cell ``stride * c`` of the input.

    Args:
        cells: of the input.
        input_channels, output_channels: numbers of channels.
        kernel, stride, dilation: one number, or (range, azimuth).
        symmetric: use the mean of the kernel and its mirror images along range and azimuth.

    Raises:
        ValueError: an even kernel, or settings that `CellGrid.convolved` refuses.
    """

    def __init__(
        self,
        cells: CellGrid,
        input_channels: int,
        output_channels: int,
        kernel: Pair,
        stride: Pair = 1,
        dilation: Pair = 1,
        symmetric: bool = False,
    ) -> None:
        kernels, dilations = as_pair('kernel', kernel, 1), as_pair('dilation', dilation, 1)
        strides = as_pair('stride', stride, 1)
        if kernels[0] % 2 == 0 or kernels[1] % 2 == 0:
            raise ValueError(f'kernel: expected odd numbers, got {kernel!r}')
        half = (dilations[0] * (kernels[0] // 2), dilations[1] * (kernels[1] // 2))
        self._circle = half[1] if cells.wraps else 0
        padding = (half[0], 0 if cells.wraps else half[1])
        super().__init__(input_channels, output_channels, kernels, strides, padding, dilations)
        self.cells = cells.convolved(kernels, strides, half, dilations)
        self.symmetric = symmetric

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, rows, columns) to (B, output_channels, rows', columns') of ``self.cells``."""
        if self._circle:
            maps = torch.cat((maps[..., -self._circle :], maps, maps[..., : self._circle]), dim=-1)
        weight = self.weight
        if self.symmetric:
            weight = (weight + weight.flip(-1)) / 2
            weight = (weight + weight.flip(-2)) / 2
        return self._conv_forward(maps, weight, self.bias)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each cell alone: no cell learns of another one's content.

    Batch and group normalisation would mix cells and widen the receptive field to the whole map.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Standardization(nn.Module):
    """Batch normalisation of each channel with a learned scale and offset (arXiv 1502.03167).

    Without it all keys, and all queries, begin as all but one and the same vector, and contrastive training may never
    leave that point, or fall back to it. Without the learned offset, keys of empty cells could not agree on a direction
    of their own. In use it is the same affine map in all cells, through which none sees another.

    Args:
        channels: of the features, their second axis.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.offset = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer('mean', torch.zeros(channels))
        self.register_buffer('variance', torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, ...) to the same shape; fewer than two values per channel leave the running values alone."""
        several = features.numel() > features.shape[1]
        return functional.batch_norm(
            features, self.mean, self.variance, self.scale, self.offset, training=self.training and several
        )


def fourier_features(phase: Tensor, bands: int) -> Tensor:
    """Sine and cosine of ``phase``, ``2 phase``, ``4 phase`` ...; (...) rad to (2 bands, ...).

    Mildenhall et al., "NeRF", arXiv 2003.08934, equation 4.
    """
    turns = torch.stack([phase * 2.0**band for band in range(bands)])
    return torch.cat((turns.sin(), turns.cos()))


class PolarCoordinates(nn.Module):
    """Appends features of each cell's true place to a map.

    Range r: Fourier features of ``pi r / r_max``. Azimuth: of ``pi / 2 sin(azimuth)``, in which beams are equally wide;
    on a grid that wraps of the azimuth itself, which tells front from back and has no seam.

    Args:
        cells: of the map.
        bands: octaves per coordinate; 0 = no features.

    Attributes:
        channels: number of features.

    Raises:
        ValueError: a negative number of bands.
    """

    features: Tensor

    def __init__(self, cells: CellGrid, bands: int) -> None:
        super().__init__()
        if bands < 0:
            raise ValueError(f'coordinate_bands: expected 0 or more, got {bands}')
        self.channels = 4 * bands
        range_ = torch.from_numpy(cells.range) * (math.pi / float(cells.grid.range[-1]))
        azimuth = torch.from_numpy(cells.azimuth)
        if not cells.wraps:
            azimuth = azimuth.sin() * (math.pi / 2)
        features = torch.zeros(0, *cells.shape, dtype=torch.float64)
        if bands:
            rows = fourier_features(range_, bands)[:, :, None].expand(-1, *cells.shape)
            columns = fourier_features(azimuth, bands)[:, None].expand(-1, *cells.shape)
            features = torch.cat((rows, columns))
        self.register_buffer('features', features.float()[None], persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, rows, columns) to (B, C + channels, rows, columns)."""
        features = self.features.to(maps.dtype).expand(maps.shape[0], -1, -1, -1)
        return torch.cat((maps, features), dim=1)


def check_maps(name: str, maps: Tensor, channels: int, shape: tuple[int, int]) -> None:
    """Refuse a batch of maps that does not fit.

    Raises:
        ValueError: another shape than (B, channels, *shape).
    """
    if maps.dim() != 4 or tuple(maps.shape[1:]) != (channels, *shape):
        raise ValueError(f'{name}: expected shape (B, {channels}, {shape[0]}, {shape[1]}), got {tuple(maps.shape)}')
