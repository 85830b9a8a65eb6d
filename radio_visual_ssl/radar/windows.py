# SPDX-License-Identifier: Apache-2.0
"""Window functions that trade resolution for lower sidelobes."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Window = Literal['rectangular', 'hann', 'hamming', 'blackman', 'taylor']

WINDOWS: tuple[Window, ...] = ('rectangular', 'hann', 'hamming', 'blackman', 'taylor')


def window(name: Window, count: int) -> NDArray[np.float64]:
    """Symmetric window without zeros at its ends (those would waste two elements of a small array).

    | name | highest sidelobe | width of the main lobe against rectangular |
    |---|---|---|
    | rectangular | -13 dB | 1.0 |
    | hann | -31 dB | 1.6 |
    | hamming | -43 dB | 1.5 |
    | blackman | -58 dB | 1.8 |
    | taylor (4 equal sidelobes) | -30 dB | 1.3 |

    Args:
        name: one of `WINDOWS`.
        count: elements.

    Returns:
        (count,) float64 with a mean of 1, so that a constant signal keeps its level.

    Raises:
        ValueError: an unknown name.
    """
    if name not in WINDOWS:
        raise ValueError(f'window: expected one of {", ".join(WINDOWS)}, got {name!r}')
    phase = 2 * np.pi * (np.arange(count) + 1) / (count + 1)
    if name == 'hann':
        values = 0.5 - 0.5 * np.cos(phase)
    elif name == 'hamming':
        values = 0.54 - 0.46 * np.cos(phase)
    elif name == 'blackman':
        values = 0.42 - 0.5 * np.cos(phase) + 0.08 * np.cos(2 * phase)
    elif name == 'taylor':
        values = _taylor(count, equal_sidelobes=4, sidelobe_level_db=30.0)
    else:
        values = np.ones(count)
    return values / values.mean()


def _taylor(count: int, equal_sidelobes: int, sidelobe_level_db: float) -> NDArray[np.float64]:
    """Taylor's line-source distribution (Carrara, Goodman, Majewski, 'Spotlight SAR', 1995, appendix D.2)."""
    a = np.arccosh(10 ** (sidelobe_level_db / 20)) / np.pi
    orders = np.arange(1, equal_sidelobes)
    spread = equal_sidelobes**2 / (a**2 + (equal_sidelobes - 0.5) ** 2)
    zeros = spread * (a**2 + (orders - 0.5) ** 2)
    values = np.ones(count)
    place = (np.arange(count) - (count - 1) / 2) / count
    for order in orders:
        above = np.prod(1 - order**2 / zeros)
        below = np.prod([1 - order**2 / other**2 for other in orders if other != order])
        values += (-1) ** (order + 1) * above / below * np.cos(2 * np.pi * order * place)
    return values
