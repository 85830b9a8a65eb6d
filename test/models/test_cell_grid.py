# SPDX-License-Identifier: Apache-2.0
"""Cells behind strided convolutions lie where the arithmetic says, on any grid."""

import numpy as np
import pytest

from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.radar.grid import PolarGrid

ARCSINE = PolarGrid(np.arange(64) * 0.375, np.arcsin(np.linspace(-0.95, 0.95, 48)))
CIRCLE = PolarGrid(1 + np.arange(32) * 0.5, np.linspace(-np.pi, np.pi, 40, endpoint=False), wraps=True)


def test_same_padded_odd_kernels_keep_the_first_cell_on_the_first_bin():
    cells = CellGrid.of(ARCSINE).convolved(5, 2, 2).convolved(3, 2, 1)
    assert (cells.shape, cells.stride, cells.offset, cells.receptive_field) == ((16, 12), (4, 4), (0, 0), (9, 9))
    np.testing.assert_allclose(cells.range, ARCSINE.range[::4])
    np.testing.assert_allclose(cells.azimuth, ARCSINE.azimuth[::4])


def test_even_kernels_and_missing_padding_shift_the_centres():
    cells = CellGrid.of(ARCSINE).convolved((4, 3), 2, (1, 0))
    assert cells.offset == (0.5, 1.0)
    assert cells.shape == (32, 23)
    assert cells.range[0] == pytest.approx((ARCSINE.range[0] + ARCSINE.range[1]) / 2)
    assert cells.azimuth[0] == pytest.approx(ARCSINE.azimuth[1])


@pytest.mark.parametrize('grid', [ARCSINE, CIRCLE])
def test_index_is_the_inverse_of_decode(grid):
    cells = CellGrid.of(grid).convolved(3, 2, 1)
    rng = np.random.default_rng(0)
    row = rng.uniform(0, cells.shape[0] - 1, 200)
    column = rng.uniform(-0.5 if grid.wraps else 0, cells.shape[1] - (0.5 if grid.wraps else 1), 200)
    back = cells.index(*cells.decode(row, column))
    np.testing.assert_allclose(back[0], row, atol=1e-9)
    np.testing.assert_allclose(back[1], column, atol=1e-9)


def test_a_place_between_the_last_and_the_first_azimuth_of_a_circle_has_a_column():
    cells = CellGrid.of(CIRCLE).convolved(3, 2, 1)
    _, column = cells.index(5.0, CIRCLE.azimuth[0] - 0.01)
    assert -0.5 < column < 0


def test_cell_size_is_that_of_the_strided_bins():
    cells = CellGrid.of(CIRCLE).convolved(3, 2, 1)
    height, width = cells.cell_size(3, 4)
    assert height == pytest.approx(1.0)
    assert width == pytest.approx(2 * np.pi / 20)


def test_places_outside_the_heatmap_have_no_cell():
    assert np.isnan(CellGrid.of(ARCSINE).index(1000.0, 0.0)[0])


@pytest.mark.parametrize(
    ('settings', 'field'),
    [
        ({'kernel': 0}, 'kernel'),
        ({'kernel': (3, 3, 3)}, 'kernel'),
        ({'kernel': 3, 'stride': 0}, 'stride'),
        ({'kernel': 3, 'padding': -1}, 'padding'),
        ({'kernel': 99}, 'kernel: 99'),
    ],
)
def test_impossible_layers_are_refused_by_name(settings, field):
    with pytest.raises(ValueError, match=field):
        CellGrid.of(ARCSINE).convolved(**settings)


def test_a_circle_that_the_stride_does_not_divide_is_refused():
    with pytest.raises(ValueError, match='divides the 40 azimuth cells'):
        CellGrid.of(CIRCLE).convolved(3, (1, 3), 1)
