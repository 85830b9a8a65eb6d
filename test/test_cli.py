# SPDX-License-Identifier: Apache-2.0
"""The radio-visual-ssl command as users run it: in a process of its own, on real files."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model
from typer.testing import CliRunner

from radio_visual_ssl.bags.messages import heatmap_to_messages, image_to_message, targets_to_message
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap

REPOSITORY = Path(__file__).resolve().parents[1]


def started(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    program = REPOSITORY / 'scripts' / 'radio-visual-ssl'
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get('PYTHONPATH')]))
    return subprocess.Popen(
        [sys.executable, program, *map(str, arguments)],
        cwd=folder, env={**os.environ, 'PYTHONPATH': path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    with started(*arguments, folder=folder) as process:
        try:
            output, errors = process.communicate(timeout=120)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def last_json(result: subprocess.CompletedProcess[str]) -> dict:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1
    assert 'Traceback' not in result.stderr
    assert result.stderr.startswith('error: ')
    return result.stderr


@pytest.fixture(scope='module')
def radiate_bag(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('radiate')
    clip = shared_data / 'radiate_tiny_foggy'
    result = run('import', 'radiate', clip, '--out', 'r.bag', '--camera-offset', '0.45', '--json', folder=folder)
    report = last_json(result)
    assert (report['scans'], report['images'], report['targets']) == (18, 50, 42)
    return folder / 'r.bag'


@pytest.fixture
def unlabelled_bag(tmp_path: Path) -> Path:
    types = RosbagsTypes()
    grid = PolarGrid(np.arange(1.0, 33.0), np.linspace(-1.0, 1.0, 24))
    with BagWriter(tmp_path / 'plain.bag') as bag:
        for index in range(3):
            stamp = 10**9 + index * 10**8
            heatmap = Heatmap(np.zeros(grid.shape, np.float32), grid, radar='some_radar')
            image, info = heatmap_to_messages(heatmap, stamp, 'radar', types)
            bag.write('/radar/heatmap_info', stamp, info)
            bag.write('/radar/heatmap', stamp, image)
    return tmp_path / 'plain.bag'


def test_strongest_mover_of_a_real_capture(shared_data: Path, tmp_path: Path) -> None:
    capture = shared_data / 'openradar/doppler_example_1.npy'
    result = run('heatmap', capture, '--radar', 'openradar_2tx4rx', '--out', 'look.png', '--json', folder=tmp_path)
    movers = last_json(result)['movers']
    assert movers[0]['range_m'] == pytest.approx(2.93, abs=0.05)
    assert set(movers[0]) == {'range_m', 'azimuth_deg', 'velocity_m_s', 'snr_db'}
    assert [mover['snr_db'] for mover in movers] == sorted((mover['snr_db'] for mover in movers), reverse=True)
    picture = cv2.imread(str(tmp_path / 'look.png'))
    assert picture is not None
    assert picture.std() > 10


def test_unknown_radar_profile_lists_the_shipped_ones(tmp_path: Path) -> None:
    error = error_of(run('heatmap', 'x.npy', '--radar', 'openradar', folder=tmp_path))
    assert 'error: openradar: expected a YAML file or a name in config/radars/ (' in error
    assert 'openradar_2tx4rx' in error


def test_imported_clip_is_inspected(radiate_bag: Path, tmp_path: Path) -> None:
    result = run('inspect', radiate_bag, '--json', '--count', '1', folder=tmp_path)
    inspection = last_json(result)
    heatmaps = inspection['streams']['/radar/heatmap']
    assert (heatmaps['type'], heatmaps['count']) == ('sensor_msgs/msg/Image', 18)
    assert heatmaps['rate_hz'] == pytest.approx(4.06, abs=0.02)
    assert inspection['pairs'] + inspection['unpaired'] == 18
    assert (tmp_path / 'r.bag_contact_sheet.png').is_file()
    assert (tmp_path / 'r.bag_timing.png').is_file()
    assert '/radar/heatmap' in result.stdout
    if inspection['time_offset_s'] is None:
        assert inspection['time_offset_reason'] in result.stdout
    else:
        assert inspection['time_offset_s'] == pytest.approx(0.45, abs=0.15)


def test_imported_clip_is_evaluated_with_the_settings_of_its_radar(radiate_bag: Path, tmp_path: Path) -> None:
    result = run('evaluate', radiate_bag, '--backend', 'cfar', '--json', '--report', 'report', '--ols', folder=tmp_path)
    figures = last_json(result)
    assert (figures['frames'], figures['targets']) == (18, 40)
    assert figures['recall'] >= 0.5
    assert figures['backends']['cfar']['recall'] == figures['recall']
    assert (figures['ols']['targets'], figures['ols']['by_class']) == ({'pedestrian': 0, 'cyclist': 0, 'car': 5}, False)
    assert 0 < figures['ols']['average_precision'] < figures['ols']['average_recall']
    assert 'OLS' in result.stderr
    assert (tmp_path / 'report/errors.png').is_file()
    assert 'most targets in view' in (tmp_path / 'report/report.html').read_text()


@pytest.fixture
def bag_with_raw_camera(tmp_path: Path) -> Path:
    types = RosbagsTypes()
    grid = PolarGrid(np.arange(1.0, 33.0), np.linspace(-1.0, 1.0, 24))
    with BagWriter(tmp_path / 'raw.bag') as bag:
        for index in range(3):
            stamp = 10**9 + index * 10**8
            values = np.random.default_rng(index).normal(size=grid.shape).astype(np.float32)
            image, info = heatmap_to_messages(Heatmap(values, grid, radar='some_radar'), stamp, 'radar', types)
            bag.write('/radar/heatmap_info', stamp, info)
            bag.write('/radar/heatmap', stamp, image)
            bag.write('/ground_truth/targets', stamp, targets_to_message([], stamp, 'radar', types))
            picture = image_to_message(np.zeros((4, 6, 3), np.uint8), 'rgb8', stamp, 'camera', types)
            picture.encoding = 'yuv422_yuy2'
            bag.write('/camera/image_raw', stamp, picture)
    return tmp_path / 'raw.bag'


def test_images_that_cannot_be_decoded_cost_a_note_and_no_figure(bag_with_raw_camera: Path, tmp_path: Path) -> None:
    plain = run('evaluate', bag_with_raw_camera, '--json', folder=tmp_path)
    assert last_json(plain)['frames'] == 3
    assert 'yuv422_yuy2' not in plain.stdout
    result = run('evaluate', bag_with_raw_camera, '--json', '--report', 'report', folder=tmp_path)
    figures = last_json(result)
    assert figures['frames'] == 3
    assert '3 frames go without their image' in figures['notes'][-1]
    assert "'yuv422_yuy2'" in figures['notes'][-1]
    assert (tmp_path / 'report/example_fullest.png').is_file()


def test_several_bags_and_parts_of_data_sets_are_evaluated_as_one(bag_with_raw_camera: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'set'
    for name in ('one', 'other'):
        shutil.copytree(bag_with_raw_camera, folder / name)
    splits = [{'bag': 'one', 'split': 'train'}, {'bag': 'other', 'split': 'test'}]
    (folder / 'dataset.yaml').write_text(json.dumps({'format': 1, 'bags': splits}))
    options = ('--hit-distance', '1', '--json', '--report', 'report')
    figures = last_json(run('evaluate', folder, bag_with_raw_camera, *options, folder=tmp_path))
    assert (figures['bags'], figures['frames'], figures['empty_frames'], figures['hit_distance_m']) == (3, 9, 9, 1.0)
    assert figures['recall_at_false']['0.05'] is None
    assert (tmp_path / 'report/example_fullest.png').is_file()
    result = run('evaluate', folder, '--split', 'test', '--json', folder=tmp_path)
    assert (last_json(result)['bags'], last_json(result)['frames']) == (1, 3)
    assert 'recall at 0.05 per empty frame' in ' '.join(result.stderr.split())
    assert "expected bags of the split 'val'" in error_of(run('evaluate', folder, '--split', 'val', folder=tmp_path))


def test_help_of_inspect_tells_what_null_means(tmp_path: Path) -> None:
    assert 'null = cannot tell' in ' '.join(run('inspect', '--help', folder=tmp_path).stdout.split())


def test_bag_is_never_overwritten(radiate_bag: Path, shared_data: Path) -> None:
    clip = shared_data / 'radiate_tiny_foggy'
    error = error_of(run('import', 'radiate', clip, '--out', radiate_bag, folder=radiate_bag.parent))
    assert str(radiate_bag) in error


def test_missing_clip_is_named(tmp_path: Path) -> None:
    error = error_of(run('import', 'radiate', 'nowhere', '--out', 'r.bag', folder=tmp_path))
    assert 'nowhere' in error
    assert not (tmp_path / 'r.bag').exists()


@pytest.mark.parametrize('verb', ['inspect', 'evaluate'])
def test_missing_bag_is_named(tmp_path: Path, verb: str) -> None:
    assert 'nowhere.bag' in error_of(run(verb, 'nowhere.bag', folder=tmp_path))


def test_bag_without_ground_truth_cannot_be_evaluated(unlabelled_bag: Path) -> None:
    error = error_of(run('evaluate', unlabelled_bag, folder=unlabelled_bag.parent))
    assert '/ground_truth/targets' in error
    assert '/radar/heatmap' in error


def test_unknown_backend_lists_the_known_ones(unlabelled_bag: Path) -> None:
    error = error_of(run('evaluate', unlabelled_bag, '--backend', 'magic', folder=unlabelled_bag.parent))
    assert "expected one of cfar, peak, network, fusion, got 'magic'" in error


@pytest.fixture(scope='module')
def models(radiate_bag: Path) -> tuple[Path, Path]:
    """A network for the radar of the imported clip, and one for another radar."""
    heatmap = next(BagReader(radiate_bag).frames(image_topic=None)).heatmap
    folder = radiate_bag.parent
    other = replace(RadarGeometry.of(heatmap), name='other')
    return write_tiny_model(folder / 'one.safetensors', heatmap), write_tiny_model(
        folder / 'other.safetensors', heatmap, radar=other
    )


def test_networks_are_compared_with_cfar(radiate_bag: Path, models: tuple[Path, Path], tmp_path: Path) -> None:
    result = run('evaluate', radiate_bag, '--model', models[0], '--backend', 'network', '--backend', 'cfar', '--json',
                 folder=tmp_path)  # fmt: skip
    figures = last_json(result)
    assert list(figures['backends']) == ['network', 'cfar']
    assert 'comparison' not in figures
    assert figures['frames'] == 18
    assert figures['recall'] == figures['backends']['network']['recall']
    assert figures['backends']['cfar']['recall'] >= 0.5


def test_back_ends_are_compared_with_intervals(radiate_bag: Path, models: tuple[Path, Path], tmp_path: Path) -> None:
    back_ends = ('--backend', 'cfar', '--backend', 'network', '--model', models[0])
    result = run('evaluate', radiate_bag, *back_ends, '--compare', '--bootstrap', '200', '--json', folder=tmp_path)
    compared = last_json(result)['comparison']
    assert (compared['reference'], compared['unit'], compared['resamples']) == ('cfar', 'stretch', 200)
    recall = compared['differences']['network']['recall']
    assert recall['value'] == pytest.approx(
        last_json(result)['backends']['network']['recall'] - last_json(result)['recall']
    )
    assert recall['low'] is recall['high'] is None
    assert 'no intervals: they take at least 6 bags or stretches, and there are 1 stretches of 8 s' in result.stderr
    refused = run('evaluate', radiate_bag, *back_ends, '--compare', '--bootstrap', '199', folder=tmp_path)
    assert refused.returncode == 2
    assert '--bootstrap' in refused.stderr and '200' in refused.stderr


def test_models_of_several_radars_are_refused_before_anything_is_evaluated(
    radiate_bag: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    both = ('--model', models[0], '--model', models[1], '--compare')
    error = error_of(run('evaluate', radiate_bag, *both, folder=tmp_path))
    assert 'network other: expected a model of the same radar as network one; radar: expected' in error
    error = error_of(run('evaluate', radiate_bag, '--compare', folder=tmp_path))
    assert '--compare: expected several back ends or models, got cfar alone' in error


def test_automatic_back_end_says_what_it_is(radiate_bag: Path, tmp_path: Path) -> None:
    result = run('evaluate', radiate_bag, '--backend', 'auto', '--json', folder=tmp_path)
    assert list(last_json(result)['backends']) == ['cfar']
    assert "backend cfar: no model ships for radar 'navtech" in result.stderr


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (
            ('--model', 'other.safetensors'),
            "expected heatmaps of the radar that network learned from; radar: expected 'other', got 'navtech",
        ),
        (('--encoders', 'one.safetensors'), '--encoders: expected --report with it'),
        (('--backend', 'cfar', '--model', 'one.safetensors'), '--model: expected --backend network with it, got cfar'),
        (
            ('--backend', 'cfar', '--backend', 'network', '--model', 'one.safetensors', '--settings', 'static'),
            "--settings: expected BACKEND=SETTINGS with several back ends, got 'static'",
        ),
    ],
)
@pytest.mark.usefixtures('models')
def test_wrong_models_and_options_are_named(radiate_bag: Path, options: tuple[str, ...], said: str) -> None:
    error = error_of(run('evaluate', radiate_bag, *options, folder=radiate_bag.parent))
    assert said in error


def test_unknown_setting_is_named_with_its_file(unlabelled_bag: Path) -> None:
    settings = unlabelled_bag.parent / 'mine.yaml'
    settings.write_text('guard_cell: [1, 1]\n')
    error = error_of(run('evaluate', unlabelled_bag, '--settings', settings, folder=unlabelled_bag.parent))
    assert 'mine.yaml' in error
    assert 'guard_cells' in error


def test_paths_are_printed_as_they_are(unlabelled_bag: Path) -> None:
    folder = unlabelled_bag.parent
    bag = unlabelled_bag.rename(folder / '[red]:car:')
    result = run('inspect', bag.name, '--out', 'a[/b]c.png', folder=folder)
    assert result.returncode == 0, result.stderr
    assert bag.name in result.stdout
    assert 'contact sheet: a[/b]c.png' in result.stdout
    assert (folder / 'a[/b]c.png').is_file()
    assert '[/b]: expected a rosbag2 folder' in error_of(run('inspect', '[/b]', folder=folder))


@pytest.mark.parametrize('options', [(), ('--json',)])
def test_command_whose_reader_has_gone_ends_as_sigpipe_would_end_it(
    unlabelled_bag: Path, options: tuple[str, ...]
) -> None:
    with started('inspect', unlabelled_bag, '--count', 0, *options, folder=unlabelled_bag.parent) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 128 + signal.SIGPIPE
    assert 'Traceback' not in errors
    assert 'rror' not in errors


@pytest.mark.parametrize(
    ('arguments', 'option', 'value'),
    [
        (('evaluate', 'bag', '--camera-offset', 'nan'), '--camera-offset', 'nan'),
        (('evaluate', 'bag', '--hit-distance', 'inf'), '--hit-distance', 'inf'),
        (('inspect', 'bag', '--camera-offset=-inf'), '--camera-offset', '-inf'),
        (('heatmap', 'file', '--radar', 'r', '--min-velocity', 'nan'), '--min-velocity', 'nan'),
        (('import', 'radiate', 'set', '--out', 'bag', '--camera-offset', 'nan'), '--camera-offset', 'nan'),
        (('label', 'bag', '--out', 'l', '--person-depth', 'inf'), '--person-depth', 'inf'),
    ],
)
def test_options_that_are_not_finite_are_named(arguments: tuple[str, ...], option: str, value: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2
    assert f"'{option}': expected a finite number, got {value} " in ' '.join(result.output.replace('│', ' ').split())


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('simulate', 'parking_lot', '--begin-s', '1000'), '--begin-s: expected from 0 to less than 1000 s'),
        (('simulate', 'parking_lot', '--image-size', '8x8'), '--image-size: expected at least 16 x 16 px'),
        (('simulate', 'parking_lot', '--rate', '0'), '--rate: expected more than 0'),
        (('simulate', 'parking_lot', '--backend', 'magic'), '--backend: expected one of scatter'),
        (('simulate', 'parking_lot', '--camera-turn', '800'), '--camera-shift, --camera-turn: '),
        (('simulate', 'parking_lot', '--set', 'movers_present=[3,0]'), '.yaml with --set movers_present=[3,0]: '),
        (('train', '{bag}', '--set', 'run.epochs=many'), 'with --set run.epochs=many: run: epochs: expected int'),
        (('evaluate', '{bag}', '--backend', 'magic'), '--backend: expected one of cfar'),
        (('evaluate', '{bag}', '--settings', 'magic'), '--settings: expected '),
        (('tune', '{bag}', '--tries', '1', '--false-per-frame', '7'), '--false-per-frame: expected one of '),
        (('pair', '{bag}', '--camera-offset=-1e10'), '--camera-offset: expected 1e9 s at most, either way'),
        (('pair', '{bag}', '--stamps', 'both'), '--stamps: expected header or reception'),
        (('pair', '{bag}', '--rename', '/a=/b', '--rename', '/a=/c'), '--rename: expected one new name of /a, got /b'),
    ],
)  # fmt: skip
def test_wrong_values_are_named_by_their_option(
    bag_with_raw_camera: Path, arguments: tuple[str, ...], said: str
) -> None:
    out = bag_with_raw_camera.parent / 'out'
    texts = [text.replace('{bag}', str(bag_with_raw_camera)) for text in arguments]
    result = CliRunner().invoke(app, [*texts, *(() if arguments[0] == 'evaluate' else ('--out', str(out)))])
    assert isinstance(result.exception, ValueError)
    assert said in str(result.exception)
    assert not out.exists()


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('heatmap', 'x.npy', '--radar', 'r', '--out', 'note/x.png'), '--out: expected the path of a file in a folder'),
        (('heatmap', 'x.npy', '--radar', 'r', '--out', '.'), '--out: expected the path of a file, got the folder .'),
        (('inspect', 'bag', '--out', 'note/x.png'), '--out: expected the path of a file in a folder, got note/x.png'),
        (('export', 'x', '--out', '.'), '--out: expected the path of a file, got the folder .'),
        (('label', 'bag', '--out', 'l', '--report', 'note'), '--report: expected the path of a file in a folder'),
        (('label', 'bag', '--out', 'l', '--bags', 'note'), '--bags: expected the path of a file in a folder'),
        (('simulate', 'parking_lot', '--out', 'note/x'), 'note/x: expected a folder that can be made'),
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_written_are_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('note').write_text('a file')
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, ValueError)
    assert str(result.exception).startswith(said)


def test_inspect_names_an_offset_beyond_all_reason(bag_with_raw_camera: Path) -> None:
    result = CliRunner().invoke(app, ['inspect', str(bag_with_raw_camera), '--count', '0', '--camera-offset', '1e10'])
    assert str(result.exception).startswith('--camera-offset: expected 1e9 s at most, either way')


def test_help_names_each_verb(tmp_path: Path) -> None:
    result = run('--help', folder=tmp_path)
    assert result.returncode == 0
    for verb in ('import', 'inspect', 'evaluate', 'heatmap'):
        assert verb in result.stdout


def test_simulate_makes_a_data_set_with_several_workers(tmp_path):
    size = ('--frames', 4, '--instances', 2, '--image-size', '64x48', '--workers', 2)
    result = run(
        'simulate', 'parking_lot', '--radar', 'ofdm_28ghz_100mhz_8rx', *size, '--out', 'set', '--json', folder=tmp_path
    )
    report = last_json(result)
    assert (report['frames'], report['instances']) == (4, 2)
    assert len(list((tmp_path / 'set').glob('*/metadata.yaml'))) == 2
