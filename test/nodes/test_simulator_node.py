# SPDX-License-Identifier: Apache-2.0
"""The simulator as a process: sensor topics and ground truth of a scene, the same for the same seed."""

import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from radio_visual_ssl.bags.messages import camera_from_info, cube_from_message, profile_from_info, stamp_to_ns
from radio_visual_ssl.bags.transforms import StaticTransforms
from radio_visual_ssl.msg import RadarCube, RadarInfo, TargetArray
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.cube import canonical
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.simulator import Simulator

ERROR = b'\x02'

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


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('simulation')
    (folder / 'yard.yaml').write_text(SCENE)
    (folder / 'small.yaml').write_text(RADAR)
    return {'scene': folder / 'yard.yaml', 'radar': folder / 'small.yaml'}


class Sensors:
    """Everything that a simulator publishes below a namespace."""

    def __init__(self, graph, namespace):
        self.cubes = graph.listen(RadarCube, f'{namespace}/radar/cube')
        self.images = graph.listen(Image, f'{namespace}/camera/image_raw')
        self.truths = graph.listen(TargetArray, f'{namespace}/ground_truth/targets')
        self.radar_info = graph.listen(RadarInfo, f'{namespace}/radar/info', latched_qos())
        self.camera_info = graph.listen(CameraInfo, f'{namespace}/camera/camera_info', latched_qos())
        self.transforms = graph.listen(TFMessage, '/tf_static', latched_qos(10))


@pytest.fixture(scope='module')
def sensors(graph, files):
    sensors = Sensors(graph, '/one')
    sensors.process = graph.start_node('simulator_node', '-r', '__ns:=/one', rate=20.0, frame_prefix='one/', **files)
    sensors.cubes.wait(10)
    return sensors


def test_cubes_fit_the_radar_they_say_they_are_of(sensors):
    profile = profile_from_info(sensors.radar_info.wait(1)[0])
    cube = canonical(cube_from_message(sensors.cubes.messages[0]), profile)
    assert cube.shape == (4, 4, 64)
    assert np.std(cube) > 0


def test_one_frame_has_one_stamp_and_frames_come_at_the_rate(sensors):
    truths = sensors.truths.wait(8)
    stamps = {stamp_to_ns(message.header.stamp) for message in sensors.cubes.messages}
    assert {stamp_to_ns(message.header.stamp) for message in truths[2:7]} <= stamps
    assert {stamp_to_ns(message.header.stamp) for message in sensors.images.messages[2:7]} <= stamps
    steps = np.diff(sorted(stamps))
    assert np.median(steps) == 50_000_000


def test_the_ground_truth_is_where_the_camera_sees_it(sensors):
    info = sensors.camera_info.wait(1)[0]
    tree = StaticTransforms()
    tree.add(sensors.transforms.wait(1)[0])
    camera = camera_from_info(info, *tree.between(info.header.frame_id, 'one/radar'))
    seen = [t for message in sensors.truths.messages for t in message.targets if t.in_camera_view]
    assert seen
    assert camera.in_view([(t.position.x, t.position.y, t.position.z + t.size.z / 2) for t in seen]).all()
    assert sensors.images.messages[0].header.frame_id == info.header.frame_id == 'one/camera'
    assert sensors.cubes.messages[0].header.frame_id == 'one/radar'


def test_masks_hold_the_track_ids_of_the_targets(graph, sensors):
    masks = graph.listen(Image, '/one/camera/mask')
    mask = masks.wait(1)[0]
    assert (mask.encoding, mask.width, mask.height) == ('mono8', 160, 120)
    assert set(bytes(mask.data)) <= {0, 1}
    assert any(1 in bytes(message.data) for message in masks.wait(8))


