# SPDX-License-Identifier: Apache-2.0
"""Messages keep what core types hold, and those that contradict themselves are refused."""

import math

import cv2
import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.messages import MessageError
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize
from radio_visual_ssl.radar.cube import Axis, RadarCube
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.profile import FmcwWaveform, OfdmWaveform, RadarProfile
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

STAMP = 1_574_859_771_744_660_272
TYPES = RosbagsTypes()


@pytest.fixture
def heatmap():
    grid = PolarGrid(np.linspace(0.5, 20, 7), np.arcsin(np.linspace(-0.9, 0.9, 5)))
    rng = np.random.default_rng(1)
    return Heatmap(
        values=rng.normal(size=grid.shape).astype(np.float32),
        grid=grid,
        reference=Reference.NOISE_FLOOR,
        noise_floor=0.0,
        velocity=rng.normal(size=grid.shape).astype(np.float32),
        radar='test radar',
        carrier_frequency=77e9,
        bandwidth=1e9,
        formation='beamformer=fft clutter_removal=static',
    )


def heatmap_pair(heatmap):
    return messages.heatmap_to_messages(heatmap, STAMP, 'radar', TYPES)


def test_a_heatmap_survives_the_round_trip(wire, heatmap):
    image, info = (wire.carry(m) for m in messages.heatmap_to_messages(heatmap, STAMP, 'radar', wire.types))
    velocity = wire.carry(messages.velocity_to_image(heatmap, STAMP, 'radar', wire.types))
    result = messages.heatmap_from_messages(image, info, velocity)
    np.testing.assert_array_equal(result.values, heatmap.values)
    np.testing.assert_array_equal(result.velocity, heatmap.velocity)
    np.testing.assert_array_equal(result.grid.range, heatmap.grid.range.astype(np.float32))
    np.testing.assert_array_equal(result.grid.azimuth, heatmap.grid.azimuth.astype(np.float32))
    assert result.values.dtype == np.float32
    assert (result.reference, result.noise_floor, result.radar) == (Reference.NOISE_FLOOR, 0.0, 'test radar')
    assert (result.carrier_frequency, result.bandwidth) == (77e9, 1e9)
    assert result.formation == heatmap.formation
    assert messages.stamp_to_ns(image.header.stamp) == messages.stamp_to_ns(info.header.stamp) == STAMP
    assert image.header.frame_id == info.header.frame_id == 'radar'


def test_a_circular_grid_stays_circular(wire):
    grid = PolarGrid(np.arange(3.0), np.linspace(-math.pi, math.pi, 8, endpoint=False), wraps=True)
    info = wire.carry(messages.heatmap_to_info(Heatmap(np.zeros((3, 8), np.float32), grid), 0, 'radar', wire.types))
    assert messages.geometry_from_info(info).grid.wraps
    assert math.isnan(info.noise_floor)


def test_a_decoded_heatmap_is_a_view_of_the_message(wire, heatmap):
    image, info = (wire.carry(m) for m in messages.heatmap_to_messages(heatmap, STAMP, 'radar', wire.types))
    values = messages.heatmap_from_messages(image, info).values
    assert np.shares_memory(values, np.frombuffer(image.data, np.uint8))


def test_big_endian_rows_with_padding_decode(heatmap):
    image, info = heatmap_pair(heatmap)
    rows, columns = heatmap.values.shape
    padded = np.zeros((rows, columns * 4 + 12), np.uint8)
    padded[:, : columns * 4] = heatmap.values.astype('>f4').view(np.uint8)
    image.is_bigendian, image.step, image.data = 1, padded.shape[1], padded.reshape(-1)
    result = messages.heatmap_from_messages(image, info).values
    np.testing.assert_array_equal(result, heatmap.values)
    assert result.dtype == np.dtype('<f4')


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'encoding': '64FC1'}, 'Image.encoding of the heatmap: expected 32FC1, got .64FC1'),
        ({'step': 19}, 'Image.step: expected at least 20 bytes .*got 19'),
        ({'data': np.zeros(139, np.uint8)}, 'Image.data: expected 140 bytes .*got 139'),
        ({'height': 8}, r'HeatmapInfo: expected range\[8\], azimuth\[5\].*got range\[7\], azimuth\[5\]'),
    ],
)
def test_a_broken_heatmap_image_is_refused(heatmap, change, named):
    image, info = heatmap_pair(heatmap)
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(MessageError, match=named):
        messages.heatmap_from_messages(image, info)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'range': np.ones(7, np.float32)}, 'HeatmapInfo.range: expected finite, strictly ascending'),
        ({'azimuth': np.full(5, np.nan, np.float32)}, 'HeatmapInfo.azimuth: expected finite'),
        ({'quantity': 2}, r'HeatmapInfo.quantity: expected 1 \(power\), got 2'),
        ({'reference': 9}, 'HeatmapInfo.reference: expected one of .*noise_floor.*got 9'),
    ],
)
def test_a_heatmap_info_that_contradicts_itself_is_refused(heatmap, change, named):
    image, info = heatmap_pair(heatmap)
    for name, value in change.items():
        setattr(info, name, value)
    with pytest.raises(MessageError, match=named):
        messages.heatmap_from_messages(image, info)


