# SPDX-License-Identifier: Apache-2.0
"""Masks are shown before anything is learned from them, and made by the settings that are given."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip('torch')

from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.cli import app
from radio_visual_ssl.learning.label_set import LabelSet
from radio_visual_ssl.models.checkpoint import load_checkpoint
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

FRAMES = 24
SCENE = 'parking_lot_0001'  # in which something moves


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lots')
    plan = DatasetPlan(
        'parking_lot', 'ofdm_28ghz_100mhz_8rx', 2 * FRAMES, instances=2, rate=1, seed=3, image_size=(160, 120),
        overrides=('movers_present=[2, 4]',),
    )  # fmt: skip
    generate(plan, folder / 'set')
    return folder / 'set', folder / 'cache'


@pytest.fixture
def run(data):
    def invoke(verb, *words):
        result = CliRunner().invoke(app, [verb, *map(str, words), '--cache', str(data[1]), '--json'])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1]), result.stderr

    return invoke


def test_figures_are_those_of_the_recorded_masks(data, run):
    told, shown = run('masks', data[0], '--masks', '/camera/mask')
    assert sorted(told['bags']) == ['parking_lot_0000', SCENE]
    reader, sizes, truncated, empty = BagReader(data[0] / SCENE), [], 0, 0
    for _, message in reader.messages('/camera/mask'):
        numbers = np.frombuffer(message.data, {'mono8': np.uint8, 'mono16': np.uint16}[message.encoding])
        numbers = numbers.reshape(message.height, message.width)
        border = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
        present = set(np.unique(numbers)) - {0}
        sizes += [np.mean(numbers == each) for each in present]
        truncated += len(present & set(border))
        empty += not present
    figures = told['bags'][SCENE]
    assert (figures['pictures'], figures['segmented']) == (FRAMES, FRAMES)
    assert (figures['masks'], figures['empty'], figures['truncated']) == (len(sizes), empty, truncated)
    assert figures['median_area'] == pytest.approx(np.median(sizes))
    assert len(sizes) > FRAMES
    assert SCENE in shown


def test_settings_change_what_is_segmented(data, run):
    def masks(*settings):
        words = [word for setting in settings for word in ('--mask-setting', setting)]
        return run('masks', data[0] / SCENE, *words)[0]['bags'][SCENE]

    usual, large = masks(), masks('smallest=0.01', 'shadows=keep')
    assert usual['masks'] > large['masks'] > 0
    assert large['median_area'] > usual['median_area']
    assert masks('smallest=0.9') == {**usual, 'masks': 0, 'empty': FRAMES, 'median_area': None} | dict.fromkeys(
        ('truncated', 'merged', 'split', 'occluded'), 0
    )


def test_the_sheet_shows_pictures_with_their_masks_drawn_over(data, run, tmp_path):
    for count, rows in ((4, 1), (5, 2)):
        run('masks', data[0], '--masks', '/camera/mask', '--out', tmp_path / f'{count}.png', '--count', count)
        height, width = cv2.imread(str(tmp_path / f'{count}.png')).shape[:2]
        assert width == 1360
        assert height == pytest.approx(rows * (340 * 120 / 160 + 30), abs=2)
    # in the colour of the first mask, which no picture has
    sheet = cv2.imread(str(tmp_path / '4.png')).astype(int)
    assert np.sum(np.abs(sheet - (0xE9, 0xB4, 0x56)).max(axis=2) < 12) > 50


def test_settings_that_there_are_not_are_named(data):
    words = ['masks', str(data[0]), '--mask-setting', 'small=1']
    result = CliRunner().invoke(app, words)
    assert '--mask-setting small: expected one of method, shadows' in str(result.exception)
    result = CliRunner().invoke(app, [*words[:-1], 'smallest=3'])
    assert 'smallest: expected a share from 0 to 1, got 3' in str(result.exception)


def test_labels_and_encoders_are_of_the_masks_that_were_asked_for_and_say_so(data, run, tmp_path):
    asked = ('--mask-setting', 'smallest=0.0003')
    (masks, _), out = run('masks', data[0] / SCENE, *asked), tmp_path / 'labels.safetensors'
    told, _ = run('label', data[0] / SCENE, *asked, '--method', 'background_peak', '--least-masks', 1, '--out', out)
    labels = LabelSet.load(out)
    assert told['masks'] == masks['bags'][SCENE]['masks']
    assert labels.provenance['mask_settings'] == ['smallest=0.0003']
    out = tmp_path / 'mcl.safetensors'
    run(
        'train', data[0] / SCENE, '--validation', data[0] / 'parking_lot_0000', *asked, '--out', out,
        *('--set', 'run.epochs=1', '--set', 'steps=1', '--set', 'scenes=1', '--set', 'frames_per_scene=4'),
    )  # fmt: skip
    assert load_checkpoint(out).provenance['mask_settings'] == ['smallest=0.0003']
