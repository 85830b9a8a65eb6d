# SPDX-License-Identifier: Apache-2.0
"""Imports a sequence of CRUW in the layout of the ROD2021 challenge (TI 77 GHz radar, camera) as a paired bag.

Source: Wang et al., "Rethinking of Radar's Role: A Camera-Radar Dataset and Systematic Annotator via Coordinate
Alignment", CVPR Workshops 2021, and the sensor configuration and conventions of its devkit (cruw-devkit 1.1). The data
set is for non-commercial research: cite it, do not ship it.

::

    ROOT/sequences/train/2019_04_09_BMS1000/IMAGES_0/0000000000.jpg
                                           /RADAR_RA_H/000000_0000.npy     frame, chirp: (128, 128, 2) real, imaginary
    ROOT/annotations/train/2019_04_09_BMS1000.txt                          frame range(m) azimuth(rad) class
    ROOT/calib/2019_05_09/cam_0.yaml

- Range bins are those of a transform over 134 samples at 4 MHz and 21.0017 MHz/us, without the three at either end:
  0.639 to 27.697 m. Azimuth bins are uniform in the sine, and **positive to the right**, here as there in the
  annotations; in the bag they are positive to the left (REP-103), which turns the columns round.
- The camera lies at t = (0.11, -0.05, 0.06) m in the axes of its picture (right, down, forward): a place q of the
  radar, in those axes, is q + t in the camera's frame. The two look the same way.

What the files do not say, and how it is taken here:

- The power of a cell is the mean over the chirps that the data set keeps (four of 255), in dB above an unknown
  constant. They lie too far apart to tell a velocity.
- There are no stamps. Radar and camera give 30 frames a second, of equal numbers at the same time; the first one is
  taken at midnight (UTC) of the day that the sequence is named after, unless a start is given.
- Annotations have no height and no box: targets are points at the height of the radar. Those nearer than 1 m, farther
  than 25 m or more than 60 degrees aside are left out by the challenge, and are not in the radar's view here.
- The calibration is taken to be of the pictures as they are. Where it is of another size, or missing, the bag goes
  without it, and all targets count as seen by the camera, with whose help they were annotated.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.topics import IMAGE_TOPIC, camera_info_topic, compressed_image_topic
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.evaluation.ols import SIZES, is_judged
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.calibration import load_calibration
from radio_visual_ssl.vision.camera import FORWARD_LOOKING, CameraModel

RADAR_FRAME = 'radar'
CAMERA_FRAME = 'camera_optical'
RADAR_NAME = 'cruw_awr1843'
BINS = 128  # of range and of azimuth
FRAME_RATE = 30.0  # Hz
CAMERA_TO_RADAR = (0.11, -0.05, 0.06)  # m, right, down, forward

_CARRIER_FREQUENCY = 77e9  # Hz
_SAMPLE_RATE = 4e6  # Hz
_SLOPE = 21.0017e12  # Hz/s
_SAMPLES = 134
_FIRST_BIN = 3
_DARKEST = 1e-12  # power of a cell without any
_OWN_CALIBRATION = '2019_09_29'
_CALIBRATION_OF_THE_OTHERS = '2019_05_09'
_RADAR_FILE = re.compile(r'^(\d{6})_(\d{4})\.npy$')
_PICTURE_FILE = re.compile(r'^(\d{10})\.jpg$')
_DATE = re.compile(r'^(\d{4})_(\d{2})_(\d{2})(?!\d)')


class CruwError(ValueError):
    """A file of the sequence is missing or not what the data set's layout says; the message names it."""


@dataclass(frozen=True)
class CruwReport:
    """What an import put into the bag.

    Attributes:
        path: of the bag.
        frames, images: written.
        targets: annotated ones written, over all frames; None where the sequence has no annotations.
        targets_in_radar_view: of these, within what the challenge judges.
        incomplete_frames: radar frames that lack a chirp and are left out.
        without_calibration: why the bag has no calibration; '' where it has one.
    """

    path: Path
    frames: int
    images: int
    targets: int | None
    targets_in_radar_view: int | None
    incomplete_frames: int
    without_calibration: str


