# SPDX-License-Identifier: Apache-2.0
"""A file is written whole or not at all, and others may read it as the umask says."""

import os

import pytest

from radio_visual_ssl.whole_file import replacing


def test_content_takes_its_place_in_a_folder_that_is_made(tmp_path):
    path = tmp_path / 'some' / 'folder' / 'file.txt'
    for text in ('old and longer', 'new'):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('error', [OSError, ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_old_content_and_nothing_else(tmp_path, error):
    path = tmp_path / 'file.txt'
    path.write_text('old')
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text('half of the n')
        assert path.read_text() == 'old'
        raise error
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_what_cannot_take_its_place_is_removed(tmp_path):
    (tmp_path / 'taken' / 'inside').mkdir(parents=True)
    with pytest.raises(OSError), replacing(tmp_path / 'taken') as temporary:
        temporary.write_text('new')
    assert list(tmp_path.iterdir()) == [tmp_path / 'taken']


def test_error_tells_what_went_wrong_even_where_the_new_file_is_gone(tmp_path):
    with pytest.raises(ValueError, match='first'), replacing(tmp_path / 'folder' / 'file.txt') as temporary:
        temporary.unlink()
        raise ValueError('first')
    assert not list((tmp_path / 'folder').iterdir())


@pytest.mark.parametrize(('umask', 'mode'), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / 'file.txt') as temporary:
            temporary.write_text('new')
    finally:
        os.umask(before)
    assert (tmp_path / 'file.txt').stat().st_mode & 0o777 == mode


def test_folder_is_missed_where_it_is_not_to_be_made(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / 'none' / 'file.txt', make_folder=False):
        pass
    assert not list(tmp_path.iterdir())


def test_two_that_write_one_file_do_not_meet(tmp_path):
    path = tmp_path / 'file.txt'
    with replacing(path) as one, replacing(path) as other:
        one.write_text('one')
        other.write_text('other')
    assert path.read_text() == 'one' and list(tmp_path.iterdir()) == [path]
