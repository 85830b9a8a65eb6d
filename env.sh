# SPDX-License-Identifier: Apache-2.0
# Source this file (`. ./env.sh`) to put the built workspace on this shell's path. Run `make build` first.

if [ -n "${BASH_SOURCE:-}" ]; then
  _rvs_root=$(cd "$(dirname "${BASH_SOURCE}")" && pwd)
elif [ -n "${ZSH_VERSION:-}" ]; then
  _rvs_root=$(eval 'cd "$(dirname "${(%):-%x}")" && pwd')
else
  _rvs_root=$PWD  # a plain sh cannot tell where a sourced file lies
fi

# Puts a folder before a path variable's others, once.
_rvs_prepend() {
  eval "_rvs_old=\${$1:-}"
  case ":$_rvs_old:" in
    *":$2:"*) ;;
    *) export "$1=$2${_rvs_old:+:$_rvs_old}" ;;
  esac
}

if [ ! -f "$_rvs_root/env.sh" ] || [ ! -d "$_rvs_root/install" ]; then
  echo "env.sh: no built workspace in $_rvs_root; run 'make build' there, and source env.sh from bash, zsh or that folder" >&2
  unset _rvs_root
  unset -f _rvs_prepend
  return 1
fi

_rvs_site=$("$_rvs_root/.venv/bin/python" -S -c 'import sys; print("python%d.%d/site-packages" % sys.version_info[:2])')
_rvs_prepend PATH "$_rvs_root/.venv/bin"
if [ -f "$_rvs_root/.venv/share/ament_index/resource_index/packages/rclpy" ]; then
  # ROS 2 from PyPI. The wheels would find their libraries by starting Python twice and in random order: name them here.
  _rvs_prepend AMENT_PREFIX_PATH "$_rvs_root/.venv"
  for _rvs_libs in "$_rvs_root/.venv/lib/$_rvs_site"/ros_*.libs; do
    _rvs_prepend LD_LIBRARY_PATH "$_rvs_libs"
  done
  _rvs_prepend LD_LIBRARY_PATH "$_rvs_root/.venv/lib"
  export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
  export ROS_DISTRO="${ROS_DISTRO:-jazzy}" ROS_VERSION=2 ROS_PYTHON_VERSION=3
else
  # The `ros2` of a distribution runs under the system's Python: launch files find the environment's packages from there.
  _rvs_prepend PYTHONPATH "$_rvs_root/.venv/lib/$_rvs_site"
fi
_rvs_prepend AMENT_PREFIX_PATH "$_rvs_root/install"
_rvs_prepend LD_LIBRARY_PATH "$_rvs_root/install/lib"
_rvs_prepend PATH "$_rvs_root/install/bin"
for _rvs_packages in "$_rvs_root/install/lib/$_rvs_site" "$_rvs_root/install/local/lib/${_rvs_site%/*}/dist-packages"; do
  [ -d "$_rvs_packages" ] && _rvs_prepend PYTHONPATH "$_rvs_packages"
done

# A graph stays on this machine unless the user says otherwise; images pass between processes through shared memory.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
# Fast DDS 2 (Jazzy) reads the first name, Fast DDS 3 the second.
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-${FASTDDS_DEFAULT_PROFILES_FILE:-$_rvs_root/config/fastdds.xml}}"
export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$FASTRTPS_DEFAULT_PROFILES_FILE}"

unset _rvs_root _rvs_site _rvs_old _rvs_libs _rvs_packages
unset -f _rvs_prepend
