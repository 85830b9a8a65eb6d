# SPDX-License-Identifier: Apache-2.0
"""A bag is written whole or not at all, and players offer the right QoS."""

import contextlib

import numpy as np
import pytest
import yaml

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

TYPES = RosbagsTypes()
HEATMAP = Heatmap(np.zeros((2, 3), np.float32), PolarGrid([1.0, 2.0], [-0.1, 0.0, 0.1]))


def image(stamp_ns=0):
    return messages.heatmap_to_image(HEATMAP, stamp_ns, 'radar', TYPES)


def test_a_bag_is_a_folder_with_metadata_and_one_mcap_named_as_rosbag2_does(tmp_path):
    with BagWriter(tmp_path / 'deep' / 'x.bag') as bag:
        bag.write('/radar/heatmap', 5, image())
        assert not bag.path.exists()
    assert sorted(path.name for path in bag.path.iterdir()) == ['metadata.yaml', 'x.bag_0.mcap']
    assert [path.name for path in bag.path.parent.iterdir()] == ['x.bag']
    info = yaml.safe_load((bag.path / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert info['version'] == 8
    assert info['storage_identifier'] == 'mcap'
    assert info['relative_file_paths'] == ['x.bag_0.mcap']


def test_an_error_inside_the_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / 'x') as bag:
        bag.write('/radar/heatmap', 5, image())
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'x').mkdir()
    with pytest.raises(BagError, match=r'/x: exists already'):
        BagWriter(tmp_path / 'x')


def test_what_appears_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(BagError, match='exists already'), BagWriter(tmp_path / 'x') as bag:
        bag.write('/radar/heatmap', 5, image())
        (tmp_path / 'x').write_text('mine')
    assert (tmp_path / 'x').read_text() == 'mine'
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(BagError, match='file/x: cannot be written'), BagWriter(tmp_path / 'file' / 'x'):
        pass


def test_info_topics_are_latched_and_sensor_topics_are_not(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        bag.write('/radar/heatmap', 5, image())
        bag.write('/radar/heatmap_info', 5, messages.heatmap_to_info(HEATMAP, 5, 'radar', TYPES))
        bag.write('/tf_static', 5, TYPES('tf2_msgs/msg/TFMessage')(transforms=[]))
        bag.add_topic('/kept', 'sensor_msgs/msg/Image', latched=True)
    streams = BagReader(bag.path).streams
    latched = {topic for topic, stream in streams.items() if stream.latched}
    assert latched == {'/radar/heatmap_info', '/tf_static', '/kept'}
    assert {stream.qos[0].reliability.name for stream in streams.values()} == {'RELIABLE'}


def test_compression_shrinks_the_bag_and_reads_the_same(tmp_path):
    sizes = []
    for compress in (False, True):
        with BagWriter(tmp_path / str(compress), compress=compress) as bag:
            for stamp in range(500):
                bag.write('/radar/heatmap', stamp, image(stamp))
        sizes.append((bag.path / f'{compress}_0.mcap').stat().st_size)
        assert [m.time_ns for m in BagReader(bag.path).raw_messages()] == list(range(500))
    assert sizes[1] < sizes[0] / 2


def test_serialized_messages_are_written_as_they_are(tmp_path):
    data = serialize(image(7))
    with BagWriter(tmp_path / 'x') as bag:
        bag.write_serialized('/radar/heatmap', 5, 'sensor_msgs/msg/Image', data)
    assert [(m.topic, m.time_ns, m.data) for m in BagReader(bag.path).raw_messages()] == [('/radar/heatmap', 5, data)]


def test_a_foreign_type_needs_its_definition(tmp_path):
    with pytest.raises(BagError, match='topic /x: expected a definition with the unknown type my_msgs/msg/Thing'):
        with BagWriter(tmp_path / 'x') as bag:
            bag.write_serialized('/x', 5, 'my_msgs/msg/Thing', b'\0\1\0\0\7\0\0\0')
    with BagWriter(tmp_path / 'x') as bag:
        bag.add_topic('/x', 'my_msgs/msg/Thing', definition='uint32 number\n', type_hash='RIHS01_' + '0' * 64)
        bag.write_serialized('/x', 5, 'my_msgs/msg/Thing', b'\0\1\0\0\7\0\0\0')
    assert BagReader(bag.path).streams['/x'].definition == 'uint32 number\n'


def test_a_full_disk_leaves_nothing_even_where_the_block_goes_on(small_disk):
    with pytest.raises(BagError, match='disk/x: cannot be written: .*No space left'):
        with BagWriter(small_disk.path / 'x') as bag, contextlib.suppress(BagError):
            for stamp in range(100):
                bag.write_serialized('/a', stamp, 'std_msgs/msg/UInt8MultiArray', bytes(1_000_000))
    assert list(small_disk.path.iterdir()) == []


def test_wrong_use_is_named(tmp_path):
    bag = BagWriter(tmp_path / 'x')
    with pytest.raises(BagError, match='the bag is not open'):
        bag.write('/radar/heatmap', 5, image())
    with bag:
        bag.write('/a', 5, image())
        with pytest.raises(
            BagError, match='topic /a: expected messages of sensor_msgs/msg/Image, got radio_visual_ssl'
        ):
            bag.write('/a', 5, messages.heatmap_to_info(HEATMAP, 5, 'radar', TYPES))
        with pytest.raises(BagError, match="topic 'b': expected a leading slash"):
            bag.write('b', 5, image())
        with pytest.raises(BagError, match='topic /a: declared twice'):
            bag.add_topic('/a', 'sensor_msgs/msg/Image')
        with pytest.raises(BagError, match='topic /a: expected a stamp from 0 ns on, got -1 ns'):
            bag.write('/a', -1, image())
        broken = image()
        broken.height = 'tall'
        with pytest.raises(BagError, match='topic /a: sensor_msgs/msg/Image: expected fields that fit'):
            bag.write('/a', 5, broken)
