# SPDX-License-Identifier: Apache-2.0
"""Looks at a running suite without RViz: a picture, and a table of detection rate and error."""

import json
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from radio_visual_ssl.bags.messages import (
    MessageError,
    camera_from_info,
    heatmap_from_messages,
    image_from_message,
    is_calibrated,
    stamp_to_ns,
    targets_from_message,
)
from radio_visual_ssl.bags.transforms import StaticTransforms
from radio_visual_ssl.evaluation.metrics import HIT_DISTANCE, VIEWS, Metrics, camera_sector
from radio_visual_ssl.evaluation.pictures import draw_frame
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.msg import HeatmapInfo, TargetArray
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.diagnostics import OTHER_CLOCK
from radio_visual_ssl.nodes.parameters import ParameterSpec
from radio_visual_ssl.nodes.qos import latched_qos, output_qos
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

PARAMETERS = (
    ParameterSpec('frames', 0, 'Radar frames after which the node ends; 0: on Ctrl-C.', 0),
    ParameterSpec('timeout', 60.0, 'Seconds without a frame after which the node gives up; 0: never.', 0.0),
    ParameterSpec('out', '', 'Path of the picture (PNG); empty: none.'),
    ParameterSpec('every', 5.0, 'Seconds between pictures while running; 0: only at the end.', 0.0),
    ParameterSpec('view', 'camera', 'Which true targets count.', choices=VIEWS, static=True),
    ParameterSpec(
        'hit_distance', HIT_DISTANCE, 'Metres from a true target within which a detection hits it.', 0.01, static=True
    ),
    ParameterSpec('image_offset', 0.0, "Seconds added to the camera's stamps before pairing.", -60.0, 60.0),
    ParameterSpec('image_slop', 0.1, 'Largest distance in seconds between a radar frame and its image.', 0.0, 60.0),
    ParameterSpec(
        'max_range', math.nan, 'Metres shown in the picture; NaN: a little beyond the farthest target so far.'
    ),
    ParameterSpec('json', False, 'Print the figures as JSON in the last line on stdout.'),
)

KEPT = 60
"""Messages of each stream kept for pairing."""

PATIENCE = 1.0
"""Seconds that a frame waits for what belongs to it."""


MARGIN = 1.2
"""Share of the range of the farthest target that the picture shows."""


@dataclass(frozen=True, eq=False)
class WatchedFrame:
    """One radar frame with what belongs to it.

    Attributes:
        stamp_ns: of the heatmap.
        detections: of the localizer.
        heatmap: None where it was missed.
        truth: None where nobody publishes it.
        image: the message nearest in time, or None.
    """

    stamp_ns: int
    detections: list[Target]
    heatmap: Heatmap | None
    truth: list[Target] | None
    image: Any | None


