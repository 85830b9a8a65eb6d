# SPDX-License-Identifier: Apache-2.0
"""Reading and writing rosbags of paired radar and camera streams, without a ROS installation."""
