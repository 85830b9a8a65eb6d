# SPDX-License-Identifier: Apache-2.0
"""The radio encoder: keys on the grid, a receptive field as stated, planted points that come back."""

import numpy as np
import pytest
import torch

from radio_visual_ssl.models.attention import find_peaks
from radio_visual_ssl.models.radio_encoder import RadioEncoder
from radio_visual_ssl.radar.grid import PolarGrid

SECTOR = PolarGrid(np.arange(48) * 0.375, np.arcsin(np.linspace(-0.95, 0.95, 40)))
CIRCLE = PolarGrid(1 + np.arange(48) * 0.5, np.linspace(-np.pi, np.pi, 40, endpoint=False), wraps=True)
LAYERS = [((5, 3), (2, 1)), ((5, 3), (2, 2)), (((3, 5), 3, 3), ((2, 1), 1, 2))]


@pytest.mark.parametrize('grid', [SECTOR, CIRCLE])
def test_keys_keep_the_grid_and_have_unit_length(grid):
    encoder = RadioEncoder(grid, input_channels=3, embedding_dim=16, width=8)
    keys = encoder(torch.randn(2, 3, 48, 40))
    assert tuple(keys.shape) == (2, 16, 24, 20) == (2, 16, *encoder.cells.shape)
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(2, 24, 20))


@pytest.mark.parametrize('grid', [SECTOR, CIRCLE])
@pytest.mark.parametrize(('kernels', 'strides'), LAYERS)
def test_a_cell_sees_its_stated_receptive_field_and_nothing_else(grid, kernels, strides):
    torch.manual_seed(1)
    encoder = RadioEncoder(grid, 2, 8, 8, kernels, strides).double().eval()
    maps = torch.randn(1, 2, 48, 40, dtype=torch.float64, requires_grad=True)
    row, column = encoder.cells.shape[0] // 2, encoder.cells.shape[1] // 2
    encoder(maps)[0, :, row, column].square().mul(torch.arange(8)).sum().backward()
    seen = (maps.grad[0].abs().sum(dim=0) > 0).nonzero()
    first, last = seen.min(dim=0).values, seen.max(dim=0).values
    assert tuple((last - first + 1).tolist()) == encoder.receptive_field
    centre = ((first + last) / 2).tolist()
    assert centre == [row * encoder.cells.stride[0], column * encoder.cells.stride[1]]


def test_a_cell_at_the_seam_of_a_circle_sees_across_it():
    encoder = RadioEncoder(CIRCLE, 1, 8, 8)
    maps = torch.randn(1, 1, 48, 40, requires_grad=True)
    encoder(maps)[0, 0, 12, 0].backward()
    assert maps.grad[0, 0, :, -4:].abs().sum() > 0


@pytest.mark.parametrize('grid', [SECTOR, CIRCLE])
@pytest.mark.parametrize(('kernels', 'strides'), LAYERS)
def test_a_planted_point_comes_back_within_a_tenth_of_a_cell(grid, kernels, strides):
    encoder = RadioEncoder(grid, 1, 4, 1, kernels, strides, coordinate_bands=0)
    cells = encoder.cells
    convolutions = [layer for layer in encoder.local if isinstance(layer, torch.nn.Conv2d)]
    for layer in convolutions:  # binomial weights: the layers blur, and the blur is centred if the padding is
        sides = [
            torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0] if size == 5 else [1.0, 2.0, 1.0]) for size in layer.kernel_size
        ]
        layer.requires_grad_(False).weight.data = (
            (sides[0][:, None] * sides[1])[None, None] / sides[0].sum() / sides[1].sum()
        )
    rng = np.random.default_rng(2)
    row = rng.uniform(1, cells.shape[0] - 2, 60)
    column = rng.uniform(-0.5, cells.shape[1] - 0.5, 60) if grid.wraps else rng.uniform(1, cells.shape[1] - 2, 60)
    range_, azimuth = cells.decode(row, column)
    bins = grid.index(range_, azimuth)
    away = [np.arange(size) - each[:, None] for size, each in zip(grid.shape, bins, strict=True)]
    if grid.wraps:
        away[1] = (away[1] + grid.shape[1] / 2) % grid.shape[1] - grid.shape[1] / 2
    width = 1.6  # bins, a point seen by a radar with a window
    maps = np.exp(-0.5 * ((away[0] / width)[:, :, None] ** 2 + (away[1] / width)[:, None, :] ** 2))
    blurred = torch.from_numpy(maps)[:, None]
    for layer in convolutions:
        blurred = layer.double()(blurred) - layer.bias.double()[:, None, None]
    peaks = find_peaks(blurred[:, 0].log(), grid.wraps)
    found = cells.index(*cells.decode(peaks.row.numpy(), peaks.column.numpy()))
    error = np.abs(found[1] - column)
    if grid.wraps:
        error = np.minimum(error, cells.shape[1] - error)
    assert np.abs(found[0] - row).max() < 0.1
    assert error.max() < 0.1


def test_a_mirrored_heatmap_has_mirrored_features_unless_kernels_are_free():
    grid = PolarGrid(np.arange(49) * 0.375, np.arcsin(np.linspace(-0.95, 0.95, 41)))
    maps = torch.randn(1, 1, 49, 41)
    for symmetric in (True, False):
        local = RadioEncoder(grid, 1, 8, 8, symmetric=symmetric).local
        for axis in (-1, -2):
            assert torch.allclose(local(maps).flip(axis), local(maps.flip(axis)), atol=1e-5) == symmetric


def test_the_default_field_is_small_against_the_map():
    assert RadioEncoder(SECTOR).receptive_field == (9, 9)


def test_other_heatmaps_are_refused():
    with pytest.raises(ValueError, match=r'heatmaps: expected shape \(B, 1, 48, 40\), got \(1, 1, 48, 41\)'):
        RadioEncoder(SECTOR)(torch.zeros(1, 1, 48, 41))


@pytest.mark.parametrize(
    ('settings', 'field'),
    [
        ({'input_channels': 0}, 'input_channels'),
        ({'embedding_dim': 0}, 'embedding_dim'),
        ({'width': -1}, 'width'),
        ({'kernels': (4,), 'strides': (1,)}, 'kernel'),
        ({'kernels': (3,), 'strides': (1, 2)}, 'kernels, strides'),
        ({'kernels': (), 'strides': ()}, 'kernels, strides'),
        ({'strides': (0, 1)}, 'stride'),
        ({'coordinate_bands': -1}, 'coordinate_bands'),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, field):
    with pytest.raises(ValueError, match=field):
        RadioEncoder(SECTOR, **settings)
