# SPDX-License-Identifier: Apache-2.0
"""Single values of nested settings are replaced by name, and nothing else is."""

from dataclasses import dataclass

import pytest

from radio_visual_ssl.overrides import changed, overridden


def test_values_are_replaced_in_mappings_and_lists():
    content = {'a': {'b': 1, 'c': 2}, 'rows': [{'x': 1}, {'x': 2}]}
    changed = overridden(content, ['a.b=[3, 4]', 'rows.1.x=text', 'rows.0={y: true}', 'new.one=1e3', 'a.d='])
    assert changed == {
        'a': {'b': [3, 4], 'c': 2, 'd': None}, 'rows': [{'y': True}, {'x': 'text'}], 'new': {'one': '1e3'},
    }  # fmt: skip
    assert content == {'a': {'b': 1, 'c': 2}, 'rows': [{'x': 1}, {'x': 2}]}


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('a', "--set: expected name.of.field=value, got 'a'"),
        ('a..b=1', "--set: expected name.of.field=value, got 'a..b=1'"),
        ('a.b.c=1', '--set a.b.c=1: expected b to hold further settings, got 1'),
        ('rows.2.x=1', "--set rows.2.x=1: expected a number below 1, the length of the list, got '2'"),
        ('rows.x=1', "--set rows.x=1: expected a number below 1, the length of the list, got 'x'"),
        ('a=[', '--set a=[: expected a value in YAML'),
    ],
)
def test_what_cannot_be_replaced_is_named(text, said):
    with pytest.raises(ValueError) as caught:
        overridden({'a': {'b': 1}, 'rows': [{}]}, [text])
    assert str(caught.value).startswith(said)


@dataclass(frozen=True)
class Plain:
    share: float = 0.5
    count: int = 3
    sure: bool = True
    kind: str = 'a'


def test_fields_of_a_dataclass_are_replaced():
    assert changed(Plain(), ['share=1', 'sure=false', 'kind=b'], '--plain') == Plain(1, 3, False, 'b')
    assert changed(Plain(), [], '--plain') == Plain()


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('shares=1', '--plain shares: expected one of share, count, sure'),
        ('kind=b', '--plain kind: expected one of share, count, sure'),
        ('count=1.5', '--plain count: expected a value like 3, got 1.5'),
        ('count=true', '--plain count: expected a value like 3, got True'),
        ('sure=1', '--plain sure: expected a value like True, got 1'),
        ('share=many', "--plain share: expected a value like 0.5, got 'many'"),
        ('share', "--plain: expected name.of.field=value, got 'share'"),
    ],
)
def test_what_a_dataclass_does_not_take_is_named(text, said):
    with pytest.raises(ValueError) as caught:
        changed(Plain(), [text], '--plain', fixed=('kind',))
    assert str(caught.value) == said
