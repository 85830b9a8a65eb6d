# SPDX-License-Identifier: Apache-2.0
"""`ros2 param`: parameters of running nodes."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ros2cli.arguments import add_graph_options, add_verb, add_verbs, non_negative_float
from ros2cli.errors import CommandError

if TYPE_CHECKING:
    from rcl_interfaces.msg import ParameterDescriptor, ParameterValue

    from ros2cli.graph import Graph

TYPE_NAMES = (
    'not set',
    'boolean',
    'integer',
    'double',
    'string',
    'byte array',
    'boolean array',
    'integer array',
    'double array',
    'string array',
)
"""By the numbers of rcl_interfaces/msg/ParameterType."""

_LABELS = (
    'Parameter not set.',
    'Boolean value is:',
    'Integer value is:',
    'Double value is:',
    'String value is:',
    'Byte values are:',
    'Boolean values are:',
    'Integer values are:',
    'Double values are:',
    'String values are:',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verbs of `ros2 param`."""
    verbs = add_verbs(parser)

    verb = _add_node_verb(verbs, 'delete', delete, 'Delete parameter')
    verb.add_argument('parameter_name', help='name of the parameter')

    verb = _add_node_verb(verbs, 'describe', describe, 'Show descriptive information about declared parameters')
    verb.add_argument('parameter_names', nargs='+', help='names of the parameters')

    _add_node_verb(verbs, 'dump', dump, 'Show all of the parameters of a node in a YAML file format')

    verb = _add_node_verb(verbs, 'get', get, 'Get parameter')
    verb.add_argument('parameter_name', help='name of the parameter')
    verb.add_argument('--hide-type', action='store_true', help='hide the type information')

    verb = add_verb(verbs, 'list', list_parameters, 'Output a list of available parameters')
    verb.add_argument('node_name', nargs='?', help='only those of this node')
    verb.add_argument('--filter', metavar='REGEX', help='only parameters whose name matches')
    verb.add_argument('--param-prefixes', nargs='+', default=[], metavar='PREFIX', help='only below these prefixes')
    verb.add_argument('--param-type', action='store_true', help='print parameter types with parameter names')
    verb.add_argument('--include-hidden-nodes', action='store_true', help='consider hidden nodes as well')
    add_graph_options(verb)

    verb = _add_node_verb(verbs, 'load', load, 'Load parameter file for a node')
    verb.add_argument('parameter_file', type=Path, help='YAML file as `ros2 param dump` writes it')
    verb.add_argument('--no-use-wildcard', action='store_true', help="leave out what the file says under '/**'")

    verb = _add_node_verb(verbs, 'set', set_value, 'Set parameter')
    verb.add_argument('parameter_name', help='name of the parameter')
    verb.add_argument('value', help='value in YAML, e.g. 2.0 or [1, 2]')


