# SPDX-License-Identifier: Apache-2.0
"""`ros2 topic echo`: prints what arrives on a topic."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import yaml
from rclpy.event_handler import QoSMessageLostInfo, SubscriptionEventCallbacks, UnsupportedEventTypeError

from ros2cli.errors import CommandError
from ros2cli.graph import Graph, only_type
from ros2cli.messages import TextStyle, import_interface, message_to_csv, message_to_yaml
from ros2cli.qos import is_qos_given, match_publishers, preset, qos_from_arguments

# A topic is announced publisher by publisher; the QoS must suit them all.
PUBLISHERS_QUIET_SECONDS = 0.3


def echo(arguments: argparse.Namespace) -> int | None:
    """Prints messages until Ctrl-C, the first one (--once) or the time limit (--timeout).

    Returns:
        Exit code 1 when --once met the time limit, else None.

    Raises:
        CommandError: the topic, its type, or a field of it is unknown.
    """
    with Graph(arguments) as graph:
        topic = graph.full_name(arguments.topic_name)
        message_type = _message_type(graph, topic, arguments.message_type)
        printer = _Printer(arguments)
        _subscribe(graph, topic, message_type, printer, arguments)
        complete = graph.spin(lambda: printer.done, arguments.timeout)
    return None if complete or not arguments.once else 1


def discover_message_type(graph: Graph, topic: str) -> Any:
    """Class of the messages on a topic of the graph.

    Raises:
        CommandError: nobody is on the topic, it has several types, or its type is not installed.
    """
    types = graph.find_topic(topic)
    if not types:
        raise CommandError(
            f'WARNING: topic [{topic}] does not appear to be published yet: '
            'Could not determine the type for the passed topic'
        )
    return import_interface(only_type(types, f"topic '{topic}'"), 'msg')


def await_publishers(graph: Graph, topic: str) -> None:
    """Waits a moment for a first publisher of a topic, then until no more turn up."""
    if graph.spin(lambda: graph.node.count_publishers(topic) > 0, graph.spin_time):
        graph.discover(quiet=PUBLISHERS_QUIET_SECONDS)


def compile_filter(expression: str | None) -> Callable[[Any], bool]:
    """Turns an expression over the message `m` into a function.

    Raises:
        CommandError: it is no Python expression.
    """
    if expression is None:
        return lambda _: True
    try:
        code = compile(expression, '--filter', 'eval')
    except SyntaxError as error:
        raise CommandError(f'--filter {expression!r} is not a Python expression: {error.msg}') from None

    def accepts(message: Any) -> bool:
        try:
            return bool(eval(code, {'m': message}))
        except Exception as error:
            raise CommandError(f'--filter {expression!r} failed: {type(error).__name__}: {error}') from None

    return accepts


def _message_type(graph: Graph, topic: str, named: str | None) -> Any:
    if named is not None:
        return import_interface(named, 'msg')
    return discover_message_type(graph, topic)


def _subscribe(graph: Graph, topic: str, message_type: Any, printer: '_Printer', arguments: argparse.Namespace) -> None:
    if is_qos_given(arguments):
        qos = qos_from_arguments(arguments)
    else:
        await_publishers(graph, topic)
        qos = match_publishers(graph.node, topic, preset(arguments.qos_profile))
    events = None if arguments.no_lost_messages else SubscriptionEventCallbacks(message_lost=_report_lost)
    try:
        graph.node.create_subscription(message_type, topic, printer, qos, event_callbacks=events, raw=arguments.raw)
    except UnsupportedEventTypeError:
        graph.node.create_subscription(message_type, topic, printer, qos, raw=arguments.raw)


def _report_lost(status: QoSMessageLostInfo) -> None:
    print(
        f'A message was lost!!!\n\ttotal count change:{status.total_count_change}\n\ttotal count: {status.total_count}',
        file=sys.stderr,
    )


class _Printer:
    """Subscription callback that prints what the options ask for."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.done = False
        self._once = arguments.once
        self._csv = arguments.csv
        self._with_info = arguments.include_message_info
        self._flow_style = arguments.flow_style
        self._style = TextStyle(
            None if arguments.full_length else arguments.truncate_length, arguments.no_arr, arguments.no_str
        )
        self._accepts = compile_filter(arguments.filter_expr)
        self._field = arguments.field
        self._path = [part for part in (arguments.field or '').split('.') if part]
        if arguments.field is not None and not self._path:
            raise CommandError(f"Invalid field value '{arguments.field}'")

    def __call__(self, message: Any, info: dict[str, Any]) -> None:
        if self.done:
            return
        value = self._select(message)
        if not self._accepts(value):
            return
        self.done = self._once
        if not hasattr(value, 'SLOT_TYPES'):
            if self._with_info:
                print(f'---Got new message, message info:---\n{info}\n---Message data:---')
            print(value, end='\n---\n')
        elif self._csv:
            stamps = [str(stamp) for stamp in info.values()] if self._with_info else []
            print(','.join([*stamps, message_to_csv(value, self._style)]))
        else:
            if self._with_info:
                print(yaml.dump(info), end='---\n')
            print(message_to_yaml(value, self._style, self._flow_style), end='---\n')

    def _select(self, message: Any) -> Any:
        value = message
        for name in self._path:
            fields = value.get_fields_and_field_types() if hasattr(value, 'SLOT_TYPES') else {}
            if name not in fields:
                known = ', '.join(fields) or 'none'
                raise CommandError(
                    f"Invalid field '{self._field}': no '{name}' in {type(value).__name__}; fields: {known}"
                )
            value = getattr(value, name)
        return value
