# SPDX-License-Identifier: Apache-2.0
"""Fusion checkpoints run on recorded frames with their pictures, beside localizers that see the radar alone."""

import json

import numpy as np
import pytest
import torch
from tiny_model import ARCHITECTURE, write_tiny_model
from typer.testing import CliRunner

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.reader import Frame
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.evaluation.backends import load_localizer, models_of
from radio_visual_ssl.evaluation.evaluate import FrameLocalizer, evaluate_bag
from radio_visual_ssl.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from radio_visual_ssl.models.network_localizer import make_network, network_of
from radio_visual_ssl.models.picture_input import PictureInput, PictureInputSettings
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.target import Target

GRID = PolarGrid(np.arange(1.0, 33.0), np.linspace(-1.0, 1.0, 24))
CAMERA_PART = {'picture_width': 8, 'place_width': 8, 'picture': {'size': [12, 16], 'background_frames': 3}}
TYPES = RosbagsTypes()


def heatmap(seed):
    values = np.random.default_rng(seed).normal(0, 3, GRID.shape).astype(np.float32)
    return Heatmap(values, GRID, Reference.NOISE_FLOOR, 0.0, radar='Acme R-7')


def picture(seed):
    return np.random.default_rng(seed).integers(0, 255, (24, 32, 3)).astype(np.uint8)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """A fusion checkpoint of nobody's training, in which both sensors count."""
    settings, architecture = RadarInputSettings(('power', 'change')), {**ARCHITECTURE, **CAMERA_PART}
    torch.manual_seed(1)
    network = make_network('fusion', RadarInput(settings, GRID), architecture)
    with torch.no_grad():
        network.layers[-1].weight *= 100
        network.layers[-1].bias[0] = 4.0  # so that there is something to be found in every frame
        network.camera_to_radio.weight *= 5
    calibration = {'slope': 1.5, 'intercept': 3.0, 'threshold': 0.01}
    radar = RadarGeometry.of(heatmap(0))
    path = tmp_path_factory.mktemp('model') / 'both.safetensors'
    return save_checkpoint(path, Checkpoint('fusion', network.state_dict(), radar, settings, architecture, calibration))


def frames(pictures=True, count=6):
    return [Frame(i, 'radar', heatmap(i), picture(i) if pictures else None) for i in range(count)]


def test_frames_give_what_the_network_says_of_heatmap_and_picture(model):
    localizer = load_localizer('fusion', 'default', model=str(model))
    assert isinstance(localizer, FrameLocalizer) and not localizer.needs_velocity
    checkpoint = load_checkpoint(model)
    network, maps = network_of(checkpoint), RadarInput(checkpoint.radar_input, GRID)
    pictures = PictureInput(PictureInputSettings((12, 16), 3))
    for frame in frames():
        reported, withheld = localizer.localize_frame(frame)
        with torch.inference_mode():
            inputs = (torch.from_numpy(each)[None] for each in (maps(frame.heatmap), pictures(frame.image)))
            best = float(network(*inputs).centre.max())
        assert max(target.score for target in [*reported, *withheld]) == pytest.approx(
            1 / (1 + np.exp(-(1.5 * best + 3.0))), rel=1e-4
        )


def test_the_picture_counts_and_both_backgrounds_are_forgotten(model):
    localizer = load_localizer('fusion', 'default', model=str(model))

    def found(several):
        localizer.reset()
        return [[target.score for target in localizer.localize_frame(frame)[0]] for frame in several]

    with_pictures = found(frames())
    assert found(frames()) == with_pictures
    assert found(frames(pictures=False)) != with_pictures


def test_bags_are_evaluated_with_their_pictures_beside_a_radio_network(model, tmp_path):
    alone = write_tiny_model(tmp_path / 'alone.safetensors', heatmap(0))
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write('/radar/heatmap_info', 0, messages.heatmap_to_info(heatmap(0), 0, 'radar', TYPES))
        for frame in frames():
            stamp = frame.stamp_ns * 10**9
            bag.write('/radar/heatmap', stamp, messages.heatmap_to_image(frame.heatmap, stamp, 'radar', TYPES))
            bag.write('/camera/image_raw', stamp, messages.image_to_message(frame.image, 'rgb8', stamp, 'c', TYPES))
            targets = [Target(8.0, 1.0, in_camera_view=True, in_radar_view=True)]
            bag.write('/ground_truth/targets', stamp, messages.targets_to_message(targets, stamp, 'radar', TYPES))
    models = [str(alone), str(model)]
    chosen = {name: models_of(name, models, ['network', 'fusion', 'cfar']) for name in ('network', 'fusion', 'cfar')}
    assert chosen == {'network': [str(alone)], 'fusion': [str(model)], 'cfar': []}
    localizers = {name: load_localizer(name, 'default', model=chosen[name][0]) for name in ('network', 'fusion')}
    seen = []
    evaluation = evaluate_bag(tmp_path / 'bag', localizers, on_frame=seen.append)
    assert set(evaluation.metrics) == {'network', 'fusion'}
    localizers['fusion'].reset()
    for evaluated, frame in zip(seen, frames(), strict=True):
        wanted = [target.score for target in localizers['fusion'].localize_frame(frame)[0]]
        assert [target.score for target in evaluated.detections['fusion']] == pytest.approx(wanted)
    shifted = evaluate_bag(tmp_path / 'bag', {'fusion': localizers['fusion']}, image_offset_s=1.0)
    command = ['evaluate', str(tmp_path / 'bag'), '--backend', 'fusion', '--model', str(model), '--camera-offset', '1']
    done = CliRunner().invoke(app, [*command, '--json'])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told['ap_2m'] == pytest.approx(shifted.metrics['fusion'].ap_2m) != evaluation.metrics['fusion'].ap_2m


def test_checkpoints_of_the_other_kind_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match='expected a checkpoint of kind localizer, got fusion'):
        load_localizer('network', 'default', model=str(model))
    alone = write_tiny_model(tmp_path / 'alone.safetensors', heatmap(0))
    with pytest.raises(ValueError, match='expected a checkpoint of kind fusion, got localizer'):
        load_localizer('fusion', 'default', model=str(alone))
    with pytest.raises(ValueError, match="expected a checkpoint of kind fusion with back end 'fusion', got none"):
        load_localizer('fusion', 'default')
