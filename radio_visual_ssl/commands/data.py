# SPDX-License-Identifier: Apache-2.0
"""simulate and import: bags without a radar of your own."""

from pathlib import Path
from typing import Annotated

import typer

from radio_visual_ssl.commands.options import Formation, ImageOffset, Json, named_as_options
from radio_visual_ssl.commands.output import console, print_json, progress_bar

NOTHING: list[str] = []
_OPTIONS = {
    'backend': '--backend',
    'begin_s': '--begin-s',
    'camera': '--camera-shift, --camera-turn',
    'device': '--device',
    'formation': '--formation',
    'image_size': '--image-size',
    'instances': '--instances',
    'rate': '--rate',
}

import_app = typer.Typer(help='Turn a raw capture or a public data set into a bag.', no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(simulate)
    app.add_typer(import_app, name='import')


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
        int,
        typer.Option(
            help='Scenes, one bag each; 0: 60 (train 40, val 10, test 10), or fewer so that each has 10 pairs.'
        ),
    ] = 0,
    workers: Annotated[int, typer.Option(help='Processes; their number changes nothing in the bags.', min=1)] = 1,
    rate: Annotated[
        float, typer.Option(help='Pairs a second; 2 for sets to train on: their bags should last 20 s or more.')
    ] = 10.0,
    begin_s: Annotated[
        float, typer.Option(help='Time of the first pair in the scene: other moments of scenes that are known.', min=0)
    ] = 0.0,
    image_size: Annotated[str, typer.Option(metavar='WxH', help='Size of the images in pixels.')] = '320x240',
    camera_shift: Annotated[
        float, typer.Option(help='m, how far from its place each instance may mount its camera.', min=0)
    ] = 0.0,
    camera_turn: Annotated[float, typer.Option(help='deg, by how much it may turn it.', min=0)] = 0.0,
    overrides: Annotated[
        list[str],
        typer.Option(
            '--set', metavar='NAME=VALUE', help='Override a value of the scene, as in movers_present=[0,3]; repeatable.'
        ),
    ] = NOTHING,
    device: Annotated[
        str,
        typer.Option(
            help='That computes what the radar measures: cpu, or cuda; bags of the two differ in the last bits.'
        ),
    ] = 'cpu',
    formation: Formation = NOTHING,
    cube: Annotated[bool, typer.Option('--cube', help='Raw cubes instead of heatmaps.')] = False,
    raw_images: Annotated[bool, typer.Option('--raw-images', help='Raw images instead of JPEG.')] = False,
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bags with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Make a simulated data set: paired bags with ground truth, split into train, val and test by scene instance."""
    import time

    from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

    size = image_size.lower().split('x')
    if len(size) != 2 or not all(side.isascii() and side.isdigit() for side in size):
        raise ValueError(f'--image-size: expected WIDTHxHEIGHT such as 320x240, got {image_size!r}')
    start = time.perf_counter()
    with named_as_options(**_OPTIONS), progress_bar('simulating') as progress:
        plan = DatasetPlan(
            scene,
            radar,
            frames,
            seed=seed,
            backend=backend,
            instances=instances,
            rate=rate,
            begin_s=begin_s,
            image_size=(int(size[0]), int(size[1])),
            cube=cube,
            raw_images=raw_images,
            compress=compress,
            camera_shift=camera_shift,
            camera_turn_deg=camera_turn,
            device=device,
            formation=tuple(formation),
            overrides=tuple(overrides),
        )
        report = generate(plan, out, workers, progress)
    seconds = time.perf_counter() - start
    splits = ', '.join(f'{count} {name}' for name, count in report.splits.items())
    kept = f', {report.kept} of them from before' if report.kept else ''
    console.print(
        f'{report.path}: {report.frames} pairs in {report.instances} bags ({splits}){kept}, {seconds:.1f} s',
        soft_wrap=True,
    )
    if as_json:
        print_json({**vars(report), 'path': str(report.path), 'seconds': round(seconds, 3)})


@import_app.command('capture')
def import_capture_command(
    capture: Annotated[
        Path, typer.Argument(help='Raw samples: .npy, or .bin of a DCA1000 capture card.', show_default=False)
    ],
    radar: Annotated[
        str, typer.Option(help='Radar profile: a name in config/radars/ or a YAML file.', show_default=False)
    ],
    start: Annotated[
        str,
        typer.Option(
            metavar='TIME',
            help="When the first frame began, by the camera's clock: seconds since 1970, or as in "
            '2026-05-04T10:11:12.5+02:00.',
            show_default=False,
        ),
    ],
    period: Annotated[float, typer.Option(metavar='S', help='Seconds between the starts of frames.', min=0)],
    out: Annotated[Path, typer.Option(help='The new bag; never overwritten.', show_default=False)],
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bag with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Make a bag of radar cubes of a raw capture; `pair` puts it together with the camera's."""
    from radio_visual_ssl.datasets.raw_capture import import_capture

    start_ns = _nanoseconds(start)
    with named_as_options(period='--period', start='--start'), progress_bar('importing') as progress:
        report = import_capture(capture, radar, out, start_ns, period, progress, compress=compress)
    console.print(f'{report.path}: {report.frames} frames of radar {report.radar!r}')
    if as_json:
        print_json({**vars(report), 'path': str(report.path)})


