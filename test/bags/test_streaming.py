# SPDX-License-Identifier: Apache-2.0
"""A growing bag: every reader opens it, each file stands alone, and a full disk ends it cleanly."""

import itertools
import resource
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, ChunkIndex, DataEnd, Footer, MessageIndex, Statistics
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Qos, QosDurability
from rosbags.rosbag2 import Reader

from radio_visual_ssl.bags.metadata import BagError, qos_profile
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.repair import repair_bag
from radio_visual_ssl.bags.streaming import StreamingBag
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore

TYPES = RosbagsTypes()
HASH = 'RIHS01_' + '0' * 64


def text(content: str) -> bytes:
    return serialize(TYPES('std_msgs/msg/String')(data=content))


def transforms(*children: str, x: float = 0.0) -> bytes:
    stamp = TYPES('builtin_interfaces/msg/Time')(sec=0, nanosec=0)
    return serialize(
        TYPES('tf2_msgs/msg/TFMessage')(
            transforms=[
                TYPES('geometry_msgs/msg/TransformStamped')(
                    header=TYPES('std_msgs/msg/Header')(stamp=stamp, frame_id='base'),
                    child_frame_id=child,
                    transform=TYPES('geometry_msgs/msg/Transform')(
                        translation=TYPES('geometry_msgs/msg/Vector3')(x=x, y=0.0, z=0.0),
                        rotation=TYPES('geometry_msgs/msg/Quaternion')(x=0.0, y=0.0, z=0.0, w=1.0),
                    ),
                )
                for child in children
            ]
        )
    )


def write_three_files(path: Path, **settings) -> list[tuple[str, int, bytes]]:
    """A bag of three files; gives what it was given."""
    written = []
    with StreamingBag(path, **settings) as bag:
        bag.add_topic('/info', 'std_msgs/msg/String', latched=True)
        bag.add_topic('/text', 'std_msgs/msg/String')
        for number in range(30):
            if number in (10, 20):
                bag.flush()
                bag.split()
            topic = '/info' if number == 3 else '/text'
            written.append((topic, 1000 + number, text(str(number) * 3000)))
            bag.write(*written[-1])
    return written


def records(file: Path) -> list:
    with file.open('rb') as stream:
        return list(StreamReader(stream, validate_crcs=True, emit_chunks=True).records)


@pytest.mark.parametrize('compress', [False, True])
def test_every_reader_finds_every_message_of_a_bag_of_several_files(tmp_path, compress):
    path = tmp_path / 'x'
    written = write_three_files(path, compress=compress)
    assert sorted(entry.name for entry in path.iterdir()) == ['metadata.yaml', 'x_0.mcap', 'x_1.mcap', 'x_2.mcap']
    repeated = [('/info', time_ns, written[3][2]) for time_ns in (1009, 1019)]
    expected = sorted([*written, *repeated], key=lambda entry: entry[1])

    with Reader(path) as reader:
        assert [(c.topic, t, d) for c, t, d in reader.messages()] == expected
        assert (reader.start_time, reader.end_time, reader.message_count) == (1000, 1030, 32)
        digests = {connection.digest for connection in reader.connections}
        assert digests == {typestore().hash_rihs01('std_msgs/msg/String')}
    with AnyReader([path]) as reader:
        assert [(c.topic, t, d) for c, t, d in reader.messages()] == expected
    assert [(m.topic, m.time_ns, m.data) for m in BagReader(path).raw_messages()] == expected
    found = []
    for file in sorted(path.glob('*.mcap')):
        with file.open('rb') as stream:
            messages = make_reader(stream, validate_crcs=True).iter_messages()
            found += [(channel.topic, message.log_time, message.data) for _, channel, message in messages]
    assert found == expected


