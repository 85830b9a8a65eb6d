# SPDX-License-Identifier: Apache-2.0
"""How well detections find the true targets: one-to-one matching, recall, precision, errors and average precision.

A detection hits a target when it lies inside the target's footprint or within `hit_distance` of it; of a target without
a box it must lie within `hit_distance` of the centre. In each frame as many targets as possible are paired with one
detection each, and among those pairings the one with the smallest sum of distances to the centres counts.

Only targets in the evaluated view are counted. What happens outside is neither rewarded nor punished: a detection that
hits no counted target is *ignored* when it hits a target outside the view, or when it lies outside the evaluated sector
itself; every other detection without a target, a second one on the same target included, is a false alarm.

Back ends are compared at equal false alarms by moving a threshold through their scores: down to the lowest score at
which there are no more false alarms than wanted. Where all detections together make fewer, that is the lowest score of
all, and the recall there is a lower bound: the back end might find more if it reported more. Detections that a back end
withholds for their low score take part in that and in the average precision alone.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

Sector = Callable[[Target], bool]
View = Literal['camera', 'radar', 'all']
VIEWS: tuple[View, ...] = ('camera', 'radar', 'all')
HIT_DISTANCE = 2.0  # m
BESIDE = 4.0  # m, nearer to a footprint than which a false alarm is a target's echo found twice, or misplaced
FALSE_PER_EMPTY_FRAME = (0.02, 0.05, 0.1, 0.2)
FALSE_PER_FRAME = (0.02, 0.05, 0.1, 0.2, 0.5)
_NO_PAIR = 1e6  # m, dearer than any number of true pairs in a frame


def footprint_distance(x: ArrayLike, y: ArrayLike, target: Target) -> NDArray[np.float64]:
    """Distance from places on the ground to a target's footprint.

    Args:
        x: (N,) m, radar frame, forward.
        y: (N,) m, radar frame, left.
        target: with its box; without one (size zero, or heading unknown) its centre stands for it.

    Returns:
        (N,) m; 0 inside the footprint.
    """
    forward, left = np.asarray(x, dtype=np.float64) - target.x, np.asarray(y, dtype=np.float64) - target.y
    length, width, _ = target.size
    if not (length > 0 and width > 0 and math.isfinite(target.heading)):
        return np.hypot(forward, left)
    cosine, sine = math.cos(target.heading), math.sin(target.heading)
    along = np.abs(cosine * forward + sine * left) - length / 2
    across = np.abs(cosine * left - sine * forward) - width / 2
    return np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0))


def is_counted(target: Target, view: View) -> bool:
    """Whether a true target counts in a view."""
    return {'camera': target.in_camera_view, 'radar': target.in_radar_view, 'all': True}[view]


def camera_sector(camera: CameraModel) -> Sector:
    """Whether a detection's direction lies between the left and the right border of the camera's image.

    A radar with a horizontal array measures no height, so the rows of the image do not count: a detection below or
    above the picture is still judged.
    """

    def inside(detection: Target) -> bool:
        (column, _), _ = (values[0] for values in camera.project([(detection.x, detection.y, detection.z)]))
        return bool(np.isfinite(column) and -0.5 <= column < camera.width - 0.5)

    return inside


@dataclass(frozen=True, eq=False)
class FrameMatch:
    """The detections of one frame against its true targets.

    Attributes:
        targets: number of counted targets.
        hits: (detection, target) pairs.
        false: detections that hit nothing that is left.
        misses: counted targets without a detection.
        ignored: detections that count neither way.
        ranked: (score, outcome) of each detection that is not ignored when detections are admitted from the highest
            score down; outcome: whether one more target can be found with it.
        pairings: (from, until, error, target) of each pair of detection and target that there is at some threshold:
            from that score down, to another score at which a further detection takes its place (-inf: never); m to the
            centre; number of the target among those that count.
    """

    targets: int
    hits: list[tuple[Target, Target]]
    false: list[Target]
    misses: list[Target]
    ignored: list[Target]
    ranked: list[tuple[float, bool]]
    pairings: list[tuple[float, float, float, int]]

    @property
    def beside(self) -> int:
        """How many of ``false`` lie within `BESIDE` of the footprint of a counted target."""
        if not self.false:
            return 0
        counted = [target for _, target in self.hits] + self.misses
        return int(_hits(self.false, counted, BESIDE).any(axis=1).sum())


def match_frame(
    detections: Sequence[Target],
    truth: Sequence[Target],
    *,
    view: View = 'camera',
    in_sector: Sector | None = None,
    hit_distance: float = HIT_DISTANCE,
) -> FrameMatch:
    """Pairs the detections of one frame with its true targets.

    Args:
        detections: positions and scores.
        truth: every known target of the frame, inside the view or not.
        view: which targets count: those in the camera's view, in the radar's view, or all.
        in_sector: whether a detection lies in the evaluated part of the world; None: everywhere.
        hit_distance: m from the footprint (or centre).

    Raises:
        ValueError: an unknown view.
    """
    if view not in VIEWS:
        raise ValueError(f'view: expected one of {", ".join(VIEWS)}, got {view!r}')
    counted = [target for target in truth if is_counted(target, view)]
    others = [target for target in truth if not is_counted(target, view)]
    near, distances = _hits(detections, counted, hit_distance), _centre_distances(detections, counted)
    scores = [detection.score for detection in detections]
    pairs = _paired(near, distances)
    excused = np.any(_hits(detections, others, hit_distance), axis=1)
    if in_sector is not None:
        excused |= ~np.array([in_sector(detection) for detection in detections], dtype=bool)
    found, taken = {column for _, column in pairs}, {row for row, _ in pairs}
    unpaired = [row for row in range(len(detections)) if row not in taken]
    outcome = _admit_by_score(scores, near)
    return FrameMatch(
        targets=len(counted),
        hits=[(detections[row], counted[column]) for row, column in pairs],
        false=[detections[row] for row in unpaired if not excused[row]],
        misses=[target for column, target in enumerate(counted) if column not in found],
        ignored=[detections[row] for row in unpaired if excused[row]],
        ranked=[
            (detection.score, outcome[row])
            for row, detection in enumerate(detections)
            if outcome[row] or not excused[row]
        ],
        pairings=_pairings_by_score(scores, near, distances),
    )


def _hits(detections: Sequence[Target], truth: Sequence[Target], hit_distance: float) -> NDArray[np.bool_]:
    """(detection, target) bool."""
    x, y = [detection.x for detection in detections], [detection.y for detection in detections]
    distances = [footprint_distance(x, y, target) for target in truth]
    return hit_distance >= np.array(distances, dtype=np.float64).reshape(len(truth), len(detections)).T


def _centre_distances(detections: Sequence[Target], truth: Sequence[Target]) -> NDArray[np.float64]:
    """(detection, target) m."""
    found = np.array([(detection.x, detection.y) for detection in detections]).reshape(-1, 1, 2)
    true = np.array([(target.x, target.y) for target in truth]).reshape(1, -1, 2)
    return np.linalg.norm(found - true, axis=2)


def _paired(near: NDArray[np.bool_], distances: NDArray[np.float64]) -> list[tuple[int, int]]:
    """(detection, target) pairs, as many as there can be, with the smallest sum of distances."""
    rows, columns = linear_sum_assignment(np.where(near, distances, _NO_PAIR))
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if near[row, column]]


def _pairings_by_score(
    scores: Sequence[float], near: NDArray[np.bool_], distances: NDArray[np.float64]
) -> list[tuple[float, float, float, int]]:
    """`FrameMatch.pairings`: those of all the thresholds at which a detection is admitted that is near a target."""
    values = np.asarray(scores, dtype=np.float64)
    rows = np.flatnonzero(near.any(axis=1))
    rows = rows[np.argsort(-values[rows], kind='stable')]
    since: dict[tuple[int, int], float] = {}
    ended: list[tuple[float, float, float, int]] = []
    for score in np.unique(values[rows])[::-1]:
        admitted = rows[values[rows] >= score]
        pairs = {(int(admitted[row]), column) for row, column in _paired(near[admitted], distances[admitted])}
        for pair in since.keys() - pairs:
            ended.append((since.pop(pair), float(score), float(distances[pair]), pair[1]))
        for pair in pairs - since.keys():
            since[pair] = float(score)
    return ended + [(begun, -math.inf, float(distances[pair]), pair[1]) for pair, begun in since.items()]


def _admit_by_score(scores: Sequence[float], near: NDArray[np.bool_]) -> list[bool]:
    """Which detections find one more target when admitted from the highest score down.

    A detection may push others over to another target that they hit as well (augmenting path), so that at every
    threshold as many targets are found as one-to-one pairing allows.
    """
    owner: dict[int, int] = {}

    def finds(row: int, tried: set[int]) -> bool:
        for column in map(int, np.flatnonzero(near[row])):
            if column not in tried:
                tried.add(column)
                if column not in owner or finds(owner[column], tried):
                    owner[column] = row
                    return True
        return False

    outcome = [False] * len(scores)
    for row in map(int, np.argsort(-np.asarray(scores, dtype=np.float64), kind='stable')):
        outcome[row] = finds(row, set())
    return outcome


def average_precision(ranked: Iterable[tuple[float, bool]], targets: int) -> float | None:
    """Area under the precision-recall curve, interpolated at every point (precision made falling with recall).

    Args:
        ranked: (score, found one more target) of every detection, in any order; equal scores share one threshold.
        targets: true targets in all.

    Returns:
        In [0, 1]; None without targets.
    """
    entries = list(ranked)
    scores = np.array([score for score, _ in entries], dtype=np.float64)
    return precision_area(scores, np.array([outcome for _, outcome in entries], dtype=np.bool_), targets)


def precision_area(scores: NDArray[np.float64], outcomes: NDArray[np.bool_], targets: int) -> float | None:
    """`average_precision` of (N,) scores and outcomes."""
    if targets == 0:
        return None
    if not scores.size:
        return 0.0
    order = np.argsort(-scores, kind='stable')
    scores, found = scores[order], np.cumsum(outcomes[order])
    threshold = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    recall = found[threshold] / targets
    precision = found[threshold] / (threshold + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


@dataclass(frozen=True)
class OperatingPoint:
    """What is found at the lowest score with no more false alarms than a rate allows.

    Attributes:
        threshold: score from which detections count there; None without detections.
        recall: hits / targets; None without targets.
        median_error_m: of the hits, from the detection to the target's centre; None without hits.
        bound: whether all detections together make fewer false alarms, so that the recall is a lower bound.
    """

    threshold: float | None = None
    recall: float | None = None
    median_error_m: float | None = None
    bound: bool = False


@dataclass(frozen=True)
class Metrics:
    """Figures over many frames; None where they are undefined (no targets, no hits, no detections).

    Attributes:
        frames: evaluated frames.
        targets: counted true targets.
        recall: hits / targets.
        precision: hits / (hits + false alarms).
        false_per_frame: false alarms per frame.
        median_error_m, p90_error_m: of the hits, from the detection to the target's centre.
        median_footprint_error_m, mean_footprint_error_m, p90_footprint_error_m: of the hits, to the footprint, 0
            inside it.
        bias_range_m, bias_azimuth_deg: mean of detection minus truth over the hits; + is too far, and too far left.
        ap_2m: average precision by score under the hit rule above, whose distance is 2 m unless set otherwise.
        empty_frames: frames without a target that counts.
        false_per_empty_frame: false alarms in those, per frame.
        false_beside_share: of all false alarms, those within `BESIDE` of the footprint of a target that counts: second
            detections of it, or first ones that lie too far off; None without false alarms.
        recall_at_false: recall at the lowest score with no more false alarms per empty frame than the key
            (`FALSE_PER_EMPTY_FRAME`); None without targets or empty frames.
        recall_at_false_bounds: keys of those that are lower bounds, for all detections together, the withheld ones
            included, make fewer false alarms in empty frames.
        at_false_per_frame: figures at the lowest score with no more false alarms per frame, over all frames, than the
            key (`FALSE_PER_FRAME`).
    """

    frames: int
    targets: int
    recall: float | None
    precision: float | None
    false_per_frame: float | None
    median_error_m: float | None
    p90_error_m: float | None
    median_footprint_error_m: float | None
    bias_range_m: float | None
    bias_azimuth_deg: float | None
    ap_2m: float | None
    mean_footprint_error_m: float | None
    p90_footprint_error_m: float | None
    empty_frames: int
    false_per_empty_frame: float | None
    false_beside_share: float | None
    recall_at_false: dict[str, float | None]
    recall_at_false_bounds: tuple[str, ...]
    at_false_per_frame: dict[str, OperatingPoint]


def threshold_at(
    scores: NDArray[np.float64], is_false: NDArray[np.bool_], frames: int, rate: float
) -> tuple[float | None, bool]:
    """Lowest score at which false alarms per frame are no more than the rate.

    Args:
        scores: (N,) of all detections, in any order.
        is_false: (N,) which of them are the false alarms that count.
        frames: in which these are.
        rate: per frame.

    Returns:
        The score, None without detections; and whether there are fewer false alarms than that even there.
    """
    descending = np.sort(scores[is_false])[::-1]
    fewer = bool(len(descending) < rate * frames - 1e-9)
    allowed = math.floor(rate * frames + 1e-9)
    if allowed < len(descending):
        return float(np.nextafter(descending[allowed], np.inf)), fewer
    return (float(scores.min()) if scores.size else None), fewer
