# SPDX-License-Identifier: Apache-2.0
"""Both ways that messages are made and carried: rosbags' dataclasses always, rclpy's classes in a built workspace."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import pytest

from radio_visual_ssl.bags.messages import MessageTypes, RclpyTypes
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore


@dataclass(frozen=True)
class Wire:
    """Makes messages with ``types`` and takes them through serialisation and back with ``carry``."""

    name: str
    types: MessageTypes

    def carry(self, message: Any) -> Any:
        if self.name == 'rosbags':
            return typestore().deserialize_cdr(serialize(message), message.__msgtype__)
        from rclpy.serialization import deserialize_message, serialize_message

        return deserialize_message(serialize_message(message), type(message))


def require_rclpy() -> None:
    """Skip where no workspace is built and sourced."""
    for module in ('rclpy', 'radio_visual_ssl.msg'):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f'{module} not found: build the workspace and source env.sh')


@pytest.fixture
def rclpy_wire() -> Wire:
    require_rclpy()
    return Wire('rclpy', RclpyTypes())


@pytest.fixture(params=['rosbags', 'rclpy'])
def wire(request: pytest.FixtureRequest) -> Wire:
    if request.param == 'rclpy':
        require_rclpy()
        return Wire('rclpy', RclpyTypes())
    return Wire('rosbags', RosbagsTypes())
