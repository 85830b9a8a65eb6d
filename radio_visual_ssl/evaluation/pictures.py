# SPDX-License-Identifier: Apache-2.0
"""Pictures of what a localizer saw and found: camera and heatmap with detections against truth.

The colours are those of Okabe and Ito (distinct for colour-blind readers, https://jfly.uni-koeln.de/color/); every
kind of mark has its own shape as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.evaluation.metrics import (
    HIT_DISTANCE,
    FrameMatch,
    Metrics,
    View,
    camera_sector,
    is_counted,
    match_frame,
)
from radio_visual_ssl.radar.grid import CartesianGrid, polar_to_cartesian, turned_towards
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel
from radio_visual_ssl.whole_file import replacing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame

FOUND, MISSED, OUTSIDE = '#56B4E9', '#E69F00', '#BBBBBB'
HIT, FALSE_ALARM, IGNORED = '#F0E442', '#D55E00', '#BBBBBB'
ROWS_OF_TOP_VIEW = 600
_BACKWARDS = -0.02  # cosine of the azimuth from which on what lies behind is drawn, too
_REFERENCES = {
    Reference.ARBITRARY: 'dB',
    Reference.NOISE_FLOOR: 'dB above the noise floor',
    Reference.FULL_SCALE: 'dB below full scale',
    Reference.MILLIWATT: 'dBm',
    Reference.RCS: 'dBsm',
}
_BOX_EDGES = ((0, 1), (1, 3), (3, 2), (2, 0), (4, 5), (5, 7), (7, 6), (6, 4), (0, 4), (1, 5), (2, 6), (3, 7))
_MARKS: dict[str, dict[str, Any]] = {
    'hit': {'marker': 'o', 'markersize': 8, 'markerfacecolor': HIT, 'markeredgecolor': 'black'},
    'false': {'marker': 'X', 'markersize': 9, 'markerfacecolor': FALSE_ALARM, 'markeredgecolor': 'white'},
    'ignored': {'marker': 'P', 'markersize': 7, 'markerfacecolor': IGNORED, 'markeredgecolor': 'black'},
}


def draw_frame(
    image: NDArray[np.uint8] | None,
    heatmap: Heatmap,
    detections: Sequence[Target],
    truth: Sequence[Target] | None,
    camera: CameraModel | None = None,
    *,
    out: str | Path,
    view: View = 'camera',
    hit_distance: float = HIT_DISTANCE,
    metrics: Metrics | Mapping[str, Metrics] | None = None,
    title: str = '',
    max_range: float | None = None,
    decibels: tuple[float, float] | None = None,
) -> Path:
    """Draws one frame as a PNG: the camera's view, the heatmap from above (far up, left left) and a table of figures.

    Args:
        image: (H, W, 3) uint8 rgb; None leaves the panel out.
        heatmap: of the radar.
        detections: of the localizer.
        truth: ground truth; None where there is none.
        camera: projects boxes and detections into the image; None: the image stays plain.
        out: path of the PNG; replaced atomically, its folder is made.
        view: which targets count as missed, see `radio_visual_ssl.evaluation.metrics`.
        hit_distance: m from a target's footprint.
        metrics: figures for the table, of one localizer or of several by name.
        title: of the picture.
        max_range: m shown; None = the whole grid.
        decibels: limits of the colour scale; None = from the values.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    judged = _Judged.of(detections, truth, camera, view, hit_distance)
    figure = Figure(
        figsize=(13.2, 6.6 if metrics is not None else 5.6), dpi=100, layout='constrained', facecolor='white'
    )
    beside = image is not None or metrics is not None
    panels = figure.add_gridspec(2, 2 if beside else 1, width_ratios=[1.12, 1] if beside else [1], height_ratios=[4, 1])
    if image is not None:
        _draw_camera(figure.add_subplot(panels[0, 0] if metrics is not None else panels[:, 0]), image, judged)
    if metrics is not None:
        _draw_table(figure.add_subplot(panels[1 if image is not None else slice(None), 0]), metrics)
    _draw_top_view(figure.add_subplot(panels[:, -1]), heatmap, judged, max_range, decibels)
    if title:
        figure.suptitle(title, fontsize=13)
    return save_figure(figure, out)


