# SPDX-License-Identifier: Apache-2.0
"""The camera's picture agrees with its model and with who stands in front of whom."""

from dataclasses import replace

import numpy as np
import pytest

from radio_visual_ssl.simulation.boxes import rotated
from radio_visual_ssl.simulation.kinds import KINDS
from radio_visual_ssl.simulation.layout import Body, lay_out
from radio_visual_ssl.simulation.meshes import PEDALLING, STRIDE, mesh
from radio_visual_ssl.simulation.rasterizer import Canvas, Pinhole, Solid
from radio_visual_ssl.simulation.rendering import Renderer, camera_on
from radio_visual_ssl.simulation.scene import CameraMount, Mover, Scene, Wall, load_scene

CAR = Mover('car', ((15.0, -8.0), (15.0, 8.0)), 4.0, 'reenter', pause=4.0, jitter=0.0)
FIELD = Scene('field', movers=(CAR,))


def changed(scene, y):
    """Pixels that differ while the mover passes y from when it is away; the camera; the mover's body and pose."""
    layout, camera = lay_out(scene), camera_on(scene)
    renderer = Renderer(layout, camera)
    times = np.arange(0, 20, 0.05)
    away = next(time for time in times if not layout.moving(time))
    there = min((time for time in times if layout.moving(time)), key=lambda time: abs(layout.moving(time)[0][1].y - y))
    mask = np.any(renderer.image(there) != renderer.image(away), axis=2)
    return mask, camera, layout.moving(there)[0]


def test_the_camera_looks_where_the_mount_says():
    mount = CameraMount(640, 480, 500.0, (0.1, 0.2, 0.3), pitch_deg=12.0, yaw_deg=30.0)
    camera = camera_on(replace(FIELD, camera=mount))
    pitch, yaw = np.radians([12.0, 30.0])
    ahead = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), -np.sin(pitch)])
    pixels, depth = camera.project(np.array(mount.offset) + 7.0 * ahead)
    np.testing.assert_allclose(pixels[0], (319.5, 239.5), atol=1e-6)
    assert depth[0] == pytest.approx(7.0)
    left, _ = camera.project(np.array(mount.offset) + 7.0 * ahead + (-np.sin(yaw), np.cos(yaw), 0.0))
    assert left[0, 0] < 300
    up, _ = camera.project(np.array(mount.offset) + 7.0 * ahead + (0.0, 0.0, 1.0))
    assert up[0, 1] < 239


@pytest.mark.parametrize('y', [-5.0, 0.0, 5.0])
def test_a_car_is_painted_inside_its_projected_box(y):
    mask, camera, (body, pose) = changed(FIELD, y)
    length, width, height = body.size
    x, y = pose.x + np.array([-0.5, 0.5]) * width, pose.y + np.array([-0.5, 0.5]) * length
    corners = [(i, j, k - 4.0) for i in x for j in y for k in (0.0, height)]
    pixels, _ = camera.project(corners)
    rows, columns = np.nonzero(mask)
    middle = pixels.mean(axis=0)
    assert mask[round(middle[1]), round(middle[0])]
    # the shadow lies beside the box, on the ground: nothing above it
    assert rows.min() >= pixels[:, 1].min() - 1.5
    assert columns.min() < middle[0] < columns.max()


def test_what_stands_nearer_hides_what_is_behind():
    wall = Wall((10.0, 12.0), (10.0, -12.0), height=3.9)
    mask, _, _ = changed(replace(FIELD, walls=(wall,)), 0.0)
    assert not mask.any()
    behind = replace(FIELD, walls=(Wall((20.0, 12.0), (20.0, -12.0), height=3.9),))
    assert changed(behind, 0.0)[0].sum() > 1000


def test_objects_beside_and_behind_the_camera_do_no_harm():
    mover = Mover('van', ((-5.0, 0.5), (6.0, 0.5)), 2.0, 'reenter', jitter=0.0)
    scene = replace(FIELD, movers=(mover,), camera=CameraMount(pitch_deg=30.0))
    renderer = Renderer(lay_out(scene), camera_on(scene))
    empty, *images = (renderer.image(time) for time in np.arange(0.0, 5.5, 0.25))
    assert any(np.any(image != empty) for image in images)


