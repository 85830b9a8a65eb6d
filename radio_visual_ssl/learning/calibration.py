# SPDX-License-Identifier: Apache-2.0
"""What a localizer's scores and variances mean, learned on labelled frames that it was not trained on."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, minimize, minimize_scalar
from scipy.special import log_softmax

from radio_visual_ssl.learning.localizer_data import LabelledBatch, in_sector
from radio_visual_ssl.models.localizer import Detections, LocalizerNetwork, decode
from radio_visual_ssl.models.network_localizer import LocalizerCalibration
from radio_visual_ssl.radar.grid import turned_towards

CHI_SQUARE_MEDIAN = 0.4549364231195724
"""Median of the square of a standard normal."""

LEAST_CLASSES = 20
"""Hits of known class from which the probabilities of classes are calibrated."""


@dataclass(frozen=True)
class CalibrationSettings:
    """How detections are compared with labels.

    Attributes:
        false_per_empty_frame: false targets that a frame without any label has on average at the threshold; unless
            detections and labels would agree less than half as well there (F1) as they can: then what is found in
            frames without labels is rather what masks have missed, and the threshold is that of best agreement. So it
            is for a network that sees the camera, too: where the camera shows nothing, it finds nothing anyway.
        hit_distance: m, farthest that a detection's label may be.
        lowest_score: of the network, below which detections are not looked at.
        separation: m, see `NetworkLocalizerSettings`; the one that the localizer will be run with.
        dropped_radius: m, detections that near to a dropped label count neither way.
        least_empty_frames: with fewer frames without labels, the threshold is the one of best agreement, too.
        range_margin: m, detections farther than that outside the ranges of the training's labels are dropped.

    Raises:
        ValueError: a value out of range.
    """

    false_per_empty_frame: float = 0.05
    hit_distance: float = 3.0
    lowest_score: float = 0.02
    separation: float = 1.0
    dropped_radius: float = 5.0
    least_empty_frames: int = 60
    range_margin: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('false_per_empty_frame', 'hit_distance', 'lowest_score'):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f'{name}: expected a positive number, got {getattr(self, name)!r}')
        if not (math.isfinite(self.range_margin) and self.range_margin >= 0):
            raise ValueError(f'range_margin: expected 0 m or more, got {self.range_margin!r}')


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Detections against labels; arrays of D.

    Attributes:
        logit: network's log-odds.
        hit: of a label.
        weight: the label's confidence, or 1 for a false one; 0 where it counts neither way.
        empty: in a frame without any label, dropped ones included.
        errors: (D, 2) detection minus label along (range, azimuth), m and rad; NaN without a label.
        variances: (D, 2) predicted, m^2 and rad^2.
        class_logit: (D, classes) of the network; no columns without classes.
        class_index: (D,) place of the label's class, -1 without a label or where it is not known.
        frames, empty_frames: numbers of frames looked at.
    """

    logit: NDArray[np.float64]
    hit: NDArray[np.bool_]
    weight: NDArray[np.float64]
    empty: NDArray[np.bool_]
    errors: NDArray[np.float64]
    variances: NDArray[np.float64]
    class_logit: NDArray[np.float64]
    class_index: NDArray[np.int64]
    frames: int
    empty_frames: int


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration, and what it was made of.

    Attributes:
        calibration: of the scores and variances.
        hits, false: detections that it was learned from.
        frames, empty_frames: that they were found in.
        false_per_empty_frame: at the threshold, where that comes from empty frames as wanted or as near as they allow;
            0 where there are none.
        threshold_frames: from which the threshold comes, 'empty' or 'labelled'.
        recall: share of the kept labels that are found at the threshold.
        class_accuracy: of the hits at the threshold whose label has a class, share whose likeliest class it is; None
            without any, or without classes.
    """

    calibration: LocalizerCalibration
    hits: int
    false: int
    frames: int
    empty_frames: int
    false_per_empty_frame: float
    threshold_frames: str
    recall: float
    class_accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint holds it: `LocalizerCalibration.of` reads it."""
        content = asdict(self)
        return {**content.pop('calibration'), 'learned_from': content}


