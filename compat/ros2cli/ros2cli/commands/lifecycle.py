# SPDX-License-Identifier: Apache-2.0
"""`ros2 lifecycle`: states and transitions of managed nodes."""

import argparse
from typing import TYPE_CHECKING

from ros2cli.arguments import add_graph_options, add_verb, add_verbs
from ros2cli.errors import CommandError

if TYPE_CHECKING:
    from lifecycle_msgs.msg import TransitionDescription

    from ros2cli.graph import Graph


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verbs of `ros2 lifecycle`."""
    verbs = add_verbs(parser)

    verb = add_verb(verbs, 'get', print_states, 'Get lifecycle state for one or more nodes')
    verb.add_argument('node_name', nargs='?', help='only this node')
    _add_options(verb)

    verb = add_verb(verbs, 'list', list_transitions, 'Output a list of available transitions')
    verb.add_argument('node_name', help='name of the node')
    verb.add_argument('-a', '--all', action='store_true', help='display all existing transitions')
    _add_options(verb)

    verb = add_verb(verbs, 'nodes', list_nodes, 'Output a list of nodes with lifecycle')
    verb.add_argument('-a', '--all', action='store_true', help='display all nodes, even hidden ones')
    verb.add_argument('-c', '--count-nodes', action='store_true', help='only display the number of nodes')
    add_graph_options(verb)

    verb = add_verb(verbs, 'set', set_state, 'Trigger lifecycle state transition')
    verb.add_argument('node_name', help='name of the node')
    verb.add_argument('transition', help='label or number of the transition, e.g. configure')
    _add_options(verb)


def _add_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument('--include-hidden-nodes', action='store_true', help='consider hidden nodes as well')
    add_graph_options(verb)


def list_nodes(arguments: argparse.Namespace) -> None:
    """Prints the full names of the managed nodes."""
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        graph.discover()
        names = _managed_nodes(graph, arguments.all)
    if arguments.count_nodes:
        print(len(names))
    else:
        for name in names:
            print(name)


def print_states(arguments: argparse.Namespace) -> None:
    """Prints `label [number]` of one node, or `node: label [number]` of all.

    Raises:
        CommandError: there is no such managed node, or it does not answer.
    """
    from lifecycle_msgs.srv import GetState

    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        if arguments.node_name:
            names = [_find_managed_node(graph, arguments)]
        else:
            graph.discover()
            names = _managed_nodes(graph, arguments.include_hidden_nodes)
        for name in names:
            state = graph.query(GetState, f'{name}/get_state', GetState.Request()).current_state
            prefix = '' if arguments.node_name else f'{name}: '
            print(f'{prefix}{state.label} [{state.id}]')


def list_transitions(arguments: argparse.Namespace) -> None:
    """Prints each transition with its start and goal state.

    Raises:
        CommandError: there is no such managed node, or it does not answer.
    """
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        name = _find_managed_node(graph, arguments)
        descriptions = _transitions(
            graph, name, 'get_transition_graph' if arguments.all else 'get_available_transitions'
        )
    for description in descriptions:
        transition = description.transition
        print(f'- {transition.label} [{transition.id}]')
        print(f'\tStart: {description.start_state.label}\n\tGoal: {description.goal_state.label}')


def set_state(arguments: argparse.Namespace) -> None:
    """Triggers one transition and waits for its end.

    Raises:
        CommandError: node or transition is unknown, or the transition fails.
    """
    from lifecycle_msgs.srv import ChangeState

    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        name = _find_managed_node(graph, arguments)
        available = [description.transition for description in _transitions(graph, name, 'get_available_transitions')]
        # labels first: nothing keeps a label from looking like a number
        asked = [t for t in available if t.label == arguments.transition]
        asked += [t for t in available if str(t.id) == arguments.transition]
        if not asked:
            offered = ''.join(f'\n- {transition.label} [{transition.id}]' for transition in available)
            raise CommandError(f'Unknown transition requested, available ones are:{offered}')
        client = graph.client(ChangeState, f'{name}/change_state')
        response = graph.call(client, ChangeState.Request(transition=asked[0]))
    if not response.success:
        raise CommandError('Transitioning failed')
    print('Transitioning successful')


def _transitions(graph: 'Graph', node_name: str, service: str) -> 'list[TransitionDescription]':
    from lifecycle_msgs.srv import GetAvailableTransitions

    request = GetAvailableTransitions.Request()
    return graph.query(GetAvailableTransitions, f'{node_name}/{service}', request).available_transitions


def _managed_nodes(graph: 'Graph', include_hidden: bool) -> list[str]:
    services = dict(graph.services(include_hidden=True))
    return [
        node.full
        for node in graph.nodes(include_hidden)
        if 'lifecycle_msgs/srv/GetState' in services.get(f'{node.full}/get_state', ())
    ]


def _find_managed_node(graph: 'Graph', arguments: argparse.Namespace) -> str:
    hidden = arguments.include_hidden_nodes
    name = graph.find_node(arguments.node_name, hidden).full
    if not graph.discover(lambda: name in _managed_nodes(graph, hidden)):
        present = ', '.join(_managed_nodes(graph, hidden)) or 'none'
        raise CommandError(f"Node not found: '{name}' has no lifecycle; nodes that have one: {present}")
    return name
