# SPDX-License-Identifier: Apache-2.0
"""ROS 2's launch_ros, as far as launch files written in Python need it: same API, written anew."""

from . import actions, descriptions, event_handlers, events, substitutions

__all__ = ['actions', 'descriptions', 'event_handlers', 'events', 'substitutions']
