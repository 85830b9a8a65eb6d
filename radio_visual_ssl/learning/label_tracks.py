# SPDX-License-Identifier: Apache-2.0
"""Which way targets go over the ground, from labels of the same target in the frames around.

A link may be wrong here and there: a heading counts where the labels of two seconds agree upon it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

_HALF_WINDOW = 1.05  # s before and after a label, within which labels of the same target tell its heading
_TOP_SPEED = 20.0  # m/s
_SLACK = 1.5  # m, that a place may be off besides
_STEADY = 0.4  # of the top speed: how much a known velocity may err
_LONGEST_GAP = 1.1  # s, in which a target may be unseen
_SMOOTHING = 0.5  # s, of the velocity by which a target is looked for
_LIKENESS = 0.3  # of the reach, that a mask e times as large counts
_LEAST_WAY = 1.0  # m, that a target must have gone within the window
_PLACE_STD = 0.5  # m, of a label against those of the frames around
_MOST_HEADING_STD = np.radians(30)


def link_labels(
    frame: NDArray[np.int64],
    seconds: NDArray[np.float64],
    position: NDArray[np.float64],
    area: NDArray[np.float64],
) -> list[NDArray[np.int64]]:
    """Numbers of the labels of each target of one recording, ascending; one that is alone is a track by itself.

    Labels are linked from frame to frame, one-to-one, by where the target should be and by how large it is.

    Args:
        frame: (N,) ascending, number of each label's frame.
        seconds: (N,) of the frame.
        position: (N, 2) m, over the ground.
        area: (N,) m^2, of the mask at the label's place.
    """
    size = np.log(np.maximum(area, 1e-6))
    ended: list[list[int]] = []
    tracks: list[list[int]] = []
    velocities: list[NDArray[np.float64] | None] = []
    _, starts = np.unique(frame, return_index=True)
    for rows in np.split(np.arange(frame.size), starts[1:]) if frame.size else []:
        now = float(seconds[rows[0]])
        alive = [now - seconds[track[-1]] <= _LONGEST_GAP for track in tracks]
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


def track_headings(seconds: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) rad, which way a target goes at each of its labels, anticlockwise from x; NaN where that is not sure.

    It is that of a straight line, fitted to the labels within a second before and after.

    Args:
        seconds: (N,) of the labels of one track.
        position: (N, 2) m.
    """
    near = np.abs(seconds[:, None] - seconds) <= _HALF_WINDOW
    centred = np.where(near, seconds - (near @ seconds / near.sum(axis=1))[:, None], 0.0)
    squares = np.sum(centred**2, axis=1)
    velocity = centred @ position / np.maximum(squares, 1e-9)[:, None]
    speed = np.linalg.norm(velocity, axis=1)
    way = speed * np.ptp(centred, axis=1)
    std = _PLACE_STD / np.maximum(speed * np.sqrt(squares), 1e-9)
    sure = (way >= _LEAST_WAY) & (std <= _MOST_HEADING_STD)
    return np.where(sure, np.arctan2(velocity[:, 1], velocity[:, 0]), np.nan)
