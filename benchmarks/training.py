# SPDX-License-Identifier: Apache-2.0
"""Times training fed from memory-mapped recordings against the same training fed by tensors already in memory.

Bags are simulated (or given), opened as `train` opens them, and labelled with their ground truth. Two networks take the
same batches in the same order, each once from the loader and once from a list of ready tensors, on one thread: the
localizer as it is trained by default, and one so small that the loader's part shows. An epoch counts as the sum of its
batches' times, each the fastest of several rounds. There are no variations of the data, which cost the same in both.

The overhead is one of processor time where the process that trains reads too: the files are in the system's memory from
the first round on, so that nothing waits but for other programs. *Wall*: the same by the clock on the wall.

    python benchmarks/training.py [--frames 240] [--rounds 6] [--bags DATA_SET]

The last line on stdout is JSON: `loader_overhead_percent` is that of the small network, `samples_per_s` frames a second
of the default one from the loader, by the clock on the wall.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from radio_visual_ssl.learning.bag_selection import expand_bags
from radio_visual_ssl.learning.localizer_data import (
    LabelledBatch,
    LabelledFrames,
    SectorSettings,
    encode_batch,
    frame_loader,
    learn_sectors,
    truth_labels,
)
from radio_visual_ssl.learning.localizer_training import LocalizerTrainingSettings, NetworkSettings
from radio_visual_ssl.learning.recording_settings import RecordingSettings
from radio_visual_ssl.learning.recordings import open_recordings
from radio_visual_ssl.learning.truth import read_truth
from radio_visual_ssl.models.localizer import LocalizerNetwork
from radio_visual_ssl.models.localizer_loss import LocalizerLoss
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

SETTINGS = LocalizerTrainingSettings()
NETWORKS = {'small': NetworkSettings(width=8, dilations=(1,), coordinate_bands=1), 'default': SETTINGS.network}


class Training:
    """A network and its optimizer.

    Args:
        frames: that it learns from.
        network: its size.
    """

    def __init__(self, frames: LabelledFrames, network: NetworkSettings) -> None:
        torch.manual_seed(0)
        made = LocalizerNetwork(frames.grid, len(SETTINGS.radar_input.channels), **asdict(network))
        self.network = made.to(memory_format=torch.channels_last)
        self._loss = LocalizerLoss(SETTINGS.offset_loss, offset_weight=SETTINGS.offset_weight)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3)

    def step(self, batch: LabelledBatch) -> None:
        """One step of training."""
        labels, weight = encode_batch(
            batch,
            self.network.cells,
            SETTINGS.sigma,
            SETTINGS.least_sigma,
            SETTINGS.dropped_radius,
            SETTINGS.most_spread,
        )
        maps = batch.maps.contiguous(memory_format=torch.channels_last)
        self._optimizer.zero_grad()
        self._loss(self.network(maps), labels, weight).backward()
        self._optimizer.step()


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the wall and of the processor."""
    start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def run_case(
    frames: LabelledFrames,
    loader: DataLoader[LabelledBatch],
    memory: list[LabelledBatch],
    network: NetworkSettings,
    rounds: int,
) -> dict[str, float | int]:
    """Figures of one network."""
    training = Training(frames, network)
    for batch in memory[:2]:
        training.step(batch)
    times = np.zeros((rounds, len(memory), 2, 2))  # from the loader or from memory; on the wall and of the processor
    for number in range(rounds):
        source = iter(loader)
        for index, ready in enumerate(memory):
            steps = (lambda: training.step(next(source)), lambda: training.step(ready))  # noqa: B023 - called at once
            for which in (0, 1) if (number + index) % 2 else (1, 0):
                times[number, index, which] = timed(steps[which])
    (wall, processor), (wall_in_memory, processor_in_memory) = times.min(axis=0).sum(axis=0).tolist()
    overhead = 100 * (wall / wall_in_memory - 1)
    if loader.num_workers == 0:
        overhead = 100 * (processor / processor_in_memory - 1)
    return {
        'parameters': sum(weight.numel() for weight in training.network.parameters()),
        'epoch_s': round(wall, 3),
        'epoch_in_memory_s': round(wall_in_memory, 3),
        'loader_overhead_percent': round(overhead, 2),
        'loader_overhead_wall_percent': round(100 * (wall / wall_in_memory - 1), 2),
        'samples_per_s': round(len(frames) / wall, 1),
    }


