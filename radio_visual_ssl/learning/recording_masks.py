# SPDX-License-Identifier: Apache-2.0
"""Masks of a bag's images: what moves, or what was recorded; and masks as arrays."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.array_store import ArrayStoreWriter
from radio_visual_ssl.bags.pairing import match_stamps
from radio_visual_ssl.bags.reader import BagReader, RawMessage
from radio_visual_ssl.learning.recording_settings import MOTION, NO_MASKS, RecordingError, RecordingSettings
from radio_visual_ssl.learning.wrong_frames import exchanged
from radio_visual_ssl.vision.masks import MaskError, Outcome, TargetMask, masks_from_boxes, masks_from_image
from radio_visual_ssl.vision.segmentation import MaskMaker

MaskSource = Callable[[int, NDArray[np.uint8]], Sequence[TargetMask] | None]
"""Function of an image's number and picture, to be called with ascending numbers: its masks, or None where there can be
none."""

_LABELS, _BOXES = 'sensor_msgs/msg/Image', 'vision_msgs/msg/Detection2DArray'
_LARGEST_NUMBER = 2**63 - 1


def mask_source(
    reader: BagReader,
    settings: RecordingSettings,
    image_ns: NDArray[np.int64],
    pictures: Iterable[NDArray[np.uint8]],
) -> MaskSource:
    """How masks are made, as the settings say.

    Args:
        reader: of the bag.
        settings: ``masks`` and what belongs to it.
        image_ns: stamps of all images of the bag.
        pictures: those whose masks are wanted, read once if the background is learned from them.

    Raises:
        BagError: the topic of recorded masks is missing or of another type.
        MaskError: there is no picture to learn the background from.
    """
    if settings.masks == NO_MASKS:
        return lambda number, picture: None
    if settings.masks != MOTION:
        return _recorded_masks(reader, settings, image_ns)
    maker = MaskMaker(settings.mask_settings)
    maker.learn(pictures)

    def segment(number: int, picture: NDArray[np.uint8]) -> Sequence[TargetMask] | None:
        found = maker.segment(picture)
        return found.instances if found.outcome is Outcome.SEGMENTED else None

    return segment


def _recorded_masks(reader: BagReader, settings: RecordingSettings, image_ns: NDArray[np.int64]) -> MaskSource:
    """Those of a topic, whose stamps are those of the images or near them."""
    topic = settings.masks
    boxes = reader.stream(topic, _LABELS, _BOXES).type == _BOXES
    of_image, of_mask = match_stamps(image_ns, reader.stamps(topic), round(settings.slop_s * 1e9))
    mask_of = dict(zip(of_image.tolist(), of_mask.tolist(), strict=True))
    image_of = {mask: image for image, mask in mask_of.items()}
    source = enumerate(reader.raw_messages([topic]))
    held: dict[int, RawMessage] = {}  # by the image's number: masks may come in another order than images

    def recorded(number: int, picture: NDArray[np.uint8]) -> Sequence[TargetMask] | None:
        if number not in mask_of:
            return None
        while number not in held:
            index, message = next(source)
            if image_of.get(index, -1) >= number:
                held[image_of[index]] = message
        decoded = reader.decode(held.pop(number))
        for image in [image for image in held if image < number]:
            del held[image]
        size = (picture.shape[1], picture.shape[0])
        try:
            found = masks_from_boxes(decoded.detections, size) if boxes else masks_from_image(decoded)
        except MaskError as error:
            raise RecordingError(f'{reader.path}: topic {topic}: {error}') from error
        if any(instance.picture != size for instance in found):
            expected = f'expected masks of the size {size} of the images'
            raise RecordingError(f'{reader.path}: topic {topic}: {expected}, got {found[0].picture}')
        return found

    return recorded


class MaskTable:
    """Collects masks and writes them as columns of numbers, and all pixels as bits in one row."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._masks: list[TargetMask] = []
        self._bits: list[NDArray[np.uint8]] = []

    def add(self, row: int, mask: TargetMask) -> None:
        """Add a mask of a frame."""
        self._rows.append(row)
        self._bits.append(np.packbits(mask.mask))
        self._masks.append(mask)

    def write(self, writer: ArrayStoreWriter, wrong: float = 0.0) -> None:
        """Write all, in the order of the frames.

        Args:
            writer: takes them.
            wrong: share of the masks that are exchanged with masks of other frames, see `exchanged`.
        """
        sorted_rows = np.argsort(np.array(self._rows, np.int64), kind='stable')
        frames = np.array(self._rows, np.int64)[sorted_rows]
        # the same masks of the same bag, wherever it lies; chance is another in each bag, though they have equally many
        places = np.array([(mask.left, mask.top) for mask in self._masks], np.int64).reshape(-1, 2)[sorted_rows]
        digest = hashlib.sha256(frames.tobytes() + places.tobytes()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], 'little'))
        order = sorted_rows[exchanged(frames, wrong, generator)].tolist()
        masks = [self._masks[index] for index in order]
        boxes = [(mask.left, mask.top, mask.width, mask.height) for mask in masks]
        flags = [(mask.merged, mask.split, mask.occluded) for mask in masks]
        sizes = [self._bits[index].size for index in order]
        writer.extend('mask_frames', frames)
        writer.extend('mask_boxes', np.array(boxes, np.int32).reshape(-1, 4))
        writer.extend('mask_numbers', np.array([min(mask.number, _LARGEST_NUMBER) for mask in masks], np.int64))
        writer.extend('mask_scores', np.array([mask.score for mask in masks], np.float64))
        writer.extend('mask_fragments', np.array([mask.fragments for mask in masks], np.int32))
        if any(mask.label for mask in masks):
            writer.extend('mask_labels', np.array([mask.label for mask in masks]))
        writer.extend('mask_flags', np.array(flags, np.bool_).reshape(-1, 3))
        writer.extend('mask_offsets', np.cumsum([0, *sizes], dtype=np.int64))
        bits = [self._bits[index] for index in order]
        writer.extend('mask_bits', np.concatenate(bits) if bits else np.zeros(0, np.uint8))
