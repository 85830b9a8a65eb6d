# SPDX-License-Identifier: Apache-2.0
"""Settings of the learned localizer and the models that ship, apart from it: to know of them needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radio_visual_ssl.radar.plain_settings import Bounds, check_fields, load_settings
from radio_visual_ssl.share import share_path, share_path_of_radar


@dataclass(frozen=True)
class NetworkLocalizerSettings:
    """Settings of the learned localizer.

    Attributes:
        model: path of a checkpoint, or the name of one that ships in models/; 'auto' = the one that is named after the
            radar, or after the beginning of its name.
        device: what the network runs on; auto = a GPU where there is one.
        threshold: calibrated score from which a target is reported; 0 = the checkpoint's.
        radar_height: m, of the radar above the middle of the targets, to take slant range and cone angle to the ground;
            0 = as the radar reads them.
        surface_to_centre: m, added along range: returns come from the near side of a target.
        background_interval: the background learns every n-th heatmap alone; 0 = as in training. A stream ten times as
            fast as the recordings that the model learned from wants ten times the interval.
        max_targets: targets in one heatmap; the best are kept.
        separation: m; of two nearer to each other, the one with the higher score is kept.
        class_threshold: calibrated probability of its likeliest class from which a target is named by it, where the
            network has learned classes; a target of a less likely one has no label.

    Raises:
        ValueError: a value of another type or out of range; the message names the field, what was expected and got.
    """

    model: str = 'auto'
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    threshold: float = 0.0
    radar_height: float = 0.0
    surface_to_centre: float = 0.0
    background_interval: int = 0
    max_targets: int = 32
    separation: float = 1.0
    class_threshold: float = 0.5

    def __post_init__(self) -> None:
        """Check types and ranges."""
        check_fields(self, BOUNDS)


BOUNDS: Bounds = {
    'threshold': (0.0, 1.0),
    'radar_height': (-100.0, 100.0),
    'surface_to_centre': (-10.0, 10.0),
    'background_interval': (0, 1000),
    'max_targets': (1, 1000),
    'separation': (0.0, 100.0),
    'class_threshold': (0.0, 1.0),
}
"""(minimum, maximum) of the number fields."""


def load_network_settings(name_or_path: str | Path) -> NetworkLocalizerSettings:
    """Settings from a YAML file in config/network/ or elsewhere; fields that it does not name keep their defaults.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a mapping, an unknown field or a value out of range; the message names file and field.
    """
    return load_settings(NetworkLocalizerSettings, name_or_path, 'network')


def shipped_model(radar: str) -> Path | None:
    """The checkpoint in models/ that is named after a radar, or after the beginning of its name; None without one."""
    return share_path_of_radar(radar, '.safetensors', 'models')


def model_file(model: str) -> Path:
    """Path of a model: a file, or the one of that name that ships in models/.

    Raises:
        ValueError: neither exists; the message says what was expected and got.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if model and path.name == model and not path.suffix:
        try:
            return share_path('models', f'{model}.safetensors')
        except FileNotFoundError as error:
            raise ValueError(f'model: expected a checkpoint or the name of one that ships, got {error}') from error
    raise ValueError(f'model: expected the path of a checkpoint (.safetensors), got {model!r}, where no file is')
