# SPDX-License-Identifier: Apache-2.0
"""Processes that share out work: one thread each, none outlives the process that started it, and one to a folder."""

import fcntl
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

_THREAD_LIMITS = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose work that has not begun is dropped when the block raises; an interrupt ends what is at work, too.

    With one thread in each, the number of workers changes no result and no core is fought for.

    Args:
        count: of processes.
    """
    limits = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, '1'))
    context = multiprocessing.get_context('spawn')
    try:
        awaited, stop = context.Pipe(duplex=False)
        with awaited, stop, _Pool(count, context, initializer=_begin, initargs=(awaited,)) as pool:
            try:
                yield pool
            except Exception:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            except BaseException:
                stop.close()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        for name, value in limits.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Pool(ProcessPoolExecutor):
    """Starts workers that Ctrl-C at the terminal does not reach: it is their parent that ends them."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As of any executor; a worker may be started, which takes over which signals are blocked."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stop: Connection) -> None:
    """Prepare a worker, which ends when its parent ends or closes the other end of ``stop``."""
    import cv2

    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, args=(stop,), daemon=True).start()


def _end_with_parent(stop: Connection) -> None:
    """A worker whose parent was killed must not go on writing into a folder that another run takes over."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel, stop])
        os._exit(1)


@contextmanager
def only_process(folder: Path, refusal: Exception) -> Iterator[None]:
    """Hold a folder against other processes; the lock goes with the process, however it ends.

    Args:
        folder: that exists.
        refusal: raised where another process holds it.

    Raises:
        Exception: ``refusal``.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise refusal from error
        yield
    finally:
        os.close(handle)
