# SPDX-License-Identifier: Apache-2.0
"""A folder of arrays that appears in one piece and is opened without reading it: each array is a .npy file."""

import contextlib
import errno
import fcntl
import json
import math
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

MANIFEST = 'manifest.json'

_FORMAT = 1
_MAGIC = b'\x93NUMPY\x01\x00'
_HEADER = 256  # bytes, so that a header can be written again once the number of rows is known
_MAPPED = 64 * 1024  # bytes from which an array is mapped: each map holds a file descriptor


class ArrayStoreError(ValueError):
    """A folder of arrays that cannot be written or used; the message names the file, what it holds and expected."""


class DamagedArrayError(ArrayStoreError):
    """A folder of arrays that is not what was written: files are missing, cut short or of another format."""


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """Arrays of one folder.

    Attributes:
        path: of the folder.
        arrays: read-only, by name; large ones are maps of their files, so that the system reads only what is used and
            processes share it.
        about: what the maker wrote beside them.
    """

    path: Path
    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


def open_arrays(path: str | Path) -> ArrayStore:
    """Open a folder of arrays.

    Raises:
        DamagedArrayError: no such folder, another format, or a file that is missing, cut short or of another type.
        ArrayStoreError: a file that the system does not let us open.
    """
    folder = Path(path)
    manifest = folder / MANIFEST
    with _opening(manifest, f'the list of the arrays of {folder}'):
        content = json.loads(manifest.read_bytes())
        arrays, about, version = dict(content['arrays']), dict(content['about']), content['format']
    if version != _FORMAT:
        raise DamagedArrayError(f'{manifest}: expected format {_FORMAT}, got {version!r}')
    return ArrayStore(
        folder, {name: _open_array(folder / f'{name}.npy', entry) for name, entry in arrays.items()}, about
    )


def _open_array(path: Path, entry: Any) -> NDArray[Any]:
    """One array, checked against the manifest."""
    with _opening(path.parent / MANIFEST, f'dtype and shape of {path.name}'):
        dtype, shape = np.dtype(entry['dtype']), tuple(int(size) for size in entry['shape'])
    expected = _HEADER + math.prod(shape) * dtype.itemsize
    with _opening(path, f'{dtype} {shape}'):
        size = path.stat().st_size
        if size != expected:
            raise DamagedArrayError(f'{path}: expected {expected} bytes ({dtype} {shape}), got {size}')
        mapped = size >= _MAPPED
        loaded = _with_descriptors(lambda: np.load(path, mmap_mode='r' if mapped else None, allow_pickle=False))
    array = np.asarray(loaded)  # not np.memmap, whose indexing is slower
    if array.dtype != dtype or array.shape != shape:
        raise DamagedArrayError(f'{path}: expected {dtype} {shape}, got {array.dtype} {array.shape}')
    array.setflags(write=False)
    return array


@contextlib.contextmanager
def _opening(path: Path, expected: str) -> Iterator[None]:
    """Tells what is damaged from what the system refuses."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
        raise DamagedArrayError(f'{path}: expected {expected}, got {error!r}') from error
    except OSError as error:
        raise ArrayStoreError(f'{path}: cannot be opened: {error}') from error


def open_or_make(path: str | Path, make: Callable[['ArrayStoreWriter'], None]) -> ArrayStore:
    """Open a folder of arrays, and write it first where it is missing or damaged.

    Of several processes that need it at once one writes and the others wait.

    Args:
        path: of the folder; ``<path>.lock`` beside it tells who writes.
        make: writes the arrays.

    Raises:
        ArrayStoreError: it cannot be written or opened.
    """
    folder = Path(path)
    if folder.is_dir():
        with contextlib.suppress(DamagedArrayError):
            return open_arrays(folder)
    with _writing(folder) as alone:
        try:
            return open_arrays(folder)
        except DamagedArrayError:
            _clear(folder, alone)
        with ArrayStoreWriter(folder) as writer:
            make(writer)
    return open_arrays(folder)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[bool]:
    """Waits until no other process writes the folder; whether that is certain."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f'{folder.name}.lock').open('ab')
    except OSError as error:
        raise ArrayStoreError(f'{folder}: cannot be written: {error}') from error
    with lock:
        # some network file systems cannot lock: work is done twice then, but the folder still appears in one piece
        alone = False
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
            alone = True
        yield alone


def _clear(folder: Path, alone: bool) -> None:
    """Remove a damaged folder, and what killed writers of it left if no other one can be at work."""
    try:
        if folder.exists():
            rest = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
            folder.replace(rest)
            shutil.rmtree(rest)
    except OSError as error:
        raise ArrayStoreError(f'{folder}: damaged, and cannot be removed: {error}') from error
    for rest in folder.parent.glob(f'.{folder.name}.*') if alone else ():
        shutil.rmtree(rest, ignore_errors=True)


