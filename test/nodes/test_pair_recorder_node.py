# SPDX-License-Identifier: Apache-2.0
"""The recorder as a process: what sensors send is in the bag byte for byte, and what goes wrong is told."""

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from ros_graph import values_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Range
from std_msgs.msg import String
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
from radio_visual_ssl.msg import HeatmapInfo, Pair, RecorderStatus, TargetArray
from radio_visual_ssl.nodes.definitions import message_definition, type_hash
from radio_visual_ssl.nodes.pair_recorder_node import installed_type
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
DEPTH = 1000
"""Messages that a topic's queues hold: a machine without a core to spare for the test must lose nothing."""


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

    def __init__(self, graph, namespace, radar_qos=DEPTH, image_qos=DEPTH):
        self.graph, self.namespace = graph, namespace
        self.heatmaps = graph.node.create_publisher(Image, f'{namespace}/radar/heatmap', radar_qos)
        self.images = graph.node.create_publisher(Image, f'{namespace}/camera/image_raw', image_qos)
        self.sent = {'radar': [], 'image': []}
        # who sends once and for all (best effort) has to know more than that it is listened to
        self.settle = 1.0 if BEST_EFFORT in (radar_qos, image_qos) else 0.3

    def wait(self):
        """Until both are listened to."""
        self.graph.wait_until(
            lambda: self.heatmaps.get_subscription_count() and self.images.get_subscription_count(),
            f'a recorder that listens to {self.namespace}',
        )
        time.sleep(self.settle)
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
        return self

    def wait_until_received(self, earlier=(0, 0), others=None):
        """Until the recorder has taken all that was sent, after so many radar frames and images, and other topics."""
        counts = {
            f'{self.namespace}/radar/heatmap': earlier[0] + len(self.sent['radar']),
            f'{self.namespace}/camera/image_raw': earlier[1] + len(self.sent['image']),
            **(others or {}),
        }
        self.graph.wait_until_received(f'{self.namespace}/pair_recorder_node', counts)

    def stamps(self, kind):
        return np.array([stamp_to_ns(message.header.stamp) for message in self.sent[kind]])


@pytest.fixture
def recorder(graph, tmp_path):
    """Starts a recorder in a namespace of its own, into ``tmp_path/bag``."""

    started = []

    def start(namespace, *arguments, **parameters):
        given = {'output': tmp_path / 'bag', 'min_free_bytes': 1_000_000, 'queue_depth': DEPTH, **parameters}
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
    moving = graph.node.create_publisher(TFMessage, '/tf', 10)
    truths = graph.node.create_publisher(TargetArray, '/plain/ground_truth/targets', 10)
    velocities = graph.node.create_publisher(Image, '/plain/radar/velocity', 10)
    others = ranges, cameras, moving, truths, velocities
    process = recorder('/plain', extra_topics="['sonar']")
    graph.wait_until(lambda: all(other.get_subscription_count() for other in others), 'the others')
    sensors.wait()
    moving.publish(TFMessage(transforms=[transform]))
    truths.publish(TargetArray(header=header(START_NS, 'radar', TYPES)))
    velocities.publish(heatmap_message(START_NS))
    cameras.publish(CameraInfo(header=header(START_NS, 'camera', TYPES), width=32))
    ranges.publish(Range(header=header(START_NS, 'sonar', TYPES), range=2.5))
    began_ns = time.time_ns()
    single = ('/tf', '/plain/ground_truth/targets', '/plain/radar/velocity', '/plain/sonar')
    sensors.run(2.0).wait_until_received(others=dict.fromkeys(single, 1))
    ended_ns = time.time_ns()
    live = pairs.wait(35)
    bag = finish(process, tmp_path / 'bag')

    assert recorded(bag, '/plain/radar/heatmap', Image) == sensors.sent['radar']
    assert recorded(bag, '/plain/camera/image_raw', Image) == sensors.sent['image']
    assert recorded(bag, '/plain/radar/heatmap_info', HeatmapInfo) == [info]
    assert len(recorded(bag, '/plain/camera/camera_info', CameraInfo)) == 1
    assert {m.transforms[0].child_frame_id for _, m in bag.messages('/tf_static')} == {'radar', 'camera'}
    assert [message.range for _, message in bag.messages('/plain/sonar')] == [2.5]
    assert [bag.streams[topic].count for topic in single] == [1, 1, 1, 1]
    assert sorted(pair_stamps(bag, '/plain/pairs')) == expected_pairs(sensors)
    # what was announced live is what is in the bag
    assert live == recorded(bag, '/plain/pairs', Pair)[: len(live)]
    assert [pair.index for pair in live] == list(range(len(live)))
    assert (live[0].radar_topic, live[0].image_topic) == ('/plain/radar/heatmap', '/plain/camera/image_raw')
    # the time of the bag is that of reception
    times = [message.time_ns for message in bag.raw_messages(['/plain/radar/heatmap'])]
    assert all(began_ns <= stamp_ns <= ended_ns for stamp_ns in times)
    # as it was offered, so it is played
    assert bag.streams['/plain/radar/heatmap_info'].latched
    assert not bag.streams['/plain/radar/heatmap'].latched
    assert 'uint32 width' in bag.streams['/plain/radar/heatmap'].definition


