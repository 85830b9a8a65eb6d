# SPDX-License-Identifier: Apache-2.0
"""Matchers for nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..actions import Node

__all__ = ['matches_node_name']


def matches_node_name(node_name: str) -> Callable[[Node], bool]:
    """Return a matcher for the node with a full name."""
    if not node_name.startswith('/'):
        node_name = f'/{node_name}'
    return lambda action: action.node_name == node_name
