# SPDX-License-Identifier: Apache-2.0
"""Reads frames of raw captures: NumPy arrays and the files of TI's DCA1000 capture card."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.config_file import one_of
from radio_visual_ssl.radar.cube import Axis, RadarCube
from radio_visual_ssl.radar.profile import FmcwWaveform, ProfileError, RadarProfile


class CaptureError(ValueError):
    """A capture file that cannot be read, is cut short or does not fit the radar's profile."""


@dataclass(frozen=True)
class CaptureFormat:
    """How raw files of a radar are laid out: the ``capture`` part of its profile.

    Attributes:
        axes: .npy only, meaning of the axes of one frame, slowest first; one more axis before them counts frames.
            Empty: slow time, VIRTUAL_CHANNEL, fast time.
        unsigned_wrap_bits: .npy only, negative values were written as unsigned ones of so many bits; 0 = they were not.
        lanes: .bin only, LVDS lanes of the radar: 2 (xWR16xx, xWR18xx, xWR68xx) or 4 (xWR12xx, xWR14xx).
        q_first: .bin only, the radar was set up to send Q before I.

    Raises:
        ProfileError: a value out of range; the message names the field.
    """

    axes: tuple[Axis, ...] = ()
    unsigned_wrap_bits: int = 0
    lanes: int = 2
    q_first: bool = False

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> 'CaptureFormat':
        """Format of the ``capture`` part of a profile.

        Raises:
            ProfileError: an unknown field or a wrong value.
        """
        known = [item.name for item in fields(cls)]
        for key in content:
            if key not in known:
                raise ProfileError(f'capture.{key}: {one_of(known, key)}')
        values = dict(content)
        if 'axes' in values:
            names = [axis.name for axis in Axis]
            wrong = [name for name in values['axes'] if name not in names]
            if wrong:
                raise ProfileError(f'capture.axes: expected names among {", ".join(names)}, got {wrong[0]!r}')
            values['axes'] = tuple(Axis[name] for name in values['axes'])
        return cls(**values)

    def __post_init__(self) -> None:
        """Check the values."""
        if type(self.unsigned_wrap_bits) is not int or not 0 <= self.unsigned_wrap_bits <= 32:
            raise ProfileError(
                f'capture.unsigned_wrap_bits: expected an integer from 0 to 32, got {self.unsigned_wrap_bits!r}'
            )
        if self.lanes not in (2, 4):
            raise ProfileError(f'capture.lanes: expected 2 or 4, got {self.lanes!r}')
        if type(self.q_first) is not bool:
            raise ProfileError(f'capture.q_first: expected true or false, got {self.q_first!r}')


def count_frames(path: str | Path, profile: RadarProfile) -> int:
    """Frames of a raw capture; arguments and errors are those of `load_capture`."""
    layout, path = CaptureFormat.of(profile.capture), _file(path)
    if path.suffix.lower() == '.npy':
        return len(_npy_frames(path, profile, layout)[0])
    return path.stat().st_size // _dca1000_frame_bytes(path, profile, layout)


def load_capture(path: str | Path, profile: RadarProfile, frame: int = 0) -> RadarCube:
    """One frame of a raw capture.

    Args:
        path: ``.npy`` (one frame, or frames along a first axis) or ``.bin`` (DCA1000, int16).
        profile: of the radar; its ``capture`` part says how the file is laid out.
        frame: which frame, from 0.

    Raises:
        CaptureError: a file that is missing, of another kind, cut short (the message says got and expected bytes) or
            without such a frame.
        ProfileError: a wrong ``capture`` part.
    """
    layout, path = CaptureFormat.of(profile.capture), _file(path)
    if path.suffix.lower() == '.npy':
        return _load_npy(path, profile, layout, frame)
    return _load_dca1000(path, profile, layout, frame)


