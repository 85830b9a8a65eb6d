# SPDX-License-Identifier: Apache-2.0
"""What a study has to run: equal commands once, after those that they need; and the shipped studies can be run."""

import functools
import itertools

import pytest
import typer

from radio_visual_ssl.cli import app
from radio_visual_ssl.commands.learn_label import _ROWS as LABEL_FIGURES
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.simulation.dataset import DatasetPlan
from radio_visual_ssl.simulation.layout import lay_out
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.study import plan as plan_module
from radio_visual_ssl.study.description import StudyError, load_study, study_names
from radio_visual_ssl.study.plan import make_plan
from radio_visual_ssl.study.running import PROGRAM


def titles(plan):
    return [planned.title for planned in plan.steps.values()]


def test_what_does_not_depend_on_axis_or_seed_is_run_once(workshop):
    assert titles(workshop.plan(only={'size': ['2']})) == [
        'data (size=2)',
        'train (size=2, seed=0)',
        'judge (size=2, seed=0)',
        'train (size=2, seed=1)',
        'judge (size=2, seed=1)',
        'train (size=2, seed=2)',
        'judge (size=2, seed=2)',
    ]
    workshop.content['recipe']['data']['run'] = workshop.content['recipe']['data']['run'].replace('{size}', '1')
    workshop.content['recipe']['judge']['run'] += ' value={size}'
    plan = workshop.plan()
    assert titles(plan).count('data') == 1
    assert sum(title.startswith('train') for title in titles(plan)) == 3
    assert sum(title.startswith('judge') for title in titles(plan)) == 6
    for planned in plan.steps.values():
        before = list(plan.steps)[: list(plan.steps).index(planned.folder)]
        assert set(planned.inputs) <= set(before)


def test_a_key_changes_with_the_command_its_inputs_and_the_files_that_it_names_alone(workshop, tmp_path):
    before = workshop.plan()
    folder = before.of[0, 0, 'judge']
    assert workshop.plan(seeds=[0]).of[0, 0, 'judge'] == folder
    workshop.content['title'] = 'Other words'
    workshop.content['recipe']['judge']['run'] += ' value=1'
    changed = workshop.plan()
    assert changed.of[0, 0, 'train'] == before.of[0, 0, 'train']
    assert changed.of[0, 0, 'judge'] != folder
    workshop.content['recipe']['data']['run'] += ' value=5'
    assert workshop.plan().of[0, 0, 'train'] != before.of[0, 0, 'train']
    now = workshop.plan()
    (workshop.folder / 'step.py').write_text((workshop.folder / 'step.py').read_text() + '\n# other\n')
    assert workshop.plan().of[0, 0, 'data'] != now.of[0, 0, 'data']


def test_the_place_of_the_study_changes_no_key(workshop, tmp_path):
    before = workshop.plan()
    other = tmp_path / 'other'
    other.mkdir()
    for name in ('step.py', 'sums.yaml'):
        (other / name).write_text((workshop.folder / name).read_text())
    assert list(make_plan(load_study(other / 'sums.yaml')).steps) == list(before.steps)


def test_equal_commands_on_folders_of_other_places_are_not_the_same(workshop, tmp_path):
    workshop.content['recipe']['data']['run'] += ' --set=model={folder}/bag'
    keys = set()
    for name in ('one', 'two'):
        other = tmp_path / name
        (other / 'bag').mkdir(parents=True)
        (other / 'step.py').write_text((workshop.folder / 'step.py').read_text())
        (other / 'sums.yaml').write_text(workshop.write().read_text())
        plan = make_plan(load_study(other / 'sums.yaml'))
        keys.add(plan.of[0, 0, 'data'])
    assert len(keys) == 2


def test_settings_that_ship_have_their_part_in_the_key(workshop, monkeypatch, tmp_path):
    """A scene, radar or setting that was changed is another one, though its name is the same."""
    for folder in ('cfar', 'learning', 'network', 'peak', 'radars', 'scenes'):
        (tmp_path / 'config' / folder).mkdir(parents=True)
    for name in ('network/mast', 'learning/contrastive', 'learning/localizer', 'scenes/yard', 'radars/other'):
        (tmp_path / f'config/{name}.yaml').write_text('a: 1\n')
    monkeypatch.setattr('radio_visual_ssl.study.plan.share_path', tmp_path.joinpath)
    recipe = workshop.content['recipe']
    recipe['data']['run'] += ' yard'
    recipe['judge']['run'] += ' --settings network=mast'

    def keys():
        plan_module._shipped_settings.cache_clear()
        plan = workshop.plan()
        return [plan.of[1, 2, name] for name in ('data', 'train', 'judge')]

    def changed(name):
        before = keys()
        (tmp_path / f'config/{name}.yaml').write_text('a: 2\n')
        return [one != other for one, other in zip(before, keys(), strict=True)]

    try:
        assert changed('radars/other') == [False, False, False]
        assert changed('network/mast') == [False, False, True]
        assert changed('learning/localizer') == [False, True, True]  # which train reads unless told otherwise
        assert changed('scenes/yard') == [True, True, True]
    finally:
        plan_module._shipped_settings.cache_clear()


