# SPDX-License-Identifier: Apache-2.0
"""What the commands print: tables, notes, progress and one line of JSON."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class _PlainConsole(Console):
    """Prints texts as they are: paths and names may hold what rich takes for markup or emoji."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> NoReturn:
        """End as other tools do whose reader has gone."""
        _end_without_reader()


# A pipe or a file has no width of its own: tables stay whole there.
console = _PlainConsole(width=None if sys.stdout.isatty() else 120)
messages = _PlainConsole(stderr=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function of (done, total) that moves a progress bar on stderr; silent where that is no terminal."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def check_writable(option: str, path: Path) -> None:
    """Find out before long work that its result cannot be written; the folder of the file is made.

    Raises:
        ValueError: a folder has this name, or the file's cannot be made or written; the message names the option.
    """
    if path.is_dir():
        raise ValueError(f'{option}: expected the path of a file, got the folder {path}')
    above = next(each for each in path.absolute().parents if each.exists())
    if not above.is_dir():
        raise ValueError(f'{option}: expected the path of a file in a folder, got {path}, and {above} is a file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f'{option}: expected a file that can be written, got {path}: {error}') from error


def leave_stdout_to_json(asked: bool) -> bool:
    """Callback of ``--json``: tables and notes go to stderr, so that stdout can be piped into a reader of JSON."""
    console.stderr = asked
    return asked


def print_json(result: dict[str, Any]) -> None:
    """One line of JSON; NaN and infinities, which JSON lacks, are an error."""
    text = json.dumps(result, allow_nan=False)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _end_without_reader()


def table(title: str, columns: list[str], rows: list[list[str]], texts: int = 1) -> None:
    """Print a table whose first columns, as many as ``texts``, are text and whose others are figures."""
    result = Table(*columns, title=title, title_justify='left')
    for column in result.columns[texts:]:
        column.justify = 'right'
    for column in result.columns:
        column.overflow = 'fold'
    for row in rows:
        result.add_row(*row)
    console.print(result)


def _end_without_reader() -> NoReturn:
    """End with the status of a process that SIGPIPE ended."""
    # Python flushes stdout once more at its end
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(128 + signal.SIGPIPE)
