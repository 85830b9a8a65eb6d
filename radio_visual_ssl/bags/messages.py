# SPDX-License-Identifier: Apache-2.0
"""Converts between core types and ROS messages, the same way for rclpy's classes and rosbags' dataclasses.

Messages are read by their fields alone. To write them, each ``..._to_message`` function takes ``types``, which makes
the classes: ``RclpyTypes()`` here, ``typestore.RosbagsTypes()`` without ROS. Stamps are integer nanoseconds.
"""

import array
import importlib
import math
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.cube import Axis, RadarCube
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.profile import FmcwWaveform, OfdmWaveform, RadarProfile
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.share import PACKAGE
from radio_visual_ssl.vision.calibration import Calibration
from radio_visual_ssl.vision.camera import CameraModel

QUANTITY_POWER = 1

_WAVEFORM_FMCW = 1
_WAVEFORM_OFDM = 2
_COMPONENTS: dict[int, np.dtype[Any]] = {1: np.dtype('<i2'), 2: np.dtype('<i4'), 3: np.dtype('<f4'), 4: np.dtype('<f8')}
_FLOAT32 = 7  # sensor_msgs/PointField
_POINT_FIELDS = ('x', 'y', 'z', 'range', 'azimuth', 'radial_velocity', 'snr', 'score')
# channels, and the index that makes RGB of a pixel
_COLOURS: dict[str, tuple[int, slice | list[int]]] = {
    'rgb8': (3, slice(None)),
    'bgr8': (3, slice(None, None, -1)),
    '8UC3': (3, slice(None, None, -1)),
    'rgba8': (4, slice(0, 3)),
    'bgra8': (4, slice(2, None, -1)),
    'mono8': (1, [0, 0, 0]),
    '8UC1': (1, [0, 0, 0]),
}


class MessageError(ValueError):
    """A message, or what should become one, has a field that contradicts its definition or another field."""


class MessageTypes(Protocol):
    """Where message classes come from."""

    def __call__(self, name: str) -> type[Any]:
        """Class of a message type such as ``'sensor_msgs/msg/Image'``."""
        ...

    def array(self, values: NDArray[Any]) -> Any:
        """Value of a primitive sequence field that holds these numbers, in the array's own type."""
        ...


class RclpyTypes:
    """Makes messages as rclpy's classes; importing them waits until the first use."""

    def __call__(self, name: str) -> type[Any]:
        """Class of a message type such as ``'sensor_msgs/msg/Image'``.

        Raises:
            ModuleNotFoundError: the message's package is not installed.
        """
        return _rclpy_type(name)

    def array(self, values: NDArray[Any]) -> 'array.array[Any]':
        """Value of a primitive sequence field: rclpy takes an array.array over as it is, others element by element."""
        result = array.array(values.dtype.char)
        result.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        return result


@cache
def _rclpy_type(name: str) -> type[Any]:
    package, _, message = name.split('/')
    return getattr(importlib.import_module(f'{package}.msg'), message)


# Stamps and headers ---------------------------------------------------------------------------------------------------


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def stamp_from_ns(stamp_ns: int, types: MessageTypes) -> Any:
    """builtin_interfaces/Time of integer nanoseconds.

    Raises:
        MessageError: beyond what the message's 32 bit seconds hold.
    """
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    if not -(2**31) <= seconds < 2**31:
        raise MessageError(f'stamp: expected seconds that fit 32 bits, got {seconds} s')
    return types('builtin_interfaces/msg/Time')(sec=seconds, nanosec=nanoseconds)


