# SPDX-License-Identifier: Apache-2.0
"""The map from what a mask looks like to where the radar sees the target, with its uncertainty."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.radar.grid import turned_towards

# Standard deviations, in units of the spread of the answers, that coefficients of a degree are believed to have.
_DEGREE_PRIOR = (3.0, 3.0, 0.7, 0.3)
_EXTRA_PRIOR = 1.0
_NEVER = 1e-6  # of a term that is not in a polynomial
_GAUSS_NEWTON_STEPS = 3
_VARIANCE_STEPS = 5
# Observations that the belief in a variance that is the same everywhere is worth.
_VARIANCE_PRIOR = 10.0
# A squared residual counts as at most so many variances: what is farther off is a matter of the clutter component.
_LARGEST_RATIO = 9.0
_LEAST_STD = np.array([0.1, np.radians(0.2)])
_LARGEST_STD = np.array([15.0, np.radians(30.0)])


@dataclass(frozen=True)
class MapSettings:
    """Shape of the map.

    Attributes:
        degree: of the polynomial in the place features, 1 to 3. For a camera over flat ground 1 / range is all but
            linear in the image row of the ground contact, and azimuth in its column; 2 covers distortion and tilt.
        place_features: so many of the features, the first ones, make the polynomial of azimuth; others enter linearly.
        range_features: so many make the polynomial of 1 / range. Seen size beside seen place tells what is partly
            hidden behind something (its ground contact is not what it seems) and what kind it is.
        min_range, max_range: m, answers are kept between these.
    """

    degree: int = 2
    place_features: int = 2
    range_features: int = 4
    min_range: float = 1.0
    max_range: float = 200.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not 1 <= self.degree < len(_DEGREE_PRIOR):
            raise ValueError(f'degree: expected 1 to {len(_DEGREE_PRIOR) - 1}, got {self.degree}')
        if not 0 <= self.place_features <= self.range_features <= 8:
            raise ValueError(
                'place_features, range_features: expected 0 <= place_features <= range_features <= 8,'
                f' got {self.place_features}, {self.range_features}'
            )
        if not 0 < self.min_range < self.max_range:
            raise ValueError(f'min_range, max_range: expected 0 < min < max, got {self.min_range}, {self.max_range}')


@dataclass(frozen=True, eq=False)
class VisualMap:
    """Bayesian linear regression of 1 / range and of azimuth on a polynomial of the features.

    Residuals are normal in metres and radians, not in 1 / range; their variances are log-linear in the features.

    Attributes:
        settings: shape.
        centre, scale: (F,) that standardise the features.
        offset, spread: (2,) that standardise (1 / range, azimuth).
        coefficients: (2, K).
        coefficient_covariance: (2, K, K).
        log_variance: (2, F + 1) coefficients of the log of the residual variance (m^2, rad^2).
    """

    settings: MapSettings
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    spread: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    coefficient_covariance: NDArray[np.float64]
    log_variance: NDArray[np.float64]

    @classmethod
    def blank(
        cls,
        features: NDArray[np.float64],
        range_: NDArray[np.float64],
        azimuth: NDArray[np.float64],
        settings: MapSettings = MapSettings(),
    ) -> 'VisualMap':
        """A map that knows nothing: the mean place everywhere, with the spread of all places as uncertainty.

        Args:
            features: (N, F) of the instances.
            range_: (M,) m, of the places that answers may have.
            azimuth: (M,) rad, of the same places.
            settings: shape.
        """
        answers = np.stack((1 / np.clip(range_, settings.min_range, settings.max_range), azimuth))
        centre, scale = np.median(features, axis=0), np.std(features, axis=0)
        terms = _prior_std(settings, features.shape[1]).shape[1]
        log_variance = np.zeros((2, features.shape[1] + 1))
        log_variance[:, 0] = np.log([max(float(np.var(range_)), 1.0), max(float(np.var(azimuth)), 1e-3)])
        return cls(
            settings,
            centre,
            np.where(scale > 1e-9, scale, 1.0),
            answers.mean(axis=1),
            np.maximum(answers.std(axis=1), [1e-3, 1e-2]),
            np.zeros((2, terms)),
            np.zeros((2, terms, terms)),
            log_variance,
        )

    def predict(self, features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Place and variance for each row of features (N, F).

        Returns:
            place (N, 2): range m, azimuth rad.
            variance (N, 2): m^2, rad^2; of the residuals and of the coefficients.
        """
        standard = self._standard(features)
        terms = _terms(standard, self.settings)
        place = self._place(terms)
        variance = self.residual_variance(features)
        uncertain = np.einsum('nk,dkl,nl->nd', terms, self.coefficient_covariance, terms) * self.spread**2
        uncertain[:, 0] *= place[:, 0] ** 4
        return place, variance + uncertain

    def residual_variance(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) m^2 and rad^2: how far radar peaks lie from the map, however well that is known."""
        standard = self._standard(features)
        return _variance(np.column_stack((np.ones(len(standard)), standard)), self.log_variance)

    def with_linear(self, range_terms: NDArray[np.float64], azimuth_terms: NDArray[np.float64]) -> 'VisualMap':
        """The map with (1 + F) given coefficients: constant and slopes, in standardised features and answers."""
        coefficients = np.zeros_like(self.coefficients)
        count = self.centre.size
        places = min(self.settings.range_features, count)
        order = np.append(np.arange(places + 1), coefficients.shape[1] - count + np.arange(places, count))
        coefficients[0, order], coefficients[1, order] = range_terms, azimuth_terms
        return replace(self, coefficients=coefficients)

    def fitted(
        self,
        features: NDArray[np.float64],
        range_: NDArray[np.float64],
        azimuth: NDArray[np.float64],
        weight: NDArray[np.float64],
        extra_variance: NDArray[np.float64] | float = 0.0,
    ) -> 'VisualMap':
        """The map after one weighted fit, from this one: Gauss-Newton steps for the places, then the variances.

        Args:
            features: (N, F), one row for each pair of instance and candidate.
            range_: (N,) m, the candidate's.
            azimuth: (N,) rad, the candidate's.
            weight: (N,) that the pair counts, such as its probability.
            extra_variance: (N, 2) m^2 and rad^2 of the candidates' own places, not a matter of the map.
        """
        standard = self._standard(features)
        terms = _terms(standard, self.settings)
        design = np.column_stack((np.ones(len(standard)), standard))
        prior = _prior_std(self.settings, features.shape[1])
        observed = np.column_stack((range_, azimuth))
        variance = _variance(design, self.log_variance) + extra_variance
        coefficients, covariance = self.coefficients.copy(), self.coefficient_covariance.copy()
        begun = self
        if azimuth.size and not coefficients.any() and np.ptp(azimuth) > np.pi:
            # the radar sees all round: a camera may look across its cut at +-180 degrees
            direction = np.angle(np.sum(weight * np.exp(1j * azimuth)))
            begun = replace(self, offset=np.array([self.offset[0], direction]))
        columns = np.ascontiguousarray(terms.T)
        for _ in range(_GAUSS_NEWTON_STEPS):
            place = replace(begun, coefficients=coefficients)._place(terms)
            slope = np.column_stack((-(place[:, 0] ** 2) * self.spread[0], np.full(len(terms), self.spread[1])))
            # Residuals of several deviations are cut, so that one wrong pair cannot turn the map over.
            residual = np.clip(_difference(observed, place) / np.sqrt(variance), -3, 3) * np.sqrt(variance)
            for side in (0, 1):
                row_weight = weight * slope[:, side] ** 2 / variance[:, side]
                pseudo = terms @ coefficients[side] + residual[:, side] / slope[:, side]
                covariance[side] = np.linalg.inv(_gram(columns, row_weight) + np.diag(prior[side] ** -2))
                coefficients[side] = covariance[side] @ np.einsum('kn,n->k', columns, row_weight * pseudo)
        fitted = replace(begun, coefficients=coefficients, coefficient_covariance=covariance)
        squared = _difference(observed, fitted._place(terms)) ** 2
        extra = np.broadcast_to(extra_variance, squared.shape)
        log_variance = np.stack(
            [
                _fit_log_variance(design, squared[:, side], extra[:, side], weight, self.log_variance[side], side)
                for side in (0, 1)
            ]
        )
        return replace(fitted, log_variance=log_variance)

    def _standard(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features in units of their spread; an outlier is no farther than 6 of them."""
        return np.clip((features - self.centre) / self.scale, -6, 6)

    def _place(self, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        answers = terms @ self.coefficients.T * self.spread + self.offset
        limits = 1 / self.settings.max_range, 1 / self.settings.min_range
        return np.column_stack((1 / np.clip(answers[:, 0], *limits), answers[:, 1]))


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) m and rad from other places to ones, the short way round."""
    difference = one - other
    difference[:, 1] = turned_towards(difference[:, 1])
    return difference


@lru_cache(maxsize=16)
def _powers(settings: MapSettings, features: int) -> NDArray[np.int64]:
    """(terms, features) exponents of the polynomial, by rising degree with the constant first, then of the others."""
    places = min(settings.range_features, features)
    grid = np.indices((settings.degree + 1,) * places).reshape(places, -1).T
    grid = grid[grid.sum(axis=1) <= settings.degree]
    if places:
        grid = grid[np.lexsort((*grid.T, grid.sum(axis=1)))]
    powers = np.zeros((len(grid) + features - places, features), dtype=np.int64)
    powers[: len(grid), :places] = grid
    powers[len(grid) :, places:] = np.eye(features - places, dtype=np.int64)
    return powers


def _terms(standard: NDArray[np.float64], settings: MapSettings) -> NDArray[np.float64]:
    """(N, K) products of powers of the standardised features."""
    powers = _powers(settings, standard.shape[1])
    terms = np.ones((len(standard), len(powers)))
    for term, exponents in enumerate(powers):
        for feature in np.flatnonzero(exponents):
            terms[:, term] *= standard[:, feature] ** exponents[feature]
    return terms


def _prior_std(settings: MapSettings, features: int) -> NDArray[np.float64]:
    """(2, K) standard deviations of the coefficients for 1 / range and for azimuth before anything is seen."""
    powers = _powers(settings, features)
    degree, places = powers.sum(axis=1), min(settings.place_features, features)
    std = np.tile(np.take(_DEGREE_PRIOR, degree), (2, 1))
    std[:, powers[:, places:].any(axis=1) & (degree == 1)] = _EXTRA_PRIOR
    std[1, powers[:, places:].any(axis=1) & (degree > 1)] = _NEVER
    return std


def _gram(columns: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) weighted products of (K, N) columns.

    Not by BLAS, whose threads wait for each other on matrices as small as these.
    """
    return np.einsum('kn,ln->kl', columns * weight, columns)


