# SPDX-License-Identifier: Apache-2.0
"""Collects what localizers find over many frames, as figures alone, and sums it up."""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.evaluation.metrics import (
    FALSE_PER_EMPTY_FRAME,
    FALSE_PER_FRAME,
    HIT_DISTANCE,
    FrameMatch,
    Metrics,
    OperatingPoint,
    Sector,
    View,
    footprint_distance,
    match_frame,
    precision_area,
    threshold_at,
)
from radio_visual_ssl.radar.target import Target

FOUND, FALSE_IN_EMPTY = 1, 2
"""Outcomes of a detection: it finds a target; it is of a frame without targets. 0: any other false alarm."""


def _row(*names: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.float64) for name in names])


FRAME = _row('recording', 'stamp', 'targets', 'false', 'beside')
TARGET = _row('frame', 'range', 'azimuth', 'visibility', 'label',
              'error', 'footprint_error', 'range_error', 'azimuth_error', 'deviation', 'named')  # fmt: skip
DETECTION = _row('frame', 'score', 'outcome')
PAIRING = _row('frame', 'since', 'until', 'error', 'target')


@dataclass(frozen=True, eq=False)
class Records:
    """Everything that is kept of the frames: structured arrays of float64, in the order in which frames were added.

    Attributes:
        frames: recording (number from 0), stamp (s, NaN where unknown), targets that count, false alarms, and
            those of them that lie beside a target (`FrameMatch.beside`).
        targets: each that counts: frame (row of ``frames``), range m, azimuth rad, visibility in [0, 1] (NaN: unknown),
            label (place in ``labels``); of its hit error m to the centre, footprint_error m, range_error m and
            azimuth_error rad (detection minus truth), deviation (see `Tally.squared_deviations`) and named (place in
            ``labels`` of the detection's label), all NaN where it is missed.
        detections: each that counts when detections are admitted by score, the withheld ones included: frame, score,
            outcome (`FOUND`, `FALSE_IN_EMPTY` or 0).
        pairings: see `FrameMatch.pairings`: frame, since and until (scores), error m to the centre, target (number
            within the frame).
        labels: class names of targets and detections; '' where unknown.
    """

    frames: NDArray[np.void]
    targets: NDArray[np.void]
    detections: NDArray[np.void]
    pairings: NDArray[np.void]
    labels: list[str]

    @property
    def hits(self) -> NDArray[np.void]:
        """The rows of the targets that are found."""
        rows: NDArray[np.void] = self.targets[np.isfinite(self.targets['error'])]
        return rows


