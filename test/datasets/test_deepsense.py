# SPDX-License-Identifier: Apache-2.0
"""A DeepSense 6G scenario becomes a bag: echoes and GPS on the right side, pictures untouched, broken files named.

The scenarios are written here as the data set is described: no file of its own has been at hand.
"""

import json
import math
import shutil

import cv2
import numpy as np
import pytest
from point_echo import echo
from scipy.io import savemat
from typer.testing import CliRunner

from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.cli import app
from radio_visual_ssl.datasets.deepsense import DeepSenseError, east_north, import_deepsense, read_cube
from radio_visual_ssl.radar.profile import ProfileError, load_profile

STATION = (33.42031, -111.92911)
PLACE = (33.42004, -111.92888)  # about 37 m away, south-east
ECHO = (0.24, 0.3, 2.0)  # share of the unambiguous range, azimuth (left), m/s
DAY = 86_400_000_000_000
PICTURE = cv2.imencode('.jpg', np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))[1].tobytes()


def samples_of(profile, azimuth=ECHO[1]):
    """(receiver, sample, chirp) as in a radar file."""
    distance = ECHO[0] * profile.waveform.max_range
    return echo(profile, (distance, azimuth, ECHO[2]), noise=0.1).transpose(1, 2, 0)


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_rows(folder, name, columns, rows):
    """An index; each row begins with its number."""
    lines = [','.join(columns), *(','.join(map(str, (number, *row))) for number, row in enumerate(rows, start=1))]
    write(folder, name, '\n'.join(lines) + '\n')


@pytest.fixture(scope='session')
def frames_31():
    """A frame with an echo on the left, and one with it on the right."""
    profile = load_profile('deepsense_scenarios_31_to_34')
    return [samples_of(profile), samples_of(profile, -ECHO[1])]


@pytest.fixture
def scenario(tmp_path, frames_31):
    """Scenario 31: two rows with all files, and one whose radar file and picture are absent."""
    folder = tmp_path / 'scenario31'
    columns = ('index', 'unit1_rgb', 'unit1_pwr_60ghz', 'unit1_radar', 'unit1_loc', 'unit2_loc', 'unit1_beam',
               'time_stamp', 'seq_index')  # fmt: skip
    write_rows(folder, 'scenario31_dev.csv', columns, [
        (f'./unit1/camera_data/image_{i}.jpg', f'./unit1/mmWave_data/mmWave_power_{i}.txt',
         f'./unit1/radar_data/radar_data_{i}.npy', './unit1/GPS_data/gps_location.txt',
         f'./unit2/GPS_data/GPS_location_{i}.txt', 7, stamp, sequence)
        for i, stamp, sequence in ((1, '16:45:05-799123', 2), (2, '16:45:05-900000', 2), (3, '16:45:06-000000', 3))
    ])  # fmt: skip
    write(folder, 'unit1/GPS_data/gps_location.txt', f'{STATION[0]}\n{STATION[1]}\n')
    for number, samples in enumerate(frames_31, start=1):
        write(folder, f'unit2/GPS_data/GPS_location_{number}.txt', f'{PLACE[0]}\n{PLACE[1]}\n')
        (folder / 'unit1/radar_data').mkdir(exist_ok=True)
        np.save(folder / f'unit1/radar_data/radar_data_{number}.npy', samples)
        (folder / 'unit1/camera_data').mkdir(exist_ok=True)
        (folder / f'unit1/camera_data/image_{number}.jpg').write_bytes(PICTURE)
    return folder


def first_stamp(microseconds=799_123):
    return ((16 * 60 + 45) * 60 + 5) * 10**9 + microseconds * 1000


def test_rows_become_cubes_pictures_and_truth_at_their_times(scenario, tmp_path):
    calls = []
    report = import_deepsense(
        scenario, tmp_path / 'x', bearing=135, progress=lambda done, total: calls.append((done, total))
    )
    assert (report.radar, report.frames, report.images, report.targets) == ('deepsense_scenarios_31_to_34', 2, 2, 2)
    assert (report.missing_frames, report.missing_images, report.missing_positions) == (1, 1, 0)
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    bag = BagReader(tmp_path / 'x')
    assert {topic: stream.count for topic, stream in bag.streams.items()} == {
        '/radar/cube': 2,
        '/radar/info': 1,
        '/camera/image_raw/compressed': 2,
        '/ground_truth/targets': 2,
    }
    assert [topic for topic, stream in bag.streams.items() if stream.latched] == ['/radar/info']
    for topic in ('/radar/cube', '/camera/image_raw/compressed', '/ground_truth/targets'):
        assert bag.stamps(topic).tolist() == [first_stamp(), first_stamp(900_000)]