@import_app.command('cruw')
def import_cruw_command(
    folder: Annotated[
        Path,
        typer.Argument(help='Folder of one CRUW sequence, in the layout of ROD2021.', show_default=False),
    ],
    out: Annotated[Path, typer.Option(help='The new bag; never overwritten.', show_default=False)],
    annotations: Annotated[
        Path | None, typer.Option(help="Text file with the targets. Default: the data set's own, if any.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="YAML of the camera's calibration. Default: the data set's own, if any.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar='TIME',
            help='When the first frame was taken: seconds since 1970, or as in 2019-04-09T10:11:12Z. '
            "Default: midnight of the day in the sequence's name.",
        ),
    ] = None,
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bag with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Make a paired bag of a CRUW (ROD2021) sequence: heatmaps, pictures, calibration and ground truth."""
    from radio_visual_ssl.datasets.cruw import import_cruw

    start_ns = None if start is None else _nanoseconds(start)
    with progress_bar('importing') as progress:
        report = import_cruw(
            folder,
            out,
            progress,
            annotations=annotations,
            calibration=calibration,
            start_ns=start_ns,
            compress=compress,
        )
    truth = 'no annotations'
    if report.targets is not None:
        truth = f'{report.targets} annotated targets, {report.targets_in_radar_view} of them where the challenge judges'
    console.print(f'{report.path}: {report.frames} radar frames, {report.images} images, {truth}', soft_wrap=True)
    if report.incomplete_frames:
        console.print(f'left out, since they lack a chirp: {report.incomplete_frames} radar frames')
    if report.targets_elsewhere:
        console.print(f'of frames that are not in the bag: {report.targets_elsewhere} annotated targets')
    if report.without_calibration:
        console.print(f'without calibration: {report.without_calibration}', soft_wrap=True)
    if as_json:
        print_json({**vars(report), 'path': str(report.path)})


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

    with named_as_options(camera_offset='--camera-offset'), progress_bar('importing') as progress:
        report = import_radiate(folder, out, camera_offset, progress, compress=compress)
    console.print(
        f'{report.path}: {report.scans} scans, {report.images} images, {report.targets} annotated boxes, '
        f"{report.targets_in_camera_view} of them in the camera's view",
    )
    if report.missing_scans or report.missing_images:
        console.print(f'listed but without a picture: {report.missing_scans} scans, {report.missing_images} images')
    if as_json:
        print_json({**vars(report), 'path': str(report.path)})


@import_app.command('deepsense')
def import_deepsense_command(
    folder: Annotated[
        Path, typer.Argument(help='Folder of one DeepSense 6G scenario, or the CSV in it.', show_default=False)
    ],
    out: Annotated[Path, typer.Option(help='The new bag; never overwritten.', show_default=False)],
    bearing: Annotated[
        float | None,
        typer.Option(
            metavar='DEG',
            help='Where the radar looks, clockwise from north; without it no ground truth is written.',
            show_default=False,
        ),
    ] = None,
    radar: Annotated[
        str | None,
        typer.Option(
            help='Radar profile: a name in config/radars/ or a YAML file. Default: that of scenarios 9, 31 to 34.',
            show_default=False,
        ),
    ] = None,
    sequences: Annotated[
        list[int] | None,
        typer.Option('--sequence', metavar='N', help='Only rows of this seq_index; repeatable.', show_default=False),
    ] = None,
    camera_offset: ImageOffset = 0.0,
    compress: Annotated[bool, typer.Option('--compress', help='Compress the bag with zstd.')] = False,
    as_json: Json = False,
) -> None:
    """Make a paired bag of a DeepSense 6G scenario: radar cubes, images and the other unit's place."""
    from radio_visual_ssl.datasets.deepsense import import_deepsense

    options = {'bearing': '--bearing', 'camera_offset': '--camera-offset', 'radar': '--radar'}
    with named_as_options(**options), progress_bar('importing') as progress:
        report = import_deepsense(
            folder,
            out,
            radar=radar,
            bearing=bearing,
            camera_offset=camera_offset,
            sequences=sequences or (),
            progress=progress,
            compress=compress,
        )
    console.print(
        f'{report.path}: {report.frames} frames of radar {report.radar!r}, {report.images} images, '
        f'{report.targets} positions of unit 2'
    )
    if report.bearing is None:
        console.print('no ground truth: --bearing must tell where the radar looks')
    if report.missing_frames or report.missing_images or report.missing_positions:
        console.print(
            f'missing: {report.missing_frames} radar files, {report.missing_images} pictures, '
            f'{report.missing_positions} positions'
        )
    if as_json:
        print_json({**vars(report), 'path': str(report.path)})


def _nanoseconds(start: str) -> int:
    """Since 1970, of the time that --start gives."""
    from radio_visual_ssl.datasets.raw_capture import parse_time

    try:
        return parse_time(start)
    except ValueError as error:
        raise ValueError(f'--start: {error}') from error
