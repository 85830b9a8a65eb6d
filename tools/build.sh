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

# Only what is missing may be in colcon's sight: it expects a skipped package to have been built here before.
missing=
for folder in compat/*/; do
  package=$(basename "$folder")
  found=
  for prefix in $(echo "$prefixes" | tr ':' ' '); do
    [ -f "$prefix/share/ament_index/resource_index/packages/$package" ] && found=yes
  done
  [ -n "$found" ] || missing="$missing $folder"
done

colcon --log-base log build --base-paths . $missing --merge-install --symlink-install --parallel-workers 2 \
  --event-handlers console_direct- console_cohesion- desktop_notification- \
  --cmake-args -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$PWD/.venv/bin/python" \
  >build/colcon.txt 2>&1 || {
    cat build/colcon.txt >&2
    echo "build: colcon failed; the whole log is in log/latest_build" >&2
    exit 1
  }