def test_pictures_stay_as_they_are_to_the_byte(scenario, tmp_path):
    import_deepsense(scenario, tmp_path / 'x')
    for _, message in BagReader(tmp_path / 'x').messages('/camera/image_raw/compressed'):
        assert message.data.tobytes() == PICTURE
    frame = next(iter(BagReader(tmp_path / 'x').frames()))
    np.testing.assert_array_equal(frame.image, cv2.imdecode(np.frombuffer(PICTURE, np.uint8), 1)[:, :, ::-1])


def test_the_echo_is_where_it_came_from(scenario, tmp_path):
    import_deepsense(scenario, tmp_path / 'x')
    profile = load_profile('deepsense_scenarios_31_to_34')
    for frame, azimuth in zip(BagReader(tmp_path / 'x').frames(), (ECHO[1], -ECHO[1]), strict=True):
        heatmap = frame.heatmap
        row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
        true_row, true_column = heatmap.grid.index(ECHO[0] * profile.waveform.max_range, azimuth)
        assert abs(row - true_row) <= 0.5
        assert abs(column - true_column) <= 0.5
        assert heatmap.velocity[row, column] == pytest.approx(ECHO[2], abs=profile.velocity_resolution / 2)


def test_what_is_on_the_left_reaches_the_first_receiver_last(scenario):
    """Beat phases grow with the delay: on the left, they fall from the first receiver (the rightmost) to the last."""
    for number, sign in ((1, -1), (2, 1)):
        raw = np.load(scenario / f'unit1/radar_data/radar_data_{number}.npy')
        steps = np.angle(np.sum(raw[1:] * raw[:-1].conj(), axis=(1, 2)))
        assert steps == pytest.approx(sign * np.pi * np.sin(ECHO[1]), abs=0.05)


def geocentric(latitude, longitude):
    """(3,) m of a place on the WGS 84 ellipsoid, about the centre of the earth."""
    flattening = 1 / 298.257223563
    square = flattening * (2 - flattening)
    lat, lon = np.deg2rad(latitude), np.deg2rad(longitude)
    radius = 6378137.0 / np.sqrt(1 - square * np.sin(lat) ** 2)
    return radius * np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), (1 - square) * np.sin(lat)])


@pytest.mark.parametrize('place', [PLACE, (33.4185, -111.9301), (33.4220, -111.9270)])
def test_metres_east_and_north_are_those_of_the_ellipsoid(place):
    lat, lon = np.deg2rad(STATION)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    away = geocentric(*place) - geocentric(*STATION)
    assert east_north(STATION, place) == pytest.approx((away @ east, away @ north), abs=0.01)


@pytest.mark.parametrize('bearing', [0, 90, 135, -135, 260])
def test_the_target_is_seen_at_its_bearing_less_the_radars(scenario, tmp_path, bearing):
    import_deepsense(scenario, tmp_path / 'x', bearing=bearing)
    east, north = east_north(STATION, PLACE)
    frame = next(iter(BagReader(tmp_path / 'x').frames()))
    (target,) = frame.truth
    # a bearing further clockwise is further to the right, and azimuth is positive to the left
    azimuth = math.radians(bearing) - math.atan2(east, north)
    assert math.hypot(target.x, target.y) == pytest.approx(math.hypot(east, north))
    assert math.remainder(math.atan2(target.y, target.x) - azimuth, math.tau) == pytest.approx(0, abs=1e-9)
    assert target.in_radar_view == (math.cos(azimuth) > 0)
    assert (target.z, target.size, target.track_id, target.in_camera_view) == (0.0, (0.0, 0.0, 0.0), 2, False)


