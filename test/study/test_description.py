# SPDX-License-Identifier: Apache-2.0
"""Studies are read from YAML as they are meant, and what is wrong in one is named with its place."""

import math

import pytest

from radio_visual_ssl.study.description import StudyError, load_study


def test_values_bring_placeholders_and_the_short_version_replaces_what_it_names(workshop):
    workshop.content['axes'] = [
        {
            'name': 'size',
            'unit': 'm',
            'scale': 'log',
            'values': [{'value': 1, 'pose': ['--pose', 'a']}, {'value': 4, 'pose': []}],
        }
    ]
    workshop.content['settings'] = {'frames': 100, 'rate': 2}
    workshop.content['takeaway'] = 'All of it tells.'
    workshop.content['short'] = {'seeds': [7], 'settings': {'frames': 10}, 'axes': {'size': [{'value': 4, 'pose': []}]}}
    study = load_study(workshop.write())
    assert (study.name, study.seeds, study.settings) == ('sums', (0, 1, 2), {'frames': 100, 'rate': 2})
    assert [dict(each.placeholders) for each in study.axes[0].values] == [
        {'size': 1, 'pose': ('--pose', 'a')},
        {'size': 4, 'pose': ()},
    ]
    short = load_study(workshop.file, short=True)
    assert (load_study(workshop.file).takeaway, short.takeaway) == ('All of it tells.', '')
    assert (short.name, short.seeds, short.settings) == ('sums_short', (7,), {'frames': 10, 'rate': 2})
    assert [each.value for each in short.axes[0].values] == [4]
    assert (short.axes[0].unit, short.axes[0].scale) == ('m', 'log')


def test_roles_of_series_lead_to_steps_and_keys(workshop):
    workshop.content['series'] = {
        'mine': {'judged': 'judge'},
        'theirs': {'judged': 'train.methods.em', 'other': 'data'},
    }
    workshop.content['figures'] = [{'name': 'sum', 'value': 'judged.value'}, {'name': 'size', 'value': 'other.value'}]
    study = load_study(workshop.write())
    total, size = study.figures
    assert study.source(total, 'mine') == ('judge', 'value')
    assert study.source(total, 'theirs') == ('train', 'methods.em.value')
    assert study.source(size, 'mine') is None


def changed(content, path, value):
    *names, last = path
    for name in names:
        content = content[name]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ('path', 'value', 'said'),
    [
        (['title'], None, "content: expected a field 'title'"),
        (['titel'], 'x', "content: expected one of title, recipe, figures"),
        (['seeds'], [0, -1], 'seeds: expected a list of whole numbers from 0 on, got [0, -1]'),
        (['seeds'], [1, 1], 'seeds: expected each value once, got 1'),
        (['seeds'], 3, 'seeds: expected a list of whole numbers'),
        (['axes', 0, 'values'], [], 'axes.0.values: expected a list with something in it, got []'),
        (['axes', 0, 'values'], [[1]], 'axes.0.values.0.value: expected a number or a text, got [1]'),
        (['axes', 0, 'scale'], 'logarithmic', "axes.0.scale: expected linear or log, got 'logarithmic'"),
        (['axes', 0], {'name': 'size', 'scale': 'log', 'values': [0, 1]}, 'axes.0.values: expected positive numbers'),
        (['axes', 0, 'name'], 'judge', "axis judge: expected a name of its own, for there is a step of this name"),
        (['axes', 0, 'name'], 'seed', 'axis seed: expected a name of its own, for there is a reserved one'),
        (['settings'], {'size': 3}, 'axis size: expected a name of its own, for there is one of settings'),
        (['settings'], {'a': {'b': 1}}, 'settings.a: expected a number, a text or a list of words'),
        (['settings'], {'a': math.inf}, 'settings.a: expected a finite number, got inf'),
        (['settings'], {'a': ['b', math.nan]}, 'settings.a: expected a finite number, got nan'),
        (['axes', 0, 'values'], [1, -math.inf], 'axes.0.values.1.value: expected a finite number, got -inf'),
        (['recipe', 'judge', 'run'], 'echo "', 'recipe.judge.run: expected a command (No closing quotation)'),
        (['recipe', 'judge', 'resume'], True, 'recipe.judge: expected one of run, output, resumes'),
        (['recipe', 'judge', 'output'], 'a/b', "recipe.judge.output: expected a name without folders"),
        (['recipe', 'judge', 'converged'], {'loss': {'max': 1}}, 'recipe.judge.converged.loss: expected one of least'),
        (['figures', 0, 'value'], 'jugde.value', 'figures.0.value: expected a step or role (data, judge, train)'),
        (['figures', 0, 'value'], 'judge', 'figures.0.value: expected a step or role'),
        (['figures', 0, 'better'], 'more', "figures.0.better: expected lower or higher, got 'more'"),
        (['figures', 1, 'name'], 'sum', "figures: expected each value once, got 'sum'"),
        (['series'], {'a': {'judged': 'nothing'}}, "series.a.judged: expected a step (data, judge, train)"),
        (['short'], {'axes': {'length': [1]}}, "short.axes: expected names of axes (size), got 'length'"),
        (['short'], {'settings': {'frames': 1}}, "short.settings: expected names of settings (), got 'frames'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(workshop, path, value, said):
    changed(workshop.content, path, value)
    with pytest.raises(StudyError) as caught:
        load_study(workshop.write())
    assert str(caught.value).startswith(f'{workshop.file}: {said}')


def test_unknown_study_lists_the_shipped_ones(tmp_path):
    with pytest.raises(StudyError, match=r'nothing: expected a YAML file or a name in config/studies/ .*evidence'):
        load_study('nothing')
    (tmp_path / 'list.yaml').write_text('[1]')
    with pytest.raises(StudyError, match='list.yaml: expected a mapping of settings, got list'):
        load_study(tmp_path / 'list.yaml')
    (tmp_path / 'torn.yaml').write_text('a: [')
    with pytest.raises(StudyError, match='torn.yaml: expected YAML'):
        load_study(tmp_path / 'torn.yaml')


def test_a_study_without_a_short_version_says_so(workshop):
    with pytest.raises(StudyError, match='short: expected a block'):
        load_study(workshop.write(), short=True)
