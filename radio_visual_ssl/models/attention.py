# SPDX-License-Identifier: Apache-2.0
"""Attention of queries over cells of heatmaps: maps, peaks between cells, and how they judge a checkpoint."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Peaks:
    """Places of maps' maxima; ``CellGrid.decode(row, column)`` takes them to m and rad.

    Attributes:
        row, column: (N,) fractional cell indices, float32; on a circle the column may be -0.5 or less than
            half a cell beyond the last.
        value: (N,) of the cell that holds the peak.
    """

    row: Tensor
    column: Tensor
    value: Tensor


def attention_maps(keys: Tensor, queries: Tensor, query_frame: Tensor) -> Tensor:
    """``A_i[p] = <k_f(i)[p], q_i>``: each query over its own frame.

    Args:
        keys: (F, D, rows, columns) of unit length along D.
        queries: (Q, D) of unit length.
        query_frame: (Q,) int64.

    Returns:
        (Q, rows, columns), cosines.
    """
    return torch.einsum('qd,qdrc->qrc', queries, keys[query_frame])


def contrast_maps(keys: Tensor, queries: Tensor, query_frame: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Each query's attention over its own frame minus its mean attention over the other frames.

    A cell that answers a query in whatever frame is static or common, not the target.

    Args:
        keys: (F, D, rows, columns) of unit length along D.
        queries: (Q, D) of unit length.
        query_frame: (Q,) int64.
        excluded: (F, F) bool, frames that are not each other's reference (near in time); the own one never is.

    Returns:
        (Q, rows, columns); the attention itself where no reference is left.
    """
    own = functional.one_hot(query_frame, len(keys)).bool()
    reference = ~own if excluded is None else ~(own | excluded[query_frame])
    weights = reference.to(keys.dtype)
    means = torch.einsum('qf,fdrc->qdrc', weights / weights.sum(dim=1, keepdim=True).clamp_min(1), keys)
    return attention_maps(keys, queries, query_frame) - torch.einsum('qd,qdrc->qrc', queries, means)


def find_peaks(maps: Tensor, wraps: bool = False) -> Peaks:
    """The highest cell of each map, refined between cells by a parabola through its neighbours along each axis.

    Args:
        maps: (N, rows, columns).
        wraps: the columns close to a circle.

    Returns:
        Peaks of shape (N,).
    """
    rows, columns = maps.shape[1:]
    flat = maps.flatten(1).argmax(dim=1)
    row, column = flat // columns, flat % columns

    def at(row: Tensor, column: Tensor) -> Tensor:
        return maps.flatten(1).gather(1, (row * columns + column)[:, None])[:, 0]

    value = at(row, column)
    before = at((row - 1).clamp_min(0), column), at(row, (column - 1) % columns)
    after = at((row + 1).clamp_max(rows - 1), column), at(row, (column + 1) % columns)
    inner_column = torch.ones_like(column, dtype=torch.bool) if wraps else (column > 0) & (column < columns - 1)
    moves = []
    for low, high, inner in zip(before, after, ((row > 0) & (row < rows - 1), inner_column), strict=True):
        bend = low - 2 * value + high
        move = torch.where(inner & (bend < 0), 0.5 * (low - high) / bend.clamp_max(-1e-12), 0.0)
        moves.append(move.clamp(-0.5, 0.5))
    return Peaks(row + moves[0], column + moves[1], value)


def is_local_maximum(maps: Tensor, wraps: bool) -> Tensor:
    """(N, rows, columns) bool: none of the cells next to it is higher."""
    padded = torch.cat((maps[..., -1:], maps, maps[..., :1]), dim=-1) if wraps else maps
    return maps >= functional.max_pool2d(padded[:, None], 3, 1, (1, 0 if wraps else 1))[:, 0]


@dataclass(frozen=True)
class PeakLikelihood:
    """How surely queries that were not trained on find their frames by a peak; no labels involved.

    For a query, a softmax over all cells of its own frame and the frames it is shuffled with says where it belongs.

    Attributes:
        likelihood: nats, mean log-probability of the own frame's peak cell, above that of a uniform guess.
        shuffled: nats, the same of the peak cells of shuffled frames.
        superiority: probability that the own frame's peak is higher than a shuffled frame's; 0.5 = nothing learned.
        queries: number of queries that had a frame to be shuffled with.
    """

    likelihood: float
    shuffled: float
    superiority: float
    queries: int

    @property
    def gain(self) -> float:
        """Nats by which the own peak is likelier than a shuffled one."""
        return self.likelihood - self.shuffled


@torch.no_grad()
def held_out_peak_likelihood(
    keys: Tensor,
    queries: Tensor,
    query_frame: Tensor,
    temperature: float = 0.1,
    excluded: Tensor | None = None,
) -> PeakLikelihood:
    """The criterion that chooses checkpoints without labels: a likelihood above a uniform guess, of held-out pairs.

    Compare at one temperature: a learned one would move the figure by itself. Frames without queries take part.

    Args:
        keys: (F, D, rows, columns) of held-out frames.
        queries: (Q, D) of their targets.
        query_frame: (Q,) int64.
        temperature: of the softmax.
        excluded: (F, F) bool, frames not to be shuffled with each other (near in time: they hold the same targets).

    Raises:
        ValueError: a temperature that is not positive, or no query with a frame to be shuffled with.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f'temperature: expected a positive number, got {temperature}')
    flat = keys.flatten(2).float()
    peaks, totals = [], []
    for query in queries.float():  # one at a time: all maps of all queries at once would not fit
        logits = torch.einsum('d,fdp->fp', query, flat) / temperature
        peaks.append(logits.amax(dim=1))
        totals.append(logits.logsumexp(dim=1))
    if not peaks:
        raise ValueError('queries: expected at least one, got 0')
    own = functional.one_hot(query_frame, len(keys)).bool()
    shuffled = ~own if excluded is None else ~(own | excluded[query_frame])
    useful = shuffled.any(dim=1)
    if not useful.any():
        raise ValueError(f'keys: none of the {len(keys)} frames is left to shuffle a query with')
    peak, total = torch.stack(peaks)[useful], torch.stack(totals)[useful]
    own, shuffled = own[useful], shuffled[useful]
    pool = own | shuffled
    uniform = (pool.sum(dim=1) * flat.shape[2]).log()
    normaliser = total.masked_fill(~pool, float('-inf')).logsumexp(dim=1) - uniform
    others = shuffled.sum(dim=1)
    mine = peak[own]
    theirs = torch.where(shuffled, peak, 0.0).sum(dim=1) / others
    higher = (mine[:, None] > peak).float() + 0.5 * (mine[:, None] == peak).float()
    superiority = torch.where(shuffled, higher, 0.0).sum(dim=1) / others
    return PeakLikelihood(
        likelihood=float((mine - normaliser).mean()),
        shuffled=float((theirs - normaliser).mean()),
        superiority=float(superiority.mean()),
        queries=int(useful.sum()),
    )
