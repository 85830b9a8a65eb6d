# SPDX-License-Identifier: Apache-2.0
"""What a radar measures of point scatterers: every antenna pair, chirp and frequency at its exact two-way delay.

The fast channel rests on a non-uniform FFT over frequency, one for every (slow time, channel): each scatterer is
spread over a few cells of an oversampled delay grid with the 'exponential of semicircle' kernel (Barnett, Magland,
af Klinteberg, 'A parallel nonuniform fast Fourier transform library based on an exponential of semicircle kernel',
SIAM J. Sci. Comput. 41(5), 2019), transformed and corrected for the kernel. Delays are never shared between antennas or
times, so range migration over the aperture and over the frame, and wideband beam squint, come out as they are.
"""

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, OfdmWaveform, RadarProfile

TAPS = 6  # width of the kernel, cells; the error is about 1e-5 of the echoes (rms), 10 times that per tap less
SHAPE = 2.30 * TAPS  # of the kernel, for an oversampling of 2
OVERSAMPLING = 2
BLOCK = 16384  # grid cells spread at a time: what fits the processor's cache is computed twice as fast


def slow_times(profile: RadarProfile) -> NDArray[np.float64]:
    """(slow_time, transmitter slot) s, when each chirp or symbol is sent, from the start of the frame."""
    waveform, slots = profile.waveform, len(profile.tx_order)
    if isinstance(waveform, OfdmWaveform):
        symbols = np.arange(waveform.num_symbols, dtype=np.float64)[:, None] * waveform.symbol_period
        return np.repeat(symbols, slots, axis=1)
    order = np.arange(waveform.num_chirps, dtype=np.float64)[:, None] * slots + np.arange(slots)
    return order * waveform.chirp_period


def frequencies(profile: RadarProfile) -> NDArray[np.float64]:
    """(fast_time,) Hz, radio frequency of each subcarrier or ADC sample."""
    waveform = profile.waveform
    index = np.arange(waveform.fast_time_count, dtype=np.float64)
    if isinstance(waveform, OfdmWaveform):
        return waveform.carrier_frequency + (index - (len(index) - 1) / 2) * waveform.subcarrier_spacing
    return waveform.carrier_frequency + waveform.slope * index / waveform.sample_rate


