# SPDX-License-Identifier: Apache-2.0
"""How good target masks are where the true ones are known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from radio_visual_ssl.vision.masks import MaskError, TargetMask, masks_from_labels

HIT_IOU = 0.5  # overlap with a true instance from which it counts as found
SIZES = {'small': 0.001, 'medium': 0.01, 'large': math.inf}
"""Share of the picture up to which a true instance counts as of that size."""


@dataclass(frozen=True)
class Found:
    """True instances of one size.

    Attributes:
        instances: true ones.
        found: of these.
    """

    instances: int
    found: int

    @property
    def recall(self) -> float | None:
        """Found of the true ones; None without any."""
        return self.found / self.instances if self.instances else None


@dataclass(frozen=True)
class MaskQuality:
    """Masks against true ones, over many frames; None where a figure is undefined.

    Attributes:
        frames: compared.
        precision: instances that overlap a true one by HIT_IOU or more, of all.
        recall: true instances that are found, of all.
        doubtless_precision: precision of the instances without a flag.
        doubtless: instances without a flag, of all.
        pixel_iou: intersection over union of all pixels of targets.
        median_iou: overlap of those found.
        median_bottom_error_px: distance of the bottom centres of those found.
        sizes: by name of SIZES.
    """

    frames: int
    precision: float | None
    recall: float | None
    doubtless_precision: float | None
    doubtless: float | None
    pixel_iou: float | None
    median_iou: float | None
    median_bottom_error_px: float | None
    sizes: dict[str, Found]


@dataclass
class MaskTally:
    """Collects frames with known masks and sums up how good the instances are.

    Attributes:
        least_area: px; smaller true instances count neither as missed nor, where found, as false.
    """

    least_area: int = 12
    _frames: int = field(default=0, init=False, repr=False)
    _pixels: list[int] = field(default_factory=lambda: [0, 0], init=False, repr=False)
    _verdicts: list[tuple[bool, bool]] = field(default_factory=list, init=False, repr=False)
    _true: list[tuple[str, bool]] = field(default_factory=list, init=False, repr=False)
    _hits: list[tuple[float, float]] = field(default_factory=list, init=False, repr=False)

    def add(self, instances: Sequence[TargetMask], labels: NDArray[Any]) -> None:
        """Compares one frame.

        Args:
            instances: found.
            labels: (H, W) unsigned integers, numbers of the true instances; 0 = none.

        Raises:
            MaskError: the truth is of another size.
        """
        picture = (int(labels.shape[1]), int(labels.shape[0]))
        for instance in instances:
            if instance.picture != picture:
                raise MaskError(f'truth: expected the size {instance.picture} of the masks, got {picture}')
        truth = masks_from_labels(labels, binary=False)
        overlaps = np.array([[one.iou(true) for true in truth] for one in instances])
        overlaps = overlaps.reshape(len(instances), len(truth))  # with none of either too
        rows, columns = linear_sum_assignment(-np.where(overlaps >= HIT_IOU, overlaps, 0.0))
        pairs = {int(a): int(b) for a, b in zip(rows, columns, strict=True) if overlaps[a, b] >= HIT_IOU}
        counted = [true.area >= self.least_area for true in truth]
        found = set(pairs.values())
        for index, instance in enumerate(instances):
            if index in pairs and not counted[pairs[index]]:
                continue
            self._verdicts.append((index in pairs, instance.doubtful))
            if index in pairs:
                true = truth[pairs[index]]
                self._hits.append(
                    (float(overlaps[index, pairs[index]]), math.dist(_bottom_centre(instance), _bottom_centre(true)))
                )
        whole = labels.size
        for index, true in enumerate(truth):
            if counted[index]:
                size = next(name for name, share in SIZES.items() if true.area <= share * whole)
                self._true.append((size, index in found))
        covered = np.zeros(labels.shape, np.bool_)
        for instance in instances:
            place = np.s_[instance.top : instance.top + instance.height, instance.left : instance.left + instance.width]
            covered[place] |= instance.mask
        self._pixels[0] += int(np.count_nonzero(covered & (labels > 0)))
        self._pixels[1] += int(np.count_nonzero(covered | (labels > 0)))
        self._frames += 1

    def quality(self) -> MaskQuality:
        """The figures of the frames so far."""
        right = [hit for hit, _ in self._verdicts]
        doubtless = [hit for hit, doubtful in self._verdicts if not doubtful]
        hits = np.array(self._hits).reshape(-1, 2)
        return MaskQuality(
            frames=self._frames,
            precision=_share(right),
            recall=_share([found for _, found in self._true]),
            doubtless_precision=_share(doubtless),
            doubtless=len(doubtless) / len(right) if right else None,
            pixel_iou=self._pixels[0] / self._pixels[1] if self._pixels[1] else None,
            median_iou=float(np.median(hits[:, 0])) if len(hits) else None,
            median_bottom_error_px=float(np.median(hits[:, 1])) if len(hits) else None,
            sizes={
                name: Found(
                    sum(size == name for size, _ in self._true),
                    sum(found for size, found in self._true if size == name),
                )
                for name in SIZES
            },
        )


def _bottom_centre(instance: TargetMask) -> tuple[float, float]:
    """(column, row) px of the middle of the box's lower edge: about where the target stands on the ground."""
    return instance.left + (instance.width - 1) / 2, instance.top + instance.height - 0.5


def _share(outcomes: Sequence[bool]) -> float | None:
    return sum(outcomes) / len(outcomes) if outcomes else None
