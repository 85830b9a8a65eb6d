# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest

from radio_visual_ssl.radar.profile import (
    SPEED_OF_LIGHT,
    FmcwWaveform,
    OfdmWaveform,
    ProfileError,
    RadarProfile,
    load_profile,
    profile_names,
)
from radio_visual_ssl.share import share_path

FMCW = FmcwWaveform(77e9, 20e12, 10e6, 32e-6, 128, 256)
OFDM = OfdmWaveform(28e9, 1.5625e6, 125e-6, 32, 256)
LINE = [[0, 0, 0], [0, 0.002, 0]]

YAML = """
waveform: {type: ofdm, carrier_frequency: 28e9, subcarrier_spacing: 1.5e6, symbol_period: 1e-4, num_symbols: 8, \
num_subcarriers: 64}
tx_positions: [[0, 0, 0]]
rx_positions: [[0, 0, 0], [0, 0.005, 0]]
"""


@pytest.fixture
def profile_file(tmp_path):
    def write(content):
        path = tmp_path / 'radar.yaml'
        path.write_text(content)
        return path

    return write


@pytest.mark.parametrize('name', profile_names())
def test_each_shipped_profile_states_its_figures_in_the_comments(name):
    profile = load_profile(name)
    comments = share_path('config', 'radars', f'{name}.yaml').read_text().partition('description')[0]

    def stated(pattern):
        text = re.search(pattern, comments)
        assert text, pattern
        return float(text.group(1))

    assert profile.name == name
    assert stated(r'range resolution ([\d.]+) m') == pytest.approx(profile.range_resolution, rel=0.02)
    assert stated(r'unambiguous to ([\d.]+) m') == pytest.approx(profile.waveform.max_range, rel=0.01)
    assert stated(r'velocity resolution ([\d.]+) m/s') == pytest.approx(profile.velocity_resolution, rel=0.02)
    assert stated(r'\+-([\d.]+) m/s') == pytest.approx(profile.max_velocity, rel=0.01)


def test_an_unknown_name_lists_the_shipped_profiles():
    with pytest.raises(
        ProfileError,
        match=r'nonsense: expected a YAML file or a name in config/radars/ \(.*openradar_2tx4rx.*\), found neither',
    ):
        load_profile('nonsense')


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ProfileError, match='absent.yaml: expected a YAML file or a name in config/radars/'):
        load_profile(tmp_path / 'absent.yaml')


def test_a_profile_is_read_from_a_path_and_named_after_it(profile_file):
    profile = load_profile(profile_file(YAML))
    assert profile.name == 'radar'
    assert profile.waveform == OfdmWaveform(28e9, 1.5e6, 1e-4, 8, 64)
    assert profile.tx_order == (0,)


def test_positions_may_be_given_in_wavelengths(profile_file):
    profile = load_profile(profile_file(YAML + 'position_unit: wavelength\n'))
    assert profile.rx_positions[1, 1] == pytest.approx(0.005 * SPEED_OF_LIGHT / 28e9)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (('type: ofdm', 'type: chirp'), "waveform.type: expected one of fmcw, ofdm, got 'chirp'"),
        (('num_symbols: 8, ', ''), 'waveform.num_symbols: expected a value, got none'),
        (('num_symbols: 8', 'num_symbols: 8.5'), 'waveform.num_symbols: expected an integer of at least 1, got 8.5'),
        (('num_symbols: 8', 'slope: 3'), 'waveform.'),
        (('28e9', '-28e9'), "waveform.carrier_frequency: expected a number above 0, got '-28e9'"),
        (('28e9', '.nan'), 'waveform.carrier_frequency: expected a number above 0, got nan'),
        (('1.5e6', '1e9'), 'waveform.subcarrier_spacing: expected a band of less than twice the carrier'),
        (('[[0, 0, 0]]', '[[0, 0]]'), r'tx_positions: expected \[x, y, z\] of each antenna, got shape \(1, 2\)'),
        (('[[0, 0, 0]]', '[[0, 0, up]]'), r'tx_positions: expected \[x, y, z\] of each antenna'),
        (('tx_positions: [[0, 0, 0]]', ''), 'tx_positions: expected a value, got none'),
        (('tx_positions', 'antennas: 3\ntx_positions'), 'antennas: expected one of waveform, .*; got antennas'),
        (('tx_positions', 'tx_order: [1]\ntx_positions'), r'tx_order: expected indices from 0 to 0 .* got \[1\]'),
        (('tx_positions', 'tx_order: 1\ntx_positions'), 'tx_order: expected a list of indices, got 1'),
        (('tx_positions', 'capture: npy\ntx_positions'), "capture: expected a mapping, got 'npy'"),
        (('tx_positions', 'position_unit: inch\ntx_positions'), "position_unit: expected one of .* got 'inch'"),
        (('tx_positions', 'calibration: lost.npy\ntx_positions'), 'calibration: expected a .npy file at .*lost.npy'),
        (('tx_positions', 'calibration: [1]\ntx_positions'), 'calibration: expected 2 factors .* got shape'),
        (('tx_positions', 'calibration: [1, 0]\ntx_positions'), 'calibration: expected finite factors other than 0'),
        (('tx_positions', 'calibration: [1, x]\ntx_positions'), 'calibration: expected a .npy file name or a list'),
        (('waveform', '- waveform'), 'expected YAML'),
        ((YAML, 'just words'), 'expected a mapping of settings, got str'),
    ],
)
def test_a_wrong_field_is_named_with_expected_and_got(profile_file, change, message):
    path = profile_file(YAML.replace(*change))
    with pytest.raises(ProfileError, match=message) as caught:
        load_profile(path)
    assert str(path) in str(caught.value)


