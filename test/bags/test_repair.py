# SPDX-License-Identifier: Apache-2.0
"""A killed recorder's bag is completed with every whole message, a sound one is left alone."""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader, StoragePlugin
from rosbags.rosbag2 import Writer as RosbagsWriter

from radio_visual_ssl.bags.metadata import BagError, qos_profile
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.repair import RepairReport, repair_bag
from radio_visual_ssl.bags.streaming import StreamingBag
from radio_visual_ssl.bags.typestore import typestore
from radio_visual_ssl.bags.writer import BagWriter

REPOSITORY = Path(__file__).parents[2]
TYPE = 'std_msgs/msg/UInt8MultiArray'


def payload(number: int) -> bytes:
    size = 40 * (number % 4) if number < 100 else 4000
    return b'\0\1\0\0' + number.to_bytes(4, 'little') + random.Random(number).randbytes(size)


def write_torn(path: Path, messages: int = 12, *, per_chunk: int = 4, compress: bool = False) -> Path:
    """A bag of one file whose recorder was killed after it had flushed everything; gives the file."""
    living = path.parent / 'living' / path.name
    bag = StreamingBag(living, compress=compress)
    bag.add_topic('/info', 'std_msgs/msg/String', latched=True)
    bag.add_topic('/data', TYPE)
    bag.write('/info', 0, b'\0\1\0\0\1\0\0\0\0')
    for number in range(messages):
        bag.write('/data', 1000 + number, payload(number))
        if number % per_chunk == per_chunk - 1:
            bag.flush()
    bag.flush()
    shutil.copytree(living, path)
    bag.close()
    shutil.rmtree(living)
    return path / f'{path.name}_0.mcap'


def numbers_in(path: Path, topic: str = '/data') -> list[int]:
    """Numbers of the messages of a bag, after a look at it with every reader."""
    found = [message for message in BagReader(path).raw_messages() if message.topic == topic]
    with AnyReader([path]) as reader:
        assert len(list(reader.messages())) == reader.message_count
        assert reader.topics[topic].msgcount == len(found)
    for file in path.glob('*.mcap') if path.is_dir() else [path]:
        with file.open('rb') as stream:
            records = list(StreamReader(stream, validate_crcs=True).records)
        with file.open('rb') as stream:
            reader = make_reader(stream, validate_crcs=True)
            indexed = len(list(reader.iter_messages()))
            assert indexed == reader.get_summary().statistics.message_count
            assert indexed == sum(type(record).__name__ == 'Message' for record in records)
    for message in found:
        assert message.data == payload(int.from_bytes(message.data[4:8], 'little'))
    return [int.from_bytes(message.data[4:8], 'little') for message in found]


def test_twenty_killed_writers_lose_no_more_than_the_last_second(tmp_path):
    program = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name('killed_writers.py')), str(tmp_path), '20', '3'],
        stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': str(REPOSITORY)},
    )  # fmt: skip
    assert program.stdout is not None
    killed = 0
    for line in program.stdout:
        entry = json.loads(line)
        path = tmp_path / entry['bag']
        with pytest.raises(BagError, match=f'`radio-visual-ssl repair {path}` completes'):
            BagReader(path)
        report = repair_bag(path)
        assert not report.sound
        assert repair_bag(path).sound
        found = [message for message in BagReader(path).raw_messages() if message.topic == '/data']
        assert [struct.unpack_from('<I', message.data, 4)[0] for message in found] == list(range(len(found)))
        assert [message.time_ns for message in found][: len(entry['times_ns'])] == entry['times_ns'][: len(found)]
        due = [time_ns for time_ns in entry['times_ns'] if time_ns < entry['killed_ns'] - 1_000_000_000]
        assert len(found) >= len(due)
        for file in report.files:
            streams = {} if file.state == 'empty' else BagReader(path / file.name).streams
            assert not streams or streams['/info'].count == 1
        shutil.rmtree(path)
        killed += 1
    assert program.wait(60) == 0
    assert killed == 20


