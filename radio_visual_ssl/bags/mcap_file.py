# SPDX-License-Identifier: Apache-2.0
"""Writes one MCAP file chunk by chunk, so that all but the chunk in hand survives a crash (https://mcap.dev/spec)."""

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from operator import itemgetter
from pathlib import Path

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from radio_visual_ssl.share import PACKAGE

MAGIC = b'\x89MCAP0\r\n'
PROFILE = 'ros2'

# Record prefix: opcode and length of what follows.
PREFIX = struct.Struct('<BQ')
MESSAGE_HEADER = struct.Struct('<BQHIQQ')
# start, end, uncompressed size, CRC-32, length of the compression's name; the name and the stored size follow.
CHUNK_HEADER = struct.Struct('<BQQQQII')
_MESSAGE_INDEX = struct.Struct('<BQHI')
_CHUNK_INDEX = struct.Struct('<BQQQQQI')

# Payloads from here on are handed to the kernel where they lie; smaller ones are gathered.
_LARGE_BYTES = 32 * 1024
_VECTORS = 512
_ZSTD_LEVEL = 1


def library() -> str:
    """Name of this writer, for the header."""
    try:
        return f'{PACKAGE} {version(PACKAGE)}'
    except PackageNotFoundError:
        return PACKAGE


def encode(*records: McapRecord) -> bytes:
    """Records as bytes."""
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return builder.end()


def chunk_header(start_ns: int, end_ns: int, size: int, crc: int, compression: str, stored: int) -> bytes:
    """All of a chunk record that stands before its (possibly compressed) records.

    Args:
        start_ns: earliest message.
        end_ns: latest message.
        size: of the records in bytes, uncompressed.
        crc: CRC-32 of the uncompressed records; 0 = not given.
        compression: ``''``, ``'zstd'`` or ``'lz4'``.
        stored: bytes that follow.
    """
    name = compression.encode()
    length = CHUNK_HEADER.size - PREFIX.size + len(name) + 8 + stored
    header = CHUNK_HEADER.pack(Opcode.CHUNK, length, start_ns, end_ns, size, crc, len(name))
    return header + name + struct.pack('<Q', stored)


@dataclass(frozen=True)
class IndexedChunk:
    """A chunk as a file's index knows it.

    Attributes:
        start_ns: earliest message.
        end_ns: latest message.
        counts: messages by channel.
        record: chunk index record.
        message_indexes: records that stand right behind the chunk.
    """

    start_ns: int
    end_ns: int
    counts: dict[int, int]
    record: bytes
    message_indexes: bytes


def index_chunk(
    offset: int,
    header: bytes,
    entries: dict[int, list[tuple[int, int]]],
    present: tuple[dict[int, int], int] | None = None,
) -> IndexedChunk:
    """Make the index of a chunk.

    Args:
        offset: of the chunk record in the file.
        header: from ``chunk_header``.
        entries: (log time, offset in the uncompressed records) of each message, by channel; sorted in place.
        present: message indexes that stand behind the chunk already: their offsets by channel, and their length.
    """
    _, _, start_ns, end_ns, size, _, named = CHUNK_HEADER.unpack_from(header)
    (stored,) = struct.unpack_from('<Q', header, CHUNK_HEADER.size + named)
    length = len(header) + stored
    records = bytearray()
    offsets: dict[int, int] = {}
    if present is None:
        for channel, found in entries.items():
            found.sort(key=itemgetter(0))
            offsets[channel] = offset + length + len(records)
            flat = [number for entry in found for number in entry]
            records += _MESSAGE_INDEX.pack(Opcode.MESSAGE_INDEX, 6 + 8 * len(flat), channel, 8 * len(flat))
            records += struct.pack(f'<{len(flat)}Q', *flat)
        present = offsets, len(records)
    offsets, indexes_length = present
    by_channel = b''.join(struct.pack('<HQ', *pair) for pair in offsets.items())
    compression = header[CHUNK_HEADER.size - 4 : CHUNK_HEADER.size + named]
    record_length = _CHUNK_INDEX.size - PREFIX.size + len(by_channel) + 8 + len(compression) + 16
    record = _CHUNK_INDEX.pack(Opcode.CHUNK_INDEX, record_length, start_ns, end_ns, offset, length, len(by_channel))
    record += by_channel + struct.pack('<Q', indexes_length) + compression + struct.pack('<QQ', stored, size)
    counts = {channel: len(found) for channel, found in entries.items()}
    return IndexedChunk(start_ns, end_ns, counts, record, bytes(records))


