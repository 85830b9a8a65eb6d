# SPDX-License-Identifier: Apache-2.0
"""Masks are judged by the true instances that they overlap."""

import numpy as np
import pytest
from mask_quality import MaskTally

from radio_visual_ssl.vision.masks import MaskError, masks_from_labels


def labels_with(*boxes, shape=(100, 100)):
    """A mask image with a rectangle of each (number, left, top, width, height)."""
    labels = np.zeros(shape, np.uint8)
    for number, left, top, width, height in boxes:
        labels[top : top + height, left : left + width] = number
    return labels


def quality(found, truth, **settings):
    tally = MaskTally(**settings)
    tally.add(masks_from_labels(found, binary=False), truth)
    return tally.quality()


def test_equal_masks_are_perfect():
    labels = labels_with((1, 10, 10, 20, 20), (2, 50, 50, 5, 9))
    figures = quality(labels, labels)
    assert (figures.precision, figures.recall, figures.pixel_iou, figures.median_iou) == (1, 1, 1, 1)
    assert figures.median_bottom_error_px == 0
    assert (figures.doubtless, figures.doubtless_precision) == (1, 1)


def test_half_the_overlap_finds_and_less_does_not():
    truth = labels_with((1, 10, 10, 10, 20))
    assert quality(labels_with((1, 10, 10, 10, 10)), truth).recall == 1
    assert quality(labels_with((1, 10, 10, 10, 9)), truth).recall == 0


def test_one_over_two_finds_one_of_them():
    truth = labels_with((1, 10, 10, 10, 20), (2, 20, 10, 4, 20))
    figures = quality(labels_with((1, 10, 10, 14, 20)), truth)
    assert (figures.precision, figures.recall, figures.pixel_iou) == (1, 0.5, 1)


def test_two_over_one_leave_one_false():
    figures = quality(labels_with((1, 10, 10, 10, 14), (2, 10, 24, 10, 6)), labels_with((1, 10, 10, 10, 20)))
    assert (figures.precision, figures.recall) == (0.5, 1)
    assert figures.median_iou == pytest.approx(0.7)
    assert figures.median_bottom_error_px == 6


def test_flagged_ones_are_told_apart():
    figures = quality(labels_with((1, 0, 10, 10, 10), (2, 50, 50, 10, 10)), labels_with((1, 50, 50, 10, 10)))
    assert figures.precision == 0.5
    assert (figures.doubtless, figures.doubtless_precision) == (0.5, 1)


def test_tiny_true_ones_do_not_count():
    labels = labels_with((1, 10, 10, 3, 3))
    figures = quality(labels, labels)
    assert (figures.precision, figures.recall) == (None, None)
    assert quality(labels, labels, least_area=9).recall == 1


def test_by_size():
    truth = labels_with((1, 10, 10, 3, 3), (2, 30, 30, 8, 8), (3, 50, 50, 40, 40))
    sizes = quality(labels_with((2, 30, 30, 8, 8), (3, 50, 50, 40, 40)), truth, least_area=1).sizes
    assert {name: (size.instances, size.found) for name, size in sizes.items()} == {
        'small': (1, 0),
        'medium': (1, 1),
        'large': (1, 1),
    }
    assert sizes['large'].recall == 1


def test_frames_add_up_and_empty_ones_are_no_error():
    tally = MaskTally()
    assert tally.quality().precision is None
    labels = labels_with((1, 10, 10, 20, 20))
    tally.add([], labels_with())
    tally.add([], labels)
    tally.add(masks_from_labels(labels), labels_with())
    tally.add(masks_from_labels(labels), labels)
    figures = tally.quality()
    assert (figures.frames, figures.precision, figures.recall) == (4, 0.5, 0.5)
    assert figures.pixel_iou == pytest.approx(1 / 3)


def test_truth_of_another_size_is_refused():
    with pytest.raises(MaskError, match='size'):
        MaskTally().add(masks_from_labels(labels_with((1, 1, 1, 9, 9))), np.zeros((50, 50), np.uint8))
