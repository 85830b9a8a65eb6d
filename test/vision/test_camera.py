# SPDX-License-Identifier: Apache-2.0
"""Places in the radar frame fall where a pinhole camera with distortion sees them."""

import dataclasses

import cv2
import numpy as np
import pytest

from radio_visual_ssl.vision.camera import CameraModel

MATRIX = np.array([[300.0, 0, 319.5], [0, 310, 239.5], [0, 0, 1]])
DISTORTION = np.array([-0.18, 0.03, 0.001, -0.002, 0.0])


@pytest.fixture
def camera():
    return CameraModel(640, 480, MATRIX)


def test_ahead_is_the_middle_left_is_left_and_up_is_up(camera):
    pixels, depth = camera.project([[10, 0, 0], [10, 1, 0], [10, 0, 1]])
    np.testing.assert_allclose(pixels, [[319.5, 239.5], [289.5, 239.5], [319.5, 208.5]])
    np.testing.assert_allclose(depth, 10)


def test_distortion_and_mounting_follow_opencv(camera):
    turn = cv2.Rodrigues(np.array([0.02, -0.05, 0.01]))[0] @ camera.rotation
    shift = np.array([0.3, -0.1, 0.2])
    model = dataclasses.replace(camera, distortion=DISTORTION, rotation=turn, translation=shift)
    points = np.random.default_rng(0).uniform((5, -3, -2), (40, 3, 2), (50, 3))
    expected = cv2.projectPoints(points, cv2.Rodrigues(turn)[0], shift, MATRIX, DISTORTION)[0].reshape(-1, 2)
    np.testing.assert_allclose(model.project(points)[0], expected, atol=1e-6)


LENSES = {
    'plumb_bob': DISTORTION,
    'rational_polynomial': np.array([0.3, 0.05, 0.001, -0.001, 0.01, 0.6, 0.1, 0.02]),
    'equidistant': np.array([-0.02, 0.005, -0.001, 0.0]),
}


@pytest.mark.parametrize('model', LENSES)
def test_the_ray_of_a_pixel_leads_back_to_it(camera, model):
    turn = cv2.Rodrigues(np.array([0.02, -0.05, 0.01]))[0] @ camera.rotation
    lens = dataclasses.replace(camera, distortion=LENSES[model], distortion_model=model, rotation=turn)
    pixels = np.array([[30.0, 20], [320, 240], [600, 400]])
    np.testing.assert_allclose(lens.project(7 * lens.rays(pixels))[0], pixels, atol=0.05)


def test_a_fisheye_follows_opencv_and_its_limit(camera):
    lens = dataclasses.replace(camera, distortion=np.array([-0.1, 0, 0, 0]), distortion_model='equidistant')
    points = np.random.default_rng(0).uniform((5, -3, -2), (40, 3, 2), (50, 3))
    optical = (points @ lens.rotation.T).reshape(-1, 1, 3)
    expected = cv2.fisheye.projectPoints(optical, np.zeros(3), np.zeros(3), MATRIX, lens.distortion)[0].reshape(-1, 2)
    np.testing.assert_allclose(lens.project(points)[0], expected, atol=1e-6)
    # angle (1 - 0.1 angle^2) grows up to sqrt(1 / 0.3): beyond a right angle
    assert np.isfinite(lens.project([[1, 50.0, 0]])[0]).all()
    narrow = dataclasses.replace(lens, distortion=np.array([-0.5, 0, 0, 0]))
    largest = np.tan(np.sqrt(1 / 1.5))
    pixels, _ = narrow.project([[1, largest - 0.01, 0], [1, largest + 0.01, 0]])
    assert np.isfinite(pixels[0]).all()
    assert np.isnan(pixels[1]).all()


def test_a_rational_lens_has_no_pixel_beyond_its_limit(camera):
    coefficients = np.array([0.0, 0, 0, 0, 0, 1.0, 0, 0])
    lens = dataclasses.replace(camera, distortion=coefficients, distortion_model='rational_polynomial')
    # r / (1 + r^2) grows up to 1
    pixels, _ = lens.project([[1, 0.99, 0], [1, 1.01, 0]])
    assert np.isfinite(pixels[0]).all()
    assert np.isnan(pixels[1]).all()


def test_places_behind_the_camera_have_no_pixel(camera):
    pixels, depth = camera.project([[-5, 0, 0], [0, 1, 0]])
    assert np.all(np.isnan(pixels))
    assert np.all(depth <= 0)
    assert not camera.in_view([[-5, 0, 0]])[0]


def test_places_where_the_distortion_folds_back_have_no_pixel(camera):
    barrel = dataclasses.replace(camera, distortion=np.array([-0.3, 0, 0, 0, 0]))
    # the distorted radius has its maximum at sqrt(1 / 0.9)
    pixels, _ = barrel.project([[1, 1.0, 0], [1, 1.1, 0], [1, 1.8, 0]])
    assert np.isfinite(pixels[0]).all()
    assert np.isnan(pixels[1:]).all()


def test_the_view_ends_at_the_outer_edge_of_the_outer_pixels(camera):
    columns = np.array([-0.4, -0.6, 639.4, 639.6])
    points = np.column_stack([np.ones(4), -(columns - 319.5) / 300, np.zeros(4)])
    assert camera.in_view(points).tolist() == [True, False, True, False]


def test_no_places_give_no_pixels(camera):
    pixels, depth = camera.project(np.zeros((0, 3)))
    assert pixels.shape == (0, 2)
    assert depth.shape == (0,)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'width': 0}, 'camera size: expected at least 1 x 1 pixels, got 0 x 480'),
        ({'matrix': np.zeros((3, 3))}, 'camera matrix: expected fx > 0'),
        ({'matrix': np.eye(2)}, r'camera matrix: expected finite numbers of shape \(3, 3\)'),
        ({'distortion': np.zeros(4)}, r'camera distortion: expected finite numbers of shape \(5,\)'),
        ({'rotation': 2 * np.eye(3)}, 'camera rotation: expected a rotation matrix'),
        ({'rotation': np.diag([1.0, 1, -1])}, 'camera rotation: expected a rotation matrix'),
        ({'translation': np.array([0, np.nan, 0])}, 'camera translation: expected finite numbers'),
    ],
)
def test_numbers_that_are_no_camera_are_refused(camera, change, named):
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(camera, **change)
