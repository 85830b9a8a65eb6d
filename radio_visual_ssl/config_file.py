# SPDX-License-Identifier: Apache-2.0
"""Settings in YAML files: found by path or by the name of one that ships in config/, read, and their names checked."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from radio_visual_ssl.share import share_path


def config_names(folder: str) -> list[str]:
    """Names of the files that ship in a folder of config/."""
    try:
        return sorted(path.stem for path in share_path('config', folder).glob('*.yaml'))
    except FileNotFoundError:
        return []


def config_file(name_or_path: str | Path, folder: str, error: type[Exception] = FileNotFoundError) -> Path:
    """The file of that path, or the one of that name that ships.

    Args:
        name_or_path: a path, or the name of a file in config/<folder>/ without ``.yaml``.
        folder: in config/.
        error: what is raised.

    Raises:
        error: neither exists; the message lists the names.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    names = config_names(folder)
    if str(name_or_path) in names:
        return share_path('config', folder, f'{name_or_path}.yaml')
    raise error(
        f'{name_or_path}: expected a YAML file or a name in config/{folder}/ ({", ".join(names)}), found neither'
    )


def read_mapping(
    path: Path, error: type[Exception] = ValueError, what: str = 'a mapping of settings'
) -> dict[str, Any]:
    """What a YAML file holds by name; nothing where it is empty.

    Args:
        path: of the file.
        error: what is raised.
        what: that is expected, for the message.

    Raises:
        error: it cannot be read, or is no YAML or no mapping; the message names the file.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise error(f'{path}: expected YAML, got {" ".join(str(problem).split())}') from problem
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise error(f'{path}: expected {what}, got {type(content).__name__}')
    return content


def one_of(known: Iterable[str], name: object) -> str:
    """'expected one of a, b; got c (did you mean b?)', of a name that is none of those known."""
    names = list(known)
    similar = difflib.get_close_matches(str(name), names, n=1)
    return f'expected one of {", ".join(names)}; got {name}{f" (did you mean {similar[0]}?)" if similar else ""}'
