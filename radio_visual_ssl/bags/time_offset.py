# SPDX-License-Identifier: Apache-2.0
"""Estimates by how much a camera's stamps are off the radar's, from what both see moving.

Both streams come as pictures of one raster (see ``activity``). What changes in the radar's picture from one frame to
another is correlated with what changes in the camera's between the same two times, for every lag; the camera's picture
at any time is interpolated between its frames, so that unequal rates, jitter and gaps need no resampling. Differences
whiten the slow part of the signal, whose peak is blunt and shifted by where on an object each sensor sees it; what is
left are starts, stops, appearances and turns, which both sensors have at the same time (a time delay estimator with
prewhitening: Knapp and Carter, "The generalized correlation method for estimation of time delay", IEEE Trans. ASSP
24(4), 1976). Over which times differences are best taken is up to the scene: the choice with the smallest
error is used.

The error comes from resampling blocks of time (Bayesian bootstrap; Rubin 1981) and from a share of the peak's width,
because an object is not a point: where it only moves steadily, no more is known. Whether there is anything to find
comes from giving each block a random sign: what is reached then, chance reaches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Floats = NDArray[np.float64]
Pictures = NDArray[np.float32]


@dataclass(frozen=True)
class OffsetSettings:
    """How the offset is looked for.

    Attributes:
        search_s: s, largest offset, to both sides.
        spans_s: s, times over which differences may be taken.
        probability_of_chance: largest at which an offset is given.
        widest_s: s, largest distance of the offset from either end of its interval at which it is given.
        widest_drift_ppm: the same for the drift.
        draws: of the bootstrap, and of the signs.
    """

    search_s: float = 2.0
    spans_s: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    probability_of_chance: float = 0.01
    widest_s: float = 0.25
    widest_drift_ppm: float = 150.0
    draws: int = 400

    def __post_init__(self) -> None:
        """Check the search range."""
        if not 0 < self.search_s <= 60:
            raise ValueError(f'search_s: expected more than 0 and at most 60 s, got {self.search_s} s')


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Pictures of both streams over one stretch of time, on one raster.

    Attributes:
        radar_s: (R,) s, ascending.
        radar: (R, P) float32.
        image_s: (I,) s, ascending.
        image: (I, P) float32.
    """

    radar_s: Floats
    radar: Pictures
    image_s: Floats
    image: Pictures


@dataclass(frozen=True, eq=False)
class TimeOffset:
    """What could be found.

    Attributes:
        offset_s: s to add to the camera's stamps, at the middle of the recording; None: cannot tell, see ``reason``.
        interval_s: 95 % confidence interval; where the offset is not given, what it would be.
        best_s: s, where the streams agree best, certain or not.
        drift_ppm: microseconds by which the offset grows in a second; None: cannot tell, see ``drift_reason``.
        drift_interval_ppm: 95 % confidence interval.
        probability_of_chance: how often unrelated streams would agree that well.
        reason, drift_reason: why there is no figure; empty where there is one.
        lags_s: (L,) s, of the curve.
        curve: (L,) correlation of the changes at each lag, NaN where too little overlaps.
        chance: correlation that chance reaches in one of 20 cases.
        camera: what was known of the camera, for people.
    """

    offset_s: float | None = None
    interval_s: tuple[float, float] | None = None
    best_s: float | None = None
    drift_ppm: float | None = None
    drift_interval_ppm: tuple[float, float] | None = None
    probability_of_chance: float | None = None
    reason: str = ''
    drift_reason: str = ''
    lags_s: Floats | None = None
    curve: Floats | None = None
    chance: float | None = None
    camera: str = ''


def cannot_tell(reason: str) -> TimeOffset:
    """A result without figures."""
    return TimeOffset(reason=reason, drift_reason='without an offset there is no drift')


