# SPDX-License-Identifier: Apache-2.0
"""What a node tells about itself on /diagnostics: rates, latencies and the last error of each input."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

WINDOW = 100
"""Messages over which rates and latencies are taken."""

OTHER_CLOCK = 3600.0
"""s; a stamp further than this from now was made by another clock (a played bag without use_sim_time)."""

REPEAT_AFTER = 5.0
"""s before the same error is logged again."""

WAITING = 10
"""Messages kept while the information that explains them is missing."""


class StreamHealth:
    """Counts, rate, latency and errors of one stream of messages (an input, or a timer that makes an output).

    Attributes:
        topic: resolved name of the topic.
        timeout: s without a message after which the stream counts as silent; None = it may be silent.
        received: messages so far.
        errors: messages that could not be used.
        note: what is not as it should be, without being an error; empty = nothing.
        waiting: messages that wait for the information that explains them, oldest first; older ones are dropped.
    """

    def __init__(self, topic: str, timeout: Callable[[], float] | None, publishers: Callable[[], int] | None) -> None:
        """Watch a topic; ``publishers`` says how many there are."""
        self.topic = topic
        self.timeout = timeout
        self.received = 0
        self.errors = 0
        self.note = ''
        self.waiting: deque[Any] = deque(maxlen=WAITING)
        self._publishers = publishers
        self._since = time.monotonic()
        self._arrivals: deque[float] = deque(maxlen=WINDOW)
        self._processing: deque[float] = deque(maxlen=WINDOW)
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._failure = ''
        self._logged: tuple[str, float] = ('', -REPEAT_AFTER)
        self._unlogged = 0

    @property
    def failing(self) -> bool:
        """Whether the last message could not be used."""
        return bool(self._failure)

    def receive(self) -> None:
        """A message arrived."""
        self.received += 1
        self._arrivals.append(time.monotonic())

    def succeed(self, processing: float, latency: float | None) -> None:
        """The message was used: seconds it took, and seconds from its stamp to now."""
        self._failure = ''
        self._processing.append(processing)
        if latency is not None:
            self._latencies.append(latency)

    def fail(self, text: str) -> str | None:
        """The message could not be used; returns the line to log, or None where the same was logged just now."""
        self.errors += 1
        self._failure = text
        return self._unless_repeated(text)

    def wait(self, message: Any, for_topic: str) -> str | None:
        """Keep a message until ``for_topic`` explains it; returns the line to log, or None where it was just now."""
        self.waiting.append(message)
        self.note = f'{self.topic}: messages wait for {for_topic}'
        return self._unless_repeated(self.note)

    def _unless_repeated(self, text: str) -> str | None:
        last, when = self._logged
        now = time.monotonic()
        if text == last and now - when < REPEAT_AFTER:
            self._unlogged += 1
            return None
        repeated = f' ({self._unlogged} more like this since)' if self._unlogged and text == last else ''
        self._logged = text, now
        self._unlogged = 0
        return text + repeated

    def status(self) -> DiagnosticStatus:
        """Level, message and values for /diagnostics; the caller adds name and hardware_id."""
        now = time.monotonic()
        level, message = DiagnosticStatus.OK, 'ok'
        limit = self.timeout() if self.timeout else None
        if self._failure:
            level, message = DiagnosticStatus.ERROR, self._failure
        elif limit is not None and not self.received and now - self._since > limit:
            level, message = DiagnosticStatus.STALE, f'no message yet on {self.topic}{self._who()}'
        elif limit is not None and self.received and now - self._arrivals[-1] > limit:
            message = (
                f'no message on {self.topic} for {now - self._arrivals[-1]:.1f} s (limit {limit:g} s){self._who()}'
            )
            level = DiagnosticStatus.WARN
        elif self.note:
            level, message = DiagnosticStatus.WARN, self.note
        values = {'received': str(self.received), 'errors': str(self.errors)}
        if len(self._arrivals) > 1 and self._arrivals[-1] > self._arrivals[0]:
            rate = (len(self._arrivals) - 1) / (self._arrivals[-1] - self._arrivals[0])
            values['rate_hz'] = f'{rate:.2f}'
        values |= _milliseconds('processing', self._processing)
        if self._latencies and abs(median(self._latencies)) > OTHER_CLOCK:
            values['latency'] = 'the stamps are of another time (a played bag without use_sim_time?)'
        else:
            values |= _milliseconds('latency', self._latencies)
        return DiagnosticStatus(level=level, message=message, values=key_values(values))

    def _who(self) -> str:
        if self._publishers is None:
            return ''
        count = self._publishers()
        return '; nobody publishes it' if count == 0 else f'; publishers: {count}'


def key_values(values: dict[str, str]) -> list[KeyValue]:
    """A dictionary as diagnostic_msgs holds it."""
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def _milliseconds(name: str, seconds: Sequence[float]) -> dict[str, str]:
    if not seconds:
        return {}
    return {f'{name}_p50_ms': f'{1e3 * median(seconds):.2f}', f'{name}_max_ms': f'{1e3 * max(seconds):.2f}'}
