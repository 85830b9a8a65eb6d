# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from radio_visual_ssl.radar.capture import CaptureError, load_capture
from radio_visual_ssl.radar.cube import Axis, CubeError, canonical
from radio_visual_ssl.radar.profile import FmcwWaveform, OfdmWaveform, ProfileError, RadarProfile, load_profile

CHIRPS, SLOTS, RECEIVERS, SAMPLES = 3, 2, 4, 6
PROFILE = RadarProfile(
    'ti',
    FmcwWaveform(77e9, 20e12, 10e6, 32e-6, CHIRPS, SAMPLES),
    [[0, 0.004, 0], [0, -0.004, 0]],
    [[0, 0.002 * i, 0] for i in range(RECEIVERS)],
)
FRAME_BYTES = CHIRPS * SLOTS * RECEIVERS * SAMPLES * 2 * 2


def with_capture(profile=PROFILE, **capture):
    return dataclasses.replace(profile, capture=capture)


@pytest.fixture
def frames():
    generator = np.random.default_rng(1)
    shape = (2, CHIRPS, SLOTS, RECEIVERS, SAMPLES)
    parts = generator.integers(-(2**15), 2**15, (2, *shape))
    return parts[0] + 1j * parts[1]


def words_2_lanes(frames, q_first=False):
    """As SWRA581 draws it for xWR16xx: receiver after receiver, I0 I1 Q0 Q1 I2 I3 Q2 Q3 ..."""
    words = []
    for sample in frames.reshape(-1, 2):
        first, second = (sample.imag, sample.real) if q_first else (sample.real, sample.imag)
        words += [*first, *second]
    return np.array(words, '<i2')


def words_4_lanes(frames):
    """As SWRA581 draws it for xWR14xx: for each sample the I of the four receivers, then their Q."""
    words = []
    for chirp in frames.reshape(-1, RECEIVERS, SAMPLES):
        for sample in chirp.T:
            words += [*sample.real, *sample.imag]
    return np.array(words, '<i2')


def test_two_lanes_of_a_dca1000(tmp_path, frames):
    words_2_lanes(frames).tofile(tmp_path / 'adc.bin')
    for number, frame in enumerate(frames):
        cube = load_capture(tmp_path / 'adc.bin', with_capture(lanes=2), number)
        assert cube.axes == (Axis.CHIRP, Axis.RX, Axis.SAMPLE)
        np.testing.assert_array_equal(canonical(cube, PROFILE), frame.reshape(CHIRPS, -1, SAMPLES))


def test_four_lanes_of_a_dca1000(tmp_path, frames):
    words_4_lanes(frames).tofile(tmp_path / 'adc.bin')
    cube = load_capture(tmp_path / 'adc.bin', with_capture(lanes=4), 1)
    np.testing.assert_array_equal(canonical(cube, PROFILE), frames[1].reshape(CHIRPS, -1, SAMPLES))


def test_q_may_come_before_i(tmp_path, frames):
    words_2_lanes(frames, q_first=True).tofile(tmp_path / 'adc.bin')
    cube = load_capture(tmp_path / 'adc.bin', with_capture(q_first=True))
    np.testing.assert_array_equal(canonical(cube, PROFILE), frames[0].reshape(CHIRPS, -1, SAMPLES))


@pytest.mark.parametrize('lanes', [2, 4])
def test_real_samples_of_a_dca1000(tmp_path, frames, lanes):
    real = dataclasses.replace(PROFILE, waveform=dataclasses.replace(PROFILE.waveform, complex_samples=False))
    words = frames.real.astype('<i2').reshape(-1, RECEIVERS, SAMPLES)
    (words if lanes == 2 else words.swapaxes(1, 2)).tofile(tmp_path / 'adc.bin')
    cube = load_capture(tmp_path / 'adc.bin', with_capture(real, lanes=lanes), 1)
    np.testing.assert_array_equal(canonical(cube, real), frames[1].real.reshape(CHIRPS, -1, SAMPLES))


