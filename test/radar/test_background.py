# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.background import EwmaBackground, MedianBackground, usual_level
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

GRID = PolarGrid(np.arange(1.0, 13.0), np.linspace(-0.5, 0.5, 9))
OTHER = PolarGrid(np.arange(1.0, 13.0), np.linspace(-0.6, 0.6, 9))


def heatmap(values, grid=GRID):
    return Heatmap(np.broadcast_to(np.asarray(values, dtype=np.float32), grid.shape), grid)


def backgrounds():
    return [MedianBackground(frames=8), EwmaBackground(rate=0.1)]


@pytest.mark.parametrize(('frames', 'interval'), [(1, 1), (2, 1), (5, 1), (8, 1), (5, 3)])
def test_median_equals_that_of_the_last_heatmaps_learned(frames, interval):
    rng = np.random.default_rng(0)
    background = MedianBackground(frames, interval)
    learned = []
    for number in range(30):
        # Ties in every other heatmap.
        values = rng.integers(0, 4, GRID.shape) if number % 2 else rng.normal(size=GRID.shape)
        foreground = background.update(heatmap(values))
        if number:
            wanted = values - np.median(learned[-frames:], axis=0)
            assert np.allclose(foreground, wanted, atol=1e-5)
        if number % interval == 0:
            learned.append(values)
        assert background.count == len(learned)
    assert np.allclose(background.level, np.median(learned[-frames:], axis=0), atol=1e-5)


def test_ewma_begins_as_a_mean_and_then_forgets():
    background = EwmaBackground(rate=0.25, limit=100.0)
    for value in (1.0, 3.0, 2.0, 6.0):
        background.update(heatmap(value))
    assert background.level == pytest.approx(3.0)
    assert background.update(heatmap(7.0)) == pytest.approx(4.0)
    assert background.level == pytest.approx(4.0)


@pytest.mark.parametrize('background', backgrounds(), ids=['median', 'ewma'])
class TestBoth:
    def test_the_first_heatmap_is_background(self, background):
        background.reset()
        assert background.level is None
        assert not background.update(heatmap(20.0)).any()
        assert background.count == 1

    def test_what_stands_vanishes_and_what_comes_stands_out(self, background):
        background.reset()
        rng = np.random.default_rng(1)
        clutter = rng.uniform(0, 40, GRID.shape)
        for _ in range(30):
            background.update(heatmap(clutter + rng.normal(0, 0.1, GRID.shape)))
        scene = clutter.copy()
        scene[4, 5] += 15
        foreground = background.update(heatmap(scene))
        assert foreground[4, 5] == pytest.approx(15, abs=0.5)
        foreground[4, 5] = 0
        assert np.abs(foreground).max() < 0.5

    def test_a_passing_target_leaves_little_trace(self, background):
        background.reset()
        for _ in range(20):
            background.update(heatmap(0.0))
        for _ in range(2):
            background.update(heatmap(40.0))
        assert np.abs(background.level).max() < 1.5

    def test_another_grid_starts_afresh(self, background):
        background.reset()
        for _ in range(5):
            background.update(heatmap(10.0))
        assert not background.update(heatmap(30.0, OTHER)).any()
        assert background.count == 1
        assert background.level == pytest.approx(30.0)

    def test_an_equal_grid_does_not(self, background):
        background.reset()
        background.update(heatmap(10.0))
        same = PolarGrid(GRID.range.copy(), GRID.azimuth.copy())
        assert background.update(heatmap(13.0, same)) == pytest.approx(3.0)

    def test_reset_forgets(self, background):
        background.update(heatmap(10.0))
        background.reset()
        assert background.count == 0
        assert not background.update(heatmap(99.0)).any()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: MedianBackground(frames=0), 'frames: expected a whole number from 1 on, got 0'),
        (lambda: MedianBackground(interval=0), 'interval: expected a whole number from 1 on, got 0'),
        (lambda: EwmaBackground(rate=1.5), r'rate: expected a number in \(0, 1\], got 1.5'),
        (lambda: EwmaBackground(limit=0.0), 'limit: expected a positive number of dB, got 0.0'),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize('offset', [-150.0, 0.0, 600.0])
def test_a_background_counts_as_no_less_than_the_noise_floor(offset):
    level = np.linspace(-10, 10, 108, dtype=np.float32).reshape(GRID.shape) + np.float32(offset)
    known = Heatmap(level, GRID, noise_floor=offset + 3.0)
    np.testing.assert_allclose(usual_level(known, level), np.maximum(level, offset + 3.0))
    # where the heatmap does not know it, that of the quietest quarter of the background
    held = usual_level(Heatmap(level, GRID), level)
    np.testing.assert_allclose(held, np.maximum(level, np.quantile(level, 0.25)), atol=0.2)


def test_the_noise_level_of_one_heatmap_is_its_noise_floor_or_its_median():
    values = np.random.default_rng(0).normal(5.0, 1.0, GRID.shape).astype(np.float32)
    values[3, 3] = 90.0
    assert Heatmap(values, GRID, noise_floor=4.5).noise_level == 4.5
    assert Heatmap(values, GRID).noise_level == float(np.median(values))
