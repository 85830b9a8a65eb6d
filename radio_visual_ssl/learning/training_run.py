# SPDX-License-Identifier: Apache-2.0
"""One training run on Lightning: devices, progress, logs, early stop, and going on after a kill with equal results."""

import importlib.util
import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from radio_visual_ssl.exit_status import DIVERGED_STATUS
from radio_visual_ssl.whole_file import replacing

MONITOR = 'validation_loss'
"""What a module logs after each epoch: the smaller, the better; computed without ground truth."""

Item = TypeVar('Item')

_LAST, _BEST, _SETTINGS = 'last', 'best', 'run.json'


class TrainingError(ValueError):
    """A run that cannot be begun or gone on with; the message says what was expected and got."""


class TrainingDivergedError(TrainingError):
    """A run in which nothing was learned: no fault of its settings' form, but no result either."""

    exit_status = DIVERGED_STATUS
    """Of the command, so that who runs many can tell it from a failure."""


@dataclass(frozen=True)
class RunSettings:
    """How long and on what.

    Attributes:
        epochs: passes over the training data.
        patience: epochs without a better validation loss after which the run ends; 0 = it never ends early.
        precision: of the arithmetic; bf16-mixed halves the memory and doubles the speed of a GPU.
        accelerator: auto = a GPU where there is one.
        gradient_limit: norm to which gradients are cut.
        seed: of the weights, the order of the data and its augmentation.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int = 10
    patience: int = 0
    precision: Literal['32-true', 'bf16-mixed', '16-mixed'] = '32-true'
    accelerator: Literal['auto', 'cpu', 'gpu'] = 'auto'
    gradient_limit: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (('epochs', 1), ('patience', 0), ('seed', 0)):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= least):
                raise ValueError(f'{name}: expected a whole number from {least} on, got {value!r}')
        for name, choices in (
            ('precision', ('32-true', 'bf16-mixed', '16-mixed')),
            ('accelerator', ('auto', 'cpu', 'gpu')),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f'{name}: expected one of {", ".join(choices)}, got {getattr(self, name)!r}')
        if not (math.isfinite(self.gradient_limit) and self.gradient_limit > 0):
            raise ValueError(f'gradient_limit: expected a positive number, got {self.gradient_limit!r}')


@dataclass(frozen=True)
class Epoch:
    """One finished epoch.

    Attributes:
        number: from 1 on.
        epochs: at most.
        figures: what the module logged.
    """

    number: int
    epochs: int
    figures: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run came to.

    Attributes:
        weights: state of the module at its best epoch.
        loss: validation loss there.
        figures: what the module logged there.
        epochs: that were run, those before a resumption too.
        seconds: of this process' part.
        samples_per_s: trained on in this process' part, all processes together; 0 where nothing was left to do.
    """

    weights: Mapping[str, Tensor]
    loss: float
    figures: Mapping[str, float]
    epochs: int
    seconds: float
    samples_per_s: float


