# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import stats

from radio_visual_ssl.radar.cfar import (
    METHODS,
    _count_detections,
    _Window,
    ca_threshold_factor,
    cfar,
    os_threshold_factor,
    split_threshold_factor,
)


def training_values(power, row, column, guard, training, wrap):
    """Leading and lagging training cells of one cell, the slow and obvious way."""
    leading, lagging = [], []
    for down in range(-guard[0] - training[0], guard[0] + training[0] + 1):
        for right in range(-guard[1] - training[1], guard[1] + training[1] + 1):
            if abs(down) <= guard[0] and abs(right) <= guard[1]:
                continue
            place = [row + down, column + right]
            for axis in (0, 1):
                if wrap[axis]:
                    place[axis] %= power.shape[axis]
            if not all(0 <= index < size for index, size in zip(place, power.shape, strict=True)):
                continue
            before = down < -guard[0] or (abs(down) <= guard[0] and right < 0)
            (leading if before else lagging).append(power[tuple(place)])
    return np.array(leading), np.array(lagging)


@pytest.mark.parametrize('num_looks', [1, 4])
@pytest.mark.parametrize(
    ('guard', 'training', 'wrap'),
    [((1, 1), (4, 3), (False, True)), ((0, 2), (0, 8), (False, False)), ((2, 0), (6, 0), (True, False))],
    ids=['2-D', '1-D with edges', '1-D around a circle'],
)
@pytest.mark.parametrize('method', METHODS)
def test_false_alarm_rate_on_noise_is_nominal_inside_and_at_edges(method, guard, training, wrap, num_looks):
    nominal = 0.02
    noise = np.random.default_rng(1).gamma(num_looks, size=(40, 8000 if guard[0] else 2000)).astype(np.float32)
    if not guard[0]:
        noise = noise.reshape(2000, 40)
    detections = cfar(
        noise,
        guard_cells=guard,
        training_cells=training,
        probability_of_false_alarm=nominal,
        method=method,
        wrap=wrap,
        num_looks=num_looks,
    ).detections
    edge = np.zeros(noise.shape, dtype=bool)
    for axis in (0, 1):
        half = guard[axis] + training[axis]
        if half and not wrap[axis]:
            edge[(slice(None),) * axis + (slice(0, half),)] = True
            edge[(slice(None),) * axis + (slice(-half, None),)] = True
    assert detections[~edge].mean() == pytest.approx(nominal, rel=0.2)
    if edge.any():
        assert detections[edge].mean() == pytest.approx(nominal, rel=0.2)


