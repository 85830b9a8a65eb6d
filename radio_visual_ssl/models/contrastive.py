# SPDX-License-Identifier: Apache-2.0
"""Contrastive losses between queries of images and heatmaps full of keys: masked (MCL) and scene-level (SCL)."""

import math
from typing import Literal

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from radio_visual_ssl.models.gathering import gather_rows, process_count, row_counts

POOLINGS = ('max', 'logsumexp', 'topk')

LEAST_TEMPERATURE = 0.01
"""Lower bound of a learned temperature, that of CLIP (arXiv 2103.00020, section 2.5)."""


class AttentionPooling(nn.Module):
    """One score per attention map: how well the best cells of a frame answer a query.

    - ``max``: the strongest cell, as EZ-VSL (arXiv 2203.09324).
    - ``logsumexp``: ``T log mean exp(A / T)``, between mean and max; every cell learns, so that training starts where
      the maximum, which moves one cell at a time, may not. With T that of the loss, InfoNCE over frames becomes a
      softmax over the cells of all frames; of T = 0.05 to 0.2 the lower ones started least surely.
    - ``topk``: mean of the k strongest cells.

    Args:
        kind: as above.
        temperature: T of ``logsumexp``, in units of the attention.
        k: of ``topk``, at most the number of cells.

    Raises:
        ValueError: an unknown kind, or a number that is not positive.
    """

    def __init__(
        self, kind: Literal['max', 'logsumexp', 'topk'] = 'logsumexp', temperature: float = 0.1, k: int = 4
    ) -> None:
        super().__init__()
        if kind not in POOLINGS:
            raise ValueError(f'pooling: expected one of {", ".join(POOLINGS)}, got {kind!r}')
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f'pooling temperature: expected a positive number, got {temperature}')
        if k < 1:
            raise ValueError(f'k: expected a whole number from 1 on, got {k}')
        self.kind, self.temperature, self.k = kind, temperature, k

    def forward(self, attention: Tensor) -> Tensor:
        """(..., cells) to (...).

        Raises:
            ValueError: fewer cells than k.
        """
        if self.kind == 'max':
            return attention.amax(dim=-1)
        if self.kind == 'topk':
            if attention.shape[-1] < self.k:
                raise ValueError(f'k: expected at most the {attention.shape[-1]} cells of the attention, got {self.k}')
            return attention.topk(self.k, dim=-1).values.mean(dim=-1)
        pooled = torch.logsumexp(attention / self.temperature, dim=-1) - math.log(attention.shape[-1])
        return pooled * self.temperature


def pooled_scores(keys: Tensor, queries: Tensor, pooling: nn.Module) -> Tensor:
    """Pooled attention ``s_ij = pool_p <k_j[p], q_i>`` of every query to every frame.

    Args:
        keys: (F, D, rows, columns) of unit length along D.
        queries: (Q, D) of unit length.
        pooling: see `AttentionPooling`.

    Returns:
        (Q, F) float32, under automatic mixed precision too: half precision would round cosines to 1/256.
    """
    with torch.autocast(keys.device.type, enabled=False):
        return pooling(torch.einsum('qd,fdp->qfp', queries.float(), keys.flatten(2).float()))


