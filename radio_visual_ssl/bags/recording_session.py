# SPDX-License-Identifier: Apache-2.0
"""The thread that writes one recording: takes messages from the queue, pairs them, and cuts files between pairs."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from radio_visual_ssl.bags.marked_pairs import MarkedPairs
from radio_visual_ssl.bags.messages import MessageError, serialized_frame_id
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.pairing import IMAGE, RADAR, Decision, Matched, PairMatcher, is_stamp, pair_to_message
from radio_visual_ssl.bags.recorder_settings import Event, EventKind, Level, RecorderSettings
from radio_visual_ssl.bags.recording_queue import Item, Mark, MessageQueue, Received, Resume, Split, Stream
from radio_visual_ssl.bags.recording_watch import StreamWatch
from radio_visual_ssl.bags.streaming import StreamingBag
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize

_JUMP_NS = 1_000_000_000
_WAKE_EVERY = 0.1  # s
_CHECK_DISK_EVERY = 1.0  # s
_TELL_EVERY = 5.0  # s, what happens again and again
_RATE_OVER = 1.0  # s
_LAST_DIFFERENCES = 100
_FLUSH_AT = 0.75  # of the interval; the rest is the time between two looks at the clock


@dataclass
class _Cut:
    """A split that waits until no pair would be cut.

    Attributes:
        waiting: messages in the old file that are not decided.
        deadline: s, monotonic.
        held: what arrived since, for the new file unless its partner is in the old one.
        held_bytes: of those messages.
    """

    waiting: set[Received]
    deadline: float
    held: list[Received] = field(default_factory=list)
    held_bytes: int = 0


class _Stopwatch:
    """Seconds since the first radar frame or image, pauses left out; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before = 0.0
        self._since: float | None = None
        self._begun = False
        self._paused = False

    def begin(self) -> None:
        """Run from now on, unless paused; again: nothing."""
        with self._lock:
            if not self._begun:
                self._begun = True
                self._since = None if self._paused else time.monotonic()

    def pause(self) -> None:
        """Stand still."""
        with self._lock:
            self._before, self._since, self._paused = self._seconds(), None, True

    def resume(self) -> None:
        """Run again, if it has begun."""
        with self._lock:
            self._before, self._paused = self._seconds(), False
            self._since = time.monotonic() if self._begun else None

    @property
    def seconds(self) -> float:
        """So far."""
        with self._lock:
            return self._seconds()

    def _seconds(self) -> float:
        return self._before + (0.0 if self._since is None else time.monotonic() - self._since)


