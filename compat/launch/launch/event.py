# SPDX-License-Identifier: Apache-2.0
"""The base of all events."""


class Event:
    """Something that happened in a launched system."""

    name = 'launch.Event'
