# SPDX-License-Identifier: Apache-2.0
"""Forms range-azimuth heatmaps and range-Doppler maps from raw cubes, FMCW or OFDM."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.overrides import changed
from radio_visual_ssl.radar.beamforming import BeamPlan, VirtualArray, capon_weights, subarrays
from radio_visual_ssl.radar.cube import CubeError
from radio_visual_ssl.radar.doppler_beams import (
    MOST_ANTENNAS,
    ClutterNulls,
    DopplerBeams,
    Folding,
    unfolded_velocity,
)
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, FmcwWaveform, OfdmWaveform, RadarProfile
from radio_visual_ssl.radar.spectrum import Backend, TransformLayout, range_doppler_transform, thread_count
from radio_visual_ssl.radar.windows import WINDOWS, Window, window

LOWEST = 0.1  # power of the darkest cell, times the noise: what is below says nothing
NOISE_CELLS = 4096  # of the range-Doppler spectrum, looked at for the noise level
SERIAL_PRODUCT = 2**18  # multiplications up to which OpenBLAS keeps a matrix product on one thread
SMALLEST_PRODUCT = 32  # rows below which a product is mostly overhead
FEWEST_SLOW_TIMES = 8  # that tell the velocity of a platform

_TOLD_BY_GRID = {'range_bins', 'azimuth_bins', 'max_range'}
_WITHOUT_EFFECT = {'transform', 'device', 'threads'}
_FFT_ONLY = {'azimuth_window'}
_CAPON_ONLY = {'diagonal_loading', 'forward_backward', 'subarray_length'}
_DOPPLER_ONLY = {'doppler_window', 'doppler_bins', 'doppler_reduction', 'clutter_removal', 'unfold_velocity'}
_TURNS_ONLY = {'compensate_tdm', 'unfold_velocity'}


@dataclass(frozen=True)
class FormationSettings:
    """How heatmaps are formed.

    Attributes:
        range_window: window over fast time (rectangular, hann, hamming, blackman or taylor).
        doppler_window: window over slow time.
        azimuth_window: taper over the array (the Capon beamformer takes none).
        range_bins: length of the range transform, 0 = no zero padding.
        doppler_bins: length of the Doppler transform, 0 = no zero padding.
        azimuth_bins: azimuth bins over the array's unambiguous field of view, uniform in the sine.
        max_range: m, bins beyond are left out; 0 = all.
        beamformer: fft for conventional beams, capon for the narrower adaptive ones.
        diagonal_loading: Capon only, multiple of the mean channel power added to the covariance; less is narrower, but
            beams then cancel targets that lie between two of them (use more azimuth bins); 0 only where a frame has as
            many snapshots (slow times, times the parts of the array) as a part has elements.
        forward_backward: Capon only, average the covariance with its mirror image (uniform line arrays).
        subarray_length: Capon only, elements of the parts that the array is smoothed over, 0 = no smoothing (uniform
            line arrays).
        doppler_reduction: max keeps the strongest Doppler bin of each cell, which favours point-like movers and
            standing targets alike; mean averages over all, which favours what is spread over Doppler.
        clutter_removal: what stands disappears. static: the mean over slow time is subtracted, for a radar that stands;
            ego_motion: for one that moves, whose velocity is estimated from each frame (up to the unambiguous one), and
            nulls are put where what stands has the velocity of the Doppler bin (`doppler_beams.ClutterNulls`). Targets
            whose radial velocity is that of what stands beside them disappear, too.
        unfold_velocity: tell velocities up to as many times the unambiguous one as transmitters take turns, by the
            phases that they leave (`doppler_beams.DopplerBeams`); targets beyond it appear at their true azimuth, too.
        compensate_tdm: turn the phases of time-multiplexed transmitters back by what the target moved in between;
            without it movers appear at a wrong azimuth.
        transform: library of the range and Doppler transforms; auto takes FFTW where pyFFTW is installed, else SciPy.
        device: cpu, or a torch device such as cuda.
        threads: to use on the CPU, 0 = the cores at hand, at most 4.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    range_window: Window = 'hann'
    doppler_window: Window = 'hann'
    azimuth_window: Window = 'taylor'
    range_bins: int = 0
    doppler_bins: int = 0
    azimuth_bins: int = 64
    max_range: float = 0.0
    beamformer: Literal['fft', 'capon'] = 'fft'
    diagonal_loading: float = 0.1
    forward_backward: bool = False
    subarray_length: int = 0
    doppler_reduction: Literal['max', 'mean'] = 'max'
    clutter_removal: Literal['none', 'static', 'ego_motion'] = 'none'
    unfold_velocity: bool = False
    compensate_tdm: bool = True
    transform: Backend = 'auto'
    device: str = 'cpu'
    threads: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        choices = {
            'range_window': WINDOWS,
            'doppler_window': WINDOWS,
            'azimuth_window': WINDOWS,
            'beamformer': ('fft', 'capon'),
            'doppler_reduction': ('max', 'mean'),
            'clutter_removal': ('none', 'static', 'ego_motion'),
            'transform': ('auto', 'fftw', 'scipy'),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f'{name}: expected one of {", ".join(known)}, got {getattr(self, name)!r}')
        for name in ('range_bins', 'doppler_bins', 'subarray_length', 'threads', 'max_range', 'diagonal_loading'):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f'{name}: expected a number of at least 0, got {getattr(self, name)!r}')
        if self.azimuth_bins < 2:
            raise ValueError(f'azimuth_bins: expected at least 2, got {self.azimuth_bins!r}')
        for name in ('max_range', 'diagonal_loading'):  # an integer means, and is told as, the same
            object.__setattr__(self, name, float(getattr(self, name)))

    def changed(self, overrides: Sequence[str], fixed: Collection[str] = ()) -> 'FormationSettings':
        """These settings with some replaced.

        Args:
            overrides: each ``name=value``, the value as YAML.
            fixed: names that are not to be replaced.

        Raises:
            ValueError: another form, an unknown name, or a value of another type or out of range; the message tells
                which, by the name of the option ``--formation``.
        """
        return changed(self, overrides, '--formation', fixed)

    def summary(self, profile: RadarProfile) -> str:
        """What shapes the values of a radar's heatmaps beyond its grid, 'name=value name=value' as in HeatmapInfo.msg.

        Settings that do nothing for this radar are left out, and instead of 0 stands what it means.
        """
        slow_times, turns = profile.waveform.slow_time_count, len(profile.tx_order) > 1
        left_out = _TOLD_BY_GRID | _WITHOUT_EFFECT | (_FFT_ONLY if self.beamformer == 'capon' else _CAPON_ONLY)
        left_out |= _DOPPLER_ONLY if slow_times == 1 else set()
        left_out |= set() if turns and profile.waveform.slot_period else _TURNS_ONLY
        told = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}
        meant = {'doppler_bins': slow_times, 'subarray_length': profile.num_virtual_channels}
        told |= {name: told[name] or value for name, value in meant.items() if name in told}
        # YAML's true and false, as parameter files and --formation have them
        return ' '.join(f'{name}={str(value).lower()}' for name, value in told.items())

    @property
    def needs_doppler_beams(self) -> bool:
        """Whether beams depend on the Doppler bin by more than the compensation of slots."""
        return self.clutter_removal == 'ego_motion' or self.unfold_velocity


