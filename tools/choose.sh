#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints what the environment is made from: interpreter, build of PyTorch (as given now, else as chosen before) and the
# sourced ROS 2.
set -eu
cd "$(dirname "$0")/.."
. tools/underlay.sh

kept() { sed -n "s/^$1=//p" .choices 2>/dev/null || true; }
python=${PYTHON:-$(kept PYTHON)}
torch=${TORCH:-$(kept TORCH)}
echo "PYTHON=${python:-python3}"
echo "TORCH=${torch:-cpu}"
echo "UNDERLAY=$underlay"
