# SPDX-License-Identifier: Apache-2.0
"""rclpy and rosbags read each other's messages and agree on their type hashes."""

import array
import json
from pathlib import Path

import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore
from radio_visual_ssl.radar.cube import Axis, RadarCube
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.profile import OfdmWaveform, RadarProfile
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

STAMP = 1_574_859_771_744_660_272
HEATMAP = Heatmap(np.arange(6, dtype=np.float32).reshape(2, 3), PolarGrid([1.0, 2.0], [-0.5, 0.0, 0.5]))
PROFILE = RadarProfile(
    'x', OfdmWaveform(28e9, 240e3, 1e-5, 14, 64), np.zeros((1, 3)), np.eye(3), calibration=[1, 1j, 2]
)
TARGETS = [Target(1.0, 2.0, label='car', track_id=3, size=(4.0, 2.0, 1.5), heading=0.5), Target(3.0, -1.0)]
ENCODERS = {
    'Image': lambda types: messages.heatmap_to_image(HEATMAP, STAMP, 'radar', types),
    'HeatmapInfo': lambda types: messages.heatmap_to_info(HEATMAP, STAMP, 'radar', types),
    'RadarInfo': lambda types: messages.profile_to_info(PROFILE, STAMP, 'radar', types),
    'RadarCube': lambda types: messages.cube_to_message(
        RadarCube(np.ones((2, 3), np.complex64), (Axis.SYMBOL, Axis.SUBCARRIER)), STAMP, 'radar', types
    ),
    'TargetArray': lambda types: messages.targets_to_message(TARGETS, STAMP, 'radar', types),
    'Detection3DArray': lambda types: messages.targets_to_detections3d(TARGETS, STAMP, 'radar', types),
    'PointCloud2': lambda types: messages.targets_to_points(TARGETS, STAMP, 'radar', types),
    'CameraInfo': lambda types: messages.camera_to_info(CameraModel(4, 3, np.eye(3)), STAMP, 'camera', types),
}


@pytest.mark.parametrize('name', ENCODERS)
def test_bytes_of_one_factory_are_read_by_the_other(rclpy_wire, name):
    from rclpy.serialization import deserialize_message, serialize_message

    ours, theirs = ENCODERS[name](RosbagsTypes()), ENCODERS[name](rclpy_wire.types)
    # alignment gaps hold anything in rclpy's bytes: compare after a round trip
    sent = serialize_message(theirs)
    assert serialize(typestore().deserialize_cdr(sent, ours.__msgtype__)) == serialize(ours)
    kind = type(theirs)
    assert repr(deserialize_message(serialize(ours), kind)) == repr(deserialize_message(sent, kind))


def test_large_fields_are_handed_to_rclpy_as_arrays(rclpy_wire):
    assert isinstance(ENCODERS['Image'](rclpy_wire.types).data, array.array)
    info = ENCODERS['HeatmapInfo'](rclpy_wire.types)
    assert info.range == array.array('f', [1.0, 2.0])


@pytest.mark.parametrize(
    'name',
    [
        'radio_visual_ssl/msg/RadarCube',
        'radio_visual_ssl/msg/RadarInfo',
        'radio_visual_ssl/msg/HeatmapInfo',
        'radio_visual_ssl/msg/TargetArray',
        'vision_msgs/msg/Detection3DArray',
    ],
)
def test_type_hashes_are_those_of_the_built_messages(rclpy_wire, name):
    from ament_index_python.packages import get_package_share_directory

    package, _, message = name.split('/')
    description = json.loads((Path(get_package_share_directory(package)) / 'msg' / f'{message}.json').read_text())
    hashes = {entry['type_name']: entry['hash_string'] for entry in description['type_hashes']}
    assert typestore().hash_rihs01(name) == hashes[name]
