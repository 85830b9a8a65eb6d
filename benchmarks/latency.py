# SPDX-License-Identifier: Apache-2.0
"""Latency from a raw radar cube to its detections, across processes, against what transport and arithmetic need.

This process publishes cubes at a fixed rate; heatmap_node and localizer_node, each a process of its own, turn them into
detections, which come back here. The floor, in the same run: the same bytes through two relays that compute nothing
(cube in, heatmap-sized image out; image in, detections out; never deserialized), plus the time that the same heatmap
formation and localization take in this process.

The last line on stdout is JSON: p50_ms, p99_ms, lost, times_floor.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection3DArray

from radio_visual_ssl.bags.messages import (
    RclpyTypes,
    cube_to_message,
    heatmap_to_image,
    profile_to_info,
    serialized_stamp_ns,
    stamp_from_ns,
    targets_to_detections3d,
)
from radio_visual_ssl.msg import RadarCube as RadarCubeMessage
from radio_visual_ssl.msg import RadarInfo
from radio_visual_ssl.nodes.heatmap_node import NODE_FORMATION
from radio_visual_ssl.nodes.process import SERIAL_MATH
from radio_visual_ssl.nodes.qos import latched_qos, output_qos
from radio_visual_ssl.radar.cfar_localizer import CfarLocalizer, CfarLocalizerSettings
from radio_visual_ssl.radar.cube import Axis, RadarCube, canonical
from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.profile import OfdmWaveform, load_profile
from radio_visual_ssl.share import share_path
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.simulator import Simulator

TYPES = RclpyTypes()
STAMP = slice(4, 12)
"""Where the stamp lies in the serialized bytes of a message that begins with a header."""

SCENE_TIMES = 10
"""Different cubes that are sent in turn."""

COMPUTED = 110
"""Cubes that are formed and localized without any transport."""

WARM_UP = 40
"""Messages sent before those that count."""


class Workload:
    """Cubes of a simulated scene, and what becomes of them."""

    def __init__(self, radar: str) -> None:
        self.profile = load_profile(radar)
        simulator = Simulator(load_scene('parking_lot'), self.profile)
        fmcw, ofdm = (Axis.CHIRP, Axis.SAMPLE), (Axis.SYMBOL, Axis.SUBCARRIER)
        slow, fast = ofdm if isinstance(self.profile.waveform, OfdmWaveform) else fmcw
        self.cubes = [
            RadarCube(simulator.cube(5.0 + 0.1 * index), (slow, Axis.VIRTUAL_CHANNEL, fast))
            for index in range(SCENE_TIMES)
        ]
        self.messages = [cube_to_message(cube, 0, 'radar', TYPES) for cube in self.cubes]

    def compute(self, folder: Path, rate: float) -> None:
        """Write the messages that a cube ends in to the folder, and the seconds of forming and localizing each.

        At the same rate as the nodes: caches and clocks cool down between frames for them, too.
        """
        former, localizer = HeatmapFormer(self.profile, NODE_FORMATION), CfarLocalizer(CfarLocalizerSettings())
        times = []
        for index in range(COMPUTED):
            cube = self.cubes[index % SCENE_TIMES]
            began = time.perf_counter()
            heatmap = former.form(canonical(cube, self.profile))
            targets = localizer.localize(heatmap)
            times.append(time.perf_counter() - began)
            time.sleep(max(1 / rate - times[-1], 0))
        np.save(folder / 'times.npy', times[SCENE_TIMES:])
        (folder / 'cube').write_bytes(serialize_message(heatmap_to_image(heatmap, 0, 'radar', TYPES)))
        (folder / 'heatmap').write_bytes(serialize_message(targets_to_detections3d(targets, 0, 'radar', TYPES)))


def relay(kind: str, payload_file: str) -> None:
    """Process that answers each message of one type with a prepared one of the next, with the stamp copied."""
    rclpy.init()
    node = Node(f'relay_{kind}')
    payload = bytearray(Path(payload_file).read_bytes())
    source, topic_in, target, topic_out = {
        'cube': (RadarCubeMessage, 'floor/cube', Image, 'floor/heatmap'),
        'heatmap': (Image, 'floor/heatmap', Detection3DArray, 'floor/detections'),
    }[kind]
    publisher = node.create_publisher(target, topic_out, output_qos())

    def answer(data: bytes) -> None:
        payload[STAMP] = data[STAMP]
        publisher.publish(bytes(payload))

    node.create_subscription(source, topic_in, answer, qos_profile_sensor_data, raw=True)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


class Clocked:
    """Sends cubes at a fixed rate and notes when each one's detections come back."""

    def __init__(self, node: Node, topic_in: str, topic_out: str) -> None:
        self.node = node
        self.publisher = node.create_publisher(RadarCubeMessage, topic_in, output_qos())
        self.sent: dict[int, float] = {}
        self.back: dict[int, float] = {}
        node.create_subscription(Detection3DArray, topic_out, self._come_back, output_qos(), raw=True)

    def _come_back(self, data: bytes) -> None:
        self.back[serialized_stamp_ns(data)] = time.perf_counter()

    def run(self, messages: list, rate: float, count: int) -> tuple[np.ndarray, int]:
        """Latencies (s) of the messages after the warm-up, and how many were lost."""
        begin = time.perf_counter()
        for index in range(WARM_UP + count):
            due = begin + index / rate
            while (left := due - time.perf_counter()) > 0:
                rclpy.spin_once(self.node, timeout_sec=left)
            message = messages[index % len(messages)]
            stamp_ns = time.time_ns()
            message.header.stamp = stamp_from_ns(stamp_ns, TYPES)
            self.sent[stamp_ns] = time.perf_counter()
            self.publisher.publish(message)
        spin_until(self.node, lambda: len(self.back) >= len(self.sent), 2.0)
        stamps = list(self.sent)[WARM_UP:]
        latencies = [self.back[stamp] - self.sent[stamp] for stamp in stamps if stamp in self.back]
        return np.array(latencies), count - len(latencies)


