# SPDX-License-Identifier: Apache-2.0
"""EM: a model of who has caused which radar peak, fitted to frames, and what it says of others."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.learning.association import Association, associate
from radio_visual_ssl.learning.clutter import Clutter, fit_clutter, log_clutter_density
from radio_visual_ssl.learning.frame_evidence import EvidenceArrays, EvidenceBatch
from radio_visual_ssl.learning.label_settings import SelfLabelSettings
from radio_visual_ssl.learning.visual_map import VisualMap
from radio_visual_ssl.radar.grid import turned_towards

UNKNOWN_VARIANCE = 1e6
"""m^2 or rad^2, of what no map is there for."""

# Detections of an instance that the prior of P_D is worth, and of how many instances.
_DETECTION_PRIOR = (3.0, 4.0)
# Pairs less likely than this do not enter a fit.
_LEAST_PAIR = 1e-3


@dataclass(frozen=True, eq=False)
class LabelModel:
    """All that is fitted."""

    maps: dict[int, VisualMap]
    detection: float
    clutter: Clutter


@dataclass(frozen=True, eq=False)
class Expectation:
    """Outcome of an E-step over batches."""

    associations: list[Association]
    log_evidence: float  # sum


def find_start(
    world: EvidenceArrays, frames: NDArray[np.int64], settings: SelfLabelSettings, rng: np.random.Generator
) -> LabelModel | None:
    """Where EM may begin without attention: of several random maps the one that leads to the likeliest, by map group.

    EM finds what is near its start, so that one fold may find what another one misses; let all begin alike.

    Returns:
        None where nothing can be fitted.
    """
    start = _blank_model(world, frames, settings)
    if start is None:
        return None
    starts = [_best_start(world, frames, group, start, settings, rng) for group in start.maps]
    maps = {group: found.maps[group] for group, found in zip(start.maps, starts, strict=True)}
    largest = max(starts, key=lambda found: np.count_nonzero(world.group == next(iter(found.maps))))
    return replace(largest, maps=maps, detection=float(np.mean([found.detection for found in starts])))


def fit_model(
    world: EvidenceArrays, frames: NDArray[np.int64], settings: SelfLabelSettings, start: LabelModel | None = None
) -> tuple[LabelModel | None, int, bool]:
    """Model of some frames, iterations taken, and whether they were enough; None where nothing can be fitted.

    Args:
        world: all frames.
        frames: numbers of those that are fitted.
        settings: how.
        start: where to begin; None = with the attention.
    """
    blank = _blank_model(world, frames, settings)
    if blank is None:
        return None, 0, False
    batches = world.batches(frames)
    if start is not None:
        begun = replace(start, maps={group: start.maps.get(group, empty) for group, empty in blank.maps.items()})
        return _iterate(world, frames, batches, begun, settings, 0.0, settings.iterations)
    even = [
        Association(_attention_share(batch), np.zeros(batch.instances.shape), np.zeros(len(batch.instances)))
        for batch in batches
    ]
    begun = _maximize(world, frames, batches, Expectation(even, 0.0), blank, settings)
    return _iterate(world, frames, batches, begun, settings, 0.5, settings.iterations)


def _blank_model(world: EvidenceArrays, frames: NDArray[np.int64], settings: SelfLabelSettings) -> LabelModel | None:
    """A model that knows nothing but the places of the candidates; None where there are none, or no instances."""
    inside = np.isin(world.candidate_frame, frames)
    rows = np.flatnonzero(np.isin(world.instance_frame, frames))
    if not rows.size or not np.any(inside):
        return None
    places = world.place[inside]
    maps = {
        int(group): VisualMap.blank(
            world.features[rows[world.group[rows] == group]], places[:, 0], places[:, 1], settings.map
        )
        for group in np.unique(world.group[rows])
    }
    return LabelModel(maps, 0.7, fit_clutter(world, frames, np.where(inside, 1.0, 0.0), np.zeros(len(inside))))


def _best_start(
    world: EvidenceArrays,
    frames: NDArray[np.int64],
    group: int,
    start: LabelModel,
    settings: SelfLabelSettings,
    rng: np.random.Generator,
) -> LabelModel:
    """The likeliest of several fits from random maps, for one map group, to some of its frames."""
    own = frames[world.frame_group[frames] == group]
    some = np.sort(rng.choice(own, min(own.size, settings.restart_frames), replace=False))
    if not np.any(np.isin(world.instance_frame, some)):
        some = own
    batches = world.batches(some)
    best, highest = start, -np.inf
    for restart in range(settings.restarts):
        model = replace(start, maps={group: _random_map(start.maps[group], rng, restart == 0)})
        model, _, _ = _iterate(world, some, batches, model, settings, 1.0, settings.restart_iterations)
        evidence = expect(world, batches, model, (0.0, 0.0), settings).log_evidence
        if evidence > highest:
            best, highest = model, evidence
    return best


def _random_map(blank: VisualMap, rng: np.random.Generator, plain: bool) -> VisualMap:
    """A map as of some camera that looks where the radar does: right is clockwise, and lower in the image is nearer.

    The plain one takes the spread of the features to the spread of the candidates.
    """
    size = blank.centre.size
    slopes = np.zeros((2, size + 1))
    if size >= 2:
        slopes[0, 2], slopes[1, 1] = 1.0, -1.0
    if not plain:
        slopes[:, 1:] *= np.exp(rng.normal(0, 0.5, (2, size)))
        slopes[:, 0] = rng.normal(0, 0.5, 2)
        places = min(size, blank.settings.place_features)
        slopes[:, 1 : places + 1] += rng.normal(0, 0.2, (2, places))
    return blank.with_linear(slopes[0], slopes[1])


def _attention_share(batch: EvidenceBatch) -> NDArray[np.float64]:
    """(B, I, C) prior over the candidates, from what the attention says."""
    share = np.where(batch.present[:, None, :], np.exp(batch.attention), 0.0)
    return share / np.maximum(share.sum(axis=2, keepdims=True), 1e-12)


def _iterate(
    world: EvidenceArrays,
    frames: NDArray[np.int64],
    batches: list[EvidenceBatch],
    model: LabelModel,
    settings: SelfLabelSettings,
    heat: float,
    iterations: int,
) -> tuple[LabelModel, int, bool]:
    """EM from a model on; heat: inflation of the first iteration, of ``start_std``."""
    instances = sum(batch.instances.size for batch in batches)
    annealing = min(settings.annealing, iterations) if heat > 0 else 0
    previous = -np.inf
    for step in range(iterations):
        cooled = heat * max(0.0, 1 - step / annealing) ** 2 if annealing else 0.0
        inflation = (cooled * settings.start_std[0]) ** 2, (cooled * settings.start_std[1]) ** 2
        found = expect(world, batches, model, inflation, settings)
        model = _maximize(world, frames, batches, found, model, settings)
        evidence = found.log_evidence / instances
        if step > annealing and abs(evidence - previous) < settings.tolerance:
            return model, step + 1, True
        previous = evidence
    return model, iterations, False


def expect(
    world: EvidenceArrays,
    batches: list[EvidenceBatch],
    model: LabelModel,
    inflation: tuple[float, float],
    settings: SelfLabelSettings,
) -> Expectation:
    """E-step: probabilities of all pairs, one-to-one within each frame."""
    if not batches:
        return Expectation([], 0.0)
    place = np.zeros((len(world.features), 2))
    variance = np.full((len(world.features), 2), UNKNOWN_VARIANCE)
    rows = np.concatenate([batch.instances.ravel() for batch in batches])
    groups = world.group[rows]
    for group, fitted in model.maps.items():
        own = rows[groups == group]
        place[own], variance[own] = fitted.predict(world.features[own])
    variance = variance + np.array(inflation)
    candidate_term = -log_clutter_density(world.place, model.clutter)
    if settings.use_snr:
        candidate_term = candidate_term + model.clutter.log_strength[world.snr_bin]
    odds_detection = np.log(model.detection) - np.log1p(-model.detection)
    associations, evidence = [], 0.0
    for batch in batches:
        numbers = batch.candidates
        total = variance[batch.instances][:, :, None, :] + world.variance[numbers][:, None, :, :]
        offset = world.place[numbers][:, None, :, :] - place[batch.instances][:, :, None, :]
        offset[..., 1] = turned_towards(offset[..., 1])
        log_likelihood = -0.5 * np.sum(offset**2 / total + np.log(2 * np.pi * total), axis=3)
        log_odds = odds_detection + log_likelihood + candidate_term[numbers][:, None, :] + batch.attention
        log_odds = np.where(batch.present[:, None, :], log_odds, -np.inf)
        association = associate(log_odds)
        associations.append(association)
        evidence += float(association.log_evidence.sum()) + batch.instances.size * np.log1p(-model.detection)
    return Expectation(associations, evidence)


def _maximize(
    world: EvidenceArrays,
    frames: NDArray[np.int64],
    batches: list[EvidenceBatch],
    found: Expectation,
    model: LabelModel,
    settings: SelfLabelSettings,
) -> LabelModel:
    """M-step: maps, probability of detection, clutter."""
    instance, candidate, weight = [], [], []
    for batch, association in zip(batches, found.associations, strict=True):
        frame, row, column = np.nonzero(association.pair > _LEAST_PAIR)
        instance.append(batch.instances[frame, row])
        candidate.append(batch.candidates[frame, column])
        weight.append(association.pair[frame, row, column])
    rows, columns, probability = np.concatenate(instance), np.concatenate(candidate), np.concatenate(weight)
    trusted = probability * world.weight[rows]
    groups = world.group[rows]
    maps = {}
    for group, fitted in model.maps.items():
        own = groups == group
        places, features = world.place[columns[own]], world.features[rows[own]]
        maps[group] = fitted.fitted(features, places[:, 0], places[:, 1], trusted[own], world.variance[columns[own]])
    instances = np.concatenate([batch.instances.ravel() for batch in batches])
    detections, trials = trusted.sum(), world.weight[instances].sum()
    detection = (detections + _DETECTION_PRIOR[0]) / (trials + _DETECTION_PRIOR[1])
    caused = np.bincount(columns, weights=probability, minlength=len(world.place))
    inside = np.isin(world.candidate_frame, frames)
    clutter = fit_clutter(world, frames, np.where(inside, np.clip(1 - caused, 0, 1), 0.0), np.clip(caused, 0, 1))
    return LabelModel(maps, float(np.clip(detection, 0.02, 0.98)), clutter)
