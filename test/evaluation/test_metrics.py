# SPDX-License-Identifier: Apache-2.0
"""Matching and figures against cases counted by hand."""

import gc
import math
import weakref

import numpy as np
import pytest

from radio_visual_ssl.evaluation.metrics import (
    FALSE_PER_FRAME,
    OperatingPoint,
    average_precision,
    camera_sector,
    footprint_distance,
    match_frame,
)
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import FORWARD_LOOKING, CameraModel


def car(x, y, heading=0.0, **fields):
    fields = {'in_camera_view': True, 'in_radar_view': True, **fields}
    return Target(x, y, size=(4.0, 2.0, 1.5), heading=heading, label='car', **fields)


def point(x, y, **fields):
    return Target(x, y, **{'in_camera_view': True, 'in_radar_view': True, **fields})


def found(x, y, score=0.5):
    return Target(x, y, score=score)


def metrics(frames, **settings):
    tally = Tally(**settings)
    for detections, truth in frames:
        tally.add(detections, truth)
    return tally.metrics()


def test_footprint_distance_is_zero_inside_and_euclidean_outside():
    target = car(10.0, 0.0)
    places = np.array([(10, 0), (12, 1), (12.5, 0), (10, -3), (15, 5)], dtype=float)
    np.testing.assert_allclose(footprint_distance(*places.T, target), [0, 0, 0.5, 2, 5])


def test_the_footprint_turns_with_the_heading():
    target = car(10.0, 0.0, heading=math.pi / 2)
    np.testing.assert_allclose(footprint_distance([10, 12], [1.9, 0], target), [0, 1], atol=1e-12)
    turned = car(10.0, 0.0, heading=math.pi / 4)
    corner = np.array([2.0, 1.0]) @ np.array([[1, 1], [-1, 1]]) / math.sqrt(2)
    assert footprint_distance([10 + 0.999 * corner[0]], [0.999 * corner[1]], turned) == 0
    assert footprint_distance([10 + 1.1 * corner[0]], [1.1 * corner[1]], turned) > 0


@pytest.mark.parametrize(
    'target', [point(10, 0), Target(10, 0, size=(4, 2, 1)), Target(10, 0, size=(0, 0, 2), heading=0.0)]
)
def test_without_a_whole_box_the_centre_counts(target):
    assert footprint_distance(13.0, 4.0, target) == 5.0


def test_a_hit_lies_within_two_metres_of_the_box_or_of_the_centre_without_one():
    assert len(match_frame([found(14.0, 0)], [car(10, 0)]).hits) == 1
    assert len(match_frame([found(14.01, 0)], [car(10, 0)]).hits) == 0
    assert len(match_frame([found(12.0, 0)], [point(10, 0)]).hits) == 1
    assert len(match_frame([found(12.01, 0)], [point(10, 0)]).hits) == 0
    assert len(match_frame([found(12.01, 0)], [point(10, 0)], hit_distance=2.5).hits) == 1


def test_two_detections_on_one_target_are_one_hit_and_one_false_alarm():
    near, far = found(10.2, 0), found(11.5, 0, score=0.9)
    match = match_frame([far, near], [car(10, 0)])
    assert match.hits[0][0] is near
    assert match.false == [far]


def test_one_detection_between_two_targets_hits_one_of_them():
    match = match_frame([found(10, 0)], [point(9, 0), point(11.5, 0)])
    assert match.hits[0][1].x == 9
    assert [miss.x for miss in match.misses] == [11.5]


def test_pairing_finds_both_targets_where_taking_the_nearest_first_finds_one():
    # the detection at 10.9 is nearest to the target at 11, but only it reaches the one at 9
    match = match_frame([found(10.9, 0), found(12.8, 0)], [point(9, 0), point(11, 0)])
    assert [(round(detection.x, 1), target.x) for detection, target in match.hits] == [(10.9, 9), (12.8, 11)]
    assert match.false == match.misses == []


