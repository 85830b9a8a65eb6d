# SPDX-License-Identifier: Apache-2.0
"""Figures of self-labels against a truth that is known."""

import numpy as np
import pytest

from radio_visual_ssl.learning.label_metrics import coverage_curve, judge_labels, near_face, report_table
from radio_visual_ssl.learning.self_labels import SelfLabels
from radio_visual_ssl.radar.target import Target

CAR = Target(20.0, 0.0, z=-4.0, size=(4.0, 2.0, 1.5), heading=np.pi / 2)


def labels(range_, azimuth, confidence=None):
    """Labels of one frame each."""
    range_ = np.asarray(range_, dtype=np.float64)
    confidence = np.ones(range_.size) if confidence is None else np.asarray(confidence)
    return SelfLabels.given(np.arange(range_.size), range_, np.asarray(azimuth, dtype=np.float64), confidence)


@pytest.mark.parametrize(('heading', 'expected'), [(0.0, 18.0), (np.pi / 2, 19.0), (np.pi, 18.0), (-np.pi / 2, 19.0)])
def test_near_face_is_where_the_line_of_sight_enters_the_footprint(heading, expected):
    ground, slant = near_face(Target(20.0, 0.0, z=-4.0, size=(4.0, 2.0, 1.5), heading=heading))
    assert ground == pytest.approx(expected)
    assert slant == pytest.approx(np.hypot(expected, 3.25))


def test_near_face_off_axis_and_without_a_box():
    turned = Target(12.0, 16.0, size=(4.0, 2.0, 0.0), heading=np.arctan2(16, 12))
    assert near_face(turned)[0] == pytest.approx(18.0)
    assert near_face(Target(3.0, 4.0)) == pytest.approx((5.0, 5.0))


def test_bias_has_its_sign_in_range_and_azimuth():
    near = near_face(CAR)[1]
    figures = judge_labels('x', labels([near + 0.5] * 3, np.radians([1.0, 2.0, 6.0])), [CAR] * 3)
    assert figures.radial_bias_m == pytest.approx(0.5)
    assert figures.azimuth_bias_deg == pytest.approx(2.0)
    assert figures.azimuth_mean_deg == pytest.approx(3.0)
    assert judge_labels('x', labels([near - 0.5], [-0.1]), [CAR]).radial_bias_m == pytest.approx(-0.5)


def test_a_label_on_the_near_face_is_on_the_footprint():
    near = near_face(CAR)[1]
    figures = judge_labels('x', labels([near], [0.0]), [CAR])
    # taken to the ground with the height of the centre: exact to centimetres
    assert figures.mean_footprint_error_m == pytest.approx(0.0, abs=1e-6)
    assert figures.median_error_m == pytest.approx(CAR.slant_range - near)


def test_a_radar_that_turns_round_reads_true_azimuths_behind_it_too():
    behind = Target(-20.0, 5.0, z=-4.0, size=(2.0, 2.0, 1.5), heading=0.0)
    made = labels([behind.slant_range], [behind.azimuth])
    figures = judge_labels('x', made, [behind], targets=[[behind]], cone=False)
    assert figures.median_error_m == figures.azimuth_bias_deg == pytest.approx(0.0, abs=1e-9)
    assert figures.mean_footprint_error_m == pytest.approx(0.0, abs=1e-9)
    assert (figures.gross, figures.astray) == (0, 0)
    assert judge_labels('x', made, [behind], targets=[[behind]]).gross == 1


def test_gross_errors_are_counted_from_the_centre():
    at = CAR.slant_range
    figures = judge_labels('x', labels([at, at + 3.9, at + 4.1, at + 10], np.zeros(4)), [CAR] * 4)
    assert figures.gross == 0.5


def test_masks_that_show_nothing_count_as_false_labels():
    figures = judge_labels('x', labels([20.0, 20.0], [0.0, 0.0]), [CAR, None])
    assert (figures.labels, figures.false) == (2, 0.5)
    assert judge_labels('x', labels([20.0], [0.0]), [None]).radial_bias_m is None


def test_curve_rises_in_coverage_and_takes_confident_labels_first():
    near = near_face(CAR)[1]
    confidence = np.linspace(1.0, 0.1, 10)
    offset = np.linspace(0, 9, 10)
    curve = coverage_curve('x', labels(near + offset, np.zeros(10), confidence), [CAR] * 10)
    assert [figures.coverage for figures in curve] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    errors = [figures.p90_error_m for figures in curve]
    assert errors == sorted(errors)


def test_consistency_is_one_for_errors_as_predicted():
    rng = np.random.default_rng(0)
    made = labels(CAR.slant_range + rng.normal(0, 1.0, 4000), rng.normal(0, 0.1, 4000))
    assert judge_labels('x', made, [CAR] * 4000).consistency == pytest.approx(1.0, abs=0.1)


def test_nothing_kept_leaves_figures_open():
    figures = judge_labels('x', labels([20.0], [0.0]), [CAR], np.array([False]))
    assert (figures.labels, figures.coverage, figures.gross) == (0, 0.0, None)
    assert judge_labels('x', labels([], []), []).coverage is None


def test_table_has_one_row_for_each_method():
    rows = [judge_labels(name, labels([20.0], [0.0]), [CAR]) for name in ('EM', 'MCL + EM')]
    lines = report_table(rows).splitlines()
    assert len(lines) == 4
    assert lines[3].startswith('| MCL + EM | 1 | 1 | 1 |')


def test_truth_of_another_length_is_refused():
    with pytest.raises(ValueError, match='truth: expected one for each of 1 labels, got 2'):
        judge_labels('x', labels([20.0], [0.0]), [CAR, CAR])
