# SPDX-License-Identifier: Apache-2.0
"""Shapes of the bodies of a scene for the camera: a few flat facets each, in the order in which they are painted."""

from collections.abc import Iterable
from dataclasses import dataclass

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

Rectangle = tuple[float, float, float, float]  # x0, x1, y0, y1


@dataclass(frozen=True, eq=False)
class Facet:
    """A flat convex polygon.

    Attributes:
        points: (P, 3) m, body frame: x along its heading, z from the ground.
        normal: (3,) outward, seen from this side only; zeros: seen and lit from both sides.
        colour: rgb.
    """

    points: NDArray[np.float64]
    normal: NDArray[np.float64]
    colour: Colour


def mesh(body: Body) -> list[Facet]:
    """The facets of a body, to be painted in this order."""
    build = {
        'car': _car,
        'van': _van,
        'pedestrian': _pedestrian,
        'cyclist': _cyclist,
        'wall': _wall,
        'pole': _pole,
        'lamp_post': _lamp_post,
    }
    return build[body.kind](body)


def _facet(points: Iterable[Iterable[float]], colour: Colour, inside: NDArray[np.float64] | None = None) -> Facet:
    """A facet whose normal points away from a place inside the solid; two-sided without one."""
    corners = np.array(points, dtype=np.float64)
    if inside is None:
        return Facet(corners, np.zeros(3), colour)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    outward = np.sign(normal @ (corners.mean(axis=0) - inside))
    return Facet(corners, normal * outward, colour)


def _block(lower: Rectangle, upper: Rectangle, z: tuple[float, float], colour: Colour) -> dict[str, Facet]:
    """The sides and the top of a frustum; each side's corners run along its bottom, then back along its top."""

    def corner(rectangle: Rectangle, x: int, y: int, height: float) -> tuple[float, float, float]:
        return rectangle[x], rectangle[2 + y], height

    inside = np.array([(lower[0] + lower[1]) / 2, (lower[2] + lower[3]) / 2, (z[0] + z[1]) / 2])
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


def _pedestrian(body: Body) -> list[Facet]:
    _, width, height = body.size
    hips, shoulders = 0.47 * height, 0.83 * height
    half = width / 2
    return [
        *_box((-0.06, 0.2, -0.17, -0.02), (0.0, hips), TROUSERS),
        *_box((-0.2, 0.06, 0.02, 0.17), (0.0, hips), TROUSERS),
        *_block((-0.13, 0.13, -0.19, 0.19), (-0.14, 0.14, -half, half), (hips, shoulders), body.colour).values(),
        *_head(0.02, height),
    ]


def _cyclist(body: Body) -> list[Facet]:
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
    legs = [
        *_block((-0.05, 0.1, -0.16, -0.06), (-0.3, -0.08, -0.17, -0.03), (0.25, saddle), TROUSERS).values(),
        *_block((0.02, 0.17, 0.06, 0.16), (-0.3, -0.08, 0.03, 0.17), (0.4, saddle), TROUSERS).values(),
    ]
    torso = _block(
        (-0.34, -0.05, -0.18, 0.18), (-0.08, 0.2, -half * 0.8, half * 0.8), (saddle, 0.85 * height), body.colour
    )
    return [*wheels, *frame, *legs, *torso.values(), *_head(0.12, height)]


def _wall(body: Body) -> list[Facet]:
    length, width, height = body.size
    rectangle = (-length / 2, length / 2, -width / 2, width / 2)
    shade = 0.97 + 0.06 * ((body.number * 0.618) % 1.0)
    red, green, blue = (round(min(255, shade * part)) for part in body.colour)
    panel = _block(rectangle, rectangle, (0.0, height), (red, green, blue))
    joint = (round(0.86 * red), round(0.86 * green), round(0.86 * blue))
    courses = [
        _panel(panel[name], (0.0, 1.0), (v, v + 0.025), joint)
        for name in ('left', 'right')
        for v in np.arange(0.16, 0.9, 0.16)
    ]
    posts = [_panel(panel[name], (0.0, 0.03), (0.0, 1.0), joint) for name in ('left', 'right')]
    coping = [_panel(panel[name], (0.0, 1.0), (0.93, 1.0), COPING) for name in ('left', 'right')]
    top = Facet(panel['top'].points, panel['top'].normal, COPING)
    return [*panel.values(), *courses, *posts, *coping, top]


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
