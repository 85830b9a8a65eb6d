# SPDX-License-Identifier: Apache-2.0
"""A small localizer for tests that run a model: fixed weights of nobody's training, with a low threshold."""

from dataclasses import replace
from pathlib import Path

import torch

from radio_visual_ssl.models.checkpoint import Checkpoint, save_checkpoint
from radio_visual_ssl.models.localizer import LocalizerNetwork
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.heatmap import Heatmap

ARCHITECTURE = {'width': 8, 'kernel': 3, 'stride': 2, 'dilations': [1], 'coordinate_bands': 1}


def write_tiny_model(path: Path, heatmap: Heatmap, channels=('power', 'change'), **changes) -> Path:
    """A checkpoint for the radar of a heatmap that finds up to a few targets in any of them."""
    settings = RadarInputSettings(channels)
    grid = RadarInput(settings, heatmap.grid).grid
    torch.manual_seed(1)
    network = LocalizerNetwork(grid, len(channels), **ARCHITECTURE)
    with torch.no_grad():
        network.layers[-1].weight *= 100  # so that what it says depends on what it sees
    checkpoint = Checkpoint(
        'localizer',
        network.state_dict(),
        RadarGeometry.of(heatmap),
        settings,
        ARCHITECTURE,
        {'slope': 1.5, 'intercept': 3.0, 'threshold': 0.01, 'range_variance': 2.0, 'azimuth_variance': 3.0},
        {'seed': 1},
    )
    return save_checkpoint(path, replace(checkpoint, **changes))
