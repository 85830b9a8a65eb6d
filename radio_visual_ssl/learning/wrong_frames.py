# SPDX-License-Identifier: Apache-2.0
"""Exchanges what belongs to frames between them, to study what wrong masks and labels cost."""

import math

import numpy as np
from numpy.typing import NDArray


def exchanged(frames: NDArray[np.int64], share: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """An order in which a share of the entries is exchanged with entries of other frames.

    How many they are is rounded up or down by chance, so that the share is right on average over many short bags, too.
    One entry alone cannot be exchanged: where the share asks for less than two, they are two or none. Half of those
    that are drawn lie between the two of an exchange, so that the frames are far from each other.

    Args:
        frames: (N,) ascending, of each entry.
        share: of the entries that get one of another frame; it becomes less only where one frame has so many entries
            that the others have not enough to exchange them with.
        generator: draws them.

    Returns:
        (N,) number of the entry that each one becomes.

    Raises:
        ValueError: a share outside of [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f'share: expected from 0 to 1, got {share}')
    order = np.arange(len(frames))
    drawing = generator.permutation(len(frames))
    largest = int(np.unique(frames, return_counts=True)[1].max(initial=0))
    count = min(_rounded(share * len(frames), generator), 2 * (len(frames) - largest))
    # at most half of them from one frame: moved on by half of them, none meets its own frame
    drawn = np.sort(drawing[_place_within(frames[drawing]) < count // 2][:count])
    order[drawn] = np.roll(drawn, len(drawn) // 2)
    return order


def _rounded(count: float, generator: np.random.Generator) -> int:
    """A whole number other than 1 whose mean is ``count``, next to it."""
    low, high = (0, 2) if count < 2 else (math.floor(count), math.ceil(count))
    if count in (low, high):
        return int(count)
    return high if generator.random() < (count - low) / (high - low) else low


def _place_within(frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) how many entries of its own frame stand before each entry."""
    by_frame = np.argsort(frames, kind='stable')
    _, begins, counts = np.unique(frames[by_frame], return_index=True, return_counts=True)
    places = np.empty(len(frames), np.int64)
    places[by_frame] = np.arange(len(frames)) - np.repeat(begins, counts)
    return places
