# SPDX-License-Identifier: Apache-2.0
"""The set-up says in one line what a machine lacks, and how to mend it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOOLS = ('sh', 'dirname', 'sed', 'df', 'awk', 'uname', 'rm', 'grep', 'xargs', 'cc', 'c++', 'tr', 'basename')


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The set-up's own files, and a PATH folder (bin) that holds just the programs of TOOLS and python3."""
    for folder in ('tools', 'requirements'):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    programs = tmp_path / 'bin'
    programs.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, f'{name} is needed to run this test'
        (programs / name).symlink_to(found)
    (programs / 'python3').symlink_to(sys.executable)
    return tmp_path


def write_program(clone: Path, name: str, script: str) -> None:
    program = clone / 'bin' / name
    program.unlink(missing_ok=True)
    program.write_text(f'#!/bin/sh\n{script}\n')
    program.chmod(0o755)


def set_up_error(clone: Path, **environment: str) -> str:
    """The one line that the set-up ends with."""
    variables = {'PATH': str(clone / 'bin'), 'HOME': os.environ.get('HOME', '/'), **environment}
    result = subprocess.run(
        [str(clone / 'tools/make_venv.sh')], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode != 0
    assert not (clone / '.venv').exists()
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_missing_python_names_the_packages(clone: Path) -> None:
    (clone / 'bin/python3').unlink()
    assert 'sudo apt install python3 python3-venv python3-dev' in set_up_error(clone)


def test_missing_compiler_names_the_package(clone: Path) -> None:
    (clone / 'bin/c++').unlink()
    assert 'sudo apt install g++' in set_up_error(clone)


def test_unsupported_python_names_the_versions(clone: Path) -> None:
    write_program(clone, 'python3.9', 'echo 3.9')
    error = set_up_error(clone, PYTHON='python3.9')
    assert '3.10 to 3.13' in error
    assert 'is 3.9' in error


def test_missing_venv_module_names_the_package(clone: Path) -> None:
    write_program(clone, 'python3', f'case "$*" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"')
    assert f'sudo apt install python3.{sys.version_info.minor}-venv' in set_up_error(clone)


def test_missing_headers_name_the_package(clone: Path) -> None:
    write_program(
        clone, 'python3', f'case "$*" in *sysconfig*) echo /none/Python.h; exit;; esac; exec {sys.executable} "$@"'
    )
    assert f'sudo apt install python3.{sys.version_info.minor}-dev' in set_up_error(clone)


def test_full_disk_says_how_much_is_needed_and_free(clone: Path) -> None:
    write_program(clone, 'df', 'echo header; echo "/dev/x 1000 990 10 99% /"')
    error = set_up_error(clone)
    assert '3000 MB' in error
    assert '10 MB are free' in error


def test_machine_without_wheels_is_told_to_install_ros(clone: Path) -> None:
    write_program(clone, 'uname', 'echo aarch64')
    error = set_up_error(clone)
    assert 'aarch64' in error
    assert 'install ROS 2' in error


@pytest.mark.parametrize('shell', ['bash', 'sh'])
def test_env_file_of_an_unbuilt_clone_says_to_build(tmp_path: Path, shell: str) -> None:
    shutil.copy(REPOSITORY / 'env.sh', tmp_path)
    result = subprocess.run(
        [shell, '-c', '. ./env.sh'], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode != 0
    assert 'make build' in result.stderr
