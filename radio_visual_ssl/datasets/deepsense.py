# SPDX-License-Identifier: Apache-2.0
"""Imports a scenario of the DeepSense 6G data set (FMCW radar, camera, GPS of the other unit) as a paired bag.

Source: Alkhateeb et al., "DeepSense 6G: A Large-Scale Real-World Multi-Modal Sensing and Communication Dataset", IEEE
Communications Magazine 2023, https://www.deepsense6g.net. The data set has a non-commercial licence: cite it, do not
ship it. This importer has seen published descriptions, code that reads the data set, and the index of scenario 9; no
radar file, picture or GPS file. What they say:

- One CSV per scenario, one row per moment, paths relative to its folder: ``index``, ``unit1_rgb``, ``unit1_radar``,
  ``unit1_loc``, ``unit2_loc``, ``seq_index`` and a time. Scenario 9 has ``time_stamp[UTC]`` as ``['16-45-05-799']``
  (milliseconds), and ``unit2_loc_cal``, positions rid of an offset, which readers prefer (the index itself, in the
  repository WillysMa/Sensing-Assisted-Beam-Tracking). Scenarios 31 to 34 have ``time_stamp`` as
  ``HH:MM:SS-microseconds`` (descriptions by two users of 31 and 33). Scenario 35 names positions ``unit1_gps`` and
  ``unit2_gps``. The sets of challenges and tasks (columns ``unit1_radar_1`` to ``_5``) have no times.
- A radar file is one frame, receiver x sample x chirp, complex: ``.mat`` with the variable ``data``, 4 x 256 x 128, for
  scenario 9 (the authors' umut-demirhan/Radar-aided-beam-prediction; scenario 30 is read by the same code), ``.npy`` of
  complex64, 4 x 256 x 250, for 31 to 34 (the users above). Scenario 35 has 512 samples.
- The waveform of scenario 9 is the one in code for it that several repositories share: 77 GHz, 15.015 MHz/us, 5 MHz,
  idle 5 us, ramp 60 us. It agrees with the 750 MHz and 45 m (nine tenths of the unambiguous range) that descriptions of
  the data set give. That of 31 to 34 is 77 GHz, 8.014 MHz/us, 6.2 MHz, 2 us, 47.5 us by two users' code for them; slope
  and rate are also those of DT31, the digital twin of scenario 31 in DeepVerse 6G, by the same authors.
- A GPS file holds latitude and longitude in degrees, one a line.

What the files do not say, and how it is taken here:

- Day and time zone are not told: stamps count from midnight, on 1 January 1970. Scenario 9's "UTC" is local time, for
  its radar files carry a clock seven hours ahead in their names. A time that falls back by over 12 h is the next day's.
- Radar and camera get the one time of their row. The names of scenario 9's radar files change the second about half a
  second after the rows do, which may or may not mean a delay; ``camera_offset`` takes up what there is.
- The first receiver is the rightmost, half a wavelength from the next, and beat frequencies are positive. For scenario
  9 two published networks that were trained on it say so: the authors' one, for radar, takes an echo whose phase grows
  along the receivers for the beams (where half a wavelength has them) which the other takes for cars on the right of
  the picture, and it makes nothing of conjugate samples. Scenarios 31 to 34 are taken to be alike.
- Where the radar looks is not told as a number; without ``bearing`` no truth is written. DT31 turns its antennas by
  -45.04 degrees about z: bearing 135, if its x axis points east (scenario 31's map does lie to the south-east).
- Heights are not told: the target is placed level with the radar, at its GPS antenna, and has no size.
- Camera calibration and mounting are not told, and not written; no target is said to be in the camera's view.
- Unit 2 is the one target that truth knows of; others pass by unmarked.
"""

import csv
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.pairing import seconds_to_ns
from radio_visual_ssl.bags.topics import (
    CUBE_TOPIC,
    CUBE_TYPE,
    IMAGE_TOPIC,
    TRUTH_TOPIC,
    compressed_image_topic,
    radar_info_topic,
)
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.radar.cube import Axis, CubeError, RadarCube, canonical
from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.profile import RadarProfile, load_profile
from radio_visual_ssl.radar.target import Target

RADAR_FRAME = 'radar'
CAMERA_FRAME = 'camera'
UNIT = 2  # whose position is the truth; the number of its track
PROFILES = {9: 'deepsense_scenario_9', **dict.fromkeys((31, 32, 33, 34), 'deepsense_scenarios_31_to_34')}

