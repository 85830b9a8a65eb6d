# SPDX-License-Identifier: Apache-2.0
"""The launch file through ``ros2 launch``: simulator, bags and live topics in, targets out, and a clean end."""

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from sensor_msgs.msg import Image
from vision_msgs.msg import Detection3DArray

from radio_visual_ssl.bags.messages import (
    cube_to_message,
    heatmap_to_messages,
    profile_to_info,
    stamp_to_ns,
    targets_to_message,
)
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.datasets.radiate import import_radiate
from radio_visual_ssl.evaluation.backends import load_localizer
from radio_visual_ssl.msg import TargetArray
from radio_visual_ssl.radar.cube import Axis, RadarCube
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.profile import OfdmWaveform, RadarProfile
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_model import write_tiny_model

START_NS = 1_700_000_000_000_000_000

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
def launch(graph, tmp_path):
    """Starts the launch file; whatever it leaves behind is ended."""
    if shutil.which('ros2') is None:
        pytest.skip('ros2 is not on the path: source env.sh')
    started = []

    def start(**arguments):
        given = [f'{name}:={value}' for name, value in arguments.items()]
        environment = {'ROS_LOG_DIR': str(tmp_path / 'log')}
        started.append(
            graph.start('ros2', 'launch', 'radio_visual_ssl', 'localize.launch.py', *given, environment=environment)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    """Arguments for a small and quick simulation."""
    folder = tmp_path_factory.mktemp('simulation')
    (folder / 'yard.yaml').write_text(SCENE)
    (folder / 'small.yaml').write_text(RADAR)
    return {'source': 'simulator', 'scene': folder / 'yard.yaml', 'radar': folder / 'small.yaml', 'rate': 10}


def stamps(messages):
    return [stamp_to_ns(message.header.stamp) for message in messages]


def assert_all_ended(process):
    assert process.children() == []
    assert 'Traceback' not in process.output
    assert 'SIGTERM' not in process.output, 'a node had to be asked twice'


def test_a_simulation_is_localized_live_and_ctrl_c_ends_everything(graph, launch, simulated):
    targets = graph.listen(TargetArray, 'localizer/targets')
    truth = graph.listen(TargetArray, 'ground_truth/targets')
    preview = graph.listen(Image, 'radar/heatmap/preview')
    process = launch(**simulated)
    targets.wait(lambda messages: any(message.targets for message in messages), 60)
    preview.wait(1)
    # the probe may have missed the truth of the first frames
    localized = [stamp for stamp in stamps(targets.messages) if stamp >= stamps(truth.wait(1))[0]]
    truth.wait(lambda messages: set(localized) <= set(stamps(messages)))
    assert process.stop(signal.SIGINT) == 0
    assert_all_ended(process)


def test_ctrl_c_in_a_terminal_reaches_every_process_and_ends_as_well(graph, launch, simulated):
    targets = graph.listen(TargetArray, '/left/localizer/targets')
    process = launch(**simulated, namespace='left', rviz='true')
    targets.wait(1, 60)
    if shutil.which('rviz2') is None:
        assert 'ros2 run radio_visual_ssl watch_node --ros-args -r __ns:=/left' in process.output
    os.killpg(process.process.pid, signal.SIGINT)
    assert process.wait() == 0
    assert_all_ended(process)


def test_a_bag_of_heatmaps_gives_detections_for_every_scan_with_stamps_unchanged(graph, launch, shared_data, tmp_path):
    bag = tmp_path / 'radiate'
    import_radiate(shared_data / 'radiate_tiny_foggy', bag, camera_offset=0.45)
    recorded = BagReader(bag).stamps('/radar/heatmap').tolist()
    assert len(recorded) == 18
    detections = graph.listen(Detection3DArray, 'localizer/detections')
    process = launch(source='bag', bag=bag, rate=2)
    assert process.wait(90) == 0, process.output
    # what has been sent may still be on its way to the probe
    assert stamps(detections.wait(len(recorded))) == recorded
    assert {message.header.frame_id for message in detections.messages} == {'navtech'}
    assert sum(len(message.detections) for message in detections.messages) > 0
    assert_all_ended(process)


@pytest.fixture(scope='module')
def bag_of_heatmaps(tmp_path_factory):
    """12 simulated heatmaps with velocities."""
    folder = tmp_path_factory.mktemp('heatmaps')
    plan = DatasetPlan('parking_lot', 'ofdm_28ghz_100mhz_8rx', 12, instances=1, image_size=(64, 48), rate=5.0)
    generate(plan, folder / 'set')
    (metadata,) = (folder / 'set').glob('*/metadata.yaml')
    return metadata.parent


def test_a_network_finds_live_what_it_finds_offline(graph, launch, bag_of_heatmaps, tmp_path):
    frames = list(BagReader(bag_of_heatmaps).frames(image_topic=None))
    model = write_tiny_model(tmp_path / 'tiny.safetensors', frames[0].heatmap, ('power', 'change', 'moving'))
    offline = load_localizer('network', model=str(model))
    expected = {frame.stamp_ns: offline.localize(frame.heatmap) for frame in frames}
    assert all(expected.values())
    targets = graph.listen(TargetArray, 'localizer/targets')
    process = launch(source='bag', bag=bag_of_heatmaps, model=model)
    assert process.wait(90) == 0, process.output
    assert stamps(targets.wait(len(expected))) == list(expected)
    for message, own in zip(targets.messages, expected.values(), strict=True):
        got = [(entry.position.x, entry.position.y, entry.score, entry.radial_velocity) for entry in message.targets]
        wanted = [(target.x, target.y, target.score, target.radial_velocity) for target in own]
        assert np.array(got) == pytest.approx(np.array(wanted), abs=1e-4)
    assert_all_ended(process)


@pytest.fixture(scope='module')
def bag_of_cubes(tmp_path_factory):
    """40 cubes at 20 Hz of noise and a target that walks away."""
    waveform = OfdmWaveform(28e9, 3.125e6, 125e-6, 4, 64)
    receivers = np.array([[0.0, 0.0054 * (1.5 - index), 0.0] for index in range(4)])
    profile = RadarProfile('small', waveform, np.zeros((1, 3)), receivers)
    axes = (Axis.SYMBOL, Axis.VIRTUAL_CHANNEL, Axis.SUBCARRIER)
    path = tmp_path_factory.mktemp('bags') / 'cubes'
    types, rng = RosbagsTypes(), np.random.default_rng(0)
    with BagWriter(path) as bag:
        bag.write('/radar/info', START_NS, profile_to_info(profile, START_NS, 'radar', types))
        for index in range(40):
            data = rng.standard_normal((4, 4, 64, 2)).astype(np.float32).view(np.complex64)[..., 0]
            delay = 2 * (10 + 0.4 * index) / 299_792_458.0
            data += 3 * np.exp(-2j * np.pi * (np.arange(64) - 31.5) * 3.125e6 * delay).astype(np.complex64)
            stamp_ns = START_NS + index * 50_000_000
            bag.write('/radar/cube', stamp_ns, cube_to_message(RadarCube(data, axes), stamp_ns, 'radar', types))
    return path


def test_a_bag_of_cubes_goes_through_the_heatmap_node_and_loses_none(graph, launch, bag_of_cubes):
    targets = graph.listen(TargetArray, 'localizer/targets')
    process = launch(source='bag', bag=bag_of_cubes)
    assert process.wait(90) == 0, process.output
    assert stamps(targets.wait(40)) == [START_NS + index * 50_000_000 for index in range(40)]
    # after the background's warm-up the target stands out, where it is
    found = [message.targets[0].range for message in targets.messages[20:] if message.targets]
    assert len(found) > 10
    assert np.all(np.abs(np.array(found) - 22) < 8)
    assert_all_ended(process)


@pytest.fixture(scope='module')
def bag_of_everything(tmp_path_factory, bag_of_cubes):
    """The cubes, with what was made of them when they were recorded: heatmaps of 16 x 8 bins, and targets."""
    path = tmp_path_factory.mktemp('bags') / 'everything'
    types, cubes = RosbagsTypes(), BagReader(bag_of_cubes)
    grid = PolarGrid(np.arange(1.0, 17.0), np.linspace(-0.8, 0.8, 8))
    with BagWriter(path) as bag:
        for topic, message in ((each.topic, cubes.decode(each)) for each in cubes.raw_messages()):
            stamp_ns = stamp_to_ns(message.header.stamp)
            bag.write(topic, stamp_ns, message)
            image, info = heatmap_to_messages(Heatmap(np.zeros(grid.shape, np.float32), grid), stamp_ns, 'radar', types)
            bag.write('/radar/heatmap_info', stamp_ns, info)
            if topic == '/radar/cube':
                bag.write('/radar/heatmap', stamp_ns, image)
                bag.write('/localizer/targets', stamp_ns, targets_to_message([], stamp_ns, 'recorded', types))
    return path


@pytest.mark.parametrize('radar_input', ['cube', 'heatmap'])
def test_what_the_launch_makes_itself_is_not_played(graph, launch, bag_of_everything, radar_input):
    targets = graph.listen(TargetArray, 'localizer/targets')
    heatmaps = graph.listen(Image, 'radar/heatmap')
    process = launch(source='bag', bag=bag_of_everything, input=radar_input)
    assert process.wait(90) == 0, process.output
    sent = [START_NS + index * 50_000_000 for index in range(40)]
    assert stamps(targets.wait(40)) == stamps(heatmaps.wait(40)) == sent
    assert {message.header.frame_id for message in targets.messages} == {'radar'}
    assert {message.width for message in heatmaps.messages} == ({64} if radar_input == 'cube' else {8})
    assert_all_ended(process)


def test_without_autostart_the_player_waits_for_its_transitions_as_well(graph, launch, bag_of_heatmaps):
    targets = graph.listen(TargetArray, 'localizer/targets')
    process = launch(source='bag', bag=bag_of_heatmaps, rate=4, autostart='false')
    nodes = ('/heatmap_node', '/localizer_node', '/player_node')
    for node in nodes:
        graph.wait_for_state(node, 'unconfigured', 60)
    for node in nodes:
        assert graph.change_state(node, 'configure')
        assert graph.change_state(node, 'activate')
    targets.wait(12)
    assert process.wait(60) == 0, process.output
    assert_all_ended(process)


def test_a_looping_bag_goes_on_until_ctrl_c(graph, launch, bag_of_cubes):
    targets = graph.listen(TargetArray, 'localizer/targets')
    process = launch(source='bag', bag=bag_of_cubes, loop='true', rate=4, use_sim_time='false')
    targets.wait(60, 60)
    process.wait_for_line('starting afresh')
    assert process.stop() == 0
    assert_all_ended(process)


def test_live_topics_and_a_parameter_file_of_the_user(graph, launch, tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('/**/localizer_node:\n  ros__parameters:\n    cfar:\n      max_targets: 3\n')
    process = launch(source='topics', namespace='bumper', params_file=file, input='heatmap', log_level='warn')
    graph.wait_for_state('/bumper/localizer_node', 'active', 60)
    assert graph.get_parameter('/bumper/localizer_node', 'cfar.max_targets') == 3
    assert graph.get_parameter('/bumper/heatmap_node', 'input') == 'heatmap'
    assert graph.get_parameter('/bumper/localizer_node', 'use_sim_time') is False
    assert process.stop() == 0
    assert_all_ended(process)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'source': 'bag'}, 'bag: expected the path of a rosbag2 folder'),
        ({'source': 'bag', 'bag': '/nowhere/at/all'}, '/nowhere/at/all'),
        ({'source': 'simulator', 'rate': 'fast'}, "rate: expected a number, got 'fast'"),
        (
            {'source': 'topics', 'params_file': '/no/file.yaml'},
            "params_file: expected a parameter file, got '/no/file.yaml'",
        ),
        (
            {'source': 'topics', 'model': '/no/model'},
            "model: expected the path of a checkpoint (.safetensors), got '/no",
        ),
        ({'source': 'topics', 'model': 'x', 'backend': 'cfar'}, 'model: expected backend:=network with it'),
    ],
    ids=['no bag', 'missing bag', 'rate', 'params_file', 'model', 'model of cfar'],
)
def test_a_wrong_argument_is_named_before_anything_starts(describe, arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        describe('localize.launch.py', **arguments)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [({'source': 'radio'}, 'radio'), ({'source': 'topics', 'backend': 'magic'}, 'magic')],
    ids=['source', 'backend'],
)
def test_after_a_wrong_argument_nothing_is_left_running(launch, arguments, said):
    process = launch(**arguments)
    assert process.wait(60) != 0
    assert said in process.output
    assert_all_ended(process)


def test_an_input_that_the_bag_does_not_hold_is_named_before_anything_starts(describe, bag_of_cubes):
    with pytest.raises(
        ValueError, match='input: expected what bag .*cubes holds, got input:=heatmap without /radar/heatmap'
    ):
        describe('localize.launch.py', source='bag', bag=bag_of_cubes, input='heatmap')


def test_a_bag_without_radar_is_refused_with_what_it_holds(describe, tmp_path):
    types = RosbagsTypes()
    with BagWriter(tmp_path / 'strange') as bag:
        bag.write('/chatter', START_NS, types('std_msgs/msg/String')(data='hello'))
    with pytest.raises(ValueError, match='expected the topic /radar/heatmap or /radar/cube, got /chatter'):
        describe('localize.launch.py', source='bag', bag=tmp_path / 'strange')
