# SPDX-License-Identifier: Apache-2.0
"""Learning without negatives: what frames answer, what the terms are, and what does not satisfy them."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from radio_visual_ssl.models.vicreg import MaskedVicregLoss, variance_and_covariance


def _batch(frames=5, queries=(0, 0, 1, 3, 4), seed=0, dim=8):
    generator = torch.Generator().manual_seed(seed)
    keys = functional.normalize(torch.randn(frames, dim, 4, 3, generator=generator), dim=1)
    texts = functional.normalize(torch.randn(len(queries), dim, generator=generator), dim=1)
    return keys, texts, torch.tensor(queries, dtype=torch.long)


def test_a_frame_answers_all_queries_of_the_batch_at_once():
    keys, queries, _ = _batch()
    answers = MaskedVicregLoss(0.3).answers(keys.flatten(2), queries)
    for frame, answer in zip(keys.flatten(2), answers, strict=True):
        weights = sum(np.exp(frame.T.numpy() @ query.numpy() / 0.3) for query in queries)
        expected = frame.numpy() @ weights
        np.testing.assert_allclose(answer, expected / np.linalg.norm(expected), atol=1e-5)


def test_what_scenes_have_in_common_is_neither_variance_nor_covariance():
    vectors, scene = torch.randn(12, 4), torch.arange(12) % 3
    moved = vectors + 10 * torch.randn(3, 4)[scene]
    for one, other in zip(variance_and_covariance(vectors, scene), variance_and_covariance(moved, scene), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_terms_are_those_of_the_paper_within_each_scene():
    vectors = torch.randn(9, 4, generator=torch.Generator().manual_seed(2)) * torch.tensor([0.2, 0.7, 1.5, 3.0])
    scene = torch.tensor([5, 5, 5, 5, 1, 1, 1, 8, 8])
    parts = [np.cov(vectors[scene == number].T.numpy()) * (int((scene == number).sum()) - 1) for number in (1, 5, 8)]
    covariance = sum(parts) / (9 - 3)
    variance, covariances = variance_and_covariance(vectors, scene)
    hinges = np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4))
    assert float(variance) == pytest.approx(hinges.mean(), abs=1e-5)
    assert float(covariances) == pytest.approx(
        (covariance**2).sum() / 4 - (np.diag(covariance) ** 2).sum() / 4, rel=1e-4
    )


def test_the_loss_is_their_weighted_sum():
    _, queries, _ = _batch()
    answers, scene = functional.normalize(torch.randn(5, 8), dim=1), torch.tensor([0, 0, 0, 1, 1])
    moments = [variance_and_covariance(vectors * math.sqrt(8), scene) for vectors in (answers, queries)]
    apart = (answers - queries).square().sum(dim=1).mean()  # of a unit length
    loss = MaskedVicregLoss(0.1, 3.0, 5.0, 7.0).loss_of_answers(answers, queries, scene)
    expected = 3 * apart + 5 * (moments[0][0] + moments[1][0]) + 7 * (moments[0][1] + moments[1][1])
    torch.testing.assert_close(loss, expected)


def test_keys_that_know_places_alone_are_not_content():
    """Each query finds itself in its own frame, as it would in any other; asked for all, frames answer alike."""
    queries = functional.normalize(torch.eye(12), dim=1)
    places = queries.T.reshape(12, 4, 3)  # the key of cell i is query i, whatever the frame
    frame = torch.arange(12)
    blind = places.expand(12, -1, -1, -1)
    # what is there counts: only the cell of the frame's target has its key, the others have one that nobody asks for
    seen = torch.cat((queries, torch.zeros(12, 1)), dim=1)
    nothing = functional.one_hot(torch.full((12, 4, 3), 12), 13).float().movedim(3, 1)
    told = torch.where(torch.eye(12).reshape(12, 1, 4, 3) > 0, seen[:, :, None, None], nothing)
    loss = MaskedVicregLoss(0.05, variance=0.0, covariance=0.0)
    assert float(loss(told, seen, frame)) < 0.02 * float(loss(blind, queries, frame))
    answers = loss.answers(blind.flatten(2), queries)
    variance, _ = variance_and_covariance(answers, torch.zeros(12).long())
    assert float(variance) == pytest.approx(1 - 1e-2, abs=1e-6)


def test_a_batch_without_queries_costs_nothing_and_frames_without_any_do_not_count():
    keys, queries, frame = _batch()
    keys.requires_grad_()
    loss = MaskedVicregLoss()(keys, queries[:0], frame[:0])
    loss.backward()
    assert loss == 0
    assert not keys.grad.any()
    MaskedVicregLoss()(keys, queries[:4], frame[:4], torch.tensor([0, 0, 4, 0, 3])).backward()
    assert keys.grad.flatten(1).any(dim=1).tolist() == [True, True, False, True, False]


def test_automatic_mixed_precision_does_not_touch_the_loss():
    keys, queries, frame = _batch()
    with torch.autocast('cpu', torch.bfloat16):
        mixed = MaskedVicregLoss()(keys, queries, frame)
    torch.testing.assert_close(mixed, MaskedVicregLoss()(keys, queries, frame))


@pytest.mark.parametrize(('name', 'value'), [('temperature', 0.0), ('invariance', -1.0), ('covariance', math.inf)])
def test_impossible_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        MaskedVicregLoss(**{name: value})


def test_batches_that_do_not_fit_are_refused():
    keys, queries, frame = _batch()
    for arguments, field in (
        ((keys[0], queries, frame), 'keys'),
        ((keys, queries, frame + 2), 'query_frame'),
        ((keys, queries, frame, torch.zeros(4)), 'sequence'),
    ):
        with pytest.raises(ValueError, match=field):
            MaskedVicregLoss()(*arguments)
