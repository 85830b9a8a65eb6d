# SPDX-License-Identifier: Apache-2.0
"""The localizer node as a process: one message on each output for each heatmap, and clear words about what is wrong."""

import os
import re
import time

import numpy as np
import pytest
import torch

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from ros_graph import values_of
from sensor_msgs.msg import Image, PointCloud2
from tiny_model import ARCHITECTURE, write_tiny_model
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    heatmap_to_info,
    heatmap_to_messages,
    stamp_to_ns,
    velocity_to_image,
)
from radio_visual_ssl.evaluation.backends import load_localizer, shipped_settings
from radio_visual_ssl.models.localizer import LocalizerNetwork
from radio_visual_ssl.msg import HeatmapInfo, TargetArray
from radio_visual_ssl.nodes.diagnostics import WAITING
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.radar.cfar_localizer import load_cfar_settings
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

TYPES = RclpyTypes()
NODE = '/localizer_node'
OK, WARN, ERROR = b'\x00', b'\x01', b'\x02'
GRID = PolarGrid(np.arange(1.0, 65.0), np.linspace(-1.0, 1.0, 48))
ROW, COLUMN = 30, 36
STATIC = {'cfar__background': 'none'}


def heatmap(peak=40.0, velocity=None, seed=0, grid=GRID, radar='test'):
    """Noise at 0 dB and a point target of ``peak`` dB at (ROW, COLUMN)."""
    rng = np.random.default_rng(seed)
    power = rng.exponential(size=grid.shape)
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]]
    power += 10 ** (peak / 10) * np.exp(-((rows - ROW) ** 2 + (columns - COLUMN) ** 2))
    values = (10 * np.log10(power + 1e-3)).astype(np.float32)
    return Heatmap(values, grid, velocity=velocity, radar=radar)


def moving(speed):
    """A heatmap of which each cell has this velocity (m/s)."""
    return heatmap(velocity=np.full(GRID.shape, speed, np.float32))


def velocity_of(message, shown):
    """The velocities that belong to a message."""
    return velocity_to_image(shown, stamp_to_ns(message.header.stamp), 'radar', TYPES)


class Localizer:
    """The probe's end of a localizer's topics."""

    def __init__(self, graph, namespace=''):
        self.detections = graph.listen(Detection3DArray, f'{namespace}/localizer/detections')
        self.targets = graph.listen(TargetArray, f'{namespace}/localizer/targets')
        self.points = graph.listen(PointCloud2, f'{namespace}/localizer/points')
        self.markers = graph.listen(MarkerArray, f'{namespace}/localizer/markers')
        self.info = graph.publisher(HeatmapInfo, f'{namespace}/radar/heatmap_info', latched_qos(), settle=0)
        self.image = graph.publisher(Image, f'{namespace}/radar/heatmap')
        self._second = 100

    def message(self, shown=None, frame='radar'):
        self._second += 1
        return heatmap_to_messages(shown or heatmap(), self._second * 10**9 + 7, frame, TYPES)[0]

    def send_info(self, shown=None, frame='radar'):
        self.info.publish(heatmap_to_info(shown or heatmap(), 10**9, frame, TYPES))

    def answer(self, collected, message):
        stamp = message.header.stamp
        got = collected.wait(lambda messages: any(entry.header.stamp == stamp for entry in messages))
        return next(entry for entry in got if entry.header.stamp == stamp)

    def send(self, message):
        """The targets that a heatmap gives."""
        self.image.publish(message)
        return self.answer(self.targets, message)


@pytest.fixture(scope='module')
def node(graph):
    return graph.start_node('localizer_node', **STATIC)


@pytest.fixture(scope='module')
def localizer(graph, node):
    localizer = Localizer(graph)
    localizer.early = localizer.message()
    localizer.image.publish(localizer.early)
    node.wait_for_line('/radar/heatmap: messages wait for /radar/heatmap_info')
    localizer.send_info()
    localizer.targets.wait(1)
    return localizer


def test_heatmaps_before_their_info_are_kept_and_localized_when_it_comes(localizer):
    assert localizer.targets.messages[0].header == localizer.early.header


