# SPDX-License-Identifier: Apache-2.0
"""Running lifecycle nodes, and leading them through their states."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from launch.actions import EmitEvent, RegisterEventHandler
from launch.event import Event
from launch.event_handler import BaseEventHandler
from launch.logging import get_logger
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from launch import Action, LaunchContext, SomeSubstitutionsType

from ..events.lifecycle import TRANSITIONS, ChangeState, StateTransition
from ..events.matchers import matches_node_name
from .node import Node

if TYPE_CHECKING:
    from lifecycle_msgs.msg import TransitionEvent

_POLL_S = 0.1


class LifecycleNode(Node):
    """Runs a lifecycle node.

    It emits `launch_ros.events.lifecycle.StateTransition` when the node changes its state, and requests a change of the
    node on a `ChangeState` event.

    Args:
        name: of the node.
        namespace: of the node, below the scope's unless it is absolute.
        kwargs: for `Node`.
    """

    def __init__(self, *, name: SomeSubstitutionsType, namespace: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(name=name, namespace=namespace, **kwargs)

    def execute(self, context: LaunchContext) -> None:
        """Begin to run the node and to watch its state."""
        from lifecycle_msgs.msg import TransitionEvent
        from lifecycle_msgs.srv import ChangeState as ChangeStateService

        from ..ros_adapters import get_ros_node

        self._perform_substitutions(context)
        node = get_ros_node(context)
        loop = context.asyncio_loop

        def on_transition(message: TransitionEvent) -> None:
            loop.call_soon_threadsafe(context.emit_event_sync, StateTransition(action=self, msg=message))

        self._subscription = node.create_subscription(
            TransitionEvent, f'{self.node_name}/transition_event', on_transition, 10
        )
        self._client = node.create_client(ChangeStateService, f'{self.node_name}/change_state')
        context.register_event_handler(_OnChangeState(self))
        super().execute(context)

    async def change_state(self, transition_id: int, context: LaunchContext) -> None:
        """Request a transition of the node, and wait for the answer until the launch is shut down."""
        from lifecycle_msgs.srv import ChangeState as ChangeStateService

        name = TRANSITIONS[transition_id].name
        while not context.is_shutdown and not self._client.service_is_ready():
            await asyncio.sleep(_POLL_S)
        answer = None
        if not context.is_shutdown:
            request = ChangeStateService.Request()
            request.transition.id = transition_id
            answer = self._client.call_async(request)
            while not context.is_shutdown and not answer.done():
                await asyncio.sleep(_POLL_S / 10)
        logger = get_logger(__name__)
        if answer is None or not answer.done():
            logger.warning(f"Abandoning transition '{name}' of LifecycleNode '{self.node_name}', due to shutdown.")
        elif not answer.result().success:
            logger.error(f"Failed to make transition '{name}' for LifecycleNode '{self.node_name}'")


class _OnChangeState(BaseEventHandler):
    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(matcher=lambda event: isinstance(event, ChangeState))
        self._node = node

    def handle(self, event: Event, context: LaunchContext) -> None:
        super().handle(event, context)
        if event.lifecycle_node_matcher(self._node):
            change = self._node.change_state(event.transition_id, context)
            context.add_completion_future(context.asyncio_loop.create_task(change))


class LifecycleTransition(Action):
    """Leads lifecycle nodes of this launch through transitions, each after the node has made the one before.

    Args:
        lifecycle_node_names: full names of the nodes.
        transition_ids: ids in `lifecycle_msgs.msg.Transition`.
        kwargs: for `Action`.
    """

    def __init__(
        self,
        *,
        lifecycle_node_names: Iterable[SomeSubstitutionsType],
        transition_ids: Iterable[int | SomeSubstitutionsType],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        normalize = normalize_to_list_of_substitutions
        self._node_names = [normalize(name) for name in lifecycle_node_names]
        self._transition_ids = [normalize(str(id_) if isinstance(id_, int) else id_) for id_ in transition_ids]
        if not self._node_names:
            raise ValueError('No lifecycle_node_names provided.')
        if not self._transition_ids:
            raise ValueError('No transition_ids provided.')

    def execute(self, context: LaunchContext) -> list[Action]:
        """Return what requests the first transition of each node, and the others in their turn.

        Raises:
            ValueError: if an id is not the id of a transition that can be requested.
        """
        ids = []
        for transition_id in self._transition_ids:
            text = perform_substitutions(context, transition_id)
            if not text.isdecimal() or TRANSITIONS.get(int(text)) is None or TRANSITIONS[int(text)].goal is None:
                requestable = [str(id_) for id_, transition in TRANSITIONS.items() if transition.goal is not None]
                raise ValueError(f"lifecycle transition is '{text}', expected one of {', '.join(requestable)}")
            ids.append(int(text))
        steps = [_Steps(perform_substitutions(context, name), list(ids)) for name in self._node_names]
        return [*(RegisterEventHandler(step) for step in steps), *(step.request_next() for step in steps)]


class _Steps(BaseEventHandler):
    """Requests the next transition of a node whenever it has made one."""

    def __init__(self, node_name: str, transition_ids: list[int]) -> None:
        self._matches_node = matches_node_name(node_name)
        self._node_name = node_name
        self._transition_ids = transition_ids
        super().__init__(matcher=lambda event: isinstance(event, StateTransition) and self._matches_node(event.action))

    def request_next(self) -> EmitEvent:
        event = ChangeState(lifecycle_node_matcher=self._matches_node, transition_id=self._transition_ids[0])
        return EmitEvent(event=event)

    def handle(self, event: Event, context: LaunchContext) -> EmitEvent | None:
        super().handle(event, context)
        if event.goal_state == 'errorprocessing':
            get_logger(__name__).info(f'Stopping transitions for {self._node_name}: an error occurred')
            context.unregister_event_handler(self)
            return None
        transition = TRANSITIONS[self._transition_ids[0]]
        if (event.start_state, event.goal_state) != (transition.start, transition.goal):
            return None
        self._transition_ids.pop(0)
        if self._transition_ids:
            return self.request_next()
        context.unregister_event_handler(self)
        return None
