# SPDX-License-Identifier: Apache-2.0
"""The localizers that localizer_node can run, each behind the Localizer interface."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from radio_visual_ssl.radar.cfar_localizer import CfarLocalizer, CfarLocalizerSettings
from radio_visual_ssl.radar.localizer import Localizer


@dataclass(frozen=True)
class Backend:
    """One way to find targets in heatmaps.

    Attributes:
        settings: dataclass of plain fields with defaults; each field is a parameter of the node.
        make: builds the localizer from such settings.
        bounds: (minimum, maximum) of the number fields, by name.
    """

    settings: type[Any]
    make: Callable[[Any], Localizer]
    bounds: dict[str, tuple[float | None, float | None]]


BACKENDS = {'cfar': Backend(CfarLocalizerSettings, CfarLocalizer, {})}
