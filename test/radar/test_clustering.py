# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.clustering import ClusterSettings, cluster, excess_power, snr_score
from radio_visual_ssl.radar.grid import PolarGrid

SECTOR = PolarGrid(np.arange(200) * 0.25, np.deg2rad(np.arange(-60, 61, 1.0)))
CIRCLE = PolarGrid(np.arange(200) * 0.25, np.deg2rad(np.arange(-179.5, 180.0, 1.0)), wraps=True)


def blob(grid, range_, azimuth_deg, peak_db, size=(0.4, 1.5)):
    """A Gaussian spot of the given standard deviations (m, degrees)."""
    turn = np.mod(np.degrees(grid.azimuth) - azimuth_deg + 180, 360) - 180
    exponent = ((grid.range[:, None] - range_) / size[0]) ** 2 + (turn / size[1]) ** 2
    return 10 ** (peak_db / 10) * np.exp(-exponent / 2)


def targets_of(grid, *spots, threshold_db=10.0, velocity=None, **settings):
    power = 1 + sum(spots)
    return cluster(
        power,
        np.ones(grid.shape),
        power > 10 ** (threshold_db / 10),
        grid,
        settings=ClusterSettings(**settings),
        velocity=velocity,
    )


def place(target):
    return target.range, np.degrees(target.azimuth)


def test_nothing_detected_is_no_target():
    assert targets_of(SECTOR, np.zeros(SECTOR.shape)) == []


@pytest.mark.parametrize('grid', [SECTOR, CIRCLE], ids=['sector', 'circle'])
def test_a_point_is_found_between_the_bins(grid):
    (target,) = targets_of(grid, blob(grid, 20.06, 12.3, 40))
    assert place(target) == pytest.approx((20.06, 12.3), abs=0.02)
    assert target.snr == pytest.approx(40, abs=0.5)
    assert np.isnan(target.radial_velocity)


def test_a_point_is_found_between_the_bins_of_an_uneven_grid():
    grid = PolarGrid(np.arange(200) * 0.25, np.arcsin(np.linspace(-0.98, 0.98, 128)))
    truth = np.arcsin(0.713)
    sine = (np.sin(grid.azimuth) - np.sin(truth)) / 0.03
    power = 1 + 1e4 * np.exp(-(((grid.range[:, None] - 30.1) / 0.4) ** 2 + sine**2) / 2)
    (target,) = cluster(power, np.ones(grid.shape), power > 10, grid)
    assert target.range == pytest.approx(30.1, abs=0.02)
    assert target.azimuth == pytest.approx(truth, abs=2e-3)


def test_a_target_astride_the_seam_is_one():
    (target,) = targets_of(CIRCLE, blob(CIRCLE, 25.0, 179.8, 30, size=(0.4, 3.0)))
    assert target.range == pytest.approx(25.0, abs=0.05)
    assert abs(np.degrees(target.azimuth)) == pytest.approx(179.8, abs=0.1)


def test_an_extended_target_astride_the_seam_is_centred_on_it():
    spots = [blob(CIRCLE, 30.0, azimuth, 30) for azimuth in np.arange(177.5, 183.0, 0.5)]
    (target,) = targets_of(CIRCLE, *spots)
    assert abs(np.degrees(target.azimuth)) == pytest.approx(180, abs=0.3)


def test_a_car_over_many_cells_is_one_target_at_its_middle():
    rng = np.random.default_rng(0)
    body = [
        blob(SECTOR, range_, 10 + azimuth, 30 + rng.normal(0, 3), size=(0.25, 1.0))
        for range_ in np.arange(20.0, 24.6, 0.3)
        for azimuth in (-1.5, 0, 1.5)
    ]
    (target,) = targets_of(SECTOR, *body, merge_radius=4.0, extent_std=0.0)
    assert target.range == pytest.approx(22.25, abs=0.8)
    assert np.degrees(target.azimuth) == pytest.approx(10, abs=0.8)
    assert np.sqrt(np.linalg.eigvalsh(target.covariance)[1]) > 0.5


