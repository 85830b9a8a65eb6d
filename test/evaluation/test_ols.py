# SPDX-License-Identifier: Apache-2.0
"""CRUW's figures over location similarity: those of the challenge's own devkit, and closed forms."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from radio_visual_ssl.evaluation.ols import SIZES, OlsTally, is_judged, location_similarity
from radio_visual_ssl.radar.target import Target


def at(distance, azimuth_deg=0.0, label='car', **fields):
    azimuth = math.radians(azimuth_deg)
    return Target(distance * math.cos(azimuth), distance * math.sin(azimuth), label=label, **fields)


def figures(*frames):
    tally = OlsTally()
    for detections, truth in frames:
        tally.add(detections, truth)
    metrics = tally.metrics()
    return metrics.average_precision, metrics.average_recall


def test_similarity_falls_with_the_square_of_the_distance_in_sizes_of_the_class_and_ranges():
    found = location_similarity([at(10.5), at(10.0, 3.0)], [at(10.0), at(10.0, label='pedestrian')])
    off = [0.25, (20 * math.sin(math.radians(1.5))) ** 2]
    expected = [[math.exp(-square / (2 * 100 * kappa)) for kappa in (0.03, 0.005)] for square in off]
    np.testing.assert_allclose(found, expected)


def test_the_figures_are_those_of_the_devkit():
    """Computed with cruw-devkit 1.1: AP 83.9384, AR 88.8889."""
    tally = OlsTally()
    for frame in range(6):
        truth = [at(5.0 + frame, 10 * frame - 20, label) for label in ('pedestrian', 'car')]
        tally.add([at(5.3 + frame, 10 * frame - 20, each.label, score=0.9) for each in truth], truth)
    metrics = tally.metrics()
    assert metrics.average_precision == pytest.approx(0.839384, abs=1e-6)
    assert metrics.average_recall == pytest.approx(0.888889, abs=1e-6)
    assert (metrics.by_class, metrics.targets) == (True, {'pedestrian': 6, 'cyclist': 0, 'car': 6})


def test_precision_is_read_at_101_recalls_and_falls_by_false_alarms_of_higher_scores():
    truth = [at(10.0, -20.0), at(10.0, 20.0)]
    wrong = at(20.0, score=0.9)
    first, second = at(10.0, -20.0, score=0.95), at(10.0, 20.0, score=0.5)
    precision, recall = figures(([first, wrong, second], truth))
    # recalls 0 to 0.5 at precision 1, the other 50 at 2 of 3
    assert precision == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert recall == 1.0
    assert figures(([first, wrong], truth)) == pytest.approx((51 / 101, 0.5))


def test_one_target_is_found_once_by_the_highest_score():
    near, nearer = at(10.2, score=0.9), at(10.0, score=0.8)
    precision, recall = figures(([nearer, near], [at(10.0), at(20.0)]))
    assert precision == pytest.approx(51 / 101)
    assert recall == 0.5


def test_a_named_class_must_be_right_and_where_none_is_named_any_target_counts():
    truth = [at(10.0), at(15.0, 10.0, 'cyclist')]
    found = [replace(each, label='car', score=0.7) for each in truth]
    precision, recall = figures((found, truth))
    assert recall == pytest.approx(0.5)
    assert precision < 0.6
    tally = OlsTally()
    tally.add([replace(each, label='') for each in found], truth)
    metrics = tally.metrics()
    assert (metrics.average_precision, metrics.average_recall, metrics.by_class) == (pytest.approx(1.0), 1.0, False)


def test_what_the_challenge_does_not_judge_counts_neither_way():
    truth = [at(10.0), at(0.9), at(26.0), at(10.0, 61.0), at(12.0, label='dog')]
    assert [is_judged(each) for each in truth] == [True, False, False, False, True]
    found = [at(10.0, score=0.5), at(26.0, score=0.9), at(10.0, -61.0, score=0.9), at(10.1, score=0.4)]
    tally = OlsTally()
    tally.add(found, truth)
    assert tally.metrics().targets == {'pedestrian': 0, 'cyclist': 0, 'car': 1}
    # of a single target the devkit never reaches the last of the 101 recalls
    assert tally.metrics().average_precision == pytest.approx(100 / 101)


def test_frames_of_others_are_added():
    one, other = OlsTally(), OlsTally()
    one.add([at(10.0)], [at(10.0)])
    other.add([], [at(10.0), at(20.0), at(15.0)])
    one.extend(other)
    assert one.metrics().average_recall == 0.25


def test_without_targets_there_are_no_figures():
    assert figures() == figures(([at(10.0)], [])) == (None, None)


def test_without_detections_nothing_is_found():
    assert figures(([], [at(10.0)])) == (0.0, 0.0)


def test_random_sets_have_the_figures_of_the_devkit(tmp_path, monkeypatch):
    """Where cruw-devkit is installed (github.com/yizhou-wang/cruw-devkit)."""
    monkeypatch.setattr(np, 'float', float, raising=False)  # gone from NumPy, which the devkit does not know
    devkit = pytest.importorskip('cruw.eval.rod.rod_eval_utils')
    from cruw.eval.rod.eval_rod2021 import olsThrs, recThrs
    from cruw.eval.rod.load_txt import read_gt_txt, read_sub_txt

    dataset = SimpleNamespace(object_cfg=SimpleNamespace(n_class=3, classes=list(SIZES), sizes=SIZES))
    for seed in range(60):
        truth, found, frames = random_sets(np.random.default_rng(seed))
        files = tmp_path / 'truth.txt', tmp_path / 'found.txt'
        for file, rows in zip(files, (truth, found), strict=True):
            file.write_text(''.join(' '.join(map(str, row)) + '\n' for row in rows))
        true, named = read_gt_txt(files[0], frames, dataset), read_sub_txt(files[1], frames, dataset)
        cells = [(frame, name) for frame in range(frames) for name in range(3)]
        similarity = {cell: devkit.compute_ols_dts_gts(true, named, *cell, dataset) for cell in cells}
        images = [devkit.evaluate_img(true, named, *cell, similarity, olsThrs, recThrs, dataset) for cell in cells]
        summed = devkit.accumulate(images, frames, olsThrs, recThrs, dataset, log=False)
        expected = devkit.summarize(summed, olsThrs, recThrs, dataset, gl=False)
        ours = figures(
            *(
                (
                    [at(row[1], -math.degrees(row[2]), row[3], score=row[4]) for row in found if row[0] == frame],
                    [at(row[1], -math.degrees(row[2]), row[3]) for row in truth if row[0] == frame],
                )
                for frame in range(frames)
            )
        )
        assert ours == pytest.approx(tuple(expected), abs=1e-12)


def random_sets(random):
    """Rows of (frame, range m, azimuth rad to the right, class) of targets, and with a score of detections; frames."""
    truth, found, frames = [(0, 10.0, 0.0, 'car')], [(0, 10.0, 0.0, 'car', 0.5)], int(random.integers(3, 40))
    for frame in range(frames):
        for _ in range(random.integers(0, 5)):
            row = frame, random.uniform(0.5, 27.0), random.uniform(-1.2, 1.2), str(random.choice(list(SIZES)))
            truth.append(row)
            for _ in range(random.integers(0, 3)):
                place = max(0.1, row[1] + random.normal(0, 0.6)), row[2] + random.normal(0, 0.05)
                found.append((frame, *place, row[3] if random.random() < 0.8 else 'car', round(random.random(), 2)))
    return truth, found, frames
