# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of a study, several at once; what has been done before is not done again."""

import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

from radio_visual_ssl.study import step_process
from radio_visual_ssl.study.description import StudyError
from radio_visual_ssl.study.outcomes import (
    MARKER,
    NEEDS,
    Outcome,
    code_digest,
    mark_removed,
    outcome_of,
    read_outcome,
    write_outcome,
)
from radio_visual_ssl.study.plan import CACHE, Plan, PlannedStep
from radio_visual_ssl.worker_processes import only_process

Keep = Literal['models', 'all']
PROGRAM = 'radio-visual-ssl'
"""First word of a command that stands for this very package."""
_ONE_THREAD = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')
_LOG = 'log.txt'
_POLL_S = 0.05
_GRACE_S = 10.0  # to a command that is asked to end


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        done, total: steps; those that another run has done, too.
        running: titles.
        remaining_s: what is left to be expected; None before anything is known.
    """

    done: int
    total: int
    running: tuple[str, ...]
    remaining_s: float | None


@dataclass
class _Running:
    """A command at work."""

    planned: PlannedStep
    process: 'subprocess.Popen[bytes]'
    command: list[str]
    workers: int
    log_begin: int
    begun: float


def known_outcomes(plan: Plan, out: Path) -> dict[str, Outcome]:
    """What earlier runs have done and what follows from it, by the steps' folders.

    A step that needs one that diverged is never run, so that nothing of it is stored: it diverged with the other,
    whatever an earlier run with other bounds has made of it.
    """
    known: dict[str, Outcome] = {}
    for folder, planned in plan.steps.items():
        outcome = _diverged_with(plan, planned, known) or read_outcome(out / folder, planned.step)
        if outcome is not None:
            known[folder] = outcome
    return known


def _diverged_with(plan: Plan, planned: PlannedStep, outcomes: Mapping[str, Outcome]) -> Outcome | None:
    """Of a step that needs one that diverged; None where it needs none such."""
    for needed in planned.inputs:
        if needed in outcomes and outcomes[needed].state == 'diverged':
            return Outcome('diverged', reason=f'{NEEDS}{plan.steps[needed].title}, which diverged')
    return None


def steps_to_run(plan: Plan, known: Mapping[str, Outcome]) -> set[str]:
    """Folders of the steps that have to be run: those not done, and those whose removed output they need.

    Args:
        plan: of the study.
        known: see `known_outcomes`.
    """
    users = plan.users()
    needed: set[str] = set()
    for folder in reversed(list(plan.steps)):
        outcome = known.get(folder)
        wanted = any(user in needed for user in users[folder])
        if outcome is None or (wanted and outcome.removed and outcome.state == 'finished'):
            needed.add(folder)
    return needed


def run_plan(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    keep: Keep = 'all',
    later: Collection[str] = (),
    tell: Callable[[str], None] = lambda text: None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Outcome]:
    """Run what of a plan has not been run yet.

    A step that fails or diverges takes along those that need it; all others go on.

    Args:
        plan: of the study.
        out: folder of studies; no other process may run one there, see `alone_in`.
        workers: commands at once; each has one thread. Their number changes no result.
        keep: models: what steps call temporary is removed once no step of the plan needs it. all: nothing is.
        later: folders of steps of which studies that are run after this one have a part: nothing of them is removed.
        tell: takes a line for each step that ends.
        progress: called whenever a step begins or ends.

    Returns:
        By the steps' folders.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after all commands have been ended.
    """
    out.mkdir(parents=True, exist_ok=True)
    return _Run(plan, out, workers, keep, later, tell, progress).run()


def needed_by_failed(plan: Plan, outcomes: Mapping[str, Outcome]) -> set[str]:
    """Folders of the steps that failed ones need, and that another run will want to find."""
    failed = (folder for folder, outcome in outcomes.items() if outcome.state == 'failed')
    return {needed for folder in failed for needed in plan.steps[folder].inputs}


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keeps other processes from running studies in a folder, which is made.

    Raises:
        StudyError: another one does.
    """
    out.mkdir(parents=True, exist_ok=True)
    with only_process(out, StudyError(f'{out}: another process is running studies here')):
        yield


