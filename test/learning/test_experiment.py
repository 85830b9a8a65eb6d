# SPDX-License-Identifier: Apache-2.0
"""Experiments in YAML become settings; what they cannot be is named."""

import pytest

from radio_visual_ssl.learning.contrastive_training import ContrastiveTrainingSettings
from radio_visual_ssl.learning.experiment import ExperimentError, read_experiment, settings_of
from radio_visual_ssl.learning.label_refinement import RefinementSettings
from radio_visual_ssl.learning.localizer_training import LocalizerTrainingSettings
from radio_visual_ssl.overrides import overridden


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('contrastive', ContrastiveTrainingSettings),
        ('contrastive_raw', ContrastiveTrainingSettings),
        ('vicreg', ContrastiveTrainingSettings),
        ('localizer', LocalizerTrainingSettings),
    ],
)
def test_shipped_experiments_are_settings(name, kind):
    settings = settings_of(kind, read_experiment(name), name)
    assert settings.radar_input.max_range == 60.0


def test_every_value_can_be_overridden():
    content = overridden(read_experiment('contrastive'), ['run.epochs=3', 'encoders.kernels=[[3, 3], 1]', 'steps=7'])
    settings = settings_of(ContrastiveTrainingSettings, content)
    assert (settings.run.epochs, settings.steps) == (3, 7)
    assert settings.encoders.kernels == ((3, 3), (1, 1))
    assert settings.objective == 'mcl'


def test_numbers_that_yaml_takes_for_text_are_numbers():
    assert settings_of(ContrastiveTrainingSettings, overridden({}, ['learning_rate=1e-3'])).learning_rate == 1e-3
    for given, wanted in (('15e-1', 1.5), ('2', 2.0), ('null', None)):
        assert settings_of(RefinementSettings, overridden({}, [f'vehicle_depth={given}'])).vehicle_depth == wanted


@pytest.mark.parametrize(
    ('override', 'said'),
    [
        ('run.epoch=3', 'run: epoch: expected one of epochs'),
        ('run=3', 'run: expected settings by name, got 3'),
        ('run.epochs=-1', 'epochs: expected a whole number from 1 on, got -1'),
        ('run.epochs=1.5', 'run: epochs: expected int, got 1.5'),
        ('run.precision=16', 'run: precision: expected one of 32-true, bf16-mixed, 16-mixed, got 16'),
        ('doubtful=perhaps', "doubtful: expected bool, got 'perhaps'"),
        ('temperature=warm', "temperature: expected float, got 'warm'"),
        ('temperature=true', 'temperature: expected float, got True'),
        ('workers=null', 'workers: expected int, got None'),
        ('encoders.strides=[[2, wide]]', r"strides: expected several int, got \[\[2, 'wide'\]\]"),
        ('encoders.kernels=[{a: 1}]', 'kernels: expected several int'),
    ],
)
def test_what_cannot_be_set_is_named(override, said):
    with pytest.raises(ExperimentError, match=said):
        settings_of(ContrastiveTrainingSettings, overridden({}, [override]))


def test_a_missing_or_wrong_file_is_named(tmp_path):
    with pytest.raises(ExperimentError, match='nothing_like_it: expected a YAML file or a name'):
        read_experiment('nothing_like_it')
    file = tmp_path / 'list.yaml'
    file.write_text('[1, 2]', encoding='utf-8')
    with pytest.raises(ExperimentError, match=r'list\.yaml: expected a mapping of settings, got list'):
        read_experiment(file)
    file.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ExperimentError, match=r'list\.yaml: expected YAML'):
        read_experiment(file)
