# SPDX-License-Identifier: Apache-2.0
"""The train command names what is wrong before it opens a bag, and takes the parts of data sets as they are meant."""

import json

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from typer.testing import CliRunner

from radio_visual_ssl.cli import app
from radio_visual_ssl.commands.learn_train import _parts
from radio_visual_ssl.learning.label_set import LabelSet
from radio_visual_ssl.learning.truth import TRUE_MASKS_TOPIC
from radio_visual_ssl.models.checkpoint import load_checkpoint


def command(*arguments):
    """Runs the train command."""
    return CliRunner().invoke(app, ['train', *map(str, arguments)])


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--set', 'foo=1'], 'contrastive with --set foo=1: foo: expected one of objective'),
        (['--set', 'run.epochs=many'], "contrastive with --set run.epochs=many: run: epochs: expected int, got 'many'"),
        (['--truth', '--set', 'scenes=2'], 'localizer with --set scenes=2: scenes: expected one of radar_input'),
        (['--config', 'nothing_like_it'], 'nothing_like_it: expected a YAML file or a name in config/learning/'),
        (['--labels', 'text'], 'text: expected a whole label file (.safetensors)'),
        (['--labels', 'weights'], 'weights: expected labels of this package, got another safetensors file'),
        (['--labels', 'absent'], 'absent: expected a label file, found none'),
        (['--label-share', '0.1'], '--label-share: expected --labels or --truth with it, got neither'),
        (['--truth', '--label-share', '1.5'], 'label_share: expected a share from above 0 to 1, got 1.5'),
        (['--truth', '--fusion'], '--fusion: expected --truth and --camera-pose with it'),
        (['--fusion', '--camera-pose', 'mast'], '--fusion: expected --truth and --camera-pose with it'),
        (['--labels', 'weights', '--truth'], '--labels, --truth: expected one of the two, got both'),
        (['--out', 'folder'], '--out: expected the path of a file, got the folder folder'),
        (['--out', 'text/model.safetensors'], '--out: expected the path of a file in a folder, got text/model'),
        ([], 'no_bag'),
    ],
)
def test_wrong_input_is_named_before_bags_are_opened(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text').write_text('no labels', encoding='utf-8')
    (tmp_path / 'folder').mkdir()
    save_file({'x': np.zeros(1)}, tmp_path / 'weights')
    result = command('no_bag', '--out', 'model.safetensors', *options)
    assert result.exit_code == 1
    assert isinstance(result.exception, OSError | ValueError)
    assert said in str(result.exception)
    assert not (tmp_path / 'model.safetensors').exists()


def test_bags_for_testing_are_neither_trained_on_nor_choose_the_epoch(tmp_path):
    splits = [
        {'bag': name, 'split': split} for name, split in zip('abcd', ('train', 'val', 'test', 'train'), strict=True)
    ]
    for entry in splits:
        (tmp_path / entry['bag']).mkdir()
    (tmp_path / 'dataset.yaml').write_text(json.dumps({'bags': splits}), encoding='utf-8')
    other = tmp_path / 'other'
    training, validation = _parts([tmp_path, other], [])
    assert (training, validation) == ([tmp_path / 'a', tmp_path / 'd', other], [tmp_path / 'b'])
    assert _parts([tmp_path], [other]) == ([tmp_path / 'a', tmp_path / 'd'], [other])


def test_a_run_is_not_resumed_with_other_masks_and_the_model_tells_which_it_has_seen(tmp_path):
    size = ['--frames', '60', '--instances', '2', '--rate', '2', '--image-size', '160x120']
    size += ['--set', 'movers_present=[3,4]']
    simulated = ['simulate', 'parking_lot', '--radar', 'ofdm_28ghz_100mhz_8rx', *size, '--out', str(tmp_path / 'set')]
    assert CliRunner().invoke(app, simulated).exit_code == 0
    out = tmp_path / 'model.safetensors'
    bags = sorted(path.parent for path in (tmp_path / 'set').glob('*/metadata.yaml'))
    few = ('run.epochs=1', 'steps=2', 'doubtful=true', 'least_mask=0.1')
    short = [*bags, '--cache', tmp_path / 'cache', '--out', out, *(f'--set={each}' for each in few)]
    made = command(*short, '--masks', TRUE_MASKS_TOPIC)
    assert made.exit_code == 0, made.output
    told = load_checkpoint(out).provenance
    assert (told['masks'], told['wrong_masks']) == (TRUE_MASKS_TOPIC, 0.0)
    again = command(*short, '--masks', TRUE_MASKS_TOPIC, '--wrong-masks', '0.5', '--resume')
    assert again.exit_code == 1
    assert 'wrong_masks: expected 0.0 to go on, got 0.5' in str(again.exception)


@pytest.fixture(scope='module')
def small_set(tmp_path_factory):
    """A data set of six scenes in three parts, its cache, and labels by the camera's calibration."""
    folder = tmp_path_factory.mktemp('small')
    size = ['--frames', '120', '--instances', '6', '--rate', '2', '--image-size', '160x120']
    size += ['--set', 'movers_present=[3,4]']
    simulated = ['simulate', 'parking_lot', '--radar', 'ofdm_28ghz_100mhz_8rx', *size, '--out', str(folder / 'set')]
    made = CliRunner().invoke(app, simulated)
    assert made.exit_code == 0, made.output
    options = [
        '--method',
        'ground_plane',
        '--camera-pose',
        'mast',
        '--cache',
        folder / 'cache',
        '--out',
        folder / 'labels',
    ]
    labelled = CliRunner().invoke(app, ['label', str(folder / 'set'), *map(str, options)])
    assert labelled.exit_code == 0, labelled.output
    return folder


def trained(folder, out, *options):
    """Provenance of a localizer of one epoch."""
    made = command(
        folder / 'set',
        '--camera-pose',
        'mast',
        '--cache',
        folder / 'cache',
        '--set',
        'run.epochs=1',
        '--out',
        out,
        *options,
    )
    assert made.exit_code == 0, made.output
    return load_checkpoint(out).provenance


def test_localizers_learn_from_the_labels_or_from_the_truth_as_they_are_told(small_set, tmp_path):
    labels, out = LabelSet.load(small_set / 'labels'), tmp_path / 'localizer.safetensors'
    own = trained(small_set, out, '--labels', small_set / 'labels', '--seed', 7)
    assert (own['labels'], own['labels_content']) == ('ground_plane', labels.content)
    assert own['settings']['run'] | {'seed': 7, 'epochs': 1} == own['settings']['run']
    scenes = yaml.safe_load((small_set / 'set' / 'dataset.yaml').read_text())['bags']
    parts = {part: {each['bag'] for each in scenes if each['split'] == part} for part in ('train', 'val')}
    assert set(own['bags']) == parts['train'] | parts['val']
    assert set(own['validation']) == parts['val']
    truth = trained(small_set, out, '--truth')
    assert truth['labels'] == 'truth' and truth['labels_content'] != labels.content
    for option in ('--label-noise', '--wrong-labels'):
        worse = trained(small_set, out, '--labels', small_set / 'labels', option, 0.5)
        assert worse['labels_content'] not in (labels.content, truth['labels_content'])
