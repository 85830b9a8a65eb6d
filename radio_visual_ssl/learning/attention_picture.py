# SPDX-License-Identifier: Apache-2.0
"""Pictures of what teaches: masks in the camera's picture, and where in the heatmap the query of each attends."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from radio_visual_ssl.evaluation.pictures import legend_below, save_figure
from radio_visual_ssl.learning.contrastive_model import ContrastiveModel
from radio_visual_ssl.learning.label_set import RecordingLabels
from radio_visual_ssl.learning.mask_sheet import COLOURS, draw_mask
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.models.attention import find_peaks
from radio_visual_ssl.radar.grid import CartesianGrid, polar_to_cartesian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_RANGE = 50.0  # m
_ROWS = 600
_CONTOURS = (0.2, 0.6)  # of the attention's peak
_APART = 0.04  # of the range shown, between peaks that have a number each


def most_masked(recordings: Sequence[Recording]) -> list[tuple[Recording, int]]:
    """Of each recording with masks the frame that has the most, the first of equals."""
    return [(each, int(np.argmax(np.diff(each.mask_starts)))) for each in recordings if each.instances]


def draw_attention(recording: Recording, frame: int, model: ContrastiveModel, out: str | Path) -> Path:
    """Draws the masks of a frame and, in the colour of each, the attention of its query over the heatmap.

    Masks and peaks are numbered: one attention may hide another one, and then the numbers of both stand at one place.

    Args:
        recording: of the radar that the model was trained for.
        frame: of the recording.
        model: whose attention it is.
        out: path of the PNG; replaced atomically, its folder is made.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 5.6), dpi=80, layout='constrained', facecolor='white')
    camera_axes, top_axes = figure.subplots(1, 2, width_ratios=[1.12, 1])
    draw_attention_panels(camera_axes, top_axes, recording, frame, model)
    return save_figure(figure, out)


def draw_attention_panels(
    camera_axes: 'Axes',
    top_axes: 'Axes',
    recording: Recording,
    frame: int,
    model: ContrastiveModel,
    labels: RecordingLabels | None = None,
    max_range: float = _MAX_RANGE,
) -> None:
    """Draws the two panels of `draw_attention`, and the labels that came of it, into axes of a larger picture.

    Args:
        camera_axes: of the picture with the masks.
        top_axes: of the heatmap from above.
        recording: of the radar that the model was trained for.
        frame: of the recording.
        model: whose attention it is.
        labels: of the recording; those that are kept are marked.
        max_range: m shown.
    """
    from matplotlib.lines import Line2D

    max_range = min(max_range, float(recording.grid.range[-1]))
    image = np.asarray(recording.images[frame])
    masks = recording.masks(frame)
    full = recording.image_size
    camera_axes.imshow(image, extent=(0, full[0], full[1], 0))
    camera_axes.set_axis_off()
    camera_axes.set_title('masks of what moves', fontsize=11, loc='left')
    side = _draw_heatmap(top_axes, recording, frame, max_range)
    maps = model.attention(recording, np.array([frame], dtype=np.int64))
    rows, columns = np.meshgrid(*(np.arange(size) for size in model.cells.shape), indexing='ij')
    range_, azimuth = model.cells.decode(rows, columns)
    peaks = _peaks(maps, model)
    label_of: dict[int, int] = {}
    if labels is not None:
        label_of = {int(labels.instance[number]): number for number in labels.of_frame(frame) if labels.kept[number]}
    for number, mask in enumerate(masks):
        colour = COLOURS[number % len(COLOURS)]
        draw_mask(camera_axes, mask, colour)
        filled_rows, filled_columns = np.nonzero(mask.mask)
        _write_number(
            camera_axes, str(number + 1), mask.left + filled_columns.mean(), mask.top + filled_rows.mean(), colour
        )
        share = np.exp(maps[number] - maps[number].max())
        where = (range_ * np.sin(azimuth), range_ * np.cos(azimuth))
        top_axes.contour(*where, share, levels=_CONTOURS, colors=[colour], linewidths=[0.8, 1.4])
        peak = peaks[number]
        style: dict[str, Any] = {'color': colour, 'linestyle': 'none', 'markeredgewidth': 2}
        top_axes.plot(peak[0] * np.sin(peak[1]), peak[0] * np.cos(peak[1]), 'x', markersize=9, **style)
        if labels is not None and number in label_of:
            place = labels.range[label_of[number]], labels.azimuth[label_of[number]]
            top_axes.plot(place[0] * np.sin(place[1]), place[0] * np.cos(place[1]), 'o', fillstyle='none',
                          markersize=13, **style)  # fmt: skip
    kinds: Any = (('attention', '', '-'), ('its peak', 'x', 'none'), ('label', 'o', 'none'))
    handles = [
        Line2D([], [], marker=marker, linestyle=line, color='0.5', fillstyle='none', label=text)
        for text, marker, line in (kinds if labels is not None else kinds[:2])
    ]
    legend_below(top_axes, handles)
    places = np.column_stack([peaks[:, 0] * np.sin(peaks[:, 1]), peaks[:, 0] * np.cos(peaks[:, 1])])
    for group in groups_of_near(places, _APART * max_range):
        text, colour = ', '.join(str(number + 1) for number in group), COLOURS[group[0] % len(COLOURS)]
        x, y = places[group[0]]
        _write_number(top_axes, text, x, y, colour, offset=(9, 7))
    top_axes.set(xlim=(side, -side), ylim=(0, max_range), xlabel='left (m)', ylabel='forward (m)')
    top_axes.set_title('radar heatmap from above', fontsize=11, loc='left')


def groups_of_near(places: NDArray[np.float64], distance: float) -> list[list[int]]:
    """Puts each of (N, 2) places to the first group whose first place is within a distance, or begins a group."""
    groups: list[list[int]] = []
    for number, place in enumerate(places):
        near = [group for group in groups if np.linalg.norm(places[group[0]] - place) <= distance]
        if near:
            near[0].append(number)
        else:
            groups.append([number])
    return groups


def _write_number(
    axes: 'Axes', text: str, x: float, y: float, colour: str, offset: tuple[float, float] = (0.0, 0.0)
) -> None:
    """In the colour, with a dark rim that is seen on any ground; offset in points."""
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text, (x, y), xytext=offset, textcoords='offset points', ha='center', va='center', color=colour, fontsize=10,
        fontweight='bold', path_effects=[withStroke(linewidth=2.5, foreground='black')], annotation_clip=True,
    )  # fmt: skip


def _draw_heatmap(axes: 'Axes', recording: Recording, frame: int, far: float) -> float:
    """In grey, seen from above; returns how far to the sides it is shown (m)."""
    heatmap, grid = recording.heatmap(frame), recording.grid
    cell, side = far / _ROWS, 0.75 * far
    places = CartesianGrid(cell / 2, -side + cell / 2, (_ROWS, round(2 * side / cell)), cell)
    values = np.ma.masked_invalid(polar_to_cartesian(heatmap.values, grid, places))[:, ::-1]
    low, high = np.quantile(values.compressed(), (0.5, 0.9995))
    axes.imshow(values, origin='lower', extent=(side, -side, 0, far), cmap='gray', vmin=low, vmax=max(high, low + 1))
    axes.set_facecolor('0.93')
    return side


def _peaks(maps: NDArray[np.float32], model: ContrastiveModel) -> NDArray[np.float64]:
    """(I, 2) range (m) and azimuth (rad) of the highest place of each map."""
    found = find_peaks(torch.from_numpy(maps), model.cells.wraps)
    return np.column_stack(model.cells.decode(found.row.numpy(), found.column.numpy()))
