# SPDX-License-Identifier: Apache-2.0
"""Places and covariances on the ground against draws of what a radar above it reads."""

import numpy as np
import pytest

from radio_visual_ssl.radar.ground import targets_on_ground, to_ground
from radio_visual_ssl.radar.target import Target

HEIGHT = 3.2


def read_at(distance, degrees, covariance):
    """A target as it is read; its covariance (m^2) is along the range and across it."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Target(*(distance * turn[:, 0]), covariance=turn @ covariance @ turn.T)


def drawn_places(distance, degrees, covariance, height, depth, cone):
    """(N, 2) m on the ground of readings drawn with a covariance (m^2) along the range and across it."""
    along, across = np.random.default_rng(1).multivariate_normal((0, 0), covariance, 200_000).T
    ground, azimuth = to_ground(distance + along, np.radians(degrees) + across / distance, height, cone=cone)
    return (ground + depth)[:, None] * np.stack((np.cos(azimuth), np.sin(azimuth)), axis=1)


@pytest.mark.parametrize('cone', [True, False], ids=['cone angle', 'azimuth'])
@pytest.mark.parametrize('depth', [0.0, 0.6])
@pytest.mark.parametrize(('distance', 'degrees'), [(8.0, 30.0), (8.0, 55.0), (8.0, -55.0), (20.0, 10.0)])
@pytest.mark.parametrize(
    'spread', [[[0.01, 0.0], [0.0, 0.004]], [[0.0004, 0.0], [0.0, 0.02]], [[0.01, 4e-3], [4e-3, 0.01]]]
)
def test_the_covariance_is_that_of_places_drawn_as_they_are_read(spread, distance, degrees, depth, cone):
    spread = np.array(spread) / 4
    places = drawn_places(distance, degrees, spread, HEIGHT, depth, cone)
    (target,) = targets_on_ground([read_at(distance, degrees, spread)], HEIGHT, depth, cone=cone)
    np.testing.assert_allclose((target.x, target.y), places.mean(axis=0), atol=0.01)
    root = np.linalg.inv(np.linalg.cholesky(target.covariance))
    np.testing.assert_allclose(root @ np.cov(places.T) @ root.T, np.eye(2), atol=0.03)
    errors = (places - (target.x, target.y)) @ root.T
    assert np.mean(np.sum(errors**2, axis=1)) == pytest.approx(2.0, abs=0.05), 'NEES'


def test_what_is_on_the_ground_already_is_not_turned_or_stretched():
    point, extent = np.diag([0.01, 0.02]), 0.7
    (bare,) = targets_on_ground([read_at(8.0, 40.0, point)], HEIGHT, 0.3, cone=True)
    whole = read_at(8.0, 40.0, point + extent**2 * np.eye(2))
    (target,) = targets_on_ground([whole], HEIGHT, 0.3, extent, cone=True)
    np.testing.assert_allclose(target.covariance, bare.covariance + extent**2 * np.eye(2))


def test_covariances_stay_finite_beside_the_line_of_antennas():
    """At 66 degrees the azimuth is 90; beyond it nothing on the ground reads so."""
    spread = np.diag([0.01, 0.02])
    for degrees in (60.0, 65.0, 66.4, 70.0, 90.0, -70.0):
        (target,) = targets_on_ground([read_at(8.0, degrees, spread)], HEIGHT, 0.0, cone=True)
        deviations = np.sqrt(np.linalg.eigvalsh(target.covariance))
        assert 0.01 < deviations[0] <= deviations[1] < 10 * np.sqrt(0.02)


def test_no_height_and_no_depth_leave_targets_as_they_are_and_none_stay_none():
    target = read_at(8.0, 85.0, np.diag([0.01, 0.02]))
    assert targets_on_ground([target], 0.0, 0.0, cone=True) == [target]
    (farther,) = targets_on_ground([target], 0.0, 4.0, cone=True)
    np.testing.assert_allclose(farther.covariance, read_at(8.0, 85.0, np.diag([0.01, 0.02 * 1.5**2])).covariance)
    assert targets_on_ground([], 3.0, 0.0, cone=True) == []
    assert targets_on_ground([target], 8.5, 0.0, cone=True) == []
