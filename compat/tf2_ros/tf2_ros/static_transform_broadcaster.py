# SPDX-License-Identifier: Apache-2.0
"""Broadcasting of frames that never move."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from tf2_ros.transform_broadcaster import as_list


class StaticTransformBroadcaster:
    """Publishes transforms on /tf_static, where a late subscriber still gets them.

    Args:
        node: the node that publishes.
        qos: profile or history depth; transient local with depth 1 unless given.

    Attributes:
        net_message: all transforms sent so far, the message last published.
    """

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        if qos is None:
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, history=HistoryPolicy.KEEP_LAST)
        self.pub_tf = node.create_publisher(TFMessage, '/tf_static', qos)
        self.net_message = TFMessage()

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish all transforms sent so far with these added.

        A child frame stays where it was put first, as in the original.
        """
        known = {sent.child_frame_id for sent in self.net_message.transforms}
        for added in as_list(transform):
            if added.child_frame_id not in known:
                known.add(added.child_frame_id)
                self.net_message.transforms.append(added)
        self.pub_tf.publish(self.net_message)
