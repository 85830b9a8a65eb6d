# SPDX-License-Identifier: Apache-2.0
import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from radio_visual_ssl.radar.cube import CubeError
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.heatmap import Reference
from radio_visual_ssl.radar.profile import FmcwWaveform, OfdmWaveform, RadarProfile, load_profile, profile_names

# fractions of the unambiguous range, of the sine of azimuth and of the unambiguous velocity
PLACES = [(0.3, 0.0, 0.0), (0.11, 0.52, 0.13), (0.52, -0.34, -0.21), (0.71, 0.79, 0.4), (0.43, -0.66, -0.37)]


def target_at(profile, fractions):
    distance, sine, velocity = fractions
    return distance * profile.waveform.max_range, np.arcsin(sine), velocity * profile.max_velocity


def peak(heatmap):
    return np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)


def assert_at(former, cube, target):
    """The heatmap's and the range-Doppler map's peak are within half a bin of the target.

    Capon's beams cancel part of a target beside their centre, most in its strongest bin: its velocity may be one off.
    """
    distance, azimuth, velocity = target
    heatmap, scan = former.form(cube), former.range_doppler(cube)
    row, column = peak(heatmap)
    true_row, true_column = former.grid.index(distance, azimuth)
    assert abs(row - true_row) <= 0.5
    assert abs(column - true_column) <= 0.5
    step = scan.velocity[1] - scan.velocity[0]
    assert abs(heatmap.velocity[row, column] - velocity) <= step * (0.5 if former.settings.beamformer == 'fft' else 1)
    scan_row, scan_column = np.unravel_index(np.argmax(scan.values), scan.values.shape)
    assert abs(scan_row - true_row) <= 0.5
    assert abs(scan.velocity[scan_column] - velocity) <= step / 2


def small_ofdm(**changes):
    """16 symbols, 64 subcarriers, 8 receivers half a wavelength apart."""
    half = 299_792_458.0 / 28e9 / 2
    waveform = OfdmWaveform(28e9, 2e6, 2e-4, 16, 64)
    receivers = [[0, half * (i - 3.5), 0] for i in range(8)]
    return dataclasses.replace(RadarProfile('small', waveform, [[0, 0, 0]], receivers), **changes)


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('name', profile_names())
def test_a_point_target_peaks_within_half_a_bin_for_each_shipped_radar(echo, name, place):
    profile = load_profile(name)
    target = target_at(profile, place)
    assert_at(HeatmapFormer(profile), echo(profile, target, noise=0.1), target)


@pytest.mark.parametrize('settings', [
    {'range_window': 'rectangular', 'doppler_window': 'hamming', 'azimuth_window': 'blackman'},
    {'range_bins': 400, 'doppler_bins': 200, 'azimuth_bins': 180},
    {'azimuth_bins': 8},
    {'azimuth_bins': 17},
    {'beamformer': 'capon'},
    {'beamformer': 'capon', 'forward_backward': True, 'subarray_length': 6},
    {'transform': 'scipy'},
    {'device': 'torch:cpu'},
    {'max_range': 50.0},
])  # fmt: skip
def test_settings_do_not_move_the_target(echo, settings):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    target = target_at(profile, (0.31, 0.37, 0.28))
    assert_at(HeatmapFormer(profile, FormationSettings(**settings)), echo(profile, target, noise=0.1), target)


def test_ofdm_with_capon_and_padding(echo):
    profile = load_profile('ofdm_28ghz_400mhz_16rx')
    target = target_at(profile, (0.31, -0.37, 0.28))
    for settings in ({'beamformer': 'capon'}, {'range_bins': 300, 'doppler_bins': 48}, {'device': 'torch:cpu'}):
        assert_at(HeatmapFormer(profile, FormationSettings(**settings)), echo(profile, target, noise=0.1), target)


def test_real_adc_samples_use_half_of_the_spectrum(echo):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    profile = dataclasses.replace(profile, waveform=dataclasses.replace(profile.waveform, complex_samples=False))
    former = HeatmapFormer(profile)
    assert former.grid.range.size == 128
    target = target_at(profile, (0.6, 0.4, 0.25))
    assert_at(former, echo(profile, target, noise=0.1), target)


