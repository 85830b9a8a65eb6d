# SPDX-License-Identifier: Apache-2.0
"""Bodies as triangles, and what their surfaces return: what the ray tracers start from."""

import numpy as np
import pytest

from radio_visual_ssl.simulation import llvm
from radio_visual_ssl.simulation.kinds import KINDS
from radio_visual_ssl.simulation.layout import Body, lay_out
from radio_visual_ssl.simulation.radio_materials import (
    ground_coefficient,
    permittivity,
    reflectivity,
    scattering_coefficient,
    unit_rcs,
)
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.trajectory import Pose
from radio_visual_ssl.simulation.triangles import LIFT, Triangles


def body(kind, number=3):
    made = KINDS[kind]
    return Body(kind, made.size, made.rcs, (10, 20, 30), number, made.material)


def box(length, width, height, material='concrete'):
    return Body('pillar', (length, width, height), 1.0, (9, 9, 9), 1, material)


@pytest.mark.parametrize('kind', sorted(KINDS))
def test_a_surface_fills_its_body_and_belongs_to_it(kind):
    surface = Triangles.of(body(kind))
    size = np.array(KINDS[kind].size)
    extent = surface.points.max(axis=0) - surface.points.min(axis=0)
    assert np.all(extent[2] <= size[2] + 0.1)
    assert np.all(extent[:2] > 0.5 * size[:2])
    assert set(surface.owner.tolist()) == {3}
    assert np.all(surface.areas > 0)
    assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1.0)


@pytest.mark.parametrize('kind', ['pedestrian', 'cyclist'])
def test_walking_moves_points_only(kind):
    still, later = Triangles.of(body(kind)), Triangles.of(body(kind), 0.4)
    assert np.array_equal(still.faces, later.faces)
    assert np.any(still.points != later.points)


def test_a_window_lies_in_front_of_the_side_that_it_covers():
    surface = Triangles.of(body('car'))
    assert np.any(surface.covers)
    tyre = surface.corners[surface.covers][:, :, 1]
    assert np.abs(tyre).max() == pytest.approx(KINDS['car'].size[1] / 2 + LIFT, abs=LIFT)


def test_joined_surfaces_keep_their_faces_where_they_were():
    parts = [Triangles.of(body('car', 1)).placed(Pose(10.0, 2.0, 0.5)), Triangles.of(body('cart', 2))]
    joined = Triangles.join(parts)
    corners = np.concatenate([part.corners for part in parts])
    assert np.array_equal(joined.corners, corners)
    assert set(joined.owner.tolist()) == {1, 2}


def test_an_upright_cylinder_of_flat_sides_returns_what_the_closed_form_says():
    # four sides, each of them seen on average with A cos^2: the sum of their areas
    assert unit_rcs(Triangles.of(box(2.0, 1.0, 3.0))) == pytest.approx(2 * 3.0 * (2.0 + 1.0))


def test_permittivities_are_those_of_the_recommendation():
    # ITU-R P.2040-3: concrete at 28 GHz
    real, conductivity = permittivity('concrete', 28e9)
    assert real == pytest.approx(5.24)
    assert conductivity == pytest.approx(0.0462 * 28**0.7822)
    # dry skin (Gabriel 1996)
    for frequency, skin in ((28e9, (16.55, 25.82)), (60e9, (7.98, 36.38))):
        assert permittivity('human', frequency) == pytest.approx(skin, rel=0.02)


def test_reflection_is_total_for_metal_and_vanishes_at_the_brewster_angle():
    assert reflectivity('metal', 28e9) == pytest.approx(1.0, abs=0.01)
    # a lossless medium of permittivity e: tan(angle of incidence) = sqrt(e)
    cosine = np.cos(np.arctan(np.sqrt(1.99)))
    assert reflectivity('wood', 28e9, cosine) < 1e-3
    assert reflectivity('glass', 28e9) == pytest.approx(((np.sqrt(6.31) - 1) / (np.sqrt(6.31) + 1)) ** 2, rel=0.02)


@pytest.mark.parametrize('name', ['parking_lot', 'street', 'indoor_hall'])
def test_no_body_of_the_shipped_scenes_asks_for_much_more_than_it_can_scatter(name):
    layout = lay_out(load_scene(name), 2)
    for placed in [placed for placed, _ in (*layout.static, *layout.movers)]:
        assert 0 < scattering_coefficient(placed, Triangles.of(placed), 28e9) < 2
    assert 0 < ground_coefficient(10**-3.5, 4.0, (5.0, 42.0), (-22.0, 22.0), 28e9) < 1


@pytest.mark.skipif(llvm.importlib.util.find_spec('sionna') is not None, reason='Sionna RT is installed here')
def test_without_sionna_rt_the_error_says_how_to_get_it():
    with pytest.raises(llvm.RaytracingUnavailable, match=r'pip install .*\[raytrace\]'):
        llvm.prepare()
