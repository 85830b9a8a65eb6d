# SPDX-License-Identifier: Apache-2.0
"""What all nodes share: starting, parameters that are wrong from the start, QoS overrides, time and signals."""

import signal
import sys
import time

import pytest

pytest.importorskip('radio_visual_ssl.msg', reason='the ROS workspace is not built or not on the path (make build)')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import DescribeParameters
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

OK, WARN, ERROR, STALE = b'\x00', b'\x01', b'\x02', b'\x03'


def describe(graph, node, name):
    request = DescribeParameters.Request(names=[name])
    return graph.call(DescribeParameters, f'{node}/describe_parameters', request).descriptors[0]


def test_a_node_configures_and_activates_itself(graph):
    node = graph.start_node('heatmap_node', '-r', '__ns:=/self', input_timeout=0.5)
    graph.wait_for_state('/self/heatmap_node', 'active')
    status = graph.wait_for_status('self/heatmap_node: /self/radar/cube', STALE)
    assert 'nobody publishes it' in status.message
    described = describe(graph, '/self/heatmap_node', 'preview.height')
    assert described.description
    assert (described.integer_range[0].from_value, described.integer_range[0].to_value) == (64, 2160)
    assert 'fft' in describe(graph, '/self/heatmap_node', 'formation.beamformer').additional_constraints
    assert describe(graph, '/self/heatmap_node', 'autostart').read_only
    assert node.stop(signal.SIGTERM) == 0
    assert 'Traceback' not in node.output


def test_without_autostart_it_waits_for_the_transitions_and_can_go_all_the_way_round(graph):
    node = graph.start_node('heatmap_node', '-r', '__ns:=/patient', autostart=False)
    node.wait_for_line('waiting for the configure and activate transitions')
    name = '/patient/heatmap_node'
    assert graph.state(name) == 'unconfigured'
    for _ in range(2):
        for transition, state in (
            ('configure', 'inactive'),
            ('activate', 'active'),
            ('deactivate', 'inactive'),
            ('cleanup', 'unconfigured'),
        ):
            assert graph.change_state(name, transition)
            assert graph.state(name) == state
    assert not graph.change_state(name, 'activate'), 'before it is configured'
    activate = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    with pytest.raises(AssertionError, match='answer'):
        graph.call(ChangeState, f'{name}/change_state', activate, timeout=1.0)
    assert graph.state(name) == 'unconfigured', 'it lives on'
    assert graph.change_state(name, 'shutdown')
    assert node.wait() == 0


STUBBORN = """
import sys
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.process import run
from std_msgs.msg import String

class Stubborn(ManagedNode):
    fails = True

    def __init__(self):
        super().__init__('stubborn')

    def configure(self):
        self.add_output(String, '~/said')

    def deactivate(self):
        if self.fails:
            self.fails = False
            raise OSError('the device does not let go')

sys.exit(run('__main__', 'Stubborn'))
"""


def test_a_node_that_cannot_be_deactivated_ends_unconfigured_and_can_begin_anew(graph):
    node = graph.start(sys.executable, '-c', STUBBORN, '--ros-args', '-r', '__ns:=/hard')
    name = '/hard/stubborn'
    graph.wait_for_state(name, 'active')
    assert not graph.change_state(name, 'deactivate')
    graph.wait_for_state(name, 'unconfigured')
    graph.wait_for_status('hard/stubborn: state', ERROR, 'cannot deactivate: the device does not let go')
    assert graph.change_state(name, 'configure')
    assert graph.change_state(name, 'activate')
    graph.wait_for_status('hard/stubborn: state', OK, 'active')
    assert node.stop(signal.SIGTERM) == 0
    assert 'Traceback' not in node.output


@pytest.mark.parametrize('end', ['shutdown', 'signal'])
def test_a_node_that_does_not_let_go_at_its_end_says_so_in_its_exit_code(graph, end):
    node = graph.start(sys.executable, '-c', STUBBORN, '--ros-args', '-r', f'__ns:=/held_{end}')
    name = f'/held_{end}/stubborn'
    graph.wait_for_state(name, 'active')
    if end == 'shutdown':
        assert not graph.change_state(name, 'shutdown')
    else:
        node.process.send_signal(signal.SIGTERM)
    assert node.wait() == 1
    verb = 'shutdown' if end == 'shutdown' else 'deactivate'
    assert f'cannot {verb}: the device does not let go' in node.output
    assert 'Traceback' not in node.output


def test_an_unknown_parameter_is_named_with_what_it_may_have_meant_and_the_node_lives_on(graph, tmp_path):
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**:\n  ros__parameters:\n    formation:\n      azimut_bins: 32\n')
    node = graph.start_node('heatmap_node', '-r', '__ns:=/typo', '--params-file', str(file))
    node.wait_for_line(r"cannot configure: parameter 'formation.azimut_bins'.*unknown.*'formation.azimuth_bins'")
    assert graph.wait_for_status('typo/heatmap_node: state', ERROR, "'formation.azimut_bins'")
    name = '/typo/heatmap_node'
    assert graph.state(name) == 'unconfigured'
    assert graph.set_parameter(name, 'allow_unknown_parameters', True).successful
    assert graph.change_state(name, 'configure')
    assert graph.change_state(name, 'activate')
    assert graph.wait_for_status('typo/heatmap_node: state', OK, 'active')
    assert node.stop() == 0