class RecordingSession(threading.Thread):
    """One recording from its first message to the end of its bag.

    Args:
        bag: open, with the topics of all streams; this thread alone uses it from ``start`` on.
        settings: how to record.
        pair_stream: topic of the pair index.
        preloaded: what comes first (latched messages, the ring's content).
        emit: takes what happens.
        on_pair: takes the CDR bytes of each Pair message.
        on_end: is told when the recording ends by itself, with the reason, before what waits is written.
        free_space: bytes that the disk under a folder has left.
    """

    def __init__(
        self,
        bag: StreamingBag,
        settings: RecorderSettings,
        pair_stream: Stream,
        preloaded: Sequence[Item],
        *,
        emit: Callable[[Event], None],
        on_pair: Callable[[bytes], None] | None,
        on_end: Callable[['RecordingSession', str], None],
        free_space: Callable[[Path], int],
    ) -> None:
        # A daemon: where the disk hangs, the process must still be able to end; the bag survives that.
        super().__init__(name=f'recording {bag.path.name}', daemon=True)
        self.bag = bag
        self.pairs = 0
        self.messages = 0
        self.splits = 0
        self.free_bytes = 0
        self.ended = False
        self.failure = ''
        self._settings = settings
        self._pair_stream = pair_stream
        self._emit = emit
        self._on_pair = on_pair
        self._on_end = on_end
        self._free_space = free_space
        self.queue = MessageQueue(settings.queue_bytes, settings.overflow == 'drop_oldest', preloaded)
        self._offsets = (_nanoseconds(settings.radar_offset_s), _nanoseconds(settings.image_offset_s))
        self._marked = MarkedPairs(*self._offsets) if settings.sync == 'approximate' else None
        self._matcher: PairMatcher[Received] | MarkedPairs = self._marked or PairMatcher(
            _nanoseconds(settings.slop_s),
            radar_offset_ns=self._offsets[RADAR],
            image_offset_ns=self._offsets[IMAGE],
            reordering_ns=_nanoseconds(settings.reordering_s),
            jump_ns=max(_JUMP_NS, 2 * _nanoseconds(settings.reordering_s)),
        )
        self._watch = StreamWatch()
        self._cut: _Cut | None = None
        self._undecided: set[Received] = set()  # in the file, or with pairs_only before it
        self._undecided_bytes = 0
        self._latest_ns = 0  # when the message came that made the latest pairs certain: the bag's time of their index
        self._unstamped: set[Stream] = set()
        self._warned: dict[tuple[EventKind, str], tuple[float, int]] = {}  # when last, and how often since
        self._differences: deque[int] = deque(maxlen=_LAST_DIFFERENCES)
        self._declared: set[Stream] = set()
        self._clock = _Stopwatch()
        self._file_began = 0.0  # duration at which the file began
        self._file_messages = 0
        self._unflushed_since: float | None = None
        self._repeated = 0  # latched messages that splits wrote again
        self._deadline: float | None = None
        self._reason = ''
        self._disk_checked = -_CHECK_DISK_EVERY
        self._samples: deque[tuple[float, int]] = deque(maxlen=2 * round(_RATE_OVER / _WAKE_EVERY))
        self._lost: dict[str, int] = {}  # by topic
        self._counting = threading.Lock()
        self._torn = 0  # of all topics, with the chunk that could not be written
        self._told_drops = 0
        self._told_at = -_TELL_EVERY
        for item in preloaded:
            if isinstance(item, Received):
                item.stream.counts.received += 1
                if item.stream.role is not None:
                    self._clock.begin()

    # From other threads -----------------------------------------------------------------------------------------------

    def offer(self, message: Received) -> bool:
        """Queue a message; False = it is lost. Calls must not overlap."""
        message.stream.counts.received += 1
        if message.stream.role is not None:
            self._clock.begin()
        lost = self.queue.put(message)
        for one in lost:
            self._count_lost(one)
        return not any(one is message for one in lost)

    def pause(self) -> None:
        """Stop the clock of the recording."""
        self._clock.pause()

    def resume(self) -> None:
        """Let it run again."""
        self._clock.resume()
        self.queue.command(Resume())

    def finish(self, reason: str, timeout_s: float = math.inf) -> None:
        """Take no more messages, write what waits until the time is over, and end; ``join`` waits for it."""
        self._reason = reason
        self.hurry(timeout_s)
        self.pause()
        self.queue.close()

    def hurry(self, timeout_s: float) -> None:
        """Of what waits, write only what the disk takes within that time."""
        deadline = time.monotonic() + timeout_s
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    @property
    def duration(self) -> float:
        """Seconds recorded so far: since the first radar frame or image, pauses left out."""
        return self._clock.seconds

    @property
    def median_time_difference(self) -> float:
        """Median of image minus radar over the last pairs, s; NaN before the first."""
        differences = list(self._differences)
        return median(differences) / 1e9 if differences else float('nan')

    @property
    def bytes_per_second(self) -> float:
        """Growth of the bag over the last second."""
        now = time.monotonic()
        recent = [sample for sample in list(self._samples) if sample[0] >= now - _RATE_OVER - _WAKE_EVERY]
        if not recent or self.ended or now == recent[0][0]:
            return 0.0
        return max(0.0, (self.bag.bytes - recent[0][1]) / (now - recent[0][0]))

    @property
    def dropped(self) -> int:
        """Messages lost so far."""
        return sum(list(self._lost.values())) + self._torn

    # The thread -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Write until the end; whatever fails ends the recording with an event, and with a bag that can be read."""
        try:
            self._declare(self._pair_stream)  # also where there are none: that says so
            self._check_disk(time.monotonic())
            while not self.queue.finished:
                item = self.queue.get(min(_WAKE_EVERY, self._settings.flush_interval_s / 5))
                now = time.monotonic()
                if item is not None and self._deadline is not None and now > self._deadline:
                    self._abandon(item)
                    self.failure = 'the disk did not take in time what waited'
                    break
                if item is not None:
                    self._take(item)
                self._maintain(now)
            self._settle_all()
        except Exception as error:  # a bug must end the recording in the open, too
            self._fail(error)
        self._close()

    def _take(self, item: Item) -> None:
        if isinstance(item, Received):
            self._receive(item)
        elif isinstance(item, Mark):
            if self._marked is not None:
                self._decide(self._marked.mark(item.radar_key, item.image_key))
        elif isinstance(item, Split):
            self._begin_split()
        else:
            self._watch.forget()

    def _receive(self, message: Received) -> None:
        for event in self._watch.look(message):
            self._warn(event)
        role = message.stream.role
        if role is None:
            self._store(message)
        elif not is_stamp(message.stamp_ns):
            self._receive_unstamped(message)
        else:
            self._latest_ns = message.received_ns
            if role == RADAR:
                message.frame_id = _frame_id(message)
            self._undecided.add(message)
            if self._settings.pairs_only:
                self._undecided_bytes += message.size
            else:
                self._store(message)
            self._decide(self._matcher.add(role, message.stamp_ns, message))
            while self._undecided_bytes > self.queue.limit_bytes // 2:
                self._decide(self._matcher.give_up(role if self._matcher.pending[role] else 1 - role))

    def _receive_unstamped(self, message: Received) -> None:
        """Record a radar frame or image that nothing can be paired with."""
        stream = message.stream
        stream.counts.unstamped += 1
        if stream not in self._unstamped:
            self._unstamped.add(stream)
            got = 'no header' if message.stamp_ns is None else f'a stamp of {message.stamp_ns / 1e9:g} s'
            text = f'{stream.topic}: expected a stamp in each message, got {got}; such messages are in no pair'
            self._emit(Event(EventKind.UNSTAMPED, Level.WARN, text, stream.topic))
        if self._settings.pairs_only:
            self._leave_out(message)
        else:
            self._store(message)

    def _store(self, message: Received) -> None:
        """Write a message, or hold it while a split waits."""
        if self._cut is None:
            self._write(message)
        else:
            self._cut.held.append(message)
            self._cut.held_bytes += message.size

    def _write(self, message: Received) -> None:
        data, message.data = message.data, None
        if data is None:
            return
        try:
            if message.stream not in self._declared:
                self._declare(message.stream)
            self.bag.write(message.stream.topic, message.received_ns, data)
        except BagError:
            self._count_lost(message)
            raise
        finally:
            self.queue.release(message.size)
        message.stream.counts.recorded += 1
        message.stream.counts.bytes += len(data)
        self.messages += 1
        self._file_messages += 1
        if self._unflushed_since is None:
            self._unflushed_since = time.monotonic()

    def _declare(self, stream: Stream) -> None:
        """Declare a topic in the bag: with its first message, so that a bag lists what it holds."""
        topic = stream.declared
        self.bag.add_topic(
            topic.name,
            topic.type,
            qos=topic.qos[0],
            latched=topic.latched,
            definition=topic.definition,
            type_hash=topic.type_hash,
        )
        self._declared.add(stream)

    def _leave_out(self, message: Received) -> None:
        if message.data is not None:
            message.data = None
            self.queue.release(message.size)

    def _decide(self, decision: Decision[Received]) -> None:
        if decision.reset:
            text = 'a stream went back in time: pairing began anew, recording went on'
            self._warn(Event(EventKind.MATCHER_RESET, Level.WARN, text))
        for pair in decision.pairs:
            self._decide_pair(pair)
        for messages in decision.unpaired:
            for message in messages:
                self._settle(message)
                message.stream.counts.unpaired += 1
                if self._settings.pairs_only:
                    self._leave_out(message)
        if self._cut is not None and not self._cut.waiting:
            self._finish_split(self._cut)

    def _decide_pair(self, pair: Matched[Received]) -> None:
        """Write the index of a pair, and its messages where they were held, into the file that they belong to."""
        first, last = sorted((pair.radar, pair.image), key=lambda message: (message.received_ns, message.key))
        data = self._index(pair)
        index = Received(last.key, self._pair_stream, self._latest_ns, last.arrived, pair.radar_stamp_ns, data, 0)
        hold = self._cut is not None and first.data is not None and last.data is not None
        if not hold:
            self._write(first)
            self._write(last)
        self._settle(first)
        self._settle(last)
        self._pair_stream.counts.received += 1
        if self._cut is not None and hold:
            self._cut.held.append(index)  # after its two messages
        else:
            self._write(index)
        self.pairs += 1
        self._differences.append(pair.difference_ns)
        self._publish(data)

    def _publish(self, data: bytes) -> None:
        if self._on_pair is None:
            return
        try:
            self._on_pair(data)
        except Exception as error:  # such as a publisher that is gone while the rest is still written
            self._on_pair = None
            self._emit(
                Event(EventKind.UNPUBLISHED, Level.WARN, f'pairs are recorded, but no longer published: {error!r}')
            )

    def _index(self, pair: Matched[Received]) -> bytes:
        return serialize(
            pair_to_message(
                pair,
                self.pairs,
                RosbagsTypes(),
                radar_topic=self._settings.radar_topic,
                image_topic=self._settings.image_topic,
                frame_id=pair.radar.frame_id,
                radar_offset_ns=self._offsets[RADAR],
                image_offset_ns=self._offsets[IMAGE],
            )
        )

    def _settle(self, message: Received) -> None:
        self._undecided.discard(message)
        if self._settings.pairs_only:
            self._undecided_bytes -= message.size
        if self._cut is not None:
            self._cut.waiting.discard(message)

    # Splits -----------------------------------------------------------------------------------------------------------

    def _begin_split(self) -> None:
        """Hold what arrives until all that the file holds is decided; with pairs_only that is always so."""
        if self._cut is not None or not self._file_messages:
            return
        waiting = set() if self._settings.pairs_only else set(self._undecided)
        self._cut = _Cut(waiting, time.monotonic() + self._settings.split_wait_s)
        if not waiting:
            self._finish_split(self._cut)

    def _hurry_split(self, cut: _Cut) -> None:
        """Decide what the old file holds with what is known now."""
        times = [(x.stamp_ns or 0) + self._offsets[x.stream.role or 0] for x in cut.waiting]
        self._decide(self._matcher.expire(max(times) + 1))

    def _finish_split(self, cut: _Cut) -> None:
        before = self.bag.file
        self.bag.split()
        self.splits += 1
        self._repeated = self.bag.message_count - self.messages
        self._file_began = self.duration
        self._file_messages = 0
        for message in cut.held:
            self._write(message)
        self._cut = None
        self._emit(Event(EventKind.SPLIT, Level.OK, f'{before.name} is complete, {self.bag.file.name} begins'))

    # Limits -----------------------------------------------------------------------------------------------------------

    def _maintain(self, now: float) -> None:
        settings = self._settings
        if not self._samples or now - self._samples[-1][0] >= _WAKE_EVERY:
            self._samples.append((now, self.bag.bytes))
        self._tell_drops(now)
        if self._unflushed_since is not None and now - self._unflushed_since > _FLUSH_AT * settings.flush_interval_s:
            self.bag.flush()
            self._unflushed_since = None
        cut = self._cut
        if cut is not None:
            if now > cut.deadline or cut.held_bytes > self.queue.limit_bytes // 2:
                self._hurry_split(cut)
        elif (settings.max_file_bytes and self.bag.file_bytes >= settings.max_file_bytes) or (
            settings.max_file_duration_s and self.duration - self._file_began >= settings.max_file_duration_s
        ):
            self._begin_split()
        if self._deadline is not None:
            return
        if settings.max_duration_s and self.duration >= settings.max_duration_s:
            self._end_by_itself(f'the duration of {settings.max_duration_s:g} s is over')
        elif now - self._disk_checked >= _CHECK_DISK_EVERY:
            self._check_disk(now)

    def _check_disk(self, now: float) -> None:
        self._disk_checked = now
        self.free_bytes = self._free_space(self.bag.path)
        least = self._settings.min_free_bytes
        if self.free_bytes < least:
            text = f'the disk is almost full: {self.free_bytes / 1e6:.0f} MB left, the limit is {least / 1e6:.0f} MB'
            self.failure = text
            self._end_by_itself(text)

    def _end_by_itself(self, reason: str) -> None:
        self._on_end(self, reason)
        self.finish(reason)

    def _tell_drops(self, now: float) -> None:
        dropped = self.dropped
        if dropped == self._told_drops or now - self._told_at < _TELL_EVERY:
            return
        self._told_drops, self._told_at = dropped, now
        limit = f'{self.queue.limit_bytes / 1e6:.0f} MB'
        text = f'the disk is slower than the streams and the queue of {limit} is full: lost {self._lost_by_topic()}'
        self._emit(Event(EventKind.DROPPING, Level.ERROR, text))

    def _warn(self, event: Event) -> None:
        """Tell an event, unless one of its kind was told just now: two clocks on one topic make one per message."""
        now = time.monotonic()
        last, again = self._warned.get((event.kind, event.topic), (-_TELL_EVERY, 0))
        if now - last < _TELL_EVERY:
            self._warned[event.kind, event.topic] = last, again + 1
            return
        self._warned[event.kind, event.topic] = now, 0
        self._emit(replace(event, message=f'{event.message} ({again} more like this before)') if again else event)

    def _count_lost(self, message: Received) -> None:
        topic = message.stream.topic
        with self._counting:
            message.stream.counts.dropped += 1
            self._lost[topic] = self._lost.get(topic, 0) + 1

    def _lost_by_topic(self) -> str:
        return ', '.join(f'{count} of {topic}' for topic, count in sorted(self._lost.copy().items()))

    # The end ----------------------------------------------------------------------------------------------------------

    def _settle_all(self) -> None:
        """Write what was held into the file that is open, and decide all pairs."""
        for message in self._cut.held if self._cut is not None else ():
            self._write(message)
        self._cut = None
        self._decide(self._matcher.flush())

    def _abandon(self, item: Item | None) -> None:
        """Count what the disk did not take in time."""
        while item is not None:
            if isinstance(item, Received):
                self._count_lost(item)
                self._leave_out(item)
            item = self.queue.get(0.0)

    def _fail(self, error: Exception) -> None:
        """End after an error; what waits is lost and counted."""
        self.failure = str(error) if isinstance(error, BagError | OSError) else f'recording failed: {error!r}'
        self._on_end(self, self.failure)
        self.finish(self.failure, 0.0)
        held = self._cut.held if self._cut is not None else []
        for message in {*held, *self._undecided}:
            if message.data is not None:
                self._count_lost(message)
                self._leave_out(message)
        self._abandon(self.queue.get(0.0))

    def _close(self) -> None:
        try:
            self.bag.close()
        except Exception as error:  # as in run()
            text = str(error) if isinstance(error, BagError) else f'the bag cannot be completed: {error!r}'
            self.failure = f'{self.failure}; {text}' if self.failure else text
        self._tell_end()
        self.ended = True

    def _tell_end(self) -> None:
        torn = self._torn = max(0, self.messages + self._repeated - self.bag.message_count)
        self.messages -= torn
        lost = f'lost {self._lost_by_topic()}' if self._lost else 'nothing lost'
        if torn:
            lost += f', and {torn} messages that were on their way to the disk'
        text = f'{self.bag.path}: {self._reason}; {self.messages} messages, {self.pairs} pairs, {lost}'
        failed = bool(self.failure) or torn > 0
        if self.failure and self.failure not in self._reason:
            text += f'; {self.failure}'
        level = Level.ERROR if failed or self._lost else Level.OK
        self._emit(Event(EventKind.FAILED if failed else EventKind.STOPPED, level, text))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _frame_id(message: Received) -> str:
    """The frame of a radar message; empty where its header cannot be read, which is no reason to end a recording."""
    try:
        return serialized_frame_id(message.data or b'')
    except MessageError:
        return ''
