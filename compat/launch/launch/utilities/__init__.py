# SPDX-License-Identifier: Apache-2.0
"""What actions and substitutions are written with: normal forms of their arguments, performing, visiting."""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
from collections.abc import Iterable
from typing import Any

from ..launch_context import LaunchContext
from ..launch_description_entity import LaunchDescriptionEntity
from ..some_entities_type import SomeEntitiesType
from ..some_substitutions_type import SomeSubstitutionsType
from ..substitution import Substitution, TextSubstitution

__all__ = [
    'ensure_argument_type',
    'is_a',
    'is_a_subclass',
    'isclassinstance',
    'normalize_to_list_of_entities',
    'normalize_to_list_of_substitutions',
    'perform_substitutions',
    'visit_all_entities_and_collect_futures',
]


def isclassinstance(obj: Any) -> bool:
    """Tell whether an object is an instance of a class."""
    return hasattr(obj, '__class__')


def is_a(obj: Any, entity_type: type) -> bool:
    """Tell whether an object is an instance of a class."""
    return isinstance(obj, entity_type)


def is_a_subclass(obj: Any, entity_type: type) -> bool:
    """Tell whether an object is an instance of a class, or a class derived from it."""
    return isinstance(obj, entity_type) or (inspect.isclass(obj) and issubclass(obj, entity_type))


def ensure_argument_type(
    argument: Any, types: type | Iterable[type], argument_name: str, caller: str | None = None
) -> None:
    """Check the type of an argument.

    Raises:
        TypeError: naming the argument, what was expected and what was given.
    """
    expected = tuple(types) if isinstance(types, collections.abc.Iterable) else (types,)
    if not isinstance(argument, expected):
        names = ', '.join(str(type_) for type_ in expected)
        where = f'{caller}: e' if caller else 'E'
        raise TypeError(
            f"{where}xpected '{argument_name}' to be one of [{names}], but got {argument!r} of type {type(argument)}"
        )


def normalize_to_list_of_entities(entities: Iterable[SomeEntitiesType]) -> list[LaunchDescriptionEntity]:
    """Return entities and lists of entities as one flat list."""
    flat: list[LaunchDescriptionEntity] = []
    for entity in entities:
        if isinstance(entity, LaunchDescriptionEntity):
            flat.append(entity)
        else:
            flat.extend(entity)
    return flat


def normalize_to_list_of_substitutions(subs: SomeSubstitutionsType) -> list[Substitution]:
    """Return a text, a substitution or several of both as a list of substitutions.

    Raises:
        TypeError: if any of them is something else.
    """
    if isinstance(subs, str | Substitution):
        subs = [subs]
    elif not isinstance(subs, collections.abc.Iterable):
        raise TypeError(f'expected a str, a Substitution or several of both, got {subs!r} of type {type(subs)}')
    normal: list[Substitution] = []
    for item in subs:
        if isinstance(item, Substitution):
            normal.append(item)
        elif isinstance(item, str):
            normal.append(TextSubstitution(text=item))
        else:
            raise TypeError(f'expected a str or a Substitution, got {item!r} of type {type(item)}')
    return normal


def perform_substitutions(context: LaunchContext, subs: Iterable[Substitution]) -> str:
    """Return the joined texts of substitutions."""
    return ''.join(context.perform_substitution(sub) for sub in subs)


def visit_all_entities_and_collect_futures(
    entity: LaunchDescriptionEntity,
    context: LaunchContext,
    collected: list[tuple[LaunchDescriptionEntity, asyncio.Future]] | None = None,
) -> list[tuple[LaunchDescriptionEntity, asyncio.Future]]:
    """Visit an entity and all that follow from it, depth first.

    Args:
        entity: to visit first.
        context: of the launch.
        collected: the list that takes the futures, so that none is lost when a later entity raises.

    Returns:
        Each entity with work in progress and the future that ends with it.
    """
    if collected is None:
        collected = []
    sub_entities = entity.visit(context)
    future = entity.get_asyncio_future()
    if future is not None:
        collected.append((entity, future))
    for sub_entity in sub_entities or ():
        visit_all_entities_and_collect_futures(sub_entity, context, collected)
    return collected