def test_an_info_message_of_another_frame_is_refused(heatmap):
    image, info = heatmap_pair(heatmap)
    info.header.frame_id = 'other'
    with pytest.raises(MessageError, match="frame_id: expected 'radar' of the heatmap, got 'other'"):
        messages.heatmap_from_messages(image, info)


def test_a_heatmap_without_velocity_has_no_velocity_image(heatmap):
    with pytest.raises(MessageError, match=r'Heatmap\.velocity'):
        messages.velocity_to_image(Heatmap(heatmap.values, heatmap.grid), STAMP, 'radar', TYPES)


@pytest.mark.parametrize('dtype', ['int16', 'int32', 'float32', 'float64', 'complex64', 'complex128'])
def test_a_cube_survives_the_round_trip(wire, dtype):
    data = (np.arange(24).reshape(2, 3, 4) * (1 + 2j if dtype.startswith('complex') else 1)).astype(dtype)
    axes = (Axis.CHIRP, Axis.VIRTUAL_CHANNEL, Axis.SAMPLE)
    message = wire.carry(messages.cube_to_message(RadarCube(data, axes), STAMP, 'radar', wire.types))
    result = messages.cube_from_message(message)
    assert result.axes == axes
    assert result.data.dtype == data.dtype
    np.testing.assert_array_equal(result.data, data)
    assert np.shares_memory(result.data, np.frombuffer(message.data, np.uint8))


def test_a_cube_in_another_memory_order_is_sent_in_c_order(wire):
    data = np.arange(6, dtype=np.float32).reshape(2, 3).T
    message = wire.carry(messages.cube_to_message(RadarCube(data, (Axis.RX, Axis.SAMPLE)), STAMP, 'radar', wire.types))
    np.testing.assert_array_equal(messages.cube_from_message(message).data, data)


def test_complex_integers_become_complex_floats():
    cube = RadarCube(np.array([[1, -2], [3, 4]], np.int16), (Axis.CHIRP, Axis.SAMPLE))
    message = messages.cube_to_message(cube, STAMP, 'radar', TYPES)
    message.is_complex, message.shape = True, np.array([1, 2], np.uint32)
    result = messages.cube_from_message(message)
    np.testing.assert_array_equal(result.data, np.array([[1 - 2j, 3 + 4j]], np.complex64))
    assert result.data.dtype == np.complex64


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'axes': np.array([1, 99], np.uint8)}, r'RadarCube.axes: expected .*got \[1, 99\]'),
        ({'axes': np.array([5, 5], np.uint8)}, r'RadarCube.axes: expected different codes'),
        ({'axes': np.array([1, 4, 5], np.uint8)}, r'RadarCube.shape: expected 3 sizes above 0, .*got \[2, 3\]'),
        ({'shape': np.array([2, 0], np.uint32)}, r'RadarCube.shape: expected 2 sizes above 0'),
        ({'shape': np.array([2, 4], np.uint32)}, r'RadarCube.data: expected 32 bytes \(\[2, 4\] of float32\), got 24'),
        ({'dtype': 0}, r'RadarCube.dtype: expected one of \[1, 2, 3, 4\], got 0'),
        ({'data': np.zeros(23, np.uint8)}, r'RadarCube.data: expected 24 bytes .*got 23'),
        ({'is_complex': True}, r'RadarCube.data: expected 48 bytes \(.* of complex float32\), got 24'),
    ],
)
def test_a_broken_cube_is_refused(change, named):
    cube = RadarCube(np.zeros((2, 3), np.float32), (Axis.CHIRP, Axis.SAMPLE))
    message = messages.cube_to_message(cube, STAMP, 'radar', TYPES)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(MessageError, match=named):
        messages.cube_from_message(message)


