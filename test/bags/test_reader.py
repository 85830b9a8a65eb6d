# SPDX-License-Identifier: Apache-2.0
"""Bags are read stream by stream and paired by stamp; what is no such bag is named."""

import gc
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from older_bag import older_bag
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.offline_pairing import pair_bags
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.radar.cube import Axis, RadarCube
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.profile import OfdmWaveform, RadarProfile
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

TYPES = RosbagsTypes()
SECOND = 1_000_000_000
MS = 1_000_000
START = 1_600_000_000 * SECOND
GRID = PolarGrid([1.0, 2.0, 3.0], [-0.1, 0.1])


def heatmap(value):
    return Heatmap(np.full(GRID.shape, value, np.float32), GRID)


def write_heatmap(bag, stamp_ns, value=0.0, time_ns=None):
    bag.write(
        '/radar/heatmap', time_ns or stamp_ns, messages.heatmap_to_image(heatmap(value), stamp_ns, 'radar', TYPES)
    )


def write_info(bag, time_ns, grid=GRID):
    blank = Heatmap(np.zeros(grid.shape, np.float32), grid)
    bag.write('/radar/heatmap_info', time_ns, messages.heatmap_to_info(blank, time_ns, 'radar', TYPES))


def write_image(bag, stamp_ns, value=0, topic='/camera/image_raw'):
    picture = np.full((4, 6, 3), value, np.uint8)
    bag.write(topic, stamp_ns, messages.image_to_message(picture, 'rgb8', stamp_ns, 'camera', TYPES))


def write_truth(bag, stamp_ns, targets):
    bag.write('/ground_truth/targets', stamp_ns, messages.targets_to_message(targets, stamp_ns, 'radar', TYPES))


@pytest.fixture
def bag_path(tmp_path):
    """Ten heatmaps at 10 Hz, images at 20 Hz 8 ms later, truth for all but the fourth."""
    with BagWriter(tmp_path / 'x') as bag:
        for index in range(20):
            stamp = START + index * 50 * MS
            if index % 2 == 0:
                write_heatmap(bag, stamp, index // 2)
                if index != 6:
                    write_truth(bag, stamp, [Target(float(index), 0.0)] if index else [])
                if index == 0:
                    write_info(bag, stamp + 1 * MS)
            write_image(bag, stamp + 8 * MS, index)
    return bag.path


def test_streams_tell_type_and_count(bag_path):
    streams = BagReader(bag_path).streams
    assert {topic: (stream.type, stream.count) for topic, stream in streams.items()} == {
        '/radar/heatmap': ('sensor_msgs/msg/Image', 10),
        '/radar/heatmap_info': ('radio_visual_ssl/msg/HeatmapInfo', 1),
        '/camera/image_raw': ('sensor_msgs/msg/Image', 20),
        '/ground_truth/targets': ('radio_visual_ssl/msg/TargetArray', 9),
    }


def test_frames_pair_the_nearest_image_and_the_truth(bag_path):
    frames = list(BagReader(bag_path).frames())
    assert [frame.stamp_ns for frame in frames] == [START + index * 100 * MS for index in range(10)]
    assert [frame.heatmap.values[0, 0] for frame in frames] == list(range(10))
    assert [frame.image[0, 0, 0] for frame in frames] == list(range(0, 20, 2))
    assert {frame.image_stamp_ns - frame.stamp_ns for frame in frames} == {8 * MS}
    assert frames[0].truth == []
    assert frames[3].truth is None
    assert [target.x for target in frames[2].truth] == [4.0]
    assert frames[0].frame_id == 'radar'


def test_an_offset_moves_the_images_before_pairing(bag_path):
    # 8 + 42 ms late: image k lies where image k + 1 should be, and the first radar frame has none of its own
    frames = list(BagReader(bag_path).frames(image_offset_s=0.042))
    assert [None if f.image is None else int(f.image[0, 0, 0]) for f in frames] == [0, *range(1, 18, 2)]
    assert frames[1].image_stamp_ns == START + 58 * MS
    frames = list(BagReader(bag_path).frames(image_offset_s=-0.058, slop_s=0.02))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(1, 20, 2))


