# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.grid import CartesianGrid, PolarGrid, cartesian_to_polar, polar_to_cartesian, turned_towards

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


@pytest.mark.parametrize('turns', [-2, -1, 1, 2])
@pytest.mark.parametrize('grid', SECTORS.values(), ids=SECTORS)
def test_a_grid_turned_by_whole_turns_is_the_same(grid, turns):
    turned = PolarGrid(grid.range, grid.azimuth + turns * 2 * np.pi, grid.wraps)
    rng = np.random.default_rng(3)
    range_, azimuth = rng.uniform(0, 45, 1000), rng.uniform(-np.pi, np.pi, 1000)
    np.testing.assert_allclose(turned.index(range_, azimuth), grid.index(range_, azimuth), atol=1e-9)
    np.testing.assert_array_equal(turned.contains(range_, azimuth), grid.contains(range_, azimuth))
    cartesian = CartesianGrid.around(grid, 0.4)
    assert CartesianGrid.around(turned, 0.4).shape == cartesian.shape
    values = waves(grid.range[:, None] * np.cos(grid.azimuth), grid.range[:, None] * np.sin(grid.azimuth))
    images = [polar_to_cartesian(values, each, cartesian) for each in (grid, turned)]
    np.testing.assert_allclose(images[1], images[0], atol=1e-4)


@pytest.mark.parametrize('first', [100.0, -260.0, 460.0])
def test_a_sector_that_looks_back_holds_what_is_behind(first):
    """160 degrees about straight behind: arctan2 tells its left and right half apart by a whole turn."""
    grid = PolarGrid(np.arange(1, 81) * 0.5, np.radians(first + np.arange(161.0)))
    for degrees, column in ((100.0, 0), (179.0, 79), (180.0, 80), (-180.0, 80), (-179.0, 81), (-100.0, 160)):
        assert np.allclose(grid.index(10.0, np.radians(degrees)), (19, column))
    assert np.isnan(grid.index(10.0, np.radians([0.0, 99.4, -99.4]))[1]).all()
    cartesian = CartesianGrid.around(grid, 0.5)
    assert cartesian.x[0] == pytest.approx(-40.0)
    x, y = ground(cartesian)
    image = polar_to_cartesian(np.broadcast_to(grid.range[:, None], grid.shape), grid, cartesian)
    whole = (np.hypot(x, y) >= 0.5) & (np.hypot(x, y) <= 40) & (np.cos(np.arctan2(y, x)) < np.cos(np.radians(100)))
    np.testing.assert_allclose(image[whole], np.hypot(x, y)[whole], atol=0.02)


def test_a_circle_from_0_to_359_degrees_that_does_not_wrap_holds_every_direction():
    grid = PolarGrid(np.arange(1, 81) * 0.5, np.radians(np.arange(360.0)))
    degrees = np.array([-180.0, -90.0, -1.0, -0.7, -0.3, 0.0, 90.0, 180.0, 359.0])
    columns = [180.0, 270.0, 359.0, 359.3, -0.3, 0.0, 90.0, 180.0, 359.0]
    np.testing.assert_allclose(grid.index(10.0, np.radians(degrees))[1], columns, atol=1e-9)
    assert CartesianGrid.around(grid, 0.5).shape == (161, 161)


def test_azimuths_within_a_grid_keep_every_bit():
    azimuth = np.random.default_rng(4).uniform(-np.pi, np.pi, 1000)
    assert np.array_equal(turned_towards(azimuth), azimuth)
    np.testing.assert_allclose(turned_towards(azimuth + 4 * np.pi), azimuth, atol=1e-14)


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