@dataclass
class McapIndex:
    """What the end of a file says about all that is before it.

    Attributes:
        schemas: by id, in the order in which they appeared.
        channels: by id, in the order in which they appeared.
        chunks: chunk index records.
        metadata: index records of metadata records.
        counts: messages by channel.
        start_ns: log time of the earliest message; 0 where there is none.
        end_ns: log time of the latest message; 0 where there is none.
        size: bytes of the records above.
    """

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 0
    size: int = 0

    @property
    def message_count(self) -> int:
        """Messages of all channels."""
        return sum(self.counts.values())

    def add_schema(self, schema: Schema) -> bytes:
        """Enter a type; gives its record."""
        record = encode(schema)
        self.schemas[schema.id] = schema
        self.size += len(record)
        return record

    def add_channel(self, channel: Channel) -> bytes:
        """Enter a topic; gives its record."""
        record = encode(channel)
        self.channels[channel.id] = channel
        self.size += len(record)
        return record

    def add_messages(self, counts: dict[int, int], start_ns: int, end_ns: int) -> None:
        """Count messages, given by channel, of which the earliest and the latest are known."""
        if not counts:
            return
        first = not self.message_count
        self.start_ns = start_ns if first else min(start_ns, self.start_ns)
        self.end_ns = end_ns if first else max(end_ns, self.end_ns)
        for channel, count in counts.items():
            self.counts[channel] = self.counts.get(channel, 0) + count

    def add_chunk(self, chunk: IndexedChunk) -> None:
        """Enter a chunk that stands in the file, with its message indexes."""
        self.add_messages(chunk.counts, chunk.start_ns, chunk.end_ns)
        self.chunks.append(chunk.record)
        self.size += len(chunk.record)

    def ending(self, offset: int, name: str, metadata: dict[str, str]) -> bytes:
        """All that follows the last chunk: a metadata record, the summary, the footer.

        Args:
            offset: in the file, at which it will be written.
            name: of the metadata record.
            metadata: its content.
        """
        noted = encode(Metadata(name=name, metadata=metadata))
        before = noted + encode(DataEnd(data_section_crc=0))
        start = offset + len(before)
        metadata_index = [*self.metadata, MetadataIndex(offset=offset, length=len(noted), name=name)]
        statistics = Statistics(
            attachment_count=0,
            channel_count=len(self.channels),
            channel_message_counts={channel: self.counts.get(channel, 0) for channel in self.channels},
            chunk_count=len(self.chunks),
            message_count=self.message_count,
            message_start_time=self.start_ns,
            message_end_time=self.end_ns,
            metadata_count=len(metadata_index),
            schema_count=len(self.schemas),
        )
        groups = {
            Opcode.SCHEMA: encode(*self.schemas.values()),
            Opcode.CHANNEL: encode(*self.channels.values()),
            Opcode.STATISTICS: encode(statistics),
            Opcode.CHUNK_INDEX: b''.join(self.chunks),
            Opcode.METADATA_INDEX: encode(*metadata_index),
        }
        summary = bytearray()
        offsets = []
        for opcode, group in groups.items():
            if group:
                offsets.append(SummaryOffset(opcode, start + len(summary), len(group)))
                summary += group
        offsets_start = start + len(summary)
        summary += encode(*offsets)
        # The CRC covers the footer up to the CRC itself.
        footer = encode(Footer(summary_start=start, summary_offset_start=offsets_start, summary_crc=0))
        crc = zlib.crc32(footer[:-4], zlib.crc32(summary))
        return before + bytes(summary) + footer[:-4] + struct.pack('<I', crc) + MAGIC


