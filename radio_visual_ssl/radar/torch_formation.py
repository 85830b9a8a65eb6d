# SPDX-License-Identifier: Apache-2.0
"""Heatmap formation on a GPU (or any torch device): the same steps as on the CPU, as torch operations."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_visual_ssl.radar.formation import Beams, FormationPlan
from radio_visual_ssl.radar.profile import OfdmWaveform
from radio_visual_ssl.radar.windows import window


class TorchPipeline:
    """See `radio_visual_ssl.radar.formation.Pipeline`.

    Args:
        plan: of the radar; its settings name the device.

    Raises:
        ValueError: a device that torch does not know or that is not there, or the Capon beamformer.
    """

    def __init__(self, plan: FormationPlan) -> None:
        settings, shape = plan.settings, plan.cube_shape
        self._device = torch_device(settings.device)
        if settings.beamformer == 'capon':
            raise ValueError(f'beamformer: expected fft on device {settings.device!r}, got capon (cpu only)')
        self._plan = plan
        slow = window(settings.doppler_window, shape[0])
        self._slow_window = self._tensor(slow.astype(np.float32))[:, None, None]
        weights = slow[:, None, None] * window(settings.range_window, shape[2])
        self._weights = self._tensor(weights.astype(np.float32))
        beam_plan = plan.beam_plan()
        self._real, self._imaginary = self._tensor(beam_plan.real), self._tensor(beam_plan.imaginary)
        self._spread = None if beam_plan.spread is None else self._tensor(beam_plan.spread)
        self._noise_cells = self._tensor(plan.noise_cells)
        self._transform = torch.fft.ifft if isinstance(plan.profile.waveform, OfdmWaveform) else torch.fft.fft
        self._norm = 'forward' if isinstance(plan.profile.waveform, OfdmWaveform) else 'backward'

    def spectrum(self, cube: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """See `Pipeline`."""
        return self._spectrum(cube).cpu().numpy()

    def beams(self, cube: NDArray[np.complex64]) -> Beams:
        """See `Pipeline`."""
        spectrum = self._spectrum(cube)
        cells = torch.view_as_real(spectrum.reshape(-1)[self._noise_cells]).square().sum(-1)
        samples = torch.view_as_real(spectrum).flatten(2)
        power = (samples @ self._real).square() + (samples @ self._imaginary).square()
        reduced, strongest = power.max(dim=0)
        if self._spread is not None:
            candidates = power[strongest.T, torch.arange(power.shape[1], device=self._device)] @ self._spread
            reduced, which = candidates.max(dim=0)
            strongest = strongest.gather(1, which)
        if self._plan.settings.doppler_reduction == 'mean':
            reduced = power.mean(dim=0)
            reduced = reduced if self._spread is None else reduced @ self._spread
        # torch.median takes the lower middle and spreads NaN; the CPU takes the upper middle
        noise = cells.sort().values[cells.numel() // 2] + 0 * cells.sum()
        return Beams(reduced.cpu().numpy(), strongest.cpu().numpy() if len(power) > 1 else None, float(noise))

    def _spectrum(self, cube: NDArray[np.complex64]) -> Tensor:
        plan = self._plan
        samples = self._tensor(np.ascontiguousarray(cube, dtype=np.complex64)) * self._weights
        profiles = self._transform(samples, plan.range_length, dim=2, norm=self._norm)[:, :, : plan.grid.range.size]
        if plan.settings.clutter_removal == 'static':
            profiles = profiles - self._slow_window * (profiles.sum(dim=0) / self._slow_window.sum())
        spectrum = self._transform(profiles, plan.velocity.size, dim=0, norm=self._norm).transpose(1, 2)
        return spectrum.contiguous()

    def _tensor(self, values: NDArray) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def torch_device(name: str) -> torch.device:
    """A device by its name: that of torch, or ``torch:cpu`` for torch on the CPU.

    Raises:
        ValueError: torch does not know it, or it is not there.
    """
    try:
        device = torch.device(name.removeprefix('torch:'))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'device: expected cpu or a torch device that is there, got {name!r}: {reason}') from error
    return device
