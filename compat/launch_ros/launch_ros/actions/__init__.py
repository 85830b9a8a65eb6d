# SPDX-License-Identifier: Apache-2.0
"""All actions."""

from .lifecycle import LifecycleNode, LifecycleTransition
from .node import Node
from .ros_time import ROSTimer, SetUseSimTime
from .scopes import PushROSNamespace, SetParameter, SetParametersFromFile, SetRemap, SetROSLogDir

PushRosNamespace = PushROSNamespace
RosTimer = ROSTimer

__all__ = [
    'LifecycleNode',
    'LifecycleTransition',
    'Node',
    'PushROSNamespace',
    'PushRosNamespace',
    'ROSTimer',
    'RosTimer',
    'SetParameter',
    'SetParametersFromFile',
    'SetROSLogDir',
    'SetRemap',
    'SetUseSimTime',
]
