# SPDX-License-Identifier: Apache-2.0
"""Layers point one way, and only nodes know ROS: what DESIGN promises, read from every import, lazy ones too."""

import ast
from pathlib import Path

import pytest

import radio_visual_ssl

PACKAGE = Path(radio_visual_ssl.__file__).parent
LAYERS = (
    {'radar', 'vision', 'config_file', 'share', 'exit_status', 'overrides', 'optional_packages', 'whole_file'}
    | {'worker_processes'},
    {'models', 'bags'},
    {'simulation', 'datasets', 'evaluation'},
    {'learning', 'study'},
    {'commands', 'nodes'},
    {'cli'},
    {'__main__'},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SIDEWAYS = {('bags', 'models'), ('commands', 'nodes')}  # neighbours that do not know each other
GENERATED = {'msg', 'srv'}
ROS = {
    'rclpy', 'message_filters', 'cv_bridge', 'launch', 'launch_ros', 'ament_index_python', 'diagnostic_msgs',
    'geometry_msgs', 'lifecycle_msgs', 'rcl_interfaces', 'sensor_msgs', 'std_msgs', 'std_srvs', 'tf2_msgs',
    'vision_msgs', 'visualization_msgs',
}  # fmt: skip


def part_of(file):
    inside = file.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else file.stem


def imported(file):
    """Names of the modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f'{file}: imports are absolute here'
            if node.module == PACKAGE.name:
                yield from (f'{PACKAGE.name}.{name.name}' for name in node.names)
            else:
                yield node.module


FILES = [file for file in sorted(PACKAGE.rglob('*.py')) if part_of(file) not in GENERATED | {'__init__'}]


@pytest.mark.parametrize('part', sorted({part_of(file) for file in FILES}))
def test_a_part_imports_from_lower_ones_alone(part):
    wrong = []
    for file in FILES:
        if part_of(file) != part:
            continue
        for module in imported(file):
            first, _, rest = module.partition('.')
            if first in ROS and part != 'nodes':
                wrong.append(f'{file.relative_to(PACKAGE)} imports {module}')
            other = rest.partition('.')[0]
            if first != PACKAGE.name or other in ('', '__version__', part) or (part == 'nodes' and other in GENERATED):
                continue
            if LEVEL[other] > LEVEL[part] or {(part, other), (other, part)} & SIDEWAYS:
                wrong.append(f'{file.relative_to(PACKAGE)} imports {module}')
    assert not wrong
