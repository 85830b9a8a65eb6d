# SPDX-License-Identifier: Apache-2.0
"""Image messages to images and back, with the real cv_bridge or its stand-in."""

import array
import importlib.util

import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')
pytest.importorskip('rclpy')
pytest.importorskip('cv_bridge')

from cv_bridge import CvBridge, CvBridgeError, getCvType  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

stand_in_only = pytest.mark.skipif(
    importlib.util.find_spec('cv_bridge.encodings') is None, reason='the original answers with a wrong image'
)

GENERIC = {
    '8U': np.uint8,
    '8S': np.int8,
    '16U': np.uint16,
    '16S': np.int16,
    '32S': np.int32,
    '32F': np.float32,
    '64F': np.float64,
}
COLOURED = {
    'mono8': 'CV_8UC1',
    'mono16': 'CV_16UC1',
    'rgb8': 'CV_8UC3',
    'bgr8': 'CV_8UC3',
    'rgba8': 'CV_8UC4',
    'bgra8': 'CV_8UC4',
    'rgb16': 'CV_16UC3',
    'bgr16': 'CV_16UC3',
    'rgba16': 'CV_16UC4',
    'bgra16': 'CV_16UC4',
    'bayer_rggb8': 'CV_8UC1',
    'bayer_bggr8': 'CV_8UC1',
    'bayer_gbrg8': 'CV_8UC1',
    'bayer_grbg8': 'CV_8UC1',
    'bayer_rggb16': 'CV_16UC1',
    'bayer_bggr16': 'CV_16UC1',
    'bayer_gbrg16': 'CV_16UC1',
    'bayer_grbg16': 'CV_16UC1',
    'yuv422': 'CV_8UC2',
    'yuv422_yuy2': 'CV_8UC2',
}
COLOURS = {'r': 200, 'g': 100, 'b': 50, 'a': 255}


@pytest.fixture
def bridge():
    return CvBridge()


def image_message(encoding, rows, step=None, is_bigendian=0, data=None):
    """Return a message of an array's bytes, each row followed by padding up to `step`."""
    height, width = rows.shape[:2]
    row_bytes = rows.reshape(height, -1).view(np.uint8)
    padded = np.full((height, step or row_bytes.shape[1]), 0xEE, np.uint8)
    padded[:, : row_bytes.shape[1]] = row_bytes
    message = Image(height=height, width=width, encoding=encoding, is_bigendian=is_bigendian, step=padded.shape[1])
    message.data = array.array('B', padded.tobytes() if data is None else data)
    return message


def ramp(dtype, *shape):
    """Return values that differ from element to element and in every byte."""
    count = int(np.prod(shape))
    step = {'f': 0.37}.get(np.dtype(dtype).kind, 257 if np.dtype(dtype).itemsize > 1 else 1)
    return (np.arange(count) * step).astype(dtype).reshape(shape)


def plane(order, dtype=np.uint8):
    """Return a 4 x 6 image of one colour with its channels in the given order."""
    scale = 257 if dtype == np.uint16 else 1
    return np.full((4, 6, len(order)), [COLOURS[letter] * scale for letter in order], dtype)


@pytest.mark.parametrize(('encoding', 'constant'), COLOURED.items())
def test_colour_encodings_have_their_opencv_type(bridge, encoding, constant):
    cvtype = getattr(cv2, constant)
    assert getCvType(encoding) == bridge.encoding_to_cvtype2(encoding) == cvtype
    dtype = 'uint16' if '16' in constant else 'uint8'
    assert bridge.encoding_to_dtype_with_channels(encoding) == (dtype, int(constant[-1]))
    assert bridge.cvtype2_to_dtype_with_channels(cvtype) == (dtype, int(constant[-1]))


@pytest.mark.parametrize(('depth', 'dtype'), GENERIC.items())
def test_generic_encodings_have_their_opencv_type(bridge, depth, dtype):
    name = np.dtype(dtype).name
    for channels in (1, 2, 3, 4):
        encoding = f'{depth}C{channels}'
        assert getCvType(encoding) == getattr(cv2, f'CV_{encoding}')
        assert bridge.encoding_to_dtype_with_channels(encoding) == (name, channels)
        assert bridge.dtype_with_channels_to_cvtype2(np.dtype(dtype), channels) == encoding
    assert bridge.encoding_to_dtype_with_channels(f'{depth}C10') == (name, 10)
    assert getCvType(depth) == getattr(cv2, f'CV_{depth}C1')


@pytest.mark.parametrize('encoding', ['', 'rgb', '8UC', '16FC1', 'CV_8UC1', '8uc1', '8UC1 '])
def test_unknown_encodings_are_refused(bridge, encoding):
    with pytest.raises(CvBridgeError, match='nrecognized image encoding'):
        bridge.encoding_to_cvtype2(encoding)
    with pytest.raises(CvBridgeError):
        bridge.imgmsg_to_cv2(Image(height=1, width=1, step=1, encoding=encoding, data=b'\0'))


