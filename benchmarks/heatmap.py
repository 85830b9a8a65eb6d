# SPDX-License-Identifier: Apache-2.0
"""Times heatmap formation against OpenRadar, xwr and the bare Fourier transforms of the same sizes.

Every contestant gets the same cubes (128 chirps x 8 virtual channels x 128 samples, complex64, a new one each time) and
all take turns in one run. Ours goes all the way: windows, TDM-MIMO phases, beams, power, strongest Doppler bin, noise
floor, dB. The peers stop at the complex range-Doppler-azimuth cube and use no windows; the floor is transforms alone,
with plans made and buffers allocated before. `times_floor` is that of the 64 azimuth bins of a heatmap;
`times_floor_xwr_sizes` that of xwr's 8, where windows, power and maximum weigh as much as the transforms themselves.

Then ours for a radar that moves, against ours for one that stands, on cubes of a street: without what stands
(`ego_motion_times_plain`), and with velocities unfolded as well (`unfolded_times_plain`).

    python benchmarks/heatmap.py [--repeats 150]
"""

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pyfftw
import scipy.fft
import torch
from numpy.typing import NDArray
from xwr.rsp import numpy as xwr_numpy
from xwr.rsp import torch as xwr_torch

from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.profile import load_profile

Cube = NDArray[np.complex64]
Contestants = dict[str, Callable[[Cube], Any]]

SHAPE = (128, 8, 128)
THREADS = len(os.sched_getaffinity(0))
CALLS_PER_TURN = 4


def former(azimuth_bins: int) -> Callable[[Cube], Any]:
    """Ours, at default settings but for the number of azimuth bins."""
    return HeatmapFormer(load_profile('openradar_2tx4rx'), FormationSettings(azimuth_bins=azimuth_bins)).form


def openradar(azimuth_bins: int) -> Callable[[Cube], Any]:
    """mmwave.dsp's range and Doppler processing, and the azimuth transform as its azimuth_processing does it."""
    dsp = openradar_dsp()

    def run(cube: Cube) -> Any:
        ranges = dsp.range_processing(cube)
        _, channels = dsp.doppler_processing(ranges, num_tx_antennas=2, interleaved=False, accumulate=False)
        return np.fft.fft(channels, azimuth_bins, axis=1)

    return run


def openradar_dsp() -> types.ModuleType:
    """OpenRadar's mmwave.dsp alone: the whole mmwave package wants scikit-learn, which plays no part here."""
    spec = importlib.util.find_spec('mmwave')
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError('OpenRadar is not installed: pip install --no-deps openradar')
    package = types.ModuleType('mmwave')
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules['mmwave'] = package
    return importlib.import_module('mmwave.dsp')


def xwr() -> Contestants:
    """RSP classes of the 2 x 4 board, with pyFFTW and with torch inside; they transform to their own sizes."""
    fftw, on_torch = xwr_numpy.AWR1642Boost(), xwr_torch.AWR1642Boost()
    return {
        'xwr (pyFFTW)': lambda cube: fftw(cube.reshape(1, 128, 2, 4, 128)),
        'xwr (torch)': lambda cube: on_torch(torch.from_numpy(cube.reshape(1, 128, 2, 4, 128))),
    }


def floors(azimuth_bins: int) -> Contestants:
    """Bare transforms over range, Doppler and (padded) azimuth."""

    def with_scipy(cube: Cube) -> Any:
        result = scipy.fft.fft(scipy.fft.fft(cube, axis=2, workers=THREADS), axis=0, workers=THREADS)
        return scipy.fft.fft(result, azimuth_bins, axis=1, workers=THREADS)

    def with_torch(cube: Cube) -> Any:
        result = torch.fft.fft(torch.fft.fft(torch.from_numpy(cube), dim=2), dim=0)
        return torch.fft.fft(result, azimuth_bins, dim=1)

    def with_torch_last(cube: Cube) -> Any:
        result = torch.fft.fft(torch.fft.fft(torch.from_numpy(cube), dim=2), dim=0)
        return torch.fft.fft(result.transpose(1, 2), azimuth_bins, dim=2)

    contestants: Contestants = {'scipy.fft': with_scipy, 'torch.fft': with_torch, 'torch.fft, last': with_torch_last}
    if azimuth_bins == SHAPE[1]:
        contestants['torch.fft.fftn'] = lambda cube: torch.fft.fftn(torch.from_numpy(cube))
    for threads in sorted({1, THREADS}):
        for channels_last in (False, True):
            place = ', last' if channels_last else ''
            contestants[f'pyFFTW x{threads}{place}'] = with_fftw(azimuth_bins, threads, channels_last)
        if azimuth_bins == SHAPE[1]:
            contestants[f'pyFFTW fftn x{threads}'] = with_fftw_at_once(threads)
    return contestants


def with_fftw(azimuth_bins: int, threads: int, channels_last: bool) -> Callable[[Cube], Any]:
    """Three FFTW plans that read the cube in place, the second of which writes between the zeros of the padding."""
    options = {'threads': threads, 'flags': ('FFTW_MEASURE',)}
    samples, ranges = (pyfftw.empty_aligned(SHAPE, np.complex64) for _ in range(2))
    shape = (SHAPE[0], SHAPE[2], azimuth_bins) if channels_last else (SHAPE[0], azimuth_bins, SHAPE[2])
    padded, result = pyfftw.empty_aligned(shape, np.complex64), pyfftw.empty_aligned(shape, np.complex64)
    channels = padded[:, :, : SHAPE[1]].transpose(0, 2, 1) if channels_last else padded[:, : SHAPE[1]]
    plans = (
        pyfftw.FFTW(samples, ranges, axes=(2,), **options),
        pyfftw.FFTW(ranges, channels, axes=(0,), **options),
        pyfftw.FFTW(padded, result, axes=(2 if channels_last else 1,), **options),
    )
    padded[:] = 0

    def run(cube: Cube) -> Any:
        plans[0](cube)
        plans[1].execute()
        plans[2].execute()
        return result

    return run


