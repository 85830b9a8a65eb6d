# SPDX-License-Identifier: Apache-2.0
"""Static transforms, followed over several frames and both ways, and the ways of frames that are carried."""

import numpy as np
import pytest

from radio_visual_ssl.bags.messages import MessageError, transform_to_message
from radio_visual_ssl.bags.transforms import CarriedFrame, StaticTransforms
from radio_visual_ssl.bags.typestore import RosbagsTypes

TYPES = RosbagsTypes()
QUARTER_TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def message(*transforms):
    entries = [
        transform_to_message(turn, np.array(place, float), 0, TYPES, parent=parent, child=child)
        for parent, child, turn, place in transforms
    ]
    return TYPES('tf2_msgs/msg/TFMessage')(transforms=entries)


@pytest.fixture
def tree():
    tree = StaticTransforms()
    tree.add(message(('base', 'radar', QUARTER_TURN, (1, 0, 0))))
    tree.add(message(('base', 'camera', np.eye(3), (0, 0, 2)), ('map', 'elsewhere', np.eye(3), (0, 0, 0))))
    return tree


def carried(mapping, place):
    rotation, translation = mapping
    return rotation @ np.array(place, float) + translation


def test_a_place_is_carried_to_the_parent_and_back(tree):
    assert carried(tree.between('base', 'radar'), (1, 0, 0)) == pytest.approx([1, 1, 0])
    assert carried(tree.between('radar', 'base'), (1, 1, 0)) == pytest.approx([1, 0, 0])


def test_siblings_are_connected_through_their_parent(tree):
    assert carried(tree.between('camera', 'radar'), (1, 0, 0)) == pytest.approx([1, 1, -2])


def test_a_frame_is_where_it_is_and_strangers_are_not_connected(tree):
    assert carried(tree.between('radar', 'radar'), (3, 4, 5)) == pytest.approx([3, 4, 5])
    assert tree.between('elsewhere', 'radar') is None
    assert tree.between('nowhere', 'radar') is None


def test_a_later_transform_of_the_same_frames_replaces_the_earlier(tree):
    tree.add(message(('base', 'radar', np.eye(3), (5, 0, 0))))
    assert carried(tree.between('base', 'radar'), (1, 0, 0)) == pytest.approx([6, 0, 0])


def turned(yaw):
    return np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])


def moving(second, parent, child, yaw, place):
    """TFMessage of a transform at a time."""
    entry = transform_to_message(
        turned(yaw), np.array(place, float), round(second * 1e9), TYPES, parent=parent, child=child
    )
    return TYPES('tf2_msgs/msg/TFMessage')(transforms=[entry])


@pytest.fixture
def vehicle():
    """Drives on a circle of 20 m at 0.2 rad/s, its radar 2 m ahead of its middle and turned to the left."""
    carried = CarriedFrame('radar')
    carried.add_static(message(('base', 'radar', QUARTER_TURN, (2, 0, 0.5)), ('base', 'camera', np.eye(3), (1, 0, 1))))
    for second in np.arange(100, 110, 0.1):
        yaw = 0.2 * (second - 100)
        carried.add(moving(second, 'odom', 'base', yaw, (20 * np.sin(yaw), -20 * np.cos(yaw), 0)))
        carried.add(moving(second, 'map', 'odom', 1.0, (100 + second, 0, 0)))  # what a localization does, jumps and all
        carried.add(moving(second, 'base', 'wheel', 9.0, (1, 0, 0)))
    return carried


def test_the_way_of_a_radar_is_that_of_its_vehicle_in_odom(vehicle):
    seconds = np.array([100.0, 103.33, 107.77])
    way = vehicle.way((seconds * 1e9).astype(np.int64))
    yaw = 0.2 * (seconds - 100)
    expected = np.column_stack((20 * np.sin(yaw) + 2 * np.cos(yaw), -20 * np.cos(yaw) + 2 * np.sin(yaw)))
    np.testing.assert_allclose(way[:, :2], expected, atol=2e-3)  # between two transforms it goes straight
    np.testing.assert_allclose(way[:, 2], yaw + np.pi / 2, atol=1e-6)


def test_where_no_transform_is_near_nothing_is_known_of_the_way(vehicle):
    way = vehicle.way((np.array([99.0, 99.95, 109.95, 111.0]) * 1e9).astype(np.int64))
    np.testing.assert_array_equal(np.isnan(way).any(axis=1), [True, False, False, True])
    gap = CarriedFrame('radar')
    for second in (100, 100.5, 103):
        gap.add(moving(second, 'odom', 'radar', 0.0, (second, 0, 0)))
    way = gap.way((np.array([100.2, 102.0, 103.0]) * 1e9).astype(np.int64))
    np.testing.assert_allclose(way[:, 0], [100.2, np.nan, np.nan])


def test_a_frame_that_nothing_carries_has_no_way():
    stamps = np.array([10**11])
    assert CarriedFrame('radar').way(stamps) is None
    mast = CarriedFrame('radar')
    mast.add_static(message(('map', 'radar', np.eye(3), (0, 0, 4))))
    mast.add(moving(100, 'odom', 'base', 0.0, (1, 0, 0)))
    assert mast.way(stamps) is None
    loop = CarriedFrame('radar')
    loop.add(moving(100, 'base', 'radar', 0.0, (1, 0, 0)))
    loop.add(moving(100, 'radar', 'base', 0.0, (1, 0, 0)))
    assert loop.way(stamps) is None


def test_a_wrong_rotation_counts_if_it_carries_the_frame():
    carried, wrong = CarriedFrame('radar'), moving(100, 'odom', 'radar', 0.0, (1, 0, 0))
    wrong.transforms[0].transform.rotation.w = 3.0
    carried.add(wrong)
    with pytest.raises(MessageError, match='odom -> radar: expected a unit quaternion'):
        carried.way(np.array([10**11]))
    aside = CarriedFrame('radar')
    wrong.transforms[0].child_frame_id = 'wheel'
    aside.add(wrong)
    aside.add(moving(100, 'odom', 'radar', 0.5, (1, 2, 0)))
    np.testing.assert_allclose(aside.way(np.array([10**11])), [[1, 2, 0.5]])
