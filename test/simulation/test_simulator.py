# SPDX-License-Identifier: Apache-2.0
"""The simulator: cubes that show what the truth says, flags, shadows, determinism."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, FmcwWaveform, OfdmWaveform, RadarProfile
from radio_visual_ssl.simulation.layout import lay_out
from radio_visual_ssl.simulation.scatter import ScattererChannel
from radio_visual_ssl.simulation.scene import Ground, Mast, Mover, Scene, Wall, load_scene
from radio_visual_ssl.simulation.simulator import Simulator


def uniform_line(count, spacing):
    positions = np.zeros((count, 3))
    positions[:, 1] = (np.arange(count) - (count - 1) / 2) * spacing
    return positions


@pytest.fixture(scope='module')
def profile():
    waveform = OfdmWaveform(28e9, 400e6 / 128, 300e-6, 16, 128)
    return RadarProfile('ofdm', waveform, np.zeros((1, 3)), uniform_line(16, SPEED_OF_LIGHT / 56e9), (0,))


def field_of(*movers, walls=(), mast=None):
    """A bare field: all but silent ground."""
    return Scene(
        'field',
        movers=tuple(replace(mover, jitter=0.0) for mover in movers),
        walls=walls,
        mast=mast or Mast(height=2.0),
        ground=Ground(rcs_db_per_m2=-90.0),
    )


def straight(kind, start, end, speed):
    return Mover(kind, (start, end), speed, 'reenter', jitter=0.0)


def time_when(simulator, condition):
    """A time at which a target's pose fulfils a condition."""
    for time in np.arange(0, 60, 0.05):
        if any(condition(pose) for _, pose in simulator.layout.moving(time)):
            return float(time)
    raise AssertionError('the target never gets there')


@pytest.mark.parametrize('y', [-6.0, 0.0, 8.0])
def test_the_heatmaps_peak_is_on_the_target(profile, y):
    simulator = Simulator(field_of(straight('car', (10.0, y), (40.0, y), 5.0)), profile, seed=4)
    former = HeatmapFormer(profile)
    for distance in (15.0, 25.0, 34.0):
        time = time_when(simulator, lambda pose, distance=distance: abs(pose.x - distance) < 0.3)
        (target,) = simulator.targets(time)
        heatmap = former.form(simulator.cube(time))
        row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
        slant = np.hypot(target.range, target.z + target.size[2] / 2)
        assert -3.0 < heatmap.grid.range[row] - slant < 1.5
        assert heatmap.grid.azimuth[column] == pytest.approx(target.azimuth, abs=np.radians(8))


@pytest.mark.parametrize('direction', [1, -1], ids=['receding', 'approaching'])
def test_the_velocity_map_shows_the_radial_velocity(profile, direction):
    ends = [(12.0, 0.0), (40.0, 0.0)][::direction]
    simulator = Simulator(field_of(straight('car', *ends, 6.0)), profile, seed=1)
    time = time_when(simulator, lambda pose: 20 < pose.x < 30)
    (target,) = simulator.targets(time)
    heatmap = HeatmapFormer(profile).form(simulator.cube(time))
    row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
    resolution = profile.wavelength / (2 * profile.waveform.num_symbols * profile.waveform.symbol_period)
    assert abs(heatmap.velocity[row, column] - target.radial_velocity) < resolution
    assert abs(target.velocity[0]) == pytest.approx(np.linalg.norm(target.velocity))
    assert abs(target.radial_velocity) == pytest.approx(abs(target.velocity[0]), rel=0.02)


def test_a_target_of_ten_square_metres_at_thirty_metres_has_the_stated_signal_to_noise_ratio(profile):
    scene = field_of(straight('reflector', (29.9, 0.0), (30.1, 0.0), 0.01), mast=Mast(2.0, reference_snr_db=20.0))
    power = np.mean(np.abs(ScattererChannel(lay_out(scene, 1), profile).cube(0.0)) ** 2)
    assert 10 * np.log10(power - 1) == pytest.approx(20.0, abs=0.2)


def test_noise_has_variance_one_and_is_white(profile):
    simulator = Simulator(field_of(mast=Mast(2.0, reference_snr_db=-60.0)), profile)
    cube = simulator.cube(0.0)
    assert np.mean(np.abs(cube) ** 2) == pytest.approx(1.0, rel=0.03)
    assert np.mean(cube.real * cube.imag) == pytest.approx(0.0, abs=0.01)
    assert abs(np.mean(cube[:, :, 1:] * np.conj(cube[:, :, :-1]))) < 0.02


