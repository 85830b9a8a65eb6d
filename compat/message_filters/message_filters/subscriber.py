# SPDX-License-Identifier: Apache-2.0
"""A ROS subscription as the first filter of a chain."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

from message_filters.simple_filter import SimpleFilter


class Subscriber(SimpleFilter):
    """Subscribes and passes on what arrives; it also answers for its subscription's own attributes.

    Args:
        node: the node that subscribes.
        msg_type: message class.
        topic: topic name, resolved in the node's namespace.
        **kwargs: as of `Node.create_subscription` (`qos_profile`, 10 unless given; `callback_group`; `raw`, which
            passes on CDR bytes).

    Attributes:
        node: the node.
        topic: the name as given.
        sub: the rclpy subscription.
    """

    def __init__(self, node: Node, msg_type: type, topic: str, /, **kwargs: Any) -> None:
        super().__init__()
        self.node = node
        self.topic = topic
        kwargs.setdefault('qos_profile', 10)
        self.sub = node.create_subscription(msg_type, topic, self.callback, **kwargs)

    def callback(self, msg: Any) -> None:
        """Pass on one received message."""
        self.signalMessage(msg)

    def getTopic(self) -> str:
        """Return the topic's name as it was given."""
        return self.topic

    def __getattr__(self, key: str) -> Any:
        if key == 'sub':  # not yet subscribed: looking it up through itself would never end
            raise AttributeError(key)
        return getattr(self.sub, key)
