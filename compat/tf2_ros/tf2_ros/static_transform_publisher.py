# SPDX-License-Identifier: Apache-2.0
"""The static_transform_publisher executable: one static transform from the command line."""

from __future__ import annotations

import math
import random
import signal
import string
import sys
import threading
from collections.abc import Sequence

import rclpy
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from tf2_ros.static_transform_broadcaster import StaticTransformBroadcaster

_USAGE = """\
usage: static_transform_publisher [--x X] [--y Y] [--z Z] [--qx QX] [--qy QY] [--qz QZ] [--qw QW]
                                  [--roll ROLL] [--pitch PITCH] [--yaw YAW]
                                  --frame-id FRAME_ID --child-frame-id CHILD_FRAME_ID

Publishes the pose of the child frame in its parent, the identity unless told otherwise.

  --frame-id FRAME_ID              parent frame
  --child-frame-id CHILD_FRAME_ID  child frame
  --x X, --y Y, --z Z              translation in metres
  --roll, --pitch, --yaw           rotation as fixed-axis angles in radians
  --qx, --qy, --qz, --qw           or as a quaternion"""

_TRANSLATION = ('--x', '--y', '--z')
_QUATERNION = ('--qx', '--qy', '--qz', '--qw')
_EULER = ('--roll', '--pitch', '--yaw')
_FRAMES = ('--frame-id', '--child-frame-id')

# The order of arguments without flags: x y z yaw pitch roll | qx qy qz qw, then the frames.
_OLD_ORDERS = {
    8: (*_TRANSLATION, *reversed(_EULER), *_FRAMES),
    9: (*_TRANSLATION, *_QUATERNION, *_FRAMES),
}

Parameters = dict[str, float | str]


def quaternion_from_euler(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Return (x, y, z, w) of a rotation about the fixed x, then y, then z axis, angles in radians."""
    cr, cp, cy = math.cos(roll / 2), math.cos(pitch / 2), math.cos(yaw / 2)
    sr, sp, sy = math.sin(roll / 2), math.sin(pitch / 2), math.sin(yaw / 2)
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def parse_arguments(args: Sequence[str]) -> Parameters | None:
    """Return the node's parameters as given on the command line, None if only help is wanted.

    Args:
        args: without the program's name and ROS arguments.

    Raises:
        ValueError: naming the argument at fault.
    """
    if not args:
        raise ValueError('Not enough arguments to parse')
    values: dict[str, str] = {}
    loose: list[str] = []
    remaining = iter(args)
    for argument in remaining:
        if argument in ('-h', '--help'):
            return None
        if argument in (*_TRANSLATION, *_QUATERNION, *_EULER, *_FRAMES):
            value = next(remaining, None)
            if value is None:
                raise ValueError(f'Not enough arguments for {argument}')
            values[argument] = value
        else:
            loose.append(argument)
    if len(loose) in _OLD_ORDERS:
        get_logger('static_transform_publisher').warning(
            'Old-style arguments are deprecated; see --help for new-style arguments'
        )
        if values:
            raise ValueError('Cannot specify both new-style (flags) and old-style (arguments)')
        values = dict(zip(_OLD_ORDERS[len(loose)], loose, strict=True))
    elif loose:
        raise ValueError(f'Extra unparsed arguments on command-line: {" ".join(loose)}')
    if any(key in values for key in _EULER) and any(key in values for key in _QUATERNION):
        raise ValueError('Cannot specify both quaternion and Euler rotations')
    return _parameters(values)


def _parameters(values: dict[str, str]) -> Parameters:
    def number(key: str, default: float = 0.0) -> float:
        try:
            return float(values.get(key, default))
        except ValueError as error:
            raise ValueError(f'Failed to parse {key} argument as float: got {values[key]!r}') from error

    if any(key in values for key in _EULER):
        rotation = quaternion_from_euler(*(number(key) for key in _EULER))
    else:
        rotation = (number('--qx'), number('--qy'), number('--qz'), number('--qw', 1.0))
    parameters: Parameters = {f'translation.{key[-1]}': number(key) for key in _TRANSLATION}
    parameters.update(zip((f'rotation.{axis}' for axis in 'xyzw'), rotation, strict=True))
    frame, child_frame = (values.get(key, '') for key in _FRAMES)
    if not frame:
        raise ValueError('Frame id must not be empty')
    if not child_frame:
        raise ValueError('Child frame id must not be empty')
    if frame == child_frame:
        raise ValueError(f'Child frame id cannot equal frame id, both are {frame!r}')
    return {**parameters, 'frame_id': frame, 'child_frame_id': child_frame}


class StaticTransformPublisher(Node):
    """A node of a unique name that publishes the transform in its read-only parameters.

    Args:
        parameters: translation.x|y|z, rotation.x|y|z|w, frame_id and child_frame_id.
    """

    def __init__(self, parameters: Parameters) -> None:
        suffix = ''.join(random.SystemRandom().choices(string.ascii_letters + string.digits, k=16))
        super().__init__(
            f'static_transform_publisher_{suffix}',
            parameter_overrides=[Parameter(name, value=value) for name, value in parameters.items()],
        )
        declared = {
            name: self.declare_parameter(name, value, ParameterDescriptor(read_only=True)).value
            for name, value in parameters.items()
        }
        transform = TransformStamped()
        transform.header.stamp = self.get_clock().now().to_msg()
        transform.header.frame_id = declared['frame_id']
        transform.child_frame_id = declared['child_frame_id']
        for axis in 'xyz':
            setattr(transform.transform.translation, axis, declared[f'translation.{axis}'])
        for axis in 'xyzw':
            setattr(transform.transform.rotation, axis, declared[f'rotation.{axis}'])
        self._broadcaster = StaticTransformBroadcaster(self)
        self._broadcaster.sendTransform(transform)
        translation = ', '.join(f'{declared[f"translation.{axis}"]:f}' for axis in 'xyz')
        rotation = ', '.join(f'{declared[f"rotation.{axis}"]:f}' for axis in 'xyzw')
        self.get_logger().info(
            f'Spinning until stopped - publishing transform\ntranslation: ({translation})\nrotation: ({rotation})\n'
            f"from '{declared['frame_id']}' to '{declared['child_frame_id']}'"
        )


def main(args: Sequence[str] | None = None) -> int:
    """Publish until SIGINT or SIGTERM, both blocked by the caller; returns the exit status (1 for wrong arguments)."""
    arguments = list(sys.argv if args is None else args)
    try:
        parameters = parse_arguments(remove_ros_args(arguments)[1:])
    except ValueError as error:
        get_logger('static_transform_publisher').error(f'error parsing command line arguments: {error}')
        print(_USAGE)
        return 1
    if parameters is None:
        print(_USAGE)
        return 0
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    executor.add_node(StaticTransformPublisher(parameters))
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    signal.sigwait((signal.SIGINT, signal.SIGTERM))
    executor.shutdown()
    spinning.join()
    rclpy.shutdown()
    return 0
