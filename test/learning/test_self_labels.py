# SPDX-License-Identifier: Apache-2.0
"""Self-labels in small worlds whose map from masks to radar places is known."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.learning.candidates import Candidates
from radio_visual_ssl.learning.frame_evidence import FrameEvidence
from radio_visual_ssl.learning.label_frames import label_frames
from radio_visual_ssl.learning.label_settings import SelfLabelError, SelfLabelSettings
from radio_visual_ssl.learning.self_labels import SelfLabels

HEIGHT, FOCAL, PITCH = 4.0, 1.0, np.radians(9.0)
FAST = SelfLabelSettings(folds=3, restarts=4)


def seen(x, y, height, width, yaw=0.0, shift=0.0):
    """Features of a mask: column of its middle, row of its ground contact, log width and log height."""
    y = y + shift
    x, y = np.cos(yaw) * x + np.sin(yaw) * y, np.cos(yaw) * y - np.sin(yaw) * x
    depth = x * np.cos(PITCH) + HEIGHT * np.sin(PITCH)
    row = FOCAL * (HEIGHT * np.cos(PITCH) - x * np.sin(PITCH)) / depth
    return np.column_stack((-FOCAL * y / depth, row, np.log(width / depth), np.log(height / depth)))


def candidates(places, rng):
    """Peaks at (range, azimuth), the places of their own uncertain."""
    places = np.asarray(places, dtype=np.float64).reshape(-1, 2)
    variance = np.tile([0.02, 1e-4], (len(places), 1))
    return Candidates(
        places[:, 0], places[:, 1], variance, rng.normal(20, 4, len(places)), np.full(len(places), np.nan)
    )


class World:
    """Scenes with targets, misses, uniform clutter, and reflectors that never move."""

    def __init__(
        self,
        scenes=9,
        frames=12,
        *,
        seed=0,
        clutter=6,
        static=3,
        detection=0.85,
        most=3,
        yaw=0.0,
        shift=0.0,
        group='',
        attention=False,
        related=True,
    ):
        rng = np.random.default_rng(seed)
        self.frames, self.truth = [], []
        for scene in range(scenes):
            fixed = np.column_stack((rng.uniform(8, 42, static), rng.uniform(-0.6, 0.6, static)))
            for frame in range(frames):
                count = int(rng.integers(0, most + 1))
                x, y = rng.uniform(9, 38, count), rng.uniform(-9, 9, count)
                features = seen(x, y, rng.choice([1.5, 1.8], count), rng.choice([0.6, 3.0], count), yaw, shift)
                features = features + rng.normal(0, [0.003, 0.003, 0.05, 0.05], (count, 4))
                true = np.column_stack((np.sqrt(x**2 + y**2 + HEIGHT**2), np.arctan2(y, x)))
                peaks = true + rng.normal(0, [0.3, 0.02], (count, 2))
                if not related:
                    peaks = np.column_stack((rng.uniform(8, 42, count), rng.uniform(-0.6, 0.6, count)))
                peaks = peaks[rng.random(count) < detection]
                noise = rng.poisson(clutter)
                noise = np.column_stack((rng.uniform(8, 42, noise), rng.uniform(-0.7, 0.7, noise)))
                every = candidates(np.concatenate((peaks, fixed + rng.normal(0, 0.01, fixed.shape), noise)), rng)
                looks = None
                if attention:
                    # off by 1 m and 1.5 degrees, noisy, and one in five looks somewhere else
                    peak = true + np.array([1.0, 0.026]) + rng.normal(0, [1.5, 0.05], (count, 2))
                    lost = rng.random(count) < 0.2
                    peak[lost] = np.column_stack((rng.uniform(8, 42, lost.sum()), rng.uniform(-0.6, 0.6, lost.sum())))
                    far = (every.range - peak[:, :1]) ** 2 / 4 + (every.azimuth - peak[:, 1:]) ** 2 / 0.1**2
                    looks = np.exp(-far / 2)
                name = f'{group}{scene}'
                self.frames.append(FrameEvidence(name, frame * 10**8, every, features, group, None, looks))
                self.truth.append(true)

    @property
    def places(self):
        """(N, 2) true range and azimuth of all instances."""
        return np.concatenate(self.truth)


def errors(labels, places):
    """Distance (N,) m, and offsets in range and azimuth."""
    true = places[:, :1] * np.column_stack((np.cos(places[:, 1]), np.sin(places[:, 1])))
    offset = np.column_stack((labels.range, labels.azimuth)) - places
    return np.hypot(*(labels.position - true).T), offset


def check_good(labels, places):
    """The figures that the project asks of self-labels."""
    keep = labels.kept(coverage=0.8)
    distance, offset = errors(labels, places)
    assert keep.mean() >= 0.79
    assert abs(np.median(offset[keep, 0])) < 0.2
    assert abs(np.degrees(np.median(offset[keep, 1]))) < 0.5
    assert np.mean(distance[keep] > 4) <= 0.02
    assert np.median(distance[keep]) < 0.6


@pytest.fixture(scope='module')
def guided():
    world = World(attention=True, clutter=12)
    return world, label_frames(world.frames, FAST)


def test_attention_with_an_offset_and_wrong_looks_leads_to_unbiased_labels(guided):
    world, labels = guided
    assert labels.converged
    check_good(labels, world.places)


def test_labels_are_closer_than_what_the_attention_points_at(guided):
    world, labels = guided
    peaks = np.concatenate([
        np.column_stack((f.candidates.range, f.candidates.azimuth))[f.attention.argmax(axis=1)]
        for f in world.frames if len(f.features)
    ])  # fmt: skip
    bare = SelfLabels.given(labels.frame, peaks[:, 0], peaks[:, 1], np.ones(len(labels)))
    assert np.median(errors(labels, world.places)[0]) < 0.5 * np.median(errors(bare, world.places)[0])


def test_predicted_covariance_is_that_of_the_radar_peaks(guided):
    world, labels = guided
    found = labels.candidate >= 0
    peaks = np.array([
        (world.frames[f].candidates.range[c], world.frames[f].candidates.azimuth[c])
        for f, c in zip(labels.frame[found], labels.candidate[found], strict=True)
    ])  # fmt: skip
    offset = np.column_stack((labels.range, labels.azimuth))[found] - peaks
    squared = np.median(np.sum(offset**2 / labels.variance[found], axis=1))
    assert 0.6 < squared / (2 * np.log(2)) < 1.7


def test_covariance_in_the_plane_turns_with_the_azimuth():
    labels = SelfLabels.given(np.zeros(1, int), np.array([10.0]), np.array([np.pi / 2]), np.ones(1), (0.25, 0.0004))
    np.testing.assert_allclose(labels.position, [[0.0, 10.0]], atol=1e-9)
    (target,) = labels.targets(1, np.array([True]))[0] or []
    np.testing.assert_allclose(target.covariance, [[0.04, 0.0], [0.0, 0.25]], atol=1e-9)


def test_random_restarts_find_the_map_without_attention_where_clutter_is_moderate():
    world = World(clutter=3, static=2)
    check_good(label_frames(world.frames, FAST), world.places)


def test_several_targets_get_a_candidate_each():
    world = World(attention=True, most=5, scenes=6)
    labels = label_frames(world.frames, FAST)
    check_good(labels, world.places)
    taken = [(f, c) for f, c in zip(labels.frame, labels.candidate, strict=True) if c >= 0]
    assert len(taken) == len(set(taken))


def test_a_moved_camera_is_another_map():
    worlds = [World(scenes=6, attention=True, group='left'),
              World(scenes=6, attention=True, group='right', seed=1, yaw=np.radians(8), shift=0.5)]  # fmt: skip
    frames = [frame for world in worlds for frame in world.frames]
    places = np.concatenate([world.places for world in worlds])
    apart = label_frames(frames, FAST)
    check_good(apart, places)
    one = label_frames([replace(frame, group='') for frame in frames], FAST)
    assert np.median(errors(one, places)[0]) > 1.5 * np.median(errors(apart, places)[0])


def test_confidence_vanishes_where_masks_and_radar_have_nothing_in_common():
    quick = replace(FAST, restarts=2, iterations=30)
    unrelated = label_frames(World(scenes=6, related=False).frames, quick)
    related = label_frames(World(scenes=6, clutter=3).frames, quick)
    assert np.median(unrelated.confidence) < 0.25
    assert np.mean(unrelated.confidence > 0.5) < 0.05
    assert np.median(related.confidence) > 2 * np.median(unrelated.confidence)


def test_confidence_is_the_belief_that_it_is_there_and_near_and_not_by_chance(guided):
    """The chance of less than the tolerance under a round normal law, and Bayes' rule for what the radar misses."""
    _, labels = guided
    total = labels.variance[:, 0] + labels.variance[:, 1] * labels.range**2
    near = 1 - np.exp(-(FAST.error_tolerance**2) / total)
    there = labels.confidence / (labels.purity * near)
    missed = labels.detected < 0.8
    belief = (there[missed] - labels.detected[missed]) / (1 - labels.detected[missed])
    valid, detection = FAST.valid_prior, labels.detection_probability
    assert missed.sum() > 10
    np.testing.assert_allclose(belief, valid * (1 - detection) / (1 - valid * detection), rtol=0.25)


