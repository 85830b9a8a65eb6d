# SPDX-License-Identifier: Apache-2.0
"""Decides which image belongs to which radar frame: the closest in time first, each in one pair at most.

The rule. A stream's offset is added to its stamps; a radar frame and an image no further apart than the slop may become
a pair. Of all those candidates the one with the smallest difference is a pair, then the smallest among the messages
that are left, and so on; of equal ones that with the earlier radar stamp, then with the earlier image stamp. So there
is never a radar frame and an image that are closer to each other than each is to its partner (the stable matching).

``match_stamps`` applies the rule to whole streams, ``PairMatcher`` to messages as they arrive, with the same result.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.messages import MessageTypes, header, stamp_from_ns
from radio_visual_ssl.share import PACKAGE

RADAR, IMAGE = 0, 1
PAIR_TYPE = f'{PACKAGE}/msg/Pair'

T = TypeVar('T')

_NEVER = -(2**80)  # a time before all stamps
_AFTER_ALL = 2**80  # a sequence number after all messages
_SECOND = 1_000_000_000
_MOST_SECONDS = 1e9  # about 32 years: any stamp plus as much fits into 64 bits of ns

_Entry = tuple[int, int]  # time (offset applied, ns), sequence number
_Edge = tuple[int, int, int, int, int]  # difference, time of radar, of image, sequence number of radar, of image


@dataclass(frozen=True)
class Matched(Generic[T]):
    """A pair.

    Attributes:
        radar, image: what was given to ``PairMatcher.add`` with the two messages.
        radar_stamp_ns, image_stamp_ns: their own stamps, without the offsets.
        difference_ns: image minus radar, offsets applied.
    """

    radar: T
    image: T
    radar_stamp_ns: int
    image_stamp_ns: int
    difference_ns: int


@dataclass(frozen=True)
class Decision(Generic[T]):
    """What became certain, each list in the order of time.

    Attributes:
        pairs: new pairs.
        unpaired: (radar, image) messages that will never be in a pair.
        reset: a stream jumped back in time, and all of before was decided as it stood.
    """

    pairs: list[Matched[T]] = field(default_factory=list)
    unpaired: tuple[list[T], list[T]] = field(default_factory=lambda: ([], []))
    reset: bool = False


class PairMatcher(Generic[T]):
    """Pairs two streams while they arrive, exactly as ``match_stamps`` would pair them afterwards.

    A stream's watermark is its latest stamp less ``reordering_ns``: nothing older is expected of it. A pair is given
    out by the call after which no message from the watermarks on can change it, and never earlier; a message is
    declared unpaired likewise. A pair of difference d, neither of whose members has a closer candidate that is open
    itself, is certain once the images have reached the radar frame's time + d and the radar the image's time + d: at
    most d (no more than the slop) after its later member, plus ``reordering_ns``, plus what it takes until the next
    message. In a chain of ever closer candidates the first ones wait for the last, as its end decides about all of
    them. Equal times are certain at once.

    Messages older than the watermark are paired with what is undecided by then, as well as possible.

    Proof that it is exact: new images can only help radar frames and harm images (stable matchings). The best that any
    future holds for a radar frame is therefore one with an image at every time from the watermark on, and no further
    radar frame; for an image it is the reverse. A pair is certain if and only if it is a pair in both; a radar frame
    that stays alone in the first one stays alone in all.

    Args:
        slop_ns: largest difference of a pair.
        radar_offset_ns: added to the radar's stamps.
        image_offset_ns: added to the images' stamps.
        reordering_ns: by how much a message may be older than the latest one of its stream.
        jump_ns: a stream that goes back by more has started anew (a looping bag, a clock that was set): all of before
            is decided as it stands. What the other stream still sends of the old time is in no pair.
        max_pending: undecided messages of one stream; with more, the oldest is decided as it stands.

    Raises:
        ValueError: a negative time, a jump no larger than the reordering, or no message to be kept.
    """

    def __init__(
        self,
        slop_ns: int,
        *,
        radar_offset_ns: int = 0,
        image_offset_ns: int = 0,
        reordering_ns: int = 0,
        jump_ns: int = _SECOND,
        max_pending: int = 500,
    ) -> None:
        for name, value in (('slop_ns', slop_ns), ('reordering_ns', reordering_ns)):
            if value < 0:
                raise ValueError(f'{name}: expected 0 ns or more, got {value} ns')
        if jump_ns <= reordering_ns:
            raise ValueError(f'jump_ns: expected more than reordering_ns ({reordering_ns} ns), got {jump_ns} ns')
        if max_pending < 1:
            raise ValueError(f'max_pending: expected 1 or more, got {max_pending}')
        self._slop = slop_ns
        self._offsets = (radar_offset_ns, image_offset_ns)
        self._reordering = reordering_ns
        self._jump = jump_ns
        self._max_pending = max_pending
        self._latest = [_NEVER, _NEVER]
        self._straggler: int | None = None  # the stream that has yet to follow a jump, if its times are later than ...
        self._straggling_from = _NEVER
        self._waiting: tuple[list[_Entry], list[_Entry]] = ([], [])
        self._held: dict[int, tuple[int, T]] = {}  # time and item of the undecided
        self._edges: list[_Edge] = []  # candidates among the undecided, closest first
        self._next_sequence = 0

    @property
    def pending(self) -> tuple[int, int]:
        """Undecided messages of the radar and of the images."""
        return len(self._waiting[RADAR]), len(self._waiting[IMAGE])

    def add(self, stream: int, stamp_ns: int, item: T) -> Decision[T]:
        """Take a message.

        Args:
            stream: ``RADAR`` or ``IMAGE``.
            stamp_ns: its own stamp.
            item: what stands for it in decisions.

        Returns:
            What is certain now and was not before.

        Raises:
            ValueError: no such stream.
        """
        if stream not in (RADAR, IMAGE):
            raise ValueError(f'stream: expected {RADAR} (radar) or {IMAGE} (image), got {stream}')
        time = stamp_ns + self._offsets[stream]
        reset = time < self._latest[stream] - self._jump
        decision = self._start_anew(stream, time) if reset else Decision()
        if self._straggles(stream, time):
            decision.unpaired[stream].append(item)
            return decision
        sequence = self._next_sequence
        self._next_sequence += 1
        self._held[sequence] = time, item
        insort(self._waiting[stream], (time, sequence))
        self._latest[stream] = max(self._latest[stream], time)
        self._add_edges(stream, time, sequence)
        self._decide(decision)
        if len(self._waiting[stream]) > self._max_pending:
            self._decide_oldest(stream, decision)
        return decision

    def give_up(self, stream: int) -> Decision[T]:
        """Decide the oldest undecided message of a stream as things stand, to make room."""
        decision: Decision[T] = Decision()
        if self._waiting[stream]:
            self._decide_oldest(stream, decision)
        return decision

    def expire(self, before_ns: int) -> Decision[T]:
        """Decide as things stand what is older than a time (offsets applied), with the partners that it has by now."""
        decision: Decision[T] = Decision()
        old = {number for entries in self._waiting for time, number in entries if time < before_ns}
        if old:
            pairs = [pair for pair in _greedy(self._edges) if pair[RADAR] in old or pair[IMAGE] in old]
            taken = {number for pair in pairs for number in pair}
            self._settle(pairs, [self._among(stream, old - taken) for stream in (RADAR, IMAGE)], decision)
        return decision

    def flush(self) -> Decision[T]:
        """Decide everything as it stands, and begin as if new: the end of a recording."""
        decision = self.expire(_AFTER_ALL)
        self._latest = [_NEVER, _NEVER]
        self._straggler = None
        return decision

    def _start_anew(self, stream: int, time: int) -> Decision[T]:
        """Decide all of before a stream's jump to ``time``."""
        decision = self.flush()
        self._straggler = 1 - stream
        self._straggling_from = time + self._jump
        return replace(decision, reset=True)

    def _straggles(self, stream: int, time: int) -> bool:
        """Whether a stream has not yet followed the other one's jump; it has a while (``jump_ns``) to do so."""
        if stream == self._straggler and (
            time <= self._straggling_from or self._latest[1 - stream] >= self._straggling_from
        ):
            self._straggler = None
        return stream == self._straggler

    def _add_edges(self, stream: int, time: int, sequence: int) -> None:
        """Candidates of a new message."""
        others = self._waiting[1 - stream]
        first = bisect_left(others, (time - self._slop, _NEVER))
        last = bisect_right(others, (time + self._slop, _AFTER_ALL), first)
        if first == last:
            return
        for other, number in others[first:last]:
            if stream == RADAR:
                edge = (abs(other - time), time, other, sequence, number)
            else:
                edge = (abs(other - time), other, time, number, sequence)
            self._edges.append(edge)
        self._edges.sort()

    def _decide(self, decision: Decision[T]) -> None:
        """Find what is certain in all futures (see the class)."""
        radar_mark, image_mark = (latest - self._reordering for latest in self._latest)
        best_of_radar: dict[int, int | None] = {}
        best_of_image: dict[int, int | None] = {}
        taken_images, taken_radars = set(), set()
        for difference, radar_time, image_time, radar, image in self._edges:
            if radar not in best_of_radar and image not in taken_images:
                if difference and image_mark < radar_time + difference:
                    best_of_radar[radar] = None  # an image to come may be closer
                else:
                    best_of_radar[radar] = image
                    taken_images.add(image)
            if image not in best_of_image and radar not in taken_radars:
                if difference and radar_mark < image_time + difference:
                    best_of_image[image] = None
                else:
                    best_of_image[image] = radar
                    taken_radars.add(radar)
        pairs = [
            (radar, image)
            for radar, image in best_of_radar.items()
            if image is not None and best_of_image.get(image) == radar
        ]
        alone = [
            [entry for entry in self._older(RADAR, image_mark - self._slop) if entry[1] not in best_of_radar],
            [entry for entry in self._older(IMAGE, radar_mark - self._slop) if entry[1] not in best_of_image],
        ]
        if pairs or alone[RADAR] or alone[IMAGE]:
            self._settle(pairs, alone, decision)

    def _older(self, stream: int, time: int) -> list[_Entry]:
        entries = self._waiting[stream]
        return entries[: bisect_left(entries, (time, _NEVER))]

    def _among(self, stream: int, numbers: set[int]) -> list[_Entry]:
        return [entry for entry in self._waiting[stream] if entry[1] in numbers]

    def _decide_oldest(self, stream: int, decision: Decision[T]) -> None:
        oldest = self._waiting[stream][0]
        pairs = [pair for pair in _greedy(self._edges) if pair[stream] == oldest[1]]
        alone: list[list[_Entry]] = [[], []]
        if not pairs:
            alone[stream] = [oldest]
        self._settle(pairs, alone, decision)

    def _settle(self, pairs: list[tuple[int, int]], alone: list[list[_Entry]], decision: Decision[T]) -> None:
        """Take what is decided out of the undecided and into the decision."""
        gone = {number for pair in pairs for number in pair} | {number for side in alone for _, number in side}
        for radar, image in sorted(pairs, key=lambda pair: (self._held[pair[RADAR]][0], pair[RADAR])):
            (radar_time, radar_item), (image_time, image_item) = self._held[radar], self._held[image]
            decision.pairs.append(
                Matched(
                    radar=radar_item,
                    image=image_item,
                    radar_stamp_ns=radar_time - self._offsets[RADAR],
                    image_stamp_ns=image_time - self._offsets[IMAGE],
                    difference_ns=image_time - radar_time,
                )
            )
        for stream in (RADAR, IMAGE):
            decision.unpaired[stream].extend(self._held[number][1] for _, number in alone[stream])
            self._waiting[stream][:] = [entry for entry in self._waiting[stream] if entry[1] not in gone]
        self._edges = [edge for edge in self._edges if edge[3] not in gone and edge[4] not in gone]
        for number in gone:
            del self._held[number]


