# SPDX-License-Identifier: Apache-2.0
"""The scatterer simulation against closed forms: where a point shows, how strong it is, and what resolution means."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.radar.cube import Axis, RadarCube, canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.link_budget import sample_snr
from radio_visual_ssl.radar.profile import SPEED_OF_LIGHT, FrontEnd, OfdmWaveform, RadarProfile, load_profile
from radio_visual_ssl.radar.profile import profile_names as all_profile_names
from radio_visual_ssl.radar.windows import window
from radio_visual_ssl.simulation.channel import Channel
from radio_visual_ssl.simulation.kinds import KINDS
from radio_visual_ssl.simulation.layout import Body, lay_out
from radio_visual_ssl.simulation.receiver import reference_snr
from radio_visual_ssl.simulation.rendering import Renderer, camera_on
from radio_visual_ssl.simulation.scatter import ScattererChannel
from radio_visual_ssl.simulation.scatterers import Scatterers
from radio_visual_ssl.simulation.scene import Ground, Mast, Mover, Scene, load_scene
from radio_visual_ssl.simulation.simulator import GroundTruth, Simulator
from radio_visual_ssl.simulation.trajectory import Pose, Trajectory

ONE = np.ones(1, dtype=np.complex64)
FMCW_AXES = (Axis.CHIRP, Axis.VIRTUAL_CHANNEL, Axis.SAMPLE)
SMALL = OfdmWaveform(28e9, 3.125e6, 125e-6, 8, 64)


def small_profile(**changes):
    """One antenna pair in one place and a second receiver beside it."""
    receivers = np.array([[0.0, 0.0, 0.0], [0.0, SPEED_OF_LIGHT / 56e9, 0.0]])
    return RadarProfile('small', SMALL, np.zeros((1, 3)), receivers, **changes)


def reflector_at(distance, mast=None, reflection=0.0, aside=0.0):
    """A corner reflector of 10 m^2 that all but stands still, level with the radar, above silent ground."""
    mover = Mover('reflector', ((distance, aside), (distance + 1e-3, aside)), 1e-6, 'reenter', jitter=0.0)
    ground = Ground(rcs_db_per_m2=-200.0, reflection=reflection)
    return Scene('field', movers=(mover,), mast=mast or Mast(height=1.0), ground=ground)


@pytest.mark.parametrize('name', all_profile_names())
def test_a_points_peak_is_within_half_a_bin_in_range_azimuth_and_doppler(name):
    profile = load_profile(name)
    former = HeatmapFormer(profile, FormationSettings(azimuth_bins=max(64, 2 * profile.num_virtual_channels)))
    rng = np.random.default_rng(1)
    sines = np.sin(former.grid.azimuth)
    duration = profile.waveform.slow_time_count * profile.slow_time_period
    for _ in range(4):
        distance = profile.waveform.max_range * rng.uniform(0.35, 0.5)
        sine, speed = rng.uniform(-0.7, 0.7), rng.uniform(-3.4, 3.4) * profile.velocity_resolution
        sight = np.array([np.sqrt(1 - sine**2), sine, 0.0])
        start = sight * (distance - speed * duration / 2)
        heatmap = former.form(Channel(profile).response(start[None], ONE, (speed * sight)[None]))
        row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
        assert abs(heatmap.grid.range[row] - distance) <= 0.501 * np.diff(heatmap.grid.range)[0]
        assert abs(sines[column] - sine) <= 0.501 * np.diff(sines).max()
        # a bin of the Doppler transform is a resolution cell, as nothing is padded
        assert abs(heatmap.velocity[row, column] - speed) <= 0.501 * profile.velocity_resolution


def test_an_isotropic_point_in_free_space_falls_with_the_fourth_power_of_the_distance():
    mast = Mast(height=1.0, reference_snr_db=60.0)
    profile, levels = small_profile(), {}
    for distance in (5.0, 10.0, 20.0, 40.0):
        cube = ScattererChannel(lay_out(reflector_at(distance, mast)), profile).cube(0.0)
        levels[distance] = 10 * np.log10(np.mean(np.abs(cube) ** 2))
    for distance, level in levels.items():
        assert level - levels[5.0] == pytest.approx(-40 * np.log10(distance / 5.0), abs=0.1)


def range_profile(profile, spacing, range_window):
    """Power over finely padded range of two equal points, averaged over 64 relative phases; the range axis in m."""
    settings = FormationSettings(range_window=range_window, range_bins=16 * profile.waveform.num_subcarriers)
    former, channel = HeatmapFormer(profile, settings), Channel(profile)
    places = np.array([[20.0 - spacing / 2, 0.0, 0.0], [20.0 + spacing / 2, 0.0, 0.0]])
    power = np.zeros(former.grid.range.size)
    for phase in np.exp(2j * np.pi * np.arange(64) / 64):
        cube = channel.response(places, np.array([1.0, phase], dtype=np.complex64))
        spectrum, _ = former.spectrum(np.ascontiguousarray(cube))
        power += np.abs(spectrum[spectrum.shape[0] // 2, :, 0]) ** 2
    return power, former.grid.range


def depth_of_dip(profile, cells, range_window):
    """dB from the lower of the two peaks down to the middle; 0 where there is one peak."""
    resolution = profile.range_resolution
    power, distance = range_profile(profile, cells * resolution, range_window)
    middle = np.argmin(np.abs(distance - 20.0))
    near = np.abs(distance - 20.0) < 2 * resolution
    left, right = (power[near & side].max() for side in (distance <= 20.0, distance >= 20.0))
    return 10 * np.log10(min(left, right) / power[middle])


def test_two_points_are_told_apart_at_the_range_resolution_and_not_at_half_of_it():
    profile = load_profile('ofdm_28ghz_400mhz_8rx')
    assert depth_of_dip(profile, 1.0, 'rectangular') == pytest.approx(0.91, abs=0.15)
    assert depth_of_dip(profile, 0.5, 'rectangular') < 0.05
    # the Hann window of the shipped settings takes twice the spacing
    assert depth_of_dip(profile, 1.0, 'hann') < 0.05
    assert depth_of_dip(profile, 2.0, 'hann') > 2.0


@pytest.mark.parametrize(
    'name', ['ofdm_28ghz_100mhz_8rx', 'ofdm_28ghz_400mhz_16rx', 'fmcw_77ghz_2tx4rx', 'fmcw_60ghz_3tx4rx']
)
def test_the_noise_floor_is_what_the_link_budget_says(name):
    """A reflector on a range bin, at rest: its range-Doppler peak over the mean noise, less what the windows gain."""
    profile = load_profile(name)
    former = HeatmapFormer(profile)
    bin_ = int(0.2 * former.grid.range.size)
    distance = former.grid.range[bin_]
    layout = lay_out(reflector_at(distance))
    spectrum = former.range_doppler(ScattererChannel(layout, profile).cube(0.0))
    gain = 1.0
    waveform, settings = profile.waveform, former.settings
    for kind, count in (
        (settings.range_window, waveform.fast_time_count),
        (settings.doppler_window, waveform.slow_time_count),
    ):
        weights = window(kind, count)
        gain *= np.sum(weights) ** 2 / np.sum(weights**2)
    expected = 10 * np.log10(sample_snr(profile, 10.0, distance) * gain)
    level = spectrum.values[bin_, np.argmin(np.abs(spectrum.velocity))]
    assert expected > 15
    assert level == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize('name', ['fmcw_77ghz_2tx4rx', 'fmcw_60ghz_3tx4rx'])
def test_real_samples_have_the_same_peak_over_noise_as_complex_ones(name):
    """Half the noise bandwidth doubles a sample's ratio, and half of its power is in the other half of the spectrum."""
    iq = load_profile(name)
    real = replace(iq, waveform=replace(iq.waveform, complex_samples=False))
    distance = HeatmapFormer(real).grid.range[25]
    layout, levels = lay_out(reflector_at(distance)), []
    for profile in (iq, real):
        cube = ScattererChannel(layout, profile).cube(0.0)
        assert cube.dtype == (np.complex64 if profile is iq else np.float32)
        samples = canonical(RadarCube(cube, FMCW_AXES), profile)
        levels.append(HeatmapFormer(profile).range_doppler(samples).values[25].max())
    assert sample_snr(real, 10.0, distance) == pytest.approx(2 * sample_snr(iq, 10.0, distance))
    assert levels[0] > 30
    assert levels[1] == pytest.approx(levels[0], abs=0.3)


