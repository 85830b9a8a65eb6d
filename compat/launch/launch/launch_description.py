# SPDX-License-Identifier: Apache-2.0
"""The description of a system to launch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .action import Action
from .launch_context import LaunchContext
from .launch_description_entity import LaunchDescriptionEntity
from .logging import get_logger

if TYPE_CHECKING:
    from .actions import DeclareLaunchArgument, IncludeLaunchDescription


class LaunchDescription(LaunchDescriptionEntity):
    """Entities to visit one after the other.

    Args:
        initial_entities: the entities.
        deprecated_reason: why the description should not be used any more, and what to use.
    """

    def __init__(
        self,
        initial_entities: Iterable[LaunchDescriptionEntity] | None = None,
        *,
        deprecated_reason: str | None = None,
    ) -> None:
        self._entities = list(initial_entities or ())
        self._deprecated_reason = deprecated_reason

    @property
    def entities(self) -> list[LaunchDescriptionEntity]:
        """The entities."""
        return self._entities

    @property
    def deprecated(self) -> bool:
        """Whether the description should not be used any more."""
        return self._deprecated_reason is not None

    @property
    def deprecated_reason(self) -> str | None:
        """Why not."""
        return self._deprecated_reason

    def add_entity(self, entity: LaunchDescriptionEntity) -> None:
        """Add an entity after the others."""
        self._entities.append(entity)

    def add_action(self, action: Action) -> None:
        """Add an action after the other entities."""
        self.add_entity(action)

    def visit(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """Return the entities."""
        if self._deprecated_reason is not None:
            path = context.get_locals_as_dict().get('current_launch_file_path')
            what = 'deprecated launch description' if path is None else f'launch file [{path}] is deprecated'
            get_logger('launch').warning(f'{what}: {self._deprecated_reason}')
        return self._entities

    def describe_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """Return the entities."""
        return self._entities

    def get_launch_arguments(self, conditional_inclusion: bool = False) -> list[DeclareLaunchArgument]:
        """Return the arguments that can be given, see the method below."""
        found = self.get_launch_arguments_with_include_launch_description_actions(conditional_inclusion)
        return [argument for argument, _ in found]

    def get_launch_arguments_with_include_launch_description_actions(
        self, conditional_inclusion: bool = False
    ) -> list[tuple[DeclareLaunchArgument, list[IncludeLaunchDescription] | None]]:
        """Return the arguments that can be given, as far as that can be known without launching.

        Args:
            conditional_inclusion: this description is visited on a condition only.

        Returns:
            Each argument's first declaration, with the includes that lead to it (None for this description's own).
        """
        from .actions import DeclareLaunchArgument, IncludeLaunchDescription, ResetLaunchConfigurations

        found: dict[str, tuple[DeclareLaunchArgument, list[IncludeLaunchDescription] | None]] = {}

        def search(
            entities: Iterable[LaunchDescriptionEntity],
            conditional: bool,
            includes: list[IncludeLaunchDescription] | None,
        ) -> None:
            for entity in entities:
                if isinstance(entity, ResetLaunchConfigurations):
                    return  # Nothing given from outside reaches what comes after it.
                if isinstance(entity, DeclareLaunchArgument) and entity.name not in found:
                    entity._conditionally_included = conditional or entity.condition is not None
                    found[entity.name] = (entity, includes)
                inner = includes
                if isinstance(entity, IncludeLaunchDescription):
                    # What an include sets lasts for its later neighbours, so the list is shared with them.
                    inner = [] if includes is None else includes
                    inner.append(entity)
                search(entity.describe_sub_entities(), conditional, inner)
                for _, conditional_entities in entity.describe_conditional_sub_entities():
                    search(conditional_entities, True, inner)

        search(self._entities, conditional_inclusion, None)
        return list(found.values())
