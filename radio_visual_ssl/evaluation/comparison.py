# SPDX-License-Identifier: Apache-2.0
"""How much better one localizer is than another one on the same frames, with intervals that say how sure that is.

Frames of one recording are much alike, so that recordings are resampled, not frames: the paired bootstrap draws as many
recordings as there are, with replacement, the same ones for every localizer, and takes the figures' differences again
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993). Of few recordings, stretches of a few seconds are drawn.

The quantiles are those of the expanded percentile interval (Hesterberg, What Teachers Should Know About the Bootstrap,
The American Statistician 69:4, 2015): plain percentile intervals are too short for few units, as if a normal
distribution stood for Student's t and n for n - 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from radio_visual_ssl.evaluation.tally import FOUND, Records, Tally

RESAMPLES = 1000
SEED = 0
CONFIDENCE = 0.95
LEAST_BAGS = 5
"""Of fewer, stretches are drawn in place of whole recordings."""
STRETCH = 8.0
"""s, of the stretches: longer than a target stays at one place."""
FALSE_PER_FRAME = 0.1
TITLES = {
    'ap_2m': 'AP',
    'recall_at_0.1_false_per_frame': 'recall at 0.1 false alarms per frame',
    'recall': 'recall at the own threshold',
    'median_error_m': 'median error to the centre (m)',
    'mean_footprint_error_m': 'mean error to the footprint (m)',
}
FIGURES = tuple(TITLES)
"""What is compared; names as in `Metrics`, the second one is ``at_false_per_frame['0.1'].recall``."""
_LEAST_DEFINED = 0.95  # of the resamples, for an interval

Unit = Literal['bag', 'stretch']


@dataclass(frozen=True)
class Difference:
    """Of one figure, localizer minus reference; None where it is undefined.

    Attributes:
        value: on the frames as they are.
        low, high: of the interval; None as well where less than 95 % of the resamples define the figure of both, or
            there is one unit alone.
    """

    value: float | None
    low: float | None
    high: float | None

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Comparison:
    """All localizers against the first.

    Attributes:
        reference: its name.
        differences: of each other localizer, of each of `FIGURES`.
        unit: what was drawn.
        units: how many of them there are.
        resamples, seed: of the bootstrap.
    """

    reference: str
    differences: dict[str, dict[str, Difference]]
    unit: Unit
    units: int
    resamples: int
    seed: int

    @property
    def method(self) -> str:
        """How the intervals were made, in one sentence."""
        drawn = f'{self.units} bags'
        if self.unit == 'stretch':
            drawn = f'{self.units} stretches of {STRETCH:g} s of the bags (there are fewer than {LEAST_BAGS} bags)'
        return (
            f'{100 * CONFIDENCE:g} % intervals of the paired bootstrap: {self.resamples} resamples of {drawn},'
            f' seed {self.seed}, expanded percentiles'
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON: each difference as value, low and high."""
        return {
            'reference': self.reference,
            'unit': self.unit,
            'units': self.units,
            'resamples': self.resamples,
            'seed': self.seed,
            'confidence': CONFIDENCE,
            'differences': {
                name: {figure: {'value': each.value, 'low': each.low, 'high': each.high} for figure, each in of.items()}
                for name, of in self.differences.items()
            },
        }


def compare(
    tallies: Mapping[str, Tally], recordings: Sequence[str] = (), *, resamples: int = RESAMPLES, seed: int = SEED
) -> Comparison:
    """Sets localizers beside the first one.

    Args:
        tallies: of at least two localizers, of the same frames.
        recordings: names of the tallies' recordings, in their order: they are drawn in the order of their names, so
            that the order in which they were judged does not count; without names that of the tallies.
        resamples: of the bootstrap, at least 1.
        seed: of the bootstrap.

    Raises:
        ValueError: fewer than two localizers, no frames or other frames than the reference's, another number of names
            than of recordings, or no resamples.
    """
    if len(tallies) < 2:
        raise ValueError(f'comparison: expected at least two localizers, got {", ".join(tallies) or "none"}')
    if resamples < 1:
        raise ValueError(f'resamples: expected at least 1, got {resamples}')
    records = {name: tally.records() for name, tally in tallies.items()}
    reference, *others = records
    frames = records[reference].frames
    shared = ['recording', 'stamp', 'targets']
    for name in others:
        same = len(records[name].frames) == len(frames) and all(
            np.array_equal(records[name].frames[column], frames[column], equal_nan=True) for column in shared
        )
        if not same:
            raise ValueError(f'comparison: expected the same frames of {name!r} as of {reference!r}, got others')
    unit, units = _units(frames, recordings)
    count = int(units.max()) + 1
    weights = np.vstack(
        [np.ones(count, dtype=np.int64), np.random.default_rng(seed).multinomial(count, [1 / count] * count, resamples)]
    )
    values = {name: _Weighted(of, units, count).figures(weights) for name, of in records.items()}
    tail = _tail(count) if count > 1 else None
    differences = {
        name: {
            figure: _difference(column, tail)
            for figure, column in zip(FIGURES, (values[name] - values[reference]).T, strict=True)
        }
        for name in others
    }
    return Comparison(reference, differences, unit, count, resamples, seed)


