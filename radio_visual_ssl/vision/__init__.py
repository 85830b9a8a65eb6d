# SPDX-License-Identifier: Apache-2.0
"""Camera model and image preparation. No ROS."""
