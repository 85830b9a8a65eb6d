# SPDX-License-Identifier: Apache-2.0
"""Constant false alarm rate detection in one and two dimensions: CA-, GO-, SO- and OS-CFAR."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy import special

METHODS = ('ca', 'go', 'so', 'os')

# Cells of one pass over the map in OS-CFAR: a pass stays in the second-level cache.
_CELLS_PER_PASS = 16_384


@dataclass(frozen=True, eq=False)
class CfarResult:
    """Outcome of :func:`cfar`, arrays of the shape of its input.

    Attributes:
        detections: bool, power above the threshold.
        threshold: power a cell must exceed; infinite where a cell has no training cell.
        noise: estimated mean power of noise alone; NaN where a cell has no training cell.
    """

    detections: NDArray[np.bool_]
    threshold: NDArray[np.floating]
    noise: NDArray[np.floating]


@dataclass(frozen=True)
class _Window:
    """Training cells around each cell of a map: an outer rectangle less the guard rectangle in its middle."""

    shape: tuple[int, int]
    guard: tuple[int, int]
    training: tuple[int, int]
    wrap: tuple[bool, bool]

    @property
    def outer(self) -> tuple[int, int]:
        """Half widths of the outer rectangle."""
        return self.guard[0] + self.training[0], self.guard[1] + self.training[1]

    def training_mask(self) -> NDArray[np.bool_]:
        """(2 * outer + 1) bool, True at training cells."""
        rows, columns = (np.abs(np.arange(-half, half + 1)) for half in self.outer)
        return ~((rows[:, None] <= self.guard[0]) & (columns <= self.guard[1]))

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Leading (above or left of the guard cells) and lagging (below or right) training cells of each cell."""
        sides = zip(self.shape, self.guard, self.outer, self.wrap, strict=True)
        rows, columns = (_reach(*side) for side in sides)
        leading = rows[0][:, None] * columns[3] + rows[2][:, None] * columns[0]
        lagging = rows[1][:, None] * columns[3] + rows[2][:, None] * columns[1]
        return leading, lagging


@dataclass(frozen=True)
class _Law:
    """False alarm rate wanted, and the looks in each cell of noise."""

    probability: float
    num_looks: int


def _reach(size: int, guard: int, outer: int, wrap: bool) -> tuple[NDArray[np.int64], ...]:
    """Cells along one axis: training before, training after, guard width and outer width, each (size,)."""
    before = np.full((2, size), [[guard], [outer]]) if wrap else np.minimum(np.arange(size), [[guard], [outer]])
    after = before[:, ::-1]
    width = before + after + 1
    return before[1] - before[0], after[1] - after[0], width[0], width[1]


