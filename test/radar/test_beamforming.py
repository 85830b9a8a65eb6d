# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.beamforming import BeamPlan, VirtualArray, capon_weights, subarrays

HALF_WAVE = np.array([[0, 0.5 * i, 0] for i in range(8)])


def line(*y):
    return np.array([[0.0, value, 0.0] for value in y])


def snapshots(array, azimuths, count=200, snr_db=30.0, coherent=False, seed=0):
    """(1, M, count) samples of targets of independent phases, or of one phase, in noise of power 1."""
    generator = np.random.default_rng(seed)
    shape = (1 if coherent else len(azimuths), count)
    sources = np.exp(2j * np.pi * generator.random(shape)) * 10 ** (snr_db / 20)
    sources = np.broadcast_to(sources, (len(azimuths), count))
    noise = generator.standard_normal((2, array.count, count)) / np.sqrt(2)
    samples = array.steering_vectors(np.array(azimuths)).T @ sources + noise[0] + 1j * noise[1]
    return samples[None].astype(np.complex64)


def spectrum(weights, samples):
    return np.mean(np.abs(weights @ samples) ** 2, axis=-1)[0]


def peaks(power, azimuth, count):
    inner = np.flatnonzero((power[1:-1] > power[:-2]) & (power[1:-1] > power[2:])) + 1
    return np.sort(azimuth[inner[np.argsort(power[inner])[::-1][:count]]])


def test_a_line_of_antennas_is_a_grid_in_any_order():
    array = VirtualArray.of(HALF_WAVE[[3, 0, 7, 1, 2, 6, 5, 4]], -1)
    assert array.spacing == pytest.approx(0.5)
    np.testing.assert_array_equal(array.index, [3, 0, 7, 1, 2, 6, 5, 4])
    assert array.is_uniform_line


def test_gaps_and_antennas_at_the_same_place_stay_on_the_grid():
    array = VirtualArray.of(line(0, 0.5, 0.5, 2.0), -1)
    np.testing.assert_array_equal(array.index, [0, 1, 1, 4])
    assert array.extent == 5
    assert not array.is_uniform_line


@pytest.mark.parametrize('apart', [0.0, 0.015, 0.021, 0.03, 0.045, 0.1])
@pytest.mark.parametrize('share', [0.0, 0.5])
def test_two_antennas_that_are_hardly_apart_leave_the_azimuth_bins_as_they_are(apart, share):
    whole = VirtualArray.of(line(*np.arange(8) / 2), -1)
    array = VirtualArray.of(line(*np.arange(8) / 2, 1.5 - share * apart, 1.5 + (1 - share) * apart), -1)
    np.testing.assert_allclose(array.azimuth(64), whole.azimuth(64))
    assert (array.spacing is None) is (max(share, 1 - share) * apart > 0.02)


@pytest.mark.parametrize('seed', range(20))
def test_rounded_positions_of_overlapping_transmitters_give_the_same_bins_and_beams(seed):
    """Three transmitters 1.5 wavelengths apart and four receivers: two virtual places are held twice."""
    transmitters, receivers = np.arange(3) * 1.5, np.arange(4) * 0.5
    exact = VirtualArray.of(line(*np.add.outer(transmitters, receivers).ravel()), -1)
    generator = np.random.default_rng(seed)
    rounded = [values + generator.uniform(-0.015, 0.015, values.size) for values in (transmitters, receivers)]
    array = VirtualArray.of(line(*np.add.outer(*rounded).ravel()), -1)
    azimuth = array.azimuth(64)
    assert azimuth.size == 64
    np.testing.assert_allclose(np.sin(azimuth), np.sin(exact.azimuth(64)), atol=0.02)
    sample = array.steering_vectors(azimuth[[45]])
    plan = BeamPlan.of(array, azimuth, 'taylor', np.ones((1, 12), np.complex64))
    parts = sample.astype(np.complex64).view(np.float32)
    power = (parts @ plan.real[0]) ** 2 + (parts @ plan.imaginary[0]) ** 2
    assert np.argmax(power if plan.spread is None else power @ plan.spread) in (44, 45, 46)


def test_antennas_closer_than_a_fifth_of_a_wavelength_are_on_no_grid():
    for spacing, on_grid in ((0.25, True), (0.2, True), (0.15, False), (0.05, False)):
        array = VirtualArray.of(line(*np.arange(8) * spacing), -1)
        assert (array.spacing is not None) is on_grid
        assert array.azimuth(64).size == (round(128 * spacing) if on_grid else 64)


@pytest.mark.parametrize('positions', [line(0, 0.5, 1.2), np.array([[0, 0, 0], [0.3, 0.5, 0], [0, 1, 0]])])
def test_other_arrays_have_no_grid(positions):
    assert VirtualArray.of(positions, -1).spacing is None


def test_an_array_without_extent_along_y_is_refused():
    with pytest.raises(ValueError, match='expected virtual antennas .* apart along y .* the same y for all 3'):
        VirtualArray.of(np.array([[0, 1, 0], [0.5, 1, 0], [0, 1, 0.5]]), -1)


