# SPDX-License-Identifier: Apache-2.0
"""Static transforms, followed over several frames and both ways, and trajectories over the ground."""

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


def test_the_trajectory_of_a_radar_is_that_of_its_vehicle_in_odom(vehicle):
    seconds = np.array([100.0, 103.33, 107.77])
    found = vehicle.trajectory((seconds * 1e9).astype(np.int64))
    yaw = 0.2 * (seconds - 100)
    expected = np.column_stack((20 * np.sin(yaw) + 2 * np.cos(yaw), -20 * np.cos(yaw) + 2 * np.sin(yaw)))
    np.testing.assert_allclose(found[:, :2], expected, atol=2e-3)  # between two transforms it goes straight
    np.testing.assert_allclose(found[:, 2], yaw + np.pi / 2, atol=1e-6)


def test_where_no_transform_is_near_nothing_is_known(vehicle):
    found = vehicle.trajectory((np.array([99.0, 99.9, 109.95, 111.0]) * 1e9).astype(np.int64))
    np.testing.assert_array_equal(np.isnan(found).any(axis=1), [True, False, False, True])
    gap = CarriedFrame('radar')
    for second in (100, 100.5, 103):
        gap.add(moving(second, 'odom', 'radar', 0.0, (second, 0, 0)))
    found = gap.trajectory((np.array([100.2, 100.6, 102.0, 102.9, 103.0, 103.1]) * 1e9).astype(np.int64))
    np.testing.assert_allclose(found[:, 0], [100.2, 100.5, np.nan, 103, 103, 103])
    assert gap.trajectory(np.zeros(0, np.int64)).shape == (0, 3)


def test_a_frame_that_nothing_carries_over_the_ground_has_no_trajectory():
    stamps = np.array([10**11])
    assert CarriedFrame('radar').trajectory(stamps) is None
    mounted = CarriedFrame('radar')
    mounted.add_static(message(('base', 'radar', np.eye(3), (0, 0, 4))))
    mounted.add(moving(100, 'odom', 'other', 0.0, (1, 0, 0)))
    assert mounted.trajectory(stamps) is None
    loop = CarriedFrame('radar')
    loop.add(moving(100, 'base', 'radar', 0.0, (1, 0, 0)))
    loop.add(moving(100, 'radar', 'base', 0.0, (1, 0, 0)))
    assert loop.trajectory(stamps) is not None, 'its top is base, which is not asked for the frame that carries it'


def test_a_radar_on_a_mast_stays_where_it_is_in_the_map():
    mast = CarriedFrame('/radar')
    mast.add_static(message(('map', 'mast', np.eye(3), (5, 6, 0)), ('mast', 'radar', QUARTER_TURN, (0, 0, 4))))
    found = mast.trajectory(np.array([10**9, 10**12]))
    np.testing.assert_allclose(found, np.tile([5, 6, np.pi / 2], (2, 1)))


@pytest.mark.parametrize('odom', ['odom', '/odom', 'robot1/odom'])
def test_the_ground_is_odom_by_whatever_way_and_name(odom):
    carried = CarriedFrame('radar')
    for second in (100, 100.5):
        carried.add(moving(second, 'map', odom, 0.0, (1000 * (second - 100), 0, 0)))
        carried.add(moving(second, 'map', 'base', 0.0, (500, 0, 0)))  # of another localization
        carried.add(moving(second, odom, 'base', 0.0, (second, 7, 0)))
    carried.add_static(message(('base', 'radar', np.eye(3), (2, 0, 0))))
    np.testing.assert_allclose(carried.trajectory(np.array([100_250_000_000])), [[102.25, 7, 0]])


def test_without_odom_it_is_the_map_and_never_what_lies_beyond():
    carried = CarriedFrame('radar')
    carried.add(moving(100, 'map', 'radar', 0.5, (3, 4, 0)))
    carried.add_static(message(('earth', 'map', QUARTER_TURN, (4e6, 5e6, 1e6))))
    np.testing.assert_allclose(carried.trajectory(np.array([10**11])), [[3, 4, 0.5]])
    several = CarriedFrame('radar')
    for parent in ('left', 'right'):
        several.add(moving(100, parent, 'radar', 0.0, (1, 0, 0)))
    assert several.trajectory(np.array([10**11])) is None, 'neither is known for the ground'


def test_a_radar_that_hangs_upside_down_has_none():
    carried = CarriedFrame('radar')
    carried.add_static(message(('base', 'radar', np.diag([1.0, -1.0, -1.0]), (0, 0, 1))))
    carried.add(moving(100, 'odom', 'base', 0.0, (1, 0, 0)))
    assert np.isnan(carried.trajectory(np.array([10**11]))).all()


def test_a_wrong_rotation_counts_if_it_carries_the_frame():
    carried, wrong = CarriedFrame('radar'), moving(100, 'odom', 'radar', 0.0, (1, 0, 0))
    wrong.transforms[0].transform.rotation.w = 3.0
    carried.add(wrong)
    with pytest.raises(MessageError, match='odom -> radar: expected a unit quaternion'):
        carried.trajectory(np.array([10**11]))
    aside = CarriedFrame('radar')
    wrong.transforms[0].child_frame_id = 'wheel'
    aside.add(wrong)
    aside.add(moving(100, 'odom', 'radar', 0.5, (1, 2, 0)))
    np.testing.assert_allclose(aside.trajectory(np.array([10**11])), [[1, 2, 0.5]])


def test_an_odom_that_is_fixed_is_no_ground_for_what_moves_in_the_map():
    carried = CarriedFrame('radar')
    carried.add_static(message(('odom', 'base', np.eye(3), (0, 0, 0)), ('base', 'radar', np.eye(3), (1, 0, 0))))
    for second in (100, 100.5, 101):
        carried.add(moving(second, 'map', 'odom', 0.0, (8 * second, 0, 0)))
    np.testing.assert_allclose(carried.trajectory(np.array([100_750_000_000]))[:, 0], 1 + 8 * 100.75)


def test_transforms_a_second_apart_have_no_gap_and_one_stamp_of_zero_costs_nothing():
    carried = CarriedFrame('radar')
    carried.add(moving(0, 'odom', 'radar', 0.0, (-1e6, 0, 0)))
    for second in range(1_700_000_000, 1_700_000_060):
        carried.add(moving(second, 'odom', 'radar', 0.0, (second - 1_700_000_000, 0, 0)))
    late = moving(0, 'odom', 'radar', 0.0, (59, 0, 0))
    late.transforms[0].header.stamp.sec, late.transforms[0].header.stamp.nanosec = 1_700_000_059, 100
    carried.add(late)
    stamps = 1_700_000_000 * 10**9 + np.arange(0, 59 * 10**9, 10**8)
    np.testing.assert_allclose(carried.trajectory(stamps)[:, 0], (stamps - stamps[0]) * 1e-9, atol=1e-5)


def test_what_is_told_once_and_for_all_holds_where_nothing_else_does():
    carried = CarriedFrame('radar')
    carried.add_static(message(('base', 'radar', np.eye(3), (2, 0, 0))))
    carried.add(moving(100, 'base', 'radar', 0.0, (3, 0, 0)))
    for second in np.arange(100, 110, 0.5):
        carried.add(moving(second, 'odom', 'base', 0.0, (second, 0, 0)))
    found = carried.trajectory((np.array([100.0, 105.0]) * 1e9).astype(np.int64))
    np.testing.assert_allclose(found[:, 0], [103, 107])
