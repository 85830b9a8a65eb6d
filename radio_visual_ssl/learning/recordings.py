# SPDX-License-Identifier: Apache-2.0
"""Bags as learning sees them: arrays of paired heatmaps, pictures and target masks, made once and mapped from files."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.array_store import ArrayStore, ArrayStoreWriter, open_arrays, open_or_make
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.learning.recording_arrays import write_arrays
from radio_visual_ssl.learning.recording_settings import MOTION, NO_MASKS, RecordingError, RecordingSettings
from radio_visual_ssl.radar.geometry import RadarGeometry, check_same_radar
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.vision.masks import TargetMask
from radio_visual_ssl.worker_processes import worker_processes

_VERSION = 3  # of the arrays; another one is made anew
_EXCHANGE_VERSION = 2  # of which masks become wrong ones
_HASHED = 1 << 16  # bytes of each end of a file


@dataclass(frozen=True, eq=False)
class Recording:
    """The usable radar frames of a bag in its order, with the pictures and masks that belong to them; no ground truth.

    Large arrays are maps of files. A pickled recording is opened again where it is unpickled.

    Attributes:
        name: of the bag.
        path: of the bag.
        content: hash of what the bag holds, the same wherever it lies.
        radar: name of the radar.
        frame_id: of the heatmaps.
        image_topic: of the pictures.
        grid: of the heatmaps.
        reference: what 0 dB stands for.
        carrier_frequency, bandwidth: Hz, 0 where unknown.
        formation: by which settings the heatmaps were made, '' where unknown.
        stamps_ns: (N,) int64, of the heatmaps.
        heatmaps: (N, R, A) float32, dB.
        noise_floor: (N,) float64, dB; NaN where unknown.
        velocity: (N, R, A) float32, m/s, NaN for frames without; None where the bag has none.
        images: (N, h, w, 3) uint8 RGB; black where ``has_image`` is False.
        image_size: (width, height) px of the images as recorded.
        image_stamps_ns: (N,) int64, as recorded; 0 where ``has_image`` is False.
        has_image: (N,) bool.
        segmented: (N,) bool, whether masks could be made: an image is there, and did not change all at once.
        mask_starts: (N + 1,) int64; the instances of frame i are those from ``mask_starts[i]`` to before the next.
        group: name of the camera's pose.
        faults: what of the bag could not be used, one sentence each.
        store: folder of the arrays.
    """

    name: str
    path: Path
    content: str
    radar: str
    frame_id: str
    image_topic: str
    grid: PolarGrid
    reference: Reference
    carrier_frequency: float
    bandwidth: float
    formation: str
    stamps_ns: NDArray[np.int64]
    heatmaps: NDArray[np.float32]
    noise_floor: NDArray[np.float64]
    velocity: NDArray[np.float32] | None
    images: NDArray[np.uint8]
    image_size: tuple[int, int]
    image_stamps_ns: NDArray[np.int64]
    has_image: NDArray[np.bool_]
    segmented: NDArray[np.bool_]
    mask_starts: NDArray[np.int64]
    group: str
    faults: tuple[str, ...]
    store: Path
    _arrays: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        """Radar frames."""
        return len(self.stamps_ns)

    @property
    def instances(self) -> int:
        """Masks of all frames."""
        return int(self.mask_starts[-1])

    @property
    def mask_labels(self) -> NDArray[np.str_]:
        """(I,) class name of each mask, as recorded with it; empty where unknown, as of what moves."""
        labels = self._arrays.get('mask_labels')
        return np.full(self.instances, '') if labels is None else labels

    @property
    def geometry(self) -> RadarGeometry:
        """The radar and what its heatmaps look like."""
        frequencies = self.carrier_frequency, self.bandwidth
        return RadarGeometry(self.radar, self.grid, self.reference, *frequencies, self.formation)

    def heatmap(self, index: int) -> Heatmap:
        """A frame as a localizer takes it."""
        velocity = self.velocity[index] if self.velocity is not None and self._arrays['with_velocity'][index] else None
        return Heatmap(
            values=self.heatmaps[index],
            grid=self.grid,
            reference=self.reference,
            noise_floor=float(self.noise_floor[index]),
            velocity=velocity,
            radar=self.radar,
            carrier_frequency=self.carrier_frequency,
            bandwidth=self.bandwidth,
            formation=self.formation,
        )

    def masks(self, index: int) -> list[TargetMask]:
        """Instances of a frame in the picture as recorded, the largest first; none where it is not segmented."""
        index = range(len(self))[index]
        return [self.mask(number) for number in range(int(self.mask_starts[index]), int(self.mask_starts[index + 1]))]

    def mask(self, number: int) -> TargetMask:
        """An instance by its number within the recording, from 0 on."""
        arrays = self._arrays
        left, top, width, height = arrays['mask_boxes'][number].tolist()
        bits = arrays['mask_bits'][arrays['mask_offsets'][number] : arrays['mask_offsets'][number + 1]]
        merged, split, occluded = arrays['mask_flags'][number].tolist()
        return TargetMask(
            left=left,
            top=top,
            mask=np.unpackbits(bits, count=width * height).view(np.bool_).reshape(height, width),
            picture=self.image_size,
            number=int(arrays['mask_numbers'][number]),
            score=float(arrays['mask_scores'][number]),
            fragments=int(arrays['mask_fragments'][number]),
            merged=merged,
            split=split,
            occluded=occluded,
            label=str(arrays['mask_labels'][number]) if 'mask_labels' in arrays else '',
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place, not the arrays."""
        return _reopen, (self.path, self.content, self.group, self.store)


