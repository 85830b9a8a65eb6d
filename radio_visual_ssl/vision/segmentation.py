# SPDX-License-Identifier: Apache-2.0
"""Target masks without labels: what moves before a static camera.

A static camera sees the same background in most frames. What differs from it is cut into instances; whatever makes an
instance doubtful (it leaves the picture, may be two targets, may be half hidden) is written beside its mask, so that
whoever learns from masks can leave it out. No label and no trained network is involved.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.vision.background import (
    RATIOS,
    Background,
    Difference,
    EvenSample,
    MedianBackground,
    OpenCvBackground,
    ShadowRatio,
)
from radio_visual_ssl.vision.instances import find_instances
from radio_visual_ssl.vision.mask_settings import MaskSettings
from radio_visual_ssl.vision.masks import FrameMasks, MaskError, Outcome


class MaskMaker:
    """Masks of what moves before a static camera.

    Offline in two passes: ``learn`` with all pictures of a bag, then ``segment`` each of them; training may look ahead,
    so that the first frames are as good as the last ones. Live: ``update`` with one picture after the other.

    Args:
        settings: how.

    Attributes:
        jumps: pictures so far without masks because most of them had changed.
        warming_up: pictures so far without masks because the background was not known yet.

    Examples:
        >>> import numpy as np
        >>> from radio_visual_ssl.vision.segmentation import MaskMaker
        >>> pictures = [np.full((48, 64, 3), 90, np.uint8) for _ in range(12)]
        >>> for step, picture in enumerate(pictures):
        ...     picture[10:30, 5 * step : 5 * step + 8] = 200
        >>> maker = MaskMaker()
        >>> maker.learn(pictures)
        >>> [(instance.left, instance.top, instance.area) for instance in maker.segment(pictures[5]).instances]
        [(25, 10, 160)]
    """

    def __init__(self, settings: MaskSettings = MaskSettings()) -> None:
        self.settings = settings
        self.jumps = 0
        self.warming_up = 0
        self._background: Background = (
            MedianBackground(settings) if settings.method == 'median' else OpenCvBackground(settings)
        )
        self._size: tuple[int, int] | None = None
        self._known = False
        self._strange = 0
        self._shadows = ShadowRatio()

    @property
    def shadow_ratio(self) -> tuple[float, float] | None:
        """(Lowest, highest) brightness of a shadow against the lit background; None: no shadows were found."""
        return self._shadows.interval() if self.settings.shadows == 'auto' else None

    def learn(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Learns the background of a whole clip, and forgets what was known before.

        Args:
            pictures: (H, W, 3) uint8 or (H, W) uint8, all of one size; read once.

        Raises:
            MaskError: no pictures, of several sizes, or no 8 bit ones.
        """
        self._size, self._shadows = None, ShadowRatio()
        sample = EvenSample(self.settings.background_frames)

        def prepared() -> Iterator[NDArray[np.uint8]]:
            for picture in pictures:
                small = self._prepare(picture)
                sample.add(small)
                yield small
            if not sample.pictures:
                raise MaskError('pictures: expected at least one, got none')

        self._known = False
        self._background.learn(prepared())
        self._known = True
        for small in sample.pictures:
            difference = self._background.compare(small)
            if difference.changed.mean() <= self.settings.jump:
                self._shadows.add(difference.ratio[difference.darkened])

    def segment(self, picture: NDArray[np.uint8]) -> FrameMasks:
        """What moves in a picture of the clip that was learned.

        Raises:
            MaskError: nothing was learned, another size, or no 8 bit picture.
        """
        if not self._known:
            raise MaskError('segment: expected that learn() was called with the clip, it was not')
        small = self._prepare(picture)
        return self._masks(self._background.compare(small), picture)

    def update(self, picture: NDArray[np.uint8]) -> FrameMasks:
        """What moves in the next picture of a stream, which is then learned.

        Raises:
            MaskError: another size than before, or no 8 bit picture.
        """
        small = self._prepare(picture)
        difference = self._background.follow(small)
        if difference is None:
            self.warming_up += 1
            return FrameMasks(Outcome.WARM_UP)
        if difference.changed.mean() <= self.settings.jump:
            self._strange = 0
            self._shadows.add(difference.ratio[difference.darkened])
            return self._masks(difference, picture)
        self._strange += 1
        if self._strange >= self.settings.patience:
            self._strange, self._shadows = 0, ShadowRatio()
            self._background.reset()
        return self._masks(difference, picture)

    def _prepare(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture in three colours, at the working width."""
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3):
            raise MaskError(f'picture: expected uint8 (H, W, 3) or (H, W), got {picture.dtype} {picture.shape}')
        size = (int(picture.shape[1]), int(picture.shape[0]))
        if self._size not in (None, size):
            raise MaskError(f'picture: expected the size {self._size} of those before, got {size}')
        self._size = size
        if size[0] > self.settings.working_width:
            smaller = (self.settings.working_width, max(round(size[1] * self.settings.working_width / size[0]), 1))
            picture = np.asarray(cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)

    def _masks(self, difference: Difference, picture: NDArray[np.uint8]) -> FrameMasks:
        share = float(difference.changed.mean())
        if share > self.settings.jump:
            self.jumps += 1
            return FrameMasks(Outcome.JUMP, changed=share)
        shadow = self._shadow(difference)
        foreground = self._foreground(difference, shadow)
        size = (picture.shape[1], picture.shape[0])
        instances = find_instances(foreground, self.settings, size, shadow, difference.outlines)
        return FrameMasks(Outcome.SEGMENTED, tuple(instances), share)

    def _foreground(self, difference: Difference, shadow: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
        """(H, W) 0 or 1: what belongs to targets."""
        target = difference.changed if shadow is None else difference.changed & ~shadow
        if self.settings.method != 'median':
            return _without_specks(target)
        strength = difference.strength if shadow is None else np.where(shadow, 0, difference.strength)
        nearby = np.asarray(cv2.dilate(strength, np.ones((5, 5), np.uint8)))
        target = target & (strength >= self.settings.contrast * nearby)
        count, labels = cv2.connectedComponents(target.astype(np.uint8))
        sure = np.zeros(count, np.uint8)
        sure[labels[strength > self.settings.sure_threshold]] = 1
        sure[0] = 0
        return sure[labels]

    def _shadow(self, difference: Difference) -> NDArray[np.bool_] | None:
        """(H, W) bool, what is taken for shadows; None: there are none."""
        if self.settings.shadows == 'keep':
            return None
        low, high = RATIOS
        if self.settings.shadows == 'auto':
            interval = self._shadows.interval()
            if interval is None:
                return None
            low, high = interval
        dark = difference.darkened & (difference.ratio > low) & (difference.ratio < high)
        # specks are parts of targets that happen to be as dark; round the rest lies a rim that is half in the light
        core = _without_specks(dark)
        reach = np.asarray(cv2.dilate(core, np.ones((5, 5), np.uint8))) > 0
        return (core > 0) | (reach & difference.same_hue & (difference.ratio > low) & (difference.ratio < 1))


def _without_specks(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What of a mask holds a square of 2 x 2 pixels."""
    square = np.ones((2, 2), np.uint8)
    # an even kernel has no middle: OpenCV's own opening would move the mask by a pixel
    thin = cv2.erode(mask.astype(np.uint8), square, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(cv2.dilate(thin, square, anchor=(1, 1)), np.uint8)
