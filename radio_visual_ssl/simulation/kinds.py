# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that scenes are made of: size, colours and radar cross section."""

from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Kind:
    """What all objects of one kind have in common.

    Attributes:
        size: (length, width, height), m.
        rcs: m^2, mean radar cross section of the whole object.
        colours: rgb 0-255, one is drawn by seed.
    """

    size: tuple[float, float, float]
    rcs: float
    colours: tuple[Colour, ...]


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

# Sizes of common vehicles; cross sections of the order that automotive measurements at 24-79 GHz report.
KINDS: dict[str, Kind] = {
    'car': Kind((4.4, 1.8, 1.5), 10.0, PAINTS),
    'van': Kind((5.2, 2.0, 2.2), 15.0, PAINTS),
    'pedestrian': Kind((0.5, 0.6, 1.75), 0.5, CLOTHES),
    'cyclist': Kind((1.8, 0.6, 1.75), 1.5, CLOTHES),
}
KindName = Literal['car', 'van', 'pedestrian', 'cyclist']