class WatchNode(ManagedNode):
    """Pairs detections, heatmaps, images and ground truth by stamp; draws and judges them.

    In: ``localizer/targets``, ``radar/heatmap``, ``radar/heatmap_info``, ``ground_truth/targets``,
    ``camera/image_raw``, ``camera/camera_info`` and /tf_static. Ends after ``frames`` frames, or on Ctrl-C, with the
    last picture and the table.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('watch_node', PARAMETERS)
        self._pending: deque[tuple[float, Any]] = deque()
        self._heatmaps: deque[Any] = deque(maxlen=KEPT)
        self._truths: deque[Any] = deque(maxlen=KEPT)
        self._images: deque[Any] = deque(maxlen=KEPT)
        self._info: Any = None
        self._camera_info: Any = None
        self._camera: CameraModel | None = None
        self._transforms = StaticTransforms()
        self._tally = Tally()
        self._frames = 0
        self._detections = 0
        self._farthest = 0.0
        self._arrivals: deque[float] = deque(maxlen=1000)
        self._latencies: deque[float] = deque(maxlen=1000)
        self._shown: WatchedFrame | None = None
        self._drawing: threading.Thread | None = None
        self._image_topic = ''
        self._undrawn_encoding: str | None = None
        self._last_sign = time.monotonic()

    def configure(self) -> None:
        """Start counting."""
        self._tally = Tally(self.value('view'), self.value('hit_distance'))
        self._frames = self._detections = 0

    def activate(self) -> None:
        """Listen to everything."""
        self._last_sign = time.monotonic()
        self._image_topic = self.resolve_topic_name('camera/image_raw')
        patient = QoSProfile(depth=KEPT, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.add_input(TFMessage, '/tf_static', self._take_transforms, latched_qos(100), may_be_silent=True)
        self.add_input(CameraInfo, 'camera/camera_info', self._take_camera_info, latched_qos(), may_be_silent=True)
        self.add_input(HeatmapInfo, 'radar/heatmap_info', self._take_info, latched_qos(), may_be_silent=True)
        self.add_input(Image, 'camera/image_raw', self._images.append, patient, may_be_silent=True)
        self.add_input(TargetArray, 'ground_truth/targets', self._truths.append, output_qos(), may_be_silent=True)
        self.add_input(Image, 'radar/heatmap', self._heatmaps.append, patient)
        self.add_input(TargetArray, 'localizer/targets', self._take_targets, output_qos())
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.add_timer('pairing', 0.25, self._look_after, steady)
        if self.value('out') and self.value('every'):
            self.add_timer('pictures', self.value('every'), self._draw_aside, steady)

    def close(self) -> int:
        """Judge what is left, draw the last picture and print the figures."""
        while self._pending:
            try:
                self._finish_frame(self._pending.popleft()[1])
            except ValueError as error:
                print(f'watch_node: a frame is left out: {error}', file=sys.stderr)
        heatmap_topic = self.resolve_topic_name('radar/heatmap')
        code = super().close()
        if self._drawing is not None:
            self._drawing.join()
        if self._frames == 0:
            print('watch_node: no frame arrived on localizer/targets', file=sys.stderr)
            return code
        try:
            if self.value('out') and self._shown is None:
                print(f'watch_node: no picture: no heatmap arrived on {heatmap_topic}', file=sys.stderr)
                code = 1
            elif self.value('out'):
                self._draw(self._shown, lambda line: print(f'watch_node: {line}', file=sys.stderr))
        except OSError as error:
            print(f"watch_node: parameter 'out': expected a path that can be written, got {error}", file=sys.stderr)
            code = 1
        finally:  # no picture is worth the figures
            metrics = self._tally.metrics() if self._tally.frames else None
            Console().print(self._table(metrics))
            if self.value('json'):
                print(json.dumps(self._figures(metrics)), flush=True)
        return code

    # ---- messages

    def _take_transforms(self, message: Any) -> None:
        self._transforms.add(message)
        self._camera = None

    def _take_camera_info(self, message: Any) -> None:
        self._camera_info = message
        self._camera = None

    def _take_info(self, message: Any) -> None:
        self._info = message

    def _take_targets(self, message: Any) -> None:
        now = time.monotonic()
        self._last_sign = now
        self._arrivals.append(now)
        self._latencies.append(self.age(message.header.stamp))
        self._pending.append((now, message))

    def _look_after(self) -> None:
        """Finish the frames whose parts have arrived or are late, and notice silence."""
        now = time.monotonic()
        while self._pending and now - self._pending[0][0] > PATIENCE:
            self._finish_frame(self._pending.popleft()[1])
            if 0 < self.value('frames') <= self._frames:
                self._pending.clear()
                self.finish(0)
                return
        timeout = self.value('timeout')
        if timeout and now - self._last_sign > timeout:
            topic = self.resolve_topic_name('localizer/targets')
            self.get_logger().error(f'no frame on {topic} for {timeout:g} s; giving up')
            self.finish(1)

    # ---- frames

    def _finish_frame(self, message: Any) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        heatmap = _nearest(self._heatmaps, stamp_ns, 0)
        truth = _nearest(self._truths, stamp_ns, 1_000_000)
        offset_ns = round(self.value('image_offset') * 1e9)
        frame = WatchedFrame(
            stamp_ns,
            targets_from_message(message),
            heatmap_from_messages(heatmap, self._info) if heatmap is not None and self._info is not None else None,
            targets_from_message(truth) if truth is not None else None,
            _nearest(self._images, stamp_ns - offset_ns, round(self.value('image_slop') * 1e9)),
        )
        self._frames += 1
        self._detections += len(frame.detections)
        self._farthest = max([target.range for target in (*frame.detections, *(frame.truth or ()))] + [self._farthest])
        if frame.truth is not None:
            camera = self._find_camera(message.header.frame_id)
            sector = camera_sector(camera) if camera is not None and self.value('view') == 'camera' else None
            self._tally.add(frame.detections, frame.truth, sector)
        if frame.heatmap is not None:
            self._find_camera(message.header.frame_id)
            self._shown = frame

    def _find_camera(self, radar_frame: str) -> CameraModel | None:
        if self._camera is None and self._camera_info is not None and is_calibrated(self._camera_info):
            mounting = self._transforms.between(self._camera_info.header.frame_id, radar_frame)
            self._camera = camera_from_info(self._camera_info, *mounting) if mounting is not None else None
        return self._camera

    # ---- what is shown

    def _draw_aside(self) -> None:
        """Draw while messages keep coming; a picture that takes long skips the next."""
        if self._shown is None or (self._drawing is not None and self._drawing.is_alive()):
            return

        def draw(frame: WatchedFrame) -> None:
            try:
                self._draw(frame, self.get_logger().warning)
            except OSError as error:
                self.get_logger().error(f"parameter 'out': expected a path that can be written, got {error}")

        self._drawing = threading.Thread(target=draw, args=(self._shown,), daemon=True)
        self._drawing.start()

    def _draw(self, frame: WatchedFrame | None, tell: Callable[[str], object]) -> None:
        if frame is None or frame.heatmap is None:
            return
        max_range = self.value('max_range')
        if math.isnan(max_range) and self._farthest > 0:
            max_range = min(math.ceil(MARGIN * self._farthest / 5) * 5, frame.heatmap.grid.range[-1])
        draw_frame(
            self._decode_image(frame.image, tell) if frame.image is not None else None,
            frame.heatmap,
            frame.detections,
            frame.truth,
            self._camera,
            out=Path(self.value('out')).expanduser(),
            view=self.value('view'),
            metrics=self._tally.metrics() if self._tally.frames else None,
            title=', '.join(filter(None, (frame.heatmap.radar, f'frame {self._frames}'))),
            max_range=None if math.isnan(max_range) else max_range,
        )

    def _decode_image(self, message: Any, tell: Callable[[str], object]) -> NDArray[np.uint8] | None:
        """The image, or None where it cannot be decoded, which is told once as long as the encoding stays."""
        try:
            return image_from_message(message)
        except MessageError as error:
            if message.encoding != self._undrawn_encoding:
                self._undrawn_encoding = message.encoding
                tell(f'{self._image_topic}: image of encoding {message.encoding!r} is left out of the picture: {error}')
            return None

    def _figures(self, metrics: Metrics | None) -> dict[str, Any]:
        figures: dict[str, Any] = asdict(metrics) if metrics is not None else {}
        figures['frames'] = self._frames
        figures['detections_per_frame'] = self._detections / self._frames
        if len(self._arrivals) > 1:
            figures['rate_hz'] = (len(self._arrivals) - 1) / (self._arrivals[-1] - self._arrivals[0])
        # a played bag's stamps are of another time than this node's clock, unless it takes that from /clock
        known = abs(median(self._latencies)) < OTHER_CLOCK
        figures['latency_p50_ms'] = 1e3 * median(self._latencies) if known else None
        figures['latency_max_ms'] = 1e3 * max(self._latencies) if known else None
        figures['view'] = self.value('view')
        return figures

    def _table(self, metrics: Metrics | None) -> Table:
        figures = self._figures(metrics)
        table = Table(title='What the localizer found', title_justify='left')
        table.add_column('figure')
        table.add_column('value', justify='right')
        rows = [('radar frames', f'{self._frames}'), ('detections per frame', f'{figures["detections_per_frame"]:.2f}')]
        if metrics is not None:
            rows += [
                (f'true targets (view: {self.value("view")})', f'{metrics.targets}'),
                ('detection rate (recall)', _text(metrics.recall, 100, ' %')),
                ('precision', _text(metrics.precision, 100, ' %')),
                ('false alarms per frame', _text(metrics.false_per_frame)),
                ('median error', _text(metrics.median_error_m, 1, ' m')),
                ('90 % of errors below', _text(metrics.p90_error_m, 1, ' m')),
                ('median distance to the footprint', _text(metrics.median_footprint_error_m, 1, ' m')),
                ('mean range error', _text(metrics.bias_range_m, 1, ' m', '+')),
                ('mean azimuth error', _text(metrics.bias_azimuth_deg, 1, ' deg', '+')),
            ]
        else:
            rows.append(('ground truth', 'none'))
        rows.append(('rate', _text(figures.get('rate_hz'), 1, ' Hz')))
        if figures['latency_p50_ms'] is not None:
            rows.append(('latency, median', f'{figures["latency_p50_ms"]:.1f} ms'))
        for name, value in rows:
            table.add_row(name, value)
        return table


def _nearest(messages: Iterable[Any], stamp_ns: int, slop_ns: int) -> Any | None:
    """The message whose stamp is nearest, within the slop."""

    def distance(message: Any) -> int:
        return abs(stamp_to_ns(message.header.stamp) - stamp_ns)

    nearest = min(messages, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= slop_ns else None


def _text(value: float | None, factor: float = 1, unit: str = '', sign: str = '') -> str:
    return '-' if value is None else f'{factor * value:{sign}.2f}{unit}'
