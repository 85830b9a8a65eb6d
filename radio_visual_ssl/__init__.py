# SPDX-License-Identifier: Apache-2.0
"""A radar-only target localizer that learns from paired radar and camera recordings."""

from pkgutil import extend_path

# The generated messages live in the installed package of the same name: run from the source root, both must be found.
__path__ = extend_path(__path__, __name__)

__version__ = '0.2.0'
