# SPDX-License-Identifier: Apache-2.0
"""Draws the timing of a bag: intervals and gaps of both streams, how far apart pairs are, and the time offset."""

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from radio_visual_ssl.bags.contact_sheet import save_picture
from radio_visual_ssl.bags.inspection import Inspection, gaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RADAR, _CAMERA, _ALARM = '#b5541c', '#1f5fa8', '#c81e3a'


def draw_timing(inspection: Inspection, out: str | Path) -> None:
    """Draw a PNG.

    Args:
        inspection: of a bag with a radar topic.
        out: PNG file; replaced if it exists.

    Raises:
        ValueError: the inspection is of a bag without radar.
        OSError: the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if inspection.radar_topic is None:
        raise ValueError(f'{inspection.path}: expected a bag with a radar topic')
    figure = Figure(figsize=(13, 8), layout='constrained', dpi=90)
    FigureCanvasAgg(figure)
    figure.set_facecolor('white')
    (radar, pairs), (camera, offset) = figure.subplots(2, 2)
    _draw_intervals(radar, inspection, inspection.radar_topic, _RADAR)
    _draw_intervals(camera, inspection, inspection.image_topic, _CAMERA)
    _draw_pairs(pairs, inspection)
    _draw_offset(offset, inspection)
    figure.suptitle(f'{inspection.path.resolve().name}: timing', fontsize=13)
    save_picture(figure, Path(out))


def _draw_intervals(axes: 'Axes', inspection: Inspection, topic: str | None, colour: str) -> None:
    """Each interval over time, gaps marked."""
    if topic is None or inspection.stamps[topic].size < 2:
        _say(axes, 'no camera' if topic is None else f'{topic}: one message at most')
        return
    stamps = np.sort(inspection.stamps[topic])
    begin = min(int(values.min()) for values in inspection.stamps.values() if values.size)
    intervals, wide = gaps(stamps)
    time = (stamps[1:] - begin) / 1e9
    report = inspection.streams[topic]
    axes.plot(time[~wide], intervals[~wide] * 1e3, '.', color=colour, markersize=3)
    axes.plot(time[wide], intervals[wide] * 1e3, 'x', color=_ALARM, label='gap')
    axes.set_yscale('log' if wide.any() and intervals.max() > 5 * np.median(intervals) else 'linear')
    if axes.get_yscale() == 'linear':
        axes.set_ylim(0, max(2 * float(np.median(intervals)), 1.1 * float(intervals.max())) * 1e3 + 1e-3)
    jitter = '' if report.jitter_ms is None else f', jitter {report.jitter_ms:.2f} ms'
    rate = '' if report.rate_hz is None else f'{report.rate_hz:.2f} Hz'
    axes.set_title(f'{topic}: {rate}{jitter}, {report.gaps} gaps ({report.missing} missing)', fontsize=10)
    axes.set_xlabel('time, s')
    axes.set_ylabel('interval, ms')
    if wide.any():
        axes.legend(fontsize=8)


def _draw_pairs(axes: 'Axes', inspection: Inspection) -> None:
    """How far apart the two messages of each pair are."""
    total = inspection.pairs + inspection.unpaired
    title = f'{inspection.pairs} of {total} radar frames paired, {inspection.unpaired_images} images unpaired'
    axes.set_title(f'{title} (camera offset {inspection.image_offset_s:+.3f} s)', fontsize=10)
    if not inspection.differences.size:
        _say(axes, f'no image within {inspection.slop_s * 1e3:.0f} ms of any radar frame')
        return
    slop = inspection.slop_s * 1e3
    bins: Any = np.linspace(-slop, slop, 41) if slop > 0 else 20
    axes.hist(inspection.differences * 1e3, bins, color=_CAMERA)
    axes.axvline(0, color='black', linewidth=0.8)
    axes.set_xlabel('image minus radar frame, ms')
    axes.set_ylabel('pairs')


def _draw_offset(axes: 'Axes', inspection: Inspection) -> None:
    """Correlation over the offset, what chance reaches, and the estimate with its interval."""
    found = inspection.offset
    if found.lags_s is None or found.curve is None:
        axes.set_title('time offset of the camera', fontsize=10)
        _say(axes, found.reason or 'no estimate')
        return
    axes.plot(found.lags_s, found.curve, color='black', linewidth=1.2)
    if found.chance is not None:
        axes.axhline(found.chance, color=_ALARM, linestyle=':', label='reached by chance in 1 of 20 cases')
    if found.interval_s is not None:
        axes.axvspan(
            *found.interval_s,
            color=_CAMERA,
            alpha=0.25,
            label='95 % interval' if found.offset_s is not None else 'interval that it would have',
        )
    if found.offset_s is not None:
        axes.axvline(found.offset_s, color=_CAMERA, label='estimate')
    axes.axvline(inspection.image_offset_s, color='grey', linestyle='--', label='offset used for the pairs')
    if found.offset_s is not None and found.interval_s is not None:
        half = (found.interval_s[1] - found.interval_s[0]) / 2
        title = f'add {found.offset_s:+.3f} s (+- {half:.3f} s) to the camera'
    else:
        title = 'the offset of the camera cannot be told'
        axes.text(
            0.02,
            0.02,
            fill(found.reason, 75),
            ha='left',
            va='bottom',
            fontsize=8,
            transform=axes.transAxes,
            bbox={'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.8, 'pad': 2},
        )
    axes.set_title('\n'.join(part for part in (title, found.camera) if part), fontsize=10)
    axes.set_xlabel('seconds added to the stamps of the camera')
    axes.set_ylabel('correlation of changes')
    axes.legend(fontsize=8)


def _say(axes: 'Axes', text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, fill(text, 60), ha='center', va='center', transform=axes.transAxes)
