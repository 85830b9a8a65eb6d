# SPDX-License-Identifier: Apache-2.0
"""Differences of localizers and their intervals, against replicated frames and known populations."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.evaluation import comparison
from radio_visual_ssl.evaluation.comparison import FIGURES, compare
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.radar.target import Target

TRUTH = [Target(10.0 * index, 0.0, in_camera_view=True) for index in (1, 2, 3)]


def scene(random, recall, frames=12, false=0.2, spread=0.4, start=0.0):
    """Detections of frames half a second apart; some scores are equal."""
    tally = Tally()
    for index in range(frames):
        found = [
            replace(target, x=target.x + random.normal(0, spread), score=round(random.uniform(0.2, 1), 2))
            for target in TRUTH
            if random.random() < recall
        ]
        found += [Target(50.0, 9.0, score=round(random.uniform(0, 0.8), 2)) for _ in range(random.poisson(false))]
        truth = TRUTH if index % 4 else []
        tally.add(
            found if truth else found[3:], truth, withheld=[Target(10.0, 0.5, score=0.1)], stamp=start + index / 2
        )
    return tally


def joined(scenes):
    result = Tally()
    for each in scenes:
        result.extend(each)
    return result


def figures(tally):
    """Of `FIGURES`, by the metrics that are made of all frames."""
    metrics = tally.metrics()
    return [
        np.nan if value is None else value
        for value in (metrics.ap_2m, metrics.at_false_per_frame['0.1'].recall, metrics.recall, metrics.median_error_m,
                      metrics.mean_footprint_error_m)
    ]  # fmt: skip


def test_weighted_figures_are_those_of_bags_that_are_there_several_times():
    random = np.random.default_rng(0)
    scenes = [scene(random, recall, false=false) for recall, false in ((0.9, 0.3), (0.4, 0.0), (0.0, 0.5), (0.7, 0.1))]
    weights = np.vstack([np.ones(4, int), random.multinomial(4, [0.25] * 4, 40), np.eye(4, dtype=int)])
    tally = joined(scenes)
    records = tally.records()
    unit = records.frames['recording'].astype(np.int64)
    weighted = comparison._Weighted(records, unit, 4).figures(weights)
    replicated = [figures(joined(copies(scenes, row))) for row in weights]
    np.testing.assert_allclose(weighted, replicated, rtol=1e-12)
    assert np.isnan(weighted).any() and np.isfinite(weighted[0]).all()


def copies(scenes, counts):
    return [each for each, count in zip(scenes, counts, strict=True) for _ in range(count)]


def test_the_same_localizer_twice_differs_by_exactly_nothing():
    random = np.random.default_rng(1)
    tally = joined(scene(random, 0.7) for _ in range(6))
    result = compare({'one': tally, 'same': tally}, resamples=200)
    assert (result.reference, result.unit, result.units) == ('one', 'bag', 6)
    for figure in FIGURES:
        of = result.differences['same'][figure]
        assert (of.value, of.low, of.high, of.is_certain) == (0.0, 0.0, 0.0, False)


@pytest.mark.parametrize('count', [7, 3], ids=['bags', 'stretches'])
def test_the_order_of_the_bags_does_not_count(count):
    random = np.random.default_rng(2)
    pairs = [(scene(random, 0.6, 40), scene(random, 0.8, 40)) for _ in range(count)]
    names = [f'bag {index}' for index in range(count)]

    def compared(order):
        tallies = {
            name: joined(pairs[index][column] for index in order) for column, name in enumerate(('one', 'other'))
        }
        return compare(tallies, [names[index] for index in order], resamples=300)

    assert compared(range(count)) == compared(random.permutation(count).tolist())


def test_of_few_bags_stretches_are_drawn_and_the_method_says_so():
    random = np.random.default_rng(3)
    scenes = [scene(random, 0.7, frames=40, start=1.7e9) for _ in range(2)]  # 20 s each: 8, 8 and 4
    result = compare({'one': joined(scenes), 'other': joined(scenes)}, resamples=50)
    assert (result.unit, result.units) == ('stretch', 6)
    assert '50 resamples of 6 stretches of 8 s of the bags (there are fewer than 5 bags), seed 0' in result.method
    assert (
        '95 % intervals of the paired bootstrap: 50 resamples of 5 bags, seed 0'
        in compare(dict.fromkeys(('one', 'other'), joined([scenes[0]] * 5)), resamples=50).method
    )


def test_one_stretch_alone_has_a_difference_but_no_interval():
    random = np.random.default_rng(4)
    low, high = scene(random, 0.5), scene(random, 0.9)
    of = compare({'low': low, 'high': high}, resamples=20).differences['high']['recall']
    assert of.value > 0
    assert of.low is of.high is None


def test_a_figure_that_is_undefined_has_no_interval():
    crowds = [crowd(np.random.default_rng(5), 0.7) for _ in range(5)]
    noisy = Tally()
    noisy.add([Target(500.0, 0.0, score=0.5)], [ROW[0]])
    silent, loud, once = joined(crowds), joined([noisy] * 5), joined([*crowds[:4], noisy])
    of = compare({'loud': loud, 'silent': joined([noisy] * 5)}, resamples=100).differences['silent']
    assert of['recall_at_0.1_false_per_frame'].low == 0.0
    assert of['median_error_m'].value is None
    of = compare({'silent': silent, 'same': silent}, resamples=100).differences['same']
    assert of['recall_at_0.1_false_per_frame'].value is None
    assert of['recall'].low == 0.0
    # without the one bag that has the false alarm, which a third of the resamples lack, there are too few
    of = compare({'once': once, 'same': once}, resamples=100).differences['same']['recall_at_0.1_false_per_frame']
    assert (of.value, of.low, of.high) == (0.0, None, None)


ROW = [Target(5.0 * index, 0.0, in_camera_view=True) for index in range(1, 21)]


def crowd(random, recall):
    """One frame of 20 targets, each found with that probability."""
    tally = Tally()
    tally.add([target for target in ROW if random.random() < recall], ROW)
    return tally


def test_intervals_hold_a_known_difference_as_often_as_they_should():
    """Recall varies much with the scene, but alike for both: they are 0.1 apart, which only pairing can tell."""
    random, held, widths, repeats = np.random.default_rng(6), 0, [], 60
    for _ in range(repeats):
        tallies = {'one': Tally(), 'other': Tally()}
        for _ in range(6):
            easy = random.uniform(0.2, 0.8)
            for tally, recall in zip(tallies.values(), (easy, easy + 0.1), strict=True):
                tally.extend(crowd(random, recall))
        of = compare(tallies, resamples=200).differences['other']['recall']
        held += of.low <= 0.1 <= of.high
        widths.append(of.high - of.low)
    assert 0.88 <= held / repeats < 1
    # the difference varies by sqrt(2 * 0.25 / 20) = 0.16 at most in a scene, its mean over six by 0.065
    assert np.mean(widths) == pytest.approx(2 * 2.57 * 0.15 / np.sqrt(6), rel=0.25)


def test_refusals_name_what_is_wrong():
    random = np.random.default_rng(7)
    one, other = scene(random, 0.5), scene(random, 0.5, frames=13)
    with pytest.raises(ValueError, match='comparison: expected at least two localizers, got one'):
        compare({'one': one})
    with pytest.raises(ValueError, match="expected the same frames of 'other' as of 'one'"):
        compare({'one': one, 'other': other})
    with pytest.raises(ValueError, match='resamples: expected at least 1, got 0'):
        compare({'one': one, 'same': one}, resamples=0)
    with pytest.raises(ValueError, match='recordings: expected the names of 1, got 2'):
        compare({'one': one, 'same': one}, ['a', 'b'])
    with pytest.raises(ValueError, match='expected frames with ground truth, got none'):
        compare({'one': Tally(), 'same': Tally()})
