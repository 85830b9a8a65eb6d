# SPDX-License-Identifier: Apache-2.0
"""Labels of several methods against the truth of their bags, side by side: table and coverage-error curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.topics import TRUTH_TOPIC
from radio_visual_ssl.learning.label_metrics import (
    GROSS_ERROR,
    LabelFigures,
    coverage_curve,
    judge_labels,
    report_table,
)
from radio_visual_ssl.learning.labelling import MethodLabels
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.learning.truth import TRUE_MASKS_TOPIC, read_truth
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.whole_file import replacing

COVERAGES = tuple(np.linspace(0.1, 1.0, 19).round(2).tolist())
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')


@dataclass(frozen=True, eq=False)
class MaskTruth:
    """What is true of the masks of several recordings, one recording after the other.

    Attributes:
        known: (I,) bool, whether it is known what the mask shows.
        shown: (I) the target, None where the mask shows none.
        targets: (I) all targets of the mask's frame.
        cone: whether the radar reads cone angles.
        visible: targets that the camera sees at least in part, in all frames whose true masks are known.
        masked: of these, how many a mask shows.
    """

    known: NDArray[np.bool_]
    shown: list[Target | None]
    targets: list[list[Target]]
    cone: bool = True
    visible: int = 0
    masked: int = 0

    @property
    def precision(self) -> float | None:
        """Share of the masks of known truth that show a target; None without any."""
        showing = [self.shown[row] is not None for row in np.flatnonzero(self.known)]
        return sum(showing) / len(showing) if showing else None

    @property
    def recall(self) -> float | None:
        """Share of the visible targets that a mask shows; None without any."""
        return self.masked / self.visible if self.visible else None


@dataclass(frozen=True, eq=False)
class LabelEvaluation:
    """Figures of each method.

    Attributes:
        figures: of the labels that are kept.
        curves: when the most confident labels of each share are kept instead, by rising coverage.
        masks: what the labels are of, kept or not.
    """

    figures: dict[str, LabelFigures]
    curves: dict[str, list[LabelFigures]]
    masks: MaskTruth

    def markdown(self) -> str:
        """All figures of the kept labels as a table, one method in a row."""
        return report_table(list(self.figures.values()))


def read_mask_truth(recordings: Sequence[Recording]) -> MaskTruth:
    """Truth of the masks of recordings; bags without true targets or true masks have none.

    Raises:
        BagError: a bag is not there any more, damaged, or another one.
    """
    known: list[NDArray[np.bool_]] = []
    shown: list[Target | None] = []
    targets: list[list[Target]] = []
    visible = masked = 0
    for recording in recordings:
        counts = np.diff(recording.mask_starts)
        if not {TRUTH_TOPIC, TRUE_MASKS_TOPIC} <= set(BagReader(recording.path).streams):
            known.append(np.zeros(recording.instances, np.bool_))
            shown += [None] * recording.instances
            targets += [[] for _ in range(recording.instances)]
            continue
        truth = read_truth(recording)
        known.append(np.repeat(truth.masks_known, counts))
        shown += truth.shown_by_instance()
        for frame, count in zip(truth.targets, counts, strict=True):
            targets += [frame or []] * int(count)
        for index in np.flatnonzero(truth.masks_known):
            seen = {id(each) for each in truth.targets[index] or () if each.in_camera_view and not each.visibility <= 0}
            visible += len(seen)
            masked += len(seen & {id(each) for each in truth.shown[index]})
    cone = all(recording.grid.reads_cone_angles for recording in recordings)
    return MaskTruth(np.concatenate(known) if known else np.zeros(0, np.bool_), shown, targets, cone, visible, masked)


def evaluate_labels(
    methods: Mapping[str, MethodLabels], truth: MaskTruth, coverages: Sequence[float] = COVERAGES
) -> LabelEvaluation:
    """Figures of each method, of the masks whose truth is known.

    Args:
        methods: labels of the recordings that the truth is of.
        truth: see ``read_mask_truth``.
        coverages: of the curves.

    Raises:
        ValueError: labels of other recordings than the truth.
    """
    rows = np.flatnonzero(truth.known)
    shown, targets = [truth.shown[row] for row in rows], [truth.targets[row] for row in rows]
    figures, curves = {}, {}
    for name, made in methods.items():
        if len(made.labels) != truth.known.size:
            raise ValueError(f'{name}: expected labels of {truth.known.size} masks, got {len(made.labels)}')
        labels = made.labels.chosen(truth.known)
        figures[name] = judge_labels(name, labels, shown, made.kept[rows], targets, cone=truth.cone)
        curves[name] = coverage_curve(name, labels, shown, coverages, targets, cone=truth.cone)
    return LabelEvaluation(figures, curves, truth)


def write_report(methods: Mapping[str, MethodLabels], evaluation: LabelEvaluation | None, out: str | Path) -> Path:
    """Writes all figures of all methods as Markdown tables.

    Args:
        methods: all.
        evaluation: None where no truth is known.
        out: path of the file; replaced atomically, its folder is made.

    Returns:
        The path written.
    """
    lines = ['# Self-labels', '']
    if evaluation is None:
        lines += ['No truth is known of these bags.', '', '| method | masks | labels |', '| --- | --- | --- |']
        lines += [f'| {name} | {len(made.labels)} | {np.count_nonzero(made.kept)} |' for name, made in methods.items()]
    else:
        truth = evaluation.masks
        shares = [f'{100 * share:.1f} %' if share is not None else '-' for share in (truth.precision, truth.recall)]
        lines += ['## The masks', '', '| masks | that show a target | visible targets | that a mask shows |']
        lines += ['| --- | --- | --- | --- |', f'| {truth.known.sum()} | {shares[0]} | {truth.visible} | {shares[1]} |']
        lines += ['', '## The labels that are kept', '', evaluation.markdown(), '', '## By coverage', '']
        rows = [row for curve in evaluation.curves.values() for row in curve if row.coverage is not None]
        lines.append(report_table(rows))
    path = Path(out)
    with replacing(path) as temporary:
        temporary.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return path


def draw_curves(evaluation: LabelEvaluation, out: str | Path, title: str = '') -> Path:
    """Draws error against coverage for each method: median error, wrong labels, and signed bias.

    Args:
        evaluation: of one method or several.
        out: path of the PNG; replaced atomically, its folder is made.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 7.0), dpi=100, layout='constrained', facecolor='white')
    panels = figure.subplots(2, 2).ravel()
    texts = (
        ('median_error_m', 1.0, 'median error to the centre (m)'),
        ('astray', 100.0, f'farther than {GROSS_ERROR:g} m from any target (%)'),
        ('radial_bias_m', 1.0, 'range minus near face, median (m)'),
        ('azimuth_bias_deg', 1.0, 'azimuth error, median (deg, + left)'),
    )
    for axes, (key, scale, text) in zip(panels, texts, strict=True):
        for index, (name, curve) in enumerate(evaluation.curves.items()):
            points = [
                (100 * row.coverage, scale * getattr(row, key))
                for row in curve
                if row.coverage and getattr(row, key) is not None
            ]
            axes.plot(*zip(*points, strict=True), color=_COLOURS[index % len(_COLOURS)], label=name) if points else None
            kept = evaluation.figures[name]
            if kept.coverage is not None and getattr(kept, key) is not None:
                place = 100 * kept.coverage, scale * getattr(kept, key)
                axes.plot(*place, 'o', color=_COLOURS[index % len(_COLOURS)])
        axes.set_ylabel(text)
        axes.set_xlim(0, 100)
        axes.grid(alpha=0.3)
        if key in ('radial_bias_m', 'azimuth_bias_deg'):
            axes.axhline(0, color='black', linewidth=0.8)
        else:
            axes.set_ylim(bottom=0)
    for axes in panels[2:]:
        axes.set_xlabel('masks with a label, most confident first (%); dot: labels that are kept')
    panels[0].legend()
    figure.suptitle(title)
    path = Path(out)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
    return path
