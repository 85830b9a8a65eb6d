# SPDX-License-Identifier: Apache-2.0
"""Runs localizers over recorded frames and judges what they find."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.pairing import stamp_fault, stamped
from radio_visual_ssl.bags.reader import BagReader, Frame
from radio_visual_ssl.bags.topics import IMAGE_TOPIC, TRUTH_TOPIC
from radio_visual_ssl.evaluation.breakdown import Confusion, groups_to_json, per_class, per_visibility
from radio_visual_ssl.evaluation.metrics import HIT_DISTANCE, FrameMatch, Metrics, View, camera_sector
from radio_visual_ssl.evaluation.ols import OlsMetrics, OlsTally
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.radar.formation import FormationSettings
from radio_visual_ssl.radar.geometry import RadarGeometry, check_same_radar
from radio_visual_ssl.radar.localizer import Localizer, WithholdingLocalizer
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel


@runtime_checkable
class FrameLocalizer(Protocol):
    """Finds targets in frames, of which it takes more than the heatmap; fed in order of time."""

    @property
    def needs_velocity(self) -> bool:
        """Whether it refuses heatmaps without velocities."""
        ...

    def localize_frame(self, frame: Frame) -> tuple[list[Target], list[Target]]:
        """Targets that it reports, and those that it withholds for their low score, each highest first.

        Raises:
            ValueError: the frame does not fit this localizer; the message says what differs.
        """
        ...

    def reset(self) -> None:
        """Forget what earlier frames taught."""
        ...


AnyLocalizer = Localizer | FrameLocalizer


@dataclass(frozen=True, eq=False)
class EvaluatedFrame:
    """One frame after evaluation, for pictures and progress.

    Attributes:
        frame: as recorded.
        detections: of each localizer that took the heatmap.
        matches: of each localizer; empty where the frame has no ground truth, or a localizer refused the heatmap.
        camera: whose view it was, where known.
    """

    frame: Frame
    detections: dict[str, list[Target]]
    matches: dict[str, FrameMatch]
    camera: CameraModel | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one or several localizers on the same frames.

    Attributes:
        tallies: of each localizer, in the order in which they were given.
        view: which targets counted.
        hit_distance: m.
        unlabelled_frames: frames without ground truth, which fed the localizers but were not judged.
        sector_known: whether false alarms outside the camera's sector could be left out.
        faults: what of the recordings could not be used, one sentence each.
        recordings: where the frames that were judged come from, in the order of the tallies' recordings.
        ols_tallies: of each localizer, where location similarity was asked for; else none.
    """

    tallies: dict[str, Tally]
    view: View
    hit_distance: float
    unlabelled_frames: int
    sector_known: bool
    faults: list[str] = field(default_factory=list)
    recordings: tuple[str, ...] = ()
    ols_tallies: dict[str, OlsTally] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Metrics]:
        """The figures of each localizer."""
        return {name: tally.metrics() for name, tally in self.tallies.items()}

    @property
    def ols(self) -> dict[str, OlsMetrics]:
        """CRUW's figures of each localizer, where they were asked for."""
        return {name: tally.metrics() for name, tally in self.ols_tallies.items()}

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to know, one sentence each."""
        notes = []
        if self.view == 'camera' and not self.sector_known:
            notes.append('no camera calibration: detections outside the camera view count as false alarms')
        if self.unlabelled_frames:
            notes.append(f'{self.unlabelled_frames} frames without ground truth are not judged')
        return notes + self.faults

    @classmethod
    def joined(cls, evaluations: Sequence['Evaluation']) -> 'Evaluation':
        """One over the frames of all, which are of the same localizers, view and hit distance; at least one.

        Raises:
            ValueError: of another view or hit distance.
        """
        first = evaluations[0]
        tallies = {name: Tally(first.view, first.hit_distance) for name in first.tallies}
        for evaluation in evaluations:
            for name, tally in tallies.items():
                tally.extend(evaluation.tallies[name])
        ols_tallies = {name: OlsTally() for name in first.ols_tallies}
        for evaluation in evaluations:
            for name, ols_tally in ols_tallies.items():
                ols_tally.extend(evaluation.ols_tallies[name])
        return cls(
            tallies,
            first.view,
            first.hit_distance,
            sum(evaluation.unlabelled_frames for evaluation in evaluations),
            all(evaluation.sector_known for evaluation in evaluations),
            [fault for evaluation in evaluations for fault in evaluation.faults],
            tuple(name for evaluation in evaluations for name in evaluation.recordings),
            ols_tallies,
        )

    def to_json(self) -> dict[str, Any]:
        """The figures of the first localizer, those of each under ``backends``, and how they were taken."""
        backends, ols = {}, self.ols
        for name, tally in self.tallies.items():
            records = tally.records()
            groups = {
                'per_class': groups_to_json(per_class(records)),
                'per_visibility': groups_to_json(per_visibility(records)),
            }
            confusion = Confusion.of(records)
            named = {'classes': None if confusion is None else confusion.to_json()}
            backends[name] = {**asdict(tally.metrics()), **groups, **named}
            if name in ols:
                backends[name]['ols'] = asdict(ols[name])
        return {
            **next(iter(backends.values())),
            'backends': backends,
            'view': self.view,
            'hit_distance_m': self.hit_distance,
            'notes': self.notes,
        }


def evaluate_frames(
    frames: Iterable[Frame],
    localizers: Mapping[str, AnyLocalizer],
    *,
    view: View = 'camera',
    camera: CameraModel | None = None,
    hit_distance: float = HIT_DISTANCE,
    ols: bool = False,
    source: str = 'frames',
    on_frame: Callable[[EvaluatedFrame], None] | None = None,
) -> Evaluation:
    """Feeds frames, in order of time, to freshly reset localizers and judges their detections.

    A heatmap that a localizer refuses (ValueError) is judged for none of them, so that all figures are of the same
    frames; `Evaluation.notes` tells how many there were, and the first. What a localizer withholds for its low score
    (`WithholdingLocalizer`) counts in the figures that move the threshold alone.

    Args:
        frames: with heatmaps; those without ground truth are localized too (a localizer may learn its background from
            them) but not judged.
        localizers: by name, at least one.
        view: which targets count, see `radio_visual_ssl.evaluation.metrics`.
        camera: tells which detections lie in the camera's sector, for view 'camera'; None: all are judged.
        hit_distance: m from a target's footprint.
        ols: whether to judge by CRUW's location similarity, too (`radio_visual_ssl.evaluation.ols`).
        source: where the frames come from, for notes and errors.
        on_frame: called after each frame.

    Raises:
        ValueError: no localizers, an unknown view, or not one heatmap that every localizer takes.
    """
    if not localizers:
        raise ValueError('localizers: expected at least one, got none')
    sector = camera_sector(camera) if view == 'camera' and camera is not None else None
    tallies = {name: Tally(view, hit_distance) for name in localizers}
    ols_tallies = {name: OlsTally() for name in localizers} if ols else {}
    for localizer in localizers.values():
        localizer.reset()
    count = unlabelled = 0
    refused, first = 0, ''
    for frame in frames:
        detections: dict[str, list[Target]] = {}
        withheld: dict[str, list[Target]] = {}
        matches: dict[str, FrameMatch] = {}
        for name, localizer in localizers.items():
            try:
                if isinstance(localizer, FrameLocalizer):
                    detections[name], withheld[name] = localizer.localize_frame(frame)
                elif isinstance(localizer, WithholdingLocalizer):
                    detections[name], withheld[name] = localizer.localize_all(frame.heatmap)
                else:
                    detections[name] = localizer.localize(frame.heatmap)
            except ValueError as error:
                first = first or f'first by {name}, stamp {frame.stamp_ns * 1e-9:.3f} s: {error}'
        if len(detections) < len(localizers):
            refused += 1
        elif frame.truth is None:
            unlabelled += 1
        else:
            for name, found in detections.items():
                matches[name] = tallies[name].add(
                    found, frame.truth, sector, withheld.get(name, ()), frame.stamp_ns * 1e-9
                )
                if ols:
                    ols_tallies[name].add([*found, *withheld.get(name, ())], frame.truth)
        count += 1
        if on_frame is not None:
            on_frame(EvaluatedFrame(frame, detections, matches, camera))
    faults = []
    if refused:
        faults.append(f'{source}: {refused} of {count} heatmaps were refused and are not judged; {first}')
        if refused == count:
            raise ValueError(f'{source}: expected a heatmap that can be localized, got {count} refused; {first}')
    judged = (source,) if next(iter(tallies.values())).frames else ()
    return Evaluation(tallies, view, hit_distance, unlabelled, sector is not None, faults, judged, ols_tallies)


def evaluate_bag(
    path: str | Path,
    localizers: Mapping[str, AnyLocalizer],
    *,
    view: View = 'camera',
    hit_distance: float = HIT_DISTANCE,
    ols: bool = False,
    radar_topic: str | None = None,
    image_offset_s: float | None = None,
    formation: FormationSettings | None = None,
    images: bool = False,
    on_frame: Callable[[EvaluatedFrame], None] | None = None,
) -> Evaluation:
    """Judges localizers on a bag with ground truth.

    The camera's sector comes from the bag's camera_info and tf_static; without them detections outside the camera's
    view count as false alarms, and `Evaluation.notes` says so.

    Args:
        path: of the bag.
        localizers: by name, at least one.
        view: which targets count, see `radio_visual_ssl.evaluation.metrics`.
        hit_distance: m from a target's footprint.
        ols: as in `evaluate_frames`.
        radar_topic: heatmaps or cubes; None = what the bag has.
        image_offset_s: s added to the camera's stamps where images are paired; None = as the bag's own pairs were made.
        formation: how heatmaps are formed where the bag holds cubes.
        images: whether the frames that on_frame gets carry their images; one that cannot be decoded is left out and
            told in `Evaluation.notes`. They always do where a `FrameLocalizer` looks at them.
        on_frame: called after each frame.

    Raises:
        BagError: a bag that cannot be read, without heatmaps, cubes or ground truth, or whose radar or truth has no
            stamps.
        ValueError: as `evaluate_frames`.
    """
    reader = BagReader(path)
    reader.stream(TRUTH_TOPIC)
    radar_topic = radar_topic or reader.radar_topic()
    stamps = {topic: reader.stamps(topic) for topic in (radar_topic, TRUTH_TOPIC)}
    for topic, of_topic in stamps.items():
        if of_topic.size > 1 and not np.any(np.diff(of_topic[stamped(of_topic)]) > 0):
            raise BagError(
                f'{path}: expected stamps that tell whose truth it is, got none that rise; '
                + stamp_fault(topic, of_topic)
            )
    bad_images, first_error = 0, ''

    def on_bad_image(error: BagError) -> None:
        nonlocal bad_images, first_error
        bad_images += 1
        first_error = first_error or str(error)

    frames = reader.frames(
        radar_topic,
        IMAGE_TOPIC if images or any(isinstance(each, FrameLocalizer) for each in localizers.values()) else None,
        image_offset_s=image_offset_s,
        formation=formation,
        on_bad_image=on_bad_image,
    )
    first = next(frames, None)
    camera = None if first is None else reader.camera(radar_frame=first.frame_id)
    evaluation = evaluate_frames(
        frames if first is None else chain([first], frames),
        localizers,
        view=view,
        camera=camera,
        hit_distance=hit_distance,
        ols=ols,
        source=f'{path}: topic {radar_topic}',
        on_frame=on_frame,
    )
    evaluation.faults.extend(
        f'{path}: {fault}' for fault in (stamp_fault(topic, of_topic) for topic, of_topic in stamps.items()) if fault
    )
    if bad_images:
        evaluation.faults.append(f'{bad_images} frames go without their image, which cannot be decoded; {first_error}')
    return evaluation


def evaluate_bags(
    paths: Sequence[str | Path],
    localizers: Mapping[str, AnyLocalizer],
    *,
    view: View = 'camera',
    hit_distance: float = HIT_DISTANCE,
    ols: bool = False,
    image_offset_s: float | None = None,
    images: bool = False,
    on_frame: Callable[[str | Path, EvaluatedFrame], None] | None = None,
) -> Evaluation:
    """Judges localizers on several bags of one radar; each begins with localizers that have learned no background.

    Args:
        paths: of the bags, at least one; each has its own camera.
        localizers: by name, at least one.
        view: which targets count, see `radio_visual_ssl.evaluation.metrics`.
        hit_distance: m from a target's footprint.
        ols: as in `evaluate_frames`.
        image_offset_s: s added to the camera's stamps, see `evaluate_bag`.
        images: whether the frames that on_frame gets carry their images.
        on_frame: called after each frame, with the bag's path.

    Raises:
        BagError: as `evaluate_bag`.
        OtherRadarError: bags of several radars.
        ValueError: no bags, or as `evaluate_frames`.
    """
    if not paths:
        raise ValueError('bags: expected at least one, got none')
    known: tuple[str | Path, RadarGeometry] | None = None
    for path in paths if len(paths) > 1 else ():
        radar = BagReader(path).radar_geometry()
        if known is None and radar is not None:
            known = path, radar
        elif known is not None and radar is not None:
            known = known[0], check_same_radar(known[1], radar, str(path), f'the radar of {known[0]}')
    return Evaluation.joined(
        [
            evaluate_bag(
                path,
                localizers,
                view=view,
                hit_distance=hit_distance,
                ols=ols,
                image_offset_s=image_offset_s,
                images=images,
                on_frame=None if on_frame is None else partial(on_frame, path),
            )
            for path in paths
        ]
    )