class _Run:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        workers: int,
        keep: Keep,
        later: Collection[str],
        tell: Callable[[str], None],
        progress: Callable[[Progress], None],
    ) -> None:
        self._plan, self._out, self._workers, self._keep = plan, out, workers, keep
        self._later, self._tell, self._progress = later, tell, progress
        self._users = plan.users()
        self._outcomes = known_outcomes(plan, out)
        self._to_run = steps_to_run(plan, self._outcomes)
        for folder in self._to_run:
            self._outcomes.pop(folder, None)
        self._running: list[_Running] = []

    def run(self) -> dict[str, Outcome]:
        graph = {folder: planned.inputs for folder, planned in self._plan.steps.items()}
        place = {folder: number for number, folder in enumerate(graph)}
        sorter = TopologicalSorter(graph)
        sorter.prepare()
        ready: list[str] = []
        try:
            while sorter.is_active():
                # the plan goes point by point, so that what is temporary is needed no longer as early as can be
                ready = sorted([*ready, *sorter.get_ready()], key=place.__getitem__)
                settled = [folder for folder in ready if self._settle(folder)]
                for folder in settled:
                    ready.remove(folder)
                while ready and not settled and self._free() > 0:
                    self._start(self._plan.steps[ready.pop(0)])
                ended = [] if settled else self._ended()
                for folder in (*settled, *ended):
                    sorter.done(folder)
                if ended or settled:
                    self._remove_temporary()
                elif self._running:
                    time.sleep(_POLL_S)
        finally:
            self._stop()
        return self._outcomes

    def _settle(self, folder: str) -> bool:
        """Whether a step needs no run: it was done, or what it needs is not to be had."""
        if folder in self._outcomes:
            return True
        planned = self._plan.steps[folder]
        outcome = _diverged_with(self._plan, planned, self._outcomes)  # first: another run would not help
        failed = [needed for needed in planned.inputs if self._outcomes[needed].state == 'failed']
        if outcome is None and failed:
            outcome = Outcome('failed', reason=f'{NEEDS}{self._plan.steps[failed[0]].title}, which failed')
        if outcome is None:
            return False
        self._outcomes[folder] = outcome
        return True

    def _free(self) -> int:
        return self._workers - sum(each.workers for each in self._running)

    def _start(self, planned: PlannedStep) -> None:
        """Start a command, which spreads over all processes that are free if it can."""
        folder = self._out / planned.folder
        # what ended well is run again only for want of its output; a command that resumes goes on after any other end
        if not planned.step.resumes or (folder / MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        workers = self._free() if planned.spreads else 1
        command = planned.command(workers)
        # not resolved: in a workspace of links, the source tree lacks what was built
        package = str(Path(step_process.__file__).absolute().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH', '')]))
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, '1'), 'PYTHONPATH': path}
        program = [sys.executable, '-m', 'radio_visual_ssl'] if command[0] == PROGRAM else command[:1]
        wrapper = [sys.executable, '-I', '-S', step_process.__file__, str(os.getpid())]
        with (folder / _LOG).open('ab') as log:
            log.write(f'$ {shlex.join(command)}\n'.encode())
            log.flush()
            begin = log.tell()
            process = subprocess.Popen(
                [*wrapper, *program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._out,
                env=environment,
                start_new_session=True,  # Ctrl-C comes to this process, which ends them
            )
        self._running.append(_Running(planned, process, command, workers, begin, time.monotonic()))
        self._show()

    def _ended(self) -> list[str]:
        """Folders of the steps whose commands have ended."""
        ended = [each for each in self._running if each.process.poll() is not None]
        for each in ended:
            self._running.remove(each)
            planned, folder = each.planned, self._out / each.planned.folder
            outcome = outcome_of(planned.step, each.process.returncode, folder / _LOG, each.log_begin)
            seconds = round(time.monotonic() - each.begun, 2)
            outcome = replace(outcome, seconds=seconds, workers=each.workers, code=code_digest())
            if outcome.state != 'failed':
                write_outcome(folder, outcome, each.command)
            self._outcomes[planned.folder] = outcome
            said = '' if outcome.state == 'finished' else f', {outcome.state}: {outcome.reason}'
            log = f'\nlog: {folder / _LOG}' if outcome.state == 'failed' else ''
            self._show()
            self._tell(f'[{self._done()}/{len(self._plan.steps)}] {planned.title}: {seconds:.0f} s{said}{log}')
        return [each.planned.folder for each in ended]

    def _done(self) -> int:
        return len(self._outcomes)

    def _show(self) -> None:
        titles = tuple(each.planned.title for each in self._running)
        self._progress(Progress(self._done(), len(self._plan.steps), titles, self._remaining_s()))

    def _remaining_s(self) -> float | None:
        """Of all steps that are left, as long as others of their name took on average, shared by all processes."""
        took: dict[str, list[float]] = {}
        for folder, outcome in self._outcomes.items():
            if outcome.seconds:
                took.setdefault(self._plan.steps[folder].step.name, []).append(outcome.seconds * outcome.workers)
        if not took:
            return None
        usual = statistics.fmean(seconds for several in took.values() for seconds in several)
        left = 0.0
        now = {each.planned.folder: (time.monotonic() - each.begun) * each.workers for each in self._running}
        for folder, planned in self._plan.steps.items():
            if folder not in self._outcomes:
                several = took.get(planned.step.name)
                left += max((statistics.fmean(several) if several else usual) - now.get(folder, 0.0), 0.0)
        return left / self._workers

    def _remove_temporary(self) -> None:
        """Remove what no step needs any more; what a failed one needs stays, for the next run tries it again."""
        if self._keep == 'all':
            return
        for folder, planned in self._plan.steps.items():
            outcome = self._outcomes.get(folder)
            if not planned.step.temporary or outcome is None or outcome.removed or outcome.state != 'finished':
                continue
            if folder in self._later:
                continue
            states = [self._outcomes[user].state if user in self._outcomes else None for user in self._users[folder]]
            if all(state in ('finished', 'diverged') for state in states):
                # marked first: what is marked as removed is never taken for whole
                self._outcomes[folder] = mark_removed(self._out / folder, outcome)
                for place in (self._out / planned.output, self._out / folder / CACHE):
                    if place.is_dir():
                        shutil.rmtree(place)
                    else:
                        place.unlink(missing_ok=True)

    def _stop(self) -> None:
        """End what still runs: this run was interrupted."""
        for each in self._running:
            _signal(each.process, signal.SIGTERM)
        until = time.monotonic() + _GRACE_S
        for each in self._running:
            with suppress(subprocess.TimeoutExpired):
                each.process.wait(max(until - time.monotonic(), 0.0))
            # its own processes too, if there are any left
            _signal(each.process, signal.SIGKILL)
            each.process.wait()


def _signal(process: 'subprocess.Popen[bytes]', number: signal.Signals) -> None:
    """To a command and the processes that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
