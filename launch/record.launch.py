# SPDX-License-Identifier: Apache-2.0
"""Radar and camera in, a bag of pairs out: live sensors, a camera through OpenCV, or a simulation."""

import os
from datetime import datetime
from pathlib import Path

from launch.actions import GroupAction, OpaqueFunction
from launch_ros.actions import PushRosNamespace

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from radio_visual_ssl.nodes.launching import (
    Argument,
    declare,
    end_with,
    given,
    middleware,
    numbers,
    read,
    rviz,
    suite_node,
)

PARAMS_FILE = 'record.yaml'

RVIZ_TOPICS = ('pairs/preview', 'radar/heatmap/preview', 'camera/image_raw')

ENDING = ('pair_recorder_node', 'simulator_node')
"""Nodes without which there is nothing to record; a viewer or camera that dies must not end a recording."""

BOOLEAN = ['true', 'false']

ARGUMENTS: tuple[Argument, ...] = (
    (
        'camera',
        '',
        'Start camera_node with this source: an index, a device, a video file, an image folder or a stream (see '
        'docs/camera.md). Empty: record the image topic that exists.',
        None,
    ),
    ('simulate', 'false', 'Record a simulated radar and camera.', BOOLEAN),
    ('radar_topic', '', 'Topic of heatmaps or raw cubes. Empty: as in params_file (radar/heatmap).', None),
    ('image_topic', '', 'Topic of images, raw or compressed. Empty: as in params_file (camera/image_raw).', None),
    ('extra_topics', '', 'Further topics to record, with commas between. Empty: as in params_file.', None),
    ('output', '', 'Folder of the new bag, strftime codes are filled in. Empty: as in params_file.', None),
    (
        'duration',
        '',
        'Seconds from the first radar frame or image on, after which recording, and the launch, end. Empty: on Ctrl-C.',
        None,
    ),
    ('record_on_start', 'true', 'false waits for the service ~/start (or ~/snapshot).', BOOLEAN),
    ('pairs_only', '', 'Leave out radar frames and images without a partner. Empty: as in params_file.', None),
    ('sync', '', "nearest or approximate (message_filters'). Empty: as in params_file.", None),
    ('compress', '', 'Compress the bag with zstd. Empty: as in params_file.', None),
    ('slop_s', '', 'Largest distance of a pair in seconds. Empty: as in params_file.', None),
    ('radar_offset_s', '', "Seconds added to the radar's stamps before pairing. Empty: as in params_file.", None),
    ('image_offset_s', '', "Seconds added to the images' stamps before pairing. Empty: as in params_file.", None),
    (
        'input',
        'auto',
        'What the radar sends: heatmaps, or raw cubes (radar/cube) of which heatmap_node is to form heatmaps, to '
        'record or show them. auto: cubes with simulate:=true, or where the name of radar_topic ends in cube.',
        ['auto', 'cube', 'heatmap'],
    ),
    ('view', 'auto', 'Start pair_view_node, which publishes pairs/preview. auto: with rviz:=true.', ['auto', *BOOLEAN]),
    ('rviz', 'false', 'Open RViz with the live pair view.', BOOLEAN),
    ('namespace', '', 'ROS namespace of all nodes and topics, for instance one for each sensor.', None),
    ('params_file', '', 'Parameter file of the nodes. Empty: config/record.yaml.', None),
    ('scene', '', 'simulate:=true: name of a file in config/scenes/ or a path. Empty: as in params_file.', None),
    ('radar', '', 'simulate:=true: name of a file in config/radars/ or a path. Empty: as in params_file.', None),
    ('rate', '', 'simulate:=true: frames per second. Empty: as in params_file.', None),
    ('use_sim_time', 'false', 'Take the time from /clock (a played bag).', BOOLEAN),
    ('autostart', 'true', 'Configure and activate the nodes; false leaves that to you.', BOOLEAN),
    ('log_level', 'info', 'Level of the log.', ['debug', 'info', 'warn', 'error']),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; what is started depends on their values."""
    return LaunchDescription([*declare(ARGUMENTS), OpaqueFunction(function=describe)])


def describe(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Nodes and event handlers for the given arguments.

    Raises:
        ValueError: arguments that contradict each other or cannot be used; the message names the argument, expected
            and got.
    """
    arguments = read(ARGUMENTS, context)
    namespace = arguments['namespace'].strip('/')
    simulate, sim_time = arguments['simulate'] == 'true', arguments['use_sim_time'] == 'true'
    view = arguments['view'] == 'true' or (arguments['view'] == 'auto' and arguments['rviz'] == 'true')
    radar_input = arguments['input']
    cubes_recorded = records_cubes(arguments)
    if radar_input == 'auto':
        radar_input = 'cube' if simulate or cubes_recorded else 'heatmap'
    if simulate and arguments['camera']:
        raise ValueError(
            f'camera: expected none with simulate:=true, which brings its own, got {arguments["camera"]!r}'
        )
    common = {'use_sim_time': sim_time, 'autostart': arguments['autostart'] == 'true'}

    nodes = {'pair_recorder_node': {**common, **recorder_parameters(arguments)}}
    if simulate:
        nodes['simulator_node'] = {
            **common,
            **({'frame_prefix': f'{namespace}/'} if namespace else {}),
            **given(arguments, 'scene', 'radar'),
            **numbers(arguments, 'rate'),
        }
    if arguments['camera']:
        nodes['camera_node'] = {**common, 'source': arguments['camera']}
    if view or (radar_input == 'cube' and not cubes_recorded):
        nodes['heatmap_node'] = {**common, 'input': radar_input}
    if view:
        nodes['pair_view_node'] = {**common, **view_parameters(arguments)}
    started = {name: suite_node(arguments, PARAMS_FILE, name, parameters) for name, parameters in nodes.items()}
    handlers = [end_with(target, name) for name, target in started.items() if name in ENDING]
    looking = []
    if arguments['rviz'] == 'true':
        topic = f'/{namespace}/pairs/preview' if namespace else '/pairs/preview'
        looking = rviz('record.rviz', RVIZ_TOPICS, namespace, sim_time, f'rqt_image_view {topic}')
    return [*middleware(), *handlers, GroupAction([PushRosNamespace(namespace), *started.values()]), *looking]


def recorder_parameters(arguments: dict[str, str]) -> dict[str, object]:
    """Parameters of the recorder that the launch arguments give; it ends with its recording, and the launch with it."""
    parameters: dict[str, object] = {
        'exit_when_finished': arguments['autostart'] == 'true',
        'record_on_start': arguments['record_on_start'] == 'true',
        **given(arguments, 'radar_topic', 'image_topic', 'sync'),
        **numbers(arguments, 'slop_s', 'radar_offset_s', 'image_offset_s'),
    }
    for name, text in given(arguments, 'pairs_only', 'compress').items():
        if text not in BOOLEAN:
            raise ValueError(f'{name}: expected true or false, got {text!r}')
        parameters[name] = text == 'true'
    if arguments['extra_topics']:
        parameters['extra_topics'] = [topic.strip() for topic in arguments['extra_topics'].split(',')]
    if arguments['output']:
        parameters['output'] = free_output(arguments['output'])
    if arguments['duration']:
        duration = numbers(arguments, 'duration')['duration']
        if duration <= 0:
            raise ValueError(f'duration: expected more than 0 s, got {duration:g} s')
        parameters['max_duration_s'] = duration
    return parameters


def free_output(output: str) -> str:
    """The output as an absolute path; refused before anything starts where it exists.

    Raises:
        ValueError: something of that name exists.
    """
    path = Path(output).expanduser().absolute()
    if os.path.lexists(datetime.now().strftime(str(path))):
        raise ValueError(f'output: expected the name of a new bag, got {str(path)!r}, which exists')
    return str(path)


def view_parameters(arguments: dict[str, str]) -> dict[str, object]:
    """Topics of the pair view: heatmaps are shown, also where raw cubes are recorded."""
    parameters: dict[str, object] = given(arguments, 'image_topic')
    if arguments['radar_topic'] and not records_cubes(arguments):
        parameters['heatmap_topic'] = arguments['radar_topic']
    return parameters


def records_cubes(arguments: dict[str, str]) -> bool:
    """Whether it is raw cubes that go into the bag, as far as the name of their topic tells."""
    return arguments['radar_topic'].endswith('cube')
