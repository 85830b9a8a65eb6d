# SPDX-License-Identifier: Apache-2.0
"""Radar in, targets out: a simulated radar, a recorded bag or live topics, through heatmaps, to localized targets."""

from pathlib import Path
from typing import TYPE_CHECKING

from launch.actions import EmitEvent, GroupAction, OpaqueFunction, RegisterEventHandler, TimerAction
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import PushRosNamespace

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from radio_visual_ssl.models.network_settings import model_file
from radio_visual_ssl.nodes.launching import (
    Argument,
    declare,
    end_with,
    given,
    middleware,
    numbers,
    read,
    refuse_failure,
    rviz,
    suite_node,
)

if TYPE_CHECKING:
    from radio_visual_ssl.bags.reader import BagReader

PARAMS_FILE = 'localize.yaml'

FORMED_TOPICS = ('/radar/heatmap', '/radar/heatmap_info', '/radar/velocity')
"""That heatmap_node makes of cubes."""

MADE_TOPICS = (
    *(f'/localizer/{name}' for name in ('detections', 'targets', 'points', 'markers')),
    *('/radar/heatmap/preview', '/diagnostics', '/rosout', '/parameter_events'),
)
"""That the nodes make whatever the radar sends."""

DRAIN_SECONDS = 2.0
"""Time between the end of the bag and the end of the launch, for the last scan's way through the nodes."""

RVIZ_TOPICS = (
    'radar/heatmap/preview',
    'camera/image_raw',
    'localizer/points',
    'localizer/markers',
    'ground_truth/markers',
)