def header(stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """std_msgs/Header."""
    return types('std_msgs/msg/Header')(stamp=stamp_from_ns(stamp_ns, types), frame_id=frame_id)


def serialized_stamp_ns(cdr: bytes | memoryview) -> int:
    """Header stamp, ns, of the CDR bytes of a message whose first field is a Header; nothing else is read.

    Raises:
        MessageError: fewer bytes than a stamp takes.
    """
    if len(cdr) < 12:
        raise MessageError(f'serialized message: expected at least 12 bytes up to the stamp, got {len(cdr)}')
    seconds, nanoseconds = struct.unpack_from('<iI' if cdr[1] & 1 else '>iI', cdr, 4)
    return seconds * 1_000_000_000 + nanoseconds


def serialized_frame_id(cdr: bytes | memoryview) -> str:
    """Header frame_id of the CDR bytes of a message whose first field is a Header; nothing else is read.

    Raises:
        MessageError: fewer bytes than the frame_id takes, or no UTF-8.
    """
    length = struct.unpack_from('<I' if cdr[1] & 1 else '>I', cdr, 12)[0] if len(cdr) >= 16 else 0
    if len(cdr) < 16 + length:
        got = f'{len(cdr)} bytes, frame_id of {length}'
        raise MessageError(f'serialized message: expected bytes up to the end of the frame_id, got {got}')
    try:
        return str(cdr[16 : 16 + length], 'utf-8').rstrip('\0')
    except UnicodeDecodeError as error:
        raise MessageError(f'serialized message: expected a frame_id in UTF-8, got {error}') from error


def check_finite(values: NDArray[Any], name: str) -> None:
    """Refuse NaN and infinity in a heatmap or cube.

    Raises:
        MessageError: there is one; the message counts them and names ``name``.
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise MessageError(f'{name}: expected finite numbers, got NaN or infinity in {bad} of {values.size} elements')


# Images ---------------------------------------------------------------------------------------------------------------


def image_to_message(image: NDArray[Any], encoding: str, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/Image.

    Args:
        image: (H, W, 3) uint8 for ``rgb8`` and ``bgr8``, (H, W) uint8 for ``mono8``, (H, W) float32 for ``32FC1``.
        encoding: one of these four.
        stamp_ns: acquisition time.
        frame_id: of the camera's optical frame, or of the radar.
        types: makes the message classes.

    Raises:
        MessageError: array and encoding do not fit.
    """
    _check_image(image, encoding)
    height, width = image.shape[:2]
    values = np.ascontiguousarray(image)
    return types('sensor_msgs/msg/Image')(
        header=header(stamp_ns, frame_id, types),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=values.strides[0],
        data=types.array(values.reshape(-1).view(np.uint8)),
    )


def image_to_cdr(image: NDArray[Any], encoding: str, stamp_ns: int, frame_id: str) -> bytes:
    """A serialized sensor_msgs/Image, as rclpy publishes it: one copy of the pixels in place of four.

    Args:
        image: as for ``image_to_message``.
        encoding: likewise.
        stamp_ns: acquisition time.
        frame_id: of the camera's optical frame.

    Raises:
        MessageError: array and encoding do not fit.
    """
    _check_image(image, encoding)
    height, width = image.shape[:2]
    values = np.ascontiguousarray(image)
    # encapsulation (little-endian CDR), then each 4 byte value aligned; texts with their length and a closing zero
    head = struct.pack('<4siI', b'\0\1\0\0', *divmod(stamp_ns, 1_000_000_000)) + _cdr_text(frame_id)
    head += bytes(-len(head) % 4) + struct.pack('<II', height, width) + _cdr_text(encoding) + b'\0'
    head += bytes(-len(head) % 4) + struct.pack('<II', values.strides[0], values.nbytes)
    return b''.join((head, values.data.cast('B')))


def _cdr_text(text: str) -> bytes:
    data = text.encode() + b'\0'
    return struct.pack('<I', len(data)) + data


def _check_image(image: NDArray[Any], encoding: str) -> None:
    expected = {'rgb8': (np.uint8, 3), 'bgr8': (np.uint8, 3), 'mono8': (np.uint8, 2), '32FC1': (np.float32, 2)}
    if encoding not in expected:
        raise MessageError(f'Image.encoding: expected one of {", ".join(expected)}, got {encoding!r}')
    dtype, dimensions = expected[encoding]
    if image.dtype != dtype or image.ndim != dimensions or (dimensions == 3 and image.shape[2] != 3):
        shape = '(H, W, 3)' if dimensions == 3 else '(H, W)'
        got = f'{image.dtype} {image.shape}'
        raise MessageError(f'Image {encoding}: expected {np.dtype(dtype)} of shape {shape}, got {got}')


def image_to_compressed(
    image: NDArray[np.uint8],
    encoding: str,
    stamp_ns: int,
    frame_id: str,
    types: MessageTypes,
    *,
    form: str = 'jpeg',
    jpeg_quality: int = 95,
    png_level: int = 3,
) -> Any:
    """sensor_msgs/CompressedImage, with the ``format`` that image_transport's compressed plugin writes and reads.

    Args:
        image: (H, W, 3) uint8 for ``rgb8`` and ``bgr8``, (H, W) uint8 for ``mono8``.
        encoding: of the raw image beside it.
        stamp_ns: acquisition time.
        frame_id: of the camera's optical frame.
        types: makes the message classes.
        form: ``jpeg`` or ``png``.
        jpeg_quality: 1 to 100.
        png_level: 0 (fast) to 9 (small).

    Raises:
        MessageError: another encoding, or an image that cannot be encoded.
    """
    import cv2

    if encoding not in ('rgb8', 'bgr8', 'mono8'):
        raise MessageError(f'CompressedImage of encoding: expected rgb8, bgr8 or mono8, got {encoding!r}')
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if encoding == 'rgb8' else image
    setting = (cv2.IMWRITE_PNG_COMPRESSION, png_level) if form == 'png' else (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality)
    try:
        good, data = cv2.imencode(f'.{form}', stored, setting)
    except cv2.error as error:
        raise MessageError(f'CompressedImage: {image.dtype} {image.shape} cannot be encoded as {form}') from error
    if not good:
        raise MessageError(f'CompressedImage: {image.dtype} {image.shape} cannot be encoded as {form}')
    return types('sensor_msgs/msg/CompressedImage')(
        header=header(stamp_ns, frame_id, types),
        format=f'{encoding}; {form} compressed {"" if encoding == "mono8" else "bgr8"}',
        data=types.array(np.asarray(data, np.uint8).reshape(-1)),
    )


def jpeg_to_message(jpeg: bytes, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/CompressedImage of a JPEG file's bytes as they are, which are taken to be in colour."""
    return types('sensor_msgs/msg/CompressedImage')(
        header=header(stamp_ns, frame_id, types),
        format='rgb8; jpeg compressed bgr8',
        data=types.array(np.frombuffer(jpeg, np.uint8)),
    )


def image_from_message(message: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a sensor_msgs/Image or CompressedImage (JPEG, PNG); a view of the message where it can be.

    Raises:
        MessageError: an encoding that is not 8 bit colour or grey, a step or data size that does not fit, or compressed
            data that cannot be decoded.
    """
    if not hasattr(message, 'encoding'):
        return _decompress(message)
    if message.encoding not in _COLOURS:
        raise MessageError(f'Image.encoding: expected one of {", ".join(_COLOURS)}, got {message.encoding!r}')
    channels, index = _COLOURS[message.encoding]
    return _pixels(message, np.dtype(np.uint8), channels)[:, :, index]


def _decompress(message: Any) -> NDArray[np.uint8]:
    import cv2

    data = np.frombuffer(message.data, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        got = f'{data.size} bytes of format {message.format!r}'
        raise MessageError(f'CompressedImage.data: expected a JPEG or PNG picture, got {got} that cannot be decoded')
    return np.asarray(image, np.uint8)[:, :, ::-1]


def _pixels(message: Any, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """(H, W, channels) view of an Image's data, rows of ``step`` bytes, in the byte order that it says."""
    height, width, step = message.height, message.width, message.step
    row = width * channels * dtype.itemsize
    if height < 1 or width < 1:
        raise MessageError(f'Image: expected at least 1 x 1 pixels, got height {height} and width {width}')
    if step < row:
        raise MessageError(f'Image.step: expected at least {row} bytes ({width} x {message.encoding}), got {step}')
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size != height * step:
        raise MessageError(f'Image.data: expected {height * step} bytes (height x step), got {data.size}')
    dtype = dtype.newbyteorder('>' if message.is_bigendian else '<')
    strides = (step, channels * dtype.itemsize, dtype.itemsize)
    return np.ndarray((height, width, channels), dtype, data, strides=strides)


# Heatmaps -------------------------------------------------------------------------------------------------------------


def heatmap_to_messages(heatmap: Heatmap, stamp_ns: int, frame_id: str, types: MessageTypes) -> tuple[Any, Any]:
    """The sensor_msgs/Image of a heatmap and its HeatmapInfo (see ``heatmap_to_image``, ``heatmap_to_info``)."""
    return heatmap_to_image(heatmap, stamp_ns, frame_id, types), heatmap_to_info(heatmap, stamp_ns, frame_id, types)


def heatmap_to_image(heatmap: Heatmap, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/Image 32FC1, dB, ``[row, column] = [range_bin, azimuth_bin]``."""
    return image_to_message(np.asarray(heatmap.values, np.float32), '32FC1', stamp_ns, frame_id, types)


def velocity_to_image(heatmap: Heatmap, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/Image 32FC1, m/s, positive = receding, on the same grid as the heatmap.

    Raises:
        MessageError: the heatmap carries no velocity.
    """
    if heatmap.velocity is None:
        raise MessageError('Heatmap.velocity: expected (R, A) velocities, got None')
    return image_to_message(np.asarray(heatmap.velocity, np.float32), '32FC1', stamp_ns, frame_id, types)


def heatmap_to_info(
    heatmap: Heatmap, stamp_ns: int, frame_id: str, types: MessageTypes, quantity: int = QUANTITY_POWER
) -> Any:
    """HeatmapInfo: the grid (bin centres rounded to float32) and the meaning of the values."""
    return types(f'{PACKAGE}/msg/HeatmapInfo')(
        header=header(stamp_ns, frame_id, types),
        range=types.array(heatmap.grid.range.astype(np.float32)),
        azimuth=types.array(heatmap.grid.azimuth.astype(np.float32)),
        azimuth_wraps=bool(heatmap.grid.wraps),
        quantity=quantity,
        reference=int(heatmap.reference),
        noise_floor=float(heatmap.noise_floor),
        radar=heatmap.radar,
        carrier_frequency=float(heatmap.carrier_frequency),
        bandwidth=float(heatmap.bandwidth),
        formation=heatmap.formation,
    )


def geometry_from_info(info: Any) -> RadarGeometry:
    """The radar of a HeatmapInfo, and what its heatmaps look like.

    Raises:
        MessageError: bin centres that are no grid, or another quantity or reference than known.
    """
    if info.quantity != QUANTITY_POWER:
        raise MessageError(f'HeatmapInfo.quantity: expected {QUANTITY_POWER} (power), got {info.quantity}')
    try:
        reference = Reference(info.reference)
    except ValueError:
        known = ', '.join(f'{value.value} ({value.name.lower()})' for value in Reference)
        raise MessageError(f'HeatmapInfo.reference: expected one of {known}, got {info.reference}') from None
    try:
        grid = PolarGrid(
            np.frombuffer(info.range, dtype=np.float32),
            np.frombuffer(info.azimuth, dtype=np.float32),
            wraps=bool(info.azimuth_wraps),
        )
    except ValueError as error:
        raise MessageError(f'HeatmapInfo.{error}') from error
    frequencies = float(info.carrier_frequency), float(info.bandwidth)
    return RadarGeometry(info.radar, grid, reference, *frequencies, formation=info.formation)


def heatmap_from_messages(image: Any, info: Any, velocity: Any | None = None) -> Heatmap:
    """Heatmap of a sensor_msgs/Image 32FC1, its HeatmapInfo and, where there is one, the Image of its velocities.

    The values are a view of the message's data where the byte order allows. NaN and infinity pass (``check_finite``).

    Raises:
        MessageError: another encoding, quantity or reference than known, a step or data size that does not fit, or an
            info message that contradicts the image (grid size, frame).
    """
    radar = geometry_from_info(info)
    if info.header.frame_id and image.header.frame_id != info.header.frame_id:
        frames = f'expected {image.header.frame_id!r} of the heatmap, got {info.header.frame_id!r}'
        raise MessageError(f'HeatmapInfo.header.frame_id: {frames}')
    return Heatmap(
        values=_plane(image, radar.grid, 'heatmap'),
        grid=radar.grid,
        reference=radar.reference,
        noise_floor=float(info.noise_floor),
        velocity=None if velocity is None else _plane(velocity, radar.grid, 'velocity'),
        radar=radar.name,
        carrier_frequency=radar.carrier_frequency,
        bandwidth=radar.bandwidth,
        formation=radar.formation,
    )


def _plane(image: Any, grid: PolarGrid, name: str) -> NDArray[np.float32]:
    """(R, A) float32 of an Image that must have the grid's size."""
    if image.encoding != '32FC1':
        raise MessageError(f'Image.encoding of the {name}: expected 32FC1, got {image.encoding!r}')
    if (image.height, image.width) != grid.shape:
        got = f'range[{grid.shape[0]}], azimuth[{grid.shape[1]}]'
        expected = f'range[{image.height}], azimuth[{image.width}]'
        raise MessageError(
            f'HeatmapInfo: expected {expected} for the {name} of {image.height} x {image.width}, got {got}'
        )
    return _pixels(image, np.dtype(np.float32), 1)[:, :, 0].astype(np.float32, copy=False)


# Radar cubes and profiles ---------------------------------------------------------------------------------------------


def cube_to_message(cube: RadarCube, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """RadarCube message.

    Raises:
        MessageError: elements of a type that the message has no code for, or axes that do not fit the array.
    """
    component = np.dtype(np.float32 if cube.data.dtype == np.complex64 else np.float64)
    is_complex = bool(np.iscomplexobj(cube.data))
    if not is_complex:
        component = cube.data.dtype
    codes = [code for code, known in _COMPONENTS.items() if known == component.newbyteorder('<')]
    if not codes:
        known = 'int16, int32, float32, float64, complex64 or complex128'
        raise MessageError(f'RadarCube.dtype: expected {known}, got {cube.data.dtype}')
    if len(cube.axes) != cube.data.ndim:
        raise MessageError(f'RadarCube.axes: expected one per dimension of {cube.data.shape}, got {len(cube.axes)}')
    data = np.ascontiguousarray(cube.data, dtype=cube.data.dtype.newbyteorder('<'))
    return types(f'{PACKAGE}/msg/RadarCube')(
        header=header(stamp_ns, frame_id, types),
        axes=types.array(np.array([int(axis) for axis in cube.axes], np.uint8)),
        shape=types.array(np.array(cube.data.shape, np.uint32)),
        dtype=codes[0],
        is_complex=is_complex,
        data=types.array(data.reshape(-1).view(np.uint8)),
    )


def cube_from_message(message: Any) -> RadarCube:
    """RadarCube of its message; the samples are a view of the message's data, but for complex integers.

    Raises:
        MessageError: an unknown or repeated axis, as many axes as sizes are not, an unknown dtype, an empty axis, or
            data of another length than shape and dtype ask for.
    """
    codes = np.frombuffer(message.axes, dtype=np.uint8).tolist()
    shape = tuple(np.frombuffer(message.shape, dtype=np.uint32).tolist())
    known = {int(axis) for axis in Axis}
    unknown = [code for code in codes if code not in known]
    if unknown or not codes or len(set(codes)) != len(codes):
        raise MessageError(f'RadarCube.axes: expected different codes of {sorted(known)}, got {codes}')
    if len(shape) != len(codes) or 0 in shape:
        raise MessageError(f'RadarCube.shape: expected {len(codes)} sizes above 0, one per axis, got {list(shape)}')
    component = _COMPONENTS.get(message.dtype)
    if component is None:
        raise MessageError(f'RadarCube.dtype: expected one of {sorted(_COMPONENTS)}, got {message.dtype}')
    data = np.frombuffer(message.data, dtype=np.uint8)
    expected = math.prod(shape) * component.itemsize * (2 if message.is_complex else 1)
    if data.size != expected:
        kind = f'{"complex " if message.is_complex else ""}{component.name}'
        raise MessageError(f'RadarCube.data: expected {expected} bytes ({list(shape)} of {kind}), got {data.size}')
    samples = data.view(component)
    if message.is_complex:
        if component.kind == 'i':
            samples = samples.astype(np.float32 if component.itemsize == 2 else np.float64)
        samples = samples.view(np.complex64 if samples.itemsize == 4 else np.complex128)
    return RadarCube(data=samples.reshape(shape), axes=tuple(Axis(code) for code in codes))


def profile_to_info(profile: RadarProfile, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """RadarInfo of a profile (its capture format has no place in the message)."""
    waveform = profile.waveform
    rates = ('slope', 'sample_rate', 'chirp_period', 'subcarrier_spacing', 'symbol_period')
    counts = ('num_chirps', 'num_samples', 'num_symbols', 'num_subcarriers')
    point = types('geometry_msgs/msg/Point')
    calibration = np.zeros(0, np.complex64) if profile.calibration is None else profile.calibration
    return types(f'{PACKAGE}/msg/RadarInfo')(
        header=header(stamp_ns, frame_id, types),
        radar=profile.name,
        complex_samples=bool(getattr(waveform, 'complex_samples', False)),
        waveform=_WAVEFORM_FMCW if isinstance(waveform, FmcwWaveform) else _WAVEFORM_OFDM,
        carrier_frequency=float(waveform.carrier_frequency),
        **{name: float(getattr(waveform, name, 0)) for name in rates},
        **{name: int(getattr(waveform, name, 0)) for name in counts},
        tx_positions=[point(x=float(x), y=float(y), z=float(z)) for x, y, z in profile.tx_positions],
        rx_positions=[point(x=float(x), y=float(y), z=float(z)) for x, y, z in profile.rx_positions],
        tx_order=types.array(np.array(profile.tx_order, np.uint8)),
        calibration=types.array(np.ascontiguousarray(calibration, np.complex64).view(np.float32)),
    )


def profile_from_info(info: Any) -> RadarProfile:
    """Profile of a RadarInfo; it is named after the frame where the message names no radar.

    Raises:
        MessageError: an unknown waveform, or a profile that contradicts itself; the message names the field.
    """
    waveform: FmcwWaveform | OfdmWaveform
    calibration = np.frombuffer(info.calibration, dtype=np.float32)
    if calibration.size % 2:
        raise MessageError(f'RadarInfo.calibration: expected pairs of re, im, got {calibration.size} values')
    try:
        if info.waveform == _WAVEFORM_FMCW:
            waveform = FmcwWaveform(
                carrier_frequency=info.carrier_frequency,
                slope=info.slope,
                sample_rate=info.sample_rate,
                chirp_period=info.chirp_period,
                num_chirps=info.num_chirps,
                num_samples=info.num_samples,
                complex_samples=info.complex_samples,
            )
        elif info.waveform == _WAVEFORM_OFDM:
            waveform = OfdmWaveform(
                carrier_frequency=info.carrier_frequency,
                subcarrier_spacing=info.subcarrier_spacing,
                symbol_period=info.symbol_period,
                num_symbols=info.num_symbols,
                num_subcarriers=info.num_subcarriers,
            )
        else:
            codes = f'{_WAVEFORM_FMCW} (FMCW) or {_WAVEFORM_OFDM} (OFDM)'
            raise MessageError(f'RadarInfo.waveform: expected {codes}, got {info.waveform}')
        return RadarProfile(
            name=info.radar or info.header.frame_id,
            waveform=waveform,
            tx_positions=np.array([(p.x, p.y, p.z) for p in info.tx_positions], np.float64).reshape(-1, 3),
            rx_positions=np.array([(p.x, p.y, p.z) for p in info.rx_positions], np.float64).reshape(-1, 3),
            tx_order=tuple(np.frombuffer(info.tx_order, dtype=np.uint8).tolist()),
            calibration=calibration.view(np.complex64) if calibration.size else None,
        )
    except MessageError:
        raise
    except ValueError as error:
        raise MessageError(f'RadarInfo: {error}') from error


# Targets --------------------------------------------------------------------------------------------------------------


def targets_to_message(targets: Sequence[Target], stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """TargetArray."""
    target_type, point = types(f'{PACKAGE}/msg/Target'), types('geometry_msgs/msg/Point')
    vector = types('geometry_msgs/msg/Vector3')
    return types(f'{PACKAGE}/msg/TargetArray')(
        header=header(stamp_ns, frame_id, types),
        targets=[
            target_type(
                position=point(x=float(target.x), y=float(target.y), z=float(target.z)),
                covariance=np.asarray(target.covariance, np.float64).reshape(4),
                range=target.range,
                azimuth=target.azimuth,
                radial_velocity=float(target.radial_velocity),
                snr=float(target.snr),
                score=float(target.score),
                track_id=int(target.track_id),
                label=target.label,
                size=vector(**dict(zip('xyz', map(float, target.size), strict=True))),
                heading=float(target.heading),
                velocity=vector(**dict(zip('xyz', map(float, target.velocity), strict=True))),
                visibility=float(target.visibility),
                in_radar_view=bool(target.in_radar_view),
                in_camera_view=bool(target.in_camera_view),
            )
            for target in targets
        ],
    )


def targets_from_message(message: Any) -> list[Target]:
    """Targets of a TargetArray.

    Raises:
        MessageError: a position or covariance that is not finite.
    """
    targets = []
    for index, entry in enumerate(message.targets):
        position = (entry.position.x, entry.position.y, entry.position.z)
        covariance = np.array(entry.covariance, np.float64).reshape(2, 2)
        if not all(map(math.isfinite, position)):
            raise MessageError(f'TargetArray.targets[{index}].position: expected finite metres, got {position}')
        if not np.all(np.isfinite(covariance)):
            got = covariance.tolist()
            raise MessageError(f'TargetArray.targets[{index}].covariance: expected finite numbers, got {got}')
        targets.append(
            Target(
                *position,
                covariance=covariance,
                radial_velocity=entry.radial_velocity,
                snr=entry.snr,
                score=entry.score,
                track_id=entry.track_id,
                label=entry.label,
                size=(entry.size.x, entry.size.y, entry.size.z),
                heading=entry.heading,
                velocity=(entry.velocity.x, entry.velocity.y, entry.velocity.z),
                visibility=entry.visibility,
                in_radar_view=bool(entry.in_radar_view),
                in_camera_view=bool(entry.in_camera_view),
            )
        )
    return targets


def targets_to_detections3d(
    targets: Sequence[Target],
    stamp_ns: int,
    frame_id: str,
    types: MessageTypes,
    nominal_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Any:
    """vision_msgs/Detection3DArray: one hypothesis per target, its box centred on the target's position.

    Args:
        targets: to convert.
        stamp_ns: of the radar data that the targets were found in.
        frame_id: of that data.
        types: makes the message classes.
        nominal_size: (length, width, height), m, where a target's own is unknown.

    The pose's 6 x 6 covariance holds the target's 2 x 2 one of (x, y); a radar of one plane knows nothing of the rest,
    which stays 0. ``class_id`` is the label, or ``target`` without one.
    """
    hypothesis_type = types('vision_msgs/msg/ObjectHypothesis')
    result_type = types('vision_msgs/msg/ObjectHypothesisWithPose')
    posed, pose = types('geometry_msgs/msg/PoseWithCovariance'), types('geometry_msgs/msg/Pose')
    point, quaternion = types('geometry_msgs/msg/Point'), types('geometry_msgs/msg/Quaternion')
    box, vector = types('vision_msgs/msg/BoundingBox3D'), types('geometry_msgs/msg/Vector3')
    source = header(stamp_ns, frame_id, types)
    detections = []
    for target in targets:
        covariance = np.zeros((6, 6))
        covariance[:2, :2] = target.covariance
        heading = target.heading if math.isfinite(target.heading) else 0.0
        place = pose(
            position=point(x=float(target.x), y=float(target.y), z=float(target.z)),
            orientation=quaternion(x=0.0, y=0.0, z=math.sin(heading / 2), w=math.cos(heading / 2)),
        )
        size = [float(own or nominal) for own, nominal in zip(target.size, nominal_size, strict=True)]
        hypothesis = hypothesis_type(class_id=target.label or 'target', score=float(target.score))
        detections.append(
            types('vision_msgs/msg/Detection3D')(
                header=source,
                results=[result_type(hypothesis=hypothesis, pose=posed(pose=place, covariance=covariance.reshape(36)))],
                bbox=box(center=place, size=vector(x=size[0], y=size[1], z=size[2])),
                id=str(target.track_id) if target.track_id else '',
            )
        )
    return types('vision_msgs/msg/Detection3DArray')(header=source, detections=detections)


def targets_to_points(targets: Sequence[Target], stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/PointCloud2 with float32 fields x, y, z, range, azimuth, radial_velocity, snr, score."""
    values = [[getattr(target, name) for name in _POINT_FIELDS] for target in targets]
    data = np.array(values, np.float32).reshape(len(targets), len(_POINT_FIELDS))
    field = types('sensor_msgs/msg/PointField')
    step = 4 * len(_POINT_FIELDS)
    return types('sensor_msgs/msg/PointCloud2')(
        header=header(stamp_ns, frame_id, types),
        height=1,
        width=len(targets),
        fields=[field(name=name, offset=4 * i, datatype=_FLOAT32, count=1) for i, name in enumerate(_POINT_FIELDS)],
        is_bigendian=False,
        point_step=step,
        row_step=step * len(targets),
        data=types.array(data.reshape(-1).view(np.uint8)),
        is_dense=bool(np.all(np.isfinite(data))),
    )


# Camera and mounting --------------------------------------------------------------------------------------------------


def camera_to_info(camera: CameraModel, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/CameraInfo of a camera whose images are not rectified (R identity, P = [K 0])."""
    calibration = Calibration(
        width=camera.width,
        height=camera.height,
        matrix=camera.matrix,
        distortion_model=camera.distortion_model,
        distortion=camera.distortion,
        rectification=np.eye(3),
        projection=np.hstack([camera.matrix, np.zeros((3, 1))]),
    )
    return calibration_to_info(calibration, stamp_ns, frame_id, types)


def calibration_to_info(calibration: Calibration, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/CameraInfo of a calibrated camera: whole images, no binning."""
    return types('sensor_msgs/msg/CameraInfo')(
        header=header(stamp_ns, frame_id, types),
        height=calibration.height,
        width=calibration.width,
        distortion_model=calibration.distortion_model,
        binning_x=0,
        binning_y=0,
        roi=types('sensor_msgs/msg/RegionOfInterest')(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        d=types.array(np.array(calibration.distortion)),
        k=np.array(calibration.matrix).reshape(9),
        r=np.array(calibration.rectification).reshape(9),
        p=np.array(calibration.projection).reshape(12),
    )


def uncalibrated_info(width: int, height: int, stamp_ns: int, frame_id: str, types: MessageTypes) -> Any:
    """sensor_msgs/CameraInfo of a camera of which only the size is known: K is zero, as the message's comments say."""
    return types('sensor_msgs/msg/CameraInfo')(
        header=header(stamp_ns, frame_id, types),
        height=height,
        width=width,
        distortion_model='',
        binning_x=0,
        binning_y=0,
        roi=types('sensor_msgs/msg/RegionOfInterest')(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        d=types.array(np.zeros(0)),
        k=np.zeros(9),
        r=np.zeros(9),
        p=np.zeros(12),
    )


def is_calibrated(info: Any) -> bool:
    """Whether a sensor_msgs/CameraInfo says more than the size."""
    return bool(info.k[0])


def camera_from_info(
    info: Any, rotation: NDArray[np.float64] | None = None, translation: NDArray[np.float64] | None = None
) -> CameraModel:
    """Camera of a sensor_msgs/CameraInfo of raw images.

    Args:
        info: the message.
        rotation: (3, 3), radar frame to optical frame; None = looking along x.
        translation: (3,) m, the radar's origin in the optical frame; None = same place.

    Raises:
        MessageError: an unknown distortion model, binned or cropped images, or numbers that are no camera.
    """
    distortion = np.array(info.d, np.float64)
    model = info.distortion_model or 'plumb_bob'
    if model == 'plumb_bob' and distortion.size < 5:
        distortion = np.pad(distortion, (0, 5 - distortion.size))
    if max(info.binning_x, info.binning_y) > 1 or info.roi.width or info.roi.height:
        got = f'binning {info.binning_x} x {info.binning_y}, region {info.roi.width} x {info.roi.height}'
        raise MessageError(f'CameraInfo: expected whole images without binning, got {got}')
    mounting = {} if rotation is None else {'rotation': rotation}
    mounting |= {} if translation is None else {'translation': translation}
    try:
        return CameraModel(
            width=info.width,
            height=info.height,
            matrix=np.array(info.k, np.float64).reshape(3, 3),
            distortion=distortion,
            distortion_model=model,
            **mounting,
        )
    except ValueError as error:
        raise MessageError(f'CameraInfo: {error}') from error


def transform_to_message(
    rotation: NDArray[np.float64],
    translation: NDArray[np.float64],
    stamp_ns: int,
    types: MessageTypes,
    *,
    parent: str,
    child: str,
) -> Any:
    """geometry_msgs/TransformStamped: the child's pose in the parent.

    Args:
        rotation: (3, 3), child frame to parent frame.
        translation: (3,) m, the child's origin in the parent frame.
        stamp_ns: from when it holds.
        types: makes the message classes.
        parent: frame_id of the frame that the pose is given in.
        child: frame_id of the frame that it places.
    """
    x, y, z, w = _quaternion(np.asarray(rotation, np.float64))
    origin = [float(value) for value in translation]
    return types('geometry_msgs/msg/TransformStamped')(
        header=header(stamp_ns, parent, types),
        child_frame_id=child,
        transform=types('geometry_msgs/msg/Transform')(
            translation=types('geometry_msgs/msg/Vector3')(x=origin[0], y=origin[1], z=origin[2]),
            rotation=types('geometry_msgs/msg/Quaternion')(x=x, y=y, z=z, w=w),
        ),
    )


def transform_from_message(message: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (3, 3), child to parent, and translation (3,) m, the child's origin in the parent, of a transform.

    Raises:
        MessageError: the quaternion is not one.
    """
    q = message.transform.rotation
    x, y, z, w = q.x, q.y, q.z, q.w
    if not abs(x * x + y * y + z * z + w * w - 1) < 1e-3:
        frames = f'{message.header.frame_id} -> {message.child_frame_id}'
        raise MessageError(f'TransformStamped {frames}: expected a unit quaternion, got {(x, y, z, w)}')
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    origin = message.transform.translation
    return rotation, np.array([origin.x, origin.y, origin.z])


def _quaternion(rotation: NDArray[np.float64]) -> list[float]:
    """(x, y, z, w) of a rotation matrix: the eigenvector of its largest eigenvalue (Bar-Itzhack 2000)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    _, vectors = np.linalg.eigh(symmetric)
    q = vectors[:, -1]
    return [float(value) for value in (q if q[3] >= 0 else -q)]
