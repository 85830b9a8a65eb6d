# SPDX-License-Identifier: Apache-2.0
"""From recordings, and a contrastive model where there is one, to self-labels by each method, side by side.

- ``mcl_em``: EM over radar peaks (:mod:`learning.label_frames`), begun with the attention of a contrastive model and
  kept near it; or EM without the model where that finds surely more, so that a model that learned little does no harm.
  Its labels are refined (:mod:`learning.label_refinement`).
- ``em``: the same without a model.
- ``attention``: the bare peak of the attention, as in Alloulah et al., "Look, Radiate, and Learn", 2022.
- ``attention_candidate``: the radar peak that the attention weighs most.
- ``background_peak``: the strongest radar peaks of a frame, as many as there are masks, from left to right as the masks
  are. What a radar at rest can do without learning anything.
- ``ground_plane``: the camera's calibration alone (:mod:`learning.ground_plane_labels`), which no other method reads.

No true position enters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl import __version__
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.learning.attention_labels import (
    Attention,
    AttentionModel,
    check_model,
    read_attention,
    strongest_candidates,
    weightiest_candidates,
)
from radio_visual_ssl.learning.candidates import CandidateSettings
from radio_visual_ssl.learning.frame_evidence import FrameEvidence
from radio_visual_ssl.learning.ground_plane_labels import GroundPlane, recording_ground_places
from radio_visual_ssl.learning.label_em import UNKNOWN_VARIANCE
from radio_visual_ssl.learning.label_frames import label_frames
from radio_visual_ssl.learning.label_refinement import RefinementSettings, refine_labels
from radio_visual_ssl.learning.label_set import LabelError, LabelSet, labels_of_recordings
from radio_visual_ssl.learning.label_settings import SelfLabelSettings
from radio_visual_ssl.learning.recording_evidence import (
    RadarBackground,
    RecordingEvidence,
    gather_evidence,
    recording_trajectory,
    with_detections,
)
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.learning.self_labels import SelfLabels
from radio_visual_ssl.radar.localizer import Localizer

Method = Literal['mcl_em', 'em', 'attention', 'attention_candidate', 'background_peak', 'ground_plane']
METHODS: tuple[Method, ...] = get_args(Method)
WITH_MODEL: tuple[Method, ...] = ('mcl_em', 'attention', 'attention_candidate')
"""Methods that need a contrastive model."""
WITH_CALIBRATION: tuple[Method, ...] = ('ground_plane',)
"""Methods that need a calibrated camera above a known ground."""

# Share of the confidence of EM alone that EM with attention must reach. Confidence is an honest measure here: it holds
# what a map finds in frames of other scenes, which attention has no part in, against what it finds by chance.
_LEAST_GAIN = 0.9


@dataclass(frozen=True)
class LabellingSettings:
    """How recordings are labelled.

    Attributes:
        background: ``static``: what the radar always sees is taken off before its peaks are looked for; ``raw``: it is
            not, as on a platform that moves.
        coverage: share of the masks whose label is kept, the most confident ones; counts where confidence is 0.
        confidence: least confidence of a label that is kept; 0 = ``coverage`` counts.
        least_masks: of a map group; EM labels no smaller ones, and names them.
        candidates: which radar peaks are looked at.
        em: of 'em' and 'mcl_em'.
        refinement: of these, too.

    Raises:
        ValueError: a value out of range.
    """

    background: RadarBackground = 'static'
    coverage: float = 0.8
    confidence: float = 0.0
    least_masks: int = 100
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    em: SelfLabelSettings = field(default_factory=SelfLabelSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)

    def __post_init__(self) -> None:
        """Check the values."""
        if self.background not in get_args(RadarBackground):
            raise ValueError(f"background: expected 'static' or 'raw', got {self.background!r}")
        for name in ('coverage', 'confidence'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected a number from 0 to 1, got {getattr(self, name)}')
        if self.least_masks < 1:
            raise ValueError(f'least_masks: expected 1 or more, got {self.least_masks}')


@dataclass(frozen=True, eq=False)
class MethodLabels:
    """Labels of all masks of several recordings by one method.

    Attributes:
        method: that made them.
        labels: one for each mask, in the order of the recordings and of the masks in each (so that the truth of the
            recordings, one after the other, is their truth); frames are numbered through all recordings.
        kept: (N,) bool.
        label_set: the same, parted by recording, to be saved. Masks without any place are not in it: nothing is known
            of their frames.
    """

    method: Method
    labels: SelfLabels
    kept: NDArray[np.bool_]
    label_set: LabelSet


@dataclass(frozen=True, eq=False)
class Labelling:
    """What ``make_labels`` returns.

    Attributes:
        methods: labels of each method.
        notes: what there is to be told, one sentence each.
    """

    methods: Mapping[str, MethodLabels]
    notes: tuple[str, ...]


def default_methods(model: AttentionModel | None, calibrated: bool = False) -> tuple[Method, ...]:
    """All methods that what is there suffices for, best first; those that need a calibration last.

    Args:
        model: contrastive.
        calibrated: whether a calibration may be read.
    """
    without = () if model is not None else WITH_MODEL
    without += () if calibrated else WITH_CALIBRATION
    return tuple(method for method in METHODS if method not in without)


def make_labels(
    recordings: Sequence[Recording],
    model: AttentionModel | None = None,
    settings: LabellingSettings = LabellingSettings(),
    methods: Sequence[Method] | None = None,
    *,
    localizer: Localizer | None = None,
    planes: Sequence[GroundPlane | None] | None = None,
    provenance: Mapping[str, Any] | None = None,
    workers: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Labelling:
    """Label all masks of recordings, cross-fitted by recording.

    Args:
        recordings: of one radar, each once, with masks.
        model: contrastive, for the methods of ``WITH_MODEL``.
        settings: see `LabellingSettings`.
        methods: None = all that can be made without a calibration.
        localizer: whose detections are taken for radar peaks too, see ``recording_evidence.with_detections``.
        planes: calibration of each recording, for the methods of ``WITH_CALIBRATION``; masks of those without have no
            place.
        provenance: what JSON can hold of where the model comes from, kept with the labels.
        workers: processes that look for radar peaks at once.
        progress: called with what is done, the part that is done of it, and the parts in all.

    Raises:
        LabelError: no recordings or one twice, no masks, too few in every map group, a method without the model or the
            calibration that it needs.
        OtherRadarError: a model or a localizer of another radar.
        ArrayStoreError: see ``recording_evidence.gather_evidence``.
    """
    methods = default_methods(model) if methods is None else tuple(dict.fromkeys(methods))
    _check(recordings, model, planes, methods)
    if model is not None:
        for recording in recordings:
            check_model(model, recording)
    usable, notes = _usable_groups(recordings, settings.least_masks)
    tell = progress or (lambda what, done, total: None)
    refinement, trajectories = settings.refinement, None
    if refinement.vehicle_depth is None and any(method in ('mcl_em', 'em') for method in methods):
        if localizer is not None:
            # its detections are at the centre already, if it has learned from labels that are
            refinement = replace(refinement, vehicle_depth=0.0)
        elif settings.background == 'raw':
            trajectories, told = _trajectories(recordings, tell)
            notes += told
    evidence = gather_evidence(
        recordings,
        settings.background,
        settings.candidates,
        workers,
        lambda done, total: tell('finding radar peaks', done, total),
    )
    if localizer is not None:
        for number, item in enumerate(evidence):
            evidence[number] = with_detections(item, localizer)
            tell('running the localizer', number + 1, len(evidence))
    attention: list[Attention] | None = None
    if model is not None and any(method in WITH_MODEL for method in methods):
        attention = []
        for done, item in enumerate(evidence, start=1):
            attention.append(read_attention(model, item))
            tell('reading attention', done, len(evidence))
    about = {'version': __version__, 'settings': asdict(settings), **(provenance or {})}
    made: dict[str, MethodLabels] = {}
    for done, method in enumerate(methods):
        tell(f'labelling by {method}', done, len(methods))
        labels = _label(method, evidence, attention, planes, usable, settings.em)
        if method == 'mcl_em':
            labels, note = surer_labels(labels, _label('em', evidence, None, None, usable, settings.em))
            notes += [note] if note else []
        if method in ('mcl_em', 'em'):
            # a label that is the peak itself has nothing to be weighed against
            towards = refinement.towards_peaks and settings.em.position == 'map'
            changed = replace(refinement, towards_peaks=towards)
            labels, told = refine_labels(labels, evidence, usable, changed, trajectories)
            notes += [f'{method}: {note}' for note in told]
        made[method] = _kept(method, recordings, labels, settings, about)
    return Labelling(made, tuple(notes))


def _trajectories(
    recordings: Sequence[Recording], tell: Callable[[str, int, int], None]
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """The radar's trajectory in each recording, NaN where it is not known, and what there is to be told of it."""
    found: list[NDArray[np.float64]] = []
    notes: list[str] = []
    for recording in recordings:
        tell('reading the trajectory of the radar', len(found), len(recordings))
        try:
            found.append(recording_trajectory(recording))
        except BagError as error:
            notes.append(f'{recording.name}: the trajectory of the radar is not known: {error}')
            found.append(np.full((len(recording), 3), np.nan))
    lost = sum(int(np.count_nonzero(np.isnan(each).any(axis=1))) for each in found)
    if lost:
        of_all = sum(map(len, found))
        notes.append(
            f'in {lost} of {of_all} frames /tf does not tell where the radar is: there labels of vehicles stay at their'
            ' near side'
        )
    return found, notes


