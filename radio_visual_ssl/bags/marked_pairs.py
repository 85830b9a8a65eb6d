# SPDX-License-Identifier: Apache-2.0
"""Stands in for the matcher where pairs are decided outside (message_filters' ApproximateTimeSynchronizer)."""

from radio_visual_ssl.bags.pairing import IMAGE, RADAR, Decision, Matched
from radio_visual_ssl.bags.recording_queue import Received

_AFTER_ALL = 2**80  # ns
_PENDING = 100  # messages of one stream that may still be marked


class MarkedPairs:
    """Takes the place of the matcher where pairs are decided outside: the newest messages wait to be marked."""

    def __init__(self, radar_offset_ns: int, image_offset_ns: int, max_pending: int = _PENDING) -> None:
        self._offsets = (radar_offset_ns, image_offset_ns)
        self._max_pending = max_pending
        self._waiting: tuple[dict[int, Received], dict[int, Received]] = ({}, {})

    @property
    def pending(self) -> tuple[int, int]:
        """Messages of the radar and of the images that may still be marked."""
        return len(self._waiting[RADAR]), len(self._waiting[IMAGE])

    def add(self, stream: int, stamp_ns: int, item: Received) -> Decision[Received]:
        """Let a message wait; the oldest beyond those that may wait is unpaired."""
        waiting = self._waiting[stream]
        waiting[item.key] = item
        return self.give_up(stream) if len(waiting) > self._max_pending else Decision()

    def mark(self, radar_key: int, image_key: int) -> Decision[Received]:
        """These two are a pair, if both still wait."""
        decision: Decision[Received] = Decision()
        radars, images = self._waiting
        if radar_key in radars and image_key in images:
            radar, image = radars.pop(radar_key), images.pop(image_key)
            stamps = radar.stamp_ns or 0, image.stamp_ns or 0
            difference_ns = stamps[IMAGE] + self._offsets[IMAGE] - stamps[RADAR] - self._offsets[RADAR]
            decision.pairs.append(Matched(radar, image, *stamps, difference_ns))
        return decision

    def give_up(self, stream: int) -> Decision[Received]:
        """The oldest message of a stream is unpaired."""
        decision: Decision[Received] = Decision()
        waiting = self._waiting[stream]
        if waiting:
            decision.unpaired[stream].append(waiting.pop(next(iter(waiting))))
        return decision

    def expire(self, before_ns: int) -> Decision[Received]:
        """Messages from before a time (offsets applied) are unpaired."""
        decision: Decision[Received] = Decision()
        for stream, waiting in enumerate(self._waiting):
            old = [x for x in waiting.values() if (x.stamp_ns or 0) + self._offsets[stream] < before_ns]
            for message in old:
                decision.unpaired[stream].append(waiting.pop(message.key))
        return decision

    def flush(self) -> Decision[Received]:
        """All that wait are unpaired."""
        return self.expire(_AFTER_ALL)