@pytest.mark.parametrize('compress', [False, True])
def test_wherever_a_file_is_cut_all_whole_messages_before_are_kept(tmp_path, compress):
    file = write_torn(tmp_path / 'x', compress=compress)
    content = file.read_bytes()
    lone = tmp_path / 'lone.mcap'
    before = 0
    for cut in range(0, len(content), 29):
        lone.write_bytes(content[:cut])
        try:
            report = repair_bag(lone)
        except BagError as error:
            assert 'before it wrote anything' in str(error)
            assert before == 0
            assert lone.read_bytes() == content[:cut]
            continue
        with Reader(lone) as reader:
            times = [t for c, t, _ in reader.messages() if c.topic == '/data']
        assert times == [1000 + number for number in range(len(times))]
        assert report.messages == len(times) + (report.messages > 0)
        assert compress or len(times) >= before
        before = len(times)
        again = lone.read_bytes()
        assert repair_bag(lone).sound
        assert lone.read_bytes() == again
    lone.write_bytes(content)
    assert repair_bag(lone).messages == 13
    assert numbers_in(lone) == list(range(12))


@pytest.mark.parametrize('compress', [False, True])
def test_whole_messages_of_a_torn_chunk_are_salvaged(tmp_path, compress):
    file = write_torn(tmp_path / 'x', 400, per_chunk=200, compress=compress)
    os.truncate(file, file.stat().st_size - 300_000)
    report = repair_bag(tmp_path / 'x')
    assert not report.sound
    assert report.metadata_written
    (found,) = report.files
    assert found.state == 'completed'
    assert found.problems == ['the last chunk is torn']
    assert 0 < found.salvaged < 200
    assert report.messages == 201 + found.salvaged
    assert numbers_in(tmp_path / 'x') == list(range(200 + found.salvaged))
    assert (report.start_ns, report.end_ns) == (0, 1000 + 199 + found.salvaged)


def test_an_interrupted_repair_can_be_repeated(tmp_path):
    file = write_torn(tmp_path / 'x', 100, per_chunk=50)
    os.truncate(file, file.stat().st_size - 2500)
    repair_bag(tmp_path / 'x')
    expected = numbers_in(tmp_path / 'x')
    whole = file.read_bytes()
    for cut in range(1, 1200, 97):
        file.write_bytes(whole[:-cut])
        report = repair_bag(tmp_path / 'x')
        assert report.messages == len(expected) + 1
        assert numbers_in(tmp_path / 'x') == expected
        assert file.read_bytes() == whole


def test_the_topics_come_back_as_they_were_declared(tmp_path):
    with BagWriter(tmp_path / 'whole') as bag:
        bag.add_topic('/own', 'my_msgs/msg/Thing', definition='uint32 number\n', qos=qos_profile(True))
        bag.write_serialized('/own', 5, 'my_msgs/msg/Thing', b'\0\1\0\0\7\0\0\0')
    expected = (tmp_path / 'whole' / 'metadata.yaml').read_text()
    (tmp_path / 'whole' / 'metadata.yaml').unlink()
    report = repair_bag(tmp_path / 'whole')
    assert [file.state for file in report.files] == ['sound']
    assert report.metadata_written
    assert (tmp_path / 'whole' / 'metadata.yaml').read_text() == expected


def test_a_sound_bag_is_left_untouched(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        bag.add_topic('/data', TYPE)
        bag.write_serialized('/data', 5, TYPE, payload(1))
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in bag.path.iterdir()}
    report = repair_bag(bag.path)
    assert report.sound
    assert [(file.state, file.problems) for file in report.files] == [('sound', [])]
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in bag.path.iterdir()} == before


def test_metadata_that_names_other_files_or_counts_is_written_anew(tmp_path):
    write_torn(tmp_path / 'x')
    repair_bag(tmp_path / 'x')
    metadata = tmp_path / 'x' / 'metadata.yaml'
    right = metadata.read_text()
    for wrong in ('', 'a: [', right.replace('x_0', 'y_0'), right.replace('message_count: 13', 'message_count: 12')):
        metadata.write_text(wrong)
        assert repair_bag(tmp_path / 'x').metadata_written
        assert metadata.read_text() == right


