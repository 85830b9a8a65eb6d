# SPDX-License-Identifier: Apache-2.0
"""The base of all sources of launch descriptions."""

from __future__ import annotations

import traceback

from .launch_context import LaunchContext
from .launch_description import LaunchDescription
from .logging import get_logger
from .some_substitutions_type import SomeSubstitutionsType
from .utilities import normalize_to_list_of_substitutions, perform_substitutions


class LaunchDescriptionSource:
    """Where a launch description comes from.

    Args:
        launch_description: the launch description; derived classes load it from the location instead.
        location: usually a path.
        method: how it came to be, for people.
    """

    def __init__(
        self,
        launch_description: LaunchDescription | None = None,
        location: SomeSubstitutionsType = '<string>',
        method: str = 'unspecified mechanism from a script',
    ) -> None:
        self._launch_description = launch_description
        self._location = normalize_to_list_of_substitutions(location)
        self._expanded_location: str | None = None
        self._method = method

    @property
    def location(self) -> str:
        """The location, as far as it is known yet."""
        if self._expanded_location is not None:
            return self._expanded_location
        return ' + '.join(part.describe() for part in self._location)

    @property
    def method(self) -> str:
        """How the launch description came to be."""
        return self._method

    def try_get_launch_description_without_context(self) -> LaunchDescription | None:
        """Return the launch description if it can be loaded before launching, else None."""
        if self._launch_description is not None:
            return self._launch_description
        try:
            return self._get_launch_description(perform_substitutions(LaunchContext(), self._location))
        except Exception as error:
            # Only a look ahead: what is wrong comes up again when the description is visited.
            get_logger(__name__).debug(f'{traceback.format_exc()}\nno look ahead into {self.location}: {error}')
            return None

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Return the launch description, loading it if need be."""
        if self._expanded_location is None:
            self._expanded_location = perform_substitutions(context, self._location)
        if self._launch_description is None:
            self._launch_description = self._get_launch_description(self._expanded_location)
        return self._launch_description

    def _get_launch_description(self, location: str) -> LaunchDescription:
        raise RuntimeError(f'{type(self).__name__}: no launch description was given, and it cannot load {location}')
