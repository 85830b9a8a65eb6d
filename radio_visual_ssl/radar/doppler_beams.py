# SPDX-License-Identifier: Apache-2.0
"""Beams that make use of what the Doppler bin of a cell tells: what stands, and which velocity is meant."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.beamforming import VirtualArray
from radio_visual_ssl.radar.ego_motion import estimate_ego_velocity, static_velocity

CLUTTER_TO_NOISE = 1e5  # of one antenna and Doppler bin, that nulls are as deep as: more costs slow targets
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

    def unfolded(self, folds: int) -> NDArray[np.float64]:
        """(folds D,) m/s, of the bins of a transform that many times as long, in its order."""
        order = np.fft.fftfreq(folds * self.velocity.size, 1 / (folds * self.velocity.size))
        return np.rint(order) * self.step


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
        beams: (A, M) complex128, tapered steering vectors of the beams.
    """

    folding: Folding
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
        folding: Folding,
        slow_window: NDArray[np.float64],
    ) -> 'ClutterNulls':
        """Everything that does not change from frame to frame.

        Args:
            array: virtual array.
            azimuth: (A,) rad, of the beams.
            taper: (M,) over the array.
            folding: Doppler bins.
            slow_window: over slow time, which may be shorter than the transform.
        """
        response = np.abs(np.fft.fft(slow_window, FINENESS * slow_window.size)) ** 2
        count = max(256, 16 * array.count)
        directions = np.arcsin((np.arange(count) + 0.5) / count * 2 - 1)
        steering = array.steering_vectors(directions) * folding.leftover[:, None]
        outer = (steering[..., :, None] * steering[..., None, :].conj()).reshape(len(steering), count, -1)
        return cls(
            folding=folding,
            response=response / response[0],
            resolution=folding.span / slow_window.size,
            directions=directions,
            outer=outer.astype(np.complex64),
            beams=array.steering_vectors(azimuth) * taper,
        )

    def weights(self, ego_velocity: NDArray[np.float64] | None, fold: int = 0) -> NDArray[np.complex64]:
        """Weights of the beams of each Doppler bin.

        Args:
            ego_velocity: (2,) m/s, see `static_velocity`; None = nothing is suppressed.
            fold: times that the velocity of what is looked for is folded, see `Folding`.

        Returns:
            (D or 1, M, A), conjugated: a beam is ``sample @ weights[doppler_bin]``.
        """
        bins, antennas = self.folding.velocity.size, self.beams.shape[1]
        beams = (self.beams * self.folding.leftover[fold]).T
        if ego_velocity is None:
            return beams.conj()[None].astype(np.complex64)
        apart = static_velocity(self.directions, ego_velocity) - self.folding.velocity[:, None]
        folds = np.rint(apart / self.folding.span)
        cells = np.abs(apart - folds * self.folding.span) / (CLUTTER_WIDTH * self.resolution)
        places = np.arange(self.response.size // 2) / FINENESS
        share = np.interp(cells, places, self.response[: places.size]) / self.directions.size
        kinds = np.mod(folds, len(self.outer))
        covariance = np.zeros((bins, antennas * antennas), np.complex64)
        for kind, outer in enumerate(self.outer):
            covariance += np.where(kinds == kind, share, 0.0).astype(np.float32) @ outer
        clutter = CLUTTER_TO_NOISE * covariance.reshape(bins, antennas, antennas).astype(np.complex128)
        weights = np.linalg.solve(clutter + np.eye(antennas), np.broadcast_to(beams, (bins, *beams.shape)))
        return weights.conj().astype(np.complex64)


class DopplerBeams:
    """Conventional beams of all Doppler bins at all azimuths, in which what stands has no part while the radar moves.

    Args:
        nulls: of the radar.
        factors: (D or 1, M) complex64, that each channel is multiplied by first: calibration, compensation of slots.
        azimuth: (A,) rad, of the beams.
        noise_gain: of a beam over a channel.
        padding: Doppler bins to a resolution cell.
        removes_clutter: whether what stands is taken out.
        unfolds: whether velocities are told from each other that are whole spans apart: of the phases that transmitters
            may have left, those are taken which give the strongest beam of a range-Doppler cell. Of the ambiguity, and
            of another way out, tell Shen and Wang, arXiv 2208.03231, 2022.
        takes_mean: average over Doppler in place of the strongest bin.
    """

    def __init__(
        self,
        nulls: ClutterNulls,
        factors: NDArray[np.complex64],
        azimuth: NDArray[np.float64],
        *,
        noise_gain: float,
        padding: float,
        removes_clutter: bool,
        unfolds: bool,
        takes_mean: bool,
    ) -> None:
        self._nulls, self._factors, self._azimuth = nulls, factors[:, :, None], azimuth
        self._noise_gain, self._padding = noise_gain, padding
        self._removes_clutter, self._takes_mean = removes_clutter, takes_mean
        self._folds = len(nulls.folding.leftover) if unfolds else 1
        bins = nulls.folding.velocity.size
        self._order = np.rint(np.fft.fftfreq(bins, 1 / bins)).astype(np.int64)

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
        power, fold = self._power(spectrum, None)
        ego_velocity = None
        if self._removes_clutter:
            ego_velocity = self._ego_velocity(power, fold, noise)
            if ego_velocity is not None:
                power, fold = self._power(spectrum, ego_velocity)
        strongest = self._unfolded(power.argmax(axis=0), fold)
        return power.mean(axis=0) if self._takes_mean else power.max(axis=0), strongest, ego_velocity

    def _power(
        self, spectrum: NDArray[np.complex64], ego_velocity: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(D, R, A) power and (D, R) fold."""
        power = np.empty((0, 0, 0), np.float32)
        fold = np.zeros(spectrum.shape[:2], np.int64)
        for number in range(self._folds):
            beams = spectrum @ (self._factors * self._nulls.weights(ego_velocity, number))
            folded = beams.real**2 + beams.imag**2
            if number == 0:
                power = folded
                continue
            better = folded.max(axis=2) > power.max(axis=2)
            power[better] = folded[better]
            fold[better] = number
        return power, fold

    def _unfolded(self, doppler_bin: NDArray[np.int64], fold: NDArray[np.int64]) -> NDArray[np.int64]:
        """(R, A) bins of the longer transform."""
        bins = self._order.size
        folds = fold[doppler_bin, np.arange(fold.shape[1])[:, None]]
        return (self._order[doppler_bin] + folds * bins) % (self._folds * bins)

    def _ego_velocity(
        self, power: NDArray[np.float32], fold: NDArray[np.int64], noise: float
    ) -> NDArray[np.float64] | None:
        """Of the radar over the ground, from beams without nulls."""
        doppler_bin = self._unfolded(power.argmax(axis=0), fold)
        level = power.max(axis=0)
        # beside its own azimuth a scatterer has the velocity of another one: only peaks over the azimuth tell
        here, right, left = level[:, 1:-1], level[:, :-2], level[:, 2:]
        peaks = (here >= right) & (here > left) & (here > EGO_CELL_SNR * noise * self._noise_gain) & np.isfinite(here)
        rows, columns = np.nonzero(peaks)
        columns = columns + 1
        folding = self._nulls.folding
        return estimate_ego_velocity(
            self._azimuth[columns],
            doppler_bin[rows, columns],
            self._folds * folding.velocity.size,
            folding.step,
            self._padding,
        )
