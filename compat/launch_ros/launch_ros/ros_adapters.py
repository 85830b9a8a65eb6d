# SPDX-License-Identifier: Apache-2.0
"""The node that a launch itself runs, to talk to the nodes that it has launched."""

from __future__ import annotations

import os
import threading

import rclpy
from launch.event_handlers import OnShutdown
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from launch import LaunchContext


class ROSAdapter:
    """A node in a thread of its own.

    Args:
        argv: arguments for `rclpy.init()`.
        autostart: start at once.
    """

    def __init__(self, *, argv: list[str] | None = None, autostart: bool = True) -> None:
        self._argv = argv or []
        self._context: rclpy.Context | None = None
        self._node: Node | None = None
        self._executor: SingleThreadedExecutor | None = None
        self._thread: threading.Thread | None = None
        if autostart:
            self.start()

    @property
    def argv(self) -> list[str]:
        """Arguments for `rclpy.init()`."""
        return self._argv

    @property
    def ros_context(self) -> rclpy.Context | None:
        """The context of the node."""
        return self._context

    @property
    def ros_node(self) -> Node | None:
        """The node."""
        return self._node

    @property
    def ros_executor(self) -> SingleThreadedExecutor | None:
        """The executor of the node."""
        return self._executor

    def start(self) -> None:
        """Start the node.

        Raises:
            RuntimeError: if it runs already.
        """
        if self._thread is not None:
            raise RuntimeError('Cannot start a ROS adapter that is already running')
        self._context = rclpy.Context()
        rclpy.init(args=self._argv, context=self._context)
        self._node = rclpy.create_node(f'launch_ros_{os.getpid()}', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='launch_ros', daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def shutdown(self) -> None:
        """Stop the node.

        Raises:
            RuntimeError: if it does not run.
        """
        if self._thread is None:
            raise RuntimeError('Cannot shutdown a ROS adapter that is not running')
        self._executor.shutdown()
        self._thread.join()
        self._thread = None
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


def get_ros_adapter(context: LaunchContext) -> ROSAdapter:
    """Return the adapter of a launch, which ends with it; the first call makes it."""
    adapter = context.get_locals_as_dict().get('ros_adapter')
    if adapter is None:
        adapter = ROSAdapter()
        context.extend_globals({'ros_adapter': adapter})

        def stop(*_: object) -> None:
            adapter.shutdown()

        context.register_event_handler(OnShutdown(on_shutdown=stop, handle_once=True))
    return adapter


def get_ros_node(context: LaunchContext) -> Node:
    """Return the node of a launch."""
    return get_ros_adapter(context).ros_node