def test_purity_is_the_share_of_detections_that_are_not_by_chance():
    def purity(**options):
        return float(np.median(label_frames(World(scenes=6, attention=True, most=2, **options).frames, FAST).purity))

    assert purity(related=False, clutter=12) < 0.15
    assert purity(clutter=0, static=0, detection=1.0) > 0.85 > purity(clutter=12) > 0.4


def test_confident_labels_are_better_than_the_others(guided):
    world, labels = guided
    wrong = np.random.default_rng(0).random(len(labels)) < 0.2
    frames, row = [], 0
    for frame in world.frames:
        features = frame.features.copy()
        hidden = wrong[row : row + len(features)]
        features[hidden, 1] -= 0.12  # what hides the ground contact makes a target look farther away
        row += len(features)
        frames.append(replace(frame, features=features))
    labels = label_frames(frames, FAST)
    assert np.median(labels.confidence[wrong]) < 0.7 * np.median(labels.confidence[~wrong])


def test_a_label_does_not_see_the_radar_of_its_own_scene(guided):
    world, labels = guided
    scene = world.frames[0].scene
    own = [index for index, frame in enumerate(world.frames) if frame.scene == scene]
    frames = list(world.frames)
    for index, other in zip(own, own[::-1], strict=True):
        source = world.frames[other].candidates
        empty = np.zeros((len(frames[index].features), len(source)))
        frames[index] = replace(frames[index], candidates=source, attention=empty)
    again = label_frames(frames, FAST)
    rows = np.isin(labels.frame, own)
    np.testing.assert_allclose(again.range[rows], labels.range[rows], rtol=1e-9)
    assert not np.allclose(again.range[~rows], labels.range[~rows], rtol=1e-9)


