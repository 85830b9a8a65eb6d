# SPDX-License-Identifier: Apache-2.0
"""Quality of service from the command line, or matched to the publishers of a topic."""

import argparse
import sys
from typing import TYPE_CHECKING

from ros2cli.arguments import non_negative_float, non_negative_int

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

# rclpy.qos knows these names too, but importing it makes --help four times slower
_PROFILES = (
    'unknown',
    'default',
    'system_default',
    'sensor_data',
    'services_default',
    'parameters',
    'parameter_events',
    'action_status_default',
    'best_available',
)
_POLICIES = {
    'history': ('system_default', 'keep_last', 'keep_all', 'unknown'),
    'reliability': ('system_default', 'reliable', 'best_effort', 'unknown', 'best_available'),
    'durability': ('system_default', 'transient_local', 'volatile', 'unknown', 'best_available'),
    'liveliness': ('system_default', 'automatic', 'manual_by_topic', 'unknown', 'best_available'),
}


def add_qos_options(parser: argparse.ArgumentParser, default_profile: str) -> None:
    """Adds `--qos-profile` and an option for each policy of it."""
    parser.add_argument(
        '--qos-profile', choices=_PROFILES, default=default_profile, help='preset to start from (default: %(default)s)'
    )
    parser.add_argument('--qos-depth', metavar='N', type=non_negative_int, help='queue size in place of the preset')
    for policy, choices in _POLICIES.items():
        parser.add_argument(f'--qos-{policy}', choices=choices, help=f'{policy} in place of the preset')
    parser.add_argument(
        '--qos-liveliness-lease-duration-seconds',
        type=non_negative_float,
        metavar='S',
        help='liveliness lease duration in place of the preset',
    )


def is_qos_given(arguments: argparse.Namespace) -> bool:
    """Whether any policy was named on the command line."""
    values = [getattr(arguments, f'qos_{policy}') for policy in _POLICIES]
    values += [arguments.qos_depth, arguments.qos_liveliness_lease_duration_seconds]
    return any(value is not None for value in values)


def qos_from_arguments(arguments: argparse.Namespace) -> 'QoSProfile':
    """Preset of the command line with the policies that were named."""
    from rclpy import qos
    from rclpy.duration import Duration

    profile = preset(arguments.qos_profile)
    kinds = {
        'history': qos.QoSHistoryPolicy,
        'reliability': qos.QoSReliabilityPolicy,
        'durability': qos.QoSDurabilityPolicy,
        'liveliness': qos.QoSLivelinessPolicy,
    }
    for policy, kind in kinds.items():
        key = getattr(arguments, f'qos_{policy}')
        if key is not None:
            setattr(profile, policy, kind.get_from_short_key(key))
    if arguments.qos_liveliness_lease_duration_seconds is not None:
        profile.liveliness_lease_duration = Duration(seconds=arguments.qos_liveliness_lease_duration_seconds)
    if arguments.qos_depth is not None:
        profile.depth = arguments.qos_depth
    elif profile.durability == qos.QoSDurabilityPolicy.TRANSIENT_LOCAL and profile.depth == 0:
        profile.depth = 1
    return profile


def preset(name: str) -> 'QoSProfile':
    """A preset profile: rclpy's own object, which one command on one topic may change."""
    from rclpy.qos import QoSPresetProfiles

    return QoSPresetProfiles.get_from_short_key(name)


def match_publishers(node: 'Node', topic: str, profile: 'QoSProfile') -> 'QoSProfile':
    """Changes reliability and durability of a subscription so that it hears every publisher.

    Reliable and transient local if all publishers are, so that latched messages arrive; else best effort and volatile,
    with a line on stderr where publishers differ. Without publishers the profile stays as it is.
    """
    from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy

    offered = [publisher.qos_profile for publisher in node.get_publishers_info_by_topic(topic)]
    if not offered:
        return profile
    for policy, strong, weak in (
        ('reliability', QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT),
        ('durability', QoSDurabilityPolicy.TRANSIENT_LOCAL, QoSDurabilityPolicy.VOLATILE),
    ):
        strong_count = sum(getattr(qos, policy) == strong for qos in offered)
        setattr(profile, policy, strong if strong_count == len(offered) else weak)
        if 0 < strong_count < len(offered):
            print(
                f'Some, but not all, publishers of {topic} offer {policy} {strong.name}: '
                f'falling back to {weak.name}, which reaches all of them',
                file=sys.stderr,
            )
    return profile