def test_images_beyond_the_slop_do_not_pair(bag_path):
    assert all(frame.image is None for frame in BagReader(bag_path).frames(slop_s=0.007))
    with pytest.raises(BagError, match='slop_s: expected 0 s or more, got -1'):
        BagReader(bag_path).frames(slop_s=-1)


def test_truth_between_frames_belongs_to_the_nearest_within_half_a_period(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START)
        for index in range(3):
            write_heatmap(bag, START + index * 100 * MS)
        write_truth(bag, START + 49 * MS, [])
        write_truth(bag, START + 251 * MS, [])
    assert [frame.truth for frame in BagReader(bag.path).frames()] == [[], None, None]


def test_pairing_uses_header_stamps_even_where_messages_were_recorded_late(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        for index in range(5):
            stamp = START + index * 100 * MS
            write_image(bag, stamp, index)
        write_info(bag, START + 600 * MS)
        for index in range(5):
            write_heatmap(bag, START + index * 100 * MS, index, time_ns=START + (700 + index) * MS)
    frames = list(BagReader(bag.path).frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(5))
    assert BagReader(bag.path).stamps('/radar/heatmap').tolist() == [START + i * 100 * MS for i in range(5)]


def test_a_grid_that_changes_in_the_bag_is_followed(tmp_path):
    wide = PolarGrid([1.0, 2.0, 3.0], [-0.5, 0.5])
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START)
        write_heatmap(bag, START + 1)
        write_info(bag, START + 2, wide)
        write_heatmap(bag, START + 3)
    widths = [float(frame.heatmap.grid.azimuth[1]) for frame in BagReader(bag.path).frames()]
    assert widths == pytest.approx([0.1, 0.5])


def test_velocities_of_equal_stamp_join_the_heatmap(tmp_path):
    moving = Heatmap(np.zeros(GRID.shape, np.float32), GRID, velocity=np.full(GRID.shape, 3, np.float32))
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START)
        write_heatmap(bag, START)
        bag.write('/radar/velocity', START + 1, messages.velocity_to_image(moving, START, 'radar', TYPES))
        write_heatmap(bag, START + SECOND)
    first, second = BagReader(bag.path).frames()
    assert np.all(first.heatmap.velocity == 3)
    assert second.heatmap.velocity is None


def test_heatmaps_are_formed_from_cubes_where_there_are_none(tmp_path):
    profile = RadarProfile(
        'x',
        OfdmWaveform(28e9, 1e6, 1e-4, 4, 64),
        np.zeros((1, 3)),
        np.array([[0, -0.5 * i * 0.0107, 0] for i in range(8)]),
    )
    distance = 30.0
    frequency = 28e9 + (np.arange(64) - 31.5) * 1e6
    samples = np.exp(-2j * np.pi * frequency * 2 * distance / 299_792_458.0).astype(np.complex64)
    cube = RadarCube(np.broadcast_to(samples, (4, 8, 64)).copy(), (Axis.SYMBOL, Axis.VIRTUAL_CHANNEL, Axis.SUBCARRIER))
    with BagWriter(tmp_path / 'x') as bag:
        bag.write('/radar/info', START, messages.profile_to_info(profile, START, 'radar', TYPES))
        bag.write('/radar/cube', START, messages.cube_to_message(cube, START, 'radar', TYPES))
        write_image(bag, START, 9)
    (frame,) = BagReader(bag.path).frames()
    row, column = np.unravel_index(frame.heatmap.values.argmax(), frame.heatmap.values.shape)
    assert frame.heatmap.grid.range[row] == pytest.approx(distance, abs=1.5)
    assert frame.heatmap.grid.azimuth[column] == pytest.approx(0, abs=0.1)
    assert frame.frame_id == 'radar'
    assert frame.image[0, 0, 0] == 9