def test_a_cube_of_a_type_without_a_code_is_refused():
    with pytest.raises(MessageError, match=r'RadarCube.dtype: expected int16, .*got uint8'):
        messages.cube_to_message(RadarCube(np.zeros((2, 2), np.uint8), (Axis.CHIRP, Axis.SAMPLE)), 0, 'radar', TYPES)


def test_not_a_number_is_counted_and_named():
    values = np.zeros((2, 3), np.float32)
    messages.check_finite(values, '/radar/heatmap')
    values[0, 1], values[1, 2] = np.nan, np.inf
    with pytest.raises(MessageError, match='/radar/heatmap: expected finite numbers, got NaN or infinity in 2 of 6'):
        messages.check_finite(values, '/radar/heatmap')


@pytest.mark.parametrize(
    'waveform',
    [
        FmcwWaveform(77e9, 60e12, 2.5e6, 1e-4, 16, 32),
        FmcwWaveform(77e9, 60e12, 2.5e6, 1e-4, 16, 32, complex_samples=False),
        OfdmWaveform(28e9, 240e3, 1e-5, 14, 64),
    ],
)
def test_a_profile_survives_the_round_trip(wire, waveform):
    profile = RadarProfile(
        name='x',
        waveform=waveform,
        tx_positions=np.array([[0, 0, 0], [0, 0.01, 0.5]]),
        rx_positions=np.array([[0, 0.1 * i, 0] for i in range(3)]),
        tx_order=(1, 0),
        calibration=np.exp(1j * np.arange(6)).astype(np.complex64),
    )
    info = wire.carry(messages.profile_to_info(profile, STAMP, 'radar', wire.types))
    result = messages.profile_from_info(info)
    assert result.waveform == waveform
    assert (result.name, result.tx_order) == ('x', (1, 0))
    np.testing.assert_array_equal(result.tx_positions, profile.tx_positions)
    np.testing.assert_array_equal(result.rx_positions, profile.rx_positions)
    np.testing.assert_array_equal(result.calibration, profile.calibration)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'waveform': 7}, r'RadarInfo.waveform: expected 1 \(FMCW\) or 2 \(OFDM\), got 7'),
        ({'calibration': np.ones(3, np.float32)}, 'RadarInfo.calibration: expected pairs of re, im, got 3'),
        ({'calibration': np.ones(4, np.float32)}, 'RadarInfo: calibration: expected 1 factors'),
        ({'num_samples': 0}, 'RadarInfo: num_samples'),
        ({'tx_order': np.array([3], np.uint8)}, 'RadarInfo: tx_order'),
    ],
)
def test_a_radar_info_that_contradicts_itself_is_refused(change, named):
    waveform = FmcwWaveform(77e9, 60e12, 2.5e6, 1e-4, 16, 32)
    info = messages.profile_to_info(RadarProfile('x', waveform, np.zeros((1, 3)), np.zeros((1, 3))), 0, 'radar', TYPES)
    for name, value in change.items():
        setattr(info, name, value)
    with pytest.raises(MessageError, match=named):
        messages.profile_from_info(info)


@pytest.fixture
def targets():
    known = Target(
        x=3.0,
        y=-4.0,
        z=0.5,
        covariance=np.array([[0.5, 0.25], [0.25, 1.0]]),
        radial_velocity=-2.5,
        snr=20.0,
        score=0.75,
        track_id=7,
        label='car',
        size=(4.5, 1.75, 1.5),
        heading=math.pi / 2,
        velocity=(1.0, 2.0, 0.0),
        visibility=0.5,
        in_radar_view=True,
        in_camera_view=True,
    )
    return [known, Target(x=10.0, y=0.0)]


