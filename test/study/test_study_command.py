# SPDX-License-Identifier: Apache-2.0
"""The study command as users run it, with verbs of this very package."""

import json
from pathlib import Path

import cv2
import pytest
import yaml
from typer.testing import CliRunner

from radio_visual_ssl import cli
from radio_visual_ssl.cli import app
from radio_visual_ssl.exit_status import DIVERGED_STATUS

STUDY = {
    'title': 'CFAR by antennas',
    'takeaway': 'More of them see more.',
    'axes': [{'name': 'antennas', 'label': 'antennas', 'scale': 'log', 'values': [8, 16]}],
    'settings': {'frames': 3},
    'recipe': {
        'simulate': {
            'run': 'radio-visual-ssl simulate parking_lot --radar ofdm_28ghz_100mhz_{antennas}rx --frames {frames}'
            ' --rate 2 --instances 1 --image-size 32x24 --set movers_present=[2,2] --workers {workers} --out {out}'
            ' --json',
            'resumes': True,
            'temporary': True,
        },
        'judge': {'run': 'radio-visual-ssl evaluate {simulate.out} --view all --json'},
    },
    'figures': [
        {'name': 'targets', 'value': 'judge.targets', 'digits': 0, 'curve': False},
        {'name': 'recall', 'value': 'judge.recall', 'better': 'higher', 'unit': '%', 'times': 100, 'digits': 0},
    ],
}  # fmt: skip


def command(*arguments):
    return CliRunner().invoke(app, ['study', *map(str, arguments)])


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'antennas.yaml').write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return tmp_path / 'antennas.yaml'


def test_dry_run_lists_the_steps_and_runs_none(study, tmp_path):
    result = command(study, '--dry-run', '--json')
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {'steps': 4, 'to_run': 4, 'points': 2, 'seeds': []}
    assert '# judge (antennas=16)' in result.stderr
    assert not (tmp_path / 'out').exists()


def test_a_study_of_real_commands_ends_in_a_table_a_curve_and_files(study, tmp_path):
    result = command(study, '--workers', 2, '--json')
    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout)['studies']
    assert (told['steps'], told['finished'], told['failed']) == (4, 4, 0)
    folder = tmp_path / 'out' / 'studies' / 'antennas'
    content = json.loads((folder / 'results.json').read_text())
    assert [point['axes'] for point in content['points']] == [{'antennas': 8}, {'antennas': 16}]
    # two movers in each of three frames
    assert [point['series']['']['targets']['mean'] for point in content['points']] == [6.0, 6.0]
    picture = cv2.imread(str(folder / 'recall.png'))
    assert picture is not None
    assert picture.std() > 10
    assert not (folder / 'targets.png').exists()
    report = (folder / 'results.md').read_text()
    assert 'More of them see more.' in report
    assert '| antennas | targets | recall (%) ↑ |' in report
    assert '![recall](recall.png)' in report
    assert str(tmp_path) not in report
    # the data sets are gone; what is done is known
    assert not list((tmp_path / 'out' / 'studies').glob('steps/*/simulate'))
    again = command(study, '--dry-run', '--json')
    assert json.loads(again.stdout)['to_run'] == 0
    # a command of the report can be run as it is told
    line = next(line for line in report.splitlines() if line.startswith('radio-visual-ssl simulate'))
    assert '--radar ofdm_28ghz_100mhz_8rx --frames 3' in line


def test_what_studies_have_in_common_is_run_once_and_kept_until_none_needs_it(study, tmp_path):
    other = tmp_path / 'views.yaml'
    content = yaml.safe_load(study.read_text())
    content['recipe']['judge']['run'] = 'radio-visual-ssl evaluate {simulate.out} --view radar --json'
    other.write_text(yaml.safe_dump(content | {'title': 'In the view of the radar'}))
    result = command(study, other, '--only', 'antennas=8', '--json')
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [each['study'] for each in told['studies']] == ['antennas', 'views']
    assert [Path(each['results']).parent.parent.name for each in told['studies']] == ['antennas', 'views']
    assert all(Path(each['results']).is_file() for each in told['studies'])
    folder = tmp_path / 'out' / 'studies'
    steps = sorted(path.name.partition('-')[0] for path in (folder / 'steps').iterdir())
    assert steps == ['judge', 'judge', 'simulate']
    assert result.stderr.count('] simulate (antennas=8)') == 1
    assert not list(folder.glob('steps/*/simulate'))
    listed = json.loads(command(study, other, '--dry-run', '--json').stdout)
    assert (listed['steps'], listed['to_run']) == (6, 3)


def test_studies_of_one_name_or_named_as_the_steps_are_refused(study, tmp_path):
    result = command(study, study)
    assert 'expected studies of different names, got antennas again' in str(result.exception)
    (tmp_path / 'steps.yaml').write_text(study.read_text())
    assert "expected another name than 'steps'" in str(command(tmp_path / 'steps.yaml').exception)


def test_failures_end_with_status_1_and_are_told(study, tmp_path):
    content = yaml.safe_load(study.read_text())
    content['recipe']['judge']['run'] += ' --hit-distance -1'
    study.write_text(yaml.safe_dump(content))
    result = command(study, '--only', 'antennas=8', '--json')
    assert result.exit_code == 1
    (told,) = json.loads(result.stdout)['studies']
    assert (told['finished'], told['failed']) == (1, 1)
    assert 'failed: 1 of 1' in result.stderr
    assert '--hit-distance' in result.stderr


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--only', 'antennas'], "--only: expected AXIS=VALUE, got 'antennas'"),
        (['--only', 'antennas=9'], "--only: antennas: expected one of 8, 16, got '9'"),
        (['--seeds', '1,x'], "--seeds: expected whole numbers with commas between them, got '1,x'"),
        (['--seeds', '²'], "--seeds: expected whole numbers with commas between them, got '²'"),
        (['--short'], 'short: expected a block'),
    ],
)
def test_wrong_options_are_named(study, options, said):
    result = command(study, *options)
    assert result.exit_code == 1
    assert said in str(result.exception)


def test_a_training_that_diverges_has_a_status_of_its_own(monkeypatch):
    pytest.importorskip('lightning', reason='training needs it')
    from radio_visual_ssl.learning.training_run import TrainingDivergedError

    def diverge():
        raise TrainingDivergedError('nothing was learned')

    monkeypatch.setattr(cli, 'app', diverge)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == DIVERGED_STATUS