class Channel:
    """Computes cubes of one radar.

    OFDM: ``H = sum_k a_k exp(-j 2 pi f_n tau_k)``; FMCW after dechirp: ``s = sum_k a_k exp(+j 2 pi f_n tau_k)``, f_n
    from `frequencies`, ``tau_k = (|p_k - tx| + |p_k - rx|) / c`` at the time the chirp or symbol is sent.

    An FMCW receiver filters the beat before its ADC: scatterers whose beat at the start of the frame, seen from the
    origin, lies outside the ADC's band (beyond the waveform's max_range) are left out whole, the others are not
    weakened. On OFDM's comb they fold back, as they do in reality.

    Args:
        profile: waveform and antennas.
    """

    def __init__(self, profile: RadarProfile) -> None:
        self.profile = profile
        self._times = slow_times(profile)
        self._tx = np.asarray(profile.tx_positions, dtype=np.float64)[list(profile.tx_order)]
        self._rx = np.asarray(profile.rx_positions, dtype=np.float64)
        self._sign = -1.0 if isinstance(profile.waveform, OfdmWaveform) else 1.0
        frequency = frequencies(profile)
        self._count = len(frequency)
        self._step = float(frequency[1] - frequency[0])
        # the transform counts from the middle of the band
        self._middle = float(frequency[0] + (self._count // 2) * self._step)
        self._cells = scipy.fft.next_fast_len(OVERSAMPLING * self._count)
        self._correction = self._kernel_correction()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slow_time, virtual_channel, fast_time) of a cube."""
        return self._times.shape[0], len(self._tx) * len(self._rx), self._count

    def response(
        self,
        positions: NDArray[np.float64],
        amplitudes: NDArray[np.complex64],
        velocities: NDArray[np.float64] | None = None,
        returning: NDArray[np.float64] | None = None,
        returning_velocities: NDArray[np.float64] | None = None,
    ) -> NDArray[np.complex64]:
        """The noiseless cube of point scatterers.

        Args:
            positions: (K, 3) m, radar frame, at the start of the frame.
            amplitudes: (K,) complex.
            velocities: (K, 3) m/s, constant over the frame; None for scatterers that stand still.
            returning: (K, 3) m, where the receivers see the scatterers: their mirror images where the echo comes back
                over the ground; None = at their positions.
            returning_velocities: (K, 3) m/s, of what the receivers see; None = as the scatterers move.

        Returns:
            (slow_time, virtual_channel, fast_time) complex64; with velocities None a read-only view that repeats one
            slow time.
        """
        slow, channels, fast = self.shape
        returning = positions if returning is None else returning
        passed = self._passes_filter(positions, returning)
        if not np.all(passed):
            positions, amplitudes, returning = positions[passed], amplitudes[passed], returning[passed]
            velocities = None if velocities is None else velocities[passed]
            returning_velocities = None if returning_velocities is None else returning_velocities[passed]
        if len(positions) == 0:
            return np.zeros(self.shape, dtype=np.complex64)
        if velocities is None:
            still = (1, len(self._tx), *positions.shape)
            places, back = np.broadcast_to(positions, still), np.broadcast_to(returning, still)
        else:
            moved = self._times[:, :, None, None] * velocities
            places = positions + moved
            back = returning + (
                moved if returning_velocities is None else self._times[:, :, None, None] * returning_velocities
            )
        measured = self._measure(places, back, np.asarray(amplitudes, dtype=np.complex64))
        return np.broadcast_to(measured.reshape(-1, channels, fast), (slow, channels, fast))

    def _passes_filter(self, positions: NDArray[np.float64], returning: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(scatterer,) whether the echoes of scatterers at (scatterer, 3) m, out and back, reach the samples."""
        waveform = self.profile.waveform
        if isinstance(waveform, OfdmWaveform):
            return np.ones(len(positions), dtype=np.bool_)
        way = np.linalg.norm(positions, axis=1) + np.linalg.norm(returning, axis=1)
        return way < 2 * waveform.max_range

    def _measure(
        self, places: NDArray[np.float64], returning: NDArray[np.float64], amplitudes: NDArray[np.complex64]
    ) -> NDArray[np.complex64]:
        """(slow * slot * receiver, fast_time) of scatterers at (slow, slot, scatterer, 3) m, out and back."""
        delays = self._delays(places, returning).reshape(-1, len(amplitudes))
        measured = np.empty((len(delays), self.shape[2]), dtype=np.complex64)
        block = max(BLOCK // (TAPS * len(amplitudes)), 1)
        for start in range(0, len(delays), block):
            self._transform(delays[start : start + block], amplitudes, measured[start : start + block])
        return measured

    def _delays(self, places: NDArray[np.float64], returning: NDArray[np.float64]) -> NDArray[np.float64]:
        """(slow, slot, receiver, scatterer) s of scatterers at (slow, slot, scatterer, 3) m, out and back."""
        to_tx = np.linalg.norm(places - self._tx[None, :, None, :], axis=-1)
        squares = np.sum(returning**2, axis=-1)[:, :, None, :] + np.sum(self._rx**2, axis=-1)[:, None]
        to_rx = np.sqrt(np.maximum(squares - 2 * self._rx @ np.swapaxes(returning, -1, -2), 0.0))
        to_rx += to_tx[:, :, None, :]
        to_rx /= SPEED_OF_LIGHT
        return to_rx

    def _transform(
        self, delays: NDArray[np.float64], amplitudes: NDArray[np.complex64], measured: NDArray[np.complex64]
    ) -> None:
        """Writes the spectra (row, fast_time) of delays (row, scatterer) s."""
        rows = len(delays)
        cycles = delays * (self._sign * self._middle)
        cycles -= np.rint(cycles)
        angle = cycles.astype(np.float32)
        angle *= np.float32(2 * np.pi)
        angle += np.angle(amplitudes)
        size = np.abs(amplitudes)
        echo_real, echo_imag = size * np.cos(angle), size * np.sin(angle)
        # place on the periodic delay grid; exp(-j 2 pi n x) is the transform's sign
        place = delays * (-self._sign * self._step * self._cells)
        first = np.ceil(place - TAPS / 2)
        fraction = (first - place).astype(np.float32)
        # a margin instead of a modulo for every tap
        width = self._cells + TAPS
        cell = first.astype(np.int64)  # bincount is many times slower with other integers
        cell %= self._cells
        cell += (np.arange(rows) * width)[:, None]
        taps = np.arange(TAPS)[:, None, None]
        weight = (fraction + taps.astype(np.float32)) * np.float32(2 / TAPS)
        weight *= weight
        np.sqrt(np.maximum(1 - weight, 0), out=weight)
        weight -= 1
        weight *= np.float32(SHAPE)
        np.exp(weight, out=weight)
        target = (cell + taps).ravel()
        grid = np.empty((rows, width), dtype=np.complex64)
        grid.real = np.bincount(target, (weight * echo_real).ravel(), rows * width).reshape(rows, width)
        weight *= echo_imag
        grid.imag = np.bincount(target, weight.ravel(), rows * width).reshape(rows, width)
        grid[:, :TAPS] += grid[:, self._cells :]
        spectrum = scipy.fft.fft(grid[:, : self._cells], axis=1)
        half = self._count // 2
        np.multiply(spectrum[:, self._cells - half :], self._correction[:half], out=measured[:, :half])
        np.multiply(spectrum[:, : self._count - half], self._correction[half:], out=measured[:, half:])

    def _kernel_correction(self) -> NDArray[np.float32]:
        """(fast_time,) inverse of the kernel's Fourier transform at each frequency from the middle of the band."""
        nodes, weights = np.polynomial.legendre.leggauss(64)
        kernel = weights * np.exp(SHAPE * (np.sqrt(1 - nodes**2) - 1))
        number = np.arange(self._count) - self._count // 2
        phase = math.pi * TAPS / self._cells * np.outer(number, nodes)
        return (1.0 / (TAPS / 2 * np.cos(phase) @ kernel)).astype(np.float32)