@pytest.mark.parametrize('missing', [1, 2, 100])
def test_a_truncated_file_is_named_with_its_bytes(tmp_path, frames, missing):
    path = tmp_path / 'adc.bin'
    path.write_bytes(words_2_lanes(frames).tobytes()[:-missing])
    message = f'adc.bin: expected a multiple of {FRAME_BYTES} bytes .* got {2 * FRAME_BYTES - missing} bytes: 1 whole'
    with pytest.raises(CaptureError, match=message):
        load_capture(path, PROFILE)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / 'adc.bin').touch()
    with pytest.raises(CaptureError, match=f'expected a multiple of {FRAME_BYTES} bytes .* got 0 bytes'):
        load_capture(tmp_path / 'adc.bin', PROFILE)


@pytest.mark.parametrize('frame', [-1, 2])
def test_a_frame_beyond_the_file_is_refused(tmp_path, frames, frame):
    words_2_lanes(frames).tofile(tmp_path / 'adc.bin')
    np.save(tmp_path / 'adc.npy', frames)
    profile = with_capture(axes=['CHIRP', 'TX', 'RX', 'SAMPLE'])
    with pytest.raises(CaptureError, match=f'expected a frame from 0 to 1, got {frame}'):
        load_capture(tmp_path / 'adc.bin', PROFILE, frame)
    with pytest.raises(CaptureError, match=f'expected a frame from 0 to 1, got {frame}'):
        load_capture(tmp_path / 'adc.npy', profile, frame)


def test_a_dca1000_file_wants_an_fmcw_radar(tmp_path, frames):
    words_2_lanes(frames).tofile(tmp_path / 'adc.bin')
    ofdm = dataclasses.replace(PROFILE, waveform=OfdmWaveform(28e9, 1e6, 1e-4, 4, 8))
    with pytest.raises(CaptureError, match='expected an FMCW radar for a DCA1000 file'):
        load_capture(tmp_path / 'adc.bin', ofdm)


def test_lanes_that_contradict_the_profile_are_refused(tmp_path, frames):
    words_2_lanes(frames).tofile(tmp_path / 'adc.bin')
    three = dataclasses.replace(PROFILE, rx_positions=PROFILE.rx_positions[:3])
    with pytest.raises(CaptureError, match='expected 4 receivers for 4 lanes, got 3'):
        load_capture(tmp_path / 'adc.bin', with_capture(three, lanes=4))
    odd = dataclasses.replace(PROFILE, waveform=dataclasses.replace(PROFILE.waveform, num_samples=5))
    with pytest.raises(CaptureError, match='expected an even number of samples per chirp over 2 lanes, got 5'):
        load_capture(tmp_path / 'adc.bin', odd)


def test_arrays_of_one_frame_and_of_several(tmp_path, frames):
    data = frames.reshape(2, CHIRPS, -1, SAMPLES)
    np.save(tmp_path / 'many.npy', data)
    np.save(tmp_path / 'one.npy', data[1])
    for cube in (load_capture(tmp_path / 'many.npy', PROFILE, 1), load_capture(tmp_path / 'one.npy', PROFILE)):
        np.testing.assert_array_equal(canonical(cube, PROFILE), data[1])


def test_the_profile_names_the_axes_of_an_array(tmp_path, frames):
    np.save(tmp_path / 'adc.npy', frames[0].transpose(3, 0, 2, 1))
    cube = load_capture(tmp_path / 'adc.npy', with_capture(axes=['SAMPLE', 'CHIRP', 'RX', 'TX']))
    np.testing.assert_array_equal(canonical(cube, PROFILE), frames[0].reshape(CHIRPS, -1, SAMPLES))


@pytest.mark.parametrize('dtype', [np.complex128, np.complex64])
def test_negative_samples_written_as_unsigned_ones_are_restored(tmp_path, frames, dtype):
    data = frames[0].reshape(CHIRPS, -1, SAMPLES)
    np.save(tmp_path / 'adc.npy', (data.real % 65536 + 1j * (data.imag % 65536)).astype(dtype))
    cube = load_capture(tmp_path / 'adc.npy', with_capture(unsigned_wrap_bits=16))
    np.testing.assert_array_equal(canonical(cube, PROFILE), data)


