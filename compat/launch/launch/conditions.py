# SPDX-License-Identifier: Apache-2.0
"""All conditions that actions can have."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from .condition import Condition
from .launch_context import LaunchContext
from .some_substitutions_type import SomeSubstitutionsType
from .substitution import Substitution
from .utilities import normalize_to_list_of_substitutions, perform_substitutions

__all__ = [
    'IfCondition',
    'InvalidConditionExpressionError',
    'LaunchConfigurationEquals',
    'LaunchConfigurationNotEquals',
    'UnlessCondition',
    'evaluate_condition_expression',
]

_TRUTH = {'true': True, '1': True, 'false': False, '0': False}


class InvalidConditionExpressionError(ValueError):
    """An expression is neither true nor false."""

    def __init__(self, expression: str, unexpanded_expression: Iterable[Substitution]) -> None:
        origin = ' + '.join(sub.describe() for sub in unexpanded_expression)
        super().__init__(
            f"invalid condition expression, expected one of [{', '.join(_TRUTH)}] but got '{expression}', "
            f"expanded from '{origin}'"
        )


def evaluate_condition_expression(context: LaunchContext, expression: Iterable[Substitution]) -> bool:
    """Return the truth of an expression: 'true' or '1', 'false' or '0', in any case.

    Raises:
        InvalidConditionExpressionError: if it is none of these.
    """
    text = perform_substitutions(context, expression).strip().lower()
    if text not in _TRUTH:
        raise InvalidConditionExpressionError(text, expression)
    return _TRUTH[text]


class IfCondition(Condition):
    """Holds where an expression is true; see `evaluate_condition_expression()`."""

    def __init__(self, predicate_expression: SomeSubstitutionsType) -> None:
        self._expression = normalize_to_list_of_substitutions(predicate_expression)
        super().__init__(predicate=self._predicate_func)

    def _predicate_func(self, context: LaunchContext) -> bool:
        return evaluate_condition_expression(context, self._expression)

    def describe(self) -> str:
        """Return a text for people."""
        return f'{type(self).__name__}({" + ".join(sub.describe() for sub in self._expression)})'


class UnlessCondition(IfCondition):
    """Holds where an expression is false; see `evaluate_condition_expression()`."""

    def _predicate_func(self, context: LaunchContext) -> bool:
        return not super()._predicate_func(context)


class LaunchConfigurationEquals(Condition):
    """Holds where a launch configuration has a value, or with None where it is not set.

    Deprecated: use `IfCondition(EqualsSubstitution(LaunchConfiguration(...), ...))`.
    """

    def __init__(self, launch_configuration_name: str, expected_value: SomeSubstitutionsType | None) -> None:
        warnings.warn(
            "The 'LaunchConfigurationEquals' and 'LaunchConfigurationNotEquals' conditions are deprecated; use "
            "IfCondition with 'EqualsSubstitution' or 'NotEqualsSubstitution', as in "
            "IfCondition(EqualsSubstitution(LaunchConfiguration('name'), 'value'))",
            UserWarning,
            stacklevel=2,
        )
        self._name = launch_configuration_name
        self._expected = None if expected_value is None else normalize_to_list_of_substitutions(expected_value)
        super().__init__(predicate=self._predicate_func)

    def _predicate_func(self, context: LaunchContext) -> bool:
        expected = None if self._expected is None else perform_substitutions(context, self._expected)
        return context.launch_configurations.get(self._name) == expected


class LaunchConfigurationNotEquals(LaunchConfigurationEquals):
    """Holds where `LaunchConfigurationEquals` does not."""

    def _predicate_func(self, context: LaunchContext) -> bool:
        return not super()._predicate_func(context)
