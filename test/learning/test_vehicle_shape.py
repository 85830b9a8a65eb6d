# SPDX-License-Identifier: Apache-2.0
"""Sizes of vehicles from their apparent widths, and how deep their centre lies."""

import numpy as np
import pytest

from radio_visual_ssl.learning.vehicle_shape import common_size, depth_to_centre

NOMINAL = (4.4, 1.8)


def apparent(aspect, length, width):
    """m."""
    return length * np.abs(np.sin(aspect)) + width * np.abs(np.cos(aspect))


@pytest.mark.parametrize('size', [(4.4, 1.8), (5.4, 2.1), (8.0, 2.5)])
def test_sizes_are_those_of_what_passes_though_masks_err(size):
    rng = np.random.default_rng(2)
    aspect = rng.uniform(-np.pi, np.pi, 600)
    wide = apparent(aspect, *size) + rng.normal(0, 0.3, 600)
    wide[:60] += rng.uniform(2, 5, 60)  # two vehicles in one mask
    wide[60:120] *= 0.4  # hidden in part
    aspect[120:180] = np.nan
    length, width = common_size(wide, aspect, np.ones(600), NOMINAL)
    assert length == pytest.approx(size[0], abs=0.2)
    assert width == pytest.approx(size[1], abs=0.2)


def test_what_is_not_seen_is_taken_for_nominal():
    assert common_size(np.zeros(0), np.zeros(0), np.zeros(0), NOMINAL) == pytest.approx(NOMINAL)
    assert common_size(np.full(9, 7.0), np.full(9, np.nan), np.ones(9), NOMINAL) == pytest.approx(NOMINAL)
    assert common_size(np.full(9, 7.0), np.full(9, 1.0), np.zeros(9), NOMINAL) == pytest.approx(NOMINAL)
    # all from behind, or nearly: the width is learned, and of the length nothing, though masks are cut where they turn
    aspect = np.append(np.zeros(300), np.full(20, 0.5))
    length, width = common_size(np.full(320, 2.4), aspect, np.ones(320), NOMINAL)
    assert length == pytest.approx(4.4, abs=1e-3)
    assert width == pytest.approx(2.4, abs=0.1)
    # a mask of a whole row of vehicles is no vehicle
    length, width = common_size(np.full(300, 60.0), np.full(300, np.pi / 2), np.ones(300), NOMINAL)
    assert length == pytest.approx(20, abs=0.1)


def test_depth_is_half_of_the_side_that_is_looked_along_and_to_the_corner_between():
    corner = np.arctan2(1.8, 4.4)
    aspect = np.array([0.0, np.pi / 2, np.pi, -np.pi / 2, corner, np.pi / 4, np.nan])
    expected = [2.2, 0.9, 2.2, 0.9, np.hypot(2.2, 0.9), 0.9 * np.sqrt(2), np.nan]
    np.testing.assert_allclose(depth_to_centre(4.4, 1.8, aspect), expected)
