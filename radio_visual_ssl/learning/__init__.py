# SPDX-License-Identifier: Apache-2.0
"""Training of both stages, and labels made without labels."""