_STAMP = re.compile(r"^\[?'?(\d{1,2})([-:])(\d\d)\2(\d\d)-(\d{1,6})'?\]?$")
_TIMES = ('time_stamp', 'time_stamp[UTC]')
_OWN_PLACES = ('unit1_loc', 'unit1_gps')
_OTHER_PLACES = ('unit2_loc_cal', 'unit2_loc', 'unit2_gps')
_DAY_NS = 86_400_000_000_000
_SEMI_MAJOR_AXIS, _SQUARED_ECCENTRICITY = 6_378_137.0, 6.694379990141e-3  # m; WGS 84


class DeepSenseError(ValueError):
    """A file of the scenario is missing or not what the data set's layout says; the message names it."""


@dataclass(frozen=True)
class ImportReport:
    """What an import put into the bag.

    Attributes:
        path: of the bag.
        radar: name of the profile.
        frames, images: written.
        targets: positions of unit 2 written, one a frame where there is one.
        missing_frames, missing_images: rows without their file.
        missing_positions: frames without truth, for a position is missing; 0 without a bearing.
        bearing: degrees clockwise from north in which the radar looks; None = not known, no truth written.
        camera_offset: s, added to the camera's stamps.
    """

    path: Path
    radar: str
    frames: int
    images: int
    targets: int
    missing_frames: int
    missing_images: int
    missing_positions: int
    bearing: float | None
    camera_offset: float


@dataclass(frozen=True)
class _Row:
    """Of the index: stamp in ns, and the files that it names and that are there."""

    stamp_ns: int
    radar: Path | None
    image: Path | None
    own_place: Path | None = None
    other_place: Path | None = None


def import_deepsense(
    scenario: str | Path,
    out: str | Path,
    *,
    radar: str | None = None,
    bearing: float | None = None,
    camera_offset: float = 0.0,
    sequences: Collection[int] = (),
    progress: Callable[[int, int], None] | None = None,
    compress: bool = False,
) -> ImportReport:
    """Make a bag of radar cubes, their info, camera images and ground truth.

    Cubes are complex64, as [chirp, channel, sample]; pictures are the JPEG files as they are. A frame without either
    position gets no TargetArray, for what is there is unknown.

    Args:
        scenario: folder with one CSV, or that CSV.
        out: the new rosbag2 folder.
        radar: name of a profile, or path of a YAML file; None = the one of the scenario whose number the name has.
        bearing: degrees clockwise from north in which the radar looks; None = no truth.
        camera_offset: s, added to the camera's stamps.
        sequences: ``seq_index`` of the rows to import; empty = all.
        progress: called with (files done, files in all).
        compress: zstd in the bag.

    Raises:
        DeepSenseError: a file is missing, or not what it should be.
        ProfileError: no such radar profile.
        BagError: the bag exists already or cannot be written.
        ValueError: a bearing or offset that is not a number, or beyond all reason.
    """
    if bearing is not None and not -360 <= bearing <= 360:
        raise ValueError(f'bearing: expected degrees clockwise from north, from -360 to 360, got {bearing}')
    offset_ns = seconds_to_ns('camera_offset', camera_offset)
    index = _find_index(Path(scenario))
    profile = load_profile(radar or _profile_of(index))
    try:
        rows = _read_rows(index, sequences, places=bearing is not None)
    except csv.Error as error:
        raise DeepSenseError(f'{index}: expected a CSV: {error}') from error
    frames = [(row.stamp_ns, 'frame', row.radar, row) for row in rows if row.radar]
    images = [(row.stamp_ns + offset_ns, 'image', row.image, row) for row in rows if row.image]
    for found, column in ((frames, 'unit1_radar'), (images, 'unit1_rgb')):
        if not found:
            raise DeepSenseError(f'{index}: expected files in column {column} that are there, found none')
    events = sorted(frames + images, key=lambda event: event[:2])
    start_ns = events[0][0]
    if start_ns <= 0:
        raise DeepSenseError(f'{index}: expected stamps after midnight with the camera offset, got {start_ns * 1e-9} s')
    types, grid, targets = RosbagsTypes(), HeatmapFormer(profile).grid, 0
    with BagWriter(out, compress=compress) as bag:
        info = messages.profile_to_info(profile, start_ns, RADAR_FRAME, types)
        bag.write(radar_info_topic(CUBE_TOPIC, CUBE_TYPE), start_ns, info)
        for done, (stamp_ns, kind, path, row) in enumerate(events):
            if kind == 'image':
                image = messages.jpeg_to_message(_read_jpeg(path), stamp_ns, CAMERA_FRAME, types)
                bag.write(compressed_image_topic(IMAGE_TOPIC), stamp_ns, image)
            else:
                cube = read_cube(path, profile)
                bag.write(CUBE_TOPIC, stamp_ns, messages.cube_to_message(cube, stamp_ns, RADAR_FRAME, types))
                target = None if bearing is None else _target(row, bearing, grid)
                if target is not None:
                    truth = messages.targets_to_message([target], stamp_ns, RADAR_FRAME, types)
                    bag.write(TRUTH_TOPIC, stamp_ns, truth)
                    targets += 1
            if progress is not None:
                progress(done + 1, len(events))
    return ImportReport(
        path=Path(out),
        radar=profile.name,
        frames=len(frames),
        images=len(images),
        targets=targets,
        missing_frames=len(rows) - len(frames),
        missing_images=len(rows) - len(images),
        missing_positions=0 if bearing is None else len(frames) - targets,
        bearing=bearing,
        camera_offset=camera_offset,
    )


