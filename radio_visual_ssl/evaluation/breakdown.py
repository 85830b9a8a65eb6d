# SPDX-License-Identifier: Apache-2.0
"""Where and of what a localizer is good: by class, by visibility, by range and azimuth, and by score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.evaluation.tally import FOUND, Records

UNKNOWN = 'unknown'
"""Name of what has no class or no visibility."""
UNNAMED = '(unnamed)'
"""Name of the class of detections without one."""
VISIBILITY_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)
VISIBILITIES = ('0-25 %', '25-50 %', '50-75 %', '75-100 %')
LEAST_TARGETS = 10
"""In a bin of a map, for its figure to be told."""
_MOST_RANGE_BINS, _MOST_AZIMUTH_BINS = 8, 8
_RANGE_STEPS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # m
_AZIMUTH_STEPS = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0)  # deg


@dataclass(frozen=True)
class GroupFigures:
    """Of some of the targets; None where undefined.

    Attributes:
        targets: that count.
        recall: at the localizer's own threshold.
        median_error_m: of the hits, to the centre.
    """

    targets: int
    recall: float | None
    median_error_m: float | None

    @classmethod
    def of(cls, targets: NDArray[np.void]) -> 'GroupFigures':
        """Of rows of `Records.targets`."""
        errors = targets['error'][np.isfinite(targets['error'])]
        return cls(
            len(targets),
            len(errors) / len(targets) if len(targets) else None,
            float(np.median(errors)) if errors.size else None,
        )


def per_class(records: Records) -> dict[str, GroupFigures]:
    """By true class, in alphabetical order; `UNKNOWN`, if any, is last."""
    true = set(records.targets['label'].astype(int).tolist())
    places = {label: place for place, label in enumerate(records.labels) if place in true}
    return {
        label or UNKNOWN: GroupFigures.of(records.targets[records.targets['label'] == places[label]])
        for label in sorted(places, key=lambda label: (not label, label))
    }


@dataclass(frozen=True, eq=False)
class Confusion:
    """How a localizer names the targets of known class that it finds.

    Attributes:
        classes: true ones, in alphabetical order.
        names: that detections have, in alphabetical order; `UNNAMED`, if any has none, is last.
        counts: (classes, names) hits.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, records: Records) -> 'Confusion | None':
        """Of all hits; None where no detection names a class, as those of a localizer that knows none."""
        hits = records.hits
        labels = np.array([*records.labels, ''])
        true, named = (labels[hits[name].astype(int)] for name in ('label', 'named'))
        known = true != ''
        true, named = true[known], named[known]
        if not np.any(named != ''):
            return None
        classes = np.unique(true)
        names = np.append(np.unique(named[named != '']), [''] if np.any(named == '') else [])
        counts = np.array([[np.count_nonzero((true == one) & (named == other)) for other in names] for one in classes])
        return cls(tuple(classes.tolist()), tuple((name or UNNAMED) for name in names.tolist()), counts)

    @property
    def hits(self) -> int:
        """Of known class."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of the hits that have the right name; one without a name has not."""
        right = sum(
            self.counts[row, self.names.index(name)] for row, name in enumerate(self.classes) if name in self.names
        )
        return float(right / self.hits)

    @property
    def unnamed(self) -> float:
        """Share of the hits that have no name."""
        return float(self.counts[:, self.names.index(UNNAMED)].sum() / self.hits) if UNNAMED in self.names else 0.0

    def to_json(self) -> dict[str, Any]:
        """The figures, and the counts by true class and name."""
        rows = zip(self.classes, self.counts.tolist(), strict=True)
        counts = {one: dict(zip(self.names, row, strict=True)) for one, row in rows}
        return {'hits': self.hits, 'accuracy': self.accuracy, 'unnamed': self.unnamed, 'confusion': counts}


def per_visibility(records: Records) -> dict[str, GroupFigures]:
    """By the share that the camera sees, in the bins `VISIBILITIES`; `UNKNOWN` is last and there only if needed.

    A bin holds its lower edge; the last one holds 100 % too.
    """
    visibility = records.targets['visibility']
    known = np.isfinite(visibility)
    bins = np.clip(np.digitize(visibility, VISIBILITY_EDGES) - 1, 0, len(VISIBILITIES) - 1)
    result = {
        name: GroupFigures.of(records.targets[known & (bins == number)]) for number, name in enumerate(VISIBILITIES)
    }
    if not known.all():
        result[UNKNOWN] = GroupFigures.of(records.targets[~known])
    return result


