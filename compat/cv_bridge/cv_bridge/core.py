# SPDX-License-Identifier: Apache-2.0
"""CvBridge: sensor_msgs Image and CompressedImage to NumPy images and back."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from cv_bridge.colour import convert
from cv_bridge.encodings import DEPTHS, CvBridgeError, getCvType, make_type, split_type

_DECODED_ENCODINGS = {
    ('uint8', 1): 'mono8',
    ('uint8', 3): 'bgr8',
    ('uint8', 4): 'bgra8',
    ('uint16', 1): 'mono16',
    ('uint16', 3): 'bgr16',
    ('uint16', 4): 'bgra16',
}


def _require_array(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f'Your input type is not a numpy array: got {type(image).__name__}')


def _channels(image: NDArray) -> int:
    return 1 if image.ndim == 2 else image.shape[2]


class CvBridge:
    """Converts between image messages and images: arrays (height, width) or (height, width, channels).

    Encodings are those of sensor_msgs/image_encodings; 'passthrough' leaves an image as it is.
    """

    def __init__(self) -> None:
        self.cvtype_to_name = {make_type(name, n): f'{name}C{n}' for name in DEPTHS for n in (1, 2, 3, 4)}
        self.cvdepth_to_numpy_depth = dict(DEPTHS.values())
        self.numpy_type_to_cvtype = {dtype: name for name, (_, dtype) in DEPTHS.items()}
        self.numpy_type_to_cvtype.update({name: dtype for name, (_, dtype) in DEPTHS.items()})

    def dtype_with_channels_to_cvtype2(self, dtype: np.dtype, n_channels: int) -> str:
        """Return the generic encoding of an array's type: (dtype('uint8'), 3) -> '8UC3'.

        Raises:
            CvBridgeError: no image encoding has this type.
        """
        name = self.numpy_type_to_cvtype.get(dtype.name)
        if name is None:
            expected = ', '.join(numpy_name for _, numpy_name in DEPTHS.values())
            raise CvBridgeError(f'image has type {dtype.name}, expected one of {expected}')
        return f'{name}C{n_channels}'

    def cvtype2_to_dtype_with_channels(self, cvtype: int) -> tuple[str, int]:
        """Return NumPy type name and channels of an OpenCV type code: cv2.CV_8UC3 -> ('uint8', 3)."""
        depth, channels = split_type(cvtype)
        return self.cvdepth_to_numpy_depth[depth], channels

    def encoding_to_cvtype2(self, encoding: str) -> int:
        """Return OpenCV's type code of an encoding: 'bgr8' -> cv2.CV_8UC3.

        Raises:
            CvBridgeError: the encoding is unknown.
        """
        return getCvType(encoding)

    def encoding_to_dtype_with_channels(self, encoding: str) -> tuple[str, int]:
        """Return NumPy type name and channels of an encoding: 'bgr8' -> ('uint8', 3).

        Raises:
            CvBridgeError: the encoding is unknown.
        """
        return self.cvtype2_to_dtype_with_channels(self.encoding_to_cvtype2(encoding))

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> NDArray:
        """Return the image of a message, in this machine's byte order.

        Args:
            img_msg: the message. `step` and `is_bigendian` are honoured.
            desired_encoding: what to convert to. With 'passthrough' the result shares the message's memory where rows
                have no padding and the byte order is this machine's; otherwise it is a copy.

        Raises:
            CvBridgeError: an unknown encoding, a `step` shorter than a row, too little data, an impossible conversion.
        """
        type_name, channels = self.encoding_to_dtype_with_channels(img_msg.encoding)
        dtype = np.dtype(type_name).newbyteorder('>' if img_msg.is_bigendian else '<')
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        data = bytes(img_msg.data) if isinstance(img_msg.data, list) else img_msg.data
        row_bytes = width * channels * dtype.itemsize
        if step < row_bytes:
            raise CvBridgeError(
                f'step is {step}, expected at least width * channels * bytes = {width} * {channels} * {dtype.itemsize} '
                f'for [{img_msg.encoding}]'
            )
        if len(data) < height * step:
            raise CvBridgeError(f'data has {len(data)} bytes, expected height * step = {height} * {step}')
        shape, strides = (height, width, channels), (step, channels * dtype.itemsize, dtype.itemsize)
        if channels == 1:
            shape, strides = shape[:2], (step, dtype.itemsize)
        image = np.ndarray(shape, dtype, data, strides=strides) if height and width else np.empty(shape, dtype)
        image = np.ascontiguousarray(image)
        if not dtype.isnative:
            image = image.astype(dtype.newbyteorder('='))
        if desired_encoding == 'passthrough':
            return image
        return convert(image, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(self, cvim: NDArray, encoding: str = 'passthrough', header: Any = None) -> Image:
        """Return an image as a message.

        Args:
            cvim: the image; big-endian types make a big-endian message.
            encoding: names what the image's channels are; 'passthrough' gives the generic encoding ('8UC3').
            header: std_msgs Header of the message.

        Raises:
            TypeError: `cvim` is no NumPy array.
            CvBridgeError: its type is none of OpenCV's, or contradicts the encoding.
        """
        _require_array(cvim)
        if cvim.ndim not in (2, 3):
            raise CvBridgeError(f'image has shape {cvim.shape}, expected (height, width) or (height, width, channels)')
        cv_type = self.dtype_with_channels_to_cvtype2(cvim.dtype, _channels(cvim))
        if encoding != 'passthrough' and self.encoding_to_cvtype2(encoding) != getCvType(cv_type):
            raise CvBridgeError(f'encoding specified as {encoding}, but image has incompatible type {cv_type}')
        message = Image()
        if header is not None:
            message.header = header
        message.height, message.width = cvim.shape[:2]
        message.encoding = cv_type if encoding == 'passthrough' else encoding
        message.is_bigendian = int(cvim.dtype.isnative == (sys.byteorder == 'big'))
        message.step = cvim.shape[1] * _channels(cvim) * cvim.dtype.itemsize
        # An array.array is stored by reference; any other sequence would be checked byte by byte.
        message.data = array.array('B')
        message.data.frombytes(np.ascontiguousarray(cvim).reshape(-1).view(np.uint8))
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough'
    ) -> NDArray:
        """Return the image of a compressed message: grey, BGR or BGRA as stored, or converted.

        Raises:
            CvBridgeError: OpenCV cannot decode the data, or an impossible conversion.
        """
        buffer = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED) if buffer.size else None
        if image is None:
            raise CvBridgeError(
                f'OpenCV cannot decode the {buffer.size} bytes of data with format {cmprs_img_msg.format!r}'
            )
        if desired_encoding == 'passthrough':
            return image
        key = (image.dtype.name, _channels(image))
        stored = _DECODED_ENCODINGS.get(key) or self.dtype_with_channels_to_cvtype2(image.dtype, key[1])
        return convert(image, stored, desired_encoding)

    def cv2_to_compressed_imgmsg(self, cvim: NDArray, dst_format: str = 'jpg') -> CompressedImage:
        """Return an image as a compressed message.

        Args:
            cvim: the image, grey or BGR(A).
            dst_format: file extension of a format that OpenCV writes: 'jpg', 'png', 'tiff' ...

        Raises:
            TypeError: `cvim` is no NumPy array.
            CvBridgeError: OpenCV cannot write this image in this format.
        """
        _require_array(cvim)
        try:
            written, buffer = cv2.imencode(f'.{dst_format}', cvim)
        except cv2.error as error:
            raise CvBridgeError(f'OpenCV cannot write {cvim.dtype} {cvim.shape} as {dst_format!r}: {error}') from error
        if not written:
            raise CvBridgeError(f'OpenCV cannot write {cvim.dtype} {cvim.shape} as {dst_format!r}')
        message = CompressedImage(format=dst_format)
        message.data = array.array('B')
        message.data.frombytes(buffer.reshape(-1))
        return message