def test_targets_outside_the_view_are_neither_hit_nor_missed():
    outside = car(20, 5, in_camera_view=False)
    match = match_frame([found(20, 5), found(10, 0), found(30, 0)], [outside, car(10, 0)])
    assert (match.targets, len(match.hits), len(match.misses)) == (1, 1, 0)
    assert [detection.x for detection in match.ignored] == [20]
    assert [detection.x for detection in match.false] == [30]
    assert len(match_frame([found(20, 5)], [outside], view='radar').hits) == 1
    assert (
        len(match_frame([found(20, 5)], [car(20, 5, in_camera_view=False, in_radar_view=False)], view='all').hits) == 1
    )


def test_detections_outside_the_sector_are_ignored_unless_they_hit():
    match = match_frame(
        [found(10, 11), found(10, -11), found(10, 0)], [car(10, -9)], in_sector=lambda detection: abs(detection.y) < 10
    )
    assert [detection.y for detection, _ in match.hits] == [-11]
    assert [detection.y for detection in match.ignored] == [11]
    assert [detection.y for detection in match.false] == [0]


def test_unknown_views_are_refused():
    with pytest.raises(ValueError, match="view: expected one of camera, radar, all, got 'lidar'"):
        match_frame([], [], view='lidar')


def test_figures_counted_by_hand():
    result = metrics(
        [
            ([found(10.5, 0, 0.9), found(30, 0, 0.8)], [car(10, 0)]),  # hit 0.5 m too far; false alarm
            ([found(20, 13, 0.7)], [car(20, 10, heading=0.0), car(40, 0)]),  # hit 3 m beside, 2 m off the box; miss
            ([], [car(15, 0)]),  # miss
            ([], []),
        ]
    )
    assert (result.frames, result.targets) == (4, 4)
    assert result.recall == pytest.approx(2 / 4)
    assert result.precision == pytest.approx(2 / 3)
    assert result.false_per_frame == pytest.approx(1 / 4)
    assert result.median_error_m == pytest.approx(1.75)
    assert result.p90_error_m == pytest.approx(0.5 + 0.9 * 2.5)
    assert result.median_footprint_error_m == pytest.approx(1.0)
    assert result.mean_footprint_error_m == pytest.approx(1.0)
    assert result.p90_footprint_error_m == pytest.approx(0.9 * 2.0)
    assert (result.empty_frames, result.false_per_empty_frame) == (1, 0.0)
    assert result.bias_range_m == pytest.approx((0.5 + math.hypot(20, 13) - math.hypot(20, 10)) / 2)
    azimuth = math.degrees(math.atan2(13, 20) - math.atan2(10, 20))
    assert result.bias_azimuth_deg == pytest.approx(azimuth / 2)
    # by score: hit, false, hit -> precision 1 up to recall 1/4, then 2/3 up to 2/4
    assert result.ap_2m == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)


def test_false_alarms_beside_a_target_are_told_from_those_of_clutter():
    box, end = car(20, 0), 22.0
    result = metrics(
        [
            ([found(20, 0, 0.9), found(end + 3.9, 0, 0.8), found(end + 4.1, 0, 0.7)], [box]),  # one too far
            ([found(end + 2.5, 0, 0.6)], [box]),  # misplaced, and not a hit within 2 m
            ([found(20, 0, 0.5)], []),
        ]
    )
    assert result.false_per_frame == pytest.approx(4 / 3)
    assert result.false_beside_share == pytest.approx(2 / 4)
    assert metrics([([found(20, 0)], [box])]).false_beside_share is None
    beside_what_does_not_count = metrics([([found(end + 3, 0)], [car(20, 0, in_camera_view=False)])])
    assert beside_what_does_not_count.false_beside_share == 0.0


def test_a_long_watch_keeps_figures_and_no_targets():
    tally = Tally()
    for _ in range(50):
        tally.add([found(10.5, 0, 0.9), found(30, 0, 0.8)], [car(10, 0)])
    detection, target = found(10.5, 0, 0.9), car(10, 0)
    kept = [weakref.ref(tally.add([detection, found(30, 0, 0.8)], [target])), weakref.ref(detection)]
    del detection, target
    gc.collect()
    assert [reference() for reference in kept] == [None, None]
    result = tally.metrics()
    assert (result.frames, result.targets, result.recall, result.precision) == (51, 51, 1.0, 0.5)
    assert tally.errors().shape == (51, 4)
    np.testing.assert_allclose(tally.errors()[-1], [0.5, 0, 0.5, 0])


