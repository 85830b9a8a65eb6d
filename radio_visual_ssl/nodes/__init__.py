# SPDX-License-Identifier: Apache-2.0
"""Thin rclpy lifecycle nodes around the core."""