def _with_descriptors(load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array; where this process has used up its files, they are raised to what the system allows it."""
    try:
        return load()
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == hard:
            raise
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return load()


class ArrayStoreWriter:
    """Context manager that writes a folder of arrays.

    They grow in a hidden folder beside the destination, which takes its name when the block ends well. When the block
    raises, nothing is left. Where another process was faster, its folder stays.

    Args:
        path: of the new folder; what is missing of the folders above it is made.
        about: what JSON can hold, kept beside the arrays; may be added to in the block.

    Raises:
        ArrayStoreError: the folder cannot be made or written.
    """

    def __init__(self, path: str | Path, about: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.about: dict[str, Any] = dict(about or {})
        self._folder: Path | None = None
        self._growing: dict[str, _GrowingArray] = {}

    def __enter__(self) -> 'ArrayStoreWriter':
        """Make the hidden folder."""
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f'.{self.path.name}.', dir=self.path.parent))
        return self

    def append(self, name: str, row: NDArray[Any]) -> None:
        """Add a row to an array; the first one says of what shape and type all are.

        Raises:
            ArrayStoreError: a row of another shape or type, or the disk is full.
        """
        self.extend(name, np.asarray(row)[None])

    def extend(self, name: str, rows: NDArray[Any]) -> None:
        """Add rows to an array, or a whole array where there is none of this name yet.

        Raises:
            ArrayStoreError: rows of another shape or type, or the disk is full.
        """
        rows = np.ascontiguousarray(rows)
        with self._errors():
            if name not in self._growing:
                self._start(name, rows.dtype, rows.shape[1:])
            self._growing[name].put(self._growing[name].rows, rows)

    def reserve(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        """Begin an array of a known size, zero wherever ``put`` writes nothing.

        Raises:
            ArrayStoreError: there is one of this name already, or the disk is full.
        """
        if name in self._growing:
            raise ArrayStoreError(f'{self.path}: expected a new name, got the array {name} again')
        with self._errors():
            self._start(name, np.dtype(dtype), shape[1:])
            self._growing[name].rows = shape[0]

    def put(self, name: str, index: int, row: NDArray[Any]) -> None:
        """Write one row of an array that was reserved.

        Raises:
            ArrayStoreError: a row of another shape or type, or beyond the last one, or the disk is full.
        """
        array = self._growing[name]
        if not 0 <= index < array.rows:
            raise ArrayStoreError(f'{array.path}: expected a row from 0 to {array.rows - 1}, got {index}')
        with self._errors():
            array.put(index, np.ascontiguousarray(row)[None])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the folder its name, or remove what there is of it."""
        if self._folder is None:
            return
        try:
            if error is None:
                self._finish(self._folder)
        finally:
            for array in self._growing.values():
                array.file.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        if self._folder is None:
            raise ArrayStoreError(f'{self.path}: expected to be written in a with block, it was not entered')
        file = (self._folder / f'{name}.npy').open('xb')
        self._growing[name] = _GrowingArray(self.path / f'{name}.npy', file, np.dtype(dtype), shape)

    def _finish(self, folder: Path) -> None:
        with self._errors():
            arrays = {name: array.finish() for name, array in self._growing.items()}
            content = {'format': _FORMAT, 'about': self.about, 'arrays': arrays}
            (folder / MANIFEST).write_text(json.dumps(content, allow_nan=False, indent=1) + '\n')
            # mkdtemp's folders are for their owner alone; others may read what the umask lets them
            umask = os.umask(0)
            os.umask(umask)
            folder.chmod(0o777 & ~umask)
            try:
                folder.replace(self.path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArrayStoreError(f'{self.path}: cannot be written: {error}') from error


@dataclass
class _GrowingArray:
    """A .npy file whose number of rows is not known yet."""

    path: Path
    file: BinaryIO
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    rows: int = 0

    def put(self, index: int, rows: NDArray[Any]) -> None:
        if rows.dtype != self.dtype or rows.shape[1:] != self.shape:
            got = f'{rows.dtype} {rows.shape[1:]}'
            raise ArrayStoreError(f'{self.path}: expected rows {self.dtype} {self.shape}, got {got}')
        self.file.seek(_HEADER + index * math.prod(self.shape) * self.dtype.itemsize)
        self.file.write(rows.data)
        self.rows = max(self.rows, index + len(rows))

    def finish(self) -> dict[str, Any]:
        """Write the header and close; the entry of the manifest."""
        shape = (self.rows, *self.shape)
        fields = {'descr': np.lib.format.dtype_to_descr(self.dtype), 'fortran_order': False, 'shape': shape}
        length = _HEADER - len(_MAGIC) - 2
        text = repr(fields).encode('latin1').ljust(length - 1) + b'\n'
        self.file.truncate(_HEADER + math.prod(shape) * self.dtype.itemsize)
        self.file.seek(0)
        self.file.write(_MAGIC + length.to_bytes(2, 'little') + text)
        self.file.close()
        return {'dtype': self.dtype.str, 'shape': shape}
