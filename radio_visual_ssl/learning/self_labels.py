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
candidates of its frame) it starts from that, and keeps it as a prior; without, from several random maps, the one of
highest likelihood going on. Variances are inflated at first and cooled (deterministic annealing).

Labels are cross-fitted: a label comes from a map that has not seen its scene. So do the two figures that make a label's
confidence honest: the candidates of a scene are also offered to the instances of *other* scenes, and what a map finds
there by chance is taken off from what it finds in truth.

No true position enters anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from radio_visual_ssl.learning.association import Association, associate
from radio_visual_ssl.learning.candidates import Candidates
from radio_visual_ssl.learning.visual_map import MapSettings, VisualMap
from radio_visual_ssl.radar.target import Target

Position = Literal['map', 'candidate']

# Clutter density: m and rad of a cell, standard deviation of its smoothing in cells, and share that is uniform.
_CLUTTER_CELL = (1.0, np.radians(2.0))
_CLUTTER_SMOOTHING = (2.0, 2.0)
_UNIFORM_SHARE = 0.1
# SNR histograms: dB of a bin, smoothing in bins, largest log ratio of target to clutter.
_SNR_BIN, _SNR_SMOOTHING, _SNR_LIMIT = 3.0, 1.5, 2.5
# Detections of an instance that the prior of P_D is worth, and of how many instances.
_DETECTION_PRIOR = (3.0, 4.0)
# Pairs less likely than this do not enter a fit.
_LEAST_PAIR = 1e-3
# Variance, m^2 or rad^2, of what no map is there for.
_UNKNOWN = 1e6


class SelfLabelError(ValueError):
    """Frames that cannot be labelled; the message names the frame and the field."""


