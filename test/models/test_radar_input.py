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


def test_moving_is_half_open_at_the_speed_that_is_set():
    values = np.full(GRID.shape, 32.0, np.float32)
    speeds = np.broadcast_to(np.linspace(-6, 6, GRID.shape[1], dtype=np.float32), GRID.shape).astype(np.float16)
    heatmap = Heatmap(values, GRID, noise_floor=2.0, velocity=speeds.astype(np.float32))
    power, moving = RadarInput(RadarInputSettings(('power', 'moving'), moving_speed=2.0), GRID)(heatmap)
    gate = speeds.astype(float) ** 2 / (speeds.astype(float) ** 2 + 2.0**2)
    np.testing.assert_allclose(moving, power * gate, rtol=2e-3)


def test_the_background_is_as_long_as_is_set_and_learns_every_nth_heatmap():
    """Each level against the median of those before it that were learned and are still remembered, in dB."""
    levels = [10.0, 30.0, 20.0, 50.0, 40.0, 60.0]
    before = {(2, 1): [20, 25, 35, 45], (2, 2): [10, 15, 15, 30], (50, 1): [20, 20, 25, 30]}
    for (frames, interval), wanted in before.items():
        settings = RadarInputSettings(('change',), background_frames=frames, background_interval=interval)
        radar_input = RadarInput(settings, GRID)
        heatmaps = [Heatmap(np.full(GRID.shape, level, np.float32), GRID, noise_floor=0.0) for level in levels]
        shown = [radar_input(heatmap)[0, 0, 0] for heatmap in heatmaps]
        change = np.array(levels[2:]) - wanted
        np.testing.assert_allclose(shown[2:], np.log1p(10 ** (change / 10)), rtol=2e-3)


@pytest.mark.parametrize(
    ('change', 'goes_on'),
    [({'channels': ('change', 'moving')}, True), ({'background_frames': 7}, False), ({'max_range': 6.0}, False)],
)
def test_a_background_is_shared_where_it_is_learned_alike(change, goes_on):
    first, other = (RadarInput(RadarInputSettings(**each), GRID) for each in ({'channels': ('change',)}, change))
    first(_heatmap())
    other.share_background(first)
    shown = other(_heatmap(target=(4, 3)))[other.settings.channels.index('change')]
    assert bool(shown[4, 3] > 5) is goes_on  # on the first heatmap of a stream, nothing is a change


def test_velocity_is_signed_scaled_and_zero_in_noise_and_where_it_is_unknown():
    settings = RadarInputSettings(('power', 'velocity'), velocity_scale=8.0, velocity_min_snr=12.0)
    values = np.full(GRID.shape, 3.0, np.float32)
    speeds = np.full(GRID.shape, 7.0, np.float32)  # what the strongest bin of noise happens to say
    for column, (level, speed) in enumerate([(30.0, -4.0), (30.0, 20.0), (15.0, 2.0), (14.9, 2.0), (30.0, np.nan)]):
        values[4, column], speeds[4, column] = level, speed
    maps = RadarInput(settings, GRID)(Heatmap(values, GRID, noise_floor=3.0, velocity=speeds))
    assert maps[1, 4, :5].tolist() == [-0.5, 2.5, 0.25, 0.0, 0.0]
    assert not np.delete(maps[1], 4, axis=0).any()
    assert settings.needs_velocity and not RadarInputSettings(('power', 'change')).needs_velocity


def test_noise_has_a_velocity_as_seldom_as_an_exponential_distribution_says():
    grid = PolarGrid(np.arange(400) * 0.5, np.arcsin(np.linspace(-0.9, 0.9, 500)))
    values = 10 * np.log10(np.random.default_rng(0).exponential(size=grid.shape)).astype(np.float32)
    (maps,) = RadarInput(RadarInputSettings(('velocity',)), grid)(
        Heatmap(values, grid, noise_floor=0.0, velocity=np.ones(grid.shape, np.float32))
    )
    assert 0 < np.count_nonzero(maps) < 3 * np.exp(-10) * maps.size


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
        ({'velocity_scale': -1.0}, 'velocity_scale: expected a positive number of m/s, got -1.0'),
        ({'velocity_min_snr': float('nan')}, 'velocity_min_snr: expected a number of dB, got nan'),
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
    with pytest.raises(ValueError, match="channel 'velocity'"):
        RadarInput(RadarInputSettings(('power', 'velocity')), GRID)(Heatmap(_heatmap().values, GRID))
    values = _heatmap().values.copy()
    values[3, 4] = np.nan
    with pytest.raises(ValueError, match='1 of 240 NaN'):
        radar_input(Heatmap(values, GRID, velocity=_heatmap().velocity))
    with pytest.raises(ValueError, match='max_range: expected at least the 0.50 m'):
        RadarInput(RadarInputSettings(max_range=0.3), GRID)