COARSE_STEP, FINE_STEP = 0.04, 0.01  # s, of the lags
FINE_RANGE = 0.8  # s, around the coarse peak
FIT_RANGE = 0.06  # s, around a peak, of the parabola that finds it between the lags
LEAST_FRAMES = 8  # radar frames that must overlap at a lag
LEAST_SHARE = 0.4  # and of all of them
BLOCK = 2.0  # s, resampled together: movements are correlated over about that time
LEAST_BLOCKS = 5
FLOOR = 0.002  # s, standard error that no recording beats: exposure and radar frame have a length
WHEREABOUTS = 0.04  # standard error as a share of the peak's width: where on an object each sensor sees it


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over blocks of time, by lag: what curves are made of.

    Attributes:
        time: (B,) s, middle of each block.
        product: (B, L) of the changes of both streams, as shares of what full agreement would give in all blocks; NaN
            at lags where too little overlaps.
        share: (B,) of the radar's changes.
        block: (B,) which of all blocks these are; those without a change are left out.
        blocks: number of all blocks, the same under every hypothesis.
    """

    time: Floats
    product: Floats
    share: Floats
    block: NDArray[np.intp]
    blocks: int

    def curve(self, weights: Floats | None = None) -> Floats:
        """(..., L) correlation, for (..., B) weights of the blocks; NaN where too little overlaps."""
        return np.asarray(self.product.sum(axis=0) if weights is None else weights @ self.product)


def estimate_time_offset(
    hypotheses: Sequence[Callable[[], Sequence[Excerpt]]],
    names: Sequence[str],
    centre_s: float = 0.0,
    settings: OffsetSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TimeOffset:
    """Find the offset that makes camera and radar agree best.

    Args:
        hypotheses: each makes the excerpts as they would look if something unknown (the radar's height, the camera's
            direction) were so; the one under which the streams agree best is used.
        names: of the hypotheses, for people.
        centre_s: s, about which the offset is looked for.
        settings: how.
        progress: called with (steps done, steps in all).
    """
    settings = settings or OffsetSettings()
    rng = np.random.default_rng(0)
    lags = centre_s + np.arange(-settings.search_s, settings.search_s + COARSE_STEP / 2, COARSE_STEP)
    choices = [*((span,) for span in settings.spans_s), settings.spans_s]
    steps = len(hypotheses) + len(choices)
    best: tuple[float, int, _Sums, Floats] | None = None
    signs: Floats | None = None
    reached = np.full(settings.draws, -np.inf)
    for number, make in enumerate(hypotheses):
        sums = _correlate(make(), lags, settings.spans_s)
        if sums is None or len(sums.time) < LEAST_BLOCKS:
            return cannot_tell(_too_short(sums))
        curve = sums.curve()
        if not np.any(np.isfinite(curve)):
            return cannot_tell('the stamps of radar and camera overlap too little, or nothing changes in one of them')
        if signs is None:
            signs = rng.choice([-1.0, 1.0], (settings.draws, sums.blocks))
        reached = np.maximum(reached, np.nanmax(sums.curve(signs[:, sums.block]), axis=1))
        if best is None or np.nanmax(curve) > best[0]:
            best = float(np.nanmax(curve)), number, sums, curve
        if progress is not None:
            progress(number + 1, steps)
    assert best is not None
    height, number, _, curve = best
    found = TimeOffset(
        probability_of_chance=float((1 + np.count_nonzero(reached >= height)) / (1 + settings.draws)),
        lags_s=lags,
        curve=curve,
        chance=float(np.quantile(reached, 0.95)),
        camera=names[number],
    )
    middle = lags[int(np.nanargmax(curve))]
    low = max(middle - FINE_RANGE, lags[0])
    fine = np.arange(low, min(middle + FINE_RANGE, lags[-1]) + FINE_STEP / 2, FINE_STEP)
    excerpts = hypotheses[number]()
    fits = []
    for done, spans in enumerate(choices, 1):
        sums = _correlate(excerpts, fine, spans)
        if sums is not None and len(sums.time) >= LEAST_BLOCKS and np.any(np.isfinite(sums.curve())):
            fits.append(_fit(sums, fine, rng, settings.draws))
        if progress is not None:
            progress(len(hypotheses) + done, steps)
    if not fits:
        return replace(cannot_tell('the stamps of radar and camera overlap too little'), camera=found.camera)
    return _judge(found, min(fits, key=lambda fit: fit.error), settings)


@dataclass(frozen=True, eq=False)
class _Fit:
    """A peak, its standard error and interval, the drift and its error, and the degrees of freedom of both."""

    offset: float
    error: float
    low: float
    high: float
    drift: float
    drift_error: float
    freedom: float


def _fit(sums: _Sums, lags: Floats, rng: np.random.Generator, draws: int) -> _Fit:
    """Peak of the curve; its spread when the blocks are given other weights (Rubin 1981)."""
    weights = rng.standard_exponential((draws, len(sums.time)))
    weights /= weights.mean(axis=1, keepdims=True)
    curve = sums.curve()
    offset = float(_peaks(lags, curve[None])[0])
    drawn = _peaks(lags, sums.curve(weights))
    # how many blocks carry the peak: a few events among many idle blocks are known no better than a few blocks
    at = int(np.argmin(np.abs(lags - offset)))
    carried = np.abs(sums.product[:, at])
    carrying = float(carried.sum() ** 2 / np.sum(carried**2))
    freedom = max(carrying - 1.0, 1.0)
    systematic = float(np.hypot(WHEREABOUTS * _width(lags, curve), FLOOR))
    error = float(np.hypot(np.std(drawn), systematic))
    half = float(np.hypot(stdtrit(freedom, 0.975) * np.std(drawn), ndtri(0.975) * systematic))
    low, high = (float(value) for value in np.quantile(drawn, (0.025, 0.975)))
    drift, drift_error = _drift(sums, lags, offset, rng, draws)
    return _Fit(offset, error, min(low, offset - half), max(high, offset + half), drift, drift_error, freedom)


def _drift(sums: _Sums, lags: Floats, offset: float, rng: np.random.Generator, draws: int) -> tuple[float, float]:
    """Slope of the offset over time and its standard error: parabolas fitted to the blocks' curves, all at once."""
    near = np.flatnonzero(np.abs(lags - offset) <= 2 * FIT_RANGE)
    x = lags[near] - offset
    parabola = np.linalg.pinv(np.column_stack([np.ones_like(x), x, x * x]))
    _, slope, bend = parabola @ sums.product[:, near].T
    time = sums.time - sums.time.mean()
    # sum over blocks of (slope + 2 bend y) = 0 with y = y0 + drift * time, and the same times the time; single blocks
    # have no curvature to rely on, their share of the energy stands for it
    curvature = -2 * bend.sum() * sums.share
    if curvature.sum() <= 0 or np.ptp(time) <= 0:
        return 0.0, float('inf')

    def solve(weights: Floats) -> Floats:
        moments = [weights @ (curvature * time**power) for power in range(3)]
        right = [weights @ (slope * time**power) for power in range(2)]
        determinant = moments[0] * moments[2] - moments[1] ** 2
        return np.asarray((moments[0] * right[1] - moments[1] * right[0]) / determinant)

    weights = rng.standard_exponential((draws, len(time)))
    return float(solve(np.ones(len(time)))), float(np.std(solve(weights)))


