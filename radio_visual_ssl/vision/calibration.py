# SPDX-License-Identifier: Apache-2.0
"""Camera calibrations as ROS's camera_info_manager writes them: YAML files, named by path or URL."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.config_file import read_mapping

COEFFICIENTS = {'plumb_bob': (5,), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
"""Distortion models (sensor_msgs/distortion_models.hpp) and how many coefficients each may have."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What sensor_msgs/CameraInfo says of a camera.

    Pixel coordinates: (0, 0) is the centre of the upper left pixel.

    Attributes:
        width, height: pixels of the pictures that it holds for.
        matrix: (3, 3) float64, K, of the pictures as they come from the camera.
        distortion_model: ``plumb_bob``, ``rational_polynomial`` or ``equidistant`` (fisheye).
        distortion: float64, D: 5, 8 to 14, or 4 coefficients in OpenCV's order.
        rectification: (3, 3) float64, R: the camera's frame to the rectified one.
        projection: (3, 4) float64, P: the rectified frame to pixels of the rectified picture.

    Raises:
        ValueError: a value of another shape, not finite, or impossible; the message begins with the field's name as
            calibration files have it.
    """

    width: int
    height: int
    matrix: NDArray[np.float64]
    distortion_model: str
    distortion: NDArray[np.float64]
    rectification: NDArray[np.float64]
    projection: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Take the arrays over as read-only float64 and check them."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f'image_width, image_height: expected 1 or more, got {self.width} x {self.height}')
        coefficients = distortion_coefficients(self.distortion_model, np.size(self.distortion))
        for name, field, shape in (
            ('matrix', 'camera_matrix', (3, 3)),
            ('distortion', 'distortion_coefficients', (coefficients,)),
            ('rectification', 'rectification_matrix', (3, 3)),
            ('projection', 'projection_matrix', (3, 4)),
        ):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.all(np.isfinite(value)):
                raise ValueError(f'{field}: expected finite numbers of shape {shape}, got {value.tolist()}')
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        for field, matrix in (('camera_matrix', self.matrix), ('projection_matrix', self.projection)):
            if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or not np.array_equal(matrix[2, :3], [0, 0, 1]):
                raise ValueError(f'{field}: expected fx > 0, fy > 0 and a last row 0 0 1, got {matrix.tolist()}')
        rotation = self.rectification
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
            raise ValueError(f'rectification_matrix: expected a rotation, got {rotation.tolist()}')


def distortion_coefficients(model: str, given: int) -> int:
    """How many coefficients a distortion model has: as many as given, where it may have these.

    Raises:
        ValueError: an unknown model.
    """
    if model not in COEFFICIENTS:
        *others, last = COEFFICIENTS
        raise ValueError(f'distortion_model: expected {", ".join(others)} or {last}, got {model!r}')
    return given if given in COEFFICIENTS[model] else COEFFICIENTS[model][0]


def load_calibration(url: str | Path, camera_name: str = 'camera') -> Calibration:
    """Read a calibration file.

    rectification_matrix and projection_matrix may be absent: identity and K then.

    Args:
        url: a path, ``file://`` or ``package://`` URL, see ``calibration_path``.
        camera_name: stands for ``${NAME}`` in it.

    Raises:
        FileNotFoundError: no such file or package.
        ValueError: an unknown kind of URL, or a field is missing or wrong; the message names the file and the field.
    """
    path = calibration_path(url, camera_name)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: expected a camera calibration file (camera_info_manager YAML), found none')
    content = read_mapping(path, what='a mapping with image_width, camera_matrix ...')
    try:
        return _read_calibration(content)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def calibration_path(url: str | Path, camera_name: str = 'camera') -> Path:
    """The file that a calibration URL names.

    ``file:///folder/left.yaml``, ``package://my_robot/config/left.yaml`` (the package's share folder) or a plain path;
    ``${NAME}`` is the camera's name and ``${ROS_HOME}`` ROS's folder (~/.ros), as in camera_info_manager.

    Raises:
        FileNotFoundError: the package is not on AMENT_PREFIX_PATH.
        ValueError: another kind of URL, or a package URL without a file.
    """
    text = str(url).replace('${NAME}', camera_name)
    text = text.replace('${ROS_HOME}', os.environ.get('ROS_HOME') or str(Path.home() / '.ros'))
    scheme, separator, rest = text.partition('://')
    if not separator:
        return Path(text).expanduser()
    if scheme == 'file':
        return Path(unquote(rest.removeprefix('localhost')))
    if scheme != 'package':
        raise ValueError(f'{text}: expected a path, a file:// or a package:// URL, got the scheme {scheme}://')
    package, _, inner = rest.partition('/')
    if not package or not inner:
        raise ValueError(f'{text}: expected package://<package>/<path of the file in its share folder>')
    prefixes = [Path(prefix) for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if prefix]
    for prefix in prefixes:
        share = prefix / 'share' / package
        if (share / 'package.xml').is_file():
            return share / unquote(inner)
    raise FileNotFoundError(
        f'{text}: expected the package {package} on AMENT_PREFIX_PATH, found it in none of its {len(prefixes)} folders'
    )


def _read_calibration(content: dict[str, Any]) -> Calibration:
    model = content.get('distortion_model', 'plumb_bob')
    matrix = _numbers(content, 'camera_matrix', 9).reshape(3, 3)
    distortion = _numbers(content, 'distortion_coefficients')
    allowed = (4, 5) if model == 'plumb_bob' else COEFFICIENTS.get(model, (distortion.size,))
    if distortion.size not in allowed:
        raise ValueError(
            f'distortion_coefficients: expected {" or ".join(map(str, allowed))} for {model}, got {distortion.size}'
        )
    if model == 'plumb_bob':
        distortion = np.pad(distortion, (0, 5 - distortion.size))
    rectification, projection = np.eye(3), np.hstack([matrix, np.zeros((3, 1))])
    if 'rectification_matrix' in content:
        rectification = _numbers(content, 'rectification_matrix', 9).reshape(3, 3)
    if 'projection_matrix' in content:
        projection = _numbers(content, 'projection_matrix', 12).reshape(3, 4)
    width, height = _size(content, 'image_width'), _size(content, 'image_height')
    return Calibration(width, height, matrix, str(model), distortion, rectification, projection)


def _numbers(content: dict[str, Any], field: str, count: int | None = None) -> NDArray[np.float64]:
    entry = _field(content, field)
    values = entry.get('data') if isinstance(entry, dict) else entry
    try:
        # YAML 1.1 takes 1e-3 (without a point) for a text
        numbers = np.array([float(value) for value in values], dtype=np.float64)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise ValueError(f'{field}: expected numbers under data, got {values!r}') from None
    if count is not None and numbers.size != count:
        raise ValueError(f'{field}: expected {count} numbers, got {numbers.size}')
    return numbers


def _size(content: dict[str, Any], field: str) -> int:
    value = _field(content, field)
    if not re.fullmatch(r'\d{1,6}', str(value)):
        raise ValueError(f'{field}: expected a number of pixels, got {value!r}')
    return int(value)


def _field(content: dict[str, Any], field: str) -> Any:
    if field not in content:
        raise ValueError(f'expected the field {field}, found {", ".join(map(str, content))}')
    return content[field]
