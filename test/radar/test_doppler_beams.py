# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from radio_visual_ssl.radar.cube import CubeError
from radio_visual_ssl.radar.ego_motion import static_velocity
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.profile import load_profile


def street(profile, ego_velocity, azimuths=(-0.9, -0.5, -0.2, 0.1, 0.4, 0.8), amplitude=30.0):
    """(range, azimuth, velocity) and amplitude of things that stand along a street."""
    azimuth = np.array(azimuths)
    velocity = static_velocity(azimuth, np.asarray(ego_velocity, float))
    ranges = np.linspace(0.2, 0.75, azimuth.size) * profile.waveform.max_range
    return list(zip(ranges, azimuth, velocity, strict=True)), [amplitude] * azimuth.size


def level(heatmap, target):
    """dB, of the strongest cell within two bins of a place."""
    row, column = (round(float(index)) for index in heatmap.grid.index(*target[:2]))
    return heatmap.values[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].max()


@pytest.mark.parametrize(('name', 'velocity'), [('fmcw_77ghz_2tx4rx', None), ('ofdm_28ghz_400mhz_16rx', 4.0)])
def test_what_stands_disappears_and_movers_stay_where_and_as_strong_as_they_are(echo, name, velocity):
    profile = load_profile(name)
    ego_velocity = 0.5 * profile.max_velocity, 0.02 * profile.max_velocity
    static, amplitudes = street(profile, ego_velocity)
    # ahead, and the first one's velocity is that of what stands elsewhere
    if velocity is None:
        velocity = float(static_velocity(np.array(0.8), np.array(ego_velocity)))
    mover = 0.45 * profile.waveform.max_range, -0.1, velocity
    cube = echo(profile, *static, mover, amplitudes=(*amplitudes, 1.0), noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
    before, after = HeatmapFormer(profile).form(cube), former.form(cube)
    np.testing.assert_allclose(former.ego_velocity, ego_velocity, atol=0.5 * profile.velocity_resolution)
    for target in static:
        assert level(before, target) > 50
        assert level(after, target) < level(before, target) - 30
    row, column = np.unravel_index(np.argmax(after.values), after.values.shape)
    assert (row, column) == pytest.approx([float(index) for index in former.grid.index(*mover[:2])], abs=0.6)
    assert after.velocity[row, column] == pytest.approx(mover[2], abs=0.51 * profile.velocity_resolution)
    alone = HeatmapFormer(profile).form(echo(profile, mover, noise=0.1))
    assert after.values[row, column] == pytest.approx(alone.values.max(), abs=2.0)


def test_a_mover_is_found_beneath_the_sidelobes_of_what_stands(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    static, amplitudes = street(profile, (8.0, 0.0))
    wall = 0.4 * profile.waveform.max_range, 0.6, float(static_velocity(np.array(0.6), np.array([8.0, 0.0])))
    mover = wall[0], -0.2, -2.0
    cube = echo(profile, *static, wall, mover, amplitudes=(*amplitudes, 300.0, 1.0), noise=0.1)
    plain = HeatmapFormer(profile).form(cube)
    nulled = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion')).form(cube)
    row, column = (round(float(index)) for index in plain.grid.index(*mover[:2]))
    assert plain.values[row, column] > level(nulled, mover) + 5  # a sidelobe of the wall, stronger than the mover
    assert abs(plain.velocity[row, column] - mover[2]) > 3
    assert nulled.velocity[row, column] == pytest.approx(mover[2], abs=profile.velocity_resolution)
    assert level(nulled, mover) > level(nulled, wall) + 10


def test_calibration_and_order_of_transmitters_hold_for_the_nulls(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    errors = np.exp(1j * np.random.default_rng(3).uniform(-2, 2, 8))
    static, amplitudes = street(profile, (6.0, 0.0))
    cube = (echo(profile, *static, amplitudes=amplitudes, noise=0.1) * errors[:, None]).astype(np.complex64)
    calibrated = dataclasses.replace(profile, calibration=1 / errors)
    former = HeatmapFormer(calibrated, FormationSettings(clutter_removal='ego_motion'))
    after = former.form(cube)
    assert max(level(after, target) for target in static) < 25
    np.testing.assert_allclose(former.ego_velocity, (6.0, 0.0), atol=0.15)


def test_noise_alone_and_an_empty_frame_are_as_without_removal(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    noise = echo(profile, noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
    apart = former.form(noise).values - HeatmapFormer(profile).form(noise).values
    np.testing.assert_allclose(np.percentile(apart, [1, 50, 90]), 0.0, atol=0.1)
    assert former.ego_velocity is None
    assert np.all(np.isfinite(former.form(np.zeros_like(noise)).values))


def test_samples_that_are_no_numbers_are_refused(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    cube = echo(profile, noise=0.1)
    cube[3, 2, 1] = np.nan
    with pytest.raises(CubeError, match='expected finite samples'):
        HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion')).form(cube)


@pytest.mark.parametrize('folded', [False, True])
def test_a_target_beyond_the_unambiguous_velocity_is_where_it_is(echo, folded):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    target = 0.4 * profile.waveform.max_range, 0.3, -22.0 if folded else -9.0
    other = 0.7 * profile.waveform.max_range, -0.4, 4.0
    cube = echo(profile, target, other, noise=0.1)
    plain = HeatmapFormer(profile).form(cube)
    unfolded = HeatmapFormer(profile, FormationSettings(unfold_velocity=True)).form(cube)
    for distance, azimuth, velocity in (target, other):
        row, column = unfolded.grid.index(distance, azimuth)
        near = unfolded.values[round(float(row)) - 2 : round(float(row)) + 3]
        first, where = np.unravel_index(np.argmax(near), near.shape)
        assert where == pytest.approx(float(column), abs=0.6)
        found = unfolded.velocity[round(float(row)) - 2 + first, where]
        assert found == pytest.approx(velocity, abs=0.51 * profile.velocity_resolution)
    row, column = (round(float(index)) for index in plain.grid.index(*target[:2]))
    weaker = level(plain, target) < level(unfolded, target) - 3
    assert weaker == folded  # its phases point elsewhere
    if folded:
        assert plain.velocity[row, column] == pytest.approx(-22 + 2 * profile.max_velocity, abs=0.5)


def test_a_platform_faster_than_the_unambiguous_velocity_tells_its_speed(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    ego_velocity = 20.0, 0.5
    assert ego_velocity[0] > profile.max_velocity
    static, amplitudes = street(profile, ego_velocity)
    oncoming = 0.45 * profile.waveform.max_range, 0.1, -28.0
    cube = echo(profile, *static, oncoming, amplitudes=(*amplitudes, 1.0), noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion', unfold_velocity=True))
    after = former.form(cube)
    np.testing.assert_allclose(former.ego_velocity, ego_velocity, atol=0.2)
    row, column = np.unravel_index(np.argmax(after.values), after.values.shape)
    assert (row, column) == pytest.approx([float(index) for index in former.grid.index(*oncoming[:2])], abs=0.6)
    assert after.velocity[row, column] == pytest.approx(-28.0, abs=0.51 * profile.velocity_resolution)
    assert all(level(after, target) < level(after, oncoming) - 15 for target in static)


def test_the_mean_over_doppler_leaves_what_stands_out_as_well(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    static, amplitudes = street(profile, (8.0, 0.0))
    cube = echo(profile, *static, amplitudes=amplitudes, noise=0.1)
    settings = FormationSettings(clutter_removal='ego_motion', doppler_reduction='mean')
    before = HeatmapFormer(profile, FormationSettings(doppler_reduction='mean')).form(cube)
    after = HeatmapFormer(profile, settings).form(cube)
    assert all(level(after, target) < level(before, target) - 30 for target in static)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            {'clutter_removal': 'ego_motion', 'beamformer': 'capon'},
            "beamformer: expected fft with clutter_removal ego_motion, got 'capon'",
        ),
        (
            {'clutter_removal': 'ego_motion', 'device': 'torch:cpu'},
            "device: expected cpu with clutter_removal ego_motion, got 'torch:cpu'",
        ),
        (
            {'unfold_velocity': True, 'beamformer': 'capon'},
            "beamformer: expected fft with unfold_velocity, got 'capon'",
        ),
        (
            {'unfold_velocity': True, 'compensate_tdm': False},
            'unfold_velocity: expected transmitters that take turns, and compensate_tdm',
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    with pytest.raises(ValueError, match=message):
        HeatmapFormer(profile, FormationSettings(**settings))


def test_a_radar_without_slow_time_has_nothing_to_tell_it_by():
    profile = load_profile('ofdm_28ghz_400mhz_16rx')
    profile = dataclasses.replace(profile, waveform=dataclasses.replace(profile.waveform, num_symbols=1))
    with pytest.raises(ValueError, match='clutter_removal: expected none for a radar with one slow time'):
        HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
