# SPDX-License-Identifier: Apache-2.0
"""The state that entities share while a system is launched."""

from __future__ import annotations

import asyncio
import collections
import os
from collections.abc import Iterable, MutableMapping
from typing import Any

from .event import Event
from .event_handler import BaseEventHandler
from .logging import get_logger
from .substitution import Substitution


class Locals:
    """Read-only attribute access to the local variables of a launch context."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__['_values'] = values

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__['_values'][name]
        except KeyError:
            present = ', '.join(self.__dict__['_values'])
            raise AttributeError(f"context.locals has no attribute '{name}', it has: [{present}]") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"context.locals is read-only: cannot set '{name}'")


class LaunchContext:
    """Launch configurations, environment, local variables, event handlers and the queue of events.

    Args:
        argv: arguments of the launch, for entities to look at.
        noninteractive: no terminal is attached.
    """

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False) -> None:
        self._argv = list(argv) if argv is not None else []
        self._noninteractive = noninteractive
        self._events: collections.deque[Event] = collections.deque()
        self._event_handlers: collections.deque[BaseEventHandler] = collections.deque()
        self._completion_futures: list[asyncio.Future] = []
        self._wake_up: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_shutdown = False
        self._globals: dict[str, Any] = {}
        self._locals: dict[str, Any] = {}
        self._locals_stack: list[dict[str, Any]] = []
        self._launch_configurations: dict[str, Any] = {}
        self._launch_configurations_stack: list[dict[str, Any]] = []
        self._environment_stack: list[dict[str, str]] = []
        self._first_environment = dict(os.environ)
        self._logger = get_logger(__name__)

    @property
    def argv(self) -> list[str]:
        """Arguments of the launch."""
        return self._argv

    @property
    def noninteractive(self) -> bool:
        """Whether no terminal is attached."""
        return self._noninteractive

    @property
    def is_shutdown(self) -> bool:
        """Whether the system is being shut down: nothing new starts from then on."""
        return self._is_shutdown

    def _set_is_shutdown(self, state: bool) -> None:
        self._is_shutdown = state

    @property
    def asyncio_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the running launch service, or None."""
        return self._loop

    def _set_asyncio_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._wake_up = asyncio.Event() if loop is not None else None

    def add_completion_future(self, completion_future: asyncio.Future) -> None:
        """Let the launch service wait for a future before it ends."""
        self._completion_futures.append(completion_future)

    def extend_globals(self, extensions: dict[str, Any]) -> None:
        """Add to `locals` for good; locals of the same name hide a global."""
        self._globals.update(extensions)

    def extend_locals(self, extensions: dict[str, Any]) -> None:
        """Add to `locals` until the event at hand is done with."""
        self._locals.update(extensions)

    def _push_locals(self) -> None:
        self._locals_stack.append(dict(self._locals))

    def _pop_locals(self) -> None:
        if not self._locals_stack:
            raise RuntimeError('locals were popped more often than pushed')
        self._locals = self._locals_stack.pop()

    def get_locals_as_dict(self) -> dict[str, Any]:
        """Return the local and global variables."""
        return {**self._globals, **self._locals}

    @property
    def locals(self) -> Locals:
        """The local and global variables as attributes."""
        return Locals(self.get_locals_as_dict())

    @property
    def launch_configurations(self) -> dict[str, Any]:
        """The launch configurations of the current scope."""
        return self._launch_configurations

    def _push_launch_configurations(self) -> None:
        self._launch_configurations_stack.append(self._launch_configurations.copy())

    def _pop_launch_configurations(self) -> None:
        if not self._launch_configurations_stack:
            raise RuntimeError('launch configurations were popped more often than pushed')
        self._launch_configurations = self._launch_configurations_stack.pop()

    @property
    def environment(self) -> MutableMapping[str, str]:
        """The environment that launched processes inherit: this process's own."""
        return os.environ

    def _replace_environment(self, environment: dict[str, str]) -> None:
        # os.environ must stay the same object: assigning a dict to it would no longer reach child processes.
        os.environ.clear()
        os.environ.update(environment)

    def _push_environment(self) -> None:
        self._environment_stack.append(dict(os.environ))

    def _pop_environment(self) -> None:
        if not self._environment_stack:
            raise RuntimeError('the environment was popped more often than pushed')
        self._replace_environment(self._environment_stack.pop())

    def _reset_environment(self) -> None:
        self._replace_environment(self._first_environment)

    def would_handle_event(self, event: Event) -> bool:
        """Tell whether any registered handler matches the event."""
        return any(handler.matches(event) for handler in self._event_handlers)

    def register_event_handler(self, event_handler: BaseEventHandler, append: bool = False) -> None:
        """Register an event handler: before those already there, or after them with `append`."""
        if append:
            self._event_handlers.append(event_handler)
        else:
            self._event_handlers.appendleft(event_handler)

    def unregister_event_handler(self, event_handler: BaseEventHandler) -> None:
        """Unregister an event handler.

        Raises:
            ValueError: if it is not registered.
        """
        self._event_handlers.remove(event_handler)

    def emit_event_sync(self, event: Event) -> None:
        """Queue an event; any thread may call this."""
        self._logger.debug(f"emitting event: '{event.name}'")
        self._events.append(event)
        loop, wake_up = self._loop, self._wake_up
        if loop is not None and wake_up is not None and not loop.is_closed():
            loop.call_soon_threadsafe(wake_up.set)

    async def emit_event(self, event: Event) -> None:
        """Queue an event."""
        self.emit_event_sync(event)

    def perform_substitution(self, substitution: Substitution) -> str:
        """Return the text of a substitution."""
        return substitution.perform(self)
