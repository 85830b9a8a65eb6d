# SPDX-License-Identifier: Apache-2.0
"""The radio-visual-ssl command: work on captures, data sets and bags, without a ROS installation."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from radio_visual_ssl.evaluation.metrics import View

if TYPE_CHECKING:
    from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame

app = typer.Typer(
    help='Radar-only localization learned from paired radar and camera recordings.',
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={'help_option_names': ['-h', '--help']},
)
import_app = typer.Typer(help='Turn a public data set into a paired bag.', no_args_is_help=True)
app.add_typer(import_app, name='import')

Json = Annotated[bool, typer.Option('--json', help='Print one JSON object as the last line on stdout.')]
Bag = Annotated[Path, typer.Argument(help='A rosbag2 folder (metadata.yaml + MCAP).', show_default=False)]
ImageOffset = Annotated[
    float, typer.Option('--camera-offset', metavar='S', help="Seconds added to the camera's stamps before pairing.")
]
PairedOffset = Annotated[
    float | None,
    typer.Option(
        '--camera-offset',
        metavar='S',
        help="Seconds added to the camera's stamps. Default: what the bag was paired with, if it was.",
    ),
]

DEFAULT: list[str] = ['cfar']
NOTHING: list[str] = []

# A pipe or a file has no width of its own: tables stay whole there.
console = Console(width=None if sys.stdout.isatty() else 120)
messages = Console(stderr=True)


def main() -> None:
    """Run the command; bad input ends with one line on stderr and exit status 1."""
    try:
        app()
    except (OSError, ValueError) as error:
        messages.print(f'[bold red]error:[/] {escape(str(error))}', highlight=False, soft_wrap=True)
        sys.exit(1)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function of (done, total) that moves a progress bar on stderr; silent where that is no terminal."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_json(result: dict[str, Any]) -> None:
    """One line of JSON; NaN and infinities, which JSON lacks, are an error."""
    print(json.dumps(result, allow_nan=False), flush=True)


def table(title: str, columns: list[str], rows: list[list[str]], texts: int = 1) -> None:
    """Print a table whose first columns, as many as ``texts``, are text and whose others are figures."""
    result = Table(*columns, title=title, title_justify='left')
    for column in result.columns[texts:]:
        column.justify = 'right'
    for column in result.columns:
        column.overflow = 'fold'
    for row in rows:
        result.add_row(*row)
    console.print(result)


@import_app.command('radiate')
def import_radiate_command(
    folder: Annotated[Path, typer.Argument(help='Folder of one RADIATE sequence.', show_default=False)],
    out: Annotated[Path, typer.Option(help='The new bag; never overwritten.', show_default=False)],
    camera_offset: ImageOffset = 0.0,
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bag with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Make a paired bag of a RADIATE sequence: heatmaps, images, calibration and ground truth."""
    from radio_visual_ssl.datasets.radiate import import_radiate

    with progress_bar('importing') as progress:
        report = import_radiate(folder, out, camera_offset, progress, compress=compress)
    console.print(
        f'{report.path}: {report.scans} scans, {report.images} images, {report.targets} annotated boxes, '
        f"{report.targets_in_camera_view} of them in the camera's view",
        highlight=False,
    )
    if report.missing_scans or report.missing_images:
        console.print(f'listed but without a picture: {report.missing_scans} scans, {report.missing_images} images')
    if as_json:
        print_json({**vars(report), 'path': str(report.path)})


@app.command()
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
    from radio_visual_ssl.bags.timing_sheet import draw_timing

    with progress_bar('reading') as progress:
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
        console.print(f'without a message: {", ".join(silent)}', highlight=False, markup=False, soft_wrap=True)
    if inspection.radar_topic is not None:
        console.print(
            f'{inspection.pairs} pairs; {inspection.unpaired} radar frames and {inspection.unpaired_images} images '
            f'without a partner within {inspection.slop_s * 1e3:.0f} ms'
        )
        for line in inspection.offset_lines() if estimate else ():
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if count and inspection.radar_topic is not None:
        sheet = out or Path(f'{bag.resolve().name}_contact_sheet.png')
        timing = sheet.with_name(f'{sheet.stem.removesuffix("_contact_sheet")}_timing.png')
        bad: list[str] = []
        with progress_bar('drawing') as progress:
            draw_contact_sheet(
                bag,
                sheet,
                count=count,
                image_offset_s=inspection.image_offset_s,
                progress=progress,
                on_bad_image=lambda error: bad.append(str(error)),
            )
        draw_timing(inspection, timing)
        if bad:
            console.print(f'{len(bad)} images cannot be decoded; the first: {bad[0]}', markup=False, soft_wrap=True)
        console.print(f'contact sheet: {sheet}\ntiming: {timing}', soft_wrap=True)
    if as_json:
        print_json(inspection.as_json())


