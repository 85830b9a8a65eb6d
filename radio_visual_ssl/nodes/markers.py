# SPDX-License-Identifier: Apache-2.0
"""Targets as RViz markers: a body, a 2-sigma ellipse of the position, an arrow of the radial velocity and a text."""

import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Quaternion, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from radio_visual_ssl.radar.target import Target

DETECTION = (1.0, 0.45, 0.05)
"""RGB in [0, 1]: orange, seen on both the dark and the bright end of the heatmap's colours."""

TRUTH = (0.25, 0.95, 0.45)
"""RGB in [0, 1]: green."""

NOMINAL_DIAMETER = 0.8
"""m, body of a target of unknown size."""

SLOW = 0.2
"""m/s; a slower target gets no arrow."""


def target_markers(
    targets: Sequence[Target], header: Header, namespace: str, colour: tuple[float, float, float], lifetime: float
) -> MarkerArray:
    """Markers of one frame; the first one deletes those of the frame before.

    Args:
        targets: of the frame.
        header: copied to each marker.
        namespace: of the markers; ``/body``, ``/ellipse``, ``/velocity`` and ``/text`` are added.
        colour: RGB in [0, 1].
        lifetime: s after which RViz lets them vanish if no frame follows.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, target in enumerate(targets):
        parts = [_body(target, colour), _text(target)]
        if np.any(target.covariance):
            parts.append(_ellipse(target, colour))
        if abs(target.radial_velocity) > SLOW:
            parts.append(_arrow(target))
        for marker in parts:
            marker.header = header
            marker.ns = f'{namespace}/{marker.ns}'
            marker.id = number
            marker.action = Marker.ADD
            marker.lifetime = Duration(sec=int(lifetime), nanosec=int(lifetime % 1 * 1e9))
        markers += parts
    return MarkerArray(markers=markers)


def covariance_ellipse(covariance: np.ndarray) -> tuple[float, float, float]:
    """Half axes (m, larger first) of the 1-sigma ellipse of a 2x2 covariance, and the direction (rad) of the first."""
    variances, directions = np.linalg.eigh(covariance)
    minor, major = np.sqrt(np.maximum(variances, 0.0))
    return float(major), float(minor), math.atan2(directions[1, 1], directions[0, 1])


def _body(target: Target, colour: tuple[float, float, float]) -> Marker:
    marker = Marker(ns='body', color=_colour(colour, 0.35 + 0.55 * min(max(target.score, 0.0), 1.0)))
    marker.pose.position = Point(x=float(target.x), y=float(target.y), z=float(target.z))
    if min(target.size) > 0:
        marker.type = Marker.CUBE
        marker.scale = Vector3(x=float(target.size[0]), y=float(target.size[1]), z=float(target.size[2]))
        marker.pose.orientation = _turned(target.heading if math.isfinite(target.heading) else 0.0)
    else:
        marker.type = Marker.CYLINDER
        marker.scale = Vector3(x=NOMINAL_DIAMETER, y=NOMINAL_DIAMETER, z=NOMINAL_DIAMETER)
    return marker


def _ellipse(target: Target, colour: tuple[float, float, float]) -> Marker:
    major, minor, direction = covariance_ellipse(target.covariance)
    marker = Marker(ns='ellipse', type=Marker.CYLINDER, color=_colour(colour, 0.25))
    marker.pose.position = Point(x=float(target.x), y=float(target.y), z=float(target.z))
    marker.pose.orientation = _turned(direction)
    marker.scale = Vector3(x=max(4 * major, 0.01), y=max(4 * minor, 0.01), z=0.02)
    return marker


def _arrow(target: Target) -> Marker:
    along = np.array([math.cos(target.azimuth), math.sin(target.azimuth)]) * target.radial_velocity
    start = Point(x=float(target.x), y=float(target.y), z=float(target.z))
    end = Point(x=float(target.x + along[0]), y=float(target.y + along[1]), z=float(target.z))
    return Marker(
        ns='velocity',
        type=Marker.ARROW,
        points=[start, end],
        scale=Vector3(x=0.12, y=0.3, z=0.3),
        color=_colour((1.0, 1.0, 1.0), 0.9),
    )


def _text(target: Target) -> Marker:
    lines = [
        f'{target.label or "target"} {target.score:.2f}',
        f'{target.range:.1f} m {math.degrees(target.azimuth):+.0f}°',
    ]
    if math.isfinite(target.radial_velocity):
        lines.append(f'{target.radial_velocity:+.1f} m/s')
    marker = Marker(ns='text', type=Marker.TEXT_VIEW_FACING, text='\n'.join(lines), color=_colour((1.0, 1.0, 1.0), 1.0))
    height = target.size[2] if target.size[2] > 0 else NOMINAL_DIAMETER
    marker.pose.position = Point(x=float(target.x), y=float(target.y), z=float(target.z) + height / 2 + 0.9)
    marker.scale = Vector3(x=0.0, y=0.0, z=0.7)
    return marker


def _turned(heading: float) -> Quaternion:
    return Quaternion(x=0.0, y=0.0, z=math.sin(heading / 2), w=math.cos(heading / 2))


def _colour(rgb: tuple[float, float, float], opacity: float) -> ColorRGBA:
    return ColorRGBA(r=rgb[0], g=rgb[1], b=rgb[2], a=opacity)