def test_antennas_off_any_grid_find_the_target(echo):
    profile = load_profile('ofdm_28ghz_400mhz_16rx')
    positions = profile.rx_positions.copy()
    positions[:, 1] *= np.linspace(0.8, 1.1, 16)
    positions[::3, 0] = 0.004
    profile = dataclasses.replace(profile, rx_positions=positions)
    target = target_at(profile, (0.31, -0.37, 0.28))
    assert_at(HeatmapFormer(profile), echo(profile, target, noise=0.1), target)


def test_the_order_of_antennas_and_transmitters_is_followed(echo):
    profile = load_profile('openradar_2tx4rx')
    profile = dataclasses.replace(profile, tx_order=(1, 0), rx_positions=profile.rx_positions[[2, 0, 3, 1]])
    target = target_at(profile, (0.4, 0.45, 0.3))
    assert_at(HeatmapFormer(profile), echo(profile, target, noise=0.1), target)


def test_ofdm_transmitters_that_send_at_once_need_no_compensation(echo):
    profile = small_ofdm()
    profile = dataclasses.replace(
        profile, tx_positions=profile.rx_positions[[0, 4]], rx_positions=profile.rx_positions[:4]
    )
    target = target_at(profile, (0.4, 0.45, 0.4))
    assert_at(HeatmapFormer(profile), echo(profile, target, noise=0.1), target)


def test_without_tdm_compensation_a_mover_appears_elsewhere(echo):
    profile = load_profile('openradar_2tx4rx')
    _, azimuth, _ = target = target_at(profile, (0.5, 0.3, 0.9))
    cube = echo(profile, target, noise=0.1)
    errors = {}
    for compensate in (True, False):
        former = HeatmapFormer(profile, FormationSettings(compensate_tdm=compensate))
        errors[compensate] = abs(np.sin(former.grid.azimuth[peak(former.form(cube))[1]]) - np.sin(azimuth))
    assert errors[True] <= 1 / 64
    assert errors[False] > 4 / 64


def test_range_bins_are_exact():
    profile = load_profile('openradar_2tx4rx')
    bin_width = 299_792_458.0 * 2.5e6 / (2 * 60e12 * 128)
    np.testing.assert_allclose(HeatmapFormer(profile).grid.range, np.arange(128) * bin_width)
    ofdm = HeatmapFormer(load_profile('ofdm_28ghz_400mhz_16rx'), FormationSettings(range_bins=512))
    np.testing.assert_allclose(ofdm.grid.range, np.arange(512) * 299_792_458.0 / (2 * 512 * 1.5625e6))


def test_max_range_cuts_the_grid_and_changes_nothing_else(echo):
    profile = load_profile('ofdm_28ghz_400mhz_16rx')
    cube = echo(profile, target_at(profile, (0.2, 0.3, 0.3)), noise=0.1)
    whole, near = HeatmapFormer(profile), HeatmapFormer(profile, FormationSettings(max_range=40.0))
    rows = near.grid.range.size
    assert near.grid.range[-1] <= 40.0 < whole.grid.range[rows]
    np.testing.assert_allclose(near.form(cube).values, whole.form(cube).values[:rows], atol=1.0)


def test_static_clutter_is_removed_and_movers_stay(echo):
    profile = load_profile('openradar_2tx4rx')
    static, mover = (3.0, 0.2, 0.0), (4.0, -0.3, 1.5)
    cube = echo(profile, static, mover, amplitudes=(30, 1), noise=0.1)
    former = HeatmapFormer(profile, FormationSettings(clutter_removal='static'))
    before, after = HeatmapFormer(profile).form(cube), former.form(cube)
    row, column = (round(float(index)) for index in former.grid.index(*static[:2]))
    assert before.values[row, column] > 60
    assert after.values[row, column] < 15
    assert_at(former, cube, mover)


