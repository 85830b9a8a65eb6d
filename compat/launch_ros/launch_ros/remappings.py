# SPDX-License-Identifier: Apache-2.0
"""Remapping rules as launch files give them to nodes."""

from __future__ import annotations

from collections.abc import Iterable

from launch.utilities import normalize_to_list_of_substitutions

from launch import SomeSubstitutionsType, Substitution

SomeRemapRule = tuple[SomeSubstitutionsType, SomeSubstitutionsType]
SomeRemapRules = Iterable[SomeRemapRule]
RemapRule = tuple[tuple[Substitution, ...], tuple[Substitution, ...]]


def normalize_remap_rule(remap_rule: SomeRemapRule) -> RemapRule:
    """Return a rule, a tuple (from, to), with its parts as substitutions.

    Raises:
        TypeError: if it is no such tuple.
    """
    if not isinstance(remap_rule, tuple) or len(remap_rule) != 2:
        raise TypeError(f'a remapping must be a tuple (from, to), got {remap_rule!r}')
    source, target = remap_rule
    return tuple(normalize_to_list_of_substitutions(source)), tuple(normalize_to_list_of_substitutions(target))


def normalize_remap_rules(remap_rules: SomeRemapRules) -> list[RemapRule]:
    """Return several rules with their parts as substitutions.

    Raises:
        TypeError: if any of them is not a tuple (from, to).
    """
    return [normalize_remap_rule(rule) for rule in remap_rules]
