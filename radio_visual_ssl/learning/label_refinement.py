# SPDX-License-Identifier: Apache-2.0
"""Brings labels of EM from the map's answer towards the radar peak, and from the surface to the middle of the target.

The map from a mask's geometry to the ground averages over many targets: it is free of the speckle of single peaks, but
errs by what geometry alone cannot tell. The peak errs by where on the target it reflects. How far that is can be seen:
people are about as deep as their masks are wide, and a vehicle that looks narrow stands lengthways. So the two are
weighed by their variances: a pedestrian's label moves to its peak, that of a van from behind stays where the map says.

Labels of vehicles move from the side that the radar sees to the centre, as far as their heading and size say, both of
which are learned from the labels and masks themselves (:mod:`learning.label_tracks`, :mod:`learning.vehicle_shape`).
The map answers with where what looks alike reflects, whichever way it heads: how far that is from the centre, the peaks
of alike vehicles tell, moved to theirs. Depths lie on the ground and are added to what the radar reads: beside a high
mast a little too much.

Metres come from the labels themselves: azimuths against columns tell how many radians a pixel is wide, so that no
camera calibration is needed.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import siegelslopes

from radio_visual_ssl.learning.candidates import Candidates
from radio_visual_ssl.learning.label_tracks import Headings, find_headings
from radio_visual_ssl.learning.mask_features import FEATURES
from radio_visual_ssl.learning.recording_evidence import RecordingEvidence
from radio_visual_ssl.learning.self_labels import SelfLabels
from radio_visual_ssl.learning.vehicle_shape import SIZE_BOUNDS, common_size, depth_to_centre
from radio_visual_ssl.radar.grid import turned_towards

_COLUMN, _WIDTH, _HEIGHT, _FILL = (FEATURES.index(name) for name in ('column', 'log_width', 'log_height', 'log_fill'))
_LEAST_LABELS = 30  # of a camera pose, to learn from how many radians a pixel is wide
_MOST_LABELS = 1500  # that are looked at: slopes of all pairs are taken
_AXIS_STEPS = 3  # in which the azimuth is found that the camera looks in
_LEAST_EXTENT = 0.3  # m
_LEAST_DETECTED = 0.3  # of a label that tells where its vehicle goes
_LEAST_TRACKS = 5  # of vehicles that go somewhere, from which others are judged
_MOST_OF_TRACK = 8  # labels of one vehicle that count in full for the common size
_ALIKE, _LOOKED_AT = 15, 60  # labels of vehicles that look alike in like places, of so many that are looked at
_PEAK_STD = 0.5  # m, of the peak of a near side
_ALONG_VEHICLE, _ASIDE_VEHICLE = 3.0, 1.5  # m, that another peak of a vehicle lies before the likeliest one, and aside
_VEHICLE_DEPTHS = 1.8, 6.0  # m: masks may be cut, or of two vehicles
_LEAST_MAP_STD = 0.25  # m
_MOST_WANDERING = 0.75  # of the variance of peaks around the map: the map is never wholly right
_SPREAD = 1 / math.sqrt(12)  # standard deviation of a uniform distribution of width 1


@dataclass(frozen=True)
class RefinementSettings:
    """How labels are refined.

    Attributes:
        towards_peaks: weigh the map's answer and the likeliest radar peak by their variances.
        person_depth: m, from where people and cyclists reflect on average to their middle, added along the range;
            0 = labels stay where they reflect.
        vehicle_depth: m, the same of vehicles, whatever their heading; None = by their heading and size, where the
            radar stands or its way is known. What is a vehicle is told by the mask's class, where it is one of these
            below in whatever case, else by its silhouette.
        vehicle_classes, small_classes: names of classes, as detectors have them, of vehicles and of all that is small.
        vehicle_silhouette: m^2, from which a target is a vehicle, of the mask's area times the share of its box that it
            fills: in the median 3 of cars that move, 1.4 of far cyclists from the side, whose masks are too wide.
        vehicle_size: m, length and width of a common vehicle, from which those that are seen may differ; one that looks
            narrow is the longer along the range.

    Raises:
        ValueError: a value out of range.
    """

    towards_peaks: bool = True
    person_depth: float = 0.0
    vehicle_depth: float | None = None
    vehicle_classes: tuple[str, ...] = ('car', 'van', 'truck', 'bus', 'vehicle', 'trailer', 'train', 'tram')
    small_classes: tuple[str, ...] = (
        'person', 'pedestrian', 'cyclist', 'rider', 'bicycle', 'motorcycle', 'motorcyclist', 'scooter', 'dog',
    )  # fmt: skip
    vehicle_silhouette: float = 1.8
    vehicle_size: tuple[float, float] = (4.4, 1.8)

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('person_depth', 'vehicle_depth'):
            depth = getattr(self, name)
            if depth is not None and not 0 <= depth <= 20:
                raise ValueError(f'{name}: expected a number of metres from 0 to 20, got {depth}')
        if not self.vehicle_silhouette > 0:
            raise ValueError(f'vehicle_silhouette: expected a positive number of m^2, got {self.vehicle_silhouette}')
        for value, least, most in zip(self.vehicle_size, *SIZE_BOUNDS, strict=True):
            if not least <= value <= most:
                raise ValueError(
                    f'vehicle_size: expected a length and a width from {SIZE_BOUNDS[0]} to {SIZE_BOUNDS[1]} m,'
                    f' got {self.vehicle_size}'
                )

    @property
    def changes_nothing(self) -> bool:
        """Whether labels stay as they are."""
        return not (self.towards_peaks or self.person_depth or self.vehicle_depth != 0)


@dataclass(frozen=True, eq=False)
class _Masks:
    """Geometry of all masks, in widths of the picture, and the peak that each label stands for (NaN = none)."""

    column: NDArray[np.float64]
    width: NDArray[np.float64]
    compact_area: NDArray[np.float64]  # times the share of its box that the mask fills
    peak: NDArray[np.float64]  # (N, 2) m and rad
    peak_variance: NDArray[np.float64]  # (N, 2) m^2 and rad^2
    group: NDArray[np.str_]
    label: NDArray[np.str_]  # '' where the class is not known
    trust: NDArray[np.float64]  # in the mask, 0 to 1
    recording: NDArray[np.int64]  # its number
    seconds: NDArray[np.float64]  # of the frame
    trajectory: NDArray[np.float64]  # (N, 3) m, m and rad, of the radar
    candidates: list[Candidates]  # of each frame


def refine_labels(
    labels: SelfLabels,
    evidence: Sequence[RecordingEvidence],
    usable: Collection[str],
    settings: RefinementSettings = RefinementSettings(),
    trajectories: Sequence[NDArray[np.float64]] | None = None,
) -> tuple[SelfLabels, list[str]]:
    """Labels nearer to where their targets are; which are how sure stays as it is.

    Labels of a camera pose with fewer than 30 sure labels, or whose azimuths do not rise to the left of its pictures,
    stay as they are.

    Args:
        labels: of EM, of all masks of the recordings, range 0 where there is none.
        evidence: of the recordings, that the labels were made from.
        usable: map groups that have labels.
        settings: see `RefinementSettings`.
        trajectories: (F, 3) of each recording, x, y (m) and yaw (rad) of the radar over the ground in each of its
            frames, NaN = not known; None = it stands.

    Returns:
        Labels, (N,) as given, and what there is to be told, one sentence each.
    """
    notes: list[str] = []
    if settings.changes_nothing or not len(labels):
        return labels, notes
    masks = _masks(labels, evidence, trajectories)
    place = np.column_stack((labels.range, labels.azimuth))
    variance = labels.variance.copy()
    for group in sorted(usable):
        own = np.flatnonzero((masks.group == group) & (labels.range > 0))
        scale = radians_per_width(masks.column[own], labels.azimuth[own], labels.detected[own])
        if scale is None:
            notes.append(
                f'labels of {group} stay as the map has them, without a depth: too few are sure, or their azimuths do'
                ' not follow the columns of the pictures'
            )
            continue
        # off the camera's axis a picture shows things farther from each other than they are across the line of sight
        off_axis = np.cos(np.arctan(scale * masks.column[own]))
        metres = scale * labels.range[own] * off_axis
        across = np.maximum(masks.width[own] * metres * off_axis, _LEAST_EXTENT)
        area = masks.compact_area[own] * metres**2 * off_axis
        name = np.char.lower(masks.label[own])
        large = area >= settings.vehicle_silhouette
        vehicle = np.isin(name, _lower(settings.vehicle_classes)) | (
            large & ~np.isin(name, _lower(settings.small_classes))
        )
        before, peak = place[own], masks.peak[own]
        along = np.where(vehicle, np.clip(math.prod(settings.vehicle_size) / across, *_VEHICLE_DEPTHS), across)
        depth = np.where(vehicle, settings.vehicle_depth or 0.0, settings.person_depth)
        depth_variance = np.zeros(own.size)
        if settings.vehicle_depth is None and vehicle.any():
            centres = _find_centres(labels, masks, own[vehicle], across[vehicle], area[vehicle], settings)
            if centres is None:
                notes.append(f'labels of vehicles of {group} stay at their near side: too few are seen to go anywhere')
            else:
                depth[vehicle] = centres.depth
                moved = np.flatnonzero(vehicle)[centres.moves]
                peak[moved, 0] = centres.near[centres.moves]
                along[moved] = _PEAK_STD / _SPREAD
                depth_variance[vehicle] = centres.variance
                # the map's own depth is that of what looks alike in like places, whichever way it heads
                before[moved, 0] += (centres.from_map - centres.depth)[centres.moves]
        if settings.towards_peaks:
            extent = np.column_stack((along, across))
            before, variance[own] = _towards_peaks(labels, own, before, peak, masks.peak_variance[own], extent)
        place[own] = before
        place[own, 0] += depth
        variance[own, 0] += depth_variance
    return replace(labels, range=place[:, 0], azimuth=place[:, 1], variance=variance), notes


class _Centres(NamedTuple):
    """Where the centres of n vehicles lie."""

    near: NDArray[np.float64]  # (n,) m, of the peak of their near side, NaN = none
    depth: NDArray[np.float64]  # (n,) m, from there to the centre
    variance: NDArray[np.float64]  # (n,) m^2, of the depth
    from_map: NDArray[np.float64]  # (n,) m, from the map's answer to the centre
    moves: NDArray[np.bool_]  # (n,) whether anything is known of it


def _find_centres(
    labels: SelfLabels,
    masks: _Masks,
    vehicles: NDArray[np.int64],
    across: NDArray[np.float64],
    area: NDArray[np.float64],
    settings: RefinementSettings,
) -> _Centres | None:
    """Centres of vehicles by their headings and sizes; None where too few are seen to go anywhere.

    Those whose heading is not seen are as deep as those that look like them in like places; nothing is known of them
    where the radar's own trajectory is not.

    Args:
        labels: of all masks.
        masks: the same.
        vehicles: (n,) ascending, numbers of the vehicles among them.
        across: (n,) m, their apparent widths.
        area: (n,) m^2, of their masks.
        settings: with their nominal size.
    """
    seen = _headings(labels, masks, vehicles, area)
    aspect = labels.azimuth[vehicles] - seen.heading
    known = np.isfinite(aspect)
    tracks, track, counts = np.unique(seen.track[known], return_inverse=True, return_counts=True)
    if tracks.size < _LEAST_TRACKS:
        return None
    # a vehicle that is seen for long tells little more than one that is seen for a while
    weight = masks.trust[vehicles].copy()
    weight[known] *= np.minimum(1, _MOST_OF_TRACK / counts[track])
    depth, variance = np.full(vehicles.size, np.nan), np.zeros(vehicles.size)
    names = np.char.lower(masks.label[vehicles])
    names[~np.isin(names, _lower(settings.vehicle_classes))] = ''
    for name in np.unique(names):
        own = np.flatnonzero(names == name)
        size = common_size(across[own], aspect[own], weight[own], settings.vehicle_size)
        depth[own] = depth_to_centre(*size, aspect[own])
        apart = [depth_to_centre(*size, aspect[own] + sign * seen.std[own]) for sign in (-1, 1)]
        variance[own] = (np.subtract(*apart) / 2) ** 2
    near = _near_peaks(labels, masks, vehicles)
    moves: NDArray[np.bool_] = np.isfinite(masks.trajectory[vehicles].sum(axis=1))
    sure = known & np.isfinite(near) & (labels.pair[vehicles] > 0.5)
    if not sure.any():
        return None
    looks = np.column_stack((masks.column[vehicles], labels.range[vehicles], np.log(across), np.log(area)))
    looks /= np.maximum(np.std(looks, axis=0), 1e-9)
    alike = _alike(looks, sure, seen.track)
    of_alike = depth[sure][alike]
    from_map = np.median((near + depth - labels.range[vehicles])[sure][alike], axis=1)
    depth = np.where(known, depth, np.median(of_alike, axis=1))
    variance = np.where(known, variance, np.var(of_alike, axis=1))
    return _Centres(near, np.where(moves, depth, 0.0), np.where(moves, variance, 0.0), from_map, moves)


def _alike(looks: NDArray[np.float64], sure: NDArray[np.bool_], track: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, k) numbers, among the sure ones, of vehicles that look like each; not itself, if there are enough others.

    Args:
        looks: (n, d) what they look like.
        sure: (n,) bool.
        track: (n,) number of the vehicle, -1 = not known.
    """
    count = int(np.count_nonzero(sure))
    near = cKDTree(looks[sure]).query(looks, k=list(range(1, min(_LOOKED_AT, count) + 1)))[1]
    # what its own peaks say of the map is no second opinion on its own label
    itself = (track[sure][near] == track[:, None]) & (track[:, None] >= 0)
    return np.take_along_axis(near, np.argsort(itself, axis=1, kind='stable')[:, :_ALIKE], axis=1)


