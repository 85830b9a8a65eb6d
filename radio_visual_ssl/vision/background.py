# SPDX-License-Identifier: Apache-2.0
"""What a static camera sees where nothing moves, and how a picture differs from it.

Backgrounds:

- ``median``: the narrowest cluster of each pixel's values over frames from all of the clip, a temporal median that
  bears more targets, thresholded with hysteresis (Canny 1986) in units of the noise. Offline it needs no warm-up, but
  a clip in which targets move on: of 20 s it finds most of them, of a second next to none. It sees small targets in
  low contrast. Live it follows the light as an approximate median: McFarlane & Schofield, "Segmentation and tracking of
  piglets in images", Machine Vision and Applications 8, 1995. What flutters for most of the time, such as leaves, is
  calmer with ``mog2``.
- ``mog2``: mixture of Gaussians: Zivkovic, "Improved adaptive Gaussian mixture model for background subtraction", ICPR
  2004, in OpenCV's implementation.
- ``knn``: kernel density of the nearest samples: Zivkovic & van der Heijden, "Efficient adaptive density estimation per
  image pixel for the task of background subtraction", Pattern Recognition Letters 27, 2006, in OpenCV's implementation.

Shadows darken the background without changing its hue (Horprasert, Harwood & Davis, "A statistical approach for
real-time robust background subtraction and shadow detection", ICCV FRAME-RATE Workshop 1999). So does a grey car on
grey ground, and at night or under a roof there are no shadows: taking all such pixels away costs more than it gains.
But one sun darkens all that it does not reach by one ratio. ``ShadowRatio`` finds it as a narrow peak of the brightness
ratios; where there is none, nothing is taken for a shadow.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.vision.mask_settings import MaskSettings

RATIOS = (0.2, 0.98)  # brightness against the background that a shadow can have

_LEAST_NOISE = 1.5  # grey levels: quantisation and JPEG where a pixel hardly changes
_SAME_HUE = 3.6  # standard deviations from the background's colour, whatever its brightness
_BINS = 100  # of the ratio from 0 to 1
_PLAUSIBLE_GAIN = (0.6, 1.6)  # exposure against the background's
_OTHER_LIGHT = 20.0  # grey levels by which most pixels differ in another light
_BACKGROUND_SHARE = 0.3  # of the time, in which a pixel shows the background
_WIDTH_OF_NORMAL = 0.771  # standard deviations, of the middle 30 % of a normal distribution
_OUTLINE = 20.0  # grey levels over two pixels
_BACKGROUNDS = 3  # lights that one clip may be seen in


class ShadowRatio:
    """Finds the ratio by which the clip's shadows darken the background, if it has any.

    Shadows of one light all have nearly the same brightness against the lit ground, whatever they fall on; the dark
    sides of targets have all kinds. A narrow peak of the histogram that stands well above the rest is taken for them.
    """

    WIDEST = 0.06  # of the peak at half its height
    LEAST_CONCENTRATION = 4.0  # pixels in the peak against as wide a piece of an even histogram
    MARGIN = 0.025  # on either side of the peak
    LEAST_PIXELS = 200

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS)

    def add(self, ratios: NDArray[np.float32]) -> None:
        """Learns the ratios of brightness to the background's, (N,), of changed pixels of the background's hue."""
        self._counts += np.histogram(ratios, _BINS, (0.0, 1.0))[0]

    def interval(self) -> tuple[float, float] | None:
        """(Lowest, highest) ratio of a shadow; None: there are none."""
        total = self._counts.sum()
        if total < self.LEAST_PIXELS:
            return None
        smooth = np.convolve(self._counts, [0.25, 0.5, 0.25], 'same')
        peak = int(smooth.argmax())
        low = np.flatnonzero(smooth[: peak + 1] <= smooth[peak] / 2)
        high = np.flatnonzero(smooth[peak:] <= smooth[peak] / 2)
        first = int(low[-1]) + 1 if low.size else 0
        last = peak + int(high[0]) - 1 if high.size else _BINS - 1
        width = (last - first + 1) / _BINS
        share = self._counts[max(first - 1, 0) : last + 2].sum() / total
        concentration = share / ((width + 2 / _BINS) / (RATIOS[1] - RATIOS[0]))
        if width > self.WIDEST or concentration < self.LEAST_CONCENTRATION:
            return None
        return first / _BINS - self.MARGIN, (last + 1) / _BINS + self.MARGIN


@dataclass(frozen=True, eq=False)
class Difference:
    """A picture against a background.

    Attributes:
        changed: (H, W) bool.
        strength: (H, W) float32, norm over the three colours, in standard deviations of the noise.
        ratio: (H, W) float32, brightness against the background's, along its colour.
        same_hue: (H, W) bool, whether the colour is the background's, but for the brightness.
        background: (H, W, 3) float32, at the picture's exposure.
    """

    changed: NDArray[np.bool_]
    strength: NDArray[np.float32]
    ratio: NDArray[np.float32]
    same_hue: NDArray[np.bool_]
    background: NDArray[np.float32]

    @property
    def outlines(self) -> NDArray[np.bool_]:
        """(H, W) bool, where the background itself has a strong edge: what stands there may hide targets behind it."""
        steps = [cv2.Sobel(self.background, cv2.CV_32F, dx, dy, scale=0.25) for dx, dy in ((1, 0), (0, 1))]
        return np.asarray(np.max(np.maximum(np.abs(steps[0]), np.abs(steps[1])), axis=2) > _OUTLINE, np.bool_)

    @property
    def darkened(self) -> NDArray[np.bool_]:
        """(H, W) bool, what a shadow might have done."""
        return self.changed & self.same_hue & (self.ratio > RATIOS[0]) & (self.ratio < RATIOS[1])


class Level:
    """A background picture with its noise.

    Attributes:
        picture: (H, W, 3) float32.
        noise: (H, W, 3) float32, standard deviation, grey levels.
    """

    def __init__(self, picture: NDArray[np.float32], noise: NDArray[np.float32]) -> None:
        self.picture, self.noise = picture, noise

    @classmethod
    def of(cls, frames: NDArray[np.uint8]) -> 'Level':
        """Middle and width of the shortest interval that holds three tenths of the values of each pixel.

        With half of them it is the least median of squares (Rousseeuw 1984), which targets that cover a pixel for
        nearly half of the time neither shift nor widen, as they do a median and a median absolute deviation. With less
        the background is found under targets of many colours too, such as people who walk towards the camera. What
        lies beside the interval counts a little: of two narrow ones the background is the one that more values are in,
        not a target that waits.

        Args:
            frames: (N, H, W, 3), in one light.
        """
        count = len(frames)
        picture = np.empty(frames.shape[1:], np.float32)
        noise = np.empty(frames.shape[1:], np.float32)
        held = max(math.ceil(_BACKGROUND_SHARE * count), 1)
        more = min(math.ceil(1.4 * held), count) - held
        for row in range(0, frames.shape[1], 32):  # spares memory
            values = np.sort(frames[:, row : row + 32], axis=0).astype(np.int16)
            widths = values[held - 1 :] - values[: count - held + 1]
            above = np.full_like(widths, 255)
            above[: len(widths) - more] = values[held - 1 + more :] - values[: count - held + 1 - more]
            below = np.full_like(widths, 255)
            below[more:] = values[held - 1 + more :] - values[: count - held + 1 - more]
            first = np.argmin(4 * widths + np.minimum(above, below), axis=0)[None]
            low = np.take_along_axis(values, first, axis=0)[0].astype(np.float32)
            width = np.take_along_axis(widths, first, axis=0)[0].astype(np.float32)
            picture[row : row + 32] = low + width / 2
            noise[row : row + 32] = width / _WIDTH_OF_NORMAL
        return cls(picture, _steady(noise))

    def gain(self, picture: NDArray[np.uint8]) -> float:
        """Exposure of a picture against this one: the median ratio of brightness."""
        mine, its = self.picture[::4, ::4].sum(axis=2), picture[::4, ::4].sum(axis=2, dtype=np.float32)
        usable = (mine > 30) & (its < 720)
        if np.count_nonzero(usable) < 100:
            return 1.0
        gain = float(np.median(its[usable] / mine[usable]))
        return gain if _PLAUSIBLE_GAIN[0] < gain < _PLAUSIBLE_GAIN[1] else 1.0

    def difference(self, picture: NDArray[np.uint8], settings: MaskSettings) -> Difference:
        """Where and how a picture differs, smoothed over about a pixel."""
        lit = self.picture * np.float32(self.gain(picture)) if settings.exposure else self.picture
        off = cv2.GaussianBlur(picture.astype(np.float32) - lit, (3, 3), 0.8)
        strength = np.sqrt(np.einsum('ijk->ij', np.square(off / self.noise)))
        along = np.einsum('ijk,ijk->ij', off, lit) / (np.einsum('ijk,ijk->ij', lit, lit) + 1.0)
        across = (off - along[:, :, None] * lit) / self.noise
        same_hue = np.einsum('ijk,ijk->ij', across, across) < _SAME_HUE**2
        return Difference(strength > settings.threshold, strength, 1.0 + along, same_hue, lit)


def _steady(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise averaged over neighbours: of few frames one pixel's own is too uncertain."""
    return np.maximum(np.asarray(cv2.blur(noise, (5, 5)), np.float32), np.float32(_LEAST_NOISE))


