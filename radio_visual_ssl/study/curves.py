# SPDX-License-Identifier: Apache-2.0
"""Curves of a study: a figure over the first axis, with the spread over the seeds, one line for each series."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radio_visual_ssl.evaluation.pictures import save_figure
from radio_visual_ssl.evaluation.plots import CURVES
from radio_visual_ssl.study.description import Axis, Figure
from radio_visual_ssl.study.plan import value_text
from radio_visual_ssl.study.results import Cell, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

_MARKERS = 'osD^vP*'
_RUNS: dict[str, Any] = {'linestyle': '', 'marker': 'o', 'markersize': 4, 'markerfacecolor': 'white', 'zorder': 5}
_LOST: dict[str, Any] = {'linestyle': '', 'marker': 'x', 'markersize': 8, 'markeredgewidth': 2, 'zorder': 6}
_Line = list[tuple[int, Cell]]


def draw_results(results: Results, out: Path) -> list[Path]:
    """Draw each figure of a study that is to be drawn.

    Args:
        results: of the study.
        out: folder of the results, in which each PNG is named after its figure.

    Returns:
        The paths written; figures of which nothing is known are left out.
    """
    paths = []
    for figure in results.plan.study.figures:
        known = [cell for (_, _, name), cell in results.cells.items() if name == figure.name and cell.values]
        if figure.curve and known:
            paths.append(_draw(results, figure, out / f'{figure.name}.png'))
    return paths


def _draw(results: Results, figure: Figure, path: Path) -> Path:
    from matplotlib.figure import Figure as Picture

    study = results.plan.study
    lines = _lines(results, figure)
    if not study.axes:
        picture = Picture(figsize=(7.2, 1.4 + 0.45 * len(lines)), dpi=100, layout='constrained', facecolor='white')
        axes = picture.add_subplot()
        _draw_rows(axes, lines)
        axes.set_xlabel(figure.heading)
    else:
        picture = Picture(figsize=(7.2, 4.4), dpi=100, layout='constrained', facecolor='white')
        axes = picture.add_subplot()
        _draw_lines(axes, study.axes[0], lines)
        axes.set_xlabel(f'{study.axes[0].label}{f" ({study.axes[0].unit})" if study.axes[0].unit else ""}')
        axes.set_ylabel(figure.heading)
        if len(lines) > 1:
            axes.legend(frameon=False)
    axes.grid(color='0.88')
    axes.set_axisbelow(True)
    axes.set_title(results.plan.title, fontsize=11, wrap=True)
    return save_figure(picture, path)


def _lines(results: Results, figure: Figure) -> dict[str, _Line]:
    """(Number of the value of the first axis, cell) by the name of the line: the series and the other axes' values."""
    study = results.plan.study
    lines: dict[str, _Line] = {}
    for number, point in enumerate(results.plan.points):
        first = study.axes[0].values.index(point.values[0]) if study.axes else 0
        others = [
            f'{axis.label} {value_text(each.value)}{f" {axis.unit}" if axis.unit else ""}'
            for axis, each in zip(study.axes[1:], point.values[1:], strict=True)
        ]
        for series in study.series:
            cell = results.cells.get((number, series, figure.name))
            if cell is not None:
                lines.setdefault(', '.join(filter(None, [series, *others])), []).append((first, cell))
    return lines


def _draw_lines(axes: 'Axes', axis: Axis, lines: dict[str, _Line]) -> None:
    numeric = axis.numeric
    places = [float(each.value) if numeric else float(number) for number, each in enumerate(axis.values)]
    if axis.scale == 'log':
        axes.set_xscale('log')
    axes.set_xticks(places, [value_text(each.value) for each in axis.values])
    axes.minorticks_off()
    for index, (name, line) in enumerate(lines.items()):
        colour, marker = CURVES[index % len(CURVES)], _MARKERS[index % len(_MARKERS)]
        x = [places[number] for number, _ in line]
        # the line breaks where there is none
        means = [math.nan if cell.mean is None else cell.mean for _, cell in line]
        axes.errorbar(x, means, _spreads([cell for _, cell in line]), color=colour, marker=marker, markersize=6,
                      linewidth=1.8, linestyle='-' if numeric else ':', capsize=4, label=name)  # fmt: skip
        for place, (_, cell) in zip(x, line, strict=True):
            axes.plot([place] * len(cell.values), cell.values, color=colour, **_RUNS)
            _tell_lost(axes, cell, place, cell.mean, axes.get_xaxis_transform(), colour, 6 + 10 * index)


def _draw_rows(axes: 'Axes', lines: dict[str, _Line]) -> None:
    """One row for each series, the first at the top, where there is no axis."""
    for index, (_, line) in enumerate(lines.items()):
        colour = CURVES[index % len(CURVES)]
        for _, cell in line:
            if cell.mean is not None:
                spread = _spreads([cell])
                axes.errorbar([cell.mean], [index], xerr=spread, color=colour, marker='o', markersize=7, capsize=4)
                axes.plot(cell.values, [index] * len(cell.values), color=colour, **_RUNS)
            _tell_lost(axes, cell, cell.mean, index, axes.get_yaxis_transform(), colour, 6)
    axes.set_yticks(range(len(lines)), list(lines))
    axes.set_ylim(len(lines) - 0.5, -0.5)


def _spreads(cells: Sequence[Cell]) -> list[float] | None:
    """Lengths of the bars; one run has none, not one of no length."""
    if all(cell.spread is None for cell in cells):
        return None
    return [math.nan if cell.spread is None else cell.spread for cell in cells]


def _tell_lost(
    axes: 'Axes', cell: Cell, x: float | None, y: float | None, at_axis: 'Transform', colour: str, above: float
) -> None:
    """Tell how many runs are not in a mean; where there is no mean, at a cross on the axis.

    Args:
        axes: that are drawn in.
        cell: of the point.
        x: of its mean; None: there is none.
        y: of its mean; None: there is none.
        at_axis: to be used then, in which 0 is the axis.
        colour: of the line.
        above: points by which the text of a cross stands above it.
    """
    counts = (('lost', cell.diverged + cell.failed), ('undefined', cell.undefined))
    text = ', '.join(f'{count} of {cell.runs} {what}' for what, count in counts if count)
    if not text:
        return
    coordinates: str | Transform = 'data'
    offset = 6.0
    if x is None or y is None:
        x, y, coordinates, offset = x or 0.0, y or 0.0, at_axis, above
        axes.plot([x], [y], transform=at_axis, color=colour, clip_on=False, **_LOST)
    axes.annotate(text, (x, y), (6, offset), xycoords=coordinates, textcoords='offset points', fontsize=8, color=colour,
                  annotation_clip=False)  # fmt: skip
