# SPDX-License-Identifier: Apache-2.0
"""Records streams into a growing bag and marks pairs of radar frames and images: what a recorder node is, without ROS."""

import itertools
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rosbags.interfaces import Qos

from radio_visual_ssl.bags.pairing import IMAGE, RADAR
from radio_visual_ssl.bags.recording_queue import Declare, Mark, PreTriggerRing, Received, Split, Stream
from radio_visual_ssl.bags.recording_session import RecordingSession
from radio_visual_ssl.bags.recording_settings import (
    Event,
    EventKind,
    Level,
    RecordingSettings,
    RecordingStatistics,
    State,
    StreamCounts,
)
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore
from radio_visual_ssl.bags.writer import LATCHED_TOPICS, LATCHED_TYPES, BagError
from radio_visual_ssl.share import PACKAGE

__all__ = [
    'Event',
    'EventKind',
    'Level',
    'Recording',
    'RecordingSettings',
    'RecordingStatistics',
    'State',
    'StreamCounts',
    'free_bytes',
]

PAIR_TYPE = f'{PACKAGE}/msg/Pair'
ANNOTATION_TYPE = 'std_msgs/msg/String'

_ACTIVE = (State.RECORDING, State.PAUSED)


def free_bytes(folder: Path) -> int:
    """Bytes that the disk under a folder has left for this user.

    Raises:
        OSError: there is no such folder.
    """
    return shutil.disk_usage(folder).free


