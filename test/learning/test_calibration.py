# SPDX-License-Identifier: Apache-2.0
"""Scores that are probabilities, variances that fit the errors, and a threshold of a stated false alarm rate."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_visual_ssl.learning.calibration import (
    CalibrationSettings,
    best_agreement,
    calibrate,
    choose_threshold,
    compare,
    fit_scores,
    fit_temperature,
    fit_variance,
)
from radio_visual_ssl.learning.localizer_data import LabelledBatch
from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.localizer import Detections, LocalizerOutput


def test_a_logistic_curve_is_found_again():
    random = np.random.default_rng(0)
    logit = random.normal(0, 2, 20_000)
    hit = random.random(20_000) < 1 / (1 + np.exp(-(0.6 * logit - 0.9)))
    assert fit_scores(logit, hit, np.ones(20_000)) == pytest.approx((0.6, -0.9), abs=0.05)


def test_the_weight_of_a_label_counts():
    logit, hit = np.repeat([-1.0, 1.0], 500), np.tile([True, False], 500)
    one, other = (fit_scores(logit, hit, np.where(hit, weight, 1.0))[1] for weight in (1.0, 0.25))
    assert other == pytest.approx(one - np.log(4), abs=0.05)


@pytest.mark.parametrize('hit', [[True, True], [False, False], []])
def test_scores_stay_as_they_are_without_examples_of_both_kinds(hit):
    assert fit_scores(np.zeros(len(hit)), np.array(hit, dtype=bool), np.ones(len(hit))) == (1.0, 0.0)


def test_the_temperature_of_classes_is_found_again():
    random = np.random.default_rng(0)
    logit = random.normal(0, 3, (20_000, 4))
    chances = np.exp(logit / 2.5) / np.exp(logit / 2.5).sum(axis=1, keepdims=True)
    index = (random.random((20_000, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(logit, index) == pytest.approx(2.5, rel=0.03)
    assert fit_temperature(logit[:5], index[:5]) == fit_temperature(np.zeros((0, 0)), np.zeros(0, int)) == 1.0


def test_hits_tell_the_class_of_their_label():
    batch = _batch([(0, 10.0, 0.0), (0, 15.0, 0.5), (1, 5.0, 0.0)], 2)._replace(class_index=torch.tensor([1, -1, 0]))
    found = [_found((15.2, 0.5), (10.1, 0.0), (4.0, -0.9)), _found((5.1, 0.0))]
    logits = [np.arange(6.0).reshape(3, 2), np.array([[7.0, 8.0]])]
    found = [replace(each, class_logit=logit) for each, logit in zip(found, logits, strict=True)]
    outcomes = compare(found, batch, CalibrationSettings())
    assert outcomes.class_index.tolist() == [-1, 1, -1, 0]
    np.testing.assert_array_equal(outcomes.class_logit, np.concatenate(logits))


def test_the_variance_is_that_of_most_errors_whatever_the_outliers():
    random = np.random.default_rng(0)
    predicted = random.uniform(0.1, 2.0, 20_000)
    errors = random.normal(0, 3 * np.sqrt(predicted))
    assert fit_variance(errors, predicted) == pytest.approx(9, rel=0.05)
    errors[:400] += 100
    assert fit_variance(errors, predicted) == pytest.approx(9, rel=0.1)
    assert fit_variance(np.zeros(0), np.zeros(0)) == 1.0


def test_the_threshold_leaves_as_many_false_detections_as_wanted():
    scores = np.linspace(0.01, 0.99, 99)
    threshold, rate = choose_threshold(scores, 200, 0.05)
    assert (threshold, rate) == (pytest.approx(0.89), 0.05)
    assert np.count_nonzero(scores >= threshold) == 10
    assert choose_threshold(scores[:3], 200, 0.05) == (pytest.approx(0.01), 0.015)
    assert choose_threshold(np.full(50, 0.9), 100, 0.05)[1] == 0


def _batch(labels, count, kept=None):
    frame, range_, azimuth = (np.array(each) for each in zip(*labels, strict=True))
    return LabelledBatch(
        torch.zeros(count, 1, 2, 2),
        torch.tensor([[0.0, 20.0, -1.0, 1.0]], dtype=torch.float64).repeat(count, 1),
        torch.from_numpy(frame),
        torch.from_numpy(range_),
        torch.from_numpy(azimuth),
        torch.full((len(labels), 2), 0.2, dtype=torch.float64),
        torch.full((len(labels),), 0.8),
        torch.ones(len(labels), dtype=torch.bool) if kept is None else torch.tensor(kept),
        torch.arange(count),
    )


def _found(*places):
    """Detections with falling scores."""
    range_, azimuth = np.array(places).T
    count = len(places)
    return Detections(
        np.linspace(0.9, 0.5, count),
        range_,
        azimuth,
        np.ones((count, 2)),
    )


def test_detections_hit_false_or_neither():
    labels = [(0, 10.0, 0.0), (0, 12.0, 0.6), (1, 5.0, 0.0)]
    batch = _batch(labels, 3, kept=[True, False, True])
    found = [
        _found((10.4, 0.01), (10.9, 0.02), (13.0, 0.6), (5.0, -0.8)),  # hit, its double, near a dropped one, false
        _found((5.1, 0.0), (25.0, 0.0), (15.0, 1.2)),  # hit, and two where the camera does not see
        _found((8.0, 0.0)),  # false, in an empty frame
    ]
    outcomes = compare(found, batch, CalibrationSettings(dropped_radius=2.0, hit_distance=1.5))
    assert outcomes.hit.tolist() == [True, False, False, False, True, False, False, False]
    assert outcomes.weight.tolist() == pytest.approx([0.8, 1, 0, 1, 0.8, 0, 0, 1])
    assert outcomes.empty.tolist() == [False] * 7 + [True]
    np.testing.assert_allclose(outcomes.errors[outcomes.hit], [[0.4, 0.01], [0.1, 0.0]], atol=1e-9)
    assert (outcomes.frames, outcomes.empty_frames) == (3, 1)


def test_the_less_sure_a_dropped_label_is_the_farther_it_excuses_up_to_twice_the_radius():
    batch = _batch([(0, 10.0, 0.0), (1, 10.0, 0.0), (2, 10.0, 0.0)], 3, kept=[False] * 3)
    spread = torch.tensor([[0.1, 0.05], [0.1, 0.7], [9.0, 0.1]], dtype=torch.float64)
    found = [_found((12.1, 0.0), (12.3, 0.0), (13.3, 0.0), (13.5, 0.0), (13.9, 0.0), (14.1, 0.0))] * 3
    outcomes = compare(found, batch._replace(spread=spread), CalibrationSettings(dropped_radius=2.0))
    assert outcomes.weight.reshape(3, 6).tolist() == [[0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]]


def test_a_detection_across_the_cut_at_180_degrees_hits():
    batch = _batch([(0, 10.0, -3.1)], 1)._replace(sector=torch.tensor([[0.0, 20.0, 2.0, 4.5]], dtype=torch.float64))
    outcomes = compare([_found((10.0, 3.1), (10.0, 2.5))], batch, CalibrationSettings())
    assert outcomes.hit.tolist() == [True, False] and outcomes.weight.tolist() == pytest.approx([0.8, 1.0])
    assert outcomes.errors[0] == pytest.approx([0.0, 6.2 - 2 * np.pi])


class _Answers(torch.nn.Module):
    """Stands where a network does: says of the cells what the batch holds."""

    def __init__(self, cells):
        super().__init__()
        self.cells, self.weight, self.sees_camera = cells, torch.nn.Parameter(torch.zeros(1)), False

    def forward(self, maps):
        return LocalizerOutput(maps[:, 0], maps[:, 1:3], maps[:, 3:5])


@pytest.mark.parametrize(
    ('scores', 'hit', 'labels', 'expected'),
    [
        ((0.9, 0.8, 0.4, 0.2), (1, 1, 0, 1), 2, 0.6),
        ((0.9, 0.8, 0.4, 0.2), (1, 1, 0, 1), 9, 0.2),
        # two of equal score go together
        ((0.9, 0.5, 0.5, 0.3), (1, 0, 1, 0), 3, 0.4),
        ((0.9, 0.5), (0, 0), 4, 0.5),
        ((), (), 4, 0.5),
    ],
)
def test_detections_agree_best_with_labels_at_a_threshold(scores, hit, labels, expected):
    assert best_agreement(np.array(scores, float), np.array(hit, bool), labels) == pytest.approx(expected)


def test_calibration_of_a_network_that_is_too_sure_of_itself(scenes):
    """True with probability sigmoid(logit - 1), one label a frame or none.

    Ranges are ten times as wrong as it says, azimuths five times.
    """
    cells, random, count = CellGrid.of(scenes.grid), np.random.default_rng(0), 600
    maps = torch.zeros(count, 5, *cells.shape)
    maps[:, 0] = -9.0
    maps[:, 3:5] = np.log(0.02**2)
    labels = []
    for frame in range(count):
        row, column = random.integers(4, 36), random.integers(6, 18)
        logit = random.normal(0, 2)
        maps[frame, 0, row, column] = logit
        if random.random() < 1 / (1 + np.exp(-(logit - 1))):
            error = random.normal(0, (0.2, 0.1))
            range_, azimuth = cells.decode(row + error[0], column + error[1])
            labels.append((frame, float(range_), float(azimuth)))
    batch = _batch(labels, count)._replace(maps=maps)
    report = calibrate(_Answers(cells), [batch], CalibrationSettings(lowest_score=0.001, hit_distance=1.0))
    assert (report.calibration.slope, report.calibration.intercept) == pytest.approx((1, -1), abs=0.3)
    assert (report.calibration.range_variance, report.calibration.azimuth_variance) == pytest.approx((100, 25), rel=0.3)
    assert 0.03 < report.false_per_empty_frame <= 0.05
    assert (report.frames, report.empty_frames, report.threshold_frames) == (count, count - len(labels), 'empty')
    assert report.to_json()['slope'] == report.calibration.slope
    assert (report.calibration.min_range, report.calibration.max_range) == (0.0, 0.0)
    for near, least in ((6.0, 4.5), (1.0, 0.0)):
        limited = calibrate(_Answers(cells), [batch], CalibrationSettings(range_margin=1.5), (near, 18.0)).calibration
        assert (limited.min_range, limited.max_range) == (least, 19.5)
    # labels of two frames in three are lost, as if masks had missed them: what is found there is not held to be false
    lost = _batch([label for label in labels if label[0] % 3 == 0], count)._replace(maps=maps)
    missed = calibrate(_Answers(cells), [lost], CalibrationSettings(hit_distance=1.0, false_per_empty_frame=0.001))
    assert missed.threshold_frames == 'labelled'
    assert missed.calibration.threshold < 0.5
    # few frames without labels: where detections and labels agree best, which a missing label hardly moves
    few = calibrate(_Answers(cells), [batch], CalibrationSettings(hit_distance=1.0, least_empty_frames=1000))
    assert few.threshold_frames == 'labelled'
    assert 0.2 < few.calibration.threshold < 0.5
    assert few.recall > report.recall
    # what the camera does not show, a network that sees it does not find: empty frames tell nothing of the others
    network = _Answers(cells)
    network.sees_camera = True
    fused = calibrate(network, [batch], CalibrationSettings(hit_distance=1.0))
    assert (fused.threshold_frames, fused.calibration.threshold) == ('labelled', few.calibration.threshold)
