# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.grid import CartesianGrid, PolarGrid, cartesian_to_polar, polar_to_cartesian

SECTORS = {
    'uniform': PolarGrid(np.arange(1, 81) * 0.5, np.linspace(-1.0, 1.0, 121)),
    'arcsine': PolarGrid(np.arange(1, 81) * 0.5, np.arcsin(np.linspace(-0.95, 0.95, 128))),
    'measured': PolarGrid(
        np.cumsum(np.random.default_rng(0).uniform(0.3, 0.6, 80)),
        -1.0 + np.cumsum(np.random.default_rng(1).uniform(0.01, 0.02, 120)),
    ),
    'circle': PolarGrid(np.arange(1, 81) * 0.5, (np.arange(200) + 0.5) * 2 * np.pi / 200 - np.pi, wraps=True),
}


def waves(x, y):
    """A smooth picture of the ground, 8 m from crest to crest."""
    return np.sin(x / 1.3) + np.cos(y / 1.7)


def ground(cartesian):
    return np.meshgrid(cartesian.x, cartesian.y, indexing='ij')


@pytest.mark.parametrize('grid', SECTORS.values(), ids=SECTORS)
class TestResampling:
    def test_round_trip_returns_a_smooth_heatmap(self, grid):
        values = waves(grid.range[:, None] * np.cos(grid.azimuth), grid.range[:, None] * np.sin(grid.azimuth))
        cartesian = CartesianGrid.around(grid, 0.1)
        image = polar_to_cartesian(values, grid, cartesian)
        back = cartesian_to_polar(np.nan_to_num(image, nan=0.0), cartesian, grid)
        # Bins whose four Cartesian neighbours were all inside the grid.
        whole = cartesian_to_polar(np.isfinite(image).astype(float), cartesian, grid) > 0.999
        assert whole.mean() > 0.9
        assert np.abs(back - values)[whole].max() < 0.06

    def test_values_lie_where_the_bin_centres_say(self, grid):
        cartesian = CartesianGrid.around(grid, 0.25)
        x, y = ground(cartesian)
        inside = grid.contains(np.hypot(x, y), np.arctan2(y, x))
        for values, wanted in (
            (np.broadcast_to(grid.range[:, None], grid.shape), np.hypot(x, y)),
            (grid.range[:, None] * np.sin(grid.azimuth), y),
        ):
            image = polar_to_cartesian(values, grid, cartesian)
            assert np.array_equal(np.isfinite(image), inside)
            within = inside & (np.hypot(x, y) >= grid.range[0]) & (np.hypot(x, y) <= grid.range[-1])
            if not grid.wraps:
                angle = np.arctan2(y, x)
                within &= (angle >= grid.azimuth[0]) & (angle <= grid.azimuth[-1])
            assert np.abs(image - wanted)[within].max() < 0.02

    def test_a_planted_point_appears_at_its_place(self, grid):
        row, column = 60, 25
        values = np.zeros(grid.shape)
        values[row, column] = 1.0
        cartesian = CartesianGrid.around(grid, 0.05)
        image = polar_to_cartesian(values, grid, cartesian, fill=0.0)
        peak = np.unravel_index(image.argmax(), image.shape)
        x, y = cartesian.x[peak[0]], cartesian.y[peak[1]]
        assert x == pytest.approx(grid.range[row] * np.cos(grid.azimuth[column]), abs=0.06)
        assert y == pytest.approx(grid.range[row] * np.sin(grid.azimuth[column]), abs=0.06)

    def test_index_and_position_are_inverse_to_each_other(self, grid):
        rng = np.random.default_rng(2)
        row, column = rng.uniform(0, grid.shape[0] - 1, 500), rng.uniform(0, grid.shape[1] - 1, 500)
        assert np.allclose(grid.index(*grid.position(row, column)), (row, column))


def test_the_seam_of_a_circle_is_interpolated_across():
    grid = SECTORS['circle']
    values = np.broadcast_to(np.cos(grid.azimuth), grid.shape)
    behind = CartesianGrid(-20.0, -0.5, (10, 11), 0.1)
    image = polar_to_cartesian(values, grid, behind)
    x, y = ground(behind)
    assert np.abs(image - np.cos(np.arctan2(y, x))).max() < 1e-3