@dataclass(frozen=True, eq=False)
class FrameEvidence:
    """One frame: what the radar and the camera have seen, without any truth.

    Attributes:
        scene: recording that the frame is from; labels are cross-fitted by it.
        stamp_ns: of the heatmap.
        candidates: radar peaks.
        features: (I, F), one row for each instance; I = 0 is an empty frame.
        group: name of the camera pose: frames of one group share a map. Usually the bag's own name; one name for
            all bags of a camera that has not moved.
        weight: (I,) in [0, 1], trust in the mask: less for truncated, merged or occluded ones, which then count less
            in the fit, and are labelled with confidence only where the radar agrees; 0 leaves them out of the fit.
            None = 1.
        attention: (I, C) not negative: where a contrastive model looks for each instance, at the candidates (see
            ``learning.candidates.attention_weights``); any scale by row, a row of zeros knows nothing. None = no such
            model.
    """

    scene: str
    stamp_ns: int
    candidates: Candidates
    features: NDArray[np.float64]
    group: str = ''
    weight: NDArray[np.float64] | None = None
    attention: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check shapes and values."""
        where = f'frame {self.stamp_ns} of {self.scene!r}'
        if self.features.ndim != 2 or not np.all(np.isfinite(self.features)):
            raise SelfLabelError(
                f'{where}: features: expected (instances, features), finite, got {self.features.shape}'
            )
        count = len(self.features)
        if self.weight is not None and (
            self.weight.shape != (count,) or not np.all((self.weight >= 0) & (self.weight <= 1))
        ):
            raise SelfLabelError(f'{where}: weight: expected {count} numbers from 0 to 1, got {self.weight}')
        if self.attention is not None:
            shape = (count, len(self.candidates))
            if self.attention.shape != shape:
                raise SelfLabelError(f'{where}: attention: expected shape {shape}, got {self.attention.shape}')
            if not np.all(np.isfinite(self.attention) & (self.attention >= 0)):
                raise SelfLabelError(f'{where}: attention: expected finite weights from 0 on')


@dataclass(frozen=True)
class SelfLabelSettings:
    """How labels are made.

    Attributes:
        map: shape of the map.
        folds: parts of the scenes; labels of a part come from a fit to the others. A map group of fewer scenes is cut
            into as many stretches of time instead.
        restarts: random maps to begin from where there is no attention.
        restart_iterations: of each before the likeliest is chosen.
        iterations: at most, of the fit itself.
        annealing: iterations until variances are no longer inflated.
        start_std: m and rad, inflation of the first iteration without attention; half of that with it.
        tolerance: the fit ends when the mean log evidence of an instance changes by less.
        attention_trust: share of the prior over candidates that follows the attention; the rest is even.
        valid_prior: belief that a mask shows a target at the place where its geometry says so; on a parking lot every
            fifth target stood partly behind something that has no mask.
        use_snr: learn how strong the candidates of targets and of clutter are.
        error_tolerance: m, a label's confidence is the belief that its error is smaller.
        shuffles: times that instances are offered candidates of other scenes, to see what is found by chance.
        position: 'map': the map's answer, in which the speckle of a single peak has no part; 'candidate': the
            likeliest peak, as a control.
        seed: of the restarts and shuffles.

    Raises:
        ValueError: a value out of range.
    """

    map: MapSettings = field(default_factory=MapSettings)
    folds: int = 5
    restarts: int = 12
    restart_iterations: int = 12
    iterations: int = 60
    annealing: int = 15
    start_std: tuple[float, float] = (4.0, 0.12)
    tolerance: float = 1e-4
    attention_trust: float = 0.8
    valid_prior: float = 0.85
    use_snr: bool = True
    error_tolerance: float = 2.0
    shuffles: int = 4
    position: Position = 'map'
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (
            ('folds', 2),
            ('restarts', 1),
            ('restart_iterations', 1),
            ('iterations', 1),
            ('shuffles', 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f'{name}: expected a whole number from {least} on, got {getattr(self, name)}')
        for name in ('attention_trust', 'valid_prior'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected a number from 0 to 1, got {getattr(self, name)}')
        if min(self.start_std) <= 0 or self.error_tolerance <= 0 or self.annealing < 0:
            raise ValueError('start_std, error_tolerance: expected positive numbers; annealing: 0 or more')
        if self.position not in ('map', 'candidate'):
            raise ValueError(f"position: expected 'map' or 'candidate', got {self.position!r}")


@dataclass(frozen=True, eq=False)
class SelfLabels:
    """Labels of all instances, in the order of the frames and of the instances in each.

    Attributes:
        frame: (N,) number of the frame in what was given.
        instance: (N,) number of the instance in its frame.
        range, azimuth: (N,) m and rad, as the radar reads them.
        variance: (N, 2) m^2 and rad^2 of range and azimuth.
        confidence: (N,) in [0, 1].
        detected: (N,) probability that one of the frame's candidates is the instance's.
        candidate: (N,) number of the likeliest candidate, -1 where the instance is rather missed.
        purity: (N,) share of what this label's map finds that it does not find by chance.
        detection_probability: mean over the folds.
        log_evidence: held out, mean over the instances; 0 is what clutter alone would give.
        iterations: of the fit of each fold and group, largest.
        converged: all fits ended before their last iteration.
    """

    frame: NDArray[np.int64]
    instance: NDArray[np.int64]
    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    variance: NDArray[np.float64]
    confidence: NDArray[np.float64]
    detected: NDArray[np.float64]
    candidate: NDArray[np.int64]
    purity: NDArray[np.float64]
    detection_probability: float
    log_evidence: float
    iterations: int
    converged: bool

    @classmethod
    def given(
        cls,
        frame: NDArray[np.int64],
        range_: NDArray[np.float64],
        azimuth: NDArray[np.float64],
        confidence: NDArray[np.float64],
        variance: tuple[float, float] = (1.0, 0.01),
    ) -> 'SelfLabels':
        """Labels of another method, such as bare attention peaks, to be judged and written like these.

        Args:
            frame: (N,) ascending, number of each label's frame.
            range_: (N,) m.
            azimuth: (N,) rad.
            confidence: (N,) in [0, 1].
            variance: of range (m^2) and azimuth (rad^2), for all.
        """
        count = frame.size
        return cls(
            frame=frame,
            instance=np.arange(count) - np.searchsorted(frame, frame),
            range=range_,
            azimuth=azimuth,
            variance=np.tile(np.array(variance), (count, 1)),
            confidence=confidence,
            detected=confidence,
            candidate=np.full(count, -1),
            purity=np.ones(count),
            detection_probability=float('nan'),
            log_evidence=float('nan'),
            iterations=0,
            converged=True,
        )

    def __len__(self) -> int:
        """Number of labels."""
        return int(self.frame.size)

    @property
    def position(self) -> NDArray[np.float64]:
        """(N, 2) m, x forward and y left in the radar frame, at the range that the radar reads."""
        return self.range[:, None] * np.column_stack((np.cos(self.azimuth), np.sin(self.azimuth)))

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(N, 2, 2) m^2 of (x, y)."""
        axes = np.stack(
            (np.cos(self.azimuth), -np.sin(self.azimuth), np.sin(self.azimuth), np.cos(self.azimuth)), axis=1
        )
        axes = axes.reshape(-1, 2, 2)
        variance = self.variance * np.column_stack((np.ones(len(self)), self.range**2))
        return axes * variance[:, None, :] @ axes.transpose(0, 2, 1)

    def kept(self, confidence: float | None = None, coverage: float | None = None) -> NDArray[np.bool_]:
        """(N,) which labels to keep: those of a confidence at least, or the most confident share of all.

        Args:
            confidence: least confidence.
            coverage: share in [0, 1]; labels without any confidence (0) are not kept for it.

        Raises:
            ValueError: not exactly one of the two.
        """
        if (confidence is None) == (coverage is None):
            raise ValueError('confidence, coverage: expected one of the two')
        if confidence is not None:
            return self.confidence >= confidence
        keep = np.zeros(len(self), dtype=bool)
        keep[np.argsort(-self.confidence, kind='stable')[: round(float(coverage or 0.0) * len(self))]] = True
        return keep & (self.confidence > 0)

    def targets(self, frames: int, keep: NDArray[np.bool_], radar_height: float = 0.0) -> list[list[Target] | None]:
        """Kept labels as targets, a list for each frame.

        An empty list is a frame without any instance: nothing is there that the camera could see. None is a frame all
        of whose instances were dropped: what is there is not known.

        Args:
            frames: number of frames that were given.
            keep: (N,) see :meth:`kept`.
            radar_height: m, of the radar above the reflecting points, to take slant range and cone angle to the
                ground; 0 = positions are what the radar reads.
        """
        has_instances = np.bincount(self.frame, minlength=frames) > 0
        lists: list[list[Target] | None] = [None if some else [] for some in has_instances]
        labels = self.on_ground(radar_height) if radar_height else self
        places, covariances = labels.position, labels.covariance
        for number in np.flatnonzero(keep):
            target = Target(
                x=float(places[number, 0]),
                y=float(places[number, 1]),
                z=-radar_height,
                covariance=covariances[number],
                score=float(self.confidence[number]),
            )
            index = int(self.frame[number])
            lists[index] = [*(lists[index] or []), target]
        return lists

    def on_ground(self, height: float | NDArray[np.float64]) -> 'SelfLabels':
        """The labels with the height of the radar taken out: ground range and azimuth instead of what a mast reads.

        Slant range and cone angle (the azimuth of a line of antennas along y) are those of reflecting points so far
        below the radar; the variance in range is stretched accordingly.

        Args:
            height: m, of the radar above the reflecting points, one for all or (N,).
        """
        ground = np.sqrt(np.maximum(self.range**2 - np.square(height), 0.01))
        azimuth = np.arcsin(np.clip(self.range * np.sin(self.azimuth) / ground, -1, 1))
        stretch = (self.range / ground)[:, None]
        return replace(self, range=ground, azimuth=azimuth, variance=self.variance * stretch**2)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Frames with the same number of instances, filled up to the same number of candidates.

    Attributes:
        instances: (B, I) numbers.
        candidates: (B, C) numbers; 0 where there is none.
        present: (B, C) bool.
        attention: (B, I, C) log of the prior of each candidate, relative to an even one.
    """

    instances: NDArray[np.int64]
    candidates: NDArray[np.int64]
    present: NDArray[np.bool_]
    attention: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _World:
    """All frames as flat arrays."""

    features: NDArray[np.float64]
    weight: NDArray[np.float64]
    instance_frame: NDArray[np.int64]
    place: NDArray[np.float64]  # (M, 2) of the candidates
    variance: NDArray[np.float64]  # (M, 2)
    snr_bin: NDArray[np.int64]
    candidate_frame: NDArray[np.int64]
    frame_group: NDArray[np.int64]
    frame_fold: NDArray[np.int64]
    frame_scene: NDArray[np.int64]
    has_attention: bool
    attention: list[NDArray[np.float64] | None]  # of each frame, log relative to even

    @property
    def group(self) -> NDArray[np.int64]:
        """(N,) of the instances."""
        return self.frame_group[self.instance_frame]

    def batches(self, frames: NDArray[np.int64], partners: NDArray[np.int64] | None = None) -> list[_Batch]:
        """Batches of frames with instances; with partners, these give the candidates, and there is no attention."""
        first_instance = np.searchsorted(self.instance_frame, np.arange(self.frame_group.size + 1))
        first_candidate = np.searchsorted(self.candidate_frame, np.arange(self.frame_group.size + 1))
        instances, candidates = np.diff(first_instance), np.diff(first_candidate)
        sources = frames if partners is None else partners
        batches = []
        for count in np.unique(instances[frames]):
            if count == 0:
                continue
            chosen = np.flatnonzero(instances[frames] == count)
            width = max(1, int(candidates[sources[chosen]].max()))
            slots = np.arange(width)
            present = slots < candidates[sources[chosen], None]
            numbers = np.where(present, first_candidate[sources[chosen], None] + slots, 0)
            attention = np.zeros((chosen.size, count, width))
            if partners is None and self.has_attention:
                for row, frame in enumerate(frames[chosen]):
                    known = self.attention[frame]
                    if known is not None:
                        attention[row, :, : known.shape[1]] = known
            rows = first_instance[frames[chosen], None] + np.arange(count)
            batches.append(_Batch(rows, numbers, present, attention))
        return batches


@dataclass(frozen=True, eq=False)
class _Clutter:
    """What candidates without a cause look like: how many, where and how strong, against those of targets."""

    log_density: NDArray[np.float64]  # (cells, cells) of candidates in a frame, per m and rad
    log_strength: NDArray[np.float64]  # by SNR bin, log ratio of target to clutter


@dataclass(frozen=True, eq=False)
class _Model:
    """All that is fitted."""

    maps: dict[int, VisualMap]
    detection: float
    clutter: _Clutter


@dataclass(frozen=True, eq=False)
class _Expectation:
    """Outcome of an E-step over batches."""

    associations: list[Association]
    log_evidence: float  # sum


def label_frames(frames: Sequence[FrameEvidence], settings: SelfLabelSettings = SelfLabelSettings()) -> SelfLabels:
    """Labels for all instances of the frames, cross-fitted.

    Args:
        frames: of one radar, the scenes' frames in order of time. Empty ones help to know the clutter.
        settings: see :class:`SelfLabelSettings`.

    Raises:
        SelfLabelError: no frames, or instances with different numbers of features.
    """
    world = _flatten(frames, settings)
    count = world.features.shape[0]
    place, variance = np.zeros((count, 2)), np.full((count, 2), _UNKNOWN)
    detected, likeliest = np.zeros(count), np.full(count, -1)
    purity, missed_belief = np.zeros(count), np.zeros(count)
    detections, evidence, iterations, converged = [], 0.0, 0, True
    rng = np.random.default_rng(settings.seed)
    for fold in np.unique(world.frame_fold) if count and len(world.place) else ():
        held_out = np.flatnonzero(world.frame_fold == fold)
        training = np.flatnonzero(world.frame_fold != fold)
        model, steps, done = _fit(world, training, settings, rng)
        if model is None:
            converged = False
            continue
        detections.append(model.detection)
        iterations, converged = max(iterations, steps), converged and done
        batches = world.batches(held_out)
        found = _expect(world, batches, model, (0.0, 0.0), settings)
        evidence += found.log_evidence
        for batch, association in zip(batches, found.associations, strict=True):
            detected[batch.instances] = 1 - association.missed
            best = np.argmax(association.pair, axis=2)
            certain = np.take_along_axis(association.pair, best[:, :, None], axis=2)[:, :, 0] > association.missed
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


def _flatten(frames: Sequence[FrameEvidence], settings: SelfLabelSettings) -> _World:
    """Frames as flat arrays.

    Raises:
        SelfLabelError: no frames, or different numbers of features.
    """
    if not frames:
        raise SelfLabelError('frames: expected at least one, got none')
    sizes = {frame.features.shape[1] for frame in frames if len(frame.features)}
    if len(sizes) > 1:
        raise SelfLabelError(f'features: expected the same number for all instances, got {sorted(sizes)}')
    width = sizes.pop() if sizes else 0
    instances = [len(frame.features) for frame in frames]
    features = np.concatenate(
        [frame.features.reshape(-1, width) for frame in frames if len(frame.features)] or [np.zeros((0, width))]
    )
    candidates = [frame.candidates for frame in frames]
    snr = np.concatenate([x.snr for x in candidates])
    snr = np.where(np.isfinite(snr), snr, 0.0)
    snr_bin = np.floor(snr / _SNR_BIN).astype(np.int64)
    _, group = np.unique([frame.group for frame in frames], return_inverse=True)
    _, scene = np.unique([frame.scene for frame in frames], return_inverse=True)
    numbers = np.arange(len(frames))
    return _World(
        features=features.astype(np.float64),
        weight=np.concatenate([np.ones(len(f.features)) if f.weight is None else f.weight for f in frames]),
        instance_frame=np.repeat(numbers, instances),
        place=np.column_stack(
            [np.concatenate([getattr(x, name) for x in candidates]) for name in ('range', 'azimuth')]
        ),
        variance=np.concatenate([x.variance for x in candidates]),
        snr_bin=snr_bin - (snr_bin.min() if snr_bin.size else 0),
        candidate_frame=np.repeat(numbers, [len(x) for x in candidates]),
        frame_group=group,
        frame_fold=_folds(group, scene, settings.folds),
        frame_scene=scene,
        has_attention=any(frame.attention is not None for frame in frames),
        attention=[_log_prior(frame.attention, settings.attention_trust) for frame in frames],
    )


def _log_prior(attention: NDArray[np.float64] | None, trust: float) -> NDArray[np.float64] | None:
    """Log of the prior over candidates, relative to an even one."""
    if attention is None or attention.size == 0:
        return None
    total = attention.sum(axis=1, keepdims=True)
    share = np.where(total > 0, attention / np.where(total > 0, total, 1), 1 / attention.shape[1])
    return np.log(np.maximum(trust * share * attention.shape[1] + 1 - trust, 1e-6))


def _folds(group: NDArray[np.int64], scene: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Fold of each frame: whole scenes where a map group has enough of them, else stretches of time."""
    fold = np.zeros(group.size, dtype=np.int64)
    for number in np.unique(group):
        own = np.flatnonzero(group == number)
        scenes, index = np.unique(scene[own], return_inverse=True)
        if scenes.size >= folds:
            fold[own] = index % folds
        else:
            fold[own] = np.arange(own.size) * folds // own.size
    return fold


