# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what comes back, and which files and radars are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from radio_visual_ssl.models.checkpoint import (
    METADATA_KEY,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from radio_visual_ssl.models.radar_input import RadarInputSettings
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Reference

GRID = PolarGrid(np.arange(20) * 0.5, np.arcsin(np.linspace(-0.9, 0.9, 12)))
RADAR = RadarGeometry('one', GRID, Reference.NOISE_FLOOR, 28e9, 400e6, 'clutter_removal=static')


def _checkpoint(**changes):
    checkpoint = Checkpoint(
        'localizer',
        torch.nn.Linear(3, 4).state_dict(),
        RADAR,
        RadarInputSettings(('power', 'change'), max_range=7.0),
        {'width': 8, 'dilations': [1, 2]},
        {'threshold': 0.3},
        {'seed': 4, 'bags': {'a': 'hash'}},
    )
    return replace(checkpoint, **changes)


def test_what_is_written_comes_back(tmp_path):
    checkpoint = _checkpoint()
    path = save_checkpoint(tmp_path / 'new' / 'model.safetensors', checkpoint)
    back = load_checkpoint(path, 'localizer')
    assert back.path == path and back.radar.grid == GRID
    assert (back.kind, back.radar_input) == ('localizer', checkpoint.radar_input)
    assert (back.architecture, back.calibration, back.provenance) == (
        checkpoint.architecture,
        checkpoint.calibration,
        checkpoint.provenance,
    )
    assert back.radar == RADAR
    assert back.weights.keys() == checkpoint.weights.keys()
    for name, weight in checkpoint.weights.items():
        assert torch.equal(back.weights[name], weight)


def test_writing_again_replaces_the_file_and_leaves_no_other(tmp_path):
    path = tmp_path / 'model.safetensors'
    save_checkpoint(path, _checkpoint())
    save_checkpoint(path, _checkpoint(calibration={'threshold': 0.6}))
    assert load_checkpoint(path).calibration == {'threshold': 0.6}
    assert [each.name for each in tmp_path.iterdir()] == ['model.safetensors']


def test_a_file_that_cannot_be_written_to_its_end_leaves_the_old_one_whole(tmp_path, largest_file):
    path = save_checkpoint(tmp_path / 'model.safetensors', _checkpoint())
    before = path.read_bytes()
    with largest_file(len(before) // 2), pytest.raises(CheckpointError, match=r'model\.safetensors: cannot be written'):
        save_checkpoint(path, _checkpoint(calibration={'threshold': 0.6}))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ['model.safetensors']


def test_a_value_that_json_does_not_know_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(CheckpointError, match='finite numbers'):
        save_checkpoint(tmp_path / 'model.safetensors', _checkpoint(calibration={'threshold': float('nan')}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('kept', [0, 5, 200, -8])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = save_checkpoint(tmp_path / 'model.safetensors', _checkpoint())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r'model.safetensors: expected a checkpoint.*truncated'):
        load_checkpoint(path)


@pytest.mark.parametrize('name', ['radar_input', 'architecture', 'calibration', 'provenance'])
@pytest.mark.parametrize('value', [None, [1]])
def test_a_field_that_is_no_mapping_is_named(tmp_path, name, value):
    path = save_checkpoint(tmp_path / 'model.safetensors', _checkpoint())
    with safe_open(path, framework='pt') as file:
        content = json.loads(file.metadata()[METADATA_KEY])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    save_file(tensors, path, {METADATA_KEY: json.dumps({**content, name: value})})
    with pytest.raises(CheckpointError, match=rf'model.safetensors: {name}: expected a mapping, got '):
        load_checkpoint(path)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    weights = {'weight': torch.ones(4, 3), 'bias': torch.ones(4)}
    weights['bias'][1] = value
    path = save_checkpoint(tmp_path / 'model.safetensors', _checkpoint(weights=weights))
    with pytest.raises(CheckpointError, match='weights bias: expected finite numbers, got 1 that are NaN or infinite'):
        load_checkpoint(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match='found no file'):
        load_checkpoint(tmp_path / 'none.safetensors')
    path = tmp_path / 'model.pt'
    torch.save({'weights': torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match='other file'):
        load_checkpoint(path)
    save_file({'weights.a': torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match='another safetensors file'):
        load_checkpoint(path)


def test_another_kind_or_format_is_refused(tmp_path):
    path = save_checkpoint(tmp_path / 'model.safetensors', _checkpoint())
    with pytest.raises(CheckpointError, match='expected a checkpoint of kind contrastive, got localizer'):
        load_checkpoint(path, 'contrastive')
    save_file({'weights.a': torch.zeros(3)}, path, {METADATA_KEY: json.dumps({'format': 9, 'kind': 'localizer'})})
    with pytest.raises(CheckpointError, match='expected format 1, got 9'):
        load_checkpoint(path)
    save_file({'weights.a': torch.zeros(3)}, path, {METADATA_KEY: json.dumps({'format': 1, 'kind': 'localizer'})})
    with pytest.raises(CheckpointError, match='radar_input'):
        load_checkpoint(path)