class EpochwiseSampler(Sampler[list[Item]]):
    """Base of samplers whose batches are drawn anew in each epoch."""

    epoch = 0
    """That the next iteration is of."""

    @property
    def sampler(self) -> 'EpochwiseSampler[Item]':
        """Where Lightning looks for `set_epoch`: of what gives batches it asks this attribute alone."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch


class EpochSampler(EpochwiseSampler[int]):
    """Batches of a shuffled epoch, each epoch anew, the same after a resumption; each process gets its part.

    Args:
        size: of the data set.
        batch_size: of each process.
        seed: of the order.
        shuffle: False: in order.
        split: False: each process gets all of it.
    """

    def __init__(self, size: int, batch_size: int, seed: int = 0, shuffle: bool = True, split: bool = True) -> None:
        self._size, self._batch_size, self._seed, self._shuffle = size, batch_size, seed, shuffle
        self._processes = world_size() if split else 1

    def __len__(self) -> int:
        """Batches of an epoch, the same in every process."""
        return math.ceil(self._size / (self._batch_size * self._processes))

    def __iter__(self) -> Iterator[list[int]]:
        """Numbers of the samples of each batch; what is missing to fill the last ones is taken from the beginning."""
        generator = torch.Generator().manual_seed(self._seed * 100_003 + self.epoch)
        order = torch.randperm(self._size, generator=generator) if self._shuffle else torch.arange(self._size)
        processes = self._processes
        if processes > 1:
            order = order.repeat(-(-len(self) * self._batch_size * processes // self._size))
            order = order[process_rank() : len(self) * self._batch_size * processes : processes]
        for batch in order.split(self._batch_size):
            yield batch.tolist()


def world_size() -> int:
    """Processes of this run, as torchrun has set them."""
    return int(os.environ.get('WORLD_SIZE', '1'))


def process_rank() -> int:
    """Number of this process among them."""
    return int(os.environ.get('RANK', '0')) if world_size() > 1 else 0


def fit(
    module: LightningModule,
    training: DataLoader[Any],
    validation: DataLoader[Any],
    settings: RunSettings,
    folder: str | Path,
    *,
    fingerprint: Mapping[str, Any],
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> RunResult:
    """Train a module, and find its weights at the epoch with the smallest `MONITOR`.

    Under torchrun, all of its processes train together (DDP).

    Args:
        module: its weights are made here or restored; order and augmentation must depend on ``current_epoch`` and the
            batch's number alone, so that a resumed run is the same run.
        training: its batch sampler is split between processes already; a batch is a tuple, the first of whose tensors
            is as long as the batch.
        validation: likewise.
        settings: of the run.
        folder: of logs and of the state to go on from (last.ckpt after each epoch, best.ckpt).
        fingerprint: what else the result depends on, as JSON holds it: a run goes on only where all of it is the same.
        resume: go on where the run in this folder ended, or begin where there is none; False: begin anew.
        on_epoch: called after each epoch, in the first process.

    Raises:
        TrainingError: another run's folder to be resumed, one that is damaged or cannot be written, no GPU where one is
            asked for, or SIGTERM.
        TrainingDivergedError: a validation loss that never was a finite number.
    """
    folder = Path(folder)
    if settings.accelerator == 'gpu' and not torch.cuda.is_available():
        raise TrainingError('accelerator: expected auto or cpu, for there is no GPU that torch can use, got gpu')
    last = folder / f'{_LAST}.ckpt'
    wanted = {**fingerprint, 'run': _plain(settings), 'processes': world_size()}
    resumed = _begin(folder, wanted, resume) and last.is_file()
    if resumed:
        _state(last)
    # save_last would keep the best epochs alone; the last comes second, for it holds what the best one knows
    best, latest = (
        _Checkpoints(folder, name, monitor, enable_version_counter=False, save_on_train_epoch_end=True)
        for name, monitor in ((_BEST, MONITOR), (_LAST, None))
    )
    counter = _Progress(on_epoch)
    callbacks: list[Callback] = [best, latest, counter]
    if settings.patience:
        callbacks.append(_EarlyStopping(MONITOR, patience=settings.patience, check_on_train_epoch_end=True))
    visible = sys.stderr.isatty() and process_rank() == 0
    if visible:
        callbacks.append(RichProgressBar(console_kwargs={'stderr': True}))
    with _quiet():
        trainer = Trainer(
            accelerator=settings.accelerator,
            **_devices(),
            precision=settings.precision,
            max_epochs=settings.epochs,
            logger=_loggers(folder),
            callbacks=callbacks,
            enable_progress_bar=visible,
            enable_model_summary=False,
            gradient_clip_val=settings.gradient_limit,
            deterministic='warn',
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=20,
        )
        began = time.monotonic()
        try:
            trainer.fit(module, training, validation, ckpt_path=last if resumed else None, weights_only=True)
        except SIGTERMException as error:  # would end the process as if all were well
            raise TrainingError(
                f'{folder}: ended by SIGTERM in epoch {trainer.current_epoch + 1}; resume goes on'
            ) from error
        seconds = time.monotonic() - began
    if best.best_model_score is None or not math.isfinite(float(best.best_model_score)):
        raise TrainingDivergedError(
            f'{folder}: expected a finite {MONITOR}, got {best.best_model_score}: nothing was learned'
        )
    state = _state(Path(best.best_model_path))
    samples = counter.samples * world_size()
    return RunResult(
        state['state_dict'],
        float(best.best_model_score),
        counter.best,
        trainer.current_epoch,
        seconds,
        samples / seconds if samples else 0.0,
    )


def batch_loader(frames: Dataset[Any], batch_sampler: Sampler[list[Any]], workers: int = 0) -> DataLoader[Any]:
    """Batches of a data set whose ``__getitems__`` gives whole ones.

    Args:
        frames: the data set.
        batch_sampler: gives what ``__getitems__`` takes.
        workers: processes that read; 0 = this one.
    """
    return DataLoader(
        frames, batch_sampler=batch_sampler, collate_fn=_as_it_is, num_workers=workers, persistent_workers=workers > 0
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def settings_content(settings: Any) -> dict[str, Any]:
    """What the result of a run depends on, as JSON holds it.

    Args:
        settings: dataclass with the fields ``run`` (`RunSettings`) and ``workers``: neither the device nor the number
            of reading processes counts.
    """
    content = asdict(settings)
    del content['workers'], content['run']['accelerator']
    return content


def variation_generator(seed: int, epoch: int, batch: int, rank: int) -> torch.Generator:
    """Generator on the CPU that depends on seed, epoch, batch and process alone, so that a resumed run varies alike."""
    number = ((seed * 1009 + epoch) * 1_000_003 + batch) * 1021 + rank
    return torch.Generator().manual_seed(number % 2**63)


def rising_and_falling(optimizer: torch.optim.Optimizer, steps: int, warm_up: float) -> dict[str, Any]:
    """What ``configure_optimizers`` returns: the learning rate rises linearly, then falls to 0 with a cosine.

    Args:
        optimizer: with the largest learning rate.
        steps: of all epochs.
        warm_up: share of them over which it rises.
    """
    rise = max(warm_up * steps, 1.0)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        return 0.5 * (1 + math.cos(math.pi * min((step - rise) / max(steps - rise, 1.0), 1.0)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def seed_run(settings: RunSettings) -> None:
    """Seed every generator, before a module's weights are made."""
    with _quiet():
        seed_everything(settings.seed, workers=True, verbose=False)


