# SPDX-License-Identifier: Apache-2.0
"""What the launch files share: nodes of the suite, their end, and the middleware set up for images."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, RegisterEventHandler, SetEnvironmentVariable
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from radio_visual_ssl.share import PACKAGE, share_path

Argument = tuple[str, str, str, 'list[str] | None']
"""Name, default, description and choices of a launch argument."""


def declare(arguments: Sequence[Argument]) -> list[DeclareLaunchArgument]:
    """Launch arguments of a table."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)
        for name, default, description, choices in arguments
    ]


def read(arguments: Sequence[Argument], context: LaunchContext) -> dict[str, str]:
    """Values of the launch arguments of a table."""
    return {name: LaunchConfiguration(name).perform(context) for name, *_ in arguments}


def given(arguments: dict[str, str], *names: str) -> dict[str, str]:
    """Parameters of the same name as a launch argument, where that was given."""
    return {name: arguments[name] for name in names if arguments[name]}


def numbers(arguments: dict[str, str], *names: str) -> dict[str, float]:
    """Like ``given``, for numbers.

    Raises:
        ValueError: not a number; the message names the argument.
    """
    found = {}
    for name, text in given(arguments, *names).items():
        try:
            found[name] = float(text)
        except ValueError:
            raise ValueError(f'{name}: expected a number, got {text!r}') from None
    return found


def suite_node(
    arguments: dict[str, str], default_params_file: str, executable: str, parameters: dict[str, Any]
) -> Node:
    """One node of the suite: the parameter file, then what the launch arguments say.

    Args:
        arguments: of the launch file, ``params_file`` and ``log_level`` among them.
        default_params_file: name of a file in config/.
        executable: also the node's name.
        parameters: that win over the file.

    Raises:
        ValueError: the parameter file does not exist.
    """
    params_file = arguments['params_file'] or str(share_path('config', default_params_file))
    if not Path(params_file).is_file():
        raise ValueError(f'params_file: expected a parameter file, got {params_file!r}, which does not exist')
    return Node(
        package=PACKAGE,
        executable=executable,
        name=executable,
        output='screen',
        parameters=[params_file, parameters],
        ros_arguments=['--log-level', arguments['log_level']],
    )


def end_with(target: Node, name: str) -> RegisterEventHandler:
    """End the launch when this node ends: without it the others are of no use."""

    def end(event: ProcessExited, _context: LaunchContext) -> list[LaunchDescriptionEntity]:
        refuse_failure(event, name)
        return [EmitEvent(event=Shutdown(reason=f'{name} ended'))]

    return RegisterEventHandler(OnProcessExit(target_action=target, on_exit=end))


def refuse_failure(event: ProcessExited, name: str) -> None:
    """Let the launch end with exit code 1 where a node failed; a signal (negative) is no failure.

    Raises:
        RuntimeError: it failed.
    """
    if (event.returncode or 0) > 0:
        raise RuntimeError(f'{name} ended with exit code {event.returncode}; its log says why')


def middleware() -> list[LaunchDescriptionEntity]:
    """Fast DDS set up for images, unless the user has chosen a profile."""
    names = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')  # Fast DDS 2 (Jazzy) and 3
    if any(name in os.environ for name in names):
        return []
    return [SetEnvironmentVariable(name, str(share_path('config', 'fastdds.xml'))) for name in names]


def rviz(
    config: str, topics: Sequence[str], namespace: str, sim_time: bool, instead: str, arguments: Sequence[str] = ()
) -> list[LaunchDescriptionEntity]:
    """RViz, or how to look without it.

    Args:
        config: name of a file in rviz/.
        topics: relative topics that it shows.
        namespace: of the topics.
        sim_time: takes its time from /clock.
        instead: command that shows the same where RViz is not installed.
        arguments: more of them.
    """
    if shutil.which('rviz2') is None:
        text = 'rviz:=true, but rviz2 is not installed here. To look without it, in another shell: '
        return [LogInfo(msg=f'{text}{instead}')]
    # RViz knows absolute topics only; its subscriptions follow remapping rules.
    remappings = [(f'/{topic}', f'/{namespace}/{topic}') for topic in topics] if namespace else []
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            arguments=['-d', str(share_path('rviz', config)), *arguments],
            parameters=[{'use_sim_time': sim_time}],
            remappings=remappings,
            output='log',
        )
    ]
