# SPDX-License-Identifier: Apache-2.0
"""The recorder as a process: what sensors send is in the bag byte for byte, and what goes wrong is told."""

import os
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Range
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    header,
    heatmap_to_messages,
    image_to_message,
    stamp_from_ns,
    stamp_to_ns,
    transform_to_message,
)
from radio_visual_ssl.bags.pairing import match_stamps
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.msg import HeatmapInfo, Pair, RecorderStatus
from radio_visual_ssl.nodes.definitions import message_definition, type_hash
from radio_visual_ssl.nodes.pair_recorder_node import camera_info, installed_type, radar_info
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.srv import Annotate

TYPES = RclpyTypes()
START_NS = 1_700_000_000_000_000_000
GRID = PolarGrid(np.arange(1.0, 17.0), np.linspace(-0.8, 0.8, 8))
OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
RADAR_MS, IMAGE_MS = 50, 33


def heatmap_message(stamp_ns):
    values = np.full(GRID.shape, stamp_ns % 97, np.float32)
    return heatmap_to_messages(Heatmap(values, GRID), stamp_ns, 'radar', TYPES)[0]


def info_message():
    values = np.zeros(GRID.shape, np.float32)
    info = heatmap_to_messages(Heatmap(values, GRID), START_NS, 'radar', TYPES)[1]
    info.noise_floor = 0.0  # NaN would differ from itself
    return info


def image_message(stamp_ns):
    picture = np.full((24, 32, 3), stamp_ns % 251, np.uint8)
    return image_to_message(picture, 'rgb8', stamp_ns, 'camera', TYPES)


class Sensors:
    """A radar at 20 Hz and a camera at 30 Hz, each message sent as soon as the last one is out."""

    def __init__(self, graph, namespace, radar_qos=10, image_qos=10):
        self.graph, self.namespace = graph, namespace
        self.heatmaps = graph.node.create_publisher(Image, f'{namespace}/radar/heatmap', radar_qos)
        self.images = graph.node.create_publisher(Image, f'{namespace}/camera/image_raw', image_qos)
        self.sent = {'radar': [], 'image': []}

    def wait(self):
        """Until both are listened to."""
        self.graph.wait_until(
            lambda: self.heatmaps.get_subscription_count() and self.images.get_subscription_count(),
            f'a recorder that listens to {self.namespace}',
        )
        time.sleep(0.3)
        return self

    def run(self, seconds, begin_s=0.0, pause=0.004):
        """Send what two sensors see in these seconds, in the order of time."""
        radar = [(START_NS + round((begin_s + k * RADAR_MS / 1000) * 1e9), 'radar') for k in range(int(seconds * 20))]
        image = [
            (START_NS + round((begin_s + k * IMAGE_MS / 1000 + 0.009) * 1e9), 'image')
            for k in range(int(seconds * 1000 / IMAGE_MS))
        ]
        for stamp_ns, kind in sorted(radar + image):
            message = heatmap_message(stamp_ns) if kind == 'radar' else image_message(stamp_ns)
            (self.heatmaps if kind == 'radar' else self.images).publish(message)
            self.sent[kind].append(message)
            time.sleep(pause)

    def stamps(self, kind):
        return np.array([stamp_to_ns(message.header.stamp) for message in self.sent[kind]])


@pytest.fixture
def recorder(graph, tmp_path):
    """Starts a recorder in a namespace of its own, into ``tmp_path/bag``."""

    started = []

    def start(namespace, *arguments, **parameters):
        given = {'output': tmp_path / 'bag', 'min_free_bytes': 1_000_000, **parameters}
        started.append(graph.start_node('pair_recorder_node', '-r', f'__ns:={namespace}', *arguments, **given))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def recorded(bag, topic, kind):
    """Messages of a topic, as a ROS node would get them."""
    return [deserialize_message(message.data, kind) for message in bag.raw_messages([topic])]


def pair_stamps(bag, topic):
    return [
        (stamp_to_ns(pair.header.stamp), stamp_to_ns(pair.image_stamp))
        for pair in (message for _, message in bag.messages(topic))
    ]


def expected_pairs(sensors, slop_ns=25_000_000):
    radar, image = sensors.stamps('radar'), sensors.stamps('image')
    chosen = match_stamps(radar, image, slop_ns)
    return sorted(zip(radar[chosen[0]].tolist(), image[chosen[1]].tolist(), strict=True))


