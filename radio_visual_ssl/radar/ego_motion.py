# SPDX-License-Identifier: Apache-2.0
"""The velocity of a platform from what its radar sees standing, and beams that are blind to what stands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.beamforming import VirtualArray

CLUTTER_TO_NOISE = 1e5  # of one antenna and Doppler bin, that nulls are as deep as: more costs slow targets
CLUTTER_WIDTH = 1.25  # times that of a still point in Doppler: sway, and the error of the velocity
FEWEST_CELLS = 8  # fewer say nothing of the platform, and hide nothing
MOST_HYPOTHESES = 64  # along each axis of the first, coarse search
BLUR = 2  # resolution cells either way that count for a hypothesis
REFINEMENTS = 12
FINENESS = 16  # places to a resolution cell, of the response in Doppler


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
    axis = np.linspace(-0.5, 0.5, min(doppler_bins, MOST_HYPOTHESES) + 1) * doppler_bins * bin_step
    hypotheses = np.stack(np.meshgrid(axis, axis, indexing='ij'), axis=-1).reshape(-1, 2)
    along = np.column_stack((-np.cos(directions), -np.sin(directions)))
    expected = np.rint(hypotheses @ along.T / bin_step).astype(np.int64) % doppler_bins
    agreeing = votes[np.arange(directions.size), expected].sum(axis=1)
    # of several that agree with as many, such as all sideways speeds where all cells lie ahead, the slowest
    velocity = hypotheses[np.lexsort((np.hypot(*hypotheses.T), -agreeing))[0]]

    design = np.column_stack((-np.cos(azimuth), -np.sin(azimuth)))
    measured = doppler_bin * bin_step
    span = doppler_bins * bin_step
    scale = max(blur, 2 * doppler_bins // len(axis)) * bin_step
    for _ in range(REFINEMENTS):
        residual = (measured - design @ velocity + span / 2) % span - span / 2
        weight = 1 / (1 + (residual / scale) ** 2)
        normal = design.T @ (weight[:, None] * design)
        # a little ridge: cells of one azimuth alone tell the speed along it and nothing of that across
        normal += 1e-6 * np.trace(normal) * np.eye(2)
        velocity = velocity + np.linalg.solve(normal, design.T @ (weight * residual))
        scale = max(bin_step, 0.7 * scale)
    return velocity


@dataclass(frozen=True, eq=False)
class ClutterNulls:
    """Beams that see nothing of what stands, from a platform that moves.

    In a Doppler bin, what stands comes from the azimuths alone at which `static_velocity` is that of the bin: weights
    that suppress these let pass what moves elsewhere, however much weaker it is, also through sidelobes (post-Doppler
    space-time adaptive processing, Ward, 'Space-time adaptive processing for airborne radar', MIT Lincoln Laboratory
    TR-1015, 1994; the clutter's covariance is computed here from the platform's velocity, so that a target cannot
    suppress itself). Nothing is seen in the Doppler bins and azimuths of what stands.

    Attributes:
        array: virtual array.
        azimuth: (A,) rad, of the beams.
        taper: (M,) over the array.
        velocity: (D,) m/s, of the Doppler bins, in the order of the transform.
        response: power of a still point over the distance from its Doppler, at `FINENESS` places to a resolution cell;
            1 at 0.
        resolution: m/s, velocity resolution.
        directions: (F,) rad, from which clutter comes.
        outer: (F, M M) complex64, products of their steering vectors.
        beams: (A, M) complex128, tapered steering vectors of the beams.
    """

    array: VirtualArray
    azimuth: NDArray[np.float64]
    taper: NDArray[np.float64]
    velocity: NDArray[np.float64]
    response: NDArray[np.float64]
    resolution: float
    directions: NDArray[np.float64]
    outer: NDArray[np.complex64]
    beams: NDArray[np.complex128]

    @classmethod
    def of(
        cls,
        array: VirtualArray,
        azimuth: NDArray[np.float64],
        taper: NDArray[np.float64],
        velocity: NDArray[np.float64],
        slow_window: NDArray[np.float64],
    ) -> 'ClutterNulls':
        """Everything that does not change from frame to frame.

        Args:
            array: virtual array.
            azimuth: (A,) rad, of the beams.
            taper: (M,) over the array.
            velocity: (D,) m/s, of the Doppler bins, in the order of the transform, D from 2 on.
            slow_window: over slow time, which may be shorter than the transform.
        """
        response = np.abs(np.fft.fft(slow_window, FINENESS * slow_window.size)) ** 2
        resolution = float(velocity[1] - velocity[0]) * velocity.size / slow_window.size
        count = max(256, 16 * array.count)
        directions = np.arcsin((np.arange(count) + 0.5) / count * 2 - 1)
        steering = array.steering_vectors(directions)
        outer = (steering[:, :, None] * steering[:, None].conj()).reshape(count, -1).astype(np.complex64)
        beams = array.steering_vectors(azimuth) * taper
        return cls(array, azimuth, taper, velocity, response / response[0], resolution, directions, outer, beams)

    def weights(self, ego_velocity: NDArray[np.float64] | None) -> NDArray[np.complex64]:
        """Weights of the beams of each Doppler bin.

        Args:
            ego_velocity: (2,) m/s, see `static_velocity`; None = there is no clutter.

        Returns:
            (D, M, A), conjugated: a beam is ``sample @ weights[doppler_bin]``.
        """
        bins, antennas = self.velocity.size, self.array.count
        if ego_velocity is None:
            return np.broadcast_to(self.beams.conj().T, (bins, antennas, len(self.beams))).astype(np.complex64)
        span = bins * (self.velocity[1] - self.velocity[0])
        apart = self.velocity[:, None] - static_velocity(self.directions, ego_velocity)
        cells = np.abs((apart + span / 2) % span - span / 2) / (CLUTTER_WIDTH * self.resolution)
        places = np.arange(self.response.size // 2) / FINENESS
        share = np.interp(cells, places, self.response[: places.size]) / self.directions.size
        covariance = (CLUTTER_TO_NOISE * (share.astype(np.float32) @ self.outer)).reshape(bins, antennas, antennas)
        covariance = covariance.astype(np.complex128) + np.eye(antennas)
        weights = np.linalg.solve(covariance, np.broadcast_to(self.beams.T, (bins, antennas, len(self.beams))))
        return weights.conj().astype(np.complex64)
