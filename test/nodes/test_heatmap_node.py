# SPDX-License-Identifier: Apache-2.0
"""The heatmap node as a process: cubes in, heatmaps out, and clear words about whatever is wrong."""

import math
import re
import time

import numpy as np
import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from ros_graph import values_of
from sensor_msgs.msg import Image

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    cube_to_message,
    heatmap_from_messages,
    heatmap_to_messages,
    profile_to_info,
    stamp_to_ns,
)
from radio_visual_ssl.msg import HeatmapInfo, RadarCube, RadarInfo
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.cube import Axis
from radio_visual_ssl.radar.cube import RadarCube as Cube
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.profile import OfdmWaveform, RadarProfile
from radio_visual_ssl.simulation.channel import Channel

TYPES = RclpyTypes()
NODE = '/heatmap_node'
OK, WARN, ERROR = b'\x00', b'\x01', b'\x02'
AXES = (Axis.SYMBOL, Axis.VIRTUAL_CHANNEL, Axis.SUBCARRIER)
TARGET_RANGE, TARGET_AZIMUTH = 12.0, math.radians(20.0)


def small_radar(num_subcarriers=64, num_symbols=4):
    """8 antennas half a wavelength apart, 200 MHz around 28 GHz."""
    waveform = OfdmWaveform(28e9, 200e6 / num_subcarriers, 125e-6, num_symbols, num_subcarriers)
    y = (np.arange(8) - 3.5)[::-1] * 299_792_458.0 / 28e9 / 2
    receivers = np.stack([np.zeros(8), y, np.zeros(8)], axis=1)
    return RadarProfile('small', waveform, np.zeros((1, 3)), receivers)


RADAR = small_radar()


def cube_of_a_target(profile=RADAR):
    place = TARGET_RANGE * np.array([[math.cos(TARGET_AZIMUTH), math.sin(TARGET_AZIMUTH), 0.0]])
    echo = Channel(profile).response(place, np.array([10.0], np.complex64))
    noise = np.random.default_rng(0).standard_normal((*echo.shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    return echo + noise * 0.1


class Radar:
    """The probe's end of the radar topics."""

    def __init__(self, graph):
        self.heatmaps = graph.listen(Image, 'radar/heatmap')
        self.velocities = graph.listen(Image, 'radar/velocity')
        self.infos = graph.listen(HeatmapInfo, 'radar/heatmap_info', latched_qos())
        self.cube = graph.publisher(RadarCube, 'radar/cube')
        self.info = graph.publisher(RadarInfo, 'radar/info', latched_qos())
        self._second = 100

    def message(self, data=None, axes=AXES, stamp_ns=None):
        self._second += 1
        data = cube_of_a_target() if data is None else data
        stamp_ns = self._second * 10**9 + 5 if stamp_ns is None else stamp_ns
        return cube_to_message(Cube(data.astype(np.complex64), axes), stamp_ns, 'radar', TYPES)

    def send_info(self, profile=RADAR, frame='radar'):
        self.info.publish(profile_to_info(profile, 10**9, frame, TYPES))

    def send(self, message):
        """The heatmap that a cube becomes."""
        stamp = message.header.stamp
        self.cube.publish(message)
        return next(
            heatmap
            for heatmap in self.heatmaps.wait(lambda got: any(heatmap.header.stamp == stamp for heatmap in got))
            if heatmap.header.stamp == stamp
        )

    def send_bad(self, message):
        self.cube.publish(message)


@pytest.fixture(scope='module')
def node(graph):
    return graph.start_node('heatmap_node')


@pytest.fixture(scope='module')
def radar(graph, node):
    radar = Radar(graph)
    early = radar.message()
    radar.cube.publish(early)
    node.wait_for_line(r'/radar/cube: messages wait for /radar/info')
    assert graph.wait_for_status('heatmap_node: /radar/cube', WARN, '/radar/info')
    radar.send_info()
    radar.early = early
    radar.heatmaps.wait(1)
    return radar


def test_cubes_before_their_info_are_kept_and_formed_when_it_comes(radar):
    assert radar.heatmaps.messages[0].header == radar.early.header


def test_the_heatmap_shows_the_target_and_keeps_stamp_and_frame(radar):
    message = radar.message()
    image = radar.send(message)
    assert image.header == message.header
    assert image.encoding == '32FC1'
    heatmap = heatmap_from_messages(image, radar.infos.wait(1)[-1])
    row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
    range_bin = np.diff(heatmap.grid.range)[0]
    assert abs(heatmap.grid.range[row] - TARGET_RANGE) <= range_bin / 2 + 1e-6
    assert abs(heatmap.grid.azimuth[column] - TARGET_AZIMUTH) < math.radians(3)


def test_velocities_come_with_the_same_stamp(radar):
    message = radar.message()
    radar.send(message)
    velocity = radar.velocities.wait(lambda got: got and got[-1].header == message.header)[-1]
    assert velocity.encoding == '32FC1'


def test_the_preview_is_drawn_while_somebody_looks(graph, radar):
    previews = graph.listen(Image, 'radar/heatmap/preview')
    graph.wait_until(lambda: graph.node.count_publishers('radar/heatmap/preview') == 1, 'preview')

    def arrives():
        radar.send(radar.message())
        return len(previews) > 0

    graph.wait_until(arrives, 'a preview')
    picture = previews.messages[-1]
    assert picture.encoding == 'rgb8'
    pixels = np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, 3).astype(int)
    row, column = np.unravel_index(np.argmax(pixels.sum(axis=2)), pixels.shape[:2])
    # far is up, left is left: the target stands to the left, at about 12 m of the grid's 48 m
    assert column < picture.width / 2
    assert row > picture.height / 2


@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (lambda m: m.shape.__setitem__(2, 32), r'/radar/cube: .*expected .*got'),
        (lambda m: setattr(m, 'dtype', 9), r'/radar/cube: .*dtype.*expected .*got 9'),
        (lambda m: setattr(m, 'data', m.data[:-8]), r'/radar/cube: .*expected \d+ bytes.*got \d+'),
        (lambda m: setattr(m, 'axes', [1, 4, 5]), r'/radar/cube: .*expected .*got'),
        (lambda m: setattr(m.header, 'frame_id', 'roof'), r"/radar/cube: .*frame_id.*expected 'radar'.*got 'roof'"),
    ],
    ids=['shape', 'dtype', 'truncated', 'axes', 'frame'],
)
def test_a_bad_cube_is_named_with_expected_and_got_and_the_node_lives_on(graph, node, radar, spoil, said):
    message = radar.message()
    spoil(message)
    start = len(node.lines)
    radar.send_bad(message)
    node.wait_for_line(said, start=start)
    assert graph.wait_for_status('heatmap_node: /radar/cube', ERROR, '/radar/cube')
    assert radar.send(radar.message())
    assert graph.wait_for_status('heatmap_node: /radar/cube', OK)


