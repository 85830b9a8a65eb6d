# SPDX-License-Identifier: Apache-2.0
"""What waits for the disk (bounded queue) and what is kept in case something happens (pre-trigger ring)."""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from radio_visual_ssl.bags.metadata import Topic
from radio_visual_ssl.bags.recorder_settings import StreamCounts
from radio_visual_ssl.bags.streaming import Latch

_SMALL = 65_536  # bytes; a message up to this size is among the last to be lost, unless it is half of a pair
_RESERVE = 8  # the share of the queue that is kept for those is 1 / _RESERVE


@dataclass(eq=False)
class Stream:
    """One topic of a recording.

    Attributes:
        declared: name, type, QoS and definition, as a bag declares them.
        role: ``pairing.RADAR``, ``pairing.IMAGE`` or None.
        counts: of the current recording.
        latch: what holds now, for recordings that begin later; None = the topic is not latched.
    """

    declared: Topic
    role: int | None = None
    counts: StreamCounts = field(default_factory=StreamCounts)
    latch: Latch | None = None

    def __post_init__(self) -> None:
        """Make the latch."""
        self.redeclare(self.declared)

    def redeclare(self, declared: Topic) -> None:
        """Take another declaration of the same topic, such as the QoS of another publisher."""
        self.declared = declared
        if not declared.latched:
            self.latch = None
        elif self.latch is None:
            self.latch = Latch(declared)

    @property
    def topic(self) -> str:
        """Resolved name."""
        return self.declared.name

    @property
    def latched(self) -> bool:
        """Whether the last message holds until the next one comes."""
        return self.declared.latched


@dataclass(eq=False, slots=True)
class Received:
    """A message on its way into the bag; its bytes are never copied.

    Attributes:
        key: number of the message within the process, ascending.
        stream: that it belongs to.
        received_ns: time of the bag.
        arrived: s, monotonic.
        stamp_ns: of its header; None = it has none.
        data: CDR bytes; None once they are written or dropped.
        size: bytes of them.
        frame_id: of its header, read where a pair needs it.
    """

    key: int
    stream: Stream
    received_ns: int
    arrived: float
    stamp_ns: int | None
    data: bytes | memoryview | None
    size: int
    frame_id: str = ''

    @property
    def expendable(self) -> bool:
        """Whether it is dropped before others: half of a pair, or large."""
        return not self.stream.latched and (self.stream.role is not None or self.size > _SMALL)


class Mark(NamedTuple):
    """Command: these two messages are a pair (decided outside)."""

    radar_key: int
    image_key: int
    arrived: float


class Split(NamedTuple):
    """Command: go on in the next file."""


class Resume(NamedTuple):
    """Command: what comes now comes after a pause."""


Command: TypeAlias = Mark | Split | Resume
Item: TypeAlias = Received | Command


class MessageQueue:
    """First in, first out, bounded in bytes from ``put`` until ``release``; commands take no room and keep their place.

    When a message does not fit, ``put`` gives back what is lost for it, to be counted: the message itself, or with
    ``drop_oldest`` the oldest expendable ones. Messages that are not expendable (see ``Received.expendable``) may fill
    an eighth more than the limit, so they are lost only when they alone overflow.

    Args:
        limit_bytes: bound of all messages that were put and not released.
        drop_oldest: what is lost on overflow.
        preloaded: what comes first (the pre-trigger ring's content); its bytes raise the limit.
    """

    def __init__(self, limit_bytes: int, drop_oldest: bool = False, preloaded: Iterable[Item] = ()) -> None:
        self._items: deque[Item] = deque(preloaded)
        self.bytes = sum(item.size for item in self._items if isinstance(item, Received))
        self.limit_bytes = limit_bytes + self.bytes
        self._reserve = limit_bytes // _RESERVE
        self._drop_oldest = drop_oldest
        self._expendable: deque[Received] = deque()
        if drop_oldest:
            self._expendable.extend(x for x in self._items if isinstance(x, Received) and x.expendable)
        self._closed = False
        self._condition = threading.Condition()

    def put(self, message: Received) -> Sequence[Received]:
        """Append a message; returns the messages that are lost for it, often none, never silently."""
        with self._condition:
            if self._closed:
                return (message,)
            limit = self.limit_bytes + (0 if message.expendable else self._reserve)
            lost: list[Received] = []
            if self._drop_oldest and message.size <= limit < self.bytes + message.size:
                lost = self._make_room(message.size, limit)
            if self.bytes + message.size > limit:
                lost.append(message)
                return lost
            self._items.append(message)
            if self._drop_oldest and message.expendable:
                self._expendable.append(message)
            self.bytes += message.size
            self._condition.notify()
            return lost

    def command(self, item: Command) -> None:
        """Append a command."""
        with self._condition:
            self._items.append(item)
            self._condition.notify()

    def get(self, timeout: float) -> Item | None:
        """Oldest item; None = there is none within ``timeout`` seconds, or the queue is closed and empty."""
        with self._condition:
            if not self._items and not self._closed:
                self._condition.wait(timeout)
            while self._items:
                item = self._items.popleft()
                if not isinstance(item, Received):
                    return item
                if self._expendable and self._expendable[0] is item:
                    self._expendable.popleft()
                if item.data is not None:
                    return item
            return None

    def release(self, size: int) -> None:
        """A message of that size is in the bag, or left out: its room is free."""
        with self._condition:
            self.bytes -= size

    def close(self) -> None:
        """Take no more messages; those that wait can still be got."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    @property
    def finished(self) -> bool:
        """Closed, and empty."""
        with self._condition:
            return self._closed and not self._items

    def _make_room(self, size: int, limit: int) -> list[Received]:
        lost = []
        while self._expendable and self.bytes + size > limit:
            oldest = self._expendable.popleft()
            oldest.data = None  # its place in the queue stays, empty
            self.bytes -= oldest.size
            lost.append(oldest)
        return lost


class PreTriggerRing:
    """The last seconds of all streams, bounded in bytes as well; the oldest leaves first.

    Seconds are those of the machine's own clock, so that a looping bag or a jump of the node's clock empties nothing.

    Args:
        seconds: kept; 0 = nothing is.
        limit_bytes: kept at most.
    """

    def __init__(self, seconds: float, limit_bytes: int) -> None:
        self.seconds = seconds
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self._items: deque[Received | Mark] = deque()

    def put(self, item: Received | Mark) -> None:
        """Keep a message (or the mark of a pair)."""
        if self.seconds <= 0:
            return
        self._items.append(item)
        self.bytes += _size(item)
        self._forget(item.arrived)

    def take(self, now: float) -> list[Received | Mark]:
        """All that is kept at ``now`` (s, monotonic), oldest first; the ring is empty then."""
        self._forget(now)
        items = list(self._items)
        self._items.clear()
        self.bytes = 0
        return items

    def _forget(self, now: float) -> None:
        while self._items and (self._items[0].arrived < now - self.seconds or self.bytes > self.limit_bytes):
            self.bytes -= _size(self._items.popleft())


def _size(item: Received | Mark) -> int:
    return item.size if isinstance(item, Received) else 0
