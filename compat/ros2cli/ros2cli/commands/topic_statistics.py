# SPDX-License-Identifier: Apache-2.0
"""`ros2 topic hz`, `bw` and `delay`: a line of statistics each second."""

import argparse
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.serialization import deserialize_message

from ros2cli.commands.topic_echo import await_publishers, compile_filter, discover_message_type
from ros2cli.errors import CommandError
from ros2cli.graph import Graph
from ros2cli.qos import match_publishers, preset

PRINT_SECONDS = 1.0
NANOSECOND = 1e-9

Receiver = Callable[[Any], None]


def print_rate(arguments: argparse.Namespace) -> None:
    """Prints rate and spread of the times between messages until Ctrl-C.

    Raises:
        CommandError: the filter is no expression, or the topic's type is unknown.
    """
    accepts = compile_filter(arguments.filter_expr)
    periods: deque[float] = deque(maxlen=arguments.window)
    last: int | None = None
    with Graph(arguments) as graph:
        clock = Clock(clock_type=ClockType.SYSTEM_TIME) if arguments.wall_time else graph.node.get_clock()

        def receive(message: Any) -> None:
            nonlocal last
            now = clock.now().nanoseconds
            if not accepts(message):
                return
            if last is not None and now < last:
                print('time has reset, resetting counters', file=sys.stderr)
                periods.clear()
            elif last is not None:
                periods.append((now - last) * NANOSECOND)
            last = now

        def describe() -> str | None:
            mean = float(np.mean(periods)) if periods else 0.0
            return f'average rate: {1 / mean:.3f}\n{_spread(periods)}' if mean > 0 else None

        # nobody looks into the messages without a filter: bytes are cheaper
        _watch(graph, arguments.topic_name, lambda *_: receive, describe, raw=arguments.filter_expr is None)


def print_bandwidth(arguments: argparse.Namespace) -> None:
    """Prints bytes per second and message sizes until Ctrl-C.

    Raises:
        CommandError: the topic's type is unknown.
    """
    received: deque[tuple[float, int]] = deque(maxlen=arguments.window)

    def receive(message: bytes) -> None:
        received.append((time.monotonic(), len(message)))

    def describe() -> str | None:
        if len(received) < 2:
            return None
        sizes = [size for _, size in received]
        rate = sum(sizes) / (time.monotonic() - received[0][0])
        unit, scale, digits = ('B', 1, 0) if rate < 1e3 else ('KB', 1e3, 2) if rate < 1e6 else ('MB', 1e6, 2)
        values = (rate, np.mean(sizes), min(sizes), max(sizes))
        bandwidth, mean, least, most = (f'{value / scale:.{digits}f} {unit}' for value in values)
        return f'{bandwidth}/s from {len(sizes)} messages\n\tMessage size mean: {mean} min: {least} max: {most}'

    with Graph(arguments) as graph:
        _watch(graph, arguments.topic_name, lambda *_: receive, describe)


def print_delay(arguments: argparse.Namespace) -> None:
    """Prints how long after its header's stamp a message arrives until Ctrl-C.

    Raises:
        CommandError: the messages have no header, or the topic's type is unknown.
    """
    delays: deque[float] = deque(maxlen=arguments.window)
    with Graph(arguments) as graph:
        clock = graph.node.get_clock()

        def receiver(message_type: Any, topic: str) -> Receiver:
            read_stamp = _stamp_reader(message_type, topic)
            return lambda data: delays.append((clock.now().nanoseconds - read_stamp(data)) * NANOSECOND)

        def describe() -> str | None:
            return f'average delay: {np.mean(delays):.3f}\n{_spread(delays)}' if delays else None

        _watch(graph, arguments.topic_name, receiver, describe)


def _stamp_reader(message_type: Any, topic: str) -> Callable[[bytes], int]:
    """Function that gives the header's stamp, in nanoseconds, of a serialized message."""
    fields = list(message_type.get_fields_and_field_types().items())
    if ('header', 'std_msgs/Header') not in fields:
        raise CommandError(f"msg does not have header: {message_type.__name__} on '{topic}' carries no stamp")

    def read_first(data: bytes) -> int:
        # CDR: four bytes of encapsulation, whose second says the byte order, then the first field
        seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
        return seconds * 10**9 + nanoseconds

    def read(data: bytes) -> int:
        stamp = deserialize_message(data, message_type).header.stamp
        return stamp.sec * 10**9 + stamp.nanosec

    return read_first if fields[0][0] == 'header' else read


def _spread(values: deque[float]) -> str:
    deviation = np.std(values)
    return f'\tmin: {min(values):.3f}s max: {max(values):.3f}s std dev: {deviation:.5f}s window: {len(values)}'


def _watch(
    graph: Graph,
    topic_name: str,
    receiver: Callable[[Any, str], Receiver],
    describe: Callable[[], str | None],
    raw: bool = True,
) -> None:
    """Subscribes with `receiver(type, topic)` and prints `describe()` each second in which something came."""
    topic = graph.full_name(topic_name)
    if not graph.find_topic(topic):
        print(f'WARNING: topic [{topic}] does not appear to be published yet', file=sys.stderr)
        while not graph.find_topic(topic):
            graph.spin_once()
    message_type = discover_message_type(graph, topic)
    await_publishers(graph, topic)
    qos = match_publishers(graph.node, topic, preset('sensor_data'))
    receive = receiver(message_type, topic)
    count = 0

    def callback(message: Any) -> None:
        nonlocal count
        count += 1
        receive(message)

    graph.node.create_subscription(message_type, topic, callback, qos, raw=raw)
    printed = 0
    while True:
        graph.spin(timeout=PRINT_SECONDS)
        text = describe() if count > printed else None
        if text is not None:
            print(text)
            printed = count