def test_capon_resolves_what_conventional_beams_merge(echo):
    profile = load_profile('openradar_2tx4rx')
    bins = profile.velocity_resolution
    targets = [(3.0, np.radians(-5.0), 6 * bins), (3.0, np.radians(5.0), 8 * bins)]
    cube = echo(profile, *targets, noise=0.01)

    def azimuths(**settings):
        settings = FormationSettings(azimuth_bins=256, doppler_reduction='mean', **settings)
        former = HeatmapFormer(profile, settings)
        near = former.form(cube).values[round(float(former.grid.index(3.0, 0.0)[0]))]
        inner = np.flatnonzero((near[1:-1] > near[:-2]) & (near[1:-1] > near[2:])) + 1
        inner = inner[near[inner] > near.max() - 10]
        return former.grid.azimuth[inner]

    assert azimuths().size == 1
    found = azimuths(beamformer='capon', diagonal_loading=1e-4)
    np.testing.assert_allclose(found, [target[1] for target in targets], atol=np.radians(1.0))


def test_calibration_undoes_the_errors_of_the_channels(echo):
    profile = load_profile('ofdm_28ghz_400mhz_16rx')
    generator = np.random.default_rng(3)
    errors = np.exp(1j * generator.uniform(-2, 2, 16)) * generator.uniform(0.7, 1.3, 16)
    target = target_at(profile, (0.31, -0.37, 0.28))
    cube = (echo(profile, target, noise=0.1) * errors[:, None]).astype(np.complex64)
    calibrated = dataclasses.replace(profile, calibration=1 / errors)
    for settings in ({}, {'beamformer': 'capon'}, {'device': 'torch:cpu'}):
        assert_at(HeatmapFormer(calibrated, FormationSettings(**settings)), cube, target)
    clean = HeatmapFormer(calibrated).form(cube).values.max()
    assert clean > HeatmapFormer(profile).form(cube).values.max() + 3
    assert HeatmapFormer(calibrated).azimuth_of(
        HeatmapFormer(calibrated)
        .spectrum(cube)[0]
        .reshape(-1, 16)[np.argmax(np.abs(HeatmapFormer(calibrated).spectrum(cube)[0][..., 0]))]
    ) == pytest.approx(target[1], abs=np.radians(0.5))


@pytest.mark.parametrize('name', profile_names())
@pytest.mark.parametrize(
    'settings',
    [{}, {'doppler_reduction': 'mean'}, {'beamformer': 'capon'}, {'clutter_removal': 'static', 'doppler_bins': 256}],
)
def test_noise_alone_is_near_0_db_at_any_level(complex_noise, name, settings):
    profile = load_profile(name)
    former = HeatmapFormer(profile, FormationSettings(**settings))
    shape = (profile.waveform.slow_time_count, profile.num_virtual_channels, profile.waveform.fast_time_count)
    for power in (1e-6, 1e6):
        heatmap = former.form(complex_noise(shape, power, seed=5))
        assert heatmap.reference == Reference.NOISE_FLOOR
        assert heatmap.noise_floor == 0.0
        assert abs(np.median(heatmap.values)) < 0.5
        assert abs(np.median(former.range_doppler(complex_noise(shape, power, seed=5)).values)) < 1.0


def test_targets_do_not_raise_the_noise_floor(echo):
    profile = load_profile('ofdm_28ghz_400mhz_16rx')
    clutter = [(distance, 0.3, 0.0) for distance in np.arange(5.0, 90.0, 4.0)]
    heatmap = HeatmapFormer(profile).form(echo(profile, *clutter, amplitudes=(30,) * len(clutter), noise=1.0))
    assert abs(np.percentile(heatmap.values, 20)) < 1.5


def test_the_level_of_a_target_is_its_signal_to_noise_ratio(echo):
    """Processing gain: samples x channels, less what the windows cost (1.76 dB each for Hann, 0.7 dB for Taylor)."""
    profile = load_profile('openradar_2tx4rx')
    target = target_at(profile, (0.5, 1 / 64, 0.25))
    scan = HeatmapFormer(profile).range_doppler(echo(profile, target, noise=1.0))
    assert scan.values.max() == pytest.approx(10 * np.log10(128 * 128) - 2 * 1.76, abs=0.7)


def test_the_mean_over_doppler_hides_a_mover_that_the_maximum_shows(echo):
    profile = load_profile('openradar_2tx4rx')
    target = target_at(profile, (0.5, 0.3, 0.3))
    cube = echo(profile, target, amplitudes=(0.02,), noise=1.0)
    values = {}
    for reduction in ('max', 'mean'):
        former = HeatmapFormer(profile, FormationSettings(doppler_reduction=reduction))
        row, column = (round(float(index)) for index in former.grid.index(*target[:2]))
        values[reduction] = former.form(cube).values[row, column]
    assert values['max'] > values['mean'] + 3


