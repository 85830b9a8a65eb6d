# SPDX-License-Identifier: Apache-2.0
"""Scene files, the layouts that seeds draw from them, and trajectories."""

import numpy as np
import pytest

from radio_visual_ssl.simulation.layout import lay_out
from radio_visual_ssl.simulation.scene import SceneError, load_scene, scene_names
from radio_visual_ssl.simulation.trajectory import Trajectory

VALID = """
mast: {height: 3.0}
parked:
  - {start: [10, 8], end: [20, 8]}
walls:
  - {start: [30, 5], end: [30, -5]}
poles:
  - {position: [12, -6]}
movers:
  - {kind: car, path: [[10, 0], [20, 3], [20, -3]], speed: 4}
  - {kind: pedestrian, path: [[12, 5], [22, 5]], speed: 1.5, motion: shuttle, pause: 1}
  - {kind: cyclist, path: [[25, -10], [25, 10]], speed: 5, motion: reenter, pause: 2}
"""


@pytest.fixture
def write(tmp_path):
    def write_scene(text):
        path = tmp_path / 'scene.yaml'
        path.write_text(text)
        return path

    return write_scene


def test_shipped_scenes_load_and_lay_out():
    assert 'parking_lot' in scene_names()
    for name in scene_names():
        scene = load_scene(name)
        assert scene.name == name
        for seed in range(5):
            layout = lay_out(scene, seed)
            assert scene.presence[0] <= len(layout.movers) <= scene.presence[1]


def test_parking_lot_has_clutter_and_none_to_six_targets():
    layouts = [lay_out(load_scene('parking_lot'), seed) for seed in range(40)]
    assert {len(layout.movers) for layout in layouts} == {0, 1, 2, 3, 4, 5, 6}
    assert any(layout.light.visibility < 200 for layout in layouts)
    assert {layout.light.sunlight > 0 for layout in layouts} == {True, False}
    for layout in layouts:
        assert {'car', 'wall', 'lamp_post', 'pole'} <= {body.kind for body, _ in layout.static}


def test_fields_are_read_with_their_types_and_defaults(write):
    scene = load_scene(write(VALID))
    assert scene.mast.height == 3.0
    assert scene.movers[0].path == ((10.0, 0.0), (20.0, 3.0), (20.0, -3.0))
    assert scene.movers[1].motion == 'shuttle'
    assert scene.walls[0].height == 3.0
    assert scene.presence == (3, 3)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('mast: {height: 3.0}', 'mast: {hight: 3.0}', r'mast\.hight: expected one of height.*did you mean height'),
        ('mast: {height: 3.0}', 'mst: {height: 3.0}', r'mst: expected one of name, movers.*did you mean mast'),
        ('speed: 4}', '}', r'movers\[0\]\.speed: expected more than 0 m/s, got 0'),
        ('speed: 4}', 'speed: fast}', r"movers\[0\]\.speed: expected a finite number, got 'fast'"),
        ('speed: 4}', 'speed: .nan}', r'movers\[0\]\.speed: expected a finite number, got nan'),
        ('speed: 4}', 'speed: -4}', r'movers\[0\]\.speed: expected more than 0 m/s, got -4\.0'),
        ('kind: car', 'kind: tank', r"movers\[0\]\.kind: expected one of car, .*, reflector, got 'tank'"),
        ('path: [[12, 5], [22, 5]]', 'path: [[12, 5]]', r'movers\[1\]\.path: expected at least 2 waypoints'),
        ('path: [[12, 5], [22, 5]]', 'path: [[12, 5], [22]]', r'movers\[1\]\.path\[1\]: expected a list of 2'),
        ('path: [[12, 5], [22, 5]]', 'path: 7', r'movers\[1\]\.path: expected a list, got 7'),
        ('speed: 4}', 'speed: 4, pause: 1}', r'movers\[0\]\.pause: a loop does not pause, got 1\.0'),
        ('position: [12, -6]', 'position: [12, -6], lamp: 3', r'poles\[0\]\.lamp: expected true or false, got 3'),
        ('end: [20, 8]}', 'end: [20, 8], occupancy: 2}', r'parked\[0\]\.occupancy: expected a probability'),
        ('movers:', 'movers_present: [1, 9]\nmovers:', r'movers_present: expected 0 <= least .*, got \[1, 9\]'),
        ('movers:', 'movers_present: [1, 2.5]\nmovers:', r'movers_present\[1\]: expected a whole number, got 2\.5'),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_place(write, old, new, message):
    assert old in VALID
    path = write(VALID.replace(old, new, 1))
    with pytest.raises(SceneError, match=message) as caught:
        load_scene(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('text', ['[1, 2]', '', 'a: [', 'description: only this'])
def test_files_that_are_no_scene_are_refused(write, text):
    with pytest.raises(SceneError, match=r'scene\.yaml'):
        load_scene(write(text))


def test_unknown_scene_names_list_the_shipped_ones():
    with pytest.raises(FileNotFoundError, match=r'moon.*parking_lot'):
        load_scene('moon')


def test_a_seed_draws_always_the_same_layout_and_another_seed_another(write):
    scene = load_scene(write(VALID))
    first, again, other = lay_out(scene, 1), lay_out(scene, 1), lay_out(scene, 2)
    assert first.static == again.static
    assert [x[1].pose(3.7) for x in first.movers] == [x[1].pose(3.7) for x in again.movers]
    assert first.static != other.static
    assert [x[1].pose(3.7) for x in first.movers] != [x[1].pose(3.7) for x in other.movers]


def test_negative_seeds_are_refused(write):
    with pytest.raises(ValueError, match='seed: expected 0 or more, got -1'):
        lay_out(load_scene(write(VALID)), -1)


def test_body_numbers_are_unique_and_movers_come_first():
    layout = lay_out(load_scene('parking_lot'), 3)
    numbers = [body.number for body, _ in layout.movers] + [body.number for body, _ in layout.static]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ('motion', 'waypoints', 'pause'),
    [
        ('loop', [[10, 0], [20, 3], [30, 0], [20, -3]], 0.0),
        ('shuttle', [[10, 0], [20, 2], [30, 0]], 1.0),
        ('reenter', [[10, -5], [18, 0], [10, 5]], 2.0),
    ],
)
def test_motion_agrees_with_its_velocity_and_yaw_rate(motion, waypoints, pause):
    trajectory = Trajectory(np.array(waypoints, dtype=float), 4.0, motion, pause, 0.3)
    step = 1e-4
    for time in np.linspace(0, 2.5 * trajectory.period, 101):
        pose, later = trajectory.pose(time), trajectory.pose(time + step)
        if pose is None or later is None or pose.speed != later.speed:
            continue
        moved = np.array([later.x - pose.x, later.y - pose.y]) / step
        np.testing.assert_allclose(moved, pose.velocity[:2], atol=0.05)
        turned = np.remainder(later.heading - pose.heading + np.pi, 2 * np.pi) - np.pi
        assert turned / step == pytest.approx(pose.yaw_rate, abs=0.05)