def test_a_file_that_a_crash_left_empty_is_not_part_of_the_bag(tmp_path):
    write_torn(tmp_path / 'x')
    for content in (b'', b'\x89MC', bytes(500)):
        (tmp_path / 'x' / 'x_1.mcap').write_bytes(content)
        report = repair_bag(tmp_path / 'x')
        assert [file.state for file in report.files][1] == 'empty'
        assert (tmp_path / 'x' / 'x_1.mcap').read_bytes() == content
        assert len(list(BagReader(tmp_path / 'x').raw_messages())) == 13
        assert repair_bag(tmp_path / 'x').sound


def test_files_are_read_in_the_order_of_their_numbers(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/data', TYPE)
        for number in range(12):
            bag.write('/data', number, payload(number))
            bag.split()
    (tmp_path / 'x' / 'metadata.yaml').unlink()
    report = repair_bag(tmp_path / 'x')
    assert [file.name for file in report.files] == [f'x_{number}.mcap' for number in range(13)]
    assert numbers_in(tmp_path / 'x') == list(range(12))


# Damage ---------------------------------------------------------------------------------------------------------------


def test_a_damaged_chunk_is_set_aside_and_all_others_are_kept(tmp_path):
    file = write_torn(tmp_path / 'x', 12)
    content = bytearray(file.read_bytes())
    content[content.index(payload(7)) + 10] ^= 1
    file.write_bytes(content)
    report = repair_bag(tmp_path / 'x')
    assert report.files[0].problems[0].startswith('the chunk at byte ')
    assert report.files[0].problems[0].endswith(' has a wrong checksum')
    assert report.files[0].set_aside_bytes > 0
    assert numbers_in(tmp_path / 'x') == [0, 1, 2, 3, 8, 9, 10, 11]
    assert repair_bag(tmp_path / 'x').sound
    assert payload(7)[:10] in file.read_bytes()


def test_a_bag_of_which_nothing_would_be_left_is_refused_and_not_touched(tmp_path):
    file = write_torn(tmp_path / 'bag', 12, per_chunk=12)
    content = bytearray(file.read_bytes())
    content[content.index(payload(7)) + 10] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        BagError, match=r'bag: expected messages that can be read, found none; nothing was changed: the chunk'
    ):
        repair_bag(tmp_path / 'bag')
    assert file.read_bytes() == content


def test_damage_in_a_file_that_was_closed_is_found(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/data', TYPE)
        for number in range(12):
            bag.write('/data', number, payload(number))
            bag.flush()
    file = tmp_path / 'x' / 'x_0.mcap'
    content = bytearray(file.read_bytes())
    for at in (content.index(payload(5)) - 20, content.index(payload(11)) + 30):
        content[at] ^= 0xFF
    file.write_bytes(content)
    report = repair_bag(tmp_path / 'x')
    assert len(report.files[0].problems) == 2
    assert numbers_in(tmp_path / 'x') == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert repair_bag(tmp_path / 'x').sound


@pytest.mark.parametrize('tail', [bytes(3), bytes(5000), b'\x06', b'\xfe\x01\x02', os.urandom(1) + b'\xff' * 5000])
def test_what_follows_the_last_record_does_no_harm(tmp_path, tail):
    file = write_torn(tmp_path / 'x')
    with file.open('ab') as stream:
        stream.write(tail)
    report = repair_bag(tmp_path / 'x')
    assert report.files[0].state == 'completed'
    assert report.files[0].removed_bytes + report.files[0].set_aside_bytes == len(tail)
    assert numbers_in(tmp_path / 'x') == list(range(12))
    assert repair_bag(tmp_path / 'x').sound


def test_random_damage_never_raises_anything_but_a_bag_error(tmp_path):
    content = write_torn(tmp_path / 'x', 40, per_chunk=5).read_bytes()
    chance = random.Random(1)
    lone = tmp_path / 'lone.mcap'
    for _ in range(80):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.choice((1, 1, 8, 100))] = chance.randbytes(chance.choice((1, 1, 8, 100)))
        lone.write_bytes(damaged)
        try:
            report = repair_bag(lone)
        except BagError:
            continue
        with lone.open('rb') as stream:
            assert len(list(make_reader(stream).iter_messages())) == report.messages
        assert repair_bag(lone).sound


