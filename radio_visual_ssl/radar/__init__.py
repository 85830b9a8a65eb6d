# SPDX-License-Identifier: Apache-2.0
"""Radar signal processing: raw samples to heatmaps, heatmaps to targets. NumPy, SciPy and torch; no ROS."""
