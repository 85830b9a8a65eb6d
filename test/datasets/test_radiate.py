# SPDX-License-Identifier: Apache-2.0
"""A RADIATE sequence becomes a bag: stamps exact, boxes on their returns, broken folders named."""

import json
import math
import shutil

import cv2
import numpy as np
import pytest

from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.datasets.radiate import (
    RadiateError,
    import_radiate,
    load_calibration,
    polar_grid,
    read_scan,
)


@pytest.fixture(scope='session')
def clip(shared_data):
    return shared_data / 'radiate_tiny_foggy'


@pytest.fixture(scope='session')
def imported(clip, tmp_path_factory):
    calls = []
    out = tmp_path_factory.mktemp('radiate') / 'clip.bag'
    report = import_radiate(clip, out, 0.45, progress=lambda done, total: calls.append((done, total)))
    return report, BagReader(out), calls


def stamps_of(path, count):
    lines = path.read_text().splitlines()[:count]
    return [int(line.split()[3].replace('.', '')) for line in lines]


def test_all_scans_and_images_of_the_clip_arrive(imported):
    report, bag, calls = imported
    assert (report.scans, report.images, report.targets) == (18, 50, 42)
    assert (report.missing_scans, report.missing_images) == (0, 50)
    assert calls == [(done, 68) for done in range(1, 69)]
    assert {topic: stream.count for topic, stream in bag.streams.items()} == {
        '/radar/heatmap': 18,
        '/radar/heatmap_info': 1,
        '/camera/image_raw': 50,
        '/camera/camera_info': 50,
        '/ground_truth/targets': 18,
        '/tf_static': 1,
    }
    latched = {topic for topic, stream in bag.streams.items() if stream.latched}
    assert latched == {'/radar/heatmap_info', '/camera/camera_info', '/tf_static'}


def test_stamps_equal_the_text_files_to_the_nanosecond(imported, clip):
    _, bag, _ = imported
    scans = stamps_of(clip / 'Navtech_Polar.txt', 18)
    assert bag.stamps('/radar/heatmap').tolist() == scans
    assert bag.stamps('/ground_truth/targets').tolist() == scans
    images = [stamp + 450_000_000 for stamp in stamps_of(clip / 'zed_left.txt', 50)]
    assert bag.stamps('/camera/image_raw').tolist() == images
    assert bag.stamps('/camera/camera_info').tolist() == images


def test_the_heatmap_holds_the_scan_at_the_right_places(imported, clip):
    _, bag, _ = imported
    frame = next(iter(bag.frames()))
    counts = cv2.imread(str(clip / 'Navtech_Polar' / '000001.png'), cv2.IMREAD_UNCHANGED)
    heatmap = frame.heatmap
    assert frame.frame_id == 'navtech'
    assert heatmap.grid.wraps
    # column 100 of the picture looks 90 degrees clockwise: to the right
    row, column = heatmap.grid.index(300 * 0.173611, -math.pi / 2 - np.deg2rad(0.45))
    assert heatmap.values[round(float(row)), round(float(column))] == counts[300, 100] / 2
    assert heatmap.values.max() == counts.max() / 2


def test_truth_lies_on_bright_returns(imported):
    _, bag, _ = imported
    bright = total = 0
    for frame in bag.frames(image_topic=None):
        grid = frame.heatmap.grid
        ranges, azimuths = np.meshgrid(grid.range, grid.azimuth, indexing='ij')
        x, y = ranges * np.cos(azimuths), ranges * np.sin(azimuths)
        for target in frame.truth:
            c, s = math.cos(target.heading), math.sin(target.heading)
            along, across = (x - target.x) * c + (y - target.y) * s, (y - target.y) * c - (x - target.x) * s
            inside = (np.abs(along) <= target.size[0] / 2) & (np.abs(across) <= target.size[1] / 2)
            row, column = np.unravel_index(
                np.where(inside, frame.heatmap.values, -np.inf).argmax(), frame.heatmap.values.shape
            )
            ring = frame.heatmap.values[row]
            bright += ring[column] > np.percentile(ring, 90)
            total += 1
    assert total == 42
    assert bright >= 0.9 * total


def test_oncoming_vehicles_face_the_radar_and_come_nearer(imported):
    _, bag, _ = imported
    frames = [frame.truth for frame in bag.frames(image_topic=None)]
    bus = [next(target for target in truth if target.track_id == 1) for truth in frames]
    assert bus[0].label == 'bus'
    assert abs(abs(bus[0].heading) - math.pi) < 0.1
    assert bus[0].size[0] == pytest.approx(12.8, abs=0.1)
    assert bus[0].size[1] == pytest.approx(4.6, abs=0.1)
    assert (bus[0].x, bus[0].y) == pytest.approx((67.6, -7.1), abs=0.1)
    assert np.all(np.diff([target.x for target in bus]) < 0)
    assert all(target.in_camera_view and target.in_radar_view for target in bus)


