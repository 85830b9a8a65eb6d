# SPDX-License-Identifier: Apache-2.0
"""Runs localizers over recorded frames and judges what they find."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from radio_visual_ssl.bags.reader import TRUTH_TOPIC, BagReader, Frame
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
        detections: of each localizer.
        matches: of each localizer; empty where the frame has no ground truth.
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
    """

    tallies: dict[str, Tally]
    view: View
    hit_distance: float
    unlabelled_frames: int
    sector_known: bool
    camera: CameraModel | None = None

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
        return notes

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
    on_frame: Callable[[EvaluatedFrame], None] | None = None,
) -> Evaluation:
    """Feeds frames, in order of time, to freshly reset localizers and judges their detections.

    Args:
        frames: with heatmaps; those without ground truth are localized too (a localizer may learn its background from
            them) but not judged.
        localizers: by name, at least one.
        view: which targets count, see `radio_visual_ssl.evaluation.metrics`.
        camera: tells which detections lie in the camera's sector, for view 'camera'; None: all are judged.
        hit_distance: m from a target's footprint.
        on_frame: called after each frame.

    Raises:
        ValueError: no localizers, an unknown view, or a localizer that refuses a heatmap.
    """
    if not localizers:
        raise ValueError('localizers: expected at least one, got none')
    sector = camera_sector(camera) if view == 'camera' and camera is not None else None
    tallies = {name: Tally(view, hit_distance) for name in localizers}
    for localizer in localizers.values():
        localizer.reset()
    unlabelled = 0
    for frame in frames:
        detections, matches = {}, {}
        for name, localizer in localizers.items():
            try:
                detections[name] = localizer.localize(frame.heatmap)
            except ValueError as error:
                raise ValueError(f'{name}: heatmap of stamp {frame.stamp_ns * 1e-9:.3f} s: {error}') from error
            if frame.truth is not None:
                matches[name] = tallies[name].add(detections[name], frame.truth, sector)
        unlabelled += frame.truth is None
        if on_frame is not None:
            on_frame(EvaluatedFrame(frame, detections, matches))
    return Evaluation(tallies, view, hit_distance, unlabelled, sector is not None, camera)


def evaluate_bag(
    path: str | Path,
    localizers: Mapping[str, Localizer],
    *,
    view: View = 'camera',
    hit_distance: float = HIT_DISTANCE,
    radar_topic: str | None = None,
    image_offset_s: float = 0.0,
    formation: FormationSettings | None = None,
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
        image_offset_s: s added to the camera's stamps where images are paired (for on_frame).
        formation: how heatmaps are formed where the bag holds cubes.
        on_frame: called after each frame; images are read only for it.

    Raises:
        BagError: a bag that cannot be read, or without heatmaps, cubes or ground truth.
        ValueError: as `evaluate_frames`.
    """
    reader = BagReader(path)
    reader.stream(TRUTH_TOPIC)
    settings: dict[str, Any] = {} if on_frame is not None else {'image_topic': None}
    frames = reader.frames(radar_topic, image_offset_s=image_offset_s, formation=formation, **settings)
    first = next(frames, None)
    camera = None if first is None else reader.camera(radar_frame=first.frame_id)
    return evaluate_frames(
        frames if first is None else chain([first], frames),
        localizers,
        view=view,
        camera=camera,
        hit_distance=hit_distance,
        on_frame=on_frame,
    )
