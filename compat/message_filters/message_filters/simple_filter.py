# SPDX-License-Identifier: Apache-2.0
"""The base of all filters: an output that calls back whoever registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SimpleFilter:
    """A filter's output.

    Attributes:
        callbacks: connection number -> (callback, arguments appended to the message).
    """

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., Any], *args: Any) -> int:
        """Have `cb(*messages, *args)` called on every output; returns the connection's number."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:
        """Pass `msg` (one message, or one of each synchronised input) to all callbacks in order of registration."""
        for callback, args in self.callbacks.values():
            callback(*msg, *args)