def test_unsigned_integers_need_to_be_told_from_signed_ones(tmp_path, frames):
    data = frames[0].real.reshape(CHIRPS, -1, SAMPLES)
    np.save(tmp_path / 'adc.npy', (data % 65536).astype(np.uint16))
    with pytest.raises(CaptureError, match='expected signed samples, or capture.unsigned_wrap_bits, got uint16'):
        load_capture(tmp_path / 'adc.npy', PROFILE)
    cube = load_capture(tmp_path / 'adc.npy', with_capture(unsigned_wrap_bits=16))
    np.testing.assert_array_equal(cube.data, data)


def test_an_array_of_other_dimensions_is_refused(tmp_path):
    np.save(tmp_path / 'adc.npy', np.zeros((4, 4)))
    with pytest.raises(CaptureError, match=r'expected 3 axes \(CHIRP, VIRTUAL_CHANNEL, SAMPLE\).* got shape \(4, 4\)'):
        load_capture(tmp_path / 'adc.npy', PROFILE)


def test_an_array_of_another_size_contradicts_the_profile(tmp_path):
    np.save(tmp_path / 'adc.npy', np.zeros((4, 8, 6), np.complex64))
    with pytest.raises(CubeError, match='axis CHIRP: expected 3 elements'):
        canonical(load_capture(tmp_path / 'adc.npy', PROFILE), PROFILE)


def test_an_array_without_numbers_is_refused(tmp_path):
    np.save(tmp_path / 'adc.npy', np.full((3, 8, 6), 'x'))
    with pytest.raises(CaptureError, match='expected integers, floats or complex numbers, got <U1'):
        load_capture(tmp_path / 'adc.npy', PROFILE)


@pytest.mark.parametrize('size', [0, 40, 500])
def test_a_truncated_array_file_is_named_with_its_bytes(tmp_path, frames, size):
    np.save(tmp_path / 'adc.npy', frames)
    (tmp_path / 'adc.npy').write_bytes((tmp_path / 'adc.npy').read_bytes()[:size])
    with pytest.raises(CaptureError, match=f'adc.npy: expected a whole .npy array, got {size} bytes'):
        load_capture(tmp_path / 'adc.npy', PROFILE)


def test_missing_and_unknown_files_are_named(tmp_path):
    with pytest.raises(CaptureError, match='lost.npy: no such file'):
        load_capture(tmp_path / 'lost.npy', PROFILE)
    (tmp_path / 'adc.raw').touch()
    with pytest.raises(CaptureError, match='adc.raw: expected a .npy array or a DCA1000 .bin file, got .raw'):
        load_capture(tmp_path / 'adc.raw', PROFILE)


@pytest.mark.parametrize(
    ('capture', 'message'),
    [
        ({'lanes': 3}, 'capture.lanes: expected 2 or 4, got 3'),
        ({'lane': 2}, 'capture.lane: expected one of axes, unsigned_wrap_bits, lanes, q_first; .*mean lanes'),
        ({'q_first': 'yes'}, "capture.q_first: expected true or false, got 'yes'"),
        ({'axes': ['CHIRP', 'ANTENNA']}, "capture.axes: expected names among CHIRP, .* got 'ANTENNA'"),
        ({'unsigned_wrap_bits': 64}, 'capture.unsigned_wrap_bits: expected an integer from 0 to 32, got 64'),
    ],
)
def test_a_wrong_capture_part_is_named(tmp_path, capture, message):
    with pytest.raises(ProfileError, match=message):
        load_capture(tmp_path / 'adc.npy', with_capture(**capture))


def test_the_measured_frame_is_signed_after_loading(shared_data):
    profile = load_profile('openradar_2tx4rx')
    cube = canonical(load_capture(shared_data / 'openradar' / 'doppler_example_1.npy', profile), profile)
    assert cube.shape == (128, 8, 128)
    assert np.abs(cube.real).max() < 2000
    assert np.abs(cube.mean()) < 100
