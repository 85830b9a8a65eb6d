# SPDX-License-Identifier: Apache-2.0
"""What a radar measures of point scatterers, on a GPU (or any torch device)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, RadarProfile
from radio_visual_ssl.radar.torch_formation import torch_device
from radio_visual_ssl.simulation.channel import Channel, frequencies

LARGEST_BLOCK = 2**24  # complex factors that are in memory at a time: 128 MiB


class TorchChannel(Channel):
    """See `Channel`; the same sum without its approximation.

    A phase is that of a coarse and of a fine step of frequency: ``exp(j 2 pi f_n tau) = C_i F_j`` with ``n = i J + j``.
    The sum over scatterers of one slow time and channel is then a product of two matrices, and takes only about
    ``2 sqrt(fast_time)`` exponentials a scatterer. No sum depends on the order in which threads get done.

    Args:
        profile: waveform and antennas.
        device: of torch, such as cuda.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """

    def __init__(self, profile: RadarProfile, device: str) -> None:
        super().__init__(profile)
        self._device = torch_device(device)
        frequency = frequencies(profile)
        count = len(frequency)
        fine = math.isqrt(count - 1) + 1
        step = (frequency[-1] - frequency[0]) / max(count - 1, 1)
        self._coarse = self._tensor(self._sign * (frequency[0] + step * fine * np.arange(math.ceil(count / fine))))
        self._fine = self._tensor(self._sign * step * np.arange(fine))
        self._antennas = self._tensor(self._tx), self._tensor(self._rx)

    def _measure(
        self, places: NDArray[np.float64], returning: NDArray[np.float64], amplitudes: NDArray[np.complex64]
    ) -> NDArray[np.complex64]:
        echo = self._tensor(amplitudes)
        delays = self._delays_on_device(self._tensor(places), self._tensor(returning)).flatten(0, 2)
        rows = max(LARGEST_BLOCK // (len(echo) * (len(self._coarse) + len(self._fine))), 1)
        parts = [self._sum(block, echo) for block in delays.split(rows)]
        return torch.cat(parts)[:, : self.shape[2]].cpu().numpy()

    def _delays_on_device(self, places: Tensor, returning: Tensor) -> Tensor:
        """(slow, slot, receiver, scatterer) s; see `Channel._delays`."""
        tx, rx = self._antennas
        to_tx = torch.linalg.vector_norm(places - tx[None, :, None, :], dim=-1)
        squares = returning.square().sum(-1)[:, :, None, :] + rx.square().sum(-1)[:, None]
        to_rx = (squares - 2 * rx @ returning.transpose(-1, -2)).clamp_min(0.0).sqrt()
        return (to_rx + to_tx[:, :, None, :]) / SPEED_OF_LIGHT

    def _sum(self, delays: Tensor, echo: Tensor) -> Tensor:
        """(row, coarse * fine) spectra of delays (row, scatterer) s."""
        coarse = _phasors(delays[:, None, :] * self._coarse[:, None]) * echo
        fine = _phasors(delays[:, :, None] * self._fine)
        return torch.bmm(coarse, fine).flatten(1)

    def _tensor(self, values: NDArray) -> Tensor:
        return torch.tensor(values, device=self._device)


def _phasors(cycles: Tensor) -> Tensor:
    """``exp(j 2 pi cycles)``, complex64; reduced to one turn in double precision, for there are many."""
    angle = (cycles - cycles.round()).float() * (2 * math.pi)
    return torch.polar(torch.ones_like(angle), angle)
