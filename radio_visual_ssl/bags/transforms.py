# SPDX-License-Identifier: Apache-2.0
"""Transforms between frames: static ones, followed from neighbour to neighbour, and trajectories over the ground."""

from array import array
from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from radio_visual_ssl.bags.messages import MessageError, transform_from_message

Mapping = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rotation (3, 3) and translation (3,) m: a place p becomes rotation @ p + translation."""

_SLACK_NS = 150_000_000  # of a stamp beside a transform, where that may stand for it
_LONGEST_GAP_NS = 1_000_000_000  # between two transforms, where a place between them is still known


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
    """The trajectory of a frame, such as a radar's, over the ground.

    The ground is the frame ``odom`` (also ``robot1/odom``), in which robots move without jumps, or ``map`` where there
    is none in which the frame moves, or else the last one of the chain (REP-105). What moves in none of them, but is
    fixed to one of the first two, stands.

    Args:
        frame: whose trajectory is asked for.
    """

    def __init__(self, frame: str) -> None:
        self._frame = frame.lstrip('/')
        # of each child, its parents; of some stamps, x, y, z, and a quaternion (x, y, z, w): no message is kept
        self._static: dict[str, dict[str, Mapping]] = {}
        self._stamps: dict[str, dict[str, array[int]]] = {}
        self._moving: dict[str, dict[str, array[float]]] = {}

    def add_static(self, message: Any) -> None:
        """Take over transforms that hold at all times; a later one of the same two frames replaces the earlier.

        Args:
            message: tf2_msgs/TFMessage of /tf_static.

        Raises:
            MessageError: a rotation that is not a unit quaternion.
        """
        for entry in message.transforms:
            self._static.setdefault(_child(entry), {})[_parent(entry)] = transform_from_message(entry)

    def add(self, message: Any) -> None:
        """Take over transforms of a time.

        Args:
            message: tf2_msgs/TFMessage of /tf.
        """
        for entry in message.transforms:
            child, parent = _child(entry), _parent(entry)
            stamps = self._stamps.setdefault(child, {}).setdefault(parent, array('q'))
            stamps.append(entry.header.stamp.sec * 10**9 + entry.header.stamp.nanosec)
            place, q = entry.transform.translation, entry.transform.rotation
            samples = self._moving.setdefault(child, {}).setdefault(parent, array('d'))
            samples.extend((place.x, place.y, place.z, q.x, q.y, q.z, q.w))

    def trajectory(self, stamps_ns: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """(N, 3) x, y (m) and yaw (rad) over the ground, NaN where no transform is near or the frame is upside down.

        Args:
            stamps_ns: (N,) times.

        Returns:
            None where the ground is not known: nothing carries the frame, or several things do and none is a ground.

        Raises:
            MessageError: a rotation on the way that is not a unit quaternion.
        """
        chain = self._chain()
        if chain is None:
            return None
        count = len(stamps_ns)
        rotation, place = np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3))
        for child, parent in pairwise(chain):
            if parent in self._stamps.get(child, {}):
                stamps = np.array(self._stamps[child][parent], np.int64)
                samples = np.array(self._moving[child][parent]).reshape(-1, 7)
                turn, shift = _interpolated(stamps, samples, stamps_ns, f'{parent} -> {child}')
                if parent in self._static.get(child, {}):  # what is told once and for all holds where nothing else does
                    lost = np.isnan(shift[:, 0])
                    turn[lost], shift[lost] = self._static[child][parent]
            else:
                turn, shift = self._static[child][parent]
            rotation, place = turn @ rotation, (turn @ place[..., None])[..., 0] + shift
        found = np.column_stack((place[:, :2], np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])))
        found[rotation[:, 2, 2] <= 0] = np.nan
        return found

    def _chain(self) -> list[str] | None:
        """Frames from the one that is asked for to the ground, which is the nearest one of its kind."""
        chains: dict[str, list[str]] = {self._frame: [self._frame]}
        queue, ambiguous = deque([self._frame]), False
        while queue:
            child = queue.popleft()
            parents = {*self._static.get(child, {}), *self._stamps.get(child, {})}
            ambiguous = ambiguous or len(parents) > 1
            for parent in sorted(parents - set(chains)):
                chains[parent] = [*chains[child], parent]
                queue.append(parent)
        grounds = [
            chain for kind in ('odom', 'map') for frame, chain in chains.items() if frame.rpartition('/')[2] == kind
        ]
        *_, top = chains.values()
        # one that moves first: vehicles without odometry have a fixed odom below the map
        for chain in grounds + ([] if ambiguous else [top]):
            if any(parent in self._stamps.get(child, {}) for child, parent in pairwise(chain)):
                return chain
        return grounds[0] if grounds else None


def _child(entry: Any) -> str:
    return str(entry.child_frame_id).lstrip('/')


def _parent(entry: Any) -> str:
    return str(entry.header.frame_id).lstrip('/')


def _interpolated(
    stamps: NDArray[np.int64], samples: NDArray[np.float64], wanted_ns: NDArray[np.int64], frames: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 3, 3) rotations and (N, 3) translations at some times; NaN where there is nothing near.

    Args:
        stamps: (M,) ns.
        samples: (M, 7) translation and quaternion.
        wanted_ns: (N,) times.
        frames: parent and child.

    Raises:
        MessageError: a rotation that is not a unit quaternion.
    """
    wrong = ~(np.abs(np.sum(samples[:, 3:] ** 2, axis=1) - 1) < 1e-3)
    if wrong.any():
        quaternion = tuple(samples[wrong][0, 3:].tolist())
        raise MessageError(f'TransformStamped {frames}: expected a unit quaternion, got {quaternion}')
    wanted = np.asarray(wanted_ns, np.int64)
    first = int(wanted[0]) if wanted.size else int(stamps[0])
    # in whole microseconds from the first that is wanted: a stamp that lies years off must not cost the others digits
    stamps, order = np.unique((stamps - first) // 1000, return_index=True)
    samples, at = samples[order], (wanted - first) // 1000
    after = np.clip(np.searchsorted(stamps, at), 0, len(stamps) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(stamps[after] - at) <= np.abs(stamps[before] - at), after, before)
    near = np.abs(stamps[nearest] - at) <= _SLACK_NS // 1000
    between = (
        (at >= stamps[before]) & (at <= stamps[after]) & (stamps[after] - stamps[before] <= _LONGEST_GAP_NS // 1000)
    )
    # where there is no way from one to the next, what is near stands for the time
    inside, times = np.where(between, at, stamps[nearest]).astype(np.float64), stamps.astype(np.float64)
    turns = Rotation.from_quat(samples[:, 3:])
    turn = Slerp(times, turns)(inside).as_matrix() if len(times) > 1 else turns[nearest].as_matrix()
    shift = np.column_stack([np.interp(inside, times, samples[:, axis]) for axis in range(3)])
    lost = ~(between | near)
    shift[lost], turn[lost] = np.nan, np.nan
    return turn, shift