def draw_panels(
    camera_axes: 'Axes',
    top_axes: 'Axes',
    image: NDArray[np.uint8],
    heatmap: Heatmap,
    detections: Sequence[Target],
    truth: Sequence[Target] | None,
    camera: CameraModel | None = None,
    *,
    view: View = 'camera',
    hit_distance: float = HIT_DISTANCE,
    max_range: float | None = None,
) -> None:
    """Draws the two panels of `draw_frame`, whose arguments these are, into axes of a larger picture."""
    judged = _Judged.of(detections, truth, camera, view, hit_distance)
    _draw_camera(camera_axes, image, judged)
    _draw_top_view(top_axes, heatmap, judged, max_range, None)


def draw_example(
    frame: 'EvaluatedFrame',
    out: str | Path,
    *,
    view: View = 'camera',
    hit_distance: float = HIT_DISTANCE,
    title: str = '',
) -> Path:
    """Draws what each localizer found in one frame: a row for each with the two panels of `draw_frame`.

    Args:
        frame: as evaluated; without an image there is the heatmap alone.
        out: path of the PNG; replaced atomically, its folder is made.
        view: which targets count as missed.
        hit_distance: m from a target's footprint.
        title: of the picture.

    Returns:
        The path written.
    """
    from matplotlib.figure import Figure

    image, rows = frame.frame.image, len(frame.detections)
    marks = [target for target in frame.frame.truth or [] if is_counted(target, view)]
    marks += [detection for match in frame.matches.values() for detection in match.false]
    # a fifth beyond what is judged, but not so near that nothing of the scene is seen
    far = max(30.0, *(1.2 * mark.range for mark in marks)) if marks else None
    figure = Figure(
        figsize=(13.2 if image is not None else 7.4, 5.4 * rows), dpi=80, layout='constrained', facecolor='white'
    )
    rows_of = np.atleast_1d(np.array(figure.subfigures(rows, 1)))
    for part, (name, detections) in zip(rows_of, frame.detections.items(), strict=True):
        judged = _Judged.of(detections, frame.frame.truth, frame.camera, view, hit_distance)
        panels = part.add_gridspec(1, 1 if image is None else 2, width_ratios=None if image is None else [1.12, 1])
        if image is not None:
            _draw_camera(part.add_subplot(panels[0]), image, judged)
        _draw_top_view(part.add_subplot(panels[-1]), frame.frame.heatmap, judged, far, None)
        part.suptitle(name, fontsize=12, fontweight='bold')
    if title:
        figure.suptitle(title, fontsize=13)
    return save_figure(figure, out)


def table_rows(metrics: Metrics | Mapping[str, Metrics]) -> list[list[str]]:
    """A header and one row for each localizer, the figures as text; a dash where one is undefined."""
    named = {'': metrics} if isinstance(metrics, Metrics) else dict(metrics)
    header = ['', 'frames', 'targets', 'recall', 'precision', 'false/frame', 'median m', 'p90 m', 'footprint m', 'AP']
    rows = [
        [
            name,
            str(entry.frames),
            str(entry.targets),
            *(
                '-' if value is None else f'{value:.2f}'
                for value in (
                    entry.recall,
                    entry.precision,
                    entry.false_per_frame,
                    entry.median_error_m,
                    entry.p90_error_m,
                    entry.median_footprint_error_m,
                    entry.ap_2m,
                )
            ),
        ]
        for name, entry in named.items()
    ]
    return [header, *rows] if any(row[0] for row in rows) else [row[1:] for row in (header, *rows)]


@dataclass(frozen=True, eq=False)
class _Judged:
    """The marks of one picture and how they look.

    Attributes:
        detections, truth, camera, view: as in `draw_frame`.
        match: None where there is no ground truth.
    """

    detections: Sequence[Target]
    truth: Sequence[Target]
    camera: CameraModel | None
    view: View
    match: FrameMatch | None

    @classmethod
    def of(
        cls,
        detections: Sequence[Target],
        truth: Sequence[Target] | None,
        camera: CameraModel | None,
        view: View,
        hit_distance: float = HIT_DISTANCE,
    ) -> '_Judged':
        sector = camera_sector(camera) if view == 'camera' and camera is not None else None
        how: Any = {'view': view, 'in_sector': sector, 'hit_distance': hit_distance}
        match = None if truth is None else match_frame(detections, truth, **how)
        return cls(detections, truth or [], camera, view, match)

    def detection_style(self, detection: Target) -> dict[str, Any]:
        if self.match is None or any(detection is hit for hit, _ in self.match.hits):
            return _MARKS['hit']
        return _MARKS['false' if any(detection is false for false in self.match.false) else 'ignored']

    def truth_style(self, target: Target) -> dict[str, Any]:
        if self.match is None or not is_counted(target, self.view):
            return {'color': OUTSIDE, 'linestyle': ':', 'linewidth': 1.2}
        if any(target is found for _, found in self.match.hits):
            return {'color': FOUND, 'linestyle': '-', 'linewidth': 1.8}
        return {'color': MISSED, 'linestyle': '--', 'linewidth': 1.8}


