# SPDX-License-Identifier: Apache-2.0
"""Encoders and losses together, on a toy scene: heatmaps with static clutter, images with coloured boxes."""

import numpy as np
import torch

from radio_visual_ssl.models.attention import attention_maps, find_peaks, held_out_peak_likelihood
from radio_visual_ssl.models.contrastive import MaskedContrastiveLoss
from radio_visual_ssl.models.polar_layers import log_power
from radio_visual_ssl.models.radio_encoder import RadioEncoder
from radio_visual_ssl.models.vicreg import MaskedVicregLoss
from radio_visual_ssl.models.vision_encoder import SmallBackbone, VisionEncoder
from radio_visual_ssl.radar.grid import PolarGrid

GRID = PolarGrid(1 + np.arange(40) * 0.375, np.arcsin(np.linspace(-0.7, 0.7, 32)))
HEIGHT, WIDTH = 24, 32


class ToyScene:
    """Clutter that stands still and flickers by 3 dB, and targets 5 dB weaker than it that the camera sees."""

    def __init__(self, seed, clutter=25):
        self.rng = np.random.default_rng(seed)
        self.clutter = self._bump(*self.rng.uniform((3, 3), (37, 29), (6, 2)).T, np.full(6, clutter))

    def batch(self, frames):
        counts = self.rng.integers(0, 3, frames)
        frame = np.repeat(np.arange(frames), counts)
        row, column = self.rng.uniform((4, 3), (36, 29), (len(frame), 2)).T
        range_, azimuth = GRID.position(row, column)
        power = self.rng.exponential(1.0, (frames, 40, 32))
        flicker = 10 ** (0.1 * self.rng.normal(0, 3, (frames, 6)))
        power += np.einsum('fc,crs->frs', flicker, self.clutter)
        np.add.at(power, frame, self._bump(row, column, 20 + self.rng.normal(0, 3, len(frame))))
        masks = self._masks(range_, azimuth)
        colours = self.rng.uniform(0.3, 1.0, (len(frame), 3, 1, 1))
        images = np.full((frames, 3, HEIGHT, WIDTH), 0.2)
        for index in range(len(frame)):
            images[frame[index]] = np.where(masks[index], colours[index], images[frame[index]])
        covered = np.zeros((frames, 1, HEIGHT, WIDTH))
        np.maximum.at(covered, frame, masks)
        return {
            'heatmaps': log_power(torch.from_numpy(10 * np.log10(power)).float())[:, None],
            'images': torch.from_numpy(images).float(),
            'masks': torch.from_numpy(masks).float(),
            'covered': torch.from_numpy(covered).float(),
            'frame': torch.from_numpy(frame),
            'range': range_,
            'azimuth': azimuth,
        }

    @staticmethod
    def _bump(row, column, decibels):
        down, right = np.arange(40) - row[:, None], np.arange(32) - column[:, None]
        shape = np.exp(-((down[:, :, None] / 1.2) ** 2) - (right[:, None, :] / 1.2) ** 2)
        return 10 ** (decibels / 10)[:, None, None] * shape

    @staticmethod
    def _masks(range_, azimuth):
        u, v, half = 0.5 - azimuth / 1.7, 0.2 + 1.2 / range_, 0.35 / range_ + 0.03
        down, right = (np.arange(HEIGHT) + 0.5) / HEIGHT, (np.arange(WIDTH) + 0.5) / WIDTH
        inside = np.abs(down - v[:, None]) < half[:, None], np.abs(right - u[:, None]) < half[:, None]
        return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def _encoders(seed):
    torch.manual_seed(seed)
    return RadioEncoder(GRID, 1, 24, 12, coordinate_bands=4), VisionEncoder(24, SmallBackbone(6, 12))


def _errors(maps, batch, cells):
    peaks = find_peaks(maps)
    range_, azimuth = cells.decode(peaks.row.numpy(), peaks.column.numpy())
    return range_ - batch['range'], np.rad2deg(azimuth - batch['azimuth'])


def _train(loss_of, parameters, scene, steps=220):
    optimizer = torch.optim.AdamW(parameters, 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        loss = loss_of(scene.batch(24))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def test_masked_learning_points_to_targets_among_stronger_clutter_without_a_bias():
    radio, vision = _encoders(0)
    scene, loss = ToyScene(0), MaskedContrastiveLoss(0.1)

    def queries(batch):
        return vision(batch['images'][batch['frame']], batch['masks'])

    def loss_of(batch):
        # together, so that both are standardised by the same mean and spread
        images = torch.cat((batch['images'][batch['frame']], batch['images']))
        both = vision(images, torch.cat((batch['masks'], 1 - batch['covered'])))
        targets, background = both.split((len(batch['frame']), len(batch['images'])))
        return loss(radio(batch['heatmaps']), targets, batch['frame'], background=background)

    held_out = scene.batch(150)
    with torch.no_grad():
        before = held_out_peak_likelihood(radio(held_out['heatmaps']), queries(held_out), held_out['frame'])
    _train(loss_of, [*radio.parameters(), *vision.parameters()], scene)
    radio.eval()
    vision.eval()
    with torch.no_grad():
        keys = radio(held_out['heatmaps'])
        after = held_out_peak_likelihood(keys, queries(held_out), held_out['frame'])
        maps = attention_maps(keys, queries(held_out), held_out['frame'])
    assert before.superiority < 0.65 < 0.8 < after.superiority
    assert after.gain > before.gain + 1.5
    range_error, azimuth_error = _errors(maps, held_out, radio.cells)
    beam, bin_height = np.rad2deg(np.diff(GRID.azimuth).mean()), np.diff(GRID.range).mean()
    assert np.abs(np.median(range_error)) < bin_height  # half a cell
    assert np.abs(np.median(azimuth_error)) < beam
    assert np.median(np.hypot(range_error / bin_height, azimuth_error / beam)) < 3


def test_without_negatives_targets_are_found_where_little_else_is_seen():
    radio, vision = _encoders(0)
    scene, loss = ToyScene(0, clutter=0), MaskedVicregLoss(0.2)

    def loss_of(batch):
        queries = vision(batch['images'][batch['frame']], batch['masks'])
        return loss(radio(batch['heatmaps']), queries, batch['frame'])

    held_out = scene.batch(100)
    _train(loss_of, [*radio.parameters(), *vision.parameters()], scene, steps=120)
    radio.eval()
    vision.eval()
    with torch.no_grad():
        keys, queries = radio(held_out['heatmaps']), vision(held_out['images'][held_out['frame']], held_out['masks'])
        found = held_out_peak_likelihood(keys, queries, held_out['frame'])
        maps = attention_maps(keys, queries, held_out['frame'])
    range_error, azimuth_error = _errors(maps, held_out, radio.cells)
    beam, bin_height = np.rad2deg(np.diff(GRID.azimuth).mean()), np.diff(GRID.range).mean()
    assert found.superiority > 0.7
    assert np.median(np.hypot(range_error / bin_height, azimuth_error / beam)) < 5
