# SPDX-License-Identifier: Apache-2.0
"""One of several processes that train a localizer together; run with torchrun by test_localizer_training.py.

Arguments: conftest.py, folder for the arrays and results.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch

from radio_visual_ssl.learning.localizer_training import LocalizerTrainingSettings, NetworkSettings, train_localizer
from radio_visual_ssl.learning.training_run import RunSettings, process_rank

torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location('conftest', sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
folder = Path(sys.argv[2])
recordings, labels = conftest.Scenes(folder / f'arrays_{process_rank()}').several(range(3), 16)
settings = LocalizerTrainingSettings(
    network=NetworkSettings(width=4, dilations=()), run=RunSettings(epochs=2, accelerator='cpu'), batch_size=4
)
epochs = []
report = train_localizer(
    recordings, labels, settings, folder / 'model.safetensors', on_epoch=lambda epoch: epochs.append(epoch.number)
)
result = {'loss': report.validation_loss, 'epochs': epochs, 'calibration': report.calibration.to_json()}
(folder / f'{process_rank()}.json').write_text(json.dumps(result), encoding='utf-8')
