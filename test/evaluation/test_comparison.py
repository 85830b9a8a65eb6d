# SPDX-License-Identifier: Apache-2.0
"""Differences of localizers and their intervals, against replicated frames and known populations."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.evaluation import comparison
from radio_visual_ssl.evaluation.comparison import FIGURES, compare
from radio_visual_ssl.evaluation.metrics import match_frame
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.radar.target import Target

ERROR, ERROR_OF_BOTH = 'median_error_m_at_0.1_false_per_frame', 'median_error_m_where_both_find'
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
    """Of all `FIGURES` that one localizer has alone, by the metrics that are made of all frames."""
    metrics = tally.metrics()
    return [
        np.nan if value is None else value
        for value in (metrics.ap_2m, metrics.at_false_per_frame['0.1'].recall, metrics.recall,
                      metrics.at_false_per_frame['0.1'].median_error_m, metrics.mean_footprint_error_m)
    ]  # fmt: skip


def test_weighted_figures_are_those_of_bags_that_are_there_several_times():
    random = np.random.default_rng(0)
    scenes = [scene(random, recall, false=false) for recall, false in ((0.9, 0.3), (0.4, 0.0), (0.0, 0.5), (0.7, 0.1))]
    weights = np.vstack([np.ones(4, int), random.multinomial(4, [0.25] * 4, 40), np.eye(4, dtype=int)])
    tally = joined(scenes)
    records = tally.records()
    unit = records.frames['recording'].astype(np.int64)
    kept = comparison._Weighted(records, unit, 4)
    weighted = kept.figures(weights, np.array([kept.found_at_rate(row) for row in weights]))
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
        assert (of.value, of.low, of.high, of.excludes_zero) == (0.0, 0.0, 0.0, False)


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
    result = compare({'one': joined(scenes), 'other': joined(scenes)}, resamples=200)
    assert (result.unit, result.units) == ('stretch', 6)
    assert '200 resamples of 6 stretches of 8 s of the bags (there are fewer than 6 bags), seed 0' in result.method
    assert 'about 91 % of the time with 6 and 93 % with 10' in result.method
    five, six = (compare(dict.fromkeys(('one', 'other'), joined([scenes[0]] * count)), resamples=200)
                 for count in (5, 6))  # fmt: skip
    assert (five.unit, five.units) == ('stretch', 15)
    assert '95 % intervals of the paired bootstrap: 200 resamples of 6 bags, seed 0' in six.method


@pytest.mark.parametrize('count', [1, 5])
def test_of_fewer_than_six_units_there_are_differences_but_no_intervals(count):
    random = np.random.default_rng(4)
    low, high = (joined(scene(random, recall) for _ in range(count)) for recall in (0.5, 0.9))  # 6 s each
    result = compare({'low': low, 'high': high}, resamples=200)
    assert result.units == count
    of = result.differences['high']['recall']
    assert of.value > 0
    assert of.low is of.high is None
    assert not of.excludes_zero
    assert result.method.startswith(f'no intervals: they take at least 6 bags or stretches, and there are {count} ')


@pytest.mark.parametrize(('units', 'share'), [(6, 0.91), (10, 0.93)])
def test_the_share_of_intervals_that_hold_the_truth_is_the_one_that_is_told(units, share):
    random, held = np.random.default_rng(8), []
    tail = comparison._tail(units)
    for _ in range(20):
        drawn = random.multinomial(units, [1 / units] * units, comparison.LEAST_RESAMPLES) / units
        low, high = np.quantile(drawn @ random.normal(size=(units, 500)), (tail, 1 - tail), axis=0)
        held.append(np.mean((low <= 0) & (high >= 0)))
    assert np.mean(held) == pytest.approx(share, abs=0.01)


def test_a_figure_that_is_undefined_has_no_interval():
    noisy = Tally()
    noisy.add([Target(500.0, 0.0, score=0.5)], [ROW[0]])
    loud, once = joined([noisy] * 6), joined([*[noisy] * 5, crowd(np.random.default_rng(5), 0.7)])
    of = compare({'loud': loud, 'same': loud}, resamples=200).differences['same']
    assert of['recall_at_0.1_false_per_frame'].low == 0.0
    for figure in (ERROR, ERROR_OF_BOTH, 'mean_footprint_error_m'):
        assert of[figure].value is None
    # without the one bag that has hits, which a third of the resamples lack, there are too few
    of = compare({'once': once, 'same': once}, resamples=200).differences['same']
    for figure in (ERROR, ERROR_OF_BOTH, 'mean_footprint_error_m'):
        assert (of[figure].value, of[figure].low, of[figure].high) == (0.0, None, None)


def test_localizers_with_fewer_false_alarms_are_compared_by_all_that_they_find_and_a_note_says_so():
    random = np.random.default_rng(5)
    few, many = (joined(crowd(random, recall) for _ in range(6)) for recall in (0.5, 0.9))
    result = compare({'few': few, 'many': many}, resamples=200)
    of = result.differences['many']
    assert of['recall_at_0.1_false_per_frame'] == of['recall']
    assert of['recall'].value == many.metrics().recall - few.metrics().recall > 0
    assert [note.split(':')[0] for note in result.notes] == [
        f'{name} makes fewer than 0.1 false alarms per frame with all of its detections' for name in ('few', 'many')
    ]
    assert result.to_json()['notes'] == result.notes
    loud = joined([scene(random, 0.5, false=1.0) for _ in range(6)])
    assert compare({'loud': loud, 'same': loud}, resamples=200).notes == []


def test_errors_are_compared_of_the_targets_that_both_find_at_equal_false_alarms():
    random = np.random.default_rng(9)
    truth = [Target(10.0 * index, 0.0, in_camera_view=True) for index in range(1, 9)]

    def frames(spread, recall):
        return [
            [
                replace(each, y=random.normal(0, spread), score=random.random())
                for each in truth
                if random.random() < recall
            ]
            + [Target(55.0, 20.0, score=random.uniform(0, 0.5))]
            for _ in range(24)
        ]

    detections = {'sharp': frames(0.2, 0.9), 'blunt': frames(0.6, 0.7)}
    tallies = {name: Tally() for name in detections}
    for name, tally in tallies.items():
        for start in range(0, 24, 4):
            part = Tally()
            for each in detections[name][start : start + 4]:
                part.add(each, truth)
            tally.extend(part)
    of = compare(tallies, resamples=200).differences['blunt']

    def errors(name):
        """By frame and target, of what is reported from the threshold on."""
        at = tallies[name].metrics().at_false_per_frame['0.1']
        matches = [match_frame([one for one in some if one.score >= at.threshold], truth) for some in detections[name]]
        errors = {(number, target.x): np.hypot(found.x - target.x, found.y - target.y)
                  for number, match in enumerate(matches) for found, target in match.hits}  # fmt: skip
        assert np.median(list(errors.values())) == pytest.approx(at.median_error_m)
        return errors

    sharp, blunt = errors('sharp'), errors('blunt')
    both = sharp.keys() & blunt.keys()
    assert 5 < len(both) < min(len(sharp), len(blunt))
    assert of[ERROR_OF_BOTH].value == pytest.approx(
        np.median([blunt[each] for each in both]) - np.median([sharp[each] for each in both])
    )
    assert of[ERROR].value == pytest.approx(np.median(list(blunt.values())) - np.median(list(sharp.values())))
    assert of[ERROR_OF_BOTH].low > 0


def test_where_one_finds_a_part_of_the_targets_the_errors_of_both_are_of_that_part():
    """The one that finds the easy targets alone is no better on them."""
    easy, hard = Target(10.0, 0.0, in_camera_view=True), Target(20.0, 0.0, in_camera_view=True)
    picky, eager = Tally(), Tally()
    for tally, found in (
        (picky, [replace(easy, y=0.1)]),
        (eager, [replace(easy, y=0.1), replace(hard, y=1.0)]),
    ):
        for _ in range(6):
            part = Tally()
            part.add(found, [hard, easy])
            tally.extend(part)
    of = compare({'picky': picky, 'eager': eager}, resamples=200).differences['eager']
    assert of[ERROR].value == pytest.approx(0.45)
    assert (of[ERROR_OF_BOTH].value, of[ERROR_OF_BOTH].low, of[ERROR_OF_BOTH].high) == (0.0, 0.0, 0.0)


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
    with pytest.raises(ValueError, match='resamples: expected at least 200, got 199'):
        compare({'one': one, 'same': one}, resamples=199)
    with pytest.raises(ValueError, match='recordings: expected the names of 1, got 2'):
        compare({'one': one, 'same': one}, ['a', 'b'])
    with pytest.raises(ValueError, match='expected frames with ground truth, got none'):
        compare({'one': Tally(), 'same': Tally()})
