# SPDX-License-Identifier: Apache-2.0
"""What a study has to run: its recipe at each point and seed, every command that is the same once."""

import hashlib
import itertools
import json
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from radio_visual_ssl import __version__
from radio_visual_ssl.share import share_path
from radio_visual_ssl.study.description import AxisValue, Scalar, Step, Study, StudyError, Value, Words, plain

CACHE = 'cache'
"""Folder beside a step's output, ``{step.cache}``, for what is derived from it."""
_NAMED = ('cfar', 'learning', 'network', 'peak', 'radars', 'scenes')  # of config/: what commands know by name
_UNNAMED = {'train': ('contrastive', 'localizer')}  # what a verb reads of them unless told otherwise
_DIGITS = 12  # of the hash in the name of a step's folder
_NAME_LENGTH = 100  # of the folder of results, at most; file systems take 255


@dataclass(frozen=True, eq=False)
class PlannedStep:
    """A command that is run once, whoever needs it.

    Attributes:
        step: of the recipe.
        key: hash of the command, of the steps that it needs, of the files that it names (those that ship, too) and of
            the package's version.
        words: the command, whose paths are relative to the folder of studies; ``{workers}`` is still in it.
        inputs: folders of the steps that it needs.
        about: axes and seed that it depends on, as 'antennas=8, seed=1'.
    """

    step: Step
    key: str
    words: Words
    inputs: tuple[str, ...]
    about: str

    @property
    def folder(self) -> str:
        """Relative to that of all studies, which share their steps."""
        return f'steps/{self.step.name}-{self.key}'

    @property
    def output(self) -> str:
        """Relative to the folder of studies."""
        return f'{self.folder}/{self.step.output}'

    @property
    def title(self) -> str:
        """Name and what it depends on."""
        return f'{self.step.name} ({self.about})' if self.about else self.step.name

    def command(self, workers: int) -> list[str]:
        """Words with the number of processes that it may use."""
        return [word.replace('{workers}', str(workers)) for word in self.words]

    @property
    def spreads(self) -> bool:
        """Whether it uses as many processes as there are."""
        return any('{workers}' in word for word in self.words)