@app.command()
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

    for name in rename:
        if name.count('=') != 1:
            raise ValueError(f'--rename: expected OLD=NEW, got {name!r}')
    with progress_bar('pairing') as progress:
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
            rename=dict(name.split('=') for name in rename),
            default_names=default_names,
            compress=compress,
            progress=progress,
        )
    console.print(
        f'{report.path}: {report.messages} messages, {report.pairs} pairs of {report.radar_topic} and '
        f'{report.image_topic}; alone are {report.unpaired_radar} radar frames and {report.unpaired_image} images',
        highlight=False,
        soft_wrap=True,
    )
    if report.median_difference_s is not None and report.max_abs_difference_s is not None:
        console.print(
            f'image minus radar: median {report.median_difference_s * 1e3:+.1f} ms, '
            f'at most {report.max_abs_difference_s * 1e3:.1f} ms',
            highlight=False,
        )
    for note in report.notes():
        console.print(f'note: {note}', highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_json(report.to_json())


@app.command()
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
        console.print('; '.join(line for line in lines if line), highlight=False, markup=False, soft_wrap=True)
    if report.metadata_written:
        console.print('metadata.yaml: written anew')
    span = f'{report.messages} messages in {(report.end_ns - report.start_ns) / 1e9:.3f} s'
    done = 'sound, nothing to do' if report.sound else 'complete now'
    console.print(f'{bag}: {done}; {span}', highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_json(report.as_json())


@app.command()
def evaluate(
    bag: Bag,
    backend: Annotated[list[str], typer.Option(help='What finds the targets; give it again to compare.')] = DEFAULT,
    settings: Annotated[
        str,
        typer.Option(
            help="Of the back end: 'auto' (those shipped for the bag's radar, if any), 'default', the name of a file "
            'in config/<backend>/, or a path.'
        ),
    ] = 'auto',
    view: Annotated[
        View, typer.Option(help='Which true targets count: those that the camera sees, that the radar sees, or all.')
    ] = 'camera',
    report: Annotated[
        Path | None, typer.Option(help='Folder for pictures: error curve, and the frame with the most targets.')
    ] = None,
    camera_offset: PairedOffset = None,
    as_json: Json = False,
) -> None:
    """Judge localizers on a bag with ground truth: recall, precision, error and signed bias."""
    from radio_visual_ssl.bags.reader import BagReader
    from radio_visual_ssl.evaluation.backends import load_localizer
    from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame, evaluate_bag
    from radio_visual_ssl.evaluation.pictures import draw_errors, draw_frame, table_rows

    reader = BagReader(bag)
    radar = reader.radar_name()
    localizers = {name: load_localizer(name, settings, radar) for name in backend}
    total = reader.streams[reader.radar_topic()].count
    fullest: EvaluatedFrame | None = None
    with progress_bar('evaluating') as progress:
        done = 0

        def on_frame(frame: EvaluatedFrame) -> None:
            nonlocal done, fullest
            done += 1
            progress(done, total)
            if report is not None and frame.matches and (fullest is None or _telling(frame) > _telling(fullest)):
                fullest = frame

        evaluation = evaluate_bag(
            bag,
            localizers,
            view=view,
            image_offset_s=camera_offset,
            images=report is not None,
            on_frame=on_frame,
        )
    columns = zip(*table_rows(evaluation.metrics), strict=True)
    header, *rows = ([str(cell) for cell in column] for column in columns)
    table(f'{bag}, targets in view of the {view}', header, rows)
    for name, metrics in evaluation.metrics.items():
        if metrics.bias_range_m is not None and metrics.bias_azimuth_deg is not None:
            console.print(f'{name}: bias {metrics.bias_range_m:+.2f} m in range, {metrics.bias_azimuth_deg:+.2f} deg')
    for note in evaluation.notes:
        console.print(f'note: {note}', highlight=False, markup=False, soft_wrap=True)
    if report is not None:
        console.print(f'picture: {draw_errors(evaluation, report / "errors.png", bag.name)}', soft_wrap=True)
        if fullest is not None:
            first = next(iter(localizers))
            picture = draw_frame(
                fullest.frame.image,
                fullest.frame.heatmap,
                fullest.detections[first],
                fullest.frame.truth,
                evaluation.camera,
                out=report / 'frame.png',
                view=evaluation.view,
                metrics=evaluation.metrics,
                title=f'{bag.name}, {first}',
            )
            console.print(f'picture: {picture}', soft_wrap=True)
    if as_json:
        print_json(evaluation.to_json())


def _telling(frame: 'EvaluatedFrame') -> tuple[bool, int]:
    """Rank of a frame for the picture: with an image rather than without, then by the targets that count."""
    return frame.frame.image is not None, sum(match.targets for match in frame.matches.values())


@app.command()
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


@app.command()
def simulate(
    scene: Annotated[str, typer.Argument(help='Scene: a name in config/scenes/ or a YAML file.', show_default=False)],
    out: Annotated[Path, typer.Option(help='Folder of the data set; an interrupted one is finished.')],
    radar: Annotated[str, typer.Option(help='Radar profile: a name in config/radars/ or a YAML file.')] = (
        'ofdm_28ghz_400mhz_16rx'
    ),
    frames: Annotated[int, typer.Option(help='Pairs in all.', min=1)] = 2000,
    seed: Annotated[int, typer.Option(help='Draws everything that is drawn.', min=0)] = 0,
    backend: Annotated[
        str, typer.Option(help='scatter: fast point scatterers and rasteriser. raytraced: Sionna RT and Mitsuba, slow.')
    ] = 'scatter',
    instances: Annotated[
        int, typer.Option(help='Of the scene, a bag each. Default: 60 (train 40, val 10, test 10), 10 frames or more.')
    ] = 0,
    workers: Annotated[int, typer.Option(help='Processes; their number changes nothing in the bags.', min=1)] = 1,
    rate: Annotated[float, typer.Option(help='Pairs a second.')] = 10.0,
    image_size: Annotated[str, typer.Option(metavar='WxH', help='Size of the images in pixels.')] = '320x240',
    cube: Annotated[bool, typer.Option('--cube', help='Raw cubes instead of heatmaps.')] = False,
    raw_images: Annotated[bool, typer.Option('--raw-images', help='Raw images instead of JPEG.')] = False,
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bags with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Make a simulated data set: paired bags with ground truth, split into train, val and test by scene instance."""
    import time

    from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

    size = image_size.lower().split('x')
    if len(size) != 2 or not all(side.isdigit() for side in size):
        raise ValueError(f'--image-size: expected WIDTHxHEIGHT such as 320x240, got {image_size!r}')
    plan = DatasetPlan(
        scene,
        radar,
        frames,
        seed=seed,
        backend=backend,
        instances=instances,
        rate=rate,
        image_size=(int(size[0]), int(size[1])),
        cube=cube,
        raw_images=raw_images,
        compress=compress,
    )
    start = time.perf_counter()
    with progress_bar('simulating') as progress:
        report = generate(plan, out, workers, progress)
    seconds = time.perf_counter() - start
    splits = ', '.join(f'{count} {name}' for name, count in report.splits.items())
    kept = f', {report.kept} of them from before' if report.kept else ''
    console.print(
        f'{report.path}: {report.frames} pairs in {report.instances} bags ({splits}){kept}, {seconds:.1f} s',
        highlight=False,
        soft_wrap=True,
    )
    if as_json:
        print_json({**vars(report), 'path': str(report.path), 'seconds': round(seconds, 3)})


@app.command()
def heatmap(
    capture: Annotated[Path, typer.Argument(metavar='FILE', help='A .npy cube or a DCA1000 .bin.', show_default=False)],
    radar: Annotated[
        str, typer.Option(help='Radar profile: a name in config/radars/ or a YAML file.', show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help='PNG: heatmap, range-Doppler map and movers.')] = None,
    frame: Annotated[int, typer.Option(help='Frame of the capture.', min=0)] = 0,
    count: Annotated[int, typer.Option(help='Most movers to list.', min=1, max=100)] = 5,
    min_velocity: Annotated[
        float | None, typer.Option(help='m/s below which nothing counts as a mover. Default: a few Doppler bins.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Look into a raw capture: range-azimuth heatmap, range-Doppler map and the strongest movers."""
    from radio_visual_ssl.radar.quicklook import draw_quick_look, quick_look

    look = quick_look(capture, radar, frame=frame, count=count, min_velocity=min_velocity)
    result = look.to_json()
    rows = [
        [str(number), *(f'{mover[key]:.2f}' for key in ('range_m', 'azimuth_deg', 'velocity_m_s', 'snr_db'))]
        for number, mover in enumerate(result['movers'], 1)
    ]
    columns = ['', 'range (m)', 'azimuth (deg, + left)', 'velocity (m/s, + receding)', 'SNR (dB)']
    table(f'{capture}: strongest movers', columns, rows)
    if out is not None:
        console.print(f'picture: {draw_quick_look(look, out)}', soft_wrap=True)
    if as_json:
        print_json(result)
