# SPDX-License-Identifier: Apache-2.0
"""Studies: one recipe of commands at many points and seeds, and what came of it as tables and curves."""
