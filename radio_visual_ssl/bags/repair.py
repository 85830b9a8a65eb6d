# SPDX-License-Identifier: Apache-2.0
"""Completes MCAP bags whose recorder was killed: keeps every whole message, and writes the missing ends in place."""

import contextlib
import errno
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import lz4.frame
import yaml
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile, McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Footer, Header, MessageIndex, Metadata, MetadataIndex, Schema
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import dump_qos_v8, parse_qos

from radio_visual_ssl.bags.mcap_file import (
    CHUNK_HEADER,
    MAGIC,
    MESSAGE_HEADER,
    PREFIX,
    PROFILE,
    McapIndex,
    chunk_header,
    index_chunk,
    lock,
    write_at,
)
from radio_visual_ssl.bags.metadata import (
    METADATA_FILE,
    BagError,
    BagFile,
    bag_information,
    metadata_text,
    write_metadata,
)
from radio_visual_ssl.bags.streaming import RESERVE_FILE

# Opcodes from here on are the applications' own; all readers pass over them.
_APPLICATION = 0x80
_SET_ASIDE = _APPLICATION | Opcode.CHUNK

_DATA = {
    Opcode.SCHEMA,
    Opcode.CHANNEL,
    Opcode.MESSAGE,
    Opcode.CHUNK,
    Opcode.MESSAGE_INDEX,
    Opcode.ATTACHMENT,
    Opcode.METADATA,
    Opcode.DATA_END,
}
_BROKEN = (ValueError, struct.error, RuntimeError, zstandard.ZstdError, McapError, EndOfFile)

Entries = dict[int, list[tuple[int, int]]]


@dataclass
class FileReport:
    """What was found in one file, and done to it.

    Attributes:
        name: without its folder.
        state: ``'sound'`` (untouched), ``'completed'`` (its end was written anew), or ``'empty'`` (a crash came before
            its header was written; untouched, and not part of the bag).
        messages: that the file holds.
        salvaged: those among them that were taken from a torn chunk.
        removed_bytes: cut off the end: what was left of a message that was being written, and any torn index.
        set_aside_bytes: that nothing could be read from; they stay in the file, in records that readers skip.
        problems: what was wrong, in words.
    """

    name: str
    state: str = 'sound'
    messages: int = 0
    salvaged: int = 0
    removed_bytes: int = 0
    set_aside_bytes: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class RepairReport:
    """What ``repair_bag`` found and did.

    Attributes:
        path: of the bag.
        files: in the order in which they are read.
        metadata_written: whether metadata.yaml was missing or wrong, and written anew.
        start_ns: bag time of the first message, 0 where there is none.
        end_ns: bag time of the last message.
    """

    path: Path
    files: list[FileReport]
    metadata_written: bool
    start_ns: int
    end_ns: int

    @property
    def sound(self) -> bool:
        """Whether nothing had to be done."""
        return not self.metadata_written and all(file.state != 'completed' for file in self.files)

    @property
    def messages(self) -> int:
        """Messages of the whole bag."""
        return sum(file.messages for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            'bag': str(self.path),
            'sound': self.sound,
            'messages': self.messages,
            'duration_s': (self.end_ns - self.start_ns) / 1e9,
            'metadata_written': self.metadata_written,
            'files': [vars(file) for file in self.files],
        }