def cfar(
    power: NDArray[np.floating],
    *,
    guard_cells: int | tuple[int, int],
    training_cells: int | tuple[int, int],
    probability_of_false_alarm: float,
    method: str = 'ca',
    wrap: bool | tuple[bool, bool] = False,
    num_looks: int = 1,
    rank: float = 0.75,
    everywhere: bool = True,
) -> CfarResult:
    """Detect cells that stand out from the noise around them, at a constant rate of false alarms.

    The training cells of a cell are those within ``guard_cells + training_cells`` of it along each axis, less those
    within ``guard_cells`` along both. A two-dimensional map with ``guard_cells=(0, g)`` and ``training_cells=(0, n)``
    is a stack of one-dimensional signals. At an edge that does not wrap, a cell uses the training cells that exist, and
    the threshold factor follows their number, so that the false alarm rate stays nominal.

    Noise is taken for exponentially distributed power (a complex Gaussian's), summed over ``num_looks`` looks. The
    threshold is ``alpha`` times a statistic of the training cells; alpha is exact for each method:

    - ``ca``: mean of all; Finn and Johnson, RCA Review 29 (1968).
    - ``go``, ``so``: greater or smaller of two means: of the training cells above or left of the guard cells, and of
      those below or right of them (in one dimension the two sides); Hansen (1973) and Trunk (1978), here for unequal
      numbers and several looks too.
    - ``os``: order statistic number ``ceil(rank * N)`` of N; Rohling, IEEE Trans. AES-19 (1983).

    Args:
        power: (N,) or (R, A), linear power (not dB), finite, not negative.
        guard_cells: left out on each side of a cell, along each axis.
        training_cells: beyond the guard cells on each side, along each axis.
        probability_of_false_alarm: per cell of noise, in (0, 0.5].
        method: 'ca', 'go', 'so' or 'os'.
        wrap: the axis is a circle.
        num_looks: independent looks summed or averaged in each cell.
        rank: 'os' only, in (0, 1]: the share of the training cells below the order statistic that is used.
        everywhere: False lets 'os' estimate threshold and noise at the detections alone (NaN elsewhere), which is
            several times faster for large windows; the other methods do not need it.

    Raises:
        ValueError: an argument out of range, power that is negative or not finite, or a window wider than a circle.
    """
    power = np.asarray(power)
    if power.ndim not in (1, 2) or power.size == 0:
        raise ValueError(f'power: expected a filled array of 1 or 2 dimensions, got shape {power.shape}')
    guard = _pair('guard_cells', guard_cells, power.ndim)
    training = _pair('training_cells', training_cells, power.ndim)
    wraps = (wrap, wrap) if isinstance(wrap, bool | np.bool_) else tuple(wrap)
    if power.ndim == 1:
        wraps = (False, bool(wraps[-1]))
    if method not in METHODS:
        raise ValueError(f'method: expected one of {", ".join(METHODS)}, got {method!r}')
    if not 0 < probability_of_false_alarm <= 0.5:
        raise ValueError(f'probability_of_false_alarm: expected a number in (0, 0.5], got {probability_of_false_alarm}')
    if num_looks < 1 or num_looks != int(num_looks):
        raise ValueError(f'num_looks: expected a whole number from 1 on, got {num_looks}')
    if not 0 < rank <= 1:
        raise ValueError(f'rank: expected a number in (0, 1], got {rank}')
    if max(training) == 0:
        raise ValueError('training_cells: expected at least one along one axis, got none')
    if power.dtype not in (np.float32, np.float64):
        power = power.astype(np.float64)
    # NaN and Inf both survive the sum; a finite sum is the cheap proof that there is none.
    if not np.isfinite(power.sum(dtype=np.float64)) and not np.isfinite(power).all():
        raise ValueError(f'power: expected finite cells, got {np.count_nonzero(~np.isfinite(power))} NaN or Inf')
    if power.min() < 0:
        raise ValueError(f'power: expected linear power from 0 on (not dB), got {power.min()}')
    cells = np.ascontiguousarray(power if power.ndim == 2 else power[None, :])
    window = _Window(cells.shape, guard, training, (bool(wraps[0]), bool(wraps[1])))
    for axis in (0, 1):
        if window.wrap[axis] and 2 * window.outer[axis] + 1 > cells.shape[axis]:
            raise ValueError(
                f'guard_cells, training_cells: expected a window of at most {cells.shape[axis]} cells around the'
                f' circle of axis {axis}, got {2 * window.outer[axis] + 1}'
            )
    law = _Law(float(probability_of_false_alarm), int(num_looks))
    if method == 'os':
        result = _order_statistic(cells, window, law, float(rank), everywhere)
    elif method == 'ca':
        result = _cell_averaging(cells, window, law)
    else:
        result = _split_averaging(cells, window, law, method)
    if power.ndim == 2:
        return result
    return CfarResult(result.detections[0], result.threshold[0], result.noise[0])


def ca_threshold_factor(count: ArrayLike, probability_of_false_alarm: float, num_looks: int = 1) -> NDArray[np.float64]:
    """Factor on the mean of ``count`` training cells; for one look ``N (Pfa^(-1/N) - 1)``.

    The cell's share of the sum of itself and its training cells is Beta(L, N L) distributed. Infinite for no cell.
    """
    cells = np.asarray(count, dtype=np.float64)
    share = special.betaincinv(np.maximum(cells, 1) * num_looks, num_looks, probability_of_false_alarm)
    return np.where(cells > 0, cells * (1 - share) / share, np.inf)


