# SPDX-License-Identifier: Apache-2.0
"""Recorded bags are paired as a live recorder would have done; nothing of them is lost or changed."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from typer.testing import CliRunner

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.offline_pairing import pair_bags
from radio_visual_ssl.bags.pair_recorder import PairRecorder
from radio_visual_ssl.bags.pairing import IMAGE, RADAR, match_stamps
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.recorder_settings import RecorderSettings
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

TYPES = RosbagsTypes()
MS = 1_000_000
SECOND = 1_000_000_000
START = 1_600_000_000 * SECOND
GRID = PolarGrid([1.0, 2.0], [-0.1, 0.1])
HEATMAP = Heatmap(np.zeros(GRID.shape, np.float32), GRID)
IMAGE_TYPE = 'sensor_msgs/msg/Image'


def heatmap_bytes(stamp_ns, frame_id='radar'):
    return serialize(messages.heatmap_to_image(HEATMAP, stamp_ns, frame_id, TYPES))


def image_bytes(stamp_ns):
    return serialize(messages.image_to_message(np.zeros((2, 3, 3), np.uint8), 'rgb8', stamp_ns, 'camera', TYPES))


def write_info(bag, topic='/radar/heatmap', time_ns=START):
    bag.write(f'{topic}_info', time_ns, messages.heatmap_to_info(HEATMAP, START, 'radar', TYPES))


def write_bag(path, radar, image, *, topics=('/radar/heatmap', '/camera/image_raw'), delays=(5 * MS, 9 * MS)):
    """A bag of (reception time, stamp) or stamps (then received after the stream's delay), with an info message."""
    entries = []
    for side, stamps in ((RADAR, radar), (IMAGE, image)):
        for entry in stamps:
            time_ns, stamp = entry if isinstance(entry, tuple) else (entry + delays[side], entry)
            entries.append((time_ns, topics[side], (heatmap_bytes, image_bytes)[side](stamp)))
    with BagWriter(path) as bag:
        if radar:
            write_info(bag, topics[RADAR], min(START, *(entry[0] for entry in entries)))
        for time_ns, topic, data in sorted(entries, key=lambda entry: entry[0]):
            bag.write_serialized(topic, time_ns, IMAGE_TYPE, data)
    return bag.path


def sensors(seed, seconds=10, offset_ns=0):
    """Stamps of 20 Hz and 30 Hz with +-15 ms of jitter and a tenth lost."""
    rng = random.Random(seed)
    streams = []
    for rate, offset in ((20, 0), (30, offset_ns)):
        stamps = (START + offset + SECOND * k // rate + rng.randint(-15 * MS, 15 * MS) for k in range(seconds * rate))
        streams.append(sorted(stamp for stamp in stamps if rng.random() > 0.1))
    return streams


def pairs_of(path):
    """Pair messages of a bag."""
    return [message for _, message in BagReader(path).messages('/pairs')]


def stamps_of(path):
    return [(messages.stamp_to_ns(p.header.stamp), messages.stamp_to_ns(p.image_stamp)) for p in pairs_of(path)]


def raw(path, *, without=()):
    return Counter(message for message in BagReader(path).raw_messages() if message.topic not in without)


def test_every_message_is_copied_as_it_is_and_the_best_pairs_are_listed(tmp_path):
    radar, image = sensors(1)
    source = write_bag(tmp_path / 'in', radar, image)
    report = pair_bags([source], tmp_path / 'out', slop_s=0.025)
    assert raw(report.path, without=['/pairs']) == raw(source)
    assert BagReader(report.path).streams.items() >= BagReader(source).streams.items(), 'types, definitions and QoS too'
    radars, images = match_stamps(np.array(radar), np.array(image), 25 * MS)
    expected = [(radar[r], image[i]) for r, i in zip(radars, images, strict=True)]
    assert sorted(stamps_of(report.path)) == expected
    found = pairs_of(report.path)
    assert [pair.index for pair in found] == list(range(len(expected)))
    assert {(p.radar_topic, p.image_topic, p.header.frame_id) for p in found} == {
        ('/radar/heatmap', '/camera/image_raw', 'radar')
    }
    differences = np.array([(i - r) / 1e9 for r, i in expected])
    assert report.pairs == len(expected)
    assert report.unpaired_radar == len(radar) - len(expected)
    assert report.unpaired_image == len(image) - len(expected)
    assert report.messages == len(radar) + len(image) + 1 + len(expected)
    assert report.left_out == report.unstamped == report.resets == 0
    assert report.median_difference_s == pytest.approx(np.median(differences))
    assert report.median_abs_difference_s == pytest.approx(np.median(np.abs(differences)))
    assert report.max_abs_difference_s == pytest.approx(np.abs(differences).max())
    assert report.notes() == []


@pytest.mark.parametrize('pairs_only', [False, True])
@pytest.mark.parametrize('slop_s', [0.017, 0.05])
def test_the_index_equals_the_one_that_a_recorder_writes_live(tmp_path, slop_s, pairs_only):
    radar, image = sensors(2, offset_ns=-80 * MS)
    source = write_bag(tmp_path / 'in', radar, image)
    report = pair_bags([source], tmp_path / 'out', slop_s=slop_s, image_offset_s=0.08, pairs_only=pairs_only)
    recording = PairRecorder(
        RecorderSettings(slop_s=slop_s, image_offset_s=0.08, pairs_only=pairs_only, min_free_bytes=0)
    )
    for topic, stream in BagReader(source).streams.items():
        recording.add_topic(topic, stream.type)
    recording.start(tmp_path / 'live')
    for message in BagReader(source).raw_messages():
        recording.receive(message.topic, message.time_ns, messages.serialized_stamp_ns(message.data), message.data)
    recording.close()
    assert report.pairs > 100
    offline, live = (list(BagReader(path).raw_messages(['/pairs'])) for path in (report.path, tmp_path / 'live'))
    assert offline == live, 'messages and their times'
    assert raw(report.path) == raw(tmp_path / 'live', without=['/annotations'])


def test_pairs_follow_the_message_that_made_them_certain(tmp_path):
    source = write_bag(tmp_path / 'in', [START, START + 100 * MS], [START + 3 * MS, START + 90 * MS])
    pair_bags([source], tmp_path / 'out')
    order = [(message.topic, message.time_ns - START) for message in BagReader(tmp_path / 'out').raw_messages()]
    assert order[-1] == ('/pairs', 105 * MS)
    assert [time for topic, time in order if topic == '/pairs'] == [105 * MS, 105 * MS]


def test_a_radar_bag_and_a_camera_bag_become_one(tmp_path):
    radar, image = sensors(3, seconds=4)
    halves = [write_bag(tmp_path / 'a', radar[:40], []), write_bag(tmp_path / 'b', radar[40:], image[:50])]
    halves.append(write_bag(tmp_path / 'c', [], image[50:]))
    whole = write_bag(tmp_path / 'whole', radar, image)
    joined = pair_bags(halves[::-1], tmp_path / 'joined')
    assert stamps_of(joined.path) == stamps_of(pair_bags([whole], tmp_path / 'out').path)
    assert raw(joined.path, without=['/pairs']) == sum((raw(half) for half in halves), Counter())
    times = [message.time_ns for message in BagReader(joined.path).raw_messages()]
    assert times == sorted(times)


def test_only_pairs_are_kept_where_only_pairs_are_wanted(tmp_path):
    source = write_bag(tmp_path / 'in', [START, START + SECOND], [START, START + 500 * MS, START + SECOND])
    report = pair_bags([source], tmp_path / 'out', pairs_only=True)
    assert BagReader(report.path).stamps('/camera/image_raw').tolist() == [START, START + SECOND]
    assert BagReader(report.path).streams['/radar/heatmap_info'].count == 1
    assert (report.left_out, report.unpaired_image, report.pairs) == (1, 1, 2)


def test_stamps_of_reception_pair_what_has_no_stamps_and_are_written_into_it(tmp_path):
    radar = [(START + k * 100 * MS, 0) for k in range(5)]
    image = [(START + k * 100 * MS + 4 * MS, 0) for k in range(5)]
    source = write_bag(tmp_path / 'in', radar, image)
    with pytest.raises(BagError, match=r'topic /radar/heatmap: expected header stamps, got 0 in all 5 messages'):
        pair_bags([source], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    report = pair_bags([source], tmp_path / 'out', stamps='reception')
    assert stamps_of(report.path) == [(r, i) for (r, _), (i, _) in zip(radar, image, strict=True)]
    assert BagReader(report.path).stamps('/radar/heatmap').tolist() == [time for time, _ in radar]
    assert len(list(BagReader(report.path).frames())) == 5


def test_stamps_of_reception_leave_other_stamps_alone(tmp_path):
    radar, image = [(START, START - 300 * MS)], [(START + 10 * MS, START + 7 * SECOND)]
    source = write_bag(tmp_path / 'in', radar, image)
    report = pair_bags([source], tmp_path / 'out', stamps='reception')
    assert raw(report.path, without=['/pairs']) == raw(source)
    (pair,) = pairs_of(report.path)
    assert stamps_of(report.path) == [(START - 300 * MS, START + 7 * SECOND)], 'their own, to find them by'
    assert pair.time_difference == 0.01


def test_single_messages_without_a_stamp_are_in_no_pair_and_counted(tmp_path):
    radar = [(START, 0), (START + 100 * MS, START), (START + 200 * MS, START + 100 * MS)]
    source = write_bag(
        tmp_path / 'in', radar, [(START, 0), (START + 101 * MS, START), (START + 201 * MS, START + 99 * MS)]
    )
    report = pair_bags([source], tmp_path / 'out')
    assert (report.pairs, report.unstamped, report.resets) == (2, 2, 0)
    assert report.notes() == ['2 messages have no header stamp (0 or below) and are in no pair']


def test_other_names_are_found_and_replaced_by_the_default_ones(tmp_path):
    names = ('/car/front/ra', '/car/left/picture')
    source = write_bag(tmp_path / 'in', [START], [START + 2 * MS], topics=names)
    report = pair_bags([source], tmp_path / 'out', image_topic='/car/left/picture', default_names=True)
    assert set(BagReader(report.path).streams) == {
        '/radar/heatmap',
        '/radar/heatmap_info',
        '/camera/image_raw',
        '/pairs',
    }
    assert [(p.radar_topic, p.image_topic) for p in pairs_of(report.path)] == [('/radar/heatmap', '/camera/image_raw')]
    other = pair_bags([source], tmp_path / 'x', image_topic=names[1], rename={names[1]: '/eye'})
    assert (other.radar_topic, other.image_topic) == (names[0], '/eye')


@pytest.mark.parametrize(
    ('image', 'named', 'default'),
    [
        ('/left/eye/compressed', '/left/eye', '/camera/image_raw/compressed'),
        ('/left/eye', '/left/eye', '/camera/image_raw/compressed'),
        ('/left/eye/zstd', '/left/eye/zstd', '/camera/image_raw/zstd'),
    ],
)
def test_all_that_belongs_to_the_streams_gets_its_default_name(tmp_path, image, named, default):
    with BagWriter(tmp_path / 'in') as bag:
        bag.write('/left/sensor/ra_info', START, messages.heatmap_to_info(HEATMAP, START, 'radar', TYPES))
        for topic in ('/left/sensor/ra', '/left/sensor/velocity'):
            bag.write_serialized(topic, START, IMAGE_TYPE, heatmap_bytes(START))
        bag.write('/left/camera_info', START, messages.uncalibrated_info(3, 2, START, 'camera', TYPES))
        picture = np.zeros((2, 3, 3), np.uint8)
        bag.write(image, START, messages.image_to_compressed(picture, 'rgb8', START, 'camera', TYPES))
    report = pair_bags([bag.path], tmp_path / 'out', image_topic=named, default_names=True)
    assert (report.image_topic, report.pairs) == (default, 1)
    others = {'/radar/heatmap', '/radar/heatmap_info', '/radar/velocity', '/camera/camera_info', '/pairs'}
    assert set(BagReader(report.path).streams) == {default, *others}


def test_the_ground_truth_of_the_same_namespace_gets_its_default_name_too(tmp_path):
    names = ('/left/radar/heatmap', '/left/camera/image_raw')
    source = write_bag(tmp_path / 'in', [START], [START + 2 * MS], topics=names)
    truth = tmp_path / 'truth'
    types = RosbagsTypes()
    with BagWriter(truth) as bag:
        for topic in ('/left/ground_truth/targets', '/right/ground_truth/targets', '/left/localizer/targets'):
            bag.write(topic, START, messages.targets_to_message([], START, 'radar', types))
    report = pair_bags(
        [source, truth], tmp_path / 'out', radar_topic=names[0], image_topic=names[1], default_names=True
    )
    targets = {name for name in BagReader(report.path).streams if name.endswith('/targets')}
    assert targets == {'/ground_truth/targets', '/right/ground_truth/targets', '/left/localizer/targets'}


def test_an_old_index_is_replaced(tmp_path):
    source = write_bag(tmp_path / 'in', [START, START + SECOND], [START + 20 * MS, START + SECOND + 20 * MS])
    first = pair_bags([source], tmp_path / 'first')
    second = pair_bags([first.path], tmp_path / 'second', slop_s=0.001)
    assert (first.pairs, second.pairs, second.left_out) == (2, 0, 2)
    assert second.notes() == [
        'the image nearest to a radar frame is 0.020 s away (median); if the clocks differ, the camera offset tells by '
        'how much'
    ]
    third = pair_bags([second.path], tmp_path / 'third')
    assert raw(third.path) == raw(first.path)


def test_stamps_that_jump_back_are_told_and_nothing_is_paired_across(tmp_path):
    loop = [(START + k * 100 * MS, START + (k % 30) * 100 * MS) for k in range(60)]
    source = write_bag(tmp_path / 'in', loop, [(time + 1 * MS, stamp + 5 * MS) for time, stamp in loop])
    report = pair_bags([source], tmp_path / 'out')
    assert (report.pairs, report.resets) == (60, 1)
    assert report.notes() == ['jumps of stamps back in time: 1; nothing was paired across them']


def test_a_type_that_nobody_knows_here_is_copied(tmp_path):
    definition, type_hash = 'uint32 value\n', 'RIHS01_' + 64 * '1'
    with BagWriter(tmp_path / 'in') as bag:
        bag.add_topic('/odd', 'odd_msgs/msg/Odd', definition=definition, type_hash=type_hash)
        bag.write_serialized('/odd', START, 'odd_msgs/msg/Odd', b'\0\1\0\0\7\0\0\0')
        write_info(bag)
        bag.write_serialized('/radar/heatmap', START, IMAGE_TYPE, heatmap_bytes(START))
        bag.write_serialized('/camera/image_raw', START, IMAGE_TYPE, image_bytes(START))
    report = pair_bags([tmp_path / 'in'], tmp_path / 'out')
    stream = BagReader(report.path).streams['/odd']
    assert (stream.type, stream.definition.strip(), stream.type_hash) == ('odd_msgs/msg/Odd', 'uint32 value', type_hash)
    assert raw(report.path, without=['/pairs']) == raw(tmp_path / 'in')


def test_sqlite_bags_and_lone_files_are_read(tmp_path):
    radar, image = sensors(4, seconds=2)
    source = write_bag(tmp_path / 'in', radar, image)
    with Writer(tmp_path / 'sqlite', version=8, storage_plugin=StoragePlugin.SQLITE3) as bag:
        connections = {}
        for message in BagReader(source).raw_messages():
            if message.topic not in connections:
                connections[message.topic] = bag.add_connection(message.topic, message.type, typestore=typestore())
            bag.write(connections[message.topic], message.time_ns, message.data)
    expected = raw(pair_bags([source], tmp_path / 'a').path)
    assert raw(pair_bags([tmp_path / 'sqlite'], tmp_path / 'b').path) == expected
    (lone,) = source.glob('*.mcap')
    assert raw(pair_bags([lone], tmp_path / 'c').path) == expected


@pytest.mark.parametrize(('pairs_only', 'total'), [(False, 4), (True, 7)])
def test_progress_ends_at_all_messages(tmp_path, pairs_only, total):
    source = write_bag(tmp_path / 'in', [START, START + SECOND], [START])
    steps = []
    pair_bags([source], tmp_path / 'out', pairs_only=pairs_only, progress=lambda *step: steps.append(step))
    assert steps == [(done, total) for done in range(1, total + 1)]


def test_a_topic_of_two_types_is_refused(tmp_path):
    write_bag(tmp_path / 'a', [START], [START])
    with BagWriter(tmp_path / 'b') as bag:
        compressed = typestore().types['sensor_msgs/msg/CompressedImage']
        header = messages.header(START, 'camera', TYPES)
        bag.write('/camera/image_raw', START, compressed(header=header, format='jpeg', data=np.zeros(4, np.uint8)))
    expected = (
        'b: topic /camera/image_raw: expected sensor_msgs/msg/Image as in .*a, got sensor_msgs/msg/CompressedImage'
    )
    with pytest.raises(BagError, match=expected):
        pair_bags([tmp_path / 'a', tmp_path / 'b'], tmp_path / 'out')


def test_a_type_of_two_definitions_is_refused(tmp_path):
    for name, definition, digit in (('a', 'uint32 value\n', '1'), ('b', 'uint64 value\n', '2')):
        with BagWriter(tmp_path / name) as bag:
            bag.add_topic(f'/odd/{name}', 'odd_msgs/msg/Odd', definition=definition, type_hash='RIHS01_' + 64 * digit)
            bag.write_serialized(f'/odd/{name}', START, 'odd_msgs/msg/Odd', b'\0\1\0\0\7\0\0\0\0\0\0\0')
    expected = 'b: topic /odd/b: expected the definition of odd_msgs/msg/Odd that .*a has, got another one'
    with pytest.raises(BagError, match=expected):
        pair_bags([tmp_path / 'a', tmp_path / 'b'], tmp_path / 'out')


def test_images_that_nothing_tells_to_be_heatmaps_are_paired_with_a_note(tmp_path):
    with BagWriter(tmp_path / 'in') as bag:
        for topic in ('/camera/mask', '/camera/image_raw'):
            bag.write_serialized(topic, START, IMAGE_TYPE, image_bytes(START))
    report = pair_bags([tmp_path / 'in'], tmp_path / 'out', radar_topic='/camera/mask')
    assert (report.pairs, report.described) == (1, False)
    assert any('/camera/mask has no /camera/mask_info' in note for note in report.notes())


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ({'image_topic': '/camera/imge_raw'}, r'expected topic /camera/imge_raw \(did you mean /camera/image_raw'),
        ({'radar_topic': '/camera/image_raw'}, 'expected a radar and an image topic, got /camera/image_raw for both'),
        ({'image_topic': '/text'}, 'topic /text: expected messages that begin with a std_msgs/Header, got std_msgs'),
        (
            {'radar_topic': '/text'},
            'topic /text: expected radio_visual_ssl/msg/RadarCube, or heatmaps .*, got std',
        ),
        ({'rename': {'/txt': '/x'}}, r'expected topic /txt \(did you mean /text'),
        ({'rename': {'/text': 'x'}}, "topic /text: expected a new name with a leading slash, got 'x'"),
        (
            {'rename': {'/text': '/camera/image_raw'}},
            'topic /text: expected a new name of its own, got /camera/image_raw',
        ),
        ({'rename': {'/text': '/pairs'}}, 'got /pairs, the name of the index of pairs'),
        ({'stamps': 'guess'}, "stamps: expected header or reception, got 'guess'"),
        ({'slop_s': -0.1}, 'slop_ns: expected 0 ns or more'),
        ({'image_offset_s': float('nan')}, 'image_offset_s: expected 1e9 s at most, either way, got nan'),
        ({'radar_offset_s': -1e10}, 'radar_offset_s: expected 1e9 s at most, either way, got -10000000000.0'),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, expected):
    with BagWriter(tmp_path / 'in') as bag:
        string = typestore().types['std_msgs/msg/String']
        bag.write('/text', START, string(data='x'))
        write_info(bag)
        bag.write_serialized('/radar/heatmap', START, IMAGE_TYPE, heatmap_bytes(START))
        bag.write_serialized('/camera/image_raw', START, IMAGE_TYPE, image_bytes(START))
    with pytest.raises(ValueError, match=expected):
        pair_bags([tmp_path / 'in'], tmp_path / 'out', **arguments)
    assert not (tmp_path / 'out').exists()


def test_bags_that_hold_nothing_to_pair_are_told_apart(tmp_path):
    radar = write_bag(tmp_path / 'radar', [START], [])
    image = write_bag(tmp_path / 'image', [], [START])
    with pytest.raises(
        BagError, match='expected the image topic to be named, or /camera/image_raw; found /radar/heatmap'
    ):
        pair_bags([radar], tmp_path / 'out')
    with pytest.raises(
        BagError, match='expected the radar topic to be named, or /radar/heatmap; found /camera/image_raw'
    ):
        pair_bags([image], tmp_path / 'out')
    with pytest.raises(BagError, match='expected different bags, got this one twice'):
        pair_bags([image, tmp_path / 'image'], tmp_path / 'out')
    with pytest.raises(BagError, match='expected at least one bag, got none'):
        pair_bags([], tmp_path / 'out')
    with pytest.raises(BagError, match='exists already'):
        pair_bags([radar, image], radar)
    with pytest.raises(BagError, match='found nothing there'):
        pair_bags([tmp_path / 'absent'], tmp_path / 'out')


def test_a_damaged_message_is_named_and_leaves_nothing_behind(tmp_path):
    with BagWriter(tmp_path / 'in') as bag:
        write_info(bag)
        bag.write_serialized('/radar/heatmap', START, IMAGE_TYPE, b'\0\1\0\0\1')
        bag.write_serialized('/camera/image_raw', START, IMAGE_TYPE, image_bytes(START))
    with pytest.raises(BagError, match='topic /radar/heatmap: serialized message: expected at least 12 bytes'):
        pair_bags([tmp_path / 'in'], tmp_path / 'out')
    assert [path.name for path in tmp_path.iterdir()] == ['in']


def test_the_command_pairs_and_tells_in_json(tmp_path):
    source = write_bag(tmp_path / 'in', [START, START + SECOND], [START - 441 * MS, START + SECOND - 461 * MS])
    arguments = ['pair', str(source), '--out', str(tmp_path / 'out'), '--camera-offset', '0.45', '--json']
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    expected = {
        'path': str(tmp_path / 'out'),
        'pairs': 2,
        'unpaired': 0,
        'unpaired_image': 0,
        'messages': 7,
        'median_abs_difference_s': 0.01,
        'max_abs_difference_s': 0.011,
    }
    assert {key: told[key] for key in expected} == expected
    assert 'median -1.0 ms, at most 11.0 ms' in result.stderr


def test_the_command_refuses_a_new_name_that_is_none(tmp_path):
    arguments = ['pair', str(tmp_path), '--out', str(tmp_path / 'out'), '--rename', '/a']
    with pytest.raises(ValueError, match="--rename: expected OLD=NEW, got '/a'"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_readers_pair_by_the_offset_of_the_index(tmp_path):
    stamps = [START + k * 100 * MS for k in range(4)]
    source = write_bag(tmp_path / 'in', stamps, [stamp - 450 * MS for stamp in stamps])
    assert BagReader(source).paired_offset_s() == 0.0
    out = BagReader(pair_bags([source], tmp_path / 'out', image_offset_s=0.5, radar_offset_s=0.05).path)
    assert out.paired_offset_s() == pytest.approx(0.45)
    assert [frame.image_stamp_ns for frame in out.frames()] == [stamp - 450 * MS for stamp in stamps]
    assert [frame.image is None for frame in out.frames(image_offset_s=0.0)] == [True] * 4


def test_types_of_other_distributions_keep_their_definition(tmp_path):
    with BagWriter(tmp_path / 'in') as bag:
        definition = 'uint8 old\n'
        bag.add_topic('/goals', 'nav_msgs/msg/Goals', definition=definition, type_hash='RIHS01_' + 64 * '3')
        bag.write_serialized('/goals', START, 'nav_msgs/msg/Goals', b'\0\1\0\0\1')
        write_info(bag)
        bag.write_serialized('/radar/heatmap', START, IMAGE_TYPE, heatmap_bytes(START))
        bag.write_serialized('/camera/image_raw', START, IMAGE_TYPE, image_bytes(START))
    report = pair_bags([tmp_path / 'in'], tmp_path / 'out')
    assert BagReader(report.path).streams['/goals'] == BagReader(tmp_path / 'in').streams['/goals']