@pytest.mark.parametrize('name', ['/camera/image_raw', '/left/image_raw'])
def test_compressed_images_stand_in_for_raw_ones(tmp_path, name):
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START)
        write_heatmap(bag, START)
        data = cv2.imencode('.png', np.full((4, 6, 3), (10, 20, 30), np.uint8))[1].reshape(-1)
        header = messages.header(START, 'camera', TYPES)
        message = TYPES('sensor_msgs/msg/CompressedImage')(header=header, format='png', data=data)
        bag.write(f'{name}/compressed', START, message)
    reader = BagReader(bag.path)
    (frame,) = reader.frames(image_topic=name)
    assert frame.image[0, 0].tolist() == [30, 20, 10]
    assert reader.image_topic(name) == f'{name}/compressed'


def test_missing_default_topics_are_left_out_and_named_ones_are_not(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START)
        write_heatmap(bag, START)
    reader = BagReader(bag.path)
    (frame,) = reader.frames()
    assert frame.image is None
    assert frame.truth is None
    with pytest.raises(
        BagError, match=r'x: expected topic /cam \(.*Image or .*CompressedImage\), found /radar/heatmap'
    ):
        reader.frames(image_topic='/cam')


def test_the_only_heatmap_topic_is_found_under_another_name(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        bag.write('/car/radar/heatmap_info', START, messages.heatmap_to_info(heatmap(0), START, 'radar', TYPES))
        bag.write('/car/radar/heatmap', START, messages.heatmap_to_image(heatmap(0), START, 'radar', TYPES))
    assert BagReader(bag.path).radar_topic() == '/car/radar/heatmap'
    assert len(list(BagReader(bag.path).frames())) == 1


def test_raw_messages_come_in_the_order_of_time_and_from_a_start(bag_path):
    reader = BagReader(bag_path)
    times = [message.time_ns for message in reader.raw_messages()]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (reader.start_ns, reader.end_ns)
    later = list(reader.raw_messages(['/radar/heatmap'], start_ns=START + 500 * MS))
    assert [message.time_ns for message in later] == [START + index * 100 * MS for index in range(5, 10)]


def test_several_readings_run_side_by_side(bag_path):
    reader = BagReader(bag_path)
    pairs = zip(reader.raw_messages(['/radar/heatmap']), reader.raw_messages(['/radar/heatmap']), strict=True)
    assert all(first == second for first, second in pairs)


def test_long_bags_of_many_chunks_stream_in_order(tmp_path):
    big = np.zeros((300, 400, 3), np.uint8)
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START)
        for index in range(30):
            stamp = START + index * 100 * MS
            big[:] = index
            bag.write('/camera/image_raw', stamp, messages.image_to_message(big, 'rgb8', stamp, 'camera', TYPES))
            write_heatmap(bag, stamp, index)
    frames = BagReader(bag.path).frames()
    assert [(f.heatmap.values[0, 0], f.image[0, 0, 0]) for f in frames] == [(i, i) for i in range(30)]


def test_a_lone_mcap_file_is_a_bag(bag_path, tmp_path):
    shutil.copy(bag_path / 'x_0.mcap', tmp_path / 'lone.mcap')
    assert len(list(BagReader(tmp_path / 'lone.mcap').frames())) == 10


