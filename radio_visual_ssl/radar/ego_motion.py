# SPDX-License-Identifier: Apache-2.0
"""The velocity of a platform from what its radar sees standing."""

import math

import numpy as np
from numpy.typing import NDArray

FEWEST_DIRECTIONS = 5  # from which things that stand must agree: one body, however large, is seen from fewer
LEAST_AGREEMENT = 0.4  # of all votes; on streets 0.7 and more agree, and a third about a velocity that is beyond all
VOTES_OF_DIRECTION = 2.0  # at most: a truck ahead, of many cells, is not to outvote a street
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
    azimuth_bin: NDArray[np.integer],
    doppler_bin: NDArray[np.integer],
    doppler_bins: int,
    bin_step: float,
    padding: float = 1.0,
) -> NDArray[np.float64] | None:
    """Velocity of the radar over the ground, from the radial velocities of what it sees.

    What stands has velocities that lie on one curve over the azimuth (`static_velocity`). The curve that cells at most
    azimuths lie on is looked for on a coarse grid, as by a Hough transform, and fitted by least squares with Cauchy
    weights, so that what moves by itself has little part in it (Kellner et al., 'Instantaneous ego-motion estimation
    using Doppler radar', IEEE ITSC 2013). Velocities are folded at the radar's unambiguous one, and so are the
    residuals.

    Args:
        azimuth: (N,) rad, of peaks over the noise.
        azimuth_bin: (N,) of each.
        doppler_bin: (N,) of each, in the order of the transform.
        doppler_bins: length of the transform.
        bin_step: m/s between its bins.
        padding: bins to a resolution cell.

    Returns:
        (2,) m/s forward and to the left of the radar; None where peaks of fewer than 5 azimuth bins agree, or two of
        five. Speeds beyond the unambiguous ``doppler_bins * bin_step / 2`` are not looked for; mostly they give None.

    Raises:
        ValueError: arrays of different lengths.
    """
    for name, bins in (('azimuth_bin', azimuth_bin), ('doppler_bin', doppler_bin)):
        if azimuth.shape != bins.shape:
            raise ValueError(f'{name}: expected shape {azimuth.shape} of the azimuth, got {bins.shape}')
    known, which, number = np.unique(azimuth_bin, return_inverse=True, return_counts=True)
    if known.size < FEWEST_DIRECTIONS:
        return None
    directions = np.bincount(which, azimuth) / number
    blur = round(BLUR * padding)
    votes = np.zeros((directions.size, doppler_bins))
    np.add.at(votes, (which, doppler_bin % doppler_bins), 1.0)
    votes = sum((np.roll(votes, shift, axis=1) for shift in range(-blur, blur + 1)), np.zeros_like(votes))
    votes = np.minimum(votes, VOTES_OF_DIRECTION)
    count = max(4, math.ceil(doppler_bins / (COARSE_STEP * blur)))
    axis = np.linspace(-0.5, 0.5, 2 * (count // 2) + 1) * doppler_bins * bin_step
    hypotheses = np.stack(np.meshgrid(axis, axis, indexing='ij'), axis=-1).reshape(-1, 2)
    along = np.column_stack((-np.cos(directions), -np.sin(directions)))
    expected = np.rint(hypotheses @ along.T / bin_step).astype(np.int64) % doppler_bins
    in_favour = votes[np.arange(directions.size), expected].sum(axis=1)
    # of several that agree with as many, such as all sideways speeds where all cells lie ahead, the slowest
    velocity = hypotheses[np.lexsort((np.hypot(*hypotheses.T), -in_favour))[0]]

    design = np.column_stack((-np.cos(azimuth), -np.sin(azimuth)))
    measured = doppler_bin * bin_step
    span = doppler_bins * bin_step
    scale = 2 * blur * bin_step
    share = np.minimum(1.0, VOTES_OF_DIRECTION / number)[which]
    for _ in range(REFINEMENTS):
        residual = (measured - design @ velocity + span / 2) % span - span / 2
        weight = share / (1 + (residual / scale) ** 2)
        normal = design.T @ (weight[:, None] * design)
        # a little ridge: cells of one azimuth alone tell the speed along it and nothing of that across
        normal += 1e-6 * np.trace(normal) * np.eye(2)
        velocity = velocity + np.linalg.solve(normal, design.T @ (weight * residual))
        scale = max(bin_step, 0.7 * scale)
    residual = (measured - design @ velocity + span / 2) % span - span / 2
    agrees = np.abs(residual) <= (blur + 0.5) * bin_step
    told = np.unique(which[agrees]).size >= FEWEST_DIRECTIONS and share @ agrees >= LEAST_AGREEMENT * share.sum()
    return velocity if told else None
