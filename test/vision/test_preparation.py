# SPDX-License-Identifier: Apache-2.0
"""Cropped, scaled and rectified pictures show a place in space where their calibration says."""

import cv2
import numpy as np
import pytest

from radio_visual_ssl.vision.calibration import Calibration
from radio_visual_ssl.vision.preparation import Preparation, Rectifier, Region

SIZE = (640, 480)
MATRIX = np.array([[400.0, 0, 322.3], [0, 410, 236.8], [0, 0, 1]])
LENSES = {
    'plumb_bob': [-0.25, 0.06, 0.001, -0.002, 0.0],
    'rational_polynomial': [0.3, 0.05, 0.001, -0.001, 0.01, 0.6, 0.1, 0.02],
    'equidistant': [-0.02, 0.005, -0.001, 0.0],
}
TURN = cv2.Rodrigues(np.array([0.01, -0.03, 0.005]))[0]
PLACES = np.array([[x, y, 5.0] for x in (-1.6, 0.1, 1.3) for y in (-1.1, 0.2, 1.2)])


def calibration_of(model):
    projection = np.array([[380.0, 0, 318, -40], [0, 380, 241, 0], [0, 0, 1, 0]])
    return Calibration(*SIZE, MATRIX, model, LENSES[model], TURN, projection)


def project(calibration, places):
    """(N, 2) pixels of places in the camera's frame, by OpenCV."""
    zeros = np.zeros(3)
    if calibration.distortion_model == 'equidistant':
        arguments = (places.reshape(-1, 1, 3), zeros, zeros, calibration.matrix, calibration.distortion)
        return cv2.fisheye.projectPoints(*arguments)[0].reshape(-1, 2)
    return cv2.projectPoints(places, zeros, zeros, calibration.matrix, calibration.distortion)[0].reshape(-1, 2)


def picture_with_spots(pixels, size=SIZE, radius=6.0):
    """A black picture with one bright round spot at each subpixel place."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    image = np.zeros((size[1], size[0]))
    for u, v in pixels:
        image += np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * (radius / 2) ** 2))
    return np.clip(255 * image, 0, 255).astype(np.uint8)


def spot_near(image, pixel, reach=10):
    """Subpixel centre of brightness around a pixel."""
    u, v = np.round(pixel).astype(int)
    cut = image[max(v - reach, 0) : v + reach + 1, max(u - reach, 0) : u + reach + 1].astype(float)
    columns = np.arange(max(u - reach, 0), max(u - reach, 0) + cut.shape[1])
    rows = np.arange(max(v - reach, 0), max(v - reach, 0) + cut.shape[0])
    assert cut.sum() > 500, 'nothing bright here'
    return np.array([(cut.sum(0) * columns).sum(), (cut.sum(1) * rows).sum()]) / cut.sum()


def inside(pixels, size, margin=12):
    return np.all((pixels > margin) & (pixels < np.array(size) - margin), axis=1)


PREPARATIONS = {
    'as it comes': {},
    'cropped': {'crop': Region(80, 40, 500, 400)},
    'half': {'width': 320},
    'enlarged': {'height': 720},
    'squeezed': {'width': 480, 'height': 200},
    'cropped and scaled': {'crop': Region(60, 33, 520, 0), 'width': 400, 'height': 300},
}


@pytest.mark.parametrize('model', LENSES)
@pytest.mark.parametrize('arguments', PREPARATIONS.values(), ids=PREPARATIONS)
def test_a_place_in_space_stays_on_the_same_content(model, arguments):
    calibration = calibration_of(model)
    pixels = project(calibration, PLACES)
    assert inside(pixels, SIZE).all()
    preparation = Preparation(SIZE, **arguments)
    prepared = preparation.apply(picture_with_spots(pixels))
    adjusted = preparation.adjust(calibration)
    assert prepared.shape == (adjusted.height, adjusted.width)
    expected = project(adjusted, PLACES)
    visible = expected[inside(expected, preparation.size)]
    assert len(visible) >= 4
    for pixel in visible:
        np.testing.assert_allclose(spot_near(prepared, pixel), pixel, atol=0.1)


@pytest.mark.parametrize('model', LENSES)
@pytest.mark.parametrize('arguments', PREPARATIONS.values(), ids=PREPARATIONS)
def test_a_rectified_picture_shows_places_where_the_projection_matrix_says(model, arguments):
    calibration = calibration_of(model)
    preparation = Preparation(SIZE, **arguments)
    adjusted = preparation.adjust(calibration)
    rectified = Rectifier(adjusted).apply(preparation.apply(picture_with_spots(project(calibration, PLACES))))
    assert rectified.shape == (adjusted.height, adjusted.width)
    # P's last column is the stereo baseline: it places the other camera, not the picture
    seen = PLACES @ adjusted.rectification.T @ adjusted.projection[:, :3].T
    expected = seen[:, :2] / seen[:, 2:]
    visible = expected[inside(expected, preparation.size)]
    assert len(visible) >= 4
    for pixel in visible:
        np.testing.assert_allclose(spot_near(rectified, pixel, reach=12), pixel, atol=0.25)


def test_the_baseline_of_a_stereo_camera_scales_with_the_picture():
    adjusted = Preparation(SIZE, width=320).adjust(calibration_of('plumb_bob'))
    np.testing.assert_allclose(adjusted.projection[:, 3], [-20, 0, 0])


def test_a_missing_side_follows_in_proportion():
    assert Preparation(SIZE, width=320).size == (320, 240)
    assert Preparation(SIZE, height=120).size == (160, 120)
    assert Preparation(SIZE, Region(0, 0, 100, 400), height=200).size == (50, 200)
    assert Preparation(SIZE, Region(40, 80)).size == (600, 400)


def test_nothing_is_copied_where_nothing_is_scaled():
    image = np.zeros((480, 640, 3), np.uint8)
    assert np.shares_memory(Preparation(SIZE, Region(1, 2, 30, 40)).apply(image), image)


@pytest.mark.parametrize(
    'crop', [Region(600, 0, 41, 10), Region(0, 480), Region(0, 0, 640, 481), Region(-1, 0, 10, 10)]
)
def test_a_region_outside_the_picture_is_refused(crop):
    with pytest.raises(ValueError, match='crop: expected a region inside the picture of 640 x 480, got'):
        Preparation(SIZE, crop)


def test_a_calibration_of_another_size_is_refused():
    preparation = Preparation((1280, 720))
    with pytest.raises(
        ValueError, match='expected a calibration of 1280 x 720 pictures as they come, got one of 640 x 480'
    ):
        preparation.adjust(calibration_of('plumb_bob'))
