# SPDX-License-Identifier: Apache-2.0
"""study: recipes of commands at many points and seeds."""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from radio_visual_ssl.commands.options import Json
from radio_visual_ssl.commands.output import console, messages, print_json, table

if TYPE_CHECKING:
    from radio_visual_ssl.study.plan import Plan
    from radio_visual_ssl.study.results import Results
    from radio_visual_ssl.study.running import Progress

NONE: list[str] = []


def register(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(study)


def study(
    names: Annotated[
        list[str],
        typer.Argument(metavar='STUDY...', help='YAML files, or names in config/studies/.', show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help='Folder of studies, which share their steps; the same command goes on. Default: out/studies.'
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help='Commands at once, a core each; 0 = one for each core.', min=0)] = 0,
    short: Annotated[bool, typer.Option('--short', help='The short versions, as the studies define them.')] = False,
    only: Annotated[
        list[str],
        typer.Option(
            metavar='AXIS=VALUE', help='Only points of this value, of an axis that all studies have; repeatable.'
        ),
    ] = NONE,
    seeds: Annotated[str, typer.Option(metavar='N,N,...', help="In place of the studies'.")] = '',
    keep: Annotated[
        Literal['models', 'all'],
        typer.Option(help='models: data sets and their caches are removed once no step needs them. all: they stay.'),
    ] = 'models',
    dry_run: Annotated[bool, typer.Option('--dry-run', help='List the steps, and run none.')] = False,
    as_json: Json = False,
) -> None:
    """Run studies: a recipe of commands at each point of some axes and each seed; tables, curves, results.md.

    Ctrl-C or a kill loses at most the steps at work: the same command goes on. A step that fails takes along those that
    need it, the others go on, and the exit status is 1. What several studies have in common is run once, and no other
    command may run studies in the folder meanwhile. With --only or --seeds, results have a folder of their own.
    """
    from radio_visual_ssl.study.description import load_study
    from radio_visual_ssl.study.plan import make_plan
    from radio_visual_ssl.study.running import alone_in, needed_by_failed

    described = [load_study(name, short) for name in names]
    _check_names(names, [each.name for each in described])
    plans = [make_plan(each, _restrictions(only), _seeds(seeds) if seeds else None) for each in described]
    folder = out or Path('out') / 'studies'
    workers = workers or os.cpu_count() or 1
    if dry_run:
        _list(plans, folder, workers, as_json)
        return
    begun = time.monotonic()
    told, lost = [], False
    kept: set[str] = set()
    with alone_in(folder):
        for number, plan in enumerate(plans):
            later = {step for other in plans[number + 1 :] for step in other.steps} | kept
            results, report = _run(plan, folder, workers, keep, later)
            kept |= needed_by_failed(plan, results.outcomes)
            lost |= results.count('failed') > 0 or bool(results.problems)
            content = results.to_json()
            told.append(
                {
                    **{key: content[key] for key in ('study', 'seeds', 'points', 'notes')},
                    'results': str(report),
                    'steps': len(plan.steps),
                    **{state: results.count(state) for state in ('finished', 'diverged', 'failed')},
                }
            )
    if as_json:
        print_json({'out': str(folder), 'studies': told, 'seconds': round(time.monotonic() - begun, 1)})
    if lost:
        raise typer.Exit(1)


def _run(
    plan: 'Plan', folder: Path, workers: int, keep: Literal['models', 'all'], later: set[str]
) -> tuple['Results', Path]:
    """Run one study, print its table and write its results; steps that are needed later keep what is temporary."""
    from radio_visual_ssl.study.curves import draw_results
    from radio_visual_ssl.study.results import Results
    from radio_visual_ssl.study.running import run_plan

    begun = time.monotonic()
    try:
        with _shown(plan.title) as (tell, progress):
            outcomes = run_plan(plan, folder, workers=workers, keep=keep, later=later, tell=tell, progress=progress)
    except KeyboardInterrupt:
        messages.print(f'interrupted; the same command goes on. What was done is in {folder}', soft_wrap=True)
        raise typer.Exit(130) from None
    results = Results.collect(plan, outcomes)
    place = folder / plan.results_folder
    report = results.write(place, draw_results(results, place))
    _tell(results, report, time.monotonic() - begun)
    return results, report


def _check_names(given: list[str], names: list[str]) -> None:
    """Refuse studies whose results would lie in one folder, or among the steps.

    Raises:
        ValueError: two of one name, or one named 'steps'.
    """
    first: dict[str, str] = {}
    for path, name in zip(given, names, strict=True):
        if name == 'steps':
            raise ValueError(f'{path}: expected another name than {name!r}: there the steps of all studies lie')
        if name in first:
            raise ValueError(f'{path}: expected studies of different names, got {name} again, as in {first[name]}')
        first[name] = path


def _restrictions(only: list[str]) -> dict[str, list[str]]:
    """Values by axis.

    Raises:
        ValueError: of another form.
    """
    wanted: dict[str, list[str]] = {}
    for text in only:
        name, equals, value = text.partition('=')
        if not equals:
            raise ValueError(f'--only: expected AXIS=VALUE, got {text!r}')
        wanted.setdefault(name, []).append(value)
    return wanted


def _seeds(text: str) -> list[int]:
    """Raises ValueError: of another form."""
    parts = text.split(',')
    # of other digits than ASCII's, int() takes some only
    if not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise ValueError(f'--seeds: expected whole numbers with commas between them, got {text!r}')
    return list(dict.fromkeys(int(part) for part in parts))


def _list(plans: Sequence['Plan'], folder: Path, workers: int, as_json: bool) -> None:
    """Print the steps of plans, and whether they are done; what several have in common once."""
    from radio_visual_ssl.study.running import known_outcomes, steps_to_run

    to_run = {step for plan in plans for step in steps_to_run(plan, known_outcomes(plan, folder))}
    steps = {place: planned for plan in plans for place, planned in plan.steps.items()}
    for place, planned in steps.items():
        _say(f'# {planned.title}{"" if place in to_run else ": done"}\n{shlex.join(planned.command(workers))}')
    seeds = sorted({seed for plan in plans for seed in plan.seeds if seed >= 0})
    points = sum(len(plan.points) for plan in plans)
    _say(f'{len(steps)} steps, {len(to_run)} of them to be run: {points} points, {len(seeds)} seeds')
    if as_json:
        print_json({'steps': len(steps), 'to_run': len(to_run), 'points': points, 'seeds': seeds})


def _tell(results: 'Results', report: Path, seconds: float) -> None:
    """Print the table."""
    table(results.plan.title, results.columns, results.rows, results.texts)
    if results.plan.study.takeaway and not results.plan.restriction:
        _say(results.plan.study.takeaway)
    for note in results.notes:
        _say(f'note: {note}')
    _say(f'{seconds:.0f} s; results: {report}')


@contextmanager
def _shown(title: str) -> Iterator[tuple[Callable[[str], None], Callable[['Progress'], None]]]:
    """Yields what takes a line for each step, and what moves a bar where there is a terminal."""
    columns = (
        TextColumn('{task.description}', markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('{task.fields[rest]}', markup=False),
    )
    with Bar(*columns, console=messages, transient=True, disable=not messages.is_terminal) as bar:
        task = bar.add_task(title, total=None, rest='')
        latest: list[Progress] = []

        def progress(now: 'Progress') -> None:
            latest[:] = [now]
            rest = '' if now.remaining_s is None else f'about {_span(now.remaining_s)} left'
            at_work = ', '.join(now.running)
            bar.update(task, completed=now.done, total=now.total, rest=f'{rest}  {at_work}')

        def tell(line: str) -> None:
            left = latest[0].remaining_s if latest else None
            rest = f'; about {_span(left)} left' if left and '\n' not in line else ''
            messages.print(f'{line}{rest}', soft_wrap=True)

        yield tell, progress


def _span(seconds: float) -> str:
    return f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} min'


def _say(text: str) -> None:
    """A line as it is."""
    console.print(text, soft_wrap=True)
