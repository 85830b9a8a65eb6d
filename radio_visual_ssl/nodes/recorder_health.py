# SPDX-License-Identifier: Apache-2.0
"""What a recorder tells about itself and about each topic on /diagnostics."""

import dataclasses
import time
from collections import deque
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus

from radio_visual_ssl.bags.recorder_settings import RecorderSettings, RecordingStatistics, State, StreamCounts
from radio_visual_ssl.nodes.diagnostics import StreamHealth, key_values
from radio_visual_ssl.nodes.discovery import Source
from radio_visual_ssl.nodes.raw_subscriber import RawSubscriber

ALARM_SECONDS = 10.0
"""How long /diagnostics shows what has happened and is over."""

SHOWN_ALARMS = 3
"""Of the last ones, at once."""


class Alarms:
    """What has happened in the last seconds and is over."""

    def __init__(self) -> None:
        self._rung: deque[tuple[float, str]] = deque(maxlen=SHOWN_ALARMS)

    def ring(self, text: str) -> None:
        """Show this for a while."""
        self._rung = deque([entry for entry in self._rung if entry[1] != text], SHOWN_ALARMS)
        self._rung.append((time.monotonic(), text))

    @property
    def text(self) -> str:
        """What is shown now; empty = nothing has happened of late."""
        now = time.monotonic()
        return '; '.join(text for when, text in self._rung if now - when < ALARM_SECONDS)


class RecordedStream(StreamHealth):
    """One topic that is recorded, or will be when somebody publishes it.

    Attributes:
        index: 0 radar, 1 image, None any other.
        wanted: message types that one expects.
        problem: why it cannot be recorded; empty = it can.
        source: what publishes it; None = nobody has yet.
        subscriber: its subscription; None = none yet.
        similar: says what else might be meant.
        missing_since: s, monotonic, since when nobody publishes it; infinite once that was said, None = somebody does.
        restarts: times that a new publisher took the place of one that left.
        lost: messages that were sent but never arrived here.
        lost_before_clock: messages that no room was left for while simulated time had not begun.
        counts: what became of the others.
        alarms: what has happened to it.
    """

    def __init__(
        self,
        topic: str,
        timeout: Callable[[], float] | None,
        publishers: Callable[[], int],
        *,
        index: int | None = None,
        wanted: tuple[str, ...] = (),
        similar: Callable[[], str] = str,
    ) -> None:
        super().__init__(topic, timeout, publishers)
        self.index = index
        self.wanted = wanted
        self.problem = ''
        self.source: Source | None = None
        self.subscriber: RawSubscriber | None = None
        self.restarts = 0
        self.lost = 0
        self.lost_before_clock = 0
        self.counts = StreamCounts()
        self.similar = similar
        self.missing_since: float | None = None
        self._counted: tuple[RawSubscriber | None, int] = (None, 0)
        self.alarms = Alarms()

    def count_lost(self) -> int:
        """Messages lost on the way since the last call, where their numbering tells."""
        if self.subscriber is None or self.source is None:
            return 0
        subscriber, before = self._counted
        lost = self.subscriber.lost - (before if subscriber is self.subscriber else 0)
        self._counted = self.subscriber, self.subscriber.lost
        if len(self.source.publishers) != 1:
            return 0
        self.lost += lost
        return lost

    def status(self) -> DiagnosticStatus:
        """Level, message and values for /diagnostics."""
        status = super().status()
        happened = self.alarms.text
        if self.problem:
            status.level, status.message = DiagnosticStatus.ERROR, self.problem
        elif happened and status.level == DiagnosticStatus.OK:
            status.level, status.message = DiagnosticStatus.WARN, happened
        elif happened:
            status.message += f'; {happened}'
        values = {
            'type': self.source.message_type if self.source is not None else '',
            'publishers': ', '.join(self.source.nodes) if self.source is not None else '',
            'restarts': str(self.restarts),
            'lost_in_transport': str(self.lost),
            'lost_before_clock': str(self.lost_before_clock),
            **{name: str(count) for name, count in dataclasses.asdict(self.counts).items() if name != 'received'},
        }
        status.values = [*status.values, *key_values(values)]
        return status

    def _who(self) -> str:
        return super()._who() + (self.similar() if self.source is None else '')


class RecordingHealth(StreamHealth):
    """The recording as a whole, for /diagnostics.

    Attributes:
        statistics: numbers to show.
        failed: it ended because it could not go on.
        alarms: what has happened to it.
    """

    def __init__(self, settings: RecorderSettings) -> None:
        super().__init__('recording', None, None)
        self.statistics = RecordingStatistics(State.IDLE)
        self.failed = False
        self._settings = settings
        self.alarms = Alarms()

    def status(self) -> DiagnosticStatus:
        """Level, message and values for /diagnostics."""
        numbers = self.statistics
        level, message = DiagnosticStatus.OK, numbers.state.name.lower()
        if numbers.state is State.STOPPED:
            level, message = DiagnosticStatus.ERROR if self.failed else DiagnosticStatus.OK, numbers.message
        elif self.alarms.text:
            level, message = DiagnosticStatus.WARN, self.alarms.text
        elif numbers.state is State.RECORDING and 0 < numbers.free_bytes < 2 * self._settings.min_free_bytes:
            level = DiagnosticStatus.WARN
            message = f'the disk has {numbers.free_bytes / 1e9:.1f} GB left, the recording ends at '
            message += f'{self._settings.min_free_bytes / 1e9:.1f} GB'
        values = {
            'bag': str(numbers.bag or ''),
            'file': str(numbers.file or ''),
            'duration_s': f'{numbers.duration_s:.1f}',
            'pairs': str(numbers.pairs),
            'unpaired_radar': str(numbers.unpaired_radar),
            'unpaired_image': str(numbers.unpaired_image),
            'messages': str(numbers.messages),
            'dropped': str(numbers.dropped),
            'median_time_difference_ms': f'{1e3 * numbers.median_time_difference_s:.2f}',
            'mb': f'{numbers.bytes / 1e6:.1f}',
            'mb_per_s': f'{numbers.bytes_per_second / 1e6:.1f}',
            'queue_mb': f'{numbers.queue_bytes / 1e6:.1f}',
            'ring_mb': f'{numbers.ring_bytes / 1e6:.1f}',
            'free_gb': f'{numbers.free_bytes / 1e9:.1f}',
            'splits': str(numbers.splits),
        }
        return DiagnosticStatus(level=level, message=message, values=key_values(values))
