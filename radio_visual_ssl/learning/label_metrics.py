# SPDX-License-Identifier: Apache-2.0
"""How good self-labels are, where the truth is known: coverage against error, signed bias in range and azimuth.

Labels are compared as a radar reads: the true place is the target's slant range and cone angle, and near is where the
line of sight meets its footprint, at the height of its middle. Truth serves here alone, never to make a label.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.evaluation.metrics import footprint_distance
from radio_visual_ssl.learning.self_labels import SelfLabels
from radio_visual_ssl.learning.vehicle_shape import depth_to_centre
from radio_visual_ssl.radar.grid import turned_towards
from radio_visual_ssl.radar.ground import to_ground
from radio_visual_ssl.radar.target import Target

GROSS_ERROR = 4.0
"""m from the centre: a label farther off belongs to something else."""


@dataclass(frozen=True)
class LabelFigures:
    """Figures of the labels that are kept; None where there are none.

    Attributes:
        method: name.
        instances: that could be labelled.
        labels: kept.
        coverage: labels / instances.
        least_confidence: among the kept ones.
        false: share of the kept labels whose instance is no target at all.
        radial_bias_m: median of range minus that of the near face; + is too far.
        radial_bias_centre_m: median of range minus that of the centre.
        azimuth_bias_deg: median of azimuth minus that of the centre; + is too far left.
        azimuth_mean_deg: mean of the same.
        median_error_m, p90_error_m: to the centre.
        gross: share farther than 4 m from the centre.
        astray: share of the kept labels, those of masks that show no target too, farther than 4 m from the centres of
            all targets of their frame; None where these were not given.
        mean_footprint_error_m, p90_footprint_error_m: on the ground, with the true height taken out; 0 inside.
        consistency: median squared error over the predicted variance, for range to the centre and azimuth together,
            over what a normal law has (1.39); 1 = variances are right, more = too small.
    """

    method: str
    instances: int
    labels: int
    coverage: float | None = None
    least_confidence: float | None = None
    false: float | None = None
    radial_bias_m: float | None = None
    radial_bias_centre_m: float | None = None
    azimuth_bias_deg: float | None = None
    azimuth_mean_deg: float | None = None
    median_error_m: float | None = None
    p90_error_m: float | None = None
    gross: float | None = None
    astray: float | None = None
    mean_footprint_error_m: float | None = None
    p90_footprint_error_m: float | None = None
    consistency: float | None = None


def near_face(target: Target) -> tuple[float, float]:
    """Ground range and slant range, m, of where the line from the radar to the centre enters the footprint.

    The slant range is to a point at the height of the middle of the box. Without a box both are those of the centre.
    """
    length, width, _ = target.size
    if not (length > 0 and width > 0 and np.isfinite(target.heading)) or target.range == 0:
        return target.range, target.slant_range
    depth = depth_to_centre(length, width, np.array(target.azimuth - target.heading))
    ground = max(target.range - float(depth), 0.0)
    height = np.sqrt(max(target.slant_range**2 - target.range**2, 0.0))
    return ground, float(np.hypot(ground, height))


def judge_labels(
    method: str,
    labels: SelfLabels,
    truth: Sequence[Target | None],
    keep: NDArray[np.bool_] | None = None,
    targets: Sequence[Sequence[Target]] | None = None,
    *,
    cone: bool = True,
) -> LabelFigures:
    """Figures of the kept labels against the truth.

    Args:
        method: name in the report.
        labels: of all instances.
        truth: (N,) the target that each instance shows, None for a mask that shows none.
        keep: (N,) bool, see ``SelfLabels.kept``; None = all.
        targets: (N) all targets of the frame of each label, for ``astray``.
        cone: whether the radar reads cone angles, see ``PolarGrid.reads_cone_angles``.

    Raises:
        ValueError: truth, keep or targets of another length.
    """
    count = len(labels)
    keep = np.ones(count, dtype=bool) if keep is None else keep
    sizes = {'truth': len(truth), 'keep': len(keep), 'targets': count if targets is None else len(targets)}
    for name, size in sizes.items():
        if size != count:
            raise ValueError(f'{name}: expected one for each of {count} labels, got {size}')
    real = np.array([target is not None for target in truth], dtype=bool)
    pairs = [(row, truth[int(row)]) for row in np.flatnonzero(keep & real)]
    shown = [target for _, target in pairs if target is not None]
    rows = np.array([row for row, _ in pairs], dtype=np.int64)
    kept = int(np.count_nonzero(keep))
    if rows.size == 0:
        coverage = kept / count if count else None
        astray = _astray(labels, targets, keep, cone)
        return LabelFigures(method, count, kept, coverage, false=1.0 if kept else None, astray=astray)
    near = np.array([near_face(target)[1] for target in shown])
    range_, azimuth = np.array([target.as_read(cone=cone) for target in shown]).T
    error = np.hypot(*(labels.position[rows] - _positions(range_, azimuth)).T)
    heights = np.sqrt(np.maximum(range_**2 - np.array([target.range for target in shown]) ** 2, 0))
    ground = _positions(*to_ground(labels.range[rows], labels.azimuth[rows], heights, cone=cone))
    footprint = [footprint_distance([x], [y], target)[0] for (x, y), target in zip(ground, shown, strict=True)]
    turned = turned_towards(labels.azimuth[rows] - azimuth)
    from_centre = np.column_stack((labels.range[rows] - range_, turned))
    squared = np.sum(from_centre**2 / labels.variance[rows], axis=1)
    return LabelFigures(
        method=method,
        instances=count,
        labels=kept,
        coverage=kept / count,
        least_confidence=float(labels.confidence[keep].min()),
        false=1 - rows.size / kept,
        radial_bias_m=float(np.median(labels.range[rows] - near)),
        radial_bias_centre_m=float(np.median(from_centre[:, 0])),
        azimuth_bias_deg=float(np.degrees(np.median(turned))),
        azimuth_mean_deg=float(np.degrees(np.mean(turned))),
        median_error_m=float(np.median(error)),
        p90_error_m=float(np.quantile(error, 0.9)),
        gross=float(np.mean(error > GROSS_ERROR)),
        astray=_astray(labels, targets, keep, cone),
        mean_footprint_error_m=float(np.mean(footprint)),
        p90_footprint_error_m=float(np.quantile(footprint, 0.9)),
        consistency=float(np.median(squared) / (2 * np.log(2))),
    )


def _positions(range_: NDArray[np.float64], azimuth: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) m of x and y."""
    return range_[:, None] * np.column_stack((np.cos(azimuth), np.sin(azimuth)))