def _units(frames: NDArray[np.void], recordings: Sequence[str]) -> tuple[Unit, NDArray[np.int64]]:
    """What is drawn, and the number of each frame's.

    Raises:
        ValueError: no frames, or another number of names than of recordings.
    """
    if not len(frames):
        raise ValueError('comparison: expected frames with ground truth, got none')
    of_frame = frames['recording'].astype(np.int64)
    count = int(of_frame.max()) + 1
    if recordings:
        if len(recordings) != count:
            raise ValueError(f'recordings: expected the names of {count}, got {len(recordings)}')
        of_frame = np.argsort(np.argsort(np.asarray(recordings), kind='stable'), kind='stable')[of_frame]
    if count >= LEAST_BAGS:
        return 'bag', of_frame
    begin = np.full(count, np.inf)
    np.minimum.at(begin, of_frame, np.nan_to_num(frames['stamp']))
    stretch = np.floor((np.nan_to_num(frames['stamp']) - begin[of_frame]) / STRETCH).astype(np.int64)
    _, numbers = np.unique(np.column_stack([of_frame, stretch]), axis=0, return_inverse=True)
    return 'stretch', numbers.reshape(-1).astype(np.int64)


def _tail(units: int) -> float:
    """Probability left out at either end by the expanded percentile interval."""
    tail = (1 - CONFIDENCE) / 2
    return float(norm.cdf(math.sqrt(units / (units - 1)) * t.ppf(tail, units - 1)))


def _difference(values: NDArray[np.float64], tail: float | None) -> Difference:
    """Of (1 + resamples,) differences, the first one of the frames as they are; no interval without a tail."""
    value, resampled = values[0], values[1:][np.isfinite(values[1:])]
    if not np.isfinite(value):
        return Difference(None, None, None)
    if tail is None or len(resampled) < _LEAST_DEFINED * (len(values) - 1):
        return Difference(float(value), None, None)
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Difference(float(value), float(low), float(high))


class _Weighted:
    """The figures of one localizer when each unit counts several times.

    What finds what is settled within a frame, so that a resample only changes how often records count: they are sorted
    once.

    Args:
        records: of the localizer.
        unit: (frames,) number of each frame's unit.
        count: of units.
    """

    def __init__(self, records: Records, unit: NDArray[np.int64], count: int) -> None:
        def per_unit(rows: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
            units = unit[np.asarray(rows, dtype=np.int64)]
            # first within each unit: sums of floats depend on their order, which that of the bags must not change
            return np.bincount(units, np.asarray(values, dtype=np.float64), minlength=count).astype(np.float64)

        def unit_of(rows: NDArray[np.void]) -> NDArray[np.int64]:
            numbers: NDArray[np.int64] = unit[rows['frame'].astype(np.int64)]
            return numbers

        hits = records.hits
        self._frames = np.bincount(unit, minlength=count)
        self._targets = per_unit(np.arange(len(unit)), records.frames['targets'])
        self._hits = per_unit(hits['frame'], np.ones(len(hits)))
        self._footprint_errors = per_unit(hits['frame'], hits['footprint_error'])
        hits = hits[np.argsort(hits['error'], kind='stable')]
        self._errors, self._error_unit = hits['error'], unit_of(hits)
        detections = records.detections[np.argsort(-records.detections['score'], kind='stable')]
        self._scores, self._score_unit = detections['score'], unit_of(detections)
        self._found = detections['outcome'] == FOUND
        self._last_of_score = np.append(np.diff(self._scores) != 0, True)[: len(self._scores)]
        self._pairings, self._pairing_unit = records.pairings, unit_of(records.pairings)

    def figures(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """(resamples, `FIGURES`) of (resamples, units) multiplicities; NaN where undefined."""
        targets, hits = weights @ self._targets, weights @ self._hits
        with np.errstate(divide='ignore', invalid='ignore'):
            recall = np.where(targets > 0, hits / targets, np.nan)
            footprint_error = np.where(hits > 0, weights @ self._footprint_errors / hits, np.nan)
        by_row = [
            (self._precision_area(row, of), self._recall_at_false_per_frame(row, of), self._median_error(row))
            for row, of in zip(weights, targets, strict=True)
        ]
        area, at_false, error = np.array(by_row).T
        return np.column_stack([area, at_false, recall, error, footprint_error])

    def _precision_area(self, weights: NDArray[np.int64], targets: float) -> float:
        """As `metrics.precision_area`."""
        if not targets:
            return math.nan
        of_detection = weights[self._score_unit]
        admitted = np.cumsum(of_detection)[self._last_of_score]
        found = np.cumsum(of_detection * self._found)[self._last_of_score]
        precision = np.maximum.accumulate((found / np.maximum(admitted, 1))[::-1])[::-1]
        return float(np.sum(np.diff(found, prepend=0) * precision) / targets)

    def _recall_at_false_per_frame(self, weights: NDArray[np.int64], targets: float) -> float:
        """As `Tally.metrics` with `metrics.threshold_at`."""
        allowed = FALSE_PER_FRAME * float(weights @ self._frames)
        false = np.cumsum(weights[self._score_unit] * ~self._found)
        if not targets or not false.size or false[-1] < allowed - 1e-9:
            return math.nan
        whole = math.floor(allowed + 1e-9)
        if whole == false[-1]:
            # down to the last false alarm, itself included
            threshold = self._scores[np.searchsorted(false, whole)]
        else:
            threshold = np.nextafter(self._scores[np.searchsorted(false, whole, side='right')], np.inf)
        made = (self._pairings['until'] < threshold) & (threshold <= self._pairings['since'])
        return float(weights[self._pairing_unit[made]].sum() / targets)

    def _median_error(self, weights: NDArray[np.int64]) -> float:
        """m, of the hits, the middle one or the mean of the two in the middle."""
        count = np.cumsum(weights[self._error_unit])
        if not count.size or not count[-1]:
            return math.nan
        middle = (count[-1] - 1) // 2, count[-1] // 2
        return float(np.mean(self._errors[np.searchsorted(count, middle, side='right')]))