def _near_peaks(labels: SelfLabels, masks: _Masks, vehicles: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) m, range of the nearest of the peaks that some vehicles have made, NaN = none.

    A vehicle reflects at its near side and farther along its roof, and the likeliest peak may be any of these.
    """
    near = masks.peak[vehicles, 0].copy()
    # other masks of these frames are of the same camera pose, and so are among its labels
    taken = np.flatnonzero((masks.group == masks.group[vehicles[0]]) & (labels.pair > 0.5))
    others = set(zip(labels.frame[taken].tolist(), labels.candidate[taken].tolist(), strict=True))
    for row in np.flatnonzero(np.isfinite(near)):
        frame = int(labels.frame[vehicles[row]])
        candidates = masks.candidates[frame]
        place = masks.peak[vehicles[row]]
        before, aside = place[0] - candidates.range, turned_towards(candidates.azimuth - place[1]) * candidates.range
        its = (before > 0) & (before <= _ALONG_VEHICLE) & (np.abs(aside) <= _ASIDE_VEHICLE)
        free = [number for number in np.flatnonzero(its).tolist() if (frame, number) not in others]
        near[row] = np.min(candidates.range[free], initial=place[0])
    return near


def _headings(labels: SelfLabels, masks: _Masks, vehicles: NDArray[np.int64], area: NDArray[np.float64]) -> Headings:
    """Of some vehicles, anticlockwise from the radar's x; tracks are numbered through all recordings, -1 = none.

    Args:
        labels: of all masks.
        masks: the same.
        vehicles: (n,) ascending, numbers of the vehicles among them.
        area: (n,) m^2, of their masks.
    """
    x, y, yaw = masks.trajectory[vehicles].T
    direction = labels.azimuth[vehicles] + yaw
    position = labels.range[vehicles, None] * np.column_stack((np.cos(direction), np.sin(direction)))
    position += np.column_stack((x, y))
    blank = np.full(vehicles.size, np.nan)
    found = Headings(blank, blank.copy(), np.full(vehicles.size, -1))
    sure = (labels.detected[vehicles] >= _LEAST_DETECTED) & np.isfinite(direction)
    for recording in np.unique(masks.recording[vehicles]):
        rows = np.flatnonzero(sure & (masks.recording[vehicles] == recording))
        numbers = vehicles[rows]
        seen = find_headings(labels.frame[numbers], masks.seconds[numbers], position[rows], area[rows])
        found.heading[rows], found.std[rows] = seen.heading - yaw[rows], seen.std
        found.track[rows] = seen.track + found.track.max(initial=-1) + 1
    return found


def radians_per_width(
    column: NDArray[np.float64], azimuth: NDArray[np.float64], weight: NDArray[np.float64]
) -> float | None:
    """Tangent of the azimuth that the width of a picture spans, over its middle: 1 / focal length in picture widths.

    The repeated median of Siegel (1982) over the surest labels, half of which may be wrong.

    Args:
        column: (N,) of masks, in widths of the picture from its middle, to the right.
        azimuth: (N,) rad, anticlockwise, of their labels.
        weight: (N,) how sure the labels are.

    Returns:
        None where too few labels are sure, or azimuth does not fall with the column.
    """
    sure = np.flatnonzero(weight >= 0.5)
    if sure.size < _LEAST_LABELS or np.ptp(column[sure]) < 0.1:
        return None
    some = sure[np.unique(np.linspace(0, sure.size - 1, _MOST_LABELS).round().astype(int))]
    slope, axis = 0.0, 0.0
    for _ in range(_AXIS_STEPS):
        # the tangent is straight in the column where azimuths count from where the camera looks
        found = siegelslopes(np.tan(np.clip(azimuth[some] - axis, -1.4, 1.4)), column[some])
        slope, axis = -float(found.slope), axis + math.atan(float(found.intercept))
    return slope if math.isfinite(slope) and slope > 0 else None


def _towards_peaks(
    labels: SelfLabels,
    own: NDArray[np.int64],
    place: NDArray[np.float64],
    peak: NDArray[np.float64],
    peak_variance: NDArray[np.float64],
    extent: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 2) places and variances of some labels between the map's answer and their peaks.

    Args:
        labels: of all masks.
        own: (n,) numbers of those that are meant.
        place: (n, 2) m and rad, the map's answers.
        peak: (n, 2) m and rad, NaN = none.
        peak_variance: (n, 2) m^2 and rad^2.
        extent: (n, 2) m, of their targets along the range and across it.
    """
    per_metre = np.column_stack((np.ones(own.size), 1 / place[:, 0]))
    peaked = np.isfinite(peak[:, 0])[:, None]
    observed = labels.variance[own]  # of peaks around the map, their own variance left out already
    wandering = np.minimum((_SPREAD * extent * per_metre) ** 2, _MOST_WANDERING * observed)
    of_map = np.maximum(observed - wandering, (_LEAST_MAP_STD * per_metre) ** 2)
    of_peak = wandering + np.where(peaked, peak_variance, 0)
    offset = np.where(peaked, peak - place, 0.0)
    offset[:, 1] = turned_towards(offset[:, 1])
    step = of_map / (of_map + of_peak) * offset
    belief = np.where(peaked, labels.pair[own, None], 0.0)
    joined = of_map * of_peak / (of_map + of_peak)
    # either the peak is the target's, or the map's answer stands: mean and variance of the two
    return place + belief * step, belief * joined + (1 - belief) * of_map + belief * (1 - belief) * step**2


