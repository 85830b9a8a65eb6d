# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run real processes."""

from pathlib import Path

import pytest
from ros_graph import graph  # noqa: F401

LAUNCH = Path(__file__).resolve().parents[2] / 'launch'


@pytest.fixture
def describe():
    """Evaluates a launch file with these arguments, in this process; nothing is started."""
    launch = pytest.importorskip('launch')
    sources = pytest.importorskip('launch.launch_description_sources')

    def evaluate(file, **arguments):
        context = launch.LaunchContext()
        context.launch_configurations.update({name: str(value) for name, value in arguments.items()})
        for entity in sources.get_launch_description_from_python_launch_file(str(LAUNCH / file)).entities:
            entity.execute(context)

    return evaluate