def test_a_target_comes_out_on_every_output_with_the_heatmaps_stamp_and_frame(localizer):
    message = localizer.message()
    answer = localizer.send(message)
    assert answer.header == message.header
    target = answer.targets[0]
    x = GRID.range[ROW] * np.cos(GRID.azimuth[COLUMN])
    y = GRID.range[ROW] * np.sin(GRID.azimuth[COLUMN])
    assert (target.position.x, target.position.y) == pytest.approx((x, y), abs=0.3)
    assert target.covariance[0] > 0
    assert 0 < target.score <= 1

    detections = localizer.answer(localizer.detections, message)
    assert detections.header == message.header
    position = detections.detections[0].results[0].pose.pose.position
    assert (position.x, position.y) == (target.position.x, target.position.y)
    size = detections.detections[0].bbox.size
    assert (size.x, size.y, size.z) == (1.0, 1.0, 1.0)

    points = localizer.answer(localizer.points, message)
    assert points.header == message.header
    names = [field.name for field in points.fields]
    cloud = np.frombuffer(points.data, np.float32).reshape(-1, len(names))
    assert cloud[0, names.index('x')] == pytest.approx(x, abs=0.3)
    assert cloud[0, names.index('range')] == pytest.approx(GRID.range[ROW], abs=0.3)


def test_markers_replace_those_of_the_frame_before(graph, localizer):
    graph.wait_until(lambda: graph.node.count_publishers('localizer/markers') == 1, 'markers')
    assert graph.set_parameter(NODE, 'marker_lifetime', 2.5).successful
    message = localizer.message()
    localizer.send(message)

    def of_message(arrays):
        return [array for array in arrays if array.markers[0].header.stamp == message.header.stamp]

    markers = of_message(localizer.markers.wait(of_message))[0].markers
    assert markers[0].action == Marker.DELETEALL
    assert {'localizer/body', 'localizer/ellipse', 'localizer/text'} <= {marker.ns for marker in markers[1:]}
    assert all(marker.header == message.header for marker in markers)
    assert {(marker.lifetime.sec, marker.lifetime.nanosec) for marker in markers[1:]} == {(2, 500_000_000)}


def test_an_empty_heatmap_gives_an_empty_message(localizer):
    message = localizer.message(heatmap(peak=-100.0))
    assert not localizer.send(message).targets
    assert not localizer.answer(localizer.detections, message).detections
    assert localizer.answer(localizer.points, message).width == 0


@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (lambda m: setattr(m, 'encoding', 'mono16'), r"/radar/heatmap: .*encoding.*expected 32FC1, got 'mono16'"),
        (lambda m: setattr(m, 'height', 32), r'/radar/heatmap: .*HeatmapInfo.*expected .*32.*got .*64'),
        (lambda m: setattr(m, 'data', m.data[:-40]), r'/radar/heatmap: Image.data: expected 12288 bytes.*got 12248'),
        (lambda m: setattr(m.header, 'frame_id', 'roof'), r"/radar/heatmap: .*frame_id: expected 'roof'.*got 'radar'"),
        (
            lambda m: m.data.__setitem__(slice(0, 4), m.data[:0].__class__('B', np.float32(np.nan).tobytes())),
            r'/radar/heatmap: Image.data: expected finite numbers, got NaN or infinity in 1 of 3072',
        ),
        (
            lambda m: m.data.__setitem__(slice(0, 8), m.data[:0].__class__('B', np.float32([np.inf] * 2).tobytes())),
            r'/radar/heatmap: Image.data: expected finite numbers, got NaN or infinity in 2 of 3072',
        ),
    ],
    ids=['encoding', 'shape', 'truncated', 'frame', 'nan', 'infinity'],
)
def test_a_bad_heatmap_is_named_with_expected_and_got_and_the_node_lives_on(graph, node, localizer, spoil, said):
    message = localizer.message()
    spoil(message)
    start = len(node.lines)
    localizer.image.publish(message)
    node.wait_for_line(said, start=start)
    assert graph.wait_for_status('localizer_node: /radar/heatmap', ERROR, '/radar/heatmap')
    assert localizer.send(localizer.message()).targets
    assert graph.wait_for_status('localizer_node: /radar/heatmap', OK)


def test_an_info_that_is_no_grid_is_named_and_the_known_one_stays_in_use(graph, node, localizer):
    info = heatmap_to_info(heatmap(), 10**9, 'radar', TYPES)
    info.range = info.range[::-1]
    start = len(node.lines)
    localizer.info.publish(info)
    node.wait_for_line(r'/radar/heatmap_info: HeatmapInfo.range: expected .*ascending', start=start)
    assert localizer.send(localizer.message()).targets


