# SPDX-License-Identifier: Apache-2.0
"""Turns a bag's radar frames and images into small pictures on one raster, for the time offset between them.

The camera's picture shows what does not belong to the background, or, where the whole picture moves, the strength of
its edges. The radar's shows the same view: each cell that stands out is drawn as an upright bar on the ground where the
camera would see it. How high the radar stands above the ground is not in a bag: several heights are hypotheses. Where
the bag does not say how the camera sees (camera_info and the transform), so is the camera's direction and focal length,
and only columns are compared.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.reader import BagReader, RawMessage
from radio_visual_ssl.bags.time_offset import Excerpt, OffsetSettings, TimeOffset, cannot_tell, estimate_time_offset
from radio_visual_ssl.radar.grid import PolarGrid, turned_towards
from radio_visual_ssl.vision.camera import CameraModel

COLUMNS = 64  # of the raster
LONGEST_S = 120.0  # s of a bag that are looked at
STRETCHES = 6  # of a longer bag, spread over it
RANGE_BINS = 160  # at most; finer ranges are joined, the strongest cell counts
OVERHANG_S = 3.0  # s of images before and after each stretch of radar frames

HEIGHTS = tuple(0.5 * 1.3**step for step in range(12))  # m of the radar above the ground
BAR = 1.5  # m, height of a bar
FIELDS_OF_VIEW_DEG = (45.0, 65.0, 90.0)  # horizontal, of an unknown camera
YAWS_DEG = (-20.0, -10.0, 0.0, 10.0, 20.0)  # and its directions
WIDEST_AZIMUTH_DEG = 75.0  # that an unknown camera is taken to see

RADAR_LEVELS = 12.0, 27.0  # dB above the background where a cell begins to count, and where it counts in full
MOVING_RADAR_LEVELS = 6.0, 26.0  # the same, of a radar that moves: what stands still counts too, and is weaker
MOVING_NEAREST = 5.0  # m, nearest that counts then: the vehicle itself and the ground beside it are nearer
IMAGE_LEVELS = 4.0, 24.0  # grey levels off the background, the same
MOVING_SHARE = 0.25  # of the picture off its background: the camera moves
BLUR = 0.7  # px of the raster

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class _Stretch:
    """What is kept of one stretch of a bag: (R,) s, (R, r, a) dB, (I,) s, (I, h, w) grey."""

    radar_s: NDArray[np.float64]
    power: NDArray[np.float16]
    image_s: NDArray[np.float64]
    grey: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Projection:
    """(pixels, cells) shares that cells have in a pixel of the raster, and what they suppose, for people."""

    shares: sparse.csr_matrix
    name: str


def bag_time_offset(
    bag: BagReader,
    radar_topic: str,
    image_topic: str,
    *,
    search_s: float = 2.0,
    progress: Progress | None = None,
) -> TimeOffset:
    """Estimate what to add to the camera's stamps.

    At most two minutes of a bag are decoded, in six stretches spread over a longer one, and kept as pictures of 64
    columns; the memory needed does not grow with the bag.

    Args:
        bag: to look at.
        radar_topic: heatmaps or cubes.
        image_topic: raw or compressed images.
        search_s: s, largest offset, to both sides of the difference that the times of reception tell.
        progress: called with (share done, 100).

    Raises:
        BagError: messages that are damaged or contradict each other.
        ValueError: a search range that is none.
    """
    settings = OffsetSettings(search_s=search_s)
    first = next(iter(bag.frames(radar_topic, None, None)), None)
    size = _image_size(bag, image_topic)
    if first is None or size is None:
        return cannot_tell('there is no radar frame' if first is None else 'no image can be decoded')
    rows = max(1, round(COLUMNS * size[0] / size[1]))
    grid = _joined(first.heatmap.grid)
    camera = bag.camera(image_topic, first.frame_id)
    known = camera is not None and (camera.height, camera.width) == size
    projections = (
        _project_known(grid, camera, rows) if camera is not None and known else _project_unknown(grid, size, rows)
    )
    cells = np.unique(np.concatenate([projection.shares.indices for projection in projections]))
    columns = np.unique(cells % grid.shape[1])
    if not columns.size:
        return cannot_tell('the camera sees nothing of what the radar covers, says the calibration in the bag')
    report = _Reporter(progress)
    stretches, centre_s = [], 0.0
    plan = _plan(bag)
    for number, (start_ns, end_ns) in enumerate(plan):
        part = report.part(0.6 * number / len(plan), 0.6 * (number + 1) / len(plan))
        stretch, apart_s = _read(bag, radar_topic, image_topic, (start_ns, end_ns), (rows, columns), part)
        if stretch is not None:
            stretches.append(stretch)
            # clocks of other epochs: what was received at the same time tells roughly how far they are apart
            centre_s = round(apart_s, 1) if not centre_s and abs(apart_s) > search_s / 2 else centre_s
    if not stretches:
        return cannot_tell('radar and camera were not recorded at the same time')
    # of the kept cells: all ranges of the columns that any hypothesis sees
    kept = (np.arange(grid.shape[0])[:, None] * grid.shape[1] + columns).ravel()
    moving = _moves(stretches)
    images = [_image_pictures(stretch.grey, moving) for stretch in stretches]
    radars = [_stands_out(stretch.power, grid.range, moving).reshape(len(stretch.power), -1) for stretch in stretches]

    def pictures(projection: _Projection) -> Sequence[Excerpt]:
        shares = projection.shares[:, kept]
        seen = [_picture(radar, shares, rows) for radar in radars]
        shown = images
        if not known:
            seen = [part.reshape(len(part), rows, COLUMNS).mean(axis=1) for part in seen]
            shown = [part.reshape(len(part), rows, COLUMNS).mean(axis=1) for part in images]
        return [
            Excerpt(stretch.radar_s, radar, stretch.image_s, image)
            for stretch, radar, image in zip(stretches, seen, shown, strict=True)
        ]

    return estimate_time_offset(
        [lambda projection=projection: pictures(projection) for projection in projections],  # type: ignore[misc]
        [projection.name for projection in projections],
        centre_s,
        settings,
        report.part(0.6, 1.0),
    )


class _Reporter:
    """Tells how much is done of work that is made of parts, in percent."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def part(self, begin: float, end: float) -> Progress:
        """Progress function of a part that takes the work from one share to another."""

        def report(done: int, total: int) -> None:
            if self._progress is not None:
                self._progress(round(100 * (begin + (end - begin) * min(done / max(total, 1), 1.0))), 100)

        return report