def test_south_is_to_the_right_of_a_radar_that_looks_east(scenario, tmp_path):
    import_deepsense(scenario, tmp_path / 'x', bearing=90)
    (target,) = next(iter(BagReader(tmp_path / 'x').frames())).truth
    # a minute of latitude is a nautical mile, one of longitude less by the cosine
    assert target.x == pytest.approx(0.00023 * 60 * 1852 * math.cos(math.radians(33.42)), rel=0.01)
    assert target.y == pytest.approx(-0.00027 * 60 * 1852, rel=0.01)


def test_without_a_bearing_there_is_no_truth(scenario, tmp_path):
    report = import_deepsense(scenario, tmp_path / 'x')
    assert (report.targets, report.missing_positions, report.bearing) == (0, 0, None)
    assert '/ground_truth/targets' not in BagReader(tmp_path / 'x').streams


@pytest.mark.parametrize('text', [None, 'nan\nnan\n'])
def test_a_frame_without_position_has_no_truth_rather_than_none_there(scenario, tmp_path, text):
    path = scenario / 'unit2/GPS_data/GPS_location_1.txt'
    path.unlink() if text is None else path.write_text(text)
    report = import_deepsense(scenario, tmp_path / 'x', bearing=135)
    assert (report.targets, report.missing_positions) == (1, 1)
    first, second = BagReader(tmp_path / 'x').frames()
    assert first.truth is None
    assert len(second.truth) == 1


def test_sequences_are_imported_alone_and_the_camera_is_shifted(scenario, tmp_path):
    index = scenario / 'scenario31_dev.csv'
    index.write_text(index.read_text().replace('799123,2', '799123,1'))
    report = import_deepsense(index, tmp_path / 'x', sequences=[1], camera_offset=-0.25)
    assert (report.frames, report.images, report.missing_frames) == (1, 1, 0)
    bag = BagReader(tmp_path / 'x')
    assert bag.stamps('/radar/cube').tolist() == [first_stamp()]
    assert bag.stamps('/camera/image_raw/compressed').tolist() == [first_stamp() - 250_000_000]


def test_rows_of_the_same_time_stay_two_frames(scenario, tmp_path):
    index = scenario / 'scenario31_dev.csv'
    index.write_text(index.read_text().replace('16:45:05-900000', '16:45:05-799123'))
    report = import_deepsense(scenario, tmp_path / 'x', bearing=135)
    assert (report.frames, report.images, report.targets) == (2, 2, 2)
    frames = list(BagReader(tmp_path / 'x').frames())
    assert [frame.stamp_ns for frame in frames] == [first_stamp(), first_stamp()]
    assert [len(frame.truth) for frame in frames] == [1, 1]


def test_midnight_is_followed_by_the_next_day(scenario, tmp_path):
    index = scenario / 'scenario31_dev.csv'
    text = index.read_text().replace('16:45:05-799123', '23:59:59-950000').replace('16:45:05-900000', '00:00:00-40000')
    index.write_text(text)
    import_deepsense(scenario, tmp_path / 'x')
    assert BagReader(tmp_path / 'x').stamps('/radar/cube').tolist() == [DAY - 50_000_000, DAY + 40_000_000]


def test_scenario_9_with_matlab_files_and_calibrated_positions(tmp_path):
    folder = tmp_path / 'anywhere'
    # the unnamed column is there in the data set's own index
    columns = ('index', 'unit1_rgb', 'unit1_loc', 'unit1_radar', 'unit2_loc', 'unit2_loc_cal', '', 'seq_index',
               'time_stamp[UTC]')  # fmt: skip
    row = ('./unit1/image.jpg', './unit1/gps.txt', './unit1/data_4589_23_45_05.mat', './unit2/raw.txt',
           './unit2/calibrated.txt', '', 1, "['16-45-05-799']")  # fmt: skip
    write_rows(folder, 'scenario9.csv', columns, [row])
    write(folder, 'unit1/gps.txt', f'{STATION[0]} {STATION[1]}')
    write(folder, 'unit2/raw.txt', 'not read')
    write(folder, 'unit2/calibrated.txt', f'{PLACE[0]}\n{PLACE[1]}\n')
    (folder / 'unit1/image.jpg').write_bytes(PICTURE)
    profile = load_profile('deepsense_scenario_9')
    samples = samples_of(profile)
    savemat(folder / 'unit1/data_4589_23_45_05.mat', {'data': samples.astype(np.complex128)})
    report = import_deepsense(folder, tmp_path / 'x', bearing=135, compress=True)
    assert (report.radar, report.frames, report.targets) == ('deepsense_scenario_9', 1, 1)
    frame = next(iter(BagReader(tmp_path / 'x').frames()))
    assert frame.stamp_ns == first_stamp(799_000)
    row, column = np.unravel_index(np.argmax(frame.heatmap.values), frame.heatmap.values.shape)
    true_row, true_column = frame.heatmap.grid.index(ECHO[0] * profile.waveform.max_range, ECHO[1])
    assert (abs(row - true_row) <= 0.5, abs(column - true_column) <= 0.5) == (True, True)
    cube = read_cube(folder / 'unit1/data_4589_23_45_05.mat', profile)
    np.testing.assert_array_equal(cube.data, samples.transpose(2, 0, 1))