# Files of other recorders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('keep', [0.5, 0.9, 1.0])
@pytest.mark.parametrize('compression', list(CompressionType))
def test_chunked_files_of_other_writers_are_completed(tmp_path, compression, keep):
    lone = tmp_path / 'lone.mcap'
    with lone.open('wb') as stream:
        writer = Writer(stream, chunk_size=4000, compression=compression)
        writer.start(profile='ros2')
        schema = writer.register_schema(TYPE, 'ros2msg', typestore().generate_msgdef(TYPE)[0].encode())
        channel = writer.register_channel('/data', 'cdr', schema)
        for number in range(400):
            writer.add_message(channel, number, payload(number), number)
        size = stream.tell()
        writer.finish()
    os.truncate(lone, int(size * keep))
    report = repair_bag(lone)
    found = numbers_in(lone)
    assert found == list(range(report.messages))
    assert report.messages >= 400 * keep - 100
    assert repair_bag(lone).sound


@pytest.mark.parametrize('qos', ['- history: null', 'a: [', '- 3', 'none'])
def test_topics_whose_qos_cannot_be_read_go_without(tmp_path, qos):
    lone = tmp_path / 'lone.mcap'
    with lone.open('wb') as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile='ros2')
        schema = writer.register_schema(TYPE, 'ros2msg', typestore().generate_msgdef(TYPE)[0].encode())
        channel = writer.register_channel('/data', 'cdr', schema, {'offered_qos_profiles': qos})
        writer.add_message(channel, 1, payload(1), 1)
        writer.finish()
    os.truncate(lone, lone.stat().st_size - 10)
    assert repair_bag(lone).messages == 1


@pytest.mark.parametrize('chunked', [False, True])
def test_files_without_an_index_are_completed(tmp_path, chunked):
    lone = tmp_path / 'lone.mcap'
    with lone.open('wb') as stream:
        writer = Writer(
            stream, 500, CompressionType.NONE, index_types=IndexType.CHUNK, use_chunking=chunked,
        )  # fmt: skip
        writer.start(profile='ros2')
        schema = writer.register_schema(TYPE, 'ros2msg', typestore().generate_msgdef(TYPE)[0].encode())
        channel = writer.register_channel('/data', 'cdr', schema)
        for number in range(40):
            writer.add_message(channel, number, payload(number), number)
        size = stream.tell()
        writer.finish()
    os.truncate(lone, size - 100)
    report = repair_bag(lone)
    with Reader(lone) as reader:
        assert [t for _, t, _ in reader.messages()] == list(range(report.messages))
    assert 30 < report.messages < 40
    assert repair_bag(lone).sound


