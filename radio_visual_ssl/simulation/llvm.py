# SPDX-License-Identifier: Apache-2.0
"""Finds what Dr.Jit needs to run the ray tracers: an NVIDIA GPU, or an LLVM library for the processor."""

import ctypes
import importlib.util
import os
import re
from pathlib import Path

OLDEST = 16  # LLVM 15 and older abort on the minima and maxima of Dr.Jit 1.5 ("Cannot select: fmaximum")
PACKAGE = 'libllvm19'
_FOLDERS = ('/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib', '/usr/local/lib')
_VARIABLE = 'DRJIT_LIBLLVM_PATH'


class RaytracingUnavailable(OSError):  # noqa: N818 - a state of this machine rather than a mistake
    """Nothing here can trace rays; the message names what is missing and how to get it."""


def libraries() -> dict[int, Path]:
    """Paths of the LLVM libraries of this machine, by major version."""
    found: dict[int, Path] = {}
    folders = [*map(Path, _FOLDERS), *Path('/usr/lib').glob('llvm-*/lib')]
    for folder in folders:
        for path in sorted(folder.glob('libLLVM*.so*')):
            version = re.match(r'libLLVM(?:-|\.so\.)(\d+)', path.name)
            if version:
                found.setdefault(int(version[1]), path)
    return found


def prepare() -> None:
    """Make Dr.Jit find a processor or GPU to run on; to call before Mitsuba or Sionna RT is imported.

    A path in the environment variable DRJIT_LIBLLVM_PATH is left as it is.

    Raises:
        RaytracingUnavailable: Sionna RT is not installed, or there is neither a GPU nor a usable LLVM.
    """
    if importlib.util.find_spec('sionna') is None or importlib.util.find_spec('mitsuba') is None:
        raise RaytracingUnavailable("raytraced: Sionna RT is not installed; pip install 'radio_visual_ssl[raytrace]'")
    if os.environ.get(_VARIABLE) or _has_gpu():
        return
    usable = {version: path for version, path in libraries().items() if version >= OLDEST}
    if not usable:
        present = ', '.join(str(path) for path in libraries().values()) or 'none'
        raise RaytracingUnavailable(
            f'raytraced: expected an NVIDIA GPU, or an LLVM library of version {OLDEST} or later, found {present}; '
            f'sudo apt install {PACKAGE}, or set {_VARIABLE} to the path of one'
        )
    os.environ[_VARIABLE] = str(usable[max(usable)])


def _has_gpu() -> bool:
    try:
        driver = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
