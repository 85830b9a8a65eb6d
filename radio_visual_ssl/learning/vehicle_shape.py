# SPDX-License-Identifier: Apache-2.0
"""How long and wide vehicles are, and how far their centre lies behind the side that the radar sees.

A vehicle of length L and width W at aspect angle t, its heading against the line of sight, has an apparent width of
``L |sin t| + W |cos t|``, so that many masks of vehicles whose heading is known tell L and W. Nobody has to say what
passes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

SIZE_BOUNDS = ((2.5, 1.2), (20.0, 4.0))
"""m, length and width of the smallest vehicle and of the largest one."""

_SIZE_STD = np.array([1.5, 0.5])  # m, of length and width: how far what passes may be from the nominal vehicle
_APPARENT_STD = 0.5  # m, of one apparent width
_LEAST_FROM_ASIDE = 8.0  # masks of vehicles that are seen at 45 degrees or more, to learn a length at all


def common_size(
    apparent_width: NDArray[np.float64],
    aspect: NDArray[np.float64],
    weight: NDArray[np.float64],
    nominal: tuple[float, float],
) -> tuple[float, float]:
    """Length and width (m) of vehicles from their apparent widths; the nominal ones where few tell.

    The length is the nominal one, too, where hardly any vehicle is seen from aside.

    Args:
        apparent_width: (N,) m, finite.
        aspect: (N,) rad, heading against the line of sight; NaN where not known.
        weight: (N,) how far each is trusted; those of one vehicle tell little more than one of them.
        nominal: length and width, m, before anything is seen.
    """
    known = np.isfinite(aspect)
    share = np.abs(np.column_stack((np.sin(aspect[known]), np.cos(aspect[known]))))
    trust = np.sqrt(weight[known]) / _APPARENT_STD
    bounds = np.array(SIZE_BOUNDS)
    prior = np.clip(nominal, *bounds)
    if weight[known][share[:, 0] > share[:, 1]].sum() < _LEAST_FROM_ASIDE:
        # masks from behind are as wide as their blur and their cover make them: any length could be read out of them
        bounds[:, 0] = prior[0]

    def misfit(size: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate((trust * (share @ size - apparent_width[known]), (size - prior) / _SIZE_STD))

    # masks may be cut, or of two vehicles, or hold a shadow: far ones pull no more than near ones
    length, width = least_squares(misfit, prior, bounds=(bounds[0] - 1e-6, bounds[1] + 1e-6), loss='soft_l1').x
    return float(length), float(width)


def depth_to_centre(
    length: float | NDArray[np.float64], width: float | NDArray[np.float64], aspect: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) m from where the line of sight to the centre of a rectangle enters it to that centre.

    Args:
        length: m, of the rectangle.
        width: m, of the rectangle.
        aspect: (N,) rad, its heading against the line of sight; NaN gives NaN.
    """
    along, across = np.abs(np.cos(aspect)), np.abs(np.sin(aspect))
    depth: NDArray[np.float64] = np.minimum(length / np.maximum(along, 1e-12), width / np.maximum(across, 1e-12)) / 2
    return depth