@pytest.mark.parametrize('compress', [False, True])
def test_each_file_alone_opens_and_begins_with_what_is_latched(tmp_path, compress):
    written = write_three_files(tmp_path / 'x', compress=compress)
    for number in range(3):
        alone = tmp_path / f'alone{number}.mcap'
        shutil.move(tmp_path / 'x' / f'x_{number}.mcap', alone)
        with Reader(alone) as reader:
            found = [(c.topic, d) for c, _, d in reader.messages()]
        assert ('/info', written[3][2]) in found
        assert found[0][0] == '/info' or number == 0
        assert BagReader(alone).streams['/info'].latched
        assert not BagReader(alone).streams['/text'].latched


@pytest.mark.parametrize('compress', [False, True])
def test_the_files_keep_to_the_mcap_specification(tmp_path, compress):
    write_three_files(tmp_path / 'x', compress=compress, chunk_bytes=9000)
    for file in (tmp_path / 'x').glob('*.mcap'):
        content = file.read_bytes()
        found = records(file)
        chunks = [record for record in found if isinstance(record, Chunk)]
        indexes = [record for record in found if isinstance(record, ChunkIndex)]
        assert len(chunks) == len(indexes) > 2
        assert all(chunk.uncompressed_crc for chunk in chunks)
        assert {chunk.compression for chunk in chunks} == {'zstd' if compress else ''}
        listed = 0
        for index, chunk in zip(indexes, chunks, strict=True):
            start = index.chunk_start_offset
            assert struct.unpack_from('<BQ', content, start) == (6, index.chunk_length - 9)
            assert (index.message_start_time, index.message_end_time) == (
                chunk.message_start_time, chunk.message_end_time,
            )  # fmt: skip
            assert (index.compressed_size, index.uncompressed_size) == (len(chunk.data), chunk.uncompressed_size)
            position = start + index.chunk_length
            assert min(index.message_index_offsets.values()) == position
            while position < start + index.chunk_length + index.message_index_length:
                opcode, length, channel = struct.unpack_from('<BQH', content, position)
                assert opcode == 7
                assert index.message_index_offsets[channel] == position
                listed += (length - 6) // 16
                position += 9 + length
            assert position == start + index.chunk_length + index.message_index_length
        (statistics,) = (record for record in found if isinstance(record, Statistics))
        assert statistics.message_count == listed == sum(statistics.channel_message_counts.values())
        assert statistics.chunk_count == len(chunks)
        assert sum(len(record.records) for record in found if isinstance(record, MessageIndex)) == listed
        (footer,) = (record for record in found if isinstance(record, Footer))
        assert footer.summary_crc == zlib.crc32(content[footer.summary_start : -12])
        with file.open('rb') as stream:
            reader = make_reader(stream)
            assert reader.get_header().profile == 'ros2'
            assert {c.message_encoding for c in reader.get_summary().channels.values()} == {'cdr'}
            assert {s.encoding for s in reader.get_summary().schemas.values()} == {'ros2msg'}
            assert [metadata.name for metadata in reader.iter_metadata()] == ['rosbag2']


