# SPDX-License-Identifier: Apache-2.0
"""Frames for the localizer: which are used, what the camera sees of them, and what is not learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_visual_ssl.learning.localizer_data import (
    LabelledFrames,
    SectorSettings,
    encode_batch,
    frame_loader,
    in_sector,
    learn_sectors,
    truth_labels,
)
from radio_visual_ssl.learning.training_run import TrainingError
from radio_visual_ssl.learning.truth import Truth
from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.radar_input import RadarInputSettings
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.target import Target

INPUT = RadarInputSettings(max_range=18.0)


def _frames(recording, labels, sectors=None, **settings):
    sectors = sectors or {labels.group: np.array([0.0, 18.0, -1.0, 1.0])}
    return LabelledFrames([recording], [labels], INPUT, sectors, **settings)


def test_only_known_frames_are_used(scenes):
    recording, labels = scenes.recording(1)
    known = np.zeros(40, bool)
    known[[3, 20, 30]] = True
    frames = _frames(recording, replace(labels, known=known))
    assert len(frames) == 3
    assert frames.kept == np.isin(labels.frame, [3, 20, 30]).sum()
    assert len(_frames(recording, replace(labels, known=known), parts=(0.5, 1.0))) == 2
    with pytest.raises(TrainingError, match='scene_1: expected frames of which it is known'):
        _frames(recording, replace(labels, known=np.zeros(40, bool)))


def test_a_batch_holds_maps_and_labels_of_its_frames(scenes):
    recording, labels = scenes.recording(1)
    batch = _frames(recording, labels).__getitems__([20, 39, 5])
    assert tuple(batch.maps.shape) == (3, 3, 37, 24)
    for place, index in enumerate((20, 39, 5)):
        own = labels.of_frame(index)
        np.testing.assert_array_equal(batch.range[batch.frame == place], labels.range[own])
        np.testing.assert_array_equal(batch.azimuth[batch.frame == place], labels.azimuth[own])
        for range_, azimuth in zip(labels.range[own], labels.azimuth[own], strict=True):
            row, column = (round(float(each)) for each in recording.grid.index(range_, azimuth))
            assert batch.maps[place, 0, row, column] > 5


def test_a_loader_gives_each_frame_once_in_an_order_of_seed_and_epoch(scenes):
    loader = frame_loader(_frames(*scenes.recording(1)), 16, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        loader.batch_sampler.set_epoch(epoch)
        orders.append(torch.cat([batch.number for batch in loader]).tolist())
    assert sorted(orders[0]) == list(range(40)) == sorted(orders[1])
    assert orders[0] == orders[2] != orders[1]


def test_the_sector_is_learned_from_labels_and_outliers_do_not_widen_it(scenes):
    _, labels = scenes.recording(0, 40)
    random = np.random.default_rng(0)
    count = 4000
    azimuth = random.uniform(-0.4, 0.3, count)
    azimuth[:8] = 1.2
    many = replace(
        labels,
        frame=np.sort(random.integers(0, 40, count)),
        instance=np.zeros(count, int),
        range=random.uniform(3, 15, count),
        azimuth=azimuth,
        variance=np.ones((count, 2)),
        confidence=np.ones(count),
        kept=np.ones(count, bool),
        label=np.full(count, ''),
    )
    other = replace(many, group='turned', azimuth=azimuth + 0.2)
    few = replace(labels, group='rare')
    sectors = learn_sectors([many, other, few], SectorSettings())
    assert sectors['pose'] == pytest.approx([3, 15, -0.4, 0.3], abs=0.1)
    assert sectors['turned'] == pytest.approx([3, 15, -0.2, 0.5], abs=0.1)
    assert sectors['rare'] == pytest.approx([3, 15, -0.4, 0.5], abs=0.1)
    behind = np.where(azimuth < 0, azimuth + np.pi, azimuth - np.pi)  # across the cut of a radar that sees all round
    sector = learn_sectors([replace(many, azimuth=behind)], SectorSettings())['pose']
    assert sector[3] - sector[2] == pytest.approx(0.7, abs=0.1)
    looked = np.array([-np.pi + 0.2, np.pi - 0.3, -np.pi + 0.5, np.pi - 0.6, 0.0])
    assert in_sector(10.0, looked, sector).tolist() == [True, True, False, False, False]
    assert in_sector(torch.tensor(10.0), torch.from_numpy(looked), sector).tolist() == [True, True, False, False, False]
    with pytest.raises(TrainingError, match='labels: expected at least one that was kept'):
        learn_sectors([replace(labels, kept=np.zeros(len(labels), bool))], SectorSettings())


def test_cells_out_of_sight_and_around_dropped_labels_are_left_out(scenes):
    recording, labels = scenes.recording(0)
    kept = labels.frame != 10
    sector = {'pose': np.array([2.0, 15.0, -0.6, 0.6])}
    batch = _frames(recording, replace(labels, kept=kept), sector).__getitems__([9, 10])
    cells = CellGrid.of(scenes.grid).convolved(5, 2, 2)
    maps, weight = encode_batch(batch, cells, 0.75, 0.7, 2.0, 0.0)
    range_, azimuth = cells.range[:, None], cells.azimuth[None]
    seen = (range_ >= 2) & (range_ <= 15) & (np.abs(azimuth) <= 0.6)
    np.testing.assert_array_equal(weight[0], seen)
    (own,) = labels.of_frame(10)
    distance = np.hypot(
        range_ - labels.range[own], np.minimum(range_, labels.range[own]) * (azimuth - labels.azimuth[own])
    )
    np.testing.assert_array_equal(weight[1], seen & (distance > 2 + 2 * max(0.2, 0.02 * labels.range[own])))
    assert maps.centre_weight.sum() == 1 and maps.centre_weight[1].sum() == 0


def test_bumps_are_wider_by_what_labels_may_be_off_up_to_a_limit(scenes):
    recording, labels = scenes.recording(0)
    unsure = replace(labels, variance=np.tile([1.5**2, 1e-6], (len(labels), 1)))
    cells = CellGrid.of(scenes.grid).convolved(5, 2, 2)

    def centre(labels, most):
        batch = _frames(recording, labels, {'pose': np.array([2.0, 15.0, -0.6, 0.6])}).__getitems__([9, 10])
        return encode_batch(batch, cells, 0.75, 0.7, 2.0, most)[0].centre

    torch.testing.assert_close(centre(unsure, 0.0), centre(labels, 0.0))
    exact = replace(labels, variance=np.full((len(labels), 2), 1e-12))
    assert centre(unsure, 5.0).sum() > centre(unsure, 1.0).sum() > 1.2 * centre(exact, 5.0).sum()


def test_truth_becomes_labels_of_what_the_camera_sees(scenes):
    recording, _ = scenes.recording(0, 3)
    seen = Target(9.0, 3.0, z=-3.0, size=(4, 2, 2), visibility=0.5, in_camera_view=True)
    hidden = Target(12.0, 0.0, size=(3, 1, 1), visibility=0.0, in_camera_view=True)
    beside = Target(5.0, 6.0, visibility=float('nan'))
    far = Target(500.0, 0.0, in_camera_view=True)
    truth = Truth([[seen, hidden, far], None, [beside]], [[], [], []], np.zeros(3, bool))
    labels = truth_labels([recording], [truth]).of(recording)
    assert labels.known.tolist() == [True, False, True]
    assert labels.frame.tolist() == [0, 0, 2]
    assert labels.kept.tolist() == [True, False, False]
    assert (labels.range[0], labels.azimuth[0]) == (seen.slant_range, seen.cone_angle)
    # where it is, is known of the one that counts; how far one reaches, of those that do not
    assert np.sqrt(labels.variance[:, 0]).tolist() == pytest.approx([0.1, 1.5, 0.1])


def test_truth_behind_a_radar_that_turns_round_stays_behind_it(scenes):
    recording, _ = scenes.recording(0, 3)
    grid = PolarGrid(scenes.grid.range, np.linspace(-np.pi, np.pi, 36, endpoint=False), wraps=True)
    behind = Target(-9.0, 3.0, z=-3.0, size=(4, 2, 2), visibility=0.5, in_camera_view=True)
    truth = Truth([[behind], None, None], [[], [], []], np.zeros(3, bool))
    backwards = PolarGrid(scenes.grid.range, np.linspace(0.6, 1.4, 24) * np.pi)
    for each in (grid, backwards):
        labels = truth_labels([replace(recording, grid=each)], [truth]).of(recording)
        assert (labels.range[0], labels.azimuth[0]) == pytest.approx((behind.slant_range, np.pi - np.arctan(1 / 3)))


def test_what_is_near_a_dropped_label_is_left_out_from_wherever_its_azimuth_is_counted(scenes):
    recording, labels = scenes.recording(0)
    cells = CellGrid.of(PolarGrid(scenes.grid.range, scenes.grid.azimuth + np.pi)).convolved(5, 2, 2)
    weights = []
    for turns in (np.pi, -np.pi):
        dropped = replace(labels, azimuth=labels.azimuth + turns, kept=np.zeros(len(labels), bool))
        batch = _frames(recording, dropped, {'pose': np.array([2.0, 15.0, 2.5, 3.8])}).__getitems__([9, 10])
        weights.append(encode_batch(batch, cells, 0.75, 0.7, 2.0, 2.0)[1])
    assert 0 < weights[0].sum() < torch.ones_like(weights[0]).sum()
    torch.testing.assert_close(*weights)