@pytest.mark.parametrize('complex_samples', [True, False])
def test_noise_has_variance_one_before_the_calibration_is_divided_out(complex_samples):
    profile = load_profile('fmcw_77ghz_2tx4rx')
    factors = np.linspace(0.5, 2.0, 8) * np.exp(1j * np.arange(8))
    waveform = replace(profile.waveform, complex_samples=complex_samples)
    profile = replace(profile, waveform=waveform, calibration=factors)
    silent = lay_out(Scene('silent', movers=(), ground=Ground(rcs_db_per_m2=-200.0)))
    cube = ScattererChannel(silent, profile).cube(0.0)
    power = np.mean(np.abs(cube) ** 2, axis=(0, 2))
    np.testing.assert_allclose(power * np.abs(factors) ** 2, 1.0, rtol=0.03)


def test_calibration_undoes_itself_on_real_samples():
    profile, mast = load_profile('fmcw_77ghz_2tx4rx'), Mast(height=1.0, reference_snr_db=60.0)
    profile = replace(profile, waveform=replace(profile.waveform, complex_samples=False))
    factors = np.linspace(0.5, 2.0, 8) * np.exp(1j * np.arange(8))
    layout, spectra = lay_out(reflector_at(20.0, mast)), []
    for radar in (profile, replace(profile, calibration=factors)):
        cube = canonical(RadarCube(ScattererChannel(layout, radar).cube(0.0), FMCW_AXES), radar)
        spectra.append(HeatmapFormer(radar).spectrum(cube)[0])
    strong = np.abs(spectra[0]) > 0.5 * np.abs(spectra[0]).max()
    np.testing.assert_allclose(spectra[1][strong], spectra[0][strong], rtol=1e-3)


