# SPDX-License-Identifier: Apache-2.0
"""Layers over range and azimuth: input scale, wrap-around, locality and coordinates."""

import numpy as np
import pytest
import torch

from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.polar_layers import ChannelNorm, PolarConv2d, PolarCoordinates, log_power
from radio_visual_ssl.radar.grid import PolarGrid

SECTOR = PolarGrid(np.arange(12) * 0.5, np.arcsin(np.linspace(-0.9, 0.9, 8)))
CIRCLE = PolarGrid(np.arange(12) * 0.5, np.linspace(-np.pi, np.pi, 8, endpoint=False), wraps=True)


def test_log_power_is_the_logarithm_of_one_plus_power_over_noise():
    decibels = torch.tensor([-400.0, -10.0, 0.0, 10.0, 60.0, 300.0], dtype=torch.float64)
    torch.testing.assert_close(log_power(decibels), torch.log1p(10 ** (decibels / 10)))


def test_a_convolution_on_a_circle_commutes_with_turning():
    torch.manual_seed(0)
    convolution = PolarConv2d(CellGrid.of(CIRCLE), 2, 3, 3, (1, 2), dilation=2)
    maps = torch.randn(1, 2, 12, 8)
    turned = convolution(maps.roll(2, dims=-1))
    torch.testing.assert_close(turned, convolution(maps).roll(1, dims=-1))


def test_a_convolution_on_a_sector_does_not_see_the_other_edge():
    convolution = PolarConv2d(CellGrid.of(SECTOR), 1, 1, 3)
    maps = torch.zeros(1, 1, 12, 8)
    edge = maps.clone()
    edge[..., -1] = 1
    assert torch.equal(convolution(maps)[..., 0], convolution(edge)[..., 0])


def test_the_output_has_the_shape_that_the_cells_say():
    convolution = PolarConv2d(CellGrid.of(SECTOR), 1, 4, (5, 3), (4, 2))
    assert tuple(convolution(torch.zeros(2, 1, 12, 8)).shape) == (2, 4, *convolution.cells.shape)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match='kernel: expected odd'):
        PolarConv2d(CellGrid.of(SECTOR), 1, 1, 4)


def test_channel_norm_mixes_no_cells():
    maps = torch.randn(1, 6, 5, 5)
    other = maps.clone()
    other[..., 0, 0] += 7
    norm = ChannelNorm(6)
    assert torch.equal(norm(maps)[..., 1:, :], norm(other)[..., 1:, :])


def test_coordinates_come_from_the_true_grid():
    features = PolarCoordinates(CellGrid.of(SECTOR), 3).features[0]
    assert features.shape == (12, 12, 8)
    expected = np.sin(np.pi * SECTOR.range / SECTOR.range[-1])
    np.testing.assert_allclose(features[0, :, 3], expected, atol=1e-6)
    np.testing.assert_allclose(features[6, 4], np.sin(np.pi / 2 * np.sin(SECTOR.azimuth)), atol=1e-6)


def test_coordinates_of_a_circle_tell_front_from_back_and_have_no_seam():
    features = PolarCoordinates(CellGrid.of(CIRCLE), 2).features[0][4:, 0]
    front, back = features[:, 4], features[:, 0]
    assert (front - back).abs().max() > 1
    steps = (features.roll(1, dims=1) - features).square().sum(dim=0)
    torch.testing.assert_close(steps, steps.mean().expand(8))


def test_no_bands_are_no_features():
    assert PolarCoordinates(CellGrid.of(SECTOR), 0)(torch.zeros(2, 3, 12, 8)).shape == (2, 3, 12, 8)
