# SPDX-License-Identifier: Apache-2.0
"""Imports a sequence of the RADIATE data set (Navtech radar, ZED camera) as a paired bag.

Source: Sheeny et al., "RADIATE: A Radar Dataset for Automotive Perception in Bad Weather", ICRA 2021, and the
conventions of its SDK. The data set is CC BY-NC-SA 4.0: cite it, do not ship it.

What the files do not say, and how it is taken here:

- Range bin i lies at i * 0.173611 m; column k of the polar picture looks (k + 0.5) * 0.9 degrees *clockwise* from
  straight ahead. Both fit the data set's own Cartesian pictures, in which the boxes were drawn, best.
- A count of the 8 bit power is taken for 0.5 dB, the step of Navtech's sensors. 0 dB is arbitrary.
- A scan takes 0.25 s, and nothing says which moment of the turn its stamp means. The camera's stamps are off by a
  constant as well; ``camera_offset`` takes up the sum of both (about +0.45 s for the sample clip ``tiny_foggy``).
- Boxes are annotated from above. They are placed on a flat road 1.7 m below the radar, with an average height of their
  class, as the SDK draws them.
- Fractions of a second in the stamp files are nanoseconds, whose leading zeros may be missing (as the SDK reads them).
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.pairing import seconds_to_ns
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import FORWARD_LOOKING, CameraModel

RADAR_FRAME = 'navtech'
CAMERA_FRAME = 'zed_left_optical'
RANGE_BINS = 576
AZIMUTH_BINS = 400
BIN_SIZE = 0.173611  # m, of a range bin and of a pixel of the Cartesian picture
CARTESIAN_CENTRE = 576.0  # px, where the radar sits in the 1152 x 1152 Cartesian picture
DECIBEL_PER_COUNT = 0.5
SENSOR_HEIGHT = 1.7  # m, of the radar above the road
CLASS_HEIGHT = {
    'car': 1.5,
    'van': 2.0,
    'bus': 3.0,
    'truck': 2.5,
    'motorbike': 1.5,
    'bicycle': 1.5,
    'pedestrian': 1.8,
    'group_of_pedestrians': 1.8,
}  # m, averages

_STAMP = re.compile(r'^Frame:\s*(\d+)\s+Time:\s*(\d+)\.(\d{1,9})$')


class RadiateError(ValueError):
    """A file of the sequence is missing or not what the data set's layout says; the message names it."""


@dataclass(frozen=True)
class ImportReport:
    """What an import put into the bag.

    Attributes:
        path: of the bag.
        scans, images: written.
        targets: annotated boxes written, over all scans.
        targets_in_camera_view: of these, inside the camera's image.
        missing_scans, missing_images: listed in the stamp files, but without a picture.
        camera_offset: s, added to the camera's stamps.
    """

    path: Path
    scans: int
    images: int
    targets: int
    targets_in_camera_view: int
    missing_scans: int
    missing_images: int
    camera_offset: float


