# SPDX-License-Identifier: Apache-2.0
"""Turns a bag into the arrays that learning reads: paired heatmaps and small pictures, and the masks of targets."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.array_store import ArrayStoreWriter
from radio_visual_ssl.bags.pairing import IMAGE, PAIR_TYPE, RADAR, PairMatcher, is_stamp, match_stamps
from radio_visual_ssl.bags.reader import IMAGE_TOPIC, BagReader, RawMessage
from radio_visual_ssl.bags.writer import BagError
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.vision.mask_settings import MaskSettings
from radio_visual_ssl.vision.masks import MaskError, Outcome, TargetMask, masks_from_boxes, masks_from_image
from radio_visual_ssl.vision.segmentation import MaskMaker

MOTION, NO_MASKS = 'motion', 'none'

_PICTURES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_LABELS, _BOXES = 'sensor_msgs/msg/Image', 'vision_msgs/msg/Detection2DArray'
_LARGEST_NUMBER = 2**63 - 1


class RecordingError(BagError):
    """A bag that cannot be learned from; the message names it, what it holds and what was expected."""


@dataclass(frozen=True)
class RecordingSettings:
    """What of a bag is used.

    Attributes:
        radar_topic: heatmaps or cubes; None = that of the bag's own pairs, or what ``BagReader.radar_topic`` finds.
        image_topic: raw or compressed images; None = that of the bag's own pairs, or the default name.
        slop_s: s, largest distance of a radar frame and its image, where the bag has no pairs of its own.
        image_offset_s: s, added to the image stamps; None = the bag's own pairs where it has an index of them.
        image_width: px, of the stored pictures; smaller ones keep their size.
        masks: ``motion``: what moves before a static camera; ``none``; else a topic with recorded masks
            (sensor_msgs/Image of instance numbers) or boxes (vision_msgs/Detection2DArray) of the same images.
        mask_settings: of ``motion``.
        camera_pose: name shared by the bags in which the camera stood alike, so that one map from places in the picture
            to places on the ground holds for them; empty = this bag's alone.
    """

    radar_topic: str | None = None
    image_topic: str | None = None
    slop_s: float = 0.05
    image_offset_s: float | None = None
    image_width: int = 160
    masks: str = MOTION
    mask_settings: MaskSettings = field(default_factory=MaskSettings)
    camera_pose: str = ''

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.slop_s >= 0:
            raise ValueError(f'slop_s: expected 0 s or more, got {self.slop_s} s')
        if self.image_width < 8:
            raise ValueError(f'image_width: expected 8 px or more, got {self.image_width} px')
        if not self.masks:
            raise ValueError(f"masks: expected '{MOTION}', '{NO_MASKS}' or a topic, got nothing")


def write_arrays(
    reader: BagReader,
    settings: RecordingSettings,
    writer: ArrayStoreWriter,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the arrays of a bag.

    Args:
        reader: of the bag.
        settings: what of it is used.
        writer: takes them; what is constant in the bag goes to its ``about``.
        progress: called with (messages read, messages to be read).

    Raises:
        RecordingError: no radar frame that can be used, no pair, or a radar that changes.
        BagError: a topic is missing or of another type, or the bag is damaged.
    """
    _BagArrays(reader, settings, writer, progress).write()


