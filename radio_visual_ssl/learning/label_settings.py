# SPDX-License-Identifier: Apache-2.0
"""How self-labels are made."""

from dataclasses import dataclass, field
from typing import Literal

from radio_visual_ssl.learning.visual_map import MapSettings

Position = Literal['map', 'candidate']


class SelfLabelError(ValueError):
    """Frames that cannot be labelled; the message names the frame and the field."""


@dataclass(frozen=True)
class SelfLabelSettings:
    """How labels are made.

    Attributes:
        map: shape of the map.
        folds: parts of the scenes; labels of a part come from a fit to the others. A map group of fewer scenes is cut
            into as many stretches of time instead.
        restarts: random maps to begin from where there is no attention.
        restart_iterations: of each before the likeliest is chosen.
        restart_frames: of a map group that each is fitted to, at most.
        iterations: at most, of the fit itself.
        annealing: iterations until variances are no longer inflated.
        start_std: m and rad, inflation of the first iteration without attention; half of that with it.
        tolerance: the fit ends when the mean log evidence of an instance changes by less.
        attention_trust: share of the prior over candidates that follows the attention; the rest is even.
        valid_prior: belief that a mask shows a target at the place where its geometry says so; on a parking lot every
            fifth target stood partly behind something that has no mask.
        use_snr: learn how strong the candidates of targets and of clutter are.
        error_tolerance: m, a label's confidence is the belief that its error is smaller.
        shuffles: times that instances are offered candidates of other scenes, to see what is found by chance.
        position: 'map': the map's answer, in which the speckle of a single peak has no part; 'candidate': the
            likeliest peak, as a control.
        seed: of the restarts and shuffles.

    Raises:
        ValueError: a value out of range.
    """

    map: MapSettings = field(default_factory=MapSettings)
    folds: int = 5
    restarts: int = 12
    restart_iterations: int = 12
    restart_frames: int = 500
    iterations: int = 60
    annealing: int = 15
    start_std: tuple[float, float] = (4.0, 0.12)
    tolerance: float = 1e-4
    attention_trust: float = 0.8
    valid_prior: float = 0.85
    use_snr: bool = True
    error_tolerance: float = 2.0
    shuffles: int = 4
    position: Position = 'map'
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (
            ('folds', 2),
            ('restarts', 1),
            ('restart_iterations', 1),
            ('restart_frames', 2),
            ('iterations', 1),
            ('shuffles', 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f'{name}: expected a whole number from {least} on, got {getattr(self, name)}')
        for name in ('attention_trust', 'valid_prior'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name}: expected a number from 0 to 1, got {getattr(self, name)}')
        if min(self.start_std) <= 0 or self.error_tolerance <= 0 or self.annealing < 0:
            raise ValueError('start_std, error_tolerance: expected positive numbers; annealing: 0 or more')
        if self.position not in ('map', 'candidate'):
            raise ValueError(f"position: expected 'map' or 'candidate', got {self.position!r}")