def test_a_part_of_a_study_says_so_and_has_a_folder_of_its_own(workshop):
    def named(**restrictions):
        plan = workshop.plan(**restrictions)
        return plan.restriction, plan.results_folder

    for all_of_it in ({}, {'seeds': [2, 1, 0]}, {'only': {'size': ['1', '2']}}):
        assert named(**all_of_it) == ('', 'sums')
    assert workshop.plan().title == 'Sums'
    assert named(only={'size': ['1']}, seeds=[0, 4]) == ('size=1, seeds 0, 4', 'sums/results-only-size=1-seeds-0-4')
    assert workshop.plan(seeds=[0]).title == 'Sums (only seeds 0)'
    workshop.content['axes'][0]['values'] = ['a/b', 'a b', 'x' * 300]
    folders = {named(only={'size': [value]})[1].removeprefix('sums/') for value in ('a/b', 'a b', 'x' * 300)}
    assert len(folders) == 3
    assert all('/' not in folder and len(folder) < 120 for folder in folders)


def test_words_are_filled_in_spliced_and_left_in_one_piece(workshop):
    workshop.content['settings'] = {
        'few': ['--model', '{train.out}', 'x{size}'],
        'kernels': '[[5, 5], [3, 3]]',
        'on': True,
    }
    workshop.content['recipe']['judge']['run'] = 'run {few} kernels={kernels} {on} {{a}} {workers} {data.cache}'
    plan = workshop.plan()
    planned = plan.steps[plan.of[1, 2, 'judge']]
    data, train = (plan.steps[plan.of[1, 2, name]] for name in ('data', 'train'))
    assert planned.command(3) == [
        'run', '--model', train.output, 'x2', 'kernels=[[5, 5], [3, 3]]', 'true', '{a}', '3', f'{data.folder}/cache',
    ]  # fmt: skip
    assert planned.spreads
    assert not train.spreads
    assert planned.inputs == (train.folder, data.folder)
    assert planned.about == 'size=2, seed=2'


@pytest.mark.parametrize(
    ('step', 'run', 'said'),
    [
        ('judge', 'run {judge.out}', 'expected no step that needs itself, got judge -> judge'),
        ('data', 'run {judge.out} {size}', 'expected no step that needs itself, got '),
        ('judge', 'run {length} {train.out}', 'recipe.judge: expected placeholders several, endless, size, seed, out'),
        ('judge', 'run {train.output}', 'got {train.output}'),
        ('judge', 'run {train.out', 'recipe.judge: expected {name} or, for braces themselves, {{ }}'),
        ('judge', 'run {size:3}', 'recipe.judge: expected {name} or, for braces themselves'),
        ('judge', 'run {data.out}', 'expected steps that a figure needs, none needs train'),
        ('judge', 'run x{several} {train.out}', 'expected a word of its own for the several words of {several}'),
        ('judge', 'run {endless} {train.out}', 'expected placeholders that end, got endless -> endless'),
    ],
)  # fmt: skip
def test_commands_that_cannot_be_made_are_named(workshop, step, run, said):
    workshop.content['settings'] = {'several': ['a', 'b'], 'endless': '{endless}'}
    workshop.content['recipe'][step]['run'] = run
    with pytest.raises(StudyError) as caught:
        workshop.plan()
    assert said in str(caught.value)


def test_a_seed_that_is_used_must_be_given(workshop):
    workshop.content['seeds'] = []
    with pytest.raises(StudyError, match='seeds: expected at least one, for recipe.train uses it'):
        workshop.plan()
    workshop.content['recipe']['train']['run'] = workshop.content['recipe']['train']['run'].replace('{seed}', '0')
    assert len(workshop.plan().steps) == 6


@pytest.mark.parametrize(
    ('only', 'said'),
    [
        ({'length': ['1']}, 'expected an axis of sums (size), got length'),
        ({'size': ['3']}, "expected one of 1, 2, got '3'"),
    ],
)
def test_points_that_there_are_not_are_named(workshop, only, said):
    with pytest.raises(StudyError) as caught:
        workshop.plan(only=only)
    assert said in str(caught.value)


