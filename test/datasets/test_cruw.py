# SPDX-License-Identifier: Apache-2.0
"""A CRUW sequence becomes a bag: places and sides right, stamps of 30 Hz, broken folders named."""

import math
import re
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.cli import app
from radio_visual_ssl.datasets.cruw import CruwError, import_cruw, polar_grid

SEQUENCE = '2019_04_09_BMS1000'
MIDNIGHT_NS = int(datetime(2019, 4, 9, tzinfo=timezone.utc).timestamp()) * 1_000_000_000
WIDTH, HEIGHT, FOCAL = 144, 86, 120.0
# frame, range m, azimuth deg to the right, class
TARGETS = [(0, 8.0, 20.0, 'car'), (0, 12.0, -30.0, 'pedestrian'), (2, 26.0, 0.0, 'cyclist'), (3, 10.0, 70.0, 'car')]
CHIRPS = (0, 64, 128, 192)


def nearest_bins(distance, azimuth_deg):
    """As the devkit finds them: range upwards, azimuth from left to right."""
    grid = polar_grid()
    return np.abs(grid.range - distance).argmin(), np.abs(grid.azimuth - math.radians(azimuth_deg)).argmin()


def write_chirp(path, targets, chirp):
    values = np.random.default_rng(chirp).normal(0, 0.01, (128, 128, 2)).astype(np.float32)
    for distance, azimuth_deg in targets:
        # a phase of its own in each chirp
        values[nearest_bins(distance, azimuth_deg)] = 3 * math.cos(chirp), 3 * math.sin(chirp)
    np.save(path, values)


def calibration(width=WIDTH, height=HEIGHT):
    matrix = [FOCAL, 0, (width - 1) / 2, 0, FOCAL, (height - 1) / 2, 0, 0, 1]
    return {
        'image_width': width,
        'image_height': height,
        'camera_name': 'cam_0',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': matrix},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.0] * 5},
        'rectification_matrix': {'rows': 3, 'cols': 3, 'data': [1, 0, 0, 0, 1, 0, 0, 0, 1]},
        'projection_matrix': {'rows': 3, 'cols': 4, 'data': [*matrix[:3], 0, *matrix[3:6], 0, *matrix[6:], 0]},
    }


@pytest.fixture
def sequence(tmp_path):
    """Five frames in the layout of ROD2021; the third lacks its picture."""
    root = tmp_path / 'ROD2021'
    folder = root / 'sequences' / 'train' / SEQUENCE
    (folder / 'RADAR_RA_H').mkdir(parents=True)
    (folder / 'IMAGES_0').mkdir()
    for frame in range(5):
        seen = [(distance, azimuth) for number, distance, azimuth, _ in TARGETS if number == frame]
        for chirp in CHIRPS:
            write_chirp(folder / 'RADAR_RA_H' / f'{frame:06d}_{chirp:04d}.npy', seen, chirp)
        if frame != 2:
            cv2.imwrite(
                str(folder / 'IMAGES_0' / f'{frame:010d}.jpg'), np.full((HEIGHT, WIDTH, 3), 40 * frame, np.uint8)
            )
    lines = [f'{frame} {distance} {math.radians(azimuth)} {label}' for frame, distance, azimuth, label in TARGETS]
    (root / 'annotations' / 'train').mkdir(parents=True)
    (root / 'annotations' / 'train' / f'{SEQUENCE}.txt').write_text('\n'.join(lines) + '\n')
    (root / 'calib' / '2019_05_09').mkdir(parents=True)
    (root / 'calib' / '2019_05_09' / 'cam_0.yaml').write_text(yaml.safe_dump(calibration()))
    return folder


def test_the_grid_is_that_of_the_devkit():
    grid = polar_grid()
    assert (grid.range[0], grid.range[-1]) == (pytest.approx(0.639165, abs=1e-6), pytest.approx(27.697132, abs=1e-6))
    assert np.diff(grid.range) == pytest.approx(0.213055, abs=1e-6)
    assert nearest_bins(5.0, 30.0) == (20, 95)
    assert grid.reads_cone_angles


def test_everything_of_a_sequence_arrives(sequence, tmp_path):
    calls = []
    report = import_cruw(sequence, tmp_path / 'bag', lambda done, total: calls.append((done, total)))
    assert (report.frames, report.images, report.incomplete_frames) == (5, 4, 0)
    assert (report.targets, report.targets_in_radar_view, report.without_calibration) == (4, 2, '')
    assert calls[-1] == (9, 9)
    bag = BagReader(tmp_path / 'bag')
    assert {topic: stream.count for topic, stream in bag.streams.items()} == {
        '/radar/heatmap': 5,
        '/radar/heatmap_info': 1,
        '/camera/image_raw/compressed': 4,
        '/camera/camera_info': 4,
        '/ground_truth/targets': 5,
        '/tf_static': 1,
    }
    stamps = [MIDNIGHT_NS + round(frame / 30 * 1e9) for frame in range(5)]
    assert bag.stamps('/radar/heatmap').tolist() == bag.stamps('/ground_truth/targets').tolist() == stamps
    assert bag.stamps('/camera/image_raw/compressed').tolist() == [stamps[frame] for frame in (0, 1, 3, 4)]
    picture = next(bag.raw_messages(['/camera/image_raw/compressed']))
    assert (sequence / 'IMAGES_0' / '0000000000.jpg').read_bytes() in picture.data, 'the file as it is'


