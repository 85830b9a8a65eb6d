# SPDX-License-Identifier: Apache-2.0
"""Draws a contact sheet of a bag: a few frames with camera, heatmap and truth."""

import math
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader, Frame
from radio_visual_ssl.bags.topics import IMAGE_TOPIC
from radio_visual_ssl.radar.grid import CartesianGrid, PolarGrid, polar_to_cartesian
from radio_visual_ssl.radar.heatmap import Reference
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel
from radio_visual_ssl.whole_file import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRUTH = '#35d0ff'
_NOMINAL_SIZE = (4.0, 1.8, 1.6)  # m, drawn where the truth does not tell
_UNITS = {
    Reference.ARBITRARY: 'dB',
    Reference.NOISE_FLOOR: 'dB above noise',
    Reference.FULL_SCALE: 'dBFS',
    Reference.MILLIWATT: 'dBm',
    Reference.RCS: 'dBsm',
}


def draw_contact_sheet(
    path: str | Path,
    out: str | Path,
    radar_topic: str | None = None,
    image_topic: str | None = IMAGE_TOPIC,
    *,
    count: int = 4,
    slop_s: float = 0.05,
    image_offset_s: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
    on_bad_image: Callable[[BagError], None] | None = None,
) -> None:
    """Draw a few frames, spread over the bag, as a PNG: camera left, heatmap from above right, truth on both.

    Frames with an image are preferred.

    Args:
        path: of the bag.
        out: PNG file; replaced if it exists.
        radar_topic: heatmaps or cubes; None = the bag's own.
        image_topic: raw or compressed images; None = without.
        count: rows of the sheet.
        slop_s: s, largest distance between a radar frame and its image.
        image_offset_s: s, added to the image stamps before pairing.
        progress: called with (radar frames read, radar frames in all).
        on_bad_image: called with what is wrong with an image that cannot be decoded; its frame counts as one without.

    Raises:
        BagError: the bag cannot be read, lacks a topic, or holds no radar frame.
        OSError: the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bag = BagReader(path)
    radar = radar_topic or bag.radar_topic()
    report_bad = on_bad_image or (lambda error: None)
    pairing = {'slop_s': slop_s, 'image_offset_s': image_offset_s, 'on_bad_image': report_bad}
    frames = _choose(bag, radar, image_topic, count, progress, **pairing)
    image_used = image_topic if image_topic is not None else IMAGE_TOPIC
    camera = bag.camera(image_used, frames[0].frame_id)
    with_camera = any(frame.image is not None for frame in frames)
    level = _levels(frames)
    window = _window(frames[0].heatmap.grid, with_camera)
    aspect = window.shape[1] / window.shape[0]
    image_aspect = next((f.image.shape[1] / f.image.shape[0] for f in frames if f.image is not None), 1.5)
    height, around = 3.6, 0.8  # inches: of each picture, and of titles and labels around it
    widths = [height * image_aspect] * with_camera + [height * aspect + 2 * around]
    size = (sum(widths) + around, (height + around) * len(frames) + 0.5)
    figure = Figure(figsize=size, layout='constrained', dpi=90)
    FigureCanvasAgg(figure)
    figure.set_facecolor('white')
    grid = figure.subplots(len(frames), 1 + with_camera, width_ratios=widths, squeeze=False)
    for row, frame in zip(grid, frames, strict=True):
        if with_camera:
            _draw_camera(row[0], frame, camera, image_offset_s)
        mesh = _draw_heatmap(row[-1], frame, window, level)
        bar = figure.colorbar(mesh, ax=row[-1], shrink=0.85, pad=0.01)
        bar.set_label(f'power, {_UNITS[frame.heatmap.reference]}')
    truth = ' - ground truth in blue' if any(frame.truth for frame in frames) else ''
    figure.suptitle(f'{Path(path).resolve().name}: {len(frames)} of its frames{truth}', fontsize=13)
    save_picture(figure, Path(out))


def _choose(
    bag: BagReader,
    radar: str,
    image_topic: str | None,
    count: int,
    progress: Callable[[int, int], None] | None,
    **pairing: Any,
) -> list[Frame]:
    """Frames spread over the bag, those with an image first."""
    total = bag.stream(radar).count
    # spread over three times as many places, so that frames without an image can be passed over
    wanted = set(np.unique(np.linspace(0, total - 1, 3 * count).round().astype(int)).tolist()) if total else set()
    chosen = []
    for index, frame in enumerate(bag.frames(radar, image_topic, **pairing)):
        if index in wanted:
            chosen.append(frame)
        if progress is not None:
            progress(index + 1, total)
    if not chosen:
        raise BagError(f'{bag.path}: topic {radar}: expected at least one radar frame, found none')
    paired = [frame for frame in chosen if frame.image is not None] or chosen
    keep = np.unique(np.linspace(0, len(paired) - 1, min(count, len(paired))).round().astype(int))
    return [paired[index] for index in keep]


def _levels(frames: list[Frame]) -> tuple[float, float]:
    """Colour limits, dB: from about the noise to almost the strongest."""
    values = np.concatenate([frame.heatmap.values[np.isfinite(frame.heatmap.values)] for frame in frames])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (50.0, 99.9)))
    return low, max(high, low + 1.0)


def _window(grid: PolarGrid, forward: bool) -> CartesianGrid:
    """What is drawn: the whole sector, or the part ahead of a radar that looks all around beside a camera."""
    reach = float(grid.range[-1])
    if not (grid.wraps and forward):
        return CartesianGrid.around(grid, reach / 500)
    return CartesianGrid(-0.15 * reach, -0.5 * reach, (500, 500), reach / 500)


def _draw_heatmap(axes: 'Axes', frame: Frame, window: CartesianGrid, level: tuple[float, float]) -> Any:
    """The heatmap from above: forward = up, left = left."""
    values = polar_to_cartesian(np.nan_to_num(frame.heatmap.values, nan=level[0]), frame.heatmap.grid, window)
    half = window.cell_size / 2
    extent = (window.y[-1] + half, window.y[0] - half, window.x[0] - half, window.x[-1] + half)
    axes.set_facecolor('#d8d8d8')
    # rows are x ascending, columns y ascending; the y axis runs to the left
    picture = axes.imshow(
        values[:, ::-1], origin='lower', extent=extent, vmin=level[0], vmax=level[1], cmap='inferno', aspect='equal'
    )
    for target in frame.truth or []:
        corners = _footprint(target)
        if np.all((corners[:, 0] < extent[2]) | (corners[:, 0] > extent[3])):
            continue
        outline = np.vstack([corners, corners[:1]])
        axes.plot(outline[:, 1], outline[:, 0], color=_TRUTH, linewidth=1.6)
        _write(axes, _name(target), target.y, float(corners[:, 0].max()))
    axes.plot(0, 0, marker='^', color='white', markeredgecolor='black', markersize=9)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_xlabel('y, m (left is positive)')
    axes.set_ylabel('x, m (ahead)')
    axes.set_title(f'radar {_clock(frame.stamp_ns)}', fontsize=10)
    return picture


def _draw_camera(axes: 'Axes', frame: Frame, camera: CameraModel | None, image_offset_s: float) -> None:
    """The image with the truth's boxes in it."""
    axes.set_xticks([])
    axes.set_yticks([])
    if frame.image is None or frame.image_stamp_ns is None:
        axes.set_facecolor('#d8d8d8')
        axes.text(0.5, 0.5, 'no image near this radar frame', ha='center', va='center', transform=axes.transAxes)
        axes.set_title('camera', fontsize=10)
        return
    axes.imshow(frame.image)
    rows, columns = frame.image.shape[:2]
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    distance = (frame.image_stamp_ns - frame.stamp_ns) / 1e6 + image_offset_s * 1e3
    axes.set_title(f'camera {_clock(frame.image_stamp_ns)}, {distance:+.0f} ms from the radar', fontsize=10)
    if camera is None:
        return
    names = []
    for target in frame.truth or []:
        pixels, _ = camera.project(_box(target))
        if not target.in_camera_view or not np.all(np.isfinite(pixels)):
            continue
        bottom, top = pixels[:4], pixels[4:]
        for outline in (bottom, top, *np.stack([bottom, top], axis=1)):
            axes.plot(*outline[np.r_[: len(outline), 0]].T, color=_TRUTH, linewidth=1.2)
        middle = float(pixels[:, 0].min() + pixels[:, 0].max()) / 2
        names.append((float(pixels[:, 1].min()), middle, f'{_name(target)}, {target.range:.0f} m'))
    placed: list[tuple[float, float]] = []
    for v, u, text in sorted(names, reverse=True):
        # vehicles behind each other: the upper name gives way, upwards
        above = [other - 0.05 * rows for other, beside in placed if abs(beside - u) < 0.25 * columns]
        placed.append((min([v, *above]), u))
        _write(axes, text, u, placed[-1][0])


