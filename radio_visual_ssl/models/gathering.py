# SPDX-License-Identifier: Apache-2.0
"""Rows of tensors gathered from all processes of a training, with gradients and uneven counts."""

from typing import Any

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """Processes that train together; 1 where no process group was started."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def row_counts(count: int, device: torch.device) -> list[int]:
    """The number of rows that each process holds, in the order of their ranks.

    Args:
        count: of this process.
        device: that the process group communicates through.
    """
    counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(process_count())]
    distributed.all_gather(counts, torch.tensor([count], device=device))
    return [int(each) for each in counts]


def gather_rows(rows: Tensor, counts: list[int]) -> Tensor:
    """The rows of all processes in the order of their ranks.

    The gradient of a row is the sum over the processes of what each one's loss says of it. Where all processes compute
    the same loss of the joint batch and their parameters' gradients are then averaged (DistributedDataParallel), the
    result is the gradient of the joint batch.

    Args:
        rows: (N, ...) of this process; N differs from process to process, the rest does not.
        counts: of all processes, see `row_counts`.

    Returns:
        (sum of counts, ...).
    """
    return _GatherRows.apply(rows, counts)  # type: ignore[no-untyped-call, no-any-return]


class _GatherRows(torch.autograd.Function):
    """All processes' rows; padded to the longest on the way, since collectives want equal shapes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(gathered, padded)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed = gradients[0].contiguous().clone()
        distributed.all_reduce(summed)
        rank = distributed.get_rank()
        start = sum(ctx.counts[:rank])
        return summed[start : start + ctx.counts[rank]], None