def test_services_start_pause_split_annotate_and_stop(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/served')
    status = graph.listen(RecorderStatus, '/served/pair_recorder_node/status', latched_qos())
    process = recorder('/served', record_on_start=False, standard_topics="['']")
    sensors.wait()
    sensors.run(0.5).wait_until_received()
    assert not trigger(graph, '/served', 'stop').success, 'nothing is recorded yet'
    assert 'pre_trigger_s' in trigger(graph, '/served', 'snapshot').message
    assert status.wait(1)[-1].state == RecorderStatus.STATE_IDLE

    assert trigger(graph, '/served', 'start').success
    began = time.monotonic()
    sensors.run(0.5, begin_s=1.0).wait_until_received()
    assert trigger(graph, '/served', 'pause').success
    paused = time.monotonic()
    sensors.run(0.5, begin_s=2.0).wait_until_received()
    status.wait(lambda messages: messages[-1].state == RecorderStatus.STATE_PAUSED)
    assert not trigger(graph, '/served', 'pause').success
    paused = time.monotonic() - paused
    assert trigger(graph, '/served', 'resume').success
    note = Annotate.Request(text='a bicycle passes')
    assert graph.call(Annotate, '/served/pair_recorder_node/annotate', note).success
    sensors.run(0.5, begin_s=3.0).wait_until_received()
    assert trigger(graph, '/served', 'split').success
    sensors.run(0.5, begin_s=4.0).wait_until_received()
    told_ns = time.time_ns()
    numbers = status.wait(
        lambda messages: messages[-1].messages >= 75 and stamp_to_ns(messages[-1].header.stamp) > told_ns
    )[-1]
    assert stamp_to_ns(numbers.header.stamp) < time.time_ns()
    assert numbers.state == RecorderStatus.STATE_RECORDING
    assert numbers.bag == str(tmp_path / 'bag')
    assert 0 < numbers.duration < time.monotonic() - began - paused, 'pauses are left out'
    assert numbers.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert max(message.bytes_per_second for message in status.messages) > 0
    assert trigger(graph, '/served', 'stop').success
    last = status.wait(lambda messages: messages[-1].state == RecorderStatus.STATE_IDLE)[-1]
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

    files = sorted((tmp_path / 'bag').glob('*.mcap'))
    pairs = pair_stamps(bag, '/served/pairs')
    assert last.file == numbers.file == str(files[-1])
    assert last.bytes == sum(file.stat().st_size for file in files)
    assert last.messages == sum(stream.count for stream in bag.streams.values())
    assert (last.pairs, last.unpaired_radar, last.unpaired_image) == (30, 0, 15)
    assert last.median_time_difference == pytest.approx(np.median([image - radar for radar, image in pairs]) * 1e-9)
    assert (last.message, last.dropped, last.queue_bytes, last.ring_bytes) == ('', 0, 0, 0)


def test_shut_down_while_it_records_it_completes_the_bag_and_tells_its_last_status(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/shut')
    status = graph.listen(RecorderStatus, '/shut/pair_recorder_node/status', latched_qos())
    pairs = graph.listen(Pair, '/shut/pairs')
    process = recorder('/shut')
    sensors.wait().run(1.0).wait_until_received()
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
    sensors.wait().run(1.0).wait_until_received()
    status = graph.listen(RecorderStatus, '/ring/pair_recorder_node/status', latched_qos())
    kept = sum(len(serialize_message(message)) for sent in sensors.sent.values() for message in sent)
    status.wait(lambda messages: messages and messages[-1].ring_bytes == kept)
    assert trigger(graph, '/ring', 'snapshot').success
    sensors.run(0.5, begin_s=1.0).wait_until_received()
    bag = finish(process, tmp_path / 'bag')
    assert bag.stamps('/ring/radar/heatmap').tolist() == sensors.stamps('radar').tolist()
    assert sorted(pair_stamps(bag, '/ring/pairs')) == expected_pairs(sensors)


def test_pairs_only_leaves_out_what_has_no_partner(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/only')
    status = graph.listen(RecorderStatus, '/only/pair_recorder_node/status', latched_qos())
    process = recorder('/only', pairs_only=True, slop_s=0.01, image_offset_s=-0.004)
    sensors.wait().run(2.0).wait_until_received()
    # the last ones wait for a partner that may yet come
    status.wait(lambda messages: messages and 0 < messages[-1].queue_bytes < 10_000 and messages[-1].unpaired_radar > 0)
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
    process = recorder('/late', input_timeout=2.0)
    name = 'late/pair_recorder_node: /late/radar/heatmap'
    graph.wait_for_status(name, STALE, "nobody publishes it; did you mean '/late/radar/heatmaps'")
    process.wait_for_line("waiting for /late/radar/heatmap: nobody publishes it; did you mean '/late/radar/heatmaps'")
    graph.node.destroy_publisher(heatmaps)
    graph.node.destroy_publisher(images)

    sensors = Sensors(graph, '/late')
    # what has come is not to count as silent before it is looked at
    assert graph.set_parameter('/late/pair_recorder_node', 'input_timeout', 60.0).successful
    sensors.wait().run(0.5).wait_until_received()
    graph.wait_for_status(name, OK)
    assert graph.set_parameter('/late/pair_recorder_node', 'input_timeout', 0.5).successful
    # the radar's driver ends, and comes back with another quality of service
    graph.node.destroy_publisher(sensors.heatmaps)
    graph.wait_for_status(name, WARN, 'nobody publishes it')
    restarted = Sensors(graph, '/late', radar_qos=BEST_EFFORT)
    graph.node.destroy_publisher(sensors.images)
    restarted.wait()
    graph.wait_for_status(name, WARN, 'replaced')
    restarted.run(0.5, begin_s=10.0).wait_until_received(earlier=(10, 15))
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
    process = recorder('/bad', input_timeout=60.0)
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
    Sensors(graph, '/bad').wait().run(0.5).wait_until_received(earlier=(0, 2))
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
    Sensors(graph, '/mended').wait().run(0.3).wait_until_received()
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
    status = graph.listen(RecorderStatus, '/timed/pair_recorder_node/status', latched_qos())
    process = recorder('/timed', max_duration_s=1.0, exit_when_finished=True, input_timeout=0.5)
    process.wait_for_line('waiting for /timed/camera/image_raw: nobody publishes it')
    Sensors(graph, '/timed').wait().run(0.15)
    assert process.wait() == 0
    last = status.wait(lambda messages: messages and messages[-1].state == RecorderStatus.STATE_STOPPED)[-1]
    assert last.message == 'the duration of 1 s is over'
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
    player.wait_for_line('starts again')
    player.wait_for_line('starts again', start=len(player.lines))
    assert graph.set_parameter('/loop/player_node', 'loop', False).successful
    assert player.wait() == 0
    rounds = player.output.count('starts again') + 1
    in_rounds = {}
    for sync, process in recorders.items():
        process.wait_for_line('stamps jumped')
        counts = {'/loop/radar/heatmap': 40 * rounds, '/loop/camera/image_raw': 60 * rounds}
        graph.wait_until_received(f'/loop/{sync}', counts)
        bag = finish(process, tmp_path / sync)
        stamps = bag.stamps('/loop/radar/heatmap').tolist()
        assert sum(later < earlier for earlier, later in pairwise(stamps)) == rounds - 1
        in_rounds[sync] = [0]
        for (earlier, _), (later, _) in pairwise(pair_stamps(bag, '/loop/pairs')):
            in_rounds[sync][-1] += 1
            if later < earlier:
                in_rounds[sync].append(0)
        assert len(in_rounds[sync]) == rounds, sync
    assert min(in_rounds['nearest'][0] + 1, in_rounds['nearest'][1]) >= 39, 'a round lost its pairs'
    assert min(in_rounds['approximate'][:2]) > 20, 'the synchronizer did not begin anew'


def test_simulated_time_is_the_time_of_the_bag(graph, recorder, played, tmp_path):
    process = recorder('/sim', use_sim_time=True)
    player = graph.start_node(
        'player_node', '-r', '__ns:=/sim', bag=played, publish_clock=True, rate=3.0, wait_for_subscribers=awaited(1)
    )
    assert player.wait() == 0
    graph.wait_until_received('/sim/pair_recorder_node', {'/sim/radar/heatmap': 40, '/sim/camera/image_raw': 60})
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
    diagnostics = graph.listen(DiagnosticArray, '/diagnostics')
    for begin_s, level, said in ((100.0, None, ''), (10.0, WARN, 'clock jumped by -90')):
        now = stamp_from_ns(START_NS + round(begin_s * 1e9), TYPES)
        for _ in range(3):
            clock.publish(Clock(clock=now))
        diagnostics.wait(lambda messages: messages and messages[-1].header.stamp == now)  # noqa: B023
        sensors.run(0.5, begin_s=begin_s)
        graph.wait_for_status('back/pair_recorder_node: recording', level, said)
        sensors.wait_until_received()
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
    sensors.wait().run(0.5).wait_until_received()
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


def test_what_lies_beside_topics_of_other_names_is_recorded_too(graph, recorder, tmp_path):
    heatmaps = graph.node.create_publisher(Image, '/jpeg/front/heatmap', 10)
    velocities = graph.node.create_publisher(Image, '/jpeg/front/velocity', 10)
    images = graph.node.create_publisher(CompressedImage, '/jpeg/camera/image_raw/compressed', 10)
    notes = graph.node.create_publisher(String, '/jpeg/notes', latched_qos())
    notes.publish(String(data='rain'))
    transforms = graph.node.create_publisher(TFMessage, '/tf_static', latched_qos())
    transforms.publish(TFMessage())
    infos = graph.node.create_publisher(CameraInfo, '/jpeg/camera/camera_info', latched_qos())
    infos.publish(CameraInfo(header=header(START_NS, 'camera', TYPES), width=640))
    options = {'radar_topic': 'front/heatmap', 'image_topic': 'camera/image_raw/compressed'}
    process = recorder('/jpeg', **options, standard_topics="['notes']")
    publishers = heatmaps, velocities, images
    graph.wait_until(lambda: all(each.get_subscription_count() for each in publishers), 'the recorder')
    time.sleep(0.3)
    began_ns = time.time_ns() - 3_000_000_000
    for index in range(5):
        stamp_ns = began_ns + index * 50_000_000
        heatmaps.publish(heatmap_message(stamp_ns))
        velocities.publish(Image(header=header(stamp_ns, 'radar', TYPES), encoding='32FC1'))
        images.publish(CompressedImage(header=header(stamp_ns, 'camera', TYPES), format='jpeg', data=b'x' * 100))
        time.sleep(0.02)
    streams = {'front/heatmap': 5, 'front/velocity': 5, 'camera/image_raw/compressed': 5, 'camera/camera_info': 1}
    counts = {**streams, 'notes': 1}
    graph.wait_until_received('/jpeg/pair_recorder_node', {f'/jpeg/{name}': count for name, count in counts.items()})
    status = graph.wait_for_status('jpeg/pair_recorder_node: /jpeg/camera/image_raw/compressed')
    # from the stamp of the image to its arrival
    assert 2.8e3 <= float(values_of(status)['latency_p50_ms']) < 1e6
    bag = finish(process, tmp_path / 'bag')
    assert len(pair_stamps(bag, '/jpeg/pairs')) == 5
    assert bag.streams['/jpeg/camera/camera_info'].count == 1
    assert bag.streams['/jpeg/front/velocity'].count == 5
    assert [message.data for _, message in bag.messages('/jpeg/notes')] == ['rain']
    assert '/tf_static' not in bag.streams, 'no topic of the standard'


def test_queues_are_as_long_as_they_are_told_to_be(graph, recorder, tmp_path):
    sensors = Sensors(graph, '/queues')
    process = recorder('/queues', sync='approximate', sync_queue_size=2, queue_depth=300)
    sensors.wait()
    # all radar frames come before their images: the synchronizer has forgotten those before the last two
    stamps = [START_NS + index * 50_000_000 for index in range(5)]
    for kind, publisher, make in (
        ('radar', sensors.heatmaps, heatmap_message),
        ('image', sensors.images, image_message),
    ):
        for stamp_ns in stamps:
            sensors.sent[kind].append(make(stamp_ns))
            publisher.publish(sensors.sent[kind][-1])
        sensors.wait_until_received()
    # what comes while the recorder gets no core waits in the middleware
    process.process.send_signal(signal.SIGSTOP)
    for index in range(250):
        sensors.sent['radar'].append(heatmap_message(START_NS + 10_000_000_000 + index))
        sensors.heatmaps.publish(sensors.sent['radar'][-1])
    process.process.send_signal(signal.SIGCONT)
    sensors.wait_until_received()
    bag = finish(process, tmp_path / 'bag')
    assert pair_stamps(bag, '/queues/pairs') == [(stamp_ns, stamp_ns) for stamp_ns in stamps[-2:]]
    assert bag.stamps('/queues/radar/heatmap').tolist() == sensors.stamps('radar').tolist()


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
