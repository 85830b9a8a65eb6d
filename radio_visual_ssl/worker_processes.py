# SPDX-License-Identifier: Apache-2.0
"""Processes that share out work: one thread each, none outlives the process that started it, and one to a folder."""

import fcntl
import multiprocessing
import multiprocessing.connection
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

_THREAD_LIMITS = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose work that has not begun is dropped when the block raises.

    With one thread in each, the number of workers changes no result and no core is fought for.

    Args:
        count: of processes.
    """
    limits = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, '1'))
    context = multiprocessing.get_context('spawn')
    try:
        with ProcessPoolExecutor(count, context, initializer=_begin) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        for name, value in limits.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin() -> None:
    """Prepare a worker."""
    import cv2

    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed must not go on writing into a folder that another run takes over."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
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
