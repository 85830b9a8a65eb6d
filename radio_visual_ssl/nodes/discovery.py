# SPDX-License-Identifier: Apache-2.0
"""What publishes a topic: its type, how it is offered, and how to subscribe so that every publisher is heard."""

from collections.abc import Collection
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from radio_visual_ssl.nodes.parameters import similar_names

LATCHED_DEPTH = 100
"""Messages of a latched topic to ask for: /tf_static has one of each of its publishers."""

SHOWN = 5
"""Topics that an error proposes at most."""

PICTURES = '/preview'
"""How the names of topics end that are drawn for people: never what somebody meant to record."""


UNNAMED = '_NODE_NAME_UNKNOWN_'
"""What rmw_fastrtps calls the node of a publisher that it has heard of before it has heard of the node."""


@dataclass(frozen=True)
class Source:
    """What publishes a topic.

    Attributes:
        message_type: such as ``'sensor_msgs/msg/Image'``.
        type_hash: of the definition that the publisher was built with; empty where the middleware does not say.
        reliable: all publishers are.
        latched: all publishers keep their last messages for late subscribers.
        publishers: identity of each.
        nodes: their names; a publisher may be known before its node is: the middleware announces both apart.
    """

    message_type: str
    type_hash: str
    reliable: bool
    latched: bool
    publishers: frozenset[bytes]
    nodes: tuple[str, ...]

    def qos(self, depth: int) -> QoSProfile:
        """The strictest profile that every publisher matches."""
        return QoSProfile(
            depth=max(depth, LATCHED_DEPTH) if self.latched else depth,
            reliability=ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE,
            history=HistoryPolicy.KEEP_LAST,
        )

    def recorded_qos(self) -> Qos:
        """The profile as a bag keeps it, for players."""
        infinite = QosTime(9223372036, 854775807)
        return Qos(
            history=QosHistory.KEEP_LAST,
            depth=1 if self.latched else 10,
            reliability=QosReliability.RELIABLE if self.reliable else QosReliability.BEST_EFFORT,
            durability=QosDurability.TRANSIENT_LOCAL if self.latched else QosDurability.VOLATILE,
            deadline=infinite,
            lifespan=infinite,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=infinite,
            avoid_ros_namespace_conventions=False,
        )


def find_source(node: Node, topic: str) -> Source | None:
    """What publishes a topic, or None where nobody does.

    Raises:
        ValueError: publishers of different types; the message names the topic and who publishes what.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return None
    types = {entry.topic_type for entry in publishers}
    if len(types) > 1:
        each = ', '.join(sorted(f'{entry.topic_type} of {entry.node_name}' for entry in publishers))
        raise ValueError(f'{topic}: expected publishers of one type, got {each}')
    hashes = {str(entry.topic_type_hash) for entry in publishers if entry.topic_type_hash.version}
    return Source(
        message_type=types.pop(),
        type_hash=hashes.pop() if len(hashes) == 1 else '',
        reliable=all(entry.qos_profile.reliability == ReliabilityPolicy.RELIABLE for entry in publishers),
        latched=all(entry.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for entry in publishers),
        publishers=frozenset(bytes(entry.endpoint_gid) for entry in publishers),
        nodes=tuple(sorted({entry.node_name for entry in publishers} - {UNNAMED})),
    )


def similar_topics(node: Node, topic: str, types: Collection[str] = (), besides: Collection[str] = ()) -> str:
    """What might have been meant by a topic that nobody publishes.

    Args:
        node: whose graph is searched.
        topic: resolved name.
        types: message types that would do; topics of these are named where no name is similar.
        besides: topics that are in use already, so they are not meant.

    Returns:
        ``; did you mean '/a' or '/b'?``, ``; topics of such a type: /c, /d``, or the empty text.
    """
    known = {
        name: kinds
        for name, kinds in node.get_topic_names_and_types()
        if name not in (topic, *besides) and not name.endswith(PICTURES) and node.count_publishers(name) > 0
    }
    if near := similar_names(topic, known):
        return near
    fitting = sorted(name for name, kinds in known.items() if set(kinds) & set(types))
    return f'; topics of such a type: {", ".join(fitting[:SHOWN])}' if fitting else ''