def _judge(found: TimeOffset, fit: _Fit, settings: OffsetSettings) -> TimeOffset:
    """Give what is certain enough, and say why the rest is not."""
    chance = found.probability_of_chance or 0.0
    found = replace(found, best_s=fit.offset, interval_s=(fit.low, fit.high))
    half = max(fit.high - fit.offset, fit.offset - fit.low)
    would_be = f'{fit.offset:+.3f} s, from {fit.low:+.3f} to {fit.high:+.3f} s'
    if chance > settings.probability_of_chance:
        reason = f'radar and camera agree no better than chance could make them (p = {chance:.2f}); at best {would_be}'
        return replace(found, reason=reason, drift_reason='without an offset there is no drift')
    if half > settings.widest_s:
        reason = f'too little happens in the recording: the offset would be {would_be}'
        return replace(found, reason=reason, drift_reason='without an offset there is no drift')
    width = float(stdtrit(fit.freedom, 0.975)) * fit.drift_error * 1e6
    if not np.isfinite(width):
        return replace(found, offset_s=fit.offset, drift_reason='the recording is too short')
    drift = fit.drift * 1e6
    found = replace(found, offset_s=fit.offset, drift_interval_ppm=(drift - width, drift + width))
    if width > settings.widest_drift_ppm:
        reason = f'the recording is too short, or too little happens: it would be {drift:+.0f} +- {width:.0f} ppm'
        return replace(found, drift_reason=reason)
    return replace(found, drift_ppm=drift)