def surer_labels(with_attention: SelfLabels, alone: SelfLabels) -> tuple[SelfLabels, str]:
    """Labels of EM with attention, or those of EM alone where these are surely better, and what is to be told of it.

    Args:
        with_attention: of all masks.
        alone: of the same masks, without a model.
    """
    sure, sure_alone = float(with_attention.confidence.mean()), float(alone.confidence.mean())
    if sure >= _LEAST_GAIN * sure_alone:
        return with_attention, ''
    return alone, (
        'mcl_em: these are the labels of EM alone, for the attention of the model leads astray: mean confidence'
        f' {sure:.2f} with it, {sure_alone:.2f} without'
    )


def _check(
    recordings: Sequence[Recording],
    model: AttentionModel | None,
    planes: Sequence[GroundPlane | None] | None,
    methods: Sequence[str],
) -> None:
    """Refuse what cannot be labelled.

    Raises:
        LabelError: see ``make_labels``.
    """
    if not recordings:
        raise LabelError('recordings: expected at least one, got none')
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise LabelError(f'methods: expected some of {", ".join(METHODS)}, got {", ".join(unknown) or "none"}')
    needing = [method for method in methods if method in WITH_MODEL]
    if model is None and needing:
        raise LabelError(f'{", ".join(needing)}: expected a contrastive model, got none')
    needing = [method for method in methods if method in WITH_CALIBRATION]
    if needing and (planes is None or all(plane is None for plane in planes)):
        raise LabelError(f'{", ".join(needing)}: expected a calibrated camera above a known ground, got none')
    if planes is not None and len(planes) != len(recordings):
        raise LabelError(f'planes: expected one for each of {len(recordings)} recordings, got {len(planes)}')
    seen: dict[str, str] = {}
    for recording in recordings:
        if recording.content in seen:
            raise LabelError(f'{recording.name}: expected each bag once, got the content of {seen[recording.content]}')
        seen[recording.content] = recording.name
    if not any(recording.instances for recording in recordings):
        names = ', '.join(recording.name for recording in recordings[:5]) + (', ...' if recordings[5:] else '')
        raise LabelError(f'{names}: expected masks of targets, got none in {len(recordings)} bags')