@pytest.mark.parametrize('channels', [None, 1, 2, 3, 4, 6])
@pytest.mark.parametrize(('depth', 'dtype'), GENERIC.items())
def test_image_survives_the_round_trip(bridge, depth, dtype, channels):
    image = ramp(dtype, 5, 7) if channels is None else ramp(dtype, 5, 7, channels)
    message = bridge.cv2_to_imgmsg(image)
    assert (message.height, message.width) == (5, 7)
    assert message.encoding == f'{depth}C{channels or 1}'
    assert message.step == 7 * (channels or 1) * image.itemsize
    assert not message.is_bigendian
    assert bytes(message.data) == image.tobytes()
    back = bridge.imgmsg_to_cv2(message)
    assert back.dtype == dtype
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, image[..., 0] if channels == 1 else image)


def test_message_carries_header_and_named_encoding(bridge):
    header = Header(frame_id='camera')
    message = bridge.cv2_to_imgmsg(plane('rgb'), 'rgb8', header=header)
    assert message.header == header
    assert message.encoding == 'rgb8'


def test_strided_images_are_written_row_by_row(bridge):
    whole = ramp(np.uint16, 6, 10)
    view = whole[::2, 1:9:3]
    assert bytes(bridge.cv2_to_imgmsg(view, 'mono16').data) == view.tobytes()
    flipped = plane('bgr')[:, ::-1, ::-1]
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(flipped, 'rgb8')), flipped)


def test_message_data_is_an_array_of_bytes_that_is_published_without_conversion(bridge):
    for message in (bridge.cv2_to_imgmsg(plane('bgr')), bridge.cv2_to_compressed_imgmsg(plane('bgr'), 'png')):
        assert isinstance(message.data, array.array)
        assert message.data.typecode == 'B'


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_padding_at_the_end_of_rows_is_skipped(bridge, dtype, channels):
    image = ramp(dtype, 4, 5, channels)
    pixel_bytes = channels * image.itemsize
    encoding = bridge.dtype_with_channels_to_cvtype2(image.dtype, channels)
    message = image_message(encoding, image, step=8 * pixel_bytes)
    expected = image[..., 0] if channels == 1 else image
    result = bridge.imgmsg_to_cv2(message)
    np.testing.assert_array_equal(result, expected)
    assert result.flags.c_contiguous


@stand_in_only
def test_padding_need_not_be_whole_pixels(bridge):
    image = ramp(np.uint8, 4, 5, 3)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(image_message('rgb8', image, step=16)), image)
    depth = ramp(np.float32, 4, 5)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(image_message('32FC1', depth, step=23)), depth)


@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', '16SC1', '32SC2', '32FC1', '64FC3'])
def test_big_endian_messages_are_turned_to_this_machine(bridge, encoding):
    name, channels = bridge.encoding_to_dtype_with_channels(encoding)
    image = ramp(name, 3, 4) if channels == 1 else ramp(name, 3, 4, channels)
    message = image_message(encoding, image.astype(image.dtype.newbyteorder('>')), is_bigendian=1)
    result = bridge.imgmsg_to_cv2(message)
    assert result.dtype == name
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, image)


def test_byte_order_does_not_matter_to_bytes(bridge):
    image = ramp(np.uint8, 3, 4, 3)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(image_message('bgr8', image, is_bigendian=1)), image)


def test_big_endian_images_make_big_endian_messages(bridge):
    image = ramp(np.int32, 3, 4)
    message = bridge.cv2_to_imgmsg(image.astype('>i4'))
    assert message.is_bigendian
    assert message.encoding == '32SC1'
    assert bytes(message.data) == image.astype('>i4').tobytes()
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), image)


def test_big_endian_messages_convert_to_other_encodings(bridge):
    message = image_message('mono16', np.full((2, 4), 200 * 257, '>u2'), is_bigendian=1)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, 'mono8'), np.full((2, 4), 200, np.uint8))


@pytest.mark.parametrize(('encoding', 'dtype', 'shape'), [('bgr8', np.uint8, (4, 6, 3)), ('32FC1', np.float32, (4, 6))])
def test_passthrough_shares_the_memory_of_the_message(bridge, encoding, dtype, shape):
    message = image_message(encoding, np.zeros(shape, dtype))
    image = bridge.imgmsg_to_cv2(message)
    image[...] = 1
    assert bytes(message.data) == np.ones(shape, dtype).tobytes()


