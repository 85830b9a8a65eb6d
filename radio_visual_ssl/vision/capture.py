# SPDX-License-Identifier: Apache-2.0
"""Pictures from cameras, video files, image folders and network streams, captured in a thread of their own.

A *live* source (camera, stream) goes on whether anybody looks or not: pictures that cannot be taken in time are
dropped, and what is lost is opened again. A *recorded* one (file, folder) is played in its own rhythm, and waits.
"""

import glob
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.vision import v4l2

STREAM_SCHEMES = ('rtsp', 'rtsps', 'http', 'https', 'rtmp', 'rtp', 'udp', 'tcp', 'srt')
PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')

OPEN_TIMEOUT = 3.0
"""s that opening a network stream may take."""

READ_TIMEOUT = 2.0
"""s without a picture after which a network stream counts as lost."""

EXPLAIN_TIMEOUT = 1.0
"""s that finding out why a stream cannot be opened may take."""

FIRST_RETRY, LAST_RETRY = 0.5, 5.0
"""s to wait before a lost source is opened again; doubled from the first to the last."""

QUEUE = 2
"""Pictures that may wait to be taken."""

LARGEST_AGE = 2.0
"""s; a driver's time stamp that makes a picture older than this is not one of a clock known here."""

FOLDER_RATE = 10.0
"""Hz, of image folders unless a rate is asked for."""

LARGEST_INTERVAL = 10.0
"""s; video files whose time stamps jump further are played at their nominal rate."""


class CaptureError(OSError):
    """A source that gives no pictures now, and why; it may later."""


@dataclass(frozen=True)
class CaptureSettings:
    """How to capture.

    Attributes:
        rate: Hz, at most so many pictures are taken (a camera is asked for this rate, an image folder played at it);
            0 = as they come.
        latency: s from the exposure to the reception of a picture, taken off where the driver gives no time stamp.
        driver_stamps: use the driver's time stamps where it gives plausible ones.
        loop: play a file or folder again and again.
        width, height: pixels to ask a camera for; 0 = its own choice.
        pixel_format: four letters to ask a camera for, e.g. ``MJPG`` or ``YUYV``; empty = its own choice.
        exposure: s, of a camera; 0 = left to the camera.
        gain: of a camera, in its own units; negative = left to the camera.
    """

    rate: float = 0.0
    latency: float = 0.0
    driver_stamps: bool = True
    loop: bool = False
    width: int = 0
    height: int = 0
    pixel_format: str = ''
    exposure: float = 0.0
    gain: int = -1

    def __post_init__(self) -> None:
        """Check what no number range can."""
        if self.pixel_format and len(self.pixel_format) != 4:
            raise ValueError(f"pixel_format: expected four letters such as 'MJPG', got {self.pixel_format!r}")
        if bool(self.width) != bool(self.height):
            raise ValueError(f'width and height: expected both or none, got {self.width} x {self.height}')


class Picture(NamedTuple):
    """One picture.

    Attributes:
        image: (H, W, 3) BGR, or (H, W) grey, uint8.
        stamp_ns: acquisition time, ns of the clock that the capture was given.
        stamp_source: ``driver``, ``reception`` or ``file``.
    """

    image: NDArray[np.uint8]
    stamp_ns: int
    stamp_source: str


class Event(NamedTuple):
    """What happened to a source.

    Attributes:
        kind: ``opened``, ``failed`` (a live source is tried again), ``damaged`` (a picture was left out), ``refused``
            (an exposure or gain was not set) or ``ended``.
        text: in words.
    """

    kind: str
    text: str


# Sources --------------------------------------------------------------------------------------------------------------


class Source(ABC):
    """Where pictures come from.

    Attributes:
        name: for messages; no password is in it.
        hardware: name of the camera, once it is open.
    """

    live = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.hardware = name

    @abstractmethod
    def open(self, settings: CaptureSettings) -> str:
        """Open it; a description of what it gives.

        Raises:
            CaptureError: it cannot be opened now.
        """

    @abstractmethod
    def close(self) -> None:
        """Close it, if it is open."""

    def check_controls(self, settings: CaptureSettings) -> None:
        """Refuse exposure and gain that cannot be set.

        Raises:
            ValueError: names the setting, and why.
        """
        for name, asked in (('exposure', settings.exposure > 0), ('gain', settings.gain >= 0)):
            if asked:
                raise ValueError(f'{name}: expected a video device whose {name} can be set, got {self.name}')

    def apply_controls(self, settings: CaptureSettings, before: CaptureSettings) -> None:
        """Set exposure and gain; what was set ``before`` and is left to the camera now becomes automatic.

        Raises:
            ValueError: the camera has no such control or refuses the value; the message names the setting.
        """
        self.check_controls(settings)