@pytest.mark.parametrize('method', METHODS)
def test_false_alarm_rate_in_the_very_corner_is_nominal(method):
    noise = np.random.default_rng(2).exponential(size=(4000, 6, 7))
    corners = [
        cfar(
            cells, guard_cells=(1, 1), training_cells=(2, 2), probability_of_false_alarm=0.05, method=method
        ).detections[[0, 0, -1, -1], [0, -1, 0, -1]]
        for cells in noise
    ]
    assert np.mean(corners) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize('wrap', [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize('method', METHODS)
def test_statistics_equal_those_of_a_loop_over_cells(method, wrap):
    power = np.random.default_rng(3).exponential(size=(15, 17))
    guard, training = (1, 2), (3, 2)
    result = cfar(
        power, guard_cells=guard, training_cells=training, probability_of_false_alarm=1e-3, method=method, wrap=wrap
    )
    for row, column in [(0, 0), (0, 8), (7, 8), (14, 16), (9, 1), (13, 5)]:
        leading, lagging = training_values(power, row, column, guard, training, wrap)
        together = np.concatenate((leading, lagging))
        if method == 'ca':
            threshold = ca_threshold_factor(together.size, 1e-3) * together.mean()
        elif method == 'os':
            order = int(np.ceil(0.75 * together.size))
            threshold = os_threshold_factor(together.size, order, 1e-3) * np.sort(together)[order - 1]
        else:
            means = [group.mean() for group in (leading, lagging) if group.size]
            factor = split_threshold_factor(leading.size, lagging.size, 1e-3, method)
            threshold = factor * (max(means) if method == 'go' else min(means))
        assert result.threshold[row, column] == pytest.approx(float(threshold), rel=1e-5)


@pytest.mark.parametrize('num_looks', [1, 5])
@pytest.mark.parametrize('method', METHODS)
def test_noise_estimate_is_unbiased(method, num_looks):
    noise = np.random.default_rng(4).gamma(num_looks, 3.0, size=(300, 300))
    result = cfar(
        noise,
        guard_cells=(1, 1),
        training_cells=(3, 2),
        probability_of_false_alarm=1e-3,
        method=method,
        num_looks=num_looks,
    )
    assert result.noise.mean() == pytest.approx(3.0 * num_looks, rel=0.02)


def test_cell_averaging_factor_is_the_textbook_one():
    count = np.array([1, 8, 32, 400])
    assert ca_threshold_factor(count, 1e-4) == pytest.approx(count * (1e-4 ** (-1 / count) - 1))


def test_order_statistic_factor_is_rohlings():
    factor = os_threshold_factor(32, 24, 1e-6)
    index = np.arange(24)
    assert np.prod((32 - index) / (32 - index + factor)) == pytest.approx(1e-6, rel=1e-6)


def test_greatest_and_smallest_of_share_the_false_alarms_of_the_two_means():
    # The greater and the smaller of two means are the two means, so that the rates add up at any one factor.
    factor = split_threshold_factor(5, 9, 1e-3, 'so', 3)
    total = 0.0
    for count in (5, 9):
        ratio = factor / count
        total += stats.beta.sf(ratio / (1 + ratio), 3, 3 * count)
    rates = np.geomspace(1e-9, 0.4, 400)
    greater = np.interp(
        np.log(factor), np.log([split_threshold_factor(5, 9, p, 'go', 3) for p in rates])[::-1], np.log(rates)[::-1]
    )
    assert np.exp(greater) + 1e-3 == pytest.approx(float(total), rel=1e-2)


@pytest.mark.parametrize('num_looks', [2, 7])
def test_order_statistic_factor_for_several_looks_follows_from_the_distribution(num_looks):
    factor = float(os_threshold_factor(16, 12, 1e-3, num_looks))
    quantile = (np.arange(20_000) + 0.5) / 20_000
    level = stats.gamma.ppf(stats.beta.ppf(quantile, 12, 5), num_looks)
    assert stats.gamma.sf(factor * level, num_looks).mean() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize('wrap', [(False, False), (False, True)])
def test_order_statistic_detections_are_the_same_with_and_without_the_map_of_the_noise(wrap):
    power = np.random.default_rng(5).exponential(size=(60, 50)).astype(np.float32)
    setting = {'guard_cells': (2, 1), 'training_cells': (4, 3), 'probability_of_false_alarm': 1e-2, 'method': 'os'}
    dense = cfar(power, wrap=wrap, **setting)
    sparse = cfar(power, wrap=wrap, everywhere=False, **setting)
    assert np.array_equal(dense.detections, sparse.detections)
    assert np.array_equal(dense.noise[dense.detections], sparse.noise[dense.detections])
    assert np.isnan(sparse.noise[~dense.detections]).all()


def test_order_statistic_detections_count_right_in_windows_of_more_than_65535_cells():
    # The public way to a window as large takes a map as large, and 10 s.
    window = _Window((1, 1), (0, 0), (0, 35_000), (False, False))
    padded = np.ones((1, 70_001), dtype=np.float32)
    for own, expected in ((2.0, True), (0.5, False)):
        scaled, order = np.array([[own]], dtype=np.float32), np.array([[70_000]])
        assert _count_detections(padded, window, scaled, order).item() is expected


@pytest.mark.parametrize('method', METHODS)
def test_a_target_is_found_whatever_the_scale(method):
    power = np.random.default_rng(6).exponential(size=(64, 64)) * 1e-12
    power[30, 40] = 1e-10
    result = cfar(
        power, guard_cells=(1, 1), training_cells=(5, 5), probability_of_false_alarm=1e-6, method=method, wrap=True
    )
    assert np.argwhere(result.detections).tolist() == [[30, 40]]
    assert 10 * np.log10(power[30, 40] / result.noise[30, 40]) == pytest.approx(20, abs=2.5)


def test_a_spike_of_120_db_leaves_no_trace_in_the_noise_of_cells_that_do_not_train_on_it():
    power = np.ones((32, 128))
    power[16, 64] = 1e12
    noise = cfar(power, guard_cells=(2, 2), training_cells=(4, 4), probability_of_false_alarm=1e-3).noise
    near = (np.abs(np.arange(32) - 16)[:, None] <= 6) & (np.abs(np.arange(128) - 64) <= 6)
    assert noise[~near] == pytest.approx(1, abs=1e-3)
    assert noise[16, 64] == pytest.approx(1, abs=1e-3)


def test_one_dimension_is_a_row_of_two():
    signal = np.random.default_rng(7).exponential(size=200)
    for method in METHODS:
        line = cfar(signal, guard_cells=2, training_cells=8, probability_of_false_alarm=1e-2, method=method, wrap=True)
        row = cfar(
            signal[None],
            guard_cells=(0, 2),
            training_cells=(0, 8),
            probability_of_false_alarm=1e-2,
            method=method,
            wrap=(False, True),
        )
        assert line.threshold.shape == (200,)
        assert np.array_equal(line.threshold, row.threshold[0])


@pytest.mark.parametrize('method', METHODS)
def test_cells_without_training_cells_are_never_detected(method):
    power = np.array([1.0, 1e9, 1.0])
    result = cfar(power, guard_cells=1, training_cells=1, probability_of_false_alarm=0.1, method=method)
    assert not result.detections[1]
    assert np.isinf(result.threshold[1])
    assert np.isnan(result.noise[1])
    assert np.isfinite(result.noise[[0, 2]]).all()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'method': 'best'}, r"method: expected one of ca, go, so, os, got 'best'"),
        ({'probability_of_false_alarm': 0.0}, r'probability_of_false_alarm: expected a number in \(0, 0.5\], got 0.0'),
        ({'guard_cells': (1, -1)}, r'guard_cells: expected 2 whole numbers from 0 on, got \(1, -1\)'),
        ({'training_cells': (0, 0)}, 'training_cells: expected at least one'),
        ({'training_cells': (1, 2, 3)}, 'training_cells: expected 2 whole numbers'),
        ({'rank': 0.0}, r'rank: expected a number in \(0, 1\], got 0.0'),
        ({'num_looks': 0}, 'num_looks: expected a whole number from 1 on, got 0'),
        ({'wrap': True, 'training_cells': (2, 6)}, 'at most 12 cells around the circle of axis 1, got 15'),
    ],
)
def test_wrong_arguments_name_what_was_expected_and_got(change, message):
    setting = {'guard_cells': (1, 1), 'training_cells': (2, 2), 'probability_of_false_alarm': 1e-3} | change
    with pytest.raises(ValueError, match=message):
        cfar(np.ones((20, 12)), **setting)


@pytest.mark.parametrize(
    ('power', 'message'),
    [
        (np.ones((2, 3, 4)), r'expected a filled array of 1 or 2 dimensions, got shape \(2, 3, 4\)'),
        (np.array([1.0, np.nan, np.inf, 1.0]), 'expected finite cells, got 2 NaN or Inf'),
        (np.array([1.0, -3.0, 1.0]), r'expected linear power from 0 on \(not dB\), got -3.0'),
    ],
)
def test_wrong_power_is_refused(power, message):
    with pytest.raises(ValueError, match=message):
        cfar(power, guard_cells=0, training_cells=1, probability_of_false_alarm=0.1)
