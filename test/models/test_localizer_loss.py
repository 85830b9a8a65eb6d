# SPDX-License-Identifier: Apache-2.0
"""Labels as maps and the localizer's losses: robust to outliers, blind where the camera is."""

import numpy as np
import pytest
import torch

from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.localizer import LocalizerNetwork, LocalizerOutput, decode
from radio_visual_ssl.models.localizer_loss import LocalizerLabels, LocalizerLoss, encode_labels
from radio_visual_ssl.radar.grid import PolarGrid

SECTOR = PolarGrid(np.arange(64) * 0.375, np.arcsin(np.linspace(-0.95, 0.95, 48)))
CIRCLE = PolarGrid(1 + np.arange(64) * 0.5, np.linspace(-np.pi, np.pi, 48, endpoint=False), wraps=True)
CELLS = CellGrid.of(SECTOR).convolved(5, 2, 2)


def _labels(*places, cells=CELLS, frames=2, **settings):
    columns = torch.tensor(places).T if places else torch.zeros(3, 0)
    return encode_labels(cells, columns[1], columns[2], columns[0].long(), frames, **settings)


def _output(labels, logit=8.0, log_variance=-2.0):
    """What a perfect network says of labels."""
    centre = torch.where(labels.centre == 1, logit, -logit)
    return LocalizerOutput(centre, labels.offset.clone(), torch.full_like(labels.offset, log_variance))


def test_a_label_is_one_in_its_cell_and_falls_off_around_it():
    labels = _labels((1, 12.1, 0.2))
    row, column = (round(float(each)) for each in CELLS.index(12.1, 0.2))
    assert labels.centre[1, row, column] == 1
    assert (labels.centre == 1).sum() == 1
    assert not labels.centre[0].any()
    assert labels.centre[1, row + 1, column] == labels.centre[1, row - 1, column] < 1


@pytest.mark.parametrize('azimuth', [0.2, np.pi - 0.01])
def test_offsets_of_all_weighted_cells_point_to_the_place(azimuth):
    cells = CELLS if azimuth < 1 else CellGrid.of(CIRCLE).convolved(5, 2, 2)
    labels = _labels((0, 12.1, azimuth), cells=cells, sigma=2.0)
    _, row, column = labels.offset_weight.nonzero(as_tuple=True)
    assert len(row) > 4
    there = cells.decode(row + labels.offset[0, 0, row, column], column + labels.offset[0, 1, row, column])
    np.testing.assert_allclose(there[0], 12.1, atol=1e-4)
    np.testing.assert_allclose(np.angle(np.exp(1j * (there[1] - azimuth))), 0, atol=1e-4)


def test_two_near_labels_each_keep_their_side():
    labels = _labels((0, 12.0, 0.0), (0, 15.0, 0.0), sigma=2.0)
    _, row, column = labels.offset_weight.nonzero(as_tuple=True)
    range_, _ = CELLS.decode(row + labels.offset[0, 0, row, column], column)
    nearest = np.where(np.abs(CELLS.range[row] - 12.0) < np.abs(CELLS.range[row] - 15.0), 12.0, 15.0)
    assert np.mean(np.abs(range_ - nearest) < 0.01) > 0.9


def test_far_labels_are_narrow_in_azimuth_but_never_below_a_cell():
    spread = [float(_labels((0, range_, 0.0), sigma=1.5).centre[0].amax(dim=0).sum()) for range_ in (3.0, 10.0, 20.0)]
    assert spread[0] > spread[1] >= spread[2] > 1.5


def test_a_bump_is_as_much_wider_as_its_label_may_be_off():
    def width(**settings):
        labels = _labels((0, 12.0, 0.0), **settings)
        return float(labels.centre[0].amax(dim=1).sum())

    assert width(sigma=0.9, spread=torch.tensor([[1.2, 1.2]])) == pytest.approx(width(sigma=1.5), rel=1e-6)

    across = [
        _labels((0, 12.0, 0.0), sigma=0.9, spread=torch.tensor([[0.0, wide]])).centre[0].amax(dim=0)
        for wide in (0.0, 3.0)
    ]
    assert float(across[1].sum()) > 1.5 * float(across[0].sum())
    beyond = _labels((0, 500.0, 0.0), (0, 12.0, 0.0), sigma=0.9, spread=torch.tensor([[5.0, 5.0], [1.2, 1.2]]))
    torch.testing.assert_close(beyond.centre, _labels((0, 12.0, 0.0), sigma=1.5).centre)


def test_cells_learn_the_way_to_the_nearest_label_and_to_an_unsure_one_from_farther_off():
    places = (0, 12.0, 0.0), (0, 14.25, 0.0), (1, 12.0, 0.0)
    spread = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    sure, unsure = (_labels(*places, sigma=0.75, **given) for given in ({}, {'spread': spread}))
    column = round(float(CELLS.index(12.0, 0.0)[1]))
    alone, wide = (labels.offset_weight[1, :, column].count_nonzero() for labels in (sure, unsure))
    assert wide > alone + 2
    rows = unsure.offset_weight[0, :, column].nonzero()[:, 0]
    lead_to = CELLS.decode(rows + unsure.offset[0, 0, rows, column], np.full(len(rows), float(column)))[0]
    nearest = np.where(np.abs(CELLS.range[rows] - 12.0) < np.abs(CELLS.range[rows] - 14.25), 12.0, 14.25)
    np.testing.assert_allclose(lead_to, nearest, atol=1e-4)