def loading_rate(loader: DataLoader[LabelledBatch], frames: int, rounds: int) -> float:
    """Frames a second of the loader alone, the fastest of several rounds."""
    best = float('inf')
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in loader:
            pass
        best = min(best, time.perf_counter() - start)
    return frames / best


def labelled_frames(bags: list[Path], cache: Path) -> LabelledFrames:
    """Frames of bags with their ground truth as labels."""
    recordings = open_recordings(bags, RecordingSettings(masks='none'), cache)
    labels = truth_labels(recordings, [read_truth(recording) for recording in recordings])
    aligned = [labels.of(recording) for recording in recordings]
    return LabelledFrames(recordings, aligned, SETTINGS.radar_input, learn_sectors(aligned, SectorSettings()))


def main() -> None:
    """Run both networks, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=240, help='that are simulated')
    parser.add_argument('--bags', type=Path, nargs='*', help='bags or data sets with ground truth, instead')
    parser.add_argument('--batch-size', type=int, default=SETTINGS.batch_size)
    parser.add_argument('--rounds', type=int, default=6, help='of which the fastest counts, batch by batch')
    parser.add_argument('--workers', type=int, default=0, help='processes that read frames; 0 = the one that trains')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bags = expand_bags(arguments.bags) if arguments.bags else _simulated(Path(folder), arguments.frames)
        result = _run(labelled_frames(bags, Path(folder) / 'cache'), arguments)
    print(json.dumps(result, allow_nan=False), flush=True)


def _simulated(folder: Path, frames: int) -> list[Path]:
    plan = DatasetPlan('parking_lot', 'ofdm_28ghz_400mhz_16rx', frames, seed=3, instances=8, rate=2.0)
    generate(plan, folder / 'set', workers=2)
    return expand_bags([folder / 'set'])


def _run(frames: LabelledFrames, arguments: argparse.Namespace) -> dict[str, Any]:
    loader = frame_loader(frames, arguments.batch_size, workers=arguments.workers)
    memory = list(loader)
    rounds = {'small': arguments.rounds, 'default': min(arguments.rounds, 2)}
    cases = {name: run_case(frames, loader, memory, each, rounds[name]) for name, each in NETWORKS.items()}
    rate = loading_rate(loader, len(frames), arguments.rounds)
    shape = 'x'.join(str(size) for size in memory[0].maps.shape[1:])
    table = Table(
        title=f'{len(frames)} frames of {shape}, batches of {arguments.batch_size}, one thread', title_justify='left'
    )
    for column in ('network', 'parameters', 'epoch (s)', 'in memory (s)', 'overhead', 'wall', 'frames/s'):
        table.add_column(column, justify='right')
    for name, case in cases.items():
        times = f'{case["epoch_s"]:.2f}', f'{case["epoch_in_memory_s"]:.2f}'
        overhead = f'{case["loader_overhead_percent"]:+.1f} %'
        wall = f'{case["loader_overhead_wall_percent"]:+.1f} %'
        table.add_row(name, f'{case["parameters"]}', *times, overhead, wall, f'{case["samples_per_s"]:.0f}')
    console = Console(width=120)
    console.print(table)
    console.print(f'the loader alone: {rate:.0f} frames/s')
    return {
        'loader_overhead_percent': cases['small']['loader_overhead_percent'],
        'samples_per_s': cases['default']['samples_per_s'],
        'loader_samples_per_s': round(rate, 1),
        'frames': len(frames),
        'batch_size': arguments.batch_size,
        'cases': cases,
    }


if __name__ == '__main__':
    main()
