# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that scenes are made of: size, colours, material and radar cross section."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.grid import turned_towards

Colour = tuple[int, int, int]
Material = Literal['metal', 'human', 'concrete', 'brick', 'glass', 'wood', 'vegetation']

ASPECTS_DEG = (0.0, 45.0, 90.0, 135.0, 180.0)  # of `Kind.aspect_db`: from the front over the side to the back


@dataclass(frozen=True)
class Kind:
    """What all objects of one kind have in common.

    Attributes:
        size: (length, width, height), m.
        rcs: m^2, mean radar cross section of the whole object over all aspects.
        colours: rgb 0-255, one is drawn by seed.
        material: of most of its surface.
        aspect_db: dB, cross section at `ASPECTS_DEG`, up to a constant: the mean over all aspects is `rcs`.
    """

    size: tuple[float, float, float]
    rcs: float
    colours: tuple[Colour, ...]
    material: Material = 'metal'
    aspect_db: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def aspect_gain(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cross section at an angle (rad) between the heading and the way to the radar, relative to the mean."""
        angle_deg = np.degrees(np.abs(turned_towards(angle)))
        return _gain(self.aspect_db, angle_deg) / _mean_gain(self.aspect_db)


def _gain(aspect_db: tuple[float, ...], angle_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 ** (np.interp(angle_deg, ASPECTS_DEG, aspect_db) / 10)


@cache
def _mean_gain(aspect_db: tuple[float, ...]) -> float:
    return float(np.mean(_gain(aspect_db, np.arange(0.5, 180.0))))


PAINTS: tuple[Colour, ...] = (
    (188, 40, 42),
    (36, 78, 150),
    (225, 226, 224),
    (58, 61, 66),
    (150, 154, 158),
    (30, 100, 84),
    (196, 140, 48),
    (116, 32, 60),
)
CLOTHES: tuple[Colour, ...] = ((200, 60, 40), (40, 90, 170), (60, 60, 64), (226, 178, 44), (36, 122, 90))
GREENS: tuple[Colour, ...] = ((62, 96, 52), (78, 110, 60), (52, 84, 50), (96, 112, 58))

# Flat metal sides flash, corners scatter little; people look nearly the same from everywhere.
_VEHICLE = (2.0, -3.0, 5.0, -3.0, 2.0)
_CYCLE = (-3.0, 0.0, 4.0, 0.0, -3.0)

# Sizes of common vehicles; cross sections of the order that automotive measurements at 24-79 GHz report.
KINDS: dict[str, Kind] = {
    'car': Kind((4.4, 1.8, 1.5), 10.0, PAINTS, aspect_db=_VEHICLE),
    'van': Kind((5.2, 2.0, 2.2), 15.0, PAINTS, aspect_db=_VEHICLE),
    'pedestrian': Kind((0.5, 0.6, 1.75), 0.5, CLOTHES, 'human'),
    'cyclist': Kind((1.8, 0.6, 1.75), 1.5, CLOTHES, 'human', _CYCLE),
    'cart': Kind((1.4, 0.8, 1.1), 1.5, ((206, 120, 32), (60, 90, 140), (120, 124, 128)), aspect_db=_VEHICLE),
    # a corner reflector on a tripod: one point at its top, the same from everywhere, for tests and calibration
    'reflector': Kind((0.3, 0.3, 1.0), 10.0, ((170, 172, 176),)),
}
KindName = Literal['car', 'van', 'pedestrian', 'cyclist', 'cart', 'reflector']

SURFACES: dict[Material, tuple[Colour, ...]] = {
    'metal': ((128, 132, 136), (150, 154, 160), (106, 112, 120)),
    'human': CLOTHES,
    'concrete': ((172, 166, 158), (150, 148, 144), (190, 186, 178)),
    'brick': ((172, 104, 84), (150, 92, 76), (186, 128, 100)),
    'glass': ((104, 128, 148), (86, 110, 124)),
    'wood': ((150, 112, 74), (124, 92, 62)),
    'vegetation': GREENS,
}
"""Colours of what stands still, by material."""

REFLECTIVITY_DB: dict[Material, float] = {
    'metal': 4.0,
    'human': 0.0,
    'concrete': 0.0,
    'brick': -1.5,
    'glass': -3.0,
    'wood': -4.0,
    'vegetation': -6.0,
}
"""dB, cross section of a diffuse surface against concrete."""