def _file(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise CaptureError(f'capture {path}: no such file')
    if path.suffix.lower() not in ('.npy', '.bin'):
        raise CaptureError(
            f'capture {path}: expected a .npy array or a DCA1000 .bin file, got {path.suffix or "no suffix"}'
        )
    return path


def _npy_frames(path: Path, profile: RadarProfile, layout: CaptureFormat) -> tuple[NDArray[Any], tuple[Axis, ...]]:
    """The frames as they lie in the file, and the axes of each."""
    try:
        frames = np.load(path, mmap_mode='r', allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        size = path.stat().st_size
        raise CaptureError(f'capture {path}: expected a whole .npy array, got {size} bytes: {error}') from error
    axes = layout.axes
    if not axes:
        fmcw = isinstance(profile.waveform, FmcwWaveform)
        axes = (Axis.CHIRP, Axis.VIRTUAL_CHANNEL, Axis.SAMPLE)
        axes = axes if fmcw else (Axis.SYMBOL, Axis.VIRTUAL_CHANNEL, Axis.SUBCARRIER)
    if frames.ndim == len(axes):
        frames = frames[None]
    if frames.ndim != len(axes) + 1:
        names = ', '.join(axis.name for axis in axes)
        raise CaptureError(
            f'capture {path}: expected {len(axes)} axes ({names}), or frames before them, got shape {frames.shape}'
        )
    return frames, axes


def _load_npy(path: Path, profile: RadarProfile, layout: CaptureFormat, frame: int) -> RadarCube:
    frames, axes = _npy_frames(path, profile, layout)
    _check_frame(path, frame, len(frames))
    data = np.array(frames[frame])
    if data.dtype.kind not in 'iufc':
        raise CaptureError(f'capture {path}: expected integers, floats or complex numbers, got {data.dtype}')
    if layout.unsigned_wrap_bits:
        data = _unwrap(data, layout.unsigned_wrap_bits)
    elif data.dtype.kind == 'u':
        raise CaptureError(f'capture {path}: expected signed samples, or capture.unsigned_wrap_bits, got {data.dtype}')
    return RadarCube(data, axes)


def _unwrap(data: NDArray[Any], bits: int) -> NDArray[Any]:
    """Negative values that stand as unsigned ones of so many bits, back as negative ones."""
    if np.iscomplexobj(data):
        return _unwrap(data.real, bits) + 1j * _unwrap(data.imag, bits)
    if data.dtype.kind == 'u':
        data = data.astype(np.int64)
    return np.where(data >= 2 ** (bits - 1), data - 2**bits, data)


def _dca1000_frame_bytes(path: Path, profile: RadarProfile, layout: CaptureFormat) -> int:
    """Bytes of a frame of a file that holds whole ones."""
    waveform = profile.waveform
    if not isinstance(waveform, FmcwWaveform):
        raise CaptureError(f'capture {path}: expected an FMCW radar for a DCA1000 file, got radar {profile.name!r}')
    chirps, receivers = waveform.num_chirps * len(profile.tx_order), len(profile.rx_positions)
    samples, parts = waveform.num_samples, 2 if waveform.complex_samples else 1
    if layout.lanes == 2 and parts == 2 and samples % 2:
        raise CaptureError(f'capture {path}: expected an even number of samples per chirp over 2 lanes, got {samples}')
    if layout.lanes == 4 and receivers != 4:
        raise CaptureError(f'capture {path}: expected 4 receivers for 4 lanes, got {receivers}')
    frame_bytes = chirps * receivers * samples * parts * 2
    size = path.stat().st_size
    if size == 0 or size % frame_bytes:
        raise CaptureError(
            f'capture {path}: expected a multiple of {frame_bytes} bytes ({chirps} chirps x {receivers} receivers x '
            f'{samples} {"complex " if parts == 2 else ""}samples of int16), got {size} bytes: '
            f'{size // frame_bytes} whole frames and {size % frame_bytes} bytes'
        )
    return frame_bytes


def _load_dca1000(path: Path, profile: RadarProfile, layout: CaptureFormat, frame: int) -> RadarCube:
    """Frame of a DCA1000 file (TI, 'Mmwave Radar Device ADC Raw Data Capture', SWRA581)."""
    frame_bytes, waveform = _dca1000_frame_bytes(path, profile, layout), profile.waveform
    assert isinstance(waveform, FmcwWaveform)
    chirps, receivers = waveform.num_chirps * len(profile.tx_order), len(profile.rx_positions)
    samples, parts = waveform.num_samples, 2 if waveform.complex_samples else 1
    _check_frame(path, frame, path.stat().st_size // frame_bytes)
    words = np.fromfile(path, '<i2', frame_bytes // 2, offset=frame * frame_bytes)
    axes = (Axis.CHIRP, Axis.RX, Axis.SAMPLE)
    if layout.lanes == 4:
        # each sample: the receivers' I, then the receivers' Q
        words = words.reshape(chirps, samples, parts, receivers).transpose(0, 3, 1, 2)
    else:
        # receiver after receiver, two samples' I, then the same samples' Q
        words = words.reshape(chirps, receivers, samples // parts, parts, parts).swapaxes(3, 4)
        words = words.reshape(chirps, receivers, samples, parts)
    if parts == 1:
        return RadarCube(np.ascontiguousarray(words[..., 0]), axes)
    pairs = words[..., ::-1] if layout.q_first else words
    return RadarCube(np.ascontiguousarray(pairs, dtype=np.float32).view(np.complex64)[..., 0], axes)


def _check_frame(path: Path, frame: int, count: int) -> None:
    if not 0 <= frame < count:
        raise CaptureError(f'capture {path}: expected a frame from 0 to {count - 1}, got {frame}')
