# SPDX-License-Identifier: Apache-2.0
"""Pairs the radar frames and images of recorded bags: a copy of all messages, with the index of pairs beside them."""

import difflib
import heapq
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.pairing import (
    IMAGE,
    PAIR_TYPE,
    RADAR,
    Decision,
    Matched,
    PairMatcher,
    is_stamp,
    pair_to_message,
    seconds_to_ns,
)
from radio_visual_ssl.bags.reader import BagReader, RawMessage, Stream
from radio_visual_ssl.bags.topics import (
    COMPRESSED_TYPE,
    CUBE_TOPIC,
    CUBE_TYPE,
    HEATMAP_TOPIC,
    IMAGE_TOPIC,
    IMAGE_TYPE,
    PAIRS_TOPIC,
    RADAR_TYPES,
    TRUTH_TOPIC,
    camera_info_topic,
    compressed_image_topic,
    present_image_topic,
    radar_info_topic,
    raw_image_topic,
    velocity_topic,
)
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.share import PACKAGE

STAMPS = ('header', 'reception')

_STAMP = slice(4, 12)  # of a serialized message that begins with a header
_JUMP_NS = 1_000_000_000
_ENOUGH = 20  # messages without a stamp, from the first one on, after which a stream counts as unstamped


@dataclass(frozen=True)
class PairReport:
    """What ``pair_bags`` did.

    Attributes:
        path: of the new bag.
        radar_topic: name of the radar stream in it.
        image_topic: name of the images in it.
        messages: in it, the index of pairs included.
        pairs: in its index.
        unpaired_radar: radar frames without an image.
        unpaired_image: images without a radar frame.
        unstamped: those of both whose header has a stamp of zero (or below), so that they cannot be paired by it.
        resets: how often a stream jumped back in time.
        left_out: messages that are not in the new bag: unpaired ones where only pairs were wanted, and old indices.
        median_difference_s: image minus radar, offsets applied, over the pairs; None without any.
        median_abs_difference_s: of its magnitude.
        max_abs_difference_s: of its magnitude.
        nearest_s: median distance of the radar frames to the nearest image, offsets applied, however large; None
            without any.
        described: whether cubes, or the info of heatmaps, tell what the radar stream is.
    """

    path: Path
    radar_topic: str
    image_topic: str
    messages: int
    pairs: int
    unpaired_radar: int
    unpaired_image: int
    unstamped: int
    resets: int
    left_out: int
    median_difference_s: float | None
    median_abs_difference_s: float | None
    max_abs_difference_s: float | None
    nearest_s: float | None
    described: bool

    def notes(self) -> list[str]:
        """What a user should look at, one line each."""
        notes = []
        if not self.described:
            info = f'{self.radar_topic}_info ({PACKAGE}/msg/HeatmapInfo)'
            notes.append(f'{self.radar_topic} has no {info} beside it: nothing tells that these images are heatmaps')
        if self.unstamped:
            notes.append(f'{self.unstamped} messages have no header stamp (0 or below) and are in no pair')
        if self.resets:
            notes.append(f'jumps of stamps back in time: {self.resets}; nothing was paired across them')
        if self.nearest_s is not None and self.pairs < self.unpaired_radar and self.pairs < self.unpaired_image:
            distance = f'the image nearest to a radar frame is {self.nearest_s:.3f} s away (median)'
            notes.append(f'{distance}; if the clocks differ, the camera offset tells by how much')
        return notes

    def to_json(self) -> dict[str, Any]:
        """Mapping that json.dumps takes; ``unpaired`` counts radar frames, as ``inspect`` does."""
        return {**vars(self), 'path': str(self.path), 'unpaired': self.unpaired_radar}


