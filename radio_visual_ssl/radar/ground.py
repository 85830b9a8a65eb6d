# SPDX-License-Identifier: Apache-2.0
"""From what a radar above its targets reads to places on the ground."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.target import Target


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
    ground, azimuth = to_ground(slant[:, 0], slant[:, 1], height, cone=cone)
    moved = np.maximum(ground + depth, 0.0)
    extent = extent_std**2 * np.eye(2)
    placed = []
    for target, before, after, range_, stretch in zip(
        targets, slant[:, 1], azimuth, moved, slant[:, 0] / ground, strict=True
    ):
        # the covariance turns with the target, and its part along the range is stretched
        turn = _rotation(after) @ np.diag((stretch, 1.0)) @ _rotation(before).T
        covariance = turn @ (target.covariance - extent) @ turn.T + extent
        x, y = float(range_ * np.cos(after)), float(range_ * np.sin(after))
        placed.append(replace(target, x=x, y=y, z=-height, covariance=covariance))
    return placed


def _rotation(angle: float) -> NDArray[np.float64]:
    """(2, 2), anticlockwise."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