@pytest.mark.parametrize('short', [False, True])
@pytest.mark.parametrize('name', study_names())
def test_commands_of_shipped_studies_are_commands_that_there_are(name, short):
    group = typer.main.get_command(app)
    plan = make_plan(load_study(name, short))
    assert {planned.command(1)[0] for planned in plan.steps.values()} == {PROGRAM}
    for planned in plan.steps.values():
        arguments = planned.command(1)[1:]
        context = typer.Context(group, info_name=PROGRAM)
        verb, command, rest = group.resolve_command(context, arguments)
        with command.make_context(verb, rest, parent=context) as made:
            options = made.params
        assert options['as_json'], planned.title
        _check_settings(verb, options)


@pytest.mark.parametrize('short', [False, True])
@pytest.mark.parametrize('name', study_names())
def test_data_sets_of_shipped_studies_hold_targets_to_choose_and_to_judge_by(name, short):
    plan = make_plan(load_study(name, short))
    # a set of which no part is named is judged as a whole
    parted = {planned.inputs[0] for planned in plan.steps.values() if {'--split', 'train'} & {*planned.words}}
    for planned in plan.steps.values():
        words = planned.command(1)
        if words[1] == 'simulate':
            options = dict(itertools.pairwise(words))
            overrides = tuple(value for option, value in itertools.pairwise(words) if option == '--set')
            counts = _targets(int(options['--seed']), int(options['--instances']), overrides)
            parts = ('train', 'val', 'test') if planned.folder in parted else ('train',)
            assert all(counts[part] for part in parts), f'{planned.title}: {counts}'


@pytest.mark.parametrize('name', study_names())
def test_figures_of_labels_are_told_by_label_and_wrong_masks_are_judged_by_all_their_labels(name):
    study = load_study(name)
    wrong = {each.step.name for each in make_plan(study).steps.values() if '--wrong-masks' in each.words}
    told = {}
    for figure in study.figures:
        for series in study.series:
            step, keys = study.source(figure, series) or ('', '')
            if step and study.recipe[step].run[1] == 'label':
                told.setdefault(step, set()).add(keys.rpartition('.')[2])
    for step, keys in told.items():
        assert keys <= set(LABEL_FIGURES), step
        # a wrong mask shows no target most often, which its distance to the target that it shows is silent about
        assert step not in wrong or {'astray', 'false'} <= keys


@pytest.mark.parametrize('short', [False, True])
def test_the_unseen_moments_are_none_that_was_trained_on_and_something_untrained_is_judged_on_both_parts(short):
    plan = make_plan(load_study('unseen', short))
    moments = {}
    for planned in plan.steps.values():
        options = dict(itertools.pairwise(planned.command(1)))
        if planned.words[1] == 'simulate':
            rate, begin = float(options['--rate']), float(options.get('--begin-s', 0))
            frames = int(options['--frames']) // int(options['--instances'])
            moments[planned.step.name] = {begin + number / rate for number in range(frames)}
    assert not moments['simulate'] & moments['others']
    judged = {(planned.words[3:5], 'cfar' in planned.words) for planned in plan.steps.values()
              if planned.words[1] == 'evaluate'}  # fmt: skip
    assert judged == {(('--split', part), cfar) for part in ('train', 'test') for cfar in (True, False)}


@functools.cache
def _targets(seed, instances, overrides):
    """Movers of each part of a data set."""
    scene = load_scene('parking_lot', overrides)
    plan = DatasetPlan('parking_lot', 'any', instances, seed=seed, instances=instances)
    counts = dict.fromkeys(('train', 'val', 'test'), 0)
    for instance in map(plan.instance, range(instances)):
        # one is enough, and a layout takes its time
        counts[instance.split] = counts[instance.split] or len(lay_out(scene, instance.seed).movers)
    return counts


def _check_settings(verb, options):
    """Values that a command would refuse only once it is run."""
    if verb == 'simulate':
        load_scene(options['scene'], options['overrides'])
        load_profile(options['radar'])
    if verb == 'train':
        pytest.importorskip('torch', reason='training needs it')
        from radio_visual_ssl.learning.contrastive_training import ContrastiveTrainingSettings
        from radio_visual_ssl.learning.experiment import read_experiment, settings_of
        from radio_visual_ssl.learning.localizer_training import LocalizerTrainingSettings
        from radio_visual_ssl.overrides import overridden

        localizer = options['labels'] or options['truth']
        experiment = options['config'] or ('localizer' if localizer else 'contrastive')
        content = overridden(read_experiment(experiment), options['overrides'])
        settings_of(LocalizerTrainingSettings if localizer else ContrastiveTrainingSettings, content)
