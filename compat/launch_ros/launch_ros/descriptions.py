# SPDX-License-Identifier: Apache-2.0
"""The descriptions that nodes take, at the original's path."""

from .parameter_descriptions import Parameter, ParameterFile, ParameterValue

__all__ = ['Parameter', 'ParameterFile', 'ParameterValue']