def test_the_metadata_is_what_rosbag2_writes(tmp_path):
    write_three_files(tmp_path / 'x')
    info = yaml.safe_load((tmp_path / 'x' / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert info['version'] == 8
    assert info['storage_identifier'] == 'mcap'
    assert info['relative_file_paths'] == ['x_0.mcap', 'x_1.mcap', 'x_2.mcap']
    assert info['starting_time'] == {'nanoseconds_since_epoch': 1000}
    assert info['duration'] == {'nanoseconds': 29}
    assert info['message_count'] == 32
    assert info['files'][1] == {
        'path': 'x_1.mcap',
        'starting_time': {'nanoseconds_since_epoch': 1009},
        'duration': {'nanoseconds': 10},
        'message_count': 11,
    }
    counts = {entry['topic_metadata']['name']: entry['message_count'] for entry in info['topics_with_message_count']}
    assert counts == {'/info': 3, '/text': 29}
    qos = yaml.safe_load(info['topics_with_message_count'][0]['topic_metadata']['offered_qos_profiles'])
    assert (qos[0]['durability'], qos[0]['depth']) == (1, 1)


def test_repeated_messages_keep_the_time_at_which_they_were_sent(tmp_path):
    write_three_files(tmp_path / 'x')
    with (tmp_path / 'x' / 'x_2.mcap').open('rb') as stream:
        _, channel, message = next(make_reader(stream).iter_messages())
    assert (channel.topic, message.log_time, message.publish_time) == ('/info', 1019, 1003)


def test_static_transforms_of_several_publishers_are_all_repeated_the_last_of_each(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/tf_static', 'tf2_msgs/msg/TFMessage')
        for number in range(150):
            bag.write('/tf_static', number, transforms('radar', x=float(number)))
            bag.write('/tf_static', number, transforms('camera', 'lidar', x=-float(number)))
        bag.write('/tf_static', 150, b'\0\1\0\0broken')
        bag.split()
    lone = BagReader(tmp_path / 'x' / 'x_1.mcap')
    broken, merged = lone.raw_messages()
    assert broken.data == b'\0\1\0\0broken'
    message = lone.decode(merged)
    assert {t.child_frame_id: t.transform.translation.x for t in message.transforms} == {
        'radar': 149.0, 'camera': -149.0, 'lidar': -149.0,
    }  # fmt: skip


def test_as_many_latched_messages_are_repeated_as_the_publisher_keeps(tmp_path):
    qos = qos_profile(True)
    deep = Qos(**{**{name: getattr(qos, name) for name in qos._fields}, 'depth': 3})
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/deep', 'std_msgs/msg/String', qos=deep)
        for number in range(5):
            bag.write('/deep', number, text(str(number)))
        bag.split()
    lone = BagReader(tmp_path / 'x' / 'x_1.mcap')
    assert [lone.decode(m).data for m in lone.raw_messages()] == ['2', '3', '4']
    assert lone.streams['/deep'].qos[0] == deep


def test_topics_may_come_late_and_are_in_all_files_from_then_on(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/a', 'std_msgs/msg/String')
        bag.write('/a', 1, text('a'))
        bag.split()
        bag.add_topic('/b', 'sensor_msgs/msg/Image', qos=qos_profile(False))
        bag.write('/b', 2, b'\0\1\0\0')
        bag.split()
        bag.add_topic('/c', 'std_msgs/msg/String')
        bag.write('/c', 3, text('c'))
    assert [set(BagReader(tmp_path / 'x' / f'x_{number}.mcap').streams) for number in range(3)] == [
        {'/a'}, {'/a', '/b'}, {'/a', '/b', '/c'},
    ]  # fmt: skip
    assert {topic: stream.count for topic, stream in BagReader(tmp_path / 'x').streams.items()} == {
        '/a': 1, '/b': 1, '/c': 1,
    }  # fmt: skip


def test_nothing_is_split_off_a_file_without_messages(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.split()
        bag.add_topic('/a', 'std_msgs/msg/String', latched=True)
        bag.split()
        bag.write('/a', 1, text('a'))
        bag.split()
        bag.split()
        assert bag.file.name == 'x_1.mcap'


def test_a_bag_without_messages_opens(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/a', 'std_msgs/msg/String')
    reader = BagReader(tmp_path / 'x')
    assert reader.streams['/a'].count == 0
    assert list(reader.raw_messages()) == []
    assert repair_bag(tmp_path / 'x').sound


def test_unknown_types_come_with_their_definition(tmp_path):
    idl = '=' * 80 + '\nIDL: my_msgs/msg/Other\nmodule my_msgs { module msg { struct Other { long a; }; }; };\n'
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/thing', 'my_msgs/msg/Thing', definition='uint32 number\n')
        bag.add_topic('/other', 'my_msgs/msg/Other', definition=idl, type_hash=HASH)
        bag.add_topic('/odd', 'my_msgs/msg/Odd', definition='what is this?')
        for topic in ('/thing', '/other', '/odd'):
            bag.write(topic, 1, b'\0\1\0\0\7\0\0\0')
    streams = BagReader(tmp_path / 'x').streams
    assert streams['/thing'].definition == 'uint32 number\n'
    assert (streams['/other'].definition, streams['/other'].definition_format) == (idl, 'idl')
    with Reader(tmp_path / 'x') as reader:
        digests = {connection.topic: connection.digest for connection in reader.connections}
    assert digests['/thing'].startswith('RIHS01_')
    assert digests['/other'] == HASH
    assert digests['/odd'] == ''


def test_a_type_that_differs_from_ours_needs_its_definition(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        with pytest.raises(BagError, match='topic /a: expected a definition with the type std_msgs/msg/String, whose'):
            bag.add_topic('/a', 'std_msgs/msg/String', type_hash=HASH)
        bag.add_topic('/a', 'std_msgs/msg/String', type_hash=HASH, definition='string text\n')
        bag.write('/a', 1, text('a'))
    assert BagReader(tmp_path / 'x').streams['/a'].definition == 'string text\n'


@pytest.mark.parametrize('compress', [False, True])
def test_a_message_far_larger_than_a_chunk_is_kept_whole(tmp_path, compress):
    large = b'\0\1\0\0' + bytes(range(256)) * 300_000
    with StreamingBag(tmp_path / 'x', compress=compress, chunk_bytes=1000) as bag:
        bag.add_topic('/a', 'std_msgs/msg/UInt8MultiArray')
        for time_ns, data in enumerate((b'\0\1\0\0', large, memoryview(large)[:40_000])):
            bag.write('/a', time_ns, data)
    assert [m.data for m in BagReader(tmp_path / 'x').raw_messages()] == [b'\0\1\0\0', large, large[:40_000]]


def test_a_buffer_may_be_used_again_at_once(tmp_path):
    buffers = [bytearray(b'\0\1\0\0' + b'\7' * size) for size in (10, 100_000)]
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/a', 'std_msgs/msg/UInt8MultiArray')
        bag.add_topic('/latched', 'std_msgs/msg/UInt8MultiArray', latched=True)
        for topic in ('/a', '/latched'):
            for buffer in buffers:
                bag.write(topic, 1, memoryview(buffer))
        for buffer in buffers:
            buffer[4:] = bytes(len(buffer) - 4)
        bag.split()
    assert {m.data[-1] for m in BagReader(tmp_path / 'x').raw_messages()} == {7}


def test_stamps_out_of_order_are_read_in_order(tmp_path):
    times = [50, 10, 40, 20, 30, 5, 60]
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/a', 'std_msgs/msg/String')
        for number, time_ns in enumerate(times):
            bag.write('/a', time_ns, text(str(time_ns)))
            if number == 3:
                bag.flush()
    reader = BagReader(tmp_path / 'x')
    assert (reader.start_ns, reader.end_ns) == (5, 60)
    assert [m.time_ns for m in reader.raw_messages()] == sorted(times)
    with (tmp_path / 'x' / 'x_0.mcap').open('rb') as stream:
        assert [m.log_time for _, _, m in make_reader(stream).iter_messages()] == sorted(times)
    for record in records(tmp_path / 'x' / 'x_0.mcap'):
        if isinstance(record, MessageIndex):
            assert record.records == sorted(record.records)


def test_what_was_flushed_is_in_the_file_and_so_is_what_waited_long_enough(tmp_path):
    bag = StreamingBag(tmp_path / 'x', flush_interval_s=0.05)
    bag.add_topic('/a', 'std_msgs/msg/String')
    empty = bag.file.stat().st_size
    bag.write('/a', 1, text('a'))
    assert bag.file.stat().st_size == empty
    time.sleep(0.06)
    bag.write('/a', 2, text('b'))
    flushed = bag.file.stat().st_size
    assert flushed > empty
    bag.write('/a', 3, text('c'))
    bag.flush()
    assert bag.file.stat().st_size > flushed
    shutil.copytree(bag.path, tmp_path / 'copy')
    assert repair_bag(tmp_path / 'copy').messages == 3
    bag.close()


def test_it_tells_how_far_it_is(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/a', 'std_msgs/msg/String', latched=True)
        assert bag.file == tmp_path / 'x' / 'x_0.mcap'
        bag.write('/a', 7, text('a' * 1000))
        bag.write('/a', 8, text('a' * 1000))
        assert bag.message_count == 2
        assert 2000 < bag.file_bytes == bag.bytes < 10_000
        bag.split()
        assert bag.file == tmp_path / 'x' / 'x_1.mcap'
        assert bag.message_count == 3
        assert bag.bytes == (tmp_path / 'x' / 'x_0.mcap').stat().st_size + bag.file_bytes
    assert bag.bytes == sum(file.stat().st_size for file in (tmp_path / 'x').glob('*.mcap'))
    assert bag.message_count == 3


def test_a_bag_in_the_making_has_no_metadata_and_is_named_as_such(tmp_path):
    bag = StreamingBag(tmp_path / 'x')
    with pytest.raises(BagError, match=r'without metadata.yaml.*`radio-visual-ssl repair .*/x` completes'):
        BagReader(bag.path)
    bag.close()
    bag.close()
    assert BagReader(bag.path).streams == {}


def test_wrong_use_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(BagError, match='/file: exists already; a bag never overwrites anything'):
        StreamingBag(tmp_path / 'file')
    with pytest.raises(BagError, match='/file/x: cannot be written: '):
        StreamingBag(tmp_path / 'file' / 'x')
    with StreamingBag(tmp_path / 'deep' / 'x') as bag:
        with pytest.raises(BagError, match='/x: exists already'):
            StreamingBag(bag.path)
        bag.add_topic('/a', 'std_msgs/msg/String')
        with pytest.raises(BagError, match='topic /a: declared twice'):
            bag.add_topic('/a', 'std_msgs/msg/String')
        with pytest.raises(BagError, match="topic 'b': expected a leading slash"):
            bag.add_topic('b', 'std_msgs/msg/String')
        with pytest.raises(BagError, match='topic /b: expected a definition with the unknown type my_msgs/msg/Thing'):
            bag.add_topic('/b', 'my_msgs/msg/Thing', type_hash=HASH)
        with pytest.raises(BagError, match='topic /b: expected one that was declared with add_topic'):
            bag.write('/b', 1, text('b'))
        with pytest.raises(BagError, match='topic /a: expected a stamp from 0 ns on, got -1 ns'):
            bag.write('/a', -1, text('a'))
    for use in (bag.flush, bag.split, lambda: bag.write('/a', 1, text('a')), lambda: bag.add_topic('/c', 'x/msg/Y')):
        with pytest.raises(BagError, match='/x: the bag is closed'):
            use()


def test_best_effort_and_latched_qos_are_offered_as_they_were(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/kept', 'std_msgs/msg/String', qos=qos_profile(True))
        bag.add_topic('/free', 'sensor_msgs/msg/CameraInfo', qos=qos_profile(False))
        bag.write('/kept', 1, text('a'))
    streams = BagReader(tmp_path / 'x').streams
    assert streams['/kept'].qos[0].durability == QosDurability.TRANSIENT_LOCAL
    assert streams['/free'].qos[0].durability == QosDurability.VOLATILE


# A full disk ----------------------------------------------------------------------------------------------------------


def write_until_it_fails(bag: StreamingBag, size: int = 200_000) -> tuple[int, BagError]:
    bag.add_topic('/info', 'std_msgs/msg/String', latched=True)
    bag.add_topic('/a', 'std_msgs/msg/UInt8MultiArray')
    bag.write('/info', 0, text('info'))
    for number in range(1, 10_000):
        try:
            bag.write('/a', number, b'\0\1\0\0' + number.to_bytes(4, 'little') + bytes(size))
        except BagError as error:
            return number, error
        if number % 17 == 0:
            bag.split()
    raise AssertionError('the disk never filled up')


@pytest.mark.parametrize('filled_up', [False, True])
def test_a_full_disk_ends_the_bag_cleanly_with_all_before_it(small_disk, filled_up):
    bag = StreamingBag(small_disk.path / 'x', chunk_bytes=500_000)
    failed, error = write_until_it_fails(bag)
    assert 'disk/x: cannot be written: [Errno 28] No space left on device' in str(error)
    with pytest.raises(BagError, match='No space left'):
        bag.write('/a', failed + 1, b'\0\1\0\0')
    with pytest.raises(BagError, match='No space left'):
        bag.split()
    if filled_up:
        small_disk.fill()
    bag.close()
    messages = list(BagReader(bag.path).raw_messages(['/a']))
    assert [m.time_ns for m in messages] == list(range(1, len(messages) + 1))
    assert failed - 4 <= len(messages) < failed
    assert repair_bag(bag.path).sound
    assert not (bag.path / '.reserve').exists()


def test_a_disk_that_others_fill_ends_the_bag_cleanly(small_disk):
    bag = StreamingBag(small_disk.path / 'x')
    bag.add_topic('/a', 'std_msgs/msg/UInt8MultiArray')
    bag.write('/a', 1, b'\0\1\0\0')
    bag.flush()
    small_disk.fill()
    bag.write('/a', 2, b'\0\1\0\0' + bytes(100_000))
    with pytest.raises(BagError, match='No space left'):
        bag.flush()
    bag.close()
    assert [m.time_ns for m in BagReader(bag.path).raw_messages()] == [1]


def test_a_disk_found_full_when_closing_is_told_and_the_bag_is_complete(small_disk):
    bag = StreamingBag(small_disk.path / 'x')
    bag.add_topic('/a', 'std_msgs/msg/UInt8MultiArray')
    bag.write('/a', 1, b'\0\1\0\0')
    bag.flush()
    bag.write('/a', 2, b'\0\1\0\0' + bytes(100_000))
    small_disk.fill()
    with pytest.raises(BagError, match='disk/x: cannot be written: .*No space left'):
        bag.close()
    assert [m.time_ns for m in BagReader(bag.path).raw_messages()] == [1]


def test_a_full_disk_is_told_when_a_bag_begins_and_nothing_is_left(small_disk):
    small_disk.fill()
    with pytest.raises(BagError, match='disk/x: cannot be written: .*No space left'):
        StreamingBag(small_disk.path / 'x')
    assert [path.name for path in small_disk.path.iterdir()] == ['other']


def test_a_killed_recorders_bag_is_repaired_on_a_disk_that_is_still_full(small_disk):
    bag = StreamingBag(small_disk.path / 'x')
    bag.add_topic('/a', 'std_msgs/msg/UInt8MultiArray')
    for number in range(8):
        bag.write('/a', number, b'\0\1\0\0' + bytes(500_000))
    bag.flush()
    lost = small_disk.path / 'lost'
    shutil.copytree(bag.path, lost)
    small_disk.fill()
    report = repair_bag(lost)
    assert report.messages == len(list(BagReader(lost).raw_messages())) == 8
    bag.close()


PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
from radio_visual_ssl.bags.streaming import StreamingBag
bag = StreamingBag(sys.argv[1], chunk_bytes=400_000)
bag.add_topic('/a', 'std_msgs/msg/UInt8MultiArray')
try:
    for number in range(1000):
        bag.write('/a', number, bytes(70_000))
except ValueError as error:
    print(error)
bag.close()
"""


def test_a_limit_on_the_size_of_files_ends_the_bag_cleanly(tmp_path):
    result = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(tmp_path / 'x')],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert '/x: cannot be written: [Errno 27] File too large' in result.stdout
    assert 30 < len(list(BagReader(tmp_path / 'x').raw_messages())) < 43
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3_000_000


def test_topics_without_a_message_are_declared_before_the_summary(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/data', 'std_msgs/msg/String')
        bag.write('/data', 1, text('x'))
        bag.flush()
        bag.add_topic('/silent', 'std_msgs/msg/String')
    with (tmp_path / 'x' / 'x_0.mcap').open('rb') as stream:
        data = itertools.takewhile(lambda record: not isinstance(record, DataEnd), StreamReader(stream).records)
        assert [record.topic for record in data if isinstance(record, Channel)] == ['/data', '/silent']
    assert BagReader(tmp_path / 'x').streams['/silent'].count == 0
    assert repair_bag(tmp_path / 'x').sound
