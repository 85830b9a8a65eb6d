# SPDX-License-Identifier: Apache-2.0
"""The `ros2` command of compat/ as a real process, looking at real nodes in other processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy')

from domain_coordinator import domain_id

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / 'compat' / 'ros2cli'
FIXTURES = Path(__file__).parent / 'fixtures'
COMMANDS = ('bag', 'interface', 'launch', 'lifecycle', 'node', 'param', 'pkg', 'run', 'service', 'topic')


class Ros2:
    """Runs `ros2` in one ROS domain."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(PACKAGE / 'bin' / 'ros2'), *arguments],
            env=self.environment | options.pop('env', {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def finish(self, process: subprocess.Popen) -> subprocess.CompletedProcess:
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def __call__(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        return self.finish(self.start(*arguments, **options))

    def read(self, *arguments: str, **options) -> str:
        """Standard output of a call that must succeed."""
        return self.read_each(arguments, **options)[0]

    def read_each(self, *calls: tuple[str, ...], **options) -> list[str]:
        """The same for calls that run at the same time: most of their time is waiting for discovery."""
        results = [self.finish(process) for process in [self.start(*call, **options) for call in calls]]
        for result in results:
            assert result.returncode == 0, result.stderr
        return [result.stdout for result in results]

    def refuse(self, *arguments: str, **options) -> str:
        """The one line of a call that must fail without a traceback."""
        return self.refuse_each(arguments, **options)[0]

    def refuse_each(self, *calls: tuple[str, ...], **options) -> list[str]:
        """The same for calls that run at the same time."""
        results = [self.finish(process) for process in [self.start(*call, **options) for call in calls]]
        for result in results:
            assert result.returncode == 1, result.stdout + result.stderr
            assert result.stdout == ''
            assert len(result.stderr.splitlines()) == 1, result.stderr
        return [result.stderr.strip() for result in results]


@pytest.fixture(scope='module')
def ros2() -> Iterator[Ros2]:
    profile = str(REPOSITORY / 'config' / 'fastdds.xml')
    with domain_id() as domain:
        yield Ros2(
            os.environ
            | {
                'ROS_DOMAIN_ID': str(domain),
                'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                'FASTRTPS_DEFAULT_PROFILES_FILE': profile,
                'FASTDDS_DEFAULT_PROFILES_FILE': profile,
                'PYTHONPATH': f'{PACKAGE}{os.pathsep}{os.environ.get("PYTHONPATH", "")}',
            }
        )


@pytest.fixture(scope='module')
def nodes(ros2: Ros2) -> Iterator[None]:
    """/talker and the lifecycle node /radar/managed."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(FIXTURES / name)], env=ros2.environment, stdout=subprocess.PIPE, text=True
        )
        for name in ('talker_node.py', 'managed_node.py')
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == 'ready\n'
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.communicate(timeout=10)


@pytest.fixture
def prefix(tmp_path: Path) -> dict[str, str]:
    """Environment with an ament prefix that holds the package `demo`: an executable and interfaces."""
    index = tmp_path / 'share' / 'ament_index' / 'resource_index'
    files = {
        index / 'packages' / 'demo': '',
        index
        / 'rosidl_interfaces'
        / 'demo': 'msg/Inner.idl\nmsg/Inner.msg\nmsg/Outer.msg\nsrv/Ask.srv\nsrv/Ask_Request.msg\n',
        tmp_path / 'share' / 'demo' / 'msg' / 'Inner.msg': '# Inside.\nfloat32 range  # m\n',
        tmp_path / 'share' / 'demo' / 'msg' / 'Outer.msg': (
            '# Outside.\n\nstring NAME="a#b"  # constant\nInner[<=2] inners # some\nfloat64[3] position\n'
        ),
        tmp_path / 'share' / 'demo' / 'srv' / 'Ask.srv': 'demo/Inner question\n---\nbool answer\n',
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    executable = tmp_path / 'lib' / 'demo' / 'tool'
    executable.parent.mkdir(parents=True)
    executable.write_text(
        '#!/bin/sh\ntrap "echo stopped; exit 5" INT\necho "got:$*"\n[ "$1" = wait ] && read line\nexit 7\n'
    )
    executable.chmod(0o755)
    return {'AMENT_PREFIX_PATH': os.pathsep.join([str(tmp_path), os.environ.get('AMENT_PREFIX_PATH', '')])}


def test_help_names_every_command_and_each_command_has_help(ros2: Ros2):
    text = ros2.read('--help')
    for command in COMMANDS:
        assert re.search(rf'^ +{command} +\S', text, re.MULTILINE)
        assert f'usage: ros2 {command}' in ros2.read(command, '--help')


def test_help_does_not_wait_for_rclpy(ros2: Ros2):
    code = """
import sys
from ros2cli.cli import main
try:
    main(['topic', 'echo', '--help'])
finally:
    sys.exit('rclpy' in sys.modules)
"""
    result = subprocess.run([sys.executable, '-c', code], check=False, env=ros2.environment, capture_output=True)
    assert result.returncode == 0


def test_unknown_commands_and_verbs_are_wrong_usage(ros2: Ros2):
    for arguments in (['nope'], ['topic', 'nope'], ['topic', 'echo']):
        result = ros2(*arguments)
        assert result.returncode == 2
        assert 'Traceback' not in result.stderr


def test_bag_says_what_to_use_instead(ros2: Ros2):
    result = ros2('bag', 'play', 'some_bag', '--loop')
    assert result.returncode == 2
    assert 'ros2 launch radio_visual_ssl localize.launch.py source:=bag' in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures('nodes')
class TestTopic:
    def test_list_shows_types_and_leaves_hidden_topics_out(self, ros2: Ros2):
        assert ros2.read('topic', 'list', '-t').splitlines() == [
            '/camera/image_raw [sensor_msgs/msg/Image]',
            '/chatter [std_msgs/msg/String]',
            '/latched [std_msgs/msg/String]',
            '/orders [std_msgs/msg/String]',
            '/parameter_events [rcl_interfaces/msg/ParameterEvent]',
            '/radar/managed/transition_event [lifecycle_msgs/msg/TransitionEvent]',
            '/rosout [rcl_interfaces/msg/Log]',
        ]

    def test_list_shows_hidden_topics_and_endpoints_on_demand(self, ros2: Ros2):
        lines = ros2.read('topic', '--include-hidden-topics', 'list', '-v').splitlines()
        published, subscribed = lines.index('Published topics:'), lines.index('Subscribed topics:')
        assert published < lines.index(' * /_hidden [std_msgs/msg/String] 1 publisher') < subscribed
        assert lines.index(' * /orders [std_msgs/msg/String] 1 subscriber') > subscribed

    def test_find_and_type_are_each_other_turned_round(self, ros2: Ros2):
        found, kind = ros2.read_each(('topic', 'find', 'sensor_msgs/msg/Image'), ('topic', 'type', 'camera/image_raw'))
        assert found == '/camera/image_raw\n'
        assert kind == 'sensor_msgs/msg/Image\n'

    def test_info_shows_the_quality_of_service_of_each_endpoint(self, ros2: Ros2):
        short, text = ros2.read_each(('topic', 'info', '/orders'), ('topic', 'info', '-v', '/latched'))
        assert short == 'Type: std_msgs/msg/String\nPublisher count: 0\nSubscription count: 1\n'
        assert 'Publisher count: 1\n\nNode name: talker\n' in text
        assert '  Durability: TRANSIENT_LOCAL\n' in text

    def test_unknown_topics_are_refused(self, ros2: Ros2):
        for line in ros2.refuse_each(
            *(('topic', verb, '/nope', '--spin-time', '0.3') for verb in ('echo', 'info', 'type'))
        ):
            assert '/nope' in line
        assert 'not a valid topic name' in ros2.refuse('topic', 'type', '/a b')

    def test_echo_receives_latched_messages(self, ros2: Ros2):
        assert ros2.read('topic', 'echo', '--once', '/latched') == 'data: once and for all\n---\n'

    def test_echo_receives_best_effort_messages_and_shortens_arrays(self, ros2: Ros2):
        echo = ('topic', 'echo', '--once', '/camera/image_raw')
        full, short = ros2.read_each(echo, (*echo, '--no-arr', '--no-str'))
        image = yaml.safe_load(full.removesuffix('---\n'))
        assert list(image) == ['header', 'height', 'width', 'encoding', 'is_bigendian', 'step', 'data']
        assert image['header']['frame_id'] == 'camera'
        assert image['data'] == [0] * 128 + ['...']
        assert "\ndata: '<sequence type: uint8, length: 400>'\n" in short
        assert "\nencoding: '<string length: <5>>'\n" in short

    def test_echo_selects_a_field_as_yaml_or_csv(self, ros2: Ros2):
        word, line = ros2.read_each(
            ('topic', 'echo', '--once', 'chatter', '--field', 'data'),
            ('topic', 'echo', '--once', '/camera/image_raw', '--csv', '--field', 'header'),
        )
        assert re.fullmatch(r'hello \d+\n---\n', word)
        assert re.fullmatch(r'\d+,\d+,camera\n', line)

    def test_echo_filters_and_shows_raw_bytes(self, ros2: Ros2):
        text, raw = ros2.read_each(
            ('topic', 'echo', '--once', '/chatter', '--filter', "m.data.endswith('7')"),
            ('topic', 'echo', '--once', '--raw', '/chatter'),
        )
        assert re.fullmatch(r'data: hello \d*7\n---\n', text)
        assert raw.startswith(r"b'\x00\x01\x00\x00")

    def test_echo_and_delay_refuse_what_the_messages_lack(self, ros2: Ros2):
        field, expression, header = ros2.refuse_each(
            ('topic', 'echo', '/camera/image_raw', '--field', 'header.stamp.nope'),
            ('topic', 'echo', '/chatter', '--filter', 'm.nope'),
            ('topic', 'delay', '/chatter'),
        )
        assert "no 'nope' in Time" in field
        assert '--filter' in expression
        assert 'does not have header' in header

    def test_echo_ends_quietly_with_its_reader_or_a_signal(self, ros2: Ros2):
        process = ros2.start('topic', 'echo', '/chatter')
        assert process.stdout.readline().startswith('data: hello')
        process.stdout.close()
        assert process.wait(10) == 128 + signal.SIGPIPE
        assert process.stderr.read() == ''
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number, process in [(number, ros2.start('topic', 'echo', '/chatter')) for number in numbers]:
            process.stdout.readline()
            process.send_signal(number)
            assert process.communicate(timeout=10)[1] == ''
            assert process.returncode == number

    def test_hz_bw_and_delay_measure_until_interrupted(self, ros2: Ros2):
        verbs = {'hz': 'average rate: ', 'bw': '', 'delay': 'average delay: '}
        processes = {verb: ros2.start('topic', verb, '/camera/image_raw', '-w', '50') for verb in verbs}
        values = {}
        for verb, process in processes.items():
            first, second = process.stdout.readline(), process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=10)
            assert process.returncode == signal.SIGINT
            values[verb] = float(first.removeprefix(verbs[verb]).split()[0])
            if verb == 'bw':
                assert re.fullmatch(r'\tMessage size mean: 0.45 KB min: 0.45 KB max: 0.45 KB\n', second)
            else:
                assert re.fullmatch(r'\tmin: .*s max: .*s std dev: .*s window: \d+\n', second)
        assert values['hz'] == pytest.approx(20.0, rel=0.5)
        assert values['delay'] >= 0.05


class TestPub:
    def test_a_published_message_is_echoed(self, ros2: Ros2):
        listener = ros2.start('topic', 'echo', '--once', '/pose', 'geometry_msgs/msg/PoseStamped')
        values = '{header: {stamp: now, frame_id: map}, pose: {position: {x: 1, y: -2.5}}}'
        # best effort: a single message may come before the listener knows its publisher
        text = ros2.read('topic', 'pub', '-t', '10', '-r', '10', '/pose', 'geometry_msgs/PoseStamped', values)
        assert 'publisher: beginning loop\npublishing #1: geometry_msgs.msg.PoseStamped(header=' in text
        output, errors = listener.communicate(timeout=20)
        assert listener.returncode == 0, errors
        message = yaml.safe_load(output.removesuffix('---\n'))
        assert message['header']['stamp']['sec'] > 0
        assert message['header']['frame_id'] == 'map'
        assert message['pose']['position'] == {'x': 1.0, 'y': -2.5, 'z': 0.0}

    @pytest.mark.usefixtures('nodes')
    def test_once_waits_for_a_subscription(self, ros2: Ros2):
        text = ros2.read('topic', 'pub', '--once', '/orders', 'std_msgs/msg/String', 'data: left')
        assert text.endswith("publisher: beginning loop\npublishing #1: std_msgs.msg.String(data='left')\n\n")
        refusal = ros2('topic', 'pub', '-1', '--max-wait-time-secs', '0.5', '/nobody', 'std_msgs/msg/String')
        assert refusal.returncode == 1
        assert refusal.stderr == (
            'Timed out waiting for subscribers: Expected 1 subscribers but only got 0 subscribers\n'
        )

    def test_publishes_as_often_as_asked_and_prints_every_nth(self, ros2: Ros2):
        lines = ros2.read(
            'topic', 'pub', '-t', '4', '-r', '50', '-p', '2', '-w', '0', '/x', 'std_msgs/msg/String'
        ).split('\n')
        assert [line for line in lines if line.startswith('publishing')] == [
            "publishing #2: std_msgs.msg.String(data='')",
            "publishing #4: std_msgs.msg.String(data='')",
        ]

    @pytest.mark.parametrize(
        ('message_type', 'values', 'complaint'),
        [
            ('std_msgs/msg/Nope', '{}', "package 'std_msgs' has no message 'Nope'"),
            ('nope/msg/String', '{}', "no module named 'nope"),
            ('std_msgs/msg/String', '{text: x}', "no field 'text'; expected one of: data"),
            ('std_msgs/msg/String', 'x', 'needs to be a dictionary'),
            ('std_msgs/msg/String', '{data: [', 'not YAML'),
            ('sensor_msgs/msg/Image', '{height: 1.5}', "'height' expects uint32, got 1.5"),
            ('sensor_msgs/msg/Image', '{data: [256]}', "'data'"),
            ('geometry_msgs/msg/PoseWithCovariance', '{covariance: [1]}', "'covariance' expects 36 values"),
            ('sensor_msgs/msg/PointCloud2', '{fields: [{name: x}, 3]}', "'fields[1]' expects a dictionary of fields"),
        ],
    )
    def test_refuses_what_does_not_fit(self, ros2: Ros2, message_type: str, values: str, complaint: str):
        assert complaint in ros2.refuse('topic', 'pub', '--once', '/x', message_type, values)


@pytest.mark.usefixtures('nodes')
class TestNode:
    def test_list_shows_full_names(self, ros2: Ros2):
        assert ros2.read('node', 'list').split() == ['/radar/managed', '/talker']

    def test_info_shows_what_a_node_offers(self, ros2: Ros2):
        lines = ros2.read('node', 'info', '/talker').splitlines()
        assert lines[:4] == ['/talker', '  Subscribers:', '    /orders: std_msgs/msg/String', '  Publishers:']
        assert '    /camera/image_raw: sensor_msgs/msg/Image' in lines
        assert lines.index('    /reset: std_srvs/srv/Trigger') > lines.index('  Service Servers:')
        assert lines[-4:] == ['  Action Servers:', '', '  Action Clients:', '']

    def test_unknown_nodes_are_refused_by_every_command(self, ros2: Ros2):
        quick = ('--spin-time', '0.3')
        node, parameter, state = ros2.refuse_each(
            ('node', 'info', '/nope', *quick),
            ('param', 'get', '/nope', 'gain', *quick),
            ('lifecycle', 'get', '/talker', *quick),
        )
        assert "'/nope'" in node
        assert "'/nope'" in parameter
        assert "'/talker' has no lifecycle" in state


@pytest.mark.usefixtures('nodes')
class TestParam:
    def test_list_groups_by_node(self, ros2: Ros2):
        text, types = ros2.read_each(
            ('param', 'list'), ('param', 'list', '/talker', '--param-type', '--filter', 'detector')
        )
        assert text.index('/radar/managed:\n') < text.index(
            '/talker:\n  detector.guard_cells\n  detector.window\n  gain\n'
        )
        assert types == '  detector.guard_cells (type: integer)\n  detector.window (type: double array)\n'

    def test_get_shows_the_type(self, ros2: Ros2):
        labelled, bare = ros2.read_each(
            ('param', 'get', '/talker', 'detector.window'), ('param', 'get', '--hide-type', 'talker', 'serial')
        )
        assert labelled == 'Double values are: [0.25, 0.5]\n'
        assert bare == 'A1\n'
        assert "no parameter 'nope'" in ros2.refuse('param', 'get', '/talker', 'nope')

    def test_set_changes_a_value_or_says_why_not(self, ros2: Ros2):
        assert ros2.read('param', 'set', '/talker', 'gain', '2.5') == 'Set parameter successful\n'
        assert ros2.read('param', 'get', '/talker', 'gain') == 'Double value is: 2.5\n'
        assert ros2.refuse('param', 'set', '/talker', 'label', 'tree') == 'Setting parameter failed: trees do not move'

    def test_describe_shows_range_and_access(self, ros2: Ros2):
        lines = ros2.read('param', 'describe', '/talker', 'gain', 'serial').splitlines()
        assert lines == [
            'Parameter name: gain',
            '  Type: double',
            '  Description: Amplification',
            '  Constraints:',
            '    Min value: 0.0',
            '    Max value: 10.0',
            '    Step: 0.5',
            'Parameter name: serial',
            '  Type: string',
            '  Constraints:',
            '    Read only: true',
        ]

    def test_what_dump_writes_load_reads(self, ros2: Ros2, tmp_path: Path):
        document = yaml.safe_load(ros2.read('param', 'dump', '/talker'))
        parameters = document['/talker']['ros__parameters']
        assert parameters['detector']['guard_cells'] == 2
        path = tmp_path / 'talker.yaml'
        path.write_text(
            yaml.safe_dump(
                {
                    '/**': {'ros__parameters': {'label': 'any', 'detector': {'guard_cells': 3}}},
                    '/talker': {'ros__parameters': {'label': '1'}},
                    '/other': {'ros__parameters': {'label': 'other'}},
                }
            )
        )
        assert sorted(ros2.read('param', 'load', '/talker', str(path)).splitlines()) == [
            'Set parameter detector.guard_cells successful',
            'Set parameter label successful',
        ]
        assert ros2.read('param', 'get', '/talker', 'label') == 'String value is: 1\n'
        assert "no parameters for node '/radar/managed'" in ros2.refuse(
            'param', 'load', '--no-use-wildcard', '/radar/managed', str(path)
        )


@pytest.mark.usefixtures('nodes')
def test_lifecycle_walks_a_node_through_its_states(ros2: Ros2):
    names, states, transitions = ros2.read_each(
        ('lifecycle', 'nodes'), ('lifecycle', 'get'), ('lifecycle', 'list', 'radar/managed')
    )
    assert names == '/radar/managed\n'
    assert states == '/radar/managed: unconfigured [1]\n'
    assert transitions.startswith('- configure [1]\n\tStart: unconfigured\n\tGoal: configuring\n')
    unknown = ros2('lifecycle', 'set', '/radar/managed', 'activate')
    assert unknown.returncode == 1
    assert unknown.stderr.startswith('Unknown transition requested, available ones are:\n- configure [1]\n')
    assert ros2.read('lifecycle', 'set', '/radar/managed', 'configure') == 'Transitioning successful\n'
    assert ros2.read('lifecycle', 'get', '/radar/managed') == 'inactive [2]\n'
    assert ros2.refuse('lifecycle', 'set', '/radar/managed', '3') == 'Transitioning failed'


@pytest.mark.usefixtures('nodes')
class TestService:
    def test_list_find_and_type(self, ros2: Ros2):
        services, found, kind = ros2.read_each(
            ('service', 'list', '-t'), ('service', 'find', 'std_srvs/srv/SetBool'), ('service', 'type', '/reset')
        )
        assert '/reset [std_srvs/srv/Trigger]' in services.splitlines()
        assert '/radar/managed/change_state [lifecycle_msgs/srv/ChangeState]' in services.splitlines()
        assert found == '/switch\n'
        assert kind == 'std_srvs/srv/Trigger\n'
        assert '/nope' in ros2.refuse('service', 'type', '/nope', '--spin-time', '0.3')

    def test_call_prints_request_and_response(self, ros2: Ros2):
        assert ros2.read('service', 'call', '/switch', 'std_srvs/srv/SetBool', '{data: true}') == (
            'requester: making request: std_srvs.srv.SetBool_Request(data=True)\n\n'
            "response:\nstd_srvs.srv.SetBool_Response(success=True, message='on')\n\n"
        )

    def test_call_refuses_what_does_not_fit(self, ros2: Ros2):
        refuse = ros2.refuse
        assert "'data' expects true or false" in refuse(
            'service', 'call', '/switch', 'std_srvs/srv/SetBool', '{data: 2}'
        )
        assert "has no service 'Nope'" in refuse('service', 'call', '/switch', 'std_srvs/srv/Nope')


class TestInterface:
    def test_show_expands_nested_types_and_keeps_the_outer_comments(self, ros2: Ros2, prefix: dict[str, str]):
        assert ros2.read('interface', 'show', 'demo/msg/Outer', env=prefix) == (
            '# Outside.\n\nstring NAME="a#b"  # constant\n'
            'Inner[<=2] inners # some\n\tfloat32 range\nfloat64[3] position\n'
        )
        assert ros2.read('interface', 'show', '--all-comments', 'demo/srv/Ask', env=prefix) == (
            'demo/Inner question\n\t# Inside.\n\tfloat32 range  # m\n---\nbool answer\n'
        )
        assert ros2.read('interface', 'show', '--no-comments', 'demo/Outer', env=prefix) == (
            'string NAME="a#b"\nInner[<=2] inners\n\tfloat32 range\nfloat64[3] position\n'
        )

    def test_lists_interfaces_of_packages(self, ros2: Ros2, prefix: dict[str, str]):
        names = 'demo/msg/Inner\ndemo/msg/Outer\ndemo/srv/Ask\n'
        assert ros2.read('interface', 'package', 'demo', env=prefix) == names
        assert ros2.read('interface', 'package', 'demo', '-s', env=prefix) == 'demo/srv/Ask\n'
        text = ros2.read('interface', 'list', env=prefix)
        assert text.index('Messages:\n') < text.index('    demo/msg/Outer\n') < text.index('Services:\n')
        assert 'std_msgs' in ros2.read('interface', 'packages', '-m', env=prefix).split()

    def test_unknown_interfaces_are_refused(self, ros2: Ros2, prefix: dict[str, str]):
        for name in ('demo/msg/Nope', 'nope/msg/Inner', 'Nope', 'demo/msg/../Inner'):
            assert name.split('/')[0] in ros2.refuse('interface', 'show', name, env=prefix)


class TestRunAndPkg:
    def test_run_hands_on_arguments_and_exit_code(self, ros2: Ros2, prefix: dict[str, str]):
        result = ros2('run', '--prefix', 'env X=1', 'demo', 'tool', '--help', '-a', 'b', env=prefix)
        assert (result.returncode, result.stdout) == (7, 'got:--help -a b\n')

    @pytest.mark.parametrize('whole_group', [True, False])
    def test_ctrl_c_reaches_the_executable(self, ros2: Ros2, prefix: dict[str, str], whole_group: bool):
        process = ros2.start('run', 'demo', 'tool', 'wait', env=prefix, stdin=subprocess.PIPE, start_new_session=True)
        assert process.stdout.readline() == 'got:wait\n'
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        assert process.communicate(timeout=10)[0] == 'stopped\n'
        assert process.returncode == 5

    def test_pkg_knows_prefix_and_executables(self, ros2: Ros2, prefix: dict[str, str], tmp_path: Path):
        assert ros2.read('pkg', 'prefix', 'demo', env=prefix) == f'{tmp_path}\n'
        assert ros2.read('pkg', 'prefix', '--share', 'demo', env=prefix) == f'{tmp_path}/share/demo\n'
        assert ros2.read('pkg', 'executables', 'demo', env=prefix) == 'demo tool\n'
        assert 'demo' in ros2.read('pkg', 'list', env=prefix).split()

    def test_unknown_packages_and_executables_are_refused(self, ros2: Ros2, prefix: dict[str, str]):
        assert "Package 'nope' not found" in ros2.refuse('run', 'nope', 'tool', env=prefix)
        assert "'nope' in package 'demo'; its executables: tool" in ros2.refuse('run', 'demo', 'nope', env=prefix)
        assert "Package 'nope' not found" in ros2.refuse('pkg', 'prefix', 'nope', env=prefix)
        assert 'AMENT_PREFIX_PATH is not set' in ros2.refuse('pkg', 'list', env={'AMENT_PREFIX_PATH': ''})


class TestLaunch:
    @pytest.fixture
    def launch_file(self, prefix: dict[str, str], tmp_path: Path) -> Path:
        pytest.importorskip('ros2launch')
        path = tmp_path / 'share' / 'demo' / 'launch' / 'say.launch.py'
        path.parent.mkdir()
        path.write_text(
            'from launch import LaunchDescription\n'
            'from launch.actions import DeclareLaunchArgument, ExecuteProcess\n'
            'from launch.substitutions import LaunchConfiguration\n'
            'def generate_launch_description():\n'
            "    word = DeclareLaunchArgument('word', default_value='hello', description='What to say')\n"
            "    say = ExecuteProcess(cmd=['echo', LaunchConfiguration('word')], output='screen')\n"
            '    return LaunchDescription([word, say])\n'
        )
        return path

    def test_launches_a_file_by_package_or_path(self, ros2: Ros2, prefix: dict[str, str], launch_file: Path):
        result = ros2('launch', 'demo', launch_file.name, 'word:=from_package', env=prefix)
        assert '[echo-1] from_package' in result.stdout + result.stderr
        assert result.returncode == 0
        result = ros2('launch', str(launch_file), 'word:=from_path', env=prefix)
        assert '[echo-1] from_path' in result.stdout + result.stderr

    def test_shows_the_arguments(self, ros2: Ros2, prefix: dict[str, str], launch_file: Path):
        text = ros2.read('launch', 'demo', launch_file.name, '--show-args', env=prefix)
        assert "    'word':\n        What to say\n        (default: 'hello')\n" in text

    def test_unknown_files_and_malformed_arguments_are_refused(
        self, ros2: Ros2, prefix: dict[str, str], launch_file: Path
    ):
        assert "'nope.launch.py' was not found" in ros2.refuse('launch', 'demo', 'nope.launch.py', env=prefix)
        assert "Package 'nope' not found" in ros2.refuse('launch', 'nope', launch_file.name, env=prefix)
        assert 'No launch file supplied' in ros2.refuse('launch', 'nope.launch.py', env=prefix)
        assert "malformed launch argument 'word'" in ros2.refuse('launch', str(launch_file), 'word', env=prefix)
