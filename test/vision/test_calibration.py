# SPDX-License-Identifier: Apache-2.0
"""Calibration files of camera_info_manager are read by path and URL, and broken ones are named."""

import numpy as np
import pytest

from radio_visual_ssl.vision.calibration import calibration_path, load_calibration

COMPLETE = """
image_width: 640
image_height: 480
camera_name: left
camera_matrix: {rows: 3, cols: 3, data: [300, 0, 319.5, 0, 310, 239.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.18, 0.03, 1e-3, -0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [0.8, 0, 0.6, 0, 1, 0, -0.6, 0, 0.8]}
projection_matrix: {rows: 3, cols: 4, data: [280, 0, 320, -30, 0, 281, 240, 0, 0, 0, 1, 0]}
"""
DISTORTION = (
    'distortion_model: plumb_bob\ndistortion_coefficients: {rows: 1, cols: 5, data: [-0.18, 0.03, 1e-3, -0.002, 0]}'
)


@pytest.fixture
def write(tmp_path):
    def write(text=COMPLETE, name='left.yaml'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_each_field_is_read(write):
    calibration = load_calibration(write())
    assert (calibration.width, calibration.height) == (640, 480)
    np.testing.assert_array_equal(calibration.matrix, [[300, 0, 319.5], [0, 310, 239.5], [0, 0, 1]])
    np.testing.assert_array_equal(calibration.distortion, [-0.18, 0.03, 0.001, -0.002, 0])
    np.testing.assert_array_equal(calibration.rectification, [[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    np.testing.assert_array_equal(calibration.projection, [[280, 0, 320, -30], [0, 281, 240, 0], [0, 0, 1, 0]])


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [('rational_polynomial', [0.1] * 8), ('rational_polynomial', [0.1] * 14), ('equidistant', [0.1] * 4)],
)
def test_other_lenses_are_read(write, model, coefficients):
    text = COMPLETE.replace(DISTORTION, f'distortion_model: {model}\ndistortion_coefficients: {{data: {coefficients}}}')
    calibration = load_calibration(write(text))
    assert calibration.distortion_model == model
    np.testing.assert_array_equal(calibration.distortion, coefficients)


def test_without_rectification_the_projection_is_the_camera_matrix(write):
    calibration = load_calibration(write(COMPLETE.partition('rectification_matrix')[0]))
    np.testing.assert_array_equal(calibration.rectification, np.eye(3))
    np.testing.assert_array_equal(calibration.projection, np.hstack([calibration.matrix, np.zeros((3, 1))]))


def test_four_coefficients_are_a_plumb_bob_without_the_fifth(write):
    calibration = load_calibration(write(COMPLETE.replace('1e-3, -0.002, 0]', '1e-3, -0.002]')))
    np.testing.assert_array_equal(calibration.distortion, [-0.18, 0.03, 0.001, -0.002, 0])


def test_files_are_found_by_url(write, tmp_path, monkeypatch):
    path = write(name='prefix/share/my_robot/config/my left.yaml')
    (tmp_path / 'prefix/share/my_robot/package.xml').touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}/prefix')
    monkeypatch.setenv('ROS_HOME', str(tmp_path / 'prefix/share'))
    for url in (
        path,
        f'file://{str(path).replace(" ", "%20")}',
        'package://my_robot/config/my left.yaml',
        'file://${ROS_HOME}/my_robot/config/${NAME}.yaml',
    ):
        assert calibration_path(url, camera_name='my left') == path
        assert load_calibration(url, camera_name='my left').width == 640


@pytest.mark.parametrize(
    ('url', 'error', 'named'),
    [
        ('/none/left.yaml', FileNotFoundError, '/none/left.yaml: expected a camera calibration file'),
        ('file:///none/left.yaml', FileNotFoundError, '/none/left.yaml: expected a camera calibration file'),
        ('package://no_such_package/left.yaml', FileNotFoundError, 'expected the package no_such_package on AMENT'),
        ('package://radio_visual_ssl', ValueError, 'expected package://<package>/<path'),
        ('flash:///left', ValueError, 'expected a path, a file:// or a package:// URL, got the scheme flash://'),
    ],
)
def test_urls_that_name_no_file_are_refused(url, error, named):
    with pytest.raises(error, match=named):
        load_calibration(url)


@pytest.mark.parametrize(
    ('old', 'new', 'named'),
    [
        ('[-0.18, 0.03, 1e-3, -0.002, 0]', '[0, 0, 0, 0, 0, 0]', 'expected 4 or 5 for plumb_bob, got 6'),
        ('plumb_bob', 'rational_polynomial', 'expected 8 or 12 or 14 for rational_polynomial, got 5'),
        ('plumb_bob', 'fisheye', "expected plumb_bob, rational_polynomial or equidistant, got 'fisheye'"),
        ('[-0.18, 0.03', '[.nan, 0.03', 'distortion_coefficients: expected finite numbers'),
        ('{rows: 3, cols: 3, data: [300, 0', '{rows: 3, cols: 3, values: [300, 0', 'camera_matrix: expected numbers'),
        ('data: [300, 0, 319.5', 'data: [three, 0, 319.5', 'camera_matrix: expected numbers under data'),
        ('[280, 0, 320, -30', '[280, 0, 320', 'projection_matrix: expected 12 numbers, got 11'),
        ('[280, 0, 320, -30', '[0, 0, 320, -30', 'projection_matrix: expected fx > 0'),
        ('[0.8, 0, 0.6', '[0.9, 0, 0.6', 'rectification_matrix: expected a rotation'),
        ('image_height: 480', 'image_height: -480', "image_height: expected a number of pixels, got '?-480"),
        ('image_height: 480', 'image_height: 0', 'image_width, image_height: expected 1 or more, got 640 x 0'),
        ('image_height: 480', '', 'expected the field image_height, found image_width'),
        ('image_width: 640', 'image_width: wide', "image_width: expected a number of pixels, got 'wide'"),
        ('[300, 0, 319.5', '[300, 319.5', 'camera_matrix: expected 9 numbers, got 8'),
        ('[300, 0, 319.5', '[-300, 0, 319.5', 'camera_matrix: expected fx > 0'),
        ('camera_name: left', 'camera_name: [left', 'expected YAML, got'),
        (COMPLETE, 'just text', 'expected a mapping with image_width, camera_matrix ..., got str'),
    ],
)
def test_broken_files_are_named(write, old, new, named):
    assert old in COMPLETE
    with pytest.raises(ValueError, match=rf'left.yaml: .*{named}'):
        load_calibration(write(COMPLETE.replace(old, new)))


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / 'left.yaml').write_bytes(b'\x89PNG\xff\xfe\x00')
    with pytest.raises(ValueError, match=r'left.yaml: expected YAML'):
        load_calibration(tmp_path / 'left.yaml')
