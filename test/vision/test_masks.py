# SPDX-License-Identifier: Apache-2.0
"""Recorded masks and detections become instance records that say what is doubtful about them."""

from types import SimpleNamespace

import numpy as np
import pytest

from radio_visual_ssl.vision.masks import MaskError, TargetMask, masks_from_boxes, masks_from_image, masks_from_labels


def labels_with(*boxes, shape=(60, 80), kind=np.uint8):
    """A mask image with a rectangle of each (number, left, top, width, height)."""
    labels = np.zeros(shape, kind)
    for number, left, top, width, height in boxes:
        labels[top : top + height, left : left + width] = number
    return labels


def image_message(labels, encoding, *, padding=0, big_endian=False):
    kind = labels.dtype.newbyteorder('>' if big_endian else '<')
    rows = labels.astype(kind).view(np.uint8).reshape(len(labels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    height, width = labels.shape
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=padded.tobytes(),
    )


def detection(x, y, width, height, score=0.9, name='', theta=0.0):
    """As of vision_msgs 4."""
    centre = SimpleNamespace(position=SimpleNamespace(x=x, y=y), theta=theta)
    return SimpleNamespace(
        bbox=SimpleNamespace(center=centre, size_x=width, size_y=height),
        results=[SimpleNamespace(hypothesis=SimpleNamespace(class_id='car', score=score))],
        id=name,
    )


class TestRecord:
    def test_of_a_rectangle(self):
        (instance,) = masks_from_labels(labels_with((7, 10, 20, 6, 9)))
        assert (instance.left, instance.top, instance.width, instance.height) == (10, 20, 6, 9)
        assert instance.area == 54
        assert instance.number == 7
        assert not instance.doubtful

    def test_gives_the_whole_mask_back(self):
        labels = labels_with((1, 10, 20, 6, 9), (2, 50, 5, 10, 30))
        labels[21, 10] = 0
        for instance in masks_from_labels(labels):
            np.testing.assert_array_equal(instance.full(), labels == instance.number)

    def test_overlap_equals_that_of_the_whole_masks(self):
        rng = np.random.default_rng(3)
        for _ in range(20):
            one, other = (
                masks_from_labels((rng.random((9, 12)) < 0.3).astype(np.uint8), binary=False)[0] for _ in range(2)
            )
            both = np.count_nonzero(one.full() & other.full())
            assert one.iou(other) == pytest.approx(both / np.count_nonzero(one.full() | other.full()))
            assert one.covered_by(other) == pytest.approx(both / one.area)

    def test_apart_do_not_overlap(self):
        a, b = masks_from_labels(labels_with((1, 0, 0, 5, 5), (2, 30, 30, 5, 5)))
        assert a.iou(b) == 0

    @pytest.mark.parametrize('place', [(0, 20), (74, 20), (30, 0), (30, 51)])
    def test_on_the_border_is_truncated(self, place):
        (instance,) = masks_from_labels(labels_with((1, *place, 6, 9)))
        assert instance.truncated and instance.doubtful

    def test_one_pixel_within_the_border_is_not(self):
        assert not TargetMask(1, 1, np.ones((58, 78), np.bool_), (80, 60)).truncated


class TestLabels:
    def test_largest_first(self):
        labels = labels_with((3, 10, 10, 4, 4), (1, 30, 10, 8, 8), (2, 50, 10, 6, 6))
        assert [instance.number for instance in masks_from_labels(labels)] == [1, 2, 3]

    def test_empty_mask_has_no_instances(self):
        assert masks_from_labels(labels_with()) == []

    def test_one_in_two_pieces_stays_one_and_may_be_hidden(self):
        (instance,) = masks_from_labels(labels_with((4, 10, 10, 5, 20), (4, 17, 10, 5, 20)))
        assert instance.fragments == 2
        assert instance.occluded

    def test_the_farther_of_two_that_touch_may_be_hidden(self):
        labels = labels_with((1, 10, 10, 8, 20), (2, 18, 12, 12, 30))
        assert {instance.number: instance.occluded for instance in masks_from_labels(labels)} == {1: True, 2: False}

    def test_those_apart_are_not(self):
        labels = labels_with((1, 10, 10, 8, 20), (2, 20, 12, 12, 30))
        assert not any(instance.occluded for instance in masks_from_labels(labels))

    def test_binary_mask_is_cut_into_pieces(self):
        found = masks_from_labels(labels_with((255, 10, 10, 4, 4), (255, 30, 10, 8, 8)))
        assert [(instance.left, instance.number) for instance in found] == [(30, 0), (10, 0)]

    def test_255_is_a_number_where_that_is_said(self):
        (instance,) = masks_from_labels(labels_with((255, 10, 10, 4, 4), (255, 30, 10, 8, 8)), binary=False)
        assert instance.number == 255

    @pytest.mark.parametrize('bad', [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), np.zeros((4, 4), np.int32)])
    def test_no_mask_is_refused(self, bad):
        with pytest.raises(MaskError, match='unsigned'):
            masks_from_labels(bad)


