# SPDX-License-Identifier: Apache-2.0
"""Plots of an evaluation: error curves, biases, maps, precision and recall, reliability, classes and differences.

The colours are those of Okabe and Ito, see `radio_visual_ssl.evaluation.pictures`; each localizer keeps its own.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.evaluation.breakdown import (
    LEAST_TARGETS,
    GroupFigures,
    PolarBins,
    PolarMaps,
    grouped_quantiles,
    per_class,
    per_visibility,
    precision_recall,
)
from radio_visual_ssl.evaluation.comparison import FIGURES, TITLES, Comparison
from radio_visual_ssl.evaluation.evaluate import Evaluation
from radio_visual_ssl.evaluation.pictures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_SCORE_BINS = 10
_SMALL = 8  # points


def draw_errors(evaluation: Evaluation, out: str | Path, title: str = '') -> Path:
    """Draws how many of the targets each localizer finds within which distance, to the centre and to the footprint.

    The curves end at the recall: a target that is missed is found at no distance.

    Args:
        evaluation: of one or several localizers.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), dpi=100, layout='constrained', facecolor='white')
    axes = figure.add_subplot()
    for index, (name, tally) in enumerate(evaluation.tallies.items()):
        errors, targets = tally.errors(), max(tally.metrics().targets, 1)
        for column, style, what in ((0, '-', 'to the centre'), (1, '--', 'to the footprint')):
            values = np.sort(errors[:, column])
            share = np.arange(len(values) + 1) / targets
            axes.step(np.append(0.0, values), share, style, where='post', color=CURVES[index % len(CURVES)],
                      linewidth=2, label=f'{name}, {what}')  # fmt: skip
    axes.set(xlabel='distance (m)', ylabel='share of the targets found', ylim=(0, 1), title=title or None)
    axes.set_xlim(left=0)
    axes.grid(color='0.85')
    axes.legend(loc='lower right', frameon=False)
    return save_figure(figure, out)


def draw_reliability(evaluation: Evaluation, out: str | Path, title: str = '') -> Path:
    """Draws whether scores and covariances mean what they say.

    Left: the share of the detections of a score that find a target, in ten bins; dots grow with the detections. Right:
    the share of the hits that lie within the ellipse that is to hold so many. Both lie on the diagonal where they are
    right, below it where a localizer is too sure of itself; hits are near their targets by definition, which lifts the
    right one a little.

    Args:
        evaluation: of one or several localizers.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.6), dpi=100, layout='constrained', facecolor='white')
    scores_axes, ellipse_axes = figure.subplots(1, 2)
    for index, (name, tally) in enumerate(evaluation.tallies.items()):
        colour = CURVES[index % len(CURVES)]
        scores, found = tally.scored()
        if not scores.size:
            continue
        of_bin = np.minimum((scores * _SCORE_BINS).astype(int), _SCORE_BINS - 1)
        counts, hits = (
            np.bincount(of_bin, weights=each, minlength=_SCORE_BINS) for each in (np.ones(len(scores)), found)
        )
        means = np.bincount(of_bin, weights=scores, minlength=_SCORE_BINS)
        some = counts > 0
        sizes = 10 + 90 * counts[some] / max(counts.max(initial=1), 1)
        scores_axes.plot(means[some] / counts[some], hits[some] / counts[some], color=colour, linewidth=1.5, label=name)
        scores_axes.scatter(means[some] / counts[some], hits[some] / counts[some], sizes, color=colour)
        deviations = tally.squared_deviations()
        # of a chi-square of two degrees of freedom: share within the squared distance d is 1 - exp(-d / 2)
        nominal = np.sort(-np.expm1(-deviations[np.isfinite(deviations)] / 2))
        if nominal.size:
            ellipse_axes.step(np.append(0.0, nominal), np.arange(nominal.size + 1) / nominal.size, where='post',
                              color=colour, linewidth=2, label=name)  # fmt: skip
    scores_axes.set(xlabel='score', ylabel='share that finds a target')
    ellipse_axes.set(xlabel='share of the hits that the ellipse is to hold', ylabel='share that it holds')
    for axes in (scores_axes, ellipse_axes):
        axes.plot((0, 1), (0, 1), color='0.6', linewidth=1, linestyle=':')
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.grid(color='0.85')
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc='lower right', frameon=False)
    figure.suptitle(title)
    return save_figure(figure, out)


def draw_precision_recall(evaluation: Evaluation, out: str | Path, title: str = '') -> Path:
    """Draws precision against recall as the threshold falls; a dot marks each localizer's own threshold.

    Args:
        evaluation: of one or several localizers.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), dpi=100, layout='constrained', facecolor='white')
    axes = figure.add_subplot()
    for index, (name, tally) in enumerate(evaluation.tallies.items()):
        recall, precision, _ = precision_recall(tally.records())
        metrics, colour = tally.metrics(), CURVES[index % len(CURVES)]
        label = name if metrics.ap_2m is None else f'{name}, AP {metrics.ap_2m:.2f}'
        axes.plot(recall, precision, color=colour, linewidth=2, label=label)
        if metrics.recall is not None and metrics.precision is not None:
            axes.plot(metrics.recall, metrics.precision, 'o', color=colour, markersize=9, markeredgecolor='white')
    axes.plot([], [], 'o', color='0.5', markersize=9, label='own threshold')
    axes.set(xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.02), title=title or None)
    axes.grid(color='0.85')
    axes.legend(loc='lower left', frameon=False)
    return save_figure(figure, out)