def _too_short(sums: _Sums | None) -> str:
    blocks = 0 if sums is None else len(sums.time)
    return f'expected at least {LEAST_BLOCKS} stretches of time in which both sensors are there, got {blocks}'


def _peaks(lags: Floats, curves: Floats) -> Floats:
    """(N,) lags of the maxima of (N, L) curves, by a parabola through what is near."""
    curves = np.where(np.isfinite(curves), curves, -np.inf)
    reach = max(1, round(FIT_RANGE / (lags[1] - lags[0])))
    at = np.clip(np.argmax(curves, axis=1), reach, len(lags) - 1 - reach)
    x = np.arange(-reach, reach + 1) * (lags[1] - lags[0])
    near = np.take_along_axis(curves, at[:, None] + np.arange(-reach, reach + 1), axis=1)
    _, slope, bend = np.linalg.pinv(np.column_stack([np.ones_like(x), x, x * x])) @ np.nan_to_num(near, neginf=0.0).T
    with np.errstate(divide='ignore', invalid='ignore'):
        shift = np.where(bend < 0, -slope / (2 * bend), 0.0)
    return lags[at] + np.clip(shift, -FIT_RANGE, FIT_RANGE)


def _width(lags: Floats, curve: Floats) -> float:
    """Full width, s, of the highest peak at half its height."""
    top = int(np.nanargmax(curve))
    low = np.flatnonzero(~(curve > curve[top] / 2))
    before, after = low[low < top], low[low > top]
    first = int(before[-1]) + 1 if before.size else 0
    last = int(after[0]) - 1 if after.size else len(lags) - 1
    return float(lags[last] - lags[first] + lags[1] - lags[0])


def _correlate(excerpts: Sequence[Excerpt], lags: Floats, spans_s: Sequence[float]) -> _Sums | None:
    """Products of changes over spans of time, summed over blocks and spans; None where no excerpt has any."""
    excerpts = [excerpt for excerpt in excerpts if len(excerpt.radar_s) > 2 and len(excerpt.image_s) > 2]
    usable = sum(float(np.ptp(excerpt.radar_s)) for excerpt in excerpts)
    if not usable:
        return None
    begins, lengths = [], []
    for excerpt in excerpts:
        lengths.append(min(BLOCK, max(usable / 12, 2.02 * float(np.median(np.diff(excerpt.radar_s))))))
        begins.append(np.arange(excerpt.radar_s[0], excerpt.radar_s[-1], lengths[-1]))
    first = np.cumsum([0, *(len(begin) for begin in begins)])
    product, energy = np.zeros((first[-1], len(lags))), np.zeros(first[-1])
    # spans that are the same number of frames count once
    steps = {tuple(_step(excerpt, span) for excerpt in excerpts) for span in spans_s}
    reached = np.zeros(len(lags), bool)
    for step in sorted(steps):
        sums, radar, image = np.zeros_like(product), np.zeros_like(product), np.zeros(len(lags))
        frames, total = np.zeros(len(lags), int), 0
        for number, excerpt in enumerate(excerpts):
            part = _products(excerpt, lags, step[number])
            if part is None:
                continue
            time, values, radar_energy, image_energy = part
            block = first[number] + np.floor((time - begins[number][0]) / lengths[number]).astype(int)
            valid = np.isfinite(values)
            np.add.at(sums, block, np.where(valid, values, 0.0))
            np.add.at(radar, block, valid * radar_energy[:, None])
            image += np.where(valid, image_energy, 0.0).sum(axis=0)
            frames += np.count_nonzero(valid, axis=0)
            total += len(time)
        scale = np.sqrt(radar.sum(axis=0) * image)
        enough = (frames >= max(LEAST_FRAMES, LEAST_SHARE * total)) & (scale > 0)
        product += np.where(enough, sums / np.where(scale > 0, scale, 1.0), 0.0) / len(steps)
        energy += radar.max(axis=1) / max(float(radar.max(axis=1).sum()), 1e-30)
        reached |= enough
    busy = energy > 0
    product[:, ~reached] = np.nan
    time = np.concatenate([begin + length / 2 for begin, length in zip(begins, lengths, strict=True)])
    share = energy[busy] / max(float(energy.sum()), 1e-30)
    return _Sums(time[busy], product[busy], share, np.flatnonzero(busy), len(busy)) if busy.any() else None


