# SPDX-License-Identifier: Apache-2.0
"""The `ros2` command on top of rclpy, for machines without ROS 2's own ros2cli."""
