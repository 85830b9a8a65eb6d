# SPDX-License-Identifier: Apache-2.0
"""Definitions of message types as a bag carries them, from the .msg files that are installed beside the types."""

import json
import re
from functools import cache
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_path

PRIMITIVES = frozenset(
    {
        *('bool', 'byte', 'char', 'float32', 'float64', 'string', 'wstring'),
        *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
    }
)

SEPARATOR = '=' * 80
"""Between a definition and those it depends on, as rosbag2 writes them."""


@cache
def message_definition(message_type: str) -> str | None:
    """Definition of a type with all that it contains, in the manner of rosbag2 (schema encoding ros2msg).

    Args:
        message_type: such as ``'sensor_msgs/msg/Image'``.

    Returns:
        The text; None where a .msg file of it is not installed.
    """
    texts: dict[str, str] = {}
    waiting = [message_type]
    while waiting:
        name = waiting.pop(0)
        if name in texts:
            continue
        path = _installed(name, '.msg')
        if path is None:
            return None
        texts[name] = path.read_text(encoding='utf-8')
        waiting += _contained(texts[name], name.partition('/')[0])
    first, *others = texts.items()
    parts = [first[1], *(f'{SEPARATOR}\nMSG: {name.replace("/msg/", "/")}\n{text}' for name, text in others)]
    return '\n'.join(part.rstrip('\n') for part in parts) + '\n'


@cache
def type_hash(message_type: str) -> str | None:
    """Hash (RIHS01) of the installed definition of a type; None where none is installed."""
    path = _installed(message_type, '.json')
    if path is None:
        return None
    hashes = json.loads(path.read_text(encoding='utf-8')).get('type_hashes', [])
    return next((entry['hash_string'] for entry in hashes if entry['type_name'] == message_type), None)


def _installed(message_type: str, suffix: str) -> Path | None:
    package, kind, name = message_type.split('/')
    try:
        path = get_package_share_path(package) / kind / f'{name}{suffix}'
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _contained(text: str, package: str) -> list[str]:
    """Message types of a definition's fields."""
    found = []
    for line in text.splitlines():
        field = re.match(r'\s*([A-Za-z]\w*(?:/\w+)*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*', line)
        if field is None or field[1] in PRIMITIVES:
            continue
        owner, _, name = field[1].rpartition('/')
        found.append(f'{owner.partition("/")[0] or package}/msg/{name}')
    return found
