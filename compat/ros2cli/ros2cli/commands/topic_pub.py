# SPDX-License-Identifier: Apache-2.0
"""`ros2 topic pub`: publishes a message from the command line, once or at a rate."""

import argparse
import sys
import time

from rclpy.publisher import Publisher

from ros2cli.errors import CommandError
from ros2cli.graph import Graph
from ros2cli.messages import import_interface, message_from_yaml
from ros2cli.qos import qos_from_arguments

MATCH_SECONDS = 0.1


def publish(arguments: argparse.Namespace) -> None:
    """Publishes as the options say.

    Raises:
        CommandError: type or values do not fit, or the subscriptions waited for did not turn up.
    """
    times = 1 if arguments.once else arguments.times
    awaited = arguments.wait_matching_subscriptions
    if awaited is None:
        awaited = 1 if times else 0
    if awaited == 0 and arguments.max_wait_time_secs is not None:
        raise CommandError(
            '--max-wait-time-secs option is only effective with --wait-matching-subscriptions, --once or --times'
        )
    text = sys.stdin.read() if arguments.stdin else arguments.values
    message_type = import_interface(arguments.message_type, 'msg')
    message, stamp_setters = message_from_yaml(message_type, text)

    with Graph(arguments, arguments.node_name) as graph:
        topic = graph.full_name(arguments.topic_name)
        publisher = graph.node.create_publisher(message_type, topic, qos_from_arguments(arguments))
        if awaited:
            _await_subscriptions(graph, publisher, awaited, arguments.max_wait_time_secs)
            # the other side may learn of the match a moment later, and drop what comes before
            graph.spin(timeout=MATCH_SECONDS)
        print('publisher: beginning loop')
        count = 0
        start = time.monotonic()
        while True:
            stamp = graph.node.get_clock().now().to_msg()
            for set_stamp in stamp_setters:
                set_stamp(stamp)
            publisher.publish(message)
            count += 1
            if arguments.print and count % arguments.print == 0:
                print(f'publishing #{count}: {message!r}\n')
            if count == times:
                break
            due = start + count / arguments.rate
            graph.spin(lambda due=due: time.monotonic() >= due)
        # the last message needs a moment to reach the wire
        graph.spin(timeout=arguments.keep_alive)


def _await_subscriptions(graph: Graph, publisher: Publisher, count: int, limit: float | None) -> None:
    start = time.monotonic()
    while publisher.get_subscription_count() < count:
        print(f'Waiting for at least {count} matching subscription(s)...')
        remaining = 1.0 if limit is None else min(1.0, start + limit - time.monotonic())
        if remaining <= 0:
            raise CommandError(
                f'Timed out waiting for subscribers: Expected {count} subscribers '
                f'but only got {publisher.get_subscription_count()} subscribers'
            )
        graph.spin(lambda: publisher.get_subscription_count() >= count, remaining)
