# SPDX-License-Identifier: Apache-2.0
"""Pinhole camera with lens distortion, and where it sits seen from the radar."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from radio_visual_ssl.vision.calibration import load_calibration

# Camera optical axes (x right, y down, z forward) of a camera that looks along x of a REP-103 frame.
FORWARD_LOOKING = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Projects places in the radar frame to pixels.

    Pixel coordinates: (0, 0) is the centre of the upper left pixel, u to the right, v down. A place ``p`` of the radar
    frame is ``rotation @ p + translation`` in the camera's optical frame (REP-103: x right, y down, z forward).

    Attributes:
        width, height: pixels.
        matrix: (3, 3) float64, the intrinsic matrix K, pixels.
        distortion: (k1, k2, p1, p2, k3) float64 of the ``plumb_bob`` model; zeros = rectified.
        rotation: (3, 3) float64, radar frame to optical frame.
        translation: (3,) float64, m, the radar's origin in the optical frame.

    Raises:
        ValueError: an array of another shape, not finite, or a rotation that is not one; the message names the field.
    """

    width: int
    height: int
    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))
    rotation: NDArray[np.float64] = field(default_factory=FORWARD_LOOKING.copy)
    translation: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        """Take the arrays over as read-only float64 and check them."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f'camera size: expected at least 1 x 1 pixels, got {self.width} x {self.height}')
        for name, shape in (('matrix', (3, 3)), ('distortion', (5,)), ('rotation', (3, 3)), ('translation', (3,))):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.all(np.isfinite(value)):
                raise ValueError(f'camera {name}: expected finite numbers of shape {shape}, got {value.tolist()}')
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if self.matrix[0, 0] <= 0 or self.matrix[1, 1] <= 0 or not np.array_equal(self.matrix[2], [0, 0, 1]):
            raise ValueError(f'camera matrix: expected fx > 0, fy > 0 and a last row 0 0 1, got {self.matrix.tolist()}')
        if not np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(self.rotation) < 0:
            raise ValueError(f'camera rotation: expected a rotation matrix, got {self.rotation.tolist()}')

    def project(self, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels and depth of places in the radar frame.

        Args:
            points: (N, 3) m.

        Returns:
            (N, 2) pixels (u, v), NaN for places that the lens cannot image (behind the camera, or so far off axis that
            the distortion polynomial folds back), and (N,) depth along the optical axis, m.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        optical = points @ self.rotation.T + self.translation
        depth = optical[:, 2]
        pixels = np.full((len(points), 2), np.nan)
        visible = np.flatnonzero(depth > 1e-6)
        if visible.size:
            radius = np.hypot(optical[visible, 0], optical[visible, 1]) / depth[visible]
            visible = visible[radius <= self._largest_radius()]
        if visible.size:
            projected, _ = cv2.projectPoints(optical[visible], np.zeros(3), np.zeros(3), self.matrix, self.distortion)
            pixels[visible] = projected.reshape(-1, 2)
        return pixels, depth

    def in_view(self, points: ArrayLike) -> NDArray[np.bool_]:
        """(N,) whether places of the radar frame, (N, 3) m, fall on the image; what hides them does not count."""
        pixels, _ = self.project(points)
        with np.errstate(invalid='ignore'):
            inside = (pixels >= -0.5) & (pixels < (self.width - 0.5, self.height - 0.5))
        return np.all(inside, axis=1)

    def _largest_radius(self) -> float:
        """Normalised image radius (tangent of the angle off axis) up to which the distorted radius grows."""
        k1, k2, _, _, k3 = self.distortion
        # d/dr of r (1 + k1 r^2 + k2 r^4 + k3 r^6), as a polynomial in r^2
        roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
        positive = roots.real[(np.abs(roots.imag) < 1e-12) & (roots.real > 0)]
        return float(np.sqrt(positive.min())) if positive.size else float('inf')


def load_camera(path: str | Path) -> CameraModel:
    """Camera from a calibration file of ROS's camera_info_manager (image_width, camera_matrix ...).

    The file holds no mounting: the camera comes out looking along x from the radar's place; set the rest with
    ``dataclasses.replace``.

    Args:
        path: of the file, or its ``file://`` or ``package://`` URL.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a field is missing or wrong, or the distortion model is not plumb_bob; the message names the file
            and the field.
    """
    calibration = load_calibration(path)
    if calibration.distortion_model != 'plumb_bob':
        raise ValueError(f'{path}: distortion_model: expected plumb_bob, got {calibration.distortion_model!r}')
    return CameraModel(calibration.width, calibration.height, calibration.matrix, calibration.distortion)