@dataclass
class Tally:
    """Collects frames and sums them up at any time, live or over a recording.

    Of the frames only figures are kept: 40 bytes for each, 88 per target that counts, 40 per pair of detection and
    target that some threshold makes, and 24 per detection. One thread may add frames while another one reads the
    figures.

    Attributes:
        view, hit_distance: as in `match_frame`.
    """

    view: View = 'camera'
    hit_distance: float = HIT_DISTANCE
    _frames: 'array[float]' = field(default_factory=lambda: array('d'), init=False, repr=False)
    _targets: 'array[float]' = field(default_factory=lambda: array('d'), init=False, repr=False)
    _detections: 'array[float]' = field(default_factory=lambda: array('d'), init=False, repr=False)
    _pairings: 'array[float]' = field(default_factory=lambda: array('d'), init=False, repr=False)
    _labels: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @property
    def frames(self) -> int:
        """How many there are so far."""
        return len(self._frames) // _FRAME_COLUMNS

    def add(
        self,
        detections: Sequence[Target],
        truth: Sequence[Target],
        in_sector: Sector | None = None,
        withheld: Sequence[Target] = (),
        stamp: float = math.nan,
    ) -> FrameMatch:
        """Matches one more frame.

        Args:
            detections: that are reported.
            truth: every known target of the frame, inside the view or not.
            in_sector: as in `match_frame`.
            withheld: detections that are not reported for their low score, to judge other thresholds.
            stamp: s.

        Returns:
            That of the reported detections.
        """

        def matched(found: Sequence[Target]) -> FrameMatch:
            return match_frame(found, truth, view=self.view, in_sector=in_sector, hit_distance=self.hit_distance)

        match = matched(detections)
        ranking = matched([*detections, *withheld]) if withheld else match
        empty, beside = match.targets == 0, match.beside
        with self._lock:
            frame = self.frames
            recording = self._recordings() - 1 if frame else 0
            self._frames.extend((recording, stamp, match.targets, len(match.false), beside))
            for detection, target in match.hits:
                named = self._place(detection.label)
                self._targets.extend((frame, *self._target_row(target), *_error_row(detection, target), named))
            for target in match.misses:
                self._targets.extend((frame, *self._target_row(target), *_MISSED))
            for score, outcome in ranking.ranked:
                self._detections.extend((frame, score, FALSE_IN_EMPTY if empty else outcome))
            for pairing in ranking.pairings:
                self._pairings.extend((frame, *pairing))
        return match

    def extend(self, other: 'Tally') -> None:
        """Adds the frames of another tally, as other recordings than those so far.

        Raises:
            ValueError: one of another view or hit distance, or this one itself.
        """
        if (other.view, other.hit_distance) != (self.view, self.hit_distance):
            raise ValueError(
                f'tally: expected one of view {self.view} and hit distance {self.hit_distance:g} m,'
                f' got {other.view} and {other.hit_distance:g} m'
            )
        if other is self:
            raise ValueError('tally: expected another one to add, got the same')
        added = other.records()
        with self._lock:
            added.frames['recording'] += self._recordings()
            for rows in (added.targets, added.detections, added.pairings):
                rows['frame'] += self.frames
            places = np.array([self._labels.setdefault(name, len(self._labels)) for name in added.labels])
            if added.targets.size:
                added.targets['label'] = places[added.targets['label'].astype(int)]
                hits = np.isfinite(added.targets['named'])
                added.targets['named'][hits] = places[added.targets['named'][hits].astype(int)]
            rows_of = (added.frames, added.targets, added.detections, added.pairings)
            for kept, rows in zip(self._kept(), rows_of, strict=True):
                kept.frombytes(rows.tobytes())

    def records(self) -> Records:
        """A copy of all that is kept."""
        with self._lock:
            frames, targets, detections, pairings = (
                np.frombuffer(kept.tobytes(), row).copy() for kept, row in zip(self._kept(), _ROWS, strict=True)
            )
            return Records(frames, targets, detections, pairings, list(self._labels))

    def errors(self) -> NDArray[np.float64]:
        """(hits, 4): centre error m, footprint error m, range error m and azimuth error rad (detection minus truth)."""
        hits = self.records().hits
        return np.column_stack([hits[name] for name in ('error', 'footprint_error', 'range_error', 'azimuth_error')])

    def squared_deviations(self) -> NDArray[np.float64]:
        """(hits,) squared error to the centre in standard deviations of the detection (NEES); NaN without covariance.

        Of honest covariances it has the chi-square distribution of two degrees of freedom, but for what lies farther
        off than the hit distance and is no hit.
        """
        deviations: NDArray[np.float64] = self.records().hits['deviation']
        return deviations

    def scored(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(N,) scores of all detections, the withheld ones included, and whether each finds a target."""
        detections = self.records().detections
        return detections['score'], detections['outcome'] == FOUND

    def metrics(self) -> Metrics:
        """The figures of the frames so far."""
        records = self.records()
        frames, targets = len(records.frames), int(records.frames['targets'].sum())
        false_of, is_empty = records.frames['false'], records.frames['targets'] == 0
        false, empty_frames = int(false_of.sum()), int(is_empty.sum())
        errors, scores, codes = records.hits, records.detections['score'], records.detections['outcome']
        pairings, hits, outcomes = records.pairings, len(errors), codes == FOUND

        def of_hits(figure: Callable[[NDArray[np.float64]], float], column: str) -> float | None:
            return float(figure(errors[column])) if hits else None

        def point(is_false: NDArray[np.bool_], over: int, rate: float) -> OperatingPoint:
            threshold, fewer = threshold_at(scores, is_false, over, rate)
            if not targets:
                return OperatingPoint(threshold)
            least = math.inf if threshold is None else threshold
            found = pairings['error'][(pairings['until'] < least) & (least <= pairings['since'])]
            error = float(np.median(found)) if found.size else None
            return OperatingPoint(threshold, len(found) / targets, error, fewer)

        in_empty = {
            f'{rate:g}': point(codes == FALSE_IN_EMPTY, empty_frames, rate) if empty_frames else OperatingPoint()
            for rate in FALSE_PER_EMPTY_FRAME
        }
        return Metrics(
            frames=frames,
            targets=targets,
            recall=hits / targets if targets else None,
            precision=hits / (hits + false) if hits + false else None,
            false_per_frame=false / frames if frames else None,
            median_error_m=of_hits(np.median, 'error'),
            p90_error_m=of_hits(lambda values: np.quantile(values, 0.9), 'error'),
            median_footprint_error_m=of_hits(np.median, 'footprint_error'),
            bias_range_m=of_hits(np.mean, 'range_error'),
            bias_azimuth_deg=of_hits(lambda values: np.degrees(np.mean(values)), 'azimuth_error'),
            ap_2m=precision_area(scores, outcomes, targets),
            mean_footprint_error_m=of_hits(np.mean, 'footprint_error'),
            p90_footprint_error_m=of_hits(lambda values: np.quantile(values, 0.9), 'footprint_error'),
            empty_frames=empty_frames,
            false_per_empty_frame=float(false_of[is_empty].sum()) / empty_frames if empty_frames else None,
            false_beside_share=float(records.frames['beside'].sum()) / false if false else None,
            recall_at_false={rate: at.recall for rate, at in in_empty.items()},
            recall_at_false_bounds=tuple(rate for rate, at in in_empty.items() if at.bound),
            at_false_per_frame={f'{rate:g}': point(codes != FOUND, frames, rate) for rate in FALSE_PER_FRAME},
        )

    def _kept(self) -> 'tuple[array[float], ...]':
        """In the order of `_ROWS`."""
        return self._frames, self._targets, self._detections, self._pairings

    def _recordings(self) -> int:
        """How many there are so far."""
        return int(self._frames[-_FRAME_COLUMNS]) + 1 if self._frames else 0

    def _target_row(self, target: Target) -> tuple[float, float, float, int]:
        return target.range, target.azimuth, target.visibility, self._place(target.label)

    def _place(self, label: str) -> int:
        """Of a class name in the list of them, where it is put if it is new."""
        return self._labels.setdefault(label, len(self._labels))


_ROWS = (FRAME, TARGET, DETECTION, PAIRING)
_FRAME_COLUMNS = FRAME.itemsize // np.dtype(np.float64).itemsize
_MISSED = (math.nan,) * 6


def _error_row(detection: Target, target: Target) -> tuple[float, float, float, float, float]:
    """What a row of targets tells of a hit."""
    return (
        math.hypot(detection.x - target.x, detection.y - target.y),
        float(footprint_distance(detection.x, detection.y, target)),
        detection.range - target.range,
        math.remainder(detection.azimuth - target.azimuth, 2 * math.pi),
        _squared_deviation(detection, target),
    )


def _squared_deviation(detection: Target, target: Target) -> float:
    """Squared Mahalanobis distance from a detection to a target; NaN where the covariance is none."""
    covariance = np.asarray(detection.covariance, dtype=np.float64)
    determinant = covariance[0, 0] * covariance[1, 1] - covariance[0, 1] * covariance[1, 0]
    if not determinant > 0:
        return math.nan
    x, y = target.x - detection.x, target.y - detection.y
    cross = covariance[0, 1] + covariance[1, 0]
    return float((covariance[1, 1] * x * x - cross * x * y + covariance[0, 0] * y * y) / determinant)
