# SPDX-License-Identifier: Apache-2.0
"""The event loop that launches a system, watches over it and shuts it down."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterable, Iterator

from .child_process import signal_all_groups
from .event import Event
from .event_handlers import OnIncludeLaunchDescription, OnShutdown
from .events import IncludeLaunchDescription, Shutdown
from .events.process import EscalateShutdown
from .launch_context import LaunchContext
from .launch_description import LaunchDescription
from .launch_description_entity import LaunchDescriptionEntity
from .logging import get_logger, launch_config, log_launch_config
from .utilities import visit_all_entities_and_collect_futures

# `timeout -s INT` and some terminals send one Ctrl-C twice: what comes this soon after the first is not a second.
_SECOND_SIGNAL_AFTER_S = 0.5


class LaunchService:
    """Launches included launch descriptions.

    Args:
        argv: arguments of the launch, for entities to look at.
        noninteractive: no terminal is attached.
        debug: log in detail.
    """

    def __init__(self, *, argv: Iterable[str] | None = None, noninteractive: bool = False, debug: bool = False) -> None:
        launch_config.level = logging.DEBUG if debug else logging.INFO
        self._debug = debug
        self._logger = get_logger('launch')
        self._context = LaunchContext(argv=argv, noninteractive=noninteractive)
        self._context.register_event_handler(OnIncludeLaunchDescription())
        self._context.register_event_handler(OnShutdown(on_shutdown=self._on_shutdown))
        self._entity_futures: list[tuple[LaunchDescriptionEntity, asyncio.Future]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task | None = None
        self._shutting_down = False
        self._return_code = 0
        self._last_signal_time = 0.0

    @property
    def context(self) -> LaunchContext:
        """The launch context."""
        return self._context

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop while running, else None."""
        return self._loop

    @property
    def task(self) -> asyncio.Task | None:
        """The task that runs this service, or None."""
        return self._task

    def emit_event(self, event: Event) -> None:
        """Emit an event, from any thread; before the service runs, for when it does."""
        self._context.emit_event_sync(event)

    def include_launch_description(self, launch_description: LaunchDescription) -> None:
        """Launch a launch description, from any thread; before the service runs, for when it does."""
        self.emit_event(IncludeLaunchDescription(launch_description))

    def shutdown(self, force_sync: bool = False) -> asyncio.Future | None:
        """Begin to shut down, from any thread; do nothing if the service is not running.

        Returns:
            Something to await, if called from within the event loop and not forced to be synchronous.
        """
        loop = self._loop
        if loop is None:
            return None
        if threading.current_thread() is not threading.main_thread():
            loop.call_soon_threadsafe(self._shutdown, 'LaunchService.shutdown() called')
            return None
        self._shutdown('LaunchService.shutdown() called')
        if force_sync:
            return None
        begun = loop.create_future()
        begun.set_result(None)
        return begun

    def _shutdown(self, reason: str, due_to_sigint: bool = False) -> None:
        if not self._shutting_down:
            self._shutting_down = True
            self._context.emit_event_sync(Shutdown(reason=reason, due_to_sigint=due_to_sigint))
        self._context._set_is_shutdown(True)

    def _on_shutdown(self, event: Event, context: LaunchContext) -> None:
        self._shutting_down = True
        context._set_is_shutdown(True)

    def run(self, *, shutdown_when_idle: bool = True) -> int:
        """Launch all included launch descriptions and wait for the end, in the main thread.

        Args:
            shutdown_when_idle: end when nothing runs and nothing is left to do.

        Returns:
            0, or 1 if something went wrong in the launch itself or it was terminated (not by Ctrl-C).
        """
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(self.run_async(shutdown_when_idle=shutdown_when_idle))
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def run_async(self, *, shutdown_when_idle: bool = True) -> int:
        """Do as `run()` does, within a running event loop.

        Raises:
            RuntimeError: if this is not the main thread, or the service runs already.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError('LaunchService can only be run in the main thread.')
        if self._loop is not None:
            raise RuntimeError('LaunchService cannot be run multiple times concurrently.')
        loop = asyncio.get_running_loop()
        if self._debug:
            loop.set_debug(True)
        self._loop, self._task = loop, asyncio.current_task()
        self._shutting_down, self._return_code = False, 0
        self._context._set_is_shutdown(False)
        self._context._set_asyncio_loop(loop)
        loop.set_exception_handler(self._on_loop_exception)
        try:
            with self._signals_handled(loop):
                log_launch_config(logger=self._logger)
                await self._run_until_shut_down(shutdown_when_idle)
        finally:
            signal_all_groups(signal.SIGKILL)
            loop.set_exception_handler(None)
            self._context._set_asyncio_loop(None)
            self._loop, self._task = None, None
        return self._return_code

    async def _run_until_shut_down(self, shutdown_when_idle: bool) -> None:
        cancellations = 0
        while True:
            try:
                if self._context._events:
                    # As many as there are now: in a flood of output the queue must not grow, nor timers starve.
                    for _ in range(len(self._context._events)):
                        self._process_event(self._context._events.popleft())
                    await asyncio.sleep(0)
                    continue
                pending = self._pending_futures()
                if not pending and self._shutting_down:
                    return
                if not pending and shutdown_when_idle:
                    self._shutdown('idle')
                    continue
                await self._wait_for_news(pending)
            except asyncio.CancelledError:
                cancellations += 1
                self._fail('run task was canceled')
                if cancellations > 1:
                    return
            except (Exception, SystemExit) as error:
                self._logger.debug(traceback.format_exc())
                self._fail(f'Caught exception in launch (see debug for traceback): {error}')

    def _fail(self, message: str) -> None:
        self._logger.error(message)
        self._return_code = 1
        self._shutdown(message)

    def _pending_futures(self) -> list[asyncio.Future]:
        """Forget the futures that are done, and return the others.

        Raises:
            Exception: what a done future holds.
        """
        context = self._context
        done = [future for _, future in self._entity_futures if future.done()]
        done += [future for future in context._completion_futures if future.done()]
        self._entity_futures = [pair for pair in self._entity_futures if not pair[1].done()]
        context._completion_futures = [future for future in context._completion_futures if not future.done()]
        errors = [future.exception() for future in done if not future.cancelled() and future.exception() is not None]
        for error in errors[1:]:
            self._logger.error(f'Caught exception in launch: {error}')
        if errors:
            raise errors[0]
        return [future for _, future in self._entity_futures] + context._completion_futures

    async def _wait_for_news(self, pending: list[asyncio.Future]) -> None:
        wake_up = self._context._wake_up
        news = asyncio.ensure_future(wake_up.wait())
        try:
            await asyncio.wait([news, *pending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            wake_up.clear()

    def _process_event(self, event: Event) -> None:
        context = self._context
        self._logger.debug(f"processing event: '{event.name}'")
        for handler in tuple(context._event_handlers):
            if not handler.matches(event):
                continue
            context._push_locals()
            try:
                entities = handler.handle(event, context)
                if not isinstance(entities, collections.abc.Iterable):
                    entities = [entities]
                for entity in entities:
                    if entity is None:
                        continue
                    if not isinstance(entity, LaunchDescriptionEntity):
                        raise RuntimeError(f"expected a LaunchDescriptionEntity from event_handler, got '{entity}'")
                    visit_all_entities_and_collect_futures(entity, context, self._entity_futures)
            finally:
                context._pop_locals()

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, details: dict) -> None:
        self._return_code = 1
        loop.default_exception_handler(details)

    @contextlib.contextmanager
    def _signals_handled(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Shut down on signals, for as long as the context lasts."""
        handlers = {
            signal.SIGINT: self._on_sigint,
            signal.SIGTERM: self._on_terminating_signal,
            signal.SIGHUP: self._on_terminating_signal,
            signal.SIGQUIT: self._on_terminating_signal,
            signal.SIGTSTP: self._on_stop,
        }
        # Under nohup and in the background of a script some signals are ignored, and stay so.
        before = {number: signal.getsignal(number) for number in handlers}
        handled = [number for number in handlers if number == signal.SIGINT or before[number] is not signal.SIG_IGN]
        for number in handled:
            loop.add_signal_handler(number, handlers[number], number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)
                if before[number] is not None:
                    signal.signal(number, before[number])

    def _escalate(self, message: str) -> None:
        """Answer a signal during the shutdown, unless it is an echo of the first."""
        if time.monotonic() - self._last_signal_time < _SECOND_SIGNAL_AFTER_S:
            return
        self._last_signal_time = time.monotonic()
        self._logger.warning(f'{message} again, escalating')
        self._context.emit_event_sync(EscalateShutdown())

    def _on_sigint(self, number: signal.Signals) -> None:
        message = 'user interrupted with ctrl-c (SIGINT)'
        if self._shutting_down:
            self._escalate(message)
            return
        self._last_signal_time = time.monotonic()
        self._logger.warning(message)
        self._shutdown('ctrl-c (SIGINT)', due_to_sigint=True)

    def _on_terminating_signal(self, number: signal.Signals) -> None:
        message = f'received signal {number.name}'
        self._return_code = 1
        if self._shutting_down:
            self._escalate(message)
            return
        self._last_signal_time = time.monotonic()
        self._logger.error(f'{message}, shutting down')
        self._shutdown(message)

    def _on_stop(self, number: signal.Signals) -> None:
        """Stop the children with launch (Ctrl-Z), which the terminal does not do for process groups of their own."""
        signal_all_groups(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        signal_all_groups(signal.SIGCONT)
