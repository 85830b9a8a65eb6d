# SPDX-License-Identifier: Apache-2.0
"""Simulated data sets: what they hold, that they resume, and that workers change nothing."""

import fcntl
import filecmp
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from radio_visual_ssl.bags.messages import cube_from_message, profile_from_info
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.radar.cube import canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.simulation.dataset import DatasetError, DatasetPlan, generate, split_of
from radio_visual_ssl.simulation.scene import SceneError

SCENE = """
movers:
  - {kind: car, path: [[10, -5], [20, 0], [10, 5]], speed: 5.0}
  - {kind: pedestrian, path: [[12, -4], [16, 4]], speed: 1.5, motion: shuttle}
movers_present: [0, 2]
ground: {x: [5, 15], y: [-5, 5]}
camera: {width: 160, height: 120, focal_length: 130}
"""

MOVING = SCENE + 'ego: {path: [[0, 0], [40, 0]], speed: 5.0}\n'

RADAR = """
waveform: {type: ofdm, carrier_frequency: 28.0e+9, subcarrier_spacing: 3.125e+6, symbol_period: 125.0e-6,
           num_symbols: 8, num_subcarriers: 64}
position_unit: wavelength
tx_positions: [[0, 0, 0]]
rx_positions: {count: 8, spacing: 0.5}
front_end: {tx_power_dbm: 30}
"""

