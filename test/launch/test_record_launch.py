# SPDX-License-Identifier: Apache-2.0
"""record.launch.py through ``ros2 launch`` and the command line: a bag that is judged like any other, a clean end."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from sensor_msgs.msg import Image

from radio_visual_ssl.bags.messages import RclpyTypes, heatmap_to_messages
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.evaluation.backends import load_localizer
from radio_visual_ssl.evaluation.evaluate import evaluate_bag
from radio_visual_ssl.msg import RecorderStatus
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

SCENE = """
movers:
  - {kind: car, path: [[10, -5], [20, 0], [10, 5]], speed: 5.0}
ground: {x: [5, 15], y: [-5, 5]}
camera: {width: 160, height: 120, focal_length: 130}
"""

RADAR = """
waveform: {type: ofdm, carrier_frequency: 28.0e+9, subcarrier_spacing: 3.125e+6, symbol_period: 125.0e-6,
           num_symbols: 4, num_subcarriers: 64}
position_unit: wavelength
tx_positions: [[0, 0, 0]]
rx_positions: [[0, 0.75, 0], [0, 0.25, 0], [0, -0.25, 0], [0, -0.75, 0]]
"""


@pytest.fixture
def run(graph, tmp_path):
    """Starts any command with a log folder of its own; whatever it leaves behind is ended."""
    if shutil.which('ros2') is None:
        pytest.skip('ros2 is not on the path: source env.sh')
    started = []

    def start(*command):
        started.append(graph.start(*command, environment={'ROS_LOG_DIR': str(tmp_path / 'log')}, cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def launch(run):
    """Starts the launch file."""

    def start(**arguments):
        given = [f'{name}:={value}' for name, value in arguments.items()]
        return run('ros2', 'launch', 'radio_visual_ssl', 'record.launch.py', *given)

    return start


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    """Arguments for a small and quick simulation."""
    folder = tmp_path_factory.mktemp('simulation')
    (folder / 'yard.yaml').write_text(SCENE)
    (folder / 'small.yaml').write_text(RADAR)
    return {'simulate': 'true', 'scene': folder / 'yard.yaml', 'radar': folder / 'small.yaml', 'rate': 10}


def assert_all_ended(process):
    assert process.children() == []
    assert 'Traceback' not in process.output
    assert 'SIGTERM' not in process.output, 'a node had to be asked twice'


def test_a_simulation_is_recorded_for_its_duration_and_judged_like_any_other_bag(launch, simulated, tmp_path):
    process = launch(**simulated, duration=2.5, output='bag')
    assert process.wait(90) == 0, process.output
    assert_all_ended(process)
    bag = BagReader(tmp_path / 'bag')
    pairs = bag.streams['/pairs'].count
    assert pairs > 10
    assert bag.streams['/radar/heatmap'].count - pairs <= 2
    frames = list(bag.frames())
    assert len(frames) > 10
    assert sum(frame.image is not None and bool(frame.truth) for frame in frames) > 10
    evaluation = evaluate_bag(tmp_path / 'bag', {'cfar': load_localizer('cfar', 'auto', bag.radar_name())})
    assert evaluation.metrics['cfar'].frames == sum(frame.truth is not None for frame in frames)
    assert evaluation.metrics['cfar'].targets > 0


def test_ctrl_c_in_a_terminal_ends_the_bag_and_every_process(graph, launch, simulated, tmp_path):
    status = graph.listen(RecorderStatus, '/left/pair_recorder_node/status', latched_qos())
    process = launch(**simulated, namespace='left', rviz='true', output=tmp_path / 'bag')
    preview = graph.listen(Image, '/left/pairs/preview')
    status.wait(lambda messages: messages and messages[-1].pairs > 5, 60)
    preview.wait(1)
    if shutil.which('rviz2') is None:
        assert 'rqt_image_view /left/pairs/preview' in process.output
    os.killpg(process.process.pid, signal.SIGINT)
    assert process.wait() == 0
    assert_all_ended(process)
    bag = BagReader(tmp_path / 'bag')
    assert bag.streams['/left/pairs'].count >= status.messages[-1].pairs
    assert {'/left/camera/image_raw', '/left/radar/heatmap_info', '/tf_static'} <= set(bag.streams)


def test_a_camera_through_opencv_is_recorded_with_a_radar_that_is_there(graph, launch, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / 'street.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 20, (64, 48))
    for level in range(60):
        video.write(np.full((48, 64, 3), 4 * level, np.uint8))
    video.release()
    grid = PolarGrid(np.arange(1.0, 17.0), np.linspace(-0.8, 0.8, 8))
    heatmap = Heatmap(np.zeros(grid.shape, np.float32), grid)
    radar = graph.node.create_publisher(Image, '/mast/radar', 10)
    file = tmp_path / 'mine.yaml'
    file.write_text('/**/pair_recorder_node:\n  ros__parameters:\n    slop_s: 0.2\n    min_free_bytes: 1000000\n')
    status = graph.listen(RecorderStatus, '/mast/pair_recorder_node/status', latched_qos())
    process = launch(
        namespace='mast', camera=tmp_path / 'street.avi', radar_topic='radar', output=tmp_path / 'bag', params_file=file
    )
    deadline = time.monotonic() + 60
    while not (status.messages and status.messages[-1].pairs > 3):
        assert time.monotonic() < deadline, process.output
        radar.publish(heatmap_to_messages(heatmap, time.time_ns(), 'radar', RclpyTypes())[0])
        time.sleep(0.05)
    assert graph.get_parameter('/mast/pair_recorder_node', 'slop_s') == 0.2
    assert process.stop() == 0
    assert_all_ended(process)
    assert BagReader(tmp_path / 'bag').streams['/mast/camera/image_raw'].count > 3


def test_the_command_line_starts_the_launch_file(run, simulated, tmp_path):
    options = ['--simulate', '--duration', '1.5', '--output', 'bag', '--radar-topic', 'radar/cube']
    more = [f'{name}:={simulated[name]}' for name in ('scene', 'radar')]
    process = run('radio-visual-ssl', 'record', *options, *more, 'pairs_only:=true')
    assert process.wait(90) == 0, process.output
    bag = BagReader(tmp_path / 'bag')
    assert bag.streams['/radar/cube'].count == bag.streams['/camera/image_raw'].count == bag.streams['/pairs'].count > 5
    assert 'heatmap_node' not in process.output, 'nobody looks at heatmaps'


def test_without_ros_the_command_line_says_what_is_missing(tmp_path):
    program = 'from radio_visual_ssl.cli import main; main()'
    environment = {**os.environ, 'PATH': str(tmp_path)}
    result = subprocess.run(
        [sys.executable, '-c', program, 'record'], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "expected ROS 2, found no 'ros2' on the path" in result.stderr.replace('\n', ' ')


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'output': '.'}, 'output: expected the name of a new bag'),
        ({'duration': 'long'}, "duration: expected a number, got 'long'"),
        ({'duration': '-1'}, 'duration: expected more than 0 s, got -1 s'),
        ({'simulate': 'true', 'camera': '0'}, 'camera: expected none with simulate:=true'),
        ({'params_file': '/no/file.yaml'}, "params_file: expected a parameter file, got '/no/file.yaml'"),
        ({'compress': 'a bit'}, "compress: expected true or false, got 'a bit'"),
    ],
    ids=['existing output', 'duration', 'negative duration', 'two cameras', 'params_file', 'compress'],
)
def test_a_wrong_argument_is_named_before_anything_starts(describe, arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        describe('record.launch.py', **arguments)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'duration': 'long'}, "duration: expected a number, got 'long'"),
        ({'sync': 'magic'}, "parameter 'sync': expected one of 'nearest', 'approximate', got 'magic'"),
    ],
    ids=['refused by the launch file', 'refused by a node'],
)
def test_after_a_wrong_argument_nothing_is_left_running(launch, arguments, said):
    process = launch(**arguments)
    assert process.wait(60) != 0
    assert said in process.output
    assert_all_ended(process)
