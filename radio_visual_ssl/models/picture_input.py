# SPDX-License-Identifier: Apache-2.0
"""What a fusion network sees of the camera: how small pictures differ from those before."""

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = 2
CHANNELS = 4
"""Changes of red, green and blue, and the largest of them."""


@dataclass(frozen=True)
class PictureInputSettings:
    """How pictures become a network's input.

    Attributes:
        size: rows and columns, px.
        background_frames: pictures whose median is what the camera sees all the time.

    Raises:
        ValueError: a value out of range.
    """

    size: tuple[int, int] = (60, 80)
    background_frames: int = 50

    def __post_init__(self) -> None:
        """Check the values; a list becomes a tuple."""
        object.__setattr__(self, 'size', tuple(self.size))
        if len(self.size) != 2 or min(self.size) < 8:
            raise ValueError(f'size: expected two whole numbers from 8 px on, got {self.size!r}')
        if self.background_frames < 1:
            raise ValueError(f'background_frames: expected a whole number from 1 on, got {self.background_frames!r}')


class PictureInput:
    """Makes the input maps of one stream of pictures, fed in order of time.

    Args:
        settings: see `PictureInputSettings`.
    """

    def __init__(self, settings: PictureInputSettings = PictureInputSettings()) -> None:
        self.settings = settings
        self._seen: deque[NDArray[np.uint8]] = deque(maxlen=settings.background_frames)

    def __call__(self, picture: NDArray[np.uint8] | None) -> NDArray[np.float32]:
        """The maps of the next picture, which the background then learns.

        Args:
            picture: (H, W, 3) uint8 RGB of any size; None where there is none.

        Returns:
            (4, rows, columns): red, green and blue less the median of the pictures before, from -2 to 2, and the
            largest of the three without its sign; zeros without a picture, and for the first one. What stands is left
            out: it tells one scene from another, and a network would learn the training scenes by heart.
        """
        rows, columns = self.settings.size
        maps = np.zeros((CHANNELS, rows, columns), np.float32)
        if picture is None:
            return maps
        small = np.asarray(cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
        if self._seen:
            change = (small - np.median(np.stack(self._seen), axis=0)).astype(np.float32) / 127.5
            maps[:3], maps[3] = change.transpose(2, 0, 1), np.abs(change).max(axis=2)
        self._seen.append(small)
        return maps.astype(np.float16).astype(np.float32)

    def reset(self) -> None:
        """Forget the background: the stream jumped or the camera moved."""
        self._seen.clear()