@dataclass(frozen=True)
class Point:
    """One value of each axis."""

    values: tuple[AxisValue, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """All commands of a study.

    Attributes:
        study: that is planned.
        points: that are run.
        seeds: of each; -1 alone where the study has none.
        steps: by folder, each after those that it needs, point by point.
        of: (number of the point, seed, name of the step) to the folder.
        restriction: what it is of the study, as 'antennas=8, seeds 0, 1'; empty: all of it.
    """

    study: Study
    points: tuple[Point, ...]
    seeds: tuple[int, ...]
    steps: Mapping[str, PlannedStep]
    of: Mapping[tuple[int, int, str], str]
    restriction: str = ''

    @property
    def title(self) -> str:
        """Of the study, and what of it is planned."""
        return f'{self.study.title} (only {self.restriction})' if self.restriction else self.study.title

    @property
    def results_folder(self) -> str:
        """Of the results, relative to that of all studies: those of a part never stand for the whole."""
        if not self.restriction:
            return self.study.name
        name = re.sub(r'[^A-Za-z0-9_.=+]+', '-', f'results-only-{self.restriction}').strip('-')
        if len(name) <= _NAME_LENGTH and re.fullmatch(r'[A-Za-z0-9_.=+, ]+', self.restriction):
            return f'{self.study.name}/{name}'
        # what was changed or cut off could be what tells two apart
        return (
            f'{self.study.name}/{name[:_NAME_LENGTH]}-{hashlib.sha256(self.restriction.encode()).hexdigest()[:_DIGITS]}'
        )

    def users(self) -> dict[str, list[str]]:
        """Folder of each step to those of the steps that need it."""
        users: dict[str, list[str]] = {folder: [] for folder in self.steps}
        for folder, planned in self.steps.items():
            for needed in planned.inputs:
                users[needed].append(folder)
        return users


def make_plan(
    study: Study, only: Mapping[str, Sequence[str]] | None = None, seeds: Sequence[int] | None = None
) -> Plan:
    """Expand a study.

    Args:
        study: to be run.
        only: values that axes are restricted to, as texts.
        seeds: in place of the study's.

    Raises:
        StudyError: an unknown placeholder, steps that need each other, a step that nobody needs, no seed where one is
            used, or an axis or value that there is not.
    """
    points = _points(study, only or {})
    given = tuple(study.seeds if seeds is None else seeds)
    steps: dict[str, PlannedStep] = {}
    of: dict[tuple[int, int, str], str] = {}
    used: set[str] = set()
    for number, point in enumerate(points):
        for seed in given or (None,):
            expansion = _Expansion(study, point, seed)
            for planned in expansion.steps():
                steps.setdefault(planned.folder, planned)
                of[number, -1 if seed is None else seed, planned.step.name] = planned.folder
                used.add(planned.step.name)
    unused = [name for name in study.recipe if name not in used]
    if unused and not only:
        raise StudyError(f'{study.name}: recipe: expected steps that a figure needs, none needs {", ".join(unused)}')
    return Plan(study, tuple(points), given or (-1,), steps, of, _restriction(study, points, given))


def _restriction(study: Study, points: Sequence[Point], seeds: Sequence[int]) -> str:
    """What of a study some points and seeds are; empty: all of it."""
    parts = []
    for number, axis in enumerate(study.axes):
        chosen = [each for each in axis.values if any(point.values[number] is each for point in points)]
        if len(chosen) < len(axis.values):
            parts += [f'{axis.name}={plain(each.value)}' for each in chosen]
    if set(seeds) != set(study.seeds):
        parts.append(f'seeds {", ".join(map(str, seeds))}')
    return ', '.join(parts)


def _points(study: Study, only: Mapping[str, Sequence[str]]) -> list[Point]:
    names = [axis.name for axis in study.axes]
    for name in only:
        if name not in names:
            raise StudyError(
                f'--only: expected an axis of {study.name} ({", ".join(names) or "it has none"}), got {name}'
            )
    chosen = []
    for axis in study.axes:
        wanted = only.get(axis.name)
        values = [each for each in axis.values if wanted is None or plain(each.value) in wanted]
        known = [plain(each.value) for each in axis.values]
        for value in wanted or ():
            if value not in known:
                raise StudyError(f'--only: {axis.name}: expected one of {", ".join(known)}, got {value!r}')
        chosen.append(values)
    return [Point(values) for values in itertools.product(*chosen)]


class _Expansion:
    """The recipe at one point and seed."""

    def __init__(self, study: Study, point: Point, seed: int | None) -> None:
        self._study, self._seed = study, seed
        self._values: dict[str, tuple[str, Value]] = {name: ('', value) for name, value in study.settings.items()}
        for axis, each in zip(study.axes, point.values, strict=True):
            about = f'{axis.name}={plain(each.value)}'
            self._values.update({name: (about, value) for name, value in each.placeholders.items()})
        self._planned: dict[str, PlannedStep] = {}
        self._abouts: dict[str, dict[str, None]] = {}

    def steps(self) -> Iterator[PlannedStep]:
        """Those that figures need, each after those that it needs."""
        needs: dict[str, list[str]] = {}
        wanted = [
            source[0]
            for figure in self._study.figures
            for series in self._study.series
            if (source := self._study.source(figure, series)) is not None
        ]
        while wanted:
            name = wanted.pop()
            if name not in needs:
                needs[name] = self._references(self._study.recipe[name])
                wanted += needs[name]
        sorter = TopologicalSorter(needs)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle = ' -> '.join(error.args[1])
            raise StudyError(f'{self._study.name}: recipe: expected no step that needs itself, got {cycle}') from error
        place = {name: number for number, name in enumerate(self._study.recipe)}
        ready: list[str] = []
        while sorter.is_active():
            # of steps that are free of each other, the file's order counts
            ready = sorted([*ready, *sorter.get_ready()], key=place.__getitem__)
            name = ready.pop(0)
            self._plan(self._study.recipe[name], needs[name])
            sorter.done(name)
            yield self._planned[name]

    def _references(self, step: Step) -> list[str]:
        found: dict[str, None] = {}

        def place(name: str, part: str) -> str:
            found[name] = None
            return ''

        self._expand(step, place, '')
        return list(found)

    def _plan(self, step: Step, needs: list[str]) -> None:
        abouts: dict[str, None] = {}
        for name in needs:
            abouts.update(self._abouts[name])

        def place(name: str, part: str) -> str:
            planned = self._planned[name]
            return f'{planned.folder}/{CACHE}' if part == 'cache' else planned.output

        # neither where the study lies nor the number of processes changes what a step makes
        plain_words = self._expand(step, place, '{out}', folder='{folder}', abouts=abouts)
        files = self._expand(step, place, '{out}')
        content = [__version__, step.output, plain_words, *_digests(files)]
        key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_DIGITS]
        self._abouts[step.name] = abouts
        about = ', '.join(each for each in self._order(abouts))
        bare = PlannedStep(step, key, (), tuple(self._planned[name].folder for name in needs), about)
        words = tuple(self._expand(step, place, bare.output))
        self._planned[step.name] = PlannedStep(step, key, words, bare.inputs, about)

    def _order(self, abouts: Mapping[str, None]) -> list[str]:
        return sorted(abouts, key=lambda about: (about.startswith('seed='), about))

    def _expand(
        self,
        step: Step,
        place: Callable[[str, str], str],
        out: str,
        *,
        folder: str = '',
        abouts: dict[str, None] | None = None,
    ) -> list[str]:
        """Words of a step's command.

        Args:
            step: of the recipe.
            place: of a step's name and part, ``out`` or ``cache``.
            out: its own output.
            folder: in place of the folder of the study's file; empty: itself.
            abouts: takes what the words depend on.
        """
        where = f'{self._study.name}: recipe.{step.name}'

        def value_of(name: str, within: tuple[str, ...]) -> Words | str:
            if name in within:
                raise StudyError(f'{where}: expected placeholders that end, got {" -> ".join((*within, name))}')
            if name == 'out':
                return out
            if name == 'workers':
                return '{workers}'
            if name == 'folder':
                return folder or str(self._study.folder)
            if name == 'seed':
                if self._seed is None:
                    raise StudyError(
                        f'{self._study.name}: seeds: expected at least one, for recipe.{step.name} uses it'
                    )
                if abouts is not None:
                    abouts[f'seed={self._seed}'] = None
                return str(self._seed)
            if name in self._values:
                about, value = self._values[name]
                if about and abouts is not None:
                    abouts[about] = None
                if isinstance(value, tuple):
                    return tuple(inner for each in value for inner in filled(each, (*within, name)))
                return joined(plain(value), (*within, name))
            other, point, part = name.partition('.')
            if point and other in self._study.recipe and part in ('out', 'cache'):
                return place(other, part)
            known = ', '.join([*self._values, 'seed', 'out', 'workers', 'folder', '<step>.out', '<step>.cache'])
            raise StudyError(f'{where}: expected placeholders {known}, got {{{name}}}')

        def filled(word: str, within: tuple[str, ...] = ()) -> Words:
            parts = _parts(word, where)
            if len(parts) == 1 and parts[0][1] is not None and not parts[0][0]:
                value = value_of(parts[0][1], within)
                return value if isinstance(value, tuple) else (value,)
            return (joined(word, within),)

        def joined(word: str, within: tuple[str, ...]) -> str:
            text = ''
            for literal, name in _parts(word, where):
                text += literal
                if name is not None:
                    value = value_of(name, within)
                    if isinstance(value, tuple):
                        raise StudyError(f'{where}: expected a word of its own for the several words of {{{name}}}')
                    text += value
            return text

        return [each for word in step.run for each in filled(word)]


