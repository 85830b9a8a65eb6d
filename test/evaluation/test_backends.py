# SPDX-License-Identifier: Apache-2.0
"""Back ends by name, and the settings that ship for a radar."""

import pytest

from radio_visual_ssl.evaluation.backends import load_localizer, settings_file, shipped_settings


@pytest.mark.parametrize('radar', ['navtech', 'Navtech CTS350-X', 'navtech_cts350x'])
def test_shipped_settings_are_found_by_the_beginning_of_the_radars_name(radar):
    file = shipped_settings('cfar', radar)
    assert file is not None
    assert file.stem == 'navtech'


@pytest.mark.parametrize('radar', ['', 'nav', 'ofdm_28ghz', 'some navtech'])
def test_another_radar_has_no_shipped_settings(radar):
    assert shipped_settings('cfar', radar) is None


def test_settings_are_named_or_given_as_a_path(tmp_path):
    (tmp_path / 'mine.yaml').write_text('min_snr: 11.0\n')
    assert settings_file('cfar', 'static').name == 'static.yaml'
    assert settings_file('cfar', str(tmp_path / 'mine.yaml')) == tmp_path / 'mine.yaml'
    with pytest.raises(ValueError, match=r"expected 'auto', 'default', a name in config/cfar/ or a path, got 'other'"):
        settings_file('cfar', 'other')


def test_a_back_end_is_made_with_the_settings_for_its_radar():
    assert load_localizer('cfar', radar='Navtech CTS350-X').settings.background == 'none'
    assert load_localizer('cfar', 'default', radar='Navtech CTS350-X').settings.background == 'median'
    with pytest.raises(ValueError, match=r"backend: expected one of cfar, got 'magic'"):
        load_localizer('magic')
