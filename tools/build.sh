#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds this package and, of compat/, whatever the ROS 2 in use lacks, into install/ with colcon.
set -eu
cd "$(dirname "$0")/.."
. tools/underlay.sh

if [ -n "$underlay" ]; then
  prefixes=$underlay
else
  prefixes=$PWD/.venv
  unset PYTHONPATH LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE || true
fi
export AMENT_PREFIX_PATH="$prefixes" CMAKE_PREFIX_PATH="$prefixes" PATH="$PWD/.venv/bin:$PATH"

present=
for folder in compat/*/; do
  package=$(basename "$folder")
  for prefix in $(echo "$prefixes" | tr ':' ' '); do
    if [ -f "$prefix/share/ament_index/resource_index/packages/$package" ]; then
      present="$present $package"
      break
    fi
  done
done

colcon --log-base log build --base-paths . compat --merge-install --symlink-install --parallel-workers 2 \
  ${present:+--packages-skip $present} --event-handlers console_direct- console_cohesion- desktop_notification- \
  --cmake-args -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$PWD/.venv/bin/python" \
  >build/colcon.txt 2>&1 || {
    cat build/colcon.txt >&2
    echo "build: colcon failed; the whole log is in log/latest_build" >&2
    exit 1
  }
