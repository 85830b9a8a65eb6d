# SPDX-License-Identifier: Apache-2.0
"""Cuts what moves in a picture into instances, and says which of them may be several targets."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.vision.mask_settings import MaskSettings
from radio_visual_ssl.vision.masks import TargetMask

_NECK = 0.5  # two bodies touch where the bridge is at most this part of the thinner one
_BESIDE = 1  # px beyond a blob's last one where an outline is looked for
_HIDDEN_FOOT = 0.6  # of the foot
_HIDDEN_SIDE = 0.8  # of a side
_LEAST_PART = 0.2  # of an instance's area, below which a part is no body of its own
_HANGING_WIDTH = 0.5  # of the blob's width: what is wider is the body's own foot
_HANGING_HEIGHT = 0.2  # of the blob's height: less are wheels
_HANGING_SHAPE = 0.45  # height over width: less is the near corner of a body that stands at an angle
_HANGING_STEP = 2.2  # by which the blob is wider above: a round body widens slowly
_CORNER = 0.06  # of the blob's height, over which closing may have rounded the step
_BODY_SHAPE = 0.8  # least width over height of a blob with something before a body: one that walks is slimmer
_FIGURE_SHAPE = 2.5  # height over width of somebody who stands before a body and covers part of it


def find_instances(
    foreground: NDArray[np.uint8],
    settings: MaskSettings = MaskSettings(),
    picture: tuple[int, int] | None = None,
    shadow: NDArray[np.bool_] | None = None,
    outlines: NDArray[np.bool_] | None = None,
) -> list[TargetMask]:
    """Cuts a foreground into instances.

    Gaps are closed over a length that grows with the picture, holes are filled, blobs too small for a target are
    dropped. Pieces one above the other, of like width and with a small gap, are one target that something divides or
    whose middle looks like the background. A blob with a narrow bridge is two targets side by side; where one part
    stands on the other it may as well be one, and is only suspected. Who reaches down from a wider body stands before
    it; what he covers of it belongs to both masks.

    Args:
        foreground: (H, W), 0 = background.
        settings: closing, smallest and separate.
        picture: (width, height) px of the records, where the foreground is of a scaled picture.
        shadow: (H, W), over which no gap is closed.
        outlines: (H, W), edges of the background; what ends there at its foot or its side may be hidden behind it.

    Returns:
        The largest first.
    """
    rows, columns = foreground.shape
    size = 2 * round(settings.closing * rows / 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # a margin, or closing would pull in the border of the picture
    padded = cv2.copyMakeBorder((foreground > 0).astype(np.uint8), size, size, size, size, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[size:-size, size:-size]
    if shadow is not None:
        closed = closed * (~shadow | (foreground > 0)).astype(np.uint8)
    contours = cv2.findContours(np.ascontiguousarray(closed), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    filled = np.zeros((rows, columns), np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(filled, connectivity=8)
    least = max(settings.smallest * rows * columns, 3.0)
    blobs = [
        _Blob(int(left), int(top), labels[top : top + height, left : left + width] == index)
        for index, (left, top, width, height, area) in enumerate(boxes[:count].tolist())
        if index and area >= least / 4
    ]
    found: list[TargetMask] = []
    scaled = picture or (columns, rows)
    for blob in _join(blobs):
        if np.count_nonzero(blob.mask) < least:
            continue
        parts, merged = _parts(blob, least) if settings.separate else ([blob], False)
        lowest = max(part.bottom for part in parts)
        for part in parts:
            record = _record(part, (columns, rows), scaled)
            hidden = part.bottom < lowest or (outlines is not None and _ends_at(part, outlines))
            found.append(replace(record, merged=merged, split=len(parts) > 1, occluded=hidden))
    return sorted(found, key=lambda instance: -instance.area)


@dataclass(frozen=True, eq=False)
class _Blob:
    """A piece of foreground: its box's first pixel, and the mask within the box."""

    left: int
    top: int
    mask: NDArray[np.bool_]
    pieces: int = 1

    @property
    def right(self) -> int:
        return self.left + int(self.mask.shape[1])

    @property
    def bottom(self) -> int:
        return self.top + int(self.mask.shape[0])

    def with_(self, other: '_Blob') -> '_Blob':
        left, top = min(self.left, other.left), min(self.top, other.top)
        mask = np.zeros((max(self.bottom, other.bottom) - top, max(self.right, other.right) - left), np.bool_)
        for blob in (self, other):
            mask[blob.top - top : blob.bottom - top, blob.left - left : blob.right - left] |= blob.mask
        return _Blob(left, top, mask, self.pieces + other.pieces)

    def belongs_to(self, other: '_Blob') -> bool:
        """Whether two pieces stand one above the other, are of like width and have a small gap."""
        narrow, wide = sorted((self.right - self.left, other.right - other.left))
        common = min(self.right, other.right) - max(self.left, other.left)
        gap = max(self.top, other.top) - min(self.bottom, other.bottom)
        height = max(self.bottom, other.bottom) - min(self.top, other.top)
        return common >= 0.6 * narrow and wide <= 2.5 * narrow and gap <= 0.2 * height


