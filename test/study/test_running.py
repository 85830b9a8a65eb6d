# SPDX-License-Identifier: Apache-2.0
"""Steps are run once, in any number at a time with equal results, and what goes wrong stays where it is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from radio_visual_ssl.study.description import StudyError
from radio_visual_ssl.study.outcomes import lookup
from radio_visual_ssl.study.running import alone_in, known_outcomes, needed_by_failed, run_plan, steps_to_run

REPOSITORY = Path(__file__).resolve().parents[2]


def means(results, figure='sum'):
    return [results.cells[number, '', figure].mean for number in range(len(results.plan.points))]


def test_figures_are_means_and_spreads_over_the_seeds(workshop):
    results = workshop.run()
    assert means(results) == pytest.approx([1.1, 2.1])
    cell = results.cells[0, '', 'sum']
    assert cell.values == pytest.approx((1.0, 1.1, 1.2))
    assert cell.spread == pytest.approx(0.1)
    assert cell.text(2) == '1.10 ± 0.10 (n 3)'
    assert means(results, 'half') == pytest.approx([0.55, 1.05])
    assert sorted(workshop.ran()) == ['data'] * 2 + ['judge'] * 6 + ['train'] * 6
    assert results.rows == [
        ['1', '1.100 ± 0.100 (n 3)', '0.550 ± 0.050 (n 3)'],
        ['2', '2.100 ± 0.100 (n 3)', '1.050 ± 0.050 (n 3)'],
    ]


def test_several_at_once_come_to_the_same_results(workshop):
    def told(results):
        content = results.to_json()
        for step in content['steps']:
            del step['seconds']
        return content

    assert told(workshop.run('one')) == told(workshop.run('other', workers=4))


def test_several_run_at_once_as_many_as_there_may(workshop):
    # the first one waits for what the second one leaves
    workshop.content['seeds'] = [0, 1]
    workshop.content['axes'] = []
    judge = workshop.content['recipe']['judge']['run'].replace('inputs={train.out}', 'until=second.txt')
    (workshop.folder / 'leave.py').write_text("open(__file__.replace('leave.py', 'second.txt'), 'w'); print('{}')")
    workshop.content['recipe'] = {
        'first': {'run': judge},
        'second': {'run': f'{sys.executable} {{folder}}/leave.py'},
    }
    workshop.content['figures'] = [{'name': 'a', 'value': 'first.value'}]
    workshop.content['figures'].append({'name': 'b', 'value': 'second.value', 'curve': False})
    results = workshop.run(workers=2)
    assert results.count('finished') == 2


def test_what_was_done_is_not_done_again(workshop):
    before = workshop.run()
    workshop.ran()
    assert workshop.run().to_json() == before.to_json()
    assert workshop.ran() == []
    workshop.content['axes'][0]['values'] = [1, 2, 3]
    workshop.content['seeds'] = [0]
    assert means(workshop.run()) == pytest.approx([1.0, 2.0, 3.0])
    assert workshop.ran() == ['data', 'train', 'judge']


def test_output_of_a_step_that_has_no_marker_is_made_anew(workshop):
    results = workshop.run()
    workshop.ran()
    folder = workshop.folder / 'out' / results.plan.of[0, 0, 'train']
    (folder / 'done.json').unlink()
    (folder / 'left.txt').touch()
    workshop.run()
    assert workshop.ran() == ['train']
    assert not (folder / 'left.txt').exists()


def test_a_step_that_fails_takes_along_those_that_need_it_alone(workshop):
    workshop.content['axes'][0]['values'] = [{'value': 1, 'status': 'bad'}, {'value': 2, 'status': '0'}]
    workshop.content['recipe']['train']['run'] += ' status={status}'
    results = workshop.run(workers=2)
    assert results.rows[0][1] == 'failed: 3 of 3'
    assert results.cells[1, '', 'sum'].mean == pytest.approx(2.1)
    assert workshop.ran().count('judge') == 3
    said = [line for line in workshop.said if 'failed' in line]
    assert len(said) == 3
    assert 'train (size=1, seed=0)' in ''.join(said)
    assert all('exit status 1' in line and 'error: out of luck' in line and 'log.txt' in line for line in said)
    assert results.count('failed') == 6
    assert sum('error: out of luck' in note for note in results.notes) == 3
    # the next run tries again
    workshop.run()
    assert workshop.ran() == ['train'] * 3


def test_a_command_that_is_none_and_one_that_says_nothing_fail(workshop):
    workshop.content['recipe']['data']['run'] = 'no_such_program {size}'
    assert 'no_such_program: No such file' in workshop.run().notes[0]
    workshop.content['recipe']['data']['run'] = f'{sys.executable} -c "print({{size}})"'
    assert "expected one JSON object as its last line (--json), got '1'" in workshop.run().notes[0]


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        ('loss=none', 'loss: expected 2 or less, got None'),
        ('loss=nan', 'loss: expected 2 or less, got nan'),
        ('loss=2.5', 'loss: expected 2 or less, got 2.5'),
        ('status=3', 'diverged'),
    ],
)
def test_a_run_that_diverges_is_told_and_not_averaged(workshop, options, reason):
    # seed 1 of the three
    run = workshop.content['recipe']['train']['run']
    workshop.content['recipe']['train']['run'] = f'{sys.executable} {{folder}}/only_1.py {{seed}} {options} {run}'
    workshop.content['recipe']['train']['converged'] = {'loss': {'most': 2}}
    (workshop.folder / 'only_1.py').write_text(
        'import subprocess, sys\nseed, option, *command = sys.argv[1:]\n'
        'sys.exit(subprocess.call(command + ([option] if seed == "1" else [])))\n'
    )
    results = workshop.run()
    cell = results.cells[0, '', 'sum']
    assert cell.values == pytest.approx((1.0, 1.2))
    assert cell.text(1) == '1.1 ± 0.1 (n 2; diverged: 1 of 3)'
    assert results.count('failed') == 0
    assert any(note.startswith('train (size=1, seed=1) diverged: ') and reason in note for note in results.notes)
    # nothing is learned from it: the judge of it was not run, and it is not tried again
    assert workshop.ran().count('judge') == 4
    workshop.run()
    assert workshop.ran() == []


def test_a_diverged_step_asks_for_nothing_again_although_its_judge_needs_the_data(workshop):
    workshop.content['recipe']['train']['run'] += ' status=3'
    workshop.content['recipe']['judge']['run'] = (
        workshop.content['recipe']['judge']['run'].replace('inputs={train.out}', 'inputs={train.out},{data.out}')
    )  # fmt: skip
    first = workshop.run(keep='models')
    assert sorted(workshop.ran()) == ['data'] * 2 + ['train'] * 6
    assert not any((workshop.folder / 'out').glob('steps/data-*/data'))
    plan = workshop.plan()
    assert steps_to_run(plan, known_outcomes(plan, workshop.folder / 'out')) == set()
    again = workshop.run(keep='models')
    assert workshop.ran() == []
    assert again.to_json() == first.to_json()
    assert again.cells[0, '', 'sum'].text(1) == 'diverged: 3 of 3'


def test_bounds_are_those_of_now_for_steps_that_were_run_before_too(workshop):
    train = workshop.content['recipe']['train']
    workshop.run(keep='models')
    workshop.ran()
    # tighter: of each size, seed 0 is lost, and the judge of it does not count any more
    train['converged'] = {'nested.0.1.value': {'least': 0.52}}
    tight = workshop.run(keep='models')
    assert workshop.ran() == []
    assert tight.cells[0, '', 'sum'].text(1) == '1.1 ± 0.1 (n 2; diverged: 1 of 3)'
    assert tight.cells[1, '', 'sum'].text(1) == '2.1 ± 0.1 (n 3)'
    assert any('nested.0.1.value: expected 0.52 or more, got 0.5' in note for note in tight.notes)
    # a run that was lost counts with looser ones, and what it kept from being run is run
    workshop.content['seeds'] = [3]
    train['converged'] = {'value': {'most': 1}}
    assert workshop.run(keep='models').cells[0, '', 'sum'].text(1) == 'diverged: 1 of 1'
    assert workshop.ran() == ['data', 'train', 'data', 'train']
    train['converged'] = {}
    assert means(workshop.run(keep='models')) == pytest.approx([1.3, 2.3])
    assert workshop.ran() == ['judge', 'judge']


def test_what_ended_with_the_status_of_a_divergence_stays_diverged_and_old_markers_are_read(workshop):
    workshop.content['recipe']['train']['run'] += ' status=3'
    results = workshop.run()
    workshop.ran()
    workshop.content['recipe']['train']['converged'] = {'value': {'most': 10}}
    assert workshop.run().cells[0, '', 'sum'].text(1) == 'diverged: 3 of 3'
    assert workshop.ran() == []
    # a marker as earlier versions wrote it, diverged by its bounds
    folder = workshop.folder / 'out' / results.plan.of[0, 0, 'train']
    outcome = {'state': 'diverged', 'result': {'value': 1.0}, 'reason': 'value: expected 0.5 or less, got 1.0',
               'seconds': 2.0, 'workers': 1, 'code': 'abc', 'removed': False}  # fmt: skip
    (folder / 'done.json').write_text(json.dumps({'command': [], 'version': '0.1.0', 'outcome': outcome}))
    (folder / 'train').write_text('1')
    read = known_outcomes(workshop.plan(), workshop.folder / 'out')[results.plan.of[0, 0, 'train']]
    assert (read.state, read.reason, read.seconds, read.code) == ('finished', '', 2.0, 'abc')
    results = workshop.run()
    assert results.cells[0, '', 'sum'].text(1) == '1.0 (n 1; diverged: 2 of 3)'
    run = sum(bool(each.code) for each in results.outcomes.values())
    assert f"1 of {run} steps were run with another state of the package's code than this one" in results.notes


RESUMING = """
import os, signal, sys
from pathlib import Path

