# SPDX-License-Identifier: Apache-2.0
# Sourced from the repository's root: sets `underlay` to the prefixes of AMENT_PREFIX_PATH that are a ROS 2 installation
# of the user's, empty on a bare machine. This workspace's own prefixes (after `. ./env.sh`) do not count.
underlay=
_rest=${AMENT_PREFIX_PATH:-}
while [ -n "$_rest" ]; do
  _prefix=${_rest%%:*}
  case "$_rest" in *:*) _rest=${_rest#*:} ;; *) _rest= ;; esac
  case "$_prefix" in
    ''|"$PWD"/*) ;;
    *) underlay="${underlay:+$underlay:}$_prefix" ;;
  esac
done
_found=
_rest=$underlay
while [ -n "$_rest" ]; do
  _prefix=${_rest%%:*}
  case "$_rest" in *:*) _rest=${_rest#*:} ;; *) _rest= ;; esac
  [ -f "$_prefix/share/ament_index/resource_index/packages/rclpy" ] && _found=yes
done
[ -n "$_found" ] || underlay=
unset _rest _prefix _found
