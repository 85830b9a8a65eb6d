# SPDX-License-Identifier: Apache-2.0
"""From what a radar above its targets reads to places on the ground."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.target import Target

LEAST_COSINE = (
    0.1  # of an azimuth: within 6 degrees of the line of antennas the arcsine is nowhere near a straight line
)


def to_ground(
    slant_range: NDArray[np.float64], azimuth: NDArray[np.float64], height: float | NDArray[np.float64], *, cone: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ground range and azimuth of points below the radar.

    A line of antennas along y reads the cone angle c with ``y = d sin(c)`` at slant range d; the ground range is
    ``sqrt(d^2 - height^2)``, no less than 0.1 m.

    Args:
        slant_range: (N,) m.
        azimuth: (N,) rad, as read, anticlockwise from x forward.
        height: m, of the radar above the points, one for all or (N,).
        cone: whether azimuths are cone angles; those of a radar that turns round are true.

    Returns:
        (N,) m and (N,) rad.
    """
    ground = np.sqrt(np.maximum(slant_range**2 - np.square(height), 0.01))
    if cone and np.any(height):
        azimuth = np.arcsin(np.clip(slant_range * np.sin(azimuth) / ground, -1, 1))
    return ground, azimuth


def targets_on_ground(
    targets: Sequence[Target], height: float, depth: float, extent_std: float = 0.0, *, cone: bool
) -> list[Target]:
    """Targets with the radar's height above them taken out, and as far behind their near side as is said.

    What is nearer than the height cannot be such a target and is dropped.

    Args:
        targets: places as the radar reads them.
        height: m, of the radar above the middle of the targets.
        depth: m, added along the range.
        extent_std: m, the part of the covariance, along x and along y, that is on the ground already.
        cone: whether azimuths are cone angles.
    """
    if not (height or depth):
        return list(targets)
    targets = [target for target in targets if target.range > abs(height)]
    slant = np.array([(target.range, target.azimuth) for target in targets]).reshape(-1, 2)
    extent = extent_std**2 * np.eye(2)
    read = np.array([target.covariance for target in targets]).reshape(-1, 2, 2) - extent
    along = _rotation(-slant[:, 1])
    place, covariance = places_on_ground(
        slant[:, 0], slant[:, 1], along @ read @ along.swapaxes(-1, -2), height, depth, cone=cone
    )
    return [
        replace(target, x=float(x), y=float(y), z=-height, covariance=spread + extent)
        for target, (x, y), spread in zip(targets, place, covariance, strict=True)
    ]


def places_on_ground(
    slant_range: NDArray[np.float64],
    azimuth: NDArray[np.float64],
    covariance: NDArray[np.float64],
    height: float,
    depth: float,
    *,
    cone: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places on the ground of what a radar reads, with their covariances.

    Args:
        slant_range: (N,) m, as read.
        azimuth: (N,) rad, as read.
        covariance: (N, 2, 2) m^2, along the range and across it, as read.
        height: m, of the radar above the places.
        depth: m, added along the range.
        cone: whether azimuths are cone angles.

    Returns:
        (N, 2) m and (N, 2, 2) m^2 of (x, y).
    """
    ground, turned = to_ground(slant_range, azimuth, height, cone=cone)
    moved = np.maximum(ground + depth, 0.0)
    jacobian = _jacobian(slant_range, azimuth, ground, turned, moved, cone=cone and height != 0)
    turn = _rotation(turned) @ jacobian
    return np.stack((moved * np.cos(turned), moved * np.sin(turned)), axis=1), turn @ covariance @ turn.swapaxes(-1, -2)


def _jacobian(
    slant: NDArray[np.float64],
    read: NDArray[np.float64],
    ground: NDArray[np.float64],
    azimuth: NDArray[np.float64],
    moved: NDArray[np.float64],
    *,
    cone: bool,
) -> NDArray[np.float64]:
    """(N, 2, 2) steps on the ground by steps as read, each along the range and across it, m by m.

    From ``ground^2 = slant^2 - height^2`` and, of cone angles, ``ground sin(azimuth) = slant sin(read)``.

    Args:
        slant: (N,) m, as read.
        read: (N,) rad, as read.
        ground: (N,) m, see `to_ground`.
        azimuth: (N,) rad, see `to_ground`.
        moved: (N,) m, ground range with the depth of the targets.
        cone: whether ``read`` are cone angles.
    """
    jacobian = np.zeros((len(slant), 2, 2))
    jacobian[:, 0, 0] = slant / ground
    jacobian[:, 1, 1] = moved / np.maximum(slant, 0.1)  # the least that `to_ground` gives
    if cone:
        cosine = np.maximum(np.cos(azimuth), LEAST_COSINE)
        # no less than 1 but where nothing on the ground reads so
        jacobian[:, 1, 1] = moved / ground * np.maximum(np.cos(read) / cosine, 1.0)
        jacobian[:, 1, 0] = moved / ground * (np.sin(read) - np.sin(azimuth) * slant / ground) / cosine
    return jacobian


def _rotation(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2, 2), anticlockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack((cos, -sin, sin, cos), axis=-1).reshape(-1, 2, 2)