def calibrate(
    network: LocalizerNetwork,
    batches: Iterable[LabelledBatch],
    settings: CalibrationSettings = CalibrationSettings(),
    ranges: tuple[float, float] | None = None,
) -> CalibrationReport:
    """Scores, variances and threshold of a network on labelled frames that it was not trained on.

    Args:
        network: in evaluation mode.
        batches: frames of which it is known what the camera saw.
        settings: of the comparison.
        ranges: m, nearest and farthest that the network has learned from; None: no limits.
    """
    limits = (0.0, 0.0)
    if ranges is not None:
        limits = max(ranges[0] - settings.range_margin, 0.0), ranges[1] + settings.range_margin
    labels = 0
    found: list[Outcomes] = []
    device = next(network.parameters()).device
    for batch in batches:
        with torch.inference_mode():
            output = network(*batch.inputs(device))
        detections = decode(output, network.cells, settings.lowest_score, 64, settings.separation)
        found.append(compare(detections, batch, settings))
        labels += int(batch.kept.sum())
    outcomes = _joined(found)
    slope, intercept = fit_scores(outcomes.logit, outcomes.hit, outcomes.weight)
    scales = [
        fit_variance(outcomes.errors[outcomes.hit, axis], outcomes.variances[outcomes.hit, axis]) for axis in (0, 1)
    ]
    named = outcomes.class_index >= 0
    temperature = fit_temperature(outcomes.class_logit[named], outcomes.class_index[named])
    calibration = LocalizerCalibration(slope, intercept, 0.5, scales[0], scales[1], class_temperature=temperature)
    scores = calibration.score(1 / (1 + np.exp(-outcomes.logit)))
    telling = outcomes.empty_frames >= settings.least_empty_frames and not network.sees_camera
    wrong = ~outcomes.hit & (outcomes.weight > 0) & outcomes.empty
    counted = outcomes.weight > 0
    threshold, rate = choose_threshold(scores[wrong], outcomes.empty_frames, settings.false_per_empty_frame)
    agreed = best_agreement(scores[counted], outcomes.hit[counted], labels)
    at_empty, at_best = (
        _agreement(scores[counted], outcomes.hit[counted], labels, each) for each in (threshold, agreed)
    )
    by_empty_frames = telling and at_empty >= at_best / 2
    if not by_empty_frames:
        threshold = agreed
        rate = float(np.count_nonzero(scores[wrong] >= threshold) / max(outcomes.empty_frames, 1))
    named &= scores >= threshold
    right = outcomes.class_logit[named].argmax(axis=1) == outcomes.class_index[named] if named.any() else np.zeros(0)
    calibration = replace(calibration, threshold=threshold, min_range=limits[0], max_range=limits[1])
    return CalibrationReport(
        calibration,
        int(outcomes.hit.sum()),
        int((~outcomes.hit & (outcomes.weight > 0)).sum()),
        outcomes.frames,
        outcomes.empty_frames,
        rate,
        'empty' if by_empty_frames else 'labelled',
        float((outcomes.hit & (scores >= threshold)).sum() / max(labels, 1)),
        float(right.mean()) if right.size else None,
    )


def compare(detections: list[Detections], batch: LabelledBatch, settings: CalibrationSettings) -> Outcomes:
    """The detections of a batch's frames against its labels: as many pairs within reach as there can be, the nearest.

    Detections outside the part that the camera sees, or near a dropped label, count neither way unless they hit.
    """
    label_frame, kept = batch.frame.cpu().numpy(), batch.kept.cpu().numpy()
    label_range, label_azimuth = batch.range.cpu().numpy(), batch.azimuth.cpu().numpy()
    confidence, spread = batch.confidence.cpu().numpy(), batch.spread.amax(dim=1).cpu().numpy()
    sectors = batch.sector.cpu().numpy()
    parts = []
    for frame, found in enumerate(detections):
        own = np.flatnonzero(label_frame == frame)
        turn = turned_towards(found.azimuth[:, None] - label_azimuth[own])
        step = found.range[:, None] - label_range[own]
        distance = np.hypot(step, np.minimum(found.range[:, None], label_range[own]) * turn)
        sure = np.flatnonzero(kept[own])
        near = distance[:, sure] <= settings.hit_distance
        rows, columns = linear_sum_assignment(np.where(near, distance[:, sure], 1e6))
        pairs = near[rows, columns]
        rows, columns = rows[pairs], sure[columns[pairs]]
        hit = np.zeros(len(found.score), dtype=np.bool_)
        hit[rows] = True
        errors = np.full((len(hit), 2), np.nan)
        errors[rows] = np.stack((step[rows, columns], turn[rows, columns]), axis=1)
        seen = in_sector(found.range, found.azimuth, sectors[frame])
        reach = settings.dropped_radius + np.minimum(2 * spread[own], settings.dropped_radius)
        excused = np.any((distance <= reach) & ~kept[own], axis=1) | ~seen
        weight = np.where(excused, 0.0, 1.0)
        weight[rows] = confidence[own[columns]]
        logit = np.log(found.score / np.maximum(1 - found.score, 1e-9))
        classes, number = np.zeros((len(hit), 0)), np.full(len(hit), -1)
        if found.class_logit is not None and batch.class_index is not None:
            classes = found.class_logit
            number[rows] = batch.class_index.cpu().numpy()[own[columns]]
        without = own.size == 0
        empty = np.full(len(hit), without)
        parts.append(Outcomes(logit, hit, weight, empty, errors, found.variance, classes, number, 1, int(without)))
    return _joined(parts)


