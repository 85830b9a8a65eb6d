# SPDX-License-Identifier: Apache-2.0
"""`ros2 node`: which nodes run, and what each publishes, subscribes to and offers."""

import argparse
import sys

from ros2cli.arguments import add_graph_options, add_verb, add_verbs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verbs of `ros2 node`."""
    verbs = add_verbs(parser)

    verb = add_verb(verbs, 'info', print_info, 'Output information about a node')
    verb.add_argument('node_name', help='full name of the node, e.g. /talker')
    verb.add_argument('--include-hidden', action='store_true', help='hidden topics, services and actions as well')
    add_graph_options(verb)

    verb = add_verb(verbs, 'list', list_nodes, 'Output a list of available nodes')
    verb.add_argument('-a', '--all', action='store_true', help='display all nodes, even hidden ones')
    verb.add_argument('-c', '--count-nodes', action='store_true', help='only display the number of nodes')
    add_graph_options(verb)


def list_nodes(arguments: argparse.Namespace) -> None:
    """Prints full names, sorted."""
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        graph.discover()
        names = [node.full for node in graph.nodes(arguments.all)]
    if arguments.count_nodes:
        print(len(names))
        return
    if len(set(names)) < len(names):
        print(
            'WARNING: Be aware that there are nodes in the graph that share an exact name, '
            'which can have unintended side effects.',
            file=sys.stderr,
        )
    for name in names:
        print(name)


def print_info(arguments: argparse.Namespace) -> None:
    """Prints topics, services and actions of one node.

    Raises:
        CommandError: there is no such node.
    """
    from rclpy.action import (
        get_action_client_names_and_types_by_node,
        get_action_server_names_and_types_by_node,
    )
    from rclpy.node import NodeNameNonExistentError

    from ros2cli.errors import CommandError
    from ros2cli.graph import Graph

    hidden = arguments.include_hidden
    with Graph(arguments) as graph:
        node = graph.node
        found = graph.find_node(arguments.node_name, hidden)
        graph.discover()
        count = [other.full for other in graph.nodes(hidden)].count(found.full)
        if count > 1:
            print(
                f'There are {count} nodes in the graph with the exact name "{found.full}". '
                'You are seeing information about only one of them.',
                file=sys.stderr,
            )
        name, namespace = found
        try:
            sections = {
                'Subscribers': node.get_subscriber_names_and_types_by_node(name, namespace),
                'Publishers': node.get_publisher_names_and_types_by_node(name, namespace),
                'Service Servers': node.get_service_names_and_types_by_node(name, namespace),
                'Service Clients': node.get_client_names_and_types_by_node(name, namespace),
                'Action Servers': get_action_server_names_and_types_by_node(node, name, namespace),
                'Action Clients': get_action_client_names_and_types_by_node(node, name, namespace),
            }
        except NodeNameNonExistentError:
            raise CommandError(f"Node '{found.full}' ended while it was being looked at") from None
    print(found.full)
    for title, entries in sections.items():
        print(f'  {title}:')
        lines = [f'    {entry}: {", ".join(types)}' for entry, types in sorted(entries) if hidden or '/_' not in entry]
        print('\n'.join(lines))
