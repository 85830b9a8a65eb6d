# SPDX-License-Identifier: Apache-2.0
"""Metrics, baselines and pictures that tell how good targets are."""