class _BagArrays:
    """The making of the arrays of one bag."""

    def __init__(
        self,
        reader: BagReader,
        settings: RecordingSettings,
        writer: ArrayStoreWriter,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.reader = reader
        self.settings = settings
        self.writer = writer
        self.faults: list[str] = []
        self.marked = self._marked()
        self.radar, self.image = self._topics()
        learns = settings.masks == MOTION
        total = 2 * reader.stream(self.radar).count + (3 if learns else 2) * reader.stream(self.image).count
        self.tick = _Progress(progress, total)
        self.radar_ns, self.image_ns = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def write(self) -> None:
        """Write everything."""
        image_of = self._pair()
        row_of = self._write_heatmaps()
        rows = {image: row_of[radar] for radar, image in image_of.items() if radar in row_of}
        if not rows:
            raise RecordingError(f'{self.reader.path}: expected pairs of radar frames and images, {self._distance()}')
        self._write_pictures(rows, len(row_of))
        self.writer.about['faults'] = self.faults

    # Pairing ----------------------------------------------------------------------------------------------------------

    def _marked(self) -> list[Any]:
        """The bag's own pairs, where they are to be used."""
        if self.settings.image_offset_s is not None:
            return []
        topics = [name for name, stream in self.reader.streams.items() if stream.type == PAIR_TYPE]
        found = [pair for topic in topics for _, pair in self.reader.messages(topic)]
        wanted = self.settings.radar_topic, self.settings.image_topic
        return [
            pair
            for pair in found
            if wanted[RADAR] in (None, pair.radar_topic)
            and wanted[IMAGE] in (None, pair.image_topic)
            and (pair.radar_topic, pair.image_topic) == (found[0].radar_topic, found[0].image_topic)
        ]

    def _topics(self) -> tuple[str, str]:
        radar, image = self.settings.radar_topic, self.settings.image_topic
        if self.marked:
            radar, image = self.marked[0].radar_topic, self.marked[0].image_topic
        radar = radar or self.reader.radar_topic()
        if image is None:
            image = IMAGE_TOPIC if IMAGE_TOPIC in self.reader.streams else f'{IMAGE_TOPIC}/compressed'
        self.reader.stream(image, *_PICTURES)
        return radar, image

    def _pair(self) -> dict[int, int]:
        """Which image (number within its stream) belongs to which radar frame (likewise)."""
        stamp_of = {topic: self.reader.stamp_reader(topic) for topic in (self.radar, self.image)}
        offset = round(1e9 * (self.settings.image_offset_s or 0.0))
        matcher: PairMatcher[int] = PairMatcher(round(self.settings.slop_s * 1e9), image_offset_ns=offset)
        stamps: tuple[list[int], list[int]] = ([], [])
        found = {}
        resets = 0
        for message in self.reader.raw_messages([self.radar, self.image]):
            side = RADAR if message.topic == self.radar else IMAGE
            stamp_ns = stamp_of[message.topic](message)
            stamps[side].append(stamp_ns)
            self.tick()
            if is_stamp(stamp_ns) and not self.marked:
                decision = matcher.add(side, stamp_ns, len(stamps[side]) - 1)
                found.update({pair.radar: pair.image for pair in decision.pairs})
                resets += decision.reset
        found.update({pair.radar: pair.image for pair in matcher.flush().pairs})
        for name, of_stream in zip(('radar frames', 'images'), stamps, strict=True):
            unstamped = sum(not is_stamp(stamp) for stamp in of_stream)
            if unstamped:
                self.faults.append(
                    f'{unstamped} of {len(of_stream)} {name} have no stamp (0 or below) and are in no pair'
                )
        if resets:
            self.faults.append(f'stamps jump back in time {resets} times; nothing is paired across that')
        self.radar_ns, self.image_ns = (np.array(of_stream, np.int64) for of_stream in stamps)
        return self._of_marks() if self.marked else found

    def _of_marks(self) -> dict[int, int]:
        """The pairs that the bag's index names; of messages of equal stamps the first ones come first."""
        numbers: tuple[dict[int, deque[int]], ...] = (defaultdict(deque), defaultdict(deque))
        for side, stamps in enumerate((self.radar_ns, self.image_ns)):
            for number, stamp_ns in enumerate(stamps.tolist()):
                numbers[side][stamp_ns].append(number)
        found = {}
        for pair in self.marked:
            radars = numbers[RADAR][messages.stamp_to_ns(pair.header.stamp)]
            images = numbers[IMAGE][messages.stamp_to_ns(pair.image_stamp)]
            if radars and images:
                found[radars.popleft()] = images.popleft()
        return found

    def _distance(self) -> str:
        """Why there may be no pairs."""
        count = f'got none among {self.radar_ns.size} radar frames and {self.image_ns.size} images'
        if not self.radar_ns.size or not self.image_ns.size or self.marked:
            return count
        images = np.sort(self.image_ns) + round(1e9 * (self.settings.image_offset_s or 0.0))
        after = np.minimum(np.searchsorted(images, self.radar_ns), images.size - 1)
        before = np.maximum(after - 1, 0)
        apart = np.minimum(np.abs(images[after] - self.radar_ns), np.abs(images[before] - self.radar_ns))
        nearest = f'the image nearest to a radar frame is {np.median(apart) / 1e9:.3f} s away (median)'
        return f'{count}: {nearest}, slop_s is {self.settings.slop_s} s'

    # Radar ------------------------------------------------------------------------------------------------------------

    def _write_heatmaps(self) -> dict[int, int]:
        """Row of each radar frame (number within its stream) that can be used."""
        decode = self.reader.heatmap_decoder(self.radar)
        row_of: dict[int, int] = {}
        floors: list[float] = []
        refused = _Refused('radar frames')
        first: tuple[str, Heatmap] | None = None
        with_velocity: list[bool] = []
        for number, message in enumerate(self.reader.raw_messages([self.radar])):
            self.tick()
            refused.total += 1
            try:
                frame_id, heatmap = decode(message)
                messages.check_finite(heatmap.values, 'heatmap')
            except (BagError, messages.MessageError) as error:
                refused.add(error)
                continue
            if first is None:
                first = frame_id, heatmap
            self._check_same(first, (frame_id, heatmap), number)
            self.writer.append('heatmaps', heatmap.values)
            if heatmap.velocity is not None and not any(with_velocity):
                for _ in with_velocity:
                    self.writer.append('velocity', np.full_like(heatmap.velocity, np.nan))
            with_velocity.append(heatmap.velocity is not None)
            if any(with_velocity):
                velocity = (
                    np.full(heatmap.grid.shape, np.nan, np.float32) if heatmap.velocity is None else heatmap.velocity
                )
                self.writer.append('velocity', velocity)
            row_of[number] = len(row_of)
            floors.append(heatmap.noise_floor)
        if first is None:
            raise RecordingError(f'{self.reader.path}: topic {self.radar}: expected radar frames, {refused.all()}')
        self.faults += refused.sentences()
        frame_id, heatmap = first
        grid = heatmap.grid
        self.writer.extend('range', grid.range)
        self.writer.extend('azimuth', grid.azimuth)
        self.writer.extend('noise_floor', np.array(floors, np.float64))
        self.writer.extend('with_velocity', np.array(with_velocity))
        self.writer.extend('stamps_ns', self.radar_ns[list(row_of)])
        self.writer.about |= {
            'radar_topic': self.radar,
            'image_topic': self.image,
            'frame_id': frame_id,
            'wraps': grid.wraps,
            'reference': int(heatmap.reference),
            'radar': heatmap.radar,
            'carrier_frequency': heatmap.carrier_frequency,
            'bandwidth': heatmap.bandwidth,
        }
        return row_of

    def _check_same(self, first: tuple[str, Heatmap], other: tuple[str, Heatmap], number: int) -> None:
        """Refuse a bag in which another radar, or another setting of it, begins."""
        if other[1].grid is first[1].grid and other[0] == first[0]:
            return
        known, new = (
            {
                'frame_id': frame_id,
                'grid': heatmap.grid,
                'reference': heatmap.reference,
                'radar': heatmap.radar,
                'carrier_frequency': heatmap.carrier_frequency,
                'bandwidth': heatmap.bandwidth,
            }
            for frame_id, heatmap in (first, other)
        )
        for name, value in known.items():
            if new[name] != value:
                got = 'another grid' if name == 'grid' else repr(new[name])
                expected = 'the grid of the first frame' if name == 'grid' else repr(value)
                place = f'{self.reader.path}: topic {self.radar}: radar frame {number}'
                raise RecordingError(f'{place}: {name}: expected {expected} throughout, got {got}')

    # Camera -----------------------------------------------------------------------------------------------------------

    def _write_pictures(self, rows: dict[int, int], count: int) -> None:
        """The pictures of the frames, and the masks of the targets in them."""
        has_image, segmented = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        image_stamps = np.zeros(count, np.int64)
        masks_of = self._mask_source(rows)
        refused = _Refused('paired images')
        masks = _MaskTable()
        size: tuple[int, int] | None = None
        for number, picture in self._pictures(rows, refused):
            row = rows[number]
            if size is None:
                size = (picture.shape[1], picture.shape[0])
                stored = (min(size[0], self.settings.image_width), 0)
                stored = (stored[0], max(round(size[1] * stored[0] / size[0]), 1))
                self.writer.reserve('images', np.uint8, (count, stored[1], stored[0], 3))
            small = picture if stored == size else cv2.resize(picture, stored, interpolation=cv2.INTER_AREA)
            self.writer.put('images', row, np.asarray(small, np.uint8))
            has_image[row] = True
            image_stamps[row] = self.image_ns[number]
            found = masks_of(number, picture)
            segmented[row] = found is not None
            for instance in found or ():
                masks.add(row, instance)
        if size is None:
            raise RecordingError(f'{self.reader.path}: topic {self.image}: expected images, {refused.all()}')
        self.faults += refused.sentences()
        self.writer.extend('has_image', has_image)
        self.writer.extend('segmented', segmented)
        self.writer.extend('image_stamps_ns', image_stamps)
        self.writer.about['image_size'] = size
        masks.write(self.writer)

    def _pictures(self, rows: dict[int, int], refused: '_Refused') -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(Number, picture) of the paired images that can be decoded and have the size of the first one."""
        first: tuple[int, ...] | None = None
        for number, message in enumerate(self.reader.raw_messages([self.image])):
            self.tick()
            if number not in rows:
                continue
            refused.total += 1
            try:
                picture = messages.image_from_message(self.reader.decode(message))
                first = first or picture.shape
                if picture.shape != first:
                    raise MaskError(f'expected {first[1]} x {first[0]} px, got {picture.shape[1]} x {picture.shape[0]}')
            except (BagError, messages.MessageError, MaskError) as error:
                refused.add(error)
                continue
            yield number, np.ascontiguousarray(picture)

    def _mask_source(
        self, rows: dict[int, int]
    ) -> Callable[[int, NDArray[np.uint8]], list[TargetMask] | tuple[TargetMask, ...] | None]:
        """Function of an image's number and picture that gives its masks, or None where there can be none."""
        if self.settings.masks == NO_MASKS:
            return lambda number, picture: None
        if self.settings.masks != MOTION:
            return self._recorded_masks(rows)
        maker = MaskMaker(self.settings.mask_settings)
        pictures = (picture for _, picture in self._pictures(rows, _Refused('paired images')))
        try:
            maker.learn(pictures)
        except MaskError:
            return lambda number, picture: None  # not one picture, which is told where they are stored

        def segment(number: int, picture: NDArray[np.uint8]) -> tuple[TargetMask, ...] | None:
            found = maker.segment(picture)
            return found.instances if found.outcome is Outcome.SEGMENTED else None

        return segment

    def _recorded_masks(self, rows: dict[int, int]) -> Callable[[int, NDArray[np.uint8]], list[TargetMask] | None]:
        """Those of a topic; a detector gives its results the stamps of the images."""
        topic = self.settings.masks
        boxes = self.reader.stream(topic, _LABELS, _BOXES).type == _BOXES
        of_image, of_mask = match_stamps(self.image_ns, self.reader.stamps(topic), round(self.settings.slop_s * 1e9))
        number_of = {int(mask): int(image) for image, mask in zip(of_image, of_mask, strict=True) if int(image) in rows}
        held: dict[int, RawMessage] = {}
        source = enumerate(self.reader.raw_messages([topic]))
        wanted = {image: mask for mask, image in number_of.items()}

        def masks(number: int, picture: NDArray[np.uint8]) -> list[TargetMask] | None:
            if number not in wanted:
                return None
            while number not in held:
                index, message = next(source)
                if index in number_of:
                    held[number_of[index]] = message
            message = held.pop(number)
            size = (picture.shape[1], picture.shape[0])
            try:
                decoded = self.reader.decode(message)
                found = masks_from_boxes(decoded.detections, size) if boxes else masks_from_image(decoded)
                if any(instance.picture != size for instance in found):
                    raise MaskError(f'expected masks of {size[0]} x {size[1]} px, got {found[0].picture}')
            except MaskError as error:
                raise RecordingError(f'{self.reader.path}: topic {topic}: {error}') from error
            return found

        return masks


class _MaskTable:
    """Masks as columns: small integers, and all pixels as bits in one row."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._masks: list[TargetMask] = []
        self._bits: list[NDArray[np.uint8]] = []

    def add(self, row: int, mask: TargetMask) -> None:
        self._rows.append(row)
        self._bits.append(np.packbits(mask.mask))
        self._masks.append(mask)

    def write(self, writer: ArrayStoreWriter) -> None:
        order = np.argsort(np.array(self._rows, np.int64), kind='stable').tolist()
        masks = [self._masks[index] for index in order]
        boxes = [(mask.left, mask.top, mask.width, mask.height) for mask in masks]
        flags = [(mask.merged, mask.split, mask.occluded) for mask in masks]
        sizes = [self._bits[index].size for index in order]
        writer.extend('mask_frames', np.array([self._rows[index] for index in order], np.int64))
        writer.extend('mask_boxes', np.array(boxes, np.int32).reshape(-1, 4))
        writer.extend('mask_numbers', np.array([min(mask.number, _LARGEST_NUMBER) for mask in masks], np.int64))
        writer.extend('mask_scores', np.array([mask.score for mask in masks], np.float64))
        writer.extend('mask_fragments', np.array([mask.fragments for mask in masks], np.int32))
        writer.extend('mask_flags', np.array(flags, np.bool_).reshape(-1, 3))
        writer.extend('mask_offsets', np.cumsum([0, *sizes], dtype=np.int64))
        bits = [self._bits[index] for index in order]
        writer.extend('mask_bits', np.concatenate(bits) if bits else np.zeros(0, np.uint8))


class _Refused:
    """Counts what cannot be used of a stream, with the reason of the first."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.total = 0
        self.count = 0
        self.first = ''

    def add(self, error: Exception) -> None:
        self.count += 1
        self.first = self.first or str(error)

    def all(self) -> str:
        """None can be used."""
        return f'none of {self.total} can be used; the first: {self.first}' if self.total else 'found none'

    def sentences(self) -> list[str]:
        if not self.count:
            return []
        return [f'{self.count} of {self.total} {self.what} cannot be used; the first: {self.first}']


class _Progress:
    """Tells how far the reading is, about a hundred times."""

    def __init__(self, report: Callable[[int, int], None] | None, total: int) -> None:
        self._report = report
        self._total = max(total, 1)
        self._done = 0

    def __call__(self) -> None:
        self._done += 1
        if self._report is not None and (self._done % max(self._total // 100, 1) == 0 or self._done == self._total):
            self._report(self._done, self._total)
