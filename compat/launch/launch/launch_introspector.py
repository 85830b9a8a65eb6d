# SPDX-License-Identifier: Apache-2.0
"""A printable outline of a launch description."""

from __future__ import annotations

from collections.abc import Iterable

from .actions import EmitEvent, ExecuteProcess, LogInfo, RegisterEventHandler
from .launch_description import LaunchDescription
from .launch_description_entity import LaunchDescriptionEntity
from .substitution import Substitution


def _text(substitutions: Iterable[Substitution]) -> str:
    return ' + '.join(substitution.describe() for substitution in substitutions)


def _title(entity: LaunchDescriptionEntity) -> str:
    if isinstance(entity, LogInfo):
        return f'LogInfo({_text(entity.msg)})'
    if isinstance(entity, EmitEvent):
        return f"EmitEvent(event='{entity.event.name}')"
    if isinstance(entity, ExecuteProcess):
        return f'ExecuteProcess(cmd=[{", ".join(_text(part) for part in entity.process_description.cmd)}])'
    if isinstance(entity, RegisterEventHandler):
        return f'RegisterEventHandler({entity.event_handler.describe()[0]})'
    return f"{type(entity).__name__}('{entity}')"


def _children(entity: LaunchDescriptionEntity) -> list[LaunchDescriptionEntity]:
    children = list(entity.describe_sub_entities())
    for _, conditional in entity.describe_conditional_sub_entities():
        children.extend(conditional)
    return children


def _outline(entities: list[LaunchDescriptionEntity], indent: str = '') -> list[str]:
    lines = []
    for number, entity in enumerate(entities, start=1):
        last = number == len(entities)
        lines.append(f'{indent}{"└── " if last else "├── "}{_title(entity)}')
        lines.extend(_outline(_children(entity), indent + ('    ' if last else '│   ')))
    return lines


class LaunchIntrospector:
    """Describes launch descriptions without launching them."""

    def format_launch_description(self, launch_description: LaunchDescription) -> str:
        """Return the outline of a launch description as a tree."""
        return '\n'.join([str(launch_description), *_outline(launch_description.entities)])
