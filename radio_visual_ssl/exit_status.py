# SPDX-License-Identifier: Apache-2.0
"""Exit statuses of the command that are neither 0 nor 1, for who runs it."""

DIVERGED_STATUS = 3
"""A training did not become anything (`TrainingDivergedError`): no failure, but no result either."""
