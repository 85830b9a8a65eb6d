# SPDX-License-Identifier: Apache-2.0
"""Video4Linux devices: which there are, why one cannot be opened, and their exposure and gain controls."""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Requests and ids of linux/videodev2.h and linux/v4l2-controls.h, the same on every 32 and 64 bit Linux.
_QUERYCAP = 0x80685600
_G_CTRL = 0xC008561B
_S_CTRL = 0xC008561C
_QUERYCTRL = 0xC0445624
_CAPABILITY = struct.Struct('=16s32s32s6I')
_CONTROL = struct.Struct('=Ii')
_QUERY = struct.Struct('=II32siiii3I')
_VIDEO_CAPTURE = 0x1 | 0x1000
_DEVICE_CAPS = 0x80000000
_DISABLED = 0x1

AUTOGAIN = 0x00980912
GAIN = 0x00980913
EXPOSURE_AUTO = 0x009A0901
EXPOSURE_ABSOLUTE = 0x009A0902
_NAMES = {
    AUTOGAIN: 'automatic gain',
    GAIN: 'gain',
    EXPOSURE_AUTO: 'automatic exposure',
    EXPOSURE_ABSOLUTE: 'exposure time',
}

EXPOSURE_UNIT = 1e-4
"""s, the unit of EXPOSURE_ABSOLUTE."""

EXPOSURE_MANUAL = 1
EXPOSURE_AUTOMATIC = (3, 0)
"""Values of EXPOSURE_AUTO: aperture priority (webcams), then fully automatic."""


class DeviceError(OSError):
    """A camera that cannot be used, and why."""


@dataclass(frozen=True)
class Control:
    """Range of a device's control, in its own units.

    Attributes:
        minimum, maximum, step, default: whole numbers.
    """

    minimum: int
    maximum: int
    step: int
    default: int


def list_devices() -> dict[str, str]:
    """Names of the video devices there are, by path, e.g. ``{'/dev/video0': 'HD Webcam'}``."""
    found = {}
    for path in sorted(Path('/dev').glob('video*'), key=lambda path: (len(path.name), path.name)):
        if path.name[5:].isdigit():
            name = Path('/sys/class/video4linux') / path.name / 'name'
            found[str(path)] = name.read_text(errors='replace').strip() if name.is_file() else ''
    return found


def describe_devices() -> str:
    """``present: /dev/video0 (HD Webcam), ...`` or that there is none, for messages."""
    devices = list_devices()
    if not devices:
        return 'no video device is present (/dev/video*)'
    return 'present: ' + ', '.join(f'{path} ({name})' if name else path for path, name in devices.items())


def check_device(path: str) -> str:
    """Name of the camera behind a device file that can be opened.

    Raises:
        DeviceError: it is absent, no capture device, or this user may not open it.
    """
    with _opened(path) as descriptor:
        buffer = bytearray(_CAPABILITY.size)
        try:
            fcntl.ioctl(descriptor, _QUERYCAP, buffer)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EINVAL):
                raise DeviceError(f'{path}: expected a video device, got another kind; {describe_devices()}') from error
            raise DeviceError(f'{path}: {error.strerror}') from error
    _, card, _, _, capabilities, device_capabilities, *_ = _CAPABILITY.unpack(buffer)
    if capabilities & _DEVICE_CAPS:
        capabilities = device_capabilities
    name = card.split(b'\0')[0].decode(errors='replace')
    if not capabilities & _VIDEO_CAPTURE:
        raise DeviceError(
            f'{path} ({name}): expected a device that captures video, got one that does not (webcams have a second '
            f'device for metadata); {describe_devices()}'
        )
    return name


def holders(path: str) -> list[str]:
    """Other processes that hold a device open, e.g. ``['guvcview (pid 4711)']``; only those this user may look into."""
    real = os.path.realpath(path)
    found = []
    for process in Path('/proc').iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            held = any(str(entry.readlink()) == real for entry in (process / 'fd').iterdir())
            name = (process / 'comm').read_text(errors='replace').strip() if held else ''
        except OSError:  # it has ended, or is another user's
            continue
        if held:
            found.append(f'{name} (pid {process.name})')
    return found


def query_control(path: str, control: int) -> Control:
    """Range of a control.

    Raises:
        DeviceError: the device cannot be opened or has no such control.
    """
    with _opened(path) as descriptor:
        return _query(descriptor, path, control)


def set_control(path: str, control: int, value: int) -> int:
    """Set a control, also while somebody captures; the value that the device took.

    Raises:
        DeviceError: the device cannot be opened, has no such control, or refuses the value.
    """
    with _opened(path) as descriptor:
        known = _query(descriptor, path, control)
        if not known.minimum <= value <= known.maximum:
            raise DeviceError(
                f'{path}: {_NAMES.get(control, hex(control))}: expected {known.minimum} to {known.maximum} '
                f'(in steps of the device), got {value}'
            )
        buffer = bytearray(_CONTROL.pack(control, value))
        try:
            fcntl.ioctl(descriptor, _S_CTRL, buffer)
            fcntl.ioctl(descriptor, _G_CTRL, buffer)
        except OSError as error:
            raise DeviceError(
                f'{path}: {_NAMES.get(control, hex(control))} = {value} refused: {error.strerror}'
            ) from error
        return int(_CONTROL.unpack(buffer)[1])


@contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        raise DeviceError(f'{path}: expected a video device, found none; {describe_devices()}') from None
    except PermissionError:
        raise DeviceError(
            f'{path}: no permission (add yourself to its group: sudo usermod -aG video $USER, then log in again)'
        ) from None
    except OSError as error:
        raise DeviceError(f'{path}: {error.strerror}{_held_by(path)}') from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _held_by(path: str) -> str:
    others = holders(path)
    return f'; in use by {", ".join(others)}' if others else ''


def _query(descriptor: int, path: str, control: int) -> Control:
    buffer = bytearray(_QUERY.pack(control, 0, b'', 0, 0, 0, 0, 0, 0, 0))
    name = _NAMES.get(control, hex(control))
    try:
        fcntl.ioctl(descriptor, _QUERYCTRL, buffer)
    except OSError as error:
        raise DeviceError(f'{path}: the camera has no control for {name} ({error.strerror})') from error
    _, _, _, minimum, maximum, step, default, flags, *_ = _QUERY.unpack(buffer)
    if flags & _DISABLED:
        raise DeviceError(f"{path}: the camera's control for {name} is disabled")
    return Control(minimum, maximum, step, default)
