# SPDX-License-Identifier: Apache-2.0
"""Tells what a bag holds: streams, rates, jitter, gaps, pairs, and the time offset between radar and camera."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.activity import bag_time_offset
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.pairing import match_stamps, seconds_to_ns, stamp_fault, stamped
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.time_offset import TimeOffset, cannot_tell
from radio_visual_ssl.bags.topics import HEATMAP_TOPIC, IMAGE_TOPIC, TRUTH_TOPIC, present_image_topic

GAP_PERIODS = 1.5  # an interval of more than that many periods is a gap

Stamps = NDArray[np.int64]


@dataclass(frozen=True)
class StreamReport:
    """One topic; None where there are too few messages to tell.

    Attributes:
        type: of the messages.
        count: messages.
        rate_hz: mean.
        max_gap_s: s, longest interval.
        jitter_ms: ms, standard deviation of the intervals, gaps left out.
        gaps: intervals of more than 1.5 times the median one.
        missing: messages that would fill the gaps.
        backward: stamps earlier than the one before, in the order of recording.
    """

    type: str
    count: int
    rate_hz: float | None
    max_gap_s: float | None
    jitter_ms: float | None = None
    gaps: int = 0
    missing: int = 0
    backward: int = 0


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a bag holds.

    Attributes:
        path: of the bag.
        streams: by topic.
        radar_topic, image_topic: those that were paired; None where the bag has none.
        pairs: of a radar frame and an image, by the rule of ``pairing``.
        unpaired: radar frames without an image.
        unpaired_images: images without a radar frame.
        slop_s, image_offset_s: with which they were paired.
        offset: what could be told of the time offset between radar and camera.
        stamps: ns, of the radar's and the camera's topic, in the order of recording.
        differences: (pairs,) s, image minus radar with the offset applied.
        notes: what is wrong with the bag, one sentence each.
    """

    path: Path
    streams: dict[str, StreamReport]
    radar_topic: str | None
    image_topic: str | None
    pairs: int
    unpaired: int
    unpaired_images: int = 0
    slop_s: float = 0.05
    image_offset_s: float = 0.0
    offset: TimeOffset = field(default_factory=lambda: cannot_tell('not looked for'))
    stamps: dict[str, Stamps] = field(default_factory=dict)
    differences: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    notes: list[str] = field(default_factory=list)

    def proposal(self) -> str:
        """What to set; empty where nothing is to be changed."""
        offset, interval = self.offset.offset_s, self.offset.interval_s
        if offset is None or interval is None or interval[0] <= self.image_offset_s <= interval[1]:
            return ''
        return f'--camera-offset {offset:.3f}, or for the recorder image_offset_s: {offset:.3f}'

    def offset_lines(self) -> list[str]:
        """What could be told of the offset, and what to do, for people."""
        found = self.offset
        if found.offset_s is None or found.interval_s is None:
            return [f'time offset: cannot tell: {found.reason}']
        low, high = found.interval_s
        lines = [f'time offset: add {found.offset_s:+.3f} s to the camera (95 %: {low:+.3f} to {high:+.3f} s)']
        if found.drift_ppm is not None and found.drift_interval_ppm is not None:
            least, most = found.drift_interval_ppm
            lines.append(f'drift: {found.drift_ppm:+.0f} ppm (95 %: {least:+.0f} to {most:+.0f} ppm)')
        else:
            lines.append(f'drift: cannot tell: {found.drift_reason}')
        proposal = self.proposal()
        return [*lines, f'set {proposal}' if proposal else f'an offset of {self.image_offset_s:g} s agrees with that']

    def as_json(self) -> dict[str, Any]:
        """Mapping that json.dumps takes."""
        offset = self.offset
        return {
            'streams': {topic: dataclasses.asdict(stream) for topic, stream in self.streams.items()},
            'pairs': self.pairs,
            'unpaired': self.unpaired,
            'unpaired_images': self.unpaired_images,
            'time_offset_s': _rounded(offset.offset_s),
            'time_offset_interval_s': _rounded(offset.interval_s),
            'time_offset_best_s': _rounded(offset.best_s),
            'time_offset_reason': offset.reason or None,
            'time_offset_probability_of_chance': _rounded(offset.probability_of_chance),
            'drift_ppm': _rounded(offset.drift_ppm, 1),
            'drift_interval_ppm': _rounded(offset.drift_interval_ppm, 1),
            'drift_reason': offset.drift_reason or None,
            'proposal': self.proposal() or None,
            'notes': self.notes,
        }