def test_an_fmcw_radar_shows_no_phantom_of_what_is_beyond_its_unambiguous_range():
    """A strong reflector at 1.2 of it would fold to 0.2 of it."""
    profile, mast = load_profile('fmcw_60ghz_3tx4rx'), Mast(height=1.0, reference_snr_db=0.0)
    former = HeatmapFormer(profile)
    levels = []
    for share in (0.9, 1.2):
        layout = lay_out(reflector_at(share * profile.waveform.max_range, mast))
        levels.append(former.form(ScattererChannel(layout, profile).cube(0.0)).values.max())
    assert levels[0] > 45
    assert levels[1] < 15


def test_a_scene_may_state_its_own_ratio_and_profiles_without_a_front_end_have_a_default():
    stated = lay_out(reflector_at(20.0, Mast(height=1.0, reference_snr_db=7.0)))
    open_ = lay_out(reflector_at(20.0))
    radar = small_profile(front_end=FrontEnd(tx_power_dbm=30.0))
    assert 10 * np.log10(reference_snr(stated, radar)) == pytest.approx(7.0)
    assert reference_snr(open_, radar) == sample_snr(radar, 10.0, 30.0)
    assert 10 * np.log10(reference_snr(open_, small_profile())) == pytest.approx(-10.0)


def test_the_element_pattern_weakens_what_is_off_boresight():
    mast = Mast(height=1.0, reference_snr_db=60.0)
    levels = []
    for exponent in (0.0, 1.0, 3.0):
        profile = small_profile(front_end=FrontEnd(pattern_exponent=exponent))
        # 20 m away, 40 degrees aside
        scene = reflector_at(20 * np.cos(np.radians(40)), mast, aside=20 * np.sin(np.radians(40)))
        levels.append(10 * np.log10(np.mean(np.abs(ScattererChannel(lay_out(scene), profile).cube(0.0)) ** 2)))
    loss = 20 * np.log10(np.cos(np.radians(40)))  # both antennas, exponent 1
    assert levels[1] - levels[0] == pytest.approx(loss, abs=0.1)
    assert levels[2] - levels[0] == pytest.approx(3 * loss, abs=0.1)


@pytest.mark.parametrize('reflection', [0.7, -0.9])
def test_the_ground_bounce_interferes_as_its_mirror_image_does(reflection):
    mast = Mast(height=3.0, reference_snr_db=80.0)
    profile = small_profile()
    free, bounced = (
        ScattererChannel(lay_out(reflector_at(15.0, mast, share)), profile).cube(0.0)[0, 0]
        for share in (0.0, reflection)
    )
    direct, image = np.hypot(15.0005, 2.0), np.hypot(15.0005, 4.0)
    offsets = (np.arange(64) - 31.5) * SMALL.subcarrier_spacing
    wave = 2 * np.pi * (SMALL.carrier_frequency + offsets) / SPEED_OF_LIGHT
    # out and back either way: the square of one way
    factor = (1 + reflection * np.exp(-1j * wave * (image - direct))) ** 2
    np.testing.assert_allclose(np.abs(bounced / free), np.abs(factor), atol=0.05)


