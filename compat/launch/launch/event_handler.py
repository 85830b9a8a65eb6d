# SPDX-License-Identifier: Apache-2.0
"""Event handlers: which events they match, and what follows from one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .event import Event
from .launch_description_entity import LaunchDescriptionEntity
from .some_entities_type import SomeEntitiesType

if TYPE_CHECKING:
    from .launch_context import LaunchContext


class BaseEventHandler:
    """Handles the events that `matcher` accepts; entities it returns see the event as `context.locals.event`.

    Args:
        matcher: tells whether an event is to be handled.
        handle_once: unregister after the first event.
    """

    def __init__(self, *, matcher: Callable[[Event], bool], handle_once: bool = False) -> None:
        self._matcher = matcher
        self._handle_once = handle_once

    @property
    def handle_once(self) -> bool:
        """Whether the handler is unregistered after its first event."""
        return self._handle_once

    @property
    def handler_description(self) -> str | None:
        """What the handler does, for people."""
        return None

    @property
    def matcher_description(self) -> str | None:
        """What the handler matches, for people."""
        return None

    def matches(self, event: Event) -> bool:
        """Tell whether the event is to be handled."""
        return self._matcher(event)

    def describe(self) -> tuple[str, list[LaunchDescriptionEntity]]:
        """Return a text for people and the entities that are known to follow from an event."""
        text = (
            f"{type(self).__name__}(matcher='{self.matcher_description}', handler='{self.handler_description}', "
            f'handle_once={self.handle_once})'
        )
        return text, []

    def handle(self, event: Event, context: LaunchContext) -> SomeEntitiesType | None:
        """Handle an event; derived classes call this first and return the entities to visit."""
        context.extend_locals({'event': event})
        if self._handle_once:
            context.unregister_event_handler(self)
        return None


class EventHandler(BaseEventHandler):
    """Answers every matching event with the same entities."""

    def __init__(
        self,
        *,
        matcher: Callable[[Event], bool],
        entities: SomeEntitiesType | None = None,
        handle_once: bool = False,
    ) -> None:
        super().__init__(matcher=matcher, handle_once=handle_once)
        self._entities = entities

    @property
    def entities(self) -> SomeEntitiesType | None:
        """The entities that follow from an event."""
        return self._entities

    def describe(self) -> tuple[str, list[LaunchDescriptionEntity]]:
        """Return a text for people and the entities."""
        text, entities = super().describe()
        if isinstance(self._entities, LaunchDescriptionEntity):
            entities.append(self._entities)
        elif self._entities:
            entities.extend(self._entities)
        return text, entities

    def handle(self, event: Event, context: LaunchContext) -> SomeEntitiesType | None:
        """Return the entities."""
        super().handle(event, context)
        return self._entities