def split_threshold_factor(
    leading: ArrayLike,
    lagging: ArrayLike,
    probability_of_false_alarm: float,
    method: str,
    num_looks: int = 1,
) -> NDArray[np.float64]:
    """Factor on the greater ('go') or smaller ('so') of the means of two groups of training cells.

    The false alarm rate is a closed form in incomplete beta functions (see ``_split_false_alarms``), inverted by
    bisection. A group without cells is left out. Infinite where both are empty.
    """
    one, two = np.broadcast_arrays(np.asarray(leading), np.asarray(lagging))
    factor = ca_threshold_factor(np.maximum(one, two), probability_of_false_alarm, num_looks)
    both = (one > 0) & (two > 0)
    first, second = one[both].astype(np.float64), two[both].astype(np.float64)

    def false_alarms(factor: NDArray[np.float64]) -> NDArray[np.float64]:
        return _split_false_alarms(factor, first, second, method, num_looks)

    factor[both] = _solve(false_alarms, probability_of_false_alarm, first.size)
    return factor


def os_threshold_factor(
    count: ArrayLike, order: ArrayLike, probability_of_false_alarm: float, num_looks: int = 1
) -> NDArray[np.float64]:
    """Factor on order statistic number ``order`` (1 = smallest) of ``count`` training cells; infinite for no cell."""
    cells, orders = np.broadcast_arrays(np.asarray(count), np.asarray(order))
    some = cells > 0
    cells, orders = cells[some].astype(np.float64), orders[some].astype(np.float64)
    factor = np.full(some.shape, np.inf)
    false_alarms = _os_false_alarms(cells, orders, probability_of_false_alarm, num_looks)
    factor[some] = _solve(false_alarms, probability_of_false_alarm, cells.size)
    return factor


def _pair(name: str, value: int | tuple[int, int], ndim: int) -> tuple[int, int]:
    """Two half widths, not negative."""
    values = value if isinstance(value, tuple | list) else (value,) * ndim
    if len(values) != ndim or any(cells != int(cells) or cells < 0 for cells in values):
        raise ValueError(f'{name}: expected {ndim} whole numbers from 0 on, got {value!r}')
    return (0, int(values[0])) if ndim == 1 else (int(values[0]), int(values[1]))


def _solve(
    false_alarms: Callable[[NDArray[np.float64]], NDArray[np.float64]], probability: float, size: int
) -> NDArray[np.float64]:
    """Factors at which a falling false alarm rate equals the probability, by bisection of the logarithm."""
    low, high = np.full(size, -30.0), np.full(size, 60.0)
    for _ in range(64):
        middle = (low + high) / 2
        above = false_alarms(np.exp(middle)) > probability
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.exp((low + high) / 2)


def _split_false_alarms(
    factor: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    method: str,
    num_looks: int,
) -> NDArray[np.float64]:
    """Probability that a cell of noise exceeds factor times the greater or smaller of two means.

    With the group of ``n`` cells selected, the cell's Gamma(L) survival function, a polynomial times an exponential, is
    integrated against that mean's density term by term: negative binomial weights times the probability, an incomplete
    beta function, that the other mean is the smaller ('go') or greater ('so') one.
    """
    total = np.zeros_like(factor)
    for selected, other in ((first, second), (second, first)):
        shape = selected * num_looks
        share = (selected + factor) / (selected + factor + other)
        for term in range(num_looks):
            weight = np.exp(
                special.gammaln(shape + term)
                - special.gammaln(shape)
                - special.gammaln(term + 1)
                + shape * np.log(selected / (selected + factor))
                + term * np.log(factor / (selected + factor))
            )
            if method == 'so':
                total += weight * special.betainc(shape + term, other * num_looks, share)
            else:
                total += weight * special.betainc(other * num_looks, shape + term, 1 - share)
    return total


def _split_mean(
    first: NDArray[np.int64], second: NDArray[np.int64], method: str, num_looks: int
) -> NDArray[np.float64]:
    """Expectation of the greater or smaller mean, in units of the mean of one cell; 1 where a group is empty."""
    mean = np.ones(first.shape)
    both = (first > 0) & (second > 0)
    one, two = first[both].astype(np.float64), second[both].astype(np.float64)
    total = np.zeros(one.size)
    for selected, other in ((one, two), (two, one)):
        share = selected / (selected + other)
        if method == 'so':
            total += special.betainc(selected * num_looks + 1, other * num_looks, share)
        else:
            total += special.betainc(other * num_looks, selected * num_looks + 1, 1 - share)
    mean[both] = total
    return mean