def _add_node_verb(verbs: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    verb = add_verb(verbs, name, run, summary)
    verb.add_argument('node_name', help='full name of the node')
    verb.add_argument('--include-hidden-nodes', action='store_true', help='consider hidden nodes as well')
    verb.add_argument(
        '--timeout', type=non_negative_float, metavar='S', help='wait at least S seconds for the node to appear'
    )
    add_graph_options(verb)
    return verb


def list_parameters(arguments: argparse.Namespace) -> int:
    """Prints parameter names, grouped by node unless one is named; nodes that do not answer are reported on stderr.

    Returns:
        1 if a node did not answer, else 0.

    Raises:
        CommandError: the node named does not exist or answer, or the filter is no regular expression.
    """
    import sys

    from ros2cli.graph import Graph

    try:
        pattern = re.compile(arguments.filter or '')
    except re.error as error:
        raise CommandError(f"--filter '{arguments.filter}' is not a regular expression: {error}") from None
    exit_code = 0
    with Graph(arguments) as graph:
        if arguments.node_name:
            nodes = [graph.find_node(arguments.node_name, arguments.include_hidden_nodes)]
        else:
            graph.discover()
            services = dict(graph.services(include_hidden=True))
            nodes = [
                node
                for node in graph.nodes(arguments.include_hidden_nodes)
                if f'{node.full}/list_parameters' in services
            ]
        for node in nodes:
            try:
                names = [name for name in _names(graph, node.full, arguments.param_prefixes) if pattern.match(name)]
                descriptors = _descriptors(graph, node.full, names) if arguments.param_type and names else []
            except CommandError as error:
                print(error, file=sys.stderr)
                exit_code = 1
                continue
            if not arguments.node_name and names:
                print(f'{node.full}:')
            types = {descriptor.name: f' (type: {TYPE_NAMES[descriptor.type]})' for descriptor in descriptors}
            for name in names:
                print(f'  {name}{types.get(name, "")}')
    return exit_code


def get(arguments: argparse.Namespace) -> None:
    """Prints type and value of one parameter.

    Raises:
        CommandError: node or parameter does not exist.
    """
    from rclpy.parameter import parameter_value_to_python

    with _node_graph(arguments) as graph:
        node = _find(graph, arguments)
        values = _values(graph, node, [arguments.parameter_name])
        # rclpy answers with "not set" for undeclared names, rclcpp with nothing
        is_set = bool(values) and (values[0].type != 0 or arguments.parameter_name in _names(graph, node, []))
    if not is_set:
        raise CommandError(f"Parameter not set: node '{node}' has no parameter '{arguments.parameter_name}'")
    value = parameter_value_to_python(values[0])
    label = _LABELS[values[0].type]
    if arguments.hide_type:
        print(value)
    else:
        print(label if value is None else f'{label} {value}')


def set_value(arguments: argparse.Namespace) -> None:
    """Sets one parameter.

    Raises:
        CommandError: the node does not exist, or refuses the value.
    """
    from rcl_interfaces.msg import Parameter

    with _node_graph(arguments) as graph:
        parameter = Parameter(name=arguments.parameter_name, value=_value_from_text(arguments.value))
        result = _set(graph, _find(graph, arguments), [parameter])[0]
    _print_result(result, 'Set parameter successful', 'Setting parameter failed')


def delete(arguments: argparse.Namespace) -> None:
    """Undeclares one parameter.

    Raises:
        CommandError: the node does not exist, or keeps the parameter.
    """
    from rcl_interfaces.msg import Parameter

    with _node_graph(arguments) as graph:
        result = _set(graph, _find(graph, arguments), [Parameter(name=arguments.parameter_name)])[0]
    _print_result(result, 'Deleted parameter successfully', 'Deleting parameter failed')


def describe(arguments: argparse.Namespace) -> None:
    """Prints type, description and constraints of parameters.

    Raises:
        CommandError: the node does not exist or does not know one of the parameters.
    """
    with _node_graph(arguments) as graph:
        node = _find(graph, arguments)
        unknown = set(arguments.parameter_names) - set(_names(graph, node, []))
        if unknown:
            raise CommandError(f"Parameter not set: node '{node}' has no parameter '{min(unknown)}'")
        descriptors = _descriptors(graph, node, arguments.parameter_names)
    for descriptor in descriptors:
        print(f'Parameter name: {descriptor.name}')
        print(f'  Type: {TYPE_NAMES[descriptor.type]}')
        if descriptor.description:
            print(f'  Description: {descriptor.description}')
        print('  Constraints:')
        if descriptor.read_only:
            print('    Read only: true')
        for limits in [*descriptor.floating_point_range, *descriptor.integer_range][:1]:
            print(f'    Min value: {limits.from_value}\n    Max value: {limits.to_value}')
            if limits.step:
                print(f'    Step: {limits.step}')
        if descriptor.additional_constraints:
            print(f'    Additional constraints: {descriptor.additional_constraints}')


def dump(arguments: argparse.Namespace) -> None:
    """Prints all parameters as a parameter file, which `ros2 param load` and nodes read.

    Raises:
        CommandError: the node does not exist or does not answer.
    """
    from rclpy.parameter import parameter_value_to_python

    with _node_graph(arguments) as graph:
        node = _find(graph, arguments)
        names = _names(graph, node, [])
        values = _values(graph, node, names) if names else []
    tree: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        *groups, leaf = name.split('.')
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[leaf] = parameter_value_to_python(value)
    print(yaml.safe_dump({node: {'ros__parameters': tree}}, default_flow_style=False, allow_unicode=True))


def load(arguments: argparse.Namespace) -> int:
    """Sets the parameters that a file has for the node, one by one.

    Returns:
        1 if the node refused one of them, else 0.

    Raises:
        CommandError: the file is no parameter file or has nothing for the node, or the node does not exist.
    """
    import sys

    with _node_graph(arguments) as graph:
        node = _find(graph, arguments)
        parameters = _parameters_from_file(arguments.parameter_file, node, not arguments.no_use_wildcard)
        results = _set(graph, node, parameters)
    failed = 0
    for parameter, result in zip(parameters, results, strict=True):
        reason = f': {result.reason}' if result.reason else ''
        if result.successful:
            print(f'Set parameter {parameter.name} successful{reason}')
        else:
            failed = 1
            print(f'Set parameter {parameter.name} failed{reason}', file=sys.stderr)
    return failed


def _node_graph(arguments: argparse.Namespace) -> 'Graph':
    from ros2cli.graph import Graph

    return Graph(arguments)


def _find(graph: 'Graph', arguments: argparse.Namespace) -> str:
    return graph.find_node(arguments.node_name, arguments.include_hidden_nodes, arguments.timeout).full


def _names(graph: 'Graph', node: str, prefixes: Sequence[str]) -> list[str]:
    from rcl_interfaces.srv import ListParameters

    request = ListParameters.Request(prefixes=list(prefixes))
    return sorted(graph.query(ListParameters, f'{node}/list_parameters', request).result.names)


def _values(graph: 'Graph', node: str, names: Sequence[str]) -> 'list[ParameterValue]':
    from rcl_interfaces.srv import GetParameters

    return graph.query(GetParameters, f'{node}/get_parameters', GetParameters.Request(names=list(names))).values


def _descriptors(graph: 'Graph', node: str, names: Sequence[str]) -> 'list[ParameterDescriptor]':
    from rcl_interfaces.srv import DescribeParameters

    request = DescribeParameters.Request(names=list(names))
    return graph.query(DescribeParameters, f'{node}/describe_parameters', request).descriptors


def _set(graph: 'Graph', node: str, parameters: Sequence[Any]) -> list[Any]:
    from rcl_interfaces.srv import SetParameters

    client = graph.client(SetParameters, f'{node}/set_parameters')
    return graph.call(client, SetParameters.Request(parameters=list(parameters))).results


def _print_result(result: Any, success: str, failure: str) -> None:
    reason = f': {result.reason}' if result.reason else ''
    if not result.successful:
        raise CommandError(failure + reason)
    print(success + reason)


def _value_from_text(text: str) -> 'ParameterValue':
    """Parameter value of what was typed: YAML where that gives a parameter's type, else the text itself."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    try:
        return _parameter_value(text if value is None else value)
    except TypeError:
        return _parameter_value(text)


def _parameter_value(value: Any) -> 'ParameterValue':
    """Parameter value of a Python value.

    Raises:
        TypeError: no parameter type holds it.
    """
    from rclpy.parameter import Parameter

    if isinstance(value, list) and {type(item) for item in value} == {int, float}:
        value = [float(item) for item in value]
    kind = Parameter.Type.INTEGER_ARRAY if value == [] else Parameter.Type.from_parameter_value(value)
    return Parameter('', kind, value).get_parameter_value()


def _parameters_from_file(path: Path, node: str, use_wildcard: bool) -> list[Any]:
    from rcl_interfaces.msg import Parameter

    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise CommandError(f'{path} cannot be read: {error.strerror}') from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f'{path} is not YAML: {" ".join(str(error).split())}') from None
    if not isinstance(document, dict):
        raise CommandError(
            f'{path} is not a parameter file: expected node names at the top, got {str(document)[:40]!r}'
        )
    name = node.rsplit('/', 1)[1]
    # later ones win, so what is said for the very node comes last
    keys = [*(('/**', f'/**/{name}') if use_wildcard else ()), node, node.lstrip('/')]
    merged: dict[str, Any] = {}
    for key in (key for key in keys if key in document):
        section = document[key]
        if not isinstance(section, dict) or not isinstance(section.get('ros__parameters'), dict):
            raise CommandError(f"{path}: '{key}' needs a mapping 'ros__parameters', got {section!r}")
        merged.update(_flatten(section['ros__parameters']))
    if not merged:
        raise CommandError(f"{path} has no parameters for node '{node}'; it has: {', '.join(map(str, document))}")
    parameters = []
    for parameter, value in merged.items():
        try:
            parameters.append(Parameter(name=parameter, value=_parameter_value(value)))
        except TypeError:
            raise CommandError(f"{path}: '{parameter}' has a value that no parameter can hold: {value!r}") from None
    return parameters


def _flatten(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f'{prefix}{name}.'))
        else:
            flat[f'{prefix}{name}'] = value
    return flat
