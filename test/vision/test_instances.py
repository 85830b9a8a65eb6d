# SPDX-License-Identifier: Apache-2.0
"""A foreground falls into instances, pieces of one target stay together, and doubts are written beside."""

import cv2
import numpy as np
import pytest

from radio_visual_ssl.vision.instances import find_instances
from radio_visual_ssl.vision.mask_settings import MaskSettings


def foreground_with(*boxes, shape=(240, 320)):
    """Rectangles of each (left, top, width, height)."""
    foreground = np.zeros(shape, np.uint8)
    for left, top, width, height in boxes:
        foreground[top : top + height, left : left + width] = 1
    return foreground


def box(instance):
    return instance.left, instance.top, instance.width, instance.height


def test_each_blob_is_one():
    found = find_instances(foreground_with((20, 30, 30, 20), (100, 60, 10, 30)))
    assert [box(instance) for instance in found] == [(20, 30, 30, 20), (100, 60, 10, 30)]
    assert not any(instance.doubtful for instance in found)


def test_nothing_is_nothing():
    assert find_instances(foreground_with()) == []


def test_specks_are_noise():
    assert find_instances(foreground_with((20, 30, 3, 3))) == []
    assert len(find_instances(foreground_with((20, 30, 3, 3)), MaskSettings(smallest=0.0001))) == 1


def test_gaps_and_holes_are_closed():
    foreground = foreground_with((20, 30, 30, 20), (52, 30, 20, 20))
    foreground[35:45, 25:40] = 0
    (instance,) = find_instances(foreground)
    assert box(instance) == (20, 30, 52, 20)
    assert instance.mask[2:-2].all()


def test_gap_that_is_closed_grows_with_the_picture():
    small = foreground_with((20, 30, 30, 20), (55, 30, 20, 20))
    assert len(find_instances(small)) == 2
    large = foreground_with((80, 120, 120, 80), (205, 120, 80, 80), shape=(960, 1280))
    assert len(find_instances(large)) == 1


def test_closing_does_not_reach_for_the_border():
    (instance,) = find_instances(foreground_with((2, 30, 30, 20)))
    assert instance.left == 2 and not instance.truncated


def test_no_gap_is_closed_over_a_shadow():
    foreground = foreground_with((20, 30, 30, 20), (53, 30, 20, 20))
    shadow = foreground_with((50, 0, 3, 240)) > 0
    assert len(find_instances(foreground, shadow=shadow)) == 2


def test_legs_belong_to_the_body_above_them():
    (instance,) = find_instances(foreground_with((40, 30, 14, 24), (41, 60, 12, 24)))
    assert box(instance) == (40, 30, 14, 54)
    assert instance.fragments == 2


def test_somebody_above_a_far_wider_one_is_another():
    assert len(find_instances(foreground_with((40, 30, 10, 24), (20, 60, 60, 24)))) == 2


def test_two_side_by_side_with_a_narrow_bridge_are_cut():
    foreground = foreground_with((40, 40, 20, 40), (66, 46, 24, 40), (60, 60, 6, 4))
    near, far = find_instances(foreground)
    assert near.split and far.split
    assert abs(near.left - 63) <= 3 and near.left + near.width == 90
    assert far.occluded and not near.occluded  # whose feet are lower stands nearer
    assert near.area + far.area >= 20 * 40 + 24 * 40
    (whole,) = find_instances(foreground, MaskSettings(separate=False))
    assert not whole.split


def test_one_above_the_other_is_suspected_only():
    (instance,) = find_instances(foreground_with((50, 20, 20, 24), (40, 50, 40, 24), (57, 44, 6, 6)))
    assert instance.merged and not instance.split


@pytest.mark.parametrize('angle', [0, 30, 60, 90])
def test_a_compact_body_stays_whole(angle):
    foreground = np.zeros((240, 320), np.uint8)
    corners = cv2.boxPoints(((160, 120), (70, 30), angle)).astype(np.int32)
    cv2.fillPoly(foreground, [corners], 1)
    assert len(find_instances(foreground)) == 1


def test_a_head_is_no_other():
    foreground = foreground_with((40, 50, 20, 60))
    cv2.circle(foreground, (50, 43), 6, 1, -1)
    (instance,) = find_instances(foreground)
    assert not instance.split and not instance.merged


@pytest.mark.parametrize(
    ('outline', 'hidden'),
    [
        ((0, 58, 320, 3), True),  # all along the foot
        ((0, 58, 42, 3), False),  # a corner of it
        ((59, 0, 3, 240), True),  # all along the right side
        ((39, 0, 3, 240), True),  # all along the left side
        ((0, 39, 320, 3), False),  # along the top: whatever hides a target from above
        ((0, 70, 320, 3), False),  # on the ground before it
    ],
)
def test_what_ends_at_an_outline_of_the_background_may_be_hidden(outline, hidden):
    outlines = foreground_with(outline) > 0
    (instance,) = find_instances(foreground_with((40, 40, 20, 20)), outlines=outlines)
    assert instance.occluded == hidden


def test_outlines_in_the_border_of_the_picture_are_no_error():
    (instance,) = find_instances(foreground_with((0, 200, 30, 40)), outlines=np.ones((240, 320), np.bool_))
    assert instance.occluded and instance.truncated


def test_masks_come_in_the_pixels_of_the_picture():
    foreground = foreground_with((20, 30, 30, 20), (100, 60, 10, 30), (0, 200, 40, 40))
    for factor in (2, 3):
        whole = find_instances(foreground, picture=(320 * factor, 240 * factor))
        for small, large in zip(find_instances(foreground), whole, strict=True):
            assert box(large) == tuple(factor * side for side in box(small))
            assert large.truncated == small.truncated
    for instance in find_instances(foreground, picture=(500, 333)):
        assert instance.full().sum() == instance.area


def test_somebody_who_stands_before_a_van_is_cut_off_at_its_foot():
    van, figure = (60, 40, 70, 40), (90, 60, 12, 46)
    body, person = find_instances(foreground_with(van, figure))
    assert (body.top, body.height) == (40, 40), 'the van ends where its own foot is'
    assert (person.left, person.width, person.top + person.height) == (90, 12, 106)
    assert person.top == 76, 'two and a half times as tall as wide, but at least what hangs below the van'
    assert body.split and person.split
    assert body.occluded and not person.occluded, 'the one that ends lower is nearer'


def test_legs_below_a_broad_chest_are_no_second_target():
    (instance,) = find_instances(foreground_with((40, 30, 20, 26), (46, 56, 8, 24)))
    assert box(instance) == (40, 30, 20, 50)
    assert not instance.split


def test_the_near_corner_of_a_body_at_an_angle_is_its_own():
    foreground = np.zeros((240, 320), np.uint8)
    cv2.fillPoly(foreground, [np.array([(60, 60), (150, 60), (150, 90), (120, 110), (60, 84)])], 1)
    (instance,) = find_instances(foreground)
    assert not instance.split