def with_fftw_at_once(threads: int) -> Callable[[Cube], Any]:
    """One FFTW plan over all three axes."""
    samples, result = (pyfftw.empty_aligned(SHAPE, np.complex64) for _ in range(2))
    return pyfftw.FFTW(samples, result, axes=(0, 1, 2), threads=threads, flags=('FFTW_MEASURE',))


def aligned_cubes(count: int) -> list[Cube]:
    """Cubes of noise, aligned so that FFTW can read them where they are."""
    generator = np.random.default_rng(0)
    cubes = []
    for _ in range(count):
        cube = pyfftw.empty_aligned(SHAPE, np.complex64)
        cube.view(np.float32)[:] = generator.standard_normal((*SHAPE[:2], 2 * SHAPE[2]), dtype=np.float32)
        cubes.append(cube)
    return cubes


def street_cubes(count: int) -> list[Cube]:
    """Cubes of 60 points that stand along a street, seen at 1.5 m/s, and noise."""
    profile = load_profile('openradar_2tx4rx')
    generator = np.random.default_rng(0)
    chirp = np.arange(SHAPE[0])[:, None, None] * profile.slow_time_period
    slot = np.arange(SHAPE[1])[None, :, None] // 4 * profile.slow_time_period / 2
    antenna, sample = np.arange(SHAPE[1])[None, :, None], np.arange(SHAPE[2])
    cubes = aligned_cubes(count)
    for cube in cubes:
        azimuth, place = generator.uniform(-1.1, 1.1, 60), generator.uniform(0.1, 0.9, 60)
        for angle, share in zip(azimuth, place, strict=True):
            velocity = -1.5 * np.cos(angle)
            turns = 2 * velocity * (chirp + slot) / profile.wavelength + antenna * np.sin(angle) / 2 + share * sample
            np.add(cube, np.exp(2j * np.pi * turns), out=cube, casting='unsafe')
    return cubes


def moving_platform(repeats: int) -> dict[str, float]:
    """Ratios of formation for a radar that moves to that for one that stands."""
    profile = load_profile('openradar_2tx4rx')
    settings = {
        'radar stands': FormationSettings(),
        'without what stands': FormationSettings(clutter_removal='ego_motion'),
        'and unfolded': FormationSettings(clutter_removal='ego_motion', unfold_velocity=True),
    }
    formers = {name: HeatmapFormer(profile, each) for name, each in settings.items()}
    cubes = street_cubes(8)
    seconds = measure({name: each.form for name, each in formers.items()}, cubes, repeats)
    if any(formers[name].form(cube).ego_velocity is None for name in list(settings)[1:] for cube in cubes):
        raise SystemExit('the velocity of the platform was not found: nothing was removed')
    best = {name: min(times) for name, times in seconds.items()}
    print('a street, 64 azimuth bins                                              best      median')
    for name, times in seconds.items():
        print(f'  {name:44}{1e3 * best[name]:8.3f} ms {1e3 * statistics.median(times):8.3f} ms')
    plain, removed, unfolded = best.values()
    return {
        'ego_motion_times_plain': round(removed / plain, 2),
        'unfolded_times_plain': round(unfolded / plain, 2),
    }


def measure(contestants: Contestants, cubes: list[Cube], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call; the contestants take turns, so that a busy moment hits all alike."""
    for run in contestants.values():
        for cube in cubes[:3]:
            run(cube)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats):
        for number, (name, run) in enumerate(contestants.items()):
            # threads of the one before still spin for a while; nobody shall pay for them
            time.sleep(0.001)
            for call in range(CALLS_PER_TURN + 1):
                cube = cubes[(turn + number + call) % len(cubes)]
                start = time.perf_counter()
                run(cube)
                if call:
                    seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Print a table of best and median times, and the ratios of the best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=150, help='turns of each contestant, 4 calls each')
    repeats = parser.parse_args().repeats
    cubes = aligned_cubes(8)
    result = {}
    for peer, azimuth_bins in (('openradar', 64), ('xwr', 8)):
        peers = {'openradar': openradar(azimuth_bins)} if peer == 'openradar' else xwr()
        bare = floors(azimuth_bins)
        seconds = measure({'ours': former(azimuth_bins), **peers, **bare}, cubes, repeats)
        best = {name: min(times) for name, times in seconds.items()}
        floor = min(bare, key=best.__getitem__)
        print(f'128 range x 128 Doppler x {azimuth_bins} azimuth bins, {THREADS} cores    best      median')
        for name, times in seconds.items():
            note = '  <- floor' if name == floor else ''
            print(f'  {name:44}{1e3 * best[name]:8.3f} ms {1e3 * statistics.median(times):8.3f} ms{note}')
        rival = min(best[name] for name in peers)
        result[f'speedup_{peer}'] = round(rival / best['ours'], 2)
        result[f'times_floor_{peer}_sizes'] = round(best['ours'] / best[floor], 2)
        result[f'milliseconds_{peer}_sizes'] = round(1e3 * best['ours'], 3)
    result['times_floor'] = result['times_floor_openradar_sizes']
    result |= moving_platform(repeats)
    print(json.dumps(result))


if __name__ == '__main__':
    main()
