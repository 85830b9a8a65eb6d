# SPDX-License-Identifier: Apache-2.0
"""The simplest localizer: the strongest peaks of a heatmap from which the background is subtracted. A baseline."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radio_visual_ssl.radar.background import MedianBackground, usual_level
from radio_visual_ssl.radar.clustering import ClusterSettings, cluster, excess_power
from radio_visual_ssl.radar.ground import targets_on_ground
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.plain_settings import Bounds, check_fields, load_settings
from radio_visual_ssl.radar.target import Target


@dataclass(frozen=True)
class PeakLocalizerSettings:
    """Settings of the peak localizer.

    Attributes:
        background_frames: heatmaps whose median is the background.
        background_interval: learn every n-th heatmap alone: a longer memory at the same cost.
        background_warmup: heatmaps that the background must have learned before there are any detections.
        threshold: dB above the background, and above the noise floor, that a peak has at least.
        max_targets: in one heatmap; the strongest are kept.
        separation: m; a peak nearer to a stronger one is dropped.
        min_range: m, nothing nearer is reported.
        max_range: m, nothing farther is reported; 0 = no limit.
        extent_std: m, see `CfarLocalizerSettings`.
        radar_height: m, of the radar above the middle of the targets, to take slant ranges to the ground; 0 = places
            are as the radar reads them.
        surface_to_centre: m, added along the range: returns come from the near side of a target.
        score_midpoint: dB above the background that score 0.5; the score is
            1 / (1 + exp(-(dB - score_midpoint) / score_slope)).
        score_slope: dB, the smaller the steeper.

    Raises:
        ValueError: a value of another type or out of range; the message names the field, what was expected and got.
    """

    background_frames: int = 50
    background_interval: int = 1
    background_warmup: int = 10
    threshold: float = 10.0
    max_targets: int = 8
    separation: float = 6.0
    min_range: float = 0.0
    max_range: float = 0.0
    extent_std: float = 1.0
    radar_height: float = 0.0
    surface_to_centre: float = 0.0
    score_midpoint: float = 15.0
    score_slope: float = 4.0

    def __post_init__(self) -> None:
        """Check types and ranges."""
        check_fields(self, BOUNDS)
        if self.max_range and self.max_range <= self.min_range:
            raise ValueError(f'max_range: expected more than min_range ({self.min_range:g} m), got {self.max_range:g}')


# What a background has learned depends on these alone.
_LEARNING_SETTINGS = ('background_frames', 'background_interval')

BOUNDS: Bounds = {
    'background_frames': (1, 1000),
    'background_interval': (1, 1000),
    'background_warmup': (1, 1000),
    'threshold': (3.0, 100.0),
    'max_targets': (1, 1000),
    'separation': (0.0, 100.0),
    'min_range': (0.0, None),
    'max_range': (0.0, None),
    'extent_std': (0.0, 100.0),
    'radar_height': (-100.0, 100.0),
    'surface_to_centre': (-10.0, 10.0),
    'score_midpoint': (-100.0, 100.0),
    'score_slope': (0.1, 100.0),
}
"""(minimum, maximum) of the number fields; None = unbounded."""


def load_peak_settings(name_or_path: str | Path) -> PeakLocalizerSettings:
    """Settings from a YAML file in config/peak/ or elsewhere; fields that it does not name keep their defaults.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a mapping, an unknown field or a value out of range; the message names file and field.
    """
    return load_settings(PeakLocalizerSettings, name_or_path, 'peak')


class PeakLocalizer:
    """Finds the local maxima of a heatmap's ratio to its background, one threshold for all cells, strongest first.

    No threshold follows the noise around a cell, and no cells but the peak's own make the target: what CFAR and
    clustering add is what the classical back end is better by. The background counts as no less than the noise floor,
    and places are those of the power in excess of it, as they are there.

    Args:
        settings: see `PeakLocalizerSettings`.
        previous: localizer of the same stream that this one replaces: its background is taken over, and goes on
            learning here, unless a setting of what is learned differs.
    """

    def __init__(
        self, settings: PeakLocalizerSettings = PeakLocalizerSettings(), previous: 'PeakLocalizer | None' = None
    ) -> None:
        self._settings = settings
        self._background = MedianBackground(settings.background_frames, settings.background_interval)
        if previous is not None and all(
            getattr(settings, name) == getattr(previous.settings, name) for name in _LEARNING_SETTINGS
        ):
            self._background = previous.background
        self._peaks = ClusterSettings(
            merge_radius=settings.separation,
            extent_db=0.0,  # a target is its peak
            max_targets=settings.max_targets,
            extent_std=settings.extent_std,
            score_midpoint=settings.score_midpoint,
            score_slope=settings.score_slope,
        )

    @property
    def settings(self) -> PeakLocalizerSettings:
        """As given."""
        return self._settings

    @property
    def needs_velocity(self) -> bool:
        """Whether it refuses heatmaps without velocities: never."""
        return False

    @property
    def background(self) -> MedianBackground:
        """What has been learned of the static scene."""
        return self._background

    def localize(self, heatmap: Heatmap) -> list[Target]:
        """The strongest peaks in the heatmap, highest score first; none during the warm-up.

        Raises:
            ValueError: cells that are NaN or infinite.
        """
        settings, grid = self._settings, heatmap.grid
        heatmap.check_finite()
        level = self._background.level
        self._background.update(heatmap)
        if level is None or self._background.count <= settings.background_warmup:
            return []
        usual = usual_level(heatmap, level)
        ratio = heatmap.values - usual
        within = (grid.range >= settings.min_range) & (grid.range <= (settings.max_range or np.inf))
        targets = cluster(
            np.exp(ratio * np.float32(np.log(10) / 10)),
            np.ones_like(ratio),
            (ratio >= settings.threshold) & within[:, None],
            grid,
            settings=self._peaks,
            velocity=heatmap.velocity,
            excess=excess_power(heatmap.values, usual),
        )
        return targets_on_ground(
            targets, settings.radar_height, settings.surface_to_centre, settings.extent_std, cone=grid.reads_cone_angles
        )

    def reset(self) -> None:
        """Forget the background: the stream jumped or the radar moved."""
        self._background.reset()