def _variance(design: NDArray[np.float64], log_variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) variances, between the least and the largest that make sense."""
    return np.exp(np.clip(design @ log_variance.T, 2 * np.log(_LEAST_STD), 2 * np.log(_LARGEST_STD)))


def _fit_log_variance(
    design: NDArray[np.float64],
    squared: NDArray[np.float64],
    extra: NDArray[np.float64],
    weight: NDArray[np.float64],
    start: NDArray[np.float64],
    side: int,
) -> NDArray[np.float64]:
    """Coefficients of a log-linear variance by Fisher scoring, shrunk towards one that is the same everywhere.

    A squared residual is expected to be that variance and a known extra one.
    """
    total = weight.sum()
    if total < 1:
        return start
    least, largest = _LEAST_STD[side] ** 2, _LARGEST_STD[side] ** 2
    mean = np.average(squared, weights=weight)
    mean = np.average(np.minimum(squared, _LARGEST_RATIO * mean), weights=weight) - np.average(extra, weights=weight)
    log_variance = np.zeros(design.shape[1])
    log_variance[0] = np.log(np.clip(mean, least, largest))
    shrink = np.full(design.shape[1], _VARIANCE_PRIOR)
    shrink[0] = 1e-6
    slopes = np.arange(shrink.size) > 0
    columns = np.ascontiguousarray(design.T)
    for _ in range(_VARIANCE_STEPS):
        own = np.exp(np.clip(design @ log_variance, np.log(least), np.log(largest)))
        expected = own + extra
        ratio = own / expected
        excess = np.minimum(squared / expected, _LARGEST_RATIO) - 1
        score = np.einsum('kn,n->k', columns, weight * ratio * excess) - shrink * slopes * log_variance
        information = _gram(columns, weight * ratio**2) + np.diag(shrink)
        log_variance = log_variance + np.clip(np.linalg.solve(information, score), -1, 1)
    return log_variance
