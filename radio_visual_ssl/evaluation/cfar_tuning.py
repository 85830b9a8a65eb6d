# SPDX-License-Identifier: Apache-2.0
"""Tunes the CFAR localizer on bags with ground truth by random search: the baseline is to be as good as it gets.

How far a target's centre lies behind what it reflects, ``surface_to_centre``, hardly shows in the recall, which counts
hits near the footprint: it is chosen afterwards, by the error to the centre.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame, evaluate_bags
from radio_visual_ssl.evaluation.metrics import FALSE_PER_FRAME, Metrics
from radio_visual_ssl.radar.cfar_localizer import CfarLocalizer, CfarLocalizerSettings

CHOICES: dict[str, list[Any]] = {
    'method': ['ca', 'go', 'os'],
    'guard_cells': [(1, 1), (2, 2), (3, 3), (4, 4)],
    'training_cells': [(4, 4), (8, 3), (8, 6), (12, 6)],
    'probability_of_false_alarm': [1e-2, 1e-3, 1e-4],
    'rank': [0.4, 0.6, 0.75],
    'min_snr': [4.0, 6.0, 8.0, 10.0],
    'merge_radius': [1.5, 2.0, 2.5, 3.0, 4.0],
    'extent_db': [6.0, 12.0],
    'min_cells': [1, 2, 3],
    'sidelobe_rejection': [10.0, 12.0, 15.0, 18.0],
    'background_warmup': [1, 3, 10],  # what is judged from a bag's first frame on is to answer soon
}
"""What is drawn from, by field of `CfarLocalizerSettings`."""
SURFACE_TO_CENTRE = (0.0, 0.3, 0.6, 0.9)
"""m, what is tried with the best that was drawn; the last is half the width of a car."""
RECALL_TO_LOSE = 0.005
"""At most, for a smaller error to the centre."""


@dataclass(frozen=True)
class TriedSettings:
    """Settings and how good they are.

    Attributes:
        settings: of the localizer.
        recall: at the wanted rate of false alarms, see `metrics.OperatingPoint`.
        average_precision: of the hit rule of `evaluate_bags`, on the scores.
        median_error_m: to the centre, of the hits at that rate; None without.
    """

    settings: CfarLocalizerSettings
    recall: float
    average_precision: float
    median_error_m: float | None

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that are not as by default, as YAML holds them."""
        defaults = asdict(CfarLocalizerSettings())
        values = {each.name: getattr(self.settings, each.name) for each in fields(self.settings)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value != defaults[name]
        }


def draw_settings(
    tries: int, seed: int, base: CfarLocalizerSettings = CfarLocalizerSettings()
) -> list[CfarLocalizerSettings]:
    """Settings as given, and others of which those in `CHOICES` are drawn.

    Args:
        tries: in all, at least 1.
        seed: of the draws.
        base: the first ones; what is not drawn is theirs.
    """
    random = np.random.default_rng(seed)
    settings = [base]
    while len(settings) < tries:
        drawn = {name: values[random.integers(len(values))] for name, values in CHOICES.items()}
        settings.append(replace(base, **drawn))
    return settings


def tune_cfar(
    bags: Sequence[str | Path],
    settings: Sequence[CfarLocalizerSettings],
    *,
    false_per_frame: float = 0.1,
    hit_distance: float = 1.0,
    on_frame: Callable[[], None] | None = None,
) -> list[TriedSettings]:
    """Judge settings of the CFAR localizer, by recall at a rate of false alarms, then by average precision.

    Never tune on the bags that you judge with.

    Args:
        bags: of one radar, with ground truth.
        settings: to be tried, all of them in one pass.
        false_per_frame: rate of false alarms, one of `metrics.FALSE_PER_FRAME`.
        hit_distance: m from a target's footprint.
        on_frame: called after each frame.

    Returns:
        In the order of the settings.

    Raises:
        ValueError: another rate, no settings, or what `evaluate_bags` raises.
    """
    if false_per_frame not in FALSE_PER_FRAME:
        raise ValueError(
            f'false_per_frame: expected one of {", ".join(map(str, FALSE_PER_FRAME))}, got {false_per_frame}'
        )
    localizers = {str(number): CfarLocalizer(each) for number, each in enumerate(settings)}

    def tick(path: str | Path, frame: EvaluatedFrame) -> None:
        if on_frame is not None:
            on_frame()

    metrics = evaluate_bags(bags, localizers, hit_distance=hit_distance, on_frame=tick).metrics
    return [_tried(each, metrics[str(number)], false_per_frame) for number, each in enumerate(settings)]


def best_of(tried: Sequence[TriedSettings]) -> TriedSettings:
    """The settings with the largest recall, of equals the ones with the larger average precision, then the first."""
    return max(tried, key=lambda each: (each.recall, each.average_precision))


def with_surfaces(settings: CfarLocalizerSettings) -> list[CfarLocalizerSettings]:
    """Settings with each of `SURFACE_TO_CENTRE`; the first is as drawn."""
    return [replace(settings, surface_to_centre=surface) for surface in SURFACE_TO_CENTRE]


def nearest_of(tried: Sequence[TriedSettings]) -> TriedSettings:
    """The settings with the smallest median error to the centre, of equals the first.

    Those whose recall falls short of the first one's by more than `RECALL_TO_LOSE` are left out.
    """
    least = tried[0].recall - RECALL_TO_LOSE - 1e-9
    return min(
        (each for each in tried if each.recall >= least),
        key=lambda each: math.inf if each.median_error_m is None else each.median_error_m,
    )


def _tried(settings: CfarLocalizerSettings, found: Metrics, rate: float) -> TriedSettings:
    at = found.at_false_per_frame[str(rate)]
    return TriedSettings(settings, at.recall or 0.0, found.ap_2m or 0.0, at.median_error_m)