def test_conversion_to_the_same_encoding_is_a_copy(bridge):
    message = image_message('bgr8', plane('bgr'))
    image = bridge.imgmsg_to_cv2(message, 'bgr8')
    image[...] = 0
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), plane('bgr'))


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('target', ['rgb', 'bgr', 'rgba', 'bgra'])
@pytest.mark.parametrize('source', ['rgb', 'bgr', 'rgba', 'bgra'])
def test_colour_orders_convert_into_each_other(bridge, source, target, bits):
    dtype = np.uint8 if bits == 8 else np.uint16
    message = image_message(f'{source}{bits}', plane(source, dtype))
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, f'{target}{bits}'), plane(target, dtype))


@pytest.mark.parametrize('source', ['rgb', 'bgr', 'rgba', 'bgra'])
def test_colours_convert_between_8_and_16_bits_over_the_full_range(bridge, source):
    wide = bridge.imgmsg_to_cv2(image_message(f'{source}8', plane(source)), 'bgr16')
    np.testing.assert_array_equal(wide, plane('bgr', np.uint16))
    narrow = bridge.imgmsg_to_cv2(image_message(f'{source}16', plane(source, np.uint16)), 'rgb8')
    np.testing.assert_array_equal(narrow, plane('rgb'))


@pytest.mark.parametrize('source', ['rgb8', 'bgr8', 'rgba8', 'bgra8'])
def test_grey_is_the_luma_of_a_colour(bridge, source):
    luma = 0.299 * COLOURS['r'] + 0.587 * COLOURS['g'] + 0.114 * COLOURS['b']
    message = image_message(source, plane(source[:-1]))
    grey = bridge.imgmsg_to_cv2(message, 'mono8')
    assert grey.shape == (4, 6)
    assert grey.dtype == np.uint8
    np.testing.assert_allclose(grey, luma, atol=1)
    np.testing.assert_allclose(bridge.imgmsg_to_cv2(message, 'mono16'), luma * 257, atol=257)


def test_grey_converts_to_colours_and_depths(bridge):
    grey = ramp(np.uint8, 4, 6)
    message = image_message('mono8', grey)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, 'bgr8'), np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, 'rgba8')[..., 3], np.full((4, 6), 255))
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, 'mono16'), grey.astype(np.uint16) * 257)
    wide = np.array([[0, 128, 129, 257 * 9 + 100, 65535]], np.uint16)
    narrow = bridge.imgmsg_to_cv2(image_message('mono16', wide), 'mono8')
    np.testing.assert_array_equal(narrow, np.array([[0, 0, 1, 9, 255]], np.uint8))


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_give_their_colours(bridge, pattern, bits):
    dtype = np.uint8 if bits == 8 else np.uint16
    cell = np.array([COLOURS[letter] for letter in pattern]).reshape(2, 2) * (1 if bits == 8 else 257)
    message = image_message(f'bayer_{pattern}{bits}', np.tile(cell, (6, 8)).astype(dtype))
    for order in ('rgb', 'bgr'):
        colour = bridge.imgmsg_to_cv2(message, f'{order}{bits}')
        np.testing.assert_array_equal(colour[3:-3, 3:-3], np.broadcast_to(plane(order, dtype)[0, 0], (6, 10, 3)))
    assert bridge.imgmsg_to_cv2(message, f'mono{bits}').shape == (12, 16)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), np.tile(cell, (6, 8)))


@pytest.mark.parametrize(('encoding', 'luma_first'), [('yuv422', False), ('yuv422_yuy2', True)])
def test_yuv_422_gives_its_colours(bridge, encoding, luma_first):
    luma = np.full((4, 6), 145, np.uint8)
    chroma = np.tile(np.array([54, 34], np.uint8), (4, 3))
    message = image_message(encoding, np.dstack((luma, chroma) if luma_first else (chroma, luma)))
    green = np.broadcast_to(np.uint8([0, 255, 0]), (4, 6, 3))
    for target in ('rgb8', 'bgr8'):
        np.testing.assert_allclose(bridge.imgmsg_to_cv2(message, target), green, atol=3)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, 'mono8'), luma)


@pytest.mark.parametrize(
    ('source', 'target'),
    [
        ('8UC3', 'bgr8'),
        ('32FC1', 'mono8'),
        ('16UC1', 'mono16'),
        ('8UC3', '8UC1'),
        ('bgr8', '8UC1'),
        ('mono8', '32FC3'),
        ('bgr8', 'yuv422'),
        ('yuv422_yuy2', 'yuv422'),
        ('bgr8', 'bayer_rggb8'),
        ('bayer_rggb8', 'bayer_bggr8'),
        ('mono8', 'no_such_encoding'),
    ],
)
def test_conversions_without_meaning_are_refused(bridge, source, target):
    name, channels = bridge.encoding_to_dtype_with_channels(source)
    message = image_message(source, np.zeros((4, 6, channels), name))
    with pytest.raises(CvBridgeError):
        bridge.imgmsg_to_cv2(message, target)


