# SPDX-License-Identifier: Apache-2.0
"""One module per `ros2` command; each offers ``add_arguments(parser)`` and is imported only when called for."""
