# SPDX-License-Identifier: Apache-2.0
"""The pair view as a process: camera and heatmap of one moment side by side, drawn only for somebody who looks."""

import time

import cv2
import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from sensor_msgs.msg import CompressedImage, Image

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    header,
    heatmap_to_messages,
    image_from_message,
    image_to_message,
    stamp_from_ns,
    stamp_to_ns,
)
from radio_visual_ssl.msg import HeatmapInfo, Pair
from radio_visual_ssl.nodes.pair_view_node import CAPTION_HEIGHT, GAP, Kept, side_by_side
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

TYPES = RclpyTypes()
GRID = PolarGrid(np.linspace(1.0, 40.0, 64), np.linspace(-0.8, 0.8, 32))
START_NS = 1_700_000_000_000_000_000
BLUE = (20, 40, 220)


def pair_of(index, difference_ns):
    stamp_ns = START_NS + index * 50_000_000
    return Pair(
        header=header(stamp_ns, 'radar', TYPES),
        index=index,
        image_stamp=stamp_from_ns(stamp_ns + difference_ns, TYPES),
        time_difference=difference_ns * 1e-9,
    )


def heatmap_of(index):
    values = np.random.default_rng(index).normal(10, 3, GRID.shape).astype(np.float32)
    values[40, 16] = 60
    return heatmap_to_messages(Heatmap(values, GRID), START_NS + index * 50_000_000, 'radar', TYPES)


class Sensors:
    """Publishes pairs with their messages, again and again."""

    def __init__(self, graph, namespace, image_topic='camera/image_raw', image_type=Image):
        publisher = graph.node.create_publisher
        self.heatmaps = publisher(Image, f'{namespace}/radar/heatmap', 10)
        self.infos = publisher(HeatmapInfo, f'{namespace}/radar/heatmap_info', latched_qos())
        self.images = publisher(image_type, f'{namespace}/{image_topic}', 10)
        self.pairs = publisher(Pair, f'{namespace}/pairs', 10)
        self.infos.publish(heatmap_of(0)[1])
        self.index = 0

    def send(self, image, difference_ns=12_000_000):
        pair = pair_of(self.index, difference_ns)
        image.header = header(stamp_to_ns(pair.image_stamp), 'camera', TYPES)
        self.heatmaps.publish(heatmap_of(self.index)[0])
        self.images.publish(image)
        self.pairs.publish(pair)
        self.index += 1
        return stamp_to_ns(pair.header.stamp)


def blue_image():
    picture = np.empty((120, 160, 3), np.uint8)
    picture[:] = BLUE
    return image_to_message(picture, 'rgb8', 0, 'camera', TYPES)


def send_until_seen(sensors, seen, image=blue_image, timeout=60):
    sent, deadline = set(), time.monotonic() + timeout
    while not seen.messages:
        assert time.monotonic() < deadline, 'no picture'
        sent.add(sensors.send(image()))
        time.sleep(0.05)
    return sent


def test_the_pair_is_drawn_with_the_camera_left_and_stamped_as_the_radar_frame(graph):
    view = graph.start_node('pair_view_node', '-r', '__ns:=/view', height=240)
    sensors = Sensors(graph, '/view')
    graph.wait_for_state('/view/pair_view_node', 'active')
    assert graph.node.count_subscribers('/view/camera/image_raw') == 0, 'nobody looks, nothing is carried'
    seen = graph.listen(Image, '/view/pairs/preview')
    sent = send_until_seen(sensors, seen)
    message = seen.messages[0]
    assert stamp_to_ns(message.header.stamp) in sent
    assert (message.encoding, message.header.frame_id) == ('rgb8', 'radar')
    picture = image_from_message(message)
    assert picture.shape[0] == CAPTION_HEIGHT + 240
    assert tuple(picture[CAPTION_HEIGHT + 120, 160]) == BLUE
    assert picture[CAPTION_HEIGHT:, 320 + GAP :].std() > 10, 'the heatmap is a flat colour'
    assert picture[:CAPTION_HEIGHT].max() > 200, 'no caption'
    assert view.stop() == 0
    assert 'Traceback' not in view.output


def test_when_nobody_looks_any_more_the_sensors_are_left_alone(graph):
    graph.start_node('pair_view_node', '-r', '__ns:=/shy')
    sensors = Sensors(graph, '/shy')
    seen = graph.listen(Image, '/shy/pairs/preview')
    send_until_seen(sensors, seen)
    for subscription in list(graph.node.subscriptions):
        if subscription.topic_name == '/shy/pairs/preview':
            graph.node.destroy_subscription(subscription)
    graph.wait_until(lambda: graph.node.count_subscribers('/shy/camera/image_raw') == 0, 'the view to look away')


def test_compressed_images_are_shown_and_a_broken_one_costs_no_node(graph):
    view = graph.start_node(
        'pair_view_node', '-r', '__ns:=/jpeg', image_topic='camera/image_raw/compressed', height=120
    )
    sensors = Sensors(graph, '/jpeg', 'camera/image_raw/compressed', CompressedImage)
    seen = graph.listen(Image, '/jpeg/pairs/preview')
    graph.wait_until(sensors.images.get_subscription_count, 'a subscription to the images')
    deadline = time.monotonic() + 20
    while 'camera/image_raw/compressed' not in view.output:
        assert time.monotonic() < deadline, view.output
        sensors.send(CompressedImage(format='rgb8; jpeg compressed bgr8', data=b'no image'))
        time.sleep(0.05)
    picture = np.empty((120, 160, 3), np.uint8)
    picture[:] = BLUE[::-1]
    encoded = cv2.imencode('.jpg', picture)[1].tobytes()
    send_until_seen(sensors, seen, lambda: CompressedImage(format='rgb8; jpeg compressed bgr8', data=encoded))
    shown = image_from_message(seen.messages[0])[CAPTION_HEIGHT + 60, 80].astype(int)
    assert np.all(np.abs(shown - BLUE) < 12)


def test_pictures_of_different_sizes_keep_their_shapes():
    wide, tall = np.full((100, 300, 3), 200, np.uint8), np.full((200, 100, 3), 100, np.uint8)
    picture = side_by_side(wide, tall, 150, 'dt +1.0 ms')
    assert picture.shape == (CAPTION_HEIGHT + 150, 450 + GAP + 75, 3)
    assert np.all(picture[CAPTION_HEIGHT:, :450] == 200)
    assert np.all(picture[CAPTION_HEIGHT:, 450 + GAP :] == 100)


def test_messages_are_kept_within_their_number():
    kept = Kept()
    for index in range(100):
        kept.add(Image(header=header(START_NS + index, '', TYPES), data=bytes(10)))
    assert kept.get(stamp_from_ns(START_NS + 99, TYPES)) is not None
    assert kept.get(stamp_from_ns(START_NS + 40, TYPES)) is not None
    assert kept.get(stamp_from_ns(START_NS + 39, TYPES)) is None