class _Checkpoints(ModelCheckpoint):
    """Knows its files again where the folder of the run was moved; Lightning's would forget which epoch was best."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = ('best_model_path', 'kth_best_model_path', 'last_model_path')
        known = {here(path): score for path, score in state_dict['best_k_models'].items()}
        moved = {'dirpath': self.dirpath, 'best_k_models': known, **{name: here(state_dict[name]) for name in paths}}
        super().load_state_dict(state_dict | moved)


class _EarlyStopping(EarlyStopping):
    """Leaves a resumed run that had ended early as it is; Lightning would go on with one more epoch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class _Progress(Callback):
    """Counts samples, tells of epochs, and knows the figures of the best one, those before a resumption too."""

    def __init__(self, on_epoch: Callable[[Epoch], None] | None) -> None:
        self.samples = 0
        self.best: dict[str, float] = {}
        self._on_epoch = on_epoch

    def state_dict(self) -> dict[str, Any]:
        return {'best': self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict['best']

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch[0])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if figures.get(MONITOR, math.inf) < self.best.get(MONITOR, math.inf):
            self.best = figures
        if self._on_epoch is not None and trainer.is_global_zero:
            self._on_epoch(Epoch(trainer.current_epoch + 1, trainer.max_epochs or 0, figures))


def _begin(folder: Path, fingerprint: Mapping[str, Any], resume: bool) -> bool:
    """Make the folder fit for the run; whether it holds the same run already.

    Raises:
        TrainingError: another run's, or one that cannot be written.
    """
    file, content = folder / _SETTINGS, json.loads(json.dumps(fingerprint))
    if resume and file.is_file():
        try:
            found = json.loads(file.read_text(encoding='utf-8'))
        except ValueError as error:
            raise TrainingError(f'{file}: expected what a run depends on, got {error}') from error
        for path, expected, got in _differences(found, content):
            raise TrainingError(f'{folder}: a run of other {path}: expected {expected!r} to go on, got {got!r}')
        return True
    if process_rank() == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (_LAST, _BEST):
                (folder / f'{name}.ckpt').unlink(missing_ok=True)
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(content, indent=1), encoding='utf-8')
        except OSError as error:
            raise TrainingError(f'{folder}: expected a folder for the run that can be written: {error}') from error
    return False


def _state(file: Path) -> dict[str, Any]:
    """What Lightning wrote of an epoch; no code of the file is run.

    Raises:
        TrainingError: a damaged file.
    """
    try:
        return dict(torch.load(file, map_location='cpu', weights_only=True))
    except Exception as error:  # a damaged pickle leads to any
        raise TrainingError(
            f'{file}: expected the state of a run, got a damaged file ({type(error).__name__})'
        ) from error


def _differences(one: Any, other: Any, path: str = '') -> Iterator[tuple[str, Any, Any]]:
    """(Path, value, other value) of what differs between two JSON values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in one | other:
            yield from _differences(one.get(name), other.get(name), f'{path}.{name}' if path else str(name))
    elif one != other:
        yield path, one, other


def _plain(settings: RunSettings) -> dict[str, Any]:
    """What of the settings the result depends on."""
    return {name: getattr(settings, name) for name in ('epochs', 'patience', 'precision', 'gradient_limit', 'seed')}


def _devices() -> dict[str, Any]:
    """The trainer's devices: this process' own, and its fellows' under torchrun."""
    processes = world_size()
    if processes == 1:
        return {'devices': 1}
    here = int(os.environ.get('LOCAL_WORLD_SIZE', processes))
    return {'devices': here, 'num_nodes': processes // here, 'strategy': 'ddp'}


def _loggers(folder: Path) -> list[Logger]:
    """CSV, and TensorBoard where it is installed; each start of a run has its own."""
    loggers: list[Logger] = [CSVLogger(folder, 'log')]
    if importlib.util.find_spec('tensorboard') or importlib.util.find_spec('tensorboardX'):
        loggers.append(TensorBoardLogger(folder, 'log'))
    return loggers


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave Lightning's advice out: what is said here is of other use than what the run does."""
    loggers = [logging.getLogger(name) for name in ('lightning.pytorch', 'lightning.fabric')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                '.*does not have many workers.*',
                '.*logging interval.*',
                '.*LeafSpec.*',
                '.*exists and is not.*',
                '.*in eval mode.*',
            ):
                warnings.filterwarnings('ignore', message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
