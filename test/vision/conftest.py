# SPDX-License-Identifier: Apache-2.0
"""Makes the network camera of the tests and the judge of masks importable."""

import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]