# Reading --------------------------------------------------------------------------------------------------------------


def _plan(bag: BagReader) -> list[tuple[int, int]]:
    """(start, end) ns of the stretches, times of the bag."""
    span = (bag.end_ns - bag.start_ns) / 1e9
    if span <= LONGEST_S:
        return [(bag.start_ns, bag.end_ns)]
    each = LONGEST_S / STRETCHES
    starts = bag.start_ns + (np.linspace(0, span - each, STRETCHES) * 1e9).astype(np.int64)
    return [(int(start), int(start + each * 1e9)) for start in starts]


def _image_size(bag: BagReader, topic: str) -> tuple[int, int] | None:
    """(rows, columns) of the first image that can be decoded."""
    for message in bag.raw_messages([topic]):
        try:
            return messages.image_from_message(bag.decode(message)).shape[:2]
        except messages.MessageError:
            continue
    return None


def _read(
    bag: BagReader,
    radar_topic: str,
    image_topic: str,
    times_ns: tuple[int, int],
    kept: tuple[int, NDArray[np.intp]],
    progress: Progress,
) -> tuple[_Stretch | None, float]:
    """One stretch, and by how many s the radar's clock is ahead of the camera's, judged by the times of reception."""
    start_ns, end_ns = times_ns
    rows, columns = kept
    radar_stamps, radar_ahead, power = [], [], []
    stamp_of = bag.stamp_reader(radar_topic)
    received = {stamp_of(message): message.time_ns for message in _between(bag, radar_topic, start_ns, end_ns)}
    for frame in bag.frames(radar_topic, None, None, start_ns=start_ns):
        if frame.stamp_ns not in received:
            break
        values = np.nan_to_num(frame.heatmap.values, nan=-200.0, posinf=300.0, neginf=-200.0)
        power.append(_join_ranges(values)[:, columns].astype(np.float16))
        radar_stamps.append(frame.stamp_ns)
        radar_ahead.append(frame.stamp_ns - received[frame.stamp_ns])
        progress(max(received[frame.stamp_ns] - start_ns, 0) // 2, end_ns - start_ns)
    image_stamps, image_ahead, grey = [], [], []
    stamp_of = bag.stamp_reader(image_topic)
    overhang = round(OVERHANG_S * 1e9)
    for message in _between(bag, image_topic, start_ns - overhang, end_ns + overhang):
        small = _small_grey(bag, message, rows)
        if small is not None:
            image_stamps.append(stamp_of(message))
            image_ahead.append(image_stamps[-1] - message.time_ns)
            grey.append(small)
        progress((end_ns - start_ns + max(message.time_ns - start_ns, 0)) // 2, end_ns - start_ns)
    radar_order, image_order = _ascending(radar_stamps), _ascending(image_stamps)
    if len(radar_order) < 3 or len(image_order) < 3:
        return None, 0.0
    zero = radar_stamps[0]
    stretch = _Stretch(
        np.array([radar_stamps[index] - zero for index in radar_order]) / 1e9 + (zero - bag.start_ns) / 1e9,
        np.array([power[index] for index in radar_order]),
        np.array([image_stamps[index] - zero for index in image_order]) / 1e9 + (zero - bag.start_ns) / 1e9,
        np.array([grey[index] for index in image_order]),
    )
    return stretch, float(np.median(radar_ahead) - np.median(image_ahead)) / 1e9


def _between(bag: BagReader, topic: str, start_ns: int, end_ns: int) -> Iterator[RawMessage]:
    for message in bag.raw_messages([topic], max(start_ns, bag.start_ns)):
        if message.time_ns > end_ns:
            return
        yield message


def _ascending(stamps: Sequence[int]) -> list[int]:
    """Indices in the order of the stamps, each stamp once; only up to a jump back of more than a second."""
    jump = next((k for k in range(1, len(stamps)) if stamps[k] < stamps[k - 1] - 1_000_000_000), len(stamps))
    order = sorted(range(jump), key=lambda index: stamps[index])
    return [index for k, index in enumerate(order) if k == 0 or stamps[index] > stamps[order[k - 1]]]


def _small_grey(bag: BagReader, message: RawMessage, rows: int) -> NDArray[np.uint8] | None:
    """(rows, COLUMNS) grey picture; None where the image cannot be decoded."""
    decoded = bag.decode(message)
    if hasattr(decoded, 'encoding'):
        try:
            image = messages.image_from_message(decoded)
        except messages.MessageError:
            return None
        # green stands for all colours; no more lines than the raster can use
        step = max(1, min(image.shape[0] // (3 * rows), image.shape[1] // (3 * COLUMNS)))
        plane = np.ascontiguousarray(image[::step, ::step, 1])
    else:
        data = np.frombuffer(decoded.data, np.uint8)
        reduced = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_4) if data.size else None
        if reduced is None:
            return None
        plane = np.asarray(reduced, np.uint8)
    return np.asarray(cv2.resize(plane, (COLUMNS, rows), interpolation=cv2.INTER_AREA), np.uint8)


def _factor(ranges: int) -> int:
    return -(-ranges // RANGE_BINS)


def _joined(grid: PolarGrid) -> PolarGrid:
    """The grid with neighbouring ranges joined, so that no more than RANGE_BINS are left."""
    factor = _factor(grid.shape[0])
    if factor == 1:
        return grid
    whole = grid.shape[0] // factor * factor
    return dataclasses.replace(grid, range=grid.range[:whole].reshape(-1, factor).mean(axis=1))


def _join_ranges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The strongest of the ranges that ``_joined`` joins."""
    factor = _factor(values.shape[0])
    whole = values.shape[0] // factor * factor
    return np.asarray(values[:whole].reshape(-1, factor, values.shape[1]).max(axis=1))


# Where cells are in the image -----------------------------------------------------------------------------------------


def _project_known(grid: PolarGrid, camera: CameraModel, rows: int) -> list[_Projection]:
    """One projection for each height that the radar may have above the ground."""
    return [
        _Projection(_shares(grid, camera, rows, height), f'camera as calibrated, radar {height:.1f} m above the ground')
        for height in HEIGHTS
    ]


def _project_unknown(grid: PolarGrid, size: tuple[int, int], rows: int) -> list[_Projection]:
    """Projections for cameras beside the radar of several fields of view and directions."""
    near = np.abs(turned_towards(grid.azimuth)) <= np.radians(WIDEST_AZIMUTH_DEG)
    found = []
    for field in FIELDS_OF_VIEW_DEG:
        focal = size[1] / 2 / np.tan(np.radians(field) / 2)
        matrix = np.array([[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1.0]])
        for yaw in YAWS_DEG:
            turn = np.radians(yaw)
            forward, right = [np.cos(turn), np.sin(turn), 0.0], [np.sin(turn), -np.cos(turn), 0.0]
            camera = CameraModel(size[1], size[0], matrix, rotation=np.array([right, [0, 0, -1.0], forward]))
            # all at the height of the lens: only columns are compared
            shares = _shares(grid, camera, rows, BAR / 2).multiply(np.tile(near, grid.shape[0])).tocsr()
            found.append(_Projection(shares, f'no calibration; fits a view of {field:.0f} deg, {yaw:+.0f} deg aside'))
    return found


def _shares(grid: PolarGrid, camera: CameraModel, rows: int, height: float) -> sparse.csr_matrix:
    """(pixels, cells) shares of the cells in each pixel: upright bars that stand on the ground."""
    distance, azimuth = np.meshgrid(grid.range, grid.azimuth, indexing='ij')
    x, y = (distance * np.cos(azimuth)).ravel(), (distance * np.sin(azimuth)).ravel()
    pixels, cells, shares = [], [], []
    scale = COLUMNS / camera.width, rows / camera.height
    for z in np.linspace(-height, BAR - height, 5):
        places, _ = camera.project(np.column_stack([x, y, np.full_like(x, z)]))
        u, v = ((places[:, axis] + 0.5) * scale[axis] - 0.5 for axis in (0, 1))
        seen = np.flatnonzero((u > -1) & (u < COLUMNS) & (v > -1) & (v < rows))
        left, top = np.floor(u[seen]).astype(int), np.floor(v[seen]).astype(int)
        right, below = u[seen] - left, v[seen] - top
        for column, row, share in (
            (left, top, (1 - right) * (1 - below)),
            (left + 1, top, right * (1 - below)),
            (left, top + 1, (1 - right) * below),
            (left + 1, top + 1, right * below),
        ):
            inside = (column >= 0) & (column < COLUMNS) & (row >= 0) & (row < rows)
            pixels.append((row * COLUMNS + column)[inside])
            cells.append(seen[inside])
            shares.append(share[inside])
    entries = np.concatenate(shares), (np.concatenate(pixels), np.concatenate(cells))
    matrix = sparse.csr_matrix(entries, shape=(rows * COLUMNS, x.size))
    total = np.asarray(matrix.sum(axis=1)).ravel()
    # pixels that hardly any cell reaches are not blown up
    floor = 0.3 * float(np.median(total[total > 0])) if np.any(total > 0) else 1.0
    return sparse.csr_matrix(sparse.diags(1 / (total + floor)) @ matrix).astype(np.float32)


# Pictures -------------------------------------------------------------------------------------------------------------


def _moves(stretches: Sequence[_Stretch]) -> bool:
    """Whether the camera moves: much of the picture differs from its median over time."""
    return bool(np.mean([np.mean(_off_background(stretch.grey) > 0.25) for stretch in stretches]) > MOVING_SHARE)


def _median(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Median over time, of at most about 200 frames."""
    step = max(1, len(values) // 200)
    return np.median(values[::step].astype(np.float32), axis=0)


def _level(values: NDArray[np.float32], levels: tuple[float, float]) -> NDArray[np.float32]:
    """0 at the first level and below, 1 at the second and above."""
    return np.clip((values - levels[0]) / (levels[1] - levels[0]), 0.0, 1.0).astype(np.float32)


def _off_background(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(I, h, w) how far each pixel is off its median over time, 0 to 1; changes of the exposure taken out."""
    background = _median(grey)
    values = grey.astype(np.float32)
    gain = np.median((background + 1) / (values + 1), axis=(1, 2), keepdims=True)
    return _level(np.abs((values + 1) * gain - 1 - background), IMAGE_LEVELS)


def _image_pictures(grey: NDArray[np.uint8], moving: bool) -> NDArray[np.float32]:
    """(I, h * w) what the camera shows of objects."""
    if moving:
        values = grey.astype(np.float32)
        edges = np.stack([np.hypot(cv2.Sobel(x, cv2.CV_32F, 1, 0), cv2.Sobel(x, cv2.CV_32F, 0, 1)) for x in values])
        return _blurred((edges / 100.0).astype(np.float32), 1.0)
    return _blurred(_off_background(grey), BLUR)


def _stands_out(power: NDArray[np.float16], distance: NDArray[np.float64], moving: bool) -> NDArray[np.float32]:
    """(R, r, a) how much each cell stands out from its background, 0 to 1.

    Of a moving radar both from the noise and from what always is in that cell (the vehicle itself, walls alongside).
    """
    background, values = _median(power), power.astype(np.float32)
    if not moving:
        return _level(values - background, RADAR_LEVELS)
    noise = np.median(background, axis=1, keepdims=True)
    own = _level(values - np.maximum(background, noise), MOVING_RADAR_LEVELS)
    far = (distance >= MOVING_NEAREST)[:, None]
    return np.sqrt(far * own * _level(values - noise, MOVING_RADAR_LEVELS))


def _picture(cells: NDArray[np.float32], shares: sparse.csr_matrix, rows: int) -> NDArray[np.float32]:
    """(R, h * w) what the radar shows of objects, in the image; the root makes weak ones count too."""
    picture = np.sqrt(np.asarray((shares @ cells.T).T, np.float32))
    return _blurred(np.ascontiguousarray(picture).reshape(len(cells), rows, COLUMNS), BLUR)


def _blurred(pictures: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures]).reshape(len(pictures), -1)
