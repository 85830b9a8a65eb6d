# SPDX-License-Identifier: Apache-2.0
"""A quick look at a raw capture: heatmap, range-Doppler map and the strongest movers, as figures and as a picture."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.capture import load_capture
from radio_visual_ssl.radar.cube import canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer, RangeDopplerMap
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.movers import Mover, strongest_movers
from radio_visual_ssl.radar.profile import RadarProfile, load_profile
from radio_visual_ssl.whole_file import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARK = '#F0E442'


@dataclass(frozen=True, eq=False)
class QuickLook:
    """What one frame of a capture shows.

    Attributes:
        source: the capture file.
        frame: index of the frame in it.
        profile: of the radar.
        heatmap: range and azimuth.
        range_doppler: range and velocity.
        movers: strongest first.
    """

    source: Path
    frame: int
    profile: RadarProfile
    heatmap: Heatmap
    range_doppler: RangeDopplerMap
    movers: list[Mover]

    def to_json(self) -> dict[str, Any]:
        """``movers`` (strongest first: range_m, azimuth_deg, velocity_m_s, snr_db), ``radar`` and ``frame``."""
        return {
            'radar': self.profile.name,
            'frame': self.frame,
            'movers': [
                {
                    'range_m': round(mover.range, 4),
                    'azimuth_deg': round(math.degrees(mover.azimuth), 3),
                    'velocity_m_s': round(mover.velocity, 4),
                    'snr_db': round(mover.snr, 2),
                }
                for mover in self.movers
            ],
        }


def quick_look(
    path: str | Path,
    radar: str | Path | RadarProfile,
    settings: FormationSettings | None = None,
    *,
    frame: int = 0,
    count: int = 5,
    min_velocity: float | None = None,
) -> QuickLook:
    """Everything about one frame of a raw capture; what stands still is removed before movers are looked for.

    Args:
        path: ``.npy`` or DCA1000 ``.bin`` file, see `radio_visual_ssl.radar.capture.load_capture`.
        radar: a profile, its name in config/radars/, or the path of one.
        settings: of the formation.
        frame: index in the file.
        count: at most so many movers.
        min_velocity: m/s; see `strongest_movers`.

    Raises:
        ProfileError, CaptureError, CubeError, ValueError: bad profile, file, samples or settings.
    """
    profile = radar if isinstance(radar, RadarProfile) else load_profile(radar)
    # for a single frame it does not pay to plan transforms
    settings = settings or FormationSettings(transform='scipy')
    former = HeatmapFormer(profile, settings)
    mover_former = HeatmapFormer(profile, dataclasses.replace(settings, clutter_removal='static'))
    cube = canonical(load_capture(path, profile, frame), profile)
    return QuickLook(
        Path(path),
        frame,
        profile,
        former.form(cube),
        former.range_doppler(cube),
        strongest_movers(cube, mover_former, count, min_velocity=min_velocity),
    )


def draw_quick_look(look: QuickLook, out: str | Path) -> Path:
    """Draws the heatmap from above (far up, left left), the range-Doppler map and a table of the movers.

    Args:
        look: what to draw.
        out: path of the PNG; replaced atomically, its folder is made.

    Returns:
        The path written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 6.6), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(f'{look.source.name}, frame {look.frame}, radar {look.profile.name}', fontsize=13)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.2, 1), height_ratios=(3, 1))
    _draw_top_view(figure.add_subplot(grid[0, 0]), look)
    _draw_table(figure.add_subplot(grid[1, 0]), look.movers)
    _draw_range_doppler(figure.add_subplot(grid[:, 1]), look)
    out = Path(out)
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=110, format='png')
    return out