class Background(Protocol):
    """What the camera sees where nothing moves."""

    def learn(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Learns from a whole clip."""
        ...

    def compare(self, picture: NDArray[np.uint8]) -> Difference:
        """How a picture differs; nothing is learned."""
        ...

    def follow(self, picture: NDArray[np.uint8]) -> Difference | None:
        """How the next live picture differs from what was known before it; None while too little is known."""
        ...

    def reset(self) -> None:
        """Forgets everything."""
        ...


class MedianBackground:
    """One background for each light that the clip is seen in."""

    def __init__(self, settings: MaskSettings) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._levels: list[Level] = []
        self._early: list[NDArray[np.uint8]] = []

    def learn(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Learns from a whole clip."""
        sample = EvenSample(self._settings.background_frames)
        for picture in pictures:
            sample.add(picture)
        rest = sample.pictures
        self._levels, self._early = [], []
        least = max(3, len(rest) // 10)
        while len(self._levels) < _BACKGROUNDS and rest and (not self._levels or len(rest) >= least):
            # noise is that of the pictures in one light: those of another one are left to the next level
            like, unlike = self._alike(rest)
            self._levels.append(Level.of(np.stack(like or rest)))
            rest = unlike if like else []

    def _alike(self, pictures: list[NDArray[np.uint8]]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
        """Pictures in the most frequent light, at one exposure, and those in another light as they are."""
        level = Level.of(np.stack(pictures))
        like, unlike = [], []
        for picture in pictures:
            gain = level.gain(picture) if self._settings.exposure else 1.0
            even = picture if abs(gain - 1) < 0.01 else cv2.convertScaleAbs(picture, alpha=1 / gain)
            off = np.max(np.abs(even - level.picture), axis=2) > _OTHER_LIGHT
            if off.mean() > self._settings.jump:
                unlike.append(picture)
            else:
                like.append(np.asarray(even, np.uint8))
        return like, unlike

    def compare(self, picture: NDArray[np.uint8]) -> Difference:
        """How a picture differs; nothing is learned."""
        differences = [level.difference(picture, self._settings) for level in self._levels]
        return min(differences, key=lambda difference: float(difference.changed.mean()))

    def follow(self, picture: NDArray[np.uint8]) -> Difference | None:
        """How the next live picture differs from what was known before it; None while too little is known."""
        if not self._levels:
            self._early.append(picture)
            if len(self._early) >= self._settings.warm_up:
                self._levels, self._early = [Level.of(np.stack(self._early))], []
            return None
        level = self._levels[0]
        difference = level.difference(picture, self._settings)
        if difference.changed.mean() <= self._settings.jump:
            level.picture += np.float32(self._settings.drift) * np.sign(picture - level.picture)
        return difference


class OpenCvBackground:
    """MOG2 or KNN; the noise for the test of the hue is that of all of the picture."""

    def __init__(self, settings: MaskSettings) -> None:
        self._settings = settings
        # KNN takes a rate of 0 for the fastest one: its update intervals are a division by the logarithm of 1 - rate
        self._no_learning = 0.0 if settings.method == 'mog2' else 1e-6
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._seen = 0
        self._make(self._settings.history)

    def _make(self, history: int) -> None:
        if self._settings.method == 'mog2':
            self._model: Any = cv2.createBackgroundSubtractorMOG2(history=history, detectShadows=False)
        else:
            self._model = cv2.createBackgroundSubtractorKNN(history=history, detectShadows=False)

    def learn(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Learns from a whole clip."""
        self.reset()
        # with the automatic rate, one over the frames so far, every frame of the clip weighs the same in the end
        self._make(2**30 if self._settings.method == 'mog2' else self._settings.history)
        for picture in pictures:
            self._model.apply(picture)
            self._seen += 1

    def compare(self, picture: NDArray[np.uint8]) -> Difference:
        """How a picture differs; nothing is learned."""
        return self._difference(picture, np.asarray(self._model.apply(picture, learningRate=self._no_learning)) > 0)

    def follow(self, picture: NDArray[np.uint8]) -> Difference | None:
        """How the next live picture differs from what was known before it; None while too little is known."""
        changed = np.asarray(self._model.apply(picture)) > 0
        self._seen += 1
        return self._difference(picture, changed) if self._seen > self._settings.warm_up else None

    def _difference(self, picture: NDArray[np.uint8], changed: NDArray[np.bool_]) -> Difference:
        empty = np.asarray(self._model.getBackgroundImage(), np.float32)
        noise = 1.4826 * float(np.median(np.abs(picture[::4, ::4] - empty[::4, ::4])))
        level = Level(empty, np.full(empty.shape, max(noise, _LEAST_NOISE), np.float32))
        return replace(level.difference(picture, self._settings), changed=changed)


class EvenSample:
    """Pictures evenly over a clip of unknown length: from `count` to twice as many, or all where there are fewer.

    Args:
        count: of pictures that are wanted.
    """

    def __init__(self, count: int) -> None:
        self.pictures: list[NDArray[np.uint8]] = []
        self._count, self._stride, self._seen = count, 1, 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Takes the next picture in, or not."""
        if self._seen % self._stride == 0:
            self.pictures.append(picture)
        self._seen += 1
        if len(self.pictures) >= 2 * self._count:
            self.pictures, self._stride = self.pictures[::2], 2 * self._stride
