# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run real processes."""

from ros_graph import graph  # noqa: F401