def test_bags_of_rosbags_are_sound_and_completed_when_torn(tmp_path):
    with RosbagsWriter(tmp_path / 'x', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(
            '/data', TYPE, typestore=typestore(), offered_qos_profiles=[qos_profile(True)]
        )
        for number in range(20):
            writer.write(connection, number, payload(number))
    assert repair_bag(tmp_path / 'x').sound
    (tmp_path / 'x' / 'metadata.yaml').unlink()
    file = tmp_path / 'x' / 'x.mcap'
    os.truncate(file, file.stat().st_size - 300)
    assert repair_bag(tmp_path / 'x').messages == 20
    assert numbers_in(tmp_path / 'x') == list(range(20))
    assert BagReader(tmp_path / 'x').streams['/data'].qos == (qos_profile(True),)


# Use ------------------------------------------------------------------------------------------------------------------


def test_a_bag_that_is_being_recorded_is_refused(tmp_path):
    with StreamingBag(tmp_path / 'x') as bag:
        bag.add_topic('/data', TYPE)
        bag.write('/data', 1, payload(1))
        bag.flush()
        with pytest.raises(BagError, match='/x: file x_0.mcap: is being recorded; stop the recorder first'):
            repair_bag(tmp_path / 'x')
        bag.write('/data', 2, payload(2))
    assert numbers_in(tmp_path / 'x') == [1, 2]
    assert repair_bag(tmp_path / 'x').sound


def test_what_is_no_mcap_bag_is_named(tmp_path):
    with pytest.raises(BagError, match='/none: expected a rosbag2 folder of MCAP files .* found nothing there'):
        repair_bag(tmp_path / 'none')
    (tmp_path / 'text').write_text('hello')
    with pytest.raises(BagError, match='/text: expected .* found another file'):
        repair_bag(tmp_path / 'text')
    (tmp_path / 'sql').mkdir()
    with pytest.raises(BagError, match='/sql: expected .* found nothing'):
        repair_bag(tmp_path / 'sql')
    (tmp_path / 'sql' / 'sql_0.db3').write_text('hello')
    with pytest.raises(BagError, match='/sql: expected .* found sql_0.db3'):
        repair_bag(tmp_path / 'sql')
    (tmp_path / 'x.mcap').write_text('something else entirely')
    with pytest.raises(BagError, match='/x.mcap: expected an MCAP file, found another'):
        repair_bag(tmp_path / 'x.mcap')
    with (tmp_path / 'x.mcap').open('wb') as stream:
        Writer(stream).start(profile='ros1')
    with pytest.raises(BagError, match="/x.mcap: expected an MCAP file of profile 'ros2', got 'ros1'"):
        repair_bag(tmp_path / 'x.mcap')
    bag = StreamingBag(tmp_path / 'begun')
    shutil.copytree(bag.path, tmp_path / 'killed')
    os.truncate(tmp_path / 'killed' / 'begun_0.mcap', 20)
    with pytest.raises(BagError, match='/killed: expected an MCAP bag, but .* before it wrote anything'):
        repair_bag(tmp_path / 'killed')
    bag.close()


def test_on_a_disk_that_cannot_be_written_a_sound_bag_is_told_and_a_torn_one_needs_permission(small_disk):
    write_torn(small_disk.path / 'torn')
    shutil.copytree(small_disk.path / 'torn', small_disk.path / 'sound')
    repair_bag(small_disk.path / 'sound')
    small_disk.make_read_only()
    assert repair_bag(small_disk.path / 'sound').sound
    with pytest.raises(BagError, match='/torn: file torn_0.mcap: needs a repair, but there is no permission to write'):
        repair_bag(small_disk.path / 'torn')
    with pytest.raises(BagError, match='/new: cannot be written: .*Read-only file system'):
        StreamingBag(small_disk.path / 'new')


def test_progress_tells_the_bytes_read(tmp_path):
    write_torn(tmp_path / 'x')
    steps: list[tuple[int, int]] = []
    size = (tmp_path / 'x' / 'x_0.mcap').stat().st_size
    repair_bag(tmp_path / 'x', lambda done, total: steps.append((done, total)))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert {total for _, total in steps} == {size}
    assert steps[-1][0] <= size


def repair(path: Path) -> tuple[str, dict]:
    program = 'from radio_visual_ssl.cli import main; main()'
    result = subprocess.run(
        [sys.executable, '-c', program, 'repair', str(path), '--json'],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return result.stderr, json.loads(result.stdout)


def test_the_command_says_what_it_did(tmp_path):
    file = write_torn(tmp_path / 'x', 100, per_chunk=50)
    os.truncate(file, file.stat().st_size - 2500)
    printed, report = repair(tmp_path / 'x')
    assert 'x_0.mcap: completed, ' in printed
    assert 'complete now; ' in printed
    assert report['sound'] is False
    assert report['messages'] == report['files'][0]['messages'] == len(numbers_in(tmp_path / 'x')) + 1
    printed, report = repair(tmp_path / 'x')
    assert 'sound, nothing to do' in printed
    assert report['sound'] is True
    assert isinstance(repair_bag(tmp_path / 'x'), RepairReport)