@pytest.mark.parametrize('values', [[np.nan], [np.inf, -np.inf]], ids=['nan', 'infinity'])
def test_numbers_that_are_not_finite_are_refused(node, radar, values):
    data = cube_of_a_target()
    data[1, 2, : len(values)] = values
    start = len(node.lines)
    radar.send_bad(radar.message(data))
    node.wait_for_line(rf'/radar/cube: .*finite.*in {len(values)} of 2048', start=start)
    assert radar.send(radar.message())


def test_an_info_that_contradicts_the_cube_is_named_and_a_right_one_mends_it(node, radar):
    start = len(node.lines)
    radar.send_info(small_radar(num_subcarriers=32))
    radar.send_bad(radar.message())
    node.wait_for_line(r'/radar/cube: .*expected .*32.*got .*64', start=start)
    radar.send_info()
    assert radar.send(radar.message())


def test_an_info_that_contradicts_itself_leaves_the_known_radar_in_use(node, radar):
    info = profile_to_info(RADAR, 10**9, 'radar', TYPES)
    info.tx_order = [7]
    start = len(node.lines)
    radar.info.publish(info)
    node.wait_for_line(r'/radar/info: RadarInfo: .*tx_order', start=start)
    assert radar.send(radar.message())


def test_a_new_info_changes_the_grid(radar):
    wider = small_radar(num_subcarriers=128)
    radar.send_info(wider)
    radar.infos.clear()
    image = radar.send(radar.message(cube_of_a_target(wider)))
    info = radar.infos.wait(1)[-1]
    assert (image.height, image.width) == (len(info.range), len(info.azimuth))
    assert stamp_to_ns(info.header.stamp) == stamp_to_ns(image.header.stamp)
    radar.send_info()
    assert radar.send(radar.message()).height < image.height


def test_formation_settings_change_live(graph, radar):
    assert graph.set_parameter(NODE, 'formation.azimuth_bins', 32).successful
    assert radar.send(radar.message()).width == 32
    assert graph.set_parameter(NODE, 'formation.azimuth_bins', 64).successful
    assert radar.send(radar.message()).width == 64


