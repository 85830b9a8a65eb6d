# SPDX-License-Identifier: Apache-2.0
"""Variations of frames: labels and sectors go where the data go."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_visual_ssl.learning.localizer_data import LabelledBatch
from radio_visual_ssl.learning.localizer_variation import VariationSettings, vary
from radio_visual_ssl.radar.grid import PolarGrid

STILL = VariationSettings(mirror=0.0, gain_db=0.0)


def _batch(grid, count=8, seed=0):
    """Each frame has one label, in a bin of its own that stands out."""
    random = np.random.default_rng(seed)
    row, column = random.integers(6, 30, count), random.integers(5, 18, count)
    maps = torch.full((count, 2, *grid.shape), math.log(2))
    maps[range(count), :, row, column] = 6.0
    range_, azimuth = grid.position(row, column)
    return LabelledBatch(
        maps,
        torch.tensor([[1.0, 19.0, -0.7, 0.5]], dtype=torch.float64).repeat(count, 1),
        torch.arange(count),
        torch.from_numpy(range_),
        torch.from_numpy(azimuth),
        torch.full((count, 2), 0.1, dtype=torch.float64),
        torch.ones(count),
        torch.ones(count, dtype=torch.bool),
        torch.arange(count),
    )


def _vary(batch, grid, seed=1, **settings):
    return vary(batch, grid, ('power', 'moving'), replace(STILL, **settings), torch.Generator().manual_seed(seed))


def _assert_labels_on_targets(batch, grid):
    for number in range(len(batch.frame)):
        frame = batch.maps[batch.frame[number], 0]
        peak = divmod(int(frame.argmax()), frame.shape[1])
        place = grid.index(batch.range[number].numpy(), batch.azimuth[number].numpy())
        assert [float(each) for each in place] == pytest.approx(peak, abs=1e-6)


def test_a_mirror_exchanges_left_and_right(scenes):
    batch = _batch(scenes.grid)
    varied = _vary(batch, scenes.grid, mirror=1.0)
    torch.testing.assert_close(varied.azimuth, -batch.azimuth)
    assert varied.sector[0].tolist() == [1.0, 19.0, -0.5, 0.7]
    _assert_labels_on_targets(varied, scenes.grid)
    some = _vary(batch, scenes.grid, mirror=0.5)
    mirrored = some.azimuth == -batch.azimuth
    assert 0 < mirrored.sum() < 8
    assert torch.equal(some.sector[:, 2] == -0.5, mirrored)


def test_a_grid_that_is_not_symmetric_is_not_mirrored(scenes):
    grid = PolarGrid(scenes.grid.range, scenes.grid.azimuth + 0.05)
    batch = _batch(grid)
    assert torch.equal(_vary(batch, grid, mirror=1.0).maps, batch.maps)


def test_a_shift_moves_labels_and_sector(scenes):
    batch = _batch(scenes.grid)
    varied = _vary(batch, scenes.grid, shift=(5, 4))
    assert len(varied.frame) == 8
    assert not torch.allclose(varied.range, batch.range) and not torch.allclose(varied.azimuth, batch.azimuth)
    _assert_labels_on_targets(varied, scenes.grid)
    moved = varied.range - batch.range
    torch.testing.assert_close(varied.sector[:, 1] <= 19.5, torch.ones(8, dtype=torch.bool))
    torch.testing.assert_close(varied.sector[:, 0], (1.0 + moved).clamp(0, 19.5))


def test_what_is_shifted_out_has_no_label(scenes):
    varied = _vary(_batch(scenes.grid, 64), scenes.grid, shift=(30, 0))
    assert 0 < len(varied.frame) < 64
    _assert_labels_on_targets(varied, scenes.grid)


def test_a_shift_on_a_circle_goes_round():
    grid = PolarGrid(1 + np.arange(40) * 0.5, np.linspace(-np.pi, np.pi, 24, endpoint=False), wraps=True)
    batch = _batch(grid, 32)
    varied = _vary(batch, grid, shift=(0, 11))
    assert len(varied.frame) == 32
    for number in range(32):
        column = int(varied.maps[number, 0].argmax()) % 24
        turn = float(varied.azimuth[number]) - grid.azimuth[column]
        assert math.remainder(turn, 2 * math.pi) == pytest.approx(0, abs=1e-9)
        step = math.remainder(float(varied.azimuth[number] - batch.azimuth[number]), 2 * math.pi)
        turned = [math.remainder(float(each), 2 * math.pi) for each in (varied.sector - batch.sector)[number, 2:]]
        assert turned == pytest.approx([step, step], abs=1e-9)


def test_a_shift_moves_the_sector_of_a_radar_that_looks_backwards_wherever_its_angles_are_counted_from(scenes):
    grid = PolarGrid(scenes.grid.range, scenes.grid.azimuth + np.pi)
    ahead = _vary(_batch(scenes.grid), scenes.grid, shift=(0, 4))
    batch = _batch(grid)
    for turns in (np.pi, -np.pi):
        there = torch.tensor([0, 0, turns, turns])
        varied = _vary(batch._replace(sector=_batch(scenes.grid).sector + there), grid, shift=(0, 4))
        torch.testing.assert_close(varied.sector, ahead.sector + torch.tensor([0, 0, np.pi, np.pi]))


def test_gain_changes_what_stands_out_by_decibels_and_leaves_the_noise(scenes):
    batch = _batch(scenes.grid)
    varied = _vary(batch, scenes.grid, gain_db=3.0)
    noise = batch.maps == math.log(2)
    torch.testing.assert_close(varied.maps[noise], batch.maps[noise])
    steps = (varied.maps - batch.maps)[~noise].view(8, 2)
    assert torch.allclose(steps[:, 0], steps[:, 1]) and 0.1 < steps.std() < 2


def test_velocities_keep_their_sign_and_size_whatever_the_gain(scenes):
    batch = _batch(scenes.grid)
    batch.maps[:, 1] = torch.where(batch.maps[:, 1] == 6, -1.5, 0.0)
    varied = vary(
        batch, scenes.grid, ('power', 'velocity'), replace(STILL, gain_db=3.0, shift=(9, 0)), torch.Generator()
    )
    assert sorted(varied.maps[:, 1].unique().tolist()) == [-1.5, 0.0]  # what is shifted in has none
    assert varied.maps[:, 0].max() != 6


def test_nothing_is_learned_in_what_is_cut_out(scenes):
    batch = _batch(scenes.grid, 64)
    varied = _vary(batch, scenes.grid, cut_out=1.0, cut_size=0.8)
    peak = varied.maps[:, 0].flatten(1).amax(dim=1)
    assert 0 < varied.kept.sum() < 64
    assert torch.equal(varied.kept, peak > 5)
    blank = varied.maps[:, 1] == 0
    assert blank.any()
    assert torch.all(varied.maps[:, 0][blank] == math.log(2))


def test_the_same_generator_gives_the_same_frames(scenes):
    settings = {'mirror': 0.5, 'shift': (3, 3), 'gain_db': 2.0, 'noise': 0.1, 'cut_out': 0.5}
    one, other, another = (_vary(_batch(scenes.grid), scenes.grid, seed, **settings) for seed in (5, 5, 6))
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one.maps, another.maps)


@pytest.mark.parametrize('change', [{'mirror': 1.5}, {'gain_db': -1.0}, {'shift': (1, -1)}, {'cut_size': 2.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        VariationSettings(**change)
