# SPDX-License-Identifier: Apache-2.0
"""What the masks of recordings look like, before anything is learned from them: figures, and a sheet of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radio_visual_ssl.evaluation.pictures import save_figure
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.vision.masks import TargetMask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
COLOURS = ('#56B4E9', '#E69F00', '#009E73', '#F0E442', '#CC79A7', '#D55E00')
"""Of masks and what belongs to them, in turn."""
_PANEL = 3.4  # inches


@dataclass(frozen=True)
class MaskFigures:
    """Of one recording.

    Attributes:
        pictures: that belong to radar frames.
        segmented: of these, that masks could be made of; in the others all of the picture changed at once.
        masks: of all pictures.
        empty: segmented pictures without a mask.
        truncated, merged, split, occluded: masks that are suspected to be so, see `TargetMask`.
        median_area: share of the picture that a mask covers; None without masks.
    """

    pictures: int
    segmented: int
    masks: int
    empty: int
    truncated: int
    merged: int
    split: int
    occluded: int
    median_area: float | None

    @classmethod
    def of(cls, recording: Recording) -> 'MaskFigures':
        """Those of a recording."""
        counts = np.diff(recording.mask_starts)
        segmented = recording.segmented & recording.has_image
        masks = [recording.mask(number) for number in range(recording.instances)]
        areas = [mask.area / (mask.picture[0] * mask.picture[1]) for mask in masks]
        return cls(
            pictures=int(recording.has_image.sum()),
            segmented=int(segmented.sum()),
            masks=len(masks),
            empty=int(np.sum(segmented & (counts == 0))),
            truncated=sum(mask.truncated for mask in masks),
            merged=sum(mask.merged for mask in masks),
            split=sum(mask.split for mask in masks),
            occluded=sum(mask.occluded for mask in masks),
            median_area=float(np.median(areas)) if areas else None,
        )


def draw_mask_sheet(recordings: Sequence[Recording], out: str | Path, count: int = 12) -> Path:
    """Draws pictures with their masks, spread evenly over the pictures of all recordings.

    Args:
        recordings: with pictures.
        out: path of the PNG; replaced atomically, its folder is made.
        count: most pictures.

    Returns:
        The path written.

    Raises:
        ValueError: no picture in any of the recordings.
    """
    from matplotlib.figure import Figure

    frames = [(each, int(row)) for each in recordings for row in np.flatnonzero(each.has_image)]
    if not frames:
        raise ValueError('recordings: expected pictures to draw masks in, got none')
    # the middle of each part, for first pictures tell least
    parts = min(count, len(frames))
    chosen = [frames[int((part + 0.5) * len(frames) / parts)] for part in range(parts)]
    rows = -(-len(chosen) // COLUMNS)
    width, height = chosen[0][0].image_size
    size = COLUMNS * _PANEL, rows * (_PANEL * height / width + 0.3)
    figure = Figure(figsize=size, dpi=100, layout='constrained', facecolor='white')
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for place, (recording, frame) in zip(axes, chosen, strict=False):
        _draw(place, recording, frame)
    for place in axes:
        place.set_axis_off()
    return save_figure(figure, out)


def _draw(axes: 'Axes', recording: Recording, frame: int) -> None:
    """One picture with its masks; doubtful ones are dashed."""
    width, height = recording.image_size
    axes.imshow(np.asarray(recording.images[frame]), extent=(0, width, height, 0))
    masks = recording.masks(frame)
    for number, mask in enumerate(masks):
        draw_mask(axes, mask, COLOURS[number % len(COLOURS)], 'dashed' if mask.doubtful else 'solid')
    seconds = (recording.stamps_ns[frame] - recording.stamps_ns[0]) * 1e-9
    said = f'{len(masks)} mask{"s" * (len(masks) != 1)}' if recording.segmented[frame] else 'not segmented'
    axes.set_title(f'{recording.name}, {seconds:.1f} s: {said}', fontsize=9, loc='left')


def draw_mask(axes: 'Axes', mask: TargetMask, colour: str, outline: str = 'solid') -> None:
    """Draws a mask over the picture, in pixels of the picture as recorded."""
    whole = mask.full()
    axes.contourf(whole, levels=[0.5, 1.5], colors=[colour], alpha=0.5)
    axes.contour(whole, levels=[0.5], colors=[colour], linewidths=1.5, linestyles=outline)
