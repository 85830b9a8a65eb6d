# SPDX-License-Identifier: Apache-2.0
"""Matching the messages of several inputs by their stamps, exactly or within a tolerance."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from rclpy.duration import Duration
from rclpy.time import Time

from message_filters.simple_filter import SimpleFilter
from message_filters.stamps import stamp_of


class TimeSynchronizer(SimpleFilter):
    """Calls back with one message of each input whenever all have the same stamp.

    Args:
        fs: the input filters; the callback gets their messages in this order.
        queue_size: messages kept per input while they wait for their partners.

    Attributes:
        queues: per input, stamp in nanoseconds -> waiting message.
        input_connections: per input, the connection's number there.
        lock: held while a message is matched and its callback runs.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.lock = threading.Lock()
        self.connectInput(fs)

    def connectInput(self, fs: Sequence[SimpleFilter]) -> None:
        """Take the messages of `fs`, with empty queues."""
        self.queues: list[dict[int, Any]] = [{} for _ in fs]
        self.input_connections = [
            f.registerCallback(self.add, queue, index)
            for index, (f, queue) in enumerate(zip(fs, self.queues, strict=True))
        ]

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Queue one message, then signal every set that it completes, oldest first.

        Raises:
            AttributeError: the message has no header.stamp.
            TypeError: its stamp is no builtin_interfaces Time.
        """
        stamp = Time.from_msg(msg.header.stamp)
        with self.lock:
            self._enqueue(msg, stamp, my_queue)
            for common in sorted(set.intersection(*(set(queue) for queue in self.queues))):
                self._signal_set([common] * len(self.queues))

    def _enqueue(self, msg: Any, stamp: Time, queue: dict[int, Any]) -> None:
        queue[stamp.nanoseconds] = msg
        while len(queue) > self.queue_size:
            del queue[min(queue)]

    def _signal_set(self, stamps_ns: Sequence[int]) -> None:
        self.signalMessage(*(queue.pop(stamp) for queue, stamp in zip(self.queues, stamps_ns, strict=True)))


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Calls back with one message of each input whenever their stamps differ by less than `slop`.

    A message is matched when it arrives, against what is waiting then: the partners nearest to it in time are tried
    first, and the first set that fits is taken.

    Args:
        fs: the input filters.
        queue_size: messages kept per input.
        slop: seconds that the stamps of a set must stay below (0 never matches).
        allow_headerless: give messages without header the current ROS time instead of dropping them.
    """

    def __init__(
        self, fs: Sequence[SimpleFilter], queue_size: int, slop: float, allow_headerless: bool = False
    ) -> None:
        super().__init__(fs, queue_size)
        self.slop = Duration(seconds=slop)
        self.allow_headerless = allow_headerless

    def add(self, msg: Any, my_queue: dict[int, Any], my_queue_index: int | None = None) -> None:
        """Queue one message and signal the set that it completes, if any."""
        stamp = stamp_of(msg, self.allow_headerless, 'message_filters_approx')
        if stamp is None:
            return
        with self.lock:
            self._enqueue(msg, stamp, my_queue)
            arrived = stamp.nanoseconds
            candidates = [
                [arrived] if index == my_queue_index else self._nearest_first(queue, arrived)
                for index, queue in enumerate(self.queues)
            ]
            # A message older than a full queue is forgotten at once: nothing may be matched to it.
            if my_queue_index is not None and arrived not in my_queue:
                return
            bounds = () if my_queue_index is None else (arrived, arrived)
            if found := self._first_within_slop(candidates, *bounds):
                self._signal_set(found)

    def _nearest_first(self, queue: dict[int, Any], arrived: int) -> list[int]:
        near = (stamp for stamp in queue if abs(stamp - arrived) <= self.slop.nanoseconds)
        return sorted(near, key=lambda stamp: abs(stamp - arrived))

    def _first_within_slop(
        self, candidates: Sequence[Sequence[int]], earliest: int | None = None, latest: int | None = None
    ) -> list[int] | None:
        """Return the first combination (one stamp per input, the last input varying fastest) that fits in the slop."""
        if not candidates:
            return []
        for stamp in candidates[0]:
            low = stamp if earliest is None else min(earliest, stamp)
            high = stamp if latest is None else max(latest, stamp)
            if high - low < self.slop.nanoseconds:
                rest = self._first_within_slop(candidates[1:], low, high)
                if rest is not None:
                    return [stamp, *rest]
        return None