def test_what_stands_still_repeats_over_slow_time_and_between_frames(profile):
    scene = replace(field_of(mast=Mast(4.0, reference_snr_db=60.0)), parked=load_scene('parking_lot').parked)
    cube, later = (Simulator(scene, profile, 2).cube(time) for time in (0.0, 5.0))
    np.testing.assert_allclose(cube[0], cube[-1], atol=10.0)
    np.testing.assert_allclose(cube, later, atol=10.0)
    assert np.abs(cube).max() > 1000


def test_the_calibration_that_the_profile_asks_for_undoes_the_channel_errors(profile):
    factors = np.exp(1j * np.arange(16)).astype(np.complex64) * np.linspace(0.8, 1.2, 16).astype(np.float32)
    scene = field_of(straight('car', (12.0, 0.0), (40.0, 0.0), 6.0))
    ideal = Simulator(scene, profile, 3).cube(1.0)
    raw = Simulator(scene, replace(profile, calibration=factors), 3).cube(1.0)
    np.testing.assert_allclose(raw * factors[:, None], ideal, rtol=1e-4, atol=1e-4)


def test_a_wall_hides_a_target_from_radar_and_camera(profile):
    mover = straight('car', (30.0, 0.0), (30.2, 0.0), 0.01)
    wall = Wall((20.0, 6.0), (20.0, -6.0), height=4.0, rcs_db_per_m2=-90.0)
    mast = Mast(2.0, reference_snr_db=20.0)
    open_field, behind = (
        Simulator(field_of(mover, mast=mast), profile),
        Simulator(field_of(mover, walls=(wall,), mast=mast), profile),
    )
    shown, hidden = (10 * np.log10(np.mean(np.abs(simulator.cube(0.0)) ** 2)) for simulator in (open_field, behind))
    assert shown - hidden > 15
    assert open_field.targets(0.0)[0].visibility == 1.0
    assert behind.targets(0.0)[0].visibility == 0.0


def test_a_target_casts_a_shadow_on_the_clutter_behind_it(profile):
    wall = Wall((35.0, 2.0), (35.0, -2.0), height=1.4, rcs_db_per_m2=0.0)
    mast = Mast(1.0, reference_snr_db=30.0)
    mover = Mover('van', ((12.0, -30.0), (12.0, 0.0), (12.0, 30.0)), 4.0, 'reenter', jitter=0.0)
    simulator = Simulator(field_of(mover, walls=(wall,), mast=mast), profile, 1)
    former = HeatmapFormer(profile)

    def wall_level(time):
        heatmap = former.form(simulator.cube(time))
        rows = np.abs(heatmap.grid.range - 35.0) < 1.0
        columns = np.abs(heatmap.grid.azimuth) < 0.05
        return heatmap.values[np.ix_(rows, columns)].max()

    aside = time_when(simulator, lambda pose: abs(pose.y) > 20)
    before = time_when(simulator, lambda pose: abs(pose.y) < 0.2)
    assert wall_level(aside) - wall_level(before) > 10


def test_partly_hidden_targets_have_partial_visibility(profile):
    wall = Wall((20.0, 0.0), (20.0, -20.0), height=4.0)
    mover = straight('car', (30.0, -10.0), (30.0, 10.0), 4.0)
    simulator = Simulator(field_of(mover, walls=(wall,)), profile)
    seen = [simulator.targets(time)[0] for time in np.arange(0, 4.8, 0.1)]
    for target in seen:
        if target.y < -3:
            assert target.visibility == 0
        elif target.y > 3:
            assert target.visibility == 1
    assert any(0.2 < target.visibility < 0.8 for target in seen)