def test_another_scenario_needs_a_profile(scenario, tmp_path):
    index = (scenario / 'scenario31_dev.csv').rename(scenario / 'scenario30.csv')
    with pytest.raises(
        DeepSenseError, match=r'radar: expected a profile, for that of scenarios 9, 31, .*got scenario 30'
    ):
        import_deepsense(index, tmp_path / 'x')
    report = import_deepsense(index, tmp_path / 'x', radar='deepsense_scenarios_31_to_34')
    assert report.frames == 2


def test_a_cube_of_another_radar_is_told_with_its_file(scenario, tmp_path):
    with pytest.raises(DeepSenseError, match=r'radar_data_1.npy: cube axis CHIRP: expected 128 elements .*got 250'):
        import_deepsense(scenario, tmp_path / 'x', radar='deepsense_scenario_9')
    assert [path.name for path in tmp_path.iterdir()] == ['scenario31']


def edit(file, old, new):
    def change(folder):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return change


def save(file, array):
    return lambda folder: np.save(folder / file, array)


def put(file, data):
    return lambda folder: (folder / file).write_bytes(data)


INDEX, RADAR = 'scenario31_dev.csv', 'unit1/radar_data/radar_data_2.npy'


@pytest.mark.parametrize(
    ('breaks', 'named'),
    [
        (shutil.rmtree, 'scenario31: expected the folder of a DeepSense 6G scenario'),
        (lambda folder: (folder / INDEX).unlink(), 'with one CSV, or a CSV; got none'),
        (put('other.csv', b'index\n'), r'or a CSV; got other.csv, scenario31_dev.csv'),
        (put(INDEX, b''), 'scenario31_dev.csv: expected a column unit1_radar, got none'),
        (edit(INDEX, 'unit1_radar,', 'radar,'), 'expected a column unit1_radar, got index, unit1_rgb, '),
        (edit(INDEX, 'unit1_rgb,', 'rgb,'), 'expected a column unit1_rgb, got'),
        (edit(INDEX, 'unit1_radar,', 'unit1_radar_1,'), 'expected the CSV of a whole scenario, got one of a task'),
        (edit(INDEX, 'time_stamp', 'when'), r'expected a column time_stamp or time_stamp\[UTC\], got index'),
        (edit(INDEX, 'unit1_loc,', 'here,'), 'expected a column unit1_loc or unit1_gps, got'),
        (edit(INDEX, 'unit2_loc,', 'there,'), 'expected a column unit2_loc_cal or unit2_loc or unit2_gps, got'),
        (edit(INDEX, '16:45:05-9', '16:45:60-9'), r"csv, line 3: expected a time such as .*got '16:45:60-900000'"),
        (edit(INDEX, '16:45:06-000000', 'noon'), r"csv, line 4: expected a time such as .*got 'noon'"),
        (edit(INDEX, ',16:45:06-000000,3', ''), r'csv, line 4: expected a time such as .*got None'),
        (edit(INDEX, '/radar_data/', '/elsewhere/'), 'expected files in column unit1_radar that are there, found none'),
        (edit(INDEX, '/camera_data/', '/elsewhere/'), 'expected files in column unit1_rgb that are there, found none'),
        (put(RADAR, b'no array'), r'radar_data_2.npy: expected a radar frame, .npy or MATLAB'),
        (save(RADAR, np.zeros((4, 250), np.complex64)), r'radar_data_2.npy: cube axes: expected 2 different ones'),
        (save(RADAR, np.zeros((4, 512, 250), np.complex64)), r'axis SAMPLE: expected 256 elements .*got 512'),
        (save(RADAR, np.zeros((4, 256, 250), np.float32)), r'dtype: expected complex samples .*got real ones'),
        (save(RADAR, np.full((4, 256, 250), np.nan, np.complex64)), r'radar_data_2.npy: cube: expected finite samples'),
        (put('unit1/camera_data/image_2.jpg', b'no picture'), r'image_2.jpg: expected a JPEG picture, got 10 bytes'),
        (put('unit1/camera_data/image_2.jpg', b''), r'image_2.jpg: expected a JPEG picture, got 0 bytes'),
        (put('unit1/camera_data/image_2.jpg', PICTURE[:100]), r'image_2.jpg: expected a JPEG picture, got 100 bytes'),
        (put('unit1/GPS_data/gps_location.txt', b'-111.9 33.4'), r"gps_location.txt: expected .*got '-111.9 33.4'"),
        (put('unit2/GPS_data/GPS_location_2.txt', b'33.4'), r"GPS_location_2.txt: expected latitude and .*got '33.4'"),
        (put('unit2/GPS_data/GPS_location_2.txt', b'north west'), r"GPS_location_2.txt: .*got 'north west'"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named_and_leaves_no_bag(scenario, tmp_path, breaks, named):
    breaks(scenario)
    with pytest.raises(DeepSenseError, match=named):
        import_deepsense(scenario, tmp_path / 'x', bearing=0)
    assert [path.name for path in tmp_path.iterdir() if path != scenario] == []


def test_a_matlab_file_without_data_is_named(tmp_path):
    savemat(tmp_path / 'x.mat', {'other': np.zeros(3)})
    with pytest.raises(DeepSenseError, match="x.mat: expected the variable 'data', found none"):
        read_cube(tmp_path / 'x.mat', load_profile('deepsense_scenario_9'))


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'bearing': math.nan}, 'bearing: expected degrees clockwise from north, from -360 to 360, got nan'),
        ({'bearing': 361}, 'bearing: expected degrees'),
        ({'camera_offset': math.nan}, 'camera_offset: expected 1e9 s at most'),
        ({'camera_offset': -70_000}, 'expected stamps after midnight with the camera offset, got -'),
        ({'sequences': [2, 9]}, 'csv: expected rows of seq_index 9, got those of 2, 3'),
    ],
)
def test_options_beyond_reason_are_named(scenario, tmp_path, options, named):
    with pytest.raises(ValueError, match=named):
        import_deepsense(scenario, tmp_path / 'x', **options)
    with pytest.raises(ProfileError, match='nonsense: expected a YAML file or a name'):
        import_deepsense(scenario, tmp_path / 'x', radar='nonsense')
    assert not (tmp_path / 'x').exists()


def test_an_existing_bag_stays(scenario, tmp_path):
    import_deepsense(scenario, tmp_path / 'x')
    with pytest.raises(BagError, match='/x: exists already'):
        import_deepsense(scenario, tmp_path / 'x')


def run(*arguments):
    return CliRunner().invoke(app, ['import', 'deepsense', *map(str, arguments)])


def test_the_command_says_what_is_missing(scenario, tmp_path):
    result = run(scenario, '--out', tmp_path / 'x', '--sequence', 2)
    assert result.exit_code == 0, result.output
    assert 'no ground truth: --bearing must tell where the radar looks' in ' '.join(result.output.split())
    result = run(scenario, '--out', tmp_path / 'y', '--bearing', 135, '--json')
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told['frames'], told['targets'], told['missing_frames'], told['bearing']) == (2, 2, 1, 135)
    refused = run(scenario, '--out', tmp_path / 'z', '--bearing', 400)
    assert refused.exit_code != 0
    assert '--bearing: expected degrees clockwise from north' in str(refused.output) + str(refused.exception)