def repair_bag(path: str | Path, progress: Callable[[int, int], None] | None = None) -> RepairReport:
    """Complete a bag folder, or a lone .mcap file, that was not closed.

    Each file is read through. One that is whole is left untouched. In any other all whole messages stay where they
    are, also those of the torn chunk at the end; what is left of the message that was being written is cut off, a
    damaged chunk is set aside (its bytes stay, in a record that readers skip), and index, summary and footer are
    written behind. Nothing readable is moved or copied, so that a repair needs hardly any space or time, and one that
    is itself interrupted can be run again. A bag of which no message would be left is not touched.

    Args:
        path: of the bag.
        progress: called with (done, total) bytes.

    Raises:
        BagError: no such bag, no MCAP files, a bag that is still being recorded, nothing to salvage, or no permission.
    """
    path = Path(path)
    if not path.exists():
        raise BagError(f'{path}: expected a rosbag2 folder of MCAP files or an .mcap file, found nothing there')
    names = _file_names(path) if path.is_dir() else [path.name]
    folder = path if path.is_dir() else path.parent
    if not names or not all(name.endswith('.mcap') for name in names):
        inside = (
            'another file' if path.is_file() else ', '.join(sorted(x.name for x in path.iterdir())[:8]) or 'nothing'
        )
        raise BagError(f'{path}: expected a rosbag2 folder of MCAP files or an .mcap file, found {inside}')
    try:
        repairs: list[_FileRepair] = []
        try:
            for name in names:
                repairs.append(_FileRepair(path, folder / name))
            total = sum(repair.size for repair in repairs)
            done = 0
            for repair in repairs:
                for read in repair.scan():
                    if progress is not None:
                        progress(done + read, total)
                done += repair.size
            if all(repair.report.state == 'empty' for repair in repairs):
                raise BagError(f'{path}: expected an MCAP bag, but its recorder was stopped before it wrote anything')
            if any(repair.report.set_aside_bytes for repair in repairs) and not sum(x.report.messages for x in repairs):
                problem = next(problem for repair in repairs for problem in repair.report.problems)
                raise BagError(
                    f'{path}: expected messages that can be read, found none; nothing was changed: {problem}'
                )
            for repair in repairs:
                repair.check_permission()
            if (folder / RESERVE_FILE).exists() and path.is_dir():
                (folder / RESERVE_FILE).unlink()
            for repair in repairs:
                repair.complete()
        finally:
            for repair in repairs:
                repair.close()
        kept = [repair for repair in repairs if repair.report.state != 'empty']
        information = bag_information(_topics(kept), [repair.bag_file() for repair in kept])
        outdated = path.is_dir() and not _metadata_fits(path, information)
        if outdated:
            write_metadata(path, information)
    except OSError as error:
        raise BagError(f'{path}: cannot be repaired: {error}') from error
    filled = [repair.index for repair in kept if repair.index.message_count]
    return RepairReport(
        path=path,
        files=[repair.report for repair in repairs],
        metadata_written=outdated,
        start_ns=min((index.start_ns for index in filled), default=0),
        end_ns=max((index.end_ns for index in filled), default=0),
    )


def _file_names(folder: Path) -> list[str]:
    """The storage files of a bag's folder, in the order of their numbers."""

    def order(name: str) -> tuple[int, str]:
        number = re.search(r'_(\d+)\.[^.]+$', name)
        return int(number[1]) if number else 0, name

    return sorted((x.name for x in folder.iterdir() if x.suffix in ('.mcap', '.db3', '.zstd')), key=order)