def is_stamp(stamp_ns: int | None) -> TypeGuard[int]:
    """Whether a message can be paired by its stamp: later than 0, and with seconds that fit the 32 bits of a Time."""
    return stamp_ns is not None and 0 < stamp_ns < 2**31 * _SECOND


def stamped(stamps_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) which messages can be paired by their stamps, see ``is_stamp``."""
    return (stamps_ns > 0) & (stamps_ns < 2**31 * _SECOND)


def stamp_fault(topic: str, stamps_ns: NDArray[np.int64]) -> str:
    """What makes stamps tell badly which messages belong together, in words; empty where they rise.

    Args:
        topic: of the messages.
        stamps_ns: (N,) of them, in the order of the bag.
    """
    told = stamped(stamps_ns)
    steps = np.diff(stamps_ns[told])
    faults = {
        'are 0 or no time': np.count_nonzero(~told),
        'repeat the one before': np.count_nonzero(steps == 0),
        'are earlier than the one before': np.count_nonzero(steps < 0),
    }
    found = ', '.join(f'{count} {what}' for what, count in faults.items() if count)
    if not found:
        return ''
    hint = '`radio-visual-ssl pair --stamps reception` pairs by the time of recording'
    return f'topic {topic}: of {stamps_ns.size} stamps {found}: what belongs together by them may be wrong; {hint}'


def _greedy(edges: Iterable[_Edge]) -> list[tuple[int, int]]:
    """(radar, image) sequence numbers of the pairs among sorted candidates."""
    taken: set[int] = set()
    pairs = []
    for *_, radar, image in edges:
        if radar not in taken and image not in taken:
            taken |= {radar, image}
            pairs.append((radar, image))
    return pairs


def seconds_to_ns(name: str, seconds: float) -> int:
    """Offset or tolerance of stamps in ns.

    Raises:
        ValueError: not a number, or beyond 1e9 s either way; the message begins with the name.
    """
    if not abs(seconds) <= _MOST_SECONDS:
        raise ValueError(f'{name}: expected 1e9 s at most, either way, got {seconds}')
    return round(seconds * _SECOND)


def match_stamps(
    radar_ns: NDArray[np.int64],
    image_ns: NDArray[np.int64],
    slop_ns: int,
    *,
    radar_offset_ns: int = 0,
    image_offset_ns: int = 0,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair whole streams.

    Args:
        radar_ns: (R,) stamps in any order.
        image_ns: (I,) stamps in any order.
        slop_ns: largest difference of a pair.
        radar_offset_ns: added to the radar's stamps.
        image_offset_ns: added to the images' stamps.

    Returns:
        Indices into the radar frames and into the images, (pairs,) each, in the order of the radar's stamps. Of equal
        stamps of one stream the first comes first.

    Raises:
        ValueError: a negative slop, or stamps that are no list of integers.
    """
    if slop_ns < 0:
        raise ValueError(f'slop_ns: expected 0 ns or more, got {slop_ns} ns')
    radar = _Stamps('radar_ns', radar_ns, radar_offset_ns)
    image = _Stamps('image_ns', image_ns, image_offset_ns)
    found: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    while radar.open.size and image.open.size:
        # two times that are each other's nearest are a pair, whatever becomes of the others
        to_image, image_near = _nearest(radar.times[radar.open], image.times[image.open], slop_ns)
        to_radar, radar_near = _nearest(image.times[image.open], radar.times[radar.open], slop_ns)
        mutual = np.flatnonzero(image_near & (to_radar[to_image] == np.arange(radar.open.size)))
        if not mutual.size:
            break
        members = radar.open[mutual], image.open[to_image[mutual]]
        count = np.minimum(radar.left[members[0]], image.left[members[1]])
        found.append((radar.take(members[0], count), image.take(members[1], count)))
        radar.forget(image_near)
        image.forget(radar_near)
    if not found:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    radars, images = (np.concatenate(side) for side in zip(*found, strict=True))
    order = np.lexsort((radars, np.asarray(radar_ns)[radars]))
    return radars[order], images[order]