def read_cube(path: str | Path, profile: RadarProfile) -> RadarCube:
    """Samples of a radar file, ``.mat`` or ``.npy``, as [chirp, channel, sample] complex64.

    Raises:
        DeepSenseError: a file of another kind, or samples that do not fit the radar; the message names the file.
    """
    path = Path(path)
    try:
        data = loadmat(path)['data'] if path.suffix.lower() == '.mat' else np.load(path, allow_pickle=False)
    except KeyError:
        raise DeepSenseError(f"{path}: expected the variable 'data', found none") from None
    except (OSError, EOFError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise DeepSenseError(f'{path}: expected a radar frame, .npy or MATLAB up to version 7: {error}') from error
    try:
        samples = canonical(RadarCube(data, (Axis.RX, Axis.SAMPLE, Axis.CHIRP)), profile)
    except CubeError as error:
        raise DeepSenseError(f'{path}: {error}') from error
    return RadarCube(samples, (Axis.CHIRP, Axis.VIRTUAL_CHANNEL, Axis.SAMPLE))


def read_position(path: str | Path) -> tuple[float, float] | None:
    """Latitude and longitude (degrees) of a GPS file; None where it holds NaN.

    Raises:
        DeepSenseError: anything else.
    """
    path = Path(path)
    words = path.read_text(encoding='utf-8', errors='replace').split()
    try:
        latitude, longitude = (float(word) for word in words)
    except ValueError:
        latitude, longitude = np.inf, np.inf
    if np.isnan(latitude) or np.isnan(longitude):
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        got = ' '.join(words[:4])[:80]
        raise DeepSenseError(f'{path}: expected latitude and longitude in degrees, got {got!r}')
    return latitude, longitude


def east_north(origin: tuple[float, float], place: tuple[float, float]) -> tuple[float, float]:
    """Metres east and north from one latitude and longitude (degrees) to another nearby.

    Along the ellipsoid's radii of curvature at the origin: 1 mm wrong at 200 m.
    """
    latitude = np.deg2rad(origin[0])
    root = np.sqrt(1 - _SQUARED_ECCENTRICITY * np.sin(latitude) ** 2)
    across = _SEMI_MAJOR_AXIS / root
    along = across * (1 - _SQUARED_ECCENTRICITY) / root**2
    north, east = np.deg2rad(place[0] - origin[0]), np.deg2rad(place[1] - origin[1])
    return float(east * across * np.cos(latitude)), float(north * along)


def _target(row: _Row, bearing: float, grid: PolarGrid) -> Target | None:
    """Unit 2 in the frame of a radar that looks in that direction; None where a position is missing."""
    if row.own_place is None or row.other_place is None:
        return None
    own, other = read_position(row.own_place), read_position(row.other_place)
    if own is None or other is None:
        return None
    east, north = east_north(own, other)
    sine, cosine = np.sin(np.deg2rad(bearing)), np.cos(np.deg2rad(bearing))
    x, y = float(east * sine + north * cosine), float(north * sine - east * cosine)
    return Target(x=x, y=y, track_id=UNIT, in_radar_view=bool(grid.contains(np.hypot(x, y), np.arctan2(y, x))))


def _read_jpeg(path: Path) -> bytes:
    """The bytes of a picture that can be decoded."""
    jpeg = path.read_bytes()
    # an eighth of the size is enough to see whether it can
    small = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) if jpeg else None
    if not jpeg.startswith(b'\xff\xd8\xff') or small is None:
        raise DeepSenseError(f'{path}: expected a JPEG picture, got {len(jpeg)} bytes that are none')
    return jpeg


