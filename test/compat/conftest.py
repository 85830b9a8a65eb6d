# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of its own for each test of the compat packages."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Graph:
    """A node, alone in a ROS domain unless the test starts others there."""

    node: Any
    executor: Any
    domain_id: int

    def spin_until(self, condition: Callable[[], Any], timeout_s: float = 15.0) -> bool:
        """Handle callbacks until the condition holds; tells whether it does."""
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.05)
        return bool(condition())


@pytest.fixture
def graph() -> Iterator[Graph]:
    rclpy = pytest.importorskip('rclpy')
    domain_coordinator = pytest.importorskip('domain_coordinator')
    from rclpy.executors import SingleThreadedExecutor

    with domain_coordinator.domain_id() as domain_id:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain_id)
        node = rclpy.create_node('compat_test', context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            yield Graph(node, executor, domain_id)
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.shutdown(context=context)
