# SPDX-License-Identifier: Apache-2.0
"""The strongest peaks above a background: where they are, how many, how far apart, and what never counts."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.peak_localizer import PeakLocalizer, PeakLocalizerSettings, load_peak_settings

GRID = PolarGrid(2 + 0.5 * np.arange(60), np.arcsin((np.arange(32) - 15.5) / 16))
CLUTTER = (20.0, 5.0, 40.0)
SETTINGS = PeakLocalizerSettings(background_frames=9, background_warmup=5, separation=3.0)


def scene(*peaks, noise=0.0, seed=0, grid=GRID, **changes):
    """Peaks of (row, column, dB) in noise around 0 dB, which add up in power."""
    rows, columns = np.arange(grid.shape[0])[:, None], np.arange(grid.shape[1])
    power = np.full(grid.shape, 1.0)
    for row, column, db in (CLUTTER, *peaks):
        turn = columns - column
        if grid.wraps:
            turn = np.mod(turn + grid.shape[1] / 2, grid.shape[1]) - grid.shape[1] / 2
        power += 10 ** (db / 10) * np.exp(-0.5 * (((rows - row) / 0.9) ** 2 + (turn / 1.1) ** 2))
    values = 10 * np.log10(power) + np.random.default_rng(seed).normal(0, noise, grid.shape)
    return Heatmap(values.astype(np.float32), grid, Reference.NOISE_FLOOR, 0.0, **changes)


def settled(settings=SETTINGS, **changes):
    """A localizer that has seen the empty scene."""
    localizer = PeakLocalizer(settings)
    for seed in range(9):
        assert localizer.localize(scene(seed=seed, **changes)) == []
    return localizer


def test_peaks_are_found_between_bins_strongest_first_and_clutter_is_not():
    found = settled().localize(scene((30.3, 12.6, 25), (44.8, 20.2, 20)))
    assert len(found) == 2 and found[0].score > found[1].score
    for target, place in zip(found, ((30.3, 12.6), (44.8, 20.2)), strict=True):
        range_, azimuth = GRID.position(np.array([place[0]]), np.array([place[1]]))
        assert (target.range, target.azimuth) == pytest.approx((range_[0], azimuth[0]), abs=0.02)
    assert found[0].snr == pytest.approx(25, abs=0.7)


def test_a_target_beside_strong_clutter_is_placed_where_it_is():
    (found,) = settled().localize(scene((20.0, 8.0, 42)))
    assert found.azimuth == pytest.approx(GRID.azimuth[8], abs=0.02)


def test_the_threshold_is_in_db_over_the_background_and_the_same_everywhere():
    peaks = ((30, 12, 14), (44, 20, 18), (10, 25, 22))
    for threshold, count in ((10.0, 3), (16.0, 2), (20.0, 1), (30.0, 0)):
        assert len(settled(replace(SETTINGS, threshold=threshold)).localize(scene(*peaks))) == count
    # one that is weaker than the clutter that it stands in is not seen, though it would be elsewhere
    assert settled().localize(scene((20, 5, 30))) == []


def test_a_peak_near_a_stronger_one_is_dropped_and_the_strongest_are_kept():
    peaks = ((30, 12, 25), (34, 12, 20), (50, 20, 22))  # the first two are 2 m apart
    assert [round(each.snr) for each in settled().localize(scene(*peaks))] == [25, 22]
    assert len(settled(replace(SETTINGS, separation=1.0)).localize(scene(*peaks))) == 3
    (only,) = settled(replace(SETTINGS, max_targets=1)).localize(scene(*peaks))
    assert round(only.snr) == 25


def test_ranges_are_limited_and_heights_taken_out():
    peaks = ((30, 16, 25), (50, 16, 25))
    (near,) = settled(replace(SETTINGS, max_range=20.0)).localize(scene(*peaks))
    (far,) = settled(replace(SETTINGS, min_range=20.0)).localize(scene(*peaks))
    assert near.range < 20 < far.range
    (lowered,) = settled(replace(SETTINGS, max_range=20.0, radar_height=4.0)).localize(scene(*peaks))
    assert (lowered.range, lowered.z) == (pytest.approx(np.sqrt(near.range**2 - 16)), -4.0)


def test_a_grid_that_wraps_has_no_seam():
    grid = PolarGrid(GRID.range, np.arange(32) * 2 * np.pi / 32 - np.pi, wraps=True)
    (found,) = settled(grid=grid).localize(scene((30, 31.6, 25), grid=grid))
    assert np.cos(found.azimuth - (grid.azimuth[31] + 0.6 * 2 * np.pi / 32)) == pytest.approx(1, abs=1e-4)


def test_noise_over_a_quiet_background_is_no_target():
    localizer = PeakLocalizer(SETTINGS)
    values = np.random.default_rng(1).exponential(1.0, (300, *GRID.shape))
    heatmaps = [Heatmap((10 * np.log10(each)).astype(np.float32), GRID, Reference.NOISE_FLOOR, 0.0) for each in values]
    found = sum(len(localizer.localize(each)) for each in heatmaps)
    expected = 295 * GRID.range.size * GRID.azimuth.size * np.exp(-10.0)  # cells beyond 10 dB, of which none are near
    assert 0.4 * expected < found < 1.2 * expected


def test_a_heatmap_is_no_part_of_its_own_background():
    localizer = PeakLocalizer(replace(SETTINGS, background_frames=1, background_warmup=1))
    shown = scene((30, 12, 25))
    assert localizer.localize(scene()) == []
    (found,) = localizer.localize(shown)
    assert found.snr == pytest.approx(25, abs=0.1)
    assert localizer.localize(shown) == []  # it is background by now


def test_the_background_is_forgotten_or_taken_over():
    localizer = settled()
    after = PeakLocalizer(replace(SETTINGS, threshold=12.0), localizer)
    assert len(after.localize(scene((30, 12, 25)))) == 1
    assert PeakLocalizer(replace(SETTINGS, background_frames=8), localizer).localize(scene((30, 12, 25))) == []
    localizer.reset()
    assert localizer.localize(scene((30, 12, 25))) == []
    assert not localizer.needs_velocity


def test_what_cannot_be_used_is_refused(tmp_path):
    broken = scene()
    broken.values[3, 4] = np.nan
    with pytest.raises(ValueError, match=r'heatmap: expected finite values \(dB\), got 1 of 1920 NaN or infinite'):
        settled().localize(broken)
    with pytest.raises(ValueError, match='threshold: expected a number from 3 to 100, got 1.0'):
        PeakLocalizerSettings(threshold=1.0)
    with pytest.raises(ValueError, match=r'max_range: expected more than min_range \(5 m\), got 4'):
        PeakLocalizerSettings(min_range=5.0, max_range=4.0)
    (tmp_path / 'mine.yaml').write_text('separatoin: 3\n')
    with pytest.raises(ValueError, match='did you mean separation'):
        load_peak_settings(tmp_path / 'mine.yaml')
    assert load_peak_settings('mast').radar_height == 3.2
