# SPDX-License-Identifier: Apache-2.0
"""Probabilities of one-to-one pairings against their enumeration."""

from itertools import product

import numpy as np
import pytest

from radio_visual_ssl.learning.association import Association, associate


def enumerated(odds: np.ndarray) -> tuple[np.ndarray, float]:
    """Pair probabilities (I, C) and the sum over all pairings of one frame."""
    instances, candidates = odds.shape
    pair, total = np.zeros_like(odds), 0.0
    for choice in product(range(-1, candidates), repeat=instances):
        given = [c for c in choice if c >= 0]
        if len(given) != len(set(given)):
            continue
        weight = np.prod([odds[i, c] for i, c in enumerate(choice) if c >= 0])
        total += weight
        for i, c in enumerate(choice):
            if c >= 0:
                pair[i, c] += weight
    return pair / total, float(total)


@pytest.mark.parametrize('instances', [1, 2, 3, 4])
def test_equals_the_enumeration_of_all_pairings(instances):
    rng = np.random.default_rng(instances)
    log_odds = rng.normal(0, 3, (5, instances, 5))
    log_odds[0, :, 3:] = -np.inf
    found = associate(log_odds)
    for frame in range(5):
        pair, total = enumerated(np.exp(log_odds[frame]))
        np.testing.assert_allclose(found.pair[frame], pair, atol=1e-8)
        np.testing.assert_allclose(found.missed[frame], 1 - pair.sum(axis=1), atol=1e-8)
        assert found.log_evidence[frame] == pytest.approx(np.log(total), abs=1e-7)


def test_a_candidate_has_one_cause_and_an_instance_one_candidate():
    found = associate(np.random.default_rng(0).normal(5, 5, (20, 6, 9)))
    assert np.all(found.pair >= 0)
    assert np.all(found.pair.sum(axis=1) <= 1 + 1e-9)
    np.testing.assert_allclose(found.pair.sum(axis=2) + found.missed, 1, atol=1e-9)


def test_who_is_sure_of_a_candidate_drives_the_other_one_to_its_second_choice():
    found = associate(np.array([[[9.0, -np.inf], [8.0, 3.0]]]))
    assert found.pair[0, 0, 0] > 0.9
    assert found.pair[0, 1, 1] > 0.9


def test_frames_do_not_depend_on_each_other_however_many_there_are():
    log_odds = np.random.default_rng(1).normal(0, 2, (150, 8, 70))
    together, alone = associate(log_odds), associate(log_odds[140:141])
    np.testing.assert_allclose(together.pair[140], alone.pair[0], atol=1e-12)
    assert together.log_evidence[140] == pytest.approx(alone.log_evidence[0])


def test_overwhelming_odds_stay_finite():
    found = associate(np.full((1, 4, 4), 1e4))
    np.testing.assert_allclose(found.pair, 0.25, atol=1e-6)
    assert np.isfinite(found.log_evidence).all()


def test_belief_propagation_is_close_to_exact():
    log_odds = np.random.default_rng(3).normal(-1, 3, (40, 6, 10))
    exact, approximate = associate(log_odds), associate(log_odds, exact_instances=0)
    assert np.max(np.abs(exact.pair - approximate.pair)) < 0.15
    assert np.mean(np.abs(exact.pair - approximate.pair)) < 0.005
    assert np.mean(np.abs(exact.log_evidence - approximate.log_evidence)) < 0.1


def test_many_instances_are_paired_one_to_one_too():
    log_odds = np.full((2, 30, 30), -8.0)
    log_odds[:, np.arange(30), np.arange(30)] = 6.0
    found = associate(log_odds)
    assert np.all(np.diagonal(found.pair, axis1=1, axis2=2) > 0.99)


@pytest.mark.parametrize('shape', [(0, 2, 3), (4, 0, 3), (4, 2, 0)])
def test_nothing_to_pair_is_all_missed(shape):
    found = associate(np.zeros(shape))
    assert isinstance(found, Association)
    assert found.pair.shape == shape
    np.testing.assert_array_equal(found.missed, np.ones(shape[:2]))
    np.testing.assert_array_equal(found.log_evidence, np.zeros(shape[0]))


@pytest.mark.parametrize(
    ('odds', 'exact', 'message'),
    [(np.zeros((2, 2)), 8, 'shape'), (np.full((1, 1, 1), np.nan), 8, 'NaN'), (np.zeros((1, 1, 1)), 17, '0 to 16')],
)
def test_wrong_arguments_are_named(odds, exact, message):
    with pytest.raises(ValueError, match=message):
        associate(odds, exact_instances=exact)
