# SPDX-License-Identifier: Apache-2.0
"""Both ways that messages are made and carried (rosbags' dataclasses, rclpy's classes), and a disk to fill."""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class SmallDisk:
    """A file system of 12 MB."""

    path: Path

    def fill(self) -> None:
        """Take all the space that is left."""
        with (self.path / 'other').open('wb', buffering=0) as file, pytest.raises(OSError, match='No space left'):
            while True:
                file.write(bytes(4096))

    def make_read_only(self) -> None:
        """Refuse all writing from now on."""
        subprocess.run(['mount', '-o', 'remount,ro', str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / 'disk'
    folder.mkdir()
    if shutil.which('mount') is None:
        pytest.skip('needs mount to make a small disk')
    command = ['mount', '-t', 'tmpfs', '-o', 'size=12m', 'none', str(folder)]
    mount = subprocess.run(command, capture_output=True, text=True, check=False)
    if mount.returncode:
        pytest.skip(f'needs the right to mount a small tmpfs: {mount.stderr.strip()}')
    yield SmallDisk(folder)
    subprocess.run(['umount', '--lazy', str(folder)], check=True)
