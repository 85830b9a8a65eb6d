# SPDX-License-Identifier: Apache-2.0
"""Event handlers for the events of actions, processes and the launch itself."""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .event import Event
from .event_handler import BaseEventHandler, EventHandler
from .events import ExecutionComplete, IncludeLaunchDescription, Shutdown
from .events.process import ProcessExited, ProcessIO, ProcessStarted
from .launch_context import LaunchContext
from .launch_description_entity import LaunchDescriptionEntity
from .some_entities_type import SomeEntitiesType
from .utilities import is_a_subclass

if TYPE_CHECKING:
    from .action import Action
    from .actions import ExecuteLocal

__all__ = [
    'OnActionEventBase',
    'OnExecutionComplete',
    'OnIncludeLaunchDescription',
    'OnProcessExit',
    'OnProcessIO',
    'OnProcessStart',
    'OnShutdown',
    'event_named',
]


def event_named(name: str) -> Callable[[Event], bool]:
    """Return a matcher for events with a name."""
    return lambda event: event.name == name


class OnActionEventBase(BaseEventHandler):
    """Base of handlers for events that have an action.

    Args:
        action_matcher: the action, a function that tells whether an action is meant, or None for all.
        on_event: entities to visit, or a function `(event, context)` that returns them.
        target_event_cls: class of the events.
        target_action_cls: class of the actions.
        kwargs: for `BaseEventHandler`.
    """

    def __init__(
        self,
        *,
        action_matcher: Callable[[Action], bool] | Action | None,
        on_event: SomeEntitiesType | Callable[[Any, LaunchContext], SomeEntitiesType | None],
        target_event_cls: type[Event],
        target_action_cls: type[Action],
        **kwargs: Any,
    ) -> None:
        if not issubclass(target_event_cls, Event):
            raise TypeError(f"'target_event_cls' must be a subclass of 'Event', got {target_event_cls}")
        if not (action_matcher is None or isinstance(action_matcher, target_action_cls) or callable(action_matcher)):
            expected = target_action_cls.__name__
            raise TypeError(f"action_matcher must be an '{expected}' instance or a callable, got {action_matcher!r}")

        def event_matcher(event: Event) -> bool:
            if not isinstance(event, target_event_cls):
                return False
            if callable(action_matcher):
                return action_matcher(event.action)
            return action_matcher is None or event.action is action_matcher

        super().__init__(matcher=event_matcher, **kwargs)
        self._target_event_cls = target_event_cls
        self._target_action_cls = target_action_cls
        self._action_matcher = action_matcher
        self._on_event = on_event
        self._entities: list[LaunchDescriptionEntity] = []
        if not callable(on_event):
            self._entities = list(on_event) if isinstance(on_event, collections.abc.Iterable) else [on_event]
            for entity in self._entities:
                if entity is not None and not isinstance(entity, LaunchDescriptionEntity):
                    raise TypeError(
                        f"expected entities to follow from an event, got {entity!r} of type '{type(entity)}'"
                    )

    def handle(self, event: Event, context: LaunchContext) -> SomeEntitiesType | None:
        """Return the entities that follow."""
        super().handle(event, context)
        return self._on_event(event, context) if callable(self._on_event) else self._entities

    def describe(self) -> tuple[str, list[LaunchDescriptionEntity]]:
        """Return a text for people and the entities."""
        text, entities = super().describe()
        return text, [*entities, *(entity for entity in self._entities if entity is not None)]

    @property
    def handler_description(self) -> str:
        """What the handler does, for people."""
        return str(self._on_event) if callable(self._on_event) else '<actions>'

    @property
    def matcher_description(self) -> str:
        """What the handler matches, for people."""
        text = f'event == {self._target_event_cls.__name__}'
        return text if self._action_matcher is None else f'{text} and {self._target_action_cls.__name__}(event.action)'


class OnExecutionComplete(OnActionEventBase):
    """Follows when an action has been executed and all it began has ended."""

    def __init__(
        self,
        *,
        target_action: Callable[[Action], bool] | Action | None = None,
        on_completion: SomeEntitiesType | Callable[[ExecutionComplete, LaunchContext], SomeEntitiesType | None],
        **kwargs: Any,
    ) -> None:
        from .action import Action

        super().__init__(
            action_matcher=target_action,
            on_event=on_completion,
            target_event_cls=ExecutionComplete,
            target_action_cls=Action,
            **kwargs,
        )


