# SPDX-License-Identifier: Apache-2.0
"""Figures by class, visibility, range and azimuth, and the precision-recall curve, against cases counted by hand."""

import math

import numpy as np
import pytest

from radio_visual_ssl.evaluation.breakdown import (
    UNNAMED,
    Confusion,
    GroupFigures,
    PolarBins,
    PolarMaps,
    grouped_quantiles,
    per_class,
    per_visibility,
    precision_recall,
)
from radio_visual_ssl.evaluation.metrics import average_precision
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.radar.target import Target


def target(range_, azimuth_deg=0.0, **fields):
    azimuth = math.radians(azimuth_deg)
    return Target(range_ * math.cos(azimuth), range_ * math.sin(azimuth), in_camera_view=True, **fields)


def records_of(*frames):
    tally = Tally()
    for detections, truth in frames:
        tally.add(detections, truth)
    return tally.records()


def test_classes_are_told_apart_and_one_tally_after_another_keeps_them():
    first, second = Tally(), Tally()
    first.add([target(11)], [target(10, label='van'), target(30, label='car')])
    second.add([target(10.5), target(30)], [target(10, label='car'), target(30), target(50, label='van')])
    first.extend(second)
    assert per_class(first.records()) == {
        'car': GroupFigures(2, 0.5, pytest.approx(0.5)),
        'van': GroupFigures(2, 0.5, pytest.approx(1.0)),
        'unknown': GroupFigures(1, 1.0, 0.0),
    }
    assert list(per_class(first.records())) == ['car', 'van', 'unknown']


def test_names_of_hits_are_counted_by_true_class():
    """Of five hits of known class two are named rightly and one not at all; misses and unknown classes do not count."""
    first, second = Tally(), Tally()
    truth = [target(10, label='car'), target(30, label='van'), target(50), target(70, label='bus')]
    first.add([target(10, label='car'), target(30, label='truck'), target(50, label='car')], truth)
    second.add([target(30, label='van'), target(10)], truth)
    second.add([target(10, label='van')], truth[:1])
    first.extend(second)
    confusion = Confusion.of(first.records())
    assert (confusion.classes, confusion.names) == (('car', 'van'), ('car', 'truck', 'van', UNNAMED))
    assert confusion.counts.tolist() == [[1, 0, 1, 1], [0, 1, 1, 0]]
    assert (confusion.hits, confusion.accuracy, confusion.unnamed) == (5, 0.4, 0.2)
    assert confusion.to_json()['confusion']['van'] == {'car': 0, 'truck': 1, 'van': 1, UNNAMED: 0}
    assert list(per_class(first.records())) == ['bus', 'car', 'van', 'unknown']  # a truck is nowhere
    assert Confusion.of(records_of(([target(10)], [target(10, label='car')]))) is None
    assert Confusion.of(records_of(([], []))) is None


def test_visibilities_fall_into_fixed_bins_whose_lower_edge_is_theirs():
    shares = (0.0, 0.24, 0.25, 0.5, 0.74, 0.75, 1.0)
    truth = [target(10.0 * (index + 1), visibility=share) for index, share in enumerate(shares)]
    groups = per_visibility(records_of(([truth[-1]], truth)))
    assert {name: of.targets for name, of in groups.items()} == {
        '0-25 %': 2, '25-50 %': 1, '50-75 %': 2, '75-100 %': 2
    }  # fmt: skip
    assert groups['75-100 %'] == GroupFigures(2, 0.5, 0.0)
    assert groups['0-25 %'] == GroupFigures(2, 0.0, None)
    assert per_visibility(records_of(([], [target(10)])))['unknown'] == GroupFigures(1, 0.0, None)


def test_maps_tell_recall_and_error_of_each_cell_and_leave_out_those_of_few_targets():
    near, far, few = target(12, 3), target(27, -14), target(27, 3)
    frames = [([target(12.5, 3)], [near, far])] * 6 + [([target(13, 3), target(27, -14)], [near, far])] * 6
    records = records_of(*frames, ([few], [few]))
    bins = PolarBins.spanning(records)
    np.testing.assert_allclose(bins.range, np.arange(12, 29, 2))  # 2 m is the smallest step that takes eight bins
    np.testing.assert_allclose(bins.azimuth, [-15, -10, -5, 0, 5])
    maps = PolarMaps.of(records, bins)
    assert maps.targets.sum() == 25
    assert (maps.targets[0, 3], maps.targets[7, 0], maps.targets[7, 3]) == (12, 12, 1)
    assert (maps.recall[0, 3], maps.recall[7, 0]) == (1.0, 0.5)
    assert maps.median_error[0, 3] == pytest.approx(0.75)
    # half of the far ones are hits, too few for an error, and one target is too few for anything
    assert np.isnan(maps.median_error[7, 0])
    assert np.isnan(maps.recall[7, 3])
    assert np.isfinite(maps.recall).sum() == 2


def test_bins_hold_a_lone_target_and_none_are_made_of_no_targets():
    bins = PolarBins.spanning(records_of(([], [target(10.0)])))
    assert [edges.tolist() for edges in (bins.range, bins.azimuth)] == [[10, 11], [0, 5]]
    assert PolarBins.spanning(records_of(([], []))) is None


def test_quantiles_of_groups_are_those_of_each_alone():
    random = np.random.default_rng(0)
    values, group = random.normal(size=200), random.choice([0, 1, 3], 200)
    found = grouped_quantiles(values, group, 5, (0.25, 0.5))
    for number in (0, 1, 3):
        np.testing.assert_allclose(found[:, number], np.quantile(values[group == number], (0.25, 0.5)))
    assert np.isnan(found[:, [2, 4]]).all()


def test_precision_and_recall_at_each_threshold():
    truth = [target(10), target(30)]
    at = [(10, 0.9), (50, 0.6), (30, 0.6), (60, 0.3)]
    records = records_of(([target(range_, score=score) for range_, score in at], truth))
    recall, precision, scores = precision_recall(records)
    assert (recall.tolist(), scores.tolist()) == ([0.5, 1.0, 1.0], [0.9, 0.6, 0.3])
    np.testing.assert_allclose(precision, [1, 2 / 3, 1 / 2])
    ranked = [(0.9, True), (0.6, False), (0.6, True), (0.3, False)]
    assert np.sum(np.diff(recall, prepend=0) * precision) == pytest.approx(average_precision(ranked, 2))
    assert all(part.size == 0 for part in precision_recall(records_of(([], truth))))