def _find_index(scenario: Path) -> Path:
    """The CSV of a scenario."""
    if scenario.is_file():
        return scenario
    found = sorted(scenario.glob('*.csv'))
    if len(found) != 1:
        got = ', '.join(path.name for path in found) or 'none'
        raise DeepSenseError(
            f'{scenario}: expected the folder of a DeepSense 6G scenario with one CSV, or a CSV; got {got}'
        )
    return found[0]


def _profile_of(index: Path) -> str:
    """Name of the profile of the radar of a scenario."""
    number = re.search(r'scenario_?(\d+)', index.name, re.IGNORECASE) or re.search(
        r'scenario_?(\d+)', index.absolute().parent.name, re.IGNORECASE
    )
    if number is None or int(number[1]) not in PROFILES:
        got = f'scenario {number[1]}' if number else f'no scenario number in {index.name!r} or its folder'
        known = ', '.join(map(str, PROFILES))
        raise DeepSenseError(f'radar: expected a profile, for that of scenarios {known} alone is known; got {got}')
    return PROFILES[int(number[1])]


def _read_rows(index: Path, sequences: Collection[int], places: bool) -> list[_Row]:
    """Rows of the index, of these sequences (empty = all), with stamps since midnight of the first row's day.

    Args:
        index: the CSV.
        sequences: those that are wanted.
        places: whether the positions of both units are needed.
    """
    rows: list[_Row] = []
    known: set[int] = set()
    before = day = 0
    with index.open(newline='', encoding='utf-8-sig', errors='replace') as file:
        lines = csv.DictReader(file)
        names = list(lines.fieldnames or ())
        if 'unit1_radar' not in names and 'unit1_radar_1' in names:
            raise DeepSenseError(
                f'{index}: expected the CSV of a whole scenario, got one of a task, which has no times'
            )
        wanted = [('unit1_radar',), ('unit1_rgb',), *((_OWN_PLACES, _OTHER_PLACES) if places else ())]
        files = [_column(index, names, columns) for columns in wanted]
        time = _column(index, names, _TIMES)
        if sequences:
            _column(index, names, ('seq_index',))
        for line in lines:
            where = f'{index}, line {lines.line_num}'
            time_ns = _parse_time(line[time], where)
            day += before - time_ns > _DAY_NS // 2
            before = time_ns
            if sequences:
                known.add(sequence := _parse_sequence(line['seq_index'], where))
                if sequence not in sequences:
                    continue
            rows.append(_Row(day * _DAY_NS + time_ns, *(_file(index.parent, line[name]) for name in files)))
    absent = sorted(set(sequences) - known)
    if absent:
        got = ', '.join(map(str, sorted(known))) or 'none'
        raise DeepSenseError(f'{index}: expected rows of seq_index {absent[0]}, got those of {got}')
    return rows


def _column(index: Path, names: Collection[str], wanted: Collection[str]) -> str:
    """The first of the wanted columns that there is."""
    found = next((name for name in wanted if name in names), None)
    if found is None:
        got = ', '.join(filter(None, names)) or 'none'
        raise DeepSenseError(f'{index}: expected a column {" or ".join(wanted)}, got {got}')
    return found


def _parse_time(text: str | None, where: str) -> int:
    """Time since midnight in ns of ``['16-45-05-799']`` (milliseconds) or ``16:45:05-799000`` (microseconds)."""
    match = _STAMP.match((text or '').strip())
    if match:
        unit_ns = 1_000_000 if match[2] == '-' else 1000
        hours, minutes, seconds, fraction = (int(match[group]) for group in (1, 3, 4, 5))
        if hours < 24 and minutes < 60 and seconds < 60 and fraction * unit_ns < 1_000_000_000:
            return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction * unit_ns
    raise DeepSenseError(f"{where}: expected a time such as ['16-45-05-799'] or 16:45:05-799000, got {text!r}")


def _parse_sequence(text: str | None, where: str) -> int:
    try:
        return int(text or '')
    except ValueError:
        raise DeepSenseError(f'{where}: expected a whole number in column seq_index, got {text!r}') from None


def _file(folder: Path, cell: str | None) -> Path | None:
    """The file that a cell names relative to the index, if it is there."""
    name = (cell or '').strip().removeprefix('.').lstrip('/')
    path = folder / name
    return path if name and path.is_file() else None
