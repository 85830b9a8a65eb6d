# SPDX-License-Identifier: Apache-2.0
"""Which way targets go over the ground, from labels of the same target in the frames around."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

_TOP_SPEED = 20.0  # m/s
_SLACK = 1.5  # m, that a place may be off besides
_STEADY = 0.4  # of the top speed: how much a known velocity may err
_LONGEST_GAP = 1.1  # s, in which a target may be unseen
_SMOOTHING = 0.5  # s, of the velocity by which a target is looked for
_LIKENESS = 0.3  # of the reach, that a mask e times as large counts
_HALF_WINDOW = 1.05  # s before and after a label, within which labels of the same target tell its heading
_LEAST_LABELS = 3  # of them: two agree with any straight line
_LEAST_WAY = 2.0  # m, that a target must have gone within the window
_PLACE_STD = 0.5  # m, at least, of a label against those of the frames around
_MOST_STD = np.radians(15)  # of a heading: of what stands, one label in forty has a surer one


class Headings(NamedTuple):
    """Which way targets go.

    Attributes:
        heading: (N,) rad, anticlockwise from x; NaN where not sure.
        std: (N,) rad, standard deviation.
        track: (N,) number of the target that each label is of.
    """

    heading: NDArray[np.float64]
    std: NDArray[np.float64]
    track: NDArray[np.int64]


def find_headings(
    frame: NDArray[np.int64],
    seconds: NDArray[np.float64],
    position: NDArray[np.float64],
    area: NDArray[np.float64],
) -> Headings:
    """Headings of the targets of one recording: see `link_labels` and `track_headings`, whose arguments these are."""
    found = Headings(np.full(frame.size, np.nan), np.full(frame.size, np.nan), np.zeros(frame.size, np.int64))
    for number, track in enumerate(link_labels(frame, seconds, position, area)):
        found.track[track] = number
        found.heading[track], found.std[track] = track_headings(seconds[track], position[track])
    return found


def link_labels(
    frame: NDArray[np.int64],
    seconds: NDArray[np.float64],
    position: NDArray[np.float64],
    area: NDArray[np.float64],
) -> list[NDArray[np.int64]]:
    """Numbers of the labels of each target of one recording, ascending; one that is alone is a track by itself.

    Labels are linked from frame to frame, one-to-one, by where the target should be and by how large it is. A frame
    that is no later than the one before it goes on with no track.

    Args:
        frame: (N,) ascending, number of each label's frame.
        seconds: (N,) of the frame.
        position: (N, 2) m, over the ground, finite.
        area: (N,) m^2, of the mask at the label's place.
    """
    size = np.log(np.maximum(area, 1e-6))
    ended: list[list[int]] = []
    tracks: list[list[int]] = []
    velocities: list[NDArray[np.float64] | None] = []
    _, starts = np.unique(frame, return_index=True)
    for rows in np.split(np.arange(frame.size), starts[1:]) if frame.size else []:
        now = float(seconds[rows[0]])
        alive = [0 < now - seconds[track[-1]] <= _LONGEST_GAP for track in tracks]
        ended += [track for track, lives in zip(tracks, alive, strict=True) if not lives]
        velocities = [velocity for velocity, lives in zip(velocities, alive, strict=True) if lives]
        tracks = [track for track, lives in zip(tracks, alive, strict=True) if lives]
        last = np.array([track[-1] for track in tracks], np.int64)
        goes_on, by = _links(last, velocities, rows, now - seconds[last], position, size)
        for number, row in zip(goes_on, by, strict=True):
            gap = now - seconds[last[number]]
            velocity = (position[row] - position[last[number]]) / gap
            before, share = velocities[number], min(1.0, gap / _SMOOTHING)
            velocities[number] = share * velocity if before is None else before + share * (velocity - before)
            tracks[number].append(int(row))
        for row in np.setdiff1d(rows, by):
            tracks.append([int(row)])
            velocities.append(None)
    return [np.array(track) for track in ended + tracks]


def _links(
    last: NDArray[np.int64],
    velocities: Sequence[NDArray[np.float64] | None],
    rows: NDArray[np.int64],
    gap: NDArray[np.float64],
    position: NDArray[np.float64],
    size: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which tracks go on in a frame, and by which of its labels.

    Args:
        last: (T,) last label of each track.
        velocities: (T) m/s, None where not known.
        rows: (M,) labels of the frame.
        gap: (T,) s, since the last label.
        position: of all labels.
        size: logarithms of the areas of all labels.
    """
    if not last.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    known = np.array([velocity is not None for velocity in velocities])
    velocity = np.array([np.zeros(2) if each is None else each for each in velocities])
    reach = _SLACK + np.where(known, _STEADY, 1.0) * _TOP_SPEED * gap
    expected = position[last] + velocity * gap[:, None]
    distance = np.linalg.norm(position[rows] - expected[:, None], axis=2) / reach[:, None]
    cost = distance + _LIKENESS * np.abs(size[rows] - size[last, None])
    # what is out of reach costs more than everything within it
    track, label = linear_sum_assignment(np.where(distance < 1, cost, 1e6))
    linked = distance[track, label] < 1
    return track[linked], rows[label[linked]]


def track_headings(
    seconds: NDArray[np.float64], position: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) which way a target goes at each of its labels, anticlockwise from x, and its standard deviation, rad.

    The heading is that of a straight line in time through the labels within a second before and after; they tell how
    sure it is by how far they lie from that line. NaN where fewer than three do, or where the target may as well stand.

    Args:
        seconds: (N,) of the labels of one track, ascending.
        position: (N, 2) m.
    """
    first = np.searchsorted(seconds, seconds - _HALF_WINDOW)
    end = np.searchsorted(seconds, seconds + _HALF_WINDOW, side='right')
    time, place = seconds - seconds.mean(), position - position.mean(axis=0)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the windows, from running sums: a target that is followed for an hour has one long track."""
        sums = np.concatenate((np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)))
        difference: NDArray[np.float64] = sums[end] - sums[first]
        return difference

    count = (end - first).astype(np.float64)
    mean_time, mean_place = total(time) / count, total(place) / count[:, None]
    squares = total(time**2) - count * mean_time**2
    products = total(time[:, None] * place) - count[:, None] * mean_time[:, None] * mean_place
    spread = total(place**2) - count[:, None] * mean_place**2
    velocity = products / np.maximum(squares, 1e-9)[:, None]
    left = np.maximum(spread - velocity * products, 0.0).sum(axis=1)
    place_std = np.sqrt(np.maximum(left / np.maximum(2 * (count - 2), 1), _PLACE_STD**2))
    speed = np.linalg.norm(velocity, axis=1)
    std = place_std / np.maximum(speed * np.sqrt(np.maximum(squares, 0.0)), 1e-9)
    way = speed * (seconds[end - 1] - seconds[first])
    sure = (count >= _LEAST_LABELS) & (way >= _LEAST_WAY) & (std <= _MOST_STD)
    heading = np.where(sure, np.arctan2(velocity[:, 1], velocity[:, 0]), np.nan)
    return heading, np.where(sure, std, np.nan)
