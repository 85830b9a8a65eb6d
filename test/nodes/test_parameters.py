# SPDX-License-Identifier: Apache-2.0
"""Parameters as a table: what they accept, what they say about the rest, and how settings become parameters."""

import math
from dataclasses import dataclass
from typing import Literal

import pytest

pytest.importorskip('rcl_interfaces', reason='needs ROS 2')

from radio_visual_ssl.nodes.parameters import (
    ParameterSpec,
    attribute_descriptions,
    settings_from_parameters,
    similar_names,
    specs_from_settings,
)


@dataclass(frozen=True)
class Settings:
    """Settings of a thing.

    Attributes:
        kind: of the thing, told in a sentence
            that goes on.
        window: bins.
        limit: m; None = none.
        low, high: dB.
    """

    kind: Literal['plain', 'fancy'] = 'plain'
    window: tuple[int, int] = (3, 4)
    limit: float | None = None
    low: float = 0.0
    high: float = 10.0

    def __post_init__(self):
        if self.high <= self.low:
            raise ValueError(f'high: expected more than {self.low}, got {self.high}')


SPECS = {spec.name: spec for spec in specs_from_settings(Settings(), 'thing.', {'high': (0.0, 99.0)})}


@pytest.mark.parametrize(
    ('spec', 'value', 'read'),
    [
        (ParameterSpec('a', 1.0, ''), 3, 3.0),
        (ParameterSpec('a', 1, '', 0, 5), 5, 5),
        (ParameterSpec('a', [1.0, 2.0], ''), (3, 4.5), [3.0, 4.5]),
        (ParameterSpec('a', [''], ''), ['x', 'y', 'z'], ['x', 'y', 'z']),
        (ParameterSpec('a', 'x', '', choices=('x', 'y')), 'y', 'y'),
        (ParameterSpec('a', True, ''), False, False),
    ],
)
def test_a_value_is_read_in_the_parameters_own_type(spec, value, read):
    assert spec.read(value) == read
    assert type(spec.read(value)) is type(read)


@pytest.mark.parametrize(
    ('spec', 'value', 'expected'),
    [
        (ParameterSpec('a', 1, ''), 1.5, 'an integer'),
        (ParameterSpec('a', 1, ''), True, 'an integer'),
        (ParameterSpec('a', 1.0, '', 0.0, 2.0), 2.5, 'a number from 0 to 2'),
        (ParameterSpec('a', 1.0, '', 0.0), math.nan, 'a number of at least 0'),
        (ParameterSpec('a', 1.0, '', 0.0), math.inf, 'a number of at least 0'),
        (ParameterSpec('a', 1.0, ''), -math.inf, 'a number'),
        (ParameterSpec('a', 1.0, ''), math.nan, 'a number'),
        (ParameterSpec('a', math.nan, ''), math.inf, 'a number'),
        (ParameterSpec('a', [1.0, 2.0], ''), [1.0, math.inf], 'a list of 2, each a number'),
        (ParameterSpec('a', 1.0, '', maximum=4.0), 5.0, 'a number of at most 4'),
        (ParameterSpec('a', 'x', '', choices=('x', 'y')), 'z', "one of 'x', 'y'"),
        (ParameterSpec('a', [1, 2], ''), [1], 'a list of 2, each an integer'),
        (ParameterSpec('a', [1, 2], ''), 7, 'a list of 2, each an integer'),
        (ParameterSpec('a', True, ''), 'yes', 'true or false'),
    ],
)
def test_a_value_that_cannot_be_is_told_with_expected_and_got(spec, value, expected):
    with pytest.raises(ValueError, match="parameter 'a'") as error:
        spec.read(value)
    assert str(error.value) == f"parameter 'a': expected {expected}, got {value!r}"


def test_nan_stands_for_none_where_it_is_the_default():
    assert math.isnan(ParameterSpec('a', math.nan, '').read(math.nan))


def test_settings_become_parameters_with_their_descriptions_choices_and_bounds():
    assert list(SPECS) == ['thing.kind', 'thing.window', 'thing.limit', 'thing.low', 'thing.high']
    assert SPECS['thing.kind'].choices == ('plain', 'fancy')
    assert SPECS['thing.kind'].description == 'of the thing, told in a sentence that goes on.'
    assert SPECS['thing.window'].default == [3, 4]
    assert math.isnan(SPECS['thing.limit'].default)
    assert SPECS['thing.low'].description == SPECS['thing.high'].description == 'dB.'
    assert SPECS['thing.high'].descriptor().floating_point_range[0].to_value == 99.0


def test_parameters_become_settings_again():
    values = {name: spec.default for name, spec in SPECS.items()}
    assert settings_from_parameters(Settings, 'thing.', values) == Settings()
    values['thing.limit'] = 4.0
    assert settings_from_parameters(Settings, 'thing.', values).limit == 4.0
    values['thing.high'] = -1.0
    with pytest.raises(ValueError, match=r"parameter 'thing.high': expected more than 0.0, got -1.0"):
        settings_from_parameters(Settings, 'thing.', values)


def test_similar_names_are_suggested():
    assert similar_names('windw', ['window', 'limit']) == "; did you mean 'window'?"
    assert similar_names('window', ['thing.window', 'limit']) == "; did you mean 'thing.window'?"
    assert similar_names('zzz', ['window']) == ''


def test_descriptions_are_read_from_the_docstring():
    assert attribute_descriptions(Settings)['window'] == 'bins.'
