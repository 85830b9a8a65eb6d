# SPDX-License-Identifier: Apache-2.0
"""Running processes: starting them, passing on their output, respawning them and shutting them down."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from logging import Logger
from typing import Any

from ..action import Action
from ..child_process import ChildProcess
from ..conditions import evaluate_condition_expression
from ..descriptions import Executable
from ..event import Event
from ..event_handler import BaseEventHandler
from ..event_handlers import OnProcessExit, OnProcessIO, OnShutdown
from ..events.process import (
    EscalateShutdown,
    ProcessExited,
    ProcessIO,
    ProcessStarted,
    ProcessStderr,
    ProcessStdout,
    ShutdownProcess,
    SignalProcess,
)
from ..launch_context import LaunchContext
from ..launch_description_entity import LaunchDescriptionEntity
from ..logging import get_logger, get_output_loggers
from ..some_entities_type import SomeEntitiesType
from ..some_substitutions_type import SomeSubstitutionsType
from ..substitution import Substitution
from ..substitutions import LaunchConfiguration
from ..utilities import normalize_to_list_of_entities, normalize_to_list_of_substitutions, perform_substitutions
from ..utilities.type_utils import normalize_typed_substitution, perform_typed_substitution

_KILL_TIMEOUT_S = 5.0
OnExit = SomeEntitiesType | Callable[[ProcessExited, LaunchContext], SomeEntitiesType | None]


class _OnEvent(BaseEventHandler):
    """Calls a function with the events of a class."""

    def __init__(self, event_class: type[Event], function: Callable[[Any, LaunchContext], None]) -> None:
        super().__init__(matcher=lambda event: isinstance(event, event_class))
        self._function = function

    def handle(self, event: Event, context: LaunchContext) -> None:
        super().handle(event, context)
        self._function(event, context)


class _OutputLines:
    """Cuts what a process writes into lines, logs them and, if asked to, keeps all of it."""

    def __init__(self, keep: bool) -> None:
        self._rest = b''
        self._kept: list[bytes] | None = [] if keep else None

    def add(self, data: bytes, log_line: Callable[[str], None]) -> None:
        if self._kept is not None:
            self._kept.append(data)
        *lines, self._rest = (self._rest + data).split(b'\n')
        for line in lines:
            log_line(line.decode(errors='replace'))

    def flush(self, log_line: Callable[[str], None]) -> None:
        rest, self._rest = self._rest, b''
        if rest:
            log_line(rest.decode(errors='replace'))

    @property
    def kept(self) -> str | None:
        return None if self._kept is None else b''.join(self._kept).decode(errors='replace')


class ExecuteLocal(Action):
    """Runs a process on this machine.

    It handles the events `ShutdownProcess`, `SignalProcess` and `Shutdown`, and emits `ProcessStarted`,
    `ProcessStdout`, `ProcessStderr` and `ProcessExited`. Shutting down sends SIGINT, SIGTERM after a while, at last
    SIGKILL, each to the process and all that it has started.

    Args:
        process_description: what to run.
        shell: run it through a shell.
        sigterm_timeout: how long after SIGINT to send SIGTERM, in seconds.
        sigkill_timeout: how long after SIGTERM to send SIGKILL, in seconds.
        emulate_tty: let the process write to a terminal; the launch configuration 'emulate_tty' goes before it.
        output: where its output goes, see `launch.logging.get_output_loggers()`; the environment variable
            OVERRIDE_LAUNCH_PROCESS_OUTPUT goes before it.
        output_format: of an output line, with `{line}` and `{this}` (this action) in it.
        cached_output: keep the output for `get_stdout()` and `get_stderr()`.
        log_cmd: log the command before it is run.
        on_exit: entities to visit when the process ends, or a function `(event, context)` that returns them.
        respawn: run it again when it has ended.
        respawn_delay: how long to wait before that, in seconds.
        respawn_max_retries: how often to do that, without end where negative.
        kwargs: for `Action`.
    """

    def __init__(
        self,
        *,
        process_description: Executable,
        shell: bool = False,
        sigterm_timeout: SomeSubstitutionsType | None = None,
        sigkill_timeout: SomeSubstitutionsType | None = None,
        emulate_tty: bool = False,
        output: SomeSubstitutionsType | Mapping[str, str | Iterable[str]] = 'log',
        output_format: str = '[{this.process_description.final_name}] {line}',
        cached_output: bool = False,
        log_cmd: bool = False,
        on_exit: OnExit | None = None,
        respawn: bool | SomeSubstitutionsType = False,
        respawn_delay: float | None = None,
        respawn_max_retries: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._process_description = process_description
        self._shell = shell
        self._sigterm_timeout = normalize_to_list_of_substitutions(
            LaunchConfiguration('sigterm_timeout', default=5) if sigterm_timeout is None else sigterm_timeout
        )
        self._sigkill_timeout = normalize_to_list_of_substitutions(
            LaunchConfiguration('sigkill_timeout', default=5) if sigkill_timeout is None else sigkill_timeout
        )
        self._emulate_tty = emulate_tty
        output = os.environ.get('OVERRIDE_LAUNCH_PROCESS_OUTPUT', output)
        self._output = output if isinstance(output, Mapping) else normalize_to_list_of_substitutions(output)
        self._output_format = output_format
        self._cached_output = cached_output
        self._log_cmd = log_cmd
        self._on_exit = on_exit
        self._respawn = normalize_typed_substitution(respawn, bool)
        self._respawn_delay = respawn_delay
        self._respawn_max_retries = respawn_max_retries

        self._executed = False
        self._event_args: dict[str, Any] | None = None
        self._child: ChildProcess | None = None
        self._abandoned: list[ChildProcess] = []
        self._lines = {1: _OutputLines(cached_output), 2: _OutputLines(cached_output)}
        self._output_loggers: dict[int, Logger] = {}
        self._started: asyncio.Event | None = None
        self._hurry: asyncio.Event | None = None
        self._shutdown_future: asyncio.Future | None = None
        self._completed_future: asyncio.Future | None = None

    @property
    def process_description(self) -> Executable:
        """What is run."""
        return self._process_description

    @property
    def shell(self) -> bool:
        """Whether it runs through a shell."""
        return self._shell

    @property
    def emulate_tty(self) -> bool:
        """Whether it writes to a terminal."""
        return self._emulate_tty

    @property
    def sigterm_timeout(self) -> list[Substitution]:
        """How long after SIGINT to send SIGTERM."""
        return self._sigterm_timeout

    @property
    def sigkill_timeout(self) -> list[Substitution]:
        """How long after SIGTERM to send SIGKILL."""
        return self._sigkill_timeout

    @property
    def output(self) -> list[Substitution] | Mapping[str, str | Iterable[str]]:
        """Where its output goes."""
        return self._output

    @property
    def process_details(self) -> dict[str, Any] | None:
        """Action, name, cmd, cwd, env and (once started) pid of the process; None before it is executed."""
        return self._event_args

    @property
    def return_code(self) -> int | None:
        """Exit code of the process, None while it has not ended."""
        return None if self._child is None else self._child.returncode

    def get_stdout(self) -> str:
        """Return what was written to stdout so far.

        Raises:
            RuntimeError: without `cached_output`.
        """
        return self._get_cached(1, 'stdout')

    def get_stderr(self) -> str:
        """Return what was written to stderr so far.

        Raises:
            RuntimeError: without `cached_output`.
        """
        return self._get_cached(2, 'stderr')

    def _get_cached(self, fd: int, name: str) -> str:
        kept = self._lines[fd].kept
        if kept is None:
            raise RuntimeError(f"cached_output must be true to get {name} of '{self._process_description.final_name}'")
        return kept

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """Return the entities that are known to follow when the process ends."""
        if self._on_exit is None or callable(self._on_exit):
            return []
        return normalize_to_list_of_entities([self._on_exit])

    def get_asyncio_future(self) -> asyncio.Future | None:
        """Return the future that ends with the process."""
        return self._completed_future

    def prepare(self, context: LaunchContext) -> None:
        """Perform all substitutions."""
        description = self._process_description
        description.prepare(context, self)
        self._event_args = {
            'action': self,
            'name': description.final_name,
            'cmd': description.final_cmd,
            'cwd': description.final_cwd,
            'env': description.final_env,
        }

    def execute(self, context: LaunchContext) -> None:
        """Begin to run the process.

        Raises:
            RuntimeError: if this action was executed before.
            ValueError: if a setting is not valid.
        """
        self.prepare(context)
        name = self._event_args['name']
        if self._executed:
            raise RuntimeError(f"ExecuteLocal action '{name}': executed more than once: {self.describe()}")
        self._executed = True
        if context.is_shutdown:
            return
        self._logger = get_logger(name)
        self._respawn = perform_typed_substitution(context, self._respawn, bool)
        for setting in ('sigterm_timeout', 'sigkill_timeout'):
            self._timeout(context, setting)
        output = self._output if isinstance(self._output, Mapping) else perform_substitutions(context, self._output)
        stdout_logger, stderr_logger = get_output_loggers(name, output)
        self._output_loggers = {1: stdout_logger, 2: stderr_logger}
        if 'emulate_tty' in context.launch_configurations:
            self._emulate_tty = evaluate_condition_expression(
                context, normalize_to_list_of_substitutions(context.launch_configurations['emulate_tty'])
            )
        self._started, self._hurry = asyncio.Event(), asyncio.Event()
        self._shutdown_future = context.asyncio_loop.create_future()
        handlers = [
            _OnEvent(ShutdownProcess, self._on_shutdown_process),
            _OnEvent(SignalProcess, self._on_signal_process),
            _OnEvent(EscalateShutdown, lambda event, context: self._hurry.set()),
            OnProcessIO(target_action=self, on_stdout=self._on_output, on_stderr=self._on_output),
            OnShutdown(on_shutdown=lambda event, context: self._begin_shutdown(context)),
        ]
        if self._on_exit is not None:
            handlers.append(OnProcessExit(target_action=self, on_exit=self._on_exit))
        handlers.append(OnProcessExit(target_action=self, on_exit=self._flush_output))
        for handler in handlers:
            context.register_event_handler(handler)
        self._completed_future = context.asyncio_loop.create_task(self._run(context))

    async def _run(self, context: LaunchContext) -> None:
        runs = 0
        while not self._shutdown_future.done():
            if not await self._run_once(context):
                return
            retries_left = self._respawn_max_retries < 0 or runs < self._respawn_max_retries
            if context.is_shutdown or self._shutdown_future.done() or not self._respawn or not retries_left:
                return
            runs += 1
            if self._respawn_delay:
                await asyncio.wait([self._shutdown_future], timeout=self._respawn_delay)

    async def _run_once(self, context: LaunchContext) -> bool:
        """Run the process to its end; tell whether it could be started."""
        args = self._event_args
        shown = ' '.join(part for part in args['cmd'] if part.strip())
        if self._log_cmd:
            self._logger.info(f"process details: cmd='{shown}', cwd='{args['cwd']}'")
        event_classes = {1: ProcessStdout, 2: ProcessStderr}

        def on_start(pid: int) -> None:
            args['pid'] = pid
            self._logger.info(f'process started with pid [{pid}]')
            context.emit_event_sync(ProcessStarted(**args))

        def on_output(fd: int, data: bytes) -> None:
            context.emit_event_sync(event_classes[fd](text=data, **args))

        try:
            self._child = child = await ChildProcess.start(
                cmd=args['cmd'],
                cwd=args['cwd'],
                env=args['env'],
                shell=self._shell,
                emulate_tty=self._emulate_tty,
                on_start=on_start,
                on_output=on_output,
            )
        except (OSError, ValueError) as error:
            self._logger.error(f"process could not be started: {error} (cmd '{shown}', cwd '{args['cwd'] or '.'}')")
            self._started.set()
            return False
        self._started.set()
        returncode = await child.wait()
        if returncode == 0:
            self._logger.info(f'process has finished cleanly [pid {child.pid}]')
        else:
            self._logger.error(f"process has died [pid {child.pid}, exit code {returncode}, cmd '{shown}'].")
        context.emit_event_sync(ProcessExited(returncode=returncode, **args))
        if child.group_lives():
            self._abandoned.append(child)
        child.close()
        return True

    def _log_line(self, fd: int) -> Callable[[str], None]:
        return lambda line: self._output_loggers[fd].info(self._output_format.format(line=line, this=self))

    def _on_output(self, event: ProcessIO) -> None:
        fd = 1 if event.from_stdout else 2
        self._lines[fd].add(event.text, self._log_line(fd))

    def _flush_output(self, *_: Any) -> None:
        for fd, lines in self._lines.items():
            lines.flush(self._log_line(fd))

    def _on_shutdown_process(self, event: ShutdownProcess, context: LaunchContext) -> None:
        if event.process_matcher(self):
            self._begin_shutdown(context)

    def _on_signal_process(self, event: SignalProcess, context: LaunchContext) -> None:
        if event.process_matcher(self):
            context.add_completion_future(context.asyncio_loop.create_task(self._send_signal(event)))

    async def _send_signal(self, event: SignalProcess) -> None:
        await self._started.wait()
        name = self._event_args['name']
        signal_number = event.signal if isinstance(event.signal, signal.Signals) else signal.Signals[event.signal]
        self._logger.info(f"sending signal '{event.signal_name}' to process[{name}]")
        if self._child is None or not self._child.signal(signal_number):
            self._logger.debug(f"signal '{event.signal_name}' not sent to process[{name}]: it has ended")

    def _timeout(self, context: LaunchContext, setting: str) -> float:
        text = perform_substitutions(context, getattr(self, f'_{setting}'))
        try:
            return float(text)
        except ValueError:
            raise ValueError(
                f"{setting} of process[{self._event_args['name']}] is '{text}', expected seconds"
            ) from None

    def _begin_shutdown(self, context: LaunchContext) -> None:
        if self._shutdown_future.done():
            return
        self._shutdown_future.set_result(None)
        timeouts = [self._timeout(context, setting) for setting in ('sigterm_timeout', 'sigkill_timeout')]
        if not self._completed_future.done() or any(child.group_lives() for child in self._abandoned):
            context.add_completion_future(context.asyncio_loop.create_task(self._terminate(*timeouts)))

    async def _terminate(self, sigterm_timeout: float, sigkill_timeout: float) -> None:
        """End the process, and all that it or a former run of it has started, with ever harder signals."""
        starting = asyncio.ensure_future(self._started.wait())
        await asyncio.wait([starting, self._completed_future], return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        children = [child for child in {self._child, *self._abandoned} if child is not None and child.group_lives()]
        if not children:
            return
        name = self._event_args['name']
        stages = [
            (signal.SIGINT, sigterm_timeout, 'SIGTERM'),
            (signal.SIGTERM, sigkill_timeout, 'SIGKILL'),
            (signal.SIGKILL, _KILL_TIMEOUT_S, 'leaving it alone'),
        ]
        if self._completed_future.done():
            # Shells let what they leave in the background ignore SIGINT.
            stages = stages[1:]
        for stage, timeout, next_stage in stages:
            self._hurry.clear()
            self._logger.info(f"sending signal '{stage.name}' to process[{name}]")
            for child in children:
                child.signal_group(stage)
            if await self._ended(children, timeout):
                return
            if self._hurry.is_set():
                self._logger.warning(f"process[{name}] is asked again to end, escalating to '{next_stage}'")
            else:
                self._logger.error(
                    f"process[{name}] failed to terminate '{timeout:g}' seconds after receiving '{stage.name}', "
                    f"escalating to '{next_stage}'"
                )
        # It belongs to another user (sudo), or hangs in the kernel.
        self._completed_future.cancel()

    async def _ended(self, children: list[ChildProcess], timeout: float) -> bool:
        """Wait for the end of the children's groups, for `timeout` seconds at most, and only until there is a hurry."""
        ended = asyncio.ensure_future(self._wait_for_groups(children))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait([ended, hurry], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if ended.done():
            return True
        ended.cancel()
        await asyncio.wait([ended])
        return False

    @staticmethod
    async def _wait_for_groups(children: list[ChildProcess]) -> None:
        for child in children:
            await child.wait_for_group()


class ExecuteProcess(ExecuteLocal):
    """Runs a command on this machine.

    Args:
        cmd: executable and arguments.
        prefix: a command to put before, see `launch.descriptions.Executable`.
        name: what output lines are marked with; the base name of the executable where it is not given.
        cwd: folder to run in.
        env: all its environment variables; launch's own where it is not given.
        additional_env: variables to add.
        kwargs: for `ExecuteLocal`.
    """

    def __init__(
        self,
        *,
        cmd: Iterable[SomeSubstitutionsType],
        prefix: SomeSubstitutionsType | None = None,
        name: SomeSubstitutionsType | None = None,
        cwd: SomeSubstitutionsType | None = None,
        env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        additional_env: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        **kwargs: Any,
    ) -> None:
        executable = Executable(cmd=cmd, prefix=prefix, name=name, cwd=cwd, env=env, additional_env=additional_env)
        super().__init__(process_description=executable, **kwargs)

    @property
    def name(self) -> str | list[Substitution] | None:
        """What output lines are marked with."""
        return self.process_description.final_name or self.process_description.name

    @property
    def cmd(self) -> list[str] | list[list[Substitution]]:
        """Executable and arguments."""
        return self.process_description.final_cmd or self.process_description.cmd

    @property
    def cwd(self) -> str | list[Substitution] | None:
        """Folder to run in."""
        return self.process_description.final_cwd or self.process_description.cwd

    @property
    def env(self) -> dict[str, str] | list[tuple[list[Substitution], list[Substitution]]] | None:
        """Its environment variables."""
        return self.process_description.final_env or self.process_description.env

    @property
    def additional_env(self) -> list[tuple[list[Substitution], list[Substitution]]] | None:
        """Variables to add."""
        return self.process_description.additional_env
