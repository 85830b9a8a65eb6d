# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.windows import WINDOWS, window

HIGHEST_SIDELOBE = {'rectangular': -13.0, 'hann': -31.0, 'hamming': -42.0, 'blackman': -58.0, 'taylor': -30.0}


@pytest.mark.parametrize('name', WINDOWS)
def test_sidelobes_are_as_documented(name):
    response = np.abs(np.fft.rfft(window(name, 128), 1 << 14))
    decibels = 20 * np.log10(response / response[0] + 1e-12)
    first_null = np.argmax(np.diff(decibels) > 0)
    assert decibels[first_null:].max() == pytest.approx(HIGHEST_SIDELOBE[name], abs=0.7)


@pytest.mark.parametrize('name', WINDOWS)
@pytest.mark.parametrize('count', [1, 2, 8, 33])
def test_windows_are_symmetric_keep_the_level_and_waste_no_element(name, count):
    values = window(name, count)
    np.testing.assert_allclose(values, values[::-1])
    assert values.mean() == pytest.approx(1)
    assert np.all(values > 0)


def test_an_unknown_window_is_refused():
    with pytest.raises(ValueError, match="expected one of rectangular, .* got 'kaiser'"):
        window('kaiser', 8)