@pytest.mark.parametrize('azimuth_deg', [(0.0, 0.0), (-7.2, 7.2)], ids=['behind each other', 'side by side'])
def test_two_targets_five_metres_apart_remain_two(azimuth_deg):
    ranges = (20.0, 25.0) if azimuth_deg[0] == azimuth_deg[1] else (20.0, 20.0)
    spots = [blob(SECTOR, *polar, 30) for polar in zip(ranges, azimuth_deg, strict=True)]
    found = targets_of(SECTOR, *spots, merge_radius=4.0)
    assert sorted(place(target) for target in found) == [
        pytest.approx(polar, abs=0.1) for polar in zip(ranges, azimuth_deg, strict=True)
    ]


def test_peaks_nearer_than_the_merge_radius_are_one_target_at_the_stronger():
    found = targets_of(SECTOR, blob(SECTOR, 20.0, 0.0, 40), blob(SECTOR, 22.5, 0.0, 25), merge_radius=3.0)
    assert len(found) == 1
    assert found[0].range == pytest.approx(20.0, abs=0.1)


def test_sidelobes_at_the_same_range_are_dropped_where_asked():
    spots = (blob(SECTOR, 20.0, 0.0, 40), blob(SECTOR, 20.0, 25.0, 22), blob(SECTOR, 35.0, -20.0, 22))
    assert len(targets_of(SECTOR, *spots)) == 3
    kept = targets_of(SECTOR, *spots, sidelobe_rejection=15.0)
    assert [round(np.degrees(target.azimuth)) for target in kept] == [0, -20]
    assert len(targets_of(SECTOR, *spots, sidelobe_rejection=20.0)) == 3


def test_small_weak_and_surplus_targets_are_dropped_where_asked():
    spots = [blob(SECTOR, range_, 0.0, peak) for range_, peak in ((10, 20), (20, 25), (30, 30), (40, 35))]
    assert [round(target.range) for target in targets_of(SECTOR, *spots)] == [40, 30, 20, 10]
    assert [round(target.range) for target in targets_of(SECTOR, *spots, max_targets=2)] == [40, 30]
    assert [round(target.range) for target in targets_of(SECTOR, *spots, min_snr=28.0)] == [40, 30]
    speck = blob(SECTOR, 45.0, 30.0, 40, size=(0.01, 0.01))
    assert len(targets_of(SECTOR, *spots, speck)) == 5
    assert len(targets_of(SECTOR, *spots, speck, min_cells=2)) == 4


def test_a_plateau_of_equal_values_is_one_target():
    power = np.ones(SECTOR.shape)
    power[40:43, 60:63] = 100.0
    (target,) = cluster(power, np.ones(SECTOR.shape), power > 10, SECTOR, settings=ClusterSettings(merge_radius=0.0))
    assert target.range == pytest.approx(SECTOR.range[41], abs=0.26)


def test_a_target_at_the_edge_of_the_grid_is_kept_inside():
    (target,) = targets_of(SECTOR, blob(SECTOR, 0.0, -60.0, 30), merge_radius=1.0)[:1]
    assert SECTOR.contains(target.range, target.azimuth)
    assert np.isfinite(target.covariance).all()


def test_radial_velocity_is_the_power_weighted_mean_of_cells_about_as_fast_as_the_peak():
    velocity = np.full(SECTOR.shape, np.nan)
    velocity[:, :60] = 2.0
    velocity[:, 60:] = 2.5
    velocity[0] = -6.0
    (target,) = targets_of(SECTOR, blob(SECTOR, 20.0, -0.5, 30), velocity=velocity)
    assert target.radial_velocity == pytest.approx(2.25, abs=0.1)
    velocity[:, 60:] = 4.0
    (target,) = targets_of(SECTOR, blob(SECTOR, 20.0, 0.2, 30), velocity=velocity)
    assert target.radial_velocity == pytest.approx(4.0)


