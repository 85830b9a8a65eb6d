# SPDX-License-Identifier: Apache-2.0
"""Self-labels: where the radar sees what the camera sees, learned from unlabelled pairs alone by EM.

Each frame has instances (targets in the image, as feature vectors of their masks) and candidates (radar peaks). Unknown
are the map from features to radar places, and who belongs to whom. Model, for each frame:

- a valid instance is missed with probability 1 - P_D, or causes one candidate, normally distributed around the map's
  answer with the map's variance and that of the peak;
- all other candidates are clutter, with a smooth density over range and azimuth;
- no candidate has two causes: the E-step sums over all one-to-one pairings (:mod:`learning.association`);
- candidates of targets and of clutter may differ in SNR, by histograms that are learned too.

The M-step fits the map (:mod:`learning.visual_map`), one for each *map group*: recordings with one camera pose. EM
finds what is near its start, so this matters: with attention (a contrastive model's belief, for each instance, over the
candidates of its frame) it starts from that, and keeps it as a prior; without, from several random maps, of which the
one of highest likelihood goes on. Variances are inflated at first and cooled (deterministic annealing).

Labels are cross-fitted: a label comes from a map that was fitted without its scene (where the random maps led to, which
all folds begin with, is all that they share). So do the two figures that make a label's
confidence honest: the candidates of a scene are also offered to the instances of *other* scenes, and what a map finds
there by chance is taken off from what it finds in truth.

No true position enters anywhere.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.learning.frame_evidence import EvidenceArrays, FrameEvidence, flatten
from radio_visual_ssl.learning.label_em import UNKNOWN_VARIANCE, LabelModel, expect, find_start, fit_model
from radio_visual_ssl.learning.label_settings import SelfLabelSettings
from radio_visual_ssl.learning.self_labels import SelfLabels


def label_frames(frames: Sequence[FrameEvidence], settings: SelfLabelSettings = SelfLabelSettings()) -> SelfLabels:
    """Labels for all instances of the frames, cross-fitted.

    Args:
        frames: of one radar, the scenes' frames in order of time. Empty ones help to know the clutter.
        settings: see :class:`SelfLabelSettings`.

    Raises:
        SelfLabelError: no frames, or instances with different numbers of features.
    """
    world = flatten(frames, settings)
    count = world.features.shape[0]
    place, variance = np.zeros((count, 2)), np.full((count, 2), UNKNOWN_VARIANCE)
    detected, likeliest, pair = np.zeros(count), np.full(count, -1), np.zeros(count)
    purity, missed_belief = np.zeros(count), np.zeros(count)
    detections, evidence, iterations, converged = [], 0.0, 0, True
    rng = np.random.default_rng(settings.seed)
    start = None if world.has_attention else find_start(world, np.arange(len(frames)), settings, rng)
    for fold in np.unique(world.frame_fold) if count and len(world.place) else ():
        held_out = np.flatnonzero(world.frame_fold == fold)
        training = np.flatnonzero(world.frame_fold != fold)
        model, steps, done = fit_model(world, training, settings, start)
        if model is None:
            converged = False
            continue
        detections.append(model.detection)
        iterations, converged = max(iterations, steps), converged and done
        batches = world.batches(held_out)
        found = expect(world, batches, model, (0.0, 0.0), settings)
        evidence += found.log_evidence
        for batch, association in zip(batches, found.associations, strict=True):
            detected[batch.instances] = 1 - association.missed
            best = np.argmax(association.pair, axis=2)
            share = np.take_along_axis(association.pair, best[:, :, None], axis=2)[:, :, 0]
            certain = share > association.missed
            pair[batch.instances] = share
            numbers = np.take_along_axis(batch.candidates, best, axis=1)
            likeliest[batch.instances] = np.where(certain, numbers, -1)
        rows = np.flatnonzero(world.frame_fold[world.instance_frame] == fold)
        for group in np.unique(world.group[rows]):
            own = rows[world.group[rows] == group]
            if group in model.maps:
                place[own], variance[own] = model.maps[group].predict(world.features[own])
        purity[rows] = _purity(world, held_out, rows, model, settings, rng)
        valid = settings.valid_prior * world.weight[rows]
        missed_belief[rows] = valid * (1 - model.detection) / (1 - valid * model.detection)
    if settings.position == 'candidate':
        sure = likeliest >= 0
        place[sure], variance[sure] = world.place[likeliest[sure]], world.variance[likeliest[sure]]
        missed_belief[:] = 0
        detected[~sure] = 0
    confidence = (detected + (1 - detected) * missed_belief) * purity * _within(place, variance, settings)
    first_candidate = np.searchsorted(world.candidate_frame, world.instance_frame)
    first_instance = np.searchsorted(world.instance_frame, world.instance_frame)
    return SelfLabels(
        frame=world.instance_frame,
        instance=np.arange(count) - first_instance,
        range=place[:, 0],
        azimuth=place[:, 1],
        variance=variance,
        confidence=np.clip(confidence, 0, 1),
        detected=detected,
        candidate=np.where(likeliest >= 0, likeliest - first_candidate, -1),
        pair=pair,
        purity=purity,
        detection_probability=float(np.mean(detections)) if detections else 0.0,
        log_evidence=evidence / max(count, 1),
        iterations=iterations,
        converged=converged,
    )


def _within(
    place: NDArray[np.float64], variance: NDArray[np.float64], settings: SelfLabelSettings
) -> NDArray[np.float64]:
    """Belief that each error is below the tolerance, for a round normal law of the same total variance."""
    total = variance[:, 0] + variance[:, 1] * place[:, 0] ** 2
    return -np.expm1(-(settings.error_tolerance**2) / np.maximum(total, 1e-9))


def _purity(
    world: EvidenceArrays,
    frames: NDArray[np.int64],
    rows: NDArray[np.int64],
    model: LabelModel,
    settings: SelfLabelSettings,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(rows,) share of the held-out detections of each map that are not matched by candidates of other frames.

    Attention knows its own frame, so that it has no part in this.
    """
    partners = [_partners(world, frames, rng) for _ in range(settings.shuffles)]
    rates = []
    for batches in ([world.batches(frames, frames)], [world.batches(frames, other) for other in partners]):
        detected = np.zeros(len(world.features))
        for some in batches:
            if some:
                for batch, association in zip(
                    some, expect(world, some, model, (0.0, 0.0), settings).associations, strict=True
                ):
                    detected[batch.instances] += (1 - association.missed) / len(batches)
        rates.append(detected)
    purity = np.zeros(rows.size)
    groups = world.group[rows]
    for group in np.unique(groups):
        own = groups == group
        true, chance = (np.sum(rate[rows[own]] * world.weight[rows[own]]) for rate in rates)
        purity[own] = max(0.0, 1 - chance / true) if true > 0 else 0.0
    return purity


def _partners(world: EvidenceArrays, frames: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each frame another one of its map group to take candidates from: of another scene, or else far in time."""
    partners = np.empty_like(frames)
    for group in np.unique(world.frame_group[frames]):
        own = np.flatnonzero(world.frame_group == group)
        mine = np.flatnonzero(world.frame_group[frames] == group)
        scenes = world.frame_scene[own]
        for number in mine:
            others = own[scenes != world.frame_scene[frames[number]]]
            if others.size == 0:
                apart = np.abs(own - frames[number])
                others = own[apart >= apart.max() / 2]
            partners[number] = rng.choice(others)
    return partners