def _fit(
    world: _World, frames: NDArray[np.int64], settings: SelfLabelSettings, rng: np.random.Generator
) -> tuple[_Model | None, int, bool]:
    """Model of some frames, iterations taken, and whether they were enough; None where nothing can be fitted."""
    batches = world.batches(frames)
    inside = np.isin(world.candidate_frame, frames)
    rows = np.flatnonzero(np.isin(world.instance_frame, frames))
    if not batches or not np.any(inside):
        return None, 0, False
    places = world.place[inside]
    blank = {
        int(group): VisualMap.blank(
            world.features[rows[world.group[rows] == group]], places[:, 0], places[:, 1], settings.map
        )
        for group in np.unique(world.group[rows])
    }
    start = _Model(blank, 0.7, _clutter(world, frames, np.where(inside, 1.0, 0.0), np.zeros(len(inside))))
    if world.has_attention:
        even = [
            Association(_attention_share(batch), np.zeros(batch.instances.shape), np.zeros(len(batch.instances)))
            for batch in batches
        ]
        start = _maximize(world, frames, batches, _Expectation(even, 0.0), start, settings)
        return _iterate(world, frames, batches, start, settings, 0.5, settings.iterations)
    best: _Model | None = None
    highest = -np.inf
    for restart in range(settings.restarts):
        maps = {group: _random_map(empty, rng, restart == 0) for group, empty in blank.items()}
        model = replace(start, maps=maps)
        model, _, _ = _iterate(world, frames, batches, model, settings, 1.0, settings.restart_iterations)
        evidence = _expect(world, batches, model, (0.0, 0.0), settings).log_evidence
        if evidence > highest:
            best, highest = model, evidence
    assert best is not None  # there is at least one restart
    return _iterate(world, frames, batches, best, settings, 0.0, settings.iterations)


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