def test_a_parameter_of_the_wrong_type_or_out_of_range_is_named_and_mended_live(graph):
    node = graph.start_node(
        'heatmap_node', '-r', '__ns:=/wrong', preview__height=9, formation__max_range='far', formation__azimuth_bins=1
    )
    line = node.wait_for_line('cannot configure')
    assert "parameter 'preview.height': expected an integer from 64 to 2160, got 9" in line
    assert "parameter 'formation.max_range': expected a number" in line
    assert "got 'far'" in line
    name = '/wrong/heatmap_node'
    assert graph.set_parameter(name, 'preview.height', 240).successful
    assert not graph.set_parameter(name, 'formation.max_range', 'near').successful
    # an integer is a number too
    assert graph.set_parameter(name, 'formation.max_range', 40).successful
    assert graph.get_parameter(name, 'formation.max_range') == 40.0
    assert not graph.change_state(name, 'configure')
    node.wait_for_line("cannot configure: parameter 'formation.azimuth_bins': expected at least 2, got 1$")
    assert graph.set_parameter(name, 'formation.azimuth_bins', 64).successful
    assert graph.change_state(name, 'configure')
    assert graph.change_state(name, 'activate')
    assert node.stop() == 0


def test_infinity_in_a_parameter_file_fails_the_configuration_and_can_be_mended(graph, tmp_path):
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**:\n  ros__parameters:\n    input_timeout: .inf\n    formation: {max_range: -.inf}\n')
    node = graph.start_node('heatmap_node', '-r', '__ns:=/endless', '--params-file', str(file))
    line = node.wait_for_line('cannot configure')
    assert "parameter 'input_timeout': expected a number of at least 0.01, got inf" in line
    assert "parameter 'formation.max_range': expected a number, got -inf" in line
    name = '/endless/heatmap_node'
    refused = graph.set_parameter(name, 'input_timeout', float('inf'))
    assert not refused.successful
    assert 'expected a number of at least 0.01, got inf' in refused.reason
    assert graph.set_parameter(name, 'input_timeout', 1.0).successful
    assert graph.set_parameter(name, 'formation.max_range', 0.0).successful
    assert graph.change_state(name, 'configure')
    assert node.stop() == 0
    assert 'Traceback' not in node.output


def test_quality_of_service_is_overridden_by_parameters_and_a_wrong_one_is_named(graph):
    topic = '/qos/radar/cube'
    node = graph.start_node(
        'heatmap_node',
        '-r',
        '__ns:=/qos',
        '-p',
        f'qos_overrides.{topic}.subscription.reliability:=reliable',
        '-p',
        f'qos_overrides.{topic}s.subscription.depth:=7',
    )
    graph.wait_until(lambda: graph.node.count_subscribers(topic) == 1, 'subscription')
    assert graph.node.get_subscriptions_info_by_topic(topic)[0].qos_profile.reliability == ReliabilityPolicy.RELIABLE
    node.wait_for_line(rf"parameter 'qos_overrides.{topic}s.subscription.depth'.*unknown")
    assert node.stop() == 0


def test_sensor_topics_are_best_effort_and_info_topics_latched_by_default(graph):
    node = graph.start_node('heatmap_node', '-r', '__ns:=/plain')
    graph.wait_for_state('/plain/heatmap_node', 'active')
    graph.wait_until(lambda: graph.node.count_publishers('/plain/radar/heatmap_info') == 1, 'publisher')
    graph.wait_until(lambda: graph.node.count_subscribers('/plain/radar/cube') == 1, 'subscription')
    cube = graph.node.get_subscriptions_info_by_topic('/plain/radar/cube')[0].qos_profile
    info = graph.node.get_publishers_info_by_topic('/plain/radar/heatmap_info')[0].qos_profile
    assert cube.reliability == ReliabilityPolicy.BEST_EFFORT
    assert (info.reliability, info.durability) == (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
    assert node.stop() == 0


def test_with_use_sim_time_diagnostics_carry_the_time_of_the_clock(graph):
    node = graph.start_node('heatmap_node', '-r', '__ns:=/sim', use_sim_time=True)
    graph.wait_for_state('/sim/heatmap_node', 'active')
    clock = graph.publisher(Clock, '/clock', QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))
    diagnostics = graph.listen(DiagnosticArray, '/diagnostics')
    message = Clock()
    message.clock.sec = 1234

    def seen():
        clock.publish(message)
        return any(array.header.stamp.sec == 1234 for array in diagnostics.messages)

    graph.wait_until(seen, 'diagnostics of second 1234')
    assert node.stop() == 0


def test_ros_arguments_that_cannot_be_read_are_one_line_and_exit_code_2(graph, tmp_path):
    file = tmp_path / 'broken.yaml'
    file.write_text('heatmap_node: [\n')
    node = graph.start_node('heatmap_node', '--params-file', str(file))
    assert node.wait() == 2
    assert 'heatmap_node: ' in node.output
    assert 'Traceback' not in node.output


@pytest.mark.parametrize('delay', [0.3, 0.6, 0.9, 1.2])
def test_a_signal_during_the_start_ends_it_without_a_traceback(graph, delay):
    node = graph.start_node('heatmap_node', '-r', '__ns:=/early')
    time.sleep(delay)
    # the terminal and the launcher may both send one
    for _ in range(2):
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGINT)
    code = node.wait()
    # until Python runs the first line of ours it ends as any program does
    assert code == 0 or 'radio_visual_ssl' not in node.output, node.output
    if code == 0:
        assert 'Traceback' not in node.output
