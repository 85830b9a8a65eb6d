# SPDX-License-Identifier: Apache-2.0
"""What came of a study: each figure at each point as mean, spread over the seeds and count, as JSON and Markdown."""

import json
import math
import os
import platform
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radio_visual_ssl import __version__
from radio_visual_ssl.study.description import Figure, Value, plain
from radio_visual_ssl.study.outcomes import NEEDS, Outcome, code_digest, lookup, write_atomically
from radio_visual_ssl.study.plan import Plan, value_text

RESULTS, REPORT = 'results.json', 'results.md'


@dataclass(frozen=True)
class Cell:
    """A figure of a series at a point; each run counts once, so that what no seed changes is one run.

    Attributes:
        values: of the runs that have one, by seed.
        runs: in all.
        diverged: runs in which nothing was learned.
        failed: runs of which a step failed, or whose JSON has no such figure.
        undefined: runs that say that there is no such number (null), or lack one that is optional.
    """

    values: tuple[float, ...]
    runs: int
    diverged: int = 0
    failed: int = 0
    undefined: int = 0

    @property
    def mean(self) -> float | None:
        """Of the values."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the values over the seeds; None of less than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, digits: int) -> str:
        """Mean, spread and count, and what is not in them."""
        notes = [
            f'{what}: {count} of {self.runs}'
            for what, count in (('diverged', self.diverged), ('failed', self.failed), ('undefined', self.undefined))
            if count
        ]
        if self.mean is None:
            return '; '.join(notes) or 'not run'
        spread = '' if self.spread is None else f' ± {self.spread:.{digits}f}'
        return f'{self.mean:.{digits}f}{spread} ({"; ".join([f"n {len(self.values)}", *notes])})'

    def to_json(self) -> dict[str, Any]:
        """The figures."""
        return {
            'mean': self.mean,
            'spread': self.spread,
            'n': len(self.values),
            'values': list(self.values),
            'runs': self.runs,
            'diverged': self.diverged,
            'failed': self.failed,
            'undefined': self.undefined,
        }


@dataclass(frozen=True, eq=False)
class Results:
    """Of a study.

    Attributes:
        plan: that was run.
        outcomes: of its steps.
        cells: by (number of the point, series, figure); those that a series does not have are left out.
        problems: of figures, one sentence each.
    """

    plan: Plan
    outcomes: Mapping[str, Outcome]
    cells: Mapping[tuple[int, str, str], Cell]
    problems: tuple[str, ...]

    @classmethod
    def collect(cls, plan: Plan, outcomes: Mapping[str, Outcome]) -> 'Results':
        """Read the figures out of what the steps said."""
        cells: dict[tuple[int, str, str], Cell] = {}
        problems: dict[str, None] = {}
        for point in range(len(plan.points)):
            for series in plan.study.series:
                for figure in plan.study.figures:
                    source = plan.study.source(figure, series)
                    if source is not None:
                        folders = dict.fromkeys(plan.of[point, seed, source[0]] for seed in plan.seeds)
                        cells[point, series, figure.name] = _cell(
                            figure, source, {folder: outcomes.get(folder) for folder in folders}, problems
                        )
        return cls(plan, outcomes, cells, tuple(problems))

    @property
    def columns(self) -> list[str]:
        """Headings of `rows`."""
        study = self.plan.study
        axes = [f'{axis.label}{f" ({axis.unit})" if axis.unit else ""}' for axis in study.axes]
        series = [''] if len(study.series) > 1 else []
        return [*axes, *series, *(figure.heading for figure in study.figures)]

    @property
    def texts(self) -> int:
        """Columns that are no figures."""
        return len(self.plan.study.axes) + (len(self.plan.study.series) > 1)

    @property
    def rows(self) -> list[list[str]]:
        """A row for each point and series."""
        study = self.plan.study
        rows = []
        for number, point in enumerate(self.plan.points):
            for series in study.series:
                cells = [self.cells.get((number, series, figure.name)) for figure in study.figures]
                if any(cell is not None for cell in cells):
                    texts = ['-' if cell is None else cell.text(figure.digits)
                             for cell, figure in zip(cells, study.figures, strict=True)]  # fmt: skip
                    names = [series] if len(study.series) > 1 else []
                    rows.append([*(value_text(each.value) for each in point.values), *names, *texts])
        return rows

    def count(self, state: str) -> int:
        """Steps of a state."""
        return sum(outcome.state == state for outcome in self.outcomes.values())

    @property
    def notes(self) -> list[str]:
        """What a reader has to know, one sentence each."""
        notes = list(self.problems)
        for folder, planned in self.plan.steps.items():
            outcome = self.outcomes.get(folder)
            if outcome is not None and outcome.state != 'finished' and not outcome.reason.startswith(NEEDS):
                reason = outcome.reason.splitlines()[-1]
                notes.append(f'{planned.title} {outcome.state}: {reason}')
        codes = [outcome.code for outcome in self.outcomes.values() if outcome.code]
        older = sum(code != code_digest() for code in codes)
        if older:
            notes.append(
                f"{older} of {len(codes)} steps were run with another state of the package's code than this one"
            )
        return notes

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        plan, study = self.plan, self.plan.study
        return {
            'study': study.name,
            'title': study.title,
            'restriction': plan.restriction,
            'takeaway': study.takeaway,
            'version': __version__,
            'processor': platform.machine(),
            'cores': os.cpu_count(),
            'seeds': [seed for seed in plan.seeds if seed >= 0],
            'settings': {name: _json(value) for name, value in study.settings.items()},
            'points': [
                {
                    'axes': {axis.name: each.value for axis, each in zip(study.axes, point.values, strict=True)},
                    'series': {
                        series: {
                            figure.name: self.cells[number, series, figure.name].to_json()
                            for figure in study.figures
                            if (number, series, figure.name) in self.cells
                        }
                        for series in study.series
                    },
                }
                for number, point in enumerate(plan.points)
            ],
            'steps': [
                {
                    'step': planned.title,
                    'folder': folder,
                    'command': shlex.join(planned.command(outcome.workers)),
                    'state': outcome.state,
                    'reason': outcome.reason,
                    'seconds': outcome.seconds,
                    'code': outcome.code,
                }
                for folder, planned, outcome in (
                    (folder, planned, self.outcomes.get(folder, Outcome('not run')))
                    for folder, planned in plan.steps.items()
                )
            ],
            'notes': self.notes,
        }

    def write(self, out: Path, curves: Sequence[Path] = ()) -> Path:
        """Write results.json and results.md, and remove the curves of earlier results that are drawn no more.

        Args:
            out: folder of the results, see `Plan.results_folder`.
            curves: pictures in it.

        Returns:
            Path of results.md.
        """
        out.mkdir(parents=True, exist_ok=True)
        drawn = [curve.relative_to(out).as_posix() for curve in curves]
        for name in _earlier_curves(out) - {*drawn}:
            (out / name).unlink(missing_ok=True)
        content = {**self.to_json(), 'curves': drawn}
        write_atomically(out / RESULTS, json.dumps(content, indent=1, allow_nan=False) + '\n')
        return write_atomically(out / REPORT, self._markdown(out, curves))

    def _markdown(self, out: Path, curves: Sequence[Path]) -> str:
        study = self.plan.study
        lines = [f'# {self.plan.title}', '']
        if study.takeaway and not self.plan.restriction:  # what was learned from all of it
            lines += [study.takeaway, '']
        lines += [_row(self.columns), '|---' * len(self.columns) + '|', *(_row(row) for row in self.rows), '']
        lines += ['Mean ± standard deviation over the seeds (n: runs that count).', '']
        for curve in curves:
            lines += [f'![{curve.stem}]({curve.relative_to(out).as_posix()})', '']
        lines += [f'- {note}' for note in self.notes]
        seconds: dict[str, list[float]] = {}
        for folder, planned in self.plan.steps.items():
            if folder in self.outcomes and self.outcomes[folder].seconds:
                seconds.setdefault(planned.step.name, []).append(self.outcomes[folder].seconds)
        lines += ['', '## How it was made', '']
        seeds = ', '.join(str(seed) for seed in self.plan.seeds if seed >= 0) or 'none'
        lines.append(f'radio_visual_ssl {__version__}, seeds {seeds}, a machine with {os.cpu_count()} cores.')
        lines += ['', '| step | runs | seconds each | seconds in all |', '|---|---|---|---|']
        lines += [
            f'| {name} | {len(took)} | {statistics.fmean(took):.0f} | {sum(took):.0f} |'
            for name, took in seconds.items()
        ]
        lines += ['', 'All commands, in the folder of studies:', '', '```bash']
        for folder, planned in self.plan.steps.items():
            lines.append(shlex.join(planned.command(self.outcomes.get(folder, Outcome('not run')).workers)))
        return '\n'.join([*lines, '```', ''])


def _earlier_curves(out: Path) -> set[str]:
    """Names of the pictures that earlier results in a folder have drawn."""
    try:
        content = json.loads((out / RESULTS).read_text(encoding='utf-8'))
        if 'curves' in content:
            names = {str(name) for name in content['curves']}
        else:  # before they were listed
            every = [series for point in content['points'] for series in point['series'].values()]
            names = {f'{figure}.png' for series in every for figure in series}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {name for name in names if Path(name).name == name and name.endswith('.png')}


def _cell(
    figure: Figure, source: tuple[str, str], outcomes: Mapping[str, Outcome | None], problems: dict[str, None]
) -> Cell:
    """A figure over the runs of one step."""
    values: list[float] = []
    diverged = failed = undefined = 0
    for outcome in outcomes.values():
        if outcome is None:
            continue
        if outcome.state == 'diverged':
            diverged += 1
        elif outcome.state != 'finished':
            failed += 1
        else:
            try:
                value = lookup(outcome.result, source[1])
            except KeyError as error:
                if figure.optional:
                    undefined += 1
                    continue
                problems[f'figures.{figure.name}: {source[0]}.{source[1]}: {error.args[0]}'] = None
                failed += 1
                continue
            if value is None or (isinstance(value, float) and not math.isfinite(value)):
                undefined += 1
            elif isinstance(value, int | float) and not isinstance(value, bool):
                values.append(figure.times * value)
            else:
                problems[f'figures.{figure.name}: {source[0]}.{source[1]}: expected a number, got {value!r}'] = None
                failed += 1
    return Cell(tuple(values), len(outcomes), diverged, failed, undefined)


def _row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cell.replace("|", "/") for cell in cells)} |'


def _json(value: Value) -> Any:
    return [plain(word) for word in value] if isinstance(value, tuple) else value