def inspect_bag(
    path: str | Path,
    radar_topic: str | None = None,
    image_topic: str = IMAGE_TOPIC,
    *,
    slop_s: float = 0.05,
    image_offset_s: float | None = None,
    search_s: float = 2.0,
    estimate: bool = True,
    progress: Callable[[int, int], None] | None = None,
    estimate_progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Read the stamps of every message once, and up to two minutes of the data for the time offset.

    Data that are wrong cost the time offset and a note, and the streams are told nevertheless.

    Args:
        path: of the bag.
        radar_topic: heatmaps or cubes; None = the bag's own, if it has one.
        image_topic: raw images; the compressed ones of that name count where there are no raw ones.
        slop_s: s, largest distance between a radar frame and its image.
        image_offset_s: s, added to the image stamps before pairing; None = the one of the bag's own pairs, or 0.
        search_s: s, largest time offset that is looked for.
        estimate: whether to estimate the time offset.
        progress: called with (messages read, messages in all).
        estimate_progress: called with (percent of the estimate done, 100).

    Raises:
        BagError: the bag cannot be read, or lacks a topic that was named.
        ValueError: a negative slop, an offset beyond all reason, or a search range that is none.
    """
    bag = BagReader(path)
    if image_offset_s is None:
        image_offset_s = bag.paired_offset_s()
    slop_ns, offset_ns = seconds_to_ns('slop_s', slop_s), seconds_to_ns('image_offset_s', image_offset_s)
    notes: list[str] = []
    if radar_topic is not None:
        bag.stream(radar_topic)
    elif bag.has_radar() or HEATMAP_TOPIC in bag.streams:
        try:
            radar_topic = bag.radar_topic()
        except BagError as error:
            notes.append(f'no radar stream: {error}')
    else:
        notes.append(f'no radar stream: expected {HEATMAP_TOPIC} and {HEATMAP_TOPIC}_info beside it, or raw cubes')
    image: str | None = None
    present = present_image_topic(image_topic, bag.streams)
    if present in bag.streams or image_topic != IMAGE_TOPIC:
        bag.stream(present)
        image = present
    stamps = _all_stamps(bag, progress)
    reports = {topic: _report(stream.type, stamps[topic]) for topic, stream in sorted(bag.streams.items())}
    none = np.zeros(0, np.int64)
    found = [topic for topic in (radar_topic, image, TRUTH_TOPIC) if topic in stamps]
    notes += [fault for fault in (stamp_fault(topic, stamps[topic]) for topic in found) if fault]
    radar_ns, image_ns = (stamps[topic][stamped(stamps[topic])] if topic else none for topic in (radar_topic, image))
    of_radar, of_image = match_stamps(radar_ns, image_ns, slop_ns, image_offset_ns=offset_ns)
    if radar_topic is None or image is None:
        offset = TimeOffset(
            reason='the bag has no radar or no camera', drift_reason='the bag has no radar or no camera'
        )
    elif estimate:
        try:
            offset = bag_time_offset(bag, radar_topic, image, search_s=search_s, progress=estimate_progress)
        except BagError as error:
            offset = cannot_tell('the data cannot be read')
            notes.append(str(error))
    else:
        offset = cannot_tell('not looked for')
    return Inspection(
        path=Path(path),
        streams=reports,
        radar_topic=radar_topic,
        image_topic=image,
        pairs=len(of_radar),
        unpaired=reports[radar_topic].count - len(of_radar) if radar_topic else 0,
        unpaired_images=reports[image].count - len(of_image) if image else 0,
        slop_s=slop_s,
        image_offset_s=image_offset_s,
        offset=offset,
        stamps={topic: stamps[topic] for topic in (radar_topic, image) if topic},
        differences=(image_ns[of_image] - radar_ns[of_radar]) / 1e9 + image_offset_s,
        notes=notes,
    )


def gaps(stamps: Stamps) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N - 1,) intervals, s, between the stamps in ascending order, and which of them are gaps."""
    intervals: NDArray[np.float64] = np.diff(np.sort(stamps)).astype(np.float64) / 1e9
    typical = float(np.median(intervals)) if intervals.size else 0.0
    return intervals, intervals > GAP_PERIODS * typical


def _report(message_type: str, stamps: Stamps) -> StreamReport:
    intervals, wide = gaps(stamps)
    span = float(intervals.sum())
    usual = intervals[~wide]
    period = float(np.median(usual)) if usual.size else 0.0
    return StreamReport(
        type=message_type,
        count=stamps.size,
        rate_hz=round(intervals.size / span, 3) if span > 0 else None,
        max_gap_s=round(float(intervals.max()), 6) if intervals.size else None,
        jitter_ms=round(float(np.std(usual)) * 1e3, 3) if usual.size > 1 else None,
        gaps=int(np.count_nonzero(wide)) if span > 0 else 0,
        missing=int(np.sum(np.round(intervals[wide] / period) - 1)) if period > 0 else 0,
        backward=int(np.count_nonzero(np.diff(stamps) < 0)),
    )


def _all_stamps(bag: BagReader, progress: Callable[[int, int], None] | None) -> dict[str, Stamps]:
    """Stamps of every topic, in one pass."""
    found: dict[str, list[int]] = {topic: [] for topic in bag.streams}
    readers = {topic: bag.stamp_reader(topic) for topic in bag.streams}
    total = sum(stream.count for stream in bag.streams.values())
    for done, message in enumerate(bag.raw_messages(), start=1):
        found[message.topic].append(readers[message.topic](message))
        if progress is not None:
            progress(done, total)
    return {topic: np.array(stamps, dtype=np.int64) for topic, stamps in found.items()}


def _rounded(value: Any, digits: int = 4) -> Any:
    if isinstance(value, tuple):
        return [round(part, digits) for part in value]
    return None if value is None else round(value, digits)
