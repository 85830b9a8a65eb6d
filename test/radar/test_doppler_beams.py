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
    np.testing.assert_allclose(after.ego_velocity, ego_velocity, atol=0.5 * profile.velocity_resolution)
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
    np.testing.assert_allclose(after.ego_velocity, (6.0, 0.0), atol=0.15)


def test_noise_alone_and_an_empty_frame_are_as_without_removal(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    noise = echo(profile, noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
    after = former.form(noise)
    apart = after.values - HeatmapFormer(profile).form(noise).values
    np.testing.assert_allclose(np.percentile(apart, [1, 50, 90]), 0.0, atol=0.1)
    assert after.ego_velocity is None
    assert np.all(np.isfinite(former.form(np.zeros_like(noise)).values))


def test_samples_that_are_no_numbers_are_refused(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    cube = echo(profile, noise=0.1)
    cube[3, 2, 1] = np.nan
    with pytest.raises(CubeError, match='expected finite samples'):
        HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion')).form(cube)


def test_a_lone_mover_is_no_platform(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    mover = 0.4 * profile.waveform.max_range, 0.2, -3.0
    cube = echo(profile, mover, noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
    after = former.form(cube)
    assert level(after, mover) == pytest.approx(level(HeatmapFormer(profile).form(cube), mover), abs=0.5)
    assert after.ego_velocity is None


def test_a_truck_ahead_does_not_pass_for_the_street(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    static, amplitudes = street(profile, (10.0, 0.0), amplitude=0.5)
    truck = [(20.0 + 0.4 * part, 0.05 * part - 0.1, 0.0) for part in range(4)]
    cube = echo(profile, *static, *truck, amplitudes=(*amplitudes, *[3.0] * 4), noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
    after = former.form(cube)
    np.testing.assert_allclose(after.ego_velocity, (10.0, 0.0), atol=0.3)
    assert level(after, truck[1]) > 50
    assert max(level(after, target) for target in static) < 25


def test_on_a_platform_that_stands_it_removes_what_the_mean_removes(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    static, amplitudes = street(profile, (0.0, 0.0), amplitude=3.0)
    mover = 0.45 * profile.waveform.max_range, -0.1, 5 * profile.velocity_resolution
    cube = echo(profile, *static, mover, amplitudes=(*amplitudes, 0.5), noise=0.1)
    by_velocity, by_mean = (
        HeatmapFormer(profile, FormationSettings(clutter_removal=how)).form(cube) for how in ('ego_motion', 'static')
    )
    assert level(by_velocity, mover) == pytest.approx(level(by_mean, mover), abs=2.0)
    assert all(max(level(by_velocity, target), level(by_mean, target)) < 15 for target in static)


def test_what_stands_far_aside_disappears_too(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    static, amplitudes = street(profile, (14.0, 0.0), (-1.4, -1.3, -1.1, -0.6, 0.2, 0.7, 1.2, 1.35), amplitude=3.0)
    cube = echo(profile, *static, amplitudes=amplitudes, noise=0.1)
    after = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion')).form(cube)
    assert all(level(after, target) < 20 for target in static)


@pytest.mark.parametrize('scale', [0.01, 10.0])
def test_the_scale_of_a_calibration_changes_nothing(echo, scale):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    static, amplitudes = street(profile, (6.0, 0.0), amplitude=1.0)
    scaled = dataclasses.replace(profile, calibration=np.full(8, scale, np.complex64))
    former = HeatmapFormer(scaled, FormationSettings(clutter_removal='ego_motion'))
    after = former.form(echo(profile, *static, amplitudes=amplitudes, noise=0.1))
    np.testing.assert_allclose(after.ego_velocity, (6.0, 0.0), atol=0.15)
    assert all(level(after, target) < 15 for target in static)
    assert former.form(echo(profile, noise=0.1)).ego_velocity is None


def test_three_transmitters_unfold_threefold(echo):
    profile = load_profile('fmcw_60ghz_3tx4rx')
    settings = FormationSettings(unfold_velocity=True)
    for share in (-2.6, -1.4, 0.5, 2.2):
        target = 0.4 * profile.waveform.max_range, 0.3, share * profile.max_velocity
        heatmap = HeatmapFormer(profile, settings).form(echo(profile, target, noise=0.1))
        row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
        assert column == pytest.approx(float(heatmap.grid.index(*target[:2])[1]), abs=0.7)
        assert heatmap.velocity[row, column] == pytest.approx(target[2], abs=0.6 * profile.velocity_resolution)


def test_transmitters_whose_antennas_lie_between_each_other_do_not_unfold():
    profile = load_profile('fmcw_77ghz_2tx4rx')
    half = profile.wavelength / 2
    between = dataclasses.replace(
        profile,
        tx_positions=np.array([[0, 0, 0], [0, half, 0]]),
        rx_positions=np.array([[0, 2 * half * place, 0] for place in range(4)]),
    )
    with pytest.raises(ValueError, match='an array in which a folded velocity does not look like another azimuth'):
        HeatmapFormer(between, FormationSettings(unfold_velocity=True))


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
    np.testing.assert_allclose(after.ego_velocity, ego_velocity, atol=0.2)
    row, column = np.unravel_index(np.argmax(after.values), after.values.shape)
    assert (row, column) == pytest.approx([float(index) for index in former.grid.index(*oncoming[:2])], abs=0.6)
    assert after.velocity[row, column] == pytest.approx(-28.0, abs=0.51 * profile.velocity_resolution)
    assert all(level(after, target) < level(after, oncoming) - 15 for target in static)


@pytest.mark.parametrize('speed', [18.0, 20.0, 25.0, 30.0])
def test_beyond_the_unambiguous_velocity_nothing_is_told_rather_than_something_wrong(echo, speed):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    static, amplitudes = street(profile, (speed, 0.0), np.linspace(-1.1, 1.1, 30), amplitude=1.0)
    cube = echo(profile, *static, amplitudes=amplitudes, noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
    assert former.form(cube).ego_velocity is None
    unfolding = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion', unfold_velocity=True))
    after = unfolding.form(cube)
    np.testing.assert_allclose(after.ego_velocity, (speed, 0.0), atol=0.3)
    assert max(level(after, target) for target in static) < 25


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
            {'clutter_removal': 'ego_motion', 'compensate_tdm': False},
            'compensate_tdm: expected true with clutter_removal ego_motion, got False',
        ),
        (
            {'clutter_removal': 'ego_motion', 'doppler_window': 'rectangular'},
            "doppler_window: expected hann or blackman with clutter_removal ego_motion, .*, got 'rectangular'",
        ),
        (
            {'unfold_velocity': True, 'beamformer': 'capon'},
            "beamformer: expected fft with unfold_velocity, got 'capon'",
        ),
        (
            {'unfold_velocity': True, 'compensate_tdm': False},
            'compensate_tdm: expected true with unfold_velocity, got False',
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
    with pytest.raises(ValueError, match='clutter_removal: expected none for a radar of fewer than 8 slow times'):
        HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
