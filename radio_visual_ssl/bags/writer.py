# SPDX-License-Identifier: Apache-2.0
"""Writes a rosbag2 folder (MCAP) in one piece: either the whole bag appears or nothing."""

import contextlib
import math
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rosbags.interfaces import Qos

from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.streaming import StreamingBag
from radio_visual_ssl.bags.typestore import serialize, typestore

if TYPE_CHECKING:
    from radio_visual_ssl.bags.reader import Stream

_UNKNOWN_HASH = 'RIHS01_' + 64 * '0'


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
        self._folder: Path | None = None
        self._bag: StreamingBag | None = None
        self._refuse_existing()

    def __enter__(self) -> 'BagWriter':
        """Make the hidden folder."""
        self._refuse_existing()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f'.{self.path.name}.', dir=self.path.parent))
        except OSError as error:
            raise BagError(f'{self.path}: cannot be written: {error}') from error
        path = self._folder / self.path.name
        self._bag = StreamingBag(path, compress=self._compress, flush_interval_s=math.inf, title=self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the bag its name, or remove what there is of it."""
        if self._bag is None or self._folder is None:
            return
        bag, folder = self._bag, self._folder
        self._bag = self._folder = None
        try:
            if kind is not None:
                with contextlib.suppress(BagError):
                    bag.close()
                return
            bag.close()
            if bag.error is not None:
                raise bag.error
            self._refuse_existing()
            bag.path.rename(self.path)
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

        See ``metadata.declare_topic`` for the arguments.

        Raises:
            BagError: no leading slash, a topic declared twice, or a type without a definition.
        """
        self._open_bag().add_topic(
            topic, message_type, latched=latched, qos=qos, definition=definition, type_hash=type_hash
        )

    def add_stream(self, topic: str, stream: 'Stream') -> None:
        """Declare a topic as another bag has it: type, definition, hash and QoS.

        Raises:
            BagError: as ``add_topic``.
        """
        known = stream.type in typestore().fielddefs
        computed = typestore().hash_rihs01(stream.type) if known else _UNKNOWN_HASH
        self.add_topic(
            topic,
            stream.type,
            qos=stream.qos[0] if stream.qos else None,
            definition=None if known and not stream.definition else stream.definition,
            type_hash=stream.type_hash or computed,
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
        bag = self._open_bag()
        if topic not in bag.topics:
            bag.add_topic(topic, message_type)
        expected = bag.topics[topic].type
        if expected != message_type:
            raise BagError(f'{self.path}: topic {topic}: expected messages of {expected}, got {message_type}')
        bag.write(topic, stamp_ns, data)

    def _open_bag(self) -> StreamingBag:
        if self._bag is None:
            raise BagError(f'{self.path}: the bag is not open; use BagWriter in a with statement')
        return self._bag

    def _refuse_existing(self) -> None:
        if os.path.lexists(self.path):
            raise BagError(f'{self.path}: exists already; a bag never overwrites anything')
