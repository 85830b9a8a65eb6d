# SPDX-License-Identifier: Apache-2.0
"""`ros2 service`: which services there are, and calls to them."""

import argparse
import sys
import time

from ros2cli.arguments import add_graph_options, add_hidden_option, add_verb, add_verbs, positive_float
from ros2cli.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verbs of `ros2 service`."""
    parser.add_argument('--include-hidden-services', action='store_true', help='consider hidden services as well')
    verbs = add_verbs(parser)

    verb = add_verb(verbs, 'call', call, 'Call a service')
    verb.add_argument('service_name', help='name of the service, e.g. /add_two_ints')
    verb.add_argument('service_type', help='type of the service, e.g. std_srvs/srv/Empty')
    group = verb.add_mutually_exclusive_group()
    group.add_argument('values', nargs='?', default='{}', help="YAML of the request, e.g. '{a: 1, b: 2}'")
    group.add_argument('--stdin', action='store_true', help='read the YAML from standard input')
    verb.add_argument('-r', '--rate', type=positive_float, metavar='HZ', help='repeat the call at this rate')
    add_graph_options(verb)

    verb = add_verb(verbs, 'find', find_services, 'Output a list of available services of a given type')
    verb.add_argument('service_type', help='type to look for, e.g. std_srvs/srv/Empty')
    _add_list_options(verb)

    verb = add_verb(verbs, 'list', list_services, 'Output a list of available services')
    verb.add_argument('-t', '--show-types', action='store_true', help='additionally show the service type')
    _add_list_options(verb)

    verb = add_verb(verbs, 'type', print_type, "Output a service's type")
    verb.add_argument('service_name', help='name of the service')
    add_hidden_option(verb, '--include-hidden-services', 'services')
    add_graph_options(verb)


def _add_list_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument('-c', '--count-services', action='store_true', help='only display the number of services')
    add_hidden_option(verb, '--include-hidden-services', 'services')
    add_graph_options(verb)


def list_services(arguments: argparse.Namespace) -> None:
    """Prints service names, with types or only their number on demand."""
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        graph.discover()
        services = graph.services(arguments.include_hidden_services)
    if arguments.count_services:
        print(len(services))
    else:
        for name, types in services:
            print(f'{name} [{", ".join(types)}]' if arguments.show_types else name)


def find_services(arguments: argparse.Namespace) -> None:
    """Prints the services of one type."""
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        graph.discover()
        services = graph.services(arguments.include_hidden_services)
    names = [name for name, types in services if arguments.service_type in types]
    if arguments.count_services:
        print(len(names))
    else:
        for name in names:
            print(name)


def print_type(arguments: argparse.Namespace) -> None:
    """Prints the types of one service.

    Raises:
        CommandError: there is no such service.
    """
    from ros2cli.graph import Graph

    with Graph(arguments) as graph:
        types = graph.find_service(arguments.service_name)
    if not types:
        raise CommandError(f"Unknown service '{arguments.service_name}'")
    for name in types:
        print(name)


def call(arguments: argparse.Namespace) -> None:
    """Calls a service once, or at a rate until Ctrl-C, waiting for it to appear.

    Raises:
        CommandError: type or values do not fit, or the server went away.
    """
    from ros2cli.graph import Graph
    from ros2cli.messages import import_interface, message_from_yaml

    text = sys.stdin.read() if arguments.stdin else arguments.values
    service_type = import_interface(arguments.service_type, 'srv')
    request, stamp_setters = message_from_yaml(service_type.Request, text)
    with Graph(arguments) as graph:
        name = graph.full_name(arguments.service_name, is_service=True)
        client = graph.node.create_client(service_type, name)
        if not graph.discover(client.service_is_ready):
            print('waiting for service to become available...')
            graph.spin(client.service_is_ready)
        while True:
            start = time.monotonic()
            stamp = graph.node.get_clock().now().to_msg()
            for set_stamp in stamp_setters:
                set_stamp(stamp)
            print(f'requester: making request: {request!r}\n')
            print(f'response:\n{graph.call(client, request)!r}\n')
            if arguments.rate is None:
                return
            due = start + 1 / arguments.rate
            graph.spin(lambda due=due: time.monotonic() >= due)
