# SPDX-License-Identifier: Apache-2.0
"""The shipped files are found from the source tree, an installed prefix and a wheel alike."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from radio_visual_ssl.share import share_path, share_path_of_radar

REPOSITORY = Path(__file__).resolve().parents[1]


def test_source_tree_comes_first() -> None:
    assert (share_path('msg', 'RadarCube.msg')).read_text() == (REPOSITORY / 'msg/RadarCube.msg').read_text()


def test_missing_file_names_every_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(FileNotFoundError, match='config/none.yaml') as raised:
        share_path('config', 'none.yaml')
    assert str(tmp_path / 'share/radio_visual_ssl') in str(raised.value)


def test_a_radars_file_bears_the_longest_beginning_of_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / 'share/radio_visual_ssl/some/kind'
    folder.mkdir(parents=True)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    for name in ('made', 'made_by_us', 'by_us'):
        (folder / f'{name}.yaml').touch()
    found = [share_path_of_radar(radar, '.yaml', 'some', 'kind') for radar in ('MADE, by-us: 2', 'made by', 'us', '')]
    assert found == [folder / 'made_by_us.yaml', folder / 'made.yaml', None, None]


@pytest.mark.parametrize('layout', ['ament_prefix', 'wheel'])
def test_installed_copy_finds_its_files_without_the_source(tmp_path: Path, layout: str) -> None:
    prefix = tmp_path / 'prefix'
    site_packages = prefix / 'lib' / f'python{sysconfig.get_python_version()}' / 'site-packages'
    package = site_packages / 'radio_visual_ssl'
    package.mkdir(parents=True)
    for name in ('__init__.py', 'share.py'):
        (package / name).write_text((REPOSITORY / 'radio_visual_ssl' / name).read_text())
    (prefix / 'share/radio_visual_ssl/config').mkdir(parents=True)
    environment = {**os.environ, 'PYTHONPATH': str(site_packages), 'AMENT_PREFIX_PATH': ''}
    if layout == 'ament_prefix':
        environment['AMENT_PREFIX_PATH'] = str(prefix)
    program = "from radio_visual_ssl.share import share_path; print(share_path('config'))"
    result = subprocess.run(
        [sys.executable, '-c', program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(result.stdout.strip()) == prefix / 'share/radio_visual_ssl/config'
