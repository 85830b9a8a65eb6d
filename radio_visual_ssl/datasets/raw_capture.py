# SPDX-License-Identifier: Apache-2.0
"""Imports a raw capture (NumPy arrays, or TI's DCA1000) as a bag of radar cubes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from radio_visual_ssl.bags.messages import cube_to_message, profile_to_info
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.radar.capture import CaptureError, count_frames, load_capture
from radio_visual_ssl.radar.cube import canonical
from radio_visual_ssl.radar.profile import load_profile

RADAR_FRAME = 'radar'
_LATEST_NS = 2**31 * 1_000_000_000  # what a stamp's seconds can hold


@dataclass(frozen=True)
class CaptureReport:
    """What an import put into the bag.

    Attributes:
        path: of the bag.
        frames: written.
        radar: name of the profile.
    """

    path: Path
    frames: int
    radar: str


def import_capture(
    capture: str | Path,
    radar: str,
    out: str | Path,
    start_ns: int,
    period: float,
    progress: Callable[[int, int], None] | None = None,
    *,
    compress: bool = False,
) -> CaptureReport:
    """Write the frames of a capture as RadarCube messages on /radar/cube, with RadarInfo on /radar/info.

    Args:
        capture: ``.npy`` or ``.bin``, see `radar.capture.load_capture`.
        radar: name of a shipped profile, or path of a YAML file; its ``capture`` part says how the file is laid out.
        out: the new bag; never overwritten.
        start_ns: when the first frame began, since 1970, by the clock of what it is to be paired with.
        period: s between the starts of frames.
        progress: called with (frames done, frames in all).
        compress: zstd in the bag.

    Raises:
        ValueError: a start or period out of range, or a profile (`ProfileError`), capture (`CaptureError`), cube
            (`CubeError`) or bag (`BagError`) that cannot be used; nothing is left of the bag then.
    """
    if not 0 < period < 1e6:
        raise ValueError(f'period: expected seconds between frames, more than 0, got {period}')
    profile, types = load_profile(radar), RosbagsTypes()
    count = count_frames(capture, profile)
    if count == 0:
        raise CaptureError(f'capture {capture}: expected at least one frame, got none')
    stamps_ns = [start_ns + round(frame * period * 1e9) for frame in range(count)]
    if not 0 < start_ns <= stamps_ns[-1] < _LATEST_NS:
        raise ValueError(f'start: expected a time from 1970 to 2038, got {start_ns * 1e-9:.3f} s since 1970')
    with BagWriter(out, compress) as bag:
        bag.write('/radar/info', start_ns, profile_to_info(profile, start_ns, RADAR_FRAME, types))
        for frame, stamp_ns in enumerate(stamps_ns):
            cube = load_capture(capture, profile, frame)
            if frame == 0:
                canonical(cube, profile)  # a capture of another radar is told here, not by who reads the bag
            bag.write('/radar/cube', stamp_ns, cube_to_message(cube, stamp_ns, RADAR_FRAME, types))
            if progress is not None:
                progress(frame + 1, count)
    return CaptureReport(Path(out), count, profile.name)


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of a time: seconds since then, or ISO 8601 with its offset from UTC.

    Raises:
        ValueError: neither.
    """
    try:
        return int(Decimal(text) * 1_000_000_000)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(text[:-1] + '+00:00' if text[-1:] in ('Z', 'z') else text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f'expected seconds since 1970, or a time with its offset from UTC such as 2026-05-04T10:11:12.5+02:00, '
            f'got {text!r}'
        )
    whole = int(time.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + time.microsecond * 1000
