# SPDX-License-Identifier: Apache-2.0
"""The ground truth of a recording, for evaluation and supervised baselines only: no self-labelling may read it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader, RawMessage
from radio_visual_ssl.bags.topics import TRUTH_TOPIC
from radio_visual_ssl.learning.recording_settings import RecordingError
from radio_visual_ssl.learning.recordings import Recording, bag_content
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.share import PACKAGE
from radio_visual_ssl.vision.masks import MaskError, TargetMask, masks_from_image

TRUE_MASKS_TOPIC = '/camera/mask'

_LEAST_COVERED, _LEAST_IOU = 0.5, 0.2


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about the frames of a recording.

    Attributes:
        targets: of each frame; None where the bag holds none for it, empty where it was looked at in vain.
        shown: for each frame, the target that each of ``recording.masks(i)`` shows; None where that is none, or not
            known.
        masks_known: (N,) bool, whether the true masks of a frame are known, so that None in ``shown`` means that the
            mask shows no target.
    """

    targets: list[list[Target] | None]
    shown: list[list[Target | None]]
    masks_known: NDArray[np.bool_]

    def shown_by_instance(self) -> list[Target | None]:
        """``shown`` in the order of the recording's instances."""
        return [target for frame in self.shown for target in frame]


def read_truth(recording: Recording, truth_topic: str = TRUTH_TOPIC, masks_topic: str = TRUE_MASKS_TOPIC) -> Truth:
    """Read the ground truth of a recording from its bag.

    A target list belongs to the radar frame of its stamp, or within half a radar period. A mask shows the target of
    whose true mask (pixel values are track ids) in the same image it covers half or more, if that is a fifth of all
    that they cover together: with the target's shadow it may be several times as large, and still shows the target.

    Args:
        recording: its bag must still be there.
        truth_topic: TargetArray.
        masks_topic: sensor_msgs/Image of track ids with the stamps of the images. The default one may be missing:
            ``shown`` is None everywhere then.

    Raises:
        BagError: the bag or a topic is missing, of another type or damaged.
        RecordingError: the bag is another one than the recording was made of.
    """
    reader = BagReader(recording.path)
    content = bag_content(recording.path)
    if content != recording.content:
        expected = f'expected the bag of the recording (content {recording.content[:12]})'
        raise RecordingError(f'{recording.path}: {expected}, got another one (content {content[:12]})')
    targets = _targets(reader, recording, truth_topic)
    shown: list[list[Target | None]] = [[None] * int(count) for count in np.diff(recording.mask_starts)]
    known = np.zeros(len(recording), np.bool_)
    if masks_topic != TRUE_MASKS_TOPIC or masks_topic in reader.streams:
        for index, true in _true_masks(reader, recording, masks_topic):
            by_track = {target.track_id: target for target in targets[index] or ()}
            shown[index] = [
                by_track.get(number) if number else None for number in _numbers(recording.masks(index), true)
            ]
            known[index] = targets[index] is not None
    return Truth(targets, shown, known)


def _targets(reader: BagReader, recording: Recording, topic: str) -> list[list[Target] | None]:
    """Of each frame."""
    reader.stream(topic, f'{PACKAGE}/msg/TargetArray')
    stamps = reader.stamps(topic)
    chosen = _nearest(recording.stamps_ns, stamps, _half_period(recording.stamps_ns))
    frames_of: dict[int, list[int]] = {}
    for frame, number in enumerate(chosen.tolist()):
        if number >= 0:
            frames_of.setdefault(number, []).append(frame)
    targets: list[list[Target] | None] = [None] * len(recording)
    for message, frames in _selected(reader, topic, frames_of):
        try:
            found = messages.targets_from_message(reader.decode(message))
        except messages.MessageError as error:
            raise BagError(f'{reader.path}: topic {topic}: {error}') from error
        for frame in frames:
            targets[frame] = found
    return targets


def _true_masks(reader: BagReader, recording: Recording, topic: str) -> Iterator[tuple[int, list[TargetMask]]]:
    """(Frame, true masks) of the frames whose image has a mask of the same stamp."""
    reader.stream(topic, 'sensor_msgs/msg/Image')
    stamps = reader.stamps(topic)
    frames = np.flatnonzero(recording.segmented)
    chosen = _nearest(recording.image_stamps_ns[frames], stamps, np.zeros(frames.size, np.int64))
    frames_of = {number: [frame] for frame, number in zip(frames.tolist(), chosen.tolist(), strict=True) if number >= 0}
    for message, (frame,) in _selected(reader, topic, frames_of):
        try:
            true = masks_from_image(reader.decode(message), binary=False)
        except MaskError as error:
            raise BagError(f'{reader.path}: topic {topic}: {error}') from error
        sizes = {mask.picture for mask in true} - {recording.image_size}
        if sizes:
            expected = f'expected masks of the size {recording.image_size} of the images'
            raise BagError(f'{reader.path}: topic {topic}: {expected}, got {sizes.pop()}')
        yield frame, true


def _numbers(masks: Sequence[TargetMask], true: Sequence[TargetMask]) -> list[int]:
    """Track id of the true mask that each mask is, each at most once; 0 = none."""
    numbers = [0] * len(masks)
    if masks and true:
        overlaps = np.array([[mask.iou(other) for other in true] for mask in masks])
        covered = np.array([[other.covered_by(mask) for other in true] for mask in masks])
        hits = (covered >= _LEAST_COVERED) & (overlaps >= _LEAST_IOU)
        for row, column in zip(*linear_sum_assignment(-np.where(hits, overlaps, 0.0)), strict=True):
            if hits[row, column]:
                numbers[row] = true[column].number
    return numbers


def _selected(reader: BagReader, topic: str, frames_of: dict[int, list[int]]) -> Iterator[tuple[RawMessage, list[int]]]:
    """(Message, frames) of those of a topic that belong to frames."""
    for number, message in enumerate(reader.raw_messages([topic])):
        if number in frames_of:
            yield message, frames_of[number]


def _half_period(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Half of the smaller interval of each stamp to its neighbours, ns."""
    if stamps.size < 2:
        return np.zeros(stamps.size, np.int64)
    gaps = np.abs(np.diff(stamps))
    return np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0])) // 2


def _nearest(stamps: NDArray[np.int64], others: NDArray[np.int64], slop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the nearest other of each stamp, -1 where none is within its slop."""
    if not others.size:
        return np.full(stamps.size, -1)
    order = np.argsort(others, kind='stable')
    ascending = others[order]
    after = np.minimum(np.searchsorted(ascending, stamps), others.size - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(np.abs(stamps - ascending[before]) <= np.abs(ascending[after] - stamps), before, after)
    return np.where(np.abs(ascending[nearer] - stamps) <= slop, order[nearer], -1)
