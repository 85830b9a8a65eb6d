# SPDX-License-Identifier: Apache-2.0
"""The camera node on a Video4Linux device: driver stamps, live exposure and gain, unplugging, a busy camera.

The kernel's side is test/v4l2_camera.c, preloaded into the node's process: OpenCV and the node run as they are.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from ament_index_python.packages import get_package_prefix
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from radio_visual_ssl.bags.messages import stamp_to_ns

SOURCE = Path(__file__).resolve().parents[1] / 'v4l2_camera.c'


@pytest.fixture(scope='module')
def driver(tmp_path_factory):
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None or not Path('/usr/include/linux/videodev2.h').is_file():
        pytest.skip('needs a C compiler and the kernel headers')
    library = tmp_path_factory.mktemp('driver') / 'v4l2_camera.so'
    subprocess.run([compiler, '-shared', '-fPIC', '-O1', '-o', library, SOURCE, '-ldl'], check=True)
    return library


@pytest.fixture
def device():
    handle, name = tempfile.mkstemp(prefix='rvs_test_video', dir='/dev/shm')
    os.close(handle)
    path = Path(name)
    yield path
    path.unlink(missing_ok=True)
    Path(f'{path}.busy').unlink(missing_ok=True)


@pytest.fixture
def start(graph, driver, device):
    """Starts a camera node on the device, in a namespace."""

    def start(namespace, settings=None, **parameters):
        program = Path(get_package_prefix('radio_visual_ssl')) / 'lib' / 'radio_visual_ssl' / 'camera_node'
        given = [text for name, value in parameters.items() for text in ('-p', f'{name}:={value}')]
        environment = {'LD_PRELOAD': str(driver), 'V4L2_CAMERA': str(device), **(settings or {})}
        ros = ['--ros-args', '-r', f'__ns:=/{namespace}', '-p', f'source:={device}', *given]
        return graph.start(program, *ros, environment=environment)

    return start


def brightness(message):
    """Brightness (Y) that the driver gave an image."""
    return float(np.frombuffer(message.data, np.uint8).mean()) * 219 / 255 + 16


def values_of(status):
    return {entry.key: entry.value for entry in status.values}


def test_stamps_are_the_drivers_and_exposure_and_gain_change_live(graph, start, device):
    received = []
    images = graph.listen(Image, '/a/camera/image_raw')
    graph.node.create_subscription(Image, '/a/camera/image_raw', lambda _: received.append(time.time_ns()), 10)
    node = start('a', width=320, height=240, rate=20.0, latency=5.0)
    node.wait_for_line('Test Camera, 320 x 240 at 20 Hz')
    images.wait(20)
    delays = [got - stamp_to_ns(image.header.stamp) for got, image in zip(received, images.messages, strict=False)]
    # delivered 40 ms after its time stamp; the latency of 5 s is not for driver stamps
    assert 39e6 < min(delays) < 500e6
    assert (images.messages[-1].width, images.messages[-1].height) == (320, 240)
    status = graph.wait_for_status('a/camera_node: state', DiagnosticStatus.OK)
    assert values_of(status)['stamps'] == 'driver'
    assert status.hardware_id == 'Test Camera'
    assert brightness(images.messages[-1]) == pytest.approx(50, abs=3), 'automatic exposure, gain as it was'

    assert graph.set_parameter('/a/camera_node', 'gain', 60).successful
    images.wait(lambda found: abs(brightness(found[-1]) - 100) < 3)
    assert graph.set_parameter('/a/camera_node', 'exposure', 0.1).successful
    images.wait(lambda found: abs(brightness(found[-1]) - 150) < 3)
    result = graph.set_parameter('/a/camera_node', 'gain', 101)
    assert not result.successful
    assert f"parameter 'gain': expected 0 to 100 for {device} (Test Camera), got 101" in result.reason
    result = graph.set_parameter('/a/camera_node', 'exposure', 1.0)
    assert "parameter 'exposure': expected 0.0003 to 0.2047 for" in result.reason
    assert graph.get_parameter('/a/camera_node', 'gain') == 60

    assert graph.set_parameter('/a/camera_node', 'rate', 10.0).successful
    images.clear()
    intervals = np.diff([stamp_to_ns(image.header.stamp) for image in images.wait(12)])
    assert np.median(intervals) == pytest.approx(100e6, rel=0.2), 'the camera itself is slower now'

    # unplugged, and plugged in again: it comes back with its settings
    device.unlink()
    status = graph.wait_for_status('a/camera_node: capture', DiagnosticStatus.ERROR, str(device))
    node.wait_for_line(r'the camera is gone \(unplugged\?\)')
    images.clear()
    device.touch()
    images.wait(lambda found: found and abs(brightness(found[-1]) - 150) < 3)
    status = graph.wait_for_status('a/camera_node: state', DiagnosticStatus.OK)
    assert values_of(status)['reconnects'] == '1'

    assert graph.set_parameter('/a/camera_node', 'exposure', 0.0).successful
    images.wait(lambda found: abs(brightness(found[-1]) - 100) < 3)
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_a_busy_camera_is_waited_for_and_its_holder_named(graph, start, device):
    busy = Path(f'{device}.busy')
    busy.touch()
    program = f'import time; held = open({str(device)!r}); print("open", flush=True); time.sleep(60)'
    images = graph.listen(Image, '/b/camera/image_raw')
    with subprocess.Popen([sys.executable, '-S', '-c', program], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        node = start('b')
        node.wait_for_line(rf'Test Camera\): busy, in use by .* \(pid {other.pid}\); trying again in 0.5 s')
        other.kill()
    busy.unlink()
    images.wait(3)
    assert node.stop() == 0


def test_a_plain_camera_refuses_controls_and_is_stamped_at_reception(graph, start):
    images = graph.listen(Image, '/c/camera/image_raw')
    node = start('c', {'V4L2_CAMERA_PLAIN': '1', 'V4L2_CAMERA_AGE': '-1'}, latency=0.2, gain=5)
    node.wait_for_line('gain: .*the camera has no control for gain')
    images.wait(5)
    graph.wait_for_status('c/camera_node: capture', DiagnosticStatus.WARN, 'no control for gain')
    assert values_of(graph.wait_for_status('c/camera_node: state', DiagnosticStatus.OK))['stamps'] == 'reception'
    result = graph.set_parameter('/c/camera_node', 'exposure', 0.01)
    assert "parameter 'exposure': " in result.reason
    assert 'the camera has no control for exposure time' in result.reason
    assert node.stop() == 0