class Recording:
    """Takes messages from any thread without blocking it; a thread of its own writes the bag.

    While nothing is recorded the last seconds are kept if the settings say so, and the last message of each latched
    topic always: both become the beginning of the next bag. What is lost is counted by topic and told by an event.

    Args:
        settings: how to record.
        on_event: gets what a log should show, on the writer's thread or on that of the caller; it must not call
            ``stop``, ``start`` or ``close``.
        on_pair: gets the CDR bytes of each Pair message as it goes into the bag, on the writer's thread.
        free_space: bytes that the disk under a folder has left.
    """

    def __init__(
        self,
        settings: RecordingSettings,
        *,
        on_event: Callable[[Event], None] | None = None,
        on_pair: Callable[[bytes], None] | None = None,
        free_space: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.settings = settings
        self._on_event = on_event
        self._on_pair = on_pair
        self._free_space = free_space
        self._keys = itertools.count()
        self._streams: dict[str, Stream] = {}
        self._ring = PreTriggerRing(settings.pre_trigger_s, settings.ring_bytes)
        self._state = State.IDLE
        self._message = ''
        self._session: RecordingSession | None = None
        self._lock = threading.Lock()  # held for moments only: receive() takes it
        self._commands = threading.RLock()  # held while a bag is opened or closed
        self.add_topic(settings.pairs_topic, PAIR_TYPE, latched=False)
        self.add_topic(settings.annotations_topic, ANNOTATION_TYPE, latched=False)

    def add_topic(
        self,
        topic: str,
        message_type: str,
        *,
        qos: Qos | None = None,
        latched: bool | None = None,
        definition: str | None = None,
        type_hash: str | None = None,
    ) -> None:
        """Declare a topic, at any time; once more with the same type changes nothing while a recording runs.

        Args:
            topic: resolved name.
            message_type: such as ``'sensor_msgs/msg/Image'``.
            qos: that its publisher offers; None = by ``latched``.
            latched: whether its last message is written at the beginning of each file; None = for info topics and
                /tf_static.
            definition: message definition (.msg with its dependencies), for a type that the typestore lacks.
            type_hash: RIHS01 hash of that type.

        Raises:
            BagError: no leading slash, another type than before, or a type without a definition.
        """
        if not topic.startswith('/'):
            raise BagError(f'topic {topic!r}: expected a leading slash')
        if message_type not in typestore().fielddefs and (definition is None or type_hash is None):
            raise BagError(f'topic {topic}: expected a definition with the unknown type {message_type}')
        if latched is None:
            latched = message_type in LATCHED_TYPES or topic in LATCHED_TOPICS
        role = {self.settings.radar_topic: RADAR, self.settings.image_topic: IMAGE}.get(topic)
        stream = Stream(topic, message_type, qos, latched, definition, type_hash, role)
        with self._lock:
            known = self._streams.get(topic)
            if known is not None and known.message_type != message_type:
                raise BagError(f'topic {topic}: expected {known.message_type} as before, got {message_type}')
            if self._state in _ACTIVE and self._session is not None:
                if known is not None:
                    return
                self._session.queue.command(Declare(stream))
            elif known is not None:
                stream.latest = known.latest
            self._streams[topic] = stream

    def receive(self, topic: str, received_ns: int, stamp_ns: int | None, data: bytes) -> int | None:
        """Take a message; it waits for nothing but a lock that is held for moments.

        Args:
            topic: that was added.
            received_ns: node clock, the time of the bag.
            stamp_ns: of its header; None = it has none.
            data: CDR bytes, kept as they are; they must not change any more.

        Returns:
            Key of the message for ``mark_pair``; None = it is not kept (idle without a ring, paused, or dropped).

        Raises:
            BagError: the topic was not added.
        """
        stream = self._streams.get(topic)
        if stream is None:
            raise BagError(f'topic {topic}: expected one that was added: {", ".join(sorted(self._streams))}')
        message = Received(next(self._keys), stream, received_ns, time.monotonic(), stamp_ns, data, len(data))
        with self._lock:
            if stream.latched:
                stream.keep(message)
            if self._session is not None and self._takes(stream):
                return message.key if self._session.offer(message) else None
            if self._state in _ACTIVE or self._ring.seconds <= 0:
                return None
            self._ring.put(message)
            return message.key

    def mark_pair(self, radar_key: int | None, image_key: int | None) -> None:
        """Say that two messages are a pair (``sync='approximate'``); keys that are None or no longer known count nothing.

        Raises:
            BagError: the settings leave pairing to our own matcher.
        """
        if self.settings.sync != 'approximate':
            raise BagError(f"pairs are marked from outside with sync 'approximate' only, got {self.settings.sync!r}")
        if radar_key is None or image_key is None:
            return
        mark = Mark(radar_key, image_key, time.monotonic())
        with self._lock:
            if self._state in _ACTIVE and self._session is not None:
                self._session.queue.command(mark)
            else:
                self._ring.put(mark)

    def start(self, path: str | Path, time_ns: int | None = None) -> None:
        """Begin a bag with what the ring holds and the latched messages, and go on with all that comes.

        Args:
            path: of the new bag's folder.
            time_ns: now by the node's clock; None = the system's clock.

        Raises:
            BagError: a recording runs, the disk is almost full, or the bag cannot be made (something of that name
                exists, no permission).
        """
        ...

    def stop(self, reason: str = 'stopped', timeout_s: float = 3.0) -> None:
        """End the bag; what waits is written first.

        Args:
            reason: for the log.
            timeout_s: what the disk has not taken by then is lost, counted and told.

        Raises:
            BagError: nothing is recorded.
        """
        ...

    def pause(self) -> None:
        """Leave out what comes from now on, except on latched topics.

        Raises:
            BagError: nothing is recorded, or it is paused already.
        """
        ...

    def resume(self) -> None:
        """Go on after a pause.

        Raises:
            BagError: not paused.
        """
        ...

    def split(self) -> None:
        """Go on in the next file as soon as no pair is cut; nothing happens while the file holds nothing.

        Raises:
            BagError: nothing is recorded.
        """
        ...

    def annotate(self, text: str, time_ns: int | None = None) -> None:
        """Put a note into the bag, at ``time_ns`` by the node's clock (None = the system's clock).

        Raises:
            BagError: nothing is recorded, or no room is left for it.
        """
        ...

    def close(self, timeout_s: float = 3.0) -> None:
        """End the recording if there is one, within ``timeout_s``; harmless when repeated."""
        ...

    def statistics(self) -> RecordingStatistics:
        """Numbers of now; cheap enough for each second, and harmless from any thread."""
        ...