def test_two_waypoints_are_a_constant_velocity():
    trajectory = Trajectory(np.array([[10.0, 5.0], [40.0, 5.0]]), 3.0, 'reenter')
    for time in (0.0, 2.0, 9.0):
        pose = trajectory.pose(time)
        assert (pose.x, pose.y, pose.heading, pose.yaw_rate) == pytest.approx((10 + 3 * time, 5, 0, 0), abs=1e-6)


def test_a_loop_repeats_and_never_ends():
    trajectory = Trajectory(np.array([[10.0, 0], [20, 3], [30, 0], [20, -3]]), 4.0)
    early, late = trajectory.pose(1.0), trajectory.pose(1.0 + 1000 * trajectory.period)
    assert (early.x, early.y, early.heading) == pytest.approx((late.x, late.y, late.heading), abs=1e-6)


def test_a_shuttle_turns_round_on_the_spot_and_walks_back():
    trajectory = Trajectory(np.array([[10.0, 0.0], [16.0, 0.0]]), 2.0, 'shuttle', 1.0)
    assert trajectory.pose(1.0).heading == pytest.approx(0.0)
    turning = trajectory.pose(3.5)
    assert (turning.x, turning.speed) == (pytest.approx(16.0), 0.0)
    assert abs(turning.heading) == pytest.approx(np.pi / 2)
    back = trajectory.pose(5.0)
    assert (back.x, abs(back.heading)) == pytest.approx((14.0, np.pi))


def test_a_reentering_target_is_gone_for_its_pause():
    trajectory = Trajectory(np.array([[10.0, 0.0], [16.0, 0.0]]), 2.0, 'reenter', 1.0)
    assert trajectory.pose(2.9).x == pytest.approx(15.8)
    assert trajectory.pose(3.5) is None
    assert trajectory.pose(4.5).x == pytest.approx(11.0)


def test_values_are_overridden_and_what_comes_of_it_is_checked(write):
    path = write(VALID)
    scene = load_scene(path, ['movers_present=[1, 2]', 'ground.rcs_db_per_m2=-20', 'parked.0.occupancy=0'])
    assert scene.presence == (1, 2)
    assert scene.ground.rcs_db_per_m2 == -20.0
    assert scene.parked[0].occupancy == 0.0
    assert scene.movers == load_scene(path).movers
    with pytest.raises(
        SceneError, match=r'scene\.yaml with --set movers_present=\[1, 9\]: movers_present: expected 0 <= least'
    ):
        load_scene(path, ['movers_present=[1, 9]'])
    with pytest.raises(SceneError, match=r'scene\.yaml: --set parked\.7\.occupancy=0: expected a number below'):
        load_scene(path, ['parked.7.occupancy=0'])
