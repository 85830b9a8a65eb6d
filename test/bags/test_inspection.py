# SPDX-License-Identifier: Apache-2.0
"""Inspection tells rates, gaps and pairs, and the contact sheet shows radar and camera."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.contact_sheet import draw_contact_sheet
from radio_visual_ssl.bags.inspection import inspect_bag
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.offline_pairing import pair_bags
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.time_offset import TimeOffset
from radio_visual_ssl.bags.timing_sheet import draw_timing
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

TYPES = RosbagsTypes()
MS, SECOND = 1_000_000, 1_000_000_000
START = 1_600_000_000_000 * MS
CAMERA = CameraModel(64, 48, np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]]))


def write_bag(path, with_camera=True, stamped=lambda stamp: stamp):
    """Heatmaps at 10 Hz with one missing, images at 20 Hz that lag by 120 ms, one target."""
    grid = PolarGrid(np.linspace(1, 30, 60), np.linspace(-0.8, 0.8, 50))
    with BagWriter(path) as bag:
        blank = Heatmap(np.zeros(grid.shape, np.float32), grid)
        bag.write('/radar/heatmap_info', START, messages.heatmap_to_info(blank, START, 'radar', TYPES))
        if with_camera:
            mounting = messages.transform_to_message(
                CAMERA.rotation.T, np.zeros(3), START, TYPES, parent='radar', child='optical'
            )
            bag.write('/tf_static', START, TYPES('tf2_msgs/msg/TFMessage')(transforms=[mounting]))
            bag.write('/camera/camera_info', START, messages.camera_to_info(CAMERA, START, 'optical', TYPES))
        for index in range(10):
            stamp = START + index * 100 * MS
            if index != 4:
                values = np.zeros(grid.shape, np.float32)
                values[20, 25] = 40
                image = messages.heatmap_to_image(Heatmap(values, grid), stamped(stamp), 'radar', TYPES)
                bag.write('/radar/heatmap', stamp, image)
                target = Target(11.0, 0.0, label='car', size=(4.0, 2.0, 1.5), heading=0.0, in_camera_view=True)
                bag.write('/ground_truth/targets', stamp, messages.targets_to_message([target], stamp, 'radar', TYPES))
            for late in (120, 170) if with_camera else ():
                picture = np.full((48, 64, 3), 200, np.uint8)
                bag.write(
                    '/camera/image_raw',
                    stamp + late * MS,
                    messages.image_to_message(picture, 'rgb8', stamp + late * MS, 'optical', TYPES),
                )
    return path


def test_streams_pairs_and_gaps_are_reported(tmp_path):
    report = inspect_bag(write_bag(tmp_path / 'x')).as_json()
    assert json.loads(json.dumps(report)) == report
    assert report['streams']['/radar/heatmap'] == {
        'type': 'sensor_msgs/msg/Image',
        'count': 9,
        'rate_hz': pytest.approx(8 / 0.9, abs=1e-3),
        'max_gap_s': 0.2,
        'jitter_ms': 0.0,
        'gaps': 1,
        'missing': 1,
        'backward': 0,
    }
    assert report['streams']['/camera/image_raw']['rate_hz'] == 20.0
    latched = report['streams']['/tf_static']
    assert (latched['count'], latched['rate_hz'], latched['max_gap_s'], latched['jitter_ms']) == (1, None, None, None)
    # the first two heatmaps lie before the first image
    assert (report['pairs'], report['unpaired'], report['unpaired_images']) == (8, 1, 12)
    # nothing moves: there is no offset to tell, and it says so
    assert report['time_offset_s'] is None
    assert report['time_offset_reason']
    assert report['drift_ppm'] is None
    assert report['drift_reason']
    assert report['proposal'] is None


def test_an_offset_of_the_camera_pairs_what_it_belongs_to(tmp_path):
    path = write_bag(tmp_path / 'x')
    assert inspect_bag(path, image_offset_s=-0.12, slop_s=0.001, estimate=False).pairs == 9
    assert inspect_bag(path, slop_s=0.001, estimate=False).pairs == 0


def test_a_paired_bag_is_inspected_with_its_own_offset(tmp_path):
    pair_bags([write_bag(tmp_path / 'x')], tmp_path / 'paired', slop_s=0.001, image_offset_s=-0.12)
    inspection = inspect_bag(tmp_path / 'paired', slop_s=0.001, estimate=False)
    assert (inspection.image_offset_s, inspection.pairs) == (-0.12, 9)
    assert inspect_bag(tmp_path / 'paired', slop_s=0.001, image_offset_s=0.0, estimate=False).pairs == 0


def test_a_bag_without_camera_has_no_pairs(tmp_path):
    inspection = inspect_bag(write_bag(tmp_path / 'x', with_camera=False))
    assert (inspection.image_topic, inspection.pairs, inspection.unpaired) == (None, 0, 9)


def test_a_bag_without_radar_is_still_inspected(tmp_path):
    with BagWriter(tmp_path / 'x') as bag:
        bag.write('/chatter', START, TYPES('std_msgs/msg/String')(data='hello'))
    inspection = inspect_bag(tmp_path / 'x')
    assert inspection.streams['/chatter'].count == 1
    assert (inspection.radar_topic, inspection.pairs, inspection.unpaired) == (None, 0, 0)
    with pytest.raises(BagError, match='expected topic /radar/heatmap, found /chatter'):
        draw_contact_sheet(tmp_path / 'x', tmp_path / 'x.png')


def test_an_image_is_in_one_pair_at_most(tmp_path):
    """Two radar frames near one image: the nearer one gets it."""
    grid = PolarGrid(np.linspace(1, 30, 60), np.linspace(-0.8, 0.8, 50))
    heatmap = Heatmap(np.zeros(grid.shape, np.float32), grid)
    with BagWriter(tmp_path / 'x') as bag:
        bag.write('/radar/heatmap_info', START, messages.heatmap_to_info(heatmap, START, 'radar', TYPES))
        for late in (0, 30):
            image = messages.heatmap_to_image(heatmap, START + late * MS, 'radar', TYPES)
            bag.write('/radar/heatmap', START + late * MS, image)
        picture = messages.image_to_message(np.zeros((4, 4, 3), np.uint8), 'rgb8', START + 20 * MS, 'optical', TYPES)
        bag.write('/camera/image_raw', START + 20 * MS, picture)
    inspection = inspect_bag(tmp_path / 'x', slop_s=0.05, estimate=False)
    assert (inspection.pairs, inspection.unpaired, inspection.unpaired_images) == (1, 1, 0)
    assert inspection.differences == pytest.approx([-0.01])


def test_an_estimate_is_proposed_unless_the_offset_in_use_agrees(tmp_path):
    inspection = inspect_bag(write_bag(tmp_path / 'x'), estimate=False)
    assert inspection.offset.reason == 'not looked for'
    found = TimeOffset(offset_s=0.45, interval_s=(0.4, 0.5), drift_reason='short', probability_of_chance=0.002)
    told = dataclasses.replace(inspection, offset=found)
    assert told.proposal() == '--camera-offset 0.450, or for the recorder image_offset_s: 0.450'
    assert told.as_json()['time_offset_interval_s'] == [0.4, 0.5]
    assert 'add +0.450 s to the camera' in told.offset_lines()[0]
    assert dataclasses.replace(told, image_offset_s=0.43).proposal() == ''


@pytest.mark.parametrize('estimated', [True, False])
def test_the_timing_is_drawn_with_and_without_an_estimate(tmp_path, estimated):
    inspection = inspect_bag(write_bag(tmp_path / 'x'), estimate=False)
    if estimated:
        lags = np.linspace(-2, 2, 101)
        found = TimeOffset(0.45, (0.4, 0.5), lags_s=lags, curve=np.exp(-(((lags - 0.45) / 0.2) ** 2)), chance=0.2)
        inspection = dataclasses.replace(inspection, offset=found)
    draw_timing(inspection, tmp_path / 'deep' / 'timing.png')
    picture = cv2.imread(str(tmp_path / 'deep' / 'timing.png'))
    assert picture.shape[0] > 600
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    ('stamped', 'said'),
    [
        (lambda stamp: 0, '9 are 0 or no time'),
        (lambda stamp: stamp - stamp % SECOND, '8 repeat the one before'),
        (lambda stamp: stamp - 400 * MS * (stamp >= START + 700 * MS), '1 are earlier than the one before'),
    ],
)
def test_stamps_that_do_not_rise_are_told(tmp_path, stamped, said):
    inspection = inspect_bag(write_bag(tmp_path / 'x', stamped=stamped), estimate=False)
    assert len(inspection.notes) == 1
    assert inspection.notes[0].startswith(f'topic /radar/heatmap: of 9 stamps {said}: ')
    assert '`radio-visual-ssl pair --stamps reception`' in inspection.notes[0]
    assert inspect_bag(write_bag(tmp_path / 'y'), estimate=False).notes == []


def test_messages_without_a_stamp_are_in_no_pair(tmp_path):
    inspection = inspect_bag(write_bag(tmp_path / 'x', stamped=lambda stamp: 0), estimate=False)
    assert (inspection.pairs, inspection.unpaired, inspection.unpaired_images) == (0, 9, 20)


def changed_bag(source, path, change):
    """A copy of a bag whose messages pass through a function of (topic, message), which returns None to drop them."""
    reader = BagReader(source)
    with BagWriter(path) as bag:
        for raw in reader.raw_messages():
            message = change(raw.topic, reader.decode(raw))
            if message is not None:
                bag.write(raw.topic, raw.time_ns, message)
    return path


@pytest.mark.parametrize(
    ('topic', 'changes', 'said'),
    [
        ('/radar/heatmap', {'data': np.zeros(7, np.uint8)}, 'topics /radar/heatmap, /radar/heatmap_info: '),
        ('/camera/camera_info', {'k': np.full(9, np.nan)}, 'no contact sheet: '),
        ('/radar/heatmap_info', None, 'expected /radar/heatmap_info beside /radar/heatmap'),
    ],
)
def test_faulty_data_cost_a_note_and_not_the_table(tmp_path, topic, changes, said):
    source = write_bag(tmp_path / 'x')

    def change(name, message):
        if name != topic:
            return message
        return None if changes is None else dataclasses.replace(message, **changes)

    changed_bag(source, tmp_path / 'bad', change)
    arguments = ['inspect', str(tmp_path / 'bad'), '--out', str(tmp_path / 'sheet.png'), '--json']
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report['streams']['/radar/heatmap']['count'] == 9
    assert any(said in note for note in report['notes'])
    assert '/camera/image_raw' in result.stderr
    assert all(note in ' '.join(result.stderr.split()) for note in report['notes'])


def test_of_several_radars_none_is_taken_and_a_note_says_how_to_choose(tmp_path):
    source, reader = write_bag(tmp_path / 'x'), BagReader(tmp_path / 'x')
    with BagWriter(tmp_path / 'two') as bag:
        for raw in reader.raw_messages():
            for side in ('left', 'right') if raw.topic.startswith('/radar/') else ('',):
                bag.write_serialized(raw.topic.replace('/radar', f'/radar_{side}'), raw.time_ns, raw.type, raw.data)
    inspection = inspect_bag(tmp_path / 'two')
    assert (inspection.radar_topic, inspection.unpaired_images) == (None, 20)
    assert '/radar_left/heatmap, /radar_right/heatmap; `radio-visual-ssl pair BAG --radar-topic' in inspection.notes[0]
    assert inspect_bag(source, estimate=False).notes == []


def test_the_contact_sheet_goes_on_past_an_image_that_cannot_be_decoded(tmp_path):
    path = write_bag(tmp_path / 'x')
    with BagWriter(tmp_path / 'torn') as torn:
        for message in BagReader(path).raw_messages():
            data = message.data
            if message.topic == '/camera/image_raw':
                # another encoding than any that is known, of the same length
                data = data.replace(b'rgb8', b'rgbX') if message.time_ns < START + 500 * MS else data
            torn.write_serialized(message.topic, message.time_ns, message.type, data)
    bad = []
    draw_contact_sheet(tmp_path / 'torn', tmp_path / 'x.png', count=2, on_bad_image=bad.append)
    assert 'rgbX' in str(bad[0])
    assert (tmp_path / 'x.png').is_file()


def test_a_topic_that_was_named_must_be_there(tmp_path):
    with pytest.raises(BagError, match='expected topic /other'):
        inspect_bag(write_bag(tmp_path / 'x'), image_topic='/other')


def test_both_passes_tell_how_far_they_are(tmp_path):
    path = write_bag(tmp_path / 'x')
    messages_read, frames_read = [], []
    report = inspect_bag(path, progress=lambda *step: messages_read.append(step))
    total = sum(stream.count for stream in report.streams.values())
    assert messages_read == [(done, total) for done in range(1, total + 1)]
    draw_contact_sheet(path, tmp_path / 'x.png', count=1, progress=lambda *step: frames_read.append(step))
    assert frames_read == [(done, 9) for done in range(1, 10)]


@pytest.mark.parametrize('with_camera', [True, False])
def test_the_contact_sheet_is_a_picture_with_the_truth_drawn(tmp_path, with_camera):
    out = tmp_path / 'deep' / 'sheet.png'
    draw_contact_sheet(write_bag(tmp_path / 'x', with_camera), out, count=2)
    sheet = cv2.imread(str(out))[:, :, ::-1].astype(int)
    assert sheet.shape[0] > 600
    truth_blue = np.abs(sheet - (0x35, 0xD0, 0xFF)).max(axis=2) < 12
    left, right = np.split(truth_blue, [int(sheet.shape[1] * 0.45)], axis=1)
    assert right.sum() > 50
    assert (left.sum() > 50) == with_camera
    assert [path.name for path in out.parent.iterdir()] == ['sheet.png']
