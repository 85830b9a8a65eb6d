# SPDX-License-Identifier: Apache-2.0
"""Settings of the learned localizer, apart from it: a node's parameters and the command line need no torch for them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radio_visual_ssl.radar.plain_settings import Bounds, check_fields, load_settings


@dataclass(frozen=True)
class NetworkLocalizerSettings:
    """How a trained network is run; the defaults are those of its checkpoint.

    Attributes:
        model: the checkpoint: a path, or the name of one in models/; empty = the one in models/ that was trained for
            the radar.
        threshold: score from which a target is reported; 0 = the checkpoint's own.
        device: what it runs on; auto = the GPU where there is one.
        radar_height: m above the ground; slant ranges become distances on the ground; 0 = as the radar reads them.
        surface_to_centre: m added along the range, from the surface that reflects to the target's centre.
        max_targets: targets in one heatmap; those of the highest scores are kept.
        separation: m, of two targets nearer than this the one with the higher score is kept.

    Raises:
        ValueError: a value of another type or out of range; the message names the field, what was expected and got.
    """

    model: str = ''
    threshold: float = 0.0
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    radar_height: float = 0.0
    surface_to_centre: float = 0.0
    max_targets: int = 32
    separation: float = 1.0

    def __post_init__(self) -> None:
        """Check types and ranges."""
        check_fields(self, BOUNDS)


BOUNDS: Bounds = {
    'threshold': (0.0, 1.0),
    'radar_height': (0.0, 1000.0),
    'surface_to_centre': (-100.0, 100.0),
    'max_targets': (1, 1000),
    'separation': (0.0, 100.0),
}
"""(minimum, maximum) of the number fields."""


def load_network_settings(name_or_path: str | Path) -> NetworkLocalizerSettings:
    """Settings from a YAML file, a mapping of fields; those that it does not name keep their defaults.

    Args:
        name_or_path: a name for config/network/<name>.yaml, or the path of a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a mapping, an unknown field or a value out of range; the message names file and field.
    """
    return load_settings(NetworkLocalizerSettings, name_or_path, 'network')
