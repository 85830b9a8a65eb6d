# SPDX-License-Identifier: Apache-2.0
"""A subscription that passes serialized messages on as a message filter; nothing is deserialised but the stamp."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from message_filters import SimpleFilter
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from radio_visual_ssl.bags.messages import MessageError, RclpyTypes, serialized_stamp_ns, stamp_from_ns


@dataclass(frozen=True)
class RawHeader:
    """What message filters ask of a header.

    Attributes:
        stamp: builtin_interfaces/Time, with the offset of its stream.
    """

    stamp: Time


@dataclass(frozen=True)
class RawMessage:
    """A serialized message with what pairing and recording need.

    Attributes:
        data: CDR bytes as they came.
        stamp_ns: of the header, as it came, 0 where the bytes end before it; None for a type without a header.
        received_ns: when it arrived, in the node's time.
        offset_ns: added to the stamp for message filters.
    """

    data: bytes
    stamp_ns: int | None
    received_ns: int
    offset_ns: int = 0

    @property
    def header(self) -> RawHeader:
        """The header that synchronizers look at.

        Raises:
            AttributeError: the type has no header.
        """
        if self.stamp_ns is None:
            raise AttributeError('header')
        return RawHeader(stamp_from_ns(self.stamp_ns + self.offset_ns, RclpyTypes()))


class RawSubscriber(SimpleFilter):
    """Subscribes and passes on ``RawMessage`` objects.

    Args:
        node: that subscribes.
        message_type: class of the message; its first field decides whether there is a stamp.
        topic: relative to the node's namespace.
        qos: of the subscription.
        offset_ns: added to the stamps that message filters see.
        qos_overriding_options: which policies parameters may override.

    Attributes:
        subscription: the rclpy subscription.
        received: messages so far.
        lost: messages that a gap in the publisher's numbering tells of: they were sent but never came. 0 where the
            middleware numbers nothing. It means something only while there is one publisher.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        qos: QoSProfile,
        *,
        offset_ns: int = 0,
        qos_overriding_options: QoSOverridingOptions | None = None,
    ) -> None:
        super().__init__()
        self.received = 0
        self.lost = 0
        self._clock: Any = node.get_clock()
        self._stamped = has_header(message_type)
        self._offset_ns = offset_ns
        self._number: int | None = None
        receive: Any = self._receive  # rclpy looks at its arguments: the second one is the message info
        self.subscription = node.create_subscription(
            message_type, topic, receive, qos, raw=True, qos_overriding_options=qos_overriding_options
        )

    def _receive(self, data: bytes, info: Mapping[str, Any]) -> None:
        self.received += 1
        number = info['publication_sequence_number']
        if number is not None:
            if self._number is not None and number > self._number:
                self.lost += number - self._number - 1
            self._number = number
        # The middleware's time of arrival knows nothing of a busy executor, nor of simulated time.
        simulated = self._clock.ros_time_is_active
        received_ns = 0 if simulated else info['received_timestamp']
        received_ns = received_ns or self._clock.now().nanoseconds  # 0: a middleware that does not tell
        self.signalMessage(RawMessage(data, self._stamp_ns(data), received_ns, self._offset_ns))

    def _stamp_ns(self, data: bytes) -> int | None:
        if not self._stamped:
            return None
        try:
            return serialized_stamp_ns(data)
        except MessageError:  # torn bytes are recorded, too, as a message without a stamp
            return 0


def has_header(message_type: type[Any]) -> bool:
    """Whether a message class begins with a std_msgs/Header, so that its stamp can be read from its bytes."""
    fields = message_type.get_fields_and_field_types()
    return next(iter(fields.items()), None) == ('header', 'std_msgs/Header')