@pytest.mark.parametrize('version', [8, 9])
def test_an_sqlite_bag_is_read_too(bag_path, tmp_path, version):
    source = BagReader(bag_path)
    with Writer(tmp_path / 'sql', version=version, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {
            topic: writer.add_connection(topic, stream.type, typestore=typestore())
            for topic, stream in source.streams.items()
        }
        for message in source.raw_messages():
            writer.write(connections[message.topic], message.time_ns, message.data)
    frames = list(BagReader(tmp_path / 'sql').frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(0, 20, 2))


def camera_bag(path, transforms):
    camera = CameraModel(6, 4, np.array([[5.0, 0, 3], [0, 5, 2], [0, 0, 1]]))
    with BagWriter(path) as bag:
        write_info(bag, START)
        write_heatmap(bag, START)
        bag.write('/camera/camera_info', START, messages.camera_to_info(camera, START, 'optical', TYPES))
        entries = [
            messages.transform_to_message(rotation, origin, START, TYPES, parent=parent, child=child)
            for parent, child, rotation, origin in transforms
        ]
        bag.write('/tf_static', START, TYPES('tf2_msgs/msg/TFMessage')(transforms=entries))
    return BagReader(path)


def test_the_camera_is_placed_through_several_static_transforms(tmp_path):
    optical = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # optical axes in the camera's body axes
    reader = camera_bag(
        tmp_path / 'x',
        [
            ('base', 'radar', np.eye(3), np.array([2.0, 0, 0.5])),
            ('base', 'camera', np.eye(3), np.array([1.0, 0, 1.5])),
            ('camera', 'optical', optical, np.zeros(3)),
        ],
    )
    camera = reader.camera(radar_frame='radar')
    # 10 m ahead of the radar: 11 m ahead of the camera and 1 m below it
    pixels, depth = camera.project([[10.0, 0, 0]])
    assert depth[0] == pytest.approx(11.0)
    assert pixels[0] == pytest.approx([3.0, 2.0 + 5.0 / 11.0])
    other = reader.camera('/camera/image_raw/zstd', 'radar')  # images of any transport have it
    assert np.array_equal(other.project([[10.0, 0, 0]])[0], pixels)


def test_a_camera_without_a_way_to_the_radar_is_none(tmp_path, bag_path):
    reader = camera_bag(tmp_path / 'y', [('somewhere', 'optical', np.eye(3), np.zeros(3))])
    assert reader.camera(radar_frame='radar') is None
    assert BagReader(bag_path).camera(radar_frame='radar') is None


# What is no such bag


def test_nothing_there_is_named(tmp_path):
    with pytest.raises(BagError, match=r'nowhere: expected a rosbag2 folder .*found nothing there'):
        BagReader(tmp_path / 'nowhere')


def test_a_folder_without_metadata_is_named_with_what_it_holds(bag_path):
    (bag_path / 'metadata.yaml').unlink()
    with pytest.raises(BagError, match=r'found a folder without metadata.yaml; it holds x_0.mcap'):
        BagReader(bag_path)


def test_a_ros_1_bag_is_told_apart(tmp_path):
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0\n' + b'\0' * 64)
    with pytest.raises(BagError, match=r'old.bag: expected a rosbag2 folder .*found a ROS 1 bag'):
        BagReader(tmp_path / 'old.bag')


def test_any_other_file_is_told_apart(tmp_path):
    (tmp_path / 'x.txt').write_text('hello')
    with pytest.raises(BagError, match='found a file that is neither'):
        BagReader(tmp_path / 'x.txt')


@pytest.mark.parametrize('keep', [0, 5, 100, 2000])
def test_a_truncated_file_is_named(bag_path, keep):
    file = bag_path / 'x_0.mcap'
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BagError, match=r'/x: expected a complete bag, but it cannot be read: '):
        BagReader(bag_path)


def test_damage_in_the_middle_is_named_where_it_is_read(bag_path):
    file = bag_path / 'x_0.mcap'
    content = bytearray(file.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 50] = b'\xff' * 50
    file.write_bytes(content)
    with pytest.raises(BagError, match='/x: '):
        list(BagReader(bag_path).frames())


@pytest.mark.parametrize('text', ['', 'a: [', 'rosbag2_bagfile_information: {version: 99}'])
def test_broken_metadata_is_named(bag_path, text):
    (bag_path / 'metadata.yaml').write_text(text)
    with pytest.raises(BagError, match='/x: expected a complete bag, but it cannot be read'):
        BagReader(bag_path)