class McapFile:
    """A new MCAP file. Not thread-safe. Every method that writes raises OSError, and then leaves whole records only.

    While the file is open it is locked (flock), so that nobody takes it for what a crash has left.

    Args:
        path: of the file, which must not exist.
        compress: zstd in the chunks.
    """

    def __init__(self, path: Path, compress: bool = False) -> None:
        self.path = path
        self.index = McapIndex()
        self._compress = compress
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._offset = 0
        self._begin_chunk()
        try:
            lock(self._descriptor)
            self._put([MAGIC + encode(Header(profile=PROFILE, library=library()))])
        except OSError:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    def _begin_chunk(self) -> None:
        self._parts: list[bytes | bytearray | memoryview] = []
        self._small = bytearray()
        self._size = 0
        self._entries: dict[int, list[tuple[int, int]]] = {}
        self._start_ns, self._end_ns = 2**63 - 1, 0

    @property
    def descriptor(self) -> int:
        """Of the open file."""
        return self._descriptor

    @property
    def written(self) -> int:
        """Bytes in the file, without the chunk in hand."""
        return self._offset

    @property
    def pending(self) -> int:
        """Bytes of the chunk in hand."""
        return self._size

    @property
    def chunk_empty(self) -> bool:
        """Whether the chunk in hand holds no message."""
        return not self._entries

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Declare a type; gives its id."""
        schema = Schema(id=len(self.index.schemas) + 1, name=name, encoding=encoding, data=data)
        self._gather(self.index.add_schema(schema))
        return schema.id

    def add_channel(self, topic: str, schema: int, metadata: dict[str, str]) -> int:
        """Declare a topic of CDR messages; gives its id."""
        channel = Channel(
            id=len(self.index.channels) + 1,
            topic=topic,
            message_encoding='cdr',
            schema_id=schema,
            metadata=metadata,
        )
        self._gather(self.index.add_channel(channel))
        return channel.id

    def add_message(self, channel: int, sequence: int, log_ns: int, publish_ns: int, data: memoryview) -> None:
        """Append a message to the chunk in hand.

        Read-only data is kept by reference until the chunk is written, other data is copied.

        Args:
            channel: its id.
            sequence: counts the messages of the channel.
            log_ns: time of the bag.
            publish_ns: when it was sent.
            data: of bytes.
        """
        self._entries.setdefault(channel, []).append((log_ns, self._size))
        self._start_ns = min(self._start_ns, log_ns)
        self._end_ns = max(self._end_ns, log_ns)
        self._small += MESSAGE_HEADER.pack(Opcode.MESSAGE, 22 + len(data), channel, sequence, log_ns, publish_ns)
        if len(data) < _LARGE_BYTES:
            self._small += data
        else:
            self._parts += (self._small, data if data.readonly else bytes(data))
            self._small = bytearray()
        self._size += MESSAGE_HEADER.size + len(data)

    def write_chunk(self) -> None:
        """Write the chunk in hand with its message indexes, where it holds any message."""
        if not self._entries:
            return
        parts: list[bytes | bytearray | memoryview] = [*self._parts, self._small]
        crc = 0
        for part in parts:
            crc = zlib.crc32(part, crc)
        compression, stored = '', self._size
        if self._compress:
            compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj(size=self._size)
            parts = [compressor.compress(part) for part in parts]
            parts.append(compressor.flush())
            compression, stored = 'zstd', sum(len(part) for part in parts)
        header = chunk_header(self._start_ns, self._end_ns, self._size, crc, compression, stored)
        chunk = index_chunk(self._offset, header, self._entries)
        self._begin_chunk()
        self._put([header, *parts, chunk.message_indexes])
        self.index.add_chunk(chunk)

    def drop_chunk(self) -> None:
        """Forget the messages of the chunk in hand."""
        self._begin_chunk()

    def finish(self, name: str, metadata: dict[str, str]) -> None:
        """Write the chunk in hand and the file's end; the file stays open for a last fsync until ``close``.

        Args:
            name: of the metadata record at the file's end.
            metadata: its content.
        """
        self.write_chunk()
        if self._small:  # topics without a message: the summary may only repeat what the data section declares
            self._put([self._small])
            self._begin_chunk()
        self._put([self.index.ending(self._offset, name, metadata)])

    def close(self) -> None:
        """Close and unlock the file, whatever state it is in."""
        if self._descriptor >= 0:
            unlock(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _gather(self, record: bytes) -> None:
        self._small += record
        self._size += len(record)

    def _put(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Append bytes; where that fails, cut off again what got through."""
        try:
            offset = write_at(self._descriptor, self._offset, parts)
        except OSError:
            os.ftruncate(self._descriptor, self._offset)
            raise
        self._offset = offset


def write_at(descriptor: int, offset: int, parts: Sequence[bytes | bytearray | memoryview]) -> int:
    """Write buffers one after another from an offset of a file on, without joining them; gives the offset behind them.

    Raises:
        OSError: the system refused; a part may have been written.
    """
    waiting = [memoryview(part) for part in reversed(parts) if len(part)]
    while waiting:
        written = os.pwritev(descriptor, waiting[: -_VECTORS - 1 : -1], offset)
        offset += written
        while waiting and written >= len(waiting[-1]):
            written -= len(waiting.pop())
        if written:
            waiting[-1] = waiting[-1][written:]
    return offset


def lock(descriptor: int) -> bool:
    """Lock a file as long as it is open; False where another holds it. File systems without locks count as free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def unlock(descriptor: int) -> None:
    """Give a lock back, also where a duplicate of the descriptor stays open."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
