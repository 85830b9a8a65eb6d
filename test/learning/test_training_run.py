# SPDX-License-Identifier: Apache-2.0
"""The training loop with a module that does nothing but count."""

import pytest
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import Dataset

from radio_visual_ssl.learning.training_run import (
    MONITOR,
    EpochSampler,
    RunSettings,
    TrainingError,
    batch_loader,
    fit,
    variation_generator,
)


class Numbers(Dataset):
    def __getitems__(self, numbers):
        return (torch.tensor(numbers),)


class Counter(LightningModule):
    """Remembers which samples came in which epoch, and ends a run in an epoch if told to."""

    def __init__(self, end_in=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen, self.end_in = {}, end_in

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch, number):
        if self.current_epoch == self.end_in:
            raise KeyboardInterrupt
        self.seen.setdefault(self.current_epoch, []).append(batch[0].tolist())
        return self.weight.sum()

    def validation_step(self, batch, number):
        self.log(MONITOR, self.weight.sum(), batch_size=1)


def fitted(folder, module, workers=0, resume=False, epochs=3, seed=5, **settings):
    loaders = [batch_loader(Numbers(), EpochSampler(12, 4, seed, shuffle), workers) for shuffle in (True, False)]
    run_settings = RunSettings(epochs=epochs, accelerator='cpu', **settings)
    return fit(module, *loaders, run_settings, folder, fingerprint={}, resume=resume)


def run(folder, module=None, **options):
    module = module or Counter()
    fitted(folder, module, **options)
    return module.seen


class Overshooting(Counter):
    """Its weight falls by 0.3 in each epoch; the second one is the best."""

    def validation_step(self, batch, number):
        self.log(MONITOR, ((self.weight + 0.6) ** 2).sum(), batch_size=1)


def test_the_weights_of_the_best_epoch_come_out_not_those_of_the_last(tmp_path):
    module = Overshooting()
    result = fitted(tmp_path, module)
    assert module.weight.item() == pytest.approx(-0.9, abs=1e-5)
    assert result.weights['weight'].item() == pytest.approx(-0.6, abs=1e-5)
    assert (result.epochs, result.loss) == (3, pytest.approx(0.0, abs=1e-9))


def test_a_run_whose_folder_was_moved_still_knows_its_best_epoch(tmp_path):
    whole = fitted(tmp_path / 'whole', Overshooting())
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fitted(tmp_path / 'broken', Overshooting(end_in=2))
    for old, new in (('broken', 'moved'), ('whole', 'finished')):
        (tmp_path / old).rename(tmp_path / new)
        result = fitted(tmp_path / new, Overshooting(), resume=True)
        assert (result.weights['weight'], result.loss) == (whole.weights['weight'], whole.loss)


def test_gradients_are_cut_to_the_limit(tmp_path):
    """Each of three steps goes down a slope of 1 at a rate of 0.1."""
    for limit, way in ((0.25, 0.25), (5.0, 1.0)):
        module = Counter()
        fitted(tmp_path / str(limit), module, epochs=1, gradient_limit=limit)
        assert module.weight.item() == pytest.approx(-3 * 0.1 * way, rel=1e-4)


def test_what_is_varied_depends_on_seed_epoch_batch_and_process_and_on_nothing_else():
    def drawn(*numbers):
        return tuple(torch.randn(4, generator=variation_generator(*numbers)).tolist())

    numbers = [(3, 2, 5, 0), (4, 2, 5, 0), (3, 1, 5, 0), (3, 2, 6, 0), (3, 2, 5, 1)]
    first = [drawn(*each) for each in numbers]
    torch.rand(3)
    assert [drawn(*each) for each in numbers] == first
    assert len(set(first)) == len(numbers)


def test_another_seed_draws_other_batches(tmp_path):
    assert run(tmp_path / 'one', seed=1) != run(tmp_path / 'two', seed=2)
    assert run(tmp_path / 'again', seed=1) == run(tmp_path / 'once_more', seed=1)


@pytest.mark.parametrize('workers', [0, 1])
def test_each_epoch_draws_its_batches_anew(tmp_path, workers):
    seen = run(tmp_path, workers=workers)
    assert list(seen) == [0, 1, 2]
    for batches in seen.values():
        assert sorted(number for batch in batches for number in batch) == list(range(12))
    assert len({str(batches) for batches in seen.values()}) == 3


def test_a_resumed_run_goes_on_with_the_batches_of_its_epoch(tmp_path):
    whole = run(tmp_path / 'whole')
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / 'broken', Counter(end_in=1))
    assert run(tmp_path / 'broken', resume=True) == {epoch: whole[epoch] for epoch in (1, 2)}


def test_a_run_of_several_processes_is_not_gone_on_with_by_one(tmp_path, monkeypatch):
    run(tmp_path, epochs=1)
    monkeypatch.setattr('radio_visual_ssl.learning.training_run.world_size', lambda: 2)
    with pytest.raises(TrainingError, match='processes'):
        run(tmp_path, epochs=1, resume=True)
