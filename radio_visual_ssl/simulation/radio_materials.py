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

# Exponent of the scattered lobe around the mirror direction, cos^(2 n)(half the angle off it) (directive model of
# Degli-Esposti et al., IEEE Trans. Antennas Propag. 55(1), 2007): smooth panels of sheet metal send more sideways away.
# With 2 a car's side returns about 6 dB more than its corners do. All else scatters as Lambert has it.
_DIRECTIVITY = {'car': 2, 'van': 2, 'cart': 2}

# Measured with tools/compare_back_ends.py rcs: what bodies return against the closed form of `unit_rcs`, because
# their parts hide each other and the radar looks down on them.
VIEW_FACTORS = {'car': 0.89, 'van': 0.92, 'pedestrian': 0.81, 'cyclist': 1.10, 'cart': 0.79}


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


def directivity(kind: str) -> int:
    """Exponent of the lobe that a kind of body scatters into; 0 = Lambert's."""
    return _DIRECTIVITY.get(kind, 0)


def unit_rcs(surface: Triangles, exponent: int = 0) -> float:
    """m^2, mean cross section over all horizontal aspects of a convex body that scatters all it gets.

    As Lambert has it, a face of area A returns 4 A cos^2 of the angle of incidence t: A on average over the horizon for
    an upright face. With a lobe of exponent n it returns 4 pi A f cos^(2 n + 1) t, where the integral of
    f cos^(2 n)(half the angle) over the half-space is 1.

    Args:
        surface: of the body.
        exponent: of the lobe; 0 = Lambert.
    """
    share = 1.0
    if exponent > 0:
        peak = (exponent + 1) / (4 * math.pi * (1 - 0.5 ** (exponent + 1)))
        angle = (np.arange(1000) + 0.5) / 1000 * math.pi / 2
        share = 4 * math.pi * peak * float(np.mean(np.cos(angle) ** (2 * exponent + 1))) / 2
    upright = np.sum(surface.normals[:, :2] ** 2, axis=1)
    return share * float(np.sum((surface.areas * upright)[~surface.covers]))


def scattering_coefficient(body: Body, surface: Triangles, frequency: float) -> float:
    """What to multiply the echoes of a body by that scatters all it reflects, for the right mean cross section.

    Up to 1 it is the scattering coefficient of the material. More, up to a factor of 2, stands for the hollows of real
    bodies that send waves back (wheel arches, spokes); what does not suffice then stays weaker than described.

    Args:
        body: to scatter.
        surface: of it.
        frequency: Hz.
    """
    whole = (
        unit_rcs(surface, directivity(body.kind))
        * float(reflectivity(body.material, frequency))
        * VIEW_FACTORS.get(body.kind, 1.0)
    )
    return math.sqrt(min(4.0, body.rcs / whole))


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