def _reopen(path: Path, content: str, group: str, store: Path) -> Recording:
    return _recording(path, content, group, open_arrays(store))


def _recording(path: Path, content: str, group: str, store: ArrayStore) -> Recording:
    arrays, about = store.arrays, store.about
    frames = len(arrays['stamps_ns'])
    return Recording(
        name=_name(path),
        path=path,
        content=content,
        radar=about['radar'],
        frame_id=about['frame_id'],
        image_topic=about['image_topic'],
        grid=PolarGrid(arrays['range'], arrays['azimuth'], about['wraps']),
        reference=Reference(about['reference']),
        carrier_frequency=about['carrier_frequency'],
        bandwidth=about['bandwidth'],
        formation=about['formation'],
        stamps_ns=arrays['stamps_ns'],
        heatmaps=arrays['heatmaps'],
        noise_floor=arrays['noise_floor'],
        velocity=arrays.get('velocity'),
        images=arrays['images'],
        image_size=(about['image_size'][0], about['image_size'][1]),
        image_stamps_ns=arrays['image_stamps_ns'],
        has_image=arrays['has_image'],
        segmented=arrays['segmented'],
        mask_starts=np.searchsorted(arrays['mask_frames'], np.arange(frames + 1)),
        group=group,
        faults=tuple(about['faults']),
        store=store.path,
        _arrays=arrays,
    )