def _write(axes: 'Axes', text: str, x: float, y: float) -> None:
    """Text centred above a place, legible on any ground."""
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text,
        (x, y),
        (0, 3),
        textcoords='offset points',
        ha='center',
        va='bottom',
        fontsize=9,
        color=_TRUTH,
        annotation_clip=True,
        path_effects=[withStroke(linewidth=2, foreground='#101018')],
    )


def _footprint(target: Target) -> NDArray[np.float64]:
    """(4, 2) corners of the target's box from above, m."""
    length, width = (own or nominal for own, nominal in zip(target.size[:2], _NOMINAL_SIZE[:2], strict=True))
    heading = target.heading if math.isfinite(target.heading) else 0.0
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2 * (length, width)
    turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
    return corners @ turn.T + (target.x, target.y)


def _box(target: Target) -> NDArray[np.float64]:
    """(8, 3) corners of the target's box, m: the four at the bottom, where its position is, then the four above."""
    footprint = _footprint(target)
    levels = (target.z, target.z + (target.size[2] or _NOMINAL_SIZE[2]))
    return np.vstack([np.column_stack([footprint, np.full(4, level)]) for level in levels])


def _name(target: Target) -> str:
    return (target.label or 'target') + (f' {target.track_id}' if target.track_id else '')


def _clock(stamp_ns: int) -> str:
    """Time of day (UTC) of a wall-clock stamp, seconds of a simulated one."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    if seconds < 86_400 * 365:
        return f'{seconds + nanoseconds / 1e9:.3f} s'
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return f'{moment:%H:%M:%S}.{nanoseconds // 1_000_000:03d} UTC'


def save_picture(figure: Any, out: Path) -> None:
    """Write a matplotlib figure as a PNG, whole or not at all."""
    with replacing(out) as temporary:
        figure.savefig(temporary, format='png')
