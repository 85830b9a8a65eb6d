# SPDX-License-Identifier: Apache-2.0
"""Learning together without negatives: variance, invariance and covariance of targets seen by camera and radar."""

import math

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from radio_visual_ssl.models.contrastive import check_batch
from radio_visual_ssl.models.gathering import gather_rows, process_count, row_counts

_EPSILON = 1e-4  # under the root of a variance, as in the paper


class MaskedVicregLoss(nn.Module):
    """VICReg (Bardes et al. 2022, arXiv 2105.04906) between a target's query and what its frame answers with.

    A frame is asked for all queries j of the batch at once, by the attention of its cells p::

        a_f[p] = sum_j exp(<k_f[p], q_j> / tau),    v_f = normalised sum_p a_f[p] k_f[p]

    and its answer ``v_f`` is to be the query of the frame's own target. Were a frame asked for its own query alone, a
    key could say where its cell is and nothing of what is there: each query would find itself in whatever frame, and
    all terms below would be content. Asked for all, such keys answer alike in all frames. Where a frame has several
    targets its answer is a mixture. With z the queries and z' the answers, both of length sqrt(D) rather than 1:

    - invariance (eq. 5): mean square of z - z', here of each of the D numbers;
    - variance (eqs. 1, 2): ``max(0, 1 - std)``, mean over the D numbers, of deviations from the mean of the scene:
      what tells scenes apart would be learned by heart;
    - covariance (eqs. 3, 4): squares of the covariances of different numbers, summed, over D; also within scenes.

    Their weighted sum (eq. 6) has no negatives: no query is told that it is not another frame's.

    With ``gather_distributed`` all processes compute the loss of the joint batch. Queries and answers travel, the much
    larger keys do not.

    Args:
        temperature: tau.
        invariance, variance, covariance: weights of the terms, lambda, mu and nu of the paper.
        gather_distributed: the batch is that of all processes of the process group.

    Raises:
        ValueError: a temperature that is not positive, a negative weight, or no torch.distributed to gather with.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f'temperature: expected a positive number, got {temperature}')
        weights = {'invariance': invariance, 'variance': variance, 'covariance': covariance}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f'{name}: expected 0 or more, got {weight}')
        if gather_distributed and not distributed.is_available():
            raise ValueError('gather_distributed: this build of torch has no torch.distributed')
        self.temperature, self.weights, self.gather_distributed = temperature, weights, gather_distributed

    def forward(self, keys: Tensor, queries: Tensor, query_frame: Tensor, sequence: Tensor | None = None) -> Tensor:
        """The loss of a batch of F frames with Q queries (of the joint batch where gathered).

        Args:
            keys: (F, D, rows, columns) of unit length along D; frames without a query do not count.
            queries: (Q, D) of unit length; Q may be 0.
            query_frame: (Q,) int64, the frame of each query.
            sequence: (F,) int64, frames of one scene share a number, in all processes; None = all are of one.

        Returns:
            Scalar; 0 where there is no query.

        Raises:
            ValueError: shapes that do not fit, or an index out of range.
        """
        frames = check_batch(keys, queries, query_frame)
        if sequence is None:
            sequence = query_frame.new_zeros(frames)
        if sequence.shape != (frames,):
            raise ValueError(f'sequence: expected shape ({frames},) of the frames, got {tuple(sequence.shape)}')
        with torch.autocast(keys.device.type, enabled=False):
            keys, queries, scene = keys.flatten(2).float(), queries.float(), sequence[query_frame]
            if self.gather_distributed and process_count() > 1:
                counts = row_counts(len(queries), keys.device)
                queries, scene = gather_rows(queries, counts), gather_rows(scene, counts)
                answers = gather_rows(self.answers(keys, queries)[query_frame], counts)
            else:
                answers = self.answers(keys, queries)[query_frame]
            return self.loss_of_answers(answers, queries, scene)

    def answers(self, keys: Tensor, queries: Tensor) -> Tensor:
        """What each frame answers to all queries.

        Args:
            keys: (F, D, cells).
            queries: (Q, D).

        Returns:
            (F, D) of unit length; 0 where there is no query.
        """
        if not len(queries):
            return keys.sum(dim=2) * 0
        attention = (torch.einsum('qd,fdp->fqp', queries, keys) / self.temperature).logsumexp(dim=1).softmax(dim=1)
        return functional.normalize(torch.einsum('fp,fdp->fd', attention, keys), dim=1)

    def loss_of_answers(self, answers: Tensor, queries: Tensor, scene: Tensor) -> Tensor:
        """The loss of answers and queries, row by row.

        Args:
            answers: (Q, D) of the queries' frames.
            queries: (Q, D).
            scene: (Q,) int64, of each row.

        Returns:
            Scalar.
        """
        if not len(queries):
            return queries.sum() + answers.sum()
        both = [vectors * math.sqrt(vectors.shape[1]) for vectors in (queries, answers)]
        moments = [variance_and_covariance(vectors, scene) for vectors in both]
        return (
            self.weights['invariance'] * (both[0] - both[1]).square().mean()
            + self.weights['variance'] * (moments[0][0] + moments[1][0])
            + self.weights['covariance'] * (moments[0][1] + moments[1][1])
        )


def variance_and_covariance(vectors: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 1 to 4 of VICReg, within scenes.

    Args:
        vectors: (N, D).
        scene: (N,) int64; each scene's mean is taken off.

    Returns:
        variance: mean over D of ``max(0, 1 - sqrt(variance + epsilon))``.
        covariance: sum of the squared covariances off the diagonal, over D.
    """
    _, place, counts = scene.unique(return_inverse=True, return_counts=True)
    sums = vectors.new_zeros(len(counts), vectors.shape[1]).index_add(0, place, vectors)
    deviations = vectors - (sums / counts[:, None])[place]
    covariance = deviations.T @ deviations / max(len(vectors) - len(counts), 1)
    variances = covariance.diagonal()
    hinge = (1 - (variances + _EPSILON).sqrt()).clamp_min(0).mean()
    return hinge, (covariance - variances.diag()).square().sum() / vectors.shape[1]
