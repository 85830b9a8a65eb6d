# SPDX-License-Identifier: Apache-2.0
"""Reads rosbags of radar and camera streams: raw messages, decoded ones, and frames paired by time."""

import os
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype, Qos, QosDurability
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.pairing import PAIR_TYPE, seconds_to_ns
from radio_visual_ssl.bags.topics import (
    CUBE_TOPIC,
    CUBE_TYPE,
    HEATMAP_TOPIC,
    IMAGE_TOPIC,
    IMAGE_TYPE,
    PICTURE_TYPES,
    RADAR_TYPES,
    TRUTH_TOPIC,
    camera_info_topic,
    present_image_topic,
    radar_info_topic,
    velocity_topic,
)
from radio_visual_ssl.bags.transforms import CarriedFrame, StaticTransforms
from radio_visual_ssl.bags.typestore import OlderType, typestore
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.share import PACKAGE
from radio_visual_ssl.vision.camera import CameraModel

if TYPE_CHECKING:
    from radio_visual_ssl.radar.formation import FormationSettings


@dataclass(frozen=True)
class Stream:
    """One topic of a bag.

    Attributes:
        type: such as ``'sensor_msgs/msg/Image'``.
        count: messages.
        qos: profiles that the recorded publishers offered; empty where the bag does not say.
        definition: message definition text, empty where the bag has none.
        definition_format: ``'msg'``, ``'idl'``, or empty.
        type_hash: RIHS01 hash of the type, empty where the bag does not say.
    """

    type: str
    count: int
    qos: tuple[Qos, ...]
    definition: str
    definition_format: str
    type_hash: str = ''

    @property
    def latched(self) -> bool:
        """Whether a late subscriber gets the last message (transient local)."""
        return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in self.qos)


class RawMessage(NamedTuple):
    """A message as the bag holds it: topic, type, time of the bag (ns) and CDR bytes."""

    topic: str
    type: str
    time_ns: int
    data: bytes


@dataclass(frozen=True, eq=False)
class Frame:
    """One radar frame with what belongs to it.

    Attributes:
        stamp_ns: of the heatmap (or cube), acquisition time.
        frame_id: radar frame.
        heatmap: measured, or formed from the cube.
        image: (H, W, 3) uint8 RGB, the nearest in time, or None.
        image_stamp_ns: the image's own stamp, without the offset that paired it.
        truth: ground truth of this frame; None where the bag holds none for it, empty where it was looked at in vain.
    """

    stamp_ns: int
    frame_id: str
    heatmap: Heatmap
    image: NDArray[np.uint8] | None = None
    image_stamp_ns: int | None = None
    truth: list[Target] | None = None


