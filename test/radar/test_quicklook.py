# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math

import cv2
import numpy as np
import pytest

from radio_visual_ssl.radar.capture import CaptureError
from radio_visual_ssl.radar.profile import OfdmWaveform, ProfileError, load_profile
from radio_visual_ssl.radar.quicklook import draw_quick_look, quick_look

OFDM = load_profile('ofdm_28ghz_400mhz_16rx')


@pytest.fixture
def capture(echo, tmp_path):
    path = tmp_path / 'frames.npy'
    np.save(path, np.stack([echo(OFDM, (30.0, azimuth, 11.0), noise=0.1) for azimuth in (0.2, -0.4)]))
    return path


def test_movers_of_the_chosen_frame_as_json(capture):
    for frame, azimuth in enumerate((0.2, -0.4)):
        result = json.loads(json.dumps(quick_look(capture, OFDM.name, frame=frame).to_json(), allow_nan=False))
        assert (result['radar'], result['frame']) == (OFDM.name, frame)
        assert list(result['movers'][0]) == ['range_m', 'azimuth_deg', 'velocity_m_s', 'snr_db']
        assert result['movers'][0]['range_m'] == pytest.approx(30.0, abs=0.1)
        assert result['movers'][0]['azimuth_deg'] == pytest.approx(math.degrees(azimuth), abs=1.0)
        assert result['movers'][0]['velocity_m_s'] == pytest.approx(11.0, abs=0.3)
        assert result['movers'][0]['snr_db'] > 30


def test_the_measured_frame(shared_data):
    result = quick_look(shared_data / 'openradar' / 'doppler_example_1.npy', 'openradar_2tx4rx').to_json()
    assert result['movers'][0]['range_m'] == pytest.approx(2.93, abs=0.05)


def test_the_picture_shows_the_target_and_nothing_is_left_beside_it(capture, tmp_path):
    out = tmp_path / 'new' / 'look.png'
    assert draw_quick_look(quick_look(capture, OFDM), out) == out
    assert [path.name for path in out.parent.iterdir()] == ['look.png']
    picture = cv2.imread(str(out))
    assert picture.shape[0] > 500
    assert picture.std() > 20


def test_a_radar_that_measures_no_velocity_is_drawn_too(echo, tmp_path):
    profile = dataclasses.replace(OFDM, waveform=OfdmWaveform(28e9, 1.5625e6, 125e-6, 1, 256))
    np.save(tmp_path / 'frame.npy', echo(profile, (30.0, 0.2, 0.0), noise=0.1))
    look = quick_look(tmp_path / 'frame.npy', profile)
    assert look.movers == []
    assert draw_quick_look(look, tmp_path / 'look.png').is_file()


def test_bad_input_is_named(tmp_path, capture):
    with pytest.raises(ProfileError, match='expected a YAML file or a name in'):
        quick_look(capture, 'nonsense')
    with pytest.raises(CaptureError, match='lost.npy: no such file'):
        quick_look(tmp_path / 'lost.npy', OFDM)
    with pytest.raises(CaptureError, match='expected a frame from 0 to 1, got 2'):
        quick_look(capture, OFDM, frame=2)
