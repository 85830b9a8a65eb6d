# SPDX-License-Identifier: Apache-2.0
"""Runs localizers over recorded frames and judges what they find."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from radio_visual_ssl.bags.reader import IMAGE_TOPIC, TRUTH_TOPIC, BagReader, Frame
from radio_visual_ssl.bags.writer import BagError
from radio_visual_ssl.evaluation.metrics import HIT_DISTANCE, FrameMatch, Metrics, Tally, View, camera_sector
from radio_visual_ssl.radar.formation import FormationSettings
from radio_visual_ssl.radar.localizer import Localizer
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel


@dataclass(frozen=True, eq=False)
class EvaluatedFrame:
    """One frame after evaluation, for pictures and progress.

    Attributes:
        frame: as recorded.
        detections: of each localizer that took the heatmap.
        matches: of each localizer; empty where the frame has no ground truth, or a localizer refused the heatmap.
    """

    frame: Frame
    detections: dict[str, list[Target]]
    matches: dict[str, FrameMatch]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one or several localizers on the same frames.

    Attributes:
        tallies: of each localizer, in the order in which they were given.
        view: which targets counted.
        hit_distance: m.
        unlabelled_frames: frames without ground truth, which fed the localizers but were not judged.
        sector_known: whether false alarms outside the camera's sector could be left out.
        camera: whose view it was, where known.
        faults: what of the recording could not be used, one sentence each.
    """

    tallies: dict[str, Tally]
    view: View
    hit_distance: float
    unlabelled_frames: int
    sector_known: bool
    camera: CameraModel | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, Metrics]:
        """The figures of each localizer."""
        return {name: tally.metrics() for name, tally in self.tallies.items()}

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to know, one sentence each."""
        notes = []
        if self.view == 'camera' and not self.sector_known:
            notes.append('no camera calibration: detections outside the camera view count as false alarms')
        if self.unlabelled_frames:
            notes.append(f'{self.unlabelled_frames} frames without ground truth are not judged')
        return notes + self.faults

    def to_json(self) -> dict[str, Any]:
        """The figures of the first localizer, those of each under ``backends``, and how they were taken."""
        backends = {name: asdict(metrics) for name, metrics in self.metrics.items()}
        return {
            **next(iter(backends.values())),
            'backends': backends,
            'view': self.view,
            'hit_distance_m': self.hit_distance,
            'notes': self.notes,
        }


def evaluate_frames(
    frames: Iterable[Frame],
    localizers: Mapping[str, Localizer],
    *,
    view: View = 'camera',
    camera: CameraModel | None = None,
    hit_distance: float = HIT_DISTANCE,
    source: str = 'frames',
    on_frame: Callable[[EvaluatedFrame], None] | None = None,
) -> Evaluation:
    """Feeds frames, in order of time, to freshly reset localizers and judges their detections.

    A heatmap that a localizer refuses (ValueError) is judged for none of them, so that all figures are of the same
    frames; `Evaluation.notes` tells how many there were, and the first.

    Args:
        frames: with heatmaps; those without ground truth are localized too (a localizer may learn its background from
            them) but not judged.
        localizers: by name, at least one.
        view: which targets count, see `radio_visual_ssl.evaluation.metrics`.
        camera: tells which detections lie in the camera's sector, for view 'camera'; None: all are judged.
        hit_distance: m from a target's footprint.
        source: where the frames come from, for notes and errors.
        on_frame: called after each frame.

    Raises:
        ValueError: no localizers, an unknown view, or not one heatmap that every localizer takes.
    """
    if not localizers:
        raise ValueError('localizers: expected at least one, got none')
    sector = camera_sector(camera) if view == 'camera' and camera is not None else None
    tallies = {name: Tally(view, hit_distance) for name in localizers}
    for localizer in localizers.values():
        localizer.reset()
    count = unlabelled = 0
    refused, first = 0, ''
    for frame in frames:
        detections: dict[str, list[Target]] = {}
        matches: dict[str, FrameMatch] = {}
        for name, localizer in localizers.items():
            try:
                detections[name] = localizer.localize(frame.heatmap)
            except ValueError as error:
                first = first or f'first by {name}, stamp {frame.stamp_ns * 1e-9:.3f} s: {error}'
        if len(detections) < len(localizers):
            refused += 1
        elif frame.truth is None:
            unlabelled += 1
        else:
            for name, found in detections.items():
                matches[name] = tallies[name].add(found, frame.truth, sector)
        count += 1
        if on_frame is not None:
            on_frame(EvaluatedFrame(frame, detections, matches))
    faults = []
    if refused:
        faults.append(f'{source}: {refused} of {count} heatmaps were refused and are not judged; {first}')
        if refused == count:
            raise ValueError(f'{source}: expected a heatmap that can be localized, got {count} refused; {first}')
    return Evaluation(tallies, view, hit_distance, unlabelled, sector is not None, camera, faults)


def evaluate_bag(
    path: str | Path,
    localizers: Mapping[str, Localizer],
    *,
    view: View = 'camera',
    hit_distance: float = HIT_DISTANCE,
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
        radar_topic: heatmaps or cubes; None = what the bag has.
        image_offset_s: s added to the camera's stamps where images are paired; None = as the bag's own pairs were made.
        formation: how heatmaps are formed where the bag holds cubes.
        images: whether the frames that on_frame gets carry their images; one that cannot be decoded is left out and
            told in `Evaluation.notes`.
        on_frame: called after each frame.

    Raises:
        BagError: a bag that cannot be read, or without heatmaps, cubes or ground truth.
        ValueError: as `evaluate_frames`.
    """
    reader = BagReader(path)
    reader.stream(TRUTH_TOPIC)
    radar_topic = radar_topic or reader.radar_topic()
    bad_images, first_error = 0, ''

    def on_bad_image(error: BagError) -> None:
        nonlocal bad_images, first_error
        bad_images += 1
        first_error = first_error or str(error)

    frames = reader.frames(
        radar_topic,
        IMAGE_TOPIC if images else None,
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
        source=f'{path}: topic {radar_topic}',
        on_frame=on_frame,
    )
    if bad_images:
        evaluation.faults.append(f'{bad_images} frames go without their image, which cannot be decoded; {first_error}')
    return evaluation
