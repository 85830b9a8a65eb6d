# SPDX-License-Identifier: Apache-2.0
"""Target masks: one record for each instance, whatever it comes from, and those of recorded masks and detections.

Masks of what moves before a static camera, without any label: `radio_visual_ssl.vision.segmentation`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


class MaskError(ValueError):
    """A mask, a box or a picture that cannot be used; the message names the field, the value and what was expected."""


@dataclass(frozen=True, eq=False)
class TargetMask:
    """One instance in one picture.

    Attributes:
        left, top: px, of the bounding box's first pixel.
        mask: (height, width) bool, inside the bounding box; of a detection's box all true.
        picture: (width, height) px of the whole picture.
        number: instance id that was recorded with it; 0 = none.
        score: of the detector, in [0, 1]; 1 where there was none.
        fragments: pieces that it was put together from.
        merged: suspected to be several targets.
        split: cut from a blob that was suspected to be several targets.
        occluded: suspected to be partly hidden.
        label: class name that was recorded with it; empty = unknown.
    """

    left: int
    top: int
    mask: NDArray[np.bool_]
    picture: tuple[int, int]
    number: int = 0
    score: float = 1.0
    fragments: int = 1
    merged: bool = False
    split: bool = False
    occluded: bool = False
    label: str = ''

    @property
    def width(self) -> int:
        """Of the bounding box, px."""
        return int(self.mask.shape[1])

    @property
    def height(self) -> int:
        """Of the bounding box, px."""
        return int(self.mask.shape[0])

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.mask))

    @property
    def truncated(self) -> bool:
        """Whether it touches the border of the picture."""
        right, bottom = self.left + self.width, self.top + self.height
        return self.left <= 0 or self.top <= 0 or right >= self.picture[0] or bottom >= self.picture[1]

    @property
    def doubtful(self) -> bool:
        """Whether any flag is up."""
        return self.truncated or self.merged or self.split or self.occluded

    def full(self) -> NDArray[np.bool_]:
        """(H, W) bool, the mask in the whole picture."""
        whole = np.zeros(self.picture[::-1], dtype=np.bool_)
        whole[self.top : self.top + self.height, self.left : self.left + self.width] = self.mask
        return whole

    def iou(self, other: 'TargetMask') -> float:
        """Intersection over union of the masks of two instances."""
        common = self._common(other)
        return common / (self.area + other.area - common)

    def covered_by(self, other: 'TargetMask') -> float:
        """Share of this mask that lies under the other one."""
        return self._common(other) / self.area

    def _common(self, other: 'TargetMask') -> int:
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.width, other.left + other.width)
        bottom = min(self.top + self.height, other.top + other.height)
        if left >= right or top >= bottom:
            return 0
        mine = self.mask[top - self.top : bottom - self.top, left - self.left : right - self.left]
        its = other.mask[top - other.top : bottom - other.top, left - other.left : right - other.left]
        return int(np.count_nonzero(mine & its))


class Outcome(Enum):
    """What became of a picture."""

    SEGMENTED = 'segmented'
    WARM_UP = 'warm-up'
    """The background is not known yet: no masks."""
    JUMP = 'jump'
    """Most of the picture changed at once (light switched, camera moved): no masks."""


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """What moves in one picture.

    Attributes:
        outcome: whether there can be masks at all.
        instances: the largest first.
        changed: share of the picture that differs from the background, shadows included.
    """

    outcome: Outcome
    instances: tuple[TargetMask, ...] = ()
    changed: float = 0.0


def masks_from_labels(labels: NDArray[Any], binary: bool | None = None) -> list[TargetMask]:
    """Instances of a recorded mask.

    Args:
        labels: (H, W) unsigned integers; 0 = background.
        binary: whether any other value says only that a target is there, so that connected pieces are the instances;
            None: where 255 is the only one.

    Returns:
        One for each number, or each piece; the largest first. One in several pieces is suspected to be partly hidden,
        as is one that touches another one with a lower bottom edge.

    Raises:
        MaskError: another shape or type.
    """
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.unsignedinteger):
        raise MaskError(f'mask: expected (H, W) unsigned integers, got {labels.dtype} {labels.shape}')
    picture = (int(labels.shape[1]), int(labels.shape[0]))
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    if binary or (binary is None and numbers.tolist() == [255]):
        pieces, places = cv2.connectedComponents((labels > 0).astype(np.uint8))
        found = [_whole(places == piece, picture) for piece in range(1, pieces)]
    else:
        found = [replace(_whole(labels == number, picture), number=int(number)) for number in numbers]
    hidden = [instance.fragments > 1 or any(_hides(other, instance) for other in found) for instance in found]
    flagged = [replace(instance, occluded=flag) for instance, flag in zip(found, hidden, strict=True)]
    return sorted(flagged, key=lambda instance: -instance.area)


def _whole(mask: NDArray[np.bool_], picture: tuple[int, int]) -> TargetMask:
    """The record of a mask in the whole picture."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    cut = mask[top : rows[-1] + 1, left : columns[-1] + 1].copy()
    pieces = cv2.connectedComponents(cut.astype(np.uint8))[0] - 1
    return TargetMask(left, top, cut, picture, fragments=pieces)


