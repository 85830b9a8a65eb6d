# SPDX-License-Identifier: Apache-2.0
"""Range and Doppler transforms of one cube shape: windows, zero padding and plans are made once, buffers are kept."""

import importlib.util
import os
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Backend = Literal['auto', 'fftw', 'scipy']


class RangeDopplerTransform(Protocol):
    """Turns raw cubes into range-Doppler spectra."""

    def __call__(self, cube: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Transform (slow_time, channel, fast_time) to (doppler_bin, range_bin, channel), C order.

        Doppler bins are in the order of the transform (0, 1, ..., -1). The result is a buffer that the next call
        overwrites.
        """
        ...


@dataclass(frozen=True, eq=False)
class TransformLayout:
    """What to transform.

    Attributes:
        shape: (slow_time, channel, fast_time) of the cubes.
        doppler_bins: length of the Doppler transform, at least slow time; more pads with zeros.
        range_length: length of the range transform, at least fast time; more pads with zeros.
        range_bins: how many range bins to keep.
        slow_window: (slow_time,) weights.
        fast_window: (fast_time,) weights.
        inverse: transform with exp(+j ...), as OFDM's phase, which falls with delay, asks for.
        remove_static: subtract from each range bin and channel its mean over slow time.
    """

    shape: tuple[int, int, int]
    doppler_bins: int
    range_length: int
    range_bins: int
    slow_window: NDArray[np.float64]
    fast_window: NDArray[np.float64]
    inverse: bool = False
    remove_static: bool = False


class _Transform:
    """What the back ends share: windows and the removal of what stands still."""

    def __init__(self, layout: TransformLayout) -> None:
        self.layout = layout
        self._slow_window = layout.slow_window.astype(np.float32)
        weights = np.broadcast_to(layout.slow_window[:, None, None] * layout.fast_window, layout.shape)
        # one weight per float and no broadcasting: the product runs at the speed of a copy
        self._weights = np.repeat(weights, 2, axis=2).astype(np.float32)

    def _weigh(self, cube: NDArray[np.complex64], out: NDArray[np.complex64]) -> None:
        samples = np.ascontiguousarray(cube, dtype=np.complex64).view(np.float32)
        np.multiply(samples, self._weights, out=out.view(np.float32))

    def _subtract_static(self, profiles: NDArray[np.complex64]) -> None:
        """Take the mean over slow time (axis 0) from range profiles that carry the slow-time window already."""
        mean = profiles.sum(axis=0, dtype=np.complex64) / self._slow_window.sum()
        profiles -= self._slow_window[:, None, None] * mean


class ScipyTransform(_Transform):
    """With scipy.fft.

    Args:
        layout: what to transform.
        threads: to use.
    """

    def __init__(self, layout: TransformLayout, threads: int) -> None:
        super().__init__(layout)
        self._threads = threads
        self._weighed = np.empty(layout.shape, np.complex64)
        self._result = np.empty((layout.doppler_bins, layout.range_bins, layout.shape[1]), np.complex64)

    def __call__(self, cube: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """See `RangeDopplerTransform`."""
        self._weigh(cube, self._weighed)
        profiles = self._transform(self._weighed, self.layout.range_length, 2)[:, :, : self.layout.range_bins]
        if self.layout.remove_static:
            self._subtract_static(profiles)
        np.copyto(self._result, self._transform(profiles, self.layout.doppler_bins, 0).transpose(0, 2, 1))
        return self._result

    def _transform(self, samples: NDArray[np.complex64], length: int, axis: int) -> NDArray[np.complex64]:
        if self.layout.inverse:
            return scipy.fft.ifft(samples, length, axis=axis, norm='forward', workers=self._threads)
        return scipy.fft.fft(samples, length, axis=axis, workers=self._threads)


class FftwTransform(_Transform):
    """With FFTW, whose plans transpose on the way.

    Args:
        layout: what to transform.
        threads: to use.
    """

    def __init__(self, layout: TransformLayout, threads: int) -> None:
        super().__init__(layout)
        import pyfftw

        slow, channels, fast = layout.shape
        options = {
            'direction': 'FFTW_BACKWARD' if layout.inverse else 'FFTW_FORWARD',
            'flags': ('FFTW_MEASURE',),
            'threads': threads,
            'planning_timelimit': 1.0,
        }
        padded = pyfftw.empty_aligned((slow, channels, layout.range_length), np.complex64)
        profiles = pyfftw.empty_aligned((layout.doppler_bins, layout.range_length, channels), np.complex64)
        self._result = profiles
        if (slow, layout.range_length) != (layout.doppler_bins, layout.range_bins):
            self._result = pyfftw.empty_aligned((layout.doppler_bins, layout.range_bins, channels), np.complex64)
        self._range_plan = pyfftw.FFTW(padded, profiles[:slow].transpose(0, 2, 1), axes=(2,), **options)
        self._doppler_plan = pyfftw.FFTW(profiles[:, : layout.range_bins], self._result, axes=(0,), **options)
        # planning overwrote the buffers; plans leave their inputs alone, so what they do not write stays zero
        padded[:] = 0
        profiles[:] = 0
        self._samples = padded[:, :, :fast]
        self._profiles = profiles[:slow, : layout.range_bins]

    def __call__(self, cube: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """See `RangeDopplerTransform`."""
        self._weigh(cube, self._samples)
        self._range_plan.execute()
        if self.layout.remove_static:
            self._subtract_static(self._profiles)
        self._doppler_plan.execute()
        return self._result


def range_doppler_transform(
    layout: TransformLayout, backend: Backend = 'auto', threads: int = 0
) -> RangeDopplerTransform:
    """Transform for one shape of cube.

    Args:
        layout: what to transform.
        backend: 'auto' takes FFTW where pyFFTW is installed (about twice as fast); the results are the same.
        threads: see `thread_count`.

    Raises:
        ValueError: FFTW is asked for where pyFFTW is not installed.
    """
    installed = importlib.util.find_spec('pyfftw') is not None
    if backend == 'fftw' and not installed:
        raise ValueError('transform: expected auto or scipy, as pyFFTW is not installed, got fftw')
    kind = FftwTransform if installed and backend != 'scipy' else ScipyTransform
    return kind(layout, thread_count(threads))


def thread_count(asked: int) -> int:
    """Threads to use: as asked, or for 0 the cores that this process may use, at most 4."""
    return asked if asked > 0 else min(4, len(os.sched_getaffinity(0)))
