# SPDX-License-Identifier: Apache-2.0
"""What to visit next: groups, included launch files, functions, and a log message on the way."""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..action import Action
from ..event_handlers import OnShutdown
from ..launch_context import LaunchContext
from ..launch_description_entity import LaunchDescriptionEntity
from ..launch_description_source import LaunchDescriptionSource
from ..launch_description_sources import AnyLaunchDescriptionSource
from ..logging import get_logger
from ..some_substitutions_type import SomeSubstitutionsType
from ..substitution import Substitution
from ..utilities import ensure_argument_type, normalize_to_list_of_substitutions, perform_substitutions
from .arguments import (
    PopLaunchConfigurations,
    PushLaunchConfigurations,
    ResetLaunchConfigurations,
    SetLaunchConfiguration,
)
from .environment import PopEnvironment, PushEnvironment, ResetEnvironment


class LogInfo(Action):
    """Logs a message."""

    def __init__(self, *, msg: SomeSubstitutionsType, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._msg = normalize_to_list_of_substitutions(msg)

    @property
    def msg(self) -> list[Substitution]:
        """The message."""
        return self._msg

    def execute(self, context: LaunchContext) -> None:
        """Log it."""
        get_logger('launch.user').info(perform_substitutions(context, self._msg))


class OpaqueFunction(Action):
    """Calls a function `(context, *args, **kwargs)` and visits the entities that it returns, if any."""

    def __init__(
        self,
        *,
        function: Callable[..., list[LaunchDescriptionEntity] | None],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        **left_over_kwargs: Any,
    ) -> None:
        super().__init__(**left_over_kwargs)
        if not callable(function):
            raise TypeError(f"OpaqueFunction expected a callable for 'function', got '{type(function)}'")
        ensure_argument_type(args, (collections.abc.Iterable, type(None)), 'args', 'OpaqueFunction')
        ensure_argument_type(kwargs, (dict, type(None)), 'kwargs', 'OpaqueFunction')
        self._function = function
        self._args = list(args or ())
        self._kwargs = kwargs or {}

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        """Call the function."""
        return self._function(context, *self._args, **self._kwargs)


class OpaqueCoroutine(Action):
    """Runs a coroutine function `(context, *args, **kwargs)`; a shutdown cancels it.

    Args:
        coroutine: the coroutine function.
        args: positional arguments after the context.
        kwargs: keyword arguments.
        ignore_context: do not pass the context.
        left_over_kwargs: for `Action`.
    """

    def __init__(
        self,
        *,
        coroutine: Callable[..., Awaitable[None]],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        ignore_context: bool = False,
        **left_over_kwargs: Any,
    ) -> None:
        super().__init__(**left_over_kwargs)
        if not inspect.iscoroutinefunction(coroutine):
            raise TypeError(f"OpaqueCoroutine expected a coroutine function for 'coroutine', got '{type(coroutine)}'")
        ensure_argument_type(args, (collections.abc.Iterable, type(None)), 'args', 'OpaqueCoroutine')
        ensure_argument_type(kwargs, (dict, type(None)), 'kwargs', 'OpaqueCoroutine')
        ensure_argument_type(ignore_context, bool, 'ignore_context', 'OpaqueCoroutine')
        self._coroutine = coroutine
        self._args = list(args or ())
        self._kwargs = kwargs or {}
        self._ignore_context = ignore_context
        self._future: asyncio.Future | None = None

    def execute(self, context: LaunchContext) -> None:
        """Begin to run it."""
        args = self._args if self._ignore_context else [context, *self._args]
        self._future = context.asyncio_loop.create_task(self._coroutine(*args, **self._kwargs))
        context.register_event_handler(OnShutdown(on_shutdown=self._cancel))

    def _cancel(self, *_: Any) -> None:
        self._future.cancel()

    def get_asyncio_future(self) -> asyncio.Future | None:
        """Return the future that ends with the coroutine."""
        return self._future


class GroupAction(Action):
    """Visits several actions, by default in a scope of their own.

    Args:
        actions: to visit.
        scoped: launch configurations and environment variables that they set do not outlast the group.
        forwarding: those from outside are seen inside; else the group begins with the environment of the launch's
            beginning and no launch configurations but `launch_configurations`.
        launch_configurations: to set before.
        left_over_kwargs: for `Action`.
    """

    def __init__(
        self,
        actions: Iterable[Action],
        *,
        scoped: bool = True,
        forwarding: bool = True,
        launch_configurations: Mapping[SomeSubstitutionsType, SomeSubstitutionsType] | None = None,
        **left_over_kwargs: Any,
    ) -> None:
        super().__init__(**left_over_kwargs)
        self._actions = list(actions)
        self._scoped = scoped
        self._forwarding = forwarding
        self._launch_configurations = dict(launch_configurations or {})
        self._sub_entities: list[LaunchDescriptionEntity] | None = None

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """Return the actions, between those that open and close the scope."""
        if self._sub_entities is None:
            settings = [SetLaunchConfiguration(name, value) for name, value in self._launch_configurations.items()]
            if not self._scoped:
                self._sub_entities = [*settings, *self._actions]
            else:
                if not self._forwarding:
                    settings = [ResetEnvironment(), ResetLaunchConfigurations(self._launch_configurations)]
                opening = [PushLaunchConfigurations(), PushEnvironment()]
                closing = [PopEnvironment(), PopLaunchConfigurations()]
                self._sub_entities = [*opening, *settings, *self._actions, *closing]
        return self._sub_entities

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """Return the actions, between those that open and close the scope."""
        return self.get_sub_entities()


class IncludeLaunchDescription(Action):
    """Visits another launch description, usually a launch file.

    Args:
        launch_description_source: where it comes from; a path may be given as text or substitutions.
        launch_arguments: name and value of its arguments. They are set as launch configurations, also for what is
            visited afterwards, unless this action stands in a scoped group.
        kwargs: for `Action`.
    """

    def __init__(
        self,
        launch_description_source: LaunchDescriptionSource | SomeSubstitutionsType,
        *,
        launch_arguments: Iterable[tuple[SomeSubstitutionsType, SomeSubstitutionsType]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(launch_description_source, LaunchDescriptionSource):
            launch_description_source = AnyLaunchDescriptionSource(launch_description_source)
        self._source = launch_description_source
        self._launch_arguments = tuple(launch_arguments or ())

    @property
    def launch_description_source(self) -> LaunchDescriptionSource:
        """Where the launch description comes from."""
        return self._source

    @property
    def launch_arguments(self) -> tuple[tuple[SomeSubstitutionsType, SomeSubstitutionsType], ...]:
        """Name and value of its arguments."""
        return self._launch_arguments

    def get_sub_entities(self) -> list[LaunchDescriptionEntity]:
        """Return the launch description, if it can be loaded without launching."""
        description = self._source.try_get_launch_description_without_context()
        return [] if description is None else [description]

    def _argument_names(self, context: LaunchContext) -> list[str]:
        normalize = normalize_to_list_of_substitutions
        return [perform_substitutions(context, normalize(name)) for name, _ in self._launch_arguments]

    def _check_arguments(self, description: LaunchDescriptionEntity, context: LaunchContext) -> None:
        given = self._argument_names(context)
        for argument, includes in description.get_launch_arguments_with_include_launch_description_actions():
            if argument._conditionally_included or argument.default_value is not None:
                continue
            known = given + [name for include in includes or () for name in include._argument_names(context)]
            if argument.name not in known:
                raise RuntimeError(
                    f"Included launch description missing required argument '{argument.name}' "
                    f"(description: '{argument.description}'), given: [{', '.join(given)}]"
                )

    def execute(self, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        """Load the launch description and return it after its arguments.

        Raises:
            RuntimeError: if an argument without default value is not given.
        """
        description = self._source.get_launch_description(context)
        path = Path(os.path.abspath(self._source.location))  # noqa: PTH100 (Path.absolute() keeps '..')
        # A launch description that was made by a script has no file: its location is passed on as it is.
        folder = str(path.parent) if path.exists() else self._source.location
        context.extend_locals({'current_launch_file_path': str(path), 'current_launch_file_directory': folder})
        self._check_arguments(description, context)
        return [*(SetLaunchConfiguration(name, value) for name, value in self._launch_arguments), description]
