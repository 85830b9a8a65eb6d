# SPDX-License-Identifier: Apache-2.0
"""The camera node as a process: files, folders and a network camera become images with a true camera_info."""

import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from diagnostic_msgs.msg import DiagnosticStatus
from mjpeg_server import MjpegServer
from ros_graph import values_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from radio_visual_ssl.bags.messages import stamp_to_ns
from radio_visual_ssl.nodes.camera_node import PARAMETERS
from radio_visual_ssl.nodes.qos import latched_qos

WIDTH, HEIGHT = 320, 240
CALIBRATION = """
image_width: 320
image_height: 240
camera_name: left
camera_matrix: {rows: 3, cols: 3, data: [250, 0, 160.5, 0, 251, 118.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.2, 0.03, 0.001, -0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [240, 0, 159.5, 0, 0, 240, 119.5, 0, 0, 0, 1, 0]}
"""


def picture(index):
    """Blue to the left, red to the right and more so downwards, green by number."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2, 0] = 200
    image[:, WIDTH // 2 :, 2] = 100
    image[..., 1] = index
    image[..., 2] += np.arange(HEIGHT, dtype=np.uint8)[:, None] // 2
    return image


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('pictures')
    for index in range(5):
        cv2.imwrite(str(path / f'{index}.png'), picture(index))
    return path


@pytest.fixture(scope='module')
def calibration(tmp_path_factory):
    path = tmp_path_factory.mktemp('calibration') / 'left.yaml'
    path.write_text(CALIBRATION)
    return path


@pytest.fixture
def server():
    made = MjpegServer()
    yield made
    made.stop()


def encodings(form, *setting):
    """What the pictures become as compressed images."""
    return [cv2.imencode(f'.{form}', picture(index), setting)[1].tobytes() for index in range(5)]


def pixels(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def names(namespace):
    return '-r', f'__ns:=/{namespace}'


def test_a_folder_becomes_images_with_info_and_compressed_images(graph, folder, calibration):
    images = graph.listen(Image, '/a/camera/image_raw')
    infos = graph.listen(CameraInfo, '/a/camera/camera_info', latched_qos(10))
    compressed = graph.listen(CompressedImage, '/a/camera/image_raw/compressed')
    node = graph.start_node(
        'camera_node',
        *names('a'),
        source=folder,
        loop=True,
        rate=20.0,
        frame_id='left_optical',
        camera_info_url=f'file://{calibration}',
    )
    image = images.wait(10)[-1]
    assert (image.encoding, image.header.frame_id, image.step) == ('bgr8', 'left_optical', 3 * WIDTH)
    np.testing.assert_array_equal(pixels(image), picture(pixels(image)[0, 0, 1]))
    stamps = [stamp_to_ns(message.header.stamp) for message in images.messages]
    assert np.all(np.diff(stamps) > 0)
    assert abs(time.time_ns() - stamps[-1]) < 20e9

    info = infos.wait(5)[-1]
    assert (info.width, info.height, info.distortion_model) == (WIDTH, HEIGHT, 'plumb_bob')
    np.testing.assert_array_equal(info.k, [250, 0, 160.5, 0, 251, 118.5, 0, 0, 1])
    np.testing.assert_array_equal(info.d, [-0.2, 0.03, 0.001, -0.002, 0])
    np.testing.assert_array_equal(info.p, [240, 0, 159.5, 0, 0, 240, 119.5, 0, 0, 0, 1, 0])
    seen = {stamp_to_ns(message.header.stamp) for message in infos.messages}
    assert len(seen & set(stamps)) >= 3, 'image and camera_info share their stamp'

    def of_one_picture():
        return [(one, other) for one in compressed.messages for other in images.messages if one.header == other.header]

    graph.wait_until(of_one_picture, 'a compressed image with the header of a raw one')
    message, image = of_one_picture()[0]
    assert message.format == 'bgr8; jpeg compressed bgr8'
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded[:, 20:40, 0].astype(int) - 200).max() < 12
    assert message.data.tobytes() == encodings('jpeg', cv2.IMWRITE_JPEG_QUALITY, 95)[pixels(image)[0, 0, 1]]

    for form, name, setting, value in (
        ('jpeg', 'jpeg_quality', cv2.IMWRITE_JPEG_QUALITY, 10),
        ('png', 'png_level', cv2.IMWRITE_PNG_COMPRESSION, 0),
    ):
        assert graph.set_parameter('/a/camera_node', f'compressed.{name}', value).successful
        assert graph.set_parameter('/a/camera_node', 'compressed.format', form).successful
        expected = encodings(form, setting, value)
        message = compressed.wait(lambda found: found[-1].data.tobytes() in expected)[-1]  # noqa: B023
        assert message.format == f'bgr8; {form} compressed bgr8'
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, picture(decoded[0, 0, 1]))

    # live: half the size, of a part of the right half
    for name, value in (('x', WIDTH // 2), ('y', 40), ('width', 120), ('height', 100)):
        assert graph.set_parameter('/a/camera_node', f'crop_{name}', value).successful
    assert graph.set_parameter('/a/camera_node', 'height', 50).successful
    image = images.wait(lambda found: found[-1].width == 60)[-1]
    part = picture(pixels(image)[0, 0, 1])[40:140, WIDTH // 2 : WIDTH // 2 + 120]
    assert image.height == 50
    np.testing.assert_allclose(pixels(image), part.reshape(50, 2, 60, 2, 3).mean(axis=(1, 3)), atol=1)
    info = infos.wait(lambda found: found[-1].width == 60)[-1]
    assert info.height == 50
    np.testing.assert_allclose(info.k, [125, 0, 0.0, 0, 125.5, 39.0, 0, 0, 1])

    result = graph.set_parameter('/a/camera_node', 'gain', 3)
    assert not result.successful
    assert f"parameter 'gain': expected a video device whose gain can be set, got {folder}" in result.reason
    result = graph.set_parameter('/a/camera_node', 'camera_info_url', 'http://x/left.yaml')
    assert 'expected a path, a file:// or a package:// URL, got the scheme http://' in result.reason
    result = graph.set_parameter('/a/camera_node', 'source', '1')
    assert 'expected a change while the node is unconfigured' in result.reason
    status = graph.wait_for_status('a/camera_node: capture', DiagnosticStatus.OK)
    assert float(values_of(status)['rate_hz']) > 5
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_rectified_images_and_grey_ones(graph, folder, calibration):
    rectified = graph.listen(Image, '/b/camera/image_rect')
    compressed = graph.listen(CompressedImage, '/b/camera/image_rect/compressed')
    node = graph.start_node(
        'camera_node',
        *names('b'),
        source=folder,
        loop=True,
        camera_info_url=calibration,
        rectify=True,
        encoding='mono8',
    )
    image = rectified.wait(1)[0]
    assert (image.encoding, image.width, image.height) == ('mono8', WIDTH, HEIGHT)
    raw = cv2.cvtColor(picture(0), cv2.COLOR_BGR2GRAY)
    assert abs(int(pixels(image)[120, 80, 0]) - int(raw[120, 80])) < 6
    assert compressed.wait(1)[0].format == 'mono8; jpeg compressed '
    assert node.stop() == 0


def test_a_video_file_is_played_to_its_end_and_again_after_activation(graph, tmp_path):
    path = tmp_path / 'short.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 20, (WIDTH, HEIGHT))
    for index in range(10):
        writer.write(picture(20 * index))
    writer.release()
    images = graph.listen(Image, '/c/camera/image_raw')
    infos = graph.listen(CameraInfo, '/c/camera/camera_info', latched_qos(10))
    node = graph.start_node('camera_node', *names('c'), source=path, autostart=False, encoding='rgb8')
    assert graph.change_state('/c/camera_node', 'configure')
    graph.wait_until(lambda: graph.node.count_publishers('/c/camera/image_raw'), 'the publisher')
    time.sleep(0.5)
    assert graph.change_state('/c/camera_node', 'activate')
    node.wait_for_line('short.avi: the end, after 10 pictures')
    assert len(images.wait(10)) == 10
    assert images.messages[0].encoding == 'rgb8'
    assert np.abs(pixels(images.messages[0])[:, 20:100, 2].astype(int) - 200).max() < 12
    assert infos.wait(1)[0].k[0] == 0, 'K is zero for a camera that is not calibrated'
    assert set(np.diff([stamp_to_ns(message.header.stamp) for message in images.messages])) <= {50_000_000}
    assert graph.change_state('/c/camera_node', 'deactivate')
    assert graph.change_state('/c/camera_node', 'activate')
    images.wait(20)
    assert node.stop(signal.SIGTERM) == 0


def test_a_network_camera_that_is_unplugged_comes_back(graph, server):
    images = graph.listen(Image, '/d/camera/image_raw')
    node = graph.start_node('camera_node', *names('d'), source=server.url, latency=0.05, rate=15.0)
    images.wait(5)
    server.stop()
    status = graph.wait_for_status('d/camera_node: capture', DiagnosticStatus.ERROR, 'cannot connect to 127.0.0.1')
    assert 'trying again in' in status.message
    images.clear()
    server.start()
    images.wait(5)
    graph.wait_for_status('d/camera_node: capture', DiagnosticStatus.OK)
    status = graph.wait_for_status('d/camera_node: state', DiagnosticStatus.OK)
    values = values_of(status)
    assert (values['reconnects'], values['stamps'], values['size']) == ('1', 'reception', '160 x 120')
    assert values['source'] == server.url
    assert graph.set_parameter('/d/camera_node', 'rate', 3.0).successful
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_an_absent_camera_is_waited_for_and_named(graph):
    node = graph.start_node('camera_node', *names('e'), source=987)
    node.wait_for_line(r'/dev/video987: expected a video device, found none; (present|no video device is present)')
    status = graph.wait_for_status('e/camera_node: capture', DiagnosticStatus.ERROR, '/dev/video987')
    assert status.hardware_id == '/dev/video987'
    assert graph.state('/e/camera_node') == 'active'
    assert node.stop() == 0


WRONG = [
    ('source', '/none/video.mp4', '/none/video.mp4: expected a video file, a picture or a folder'),
    ('source', 'gopher://camera', 'source: expected one of file://, rtsp://'),
    ('camera_info_url', 'package://nobody/left.yaml', "'camera_info_url': .*expected the package nobody"),
    ('rectify', True, "'rectify': expected a calibration in camera_info_url, got none"),
    ('exposure', 0.01, "'exposure': expected a video device whose exposure can be set"),
    ('pixel_format', 'YUV', "'pixel_format': expected four letters such as 'MJPG', got 'YUV'"),
    ('capture_width', 640, 'capture_width and capture_height: expected both or none, got 640 x 0'),
]


def test_what_cannot_be_configured_is_said_and_can_be_mended(graph, folder, tmp_path):
    images = graph.listen(Image, '/g/camera/image_raw')
    node = graph.start_node('camera_node', *names('g'), source=tmp_path, loop=True)
    node.wait_for_line(f'cannot configure: {tmp_path}: expected pictures')
    assert graph.set_parameter('/g/camera_node', 'source', str(folder)).successful
    for name, value, said in WRONG:
        before = graph.get_parameter('/g/camera_node', name)
        assert graph.set_parameter('/g/camera_node', name, value).successful
        assert not graph.change_state('/g/camera_node', 'configure')
        node.wait_for_line(f'cannot configure: .*{said}')
        assert graph.set_parameter('/g/camera_node', name, before).successful
    assert graph.change_state('/g/camera_node', 'configure')
    assert graph.change_state('/g/camera_node', 'activate')
    images.wait(2)
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_images_go_out_uncalibrated_where_the_calibration_is_of_another_size(graph, folder, tmp_path):
    other = tmp_path / 'other.yaml'
    other.write_text(CALIBRATION.replace('image_width: 320', 'image_width: 640'))
    images = graph.listen(Image, '/h/camera/image_raw')
    infos = graph.listen(CameraInfo, '/h/camera/camera_info', latched_qos(10))
    node = graph.start_node('camera_node', *names('h'), source=folder, loop=True, camera_info_url=other, crop_width=9)
    node.wait_for_line('other.yaml: expected a calibration of 320 x 240 pictures as they come, got one of 640 x 240')
    images.wait(2)
    assert infos.wait(1)[-1].k[0] == 0
    graph.wait_for_status('h/camera_node: capture', DiagnosticStatus.WARN, 'the images go out uncalibrated')
    assert graph.set_parameter('/h/camera_node', 'crop_x', 400).successful
    graph.wait_for_status('h/camera_node: capture', DiagnosticStatus.ERROR, 'crop: expected a region inside')
    assert graph.set_parameter('/h/camera_node', 'crop_x', 0).successful
    graph.wait_for_status('h/camera_node: capture', DiagnosticStatus.WARN)
    assert node.stop() == 0


def test_the_example_file_holds_every_parameter_with_its_default():
    content = yaml.safe_load((Path(__file__).parents[2] / 'config' / 'camera.yaml').read_text())
    values = content['/**/camera_node']['ros__parameters']
    compressed = {f'compressed.{name}': value for name, value in values.pop('compressed').items()}
    assert values | compressed == {spec.name: spec.default for spec in PARAMETERS}
