# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run real processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ros_graph import graph  # noqa: F401
