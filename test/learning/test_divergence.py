# SPDX-License-Identifier: Apache-2.0
"""A training that becomes nothing says so by an error of its own, and leaves no model."""

from dataclasses import replace

import pytest

from radio_visual_ssl.learning.localizer_training import LocalizerTrainingSettings, NetworkSettings, train_localizer
from radio_visual_ssl.learning.training_run import RunSettings, TrainingDivergedError
from radio_visual_ssl.models.radar_input import RadarInputSettings

SETTINGS = LocalizerTrainingSettings(
    radar_input=RadarInputSettings(max_range=18.0),
    network=NetworkSettings(width=8, dilations=(1,)),
    run=RunSettings(epochs=1, accelerator='cpu'),
    batch_size=8,
)


def test_a_loss_that_never_was_finite_is_a_divergence(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), frames=24)
    out = tmp_path / 'model.safetensors'
    with pytest.raises(
        TrainingDivergedError, match=r'model.run: expected a finite validation_loss, got .*: nothing was'
    ):
        train_localizer(recordings[:2], labels, replace(SETTINGS, learning_rate=1e30), out, validation=recordings[2:])
    assert not out.exists()
