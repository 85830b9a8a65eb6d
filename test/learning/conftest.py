# SPDX-License-Identifier: Apache-2.0
"""Small made-up recordings in which something moves, with labels of where it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from radio_visual_ssl.learning.label_set import LabelSet, RecordingLabels
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Reference

GRID = PolarGrid(np.arange(40) * 0.5, np.arcsin((np.arange(24) - 11.5) / 12))


class Scenes:
    """Makes recordings with one or two movers among things that stand, some frames empty, and their labels."""

    grid = GRID

    def __init__(self, folder: Path) -> None:
        """Arrays derived from the recordings go into this folder."""
        self._folder = folder

    def recording(self, number: int, frames: int = 40, velocity: bool = True) -> tuple[Recording, RecordingLabels]:
        """The recording of this number, the same each time, and its true labels; all frames are known."""
        random = np.random.default_rng(number)
        values = random.normal(0, 2, (frames, *GRID.shape)).astype(np.float32)
        speeds = np.zeros_like(values)
        rows, columns = np.arange(GRID.shape[0])[:, None], np.arange(GRID.shape[1])[None]

        def bump(row: float, column: float) -> np.ndarray:
            return 30 * np.exp(-0.5 * (((rows - row) / 0.8) ** 2 + ((columns - column) / 1.0) ** 2))

        for _ in range(3):
            values += bump(*random.uniform((4, 4), (36, 20))).astype(np.float32)
        frame, places = [], []
        for mover in range(1 + number % 2):
            start, end = random.uniform((6, 4), (34, 20), (2, 2))
            for index in range(8 * mover, frames - 6):
                row, column = start + (end - start) * index / frames
                shape = bump(row, column)
                values[index] = np.maximum(values[index], shape.astype(np.float32))
                speeds[index][shape > 10] = 2.0
                frame.append(index)
                places.append((row, column))
        order = np.argsort(frame, kind='stable')
        place = np.array(places).reshape(-1, 2)[order]
        range_, azimuth = GRID.position(place[:, 0], place[:, 1])
        stamps = np.arange(frames, dtype=np.int64) * 100_000_000
        name, content = f'scene_{number}', f'content of {number} with {frames}'
        recording = Recording(
            name=name,
            path=self._folder / name,
            content=content,
            radar='one',
            frame_id='radar',
            image_topic='/camera/image_raw',
            grid=GRID,
            reference=Reference.NOISE_FLOOR,
            carrier_frequency=28e9,
            bandwidth=400e6,
            formation='',
            stamps_ns=stamps,
            heatmaps=values,
            noise_floor=np.zeros(frames),
            velocity=speeds if velocity else None,
            images=np.zeros((frames, 8, 8, 3), np.uint8),
            image_size=(8, 8),
            image_stamps_ns=stamps,
            has_image=np.ones(frames, np.bool_),
            segmented=np.ones(frames, np.bool_),
            mask_starts=np.zeros(frames + 1, np.int64),
            group='pose',
            faults=(),
            store=self._folder / f'store_{number}_{frames}_{velocity}',
            _arrays={'with_velocity': np.full(frames, velocity)},
        )
        count = len(order)
        labels = RecordingLabels(
            name=name,
            content=content,
            group='pose',
            stamps_ns=stamps,
            known=np.ones(frames, np.bool_),
            frame=np.array(frame, dtype=np.int64)[order],
            instance=np.zeros(count, np.int64),
            range=range_,
            azimuth=azimuth,
            variance=np.full((count, 2), (0.04, 0.0004)),
            confidence=np.ones(count),
            kept=np.ones(count, np.bool_),
        )
        return recording, labels

    def several(self, numbers: range, frames: int = 40) -> tuple[list[Recording], LabelSet]:
        """Recordings and the labels of all of them."""
        made = [self.recording(number, frames) for number in numbers]
        return [recording for recording, _ in made], LabelSet('mcl_em', 'one', tuple(labels for _, labels in made))


@pytest.fixture(scope='session', autouse=True)
def _one_thread() -> None:
    """Networks of some thousand weights are slower on several threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """Makes recordings, whose derived arrays are shared by the tests."""
    return Scenes(tmp_path_factory.mktemp('scenes'))