def test_the_strongest_doppler_bin_is_found_as_by_looking_at_all_of_them(echo, complex_noise):
    profile = load_profile('openradar_2tx4rx')
    former = HeatmapFormer(profile)
    targets = [target_at(profile, (0.4, sine, velocity)) for sine, velocity in ((0.1, 0.3), (-0.4, -0.5), (0.7, 0.8))]
    cube = echo(profile, *targets, noise=1.0)
    heatmap = former.form(cube)
    spectrum, velocity = former.spectrum(cube)
    array = former._plan.array
    beams = spectrum @ (array.steering_vectors(former.grid.azimuth).conj() * array.taper('taylor')).T
    power = np.abs(beams) ** 2
    difference = 10 * np.log10(power.max(axis=0)) - heatmap.values
    difference -= np.median(difference)
    assert abs(difference.mean()) < 0.1
    assert np.percentile(np.abs(difference), 99) < 1.0
    strong = heatmap.values > 15
    assert np.abs(difference[strong]).max() < 0.01
    expected = velocity[power.argmax(axis=0)]
    np.testing.assert_allclose(heatmap.velocity[strong], expected[strong], atol=1e-5)


def test_a_single_symbol_has_no_velocity(echo):
    profile = small_ofdm(waveform=OfdmWaveform(28e9, 2e6, 2e-4, 1, 64))
    former = HeatmapFormer(profile)
    heatmap = former.form(echo(profile, (30.0, 0.3, 0.0), noise=0.01))
    assert heatmap.velocity is None
    row, column = peak(heatmap)
    true_row, true_column = former.grid.index(30.0, 0.3)
    assert abs(row - true_row) <= 0.5
    assert abs(column - true_column) <= 0.5


def test_a_heatmap_says_what_made_it(echo):
    profile = small_ofdm()
    heatmap = HeatmapFormer(profile).form(echo(profile, (30.0, 0.3, 0.0), noise=0.01))
    assert (heatmap.radar, heatmap.carrier_frequency, heatmap.bandwidth) == ('small', 28e9, 128e6)
    assert heatmap.values.dtype == heatmap.velocity.dtype == np.float32
    assert heatmap.formation == FormationSettings().summary(profile)


def told(name, **settings):
    """What settings tell of a shipped radar."""
    return dict(item.split('=') for item in FormationSettings(**settings).summary(load_profile(name)).split())


def test_settings_tell_what_shapes_values_beyond_radar_and_grid():
    known = told('fmcw_77ghz_2tx4rx', azimuth_bins=8, range_bins=512, max_range=9.0, threads=3, transform='scipy')
    assert known == {
        'range_window': 'hann',
        'doppler_window': 'hann',
        'azimuth_window': 'taylor',
        'doppler_bins': '128',
        'beamformer': 'fft',
        'doppler_reduction': 'max',
        'clutter_removal': 'none',
        'unfold_velocity': 'false',
        'compensate_tdm': 'true',
    }
    capon = told('fmcw_77ghz_2tx4rx', beamformer='capon')
    assert 'azimuth_window' not in capon
    assert (capon['diagonal_loading'], capon['forward_backward'], capon['subarray_length']) == ('0.1', 'false', '8')


def test_what_means_the_same_is_told_the_same():
    name = 'fmcw_77ghz_2tx4rx'
    assert told(name, doppler_bins=128) == told(name)
    capon = told(name, beamformer='capon', diagonal_loading=1.0)
    assert told(name, beamformer='capon', diagonal_loading=1, subarray_length=8) == capon
    one_sends = 'ofdm_28ghz_400mhz_16rx'
    assert told(one_sends, compensate_tdm=False) == told(one_sends)
    assert not {'compensate_tdm', 'unfold_velocity'} & told(one_sends).keys()
    many = small_ofdm()
    one_symbol = dataclasses.replace(many, waveform=dataclasses.replace(many.waveform, num_symbols=1))
    assert FormationSettings().summary(one_symbol) == 'range_window=hann azimuth_window=taylor beamformer=fft'