def pair_bags(
    bags: Sequence[str | Path],
    out: str | Path,
    *,
    radar_topic: str | None = None,
    image_topic: str | None = None,
    slop_s: float = 0.025,
    radar_offset_s: float = 0.0,
    image_offset_s: float = 0.0,
    reordering_s: float = 0.0,
    stamps: str = 'header',
    pairs_only: bool = False,
    rename: Mapping[str, str] | None = None,
    default_names: bool = False,
    compress: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PairReport:
    """Pair recorded streams as a recorder would have done live, and write everything into one new bag.

    The bags are merged by the time of their messages; all messages are copied as they are, and the pairs are listed on
    ``/pairs``, each right behind the message that made it certain. An index of pairs that the bags hold already is
    replaced. Memory holds numbers only; for ``pairs_only`` the two streams are read twice.

    Args:
        bags: rosbag2 folders or files, in any order; a topic that several of them hold becomes one stream.
        out: the new bag, never overwritten.
        radar_topic: heatmaps, best with ``<topic>_info`` beside them, or cubes; None = what ``BagReader.radar_topic``
            finds.
        image_topic: images, of any type, or else the compressed ones of that name; None = ``/camera/image_raw``.
        slop_s: largest difference of a pair.
        radar_offset_s: added to the radar's stamps.
        image_offset_s: added to the images' stamps.
        reordering_s: by how much a message may be older than the latest one of its stream (see ``PairMatcher``).
        stamps: ``'header'``, or ``'reception'``: the time at which the recorder got a message. With the latter a header
            stamp of zero (or below) is replaced by it in the copy, so that the pair can be found by its stamps.
        pairs_only: leave out radar frames and images that are in no pair.
        rename: new names of topics.
        default_names: give the two streams, their info topics and the ground truth the names that other verbs look for.
        compress: zstd.
        progress: called with (messages read, messages to be read).

    Raises:
        BagError: a bag that cannot be read, bags or topics that contradict each other, topics that are missing,
            messages without stamps, or an output that exists or cannot be written.
        ValueError: a setting that cannot be.
    """
    if stamps not in STAMPS:
        raise ValueError(f'stamps: expected {" or ".join(STAMPS)}, got {stamps!r}')
    sources = _Sources([Path(bag) for bag in bags])
    topics = (radar_topic or sources.radar_topic(), sources.image_topic(image_topic))
    if topics[RADAR] == topics[IMAGE]:
        raise BagError(f'expected a radar and an image topic, got {topics[RADAR]} for both')
    described = sources.check_radar(topics[RADAR])
    for topic in topics:
        sources.stream(topic)
        if stamps == 'header':
            sources.check_header(topic)
    names = sources.new_names(rename or {}, _default_names(sources.streams, topics) if default_names else {})
    offsets = (seconds_to_ns('radar_offset_s', radar_offset_s), seconds_to_ns('image_offset_s', image_offset_s))
    reordering_ns = seconds_to_ns('reordering_s', reordering_s)
    matcher: PairMatcher[_Member] = PairMatcher(
        seconds_to_ns('slop_s', slop_s),
        radar_offset_ns=offsets[RADAR],
        image_offset_ns=offsets[IMAGE],
        reordering_ns=reordering_ns,
        jump_ns=max(_JUMP_NS, 2 * reordering_ns),  # as RecordingSession has it
    )
    pairing = _Pairing(sources, topics, matcher, stamps == 'reception')
    once = sum(stream.count for stream in sources.streams.values())
    twice = sum(sources.streams[topic].count for topic in topics) if pairs_only else 0
    tick = _Progress(progress, once + twice)
    with BagWriter(out, compress=compress) as bag:
        if pairs_only:
            for place, message in _with_places(sources.messages(topics), topics):
                tick()
                pairing.take(place, message)
            pairing.finish()
        for topic, name in names.items():
            sources.declare(bag, topic, name)
        bag.add_topic(PAIRS_TOPIC, PAIR_TYPE)
        written = index = 0

        def write_pairs(pairs: Sequence[Matched[_Member]], time_ns: int) -> None:
            nonlocal index
            for pair in pairs:
                found = pair_to_message(
                    pair,
                    index,
                    RosbagsTypes(),
                    radar_topic=names[topics[RADAR]],
                    image_topic=names[topics[IMAGE]],
                    frame_id=pair.radar.frame_id,
                    radar_offset_ns=offsets[RADAR],
                    image_offset_ns=offsets[IMAGE],
                )
                bag.write(PAIRS_TOPIC, time_ns, found)
                index += 1

        for place, message in _with_places(sources.messages(names), topics):
            tick()
            if not pairs_only:
                pairing.take(place, message)
            if place is None or not pairs_only or place in pairing.paired:
                data = pairing.stamped(place, message)
                bag.write_serialized(names[message.topic], message.time_ns, message.type, data)
                written += 1
            write_pairs(pairing.pairs.pop(place, ()), message.time_ns)
        if not pairs_only:
            pairing.finish()
        write_pairs(pairing.last_pairs, pairing.latest_ns)
    differences = np.array(pairing.differences)
    radar_times, image_times = (
        np.array(times, np.int64) + offset for times, offset in zip(pairing.stamps, offsets, strict=True)
    )
    return PairReport(
        path=Path(out),
        radar_topic=names[topics[RADAR]],
        image_topic=names[topics[IMAGE]],
        messages=written + index,
        pairs=index,
        unpaired_radar=pairing.counts[RADAR] - index,
        unpaired_image=pairing.counts[IMAGE] - index,
        unstamped=sum(pairing.counts) - radar_times.size - image_times.size,
        resets=pairing.resets,
        left_out=sources.count - written,
        median_difference_s=float(np.median(differences)) / 1e9 if index else None,
        median_abs_difference_s=float(np.median(np.abs(differences))) / 1e9 if index else None,
        max_abs_difference_s=float(np.abs(differences).max()) / 1e9 if index else None,
        nearest_s=_nearest_s(radar_times, image_times),
        described=described,
    )


class _Place(NamedTuple):
    """A message of one of the two streams: which stream, and how many came before it in that stream."""

    stream: int
    number: int


class _Member(NamedTuple):
    """What the matcher holds of a message."""

    place: _Place
    stamp_ns: int  # of its header, as the new bag has it; where it has no header, of its reception
    frame_id: str


class _Pairing:
    """Pairs the two streams while their messages pass by.

    Attributes:
        pairs: by the message that made them certain, with the stamps that the new bag has.
        last_pairs: those that the end made certain.
        latest_ns: bag's time of the last message that was paired by.
        paired: members of pairs.
        differences: ns, of all pairs.
        stamps: ns, those of each stream that were paired by.
        counts: messages of each stream.
        resets: jumps back in time.
    """

    def __init__(
        self, sources: '_Sources', topics: tuple[str, str], matcher: PairMatcher[_Member], by_reception: bool
    ) -> None:
        self.pairs: dict[_Place | None, list[Matched[_Member]]] = {}
        self.last_pairs: list[Matched[_Member]] = []
        self.latest_ns = 0
        self.paired: set[_Place] = set()
        self.differences: list[int] = []
        self.stamps: tuple[list[int], list[int]] = ([], [])
        self.counts = [0, 0]
        self.resets = 0
        self._topics = topics
        self._matcher = matcher
        self._by_reception = by_reception
        self._headers = [sources.has_header(topic) for topic in topics]

    def take(self, place: _Place | None, message: RawMessage) -> None:
        """Look at a message; those that are of neither stream are passed over.

        Raises:
            BagError: it cannot be read, or the stream has no stamps.
        """
        if place is None:
            return
        side = place.stream
        self.counts[side] += 1
        own, frame_id = message.time_ns, ''
        if self._headers[side]:
            own = self._stamp_ns(message)
            try:
                frame_id = messages.serialized_frame_id(message.data)
            except messages.MessageError as error:
                raise BagError(f'topic {message.topic}: {error}') from error
        if not is_stamp(own):
            if self.counts[side] == _ENOUGH and not self.stamps[side]:
                raise _unstamped(self._topics[side], f'the first {_ENOUGH}')
            return
        stamp_ns = message.time_ns if self._by_reception else own
        self.stamps[side].append(stamp_ns)
        self.latest_ns = message.time_ns
        found = self._accept(self._matcher.add(side, stamp_ns, _Member(place, own, frame_id)))
        if found:
            self.pairs[place] = found

    def finish(self) -> None:
        """Decide what is left.

        Raises:
            BagError: a stream has no stamps.
        """
        for side in (RADAR, IMAGE):
            if self.counts[side] and not self.stamps[side]:
                raise _unstamped(self._topics[side], f'all {self.counts[side]}')
        self.last_pairs = self._accept(self._matcher.flush())

    def stamped(self, place: _Place | None, message: RawMessage) -> bytes:
        """The message as the new bag has it."""
        if place is None or not (self._by_reception and self._headers[place.stream]):
            return message.data
        own = self._stamp_ns(message)
        if messages.serialized_stamp_ns(message.data) == own:
            return message.data
        stamp = struct.pack('<iI' if message.data[1] & 1 else '>iI', *divmod(own, 1_000_000_000))
        return b''.join((message.data[: _STAMP.start], stamp, memoryview(message.data)[_STAMP.stop :]))

    def _stamp_ns(self, message: RawMessage) -> int:
        """Of the header; the reception's where that is none and pairing goes by reception."""
        try:
            own = messages.serialized_stamp_ns(message.data)
        except messages.MessageError as error:
            raise BagError(f'topic {message.topic}: {error}') from error
        return message.time_ns if self._by_reception and not is_stamp(own) else own

    def _accept(self, decision: Decision[_Member]) -> list[Matched[_Member]]:
        self.resets += decision.reset
        for pair in decision.pairs:
            self.paired |= {pair.radar.place, pair.image.place}
            self.differences.append(pair.difference_ns)
        return [replace(x, radar_stamp_ns=x.radar.stamp_ns, image_stamp_ns=x.image.stamp_ns) for x in decision.pairs]


def _with_places(source: Iterator[RawMessage], topics: tuple[str, str]) -> Iterator[tuple[_Place | None, RawMessage]]:
    """Each message, with its place if it is of one of the two streams."""
    counts = [0, 0]
    for message in source:
        if message.topic in topics:
            side = topics.index(message.topic)
            yield _Place(side, counts[side]), message
            counts[side] += 1
        else:
            yield None, message


class _Sources:
    """Several bags as one.

    Attributes:
        streams: of all bags, without old indices of pairs.
        count: messages of all bags, those included.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise BagError('expected at least one bag, got none')
        resolved = [path.resolve() for path in paths]
        twice = next((path for path, real in zip(paths, resolved, strict=True) if resolved.count(real) > 1), None)
        if twice is not None:
            raise BagError(f'{twice}: expected different bags, got this one twice')
        self._bags = [BagReader(path) for path in paths]
        self.streams: dict[str, Stream] = {}
        self.count = 0
        first: dict[str, BagReader] = {}
        hashes: dict[str, tuple[str, Path]] = {}
        for bag in self._bags:
            for topic, stream in sorted(bag.streams.items()):
                self.count += stream.count
                known = self.streams.get(topic)
                if known is not None and known.type != stream.type:
                    expected = f'expected {known.type} as in {first[topic].path}'
                    raise BagError(f'{bag.path}: topic {topic}: {expected}, got {stream.type}')
                same, where = hashes.setdefault(stream.type, (stream.type_hash, bag.path))
                if same and stream.type_hash and stream.type_hash != same:
                    expected = f'expected the definition of {stream.type} that {where} has'
                    raise BagError(f'{bag.path}: topic {topic}: {expected}, got another one')
                if stream.type != PAIR_TYPE:
                    first.setdefault(topic, bag)
                    self.streams[topic] = replace(known or stream, count=stream.count + (known.count if known else 0))
        if PAIRS_TOPIC in self.streams:
            got = f'got {self.streams[PAIRS_TOPIC].type}; give it another name'
            raise BagError(
                f'{first[PAIRS_TOPIC].path}: topic {PAIRS_TOPIC}: expected {PAIR_TYPE} or no such topic, {got}'
            )
        self._first = first

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Messages of these topics, in the order of the bags' time."""
        chosen = [(bag, [topic for topic in topics if topic in bag.streams]) for bag in self._bags]
        sources = [bag.raw_messages(present) for bag, present in chosen if present]
        return heapq.merge(*sources, key=lambda message: message.time_ns)

    def stream(self, topic: str) -> Stream:
        """The stream of a topic.

        Raises:
            BagError: no bag has it; the message lists what there is.
        """
        if topic not in self.streams:
            similar = difflib.get_close_matches(topic, self.streams, n=3, cutoff=0.5)
            present = ', '.join(f'{name} ({known.type})' for name, known in sorted(self.streams.items())) or 'no topics'
            hint = f' (did you mean {" or ".join(similar)}?)' if similar else ''
            raise BagError(f'{self._names()}: expected topic {topic}{hint}, found {present}')
        return self.streams[topic]

    def radar_topic(self) -> str:
        """The default name where there is one, or else the only heatmaps (or cubes) of a bag."""
        for topic in (HEATMAP_TOPIC, CUBE_TOPIC):
            if topic in self.streams:
                return topic
        found = next((bag for bag in self._bags if bag.has_radar()), None)
        return found.radar_topic() if found is not None else self._missing('radar', HEATMAP_TOPIC)

    def image_topic(self, named: str | None) -> str:
        """Where the images of a name are, see ``present_image_topic``; None = of the default name."""
        topic = present_image_topic(named or IMAGE_TOPIC, self.streams)
        return topic if named or topic in self.streams else self._missing('image', IMAGE_TOPIC)

    def check_radar(self, topic: str) -> bool:
        """Refuse a topic that is no radar's.

        Returns:
            Whether the info beside it tells what it is: of images alone nothing does.

        Raises:
            BagError: no such topic, or neither cubes nor images.
        """
        kind, info = self.stream(topic).type, self.streams.get(f'{topic}_info')
        if kind not in RADAR_TYPES:
            expected = f'expected {CUBE_TYPE}, or heatmaps ({IMAGE_TYPE}) with {topic}_info beside them'
            raise BagError(f'{self._first[topic].path}: topic {topic}: {expected}, got {kind}')
        return kind == CUBE_TYPE or (info is not None and info.type == f'{PACKAGE}/msg/HeatmapInfo')

    def has_header(self, topic: str) -> bool:
        """Whether the messages of a topic begin with a header."""
        return self._first[topic].has_header(topic)

    def check_header(self, topic: str) -> None:
        """Refuse a topic without header stamps.

        Raises:
            BagError: its messages have no header.
        """
        if not self.has_header(topic):
            expected = 'expected messages that begin with a std_msgs/Header'
            hint = 'stamps of reception can be used instead'
            raise BagError(
                f'{self._first[topic].path}: topic {topic}: {expected}, got {self.streams[topic].type}; {hint}'
            )

    def new_names(self, wanted: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, str]:
        """New name of each topic.

        Raises:
            BagError: an unknown topic, a bad name, or one name for two topics.
        """
        for old in wanted:
            self.stream(old)
        names = {topic: {**defaults, **wanted}.get(topic, topic) for topic in sorted(self.streams)}
        owner = {PAIRS_TOPIC: 'the index of pairs'}
        for old, new in names.items():
            if not new.startswith('/') or new != new.rstrip('/'):
                raise BagError(f'topic {old}: expected a new name with a leading slash, got {new!r}')
            if new in owner:
                raise BagError(f'topic {old}: expected a new name of its own, got {new}, the name of {owner[new]}')
            owner[new] = old
        return names

    def declare(self, bag: BagWriter, topic: str, name: str) -> None:
        """Declare a topic in the new bag, with the definition that the old one has."""
        bag.add_stream(name, self.streams[topic])

    def _missing(self, what: str, topic: str) -> str:
        present = ', '.join(f'{name} ({known.type})' for name, known in sorted(self.streams.items())) or 'no topics'
        raise BagError(f'{self._names()}: expected the {what} topic to be named, or {topic}; found {present}')

    def _names(self) -> str:
        return ', '.join(str(bag.path) for bag in self._bags)


def _default_names(streams: Mapping[str, Stream], topics: tuple[str, str]) -> dict[str, str]:
    """Names that other verbs look for, of the two streams, of what describes them, and of the truth about them."""
    radar, image = topics
    kind = streams[radar].type
    default = CUBE_TOPIC if kind == CUBE_TYPE else HEATMAP_TOPIC
    names = {radar: default, radar_info_topic(radar, kind): radar_info_topic(default, kind)}
    if default == HEATMAP_TOPIC:
        names[velocity_topic(radar)] = velocity_topic(HEATMAP_TOPIC)
    transport = image.removeprefix(raw_image_topic(image))
    if streams[image].type == COMPRESSED_TYPE and not transport:
        names[image] = compressed_image_topic(IMAGE_TOPIC)
    else:
        names[image] = f'{IMAGE_TOPIC}{transport}'
    names[camera_info_topic(image)] = camera_info_topic(IMAGE_TOPIC)
    truths = [t for t, s in streams.items() if s.type == f'{PACKAGE}/msg/TargetArray' and t.endswith(TRUTH_TOPIC)]
    if truths:  # that of the radar's own namespace
        names[max(truths, key=lambda topic: len(commonpath([topic, radar])))] = TRUTH_TOPIC
    return {topic: name for topic, name in names.items() if topic in streams}


class _Progress:
    """Counts messages and tells how many are done."""

    def __init__(self, report: Callable[[int, int], None] | None, total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._report is not None:
            self._report(self._done, self._total)


def _unstamped(topic: str, which: str) -> BagError:
    hint = 'stamps of reception can be used instead'
    return BagError(f'topic {topic}: expected header stamps, got 0 in {which} messages; {hint}')


def _nearest_s(radar: NDArray[np.int64], image: NDArray[np.int64]) -> float | None:
    """Median distance of the radar frames to the nearest image, s."""
    if not radar.size or not image.size:
        return None
    images = np.sort(image)
    after = np.searchsorted(images, radar)
    sides = images[np.maximum(after - 1, 0)], images[np.minimum(after, images.size - 1)]
    return float(np.median(np.minimum(*(np.abs(side - radar) for side in sides)))) / 1e9