class MaskedContrastiveLoss(nn.Module):
    """MCL: each query of one target must find its frame, and each frame its targets, by their best cells.

    LRL-style masked contrastive learning (arXiv 2206.06424) with symmetric InfoNCE (arXiv 1807.03748) over pooled
    attention. For query i of frame f(i), with s the pooled attention and tau the temperature:

    - vision to radio: cross-entropy of ``s[i, :] / tau`` over frames, positive f(i);
    - radio to vision: cross-entropy of ``s[:, f(i)] / tau`` over queries, positive i. Other queries of f(i) are left
      out: they are positives of their own, never negatives. The background query of f(i), the image with its targets
      blacked out, is one more negative: what answers it is not the target.

    The loss is the mean of both over all queries. Frames without queries are negative keys only. Frames of the same
    sequence within ``exclusion_s`` of f(i), which hold the same targets, are no negatives in either direction.

    With ``soft_negatives`` w above 0, a frame in which the like of a query's target is asked for is a weaker negative
    of that query: its logit is lowered by ``-log(1 - w S)``, so that it counts 1 - w S times, S being the largest
    `mask_likeness` of the query to those of the frame. Of whoever stands alike in the picture the radar sees the like.

    With ``gather_distributed`` all processes compute the loss of the joint batch. Queries and pooled scores travel, the
    much larger keys do not. Give every process the same optional arguments; its counts of frames and queries are free.

    Args:
        temperature: tau; where learned, the first value.
        pooling: of the attention; None = `AttentionPooling` as it is by default.
        learn_temperature: learn log(tau), held at `LEAST_TEMPERATURE` or more.
        exclusion_s: s, frames of a sequence that are nearer in time are no negatives.
        soft_negatives: w from 0 to 1, by how much likeness weakens a negative; 0 = all weigh the same.
        gather_distributed: negatives from all processes of the process group; without one there is this process alone.

    Raises:
        ValueError: a temperature that is not positive, a negative time, a weight out of range, or no torch.distributed
            to gather with.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        pooling: AttentionPooling | None = None,
        learn_temperature: bool = False,
        exclusion_s: float = 0.0,
        gather_distributed: bool = False,
        soft_negatives: float = 0.0,
    ) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f'temperature: expected a positive number, got {temperature}')
        if not (math.isfinite(exclusion_s) and exclusion_s >= 0):
            raise ValueError(f'exclusion_s: expected 0 s or more, got {exclusion_s}')
        if not 0 <= soft_negatives <= 1:
            raise ValueError(f'soft_negatives: expected a weight from 0 to 1, got {soft_negatives}')
        if gather_distributed and not distributed.is_available():
            raise ValueError('gather_distributed: this build of torch has no torch.distributed')
        self.soft_negatives = soft_negatives
        self.pooling = AttentionPooling() if pooling is None else pooling
        self.exclusion_s, self.gather_distributed = exclusion_s, gather_distributed
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=learn_temperature)

    @property
    def temperature(self) -> Tensor:
        """tau, a scalar."""
        temperature = self.log_temperature.exp()
        return temperature.clamp_min(LEAST_TEMPERATURE) if self.log_temperature.requires_grad else temperature

    def forward(
        self,
        keys: Tensor,
        queries: Tensor,
        query_frame: Tensor,
        *,
        background: Tensor | None = None,
        has_background: Tensor | None = None,
        stamps_ns: Tensor | None = None,
        sequence: Tensor | None = None,
        excluded: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch of F frames with Q queries (of the joint batch where gathered).

        Args:
            keys: (F, D, rows, columns) of the radio encoder.
            queries: (Q, D) of the vision encoder; Q may be 0.
            query_frame: (Q,) int64, the frame of each query.
            background: (F, D) background queries.
            has_background: (F,) bool, which of them count; None = all.
            stamps_ns: (F,) int64, ns, for ``exclusion_s``.
            sequence: (F,) int64, frames of one sequence (bag) share a number; None = all are of one sequence.
            excluded: (F, F of all processes) bool, frames that are no negatives of this process's frames, beside those
                near in time; made symmetric.
            masks: (Q, 1, h, w) in [0, 1], what each query shows, for ``soft_negatives``.

        Returns:
            Scalar, nats; 0 where there is no query.

        Raises:
            ValueError: shapes that do not fit, an index out of range, ``exclusion_s`` without stamps, or
                ``soft_negatives`` without masks.
        """
        frames = check_batch(keys, queries, query_frame)
        for name, value in (('has_background', has_background), ('stamps_ns', stamps_ns), ('sequence', sequence)):
            if value is not None and value.shape != (frames,):
                raise ValueError(f'{name}: expected shape ({frames},) of the frames, got {tuple(value.shape)}')
        if background is not None and background.shape != (frames, keys.shape[1]):
            raise ValueError(f'background: expected shape {(frames, keys.shape[1])}, got {tuple(background.shape)}')
        if self.exclusion_s and stamps_ns is None:
            raise ValueError(f'stamps_ns: needed to exclude negatives within {self.exclusion_s} s')
        shown = masks if self.soft_negatives else None
        if self.soft_negatives and (masks is None or len(masks) != len(queries)):
            got = 'none' if masks is None else len(masks)
            raise ValueError(f'masks: soft_negatives need those of the {len(queries)} queries, got {got}')
        answer = None if background is None else self._background_scores(keys, background, has_background)
        together = self.gather_distributed and process_count() > 1
        if together:
            counts, query_counts = row_counts(frames, keys.device), row_counts(len(queries), keys.device)
            first = sum(counts[: distributed.get_rank()])
            queries = gather_rows(queries, query_counts)
            query_frame = gather_rows(query_frame + first, query_counts)
            scores = gather_rows(pooled_scores(keys, queries, self.pooling).T, counts).T
            answer = None if answer is None else gather_rows(answer, counts)
            stamps_ns = None if stamps_ns is None else gather_rows(stamps_ns, counts)
            sequence = None if sequence is None else gather_rows(sequence, counts)
            shown = None if shown is None else gather_rows(shown, query_counts)
        else:
            scores = pooled_scores(keys, queries, self.pooling)
        total = scores.shape[1]
        no_negative = torch.zeros(total, total, dtype=torch.bool, device=scores.device)
        if excluded is not None:
            if excluded.shape != (frames, total):
                raise ValueError(f'excluded: expected shape {(frames, total)}, got {tuple(excluded.shape)}')
            joint = gather_rows(excluded.byte(), counts).bool() if together else excluded.bool()
            no_negative = joint | joint.T
        if self.exclusion_s and stamps_ns is not None:
            no_negative = no_negative | near_in_time(stamps_ns, self.exclusion_s, sequence)
        likeness = None if shown is None else mask_likeness(shown)
        return self.loss_of_scores(scores, query_frame, answer, no_negative, likeness)

    def loss_of_scores(
        self,
        scores: Tensor,
        query_frame: Tensor,
        background: Tensor | None = None,
        excluded: Tensor | None = None,
        likeness: Tensor | None = None,
    ) -> Tensor:
        """The loss of pooled scores.

        Args:
            scores: (Q, F) pooled attention.
            query_frame: (Q,) int64.
            background: (F,) pooled attention of each frame to its own background query, -inf = none.
            excluded: (F, F) bool, symmetric; frames that are no negatives of each other.
            likeness: (Q, Q) in [0, 1] of the queries, for ``soft_negatives``.

        Returns:
            Scalar, nats.
        """
        if not scores.shape[0]:
            return scores.sum()
        logits = scores / self.temperature
        nowhere = float('-inf')
        positive = functional.one_hot(query_frame, scores.shape[1]).bool()
        if likeness is not None and self.soft_negatives:
            place = query_frame.expand(len(scores), -1)
            closest = torch.zeros_like(logits).scatter_reduce(1, place, likeness.to(logits), 'amax')
            logits = logits + torch.log1p(-self.soft_negatives * closest.masked_fill(positive, 0))
        to_radio, same = logits, query_frame[:, None] == query_frame
        if excluded is not None:
            to_radio = logits.masked_fill(excluded[query_frame] & ~positive, nowhere)
            same = same | excluded[query_frame][:, query_frame]
        to_vision = logits[:, query_frame].T  # [i, j]: the frame of query i is asked for query j
        own = torch.eye(len(same), dtype=torch.bool, device=same.device)
        to_vision = to_vision.masked_fill(same & ~own, nowhere)
        if background is not None:
            to_vision = torch.cat((to_vision, (background / self.temperature)[query_frame][:, None]), dim=1)
        order = torch.arange(len(same), device=same.device)
        return (functional.cross_entropy(to_radio, query_frame) + functional.cross_entropy(to_vision, order)) / 2

    def _background_scores(self, keys: Tensor, background: Tensor, valid: Tensor | None) -> Tensor:
        """(F,) pooled attention of each frame to its own background query."""
        with torch.autocast(keys.device.type, enabled=False):
            scores = self.pooling(torch.einsum('fd,fdp->fp', background.float(), keys.flatten(2).float()))
        return scores if valid is None else scores.masked_fill(~valid.bool(), float('-inf'))