def test_targets_survive_the_round_trip(wire, targets):
    message = wire.carry(messages.targets_to_message(targets, STAMP, 'radar', wire.types))
    known, plain = messages.targets_from_message(message)
    assert (known.x, known.y, known.z) == (3.0, -4.0, 0.5)
    np.testing.assert_array_equal(known.covariance, targets[0].covariance)
    assert (known.radial_velocity, known.snr, known.score, known.track_id) == (-2.5, 20.0, 0.75, 7)
    assert (known.label, known.size, known.velocity) == ('car', (4.5, 1.75, 1.5), (1.0, 2.0, 0.0))
    assert (known.visibility, known.in_radar_view, known.in_camera_view) == (0.5, True, True)
    assert known.heading == pytest.approx(math.pi / 2)
    assert message.targets[0].range == pytest.approx(5.0)
    assert message.targets[0].azimuth == pytest.approx(math.atan2(-4, 3))
    assert math.isnan(plain.heading)
    assert math.isnan(plain.radial_velocity)
    assert all(map(math.isnan, plain.velocity))
    assert messages.targets_from_message(wire.carry(messages.targets_to_message([], 0, 'radar', wire.types))) == []


def test_targets_without_a_place_are_refused(targets):
    message = messages.targets_to_message(targets, STAMP, 'radar', TYPES)
    message.targets[1].position.y = math.nan
    with pytest.raises(MessageError, match=r'TargetArray.targets\[1\].position: expected finite'):
        messages.targets_from_message(message)


def test_detections_carry_place_box_class_and_covariance(wire, targets):
    message = wire.carry(
        messages.targets_to_detections3d(targets, STAMP, 'radar', wire.types, nominal_size=(4.0, 2.0, 1.5))
    )
    assert messages.stamp_to_ns(message.header.stamp) == STAMP
    known, plain = message.detections
    assert known.header == message.header
    assert (known.bbox.center.position.x, known.bbox.center.position.y) == (3.0, -4.0)
    assert (known.bbox.size.x, known.bbox.size.y, known.bbox.size.z) == (4.5, 1.75, 1.5)
    assert known.bbox.center.orientation.z == pytest.approx(math.sqrt(0.5))
    assert (known.results[0].hypothesis.class_id, known.results[0].hypothesis.score) == ('car', 0.75)
    covariance = np.array(known.results[0].pose.covariance).reshape(6, 6)
    np.testing.assert_array_equal(covariance[:2, :2], targets[0].covariance)
    assert np.count_nonzero(covariance) == 4
    assert (known.id, plain.id) == ('7', '')
    assert plain.results[0].hypothesis.class_id == 'target'
    assert (plain.bbox.size.x, plain.bbox.size.y, plain.bbox.size.z) == (4.0, 2.0, 1.5)
    assert plain.bbox.center.orientation.w == 1.0


def test_points_hold_the_named_fields_as_float32(wire, targets):
    cloud = wire.carry(messages.targets_to_points(targets, STAMP, 'radar', wire.types))
    assert [field.name for field in cloud.fields] == [
        'x', 'y', 'z', 'range', 'azimuth', 'radial_velocity', 'snr', 'score',
    ]  # fmt: skip
    names = [field.name for field in cloud.fields]
    points = np.frombuffer(cloud.data, [(name, '<f4') for name in names])
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (2, 1, 32, 64)
    assert points['range'][0] == 5.0
    assert points['radial_velocity'][0] == -2.5
    assert math.isnan(points['snr'][1])
    assert not cloud.is_dense
    assert wire.carry(messages.targets_to_points([], STAMP, 'radar', wire.types)).width == 0


RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8'])
def test_a_colour_image_survives_the_round_trip(wire, encoding):
    image = RGB if encoding == 'rgb8' else RGB[:, :, ::-1]
    message = wire.carry(messages.image_to_message(image, encoding, STAMP, 'camera', wire.types))
    assert (message.encoding, message.step, message.header.frame_id) == (encoding, 15, 'camera')
    np.testing.assert_array_equal(messages.image_from_message(message), RGB)


def test_a_grey_image_becomes_rgb(wire):
    message = wire.carry(messages.image_to_message(RGB[:, :, 0], 'mono8', STAMP, 'camera', wire.types))
    result = messages.image_from_message(message)
    assert result.shape == (4, 5, 3)
    assert np.all(result == RGB[:, :, :1])


