# SPDX-License-Identifier: Apache-2.0
"""Events of lifecycle nodes, and matchers for the nodes that they are meant for."""

from . import lifecycle, matchers

__all__ = ['lifecycle', 'matchers']