def test_an_info_of_another_grid_is_named_until_heatmaps_fit_it(node, localizer):
    wide = PolarGrid(GRID.range, np.linspace(-0.5, 0.5, 64))
    start = len(node.lines)
    localizer.send_info(heatmap(grid=wide))
    localizer.image.publish(localizer.message())
    node.wait_for_line(r'/radar/heatmap: HeatmapInfo: expected .*48.*got .*64', start=start)
    assert localizer.send(localizer.message(heatmap(grid=wide))).targets
    localizer.send_info()
    assert localizer.send(localizer.message()).targets


def test_settings_change_live_and_wrong_ones_are_refused_with_the_reason(graph, localizer):
    assert graph.set_parameter(NODE, 'cfar.min_snr', 60).successful
    assert not localizer.send(localizer.message()).targets
    assert graph.set_parameter(NODE, 'cfar.min_snr', 12.0).successful
    assert graph.set_parameter(NODE, 'nominal_size', [4.0, 2.0, 1.5]).successful
    message = localizer.message()
    assert localizer.send(message).targets
    size = localizer.answer(localizer.detections, message).detections[0].bbox.size
    assert (size.x, size.y, size.z) == (4.0, 2.0, 1.5)
    for name, value, reason in (
        ('cfar.probability_of_false_alarm', 2.0, r'probability_of_false_alarm.*expected a number from .*got 2\.0'),
        ('cfar.method', 'best', r"cfar\.method.*expected one of 'ca'.*got 'best'"),
        ('cfar.guard_cells', [1, 2, 3], r'guard_cells.*expected a list of 2.*got'),
        ('cfar.max_azimuth_deg', -180.0, r'max_azimuth_deg.*expected more than min_azimuth_deg'),
        ('cfar.guard_cell', [1, 1], r"'cfar\.guard_cell'.*unknown.*did you mean 'cfar\.guard_cells'"),
        ('backend', 'magic', r"'backend'.*expected one of 'auto', 'cfar', 'peak', 'network', got 'magic'"),
        ('backend', 'network', r"'backend'.*expected a change while the node is unconfigured"),
        ('backend_settings', 'nowhere', r"'backend_settings'.*nowhere"),
    ):
        result = graph.set_parameter(NODE, name, value)
        assert not result.successful, name
        assert re.search(reason, result.reason), result.reason
    assert localizer.send(localizer.message()).targets


