# SPDX-License-Identifier: Apache-2.0
"""The back ends that find targets, by name, with the settings that ship for known radars."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radio_visual_ssl.radar.cfar_localizer import BOUNDS, CfarLocalizer, CfarLocalizerSettings, load_cfar_settings
from radio_visual_ssl.radar.localizer import Localizer
from radio_visual_ssl.share import share_path


@dataclass(frozen=True)
class Backend:
    """One way to find targets in heatmaps.

    Attributes:
        settings: dataclass of plain fields with defaults; each field is a parameter of localizer_node.
        load: reads such settings from a YAML file.
        make: builds the localizer from such settings, and takes over what the previous one, if any, has learned of the
            same stream as far as they allow.
        bounds: (minimum, maximum) of the number fields, by name.
    """

    settings: type[Any]
    load: Callable[[Path], Any]
    make: Callable[[Any, Any], Localizer]
    bounds: dict[str, tuple[float | None, float | None]]


BACKENDS = {'cfar': Backend(CfarLocalizerSettings, load_cfar_settings, CfarLocalizer, BOUNDS)}


def shipped_settings(backend: str, name: str) -> Path | None:
    """The file in config/<backend>/ that is named after a radar, or after the beginning of its name.

    Letter case and punctuation do not count: the radar 'Navtech CTS350-X' finds navtech.yaml, or rather
    navtech_cts350_x.yaml where there is one. None where the package has neither.
    """
    words = re.findall('[a-z0-9]+', name.lower())
    for count in range(len(words), 0, -1):
        try:
            return share_path('config', backend, f'{"_".join(words[:count])}.yaml')
        except FileNotFoundError:
            continue
    return None


def settings_file(backend: str, name: str) -> Path:
    """The settings file of that path, or the shipped one of that name.

    Raises:
        ValueError: neither exists.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = None if '/' in name else shipped_settings(backend, name)
    if shipped is None:
        raise ValueError(f"expected 'auto', 'default', a name in config/{backend}/ or a path, got {name!r}")
    return shipped


def load_localizer(backend: str, settings: str = 'auto', radar: str = '') -> Localizer:
    """A back end with its settings.

    Args:
        backend: one of `BACKENDS`.
        settings: 'auto' (those shipped for the radar, if any), 'default', a name in config/<backend>/, or a path.
        radar: name of the radar, as in HeatmapInfo.

    Raises:
        ValueError: an unknown back end, no such settings file, or a wrong one.
    """
    if backend not in BACKENDS:
        raise ValueError(f'backend: expected one of {", ".join(BACKENDS)}, got {backend!r}')
    chosen = BACKENDS[backend]
    if settings == 'auto':
        file = shipped_settings(backend, radar)
    elif settings == 'default':
        file = None
    else:
        try:
            file = settings_file(backend, settings)
        except ValueError as error:
            raise ValueError(f'settings: {error}') from error
    return chosen.make(chosen.settings() if file is None else chosen.load(file), None)