def test_what_bears_one_stamp_is_of_one_moment_of_the_scene(graph, files, sensors):
    masks, markers = graph.listen(Image, '/one/camera/mask'), graph.listen(MarkerArray, '/one/ground_truth/markers')

    def by_stamp(messages):
        return {stamp_to_ns(message.header.stamp): message for message in messages}

    def of_one_stamp():
        streams = [by_stamp(stream.messages) for stream in (sensors.cubes, sensors.images, sensors.truths, masks)]
        streams.append({stamp_to_ns(array.markers[0].header.stamp): array for array in markers.messages})
        common = set.intersection(*map(set, streams))
        return [stream[min(common)] for stream in streams] if common else []

    graph.wait_until(of_one_stamp, 'cube, image, truth, mask and markers of one stamp')
    cube, image, truth, mask, array = of_one_stamp()
    profile = load_profile(str(files['radar']))
    simulator = Simulator(load_scene(str(files['scene'])), profile, 0)
    samples = canonical(cube_from_message(cube), profile)
    moment = next(k / 20 for k in range(10_000) if np.array_equal(simulator.cube(k / 20), samples))
    frame = simulator.frame(moment)
    assert image.data.tobytes() == frame.image.tobytes()
    assert mask.data.tobytes() == frame.mask.tobytes()
    (car,), (expected,) = truth.targets, frame.targets
    assert (car.position.x, car.position.y, car.track_id) == (expected.x, expected.y, expected.track_id)
    assert truth.header.frame_id == 'one/radar'
    assert {marker.header.frame_id for marker in array.markers} == {'one/radar'}
    (body,) = [marker for marker in array.markers if marker.ns == 'ground_truth/body']
    assert (body.pose.position.x, body.lifetime.nanosec) == (expected.x, 250_000_000)


def test_a_moving_vehicle_tells_where_it_is(graph, files, tmp_path):
    moving = tmp_path / 'moving.yaml'
    moving.write_text(SCENE + 'ego: {path: [[0, 0], [400, 0]], speed: 5.0}\n')
    transforms = graph.listen(TFMessage, '/tf')
    node = graph.start_node(
        'simulator_node', '-r', '__ns:=/drive', rate=20.0, start_time=2.0, **{**files, 'scene': moving}
    )
    first, *_, last = transforms.wait(5)
    assert (first.transforms[0].header.frame_id, first.transforms[0].child_frame_id) == ('odom', 'radar')
    began = Simulator(load_scene(str(moving)), load_profile(str(files['radar'])), 0).radar_in_scene(2.0)[1][0]
    assert last.transforms[0].transform.translation.x > first.transforms[0].transform.translation.x >= began
    assert node.stop() == 0


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(graph, files, sensors):
    other, same = Sensors(graph, '/other'), Sensors(graph, '/same')
    started = [
        graph.start_node('simulator_node', '-r', '__ns:=/other', rate=20.0, seed=1, **files),
        graph.start_node('simulator_node', '-r', '__ns:=/same', rate=20.0, **files),
    ]

    def positions(messages):
        return [[(target.position.x, target.position.y) for target in message.targets] for message in messages]

    # this probe may have missed the first frames of either: later ones of the second are a part of those of the first
    again = positions(same.truths.wait(16)[10:])
    first = positions(sensors.truths.wait(lambda messages: again[-1] in positions(messages)))
    assert again == first[first.index(again[0]) :][: len(again)]
    repeated = {bytes(message.data) for message in same.cubes.wait(16)[10:]}
    sensors.cubes.wait(lambda messages: repeated <= {bytes(message.data) for message in messages})
    data = {bytes(message.data) for message in sensors.cubes.messages}
    assert data.isdisjoint(bytes(message.data) for message in other.cubes.wait(3))
    assert [process.stop() for process in started] == [0, 0]


def test_a_wrong_parameter_is_named_and_the_node_lives_on(graph, files):
    node = graph.start_node('simulator_node', '-r', '__ns:=/wrong', rate=0.0, **{**files, 'scene': 'moon'})
    node.wait_for_line(r"cannot configure: parameter 'rate': expected a number from 0.1 to 1000, got 0.0")
    assert graph.wait_for_status('wrong/simulator_node: state', ERROR, "'rate'")
    name = '/wrong/simulator_node'
    assert graph.set_parameter(name, 'rate', 5.0).successful
    assert not graph.change_state(name, 'configure')
    node.wait_for_line('cannot configure: .*moon')
    assert graph.set_parameter(name, 'scene', str(files['scene'])).successful
    assert graph.set_parameter(name, 'radar', 'sonar').successful
    assert not graph.change_state(name, 'configure')
    node.wait_for_line('cannot configure: .*sonar')
    assert graph.set_parameter(name, 'radar', str(files['radar'])).successful
    assert graph.set_parameter(name, 'frame_prefix', '/one').successful
    assert not graph.change_state(name, 'configure')
    node.wait_for_line(r"cannot configure: parameter 'frame_prefix': expected no leading slash.*got '/one'")
    assert graph.set_parameter(name, 'frame_prefix', '').successful
    assert graph.change_state(name, 'configure')
    assert graph.change_state(name, 'activate')
    graph.listen(RadarCube, '/wrong/radar/cube').wait(1)
    assert node.stop() == 0


def test_it_ends_cleanly_on_a_signal(sensors):
    assert sensors.process.stop() == 0
    assert 'Traceback' not in sensors.process.output
