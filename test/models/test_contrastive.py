# SPDX-License-Identifier: Apache-2.0
"""The contrastive losses: who is a positive, who a negative, who neither; all losses in one process or several."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from radio_visual_ssl.models.contrastive import (
    AttentionPooling,
    MaskedContrastiveLoss,
    SceneContrastiveLoss,
    mask_likeness,
    near_in_time,
    pooled_scores,
)
from radio_visual_ssl.models.vicreg import MaskedVicregLoss

REPOSITORY = Path(__file__).parents[2]

NOWHERE = float('-inf')


def _batch(frames=5, queries=(0, 0, 1, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    keys = functional.normalize(torch.randn(frames, 8, 4, 3, generator=generator), dim=1)
    texts = functional.normalize(torch.randn(len(queries), 8, generator=generator), dim=1)
    return keys, texts, torch.tensor(queries, dtype=torch.long)


def test_pooling_kinds_agree_with_their_definitions():
    attention = torch.randn(3, 2, 12)
    torch.testing.assert_close(AttentionPooling('max')(attention), attention.max(dim=-1).values)
    torch.testing.assert_close(
        AttentionPooling('topk', k=3)(attention), attention.sort(dim=-1).values[..., -3:].mean(dim=-1)
    )
    torch.testing.assert_close(
        AttentionPooling('logsumexp', temperature=0.5)(attention), 0.5 * (attention / 0.5).exp().mean(dim=-1).log()
    )


def test_logsumexp_goes_from_the_mean_to_the_maximum():
    attention = torch.randn(4, 50)
    torch.testing.assert_close(AttentionPooling('logsumexp', 1e3)(attention), attention.mean(-1), atol=1e-2, rtol=0)
    torch.testing.assert_close(AttentionPooling('logsumexp', 1e-3)(attention), attention.amax(-1), atol=5e-3, rtol=0)


def test_scores_are_the_best_cells_of_every_frame_for_every_query():
    keys, queries, _ = _batch()
    scores = pooled_scores(keys, queries, AttentionPooling('max'))
    assert tuple(scores.shape) == (4, 5)
    assert scores[2, 3] == pytest.approx(max(float(key @ queries[2]) for key in keys[3].flatten(1).T), abs=1e-6)


def test_one_query_per_frame_is_symmetric_info_nce():
    keys, queries, frames = _batch(4, (0, 1, 2, 3))
    logits = pooled_scores(keys, queries, AttentionPooling()) / 0.2
    order = torch.arange(4)
    expected = (functional.cross_entropy(logits, order) + functional.cross_entropy(logits.T, order)) / 2
    torch.testing.assert_close(MaskedContrastiveLoss(0.2)(keys, queries, frames), expected)
    torch.testing.assert_close(SceneContrastiveLoss(0.2)(keys, queries), expected)


def test_other_queries_of_the_frame_are_never_negatives_and_empty_frames_only_negative_keys():
    scores, frames = torch.randn(4, 5), torch.tensor([0, 0, 1, 3])
    loss = MaskedContrastiveLoss(1.0).loss_of_scores(scores, frames)
    to_radio = sum(scores[i].logsumexp(0) - scores[i, frame] for i, frame in enumerate(frames)) / 4
    rivals = [[0, 2, 3], [1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    to_vision = sum(scores[rivals[i], frames[i]].logsumexp(0) - scores[i, frames[i]] for i in range(4)) / 4
    torch.testing.assert_close(loss, (to_radio + to_vision) / 2)
    gradient = torch.autograd.grad(MaskedContrastiveLoss(1.0).loss_of_scores(scores.requires_grad_(), frames), scores)[
        0
    ]
    assert (gradient[:, [2, 4]] > 0).all()


def test_the_background_query_is_one_more_negative_of_its_own_frame_alone():
    scores, frames = torch.randn(2, 3), torch.tensor([0, 2])
    background = torch.tensor([0.3, 5.0, NOWHERE])
    loss = MaskedContrastiveLoss(1.0).loss_of_scores(scores, frames, background)
    plain = MaskedContrastiveLoss(1.0).loss_of_scores(scores, frames)
    column = torch.cat((scores[:, 0], background[:1]))
    more = (column.logsumexp(0) - scores[:, 0].logsumexp(0)) / 4
    torch.testing.assert_close(loss, plain + more)


def test_background_queries_go_in_by_frame():
    keys, queries, frames = _batch()
    background = functional.normalize(torch.randn(5, 8), dim=1)
    loss = MaskedContrastiveLoss(pooling=AttentionPooling('max'))
    has = torch.tensor([True, False, True, True, False])
    scores = torch.einsum('fd,fdp->fp', background, keys.flatten(2)).amax(1).masked_fill(~has, NOWHERE)
    expected = loss.loss_of_scores(pooled_scores(keys, queries, loss.pooling), frames, scores)
    torch.testing.assert_close(loss(keys, queries, frames, background=background, has_background=has), expected)


def test_frames_near_in_time_are_no_negatives_in_either_direction():
    scores, frames = torch.randn(3, 4), torch.tensor([0, 1, 3])
    excluded = torch.zeros(4, 4, dtype=torch.bool)
    excluded[0, 1] = excluded[1, 0] = True
    loss = MaskedContrastiveLoss(1.0).loss_of_scores(scores, frames, None, excluded)
    kept = [[0, 2, 3], [1, 2, 3], [0, 1, 2, 3]]
    to_radio = sum(scores[i, kept[i]].logsumexp(0) - scores[i, frames[i]] for i in range(3)) / 3
    rivals = [[0, 2], [1, 2], [0, 1, 2]]
    to_vision = sum(scores[rivals[i], frames[i]].logsumexp(0) - scores[i, frames[i]] for i in range(3)) / 3
    torch.testing.assert_close(loss, (to_radio + to_vision) / 2)


def test_times_and_a_matrix_exclude_the_same_pairs():
    keys, queries, frames = _batch()
    stamps, sequence = torch.tensor([0, 1, 2, 2, 9]) * 10**9, torch.tensor([0, 0, 0, 1, 0])
    near = near_in_time(stamps, 1.0, sequence)
    assert near.sum() == 5 + 4
    by_time = MaskedContrastiveLoss(exclusion_s=1.0)(keys, queries, frames, stamps_ns=stamps, sequence=sequence)
    torch.testing.assert_close(by_time, MaskedContrastiveLoss()(keys, queries, frames, excluded=near.triu()))


def _masks(*corners, side=4):
    masks = torch.zeros(len(corners), 1, 8, 10)
    for mask, (row, column) in zip(masks, corners, strict=True):
        mask[0, row : row + side, column : column + side] = 1
    return masks


def test_likeness_of_masks_is_their_intersection_over_their_union():
    likeness = mask_likeness(
        torch.cat((_masks((0, 0), (0, 2), (4, 6)), _masks((0, 0), side=2), torch.zeros(1, 1, 8, 10)))
    )
    expected = [[1, 8 / 24, 0, 4 / 16, 0], [8 / 24, 1, 0, 0, 0], [0, 0, 1, 0, 0], [4 / 16, 0, 0, 1, 0], [0] * 5]
    torch.testing.assert_close(likeness, torch.tensor(expected))


def test_soft_negatives_count_as_much_as_they_are_unlike():
    scores, frames = torch.randn(4, 4), torch.tensor([0, 1, 1, 3])
    likeness = torch.tensor([[1, 0.5, 0.9, 0.2], [0.5, 1, 0.1, 0], [0.9, 0.1, 1, 0.4], [0.2, 0, 0.4, 1]])
    loss = MaskedContrastiveLoss(1.0, soft_negatives=0.5).loss_of_scores(scores, frames, likeness=likeness)
    # the frame of queries 1 and 2 is as like to another query as the more like of the two
    weights = 1 - 0.5 * torch.tensor([[0, 0.9, 0, 0.2], [0.5, 0, 0, 0], [0.9, 0, 0, 0.4], [0.2, 0.4, 0, 0]])
    to_radio = sum(-(scores[i, f].exp() / (weights[i] * scores[i].exp()).sum()).log() for i, f in enumerate(frames)) / 4
    rivals = [[0, 1, 2, 3], [0, 1, 3], [0, 2, 3], [0, 1, 2, 3]]
    weighed = [(weights[rivals[i], f] * scores[rivals[i], f].exp()).sum() for i, f in enumerate(frames)]
    to_vision = sum(-(scores[i, f].exp() / weighed[i]).log() for i, f in enumerate(frames)) / 4
    torch.testing.assert_close(loss, (to_radio + to_vision) / 2)


def test_without_a_weight_soft_negatives_are_negatives_and_with_the_whole_one_their_equals_are_none():
    keys, queries, frames = _batch()
    masks = _masks((0, 0), (0, 4), (0, 0), (4, 4))
    plain = MaskedContrastiveLoss()(keys, queries, frames)
    assert torch.equal(MaskedContrastiveLoss(soft_negatives=0.0)(keys, queries, frames, masks=masks), plain)
    excluded = torch.zeros(5, 5, dtype=torch.bool)
    excluded[0, 1] = True
    alike = _masks((0, 0), (0, 0), (0, 0), (4, 4))
    soft = MaskedContrastiveLoss(soft_negatives=1.0)
    assert float(soft(keys, queries, frames, masks=masks)) < float(plain)
    weak = soft(keys.requires_grad_(), queries, frames, masks=alike)
    torch.testing.assert_close(weak, MaskedContrastiveLoss()(keys, queries, frames, excluded=excluded))
    weak.backward()
    assert torch.isfinite(keys.grad).all()
    with pytest.raises(ValueError, match='masks: soft_negatives need those of the 4 queries, got none'):
        soft(keys, queries, frames)


def test_a_batch_without_queries_costs_nothing_and_can_be_learned_from():
    keys, _, _ = _batch()
    keys.requires_grad_()
    loss = MaskedContrastiveLoss()(keys, torch.zeros(0, 8), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert not keys.grad.any()


def test_a_learned_temperature_moves_and_stays_above_its_bound():
    keys, queries, frames = _batch()
    loss = MaskedContrastiveLoss(0.1, learn_temperature=True)
    loss(keys, queries, frames).backward()
    assert loss.log_temperature.grad != 0
    with torch.no_grad():
        loss.log_temperature.fill_(-20)
    assert float(loss.temperature.detach()) == pytest.approx(0.01)
    assert not any(parameter.requires_grad for parameter in MaskedContrastiveLoss().parameters())


def test_half_precision_keys_do_not_spoil_the_loss():
    keys, queries, frames = _batch()
    loss = MaskedContrastiveLoss(0.02)
    half = loss(keys.bfloat16(), queries.bfloat16(), frames)
    assert half.dtype == torch.float32
    assert half == pytest.approx(float(loss(keys, queries, frames)), rel=0.1)


def test_automatic_mixed_precision_does_not_touch_the_loss():
    keys, queries, frames = _batch()
    loss = MaskedContrastiveLoss(0.02)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = loss(keys, queries, frames, background=keys[:, :, 0, 0])
    torch.testing.assert_close(mixed, loss(keys, queries, frames, background=keys[:, :, 0, 0]))


@pytest.mark.parametrize(
    ('settings', 'field'),
    [
        ({'temperature': 0.0}, 'temperature'),
        ({'temperature': float('nan')}, 'temperature'),
        ({'exclusion_s': -1.0}, 'exclusion_s'),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, field):
    for loss in (MaskedContrastiveLoss, SceneContrastiveLoss):
        with pytest.raises(ValueError, match=field):
            loss(**settings)
    with pytest.raises(ValueError, match='soft_negatives: expected a weight from 0 to 1, got 1.5'):
        MaskedContrastiveLoss(soft_negatives=1.5)


@pytest.mark.parametrize(
    ('settings', 'field'), [({'kind': 'mean'}, 'pooling'), ({'temperature': -1}, 'temperature'), ({'k': 0}, 'k: ')]
)
def test_impossible_pooling_is_refused_by_name(settings, field):
    with pytest.raises(ValueError, match=field):
        AttentionPooling(**settings)


def test_batches_that_do_not_fit_are_refused():
    keys, queries, frames = _batch()
    loss = MaskedContrastiveLoss()
    for arguments, field in (
        ((keys[0], queries, frames), 'keys'),
        ((keys, queries[:, :3], frames), 'queries'),
        ((keys, queries, frames.int()), 'query_frame'),
        ((keys, queries, frames + 2), 'query_frame: expected frames from 0 to 4, got 2 to 5'),
    ):
        with pytest.raises(ValueError, match=field):
            loss(*arguments)
    for name, value in (
        ('background', torch.zeros(4, 8)),
        ('has_background', torch.ones(4)),
        ('stamps_ns', torch.zeros(4)),
        ('sequence', torch.zeros(4)),
        ('excluded', torch.zeros(4, 5)),
    ):
        with pytest.raises(ValueError, match=name):
            loss(keys, queries, frames, **{name: value})
    with pytest.raises(ValueError, match='stamps_ns: needed'):
        MaskedContrastiveLoss(exclusion_s=1.0)(keys, queries, frames)
    with pytest.raises(ValueError, match='queries: expected one per frame, 5, got 4'):
        SceneContrastiveLoss()(keys, queries)


def _joint_batch(query_frame, split, objective='mcl', **settings):
    keys, queries, query_frame = _batch(7, query_frame, seed=3)
    generator = torch.Generator().manual_seed(9)
    excluded = torch.zeros(7, 7, dtype=torch.bool)
    excluded[0, 6] = True
    return {
        'objective': objective,
        'settings': settings,
        'keys': keys,
        'queries': queries,
        'query_frame': query_frame,
        'masks': torch.rand(len(queries), 1, 3, 4, generator=generator),
        'background': functional.normalize(torch.randn(7, 8, generator=generator), dim=1),
        'has_background': torch.tensor([True, True, False, True, True, False, True]),
        'stamps_ns': torch.tensor([0, 4, 8, 12, 3, 30, 40]) * 10**8,
        'sequence': torch.tensor([0, 0, 0, 0, 0, 1, 1]),
        'excluded': excluded,
        'weights': torch.randn(8, 8, generator=generator) / 3,
        'frames': [(0, split), (split, 7)],
    }


def _alone(batch):
    """Loss and gradient of the joint batch."""
    weights = batch['weights'].requires_grad_()
    keys, queries = torch.einsum('fdrc,de->ferc', batch['keys'], weights), batch['queries'] @ weights
    if batch['objective'] == 'vicreg':
        loss = MaskedVicregLoss(**batch['settings'])(keys, queries, batch['query_frame'], batch['sequence'])
    else:
        named = {name: batch[name] for name in ('masks', 'has_background', 'stamps_ns', 'sequence', 'excluded')}
        background = batch['background'] @ weights
        loss = MaskedContrastiveLoss(**batch['settings'])(
            keys, queries, batch['query_frame'], background=background, **named
        )
    loss.backward()
    return loss.item(), weights.grad


def test_two_processes_have_the_loss_and_gradient_of_the_joint_batch(tmp_path):
    """Frames are uneven; so are the queries: five and one, then six and none, then none at all; of each objective."""
    batches = [
        _joint_batch(queries, split, **settings)
        for settings in ({'exclusion_s': 0.5}, {'soft_negatives': 0.7}, {'objective': 'vicreg'})
        for queries, split in (((0, 0, 1, 2, 2, 6), 5), ((0, 0, 1, 2, 2, 2), 3), ((), 3))
    ]
    torch.save(batches, tmp_path / 'batches.pt')
    script = [sys.executable, str(Path(__file__).with_name('joint_batch.py'))]
    rest = ['2', str(tmp_path / 'meet'), str(tmp_path / 'batches.pt'), str(tmp_path)]
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY), 'OMP_NUM_THREADS': '1'}
    processes = [
        subprocess.Popen([*script, str(rank), *rest], stdout=subprocess.PIPE, text=True, env=environment)
        for rank in range(2)
    ]
    answers = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    assert [answer['queries'] for answer in answers] == [[5, 6, 0] * 3, [1, 0, 0] * 3]
    gradients = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    for index, batch in enumerate(batches):
        loss, gradient = _alone(batch)
        for answer in answers:
            assert answer['losses'][index] == pytest.approx(loss, abs=1e-5)
        mean = (gradients[0][index] + gradients[1][index]) / 2
        torch.testing.assert_close(mean, gradient, atol=1e-5, rtol=1e-4)
