# SPDX-License-Identifier: Apache-2.0
"""Reading the time of a message."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ROSClock
from rclpy.logging import get_logger
from rclpy.time import Time


def stamp_of(msg: Any, allow_headerless: bool, logger_name: str) -> Time | None:
    """Return a message's stamp.

    Args:
        msg: a message whose `header.stamp` is a builtin_interfaces Time or an rclpy Time.
        allow_headerless: take the current ROS time for a message without header; otherwise warn and return None.
        logger_name: the logger that warns.
    """
    stamp = getattr(getattr(msg, 'header', None), 'stamp', None)
    if stamp is not None:
        return stamp if hasattr(stamp, 'nanoseconds') else Time.from_msg(stamp)
    if allow_headerless:
        return ROSClock().now()
    get_logger(logger_name).warning(
        f'dropped a {type(msg).__name__} without header.stamp; allow_headerless=True takes its time of arrival'
    )
    return None
