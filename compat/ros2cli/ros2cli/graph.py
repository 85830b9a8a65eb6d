# SPDX-License-Identifier: Apache-2.0
"""A node for the length of one command: waits for discovery, looks names up, calls services."""

import argparse
import os
import signal
import time
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any, NamedTuple

import rclpy
from rclpy.client import Client
from rclpy.exceptions import InvalidServiceNameException, InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.expand_topic_name import expand_topic_name
from rclpy.parameter import Parameter
from rclpy.topic_or_service_is_hidden import topic_or_service_is_hidden
from rclpy.validate_full_topic_name import validate_full_topic_name

from ros2cli.errors import CommandError

POLL_SECONDS = 0.05
# A process may miss the answer to its first call; the others announce themselves each 3 s, with the suite's Fast DDS
# profile each 0.5 s. So in spin times: the least before a name counts as unknown or the graph as empty, and the most
# where something changes all the time.
LEAST_SEARCH = 3.5
LONGEST_DISCOVERY = 6.0
QUERY_SECONDS = 10.0


class NodeName(NamedTuple):
    """A node of the graph."""

    name: str
    namespace: str

    @property
    def full(self) -> str:
        """Namespace and name, e.g. `/radar/heatmap_node`."""
        return f'{self.namespace.rstrip("/")}/{self.name}'


def absolute_name(node_name: str) -> str:
    """Node name with its leading slash."""
    return node_name if node_name.startswith('/') else f'/{node_name}'


