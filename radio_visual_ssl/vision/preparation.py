# SPDX-License-Identifier: Apache-2.0
"""Crops, scales and rectifies pictures, and says what camera would have taken the result."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.vision.calibration import Calibration


@dataclass(frozen=True)
class Region:
    """Part of a picture, in its pixels.

    Attributes:
        x, y: of the upper left pixel.
        width, height: 0 = up to the picture's edge.
    """

    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0

    def within(self, width: int, height: int) -> 'Region':
        """The same region with its size filled in.

        Raises:
            ValueError: it is not inside a picture of this size.
        """
        region = Region(self.x, self.y, self.width or width - self.x, self.height or height - self.y)
        inside = region.x + region.width <= width and region.y + region.height <= height
        if min(region.x, region.y) < 0 or min(region.width, region.height) < 1 or not inside:
            raise ValueError(
                f'crop: expected a region inside the picture of {width} x {height}, '
                f'got {self.width} x {self.height} at ({self.x}, {self.y})'
            )
        return region


class Preparation:
    """Cuts a region out of each picture and scales it.

    Attributes:
        region: what is cut out.
        size: (width, height) of the result.
    """

    def __init__(self, source_size: tuple[int, int], crop: Region = Region(), width: int = 0, height: int = 0) -> None:
        """Lay out the steps.

        Args:
            source_size: (width, height) of the pictures to come.
            crop: the region to keep.
            width: of the result; 0 = follows the height in proportion.
            height: of the result; 0 = follows the width in proportion; both 0 = no scaling.

        Raises:
            ValueError: the region is not inside the pictures.
        """
        self._source_size = source_size
        self.region = crop.within(*source_size)
        if not width and not height:
            width, height = self.region.width, self.region.height
        width = width or max(round(self.region.width * height / self.region.height), 1)
        height = height or max(round(self.region.height * width / self.region.width), 1)
        self.size = (width, height)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) homogeneous: pixel coordinates of the source to those of the result; the edges meet the edges."""
        scale_x, scale_y = self.size[0] / self.region.width, self.size[1] / self.region.height
        return np.array(
            [
                [scale_x, 0, (0.5 - self.region.x) * scale_x - 0.5],
                [0, scale_y, (0.5 - self.region.y) * scale_y - 0.5],
                [0, 0, 1],
            ]
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The prepared picture, (height, width[, channels]); a view of the given one where nothing is scaled."""
        region = self.region
        cut = image[region.y : region.y + region.height, region.x : region.x + region.width]
        if self.size == (region.width, region.height):
            return cut
        smaller = self.size[0] < region.width and self.size[1] < region.height
        # an average over the covered pixels where it shrinks: anything else makes patterns
        return np.asarray(cv2.resize(cut, self.size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))

    def adjust(self, calibration: Calibration) -> Calibration:
        """The calibration of the prepared pictures: a place in space falls on the same content as before.

        It describes the result as a camera of its own (K and P moved and scaled, the result's width and height), as
        image_proc's resize does; so nothing is left for CameraInfo's roi and binning to say.

        Raises:
            ValueError: it is of pictures of another size; the message names both.
        """
        if (calibration.width, calibration.height) != self._source_size:
            raise ValueError(
                f'expected a calibration of {self._source_size[0]} x {self._source_size[1]} pictures as they come, '
                f'got one of {calibration.width} x {calibration.height}'
            )
        return dataclasses.replace(
            calibration,
            width=self.size[0],
            height=self.size[1],
            matrix=self.matrix @ calibration.matrix,
            projection=self.matrix @ calibration.projection,
        )


class Rectifier:
    """Takes the lens distortion out of pictures, so that P alone says where places in space fall."""

    def __init__(self, calibration: Calibration) -> None:
        """Compute where each pixel comes from."""
        size = (calibration.width, calibration.height)
        fisheye = calibration.distortion_model == 'equidistant'
        undistort: Any = cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap
        self._columns, self._rows = undistort(
            calibration.matrix,
            calibration.distortion,
            calibration.rectification,
            calibration.projection[:, :3],
            size,
            cv2.CV_16SC2,
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The rectified picture, of the same size; black where the camera saw nothing."""
        return np.asarray(cv2.remap(image, self._columns, self._rows, interpolation=cv2.INTER_LINEAR))
