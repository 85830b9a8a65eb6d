# SPDX-License-Identifier: Apache-2.0
"""Times CFAR detection against OpenRadar: same array, same windows, all taking turns in one run.

OpenRadar's ``ca_`` and ``os_`` take one line of cells, so its users run them through ``numpy.apply_along_axis``; their
defaults are the windows here (CA: 4 guard and 8 training cells on each side; OS: 0 and 8, the 13th of 16), around a
circle. Ours also solves for the threshold of a false alarm rate and compares. A speed-up is the ratio of the fastest
calls, of the axis where it is smaller; the noise estimates of both are checked against each other first.

    python benchmarks/cfar.py [--rounds 15]
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
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from radio_visual_ssl.radar.cfar import METHODS, cfar

SHAPE = (128, 128)
SCAN = (576, 400)
CA_GUARD, OS_GUARD, TRAINING, ORDER = 4, 0, 8, 13
SHORT_CALLS = 20  # a turn of a contestant that takes a fraction of a millisecond


def openradar_dsp() -> types.ModuleType:
    """OpenRadar's mmwave.dsp alone: the whole mmwave package wants scikit-learn, which plays no part here."""
    spec = importlib.util.find_spec('mmwave')
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError('OpenRadar is not installed: pip install --no-deps openradar')
    package = types.ModuleType('mmwave')
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules['mmwave'] = package
    return importlib.import_module('mmwave.dsp')


def ours(power: NDArray[np.floating], axis: int, method: str) -> Any:
    """One-dimensional CFAR along an axis, around a circle, with OpenRadar's windows."""
    guard = OS_GUARD if method == 'os' else CA_GUARD
    along = (axis == 0, axis == 1)
    return cfar(
        power,
        guard_cells=(guard * along[0], guard * along[1]),
        training_cells=(TRAINING * along[0], TRAINING * along[1]),
        probability_of_false_alarm=1e-4,
        method=method,
        wrap=along,
        rank=ORDER / (2 * TRAINING),
    )


def theirs(dsp: types.ModuleType, power: NDArray[np.floating], axis: int, method: str) -> Any:
    """The same by OpenRadar: (2, ...) threshold and noise along the axis."""
    if method == 'ca':
        return np.apply_along_axis(dsp.ca_, axis, power, guard_len=CA_GUARD, noise_len=TRAINING, l_bound=0)
    # its k counts from 0
    return np.apply_along_axis(dsp.os_, axis, power, guard_len=OS_GUARD, noise_len=TRAINING, k=ORDER - 1)


def check(dsp: types.ModuleType, power: NDArray[np.floating], axis: int, method: str) -> None:
    """Stop where the two do not estimate the same noise."""
    noise = ours(power, axis, method).noise
    peer = np.take(theirs(dsp, power, axis, method), 1, axis=axis)
    if method == 'os':
        # ours is turned from the order statistic into an estimate of the mean
        peer = peer / np.sum(1 / (2 * TRAINING - np.arange(ORDER)))
    if not np.allclose(noise, peer, rtol=1e-5):
        raise SystemExit(f'{method} along axis {axis}: expected equal noise estimates, got {noise} and {peer}')


def best_and_median(turns: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, tuple[float, float]]:
    """Milliseconds a call, (fastest, median over the turns), of contestants that take turns."""
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for run, _ in turns.values():
        run()
    for _ in range(rounds):
        for name, (run, calls) in turns.items():
            start = time.perf_counter()
            for _ in range(calls):
                run()
            taken[name].append((time.perf_counter() - start) / calls * 1e3)
    return {name: (min(times), statistics.median(times)) for name, times in taken.items()}


def main() -> None:
    """Check, time, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=15, help='turns of each contestant')
    rounds = parser.parse_args().rounds
    dsp = openradar_dsp()
    rng = np.random.default_rng(0)
    power, scan = rng.exponential(size=SHAPE), rng.exponential(size=SCAN).astype(np.float32)
    turns: dict[str, tuple[Callable[[], Any], int]] = {}
    for method in ('ca', 'os'):
        for axis in (0, 1):
            check(dsp, power, axis, method)
            name = f'{method} along axis {axis}'
            turns[f'{name}, ours'] = (lambda axis=axis, method=method: ours(power, axis, method), SHORT_CALLS)
            calls = 4 if method == 'ca' else 1
            turns[f'{name}, OpenRadar'] = (lambda axis=axis, method=method: theirs(dsp, power, axis, method), calls)
    square = {'guard_cells': (2, 2), 'training_cells': (5, 5), 'probability_of_false_alarm': 1e-4}
    for method in METHODS:
        turns[f'{method} in 2-D, {SCAN[0]} x {SCAN[1]}, ours'] = (
            lambda method=method: cfar(scan, method=method, wrap=(False, True), **square),
            1,
        )
    turns[f'os in 2-D, {SCAN[0]} x {SCAN[1]}, noise at detections only'] = (
        lambda: cfar(scan, method='os', wrap=(False, True), everywhere=False, **square),
        1,
    )
    times = best_and_median(turns, rounds)
    table = Table(title=f'CFAR of {SHAPE[0]} x {SHAPE[1]} cells unless noted, ms a call, {os.cpu_count()} cores')
    for column in ('', 'fastest', 'median'):
        table.add_column(column, justify='left' if not column else 'right')
    for name, (fastest, median) in times.items():
        table.add_row(name, f'{fastest:.3f}', f'{median:.3f}')
    Console().print(table)
    figures = {
        f'speedup_openradar_{method}': min(
            times[f'{method} along axis {axis}, OpenRadar'][0] / times[f'{method} along axis {axis}, ours'][0]
            for axis in (0, 1)
        )
        for method in ('ca', 'os')
    }
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == '__main__':
    main()