def draw_bias(evaluation: Evaluation, out: str | Path, title: str = '') -> Path:
    """Draws the signed errors of the hits against range: mean in each bin, and a bar over the middle half.

    Bins with fewer than `LEAST_TARGETS` hits are left out.

    Args:
        evaluation: of one or several localizers.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.6), dpi=100, layout='constrained', facecolor='white')
    both = figure.subplots(1, 2)
    bins = PolarBins.spanning(next(iter(evaluation.tallies.values())).records())
    for index, (name, tally) in enumerate(evaluation.tallies.items() if bins is not None else ()):
        assert bins is not None
        hits, colour, edges = tally.records().hits, CURVES[index % len(CURVES)], bins.range
        group, groups = bins.cells(hits)[0], len(edges) - 1
        counts = np.bincount(group, minlength=groups)
        width = np.diff(edges)
        places = edges[:-1] + (0.5 + 0.06 * (index - (len(evaluation.tallies) - 1) / 2)) * width
        for axes, errors in zip(both, (hits['range_error'], np.degrees(hits['azimuth_error'])), strict=True):
            means = np.bincount(group, errors, groups) / np.maximum(counts, 1)
            low, high = grouped_quantiles(errors, group, groups, (0.25, 0.75))
            means, low, high = (np.where(counts >= LEAST_TARGETS, each, np.nan) for each in (means, low, high))
            axes.vlines(places, low, high, color=colour, alpha=0.35, linewidth=5)
            axes.plot(places, means, 'o-', color=colour, linewidth=2, markersize=6, label=name)
    for axes, what in zip(both, ('range error (m), + too far', 'azimuth error (deg), + too far left'), strict=True):
        axes.axhline(0, color='0.4', linewidth=1)
        axes.set(xlabel='range of the target (m)', ylabel=what)
        if bins is not None:
            axes.set(xticks=bins.range, xlim=bins.range[[0, -1]])
        axes.grid(color='0.85')
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc='best', frameon=False)
    figure.suptitle(title)
    return save_figure(figure, out)


def draw_maps(evaluation: Evaluation, out: str | Path, title: str = '') -> Path:
    """Draws recall and median error over range and azimuth, a column for each localizer.

    In each cell stand its figure and, smaller, how many targets (hits) it is of; cells with fewer than `LEAST_TARGETS`
    are blank.

    Args:
        evaluation: of one or several localizers.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    names = list(evaluation.tallies)
    figure = Figure(figsize=(max(4.9 * len(names) + 0.8, 6.4), 9.2), dpi=100, layout='constrained', facecolor='white')
    panels = np.array(figure.subplots(2, len(names), squeeze=False))
    records = {name: tally.records() for name, tally in evaluation.tallies.items()}
    bins = PolarBins.spanning(records[names[0]])
    if bins is None:
        for axes in panels.flat:
            axes.set_axis_off()
            axes.text(0.5, 0.5, 'no targets', ha='center', va='center', transform=axes.transAxes)
        return save_figure(figure, out)
    maps = {name: PolarMaps.of(of, bins) for name, of in records.items()}
    errors = np.array([of.median_error for of in maps.values()])
    worst = float(np.nanmax(errors)) if np.isfinite(errors).any() else 1.0
    for column, (name, of) in enumerate(maps.items()):
        for row, values, counts, limit, what in (
            (0, of.recall, of.targets, 1.0, 'recall'),
            (1, of.median_error, of.hits, worst, 'median error (m)'),
        ):
            axes = panels[row, column]
            _draw_map(axes, bins, values, counts, max(limit, 1e-3), 'viridis' if row == 0 else 'viridis_r')
            axes.set_title(f'{name}: {what}', fontsize=11, loc='left')
    figure.suptitle(title)
    return save_figure(figure, out)