def test_another_type_on_our_topic_is_named(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        bag.write('/radar/heatmap', START, TYPES('std_msgs/msg/String')(data='hello'))
    with pytest.raises(
        BagError,
        match=r'topic /radar/heatmap: expected type sensor_msgs/msg/Image or .*RadarCube, got std_msgs/msg/String',
    ):
        BagReader(bag.path).frames('/radar/heatmap')


def test_a_bag_without_radar_says_what_it_has(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        write_image(bag, START)
    with pytest.raises(
        BagError, match=r'expected topic /radar/heatmap, found /camera/image_raw \(sensor_msgs/msg/Image\)'
    ):
        BagReader(bag.path).frames()


def test_a_heatmap_without_info_is_named(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        write_heatmap(bag, START)
    with pytest.raises(BagError, match='expected /radar/heatmap_info beside /radar/heatmap'):
        BagReader(bag.path).frames()
    with pytest.raises(BagError, match='expected topic /radar/heatmap_info'):
        BagReader(bag.path).frames('/radar/heatmap')


def test_an_info_that_contradicts_the_heatmap_is_named_with_its_topic(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START, PolarGrid([1.0, 2.0], [-0.1, 0.1]))
        write_heatmap(bag, START)
    with pytest.raises(BagError, match=r'topics /radar/heatmap, /radar/heatmap_info: HeatmapInfo: expected range\[3\]'):
        list(BagReader(bag.path).frames())


def test_a_type_that_had_other_fields_is_named(tmp_path):
    old = get_typestore(Stores.ROS2_JAZZY)
    old.register(get_types_from_msg('std_msgs/Header header\nfloat32 score', 'radio_visual_ssl/msg/TargetArray'))
    header = messages.header(START, 'radar', TYPES)
    data = old.serialize_cdr(
        old.types['radio_visual_ssl/msg/TargetArray'](header=header, score=1.0), 'radio_visual_ssl/msg/TargetArray'
    )
    with Writer(tmp_path / 'x', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/t', 'radio_visual_ssl/msg/TargetArray', typestore=old)
        writer.write(connection, START, data)
    reader = BagReader(tmp_path / 'x')
    assert reader.stamps('/t').tolist() == [START]
    with pytest.raises(
        BagError, match=r'/t: expected .*TargetArray with .*\(header, targets\), got .*\(header, score\)'
    ):
        list(reader.messages('/t'))


def test_a_bag_of_an_older_version_reads_as_this_version_has_it(tmp_path):
    reader = BagReader(older_bag(tmp_path / 'x', heatmap(2.5), START))
    (frame,) = reader.frames()
    assert frame.heatmap.formation == '' and frame.heatmap.values[0, 0] == 2.5
    stored = next(reader.raw_messages(['/radar/heatmap_info']))
    assert stored.data == serialize(messages.heatmap_to_info(heatmap(2.5), START, 'radar', TYPES))
    stream = reader.streams['/radar/heatmap_info']
    with BagWriter(tmp_path / 'new') as bag:
        write_info(bag, START)
    now = BagReader(bag.path).streams['/radar/heatmap_info']
    assert (stream.definition, stream.type_hash) == (now.definition, now.type_hash)


def test_a_bag_of_an_older_version_pairs_with_one_of_this(tmp_path):
    older_bag(tmp_path / 'old', heatmap(1.0), START)
    with BagWriter(tmp_path / 'new') as bag:
        write_info(bag, START + SECOND)
        write_heatmap(bag, START + SECOND)
        write_image(bag, START + SECOND)
    report = pair_bags([tmp_path / 'old', tmp_path / 'new'], tmp_path / 'both')
    assert report.pairs == 1
    assert [frame.heatmap.values[0, 0] for frame in BagReader(tmp_path / 'both').frames()] == [1.0, 0.0]


def test_a_truncated_message_of_an_older_version_is_named(tmp_path):
    path = older_bag(tmp_path / 'x', heatmap(2.5), START, info_bytes=40)
    with pytest.raises(BagError, match='topic /radar/heatmap_info: expected a .*HeatmapInfo, got 40 bytes that are'):
        list(BagReader(path).frames())


HEADER = 'std_msgs/Header header\n'
TARGETS = f'{HEADER}radio_visual_ssl/Target[] targets\n' + '=' * 80 + '\nMSG: radio_visual_ssl/Target\n'


@pytest.mark.parametrize(
    ('name', 'definition', 'message'),
    [
        ('HeatmapInfo', f'{HEADER}float32[] azimuth\nfloat32[] range', r'\(header, azimuth, range\)'),
        # numbers that are not told would read as 0
        ('HeatmapInfo', f'{HEADER}float32[] range\nfloat32[] azimuth', r'\(header, range, azimuth\)'),
        ('TargetArray', f'{TARGETS}float64 x\nfloat64 y', r'\(header, targets\)'),
        ('HeatmapInfo', 'odd?', 'cannot be read'),
    ],
)
def test_a_type_that_differs_otherwise_is_no_older_one(tmp_path, name, definition, message):
    if definition != 'odd?':
        other = get_typestore(Stores.ROS2_JAZZY)
        other.register(get_types_from_msg(definition, f'radio_visual_ssl/msg/{name}'))
        definition, _ = other.generate_msgdef(f'radio_visual_ssl/msg/{name}', ros_version=2)
    with BagWriter(tmp_path / 'x') as bag:
        bag.add_topic('/i', f'radio_visual_ssl/msg/{name}', definition=definition, type_hash='RIHS01_0')
        bag.write_serialized('/i', START, f'radio_visual_ssl/msg/{name}', b'\0\1\0\0')
    reader = BagReader(bag.path)
    (raw,) = reader.raw_messages()
    assert raw.data == b'\0\1\0\0', 'as it is stored'
    with pytest.raises(BagError, match=f'topic /i: .*{message}'):
        reader.decode(raw)


def test_a_foreign_type_is_carried_but_not_decoded(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        bag.add_topic('/x', 'my_msgs/msg/Thing', definition='uint32 number\n', type_hash='RIHS01_' + '0' * 64)
        bag.write_serialized('/x', 5, 'my_msgs/msg/Thing', b'\0\1\0\0\7\0\0\0')
    reader = BagReader(bag.path)
    assert reader.stamps('/x').tolist() == [5]
    with pytest.raises(BagError, match='topic /x: the type my_msgs/msg/Thing cannot be decoded here'):
        list(reader.messages('/x'))


def test_a_truncated_message_is_named(tmp_path):
    data = serialize(messages.heatmap_to_image(heatmap(0), START, 'radar', TYPES))
    with BagWriter(tmp_path / 'x') as bag:
        write_info(bag, START)
        bag.write_serialized('/radar/heatmap', START, 'sensor_msgs/msg/Image', data[:40])
    with pytest.raises(
        BagError, match=r'topic /radar/heatmap: expected a sensor_msgs/msg/Image, got 40 bytes that are not'
    ):
        list(BagReader(bag.path).frames())


def test_an_empty_bag_has_no_topics(tmp_path):
    with BagWriter(tmp_path / 'x'):
        pass
    reader = BagReader(tmp_path / 'x')
    assert (reader.streams, reader.start_ns, reader.end_ns) == ({}, 0, 0)
    assert list(reader.raw_messages()) == []
    with pytest.raises(BagError, match='expected topic /radar/heatmap, found no topics'):
        reader.radar_topic()


def test_iterations_at_once_and_in_a_forked_process_do_not_disturb_each_other(bag_path):
    bag = BagReader(bag_path)
    expected = list(bag.raw_messages())
    first = bag.raw_messages()
    begun = [next(first) for _ in range(5)]
    assert next(bag.raw_messages()) == expected[0]
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(list(bag.raw_messages()) != expected)
        finally:
            os._exit(status)
    assert list(bag.raw_messages()) == expected
    assert begun + list(first) == expected
    assert os.waitpid(child, 0)[1] == 0


def test_files_are_closed_with_the_reader(bag_path):
    def held():
        return [
            name for name in map(os.path.realpath, Path('/proc/self/fd').iterdir()) if name.startswith(str(bag_path))
        ]

    bag = BagReader(bag_path)
    next(bag.raw_messages())
    assert held()
    del bag
    gc.collect()
    assert not held()
