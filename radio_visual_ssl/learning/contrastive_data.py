# SPDX-License-Identifier: Apache-2.0
"""What contrastive training sees: heatmaps of several scenes, and what the camera sees of the targets in them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from radio_visual_ssl.learning.recording_inputs import recording_inputs
from radio_visual_ssl.learning.recordings import Recording, derived_array
from radio_visual_ssl.learning.training_run import EpochwiseSampler, TrainingError, process_rank
from radio_visual_ssl.models.radar_input import RadarInputSettings

_VERSION = 1  # of the small pictures and masks


class ContrastiveBatch(NamedTuple):
    """F frames with Q queries; all tensors, so that it moves between devices as one.

    Attributes:
        maps: (F, C, R, A) float32, input of the radio encoder.
        images: (F, 3, h, w) float32 RGB in [0, 1].
        stamps_ns: (F,) int64.
        sequence: (F,) int64, frames of one recording share a number.
        has_image: (F,) bool.
        background: (F, 1, h, w) float32 in [0, 1], all but the masks of the frame.
        has_background: (F,) bool, whether the frame was segmented.
        masks: (Q, 1, h, w) float32 in [0, 1], a target each.
        query_frame: (Q,) int64, the frame of each.
    """

    maps: Tensor
    images: Tensor
    stamps_ns: Tensor
    sequence: Tensor
    has_image: Tensor
    background: Tensor
    has_background: Tensor
    masks: Tensor
    query_frame: Tensor


def small_size(recording: Recording, width: int) -> tuple[int, int]:
    """(width, height) px of pictures at this width, of the same shape as the recorded ones."""
    return width, max(1, round(width * recording.image_size[1] / recording.image_size[0]))


def small_images(recording: Recording, width: int) -> NDArray[np.uint8]:
    """(N, h, w, 3) uint8 RGB pictures of the frames at a width in px; made once, then mapped from a file."""
    size = small_size(recording, width)

    def make() -> Iterator[NDArray[np.uint8]]:
        for image in recording.images:
            yield np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    return derived_array(recording, f'images {_VERSION}: {size[0]} x {size[1]}', make)


def small_masks(recording: Recording, width: int) -> NDArray[np.uint8]:
    """(I, h, w) uint8 masks of a recording's instances, 255 where a pixel is all target; made once, then mapped."""
    size = small_size(recording, width)

    def make() -> Iterator[NDArray[np.uint8]]:
        for number in range(recording.instances):
            whole = recording.mask(number).full().astype(np.float32)
            yield np.rint(255 * cv2.resize(whole, size, interpolation=cv2.INTER_AREA)).astype(np.uint8)

    if not recording.instances:
        return np.zeros((0, size[1], size[0]), dtype=np.uint8)
    return derived_array(recording, f'masks {_VERSION}: {size[0]} x {size[1]}', make)


