# SPDX-License-Identifier: Apache-2.0
"""`ros2 topic`: which topics there are, who is on them; echo, pub and statistics have modules of their own."""

import argparse

from ros2cli.arguments import (
    add_graph_options,
    add_hidden_option,
    add_verb,
    add_verbs,
    non_negative_int,
    positive_float,
    positive_int,
)
from ros2cli.errors import CommandError
from ros2cli.qos import add_qos_options

TRUNCATE_LENGTH = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verbs of `ros2 topic`."""
    parser.add_argument('--include-hidden-topics', action='store_true', help='consider hidden topics as well')
    verbs = add_verbs(parser)

    verb = add_verb(verbs, 'bw', _bw, 'Display bandwidth used by topic')
    _add_topic(verb)
    _add_window(verb, 100)

    verb = add_verb(verbs, 'delay', _delay, 'Display delay of topic from timestamp in header')
    _add_topic(verb)
    _add_window(verb, 10000)

    _add_echo(add_verb(verbs, 'echo', _echo, 'Output messages from a topic'))

    verb = add_verb(verbs, 'find', find_topics, 'Output a list of available topics of a given type')
    verb.add_argument('topic_type', help='type to look for, e.g. std_msgs/msg/String')
    _add_list_options(verb)

    verb = add_verb(verbs, 'hz', _hz, 'Print the average publishing rate to screen')
    _add_topic(verb)
    _add_window(verb, 10000)
    verb.add_argument('--filter', dest='filter_expr', metavar='EXPR', help='count messages m for which EXPR holds')
    verb.add_argument('--wall-time', action='store_true', help='use wall time even with --use-sim-time')

    verb = add_verb(verbs, 'info', print_info, 'Print information about a topic')
    _add_topic(verb)
    verb.add_argument('-v', '--verbose', action='store_true', help='show node, type hash, GID and QoS of each endpoint')

    verb = add_verb(verbs, 'list', list_topics, 'Output a list of available topics')
    _add_list_options(verb)
    verb.add_argument('-t', '--show-types', action='store_true', help='additionally show the topic type')
    verb.add_argument('-v', '--verbose', action='store_true', help='list publishers and subscribers of each topic')

    _add_pub(add_verb(verbs, 'pub', _pub, 'Publish a message to a topic'))

    verb = add_verb(verbs, 'type', print_type, "Print a topic's type")
    _add_topic(verb)


def _add_topic(verb: argparse.ArgumentParser) -> None:
    verb.add_argument('topic_name', help='name of the topic, e.g. /chatter')
    add_hidden_option(verb, '--include-hidden-topics', 'topics')
    add_graph_options(verb)


def _add_window(verb: argparse.ArgumentParser, default: int) -> None:
    verb.add_argument(
        '-w',
        '--window',
        type=positive_int,
        default=default,
        metavar='N',
        help='longest window in messages (default: %(default)s)',
    )


def _add_list_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument('-c', '--count-topics', action='store_true', help='only display the number of topics')
    add_hidden_option(verb, '--include-hidden-topics', 'topics')
    add_graph_options(verb)


def _add_echo(verb: argparse.ArgumentParser) -> None:
    _add_topic(verb)
    verb.add_argument('message_type', nargs='?', help='type of the message, e.g. std_msgs/msg/String')
    add_qos_options(verb, 'sensor_data')
    verb.add_argument('--csv', action='store_true', help='one line for each message, values separated by commas')
    verb.add_argument('--field', help='echo one field, e.g. pose.pose.position')
    verb.add_argument('-f', '--full-length', action='store_true', help='write arrays and strings of any length in full')
    verb.add_argument(
        '-l',
        '--truncate-length',
        type=non_negative_int,
        default=TRUNCATE_LENGTH,
        metavar='N',
        help='longest array or string written in full (default: %(default)s)',
    )
    verb.add_argument('--no-arr', action='store_true', help="don't print arrays, only their type and length")
    verb.add_argument('--no-str', action='store_true', help="don't print strings, only their length")
    verb.add_argument('--flow-style', action='store_true', help='print YAML collections in one line')
    verb.add_argument('--no-lost-messages', action='store_true', help="don't report lost messages")
    verb.add_argument('--raw', action='store_true', help='echo the serialized bytes')
    verb.add_argument('--filter', dest='filter_expr', metavar='EXPR', help='print messages m for which EXPR holds')
    verb.add_argument('--once', action='store_true', help='print the first message and exit')
    verb.add_argument('--timeout', type=positive_float, metavar='S', help='exit after S seconds')
    verb.add_argument('-i', '--include-message-info', action='store_true', help='show time stamps of the transport')


def _add_pub(verb: argparse.ArgumentParser) -> None:
    verb.add_argument('topic_name', help='name of the topic, e.g. /chatter')
    verb.add_argument('message_type', help='type of the message, e.g. std_msgs/msg/String')
    group = verb.add_mutually_exclusive_group()
    group.add_argument('values', nargs='?', default='{}', help="YAML of the message, e.g. 'data: Hello World'")
    group.add_argument('--stdin', action='store_true', help='read the YAML from standard input')
    verb.add_argument('-r', '--rate', type=positive_float, default=1.0, metavar='HZ', help='rate (default: 1)')
    verb.add_argument(
        '-p', '--print', type=non_negative_int, default=1, metavar='N', help='print every N-th message (default: 1)'
    )
    group = verb.add_mutually_exclusive_group()
    group.add_argument('-1', '--once', action='store_true', help='publish one message and exit')
    group.add_argument(
        '-t', '--times', type=non_negative_int, default=0, metavar='N', help='publish N messages and exit'
    )
    verb.add_argument(
        '-w',
        '--wait-matching-subscriptions',
        type=non_negative_int,
        metavar='N',
        help='wait for N subscriptions first (default: 1 with --once or --times, else 0)',
    )
    verb.add_argument('--max-wait-time-secs', type=positive_float, metavar='S', help='give up waiting after S seconds')
    verb.add_argument(
        '--keep-alive', type=positive_float, default=0.1, metavar='S', help='stay S seconds after the last message'
    )
    verb.add_argument('-n', '--node-name', help='name of the publishing node')
    add_qos_options(verb, 'default')
    add_graph_options(verb)


def _echo(arguments: argparse.Namespace) -> int | None:
    from ros2cli.commands.topic_echo import echo

    return echo(arguments)


def _pub(arguments: argparse.Namespace) -> None:
    from ros2cli.commands.topic_pub import publish

    publish(arguments)


def _hz(arguments: argparse.Namespace) -> None:
    from ros2cli.commands.topic_statistics import print_rate

    print_rate(arguments)


def _bw(arguments: argparse.Namespace) -> None:
    from ros2cli.commands.topic_statistics import print_bandwidth

    print_bandwidth(arguments)


def _delay(arguments: argparse.Namespace) -> None:
    from ros2cli.commands.topic_statistics import print_delay

    print_delay(arguments)


def list_topics(arguments: argparse.Namespace) -> None:
    """Prints topic names, with types, endpoints or only their number on demand."""
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        graph.discover()
        topics = graph.topics(arguments.include_hidden_topics)
        publishers = {name: graph.node.count_publishers(name) for name, _ in topics}
        subscribers = {name: graph.node.count_subscribers(name) for name, _ in topics}
    if arguments.count_topics:
        print(len(topics))
    elif arguments.verbose:
        for title, noun, counts in (('Published', 'publisher', publishers), ('Subscribed', 'subscriber', subscribers)):
            print(f'{title} topics:')
            for name, types in topics:
                if counts[name]:
                    print(f' * {name} [{", ".join(types)}] {counts[name]} {noun}{"s" if counts[name] > 1 else ""}')
            print()
    else:
        for name, types in topics:
            print(f'{name} [{", ".join(types)}]' if arguments.show_types else name)


def find_topics(arguments: argparse.Namespace) -> None:
    """Prints the topics of one type."""
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        graph.discover()
        names = [name for name, types in graph.topics(arguments.include_hidden_topics) if arguments.topic_type in types]
    if arguments.count_topics:
        print(len(names))
    else:
        for name in names:
            print(name)


def print_type(arguments: argparse.Namespace) -> None:
    """Prints the types of one topic.

    Raises:
        CommandError: there is no such topic.
    """
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        types = graph.find_topic(arguments.topic_name)
    if not types:
        raise CommandError(f"Unknown topic '{arguments.topic_name}'")
    for name in types:
        print(name)


def print_info(arguments: argparse.Namespace) -> None:
    """Prints type, publishers and subscriptions of one topic.

    Raises:
        CommandError: there is no such topic.
    """
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        name = graph.full_name(arguments.topic_name)
        graph.discover()
        types = graph.find_topic(name)
        if not types:
            raise CommandError(f"Unknown topic '{arguments.topic_name}'")
        publishers = graph.node.get_publishers_info_by_topic(name)
        subscriptions = graph.node.get_subscriptions_info_by_topic(name)
    end = '\n\n' if arguments.verbose else '\n'
    print(f'Type: {types[0] if len(types) == 1 else types}', end=end)
    for title, endpoints in (('Publisher', publishers), ('Subscription', subscriptions)):
        print(f'{title} count: {len(endpoints)}', end=end)
        if arguments.verbose:
            for endpoint in endpoints:
                print(endpoint, end=end)
