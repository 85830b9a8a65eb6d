# SPDX-License-Identifier: Apache-2.0
"""Beams that make use of what the Doppler bin of a cell tells: what stands, and which velocity is meant."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.beamforming import BeamPlan, VirtualArray
from radio_visual_ssl.radar.ego_motion import estimate_ego_velocity, static_velocity
from radio_visual_ssl.radar.windows import Window

Beamformer: TypeAlias = Callable[[NDArray[np.complex64]], tuple[NDArray[np.float32], NDArray[np.integer] | None]]

LEAST_CLUTTER, MOST_CLUTTER = 1e2, 1e5  # over the noise, of all antennas, that nulls are made for: more costs movers
ROW_RANGE = 0.03  # of the strongest in its row, below which a peak may be a sidelobe of that
MOST_ALIKE = 0.95  # amplitude of a fold of the velocity as seen by another beam, over that of its own
MOST_ANTENNAS = 96  # whose covariances fit into memory for all directions
CLUTTER_WIDTH = 1.25  # times that of a still point in Doppler: sway, and the error of the velocity
EGO_CELL_SNR = 70.0  # of a beam over the median noise, from which a cell tells the velocity of the platform
FINENESS = 16  # places to a resolution cell, of the response in Doppler


class Folding(NamedTuple):
    """Velocities beyond the unambiguous one, and what they do to the channels of time-multiplexed transmitters.

    Attributes:
        velocity: (D,) m/s, of the Doppler bins, in the order of the transform.
        leftover: (K, M) complex: phases that are left in the channels of a target whose velocity is k times the
            unambiguous span off that of its Doppler bin, after the compensation for that bin; one row of ones where
            transmitters send at once.
    """

    velocity: NDArray[np.float64]
    leftover: NDArray[np.complex128]

    @classmethod
    def of(cls, velocity: NDArray[np.float64], slots: int, channels: int) -> 'Folding':
        """Of transmitters that take turns.

        Args:
            velocity: (D,) m/s, D from 2 on.
            slots: transmitters that take turns; 1 = they do not, or are not compensated for.
            channels: (transmitter, receiver) pairs, transmitter by transmitter.
        """
        slot = np.repeat(np.arange(slots), channels // slots)
        return cls(velocity, np.exp(2j * np.pi * np.outer(np.arange(slots), slot) / slots))

    @property
    def step(self) -> float:
        """m/s between Doppler bins."""
        return float(self.velocity[1] - self.velocity[0])

    @property
    def span(self) -> float:
        """m/s after which velocities fold."""
        return self.velocity.size * self.step

    def looks_like_azimuth(self, array: VirtualArray) -> bool:
        """Whether a fold of the velocity leaves phases like those of another azimuth: nothing tells the two apart."""
        steering = array.steering_vectors(np.arcsin(np.linspace(-1, 1, 64 * max(4, array.count) + 1)))
        broadside = steering[len(steering) // 2].conj()
        alike = np.abs(np.einsum('m,km,am->ka', broadside, self.leftover[1:], steering))
        return bool(np.any(alike > MOST_ALIKE * array.count))


def unfolded_velocity(velocity: NDArray[np.float64], folds: int) -> NDArray[np.float64]:
    """(folds D,) m/s, of the bins of a Doppler transform that many times as long, in its order.

    Args:
        velocity: (D,) m/s, of the bins of the transform as it is, in its order.
        folds: from 1 on; more than one needs D from 2 on.
    """
    if folds == 1:
        return velocity
    count = folds * velocity.size
    return np.rint(np.fft.fftfreq(count, 1 / count)) * (velocity[1] - velocity[0])


@dataclass(frozen=True, eq=False)
class ClutterNulls:
    """Beams that see nothing of what stands, from a platform that moves.

    In a Doppler bin, what stands comes from the azimuths alone at which `static_velocity` is that of the bin: weights
    that suppress these let pass what moves elsewhere, however much weaker it is, also through sidelobes (post-Doppler
    space-time adaptive processing, Ward, 'Space-time adaptive processing for airborne radar', MIT Lincoln Laboratory
    TR-1015, 1994; the clutter's covariance is computed here from the platform's velocity, so that a target cannot
    suppress itself). Nothing is seen in the Doppler bins and azimuths of what stands.

    Attributes:
        folding: Doppler bins.
        response: power of a still point over the distance from its Doppler, at `FINENESS` places to a resolution cell;
            1 at 0.
        resolution: m/s, velocity resolution.
        directions: (F,) rad, from which clutter comes.
        outer: (K, F, M M) complex64, products of their steering vectors, for each fold of the velocity.
    """

    folding: Folding
    response: NDArray[np.float64]
    resolution: float
    directions: NDArray[np.float64]
    outer: NDArray[np.complex64]

    @classmethod
    def of(cls, array: VirtualArray, folding: Folding, slow_window: NDArray[np.float64]) -> 'ClutterNulls':
        """Everything that does not change from frame to frame.

        Args:
            array: virtual array.
            folding: Doppler bins.
            slow_window: over slow time, which may be shorter than the transform.
        """
        response = np.abs(np.fft.fft(slow_window, FINENESS * slow_window.size)) ** 2
        # fine enough for half a Doppler bin, wherever on the curve that is
        count = max(256, 16 * array.count, 4 * len(folding.leftover) * folding.velocity.size)
        directions = np.pi * ((np.arange(count) + 0.5) / count - 0.5)
        steering = array.steering_vectors(directions) * folding.leftover[:, None]
        outer = (steering[..., :, None] * steering[..., None, :].conj()).reshape(len(steering), count, -1)
        return cls(
            folding=folding,
            response=response / response[0],
            resolution=folding.span / slow_window.size,
            directions=directions,
            outer=outer.astype(np.complex64),
        )

    def whitening(self, ego_velocity: NDArray[np.float64], clutter_to_noise: float) -> NDArray[np.complex64]:
        """What samples are multiplied by to lose the clutter: the inverse of noise and clutter of a Doppler bin.

        Beams of what is left are those of weights that the inverse was applied to.

        Args:
            ego_velocity: (2,) m/s, see `static_velocity`.
            clutter_to_noise: power of the strongest of what stands, in all antennas together, over the noise of one.

        Returns:
            (D, M, M): ``samples @ whitening[doppler_bin]`` with samples (..., M).
        """
        bins, antennas = self.folding.velocity.size, round(self.outer.shape[2] ** 0.5)
        apart = static_velocity(self.directions, ego_velocity) - self.folding.velocity[:, None]
        folds = np.rint(apart / self.folding.span)
        cells = np.abs(apart - folds * self.folding.span) / (CLUTTER_WIDTH * self.resolution)
        places = np.arange(self.response.size // 2) / FINENESS
        share = np.interp(cells, places, self.response[: places.size]) * np.cos(self.directions)
        share *= np.pi / (2 * self.directions.size)  # as much from each step of the sine
        kinds = np.mod(folds, len(self.outer))
        covariance = np.zeros((bins, antennas * antennas), np.complex64)
        for kind, outer in enumerate(self.outer):
            covariance += np.where(kinds == kind, share, 0.0).astype(np.float32) @ outer
        clutter = clutter_to_noise * covariance.reshape(bins, antennas, antennas).astype(np.complex128)
        return np.linalg.inv(clutter + np.eye(antennas)).swapaxes(1, 2).astype(np.complex64)


class DopplerBeams:
    """Conventional beams in which what stands has no part while the radar moves, and velocities are unfolded.

    Args:
        nulls: of the radar.
        factors: (D or 1, M) complex64, that each channel is multiplied by first: calibration, compensation of slots.
        beams: of samples (D, R, M) so multiplied: power (R, A) and strongest Doppler bin.
        azimuth: (A,) rad, of the beams.
        array: virtual array.
        azimuth_window: taper over it.
        padding: Doppler bins to a resolution cell.
        removes_clutter: whether what stands is taken out.
        unfolds: whether velocities are told from each other that are whole spans apart: of the phases that transmitters
            may have left, those are taken which give the strongest beam of a range-Doppler cell. Of the ambiguity, and
            of another way out, tell Shen and Wang, arXiv 2208.03231, 2022.
    """

    def __init__(
        self,
        nulls: ClutterNulls,
        factors: NDArray[np.complex64],
        beams: Beamformer,
        *,
        azimuth: NDArray[np.float64],
        array: VirtualArray,
        azimuth_window: Window,
        padding: float,
        removes_clutter: bool,
        unfolds: bool,
    ) -> None:
        self._nulls, self._factors, self._azimuth = nulls, factors[:, None], azimuth
        self._beams = beams
        taper = array.taper(azimuth_window)
        self._noise_gain = float(np.mean(np.abs(factors) ** 2 @ taper**2))
        self._padding, self._removes_clutter = padding, removes_clutter
        self._phases = nulls.folding.leftover[: None if unfolds else 1].conj().astype(np.complex64)
        bins = nulls.folding.velocity.size
        self._order = np.rint(np.fft.fftfreq(bins, 1 / bins)).astype(np.int64)
        # two beams to a beam width tell as well as all of them which of several phases fit
        width = max(4, math.ceil(2 * np.ptp(array.positions[:, 1])) + 1)
        few = np.arcsin((np.arange(2 * width) + 0.5) / width - 1)
        self._few = [BeamPlan.of(array, few, azimuth_window, phases[None]) for phases in self._phases]

    def __call__(
        self, spectrum: NDArray[np.complex64], noise: float
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64] | None]:
        """Beams of a spectrum.

        Args:
            spectrum: (D, R, M), neither compensated nor calibrated.
            noise: median power of the cells of a channel that hold noise alone.

        Returns:
            (R, A) power, (R, A) strongest Doppler bin, of a transform that is as many times longer as velocities are
            unfolded, and the (2,) velocity of the radar; None where it is not looked for or cannot be told.
        """
        samples = np.multiply(spectrum, self._factors, dtype=np.complex64)
        power, doppler_bin = self._unfolded(samples)
        if not self._removes_clutter:
            return power, doppler_bin, None
        ego_velocity, strongest = self._ego_velocity(power, doppler_bin, noise)
        if ego_velocity is not None:
            clutter = strongest / (noise / np.log(2) * self._noise_gain) if noise > 0 else MOST_CLUTTER
            whitening = self._nulls.whitening(ego_velocity, float(np.clip(clutter, LEAST_CLUTTER, MOST_CLUTTER)))
            power, doppler_bin = self._unfolded(samples @ whitening)
        return power, doppler_bin, ego_velocity

    def _unfolded(self, samples: NDArray[np.complex64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(R, A) power, and strongest bin of the longer transform."""
        bins, folds = self._order.size, len(self._phases)
        if folds == 1:
            power, doppler_bin = self._beams(samples)
            assert doppler_bin is not None  # there are several, see FormationSettings
            return power, doppler_bin.astype(np.int64)
        fold = np.argmax([_strongest(samples, few) for few in self._few], axis=0)
        power, doppler_bin = self._beams(samples * self._phases[fold])
        assert doppler_bin is not None
        rows = np.arange(fold.shape[1])[:, None]
        return power, (self._order[doppler_bin] + fold[doppler_bin, rows] * bins) % (folds * bins)

    def _ego_velocity(
        self, power: NDArray[np.float32], doppler_bin: NDArray[np.int64], noise: float
    ) -> tuple[NDArray[np.float64] | None, float]:
        """Of the radar over the ground, from beams without nulls, and the power of the strongest peak."""
        # one vote for each scatterer: beside it, in range or azimuth, and in its sidelobes there is its velocity, too
        here = power[1:-1, 1:-1]
        peaks = (here > EGO_CELL_SNR * noise * self._noise_gain) & np.isfinite(here)
        peaks &= here >= ROW_RANGE * power[1:-1].max(axis=1, keepdims=True)
        for across, along in ((0, 1), (1, 0)):
            before = power[1 - across : power.shape[0] - 1 - across, 1 - along : power.shape[1] - 1 - along]
            after = power[1 + across : power.shape[0] - 1 + across, 1 + along : power.shape[1] - 1 + along]
            peaks &= (here > before) & (here >= after)
        rows, columns = np.nonzero(peaks)
        if rows.size == 0:
            return None, 0.0
        rows, columns = rows + 1, columns + 1
        # on the parabola through the logarithms around the peak
        right, top, left = (np.log(power[rows, columns + step]) for step in (-1, 0, 1))
        place = columns + 0.5 * (right - left) / (right - 2 * top + left)
        folding = self._nulls.folding
        ego_velocity = estimate_ego_velocity(
            np.arcsin(np.interp(place, np.arange(self._azimuth.size), np.sin(self._azimuth))),
            columns,
            doppler_bin[rows, columns],
            len(self._phases) * folding.velocity.size,
            folding.step,
            self._padding,
        )
        return ego_velocity, float(power[rows, columns].max())


def _strongest(samples: NDArray[np.complex64], plan: BeamPlan) -> NDArray[np.float32]:
    """(D, R) power of the strongest of a cell's beams."""
    columns = samples.reshape(-1, samples.shape[2]).view(np.float32).T
    # beams first: NumPy takes the maximum of a long last axis many times faster than of a short one
    power, imaginary = plan.real[0].T @ columns, plan.imaginary[0].T @ columns
    np.square(power, out=power)
    power += np.square(imaginary, out=imaginary)
    return power.max(axis=0).reshape(samples.shape[:2])
