# SPDX-License-Identifier: Apache-2.0
"""Conversion of an image from one encoding to another."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cv_bridge.encodings import DEPTHS, CvBridgeError, colour_space, layout

# OpenCV names a pattern by the second row's second and third pixel, sensor_msgs by the first two pixels of both rows.
_BAYER_NAMES = {'BAYER_RGGB': 'BayerBG', 'BAYER_BGGR': 'BayerRG', 'BAYER_GBRG': 'BayerGR', 'BAYER_GRBG': 'BayerGB'}
_YUV_SUFFIXES = {'UYVY': 'UYVY', 'YUYV': 'YUY2'}
_PLAIN = ('GRAY', 'RGB', 'BGR', 'RGBA', 'BGRA')


def _conversion_code(source: str, target: str) -> int | None:
    """Return the code for cv2.cvtColor between two colour spaces, None if there is no such conversion."""
    if source in _PLAIN and target in _PLAIN:
        return getattr(cv2, f'COLOR_{source}2{target}')
    if source in _BAYER_NAMES and target in _PLAIN[:3]:
        return getattr(cv2, f'COLOR_{_BAYER_NAMES[source]}2{target}')
    if source in _YUV_SUFFIXES and target in _PLAIN:
        return getattr(cv2, f'COLOR_YUV2{target}_{_YUV_SUFFIXES[source]}')
    return None


def _bits(depth_name: str) -> int:
    return int(depth_name[:-1])


def _convert_depth(image: NDArray, source: str, target: str) -> NDArray:
    """Return the image in another depth: rounded, saturated, and 8 <-> 16 bit scaled full range to full range."""
    dtype = np.dtype(DEPTHS[target][1])
    if source == target:
        return image.copy()
    if source == '8U' and target == '16U':
        return np.multiply(image, 257, dtype=dtype)
    if source == '16U' and target == '8U':
        return cv2.convertScaleAbs(image, alpha=255 / 65535).reshape(image.shape)
    scale = {(8, 16): 65535 / 255, (16, 8): 255 / 65535}.get((_bits(source), _bits(target)), 1.0)
    if dtype.kind == 'f':
        return np.multiply(image, scale, dtype=np.float64).astype(dtype)
    limits = np.iinfo(dtype)
    values = np.nan_to_num(np.rint(np.multiply(image, scale, dtype=np.float64)), nan=-np.inf)
    return np.clip(values, limits.min, limits.max).astype(dtype)


def convert(image: NDArray, source: str, target: str) -> NDArray:
    """Return a converted copy of an image.

    Args:
        image: (height, width) or (height, width, channels) in the layout of `source`.
        source: encoding of the image.
        target: encoding wanted; '' means the same.

    Raises:
        CvBridgeError: no such conversion, an unknown encoding, or one that OpenCV refuses (YUV 4:2:2 of odd width).
    """
    if target in ('', source):
        return image.copy()
    source_depth, source_channels = layout(source)
    target_depth, target_channels = layout(target)
    source_space, target_space = colour_space(source), colour_space(target)
    if source_space is None and target_space is not None:
        raise CvBridgeError(
            f'[{source}] is not a color format. but [{target}] is. The conversion does not make sense; '
            'cv2_to_imgmsg(image, encoding) names the colors'
        )
    if source_space is None or target_space is None:
        if source_channels != target_channels:
            raise CvBridgeError(
                f'[{source}] has {source_channels} channels but [{target}] has {target_channels}: '
                'only color formats convert between numbers of channels'
            )
        return _convert_depth(image, source_depth, target_depth)
    if source_space == target_space:
        return _convert_depth(image, source_depth, target_depth)
    code = _conversion_code(source_space, target_space)
    if code is None:
        raise CvBridgeError(f'Unsupported conversion from [{source}] to [{target}]')
    try:
        converted = cv2.cvtColor(image, code)
    except cv2.error as error:
        raise CvBridgeError(f'OpenCV cannot convert [{source}] {image.shape} to [{target}]: {error}') from error
    return converted if source_depth == target_depth else _convert_depth(converted, source_depth, target_depth)
