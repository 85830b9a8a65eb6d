# SPDX-License-Identifier: Apache-2.0
"""What every radio-only localizer offers, classical or learned."""

from typing import Protocol, runtime_checkable

from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target


class Localizer(Protocol):
    """Finds targets in the heatmaps of one radar, fed in order of time."""

    @property
    def needs_velocity(self) -> bool:
        """Whether it refuses heatmaps without velocities."""
        ...

    def localize(self, heatmap: Heatmap) -> list[Target]:
        """Targets in the heatmap, highest score first.

        Raises:
            ValueError: the heatmap does not fit this localizer; the message says what differs.
        """
        ...

    def reset(self) -> None:
        """Forget what earlier heatmaps taught (background): the stream jumped or the radar moved."""
        ...


@runtime_checkable
class WithholdingLocalizer(Localizer, Protocol):
    """One that finds more than it reports: evaluation asks it what other thresholds would report."""

    def localize_all(self, heatmap: Heatmap) -> tuple[list[Target], list[Target]]:
        """In place of `localize`: what that returns, and what it withholds for its low score, each highest first.

        Raises:
            ValueError: as `localize`.
        """
        ...
