# SPDX-License-Identifier: Apache-2.0
"""Waiting by the clock of ROS, which may be simulated."""

from __future__ import annotations

import asyncio
from typing import Any

from launch.actions import TimerAction
from launch.events import TimerEvent
from launch.utilities.type_utils import perform_typed_substitution

from launch import Action, LaunchContext


class ROSTimer(TimerAction):
    """A `TimerAction` by the clock of ROS; see `SetUseSimTime`."""

    async def _wait_to_fire_event(self, context: LaunchContext) -> None:
        from ..ros_adapters import get_ros_node

        loop = context.asyncio_loop
        elapsed = asyncio.Event()
        node = get_ros_node(context)
        period = perform_typed_substitution(context, self._period, float)
        timer = node.create_timer(period, lambda: loop.call_soon_threadsafe(elapsed.set))
        waiting = asyncio.ensure_future(elapsed.wait())
        await asyncio.wait([waiting, self._canceled_future], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not self._canceled_future.done():
            timer.cancel()
            context.emit_event_sync(TimerEvent(timer_action=self))


class SetUseSimTime(Action):
    """Lets `ROSTimer` go by the topic /clock. For nodes use `SetParameter('use_sim_time', True)`."""

    def __init__(self, value: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._value = value

    @property
    def value(self) -> bool:
        """Whether to go by /clock."""
        return self._value

    def execute(self, context: LaunchContext) -> None:
        """Set the parameter `use_sim_time` of the launch's own node.

        Raises:
            RuntimeError: if the node does not take it.
        """
        from rclpy.parameter import Parameter

        from ..ros_adapters import get_ros_node

        parameter = Parameter('use_sim_time', Parameter.Type.BOOL, self._value)
        result = get_ros_node(context).set_parameters([parameter])[0]
        if not result.successful:
            raise RuntimeError(f'cannot set use_sim_time to {self._value}: {result.reason}')
