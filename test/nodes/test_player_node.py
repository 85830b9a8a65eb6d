# SPDX-License-Identifier: Apache-2.0
"""The player as a process: every message of a bag, byte for byte, in its rhythm; and bags that cannot be played."""

import re
import shutil
import signal
import time
from itertools import pairwise

import numpy as np
import pytest
from older_bag import older_bag

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from radio_visual_ssl.bags.messages import cube_to_message, heatmap_to_messages, stamp_to_ns, transform_to_message
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.msg import HeatmapInfo, TargetArray
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.cube import Axis
from radio_visual_ssl.radar.cube import RadarCube as Cube
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 50_000_000
FRAMES = 20
GRID = PolarGrid(np.arange(1.0, 33.0), np.linspace(-0.8, 0.8, 16))
NAMED = "['/radar/heatmap']"


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """20 heatmaps in 0.95 s of bag time, each stamped 30 ms before its recording."""
    path = tmp_path_factory.mktemp('bags') / 'heatmaps'
    types = RosbagsTypes()
    with BagWriter(path) as writer:
        for index in range(FRAMES):
            recorded = START_NS + index * PERIOD_NS
            values = np.full(GRID.shape, float(index), np.float32)
            image, info = heatmap_to_messages(Heatmap(values, GRID), recorded - 30_000_000, 'radar', types)
            if index == 0:
                writer.write('/radar/heatmap_info', recorded, info)
                mounting = transform_to_message(np.eye(3), np.zeros(3), recorded, types, parent='base', child='radar')
                writer.write('/tf_static', recorded, types('tf2_msgs/msg/TFMessage')(transforms=[mounting]))
            writer.write('/radar/heatmap', recorded, image)
    return path


def test_the_process_waits_for_the_targets_of_the_last_frame(graph, bag):
    heatmaps = graph.listen(Image, '/answered/radar/heatmap')
    player = graph.start_node(
        'player_node', '-r', '__ns:=/answered', bag=bag, wait_for_subscribers=NAMED,
        wait_for_targets='localizer/targets', rate=20.0,
    )  # fmt: skip
    targets = graph.publisher(TargetArray, '/answered/localizer/targets')
    frames = heatmaps.wait(FRAMES)
    for frame in (frames[0], frames[-2]):
        targets.publish(TargetArray(header=frame.header))
        with pytest.raises(AssertionError, match='has not ended'):
            player.wait(1.0)
    targets.publish(TargetArray(header=frames[-1].header))
    assert player.wait() == 0
    assert 'no targets' not in player.output


def test_the_targets_of_the_radar_topic_that_is_played_are_waited_for(graph, tmp_path):
    types = RosbagsTypes()
    with BagWriter(tmp_path / 'both') as writer:
        image, info = heatmap_to_messages(Heatmap(np.zeros(GRID.shape, np.float32), GRID), START_NS, 'radar', types)
        writer.write('/radar/heatmap_info', START_NS, info)
        writer.write('/radar/heatmap', START_NS, image)
        cube = Cube(np.zeros((1, 2, 4), np.complex64), (Axis.SYMBOL, Axis.VIRTUAL_CHANNEL, Axis.SUBCARRIER))
        writer.write('/radar/cube', START_NS, cube_to_message(cube, START_NS, 'radar', types))
    player = graph.start_node(
        'player_node', '-r', '__ns:=/both', bag=tmp_path / 'both', topics="['/radar/cube']",
        wait_for_targets='localizer/targets',
    )  # fmt: skip
    assert player.wait() == 0
    assert '/both/localizer/targets: no targets of the last radar frame within 5 s' in player.output


def test_targets_that_never_come_are_not_waited_for_long(graph, bag):
    player = graph.start_node(
        'player_node', '-r', '__ns:=/mute', bag=bag, wait_for_targets='localizer/targets', rate=20.0
    )
    assert player.wait() == 0
    assert '/mute/localizer/targets: no targets of the last radar frame within 5 s' in player.output


def values_of(messages):
    return [np.frombuffer(message.data, np.float32)[0] for message in messages]


