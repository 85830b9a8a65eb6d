# SPDX-License-Identifier: Apache-2.0
"""What a recorder is told (settings) and what it tells (events, statistics)."""

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from radio_visual_ssl.bags.topics import HEATMAP_TOPIC, IMAGE_TOPIC, PAIRS_TOPIC

OVERFLOW_POLICIES = ('drop_newest', 'drop_oldest')
SYNC_POLICIES = ('nearest', 'approximate')


@dataclass(frozen=True)
class RecorderSettings:
    """How to record; plain fields, so that ROS parameters map one to one.

    Attributes:
        radar_topic: resolved name of the radar stream, the first of each pair.
        image_topic: resolved name of the image stream, the second of each pair.
        pairs_topic: resolved name of the pair index (radio_visual_ssl/msg/Pair).
        annotations_topic: resolved name of the notes (std_msgs/msg/String).
        slop_s: a radar frame and an image further apart are no pair.
        radar_offset_s: added to the radar's stamps before pairing.
        image_offset_s: added to the image's stamps before pairing.
        reordering_s: how much older than the newest of its stream a message may arrive and still be paired at its best.
        sync: ``'nearest'`` (our matcher) or ``'approximate'`` (pairs come from outside, ``PairRecorder.mark_pair``).
        pairs_only: radar frames and images without a partner stay out; all other topics are recorded.
        compress: zstd in the MCAP chunks.
        flush_interval_s: at most this much is lost when the process is killed.
        max_file_bytes: a split when the file is larger; 0 = none.
        max_file_duration_s: a split when the file is older, pauses left out; 0 = none.
        split_wait_s: a split waits at most so long until all that the old file holds is paired or known to have no
            partner; then it decides with what is known, so that no pair is ever cut.
        max_duration_s: the recording ends by itself so long after its first radar frame or image (until then it waits),
            pauses left out; 0 = none.
        pre_trigger_s: while idle the last seconds are kept, and become the beginning of the next recording; 0 = none.
        ring_bytes: bound of what is kept so; the oldest leaves first.
        queue_bytes: bound of what waits for the disk (or for a partner, with ``pairs_only``). Streams of small messages
            and latched ones may use an eighth more: they are the last to be lost.
        overflow: what is lost when the queue is full, ``'drop_newest'``: what arrives, ``'drop_oldest'``: what waits.
        min_free_bytes: the recording ends by itself when the disk has less left.
    """

    radar_topic: str = HEATMAP_TOPIC
    image_topic: str = IMAGE_TOPIC
    pairs_topic: str = PAIRS_TOPIC
    annotations_topic: str = '/annotations'
    slop_s: float = 0.025
    radar_offset_s: float = 0.0
    image_offset_s: float = 0.0
    reordering_s: float = 0.0
    sync: str = 'nearest'
    pairs_only: bool = False
    compress: bool = False
    flush_interval_s: float = 0.5
    max_file_bytes: int = 0
    max_file_duration_s: float = 0.0
    split_wait_s: float = 0.5
    max_duration_s: float = 0.0
    pre_trigger_s: float = 0.0
    ring_bytes: int = 512_000_000
    queue_bytes: int = 256_000_000
    overflow: str = 'drop_newest'
    min_free_bytes: int = 1_000_000_000

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: naming the field, the value and what was expected.
        """
        taken: set[str] = set()
        for name in ('radar_topic', 'image_topic', 'pairs_topic', 'annotations_topic'):
            value = getattr(self, name)
            if not value.startswith('/') or value in taken:
                raise ValueError(f'{name}: expected a topic of its own with a leading slash, got {value!r}')
            taken.add(value)
        for name in (
            'slop_s',
            'reordering_s',
            'max_file_duration_s',
            'split_wait_s',
            'max_duration_s',
            'pre_trigger_s',
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f'{name}: expected seconds from 0 on, got {value}')
        for name in ('radar_offset_s', 'image_offset_s'):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f'{name}: expected finite seconds, got {value}')
        if not 0 < self.flush_interval_s <= 60:
            raise ValueError(f'flush_interval_s: expected seconds up to 60, got {self.flush_interval_s}')
        for name in ('max_file_bytes', 'min_free_bytes'):
            if getattr(self, name) < 0:
                raise ValueError(f'{name}: expected bytes from 0 on, got {getattr(self, name)}')
        for name in ('ring_bytes', 'queue_bytes'):
            if getattr(self, name) < 1_000_000:
                raise ValueError(f'{name}: expected at least 1,000,000 bytes, got {getattr(self, name)}')
        if self.overflow not in OVERFLOW_POLICIES:
            raise ValueError(f'overflow: expected one of {", ".join(OVERFLOW_POLICIES)}, got {self.overflow!r}')
        if self.sync not in SYNC_POLICIES:
            raise ValueError(f'sync: expected one of {", ".join(SYNC_POLICIES)}, got {self.sync!r}')


class State(Enum):
    """What a recorder does; the values are those of RecorderStatus.msg."""

    IDLE = 0
    RECORDING = 1
    PAUSED = 2
    STOPPED = 3


class EventKind(str, Enum):
    """What happened."""

    STARTED = 'started'
    STOPPED = 'stopped'
    FAILED = 'failed'
    PAUSED = 'paused'
    RESUMED = 'resumed'
    DRAINING = 'draining'
    SPLIT = 'split'
    DROPPING = 'dropping'
    MATCHER_RESET = 'matcher reset'
    CLOCK_JUMPED = 'clock jumped'
    STAMPS_JUMPED = 'stamps jumped'
    STREAM_RETURNED = 'stream returned'
    UNSTAMPED = 'unstamped'
    UNPUBLISHED = 'unpublished'


class Level(Enum):
    """How bad an event is; the values are those of DiagnosticStatus.msg."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Event:
    """Something that a log and /diagnostics should show.

    Attributes:
        kind: of event.
        level: how bad it is.
        message: one line for people.
        topic: of the stream that it is about; empty = the recording.
    """

    kind: EventKind
    level: Level
    message: str
    topic: str = ''


