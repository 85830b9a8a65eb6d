# SPDX-License-Identifier: Apache-2.0
"""Folders of arrays appear in one piece, are shared between processes and name what is wrong with them."""

import json
import multiprocessing
import os
import resource

import numpy as np
import pytest

from radio_visual_ssl.bags.array_store import (
    ArrayStoreError,
    ArrayStoreWriter,
    DamagedArrayError,
    open_arrays,
    open_or_make,
)

LARGE = np.arange(100_000, dtype=np.float32).reshape(10, 100, 100)


@pytest.fixture
def store(tmp_path):
    with ArrayStoreWriter(tmp_path / 'below' / 'store', {'radar': 'x'}) as writer:
        for row in LARGE:
            writer.append('large', row)
        writer.extend('flags', np.array([True, False]))
        writer.extend('nothing', np.zeros((0, 4), np.int32))
        writer.reserve('gaps', np.uint8, (4, 3))
        writer.put('gaps', 2, np.array([1, 2, 3], np.uint8))
        writer.about['frames'] = 10
    return tmp_path / 'below' / 'store'


def leftovers(folder):
    return [entry.name for entry in folder.iterdir() if entry.name.startswith('.')]


def test_arrays_come_back_as_they_were_written(store):
    opened = open_arrays(store)
    assert opened.about == {'radar': 'x', 'frames': 10}
    np.testing.assert_array_equal(opened.arrays['large'], LARGE)
    assert opened.arrays['large'].dtype == np.float32
    assert opened.arrays['flags'].tolist() == [True, False]
    assert opened.arrays['nothing'].shape == (0, 4)
    assert opened.arrays['gaps'].tolist() == [[0, 0, 0], [0, 0, 0], [1, 2, 3], [0, 0, 0]]
    assert leftovers(store.parent) == []


def test_arrays_are_read_by_numpy_too(store):
    np.testing.assert_array_equal(np.load(store / 'large.npy'), LARGE)


def test_opened_arrays_are_read_only(store):
    for array in open_arrays(store).arrays.values():
        assert not array.flags.writeable


def test_large_arrays_are_maps_of_their_file(store):
    large = open_arrays(store).arrays['large']
    with (store / 'large.npy').open('r+b') as file:
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(7).tobytes())
    assert large[-1, -1, -1] == 7


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        with ArrayStoreWriter(tmp_path / 'store') as writer:
            writer.extend('x', np.zeros(3))
    finally:
        os.umask(before)
    assert (tmp_path / 'store').stat().st_mode & 0o777 == 0o755


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), ArrayStoreWriter(tmp_path / 'store') as writer:
        writer.extend('x', np.zeros(3))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_rows_must_be_alike(tmp_path):
    with pytest.raises(ArrayStoreError, match=r'x.npy: expected rows float64 \(2,\), got float64 \(3,\)'):
        with ArrayStoreWriter(tmp_path / 'store') as writer:
            writer.append('x', np.zeros(2))
            writer.append('x', np.zeros(3))


@pytest.mark.parametrize('index', [-1, 2])
def test_rows_beyond_a_reserved_array_are_refused(tmp_path, index):
    with pytest.raises(ArrayStoreError, match=f'x.npy: expected a row from 0 to 1, got {index}'):
        with ArrayStoreWriter(tmp_path / 'store') as writer:
            writer.reserve('x', np.float64, (2, 1))
            writer.put('x', index, np.zeros(1))


def test_the_folder_of_a_faster_process_stays(tmp_path):
    with ArrayStoreWriter(tmp_path / 'store') as slower:
        slower.extend('x', np.zeros(3))
        with ArrayStoreWriter(tmp_path / 'store') as faster:
            faster.extend('x', np.ones(3))
    assert open_arrays(tmp_path / 'store').arrays['x'].tolist() == [1, 1, 1]
    assert leftovers(tmp_path) == []


def test_a_truncated_array_is_named_with_its_sizes(store):
    os.truncate(store / 'large.npy', 5000)
    with pytest.raises(
        DamagedArrayError, match=r'large.npy: expected 400256 bytes \(float32 \(10, 100, 100\)\), got 5000'
    ):
        open_arrays(store)


def test_a_missing_array_is_named(store):
    (store / 'flags.npy').unlink()
    with pytest.raises(DamagedArrayError, match=r'flags.npy: expected bool \(2,\), got FileNotFoundError'):
        open_arrays(store)


@pytest.mark.parametrize('content', ['', '[]', '{"format": 1}', '{"format": 1, "about": {}, "arrays": {"large": 3}}'])
def test_a_manifest_that_is_none_is_named(store, content):
    (store / 'manifest.json').write_text(content)
    with pytest.raises(DamagedArrayError, match='manifest.json: expected'):
        open_arrays(store)


def test_another_format_is_named(store):
    content = json.loads((store / 'manifest.json').read_text())
    (store / 'manifest.json').write_text(json.dumps({**content, 'format': 9}))
    with pytest.raises(DamagedArrayError, match='manifest.json: expected format 1, got 9'):
        open_arrays(store)


def test_an_array_that_contradicts_the_manifest_is_named(store):
    content = json.loads((store / 'manifest.json').read_text())
    content['arrays']['large']['dtype'] = '<i4'
    (store / 'manifest.json').write_text(json.dumps(content))
    with pytest.raises(DamagedArrayError, match=r'large.npy: expected int32 .* got float32'):
        open_arrays(store)


def test_pickled_objects_are_never_loaded(store):
    np.save(store / 'flags.npy', np.array([{}, None], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedArrayError, match='flags.npy'):
        open_arrays(store)


def make(writer):
    writer.extend('large', LARGE)


def test_what_is_there_is_not_made_again(store):
    assert open_or_make(store, lambda writer: pytest.fail('made again')).about == {'radar': 'x', 'frames': 10}


def test_what_is_damaged_is_made_again(store):
    os.truncate(store / 'large.npy', 5000)
    (store.parent / f'.{store.name}.killed').mkdir()
    opened = open_or_make(store, make)
    np.testing.assert_array_equal(opened.arrays['large'], LARGE)
    assert leftovers(store.parent) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            open_or_make(tmp_path / 'store', make)
        except ArrayStoreError as error:
            os._exit(0 if 'store: cannot be written: [Errno 27]' in str(error) else 2)
        os._exit(1)

    process = multiprocessing.get_context('fork').Process(target=fill)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ['store.lock']


def test_more_arrays_than_files_that_a_process_may_open_at_first(store):
    def open_many():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        held = [open_arrays(store) for _ in range(100)]
        os._exit(0 if len(held) == 100 else 1)

    process = multiprocessing.get_context('fork').Process(target=open_many)
    process.start()
    process.join(30)
    assert process.exitcode == 0


def make_and_count(folder, made, start):
    def count(writer):
        with made.get_lock():
            made.value += 1
        make(writer)

    start.wait()
    opened = open_or_make(folder, count)
    os._exit(0 if np.array_equal(opened.arrays['large'], LARGE) else 1)


def test_of_several_processes_one_makes_it_and_all_get_it(tmp_path):
    context = multiprocessing.get_context('fork')
    made, start = context.Value('i', 0), context.Event()
    processes = [context.Process(target=make_and_count, args=(tmp_path / 'store', made, start)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert made.value == 1


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ArrayStoreError, match='file/store: cannot be written'):
        open_or_make(tmp_path / 'file' / 'store', make)