def test_a_target_whose_labels_scatter_is_the_surer_where_they_are_as_wide():
    def score(spread):
        scattered = 12.0 + np.random.default_rng(0).normal(0, 1.0, 60)
        places = [(frame, place, 0.0) for frame, place in enumerate(scattered)]
        labels = _labels(*places, frames=60, spread=torch.full((60, 2), spread))
        logit = torch.zeros(1, *CELLS.shape, requires_grad=True)
        optimizer = torch.optim.Adam([logit], lr=0.1)
        still = torch.zeros(60, 2, *CELLS.shape)
        for _ in range(200):
            optimizer.zero_grad()
            LocalizerLoss()(LocalizerOutput(logit.expand(60, -1, -1), still, still), labels).backward()
            optimizer.step()
        return float(logit.detach().sigmoid().max())

    assert score(1.0) > score(0.0) + 0.1


def test_labels_outside_the_grid_are_left_out_and_no_label_is_an_empty_map():
    labels = _labels((0, 500.0, 0.0), (1, 12.0, 0.2))
    assert not labels.centre[0].any()
    assert labels.centre_weight.sum() == 1
    assert not _labels().centre.any()


def test_the_right_answer_costs_less_than_any_near_one():
    labels = _labels((0, 12.1, 0.2), (0, 5.0, -0.5), (1, 20.0, 0.0))
    loss, output = LocalizerLoss(), _output(labels)
    best = loss(output, labels)
    assert loss(output._replace(centre=output.centre.roll(1, dims=1)), labels) > best + 1
    assert loss(output._replace(offset=output.offset + 0.3), labels) > best
    assert loss(output._replace(centre=output.centre.clamp_min(-1)), labels) > best


def test_the_loss_says_the_same_of_a_batch_whatever_its_order():
    labels = _labels((0, 12.1, 0.2), (1, 5.0, -0.5))
    output = _output(_labels((0, 12.6, 0.2), (1, 5.0, -0.4)))
    turned = _labels((1, 12.1, 0.2), (0, 5.0, -0.5))
    other = _output(_labels((1, 12.6, 0.2), (0, 5.0, -0.4)))
    torch.testing.assert_close(LocalizerLoss()(output, labels), LocalizerLoss()(other, turned))


def test_false_centres_cost_only_where_the_camera_sees():
    labels = _labels((1, 12.0, 0.2))
    output = _output(labels)
    false = output._replace(centre=output.centre.clone())
    false.centre[0, 5, 6] = 4.0
    visible = torch.ones(2, *CELLS.shape)
    visible[0, 5, 6] = 0
    loss = LocalizerLoss()
    assert loss(false, labels) > loss(output, labels) + 1
    torch.testing.assert_close(loss(false, labels, visible), loss(output, labels, visible), atol=1e-3, rtol=0)


def test_labels_count_by_their_confidence():
    sure, doubtful = (_labels((0, 12.0, 0.2), confidence=torch.tensor([c])) for c in (1.0, 0.25))
    missed = _output(_labels())
    hit = [LocalizerLoss(offset_weight=0)(missed, labels) for labels in (sure, doubtful)]
    torch.testing.assert_close(hit[0], 4 * hit[1], atol=1e-3, rtol=0)