class BagReader:
    """Reads a rosbag2 folder (MCAP or SQLite), or a lone .mcap or .db3 file.

    Types of this package that lacked fields in the version that made the bag read as this version has them.

    Each iteration reads its own way through the bag, so several may run at once, in other threads or forked processes
    too. The files stay open for the next one until the reader is gone.

    Args:
        path: of the bag.

    Raises:
        BagError: no such bag, a ROS 1 bag, a folder without metadata.yaml, or a damaged one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # by process: a forked one may not share the place in an open file
        self._idle: dict[int, list[Reader]] = {}
        weakref.finalize(self, _close_idle, self._idle)
        _refuse_other_files(self.path)
        with self._open() as reader:
            self.streams = _streams(self.path, reader.connections)
            self._older = _older_types(self.streams)
            self.start_ns = reader.start_time if reader.message_count else 0
            self.end_ns = reader.end_time - 1 if reader.message_count else 0

    def raw_messages(self, topics: Collection[str] | None = None, start_ns: int | None = None) -> Iterator[RawMessage]:
        """Messages in the order of the bag's time, as they are stored, but for types of older versions.

        Args:
            topics: only these; None = all.
            start_ns: from this time of the bag on.

        Raises:
            BagError: a topic that the bag lacks, or damaged data.
        """
        for topic in topics or ():
            self.stream(topic)
        return self._raw_messages(topics, start_ns)

    def _raw_messages(self, topics: Collection[str] | None, start_ns: int | None) -> Iterator[RawMessage]:
        with self._open() as reader:
            chosen = [x for x in reader.connections if topics is None or x.topic in topics]
            if not chosen:
                return
            for connection, time_ns, data in reader.messages(chosen, start=start_ns):
                older = self._older.get(connection.topic)
                now = data if older is None else self._completed(older, connection, data)
                yield RawMessage(connection.topic, connection.msgtype, time_ns, now)

    def _completed(self, older: OlderType, connection: Connection, data: bytes) -> bytes:
        try:
            return older.completed(data)
        except Exception as error:  # rosbags raises whatever the broken bytes provoke
            got = f'{len(data)} bytes that are not one ({error!r})'
            raise BagError(
                f'{self.path}: topic {connection.topic}: expected a {connection.msgtype}, got {got}'
            ) from error

    def messages(self, topic: str) -> Iterator[tuple[int, Any]]:
        """(Time of the bag in ns, decoded message) of one topic, as rosbags dataclasses.

        Raises:
            BagError: the bag lacks the topic, its type is not one of ours or has another definition, or damaged data.
        """
        for message in self.raw_messages([topic]):
            yield message.time_ns, self.decode(message)

    def decode(self, message: RawMessage) -> Any:
        """Decoded message, a rosbags dataclass.

        Raises:
            BagError: a type that is unknown or differs from the one of this name here, or damaged data.
        """
        self._check_definition(message.topic)
        try:
            return typestore().deserialize_cdr(message.data, message.type)
        except Exception as error:  # rosbags raises whatever the broken bytes provoke
            got = f'{len(message.data)} bytes that are not one ({error!r})'
            raise BagError(f'{self.path}: topic {message.topic}: expected a {message.type}, got {got}') from error

    def stream(self, topic: str, *types: str) -> Stream:
        """The stream of a topic, which must be of one of ``types`` where any are given.

        Raises:
            BagError: no such topic, or of another type; the message lists what the bag has.
        """
        stream = self.streams.get(topic)
        if stream is None:
            present = ', '.join(f'{name} ({known.type})' for name, known in sorted(self.streams.items()))
            wanted = f' ({" or ".join(types)})' if types else ''
            raise BagError(f'{self.path}: expected topic {topic}{wanted}, found {present or "no topics"}')
        if types and stream.type not in types:
            raise BagError(f'{self.path}: topic {topic}: expected type {" or ".join(types)}, got {stream.type}')
        return stream

    def stamps(self, topic: str) -> NDArray[np.int64]:
        """(count,) ns, in the order of the bag: header stamps where the type begins with a header, else the bag's time.

        Raises:
            BagError: the bag lacks the topic, or damaged data.
        """
        read = self.stamp_reader(topic)
        return np.array([read(message) for message in self.raw_messages([topic])], dtype=np.int64)

    def stamp_reader(self, topic: str) -> Callable[[RawMessage], int]:
        """Function that tells a message's stamp, ns, as ``stamps`` does, without decoding it."""
        if not self.has_header(topic):
            return lambda message: message.time_ns

        def header_stamp(message: RawMessage) -> int:
            try:
                return messages.serialized_stamp_ns(message.data)
            except messages.MessageError as error:
                raise BagError(f'{self.path}: topic {topic}: {error}') from error

        return header_stamp

    def camera(self, image_topic: str = IMAGE_TOPIC, radar_frame: str = '') -> CameraModel | None:
        """The camera of an image topic, from camera_info beside it and /tf_static.

        None where the bag lacks either, or the camera is not calibrated.

        Args:
            image_topic: the image's.
            radar_frame: frame_id of the heatmaps; the camera projects places of this frame.

        Raises:
            BagError: a camera_info or transform that is wrong.
        """
        info_topic = camera_info_topic(image_topic)
        if info_topic not in self.streams:
            return None
        self.stream(info_topic, 'sensor_msgs/msg/CameraInfo')
        info = next((message for _, message in self.messages(info_topic)), None)
        if info is None or not messages.is_calibrated(info):
            return None
        mounting = self.transform(info.header.frame_id, radar_frame)
        if mounting is None:
            return None
        try:
            return messages.camera_from_info(info, *mounting)
        except messages.MessageError as error:
            raise BagError(f'{self.path}: topic {info_topic}: {error}') from error

    def transform(self, target: str, source: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Rotation (3, 3) and translation (3,) m that take places of ``source`` to ``target``; None: not connected.

        Raises:
            BagError: a transform in /tf_static that is wrong.
        """
        return self._static_transforms.between(target, source)

    def trajectory(self, frame_id: str, stamps_ns: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """(N, 3) x, y (m) and yaw (rad) of a frame over the ground at some times, by /tf; see `CarriedFrame`.

        Args:
            frame_id: such as the radar's.
            stamps_ns: (N,) times.

        Returns:
            None where the bag does not tell how the frame moves.

        Raises:
            BagError: transforms of another type, or one on the way to the ground is wrong.
        """
        carried = CarriedFrame(frame_id)
        try:
            for topic, add in (('/tf_static', carried.add_static), ('/tf', carried.add)):
                if topic in self.streams:
                    self.stream(topic, 'tf2_msgs/msg/TFMessage')
                    for _, message in self.messages(topic):
                        add(message)
            return carried.trajectory(stamps_ns)
        except messages.MessageError as error:
            raise BagError(f'{self.path}: topic /tf or /tf_static: {error}') from error

    def has_radar(self) -> bool:
        """Whether the bag holds heatmaps or cubes at all."""
        return any(stream.type == CUBE_TYPE or self._is_heatmap(name, stream) for name, stream in self.streams.items())

    def radar_topic(self) -> str:
        """The bag's heatmap topic, or else its cube topic: the default one, or the only one of its type.

        Raises:
            BagError: the bag has neither, or several and none of the default name.
        """
        heatmaps = [name for name, stream in self.streams.items() if self._is_heatmap(name, stream)]
        cubes = [name for name, stream in self.streams.items() if stream.type == CUBE_TYPE]
        for default, found in ((HEATMAP_TOPIC, heatmaps), (CUBE_TOPIC, cubes)):
            if default in found:
                return default
            if len(found) == 1:
                return found[0]
            if found:
                hint = '`radio-visual-ssl pair BAG --radar-topic NAME --default-names --out NEW` makes a bag with one'
                several = f'found several: {", ".join(found)}; {hint}'
                raise BagError(f'{self.path}: expected {default}, or one such topic only, {several}')
        self.stream(HEATMAP_TOPIC)
        info_topic = radar_info_topic(HEATMAP_TOPIC, IMAGE_TYPE)
        raise BagError(f'{self.path}: expected {info_topic} beside {HEATMAP_TOPIC}, found none')

    def image_topic(self, topic: str = IMAGE_TOPIC) -> str:
        """Where the images of this name are: in the raw ones, or else in the compressed ones of that name.

        Raises:
            BagError: the bag has neither, or they are of another type.
        """
        present = present_image_topic(topic, self.streams)
        self.stream(present, *PICTURE_TYPES)
        return present

    def radar_name(self) -> str:
        """Name of the radar as the bag's info messages have it; empty where they name none."""
        topic = self.radar_topic()
        info_topic = radar_info_topic(topic, self.streams[topic].type)
        self.stream(info_topic)
        for _, info in self.messages(info_topic):
            return str(info.radar)
        return ''

    def radar_geometry(self) -> RadarGeometry | None:
        """The radar and its heatmaps as the first of them shows them; None where there is none.

        Raises:
            BagError: as ``frames``, or that heatmap is damaged.
        """
        frame = next(self.frames(image_topic=None, truth_topic=None), None)
        return None if frame is None else RadarGeometry.of(frame.heatmap)

    def paired_offset_s(self) -> float:
        """Seconds to add to the image stamps, as the bag's own index of pairs has it; 0 without one.

        Raises:
            BagError: damaged data.
        """
        for topic, stream in self.streams.items():
            if stream.type == PAIR_TYPE:
                for _, pair in self.messages(topic):
                    return float(pair.image_offset - pair.radar_offset)
        return 0.0

    def frames(
        self,
        radar_topic: str | None = None,
        image_topic: str | None = IMAGE_TOPIC,
        truth_topic: str | None = TRUTH_TOPIC,
        *,
        slop_s: float = 0.05,
        image_offset_s: float | None = None,
        start_ns: int | None = None,
        formation: 'FormationSettings | None' = None,
        on_bad_image: Callable[[BagError], None] | None = None,
    ) -> Iterator[Frame]:
        """Radar frames in the bag's order, each with the image and the ground truth nearest in time.

        An image may belong to several radar frames. Streams are read side by side: memory holds the images of about
        ``slop_s``, however long the bag. A stream whose stamps jump back pairs badly from there on.

        Args:
            radar_topic: heatmaps (with ``<topic>_info`` beside them) or cubes (with ``info`` beside them, from which
                heatmaps are formed); None = what ``radar_topic()`` finds.
            image_topic: raw images, or else the compressed ones of that name; None = without. The default one may be
                missing.
            truth_topic: TargetArray, of the frame's stamp or within half a radar period; None = without. The default
                one may be missing.
            slop_s: s, largest distance between a radar frame and its image.
            image_offset_s: s, added to the image stamps before pairing; None = the one of the bag's own pairs, see
                ``paired_offset_s``.
            start_ns: radar frames from this time of the bag on; None = all.
            formation: how heatmaps are formed from cubes.
            on_bad_image: called with what is wrong with an image that cannot be decoded, and its frame goes without;
                None = that error is raised.

        Raises:
            BagError: a topic is missing or of another type, or messages that contradict each other or are damaged.
            ValueError: an offset that is not a number, or beyond all reason.
        """
        if slop_s < 0:
            raise BagError(f'{self.path}: slop_s: expected 0 s or more, got {slop_s} s')
        radar = radar_topic or self.radar_topic()
        to_heatmap = self.heatmap_decoder(radar, formation)
        if image_topic is not None:
            present = present_image_topic(image_topic, self.streams)
            image_topic = self._optional(present, IMAGE_TOPIC, *PICTURE_TYPES)
        if image_offset_s is None:
            image_offset_s = self.paired_offset_s() if image_topic is not None else 0.0
        images = self._nearest(image_topic, image_offset_s)
        truths = self._nearest(self._optional(truth_topic, TRUTH_TOPIC, f'{PACKAGE}/msg/TargetArray'))
        return self._frames(radar, to_heatmap, images, truths, round(slop_s * 1e9), start_ns, on_bad_image)

    def _frames(
        self,
        radar: str,
        to_heatmap: Callable[[RawMessage], tuple[str, Heatmap]],
        images: Callable[[int, int], tuple[int, RawMessage] | None],
        truths: Callable[[int, int], tuple[int, RawMessage] | None],
        slop_ns: int,
        start_ns: int | None,
        on_bad_image: Callable[[BagError], None] | None,
    ) -> Iterator[Frame]:
        stamp_of = self.stamp_reader(radar)
        for message, period_ns in _with_period(self.raw_messages([radar], start_ns), stamp_of):
            stamp_ns = stamp_of(message)
            frame_id, heatmap = to_heatmap(message)
            image = images(stamp_ns, slop_ns)
            truth = truths(stamp_ns, period_ns // 2)
            picture = None
            if image is not None:
                try:
                    picture = self._convert(image[1], messages.image_from_message)
                except BagError as error:
                    if on_bad_image is None:
                        raise
                    on_bad_image(error)
                    image = None
            yield Frame(
                stamp_ns=stamp_ns,
                frame_id=frame_id,
                heatmap=heatmap,
                image=picture,
                image_stamp_ns=None if image is None else image[0],
                truth=None if truth is None else self._convert(truth[1], messages.targets_from_message),
            )

    # Decoding of one radar stream -------------------------------------------------------------------------------------

    def heatmap_decoder(
        self, topic: str, formation: 'FormationSettings | None' = None
    ) -> Callable[[RawMessage], tuple[str, Heatmap]]:
        """Function that gives a radar message's frame_id and heatmap, to be called in the order of the bag.

        It raises BagError for a message that is damaged or contradicts its info, and takes the next one nevertheless.

        Args:
            topic: of heatmaps or cubes, see ``frames``.
            formation: how heatmaps are formed from cubes.

        Raises:
            BagError: the topic or its info is missing or of another type.
        """
        if self.stream(topic, *RADAR_TYPES).type == CUBE_TYPE:
            return self._cube_decoder(topic, formation)
        return self._heatmap_decoder(topic)

    def _heatmap_decoder(self, topic: str) -> Callable[[RawMessage], tuple[str, Heatmap]]:
        info_topic = radar_info_topic(topic, IMAGE_TYPE)
        self.stream(info_topic, f'{PACKAGE}/msg/HeatmapInfo')
        info_at = self._latest(info_topic)
        beside = velocity_topic(topic)
        velocities = self._nearest(self._optional(beside, beside, IMAGE_TYPE))
        stamp_of = self.stamp_reader(topic)

        def decode(message: RawMessage) -> tuple[str, Heatmap]:
            image = self.decode(message)
            velocity = velocities(stamp_of(message), 0)
            try:
                heatmap = messages.heatmap_from_messages(
                    image, info_at(message.time_ns), velocity and self.decode(velocity[1])
                )
            except messages.MessageError as error:
                raise BagError(f'{self.path}: topics {topic}, {info_topic}: {error}') from error
            return image.header.frame_id, heatmap

        return decode

    def _cube_decoder(
        self, topic: str, settings: 'FormationSettings | None'
    ) -> Callable[[RawMessage], tuple[str, Heatmap]]:
        from radio_visual_ssl.radar.cube import canonical
        from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer

        info_topic = radar_info_topic(topic, CUBE_TYPE)
        self.stream(info_topic, f'{PACKAGE}/msg/RadarInfo')
        info_at = self._latest(info_topic)
        former: HeatmapFormer | None = None
        formed_for: Any = None

        def decode(message: RawMessage) -> tuple[str, Heatmap]:
            nonlocal former, formed_for
            info, cube = info_at(message.time_ns), self.decode(message)
            try:
                if former is None or info is not formed_for:
                    profile = messages.profile_from_info(info)
                    former, formed_for = HeatmapFormer(profile, settings or FormationSettings()), info
                samples = canonical(messages.cube_from_message(cube), former.profile)
                return cube.header.frame_id, former.form(samples)
            except ValueError as error:
                raise BagError(f'{self.path}: topics {topic}, {info_topic}: {error}') from error

        return decode

    def _convert(self, message: RawMessage, function: Callable[[Any], Any]) -> Any:
        try:
            return function(self.decode(message))
        except messages.MessageError as error:
            raise BagError(f'{self.path}: topic {message.topic}: {error}') from error

    # Walking beside a stream ------------------------------------------------------------------------------------------

    def _nearest(self, topic: str | None, offset_s: float = 0.0) -> Callable[[int, int], tuple[int, RawMessage] | None]:
        """Function of (stamp, slop), both ns, to be called with ascending stamps: nearest (own stamp, message)."""
        if topic is None:
            return lambda stamp_ns, slop_ns: None
        stamp_of = self.stamp_reader(topic)
        source = self.raw_messages([topic])
        offset_ns = seconds_to_ns('image_offset_s', offset_s)
        window: deque[tuple[int, RawMessage]] = deque()

        def nearest(stamp_ns: int, slop_ns: int) -> tuple[int, RawMessage] | None:
            wanted = stamp_ns - offset_ns
            while window and window[0][0] < wanted - slop_ns:
                window.popleft()
            while not window or window[-1][0] <= wanted + slop_ns:
                message = next(source, None)
                if message is None:
                    break
                own = stamp_of(message)
                if own >= wanted - slop_ns:
                    window.append((own, message))
            best = min(window, key=lambda entry: abs(entry[0] - wanted), default=None)
            return best if best and abs(best[0] - wanted) <= slop_ns else None

        return nearest

    def _latest(self, topic: str) -> Callable[[int], Any]:
        """Function of the bag's time, ns, to be called with ascending times: the info message that held then.

        A latched message may be recorded after the first data it describes: before the first one, the first one holds.
        A message that repeats the one before, but for its stamp, is answered with the same object.
        """
        source = self.raw_messages([topic])
        held = next(source, None)
        if held is None:
            raise BagError(f'{self.path}: topic {topic}: expected at least one message, found none')
        content, decoded = held.data[12:], self.decode(held)
        coming = next(source, None)

        def latest(time_ns: int) -> Any:
            nonlocal content, decoded, coming
            while coming is not None and coming.time_ns <= time_ns:
                if coming.data[12:] != content:
                    content, decoded = coming.data[12:], self.decode(coming)
                coming = next(source, None)
            return decoded

        return latest

    def _optional(self, topic: str | None, default: str, *types: str) -> str | None:
        """The topic, checked; None where it is not wanted, or is the default one and missing."""
        if topic is None or (topic == default and topic not in self.streams):
            return None
        self.stream(topic, *types)
        return topic

    def _is_heatmap(self, topic: str, stream: Stream) -> bool:
        info = self.streams.get(radar_info_topic(topic, IMAGE_TYPE))
        return stream.type == IMAGE_TYPE and info is not None and info.type == f'{PACKAGE}/msg/HeatmapInfo'

    # Types and files --------------------------------------------------------------------------------------------------

    @cached_property
    def _static_transforms(self) -> StaticTransforms:
        tree = StaticTransforms()
        if '/tf_static' not in self.streams:
            return tree
        self.stream('/tf_static', 'tf2_msgs/msg/TFMessage')
        for _, message in self.messages('/tf_static'):
            try:
                tree.add(message)
            except messages.MessageError as error:
                raise BagError(f'{self.path}: topic /tf_static: {error}') from error
        return tree

    @cached_property
    def _checked_topics(self) -> set[str]:
        return set()

    def _check_definition(self, topic: str) -> None:
        """Refuse a topic whose type is unknown here, or had other fields where the bag was made."""
        if topic in self._checked_topics:
            return
        stream = self.streams[topic]
        if stream.type not in typestore().fielddefs:
            raise BagError(f'{self.path}: topic {topic}: the type {stream.type} cannot be decoded here')
        if stream.definition:
            recorded = get_typestore(Stores.EMPTY)
            try:
                recorded.register(_definitions(stream))
                same = recorded.hash_rihs01(stream.type) == typestore().hash_rihs01(stream.type)
            except Exception as error:  # rosbags raises whatever the broken text provokes
                definition = f'the recorded definition of {stream.type} cannot be read: {error!r}'
                raise BagError(f'{self.path}: topic {topic}: {definition}') from error
            if not same:
                here, there = (
                    ', '.join(name for name, _ in store.fielddefs[stream.type][1]) for store in (typestore(), recorded)
                )
                expected = f'expected {stream.type} with the fields of this version ({here})'
                raise BagError(f'{self.path}: topic {topic}: {expected}, got another definition ({there})')
        self._checked_topics.add(topic)

    def has_header(self, topic: str) -> bool:
        """Whether the messages of a topic begin with a std_msgs/Header.

        Raises:
            BagError: the bag lacks the topic.
        """
        stream = self.stream(topic)
        definitions = typestore().fielddefs
        if stream.type not in definitions:
            try:
                definitions = _definitions(stream)
            except TypesysError:
                return False  # a foreign type that rosbags cannot parse: the bag's own time has to do
        fields = definitions[stream.type][1] if stream.type in definitions else []
        return bool(fields) and fields[0][1] == (Nodetype.NAME, 'std_msgs/msg/Header')

    @contextmanager
    def _open(self) -> Iterator[Reader]:
        # opening takes longer than most of what is read: it parses the YAML of every topic's QoS
        idle = self._idle.setdefault(os.getpid(), [])
        reader, sound = None, False
        try:
            with suppress(IndexError):
                reader = idle.pop()
            if reader is None:
                opened = Reader(self.path)
                opened.open()
                reader = opened
            try:
                yield reader
                sound = True
            except GeneratorExit:  # the iteration was left early
                sound = True
                raise
        except (BagError, GeneratorExit):
            raise
        except Exception as error:  # rosbags raises whatever the broken bytes provoke
            hint = _repair_hint(self.path)
            raise BagError(f'{self.path}: expected a complete bag, but it cannot be read: {error}{hint}') from error
        finally:
            if reader is not None and sound:
                idle.append(reader)
            elif reader is not None:
                reader.close()


def _close_idle(idle: dict[int, list[Reader]]) -> None:
    for reader in idle.pop(os.getpid(), []):
        reader.close()


def _refuse_other_files(path: Path) -> None:
    """Name what a path is that holds no rosbag2 bag."""
    expected = 'expected a rosbag2 folder (metadata.yaml beside the .mcap or .db3 file) or a .mcap or .db3 file'
    if not path.exists():
        raise BagError(f'{path}: {expected}, found nothing there')
    if path.is_file():
        with path.open('rb') as file:
            magic = file.read(7)
        if magic == b'#ROSBAG':
            raise BagError(
                f'{path}: {expected}, found a ROS 1 bag; rosbags-convert --src {path} --dst DIR makes one of it'
            )
        if path.suffix not in ('.mcap', '.db3'):
            raise BagError(f'{path}: {expected}, found a file that is neither')
    elif not (path / 'metadata.yaml').is_file():
        inside = ', '.join(sorted(entry.name for entry in path.iterdir())[:8]) or 'nothing'
        found = f'found a folder without metadata.yaml; it holds {inside}'
        raise BagError(f'{path}: {expected}, {found}{_repair_hint(path)}')


def _repair_hint(path: Path) -> str:
    """What to do with a bag that cannot be read, where there is something to do."""
    if path.suffix != '.mcap' and not any(path.glob('*.mcap')):
        return ''
    return f'; `radio-visual-ssl repair {path}` completes a bag whose recorder was killed'


def _streams(path: Path, connections: Collection[Connection]) -> dict[str, Stream]:
    """Streams by topic; several publishers of one topic are one stream."""
    formats = {MessageDefinitionFormat.MSG: 'msg', MessageDefinitionFormat.IDL: 'idl'}
    streams: dict[str, Stream] = {}
    for connection in connections:
        before = streams.get(connection.topic)
        if before is not None and before.type != connection.msgtype:
            types = f'{before.type} and {connection.msgtype}'
            raise BagError(f'{path}: topic {connection.topic}: expected one type, got {types}')
        streams[connection.topic] = Stream(
            type=connection.msgtype,
            count=connection.msgcount + (before.count if before else 0),
            qos=(before.qos if before else ()) + tuple(getattr(connection.ext, 'offered_qos_profiles', ())),
            definition=connection.msgdef.data,
            definition_format=formats.get(connection.msgdef.format, ''),
            type_hash=connection.digest,
        )
    return streams


def _older_types(streams: dict[str, Stream]) -> dict[str, OlderType]:
    """By topic, the types of this package that an older version had otherwise; their streams become of this version."""
    found = {}
    for topic, stream in streams.items():
        ours = stream.type.startswith(f'{PACKAGE}/') and stream.type in typestore().fielddefs
        if not (ours and stream.definition):
            continue
        of_now = typestore().hash_rihs01(stream.type)
        if stream.type_hash == of_now:
            continue
        recorded = get_typestore(Stores.EMPTY)
        # what cannot be read, or differs in another way, is told when a message is decoded
        with suppress(Exception):
            recorded.register(_definitions(stream))
            found[topic] = OlderType(stream.type, recorded)
            definition, _ = typestore().generate_msgdef(stream.type, ros_version=2)
            streams[topic] = replace(stream, definition=definition, definition_format='msg', type_hash=of_now)
    return found


def _definitions(stream: Stream) -> dict[str, Any]:
    """Field definitions that a bag carries for a stream's type and what it contains."""
    if stream.definition_format == 'msg':
        return dict(get_types_from_msg(stream.definition, stream.type))
    rule = '=' * 80 + '\n'
    texts = [part.partition('\n')[2] if part.startswith('IDL: ') else part for part in stream.definition.split(rule)]
    found: dict[str, Any] = {}
    for text in texts:
        if text.strip():
            found |= get_types_from_idl(text)
    return found


def _with_period(
    source: Iterator[RawMessage], stamp_of: Callable[[RawMessage], int]
) -> Iterator[tuple[RawMessage, int]]:
    """Each message with the smaller of the intervals to its neighbours, ns (0 for one alone)."""
    current = next(source, None)
    before: int | None = None
    while current is not None:
        following = next(source, None)
        after = None if following is None else abs(stamp_of(following) - stamp_of(current))
        yield current, min((gap for gap in (before, after) if gap is not None), default=0)
        current, before = following, after
