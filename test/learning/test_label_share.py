# SPDX-License-Identifier: Apache-2.0
"""A share of the labelled frames: spread evenly, the same each time, and nothing is claimed of the others."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.learning.label_share import share_of_labels
from radio_visual_ssl.learning.training_run import TrainingError


@pytest.fixture(scope='module')
def labels(scenes):
    """Of recordings that are not all as long, with frames of which nothing was known before."""
    _, given = scenes.several(range(4), 80)
    short, other, *rest = given
    known = np.ones(80, bool)
    known[::4] = False
    return [replace(short, known=known), scenes.recording(9, 40)[1], other, *rest]


def _count(labels):
    return [int(each.known.sum()) for each in labels]


def test_frames_are_spread_over_recordings_by_how_many_each_has(labels):
    assert _count(labels) == [60, 40, 80, 80, 80]
    for share in (0.05, 0.1, 0.37):
        counts = _count(share_of_labels(labels, share, 0))
        assert sum(counts) == round(340 * share)
        assert all(abs(got - share * size) < 2 for got, size in zip(counts, _count(labels), strict=True))


def test_they_are_spread_over_the_time_of_a_recording(labels):
    (reduced,) = share_of_labels(labels[2:3], 0.25, 3)
    gaps = np.diff(np.flatnonzero(reduced.known))
    assert reduced.known.sum() == 20 and gaps.max() <= 2 * 4 and len(set(gaps.tolist())) > 1


def test_chosen_frames_keep_their_labels_and_nothing_is_known_of_the_others(labels):
    for before, after in zip(labels, share_of_labels(labels, 0.2, 1), strict=True):
        frames = np.flatnonzero(after.known)
        assert np.all(before.known[frames])
        np.testing.assert_array_equal(after.frame, before.frame[np.isin(before.frame, frames)])
        np.testing.assert_array_equal(after.range, before.range[np.isin(before.frame, frames)])
        assert before.content == after.content and len(after.stamps_ns) == len(before.stamps_ns)


def test_empty_frames_are_labelled_frames_too(labels):
    reduced = share_of_labels(labels[2:], 0.5, 0)
    with_labels = sum(len(np.unique(each.frame)) for each in reduced)
    assert 0 < with_labels < sum(_count(reduced))


def test_the_seed_draws_and_everything_stays_with_all(labels):
    one, again, other = (
        np.concatenate([each.known for each in share_of_labels(labels, 0.1, seed)]) for seed in (5, 5, 6)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert share_of_labels(labels, 1.0, 0) == labels


def test_frames_come_from_the_span_alone(labels):
    for each in share_of_labels(labels, 0.3, 0, (0.5, 1.0)):
        frames = np.flatnonzero(each.known)
        assert frames.size and frames.min() >= len(each.stamps_ns) // 2


def test_too_few_labels_are_refused_with_their_number(labels):
    with pytest.raises(TrainingError, match=r'at least 10 kept labels for validation, got \d with a share of 0.01'):
        share_of_labels(labels, 0.01, 0, name='validation')
