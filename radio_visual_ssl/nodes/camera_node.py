# SPDX-License-Identifier: Apache-2.0
"""Pictures of a camera, file or stream in; images, compressed images and camera_info out."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    calibration_to_info,
    image_to_cdr,
    image_to_compressed,
    uncalibrated_info,
)
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.diagnostics import StreamHealth
from radio_visual_ssl.nodes.parameters import ParameterSpec, Value, name_parameter
from radio_visual_ssl.nodes.qos import latched_qos
from radio_visual_ssl.vision.calibration import Calibration, load_calibration
from radio_visual_ssl.vision.capture import (
    Capture,
    CaptureSettings,
    Device,
    Event,
    Picture,
    Source,
    find_source,
)
from radio_visual_ssl.vision.preparation import Preparation, Rectifier, Region


class SourceParameter(ParameterSpec):
    """A text; a bare number on a command line or in a file, which ROS reads as an integer, is a camera index."""

    def read(self, value: Any) -> Value:
        """The text."""
        return super().read(str(value) if type(value) is int else value)


PARAMETERS = (
    SourceParameter(
        'source',
        '0',
        'Camera index, V4L2 device, video file, folder or pattern of images, or URL (rtsp://, http:// ...).',
        static=True,
    ),
    ParameterSpec(
        'rate',
        0.0,
        'Hz: at most so many images; a camera is asked for this rate, an image folder played at it. 0: as they come.',
        0.0,
        1000.0,
    ),
    ParameterSpec(
        'latency',
        0.0,
        'Seconds from the exposure to the reception of an image, taken off where the driver gives no time stamp.',
        -10.0,
        10.0,
    ),
    ParameterSpec(
        'stamps',
        'auto',
        "auto: the driver's time stamps where it gives plausible ones; reception: always reception minus latency.",
        choices=('auto', 'reception'),
    ),
    ParameterSpec('loop', False, 'Play a file or folder again and again.'),
    ParameterSpec('frame_id', 'camera', "The camera's optical frame (x right, y down, z forward)."),
    ParameterSpec('encoding', 'bgr8', 'Of the images.', choices=('bgr8', 'rgb8', 'mono8'), static=True),
    ParameterSpec('camera_name', 'camera', 'Stands for ${NAME} in camera_info_url.'),
    ParameterSpec(
        'camera_info_url',
        '',
        'Calibration in the format of camera_info_manager: a path, file:// or package:// URL; empty: uncalibrated.',
    ),
    ParameterSpec('rectify', False, 'Publish images without lens distortion too.', static=True),
    ParameterSpec('capture_width', 0, 'Pixels to ask a camera for; 0: width, if nothing is cropped.', 0, 16384),
    ParameterSpec('capture_height', 0, 'Pixels to ask a camera for; 0: height, if nothing is cropped.', 0, 16384),
    ParameterSpec('pixel_format', '', 'To ask a camera for, e.g. MJPG or YUYV; empty: its own choice.'),
    ParameterSpec('exposure', 0.0, 'Seconds, of a camera; 0: left to the camera.', 0.0, 100.0),
    ParameterSpec('gain', -1, "Of a camera, in the camera's own units; -1: left to the camera.", -1),
    ParameterSpec('crop_x', 0, 'First column to keep.', 0, 16384),
    ParameterSpec('crop_y', 0, 'First row to keep.', 0, 16384),
    ParameterSpec('crop_width', 0, 'Columns to keep; 0: all that follow.', 0, 16384),
    ParameterSpec('crop_height', 0, 'Rows to keep; 0: all that follow.', 0, 16384),
    ParameterSpec('width', 0, 'Pixels of the images, after cropping; 0: in proportion to height.', 0, 16384),
    ParameterSpec('height', 0, 'Pixels of the images, after cropping; 0: in proportion to width.', 0, 16384),
    ParameterSpec('compressed.format', 'jpeg', 'Of the compressed images.', choices=('jpeg', 'png')),
    ParameterSpec('compressed.jpeg_quality', 95, 'Small 1 ... 100 fine.', 1, 100),
    ParameterSpec('compressed.png_level', 3, 'Fast 0 ... 9 small.', 0, 9),
)

CAPTURE_PARAMETERS = ('rate', 'latency', 'loop', 'exposure', 'gain', 'pixel_format')
"""Those that are named like the fields of CaptureSettings."""


class CameraNode(ManagedNode):
    """Publishes a camera, a file or a stream, each image stamped with the time of its exposure.

    Out: ``camera/image_raw``, the latched ``camera/camera_info``, ``camera/image_raw/compressed``, and with ``rectify``
    ``camera/image_rect_color`` (``camera/image_rect`` for mono8) and its ``/compressed``. Images are made only while
    somebody listens. The source is captured in a thread of its own, from activate to deactivate; a camera or stream
    that is lost is tried again.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('camera_node', PARAMETERS)
        self._types = RclpyTypes()
        self._source: Source | None = None
        self._capture: Capture | None = None
        self._health: StreamHealth | None = None
        self._outputs_of: dict[str, Publisher] = {}
        self._calibration: Calibration | None = None
        self._calibration_of: tuple[str, str] = ('', '')
        self._prepared_size = (0, 0)
        self._preparation: Preparation | None = None
        self._prepared: Calibration | None = None
        self._rectifier: Rectifier | None = None
        self._ended = False
        self._refused = ''
        # the capturing thread wakes the executor: messages are made where all else of the node happens
        self._wake = self.create_guard_condition(self._take)

    def configure(self) -> None:
        """Find the source, read the calibration and make the outputs."""
        self._source = find_source(self.value('source'))
        self.hardware_id = self._source.name
        settings = capture_settings(self.values())
        if not isinstance(self._source, Device):  # what a camera can do is known when it is there
            self._check_controls(self._source, settings)
        if self.value('rectify') and self._calibration is None:
            raise ValueError("parameter 'rectify': expected a calibration in camera_info_url, got none")
        self._prepared_size = (0, 0)
        rectified = 'camera/image_rect' if self.value('encoding') == 'mono8' else 'camera/image_rect_color'
        self._outputs_of = {
            'raw': self.add_output(Image, 'camera/image_raw'),
            'raw_compressed': self.add_output(CompressedImage, 'camera/image_raw/compressed'),
            'info': self.add_output(CameraInfo, 'camera/camera_info', latched_qos()),
        }
        if self.value('rectify'):
            self._outputs_of['rectified'] = self.add_output(Image, rectified)
            self._outputs_of['rectified_compressed'] = self.add_output(CompressedImage, f'{rectified}/compressed')

    def activate(self) -> None:
        """Begin to capture."""
        assert self._source is not None
        self._ended = False
        self._health = self.add_stream('capture', self._timeout)
        self._capture = Capture(
            self._source,
            capture_settings(self.values()),
            lambda: self.get_clock().now().nanoseconds,
            self._wake.trigger,
        )
        self._capture.start()

    def deactivate(self) -> None:
        """Let the source go."""
        if self._capture is not None and not self._capture.stop() and self.context.ok():
            self.get_logger().warning(f'{self.hardware_id}: the driver does not let go yet')
        self._capture = None
        self._health = None

    def cleanup(self) -> None:
        """Forget source and calibration."""
        self._source = None
        self._outputs_of = {}
        self._calibration = None
        self._calibration_of = ('', '')
        self._prepared_size = (0, 0)

    def check_parameters(self, values: Mapping[str, Value]) -> None:
        """Refuse a calibration that cannot be read, and what the camera cannot do."""
        settings = capture_settings(values)
        if self._capture is not None:
            current = self._capture.settings
            if (settings.exposure, settings.gain) != (current.exposure, current.gain):
                self._check_controls(self._capture.source, settings)
        url, name = str(values['camera_info_url']), str(values['camera_name'])
        if (url, name) != self._calibration_of:
            try:
                self._calibration = load_calibration(url, name) if url else None
            except (ValueError, OSError) as error:
                raise ValueError(f"parameter 'camera_info_url': {error}") from error
            self._calibration_of = (url, name)

    def parameters_changed(self, names: set[str]) -> None:
        """Take over what may change while capturing."""
        if names & {'exposure', 'gain'}:
            self._refused = ''
        self._prepared_size = (0, 0)
        if self._capture is not None:
            self._capture.change(capture_settings(self.values()))

    def notes(self) -> dict[str, str]:
        """What is captured and what it lost."""
        if self._source is None:
            return {}
        notes = {'source': self._source.name, 'calibrated': str(self._prepared is not None).lower()}
        if self._ended:
            notes['ended'] = 'true'
        if self._capture is not None:
            notes |= {
                'dropped': str(self._capture.dropped),
                'reconnects': str(self._capture.reconnects),
                'late': str(self._capture.late),
                'stamps': self._capture.stamp_source,
            }
        if self._preparation is not None:
            notes['size'] = '{} x {}'.format(*self._preparation.size)
        return notes

    def _timeout(self) -> float:
        rate = self.value('rate')
        if self._ended:
            return float('inf')
        return max(self.value('input_timeout'), 2.0 / rate) if rate else self.value('input_timeout')

    @staticmethod
    def _check_controls(source: Source, settings: CaptureSettings) -> None:
        try:
            source.check_controls(settings)
        except ValueError as error:
            raise ValueError(name_parameter('', str(error), ('exposure', 'gain'))) from error

    # ---- from the capturing thread to the topics

    def _take(self) -> None:
        """Work on one thing that waits; the executor comes back for the next one after what else is due."""
        if self._capture is None or self._health is None:
            return
        item = self._capture.take()
        if item is None:
            return
        if isinstance(item, Picture):
            self._health.receive()
            self.deliver(self._health, self._publish, item)
        else:
            self._tell(item, self._health)
        self._wake.trigger()

    def _tell(self, event: Event, health: StreamHealth) -> None:
        logger = self.get_logger()
        if event.kind == 'opened':
            assert self._source is not None
            self.hardware_id = self._source.hardware
            self._refused = health.note = ''
            self._prepared_size = (0, 0)
            logger.info(event.text)
        elif event.kind == 'ended':
            self._ended = True
            logger.info(event.text)
        elif event.kind == 'refused':
            self._refused = health.note = event.text
            logger.error(event.text)
        else:
            self.deliver(health, raise_error, event.text)

    def _publish(self, picture: Picture) -> None:
        stamp_ns, frame_id, types = picture.stamp_ns, self.value('frame_id'), self._types
        self._prepare(picture.image)
        assert self._preparation is not None
        if self._prepared is not None:
            info = calibration_to_info(self._prepared, stamp_ns, frame_id, types)
        else:
            info = uncalibrated_info(*self._preparation.size, stamp_ns, frame_id, types)
        self._outputs_of['info'].publish(info)
        wanted = {name for name, publisher in self._outputs_of.items() if publisher.get_subscription_count()}
        if wanted <= {'info'}:
            return
        image = to_encoding(self._preparation.apply(picture.image), self.value('encoding'))
        self._send('raw', image, wanted, stamp_ns)
        if self._rectifier is not None and wanted & {'rectified', 'rectified_compressed'}:
            self._send('rectified', self._rectifier.apply(image), wanted, stamp_ns)

    def _send(self, name: str, image: NDArray[np.uint8], wanted: set[str], stamp_ns: int) -> None:
        encoding, frame_id, types = self.value('encoding'), self.value('frame_id'), self._types
        if name in wanted:
            self._outputs_of[name].publish(image_to_cdr(image, encoding, stamp_ns, frame_id))
        if f'{name}_compressed' in wanted:
            compressed = image_to_compressed(
                image,
                encoding,
                stamp_ns,
                frame_id,
                types,
                form=self.value('compressed.format'),
                jpeg_quality=self.value('compressed.jpeg_quality'),
                png_level=self.value('compressed.png_level'),
            )
            self._outputs_of[f'{name}_compressed'].publish(compressed)

    def _prepare(self, image: NDArray[np.uint8]) -> None:
        """Lay out cropping, scaling and calibration anew where the size of the pictures or a parameter has changed."""
        height, width = image.shape[:2]
        if self._prepared_size == (width, height):
            return
        crop = Region(*(self.value(f'crop_{name}') for name in ('x', 'y', 'width', 'height')))
        self._preparation = Preparation((width, height), crop, self.value('width'), self.value('height'))
        self._prepared = self._rectifier = None
        self._prepared_size = (width, height)
        assert self._health is not None
        self._health.note = self._refused
        if self._calibration is None:
            return
        try:
            self._prepared = self._preparation.adjust(self._calibration)
        except ValueError as error:
            self._health.note = (
                f'{self._calibration_of[0]}: {error}: the images go out uncalibrated '
                '(capture_width and capture_height ask a camera for a size, width and height scale afterwards)'
            )
            self.get_logger().error(self._health.note)
            return
        if self.value('rectify'):
            self._rectifier = Rectifier(self._prepared)