def test_every_message_arrives_unchanged_and_the_process_ends_by_itself(graph, bag):
    heatmaps = graph.listen(Image, 'radar/heatmap')
    player = graph.start_node('player_node', bag=bag, wait_for_subscribers=NAMED, rate=2.0)
    assert player.wait() == 0, player.output
    received = heatmaps.wait(FRAMES)
    assert values_of(received) == list(range(FRAMES))
    assert [stamp_to_ns(message.header.stamp) for message in received] == [
        START_NS + index * PERIOD_NS - 30_000_000 for index in range(FRAMES)
    ]
    assert 'played 22 messages' in player.output


def test_latched_topics_reach_late_subscribers_and_a_namespace_leaves_tf_alone(graph, bag):
    player = graph.start_node('player_node', '-r', '__ns:=/left', bag=bag, loop=True)
    player.wait_for_line('playing')
    infos = graph.listen(HeatmapInfo, '/left/radar/heatmap_info', latched_qos())
    transforms = graph.listen(TFMessage, '/tf_static', latched_qos())
    assert infos.wait(1)[0].azimuth[0] == np.float32(-0.8)
    assert transforms.wait(1)[0].transforms[0].child_frame_id == 'radar'
    assert player.stop() == 0


def test_a_bag_of_an_older_version_is_played_as_this_version_has_it(graph, tmp_path):
    infos = graph.listen(HeatmapInfo, '/older/radar/heatmap_info', latched_qos())
    heatmap = Heatmap(np.zeros(GRID.shape, np.float32), GRID, radar='mast')
    bag = older_bag(tmp_path / 'older', heatmap, START_NS)
    player = graph.start_node(
        'player_node', '-r', '__ns:=/older', bag=bag, wait_for_subscribers="['/radar/heatmap_info']"
    )
    info = infos.wait(1)[0]
    assert player.wait() == 0, player.output
    assert (info.radar, info.formation, len(info.range)) == ('mast', '', len(GRID.range))


def test_looping_starts_again_and_deactivating_pauses(graph, bag):
    heatmaps = graph.listen(Image, '/loop/radar/heatmap')
    player = graph.start_node(
        'player_node', '-r', '__ns:=/loop', bag=bag, loop=True, rate=20.0, wait_for_subscribers=NAMED
    )
    heatmaps.wait(2 * FRAMES + 1)
    player.wait_for_line('starts again')
    assert values_of(heatmaps.messages[: FRAMES + 1])[-2:] == [FRAMES - 1, 0]
    assert graph.change_state('/loop/player_node', 'deactivate')
    time.sleep(0.3)
    before = len(heatmaps)
    time.sleep(0.3)
    assert len(heatmaps) == before
    assert graph.change_state('/loop/player_node', 'activate')
    heatmaps.wait(before + FRAMES)
    played = values_of(heatmaps.messages)
    assert all((b - a) % FRAMES == 1 for a, b in pairwise(played)), 'the pause lost or repeated some'
    assert graph.set_parameter('/loop/player_node', 'loop', False).successful
    assert player.wait() == 0


def test_the_clock_follows_the_time_of_the_bag(graph, bag):
    clocks = graph.listen(Clock, '/clock', 1000)
    player = graph.start_node('player_node', bag=bag, publish_clock=True, rate=0.5, wait_for_subscribers="['/clock']")
    assert player.wait() == 0
    end_ns = START_NS + (FRAMES - 1) * PERIOD_NS
    messages = clocks.wait(lambda found: bool(found) and stamp_to_ns(found[-1].clock) == end_ns)
    times = [stamp_to_ns(message.clock) for message in messages]
    assert times == sorted(times)
    # 100 Hz and two at each message, over 1.9 s
    assert len(times) > 4 * FRAMES
    # a clock that is slower than the messages ticks with them alone
    clocks.clear()
    player = graph.start_node(
        'player_node', bag=bag, publish_clock=True, clock_rate=1.0, rate=0.5, wait_for_subscribers="['/clock']"
    )
    assert player.wait() == 0
    slow = clocks.wait(lambda found: bool(found) and stamp_to_ns(found[-1].clock) == end_ns)
    assert FRAMES <= len(slow) <= 3 * FRAMES