def _join(blobs: list[_Blob]) -> list[_Blob]:
    """Puts the pieces of one target together."""
    joined: list[_Blob] = []
    for blob in sorted(blobs, key=lambda blob: -blob.mask.size):
        mate = next((index for index, other in enumerate(joined) if blob.belongs_to(other)), None)
        if mate is None:
            joined.append(blob)
        else:
            joined[mate] = joined[mate].with_(blob)
    return joined


def _parts(blob: _Blob, least: float) -> tuple[list[_Blob], bool]:
    """Cuts a blob into the bodies that it holds.

    Returns:
        Them, or itself, and whether it is suspected to be several all the same.
    """
    hanging, body = [], blob
    while (cut := _standing_before(body, least)) is not None:
        body, figure = cut
        hanging.append(figure)
    parts, merged = _separate(body, least)
    return [*parts, *hanging], merged


def _standing_before(blob: _Blob, least: float) -> tuple[_Blob, _Blob] | None:
    """Cuts off what stands before a wider body and reaches farther down, such as a pedestrian before a van.

    On flat ground what is nearer ends lower: the foot of the whole blob says where the nearer one is, while most of
    its pixels may show the other one.

    Returns:
        The body, whose part that is covered counts as its own, and what stands before it; None where nothing does.
    """
    rows, columns = blob.mask.shape
    filled = blob.mask.any(axis=1)
    extent = columns - np.argmax(blob.mask, axis=1) - np.argmax(blob.mask[:, ::-1], axis=1)
    narrow = ~filled | (extent <= _HANGING_WIDTH * columns)
    foot = rows if narrow.all() else int(np.argmin(narrow[::-1]))
    body_height = rows - foot
    if foot == rows or foot < max(_HANGING_HEIGHT * rows, 3) or columns < _BODY_SHAPE * rows:
        return None
    step = max(2, round(_CORNER * rows))
    upper, lower = extent[max(body_height - 1 - step, 0)], extent[min(body_height + step, rows - 1)]
    if upper < _HANGING_STEP * lower:
        return None
    below = blob.mask.copy()
    below[:body_height] = False
    covered = np.flatnonzero(below.sum(axis=0) >= foot / 2)  # closing has filled the corners above
    if not covered.size:
        return None
    first, end = int(covered[0]), int(covered[-1]) + 1
    if foot < _HANGING_SHAPE * (end - first):
        return None
    top = max(rows - max(round(_FIGURE_SHAPE * (end - first)), foot), 0)
    figure = blob.mask.copy()
    figure[:top], figure[:, :first], figure[:, end:] = False, False, False
    body = blob.mask & ~below
    if min(np.count_nonzero(figure), np.count_nonzero(body)) < least:
        return None
    return _cut(blob, body), _cut(blob, figure)


