# SPDX-License-Identifier: Apache-2.0
"""What recording a camera and a radar costs and loses, against a subscription that throws the data away.

Real processes: a publisher (rgb8 images at 30 Hz, 128 x 64 heatmaps at 20 Hz, stamped as they are sent), and
pair_recorder_node, which writes to disk. The floor, in the same run: the same publisher with a bare rclpy process that
subscribes to the same serialized messages and drops them. Where ``ros2 bag record`` is installed it is run as well.
Besides VGA, 1080p (187 MB/s): how far it goes, and what limits it.

The last line on stdout is JSON: pairs_lost, mb_per_s, cpu_percent, times_floor of the VGA case, and the same of 1080p.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image

from radio_visual_ssl.bags.messages import RclpyTypes, image_to_message, stamp_to_ns
from radio_visual_ssl.bags.pairing import match_stamps
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.msg import RecorderStatus
from radio_visual_ssl.nodes.qos import latched_qos, output_qos
from radio_visual_ssl.share import share_path

SIZES = {'vga': (480, 640), '1080p': (1080, 1920)}
IMAGE_RATE, RADAR_RATE = 30.0, 20.0
HEATMAP_SHAPE = (128, 64)
IMAGE_TOPIC, RADAR_TOPIC = '/camera/image_raw', '/radar/heatmap'
SLOP_NS = 25_000_000
STAMP = slice(4, 12)
"""Where the stamp lies in the serialized bytes of a message that begins with a header."""

SETTLE = 1.0
"""Seconds from the match of publisher and subscription to the first message."""

FLOOR_SECONDS = 20.0
"""Longest run of the bare subscription and of ros2 bag record."""

TICKS = os.sysconf('SC_CLK_TCK')


@dataclass(frozen=True)
class Result:
    """One recorder in one case.

    Attributes:
        seconds: that the publisher took.
        sent: messages.
        recorded: of those.
        dropped: taken by the recorder, but lost on the way to the disk. What is neither recorded nor dropped was lost
            before, between the processes.
        pairs: that the stamps sent make.
        pairs_lost: of those, not in the bag.
        mb_per_s: recorded.
        cpu_percent: of one core, of the process that takes the messages.
        publisher_cpu_percent: of one core.
        late_ms: by which the publisher was behind its schedule at worst.
    """

    seconds: float
    sent: int
    recorded: int
    dropped: int
    pairs: int
    pairs_lost: int
    mb_per_s: float
    cpu_percent: float
    publisher_cpu_percent: float
    late_ms: float


# ---- the processes


def publish(case: str, seconds: float, stamps_file: str) -> None:
    """Process that sends both streams on schedule, and writes what it has sent."""
    rclpy.init()
    node = Node('sensors')
    height, width = SIZES[case]
    rng = np.random.default_rng(0)
    types = RclpyTypes()
    image = image_to_message(rng.integers(0, 256, (height, width, 3), np.uint8), 'rgb8', 0, 'camera', types)
    heatmap = Image(height=HEATMAP_SHAPE[0], width=HEATMAP_SHAPE[1], encoding='32FC1', step=4 * HEATMAP_SHAPE[1])
    heatmap.data = rng.standard_normal(HEATMAP_SHAPE, np.float32).tobytes()
    heatmap.header.frame_id = 'radar'
    streams = [
        (node.create_publisher(Image, topic, output_qos()), bytearray(serialize_message(message)), rate, [])
        for topic, message, rate in ((RADAR_TOPIC, heatmap, RADAR_RATE), (IMAGE_TOPIC, image, IMAGE_RATE))
    ]
    while not all(publisher.get_subscription_count() for publisher, *_ in streams):
        time.sleep(0.05)
    time.sleep(SETTLE)
    schedule = sorted(
        (index / rate, number) for number, (_, _, rate, _) in enumerate(streams) for index in range(int(seconds * rate))
    )
    print('begin', flush=True)
    begin, late = time.perf_counter(), 0.0
    for due, number in schedule:
        left = begin + due - time.perf_counter()
        if left > 0:
            time.sleep(left)
        late = max(late, -left)
        publisher, data, _, stamps = streams[number]
        stamp_ns = time.time_ns()
        data[STAMP] = np.array(divmod(stamp_ns, 1_000_000_000), '<u4').tobytes()
        publisher.publish(bytes(data))
        stamps.append(stamp_ns)
    took = time.perf_counter() - begin
    np.savez(stamps_file, radar=streams[0][3], image=streams[1][3], took=took, late=late)
    print('end', flush=True)
    time.sleep(1.0)  # the last messages are acknowledged
    node.destroy_node()
    rclpy.shutdown()


def throw_away() -> None:
    """Process that does nothing with the same serialized messages."""
    rclpy.init()
    node = Node('floor')
    for topic in (IMAGE_TOPIC, RADAR_TOPIC):
        node.create_subscription(Image, topic, lambda data: None, output_qos(), raw=True)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


# ---- the measurement


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its children have taken so far."""
    total = 0.0
    for each in (pid, *children(pid)):
        fields = Path(f'/proc/{each}/stat').read_text(encoding='ascii').rpartition(')')[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def children(pid: int) -> list[int]:
    """Processes that a process has started (the ros2 command runs in one of its own)."""
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text(encoding='ascii')
    return [int(child) for child in text.split()]


@contextmanager
def running(command: list[str | Path]) -> Iterator[subprocess.Popen]:
    """A process that is ended as Ctrl-C would."""
    process = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


class Dropped:
    """Listens to what the recorder says it has dropped."""

    def __init__(self) -> None:
        self._node = Node('recording_benchmark')
        self._last = 0
        self._node.create_subscription(RecorderStatus, '/pair_recorder_node/status', self._take, latched_qos())

    def _take(self, status: RecorderStatus) -> None:
        self._last = status.dropped

    def listen(self, seconds: float) -> int:
        """The last number heard after listening for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            rclpy.spin_once(self._node, timeout_sec=left)
        return self._last

    def close(self) -> None:
        """End."""
        self._node.destroy_node()


def measure(command: list[str | Path], case: str, seconds: float, bag: Path | None) -> Result:
    """Send to a recorder (or a process that throws away), and look at what it has kept."""
    listener = Dropped()
    with tempfile.TemporaryDirectory() as folder:
        stamps_file = f'{folder}/stamps.npz'
        with running(command) as process:
            script = [sys.executable, __file__, '--publish', case, str(seconds), stamps_file]
            sender = subprocess.Popen(script, stdout=subprocess.PIPE, text=True)
            used = []
            for word in ('begin', 'end'):
                if sender.stdout.readline().strip() != word:
                    sys.exit(f'recording: the publisher ended before its {word}')
                used.append([cpu_seconds(process.pid), cpu_seconds(sender.pid)])
            dropped = listener.listen(1.5)
            sender.wait()
        sent = np.load(stamps_file)
    listener.close()
    took = float(sent['took'])
    cpu, publisher_cpu = 100 * (np.array(used[1]) - used[0]) / took
    radar, image = match_stamps(sent['radar'], sent['image'], SLOP_NS)
    expected = set(zip(sent['radar'][radar].tolist(), sent['image'][image].tolist(), strict=True))
    recorded = lost = size = 0
    if bag is not None:
        reader = BagReader(bag)
        recorded = sum(reader.streams[topic].count for topic in (RADAR_TOPIC, IMAGE_TOPIC) if topic in reader.streams)
        if '/pairs' in reader.streams:
            found = {
                (stamp_to_ns(pair.header.stamp), stamp_to_ns(pair.image_stamp)) for _, pair in reader.messages('/pairs')
            }
            lost = len(expected - found)
        size = sum(file.stat().st_size for file in bag.iterdir())
    count = len(sent['radar']) + len(sent['image'])
    return Result(
        seconds=took,
        sent=count,
        recorded=recorded,
        dropped=dropped,
        pairs=len(expected),
        pairs_lost=lost,
        mb_per_s=size / 1e6 / took,
        cpu_percent=float(cpu),
        publisher_cpu_percent=float(publisher_cpu),
        late_ms=1e3 * float(sent['late']),
    )


def disk_rate(folder: Path) -> float:
    """MB/s at which this disk takes one large file, with everything on it at the end."""
    data = os.urandom(1 << 20) * 16
    path = folder / 'disk_rate'
    began = time.perf_counter()
    try:
        with path.open('wb', buffering=0) as file:
            for _ in range(64):
                file.write(data)
            os.fdatasync(file.fileno())
        return 64 * len(data) / 1e6 / (time.perf_counter() - began)
    finally:
        path.unlink(missing_ok=True)


def has_bag_record() -> bool:
    """Whether ``ros2 bag record`` is installed."""
    ros2 = shutil.which('ros2')
    if ros2 is None:
        return False
    return subprocess.run([ros2, 'bag', 'record', '--help'], capture_output=True, check=False).returncode == 0


def mean(first: Result, second: Result) -> Result:
    """Two runs of the bare subscription as one."""
    return replace(
        first,
        seconds=first.seconds + second.seconds,
        sent=first.sent + second.sent,
        pairs=first.pairs + second.pairs,
        cpu_percent=(first.cpu_percent + second.cpu_percent) / 2,
        publisher_cpu_percent=(first.publisher_cpu_percent + second.publisher_cpu_percent) / 2,
        late_ms=max(first.late_ms, second.late_ms),
    )


def measure_case(case: str, seconds: float, folder: Path) -> dict[str, Result]:
    """The bare subscription, the recorder, and ros2 bag record where there is one."""
    short = min(seconds, FLOOR_SECONDS)
    throw_away_command = [sys.executable, __file__, '--throw-away']
    before = measure(throw_away_command, case, short / 2, None)
    node = Path(get_package_prefix('radio_visual_ssl')) / 'lib' / 'radio_visual_ssl' / 'pair_recorder_node'
    bag = folder / f'pairs_{case}'
    parameters = {'output': bag, 'min_free_bytes': 100_000_000, 'slop_s': SLOP_NS / 1e9}
    arguments = [text for name, value in parameters.items() for text in ('-p', f'{name}:={value}')]
    ours = measure([node, '--ros-args', *arguments], case, seconds, bag)
    shutil.rmtree(bag)
    # half before and half after: what else the machine does changes with time
    after = measure(throw_away_command, case, short / 2, None)
    results = {'thrown away': mean(before, after), 'pair_recorder_node': ours}
    if has_bag_record():
        bag = folder / f'rosbag2_{case}'
        command = ['ros2', 'bag', 'record', '-s', 'mcap', '-o', bag, IMAGE_TOPIC, RADAR_TOPIC]
        results['ros2 bag record'] = measure(command, case, short, bag)
        shutil.rmtree(bag)
    return results


def figures(results: dict[str, Result], disk_mb_per_s: float) -> dict[str, float | int]:
    """What the JSON line says of a case."""
    ours = results['pair_recorder_node']
    found: dict[str, float | int] = asdict(ours)
    found['times_floor'] = ours.cpu_percent / results['thrown away'].cpu_percent
    found['floor_cpu_percent'] = results['thrown away'].cpu_percent
    found['messages_lost'] = ours.sent - ours.recorded
    found['lost_in_transport'] = ours.sent - ours.recorded - ours.dropped
    found['disk_mb_per_s'] = disk_mb_per_s
    if 'ros2 bag record' in results:
        found['rosbag2_cpu_percent'] = results['ros2 bag record'].cpu_percent
        found['times_rosbag2'] = ours.cpu_percent / results['ros2 bag record'].cpu_percent
    return found


def show(case: str, results: dict[str, Result], disk_mb_per_s: float) -> None:
    """Print a case as a table."""
    height, width = SIZES[case]
    table = Table(title=f'{width} x {height} rgb8 at {IMAGE_RATE:g} Hz, heatmaps at {RADAR_RATE:g} Hz')
    table.add_column('')
    for name in ('s', 'sent', 'recorded', 'dropped', 'pairs', 'pairs lost', 'MB/s', 'CPU %', 'late ms'):
        table.add_column(name, justify='right')
    for name, result in results.items():
        kept = name != 'thrown away'
        table.add_row(
            name,
            f'{result.seconds:.1f}',
            str(result.sent),
            str(result.recorded) if kept else '-',
            str(result.dropped) if name == 'pair_recorder_node' else '-',
            str(result.pairs),
            str(result.pairs_lost) if name == 'pair_recorder_node' else '-',
            f'{result.mb_per_s:.1f}' if kept else '-',
            f'{result.cpu_percent:.1f}',
            f'{result.late_ms:.0f}',
        )
    table.caption = f'the disk takes {disk_mb_per_s:.0f} MB/s of one large file; {os.cpu_count()} cores'
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> None:
    """Measure each case, print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=60.0, help='of the VGA case')
    parser.add_argument('--large-seconds', type=float, default=20.0, help='of the 1080p case (3.7 GB); 0: leave it out')
    parser.add_argument('--folder', type=Path, default=Path(), help='on the disk to record to')
    parser.add_argument('--publish', nargs=3, help=argparse.SUPPRESS)
    parser.add_argument('--throw-away', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):  # Fast DDS 2 (Jazzy) and 3
        os.environ.setdefault(name, str(share_path('config', 'fastdds.xml')))
    if arguments.publish:
        case, seconds, stamps_file = arguments.publish
        publish(case, float(seconds), stamps_file)
        return
    if arguments.throw_away:
        throw_away()
        return
    rclpy.init()
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix='recording_', dir=arguments.folder) as folder:
        for case, seconds in (('vga', arguments.seconds), ('1080p', arguments.large_seconds)):
            if seconds <= 0:
                continue
            disk_mb_per_s = disk_rate(Path(folder))
            results = measure_case(case, seconds, Path(folder))
            show(case, results, disk_mb_per_s)
            if case == 'vga':
                result |= figures(results, disk_mb_per_s)
            else:
                result[case] = figures(results, disk_mb_per_s)
    rclpy.shutdown()
    print(json.dumps(result))


if __name__ == '__main__':
    main()
