# SPDX-License-Identifier: Apache-2.0
"""Notices what a recording survives but should tell: clocks and stamps that jump, streams that stop and come back."""

from dataclasses import dataclass

from radio_visual_ssl.bags.recorder_settings import Event, EventKind, Level
from radio_visual_ssl.bags.recording_queue import Received, Stream

_JUMP = 1.0  # s
_RATE = 20.0  # at most this many seconds of the node's clock in one of the machine's (simulated or played time)
_SILENCE = 1.0  # s
_SILENT_PERIODS = 10.0
_LEARNING = 3  # messages before a period is known


@dataclass
class _Last:
    """Last message of a stream, and what is usual for it."""

    received_ns: int
    arrived: float
    stamp_ns: int | None
    count: int = 1
    period: float = 0.0


class StreamWatch:
    """Looks at each message of a recording in the order of arrival."""

    def __init__(self) -> None:
        self._clock: tuple[int, float] | None = None  # last time of the node's clock, and of the machine's
        self._last: dict[Stream, _Last] = {}

    def forget(self) -> None:
        """Begin anew, after a pause."""
        self._clock = None
        self._last.clear()

    def look(self, message: Received) -> list[Event]:
        """What is remarkable about a message, often nothing.

        Latched streams are not looked at: their messages come when they like, and with the stamp they like. Silence is
        remarkable only of the two streams that make pairs.
        """
        if message.stream.latched:
            return []
        events = self._look_at_clock(message)
        last = self._last.get(message.stream)
        if last is None:
            self._last[message.stream] = _Last(message.received_ns, message.arrived, message.stamp_ns)
            return events
        events += _look_at_silence(message, last) + _look_at_stamps(message, last)
        gap = message.arrived - last.arrived
        usual = 0.9 * last.period + 0.1 * min(gap, 2 * last.period)
        last.period = usual if last.count >= _LEARNING else max(last.period, gap)
        last.count += 1
        last.received_ns, last.arrived, last.stamp_ns = message.received_ns, message.arrived, message.stamp_ns
        return events

    def _look_at_clock(self, message: Received) -> list[Event]:
        previous, self._clock = self._clock, (message.received_ns, message.arrived)
        if previous is None:
            return []
        passed = (message.received_ns - previous[0]) / 1e9
        really = max(message.arrived - previous[1], 0.0)
        if -_JUMP <= passed <= _JUMP + _RATE * really:
            return []
        text = f"the node's clock jumped by {passed:+.3f} s; the bag's times jump with it"
        return [Event(EventKind.CLOCK_JUMPED, Level.WARN, text)]


def _look_at_silence(message: Received, last: _Last) -> list[Event]:
    gap = message.arrived - last.arrived
    if message.stream.role is None or last.count < _LEARNING or gap <= max(_SILENCE, _SILENT_PERIODS * last.period):
        return []
    topic = message.stream.topic
    text = f'{topic}: messages again after {gap:.1f} s without any; was the sensor restarted?'
    return [Event(EventKind.STREAM_RETURNED, Level.WARN, text, topic)]


def _look_at_stamps(message: Received, last: _Last) -> list[Event]:
    if not message.stamp_ns or not last.stamp_ns:
        return []
    step = (message.stamp_ns - last.stamp_ns) / 1e9
    beyond_clock = step - (message.received_ns - last.received_ns) / 1e9
    if (step < -_JUMP and beyond_clock < -_JUMP) or (step > _JUMP and beyond_clock > _JUMP):
        topic = message.stream.topic
        why = 'looping bag, sensor restarted, or its clock was set' if step < 0 else 'was its clock set?'
        text = f'{topic}: stamps jumped by {step:+.3f} s ({why})'
        return [Event(EventKind.STAMPS_JUMPED, Level.WARN, text, topic)]
    return []
