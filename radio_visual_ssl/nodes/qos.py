# SPDX-License-Identifier: Apache-2.0
"""Quality of service of the suite's topics; each can be overridden by ``qos_overrides.<topic>...`` parameters."""

from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def sensor_qos() -> QoSProfile:
    """Subscription to a sensor: best effort like SensorDataQoS, so that it matches any publisher.

    It keeps 10 messages in place of 5: at 20 Hz a process that gets no core for half a second loses nothing.
    """
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def output_qos() -> QoSProfile:
    """Output of a node: reliable, the last 10 messages; it matches any subscription that asks for no history."""
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def latched_qos(depth: int = 1) -> QoSProfile:
    """Information that a late subscription still gets: reliable, transient local."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def overridable() -> QoSOverridingOptions:
    """The policies that a user may override by parameter."""
    return QoSOverridingOptions(
        (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    )
