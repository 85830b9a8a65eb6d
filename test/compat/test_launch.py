# SPDX-License-Identifier: Apache-2.0
"""Launch files, arguments, processes and their end, with the real launch or its stand-in."""

import asyncio
import importlib.util
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip('launch.actions')
pytest.importorskip('ros2launch.api')

from launch.actions import (
    AppendEnvironmentVariable,
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueCoroutine,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
    UnregisterEventHandler,
    UnsetEnvironmentVariable,
    UnsetLaunchConfiguration,
)
from launch.conditions import (
    IfCondition,
    InvalidConditionExpressionError,
    LaunchConfigurationEquals,
    LaunchConfigurationNotEquals,
    UnlessCondition,
)
from launch.event import Event
from launch.event_handlers import (
    OnExecutionComplete,
    OnProcessExit,
    OnProcessIO,
    OnProcessStart,
    OnShutdown,
)
from launch.events import matches_action
from launch.events.process import ShutdownProcess, SignalProcess, matches_name, matches_pid
from launch.launch_description_sources import (
    AnyLaunchDescriptionSource,
    InvalidPythonLaunchFileError,
    PythonLaunchDescriptionSource,
    get_launch_description_from_any_launch_file,
)
from launch.substitutions import (
    AllSubstitution,
    AndSubstitution,
    AnonName,
    AnySubstitution,
    Command,
    EnvironmentVariable,
    EqualsSubstitution,
    FileContent,
    FindExecutable,
    IfElseSubstitution,
    LaunchConfiguration,
    LaunchLogDir,
    LocalSubstitution,
    NotEqualsSubstitution,
    NotSubstitution,
    OrSubstitution,
    PathJoinSubstitution,
    PythonExpression,
    SubstitutionFailure,
    TextSubstitution,
    ThisLaunchFileDir,
)
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions
from launch.utilities.type_utils import (
    get_typed_value,
    normalize_typed_substitution,
    perform_typed_substitution,
)
from ros2launch.api import (
    MultipleLaunchFilesError,
    get_share_file_path_from_package,
    launch_a_launch_file,
    print_a_launch_file,
    print_arguments_of_launch_file,
)
from ros_graph import Started

from launch import (
    EventHandler,
    InvalidLaunchFileError,
    LaunchContext,
    LaunchDescription,
    LaunchDescriptionSource,
    LaunchService,
)

stand_in_only = pytest.mark.skipif(
    importlib.util.find_spec('launch.child_process') is None, reason='the original leaves such processes behind'
)
RUNNER = """
import sys
from ros2launch.api import launch_a_launch_file
path, *arguments = sys.argv[1:]
interactive = '--interactive' in arguments
arguments = [argument for argument in arguments if argument != '--interactive']
sys.exit(launch_a_launch_file(
    launch_file_path=path, launch_file_arguments=arguments, noninteractive=not interactive))
"""
IMPORTS = """
import os, signal, sys
from launch import LaunchDescription
from launch.actions import *
from launch.conditions import *
from launch.substitutions import *
from launch.event_handlers import *
"""
# Says when it is ready, and with which signals it was asked to end; the argument tells how many of them it ignores.
STUBBORN = """
import os, signal, sys, time
patience = int(sys.argv[1]) if len(sys.argv) > 1 else 0
def on_signal(number, frame):
    global patience
    os.write(1, f'got {signal.Signals(number).name}\\n'.encode())
    if patience == 0:
        sys.exit(0)
    patience -= 1
signal.signal(signal.SIGINT, on_signal)
signal.signal(signal.SIGTERM, on_signal)
print('ready', flush=True)
while True:
    time.sleep(0.1)
"""


@pytest.fixture(autouse=True)
def own_environment(tmp_path, monkeypatch):
    """Log files in a folder of the test, and an environment that is as before afterwards."""
    before = dict(os.environ)
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    monkeypatch.delenv('OVERRIDE_LAUNCH_PROCESS_OUTPUT', raising=False)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def context():
    return LaunchContext()


@pytest.fixture
def launched(tmp_path):
    """Start a launch file, given by the body of generate_launch_description(), in a process of its own."""
    started = []
    (tmp_path / 'stubborn.py').write_text(STUBBORN)

    def start(body, *arguments, environment=None, name='main.launch.py'):
        path = write_launch_file(tmp_path / name, body)
        settings = {**os.environ, 'PYTHONUNBUFFERED': '1', **(environment or {})}
        process = Started([sys.executable, '-c', RUNNER, path, *arguments], settings, cwd=tmp_path)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def write_launch_file(path, body):
    path.write_text(
        f'{IMPORTS}\ndef generate_launch_description():\n{textwrap.indent(textwrap.dedent(body), "    ")}\n'
    )
    return path


def run(*entities, **settings):
    """Launch entities in this process; the exit code."""
    service = LaunchService(**settings)
    service.include_launch_description(LaunchDescription(entities))
    return service.run()


def python(code, *arguments, **settings):
    return ExecuteProcess(cmd=[sys.executable, '-S', '-c', textwrap.dedent(code), *arguments], **settings)


def perform(substitution, **configurations):
    context = LaunchContext()
    context.launch_configurations.update(configurations)
    return perform_substitutions(context, normalize_to_list_of_substitutions(substitution))


def note(list_, text):
    """An action that appends a text to a list."""
    return OpaqueFunction(function=lambda context: list_.append(perform_in(context, text)))


def perform_in(context, text):
    return perform_substitutions(context, normalize_to_list_of_substitutions(text))