out = Path(sys.argv[1])
done = len(out.read_text()) if out.exists() else 0
out.write_text('x' * (done + 1))  # an epoch
if done == 0:
    sys.exit('error: out of memory')
if done == 1:
    os.kill(os.getpid(), signal.SIGTERM)
if done == 2:
    sys.exit(143)  # what a command makes of SIGTERM that catches it
print('{"value": %d}' % (done + 1))
"""


@pytest.mark.parametrize('resumes', [True, False])
def test_a_step_that_resumes_goes_on_after_any_end_but_a_success(workshop, resumes):
    (workshop.folder / 'resuming.py').write_text(RESUMING)
    workshop.content['recipe'] = {
        'train': {'run': f'{sys.executable} {{folder}}/resuming.py {{out}}', 'resumes': resumes}
    }
    workshop.content |= {'axes': [], 'seeds': [], 'figures': [{'name': 'sum', 'value': 'train.value'}]}
    for _ in range(3):
        assert workshop.run().count('failed') == 1
    results = workshop.run()
    assert means(results) == [4.0 if resumes else None]


def test_a_number_that_is_none_is_told_and_not_averaged(workshop):
    workshop.content['figures'] = [{'name': 'loss', 'value': 'judge.loss'}]
    workshop.content['recipe']['judge']['run'] += ' loss=none'
    results = workshop.run()
    assert results.cells[0, '', 'loss'].text(2) == 'undefined: 3 of 3'
    json.dumps(results.to_json(), allow_nan=False)


def test_a_figure_that_a_run_may_lack_is_undefined_there(workshop):
    workshop.content['figures'] = [{'name': 'other', 'value': 'judge.nested.pedestrian.value', 'optional': True}]
    results = workshop.run()
    assert results.problems == ()
    assert results.cells[0, '', 'other'].text(1) == 'undefined: 3 of 3'


def test_a_figure_that_there_is_not_is_named_with_those_that_there_are(workshop):
    workshop.content['figures'].append({'name': 'other', 'value': 'judge.nested.0.2.value'})
    results = workshop.run()
    assert results.problems == ('figures.other: judge.nested.0.2.value: expected one of 0.1, got 0',)
    assert results.cells[0, '', 'other'].text(1) == 'failed: 3 of 3'
    assert results.cells[0, '', 'sum'].mean == pytest.approx(1.1)


def test_keys_with_points_in_them_are_found():
    content = {'a': {'0.1': {'b': 1}, '0': {'1': {'c': 2}}}}
    assert (lookup(content, 'a.0.1.b'), lookup(content['a'], '0.1')) == (1, {'b': 1})
    with pytest.raises(KeyError, match='expected keys within a mapping'):
        lookup(content, 'a.0.1.b.c')


def test_what_is_temporary_goes_when_nobody_needs_it_and_is_made_again_when_somebody_does(workshop):
    results = workshop.run(keep='models')
    outputs = [
        workshop.folder / 'out' / results.plan.steps[results.plan.of[point, 0, 'data']].output for point in (0, 1)
    ]
    trained = workshop.folder / 'out' / results.plan.steps[results.plan.of[0, 0, 'train']].output
    assert not any(output.exists() for output in outputs)
    assert trained.exists()
    workshop.ran()
    workshop.run(keep='models')
    assert workshop.ran() == []
    workshop.content['seeds'] = [0, 3]
    workshop.content['axes'][0]['values'] = [1]
    assert workshop.run(keep='models').cells[0, '', 'sum'].values == pytest.approx((1.0, 1.3))
    assert workshop.ran() == ['data', 'train', 'judge']
    assert not outputs[0].exists()


def test_what_is_temporary_stays_for_steps_that_failed_and_where_all_is_kept(workshop):
    results = workshop.run(keep='all')
    output = workshop.folder / 'out' / results.plan.steps[results.plan.of[0, 0, 'data']].output
    assert output.exists()
    workshop.content['recipe']['train']['run'] += ' status=bad'
    workshop.run(keep='models')
    assert output.exists()


def test_what_is_temporary_stays_for_studies_that_are_run_later_and_for_steps_that_failed(workshop):
    plan = workshop.plan()
    data = {plan.of[point, 0, 'data'] for point in (0, 1)}
    outputs = [workshop.folder / 'out' / plan.steps[folder].output for folder in sorted(data)]
    outcomes = run_plan(plan, workshop.folder / 'out', keep='models', later=data)
    assert all(output.exists() for output in outputs)
    assert needed_by_failed(plan, outcomes) == set()
    run_plan(plan, workshop.folder / 'out', keep='models')
    assert not any(output.exists() for output in outputs)
    workshop.content['recipe']['train']['run'] += ' status=bad'
    plan = workshop.plan()
    assert needed_by_failed(plan, run_plan(plan, workshop.folder / 'out', keep='models')) >= data


def test_a_step_spreads_over_the_processes_that_are_free(workshop):
    workshop.content['recipe']['data']['run'] += ' processes={workers}'
    results = workshop.run(workers=3)
    data = results.outcomes[results.plan.of[0, 0, 'data']]
    assert data.workers == 3
    log = workshop.folder / 'out' / results.plan.of[0, 0, 'data'] / 'log.txt'
    assert 'processes=3' in log.read_text()


def test_two_processes_in_one_folder_are_refused(workshop):
    workshop.content['recipe']['data']['run'] += ' until=never.txt'
    process = start(workshop)
    try:
        until((workshop.folder / 'ran.txt').exists, process)
        with (
            pytest.raises(StudyError, match='another process is running studies here'),
            alone_in(workshop.folder / 'out'),
        ):
            pass
    finally:
        process.kill()
        process.wait()


def start(workshop, *options):
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')]))
    command = [sys.executable, '-m', 'radio_visual_ssl', 'study', workshop.write(), '--out', workshop.folder / 'out']
    return subprocess.Popen(
        [*command, *options],
        cwd=workshop.folder, env={**os.environ, 'PYTHONPATH': path}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def until(condition, process):
    for _ in range(2000):
        if condition():
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.03)
    raise AssertionError('waited in vain')


def gone(pid):
    """Whether a process has ended; of an orphan, which nobody waits for, a zombie may be left."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(sys.platform != 'linux', reason='commands outlive a killed study elsewhere')
@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_was_killed_goes_on_where_it_was(workshop, number):
    workshop.content['recipe']['judge']['run'] += ' until=go.txt'
    process = start(workshop, '--workers', '1')
    ran = workshop.folder / 'ran.txt'

    def lines():
        return [line.split() for line in ran.read_text().splitlines()] if ran.exists() else []

    until(lambda: len(lines()) == 3, process)
    process.send_signal(number)
    status = process.wait(timeout=60)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    pid = int(lines()[2][1])
    for _ in range(1000):
        if gone(pid):
            break
        time.sleep(0.02)
    assert gone(pid), 'the command outlived its study'
    assert workshop.ran() == ['data', 'train', 'judge']
    (workshop.folder / 'go.txt').touch()
    assert means(workshop.run(workers=2)) == pytest.approx([1.1, 2.1])
    assert sorted(workshop.ran()) == ['data'] + ['judge'] * 6 + ['train'] * 5
