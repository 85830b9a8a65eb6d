# SPDX-License-Identifier: Apache-2.0
"""The map from mask geometry to radar places."""

import numpy as np
import pytest

from radio_visual_ssl.learning.visual_map import MapSettings, VisualMap


def ground(count, seed=0):
    """Features and exact (range, azimuth) of points on the ground before a camera 4 m above it, tilted by 9 degrees."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(8, 40, count)
    y = x * rng.uniform(-0.5, 0.5, count)
    depth = x * np.cos(0.157) + 4 * np.sin(0.157)
    features = np.column_stack((-y / depth, (4 * np.cos(0.157) - x * np.sin(0.157)) / depth, rng.normal(size=count)))
    return features, np.column_stack((np.sqrt(x**2 + y**2 + 16), np.arctan2(y, x)))


def fit(features, places, weight=None, steps=12, settings=MapSettings()):
    """Map after some fits to places that may be noisy."""
    fitted = VisualMap.blank(features, places[:, 0], places[:, 1], settings)
    weight = np.ones(len(features)) if weight is None else weight
    for _ in range(steps):
        fitted = fitted.fitted(features, places[:, 0], places[:, 1], weight)
    return fitted


def test_a_blank_map_answers_the_mean_with_the_spread_of_all_places():
    features, places = ground(200)
    place, variance = VisualMap.blank(features, places[:, 0], places[:, 1]).predict(features)
    assert np.ptp(place[:, 0]) == 0
    np.testing.assert_allclose(variance, np.tile(places.var(axis=0), (200, 1)))


def test_learns_a_camera_over_flat_ground_from_few_points():
    features, places = ground(80)
    fitted = fit(features, places)
    unseen, true = ground(300, seed=1)
    place, _ = fitted.predict(unseen)
    error = np.abs(place[:, 0] - true[:, 0])
    assert np.median(error) < 0.25
    assert np.quantile(error, 0.95) < 1.0
    assert np.quantile(np.degrees(np.abs(place[:, 1] - true[:, 1])), 0.95) < 0.7


@pytest.mark.parametrize('turn', [np.pi, -2.5])
def test_a_camera_may_look_across_the_cut_of_a_radar_that_sees_all_round(turn):
    features, places = ground(80)
    turned = places + np.array([0.0, turn])
    turned[:, 1] = (turned[:, 1] + np.pi) % (2 * np.pi) - np.pi
    unseen, true = ground(300, seed=1)
    error = fit(features, turned).predict(unseen)[0] - true - np.array([0.0, turn])
    error[:, 1] = (error[:, 1] + np.pi) % (2 * np.pi) - np.pi
    assert np.quantile(np.degrees(np.abs(error[:, 1])), 0.95) < 0.7
    assert np.median(np.abs(error[:, 0])) < 0.25


def test_nothing_observed_leaves_the_map_as_it_is():
    features, places = ground(80)
    blank = VisualMap.blank(features, places[:, 0], places[:, 1])
    same = blank.fitted(features[:0], places[:0, 0], places[:0, 1], np.zeros(0))
    np.testing.assert_array_equal(same.predict(features)[0], blank.predict(features)[0])


def test_noise_is_averaged_and_told_as_variance():
    features, places = ground(600)
    noise = np.random.default_rng(2).normal(0, [0.8, 0.03], places.shape)
    place, variance = fit(features, places + noise).predict(features)
    assert np.std(place[:, 0] - places[:, 0]) < 0.25
    assert np.median(np.sqrt(variance[:, 0])) == pytest.approx(0.8, rel=0.2)
    assert np.median(np.sqrt(variance[:, 1])) == pytest.approx(0.03, rel=0.2)


def test_variance_follows_the_features():
    features, places = ground(1500)
    std = np.exp(0.6 * features[:, 2]) * 0.5
    places[:, 0] += np.random.default_rng(0).normal(0, 1, 1500) * std
    variance = fit(features, places).residual_variance(features)[:, 0]
    low, high = features[:, 2] < -1, features[:, 2] > 1
    assert np.median(variance[high]) > 4 * np.median(variance[low])


def test_uncertainty_grows_away_from_what_was_seen():
    features, places = ground(60)
    near = features[:, 1] > np.quantile(features[:, 1], 0.4)
    _, variance = fit(features[near], places[near]).predict(features)
    assert np.median(variance[~near, 0]) > 1.3 * np.median(variance[near, 0])


def test_a_few_wrong_pairs_do_not_turn_the_map_over():
    features, places = ground(300)
    wrong = places.copy()
    wrong[:15, 0] = 90.0
    place, _ = fit(features, wrong).predict(features[15:])
    assert np.median(np.abs(place[:, 0] - places[15:, 0])) < 0.6


def test_pairs_of_no_weight_do_not_count():
    features, places = ground(200)
    wrong = places.copy()
    wrong[100:] = [60.0, 1.0]
    weight = np.r_[np.ones(100), np.zeros(100)]
    blank = VisualMap.blank(features, places[:, 0], places[:, 1])
    first, second = (blank.fitted(features, some[:, 0], some[:, 1], weight) for some in (places, wrong))
    np.testing.assert_allclose(first.coefficients, second.coefficients, atol=1e-9)
    np.testing.assert_allclose(first.log_variance, second.log_variance, atol=1e-9)


def test_variance_of_the_peaks_themselves_is_not_that_of_the_map():
    features, places = ground(800)
    places = places + np.random.default_rng(2).normal(0, [1.0, 0.03], places.shape)
    fitted = fit(features, places, steps=3)
    for _ in range(8):
        fitted = fitted.fitted(features, places[:, 0], places[:, 1], np.ones(800), np.tile([1.0, 0.0009], (800, 1)))
    assert np.median(fitted.residual_variance(features)[:, 0]) < 0.2


def test_answers_stay_within_their_limits():
    features, places = ground(100)
    fitted = fit(features, places, settings=MapSettings(min_range=5.0, max_range=50.0))
    place, _ = fitted.predict(features * 50)
    assert place[:, 0].min() >= 5.0
    assert place[:, 0].max() <= 50.0


@pytest.mark.parametrize('width', [1, 2, 3, 6])
def test_takes_any_number_of_features(width):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(150, width))
    places = np.column_stack((20 + features[:, 0], 0.1 * features[:, -1]))
    place, _ = fit(features, places).predict(features)
    assert np.median(np.abs(place - places), axis=0) == pytest.approx([0, 0], abs=0.15)


def test_a_linear_start_takes_the_given_slopes():
    features, places = ground(50)
    blank = VisualMap.blank(features, places[:, 0], places[:, 1])
    place, _ = blank.with_linear(np.array([0, 0, 1.0, 0]), np.array([0, -1.0, 0, 0])).predict(features)
    assert np.corrcoef(place[:, 0], places[:, 0])[0, 1] > 0.9
    assert np.corrcoef(place[:, 1], places[:, 1])[0, 1] > 0.9


@pytest.mark.parametrize(
    ('settings', 'message'),
    [({'degree': 4}, 'degree'), ({'place_features': 5}, 'range_features'), ({'min_range': 0.0}, 'min_range')],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MapSettings(**settings)