def test_calibration_comes_from_a_list_or_from_an_array_file(profile_file, tmp_path):
    factors = np.array([1, 0.5 - 0.5j], np.complex64)
    np.save(tmp_path / 'factors.npy', factors)
    for text in ('[1, [0.5, -0.5]]', 'factors.npy'):
        profile = load_profile(profile_file(f'{YAML}calibration: {text}\n'))
        np.testing.assert_array_equal(profile.calibration, factors)


def test_a_calibration_file_that_is_no_array_of_numbers_is_named(profile_file, tmp_path):
    (tmp_path / 'factors.npy').write_bytes(b'no array')
    with pytest.raises(ProfileError, match='factors.npy'):
        load_profile(profile_file(f'{YAML}calibration: factors.npy\n'))
    np.save(tmp_path / 'factors.npy', np.array(['a', 'b']))
    with pytest.raises(ProfileError, match='expected complex factors in .*factors.npy, got <U1'):
        load_profile(profile_file(f'{YAML}calibration: factors.npy\n'))


def test_virtual_channels_run_over_receivers_first_and_slots_in_their_order():
    profile = RadarProfile('t', FMCW, [[0, 1, 0], [0, 2, 0]], [[0, 0.1, 0], [0, 0.2, 0]], tx_order=(1, 0))
    np.testing.assert_allclose(profile.virtual_positions[:, 1], [2.1, 2.2, 1.1, 1.2])
    assert profile.num_virtual_channels == 4


def test_transmitters_that_take_turns_lower_the_unambiguous_velocity():
    alone = RadarProfile('t', FMCW, [[0, 0, 0]], LINE)
    both = RadarProfile('t', FMCW, LINE, LINE)
    assert alone.max_velocity == pytest.approx(SPEED_OF_LIGHT / FMCW.centre_frequency / (4 * 32e-6))
    assert both.max_velocity == pytest.approx(alone.max_velocity / 2)


def test_ofdm_transmitters_send_at_once():
    assert RadarProfile('t', OFDM, LINE, LINE).slow_time_period == OFDM.symbol_period


def test_real_samples_halve_the_unambiguous_range():
    real = FmcwWaveform(77e9, 20e12, 10e6, 32e-6, 128, 256, complex_samples=False)
    assert real.max_range == pytest.approx(FMCW.max_range / 2)


def test_chirps_longer_than_their_period_contradict_it():
    with pytest.raises(ProfileError, match='chirp_period: expected at least the 2.56e-05 s .* got 2e-05 s'):
        FmcwWaveform(77e9, 20e12, 10e6, 20e-6, 128, 256)


def test_something_else_than_a_waveform_is_refused():
    with pytest.raises(ProfileError, match='waveform: expected FmcwWaveform or OfdmWaveform, got dict'):
        RadarProfile('t', {}, LINE, LINE)


def test_positions_cannot_be_changed_afterwards():
    profile = RadarProfile('t', FMCW, LINE, LINE)
    with pytest.raises(ValueError, match='read-only'):
        profile.tx_positions[0, 0] = 1


def test_a_uniform_line_may_be_given_by_count_and_spacing(profile_file):
    line = '{count: 4, spacing: 0.5}'
    profile = load_profile(
        profile_file(YAML.replace('[[0, 0, 0], [0, 0.005, 0]]', line) + 'position_unit: wavelength\n')
    )
    half = SPEED_OF_LIGHT / 28e9 / 2
    np.testing.assert_allclose(profile.rx_positions[:, 1], np.array([1.5, 0.5, -0.5, -1.5]) * half)
    assert not profile.rx_positions[:, [0, 2]].any()


def test_the_front_end_is_read_and_optional(profile_file):
    assert load_profile(profile_file(YAML)).front_end is None
    profile = load_profile(profile_file(YAML + 'front_end: {tx_power_dbm: -3, noise_figure_db: 9}\n'))
    assert (profile.front_end.tx_power_dbm, profile.front_end.noise_figure_db) == (-3.0, 9.0)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('front_end: {power: 3}', 'front_end.power: expected one of tx_power_dbm'),
        ('front_end: {noise_figure_db: -1}', 'front_end.noise_figure_db: expected a number from 0 on, got -1'),
        ('front_end: {tx_power_dbm: .inf}', 'front_end.tx_power_dbm: expected a finite number, got inf'),
        ('front_end: {temperature: 0}', 'front_end.temperature: expected more than 0 K'),
    ],
)
def test_a_wrong_front_end_is_named(profile_file, line, message):
    with pytest.raises(ProfileError, match=message):
        load_profile(profile_file(YAML + line))


def test_a_cyclic_prefix_limits_the_range_and_fits_the_symbol(profile_file):
    assert OFDM.cyclic_prefix_range == float('inf')
    prefix = OfdmWaveform(28e9, 1.5625e6, 125e-6, 32, 256, cyclic_prefix=0.5e-6)
    assert prefix.cyclic_prefix_range == pytest.approx(74.95, abs=0.01)
    with pytest.raises(ProfileError, match='cyclic_prefix: expected less than the symbol period of 0.000125 s'):
        OfdmWaveform(28e9, 1.5625e6, 125e-6, 32, 256, cyclic_prefix=1e-3)


@pytest.mark.parametrize('bandwidth', [100, 200, 400])
@pytest.mark.parametrize('antennas', [8, 16, 32])
def test_the_family_of_5g_like_radars_is_complete(bandwidth, antennas):
    profile = load_profile(f'ofdm_28ghz_{bandwidth}mhz_{antennas}rx')
    assert profile.waveform.bandwidth == pytest.approx(bandwidth * 1e6)
    assert len(profile.rx_positions) == antennas
    assert profile.waveform.cyclic_prefix > 0
