# SPDX-License-Identifier: Apache-2.0
"""ONNX files of localizers: what another runtime gets of them."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_visual_ssl.bags.messages import heatmap_to_messages
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.models.checkpoint import CheckpointError, load_checkpoint
from radio_visual_ssl.models.localizer import LocalizerNetwork, LocalizerOutput
from radio_visual_ssl.models.network_localizer import NetworkLocalizer
from radio_visual_ssl.models.radar_input import RadarInput
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

from tiny_model import ARCHITECTURE, write_tiny_model  # noqa: E402

from radio_visual_ssl.learning.export import ExportError, export_localizer  # noqa: E402
from radio_visual_ssl.radar.geometry import OtherRadarError, RadarGeometry  # noqa: E402

SECTOR = PolarGrid(np.arange(1.0, 33.0), np.arcsin(np.linspace(-0.9, 0.9, 24)))
CIRCLE = PolarGrid(np.arange(1.0, 33.0), np.linspace(-np.pi, np.pi, 24, endpoint=False), wraps=True)


def heatmap(seed=0, grid=SECTOR, **changes):
    values = np.random.default_rng(seed).normal(3, 6, grid.shape).astype(np.float32)
    return Heatmap(values, grid, **{'noise_floor': 0.0, 'radar': 'acme', **changes})


@pytest.fixture(params=[SECTOR, CIRCLE], ids=['sector', 'circle'])
def model(request, tmp_path):
    return write_tiny_model(tmp_path / 'tiny.safetensors', heatmap(grid=request.param))


@pytest.fixture
def bag(tmp_path):
    types = RosbagsTypes()
    with BagWriter(tmp_path / 'acme.bag') as writer:
        for index in range(4):
            stamp = 10**9 + index * 10**8
            image, info = heatmap_to_messages(heatmap(index), stamp, 'radar', types)
            writer.write('/radar/heatmap_info', stamp, info)
            writer.write('/radar/heatmap', stamp, image)
    return tmp_path / 'acme.bag'


def test_another_runtime_finds_the_targets_that_torch_finds(model, tmp_path):
    report = export_localizer(model, tmp_path / 'out/tiny.onnx')
    assert report.max_difference <= 1e-4
    assert report.path.stat().st_size == report.size
    checkpoint = load_checkpoint(model)
    localizer, maps = NetworkLocalizer(checkpoint=checkpoint), RadarInput(checkpoint.radar_input, checkpoint.radar.grid)
    session = onnxruntime.InferenceSession(report.path)
    for seed in range(3):
        shown = heatmap(seed, checkpoint.radar.grid)
        output = session.run(None, {'maps': maps(shown)[None]})
        found = localizer.targets(LocalizerOutput(*map(torch.from_numpy, output)), shown)
        expected = localizer.localize(shown)
        assert expected
        for one, other in zip(found, expected, strict=True):
            assert (one.x, one.y, one.score) == pytest.approx((other.x, other.y, other.score), abs=1e-4)


def test_the_file_takes_any_batch_and_tells_radar_grid_channels_and_calibration(tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap(bandwidth=4e8, formation='beamformer=fft'))
    file = onnx.load(export_localizer(model, tmp_path / 'tiny.onnx').path)
    for entry in (*file.graph.input, *file.graph.output):
        assert entry.type.tensor_type.shape.dim[0].dim_param == 'batch'
    told = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert (told['radar'], told['reference'], told['bandwidth']) == ('acme', 'ARBITRARY', 4e8)
    assert told['formation'] == 'beamformer=fft'
    assert told['range'] == SECTOR.range.tolist()
    assert told['azimuth'] == pytest.approx(SECTOR.azimuth.tolist())
    assert told['input_channels'] == ['power', 'change']
    assert told['calibration']['slope'] == 1.5
    assert told['cell_range'][:2] == [1.0, 3.0]
    assert told['provenance'] == {'seed': 1}


def test_classes_are_one_more_output_with_their_names(tmp_path):
    network = LocalizerNetwork(SECTOR, 2, **ARCHITECTURE, classes=('car', 'van'))
    changes = {'weights': network.state_dict(), 'architecture': {**ARCHITECTURE, 'classes': ['car', 'van']}}
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap(), **changes)
    report = export_localizer(model, tmp_path / 'tiny.onnx')
    file = onnx.load(report.path)
    assert [each.name for each in file.graph.output] == ['centre', 'offset', 'log_variance', 'class']
    assert [dim.dim_value for dim in file.graph.output[3].type.tensor_type.shape.dim[1:]] == [2, *network.cells.shape]
    told = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert told['classes'] == ['car', 'van'] and told['calibration']['class_temperature'] == 1.0
    maps = np.random.default_rng(0).random((1, 2, *SECTOR.shape), np.float32)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(maps)).class_logit.numpy()
    np.testing.assert_allclose(
        onnxruntime.InferenceSession(report.path).run(['class'], {'maps': maps})[0], expected, atol=1e-4
    )
    plain = onnx.load(export_localizer(write_tiny_model(tmp_path / 'p', heatmap()), tmp_path / 'plain.onnx').path)
    assert [each.name for each in plain.graph.output] == ['centre', 'offset', 'log_variance']


def test_heatmaps_of_a_bag_are_compared_too(bag, tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap())
    report = export_localizer(model, tmp_path / 'tiny.onnx', bag=bag, frames=3)
    assert report.real_inputs == 3
    assert report.max_difference_real is not None
    assert report.max_difference_real <= report.to_json()['max_difference'] <= 1e-4


def test_a_bag_of_another_radar_is_refused_and_nothing_written(bag, tmp_path):
    radar = replace(RadarGeometry.of(heatmap()), name='other')
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap(), radar=radar)
    with pytest.raises(
        OtherRadarError, match=r"acme\.bag: expected the radar that .*; radar: expected 'other', got 'acme'"
    ):
        export_localizer(model, tmp_path / 'tiny.onnx', bag=bag)
    assert not (tmp_path / 'tiny.onnx').exists()


def test_what_is_no_localizer_is_refused(tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap(), kind='contrastive')
    with pytest.raises(CheckpointError, match='expected a checkpoint of kind localizer, got contrastive'):
        export_localizer(model, tmp_path / 'tiny.onnx')
    model.write_text('no checkpoint')
    with pytest.raises(CheckpointError, match=r'tiny\.safetensors: expected a checkpoint'):
        export_localizer(model, tmp_path / 'tiny.onnx')


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap())
    (tmp_path / 'taken').write_text('')
    with pytest.raises(ExportError, match=r'taken/tiny\.onnx: cannot be written'):
        export_localizer(model, tmp_path / 'taken/tiny.onnx')


def command(*arguments, before=''):
    code = f'import sys\n{before}\nfrom radio_visual_ssl.cli import main\nmain()'
    return subprocess.run(
        [sys.executable, '-c', code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_verb_prints_how_near_the_outputs_are(tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap())
    result = command('export', model, '--out', tmp_path / 'tiny.onnx', '--json')
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report['path'] == str(tmp_path / 'tiny.onnx')
    assert 0 <= report['max_difference'] <= 1e-4
    assert 'differ by at most' in result.stderr


def test_a_missing_package_is_named(tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap())
    result = command('export', model, '--out', tmp_path / 'tiny.onnx', before='sys.modules["onnx"] = None')
    assert result.returncode == 1
    assert result.stderr.startswith('error: export: expected the Python package onnx, found none; pip install onnx')
