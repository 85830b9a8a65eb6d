# SPDX-License-Identifier: Apache-2.0
"""Writes a rosbag2 folder (MCAP) in one piece: either the whole bag appears or nothing."""

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from radio_visual_ssl.bags.typestore import serialize, typestore
from radio_visual_ssl.share import PACKAGE

# Sent once and kept for late subscribers; all other topics are reliable and volatile, which any subscriber can hear.
LATCHED_TYPES = (f'{PACKAGE}/msg/RadarInfo', f'{PACKAGE}/msg/HeatmapInfo', 'sensor_msgs/msg/CameraInfo')
LATCHED_TOPICS = ('/tf_static',)

_INFINITE = QosTime(9223372036, 854775807)


class BagError(ValueError):
    """A bag cannot be read or written, or does not hold what was asked for; the message names it."""


def qos_profile(latched: bool) -> Qos:
    """QoS that players offer: reliable, and transient local where late subscribers need the last message."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_INFINITE,
        lifespan=_INFINITE,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_INFINITE,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """Context manager that writes one bag.

    The bag grows in a hidden folder beside its destination and takes its name when the block ends well. When the
    block raises, nothing is left. The metadata is of version 8, which Humble and all later distributions read.

    Args:
        path: of the new rosbag2 folder; what is missing of the folders above it is made.
        compress: zstd in the MCAP chunks.

    Raises:
        BagError: something of that name exists already, or the folder cannot be made.
    """

    def __init__(self, path: str | Path, compress: bool = False) -> None:
        self.path = Path(path)
        self._compress = compress
        self._connections: dict[str, Connection] = {}
        self._folder: Path | None = None
        self._writer: Writer | None = None
        self._refuse_existing()

    def __enter__(self) -> 'BagWriter':
        """Make the hidden folder."""
        self._refuse_existing()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f'.{self.path.name}.', dir=self.path.parent))
        except OSError as error:
            raise BagError(f'{self.path}: cannot be written: {error}') from error
        self._writer = Writer(self._folder / self.path.name, version=8, storage_plugin=StoragePlugin.MCAP)
        if self._compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the bag its name, or remove what there is of it."""
        if self._writer is None or self._folder is None:
            return
        writer, folder = self._writer, self._folder
        self._writer = self._folder = None
        try:
            if kind is None:
                writer.close()
                self._refuse_existing()
                (folder / self.path.name).rename(self.path)
            else:
                writer.abort()
        except OSError as failure:
            raise BagError(f'{self.path}: cannot be written: {failure}') from failure
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add_topic(
        self,
        topic: str,
        message_type: str,
        *,
        latched: bool | None = None,
        qos: Qos | None = None,
        definition: str | None = None,
        type_hash: str | None = None,
    ) -> None:
        """Declare a topic before its first message; ``write`` does so by itself where the defaults are right.

        Args:
            topic: name, with a leading slash.
            message_type: such as ``'sensor_msgs/msg/Image'``.
            latched: whether players keep the last message for late subscribers; None = for info topics and /tf_static.
            qos: offered instead of the profile that ``latched`` selects.
            definition: message definition (.msg with its dependencies), for a type that the typestore lacks.
            type_hash: RIHS01 hash of that type.

        Raises:
            BagError: no leading slash, a topic declared twice, or a type without a definition.
        """
        if not topic.startswith('/'):
            raise BagError(f'{self.path}: topic {topic!r}: expected a leading slash')
        if topic in self._connections:
            raise BagError(f'{self.path}: topic {topic}: declared twice')
        known = message_type in typestore().fielddefs
        if not known and (definition is None or type_hash is None):
            raise BagError(f'{self.path}: topic {topic}: expected a definition with the unknown type {message_type}')
        if latched is None:
            latched = message_type in LATCHED_TYPES or topic in LATCHED_TOPICS
        self._connections[topic] = self._open_writer().add_connection(
            topic,
            message_type,
            typestore=typestore(),
            msgdef=definition,
            rihs01=type_hash,
            offered_qos_profiles=[qos or qos_profile(latched)],
        )

    def write(self, topic: str, stamp_ns: int, message: Any) -> None:
        """Append a rosbags message.

        Args:
            topic: name, with a leading slash.
            stamp_ns: time of the bag (when players send it); ascending stamps make the fastest bags to read.
            message: a rosbags dataclass, see ``typestore.RosbagsTypes``.

        Raises:
            BagError: a message of another type than the topic's, or with a field that does not fit its type.
        """
        try:
            data = serialize(message)
        except ValueError as error:
            raise BagError(f'{self.path}: topic {topic}: {error}') from error
        self.write_serialized(topic, stamp_ns, message.__msgtype__, data)

    def write_serialized(self, topic: str, stamp_ns: int, message_type: str, data: bytes | memoryview) -> None:
        """Append a message given as CDR bytes.

        Raises:
            BagError: the topic carries another type, or the type is unknown and was not declared with ``add_topic``.
        """
        if topic not in self._connections:
            self.add_topic(topic, message_type)
        connection = self._connections[topic]
        if connection.msgtype != message_type:
            raise BagError(f'{self.path}: topic {topic}: expected messages of {connection.msgtype}, got {message_type}')
        if not 0 <= stamp_ns < 2**63:
            raise BagError(f'{self.path}: topic {topic}: expected a stamp from 0 ns on, got {stamp_ns} ns')
        try:
            self._open_writer().write(connection, stamp_ns, data)
        except OSError as error:
            raise BagError(f'{self.path}: cannot be written: {error}') from error

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise BagError(f'{self.path}: the bag is not open; use BagWriter in a with statement')
        return self._writer

    def _refuse_existing(self) -> None:
        if os.path.lexists(self.path):
            raise BagError(f'{self.path}: exists already; a bag never overwrites anything')