def test_errors_that_were_read_stay_when_frames_are_added():
    tally = Tally()
    tally.add([found(10.5, 0)], [car(10, 0)])
    errors = tally.errors()
    tally.add([found(11, 0)], [car(10, 0)])
    assert (len(errors), len(tally.errors())) == (1, 2)


def test_biases_are_signed_detection_minus_truth():
    left, right = metrics([([found(10, 1)], [car(10, 0)])]), metrics([([found(10, -1)], [car(10, 0)])])
    assert left.bias_azimuth_deg == pytest.approx(math.degrees(math.atan2(1, 10)))
    assert right.bias_azimuth_deg == pytest.approx(-left.bias_azimuth_deg)
    assert metrics([([found(9, 0)], [car(10, 0)])]).bias_range_m == pytest.approx(-1)


def test_azimuth_errors_wrap_behind_the_radar():
    result = metrics([([found(-10, -0.1)], [car(-10, 0.1)])])
    assert result.bias_azimuth_deg == pytest.approx(math.degrees(2 * math.atan2(0.1, 10)))


def test_undefined_figures_are_none():
    nothing = metrics([])
    assert (nothing.frames, nothing.targets) == (0, 0)
    assert nothing.recall is nothing.precision is nothing.false_per_frame is nothing.ap_2m is None
    assert nothing.false_per_empty_frame is nothing.mean_footprint_error_m is nothing.p90_footprint_error_m is None
    assert set(nothing.recall_at_false.values()) == {None}
    assert set(nothing.at_false_per_frame.values()) == {OperatingPoint(None, None, None)}
    empty = metrics([([], [])])
    assert empty.false_per_frame == 0
    assert empty.recall is empty.precision is empty.median_error_m is empty.bias_range_m is None
    alarms = metrics([([found(5, 0)], [])])
    assert (alarms.recall, alarms.precision, alarms.false_per_frame, alarms.ap_2m) == (None, 0, 1, None)
    blind = metrics([([], [car(10, 0)])])
    assert (blind.recall, blind.precision, blind.ap_2m) == (0, None, 0)


@pytest.mark.parametrize(
    ('ranked', 'targets', 'expected'),
    [
        ([(0.9, True), (0.8, True)], 2, 1.0),
        ([(0.9, True), (0.8, False)], 1, 1.0),
        ([(0.9, False), (0.8, True)], 1, 0.5),
        # precision 1, 1/2, 2/3: the dip is filled from the right
        ([(0.9, True), (0.8, False), (0.7, True)], 2, 0.5 + 0.5 * 2 / 3),
        # equal scores are one threshold, whatever their order
        ([(0.5, False), (0.5, True)], 1, 0.5),
        ([(0.5, True), (0.5, False)], 1, 0.5),
        ([(0.5, True)], 4, 0.25),
    ],
)
def test_average_precision_by_hand(ranked, targets, expected):
    assert average_precision(ranked, targets) == pytest.approx(expected)
    assert average_precision(reversed(ranked), targets) == pytest.approx(expected)


def test_average_precision_prefers_the_surer_of_two_detections_on_one_target():
    sure_and_double = [found(11, 0, 0.9), found(10, 0, 0.2)]
    assert metrics([(sure_and_double, [car(10, 0)])]).ap_2m == 1.0


def test_average_precision_ends_at_the_recall_of_the_pairing():
    # the surer detection must move over from the target at 9 for the other one to find its target too
    detections = [found(10.0, 0, 0.9), found(8.0, 0, 0.5)]
    match = match_frame(detections, [point(9, 0), point(11.5, 0)])
    assert len(match.hits) == 2
    assert [outcome for _, outcome in match.ranked] == [True, True]


