# SPDX-License-Identifier: Apache-2.0
"""Raw samples of one radar frame, and the one layout that signal processing works on."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.profile import FmcwWaveform, RadarProfile


class Axis(IntEnum):
    """Meaning of an axis of a cube; the numbers are those of RadarCube.msg."""

    CHIRP = 1
    TX = 2
    RX = 3
    VIRTUAL_CHANNEL = 4
    SAMPLE = 5
    SYMBOL = 6
    SUBCARRIER = 7


class CubeError(ValueError):
    """A cube that contradicts itself or the radar's profile, or holds samples that are no numbers."""


@dataclass(frozen=True, eq=False)
class RadarCube:
    """Raw samples of one frame.

    Attributes:
        data: real or complex samples.
        axes: meaning of each axis of ``data``, slowest first.
    """

    data: NDArray[Any]
    axes: tuple[Axis, ...]


def canonical(cube: RadarCube, profile: RadarProfile) -> NDArray[np.complex64]:
    """The cube as the one layout that signal processing works on.

    Transmitters that alternate along the chirp axis (no TX or VIRTUAL_CHANNEL axis) are taken apart.

    Args:
        cube: samples with their axes in any order.
        profile: of the radar that took them.

    Returns:
        (slow_time, virtual_channel, fast_time) complex64, C order; virtual channels with the transmitter slot slowest
        and the receiver fastest. Shares memory with the cube where layout and type allow.

    Raises:
        CubeError: axes that are unknown, repeated, missing or of the other waveform; another size than the profile
            asks for; samples of another type; NaN or infinity. The message names the axis, expected and got.
    """
    data, axes = np.asarray(cube.data), tuple(cube.axes)
    fmcw = isinstance(profile.waveform, FmcwWaveform)
    slow, fast = (Axis.CHIRP, Axis.SAMPLE) if fmcw else (Axis.SYMBOL, Axis.SUBCARRIER)
    _check_axes(axes, data, slow, fast)
    _check_type(data, profile)
    slots, receivers = len(profile.tx_order), len(profile.rx_positions)
    interleaved = fmcw and slots > 1 and Axis.TX not in axes and Axis.VIRTUAL_CHANNEL not in axes
    expected = {
        slow: profile.waveform.slow_time_count * (slots if interleaved else 1),
        fast: profile.waveform.fast_time_count,
        Axis.VIRTUAL_CHANNEL: slots * receivers,
        Axis.TX: slots,
        Axis.RX: receivers,
    }
    for axis, size in zip(axes, data.shape, strict=True):
        if size != expected[axis]:
            slot_note = f' ({slots} transmitter slots alternate)' if interleaved and axis == slow else ''
            raise CubeError(
                f'cube axis {axis.name}: expected {expected[axis]} elements{slot_note} for radar {profile.name!r}, '
                f'got {size} in shape {data.shape}'
            )
    if Axis.VIRTUAL_CHANNEL not in axes:
        for axis in (Axis.TX, Axis.RX):
            if axis not in axes and expected[axis] > 1 and not (axis == Axis.TX and interleaved):
                raise CubeError(
                    f'cube axes: expected {axis.name} or VIRTUAL_CHANNEL for the {expected[axis]} '
                    f'{"transmitter slots" if axis == Axis.TX else "receivers"} of radar {profile.name!r}, '
                    f'got {", ".join(other.name for other in axes)}'
                )
    order = [axis for axis in (slow, Axis.TX, Axis.VIRTUAL_CHANNEL, Axis.RX, fast) if axis in axes]
    data = data.transpose([axes.index(axis) for axis in order])
    shape = (profile.waveform.slow_time_count, slots * receivers, profile.waveform.fast_time_count)
    samples = np.ascontiguousarray(data.reshape(shape), dtype=np.complex64)
    _check_finite(samples)
    return samples


def _check_axes(axes: tuple[Axis, ...], data: NDArray[Any], slow: Axis, fast: Axis) -> None:
    names = ', '.join(getattr(axis, 'name', repr(axis)) for axis in axes)
    if len(axes) != data.ndim or len(set(axes)) != len(axes):
        raise CubeError(f'cube axes: expected {data.ndim} different ones for shape {data.shape}, got {names or "none"}')
    for axis in (slow, fast):
        if axis not in axes:
            raise CubeError(f'cube axes: expected {slow.name} and {fast.name} among them, got {names or "none"}')
    allowed = {slow, fast, Axis.TX, Axis.RX, Axis.VIRTUAL_CHANNEL}
    both = Axis.VIRTUAL_CHANNEL in axes and (Axis.TX in axes or Axis.RX in axes)
    if not set(axes) <= allowed or both:
        raise CubeError(
            f'cube axes: expected {slow.name}, {fast.name} and VIRTUAL_CHANNEL (or TX and RX in its place), got {names}'
        )


def _check_type(data: NDArray[Any], profile: RadarProfile) -> None:
    if data.dtype.kind not in 'ifc':
        raise CubeError(f'cube dtype: expected integers, floats or complex numbers, got {data.dtype}')
    wants_complex = getattr(profile.waveform, 'complex_samples', True)
    if np.iscomplexobj(data) != wants_complex:
        kinds = ('complex', 'real') if wants_complex else ('real', 'complex')
        raise CubeError(f'cube dtype: expected {kinds[0]} samples for radar {profile.name!r}, got {kinds[1]} ones')


def _check_finite(samples: NDArray[np.complex64]) -> None:
    flat = samples.reshape(-1).view(np.float32)
    # a sum of squares is finite only where all are, and much faster than isfinite; huge values are told apart after
    with np.errstate(over='ignore', invalid='ignore'):
        if np.isfinite(np.dot(flat, flat)):
            return
    bad = int(np.count_nonzero(~np.isfinite(samples)))
    if bad:
        raise CubeError(f'cube: expected finite samples, got NaN or infinity in {bad} of {samples.size}')