def import_radiate(
    folder: str | Path,
    out: str | Path,
    camera_offset: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
    *,
    calibration: str | Path | None = None,
    compress: bool = False,
) -> ImportReport:
    """Make a bag of heatmaps, their info, camera images, camera_info, ground truth and /tf_static.

    Scans keep their stamps to the nanosecond. Each scan gets a TargetArray, empty where nothing is annotated.

    Args:
        folder: of the sequence, with Navtech_Polar/, Navtech_Polar.txt, zed_left/, zed_left.txt and
            annotations/annotations.json.
        out: the new rosbag2 folder.
        camera_offset: s, added to the camera's stamps.
        progress: called with (pictures done, pictures in all).
        calibration: file of the camera's calibration; None = default-calib.yaml in the folder.
        compress: zstd in the bag.

    Raises:
        RadiateError: a file is missing, or not what it should be.
        BagError: the bag exists already or cannot be written.
        ValueError: an offset that is not a number, or beyond all reason.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RadiateError(f'{folder}: expected the folder of a RADIATE sequence, found none')
    scans, missing_scans = _pictures(folder, 'Navtech_Polar')
    images, missing_images = _pictures(folder, 'zed_left')
    camera = load_calibration(Path(calibration) if calibration else folder / 'default-calib.yaml')
    grid = polar_grid()
    truth = _load_annotations(folder / 'annotations' / 'annotations.json', [frame for frame, _ in scans], camera, grid)
    offset_ns = seconds_to_ns('camera_offset', camera_offset)
    events = sorted(
        [(stamp, 'scan', frame) for frame, stamp in scans]
        + [(stamp + offset_ns, 'image', frame) for frame, stamp in images]
    )
    types = RosbagsTypes()
    start_ns = events[0][0]
    with BagWriter(out, compress=compress) as bag:
        bag.write('/tf_static', start_ns, _mounting_message(camera, start_ns, types))
        blank = Heatmap(np.zeros(grid.shape, np.float32), grid, Reference.ARBITRARY, radar='navtech_cts350x')
        info = messages.heatmap_to_info(blank, start_ns, RADAR_FRAME, types)
        bag.write('/radar/heatmap_info', start_ns, info)
        for done, (stamp, kind, frame) in enumerate(events):
            if kind == 'scan':
                values = read_scan(folder / 'Navtech_Polar' / f'{frame:06d}.png')
                image = messages.image_to_message(values, '32FC1', stamp, RADAR_FRAME, types)
                bag.write('/radar/heatmap', stamp, image)
                targets = messages.targets_to_message(truth[frame], stamp, RADAR_FRAME, types)
                bag.write('/ground_truth/targets', stamp, targets)
            else:
                picture = _read_image(folder / 'zed_left' / f'{frame:06d}.png', (camera.height, camera.width, 3))
                image = messages.image_to_message(picture, 'bgr8', stamp, CAMERA_FRAME, types)
                bag.write('/camera/image_raw', stamp, image)
                bag.write('/camera/camera_info', stamp, messages.camera_to_info(camera, stamp, CAMERA_FRAME, types))
            if progress is not None:
                progress(done + 1, len(events))
    boxes = [target for targets in truth.values() for target in targets]
    return ImportReport(
        path=Path(out),
        scans=len(scans),
        images=len(images),
        targets=len(boxes),
        targets_in_camera_view=sum(target.in_camera_view for target in boxes),
        missing_scans=missing_scans,
        missing_images=missing_images,
        camera_offset=camera_offset,
    )


def polar_grid() -> PolarGrid:
    """Grid of a scan: 576 ranges up to 100 m, 400 azimuths all around, ascending from just beyond -180 degrees."""
    azimuth = (np.arange(AZIMUTH_BINS, dtype=np.float64) + 0.5) * (2 * np.pi / AZIMUTH_BINS) - np.pi
    return PolarGrid(np.arange(RANGE_BINS, dtype=np.float64) * BIN_SIZE, azimuth, wraps=True)


def read_scan(path: str | Path) -> NDArray[np.float32]:
    """(576, 400) dB of a polar picture, in the bin order of ``polar_grid``.

    Raises:
        RadiateError: no picture, or one of another size or depth.
    """
    counts = _read_image(Path(path), (RANGE_BINS, AZIMUTH_BINS))
    # columns run clockwise from straight ahead; ours anticlockwise from straight behind
    anticlockwise = counts[:, ::-1]
    return np.roll(anticlockwise, AZIMUTH_BINS // 2, axis=1).astype(np.float32) * np.float32(DECIBEL_PER_COUNT)


def load_calibration(path: str | Path) -> CameraModel:
    """The left camera and its place, from the data set's calibration file.

    The file gives the camera's offset ``T`` (m) and angles ``R`` (degrees) from the radar in the camera's optical axes
    (x right, y down, z forward); a place q of the radar, in those axes, is Rz Ry Rx q - T in the camera's frame. The
    radar's own T and R (``radar_calib``, zeros unless given) are subtracted from them first. The SDK projects into
    *rectified* images, and the pictures agree (vehicles of the sample clip lie 5 px off otherwise): that frame is the
    rectified camera's, turned from the raw one's by the stereo rectification.

    Raises:
        RadiateError: no such file, or a field that is missing or wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise RadiateError(f'{path}: expected the calibration file (default-calib.yaml of the RADIATE SDK), found none')
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
        left, radar = content['left_cam_calib'], content.get('radar_calib') or {'T': [0, 0, 0], 'R': [0, 0, 0]}
        width, height = (int(value) for value in left['res'])
        matrix, distortion = _lens(left)
        other_matrix, other_distortion = _lens(content['right_cam_calib'])
        stereo = content['stereo_calib']
        baseline = np.array([[stereo['TX']], [stereo['TY']], [stereo['TZ']]], np.float64)
        turn = np.array(stereo['R'], np.float64)
        offset = np.array(left['T'], np.float64) - np.array(radar['T'], np.float64)
        angles = np.array(left['R'], np.float64) - np.array(radar['R'], np.float64)
    except KeyError as error:
        raise RadiateError(f'{path}: expected the field {error.args[0]}, found none') from error
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, ValueError) as error:
        raise RadiateError(f'{path}: expected the calibration of a stereo camera: {error}') from error
    try:
        rectification = cv2.stereoRectify(
            matrix, distortion, other_matrix, other_distortion, (width, height), turn, baseline
        )[0]
        to_raw = rectification.T
        rotation, translation = to_raw @ _turn(angles) @ FORWARD_LOOKING, -to_raw @ offset
        return CameraModel(width, height, matrix, distortion, rotation, translation)
    except (ValueError, cv2.error) as error:
        raise RadiateError(f'{path}: expected the calibration of a stereo camera: {error}') from error