class LiveSource(Source):
    """A camera or stream."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._capture: cv2.VideoCapture | None = None

    @abstractmethod
    def why_lost(self) -> str:
        """Why no picture comes any more."""

    def grab(self) -> None:
        """Wait for the next picture.

        Raises:
            CaptureError: none came.
        """
        assert self._capture is not None
        if not self._capture.grab():
            raise CaptureError(f'{self.name}: {self.why_lost()}')

    def position(self) -> float:
        """Time stamp of the grabbed picture, s of a clock of the source's own; 0 = none."""
        return 0.0

    def decode(self) -> NDArray[np.uint8] | None:
        """The grabbed picture; None where it is damaged."""
        assert self._capture is not None
        good, image = self._capture.retrieve()
        return np.asarray(image) if good and image is not None and image.size else None

    def set_rate(self, rate: float) -> None:
        """Ask for another rate."""

    def close(self) -> None:
        """Release it."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _picture_format(self) -> str:
        assert self._capture is not None
        width, height, rate = (
            self._capture.get(item) for item in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
        )
        return f'{width:.0f} x {height:.0f}' + (f' at {rate:g} Hz' if 0 < rate <= 1000 else '')


class Device(LiveSource):
    """A Video4Linux camera."""

    def __init__(self, path: str) -> None:
        """A device file, or a link to one (/dev/v4l/by-id/...)."""
        super().__init__(path)
        self._path = path

    def open(self, settings: CaptureSettings) -> str:
        """Open it and ask for format, size and rate."""
        path = os.path.realpath(self._path)
        try:
            self.hardware = v4l2.check_device(self._path) or self.name
        except v4l2.DeviceError as error:
            raise CaptureError(str(error)) from error
        # else a camera that was unplugged without a word would be noticed after 10 s only
        os.environ.setdefault('OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT', f'{READ_TIMEOUT:.0f}')
        capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise CaptureError(f'{self.name} ({self.hardware}): {self._why_not("it cannot be captured from")}')
        self._capture = capture
        if settings.pixel_format:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*settings.pixel_format))
        if settings.width:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        if settings.rate:
            capture.set(cv2.CAP_PROP_FPS, settings.rate)
        return f'{self.hardware}, {self._picture_format()}{self._unmet(settings)}'

    def position(self) -> float:
        """Time of the buffer as the driver gives it."""
        assert self._capture is not None
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) * 1e-3

    def set_rate(self, rate: float) -> None:
        """Ask the camera for another rate."""
        assert self._capture is not None
        if rate:
            self._capture.set(cv2.CAP_PROP_FPS, rate)

    def check_controls(self, settings: CaptureSettings) -> None:
        """Refuse what the camera has no control for, and values out of its range."""
        if settings.exposure > 0:
            value = round(settings.exposure / v4l2.EXPOSURE_UNIT)
            self._check('exposure', v4l2.EXPOSURE_ABSOLUTE, value, settings.exposure, v4l2.EXPOSURE_UNIT)
        if settings.gain >= 0:
            self._check('gain', v4l2.GAIN, settings.gain, settings.gain, 1)

    def apply_controls(self, settings: CaptureSettings, before: CaptureSettings) -> None:
        """Set exposure and gain, also while capturing."""
        self.check_controls(settings)
        try:
            if settings.exposure > 0:
                with suppress(v4l2.DeviceError):  # cameras that know nothing but a manual exposure have no such switch
                    v4l2.set_control(self._path, v4l2.EXPOSURE_AUTO, v4l2.EXPOSURE_MANUAL)
                v4l2.set_control(self._path, v4l2.EXPOSURE_ABSOLUTE, round(settings.exposure / v4l2.EXPOSURE_UNIT))
            elif before.exposure > 0:
                self._automatic_exposure()
            if settings.gain >= 0 or before.gain >= 0:
                with suppress(v4l2.DeviceError):  # likewise
                    v4l2.set_control(self._path, v4l2.AUTOGAIN, int(settings.gain < 0))
            if settings.gain >= 0:
                v4l2.set_control(self._path, v4l2.GAIN, settings.gain)
        except v4l2.DeviceError as error:
            raise ValueError(str(error)) from error

    def why_lost(self) -> str:
        """Unplugged, in use, or silent."""
        if not Path(self._path).exists():
            return f'the camera is gone (unplugged?); {v4l2.describe_devices()}'
        return self._why_not(f'no picture within {READ_TIMEOUT:g} s')

    def _automatic_exposure(self) -> None:
        for mode in v4l2.EXPOSURE_AUTOMATIC:
            try:
                v4l2.set_control(self._path, v4l2.EXPOSURE_AUTO, mode)
            except v4l2.DeviceError:  # a camera has one of the modes, or no automatic exposure at all
                continue
            return

    def _check(self, name: str, control: int, value: int, given: float, unit: float) -> None:
        try:
            known = v4l2.query_control(self._path, control)
        except v4l2.DeviceError as error:
            raise ValueError(f'{name}: {error}') from error
        if not known.minimum <= value <= known.maximum:
            low, high = known.minimum * unit, known.maximum * unit
            raise ValueError(f'{name}: expected {low:g} to {high:g} for {self.name} ({self.hardware}), got {given:g}')

    def _why_not(self, otherwise: str) -> str:
        others = v4l2.holders(self._path)
        return f'busy, in use by {", ".join(others)}' if others else f'{otherwise} (busy, or no format OpenCV reads)'

    def _unmet(self, settings: CaptureSettings) -> str:
        assert self._capture is not None
        got = tuple(int(self._capture.get(item)) for item in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        asked = (settings.width, settings.height)
        return f' ({asked[0]} x {asked[1]} was asked for)' if settings.width and got != asked else ''


class Stream(LiveSource):
    """A network stream that FFmpeg reads."""

    def __init__(self, url: str) -> None:
        """A URL; a password in it is used, never shown."""
        super().__init__(hide_password(url))
        self._url = url

    def open(self, settings: CaptureSettings) -> str:
        """Connect."""
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(1e3 * OPEN_TIMEOUT),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(1e3 * READ_TIMEOUT),
        ]
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, timeouts)
        if not capture.isOpened():
            raise CaptureError(f'{self.name}: {explain_url(self._url)}')
        self._capture = capture
        return self._picture_format().split(' at ')[0]  # the rate that FFmpeg tells of MJPEG is made up

    def why_lost(self) -> str:
        """The stream ended or fell silent."""
        return f'the stream has ended, or was silent for {READ_TIMEOUT:g} s'


class RecordedSource(Source):
    """A file or folder."""

    live = False

    def open(self, settings: CaptureSettings) -> str:
        """Nothing is held open between two passes."""
        return self.name

    def close(self) -> None:
        """Nothing is held open between two passes."""

    @abstractmethod
    def pictures(self, rate: Callable[[], float]) -> Iterator[tuple[float, NDArray[np.uint8] | str]]:
        """The pictures in order: seconds since the one before (at the first: of one period), and a picture or why not.

        Args:
            rate: Hz that is asked for at this moment; 0 = none.

        Raises:
            CaptureError: it cannot be read any more.
        """


class VideoFile(RecordedSource):
    """A video file."""

    def __init__(self, path: Path) -> None:
        """Check that it holds pictures.

        Raises:
            ValueError: OpenCV reads none.
        """
        super().__init__(str(path))
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened() or not capture.grab():
                raise ValueError(f'{path}: expected a video file or a picture, got nothing that OpenCV can read')
        finally:
            capture.release()
        self._begin()

    def open(self, settings: CaptureSettings) -> str:
        """Nothing is held open between two passes, but the time goes on."""
        self._begin()
        return super().open(settings)

    def _begin(self) -> None:
        self._limit = RateLimit()
        self._clock = self._waited = 0.0  # s, of what was played, and since the last picture that was taken

    def pictures(self, rate: Callable[[], float]) -> Iterator[tuple[float, NDArray[np.uint8] | str]]:
        """At their own times; those that come sooner than the rate allows are not decoded into pictures."""
        capture = cv2.VideoCapture(self.name, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise CaptureError(f'{self.name}: it cannot be read any more')
        try:
            nominal = capture.get(cv2.CAP_PROP_FPS)
            period = 1.0 / nominal if 0.01 < nominal <= 1000 else 0.04
            last = -1.0
            while capture.grab():
                position = capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
                interval = position - last if last >= 0 else period
                if not 0 < interval <= LARGEST_INTERVAL:
                    interval = period
                last = position
                self._clock += interval
                self._waited += interval
                if not self._limit.admits(self._clock, rate()):
                    continue
                good, image = capture.retrieve()
                waited, self._waited = self._waited, 0.0
                yield waited, np.asarray(image) if good and image is not None else f'{self.name}: a damaged picture'
        finally:
            capture.release()


class ImageFiles(RecordedSource):
    """Pictures in files, in the natural order of their names (2 before 10)."""

    def __init__(self, name: str, paths: list[Path]) -> None:
        """Files of which at least one is there."""
        super().__init__(name)
        self.paths = sorted(paths, key=natural_order)

    def pictures(self, rate: Callable[[], float]) -> Iterator[tuple[float, NDArray[np.uint8] | str]]:
        """At the asked rate."""
        for path in self.paths:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            interval = 1.0 / (rate() or FOLDER_RATE)
            yield interval, np.asarray(image) if image is not None else f'{path}: expected a picture, cannot read it'


def find_source(text: str) -> Source:
    """The source that a user names.

    Args:
        text: a camera index (``0``), a device (``/dev/video0``), a video or image file, a folder or pattern of image
            files (``shots/*.png``), or a URL (``rtsp://``, ``http://`` ..., ``file://``).

    Raises:
        FileNotFoundError: no such file, or no pictures in the folder.
        PermissionError: a file that may not be read.
        ValueError: none of these, or a file that OpenCV cannot read.
    """
    text = text.strip()
    if not text:
        raise ValueError(
            'source: expected a camera index (0), a device, a file, a folder of pictures or a URL, got nothing'
        )
    if text.isdecimal():
        return Device(f'/dev/video{int(text)}')
    if text.startswith('/dev/'):
        return Device(text)
    scheme, separator, rest = text.partition('://')
    if separator and scheme.lower() != 'file':
        if scheme.lower() not in STREAM_SCHEMES:
            expected = ', '.join(f'{known}://' for known in ('file', *STREAM_SCHEMES))
            raise ValueError(f'source: expected one of {expected}, got {hide_password(text)!r}')
        return Stream(text)
    path = Path(rest.removeprefix('localhost') if separator else text).expanduser()
    if path.is_dir():
        return _pictures_in(str(path), [entry for entry in path.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES])
    if not path.exists() and glob.has_magic(str(path)):
        return _pictures_in(str(path), list(Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
    if not path.is_file():
        raise FileNotFoundError(f'{path}: expected a video file, a picture or a folder of pictures, found nothing')
    if not os.access(path, os.R_OK):
        raise PermissionError(f'{path}: no permission to read it')
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return ImageFiles(str(path), [path])
    return VideoFile(path)


def _pictures_in(name: str, paths: list[Path]) -> ImageFiles:
    files = [path for path in paths if path.is_file()]
    if not files:
        raise FileNotFoundError(f'{name}: expected pictures ({", ".join(PICTURE_SUFFIXES)}), found none')
    return ImageFiles(name, files)


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Key that sorts numbers in a name by value."""
    parts = re.split(r'(\d+)', str(path))
    return [(0, int(part), '') if part.isdigit() else (1, 0, part) for part in parts]


def hide_password(url: str) -> str:
    """A URL without its password, be it before the host or, as many cameras have it, a parameter."""
    url = re.sub(r'(://[^/@]*?):[^/@]*@', r'\1:***@', url)
    return re.sub(r'(?i)([?&;](?:pass|passwd|password|pwd|psw|token|key|auth)=)[^&;#]*', r'\1***', url)


def explain_url(url: str) -> str:
    """Why a stream cannot be opened: the host, the port, or what it answers."""
    parts = urlsplit(url)
    try:
        port = parts.port or {'http': 80, 'https': 443, 'rtsp': 554, 'rtsps': 322, 'rtmp': 1935}.get(parts.scheme)
    except ValueError:
        return 'expected a number after the colon of the host'
    if not parts.hostname:
        return 'expected a host in the URL'
    if port is None or parts.scheme in ('udp', 'rtp', 'srt'):
        return f'no stream that OpenCV can read came within {OPEN_TIMEOUT:g} s'
    try:
        with socket.create_connection((parts.hostname, port), EXPLAIN_TIMEOUT):
            pass
        if parts.scheme in ('http', 'https') and '@' not in parts.netloc:
            urllib.request.urlopen(url, timeout=EXPLAIN_TIMEOUT).close()
    except urllib.error.HTTPError as error:
        return f'the server answers {error.code} {error.reason}'
    except OSError as error:
        reason = getattr(error, 'reason', error)
        return f'cannot connect to {parts.hostname}:{port} ({getattr(reason, "strerror", None) or reason})'
    return f'the server answers, but no stream that OpenCV can read came within {OPEN_TIMEOUT:g} s'


# Time -----------------------------------------------------------------------------------------------------------------


class RateLimit:
    """Lets pass as many pictures as a rate allows, evenly and without drift, of pictures that come with some jitter."""

    def __init__(self) -> None:
        self._due = 0.0
        self._last = 0.0
        self._rate = 0.0

    def admits(self, time_s: float, rate: float) -> bool:
        """Whether the picture of this time is to be taken; a rate of 0 takes all."""
        if rate <= 0:
            self._rate = 0.0
            return True
        period = 1.0 / rate
        early = min(0.25 * period, 0.5 * abs(time_s - self._last))
        self._last = time_s
        if rate != self._rate or not self._due - 2 * period < time_s < self._due + period:
            self._rate = rate
            self._due = time_s
        if time_s < self._due - early:
            return False
        self._due += period
        return True


def picture_age(position: float, last_position: float) -> float | None:
    """Seconds since a driver stamped a picture; None where the stamp cannot be true.

    Video4Linux drivers stamp buffers by the monotonic clock (a few by the wall clock).

    Args:
        position: s, the driver's stamp.
        last_position: s, that of the picture before.
    """
    if position <= 0 or position <= last_position:
        return None
    for now in (time.monotonic(), time.time()):
        age = now - position
        if -0.001 <= age <= LARGEST_AGE:
            return max(age, 0.0)
    return None


# The thread -----------------------------------------------------------------------------------------------------------


class Capture:
    """Captures from a source, from ``start`` to ``stop``.

    Attributes:
        dropped: pictures of a live source that nobody took in time.
        reconnects: times that a lost source came back.
        late: times that a file was played later than its rhythm asks.
        stamp_source: of the last picture.
    """

    def __init__(
        self, source: Source, settings: CaptureSettings, clock: Callable[[], int], notify: Callable[[], None]
    ) -> None:
        """Capture nothing yet.

        Args:
            source: where from.
            settings: to begin with, see ``change``.
            clock: ns, of which the stamps are.
            notify: called from the capturing thread when there is something to ``take``.
        """
        self.source = source
        self.settings = settings
        self.dropped = 0
        self.reconnects = 0
        self.late = 0
        self.stamp_source = ''
        self._clock = clock
        self._notify = notify
        self._pictures: deque[Picture] = deque()
        self._events: deque[Event] = deque(maxlen=100)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='capture', daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> bool:
        """End; whether the thread has ended (a driver may hold it: it ends by itself then, and gives nothing more)."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def change(self, settings: CaptureSettings) -> None:
        """Take other settings over; ``width``, ``height`` and ``pixel_format`` wait until the camera is opened again.

        Raises:
            ValueError: the camera refuses exposure or gain; nothing is changed then but perhaps the exposure.
        """
        if (settings.exposure, settings.gain) != (self.settings.exposure, self.settings.gain):
            self.source.apply_controls(settings, self.settings)
        self.settings = settings

    def take(self) -> Picture | Event | None:
        """The next event or picture that waits; None where there is none."""
        with self._changed:
            if self._events:
                return self._events.popleft()
            if self._pictures:
                self._changed.notify_all()
                return self._pictures.popleft()
        return None

    # ---- in the thread

    def _run(self) -> None:
        try:
            if isinstance(self.source, LiveSource):
                self._follow(self.source)
            elif isinstance(self.source, RecordedSource):
                self._play(self.source)
        except CaptureError as error:
            self._tell('failed', str(error))
        except Exception as error:  # a thread's exception would end it without a word
            self._tell('failed', f'{self.source.name}: capturing has ended: {error!r}')

    def _tell(self, kind: str, text: str) -> None:
        if self._stopping.is_set():
            return
        with self._changed:
            self._events.append(Event(kind, text))
        self._notify()

    def _give(self, picture: Picture) -> None:
        with self._changed:
            if self.source.live and len(self._pictures) >= QUEUE:
                self._pictures.popleft()
                self.dropped += 1
            while len(self._pictures) >= QUEUE and not self._stopping.is_set():
                self._changed.wait()
            if self._stopping.is_set():
                return
            self._pictures.append(picture)
        self.stamp_source = picture.stamp_source
        self._notify()

    def _follow(self, source: LiveSource) -> None:
        """Capture from a camera or stream, and open it again when it is lost."""
        delay, seen = FIRST_RETRY, False
        while not self._stopping.is_set():
            try:
                description = source.open(self.settings)
                if self._stopping.is_set():
                    break
                refusal = ''
                try:
                    source.apply_controls(self.settings, CaptureSettings())
                except ValueError as error:
                    refusal = str(error)
                for picture in self._live_pictures(source):
                    if description:
                        self.reconnects += seen
                        self._tell('opened', f'{source.name}: {description}')
                        if refusal:
                            self._tell('refused', refusal)
                        description, delay, seen = '', FIRST_RETRY, True
                    self._give(picture)
            except CaptureError as error:
                self._tell('failed', f'{error}; trying again in {delay:g} s')
                self._stopping.wait(delay)
                delay = min(2 * delay, LAST_RETRY)
            finally:
                source.close()

    def _live_pictures(self, source: LiveSource) -> Iterator[Picture]:
        limit, last_position, rate = RateLimit(), 0.0, self.settings.rate
        while not self._stopping.is_set():
            if rate != self.settings.rate:
                rate = self.settings.rate
                source.set_rate(rate)
            source.grab()
            now_ns, now = self._clock(), time.monotonic()
            settings = self.settings
            position = source.position()
            age = picture_age(position, last_position) if settings.driver_stamps else None
            last_position = position
            if not limit.admits(now - (age or 0.0), settings.rate):
                continue
            image = source.decode()
            if image is None:
                self._tell('damaged', f'{source.name}: a damaged picture was left out')
                continue
            stamp_ns = now_ns - round(1e9 * (settings.latency if age is None else age))
            yield Picture(image, stamp_ns, 'reception' if age is None else 'driver')

    def _play(self, source: RecordedSource) -> None:
        """Play a file or folder: each picture is stamped with its own time, counted from the first one's."""
        self._tell('opened', source.open(self.settings))
        due, stamp_ns, played, passes = time.monotonic(), self._clock(), 0, 0
        while not self._stopping.is_set() and (self.settings.loop or not passes):
            good = False
            for interval, image in source.pictures(lambda: self.settings.rate):
                if played:
                    due += interval
                    stamp_ns += round(1e9 * interval)
                if self._stopping.wait(max(due - time.monotonic(), 0.0)):
                    return
                if abs(self._clock() - stamp_ns) > 1e9 * max(2 * interval, 0.5):
                    self.late += played > 0
                    due, stamp_ns = time.monotonic(), self._clock()
                played += 1
                if isinstance(image, str):
                    self._tell('damaged', image)
                    continue
                good = True
                self._give(Picture(image, stamp_ns, 'file'))
            passes += 1
            if not good:
                raise CaptureError(f'{source.name}: expected pictures, got none that can be read')
        if not self._stopping.is_set():
            self._tell('ended', f'{source.name}: the end, after {played} pictures')
