# SPDX-License-Identifier: Apache-2.0
"""What the encoding strings of sensor_msgs mean: element type, channels and colour."""

from __future__ import annotations

import re

import cv2

# OpenCV 4 keeps the depth in 3 bits of a type code, OpenCV 5 in 5: the distance of two constants tells which.
_CODES_PER_CHANNEL = cv2.CV_8UC2 - cv2.CV_8UC1

DEPTHS = {
    '8U': (cv2.CV_8U, 'uint8'),
    '8S': (cv2.CV_8S, 'int8'),
    '16U': (cv2.CV_16U, 'uint16'),
    '16S': (cv2.CV_16S, 'int16'),
    '32S': (cv2.CV_32S, 'int32'),
    '32F': (cv2.CV_32F, 'float32'),
    '64F': (cv2.CV_64F, 'float64'),
}
"""Depth name -> (OpenCV depth code, NumPy type name)."""

_GENERIC = re.compile(rf'({"|".join(DEPTHS)})(?:C([0-9]+))?')

# encoding -> (colour space, depth name, channels); what is not here is generic: numbers without a colour.
_COLOURED = {
    'mono8': ('GRAY', '8U', 1),
    'mono16': ('GRAY', '16U', 1),
    'rgb8': ('RGB', '8U', 3),
    'rgb16': ('RGB', '16U', 3),
    'bgr8': ('BGR', '8U', 3),
    'bgr16': ('BGR', '16U', 3),
    'rgba8': ('RGBA', '8U', 4),
    'rgba16': ('RGBA', '16U', 4),
    'bgra8': ('BGRA', '8U', 4),
    'bgra16': ('BGRA', '16U', 4),
    'bayer_rggb8': ('BAYER_RGGB', '8U', 1),
    'bayer_bggr8': ('BAYER_BGGR', '8U', 1),
    'bayer_gbrg8': ('BAYER_GBRG', '8U', 1),
    'bayer_grbg8': ('BAYER_GRBG', '8U', 1),
    'bayer_rggb16': ('BAYER_RGGB', '16U', 1),
    'bayer_bggr16': ('BAYER_BGGR', '16U', 1),
    'bayer_gbrg16': ('BAYER_GBRG', '16U', 1),
    'bayer_grbg16': ('BAYER_GRBG', '16U', 1),
    'uyvy': ('UYVY', '8U', 2),
    'yuv422': ('UYVY', '8U', 2),
    'yuyv': ('YUYV', '8U', 2),
    'yuv422_yuy2': ('YUYV', '8U', 2),
}


class CvBridgeError(TypeError):
    """A message or image that cannot be converted."""


def colour_space(encoding: str) -> str | None:
    """Return 'GRAY', 'RGB', 'BGRA', 'BAYER_RGGB', 'UYVY' ...; None for generic encodings such as '32FC1'."""
    coloured = _COLOURED.get(encoding)
    return coloured[0] if coloured else None


def layout(encoding: str) -> tuple[str, int]:
    """Return an encoding's depth name (a key of DEPTHS) and channel count.

    Raises:
        CvBridgeError: the encoding is unknown, or (nv21, nv24) is no image of whole pixels.
    """
    if encoding in _COLOURED:
        return _COLOURED[encoding][1:]
    match = _GENERIC.fullmatch(encoding)
    channels = int(match[2] or 1) if match else 0
    if not match or channels < 1:
        raise CvBridgeError(
            f'Unrecognized image encoding [{encoding}]: expected one of {", ".join(_COLOURED)}, '
            f"or a depth of {', '.join(DEPTHS)} with a number of channels, as in '32FC1'"
        )
    return match[1], channels


def make_type(depth_name: str, channels: int) -> int:
    """Return OpenCV's type code, as CV_MAKETYPE does."""
    return DEPTHS[depth_name][0] + (channels - 1) * _CODES_PER_CHANNEL


def split_type(cvtype: int) -> tuple[int, int]:
    """Return depth code and channel count of an OpenCV type code."""
    return cvtype % _CODES_PER_CHANNEL, cvtype // _CODES_PER_CHANNEL + 1


def getCvType(encoding: str) -> int:
    """Return OpenCV's type code of an encoding.

    Raises:
        CvBridgeError: the encoding is unknown.
    """
    return make_type(*layout(encoding))
