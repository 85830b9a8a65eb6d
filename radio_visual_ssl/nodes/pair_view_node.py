# SPDX-License-Identifier: Apache-2.0
"""Shows what is being paired, live: camera left, heatmap right, and by how much their stamps differ."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from cv_bridge import CvBridge, CvBridgeError
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CompressedImage, Image

from radio_visual_ssl.bags.messages import (
    MessageError,
    RclpyTypes,
    check_finite,
    heatmap_from_messages,
    image_to_message,
    stamp_to_ns,
)
from radio_visual_ssl.bags.topics import IMAGE_TYPE, radar_info_topic, raw_image_topic
from radio_visual_ssl.msg import HeatmapInfo, Pair
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.parameters import ParameterSpec, Value
from radio_visual_ssl.nodes.preview import COLOUR_MAPS, Preview
from radio_visual_ssl.nodes.qos import latched_qos, output_qos

PARAMETERS = (
    ParameterSpec('heatmap_topic', 'radar/heatmap', 'Heatmaps (32FC1) with the stamps of the pairs.', static=True),
    ParameterSpec(
        'image_topic',
        'camera/image_raw',
        'The paired images, raw or (name ends in /compressed) compressed.',
        static=True,
    ),
    ParameterSpec('rate', 10.0, 'Most pictures per second.', 0.1, 100.0, static=True),
    ParameterSpec('height', 480, 'Pixels of the picture.', 64, 2160),
    ParameterSpec(
        'preview.view', 'cartesian', 'Look down on the ground, or at the bins.', choices=('cartesian', 'polar')
    ),
    ParameterSpec('preview.colour_map', 'viridis', 'Colours of the heatmap.', choices=tuple(COLOUR_MAPS)),
)

KEPT_MESSAGES = 60
KEPT_BYTES = 128_000_000
"""What is kept of each sensor until its pair is told."""

PATIENCE = 1.0
"""Seconds that a pair waits for its messages."""

RATE_WINDOW = 20
"""Pairs over which their rate is taken."""

CAPTION_HEIGHT = 28
CAPTION_COLOUR = (235, 235, 235)
BACKGROUND = (24, 24, 28)
GAP = 4


class Kept:
    """The last messages of a sensor, by stamp (ns), within a number and a size."""

    def __init__(self) -> None:
        self._messages: dict[int, Any] = {}
        self._bytes = 0

    def add(self, message: Any) -> None:
        """Keep a message (with ``header`` and ``data``), and forget the oldest that are too many."""
        stamp_ns = stamp_to_ns(message.header.stamp)
        replaced = self._messages.pop(stamp_ns, None)
        self._bytes += len(message.data) - (len(replaced.data) if replaced is not None else 0)
        self._messages[stamp_ns] = message
        while len(self._messages) > KEPT_MESSAGES or (self._bytes > KEPT_BYTES and len(self._messages) > 1):
            self._bytes -= len(self._messages.pop(next(iter(self._messages))).data)

    def get(self, stamp: Any) -> Any | None:
        """The message of exactly this stamp."""
        return self._messages.get(stamp_to_ns(stamp))


class PairViewNode(ManagedNode):
    """Draws the pairs that a recorder announces on ``pairs``.

    In: ``pairs``, and while somebody looks the heatmaps with their info and the images. Out: ``pairs/preview`` rgb8,
    stamped as the radar frame.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('pair_view_node', PARAMETERS)
        self._types = RclpyTypes()
        self._bridge = CvBridge()
        self._pairs: deque[tuple[float, Any]] = deque(maxlen=KEPT_MESSAGES)
        self._arrivals: deque[float] = deque(maxlen=RATE_WINDOW)
        self._heatmaps, self._images = Kept(), Kept()
        self._info: Any = None
        self._preview: Preview | None = None
        self._output: Any = None
        self._watched = False

    def configure(self) -> None:
        """Make the output."""
        self._output = self.add_output(Image, 'pairs/preview')

    def activate(self) -> None:
        """Listen to the pairs; to the sensors only while somebody looks."""
        self._watched = False
        self.add_input(Pair, 'pairs', self._take_pair, output_qos(), may_be_silent=True)
        self.add_timer('pictures', 1.0 / self.value('rate'), self._show, Clock(clock_type=ClockType.STEADY_TIME))

    def deactivate(self) -> None:
        """Forget what waits."""
        self._pairs.clear()
        self._heatmaps, self._images = Kept(), Kept()

    def cleanup(self) -> None:
        """Forget the radar."""
        self._info = self._preview = self._output = None

    def check_parameters(self, values: Mapping[str, Value]) -> None:
        """Refuse what no topic can be named."""
        for name in ('heatmap_topic', 'image_topic'):
            self.resolve(name, values[name])

    def parameters_changed(self, names: set[str]) -> None:
        """Draw anew."""
        self._preview = None

    def _take_pair(self, pair: Any) -> None:
        now = time.monotonic()
        self._arrivals.append(now)
        self._pairs.append((now, pair))

    def _take_info(self, info: Any) -> None:
        self._info = info
        self.hardware_id = info.radar

    # ---- the sensors are heard while somebody looks

    def _look(self) -> bool:
        """Whether somebody looks; the sensors are subscribed to, or left alone, accordingly."""
        watched = self._output.get_subscription_count() > 0
        if watched == self._watched:
            return watched
        self._watched = watched
        heatmaps, images = self.value('heatmap_topic'), self.value('image_topic')
        infos = radar_info_topic(heatmaps, IMAGE_TYPE)
        if watched:
            kind = Image if raw_image_topic(images) == images else CompressedImage
            self.add_input(HeatmapInfo, infos, self._take_info, latched_qos(), may_be_silent=True)
            self.add_input(Image, heatmaps, self._heatmaps.add)
            self.add_input(kind, images, self._images.add)
        else:
            for topic in (infos, heatmaps, images):
                self.remove_input(topic)
            self._heatmaps, self._images = Kept(), Kept()
        return watched

    # ---- pictures

    def _show(self) -> None:
        """Draw the newest pair whose messages are here."""
        if not self._look() or self._info is None:
            return
        now = time.monotonic()
        while self._pairs and now - self._pairs[0][0] > PATIENCE:
            self._pairs.popleft()
        for _, pair in reversed(self._pairs):
            heatmap, image = self._heatmaps.get(pair.header.stamp), self._images.get(pair.image_stamp)
            if heatmap is not None and image is not None:
                self._pairs.clear()
                self._draw(pair, heatmap, image)
                return

    def _draw(self, pair: Any, heatmap_message: Any, image: Any) -> None:
        heatmap = heatmap_from_messages(heatmap_message, self._info)
        check_finite(heatmap.values, 'Image.data')
        height = self.value('height')
        if self._preview is None or self._preview.grid != heatmap.grid:
            self._preview = Preview(heatmap.grid, self.value('preview.view'), self.value('preview.colour_map'), height)
        picture = side_by_side(self._decode(image), self._preview.draw(heatmap), height, self._caption(pair))
        stamp_ns = stamp_to_ns(pair.header.stamp)
        self._output.publish(image_to_message(picture, 'rgb8', stamp_ns, pair.header.frame_id, self._types))

    def _decode(self, image: Any) -> NDArray[np.uint8]:
        convert = self._bridge.compressed_imgmsg_to_cv2 if hasattr(image, 'format') else self._bridge.imgmsg_to_cv2
        try:
            return convert(image, 'rgb8')
        except CvBridgeError as error:
            raise MessageError(f'{self.resolve_topic_name(self.value("image_topic"))}: {error}') from error

    def _caption(self, pair: Any) -> str:
        text = f'pair {pair.index}   dt {1e3 * pair.time_difference:+.1f} ms'
        if len(self._arrivals) > 1 and self._arrivals[-1] > self._arrivals[0]:
            text += f'   {(len(self._arrivals) - 1) / (self._arrivals[-1] - self._arrivals[0]):.1f} pairs/s'
        return text


def side_by_side(image: NDArray[np.uint8], heatmap: NDArray[np.uint8], height: int, caption: str) -> NDArray[np.uint8]:
    """Two pictures beside each other with a line of text above.

    Args:
        image: (H, W, 3) RGB, left.
        heatmap: (H, W, 3) RGB, right.
        height: pixels that both get, their shapes kept.
        caption: ASCII text.

    Returns:
        (CAPTION_HEIGHT + height, W, 3) RGB.
    """
    parts = [
        cv2.resize(part, (max(round(part.shape[1] * height / part.shape[0]), 1), height), interpolation=cv2.INTER_AREA)
        for part in (image, heatmap)
    ]
    left = parts[0].shape[1]
    picture = np.empty((CAPTION_HEIGHT + height, left + GAP + parts[1].shape[1], 3), np.uint8)
    picture[:] = BACKGROUND
    picture[CAPTION_HEIGHT:, :left] = parts[0]
    picture[CAPTION_HEIGHT:, left + GAP :] = parts[1]
    baseline = (8, CAPTION_HEIGHT - 9)
    cv2.putText(picture, caption, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.5, CAPTION_COLOUR, 1, cv2.LINE_AA)
    return picture