class ContrastiveFrames(Dataset[ContrastiveBatch]):
    """Frames of recordings with the queries that their masks give; an item is a batch.

    Args:
        recordings: of one radar.
        settings: of the radio encoder's input.
        width: px, of the pictures.
        least_mask: pixels at this width; smaller masks give no query.
        doubtful: whether truncated, merged, split and occluded masks give queries too.
        whole: every frame with a picture is asked for as a whole, masks are not (scene-level learning).
        span: share of each recording from which to which frames are taken.

    Attributes:
        queries: by recording and frame, numbers of the instances that may be asked for; none outside of ``span``.
        spans: by recording, numbers of the first frame and of the one after the last.

    Raises:
        TrainingError: recordings whose pictures differ in shape.
        ValueError: as `RadarInput`.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        settings: RadarInputSettings,
        width: int,
        least_mask: float = 0.5,
        doubtful: bool = False,
        whole: bool = False,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        sizes = {small_size(recording, width): recording.name for recording in recordings}
        if len(sizes) > 1:
            raise TrainingError(f'images: expected one shape in all recordings, got {sizes}')
        self.recordings = tuple(recordings)
        self._inputs = [recording_inputs(recording, settings) for recording in recordings]
        self._images = [small_images(recording, width) for recording in recordings]
        self._masks = [small_masks(recording, width) for recording in recordings]
        self._whole = whole
        self.spans = [(round(span[0] * len(each)), round(span[1] * len(each))) for each in recordings]
        self.queries: list[list[NDArray[np.int64]]] = []
        nothing = np.zeros(0, dtype=np.int64)
        for recording, masks, (first, end) in zip(self.recordings, self._masks, self.spans, strict=True):
            inside = [first <= frame < end for frame in range(len(recording))]
            if whole:
                self.queries.append([np.zeros(int(there), dtype=np.int64) for there in recording.has_image & inside])
                continue
            clear = np.array([doubtful or not recording.mask(n).doubtful for n in range(recording.instances)], bool)
            clear &= masks.sum(axis=(1, 2), dtype=np.float64) >= 255 * least_mask
            starts = recording.mask_starts
            self.queries.append(
                [
                    int(starts[frame]) + np.flatnonzero(clear[starts[frame] : starts[frame + 1]])
                    if inside[frame]
                    else nothing
                    for frame in range(len(recording))
                ]
            )

    def __len__(self) -> int:
        """Frames of all recordings within the span."""
        return sum(end - first for first, end in self.spans)

    @property
    def masks(self) -> int:
        """Masks that give queries."""
        return sum(len(numbers) for queries in self.queries for numbers in queries)

    def __getitems__(self, items: Sequence[tuple[int, int, tuple[int, ...]]]) -> ContrastiveBatch:
        """A batch.

        Args:
            items: recording, frame, and numbers of the instances that are asked for; frames in any order.
        """
        maps, images, background, masks = [], [], [], []
        stamps, sequence, has_image, segmented, query_frame = [], [], [], [], []
        for place, (number, frame, asked) in enumerate(items):
            recording, small = self.recordings[number], self._masks[number]
            maps.append(self._inputs[number][frame])
            images.append(self._images[number][frame])
            first, end = recording.mask_starts[frame : frame + 2]
            covered = small[first:end].max(axis=0) if end > first else np.zeros_like(images[-1][..., 0])
            background.append(255 - covered)
            stamps.append(int(recording.stamps_ns[frame]))
            sequence.append(number)
            has_image.append(bool(recording.has_image[frame]))
            segmented.append(bool(recording.segmented[frame]))
            if not self._whole:
                masks += [small[instance] for instance in asked]
                query_frame += [place] * len(asked)
        shape = images[0].shape[:2]
        return ContrastiveBatch(
            maps=torch.from_numpy(np.stack(maps)).float(),
            images=torch.from_numpy(np.stack(images)).movedim(3, 1).float() / 255,
            stamps_ns=torch.tensor(stamps),
            sequence=torch.tensor(sequence),
            has_image=torch.tensor(has_image),
            background=torch.from_numpy(np.stack(background))[:, None].float() / 255,
            has_background=torch.tensor(segmented),
            masks=torch.from_numpy(np.array(masks, np.uint8).reshape(-1, 1, *shape)).float() / 255,
            query_frame=torch.tensor(query_frame, dtype=torch.int64),
        )


class SceneSampler(EpochwiseSampler[tuple[int, int, tuple[int, ...]]]):
    """Batches of several frames from each of several scenes.

    Frames of one scene are the negatives that teach: across scenes, what stands around gives a frame away, and the
    encoders learn the scenes by heart instead of the target's place.

    Args:
        frames: to draw from.
        scenes: recordings in a batch.
        frames_per_scene: frames of each.
        steps: batches of an epoch.
        seed: draws everything, together with the epoch and the rank of the process.
        empty_share: of the frames of a scene, drawn from all of them: those without a query, which are negatives only,
            too.

    Raises:
        TrainingError: no recording with two frames that have a query.
    """

    def __init__(
        self,
        frames: ContrastiveFrames,
        scenes: int,
        frames_per_scene: int,
        steps: int,
        seed: int = 0,
        empty_share: float = 0.15,
    ) -> None:
        self._queries, self._spans = frames.queries, frames.spans
        self._asked = [np.flatnonzero([len(some) > 0 for some in queries]) for queries in frames.queries]
        self._usable = np.flatnonzero([len(asked) > 1 for asked in self._asked])
        if not self._usable.size:
            names = ', '.join(recording.name for recording in frames.recordings[:4])
            raise TrainingError(f'{names}: expected frames in which a target has a clear mask, got none')
        self._scenes, self._frames, self._steps = min(scenes, len(self._usable)), frames_per_scene, steps
        self._seed, self._empty_share = seed, empty_share

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._steps

    def __iter__(self) -> Iterator[list[tuple[int, int, tuple[int, ...]]]]:
        """Items of each batch: recording, frame, and the number of the instance that is asked for."""
        rng = np.random.default_rng((self._seed, self.epoch, process_rank()))
        empty = round(self._empty_share * self._frames)
        for _ in range(self._steps):
            batch: list[tuple[int, int, tuple[int, ...]]] = []
            for scene in rng.choice(self._usable, self._scenes, replace=False):
                asked, queries = self._asked[scene], self._queries[scene]
                count = min(self._frames - empty, len(asked))
                chosen = set(rng.choice(asked, count, replace=False).tolist())
                first, end = self._spans[scene]
                chosen |= set((first + rng.choice(end - first, min(empty, end - first), replace=False)).tolist())
                for frame in sorted(chosen):
                    some = queries[frame]
                    batch.append((int(scene), frame, (int(rng.choice(some)),) if len(some) else ()))
            yield batch


class EachScene(Sampler[list[tuple[int, int, tuple[int, ...]]]]):
    """A batch of each scene, always the same: frames spread over it, with all of their queries.

    Args:
        frames: to take from.
        count: frames of a scene, at most.
    """

    def __init__(self, frames: ContrastiveFrames, count: int = 32) -> None:
        self._batches = []
        for number, queries in enumerate(frames.queries):
            asked = np.flatnonzero([len(some) > 0 for some in queries])
            if len(asked) > 1:
                chosen = asked[np.unique(np.linspace(0, len(asked) - 1, count).round().astype(int))]
                self._batches.append([(number, int(f), tuple(int(n) for n in queries[f])) for f in chosen])

    def __len__(self) -> int:
        """Scenes with queries."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[tuple[int, int, tuple[int, ...]]]]:
        """Items of each batch."""
        return iter(self._batches)
