# SPDX-License-Identifier: Apache-2.0
"""The type of everything that can be turned into a list of substitutions."""

from collections.abc import Iterable

from .substitution import Substitution

SomeSubstitutionsType = str | Substitution | Iterable[str | Substitution]
SomeSubstitutionsType_types_tuple = (str, Substitution, Iterable)