def _usable_groups(recordings: Sequence[Recording], least: int) -> tuple[set[str], list[str]]:
    """Map groups of enough masks, and what is to be told of the others.

    Raises:
        LabelError: there is none.
    """
    masks: dict[str, int] = {}
    bags: dict[str, int] = {}
    for recording in recordings:
        masks[recording.group] = masks.get(recording.group, 0) + recording.instances
        bags[recording.group] = bags.get(recording.group, 0) + 1
    usable = {group for group, count in masks.items() if count >= least}
    advice = 'name one camera pose for all bags of a camera that has not moved'
    if not usable:
        group = max(masks, key=lambda name: masks[name])
        raise LabelError(
            f'expected at least {least} masks of one camera pose, the fullest of {len(masks)}, {group!r}, has'
            f' {masks[group]} (in {bags[group]} bags): {advice}'
        )
    notes = [
        f'{group}: {count} masks in {bags[group]} bags are too few for a map of their own (expected {least}), no labels'
        f' are made: {advice}'
        for group, count in masks.items()
        if group not in usable
    ]
    return usable, notes


def _label(
    method: Method,
    evidence: Sequence[RecordingEvidence],
    attention: Sequence[Attention] | None,
    planes: Sequence[GroundPlane | None] | None,
    usable: set[str],
    settings: SelfLabelSettings,
) -> SelfLabels:
    """Labels of all masks by one method; those of groups that are too small have no place."""
    if method in ('mcl_em', 'em'):
        return _by_em(evidence, attention if method == 'mcl_em' else None, usable, settings)
    if method == 'attention' and attention is not None:
        place = np.concatenate([np.column_stack((item.range, item.azimuth)) for item in attention])
        return _given(evidence, place, np.concatenate([item.share for item in attention]))
    if method == 'ground_plane' and planes is not None:
        found = [recording_ground_places(item.recording, plane) for item, plane in zip(evidence, planes, strict=True)]
        place, variance, confidence = (np.concatenate(values) for values in zip(*found, strict=True))
        return _given(evidence, place, confidence, variance)
    parts = []
    for number, item in enumerate(evidence):
        weights = attention[number].weights if attention is not None else None
        for frame, candidates in enumerate(item.candidates):
            if method == 'attention_candidate' and weights is not None:
                parts.append(weightiest_candidates(weights[frame], candidates))
            else:
                parts.append(strongest_candidates(item.features[frame], candidates))
    return _given(evidence, *(np.concatenate(values) for values in zip(*parts, strict=True)))


