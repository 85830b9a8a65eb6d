# SPDX-License-Identifier: Apache-2.0
"""The link budget against numbers worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.radar.link_budget import echo_power, noise_bandwidth, noise_power, sample_snr
from radio_visual_ssl.radar.profile import (
    FrontEnd,
    OfdmWaveform,
    ProfileError,
    RadarProfile,
    load_profile,
    profile_names,
)

# 30 dBm, 10 dBi both, lambda = 1 cm: at 100 m, 1 m^2 returns 0 + 20 - 40 - 33.0 - 80 = -133.0 dBW
WAVEFORM = OfdmWaveform(29.9792458e9, 1e6, 1e-4, 4, 100)
FRONT_END = FrontEnd(tx_power_dbm=30.0, tx_gain_dbi=10.0, rx_gain_dbi=10.0, noise_figure_db=6.0)
PROFILE = RadarProfile('x', WAVEFORM, np.zeros((1, 3)), np.array([[0, 0.005, 0], [0, 0, 0]]), front_end=FRONT_END)


def test_echoes_follow_the_radar_equation():
    assert 10 * np.log10(echo_power(PROFILE, 1.0, 100.0)) == pytest.approx(-132.98, abs=0.01)
    assert echo_power(PROFILE, 3.0, 100.0) == pytest.approx(3 * echo_power(PROFILE, 1.0, 100.0))
    assert echo_power(PROFILE, 1.0, 50.0) == pytest.approx(16 * echo_power(PROFILE, 1.0, 100.0))
    lossy = replace(PROFILE, front_end=replace(FRONT_END, loss_db=3.0))
    assert 10 * np.log10(echo_power(lossy, 1.0, 100.0)) == pytest.approx(-135.98, abs=0.01)


def test_noise_is_thermal_in_the_band_that_competes_with_the_echo():
    # -204.0 dBW/Hz at 290 K + 80 dB(Hz) + 6 dB
    assert 10 * np.log10(noise_power(PROFILE)) == pytest.approx(-117.98, abs=0.01)
    fmcw = load_profile('fmcw_77ghz_2tx4rx')
    assert noise_bandwidth(fmcw) == fmcw.waveform.sample_rate
    real = replace(fmcw, waveform=replace(fmcw.waveform, complex_samples=False))
    assert noise_bandwidth(real) == fmcw.waveform.sample_rate / 2


def test_the_ratio_of_a_sample_is_stated_in_the_shipped_profiles():
    """Their comments say what 10 m^2 at 30 m have in one sample."""
    from radio_visual_ssl.share import share_path

    stated = 0
    for name in profile_names():
        profile = load_profile(name)
        text = share_path('config', 'radars', f'{name}.yaml').read_text()
        if profile.front_end is not None:
            value = float(text.partition('10 m^2 at 30 m have ')[2].partition(' dB')[0])
            assert 10 * np.log10(sample_snr(profile, 10.0, 30.0)) == pytest.approx(value, abs=0.06), name
            stated += 1
    assert stated >= 12


def test_a_profile_without_a_front_end_has_no_link_budget():
    with pytest.raises(ProfileError, match="front_end: expected one in radar profile 'x', got none"):
        noise_power(replace(PROFILE, front_end=None))