def _parts(word: str, where: str) -> list[tuple[str, str | None]]:
    """(Text, placeholder behind it) of a word.

    Raises:
        StudyError: braces that are no placeholder.
    """
    try:
        parsed = list(string.Formatter().parse(word))
    except ValueError as error:
        raise StudyError(f'{where}: expected {{name}} or, for braces themselves, {{{{ }}}}; got {word!r}') from error
    for _, name, form, conversion in parsed:
        if name is not None and (form or conversion or not name):
            raise StudyError(f'{where}: expected {{name}} or, for braces themselves, {{{{ }}}}; got {word!r}')
    return [(literal, name) for literal, name, _, _ in parsed]


def _digests(words: Sequence[str]) -> list[str]:
    """What tells apart the files that a command names: absolute paths, and scenes, radars and settings that ship.

    Hashes of files; of folders, such as bags, their path. A name may stand behind the last equals sign.
    """
    shipped = _shipped_settings()
    digests = [each for verb in words for name in _UNNAMED.get(verb, ()) for each in shipped[name]]
    for word in words:
        for text in dict.fromkeys((word, word.rpartition('=')[2])):
            digests += shipped.get(text, [])
            path = Path(text)
            if path.is_absolute() and path.is_file():
                digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
            elif path.is_absolute() and path.is_dir():
                digests.append(str(path))
    return digests


@cache
def _shipped_settings() -> dict[str, list[str]]:
    """Hashes of the files in config/ that commands know by name, by that name."""
    files: dict[str, list[str]] = {}
    for folder in _NAMED:
        for path in sorted(share_path('config', folder).glob('*.yaml')):
            files.setdefault(path.stem, []).append(hashlib.sha256(path.read_bytes()).hexdigest())
    return files


def value_text(value: Scalar) -> str:
    """A value of an axis for tables."""
    return f'{value:g}' if isinstance(value, float) else plain(value)