def _attention_share(batch: _Batch) -> NDArray[np.float64]:
    """(B, I, C) prior over the candidates, from what the attention says."""
    share = np.where(batch.present[:, None, :], np.exp(batch.attention), 0.0)
    return share / np.maximum(share.sum(axis=2, keepdims=True), 1e-12)


def _iterate(
    world: _World,
    frames: NDArray[np.int64],
    batches: list[_Batch],
    model: _Model,
    settings: SelfLabelSettings,
    heat: float,
    iterations: int,
) -> tuple[_Model, int, bool]:
    """EM from a model on; heat: inflation of the first iteration, of ``start_std``."""
    instances = sum(batch.instances.size for batch in batches)
    annealing = min(settings.annealing, iterations) if heat > 0 else 0
    previous = -np.inf
    for step in range(iterations):
        cooled = heat * max(0.0, 1 - step / annealing) ** 2 if annealing else 0.0
        inflation = (cooled * settings.start_std[0]) ** 2, (cooled * settings.start_std[1]) ** 2
        found = _expect(world, batches, model, inflation, settings)
        model = _maximize(world, frames, batches, found, model, settings)
        evidence = found.log_evidence / instances
        if step > annealing and abs(evidence - previous) < settings.tolerance:
            return model, step + 1, True
        previous = evidence
    return model, iterations, False


