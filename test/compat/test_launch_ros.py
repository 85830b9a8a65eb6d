# SPDX-License-Identifier: Apache-2.0
"""Nodes in launch files: what reaches real nodes, with the real launch_ros or its stand-in."""

import importlib.util
import json
import os
import signal
import stat
import sys
import textwrap
from typing import Any

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('launch_ros.actions')

from ament_index_python.packages import PackageNotFoundError
from launch.actions import (
    EmitEvent,
    GroupAction,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration, SubstitutionFailure, TextSubstitution
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions
from launch_ros.actions import (
    LifecycleNode,
    LifecycleTransition,
    Node,
    PushROSNamespace,
    PushRosNamespace,
    ROSTimer,
    SetParameter,
    SetParametersFromFile,
    SetRemap,
    SetROSLogDir,
    SetUseSimTime,
)
from launch_ros.descriptions import Parameter
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.events.matchers import matches_node_name
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackagePrefix, FindPackageShare
from launch_ros.substitutions import Parameter as ParameterSubstitution
from launch_ros.utilities import evaluate_parameters, normalize_parameters
from lifecycle_msgs.msg import Transition
from ros_graph import Started

from launch import LaunchContext, LaunchDescription, LaunchService

# The original writes '1e3' without quotes, and the node reads a number.
ORIGINAL = importlib.util.find_spec('launch_ros.parameters') is None
# Prints what it knows of itself, then ends or, if asked to, spins; whoever reads the line may send a signal then.
REPORTER = """
import json, os, sys
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
rclpy.init()
node = Node('reporter', automatically_declare_parameters_from_overrides=True)
values = {name: list(p.value) if p.type_.name.endswith('ARRAY') else p.value for name, p in node._parameters.items()}
types = {name: p.type_.name for name, p in node._parameters.items()}
report = json.dumps({
    'name': node.get_fully_qualified_name(), 'topic': node.resolve_topic_name('chatter'), 'values': values,
    'types': types, 'arguments': sys.argv[1:sys.argv.index('--ros-args')], 'log': os.environ.get('ROS_LOG_DIR'),
})
if 'spin' not in sys.argv:
    print(report, flush=True)
else:
    def say():
        timer.cancel()
        print(report, flush=True)
    timer = node.create_timer(0.01, say)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        print('interrupted', flush=True)
    node.destroy_node()
    rclpy.try_shutdown()
"""
MANAGED = """
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode
rclpy.init()
try:
    rclpy.spin(LifecycleNode('managed'))
except (KeyboardInterrupt, ExternalShutdownException):
    pass
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A package named a_package with the executables reporter and managed, and log files in a folder of the test."""
    before = dict(os.environ)
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path}:{os.environ.get("AMENT_PREFIX_PATH", "")}'.rstrip(':'))
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    for name in ('a_package', 'empty_package'):
        (index / name).touch()
        (tmp_path / 'share' / name).mkdir()
    folder = tmp_path / 'lib' / 'a_package'
    folder.mkdir(parents=True)
    for name, code in (('reporter', REPORTER), ('managed', MANAGED)):
        (folder / name).write_text(f'#!{sys.executable}\n{code}')
        (folder / name).chmod(0o755)
    (folder / 'not_executable').touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def own_graph(graph, monkeypatch):
    """The nodes of the launch in the ROS domain of the test."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(graph.domain_id))
    return graph


def run(*entities):
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription(entities))
    return service.run()


def reporter(**settings):
    return Node(package='a_package', executable='reporter', cached_output=True, **settings)


def report(node):
    """What the node has printed of itself."""
    return json.loads(node.get_stdout().splitlines()[0])


def perform(substitution):
    return perform_substitutions(LaunchContext(), normalize_to_list_of_substitutions(substitution))


def evaluate(parameters: dict[Any, Any], **configurations):
    context = LaunchContext()
    context.launch_configurations.update(configurations)
    (evaluated,) = evaluate_parameters(context, normalize_parameters([parameters]))
    return evaluated


class TestPackages:
    def test_folders_and_executables_of_packages_are_found(self, package):
        assert perform(FindPackagePrefix('a_package')) == str(package)
        assert perform(FindPackageShare(['a_', TextSubstitution(text='package')])) == str(
            package / 'share' / 'a_package'
        )
        found = perform(ExecutableInPackage(package='a_package', executable='reporter'))
        assert found == str(package / 'lib' / 'a_package' / 'reporter')

    def test_an_unknown_package_is_named_with_the_places_searched(self, package):
        with pytest.raises(PackageNotFoundError, match=rf"package 'no_package' not found, searching: .*{package}"):
            perform(FindPackageShare('no_package'))
        assert run(Node(package='no_package', executable='reporter')) == 1

    @pytest.mark.parametrize(('name', 'executable'), [('a_package', 'absent'), ('a_package', 'not_executable')])
    def test_an_unknown_executable_is_named_with_the_folder(self, package, name, executable):
        with pytest.raises(SubstitutionFailure, match=f"'{executable}' not found .*{package}/lib/{name}"):
            perform(ExecutableInPackage(package=name, executable=executable))
        assert run(Node(package=name, executable=executable)) == 1

    def test_a_package_without_executables_is_named(self, package):
        with pytest.raises(SubstitutionFailure, match=f"'empty_package' .*{package}/lib/empty_package"):
            perform(ExecutableInPackage(package='empty_package', executable='reporter'))

    def test_without_a_package_the_executable_is_a_path(self, own_graph, package):
        node = Node(executable=[str(package), '/lib/a_package/reporter'], cached_output=True)
        assert run(node) == 0
        assert report(node)['name'] == '/reporter'


class TestNames:
    def test_name_namespace_remappings_and_arguments_reach_the_node(self, own_graph):
        node = reporter(
            name=['my_', LaunchConfiguration('suffix')],
            namespace='radar',
            remappings=[('chatter', ['a/', LaunchConfiguration('suffix')])],
            arguments=['--fast', LaunchConfiguration('suffix')],
            ros_arguments=['--log-level', 'warn'],
        )
        assert run(SetLaunchConfiguration('suffix', 'node'), node) == 0
        seen = report(node)
        assert (seen['name'], seen['topic'], seen['arguments']) == (
            '/radar/my_node',
            '/radar/a/node',
            ['--fast', 'node'],
        )
        assert node.node_name == '/radar/my_node'
        assert node.is_node_name_fully_specified()
        assert node.expanded_node_namespace == '/radar'

    def test_a_scope_gives_namespace_remappings_and_parameters_to_its_nodes_only(self, own_graph, package):
        parameter_file = package / 'all.yaml'
        parameter_file.write_text('/**:\n  ros__parameters:\n    from_file: 3\n')
        inside, outside = reporter(namespace='front', parameters=[{'own': 1}]), reporter()
        group = GroupAction(
            [
                PushROSNamespace('car'),
                PushRosNamespace('radars'),
                SetRemap('chatter', 'talk'),
                SetParameter('use_sim_time', True),
                SetParameter(name='rate', value=2.5),
                SetParameter('frame', 'radar'),
                SetParametersFromFile(str(parameter_file)),
                inside,
            ]
        )
        assert run(group, outside) == 0
        seen = report(inside)
        assert (seen['name'], seen['topic']) == ('/car/radars/front/reporter', '/car/radars/front/talk')
        expected = {'use_sim_time': True, 'rate': 2.5, 'frame': 'radar', 'from_file': 3, 'own': 1}
        assert {name: seen['values'][name] for name in expected} == expected
        seen = report(outside)
        assert (seen['name'], seen['topic']) == ('/reporter', '/chatter')
        assert not {'rate', 'frame', 'from_file'} & set(seen['values'])
        assert seen['values']['use_sim_time'] is False

    def test_an_absolute_namespace_does_not_care_for_the_scope(self):
        node = reporter(namespace='/front', name='n')
        context = LaunchContext()
        PushRosNamespace('car').execute(context)
        node._perform_substitutions(context)
        assert node.node_name == '/front/n'

    @pytest.mark.parametrize(
        'names', [{'name': 'no good'}, {'name': '1st'}, {'namespace': 'a//b'}, {'namespace': 'a-b'}]
    )
    def test_names_that_ros_does_not_allow_are_refused(self, names):
        assert run(reporter(**names)) == 1
        if 'namespace' in names:
            with pytest.raises(SubstitutionFailure, match=names['namespace']):
                PushRosNamespace(names['namespace']).execute(LaunchContext())

    @pytest.mark.parametrize('remappings', [{'a': 'b'}, [{'a': 'b'}], [('a', 'b', 'c')], [['a', 'b']]])
    def test_remappings_are_tuples(self, remappings):
        with pytest.raises(TypeError):
            reporter(remappings=remappings)

    def test_nodes_are_matched_by_name(self):
        node = reporter(name='n', namespace='radar')
        with pytest.raises(RuntimeError, match='before'):
            _ = node.node_name
        node._perform_substitutions(LaunchContext())
        assert matches_node_name('/radar/n')(node)
        assert matches_node_name('radar/n')(node)
        assert not matches_node_name('/n')(node)


class TestParameters:
    GIVEN = {
        'flag': True,
        'count': 3,
        'rate': 2.5,
        'tiny': 1e-05,
        'text': 'text',
        'number_text': '1e3',
        'flag_text': 'on',
        'empty_text': '',
        'lines': 'one\ntwo: "three" \\ ü',
        'list': {'flags': [True, False], 'counts': (1, 2), 'rates': [1, 2.5], 'texts': ['1', 'b', 'off']},
        'read': {
            'count': LaunchConfiguration('count'),
            'rate': [LaunchConfiguration('count'), '.5'],
            'text': ParameterValue(LaunchConfiguration('count'), value_type=str),
            'float': ParameterValue(LaunchConfiguration('count'), value_type=float),
            'texts': ['a', [LaunchConfiguration('word')]],
            'counts': [[LaunchConfiguration('count')], [LaunchConfiguration('count')]],
            'empty': TextSubstitution(text=''),
        },
        ('joined_', LaunchConfiguration('word')): 1,
    }
    EXPECTED = {
        'flag': (True, 'BOOL'),
        'count': (3, 'INTEGER'),
        'rate': (2.5, 'DOUBLE'),
        'tiny': (1e-05, 'DOUBLE'),
        'text': ('text', 'STRING'),
        'number_text': ('1e3', 'STRING'),
        'flag_text': ('on', 'STRING'),
        'empty_text': ('', 'STRING'),
        'lines': ('one\ntwo: "three" \\ ü', 'STRING'),
        'list.flags': ([True, False], 'BOOL_ARRAY'),
        'list.counts': ([1, 2], 'INTEGER_ARRAY'),
        'list.rates': ([1.0, 2.5], 'DOUBLE_ARRAY'),
        'list.texts': (['1', 'b', 'off'], 'STRING_ARRAY'),
        'read.count': (7, 'INTEGER'),
        'read.rate': (7.5, 'DOUBLE'),
        'read.text': ('7', 'STRING'),
        'read.float': (7.0, 'DOUBLE'),
        'read.texts': (['a', 'word'], 'STRING_ARRAY'),
        'read.counts': ([7, 7], 'INTEGER_ARRAY'),
        'read.empty': ('', 'STRING'),
        'joined_word': (1, 'INTEGER'),
    }

    @pytest.mark.parametrize('names', [{}, {'name': 'n', 'namespace': 'radar'}])
    def test_values_keep_their_types_on_the_way_to_the_node(self, own_graph, names):
        node = reporter(parameters=[self.GIVEN], **names)
        settings = [SetLaunchConfiguration('count', '7'), SetLaunchConfiguration('word', 'word')]
        assert run(*settings, node) == 0
        seen = report(node)
        expected = {name: value for name, value in self.EXPECTED.items() if not (ORIGINAL and name == 'number_text')}
        assert {name: (seen['values'][name], seen['types'][name]) for name in expected} == expected

    def test_later_parameters_go_before_earlier_ones(self, own_graph, package):
        (package / 'a.yaml').write_text('/**:\n  ros__parameters:\n    a: 2\n    b: 2\n    c: 2\n')
        node = reporter(
            parameters=[
                {'a': 1, 'b': 1, 'd': 1},
                package / 'a.yaml',
                {'b': 3, 'c': 3},
                Parameter('c', LaunchConfiguration('four', default='4'), value_type=int),
            ]
        )
        assert run(node) == 0
        assert {name: report(node)['values'][name] for name in 'abcd'} == {'a': 2, 'b': 3, 'c': 4, 'd': 1}

    def test_a_file_is_for_the_nodes_that_it_names(self, own_graph, package):
        path = package / 'params.yaml'
        path.write_text('/radar/n:\n  ros__parameters:\n    a: 1\n/other:\n  ros__parameters:\n    b: 1\n')
        node = reporter(name='n', namespace='radar', parameters=[str(path)])
        assert run(node) == 0
        values = report(node)['values']
        assert values['a'] == 1
        assert 'b' not in values

    def test_substitutions_in_a_file_are_performed_if_asked_to(self, own_graph, package, monkeypatch):
        monkeypatch.setenv('LAUNCH_TEST_RANGE', '12.5')
        path = package / 'params.yaml'
        path.write_text(
            textwrap.dedent(
                """
                /**:
                  ros__parameters:
                    max_range: $(env LAUNCH_TEST_RANGE)
                    share: $(find-pkg-share a_package)/config
                    bag: '$(var bag)'
                    other: "$(env LAUNCH_TEST_ABSENT 'a b')"
                    dollar: 5$
                """
            )
        )
        node = reporter(parameters=[ParameterFile(LaunchConfiguration('file'), allow_substs=True)])
        assert run(SetLaunchConfiguration('file', str(path)), SetLaunchConfiguration('bag', '7'), node) == 0
        values = report(node)['values']
        assert values['max_range'] == 12.5
        assert values['share'] == f'{package}/share/a_package/config'
        assert (values['bag'], values['other'], values['dollar']) == ('7', 'a b', '5$')

    def test_a_file_that_is_no_yaml_after_substitution_is_refused(self, package):
        path = package / 'params.yaml'
        path.write_text('a: [$(env HOME)')
        with pytest.raises(SubstitutionFailure):
            ParameterFile(str(path), allow_substs=True).evaluate(LaunchContext())

    def test_a_file_that_is_not_there_does_not_stop_the_node(self, own_graph):
        node = reporter(parameters=['/no/such/file.yaml', {'a': 1}])
        assert run(node) == 0
        assert report(node)['values']['a'] == 1
        assert '/no/such/file.yaml' not in node.cmd

    @pytest.mark.parametrize(
        'parameters',
        [{'a': 1}, 'file.yaml', [5.0], [{5: 'a'}], [{'a': {1, 2}}], [{'a': [1, [2, 3]]}], [{'a': {'b': object()}}]],
    )
    def test_other_types_are_refused_where_the_node_is_described(self, parameters):
        with pytest.raises(TypeError):
            reporter(parameters=parameters)

    @pytest.mark.parametrize(
        'value',
        [
            [True, 1],
            [[TextSubstitution(text='1')], 'a'],
            TextSubstitution(text='{a: 1}'),
            TextSubstitution(text='[1, a]'),
            TextSubstitution(text='[]'),
            TextSubstitution(text='a: b: c'),
            [],
        ],
    )
    def test_values_that_parameters_cannot_have_are_refused_with_a_reason(self, value):
        with pytest.raises(TypeError):
            evaluate({'named': value})

    def test_strings_stay_strings_and_substitutions_are_read(self):
        assert evaluate({'a': '1', 'b': TextSubstitution(text='1')}) == {'a': '1', 'b': 1}

    def test_a_value_that_is_not_of_its_type_is_refused(self):
        with pytest.raises(ValueError, match='many'):
            evaluate({'a': ParameterValue(LaunchConfiguration('count'), value_type=int)}, count='many')

    def test_parameters_of_the_scope_can_be_read(self):
        context = LaunchContext()
        SetParameter('rate', 2.5).execute(context)
        assert ParameterSubstitution('rate').perform(context) == '2.5'
        assert ParameterSubstitution('absent', default='x').perform(context) == 'x'
        with pytest.raises(SubstitutionFailure, match='absent'):
            ParameterSubstitution('absent').perform(context)


class TestRunning:
    def test_a_node_is_interrupted_and_ends_by_itself(self, own_graph, package):
        path = package / 'main.launch.py'
        path.write_text(
            textwrap.dedent(
                """
                from launch import LaunchDescription
                from launch_ros.actions import Node
                def generate_launch_description():
                    names = [{'exec_name': 'x', 'arguments': ['spin']}, {'name': 'n', 'namespace': 's'}]
                    names.append(names[1])
                    return LaunchDescription(
                        Node(package='a_package', executable='reporter', output='screen', **name) for name in names)
                """
            )
        )
        code = (
            'import sys; from ros2launch.api import launch_a_launch_file; sys.exit(launch_a_launch_file('
            'launch_file_path=sys.argv[1], launch_file_arguments=[], noninteractive=True))'
        )
        process = Started([sys.executable, '-c', code, path], {**os.environ})
        try:
            process.wait_for_line(r'\[x-1\] \{"name": "/reporter"')
            process.wait_for_line(r'2 nodes with the name /s/n')
            for ended in ('2', '3'):  # Fast DDS may hang when it ends while another process does (its issue 6513)
                process.wait_for_line(rf'\[reporter-{ended}\]: process has finished cleanly')
            assert process.stop(signal.SIGINT) == 0
        finally:
            process.kill()
        assert '[x-1] interrupted' in process.lines
        assert 'SIGTERM' not in process.output

    def test_the_log_folder_of_nodes_may_be_set_for_a_scope(self, own_graph, package):
        inside, outside = reporter(), reporter()
        assert run(GroupAction([SetROSLogDir('nodes'), inside]), outside) == 0
        assert report(inside)['log'] == str(package / 'log' / 'nodes')
        assert report(outside)['log'] == str(package / 'log')

    def test_a_timer_by_the_clock_of_ros_fires(self, own_graph):
        said = []
        timer = ROSTimer(period=0.1, actions=[OpaqueFunction(function=lambda context: said.append('late'))])
        assert run(timer) == 0
        assert said == ['late']

    def test_a_timer_by_a_clock_that_stands_still_does_not_fire(self, own_graph):
        said = []
        timer = ROSTimer(period=0.1, actions=[OpaqueFunction(function=lambda context: said.append('late'))])
        node = reporter(on_exit=Shutdown())
        assert run(SetUseSimTime(True), timer, node) == 0
        assert said == []


class TestLifecycle:
    @staticmethod
    def managed():
        return LifecycleNode(package='a_package', executable='managed', name='managed', namespace='radar')

    def test_a_lifecycle_node_changes_its_state_on_events_and_tells_of_it(self, own_graph):
        node, states = self.managed(), []

        def change(transition_id):
            matcher = matches_node_name('/radar/managed')
            return EmitEvent(event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition_id))

        def remember(context):
            states.append((context.locals.event.start_state, context.locals.event.goal_state))

        assert (
            run(
                node,
                RegisterEventHandler(OnStateTransition(entities=[OpaqueFunction(function=remember)])),
                RegisterEventHandler(
                    OnStateTransition(
                        target_lifecycle_node=node,
                        start_state='configuring',
                        goal_state='inactive',
                        entities=[change(Transition.TRANSITION_ACTIVATE)],
                    )
                ),
                RegisterEventHandler(
                    OnStateTransition(target_lifecycle_node=node, goal_state='active', entities=[Shutdown()])
                ),
                change(Transition.TRANSITION_CONFIGURE),
            )
            == 0
        )
        assert states[-1] == ('activating', 'active')
        assert ('configuring', 'inactive') in states

    def test_a_lifecycle_node_is_led_through_transitions(self, own_graph):
        node = self.managed()
        lead = LifecycleTransition(
            lifecycle_node_names=['/radar/managed'],
            transition_ids=[
                Transition.TRANSITION_CONFIGURE,
                Transition.TRANSITION_ACTIVATE,
                Transition.TRANSITION_DEACTIVATE,
            ],
        )
        done = OnStateTransition(start_state='deactivating', goal_state='inactive', entities=[Shutdown()])
        assert run(node, RegisterEventHandler(done), lead) == 0

    def test_name_and_namespace_of_a_lifecycle_node_must_be_given(self):
        with pytest.raises(TypeError):
            LifecycleNode(package='a_package', executable='managed', name='managed')

    def test_an_unknown_transition_is_refused(self):
        with pytest.raises(ValueError, match='99'):
            ChangeState(lifecycle_node_matcher=lambda node: True, transition_id=99)
        with pytest.raises(ValueError, match='No transition_ids'):
            LifecycleTransition(lifecycle_node_names=['/n'], transition_ids=[])
