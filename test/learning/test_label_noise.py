# SPDX-License-Identifier: Apache-2.0
"""Wrong masks and labels are as many and as wrong as was asked, and the same each time."""

import numpy as np
import pytest

from radio_visual_ssl.learning.label_noise import noisy_labels
from radio_visual_ssl.learning.label_set import LabelSet, RecordingLabels
from radio_visual_ssl.learning.wrong_frames import exchanged

FRAMES, OF_EACH = 2000, 2


def many_labels(content='hash'):
    """Two labels in each of many frames, each at a place that tells its frame; every fourth was dropped."""
    frame = np.repeat(np.arange(FRAMES), OF_EACH)
    count = len(frame)
    return RecordingLabels(
        name=content,
        content=content,
        group='mast',
        stamps_ns=np.arange(1, FRAMES + 1) * 10**9,
        known=np.ones(FRAMES, np.bool_),
        frame=frame,
        instance=np.tile(np.arange(OF_EACH), FRAMES),
        range=20 + frame / 1000,
        azimuth=frame / 10000,
        variance=np.column_stack((0.25 + frame / 1000, np.full(count, 0.01))),
        confidence=np.linspace(0, 1, count),
        kept=np.arange(count) % 4 != 0,
    )


def some_set():
    return LabelSet('truth', 'radar', (many_labels('a'), many_labels('b')), {'settings': 1})


@pytest.mark.parametrize('share', [0.0, 0.2, 0.5, 1.0])
def test_a_share_of_the_entries_becomes_that_of_another_frame(share):
    frames = np.repeat(np.arange(300), 3)
    order = exchanged(frames, share, np.random.default_rng(0))
    assert sorted(order) == list(range(900))  # exchanged, none is lost
    assert np.mean(frames[order] != frames) == pytest.approx(share, abs=0.001)
    moved = np.abs(frames[order] - frames)[frames[order] != frames]
    assert not moved.size or np.median(moved) > 100
    np.testing.assert_array_equal(order, exchanged(frames, share, np.random.default_rng(0)))


@pytest.mark.parametrize(('count', 'share'), [(2, 0.1), (5, 0.2), (5, 0.5), (7, 0.35), (3, 1.0)])
def test_the_share_is_right_on_average_over_short_bags(count, share):
    bags, frames = 2000, np.arange(count)
    moved = [np.sum(exchanged(frames, share, np.random.default_rng(seed)) != frames) for seed in range(bags)]
    deviation = np.sqrt(max(share * count, 1) / bags) / count  # of the mean share; the count is off by less than 2
    assert np.mean(moved) / count == pytest.approx(share, abs=4 * deviation)
    assert set(moved) <= {0, 2} | set(range(int(share * count), int(np.ceil(share * count)) + 1)) - {1}


def test_entries_of_one_frame_are_never_exchanged_with_each_other():
    # of three frames, one has half of all entries
    frames = np.array([0, 1, 1, 1, 2, 2])
    for seed in range(200):
        for share in (1 / 3, 0.5, 1.0):
            order = exchanged(frames, share, np.random.default_rng(seed))
            assert np.sum(frames[order] != frames) == share * 6
            assert sorted(order) == list(range(6))
    # four of one frame can be exchanged with the one of another frame only
    order = exchanged(np.array([0, 0, 0, 0, 1]), 1.0, np.random.default_rng(0))
    assert np.sum(order != np.arange(5)) == 2
    assert order[4] < 4


def test_what_cannot_be_exchanged_stays():
    assert exchanged(np.arange(1), 1.0, np.random.default_rng(0)).tolist() == [0]
    assert exchanged(np.zeros(6, np.int64), 1.0, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4, 5]
    assert exchanged(np.zeros(0, np.int64), 0.5, np.random.default_rng(0)).tolist() == []
    with pytest.raises(ValueError, match='share: expected from 0 to 1, got 1.5'):
        exchanged(np.arange(3), 1.5, np.random.default_rng(0))


def test_noise_has_the_size_that_was_asked_for_along_the_range_and_across():
    labels = some_set()
    noisy = noisy_labels(labels, deviation=0.5, seed=3)
    for before, after in zip(labels, noisy, strict=True):
        along = after.range - before.range
        across = before.range * (after.azimuth - before.azimuth)
        for error in (along, across):
            assert np.mean(error) == pytest.approx(0, abs=0.03)  # 4,000 of them: 0.008 m
            assert np.std(error) == pytest.approx(0.5, abs=0.025)
        assert abs(np.corrcoef(along, across)[0, 1]) < 0.07
        np.testing.assert_array_equal(after.confidence, before.confidence)
    first, second = noisy
    assert np.abs(first.range - second.range).max() > 0.1
    assert noisy.provenance == {'settings': 1, 'noise': {'deviation_m': 0.5, 'wrong': 0.0, 'seed': 3}}
    assert noisy.content != labels.content
    assert noisy_labels(labels, deviation=0.5, seed=3).content == noisy.content
    assert noisy_labels(labels, deviation=0.5, seed=4).content != noisy.content


def test_wrong_labels_are_kept_ones_at_places_of_other_frames():
    labels = some_set()
    for before, after in zip(labels, noisy_labels(labels, wrong=0.3), strict=True):
        moved = after.range != before.range
        assert not np.any(moved & ~before.kept)
        assert np.mean(moved[before.kept]) == pytest.approx(0.3, abs=0.002)
        # range, azimuth and variance are those of one other label
        np.testing.assert_allclose((after.range - 20) * 1000, after.azimuth * 10000, atol=1e-6)
        np.testing.assert_allclose((after.variance[:, 0] - 0.25) * 1000, after.azimuth * 10000, atol=1e-6)
        assert sorted(after.range) == sorted(before.range)


def test_no_noise_leaves_labels_as_they_are_and_a_wrong_amount_is_named():
    labels = some_set()
    assert noisy_labels(labels) is labels
    with pytest.raises(ValueError, match='label noise: expected 0 m or more, got -1'):
        noisy_labels(labels, deviation=-1)
    with pytest.raises(ValueError, match='wrong labels: expected a share from 0 to 1, got 2'):
        noisy_labels(labels, wrong=2)


def test_noise_never_takes_a_label_behind_the_radar():
    near = many_labels()
    labels = LabelSet('truth', 'radar', (near,), {})
    assert min(each.range.min() for each in noisy_labels(labels, deviation=30.0)) == pytest.approx(0.1)