def _draw_map(
    axes: 'Axes', bins: PolarBins, values: NDArray[np.float64], counts: NDArray[np.int64], limit: float, colours: str
) -> None:
    shading = axes.pcolormesh(
        bins.azimuth, bins.range, np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=limit, edgecolors='white'
    )
    dark = np.asarray(shading.to_rgba(np.nan_to_num(values)))[..., :3] @ (0.3, 0.6, 0.1) < 0.5  # luminance
    for row, column in zip(*np.nonzero(counts), strict=True):
        azimuth, range_ = bins.azimuth[column : column + 2].mean(), bins.range[row : row + 2].mean()
        known = np.isfinite(values[row, column])
        colour = '0.45' if not known else 'white' if dark[row, column] else 'black'
        count = f'{counts[row, column]}'
        text = f'{values[row, column]:.2f}' if known else ''
        axes.annotate(text, (azimuth, range_), (0, 5), textcoords='offset points', ha='center', va='center',
                      color=colour, fontsize=9)  # fmt: skip
        axes.annotate(count, (azimuth, range_), (0, -7 if known else 0), textcoords='offset points', ha='center',
                      va='center', color=colour, fontsize=7)  # fmt: skip
    axes.invert_xaxis()
    axes.set_facecolor('0.95')
    axes.set(xlabel='azimuth (deg, + left)', ylabel='range (m)', xticks=bins.azimuth, yticks=bins.range)
    axes.tick_params(labelsize=_SMALL)


def draw_groups(evaluation: Evaluation, out: str | Path, title: str = '') -> Path:
    """Draws recall and median error of the hits by class and by visibility; below each group, its targets.

    Args:
        evaluation: of one or several localizers.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 7.2), dpi=100, layout='constrained', facecolor='white')
    panels = np.array(figure.subplots(2, 2))
    records = {name: tally.records() for name, tally in evaluation.tallies.items()}
    for column, (what, group) in enumerate((('class', per_class), ('visibility', per_visibility))):
        groups = {name: group(of) for name, of in records.items()}
        _draw_bars(panels[0, column], groups, lambda figures: figures.recall)
        _draw_bars(panels[1, column], groups, lambda figures: figures.median_error_m)
        panels[0, column].set(ylim=(0, 1.12), yticks=np.arange(0, 1.1, 0.2), ylabel='recall')
        panels[1, column].set(ylabel='median error to the centre (m)')
        for row in range(2):
            panels[row, column].set_title(f'by {what} (targets below)', fontsize=11, loc='left')
    handles, labels = panels[0, 1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc='outside lower center', ncols=min(len(labels), 4), frameon=False)
    figure.suptitle(title)
    return save_figure(figure, out)


def _draw_bars(
    axes: 'Axes',
    groups: Mapping[str, Mapping[str, GroupFigures]],
    figure_of: Callable[[GroupFigures], float | None],
) -> None:
    """Bars side by side of each localizer in each group."""
    first = next(iter(groups.values()))
    width = 0.8 / len(groups)
    for index, (name, of) in enumerate(groups.items()):
        values = [figure_of(each) for each in of.values()]
        places = np.arange(len(values)) - 0.4 + (index + 0.5) * width
        known = [np.nan if value is None else value for value in values]
        axes.bar(places, known, width, color=CURVES[index % len(CURVES)], label=name)
        for place, value in zip(places, values, strict=True):
            axes.annotate('-' if value is None else f'{value:.2f}', (place, value or 0), (0, 2),
                          textcoords='offset points', ha='center', va='bottom', fontsize=_SMALL)  # fmt: skip
    axes.set_xticks(range(len(first)), [f'{group}\n{of.targets}' for group, of in first.items()], fontsize=9)
    axes.margins(y=0.15)
    axes.grid(axis='y', color='0.85')
    axes.set_axisbelow(True)


def draw_comparison(comparison: Comparison, out: str | Path, title: str = '') -> Path:
    """Draws the differences to the reference with their intervals; a hollow dot: the interval holds zero, or is none.

    Args:
        comparison: of two or more localizers.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    names = list(comparison.differences)
    figure = Figure(figsize=(9.6, 2.8 + 0.45 * 3 * len(names)), dpi=100, layout='constrained', facecolor='white')
    for axes, figures, better in zip(
        figure.subplots(1, 2), (FIGURES[:3], FIGURES[3:]), ('right is better', 'left is better'), strict=True
    ):
        for index, name in enumerate(names):
            colour = CURVES[(index + 1) % len(CURVES)]
            for row, each in enumerate(comparison.differences[name][figure] for figure in figures):
                place = row + 0.6 * ((index + 0.5) / len(names) - 0.5)
                if each.value is None:
                    axes.annotate('undefined', (0.5, place), xycoords=('axes fraction', 'data'), ha='center',
                                  va='center', color=colour, fontsize=9)  # fmt: skip
                    continue
                if each.low is not None and each.high is not None:
                    axes.plot([each.low, each.high], [place, place], color=colour, linewidth=2)
                axes.plot(each.value, place, 'o', color=colour, markersize=8,
                          markerfacecolor=colour if each.excludes_zero else 'white')  # fmt: skip
            axes.plot([], [], 'o-', color=colour, linewidth=2, label=f'{name} minus {comparison.reference}')
        axes.axvline(0, color='0.4', linewidth=1)
        labels = [fill(TITLES[figure], 26) for figure in figures]
        axes.set_yticks(range(len(figures)), labels)
        axes.set(ylim=(len(figures) - 0.5, -0.5), xlabel=f'difference; {better}')
        axes.grid(axis='x', color='0.85')
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc='outside lower center', frameon=False)
    figure.suptitle(title)
    return save_figure(figure, out)
