# SPDX-License-Identifier: Apache-2.0
"""The base of everything that a launch description can hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .launch_context import LaunchContext


class LaunchDescriptionEntity:
    """An item of a launch description: described when introspected, visited when launched."""

    def describe(self) -> str:
        """Return a text for people.

        Raises:
            NotImplementedError: in this base class.
        """
        raise NotImplementedError(f'{type(self).__name__} does not define describe()')

    def describe_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """Return the entities that a visit always yields."""
        return []

    def describe_conditional_sub_entities(self) -> list[tuple[str, Iterable[LaunchDescriptionEntity]]]:
        """Return the entities that a visit yields on a condition, each list with its condition in words."""
        return []

    def visit(self, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        """Do what this entity is for, without blocking, and return entities to visit next."""
        return None

    def get_asyncio_future(self) -> asyncio.Future | None:
        """Return a future that ends with the work a visit began, or None where nothing goes on."""
        return None