def import_cruw(
    folder: str | Path,
    out: str | Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    annotations: str | Path | None = None,
    calibration: str | Path | None = None,
    start_ns: int | None = None,
    compress: bool = False,
) -> CruwReport:
    """Make a bag of heatmaps, their info, the pictures as they are, and, where they are there, calibration and truth.

    Args:
        folder: of the sequence, with RADAR_RA_H/ and, in the training set, IMAGES_0/.
        out: the new rosbag2 folder.
        progress: called with (files done, files in all).
        annotations: text file; None = that of this name in the data set, if any.
        calibration: camera_info_manager's YAML; None = that of the sequence's day in the data set, if any.
        start_ns: of the first frame, since 1970; None = midnight of the day in the sequence's name.
        compress: zstd in the bag.

    Raises:
        CruwError: a file is missing, or not what it should be.
        BagError: the bag exists already or cannot be written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CruwError(f'{folder}: expected the folder of a CRUW sequence, found none')
    chirps, incomplete = _radar_files(folder / 'RADAR_RA_H')
    pictures = _pictures(folder / 'IMAGES_0')
    camera, without_calibration = _camera(folder, calibration, pictures)
    truth = _truth(_annotation_file(folder, annotations), camera)
    start_ns = _start_ns(folder.resolve().name) if start_ns is None else start_ns
    types, grid, done, total = RosbagsTypes(), polar_grid(), 0, len(chirps) + len(pictures)
    camera_info = camera_info_topic(IMAGE_TOPIC)
    with BagWriter(out, compress=compress) as bag:
        if camera is not None:
            mounting = messages.transform_to_message(
                camera.rotation.T,
                -camera.rotation.T @ camera.translation,
                start_ns,
                types,
                parent=RADAR_FRAME,
                child=CAMERA_FRAME,
            )
            bag.write('/tf_static', start_ns, types('tf2_msgs/msg/TFMessage')(transforms=[mounting]))
        for number in sorted({*chirps, *pictures}):
            stamp_ns = start_ns + round(number / FRAME_RATE * 1e9)
            if number in chirps:
                heatmap = _heatmap(chirps[number], grid)
                image, info = messages.heatmap_to_messages(heatmap, stamp_ns, RADAR_FRAME, types)
                if number == min(chirps):
                    bag.write('/radar/heatmap_info', stamp_ns, info)
                bag.write('/radar/heatmap', stamp_ns, image)
                if truth is not None:
                    found = messages.targets_to_message(truth.get(number, []), stamp_ns, RADAR_FRAME, types)
                    bag.write('/ground_truth/targets', stamp_ns, found)
                done += 1
            if number in pictures:
                compressed = messages.jpeg_to_message(pictures[number].read_bytes(), stamp_ns, CAMERA_FRAME, types)
                bag.write(compressed_image_topic(IMAGE_TOPIC), stamp_ns, compressed)
                if camera is not None:
                    bag.write(camera_info, stamp_ns, messages.camera_to_info(camera, stamp_ns, CAMERA_FRAME, types))
                done += 1
            if progress is not None:
                progress(done, total)
    written = None if truth is None else [target for number in chirps for target in truth.get(number, [])]
    return CruwReport(
        path=Path(out),
        frames=len(chirps),
        images=len(pictures),
        targets=None if written is None else len(written),
        targets_in_radar_view=None if written is None else sum(target.in_radar_view for target in written),
        incomplete_frames=incomplete,
        without_calibration=without_calibration,
    )


def polar_grid() -> PolarGrid:
    """Grid of a frame: 128 ranges, 0.639 to 27.697 m, and 128 azimuths uniform in the sine, -90 to 90 degrees."""
    spacing = _SAMPLE_RATE / _SAMPLES * SPEED_OF_LIGHT / _SLOPE / 2
    range_bins = np.arange(_FIRST_BIN, _FIRST_BIN + BINS, dtype=np.float64)
    return PolarGrid(range_bins * spacing, np.arcsin(np.linspace(-1.0, 1.0, BINS)))


def _heatmap(files: list[Path], grid: PolarGrid) -> Heatmap:
    """Mean power of the chirps of one frame."""
    power = np.zeros((BINS, BINS), np.float64)
    for path in files:
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CruwError(f'{path}: expected an array of {BINS} x {BINS} x 2 numbers: {error}') from error
        if values.shape != (BINS, BINS, 2) or values.dtype.kind != 'f':
            got = f'{" x ".join(map(str, values.shape))} of {values.dtype}'
            expected = f'expected {BINS} x {BINS} x 2 floats (range, azimuth, real and imaginary)'
            raise CruwError(f'{path}: {expected}, got {got}')
        power += np.sum(np.square(values, dtype=np.float64), axis=2)
    if not np.all(np.isfinite(power)):
        raise CruwError(f'{files[0]}, or another chirp of the frame: expected finite numbers, got NaN or infinity')
    decibel = 10 * np.log10(np.maximum(power / len(files), _DARKEST))
    # columns run from left to right, azimuth from right to left
    return Heatmap(
        decibel[:, ::-1].astype(np.float32),
        grid,
        Reference.ARBITRARY,
        radar=RADAR_NAME,
        carrier_frequency=_CARRIER_FREQUENCY,
        bandwidth=_SLOPE * _SAMPLES / _SAMPLE_RATE,
    )


def _radar_files(folder: Path) -> tuple[dict[int, list[Path]], int]:
    """The chirps of each complete frame, by its number, and how many frames lack one."""
    found: dict[int, dict[str, Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _RADAR_FILE.match(path.name):
            found.setdefault(int(match[1]), {})[match[2]] = path
    wanted = {chirp for of_frame in found.values() for chirp in of_frame}
    complete = {
        number: [path for _, path in sorted(of_frame.items())]
        for number, of_frame in sorted(found.items())
        if of_frame.keys() == wanted
    }
    if not complete:
        raise CruwError(f'{folder}: expected radar frames such as 000000_0000.npy (frame, chirp), found none')
    return complete, len(found) - len(complete)


def _pictures(folder: Path) -> dict[int, Path]:
    """The picture of each frame that has one; the challenge's test set has none."""
    if not folder.is_dir():
        return {}
    matches = ((_PICTURE_FILE.match(path.name), path) for path in folder.iterdir())
    found = {int(match[1]): path for match, path in matches if match}
    if not found:
        raise CruwError(f'{folder}: expected pictures such as 0000000000.jpg, found none')
    return found


