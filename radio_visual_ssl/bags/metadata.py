# SPDX-License-Identifier: Apache-2.0
"""What a rosbag2 bag says about itself: its topics with their types and QoS, its files, and metadata.yaml."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2.metadata import dump_qos_v8
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from radio_visual_ssl.bags.typestore import typestore
from radio_visual_ssl.share import PACKAGE
from radio_visual_ssl.whole_file import replacing

METADATA_FILE = 'metadata.yaml'
# Version 8 is the last one that Humble and all later distributions read.
METADATA_VERSION = 8

# Sent once and kept for late subscribers; all other topics are reliable and volatile, which any subscriber can hear.
LATCHED_TYPES = (f'{PACKAGE}/msg/RadarInfo', f'{PACKAGE}/msg/HeatmapInfo', 'sensor_msgs/msg/CameraInfo')
LATCHED_TOPICS = ('/tf_static',)

_INFINITE = QosTime(9223372036, 854775807)
_IDL = '=' * 80 + '\nIDL: '
_NO_TIME = 2**63 - 1
# libyaml writes the metadata of a bag an order of magnitude faster, which data sets of many bags feel
_DUMPER = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)


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


@dataclass(frozen=True)
class Topic:
    """One topic as a bag declares it.

    Attributes:
        name: with a leading slash.
        type: such as ``'sensor_msgs/msg/Image'``.
        qos: profiles that players offer.
        latched: whether what was sent last holds until the next message (transient local, or info by its type).
        definition: of the type and what it contains, as text.
        encoding: of the definition, ``'ros2msg'`` or ``'ros2idl'``.
        type_hash: RIHS01 hash; empty where it is not known.
    """

    name: str
    type: str
    qos: tuple[Qos, ...]
    latched: bool
    definition: str
    encoding: str
    type_hash: str

    @property
    def qos_text(self) -> str:
        """The profiles as YAML, as metadata of version 8 and MCAP channels carry them."""
        return _qos_text(self.qos)


@cache
def _qos_text(qos: tuple[Qos, ...]) -> str:
    """Made once: writing YAML takes milliseconds, and a data set has thousands of topics with few profiles."""
    return str(dump_qos_v8(list(qos)))


def declare_topic(
    bag: Path,
    topic: str,
    message_type: str,
    *,
    latched: bool | None = None,
    qos: Qos | None = None,
    definition: str | None = None,
    type_hash: str | None = None,
) -> Topic:
    """A topic for a new bag, with all that is not given filled in.

    Args:
        bag: that errors name.
        topic: name, with a leading slash.
        message_type: such as ``'sensor_msgs/msg/Image'``.
        latched: whether the last message is kept for late subscribers; None = as ``qos`` says, and for info topics and
            /tf_static.
        qos: offered instead of the profile that ``latched`` selects.
        definition: message definition (.msg with its dependencies, or IDL), for a type that the typestore lacks or
            knows with other fields.
        type_hash: RIHS01 hash of the type; None = computed where the definition can be parsed.

    Raises:
        BagError: no leading slash, or a type without a definition.
    """
    if not topic.startswith('/'):
        raise BagError(f'{bag}: topic {topic!r}: expected a leading slash')
    if definition is None:
        if message_type not in typestore().fielddefs:
            raise BagError(f'{bag}: topic {topic}: expected a definition with the unknown type {message_type}')
        known_hash = typestore().hash_rihs01(message_type)
        if type_hash and type_hash != known_hash:
            differs = f'{message_type}, whose hash {type_hash} differs from {known_hash} here'
            raise BagError(f'{bag}: topic {topic}: expected a definition with the type {differs}')
        definition, _ = typestore().generate_msgdef(message_type, ros_version=2)
        type_hash = known_hash
    if latched is None:
        latched = message_type in LATCHED_TYPES or topic in LATCHED_TOPICS
        latched |= qos is not None and qos.durability == QosDurability.TRANSIENT_LOCAL
    return Topic(
        name=topic,
        type=message_type,
        qos=(qos or qos_profile(latched),),
        latched=latched,
        definition=definition,
        encoding='ros2idl' if definition.startswith(_IDL) else 'ros2msg',
        type_hash=_hash_of(message_type, definition) if type_hash is None else type_hash,
    )


def _hash_of(message_type: str, definition: str) -> str:
    """RIHS01 hash of a type that came with its definition; empty where rosbags cannot parse it."""
    if definition.startswith(_IDL):
        return ''
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(definition, message_type))
        return store.hash_rihs01(message_type)
    except (TypesysError, KeyError):
        return ''


@dataclass(frozen=True)
class BagFile:
    """One file of a bag.

    Attributes:
        name: without its folder.
        start_ns, end_ns: bag times of the first and the last message; 0 where there is none.
        counts: messages by topic.
    """

    name: str
    start_ns: int = 0
    end_ns: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return sum(self.counts.values())


def bag_information(topics: Sequence[tuple[str, str, str, str]], files: Sequence[BagFile]) -> dict[str, Any]:
    """The ``rosbag2_bagfile_information`` of a bag of MCAP files.

    Args:
        topics: (name, type, QoS text, type hash) of each topic.
        files: in the order in which they are read.
    """
    filled = [file for file in files if file.message_count]
    start_ns = min((file.start_ns for file in filled), default=_NO_TIME)
    end_ns = max((file.end_ns for file in filled), default=_NO_TIME)
    return {
        'version': METADATA_VERSION,
        'storage_identifier': 'mcap',
        'duration': {'nanoseconds': end_ns - start_ns},
        'starting_time': {'nanoseconds_since_epoch': start_ns},
        'message_count': sum(file.message_count for file in files),
        'topics_with_message_count': [
            {
                'topic_metadata': {
                    'name': name,
                    'type': message_type,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': qos_text,
                    'type_description_hash': type_hash,
                },
                'message_count': sum(file.counts.get(name, 0) for file in files),
            }
            for name, message_type, qos_text, type_hash in topics
        ],
        'compression_format': '',
        'compression_mode': '',
        'relative_file_paths': [file.name for file in files],
        'files': [
            {
                'path': file.name,
                'starting_time': {'nanoseconds_since_epoch': file.start_ns if file.message_count else _NO_TIME},
                'duration': {'nanoseconds': file.end_ns - file.start_ns},
                'message_count': file.message_count,
            }
            for file in files
        ],
        'custom_data': None,
        'ros_distro': os.environ.get('ROS_DISTRO', ''),
    }


def metadata_text(information: dict[str, Any]) -> str:
    """YAML of ``bag_information``, without the top-level key of metadata.yaml."""
    return str(yaml.dump(information, Dumper=_DUMPER, sort_keys=False))


def write_metadata(folder: Path, information: dict[str, Any]) -> None:
    """Write metadata.yaml of a bag's folder in one piece.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    # a bag whose folder was removed meanwhile is no bag: no new folder for it
    with replacing(folder / METADATA_FILE, make_folder=False) as temporary:
        temporary.write_text(metadata_text({'rosbag2_bagfile_information': information}), encoding='utf-8')