def test_a_settings_file_goes_under_the_parameters_that_the_user_chose(graph, localizer, tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('background: median\nmin_snr: 70.0\nmax_targets: 7\n')
    assert graph.set_parameter(NODE, 'backend_settings', str(file)).successful
    assert graph.get_parameter(NODE, 'cfar.max_targets') == 7
    # given at the start, and set live above
    assert graph.get_parameter(NODE, 'cfar.background') == 'none'
    assert graph.get_parameter(NODE, 'cfar.min_snr') == 12.0
    file.write_text('max_target: 7\n')
    refused = graph.set_parameter(NODE, 'backend_settings', f'{file.parent}/./mine.yaml')
    assert not refused.successful
    assert 'mine.yaml' in refused.reason
    assert 'max_target' in refused.reason
    assert not graph.set_parameter(NODE, 'backend_settings', str(tmp_path)).successful, 'a folder'
    assert graph.set_parameter(NODE, 'backend_settings', 'default').successful
    assert graph.get_parameter(NODE, 'cfar.max_targets') == 64
    assert localizer.send(localizer.message()).targets


def test_a_setting_of_a_back_end_that_does_not_run_is_kept_with_a_warning(graph, node, localizer):
    start = len(node.lines)
    assert graph.set_parameter(NODE, 'network.threshold', 0.25).successful
    node.wait_for_line(r'network\.threshold.*back end cfar runs', start=start)
    assert graph.get_parameter(NODE, 'network.threshold') == 0.25
    start = len(node.lines)
    assert graph.set_parameter(NODE, 'cfar.min_snr', 13.0).successful
    assert graph.set_parameter(NODE, 'marker_lifetime', 2.0).successful
    assert not any('WARN' in line for line in node.lines[start:])
    assert localizer.send(localizer.message()).targets


def test_it_ends_cleanly_on_a_signal(node, localizer):
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_velocities_are_paired_by_their_stamp_and_waited_for_a_while(graph):
    node = graph.start_node('localizer_node', '-r', '__ns:=/moving', velocity_timeout=2.0, input_timeout=0.5, **STATIC)
    localizer = Localizer(graph, '/moving')
    velocities = graph.publisher(Image, '/moving/radar/velocity')
    localizer.send_info()

    before, after = localizer.message(moving(3.0)), localizer.message(moving(-4.0))
    for speed, message, first in ((3.0, before, True), (-4.0, after, False)):
        velocity = velocity_of(message, moving(speed))
        if first:
            velocities.publish(velocity)
        localizer.image.publish(message)
        if not first:
            velocities.publish(velocity)
        assert localizer.answer(localizer.targets, message).targets[0].radial_velocity == pytest.approx(speed)
    alone = localizer.send(localizer.message())
    assert np.isnan(alone.targets[0].radial_velocity)
    status = graph.wait_for_status('moving/localizer_node: state', OK)
    assert values_of(status)['heatmaps_without_velocity'] == '1'
    # what may be silent is, without a warning
    graph.wait_for_status('moving/localizer_node: /moving/radar/heatmap', WARN, 'no message on')
    for topic in ('radar/heatmap_info', 'radar/velocity'):
        graph.wait_for_status(f'moving/localizer_node: /moving/{topic}', OK)

    name = '/moving/localizer_node'
    for transition in ('deactivate', 'cleanup'):
        assert graph.change_state(name, transition)
    assert graph.set_parameter(name, 'use_velocity', False).successful
    for transition in ('configure', 'activate'):
        assert graph.change_state(name, transition)
    graph.wait_until(lambda: velocities.get_subscription_count() == 0, 'a localizer without velocities')
    message = localizer.message(moving(3.0))
    velocities.publish(velocity_of(message, moving(3.0)))
    localizer.targets.clear()

    def answers():
        localizer.image.publish(message)
        return len(localizer.targets) > 0

    graph.wait_until(answers, 'targets')
    assert np.isnan(localizer.targets.messages[0].targets[0].radial_velocity)
    assert node.stop() == 0


def test_as_many_velocities_are_kept_as_heatmaps_may_wait_for_their_info(graph):
    node = graph.start_node('localizer_node', '-r', '__ns:=/patient', **STATIC)
    localizer = Localizer(graph, '/patient')
    velocities = graph.publisher(Image, '/patient/radar/velocity')
    for speed in range(1, WAITING + 1):
        message = localizer.message()
        velocities.publish(velocity_of(message, moving(speed)))
        localizer.image.publish(message)
        time.sleep(0.02)
    topics = ('/patient/radar/heatmap', '/patient/radar/velocity')
    graph.wait_until_received('/patient/localizer_node', dict.fromkeys(topics, WAITING))
    for topic, level in zip(topics, (WARN, OK), strict=True):
        graph.wait_for_status(f'patient/localizer_node: {topic}', level)
    localizer.send_info()
    answers = localizer.targets.wait(WAITING)
    assert [answer.targets[0].radial_velocity for answer in answers] == pytest.approx(range(1, WAITING + 1))
    assert node.stop() == 0


def test_velocities_under_another_name_are_waited_for_as_well(graph):
    node = graph.start_node(
        'localizer_node', '-r', '__ns:=/renamed', '-r', 'radar/velocity:=doppler', velocity_timeout=10.0, **STATIC
    )
    localizer = Localizer(graph, '/renamed')
    velocities = graph.publisher(Image, '/renamed/doppler')
    localizer.send_info()
    message = localizer.message()
    localizer.image.publish(message)
    time.sleep(0.2)
    velocities.publish(velocity_of(message, moving(3.0)))
    assert localizer.answer(localizer.targets, message).targets[0].radial_velocity == pytest.approx(3.0)
    assert node.stop() == 0


def test_unknown_velocities_are_nan_and_infinite_ones_refused(graph):
    node = graph.start_node('localizer_node', '-r', '__ns:=/unknown', velocity_timeout=10.0, **STATIC)
    localizer = Localizer(graph, '/unknown')
    velocities = graph.publisher(Image, '/unknown/radar/velocity')
    localizer.send_info()
    around = moving(3.0)
    around.velocity[:ROW] = np.nan
    for shown, expected in ((around, 3.0), (moving(np.nan), np.nan)):
        message = localizer.message()
        velocities.publish(velocity_of(message, shown))
        (target,) = localizer.send(message).targets
        assert target.radial_velocity == pytest.approx(expected, nan_ok=True)
    message = localizer.message()
    around.velocity[0, :2] = np.inf, -np.inf
    velocities.publish(velocity_of(message, around))
    localizer.image.publish(message)
    node.wait_for_line(
        '/unknown/radar/heatmap: Image.data of radar/velocity: expected .*NaN.*got infinity in 2 of 3072'
    )
    assert node.stop() == 0


def test_after_a_jump_back_in_time_it_starts_afresh(graph):
    node = graph.start_node('localizer_node', '-r', '__ns:=/looped', cfar__background_warmup=2)
    localizer = Localizer(graph, '/looped')
    localizer.send_info(heatmap(peak=-100.0))
    for seed in range(2):
        assert not localizer.send(localizer.message(heatmap(peak=-100.0, seed=seed))).targets
    assert localizer.send(localizer.message()).targets
    assert graph.set_parameter('/looped/localizer_node', 'cfar.min_snr', 12.0).successful
    assert localizer.send(localizer.message()).targets, 'the background outlives a setting that does not concern it'
    localizer._second -= 1
    localizer.targets.clear()
    assert localizer.send(localizer.message()).targets, 'the same stamp again is no jump'
    localizer._second = 50
    assert not localizer.send(localizer.message()).targets
    node.wait_for_line('stamps jumped back by 5[0-9].000 s; starting afresh')
    assert node.stop() == 0


def test_a_jump_back_in_time_while_it_pauses_is_noticed(graph):
    node = graph.start_node('localizer_node', '-r', '__ns:=/paused', cfar__background_warmup=2)
    localizer = Localizer(graph, '/paused')

    def pause():
        for transition, count in (('deactivate', 0), ('activate', 1)):
            assert graph.change_state('/paused/localizer_node', transition)
            graph.wait_until(lambda: localizer.image.get_subscription_count() == count, transition)  # noqa: B023
        time.sleep(0.5)

    localizer.send_info(heatmap(peak=-100.0))
    for seed in range(2):
        assert not localizer.send(localizer.message(heatmap(peak=-100.0, seed=seed))).targets
    pause()
    assert localizer.send(localizer.message()).targets, 'the background outlives a pause'
    pause()
    localizer._second = 50
    assert not localizer.send(localizer.message()).targets
    node.wait_for_line('stamps jumped back by 5[0-9].000 s; starting afresh')
    assert node.stop() == 0


def test_settings_that_ship_for_the_radar_are_found_by_its_name(graph):
    file = shipped_settings('cfar', 'Navtech CTS350-X')
    assert file is not None
    node = graph.start_node('localizer_node', '-r', '__ns:=/scanning', cfar__max_targets=5)
    localizer = Localizer(graph, '/scanning')
    localizer.send_info(heatmap(radar='Navtech CTS350-X'))
    node.wait_for_line(f"radar 'Navtech CTS350-X'.* settings {file.stem}")
    settings = load_cfar_settings(file)
    assert graph.get_parameter('/scanning/localizer_node', 'cfar.background') == settings.background
    assert graph.get_parameter('/scanning/localizer_node', 'cfar.max_targets') == 5
    status = graph.wait_for_status('scanning/localizer_node: state', OK)
    assert status.hardware_id == 'Navtech CTS350-X'
    assert (values_of(status)['backend'], values_of(status)['settings']) == ('cfar', file.stem)
    assert node.stop() == 0


# ---- networks


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('models') / 'tiny.safetensors', heatmap())


