# SPDX-License-Identifier: Apache-2.0
"""Turns a bag into the arrays that learning reads: paired heatmaps and small pictures, and the masks of targets."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.array_store import ArrayStoreWriter
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.pairing import IMAGE, PAIR_TYPE, RADAR, PairMatcher, is_stamp, stamp_fault
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.topics import IMAGE_TOPIC, present_image_topic
from radio_visual_ssl.learning.recording_masks import MaskTable, mask_source
from radio_visual_ssl.learning.recording_settings import MOTION, RecordingError, RecordingSettings
from radio_visual_ssl.radar.geometry import RadarGeometry, check_same_radar
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.vision.masks import MaskError


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
        RecordingError: no radar frame that can be used, no pair, or a frame_id that changes within the bag.
        OtherRadarError: another radar, or another setting of it, within the bag.
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
        image = self.settings.image_topic
        wanted = self.settings.radar_topic, image and present_image_topic(image, self.reader.streams)
        found = [
            pair
            for topic in topics
            for _, pair in self.reader.messages(topic)
            if wanted[RADAR] in (None, pair.radar_topic) and wanted[IMAGE] in (None, pair.image_topic)
        ]
        return [
            pair
            for pair in found
            if (pair.radar_topic, pair.image_topic) == (found[0].radar_topic, found[0].image_topic)
        ]

    def _topics(self) -> tuple[str, str]:
        radar, image = self.settings.radar_topic, self.settings.image_topic
        if self.marked:
            radar, image = self.marked[0].radar_topic, self.marked[0].image_topic
        radar = radar or self.reader.radar_topic()
        return radar, self.reader.image_topic(image or IMAGE_TOPIC)

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
                    f'{unstamped} of {len(of_stream)} {name} have no stamp (0 or below) and are in no pair; '
                    '`radio-visual-ssl pair --stamps reception` pairs them by the time of recording'
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
        streams = ((self.radar, self.radar_ns), (self.image, self.image_ns))
        faults = [fault for topic, stamps in streams if (fault := stamp_fault(topic, stamps))]
        if faults:
            return f'{count}; {"; ".join(faults)}'
        images = np.sort(self.image_ns) + round(1e9 * (self.settings.image_offset_s or 0.0))
        after = np.minimum(np.searchsorted(images, self.radar_ns), images.size - 1)
        before = np.maximum(after - 1, 0)
        apart = np.minimum(np.abs(images[after] - self.radar_ns), np.abs(images[before] - self.radar_ns))
        nearest = f'the image nearest to a radar frame is {np.median(apart) / 1e9:.3f} s away (median)'
        return f'{count}: {nearest}, and {self.settings.slop_s} s is the most that counts'

    # Radar ------------------------------------------------------------------------------------------------------------

    def _write_heatmaps(self) -> dict[int, int]:
        """Row of each radar frame (number within its stream) that can be used."""
        decode = self.reader.heatmap_decoder(self.radar)
        row_of: dict[int, int] = {}
        floors: list[float] = []
        refused = _Refused('radar frames')
        first: tuple[str, Heatmap] | None = None
        known: RadarGeometry | None = None
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
            known = self._checked(first[0], known, (frame_id, heatmap), number)
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
        assert known is not None
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
            'radar': known.name,
            'carrier_frequency': known.carrier_frequency,
            'bandwidth': known.bandwidth,
            'formation': known.formation,
        }
        return row_of

    def _checked(
        self, first_id: str, known: RadarGeometry | None, other: tuple[str, Heatmap], number: int
    ) -> RadarGeometry:
        """What is known of the radar with one more frame; a bag in which another one, or setting, begins is refused."""
        place = f'{self.reader.path}: topic {self.radar}: radar frame {number}'
        frame_id, new = other[0], RadarGeometry.of(other[1])
        if frame_id != first_id:
            raise RecordingError(f'{place}: frame_id: expected {first_id!r} throughout, got {frame_id!r}')
        return check_same_radar(known or new, new, place, 'the radar of the first one')

    # Camera -----------------------------------------------------------------------------------------------------------

    def _write_pictures(self, rows: dict[int, int], count: int) -> None:
        """The pictures of the frames, and the masks of the targets in them."""
        has_image, segmented = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        image_stamps = np.zeros(count, np.int64)
        learned, refused = _Refused('paired images'), _Refused('paired images')
        pictures = (picture for _, picture in self._pictures(rows, learned))
        try:
            masks_of = mask_source(self.reader, self.settings, self.image_ns, pictures)
        except MaskError as error:
            reason = learned.all() if learned.count == learned.total else str(error)
            raise RecordingError(f'{self.reader.path}: topic {self.image}: expected images, {reason}') from error
        masks = MaskTable()
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
        masks.write(self.writer, self.settings.wrong_masks)

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
