# SPDX-License-Identifier: Apache-2.0
"""A bag as versions before HeatmapInfo.formation wrote it."""

from pathlib import Path

from radio_visual_ssl.bags.messages import heatmap_to_messages
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.radar.heatmap import Heatmap

_TYPE = 'radio_visual_ssl/msg/HeatmapInfo'
_LAST_FIELD = 'string formation\n'
_LAST_BYTES = 5  # of an empty text: its length with the closing zero, and that


def older_bag(path: Path, heatmap: Heatmap, stamp_ns: int, info_bytes: int = -_LAST_BYTES) -> Path:
    """Writes one heatmap and its info, of which so many bytes are left."""
    definition, _ = typestore().generate_msgdef(_TYPE, ros_version=2)
    assert definition.count(_LAST_FIELD) == 1
    image, info = heatmap_to_messages(heatmap, stamp_ns, 'radar', RosbagsTypes())
    assert info.formation == ''
    with BagWriter(path) as bag:
        bag.add_topic('/radar/heatmap_info', _TYPE, definition=definition.replace(_LAST_FIELD, ''))
        bag.write_serialized('/radar/heatmap_info', stamp_ns, _TYPE, serialize(info)[:info_bytes])
        bag.write('/radar/heatmap', stamp_ns, image)
    return path