def test_truth_tells_place_box_motion_and_track():
    scene, profile = (
        load_scene('parking_lot'),
        RadarProfile(
            'ofdm', OfdmWaveform(28e9, 400e6 / 256, 300e-6, 4, 256), np.zeros((1, 3)), uniform_line(8, 0.00535), (0,)
        ),
    )
    simulator = Simulator(scene, profile, 5)
    for time in np.arange(0, 20, 1.7):
        targets, later = simulator.targets(time), simulator.targets(time + 1e-3)
        for target in targets:
            assert target.z == -scene.mast.height
            assert target.label in ('car', 'van', 'pedestrian', 'cyclist')
            assert target.size[0] > 0
            assert 0 <= target.visibility <= 1
            assert target.track_id in range(1, 7)
            match = [other for other in later if other.track_id == target.track_id]
            if match and np.linalg.norm(target.velocity) > 0:
                moved = np.array([match[0].x - target.x, match[0].y - target.y]) / 1e-3
                np.testing.assert_allclose(moved, target.velocity[:2], atol=0.05)
                middle = np.array([target.x, target.y, target.z + target.size[2] / 2])
                approach = target.velocity @ middle / np.linalg.norm(middle)
                assert target.radial_velocity == pytest.approx(approach)


def test_views_follow_the_grid_the_field_of_view_and_the_image(profile):
    grid = PolarGrid(np.arange(0.5, 30, 0.5), np.radians(np.arange(-85.0, 86.0)))
    mast = Mast(height=4.0, field_of_view_deg=90.0)
    mover = Mover('pedestrian', ((3.0, 0.0), (10.0, 0.0), (20.0, 25.0), (40.0, 0.0)), 3.0, 'loop')
    simulator = Simulator(field_of(mover, mast=mast), profile, 2, grid)
    targets = [simulator.targets(time)[0] for time in np.arange(0, 40, 0.25)]
    for target in targets:
        assert target.in_radar_view == (target.range <= 29.75 and abs(target.azimuth) <= np.radians(45))
        pixel, depth = simulator.camera.project([(target.x, target.y, target.z + target.size[2] / 2)])
        inside = depth[0] > 0 and np.all(pixel[0] > -0.5) and np.all(pixel[0] < (639.5, 479.5))
        assert target.in_camera_view == inside
    for flag in ('in_radar_view', 'in_camera_view'):
        assert {getattr(target, flag) for target in targets} == {True, False}


def test_the_same_scene_seed_and_time_give_the_same_frame(profile):
    scene = load_scene('parking_lot')
    first = Simulator(scene, profile, 7)
    first.frame(1.0)
    frame, again, other = (
        first.frame(2.5),
        Simulator(scene, profile, 7).frame(2.5),
        Simulator(scene, profile, 8).frame(2.5),
    )
    assert np.array_equal(frame.cube, again.cube)
    assert np.array_equal(frame.image, again.image)
    assert [(x.x, x.y, x.visibility) for x in frame.targets] == [(x.x, x.y, x.visibility) for x in again.targets]
    assert not np.array_equal(frame.cube, other.cube)
    assert not np.array_equal(frame.image, other.image)
    assert not np.array_equal(frame.cube, first.frame(2.6).cube)


def test_frames_have_the_promised_types(profile):
    frame = Simulator(load_scene('parking_lot'), profile).frame(0.5)
    assert (frame.cube.shape, frame.cube.dtype) == ((16, 16, 128), np.complex64)
    assert (frame.image.shape, frame.image.dtype) == ((480, 640, 3), np.uint8)
    assert frame.cube.flags.writeable
    assert frame.image.flags.c_contiguous
    assert frame.time == 0.5


def test_fmcw_radars_with_alternating_transmitters_are_simulated():
    wavelength = SPEED_OF_LIGHT / 77e9
    waveform = FmcwWaveform(77e9, 20e12, 10e6, 40e-6, 32, 256)
    positions = uniform_line(2, 2 * wavelength), uniform_line(4, wavelength / 2)
    profile = RadarProfile('fmcw', waveform, *positions, (0, 1))
    simulator = Simulator(field_of(straight('car', (10.0, 4.0), (30.0, 4.0), 5.0)), profile, seed=1)
    time = time_when(simulator, lambda pose: abs(pose.x - 18) < 0.3)
    (target,) = simulator.targets(time)
    cube = simulator.cube(time)
    assert cube.shape == (32, 8, 256)
    heatmap = HeatmapFormer(profile).form(cube)
    row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
    assert -3.0 < heatmap.grid.range[row] - target.range < 1.5
    assert heatmap.grid.azimuth[column] == pytest.approx(target.azimuth, abs=np.radians(8))
