# SPDX-License-Identifier: Apache-2.0
"""How long and wide vehicles are, and how far their middle lies behind the side that the radar sees.

A vehicle of length L and width W that is turned by t against the line of sight looks ``L |sin t| + W |cos t|`` wide,
so that many masks of vehicles whose heading is known tell L and W. Nobody has to say what passes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

# m, of length and width: how far the common ones may be from the nominal ones, and what is possible.
_SIZE_STD = np.array([1.5, 0.5])
_SIZE_BOUNDS = np.array([[2.5, 1.2], [20.0, 4.0]])
_LOOKS_STD = 0.5  # m, of how wide vehicles look


def common_size(
    looks: NDArray[np.float64],
    turned: NDArray[np.float64],
    weight: NDArray[np.float64],
    nominal: tuple[float, float],
) -> tuple[float, float]:
    """Length and width (m) of vehicles from how wide they look; the nominal ones where few tell.

    Args:
        looks: (N,) m, how wide each looks.
        turned: (N,) rad, heading against the line of sight; NaN where not known.
        weight: (N,) how far each is trusted.
        nominal: length and width, m, before anything is seen.
    """
    known = np.isfinite(turned)
    share = np.abs(np.column_stack((np.sin(turned[known]), np.cos(turned[known]))))
    trust = np.sqrt(weight[known]) / _LOOKS_STD
    prior = np.clip(nominal, *_SIZE_BOUNDS)

    def misfit(size: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate((trust * (share @ size - looks[known]), (size - prior) / _SIZE_STD))

    # masks may be cut, or of two vehicles, or hold a shadow: far ones pull no more than near ones
    length, width = least_squares(misfit, prior, bounds=(_SIZE_BOUNDS[0] - 1e-6, _SIZE_BOUNDS[1]), loss='soft_l1').x
    return float(length), float(width)


def depth_to_middle(
    length: float | NDArray[np.float64], width: float | NDArray[np.float64], turned: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) m from where the line of sight to the middle of a rectangle enters it to that middle.

    Args:
        length: m, of the rectangle.
        width: m, of the rectangle.
        turned: (N,) rad, its heading against the line of sight.
    """
    along, across = np.abs(np.cos(turned)), np.abs(np.sin(turned))
    depth: NDArray[np.float64] = np.minimum(length / np.maximum(along, 1e-12), width / np.maximum(across, 1e-12)) / 2
    return depth
