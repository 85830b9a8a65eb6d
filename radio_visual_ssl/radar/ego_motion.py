# SPDX-License-Identifier: Apache-2.0
"""The velocity of a platform from what its radar sees standing."""

import math

import numpy as np
from numpy.typing import NDArray

FEWEST_CELLS = 8  # fewer say nothing of the platform, and hide nothing
COARSE_STEP = 2.0  # times the blur, of the first search
BLUR = 2  # resolution cells either way that count for a hypothesis
REFINEMENTS = 12


def static_velocity(azimuth: NDArray[np.float64], ego_velocity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radial velocity (m/s, positive = receding) that standing things have, seen from a platform that moves.

    Args:
        azimuth: any shape, rad.
        ego_velocity: (2,) m/s of the radar over the ground, forward and to the left of it.
    """
    return -(np.cos(azimuth) * ego_velocity[0] + np.sin(azimuth) * ego_velocity[1])


def estimate_ego_velocity(
    azimuth: NDArray[np.float64],
    doppler_bin: NDArray[np.integer],
    doppler_bins: int,
    bin_step: float,
    padding: float = 1.0,
) -> NDArray[np.float64] | None:
    """Velocity of the radar over the ground, from the radial velocities of what it sees.

    What stands has velocities that lie on one curve over the azimuth (`static_velocity`). The curve through most cells
    is looked for on a coarse grid, as by a Hough transform, and fitted by least squares with Cauchy weights, so that
    what moves by itself has little part in it (Kellner et al., 'Instantaneous ego-motion estimation using Doppler
    radar', IEEE ITSC 2013). Velocities are folded at the radar's unambiguous one, and so are the residuals.

    Args:
        azimuth: (N,) rad, of cells that hold more than noise.
        doppler_bin: (N,) of each, in the order of the transform.
        doppler_bins: length of the transform.
        bin_step: m/s between its bins.
        padding: bins to a resolution cell.

    Returns:
        (2,) m/s forward and to the left; None where fewer than 8 cells are given. Speeds beyond the unambiguous
        ``doppler_bins * bin_step / 2`` are not looked for.

    Raises:
        ValueError: arrays of different lengths.
    """
    if azimuth.shape != doppler_bin.shape:
        raise ValueError(f'doppler_bin: expected shape {azimuth.shape} of the azimuth, got {doppler_bin.shape}')
    if azimuth.size < FEWEST_CELLS:
        return None
    blur = round(BLUR * padding)
    directions, which = np.unique(azimuth, return_inverse=True)
    votes = np.zeros((directions.size, doppler_bins))
    np.add.at(votes, (which, doppler_bin % doppler_bins), 1.0)
    votes = sum((np.roll(votes, shift, axis=1) for shift in range(-blur, blur + 1)), np.zeros_like(votes))
    count = math.ceil(doppler_bins / (COARSE_STEP * blur))
    axis = np.linspace(-0.5, 0.5, 2 * (count // 2) + 1) * doppler_bins * bin_step
    hypotheses = np.stack(np.meshgrid(axis, axis, indexing='ij'), axis=-1).reshape(-1, 2)
    along = np.column_stack((-np.cos(directions), -np.sin(directions)))
    expected = np.rint(hypotheses @ along.T / bin_step).astype(np.int64) % doppler_bins
    agreeing = votes[np.arange(directions.size), expected].sum(axis=1)
    # of several that agree with as many, such as all sideways speeds where all cells lie ahead, the slowest
    velocity = hypotheses[np.lexsort((np.hypot(*hypotheses.T), -agreeing))[0]]

    design = np.column_stack((-np.cos(azimuth), -np.sin(azimuth)))
    measured = doppler_bin * bin_step
    span = doppler_bins * bin_step
    scale = 2 * blur * bin_step
    for _ in range(REFINEMENTS):
        residual = (measured - design @ velocity + span / 2) % span - span / 2
        weight = 1 / (1 + (residual / scale) ** 2)
        normal = design.T @ (weight[:, None] * design)
        # a little ridge: cells of one azimuth alone tell the speed along it and nothing of that across
        normal += 1e-6 * np.trace(normal) * np.eye(2)
        velocity = velocity + np.linalg.solve(normal, design.T @ (weight * residual))
        scale = max(bin_step, 0.7 * scale)
    return velocity