@pytest.mark.parametrize(('spacing', 'sine'), [(0.5, 1.0), (1.0, 0.5), (0.7, 0.5 / 0.7)])
def test_azimuth_bins_fill_what_the_array_can_tell_uniformly_in_the_sine(spacing, sine):
    azimuth = VirtualArray.of(HALF_WAVE * 2 * spacing, -1).azimuth(32)
    assert azimuth.size == 32
    steps = np.diff(np.sin(azimuth))
    np.testing.assert_allclose(steps, 2 * sine / 32)
    assert np.sin(azimuth[-1]) + steps[0] / 2 == pytest.approx(sine)
    np.testing.assert_allclose(azimuth, -azimuth[::-1])


def test_bins_beyond_90_degrees_are_left_out():
    azimuth = VirtualArray.of(HALF_WAVE * 0.8, -1).azimuth(32)
    assert azimuth.size < 32
    assert np.all(np.abs(azimuth) < np.pi / 2)
    np.testing.assert_allclose(np.diff(np.sin(azimuth)), 1 / (32 * 0.4))


@pytest.mark.parametrize('sign', [1, -1])
def test_the_phase_of_an_antenna_further_left_leads_for_targets_on_the_left(sign):
    """A target on the left is nearer to it: its delay is less, and the sign says what that does to the phase."""
    vector = VirtualArray.of(HALF_WAVE, sign).steering_vectors(np.array([np.radians(20)]))[0]
    np.testing.assert_allclose(np.angle(vector[1:] / vector[:-1]), sign * np.pi * np.sin(np.radians(20)))


@pytest.mark.parametrize('positions', [HALF_WAVE, line(0, 0.5, 0.5, 2.0, 1.0), HALF_WAVE * 1.3])
@pytest.mark.parametrize('sign', [1, -1])
def test_few_beams_give_the_power_in_all_bins(positions, sign):
    array = VirtualArray.of(positions, sign)
    azimuth = array.azimuth(64)
    generator = np.random.default_rng(0)
    factors = generator.standard_normal((1, array.count)) + 1j * generator.standard_normal((1, array.count))
    plan = BeamPlan.of(array, azimuth, 'taylor', factors)
    assert plan.spread is not None
    samples = (generator.standard_normal((5, array.count, 2)) @ [1, 1j]).astype(np.complex64)
    flat = samples.view(np.float32).reshape(5, -1)
    power = ((flat @ plan.real[0]) ** 2 + (flat @ plan.imaginary[0]) ** 2) @ plan.spread
    beams = (array.steering_vectors(azimuth).conj() * array.taper('taylor')) @ (samples * factors).T
    np.testing.assert_allclose(power, np.abs(beams.T) ** 2, atol=1e-4 * np.max(np.abs(beams) ** 2))


def test_antennas_at_the_same_place_share_their_weight():
    taper = VirtualArray.of(line(0, 0.5, 0.5, 1.0), -1).taper('hann')
    assert taper[1] + taper[2] == pytest.approx(VirtualArray.of(line(0, 0.5, 1.0), -1).taper('hann')[1])
    assert taper[1] == taper[2]


def test_the_taper_follows_the_place_along_y_without_a_grid():
    taper = VirtualArray.of(line(1.2, 0, 0.5, 2.4), -1).taper('hann')
    assert taper[0] > taper[2] > taper[1]
    np.testing.assert_allclose(taper[1], taper[3])


def test_capon_passes_its_own_direction_undistorted():
    array = VirtualArray.of(HALF_WAVE, -1)
    steering = array.steering_vectors(array.azimuth(64))
    weights = capon_weights(snapshots(array, np.radians([10, -30])), steering, 1e-3)
    np.testing.assert_allclose(np.einsum('ram,am->ra', weights, steering), 1, atol=1e-4)


def test_capon_resolves_two_targets_that_conventional_beams_cannot():
    array = VirtualArray.of(HALF_WAVE, -1)
    truth = np.radians([-4.0, 4.0])
    azimuth = array.azimuth(512)
    steering = array.steering_vectors(azimuth)
    samples = snapshots(array, truth)
    conventional = spectrum(steering.conj()[None], samples)
    assert len(peaks(conventional[np.abs(azimuth) < np.radians(10)], azimuth[np.abs(azimuth) < np.radians(10)], 2)) == 1
    capon = spectrum(capon_weights(samples, steering, 1e-4), samples)
    np.testing.assert_allclose(peaks(capon, azimuth, 2), truth, atol=np.radians(0.7))


def test_smoothing_keeps_capon_from_cancelling_coherent_targets():
    array = VirtualArray.of(np.array([[0, 0.5 * i, 0] for i in range(16)]), -1)
    truth = np.radians([-5.0, 7.0])
    steering = array.steering_vectors(truth)
    samples = snapshots(array, truth, coherent=True)
    parts = subarrays(samples, 10)
    assert parts.shape == (1, 10, 7, 200)
    parts = parts.reshape(1, 10, -1)
    whole = spectrum(capon_weights(samples, steering, 1e-2), samples)
    smooth = spectrum(capon_weights(parts, steering[:, :10], 1e-2, forward_backward=True), parts)
    assert np.all(10 * np.log10(whole) < 0)
    np.testing.assert_allclose(10 * np.log10(smooth), 30, atol=0.5)


def test_capon_survives_an_empty_range_bin():
    array = VirtualArray.of(HALF_WAVE, -1)
    steering = array.steering_vectors(array.azimuth(16))
    weights = capon_weights(np.zeros((2, 8, 5), np.complex64), steering, 1e-3)
    assert np.all(np.isfinite(weights))