def test_on_a_platform_that_moves_what_stands_disappears_and_the_platform_s_velocity_is_told(graph, radar):
    profile = small_radar(num_symbols=32)
    azimuth = np.linspace(-0.9, 0.9, 12)
    places = np.linspace(6.0, 40.0, 12)[:, None] * np.column_stack((np.cos(azimuth), np.sin(azimuth), 0 * azimuth))
    passing = np.tile([-8.0, 0.0, 0.0], (12, 1))
    cube = Channel(profile).response(places, np.full(12, 20.0, np.complex64), passing)
    cube = (
        cube + np.random.default_rng(0).standard_normal((*cube.shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    )
    radar.send_info(profile)
    before = radar.send(radar.message(cube))
    assert graph.set_parameter(NODE, 'formation.clutter_removal', 'ego_motion').successful
    after = radar.send(radar.message(cube))
    values = [np.frombuffer(bytes(image.data), np.float32).max() for image in (before, after)]
    assert values[1] < values[0] - 20
    graph.wait_until(
        lambda: 'ego_velocity_m_s' in values_of(graph.wait_for_status('heatmap_node: state', OK)), 'the velocity'
    )
    told = values_of(graph.wait_for_status('heatmap_node: state', OK))['ego_velocity_m_s']
    forward, left = (float(number) for number in re.findall(r'-?\d+\.\d+', told))
    assert (forward, left) == pytest.approx((8.0, 0.0), abs=0.5)
    assert 'clutter_removal=ego_motion' in radar.infos.wait(1)[-1].formation.split()
    assert graph.set_parameter(NODE, 'formation.clutter_removal', 'none').successful
    radar.send_info()


def test_the_radar_bears_the_name_that_it_is_given(graph, radar):
    for given, name in (('mast', 'mast'), ('', 'small')):
        assert graph.set_parameter(NODE, 'radar_name', given).successful
        radar.send(radar.message())
        radar.infos.wait(lambda infos: infos[-1].radar == name)  # noqa: B023
        graph.wait_until(lambda: graph.wait_for_status('heatmap_node: state', OK).hardware_id == name, name)  # noqa: B023


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('formation.azimuth_bins', 0, r'azimuth_bins.*expected .*got 0'),
        ('formation.range_window', 'box', r"range_window.*expected one of .*got 'box'"),
        ('formation.azimuth_bins', 'many', r"azimuth_bins.*expected an integer.*got 'many'"),
        ('formation.azimuth_bin', 32, r"formation.azimuth_bin'.*unknown.*did you mean 'formation.azimuth_bins'"),
        ('input', 'heatmap', r"'input'.*expected a change while the node is unconfigured"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_with_the_reason(graph, radar, name, value, reason):
    result = graph.set_parameter(NODE, name, value)
    assert not result.successful
    assert re.search(reason, result.reason), result.reason
    assert radar.send(radar.message())


def test_diagnostics_tell_rate_latency_and_processing_time(graph, radar):
    radar.send(radar.message())
    radar.send(radar.message())
    status = graph.wait_for_status('heatmap_node: /radar/cube', OK)
    values = values_of(status)
    assert {'received', 'errors', 'rate_hz', 'processing_p50_ms', 'processing_max_ms'} <= set(values)
    assert 'another time' in values['latency']
    assert int(values['received']) > int(values['errors']) >= 5
    assert status.hardware_id == 'small'


def test_deactivated_it_is_silent_and_activated_it_goes_on(graph, radar):
    assert graph.change_state(NODE, 'deactivate')
    radar.heatmaps.clear()
    assert graph.state(NODE) == 'inactive'
    assert graph.change_state(NODE, 'activate')
    graph.wait_until(lambda: radar.cube.get_subscription_count() == 1, 'subscription')

    def answers():
        radar.cube.publish(radar.message(stamp_ns=time.time_ns() - 3_000_000_000))
        return len(radar.heatmaps) > 0

    graph.wait_until(answers, 'a heatmap after activation')
    # latencies count from the stamp to now
    graph.wait_until(
        lambda: 'latency_p50_ms' in values_of(graph.wait_for_status('heatmap_node: /radar/cube')), 'latency'
    )
    assert 3e3 <= float(values_of(graph.wait_for_status('heatmap_node: /radar/cube'))['latency_p50_ms']) < 1e6


def test_a_profile_stands_in_for_a_missing_info_and_a_missing_calibration_file_is_named(graph, tmp_path):
    profile = tmp_path / 'bare.yaml'
    profile.write_text(
        'waveform: {type: ofdm, carrier_frequency: 28.0e+9, subcarrier_spacing: 3.125e+6, symbol_period: 125.0e-6, '
        'num_symbols: 4, num_subcarriers: 64}\nposition_unit: wavelength\ntx_positions: [[0, 0, 0]]\n'
        'rx_positions: [[0, 0.25, 0], [0, -0.25, 0]]\ncalibration: nowhere.npy\n'
    )
    node = graph.start_node('heatmap_node', '-r', '__ns:=/bare', radar=profile)
    node.wait_for_line(r'cannot configure: .*nowhere\.npy')
    assert graph.wait_for_status('bare/heatmap_node: state', ERROR, 'nowhere.npy')
    profile.write_text(profile.read_text().replace('calibration: nowhere.npy\n', ''))
    assert graph.change_state('/bare/heatmap_node', 'configure')
    assert graph.change_state('/bare/heatmap_node', 'activate')
    heatmaps = graph.listen(Image, '/bare/radar/heatmap')
    cube = graph.publisher(RadarCube, '/bare/radar/cube')
    data = np.ones((4, 2, 64), np.complex64)

    def answers():
        cube.publish(cube_to_message(Cube(data, AXES), 10**9, 'bumper', TYPES))
        return len(heatmaps) > 0

    graph.wait_until(answers, 'a heatmap')
    assert heatmaps.messages[0].header.frame_id == 'bumper'
    assert node.stop() == 0


def test_who_waits_for_velocities_can_know_before_the_first_cube_whether_they_come(graph):
    node = graph.start_node('heatmap_node', '-r', '__ns:=/doppler')

    def offered(count):
        graph.wait_until(lambda: graph.node.count_publishers('/doppler/radar/velocity') == count, f'{count} publishers')

    offered(1)
    info = graph.publisher(RadarInfo, '/doppler/radar/info', latched_qos())
    for num_symbols, count in ((1, 0), (4, 1), (1, 0)):
        info.publish(profile_to_info(small_radar(num_symbols=num_symbols), 10**9, 'radar', TYPES))
        offered(count)
    for transition in ('deactivate', 'cleanup', 'configure'):
        assert graph.change_state('/doppler/heatmap_node', transition)
    offered(1)
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_of_a_radar_that_sends_heatmaps_it_makes_the_preview(graph):
    node = graph.start_node('heatmap_node', '-r', '__ns:=/ready', input='heatmap')
    previews = graph.listen(Image, '/ready/radar/heatmap/preview')
    info_publisher = graph.publisher(HeatmapInfo, '/ready/radar/heatmap_info', latched_qos())
    image_publisher = graph.publisher(Image, '/ready/radar/heatmap')
    grid = PolarGrid(np.arange(1.0, 41.0), np.linspace(-np.pi, np.pi, 90, endpoint=False), wraps=True)
    image, info = heatmap_to_messages(Heatmap(np.zeros(grid.shape, np.float32), grid), 10**9, 'mast', TYPES)
    info_publisher.publish(info)

    def arrives():
        image_publisher.publish(image)
        return len(previews) > 0

    graph.wait_until(arrives, 'a preview')
    assert previews.messages[0].header == image.header

    # 0 dB in grey, between the darkest and the brightest level
    name = '/ready/heatmap_node'
    for parameter, value in (('view', 'polar'), ('colour_map', 'grey'), ('height', 100), ('minimum_db', -10.0)):
        assert graph.set_parameter(name, f'preview.{parameter}', value).successful
    for brightest, level in ((30.0, 63), (10.0, 127)):
        assert graph.set_parameter(name, 'preview.maximum_db', brightest).successful

        def drawn():
            image_publisher.publish(image)
            last = previews.messages[-1]
            return last.height == 100 and set(last.data.tobytes()) == {level}  # noqa: B023

        graph.wait_until(drawn, f'a preview of grey {level}')
    refused = graph.set_parameter(name, 'preview.maximum_db', -10.0)
    assert "'preview.maximum_db': expected more than preview.minimum_db -10.0, got -10.0" in refused.reason
    assert node.stop() == 0


def test_it_ends_cleanly_on_a_signal(node):
    assert node.stop() == 0
    assert 'Traceback' not in node.output