def fit_scores(logit: NDArray[np.float64], hit: NDArray[np.bool_], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of the logistic curve from log-odds to the share of hits.

    Platt, "Probabilistic outputs for support vector machines" (1999): targets are drawn in from 0 and 1 by the numbers
    of examples. Without examples of both kinds, the scores stay as they are.

    Args:
        logit: (D,).
        hit: (D,).
        weight: (D,).
    """
    hits, misses = float(weight[hit].sum()), float(weight[~hit].sum())
    if hits < 1 or misses < 1:
        return 1.0, 0.0
    wanted = np.where(hit, (hits + 1) / (hits + 2), 1 / (misses + 2))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = math.exp(parameters[0])  # a higher score is never a worse one
        argument = slope * logit + parameters[1]
        value = np.sum(weight * (np.logaddexp(0, argument) - wanted * argument))
        slack = weight * (1 / (1 + np.exp(-argument)) - wanted)
        return float(value), np.array([np.sum(slack * logit) * slope, np.sum(slack)])

    fitted = minimize(loss, np.zeros(2), jac=True, method='L-BFGS-B', bounds=[(-4, 4), (-30, 30)]).x
    return math.exp(float(fitted[0])), float(fitted[1])


def fit_variance(errors: NDArray[np.float64], variances: NDArray[np.float64]) -> float:
    """Factor of predicted variances after which half of the squared errors are below a normal's median.

    The median does not see outlying labels, and takes Student's t, in which scales are learned, to the normal that has
    the same middle half. 1 without errors.

    Args:
        errors: (N,).
        variances: (N,) predicted.
    """
    if not errors.size:
        return 1.0
    return float(max(np.median(errors**2 / variances) / CHI_SQUARE_MEDIAN, 1e-4))


def fit_temperature(logit: NDArray[np.float64], index: NDArray[np.int64]) -> float:
    """Temperature that makes softmax(logit / temperature) the likeliest probabilities of the true classes.

    Guo et al., "On calibration of modern neural networks" (arXiv 1706.04599, section 4.2). 1 with fewer than
    `LEAST_CLASSES` examples.

    Args:
        logit: (D, classes).
        index: (D,) true class.
    """
    if len(index) < LEAST_CLASSES:
        return 1.0

    def loss(log_temperature: float) -> float:
        chances = log_softmax(logit * math.exp(-log_temperature), axis=1)
        return -float(chances[np.arange(len(index)), index].mean())

    return math.exp(float(minimize_scalar(loss, bounds=(-3, 3), method='bounded').x))


def choose_threshold(scores: NDArray[np.float64], frames: int, per_frame: float) -> tuple[float, float]:
    """Lowest score at which the false detections of these frames are as few as wanted, and how many there are then.

    Args:
        scores: of the false detections.
        frames: in which they were.
        per_frame: wanted at most.

    Returns:
        (Threshold, false detections per frame).
    """
    allowed = math.floor(per_frame * frames + 1e-9)
    descending = np.sort(scores)[::-1]
    if len(descending) <= allowed:
        lowest = float(descending[-1]) if len(descending) else 0.5
        return lowest, len(descending) / max(frames, 1)
    threshold = float(np.nextafter(descending[allowed], 2.0))
    return min(threshold, 1.0), float(np.count_nonzero(scores >= threshold) / max(frames, 1))


def best_agreement(scores: NDArray[np.float64], hit: NDArray[np.bool_], labels: int) -> float:
    """Score from which detections agree best with labels, by the harmonic mean of precision and recall (F1).

    Args:
        scores: (D,) of detections.
        hit: (D,) of a label.
        labels: that there are.

    Returns:
        Halfway between the lowest score that takes part and the highest one that does not, the lowest of all where
        there is none; 0.5 without hits.
    """
    if not hit.any():
        return 0.5
    order = np.argsort(-scores, kind='stable')
    agreement = 2 * np.cumsum(hit[order]) / (np.arange(1, len(order) + 1) + labels)
    descending = scores[order]
    agreement[:-1][descending[:-1] == descending[1:]] = -1.0  # equal scores go together
    last = int(np.argmax(agreement))
    below = descending[last + 1] if last + 1 < len(descending) else descending[last]  # lower ones were not looked at
    return float((descending[last] + below) / 2)


def _agreement(scores: NDArray[np.float64], hit: NDArray[np.bool_], labels: int, threshold: float) -> float:
    """Harmonic mean of precision and recall of the detections from a score on; 0 without any."""
    kept = scores >= threshold
    found, reported = int(np.count_nonzero(kept & hit)), int(np.count_nonzero(kept))
    return 2 * found / max(reported + labels, 1)


def _joined(parts: list[Outcomes]) -> Outcomes:
    """All frames as one."""
    return Outcomes(
        np.concatenate([part.logit for part in parts]),
        np.concatenate([part.hit for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.empty for part in parts]),
        np.concatenate([part.errors for part in parts]),
        np.concatenate([part.variances for part in parts]),
        np.concatenate([part.class_logit for part in parts]),
        np.concatenate([part.class_index for part in parts]),
        sum(part.frames for part in parts),
        sum(part.empty_frames for part in parts),
    )
