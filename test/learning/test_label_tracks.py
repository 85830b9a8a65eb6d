# SPDX-License-Identifier: Apache-2.0
"""Which way targets go, against where they were sent."""

import numpy as np
import pytest

from radio_visual_ssl.learning.label_tracks import find_headings, link_labels, track_headings
from radio_visual_ssl.radar.grid import turned_towards


def driven(start, velocity, seconds, rng=None, noise=0.0):
    """(N, 2) m, places of a target that goes straight on."""
    place = np.array(start) + np.array(velocity) * np.asarray(seconds)[:, None]
    return place if rng is None else place + rng.normal(0, noise, place.shape)


def labels_of(*tracks):
    """Labels of several targets in the order of their frames: frame, position, area and whose each is.

    Each track: frames, places and areas.
    """
    frame = np.concatenate([np.asarray(track[0]) for track in tracks])
    whose = np.repeat(np.arange(len(tracks)), [len(track[0]) for track in tracks])
    position = np.concatenate([track[1] for track in tracks])
    area = np.concatenate([np.full(len(track[0]), track[2]) for track in tracks])
    order = np.argsort(frame, kind='stable')
    return frame[order], position[order], area[order], whose[order]


@pytest.mark.parametrize('rate', [2, 10])
def test_two_cars_that_pass_each_other_keep_their_labels_and_headings(rate):
    rng = np.random.default_rng(0)
    frames = np.arange(6 * rate)
    seconds = frames / rate
    ahead, aside = driven((10, -20), (0.5, 7), seconds, rng, 0.3), driven((35, 2), (-5, 0.5), seconds, rng, 0.3)
    frame, position, area, whose = labels_of((frames, ahead, 3.0), (frames, aside, 4.0))
    found = find_headings(frame, frame / rate, position, area)
    for number, expected in ((0, np.arctan2(7, 0.5)), (1, np.arctan2(0.5, -5))):
        heading = found.heading[whose == number]
        assert np.unique(found.track[whose == number]).size == 1
        assert np.all(np.isfinite(heading))
        assert np.degrees(np.sqrt(np.mean(turned_towards(heading - expected) ** 2))) < 6


def test_a_car_that_is_hidden_for_a_second_is_found_again_and_after_two_is_another_one():
    for missing, tracks in ((1, 1), (3, 2)):
        frames = np.delete(np.arange(12), slice(5, 5 + missing))
        position = driven((10, -20), (0, 8), frames / 2)
        found = link_labels(frames, frames / 2, position, np.full(frames.size, 3.0))
        assert len(found) == tracks
        np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(frames.size))


def test_of_two_places_as_near_the_mask_of_like_size_goes_on():
    frame = np.array([0, 0, 1, 1])
    position = np.array([[10.0, 0.0], [10.0, 1.0], [10.0, 0.4], [10.0, 0.6]])
    tracks = link_labels(frame, frame / 2, position, np.array([8.0, 2.0, 2.0, 8.0]))
    assert sorted(track.tolist() for track in tracks) == [[0, 3], [1, 2]]


def test_frames_that_are_not_later_than_the_one_before_go_on_with_no_track():
    frame = np.repeat(np.arange(4), 2)
    position = np.tile([[10.0, 0.0], [30.0, 0.0]], (4, 1))
    for stamps in ([10.0, 10.0, 10.5, 11.0], [10.0, 9.0, 9.5, 10.0]):
        tracks = link_labels(frame, np.repeat(stamps, 2), position, np.ones(8))
        assert sorted(track.tolist() for track in tracks) == [[0], [1], [2, 4, 6], [3, 5, 7]]


def test_a_turn_is_followed():
    seconds = np.arange(0, 8, 0.5)
    angle = np.radians(15) * seconds
    position = 25 * np.column_stack((np.sin(angle), 1 - np.cos(angle)))  # to the left, at 6.5 m/s
    heading, _ = track_headings(seconds, position)
    np.testing.assert_allclose(heading[2:-2], angle[2:-2], atol=1e-6)
    np.testing.assert_allclose(heading, angle, atol=np.radians(9))  # at the ends it is that of the half that is seen


@pytest.mark.parametrize('noise', [0.1, 0.5, 1.0, 1.5])
@pytest.mark.parametrize('rate', [2, 10])
def test_what_stands_has_no_heading_however_much_its_labels_err(rate, noise):
    rng = np.random.default_rng(1)
    seconds = np.arange(4000) / rate
    heading, _ = track_headings(seconds, driven((20, 3), (0, 0), seconds, rng, noise))
    assert np.mean(np.isfinite(heading)) < 0.04


def test_headings_err_by_what_they_say():
    rng, errors = np.random.default_rng(3), []
    for noise, speed in ((0.3, 3.0), (1.0, 5.0), (1.5, 9.0)):
        seconds = np.arange(2000) / 2
        heading, std = track_headings(seconds, driven((0, 0), (0, speed), seconds, rng, noise))
        known = np.isfinite(heading)
        assert known.mean() > 0.7
        errors.append(np.sqrt(np.mean(((heading - np.pi / 2) / std)[known] ** 2)))
    assert errors[0] == pytest.approx(0.6, abs=0.15), 'a label is not trusted to less than half a metre'
    np.testing.assert_allclose(errors[1:], 1, atol=0.35)


def test_what_creeps_or_is_seen_twice_has_no_heading():
    seconds = np.arange(0, 10, 0.1)
    assert np.all(np.isnan(track_headings(seconds, driven((20, 3), (0.2, 0), seconds))[0]))
    for count in (1, 2):
        assert np.all(np.isnan(track_headings(seconds[:count] * 5, driven((20, 3), (9, 0), seconds[:count] * 5))[0]))
    assert link_labels(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2)), np.zeros(0)) == []


def test_a_target_that_is_followed_for_an_hour_is_as_exact_at_its_end():
    seconds = np.arange(72_000) / 20
    position = driven((1e3, -2e3), (3.0, 4.0), seconds)
    heading, _ = track_headings(seconds, position)
    np.testing.assert_allclose(heading, np.arctan2(4, 3), atol=1e-4)
