# SPDX-License-Identifier: Apache-2.0
"""Times the simulator: pairs a second that `simulate` writes with all its processes, and the parts of one frame.

Where Sionna RT is installed, the ray-traced back end too, beside Sionna RT alone: its path solver on the same scene
with the same rays, and the channel of its paths at all subcarriers and antennas. Ours adds what that leaves out: the
exact delay to each antenna at each symbol, what moves, what hides the clutter, and noise.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from radio_visual_ssl.radar.cube import RadarCube, canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.profile import OfdmWaveform, RadarProfile, load_profile
from radio_visual_ssl.simulation import llvm
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.simulator import Simulator


def best_at_moments(works: dict[str, Callable[[float], Any]], moments: int, repeats: int) -> dict[str, float]:
    """Seconds of a call of each: the fastest of several at each of some moments of the scene, averaged over these.

    At a moment they take turns, so that a slow minute of the machine is a slow one for all.
    """
    best = {name: [float('inf')] * moments for name in works}
    for moment in range(moments):
        for _ in range(repeats):
            for name, work in works.items():
                start = time.perf_counter()
                work(1.7 * moment)
                best[name][moment] = min(best[name][moment], time.perf_counter() - start)
    return {name: sum(times) / moments for name, times in best.items()}


def pairs_per_second(plan: DatasetPlan, workers: int, repeats: int) -> float:
    """Pairs a second of whole data sets, the start of the processes included; the fastest of several."""
    best = 0.0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            generate(plan, Path(folder) / 'set', workers)
            best = max(best, plan.frames / (time.perf_counter() - start))
    return best


def raytraced_parts(
    scene: str, profile: RadarProfile, seed: int, image_size: tuple[int, int]
) -> dict[str, Callable[[float], Any]]:
    """Calls of the ray-traced back end, and of Sionna RT alone.

    Raises:
        llvm.RaytracingUnavailable: Sionna RT or LLVM is missing.
    """
    llvm.prepare()
    from sionna import rt

    from radio_visual_ssl.simulation.raytraced import RaytracedSimulator
    from radio_visual_ssl.simulation.raytraced_channel import RAYS, RaytracedChannel

    simulator = RaytracedSimulator(load_scene(scene), profile, seed, image_size=image_size)
    channel = RaytracedChannel(simulator.layout, profile)
    channel.cube(0.0)
    assert channel.mover_tracer is not None
    traced, solver, waveform = channel.mover_tracer.scene, rt.PathSolver(), profile.waveform
    count = waveform.num_subcarriers if isinstance(waveform, OfdmWaveform) else waveform.num_samples
    offsets = np.linspace(-waveform.bandwidth / 2, waveform.bandwidth / 2, count, dtype=np.float32)
    antennas = rt.PlanarArray(num_rows=1, num_cols=profile.virtual_positions.shape[0], pattern='iso', polarization='V')
    single = traced.rx_array

    def alone(_: float) -> Any:
        """The scene stands as the call before it left it: with the movers at the same moment."""
        traced.rx_array = antennas
        try:
            paths = solver(
                traced,
                max_depth=2,
                samples_per_src=RAYS,
                max_num_paths_per_src=2 * RAYS,
                los=False,
                specular_reflection=True,
                diffuse_reflection=True,
                refraction=False,
                synthetic_array=True,
                seed=1,
            )
            return paths.cfr(frequencies=offsets, out_type='numpy')
        finally:
            traced.rx_array = single

    return {'cube': channel.cube, 'sionna': alone, 'image': simulator.view, 'frame': simulator.frame}


def main() -> None:
    """Print a table, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scene', default='parking_lot')
    parser.add_argument('--radar', default='ofdm_28ghz_400mhz_16rx', help='radar profile')
    parser.add_argument('--frames', type=int, default=1200, help='of the data set')
    parser.add_argument('--raytraced-frames', type=int, default=60, help='of the ray-traced one; 0 = none')
    parser.add_argument('--device', default='cpu', help='torch device, such as cuda, on which cubes are timed, too')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--sets', type=int, default=1, help='data sets that are written; the fastest counts')
    parser.add_argument('--seed', type=int, default=5, help='draws the layout of the timed frame')
    parser.add_argument('--moments', type=int, default=12)
    parser.add_argument('--repeats', type=int, default=6, help='at each moment; the fastest counts')
    arguments = parser.parse_args()
    plan = DatasetPlan(arguments.scene, arguments.radar, arguments.frames, arguments.seed)
    result = {'scatter_fps': pairs_per_second(plan, arguments.workers, arguments.sets)}
    profile = load_profile(arguments.radar)
    former = HeatmapFormer(profile, FormationSettings(threads=1))
    simulator = Simulator(load_scene(arguments.scene), profile, arguments.seed, former.grid, plan.image_size)
    cube = canonical(RadarCube(simulator.cube(0.0), simulator.cube_axes), profile)
    parts = {
        'cube': simulator.cube,
        'image': simulator.view,
        'truth': simulator.targets,
        'heatmap': lambda _: former.form(cube),
        'frame': simulator.frame,
    }
    if arguments.device != 'cpu':
        other = Simulator(simulator.scene, profile, arguments.seed, former.grid, plan.image_size, arguments.device)
        parts[f'cube on {arguments.device}'] = other.cube
    shape = ' x '.join(map(str, cube.shape))
    print(f'{arguments.scene}, {arguments.radar}, cube {shape}, {len(simulator.layout.movers)} targets')
    for name, seconds in best_at_moments(parts, arguments.moments, arguments.repeats).items():
        print(f'{name:>7} {1e3 * seconds:7.2f} ms')
        result[f'{name.replace(" ", "_")}_ms'] = 1e3 * seconds
    if arguments.device != 'cpu':
        result['device_times_cpu'] = result[f'cube_on_{arguments.device}_ms'] / result['cube_ms']
        print(f'cube on {arguments.device}: {result["device_times_cpu"]:.2f} times the time on one core')
    written = f'pairs/s written (heatmap, velocity, 320x240 JPEG, mask, truth), {arguments.workers} processes'
    print(f'{result["scatter_fps"]:.1f} {written}')
    try:
        traced = raytraced_parts(arguments.scene, profile, arguments.seed, plan.image_size)
    except llvm.RaytracingUnavailable as missing:
        print(f'ray-traced: left out, {missing}')
    else:
        timed = best_at_moments(traced, max(arguments.moments // 3, 1), max(arguments.repeats // 2, 1))
        for name, seconds in timed.items():
            print(f'ray-traced {name:>7} {1e3 * seconds:7.0f} ms')
            result[f'raytraced_{name}_ms'] = 1e3 * seconds
        result['raytraced_times_sionna'] = timed['cube'] / timed['sionna']
        print(f'ray-traced cube: {result["raytraced_times_sionna"]:.2f} times Sionna RT alone')
        if arguments.raytraced_frames:
            slow = replace(plan, frames=arguments.raytraced_frames, backend='raytraced')
            result['raytraced_fps'] = pairs_per_second(slow, arguments.workers, arguments.sets)
            print(f'ray-traced: {result["raytraced_fps"]:.2f} {written}')
    load = f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores'
    print(f'best of {arguments.repeats} at {arguments.moments} moments (ray-traced: half and a third of it), {load}')
    print(json.dumps({key: round(value, 3) for key, value in result.items()}))


if __name__ == '__main__':
    main()
