# SPDX-License-Identifier: Apache-2.0
"""Scenes and the sensors that look at them: raw radar cubes, camera images and ground truth."""
