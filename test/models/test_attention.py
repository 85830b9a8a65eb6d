# SPDX-License-Identifier: Apache-2.0
"""Attention maps, peaks between cells, and the likelihood that chooses checkpoints."""

import pytest
import torch
from torch.nn import functional

from radio_visual_ssl.models.attention import attention_maps, contrast_maps, find_peaks, held_out_peak_likelihood


def _bump(row, column, rows=20, columns=16, wraps=False, width=1.5):
    down, right = torch.arange(rows) - row, torch.arange(columns) - column
    if wraps:
        right = torch.remainder(right + columns / 2, columns) - columns / 2
    return torch.exp(-0.5 * ((down / width)[:, None] ** 2 + (right / width) ** 2))


@pytest.mark.parametrize('place', [(5.3, 7.45), (10.0, 3.0), (1.49, 14.2)])
def test_a_peak_is_found_between_cells(place):
    peaks = find_peaks(_bump(*place)[None])
    assert float(peaks.row) == pytest.approx(place[0], abs=0.1)
    assert float(peaks.column) == pytest.approx(place[1], abs=0.1)


@pytest.mark.parametrize('column', [-0.4, 0.2, 15.4])
def test_a_peak_at_the_seam_of_a_circle_is_found_between_its_ends(column):
    peak = float(find_peaks(_bump(6, column, wraps=True)[None], wraps=True).column)
    assert (peak - column + 8) % 16 - 8 == pytest.approx(0, abs=0.1)


def test_a_peak_at_the_edge_or_on_a_plateau_stays_on_its_cell():
    edge, flat = _bump(0, 0), torch.zeros(20, 16)
    peaks = find_peaks(torch.stack((edge, flat)))
    assert peaks.row.tolist() == peaks.column.tolist() == [0, 0]


def test_each_query_attends_to_its_own_frame():
    keys, queries = torch.randn(3, 4, 5, 6), torch.randn(2, 4)
    maps = attention_maps(keys, queries, torch.tensor([2, 0]))
    torch.testing.assert_close(maps[0], torch.einsum('drc,d->rc', keys[2], queries[0]))


def test_contrast_takes_away_what_every_frame_answers():
    query = functional.normalize(torch.randn(1, 4), dim=1)
    clutter, target = torch.zeros(5, 6), torch.zeros(5, 6)
    clutter[1, 1], target[3, 4] = 0.9, 0.7
    keys = query[0][:, None, None] * torch.stack((clutter + target, clutter, clutter))[:, None]
    frame = torch.tensor([0])
    assert find_peaks(attention_maps(keys, query, frame)).row.round() == 1
    assert find_peaks(contrast_maps(keys, query, frame)).row.round() == 3
    alone = torch.ones(3, 3, dtype=torch.bool)
    torch.testing.assert_close(contrast_maps(keys, query, frame, alone), attention_maps(keys, query, frame))


def _pairs(strength, seed=0):
    generator = torch.Generator().manual_seed(seed)
    queries = functional.normalize(torch.randn(6, 32, generator=generator), dim=1)
    keys = torch.randn(6, 32, 4, 4, generator=generator) / 32**0.5
    keys[torch.arange(6), :, torch.arange(6) % 4, 2] += strength * queries
    return functional.normalize(keys, dim=1), queries, torch.arange(6)


def test_the_peak_likelihood_rises_with_what_was_learned():
    none, some, much = (held_out_peak_likelihood(*_pairs(strength)) for strength in (0.0, 1.0, 4.0))
    assert none.likelihood < some.likelihood < much.likelihood
    assert none.gain < some.gain < much.gain
    assert none.superiority == pytest.approx(0.5, abs=0.25)
    assert much.superiority == 1.0
    assert much.queries == 6


def test_keys_that_are_all_alike_have_the_likelihood_of_a_guess():
    keys = torch.full((3, 4, 2, 2), 0.5)
    like = held_out_peak_likelihood(keys, keys[:2, :, 0, 0], torch.tensor([0, 1]))
    assert like.likelihood == pytest.approx(0, abs=1e-5)
    assert like.gain == pytest.approx(0, abs=1e-5)
    assert like.superiority == 0.5


def test_the_likelihood_is_that_of_a_softmax_over_cells_of_the_pool():
    keys, queries, frames = _pairs(1.0)
    excluded = torch.zeros(6, 6, dtype=torch.bool)
    excluded[0, 1] = True
    like = held_out_peak_likelihood(keys, queries[:1], frames[:1], 0.2, excluded)
    attention = torch.einsum('fdp,d->fp', keys.flatten(2), queries[0])[[0, 2, 3, 4, 5]]
    logs = (attention / 0.2).flatten().log_softmax(0).view(5, 16)
    assert like.likelihood == pytest.approx(float(logs[0].max() + torch.tensor(80.0).log()), abs=1e-4)
    assert like.shuffled == pytest.approx(float(logs[1:].amax(1).mean() + torch.tensor(80.0).log()), abs=1e-4)


def test_pairs_that_cannot_be_shuffled_are_refused():
    keys, queries, frames = _pairs(1.0)
    with pytest.raises(ValueError, match='queries'):
        held_out_peak_likelihood(keys, queries[:0], frames[:0])
    with pytest.raises(ValueError, match='none of the 6 frames'):
        held_out_peak_likelihood(keys, queries, frames, excluded=torch.ones(6, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match='temperature'):
        held_out_peak_likelihood(keys, queries, frames, temperature=0)