def _metadata_fits(folder: Path, information: dict[str, Any]) -> bool:
    """Whether metadata.yaml is there and names the files and messages that there are."""
    try:
        found = yaml.safe_load((folder / METADATA_FILE).read_text(encoding='utf-8'))['rosbag2_bagfile_information']
        names = [Path(name).name for name in found['relative_file_paths']]
        return bool(names == information['relative_file_paths']) and (
            found['message_count'] == information['message_count']
        )
    except (FileNotFoundError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        return False


def _topics(repairs: list['_FileRepair']) -> list[tuple[str, str, str, str]]:
    """(Name, type, QoS, type hash) of the topics of all files, in the order in which they appeared."""
    topics: dict[str, tuple[str, str, str, str]] = {}
    for repair in repairs:
        for channel in repair.index.channels.values():
            schema = repair.index.schemas.get(channel.schema_id)
            qos = _qos_of_version_8(channel.metadata.get('offered_qos_profiles', ''))
            type_hash = channel.metadata.get('topic_type_hash', '')
            topics.setdefault(channel.topic, (channel.topic, schema.name if schema else '', qos, type_hash))
    return list(topics.values())


@cache
def _qos_of_version_8(text: str) -> str:
    """QoS profiles as metadata of version 8 has them; empty where there are none that can be read."""
    try:
        return str(dump_qos_v8(parse_qos(text)))
    except (ReaderError, KeyError, TypeError, ValueError, AttributeError):  # all that rosbags raises of broken text
        return ''


@dataclass
class _Content:
    """What the records of a chunk say.

    Attributes:
        entries: (log time, offset) of each message, by channel.
        start_ns: earliest message.
        end_ns: latest message.
        whole: bytes up to which there are only whole records.
    """

    entries: Entries = field(default_factory=dict)
    start_ns: int = 2**63 - 1
    end_ns: int = 0
    whole: int = 0

    @property
    def message_count(self) -> int:
        return sum(len(found) for found in self.entries.values())


class _FileRepair:
    """Reads one file to its end, and gives it one where it has none."""

    def __init__(self, bag: Path, path: Path) -> None:
        self.report = FileReport(path.name)
        self.index = McapIndex()
        self._path = path
        self._title = f'{bag}' if bag == path else f'{bag}: file {path.name}'
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # enough to tell that it is sound
        if not lock(self._descriptor):
            os.close(self._descriptor)
            raise BagError(f'{self._title}: is being recorded; stop the recorder first')
        self.size = os.fstat(self._descriptor).st_size
        # Where the data ends, what to write at which place before the end can be written there, and whether each chunk
        # has its message indexes.
        self._end = 0
        self._patches: list[tuple[int, bytes]] = []
        self._indexed = True

    def close(self) -> None:
        """Unlock the file."""
        os.close(self._descriptor)

    def bag_file(self) -> BagFile:
        """The file as metadata.yaml has it."""
        index = self.index
        counts: dict[str, int] = {}
        for number, channel in index.channels.items():
            counts[channel.topic] = counts.get(channel.topic, 0) + index.counts.get(number, 0)
        return BagFile(self._path.name, index.start_ns, index.end_ns, counts)

    # Reading ----------------------------------------------------------------------------------------------------------

    def scan(self) -> Iterator[int]:
        """Read the file, and plan what has to be written; gives the bytes done."""
        if not self._read_header():
            self.report.state = 'empty'
            self.report.problems.append('nothing was written before the recorder stopped')
            return
        noted: list[MetadataIndex] = []
        ended = complete = False
        for opcode, offset, end in self._records(self._end):
            yield offset
            if opcode == Opcode.DATA_END:
                ended, complete = True, self._has_sound_end(end)
                break
            if opcode == Opcode.METADATA:
                noted += self._metadata(offset, end)
                continue
            if opcode == Opcode.MESSAGE_INDEX:
                continue  # read with the chunk before it
            self.index.metadata += noted
            noted.clear()
            if opcode == Opcode.CHUNK:
                self._scan_chunk(offset, end)
            elif opcode == _SET_ASIDE:
                self._scan_set_aside(offset, end)
            else:
                self._scan_record(opcode, offset, end)
        self.report.messages = self.index.message_count
        if not complete:
            self.report.state = 'completed'
            self._plan_end(ended)

    def _read_header(self) -> bool:
        start = self._read(0, 8 + PREFIX.size)
        if start[:8] != MAGIC[: len(start)] and start.strip(b'\0'):
            raise BagError(f'{self._title}: expected an MCAP file, found another')
        if len(start) < 8 + PREFIX.size or not start.strip(b'\0'):
            return False
        opcode, length = PREFIX.unpack_from(start, 8)
        end = 8 + PREFIX.size + length
        if end > self.size:
            return False
        try:
            profile = (
                Header.read(_stream(self._read(8 + PREFIX.size, length))).profile if opcode == Opcode.HEADER else ''
            )
        except _BROKEN as error:
            raise BagError(f'{self._title}: expected the header of an MCAP file, got {error!r}') from error
        if profile != PROFILE:
            raise BagError(f'{self._title}: expected an MCAP file of profile {PROFILE!r}, got {profile!r}')
        self._end = end
        return True

    def _records(self, offset: int) -> Iterator[tuple[int, int, int]]:
        """(Opcode, offset, end) of each whole record."""
        while offset + PREFIX.size <= self.size:
            opcode, length = PREFIX.unpack(self._read(offset, PREFIX.size))
            end = offset + PREFIX.size + length
            if end > self.size or not (opcode in _DATA or opcode >= _APPLICATION):
                return
            yield opcode, offset, end
            offset = end

    def _scan_record(self, opcode: int, offset: int, end: int) -> None:
        """A record outside chunks, after which the data may end."""
        if opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE):
            content = _Content()
            self._scan_content(self._read(offset, end - offset), content)
            counts = {channel: len(found) for channel, found in content.entries.items()}
            self.index.add_messages(counts, content.start_ns, content.end_ns)
        self._end = end

    def _scan_chunk(self, offset: int, end: int) -> None:
        record = self._read(offset, end - offset)
        content = _Content()
        problem = ''
        try:
            header, stored = _split_chunk(record)
            _, _, _, _, size, crc, _ = CHUNK_HEADER.unpack_from(header)
            data = _decompress(_compression(header), stored)
            self._scan_content(data, content)
            if len(data) != size or content.whole != size:
                problem = 'is damaged'
            elif crc and zlib.crc32(data) != crc:
                problem = 'has a wrong checksum'
        except _BROKEN as error:
            problem = f'cannot be read ({error})'
        if not problem and not content.entries.keys() <= self.index.channels.keys():
            problem = 'holds messages of topics whose declaration is lost'
        self._end = end
        if problem:
            self.report.problems.append(f'the chunk at byte {offset} {problem}')
            self.report.set_aside_bytes += end - offset
            self._patches.append((offset, bytes([_SET_ASIDE])))
            return
        if not content.entries:
            return
        present, indexes_end = self._message_indexes(end, content.entries)
        if present is None and self._opcode_at(indexes_end) not in (Opcode.CHUNK, Opcode.MESSAGE):
            # The recorder was stopped between the chunk and its indexes.
            chunk = index_chunk(offset, header, content.entries)
            self.index.add_chunk(chunk)
            self._patches.append((end, chunk.message_indexes))
            return
        self._indexed &= present is not None
        self._end = indexes_end
        self.index.add_chunk(index_chunk(offset, header, content.entries, present or ({}, 0)))

    def _scan_set_aside(self, offset: int, end: int) -> None:
        """A damaged chunk that an earlier repair found: only the topics that it declares can be used."""
        self._end = end
        with contextlib.suppress(*_BROKEN):  # what is broken was reported by that repair
            header, stored = _split_chunk(self._read(offset, end - offset))
            self._scan_content(_decompress(_compression(header), stored), _Content())

    def _scan_content(self, data: bytes, content: _Content) -> None:
        """Read the records of a chunk up to the first that is not whole."""
        position = 0
        while position + PREFIX.size <= len(data):
            opcode, length = PREFIX.unpack_from(data, position)
            end = position + PREFIX.size + length
            if end > len(data) or opcode == 0:
                break
            if opcode == Opcode.MESSAGE:
                if end - position < MESSAGE_HEADER.size:
                    break
                _, _, channel, _, log_ns, _ = MESSAGE_HEADER.unpack_from(data, position)
                content.entries.setdefault(channel, []).append((log_ns, position))
                content.start_ns = min(content.start_ns, log_ns)
                content.end_ns = max(content.end_ns, log_ns)
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                stream = _stream(data[position + PREFIX.size : end])
                try:
                    if opcode == Opcode.SCHEMA:
                        self.index.add_schema(Schema.read(stream))
                    else:
                        self.index.add_channel(Channel.read(stream))
                except _BROKEN:
                    break
            position = end
        content.whole = position

    def _message_indexes(self, offset: int, entries: Entries) -> tuple[tuple[dict[int, int], int] | None, int]:
        """Offsets and length of the message indexes behind a chunk, None where any is missing; and their end."""
        offsets: dict[int, int] = {}
        whole = True
        end = offset
        for opcode, begin, finish in self._records(offset):
            if opcode != Opcode.MESSAGE_INDEX:
                break
            try:
                record = MessageIndex.read(_stream(self._read(begin + PREFIX.size, finish - begin - PREFIX.size)))
            except _BROKEN:
                break
            whole &= len(record.records) == len(entries.get(record.channel_id, ()))
            offsets[record.channel_id] = begin
            end = finish
        whole &= offsets.keys() == entries.keys()
        return ((offsets, end - offset) if whole else None), end

    def _opcode_at(self, offset: int) -> int:
        """Opcode of the record at an offset, whole or not; 0 at the end."""
        return next(iter(self._read(offset, 1)), 0)

    def _metadata(self, offset: int, end: int) -> list[MetadataIndex]:
        try:
            name = Metadata.read(_stream(self._read(offset + PREFIX.size, end - offset - PREFIX.size))).name
        except _BROKEN:
            return []
        return [MetadataIndex(offset=offset, length=end - offset, name=name)]

    def _has_sound_end(self, summary: int) -> bool:
        """Whether summary and footer are whole and fit the data; the summary begins behind the data section."""
        end = self._read(summary, self.size - summary)
        footer_length = PREFIX.size + 20
        if not end.endswith(MAGIC) or len(end) < footer_length + len(MAGIC):
            return False
        begin = len(end) - len(MAGIC) - footer_length
        if PREFIX.unpack_from(end, begin) != (Opcode.FOOTER, 20):
            return False
        footer = Footer.read(_stream(end[begin + PREFIX.size :]))
        if footer.summary_crc and zlib.crc32(end[: -len(MAGIC) - 4]) != footer.summary_crc:
            return False
        if self._patches:
            return False
        if not footer.summary_start:
            return True
        try:
            with self._path.open('rb') as file:
                found = make_reader(file).get_summary()
        except _BROKEN:
            return False
        if found is None or found.statistics is None:
            return True
        return found.statistics.message_count == self.index.message_count

    # Planning and writing ---------------------------------------------------------------------------------------------

    def _plan_end(self, ended: bool) -> None:
        """Decide what becomes of the bytes behind the last whole record of data."""
        rest = self.size - self._end
        opcode = self._opcode_at(self._end)
        if opcode == Opcode.CHUNK:
            self.report.problems.append('the last chunk is torn')
            self._salvage_chunk()
        elif ended or opcode in set(Opcode) or rest < PREFIX.size or not self._has_content(self._end):
            if not (ended and self._patches):
                self.report.problems.append('index and summary are torn' if opcode else 'index and summary are missing')
            self.report.removed_bytes = rest
        else:
            self.report.problems.append(f'from byte {self._end} on nothing can be read')
            self._patches.append((self._end, PREFIX.pack(_SET_ASIDE, rest - PREFIX.size)))
            self.report.set_aside_bytes += rest
            self._end = self.size

    def _has_content(self, offset: int) -> bool:
        """Whether anything but zeros follows."""
        while offset < self.size:
            block = self._read(offset, 1 << 20)
            if block.strip(b'\0'):
                return True
            offset += len(block)
        return False

    def _salvage_chunk(self) -> None:
        """Plan a smaller chunk of the whole messages of the torn one at the end."""
        offset = self._end
        record = self._read(offset, self.size - offset)
        content, data, compression = _Content(), b'', ''
        try:
            header, stored = _split_chunk(record)
            compression = _compression(header)
            data = _decompress(compression, stored)
            self._scan_content(data, content)
        except _BROKEN as error:
            self.report.problems.append(f'nothing can be read from the torn chunk ({error})')
        if not content.entries or not content.entries.keys() <= self.index.channels.keys():
            self.report.removed_bytes = len(record)
            return
        data = data[: content.whole]
        crc = zlib.crc32(data)
        # Whole messages of an uncompressed chunk stay where they are: only its header and what follows them changes.
        kept = data if not compression else zstandard.ZstdCompressor(level=1).compress(data)
        header = chunk_header(
            content.start_ns, content.end_ns, len(data), crc, 'zstd' if compression else '', len(kept)
        )
        chunk = index_chunk(offset, header, content.entries)
        self.index.add_chunk(chunk)
        self.report.salvaged = content.message_count
        self.report.messages = self.index.message_count
        self.report.removed_bytes = max(0, len(record) - len(header) - len(kept))
        if compression:
            self._patches.append((offset, header + kept))
        else:
            self._patches.append((offset, header))
        self._end = offset + len(header) + len(kept)
        self._patches.append((self._end, chunk.message_indexes))

    def check_permission(self) -> None:
        """Refuse what needs a repair and cannot be written, before anything is changed.

        Raises:
            BagError: there is no permission.
        """
        if self.report.state == 'completed' and not os.access(self._path, os.W_OK):
            raise BagError(f'{self._title}: needs a repair, but there is no permission to write it')

    def complete(self) -> None:
        """Write what ``scan`` has planned.

        Raises:
            OSError: it cannot be written; all messages are still in the file.
        """
        if self.report.state != 'completed':
            return
        if not self._indexed:
            self.index.chunks.clear()
        information = bag_information(_topics([self]), [self.bag_file()])
        os.ftruncate(self._descriptor, min(self._end, self.size))
        end = self._end
        for offset, data in self._patches:
            end = max(end, write_at(self._descriptor, offset, [data]))
        ending = self.index.ending(end, 'rosbag2', {'serialized_metadata': metadata_text(information)})
        write_at(self._descriptor, end, [ending])
        os.fsync(self._descriptor)

    def _read(self, offset: int, size: int) -> bytes:
        """So many bytes of the file, fewer at its end."""
        parts = []
        while size > 0:
            part = os.pread(self._descriptor, size, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b''.join(parts)


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(data))


def _split_chunk(record: bytes) -> tuple[bytes, bytes]:
    """Header and stored bytes of a chunk record.

    Raises:
        ValueError: the record is too short for its header.
        struct.error: likewise.
    """
    named = CHUNK_HEADER.unpack_from(record)[-1]
    size = CHUNK_HEADER.size + named + 8
    (stored,) = struct.unpack_from('<Q', record, size - 8)
    return record[:size], record[size : size + stored]


def _compression(header: bytes) -> str:
    return header[CHUNK_HEADER.size : -8].decode()


def _decompress(compression: str, data: bytes) -> bytes:
    """The records of a chunk; of a torn one as many as there are.

    Raises:
        ValueError: an unknown compression.
        RuntimeError: damaged data (lz4).
        zstandard.ZstdError: damaged data (zstd).
    """
    if not compression:
        return data
    if compression == 'zstd':
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if compression == 'lz4':
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data))
    raise ValueError(f'unknown compression {compression!r}')