def test_recall_where_false_alarms_per_empty_frame_reach_a_rate():
    # ten empty frames with false alarms of scores 0.9 and 0.5, and four targets found at 0.95, 0.9, 0.6 and 0.3
    empty = [([found(5, 0, 0.9)], []), ([found(5, 0, 0.5)], [])] + [([], [])] * 8
    full = [([found(10, 0, score)], [car(10, 0)]) for score in (0.95, 0.9, 0.6, 0.3)]
    result = metrics(empty + full)
    assert (result.empty_frames, result.false_per_empty_frame) == (10, 0.2)
    # none allowed: above 0.9; one allowed: above 0.5; both: all that there is, at just that rate
    assert result.recall_at_false == {'0.02': 0.25, '0.05': 0.25, '0.1': 0.75, '0.2': 1.0}
    assert result.recall_at_false_bounds == ()


def test_false_alarms_beside_targets_count_in_the_rate_over_all_frames_alone():
    frames = [([found(10, 0, 0.9), found(30, 0, 0.8)], [car(10, 0)])] + [([found(10.5, 0, 0.6)], [car(10, 0)])] * 4
    result = metrics(frames + [([found(30, 0, 0.7)], [])] + [([], [])] * 4)
    assert result.recall_at_false['0.2'] == 1.0
    # of ten frames: the false alarm at 0.8, then the one at 0.7, which is the last
    assert result.at_false_per_frame['0.1'] == OperatingPoint(pytest.approx(0.7), 1 / 5, 0.0)
    assert result.at_false_per_frame['0.2'] == OperatingPoint(0.6, 1.0, 0.5)
    assert result.at_false_per_frame['0.05'] == OperatingPoint(pytest.approx(0.8), 1 / 5, 0.0)


def test_with_fewer_false_alarms_than_the_rate_all_detections_count_and_bound_the_recall():
    # of ten frames, five of them empty: one false alarm, five targets of which three are found, the last at 0.2
    full = [([found(10 + error, 0, score)], [car(10, 0)]) for error, score in ((0, 0.9), (0.5, 0.5), (1, 0.2))]
    result = metrics([*full, ([], [car(10, 0)]), ([], [car(50, 0)]), ([found(30, 0, 0.6)], [])] + [([], [])] * 4)
    assert result.at_false_per_frame['0.05'] == OperatingPoint(pytest.approx(0.6), 1 / 5, 0.0)
    assert result.at_false_per_frame['0.1'] == OperatingPoint(0.2, 3 / 5, 0.5)
    assert result.at_false_per_frame['0.2'] == OperatingPoint(0.2, 3 / 5, 0.5, bound=True)
    assert result.recall_at_false == {'0.02': 1 / 5, '0.05': 1 / 5, '0.1': 1 / 5, '0.2': 3 / 5}
    quiet = metrics([*full, ([], [])])
    assert set(quiet.recall_at_false.values()) == {1.0}
    assert quiet.recall_at_false_bounds == tuple(quiet.recall_at_false)
    silent = metrics([([], [car(10, 0)]), ([], [])])
    assert silent.recall_at_false['0.05'] == 0.0
    assert silent.at_false_per_frame['0.1'] == OperatingPoint(None, 0.0, None, bound=True)
    crowded = metrics(full)
    assert set(crowded.recall_at_false.values()) == {None}
    assert crowded.recall_at_false_bounds == ()
    assert metrics([([found(30, 0, 0.6)], [])]).at_false_per_frame['0.5'].recall is None


def test_where_a_false_alarm_has_the_highest_score_nothing_is_found_before_it():
    result = metrics([([found(30, 0, 0.9), found(10, 0, 0.9)], [car(10, 0)]), ([found(30, 0, 0.9)], [])])
    assert result.recall_at_false['0.2'] == 0.0
    assert result.at_false_per_frame['0.5'] == OperatingPoint(pytest.approx(0.9), 0.0, None)


def test_withheld_detections_move_neither_recall_nor_errors_but_the_curves():
    tally = Tally()
    tally.add([found(11, 0, 0.9)], [car(10, 0)], withheld=[found(10, 0, 0.2), found(30, 0, 0.1)])
    tally.add([], [car(10, 0)], withheld=[found(10.5, 0, 0.3)])
    result = tally.metrics()
    assert (result.recall, result.precision, result.false_per_frame, result.median_error_m) == (0.5, 1.0, 0.0, 1.0)
    assert result.ap_2m == 1.0
    # the second detection on the first target is the better one: the first is the one false alarm that is allowed
    assert result.at_false_per_frame['0.5'] == OperatingPoint(pytest.approx(0.1), 1.0, 0.25)