def test_a_label_of_a_single_recording_does_not_see_the_radar_of_its_stretch():
    world = World(scenes=1, frames=90, attention=True)
    labels = label_frames(world.frames, FAST)
    frames, stretch = list(world.frames), range(90 // FAST.folds)
    for index, other in zip(stretch, stretch[::-1], strict=True):
        source = world.frames[other].candidates
        empty = np.zeros((len(frames[index].features), len(source)))
        frames[index] = replace(frames[index], candidates=source, attention=empty)
    again = label_frames(frames, FAST)
    rows = np.isin(labels.frame, stretch)
    np.testing.assert_allclose(again.range[rows], labels.range[rows], rtol=1e-9)
    assert not np.allclose(again.range[~rows], labels.range[~rows], rtol=1e-9)


def test_masks_of_no_weight_have_no_part_in_the_map(guided):
    world, _ = guided
    weight = [np.where(np.arange(len(frame.features)) == 0, 0.0, 1.0) for frame in world.frames]
    bent = []
    for frame, trust in zip(world.frames, weight, strict=True):
        features = frame.features.copy()
        features[trust == 0, 1] += 0.3
        bent.append(replace(frame, features=features, weight=trust))
    labels = label_frames(bent, FAST)
    trusted = np.concatenate(weight) == 1
    assert np.median(errors(labels, world.places)[0][trusted]) < 0.6
    assert np.median(labels.confidence[~trusted]) < 0.5 * np.median(labels.confidence[trusted])


def test_equal_seeds_make_equal_labels():
    frames = World(scenes=3, frames=6, clutter=3).frames
    first, second = (label_frames(frames, replace(FAST, restarts=2)) for _ in range(2))
    np.testing.assert_array_equal(first.range, second.range)
    np.testing.assert_array_equal(first.confidence, second.confidence)


def test_likeliest_candidate_is_a_method_of_its_own(guided):
    world, _ = guided
    labels = label_frames(world.frames, replace(FAST, position='candidate'))
    sure = np.flatnonzero(labels.candidate >= 0)
    assert sure.size > 0.6 * len(labels)
    for row in sure:
        own = world.frames[labels.frame[row]].candidates
        assert labels.range[row] == own.range[labels.candidate[row]]
    assert np.all(labels.confidence[labels.candidate < 0] == 0)


def test_empty_frames_are_told_from_frames_whose_labels_were_dropped(guided):
    world, labels = guided
    keep = labels.kept(confidence=0.0)
    keep[labels.frame == labels.frame[0]] = False
    lists = labels.targets(len(world.frames), keep)
    counts = [len(frame.features) for frame in world.frames]
    assert lists[labels.frame[0]] is None
    for index, (count, found) in enumerate(zip(counts, lists, strict=True)):
        if index != labels.frame[0]:
            assert found is not None
            assert len(found) == count
    target = next(found for found in lists if found)[0]
    assert 0 <= target.score <= 1
    assert np.all(np.linalg.eigvalsh(target.covariance) > 0)


def test_height_of_the_radar_is_taken_out_on_request():
    x, y, height = 10.0, 4.0, 4.0
    slant = np.sqrt(x**2 + y**2 + height**2)
    labels = SelfLabels.given(np.zeros(1, int), np.array([slant]), np.array([np.arcsin(y / slant)]), np.ones(1))
    (target,) = labels.targets(1, np.array([True]), radar_height=height)[0] or []
    assert (target.x, target.y, target.z) == pytest.approx((x, y, -height))
    # of x = sqrt((slant cos(cone))^2 - height^2) and y = slant sin(cone), whose variances are 1 m^2 and 0.01 rad^2
    cone = labels.azimuth[0]
    along, across = slant * np.cos(cone) ** 2 / x, -(slant**2) * np.cos(cone) * np.sin(cone) / x
    steps = np.array([[along, across], [np.sin(cone), slant * np.cos(cone)]])
    np.testing.assert_allclose(target.covariance, steps @ np.diag([1.0, 0.01]) @ steps.T, rtol=1e-9)
    (true,) = labels.targets(1, np.array([True]), radar_height=height, cone=False)[0] or []
    assert (true.range, true.azimuth) == pytest.approx((np.hypot(x, y), labels.azimuth[0]))
    assert labels.targets(1, np.array([True]), radar_height=slant + 1) == [None]


def test_coverage_is_what_was_asked_and_takes_the_most_confident():
    confidence = np.array([0.9, 0.1, 0.5, 0.0, 0.7])
    labels = SelfLabels.given(np.arange(5), np.full(5, 10.0), np.zeros(5), confidence)
    np.testing.assert_array_equal(labels.kept(coverage=0.4), [True, False, False, False, True])
    np.testing.assert_array_equal(labels.kept(coverage=1.0), confidence > 0)
    np.testing.assert_array_equal(labels.kept(confidence=0.5), [True, False, True, False, True])
    with pytest.raises(ValueError, match='one of the two'):
        labels.kept()


@pytest.mark.parametrize('masks', [True, False])
def test_a_recording_without_masks_or_without_peaks_has_no_confident_label(masks):
    rng = np.random.default_rng(0)
    features = seen(np.array([12.0]), np.array([1.0]), 1.5, 1.0) if masks else np.zeros((0, 4))
    peaks = candidates([] if masks else [(12.0, 0.1)], rng)
    labels = label_frames([FrameEvidence('a', index, peaks, features) for index in range(6)], FAST)
    assert len(labels) == (6 if masks else 0)
    assert np.all(labels.confidence == 0)
    assert labels.targets(6, labels.kept(confidence=0.1)) == [None if masks else []] * 6


def test_one_short_recording_is_cross_fitted_over_time():
    world = World(scenes=1, frames=120, attention=True)
    check_good(label_frames(world.frames, FAST), world.places)


def test_wrong_input_is_named():
    peaks = candidates([(12.0, 0.1)], np.random.default_rng(0))
    with pytest.raises(SelfLabelError, match=r"frame 7 of 'a': features"):
        FrameEvidence('a', 7, peaks, np.full((1, 2), np.nan))
    with pytest.raises(SelfLabelError, match='weight: expected 1 numbers from 0 to 1'):
        FrameEvidence('a', 7, peaks, np.zeros((1, 2)), weight=np.array([2.0]))
    with pytest.raises(SelfLabelError, match=r'attention: expected shape \(1, 1\)'):
        FrameEvidence('a', 7, peaks, np.zeros((1, 2)), attention=np.zeros((1, 3)))
    with pytest.raises(SelfLabelError, match='from 0 on'):
        FrameEvidence('a', 7, peaks, np.zeros((1, 2)), attention=np.full((1, 1), np.nan))
    with pytest.raises(SelfLabelError, match='at least one'):
        label_frames([])
    mixed = [FrameEvidence('a', 0, peaks, np.zeros((1, 2))), FrameEvidence('a', 1, peaks, np.zeros((1, 3)))]
    with pytest.raises(SelfLabelError, match=r'same number for all instances, got \[2, 3\]'):
        label_frames(mixed)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [('folds', 1), ('restarts', 0), ('attention_trust', 1.5), ('position', 'peak'), ('error_tolerance', 0.0)],
)
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(ValueError, match=setting):
        SelfLabelSettings(**{setting: value})