def _hides(other: TargetMask, instance: TargetMask) -> bool:
    """Whether another one touches an instance, and stands nearer: on flat ground the lower edge is lower."""
    if other is instance or other.top + other.height <= instance.top + instance.height:
        return False
    if (
        other.left > instance.left + instance.width
        or instance.left > other.left + other.width
        or other.top > instance.top + instance.height
    ):
        return False
    grown = cv2.dilate(np.pad(other.mask, 1).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
    return instance._common(replace(other, left=other.left - 1, top=other.top - 1, mask=grown)) > 0


_LABELS = {'mono8': 'u1', '8UC1': 'u1', 'mono16': 'u2', '16UC1': 'u2'}


def masks_from_image(message: Any, binary: bool | None = None) -> list[TargetMask]:
    """Instances of a recorded mask topic.

    Args:
        message: sensor_msgs/Image of any library: height, width, encoding (mono8, mono16, 8UC1 or 16UC1), is_bigendian,
            step, data.
        binary: as of `masks_from_labels`.

    Raises:
        MaskError: another encoding, or a step or data size that does not fit.
    """
    if message.encoding not in _LABELS:
        raise MaskError(f'Image.encoding of the mask: expected one of {", ".join(_LABELS)}, got {message.encoding!r}')
    kind = np.dtype(('>' if message.is_bigendian else '<') + _LABELS[message.encoding])
    height, width, step = int(message.height), int(message.width), int(message.step)
    if step < width * kind.itemsize:
        raise MaskError(f'Image.step of the mask: expected {width * kind.itemsize} or more, got {step}')
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * height:
        raise MaskError(f'Image.data of the mask: expected {step * height} bytes, got {data.size}')
    rows = data[: step * height].reshape(height, step)[:, : width * kind.itemsize]
    labels = np.ascontiguousarray(rows).view(kind).astype(kind.newbyteorder('='))
    return masks_from_labels(labels, binary)


def masks_from_boxes(boxes: Iterable[Any], picture: tuple[int, int], least_score: float = 0.0) -> list[TargetMask]:
    """Instances of a recorded detection topic; the mask is all of the box.

    Args:
        boxes: vision_msgs/Detection2D or BoundingBox2D of any library and version, or anything with the same fields:
            ``bbox`` (or itself) with ``center`` (``position.x`` and ``.y`` or ``x`` and ``y``, ``theta``), ``size_x``
            and ``size_y``, px; ``results`` with ``score`` and ``class_id`` or ``id`` (or ``hypothesis`` with these), of
            which the one of the highest score names the class; ``id``, kept where it is a number.
        picture: (width, height) px.
        least_score: of a detection that is used.

    Returns:
        The largest first. A turned box gives the upright one around it, one outside of the picture none. A box that a
        nearer one (its bottom edge is lower) covers by a third is suspected to be partly hidden.

    Raises:
        MaskError: a box without size, or with a value that is no number.
    """
    found = []
    for index, detection in enumerate(boxes):
        hypotheses = [getattr(result, 'hypothesis', result) for result in getattr(detection, 'results', ())]
        best = max(hypotheses, key=lambda each: float(each.score), default=None)
        score = 1.0 if best is None else float(best.score)
        if score < least_score:
            continue
        left, top, right, bottom = _edges(getattr(detection, 'bbox', detection), index)
        first_column, last_column = max(math.ceil(left), 0), min(math.floor(right), picture[0] - 1)
        first_row, last_row = max(math.ceil(top), 0), min(math.floor(bottom), picture[1] - 1)
        if first_column > last_column or first_row > last_row:
            continue
        mask = np.ones((last_row - first_row + 1, last_column - first_column + 1), np.bool_)
        name = str(getattr(detection, 'id', '') or '')
        number = int(name) if name.isdecimal() else 0
        # class_id is id in the versions of vision_msgs before it was renamed
        label = '' if best is None else str(getattr(best, 'class_id', getattr(best, 'id', '')))
        found.append(TargetMask(first_column, first_row, mask, picture, number, score, label=label))

    def hidden(instance: TargetMask) -> bool:
        bottom = instance.top + instance.height
        nearer = [other for other in found if other.top + other.height > bottom]
        return any(instance.covered_by(other) > 1 / 3 for other in nearer)

    flagged = [replace(instance, occluded=hidden(instance)) for instance in found]
    return sorted(flagged, key=lambda instance: -instance.area)


def _edges(box: Any, index: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the upright box around a box."""
    centre = getattr(box.center, 'position', box.center)
    values = {
        'center.x': float(centre.x),
        'center.y': float(centre.y),
        'center.theta': float(getattr(box.center, 'theta', 0.0)),
        'size_x': float(box.size_x),
        'size_y': float(box.size_y),
    }
    for name, value in values.items():
        if not math.isfinite(value) or (name.startswith('size') and value <= 0):
            wanted = 'a size above 0' if name.startswith('size') else 'a number'
            raise MaskError(f'detection {index}: {name}: expected {wanted}, got {value}')
    x, y, theta, width, height = values.values()
    cosine, sine = abs(math.cos(theta)), abs(math.sin(theta))
    half_width, half_height = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height
