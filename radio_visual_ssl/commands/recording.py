# SPDX-License-Identifier: Apache-2.0
"""record, inspect, pair and repair: bags of what a radar and a camera saw."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from radio_visual_ssl.commands.options import Bag, ImageOffset, Json, PairedOffset, named_as_options
from radio_visual_ssl.commands.output import check_writable, console, print_json, progress_bar, table

NOTHING: list[str] = []
_PAIR_OPTIONS = {
    'slop_s': '--slop',
    'radar_offset_s': '--radar-offset',
    'image_offset_s': '--camera-offset',
    'reordering_s': '--reordering',
    'stamps': '--stamps',
}


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for command in (record, inspect, pair, repair):
        app.command()(command)


def record(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar='[NAME:=VALUE]...',
            help="More arguments: 'ros2 launch --show-args radio_visual_ssl record.launch.py'.",
        ),
    ] = None,
    camera: Annotated[
        str,
        typer.Option(help='Camera index, device, video file, image folder or stream. Default: the topic that exists.'),
    ] = '',
    radar_topic: Annotated[str, typer.Option(help='Heatmaps or raw cubes. Default: radar/heatmap.')] = '',
    image_topic: Annotated[str, typer.Option(help='Images, raw or compressed. Default: camera/image_raw.')] = '',
    output: Annotated[
        str, typer.Option(help='The new bag, never overwritten; strftime codes are filled in. Default: pairs_<time>.')
    ] = '',
    duration: Annotated[
        float, typer.Option(help='Seconds from the first radar frame or image on; 0 = until Ctrl-C.', min=0)
    ] = 0.0,
    simulate: Annotated[bool, typer.Option('--simulate', help='Record a simulated radar and camera.')] = False,
    rviz: Annotated[bool, typer.Option('--rviz', help='Open RViz with the live pair view.')] = False,
    namespace: Annotated[str, typer.Option(help='ROS namespace of nodes and topics.')] = '',
) -> None:
    """Record a radar and a camera as pairs into a bag: 'ros2 launch radio_visual_ssl record.launch.py'. Needs ROS 2."""
    ros2 = shutil.which('ros2')
    if ros2 is None:
        raise ValueError(
            "record: expected ROS 2, found no 'ros2' on the path; run 'make build' and '. ./env.sh', or source your "
            'ROS 2 and the workspace that holds this package'
        )
    texts = {'camera': camera, 'radar_topic': radar_topic, 'image_topic': image_topic, 'output': output}
    texts |= {'namespace': namespace, 'duration': f'{duration:g}' if duration else ''}
    texts |= {'simulate': 'true' if simulate else '', 'rviz': 'true' if rviz else ''}
    given = [f'{name}:={text}' for name, text in texts.items() if text]
    sys.stdout.flush()
    os.execv(ros2, [ros2, 'launch', 'radio_visual_ssl', 'record.launch.py', *given, *(arguments or [])])


def inspect(
    bag: Bag,
    out: Annotated[
        Path | None,
        typer.Option(help='Contact sheet PNG; the timing is drawn beside it. Default: <bag>_contact_sheet.png here.'),
    ] = None,
    count: Annotated[int, typer.Option(help='Frames on the contact sheet; 0 = draw nothing.', min=0, max=20)] = 4,
    camera_offset: PairedOffset = None,
    search: Annotated[
        float, typer.Option(metavar='S', help='Largest time offset that is looked for.', min=0.1, max=60.0)
    ] = 2.0,
    estimate: Annotated[bool, typer.Option(help='Estimate the time offset; --no-estimate only reads stamps.')] = True,
    as_json: Json = False,
) -> None:
    """Tell what a bag holds, how regular its stamps are and by how much the camera's are off; draw both.

    In the JSON, time_offset_s is what to add to the camera's stamps; null = cannot tell, time_offset_reason says why.
    """
    from radio_visual_ssl.bags.contact_sheet import draw_contact_sheet
    from radio_visual_ssl.bags.inspection import inspect_bag
    from radio_visual_ssl.bags.metadata import BagError
    from radio_visual_ssl.bags.timing_sheet import draw_timing

    if out is not None:
        check_writable('--out', out)
    with named_as_options(image_offset_s='--camera-offset'), progress_bar('reading') as progress:
        inspection = inspect_bag(
            bag,
            image_offset_s=camera_offset,
            search_s=search,
            estimate=estimate,
            progress=progress,
            estimate_progress=progress,
        )
    rows = [
        [
            topic,
            stream.type,
            str(stream.count),
            '-' if stream.rate_hz is None else f'{stream.rate_hz:.2f}',
            '-' if stream.jitter_ms is None else f'{stream.jitter_ms:.2f}',
            '-' if stream.max_gap_s is None else f'{stream.max_gap_s:.3f}',
            str(stream.gaps),
        ]
        for topic, stream in inspection.streams.items()
        if stream.count
    ]
    columns = ['topic', 'type', 'messages', 'rate\n(Hz)', 'jitter\n(ms)', 'longest\ngap (s)', 'gaps']
    table(str(bag), columns, rows, texts=2)
    silent = [topic for topic, stream in inspection.streams.items() if not stream.count]
    if silent:
        console.print(f'without a message: {", ".join(silent)}', soft_wrap=True)
    if inspection.radar_topic is not None:
        console.print(
            f'{inspection.pairs} pairs; {inspection.unpaired} radar frames and {inspection.unpaired_images} images '
            f'without a partner within {inspection.slop_s * 1e3:.0f} ms'
        )
        for line in inspection.offset_lines() if estimate else ():
            console.print(line, soft_wrap=True)
    notes = list(inspection.notes)
    if count and inspection.radar_topic is not None:
        sheet = out or Path(f'{bag.resolve().name}_contact_sheet.png')
        timing = sheet.with_name(f'{sheet.stem.removesuffix("_contact_sheet")}_timing.png')
        bad: list[str] = []
        try:
            with progress_bar('drawing') as progress:
                draw_contact_sheet(
                    bag,
                    sheet,
                    count=count,
                    image_offset_s=inspection.image_offset_s,
                    progress=progress,
                    on_bad_image=lambda error: bad.append(str(error)),
                )
            console.print(f'contact sheet: {sheet}', soft_wrap=True)
        except BagError as error:
            notes.append(f'no contact sheet: {error}')
        draw_timing(inspection, timing)
        if bad:
            notes.append(f'{len(bad)} images cannot be decoded; the first: {bad[0]}')
        console.print(f'timing: {timing}', soft_wrap=True)
    for note in notes:
        console.print(f'note: {note}', soft_wrap=True)
    if as_json:
        print_json({**inspection.as_json(), 'notes': notes})


def pair(
    bags: Annotated[list[Path], typer.Argument(metavar='BAG...', help='Rosbag2 folders or files.', show_default=False)],
    out: Annotated[Path, typer.Option(help='The new bag; never overwritten.', show_default=False)],
    radar_topic: Annotated[
        str | None, typer.Option(help='Radar stream. Default: the heatmaps or cubes that the bags hold.')
    ] = None,
    image_topic: Annotated[
        str | None, typer.Option(help='Images. Default: /camera/image_raw, raw or compressed.')
    ] = None,
    slop: Annotated[float, typer.Option(metavar='S', help='Largest difference of a pair, seconds.', min=0.0)] = 0.025,
    radar_offset: Annotated[
        float, typer.Option(metavar='S', help="Seconds added to the radar's stamps before pairing.")
    ] = 0.0,
    camera_offset: ImageOffset = 0.0,
    reordering: Annotated[
        float, typer.Option(metavar='S', help='By how much a message may be late within its stream.', min=0.0)
    ] = 0.0,
    stamps: Annotated[
        str, typer.Option(help="Pair by 'header' stamps, or by 'reception': when the recorder got a message.")
    ] = 'header',
    pairs_only: Annotated[
        bool, typer.Option('--pairs-only', help='Leave out radar frames and images without a partner.')
    ] = False,
    rename: Annotated[
        list[str], typer.Option(metavar='OLD=NEW', help='New name of a topic; give it again for more.')
    ] = NOTHING,
    default_names: Annotated[
        bool, typer.Option('--default-names', help='Give the two streams and the truth the names that others look for.')
    ] = False,
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bag with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Pair the radar frames and images of recorded bags, by the rule of the live recorder.

    All messages of all bags go into the new one, with an index of the pairs on /pairs.
    """
    from radio_visual_ssl.bags.offline_pairing import pair_bags

    names: dict[str, str] = {}
    for text in rename:
        old, _, new = text.partition('=')
        if text.count('=') != 1:
            raise ValueError(f'--rename: expected OLD=NEW, got {text!r}')
        if old in names:
            raise ValueError(f'--rename: expected one new name of {old}, got {names[old]} and {new}')
        names[old] = new
    with named_as_options(**_PAIR_OPTIONS), progress_bar('pairing') as progress:
        report = pair_bags(
            bags,
            out,
            radar_topic=radar_topic,
            image_topic=image_topic,
            slop_s=slop,
            radar_offset_s=radar_offset,
            image_offset_s=camera_offset,
            reordering_s=reordering,
            stamps=stamps,
            pairs_only=pairs_only,
            rename=names,
            default_names=default_names,
            compress=compress,
            progress=progress,
        )
    console.print(
        f'{report.path}: {report.messages} messages, {report.pairs} pairs of {report.radar_topic} and '
        f'{report.image_topic}; alone are {report.unpaired_radar} radar frames and {report.unpaired_image} images',
        soft_wrap=True,
    )
    if report.median_difference_s is not None and report.max_abs_difference_s is not None:
        console.print(
            f'image minus radar: median {report.median_difference_s * 1e3:+.1f} ms, '
            f'at most {report.max_abs_difference_s * 1e3:.1f} ms',
        )
    for note in report.notes():
        console.print(f'note: {note}', soft_wrap=True)
    if as_json:
        print_json(report.to_json())


def repair(
    bag: Annotated[Path, typer.Argument(help='A bag folder or an .mcap file.', show_default=False)],
    as_json: Json = False,
) -> None:
    """Complete an MCAP bag whose recorder was killed, in place; a sound bag is left untouched."""
    from radio_visual_ssl.bags.repair import repair_bag

    with progress_bar('reading') as progress:
        report = repair_bag(bag, progress)
    for file in report.files:
        salvaged = f', {file.salvaged} of them out of a torn chunk' if file.salvaged else ''
        problems = '; '.join(file.problems)
        lines = [f'{file.name}: {file.state}, {file.messages} messages{salvaged}', problems]
        if file.removed_bytes or file.set_aside_bytes:
            lines.append(f'{file.removed_bytes} torn bytes removed, {file.set_aside_bytes} unreadable bytes set aside')
        console.print('; '.join(line for line in lines if line), soft_wrap=True)
    if report.metadata_written:
        console.print('metadata.yaml: written anew')
    span = f'{report.messages} messages in {(report.end_ns - report.start_ns) / 1e9:.3f} s'
    done = 'sound, nothing to do' if report.sound else 'complete now'
    console.print(f'{bag}: {done}; {span}', soft_wrap=True)
    if as_json:
        print_json(report.as_json())
