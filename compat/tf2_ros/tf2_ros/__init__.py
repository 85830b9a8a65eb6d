# SPDX-License-Identifier: Apache-2.0
"""Broadcasters of coordinate frames: that part of the Python API of tf2_ros (Jazzy)."""

from tf2_ros.static_transform_broadcaster import StaticTransformBroadcaster
from tf2_ros.transform_broadcaster import TransformBroadcaster

__all__ = ['StaticTransformBroadcaster', 'TransformBroadcaster']
