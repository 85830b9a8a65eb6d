# SPDX-License-Identifier: Apache-2.0
"""CRUW's figures: average precision and recall over object location similarity (OLS), as in the ROD2021 challenge.

Source: Wang et al., "RODNet: Radar Object Detection Using Cross-Modal Supervision", WACV 2021; constants and the order
of matching are those of cruw-devkit 1.1, whose figures these are.

    OLS = exp(-d^2 / (2 s^2 kappa))

with the distance d between detection and target, the range s of the target, and kappa = size / 100 of its class. At
each threshold of OLS the detections of a class, highest score first, take the most similar target of their class and
frame that is left. Precision is made falling with recall and read at 101 recalls; classes are averaged by their
targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.target import Target

SIZES = {'pedestrian': 0.5, 'cyclist': 1.0, 'car': 3.0}
"""Of the classes that are judged; kappa is a hundredth of it."""
RANGE = (1.0, 25.0)
"""m, of the targets and detections that are judged."""
AZIMUTH = np.deg2rad(60.0)
"""rad, to either side."""
THRESHOLDS = np.round(np.arange(0.5, 0.925, 0.05), 2)
RECALLS = np.round(np.linspace(0.0, 1.0, 101), 2)


@dataclass(frozen=True)
class OlsMetrics:
    """CRUW's figures; None without targets.

    Attributes:
        average_precision, average_recall: in [0, 1], means over `THRESHOLDS` (and, for the precision, `RECALLS`).
        by_class: whether detections had to name the class; where none names any, a target of any class is theirs.
        targets: that are judged, by class.
    """

    average_precision: float | None
    average_recall: float | None
    by_class: bool
    targets: dict[str, int]


def location_similarity(detections: Sequence[Target], truth: Sequence[Target]) -> NDArray[np.float64]:
    """(detection, target) OLS in [0, 1]; the targets are of the classes in `SIZES`."""
    found = np.array([(each.x, each.y) for each in detections], np.float64).reshape(-1, 1, 2)
    true = np.array([(each.x, each.y) for each in truth], np.float64).reshape(1, -1, 2)
    kappa = np.array([SIZES[each.label] / 100 for each in truth], np.float64)
    distance, scale = np.sum((found - true) ** 2, axis=2), np.sum(true**2, axis=2)
    similarity: NDArray[np.float64] = np.exp(-distance / (2 * scale * kappa))
    return similarity


@dataclass
class OlsTally:
    """Collects frames and sums them up by OLS; targets of other classes, and what is out of view, are left out."""

    _frames: list[tuple[list[Target], list[Target]]] = field(default_factory=list, init=False, repr=False)

    def add(self, detections: Sequence[Target], truth: Sequence[Target]) -> None:
        """One more frame, with all of its detections and targets."""
        known = [target for target in truth if target.label in SIZES]
        self._frames.append((list(filter(is_judged, detections)), list(filter(is_judged, known))))

    def extend(self, other: 'OlsTally') -> None:
        """The frames of another one."""
        self._frames.extend(other._frames)

    def metrics(self) -> OlsMetrics:
        """The figures of the frames so far."""
        by_class = any(each.label for detections, _ in self._frames for each in detections)
        counts = {name: sum(each.label == name for _, truth in self._frames for each in truth) for name in SIZES}
        groups = [(name,) for name, count in counts.items() if count] if by_class else [tuple(SIZES)]
        total = sum(counts.values())
        if not total:
            return OlsMetrics(None, None, by_class, counts)
        precision = recall = 0.0
        for names in groups:
            weight = sum(counts[name] for name in names) / total
            of_group = self._figures(names, sum(counts[name] for name in names), by_class)
            precision, recall = precision + weight * of_group[0], recall + weight * of_group[1]
        return OlsMetrics(precision, recall, by_class, counts)

    def _figures(self, names: tuple[str, ...], targets: int, by_class: bool) -> tuple[float, float]:
        """Average precision and recall of some classes together."""
        scores, hits = [np.zeros(0)], [np.zeros((len(THRESHOLDS), 0), np.bool_)]
        for detections, truth in self._frames:
            found = [each for each in detections if not by_class or each.label in names]
            found.sort(key=lambda each: -each.score)
            scores.append(np.array([each.score for each in found]))
            hits.append(_matched(location_similarity(found, [each for each in truth if each.label in names])))
        order = np.argsort(-np.concatenate(scores), kind='stable')
        found_so_far = np.cumsum(np.concatenate(hits, axis=1)[:, order], axis=1)
        # the devkit's guard against a division by zero: of a single target a recall of 1 is not quite reached
        recall, precision = found_so_far / (targets + np.spacing(1)), found_so_far / np.arange(1, order.size + 1)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # beyond the largest recall the precision is 0
        padded = np.pad(precision, ((0, 0), (0, 1)))
        at = [padded[row, np.searchsorted(recall[row], RECALLS)] for row in range(len(THRESHOLDS))]
        return float(np.mean(at)), float(np.mean(recall[:, -1])) if order.size else 0.0


def is_judged(target: Target) -> bool:
    """Whether a target, or a detection, lies where the challenge judges."""
    return bool(RANGE[0] <= target.range <= RANGE[1] and abs(target.azimuth) <= AZIMUTH)


def _matched(similarity: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(threshold, detection) whether each detection, in its order, takes a target that those before it have left."""
    count, targets = similarity.shape
    taken = np.zeros((len(THRESHOLDS), targets), np.bool_)
    hit = np.zeros((len(THRESHOLDS), count), np.bool_)
    for row in range(count if targets else 0):
        left = np.where(taken, -1.0, similarity[row])
        best = np.argmax(left, axis=1)
        each = np.arange(len(THRESHOLDS))
        hit[:, row] = left[each, best] >= THRESHOLDS
        taken[each[hit[:, row]], best[hit[:, row]]] = True
    return hit
