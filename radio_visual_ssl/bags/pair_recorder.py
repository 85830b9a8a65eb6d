# SPDX-License-Identifier: Apache-2.0
"""Records streams into a growing bag and marks pairs of radar and image: what a recorder node is, without ROS."""

import itertools
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rosbags.interfaces import Qos

from radio_visual_ssl.bags.metadata import BagError, declare_topic
from radio_visual_ssl.bags.pairing import IMAGE, PAIR_TYPE, RADAR
from radio_visual_ssl.bags.recorder_settings import (
    Event,
    EventKind,
    Level,
    RecorderSettings,
    RecordingStatistics,
    State,
    StreamCounts,
)
from radio_visual_ssl.bags.recording_queue import Item, Mark, PreTriggerRing, Received, Split, Stream
from radio_visual_ssl.bags.recording_session import RecordingSession
from radio_visual_ssl.bags.streaming import StreamingBag
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize

ANNOTATION_TYPE = 'std_msgs/msg/String'

_LOG = logging.getLogger(__name__)
_DRAIN_SHARE = 0.6  # of the time that close() has; the rest is for the index and the disk
_LAST_DRAIN = 3.0  # s that a new recording waits for the one before
_ACTIVE = (State.RECORDING, State.PAUSED)


def free_bytes(folder: Path) -> int:
    """Bytes that the disk under a folder has left for this user.

    Raises:
        OSError: there is no such folder.
    """
    return shutil.disk_usage(folder).free


