# SPDX-License-Identifier: Apache-2.0
"""What the demo comes to: its localizers judged on bags that nothing was learned from, as a table and a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from radio_visual_ssl.bags.reader import BagReader, Frame
from radio_visual_ssl.evaluation.metrics import Metrics, camera_sector
from radio_visual_ssl.evaluation.pictures import draw_panels, save_figure
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.learning.attention_picture import draw_attention_panels
from radio_visual_ssl.learning.contrastive_model import ContrastiveModel
from radio_visual_ssl.learning.label_set import LabelSet, RecordingLabels
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.radar.localizer import Localizer, WithholdingLocalizer
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIT_DISTANCE = 1.0
"""m, from a target's footprint."""

WARM_UP = 10
"""Frames at the start of each bag that are not judged: CFAR's background has to be known first."""

MAX_RANGE = 50.0
"""m, shown in the picture."""

RATE = '0.1'
"""False alarms per frame at which the localizers are compared, each with the threshold that makes as many."""

COLUMNS = (
    'recall',
    'precision',
    'false alarms\nper frame',
    'median\nerror (m)',
    'AP',
    f'recall at {RATE}\nfalse per frame',
    'error (m) at\nthat rate',
)


@dataclass(frozen=True, eq=False)
class Judged:
    """What localizers found in bags with ground truth.

    Attributes:
        metrics: of each localizer, over all bags.
        frame: the one with the most targets in the camera's view.
        detections: of each localizer in that frame.
        camera: whose view it is.
    """

    metrics: dict[str, Metrics]
    frame: Frame
    detections: dict[str, list[Target]]
    camera: CameraModel | None


def judge(bags: Sequence[Path], localizers: Mapping[str, Localizer]) -> Judged:
    """Runs localizers over bags, each from a fresh start, and sums up what they find.

    Args:
        bags: with ground truth and images.
        localizers: by name.

    Raises:
        ValueError: no frame with targets and an image.
    """
    tallies = {name: Tally('camera', HIT_DISTANCE) for name in localizers}
    fullest: tuple[Frame, dict[str, list[Target]], CameraModel | None] | None = None
    most = 0
    for bag in bags:
        reader = BagReader(bag)
        for localizer in localizers.values():
            localizer.reset()
        camera = sector = None
        for number, frame in enumerate(reader.frames()):
            found, withheld = {}, {}
            for name, localizer in localizers.items():
                if isinstance(localizer, WithholdingLocalizer):
                    found[name], withheld[name] = localizer.localize_all(frame.heatmap)
                else:
                    found[name] = localizer.localize(frame.heatmap)
            if number == 0:
                camera = reader.camera(radar_frame=frame.frame_id)
                sector = None if camera is None else camera_sector(camera)
            if number < WARM_UP or frame.truth is None:
                continue
            for name, tally in tallies.items():
                tally.add(found[name], frame.truth, sector, withheld.get(name, ()))
            targets = sum(target.in_camera_view for target in frame.truth)
            if frame.image is not None and targets > most:
                fullest, most = (frame, found, camera), targets
    if fullest is None:
        raise ValueError(f'{", ".join(str(bag) for bag in bags)}: expected a frame with targets and an image, got none')
    return Judged({name: tally.metrics() for name, tally in tallies.items()}, *fullest)


def rows_of(metrics: Mapping[str, Metrics]) -> list[list[str]]:
    """The figures of each localizer as text, in the order of `COLUMNS` behind its name; >=: a lower bound."""
    rows = []
    for name, of in metrics.items():
        point = of.at_false_per_frame[RATE]
        figures = (of.recall, of.precision, of.false_per_frame, of.median_error_m, of.ap_2m)
        figures += (point.recall, point.median_error_m)
        texts = ['-' if value is None else f'{value:.2f}' for value in figures]
        if point.bound:
            texts[-2] = f'>= {texts[-2]}'
        rows.append([name, *texts])
    return rows


def most_labelled(recordings: Sequence[Recording], labels: LabelSet) -> tuple[Recording, RecordingLabels, int]:
    """The frame with the most labels that were kept: its recording, the labels of that, and its number.

    Raises:
        ValueError: no label was kept.
    """
    best: tuple[tuple[int, float], Recording, RecordingLabels, int] | None = None
    for recording in recordings:
        of = labels.of(recording)
        for frame in np.unique(of.frame[of.kept]):
            chosen = of.of_frame(int(frame))
            rank = (int(of.kept[chosen].sum()), float(of.confidence[chosen].min()))
            if best is None or rank > best[0]:
                best = rank, recording, of, int(frame)
    if best is None:
        raise ValueError('labels: expected at least one that was kept, got none')
    return best[1], best[2], best[3]


def draw_story(
    taught: tuple[Recording, RecordingLabels, int],
    model: ContrastiveModel,
    judged: Judged,
    shown: str,
    out: Path,
) -> Path:
    """Draws what taught the radar, above what it then finds alone, above the figures.

    Args:
        taught: a labelled frame, see `most_labelled`.
        model: whose attention the labels began with.
        judged: the localizers' results.
        shown: name of the localizer whose detections are shown.
        out: path of the PNG; replaced atomically.

    Returns:
        The path written.
    """
    figure = Figure(figsize=(13.2, 12.6), dpi=100, layout='constrained', facecolor='white')
    upper, lower, below = figure.subfigures(3, 1, height_ratios=[6, 6, 1.6])
    upper.suptitle('What teaches: camera and radar of a training scene, nobody labels anything', fontsize=13)
    panels = upper.add_gridspec(1, 2, width_ratios=[1.12, 1])
    recording, labels, frame = taught
    draw_attention_panels(
        upper.add_subplot(panels[0]), upper.add_subplot(panels[1]), recording, frame, model, labels, MAX_RANGE
    )
    lower.suptitle(
        f'What is learned: {shown} localizer, on a scene never seen before, from the radar alone', fontsize=13
    )
    panels = lower.add_gridspec(1, 2, width_ratios=[1.12, 1])
    draw_panels(
        lower.add_subplot(panels[0]),
        lower.add_subplot(panels[1]),
        np.asarray(judged.frame.image),
        judged.frame.heatmap,
        judged.detections[shown],
        judged.frame.truth,
        judged.camera,
        hit_distance=HIT_DISTANCE,
        max_range=MAX_RANGE,
    )
    _draw_figures(below.add_subplot(), judged.metrics)
    return save_figure(figure, out)


def _draw_figures(axes: 'Axes', metrics: Mapping[str, Metrics]) -> None:
    axes.set_axis_off()
    table = axes.table(
        cellText=rows_of(metrics),
        colLabels=['test scenes', *COLUMNS],
        colWidths=[0.16, *[0.84 / len(COLUMNS)] * len(COLUMNS)],
        loc='center',
        cellLoc='center',
        edges='horizontal',
    )
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    table.scale(1.0, 1.5)
    for (row, _), cell in table.get_celld().items():
        if row == 0:
            cell.set_text_props(fontweight='bold')
            cell.set_height(1.8 * cell.get_height())