def test_a_start_offset_skips_data_but_not_what_is_latched(graph, bag):
    heatmaps = graph.listen(Image, '/late/radar/heatmap')
    infos = graph.listen(HeatmapInfo, '/late/radar/heatmap_info', latched_qos())
    player = graph.start_node(
        'player_node', '-r', '__ns:=/late', bag=bag, start_offset=0.5, rate=5.0, wait_for_subscribers=NAMED
    )
    assert player.wait() == 0
    assert values_of(heatmaps.wait(10)) == list(range(10, FRAMES))
    infos.wait(1)


def test_only_the_chosen_topics_are_played(graph, bag):
    heatmaps = graph.listen(Image, '/few/radar/heatmap')
    player = graph.start_node('player_node', '-r', '__ns:=/few', bag=bag, topics="['/radar/heatmap_info']", rate=20.0)
    assert player.wait() == 0
    assert not heatmaps.messages
    assert 'played 1 messages' in player.output


def test_without_the_awaited_subscriber_it_warns_and_plays(graph, bag):
    player = graph.start_node(
        'player_node', '-r', '__ns:=/alone', bag=bag, wait_for_subscribers=NAMED, wait_timeout=0.5, rate=20.0
    )
    assert player.wait() == 0
    assert 'too few have subscribed to /alone/radar/heatmap within 0.5 s' in player.output


def test_shut_down_while_it_plays_it_ends_without_an_error(graph, bag):
    for number in range(3):
        player = graph.start_node(
            'player_node', '-r', f'__ns:=/shut_{number}', bag=bag, loop=True, rate=1000.0, publish_clock=True
        )
        player.wait_for_line('starts again')
        assert graph.change_state(f'/shut_{number}/player_node', 'shutdown')
        assert player.wait() == 0
        assert '[ERROR]' not in player.output
        assert 'Traceback' not in player.output


def test_it_ends_cleanly_on_a_signal(graph, bag):
    for number in (signal.SIGINT, signal.SIGTERM):
        player = graph.start_node('player_node', bag=bag, loop=True)
        player.wait_for_line('playing')
        assert player.stop(number) == 0
        assert 'Traceback' not in player.output


@pytest.fixture
def broken(bag, tmp_path):
    """Bags that cannot be played."""
    shutil.copytree(bag, tmp_path / 'cut')
    storage = next((tmp_path / 'cut').glob('*.mcap'))
    storage.write_bytes(storage.read_bytes()[:4000])
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'ros1.bag').write_bytes(b'#ROSBAG V2.0\n' + bytes(100))
    return tmp_path


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('nowhere', r'nowhere'),
        ('empty', r'empty.*metadata\.yaml'),
        ('cut', r'cut'),
        ('ros1.bag', r'ros1\.bag.*(ROS 1|rosbag2)'),
    ],
)
def test_a_bag_that_cannot_be_played_is_one_clear_line_and_exit_code_1(graph, broken, name, said):
    player = graph.start_node('player_node', bag=broken / name)
    assert player.wait() == 1
    errors = [line for line in player.lines if '[ERROR]' in line]
    assert len(errors) == 1, player.output
    assert re.search(said, errors[0]), errors[0]
    assert 'Traceback' not in player.output


@pytest.mark.parametrize(
    ('parameters', 'said'),
    [
        ({}, "parameter 'bag': expected the path of a rosbag2 folder"),
        ({'bag': None, 'topics': "['/radar/cub']"}, '/radar/cub'),
        ({'bag': None, 'rate': -1.0}, "parameter 'rate': expected a number from 0.01 to 1000, got -1.0"),
        ({'bag': None, 'speed': 2.0}, "parameter 'speed'"),
        ({'bag': None, 'wait_for_subscribers': "['/a some']"}, "expected '/topic' or '/topic 2', got '/a some'"),
    ],
    ids=['no bag', 'no such topic', 'bad rate', 'unknown parameter', 'awaited'],
)
def test_parameters_that_cannot_be_are_named(graph, bag, parameters, said):
    player = graph.start_node(
        'player_node', **{name: bag if value is None else value for name, value in parameters.items()}
    )
    assert player.wait() == 1
    assert said in player.output