@dataclass(frozen=True, eq=False)
class PolarBins:
    """Bins over range and azimuth; the same ones for all localizers of a report.

    Attributes:
        range: (R + 1,) m, edges, rising.
        azimuth: (A + 1,) deg, edges, rising.
    """

    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]

    @classmethod
    def spanning(cls, records: Records) -> 'PolarBins | None':
        """Round bins, at most eight each way, over all targets; None where there are none."""
        if not len(records.targets):
            return None
        range_, azimuth = records.targets['range'], np.degrees(records.targets['azimuth'])
        return cls(
            _edges(float(range_.min()), float(range_.max()), _RANGE_STEPS, _MOST_RANGE_BINS),
            _edges(float(azimuth.min()), float(azimuth.max()), _AZIMUTH_STEPS, _MOST_AZIMUTH_BINS),
        )

    def cells(self, targets: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Range and azimuth bin of each target, of rows of `Records.targets`."""
        rows = np.digitize(targets['range'], self.range) - 1
        columns = np.digitize(np.degrees(targets['azimuth']), self.azimuth) - 1
        return np.clip(rows, 0, len(self.range) - 2), np.clip(columns, 0, len(self.azimuth) - 2)


def _edges(low: float, high: float, steps: tuple[float, ...], most: int) -> NDArray[np.float64]:
    """Multiples of the smallest of the steps that needs no more bins than that, around low to high."""
    for step in steps:
        first, last = np.floor(low / step), max(np.ceil(high / step), np.floor(low / step) + 1)
        if last - first <= most:
            break
    edges: NDArray[np.float64] = step * np.arange(first, last + 1)
    return edges


@dataclass(frozen=True, eq=False)
class PolarMaps:
    """Figures of one localizer in the cells of `PolarBins`, each (R, A).

    Attributes:
        targets: how many.
        recall: NaN where there are fewer than `LEAST_TARGETS` targets.
        hits: how many.
        median_error: m to the centre; NaN where there are fewer than `LEAST_TARGETS` hits.
    """

    targets: NDArray[np.int64]
    recall: NDArray[np.float64]
    hits: NDArray[np.int64]
    median_error: NDArray[np.float64]

    @classmethod
    def of(cls, records: Records, bins: PolarBins) -> 'PolarMaps':
        """Of all targets of the records."""
        shape = len(bins.range) - 1, len(bins.azimuth) - 1

        def counted(rows: NDArray[np.void]) -> NDArray[np.int64]:
            counts = np.zeros(shape, dtype=np.int64)
            np.add.at(counts, bins.cells(rows), 1)
            return counts

        targets, hits = counted(records.targets), counted(records.hits)
        recall = np.where(targets >= LEAST_TARGETS, hits / np.maximum(targets, 1), np.nan)
        cells = np.ravel_multi_index(bins.cells(records.hits), shape)
        errors = grouped_quantiles(records.hits['error'], cells, shape[0] * shape[1], (0.5,))[0].reshape(shape)
        return cls(targets, recall, hits, np.where(hits >= LEAST_TARGETS, errors, np.nan))


def grouped_quantiles(
    values: NDArray[np.float64], group: NDArray[np.int64], groups: int, quantiles: tuple[float, ...]
) -> NDArray[np.float64]:
    """(quantiles, groups) of (N,) values with the number of their group; NaN of empty groups."""
    order = np.argsort(group, kind='stable')
    parts = np.split(values[order], np.searchsorted(group[order], np.arange(1, groups)))
    return np.array(
        [np.quantile(part, quantiles) if part.size else np.full(len(quantiles), np.nan) for part in parts]
    ).T


def precision_recall(records: Records) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Recall, precision and score of each threshold, from the highest score down; empty without either."""
    targets, scores = float(records.frames['targets'].sum()), records.detections['score']
    if not targets or not scores.size:
        return np.empty(0), np.empty(0), np.empty(0)
    order = np.argsort(-scores, kind='stable')
    found = np.cumsum(records.detections['outcome'][order] == FOUND)
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return found[last] / targets, found[last] / (last + 1), scores[order][last]


def groups_to_json(groups: Mapping[str, GroupFigures]) -> dict[str, Any]:
    """By name."""
    return {
        name: {'targets': of.targets, 'recall': of.recall, 'median_error_m': of.median_error_m}
        for name, of in groups.items()
    }