def _separate(blob: _Blob, least: float) -> tuple[list[_Blob], bool]:
    """Cuts a blob at its narrowest bridge, if it has one.

    Returns:
        Its parts, or itself, and whether it is suspected to be several targets all the same.
    """
    padded = np.pad(blob.mask, 1).astype(np.uint8)
    depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5), np.float32)
    smallest = max(least, _LEAST_PART * np.count_nonzero(blob.mask))
    for level in np.unique(np.clip(np.linspace(1.0, _NECK * float(depth.max()), 8), 1.0, None)):
        count, cores = cv2.connectedComponents((depth > level).astype(np.uint8))
        if count < 3:
            continue
        peaks = np.zeros(count, np.float32)
        np.maximum.at(peaks, cores.ravel(), depth.ravel())
        thick = [core for core in range(1, count) if _NECK * peaks[core] >= level]
        if len(thick) < 2:
            continue
        seeds = np.isin(cores, thick)
        _, nearest = cv2.distanceTransformWithLabels(
            (~seeds).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
        )
        nearest = nearest[1:-1, 1:-1]
        parts = [_cut(blob, blob.mask & (nearest == label)) for label in np.unique(nearest[blob.mask])]
        if min(np.count_nonzero(part.mask) for part in parts) < smallest:
            continue
        if any(_stands_on(a, b) or _stands_on(b, a) for a in parts for b in parts if a is not b):
            return [blob], True
        return parts, False
    return [blob], False


def _cut(blob: _Blob, mask: NDArray[np.bool_]) -> _Blob:
    """The part of a blob where the mask is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return _Blob(blob.left + left, blob.top + top, mask[top : rows[-1] + 1, left : columns[-1] + 1], blob.pieces)


def _stands_on(upper: _Blob, lower: _Blob) -> bool:
    """Whether one part is mostly above the other, and within its width."""
    common = min(upper.right, lower.right) - max(upper.left, lower.left)
    above = upper.bottom - lower.top < 0.3 * (upper.bottom - upper.top)
    return above and common >= 0.7 * (upper.right - upper.left)


def _ends_at(blob: _Blob, outlines: NDArray[np.bool_]) -> bool:
    """Whether most of a blob's foot, left or right side lies along outlines of the background."""
    padded = np.pad(outlines, _BESIDE)
    near = padded[blob.top : blob.bottom + 2 * _BESIDE, blob.left : blob.right + 2 * _BESIDE]
    mask = np.pad(blob.mask, _BESIDE)
    sides = [(mask, near), (mask.T, near.T), (mask.T[::-1], near.T[::-1])]
    for (ends, edges), part in zip(sides, (_HIDDEN_FOOT, _HIDDEN_SIDE, _HIDDEN_SIDE), strict=True):
        columns = np.flatnonzero(ends.any(axis=0))
        last = len(ends) - 1 - np.argmax(ends[::-1, columns], axis=0)
        rows = np.minimum(last + np.arange(_BESIDE + 1)[:, None], len(ends) - 1)
        if np.mean(edges[rows, columns].any(axis=0)) > part:
            return True
    return False


def _record(blob: _Blob, working: tuple[int, int], picture: tuple[int, int]) -> TargetMask:
    """The record of a blob, in the pixels of the picture."""
    left, top, mask = blob.left, blob.top, blob.mask
    if working != picture:
        columns = _source(picture[0], working[0])
        rows = _source(picture[1], working[1])
        chosen_rows = np.flatnonzero((rows >= blob.top) & (rows < blob.bottom))
        chosen_columns = np.flatnonzero((columns >= blob.left) & (columns < blob.right))
        left, top = int(chosen_columns[0]), int(chosen_rows[0])
        mask = mask[np.ix_(rows[chosen_rows] - blob.top, columns[chosen_columns] - blob.left)]
    return TargetMask(left, top, mask.copy(), picture, fragments=blob.pieces)


def _source(wanted: int, present: int) -> NDArray[np.int64]:
    """(wanted,) the pixel of a scaled line that each pixel of the full one lies in."""
    return (np.arange(wanted) * present) // wanted