def _frame_of_masks(evidence: Sequence[RecordingEvidence]) -> NDArray[np.int64]:
    """(I,) frame of each mask, numbered through all recordings."""
    counts = np.concatenate([np.diff(item.recording.mask_starts) for item in evidence])
    return np.repeat(np.arange(counts.size), counts)


def _given(
    evidence: Sequence[RecordingEvidence],
    place: NDArray[np.float64],
    confidence: NDArray[np.float64],
    variance: NDArray[np.float64] | None = None,
) -> SelfLabels:
    """Labels at given places (NaN = none), with their variances where these are known."""
    placed = np.all(np.isfinite(place), axis=1)
    place = np.where(placed[:, None], place, 0.0)
    confidence = np.where(placed, confidence, 0.0)
    labels = SelfLabels.given(_frame_of_masks(evidence), place[:, 0], place[:, 1], confidence)
    if variance is not None:
        labels.variance[:] = variance
    labels.variance[~placed] = UNKNOWN_VARIANCE
    return labels


def _by_em(
    evidence: Sequence[RecordingEvidence],
    attention: Sequence[Attention] | None,
    usable: set[str],
    settings: SelfLabelSettings,
) -> SelfLabels:
    """Labels by EM; frames that were not segmented may hold targets without masks, so that they have no part in it."""
    frames: list[FrameEvidence] = []
    numbers: list[int] = []
    start = 0
    for number, item in enumerate(evidence):
        recording = item.recording
        if recording.group in usable:
            for index in np.flatnonzero(recording.segmented):
                weights = attention[number].weights[index] if attention is not None else None
                frames.append(item.frame(int(index), weights))
                numbers.append(start + int(index))
        start += len(recording)
    found = label_frames(frames, settings)
    frame = _frame_of_masks(evidence)
    rows = np.isin(frame, numbers)
    if np.count_nonzero(rows) != len(found):
        raise LabelError(f'expected masks in frames that were segmented alone, got {rows.size} and {len(found)}')

    def whole(values: NDArray[Any], blank: float) -> NDArray[Any]:
        """Values of all masks, from those that were labelled."""
        every = np.full((frame.size, *values.shape[1:]), blank, dtype=values.dtype)
        every[rows] = values
        return every

    return SelfLabels(
        frame=frame,
        instance=np.arange(frame.size) - np.searchsorted(frame, frame),
        range=whole(found.range, 0),
        azimuth=whole(found.azimuth, 0),
        variance=whole(found.variance, UNKNOWN_VARIANCE),
        confidence=whole(found.confidence, 0),
        detected=whole(found.detected, 0),
        candidate=whole(found.candidate, -1),
        pair=whole(found.pair, 0),
        purity=whole(found.purity, 0),
        detection_probability=found.detection_probability,
        log_evidence=found.log_evidence,
        iterations=found.iterations,
        converged=found.converged,
    )


def _kept(
    method: Method,
    recordings: Sequence[Recording],
    labels: SelfLabels,
    settings: LabellingSettings,
    about: Mapping[str, Any],
) -> MethodLabels:
    """The labels, which of them are kept, and all that have a place parted by recording."""
    kept = (
        labels.kept(confidence=settings.confidence) if settings.confidence else labels.kept(coverage=settings.coverage)
    )
    placed = labels.range > 0
    kept &= placed
    known = np.concatenate([recording.segmented for recording in recordings])
    known[labels.frame[~placed]] = False
    sizes = np.cumsum([len(recording) for recording in recordings])[:-1]
    parted = labels_of_recordings(
        recordings,
        [recording.group for recording in recordings],
        np.split(known, sizes),
        labels.chosen(placed),
        kept[placed],
        np.concatenate([recording.mask_labels for recording in recordings])[placed],
    )
    return MethodLabels(method, labels, kept, LabelSet(method, recordings[0].radar, parted, about))