class TestImage:
    @pytest.mark.parametrize('encoding', ['mono8', '8UC1', 'mono16', '16UC1'])
    @pytest.mark.parametrize('padding', [0, 6])
    @pytest.mark.parametrize('big_endian', [False, True])
    def test_numbers_arrive(self, encoding, padding, big_endian):
        wide = '16' in encoding
        numbers = (1000, 3) if wide else (200, 3)
        labels = labels_with(
            (numbers[0], 10, 10, 9, 9), (numbers[1], 40, 10, 5, 5), kind=np.uint16 if wide else np.uint8
        )
        found = masks_from_image(image_message(labels, encoding, padding=padding, big_endian=big_endian))
        assert [(instance.number, instance.area) for instance in found] == [(numbers[0], 81), (numbers[1], 25)]

    @pytest.mark.parametrize(('field', 'value'), [('encoding', 'rgb8'), ('step', 79), ('data', b'\0' * (60 * 80 - 1))])
    def test_wrong_field_is_named(self, field, value):
        message = image_message(labels_with((1, 10, 10, 4, 4)), 'mono8')
        setattr(message, field, value)
        with pytest.raises(MaskError, match=f'Image.{field}'):
            masks_from_image(message)


class TestBoxes:
    def test_record_of_a_box(self):
        (instance,) = masks_from_boxes([detection(29.5, 19.5, 20, 10, 0.8, '12')], (80, 60))
        assert (instance.left, instance.top, instance.width, instance.height) == (20, 15, 20, 10)
        assert instance.mask.all()
        assert (instance.number, instance.score, instance.label) == (12, 0.8, 'car')

    def test_the_class_is_that_of_the_likeliest_result(self):
        box = detection(29.5, 19.5, 20, 10, 0.3)
        box.results.append(SimpleNamespace(hypothesis=SimpleNamespace(class_id='van', score=0.6)))
        old = SimpleNamespace(bbox=box.bbox, results=[SimpleNamespace(id=3, score=0.9)])  # before class_id was a text
        none = SimpleNamespace(bbox=box.bbox, results=[])
        found = [masks_from_boxes([each], (80, 60))[0] for each in (box, old, none)]
        assert [(each.label, each.score) for each in found] == [('van', 0.6), ('3', 0.9), ('', 1.0)]

    def test_older_boxes_are_known_too(self):
        box = SimpleNamespace(center=SimpleNamespace(x=29.5, y=19.5, theta=0.0), size_x=20.0, size_y=10.0)
        (instance,) = masks_from_boxes([box], (80, 60))
        assert (instance.left, instance.top, instance.score) == (20, 15, 1.0)

    def test_messages_of_vision_msgs(self):
        vision_msgs = pytest.importorskip('vision_msgs.msg')
        message = vision_msgs.Detection2D()
        message.bbox.center.position.x, message.bbox.center.position.y = 29.5, 19.5
        message.bbox.size_x, message.bbox.size_y = 20.0, 10.0
        message.id = 'a name'
        (instance,) = masks_from_boxes([message], (80, 60))
        assert (instance.left, instance.width, instance.number) == (20, 20, 0)

    def test_box_beyond_the_border_is_cut_and_truncated(self):
        (instance,) = masks_from_boxes([detection(2, 30, 20, 10)], (80, 60))
        assert (instance.left, instance.width) == (0, 13)
        assert instance.truncated

    def test_box_outside_and_weak_ones_are_left_out(self):
        boxes = [detection(-50, 30, 20, 10), detection(40, 30, 20, 10, 0.2)]
        assert masks_from_boxes(boxes, (80, 60), least_score=0.5) == []

    def test_turned_box_gives_the_upright_one_around_it(self):
        (instance,) = masks_from_boxes([detection(40, 30, 20, 6, theta=np.pi / 2)], (80, 60))
        assert (instance.width, instance.height) == (7, 21)

    def test_the_farther_of_two_that_overlap_may_be_hidden(self):
        far, near = detection(30, 20, 10, 10, name='1'), detection(33, 25, 12, 20, name='2')
        found = masks_from_boxes([far, near], (80, 60))
        assert {instance.number: instance.occluded for instance in found} == {1: True, 2: False}

    @pytest.mark.parametrize(
        ('values', 'named'), [((np.nan, 1, 2, 2), 'center.x'), ((1, 1, 0, 2), 'size_x'), ((1, 1, 2, np.inf), 'size_y')]
    )
    def test_wrong_box_is_named(self, values, named):
        with pytest.raises(MaskError, match=f'detection 1: {named}'):
            masks_from_boxes([detection(5, 5, 2, 2), detection(*values)], (80, 60))
