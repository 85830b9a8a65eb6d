# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the radar tests."""

from collections.abc import Callable

import numpy as np
import point_echo
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope='session')
def echo() -> Callable[..., NDArray[np.complex64]]:
    return point_echo.echo


@pytest.fixture(scope='session')
def complex_noise() -> Callable[..., NDArray[np.complex64]]:
    return point_echo.complex_noise