def _lower(names: Sequence[str]) -> list[str]:
    return [name.lower() for name in names]


def _masks(
    labels: SelfLabels,
    evidence: Sequence[RecordingEvidence],
    trajectories: Sequence[NDArray[np.float64]] | None,
) -> _Masks:
    """Of all instances, in the order of the labels."""
    features, shapes, groups, first = [], [], [], []
    places, variances, total = [], [], 0
    for item in evidence:
        width, height = item.recording.image_size
        for rows, candidates in zip(item.features, item.candidates, strict=True):
            features.append(rows)
            first.append(total)
            total += len(candidates)
            places.append(np.column_stack((candidates.range, candidates.azimuth)))
            variances.append(candidates.variance)
        shapes += [height / width] * item.recording.instances
        groups += [item.recording.group] * item.recording.instances
    table = np.concatenate(features)
    peak, peak_variance = np.full((len(labels), 2), np.nan), np.full((len(labels), 2), np.nan)
    found = np.flatnonzero(labels.candidate >= 0)
    numbers = np.array(first, np.int64)[labels.frame[found]] + labels.candidate[found]
    peak[found], peak_variance[found] = np.concatenate(places)[numbers], np.concatenate(variances)[numbers]
    compact = np.exp(table[:, _WIDTH] + table[:, _HEIGHT] + 2 * table[:, _FILL]) * np.array(shapes)
    sizes = [item.recording.instances for item in evidence]
    stamps = np.concatenate([np.asarray(item.recording.stamps_ns) for item in evidence])
    return _Masks(
        column=table[:, _COLUMN],
        width=np.exp(table[:, _WIDTH]),
        compact_area=compact,
        peak=peak,
        peak_variance=peak_variance,
        group=np.array(groups),
        label=np.concatenate([item.recording.mask_labels for item in evidence]),
        trust=np.concatenate([weight for item in evidence for weight in item.weight]),
        recording=np.repeat(np.arange(len(evidence)), sizes),
        seconds=(stamps[labels.frame] - stamps[0]) * 1e-9,
        candidates=[candidates for item in evidence for candidates in item.candidates],
        trajectory=np.zeros((len(labels), 3)) if trajectories is None else np.concatenate(trajectories)[labels.frame],
    )
