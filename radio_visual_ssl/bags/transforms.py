# SPDX-License-Identifier: Apache-2.0
"""Transforms between frames: static ones, followed from neighbour to neighbour, and the way of one that is carried."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from radio_visual_ssl.bags.messages import transform_from_message

Mapping = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rotation (3, 3) and translation (3,) m: a place p becomes rotation @ p + translation."""

ODOM_FRAME = 'odom'
"""In which vehicles and robots move without jumps (REP-105)."""

_SLACK_S = 0.15  # of a stamp before the first transform or after the last one
_LONGEST_GAP_S = 1.0  # between two transforms, where a place between them is still known


class StaticTransforms:
    """The tree of frames that /tf_static describes."""

    def __init__(self) -> None:
        self._neighbours: dict[str, dict[str, Mapping]] = {}

    def add(self, message: Any) -> None:
        """Take over the transforms of a tf2_msgs/TFMessage; a later one of the same two frames replaces the earlier.

        Raises:
            MessageError: a rotation that is not a unit quaternion.
        """
        for entry in message.transforms:
            rotation, translation = transform_from_message(entry)
            parent, child = entry.header.frame_id, entry.child_frame_id
            self._neighbours.setdefault(child, {})[parent] = (rotation, translation)
            self._neighbours.setdefault(parent, {})[child] = (rotation.T, -rotation.T @ translation)

    def between(self, target: str, source: str) -> Mapping | None:
        """What takes places of the frame ``source`` to ``target``; None where the two are not connected."""
        found: dict[str, Mapping] = {source: (np.eye(3), np.zeros(3))}
        queue = deque([source])
        while queue:
            frame = queue.popleft()
            rotation, translation = found[frame]
            for neighbour, (turn, shift) in self._neighbours.get(frame, {}).items():
                if neighbour not in found:
                    found[neighbour] = (turn @ rotation, turn @ translation + shift)
                    queue.append(neighbour)
        return found.get(target)


class CarriedFrame:
    """The way of a frame through those that carry it, up to ``odom``, or to the last one where there is none.

    Args:
        frame: such as the radar's.
    """

    def __init__(self, frame: str) -> None:
        self._frame = frame
        self._parents: dict[str, str] = {}
        self._static: dict[str, Any] = {}
        self._moving: dict[str, dict[int, Any]] = {}

    def add_static(self, message: Any) -> None:
        """Take over the transforms of a tf2_msgs/TFMessage of /tf_static."""
        for entry in message.transforms:
            self._parents[entry.child_frame_id] = entry.header.frame_id
            self._static[entry.child_frame_id] = entry

    def add(self, message: Any) -> None:
        """Take over the transforms of a tf2_msgs/TFMessage of /tf."""
        for entry in message.transforms:
            stamp_ns = entry.header.stamp.sec * 10**9 + entry.header.stamp.nanosec
            self._parents[entry.child_frame_id] = entry.header.frame_id
            self._moving.setdefault(entry.child_frame_id, {})[stamp_ns] = entry

    def way(self, stamps_ns: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """(N, 3) x, y (m) and yaw (rad) of the frame; NaN where no transform is near, None where nothing carries it.

        Args:
            stamps_ns: (N,) times.

        Raises:
            MessageError: a rotation that is not a unit quaternion.
        """
        count = len(stamps_ns)
        rotation, place = np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3))
        frame, carried, seen = self._frame, False, {self._frame}
        while frame in self._parents and frame != ODOM_FRAME:
            if frame in self._moving:
                turn, shift = _interpolated(self._moving[frame], stamps_ns)
                carried = True
            else:
                turn, shift = transform_from_message(self._static[frame])
            rotation, place = turn @ rotation, (turn @ place[..., None])[..., 0] + shift
            frame = self._parents[frame]
            if frame in seen:  # a loop is no tree
                return None
            seen.add(frame)
        if not carried:
            return None
        return np.column_stack((place[:, :2], np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])))


def _interpolated(
    entries: dict[int, Any], stamps_ns: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 3, 3) rotations and (N, 3) translations at some times; NaN where there is nothing near.

    Raises:
        MessageError: a rotation that is not a unit quaternion.
    """
    stamps = np.array(sorted(entries), np.int64)
    turns, shifts = map(np.array, zip(*(transform_from_message(entries[stamp]) for stamp in stamps), strict=True))
    first = int(stamps[0])
    times, at = (stamps - first) * 1e-9, (np.asarray(stamps_ns) - first) * 1e-9
    inside = np.clip(at, times[0], times[-1])
    shift = np.column_stack([np.interp(inside, times, shifts[:, axis]) for axis in range(3)])
    turn = Slerp(times, Rotation.from_matrix(turns))(inside).as_matrix() if len(times) > 1 else turns[[0] * len(at)]
    after = np.clip(np.searchsorted(times, inside), 1, max(len(times) - 1, 1))
    gap = np.diff(times)[after - 1] if len(times) > 1 else np.zeros(len(at))
    lost = (np.abs(at - inside) > _SLACK_S) | (gap > _LONGEST_GAP_S)
    shift[lost], turn[lost] = np.nan, np.nan
    return turn, shift
