# SPDX-License-Identifier: Apache-2.0
"""What the original's `launch_ros.utilities` offers of names and parameters."""

from .names import is_namespace_absolute, is_root_namespace, make_namespace_absolute, prefix_namespace
from .parameters import evaluate_parameters, normalize_parameters
from .remappings import normalize_remap_rule, normalize_remap_rules

__all__ = [
    'evaluate_parameters',
    'is_namespace_absolute',
    'is_root_namespace',
    'make_namespace_absolute',
    'normalize_parameters',
    'normalize_remap_rule',
    'normalize_remap_rules',
    'prefix_namespace',
]
