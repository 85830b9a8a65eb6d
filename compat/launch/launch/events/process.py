# SPDX-License-Identifier: Apache-2.0
"""The events of launched processes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..event import Event

if TYPE_CHECKING:
    from ..actions import ExecuteLocal

__all__ = [
    'EscalateShutdown',
    'ProcessExited',
    'ProcessIO',
    'ProcessStarted',
    'ProcessStderr',
    'ProcessStdin',
    'ProcessStdout',
    'ProcessTargetedEvent',
    'RunningProcessEvent',
    'ShutdownProcess',
    'SignalProcess',
    'matches_executable',
    'matches_name',
    'matches_pid',
]


def _detail_matches(key: str, accepts: Callable[[Any], bool]) -> Callable[[ExecuteLocal], bool]:
    return lambda action: (
        bool(action.process_details) and key in action.process_details and accepts(action.process_details[key])
    )


def matches_pid(pid: int) -> Callable[[ExecuteLocal], bool]:
    """Return a matcher for the process with an id."""
    return _detail_matches('pid', lambda value: value == pid)


def matches_name(name: str) -> Callable[[ExecuteLocal], bool]:
    """Return a matcher for the process with a name, as it stands in its output lines."""
    return _detail_matches('name', lambda value: value == name)


def matches_executable(executable: str) -> Callable[[ExecuteLocal], bool]:
    """Return a matcher for processes whose executable's path ends so."""
    return _detail_matches('cmd', lambda value: value[0].endswith(executable))


class RunningProcessEvent(Event):
    """Base of the events that a process causes."""

    name = 'launch.events.process.RunningProcessEvent'

    def __init__(
        self, *, action: ExecuteLocal, name: str, cmd: list[str], cwd: str | None, env: dict[str, str] | None, pid: int
    ) -> None:
        self._action = action
        self._process_name = name
        self._cmd = cmd
        self._cwd = cwd
        self._env = env
        self._pid = pid

    @property
    def action(self) -> ExecuteLocal:
        """The action that started the process."""
        return self._action

    @property
    def execute_process_action(self) -> ExecuteLocal:
        """The action that started the process."""
        return self._action

    @property
    def process_name(self) -> str:
        """Name of the process, unique in the launch."""
        return self._process_name

    @property
    def cmd(self) -> list[str]:
        """The command."""
        return self._cmd

    @property
    def cwd(self) -> str | None:
        """The folder it runs in, None for launch's own."""
        return self._cwd

    @property
    def env(self) -> dict[str, str] | None:
        """Its environment."""
        return self._env

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._pid


class ProcessStarted(RunningProcessEvent):
    """A process has started."""

    name = 'launch.events.process.ProcessStarted'


class ProcessExited(RunningProcessEvent):
    """A process has ended."""

    name = 'launch.events.process.ProcessExited'

    def __init__(self, *, returncode: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._returncode = returncode

    @property
    def returncode(self) -> int:
        """Its exit code, or minus the number of the signal that ended it."""
        return self._returncode


class ProcessIO(RunningProcessEvent):
    """A process has written something."""

    name = 'launch.events.process.ProcessIO'

    def __init__(self, *, text: bytes, fd: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._text = text
        self._fd = fd

    @property
    def text(self) -> bytes:
        """What was written; not always whole lines."""
        return self._text

    @property
    def from_stdin(self) -> bool:
        """Whether this is input."""
        return self._fd == 0

    @property
    def from_stdout(self) -> bool:
        """Whether it was written to stdout."""
        return self._fd == 1

    @property
    def from_stderr(self) -> bool:
        """Whether it was written to stderr."""
        return self._fd == 2


class ProcessStdin(ProcessIO):
    """Input for a process."""

    name = 'launch.events.process.ProcessStdin'

    def __init__(self, *, text: bytes, **kwargs: Any) -> None:
        super().__init__(text=text, fd=0, **kwargs)


class ProcessStdout(ProcessIO):
    """A process has written to stdout."""

    name = 'launch.events.process.ProcessStdout'

    def __init__(self, *, text: bytes, **kwargs: Any) -> None:
        super().__init__(text=text, fd=1, **kwargs)


class ProcessStderr(ProcessIO):
    """A process has written to stderr."""

    name = 'launch.events.process.ProcessStderr'

    def __init__(self, *, text: bytes, **kwargs: Any) -> None:
        super().__init__(text=text, fd=2, **kwargs)


class ProcessTargetedEvent(Event):
    """Base of the events that are meant for some processes.

    Args:
        process_matcher: tells which; see `launch.events.matches_action()` and the matchers in this module.
    """

    name = 'launch.events.process.ProcessTargetedEvent'

    def __init__(self, *, process_matcher: Callable[[ExecuteLocal], bool]) -> None:
        self._process_matcher = process_matcher

    @property
    def process_matcher(self) -> Callable[[ExecuteLocal], bool]:
        """Tells which processes are meant."""
        return self._process_matcher


class ShutdownProcess(ProcessTargetedEvent):
    """Processes are to be shut down."""

    name = 'launch.events.process.ShutdownProcess'


class SignalProcess(ProcessTargetedEvent):
    """Processes are to get a signal.

    Args:
        signal_number: the signal, or the string 'SIGKILL'.
        process_matcher: tells which processes.
    """

    name = 'launch.events.process.SignalProcess'

    def __init__(self, *, signal_number: str | signal.Signals, process_matcher: Callable[[ExecuteLocal], bool]) -> None:
        super().__init__(process_matcher=process_matcher)
        if not isinstance(signal_number, str | signal.Signals):
            raise TypeError(f'SignalProcess: signal_number must be a str or a signal.Signals, got {signal_number!r}')
        self._signal = signal_number

    @property
    def signal(self) -> str | signal.Signals:
        """The signal."""
        return self._signal

    @property
    def signal_name(self) -> str:
        """Name of the signal, such as 'SIGINT'."""
        return self._signal if isinstance(self._signal, str) else self._signal.name


class EscalateShutdown(Event):
    """Processes that are being shut down are to get the next harder signal at once (not in the original launch)."""

    name = 'launch.events.process.EscalateShutdown'