class PairRecorder:
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
        settings: RecorderSettings,
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
        """Make a topic known, at any time; once more with the same type changes nothing while a recording runs.

        A bag lists a topic as soon as it holds a message of it, and the pair index always.

        Args:
            topic: resolved name.
            message_type: such as ``'sensor_msgs/msg/Image'``.
            qos: that its publisher offers; None = by ``latched``.
            latched: whether its last message is written at the beginning of each file; None = as ``qos`` says, and for
                info topics and /tf_static.
            definition: message definition (.msg with its dependencies), for a type that the typestore lacks.
            type_hash: RIHS01 hash of that type.

        Raises:
            BagError: no leading slash, another type than before, or a type without a definition.
        """
        declared = declare_topic(
            Path('recording'), topic, message_type, latched=latched, qos=qos, definition=definition, type_hash=type_hash
        )
        role = {self.settings.radar_topic: RADAR, self.settings.image_topic: IMAGE}.get(topic)
        with self._lock:
            known = self._streams.get(topic)
            if known is None:
                self._streams[topic] = Stream(declared, role)
            elif known.declared.type != message_type:
                raise BagError(f'topic {topic}: expected {known.declared.type} as before, got {message_type}')
            elif self._state not in _ACTIVE:
                known.redeclare(declared)

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
            if stream.latch is not None:
                stream.latch.keep(received_ns, bytes(data))
            if self._session is not None and self._takes(stream):
                return message.key if self._session.offer(message) else None
            if self._state in _ACTIVE or self._ring.seconds <= 0 or stream.latched:
                return None
            self._ring.put(message)
            return message.key

    def mark_pair(self, radar_key: int | None, image_key: int | None) -> None:
        """Say that two messages are a pair (``sync='approximate'``); keys of None or of what is gone do nothing.

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
        path = Path(path)
        with self._commands:
            if self._state in _ACTIVE:
                raise BagError(f'{self._active().bag.path}: is being recorded; stop it first')
            if self._session is not None and self._session.is_alive():
                self._session.join(_LAST_DRAIN)
                if self._session.is_alive():
                    raise BagError(
                        f'{self._session.bag.path}: is still being written; start again when the disk has taken it'
                    )
            self._check_space(path)
            bag = StreamingBag(path, compress=self.settings.compress, flush_interval_s=self.settings.flush_interval_s)
            with self._lock:
                for stream in self._streams.values():
                    stream.counts = StreamCounts()
                session = RecordingSession(
                    bag,
                    self.settings,
                    self._streams[self.settings.pairs_topic],
                    self._beginning(time.time_ns() if time_ns is None else time_ns),
                    emit=self._emit,
                    on_pair=self._on_pair,
                    on_end=self._ended,
                    free_space=self._free_space,
                )
                self._session, self._state, self._message = session, State.RECORDING, ''
            kept = session.queue.bytes
            before = f' with {kept / 1e6:.1f} MB from before the trigger' if self._ring.seconds > 0 else ''
            self._emit(Event(EventKind.STARTED, Level.OK, f'recording to {path}{before}'))
            session.start()

    def stop(self, reason: str = 'stopped', timeout_s: float = 3.0) -> None:
        """End the bag; what waits is written first.

        Args:
            reason: for the log.
            timeout_s: that is waited for a slow disk; it writes on in the background, which an event tells.

        Raises:
            BagError: nothing is recorded.
        """
        with self._commands:
            session = self._active()
            self._finish(session, reason)
            session.join(timeout_s)
            if session.is_alive():
                left = f'{session.queue.bytes / 1e6:.0f} MB wait for the disk'
                self._emit(Event(EventKind.DRAINING, Level.WARN, f'{session.bag.path}: {reason}; {left}'))

    def pause(self) -> None:
        """Leave out what comes from now on, except on latched topics.

        Raises:
            BagError: nothing is recorded, or it is paused already.
        """
        with self._commands:
            session = self._active()
            with self._lock:
                if self._state != State.RECORDING:
                    raise BagError(f'{session.bag.path}: expected a recording that runs, got one that is paused')
                self._state = State.PAUSED
                session.pause()
            self._emit(Event(EventKind.PAUSED, Level.OK, f'{session.bag.path}: paused'))

    def resume(self) -> None:
        """Go on after a pause.

        Raises:
            BagError: not paused.
        """
        with self._commands:
            session = self._active()
            with self._lock:
                if self._state != State.PAUSED:
                    raise BagError(f'{session.bag.path}: expected a paused recording, got one that runs')
                self._state = State.RECORDING
                session.resume()
            self._emit(Event(EventKind.RESUMED, Level.OK, f'{session.bag.path}: recording again'))

    def split(self) -> None:
        """Go on in the next file as soon as no pair is cut; nothing happens while the file holds nothing.

        Raises:
            BagError: nothing is recorded.
        """
        with self._commands:
            self._active().queue.command(Split())

    def annotate(self, text: str, time_ns: int | None = None) -> None:
        """Put a note into the bag, at ``time_ns`` by the node's clock (None = the system's clock).

        Raises:
            BagError: nothing is recorded, or no room is left for it.
        """
        data = serialize(RosbagsTypes()(ANNOTATION_TYPE)(data=text))
        with self._commands:
            session = self._active()
            with self._lock:
                now = time.time_ns() if time_ns is None else time_ns
                stream = self._streams[self.settings.annotations_topic]
                note = Received(next(self._keys), stream, now, time.monotonic(), None, data, len(data))
                if not session.offer(note):
                    raise BagError(f'{session.bag.path}: the queue to the disk is full, the note is lost')

    def close(self, timeout_s: float = 3.0) -> None:
        """End the recording if there is one; harmless when repeated.

        Args:
            timeout_s: what the disk has not taken by then is lost, counted and told.
        """
        with self._commands:
            session = self._session
            if session is None or not session.is_alive():
                return
            if self._state in _ACTIVE:
                self._finish(session, 'closed')
            session.hurry(_DRAIN_SHARE * timeout_s)
            session.join(timeout_s)
            if session.is_alive():
                text = f'{session.bag.path}: the disk hangs; the bag is not complete after {timeout_s:g} s'
                self._emit(Event(EventKind.FAILED, Level.ERROR, text))

    def statistics(self) -> RecordingStatistics:
        """Numbers of now; cheap enough for each second, and harmless from any thread."""
        with self._lock:
            session, state, message, ring_bytes = self._session, self._state, self._message, self._ring.bytes
            streams = {topic: replace(stream.counts) for topic, stream in self._streams.items()}
        if session is None:
            return RecordingStatistics(state, message, ring_bytes=ring_bytes, streams=streams)
        settings = self.settings
        if state == State.STOPPED and not session.ended:
            state = State.RECORDING  # what waits is still being written
        return RecordingStatistics(
            state=state,
            message=message or session.failure,
            bag=session.bag.path,
            file=session.bag.file,
            duration_s=session.duration,
            pairs=session.pairs,
            unpaired_radar=streams[settings.radar_topic].unpaired if settings.radar_topic in streams else 0,
            unpaired_image=streams[settings.image_topic].unpaired if settings.image_topic in streams else 0,
            messages=session.messages,
            dropped=session.dropped,
            median_time_difference_s=session.median_time_difference,
            bytes=session.bag.bytes,
            bytes_per_second=session.bytes_per_second,
            queue_bytes=session.queue.bytes,
            ring_bytes=ring_bytes,
            free_bytes=session.free_bytes,
            splits=session.splits,
            streams=streams,
        )

    def _takes(self, stream: Stream) -> bool:
        """Whether a message goes into the bag now; what holds on (latched) does so during a pause, too."""
        return self._state == State.RECORDING or (self._state == State.PAUSED and stream.latched)

    def _active(self) -> RecordingSession:
        if self._session is None or self._state not in _ACTIVE:
            raise BagError('nothing is recorded; start a recording first')
        return self._session

    def _check_space(self, path: Path) -> None:
        folder = path.absolute().parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        least = self.settings.min_free_bytes
        try:
            free = self._free_space(folder)
        except OSError as error:
            raise BagError(f'{path}: cannot be written: {error}') from error
        if free < least:
            raise BagError(f'{path}: expected {least / 1e6:.0f} MB of free space at least, got {free / 1e6:.0f} MB')

    def _beginning(self, now_ns: int) -> list[Item]:
        """What a recording begins with: what holds on from before, then the ring."""
        arrived = time.monotonic()
        ring = self._ring.take(arrived)
        begin_ns = min([now_ns, *(item.received_ns for item in ring if isinstance(item, Received))])
        latched = [
            Received(next(self._keys), stream, begin_ns, arrived, None, data, len(data))
            for stream in self._streams.values()
            if stream.latch is not None
            for _, data in stream.latch.messages()
        ]
        return [*latched, *ring]

    def _finish(self, session: RecordingSession, reason: str) -> None:
        with self._lock:
            if self._state in _ACTIVE:
                self._state = State.IDLE
        session.finish(reason)

    def _ended(self, session: RecordingSession, reason: str) -> None:
        """The session ends by itself."""
        with self._lock:
            if session is self._session and self._state in _ACTIVE:
                self._state, self._message = State.STOPPED, reason

    def _emit(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # whoever listens must not end the recording
            _LOG.exception('%s', event.message)
