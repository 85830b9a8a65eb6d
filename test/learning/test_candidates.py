# SPDX-License-Identifier: Apache-2.0
"""Radar peak candidates of heatmaps with planted peaks."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.learning.candidates import (
    Candidates,
    CandidateSettings,
    attention_weights,
    find_candidates,
    static_level,
)
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.target import Target

GRID = PolarGrid(1.0 + 0.4 * np.arange(100), np.radians(np.linspace(-60, 60, 41)))


def heatmap(peaks, seed=0, velocity=None):
    """Noise of 0 dB and peaks (row, column, dB) with Gaussian shapes of 2 bins."""
    rng = np.random.default_rng(seed)
    power = rng.exponential(1.0, GRID.shape)
    rows, columns = np.indices(GRID.shape)
    for row, column, level in peaks:
        power += 10 ** (level / 10) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2)
    return Heatmap((10 * np.log10(power)).astype(np.float32), GRID, Reference.NOISE_FLOOR, 0.0, velocity)


def test_a_peak_between_bins_is_found_where_it_is():
    found = find_candidates(heatmap([(40.3, 20.4, 40.0)]))
    row, column = GRID.index(found.range[0], found.azimuth[0])
    assert float(row) == pytest.approx(40.3, abs=0.1)
    assert float(column) == pytest.approx(20.4, abs=0.1)
    assert found.snr[0] > 25
    assert np.all(found.variance[0] < [0.1, 0.01])


def test_weak_peaks_are_candidates_beside_strong_ones():
    found = find_candidates(heatmap([(30, 10, 60.0), (60, 30, 14.0), (80, 12, 20.0)]))
    for row, column in ((30, 10), (60, 30), (80, 12)):
        near = np.hypot(found.range - GRID.range[row], found.range * (found.azimuth - GRID.azimuth[column]))
        assert near.min() < 1.0


def test_an_unknown_noise_floor_is_that_of_the_quietest_quarter_of_the_background():
    scene = [heatmap([(50 + 5 * step, 25, 25.0)], step) for step in range(8)]
    level = static_level(scene)
    quarter = float(np.sort(level, axis=None)[level.size // 4])
    unknown, known = (find_candidates(replace(scene[3], noise_floor=x), level) for x in (float('nan'), quarter))
    assert np.array_equal(unknown.range, known.range)
    assert np.array_equal(unknown.snr, known.snr)
    low = find_candidates(replace(scene[3], noise_floor=-100.0), level)
    assert not np.array_equal(low.snr, known.snr), 'it makes a difference'


def test_background_takes_out_what_stays_and_leaves_what_comes():
    static = (30, 10, 50.0)
    scene = [heatmap([static, (50 + 5 * step, 25, 25.0)], step) for step in range(8)]
    level = static_level(scene)
    found = find_candidates(scene[3], level)
    near = np.hypot(found.range - GRID.range[65], found.range * (found.azimuth - GRID.azimuth[25]))
    assert near.min() < 0.5
    assert np.argmin(near) == 0
    from_static = np.hypot(found.range - GRID.range[30], found.range * (found.azimuth - GRID.azimuth[10]))
    assert not np.any((from_static < 1.0) & (found.snr > 10))


def test_level_of_a_long_recording_is_thinned_out():
    values = [heatmap([], seed) for seed in range(40)]
    full, thinned = static_level(values), static_level(values, most_frames=8)
    assert np.mean(np.abs(full - thinned)) < 3.0


def test_peaks_of_one_body_are_one_candidate():
    peaks = [(40, 20, 40.0), (43, 20, 36.0)]
    assert np.sum(find_candidates(heatmap(peaks)).snr > 20) == 1
    apart = find_candidates(heatmap(peaks), settings=CandidateSettings(merge_radius=0.5))
    assert np.sum(apart.snr > 20) == 2


def test_strongest_candidates_are_kept_first():
    found = find_candidates(
        heatmap([(20, 10, 30.0), (50, 20, 45.0)]), settings=CandidateSettings(max_candidates=2, min_snr=15.0)
    )
    assert len(found) == 2
    assert found.snr[0] > found.snr[1]
    assert found.range[0] == pytest.approx(GRID.range[50], abs=0.2)


def test_velocity_of_a_peak_is_kept():
    velocity = np.full(GRID.shape, -2.5, dtype=np.float32)
    assert find_candidates(heatmap([(40, 20, 40.0)], velocity=velocity)).velocity[0] == pytest.approx(-2.5)


def test_targets_of_any_detector_are_candidates():
    target = Target(0.0, 10.0, covariance=np.diag([0.09, 0.25]), snr=12.0, radial_velocity=1.0)
    found = Candidates.of([target])
    assert (found.range[0], found.azimuth[0]) == pytest.approx((10.0, np.pi / 2))
    np.testing.assert_allclose(found.variance[0], [0.25, 0.0009])
    assert (found.snr[0], found.velocity[0]) == (12.0, 1.0)
    assert len(Candidates.of([])) == 0


def test_noise_alone_has_few_candidates():
    counts = [len(find_candidates(heatmap([], seed))) for seed in range(5)]
    assert np.mean(counts) < 40


def test_wrong_input_is_named():
    broken = heatmap([])
    values = broken.values.copy()
    values[3, 4] = np.nan
    with pytest.raises(ValueError, match=r'1 of 4100 NaN or infinite'):
        find_candidates(Heatmap(values, GRID))
    with pytest.raises(ValueError, match='level: expected shape'):
        find_candidates(broken, np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match='at least one'):
        static_level([])
    with pytest.raises(ValueError, match='quantile'):
        static_level([broken], quantile=2.0)
    other = PolarGrid(GRID.range + 1, GRID.azimuth)
    with pytest.raises(ValueError, match='one grid'):
        static_level([broken, Heatmap(broken.values, other)])
    with pytest.raises(ValueError, match=r'azimuth: expected shape \(2,\)'):
        Candidates(np.ones(2), np.ones(1), np.ones((2, 2)), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match='beyond 0 m'):
        Candidates(np.zeros(1), np.ones(1), np.ones((1, 2)), np.ones(1), np.ones(1))


def test_attention_beside_a_candidate_speaks_for_it():
    found = Candidates.of([Target(12.0, 0.0), Target(0.0, 20.0), Target(30.0, 5.0)])
    logits = np.zeros((2, *GRID.shape))
    row, column = (round(float(index)) for index in GRID.index(13.0, 0.05))
    logits[0, row, column] = 20.0
    weights = attention_weights(logits, GRID, found)
    assert weights.shape == (2, 3)
    assert weights[0, 0] > 100 * weights[0, 1:].max()
    assert weights[1, 0] == pytest.approx(weights[1, 2], rel=0.3)


def test_attention_of_no_instance_or_to_no_candidate_is_empty():
    assert attention_weights(np.zeros((0, *GRID.shape)), GRID, Candidates.of([Target(9.0, 0.0)])).shape == (0, 1)
    assert attention_weights(np.zeros((2, *GRID.shape)), GRID, Candidates.of([])).shape == (2, 0)


def test_attention_that_does_not_fit_is_refused():
    none = Candidates.of([])
    with pytest.raises(ValueError, match='attention: expected'):
        attention_weights(np.zeros((1, 3, 3)), GRID, none)
    with pytest.raises(ValueError, match='finite'):
        attention_weights(np.full((1, *GRID.shape), np.nan), GRID, none)
    with pytest.raises(ValueError, match='range_std'):
        attention_weights(np.zeros((1, *GRID.shape)), GRID, none, range_std=0.0)


def test_a_peak_beside_clutter_is_not_pushed_away_from_it():
    clutter, walker = (40, 24, 33.0), (40, 20, 30.0)
    level = static_level([heatmap([clutter], seed) for seed in range(12)], 0.5)
    found = find_candidates(heatmap([clutter, walker]), level)
    row, column = GRID.index(found.range[0], found.azimuth[0])
    assert (float(row), float(column)) == pytest.approx((40, 20), abs=0.3)