def _os_false_alarms(
    count: NDArray[np.float64], order: NDArray[np.float64], probability: float, num_looks: int
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """False alarm rate of OS-CFAR as a function of the factor.

    For one look Rohling's product, written with gamma functions; for several the expectation over the order
    statistic's quantile, which is Beta(k, N - k + 1) distributed, by the trapezoidal rule in its logit.
    """
    if num_looks == 1:
        constant = special.gammaln(count + 1) - special.gammaln(count - order + 1)

        def rohling(factor: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.exp(constant + special.gammaln(count - order + 1 + factor) - special.gammaln(count + 1 + factor))

        return rohling
    weight, level = _order_quadrature(count, order, probability, num_looks)

    def expectation(factor: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sum(weight * special.gammaincc(num_looks, factor[:, None] * level), axis=1)

    return expectation


def _order_quadrature(
    count: NDArray[np.float64], order: NDArray[np.float64], probability: float, num_looks: int, nodes: int = 256
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and levels, (cases, nodes), of the distribution of an order statistic of Gamma(num_looks) cells."""
    beta = (order, count - order + 1)
    lowest, highest = (
        special.logit(np.clip(special.betaincinv(*beta, tail), 1e-300, 1 - 1e-15))
        for tail in (probability * 1e-6, 1 - 1e-12)
    )
    logit = np.linspace(lowest, highest, nodes, axis=1)
    density = np.exp(
        beta[0][:, None] * special.log_expit(logit)
        + beta[1][:, None] * special.log_expit(-logit)
        - special.betaln(*beta)[:, None]
    )
    weight = density * (logit[:, 1] - logit[:, 0])[:, None]
    return weight, special.gammaincinv(num_looks, special.expit(logit))


def _order_mean(count: NDArray[np.float64], order: NDArray[np.float64], num_looks: int) -> NDArray[np.float64]:
    """Mean of an order statistic, in units of the mean of one cell."""
    if num_looks == 1:
        return special.digamma(count + 1) - special.digamma(count - order + 1)
    weight, level = _order_quadrature(count, order, 1e-6, num_looks)
    return np.sum(weight * level, axis=1) / num_looks


@lru_cache(maxsize=16)
def _averaging_factors(window: _Window, law: _Law) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors from the sum of the training cells to threshold and noise (NaN for no cell); scalars where all equal."""
    leading, lagging = window.counts()
    counts, inverse = np.unique(leading + lagging, return_inverse=True)
    with np.errstate(divide='ignore', invalid='ignore'):
        noise = np.where(counts > 0, 1 / counts, np.nan)
        threshold = noise * ca_threshold_factor(counts, law.probability, law.num_looks)
    if counts.size == 1:
        return threshold[0], noise[0]
    inverse = inverse.reshape(window.shape)
    return threshold[inverse], noise[inverse]


def _cell_averaging(power: NDArray[np.floating], window: _Window, law: _Law) -> CfarResult:
    """CA-CFAR of a two-dimensional map."""
    threshold_factor, noise_factor = _averaging_factors(window, law)
    total = np.add(*_training_sums(power, window))
    threshold = total * threshold_factor
    total *= noise_factor
    return _result(power, threshold, total)


@lru_cache(maxsize=16)
def _split_factors(window: _Window, law: _Law, method: str) -> tuple[NDArray[np.float64], ...]:
    """Factors from sums to means (leading, lagging), from selected mean to threshold and to noise; NaN for no cell."""
    leading, lagging = window.counts()
    cases, inverse = np.unique(leading * (lagging.max() + 1) + lagging, return_inverse=True)
    first, second = np.divmod(cases, lagging.max() + 1)
    factors = split_threshold_factor(first, second, law.probability, method, law.num_looks)
    factors[cases == 0] = np.nan
    bias = _split_mean(first, second, method, law.num_looks)
    inverse = inverse.reshape(window.shape)
    with np.errstate(divide='ignore'):
        to_means = [np.where(count > 0, 1 / count, np.nan) for count in (leading, lagging)]
    return *to_means, factors[inverse], 1 / bias[inverse]


def _split_averaging(power: NDArray[np.floating], window: _Window, law: _Law, method: str) -> CfarResult:
    """GO- or SO-CFAR of a two-dimensional map."""
    *to_means, threshold_factor, noise_factor = _split_factors(window, law, method)
    leading, lagging = (sums * factor for sums, factor in zip(_training_sums(power, window), to_means, strict=True))
    # A mean of no cells is NaN, which fmax and fmin pass over.
    (np.fmax if method == 'go' else np.fmin)(leading, lagging, out=leading)
    np.multiply(leading, threshold_factor, out=lagging)
    leading *= noise_factor
    return _result(power, lagging, leading)


def _result(power: NDArray[np.floating], threshold: NDArray[np.floating], noise: NDArray[np.floating]) -> CfarResult:
    """Result in which a cell without training cells (threshold NaN) has an infinite threshold."""
    if np.isnan(threshold.min()):
        threshold[np.isnan(threshold)] = np.inf
    return CfarResult(power > threshold, threshold, noise)


def _training_sums(power: NDArray[np.floating], window: _Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums over the leading and the lagging training cells, by running sums: their number costs nothing.

    The frame of training cells is four rectangles, two of one size and two of another, so that one running sum of
    each size, read at two places, gives both sides, without taking the guard cells in and out again.
    """
    padded = _padded(power, window, 0.0)
    height, width = window.shape
    sides: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    if window.training[0]:
        sums = _box(padded, (window.training[0], 2 * window.outer[1] + 1))[:, :width]
        below = window.outer[0] + window.guard[0] + 1
        sides.append((sums[:height], sums[below : below + height]))
    if window.training[1]:
        sums = _box(padded, (2 * window.guard[0] + 1, window.training[1]))
        sums = sums[window.training[0] : window.training[0] + height]
        right = window.outer[1] + window.guard[1] + 1
        sides.append((sums[:, :width], sums[:, right : right + width]))
    if len(sides) == 1:
        return sides[0]
    return sides[0][0] + sides[1][0], sides[0][1] + sides[1][1]


def _box(padded: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """Sum over the rectangle of (rows, columns) cells that begins at each cell."""
    rows, columns = size
    sums = cv2.boxFilter(
        padded, cv2.CV_64F, (columns, rows), anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(sums, dtype=np.float64)


def _padded(power: NDArray[np.floating], window: _Window, outside: float) -> NDArray[np.floating]:
    """Map with a margin of the outer half widths: the other end of a circle, or the value ``outside``."""
    padded = power
    for axis in (0, 1):
        half = window.outer[axis]
        if half == 0:
            continue
        before, after = (slice(-half, None), slice(0, half))
        if window.wrap[axis]:
            parts = (padded[before], padded, padded[after])
            if axis == 1:
                parts = (padded[:, before], padded, padded[:, after])
        else:
            margin = list(padded.shape)
            margin[axis] = half
            edge = np.full(margin, outside, dtype=padded.dtype)
            parts = (edge, padded, edge)
        padded = np.concatenate(parts, axis=axis)
    return padded


@lru_cache(maxsize=16)
def _order_factors(
    window: _Window, law: _Law, rank: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Threshold factor, mean of the order statistic and its number (1 = smallest) for each cell."""
    counts, inverse = np.unique(np.add(*window.counts()), return_inverse=True)
    some = np.maximum(counts, 1)
    orders = np.clip(np.ceil(rank * counts), 1, some)
    factors = os_threshold_factor(counts, orders, law.probability, law.num_looks)
    means = np.where(counts > 0, _order_mean(some, orders, law.num_looks), np.nan)
    inverse = inverse.reshape(window.shape)
    return factors.astype(np.float32)[inverse], means.astype(np.float32)[inverse], orders.astype(np.int32)[inverse]


def _order_statistic(
    power: NDArray[np.floating], window: _Window, law: _Law, rank: float, everywhere: bool
) -> CfarResult:
    """OS-CFAR of a two-dimensional map."""
    factor, mean, order = _order_factors(window, law, rank)
    power = power.astype(np.float32, copy=False)
    padded = _padded(power, window, np.inf)
    if everywhere:
        statistic = _every_order_statistic(padded, window, order)
    else:
        detections = _count_detections(padded, window, power / factor, order)
        statistic = np.full(window.shape, np.nan, dtype=np.float32)
        statistic[detections] = _order_statistics_at(padded, window, order, detections)
    with np.errstate(invalid='ignore'):
        noise = statistic / mean
        threshold = statistic * factor
    if everywhere:
        threshold[np.isnan(mean)] = np.inf
        detections = power > threshold
    return CfarResult(detections, threshold, noise)


def _every_order_statistic(
    padded: NDArray[np.float32], window: _Window, order: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Order statistic number ``order`` of the training cells of each cell."""
    statistic = np.empty(window.shape, dtype=np.float32)
    # The cells with a full window share one order; those near an edge are done apart.
    rows, columns = (
        slice(0, size) if circle else slice(half, max(half, size - half))
        for size, circle, half in zip(window.shape, window.wrap, window.outer, strict=True)
    )
    inner_shape = (rows.stop - rows.start, columns.stop - columns.start)
    if min(inner_shape) > 0:
        windows = sliding_window_view(padded, [2 * half + 1 for half in window.outer])[rows, columns]
        statistic[rows, columns] = _inner_order_statistic(windows, window, int(order[rows.start, columns.start]))
    edge = np.ones(window.shape, dtype=bool)
    edge[rows, columns] = False
    statistic[edge] = _order_statistics_at(padded, window, order, edge)
    return statistic


def _inner_order_statistic(windows: NDArray[np.float32], window: _Window, order: int) -> NDArray[np.float32]:
    """Order statistic of full windows, (rows, columns, window rows, window columns), by partial sorting."""
    mask = window.training_mask()
    # A row of the window is one run of training cells, or two around the guard cells.
    steps = np.diff(mask, axis=1, prepend=False, append=False)
    runs = [(row, *run) for row, step in enumerate(steps) for run in np.flatnonzero(step).reshape(-1, 2)]
    statistic = np.empty(windows.shape[:2], dtype=np.float32)
    height = max(1, _CELLS_PER_PASS // windows.shape[1])
    training = np.empty((height, windows.shape[1], np.count_nonzero(mask)), dtype=np.float32)
    for start in range(0, windows.shape[0], height):
        part = windows[start : start + height]
        cells = training[: len(part)]
        filled = 0
        for row, first, stop in runs:
            cells[..., filled : filled + stop - first] = part[:, :, row, first:stop]
            filled += stop - first
        cells.partition(order - 1, axis=-1)
        statistic[start : start + height] = cells[..., order - 1]
    return statistic


def _order_statistics_at(
    padded: NDArray[np.float32], window: _Window, order: NDArray[np.int32], cells: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Order statistic number ``order`` (a map) of the training cells of the cells that are True."""
    rows, columns = np.nonzero(cells)
    order = order[cells]
    mask_rows, mask_columns = np.nonzero(window.training_mask())
    offsets = mask_rows * padded.shape[1] + mask_columns
    first = rows * padded.shape[1] + columns
    statistic = np.empty(rows.size, dtype=np.float32)
    flat = padded.ravel()
    for start in range(0, rows.size, _CELLS_PER_PASS):
        part = slice(start, start + _CELLS_PER_PASS)
        training = np.sort(flat[first[part, None] + offsets], axis=1)
        statistic[part] = np.take_along_axis(training, order[part, None] - 1, axis=1)[:, 0]
    return statistic


def _count_detections(
    padded: NDArray[np.float32], window: _Window, scaled: NDArray[np.float32], order: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Cells whose power over the factor exceeds at least ``order`` training cells: OS-CFAR without sorting."""
    offsets = np.argwhere(window.training_mask())
    dtype = np.min_scalar_type(len(offsets))  # the narrowest type that can count them all is the fastest
    detections = np.empty(scaled.shape, dtype=bool)
    width = scaled.shape[1]
    step = max(1, _CELLS_PER_PASS // width)
    for start in range(0, scaled.shape[0], step):
        own = scaled[start : start + step]
        count = np.zeros(own.shape, dtype=dtype)
        lower = np.empty(own.shape, dtype=bool)
        for row, column in offsets:
            other = padded[start + row : start + row + len(own), column : column + width]
            np.less(other, own, out=lower)
            count += lower
        detections[start : start + step] = count >= order[start : start + step]
    return detections