@dataclass
class StreamCounts:
    """Messages of one topic in the current recording (or the last one).

    Attributes:
        received: taken, those of the pre-trigger ring included.
        recorded: in the bag.
        dropped: lost because the queue was full, or because the disk did not take them until the end.
        unpaired: decided to have no partner; with ``pairs_only`` these are not in the bag.
        unstamped: without a stamp, or with one that is no time (zero, negative), so never paired (radar and image
            only); with ``pairs_only`` these are not in the bag either.
        bytes: recorded.
    """

    received: int = 0
    recorded: int = 0
    dropped: int = 0
    unpaired: int = 0
    unstamped: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class RecordingStatistics:
    """Numbers of RecorderStatus.msg, and those of each topic; they stay after the end until the next start.

    Attributes:
        state: what the recording does.
        message: why it ended by itself; otherwise empty.
        bag: folder of the recording; None = none yet.
        file: part that is being written, or was last.
        duration_s: recorded so far: since the first radar frame or image, pauses left out.
        pairs: so far.
        unpaired_radar: radar frames known to have no image.
        unpaired_image: images known to have no radar frame.
        messages: in the bag, all topics, pair index and notes included.
        dropped: of all topics, with what was on its way to a disk that failed.
        median_time_difference_s: image minus radar over the last pairs, offsets applied; NaN: no pair yet.
        bytes: in the bag's files.
        bytes_per_second: over the last second.
        queue_bytes: waiting for the disk, for a partner or for a split.
        ring_bytes: in the pre-trigger ring.
        free_bytes: on the disk, as it was looked at last.
        splits: files after the first.
        streams: counts by topic.
    """

    state: State
    message: str = ''
    bag: Path | None = None
    file: Path | None = None
    duration_s: float = 0.0
    pairs: int = 0
    unpaired_radar: int = 0
    unpaired_image: int = 0
    messages: int = 0
    dropped: int = 0
    median_time_difference_s: float = math.nan
    bytes: int = 0
    bytes_per_second: float = 0.0
    queue_bytes: int = 0
    ring_bytes: int = 0
    free_bytes: int = 0
    splits: int = 0
    streams: dict[str, StreamCounts] = field(default_factory=dict)