@pytest.mark.parametrize('fastest', [6.82, 0.4])
def test_radial_velocity_near_the_unambiguous_limit_is_one_that_cells_hold(fastest):
    velocity = np.random.default_rng(3).uniform(-fastest, fastest, SECTOR.shape)
    rows = np.arange(60, 100)
    velocity[rows] = np.where(rows % 3 == 0, -fastest, 0.99 * fastest)[:, None]
    (target,) = targets_of(SECTOR, blob(SECTOR, SECTOR.range[80], 0.0, 40), velocity=velocity)
    assert target.radial_velocity == pytest.approx(0.99 * fastest)


def test_a_peak_of_unknown_velocity_takes_that_of_its_strongest_cell_that_has_one():
    velocity = np.full(SECTOR.shape, np.nan)
    velocity[78], velocity[83] = 3.0, -3.0
    (target,) = targets_of(SECTOR, blob(SECTOR, SECTOR.range[80], 0.0, 40), velocity=velocity)
    assert target.radial_velocity == pytest.approx(3.0)
    (unknown,) = targets_of(SECTOR, blob(SECTOR, 20.0, 0.0, 30), velocity=np.full(SECTOR.shape, np.nan))
    assert np.isnan(unknown.radial_velocity)


def test_score_rises_with_snr_from_0_to_1():
    snr = np.linspace(-20, 60, 200)
    score = snr_score(snr, midpoint=12.0, slope=3.0)
    assert (np.diff(score) > 0).all()
    assert snr_score(12.0, 12.0, 3.0) == pytest.approx(0.5)
    assert snr_score(15.0, 12.0, 3.0) == pytest.approx(0.731, abs=1e-3)
    found = targets_of(SECTOR, *(blob(SECTOR, range_, 0.0, 12 + range_ / 2) for range_ in (10, 20, 30, 40)))
    assert [target.score for target in found] == sorted((target.score for target in found), reverse=True)
    assert all(0 < target.score < 1 for target in found)


def array_heatmap(rng, grid_sine, range_, sine, snr_db):
    """Power and noise of one point seen by 16 antennas and 64 subcarriers, both spectra with a Hann window.

    Range bins are 0.25 m (padded twice), azimuth bins 4 times finer than the beam; the peak has the given SNR.
    """
    taper = np.outer(np.hanning(64), np.hanning(16))
    frequency, antenna = np.arange(64)[:, None], np.arange(16)
    phase = frequency * (range_ / 0.25 / 128) + antenna * sine / 2
    amplitude = np.sqrt(10 ** (snr_db / 10) * (taper**2).sum()) / taper.sum()
    noise = (rng.normal(size=(64, 16)) + 1j * rng.normal(size=(64, 16))) / np.sqrt(2)
    samples = (amplitude * np.exp(2j * np.pi * (phase + rng.random())) + noise) * taper
    beams = np.exp(-1j * np.pi * np.outer(antenna, grid_sine))
    spectrum = np.fft.fft(samples, 128, axis=0) @ beams
    return np.abs(spectrum) ** 2 / (taper**2).sum()


@pytest.mark.parametrize('snr_db', [16.0, 22.0, 30.0])
def test_covariance_covers_the_error_of_points(snr_db):
    rng = np.random.default_rng(5)
    sine = np.linspace(-1, 1, 64, endpoint=False)[1:]
    grid = PolarGrid(np.arange(128) * 0.25, np.arcsin(sine))
    settings = ClusterSettings(max_targets=1, extent_std=0.0)
    distances, errors = [], []
    for _ in range(150):
        range_, azimuth = rng.uniform(8, 20), rng.uniform(-0.9, 0.9)
        power = array_heatmap(rng, sine, range_, np.sin(azimuth), snr_db)
        found = cluster(power, np.ones(grid.shape), power > 10**1.1, grid, settings=settings)
        assert len(found) == 1
        error = np.array([range_ * np.cos(azimuth) - found[0].x, range_ * np.sin(azimuth) - found[0].y])
        distances.append(error @ np.linalg.solve(found[0].covariance, error))
        errors.append(np.hypot(*error))
    # Of two degrees of freedom the mean is 2; conservative is welcome, boasting is not.
    assert 0.4 < np.mean(distances) < 3.5
    assert np.mean(np.array(distances) < 9.21) > 0.93
    assert np.median(errors) < {16.0: 0.2, 22.0: 0.1, 30.0: 0.05}[snr_db]


