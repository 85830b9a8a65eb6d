# SPDX-License-Identifier: Apache-2.0
"""Finds the files that ship with the package (config/, models/, msg/ ...), without ROS."""

import os
import re
import sys
from pathlib import Path

PACKAGE = 'radio_visual_ssl'


def share_path(*parts: str) -> Path:
    """Path of a shipped file or folder, e.g. ``share_path('config', 'radars')``.

    Looks in the source tree, then in each prefix of AMENT_PREFIX_PATH (colcon, ROS distributions), then in the share
    folder of this Python (wheels).

    Raises:
        FileNotFoundError: no place holds it; the message names each place.
    """
    module = Path(__file__)
    prefixes = [Path(prefix) for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if prefix]
    # lib/pythonX.Y/site-packages/radio_visual_ssl/share.py -> prefix, for a shell where no prefix is set
    prefixes += [parent.parent for parent in module.parents if parent.name == 'lib'][:1]
    roots = [prefix / 'share' / PACKAGE for prefix in prefixes]
    roots += [Path(sys.prefix) / 'share' / PACKAGE]
    source = module.parents[1]
    if (source / 'package.xml').is_file():
        roots.insert(0, source)
    for root in roots:
        path = root.joinpath(*parts)
        if path.exists():
            return path
    places = ', '.join(str(root) for root in roots)
    raise FileNotFoundError(f'{Path(*parts)} is not among the files of {PACKAGE}; looked in {places}')


def share_path_of_radar(radar: str, suffix: str, *folder: str) -> Path | None:
    """The shipped file that is named after a radar, or after the beginning of its name; None without one.

    Args:
        radar: name, as in HeatmapInfo; its words are those of the file, joined by underscores.
        suffix: of the file, with its dot.
        folder: of the file, e.g. ``'config', 'cfar'``.
    """
    words = re.findall('[a-z0-9]+', radar.lower())
    for count in range(len(words), 0, -1):
        try:
            return share_path(*folder, f'{"_".join(words[:count])}{suffix}')
        except FileNotFoundError:
            continue
    return None