@pytest.mark.parametrize('kind', ['pedestrian', 'cyclist', 'car', 'van', 'cart'])
@pytest.mark.parametrize('heading', [0.0, 0.8, 1.6, 3.1])
def test_no_side_of_a_body_is_taken_for_its_back(kind, heading):
    """What is seen of facets from outside alone is what is seen of them from both sides."""
    pinhole = Pinhole(320, 240, (600.0, 600.0), (160.0, 120.0))
    body = Body(kind, KINDS[kind].size, 1.0, (90, 90, 90), 1)
    cycle = PEDALLING if kind == 'cyclist' else STRIDE
    for walked in np.arange(8) / 8 * cycle:
        solid = Solid.of(mesh(body, float(walked)), 1)
        places = rotated(solid.points, heading)
        # 8 m ahead and 3 m below a camera that looks along x and 20 degrees down
        optical = np.column_stack((-places[:, 1], 3.0 - places[:, 2], places[:, 0] + 8.0))
        tilt = np.array([[1, 0, 0], [0, np.cos(0.35), -np.sin(0.35)], [0, np.sin(0.35), np.cos(0.35)]])
        masks = []
        for normals in (rotated(solid.normals, heading), np.zeros_like(solid.normals)):
            turned = np.column_stack((-normals[:, 1], -normals[:, 2], normals[:, 0])) @ tilt.T
            canvas = Canvas(pinhole)
            canvas.draw(
                replace(solid, points=optical @ tilt.T, normals=turned),
                solid.colours,
                np.ones(len(solid.starts), dtype=bool),
            )
            masks.append(canvas.owner == 1)
        assert masks[1].sum() > 500
        assert (masks[0] ^ masks[1]).sum() <= 0.01 * masks[1].sum()


def test_the_parking_lot_shows_sky_ground_and_cars():
    scene = load_scene('parking_lot')
    image = Renderer(lay_out(scene, 0), camera_on(scene)).image(1.0)
    sky, ground = image[10].mean(axis=0), image[-10].mean(axis=0)
    assert sky[2] > sky[0] + 30
    assert np.ptp(ground) < 20
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 500


def test_masks_show_each_target_where_it_is_seen_and_nothing_else():
    scene = replace(load_scene('parking_lot'), movers_present=(6, 6))
    layout, camera = lay_out(scene, 4), camera_on(scene, (320, 240))
    renderer, bare = Renderer(layout, camera), Renderer(replace(layout, movers=()), camera)
    for time in (0.0, 2.0, 5.0):
        view, empty = renderer.view(time), bare.view(time)
        assert set(np.unique(view.mask)) <= {0, *(body.number for body, _ in layout.moving(time))}
        changed = np.any(view.image != empty.image, axis=2)
        # what is painted differs on the target, and beside it only in its shadow on the ground or across an edge pixel
        assert np.mean(changed[view.mask > 0]) > 0.97
        assert not empty.mask.any()


def test_small_images_show_the_same_view():
    scene = load_scene('parking_lot')
    layout = lay_out(scene, 0)
    large, small = (Renderer(layout, camera_on(scene, size)).image(1.0) for size in ((640, 480), (320, 240)))
    half = large.reshape(240, 2, 320, 2, 3).mean(axis=(1, 3))
    assert np.mean(np.abs(half - small)) < 4.0


def test_fog_takes_the_contrast_and_night_the_light():
    scene = load_scene('parking_lot')

    def image(**lighting):
        changed = replace(scene, lighting=replace(scene.lighting, overcast=0.0, **lighting))
        return Renderer(lay_out(changed, 0), camera_on(changed, (160, 120))).image(1.0).astype(float)

    day = image(hours=(12.0, 12.0), fog=0.0)
    foggy = image(hours=(12.0, 12.0), fog=1.0, fog_visibility=(30.0, 30.0))
    night = image(hours=(0.0, 0.0), fog=0.0)
    band = slice(35, 60)  # the far end of the lot
    assert foggy[band].std() < 0.4 * day[band].std()
    assert night.mean() < 0.5 * day.mean()


@pytest.mark.parametrize('name', ['street', 'indoor_hall'])
def test_other_scenes_are_drawn_anew_as_the_sensors_and_targets_move(name):
    scene = load_scene(name)
    renderer = Renderer(lay_out(scene, 2), camera_on(scene, (160, 120)))
    first, again, later = renderer.view(0.5), renderer.view(0.5), renderer.view(1.5)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, later.image)
