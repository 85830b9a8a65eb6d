# SPDX-License-Identifier: Apache-2.0
"""Inspection tells rates, gaps and pairs, and the contact sheet shows radar and camera."""

import json

import cv2
import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.inspection import draw_contact_sheet, inspect_bag
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagError, BagWriter
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

TYPES = RosbagsTypes()
MS = 1_000_000
START = 1_600_000_000_000 * MS
CAMERA = CameraModel(64, 48, np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]]))


def write_bag(path, with_camera=True):
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
                image = messages.heatmap_to_image(Heatmap(values, grid), stamp, 'radar', TYPES)
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
    }
    assert report['streams']['/camera/image_raw']['rate_hz'] == 20.0
    assert report['streams']['/tf_static'] == {
        'type': 'tf2_msgs/msg/TFMessage', 'count': 1, 'rate_hz': None, 'max_gap_s': None,
    }  # fmt: skip
    # the first two heatmaps lie before the first image
    assert (report['pairs'], report['unpaired']) == (8, 1)
    assert report['time_offset_s'] is None
    assert report['drift_ppm'] is None


def test_an_offset_of_the_camera_pairs_what_it_belongs_to(tmp_path):
    path = write_bag(tmp_path / 'x')
    assert inspect_bag(path, image_offset_s=-0.12, slop_s=0.001).pairs == 9
    assert inspect_bag(path, slop_s=0.001).pairs == 0


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