def found(message):
    return [(target.position.x, target.position.y, target.score) for target in message.targets]


def test_a_network_says_live_what_it_says_offline(graph, model):
    node = graph.start_node('localizer_node', '-r', '__ns:=/learned', backend='network', network__model=model)
    localizer = Localizer(graph, '/learned')
    localizer.send_info()
    offline = load_localizer('network', model=str(model))
    for seed in range(3):
        targets = [(target.x, target.y, target.score) for target in offline.localize(heatmap(seed=seed))]
        assert targets
        answer = found(localizer.send(localizer.message(heatmap(seed=seed))))
        assert np.array(answer) == pytest.approx(np.array(targets), abs=1e-4)
    assert graph.set_parameter('/learned/localizer_node', 'network.max_targets', 1).successful
    assert len(found(localizer.send(localizer.message(heatmap(seed=9))))) == 1
    status = graph.wait_for_status('learned/localizer_node: state', OK)
    assert values_of(status)['model'] == str(model)
    refused = graph.set_parameter('/learned/localizer_node', 'network.model', '/no/model.safetensors')
    assert not refused.successful
    assert '/no/model.safetensors' in refused.reason
    assert found(localizer.send(localizer.message()))
    assert node.stop() == 0


def test_a_network_that_has_learned_classes_names_them_live(graph, tmp_path):
    classes = ['car', 'van']
    torch.manual_seed(1)
    weights = LocalizerNetwork(GRID, 2, **ARCHITECTURE, classes=classes).state_dict()
    weights['layers.6.weight'] = 100 * weights['layers.6.weight']
    architecture = {**ARCHITECTURE, 'classes': classes}
    model = write_tiny_model(tmp_path / 'named.safetensors', heatmap(), weights=weights, architecture=architecture)
    node = graph.start_node('localizer_node', '-r', '__ns:=/named', backend='network', network__model=model)
    localizer = Localizer(graph, '/named')
    localizer.send_info()
    message = localizer.message()
    expected = [target.label for target in load_localizer('network', model=str(model)).localize(heatmap())]
    assert expected and set(expected) <= set(classes)
    assert [target.label for target in localizer.send(message).targets] == expected
    named = localizer.answer(localizer.detections, message).detections
    assert [detection.results[0].hypothesis.class_id for detection in named] == expected
    assert graph.set_parameter('/named/localizer_node', 'network.class_threshold', 1.0).successful
    message = localizer.message()
    assert {target.label for target in localizer.send(message).targets} == {''}
    named = localizer.answer(localizer.detections, message).detections
    assert {detection.results[0].hypothesis.class_id for detection in named} == {'target'}
    assert node.stop() == 0


