# SPDX-License-Identifier: Apache-2.0
"""Which radar it is, and what its heatmaps look like: whether two recordings, models or streams are of the same one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference

_MAY_BE_UNKNOWN = ('name', 'carrier_frequency', 'bandwidth', 'formation')
_SAME_FREQUENCY = 1e-4  # share by which a message's float32, or a profile's rounding, may alter a frequency


class OtherRadarError(ValueError):
    """Something is of another radar than it should be; the message says of which, and what differs."""


@dataclass(frozen=True)
class RadarGeometry:
    """A radar and what its heatmaps look like; equal are those that tell the very same.

    Attributes:
        name: of the radar; '' where unknown.
        grid: of its heatmaps.
        reference: what 0 dB stands for.
        carrier_frequency, bandwidth: Hz, 0 where unknown.
        formation: by which settings the heatmaps were made, see `FormationSettings.summary`; '' where unknown.
    """

    name: str
    grid: PolarGrid
    reference: Reference = Reference.ARBITRARY
    carrier_frequency: float = 0.0
    bandwidth: float = 0.0
    formation: str = ''

    @classmethod
    def of(cls, heatmap: Heatmap) -> 'RadarGeometry':
        """That of a heatmap."""
        return cls(
            heatmap.radar,
            heatmap.grid,
            heatmap.reference,
            heatmap.carrier_frequency,
            heatmap.bandwidth,
            heatmap.formation,
        )

    def difference(self, other: 'RadarGeometry') -> str:
        """What makes another radar's heatmaps differ, as 'thing: expected ..., got ...'; '' where nothing does.

        What either does not know (name, carrier, bandwidth, settings of the formation) does not count, nor does what
        rounding alters.
        """
        if self.name and other.name and self.name != other.name:
            return f'radar: expected {self.name!r}, got {other.name!r}'
        if self.reference != other.reference:
            return f'reference of 0 dB: expected {self.reference.name}, got {other.reference.name}'
        for name, scale, unit in (('carrier_frequency', 1e9, 'GHz'), ('bandwidth', 1e6, 'MHz')):
            expected, got = getattr(self, name), getattr(other, name)
            if expected and got and abs(expected - got) > _SAME_FREQUENCY * expected:
                return f'{name}: expected {expected / scale:g} {unit}, got {got / scale:g} {unit}'
        return self.grid.difference(other.grid) or self._formed_otherwise(other)

    def _formed_otherwise(self, other: 'RadarGeometry') -> str:
        """The settings of the formation that differ, among those that both tell."""
        mine, theirs = (dict(item.partition('=')[::2] for item in each.formation.split()) for each in (self, other))
        differing = [name for name, value in mine.items() if theirs.get(name, value) != value]
        expected, got = (' '.join(f'{name}={known[name]}' for name in differing) for known in (mine, theirs))
        return f'formation of the heatmaps: expected {expected}, got {got}' if differing else ''


def check_same_radar(known: RadarGeometry, other: RadarGeometry, what: str, expected: str) -> RadarGeometry:
    """Refuse another radar.

    Args:
        known: that is expected.
        other: that it is held against.
        what: is of the other one, such as a bag's path.
        expected: which radar that should be, such as 'the radar of bag_1'.

    Returns:
        The known one, and what it did not know as the other one does: what one thing does not tell is to hide no
        difference between others.

    Raises:
        OtherRadarError: 'what: expected the radar of bag_1; thing: expected ..., got ...'.
    """
    difference = known.difference(other)
    if difference:
        raise OtherRadarError(f'{what}: expected {expected}; {difference}')
    return replace(known, **{name: getattr(known, name) or getattr(other, name) for name in _MAY_BE_UNKNOWN})


def common_radar(radars: Iterable[tuple[str, RadarGeometry]]) -> RadarGeometry:
    """The one radar of several things, with all that any of them knows of it.

    Args:
        radars: what each is of, such as a bag's path, and its radar; at least one.

    Raises:
        OtherRadarError: one is of another radar than those before it, as far as any of these knows.
    """
    (first, known), *others = radars
    for what, radar in others:
        known = check_same_radar(known, radar, what, f'the radar of {first}')
    return known
