# SPDX-License-Identifier: Apache-2.0
"""Forms the heatmaps of recorded cubes: a copy of a bag in which heatmaps stand in for cubes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.pairing import PAIR_TYPE
from radio_visual_ssl.bags.reader import BagReader, RawMessage
from radio_visual_ssl.bags.topics import CUBE_TYPE, IMAGE_TYPE, heatmap_topic, radar_info_topic, velocity_topic
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.radar.formation import FormationSettings
from radio_visual_ssl.share import PACKAGE


@dataclass(frozen=True)
class FormReport:
    """What ``form_bag`` did.

    Attributes:
        path: of the new bag.
        radar: name of the radar.
        cube_topic: that heatmaps were formed from.
        heatmap_topic: of the new heatmaps.
        heatmaps: formed.
        shape: (range, azimuth) bins of them.
        refused: cubes that no heatmap could be formed from.
        first_fault: of these; None without any.
        with_clutter: heatmaps from which what stands was not removed by the radar's own velocity, for none was told;
            None where it was not asked for.
        messages: in the new bag.
    """

    path: Path
    radar: str
    cube_topic: str
    heatmap_topic: str
    heatmaps: int
    shape: tuple[int, int]
    refused: int
    first_fault: str | None
    with_clutter: int | None
    messages: int

    def to_json(self) -> dict[str, Any]:
        """Mapping that json.dumps takes."""
        return {**vars(self), 'path': str(self.path), 'shape': list(self.shape)}


def form_bag(
    bag: str | Path,
    out: str | Path,
    settings: FormationSettings = FormationSettings(),
    *,
    cube_topic: str | None = None,
    compress: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FormReport:
    """Write a bag with the heatmaps, and velocities, that ``heatmap_node`` would have formed of a bag's cubes.

    They have the cubes' stamps and times. Cubes, and what the bag holds on the topics of the heatmaps, stay behind; all
    other messages are copied as they are, but for the index of pairs, which names the heatmaps then.

    Args:
        bag: with radar cubes and their info.
        out: the new bag, never overwritten.
        settings: how heatmaps are formed.
        cube_topic: cubes; None = the only ones.
        compress: zstd.
        progress: called with (messages read, messages to be read).

    Raises:
        BagError: a bag that cannot be read, no cubes or cubes on several topics, settings that the radar does not
            allow, not one cube that a heatmap could be formed from, or an output that exists or cannot be written.
    """
    reader = BagReader(bag)
    topic = cube_topic or _only_cubes(reader)
    reader.stream(topic, CUBE_TYPE)
    new = heatmap_topic(topic)
    info_topic, speed_topic = radar_info_topic(new, IMAGE_TYPE), velocity_topic(new)
    copied = [name for name in reader.streams if name not in (topic, new, info_topic, speed_topic)]
    to_heatmap, stamp_of, types = reader.heatmap_decoder(topic, settings), reader.stamp_reader(topic), RosbagsTypes()
    total, written, formed = sum(stream.count for stream in reader.streams.values()), 0, 0
    faults: list[str] = []
    refused: set[int] = set()
    by_ego_motion, with_clutter = settings.clutter_removal == 'ego_motion', 0
    told: tuple[Any, ...] = (0, 0), ''  # what the last info said: shape, radar and all that may change
    with BagWriter(out, compress=compress) as writer:
        for name in copied:
            writer.add_stream(name, reader.streams[name])
        writer.add_topic(info_topic, f'{PACKAGE}/msg/HeatmapInfo', latched=True)

        def form(message: RawMessage) -> int:
            """Write what is formed of a cube; returns the number of messages."""
            nonlocal told, with_clutter
            stamp_ns = stamp_of(message)
            try:
                frame_id, heatmap = to_heatmap(message)
            except BagError as error:
                faults.append(str(error))
                refused.add(stamp_ns)
                return 0
            with_clutter += by_ego_motion and heatmap.ego_velocity is None
            parts = [(new, messages.heatmap_to_image(heatmap, stamp_ns, frame_id, types))]
            if heatmap.velocity is not None:
                parts.insert(0, (speed_topic, messages.velocity_to_image(heatmap, stamp_ns, frame_id, types)))
            kind = heatmap.grid.shape, heatmap.radar, frame_id, heatmap.reference, str(heatmap.noise_floor)
            if kind != told:
                parts.insert(0, (info_topic, messages.heatmap_to_info(heatmap, stamp_ns, frame_id, types)))
                told = kind
            for name, part in parts:
                writer.write(name, message.time_ns, part)
            return len(parts)

        for number, message in enumerate(reader.raw_messages([*copied, topic]), start=1):
            if message.topic == topic:
                count = form(message)
                formed += count > 0
                written += count
            elif message.type == PAIR_TYPE:
                pair = reader.decode(message)
                if pair.radar_topic != topic:
                    writer.write(message.topic, message.time_ns, pair)
                    written += 1
                elif messages.stamp_to_ns(pair.header.stamp) not in refused:
                    pair.radar_topic = new
                    writer.write(message.topic, message.time_ns, pair)
                    written += 1
            else:
                writer.write_serialized(message.topic, message.time_ns, message.type, message.data)
                written += 1
            if progress is not None:
                progress(number, total)
        if not formed:
            got = faults[0] if faults else 'none'
            raise BagError(f'{reader.path}: topic {topic}: expected cubes that heatmaps can be formed from, got {got}')
    return FormReport(
        path=Path(out),
        radar=told[1],
        cube_topic=topic,
        heatmap_topic=new,
        heatmaps=formed,
        shape=told[0],
        refused=len(faults),
        first_fault=faults[0] if faults else None,
        with_clutter=with_clutter if by_ego_motion else None,
        messages=written,
    )


def _only_cubes(reader: BagReader) -> str:
    """The topic of the bag's cubes."""
    found = [name for name, stream in reader.streams.items() if stream.type == CUBE_TYPE]
    if len(found) != 1:
        present = ', '.join(sorted(found)) if found else ', '.join(sorted(reader.streams)) or 'no topics'
        wanted = 'one topic of radar cubes' if not found else 'one topic of radar cubes, or the one to be named'
        raise BagError(f'{reader.path}: expected {wanted}, found {present}')
    return found[0]
