# SPDX-License-Identifier: Apache-2.0
"""Events of lifecycle nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from launch.event import Event
from lifecycle_msgs.msg import Transition

from .matchers import matches_node_name

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from lifecycle_msgs.msg import TransitionEvent

    from ..actions import LifecycleNode

__all__ = ['TRANSITIONS', 'ChangeState', 'StateTransition', 'matches_node_name']


class TransitionInfo(NamedTuple):
    """A transition: its name, and the states that the node reports when it has been made."""

    name: str
    start: str | None = None
    goal: str | None = None


TRANSITIONS: dict[int, TransitionInfo] = {
    Transition.TRANSITION_CREATE: TransitionInfo('TRANSITION_CREATE'),
    Transition.TRANSITION_CONFIGURE: TransitionInfo('TRANSITION_CONFIGURE', 'configuring', 'inactive'),
    Transition.TRANSITION_CLEANUP: TransitionInfo('TRANSITION_CLEANUP', 'cleaningup', 'unconfigured'),
    Transition.TRANSITION_ACTIVATE: TransitionInfo('TRANSITION_ACTIVATE', 'activating', 'active'),
    Transition.TRANSITION_DEACTIVATE: TransitionInfo('TRANSITION_DEACTIVATE', 'deactivating', 'inactive'),
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: TransitionInfo(
        'TRANSITION_UNCONFIGURED_SHUTDOWN', 'shuttingdown', 'finalized'
    ),
    Transition.TRANSITION_INACTIVE_SHUTDOWN: TransitionInfo(
        'TRANSITION_INACTIVE_SHUTDOWN', 'shuttingdown', 'finalized'
    ),
    Transition.TRANSITION_ACTIVE_SHUTDOWN: TransitionInfo('TRANSITION_ACTIVE_SHUTDOWN', 'shuttingdown', 'finalized'),
    Transition.TRANSITION_DESTROY: TransitionInfo('TRANSITION_DESTROY'),
}


class ChangeState(Event):
    """Lifecycle nodes are to change their state.

    Args:
        lifecycle_node_matcher: tells which nodes.
        transition_id: one of `lifecycle_msgs.msg.Transition`.

    Raises:
        ValueError: if there is no such transition.
    """

    name = 'launch_ros.events.lifecycle.ChangeState'
    valid_transitions = {id_: transition.name for id_, transition in TRANSITIONS.items()}

    def __init__(self, *, lifecycle_node_matcher: Callable[[LifecycleNode], bool], transition_id: int) -> None:
        if transition_id not in TRANSITIONS:
            expected = ', '.join(f'{transition.name}: {id_}' for id_, transition in TRANSITIONS.items())
            raise ValueError(f"given transition_id of '{transition_id}', expected one of {{{expected}}}")
        self._lifecycle_node_matcher = lifecycle_node_matcher
        self._transition_id = transition_id

    @property
    def lifecycle_node_matcher(self) -> Callable[[LifecycleNode], bool]:
        """Tells which nodes."""
        return self._lifecycle_node_matcher

    @property
    def transition_id(self) -> int:
        """The transition."""
        return self._transition_id


class StateTransition(Event):
    """A lifecycle node has changed its state."""

    name = 'launch_ros.events.lifecycle.StateTransition'

    def __init__(self, *, action: LifecycleNode, msg: TransitionEvent) -> None:
        self._action = action
        self._msg = msg

    @property
    def action(self) -> LifecycleNode:
        """The action that runs the node."""
        return self._action

    @property
    def msg(self) -> TransitionEvent:
        """The message that told of it."""
        return self._msg

    @property
    def timestamp(self) -> Time:
        """When."""
        return self._msg.timestamp

    @property
    def transition(self) -> str:
        """Label of the transition."""
        return self._msg.transition.label

    @property
    def start_state(self) -> str:
        """Label of the state before."""
        return self._msg.start_state.label

    @property
    def goal_state(self) -> str:
        """Label of the state after."""
        return self._msg.goal_state.label