def test_classes_are_learned_in_the_cells_of_labels_of_known_class_alone():
    """The gradient is that of cross-entropy in closed form, weight * (softmax - one-hot) / sum of weights."""
    places = ((0, 12.1, 0.2), (0, 5.0, -0.5), (1, 20.0, 0.0))
    confidence = torch.tensor([1.0, 0.9, 0.5])
    labels = _labels(*places, confidence=confidence, class_index=torch.tensor([2, -1, 0]))
    logit = torch.randn(2, 3, *CELLS.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = LocalizerLoss(offset_weight=0, class_weight=0.7)
    output = _output(labels)
    value = loss(output._replace(class_logit=logit), labels)
    value.backward()
    known = labels.offset_weight.clone()
    row, column = (round(float(each)) for each in CELLS.index(5.0, -0.5))
    assert known[0, row, column] > 0
    known[0, row - 4 : row + 5, : column + 5] = 0  # around the label of unknown class
    one_hot = torch.zeros_like(logit)
    one_hot[0, 2], one_hot[1, 0] = 1.0, 1.0
    weight = (known / known.sum().clamp_min(1.0))[:, None]
    torch.testing.assert_close(logit.grad, 0.7 * weight * (logit.detach().softmax(dim=1) - one_hot))
    assert 0 < (logit.grad != 0).any(dim=1).sum() == (known > 0).sum() < 60
    cost = -(one_hot * logit.detach().log_softmax(dim=1)).sum(dim=1)
    expected = loss(output, labels) + 0.7 * (weight[:, 0] * cost).sum()
    torch.testing.assert_close(value.detach(), expected)


def test_without_classes_or_labels_that_have_one_nothing_is_learned_of_them():
    logit = torch.randn(2, 3, *CELLS.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for classes in (None, torch.tensor([-1])):
        labels = _labels((0, 12.1, 0.2), class_index=classes)
        output = _output(labels)
        value = LocalizerLoss()(output._replace(class_logit=logit), labels)
        torch.testing.assert_close(value.detach(), LocalizerLoss()(output, labels))
        if value.requires_grad:
            value.backward()
            assert not logit.grad.any()


@pytest.mark.parametrize('kind', ['student_t', 'huber'])
def test_an_outlier_pulls_less_than_its_distance(kind):
    labels = _labels((0, 12.0, 0.2))
    pulls = []
    for error in (0.5, 8.0):
        output = _output(labels)
        offset = (output.offset + error).requires_grad_()
        LocalizerLoss(kind)(output._replace(offset=offset), labels).backward()
        pulls.append(float(offset.grad.abs().sum()))
    assert pulls[1] <= pulls[0] * (1.001 if kind == 'huber' else 0.5)


def test_the_learned_scale_is_that_of_the_labels_that_agree():
    """Nine in ten errors of 0.2 cells and one in ten of 5: a Gaussian would say 1.6."""
    generator = torch.Generator().manual_seed(0)
    error = 0.2 * torch.randn(2000, generator=generator)
    error[:200] *= 25
    log_variance = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_variance], max_iter=30, line_search_fn='strong_wolfe')
    loss = LocalizerLoss(degrees_of_freedom=2.0)
    offset = error[:, None, None, None].expand(-1, 2, -1, -1)
    one_cell = torch.zeros(2000, 1, 1)
    labels = LocalizerLabels(one_cell, one_cell, torch.zeros_like(offset), one_cell + 1)

    def closure():
        optimizer.zero_grad()
        value = loss(LocalizerOutput(one_cell - 9, offset, log_variance.expand_as(offset)), labels)
        value.backward()
        return value

    optimizer.step(closure)
    assert 0.15 < float((log_variance.detach() / 2).exp()) < 0.35


def test_a_small_network_learns_to_find_planted_targets():
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    network = LocalizerNetwork(SECTOR, 1, 12, dilations=(1, 2))
    loss_function, optimizer = LocalizerLoss(), torch.optim.Adam(network.parameters(), 1e-2)

    def batch(count):
        places, maps = [], np.zeros((count, 64, 48), np.float32)
        for frame in range(count):
            for _ in range(generator.integers(0, 3)):
                row, column = generator.uniform(6, 58), generator.uniform(4, 44)
                down, right = np.arange(64)[:, None] - row, np.arange(48) - column
                maps[frame] += 5 * np.exp(-0.5 * (down**2 + right**2) / 1.5**2)
                places.append((frame, *(float(each) for each in SECTOR.position(row, column))))
        return torch.from_numpy(maps)[:, None] + 0.3 * torch.randn(count, 1, 64, 48), places

    for _ in range(60):
        maps, places = batch(8)
        loss = loss_function(network(maps), _labels(*places, cells=network.cells, frames=8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    maps, places = batch(40)
    with torch.no_grad():
        found = decode(network(maps), network.cells, threshold=0.3)
    errors = []
    for frame, range_, azimuth in places:
        place = range_ * np.array([np.cos(azimuth), np.sin(azimuth)])
        there = found[frame].range * np.array([np.cos(found[frame].azimuth), np.sin(found[frame].azimuth)])
        errors.append(np.linalg.norm(there.T - place, axis=1).min(initial=np.inf))
    assert np.mean(np.array(errors) < 0.5) > 0.8
    assert sum(len(each.score) for each in found) < 1.3 * len(places)


@pytest.mark.parametrize(
    ('settings', 'field'),
    [
        ({'offset_loss': 'l2'}, 'offset_loss'),
        ({'degrees_of_freedom': 0}, 'degrees_of_freedom'),
        ({'delta': -1}, 'delta'),
        ({'offset_weight': -1}, 'offset_weight'),
        ({'class_weight': float('nan')}, 'class_weight'),
        ({'alpha': 0}, 'alpha'),
    ],
)
def test_impossible_losses_are_refused_by_name(settings, field):
    with pytest.raises(ValueError, match=field):
        LocalizerLoss(**settings)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='frame: expected 0 to 1, got 2 to 2'):
        _labels((2, 12.0, 0.2))
    with pytest.raises(ValueError, match='sigma'):
        _labels((0, 12.0, 0.2), sigma=0.0)
    with pytest.raises(ValueError, match='same shape'):
        encode_labels(CELLS, torch.ones(2), torch.ones(3), torch.zeros(2, dtype=torch.long), 1)
    with pytest.raises(ValueError, match='labels: expected shape'):
        LocalizerLoss()(_output(_labels(frames=2)), _labels(frames=3))