def test_covariance_is_long_across_the_line_of_sight_far_away():
    (target,) = targets_of(SECTOR, blob(SECTOR, 45.0, 30.0, 25), extent_std=0.0)
    values, vectors = np.linalg.eigh(target.covariance)
    assert values[1] > 4 * values[0] > 0
    assert abs(vectors[:, 1] @ [np.cos(target.azimuth), np.sin(target.azimuth)]) < 0.05


def test_covariance_of_the_centre_is_that_of_the_reflecting_point_and_the_targets_extent():
    spot = blob(SECTOR, 45.0, 30.0, 25)
    (point,) = targets_of(SECTOR, spot, extent_std=0.0)
    (centre,) = targets_of(SECTOR, spot, extent_std=0.7)
    assert centre.covariance == pytest.approx(point.covariance + 0.49 * np.eye(2))
    assert (centre.x, centre.y) == (point.x, point.y)


@pytest.mark.parametrize('side', [-1, 1])
def test_a_target_beside_strong_clutter_is_where_its_excess_is_not_where_the_ratio_is(side):
    """The ratio peaks on the side that looks away from the clutter, by the closed form of two Gaussians."""
    size, truth, apart = (0.4, 3.0), 10.0 * side, 6.0 * side
    usual = 1 + blob(SECTOR, 20.0, truth + apart, 30, size)
    seen = usual + blob(SECTOR, 20.0, truth, 27, size)
    ratio, detections = seen / usual, seen > 10 * usual
    (by_ratio,) = cluster(ratio, np.ones(SECTOR.shape), detections, SECTOR)
    assert side * (place(by_ratio)[1] - truth) < -3
    excess = excess_power(10 * np.log10(seen), 10 * np.log10(usual))
    (target,) = cluster(ratio, np.ones(SECTOR.shape), detections, SECTOR, excess=excess)
    assert place(target) == pytest.approx((20.0, truth), abs=0.4)
    assert target.snr == by_ratio.snr and target.score == by_ratio.score


def test_a_peak_goes_uphill_across_the_seam_and_stays_on_a_plateau():
    excess = np.zeros(CIRCLE.shape)
    excess[80, [357, 358, 359, 0, 1]] = 1, 2, 3, 4, 5
    power = np.zeros(CIRCLE.shape)
    power[80, 357], power[120, 50] = 100, 50
    found = cluster(
        power, np.ones(CIRCLE.shape), power > 10, CIRCLE, settings=ClusterSettings(min_cells=1), excess=excess
    )
    assert place(found[0]) == pytest.approx((20.0, -178.5), abs=0.6)
    assert place(found[1]) == pytest.approx((30.0, -129.5), abs=0.3)


def test_excess_is_power_beyond_the_usual_where_it_has_doubled():
    values, level = np.array([[20.0, 13.0, 12.0, 5.0]]), np.array([[10.0, 10.0, 10.0, 10.0]])
    np.testing.assert_allclose(excess_power(values, level), [[0.9, (10**1.3 - 10) / 100, 0, 0]], rtol=1e-5)


def test_both_sides_of_a_target_before_narrow_clutter_are_one_target():
    usual = 1 + blob(SECTOR, 20.0, 0.0, 40, (0.4, 1.5))
    seen = usual + blob(SECTOR, 20.0, 0.0, 38, (0.4, 4.0))
    ratio, excess = seen / usual, excess_power(10 * np.log10(seen), 10 * np.log10(usual))
    excess = np.where(excess > 0, excess, seen - usual) / seen.max()
    settings = ClusterSettings(merge_radius=1.5, sidelobe_rejection=0.0)
    detections = ratio > 5
    assert len(cluster(ratio, np.ones(SECTOR.shape), detections, SECTOR, settings=settings)) == 2
    (target,) = cluster(ratio, np.ones(SECTOR.shape), detections, SECTOR, settings=settings, excess=excess)
    assert place(target) == pytest.approx((20.0, 0.0), abs=0.3)
