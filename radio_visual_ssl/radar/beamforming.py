# SPDX-License-Identifier: Apache-2.0
"""Azimuth from a virtual array: conventional beams (a Fourier transform) and Capon's adaptive ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.windows import Window, window

SAME_PLACE = 0.02  # wavelengths: antennas nearer than this are taken to be at the same place
FINEST_GRID = 0.2  # wavelengths: any places lie within SAME_PLACE of a grid of twice that; of this one, a fifth of them


@dataclass(frozen=True, eq=False)
class VirtualArray:
    """Phase centres of the transmitter-receiver pairs, seen from far away at elevation 0.

    Attributes:
        positions: (M, 3) float64, transmitter plus receiver position in wavelengths, radar frame.
        sign: +1 where the phase of a sample falls with delay (OFDM), -1 where it rises (FMCW after dechirp).
        spacing: wavelengths between neighbours along y, where all elements lie on such a grid; else None.
        index: (M,) int, place of each element on that grid, 0 = furthest to the right (smallest y); None without grid.

    Raises:
        ValueError: no two elements are apart along y, so that nothing tells the azimuth.
    """

    positions: NDArray[np.float64]
    sign: int
    spacing: float | None = None
    index: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, positions: NDArray[np.float64], sign: int) -> 'VirtualArray':
        """Array of positions in wavelengths; finds the grid, where there is one."""
        y = positions[:, 1] - positions[:, 1].min()
        if y.max() <= SAME_PLACE:
            raise ValueError(
                'tx_positions, rx_positions: expected virtual antennas (transmitter + receiver) apart along y to tell '
                f'the azimuth, got the same y for all {len(y)}'
            )
        steps = np.diff(np.sort(y))
        # nearer to each other than the neighbours on any grid are antennas at the same place, or on no grid at all
        neighbours = steps[steps > FINEST_GRID - SAME_PLACE]
        if neighbours.size == 0 or np.ptp(positions[:, 0]) > SAME_PLACE:
            return cls(positions, sign)
        spacing = float(y.max() / np.rint(steps / neighbours.min()).sum())
        index = np.rint(y / spacing).astype(np.int64)
        if spacing < FINEST_GRID or np.max(np.abs(y - index * spacing)) > SAME_PLACE:
            return cls(positions, sign)
        return cls(positions, sign, spacing, index)

    @property
    def count(self) -> int:
        """Elements."""
        return len(self.positions)

    @property
    def extent(self) -> int:
        """Grid places from the first to the last element; 0 without a grid."""
        return 0 if self.index is None else int(self.index.max()) + 1

    @property
    def is_uniform_line(self) -> bool:
        """Whether every grid place holds exactly one element."""
        return self.index is not None and np.array_equal(np.sort(self.index), np.arange(self.count))

    def azimuth(self, bins: int) -> NDArray[np.float64]:
        """Azimuth bin centres, as far apart as those of a Fourier transform of this length over the array.

        A transform over elements ``spacing`` apart has bins 1 / (bins * spacing) apart in sin(azimuth), and tells
        1 / spacing in all. Here they lie symmetrically around 0 and fill just that; bins beyond +-90 degrees (elements
        closer than half a wavelength) are left out.

        Returns:
            (at most bins,) rad, ascending (anticlockwise), uniform in the sine.
        """
        sine = (np.arange(bins) - (bins - 1) / 2) / (bins * (0.5 if self.spacing is None else self.spacing))
        return np.arcsin(sine[np.abs(sine) < 1])

    def steering_vectors(self, azimuth: NDArray[np.float64]) -> NDArray[np.complex128]:
        """(A, M) samples of a far target at each azimuth (rad), up to a common phase."""
        direction = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1)
        return np.exp(2j * np.pi * self.sign * direction @ self.positions[:, :2].T)

    def taper(self, name: Window) -> NDArray[np.float64]:
        """(M,) weight of each element, by its place along y; elements at the same place share one weight."""
        if self.index is None:
            if name == 'rectangular':
                return np.ones(self.count)
            y = self.positions[:, 1] - self.positions[:, 1].min()
            fine = window(name, 1024)
            return np.interp(y / y.max(), np.linspace(0, 1, 1024), fine)
        shares = np.bincount(self.index, minlength=self.extent)
        return window(name, self.extent)[self.index] / shares[self.index]


@dataclass(frozen=True, eq=False)
class BeamPlan:
    """Conventional beams as real matrix products: ``((x @ real) ** 2 + (x @ imaginary) ** 2) @ spread``.

    The power of beams of an array on a grid of L places is a trigonometric polynomial of degree L - 1 in the phase
    between neighbours: 2 L - 1 beams determine all others. So a fine azimuth grid needs few complex beams, and the
    rest is a small real matrix.

    Attributes:
        real, imaginary: (D or 1, 2 M, F) float32, from samples x (re, im interleaved) to the two parts of each beam;
            one for each Doppler bin where the channels' factors depend on it.
        spread: (F, A) float32, from the beams' powers to the power in each azimuth bin; None: each bin has its beam.
    """

    real: NDArray[np.float32]
    imaginary: NDArray[np.float32]
    spread: NDArray[np.float32] | None

    @classmethod
    def of(
        cls, array: VirtualArray, azimuth: NDArray[np.float64], taper: Window, factors: NDArray[np.complex64]
    ) -> 'BeamPlan':
        """Plan for azimuths (rad); each channel is multiplied by a factor, (D or 1, M), on the way."""
        few = -(-(2 * array.extent - 1) // 8) * 8
        spread = None
        if array.spacing is None or array.index is None or few >= len(azimuth):
            steering = array.steering_vectors(azimuth)
        else:
            step = 2 * np.pi * np.arange(few) / few
            steering = np.exp(1j * array.sign * np.outer(step, array.index))
            wanted = 2 * np.pi * array.spacing * np.sin(azimuth)
            angle = wanted[None, :] - step[:, None]
            spread = (1 + 2 * np.cos(angle[..., None] * np.arange(1, array.extent)).sum(-1)) / few
            spread = spread.astype(np.float32)
        beams = factors[:, :, None] * (steering.conj() * array.taper(taper)).T
        real, imaginary = (
            np.stack(parts, axis=2).reshape(len(factors), 2 * array.count, -1).astype(np.float32)
            for parts in ((beams.real, -beams.imag), (beams.imag, beams.real))
        )
        return cls(real, imaginary, spread)


def capon_weights(
    snapshots: NDArray[np.complex64],
    steering: NDArray[np.complex128],
    diagonal_loading: float,
    forward_backward: bool = False,
) -> NDArray[np.complex64]:
    """Minimum variance distortionless response weights of each range bin.

    w = R^-1 a / (a^H R^-1 a), with the covariance R of the snapshots plus a multiple of the identity (Capon,
    'High-resolution frequency-wavenumber spectrum analysis', Proc. IEEE 57(8), 1969).

    Args:
        snapshots: (R, M, K) K samples of the M elements in each of R range bins.
        steering: (A, M) steering vectors.
        diagonal_loading: multiple of the mean element power that is added to the diagonal of the covariance.
        forward_backward: average R with its mirror image, as a uniform line array allows (Pillai and Kwon, IEEE Trans.
            ASSP 37(1), 1989); tells coherent targets apart.

    Returns:
        (R, A, M) conjugated weights: a beam is ``weights @ sample``.
    """
    samples = snapshots.astype(np.complex128)
    covariance = samples @ samples.conj().swapaxes(-1, -2) / samples.shape[-1]
    if forward_backward:
        covariance = (covariance + covariance[:, ::-1, ::-1].conj()) / 2
    count = covariance.shape[-1]
    power = np.trace(covariance, axis1=1, axis2=2).real / count
    load = diagonal_loading * power + np.finfo(np.float64).tiny
    covariance[:, np.arange(count), np.arange(count)] += load[:, None]
    # an empty range bin has no direction to protect against: any positive matrix does
    covariance[power == 0] = np.eye(count)
    weights = np.linalg.solve(covariance, np.broadcast_to(steering.T, (len(covariance), *steering.T.shape)))
    gain = np.einsum('am,rma->ra', steering.conj(), weights).real
    return (weights.swapaxes(-1, -2) / gain[..., None]).conj().astype(np.complex64)


def subarrays(samples: NDArray[np.complex64], length: int) -> NDArray[np.complex64]:
    """Overlapping parts of a uniform line array, for spatial smoothing.

    See Shan, Wax and Kailath, 'On spatial smoothing for direction-of-arrival estimation of coherent signals', IEEE
    Trans. ASSP 33(4), 1985.

    Args:
        samples: (R, M, K) in the order of the elements along y.
        length: elements of each part.

    Returns:
        (R, length, M - length + 1, K).
    """
    return np.lib.stride_tricks.sliding_window_view(samples, length, axis=1).transpose(0, 3, 1, 2)