def _draw_camera(axes: 'Axes', image: NDArray[np.uint8], judged: _Judged) -> None:
    camera, truth = judged.camera, judged.truth
    height, width = image.shape[:2]
    axes.imshow(image, aspect='equal')
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    axes.set_title('camera', fontsize=11, loc='left')
    if camera is None:
        return
    for target in truth:
        pixels, _ = camera.project(_corners(target))
        if np.all(np.isfinite(pixels)):
            style = judged.truth_style(target)
            for a, b in _BOX_EDGES:
                axes.plot(*pixels[[a, b]].T, **style)
    # a detection has no height: a short pole from the ground, where the truth tells how deep that is
    ground = float(np.median([target.z for target in truth])) if truth else None
    for detection in judged.detections:
        base = detection.z if ground is None else ground
        foot = [(detection.x, detection.y, base), (detection.x, detection.y, base + 1.0)]
        pixels, _ = camera.project(foot)
        if np.all(np.isfinite(pixels)):
            style = judged.detection_style(detection)
            axes.plot(*pixels.T, color=style['markerfacecolor'], linewidth=1.5)
            axes.plot(*pixels[1], **style)


def _draw_top_view(
    axes: 'Axes',
    heatmap: Heatmap,
    judged: _Judged,
    max_range: float | None,
    decibels: tuple[float, float] | None,
) -> None:
    camera = judged.camera
    grid = heatmap.grid
    far = min(max_range or np.inf, float(grid.range[-1]))
    all_behind = float(np.max(np.cos(grid.azimuth))) <= 0
    directions = grid.azimuth if camera is None or all_behind else _sector_azimuths(camera)
    back = -far if np.min(np.cos(directions)) < _BACKWARDS else 0.0
    side = far * float(np.sin(min(np.max(np.abs(turned_towards(grid.azimuth))), np.pi / 2)))
    if camera is not None:
        # the camera's sector and a margin, and of a wide one the middle: the empty rest would make the picture small
        widest = float(np.max(np.abs(_sector_azimuths(camera))))
        sector = far * float(np.sin(min(widest + np.radians(10), np.pi / 2)))
        near = [target for target in (*judged.detections, *judged.truth) if target.range <= far]
        side = min(side, sector, max(0.65 * far, *(1.1 * abs(target.y) for target in near), 0.0))
    cell = far / ROWS_OF_TOP_VIEW
    rows, columns = (max(round(extent / cell), 1) for extent in (far - back, 2 * side))
    places = CartesianGrid(back + cell / 2, -side + cell / 2, (rows, columns), cell)
    values = np.ma.masked_invalid(polar_to_cartesian(heatmap.values, grid, places))[:, ::-1]
    limits = decibels or tuple(np.quantile(values.compressed(), (0.5, 0.9995)))
    picture = axes.imshow(
        values,
        origin='lower',
        extent=(side, -side, back, far),
        cmap='magma',
        vmin=limits[0],
        vmax=max(limits[1], limits[0] + 1),
        interpolation='nearest',
        aspect='equal',
    )
    axes.figure.colorbar(picture, ax=axes, shrink=0.8, label=_REFERENCES[heatmap.reference])
    axes.set_facecolor('0.93')
    if camera is not None:
        _draw_sector(axes, camera, far)
    for target in judged.truth:
        corners = _corners(target)[[0, 1, 3, 2, 0]]
        style = judged.truth_style(target)
        axes.plot(corners[:, 1], corners[:, 0], **style)
        if target.size[0] <= 0:
            axes.plot(target.y, target.x, 's', color=style['color'], fillstyle='none', markersize=9)
    for detection in judged.detections:
        style = judged.detection_style(detection)
        axes.plot(detection.y, detection.x, **style)
        if style is _MARKS['ignored']:
            continue
        axes.annotate(
            f'{detection.score:.2f}',
            (detection.y, detection.x),
            xytext=(7, 5),
            textcoords='offset points',
            color='white',
            fontsize=8,
        )
    axes.set(xlim=(side, -side), ylim=(back, far), xlabel='left (m)', ylabel='forward (m)')
    axes.set_title('radar heatmap from above', fontsize=11, loc='left')
    _draw_legend(axes, judged.match)


