# SPDX-License-Identifier: Apache-2.0
"""The fast channel against its definition, summed scatterer by scatterer."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, FmcwWaveform, OfdmWaveform, RadarProfile
from radio_visual_ssl.simulation.channel import Channel, frequencies, slow_times
from radio_visual_ssl.simulation.torch_channel import TorchChannel


def uniform_line(count, spacing):
    positions = np.zeros((count, 3))
    positions[:, 1] = (np.arange(count) - (count - 1) / 2) * spacing
    return positions


def ofdm_profile(num_subcarriers=64, num_symbols=4, bandwidth=400e6):
    wavelength = SPEED_OF_LIGHT / 28e9
    waveform = OfdmWaveform(28e9, bandwidth / num_subcarriers, 250e-6, num_symbols, num_subcarriers)
    return RadarProfile('ofdm', waveform, np.zeros((1, 3)), uniform_line(16, wavelength / 2), (0,))


def fmcw_profile(**changes):
    """Unambiguous to 75 m: all scatterers of these tests lie within."""
    wavelength = SPEED_OF_LIGHT / 77e9
    waveform = replace(FmcwWaveform(77.4201e9, 20e12, 10e6, 92e-6, 16, 96), **changes)
    transmitters, receivers = uniform_line(3, 2 * wavelength), uniform_line(4, wavelength / 2)
    return RadarProfile('fmcw', waveform, transmitters, receivers, (2, 0, 1))


def defined_cube(profile, positions, amplitudes, velocities):
    """Sum over scatterers of a exp(-/+ j 2 pi f tau), each delay on its own."""
    sign = -1 if isinstance(profile.waveform, OfdmWaveform) else 1
    frequency, times = frequencies(profile), slow_times(profile)
    receivers = len(profile.rx_positions)
    cube = np.zeros((len(times), len(profile.tx_order) * receivers, len(frequency)), dtype=complex)
    for row, slot in np.ndindex(times.shape):
        places = positions + velocities * times[row, slot]
        out = np.linalg.norm(places - profile.tx_positions[profile.tx_order[slot]], axis=1)
        for receiver, antenna in enumerate(profile.rx_positions):
            delay = (out + np.linalg.norm(places - antenna, axis=1)) / SPEED_OF_LIGHT
            cube[row, slot * receivers + receiver] = np.exp(sign * 2j * np.pi * np.outer(frequency, delay)) @ amplitudes
    return cube


def random_scatterers(count=60, seed=1):
    rng = np.random.default_rng(seed)
    positions = rng.uniform((3, -25, -4), (46, 25, 0), (count, 3))
    amplitudes = (rng.normal(size=count) + 1j * rng.normal(size=count)).astype(np.complex64)
    return positions, amplitudes, rng.normal(0, 10, (count, 3))


@pytest.mark.parametrize(
    'profile',
    [ofdm_profile(), ofdm_profile(num_subcarriers=63), ofdm_profile(bandwidth=2e9), fmcw_profile()],
    ids=['ofdm', 'ofdm with an odd number of subcarriers', 'ofdm of 2 GHz', 'fmcw tdm'],
)
def test_cube_equals_its_definition_with_moving_scatterers(profile, monkeypatch):
    positions, amplitudes, velocities = random_scatterers()
    expected = defined_cube(profile, positions, amplitudes, velocities)
    monkeypatch.setattr('radio_visual_ssl.simulation.torch_channel.LARGEST_BLOCK', 10_000)  # several blocks
    exact = TorchChannel(profile, 'torch:cpu').response(positions, amplitudes, velocities)
    assert exact.dtype == np.complex64
    assert np.linalg.norm(exact - expected) < 1e-6 * np.linalg.norm(expected)
    cube = Channel(profile).response(positions, amplitudes, velocities)
    assert cube.dtype == np.complex64
    assert cube.shape == Channel(profile).shape == expected.shape
    assert np.linalg.norm(cube - expected) < 3e-5 * np.linalg.norm(expected)
    assert np.abs(cube - expected).max() < 1e-3 * np.abs(amplitudes).max()


@pytest.mark.parametrize('profile', [ofdm_profile(), fmcw_profile()], ids=['ofdm', 'fmcw'])
def test_scatterers_at_rest_repeat_over_slow_time(profile):
    positions, amplitudes, _ = random_scatterers()
    still = Channel(profile).response(positions, amplitudes)
    np.testing.assert_allclose(
        still, defined_cube(profile, positions, amplitudes, np.zeros_like(positions)), atol=1e-3 * len(amplitudes)
    )
    assert np.array_equal(still[0], still[-1])


def test_what_receivers_see_elsewhere_is_the_same_on_either_device():
    profile, (positions, amplitudes, velocities) = fmcw_profile(), random_scatterers()
    mirrored, turned = positions * (1, 1, -1), velocities * (1, 1, -1)
    echoes = [
        channel.response(positions, amplitudes, velocities, mirrored, turned)
        for channel in (Channel(profile), TorchChannel(profile, 'torch:cpu'))
    ]
    assert np.linalg.norm(echoes[0] - echoes[1]) < 3e-5 * np.linalg.norm(echoes[1])
    still = [
        channel.response(positions, amplitudes, None, mirrored)
        for channel in (Channel(profile), TorchChannel(profile, 'torch:cpu'))
    ]
    assert np.linalg.norm(still[0] - still[1]) < 3e-5 * np.linalg.norm(still[1])


@pytest.mark.parametrize('channel', [Channel, lambda profile: TorchChannel(profile, 'torch:cpu')], ids=['cpu', 'torch'])
@pytest.mark.parametrize('complex_samples', [True, False])
def test_the_filter_before_the_adc_keeps_echoes_beyond_its_band_from_folding_back(channel, complex_samples):
    """A beat of 0.9 of the band is at full level, one of 1.2 of it would show at 0.2 of it: nothing is left."""
    profile = fmcw_profile(complex_samples=complex_samples)
    farthest = profile.waveform.max_range
    assert farthest == pytest.approx(SPEED_OF_LIGHT * 10e6 / (2 * 20e12) / (1 if complex_samples else 2))
    places = np.array([[0.9, 0.0, 0.0], [0.8, 0.4, 0.2], [1.02, 0.0, 0.0], [0.9, -0.8, 0.0]]) * farthest
    one, moving = np.ones(1, np.complex64), np.full((1, 3), 3.0)
    for place, level in zip(places, (1.0, 1.0, 0.0, 0.0), strict=True):
        for cube in (
            channel(profile).response(place[None], one),
            channel(profile).response(place[None], one, moving),
            # the mirror image makes the way back as long as the way out
            channel(profile).response(place[None], one, moving, place[None] * (1, 1, -1), moving * (1, 1, -1)),
        ):
            assert cube.shape == (16, 12, 96)
            np.testing.assert_allclose(np.abs(cube), level, atol=1e-3)
    both = channel(profile).response(places[[0, 2]], np.ones(2, np.complex64), np.zeros((2, 3)))
    np.testing.assert_allclose(both, channel(profile).response(places[:1], one, np.zeros((1, 3))), atol=1e-3)
    # of 0.9 out and another way back, the sum counts
    back = [channel(profile).response(places[:1], one, None, longer * places[:1]) for longer in (1.2, 1.3)]
    assert [bool(cube.any()) for cube in back] == [True, False]


def test_echoes_beyond_the_unambiguous_range_fold_on_a_comb_of_subcarriers():
    profile = ofdm_profile(bandwidth=2e9)
    place, one = np.array([[1.3 * profile.waveform.max_range, 0.0, 0.0]]), np.ones(1, np.complex64)
    np.testing.assert_allclose(np.abs(Channel(profile).response(place, one)), 1.0, atol=1e-3)


def test_range_migration_over_aperture_and_frame_is_kept():
    """1 GHz, 60 m/s, 3 ms: a shared delay would be off by much more than the error that is left."""
    waveform = OfdmWaveform(28e9, 1e9 / 128, 1e-3, 4, 128)
    profile = RadarProfile('wide', waveform, np.zeros((1, 3)), uniform_line(64, SPEED_OF_LIGHT / 56e9), (0,))
    positions, velocities = np.array([[30.0, 20.0, 0.0]]), np.array([[60.0, 0.0, 0.0]])
    cube = Channel(profile).response(positions, np.ones(1, np.complex64), velocities)
    np.testing.assert_allclose(cube, defined_cube(profile, positions, np.ones(1), velocities), atol=1e-3)


def test_the_phase_falls_with_delay_for_ofdm_and_rises_for_fmcw():
    place, one = np.array([[2.0, 0.0, 0.0]]), np.ones(1, np.complex64)
    for profile, sign in ((ofdm_profile(), -1), (fmcw_profile(), 1)):
        spacing = np.diff(frequencies(profile))[0]
        cycles = np.unwrap(np.angle(Channel(profile).response(place, one)[0, 0]))
        assert np.mean(np.diff(cycles)) == pytest.approx(sign * 2 * np.pi * spacing * 4.0 / SPEED_OF_LIGHT, rel=0.01)


def test_a_receding_scatterer_turns_the_phase_with_its_doppler_shift():
    velocity = np.array([[5.0, 0.0, 0.0]])
    for profile, sign in ((ofdm_profile(), -1), (fmcw_profile(), 1)):
        cube = Channel(profile).response(np.array([[20.0, 0.0, 0.0]]), np.ones(1, np.complex64), velocity)
        first, second = slow_times(profile)[:2, 0]
        middle = cube.shape[2] // 2
        turn = np.angle(cube[1, 0, middle] / cube[0, 0, middle])
        expected = sign * 4 * np.pi * 5.0 * (second - first) * frequencies(profile)[middle] / SPEED_OF_LIGHT
        assert np.angle(np.exp(1j * (turn - expected))) == pytest.approx(0, abs=0.01)


def test_transmitters_send_in_turn():
    times = slow_times(fmcw_profile())
    assert times.shape == (16, 3)
    np.testing.assert_allclose(times.ravel(), np.arange(48) * 92e-6)


def test_no_scatterers_make_an_empty_cube():
    cube = Channel(ofdm_profile()).response(np.zeros((0, 3)), np.zeros(0, np.complex64), np.zeros((0, 3)))
    assert cube.shape == (4, 16, 64)
    assert not cube.any()
