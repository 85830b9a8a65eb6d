# SPDX-License-Identifier: Apache-2.0
"""The networks' input: what each map shows, and that live and offline are the same."""

import numpy as np
import pytest
import torch

from radio_visual_ssl.models.polar_layers import log_power
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings, stream_inputs
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

GRID = PolarGrid(np.arange(20) * 0.5, np.arcsin(np.linspace(-0.9, 0.9, 12)))


def _heatmap(seed=0, target=None, velocity=0.0, noise_floor=2.0):
    values = np.random.default_rng(seed).normal(2.0, 1.0, GRID.shape).astype(np.float32)
    values[5, 5] = 40.0  # something that stands there
    speeds = np.zeros(GRID.shape, np.float32)
    if target is not None:
        values[target], speeds[target] = 30.0, velocity
    return Heatmap(values, GRID, noise_floor=noise_floor, velocity=speeds, radar='one')


def test_power_is_the_log_power_above_the_noise_floor():
    heatmap = _heatmap()
    (maps,) = RadarInput(RadarInputSettings(('power',)), GRID)(heatmap)
    np.testing.assert_allclose(maps, log_power(torch.from_numpy(heatmap.values - 2)).numpy(), rtol=1e-3)


def test_an_unknown_noise_floor_is_taken_from_the_heatmap():
    settings = RadarInputSettings(('power',))
    known = RadarInput(settings, GRID)(_heatmap())
    unknown = RadarInput(settings, GRID)(_heatmap(noise_floor=float('nan')))
    np.testing.assert_allclose(known, unknown, atol=0.1)


def test_change_shows_what_came_and_not_what_stands():
    radar_input = RadarInput(RadarInputSettings(('change',)), GRID)
    first = radar_input(_heatmap(0))
    np.testing.assert_allclose(first, np.log(2), atol=1e-3)
    for seed in range(1, 8):
        radar_input(_heatmap(seed))
    (maps,) = radar_input(_heatmap(9, target=(12, 3)))
    assert maps[12, 3] > 5 > 2 > maps[5, 5]
    assert np.unravel_index(maps.argmax(), maps.shape) == (12, 3)


def test_moving_shows_what_moves_and_nothing_where_the_velocity_is_unknown():
    radar_input = RadarInput(RadarInputSettings(('moving',)), GRID)
    (maps,) = radar_input(_heatmap(target=(12, 3), velocity=-3.0))
    assert maps[12, 3] > 5 and maps[5, 5] == 0
    (maps,) = radar_input(_heatmap(target=(12, 3), velocity=float('nan')))
    assert maps[12, 3] == 0 and np.isfinite(maps).all()


def test_far_range_bins_are_left_out():
    radar_input = RadarInput(RadarInputSettings(max_range=6.0), GRID)
    assert radar_input(_heatmap()).shape == (3, 13, 12) == (radar_input.channels, *radar_input.grid.shape)
    assert radar_input.grid.range[-1] == 6.0


def test_the_stream_offline_is_the_stream_live():
    settings = RadarInputSettings(max_range=8.0)
    heatmaps = [_heatmap(seed, (12, seed % 12), 2.0) for seed in range(9)]
    live = RadarInput(settings, GRID)
    offline = np.stack(list(stream_inputs(heatmaps, settings, GRID)))
    assert offline.dtype == np.float16
    np.testing.assert_array_equal(np.stack([live(heatmap) for heatmap in heatmaps]), offline)


def test_a_reset_forgets_the_background():
    radar_input = RadarInput(RadarInputSettings(), GRID)
    first = radar_input(_heatmap())
    radar_input(_heatmap(1))
    radar_input.reset()
    np.testing.assert_array_equal(radar_input(_heatmap()), first)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'channels': ('colour',)}, "channels: expected some of power.*'colour'"),
        ({'channels': ()}, 'channels'),
        ({'background_frames': 0}, 'background_frames: expected a whole number from 1 on, got 0'),
        ({'max_range': -1.0}, 'max_range'),
        ({'moving_speed': 0.0}, 'moving_speed'),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RadarInputSettings(**change)


def test_heatmaps_that_do_not_fit_are_refused():
    radar_input = RadarInput(RadarInputSettings(), GRID)
    other = PolarGrid(GRID.range * 2, GRID.azimuth)
    with pytest.raises(ValueError, match='grid'):
        radar_input(Heatmap(_heatmap().values, other, velocity=_heatmap().velocity))
    with pytest.raises(ValueError, match="channel 'moving'"):
        radar_input(Heatmap(_heatmap().values, GRID))
    values = _heatmap().values.copy()
    values[3, 4] = np.nan
    with pytest.raises(ValueError, match='1 of 240 NaN'):
        radar_input(Heatmap(values, GRID, velocity=_heatmap().velocity))
    with pytest.raises(ValueError, match='max_range: expected at least the 0.50 m'):
        RadarInput(RadarInputSettings(max_range=0.3), GRID)
