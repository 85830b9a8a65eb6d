# SPDX-License-Identifier: Apache-2.0
"""Child processes that leave nobody behind.

Each child leads a process group of its own, so that a signal reaches everything it has started (shells, wrappers and
their children), the terminal's Ctrl-C reaches launch alone, and launch decides what follows. The original launch leaves
its children in its own group; grandchildren then survive whenever no terminal signals them.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import pty
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NEW_GROUP: dict[str, Any] = {'process_group': 0} if sys.version_info >= (3, 11) else {'preexec_fn': os.setpgrp}
_OUTPUT_GRACE_S = 0.5
_POLL_S = 0.05

_groups: set[int] = set()
_owner = os.getpid()


def signal_all_groups(signal_number: signal.Signals) -> None:
    """Send a signal to all children that may still run, and to what they have started."""
    for group in tuple(_groups):
        if _group_lives(group):
            _signal_group(group, signal_number)


@atexit.register
def _kill_survivors() -> None:
    """Leave nobody behind when the interpreter ends in the middle of a launch."""
    if os.getpid() == _owner:
        signal_all_groups(signal.SIGKILL)


def _signal_group(group: int, signal_number: int) -> bool:
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _group_lives(group: int) -> bool:
    """Tell whether a process group of this session has members.

    Zombies do not count: nobody may ever reap them in a container. Nor does a group of another session: its number has
    been given anew.
    """
    if not _signal_group(group, 0):
        return False
    if not Path('/proc/self/stat').exists():
        return True
    return any(_is_member(int(name), group) for name in os.listdir('/proc') if name.isdigit())  # noqa: PTH208 (speed)


def _is_member(pid: int, group: int) -> bool:
    try:
        if os.getpgid(pid) != group or os.getsid(pid) != os.getsid(0):
            return False
        # The command, in parentheses, may hold spaces: the state is what comes after it.
        state = Path(f'/proc/{pid}/stat').read_text(errors='replace').rpartition(')')[2].split()[0]
    except OSError:
        return False  # It has just ended.
    return state not in 'ZX'


class _PipeProtocol(asyncio.SubprocessProtocol):
    def __init__(self, on_start: Callable[[int], None], on_output: Callable[[int, bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.drained: asyncio.Future[None] = loop.create_future()
        self._on_start = on_start
        self._on_output = on_output
        self._open_pipes = 2

    def connection_made(self, transport: asyncio.SubprocessTransport) -> None:
        self._on_start(transport.get_pid())

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._on_output(fd, data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd in (1, 2):
            self.output_closed()

    def output_closed(self) -> None:
        self._open_pipes -= 1
        if self._open_pipes == 0 and not self.drained.done():
            self.drained.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


class _TerminalProtocol(asyncio.Protocol):
    def __init__(self, fd: int, pipes: _PipeProtocol) -> None:
        self._fd = fd
        self._pipes = pipes

    def data_received(self, data: bytes) -> None:
        self._pipes.pipe_data_received(self._fd, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipes.output_closed()


def _open_terminal() -> tuple[int, int]:
    """Return the two ends of a pseudo terminal that leaves line feeds as they are."""
    reader, writer = pty.openpty()
    attributes = termios.tcgetattr(writer)
    attributes[1] &= ~termios.ONLCR
    termios.tcsetattr(writer, termios.TCSANOW, attributes)
    return reader, writer


class ChildProcess:
    """A running child; make one with `start()`."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        protocol: _PipeProtocol,
        terminals: list[asyncio.BaseTransport],
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._terminals = terminals
        self.pid = transport.get_pid()
        _groups.add(self.pid)

    @classmethod
    async def start(
        cls,
        *,
        cmd: list[str],
        cwd: str | None,
        env: dict[str, str] | None,
        shell: bool,
        emulate_tty: bool,
        on_start: Callable[[int], None],
        on_output: Callable[[int, bytes], None],
    ) -> ChildProcess:
        """Start a child.

        Args:
            cmd: executable and arguments; with `shell` they are joined by spaces and given to sh.
            cwd: folder to run in, None for this process's own.
            env: all its environment variables, None for this process's own.
            shell: run it through sh.
            emulate_tty: let it write to terminals, not pipes.
            on_start: gets the id of the process, before any output comes.
            on_output: gets the file descriptor (1 or 2) and what was written to it.

        Raises:
            OSError: if it cannot be executed.
            ValueError: if the command has a null byte in it.
        """
        loop = asyncio.get_running_loop()
        readers, writers = zip(_open_terminal(), _open_terminal(), strict=True) if emulate_tty else ((), ())
        stdout, stderr = writers or (asyncio.subprocess.PIPE, asyncio.subprocess.PIPE)
        settings = {'cwd': cwd, 'env': env, 'stdout': stdout, 'stderr': stderr, **_NEW_GROUP}

        def factory() -> _PipeProtocol:
            return _PipeProtocol(on_start, on_output)

        try:
            if shell:
                transport, protocol = await loop.subprocess_shell(factory, ' '.join(cmd), **settings)
            else:
                transport, protocol = await loop.subprocess_exec(factory, *cmd, **settings)
        except BaseException:
            for reader in readers:
                os.close(reader)
            raise
        finally:
            for writer in writers:
                os.close(writer)
        terminals = []
        for fd, reader in enumerate(readers, start=1):
            terminal, _ = await loop.connect_read_pipe(
                lambda fd=fd: _TerminalProtocol(fd, protocol),
                os.fdopen(reader, 'rb', 0),
            )
            terminals.append(terminal)
        return cls(transport, protocol, terminals)

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the number of the signal that ended it, or None while it runs."""
        return self._transport.get_returncode()

    async def wait(self) -> int:
        """Wait until the child has ended and its output has come in, and return the exit code."""
        await self._protocol.exited
        # Grandchildren may hold the pipes open for as long as they live.
        await asyncio.wait([self._protocol.drained], timeout=_OUTPUT_GRACE_S)
        return self._transport.get_returncode()

    def signal(self, signal_number: signal.Signals) -> bool:
        """Send a signal to the child alone; tell whether it was there to get it."""
        if self.returncode is not None:
            return False
        try:
            os.kill(self.pid, signal_number)
        except ProcessLookupError:
            return False
        return True

    def signal_group(self, signal_number: signal.Signals) -> bool:
        """Send a signal to the child and all that it has started; tell whether anybody was there to get it."""
        return _signal_group(self.pid, signal_number)

    def group_lives(self) -> bool:
        """Tell whether the child, or something that it has started, still runs."""
        return self.returncode is None or _group_lives(self.pid)

    async def wait_for_group(self) -> None:
        """Wait until the child and all that it has started have ended."""
        await asyncio.wait([self._protocol.exited])
        while self.group_lives():
            await asyncio.sleep(_POLL_S)

    def close(self) -> None:
        """Close the pipes to a child that has ended; forget its group if nobody is left in it."""
        for terminal in self._terminals:
            terminal.close()
        self._transport.close()
        if not self.group_lives():
            _groups.discard(self.pid)