def trigger(graph, namespace, name):
    return graph.call(Trigger, f'{namespace}/pair_recorder_node/{name}', Trigger.Request())


def finish(process, bag):
    assert process.stop() == 0, process.output
    assert 'Traceback' not in process.output
    return BagReader(bag)


def test_what_is_sent_is_recorded_unchanged_and_paired_as_offline(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/plain', radar_qos=BEST_EFFORT)
    pairs = graph.listen(Pair, '/plain/pairs')
    infos = graph.node.create_publisher(HeatmapInfo, '/plain/radar/heatmap_info', latched_qos())
    cameras = graph.node.create_publisher(CameraInfo, '/plain/camera/camera_info', 10)
    mountings = [graph.node.create_publisher(TFMessage, '/tf_static', latched_qos()) for _ in range(2)]
    info = info_message()
    infos.publish(info)
    for child, publisher in zip(('radar', 'camera'), mountings, strict=True):
        transform = transform_to_message(np.eye(3), np.zeros(3), START_NS, TYPES, parent='base', child=child)
        publisher.publish(TFMessage(transforms=[transform]))
    ranges = graph.node.create_publisher(Range, '/plain/sonar', BEST_EFFORT)
    process = recorder('/plain', extra_topics="['sonar']")
    sensors.wait()
    graph.wait_until(lambda: ranges.get_subscription_count() and cameras.get_subscription_count(), 'the others')
    time.sleep(0.3)
    cameras.publish(CameraInfo(header=header(START_NS, 'camera', TYPES), width=32))
    ranges.publish(Range(header=header(START_NS, 'sonar', TYPES), range=2.5))
    began_ns = time.time_ns()
    sensors.run(2.0)
    ended_ns = time.time_ns()
    live = pairs.wait(35)
    bag = finish(process, tmp_path / 'bag')

    assert recorded(bag, '/plain/radar/heatmap', Image) == sensors.sent['radar']
    assert recorded(bag, '/plain/camera/image_raw', Image) == sensors.sent['image']
    assert recorded(bag, '/plain/radar/heatmap_info', HeatmapInfo) == [info]
    assert len(recorded(bag, '/plain/camera/camera_info', CameraInfo)) == 1
    assert {m.transforms[0].child_frame_id for _, m in bag.messages('/tf_static')} == {'radar', 'camera'}
    assert [message.range for _, message in bag.messages('/plain/sonar')] == [2.5]
    assert sorted(pair_stamps(bag, '/plain/pairs')) == expected_pairs(sensors)
    # what was announced live is what is in the bag
    assert live == recorded(bag, '/plain/pairs', Pair)[: len(live)]
    assert [pair.index for pair in live] == list(range(len(live)))
    assert (live[0].radar_topic, live[0].image_topic) == ('/plain/radar/heatmap', '/plain/camera/image_raw')
    # the time of the bag is that of reception
    times = [message.time_ns for message in bag.raw_messages(['/plain/radar/heatmap'])]
    assert all(began_ns <= stamp_ns <= ended_ns + 1_000_000_000 for stamp_ns in times)
    # as it was offered, so it is played
    assert bag.streams['/plain/radar/heatmap_info'].latched
    assert not bag.streams['/plain/radar/heatmap'].latched
    assert 'uint32 width' in bag.streams['/plain/radar/heatmap'].definition


def test_services_start_pause_split_annotate_and_stop(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/served')
    status = graph.listen(RecorderStatus, '/served/pair_recorder_node/status', latched_qos())
    process = recorder('/served', record_on_start=False)
    sensors.wait()
    sensors.run(0.5)
    assert not trigger(graph, '/served', 'stop').success, 'nothing is recorded yet'
    assert 'pre_trigger_s' in trigger(graph, '/served', 'snapshot').message
    assert status.wait(1)[-1].state == RecorderStatus.STATE_IDLE

    assert trigger(graph, '/served', 'start').success
    sensors.run(0.5, begin_s=1.0)
    assert trigger(graph, '/served', 'pause').success
    sensors.run(0.5, begin_s=2.0)
    assert status.messages[-1].state == RecorderStatus.STATE_PAUSED
    assert not trigger(graph, '/served', 'pause').success
    assert trigger(graph, '/served', 'resume').success
    note = Annotate.Request(text='a bicycle passes')
    assert graph.call(Annotate, '/served/pair_recorder_node/annotate', note).success
    sensors.run(0.5, begin_s=3.0)
    assert trigger(graph, '/served', 'split').success
    sensors.run(0.5, begin_s=4.0)
    status.wait(lambda messages: messages[-1].messages >= 75)
    numbers = status.messages[-1]
    assert numbers.state == RecorderStatus.STATE_RECORDING
    assert numbers.bag == str(tmp_path / 'bag')
    assert numbers.dropped == 0
    assert abs(numbers.median_time_difference) < 0.025
    assert numbers.free_bytes > 0
    assert trigger(graph, '/served', 'stop').success
    assert status.messages[-1].state == RecorderStatus.STATE_IDLE
    again = trigger(graph, '/served', 'start')
    assert not again.success
    assert 'exists already' in again.message

    bag = finish(process, tmp_path / 'bag')
    seconds = {(stamp - START_NS) // 1_000_000_000 for stamp in bag.stamps('/served/radar/heatmap').tolist()}
    assert seconds == {1, 3, 4}, 'neither before the start nor during the pause'
    assert len(list((tmp_path / 'bag').glob('*.mcap'))) == 2
    assert [m.data for _, m in bag.messages('/served/pair_recorder_node/annotations')] == ['a bicycle passes']
    cut = [[BagReader(file).streams[t].count for t in ('/served/radar/heatmap', '/served/pairs')]
           for file in sorted((tmp_path / 'bag').glob('*.mcap'))]  # fmt: skip
    assert sum(count for count, _ in cut) == 30
    assert [pairs for _, pairs in cut] == [20, 10], 'a pair was cut'


def test_shut_down_while_it_records_it_completes_the_bag_and_tells_its_last_status(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/shut')
    status = graph.listen(RecorderStatus, '/shut/pair_recorder_node/status', latched_qos())
    pairs = graph.listen(Pair, '/shut/pairs')
    process = recorder('/shut')
    sensors.wait().run(1.0)
    assert graph.change_state('/shut/pair_recorder_node', 'shutdown')
    assert process.wait() == 0, process.output
    assert 'Traceback' not in process.output
    bag = BagReader(tmp_path / 'bag')
    assert recorded(bag, '/shut/radar/heatmap', Image) == sensors.sent['radar']
    assert recorded(bag, '/shut/camera/image_raw', Image) == sensors.sent['image']
    assert sorted(pair_stamps(bag, '/shut/pairs')) == expected_pairs(sensors)
    # what is found at the very end is announced as well
    assert pairs.wait(len(expected_pairs(sensors))) == recorded(bag, '/shut/pairs', Pair)
    last = status.wait(lambda messages: messages and messages[-1].state != RecorderStatus.STATE_RECORDING)[-1]
    assert (last.pairs, last.bag) == (len(pairs), str(tmp_path / 'bag'))


def test_a_snapshot_begins_before_its_trigger(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/ring')
    process = recorder('/ring', record_on_start=False, pre_trigger_s=30.0)
    sensors.wait().run(1.0)
    status = graph.listen(RecorderStatus, '/ring/pair_recorder_node/status', latched_qos())
    status.wait(lambda messages: messages and messages[-1].ring_bytes > 0)
    assert trigger(graph, '/ring', 'snapshot').success
    sensors.run(0.5, begin_s=1.0)
    status.wait(lambda messages: messages[-1].messages >= 100)
    bag = finish(process, tmp_path / 'bag')
    assert bag.stamps('/ring/radar/heatmap').tolist() == sensors.stamps('radar').tolist()
    assert sorted(pair_stamps(bag, '/ring/pairs')) == expected_pairs(sensors)


def test_pairs_only_leaves_out_what_has_no_partner(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/only')
    process = recorder('/only', pairs_only=True, slop_s=0.01, image_offset_s=-0.004)
    sensors.wait().run(2.0)
    time.sleep(0.5)
    bag = finish(process, tmp_path / 'bag')
    pairs = pair_stamps(bag, '/only/pairs')
    assert 5 < len(pairs) < 30
    assert bag.stamps('/only/radar/heatmap').tolist() == [radar for radar, _ in pairs]
    assert bag.stamps('/only/camera/image_raw').tolist() == [image for _, image in pairs]
    first = next(message for _, message in bag.messages('/only/pairs'))
    assert first.image_offset == -0.004
    assert all(abs(image - radar - 4_000_000) <= 10_000_000 for radar, image in pairs)


def test_a_sensor_that_comes_late_and_one_that_restarts_are_recorded_and_told(graph, recorder, tmp_path):
    heatmaps = graph.node.create_publisher(Image, '/late/radar/heatmaps', 10)
    images = graph.node.create_publisher(Image, '/late/camera/image_raw', 10)
    process = recorder('/late', input_timeout=1.5)
    name = 'late/pair_recorder_node: /late/radar/heatmap'
    missing = graph.wait_for_status(name, STALE)
    assert "nobody publishes it; did you mean '/late/radar/heatmaps'" in missing.message
    process.wait_for_line("waiting for /late/radar/heatmap: nobody publishes it; did you mean '/late/radar/heatmaps'")
    graph.node.destroy_publisher(heatmaps)
    graph.node.destroy_publisher(images)

    sensors = Sensors(graph, '/late')
    sensors.wait().run(0.5)
    graph.wait_for_status(name, OK)
    # the radar's driver ends, and comes back with another quality of service
    graph.node.destroy_publisher(sensors.heatmaps)
    graph.wait_for_status(name, WARN, 'nobody publishes it')
    restarted = Sensors(graph, '/late', radar_qos=BEST_EFFORT)
    graph.node.destroy_publisher(sensors.images)
    restarted.wait().run(0.5, begin_s=10.0)
    graph.wait_for_status(name, WARN, 'replaced')
    bag = finish(process, tmp_path / 'bag')
    assert len(bag.stamps('/late/radar/heatmap')) == 20
    assert len(pair_stamps(bag, '/late/pairs')) == 20


WRONG_PUBLISHER = """
import rclpy, std_msgs.msg
from rclpy.executors import ExternalShutdownException
rclpy.init()
node = rclpy.create_node('wrong')
node.create_publisher(std_msgs.msg.String, '/bad/radar/heatmap', 10)
try:
    rclpy.spin(node)
except (KeyboardInterrupt, ExternalShutdownException):
    pass
"""


def test_messages_that_cannot_be_paired_are_named_and_the_node_lives_on(graph, recorder, tmp_path):
    wrong = graph.start(sys.executable, '-c', WRONG_PUBLISHER)
    images = graph.node.create_publisher(Image, '/bad/camera/image_raw', 10)
    process = recorder('/bad')
    name = 'bad/pair_recorder_node: /bad'
    text = 'expected a type that begins with a header (such as sensor_msgs/msg/Image'
    status = graph.wait_for_status(f'{name}/radar/heatmap', ERROR, text)
    assert 'got std_msgs/msg/String' in status.message
    graph.wait_until(images.get_subscription_count, 'a subscription to the images')
    time.sleep(0.3)
    images.publish(image_message(0))
    process.wait_for_line('/bad/camera/image_raw.*(zero|0)')
    graph.wait_for_status(f'{name}/camera/image_raw', WARN)
    images.publish(b'\x00\x01\x00\x00torn')
    # a right publisher in place of the wrong one is taken
    assert wrong.stop() == 0
    graph.node.destroy_publisher(images)
    Sensors(graph, '/bad').wait().run(0.5)
    graph.wait_for_status(f'{name}/radar/heatmap', OK)
    bag = finish(process, tmp_path / 'bag')
    assert len(bag.stamps('/bad/radar/heatmap')) == 10
    assert len(pair_stamps(bag, '/bad/pairs')) == 10
    torn = [message.data for message in bag.raw_messages(['/bad/camera/image_raw']) if len(message.data) < 12]
    assert [bytes(data) for data in torn] == [b'\x00\x01\x00\x00torn']


def test_what_cannot_be_recorded_is_refused_until_the_node_is_told_better(graph, recorder, tmp_path):
    (tmp_path / 'FILE').write_text('mine')
    process = recorder('/mended', output=tmp_path / 'FILE')
    node = '/mended/pair_recorder_node'
    process.wait_for_line('exists already')
    assert graph.state(node) == 'inactive'
    graph.wait_for_status('mended/pair_recorder_node: state', ERROR, 'exists already')
    assert graph.set_parameter(node, 'output', str(tmp_path / 'FILE/bag')).successful
    assert not graph.change_state(node, 'activate')
    process.wait_for_line('FILE/bag: cannot be written')
    assert graph.set_parameter(node, 'output', str(tmp_path / 'better')).successful

    assert graph.change_state(node, 'cleanup')
    for name, wrong, right, transition, said in (
        ('slop_s', -1.0, 0.025, 'configure', "parameter 'slop_s': expected seconds from 0 on, got -1.0"),
        (
            'extra_topics',
            ['pairs'],
            [''],
            'configure',
            "'extra_topics': expected topics of others, got 'pairs', my own",
        ),
        (
            'extra_topics',
            ['bad name'],
            [''],
            'configure',
            "'extra_topics': expected the name of a topic, got 'bad name'",
        ),
        ('min_free_bytes', 10**18, 10**6, 'activate', 'MB of free space at least'),
    ):
        assert graph.set_parameter(node, name, wrong).successful
        if transition == 'activate':
            assert graph.change_state(node, 'configure')
        assert not graph.change_state(node, transition), name
        process.wait_for_line(said)
        if transition == 'activate':
            assert graph.change_state(node, 'cleanup')
        assert graph.set_parameter(node, name, right).successful

    assert graph.change_state(node, 'configure')
    assert graph.change_state(node, 'activate')
    Sensors(graph, '/mended').wait().run(0.3)
    assert graph.change_state(node, 'deactivate')
    assert len(BagReader(tmp_path / 'better').stamps('/mended/radar/heatmap')) == 6
    assert process.stop() == 0
    assert 'Traceback' not in process.output
    assert (tmp_path / 'FILE').read_text() == 'mine'


def test_a_process_that_was_to_end_with_its_recording_ends_where_there_can_be_none(recorder, tmp_path):
    (tmp_path / 'bag').mkdir()
    process = recorder('/refused', exit_when_finished=True)
    assert process.wait() == 1
    assert 'exists already' in process.output


def test_a_duration_begins_with_the_sensors_and_ends_the_process(graph, recorder, tmp_path):
    process = recorder('/timed', max_duration_s=0.2, exit_when_finished=True, input_timeout=0.5)
    process.wait_for_line('waiting for /timed/camera/image_raw: nobody publishes it')
    Sensors(graph, '/timed').wait().run(0.15)
    assert process.wait() == 0
    assert len(pair_stamps(BagReader(tmp_path / 'bag'), '/timed/pairs')) == 3


@pytest.fixture
def small_disk(tmp_path):
    """16 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('mounting a small tmpfs is not permitted here')
    yield folder
    subprocess.run(['umount', '-l', folder], check=True)


@pytest.mark.parametrize('exits', [True, False])
def test_a_recording_that_cannot_go_on_ends_in_the_open_with_exit_code_1(graph, recorder, small_disk, exits):
    namespace = f'/full_{exits}'.lower()
    images = graph.node.create_publisher(Image, f'{namespace}/camera/image_raw', 10)
    process = recorder(namespace, output=small_disk / 'bag', min_free_bytes=8_000_000, exit_when_finished=exits)
    graph.wait_until(images.get_subscription_count, 'the recorder')
    time.sleep(0.3)
    for index in range(10):
        images.publish(image_to_message(np.zeros((600, 600, 3), np.uint8), 'rgb8', START_NS + index, 'camera', TYPES))
        time.sleep(0.02)
    process.wait_for_line('the disk is almost full: . MB left, the limit is 8 MB; .* messages')
    if exits:
        assert process.wait() == 1
    else:
        graph.wait_for_status(f'{namespace[1:]}/pair_recorder_node: recording', ERROR, 'the disk is almost full')
        assert process.stop() == 1
    assert 'Traceback' not in process.output
    assert BagReader(small_disk / 'bag').streams[f'{namespace}/camera/image_raw'].count > 0


@pytest.fixture(scope='module')
def played(tmp_path_factory):
    """A bag of 2 s: heatmaps at 20 Hz, images at 30 Hz."""
    path = tmp_path_factory.mktemp('played') / 'bag'
    types = RosbagsTypes()
    grid_info = heatmap_to_messages(Heatmap(np.zeros(GRID.shape, np.float32), GRID), START_NS, 'radar', types)[1]
    frames = [(START_NS + k * 50_000_000, 'radar') for k in range(40)]
    frames += [(START_NS + k * 33_000_000 + 9_000_000, 'image') for k in range(60)]
    with BagWriter(path) as bag:
        bag.write('/radar/heatmap_info', START_NS, grid_info)
        for stamp_ns, kind in sorted(frames):
            if kind == 'radar':
                values = np.full(GRID.shape, 3.0, np.float32)
                message = heatmap_to_messages(Heatmap(values, GRID), stamp_ns, 'radar', types)[0]
                bag.write('/radar/heatmap', stamp_ns, message)
            else:
                picture = image_to_message(np.zeros((24, 32, 3), np.uint8), 'rgb8', stamp_ns, 'camera', types)
                bag.write('/camera/image_raw', stamp_ns, picture)
    return path


def awaited(recorders):
    return str([f'{topic} {recorders}' for topic in ('/radar/heatmap', '/camera/image_raw', '/radar/heatmap_info')])


def test_a_looping_bag_is_paired_in_each_round(graph, recorder, played, tmp_path):
    recorders = {
        sync: recorder('/loop', '-r', f'__node:={sync}', sync=sync, output=tmp_path / sync)
        for sync in ('nearest', 'approximate')
    }
    player = graph.start_node(
        'player_node', '-r', '__ns:=/loop', bag=played, loop=True, rate=3.0, wait_for_subscribers=awaited(2)
    )
    player.wait_for_line('starts again', timeout=30)
    player.wait_for_line('starts again', start=len(player.lines))
    time.sleep(0.3)
    assert player.stop() == 0
    in_rounds = {}
    for sync, process in recorders.items():
        process.wait_for_line('stamps jumped')
        bag = finish(process, tmp_path / sync)
        stamps = bag.stamps('/loop/radar/heatmap').tolist()
        assert sum(later < earlier for earlier, later in pairwise(stamps)) == 2, 'three rounds'
        in_rounds[sync] = [0]
        for (earlier, _), (later, _) in pairwise(pair_stamps(bag, '/loop/pairs')):
            in_rounds[sync][-1] += 1
            if later < earlier:
                in_rounds[sync].append(0)
        assert len(in_rounds[sync]) == 3, sync
    assert min(in_rounds['nearest'][0] + 1, in_rounds['nearest'][1]) >= 39, 'a round lost its pairs'
    assert min(in_rounds['approximate'][:2]) > 20, 'the synchronizer did not begin anew'


def test_simulated_time_is_the_time_of_the_bag(graph, recorder, played, tmp_path):
    process = recorder('/sim', use_sim_time=True)
    player = graph.start_node(
        'player_node', '-r', '__ns:=/sim', bag=played, publish_clock=True, rate=3.0, wait_for_subscribers=awaited(1)
    )
    assert player.wait(40) == 0
    time.sleep(0.3)
    bag = finish(process, tmp_path / 'bag')
    assert bag.stamps('/sim/radar/heatmap').tolist() == [START_NS + k * 50_000_000 for k in range(40)]
    assert START_NS <= bag.start_ns <= bag.end_ns <= START_NS + 2_100_000_000
    assert len(pair_stamps(bag, '/sim/pairs')) == 40


def test_a_clock_that_jumps_back_ends_nothing(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/back')
    process = recorder('/back', use_sim_time=True)
    sensors.wait()
    sensors.run(0.1, begin_s=99.0)
    process.wait_for_line('messages wait for the first /clock')
    clock = graph.publisher(Clock, '/clock')
    for begin_s in (100.0, 10.0):
        for _ in range(3):
            clock.publish(Clock(clock=stamp_from_ns(START_NS + round(begin_s * 1e9), TYPES)))
        time.sleep(0.3)
        sensors.run(0.5, begin_s=begin_s)
        time.sleep(0.2)
    graph.wait_for_status('back/pair_recorder_node: recording', WARN, 'clock jumped by -90')
    bag = finish(process, tmp_path / 'bag')
    assert len(bag.stamps('/back/radar/heatmap')) == 22, 'those from before the first /clock, too'
    assert sorted(pair_stamps(bag, '/back/pairs')) == expected_pairs(sensors)
    assert {stamp.time_ns - START_NS for stamp in bag.raw_messages(['/back/radar/heatmap'])} == {10**10, 10**11}


def test_a_recorded_bag_plays_as_it_was_recorded(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/round')
    infos = graph.node.create_publisher(HeatmapInfo, '/round/radar/heatmap_info', latched_qos())
    info = info_message()
    infos.publish(info)
    process = recorder('/round')
    sensors.wait().run(0.5)
    time.sleep(0.3)
    finish(process, tmp_path / 'bag')
    heatmaps, pairs = graph.listen(Image, '/again/round/radar/heatmap'), graph.listen(Pair, '/again/round/pairs')
    player = graph.start_node(
        'player_node', '-r', '__ns:=/again', bag=tmp_path / 'bag', rate=5.0,
        wait_for_subscribers="['/round/radar/heatmap', '/round/pairs']",
    )  # fmt: skip
    assert player.wait() == 0
    assert [m.header.stamp for m in heatmaps.wait(10)] == [m.header.stamp for m in sensors.sent['radar']]
    assert len(pairs.wait(9)) >= 9
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    assert graph.listen(HeatmapInfo, '/round/radar/heatmap_info', latched).wait(1)[0] == info


def test_compressed_images_are_recorded_with_their_camera_info(graph, recorder, tmp_path):
    heatmaps = graph.node.create_publisher(Image, '/jpeg/radar/heatmap', 10)
    images = graph.node.create_publisher(CompressedImage, '/jpeg/camera/image_raw/compressed', 10)
    infos = graph.node.create_publisher(CameraInfo, '/jpeg/camera/camera_info', latched_qos())
    infos.publish(CameraInfo(header=header(START_NS, 'camera', TYPES), width=640))
    process = recorder('/jpeg', image_topic='camera/image_raw/compressed')
    graph.wait_until(lambda: images.get_subscription_count() and heatmaps.get_subscription_count(), 'the recorder')
    time.sleep(0.3)
    for index in range(5):
        stamp_ns = START_NS + index * 50_000_000
        heatmaps.publish(heatmap_message(stamp_ns))
        images.publish(CompressedImage(header=header(stamp_ns, 'camera', TYPES), format='jpeg', data=b'x' * 100))
        time.sleep(0.02)
    time.sleep(0.3)
    bag = finish(process, tmp_path / 'bag')
    assert len(pair_stamps(bag, '/jpeg/pairs')) == 5
    assert bag.streams['/jpeg/camera/camera_info'].count == 1


def test_info_topics_lie_beside_their_streams():
    assert radar_info('/radar/cube', 'radio_visual_ssl/msg/RadarCube') == '/radar/info'
    assert radar_info('/radar/heatmap', 'sensor_msgs/msg/Image') == '/radar/heatmap_info'
    assert camera_info('/left/image_raw') == '/left/camera_info'
    assert camera_info('/left/image_raw/compressed') == '/left/camera_info'


def test_a_type_that_is_not_installed_is_named_with_its_package():
    expected = r'/lidar: expected a type .* \(install and source ouster_msgs: .*\), got ouster_msgs/msg/PacketMsg'
    with pytest.raises(ValueError, match=expected):
        installed_type('/lidar', 'ouster_msgs/msg/PacketMsg')


def test_definitions_contain_all_that_a_type_is_made_of():
    text = message_definition('tf2_msgs/msg/TFMessage')
    assert 'geometry_msgs/TransformStamped[] transforms' in text.partition('=====')[0]
    contained = [line[5:] for line in text.splitlines() if line.startswith('MSG: ')]
    assert sorted(contained) == [
        'builtin_interfaces/Time', 'geometry_msgs/Quaternion', 'geometry_msgs/Transform',
        'geometry_msgs/TransformStamped', 'geometry_msgs/Vector3', 'std_msgs/Header',
    ]  # fmt: skip
    assert message_definition('nowhere_msgs/msg/Nothing') is None
    assert type_hash('nowhere_msgs/msg/Nothing') is None