def test_targets_lie_on_their_returns_on_the_right_side(sequence, tmp_path):
    import_cruw(sequence, tmp_path / 'bag')
    frames = list(BagReader(tmp_path / 'bag').frames())
    car, pedestrian = frames[0].truth
    assert (car.label, pedestrian.label) == ('car', 'pedestrian')
    assert car.azimuth == pytest.approx(-math.radians(20.0)), 'to the right is negative'
    assert car.range == pytest.approx(8.0)
    assert pedestrian.azimuth == pytest.approx(math.radians(30.0))
    heatmap = frames[0].heatmap
    assert (heatmap.radar, heatmap.velocity, heatmap.formation) == ('cruw_awr1843', None, '')
    bright = np.argwhere(heatmap.values > 0)
    found = sorted((heatmap.grid.range[row], heatmap.grid.azimuth[column]) for row, column in bright)
    for (range_, azimuth), target in zip(found, (car, pedestrian), strict=True):
        assert abs(range_ - target.range) <= 0.107
        assert abs(math.sin(azimuth) - math.sin(target.azimuth)) <= 1 / 127
    # power of a cell whose amplitude is 3 in every chirp, whatever its phase
    assert heatmap.values.max() == pytest.approx(20 * math.log10(3), abs=1e-4)


def test_views_are_those_of_the_camera_and_of_the_challenge(sequence, tmp_path):
    import_cruw(sequence, tmp_path / 'bag')
    frames = list(BagReader(tmp_path / 'bag').frames())
    truth = [target for frame in frames for target in frame.truth]
    assert [target.in_radar_view for target in truth] == [True, True, False, False]
    # 144 px at a focal length of 120 px see 31 degrees to either side
    assert [target.in_camera_view for target in truth] == [True, True, True, False]
    camera = BagReader(tmp_path / 'bag').camera(radar_frame='radar')
    (pixel,), _ = camera.project([(10.0, -1.0, 0.0)])
    # the radar lies 0.11 m right of the camera, 0.05 m above it and 0.06 m before it
    assert pixel == pytest.approx((71.5 + FOCAL * 1.11 / 10.06, 42.5 - FOCAL * 0.05 / 10.06))


def test_a_sequence_of_the_test_set_has_radar_alone(sequence, tmp_path):
    for path in (sequence / 'IMAGES_0').iterdir():
        path.unlink()
    (sequence / 'IMAGES_0').rmdir()
    (sequence.parents[2] / 'annotations' / 'train' / f'{SEQUENCE}.txt').unlink()
    report = import_cruw(sequence, tmp_path / 'bag')
    assert (report.images, report.targets, report.targets_in_radar_view) == (0, None, None)
    assert report.without_calibration == 'the sequence has no pictures'
    assert set(BagReader(tmp_path / 'bag').streams) == {'/radar/heatmap', '/radar/heatmap_info'}


@pytest.mark.parametrize('missing', [True, False])
def test_without_a_calibration_that_fits_all_targets_count_as_seen(sequence, tmp_path, missing):
    path = sequence.parents[2] / 'calib' / '2019_05_09' / 'cam_0.yaml'
    path.unlink() if missing else path.write_text(yaml.safe_dump(calibration(height=108)))
    report = import_cruw(sequence, tmp_path / 'bag')
    expected = 'cam_0.yaml is missing' if missing else 'is of pictures of 144 x 108, and those .* are 144 x 86'
    assert re.search(expected, report.without_calibration)
    bag = BagReader(tmp_path / 'bag')
    assert not {'/camera/camera_info', '/tf_static'} & set(bag.streams)
    assert all(target.in_camera_view for frame in bag.frames() for target in frame.truth)


def test_sequences_of_the_last_day_have_a_calibration_of_their_own(sequence, tmp_path):
    later = sequence.rename(sequence.with_name('2019_09_29_ONRD001'))
    assert 'calib/2019_09_29/cam_0.yaml is missing' in import_cruw(later, tmp_path / 'bag').without_calibration


def test_start_and_files_may_be_given(sequence, tmp_path):
    other = tmp_path / 'mine.txt'
    other.write_text('4 5.0 0.1 cyclist\n')
    report = import_cruw(sequence.rename(tmp_path / 'plain'), tmp_path / 'bag', annotations=other, start_ns=10**18)
    assert report.targets == 1
    assert BagReader(tmp_path / 'bag').stamps('/radar/heatmap')[1] == 10**18 + 33_333_333


