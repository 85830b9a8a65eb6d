# SPDX-License-Identifier: Apache-2.0
"""Networks and losses: radio and vision encoders, contrastive losses, attention, the radio localizer. torch; no ROS."""
