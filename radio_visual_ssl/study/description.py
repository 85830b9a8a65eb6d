# SPDX-License-Identifier: Apache-2.0
"""Descriptions of studies, read from YAML: axes, seeds, a recipe of commands, and the figures that are collected."""

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from radio_visual_ssl.config_file import config_file, config_names, one_of, read_mapping

Scalar = int | float | str | bool
Words = tuple[str, ...]
Value = Scalar | Words
"""What a placeholder stands for: a text within a word, or several words in place of one."""

RESERVED = ('seed', 'out', 'workers', 'folder')
_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')


class StudyError(ValueError):
    """A study that cannot be run; the message names file and field, what was expected and got."""


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis.

    Attributes:
        value: as told and drawn.
        placeholders: by name, that of the axis among them.
    """

    value: Scalar
    placeholders: Mapping[str, Value]


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Attributes:
        name: of the placeholder.
        values: at least one.
        label, unit: for tables and curves.
        scale: of the curves.
    """

    name: str
    values: tuple[AxisValue, ...]
    label: str
    unit: str = ''
    scale: Literal['linear', 'log'] = 'linear'

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return all(isinstance(each.value, int | float) and not isinstance(each.value, bool) for each in self.values)


@dataclass(frozen=True)
class Bounds:
    """Within which a figure of a run that learned something lies; outside, and without a finite one, it diverged."""

    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Step:
    """One command of the recipe.

    Attributes:
        name: by which others refer to it.
        run: words of the command, with placeholders.
        output: name of the file or folder that it makes, ``{out}``.
        resumes: whether the same command goes on with what an interrupted one left; otherwise that is removed.
        temporary: whether its output is removed once nobody needs it any more, unless everything is kept.
        converged: bounds of figures in its JSON, by their paths.
    """

    name: str
    run: Words
    output: str
    resumes: bool = False
    temporary: bool = False
    converged: Mapping[str, Bounds] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A number of each run that is collected.

    Attributes:
        name: in results.json, and of its curve.
        path: (step or role, keys within its JSON).
        label, unit: for tables and curves.
        better: lower or higher.
        digits: behind the point.
        times: factor by which it is multiplied, as 100 for percent.
        curve: whether it is drawn.
        optional: whether a run may lack it, as the error of a class that none of its targets has; then it is undefined.
    """

    name: str
    path: tuple[str, str]
    label: str
    unit: str = ''
    better: Literal['lower', 'higher', ''] = ''
    digits: int = 3
    times: float = 1.0
    curve: bool = True
    optional: bool = False

    @property
    def heading(self) -> str:
        """Label with unit and direction."""
        arrow = {'lower': ' ↓', 'higher': ' ↑', '': ''}[self.better]
        return f'{self.label}{f" ({self.unit})" if self.unit else ""}{arrow}'


@dataclass(frozen=True)
class Study:
    """What is varied, what is done at each point, and what is told of it.

    Attributes:
        name: of the study and its folder.
        title: of the results.
        takeaway: what was learned from all of it; empty = not yet known, or a short version, which tells less.
        axes: whose combinations are the points; none = one point.
        seeds: of each point.
        settings: further placeholders.
        recipe: steps by name.
        series: name to roles, each a step, or a step and keys within its JSON; what is compared at each point.
        figures: that are collected.
        folder: of the file, ``{folder}``.
    """

    name: str
    title: str
    takeaway: str
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Value]
    recipe: Mapping[str, Step]
    series: Mapping[str, Mapping[str, str]]
    figures: tuple[Figure, ...]
    folder: Path

    def source(self, figure: Figure, series: str) -> tuple[str, str] | None:
        """Step and path within its JSON of a figure; None where the series has none."""
        head, path = figure.path
        if head in self.recipe:
            return figure.path
        target = self.series[series].get(head)
        if target is None:
            return None
        step, _, before = target.partition('.')
        return step, f'{before}.{path}' if before else path


def load_study(name_or_path: str | Path, short: bool = False) -> Study:
    """Read a study.

    Args:
        name_or_path: a YAML file, or the name of one in config/studies/.
        short: with what its ``short`` block says in place of seeds, axes' values and settings.

    Raises:
        StudyError: no such file, or one that describes no study; the message names the field.
    """
    path = config_file(name_or_path, 'studies', StudyError)
    content = read_mapping(path, StudyError)
    return _Reader(str(path)).study(content, path.resolve().parent, path.stem, short)


def study_names() -> list[str]:
    """Names of the shipped studies."""
    return config_names('studies')


class _Reader:
    """Turns YAML into a study; its errors begin with the file and the field."""

    def __init__(self, file: str) -> None:
        self._file = file

    def study(self, content: Any, folder: Path, stem: str, short: bool) -> Study:
        optional = ('name', 'takeaway', 'axes', 'seeds', 'settings', 'series', 'short')
        self._fields('', content, ('title', 'recipe', 'figures'), optional)
        changes = content.get('short', {})
        self._fields('short', changes, (), ('seeds', 'settings', 'axes'))
        if short and not changes:
            raise self._wrong('short', 'a block of seeds, settings or axes for the short version', None)
        recipe = {
            name: self._step(name, each) for name, each in self._mapping('recipe', content['recipe'], True).items()
        }
        axes = [self._axis(number, each) for number, each in enumerate(self._list('axes', content.get('axes', [])))]
        settings = self._settings('settings', content.get('settings', {}))
        seeds = content.get('seeds', [])
        self._settings('short.settings', changes.get('settings', {}), settings)
        for name, values in self._mapping('short.axes', changes.get('axes', {})).items():
            if name not in (axis.name for axis in axes):
                raise self._wrong('short.axes', f'names of axes ({", ".join(axis.name for axis in axes)})', name)
            self._values(f'short.axes.{name}', name, values)
        if short:
            settings |= self._settings('short.settings', changes.get('settings', {}))
            seeds = changes.get('seeds', seeds)
            axes = [
                self._axis(number, {**each, 'values': changes.get('axes', {}).get(axis.name, each['values'])})
                for number, (each, axis) in enumerate(zip(content.get('axes', []), axes, strict=True))
            ]
        if not (isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)):
            raise self._wrong('seeds', 'a list of whole numbers from 0 on', seeds)
        self._distinct('seeds', seeds)
        name = f'{self._name("name", content.get("name", stem))}{"_short" if short else ""}'
        series = self._series(content.get('series', {'': {}}), recipe)
        study = Study(
            name,
            self._text('title', content['title']),
            '' if short else self._text('takeaway', content.get('takeaway', '')).strip(),
            tuple(axes),
            tuple(seeds),
            settings,
            recipe,
            series,
            self._figures(content['figures'], recipe, series),
            folder,
        )
        self._check_names(study)
        return study

    # Parts ------------------------------------------------------------------------------------------------------------

    def _axis(self, number: int, content: Any) -> Axis:
        where = f'axes.{number}'
        self._fields(where, content, ('name', 'values'), ('label', 'unit', 'scale'))
        name = self._name(f'{where}.name', content['name'])
        scale = content.get('scale', 'linear')
        if scale not in ('linear', 'log'):
            raise self._wrong(f'{where}.scale', 'linear or log', scale)
        values = self._values(f'{where}.values', name, content['values'])
        label = self._text(f'{where}.label', content.get('label', name))
        axis = Axis(name, values, label, self._text(f'{where}.unit', content.get('unit', '')), scale)
        if scale == 'log' and not (axis.numeric and all(float(each.value) > 0 for each in values)):
            raise self._wrong(f'{where}.values', 'positive numbers on a logarithmic scale', content['values'])
        return axis

    def _values(self, where: str, name: str, content: Any) -> tuple[AxisValue, ...]:
        values = []
        for number, given in enumerate(self._list(where, content, True)):
            each = given if isinstance(given, dict) else {'value': given}
            self._fields(f'{where}.{number}', each, ('value',), None)
            if not isinstance(each['value'], Scalar):
                raise self._wrong(f'{where}.{number}.value', 'a number or a text', each['value'])
            self._finite(f'{where}.{number}.value', each['value'])
            further = {key: value for key, value in each.items() if key != 'value'}
            placeholders = self._settings(f'{where}.{number}', further)
            values.append(AxisValue(each['value'], {name: each['value'], **placeholders}))
        self._distinct(where, [each.value for each in values])
        return tuple(values)

    def _step(self, name: Any, content: Any) -> Step:
        where = f'recipe.{self._name("recipe", name)}'
        self._fields(where, content, ('run',), ('output', 'resumes', 'temporary', 'converged'))
        try:
            words = tuple(shlex.split(self._text(f'{where}.run', content['run'])))
        except ValueError as error:
            raise self._wrong(f'{where}.run', f'a command ({error})', content['run']) from error
        if not words:
            raise self._wrong(f'{where}.run', 'a command', content['run'])
        for flag in ('resumes', 'temporary'):
            if not isinstance(content.get(flag, False), bool):
                raise self._wrong(f'{where}.{flag}', 'true or false', content[flag])
        output = self._text(f'{where}.output', content.get('output', name))
        if not output or Path(output).name != output or output in ('done.json', 'log.txt', 'cache'):
            raise self._wrong(f'{where}.output', 'a name without folders, other than done.json, log.txt, cache', output)
        bounds = {}
        for path, each in self._mapping(f'{where}.converged', content.get('converged', {})).items():
            inner = f'{where}.converged.{path}'
            self._fields(inner, each, (), ('least', 'most'))
            bounds[str(path)] = Bounds(**{key: self._number(f'{inner}.{key}', value) for key, value in each.items()})
        return Step(name, words, output, content.get('resumes', False), content.get('temporary', False), bounds)

    def _series(self, content: Any, recipe: Mapping[str, Step]) -> dict[str, dict[str, str]]:
        series: dict[str, dict[str, str]] = {}
        for name, roles in self._mapping('series', content, True).items():
            series[str(name)] = {}
            for role, target in self._mapping(f'series.{name}', roles).items():
                where = f'series.{name}.{role}'
                self._name(where, role)
                if role in recipe:
                    raise self._wrong(where, 'a role that has not the name of a step', role)
                if self._text(where, target).partition('.')[0] not in recipe:
                    raise self._wrong(where, f'a step ({", ".join(recipe)}), perhaps with keys behind it', target)
                series[str(name)][role] = target
        return series

    def _figures(
        self, content: Any, recipe: Mapping[str, Step], series: Mapping[str, Mapping[str, str]]
    ) -> tuple[Figure, ...]:
        figures = []
        heads = {*recipe, *(role for roles in series.values() for role in roles)}
        for number, each in enumerate(self._list('figures', content, True)):
            where = f'figures.{number}'
            known = ('label', 'unit', 'better', 'digits', 'times', 'curve', 'optional')
            self._fields(where, each, ('name', 'value'), known)
            name = self._name(f'{where}.name', each['name'])
            head, _, path = self._text(f'{where}.value', each['value']).partition('.')
            if head not in heads or not path:
                expected = f'a step or role ({", ".join(sorted(heads))}), a point and keys of its JSON'
                raise self._wrong(f'{where}.value', expected, each['value'])
            if each.get('better', '') not in ('lower', 'higher', ''):
                raise self._wrong(f'{where}.better', 'lower or higher', each['better'])
            digits = each.get('digits', 3)
            if not (type(digits) is int and 0 <= digits <= 9):
                raise self._wrong(f'{where}.digits', 'a whole number from 0 to 9', digits)
            for switch in ('curve', 'optional'):
                if not isinstance(each.get(switch, True), bool):
                    raise self._wrong(f'{where}.{switch}', 'true or false', each[switch])
            figures.append(
                Figure(
                    name,
                    (head, path),
                    self._text(f'{where}.label', each.get('label', name)),
                    self._text(f'{where}.unit', each.get('unit', '')),
                    each.get('better', ''),
                    digits,
                    self._number(f'{where}.times', each.get('times', 1.0)),
                    each.get('curve', True),
                    each.get('optional', False),
                )
            )
        self._distinct('figures', [figure.name for figure in figures])
        return tuple(figures)

    def _settings(self, where: str, content: Any, known: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Placeholders; ``known``: those that there may be."""
        values: dict[str, Value] = {}
        for name, value in self._mapping(where, content).items():
            self._name(where, name)
            if known is not None and name not in known:
                raise self._wrong(where, f'names of settings ({", ".join(known)})', name)
            if isinstance(value, list) and all(isinstance(word, Scalar) for word in value):
                values[name] = tuple(plain(word) for word in value)
            elif isinstance(value, Scalar):
                values[name] = value
            else:
                raise self._wrong(f'{where}.{name}', 'a number, a text or a list of words', value)
            for each in value if isinstance(value, list) else [value]:
                self._finite(f'{where}.{name}', each)
        return values

    def _check_names(self, study: Study) -> None:
        """Refuse placeholders that stand for two things, and several seeds where nothing depends on them."""
        names = [axis.name for axis in study.axes]
        self._distinct('axes', names)
        taken: dict[str, str] = dict.fromkeys(RESERVED, 'a reserved one') | dict.fromkeys(study.recipe, 'a step')
        groups: list[tuple[str, set[str]]] = [('settings', set(study.settings))]
        for axis in study.axes:
            groups.append((f'axis {axis.name}', {name for each in axis.values for name in each.placeholders}))
        for where, placeholders in groups:
            for name in sorted(placeholders):
                if name in taken:
                    raise self._wrong(where, f'a name of its own, for there is {taken[name]} of this name', name)
                taken[name] = f'one of {where}'

    # Values -----------------------------------------------------------------------------------------------------------

    def _wrong(self, where: str, expected: str, got: Any) -> StudyError:
        return StudyError(f'{self._file}: {where or "content"}: expected {expected}, got {got!r}')

    def _mapping(self, where: str, value: Any, some: bool = False) -> dict[Any, Any]:
        if not isinstance(value, dict) or (some and not value):
            raise self._wrong(where, f'a mapping{" with something in it" if some else ""}', value)
        return value

    def _list(self, where: str, value: Any, some: bool = False) -> list[Any]:
        if not isinstance(value, list) or (some and not value):
            raise self._wrong(where, f'a list{" with something in it" if some else ""}', value)
        return value

    def _fields(self, where: str, value: Any, needed: Words, optional: Words | None) -> None:
        """Refuse missing and unknown fields; ``optional`` None: any others may be there."""
        self._mapping(where, value)
        for name in needed:
            if name not in value:
                raise self._wrong(where, f'a field {name!r}', ', '.join(map(str, value)))
        if optional is None:
            return
        for name in value:
            if name not in (*needed, *optional):
                raise StudyError(f'{self._file}: {where or "content"}: {one_of((*needed, *optional), name)}')

    def _name(self, where: str, value: Any) -> str:
        if not (isinstance(value, str) and _NAME.fullmatch(value)):
            raise self._wrong(where, 'a name of letters, digits and _', value)
        return value

    def _text(self, where: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self._wrong(where, 'a text', value)
        return value

    def _number(self, where: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(where, 'a number', value)
        return value

    def _finite(self, where: str, value: Scalar) -> None:
        """Refuse what JSON has no number for."""
        if isinstance(value, float) and not math.isfinite(value):
            raise self._wrong(where, 'a finite number', value)

    def _distinct(self, where: str, values: Iterable[Any]) -> None:
        seen = []
        for value in values:
            if value in seen:
                raise self._wrong(where, 'each value once', value)
            seen.append(value)


def plain(value: Scalar) -> str:
    """A value as a word of a command, as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
