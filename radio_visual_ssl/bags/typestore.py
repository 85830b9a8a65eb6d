# SPDX-License-Identifier: Apache-2.0
"""Message types without ROS: Jazzy's standard ones, our own and the part of vision_msgs that we publish or take."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from radio_visual_ssl.share import PACKAGE, share_path

# vision_msgs 4.1, fields only: the standard store lacks the package, and a host without ROS has it nowhere else.
_VISION_MSGS = {
    'ObjectHypothesis': 'string class_id\nfloat64 score',
    'ObjectHypothesisWithPose': 'ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose',
    'Point2D': 'float64 x\nfloat64 y',
    'Pose2D': 'Point2D position\nfloat64 theta',
    'BoundingBox2D': 'Pose2D center\nfloat64 size_x\nfloat64 size_y',
    'Detection2D': 'std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id',
    'Detection2DArray': 'std_msgs/Header header\nDetection2D[] detections',
    'BoundingBox3D': 'geometry_msgs/Pose center\ngeometry_msgs/Vector3 size',
    'Detection3D': 'std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\nstring id',
    'Detection3DArray': 'std_msgs/Header header\nDetection3D[] detections',
}


@cache
def typestore() -> Typestore:
    """The types that this package reads and writes; one store per process.

    Raises:
        FileNotFoundError: the package's msg/ folder is missing.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(share_path('msg').glob('*.msg')):
        store.register(get_types_from_msg(path.read_text(encoding='utf-8'), f'{PACKAGE}/msg/{path.stem}'))
    for name, text in _VISION_MSGS.items():
        store.register(get_types_from_msg(text, f'vision_msgs/msg/{name}'))
    return store


class OlderType:
    """A type of this package as an older version had it: without its last fields, texts that may be empty.

    Args:
        name: such as ``'radio_visual_ssl/msg/HeatmapInfo'``.
        recorded: with the definition of then.

    Raises:
        ValueError: the definitions differ in another way.
    """

    def __init__(self, name: str, recorded: Typestore) -> None:
        before, now = (store.fielddefs[name][1] for store in (recorded, typestore()))
        new = now[len(before) :]
        nested = [each for _, kind in before for each in _types_in(kind)]
        same = before == now[: len(before)] and all(
            recorded.hash_rihs01(each) == typestore().hash_rihs01(each) for each in nested
        )
        if not same or not new or any(kind != (Nodetype.BASE, ('string', 0)) for _, kind in new):
            raise ValueError(f'{name}: expected the fields of this version but for texts at the end')
        self._name, self._recorded, self._new = name, recorded, [field for field, _ in new]

    def completed(self, data: bytes) -> bytes:
        """CDR bytes of a message as this version has it: what it did not tell is empty."""
        known = vars(self._recorded.deserialize_cdr(data, self._name))
        return serialize(typestore().types[self._name](**known, **dict.fromkeys(self._new, '')))


def _types_in(kind: Any) -> Iterator[str]:
    """Names of the message types that a field holds, in arrays and sequences, too."""
    if kind[0] is Nodetype.NAME:
        yield kind[1]
    elif kind[0] is not Nodetype.BASE:
        yield from _types_in(kind[1][0])


class RosbagsTypes:
    """Makes messages as rosbags' dataclasses (see ``messages.MessageTypes``)."""

    def __call__(self, name: str) -> type[Any]:
        """Class of a message type such as ``'sensor_msgs/msg/Image'``.

        Raises:
            KeyError: the type is not in the store.
        """
        return typestore().types[name]

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """Value of a primitive sequence field: the array itself, flat, copied only where it is not contiguous."""
        return np.ascontiguousarray(values).reshape(-1)


def serialize(message: Any) -> bytes:
    """CDR bytes (little-endian) of a rosbags message.

    Raises:
        ValueError: a field holds a value that its type cannot.
    """
    name = message.__msgtype__
    try:
        return bytes(typestore().serialize_cdr(message, name))
    except Exception as error:
        raise ValueError(f'{name}: expected fields that fit its definition, got {error!r}') from error