REAL_RADAR = """
waveform: {type: fmcw, carrier_frequency: 77.0e+9, slope: 10.0e+12, sample_rate: 5.0e+6, chirp_period: 20.0e-6,
           num_chirps: 8, num_samples: 64, complex_samples: false}
position_unit: wavelength
tx_positions: {count: 2, spacing: 2.0}
rx_positions: {count: 4, spacing: 0.5}
front_end: {tx_power_dbm: 30}
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('plan')
    for name, text in (('yard', SCENE), ('moving', MOVING), ('small', RADAR)):
        (folder / f'{name}.yaml').write_text(text)
    return folder


def plan_of(files, frames=10, scene='yard', **changes):
    settings = {'instances': 5, 'image_size': (64, 48), 'seed': 3, **changes}
    return DatasetPlan(str(files / f'{scene}.yaml'), str(files / 'small.yaml'), frames, **settings)


@pytest.fixture(scope='module')
def made(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp('made') / 'set'
    steps = []
    report = generate(plan_of(files), folder, workers=2, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (10, 10)
    return folder, report


def test_the_description_tells_what_the_folder_holds(made):
    folder, report = made
    content = yaml.safe_load((folder / 'dataset.yaml').read_text())
    assert 'overrides' not in content
    assert content['complete'] is True
    assert (content['scene'], content['radar'], content['seed'], content['frames']) == ('yard', 'small', 3, 10)
    assert content['splits'] == report.splits == {'train': 3, 'val': 1, 'test': 1}
    assert [entry['bag'] for entry in content['bags']] == [f'yard_{index:04d}' for index in range(5)]
    assert len({entry['seed'] for entry in content['bags']}) == 5
    present = {path.name for path in folder.iterdir()}
    assert present == {'dataset.yaml', *(entry['bag'] for entry in content['bags'])}


def test_each_instance_may_mount_its_camera_elsewhere(files, tmp_path):
    generate(plan_of(files, camera_shift=0.4, camera_turn_deg=4.0), tmp_path / 'loose')
    bags = [BagReader(tmp_path / 'loose' / f'yard_{index:04d}') for index in range(3)]
    cameras = [bag.camera(radar_frame='radar') for bag in bags]
    places = [-camera.rotation.T @ camera.translation for camera in cameras]
    assert 0.01 < np.linalg.norm(places[0] - places[1]) < 0.8
    assert not np.allclose(cameras[0].rotation, cameras[1].rotation, atol=1e-3)
    with pytest.raises(DatasetError, match='camera_shift is 0.4 there, 0.0 was asked'):
        generate(plan_of(files, camera_turn_deg=4.0), tmp_path / 'loose')
    with pytest.raises(DatasetError, match='camera: turn_deg: expected from 0 to below 80'):
        generate(plan_of(files, camera_turn_deg=85.0), tmp_path / 'up')
    with pytest.raises(DatasetError, match=r'camera.shift: expected .* above the ground, got one down to -0.75 m'):
        generate(plan_of(files, camera_shift=5.0), tmp_path / 'down')


def test_values_of_the_scene_are_overridden_and_told(files, tmp_path):
    generate(plan_of(files, frames=3, instances=3, overrides=('movers_present=[2, 2]',)), tmp_path / 'full')
    content = yaml.safe_load((tmp_path / 'full' / 'dataset.yaml').read_text())
    assert content['overrides'] == ['movers_present=[2, 2]']
    assert [len(entry['targets']) for entry in content['bags']] == [2, 2, 2]
    assert all(len(frame.truth) == 2 for frame in BagReader(tmp_path / 'full' / 'yard_0000').frames())
    with pytest.raises(DatasetError, match='holds a data set of other settings'):
        generate(plan_of(files, frames=3, instances=3), tmp_path / 'full')
    with pytest.raises(SceneError, match='movers_present: expected 0 <= least'):
        generate(plan_of(files, overrides=('movers_present=[3, 3]',)), tmp_path / 'more')


def test_every_pair_has_a_heatmap_an_image_its_mask_and_the_truth(made):
    folder, _ = made
    content = yaml.safe_load((folder / 'dataset.yaml').read_text())
    for entry in content['bags']:
        bag = BagReader(folder / entry['bag'])
        frames = list(bag.frames())
        assert len(frames) == entry['frames'] == 2
        assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [100_000_000]
        for frame, (_, mask) in zip(frames, bag.messages('/camera/mask'), strict=True):
            assert frame.image.shape == (48, 64, 3)
            assert frame.image_stamp_ns == frame.stamp_ns
            assert frame.heatmap.velocity is not None
            assert [target.label for target in frame.truth] == entry['targets']
            assert (mask.encoding, mask.height, mask.width) == ('mono8', 48, 64)
            assert set(np.unique(mask.data)) <= {0, *(target.track_id for target in frame.truth)}
        assert bag.camera(radar_frame='radar') is not None
        assert bag.radar_name() == 'small'
        assert bag.streams['/radar/info'].count == bag.streams['/tf_static'].count == 1


def test_any_number_of_workers_makes_the_same_bytes(made, files, tmp_path):
    folder, _ = made
    generate(plan_of(files), tmp_path / 'alone', workers=1)
    paths = sorted(path.relative_to(folder) for path in folder.rglob('*') if path.is_file())
    assert len(paths) == 11
    assert filecmp.cmpfiles(folder, tmp_path / 'alone', paths, shallow=False)[0] == paths


def simulate(files, out):
    """The command, as users run it, with the plan of these tests."""
    code = 'import sys; from radio_visual_ssl.cli import main; main()'
    settings = {
        'radar': files / 'small.yaml',
        'frames': 10,
        'seed': 3,
        'instances': 5,
        'image-size': '64x48',
        'out': out,
    }
    given = [text for name, value in settings.items() for text in (f'--{name}', str(value))]
    return [sys.executable, '-c', code, 'simulate', str(files / 'yard.yaml'), *given, '--json']


def test_a_killed_run_is_finished_with_nothing_lost_or_doubled(made, files, tmp_path):
    """The command is killed while bags are being written, and run again."""
    folder, _ = made
    out = tmp_path / 'broken'
    process = subprocess.Popen(simulate(files, out))
    until = time.monotonic() + 60
    while len(list(out.glob('yard_*'))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob('yard_*')}
    assert kept
    assert yaml.safe_load((out / 'dataset.yaml').read_text())['complete'] is False
    again = subprocess.run(simulate(files, out), capture_output=True, text=True, check=True)
    report = json.loads(again.stdout)
    assert (report['frames'], report['instances'], report['splits']) == (10, 5, {'train': 3, 'val': 1, 'test': 1})
    assert report['kept'] >= len(kept)
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in kept.items())
    paths = sorted(path.relative_to(folder) for path in folder.rglob('*') if path.is_file())
    assert sorted(path.relative_to(out) for path in out.rglob('*') if path.is_file()) == paths
    assert filecmp.cmpfiles(folder, out, paths, shallow=False)[0] == paths


def test_a_finished_set_is_left_as_it_is(made, files):
    folder, _ = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*.mcap')}
    assert generate(plan_of(files), folder).kept == 5
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*.mcap')} == before


def test_other_settings_and_other_folders_are_refused(made, files, tmp_path):
    folder, _ = made
    with pytest.raises(DatasetError, match='holds a data set of other settings: seed is 3 there, 4 was asked'):
        generate(plan_of(files, seed=4), folder)
    (tmp_path / 'note.txt').write_text('mine')
    with pytest.raises(DatasetError, match='expected a new or empty folder, or a data set; it holds note.txt'):
        generate(plan_of(files), tmp_path)


def test_a_description_without_any_bag_gives_way_to_another_plan(files, tmp_path):
    folder = tmp_path / 'set'
    generate(plan_of(files, frames=2, instances=2), folder)
    description = yaml.safe_load((folder / 'dataset.yaml').read_text())
    for name in ('yard_0000', 'yard_0001'):
        (folder / name).rename(folder / f'.{name}.unfinished')
    (folder / 'dataset.yaml').write_text(yaml.safe_dump({**description, 'complete': False}))
    generate(plan_of(files, frames=1, instances=1, seed=4), folder)
    assert yaml.safe_load((folder / 'dataset.yaml').read_text())['seed'] == 4
    assert sorted(entry.name for entry in folder.iterdir()) == ['dataset.yaml', 'yard_0000']


def test_an_interrupted_run_says_so_ends_at_once_and_leaves_nothing_unfinished(files, tmp_path):
    out = tmp_path / 'set'
    arguments = ('simulate', files / 'yard.yaml', '--radar', files / 'small.yaml', '--frames', 40000, '--instances', 2)
    command = [sys.executable, '-m', 'radio_visual_ssl', *map(str, arguments), '--workers', '2', '--out', str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        while len(list(out.glob('.yard_000*.*'))) < 2:
            assert run.poll() is None
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 128 + signal.SIGINT
    assert errors == 'interrupted; the same command goes on\n'
    assert [entry.name for entry in out.iterdir()] == ['dataset.yaml']


def test_a_set_that_begins_later_holds_the_same_scenes_at_other_moments(made, files, tmp_path):
    first, _ = made
    assert 'begin_s' not in yaml.safe_load((first / 'dataset.yaml').read_text())

    def pairs(folder):
        """Images, heatmaps and truth of the first scene by their stamps, as they were written."""
        topics = ['/camera/image_raw/compressed', '/radar/heatmap', '/ground_truth/targets']
        messages = BagReader(folder / 'yard_0000').raw_messages(topics)
        return {(message.topic, message.time_ns): bytes(message.data) for message in messages}

    base = pairs(first)
    step = round(1e9 / plan_of(files).rate)
    # a whole step later: the second pair of the one set is the first of the other
    generate(plan_of(files, begin_s=step * 1e-9), tmp_path / 'later')
    later = pairs(tmp_path / 'later')
    common = base.keys() & later.keys()
    assert len(common) == len(base) // 2 == 3
    assert all(base[key] == later[key] for key in common)
    # half a step: none is the same
    generate(plan_of(files, begin_s=step * 0.5e-9), tmp_path / 'between')
    between = pairs(tmp_path / 'between')
    assert {stamp for _, stamp in between} == {stamp + step // 2 for _, stamp in base}
    told = yaml.safe_load((tmp_path / 'between' / 'dataset.yaml').read_text())
    assert told['begin_s'] == step * 0.5e-9
    assert told['bags'] == yaml.safe_load((first / 'dataset.yaml').read_text())['bags']
    for folder, begin in ((tmp_path / 'between', 0.0), (first, 0.3)):
        with pytest.raises(DatasetError, match='holds a data set of other settings: begin_s is'):
            generate(plan_of(files, begin_s=begin), folder)
    for begin in (-0.1, float('nan'), float('inf'), 1000):
        with pytest.raises(DatasetError, match='begin_s: expected from 0 to less than 1000 s'):
            plan_of(files, begin_s=begin)


def test_another_device_measures_the_same(made, files, tmp_path):
    first, _ = made
    generate(plan_of(files, device='torch:cpu'), tmp_path / 'torch')
    assert yaml.safe_load((tmp_path / 'torch' / 'dataset.yaml').read_text())['device'] == 'torch:cpu'
    for name in ('yard_0000', 'yard_0003'):
        one, other = (list(BagReader(folder / name).frames()) for folder in (first, tmp_path / 'torch'))
        assert len(one) == len(other) == 2
        for frame, again in zip(one, other, strict=True):
            np.testing.assert_allclose(again.heatmap.values, frame.heatmap.values, atol=0.01)
            assert not np.array_equal(again.heatmap.values, frame.heatmap.values)  # it was used
            assert np.array_equal(again.image, frame.image)
            assert [(target.x, target.y) for target in again.truth] == [(target.x, target.y) for target in frame.truth]
    with pytest.raises(DatasetError, match="other settings: device is None there, 'torch:cpu' was asked"):
        generate(plan_of(files, device='torch:cpu'), first)


def test_two_runs_in_one_folder_do_not_mix(files, tmp_path):
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(DatasetError, match='another process is making a data set here'):
            generate(plan_of(files), tmp_path)
    finally:
        os.close(handle)
    with pytest.raises(DatasetError, match='workers: expected at least 1, got 0'):
        generate(plan_of(files), tmp_path, workers=0)


def test_raw_cubes_and_images_are_written_where_asked_for(files, tmp_path):
    generate(plan_of(files, 2, instances=1, cube=True, raw_images=True), tmp_path)
    bag = BagReader(tmp_path / 'yard_0000')
    assert {'/radar/cube', '/camera/image_raw'} <= set(bag.streams)
    assert not {'/radar/heatmap', '/camera/image_raw/compressed'} & set(bag.streams)
    profile = profile_from_info(next(bag.messages('/radar/info'))[1])
    cubes = [canonical(cube_from_message(message), profile) for _, message in bag.messages('/radar/cube')]
    assert [cube.shape for cube in cubes] == [(8, 8, 64)] * 2
    assert len(list(bag.frames())) == 2


@pytest.mark.parametrize('cube', [True, False])
def test_a_radar_with_a_real_adc_writes_real_cubes_that_fit_its_description(files, tmp_path, cube):
    radar = tmp_path / 'real.yaml'
    radar.write_text(REAL_RADAR)
    settings = {'instances': 1, 'image_size': (64, 48), 'seed': 3, 'cube': cube}
    generate(DatasetPlan(str(files / 'yard.yaml'), str(radar), 2, **settings), tmp_path / 'set')
    bag = BagReader(tmp_path / 'set' / 'yard_0000')
    profile = profile_from_info(next(bag.messages('/radar/info'))[1])
    assert not profile.waveform.complex_samples
    if cube:
        cubes = [cube_from_message(message) for _, message in bag.messages('/radar/cube')]
        assert [made.data.dtype for made in cubes] == [np.float32] * 2
        assert [canonical(made, profile).shape for made in cubes] == [(8, 8, 64)] * 2
    assert [frame.heatmap.values.shape for frame in bag.frames()] == [(32, 64)] * 2


def test_sensors_that_move_tell_where_they_are(files, tmp_path):
    generate(plan_of(files, 3, 'moving', instances=1), tmp_path)
    bag = BagReader(tmp_path / 'moving_0000')
    transforms = [message.transforms[0] for _, message in bag.messages('/tf')]
    assert [(entry.header.frame_id, entry.child_frame_id) for entry in transforms] == [('odom', 'radar')] * 3
    steps = np.diff([entry.transform.translation.x for entry in transforms])
    assert np.all((steps > 0.4) & (steps < 0.6))


def test_what_stands_is_taken_out_of_the_heatmaps_where_asked_for(files, tmp_path):
    settings = {'instances': 1, 'image_size': (64, 48), 'seed': 5}
    plans = {
        how: DatasetPlan('street', 'fmcw_77ghz_2tx4rx', 1, formation=how, **settings)
        for how in ((), ('clutter_removal=ego_motion', 'unfold_velocity=true'))
    }
    for number, plan in enumerate(plans.values()):
        generate(plan, tmp_path / str(number))
    described = yaml.safe_load((tmp_path / '1' / 'dataset.yaml').read_text())
    assert described['formation'] == ['clutter_removal=ego_motion', 'unfold_velocity=true']
    kept, removed = (next(BagReader(tmp_path / number / 'street_0000').frames()) for number in '01')
    assert np.array_equal(kept.image, removed.image)
    assert np.mean(removed.heatmap.values > 20) < 0.2 * np.mean(kept.heatmap.values > 20)
    with pytest.raises(DatasetError, match="formation is .'clutter_removal=ego_motion'.* there, None was asked"):
        generate(plans[()], tmp_path / '1')


@pytest.mark.parametrize(
    ('formation', 'message'),
    [
        ('clutter_removal=moving', "clutter_removal: expected one of none, static, ego_motion, got 'moving'"),
        ('clutter=static', '--formation clutter: expected one of range_window, .*clutter_removal'),
        ('azimuth_bins=many', "--formation azimuth_bins: expected a value like 64, got 'many'"),
        ('unfold_velocity=1', '--formation unfold_velocity: expected a value like False, got 1'),
        ('unfold_velocity=true', 'unfold_velocity: expected transmitters that take turns'),
        ('threads=4', '--formation threads: expected one of'),
        ('capon', "--formation: expected name.of.field=value, got 'capon'"),
    ],
)
def test_formation_that_there_is_not_is_refused(files, tmp_path, formation, message):
    with pytest.raises(DatasetError, match=message):
        generate(plan_of(files, formation=(formation,)), tmp_path / 'set')
    assert not (tmp_path / 'set').exists()


def test_raw_cubes_are_not_formed(files):
    with pytest.raises(DatasetError, match="formation: expected none with raw cubes, got 'azimuth_bins=32'"):
        plan_of(files, cube=True, formation=('azimuth_bins=32',))


def test_the_radar_tells_how_fast_it_is_carried_along_a_street(tmp_path):
    plan = DatasetPlan('street', 'fmcw_77ghz_2tx4rx', 4, instances=2, image_size=(64, 48), seed=5, rate=2, cube=True)
    generate(plan, tmp_path)
    for name in ('street_0000', 'street_0001'):
        bag = BagReader(tmp_path / name)
        profile = profile_from_info(next(bag.messages('/radar/info'))[1])
        former = HeatmapFormer(profile, FormationSettings(clutter_removal='ego_motion'))
        places = [message.transforms[0].transform.translation.x for _, message in bag.messages('/tf')]
        speed = 2 * (places[1] - places[0])
        for _, message in bag.messages('/radar/cube'):
            heatmap = former.form(canonical(cube_from_message(message), profile))
            np.testing.assert_allclose(heatmap.ego_velocity, (speed, 0), atol=0.2)


@pytest.mark.parametrize('instances', [1, 2, 3, 6, 17, 60, 61])
def test_splits_are_of_whole_instances(instances):
    splits = split_of(instances, 5)
    counts = [splits.count(split) for split in ('train', 'val', 'test')]
    assert sum(counts) == instances
    assert counts[1] == counts[2] <= counts[0]
    assert (min(counts) > 0) == (instances >= 3)


def test_a_standard_set_has_enough_instances_of_each_split():
    plan = DatasetPlan('parking_lot', 'ofdm_28ghz_400mhz_16rx', 2000)
    splits = [plan.instance(index).split for index in range(plan.instances)]
    assert [splits.count(split) for split in ('train', 'val', 'test')] == [40, 10, 10]
    assert sum(plan.instance(index).frames for index in range(plan.instances)) == 2000


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'frames': 0}, 'frames: expected at least 1, got 0'),
        ({'seed': -1}, 'seed: expected 0 or more, got -1'),
        ({'backend': 'magic'}, "backend: expected one of scatter.*, got 'magic'"),
        ({'rate': 0.0}, 'rate: expected more than 0'),
        ({'image_size': (8, 8)}, 'image_size: expected at least 16 x 16 px'),
        ({'image_size': (99999, 240)}, 'image_size: .* at most 4096 each way, got 99999 x 240'),
        ({'device': 'nonsense'}, "device: expected cpu or a torch device that is there, got 'nonsense'"),
        ({'instances': 11}, 'instances: expected from 1 to the 10 frames, got 11'),
    ],
)
def test_plans_that_make_no_sense_are_refused(files, change, message):
    with pytest.raises(DatasetError, match=message):
        plan_of(files, **change)