def _expect(
    world: _World,
    batches: list[_Batch],
    model: _Model,
    inflation: tuple[float, float],
    settings: SelfLabelSettings,
) -> _Expectation:
    """E-step: probabilities of all pairs, one-to-one within each frame."""
    place = np.zeros((len(world.features), 2))
    variance = np.full((len(world.features), 2), _UNKNOWN)
    rows = np.concatenate([batch.instances.ravel() for batch in batches])
    groups = world.group[rows]
    for group, fitted in model.maps.items():
        own = rows[groups == group]
        place[own], variance[own] = fitted.predict(world.features[own])
    variance = variance + np.array(inflation)
    candidate_term = -_log_clutter(world.place, model.clutter)
    if settings.use_snr:
        candidate_term = candidate_term + model.clutter.log_strength[world.snr_bin]
    odds_detection = np.log(model.detection) - np.log1p(-model.detection)
    associations, evidence = [], 0.0
    for batch in batches:
        numbers = batch.candidates
        total = variance[batch.instances][:, :, None, :] + world.variance[numbers][:, None, :, :]
        offset = world.place[numbers][:, None, :, :] - place[batch.instances][:, :, None, :]
        offset[..., 1] = np.mod(offset[..., 1] + np.pi, 2 * np.pi) - np.pi
        log_likelihood = -0.5 * np.sum(offset**2 / total + np.log(2 * np.pi * total), axis=3)
        log_odds = odds_detection + log_likelihood + candidate_term[numbers][:, None, :] + batch.attention
        log_odds = np.where(batch.present[:, None, :], log_odds, -np.inf)
        association = associate(log_odds)
        associations.append(association)
        evidence += float(association.log_evidence.sum()) + batch.instances.size * np.log1p(-model.detection)
    return _Expectation(associations, evidence)