class _Stamps:
    """The times of one stream, each with the messages that bear it.

    Attributes:
        times: (U,) different times, ascending.
        left: (U,) messages of each that are not in a pair.
        open: indices of the times that may still find a partner.
    """

    def __init__(self, name: str, stamps: NDArray[np.int64], offset_ns: int) -> None:
        values = np.asarray(stamps)
        if values.ndim != 1 or (values.size and not np.issubdtype(values.dtype, np.integer)):
            raise ValueError(f'{name}: expected a list of integers (ns), got {values.dtype} of shape {values.shape}')
        values = values.astype(np.int64) + offset_ns
        self._order = np.argsort(values, kind='stable')
        self.times, self._next, self.left = np.unique(values[self._order], return_index=True, return_counts=True)
        self.open = np.arange(self.times.size)

    def take(self, which: NDArray[np.intp], count: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices of the first ``count`` messages of each of the given times, which are no longer left then."""
        start = np.repeat(self._next[which] - np.cumsum(count) + count, count)
        self._next[which] += count
        self.left[which] -= count
        return self._order[start + np.arange(start.size)]

    def forget(self, near: NDArray[np.bool_]) -> None:
        """Close what has no candidate (one flag per open time) or no message left."""
        self.open = self.open[near & (self.left[self.open] > 0)]


def _nearest(
    times: NDArray[np.int64], others: NDArray[np.int64], slop_ns: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Index of the nearest other of each time, the earlier of two, and whether it is within the slop."""
    after = np.searchsorted(others, times)
    before = np.maximum(after - 1, 0)
    after = np.minimum(after, others.size - 1)
    chosen = np.where(np.abs(times - others[before]) <= np.abs(others[after] - times), before, after)
    return chosen, np.abs(others[chosen] - times) <= slop_ns


def pair_to_message(
    pair: Matched[Any],
    index: int,
    types: MessageTypes,
    *,
    radar_topic: str,
    image_topic: str,
    frame_id: str,
    radar_offset_ns: int = 0,
    image_offset_ns: int = 0,
) -> Any:
    """radio_visual_ssl/Pair.

    Args:
        pair: the pair.
        index: of the pair within its recording, from 0 on.
        types: makes the message classes.
        radar_topic: name that the radar stream has in the bag.
        image_topic: name that the images have in the bag.
        frame_id: of the radar frame, see ``messages.serialized_frame_id``.
        radar_offset_ns: that was added to the radar's stamps.
        image_offset_ns: that was added to the images' stamps.

    Raises:
        MessageError: a stamp beyond what a message holds.
    """
    return types(PAIR_TYPE)(
        header=header(pair.radar_stamp_ns, frame_id, types),
        index=index,
        radar_topic=radar_topic,
        image_topic=image_topic,
        image_stamp=stamp_from_ns(pair.image_stamp_ns, types),
        time_difference=pair.difference_ns / 1e9,
        radar_offset=radar_offset_ns / 1e9,
        image_offset=image_offset_ns / 1e9,
    )