def _draw_top_view(axes: 'Axes', look: QuickLook) -> None:
    """The heatmap on the ground, each bin where it is."""
    heatmap = look.heatmap
    reach = heatmap.grid.range[-1]
    range_edges = np.maximum(_edges(heatmap.grid.range), 0)
    sine_edges = np.clip(_edges(np.sin(heatmap.grid.azimuth)), -1, 1)
    azimuth_edges = np.arcsin(sine_edges)
    x = range_edges[:, None] * np.cos(azimuth_edges)
    y = range_edges[:, None] * np.sin(azimuth_edges)
    low, high = _limits(heatmap.values)
    mesh = axes.pcolormesh(y, x, heatmap.values, cmap='viridis', vmin=low, vmax=high, rasterized=True)
    axes.set_aspect('equal')
    axes.set_xlim(y.max(), y.min())
    axes.set_ylim(0, reach)
    axes.set_xlabel('y, left (m)')
    axes.set_ylabel('x, forward (m)')
    axes.set_title('Heatmap from above', fontsize=11)
    for radius in axes.get_yticks():
        if 0 < radius < reach:
            arc = np.linspace(azimuth_edges[0], azimuth_edges[-1], 181)
            axes.plot(radius * np.sin(arc), radius * np.cos(arc), color='white', alpha=0.25, linewidth=0.7)
    for degrees in (-60, -30, 0, 30, 60):
        angle = math.radians(degrees)
        if azimuth_edges[0] <= angle <= azimuth_edges[-1]:
            axes.plot([0, reach * math.sin(angle)], [0, reach * math.cos(angle)], color='white', alpha=0.25, lw=0.7)
    _mark(
        axes, [(mover.range * math.sin(mover.azimuth), mover.range * math.cos(mover.azimuth)) for mover in look.movers]
    )
    _colour_bar(axes, mesh, heatmap.reference)


def _draw_range_doppler(axes: 'Axes', look: QuickLook) -> None:
    scan = look.range_doppler
    if scan.velocity.size < 2:
        axes.axis('off')
        axes.text(0.5, 0.5, 'one symbol only: no velocity', ha='center', va='center')
        return
    low, high = _limits(scan.values)
    mesh = axes.pcolormesh(
        _edges(scan.velocity), _edges(scan.range), scan.values, cmap='viridis', vmin=low, vmax=high, rasterized=True
    )
    axes.set_ylim(0, scan.range[-1])
    axes.set_xlabel('radial velocity (m/s), positive = receding')
    axes.set_ylabel('range (m)')
    axes.set_title('Range-Doppler map', fontsize=11)
    _mark(axes, [(mover.velocity, mover.range) for mover in look.movers])
    _colour_bar(axes, mesh, scan.reference)


def _draw_table(axes: 'Axes', movers: list[Mover]) -> None:
    axes.axis('off')
    if not movers:
        axes.text(0.5, 0.5, 'no movers above the noise', ha='center', va='center')
        return
    rows = [
        [
            str(number),
            f'{mover.range:.2f}',
            f'{math.degrees(mover.azimuth):+.1f}',
            f'{mover.velocity:+.2f}',
            f'{mover.snr:.1f}',
        ]
        for number, mover in enumerate(movers, 1)
    ]
    titles = ['mover', 'range (m)', 'azimuth (deg, left +)', 'velocity (m/s)', 'SNR (dB)']
    table = axes.table(rows, colLabels=titles, colWidths=[0.12, 0.18, 0.3, 0.22, 0.18], cellLoc='center', loc='center')
    table.auto_set_font_size(False)
    table.set_fontsize(9.5)
    table.scale(1, 1.25)
    for cell in table.get_celld().values():
        cell.set_edgecolor('#CCCCCC')


def _mark(axes: 'Axes', places: list[tuple[float, float]]) -> None:
    """Numbered discs, the first on top."""
    for number, place in reversed(list(enumerate(places, 1))):
        axes.text(
            *place,
            str(number),
            ha='center',
            va='center',
            fontsize=8,
            fontweight='bold',
            clip_on=True,
            zorder=10 - number / 100,
            bbox={'boxstyle': 'circle,pad=0.25', 'facecolor': MARK, 'edgecolor': 'black', 'linewidth': 1.0},
        )


def _colour_bar(axes: 'Axes', mesh: Any, reference: Reference) -> None:
    label = 'dB above the noise floor' if reference == Reference.NOISE_FLOOR else 'dB'
    axes.figure.colorbar(mesh, ax=axes, label=label, shrink=0.9, pad=0.02)


def _edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bin edges half-way between the centres, and as far beyond the outer ones."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _limits(values: NDArray[np.float32]) -> tuple[float, float]:
    """Colour limits: from the noise to just below the strongest cells, so that a single leak does not darken all."""
    low, high = np.percentile(values, [30, 99.9])
    return float(low), float(max(high, low + 10))
