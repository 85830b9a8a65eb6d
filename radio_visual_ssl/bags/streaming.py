# SPDX-License-Identifier: Apache-2.0
"""Writes a bag that grows where it will stay, in files that each stand alone, and that outlives a crash."""

import errno
import math
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

from rosbags.interfaces import Qos, QosDurability

from radio_visual_ssl.bags.mcap_file import McapFile
from radio_visual_ssl.bags.metadata import (
    LATCHED_TYPES,
    BagError,
    BagFile,
    Topic,
    bag_information,
    declare_topic,
    metadata_text,
    write_metadata,
)
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore

# Holds disk space for the ends of the files, so that a full disk does not prevent a clean end.
RESERVE_FILE = '.reserve'

_RESERVE_BYTES = 256 * 1024
_TRANSFORMS = 'tf2_msgs/msg/TFMessage'
_MOST_TRANSFORM_MESSAGES = 64


Payload: TypeAlias = bytes | memoryview


class Kept(NamedTuple):
    """A message of a latched topic, to be repeated: when it was sent (ns) and its CDR bytes."""

    publish_ns: int
    data: bytes


class StreamingBag:
    """A growing rosbag2 folder of MCAP files ``NAME_0.mcap``, ``NAME_1.mcap`` ... that Humble and later play.

    At each moment all but the chunk in hand (``flush_interval_s`` at most) is in the hands of the operating system: a
    killed process loses no more, and a helper thread has the disk follow (fdatasync), so that a power failure loses
    little more. A bag without metadata.yaml was not closed; ``radio-visual-ssl repair`` completes it.

    The first write that fails (a full disk) stops the bag: it raises, everything before the chunk in hand stays, and
    ``close`` still completes the bag, out of space that was reserved for it. Not thread-safe.

    Args:
        path: of the new folder; what is missing of the folders above it is made.
        compress: zstd in the MCAP chunks.
        flush_interval_s: that a message waits at most for the next ones, provided that more are written or ``flush``
            is called.
            Infinite: chunks are closed by their size only, and the disk follows at its own pace.
        chunk_bytes: at which a chunk is closed before that.
        title: path that errors name instead of ``path``.

    Raises:
        BagError: something of that name exists already, or it cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        compress: bool = False,
        flush_interval_s: float = 0.5,
        chunk_bytes: int = 4 * 1024 * 1024,
        title: Path | None = None,
    ) -> None:
        self.path = Path(path)
        self._title = title or self.path
        self._compress = compress
        self._flush_interval_s = flush_interval_s
        self._chunk_bytes = chunk_bytes
        self._topics: dict[str, Topic] = {}
        self._kept: dict[str, Latch] = {}
        self._files: list[BagFile] = []
        self._finished_bytes = 0
        self._finished_messages = 0
        self._end_ns = 0
        self._file_filled = False
        self._sync_at = 0.0
        self._error: BagError | None = None
        self._closed = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir()
        except FileExistsError as error:
            if os.path.lexists(self.path):
                raise BagError(f'{self._title}: exists already; a bag never overwrites anything') from error
            raise BagError(f'{self._title}: cannot be written: {error}') from error
        except OSError as error:
            raise BagError(f'{self._title}: cannot be written: {error}') from error
        self._syncer = _Syncer()
        self._reserve = _Reserve(self.path / RESERVE_FILE)
        try:
            self._reserve.hold(_RESERVE_BYTES)
            self._open_file()
        except OSError as error:
            self._reserve.release()
            self._syncer.close(0.0)
            self.path.rmdir()
            raise BagError(f'{self._title}: cannot be written: {error}') from error

    def __enter__(self) -> 'StreamingBag':
        """Nothing to do: the bag is open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the bag; what was written stays, however the block ends."""
        self.close()

    @property
    def file(self) -> Path:
        """The file that grows."""
        return self._file.path

    @property
    def file_bytes(self) -> int:
        """Size of that file, with the chunk in hand before its compression."""
        return self._file.written + self._file.pending

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return self._finished_bytes + (0 if self._file_finished else self.file_bytes)

    @property
    def message_count(self) -> int:
        """Messages in all files, with the repeated latched ones."""
        return self._finished_messages + self._file_messages

    @property
    def error(self) -> BagError | None:
        """What stopped the bag before it was closed, if anything did."""
        return self._error

    @property
    def topics(self) -> Mapping[str, Topic]:
        """What was declared, by name."""
        return self._topics

    def add_topic(
        self,
        topic: str,
        message_type: str,
        *,
        qos: Qos | None = None,
        latched: bool | None = None,
        definition: str | None = None,
        type_hash: str | None = None,
    ) -> None:
        """Declare a topic before its first message, at any time; see ``metadata.declare_topic`` for the arguments.

        Raises:
            BagError: no leading slash, a topic declared twice, a type without a definition, or the bag has stopped.
        """
        self._check_open()
        if topic in self._topics:
            raise BagError(f'{self._title}: topic {topic}: declared twice')
        declared = declare_topic(
            self._title, topic, message_type, latched=latched, qos=qos, definition=definition, type_hash=type_hash
        )
        self._topics[topic] = declared
        if declared.latched:
            self._kept[topic] = Latch(declared)
        self._add_channel(declared)

    def write(self, topic: str, time_ns: int, data: Payload, publish_ns: int | None = None) -> None:
        """Append a message.

        Args:
            topic: name, as declared.
            time_ns: time of the bag, in any order; ascending times make the fastest bags to read.
            data: CDR bytes; read-only data is kept by reference until its chunk is written, other data is copied.
            publish_ns: when it was sent; None = ``time_ns``.

        Raises:
            BagError: a topic that was not declared, a time before 0, or it cannot be written (the bag stops then).
        """
        self._check_open()
        channel = self._channels.get(topic)
        if channel is None:
            raise BagError(f'{self._title}: topic {topic}: expected one that was declared with add_topic')
        publish_ns = time_ns if publish_ns is None else publish_ns
        for value in (time_ns, publish_ns):
            if not 0 <= value < 2**63:
                raise BagError(f'{self._title}: topic {topic}: expected a stamp from 0 ns on, got {value} ns')
        if topic in self._kept:
            data = bytes(data)
            self._kept[topic].keep(publish_ns, data)
        now = time.monotonic()
        if self._file.chunk_empty:
            self._flush_at = now + self._flush_interval_s
        self._file_filled = True
        self._add_message(channel, time_ns, publish_ns, data)
        if now >= self._flush_at or self._file.pending >= self._chunk_bytes:
            self._write_chunk()
            if now >= self._sync_at:
                self._sync()

    def flush(self) -> None:
        """Hand everything to the operating system, and have a helper thread bring it to the disk.

        Raises:
            BagError: it cannot be written; the bag stops, and the messages since the last flush are lost.
        """
        self._check_open()
        self._write_chunk()
        self._sync()

    def split(self) -> None:
        """Go on in the next file, which begins with all topics and the last message(s) of the latched ones.

        Those are repeated at the time at which the file before ended. Nothing happens while the file holds nothing.

        Raises:
            BagError: it cannot be written; the bag stops.
        """
        self._check_open()
        if not self._file_filled:
            return
        try:
            self._finish_file()
            self._open_file()
            for topic, latch in self._kept.items():
                for publish_ns, data in latch.messages():
                    self._add_message(self._channels[topic], self._end_ns, publish_ns, data)
            self._file.write_chunk()
        except OSError as error:
            raise self._stop(error) from error

    def close(self) -> None:
        """Complete the bag: index and summary of the last file, metadata.yaml. A second call does nothing.

        Raises:
            BagError: it cannot be written; ``radio-visual-ssl repair`` completes the bag where there is space.
        """
        if self._closed:
            return
        self._closed = True
        told = self._error is not None
        try:
            self._complete()
        except OSError as error:
            hint = f'`radio-visual-ssl repair {self._title}` completes it once it can be written'
            raise BagError(f'{self._title}: cannot be completed: {error}; {hint}') from error
        finally:
            self._reserve.release()
            self._syncer.close(1.0)
            self._file.close()
        if self._error is not None and not told:
            raise self._error

    def _complete(self) -> None:
        """Write the ends; where that fails, once more with the space in reserve."""
        if self._error is not None:
            self._file.drop_chunk()
        try:
            self._file.write_chunk()
        except OSError as error:
            self._stop(error)
        try:
            self._write_ends()
        except OSError:
            self._reserve.release()
            self._write_ends()

    def _write_ends(self) -> None:
        if not self._file_finished:
            self._finish_file()
        write_metadata(self.path, self._information(self._files))

    def _information(self, files: list[BagFile]) -> dict[str, Any]:
        topics = [(topic.name, topic.type, topic.qos_text, topic.type_hash) for topic in self._topics.values()]
        return bag_information(topics, files)

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise BagError(f'{self._title}: the bag is closed')
        if self._syncer.error is not None:
            raise self._stop(self._syncer.error)

    def _stop(self, error: OSError) -> BagError:
        """Remember what stopped the bag; the space in reserve stays for its end."""
        if self._error is None:
            self._error = BagError(f'{self._title}: cannot be written: {error}')
        return self._error

    def _open_file(self) -> None:
        self._file = McapFile(self.path / f'{self.path.name}_{len(self._files)}.mcap', self._compress)
        self._file_finished = False
        self._file_filled = False
        self._file_messages = 0
        self._flush_at = 0.0
        self._schemas: dict[tuple[str, str], int] = {}
        self._channels: dict[str, int] = {}
        self._sequences: dict[int, int] = {}
        for topic in self._topics.values():
            self._add_channel(topic)

    def _add_channel(self, topic: Topic) -> None:
        key = (topic.type, topic.definition)
        if key not in self._schemas:
            self._schemas[key] = self._file.add_schema(topic.type, topic.encoding, topic.definition.encode())
        metadata = {'offered_qos_profiles': topic.qos_text, 'topic_type_hash': topic.type_hash}
        channel = self._file.add_channel(topic.name, self._schemas[key], metadata)
        self._channels[topic.name] = channel
        self._sequences[channel] = 0

    def _add_message(self, channel: int, time_ns: int, publish_ns: int, data: Payload) -> None:
        sequence = self._sequences[channel] + 1
        self._sequences[channel] = sequence
        view = memoryview(data)
        self._file.add_message(channel, sequence & 0xFFFFFFFF, time_ns, publish_ns, view)
        self._file_messages += 1
        self._end_ns = max(self._end_ns, time_ns)

    def _write_chunk(self) -> None:
        try:
            self._reserve.hold(_RESERVE_BYTES + 2 * self._file.index.size)
            self._file.write_chunk()
        except OSError as error:
            raise self._stop(error) from error

    def _finish_file(self) -> None:
        self._file.write_chunk()
        index = self._file.index
        counts = {channel.topic: index.counts.get(number, 0) for number, channel in index.channels.items()}
        done = BagFile(self._file.path.name, index.start_ns, index.end_ns, counts)
        self._file.finish('rosbag2', {'serialized_metadata': metadata_text(self._information([done]))})
        self._files.append(done)
        self._finished_bytes += self._file.written
        self._finished_messages += done.message_count
        self._file_messages = 0
        self._file_finished = True
        self._sync()
        self._file.close()

    def _sync(self) -> None:
        if not math.isfinite(self._flush_interval_s):
            return
        self._sync_at = time.monotonic() + self._flush_interval_s
        try:
            self._syncer.request(self._file)
        except OSError as error:
            raise self._stop(error) from error


class Latch:
    """The messages of a latched topic that a late subscriber gets."""

    def __init__(self, topic: Topic) -> None:
        depth = topic.qos[0].depth if topic.qos[0].durability == QosDurability.TRANSIENT_LOCAL else 1
        self._last: deque[Kept] = deque(maxlen=1 if topic.type in LATCHED_TYPES else max(depth, 1))
        # Several nodes latch their own part of the static transforms: none of them may replace another's.
        self._transforms: dict[bytes, int] | None = {} if topic.type == _TRANSFORMS else None

    def keep(self, publish_ns: int, data: bytes) -> None:
        """Note a message."""
        if self._transforms is None:
            self._last.append(Kept(publish_ns, data))
            return
        self._transforms.pop(data, None)
        self._transforms[data] = publish_ns
        if len(self._transforms) > _MOST_TRANSFORM_MESSAGES:
            self._transforms = {data: publish_ns for publish_ns, data in self._merged()}

    def messages(self) -> list[Kept]:
        """What to repeat, oldest first."""
        return list(self._last) if self._transforms is None else self._merged()

    def _merged(self) -> list[Kept]:
        """One message with the last transform of each child frame; messages that cannot be read as they are."""
        assert self._transforms is not None
        unread: list[Kept] = []
        frames: dict[str, Any] = {}
        latest_ns = 0
        for data, publish_ns in self._transforms.items():
            try:
                message: Any = typestore().deserialize_cdr(data, _TRANSFORMS)
            except Exception:  # rosbags raises whatever the broken bytes provoke
                unread.append(Kept(publish_ns, data))
                continue
            latest_ns = max(latest_ns, publish_ns)
            frames |= {transform.child_frame_id: transform for transform in message.transforms}
        merged = RosbagsTypes()(_TRANSFORMS)(transforms=list(frames.values()))
        return unread[-_MOST_TRANSFORM_MESSAGES // 2 :] + ([Kept(latest_ns, serialize(merged))] if frames else [])


class _Reserve:
    """Disk space held by a file that is removed when the space is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = 0
        self._released = False

    def hold(self, size: int) -> None:
        """Hold at least so many bytes.

        Raises:
            OSError: there is not so much space.
        """
        if size <= self._held or self._released:
            return
        size = max(size, 2 * self._held)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            # This file system cannot reserve: a full disk then leaves the end to `repair`.
        finally:
            os.close(descriptor)
        self._held = size

    def release(self) -> None:
        """Give the space back, for good."""
        self._released = True
        self._path.unlink(missing_ok=True)


class _Syncer:
    """Thread that has files brought to the disk, so that the writer never waits for it."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self._waiting: dict[Path, int] = {}
        self._condition = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def request(self, file: McapFile) -> None:
        """Have what the file holds now brought to the disk soon."""
        with self._condition:
            if file.path not in self._waiting:
                self._waiting[file.path] = os.dup(file.descriptor)
                self._condition.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name='bag sync', daemon=True)
            self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Bring what was requested to the disk; goes on in the background after the timeout."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closing:
                    self._condition.wait()
                if not self._waiting:
                    return
                path = next(iter(self._waiting))
                descriptor = self._waiting.pop(path)
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                    self.error = error
            finally:
                os.close(descriptor)