def test_phase_noise_and_channel_errors_do_what_they_are_called_after():
    mast = Mast(height=1.0, reference_snr_db=80.0)
    layout = lay_out(reflector_at(20.0, mast))
    ideal = ScattererChannel(layout, small_profile()).cube(0.0)
    noisy = ScattererChannel(layout, small_profile(front_end=FrontEnd(phase_noise_deg=10.0))).cube(0.0)
    turns = np.angle(np.mean(noisy / ideal, axis=2), deg=True)
    assert 4 < turns.std() < 18
    np.testing.assert_allclose(turns[:, 0], turns[:, 1], atol=0.1)
    wrong = FrontEnd(gain_error_db=1.0, phase_error_deg=20.0)
    errors = ScattererChannel(layout, small_profile(front_end=wrong)).cube(0.0) / ideal
    assert np.allclose(errors, errors[:1, :, :1], atol=0.02)
    assert abs(errors[0, 0, 0] - errors[0, 1, 0]) > 0.02


def test_phase_noise_differs_from_chirp_to_chirp_and_is_one_for_all_receivers():
    """Transmitters in turn send a chirp each; OFDM's send one symbol at once."""
    layout = lay_out(reflector_at(20.0, Mast(height=1.0, reference_snr_db=80.0)))
    noise = FrontEnd(phase_noise_deg=5.0)
    fmcw = replace(load_profile('fmcw_60ghz_3tx4rx'), front_end=None)
    for profile, chirps in ((fmcw, 3), (small_profile(), 1)):
        ideal, noisy = (
            ScattererChannel(layout, radar).cube(0.0) for radar in (profile, replace(profile, front_end=noise))
        )
        turns = np.angle(np.mean(noisy * ideal.conj(), axis=2), deg=True).reshape(len(ideal), chirps, -1)
        np.testing.assert_allclose(turns, np.broadcast_to(turns[..., :1], turns.shape), atol=0.1)
        assert turns[..., 0].std() == pytest.approx(5.0, rel=0.1 if chirps > 1 else 0.6)
        if chirps > 1:
            between = np.corrcoef(turns[..., 0].T)[np.triu_indices(chirps, 1)]
            assert np.abs(between).max() < 0.3


def test_the_cross_section_of_a_body_depends_on_the_aspect_and_has_its_mean():
    angles = np.radians(np.arange(0.5, 360.0))
    for kind in KINDS.values():
        gain = kind.aspect_gain(angles)
        assert gain.mean() == pytest.approx(1.0, abs=0.01)
        np.testing.assert_allclose(gain, kind.aspect_gain(-angles))
    car = KINDS['car']
    assert car.aspect_gain(np.array([np.pi / 2])) > 3 * car.aspect_gain(np.array([np.pi / 4]))


@pytest.mark.parametrize('kind', sorted(KINDS))
def test_the_mean_power_of_a_body_is_its_cross_section(kind):
    """Averaged over speckle and aspects, so far off that no side is nearer; amplitude 1 is 10 m^2 at 30 m."""
    body = Body(kind, KINDS[kind].size, KINDS[kind].rcs, (0, 0, 0), 1)
    powers = []
    for seed in range(60):
        points = Scatterers.on_body(body, seed)
        for heading in np.arange(0.0, 2 * np.pi, np.pi / 6) + 0.2:
            echo = points.placed(Pose(300.0, 0.0, heading), 1.0).amplitudes(0.0)
            powers.append(1e4 * np.sum(np.abs(echo) ** 2))
    assert 10 * np.log10(np.mean(powers) * 10 / body.rcs) == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize('kind', ['car', 'pedestrian', 'cyclist'])
def test_points_move_as_their_velocities_say(kind):
    body = Body(kind, KINDS[kind].size, 1.0, (0, 0, 0), 1)
    walk = Trajectory(np.array([[10.0, 0.0], [16.0, 3.0], [20.0, -2.0]]), 1.7)
    points, step = Scatterers.on_body(body, 1), 1e-5
    for time in np.arange(0.0, 8.0, 0.37):
        now, later = (points.placed(walk.pose(moment), 2.0) for moment in (time, time + step))
        np.testing.assert_allclose((later.position - now.position) / step, now.velocity, atol=0.02)