def test_the_command_says_what_it_made_and_evaluate_judges_it_as_the_challenge_does(sequence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (sequence / 'RADAR_RA_H' / '000001_0128.npy').unlink()
    result = CliRunner().invoke(
        app, ['import', 'cruw', str(sequence), '--out', 'bag', '--start', '2019-04-09T10:00:00Z']
    )
    assert result.exit_code == 0, result.output
    assert 'bag: 4 radar frames, 4 images, 4 annotated targets, 2 of them where the challenge judges' in result.output
    assert 'left out, since they lack a chirp: 1 radar frames' in result.output
    assert BagReader(tmp_path / 'bag').stamps('/radar/heatmap')[0] == MIDNIGHT_NS + 36_000 * 10**9
    result = CliRunner().invoke(app, ['evaluate', 'bag', '--backend', 'peak', '--view', 'radar', '--ols'])
    assert result.exit_code == 0, result.output
    assert re.search(r'peak: average precision and recall over OLS \d', result.output)
    result = CliRunner().invoke(app, ['import', 'cruw', str(sequence), '--out', 'other', '--start', 'noon'])
    assert result.exit_code and '--start: expected seconds since 1970' in str(result.exception)


def test_frames_that_lack_a_chirp_are_left_out_and_counted(sequence, tmp_path):
    (sequence / 'RADAR_RA_H' / '000001_0128.npy').unlink()
    report = import_cruw(sequence, tmp_path / 'bag')
    assert (report.frames, report.incomplete_frames, report.images) == (4, 1, 4)


def spoil_array(values):
    def spoil(folder):
        np.save(folder / 'RADAR_RA_H' / '000003_0064.npy', values)

    return spoil


def annotate(line):
    def spoil(folder):
        (folder.parents[2] / 'annotations' / 'train' / f'{SEQUENCE}.txt').write_text(f'0 5.0 0.1 car\n{line}\n')

    return spoil


def truncate(name):
    def spoil(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:100])

    return spoil


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (
            spoil_array(np.zeros((128, 64, 2), np.float32)),
            '000003_0064.npy: expected 128 x 128 x 2 .*, got 128 x 64 x 2',
        ),
        (spoil_array(np.zeros((128, 128, 2), np.int16)), '000003_0064.npy: expected .* floats .* of int16'),
        (spoil_array(np.full((128, 128, 2), np.nan, np.float32)), '000003_0000.npy.*: expected finite numbers'),
        (truncate('RADAR_RA_H/000003_0064.npy'), '000003_0064.npy: expected an array'),
        (truncate('IMAGES_0/0000000000.jpg'), '0000000000.jpg: expected a JPEG picture'),
        (annotate('0 5.0 0.1 dog'), f'{SEQUENCE}.txt, line 2: expected .* pedestrian, cyclist, car, got .*dog'),
        (annotate('0 5.0 car'), f'{SEQUENCE}.txt, line 2: expected "frame range'),
        (annotate('0 nan 0.1 car'), 'line 2: expected'),
        (annotate('0 5.0 30 car'), 'line 2: expected'),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_left(sequence, tmp_path, spoil, message):
    spoil(sequence)
    with pytest.raises(CruwError, match=message):
        import_cruw(sequence, tmp_path / 'bag')
    assert not (tmp_path / 'bag').exists()


def test_a_folder_that_is_no_sequence_is_refused(sequence, tmp_path):
    with pytest.raises(CruwError, match='nowhere: expected the folder of a CRUW sequence'):
        import_cruw(tmp_path / 'nowhere', tmp_path / 'bag')
    with pytest.raises(CruwError, match=r'RADAR_RA_H: expected radar frames such as 000000_0000\.npy'):
        import_cruw(tmp_path, tmp_path / 'bag')
    with pytest.raises(CruwError, match='plain: expected a name that begins with its day'):
        import_cruw(sequence.rename(sequence.with_name('plain')), tmp_path / 'bag')


def test_a_calibration_or_annotations_that_are_given_must_be_there(sequence, tmp_path):
    with pytest.raises(CruwError, match='none.txt: expected the annotations'):
        import_cruw(sequence, tmp_path / 'bag', annotations=tmp_path / 'none.txt')
    with pytest.raises(CruwError, match=r'none\.yaml'):
        import_cruw(sequence, tmp_path / 'bag', calibration=tmp_path / 'none.yaml')


def test_a_bag_is_never_overwritten(sequence, tmp_path):
    import_cruw(sequence, tmp_path / 'bag')
    with pytest.raises(BagError, match='bag: .*exist'):
        import_cruw(sequence, tmp_path / 'bag')