ARGUMENTS: tuple[Argument, ...] = (
    ('source', 'simulator', 'Where radar comes from.', ['simulator', 'bag', 'topics']),
    ('bag', '', 'source:=bag: the rosbag2 folder to play.', None),
    (
        'backend',
        '',
        'What finds the targets in a heatmap. auto: the network where model:= names one, or one ships for the radar '
        'and fits its heatmaps, else CFAR. Empty: as in params_file, where auto is the default.',
        ['', 'auto', 'cfar', 'peak', 'network'],
    ),
    (
        'model',
        '',
        'backend:=network or auto: a checkpoint, or the name of one in models/. Empty: as in params_file, where the '
        'one that ships for the radar is the default.',
        None,
    ),
    (
        'backend_settings',
        '',
        'Settings of the backend: "auto" (those shipped for the radar named in the heatmap info, if any), "default", '
        'the name of a file in config/<backend>/ or a path. Empty: as in params_file.',
        None,
    ),
    ('rviz', 'false', 'Open RViz.', ['true', 'false']),
    ('namespace', '', 'ROS namespace of all nodes and topics, for instance one for each sensor.', None),
    ('params_file', '', 'Parameter file of the nodes. Empty: config/localize.yaml.', None),
    ('scene', '', 'source:=simulator: name of a file in config/scenes/ or a path. Empty: as in params_file.', None),
    ('radar', '', 'source:=simulator: name of a file in config/radars/ or a path. Empty: as in params_file.', None),
    (
        'rate',
        '',
        'source:=simulator: frames per second; source:=bag: speed, 1 = as recorded. Empty: params_file.',
        None,
    ),
    ('loop', 'false', 'source:=bag: start again at the end of the bag.', ['true', 'false']),
    (
        'input',
        'auto',
        'What the radar sends: raw cubes, or heatmaps (then heatmap_node makes only their preview). '
        'auto: as the bag holds them; cubes for a simulator or topics.',
        ['auto', 'cube', 'heatmap'],
    ),
    (
        'use_sim_time',
        'auto',
        'Take the time from /clock. auto: with source:=bag, which sends it.',
        ['auto', 'true', 'false'],
    ),
    ('fixed_frame', '', "rviz:=true: the frame to look from. Empty: the radar's, as far as it is known.", None),
    ('autostart', 'true', 'Configure and activate the nodes; false leaves that to you.', ['true', 'false']),
    ('log_level', 'info', 'Level of the log.', ['debug', 'info', 'warn', 'error']),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what is started depends on their values."""
    return LaunchDescription([*declare(ARGUMENTS), OpaqueFunction(function=describe)])


def describe(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Nodes and event handlers for the given arguments.

    Raises:
        ValueError: arguments that contradict each other; the message names the argument, expected and got.
        BagError: a bag that is missing, of another type or without radar.
    """
    arguments = read(ARGUMENTS, context)
    source, namespace = arguments['source'], arguments['namespace'].strip('/')
    bag = open_bag(arguments)
    topics = set(bag.streams) if bag is not None else set()
    radar_input = arguments['input']
    if radar_input == 'auto':
        radar_input = 'heatmap' if '/radar/heatmap' in topics else 'cube'
    if bag is not None and f'/radar/{radar_input}' not in topics:
        raise ValueError(
            f'input: expected what bag {bag.path} holds, got input:={radar_input} without /radar/{radar_input}'
        )
    sim_time = source == 'bag' if arguments['use_sim_time'] == 'auto' else arguments['use_sim_time'] == 'true'
    common = {'use_sim_time': sim_time, 'autostart': arguments['autostart'] == 'true'}
    # Frames are global where topics are not: two simulators must not place each other's sensors.
    frame_prefix = f'{namespace}/' if namespace and source == 'simulator' else ''

    backend = {**given(arguments, 'backend', 'backend_settings'), **network_model(arguments)}
    radar = bag.radar_name() if bag is not None else Path(arguments['radar']).stem
    if radar:
        backend['expected_radar'] = radar
    nodes = {
        'heatmap_node': {**common, 'input': radar_input, **(recorded_qos(namespace, radar_input) if bag else {})},
        'localizer_node': {
            **common,
            **backend,
            **(recorded_qos(namespace, 'heatmap', 'velocity') if bag else {}),
        },
    }
    if source == 'simulator':
        nodes['simulator_node'] = {
            **common,
            **({'frame_prefix': frame_prefix} if frame_prefix else {}),
            **given(arguments, 'scene', 'radar'),
            **numbers(arguments, 'rate'),
        }
    started = {name: suite_node(arguments, PARAMS_FILE, name, parameters) for name, parameters in nodes.items()}
    handlers = [end_with(target, name) for name, target in started.items()]
    if bag is not None:
        player = {
            'bag': str(bag.path.resolve()),
            'loop': arguments['loop'] == 'true',
            'publish_clock': sim_time,
            'autostart': common['autostart'],
            **played_topics(topics, radar_input),
            'wait_for_subscribers': awaited_subscriptions(topics, radar_input),
            'wait_for_targets': 'localizer/targets',
            **numbers(arguments, 'rate'),
        }
        started['player_node'] = suite_node(arguments, PARAMS_FILE, 'player_node', player)
        ended = OnProcessExit(target_action=started['player_node'], on_exit=end_after_bag)
        handlers.append(RegisterEventHandler(ended))
    looking = []
    if arguments['rviz'] == 'true':
        remap = f' -r __ns:=/{namespace}' if namespace else ''
        instead = f'ros2 run radio_visual_ssl watch_node --ros-args{remap} -p out:=watch.png'
        frame = arguments['fixed_frame'] or frame_prefix + radar_frame(bag)
        looking = rviz('localize.rviz', RVIZ_TOPICS, namespace, sim_time, instead, ['-f', frame])
    return [*middleware(), *handlers, GroupAction([PushRosNamespace(namespace), *started.values()]), *looking]


def network_model(arguments: dict[str, str]) -> dict[str, str]:
    """Parameters for the network that the arguments name, if any.

    Raises:
        ValueError: no such model, or another back end with it.
    """
    model = arguments['model']
    if not model:
        return {}
    if arguments['backend'] in ('cfar', 'peak'):
        raise ValueError(f'model: expected backend:=network with it, got backend:={arguments["backend"]}')
    return {'network.model': str(model_file(model).resolve())}


def open_bag(arguments: dict[str, str]) -> 'BagReader | None':
    """The bag that is to be played; None for another source."""
    if arguments['source'] != 'bag':
        if arguments['bag']:
            raise ValueError(f'bag: expected source:=bag with it, got source:={arguments["source"]}')
        return None
    if not arguments['bag']:
        raise ValueError('bag: expected the path of a rosbag2 folder with source:=bag, got none')
    from radio_visual_ssl.bags.reader import BagReader  # only bags need rosbags, which no ROS distribution has

    bag = BagReader(Path(arguments['bag']).expanduser())
    if not {'/radar/heatmap', '/radar/cube'} & set(bag.streams):
        present = ', '.join(sorted(bag.streams)) or 'no topics'
        raise ValueError(f'bag {bag.path}: expected the topic /radar/heatmap or /radar/cube, got {present}')
    return bag


def radar_frame(bag: 'BagReader | None') -> str:
    """Frame of the bag's radar, or else of the simulator's."""
    first = next(bag.raw_messages([bag.radar_topic()]), None) if bag is not None else None
    return bag.decode(first).header.frame_id if bag is not None and first is not None else 'radar'


def played_topics(topics: set[str], radar_input: str) -> dict[str, list[str]]:
    """Parameter for the player where the bag holds what the nodes make anew: the other topics."""
    made = {*MADE_TOPICS, *(FORMED_TOPICS if radar_input == 'cube' else ())}
    return {'topics': sorted(topics - made)} if topics & made else {}


def awaited_subscriptions(topics: set[str], radar_input: str) -> list[str]:
    """Topics, with their number of subscriptions: nothing is played before all are there, so that no scan is lost."""
    if radar_input == 'cube':
        return ['/radar/cube', '/radar/info', '/radar/heatmap', '/radar/heatmap_info']
    # localizer_node, and heatmap_node for the preview
    both = ['/radar/heatmap 2', '/radar/heatmap_info 2']
    return [*both, '/radar/velocity'] if '/radar/velocity' in topics else both


def recorded_qos(namespace: str, *topics: str) -> dict[str, str | int]:
    """A bag can wait where a sensor cannot: none of its scans may be dropped."""
    prefix = f'qos_overrides./{namespace}/radar' if namespace else 'qos_overrides./radar'
    overrides: dict[str, str | int] = {}
    for topic in topics:
        overrides[f'{prefix}/{topic}.subscription.reliability'] = 'reliable'
        overrides[f'{prefix}/{topic}.subscription.depth'] = 100
    return overrides


def end_after_bag(event: ProcessExited, _context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End the launch when the bag is through."""
    refuse_failure(event, 'player_node')
    return [TimerAction(period=DRAIN_SECONDS, actions=[EmitEvent(event=Shutdown(reason='the bag is through'))])]
