# SPDX-License-Identifier: Apache-2.0
"""Events: emitting them, handling them, and letting them come after a while."""

from __future__ import annotations

import asyncio
import collections.abc
import warnings
from collections.abc import Iterable
from typing import Any

from ..action import Action
from ..event import Event
from ..event_handler import BaseEventHandler, EventHandler
from ..event_handlers import OnShutdown
from ..events import Shutdown as ShutdownEvent
from ..events import TimerEvent
from ..events.process import ProcessExited
from ..launch_context import LaunchContext
from ..launch_description_entity import LaunchDescriptionEntity
from ..logging import get_logger
from ..some_substitutions_type import SomeSubstitutionsType, SomeSubstitutionsType_types_tuple
from ..utilities import ensure_argument_type
from ..utilities.type_utils import NormalizedValueType, normalize_typed_substitution, perform_typed_substitution


class EmitEvent(Action):
    """Emits an event."""

    def __init__(self, *, event: Event, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(event, Event):
            raise RuntimeError(f"EmitEvent() expected an event instance, got '{event}'.")
        self._event = event

    @property
    def event(self) -> Event:
        """The event."""
        return self._event

    def execute(self, context: LaunchContext) -> None:
        """Emit it."""
        context.emit_event_sync(self._event)


class Shutdown(EmitEvent):
    """Shuts down all that was launched."""

    def __init__(self, *, reason: str = 'reason not given', **kwargs: Any) -> None:
        super().__init__(event=ShutdownEvent(reason=reason), **kwargs)

    def execute(self, context: LaunchContext) -> None:
        """Emit the event."""
        event = context.get_locals_as_dict().get('event')
        if isinstance(event, ProcessExited):
            get_logger('launch').info(f'process[{event.process_name}] was required: shutting down launched system')
        super().execute(context)


class RegisterEventHandler(Action):
    """Registers an event handler, for events after the one at hand."""

    def __init__(self, event_handler: BaseEventHandler, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._event_handler = event_handler

    @property
    def event_handler(self) -> BaseEventHandler:
        """The event handler."""
        return self._event_handler

    def execute(self, context: LaunchContext) -> None:
        """Register it."""
        context.register_event_handler(self._event_handler)

    def describe_conditional_sub_entities(self) -> list[tuple[str, Iterable[LaunchDescriptionEntity]]]:
        """Return the entities that may follow from an event."""
        description, entities = self._event_handler.describe()
        return [(description, entities)] if entities else []


class UnregisterEventHandler(Action):
    """Unregisters an event handler."""

    def __init__(self, event_handler: BaseEventHandler, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._event_handler = event_handler

    @property
    def event_handler(self) -> BaseEventHandler:
        """The event handler."""
        return self._event_handler

    def execute(self, context: LaunchContext) -> None:
        """Unregister it.

        Raises:
            ValueError: if it is not registered.
        """
        context.unregister_event_handler(self._event_handler)


class TimerAction(Action):
    """Visits entities once, after a while.

    Args:
        period: how long to wait, in seconds: a float or a substitution.
        actions: the entities.
        cancel_on_shutdown: do not keep a shutdown waiting.
        kwargs: for `Action`.
    """

    def __init__(
        self,
        *,
        period: float | SomeSubstitutionsType,
        actions: Iterable[LaunchDescriptionEntity],
        cancel_on_shutdown: bool | SomeSubstitutionsType = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        ensure_argument_type(period, (*SomeSubstitutionsType_types_tuple, float), 'period', name)
        ensure_argument_type(actions, collections.abc.Iterable, 'actions', name)
        if isinstance(period, str):
            warnings.warn(f"{name}: 'period' must be a float or a substitution, got '{period}'", stacklevel=2)
            period = float(period)
        self._period = normalize_typed_substitution(period, float)
        self._actions = list(actions)
        self._cancel_on_shutdown = normalize_typed_substitution(cancel_on_shutdown, bool)
        self._context_locals: dict[str, Any] = {}
        self._canceled = False
        self._canceled_future: asyncio.Future | None = None
        self._completed_future: asyncio.Future | None = None

    @property
    def period(self) -> NormalizedValueType:
        """How long it waits."""
        return self._period

    @property
    def actions(self) -> list[LaunchDescriptionEntity]:
        """The entities."""
        return self._actions

    def describe(self) -> str:
        """Return a text for people."""
        return f'{type(self).__name__}(period={self._period}, actions=<actions>)'

    def describe_conditional_sub_entities(self) -> list[tuple[str, Iterable[LaunchDescriptionEntity]]]:
        """Return the entities."""
        return [(f'{self._period} seconds pass without being canceled', self._actions)]

    def handle(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """Return the entities, when the time is up."""
        context.extend_locals(self._context_locals)
        return self._actions

    def cancel(self) -> None:
        """Do not visit the entities, unless that has already happened."""
        self._canceled = True
        if self._canceled_future is not None and not self._canceled_future.done():
            self._canceled_future.set_result(True)

    async def _wait_to_fire_event(self, context: LaunchContext) -> None:
        period = perform_typed_substitution(context, self._period, float)
        await asyncio.wait([self._canceled_future], timeout=period)
        if not self._canceled_future.done():
            context.emit_event_sync(TimerEvent(timer_action=self))

    def execute(self, context: LaunchContext) -> None:
        """Begin to wait."""
        if self._canceled:
            return
        self._canceled_future = context.asyncio_loop.create_future()
        self._context_locals = context.get_locals_as_dict()
        cancel_on_shutdown = perform_typed_substitution(context, self._cancel_on_shutdown, bool)
        context.register_event_handler(_OnTimer(self))
        if cancel_on_shutdown:
            context.register_event_handler(OnShutdown(on_shutdown=lambda event, context: self.cancel()))
        self._completed_future = context.asyncio_loop.create_task(self._wait_to_fire_event(context))

    def get_asyncio_future(self) -> asyncio.Future | None:
        """Return the future that ends when the time is up."""
        return self._completed_future


class _OnTimer(EventHandler):
    def __init__(self, timer: TimerAction) -> None:
        super().__init__(
            matcher=lambda event: isinstance(event, TimerEvent) and event.timer_action is timer, handle_once=True
        )
        self._timer = timer

    def handle(self, event: Event, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        super().handle(event, context)
        return self._timer.handle(context)
