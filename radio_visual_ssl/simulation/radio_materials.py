# SPDX-License-Identifier: Apache-2.0
"""How surfaces answer radio waves: permittivity by material and frequency, reflection, and how much they scatter."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radio_visual_ssl.simulation.kinds import Material
from radio_visual_ssl.simulation.layout import Body
from radio_visual_ssl.simulation.triangles import Triangles

EPSILON_0 = 8.8541878128e-12  # F/m

# a, b, c, d: relative permittivity a f^b and conductivity c f^d in S/m, f in GHz.
# ITU-R P.2040-3, table 3; brick and asphalt are given to 40 GHz there and continued beyond.
# human: through dry skin at 28 and 60 GHz (Gabriel, Lau, Gabriel, Phys. Med. Biol. 41, 1996: 16.6 and 25.8 S/m,
# 8.0 and 36.4 S/m); vegetation: fresh leaves, order of magnitude (Ulaby, El-Rayes, IEEE TGRS GE-25(5), 1987).
_PROPERTIES: dict[str, tuple[float, float, float, float]] = {
    'metal': (1.0, 0.0, 1e7, 0.0),
    'concrete': (5.24, 0.0, 0.0462, 0.7822),
    'brick': (3.91, 0.0, 0.0238, 0.16),
    'glass': (6.31, 0.0, 0.0036, 1.3394),
    'wood': (1.99, 0.0, 0.0047, 1.0718),
    'asphalt': (4.83, 0.0, 0.0108, 1.3969),
    'human': (401.6, -0.957, 5.765, 0.45),
    'vegetation': (10.0, 0.0, 0.36, 1.0),
}

# Measured with tools/compare_back_ends.py --rcs: what bodies return against the closed form of `unit_rcs`, because
# their parts hide each other and the radar looks down on them.
VIEW_FACTORS = {'car': 0.96, 'van': 0.93, 'pedestrian': 0.82, 'cyclist': 1.12, 'cart': 0.82}


def permittivity(material: Material | str, frequency: float) -> tuple[float, float]:
    """Relative permittivity and conductivity (S/m) at a frequency in Hz."""
    a, b, c, d = _PROPERTIES[material]
    ghz = frequency / 1e9
    return a * ghz**b, c * ghz**d


def reflectivity(material: Material | str, frequency: float, cosine: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Share of the power that a smooth half-space reflects, polarised in the plane of incidence (Fresnel).

    Args:
        material: of the half-space.
        frequency: Hz.
        cosine: of the angle of incidence.
    """
    real, conductivity = permittivity(material, frequency)
    eta = complex(real, -conductivity / (2 * math.pi * frequency * EPSILON_0))
    cosine = np.asarray(cosine, dtype=np.float64)
    inside = np.sqrt(eta - (1 - cosine**2))
    return np.abs((eta * cosine - inside) / (eta * cosine + inside)) ** 2


def unit_rcs(surface: Triangles) -> float:
    """m^2, mean cross section over all horizontal aspects of a convex body that scatters all it gets (Lambert).

    A face of area A returns 4 A cos^2 of the angle of incidence; over the horizon that is A on average for an
    upright face, on the side that faces the radar.
    """
    upright = np.sum(surface.normals[:, :2] ** 2, axis=1)
    return float(np.sum((surface.areas * upright)[~surface.covers]))


def scattering_coefficient(body: Body, surface: Triangles, frequency: float) -> float:
    """Share of the reflected amplitude that a body scatters in all directions, so that its mean cross section is right.

    At most 1: what does not suffice then stays weaker than the description says.

    Args:
        body: to scatter.
        surface: of it.
        frequency: Hz.
    """
    whole = unit_rcs(surface) * float(reflectivity(body.material, frequency)) * VIEW_FACTORS.get(body.kind, 1.0)
    return math.sqrt(min(1.0, body.rcs / whole))


def ground_coefficient(
    rcs_per_area: float, height: float, x: tuple[float, float], y: tuple[float, float], frequency: float
) -> float:
    """Scattering coefficient of the ground at which a radar above it gets as much back as of isotropic points.

    Args:
        rcs_per_area: m^2 for each m^2.
        height: m of the radar.
        x: m, extent.
        y: m, extent.
        frequency: Hz.
    """
    places = np.stack(np.meshgrid(np.linspace(*x, 64), np.linspace(*y, 64)))
    squared = np.sum(places**2, axis=0) + height**2
    cosine = height / np.sqrt(squared)
    weight = 1 / squared**2
    whole = 4 * np.sum(weight * cosine**2 * reflectivity('asphalt', frequency, cosine)) / np.sum(weight)
    return math.sqrt(min(1.0, rcs_per_area / float(whole)))