class OnProcessStart(OnActionEventBase):
    """Follows when a process has started."""

    def __init__(
        self,
        *,
        target_action: Callable[[ExecuteLocal], bool] | ExecuteLocal | None = None,
        on_start: SomeEntitiesType | Callable[[ProcessStarted, LaunchContext], SomeEntitiesType | None],
        **kwargs: Any,
    ) -> None:
        from .actions import ExecuteLocal

        super().__init__(
            action_matcher=target_action,
            on_event=on_start,
            target_event_cls=ProcessStarted,
            target_action_cls=ExecuteLocal,
            **kwargs,
        )


class OnProcessExit(OnActionEventBase):
    """Follows when a process has ended."""

    def __init__(
        self,
        *,
        target_action: Callable[[ExecuteLocal], bool] | ExecuteLocal | None = None,
        on_exit: SomeEntitiesType | Callable[[ProcessExited, LaunchContext], SomeEntitiesType | None],
        **kwargs: Any,
    ) -> None:
        from .actions import ExecuteLocal

        super().__init__(
            action_matcher=target_action,
            on_event=on_exit,
            target_event_cls=ProcessExited,
            target_action_cls=ExecuteLocal,
            **kwargs,
        )


class OnProcessIO(OnActionEventBase):
    """Follows when a process has written something; each function gets the event and returns entities or None."""

    def __init__(
        self,
        *,
        target_action: Callable[[ExecuteLocal], bool] | ExecuteLocal | None = None,
        on_stdin: Callable[[ProcessIO], SomeEntitiesType | None] | None = None,
        on_stdout: Callable[[ProcessIO], SomeEntitiesType | None] | None = None,
        on_stderr: Callable[[ProcessIO], SomeEntitiesType | None] | None = None,
        **kwargs: Any,
    ) -> None:
        from .actions import ExecuteLocal

        def handle(event: ProcessIO, _: LaunchContext) -> SomeEntitiesType | None:
            function = on_stdout if event.from_stdout else on_stderr if event.from_stderr else on_stdin
            return function(event) if function is not None else None

        super().__init__(
            action_matcher=target_action,
            on_event=handle,
            target_event_cls=ProcessIO,
            target_action_cls=ExecuteLocal,
            **kwargs,
        )


class OnShutdown(BaseEventHandler):
    """Follows when the launched system shuts down."""

    def __init__(
        self,
        *,
        on_shutdown: SomeEntitiesType | Callable[[Shutdown, LaunchContext], SomeEntitiesType | None],
        **kwargs: Any,
    ) -> None:
        super().__init__(matcher=lambda event: is_a_subclass(event, Shutdown), **kwargs)
        self._on_shutdown = on_shutdown

    def describe(self) -> tuple[str, list[LaunchDescriptionEntity]]:
        """Return a text for people and the entities."""
        text, entities = super().describe()
        if isinstance(self._on_shutdown, LaunchDescriptionEntity):
            entities.append(self._on_shutdown)
        elif isinstance(self._on_shutdown, Iterable):
            entities.extend(self._on_shutdown)
        return text, entities

    def handle(self, event: Event, context: LaunchContext) -> SomeEntitiesType | None:
        """Return the entities that follow."""
        super().handle(event, context)
        return self._on_shutdown(event, context) if callable(self._on_shutdown) else self._on_shutdown

    @property
    def handler_description(self) -> str:
        """What the handler does, for people."""
        return str(self._on_shutdown) if callable(self._on_shutdown) else '<actions>'

    @property
    def matcher_description(self) -> str:
        """What the handler matches, for people."""
        return 'event issubclass of launch.events.Shutdown'


class OnIncludeLaunchDescription(EventHandler):
    """Visits the launch descriptions of `IncludeLaunchDescription` events."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(matcher=lambda event: is_a_subclass(event, IncludeLaunchDescription), **kwargs)

    def handle(self, event: Event, context: LaunchContext) -> SomeEntitiesType | None:
        """Return the launch description."""
        super().handle(event, context)
        return event.launch_description

    @property
    def handler_description(self) -> str:
        """What the handler does, for people."""
        return 'returns the launch_description in the event'

    @property
    def matcher_description(self) -> str:
        """What the handler matches, for people."""
        return 'event issubclass of launch.events.IncludeLaunchDescription'