@dataclass(frozen=True, eq=False)
class RangeDopplerMap:
    """Power over range and radial velocity, averaged over the channels.

    Attributes:
        values: (R, D) float32, dB, ``[range_bin, doppler_bin]``.
        range: (R,) float64, m, ascending.
        velocity: (D,) float64, m/s, ascending, positive = receding.
        reference: what 0 dB stands for.
        noise_floor: dB, mean level of a cell that holds noise alone; NaN where unknown.
    """

    values: NDArray[np.float32]
    range: NDArray[np.float64]
    velocity: NDArray[np.float64]
    reference: Reference
    noise_floor: float


class Beams(NamedTuple):
    """Linear power of one frame.

    Attributes:
        power: (R, A) float32, reduced over Doppler.
        doppler_bin: (R, A) int, strongest bin in the order of the transform, or of one that is as many times longer as
            velocities are unfolded; None for a single slow time.
        noise: median power of range-Doppler cells of single channels.
        ego_velocity: (2,) m/s of the radar over the ground, forward and to the left; None where it is not looked for or
            too little is seen.
    """

    power: NDArray[np.float32]
    doppler_bin: NDArray[np.integer] | None
    noise: float
    ego_velocity: NDArray[np.float64] | None = None


class Pipeline(Protocol):
    """Where and with what the numbers are crunched."""

    def spectrum(self, cube: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """(doppler_bin, range_bin, channel), not yet TDM compensated and calibrated; the next call overwrites it."""
        ...

    def beams(self, cube: NDArray[np.complex64]) -> Beams:
        """Power over range and azimuth."""
        ...


@dataclass(frozen=True, eq=False)
class FormationPlan:
    """Everything about one radar and its settings that does not change from frame to frame.

    Attributes:
        profile, settings: what it was made from.
        array: virtual array in wavelengths.
        grid: of the heatmaps.
        velocity: (D,) m/s of each Doppler bin, in the order of the transform.
        range_length: of the range transform.
        tdm_phase: (D, M) complex64 that compensates the transmitter slots; None where there is nothing to do.
        noise_cells: flat indices into (D, R, M) of the cells that the noise is estimated from.
    """

    profile: RadarProfile
    settings: FormationSettings
    array: VirtualArray
    grid: PolarGrid
    velocity: NDArray[np.float64]
    range_length: int
    tdm_phase: NDArray[np.complex64] | None
    noise_cells: NDArray[np.int64]

    @classmethod
    def of(cls, profile: RadarProfile, settings: FormationSettings) -> 'FormationPlan':
        """Plan; raises ValueError as `HeatmapFormer`."""
        waveform = profile.waveform
        slow, fast = waveform.slow_time_count, waveform.fast_time_count
        range_length = _length('range_bins', settings.range_bins, fast)
        doppler_bins = _length('doppler_bins', settings.doppler_bins, slow)
        range_ = _range_bins(waveform, range_length, settings.max_range)
        array = VirtualArray.of(
            profile.virtual_positions / profile.wavelength, 1 if isinstance(waveform, OfdmWaveform) else -1
        )
        _check_capon(settings, array, slow)
        _check_doppler_beams(profile, settings, array)
        order = np.rint(np.fft.fftfreq(doppler_bins) * doppler_bins)
        velocity = order * (profile.wavelength / (2 * doppler_bins * profile.slow_time_period))
        phase = None
        slots = len(profile.tx_order)
        if settings.compensate_tdm and waveform.slot_period > 0 and slots > 1 and slow > 1:
            slot = np.repeat(np.arange(slots), len(profile.rx_positions))
            phase = np.exp(-2j * np.pi * np.outer(order, slot) / (doppler_bins * slots)).astype(np.complex64)
        return cls(
            profile,
            settings,
            array,
            PolarGrid(range_, array.azimuth(settings.azimuth_bins)),
            velocity,
            range_length,
            phase,
            _noise_cells(order, slow, range_.size, array.count),
        )

    @property
    def cube_shape(self) -> tuple[int, int, int]:
        """(slow_time, virtual_channel, fast_time)."""
        return self.profile.waveform.slow_time_count, self.array.count, self.profile.waveform.fast_time_count

    @property
    def factors(self) -> NDArray[np.complex64]:
        """(M,) calibration factors."""
        calibration = self.profile.calibration
        return np.ones(self.array.count, np.complex64) if calibration is None else calibration

    def beam_plan(self) -> BeamPlan:
        """Conventional beams of spectra that are neither TDM compensated nor calibrated yet."""
        factors = self.factors[None] if self.tdm_phase is None else self.factors * self.tdm_phase
        return BeamPlan.of(self.array, self.grid.azimuth, self.settings.azimuth_window, factors)


class CpuPipeline:
    """NumPy, and FFTW or SciPy.

    Args:
        plan: of the radar.
    """

    def __init__(self, plan: FormationPlan) -> None:
        self._plan = plan
        settings, shape = plan.settings, plan.cube_shape
        layout = TransformLayout(
            shape,
            doppler_bins=plan.velocity.size,
            range_length=plan.range_length,
            range_bins=plan.grid.range.size,
            slow_window=window(settings.doppler_window, shape[0]),
            fast_window=window(settings.range_window, shape[2]),
            inverse=isinstance(plan.profile.waveform, OfdmWaveform),
            remove_static=settings.clutter_removal == 'static',
        )
        self._transform = range_doppler_transform(layout, settings.transform, settings.threads)
        self._beams: _CaponBeams | _ConventionalBeams | DopplerBeams
        if settings.beamformer == 'capon':
            self._beams = _CaponBeams(plan)
        elif settings.needs_doppler_beams:
            self._beams = _doppler_beams(plan)
        else:
            self._beams = _ConventionalBeams(plan, plan.beam_plan())

    def spectrum(self, cube: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """See `Pipeline`."""
        return self._transform(cube)

    def beams(self, cube: NDArray[np.complex64]) -> Beams:
        """See `Pipeline`."""
        spectrum = self._transform(cube)
        noise = median_power(spectrum.reshape(-1)[self._plan.noise_cells])
        if isinstance(self._beams, DopplerBeams):
            power, strongest, ego_velocity = self._beams(spectrum, noise)
            return Beams(power, strongest, noise, ego_velocity)
        power, doppler_bin = self._beams(spectrum)
        return Beams(power, doppler_bin, noise)


class _ConventionalBeams:
    """Beams by real matrix products; see `BeamPlan`.

    The strongest Doppler bin of a cell is looked for among those that are strongest in one of the plan's beams, which
    stand two to a beam width: to evaluate all Doppler bins at all azimuths takes twice the time of everything else.
    """

    def __init__(self, plan: FormationPlan, beam_plan: BeamPlan) -> None:
        self._spread = beam_plan.spread
        doppler, self._ranges = plan.velocity.size, plan.grid.range.size
        self._takes_mean = plan.settings.doppler_reduction == 'mean'
        self._real, self._imaginary = (
            np.broadcast_to(part[:, None], (doppler, 1, *part.shape[1:]))
            for part in (beam_plan.real, beam_plan.imaginary)
        )
        _, inputs, beams = beam_plan.real.shape
        # BLAS would put threads of its own on large products, which wait for each other: stay below their size
        largest = max(1, SERIAL_PRODUCT // (beams * inputs))
        chunk = max(size for size in range(1, min(largest, self._ranges) + 1) if self._ranges % size == 0)
        chunk = chunk if chunk >= SMALLEST_PRODUCT else self._ranges
        self._sample_shape = (doppler, -1, chunk, inputs)
        self._power = np.empty((doppler, self._ranges // chunk, chunk, beams), np.float32)
        self._imaginary_part = np.empty_like(self._power)
        self._pool = ThreadPoolExecutor(1, 'beams') if thread_count(plan.settings.threads) > 1 else None
        self._bin, self._bin_mask = np.arange(doppler, dtype=np.int32)[:, None], _index_mask(doppler)
        self._candidate = np.arange(beams, dtype=np.int32)[:, None]
        self._picked = np.empty((beams, self._ranges, beams), np.float32)
        self._candidates = np.empty((beams, *plan.grid.shape), np.float32)
        self._first_candidate = beams * np.arange(self._ranges, dtype=np.int32)[:, None]

    def __call__(self, spectrum: NDArray[np.complex64]) -> tuple[NDArray[np.float32], NDArray[np.int32] | None]:
        """(R, A) power and strongest Doppler bin."""
        samples = spectrum.view(np.float32).reshape(self._sample_shape)
        tagged = self._sum_squares(samples)
        power = self._power.reshape(len(self._power), self._ranges, -1)
        best = tagged.reshape(self._ranges, -1)
        strongest = best & self._bin_mask
        if self._spread is not None:
            rows = strongest.T * self._ranges + np.arange(self._ranges)
            np.take(power.reshape(-1, power.shape[2]), rows, axis=0, out=self._picked, mode='clip')
            np.matmul(self._picked, self._spread, out=self._candidates)
            mask = _index_mask(len(self._candidates))
            candidates = self._candidates.reshape(len(self._candidates), -1)
            best = _tagged_maximum(candidates, self._candidate, mask, candidates).reshape(self._ranges, -1)
            strongest = np.take(strongest, (best & mask) + self._first_candidate)
        doppler_bin = strongest if self._bin_mask else None
        if self._takes_mean:
            mean = power.mean(axis=0)
            return mean if self._spread is None else mean @ self._spread, doppler_bin
        return best.view(np.float32), doppler_bin

    def _sum_squares(self, samples: NDArray[np.float32]) -> NDArray[np.int32]:
        """Power of each beam, and its tagged maximum over the Doppler bins."""
        power, imaginary = self._power, self._imaginary_part
        helper = self._pool.submit(_square_product, samples, self._imaginary, imaginary) if self._pool else None
        _square_product(samples, self._real, power)
        # a helper that found no core by now is not waited for
        if helper is None or helper.cancel():
            _square_product(samples, self._imaginary, imaginary)
        else:
            helper.result()
        np.add(power, imaginary, out=power)
        rows, buffer = power.reshape(len(power), -1), imaginary.reshape(len(power), -1)
        return _tagged_maximum(rows, self._bin, self._bin_mask, buffer)


def _square_product(samples: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    np.matmul(samples, weights, out=out)
    np.multiply(out, out, out=out)


def _tagged_maximum(
    power: NDArray[np.float32], index: NDArray[np.int32], mask: int, buffer: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Maximum of each column (as the bits of a float32), with the index of its row in the bits of the mask.

    Floats from 0 up sort like the integers of the same bits, so one integer maximum finds value and row at once. What
    the index overwrites of the value is below 0.0005 dB for 1024 rows. The buffer may be the power itself.
    """
    if mask == 0:
        return np.maximum.reduce(power.view(np.int32), axis=0)
    bits = np.bitwise_and(power.view(np.int32), ~mask, out=buffer.view(np.int32))
    return np.maximum.reduce(np.bitwise_or(bits, index, out=bits), axis=0)


def _index_mask(rows: int) -> int:
    return (1 << (rows - 1).bit_length()) - 1


class _CaponBeams:
    """Adaptive beams: one set of weights for each range bin, from the covariance over all Doppler bins."""

    def __init__(self, plan: FormationPlan) -> None:
        settings, array = plan.settings, plan.array
        self._order = np.argsort(array.positions[:, 1], kind='stable')
        factors = plan.factors[None] if plan.tdm_phase is None else plan.factors * plan.tdm_phase
        self._factors = factors[:, None, self._order]
        self._length = settings.subarray_length or array.count
        self._steering = array.steering_vectors(plan.grid.azimuth)[:, self._order[: self._length]]
        self._loading = settings.diagonal_loading
        self._forward_backward = settings.forward_backward
        self._takes_mean = settings.doppler_reduction == 'mean'

    def __call__(self, spectrum: NDArray[np.complex64]) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """(R, A) power and strongest Doppler bin."""
        doppler, ranges, _ = spectrum.shape
        samples = (spectrum[:, :, self._order] * self._factors).transpose(1, 2, 0)
        parts = subarrays(samples, self._length)
        snapshots = np.ascontiguousarray(parts).reshape(ranges, self._length, -1)
        weights = capon_weights(snapshots, self._steering, self._loading, self._forward_backward)
        beams = weights @ snapshots
        power = beams.real**2 + beams.imag**2
        power = power.reshape(ranges, len(self._steering), -1, doppler).mean(axis=2)
        strongest = power.argmax(axis=-1)
        reduced = power.mean(axis=-1) if self._takes_mean else power.max(axis=-1)
        return reduced, strongest if doppler > 1 else None


def _doppler_beams(plan: FormationPlan) -> DopplerBeams:
    settings, array = plan.settings, plan.array
    slots = 1 if plan.tdm_phase is None else len(plan.profile.tx_order)
    folding = Folding.of(plan.velocity, slots, array.count)
    untouched = np.ones((1, array.count), np.complex64)
    conventional = _ConventionalBeams(plan, BeamPlan.of(array, plan.grid.azimuth, settings.azimuth_window, untouched))
    return DopplerBeams(
        ClutterNulls.of(array, folding, window(settings.doppler_window, plan.cube_shape[0])),
        plan.factors[None] if plan.tdm_phase is None else plan.factors * plan.tdm_phase,
        conventional,
        azimuth=plan.grid.azimuth,
        array=array,
        azimuth_window=settings.azimuth_window,
        padding=plan.velocity.size / plan.cube_shape[0],
        removes_clutter=settings.clutter_removal == 'ego_motion',
        unfolds=settings.unfold_velocity,
    )


class HeatmapFormer:
    """Forms the heatmaps of one radar: windows, transform plans and steering are made once and kept.

    One instance serves one thread: its buffers are used again by the next call. What it returns is the caller's.

    Args:
        profile: of the radar.
        settings: see `FormationSettings`.

    Attributes:
        profile, settings: as given.
        grid: of the heatmaps; the range is half the way over transmitter and receiver, bins are exact.
        range_length: of the range transform, zero padding included.

    Raises:
        ValueError: an array without extent along y, transforms shorter than the data, a max_range within the first
            range bins, or Capon or ego-motion options that the array, the device or the number of slow times does not
            allow.
    """

    def __init__(self, profile: RadarProfile, settings: FormationSettings | None = None) -> None:
        self.profile = profile
        self.settings = settings or FormationSettings()
        self._plan = FormationPlan.of(profile, self.settings)
        self.grid = self._plan.grid
        self.range_length = self._plan.range_length
        folds = len(profile.tx_order) if self.settings.unfold_velocity else 1
        self._velocity = unfolded_velocity(self._plan.velocity, folds).astype(np.float32)
        self._formation = self.settings.summary(profile)
        self._pipeline = self._make_pipeline()
        self._noise_gain = self._measure_noise_gain()

    def _make_pipeline(self) -> Pipeline:
        if self.settings.device == 'cpu':
            return CpuPipeline(self._plan)
        from radio_visual_ssl.radar.torch_formation import TorchPipeline

        return TorchPipeline(self._plan)

    def _measure_noise_gain(self) -> float:
        """How far a heatmap cell of noise alone lies above the noise of single channels, from one frame of noise.

        Windows, zero padding, the maximum over Doppler and adaptive beams all have their part in it.
        """
        shape, settings = self._plan.cube_shape, self.settings
        noise = np.random.default_rng(0).standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        variance = 2.0
        if not getattr(self.profile.waveform, 'complex_samples', True):
            noise, variance = noise.real.astype(np.complex64), 1.0
        slow, fast = window(settings.doppler_window, shape[0]), window(settings.range_window, shape[2])
        median = np.log(2) * variance * np.sum(slow**2) * np.sum(fast**2)
        return float(np.median(self._pipeline.beams(noise).power) / median)

    def form(self, cube: NDArray[np.complexfloating]) -> Heatmap:
        """Heatmap of one frame.

        Args:
            cube: (slow_time, virtual_channel, fast_time) as `radio_visual_ssl.radar.cube.canonical` makes it.

        Returns:
            Power in dB above the noise floor, which is estimated from this frame: 0 dB is the median cell that holds
            noise alone. The velocity is that of the strongest Doppler bin of each cell; None for a single slow time.
            A frame without any noise (all zero) has reference ARBITRARY. The radar's own velocity is that by which
            ``clutter_removal`` took out what stands.

        Raises:
            CubeError: another shape than the profile says, samples that are not complex, NaN or infinity.
        """
        self._check(cube)
        with np.errstate(over='ignore', invalid='ignore'):
            beams = self._pipeline.beams(cube)
            level = beams.noise * self._noise_gain
            known = level > 0
            values = beams.power * np.float32(1 / level) if known else beams.power
            # NumPy's log of float32 is an order of magnitude faster than its log10
            values = np.float32(10 / np.log(10)) * np.log(np.maximum(values, np.float32(LOWEST)))
        if not (np.isfinite(beams.noise) and np.all(np.isfinite(values))):
            raise CubeError('cube: expected finite samples, got NaN or infinity')
        velocity = None
        if beams.doppler_bin is not None:
            velocity = self._velocity[beams.doppler_bin]
        return Heatmap(
            values=values.astype(np.float32, copy=False),
            grid=self.grid,
            reference=Reference.NOISE_FLOOR if known else Reference.ARBITRARY,
            noise_floor=0.0 if known else float('nan'),
            velocity=velocity,
            radar=self.profile.name,
            carrier_frequency=self.profile.waveform.carrier_frequency,
            bandwidth=self.profile.waveform.bandwidth,
            formation=self._formation,
            ego_velocity=beams.ego_velocity,
        )

    def spectrum(self, cube: NDArray[np.complexfloating]) -> tuple[NDArray[np.complex64], NDArray[np.float64]]:
        """Range-Doppler spectrum of each virtual channel, TDM compensated and calibrated.

        Args:
            cube: as for `form`.

        Returns:
            (doppler_bin, range_bin, channel) complex64 and (doppler_bin,) m/s, ascending.

        Raises:
            CubeError: as `form`.
        """
        self._check(cube)
        with np.errstate(over='ignore', invalid='ignore'):
            spectrum = self._pipeline.spectrum(cube) * self._plan.factors
            if self._plan.tdm_phase is not None:
                spectrum *= self._plan.tdm_phase[:, None]
        spectrum = np.fft.fftshift(spectrum, axes=0)
        if not np.all(np.isfinite(spectrum)):
            raise CubeError('cube: expected finite samples, got NaN or infinity')
        return spectrum, np.fft.fftshift(self._plan.velocity)

    def range_doppler(self, cube: NDArray[np.complexfloating]) -> RangeDopplerMap:
        """Range-Doppler map of one frame, the channels' powers averaged.

        Args:
            cube: as for `form`.

        Returns:
            Power in dB above the mean noise of one channel, estimated from this frame.

        Raises:
            CubeError: as `form`.
        """
        spectrum, velocity = self.spectrum(cube)
        order = np.fft.ifftshift(np.arange(velocity.size))
        noise = median_power(spectrum[order].reshape(-1)[self._plan.noise_cells]) / np.log(2)
        power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=2).T
        known = noise > 0
        values = 10 * np.log10(np.maximum(power / noise if known else power, LOWEST))
        return RangeDopplerMap(
            values.astype(np.float32),
            self.grid.range,
            velocity,
            Reference.NOISE_FLOOR if known else Reference.ARBITRARY,
            0.0 if known else float('nan'),
        )

    def azimuth_of(self, sample: NDArray[np.complex64]) -> float:
        """Azimuth (rad) in which conventional beams over calibrated samples (M,) of one cell are strongest.

        Looked for on a grid sixteen times finer than the array's resolution, and between its bins by a parabola.
        """
        azimuth = self._plan.array.azimuth(16 * max(16, self._plan.array.extent))
        weights = self._plan.array.steering_vectors(azimuth).conj() * self._plan.array.taper(
            self.settings.azimuth_window
        )
        power = np.abs(weights @ sample) ** 2
        place = peak_position(power, int(np.argmax(power)))
        return float(np.arcsin(np.interp(place, np.arange(azimuth.size), np.sin(azimuth))))

    def _check(self, cube: NDArray[np.complexfloating]) -> None:
        if cube.shape != self._plan.cube_shape:
            raise CubeError(
                f'cube: expected shape {self._plan.cube_shape} (slow time, virtual channel, fast time) for radar '
                f'{self.profile.name!r}, got {cube.shape}'
            )
        if not np.iscomplexobj(cube):
            raise CubeError(f'cube: expected complex samples, got {cube.dtype}')


def median_power(samples: NDArray[np.complex64]) -> float:
    """Median of the squared magnitudes; NaN where a sample is none."""
    power = samples.real**2 + samples.imag**2
    middle = power.size // 2
    # partition puts NaN last, where the median would not see it
    return float(np.partition(power, middle)[middle] + 0 * power.sum())


def peak_position(power: NDArray[np.floating], index: int) -> float:
    """Position of a maximum between bins, from the parabola through the dB values of the bin and its neighbours."""
    if not 0 < index < power.size - 1:
        return float(index)
    before, here, after = np.log(np.maximum(power[index - 1 : index + 2], np.finfo(np.float32).tiny))
    curvature = before - 2 * here + after
    return index + (float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0)


def _length(name: str, asked: int, count: int) -> int:
    if 0 < asked < count:
        raise ValueError(f'{name}: expected 0 or at least the {count} samples of the radar, got {asked}')
    return asked or count


def _range_bins(waveform: FmcwWaveform | OfdmWaveform, length: int, max_range: float) -> NDArray[np.float64]:
    if isinstance(waveform, FmcwWaveform):
        step = SPEED_OF_LIGHT * waveform.sample_rate / (2 * waveform.slope * length)
        count = length if waveform.complex_samples else length // 2
    else:
        step = SPEED_OF_LIGHT / (2 * waveform.subcarrier_spacing * length)
        count = length
    if max_range > 0:
        count = min(count, int(max_range / step + 1e-9) + 1)
    if count < 2:
        raise ValueError(f'max_range: expected at least one range bin of {step:g} m, got {max_range:g} m')
    return np.arange(count, dtype=np.float64) * step


def _check_capon(settings: FormationSettings, array: VirtualArray, slow: int) -> None:
    if settings.beamformer != 'capon':
        return
    if (settings.forward_backward or settings.subarray_length) and not array.is_uniform_line:
        name = 'forward_backward' if settings.forward_backward else 'subarray_length'
        raise ValueError(f'{name}: expected a uniform line of virtual antennas along y, got another array')
    if settings.subarray_length and not 2 <= settings.subarray_length <= array.count:
        raise ValueError(
            f'subarray_length: expected 0 or from 2 to the {array.count} virtual antennas, '
            f'got {settings.subarray_length}'
        )
    length = settings.subarray_length or array.count
    # each slow time of each part of the array is a snapshot, and again in its mirror image
    independent = slow - (settings.clutter_removal == 'static')
    snapshots = independent * (array.count - length + 1) * (1 + settings.forward_backward)
    if settings.diagonal_loading == 0 and snapshots < length:
        raise ValueError(
            f'diagonal_loading: expected more than 0, as a frame has {snapshots} snapshots of {length} antennas, whose '
            f'covariance has no inverse, got {settings.diagonal_loading:g}'
        )


def _check_doppler_beams(profile: RadarProfile, settings: FormationSettings, array: VirtualArray) -> None:
    if not settings.needs_doppler_beams:
        return
    slow, turns = profile.waveform.slow_time_count, profile.waveform.slot_period > 0 and len(profile.tx_order) > 1
    removes = settings.clutter_removal == 'ego_motion'
    name = 'clutter_removal ego_motion' if removes else 'unfold_velocity'
    if removes and slow < FEWEST_SLOW_TIMES:
        raise ValueError(
            f'clutter_removal: expected none for a radar of fewer than {FEWEST_SLOW_TIMES} slow times, which tells no '
            f'velocity, got {settings.clutter_removal!r}'
        )
    if removes and settings.doppler_window not in ('hann', 'blackman'):
        raise ValueError(
            f'doppler_window: expected hann or blackman with {name}, whose sidelobes fall off, '
            f'got {settings.doppler_window!r}'
        )
    if array.count > MOST_ANTENNAS:
        raise ValueError(f'{name}: expected at most {MOST_ANTENNAS} virtual antennas, got {array.count}')
    if settings.unfold_velocity and not (turns and slow > 1):
        raise ValueError(
            'unfold_velocity: expected transmitters that take turns: nothing else tells velocities beyond the '
            'unambiguous one'
        )
    if turns and not settings.compensate_tdm:
        raise ValueError(f'compensate_tdm: expected true with {name}, got False')
    if settings.unfold_velocity:
        folding = Folding.of(np.array([0.0, 1.0]), len(profile.tx_order), array.count)
        if folding.looks_like_azimuth(array):
            raise ValueError(
                'unfold_velocity: expected an array in which a folded velocity does not look like another azimuth, as '
                'it does where the antennas of the transmitters lie between each other'
            )
    for other, needed in (('beamformer', 'fft'), ('device', 'cpu')):
        got = getattr(settings, other)
        if got != needed:
            raise ValueError(f'{other}: expected {needed} with {name}, got {got!r}')


def _noise_cells(order: NDArray[np.float64], slow: int, ranges: int, channels: int) -> NDArray[np.int64]:
    """Cells spread at random over range, Doppler and channels, away from Doppler 0, where the clutter is."""
    rows = np.arange(order.size)
    if slow >= 16:
        rows = rows[np.abs(order) > 3 * order.size / slow]
    generator = np.random.default_rng(0)
    count = min(NOISE_CELLS, rows.size * ranges * channels)
    picked = generator.choice(rows.size * ranges * channels, count, replace=False)
    row, rest = np.divmod(picked, ranges * channels)
    return np.sort(rows[row] * ranges * channels + rest)