@pytest.mark.parametrize(('encoding', 'order'), [('rgba8', [0, 1, 2]), ('bgra8', [2, 1, 0])])
def test_an_alpha_channel_is_left_out(encoding, order):
    pixels = np.zeros((4, 5, 4), np.uint8)
    pixels[:, :, order] = RGB
    message = messages.image_to_message(RGB, 'rgb8', STAMP, 'camera', TYPES)
    message.encoding, message.step, message.data = encoding, 20, pixels.reshape(-1)
    np.testing.assert_array_equal(messages.image_from_message(message), RGB)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_compressed_images_decode_to_rgb(wire, suffix):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    data = cv2.imencode(suffix, flat[:, :, ::-1])[1].reshape(-1)
    message = wire.carry(
        wire.types('sensor_msgs/msg/CompressedImage')(
            header=messages.header(STAMP, 'camera', wire.types), format=suffix[1:], data=wire.types.array(data)
        )
    )
    assert np.abs(messages.image_from_message(message).astype(int) - flat).max() <= 3
    message.data = wire.types.array(data[:20])
    with pytest.raises(MessageError, match=r'CompressedImage.data: expected a JPEG or PNG.*20 bytes'):
        messages.image_from_message(message)


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'encoding': 'yuv422'}, "Image.encoding: expected one of rgb8, .*got 'yuv422'"),
        ({'step': 14}, 'Image.step: expected at least 15 bytes'),
        ({'data': np.zeros(59, np.uint8)}, 'Image.data: expected 60 bytes .*got 59'),
        ({'width': 0}, 'Image: expected at least 1 x 1 pixels'),
    ],
)
def test_a_broken_image_is_refused(change, named):
    message = messages.image_to_message(RGB, 'rgb8', STAMP, 'camera', TYPES)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(MessageError, match=named):
        messages.image_from_message(message)


def test_an_array_that_does_not_fit_its_encoding_is_refused():
    with pytest.raises(MessageError, match=r'Image rgb8: expected uint8 of shape \(H, W, 3\), got float64 \(4, 5, 3\)'):
        messages.image_to_message(RGB.astype(float), 'rgb8', STAMP, 'camera', TYPES)
    with pytest.raises(MessageError, match=r'Image mono8: expected uint8 of shape \(H, W\)'):
        messages.image_to_message(RGB, 'mono8', STAMP, 'camera', TYPES)
    with pytest.raises(MessageError, match='Image.encoding: expected one of'):
        messages.image_to_message(RGB, 'bayer_rggb8', STAMP, 'camera', TYPES)


@pytest.mark.parametrize('frame_id', ['', 'a', 'cam', 'left_optical', 'caméra'])
@pytest.mark.parametrize(
    ('encoding', 'image'),
    [
        ('bgr8', np.arange(60, dtype=np.uint8).reshape(4, 5, 3)),
        ('rgb8', np.arange(240, dtype=np.uint8).reshape(8, 10, 3)[::2, 1:6]),
        ('mono8', np.arange(15, dtype=np.uint8).reshape(3, 5)),
        ('32FC1', np.arange(15, dtype=np.float32).reshape(3, 5)),
    ],
)
def test_an_image_serialized_at_once_is_what_the_middleware_makes_of_the_message(encoding, image, frame_id):
    message = messages.image_to_message(image, encoding, STAMP, frame_id, TYPES)
    assert messages.image_to_cdr(image, encoding, STAMP, frame_id) == serialize(message)


@pytest.mark.parametrize(
    ('encoding', 'form', 'expected'),
    [
        ('bgr8', 'jpeg', 'bgr8; jpeg compressed bgr8'),
        ('rgb8', 'png', 'rgb8; png compressed bgr8'),
        ('mono8', 'jpeg', 'mono8; jpeg compressed '),
    ],
)
def test_a_compressed_image_is_what_image_transport_makes(wire, encoding, form, expected):
    image = np.full((24, 32) if encoding == 'mono8' else (24, 32, 3), 90, np.uint8)
    if encoding != 'mono8':
        image[..., 0] = 200
    sent = messages.image_to_compressed(image, encoding, STAMP, 'camera', wire.types, form=form)
    received = wire.carry(sent)
    assert received.format == expected
    rgb = image[..., ::-1] if encoding == 'bgr8' else image.reshape(24, 32, -1)
    np.testing.assert_allclose(messages.image_from_message(received), np.broadcast_to(rgb, (24, 32, 3)), atol=3)


def test_a_compressed_image_of_another_encoding_is_refused():
    with pytest.raises(MessageError, match="CompressedImage of encoding: expected rgb8, bgr8 or mono8, got '32FC1'"):
        messages.image_to_compressed(np.zeros((4, 5), np.float32), '32FC1', STAMP, 'camera', TYPES)