def capture_settings(values: Mapping[str, Value]) -> CaptureSettings:
    """Capture settings of the node's parameters.

    Raises:
        ValueError: names the parameter.
    """
    width, height = values['capture_width'], values['capture_height']
    cropped = any(values[f'crop_{name}'] for name in ('x', 'y', 'width', 'height'))
    if not width and not height and not cropped and values['width'] and values['height']:
        width, height = values['width'], values['height']
    settings = {name: values[name] for name in CAPTURE_PARAMETERS}
    try:
        return CaptureSettings(width=width, height=height, driver_stamps=values['stamps'] == 'auto', **settings)
    except ValueError as error:
        text = str(error).replace('width and height', 'capture_width and capture_height')
        raise ValueError(name_parameter('', text, CAPTURE_PARAMETERS)) from error


def to_encoding(image: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    """A BGR or grey picture, uint8, in another encoding."""
    if image.ndim == 2:
        conversion = {'bgr8': cv2.COLOR_GRAY2BGR, 'rgb8': cv2.COLOR_GRAY2RGB, 'mono8': None}[encoding]
    else:
        conversion = {'bgr8': None, 'rgb8': cv2.COLOR_BGR2RGB, 'mono8': cv2.COLOR_BGR2GRAY}[encoding]
    return image if conversion is None else np.asarray(cv2.cvtColor(image, conversion))


def raise_error(text: str) -> None:
    """Raise what the source reported, so that it is told like all that goes wrong with an input."""
    raise ValueError(text)
