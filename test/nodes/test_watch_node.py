# SPDX-License-Identifier: Apache-2.0
"""The watcher as a process: it pairs by stamp, judges against ground truth and draws a picture."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import values_of
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    camera_to_info,
    heatmap_to_messages,
    image_to_message,
    targets_to_message,
    transform_to_message,
)
from radio_visual_ssl.msg import HeatmapInfo, TargetArray
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

TYPES = RclpyTypes()
GRID = PolarGrid(np.arange(1.0, 41.0), np.linspace(-1.0, 1.0, 32))
CAMERA = CameraModel(160, 120, np.array([[130.0, 0, 79.5], [0, 130.0, 59.5], [0, 0, 1]]))
PNG = b'\x89PNG'
GREY = 90
"""Level of the camera's pictures."""


class Suite:
    """The probe plays radar, camera, localizer and truth."""

    def __init__(self, graph, namespace, *, truth=True, camera=True):
        latched = latched_qos()
        self.heatmap = graph.publisher(Image, f'{namespace}/radar/heatmap', settle=0)
        self.targets = graph.publisher(TargetArray, f'{namespace}/localizer/targets', settle=0)
        self.truth = graph.publisher(TargetArray, f'{namespace}/ground_truth/targets', settle=0) if truth else None
        self.image = graph.publisher(Image, f'{namespace}/camera/image_raw', settle=0) if camera else None
        info = graph.publisher(HeatmapInfo, f'{namespace}/radar/heatmap_info', latched)
        info.publish(heatmap_to_messages(Heatmap(np.zeros(GRID.shape, np.float32), GRID), 0, 'radar', TYPES)[1])
        if camera:
            camera_info = graph.publisher(CameraInfo, f'{namespace}/camera/camera_info', latched, settle=0)
            camera_info.publish(camera_to_info(CAMERA, 0, 'camera', TYPES))
            transforms = graph.publisher(TFMessage, '/tf_static', latched, settle=0)
            mounting = transform_to_message(CAMERA.rotation.T, np.zeros(3), 0, TYPES, parent='radar', child='camera')
            transforms.publish(TFMessage(transforms=[mounting]))

    def send(self, stamp_ns, detections, truth=(), encoding='rgb8'):
        values = np.random.default_rng(stamp_ns).normal(size=GRID.shape).astype(np.float32)
        self.heatmap.publish(heatmap_to_messages(Heatmap(values, GRID), stamp_ns, 'radar', TYPES)[0])
        if self.truth is not None:
            self.truth.publish(targets_to_message(truth, stamp_ns, 'radar', TYPES))
        if self.image is not None:
            picture = np.full((120, 160, 3), GREY, np.uint8)
            message = image_to_message(picture, 'rgb8', stamp_ns + 20_000_000, 'camera', TYPES)
            message.encoding = encoding
            self.image.publish(message)
        self.targets.publish(targets_to_message(detections, stamp_ns, 'radar', TYPES))


def shows_the_camera(path):
    """Whether a picture holds the camera's."""
    return np.count_nonzero((cv2.imread(str(path)) == GREY).all(axis=2)) > 1000


def last_json(process):
    return json.loads([line for line in process.lines if line.startswith('{')][-1])


def test_it_judges_frames_draws_them_and_ends_with_a_line_of_json(graph, tmp_path):
    out = tmp_path / 'pictures' / 'watch.png'
    watch = graph.start_node('watch_node', '-r', '__ns:=/judge', frames=10, out=out, every=0.5, json=True)
    suite = Suite(graph, '/judge')
    seen, behind = {'in_camera_view': True, 'in_radar_view': True}, {'in_camera_view': False, 'in_radar_view': True}
    for index in range(10):
        truth = [Target(20.0, 0.0, **seen), Target(20.0, 4.0, **seen), Target(0.0, 9.0, **behind)]
        # one hit half a metre too far, one false alarm, one that hits what the camera cannot see
        found = [Target(20.5, 0.0, score=0.9), Target(30.0, 0.0, score=0.4), Target(0.0, 9.0, score=0.8)]
        suite.send(10**9 * (index + 1), found, truth)
    assert watch.wait() == 0, watch.output
    figures = last_json(watch)
    assert watch.lines[-1].startswith('{')
    assert figures['frames'] == 10
    assert figures['targets'] == 20
    assert figures['recall'] == pytest.approx(0.5)
    assert figures['precision'] == pytest.approx(0.5)
    assert figures['median_error_m'] == pytest.approx(0.5, abs=1e-3)
    assert figures['bias_range_m'] == pytest.approx(0.5, abs=1e-3)
    assert figures['detections_per_frame'] == 3
    assert out.read_bytes().startswith(PNG)
    assert shows_the_camera(out)
    assert 'detection rate (recall)' in watch.output