def _step(excerpt: Excerpt, span_s: float) -> int:
    """Radar frames in a span of time, at least one."""
    return max(1, round(span_s / float(np.median(np.diff(excerpt.radar_s)))))


def _products(excerpt: Excerpt, lags: Floats, step: int) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Begins (N,) s of changes in the radar's picture, their (N, L) products with those in the camera's, both energies.

    The changes are those from a radar frame to the one ``step`` later. NaN where the camera's frames leave a gap; None
    where the excerpt is too short.
    """
    radar_s, image_s = excerpt.radar_s, excerpt.image_s
    if len(radar_s) <= step:
        return None
    period, image_period = (float(np.median(np.diff(times))) for times in (radar_s, image_s))
    image_step = max(1, round(step * period / image_period))
    if len(image_s) <= image_step:
        return None
    begin, end = radar_s[:-step], radar_s[step:]
    change: Pictures = excerpt.radar[step:] - excerpt.radar[:-step]
    energy = np.sum((excerpt.image[image_step:] - excerpt.image[:-image_step]) ** 2, axis=1)
    energy_s = (image_s[image_step:] + image_s[:-image_step]) / 2
    # a camera frame or two may be missing: what is between is interpolated all the same
    gap = np.diff(image_s) > 3.5 * image_period
    product = np.full((len(begin), len(lags)), np.nan)
    chunk = 64
    for start in range(0, len(begin), chunk):
        rows = slice(start, min(start + chunk, len(begin)))
        first = max(0, int(np.searchsorted(image_s, begin[rows][0] - lags[-1])) - 1)
        last = min(len(image_s), int(np.searchsorted(image_s, end[rows][-1] - lags[0])) + 2)
        if last - first < 2:
            continue
        table = np.asarray(change[rows] @ excerpt.image[first:last].T, np.float64)
        near, near_gap = image_s[first:last], gap[first : last - 1]
        after = _interpolate(table, near, near_gap, end[rows, None] - lags)
        product[rows] = after - _interpolate(table, near, near_gap, begin[rows, None] - lags)
    product[end - begin > 2.5 * step * period] = np.nan
    image_energy = np.interp(((begin + end) / 2)[:, None] - lags, energy_s, energy)
    return begin, product, np.sum(change**2, axis=1, dtype=np.float64), image_energy


def _interpolate(table: Floats, times: Floats, gap: NDArray[np.bool_], wanted: Floats) -> Floats:
    """(N, L) values of the rows of a (N, J) table at wanted times; NaN outside the (J,) times and in gaps."""
    before = np.clip(np.searchsorted(times, wanted.ravel(), side='right').reshape(wanted.shape) - 1, 0, len(times) - 2)
    share = (wanted - times[before]) / (times[before + 1] - times[before])
    rows = np.arange(len(table))[:, None]
    value = table[rows, before] * (1 - share) + table[rows, before + 1] * share
    return np.where((share < -1e-6) | (share > 1 + 1e-6) | gap[before], np.nan, value)