def test_what_is_behind_the_car_is_not_in_the_camera(imported):
    report, bag, _ = imported
    behind = [t for frame in bag.frames(image_topic=None) for t in frame.truth if t.x < 0]
    assert len(behind) == 2
    assert not any(target.in_camera_view for target in behind)
    assert all(target.in_radar_view for target in behind)
    assert report.targets_in_camera_view == 40


def test_what_the_camera_sees_is_what_falls_on_its_image(imported):
    _, bag, _ = imported
    camera = bag.camera(radar_frame='navtech')
    truth = [target for frame in bag.frames(image_topic=None) for target in frame.truth]
    centres = [(target.x, target.y, target.z + target.size[2] / 2) for target in truth]
    assert [target.in_camera_view for target in truth] == camera.in_view(centres).tolist()
    # the lens is wider than 2 x 44 degrees
    assert max(abs(math.degrees(target.azimuth)) for target in truth if target.in_camera_view) > 44


def test_the_camera_sees_the_headlights_of_the_bus_where_it_is_projected(imported):
    _, bag, _ = imported
    camera = bag.camera(radar_frame='navtech')
    frame = list(bag.frames())[-1]
    bus = next(target for target in frame.truth if target.track_id == 1)
    front = bus.x + bus.size[0] / 2 * math.cos(bus.heading), bus.y + bus.size[0] / 2 * math.sin(bus.heading)
    pixels, _ = camera.project([[*front, -1.0]])
    # read off the last image: the headlights are at columns 388 and 421, row 213
    assert pixels[0] == pytest.approx((404.5, 213), abs=6)


def test_without_an_offset_the_camera_keeps_its_stamps(clip, tmp_path):
    import_radiate(clip, tmp_path / 'x', compress=True)
    assert BagReader(tmp_path / 'x').stamps('/camera/image_raw').tolist() == stamps_of(clip / 'zed_left.txt', 50)


# A small sequence made here, to break it

CALIBRATION = """
left_cam_calib: {T: [0.3, -0.1, 0.2], R: [0, 0, 0], fx: 6, fy: 6, cx: 4, cy: 3,
                 k1: 0, k2: 0, k3: 0, p1: 0, p2: 0, res: [8, 6]}
right_cam_calib: {T: [0.4, -0.1, 0.2], R: [0, 0, 0], fx: 6, fy: 6, cx: 4, cy: 3,
                  k1: 0, k2: 0, k3: 0, p1: 0, p2: 0, res: [8, 6]}
stereo_calib: {TX: -120, TY: 0, TZ: 0, R: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
"""


@pytest.fixture
def sequence(tmp_path):
    """Two scans with pictures and a third without, one image, one car 10 m ahead in the first scan."""
    folder = tmp_path / 'sequence'
    for name, count, shape in (('Navtech_Polar', 2, (576, 400)), ('zed_left', 1, (6, 8, 3))):
        (folder / name).mkdir(parents=True)
        for frame in range(1, count + 1):
            cv2.imwrite(str(folder / name / f'{frame:06d}.png'), np.full(shape, frame, np.uint8))
    (folder / 'Navtech_Polar.txt').write_text(
        'Frame: 000001 Time: 100.000000001\nFrame: 000002 Time: 100.25\nFrame: 000003 Time: 100.500000000\n'
    )
    (folder / 'zed_left.txt').write_text('Frame: 000001 Time: 100.100000000\n')
    (folder / 'default-calib.yaml').write_text(CALIBRATION)
    ahead = 576 - 10 / 0.173611
    box = {'position': [576 - 5, ahead - 10, 10, 20], 'rotation': 90}
    (folder / 'annotations').mkdir()
    (folder / 'annotations' / 'annotations.json').write_text(
        json.dumps([{'id': 4, 'class_name': 'van', 'bboxes': [box, [], []]}])
    )
    return folder


def test_a_scan_without_picture_is_counted_and_one_without_boxes_is_empty(sequence, tmp_path):
    report = import_radiate(sequence, tmp_path / 'x')
    assert (report.scans, report.missing_scans, report.images, report.targets) == (2, 1, 1, 1)
    first, second = BagReader(tmp_path / 'x').frames(slop_s=0.2)
    assert second.truth == []
    (van,) = first.truth
    assert (van.x, van.y) == pytest.approx((10.0, 0.0), abs=1e-6)
    assert (van.label, van.track_id, van.in_camera_view) == ('van', 4, True)
    assert van.heading == pytest.approx(math.pi / 2)
    assert van.size == pytest.approx((20 * 0.173611, 10 * 0.173611, 2.0))
    assert van.z == -1.7
    # a fraction without its leading zeros counts nanoseconds
    assert (first.stamp_ns, second.stamp_ns) == (100_000_000_001, 100_000_000_025)


def test_a_box_turns_anticlockwise_seen_from_above(sequence, tmp_path):
    path = sequence / 'annotations' / 'annotations.json'
    path.write_text(path.read_text().replace('"rotation": 90', '"rotation": 30'))
    import_radiate(sequence, tmp_path / 'x')
    frame = next(iter(BagReader(tmp_path / 'x').frames()))
    assert frame.truth[0].heading == pytest.approx(math.radians(30))