def test_without_truth_and_camera_it_counts_and_draws_on_ctrl_c(graph, tmp_path):
    out = tmp_path / 'watch.png'
    watch = graph.start_node('watch_node', '-r', '__ns:=/plain', out=out, every=0.0, json=True)
    suite = Suite(graph, '/plain', truth=False, camera=False)
    for index in range(4):
        suite.send(10**9 * (index + 1), [Target(10.0, 1.0)] * index)
    graph.wait_until_received(
        '/plain/watch_node', {f'/plain/{name}': 4 for name in ('localizer/targets', 'radar/heatmap')}
    )
    assert watch.stop() == 0
    figures = last_json(watch)
    assert figures['frames'] == 4
    assert figures['detections_per_frame'] == pytest.approx(1.5)
    assert out.read_bytes().startswith(PNG)
    assert 'Traceback' not in watch.output


def test_it_gives_up_where_nothing_comes_and_says_on_which_topic(graph):
    watch = graph.start_node('watch_node', '-r', '__ns:=/silent', frames=5, timeout=0.5)
    assert watch.wait() == 1
    assert 'no frame on /silent/localizer/targets for 0.5 s' in watch.output
    assert 'no frame arrived' in watch.output


def test_a_picture_that_cannot_be_written_is_named(graph, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    out = tmp_path / 'file' / 'watch.png'
    watch = graph.start_node('watch_node', '-r', '__ns:=/full', frames=5, out=out, every=0.0)
    suite = Suite(graph, '/full', truth=False, camera=False)
    for index in range(5):
        suite.send(10**9 * (index + 1), [])
    assert watch.wait() == 1, watch.output
    assert "parameter 'out': expected a path that can be written" in watch.output
    assert 'Traceback' not in watch.output


def test_an_image_that_cannot_be_decoded_is_told_once_and_left_out(graph, tmp_path):
    out = tmp_path / 'watch.png'
    watch = graph.start_node('watch_node', '-r', '__ns:=/raw', frames=3, out=out, every=0.2, json=True)
    suite = Suite(graph, '/raw')
    for index in range(3):
        suite.send(10**9 * (index + 1), [Target(20.0, 0.0)], [Target(20.0, 0.0, in_camera_view=True)], 'yuv422_yuy2')
        if index < 2:  # several pictures: what is told once could be told again
            out.unlink(missing_ok=True)
            graph.wait_until(out.exists, f'picture {index}')
    assert watch.wait() == 0, watch.output
    assert 'Traceback' not in watch.output
    (line,) = [line for line in watch.lines if 'yuv422_yuy2' in line]
    assert '/raw/camera/image_raw' in line
    assert 'expected one of' in line
    assert out.read_bytes().startswith(PNG)
    assert 'detection rate (recall)' in watch.output
    assert last_json(watch)['recall'] == 1


def test_an_image_that_is_too_far_from_the_radar_frame_is_left_out(graph, tmp_path):
    out = tmp_path / 'watch.png'
    watch = graph.start_node('watch_node', '-r', '__ns:=/far', out=out, every=0.2, image_slop=0.01)
    suite = Suite(graph, '/far')
    suite.send(10**9, [Target(20.0, 0.0)])
    graph.wait_until(out.exists, 'a picture')
    assert not shows_the_camera(out)
    # the stamps of the images are 20 ms late
    assert graph.set_parameter('/far/watch_node', 'image_offset', -0.02).successful
    suite.send(2 * 10**9, [Target(20.0, 0.0)])
    graph.wait_until(lambda: shows_the_camera(out), 'a picture with an image')
    assert watch.stop() == 0


def test_the_figures_come_even_where_the_last_frames_contradict_themselves(graph, tmp_path):
    out = tmp_path / 'watch.png'
    watch = graph.start_node('watch_node', '-r', '__ns:=/torn', out=out, every=0.0, json=True)
    suite = Suite(graph, '/torn')
    suite.send(10**9, [Target(20.0, 0.0)])
    graph.wait_until_received('/torn/watch_node', {'/torn/localizer/targets': 1, '/torn/radar/heatmap': 1})
    torn = image_to_message(np.zeros((4, 4), np.float32), '32FC1', 2 * 10**9, 'radar', TYPES)
    received = 'torn/watch_node: /torn/localizer/targets'
    diagnostics = graph.listen(DiagnosticArray, '/diagnostics')

    def arrives():
        # again and again, so that there are some which are not judged yet when it ends
        suite.heatmap.publish(torn)
        suite.targets.publish(targets_to_message([Target(20.0, 0.0)], 2 * 10**9, 'radar', TYPES))
        statuses = [status for message in list(diagnostics.messages) for status in message.status]
        return any(int(values_of(status)['received']) > 1 for status in statuses if status.name == received)

    graph.wait_until(arrives, 'a torn frame')
    assert watch.stop() == 0
    assert 'Traceback' not in watch.output
    assert 'a frame is left out' in watch.output
    assert last_json(watch)['frames'] == 1
    assert out.read_bytes().startswith(PNG)


def test_without_any_heatmap_it_says_that_there_is_no_picture(graph, tmp_path):
    watch = graph.start_node('watch_node', '-r', '__ns:=/blind', frames=1, out=tmp_path / 'watch.png')
    targets = graph.publisher(TargetArray, '/blind/localizer/targets')
    targets.publish(targets_to_message([], 10**9, 'radar', TYPES))
    assert watch.wait() == 1
    assert 'no picture: no heatmap arrived on /blind/radar/heatmap' in watch.output
    assert 'radar frames' in watch.output