def test_limbs_spread_the_doppler_of_a_walker_and_not_of_a_car():
    walk = Pose(15.0, 0.0, np.pi, 1.4, walked=0.0)

    def spread(kind, pose):
        points = Scatterers.on_body(Body(kind, KINDS[kind].size, 1.0, (0, 0, 0), 1), 2).placed(pose, 1.0)
        return np.ptp(points.velocity[:, 0])

    assert spread('pedestrian', walk) > 2.0
    assert spread('pedestrian', Pose(15.0, 0.0, np.pi, 0.0)) == 0.0
    assert spread('car', walk) < 1e-9


def test_clutter_seen_from_a_moving_vehicle_has_the_doppler_of_its_motion():
    profile = load_profile('ofdm_28ghz_100mhz_8rx')
    text = load_scene('street')
    scene = replace(text, movers=(), movers_present=None, mast=replace(text.mast, reference_snr_db=0.0))
    simulator = Simulator(scene, profile, 1, image_size=(64, 48))
    former = HeatmapFormer(profile)
    speed = simulator.layout.sensors(0.0).speed
    heatmap = former.form(simulator.cube(0.0))
    strong = heatmap.values > 25.0
    expected = -speed * np.cos(heatmap.grid.azimuth)[None, :] * np.ones(heatmap.values.shape)
    assert strong.sum() > 20
    assert np.median(np.abs(heatmap.velocity - expected)[strong]) < profile.velocity_resolution


@pytest.mark.parametrize('name', ['parking_lot', 'street', 'indoor_hall'])
def test_the_truth_projected_into_the_image_lands_on_the_target(name):
    """Of targets that stand free; the middle of one behind a pole is not to be seen."""
    scene, grid = load_scene(name), HeatmapFormer(small_profile()).grid
    camera, hits, missed = camera_on(scene, (320, 240)), [], []
    for seed in range(100, 118):
        layout = lay_out(scene, seed)
        renderer, truth = Renderer(layout, camera), GroundTruth(layout, camera, grid)
        for time in np.arange(0.0, 8.0, 1.6):
            mask = renderer.view(time).mask
            for target in truth.targets(time):
                if target.in_camera_view and target.visibility > 0.9:
                    middle = (target.x, target.y, target.z + target.size[2] / 2)
                    u, v = np.rint(camera.project([middle])[0][0]).astype(int)
                    hits.append(mask[v, u] == target.track_id)
                    if not hits[-1]:
                        missed.append((seed, time, target.label, round(target.range, 1)))
    assert len(hits) > 100
    assert np.mean(hits) >= 0.99, missed


@pytest.mark.parametrize('name', ['parking_lot', 'street', 'indoor_hall'])
def test_where_nothing_hides_it_the_truth_projected_into_the_image_lands_on_every_target_that_is_seen(name):
    """However little is seen of it: what can be in the way is taken out of the scene."""
    scene, grid = load_scene(name), HeatmapFormer(small_profile()).grid
    camera, hits = camera_on(scene, (320, 240)), []
    for seed in range(100, 106):
        layout = lay_out(scene, seed)
        truth = GroundTruth(layout, camera, grid)
        alone = {
            body.number: Renderer(replace(layout, static=(), movers=((body, trajectory),)), camera)
            for body, trajectory in layout.movers
        }
        for time in np.arange(0.0, 8.0, 2.0):
            for target in truth.targets(time):
                if target.in_camera_view and target.visibility > 0:
                    middle = (target.x, target.y, target.z + target.size[2] / 2)
                    u, v = np.rint(camera.project([middle])[0][0]).astype(int)
                    hits.append(alone[target.track_id].view(time).mask[v, u] == target.track_id)
    assert len(hits) > 20
    assert np.mean(hits) >= 0.99


def test_an_image_size_keeps_the_view():
    scene = load_scene('parking_lot')
    large, small = camera_on(scene), camera_on(scene, (320, 240))
    places = np.array([[20.0, 3.0, -3.0], [12.0, -2.0, -2.0]])
    np.testing.assert_allclose(2 * small.project(places)[0] + 0.5, large.project(places)[0], atol=1e-9)
