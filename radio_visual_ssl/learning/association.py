# SPDX-License-Identifier: Apache-2.0
"""Who belongs to whom in a frame: probabilities of one-to-one pairs of instances and candidates."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_INSTANCES = 8
"""Up to so many instances in a frame the probabilities are exact."""

# Odds are kept within these bounds, exp(+-60): beyond, sums of products would run out of float64.
_LARGEST_LOG = 60.0
# Of a pair that is as good as impossible.
_LEAST_ODDS = 1e-9
# Sums over pairings that are kept at once, 8 bytes each, twice.
_SUMS_AT_ONCE = 1 << 21
_SWEEPS = 100
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Association:
    """Probabilities over all one-to-one pairings of each frame.

    Attributes:
        pair: (B, I, C) that the instance has caused the candidate; rows sum to at most 1, columns too.
        missed: (B, I) that it has caused none.
        log_evidence: (B,) log of the sum over all pairings, that of each being the product of its odds.
    """

    pair: NDArray[np.float64]
    missed: NDArray[np.float64]
    log_evidence: NDArray[np.float64]


def associate(log_odds: NDArray[np.float64], exact_instances: int = EXACT_INSTANCES) -> Association:
    """Sum over all one-to-one pairings of instances with candidates, for many frames at once.

    A pairing gives each instance one candidate or none, and each candidate to one instance or none; its weight is the
    product of the odds of its pairs (against "the instance is missed and the candidate is clutter").

    - Up to ``exact_instances`` instances: exact. Candidates are taken one after the other, and for each set of
      instances that have theirs already the sum is carried forward and backward: C I 2^I steps instead of the
      (C + 1)^I pairings of an enumeration.
    - Beyond: loopy belief propagation (Williams and Lau, "Approximate evaluation of marginal association
      probabilities with belief propagation", IEEE Trans. AES 50(4), 2014), which converges for this problem always,
      and the Bethe approximation of the evidence.

    Args:
        log_odds: (B, I, C); -inf where a pair is impossible, also to fill up frames with fewer candidates.
        exact_instances: at most 16.

    Raises:
        ValueError: another number of dimensions, NaN, or exact_instances out of range.
    """
    if log_odds.ndim != 3:
        raise ValueError(f'log_odds: expected (frames, instances, candidates), got shape {log_odds.shape}')
    if np.any(np.isnan(log_odds)):
        raise ValueError('log_odds: expected no NaN')
    if not 0 <= exact_instances <= 16:
        raise ValueError(f'exact_instances: expected 0 to 16, got {exact_instances}')
    frames, instances, candidates = log_odds.shape
    if instances == 0 or candidates == 0 or frames == 0:
        return Association(np.zeros(log_odds.shape), np.ones((frames, instances)), np.zeros(frames))
    odds = np.exp(np.clip(log_odds, -np.inf, _LARGEST_LOG))
    # Most candidates are out of question for all instances: the others of each frame come first, and they alone count.
    best = odds.max(axis=1)
    width = max(1, int(np.max(np.sum(best > _LEAST_ODDS, axis=1))))
    order = np.argpartition(-best, width - 1, axis=1)[:, None, :width]
    chosen = np.take_along_axis(odds, order, axis=2)
    found = _by_subsets_in_parts(chosen) if instances <= exact_instances else _by_belief_propagation(chosen)
    pair = np.zeros_like(odds)
    np.put_along_axis(pair, np.broadcast_to(order, chosen.shape), found.pair, axis=2)
    return Association(pair, found.missed, found.log_evidence)


def _by_subsets_in_parts(odds: NDArray[np.float64]) -> Association:
    """Exact, so many frames at a time that the sums fit into memory."""
    frames, instances, candidates = odds.shape
    size = max(1, _SUMS_AT_ONCE // ((candidates + 1) << instances))
    parts = [_by_subsets(odds[start : start + size]) for start in range(0, frames, size)]
    return Association(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Association))
    )


def _by_subsets(odds: NDArray[np.float64]) -> Association:
    """Exact: F[c, S] sums pairings of the first c candidates that serve the instances S, G[c, S] what may follow.

    Each instance is an axis of length 2 (has it a candidate?), frames are the last one, so that inner loops are long.
    """
    frames, instances, candidates = odds.shape
    # A common scale for each instance keeps the sums near one.
    scale = np.maximum(1.0, odds.max(axis=2))
    weight, missed = np.ascontiguousarray((odds / scale[:, :, None]).transpose(1, 2, 0)), (1 / scale).T
    shape = (candidates + 1, *(2,) * instances, frames)
    forward, backward = np.zeros(shape), np.empty(shape)
    forward[(0, *(0,) * instances)] = 1
    backward[-1] = 1
    free: list[tuple[Any, ...]] = [(*(slice(None),) * i, 0) for i in range(instances)]
    taken: list[tuple[Any, ...]] = [(*(slice(None),) * i, 1) for i in range(instances)]
    for i in range(instances):
        backward[-1][free[i]] *= missed[i]
    for c in range(candidates):
        forward[c + 1] = forward[c]
        for i in range(instances):
            forward[c + 1][taken[i]] += forward[c][free[i]] * weight[i, c]
    for c in reversed(range(candidates)):
        backward[c] = backward[c + 1]
        for i in range(instances):
            backward[c][free[i]] += backward[c + 1][taken[i]] * weight[i, c]
    total = backward[(0, *(0,) * instances)]
    pair = np.empty((frames, instances, candidates))
    for i in range(instances):
        through = forward[:-1][(slice(None), *free[i])] * backward[1:][(slice(None), *taken[i])]
        through = through.reshape(candidates, -1, frames).sum(axis=1)
        pair[:, i] = (through * weight[i] / total).T
    evidence = np.log(total) + np.log(scale).sum(axis=1)
    return Association(pair, np.clip(1 - pair.sum(axis=2), 0, 1), evidence)


def _by_belief_propagation(odds: NDArray[np.float64]) -> Association:
    """Messages between instances and candidates until they settle; see :func:`associate`."""
    to_instance = np.ones_like(odds)
    to_candidate = np.zeros_like(odds)
    for _ in range(_SWEEPS):
        heard = odds * to_instance
        to_candidate = odds / (1 + heard.sum(axis=2, keepdims=True) - heard)
        previous = to_instance
        to_instance = 1 / (1 + np.maximum(to_candidate.sum(axis=1, keepdims=True) - to_candidate, 0))
        if np.max(np.abs(to_instance - previous)) < _TOLERANCE:
            break
    heard = odds * to_instance
    total = 1 + heard.sum(axis=2)
    evidence = np.log(total).sum(axis=1) + np.log1p(to_candidate.sum(axis=1)).sum(axis=1)
    evidence -= np.log1p(to_candidate * to_instance).sum(axis=(1, 2))
    return Association(heard / total[:, :, None], 1 / total, evidence)