def _astray(
    labels: SelfLabels, targets: Sequence[Sequence[Target]] | None, keep: NDArray[np.bool_], cone: bool
) -> float | None:
    """Share of the kept labels that are far from every target of their frame."""
    rows = np.flatnonzero(keep)
    if targets is None or rows.size == 0:
        return None
    places, far = labels.position, []
    for row in rows.tolist():
        read = np.array([target.as_read(cone=cone) for target in targets[row]]).reshape(-1, 2)
        nearest = np.min(np.hypot(*(_positions(*read.T) - places[row]).T), initial=np.inf)
        far.append(nearest > GROSS_ERROR)
    return float(np.mean(far))


def coverage_curve(
    method: str,
    labels: SelfLabels,
    truth: Sequence[Target | None],
    coverages: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    targets: Sequence[Sequence[Target]] | None = None,
    *,
    cone: bool = True,
) -> list[LabelFigures]:
    """Figures when the most confident labels of each share are kept: error against coverage."""
    return [
        judge_labels(method, labels, truth, labels.kept(coverage=coverage), targets, cone=cone)
        for coverage in coverages
    ]


def report_table(figures: Sequence[LabelFigures]) -> str:
    """Figures of several methods as a Markdown table, one method in a row."""
    names = [field.name for field in fields(LabelFigures)]
    lines = [' | '.join(names), ' | '.join('---' for _ in names)]
    lines += [' | '.join(_cell(value) for value in asdict(row).values()) for row in figures]
    return '\n'.join(f'| {line} |' for line in lines)


def _cell(value: object) -> str:
    """A value of the table."""
    if value is None:
        return '-'
    return f'{value:.3g}' if isinstance(value, float) else str(value)