def test_a_radar_that_the_network_was_not_trained_for_is_refused_and_the_node_lives_on(graph, model):
    node = graph.start_node('localizer_node', '-r', '__ns:=/other', network__model=model)
    localizer = Localizer(graph, '/other')
    for strange, said in (
        (heatmap(radar='another'), "radar: expected 'test', got 'another'"),
        (heatmap(grid=PolarGrid(GRID.range + 0.5, GRID.azimuth)), 'grid, range bins: expected'),
    ):
        localizer.send_info(strange)
        localizer.image.publish(localizer.message(strange))
        node.wait_for_line(f'/other/radar/heatmap: heatmap: expected the radar that tiny.safetensors .*{said}')
        graph.wait_for_status('other/localizer_node: /other/radar/heatmap', ERROR, said)
    localizer.send_info()
    assert found(localizer.send(localizer.message()))
    graph.wait_for_status('other/localizer_node: /other/radar/heatmap', OK)
    assert node.stop() == 0


def test_a_model_that_cannot_be_loaded_fails_the_configuration_and_can_be_mended(graph, model, tmp_path):
    (tmp_path / 'torn.safetensors').write_bytes(model.read_bytes()[:500])
    torn = tmp_path / 'torn.safetensors'
    node = graph.start_node('localizer_node', '-r', '__ns:=/torn', network__model=torn)
    node.wait_for_line('cannot configure: .*torn.safetensors: expected a checkpoint .* truncated')
    assert graph.set_parameter('/torn/localizer_node', 'network.model', str(model)).successful
    assert graph.change_state('/torn/localizer_node', 'configure')
    assert node.stop() == 0


