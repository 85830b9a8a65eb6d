# SPDX-License-Identifier: Apache-2.0
"""Broadcasting of frames with the real tf2_ros or its stand-in; the publisher runs as its own process."""

import math
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('tf2_ros')

from ament_index_python.packages import get_package_prefix
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

STATIC_QOS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
FRAMES = ('--frame-id', 'base', '--child-frame-id', 'radar')


def transform(child, x=0.0):
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = 'base'
    message.transform.translation.x = x
    return message


def children(message):
    return [sent.child_frame_id for sent in message.transforms]


@pytest.fixture
def start_publisher(graph):
    """Start static_transform_publisher with arguments in the test's domain; what still runs is ended after the test."""
    executable = Path(get_package_prefix('tf2_ros')) / 'lib' / 'tf2_ros' / 'static_transform_publisher'
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [executable, *arguments],
            env={**os.environ, 'ROS_DOMAIN_ID': str(graph.domain_id)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()  # killed, it could leave the shared memory of its domain locked
        process.communicate(timeout=30)


@pytest.fixture
def published(graph, start_publisher):
    """Run the publisher with arguments and return the one transform that it sends."""

    def run(*arguments):
        received = []
        graph.node.create_subscription(TFMessage, '/tf_static', received.append, STATIC_QOS)
        process = start_publisher(*arguments)
        assert graph.spin_until(lambda: received or process.poll() is not None, 30.0)
        assert received, process.communicate()[0]
        assert len(received[0].transforms) == 1
        return received[0].transforms[0]

    return run


def rotation(sent):
    quaternion = sent.transform.rotation
    return [quaternion.x, quaternion.y, quaternion.z, quaternion.w]


def test_static_broadcaster_reaches_subscribers_that_come_later(graph):
    broadcaster = StaticTransformBroadcaster(graph.node)
    broadcaster.sendTransform(transform('radar', x=1.5))
    received = []
    graph.node.create_subscription(TFMessage, '/tf_static', received.append, STATIC_QOS)
    assert graph.spin_until(lambda: received)
    assert received[0].transforms == [transform('radar', x=1.5)]


def test_static_broadcaster_repeats_what_it_sent_before(graph):
    broadcaster = StaticTransformBroadcaster(graph.node)
    broadcaster.sendTransform(transform('radar'))
    broadcaster.sendTransform([transform('camera'), transform('lidar')])
    broadcaster.sendTransform(transform(name) for name in ('imu',))
    received = []
    graph.node.create_subscription(TFMessage, '/tf_static', received.append, STATIC_QOS)
    assert graph.spin_until(lambda: received)
    assert children(received[-1]) == ['radar', 'camera', 'lidar', 'imu']


def test_broadcaster_sends_one_transform_or_several(graph):
    broadcaster = TransformBroadcaster(graph.node)
    received = []
    graph.node.create_subscription(TFMessage, '/tf', received.append, 10)
    assert graph.spin_until(lambda: broadcaster.pub_tf.get_subscription_count() == 1)
    broadcaster.sendTransform(transform('radar'))
    broadcaster.sendTransform([transform('radar'), transform('camera')])
    assert graph.spin_until(lambda: len(received) == 2)
    assert [children(message) for message in received] == [['radar'], ['radar', 'camera']]


def test_broadcasters_take_a_depth_or_profile(graph):
    assert TransformBroadcaster(graph.node, qos=7).pub_tf.qos_profile.depth == 7
    assert StaticTransformBroadcaster(graph.node, qos=STATIC_QOS).pub_tf.qos_profile.depth == 100


def test_publisher_sends_translation_and_frames(graph, published):
    before = graph.node.get_clock().now().nanoseconds
    sent = published('--x', '1.5', '--y', '-0.25', '--z', '1e-3', *FRAMES)
    assert (sent.header.frame_id, sent.child_frame_id) == ('base', 'radar')
    translation = sent.transform.translation
    assert [translation.x, translation.y, translation.z] == [1.5, -0.25, 1e-3]
    assert rotation(sent) == [0.0, 0.0, 0.0, 1.0]
    stamp = sent.header.stamp
    assert before - 10**9 < stamp.sec * 10**9 + stamp.nanosec <= graph.node.get_clock().now().nanoseconds


def test_publisher_turns_about_fixed_axes(published):
    """A quarter turn about x, then about z: the quaternion (1, 1, 1, 1) / 2."""
    sent = published('--roll', str(math.pi / 2), '--yaw', str(math.pi / 2), *FRAMES)
    assert rotation(sent) == pytest.approx([0.5, 0.5, 0.5, 0.5])


def test_publisher_takes_roll_pitch_and_yaw_together(published):
    roll, pitch, yaw = 0.1, -0.2, 0.3
    sent = published('--roll', str(roll), '--pitch', str(pitch), '--yaw', str(yaw), *FRAMES)
    x, y, z, w = rotation(sent)
    assert math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)) == pytest.approx(roll)
    assert math.asin(2 * (w * y - z * x)) == pytest.approx(pitch)
    assert math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)) == pytest.approx(yaw)


def test_publisher_takes_a_quaternion(published):
    sent = published('--qz', '0.6', '--qw', '0.8', *FRAMES)
    assert rotation(sent) == [0.0, 0.0, 0.6, 0.8]


def test_publisher_takes_old_style_arguments(published):
    sent = published('1', '2', '3', str(math.pi / 2), '0', str(math.pi / 2), 'base', 'radar')
    assert sent.transform.translation.z == 3.0
    assert rotation(sent) == pytest.approx([0.5, 0.5, 0.5, 0.5])


def test_publisher_ignores_ros_arguments_and_takes_its_name_from_them(graph, published):
    published(*FRAMES, '--ros-args', '-r', '__node:=radar_mount', '-p', 'use_sim_time:=false')
    assert graph.spin_until(lambda: 'radar_mount' in graph.node.get_node_names())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_publisher_ends_cleanly(graph, start_publisher, number):
    received = []
    graph.node.create_subscription(TFMessage, '/tf_static', received.append, STATIC_QOS)
    process = start_publisher(*FRAMES)
    assert graph.spin_until(lambda: received, 30.0)
    assert graph.spin_until(lambda: len(graph.node.get_node_names()) > 1)
    process.send_signal(number)
    output = process.communicate(timeout=10)[0]
    assert process.returncode == 0
    assert 'Traceback' not in output


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        ((), 'Not enough arguments to parse'),
        (('--x',), 'Not enough arguments for --x'),
        (('--x', 'one', *FRAMES), 'Failed to parse --x argument as float'),
        (('--child-frame-id', 'radar'), 'Frame id must not be empty'),
        (('--frame-id', 'base'), 'Child frame id must not be empty'),
        (('--yaw', '1', '--qw', '1', *FRAMES), 'Cannot specify both quaternion and Euler rotations'),
        (('--speed', '3', *FRAMES), 'Extra unparsed arguments'),
        (('0', '0', '0', '0', '0', '0', *FRAMES, 'base', 'radar'), 'Cannot specify both new-style'),
        (('--frame-id', 'base', '--child-frame-id', 'base'), 'cannot equal frame id|cannot publish'),
    ],
)
def test_publisher_says_what_is_wrong_with_its_arguments(start_publisher, arguments, complaint):
    process = start_publisher(*arguments)
    output = process.communicate(timeout=30)[0]
    assert process.returncode != 0
    assert re.search(complaint, output), output


def test_publisher_explains_itself(start_publisher):
    process = start_publisher('--help')
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert '--child-frame-id CHILD_FRAME_ID' in output
