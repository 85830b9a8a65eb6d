# SPDX-License-Identifier: Apache-2.0
"""Static transforms between frames, followed from neighbour to neighbour."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.messages import transform_from_message

Mapping = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rotation (3, 3) and translation (3,) m: a place p becomes rotation @ p + translation."""


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