def mask_likeness(masks: Tensor) -> Tensor:
    """How much each two masks cover the same pixels: ``<a, b> / (<a, a> + <b, b> - <a, b>)``.

    That is the intersection over union where a pixel is all target or not at all; size and place in the picture count.

    Args:
        masks: (Q, ...) in [0, 1].

    Returns:
        (Q, Q) float32 in [0, 1]; 0 for empty masks.
    """
    flat = masks.detach().flatten(1).float()
    both = flat @ flat.T
    own = both.diagonal()
    return (both / (own[:, None] + own - both).clamp_min(torch.finfo(both.dtype).tiny)).clamp(0, 1)


class SceneContrastiveLoss(nn.Module):
    """SCL: each whole image must find its heatmap among others, and each heatmap its image.

    LRL-style (arXiv 2206.06424): `MaskedContrastiveLoss` with one query per frame and no background. Needs no masks.
    The query describes the scene, not an instance; it is read out as the frame's own attention map minus the mean map
    of the same query over frames of other times (`radio_visual_ssl.models.attention.contrast_maps`): what any frame
    would answer is no target. The local peaks that remain are the targets, without a link from peak to instance.

    Args:
        temperature, pooling, learn_temperature, exclusion_s, gather_distributed: see `MaskedContrastiveLoss`.

    Raises:
        ValueError: see `MaskedContrastiveLoss`.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        pooling: AttentionPooling | None = None,
        learn_temperature: bool = False,
        exclusion_s: float = 0.0,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        self.masked = MaskedContrastiveLoss(temperature, pooling, learn_temperature, exclusion_s, gather_distributed)

    def forward(
        self,
        keys: Tensor,
        queries: Tensor,
        *,
        stamps_ns: Tensor | None = None,
        sequence: Tensor | None = None,
        excluded: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch of F frames; see `MaskedContrastiveLoss.forward`.

        Args:
            keys: (F, D, rows, columns).
            queries: (F, D), in the order of the frames.
            stamps_ns: (F,) int64, ns, for ``exclusion_s``.
            sequence: (F,) int64, frames of one sequence share a number.
            excluded: (F, F of all processes) bool, frames that are no negatives.

        Returns:
            Scalar, nats.

        Raises:
            ValueError: as there, or not one query per frame.
        """
        if len(queries) != len(keys):
            raise ValueError(f'queries: expected one per frame, {len(keys)}, got {len(queries)}')
        frame = torch.arange(len(keys), device=keys.device)
        return self.masked(keys, queries, frame, stamps_ns=stamps_ns, sequence=sequence, excluded=excluded)