def _lens(calibration: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intrinsic matrix and plumb_bob distortion of one camera in the calibration file."""
    fx, fy, cx, cy = (float(calibration[name]) for name in ('fx', 'fy', 'cx', 'cy'))
    distortion = [float(calibration[name]) for name in ('k1', 'k2', 'p1', 'p2', 'k3')]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.array(distortion)


def _turn(angles_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rz Ry Rx of angles in degrees about x, y and z."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(np.deg2rad(angles_deg)), np.cos(np.deg2rad(angles_deg))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _mounting_message(camera: CameraModel, stamp_ns: int, types: RosbagsTypes) -> Any:
    """tf2_msgs/TFMessage with the camera's pose in the radar frame."""
    transform = messages.transform_to_message(
        camera.rotation.T,
        -camera.rotation.T @ camera.translation,
        stamp_ns,
        types,
        parent=RADAR_FRAME,
        child=CAMERA_FRAME,
    )
    return types('tf2_msgs/msg/TFMessage')(transforms=[transform])


def _pictures(folder: Path, name: str) -> tuple[list[tuple[int, int]], int]:
    """(Frame number, stamp in ns) of the pictures of one sensor, and how many are listed without being there."""
    stamps = _read_stamps(folder / f'{name}.txt')
    if not (folder / name).is_dir():
        raise RadiateError(f'{folder / name}: expected a folder of PNG pictures, found none')
    present = [(frame, stamp) for frame, stamp in stamps if (folder / name / f'{frame:06d}.png').is_file()]
    if not present:
        raise RadiateError(
            f'{folder / name}: expected pictures such as {stamps[0][0]:06d}.png, found none that is listed'
        )
    return present, len(stamps) - len(present)


def _read_stamps(path: Path) -> list[tuple[int, int]]:
    """(Frame number, stamp in ns) of each line ``Frame: 000001 Time: 1574859771.744660272``."""
    if not path.is_file():
        raise RadiateError(f'{path}: expected the list of stamps, found none')
    stamps = []
    for number, line in enumerate(path.read_text(encoding='utf-8', errors='replace').splitlines(), start=1):
        if not line.strip():
            continue
        match = _STAMP.match(line.strip())
        if match is None:
            raise RadiateError(f'{path}, line {number}: expected "Frame: <number> Time: <s>.<ns>", got {line!r}')
        frame, seconds, nanoseconds = (int(group) for group in match.groups())
        stamps.append((frame, seconds * 1_000_000_000 + nanoseconds))
    if not stamps:
        raise RadiateError(f'{path}: expected at least one line "Frame: <number> Time: <s>.<ns>", found none')
    return stamps


def _read_image(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """8 bit picture of exactly this shape (BGR where it has three axes)."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    expected = ' x '.join(map(str, shape))
    if image is None:
        raise RadiateError(f'{path}: expected a PNG picture of {expected}, found none that can be read')
    if image.shape != shape or image.dtype != np.uint8:
        got = f'{" x ".join(map(str, image.shape))} of {image.dtype}'
        raise RadiateError(f'{path}: expected 8 bit values of {expected} (rows first), got {got}')
    return np.asarray(image, np.uint8)


def _load_annotations(
    path: Path, frames: Iterable[int], camera: CameraModel, grid: PolarGrid
) -> dict[int, list[Target]]:
    """Annotated targets of each scan."""
    if not path.is_file():
        raise RadiateError(f'{path}: expected the annotated boxes, found none')
    try:
        objects = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise RadiateError(f'{path}: expected JSON, got {error}') from error
    truth: dict[int, list[Target]] = {frame: [] for frame in frames}
    try:
        for entry in objects:
            boxes = entry['bboxes']
            for frame, targets in truth.items():
                if not 1 <= frame <= len(boxes):
                    got = f'bboxes for scans 1 to {len(boxes)}'
                    raise RadiateError(f'{path}: object {entry["id"]}: expected an entry for scan {frame}, got {got}')
                if boxes[frame - 1]:
                    targets.append(_target(entry, boxes[frame - 1], camera, grid))
    except (KeyError, TypeError, IndexError) as error:
        raise RadiateError(f'{path}: expected a list of id, class_name and bboxes, got {error!r}') from error
    return truth


def _target(entry: dict[str, Any], box: dict[str, Any], camera: CameraModel, grid: PolarGrid) -> Target:
    """Target of a box: ``position`` is (left, top, width, height) in px before it is turned about its centre.

    At rotation 0 the object points up (forward) and its height is its length; rotation is in degrees anticlockwise.
    """
    label = str(entry['class_name'])
    tall = CLASS_HEIGHT.get(label, 0.0)
    left, top, width, height = (float(value) for value in box['position'])
    x = (CARTESIAN_CENTRE - top - height / 2) * BIN_SIZE
    y = (CARTESIAN_CENTRE - left - width / 2) * BIN_SIZE
    azimuth = np.arctan2(y, x)
    heading = np.deg2rad(float(box['rotation']))
    return Target(
        x=x,
        y=y,
        z=-SENSOR_HEIGHT,
        track_id=int(entry['id']),
        label=label,
        size=(height * BIN_SIZE, width * BIN_SIZE, tall),
        heading=float(np.arctan2(np.sin(heading), np.cos(heading))),
        in_radar_view=bool(grid.contains(np.hypot(x, y), azimuth)),
        in_camera_view=bool(camera.in_view([[x, y, tall / 2 - SENSOR_HEIGHT]])[0]),
    )
