# SPDX-License-Identifier: Apache-2.0
"""Pinhole camera with lens distortion, and where it sits seen from the radar."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from radio_visual_ssl.vision.calibration import distortion_coefficients

# Camera optical axes (x right, y down, z forward) of a camera that looks along x of a REP-103 frame.
FORWARD_LOOKING = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])

REFINEMENTS = 20
"""Steps that take the distortion off a pixel to a hundredth of a pixel."""


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Projects places in the radar frame to pixels.

    Pixel coordinates: (0, 0) is the centre of the upper left pixel, u to the right, v down. A place ``p`` of the radar
    frame is ``rotation @ p + translation`` in the camera's optical frame (REP-103: x right, y down, z forward).

    Attributes:
        width, height: pixels.
        matrix: (3, 3) float64, the intrinsic matrix K, pixels.
        distortion: float64 coefficients in OpenCV's order, (k1, k2, p1, p2, k3) of the ``plumb_bob`` model; zeros of
            that model = rectified.
        rotation: (3, 3) float64, radar frame to optical frame.
        translation: (3,) float64, m, the radar's origin in the optical frame.
        distortion_model: ``plumb_bob`` (5 coefficients), ``rational_polynomial`` (8, 12 or 14) or ``equidistant`` (4).

    Raises:
        ValueError: an array of another shape, not finite, or a rotation that is not one; the message names the field.
    """

    width: int
    height: int
    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))
    rotation: NDArray[np.float64] = field(default_factory=FORWARD_LOOKING.copy)
    translation: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    distortion_model: str = 'plumb_bob'

    def __post_init__(self) -> None:
        """Take the arrays over as read-only float64 and check them."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f'camera size: expected at least 1 x 1 pixels, got {self.width} x {self.height}')
        coefficients = distortion_coefficients(self.distortion_model, np.size(self.distortion))
        shapes = (('matrix', (3, 3)), ('distortion', (coefficients,)), ('rotation', (3, 3)), ('translation', (3,)))
        for name, shape in shapes:
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
            pixels[visible] = self._distort(optical[visible])
        return pixels, depth

    def rays(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """(N, 3) directions in the radar frame, of length 1 along the optical axis, that fall on pixels (N, 2)."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        undistort = cv2.fisheye.undistortPoints if self.distortion_model == 'equidistant' else cv2.undistortPoints
        rays = np.ones((len(pixels), 3))
        rays[:, :2] = undistort(pixels, self.matrix, self.distortion).reshape(-1, 2)
        for _ in range(REFINEMENTS):  # OpenCV stops after five steps, up to 2 pixels off
            rays[:, :2] += (pixels[:, 0] - self._distort(rays)) / (self.matrix[0, 0], self.matrix[1, 1])
        return rays @ self.rotation

    def _distort(self, optical: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) pixels of places in the optical frame, (N, 3)."""
        still = np.zeros(3)
        project = cv2.fisheye.projectPoints if self.distortion_model == 'equidistant' else cv2.projectPoints
        projected, _ = project(optical.reshape(-1, 1, 3), still, still, self.matrix, self.distortion)
        return np.asarray(projected, dtype=np.float64).reshape(-1, 2)

    def in_view(self, points: ArrayLike) -> NDArray[np.bool_]:
        """(N,) whether places of the radar frame, (N, 3) m, fall on the image; what hides them does not count."""
        pixels, _ = self.project(points)
        with np.errstate(invalid='ignore'):
            inside = (pixels >= -0.5) & (pixels < (self.width - 0.5, self.height - 0.5))
        return np.all(inside, axis=1)

    def _largest_radius(self) -> float:
        """Normalised image radius (tangent of the angle off axis) up to which the distorted radius grows."""
        if self.distortion_model == 'equidistant':
            # d/dangle of angle (1 + k1 angle^2 + k2 angle^4 + ...), as a polynomial in angle^2
            slope = np.poly1d([*(self.distortion[::-1] * (9, 7, 5, 3)), 1.0])
            angle = np.sqrt(_first_positive_root(slope))
            return float(np.tan(angle)) if angle < np.pi / 2 else float('inf')
        k1, k2, _, _, k3 = self.distortion[:5]
        numerator = np.poly1d([k3, k2, k1, 1.0])
        denominator = np.poly1d([*self.distortion[7:4:-1], 1.0])
        # d/dr of r n(r^2) / d(r^2) is zero where n d + 2 r^2 (n' d - n d') is, and d has poles
        slope = numerator * denominator + np.poly1d([2.0, 0.0]) * (
            numerator.deriv() * denominator - numerator * denominator.deriv()
        )
        return float(np.sqrt(min(_first_positive_root(slope), _first_positive_root(denominator))))


def _first_positive_root(polynomial: np.poly1d) -> float:
    """Smallest positive real root; infinity where there is none."""
    roots = polynomial.roots
    positive = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return float(positive.min()) if positive.size else float('inf')