def test_what_settings_tell_makes_them_again():
    settings = FormationSettings(clutter_removal='ego_motion', unfold_velocity=True, doppler_bins=256)
    summary = settings.summary(load_profile('fmcw_77ghz_2tx4rx'))
    assert FormationSettings().changed(summary.split()) == settings


@pytest.mark.parametrize('name', profile_names())
@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'azimuth_bins': 8, 'doppler_reduction': 'mean'},
        {'clutter_removal': 'static', 'range_bins': 300, 'doppler_bins': 256, 'max_range': 5.0},
    ],
)
def test_all_back_ends_agree(echo, name, settings):
    profile = load_profile(name)
    if profile.waveform.fast_time_count > settings.get('range_bins', 0) > 0:
        settings = {**settings, 'range_bins': profile.waveform.fast_time_count}
    cube = echo(profile, target_at(profile, (0.03, 0.3, 0.3)), noise=1.0)
    settings = FormationSettings(**settings)
    reference = HeatmapFormer(profile, dataclasses.replace(settings, transform='scipy')).form(cube)
    for other in ({'transform': 'auto'}, {'device': 'torch:cpu'}):
        heatmap = HeatmapFormer(profile, dataclasses.replace(settings, **other)).form(cube)
        np.testing.assert_allclose(heatmap.values, reference.values, atol=0.05)
        assert np.mean(heatmap.velocity != reference.velocity) < 0.01


def test_results_are_the_callers_and_cubes_stay_as_they_are(echo):
    profile = small_ofdm()
    former = HeatmapFormer(profile)
    cube = echo(profile, (30.0, 0.3, 5.0), noise=0.1)
    before = cube.copy()
    first, scan = former.form(cube), former.range_doppler(cube)
    kept = first.values.copy(), first.velocity.copy(), scan.values.copy()
    former.form(echo(profile, (10.0, -0.3, -5.0), noise=0.1))
    former.range_doppler(echo(profile, (10.0, -0.3, -5.0), noise=0.1))
    np.testing.assert_array_equal(cube, before)
    for now, then in zip((first.values, first.velocity, scan.values), kept, strict=True):
        np.testing.assert_array_equal(now, then)


def test_cubes_of_other_layout_and_precision_are_taken(echo):
    profile = small_ofdm()
    former = HeatmapFormer(profile)
    cube = echo(profile, (30.0, 0.3, 5.0), noise=0.1)
    expected = former.form(cube).values
    np.testing.assert_allclose(former.form(cube.astype(np.complex128)).values, expected, atol=1e-4)
    np.testing.assert_allclose(former.form(np.asfortranarray(cube)).values, expected, atol=1e-4)


def test_an_empty_frame_has_no_reference():
    heatmap = HeatmapFormer(small_ofdm()).form(np.zeros((16, 8, 64), np.complex64))
    assert heatmap.reference == Reference.ARBITRARY
    assert np.isnan(heatmap.noise_floor)
    assert np.all(np.isfinite(heatmap.values))


@pytest.mark.parametrize('device', ['cpu', 'torch:cpu'])
@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_nan_and_infinity_are_refused_and_the_former_lives_on(echo, bad, device):
    profile = small_ofdm()
    former = HeatmapFormer(profile, FormationSettings(device=device))
    cube = echo(profile, (30.0, 0.3, 5.0), noise=0.1)
    expected = former.form(cube).values
    broken = cube.copy()
    broken[3, 2, 1] = bad
    for call in (former.form, former.range_doppler):
        with pytest.raises(CubeError, match='expected finite samples, got NaN or infinity'):
            call(broken)
    np.testing.assert_array_equal(former.form(cube).values, expected)


