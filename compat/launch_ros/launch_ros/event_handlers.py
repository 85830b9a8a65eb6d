# SPDX-License-Identifier: Apache-2.0
"""Event handlers for the events of lifecycle nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launch.event import Event

from launch import EventHandler, SomeEntitiesType

from .actions import LifecycleNode
from .events.lifecycle import StateTransition

__all__ = ['OnStateTransition']


class OnStateTransition(EventHandler):
    """Follows when a lifecycle node has changed its state.

    Args:
        entities: to visit.
        target_lifecycle_node: the node, None for all.
        transition: label of the transition, None for all.
        start_state: label of the state before, None for all.
        goal_state: label of the state after, None for all.
        matcher: used instead of the four above.
        kwargs: for `EventHandler`.
    """

    def __init__(
        self,
        *,
        entities: SomeEntitiesType,
        target_lifecycle_node: LifecycleNode | None = None,
        transition: str | None = None,
        start_state: str | None = None,
        goal_state: str | None = None,
        matcher: Callable[[Event], bool] | None = None,
        **kwargs: Any,
    ) -> None:
        if target_lifecycle_node is not None and not isinstance(target_lifecycle_node, LifecycleNode):
            raise RuntimeError(
                f"OnStateTransition requires a 'LifecycleNode' action as the target, got {target_lifecycle_node!r}"
            )
        wanted = {
            'action': target_lifecycle_node,
            'transition': transition,
            'start_state': start_state,
            'goal_state': goal_state,
        }

        def matches(event: Event) -> bool:
            return isinstance(event, StateTransition) and all(
                value is None or getattr(event, name) == value for name, value in wanted.items()
            )

        super().__init__(matcher=matcher or matches, entities=entities, **kwargs)

    @property
    def handler_description(self) -> str:
        """What the handler does, for people."""
        return '<actions>'

    @property
    def matcher_description(self) -> str:
        """What the handler matches, for people."""
        return 'event == StateTransition'