def spin_until(node: Node, condition: Callable[[], bool], timeout: float) -> bool:
    """Spin until the condition holds; whether it did in time."""
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.05)
    return condition()


def connect(node: Node, clocked: Clocked, topic_out: str) -> None:
    """Wait until messages can pass both ways."""
    ready = spin_until(
        node, lambda: clocked.publisher.get_subscription_count() > 0 and node.count_publishers(topic_out) > 0, 30.0
    )
    if not ready:
        sys.exit('latency: expected the nodes to connect within 30 s, they did not')
    spin_until(node, lambda: False, 1.0)


def stop(processes: list[subprocess.Popen]) -> None:
    """End processes as Ctrl-C would."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def measure_floor(node: Node, workload: Workload, radar: str, rate: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Latencies (s) through two relays, and seconds of the arithmetic alone, under the conditions of a node."""
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, __file__, '--radar', radar, '--rate', str(rate)]
        subprocess.run([*script, '--compute', folder], check=True, env={**os.environ, **SERIAL_MATH})
        compute = np.load(Path(folder) / 'times.npy')
        relays = [subprocess.Popen([*script, '--relay', kind, f'{folder}/{kind}']) for kind in ('cube', 'heatmap')]
        try:
            clocked = Clocked(node, 'floor/cube', 'floor/detections')
            connect(node, clocked, 'floor/detections')
            latencies, lost = clocked.run(workload.messages, rate, count)
        finally:
            stop(relays)
    if lost:
        print(f'the relays lost {lost} of {count} messages', file=sys.stderr)
    return latencies, compute


def measure_suite(node: Node, workload: Workload, rate: float, count: int) -> tuple[np.ndarray, int]:
    """Latencies (s) through heatmap_node and localizer_node, and how many cubes gave no detections."""
    folder = Path(get_package_prefix('radio_visual_ssl')) / 'lib' / 'radio_visual_ssl'
    nodes = [subprocess.Popen([folder / name]) for name in ('heatmap_node', 'localizer_node')]
    info = node.create_publisher(RadarInfo, 'radar/info', latched_qos())
    info.publish(profile_to_info(workload.profile, 0, 'radar', TYPES))
    try:
        clocked = Clocked(node, 'radar/cube', 'localizer/detections')
        connect(node, clocked, 'localizer/detections')
        return clocked.run(workload.messages, rate, count)
    finally:
        stop(nodes)


def main() -> None:
    """Measure floor and suite, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rate', type=float, default=20.0, help='cubes per second')
    parser.add_argument('--frames', type=int, default=400, help='cubes that count')
    parser.add_argument('--radar', default='ofdm_28ghz_400mhz_16rx', help='radar profile')
    parser.add_argument('--relay', nargs=2, help=argparse.SUPPRESS)
    parser.add_argument('--compute', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):  # Fast DDS 2 (Jazzy) and 3
        os.environ.setdefault(name, str(share_path('config', 'fastdds.xml')))
    if arguments.relay:
        relay(*arguments.relay)
        return
    workload = Workload(arguments.radar)
    if arguments.compute:
        workload.compute(Path(arguments.compute), arguments.rate)
        return
    rclpy.init()
    node = Node('latency')
    transport, compute = measure_floor(node, workload, arguments.radar, arguments.rate, arguments.frames)
    suite, lost = measure_suite(node, workload, arguments.rate, arguments.frames)
    node.destroy_node()
    rclpy.shutdown()

    floor = float(np.median(transport) + np.median(compute))
    table = Table(
        title=f'{arguments.radar}, cube of {len(workload.messages[0].data) / 1e6:.2f} MB at {arguments.rate:g} Hz'
    )
    for name in ('', 'p50 ms', 'p99 ms', 'max ms'):
        table.add_column(name, justify='right' if name else 'left')
    for name, times in (
        ('two relays', transport),
        ('formation + localization', compute),
        ('cube to detections', suite),
    ):
        table.add_row(name, *(f'{1e3 * value:.2f}' for value in (*np.quantile(times, (0.5, 0.99)), times.max())))
    Console().print(table)
    p50, p99 = np.quantile(suite, (0.5, 0.99))
    result = {'p50_ms': 1e3 * p50, 'p99_ms': 1e3 * p99, 'lost': lost, 'times_floor': float(p50 / floor)}
    print(json.dumps({**result, 'floor_ms': 1e3 * floor, 'frames': arguments.frames, 'rate_hz': arguments.rate}))


if __name__ == '__main__':
    main()
