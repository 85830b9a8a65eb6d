# SPDX-License-Identifier: Apache-2.0
"""What of a target mask tells where the target is, and how far the mask is to be trusted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.vision.masks import TargetMask

FEATURES = ('column', 'ground_row', 'log_width', 'log_height', 'log_fill')
"""Names of the features: places first, as :class:`learning.visual_map.MapSettings` expects them."""

_DOUBTFUL_WEIGHT = 0.25


def mask_features(masks: Sequence[TargetMask]) -> NDArray[np.float64]:
    """(I, 5) geometry of the masks of one picture, in units of the picture's width and height.

    Column of the mask's centre of mass and row of its lower edge, both from the middle of the picture; logarithms of
    the box's width and height; logarithm of the share of the box that the mask fills.
    """
    rows = np.empty((len(masks), len(FEATURES)))
    for row, mask in zip(rows, masks, strict=True):
        width, height = mask.picture
        column = mask.left + np.average(np.arange(mask.width), weights=mask.mask.sum(axis=0))
        row[:] = (
            (column + 0.5) / width - 0.5,
            (mask.top + mask.height) / height - 0.5,
            np.log(mask.width / width),
            np.log(mask.height / height),
            np.log(mask.area / (mask.width * mask.height)),
        )
    return rows


def mask_weights(masks: Sequence[TargetMask], doubtful: float = _DOUBTFUL_WEIGHT) -> NDArray[np.float64]:
    """(I,) trust in each mask: its detector's score, less where it is truncated, merged, split or occluded.

    With a weight of zero such masks have no part in the map, which then knows nothing of what looks like them.

    Args:
        masks: of one picture.
        doubtful: factor of those.

    Raises:
        ValueError: a factor that is not from 0 to 1.
    """
    if not 0 <= doubtful <= 1:
        raise ValueError(f'doubtful: expected a number from 0 to 1, got {doubtful}')
    return np.array([mask.score * (doubtful if mask.doubtful else 1.0) for mask in masks], dtype=np.float64)