def test_outside_the_grid_is_fill():
    grid = SECTORS['uniform']
    cartesian = CartesianGrid(-5.0, -60.0, (60, 121), 1.0)
    image = polar_to_cartesian(np.ones(grid.shape), grid, cartesian, fill=-7.0)
    x, y = ground(cartesian)
    assert (image[x < 0] == -7.0).all()
    assert (image[np.hypot(x, y) > 41] == -7.0).all()
    part = CartesianGrid(0.0, 0.0, (10, 10), 1.0)
    assert np.isnan(cartesian_to_polar(np.ones(part.shape), part, grid)[:, grid.azimuth < -0.5][10:]).all()


@pytest.mark.parametrize('grid', SECTORS.values(), ids=SECTORS)
def test_the_grid_around_holds_every_bin_and_the_origin(grid):
    cartesian = CartesianGrid.around(grid, 0.3)
    x, y = grid.range[:, None] * np.cos(grid.azimuth), grid.range[:, None] * np.sin(grid.azimuth)
    for places, centres in ((np.append(x, 0.0), cartesian.x), (np.append(y, 0.0), cartesian.y)):
        assert places.min() >= centres[0] - 1e-9
        assert places.max() <= centres[-1] + 1e-9
    assert cartesian.x[-1] < max(x.max(), 0) + 0.6


def test_cell_size_is_the_distance_between_bin_centres():
    arcsine, circle = SECTORS['arcsine'], SECTORS['circle']
    height, width = arcsine.cell_size(np.array([0, 40]), np.array([64, 2]))
    assert height == pytest.approx(0.5)
    assert width == pytest.approx(
        [(arcsine.azimuth[65] - arcsine.azimuth[63]) / 2, (arcsine.azimuth[3] - arcsine.azimuth[1]) / 2]
    )
    assert circle.cell_size(10, np.array([0, 199, 199.5]))[1] == pytest.approx(2 * np.pi / 200)


def test_values_of_another_shape_are_refused():
    grid = SECTORS['uniform']
    with pytest.raises(ValueError, match=r'values: expected shape \(80, 121\) of their grid, got \(121, 80\)'):
        polar_to_cartesian(np.ones((121, 80)), grid, CartesianGrid.around(grid, 1.0))
    with pytest.raises(ValueError, match=r'values: expected shape \(4, 5\) of their grid, got \(5, 4\)'):
        cartesian_to_polar(np.ones((5, 4)), CartesianGrid(0.0, 0.0, (4, 5), 1.0), grid)


@pytest.mark.parametrize(
    ('shape', 'cell_size', 'message'),
    [((0, 5), 1.0, r'shape: expected .*, got \(0, 5\)'), ((5, 5), 0.0, 'cell_size: expected a positive length')],
)
def test_impossible_cartesian_grids_are_refused(shape, cell_size, message):
    with pytest.raises(ValueError, match=message):
        CartesianGrid(0.0, 0.0, shape, cell_size)


@pytest.mark.parametrize(
    ('range_', 'azimuth', 'wraps', 'message'),
    [
        ([1.0], [0.0, 1.0], False, r'range: expected at least 2 bin centres in one dimension, got shape \(1,\)'),
        ([1.0, 1.0], [0.0, 1.0], False, 'range: expected finite, strictly ascending bin centres'),
        ([1.0, 2.0], [0.0, np.nan], False, 'azimuth: expected finite, strictly ascending bin centres'),
        ([-1.0, 2.0], [0.0, 1.0], False, 'range: expected bin centres from 0 m on, got -1.0 m'),
        ([1.0, 2.0], [-4.0, 4.0], True, 'spans less than 2 pi'),
    ],
)
def test_impossible_polar_grids_are_refused(range_, azimuth, wraps, message):
    with pytest.raises(ValueError, match=message):
        PolarGrid(np.array(range_), np.array(azimuth), wraps)


def test_places_beyond_half_a_bin_are_outside():
    grid = SECTORS['uniform']
    assert grid.contains(0.3, 0.0)
    assert not grid.contains(0.2, 0.0)
    assert grid.contains(10.0, 1.008)
    assert not grid.contains(10.0, 1.01)
    assert SECTORS['circle'].contains(10.0, np.array([-np.pi, np.pi, 9.0])).all()
