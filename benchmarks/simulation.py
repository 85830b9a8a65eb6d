# SPDX-License-Identifier: Apache-2.0
"""Times the scatterer simulation of a scene: cubes, images, ground truth and whole frames a second, one process."""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

from radio_visual_ssl.radar.profile import load_profile
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


def main() -> None:
    """Print a table, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--scene', default='parking_lot')
    parser.add_argument('--radar', default='ofdm_28ghz_400mhz_16rx', help='radar profile')
    parser.add_argument('--seed', type=int, default=5, help='draws the layout (5: all four targets of parking_lot)')
    parser.add_argument('--moments', type=int, default=12)
    parser.add_argument('--repeats', type=int, default=6, help='at each moment; the fastest counts')
    arguments = parser.parse_args()
    simulator = Simulator(load_scene(arguments.scene), load_profile(arguments.radar), arguments.seed)
    parts = {
        'cube': simulator.cube,
        'image': simulator.image,
        'truth': simulator.targets,
        'frame': simulator.frame,
    }
    milliseconds = {
        name: 1e3 * mean_of_best(work, arguments.moments, arguments.repeats) for name, work in parts.items()
    }
    shape = ' x '.join(map(str, simulator.cube(0.0).shape))
    print(f'{arguments.scene}, {arguments.radar}, cube {shape}, {len(simulator.layout.movers)} targets')
    for name, value in milliseconds.items():
        print(f'{name:>6} {value:7.2f} ms')
    load = f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores'
    print(f'best of {arguments.repeats} at {arguments.moments} moments, {load}')
    result = {'scatter_fps': 1e3 / milliseconds['frame']}
    result |= {f'{name}_ms': value for name, value in milliseconds.items()}
    print(json.dumps({key: round(value, 3) for key, value in result.items()}))


if __name__ == '__main__':
    main()
