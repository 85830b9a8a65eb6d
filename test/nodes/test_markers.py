# SPDX-License-Identifier: Apache-2.0
"""Targets as RViz markers."""

import math

import numpy as np
import pytest

pytest.importorskip('visualization_msgs', reason='needs ROS 2')

from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from radio_visual_ssl.nodes.markers import DETECTION, covariance_ellipse, target_markers
from radio_visual_ssl.radar.target import Target

HEADER = Header(frame_id='radar')


def markers_of(target):
    first, *others = target_markers([target], HEADER, 'test', DETECTION, 1.5).markers
    assert first.action == Marker.DELETEALL
    return {marker.ns.removeprefix('test/'): marker for marker in others}


def test_a_target_of_known_size_is_a_turned_box():
    body = markers_of(Target(10.0, 2.0, size=(4.0, 2.0, 1.5), heading=math.pi / 2))['body']
    assert body.type == Marker.CUBE
    assert (body.scale.x, body.scale.y, body.scale.z) == (4.0, 2.0, 1.5)
    assert body.pose.orientation.z == pytest.approx(math.sin(math.pi / 4))
    assert (body.lifetime.sec, body.lifetime.nanosec) == (1, 500_000_000)


def test_a_target_of_unknown_size_is_a_cylinder_with_text_and_neither_ellipse_nor_arrow():
    markers = markers_of(Target(10.0, 0.0, label='car', score=0.5))
    assert set(markers) == {'body', 'text'}
    assert markers['body'].type == Marker.CYLINDER
    assert 'car 0.50' in markers['text'].text
    assert '10.0 m' in markers['text'].text


def test_a_fast_target_has_an_arrow_along_the_line_of_sight():
    arrow = markers_of(Target(0.0, 10.0, radial_velocity=-3.0))['velocity']
    assert (arrow.points[1].x, arrow.points[1].y) == pytest.approx((0.0, 7.0))


def test_the_ellipse_spans_two_sigma_along_its_axes():
    turn = np.array([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    covariance = turn @ np.diag([4.0, 0.25]) @ turn.T
    major, minor, direction = covariance_ellipse(covariance)
    assert (major, minor) == pytest.approx((2.0, 0.5))
    assert math.sin(direction - 0.3) == pytest.approx(0.0, abs=1e-9)
    ellipse = markers_of(Target(10.0, 0.0, covariance=covariance))['ellipse']
    assert (ellipse.scale.x, ellipse.scale.y) == pytest.approx((8.0, 2.0))


def test_without_targets_only_the_old_ones_are_deleted():
    assert [marker.action for marker in target_markers([], HEADER, 'x', DETECTION, 1.0).markers] == [Marker.DELETEALL]
