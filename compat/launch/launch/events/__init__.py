# SPDX-License-Identifier: Apache-2.0
"""The events of a launch; those of its processes are in `events.process`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..action import Action
from ..event import Event
from . import process

if TYPE_CHECKING:
    from ..actions import TimerAction
    from ..launch_description import LaunchDescription

__all__ = ['ExecutionComplete', 'IncludeLaunchDescription', 'Shutdown', 'TimerEvent', 'matches_action', 'process']


def matches_action(target_action: Action) -> Callable[[Action], bool]:
    """Return a matcher for one action."""
    return lambda action: action is target_action


class ExecutionComplete(Event):
    """An action has been executed and all it began has ended."""

    name = 'launch.events.ExecutionComplete'

    def __init__(self, *, action: Action) -> None:
        self._action = action

    @property
    def action(self) -> Action:
        """The action."""
        return self._action


class IncludeLaunchDescription(Event):
    """A launch description is to be visited."""

    name = 'launch.events.IncludeLaunchDescription'

    def __init__(self, launch_description: LaunchDescription) -> None:
        self._launch_description = launch_description

    @property
    def launch_description(self) -> LaunchDescription:
        """The launch description."""
        return self._launch_description


class Shutdown(Event):
    """The launched system is to shut down."""

    name = 'launch.events.Shutdown'

    def __init__(self, *, reason: str = 'reason not given', due_to_sigint: bool = False) -> None:
        self._reason = reason
        self._due_to_sigint = due_to_sigint

    @property
    def reason(self) -> str:
        """Why."""
        return self._reason

    @property
    def due_to_sigint(self) -> bool:
        """Whether the user pressed Ctrl-C."""
        return self._due_to_sigint


class TimerEvent(Event):
    """The time of a timer is up."""

    name = 'launch.events.TimerEvent'

    def __init__(self, *, timer_action: TimerAction) -> None:
        self._timer_action = timer_action

    @property
    def timer_action(self) -> TimerAction:
        """The timer."""
        return self._timer_action
