# SPDX-License-Identifier: Apache-2.0
"""One of several processes that share batches: prints their losses and writes their gradients.

Run by test_contrastive.py. Arguments: rank, number of processes, file to meet at, file of the batches, folder for the
gradients.
"""

import json
import sys
from pathlib import Path

import torch
from torch import distributed

from radio_visual_ssl.models.contrastive import MaskedContrastiveLoss
from radio_visual_ssl.models.vicreg import MaskedVicregLoss

rank, processes = int(sys.argv[1]), int(sys.argv[2])
distributed.init_process_group('gloo', f'file://{sys.argv[3]}', rank=rank, world_size=processes)
losses, gradients, counts = [], [], []
for batch in torch.load(sys.argv[4]):
    frames = slice(*batch['frames'][rank])
    mine = (batch['query_frame'] >= frames.start) & (batch['query_frame'] < frames.stop)
    weights = batch['weights'].requires_grad_()  # they stand for a model that all processes share
    keys = torch.einsum('fdrc,de->ferc', batch['keys'][frames], weights)
    queries, query_frame = batch['queries'][mine] @ weights, batch['query_frame'][mine] - frames.start
    if batch['objective'] == 'vicreg':
        loss_function = MaskedVicregLoss(**batch['settings'], gather_distributed=True)
        loss = loss_function(keys, queries, query_frame, batch['sequence'][frames])
    else:
        loss_function = MaskedContrastiveLoss(**batch['settings'], gather_distributed=True)
        loss = loss_function(
            keys,
            queries,
            query_frame,
            background=batch['background'][frames] @ weights,
            masks=batch['masks'][mine],
            **{name: batch[name][frames] for name in ('has_background', 'stamps_ns', 'sequence', 'excluded')},
        )
    loss.backward()
    losses.append(loss.item())
    gradients.append(weights.grad)
    counts.append(int(mine.sum()))
torch.save(gradients, Path(sys.argv[5]) / f'{rank}.pt')
distributed.destroy_process_group()
print(json.dumps({'losses': losses, 'queries': counts}))
