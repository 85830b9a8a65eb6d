# SPDX-License-Identifier: Apache-2.0
"""What a target says of its place."""

import numpy as np
import pytest

from radio_visual_ssl.radar.target import Target


def test_a_mast_reads_the_slant_range_to_the_middle_of_the_box():
    car = Target(10.0, 0.0, -5.0, size=(4.4, 1.8, 1.5))
    assert car.range == 10.0
    assert car.slant_range == pytest.approx(np.hypot(10.0, 4.25))
    assert car.slant_range - car.range == pytest.approx(0.87, abs=0.01)


def test_a_line_of_antennas_reads_the_cone_angle():
    target = Target(8.0, 6.0, -7.5)
    elevation = np.arctan2(-7.5, 10.0)
    assert np.sin(target.cone_angle) == pytest.approx(np.sin(target.azimuth) * np.cos(elevation))
    assert Target(8.0, 6.0).cone_angle == pytest.approx(Target(8.0, 6.0).azimuth)
    assert Target(-8.0, 6.0).cone_angle == pytest.approx(Target(8.0, 6.0).azimuth)
    assert Target(0.0, 0.0).cone_angle == 0.0
