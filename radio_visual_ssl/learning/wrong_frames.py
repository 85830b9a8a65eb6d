# SPDX-License-Identifier: Apache-2.0
"""Exchanges what belongs to frames between them, to study what wrong masks and labels cost."""

import numpy as np
from numpy.typing import NDArray


def exchanged(frames: NDArray[np.int64], share: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """An order in which a share of the entries is exchanged with entries of other frames.

    Half of those that are drawn lie between the two of an exchange, so that the frames are far from each other.

    Args:
        frames: (N,) ascending, of each entry.
        share: of the entries that get one of another frame.
        generator: draws them.

    Returns:
        (N,) number of the entry that each one becomes.

    Raises:
        ValueError: a share outside of [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share: expected from 0 to 1, got {share}')
    order = np.arange(len(frames))
    drawn = np.sort(generator.permutation(len(frames))[: round(share * len(frames))])
    others = np.roll(drawn, len(drawn) // 2)
    order[drawn] = np.where(frames[drawn] == frames[others], drawn, others)
    return order
