# SPDX-License-Identifier: Apache-2.0
"""The train command names what is wrong before it opens a bag, and takes the parts of data sets as they are meant."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from radio_visual_ssl.cli import app
from radio_visual_ssl.commands.learn_train import _parts


def command(*arguments):
    """Runs the train command."""
    return CliRunner().invoke(app, ['train', *map(str, arguments)])


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--set', 'foo=1'], 'contrastive: foo: expected one of objective'),
        (['--set', 'run.epochs=many'], "contrastive: run: epochs: expected int, got 'many'"),
        (['--truth', '--set', 'scenes=2'], 'localizer: scenes: expected one of radar_input'),
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
        (['--out', 'text/model.safetensors'], '--out: expected a file that can be written, got text/model'),
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