def _camera(folder: Path, calibration: str | Path | None, pictures: dict[int, Path]) -> tuple[CameraModel | None, str]:
    """The camera, or why there is none."""
    if not pictures:
        return None, 'the sequence has no pictures'
    if calibration is None:
        day = folder.resolve().name[: len(_OWN_CALIBRATION)]
        of_day = _OWN_CALIBRATION if day == _OWN_CALIBRATION else _CALIBRATION_OF_THE_OTHERS
        calibration = _root(folder) / 'calib' / of_day / 'cam_0.yaml'
        if not calibration.is_file():
            return None, f'{calibration} is missing'
    try:
        known = load_calibration(calibration)
    except (OSError, ValueError) as error:
        raise CruwError(str(error)) from error
    first = pictures[min(pictures)]
    picture = cv2.imread(str(first))
    if picture is None:
        raise CruwError(f'{first}: expected a JPEG picture, got none that can be decoded')
    height, width = picture.shape[:2]
    if (known.width, known.height) != (width, height):
        size = f'{known.width} x {known.height}'
        return None, f'{calibration} is of pictures of {size}, and those of the sequence are {width} x {height}'
    rotation, translation = FORWARD_LOOKING, np.array(CAMERA_TO_RADAR)
    return (
        CameraModel(width, height, known.matrix, known.distortion, rotation, translation, known.distortion_model),
        '',
    )


def _root(folder: Path) -> Path:
    """Of the data set, above sequences/train/<sequence>."""
    above = folder.resolve().parents
    return above[min(2, len(above) - 1)]


def _annotation_file(folder: Path, given: str | Path | None) -> Path | None:
    """The annotations to read, if there are any."""
    if given is not None:
        if not Path(given).is_file():
            raise CruwError(f'{given}: expected the annotations of the sequence, found none')
        return Path(given)
    folder = folder.resolve()
    usual = _root(folder) / 'annotations' / folder.parent.name / f'{folder.name}.txt'
    return usual if usual.is_file() else None


def _truth(path: Path | None, camera: CameraModel | None) -> dict[int, list[Target]] | None:
    """Annotated targets of each frame that has any."""
    if path is None:
        return None
    truth: dict[int, list[Target]] = {}
    for number, line in enumerate(path.read_text(encoding='utf-8', errors='replace').splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            frame, distance, azimuth, label = int(fields[0]), float(fields[1]), float(fields[2]), fields[3]
            sound = len(fields) == 4 and frame >= 0 and 0 < distance < np.inf and abs(azimuth) <= np.pi / 2
        except (ValueError, IndexError):
            sound = False
        if not sound or label not in SIZES:
            expected = f'expected "frame range(m) azimuth(rad) class" with a class of {", ".join(SIZES)}'
            raise CruwError(f'{path}, line {number}: {expected}, got {line!r}')
        truth.setdefault(frame, []).append(_target(distance, azimuth, label, camera))
    return truth


def _target(distance: float, azimuth_to_the_right: float, label: str, camera: CameraModel | None) -> Target:
    x, y = distance * np.cos(azimuth_to_the_right), -distance * np.sin(azimuth_to_the_right)
    seen = camera is None or bool(camera.in_view([[x, y, 0.0]])[0])
    target = Target(x=float(x), y=float(y), label=label, in_camera_view=seen)
    return replace(target, in_radar_view=is_judged(target))


def _start_ns(sequence: str) -> int:
    """Midnight (UTC) of the day in a sequence's name."""
    match = _DATE.match(sequence)
    try:
        day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=timezone.utc) if match else None
    except ValueError:
        day = None
    if day is None:
        raise CruwError(f'{sequence}: expected a name that begins with its day, such as 2019_04_09_BMS1000, or a start')
    return int(day.timestamp()) * 1_000_000_000
