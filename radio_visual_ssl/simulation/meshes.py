# SPDX-License-Identifier: Apache-2.0
"""Shapes of the bodies of a scene, built of a few flat facets each, for the camera and the ray tracer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.simulation.kinds import Colour
from radio_visual_ssl.simulation.layout import Body

GLASS: Colour = (52, 66, 80)
TYRE: Colour = (30, 30, 32)
HUB: Colour = (150, 152, 156)
HEADLIGHT: Colour = (250, 246, 214)
TAIL_LIGHT: Colour = (196, 26, 30)
SKIN: Colour = (214, 168, 138)
TROUSERS: Colour = (48, 52, 66)
STEEL: Colour = (92, 96, 102)
COPING: Colour = (206, 198, 188)
LAMP: Colour = (236, 236, 226)

BOARD: Colour = (164, 134, 92)

STRIDE = 1.5  # m that a pedestrian walks in one cycle of the legs
HIP, SHOULDER = 0.5, 0.82  # of a pedestrian's height
LEG_SWING, ARM_SWING = math.radians(26.0), math.radians(22.0)
CRANK = 0.17  # m
PEDALLING = 5.0  # m that a cyclist rides in one turn of the pedals

Rectangle = tuple[float, float, float, float]  # x0, x1, y0, y1
Texture = Literal['plain', 'rough', 'brick', 'windows', 'cartons', 'leaves']


@dataclass(frozen=True, eq=False)
class Facet:
    """A flat convex polygon.

    Attributes:
        points: (P, 3) m, body frame: x along its heading, z from the ground.
        normal: (3,) outward, seen from this side only; zeros: seen and lit from both sides.
        colour: rgb.
        texture: what modulates the colour; it begins at the first point, its rows run along the first edge.
    """

    points: NDArray[np.float64]
    normal: NDArray[np.float64]
    colour: Colour
    texture: Texture = 'plain'


def mesh(body: Body, walked: float = 0.0) -> list[Facet]:
    """The facets of a body; where two lie in one plane, the later one covers the earlier.

    Args:
        body: to build.
        walked: m along its path so far: how far legs and pedals have come.
    """
    if body.kind == 'pedestrian':
        return _pedestrian(body, 2 * math.pi * walked / STRIDE)
    if body.kind == 'cyclist':
        return _cyclist(body, 2 * math.pi * walked / PEDALLING)
    build = {
        'car': _car,
        'van': _van,
        'cart': _cart,
        'reflector': _reflector,
        'wall': _wall,
        'pole': _pole,
        'lamp_post': _lamp_post,
        'building': _building,
        'shelf': _shelf,
        'pillar': _pillar,
        'crate': _crate,
        'tree': _tree,
    }
    return build[body.kind](body)


def _facet(points: Iterable[Iterable[float]], colour: Colour, inside: NDArray[np.float64] | None = None) -> Facet:
    """A facet whose normal points away from a place inside the solid; two-sided without one."""
    corners = np.array(points, dtype=np.float64)
    if inside is None:
        return Facet(corners, np.zeros(3), colour)
    (ax, ay, az), (bx, by, bz) = (corners[1] - corners[0]).tolist(), (corners[2] - corners[0]).tolist()
    normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    outward = math.copysign(1.0, normal @ (corners[0] - inside))
    return Facet(corners, normal * (outward / math.sqrt(normal @ normal)), colour)


def _block(lower: Rectangle, upper: Rectangle, z: tuple[float, float], colour: Colour) -> dict[str, Facet]:
    """The sides and the top of a frustum; each side's corners run along its bottom, then back along its top."""

    def corner(rectangle: Rectangle, x: int, y: int, height: float) -> tuple[float, float, float]:
        return rectangle[x], rectangle[2 + y], height

    # halfway between both ends: a limb that swings is not above its foot
    middle = np.add(lower, upper) / 4
    inside = np.array([middle[0] + middle[1], middle[2] + middle[3], (z[0] + z[1]) / 2])
    edges = {
        'back': ((0, 1), (0, 0)),
        'left': ((0, 1), (1, 1)),
        'right': ((0, 0), (1, 0)),
        'front': ((1, 0), (1, 1)),
    }
    facets = {
        name: _facet(
            [corner(lower, *a, z[0]), corner(lower, *b, z[0]), corner(upper, *b, z[1]), corner(upper, *a, z[1])],
            colour,
            inside,
        )
        for name, (a, b) in edges.items()
    }
    top = [corner(upper, x, y, z[1]) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    facets['top'] = _facet(top, colour, inside)
    return facets


def _box(rectangle: Rectangle, z: tuple[float, float], colour: Colour) -> list[Facet]:
    return list(_block(rectangle, rectangle, z, colour).values())


def _panel(side: Facet, u: tuple[float, float], v: tuple[float, float], colour: Colour) -> Facet:
    """A window or light in a side: u from its first to its second bottom corner, v from bottom to top, in [0, 1]."""
    a, b, c, d = side.points
    place = [
        (1 - v_) * ((1 - u_) * a + u_ * b) + v_ * ((1 - u_) * d + u_ * c)
        for u_, v_ in zip((u[0], u[1], u[1], u[0]), (v[0], v[0], v[1], v[1]), strict=True)
    ]
    return Facet(np.array(place), side.normal, colour)


def _disc(centre: tuple[float, float, float], radius: float, colour: Colour, side: float = 0.0) -> Facet:
    """An upright disc along x; side: -1 right, 1 left, 0 both."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    points = np.array(centre) + radius * np.column_stack([np.cos(angle), np.zeros(16), np.sin(angle)])
    return Facet(points, np.array([0.0, side, 0.0]), colour)


def _wheels(body: Body, along: float, radius: float) -> list[Facet]:
    return [
        _disc((x, side * body.size[1] / 2, radius), share * radius, colour, side)
        for x in (-along, along)
        for side in (-1.0, 1.0)
        for share, colour in ((1.0, TYRE), (0.55, HUB))
    ]


def _shell(body: Body, beltline: float) -> list[Facet]:
    """What cars and vans share: the lower body with wheels and lights."""
    length, width, _ = body.size
    half, side = length / 2, width / 2
    skirt = _block(
        (-half, half, -side, side),
        (-half * 0.985, half * 0.97, -side * 0.97, side * 0.97),
        (0.22, beltline),
        body.colour,
    )
    lights = [
        _panel(skirt[end], u, (0.6, 0.86), colour)
        for end, colour in (('front', HEADLIGHT), ('back', TAIL_LIGHT))
        for u in ((0.04, 0.24), (0.76, 0.96))
    ]
    bumpers = [_panel(skirt[end], (0.0, 1.0), (0.0, 0.22), STEEL) for end in ('front', 'back', 'left', 'right')]
    return [*skirt.values(), *bumpers, *lights, *_wheels(body, 0.30 * length, 0.32)]


def _car(body: Body) -> list[Facet]:
    length, width, height = body.size
    beltline, side = 0.58 * height, width / 2
    lower = (-0.42 * length, 0.22 * length, -side * 0.95, side * 0.95)
    upper = (-0.30 * length, 0.06 * length, -side * 0.74, side * 0.74)
    cabin = _block(lower, upper, (beltline, height), body.colour)
    windows = [
        _panel(cabin['front'], (0.08, 0.92), (0.1, 0.88), GLASS),
        _panel(cabin['back'], (0.1, 0.9), (0.15, 0.85), GLASS),
        *(
            _panel(cabin[name], u, (0.12, 0.85), GLASS)
            for name in ('left', 'right')
            for u in ((0.1, 0.47), (0.52, 0.9))
        ),
    ]
    return [*_shell(body, beltline), *cabin.values(), *windows]


def _van(body: Body) -> list[Facet]:
    length, width, height = body.size
    beltline, side = 0.5 * height, width / 2
    lower = (-0.49 * length, 0.40 * length, -side * 0.97, side * 0.97)
    upper = (-0.48 * length, 0.24 * length, -side * 0.86, side * 0.86)
    cabin = _block(lower, upper, (beltline, height), body.colour)
    windows = [
        _panel(cabin['front'], (0.08, 0.92), (0.1, 0.82), GLASS),
        _panel(cabin['back'], (0.12, 0.88), (0.25, 0.8), GLASS),
        *(_panel(cabin[name], (0.66, 0.93), (0.15, 0.8), GLASS) for name in ('left', 'right')),
    ]
    return [*_shell(body, beltline), *cabin.values(), *windows]


def _head(x: float, z: float) -> list[Facet]:
    radius = 0.12
    return [
        *_box((x - radius, x + radius, -0.09, 0.09), (z - 2 * radius, z - 0.02), SKIN),
        *_box((x - radius, x + radius, -0.1, 0.1), (z - 0.07, z), (70, 52, 40)),
    ]


def _limb(top: tuple[float, float, float], length: float, angle: float, width: float, colour: Colour) -> list[Facet]:
    """A bar that hangs from its top end and swings forward by an angle (rad)."""
    x, y, z = top
    foot, half = x + length * math.sin(angle), width / 2
    upper = (x - half, x + half, y - half, y + half)
    lower = (foot - half, foot + half, y - half, y + half)
    return list(_block(lower, upper, (z - length * math.cos(angle), z), colour).values())


def _pedestrian(body: Body, phase: float) -> list[Facet]:
    _, width, height = body.size
    hips, shoulders, half = HIP * height, SHOULDER * height, width / 2
    swing = math.sin(phase)
    legs = [
        facet
        for side in (-1.0, 1.0)
        for facet in _limb((0.0, side * 0.1, hips + 0.03), hips + 0.01, side * LEG_SWING * swing, 0.15, TROUSERS)
    ]
    arms = [
        facet
        for side in (-1.0, 1.0)
        for facet in _limb(
            (0.0, side * (half - 0.05), shoulders), 0.36 * height, -side * ARM_SWING * swing, 0.1, body.colour
        )
    ]
    torso = _block(
        (-0.12, 0.12, -0.17, 0.17), (-0.13, 0.13, 0.06 - half, half - 0.06), (hips - 0.06, shoulders), body.colour
    )
    return [*legs, *torso.values(), *arms, *_head(0.02, height)]


def _cyclist(body: Body, phase: float) -> list[Facet]:
    length, width, height = body.size
    radius, half = 0.34, width / 2
    axle = length / 2 - radius
    saddle = 0.55 * height
    wheels = [
        _disc((x, 0.0, radius), share * radius, colour)
        for x in (-axle, axle)
        for share, colour in ((1.0, TYRE), (0.82, HUB))
    ]
    frame = [
        _facet(
            [(-axle, 0, radius), (-axle + 0.1, 0, radius), (-0.15, 0, saddle - 0.1), (-0.28, 0, saddle - 0.1)], STEEL
        ),
        _facet(
            [(-0.2, 0, saddle - 0.25), (-0.2, 0, saddle - 0.15), (axle - 0.15, 0, 0.9), (axle - 0.15, 0, 0.8)], STEEL
        ),
        _facet(
            [(axle - 0.04, 0, radius), (axle + 0.04, 0, radius), (axle - 0.12, 0, 1.02), (axle - 0.2, 0, 1.02)], STEEL
        ),
        *_box((axle - 0.24, axle - 0.14, -half, half), (1.0, 1.05), TYRE),
    ]
    legs = []
    for side in (-1.0, 1.0):
        pedal = (CRANK * math.cos(phase + side * math.pi / 2), radius - CRANK * math.sin(phase + side * math.pi / 2))
        knee = 0.5 * (saddle + pedal[1]) + 0.05
        thigh, shin = (-0.26, 0.02, side * 0.1 - 0.08, side * 0.1 + 0.08), 0.07
        bent = (0.08, 0.3, side * 0.1 - 0.07, side * 0.1 + 0.07)
        foot = (pedal[0] - shin, pedal[0] + shin, side * 0.1 - 0.06, side * 0.1 + 0.06)
        legs += [*_block(bent, thigh, (knee - 0.08, saddle + 0.05), TROUSERS).values()]
        legs += [*_block(foot, bent, (pedal[1], knee), TROUSERS).values()]
    torso = _block(
        (-0.34, 0.04, -0.18, 0.18), (-0.08, 0.2, -half * 0.8, half * 0.8), (saddle - 0.12, 0.85 * height), body.colour
    )
    return [*wheels, *frame, *legs, *torso.values(), *_head(0.12, height)]


def _cart(body: Body) -> list[Facet]:
    length, width, height = body.size
    half, side = length / 2, width / 2
    bed = _block((-half, half, -side, side), (-half, half, -side, side), (0.14, 0.34), STEEL)
    load = _block(
        (-half * 0.92, half * 0.7, -side * 0.92, side * 0.92),
        (-half * 0.92, half * 0.7, -side * 0.92, side * 0.92),
        (0.34, 0.86 * height),
        body.colour,
    )
    handle = _box((half * 0.84, half, -side * 0.9, side * 0.9), (0.34, height), HUB)
    return [*bed.values(), *load.values(), *handle, *_wheels(body, 0.36 * length, 0.09)]


def _reflector(body: Body) -> list[Facet]:
    length, width, height = body.size
    legs = _box((-0.03, 0.03, -0.03, 0.03), (0.0, height - 0.2), STEEL)
    return [*legs, *_box((-length / 2, length / 2, -width / 2, width / 2), (height - 0.3, height), body.colour)]


def _wall(body: Body) -> list[Facet]:
    length, width, height = body.size
    rectangle = (-length / 2, length / 2, -width / 2, width / 2)
    shade = 0.97 + 0.06 * ((body.number * 0.618) % 1.0)
    red, green, blue = (round(min(255, shade * part)) for part in body.colour)
    panel = _block(rectangle, rectangle, (0.0, height), (red, green, blue))
    joint = (round(0.86 * red), round(0.86 * green), round(0.86 * blue))
    sides = [
        replace(panel[name], texture='brick' if body.material == 'brick' else 'rough')
        for name in ('left', 'right', 'front', 'back')
    ]
    posts = [_panel(panel[name], (0.0, 0.03), (0.0, 1.0), joint) for name in ('left', 'right')]
    coping = [_panel(panel[name], (0.0, 1.0), (0.93, 1.0), COPING) for name in ('left', 'right')]
    top = Facet(panel['top'].points, panel['top'].normal, COPING)
    return [*sides, *posts, *coping, top]


def _pole(body: Body) -> list[Facet]:
    length, width, height = body.size
    rectangle = (-length / 2, length / 2, -width / 2, width / 2)
    shaft = _block(rectangle, rectangle, (0.0, height), body.colour)
    if height > 2:
        return list(shaft.values())
    bands = [_panel(shaft[name], (0.0, 1.0), (0.7, 0.88), TAIL_LIGHT) for name in ('front', 'back', 'left', 'right')]
    return [*shaft.values(), *bands]


def _lamp_post(body: Body) -> list[Facet]:
    height = body.size[2]
    return [
        *_pole(body),
        *_box((-1.2, 1.2, -0.05, 0.05), (height - 0.08, height), STEEL),
        *_box((-1.35, -0.7, -0.14, 0.14), (height - 0.16, height - 0.04), LAMP),
        *_box((0.7, 1.35, -0.14, 0.14), (height - 0.16, height - 0.04), LAMP),
    ]


def _textured(body: Body, texture: Texture, shade: float = 1.0) -> list[Facet]:
    """The body's box with a texture on its upright sides."""
    length, width, height = body.size
    rectangle = (-length / 2, length / 2, -width / 2, width / 2)
    red, green, blue = (round(min(255, shade * part)) for part in body.colour)
    block = _block(rectangle, rectangle, (0.0, height), (red, green, blue))
    return [facet if name == 'top' else replace(facet, texture=texture) for name, facet in block.items()]


def _building(body: Body) -> list[Facet]:
    return _textured(body, 'windows')


def _shelf(body: Body) -> list[Facet]:
    return _textured(replace(body, colour=BOARD), 'cartons')


def _pillar(body: Body) -> list[Facet]:
    return _textured(body, 'rough')


def _crate(body: Body) -> list[Facet]:
    return _textured(body, 'rough')


def _tree(body: Body) -> list[Facet]:
    crown, _, height = body.size
    trunk = _box((-0.14, 0.14, -0.14, 0.14), (0.0, 0.45 * height), (92, 74, 58))
    half, narrow = crown / 2, crown / 4
    middle = (-half, half, -half, half)
    top = _block(middle, (-narrow, narrow, -narrow, narrow), (0.62 * height, height), body.colour)
    lower = _block((-narrow, narrow, -narrow, narrow), middle, (0.34 * height, 0.62 * height), body.colour)
    sides = [replace(facet, texture='leaves') for part in (lower, top) for facet in part.values()]
    return [*trunk, *sides]