def test_the_polar_grid_goes_all_around_without_a_gap():
    grid = polar_grid()
    assert grid.shape == (576, 400)
    assert np.allclose(np.diff(grid.azimuth), np.deg2rad(0.9))
    assert grid.azimuth[0] + 2 * np.pi - grid.azimuth[-1] == pytest.approx(np.deg2rad(0.9))


def test_columns_run_clockwise_in_the_picture_and_anticlockwise_in_the_heatmap(tmp_path):
    counts = np.zeros((576, 400), np.uint8)
    counts[:, 0], counts[:, 99], counts[:, 300] = 10, 20, 30  # ahead, right, left
    cv2.imwrite(str(tmp_path / 'x.png'), counts)
    ring = read_scan(tmp_path / 'x.png')[5]
    azimuth = np.rad2deg(polar_grid().azimuth)
    assert azimuth[ring == 5] == pytest.approx(-0.45)
    assert azimuth[ring == 10] == pytest.approx(-89.55)
    assert azimuth[ring == 15] == pytest.approx(89.55)


def test_the_calibration_places_the_camera(sequence):
    camera = load_calibration(sequence / 'default-calib.yaml')
    # the camera stands 0.3 m to the right of the radar, 0.1 m above and 0.2 m ahead
    pixels, depth = camera.project([[10.2, -0.3, 0.1]])
    assert pixels[0] == pytest.approx((4, 3))
    assert depth[0] == pytest.approx(10)


@pytest.mark.parametrize(
    ('missing', 'named'),
    [
        ('Navtech_Polar.txt', 'Navtech_Polar.txt: expected the list of stamps, found none'),
        ('zed_left.txt', 'zed_left.txt: expected the list of stamps, found none'),
        ('Navtech_Polar', 'Navtech_Polar: expected a folder of PNG pictures, found none'),
        ('zed_left', 'zed_left: expected a folder of PNG pictures, found none'),
        ('annotations', 'annotations.json: expected the annotated boxes, found none'),
        ('default-calib.yaml', 'default-calib.yaml: expected the calibration file'),
        ('', 'sequence: expected the folder of a RADIATE sequence, found none'),
    ],
)
def test_what_is_missing_is_named(sequence, tmp_path, missing, named):
    path = sequence / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(RadiateError, match=named):
        import_radiate(sequence, tmp_path / 'x')
    assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
    ('file', 'text', 'named'),
    [
        ('zed_left.txt', 'Frame: one', r'zed_left.txt, line 1: expected "Frame: <number> Time: <s>.<ns>", got'),
        ('zed_left.txt', '\n', 'zed_left.txt: expected at least one line'),
        (
            'zed_left.txt',
            'Frame: 000009 Time: 1.0',
            'zed_left: expected pictures such as 000009.png, found none that is listed',
        ),
        ('annotations/annotations.json', '[', 'annotations.json: expected JSON'),
        (
            'annotations/annotations.json',
            '[{"id": 1}]',
            'annotations.json: expected a list of id, class_name and bboxes',
        ),
        (
            'annotations/annotations.json',
            '[{"id": 1, "class_name": "car", "bboxes": [[]]}]',
            'object 1: expected an entry for scan 2, got bboxes for scans 1 to 1',
        ),
        (
            'default-calib.yaml',
            'left_cam_calib: {T: [0, 0, 0]}',
            'default-calib.yaml: expected the field res, found none',
        ),
        ('default-calib.yaml', 'a: [', 'default-calib.yaml: expected the calibration of a stereo camera'),
        (
            'default-calib.yaml',
            CALIBRATION.replace('fx: 6', 'fx: wide'),
            'default-calib.yaml: expected the calibration',
        ),
        ('default-calib.yaml', CALIBRATION.replace('fx: 6', 'fx: -6'), 'default-calib.yaml: expected the calibration'),
    ],
)
def test_a_broken_file_is_named(sequence, tmp_path, file, text, named):
    (sequence / file).write_text(text)
    with pytest.raises(RadiateError, match=named):
        import_radiate(sequence, tmp_path / 'x')


def test_a_picture_of_another_size_is_named_and_leaves_no_bag(sequence, tmp_path):
    cv2.imwrite(str(sequence / 'Navtech_Polar' / '000002.png'), np.zeros((10, 10), np.uint8))
    with pytest.raises(RadiateError, match=r'000002.png: expected 8 bit values of 576 x 400 .*got 10 x 10 of uint8'):
        import_radiate(sequence, tmp_path / 'x')
    assert [path.name for path in tmp_path.iterdir()] == ['sequence']


def test_a_file_that_is_no_picture_is_named(sequence, tmp_path):
    (sequence / 'zed_left' / '000001.png').write_text('not a picture')
    with pytest.raises(RadiateError, match=r'zed_left/000001.png: expected a PNG picture of 6 x 8 x 3'):
        import_radiate(sequence, tmp_path / 'x')


def test_an_existing_bag_stays(sequence, tmp_path):
    import_radiate(sequence, tmp_path / 'x')
    with pytest.raises(BagError, match='/x: exists already'):
        import_radiate(sequence, tmp_path / 'x')
