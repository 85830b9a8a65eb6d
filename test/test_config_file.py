# SPDX-License-Identifier: Apache-2.0
"""Settings in YAML are found by name or path, and what is wrong with them is told in one line."""

import os

import pytest

from radio_visual_ssl.config_file import config_file, config_names, one_of, read_mapping
from radio_visual_ssl.share import share_path


def test_shipped_files_have_names(tmp_path, monkeypatch):
    assert 'static' in config_names('cfar')
    assert config_names('nothing_of_the_kind') == []
    monkeypatch.chdir(tmp_path)
    assert config_file('static', 'cfar') == share_path('config', 'cfar', 'static.yaml')


def test_a_path_is_taken_before_a_name_and_may_begin_at_home(tmp_path, monkeypatch):
    (tmp_path / 'static').write_text('a: 1')
    monkeypatch.setenv('HOME', os.fspath(tmp_path))
    assert config_file('~/static', 'cfar') == tmp_path / 'static'
    monkeypatch.chdir(tmp_path)
    assert config_file('static', 'cfar').resolve() == tmp_path / 'static'


@pytest.mark.parametrize('name', ['stati', 'static.yaml', '../cfar/static', ''])
def test_what_is_neither_is_refused_with_the_names_that_there_are(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    expected = rf'^{name}: expected a YAML file or a name in config/cfar/ \(mast, .*vehicle\), found neither$'
    with pytest.raises(LookupError, match=expected):
        config_file(name, 'cfar', LookupError)


def test_what_is_read_is_a_mapping_or_nothing(tmp_path):
    file = tmp_path / 'x.yaml'
    for text, content in (('a: {b: [1, 2]}', {'a': {'b': [1, 2]}}), ('# nothing yet', {})):
        file.write_text(text)
        assert read_mapping(file) == content


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        (b'a: [1', 'expected YAML, got .*line 1'),
        (b'\xff\xfe\xfa', 'expected YAML, got '),
        (b'- 1', 'expected a mapping of settings, got list$'),
        (None, 'expected YAML, got .*No such file'),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, data, said):
    file = tmp_path / 'x.yaml'
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(LookupError, match=rf'x\.yaml: {said}') as caught:
        read_mapping(file, LookupError)
    assert '\n' not in str(caught.value)


def test_an_unknown_name_is_told_with_what_may_have_been_meant():
    known = ['range', 'azimuth']
    assert one_of(known, 'azimut') == 'expected one of range, azimuth; got azimut (did you mean azimuth?)'
    assert one_of(known, 7) == 'expected one of range, azimuth; got 7'