def children_are_gone(pids, timeout=10.0):
    """Tell whether processes have ended; zombies have."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        states = [Path(f'/proc/{pid}/stat') for pid in pids]
        if not any(path.exists() and path.read_text().rpartition(')')[2].split()[0] != 'Z' for path in states):
            return True
        time.sleep(0.05)
    return False


class TestArguments:
    def test_the_default_value_holds_where_no_value_is_given(self, context):
        DeclareLaunchArgument('rate', default_value=['1', TextSubstitution(text='0')]).visit(context)
        assert context.launch_configurations['rate'] == '10'

    def test_a_given_value_goes_before_the_default_value(self, context):
        context.launch_configurations['rate'] = '20'
        DeclareLaunchArgument('rate', default_value='10').visit(context)
        assert context.launch_configurations['rate'] == '20'

    def test_a_value_must_be_among_the_choices(self, context):
        argument = DeclareLaunchArgument('source', choices=['bag', 'simulator'])
        context.launch_configurations['source'] = 'bag'
        argument.visit(context)
        context.launch_configurations['source'] = 'camera'
        with pytest.raises(RuntimeError, match=r'"source".*"camera".*bag'):
            argument.visit(context)

    def test_the_default_value_must_be_among_the_choices(self):
        with pytest.raises(RuntimeError, match='bag'):
            DeclareLaunchArgument('source', default_value='camera', choices=['bag'])

    def test_there_must_be_choices_if_any(self):
        with pytest.raises(RuntimeError, match='empty'):
            DeclareLaunchArgument('source', choices=[])

    def test_an_argument_without_default_value_must_be_given(self, context):
        with pytest.raises(RuntimeError, match='"bag"'):
            DeclareLaunchArgument('bag').visit(context)

    def test_a_launch_description_knows_its_arguments_and_those_of_its_parts(self, tmp_path):
        inner = write_launch_file(
            tmp_path / 'inner.launch.py', "return LaunchDescription([DeclareLaunchArgument('in')])"
        )
        description = LaunchDescription(
            [
                DeclareLaunchArgument('out', default_value='1', description='outside'),
                GroupAction([DeclareLaunchArgument('group'), DeclareLaunchArgument('out')]),
                DeclareLaunchArgument('maybe', condition=IfCondition('true')),
                IncludeLaunchDescription(PythonLaunchDescriptionSource(str(inner))),
            ]
        )
        arguments = description.get_launch_arguments()
        assert [argument.name for argument in arguments] == ['out', 'group', 'maybe', 'in']
        assert arguments[0].description == 'outside'

    def test_arguments_of_a_launch_file_are_printed_with_description_default_and_choices(self, tmp_path, capsys):
        path = write_launch_file(
            tmp_path / 'a.launch.py',
            """
            return LaunchDescription([
                DeclareLaunchArgument('source', default_value='bag', description='of it', choices=['bag', 'topics']),
                DeclareLaunchArgument('bag'),
            ])
            """,
        )
        print_arguments_of_launch_file(launch_file_path=str(path))
        printed = capsys.readouterr().out
        assert re.search(r"'source':\n +of it.*'bag'.*'topics'.*\n +\(default: 'bag'\)", printed)
        assert "'bag':" in printed

    def test_an_argument_without_equals_sign_is_refused(self, tmp_path):
        path = write_launch_file(tmp_path / 'a.launch.py', 'return LaunchDescription([])')
        with pytest.raises(RuntimeError, match='malformed launch argument'):
            launch_a_launch_file(launch_file_path=str(path), launch_file_arguments=['source=bag'])

    def test_arguments_reach_a_launch_file_and_the_last_one_counts(self, launched):
        process = launched(
            """
            return LaunchDescription([
                DeclareLaunchArgument('source'),
                LogInfo(msg=['source is ', LaunchConfiguration('source')]),
            ])
            """,
            'source:=bag',
            'source:=to:=pics',
        )
        assert process.wait() == 0
        assert '[INFO] [launch.user]: source is to:=pics' in process.output

    def test_a_launch_file_without_a_required_argument_fails_and_names_it(self, launched):
        process = launched("return LaunchDescription([DeclareLaunchArgument('bag', description='what to play')])")
        assert process.wait() == 1
        assert 'bag' in process.output and 'what to play' in process.output

    def test_all_launch_arguments_are_strings(self, context):
        context.launch_configurations['rate'] = '2.5'
        value = normalize_typed_substitution(LaunchConfiguration('rate'), float)
        assert perform_typed_substitution(context, value, float) == 2.5


class TestTypedValues:
    @pytest.mark.parametrize(
        ('text', 'type_', 'value'),
        [
            ('3', int, 3),
            ('3', float, 3.0),
            ('3', str, '3'),
            ('on', bool, True),
            ('0', bool, False),
            ('[1, 2]', list[int], [1, 2]),
            ('[a, b]', list[str], ['a', 'b']),
            ('3', None, 3),
            ('3.5', None, 3.5),
            ('yes', None, True),
            ('text', None, 'text'),
            (['1', '2'], list[float], [1.0, 2.0]),
        ],
    )
    def test_a_text_becomes_a_value_of_the_type(self, text, type_, value):
        result = get_typed_value(text, type_)
        assert result == value
        assert type(result) is type(value)

    @pytest.mark.parametrize(
        ('text', 'type_'),
        [('3.5', int), ('x', float), ('2', bool), ('1', list[int]), ('[1, a]', list[int]), ('{a: 1}', None)],
    )
    def test_a_text_that_denotes_no_such_value_is_refused(self, text, type_):
        with pytest.raises(ValueError, match=re.escape(text)):
            get_typed_value(text, type_)

    def test_a_plain_value_must_be_of_the_type(self):
        with pytest.raises(TypeError):
            normalize_typed_substitution('true', bool)


class TestConditions:
    @pytest.mark.parametrize(
        ('text', 'holds'), [('true', True), ('True', True), (' 1 ', True), ('false', False), ('0', False)]
    )
    def test_an_action_is_executed_if_its_condition_holds(self, context, text, holds):
        context.launch_configurations['rviz'] = text
        said = []
        function = OpaqueFunction(
            function=lambda context: said.append('if'), condition=IfCondition(LaunchConfiguration('rviz'))
        )
        function.visit(context)
        assert said == (['if'] if holds else [])
        assert UnlessCondition(LaunchConfiguration('rviz')).evaluate(context) is not holds

    @pytest.mark.parametrize('text', ['', 'yes', '2'])
    def test_a_condition_that_is_neither_true_nor_false_is_an_error(self, context, text):
        with pytest.raises(InvalidConditionExpressionError, match=re.escape(f"'{text}'")):
            IfCondition(text).evaluate(context)

    @pytest.mark.filterwarnings('ignore::UserWarning')
    def test_a_launch_configuration_is_compared(self, context):
        context.launch_configurations['source'] = 'bag'
        assert LaunchConfigurationEquals('source', 'bag').evaluate(context)
        assert not LaunchConfigurationEquals('source', 'topics').evaluate(context)
        assert LaunchConfigurationNotEquals('source', ['top', 'ics']).evaluate(context)
        assert LaunchConfigurationEquals('absent', None).evaluate(context)
        assert not LaunchConfigurationNotEquals('absent', None).evaluate(context)


class TestSubstitutions:
    @pytest.mark.parametrize(
        ('substitution', 'text'),
        [
            (['a', TextSubstitution(text='b')], 'ab'),
            (LaunchConfiguration('source'), 'bag'),
            (LaunchConfiguration('absent', default='x'), 'x'),
            (LaunchConfiguration('absent', default=5), '5'),
            (LaunchConfiguration(['so', 'urce']), 'bag'),
            (PathJoinSubstitution(['/a', LaunchConfiguration('source'), 'c.yaml']), '/a/bag/c.yaml'),
            (PythonExpression(['"', LaunchConfiguration('source'), '" == "bag"']), 'True'),
            (PythonExpression(['int(ceil(', LaunchConfiguration('rate'), '))']), '3'),
            (PythonExpression(['math.floor(2.7)']), '2'),
            (PythonExpression(['os.sep'], python_modules=['os']), '/'),
            (Command('echo hello'), 'hello\n'),
            (Command(['sh -c "echo out; echo error >&2"'], on_stderr='capture'), 'out\nerror\n'),
            (EqualsSubstitution(LaunchConfiguration('source'), 'bag'), 'true'),
            (EqualsSubstitution('true', '1'), 'true'),
            (EqualsSubstitution(True, 'false'), 'false'),
            (EqualsSubstitution('2.50', LaunchConfiguration('rate')), 'true'),
            (NotEqualsSubstitution(LaunchConfiguration('source'), 'bag'), 'false'),
            (NotSubstitution('false'), 'true'),
            (AndSubstitution('true', EqualsSubstitution('a', 'a')), 'true'),
            (AndSubstitution('true', 'false'), 'false'),
            (OrSubstitution('false', '1'), 'true'),
            (AnySubstitution('false', 'no', 'true'), 'true'),
            (AllSubstitution('true', 'on', '0'), 'false'),
            (IfElseSubstitution('true', 'x', 'y'), 'x'),
            (IfElseSubstitution(EqualsSubstitution(LaunchConfiguration('source'), 'topics'), 'x', 'y'), 'y'),
            (IfElseSubstitution('false', if_value='x'), ''),
            (EnvironmentVariable('LAUNCH_TEST_UNSET', default_value='d'), 'd'),
            (EnvironmentVariable('LAUNCH_TEST_SET'), 'set'),
        ],
    )
    def test_a_substitution_has_a_text(self, monkeypatch, substitution, text):
        monkeypatch.setenv('LAUNCH_TEST_SET', 'set')
        monkeypatch.delenv('LAUNCH_TEST_UNSET', raising=False)
        assert perform(substitution, source='bag', rate='2.5') == text

    @pytest.mark.parametrize(
        ('substitution', 'named'),
        [
            (LaunchConfiguration('absent'), 'absent'),
            (EnvironmentVariable('LAUNCH_TEST_UNSET'), 'LAUNCH_TEST_UNSET'),
            (NotSubstitution('maybe'), 'maybe'),
            (AndSubstitution('maybe', 'true'), 'maybe'),
            (AnySubstitution('true', 'maybe'), 'maybe'),
            (IfElseSubstitution('maybe', 'a', 'b'), 'maybe'),
            (Command('false'), 'false'),
            (Command('launch_test_no_such_command'), 'launch_test_no_such_command'),
            (Command(['sh -c "echo oops >&2"']), 'oops'),
            (FindExecutable(name='launch_test_no_such_command'), 'not found on the PATH'),
            (FileContent('/launch_test_no_such_file'), 'launch_test_no_such_file'),
            (ThisLaunchFileDir(), 'launch file'),
        ],
    )
    def test_a_substitution_without_a_text_says_why(self, monkeypatch, substitution, named):
        monkeypatch.delenv('LAUNCH_TEST_UNSET', raising=False)
        with pytest.raises(SubstitutionFailure, match=named):
            perform(substitution)

    def test_files_and_executables_are_found(self, tmp_path):
        (tmp_path / 'a.txt').write_text('content')
        assert perform(FileContent(str(tmp_path / 'a.txt'))) == 'content'
        assert Path(perform(FindExecutable(name='sh'))).name == 'sh'
        assert Path(perform(LaunchLogDir())).is_dir()

    def test_an_anonymous_name_stays_the_same_in_a_launch(self, context):
        first = AnonName('node').perform(context)
        assert first == AnonName('node').perform(context)
        assert re.fullmatch(r'node_\w+', first)
        assert first != AnonName('node').perform(LaunchContext())

    def test_other_types_are_no_substitutions(self):
        with pytest.raises(TypeError):
            normalize_to_list_of_substitutions(['a', 5])


class TestScopes:
    def test_what_a_group_sets_ends_with_it(self):
        said = []
        value = LaunchConfiguration('value', default='-')
        variable = EnvironmentVariable('LAUNCH_TEST', default_value='-')
        settings = [
            SetLaunchConfiguration('value', 'inside'),
            SetEnvironmentVariable('LAUNCH_TEST', 'inside'),
            note(said, [value, variable]),
        ]
        assert run(GroupAction(settings), note(said, [value, variable])) == 0
        assert said == ['insideinside', '--']

    def test_what_an_unscoped_group_sets_lasts(self):
        said = []
        assert (
            run(
                GroupAction([], scoped=False, launch_configurations={'value': 'set'}),
                note(said, LaunchConfiguration('value')),
            )
            == 0
        )
        assert said == ['set']

    def test_a_group_that_forwards_nothing_begins_anew(self):
        said = []
        outside = LaunchConfiguration('outside', default='-')
        group = GroupAction(
            [note(said, [outside, LaunchConfiguration('kept')])],
            forwarding=False,
            launch_configurations={'kept': LaunchConfiguration('outside')},
        )
        assert run(SetLaunchConfiguration('outside', 'o'), group, note(said, outside)) == 0
        assert said == ['-o', 'o']

    def test_launch_configurations_and_environment_are_set_appended_and_removed(self):
        said = []
        shown = [LaunchConfiguration('a', default='-'), EnvironmentVariable('LAUNCH_TEST', default_value='-')]
        assert (
            run(
                SetLaunchConfiguration('a', 'b'),
                SetEnvironmentVariable('LAUNCH_TEST', 'x'),
                AppendEnvironmentVariable('LAUNCH_TEST', 'y'),
                AppendEnvironmentVariable('LAUNCH_TEST', 'w', prepend=True),
                note(said, shown),
                UnsetLaunchConfiguration('a'),
                UnsetEnvironmentVariable('LAUNCH_TEST'),
                note(said, shown),
            )
            == 0
        )
        assert said == ['bw:x:y', '--']


class TestLaunchFiles:
    def test_an_included_file_gets_its_arguments_and_knows_its_folder(self, tmp_path):
        inner = write_launch_file(
            tmp_path / 'inner.launch.py',
            """
            return LaunchDescription([
                DeclareLaunchArgument('name'),
                SetLaunchConfiguration('result', [LaunchConfiguration('name'), '@', ThisLaunchFileDir()]),
            ])
            """,
        )
        said = []
        arguments = {'name': LaunchConfiguration('outer')}.items()
        include = IncludeLaunchDescription(AnyLaunchDescriptionSource([str(inner)]), launch_arguments=arguments)
        assert run(SetLaunchConfiguration('outer', 'n'), include, note(said, LaunchConfiguration('result'))) == 0
        assert said == [f'n@{tmp_path}']

    def test_an_include_in_a_group_keeps_its_arguments_to_itself(self, tmp_path):
        inner = write_launch_file(
            tmp_path / 'inner.launch.py', "return LaunchDescription([DeclareLaunchArgument('name')])"
        )
        said = []
        include = IncludeLaunchDescription(str(inner), launch_arguments=[('name', 'n')])
        shown = LaunchConfiguration('name', default='-')
        assert (
            run(GroupAction([include]), note(said, shown), GroupAction([include], scoped=False), note(said, shown)) == 0
        )
        assert said == ['-', 'n']

    def test_a_missing_argument_of_an_included_file_fails_before_anything_in_it_runs(self, launched, tmp_path):
        write_launch_file(
            tmp_path / 'inner.launch.py',
            "return LaunchDescription([LogInfo(msg='too late'), DeclareLaunchArgument('bag', description='to play')])",
        )
        process = launched(
            "return LaunchDescription([IncludeLaunchDescription([ThisLaunchFileDir(), '/inner.launch.py'])])"
        )
        assert process.wait() == 1
        assert "'bag'" in process.output and 'to play' in process.output
        assert 'too late' not in process.output

    def test_a_launch_description_can_be_included_as_it_is(self):
        said = []
        source = LaunchDescriptionSource(LaunchDescription([note(said, 'here')]))
        assert run(IncludeLaunchDescription(source)) == 0
        assert said == ['here']

    def test_an_error_in_a_launch_file_is_told(self, launched):
        process = launched("raise RuntimeError('nothing to launch')")
        assert process.wait() == 1
        assert 'nothing to launch' in process.output

    def test_a_file_without_the_function_is_no_launch_file(self, tmp_path):
        path = tmp_path / 'a.launch.py'
        path.write_text('answer = 42')
        with pytest.raises(InvalidPythonLaunchFileError, match='generate_launch_description'):
            PythonLaunchDescriptionSource(str(path)).get_launch_description(LaunchContext())
        with pytest.raises(InvalidLaunchFileError, match='generate_launch_description'):
            get_launch_description_from_any_launch_file(str(path))

    @pytest.mark.skipif(importlib.util.find_spec('launch_xml') is not None, reason='this launch reads XML')
    @pytest.mark.parametrize('extension', ['xml', 'yaml'])
    def test_other_formats_than_python_are_refused(self, tmp_path, extension):
        path = tmp_path / f'a.launch.{extension}'
        path.write_text('<launch/>' if extension == 'xml' else 'launch: []')
        with pytest.raises(InvalidLaunchFileError):
            get_launch_description_from_any_launch_file(str(path))

    def test_an_outline_of_a_launch_file_is_printed(self, tmp_path, capsys):
        path = write_launch_file(
            tmp_path / 'a.launch.py',
            "return LaunchDescription([LogInfo(msg='hello'), ExecuteProcess(cmd=['sleep', '1'])])",
        )
        print_a_launch_file(launch_file_path=str(path))
        printed = capsys.readouterr().out
        assert "LogInfo('hello')" in printed
        assert "'sleep', '1'" in printed

    def test_launch_files_are_found_in_packages(self, tmp_path, monkeypatch):
        share = tmp_path / 'share'
        (share / 'ament_index' / 'resource_index' / 'packages').mkdir(parents=True)
        (share / 'ament_index' / 'resource_index' / 'packages' / 'a_package').touch()
        for folder in ('launch', 'other'):
            (share / 'a_package' / folder).mkdir(parents=True)
        (share / 'a_package' / 'launch' / 'one.launch.py').touch()
        for folder in ('launch', 'other'):
            (share / 'a_package' / folder / 'two.launch.py').touch()
        monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))

        found = get_share_file_path_from_package(package_name='a_package', file_name='one.launch.py')
        assert found == str(share / 'a_package' / 'launch' / 'one.launch.py')
        with pytest.raises(FileNotFoundError, match=r"'three.launch.py'.*'a_package'"):
            get_share_file_path_from_package(package_name='a_package', file_name='three.launch.py')
        with pytest.raises(MultipleLaunchFilesError, match='more than once'):
            get_share_file_path_from_package(package_name='a_package', file_name='two.launch.py')
        with pytest.raises(LookupError, match="package 'no_package' not found, searching"):
            get_share_file_path_from_package(package_name='no_package', file_name='one.launch.py')


class TestProcesses:
    def test_environment_and_folder_are_those_asked_for(self, tmp_path):
        code = "import os; open('seen', 'w').write(repr([os.environ.get(n) for n in ('A', 'B', 'C')]))"
        os.environ['A'] = 'launch'
        additional = python(code, cwd=str(tmp_path), additional_env={'B': ['b', '1']})
        assert run(SetEnvironmentVariable('C', 'c'), additional) == 0
        assert (tmp_path / 'seen').read_text() == repr(['launch', 'b1', 'c'])
        assert run(python(code, cwd=str(tmp_path), env={'B': 'b'}, additional_env={'C': 'c'})) == 0
        assert (tmp_path / 'seen').read_text() == repr([None, 'b', 'c'])

    def test_start_and_exit_are_events_with_the_process_in_them(self):
        seen = []
        process = python('import sys; sys.exit(3)', name='worker')

        def on_exit(event, context):
            seen.append(('exit', event.returncode, event.pid, event.process_name, event.action is process))

        handlers = [
            RegisterEventHandler(
                OnProcessStart(target_action=process, on_start=lambda e, c: seen.append(('start', e.pid)))
            ),
            RegisterEventHandler(OnProcessExit(target_action=process, on_exit=on_exit)),
            RegisterEventHandler(OnProcessExit(target_action=python(''), on_exit=lambda e, c: seen.append('another'))),
        ]
        assert run(*handlers, process) == 0
        (_, started_pid), (_, returncode, pid, name, same) = seen
        assert (returncode, pid, same) == (3, started_pid, True)
        assert re.fullmatch(r'worker-\d+', name)
        assert process.return_code == 3
        assert process.process_details['pid'] == pid

    def test_entities_follow_from_the_end_of_a_process(self):
        said = []
        second = python('', on_exit=[note(said, 'second')])
        first = python(
            '',
            on_exit=lambda event, context: [
                note(said, ['first ', LocalSubstitution('event.returncode.__str__()')]),
                second,
            ],
        )
        assert run(first) == 0
        assert said == ['first 0', 'second']

    def test_the_end_of_a_required_process_ends_the_others(self):
        sleeper = ExecuteProcess(cmd=['sleep', '60'])
        ended = []
        handler = RegisterEventHandler(
            OnProcessExit(target_action=sleeper, on_exit=lambda e, c: ended.append(e.returncode))
        )
        assert run(handler, sleeper, python('', on_exit=Shutdown(reason='done'))) == 0
        assert ended == [-signal.SIGINT]

    def test_a_process_is_run_again_as_often_as_asked(self):
        ends = []
        assert run(python('', respawn=True, respawn_delay=0.05, respawn_max_retries=2, on_exit=note(ends, 'x'))) == 0
        assert len(ends) == 3
        ends.clear()
        assert (
            run(
                SetLaunchConfiguration('again', 'false'),
                python('', respawn=LaunchConfiguration('again'), on_exit=note(ends, 'x')),
            )
            == 0
        )
        assert len(ends) == 1

    def test_a_process_that_waits_to_be_run_again_does_not_hold_up_the_shutdown(self):
        begin = time.monotonic()
        assert run(python('', respawn=True, respawn_delay=60.0), TimerAction(period=0.5, actions=[Shutdown()])) == 0
        assert time.monotonic() - begin < 30

    def test_output_can_be_kept(self):
        process = python("import sys; print('out'); sys.stderr.write('error')", cached_output=True)
        assert run(process) == 0
        assert process.get_stdout() == 'out\n'
        assert process.get_stderr() == 'error'

    def test_output_is_an_event(self):
        heard = {'out': b'', 'error': b''}

        def hear(source):
            return lambda event: heard.update({source: heard[source] + event.text})

        process = python("import sys; print('a'); print('b', file=sys.stderr)")
        handler = OnProcessIO(target_action=process, on_stdout=hear('out'), on_stderr=hear('error'))
        assert run(RegisterEventHandler(handler), process) == 0
        assert heard == {'out': b'a\n', 'error': b'b\n'}

    @pytest.mark.parametrize('emulated', [True, False])
    def test_a_process_may_be_made_to_believe_in_a_terminal(self, emulated):
        process = python('import sys; print(sys.stdout.isatty())', emulate_tty=emulated, cached_output=True)
        assert run(process) == 0
        assert process.get_stdout().splitlines() == [str(emulated)]

    def test_a_command_may_be_given_to_a_shell_and_to_a_prefix(self):
        shell = ExecuteProcess(cmd=['echo $((1 + 2))', '>&1'], shell=True, cached_output=True)
        prefixed = ExecuteProcess(cmd=['echo', 'x'], prefix='env -u HOME', cached_output=True)
        assert run(shell, prefixed) == 0
        assert shell.get_stdout() == '3\n'
        assert prefixed.cmd == ['env', '-u', 'HOME', 'echo', 'x']

    def test_an_action_runs_one_process_only(self):
        process = python('')
        assert run(process, process) == 1

    def test_a_process_can_be_signalled_and_shut_down_by_events(self):
        ends = {}
        processes = {
            'term': ExecuteProcess(cmd=['sleep', '60']),
            'int': ExecuteProcess(cmd=['sleep', '60']),
        }
        watch = OnProcessExit(on_exit=lambda e, c: ends.update({e.pid: e.returncode}))
        events = [
            EmitEvent(
                event=SignalProcess(signal_number=signal.SIGTERM, process_matcher=matches_action(processes['term']))
            ),
            EmitEvent(event=ShutdownProcess(process_matcher=matches_action(processes['int']))),
        ]
        assert run(RegisterEventHandler(watch), *processes.values(), TimerAction(period=0.5, actions=events)) == 0
        assert ends[processes['term'].process_details['pid']] == -signal.SIGTERM
        assert ends[processes['int'].process_details['pid']] == -signal.SIGINT

    def test_processes_are_matched_by_name_and_pid(self):
        process = python('', name='worker')
        assert run(process) == 0
        assert matches_name(process.process_details['name'])(process)
        assert not matches_name('worker')(process)
        assert matches_pid(process.process_details['pid'])(process)

    def test_nothing_is_started_once_the_shutdown_has_begun(self, tmp_path):
        late = ExecuteProcess(cmd=['touch', str(tmp_path / 'late')])
        assert run(RegisterEventHandler(OnShutdown(on_shutdown=[late]))) == 0
        assert not (tmp_path / 'late').exists()

    @pytest.mark.parametrize('setting', ['sigterm_timeout', 'sigkill_timeout'])
    @stand_in_only
    def test_a_timeout_must_be_a_number(self, setting):
        assert run(python('', **{setting: 'soon'})) == 1


class TestEvents:
    def test_handlers_answer_events_of_their_own_class(self):
        class Detection(Event):
            name = 'detection'

        said = []
        handler = EventHandler(matcher=lambda event: isinstance(event, Detection), entities=[note(said, 'detected')])
        emit = EmitEvent(event=Detection())
        late = TimerAction(period=0.1, actions=[UnregisterEventHandler(handler), EmitEvent(event=Detection())])
        assert run(RegisterEventHandler(handler), emit, EmitEvent(event=Detection()), late) == 0
        assert said == ['detected', 'detected']

    def test_a_handler_may_answer_once_only(self):
        said = []
        handler = OnProcessExit(on_exit=[note(said, 'end')], handle_once=True)
        assert run(RegisterEventHandler(handler), python(''), python('')) == 0
        assert said == ['end']

    def test_a_timer_waits_and_the_local_variables_wait_with_it(self):
        said = []
        name = LocalSubstitution('event.process_name')
        timer = TimerAction(period=0.1, actions=[note(said, name)])
        assert run(python('', name='worker', on_exit=[timer])) == 0
        assert re.fullmatch(r'worker-\d+', said[0])

    def test_a_canceled_timer_does_nothing(self):
        said = []
        timer = TimerAction(period=60.0, actions=[note(said, 'late')])
        cancel = OpaqueFunction(function=lambda context: timer.cancel())
        assert run(timer, TimerAction(period=LaunchConfiguration('wait', default='0.1'), actions=[cancel])) == 0
        assert said == []

    def test_a_shutdown_cancels_timers_unless_they_are_told_not_to(self):
        said = []
        assert (
            run(
                TimerAction(period=60.0, actions=[note(said, 'never')]),
                TimerAction(period=0.3, actions=[note(said, 'in spite')], cancel_on_shutdown=False),
                Shutdown(),
            )
            == 0
        )
        assert said == ['in spite']

    def test_a_period_is_a_float(self):
        with pytest.raises(TypeError):
            TimerAction(period=1, actions=[])

    def test_the_end_of_an_action_is_an_event(self):
        said = []
        process = python('')
        handler = OnExecutionComplete(target_action=process, on_completion=[note(said, 'complete')])
        assert run(RegisterEventHandler(handler), process) == 0
        assert said == ['complete']

    def test_the_shutdown_event_tells_its_reason(self):
        reasons = []
        handler = OnShutdown(on_shutdown=lambda event, context: reasons.append(event.reason))
        assert run(RegisterEventHandler(handler), Shutdown(reason='enough')) == 0
        assert run(RegisterEventHandler(OnShutdown(on_shutdown=lambda e, c: reasons.append(e.reason)))) == 0
        assert reasons == ['enough', 'idle']

    def test_coroutines_run_until_they_end_or_the_shutdown_cancels_them(self):
        said = []

        async def say(context, text, pause=0.0):
            await asyncio.sleep(pause)
            said.append(text)

        slow = OpaqueCoroutine(coroutine=say, args=['slow'], kwargs={'pause': 60.0})
        quick = OpaqueCoroutine(coroutine=say, args=['quick'])
        run(slow, quick, TimerAction(period=0.2, actions=[Shutdown()]))
        assert said == ['quick']

    def test_functions_get_context_and_arguments_and_may_return_entities(self):
        said = []

        def function(context, first, second):
            value = context.perform_substitution(LaunchConfiguration('value'))
            return [note(said, f'{value} {first} {second}')]

        assert (
            run(
                SetLaunchConfiguration('value', 'v'),
                OpaqueFunction(function=function, args=['a'], kwargs={'second': 'b'}),
            )
            == 0
        )
        assert said == ['v a b']

    def test_handlers_refuse_what_is_no_entity(self):
        with pytest.raises(TypeError):
            OnProcessExit(on_exit=['text'])
        with pytest.raises(TypeError):
            OnProcessExit(target_action=LogInfo(msg=''), on_exit=[])


class TestService:
    def test_an_error_ends_the_launch_and_what_it_has_started(self):
        sleeper = ExecuteProcess(cmd=['sleep', '60'])
        fail = OpaqueFunction(function=lambda context: 1 / 0)
        assert run(sleeper, TimerAction(period=0.5, actions=[fail])) == 1
        assert sleeper.return_code == -signal.SIGINT

    @stand_in_only
    def test_an_error_right_after_a_start_ends_what_was_started(self):
        sleeper = ExecuteProcess(cmd=['sleep', '60'])
        assert run(sleeper, OpaqueFunction(function=lambda context: 1 / 0)) == 1
        assert sleeper.return_code in (None, -signal.SIGINT)

    @stand_in_only
    def test_a_launch_file_that_exits_ends_what_it_has_started(self):
        sleeper = ExecuteProcess(cmd=['sleep', '60'])
        leave = OpaqueFunction(function=lambda context: sys.exit('no camera'))
        assert run(sleeper, TimerAction(period=0.5, actions=[leave])) == 1
        assert sleeper.return_code == -signal.SIGINT

    def test_another_thread_may_add_to_the_launch_and_end_it(self):
        said = []
        service = LaunchService()
        sleeper = ExecuteProcess(cmd=['sleep', '60'])
        service.include_launch_description(LaunchDescription([sleeper]))

        def work():
            while not (sleeper.process_details or {}).get('pid'):
                time.sleep(0.05)
            service.include_launch_description(LaunchDescription([note(said, 'added')]))
            service.shutdown()

        thread = threading.Thread(target=work)
        thread.start()
        assert service.run() == 0
        thread.join()
        assert said == ['added']
        assert sleeper.return_code == -signal.SIGINT

    def test_a_shutdown_of_a_service_that_does_not_run_does_nothing(self):
        assert LaunchService().shutdown() is None

    def test_a_service_may_run_in_the_users_event_loop_and_wait_though_idle(self):
        said = []
        service = LaunchService()

        async def main():
            running = asyncio.ensure_future(service.run_async(shutdown_when_idle=False))
            await asyncio.sleep(0.2)
            later = LaunchDescription([note(said, 'later')])
            await asyncio.to_thread(service.include_launch_description, later)
            await asyncio.sleep(0.2)
            await service.shutdown()
            return await running

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            assert loop.run_until_complete(main()) == 0
        finally:
            asyncio.set_event_loop(asyncio.new_event_loop())
            loop.close()
        assert said == ['later']

    def test_a_service_belongs_to_the_main_thread(self):
        errors = []

        def work():
            with pytest.raises(RuntimeError, match='main thread') as caught:
                asyncio.new_event_loop().run_until_complete(LaunchService().run_async())
            errors.append(caught)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert errors

    def test_signal_handlers_are_as_before_afterwards(self):
        before = signal.getsignal(signal.SIGINT)
        run(python(''))
        assert signal.getsignal(signal.SIGINT) is before


class TestOutput:
    BODY = """
    code = "import sys; print('to out'); print('to error', file=sys.stderr); print('no end', end='')"
    command = [sys.executable, '-S', '-c', code]
    return LaunchDescription([ExecuteProcess(cmd=command, name='worker', output={output})])
    """

    def test_lines_on_the_screen_are_marked_with_the_process(self, launched):
        process = launched(self.BODY.replace('{output}', "'screen'"))
        assert process.wait() == 0
        assert re.search(r'^\[INFO\] \[worker-1\]: process started with pid \[\d+\]$', process.output, re.MULTILINE)
        assert {'[worker-1] to out', '[worker-1] to error', '[worker-1] no end'} <= set(process.lines)
        assert re.search(
            r'^\[INFO\] \[worker-1\]: process has finished cleanly \[pid \d+\]$', process.output, re.MULTILINE
        )

    @pytest.mark.parametrize(
        ('output', 'screen', 'log'),
        [
            ("'screen'", {'to out', 'to error'}, set()),
            ("'log'", {'to error'}, {'to out', 'to error'}),
            ("'both'", {'to out', 'to error'}, {'to out', 'to error'}),
            ("{'stdout': 'screen', 'stderr': 'log'}", {'to out'}, {'to error'}),
            ("LaunchConfiguration('o', default='screen')", {'to out', 'to error'}, set()),
        ],
    )
    def test_output_goes_where_it_is_asked_to(self, launched, tmp_path, output, screen, log):
        process = launched(self.BODY.replace('{output}', output))
        assert process.wait() == 0
        logged = '\n'.join(path.read_text() for path in tmp_path.glob('log/*/launch.log'))
        for text in ('to out', 'to error'):
            assert (f'[worker-1] {text}' in process.lines) is (text in screen)
            assert (re.search(rf'^\d+\.\d+ \[worker-1\] {text}$', logged, re.MULTILINE) is not None) is (text in log)
        assert re.search(r'^\d+\.\d+ \[INFO\] \[worker-1\]: process started', logged, re.MULTILINE)

    def test_a_process_may_have_log_files_of_its_own(self, launched, tmp_path):
        assert launched(self.BODY.replace('{output}', "'own_log'")).wait() == 0
        (folder,) = [path for path in (tmp_path / 'log').iterdir() if not path.is_symlink()]
        assert (folder / 'worker-1-stdout.log').read_text().splitlines() == ['[worker-1] to out', '[worker-1] no end']
        assert (folder / 'worker-1-stderr.log').read_text() == '[worker-1] to error\n'
        assert set((folder / 'worker-1.log').read_text().splitlines()) == {
            '[worker-1] to out',
            '[worker-1] to error',
            '[worker-1] no end',
        }

    def test_the_environment_may_ask_for_all_output(self, launched):
        process = launched(
            self.BODY.replace('{output}', "'log'"), environment={'OVERRIDE_LAUNCH_PROCESS_OUTPUT': 'both'}
        )
        assert process.wait() == 0
        assert '[worker-1] to out' in process.lines

    def test_colours_and_other_scripts_come_through(self, launched):
        process = launched(
            """
            code = "import sys; sys.stdout.buffer.write(b'\\\\x1b[32mgr\\\\xc3\\\\xbcn\\\\x1b[0m \\\\xff\\\\n')"
            command = [sys.executable, '-S', '-c', code]
            return LaunchDescription([ExecuteProcess(cmd=command, name='worker', output='screen')])
            """,
            environment={'PYTHONIOENCODING': 'utf-8', 'LC_ALL': 'C.UTF-8'},
        )
        assert process.wait() == 0
        assert '[worker-1] \x1b[32mgrün\x1b[0m \ufffd' in process.lines

    def test_many_long_lines_arrive_whole_and_in_order(self, launched):
        process = launched(
            """
            code = "for i in range(3000): print(i, 'x' * 200)"
            command = [sys.executable, '-S', '-c', code]
            return LaunchDescription([ExecuteProcess(cmd=command, name='worker', output='screen')])
            """
        )
        assert process.wait() == 0
        lines = [line for line in process.lines if line.startswith('[worker-1]')]
        assert lines == [f'[worker-1] {number} {"x" * 200}' for number in range(3000)]

    def test_a_death_is_told_with_exit_code_and_command(self, launched):
        process = launched("return LaunchDescription([ExecuteProcess(cmd=['sh', '-c', 'exit 3'], name='worker')])")
        assert process.wait() == 0
        assert re.search(
            r'\[ERROR\] \[worker-1\]: process has died \[pid \d+, exit code 3, cmd .sh -c exit 3.\]', process.output
        )

    def test_a_program_that_is_not_there_is_told(self, launched):
        process = launched(
            "return LaunchDescription([ExecuteProcess(cmd=['no_such_program', '--fast'], name='worker')])"
        )
        process.wait()
        assert re.search(r'\[ERROR\] \[worker-1\].*', process.output)
        assert "'no_such_program'" in process.output

    def test_log_files_lie_in_ros_home_unless_the_log_folder_is_set(self, launched, tmp_path):
        process = launched(
            "return LaunchDescription([LogInfo(msg='hello')])",
            environment={'ROS_LOG_DIR': '', 'ROS_HOME': str(tmp_path / 'home')},
        )
        assert process.wait() == 0
        (folder,) = [path for path in (tmp_path / 'home' / 'log').iterdir() if not path.is_symlink()]
        assert f'All log files can be found below {folder}' in process.output
        assert '[INFO] [launch.user]: hello' in (folder / 'launch.log').read_text()
        assert (tmp_path / 'home' / 'log' / 'latest').resolve() == folder


class TestInterruption:
    STUBBORN = """
    command = [sys.executable, '-S', 'stubborn.py', LaunchConfiguration('patience', default='0')]
    return LaunchDescription([
        ExecuteProcess(
            cmd=command, name='worker', output='screen',
            sigterm_timeout=LaunchConfiguration('t', default='5'), sigkill_timeout=LaunchConfiguration('t', default='5')
        ),
    ])
    """
    WITH_GRANDCHILD = """
    command = "trap '' INT TERM; sleep 100 & echo grandchild $!; wait"
    return LaunchDescription([ExecuteProcess(cmd=[command], shell=True, output='screen', name='worker',
                                             sigterm_timeout='0.5', sigkill_timeout='0.5')])
    """

    @staticmethod
    def started_pids(process):
        return [int(pid) for pid in re.findall(r'(?:process started with pid \[|grandchild )(\d+)', process.output)]

    def test_ctrl_c_reaches_the_processes_and_the_launch_ends_well(self, launched):
        process = launched(self.STUBBORN)
        process.wait_for_line('ready')
        assert process.stop(signal.SIGINT) == 0
        assert '[worker-1] got SIGINT' in process.lines
        assert 'got SIGTERM' not in process.output
        assert 'process has finished cleanly' in process.output
        assert children_are_gone(self.started_pids(process))

    def test_a_process_that_ignores_ctrl_c_is_terminated_after_a_while(self, launched):
        process = launched(self.STUBBORN, 'patience:=1', 't:=0.5')
        process.wait_for_line('ready')
        assert process.stop(signal.SIGINT) == 0
        assert [line for line in process.lines if 'got' in line] == ['[worker-1] got SIGINT', '[worker-1] got SIGTERM']
        assert re.search(
            r"failed to terminate '0.5' seconds after receiving 'SIGINT', escalating to 'SIGTERM'", process.output
        )

    def test_a_process_that_ignores_everything_is_killed_in_the_end(self, launched):
        process = launched(self.STUBBORN, 'patience:=9', 't:=0.5')
        process.wait_for_line('ready')
        assert process.stop(signal.SIGINT) == 0
        assert "escalating to 'SIGKILL'" in process.output
        assert 'exit code -9' in process.output
        assert children_are_gone(self.started_pids(process))

    def test_the_timeouts_may_be_launch_arguments(self, launched):
        body = """
        command = [sys.executable, '-S', 'stubborn.py', '1']
        return LaunchDescription([ExecuteProcess(cmd=command, output='screen', name='worker')])
        """
        process = launched(body, 'sigterm_timeout:=0.5')
        process.wait_for_line('ready')
        process.process.send_signal(signal.SIGINT)
        process.wait_for_line("'0.5' seconds")
        assert process.wait() == 0

    def test_ctrl_c_in_a_terminal_ends_the_launch_well(self, launched, tmp_path):
        path = write_launch_file(tmp_path / 'main.launch.py', self.STUBBORN)
        (tmp_path / 'stubborn.py').write_text(STUBBORN)
        command = [sys.executable, '-c', RUNNER, str(path), '--interactive']
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(tmp_path)
            os.execvp(command[0], command)
        said = b''
        try:
            while b'ready' not in said:
                said += os.read(terminal, 4096)
            os.write(terminal, b'\x03')
            while chunk := self.read_terminal(terminal):
                said += chunk
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        finally:
            os.close(terminal)
        assert said.count(b'got SIGINT') == 1
        assert b'got SIGTERM' not in said
        started = re.findall(rb'process started with pid \[(\d+)\]', said)
        assert children_are_gone([int(pid) for pid in started])

    @staticmethod
    def read_terminal(terminal):
        try:
            return os.read(terminal, 4096)
        except OSError:  # All who wrote to it have ended.
            return b''

    @stand_in_only
    def test_a_second_ctrl_c_does_not_wait_for_the_timeout(self, launched):
        process = launched(self.STUBBORN, 'patience:=9', 't:=60')
        process.wait_for_line('ready')
        process.process.send_signal(signal.SIGINT)
        process.wait_for_line('got SIGINT')
        time.sleep(0.6)
        process.process.send_signal(signal.SIGINT)
        process.wait_for_line('got SIGTERM')
        time.sleep(0.6)
        assert process.stop(signal.SIGINT) == 0
        assert 'exit code -9' in process.output

    @stand_in_only
    def test_one_ctrl_c_that_arrives_twice_is_one(self, launched):
        process = launched(self.STUBBORN, 'patience:=1')
        process.wait_for_line('ready')
        process.process.send_signal(signal.SIGINT)
        process.wait_for_line('got SIGINT')
        process.process.send_signal(signal.SIGINT)
        time.sleep(0.6)
        assert 'got SIGTERM' not in process.output
        process.stop(signal.SIGINT)

    @stand_in_only
    @pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
    def test_a_terminated_launch_takes_its_processes_along(self, launched, number):
        process = launched(self.STUBBORN)
        process.wait_for_line('ready')
        assert process.stop(number) == 1
        assert '[worker-1] got SIGINT' in process.lines
        assert children_are_gone(self.started_pids(process))

    @stand_in_only
    @pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
    def test_what_a_process_has_started_ends_with_it(self, launched, number):
        process = launched(self.WITH_GRANDCHILD)
        process.wait_for_line('grandchild')
        process.stop(number)
        pids = self.started_pids(process)
        assert len(pids) == 2
        assert children_are_gone(pids)

    @stand_in_only
    def test_what_a_process_left_behind_ends_with_the_launch(self, launched):
        process = launched(
            """
            command = 'sleep 100 >/dev/null 2>&1 & echo grandchild $!'
            return LaunchDescription([ExecuteProcess(cmd=[command], shell=True, output='screen')])
            """
        )
        assert process.wait() == 0
        assert children_are_gone(self.started_pids(process))

    @stand_in_only
    def test_ctrl_z_stops_the_processes_too(self, launched):
        process = launched(self.STUBBORN)
        process.wait_for_line('ready')
        pids = [process.process.pid, *self.started_pids(process)]
        process.process.send_signal(signal.SIGTSTP)

        def states():
            return [Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] for pid in pids]

        deadline = time.monotonic() + 10
        while states() != ['T', 'T'] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert states() == ['T', 'T']
        process.process.send_signal(signal.SIGCONT)
        assert process.stop(signal.SIGINT) == 0

    @pytest.mark.parametrize('closing', ['<&-', '</dev/null', '<&- >/dev/null 2>&1'])
    def test_a_launch_needs_no_terminal(self, tmp_path, closing):
        path = write_launch_file(
            tmp_path / 'main.launch.py',
            "return LaunchDescription([ExecuteProcess(cmd=['touch', 'done']), ExecuteProcess(cmd=['echo', 'x'])])",
        )
        command = f'exec "$0" -c "$1" "$2" {closing}'
        subprocess.run(['sh', '-c', command, sys.executable, RUNNER, str(path)], cwd=tmp_path, check=True, timeout=60)
        assert (tmp_path / 'done').exists()

    @stand_in_only
    def test_a_launch_outlives_the_reader_of_its_output(self, launched, tmp_path):
        path = write_launch_file(
            tmp_path / 'main.launch.py',
            """
            code = "import time; print('first', flush=True); time.sleep(1); print('second'); open('done', 'w')"
            return LaunchDescription([ExecuteProcess(cmd=[sys.executable, '-S', '-c', code], output='both')])
            """,
        )
        command = '"$0" -c "$1" "$2" | grep -q first'
        result = subprocess.run(
            ['sh', '-c', command, sys.executable, RUNNER, str(path)],
            cwd=tmp_path,
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        deadline = time.monotonic() + 10
        while not (tmp_path / 'done').exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tmp_path / 'done').exists()
        assert 'Traceback' not in result.stderr
