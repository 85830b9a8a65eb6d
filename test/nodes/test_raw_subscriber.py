# SPDX-License-Identifier: Apache-2.0
"""Serialized messages as message filters: their stamps, what was lost on the way, and who publishes what."""

import time

import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

import rclpy
from message_filters import ApproximateTimeSynchronizer
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from radio_visual_ssl.bags.messages import RclpyTypes, header
from radio_visual_ssl.nodes.discovery import find_source, similar_topics
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.nodes.raw_subscriber import RawSubscriber, has_header

START_NS = 1_700_000_000_000_000_000
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class Listener:
    """A node that listens only when told to."""

    def __init__(self, domain_id):
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node('listener', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def spin(self, condition, timeout=60.0):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline
            self._executor.spin_once(timeout_sec=0.05)

    def close(self):
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


@pytest.fixture(scope='module')
def listener(graph):
    made = Listener(graph.domain_id)
    yield made
    made.close()


def image(stamp_ns):
    return Image(header=header(stamp_ns, 'camera', RclpyTypes()), height=1, width=4, step=4, data=b'abcd')


def test_bytes_and_stamp_come_through_and_nothing_else_is_read(graph, listener):
    received = []
    subscriber = RawSubscriber(listener.node, Image, 'one', RELIABLE, offset_ns=1_500_000_000)
    subscriber.registerCallback(received.append)
    publisher = graph.publisher(Image, 'one')
    began_ns = time.time_ns()
    publisher.publish(image(START_NS + 7))
    listener.spin(lambda: received)
    message = received[0]
    assert deserialize_message(message.data, Image) == image(START_NS + 7)
    assert message.stamp_ns == START_NS + 7
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1_700_000_001, 500_000_007)
    assert began_ns <= message.received_ns <= time.time_ns()


def test_messages_without_a_header_have_no_stamp(graph, listener):
    received = []
    RawSubscriber(listener.node, String, 'words', RELIABLE).registerCallback(received.append)
    graph.publisher(String, 'words').publish(String(data='hello'))
    listener.spin(lambda: received)
    assert received[0].stamp_ns is None
    assert not hasattr(received[0], 'header')
    assert has_header(Image)
    assert not has_header(String)


def test_what_a_full_queue_lost_is_counted_by_the_numbers_of_the_publisher(graph, listener):
    subscriber = RawSubscriber(listener.node, Image, 'flood', BEST_EFFORT)
    publisher = graph.publisher(Image, 'flood', BEST_EFFORT)
    publisher.publish(image(START_NS))
    listener.spin(lambda: subscriber.received == 1)
    for index in range(20):
        publisher.publish(image(START_NS + index))
        time.sleep(0.01)
    time.sleep(0.2)
    listener.spin(lambda: subscriber.received + subscriber.lost == 21)
    assert subscriber.lost == 15, 'the queue holds 5 of 20'


def test_a_synchronizer_takes_them_with_their_offset(graph, listener):
    radar = RawSubscriber(listener.node, Image, 'radar', RELIABLE)
    camera = RawSubscriber(listener.node, Image, 'camera', RELIABLE, offset_ns=500_000_000)
    pairs = []
    ApproximateTimeSynchronizer([radar, camera], 10, 0.02).registerCallback(
        lambda *messages: pairs.append(tuple(message.stamp_ns - START_NS for message in messages))
    )
    radars, cameras = graph.publisher(Image, 'radar'), graph.publisher(Image, 'camera')
    radars.publish(image(START_NS + 500_000_000))
    cameras.publish(image(START_NS + 10_000_000))
    listener.spin(lambda: pairs)
    assert pairs == [(500_000_000, 10_000_000)]


def test_a_subscription_is_matched_to_all_that_publish(graph, listener):
    publishers = [graph.node.create_publisher(Image, 'many', qos) for qos in (latched_qos(), RELIABLE)]
    graph.wait_until(lambda: listener.node.count_publishers('/many') == 2, 'both publishers')
    source = find_source(listener.node, '/many')
    assert (source.message_type, source.reliable, source.latched) == ('sensor_msgs/msg/Image', True, False)
    assert len(source.publishers) == 2
    # the middleware tells of nodes apart from their publishers, and mostly later
    graph.wait_until(lambda: find_source(listener.node, '/many').nodes == ('probe',), 'the name of the node')
    assert source.type_hash.startswith('RIHS01_')
    publishers.append(graph.node.create_publisher(Image, 'many', BEST_EFFORT))
    graph.wait_until(lambda: listener.node.count_publishers('/many') == 3, 'the third publisher')
    qos = find_source(listener.node, '/many').qos(7)
    assert qos.reliability == ReliabilityPolicy.BEST_EFFORT
    assert (qos.durability, qos.depth) == (DurabilityPolicy.VOLATILE, 7)
    assert find_source(listener.node, '/nobody') is None


def test_a_latched_topic_is_subscribed_with_room_for_all_its_publishers(graph, listener):
    graph.node.create_publisher(Image, 'latched', latched_qos())
    graph.wait_until(lambda: listener.node.count_publishers('/latched'), 'the publisher')
    qos = find_source(listener.node, '/latched').qos(7)
    assert qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert qos.depth >= 100


def test_topics_with_a_similar_name_or_of_the_type_are_proposed(graph, listener):
    graph.node.create_publisher(Image, '/front/radar/heatmaps', 10)
    graph.node.create_publisher(Image, '/mono', 10)
    graph.node.create_publisher(Image, '/front/radar/heatmap/preview', 10)
    graph.wait_until(lambda: listener.node.count_publishers('/front/radar/heatmap/preview'), 'the publishers')
    graph.wait_until(lambda: listener.node.count_publishers('/mono'), 'the publishers')
    assert "did you mean '/front/radar/heatmaps'?" in similar_topics(listener.node, '/front/radar/heatmap')
    assert 'heatmaps' not in similar_topics(listener.node, '/front/radar/heatmap', besides=['/front/radar/heatmaps'])
    of_type = similar_topics(listener.node, '/x', ['sensor_msgs/msg/Image'])
    assert of_type.startswith('; topics of such a type: ')
    assert 'preview' not in of_type
    assert similar_topics(listener.node, '/x') == ''
