# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from radio_visual_ssl.radar.capture import load_capture
from radio_visual_ssl.radar.cube import canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.movers import strongest_movers
from radio_visual_ssl.radar.profile import load_profile

OPENRADAR = load_profile('openradar_2tx4rx')


@pytest.mark.parametrize('settings', [{}, {'range_bins': 256, 'doppler_bins': 256}, {'clutter_removal': 'static'}])
def test_the_strongest_mover_of_the_measured_frame_stands_at_2_93_m(shared_data, settings):
    capture = load_capture(shared_data / 'openradar' / 'doppler_example_1.npy', OPENRADAR)
    former = HeatmapFormer(OPENRADAR, FormationSettings(**settings))
    movers = strongest_movers(canonical(capture, OPENRADAR), former)
    assert movers[0].range == pytest.approx(2.93, abs=0.05)
    assert movers[0].velocity == pytest.approx(7 * OPENRADAR.velocity_resolution, abs=OPENRADAR.velocity_resolution)
    assert movers[0].snr > 40
    assert [mover.snr for mover in movers] == sorted((mover.snr for mover in movers), reverse=True)


@pytest.mark.parametrize('name', ['openradar_2tx4rx', 'ofdm_28ghz_400mhz_16rx', 'fmcw_60ghz_3tx4rx'])
def test_movers_are_measured_between_the_bins(echo, name):
    profile = load_profile(name)
    former = HeatmapFormer(profile)
    step = former.grid.range[1]
    targets = [
        (20.4 * step, 0.35, 7.3 * profile.velocity_resolution),
        (31.7 * step, -0.52, -9.6 * profile.velocity_resolution),
        (20.4 * step, -0.2, 0.0),
    ]
    movers = strongest_movers(echo(profile, *targets, amplitudes=(3, 1, 20), noise=0.01), former)
    assert len(movers) == 2
    for mover, (distance, azimuth, velocity) in zip(movers, targets, strict=False):
        assert mover.range == pytest.approx(distance, abs=0.1 * step)
        assert mover.velocity == pytest.approx(velocity, abs=0.1 * profile.velocity_resolution)
        assert mover.azimuth == pytest.approx(azimuth, abs=np.radians(0.5))


def test_what_stands_still_is_no_mover(echo):
    cube = echo(OPENRADAR, (3.0, 0.2, 0.0), amplitudes=(100,), noise=0.1)
    assert strongest_movers(cube, HeatmapFormer(OPENRADAR)) == []


def test_noise_is_no_mover(echo):
    assert strongest_movers(echo(OPENRADAR, noise=1.0), HeatmapFormer(OPENRADAR)) == []


def test_count_speed_and_strength_choose(echo):
    speeds = (1.0, 2.0, 3.0)
    targets = [(2.0 + speed / 2, 0.1, speed) for speed in speeds]
    cube = echo(OPENRADAR, *targets, amplitudes=(3, 1, 0.3), noise=0.1)
    former = HeatmapFormer(OPENRADAR)

    def found(**options):
        return [round(mover.velocity) for mover in strongest_movers(cube, former, **options)]

    assert found() == [1, 2, 3]
    assert found(count=2) == [1, 2]
    assert found(min_velocity=1.5) == [2, 3]
    assert found(min_snr=45.0) == [1, 2]
    assert found(min_velocity=100.0) == []


def test_an_edge_of_the_region_left_out_is_no_mover(echo):
    """The skirt of a slow target reaches over the limit, but its peak is below it."""
    cube = echo(OPENRADAR, (3.0, 0.2, 0.95), amplitudes=(10,), noise=0.01)
    assert strongest_movers(cube, HeatmapFormer(OPENRADAR), min_velocity=1.0) == []
