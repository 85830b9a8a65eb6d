# SPDX-License-Identifier: Apache-2.0
"""Interface definitions (.msg, .srv, .action) in the share folders of the ament index."""

from pathlib import Path

from ros2cli.errors import CommandError
from ros2cli.packages import package_prefix, package_prefixes

KINDS = {'msg': 'Messages', 'srv': 'Services', 'action': 'Actions'}


def interface_names(package: str) -> list[str]:
    """Interfaces of a package as `kind/Name`, sorted; empty if it has none.

    Raises:
        CommandError: no such package.
    """
    from ament_index_python.resources import get_resource

    package_prefix(package)
    try:
        content, _ = get_resource('rosidl_interfaces', package)
    except LookupError:
        return []
    names = {line.rsplit('.', 1)[0] for line in content.splitlines()}
    # generated parts of services and actions have an underscore: Trigger_Request
    return sorted(name for name in names if name.split('/')[0] in KINDS and '_' not in name)


def interface_packages() -> list[str]:
    """Packages with interfaces, sorted.

    Raises:
        CommandError: AMENT_PREFIX_PATH is not set.
    """
    from ament_index_python.resources import get_resources

    return sorted(set(get_resources('rosidl_interfaces')) & set(package_prefixes()))


def interface_path(name: str) -> Path:
    """File that defines an interface.

    Args:
        name: `package/kind/Name`; `package/Name` is a message.

    Raises:
        CommandError: it is no such name, or no such interface is installed.
    """
    parts = name.split('/')
    if len(parts) == 2:
        parts.insert(1, 'msg')
    if len(parts) != 3 or parts[1] not in KINDS or not all(part.isidentifier() for part in parts):
        raise CommandError(f"Invalid name '{name}'. Expected three parts separated by '/', e.g. std_msgs/msg/String")
    package, kind, interface = parts
    path = package_prefix(package) / 'share' / package / kind / f'{interface}.{kind}'
    if not path.is_file():
        raise CommandError(f"Could not find the interface '{package}/{kind}/{interface}': there is no {path}")
    return path
