# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from radio_visual_ssl.radar.cube import Axis, CubeError, RadarCube, canonical
from radio_visual_ssl.radar.profile import FmcwWaveform, OfdmWaveform, RadarProfile

TX = [[0, 0.004, 0], [0, -0.004, 0]]
RX = [[0, 0.002 * i, 0] for i in range(3)]
TDM = RadarProfile('tdm', FmcwWaveform(77e9, 20e12, 10e6, 32e-6, 4, 8), TX, RX)
OFDM = RadarProfile('ofdm', OfdmWaveform(28e9, 1e6, 1e-4, 4, 8), [[0, 0, 0]], RX)
AXES = (Axis.CHIRP, Axis.VIRTUAL_CHANNEL, Axis.SAMPLE)


def cube_of(shape, dtype=np.complex64):
    values = np.arange(np.prod(shape)).reshape(shape)
    return (values - 1j * values).astype(dtype) if np.dtype(dtype).kind == 'c' else values.astype(dtype)


def test_a_cube_in_the_canonical_layout_is_passed_without_a_copy():
    data = cube_of((4, 6, 8))
    assert np.shares_memory(canonical(RadarCube(data, AXES), TDM), data)


def test_transmitters_that_alternate_along_the_chirps_are_taken_apart():
    data = cube_of((8, 3, 8))
    result = canonical(RadarCube(data, (Axis.CHIRP, Axis.RX, Axis.SAMPLE)), TDM)
    assert result.shape == (4, 6, 8)
    for chirp, slot, receiver in np.ndindex(4, 2, 3):
        np.testing.assert_array_equal(result[chirp, 3 * slot + receiver], data[2 * chirp + slot, receiver])


def test_axes_come_in_any_order():
    data = cube_of((4, 2, 3, 8))
    axes = (Axis.CHIRP, Axis.TX, Axis.RX, Axis.SAMPLE)
    expected = data.reshape(4, 6, 8)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        turned = RadarCube(data.transpose(order), tuple(axes[i] for i in order))
        np.testing.assert_array_equal(canonical(turned, TDM), expected)


def test_a_single_antenna_needs_no_axis():
    profile = RadarProfile('one', TDM.waveform, TX[:1], RX[:1])
    assert canonical(RadarCube(cube_of((8, 4)), (Axis.SAMPLE, Axis.CHIRP)), profile).shape == (4, 1, 8)


def test_ofdm_has_symbols_and_subcarriers():
    data = cube_of((4, 3, 8), np.complex128)
    result = canonical(RadarCube(data, (Axis.SYMBOL, Axis.RX, Axis.SUBCARRIER)), OFDM)
    assert result.dtype == np.complex64
    np.testing.assert_array_equal(result, data)


@pytest.mark.parametrize('dtype', [np.int16, np.int32, np.float32, np.float64])
def test_real_samples_become_complex_where_the_profile_expects_real_ones(dtype):
    real = dataclasses.replace(TDM, waveform=dataclasses.replace(TDM.waveform, complex_samples=False))
    data = cube_of((4, 6, 8), dtype)
    np.testing.assert_array_equal(canonical(RadarCube(data, AXES), real), data.astype(np.complex64))


@pytest.mark.parametrize(
    ('shape', 'axes', 'message'),
    [
        ((5, 6, 8), AXES, "axis CHIRP: expected 4 elements for radar 'tdm', got 5"),
        ((4, 5, 8), AXES, 'axis VIRTUAL_CHANNEL: expected 6 elements'),
        ((4, 6, 9), AXES, 'axis SAMPLE: expected 8 elements'),
        ((4, 3, 8), (Axis.CHIRP, Axis.RX, Axis.SAMPLE), r'expected 8 elements \(2 transmitter slots alternate\)'),
        ((4, 6), AXES, r'expected 2 different ones for shape \(4, 6\)'),
        ((4, 4, 8), (Axis.CHIRP, Axis.CHIRP, Axis.SAMPLE), 'expected 3 different ones'),
        ((4, 6, 8), (Axis.SYMBOL, Axis.VIRTUAL_CHANNEL, Axis.SUBCARRIER), 'expected CHIRP and SAMPLE among them'),
        ((4, 6, 8), (Axis.CHIRP, Axis.SUBCARRIER, Axis.SAMPLE), 'expected CHIRP, SAMPLE and VIRTUAL_CHANNEL'),
        ((4, 6, 3, 8), (*AXES[:2], Axis.RX, Axis.SAMPLE), r'VIRTUAL_CHANNEL \(or TX and RX in its place\)'),
        ((4, 2, 8), (Axis.CHIRP, Axis.TX, Axis.SAMPLE), 'expected RX or VIRTUAL_CHANNEL for the 3 receivers'),
        ((), (), 'expected CHIRP and SAMPLE among them, got none'),
    ],
)
def test_axes_that_contradict_the_profile_are_named(shape, axes, message):
    with pytest.raises(CubeError, match=message):
        canonical(RadarCube(np.zeros(shape, np.complex64), axes), TDM)


def test_symbols_of_several_transmitters_do_not_alternate():
    profile = RadarProfile('mimo', OFDM.waveform, TX, RX)
    with pytest.raises(CubeError, match='expected TX or VIRTUAL_CHANNEL for the 2 transmitter slots'):
        canonical(RadarCube(cube_of((4, 3, 8)), (Axis.SYMBOL, Axis.RX, Axis.SUBCARRIER)), profile)


@pytest.mark.parametrize('dtype', [bool, np.uint16, 'U1', object])
def test_samples_that_are_no_signed_numbers_are_refused(dtype):
    with pytest.raises(CubeError, match='cube dtype: expected integers, floats or complex numbers'):
        canonical(RadarCube(np.zeros((4, 6, 8), dtype), AXES), TDM)


def test_real_samples_contradict_a_complex_radar():
    with pytest.raises(CubeError, match="expected complex samples for radar 'tdm', got real ones"):
        canonical(RadarCube(np.zeros((4, 6, 8), np.int16), AXES), TDM)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1j * np.nan])
def test_nan_and_infinity_are_counted(value):
    data = cube_of((4, 6, 8))
    data[1, 2, 3] = data[3, 0, 0] = value
    with pytest.raises(CubeError, match='expected finite samples, got NaN or infinity in 2 of 192'):
        canonical(RadarCube(data, AXES), TDM)


def test_huge_but_finite_samples_pass():
    data = np.full((4, 6, 8), 1e30, np.complex64)
    np.testing.assert_array_equal(canonical(RadarCube(data, AXES), TDM), data)
