# SPDX-License-Identifier: Apache-2.0
"""The preview shows places where the eye expects them."""

import numpy as np
import pytest

from radio_visual_ssl.nodes.preview import COLOUR_MAPS, OUTSIDE, Preview
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

SECTOR = PolarGrid(np.arange(0.5, 40.0, 0.5), np.linspace(-1.0, 1.0, 65))
CIRCLE = PolarGrid(np.arange(0.5, 40.0, 0.5), np.arange(-100, 100) * np.pi / 100, wraps=True)


def brightest(grid, range_, azimuth, **settings):
    """Fractions (down, right) of the picture at which a lone echo appears."""
    row, column = (int(np.round(index)) for index in grid.index(range_, azimuth))
    values = np.zeros(grid.shape, np.float32)
    values[row, column] = 30.0
    picture = Preview(grid, colour_map='grey', limits=(0.0, 30.0), **settings).draw(Heatmap(values, grid))[..., 0]
    bright = np.argwhere(picture > 0.8 * picture.max())
    return tuple(bright.mean(axis=0) / (np.array(picture.shape) - 1))


def test_from_above_far_is_up_and_left_is_left():
    down, right = brightest(SECTOR, 30.0, 0.5)
    far = SECTOR.range[-1]
    assert down == pytest.approx(1 - 30.0 * np.cos(0.5) / far, abs=0.02)
    assert right == pytest.approx(0.5 - 30.0 * np.sin(0.5) / (2 * far * np.sin(1.0)), abs=0.02)


def test_a_full_circle_shows_what_is_behind_below_the_middle():
    down, right = brightest(CIRCLE, 20.0, -np.pi)
    assert (down, right) == (pytest.approx(0.75, abs=0.02), pytest.approx(0.5, abs=0.02))


def test_the_polar_view_is_flipped_both_ways():
    down, right = brightest(SECTOR, 30.0, 0.5, view='polar')
    assert (down, right) == (pytest.approx(0.25, abs=0.02), pytest.approx(0.25, abs=0.02))


def test_beyond_the_grid_nothing_is_painted():
    picture = Preview(SECTOR, height=100).draw(Heatmap(np.zeros(SECTOR.shape, np.float32), SECTOR))
    assert picture.shape[0] == 100
    assert tuple(picture[0, 0]) == OUTSIDE
    assert tuple(picture[50, picture.shape[1] // 2]) != OUTSIDE


@pytest.mark.parametrize('colour_map', COLOUR_MAPS)
def test_every_colour_map_grows_brighter(colour_map):
    values = np.tile(np.linspace(0, 20, SECTOR.shape[0], dtype=np.float32)[:, None], SECTOR.shape[1])
    picture = Preview(SECTOR, 'polar', colour_map, limits=(0.0, 25.0)).draw(Heatmap(values, SECTOR))
    assert picture.dtype == np.uint8
    assert picture[0].astype(int).sum() != picture[-1].astype(int).sum()
