# SPDX-License-Identifier: Apache-2.0
"""A history of the last messages, asked by time."""

from __future__ import annotations

from typing import Any

from rclpy.time import Time

from message_filters.simple_filter import SimpleFilter
from message_filters.stamps import stamp_of


class Cache(SimpleFilter):
    """Keeps the newest `cache_size` messages in order of arrival and passes each on.

    Args:
        f: the input filter.
        cache_size: messages kept.
        allow_headerless: store messages without header under the current ROS time instead of dropping them.

    Attributes:
        cache_msgs: the messages, oldest arrival first.
        cache_times: their stamps (rclpy Time), in the same order.
        incoming_connection: the connection's number at the input.
    """

    def __init__(self, f: SimpleFilter, cache_size: int = 1, allow_headerless: bool = False) -> None:
        super().__init__()
        self.cache_size = cache_size
        self.allow_headerless = allow_headerless
        self.cache_msgs: list[Any] = []
        self.cache_times: list[Time] = []
        self.connectInput(f)

    def connectInput(self, f: SimpleFilter) -> None:
        """Take the messages of `f`."""
        self.incoming_connection = f.registerCallback(self.add)

    def add(self, msg: Any) -> None:
        """Store one message, forget the oldest if there are too many, pass the message on."""
        stamp = stamp_of(msg, self.allow_headerless, 'message_filters_cache')
        if stamp is None:
            return
        self.cache_msgs.append(msg)
        self.cache_times.append(stamp)
        if len(self.cache_msgs) > self.cache_size:
            del self.cache_msgs[0], self.cache_times[0]
        self.signalMessage(msg)

    def getInterval(self, from_stamp: Time, to_stamp: Time) -> list[Any]:
        """Return the messages stamped from `from_stamp` to `to_stamp`, both included.

        Raises:
            AssertionError: `from_stamp` is after `to_stamp`.
        """
        if not from_stamp <= to_stamp:
            raise AssertionError(f'from_stamp must not be after to_stamp, got {from_stamp} and {to_stamp}')
        return [m for m, t in zip(self.cache_msgs, self.cache_times, strict=True) if from_stamp <= t <= to_stamp]

    def getElemAfterTime(self, stamp: Time) -> Any | None:
        """Return the first message stamped at or after `stamp`, None if there is none."""
        return next((m for m, t in zip(self.cache_msgs, self.cache_times, strict=True) if t >= stamp), None)

    def getElemBeforeTime(self, stamp: Time) -> Any | None:
        """Return the last message stamped at or before `stamp`, None if there is none."""
        stored = zip(reversed(self.cache_msgs), reversed(self.cache_times), strict=True)
        return next((m for m, t in stored if t <= stamp), None)

    def getLastestTime(self) -> Time | None:
        """Return the stamp of the last arrival (the name is the original's), None if nothing is stored."""
        return self.cache_times[-1] if self.cache_times else None

    def getOldestTime(self) -> Time | None:
        """Return the stamp of the oldest arrival, None if nothing is stored."""
        return self.cache_times[0] if self.cache_times else None

    def getLast(self) -> Any | None:
        """Return the first message stamped at or after the last arrival's stamp, None if nothing is stored."""
        latest = self.getLastestTime()
        return None if latest is None else self.getElemAfterTime(latest)