def test_generic_encodings_convert_their_numbers(bridge):
    values = np.array([[-3.5, 0.4, 1.6, 300.0]], np.float32)
    message = image_message('32FC1', values)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, '64FC1'), values.astype(np.float64))
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, '8UC1'), [[0, 0, 2, 255]])
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message, '16SC1'), [[-4, 0, 2, 300]])
    np.testing.assert_array_equal(
        bridge.imgmsg_to_cv2(image_message('mono8', np.uint8([[1, 2]])), '32FC1'), np.float32([[1, 2]])
    )


def test_contradicting_encoding_and_image_are_refused(bridge):
    with pytest.raises(CvBridgeError, match='incompatible type 8UC3'):
        bridge.cv2_to_imgmsg(plane('rgb'), 'rgba8')
    with pytest.raises(CvBridgeError, match='mono8'):
        bridge.cv2_to_imgmsg(np.zeros((4, 6), np.uint16), 'mono8')


def test_images_must_be_arrays_of_a_known_type(bridge):
    for not_an_image in (1, None, [[1, 2], [3, 4]]):
        with pytest.raises(TypeError):
            bridge.cv2_to_imgmsg(not_an_image)
        with pytest.raises(TypeError):
            bridge.cv2_to_compressed_imgmsg(not_an_image)
    with pytest.raises((CvBridgeError, KeyError), match='int64'):
        bridge.cv2_to_imgmsg(np.zeros((4, 6), np.int64))


def test_truncated_data_are_refused(bridge):
    with pytest.raises(TypeError):
        bridge.imgmsg_to_cv2(image_message('bgr8', plane('bgr'), data=b'\0' * 20))


@stand_in_only
def test_errors_name_field_value_and_expectation(bridge):
    with pytest.raises(CvBridgeError, match=r'data has 20 bytes, expected height \* step = 4 \* 18'):
        bridge.imgmsg_to_cv2(image_message('bgr8', plane('bgr'), data=b'\0' * 20))
    message = image_message('bgr8', plane('bgr'))
    message.step = 17
    with pytest.raises(CvBridgeError, match=r'step is 17, expected at least .* 6 \* 3 \* 1'):
        bridge.imgmsg_to_cv2(message)
    with pytest.raises(CvBridgeError, match="cannot decode the 3 bytes of data with format 'png'"):
        bridge.compressed_imgmsg_to_cv2(CompressedImage(format='png', data=b'abc'))
    with pytest.raises(CvBridgeError, match='no_such_format'):
        bridge.cv2_to_compressed_imgmsg(plane('bgr'), 'no_such_format')


@pytest.mark.parametrize('shape', [(20, 30), (20, 30, 3), (20, 30, 4)])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_lossless_compression_survives_the_round_trip(bridge, dtype, shape):
    image = ramp(dtype, *shape)
    message = bridge.cv2_to_compressed_imgmsg(image, 'png')
    assert message.format == 'png'
    assert bytes(message.data[:4]) == b'\x89PNG'
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(message), image)


def test_compression_is_jpeg_unless_told_otherwise(bridge):
    message = bridge.cv2_to_compressed_imgmsg(np.kron(plane('bgr'), np.ones((8, 8, 1), np.uint8)))
    assert message.format == 'jpg'
    for target, order in (('passthrough', 'bgr'), ('bgr8', 'bgr'), ('rgb8', 'rgb')):
        image = bridge.compressed_imgmsg_to_cv2(message, target)
        np.testing.assert_allclose(image, np.broadcast_to(plane(order)[0, 0], (32, 48, 3)), atol=3)
    assert bridge.compressed_imgmsg_to_cv2(message, 'mono8').shape == (32, 48)


@stand_in_only
def test_compressed_images_convert_from_what_they_are(bridge):
    grey = bridge.cv2_to_compressed_imgmsg(np.full((4, 6), 80, np.uint8), 'png')
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(grey, 'bgr8'), np.full((4, 6, 3), 80))
    transparent = bridge.cv2_to_compressed_imgmsg(plane('bgra'), 'png')
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(transparent, 'rgb8'), plane('rgb'))


def test_images_pass_through_a_topic(bridge, graph):
    image = ramp(np.float32, 48, 64)
    received = []
    graph.node.create_subscription(Image, 'image', received.append, 1)
    publisher = graph.node.create_publisher(Image, 'image', 1)
    assert graph.spin_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(bridge.cv2_to_imgmsg(image, '32FC1'))
    assert graph.spin_until(lambda: received)
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(received[0]), image)