def _maximize(
    world: _World,
    frames: NDArray[np.int64],
    batches: list[_Batch],
    found: _Expectation,
    model: _Model,
    settings: SelfLabelSettings,
) -> _Model:
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
    clutter = _clutter(world, frames, np.where(inside, np.clip(1 - caused, 0, 1), 0.0), np.clip(caused, 0, 1))
    return _Model(maps, float(np.clip(detection, 0.02, 0.98)), clutter)


def _clutter(
    world: _World, frames: NDArray[np.int64], clutter: NDArray[np.float64], caused: NDArray[np.float64]
) -> _Clutter:
    """Density of clutter and the SNR of targets against it, from the belief in each candidate being either."""
    edges = _clutter_edges(world.place)
    counts, _, _ = np.histogram2d(world.place[:, 0], world.place[:, 1], bins=edges, weights=clutter)
    smooth = gaussian_filter(counts, _CLUTTER_SMOOTHING, mode='nearest')
    total = max(counts.sum(), 1.0)
    smooth = (1 - _UNIFORM_SHARE) * smooth / max(smooth.sum(), 1e-12) + _UNIFORM_SHARE / smooth.size
    density = total / max(frames.size, 1) * smooth / (_CLUTTER_CELL[0] * _CLUTTER_CELL[1])
    bins = int(world.snr_bin.max()) + 1 if world.snr_bin.size else 1
    shares = []
    for belief in (caused, clutter):
        histogram = gaussian_filter(np.bincount(world.snr_bin, weights=belief, minlength=bins), _SNR_SMOOTHING)
        shares.append((histogram + 1) / (histogram.sum() + bins))
    ratio = np.clip(np.log(shares[0] / shares[1]), -_SNR_LIMIT, _SNR_LIMIT)
    return _Clutter(np.log(density), ratio if caused.any() else np.zeros(bins))


def _clutter_edges(place: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Edges of the cells of the clutter density, along range and azimuth, around all candidates."""
    return [
        np.arange(side.min() - cell, side.max() + 2 * cell, cell)
        for side, cell in zip(place.T, _CLUTTER_CELL, strict=True)
    ]


def _log_clutter(place: NDArray[np.float64], clutter: _Clutter) -> NDArray[np.float64]:
    """Log density of clutter at each candidate."""
    edges = _clutter_edges(place)
    index = [
        np.clip(np.searchsorted(edge, side, side='right') - 1, 0, size - 1)
        for edge, side, size in zip(edges, place.T, clutter.log_density.shape, strict=True)
    ]
    return clutter.log_density[index[0], index[1]]


def _purity(
    world: _World,
    frames: NDArray[np.int64],
    rows: NDArray[np.int64],
    model: _Model,
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
                    some, _expect(world, some, model, (0.0, 0.0), settings).associations, strict=True
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


def _partners(world: _World, frames: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
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
