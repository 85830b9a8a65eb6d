# SPDX-License-Identifier: Apache-2.0
"""Static transforms, followed over several frames and both ways."""

import numpy as np
import pytest

from radio_visual_ssl.bags.messages import transform_to_message
from radio_visual_ssl.bags.transforms import StaticTransforms
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
