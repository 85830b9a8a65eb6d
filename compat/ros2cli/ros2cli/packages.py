# SPDX-License-Identifier: Apache-2.0
"""Packages of the ament index: where they are and which executables they install."""

import os
from pathlib import Path

from ros2cli.errors import CommandError


def package_prefixes() -> dict[str, str]:
    """Install prefix of each package on AMENT_PREFIX_PATH.

    Raises:
        CommandError: AMENT_PREFIX_PATH is not set.
    """
    from ament_index_python.packages import get_packages_with_prefixes

    _require_prefix_path()
    return get_packages_with_prefixes()


def package_prefix(package: str) -> Path:
    """Install prefix of one package.

    Raises:
        CommandError: no such package, or AMENT_PREFIX_PATH is not set.
    """
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    _require_prefix_path()
    try:
        return Path(get_package_prefix(package))
    except (PackageNotFoundError, ValueError):
        raise CommandError(f"Package '{package}' not found") from None


def executables(package: str) -> list[Path]:
    """Executable files below lib/PACKAGE of its prefix, sorted.

    Raises:
        CommandError: no such package.
    """
    folder = package_prefix(package) / 'lib' / package
    files = (path for path in folder.rglob('*') if path.is_file() and os.access(path, os.X_OK))
    return sorted(path for path in files if not any(part.startswith('.') for part in path.relative_to(folder).parts))


def _require_prefix_path() -> None:
    if not os.environ.get('AMENT_PREFIX_PATH'):
        raise CommandError('AMENT_PREFIX_PATH is not set: put a built workspace on the path first (`. ./env.sh`)')
