# SPDX-License-Identifier: Apache-2.0
"""The ray-traced back end, where Sionna RT and LLVM are: levels, places, shadows, masks, determinism."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.link_budget import sample_snr
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.simulation.kinds import KINDS
from radio_visual_ssl.simulation.layout import Body
from radio_visual_ssl.simulation.llvm import RaytracingUnavailable
from radio_visual_ssl.simulation.radio_materials import directivity, permittivity, scattering_coefficient
from radio_visual_ssl.simulation.scene import Ego, Ground, Lighting, Mast, Mover, Scene, Wall
from radio_visual_ssl.simulation.simulator import Simulator
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.simulation.triangles import Triangles

try:
    from radio_visual_ssl.simulation.path_tracer import Part, PathTracer
    from radio_visual_ssl.simulation.raytraced import RaytracedSimulator
    from radio_visual_ssl.simulation.raytraced_channel import Echoes, RaytracedChannel
except RaytracingUnavailable as missing:
    pytest.skip(str(missing), allow_module_level=True)

PROFILE = load_profile('ofdm_28ghz_400mhz_16rx')
FORMER = HeatmapFormer(PROFILE)
SIZE = (320, 240)
NO_NOISE = 80.0  # dB, reference ratio at which the noise does not matter

# Mean of 10 lg(sigma_M) in 3GPP TR 38.901 V19, clause 7.9.2.1: human (table 7.9.2.1-1), vehicle (table 7.9.2.1-4);
# as in sionna.rt.rcs.tr38901.parameters.
PUBLISHED_DBSM = {'pedestrian': -1.37, 'car': 11.25, 'van': 11.25}


def field(*movers, walls=(), ego=None, snr=None):
    """A bare field by day."""
    return Scene(
        'field',
        movers=movers,
        walls=walls,
        mast=Mast(2.0, reference_snr_db=snr),
        ground=Ground(rcs_db_per_m2=-90.0),
        lighting=Lighting(hours=(13.0, 13.0)),
        ego=ego,
    )


def walk(kind, start, end, speed=0.05):
    return Mover(kind, (start, end), speed, 'reenter', jitter=0.0, one_way=True)


def peak(cube):
    heatmap = FORMER.form(cube)
    row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
    return heatmap, row, column


@pytest.fixture(scope='module')
def car():
    return RaytracedSimulator(field(walk('car', (18.0, 3.0), (26.0, 4.0), 4.0)), PROFILE, 3, image_size=SIZE)


@pytest.mark.parametrize('place', [(12.0, 3.0), (30.0, -8.0)])
def test_a_point_reflector_is_where_it_is_and_as_strong_as_the_radar_equation_says(place):
    scene = field(walk('reflector', place, (place[0] + 0.5, place[1])), snr=None)
    simulator = RaytracedSimulator(scene, PROFILE, 1, image_size=SIZE)
    ((body, pose),) = simulator.layout.moving(0.0)
    spot = np.array([pose.x, pose.y, body.size[2] - 2.0])
    distance = np.linalg.norm(spot)
    cubes = [simulator.cube(time) for time in np.arange(8) * 0.01]
    heatmap, row, column = peak(cubes[0])
    grid = heatmap.grid
    assert abs(grid.range[row] - distance) <= np.diff(grid.range).mean()
    cone = spot[1] / distance
    assert abs(np.sin(grid.azimuth[column]) - cone) <= np.diff(np.sin(grid.azimuth)).max()
    noise = np.mean([np.abs(cube) ** 2 for cube in cubes]) - np.mean([np.abs(cube.mean(axis=0)) ** 2 for cube in cubes])
    assert noise == pytest.approx(1.0, abs=0.1)
    quiet = RaytracedSimulator(replace(scene, mast=Mast(2.0, reference_snr_db=NO_NOISE)), PROFILE, 1, image_size=SIZE)
    level = np.mean(np.abs(quiet.cube(0.0)) ** 2) * 10 ** (-NO_NOISE / 10)
    expected = sample_snr(PROFILE, body.rcs, distance) / sample_snr(PROFILE, 10.0, 30.0) * (spot[0] / distance) ** 2
    assert 10 * np.log10(level / expected) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize('kind', sorted(PUBLISHED_DBSM))
@pytest.mark.parametrize('frequency', [28e9, 77e9])
def test_mean_cross_sections_are_those_of_the_description_and_near_published_ones(kind, frequency):
    made = KINDS[kind]
    body = Body(kind, made.size, made.rcs, (0, 0, 0), 1, made.material)
    shape = Triangles.of(body)
    tracer = PathTracer(
        [Part('body', shape, *permittivity(made.material, frequency), directivity=directivity(kind))], frequency
    )
    wavelength, radar, sections = 299792458 / frequency, np.array([0.0, 0.0, 4.0]), []
    for heading in np.arange(0, 2 * np.pi, np.pi / 8):
        tracer.move({'body': shape.placed(Pose(20.0, 0.0, heading)).points})
        paths = tracer.paths(radar, 1_000_000, 1, mirrors=False)
        far = np.linalg.norm(paths.vertices[0] - radar, axis=1)
        sections.append(np.sum(np.abs(paths.amplitude) ** 2 * far**4) * (4 * np.pi) ** 3 / wavelength**2)
    mean = np.mean(sections) * scattering_coefficient(body, shape, frequency) ** 2
    assert 10 * np.log10(mean / made.rcs) == pytest.approx(0.0, abs=0.8)
    assert 10 * np.log10(mean) == pytest.approx(PUBLISHED_DBSM[kind], abs=3.0)


def test_a_car_shows_in_the_heatmap_with_its_velocity(car):
    frame = car.frame(1.0)
    (target,) = frame.targets
    heatmap, row, column = peak(frame.cube)
    assert abs(heatmap.grid.range[row] - np.hypot(target.range, target.z + 0.7)) < 2.8
    assert heatmap.grid.azimuth[column] == pytest.approx(target.azimuth, abs=np.radians(8))
    assert heatmap.velocity[row, column] == pytest.approx(target.radial_velocity, abs=PROFILE.velocity_resolution)
    assert frame.paths[target.track_id] > 1000
    assert frame.undersampled == ()


def test_truth_mask_and_depth_agree(car):
    frame = car.frame(0.5)
    (target,) = frame.targets
    middle = np.array([target.x, target.y, target.z + 0.6])
    pixels, distance = frame.camera.project(middle)
    column, row = np.rint(pixels[0]).astype(int)
    assert frame.mask[row, column] == target.track_id
    assert frame.depth[row, column] == pytest.approx(distance[0], abs=2.5)
    fast = Simulator(car.scene, PROFILE, 3, image_size=SIZE)
    assert repr(fast.targets(0.5)) == repr(frame.targets)
    agree = np.mean(fast.view(0.5).mask == frame.mask)
    assert agree > 0.998


def test_the_same_seed_gives_the_same_frame(car):
    again = RaytracedSimulator(car.scene, PROFILE, 3, image_size=SIZE)
    again.frame(0.2)
    first, second = car.frame(0.7), again.frame(0.7)
    assert first.paths == second.paths
    a, b = FORMER.form(first.cube).values, FORMER.form(second.cube).values
    floor = np.median(a)
    assert np.max(np.abs(a - b)[a > floor]) < 0.1
    close = np.abs(first.image.astype(int) - second.image.astype(int)) <= 1
    assert np.mean(np.all(close, axis=2)) >= 0.999
    assert np.array_equal(first.mask, second.mask)


def test_a_wall_hides_what_is_behind_it_and_mirrors_what_is_before_it():
    scene = field(walk('car', (20.0, 0.0), (20.5, 0.0)), snr=NO_NOISE)
    hidden = replace(scene, walls=(Wall((12.0, -8.0), (12.0, 8.0), 5.0),))
    seen = RaytracedChannel(RaytracedSimulator(scene, PROFILE, 0, image_size=SIZE).layout, PROFILE, rays=1_000_000)
    behind = RaytracedChannel(RaytracedSimulator(hidden, PROFILE, 0, image_size=SIZE).layout, PROFILE, rays=1_000_000)
    assert seen.mover_echoes(0.0)[1][1] > 200
    assert behind.mover_echoes(0.0)[1][1] == 0
    beside = replace(scene, walls=(Wall((4.0, 8.0), (40.0, 8.0), 5.0),))
    mirror = RaytracedChannel(RaytracedSimulator(beside, PROFILE, 0, image_size=SIZE).layout, PROFILE, rays=1_000_000)
    echoes, _ = mirror.mover_echoes(0.0)
    image = np.unique(np.round(echoes.out[:, 1] - echoes.back[:, 1]))
    assert image.min() < -10 and image.max() > 10


def test_clutter_that_scatters_twice_is_hidden_where_its_way_is_blocked():
    scene = field(walk('car', (20.0, 0.0), (20.5, 0.0)), snr=NO_NOISE)
    channel = RaytracedChannel(RaytracedSimulator(scene, PROFILE, 0, image_size=SIZE).layout, PROFILE, rays=100_000)
    ways = [
        ((20.0, -10.0), (20.0, 10.0), True),  # from spot to spot through the car
        ((14.0, 0.0), (14.0, 10.0), False),  # past it; as far on as the way is long, it would be behind the car
        ((30.0, 0.0), (30.0, 15.0), True),
        ((30.0, 15.0), (30.0, 0.0), True),
        ((25.0, -15.0), (35.0, -15.0), False),
        ((30.0, 0.0), (30.0, 0.0), True),
        ((14.0, 0.0), (14.0, 0.0), False),
    ]
    first, last = (np.array([(*way[end], -1.2) for way in ways]) for end in (0, 1))
    length = np.linalg.norm(first, axis=1) + np.linalg.norm(last - first, axis=1)
    out = first * (length / np.linalg.norm(first, axis=1))[:, None]
    rest, one = np.zeros_like(out), np.ones(len(ways), np.complex64)
    channel._clutter = Echoes(out, last, rest, rest, one, np.zeros(len(ways), np.int64), first)
    lost = channel._clutter.chosen(np.flatnonzero([way[2] for way in ways]))
    expected = channel.response(replace(lost, amplitude=-lost.amplitude), moving=False)
    np.testing.assert_allclose(channel._shadow(0.0), expected, atol=1e-3)


def test_from_an_ego_vehicle_what_stands_still_comes_towards_the_radar():
    ego = Ego(((0.0, 0.0), (40.0, 0.0), (80.0, 0.0)), 8.0, (0.0, 0.0))
    scene = field(walls=(Wall((30.0, -6.0), (30.0, 6.0), 4.0),), ego=ego)
    simulator = RaytracedSimulator(scene, PROFILE, 2, image_size=SIZE)
    speed = simulator.layout.sensors(0.5).speed
    heatmap, row, column = peak(simulator.cube(0.5))
    assert heatmap.grid.range[row] == pytest.approx(30.0 - simulator.layout.sensors(0.5).x, abs=2.0)
    assert heatmap.velocity[row, column] == pytest.approx(-speed, abs=PROFILE.velocity_resolution)