def test_an_uncalibrated_camera_says_its_size_alone(wire):
    info = wire.carry(messages.uncalibrated_info(640, 480, STAMP, 'camera', wire.types))
    assert (info.width, info.height) == (640, 480)
    assert not messages.is_calibrated(info)
    assert messages.is_calibrated(messages.camera_to_info(CameraModel(4, 3, np.eye(3)), STAMP, 'camera', TYPES))


@pytest.mark.parametrize(
    ('model', 'distortion'),
    [
        ('plumb_bob', [-0.2, 0.03, 0.001, 0, 0]),
        ('rational_polynomial', [0.3, 0.05, 0.001, 0, 0.01, 0.6, 0.1, 0.02]),
        ('equidistant', [-0.02, 0.005, 0, 0]),
    ],
)
def test_a_camera_survives_the_round_trip(wire, model, distortion):
    matrix = np.array([[338.0, 0, 341], [0, 339, 200], [0, 0, 1]])
    camera = CameraModel(672, 376, matrix, np.array(distortion), distortion_model=model)
    result = messages.camera_from_info(wire.carry(messages.camera_to_info(camera, STAMP, 'camera', wire.types)))
    assert (result.width, result.height) == (672, 376)
    np.testing.assert_array_equal(result.matrix, camera.matrix)
    np.testing.assert_array_equal(result.distortion, camera.distortion)
    assert result.distortion_model == model


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ({'distortion_model': 'fisheye'}, "distortion_model: expected plumb_bob, .*got 'fisheye'"),
        ({'distortion_model': 'equidistant'}, r'camera distortion: expected finite numbers of shape \(4,\)'),
        ({'binning_x': 2}, 'CameraInfo: expected whole images without binning, got binning 2 x 0'),
        ({'k': np.zeros(9)}, 'CameraInfo: camera matrix: expected fx > 0'),
        ({'width': 0}, 'CameraInfo: camera size: expected at least 1 x 1 pixels'),
    ],
)
def test_a_camera_info_that_is_no_camera_is_refused(change, named):
    info = messages.camera_to_info(CameraModel(4, 3, np.eye(3)), STAMP, 'camera', TYPES)
    for name, value in change.items():
        setattr(info, name, value)
    with pytest.raises(MessageError, match=named):
        messages.camera_from_info(info)


@pytest.mark.parametrize('angles', [(0, 0, 0), (math.pi, 0, 0), (0, 0, math.pi), (0.3, -1.2, 2.9)])
def test_a_transform_survives_the_round_trip(wire, angles):
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        vector = np.zeros(3)
        vector[axis] = angle
        rotation = cv2.Rodrigues(vector)[0] @ rotation
    message = wire.carry(
        messages.transform_to_message(rotation, np.array([1.0, 2, 3]), STAMP, wire.types, parent='a', child='b')
    )
    assert (message.header.frame_id, message.child_frame_id) == ('a', 'b')
    turned, moved = messages.transform_from_message(message)
    np.testing.assert_allclose(turned, rotation, atol=1e-12)
    np.testing.assert_array_equal(moved, [1, 2, 3])


def test_a_transform_with_a_broken_quaternion_is_refused():
    message = messages.transform_to_message(np.eye(3), np.zeros(3), STAMP, TYPES, parent='a', child='b')
    message.transform.rotation.w = 0.5
    with pytest.raises(MessageError, match='a -> b: expected a unit quaternion'):
        messages.transform_from_message(message)


@pytest.mark.parametrize('stamp_ns', [0, 1, 999_999_999, STAMP, -1])
def test_stamps_are_exact_to_the_nanosecond(wire, stamp_ns):
    assert messages.stamp_to_ns(wire.carry(messages.stamp_from_ns(stamp_ns, wire.types))) == stamp_ns


def test_a_stamp_beyond_the_message_is_refused():
    with pytest.raises(MessageError, match='expected seconds that fit 32 bits, got 2147483648 s'):
        messages.stamp_from_ns(2**31 * 1_000_000_000, TYPES)


def test_the_stamp_is_read_from_serialized_bytes():
    data = serialize(messages.image_to_message(RGB, 'rgb8', STAMP, 'camera', TYPES))
    assert messages.serialized_stamp_ns(data) == STAMP
    swapped = b'\0\0\0\0' + data[4:8][::-1] + data[8:12][::-1]
    assert messages.serialized_stamp_ns(swapped) == STAMP
    with pytest.raises(MessageError, match='expected at least 12 bytes up to the stamp, got 11'):
        messages.serialized_stamp_ns(data[:11])
