# SPDX-License-Identifier: Apache-2.0
"""Names of nodes and namespaces: joining and checking them."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')
# Limits of rmw, which rclpy would raise later in the node.
_MAX_NAME_LENGTH = 255
_MAX_NAMESPACE_LENGTH = 245


def is_root_namespace(ns: str) -> bool:
    """Tell whether a namespace is '/'."""
    return ns == '/'


def is_namespace_absolute(ns: str) -> bool:
    """Tell whether a namespace begins with '/'."""
    return ns.startswith('/')


def make_namespace_absolute(ns: str | None) -> str | None:
    """Return a namespace with a '/' before it; None stays None."""
    return ns if ns is None or is_namespace_absolute(ns) else f'/{ns}'


def prefix_namespace(base_ns: str | None, ns: str | None) -> str | None:
    """Return a namespace below another one, unless it is absolute; either may be None."""
    if ns is None:
        joined = base_ns
    elif not base_ns or is_namespace_absolute(ns):
        joined = ns
    else:
        joined = f'{base_ns.rstrip("/")}/{ns}'
    if joined is None or is_root_namespace(joined):
        return joined
    return joined.rstrip('/')


def check_node_name(name: str) -> None:
    """Check the name of a node.

    Raises:
        ValueError: if it is not a letter or underscore followed by letters, digits and underscores.
    """
    if not _TOKEN.fullmatch(name) or len(name) > _MAX_NAME_LENGTH:
        raise ValueError(
            f"node name '{name}' is not valid, expected letters, digits and underscores, no digit first, "
            f'no more than {_MAX_NAME_LENGTH} of them'
        )


def check_namespace(namespace: str) -> None:
    """Check an absolute namespace.

    Raises:
        ValueError: if its parts are not such names as nodes may have.
    """
    parts = [] if is_root_namespace(namespace) else namespace.split('/')[1:]
    if not is_namespace_absolute(namespace) or len(namespace) > _MAX_NAMESPACE_LENGTH:
        raise ValueError(
            f"namespace '{namespace}' is not valid, expected '/' first and at most {_MAX_NAMESPACE_LENGTH} characters"
        )
    for part in parts:
        if not _TOKEN.fullmatch(part):
            raise ValueError(
                f"namespace '{namespace}' is not valid, expected letters, digits and underscores, no digit first, "
                f"between its slashes, got '{part}'"
            )