def near_in_time(stamps_ns: Tensor, within_s: float, sequence: Tensor | None = None) -> Tensor:
    """(F, F) bool: frames of one sequence at most this far apart.

    Args:
        stamps_ns: (F,) int64, ns.
        within_s: s.
        sequence: (F,) int64; None = all frames are of one.
    """
    near = (stamps_ns[:, None] - stamps_ns).abs() <= round(within_s * 1e9)
    return near if sequence is None else near & (sequence[:, None] == sequence)


def check_batch(keys: Tensor, queries: Tensor, query_frame: Tensor) -> int:
    """The number of frames of a batch.

    Args:
        keys: (F, D, rows, columns).
        queries: (Q, D).
        query_frame: (Q,) int64.

    Raises:
        ValueError: shapes that do not fit, or an index out of range.
    """
    if keys.dim() != 4 or not len(keys):
        raise ValueError(f'keys: expected shape (F, D, rows, columns) with frames, got {tuple(keys.shape)}')
    if queries.dim() != 2 or queries.shape[1] != keys.shape[1]:
        raise ValueError(f'queries: expected shape (Q, {keys.shape[1]}) of the keys, got {tuple(queries.shape)}')
    if query_frame.shape != queries.shape[:1] or query_frame.dtype != torch.long:
        raise ValueError(
            f'query_frame: expected {len(queries)} int64, got shape {tuple(query_frame.shape)} of {query_frame.dtype}'
        )
    if len(query_frame) and (query_frame.min() < 0 or query_frame.max() >= len(keys)):
        raise ValueError(
            f'query_frame: expected frames from 0 to {len(keys) - 1}, '
            f'got {int(query_frame.min())} to {int(query_frame.max())}'
        )
    return len(keys)
