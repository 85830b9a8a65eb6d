# SPDX-License-Identifier: Apache-2.0
"""The classical localizer: background subtraction, CFAR detection and clustering of each heatmap by itself."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.background import Background, EwmaBackground, MedianBackground, usual_level
from radio_visual_ssl.radar.cfar import cfar
from radio_visual_ssl.radar.clustering import ClusterSettings, cluster, excess_power
from radio_visual_ssl.radar.grid import turned_towards
from radio_visual_ssl.radar.ground import targets_on_ground
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.plain_settings import Bounds, check_fields, load_settings
from radio_visual_ssl.radar.target import Target


@dataclass(frozen=True)
class CfarLocalizerSettings:
    """Settings of the CFAR localizer; the defaults suit a static radar that looks for what moves.

    Attributes:
        background: what is subtracted from each heatmap before detection; none for a radar that moves.
        background_frames: heatmaps that the background remembers (median: window, ewma: time constant).
        background_interval: median only, learn every n-th heatmap alone: a longer memory at the same cost.
        background_warmup: heatmaps that the background must have learned before there are any detections.
        method: kind of CFAR (cell averaging, greatest of, smallest of, order statistic).
        guard_cells: range and azimuth bins on each side of a cell that are left out.
        training_cells: range and azimuth bins beyond the guard cells that the noise is estimated from.
        probability_of_false_alarm: of each cell that holds noise alone; nominal on the strongest of several Doppler
            bins, whose noise is not exponential: there are far fewer then (5000 times fewer at 1e-2).
        rank: os only, share of the training cells below the order statistic.
        num_looks: independent looks that the heatmap's power is a sum of.
        min_range: m, nothing nearer is reported.
        max_range: m, nothing farther is reported; 0 = no limit.
        min_azimuth_deg: degrees, nothing further right is reported.
        max_azimuth_deg: degrees, nothing further left is reported.
        min_snr: dB above the noise around a target, its strongest cell.
        min_speed: m/s, radial speed below which a cell is not detected; needs velocities where it is not 0.
        merge_radius: m, detections closer to a stronger one become one target.
        extent_db: dB, cells this far below the peak of their target do not count as part of it.
        min_cells: detected cells a target has at least.
        sidelobe_rejection: dB, peaks this far below the strongest cell at their range are dropped; 0 = keep all.
        max_targets: targets in one heatmap; the strongest above noise are kept.
        extent_std: m, standard deviation of the strongest reflection's place around the target's centre, along x and
            along y, which the covariance includes; 0 = covariance of the reflecting point alone. Against the centres of
            the shipped parking lot's movers the median NEES (exact: 1.4) is 1.0 with 1 m, 1.7 with 0.7 m, 21 with 0 m.
        radar_height: m, of the radar above the middle of the targets, to take slant ranges to the ground; 0 = places
            are as the radar reads them.
        surface_to_centre: m, added along the range: returns come from the near side of a target.
        score_midpoint: dB, SNR that scores 0.5; the score is 1 / (1 + exp(-(SNR - score_midpoint) / score_slope)).
        score_slope: dB, the smaller the steeper.

    Raises:
        ValueError: a value of another type or out of range; the message names the field, what was expected and got.
    """

    background: Literal['none', 'median', 'ewma'] = 'median'
    background_frames: int = 50
    background_interval: int = 1
    background_warmup: int = 10
    method: Literal['ca', 'go', 'so', 'os'] = 'ca'
    guard_cells: tuple[int, int] = (3, 3)
    training_cells: tuple[int, int] = (8, 6)
    probability_of_false_alarm: float = 1e-4
    rank: float = 0.75
    num_looks: int = 1
    min_range: float = 0.0
    max_range: float = 0.0
    min_azimuth_deg: float = -180.0
    max_azimuth_deg: float = 180.0
    min_snr: float = 10.0
    min_speed: float = 0.0
    merge_radius: float = 4.0
    extent_db: float = 12.0
    min_cells: int = 2
    sidelobe_rejection: float = 15.0
    max_targets: int = 64
    extent_std: float = 1.0
    radar_height: float = 0.0
    surface_to_centre: float = 0.0
    score_midpoint: float = 15.0
    score_slope: float = 4.0

    def __post_init__(self) -> None:
        """Check types and ranges; lists become tuples and integers numbers where those are meant."""
        check_fields(self, BOUNDS)
        if self.max_range and self.max_range <= self.min_range:
            raise ValueError(f'max_range: expected more than min_range ({self.min_range:g} m), got {self.max_range:g}')
        if self.max_azimuth_deg <= self.min_azimuth_deg:
            raise ValueError(
                f'max_azimuth_deg: expected more than min_azimuth_deg ({self.min_azimuth_deg:g}),'
                f' got {self.max_azimuth_deg:g}'
            )
        if max(self.training_cells) == 0:
            raise ValueError('training_cells: expected at least one along one axis, got none')


# What a background has learned depends on these alone.
_LEARNING_SETTINGS = ('background', 'background_frames', 'background_interval')

BOUNDS: Bounds = {
    'background_frames': (1, 1000),
    'background_interval': (1, 1000),
    'background_warmup': (1, 1000),
    'guard_cells': (0, 200),
    'training_cells': (0, 200),
    'probability_of_false_alarm': (1e-15, 0.5),
    'rank': (0.01, 1.0),
    'num_looks': (1, 1024),
    'min_range': (0.0, None),
    'max_range': (0.0, None),
    'min_azimuth_deg': (-180.0, 180.0),
    'max_azimuth_deg': (-180.0, 180.0),
    'min_snr': (0.0, 100.0),
    'min_speed': (0.0, None),
    'merge_radius': (0.0, 100.0),
    'extent_db': (0.0, 100.0),
    'min_cells': (1, 10_000),
    'sidelobe_rejection': (0.0, 100.0),
    'max_targets': (1, 1000),
    'extent_std': (0.0, 100.0),
    'radar_height': (-100.0, 100.0),
    'surface_to_centre': (-10.0, 10.0),
    'score_midpoint': (-100.0, 100.0),
    'score_slope': (0.1, 100.0),
}
"""(minimum, maximum) of the number fields, of each element where a field has several; None = unbounded."""


def load_cfar_settings(name_or_path: str | Path) -> CfarLocalizerSettings:
    """Settings from a YAML file, a mapping of fields; those that it does not name keep their defaults.

    Args:
        name_or_path: 'static' for config/cfar/static.yaml, or the path of a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a mapping, an unknown field or a value out of range; the message names file and field.
    """
    return load_settings(CfarLocalizerSettings, name_or_path, 'cfar')


class CfarLocalizer:
    """Finds targets that stand out from the noise, and from the background where that is subtracted.

    With a background, detection works on the ratio of power and background, cell by cell: clutter and noise both stand
    at 0 dB there, and a target is found where it exceeds what the cell usually holds; its place is that of the power in
    excess of it. The background counts as no less than the noise floor (the heatmap's own, or else the lower quartile
    of the background), for a few quiet heatmaps would make a noisy cell look like a target later. There are no
    detections during the warm-up, nor after a change of grid until it is over again.

    Args:
        settings: see :class:`CfarLocalizerSettings`.
        previous: localizer of the same stream that this one replaces: its background is taken over, and goes on
            learning here, unless a setting of what is learned differs.
    """

    def __init__(
        self,
        settings: CfarLocalizerSettings = CfarLocalizerSettings(),
        previous: 'CfarLocalizer | None' = None,
    ) -> None:
        self._settings = settings
        self._background: Background | None = None
        if previous is not None and all(
            getattr(settings, name) == getattr(previous.settings, name) for name in _LEARNING_SETTINGS
        ):
            self._background = previous.background
        elif settings.background == 'median':
            self._background = MedianBackground(settings.background_frames, settings.background_interval)
        elif settings.background == 'ewma':
            self._background = EwmaBackground(1 / settings.background_frames)
        names = asdict(ClusterSettings())
        self._cluster_settings = ClusterSettings(**{name: getattr(settings, name) for name in names})

    @property
    def settings(self) -> CfarLocalizerSettings:
        """As given."""
        return self._settings

    @property
    def needs_velocity(self) -> bool:
        """Whether it refuses heatmaps without velocities."""
        return self._settings.min_speed > 0

    @property
    def background(self) -> Background | None:
        """What has been learned of the static scene; None without background subtraction."""
        return self._background

    def localize(self, heatmap: Heatmap) -> list[Target]:
        """Targets in the heatmap, highest score first.

        Raises:
            ValueError: cells that are NaN or infinite, velocities that the settings need and the heatmap lacks, or a
                CFAR window that is wider than the circle of azimuths.
        """
        settings, grid = self._settings, heatmap.grid
        heatmap.check_finite()
        if self.needs_velocity and heatmap.velocity is None:
            raise ValueError(
                f'heatmap: expected velocities, for min_speed is {settings.min_speed:g} m/s, got a heatmap without'
            )
        values, excess = heatmap.values, None
        if self._background is not None:
            level = self._background.level
            self._background.update(heatmap)
            if level is None or self._background.count <= settings.background_warmup:
                return []
            usual = usual_level(heatmap, level)
            excess = excess_power(values, usual)
            values = values - usual
        # Relative to the strongest cell, power cannot overflow.
        power = np.exp((values - values.max()) * np.float32(np.log(10) / 10))
        result = cfar(
            power,
            guard_cells=settings.guard_cells,
            training_cells=settings.training_cells,
            probability_of_false_alarm=settings.probability_of_false_alarm,
            method=settings.method,
            wrap=(False, grid.wraps),
            num_looks=settings.num_looks,
            rank=settings.rank,
            everywhere=False,
        )
        detections = result.detections & self._within_limits(heatmap)
        # Where the noise is nothing at all, a target's SNR has no meaning.
        detections &= result.noise > 0
        targets = cluster(
            power,
            result.noise,
            detections,
            grid,
            settings=self._cluster_settings,
            velocity=heatmap.velocity,
            excess=excess,
        )
        return targets_on_ground(
            targets, settings.radar_height, settings.surface_to_centre, settings.extent_std, cone=grid.reads_cone_angles
        )

    def reset(self) -> None:
        """Forget the background: the stream jumped or the radar moved."""
        if self._background is not None:
            self._background.reset()

    def _within_limits(self, heatmap: Heatmap) -> NDArray[np.bool_]:
        """(R, A) or broadcast to it: cells in which a target may be reported."""
        settings, grid = self._settings, heatmap.grid
        near_enough = grid.range <= settings.max_range if settings.max_range else True
        rows = (grid.range >= settings.min_range) & near_enough
        azimuth_deg = np.degrees(turned_towards(grid.azimuth))
        columns = (azimuth_deg >= settings.min_azimuth_deg) & (azimuth_deg <= settings.max_azimuth_deg)
        within = rows[:, None] & columns
        if settings.min_speed > 0 and heatmap.velocity is not None:
            within &= np.abs(heatmap.velocity) >= settings.min_speed
        return within
