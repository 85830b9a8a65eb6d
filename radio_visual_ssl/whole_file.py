# SPDX-License-Identifier: Apache-2.0
"""Files written whole or not at all: who reads one finds the old content or all of the new."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | Path, *, make_folder: bool = True) -> Iterator[Path]:
    """A new file beside a path, which takes its place once the block has ended well.

    Others may read it as far as the umask lets them, as any file that is simply opened. Where the block raises, even
    for an interrupt, the new file is removed and what was there stays.

    Args:
        path: of the file to write; one of that name is replaced.
        make_folder: whether the folder of the file is made where it is missing.

    Yields:
        Path of the new file, empty so far: hidden, and with another ending than the path's.

    Raises:
        OSError: the file cannot be made or take its place.
    """
    path = Path(path)
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f'.{path.name}.{secrets.token_hex(4)}'
    # mkstemp's files are for their owner alone, and asking for the umask would change it for all threads
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what tells
            temporary.unlink(missing_ok=True)
        raise
