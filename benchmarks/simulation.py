# SPDX-License-Identifier: Apache-2.0
"""Times the simulator: pairs a second that `simulate` writes with all its processes, and the parts of one frame."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.simulator import Simulator


def mean_of_best(work: Callable[[float], Any], moments: int, repeats: int) -> float:
    """Seconds of a call, the fastest of several at each of some moments of the scene, averaged over the moments."""
    best = []
    for moment in range(moments):
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            work(1.7 * moment)
            times.append(time.perf_counter() - start)
        best.append(min(times))
    return sum(best) / moments


def pairs_per_second(plan: DatasetPlan, workers: int, repeats: int) -> float:
    """Pairs a second of whole data sets, the start of the processes included; the fastest of several."""
    best = 0.0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            generate(plan, Path(folder) / 'set', workers)
            best = max(best, plan.frames / (time.perf_counter() - start))
    return best


def main() -> None:
    """Print a table, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--scene', default='parking_lot')
    parser.add_argument('--radar', default='ofdm_28ghz_400mhz_16rx', help='radar profile')
    parser.add_argument('--frames', type=int, default=1200, help='of the data set')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--sets', type=int, default=1, help='data sets that are written; the fastest counts')
    parser.add_argument('--seed', type=int, default=5, help='draws the layout of the timed frame')
    parser.add_argument('--moments', type=int, default=12)
    parser.add_argument('--repeats', type=int, default=6, help='at each moment; the fastest counts')
    arguments = parser.parse_args()
    plan = DatasetPlan(arguments.scene, arguments.radar, arguments.frames, arguments.seed)
    rate = pairs_per_second(plan, arguments.workers, arguments.sets)
    profile = load_profile(arguments.radar)
    former = HeatmapFormer(profile, FormationSettings(threads=1))
    simulator = Simulator(load_scene(arguments.scene), profile, arguments.seed, former.grid, plan.image_size)
    cube = simulator.cube(0.0)
    parts = {
        'cube': simulator.cube,
        'image': simulator.view,
        'truth': simulator.targets,
        'heatmap': lambda _: former.form(cube),
        'frame': simulator.frame,
    }
    milliseconds = {
        name: 1e3 * mean_of_best(work, arguments.moments, arguments.repeats) for name, work in parts.items()
    }
    shape = ' x '.join(map(str, cube.shape))
    print(f'{arguments.scene}, {arguments.radar}, cube {shape}, {len(simulator.layout.movers)} targets')
    for name, value in milliseconds.items():
        print(f'{name:>7} {value:7.2f} ms')
    print(f'{rate:.1f} pairs/s written (heatmap, velocity, 320x240 JPEG, mask, truth), {arguments.workers} processes')
    load = f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores'
    print(f'best of {arguments.repeats} at {arguments.moments} moments, {load}')
    result = {'scatter_fps': rate} | {f'{name}_ms': value for name, value in milliseconds.items()}
    print(json.dumps({key: round(value, 3) for key, value in result.items()}))


if __name__ == '__main__':
    main()
