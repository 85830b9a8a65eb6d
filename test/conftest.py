# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

# threads of a matrix product that wait for each other make it 20 times slower where other processes are busy; numpy
# reads this when it is first imported, which pytest plugins must not do before (see addopts)
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

# a background job, or one under nohup, ignores these, and so would all processes that tests start and interrupt; a
# handler that does nothing is not handed down
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Folder with the measured radar samples (RADIATE clip, OpenRadar frame); they are not part of this repository."""
    folder = Path(os.environ.get('RADIO_VISUAL_SSL_TEST_DATA', REPOSITORY.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'measured radar samples not found in {folder}; set RADIO_VISUAL_SSL_TEST_DATA')
    return folder


@pytest.fixture
def largest_file() -> Callable[[int], AbstractContextManager[None]]:
    """Makes a context in which a file that grows beyond so many bytes fails half-way, as on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