def _draw_sector(axes: 'Axes', camera: CameraModel, far: float) -> None:
    """The borders of the camera's view on the ground."""
    eye = -camera.rotation.T @ camera.translation
    for azimuth in _sector_azimuths(camera):
        end = eye[:2] + 2 * far * np.array([np.cos(azimuth), np.sin(azimuth)])
        axes.plot([eye[1], end[1]], [eye[0], end[0]], color='white', linewidth=0.8, alpha=0.6)


def _sector_azimuths(camera: CameraModel) -> NDArray[np.float64]:
    """(2,) rad, directions through the left and the right border of the image at half its height."""
    rays = camera.rays([[-0.5, camera.height / 2], [camera.width - 0.5, camera.height / 2]])
    return np.arctan2(rays[:, 1], rays[:, 0])


def _draw_legend(axes: 'Axes', match: FrameMatch | None) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], linestyle='none', **_MARKS['hit'], label='detection')]
    if match is not None:
        lines: Any = (
            ('target, found', FOUND, '-', len(match.hits)),
            ('target, missed', MISSED, '--', len(match.misses)),
        )
        marks = [Line2D([], [], color=colour, linestyle=style, linewidth=2, label=f'{label} ({count})')
                 for label, colour, style, count in lines]  # fmt: skip
        counts = (('hit', 'detection, hit', match.hits), ('false', 'false alarm', match.false),
                  ('ignored', 'outside the view', match.ignored))  # fmt: skip
        marks += [
            Line2D([], [], linestyle='none', **_MARKS[kind], label=f'{label} ({len(entries)})')
            for kind, label, entries in counts
            if entries or kind != 'ignored'
        ]
    legend_below(axes, marks)


def legend_below(axes: 'Axes', handles: Sequence['Artist']) -> None:
    """Draws a legend below all axes of the (sub)figure, where it hides nothing; its layout has to be constrained."""
    axes.figure.legend(handles=handles, loc='outside lower right', fontsize=8, ncols=len(handles), frameon=False)


def _draw_table(axes: 'Axes', metrics: Metrics | Mapping[str, Metrics]) -> None:
    header, *rows = table_rows(metrics)
    named = header[0] == ''
    widths = [0.13 if named and column == 0 else 0.87 / (len(header) - named) for column in range(len(header))]
    labels = [label.replace(' ', '\n', 1).replace('/', '/\n') for label in header]
    axes.set_axis_off()
    table = axes.table(
        cellText=rows, colLabels=labels, colWidths=widths, loc='center', cellLoc='center', edges='horizontal'
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8.5)
    table.scale(1.0, 1.4)
    for (row, _), cell in table.get_celld().items():
        if row == 0:
            cell.set_height(1.7 * cell.get_height())
            cell.set_text_props(fontweight='bold')


def _corners(target: Target) -> NDArray[np.float64]:
    """(8, 3) m, corners of the box that stands on a target's position; the first four are the footprint."""
    length, width, height = target.size
    heading = target.heading if np.isfinite(target.heading) else 0.0
    forward, left, up = (np.array([-0.5, 0.5]) * length, np.array([-0.5, 0.5]) * width, np.array([0.0, height]))
    x, y, z = forward[[0, 1, 0, 1] * 2], left[[0, 0, 1, 1] * 2], up[[0] * 4 + [1] * 4]
    cosine, sine = np.cos(heading), np.sin(heading)
    return np.column_stack([target.x + cosine * x - sine * y, target.y + sine * x + cosine * y, target.z + z])


def save_figure(figure: 'Figure', out: str | Path) -> Path:
    """Writes a PNG so that the file is either the old one or complete; returns its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(out)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
    return path
