# SPDX-License-Identifier: Apache-2.0
"""Conversion between ROS image messages and NumPy images: the Python API of cv_bridge (Jazzy)."""

from cv_bridge.core import CvBridge
from cv_bridge.encodings import CvBridgeError, getCvType

__all__ = ['CvBridge', 'CvBridgeError', 'getCvType']
