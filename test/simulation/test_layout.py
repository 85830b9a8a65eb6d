# SPDX-License-Identifier: Apache-2.0
"""What seeds make of scenes, and what moving sensors see of them."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.simulation.kinds import KINDS
from radio_visual_ssl.simulation.layout import lay_out
from radio_visual_ssl.simulation.meshes import mesh
from radio_visual_ssl.simulation.scene import (
    CameraMount,
    Ego,
    Lighting,
    Mover,
    Pole,
    Scene,
    SceneError,
    load_scene,
    scene_names,
)
from radio_visual_ssl.simulation.trajectory import Pose

AHEAD = Mover('car', ahead=(15.0, 15.0))
ONCOMING = Mover('car', ((90.0, 2.0), (0.0, 2.0)), 10.0, 'reenter', jitter=0.0, one_way=True)
DRIVE = Scene(
    'drive',
    movers=(AHEAD, ONCOMING),
    poles=(Pole((50.0, 3.0)),),
    ego=Ego(((0.0, 0.0), (50.0, 0.0), (100.0, 20.0)), 8.0, (0.0, 0.1)),
)


@pytest.mark.parametrize(
    ('name', 'movers', 'clutter'),
    [
        ('parking_lot', {'car', 'van', 'pedestrian', 'cyclist'}, {'car', 'van', 'wall', 'pole', 'lamp_post'}),
        ('street', {'car', 'van', 'pedestrian', 'cyclist'}, {'car', 'building', 'tree', 'pole', 'lamp_post'}),
        ('indoor_hall', {'pedestrian', 'cart'}, {'shelf', 'pillar', 'wall', 'crate'}),
    ],
)
def test_shipped_scenes_hold_what_they_say(name, movers, clutter):
    layouts = [lay_out(load_scene(name), seed) for seed in range(12)]
    assert {body.kind for layout in layouts for body, _ in layout.movers} == movers
    assert clutter <= {body.kind for layout in layouts for body, _ in layout.static}
    assert all(len(layout.movers) + len(layout.static) < 255 for layout in layouts)
    assert len({body.material for layout in layouts for body, _ in layout.static}) > 1


@pytest.mark.parametrize('name', ['parking_lot', 'indoor_hall'])
def test_targets_of_shipped_scenes_do_not_run_into_clutter(name):
    for seed in range(4):
        layout = lay_out(load_scene(name), seed)
        places = np.array([(place.x, place.y, 0.5 * body.size[1]) for body, place in layout.static])
        for time in np.arange(0.0, 40.0, 0.5):
            for body, pose in layout.moving(time):
                gaps = np.hypot(*(places[:, :2] - (pose.x, pose.y)).T) - places[:, 2]
                assert np.all(gaps > 0.5 * body.size[1]), (seed, time, body, layout.static[int(np.argmin(gaps))])


def test_every_kind_has_a_shape_inside_its_box():
    layouts = [lay_out(load_scene(name), seed) for name in scene_names() for seed in range(8)]
    bodies = {body.kind: body for layout in layouts for body, _ in (*layout.static, *layout.movers)}
    assert set(KINDS) - {'reflector'} <= set(bodies)
    for kind, body in bodies.items():
        points = np.concatenate([facet.points for facet in mesh(body, 0.4)])
        reach = np.abs(points[:, :2]).max(axis=0) / np.array(body.size[:2])
        assert points[:, 2].min() >= -1e-9, kind
        assert points[:, 2].max() == pytest.approx(body.size[2], abs=0.01), kind
        if kind not in ('lamp_post', 'pedestrian'):
            assert np.all(reach <= 0.53), kind


def test_the_light_follows_the_time_of_day_and_the_weather():
    def light(**changes):
        return lay_out(Scene('x', (), lighting=Lighting(**changes)), 3).light

    noon, night, fog = light(hours=(12.0, 12.0)), light(hours=(1.0, 1.0)), light(fog=1.0, fog_visibility=(60.0, 60.0))
    assert noon.sun[2] > 0.8
    assert (noon.sunlight > 0.4, noon.lamps) == (True, 0.0)
    assert (night.sunlight, night.lamps > 0.8) == (0.0, True)
    assert night.ambient < 0.5 * noon.ambient
    assert fog.visibility == pytest.approx(60.0)
    assert light(ceiling=6.0, fog=1.0).visibility > 500


def test_what_stands_still_moves_past_an_ego_vehicle():
    layout = lay_out(DRIVE, 2)
    step = 1e-4
    for time in (0.0, 3.0, 8.0):
        (_, pose), (_, later) = layout.standing(time)[0], layout.standing(time + step)[0]
        moved = np.array([later.x - pose.x, later.y - pose.y]) / step
        np.testing.assert_allclose(moved, pose.velocity[:2], atol=0.01)
        assert (later.heading - pose.heading) / step == pytest.approx(pose.yaw_rate, abs=0.01)
    assert abs(layout.sensors(8.0).yaw_rate) > 0.001


def test_a_car_ahead_keeps_its_distance_and_has_no_relative_speed():
    layout = lay_out(DRIVE, 2)
    body, pose = next(entry for entry in layout.moving(1.0) if entry[1].x < 20 and abs(entry[1].y) < 0.5)
    assert body.kind == 'car'
    assert pose.x == pytest.approx(15.0, abs=0.2)
    assert np.hypot(*pose.velocity[:2]) < 0.5


def test_motion_relative_to_a_turning_observer_agrees_with_its_velocity():
    def observer(time):
        return Pose(2.0 + 3.0 * time, 1.0 - time, 0.3 + 0.2 * time, np.hypot(3.0, 1.0), 0.2, walked=0.0)

    def seen(time):
        mover = Pose(20.0 + 4.0 * time, 5.0, 0.0, 4.0)
        view = observer(time)
        # the observer slides: its velocity is not along its heading
        slide = (3.0 - view.speed * np.cos(view.heading), -1.0 - view.speed * np.sin(view.heading))
        return mover.seen_from(Pose(view.x, view.y, view.heading, view.speed, view.yaw_rate, slide))

    now, later = seen(1.0), seen(1.0 + 1e-6)
    np.testing.assert_allclose([(later.x - now.x) / 1e-6, (later.y - now.y) / 1e-6], now.velocity[:2], atol=1e-4)
    assert now.yaw_rate == pytest.approx(-0.2)


def test_followers_need_an_ego_vehicle():
    with pytest.raises(ValueError, match='expected an ego vehicle for those with ahead'):
        Scene('x', (AHEAD,))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('movers: []\nego: {path: [[0, 0]], speed: 3}', r'ego\.path: expected at least 2 waypoints, got 1'),
        ('movers: []\nlighting: {hours: [9, 7]}', r'lighting\.hours: expected an ascending pair in \[0, 24\] h'),
        ('movers: []\nlighting: {fog: 2}', r'lighting\.fog: expected a probability, got 2'),
        ('movers: []\nblocks: [{kind: shelf, position: [1, 2], size: [1, 2, 0]}]', r'blocks\[0\]\.size: expected mo'),
        ('movers: []\nground: {reflection: 1.5}', r'ground\.reflection: expected at most 1 either way'),
        ('movers: [{kind: car, ahead: [5, 9], path: [[0, 0], [9, 9]]}]', r'movers\[0\]\.path: expected none with'),
    ],
)  # fmt: skip
def test_mistakes_in_new_fields_are_named(tmp_path, text, message):
    path = tmp_path / 'scene.yaml'
    path.write_text(text)
    with pytest.raises(SceneError, match=message):
        load_scene(path)


def test_a_loose_camera_is_mounted_anew_by_each_seed_and_nothing_else_changes():
    scene = load_scene('parking_lot')
    loose = replace(scene, camera=replace(scene.camera, shift=0.5, turn_deg=5.0))
    mounted = [lay_out(loose, seed).scene.camera for seed in range(200)]
    away = np.array([camera.offset for camera in mounted]) - scene.camera.offset
    turned = np.array([(camera.pitch_deg, camera.yaw_deg) for camera in mounted])
    turned -= scene.camera.pitch_deg, scene.camera.yaw_deg
    distance, angle = np.linalg.norm(away, axis=1), np.linalg.norm(turned, axis=1)
    assert distance.max() <= 0.5 and angle.max() <= 5.0
    # evenly in a ball and a disc: half of them lie within 0.79 and 0.71 of the largest
    assert np.median(distance) == pytest.approx(0.5 * 0.5 ** (1 / 3), abs=0.04)
    assert np.median(angle) == pytest.approx(5.0 * 0.5**0.5, abs=0.4)
    assert np.all(np.abs(away.mean(axis=0)) < 0.08) and np.all(np.abs(turned.mean(axis=0)) < 0.8)
    assert lay_out(loose, 3).scene.camera == mounted[3]
    assert lay_out(loose, 3).static == lay_out(scene, 3).static
    assert lay_out(scene, 3).scene.camera == scene.camera


def test_a_camera_that_could_be_turned_to_the_sky_is_refused():
    with pytest.raises(ValueError, match=r'turn_deg: expected from 0 to below 80.*got 80'):
        CameraMount(pitch_deg=10.0, turn_deg=80.0)
    with pytest.raises(ValueError, match='shift: expected from 0 to 10 m, got -1'):
        CameraMount(shift=-1.0)
