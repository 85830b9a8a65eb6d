# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.ego_motion import estimate_ego_velocity, static_velocity

BINS, STEP = 128, 0.25  # unambiguous within +-16 m/s


def estimate(azimuth, bins, count=BINS, step=STEP, **options):
    """Azimuth bins of 2 degrees."""
    return estimate_ego_velocity(azimuth, np.rint(np.degrees(azimuth) / 2).astype(int), bins, count, step, **options)


def cells(ego_velocity, azimuth, generator, scatter=0.0):
    """Doppler bins, in the order of the transform, of what stands at these azimuths."""
    velocity = static_velocity(azimuth, np.asarray(ego_velocity, float)) + generator.normal(0, scatter, azimuth.shape)
    return np.rint(velocity / STEP).astype(int) % BINS


def test_what_stands_comes_nearer_ahead_and_not_at_all_from_the_side():
    azimuth = np.radians([0.0, 90.0, -90.0, 180.0, 60.0])
    np.testing.assert_allclose(static_velocity(azimuth, np.array([8.0, 0.0])), [-8, 0, 0, 8, -4], atol=1e-12)
    np.testing.assert_allclose(static_velocity(azimuth, np.array([0.0, 2.0])), [0, -2, 2, 0, -(3**0.5)], atol=1e-12)


@pytest.mark.parametrize('ego_velocity', [(0.0, 0.0), (8.0, 0.0), (-3.0, 0.5), (15.0, -1.0), (2.0, 9.0)])
def test_the_velocity_is_found_among_movers_and_sidelobes(ego_velocity):
    generator = np.random.default_rng(1)
    azimuth = generator.uniform(-1.2, 1.2, 600)
    bins = cells(ego_velocity, azimuth, generator, scatter=0.1)
    others = generator.random(600) < 0.35
    bins[others] = generator.integers(0, BINS, others.sum())
    found = estimate(azimuth, bins)
    np.testing.assert_allclose(found, ego_velocity, atol=0.1)


def test_many_cars_of_one_velocity_do_not_carry_the_platform_along():
    generator = np.random.default_rng(2)
    azimuth = np.concatenate((generator.uniform(-1.1, 1.1, 300), generator.uniform(-0.1, 0.1, 200)))
    bins = cells((10.0, 0.0), azimuth, generator)
    bins[300:] = round(-3.0 / STEP) % BINS
    np.testing.assert_allclose(estimate(azimuth, bins), (10, 0), atol=0.1)


def test_a_finer_transform_tells_the_same():
    generator = np.random.default_rng(3)
    azimuth = generator.uniform(-1.1, 1.1, 300)
    velocity = static_velocity(azimuth, np.array([7.3, -0.4]))
    bins = np.rint(velocity / (STEP / 4)).astype(int) % (4 * BINS)
    found = estimate(azimuth, bins, 4 * BINS, STEP / 4, padding=4)
    np.testing.assert_allclose(found, (7.3, -0.4), atol=0.02)


def test_a_truck_ahead_of_many_cells_does_not_outvote_a_few_posts():
    generator = np.random.default_rng(4)
    azimuth = np.concatenate((np.linspace(-1.0, 1.0, 12), generator.uniform(-0.05, 0.05, 40)))
    bins = cells((10.0, 0.0), azimuth, generator)
    bins[12:] = 0  # as fast as the platform
    np.testing.assert_allclose(estimate(azimuth, bins), (10, 0), atol=0.2)


def test_one_body_tells_nothing_however_many_its_peaks():
    azimuth = np.linspace(-0.03, 0.03, 30)
    assert estimate(azimuth, np.full(30, -12)) is None


def test_peaks_that_do_not_agree_tell_nothing():
    generator = np.random.default_rng(5)
    azimuth = np.linspace(-1.0, 1.0, 6)
    bins = np.array([5, 40, 100, 71, 20, 90])
    assert estimate(azimuth, bins) is None
    assert estimate(azimuth, cells((5.0, 1.0), azimuth, generator)) is not None


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r'doppler_bin: expected shape \(7,\) of the azimuth, got \(8,\)'):
        estimate_ego_velocity(np.zeros(7), np.zeros(7, int), np.zeros(8, int), BINS, STEP)
    with pytest.raises(ValueError, match=r'azimuth_bin: expected shape \(7,\) of the azimuth, got \(6,\)'):
        estimate_ego_velocity(np.zeros(7), np.zeros(6, int), np.zeros(7, int), BINS, STEP)