def test_every_threshold_tells_what_the_frames_tell_without_the_detections_below():
    random = np.random.default_rng(5)
    frames = []
    for _ in range(60):
        truth = [car(*random.uniform(0, 14, 2), heading=random.uniform(0, 6)) for _ in range(random.integers(0, 4))]
        frames.append(([found(*random.uniform(-2, 16, 2), random.integers(1, 40) / 40) for _ in range(4)], truth))
    result = metrics(frames)
    for rate in map(str, FALSE_PER_FRAME):
        point = result.at_false_per_frame[rate]
        above = metrics([([each for each in some if each.score >= point.threshold], truth) for some, truth in frames])
        assert above.false_per_frame <= float(rate)
        assert point.recall == above.recall
        assert point.median_error_m == pytest.approx(above.median_error_m)
        lower = max(each.score for some, _ in frames for each in some if each.score < point.threshold)
        more = metrics([([each for each in some if each.score >= lower], truth) for some, truth in frames])
        assert more.false_per_frame > float(rate)


def test_tallies_add_up_to_that_of_all_frames():
    frames = [([found(10.5, 0, 0.9), found(30, 0, 0.8)], [car(10, 0)]), ([found(20, 0, 0.7)], []), ([], [car(9, 1)])]
    parts = [Tally(), Tally()]
    for index, (detections, truth) in enumerate(frames):
        parts[index % 2].add(detections, truth)
    parts[0].extend(parts[1])
    assert parts[0].metrics() == metrics(frames)
    with pytest.raises(ValueError, match='expected one of view camera and hit distance 2 m, got camera and 1 m'):
        parts[0].extend(Tally(hit_distance=1.0))
    with pytest.raises(ValueError, match='got the same'):
        parts[0].extend(parts[0])


def test_ignored_detections_do_not_lower_the_average_precision():
    truth = [car(10, 0), car(20, 5, in_camera_view=False)]
    assert metrics([([found(20, 5, 0.9), found(10, 0, 0.1)], truth)]).ap_2m == 1.0


def test_the_cameras_sector_is_between_the_image_borders_at_any_height():
    matrix = np.array([[100.0, 0, 99.5], [0, 100, 49.5], [0, 0, 1]])
    inside = camera_sector(CameraModel(200, 100, matrix, np.zeros(5), FORWARD_LOOKING, np.zeros(3)))
    assert inside(found(10, 9.9))
    assert inside(found(10, -9.9))
    assert inside(Target(10, 0, -30))
    assert not inside(found(10, 10.1))
    assert not inside(found(-10, 0))


def test_errors_in_standard_deviations_have_a_chi_square_where_covariances_are_true():
    random, tally = np.random.default_rng(0), Tally('all', hit_distance=20.0)
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    for x, y in random.multivariate_normal((0, 0), covariance, 2000):
        tally.add([Target(20 + x, y, covariance=covariance, score=0.5)], [Target(20.0, 0.0)])
    deviations = tally.squared_deviations()
    assert deviations.shape == (2000,)
    assert deviations.mean() == pytest.approx(2.0, rel=0.1)
    assert np.mean(deviations < 2 * np.log(2)) == pytest.approx(0.5, abs=0.04)
    # by hand: 1 m along x, where the inverse's first element is 2 / (2 - 0.36)
    alone = Tally('all')
    alone.add([Target(21.0, 0.0, covariance=covariance, score=0.5)], [Target(20.0, 0.0)])
    assert alone.squared_deviations()[0] == pytest.approx(2 / 1.64)


def test_a_detection_without_covariance_has_no_deviation():
    tally = Tally('all')
    tally.add([Target(20.0, 0.0, covariance=np.zeros((2, 2)), score=0.5)], [Target(20.0, 0.0)])
    assert np.isnan(tally.squared_deviations()).all()
    scores, found = tally.scored()
    assert (scores.tolist(), found.tolist()) == ([0.5], [True])
