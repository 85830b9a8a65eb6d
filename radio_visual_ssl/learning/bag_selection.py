# SPDX-License-Identifier: Apache-2.0
"""Finds the bags of data sets and their parts."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from radio_visual_ssl.learning.recording_settings import RecordingError

_DATASET = 'dataset.yaml'


def expand_bags(paths: Iterable[str | Path], split: str | None = None) -> list[Path]:
    """The bags that paths stand for, each once.

    Args:
        paths: bags, or folders of bags: data sets with a dataset.yaml, or others.
        split: only the bags of this part (``train``, ``val``, ``test``) of data sets; None = all.

    Raises:
        RecordingError: a split of what is no data set or has no such part, or a folder without bags.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        for bag in _bags_of(path, split):
            found[bag] = None
    if not found:
        raise RecordingError('bags: expected at least one, got none')
    return list(found)


def _bags_of(path: Path, split: str | None) -> list[Path]:
    if (path / _DATASET).is_file():
        return _bags_of_dataset(path, split)
    if split is not None:
        raise RecordingError(f'{path}: expected a data set ({_DATASET}) of which to take the {split} part, found none')
    if not path.is_dir() or (path / 'metadata.yaml').is_file():
        return [path]
    inside = sorted(entry.parent for entry in path.glob('*/metadata.yaml'))
    return inside or [path]  # the reader tells what is wrong with it


def _bags_of_dataset(folder: Path, split: str | None) -> list[Path]:
    file = folder / _DATASET
    try:
        entries = [(str(entry['bag']), entry.get('split')) for entry in yaml.safe_load(file.read_text('utf-8'))['bags']]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise RecordingError(f'{file}: expected a list of bags with their splits, got {error!r}') from error
    chosen = [folder / name for name, of in entries if split is None or of == split]
    if not chosen:
        present = ', '.join(sorted({str(of) for _, of in entries}))
        raise RecordingError(f'{file}: expected bags of the split {split!r}, found {present or "no bags"}')
    missing = [bag.name for bag in chosen if not bag.is_dir()]
    if missing:
        raise RecordingError(f'{file}: expected the bags that it lists, {len(missing)} are missing, first {missing[0]}')
    return chosen