def test_a_model_that_cannot_be_loaded_is_not_taken_live_and_the_right_one_is_afterwards(graph, model):
    node = graph.start_node('localizer_node', '-r', '__ns:=/mistyped', **STATIC)
    localizer, name = Localizer(graph, '/mistyped'), '/mistyped/localizer_node'
    localizer.send_info()
    assert found(localizer.send(localizer.message()))
    for _ in range(2):
        refused = graph.set_parameter(name, 'network.model', 'typo.safetensors')
        assert not refused.successful
        assert "'typo.safetensors', where no file is" in refused.reason
        assert graph.get_parameter(name, 'network.model') == 'auto', 'what is refused is not stored'
        assert values_of(graph.wait_for_status('mistyped/localizer_node: state', OK))['backend'] == 'cfar'
        assert found(localizer.send(localizer.message()))
    assert graph.set_parameter(name, 'network.model', str(model)).successful
    assert values_of(graph.wait_for_status('mistyped/localizer_node: state', OK))['model'] == str(model)
    if not torch.cuda.is_available():
        refused = graph.set_parameter(name, 'network.device', 'cuda')
        assert not refused.successful
        assert graph.get_parameter(name, 'network.device') == 'auto'
    assert not graph.set_parameter(name, 'network.model', 'typo.safetensors').successful
    assert graph.get_parameter(name, 'network.model') == str(model)
    assert found(localizer.send(localizer.message()))
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def ship(model, folder):
    """Put a model where one that ships for the radar 'test' lies; its path, and the environment for the node."""
    shipped = folder / 'share/radio_visual_ssl/models/test.safetensors'
    shipped.parent.mkdir(parents=True)
    shipped.write_bytes(model.read_bytes())
    return shipped, {'AMENT_PREFIX_PATH': f'{os.environ["AMENT_PREFIX_PATH"]}:{folder}'}


def test_the_first_heatmap_with_a_velocity_chooses_the_network_that_needs_it(graph, tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap(), ('power', 'moving'))
    shipped, environment = ship(model, tmp_path)
    node = graph.start_node('localizer_node', '-r', '__ns:=/first', environment=environment, **STATIC)
    localizer = Localizer(graph, '/first')
    velocities = graph.publisher(Image, '/first/radar/velocity')
    localizer.send_info()
    for _ in range(2):
        assert np.isnan(localizer.send(localizer.message()).targets[0].radial_velocity), 'each heatmap is answered'
    node.wait_for_line("radar 'test': .* backend cfar with .*velocity: expected one for each cell, got none.*until")
    assert sum("radar 'test'" in line for line in node.lines) == 1
    # a setting that is changed meanwhile decides nothing
    assert graph.set_parameter('/first/localizer_node', 'cfar.min_snr', 9.0).successful
    message = localizer.message()
    velocities.publish(velocity_of(message, moving(3.0)))
    answer = found(localizer.send(message))
    node.wait_for_line(f"radar 'test': .* backend network with .*{shipped} ships for radar 'test'")
    offline = load_localizer('network', model=str(model)).localize(moving(3.0))
    assert np.array(answer) == pytest.approx(np.array([(each.x, each.y, each.score) for each in offline]), abs=1e-4)
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_the_network_that_ships_for_a_radar_is_taken_where_it_fits_and_else_cfar(graph, model, tmp_path):
    shipped, prefix = ship(model, tmp_path)
    settings = tmp_path / 'share/radio_visual_ssl/config/network/test.yaml'
    settings.parent.mkdir(parents=True)
    settings.write_text('max_targets: 5\n')
    node = graph.start_node('localizer_node', '-r', '__ns:=/auto', environment=prefix, expected_radar='test')
    localizer = Localizer(graph, '/auto')
    localizer.send_info()
    assert found(localizer.send(localizer.message()))
    node.wait_for_line(f"radar 'test': .* backend network with settings test \\({shipped} ships for radar 'test'")
    narrow = heatmap(grid=PolarGrid(GRID.range, GRID.azimuth / 2))
    localizer.send_info(narrow)
    localizer.send(localizer.message(narrow))
    node.wait_for_line("radar 'test': .* backend cfar with .*does not fit it: grid, azimuth bins: expected")
    localizer.send_info(heatmap(radar='another'))
    node.wait_for_line("backend cfar with .*no model ships for radar 'another'")
    localizer.send_info()
    assert found(localizer.send(localizer.message()))
    name = '/auto/localizer_node'
    assert graph.get_parameter(name, 'network.max_targets') == 5
    # settings that ship for a model are not those of another one
    assert graph.set_parameter(name, 'network.model', str(model)).successful
    assert graph.get_parameter(name, 'network.max_targets') == 32
    assert found(localizer.send(localizer.message()))
    assert node.stop() == 0
    assert 'Traceback' not in node.output