def test_another_shape_or_type_is_refused():
    former = HeatmapFormer(small_ofdm())
    with pytest.raises(CubeError, match=r"expected shape \(16, 8, 64\) .* radar 'small', got \(16, 64, 8\)"):
        former.form(np.zeros((16, 64, 8), np.complex64))
    with pytest.raises(CubeError, match='expected complex samples, got float32'):
        former.form(np.zeros((16, 8, 64), np.float32))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'range_window': 'kaiser'}, "range_window: expected one of rectangular, .* got 'kaiser'"),
        ({'beamformer': 'music'}, "beamformer: expected one of fft, capon, got 'music'"),
        ({'doppler_reduction': 'sum'}, "doppler_reduction: expected one of max, mean, got 'sum'"),
        ({'azimuth_bins': 1}, 'azimuth_bins: expected at least 2, got 1'),
        ({'diagonal_loading': -1.0}, 'diagonal_loading: expected a number of at least 0, got -1.0'),
        ({'max_range': float('nan')}, 'max_range: expected a number of at least 0, got nan'),
        ({'range_bins': 32}, 'range_bins: expected 0 or at least the 64 samples of the radar, got 32'),
        ({'doppler_bins': 8}, 'doppler_bins: expected 0 or at least the 16 samples of the radar, got 8'),
        ({'max_range': 0.5}, 'max_range: expected at least one range bin of .* got 0.5 m'),
        ({'beamformer': 'capon', 'subarray_length': 9}, 'subarray_length: expected 0 or from 2 to the 8'),
        ({'device': 'nonsense'}, "device: expected cpu or a torch device that is there, got 'nonsense'"),
        ({'device': 'torch:cpu', 'beamformer': 'capon'}, 'beamformer: expected fft on device'),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        HeatmapFormer(small_ofdm(), FormationSettings(**settings))


@pytest.mark.parametrize('option', [{'forward_backward': True}, {'subarray_length': 4}])
def test_smoothing_wants_a_uniform_line(option):
    profile = small_ofdm()
    positions = profile.rx_positions.copy()
    positions[3] = positions[2]
    profile = dataclasses.replace(profile, rx_positions=positions)
    with pytest.raises(ValueError, match=f'{next(iter(option))}: expected a uniform line'):
        HeatmapFormer(profile, FormationSettings(beamformer='capon', **option))


@pytest.mark.parametrize(
    ('slow', 'options', 'snapshots'),
    [
        (7, {}, '7 snapshots of 8 antennas'),
        (8, {}, ''),
        (8, {'clutter_removal': 'static'}, '7 snapshots of 8 antennas'),
        (3, {'forward_backward': True}, '6 snapshots of 8 antennas'),
        (4, {'forward_backward': True}, ''),
        (1, {'subarray_length': 5}, '4 snapshots of 5 antennas'),
        (2, {'subarray_length': 5}, ''),
    ],
)
def test_capon_without_loading_wants_as_many_snapshots_as_antennas(complex_noise, slow, options, snapshots):
    """With fewer the covariance has no inverse, however the transform is padded."""
    profile = small_ofdm(waveform=OfdmWaveform(28e9, 2e6, 2e-4, slow, 64))
    settings = FormationSettings(beamformer='capon', diagonal_loading=0.0, doppler_bins=64, **options)
    if snapshots:
        with pytest.raises(ValueError, match=f'diagonal_loading: expected more than 0, as .* {snapshots}, .* got 0'):
            HeatmapFormer(profile, settings)
        HeatmapFormer(profile, dataclasses.replace(settings, diagonal_loading=0.1))
    else:
        values = HeatmapFormer(profile, settings).form(complex_noise((slow, 8, 64), seed=1)).values
        assert values.max() < 30


def test_an_array_without_extent_along_y_is_refused():
    with pytest.raises(ValueError, match='tx_positions, rx_positions: expected virtual antennas .* apart along y'):
        HeatmapFormer(small_ofdm(rx_positions=[[0, 0, 0], [0, 0, 0.005]]))


def test_chirps_of_any_count_are_taken(echo):
    waveform = FmcwWaveform(77e9, 20e12, 10e6, 32e-6, 27, 50)
    profile = dataclasses.replace(load_profile('fmcw_77ghz_2tx4rx'), waveform=waveform)
    target = target_at(profile, (0.37, 0.3, 0.22))
    assert_at(HeatmapFormer(profile), echo(profile, target, noise=0.01), target)


def test_signal_processing_does_not_load_torch():
    code = (
        'import sys, radio_visual_ssl.radar.formation as f, radio_visual_ssl.radar.profile as p;'
        "f.HeatmapFormer(p.load_profile('openradar_2tx4rx')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