class Graph:
    """Context manager around a hidden node with its own executor.

    Attributes:
        node: the rclpy node; it ends with the context.
        spin_time: seconds without news that count as "discovered".
    """

    def __init__(self, arguments: argparse.Namespace, node_name: str | None = None) -> None:
        """Takes what `arguments.add_graph_options` declared, and a name for the node (default: a hidden one)."""
        self.spin_time: float = arguments.spin_time
        self._use_sim_time: bool = arguments.use_sim_time
        self._node_name = node_name or f'_ros2cli_{os.getpid()}'

    def __enter__(self) -> 'Graph':
        rclpy.init(args=[])
        try:
            self.node = rclpy.create_node(
                self._node_name,
                start_parameter_services=False,
                parameter_overrides=[
                    Parameter('use_sim_time', value=self._use_sim_time),
                    Parameter('start_type_description_service', value=False),
                ],
            )
        except Exception as error:
            if not rclpy.ok():
                raise SystemExit(int(signal.SIGTERM)) from None
            rclpy.try_shutdown()
            raise CommandError(f"a node '{self._node_name}' cannot be made: {error}") from error
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # SIGTERM makes rclpy shut down under our feet: whatever failed then is no error of its own
        is_terminated = isinstance(error, Exception) and not rclpy.ok()
        self._executor.shutdown(timeout_sec=0)
        self.node.destroy_node()
        rclpy.try_shutdown()
        if is_terminated:
            raise SystemExit(int(signal.SIGTERM)) from None

    def spin_once(self, timeout: float = POLL_SECONDS) -> None:
        """Serves one callback, or waits `timeout` seconds for one."""
        self._executor.spin_once(timeout_sec=timeout)

    def spin(self, until: Callable[[], bool] = lambda: False, timeout: float | None = None) -> bool:
        """Serves callbacks until `until()` holds or `timeout` seconds (None: no limit) are over; says which."""
        end = None if timeout is None else time.monotonic() + timeout
        while not until():
            if end is not None and time.monotonic() >= end:
                return False
            self.spin_once()
        return True

    def discover(self, until: Callable[[], bool] | None = None, quiet: float | None = None) -> bool:
        """Waits until `until()` holds, or nothing new was discovered for a while.

        Args:
            until: what is looked for; it is given more time than a look around. None looks around.
            quiet: seconds without news after which the graph counts as discovered (default: --spin-time).

        Returns:
            What `until()` said last; False without it.
        """
        quiet = self.spin_time if quiet is None else quiet
        start = changed = time.monotonic()
        seen: Hashable = None
        while until is None or not until():
            now = time.monotonic()
            current = self._fingerprint()
            if current != seen:
                seen, changed = current, now
            is_search = until is not None or len(self.nodes()) == 0
            least = LEAST_SEARCH * quiet if is_search else 0.0
            if now - start >= max(least, min(changed - start + quiet, LONGEST_DISCOVERY * quiet)):
                return False
            self.spin_once()
        return True

    def _fingerprint(self) -> Hashable:
        names = self.node.get_topic_names_and_types() + self.node.get_service_names_and_types()
        topics = tuple((name, tuple(types), self.node.count_publishers(name)) for name, types in names)
        return topics, tuple(sorted(self.node.get_node_names_and_namespaces()))

    def nodes(self, include_hidden: bool = False) -> list[NodeName]:
        """Nodes known so far, sorted by full name."""
        names = (NodeName(name, namespace) for name, namespace in self.node.get_node_names_and_namespaces())
        return sorted(
            (node for node in names if include_hidden or not node.name.startswith('_')), key=lambda node: node.full
        )

    def find_node(self, name: str, include_hidden: bool = False, timeout: float | None = None) -> NodeName:
        """Waits for a node to be discovered.

        Args:
            name: full name; a missing leading slash is added.
            include_hidden: whether hidden nodes count.
            timeout: seconds to wait for it at least; None waits for discovery alone.

        Raises:
            CommandError: there is no such node.
        """
        full = absolute_name(name)

        def found() -> list[NodeName]:
            return [node for node in self.nodes(include_hidden) if node.full == full]

        start = time.monotonic()
        is_there = self.discover(lambda: bool(found()))
        if not is_there and timeout is not None:
            is_there = self.spin(lambda: bool(found()), start + timeout - time.monotonic())
        if not is_there:
            names = ', '.join(node.full for node in self.nodes(include_hidden)) or 'none'
            raise CommandError(f"Node not found: '{full}'; nodes present: {names}")
        return found()[0]

    def topics(self, include_hidden: bool = False) -> list[tuple[str, list[str]]]:
        """Topics known so far with their types, sorted."""
        return _visible(self.node.get_topic_names_and_types(), include_hidden)

    def services(self, include_hidden: bool = False) -> list[tuple[str, list[str]]]:
        """Services known so far with their types, sorted."""
        return _visible(self.node.get_service_names_and_types(), include_hidden)

    def find_topic(self, name: str) -> list[str]:
        """Types of a topic, waiting for its discovery; empty if nobody publishes or subscribes to it.

        Raises:
            CommandError: it is no valid topic name.
        """
        full = self.full_name(name)
        self.discover(lambda: full in dict(self.topics(include_hidden=True)))
        return dict(self.topics(include_hidden=True)).get(full, [])

    def find_service(self, name: str) -> list[str]:
        """Types of a service, waiting for its discovery; empty if nobody offers it.

        Raises:
            CommandError: it is no valid service name.
        """
        full = self.full_name(name, is_service=True)
        self.discover(lambda: full in dict(self.services(include_hidden=True)))
        return dict(self.services(include_hidden=True)).get(full, [])

    def full_name(self, name: str, is_service: bool = False) -> str:
        """Name of a topic or service from the root namespace.

        Raises:
            CommandError: it is no valid name.
        """
        try:
            full = expand_topic_name(name, self.node.get_name(), self.node.get_namespace())
            validate_full_topic_name(full, is_service=is_service)
        except (ValueError, InvalidTopicNameException, InvalidServiceNameException) as error:
            reason = ' '.join(str(error).split())
            raise CommandError(
                f"'{name}' is not a valid {'service' if is_service else 'topic'} name: {reason}"
            ) from None
        return full

    def client(self, service_type: Any, name: str, timeout: float = 5.0) -> Client:
        """Client of a service that has been seen to be there.

        Raises:
            CommandError: it does not show up within `timeout` seconds.
        """
        client = self.node.create_client(service_type, name)
        if not self.spin(client.service_is_ready, timeout):
            raise CommandError(f"Service '{name}' is not there (waited {timeout:g} s); does its node still run?")
        return client

    def call(self, client: Client, request: Any, timeout: float | None = None) -> Any:
        """Calls a service and returns its response.

        Args:
            client: the client.
            request: the request message.
            timeout: longest wait in seconds; None waits as long as somebody offers the service.

        Raises:
            CommandError: the server went away, did not answer in time, or the response could not be read.
        """
        future = client.call_async(request)
        # discovery may blink: one missing look is not yet a dead server
        end = None if timeout is None else time.monotonic() + timeout
        missing_since: float | None = None
        while not future.done():
            self.spin_once()
            now = time.monotonic()
            missing_since = None if client.service_is_ready() else (missing_since or now)
            if missing_since is not None and now - missing_since > 1.0:
                raise CommandError(f"Service '{client.srv_name}' went away before it answered")
            if end is not None and now > end:
                raise CommandError(f"Service '{client.srv_name}' did not answer within {timeout:g} s")
        if future.exception() is not None:
            raise CommandError(f"Exception while calling service '{client.srv_name}': {future.exception()}")
        return future.result()

    def query(self, service_type: Any, name: str, request: Any) -> Any:
        """Asks a service that answers at once; see `client` and `call` for what it raises."""
        client = self.client(service_type, name)
        try:
            return self.call(client, request, QUERY_SECONDS)
        finally:
            self.node.destroy_client(client)


def only_type(types: list[str], what: str) -> str:
    """The type of a topic or service that was found.

    Raises:
        CommandError: it has several types.
    """
    if len(types) > 1:
        raise CommandError(f'{what} has more than one type: {", ".join(types)}; name the one you mean')
    return types[0]


def _visible(names_and_types: list[tuple[str, list[str]]], include_hidden: bool) -> list[tuple[str, list[str]]]:
    return sorted(
        (name, types) for name, types in names_and_types if include_hidden or not topic_or_service_is_hidden(name)
    )
