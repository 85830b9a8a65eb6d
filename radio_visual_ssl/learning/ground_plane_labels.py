# SPDX-License-Identifier: Apache-2.0
"""Labels by the camera's calibration: where masks stand on the ground, taken to the radar. A baseline.

Self-labels never read a calibration; these are made from nothing else, and no radar enters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.learning.mask_features import mask_weights
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.radar.grid import turned_towards
from radio_visual_ssl.vision.camera import CameraModel
from radio_visual_ssl.vision.masks import TargetMask

GROUND_FRAMES = ('map', 'base_footprint')
"""Frames whose plane z = 0 is the ground by convention (REP-105, REP-120)."""

# Share of a mask's width, around the column of its centre of mass, in which its foot is looked for: the lowest pixel of
# all is a vehicle's nearest corner, or the nearer foot.
_MIDDLE = 0.5
# px as recorded, standard deviation of the foot's place in the picture.
_PIXEL_STD = 1.0
# Standard deviation in range, m, at which the confidence of a whole mask is a half.
_EVEN_STD = 1.0


class CalibrationError(ValueError):
    """A bag whose camera or ground is not known; the message names the bag and what it lacks."""


@dataclass(frozen=True, eq=False)
class GroundPlane:
    """A calibrated camera above the ground.

    Attributes:
        camera: projects places of the radar frame.
        up: (3,) unit vector in the radar frame, normal of the ground.
        height: m, of the radar's origin above the ground.
    """

    camera: CameraModel
    up: NDArray[np.float64]
    height: float


class GroundPlaces(NamedTuple):
    """Where the radar should see masks; arrays of I, NaN where a mask does not tell.

    Attributes:
        place: (I, 2) m and rad, range and azimuth as the radar reads them.
        variance: (I, 2) m^2 and rad^2.
        confidence: (I,) in [0, 1], 0 without a place.
    """

    place: NDArray[np.float64]
    variance: NDArray[np.float64]
    confidence: NDArray[np.float64]


def read_ground_plane(recording: Recording, ground_frame: str = '', radar_above_ground: float = 0.0) -> GroundPlane:
    """The camera of a recording's bag (camera_info, /tf_static), and the ground below.

    Args:
        recording: its bag must still be there.
        ground_frame: of /tf_static, whose plane z = 0 is the ground; empty = the first of `GROUND_FRAMES` that is
            connected with the radar's.
        radar_above_ground: m, in place of a frame: the ground lies level and so far below the radar; 0 = the frame
            tells.

    Raises:
        CalibrationError: no calibrated camera, pictures of another size than its, no such frame, or a ground that the
            radar is not above.
        BagError: a bag that cannot be read.
    """
    reader, name = BagReader(recording.path), recording.name
    camera = reader.camera(recording.image_topic, recording.frame_id)
    if camera is None:
        needed = f'camera_info beside {recording.image_topic} and the camera in /tf_static'
        raise CalibrationError(f'{name}: expected a calibrated camera ({needed}), found none')
    if (camera.width, camera.height) != recording.image_size:
        size = 'x'.join(map(str, recording.image_size))
        raise CalibrationError(f'{name}: expected a calibration of {size} px, got {camera.width}x{camera.height} px')
    if radar_above_ground:
        return GroundPlane(camera, np.array([0.0, 0.0, 1.0]), radar_above_ground)
    frames = (ground_frame,) if ground_frame else GROUND_FRAMES
    found = [mapping for frame in frames if (mapping := reader.transform(frame, recording.frame_id)) is not None]
    if not found:
        expected = f'expected frame {" or ".join(frames)} of the ground in /tf_static'
        raise CalibrationError(f'{name}: {expected}, connected with {recording.frame_id!r}, found none')
    rotation, translation = found[0]
    if translation[2] <= 0:
        raise CalibrationError(f'{name}: expected a radar above the ground, got one at {translation[2]:g} m')
    return GroundPlane(camera, rotation[2], float(translation[2]))


def ground_places(masks: Sequence[TargetMask], plane: GroundPlane, cone: bool) -> GroundPlaces:
    """Where the radar should see what stands on the ground where masks do.

    The ray through a mask's foot, the lower edge of its middle, meets the ground at the target's near side. The radar
    reads the slant range to the height of the target's middle there, which the ray through the middle of the mask
    tells. Variances are those of a foot that is a pixel off, to first order. Masks that end at the lower border of the
    picture have no foot, those at or above the horizon no place.

    Args:
        masks: of one picture.
        plane: the camera and the ground.
        cone: whether the radar's azimuths are cone angles (a line of antennas along y); those of a radar that turns
            round are true.
    """
    feet, middles = np.zeros((len(masks), 2)), np.zeros((len(masks), 2))
    whole = np.zeros(len(masks), np.bool_)
    for row, mask in enumerate(masks):
        feet[row], middles[row] = _foot(mask)
        whole[row] = mask.top + mask.height < mask.picture[1]
    with np.errstate(invalid='ignore', divide='ignore'):
        place = _as_read(feet, middles, plane, cone)
        # central differences over a pixel, along column and row
        slopes = np.stack(
            [
                _as_read(feet + step, middles + step, plane, cone) - _as_read(feet - step, middles - step, plane, cone)
                for step in (np.array([0.5, 0.0]), np.array([0.0, 0.5]))
            ]
        )
        slopes[..., 1] = turned_towards(slopes[..., 1])
        variance = _PIXEL_STD**2 * np.sum(slopes**2, axis=0)
        confidence = mask_weights(masks) / (1 + variance[:, 0] / _EVEN_STD**2)
    placed = whole & np.all(np.isfinite(place) & np.isfinite(variance) & (variance > 0), axis=1)
    place[~placed], variance[~placed], confidence[~placed] = np.nan, np.nan, 0.0
    return GroundPlaces(place, variance, confidence)


def recording_ground_places(recording: Recording, plane: GroundPlane | None) -> GroundPlaces:
    """Those of all masks of a recording; without a calibration none has a place.

    Args:
        recording: with masks.
        plane: of its bag.
    """
    masks = [recording.mask(number) for number in range(recording.instances)] if plane is not None else []
    if plane is None or not masks:
        nowhere = np.full((recording.instances, 2), np.nan)
        return GroundPlaces(nowhere, nowhere.copy(), np.zeros(recording.instances))
    found = ground_places(masks, plane, cone=recording.grid.reads_cone_angles)
    outside = ~recording.grid.contains(found.place[:, 0], found.place[:, 1])
    found.place[outside], found.variance[outside], found.confidence[outside] = np.nan, np.nan, 0.0
    return found


def _foot(mask: TargetMask) -> tuple[tuple[float, float], tuple[float, float]]:
    """(Column, row) px of the lower edge of a mask's middle, and of what is halfway up."""
    columns = np.arange(mask.width)
    centre = float(np.average(columns, weights=mask.mask.sum(axis=0)))
    near = np.abs(columns - centre) <= max(_MIDDLE * mask.width / 2, 0.5)
    rows = np.flatnonzero(mask.mask[:, near].any(axis=1))
    if not rows.size:  # two legs, with nothing between
        rows = np.flatnonzero(mask.mask.any(axis=1))
    column, bottom = mask.left + centre, mask.top + rows[-1] + 0.5
    return (column, bottom), (column, (mask.top + rows[0] - 0.5 + bottom) / 2)


def _as_read(
    feet: NDArray[np.float64], middles: NDArray[np.float64], plane: GroundPlane, cone: bool
) -> NDArray[np.float64]:
    """(I, 2) range (m) and azimuth (rad) that the radar reads, NaN where the ray of a foot does not go down."""
    camera, up = plane.camera, plane.up
    eye = -camera.rotation.T @ camera.translation
    rays, upper = camera.rays(feet), camera.rays(middles)
    down = -(rays @ up)
    reach = np.where(down > 0, (eye @ up + plane.height) / down, np.nan)
    place = eye + reach[:, None] * rays
    # the ray of the middle, as far out over the ground as the foot is
    level = np.linalg.norm(rays + np.outer(down, up), axis=1)
    upper_level = np.linalg.norm(upper - np.outer(upper @ up, up), axis=1)
    middle = eye @ up + (reach * level / upper_level) * (upper @ up)
    place = place + np.outer(middle + plane.height, up)
    distance = np.linalg.norm(place, axis=1)
    azimuth = np.arcsin(place[:, 1] / distance) if cone else np.arctan2(place[:, 1], place[:, 0])
    return np.column_stack((distance, azimuth))
