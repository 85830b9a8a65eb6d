# SPDX-License-Identifier: Apache-2.0
"""Whether two are of the same radar: what differs is told with both values, what is not known does not count."""

import re
from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.radar.geometry import OtherRadarError, RadarGeometry, check_same_radar, common_radar
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference

GRID = PolarGrid(np.arange(20) * 0.5, np.arcsin(np.linspace(-0.9, 0.9, 12)))
WARPED = PolarGrid(GRID.range, GRID.azimuth - 0.004 * (np.arange(12) == 5))  # of the same extent
RADAR = RadarGeometry('one', GRID, Reference.NOISE_FLOOR, 28e9, 400e6)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'name': 'two'}, "radar: expected 'one', got 'two'"),
        ({'reference': Reference.MILLIWATT}, 'reference of 0 dB: expected NOISE_FLOOR, got MILLIWATT'),
        ({'bandwidth': 500e6}, 'bandwidth: expected 400 MHz, got 500 MHz'),
        ({'carrier_frequency': 77e9}, 'carrier_frequency: expected 28 GHz, got 77 GHz'),
        ({'grid': PolarGrid(GRID.range[:9], GRID.azimuth)}, 'expected 20 x 12 bins.*got 9 x 12'),
        (
            {'grid': PolarGrid(GRID.range * 1.1, GRID.azimuth)},
            r'grid, range bins: expected 9\.5 m at 19 \(20 x 12 bins of .* 9.50 m .*\), got 10\.45 m \(.* 10\.45 m',
        ),
        ({'grid': WARPED}, 'azimuth bins: expected -4.69.* deg at 5 .*, got -4.9'),
        ({'grid': PolarGrid(GRID.range, GRID.azimuth, True)}, 'grid: expected wraps False, got True'),
    ],
)
def test_another_radar_is_told_apart(change, message):
    assert re.search(message, RADAR.difference(replace(RADAR, **change)))


def test_what_a_radar_does_not_tell_and_rounding_do_not_count():
    rounded = PolarGrid(GRID.range.astype(np.float32), GRID.azimuth.astype(np.float32))
    assert RADAR.difference(RadarGeometry('', rounded, Reference.NOISE_FLOOR)) == ''


def test_heatmaps_formed_otherwise_are_told_apart_by_what_both_tell():
    formed = replace(RADAR, formation='azimuth_window=taylor clutter_removal=ego_motion unfold_velocity=true')
    other = replace(RADAR, formation='azimuth_window=taylor clutter_removal=none unfold_velocity=false')
    assert formed.difference(other) == (
        'formation of the heatmaps: expected clutter_removal=ego_motion unfold_velocity=true, '
        'got clutter_removal=none unfold_velocity=false'
    )
    fewer = replace(RADAR, formation='beamformer=fft clutter_removal=ego_motion')
    assert formed.difference(fewer) == fewer.difference(formed) == ''
    assert formed.difference(RADAR) == RADAR.difference(formed) == ''


def test_the_geometry_of_a_heatmap():
    values = np.zeros(GRID.shape, np.float32)
    heatmap = Heatmap(values, GRID, Reference.NOISE_FLOOR, 0.0, None, 'one', 28e9, 400e6, 'beamformer=fft')
    assert RADAR.difference(RadarGeometry.of(heatmap)) == ''
    assert RadarGeometry.of(heatmap) == replace(RADAR, formation='beamformer=fft')


def test_another_radar_is_refused_by_name_of_both():
    expected = "bag: expected the radar of model; radar: expected 'one', got 'two'"
    with pytest.raises(OtherRadarError, match=expected):
        check_same_radar(RADAR, replace(RADAR, name='two'), 'bag', 'the radar of model')
    check_same_radar(RADAR, replace(RADAR, name='', bandwidth=0.0, carrier_frequency=28e9 + 1e3), 'bag', 'any')


def test_equal_is_only_what_tells_the_very_same():
    assert replace(RADAR, grid=PolarGrid(GRID.range, GRID.azimuth)) == RADAR
    assert replace(RADAR, name='') != RADAR


def test_a_radar_of_several_is_what_any_of_them_tells():
    unknown = replace(RADAR, name='', bandwidth=0.0)
    formed, other = (replace(RADAR, formation=f'clutter_removal={how}') for how in ('static', 'none'))
    assert common_radar([('a', unknown), ('b', formed), ('c', RADAR)]) == formed
    with pytest.raises(OtherRadarError, match='c: expected the radar of a; formation .*=static, got .*=none'):
        common_radar([('a', unknown), ('b', formed), ('c', other)])
