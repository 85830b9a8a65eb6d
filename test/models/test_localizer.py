# SPDX-License-Identifier: Apache-2.0
"""The localizer network and its decoding: several targets, true grids, variances, circles."""

import numpy as np
import pytest
import torch

from radio_visual_ssl.models.localizer import LocalizerNetwork, LocalizerOutput, decode
from radio_visual_ssl.radar.grid import PolarGrid

SECTOR = PolarGrid(np.arange(64) * 0.375, np.arcsin(np.linspace(-0.95, 0.95, 48)))
CIRCLE = PolarGrid(1 + np.arange(64) * 0.5, np.linspace(-np.pi, np.pi, 48, endpoint=False), wraps=True)


def _network(grid=SECTOR):
    torch.manual_seed(0)
    return LocalizerNetwork(grid, 1, 4)


def _output(cells, *targets, log_variance=0.0):
    """What a perfect network would say of targets (m, rad, log-odds)."""
    centre = torch.full((1, *cells.shape), -9.0)
    offset = torch.zeros(1, 2, *cells.shape)
    for range_, azimuth, logit in targets:
        place = [float(each) for each in cells.index(range_, azimuth)]
        row, column = (round(each) for each in place)
        centre[0, row, column % cells.shape[1]] = logit
        offset[0, :, row, column % cells.shape[1]] = torch.tensor([place[0] - row, place[1] - column])
    return LocalizerOutput(centre, offset, torch.full_like(offset, log_variance))


@pytest.mark.parametrize('grid', [SECTOR, CIRCLE])
def test_outputs_lie_on_the_cells(grid):
    network = LocalizerNetwork(grid, 3, 8, stride=(4, 2))
    output = network(torch.randn(2, 3, 64, 48))
    assert tuple(output.centre.shape) == (2, 16, 24) == (2, *network.cells.shape)
    assert tuple(output.offset.shape) == tuple(output.log_variance.shape) == (2, 2, 16, 24)


def test_an_untrained_network_expects_few_targets():
    assert _network()(torch.randn(2, 1, 64, 48)).centre.sigmoid().mean() < 0.03


def test_the_receptive_field_is_as_stated():
    network = LocalizerNetwork(SECTOR, 1, 4, dilations=(1, 2)).double()
    maps = torch.randn(1, 1, 64, 48, dtype=torch.float64, requires_grad=True)
    network(maps).centre[0, 16, 12].backward()
    seen = (maps.grad[0, 0] != 0).nonzero()
    assert tuple((seen.max(dim=0).values - seen.min(dim=0).values + 1).tolist()) == network.receptive_field == (17, 17)


def test_turning_a_circle_turns_the_output():
    network = LocalizerNetwork(CIRCLE, 1, 4, coordinate_bands=0)
    maps = torch.randn(1, 1, 64, 48)
    turned = network(maps.roll(6, dims=-1))
    assert network(maps).class_logit is turned.class_logit is None
    for one, other in zip(network(maps)[:3], turned[:3], strict=True):
        torch.testing.assert_close(one.roll(3, dims=-1), other)


def test_several_targets_come_back_at_their_places_highest_score_first():
    cells = _network().cells
    truth = [(6.1, 0.31, 1.0), (15.77, -0.52, 3.0), (15.2, 0.9, 2.0)]
    (found,) = decode(_output(cells, *truth), cells)
    np.testing.assert_allclose(found.range, [15.77, 15.2, 6.1], atol=1e-4)
    np.testing.assert_allclose(found.azimuth, [-0.52, 0.9, 0.31], atol=1e-5)
    np.testing.assert_allclose(found.score, 1 / (1 + np.exp(-np.array([3.0, 2.0, 1.0]))), atol=1e-6)
    assert found.variance.shape == (3, 2)


def test_a_target_at_the_seam_of_a_circle_is_one_target():
    cells = _network(CIRCLE).cells
    (found,) = decode(_output(cells, (12.3, np.pi - 0.01, 2.0)), cells)
    assert len(found.score) == 1
    assert np.abs(found.azimuth[0]) == pytest.approx(np.pi - 0.01, abs=1e-5)


def test_low_scores_and_surplus_targets_are_left_out():
    cells = _network().cells
    output = _output(cells, (6.0, 0.3, 1.0), (12.0, 0.3, 2.0), (18.0, 0.3, -3.0))
    assert len(decode(output, cells, threshold=0.5)[0].score) == 2
    assert len(decode(output, cells, count=1)[0].score) == 1
    assert len(decode(_output(cells), cells)[0].score) == 0


def test_of_two_cells_that_point_to_one_place_the_better_stays():
    cells = _network().cells
    output = _output(cells, (12.0, 0.1, 2.0))
    row, column = np.unravel_index(int(output.centre.argmax()), cells.shape)
    output.centre[0, row + 2, column] = 1.0
    output.offset[0, :, row + 2, column] = output.offset[0, :, row, column] - torch.tensor([1.9, 0.0])
    assert len(decode(output, cells)[0].score) == 1
    assert len(decode(output, cells, separation=0.0)[0].score) == 2


def test_variances_in_cells_become_metres_and_radians_by_the_cells_there():
    cells = _network().cells
    output = _output(cells, (12.0, 0.0, 2.0), log_variance=np.log(0.25))
    variance = decode(output, cells)[0].variance[0]
    height, angle = cells.cell_size(*cells.index(12.0, 0.0))
    np.testing.assert_allclose(np.sqrt(variance), [0.5 * height, 0.5 * angle], rtol=1e-4)
    doubled = decode(output, cells, variance_scale=2.0)[0].variance[0]
    np.testing.assert_allclose(doubled, 2 * variance)


@pytest.mark.parametrize(
    ('settings', 'field'),
    [({'threshold': 1.5}, 'threshold'), ({'count': 0}, 'count'), ({'separation': -1.0}, 'separation'),
     ({'variance_scale': 0.0}, 'variance_scale')],
)  # fmt: skip
def test_impossible_decoding_is_refused_by_name(settings, field):
    cells = _network().cells
    with pytest.raises(ValueError, match=field):
        decode(_output(cells), cells, **settings)


@pytest.mark.parametrize(
    ('settings', 'field'),
    [({'input_channels': 0}, 'input_channels'), ({'width': 0}, 'width'), ({'kernel': 2}, 'kernel')],
)
def test_impossible_networks_are_refused_by_name(settings, field):
    with pytest.raises(ValueError, match=field):
        LocalizerNetwork(SECTOR, **settings)


def test_other_heatmaps_are_refused():
    with pytest.raises(ValueError, match='heatmaps: expected shape'):
        _network()(torch.zeros(1, 2, 64, 48))