def default_cache() -> Path:
    """Where arrays of bags are kept: ``$XDG_CACHE_HOME/radio_visual_ssl``, or else below ``~/.cache``."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'radio_visual_ssl'


def bag_content(path: str | Path) -> str:
    """Hash of what a bag holds, whatever its name and place.

    It covers the size and both ends of each file, which hold an MCAP's index of all of its chunks, not every byte.

    Raises:
        RecordingError: a file that cannot be read, or no file at all.
    """
    folder = Path(path)
    digest = hashlib.sha256()
    try:
        files = [folder] if folder.is_file() else sorted(file for file in folder.iterdir() if file.is_file())
        for file in (file for file in files if file.suffix in ('.mcap', '.db3', '.zstd', '.yaml')):
            with file.open('rb') as opened:
                size = opened.seek(0, os.SEEK_END)
                opened.seek(0)
                digest.update(f'{file.suffix} {size} '.encode())
                digest.update(opened.read(_HASHED))
                opened.seek(max(size - _HASHED, 0))
                digest.update(opened.read(_HASHED))
    except OSError as error:
        raise RecordingError(f'{folder}: expected a bag that can be read: {error}') from error
    return digest.hexdigest()


def open_recording(
    bag: str | Path,
    settings: RecordingSettings = RecordingSettings(),
    cache: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Open a bag for learning; the first time, its arrays are made, later ones and other processes share them.

    Args:
        bag: rosbag2 folder or file with a radar and a camera.
        settings: what of it is used.
        cache: folder of the arrays; None = ``default_cache()``.
        progress: called with (messages read, messages to be read) while they are made.

    Raises:
        RecordingError: no radar frame that can be used, no pair, or a frame_id that changes within the bag.
        OtherRadarError: another radar, or another setting of it, within the bag.
        BagError: no such bag, a topic is missing or of another type, or the bag is damaged.
        ArrayStoreError: the cache cannot be written or read.
    """
    path = Path(bag)
    content = bag_content(path)
    wanted = {name: value for name, value in asdict(settings).items() if name != 'camera_pose'}
    if settings.masks not in (MOTION, NO_MASKS):  # recorded ones may have classes, which older arrays lack
        wanted['mask_labels'] = True
    version = [_VERSION, _EXCHANGE_VERSION]
    if not settings.wrong_masks:  # arrays that were made before there was such a thing are as good
        del wanted['wrong_masks'], version[1]
    key = hashlib.sha256(json.dumps([*version, content, wanted], sort_keys=True).encode()).hexdigest()[:32]

    def make(writer: ArrayStoreWriter) -> None:
        writer.about.update(bag=_name(path), content=content, settings=wanted)
        write_arrays(BagReader(path), settings, writer, progress)

    store = open_or_make(Path(cache or default_cache()) / key, make)
    return _recording(path, content, settings.camera_pose or f'{_name(path)}@{content[:8]}', store)


def open_recordings(
    bags: Iterable[str | Path],
    settings: RecordingSettings = RecordingSettings(),
    cache: str | Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Open several bags of one radar.

    Args:
        bags: see `bag_selection.expand_bags`.
        settings: see `open_recording`.
        cache: see `open_recording`.
        workers: processes that make arrays of bags at once.
        progress: called with (bags done, bags in all).

    Raises:
        RecordingError: no bags, or one that cannot be used.
        OtherRadarError: bags of several radars.
        BagError: see `open_recording`.
        ArrayStoreError: see `open_recording`.
    """
    paths = [Path(bag) for bag in bags]
    if not paths:
        raise RecordingError('bags: expected at least one, got none')
    if workers > 1 and len(paths) > 1:
        _make_in_processes(paths, settings, cache, min(workers, len(paths)), progress)
        progress = None
    opened: list[Recording] = []
    known: RadarGeometry | None = None
    for path in paths:
        opened.append(open_recording(path, settings, cache))
        radar = opened[-1].geometry
        known = check_same_radar(known or radar, radar, str(path), f'the radar of {opened[0].path}')
        if progress is not None:
            progress(len(opened), len(paths))
    return opened


def _make_in_processes(
    paths: Sequence[Path],
    settings: RecordingSettings,
    cache: str | Path | None,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    with worker_processes(workers) as pool:
        jobs = [pool.submit(_make, path, settings, cache) for path in paths]
        try:
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                if progress is not None:
                    progress(done, len(paths))
        except BrokenProcessPool as error:
            raise RecordingError('a process that reads bags died, perhaps for lack of memory; try fewer') from error


def _make(path: Path, settings: RecordingSettings, cache: str | Path | None) -> None:
    open_recording(path, settings, cache)


def derived_array(
    recording: Recording, key: str, make: Callable[[], NDArray[Any] | Iterable[NDArray[Any]]]
) -> NDArray[Any]:
    """An array that is computed from a recording once and kept beside its own; a read-only map of its file.

    Args:
        recording: what it is computed from.
        key: names what it is and all that it depends on, settings and version included.
        make: computes it, at once or row by row.

    Raises:
        ArrayStoreError: it cannot be written or opened.
    """
    folder = recording.store.with_name(f'{recording.store.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}')

    def write(writer: ArrayStoreWriter) -> None:
        writer.about['key'] = key
        made = make()
        if isinstance(made, np.ndarray):
            writer.extend('values', made)
        else:
            for row in made:
                writer.append('values', row)

    return open_or_make(folder, write).arrays['values']


def _name(path: Path) -> str:
    return path.resolve().stem if path.is_file() else path.resolve().name
