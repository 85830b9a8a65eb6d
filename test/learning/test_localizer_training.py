# SPDX-License-Identifier: Apache-2.0
"""Training the localizer: it learns from noisy labels, goes on after a kill as if nothing had been, and refuses."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from radio_visual_ssl.learning.held_out import hold_out
from radio_visual_ssl.learning.label_set import LabelError, LabelSet
from radio_visual_ssl.learning.localizer_data import (
    LabelledFrames,
    encode_batch,
    frame_loader,
    learn_sectors,
    learned_classes,
)
from radio_visual_ssl.learning.localizer_training import (
    CameraSettings,
    LocalizerTrainingSettings,
    NetworkSettings,
    train_localizer,
)
from radio_visual_ssl.learning.localizer_variation import VariationSettings
from radio_visual_ssl.learning.training_run import EpochSampler, RunSettings, TrainingError
from radio_visual_ssl.models.checkpoint import load_checkpoint
from radio_visual_ssl.models.fusion import FusionNetwork
from radio_visual_ssl.models.localizer_loss import LocalizerLoss
from radio_visual_ssl.models.network_localizer import NetworkLocalizer, network_of
from radio_visual_ssl.models.network_settings import NetworkLocalizerSettings
from radio_visual_ssl.models.picture_input import PictureInputSettings
from radio_visual_ssl.models.radar_input import RadarInputSettings

SETTINGS = LocalizerTrainingSettings(
    radar_input=RadarInputSettings(max_range=18.0),
    network=NetworkSettings(width=8, dilations=(1,)),
    run=RunSettings(epochs=6, accelerator='cpu'),
    batch_size=8,
    learning_rate=1e-2,
    averaging=0.98,
)
SHORT = replace(SETTINGS, run=replace(SETTINGS.run, epochs=3))


class _KillError(Exception):
    pass


def _noisy(labels):
    """Labels that are off by half a metre and more, a few of them by metres."""
    random = np.random.default_rng(0)
    recordings = []
    for each in labels:
        range_ = each.range + random.normal(0, 0.5, len(each)) + 6 * (random.random(len(each)) < 0.05)
        recordings.append(replace(each, range=range_, azimuth=each.azimuth + random.normal(0, 0.05, len(each))))
    return replace(labels, recordings=tuple(recordings))


@pytest.fixture(scope='module')
def trained(scenes, tmp_path_factory):
    """A model trained without a break on noisy labels, with its report and what each epoch told."""
    folder = tmp_path_factory.mktemp('trained')
    recordings, labels = scenes.several(range(8))
    epochs = []
    report = train_localizer(
        recordings[:6],
        replace(_noisy(labels), provenance={'model': 'mcl.safetensors'}),
        SETTINGS,
        folder / 'model.safetensors',
        validation=recordings[6:],
        provenance={'labels_file': 'abc'},
        on_epoch=epochs.append,
    )
    return report, epochs


def test_it_finds_targets_in_scenes_that_it_never_saw(trained, scenes):
    report, _ = trained
    localizer = NetworkLocalizer(NetworkLocalizerSettings(str(report.checkpoint), threshold=0.4))
    errors, found, false = [], 0, 0
    for number in (20, 21, 22):
        recording, labels = scenes.recording(number)
        localizer.reset()
        for index in range(len(recording)):
            own = labels.of_frame(index)
            targets = localizer.localize(recording.heatmap(index))
            x, y = (labels.range[own] * turn(labels.azimuth[own]) for turn in (np.cos, np.sin))
            near = [float(np.min(np.hypot(x - t.x, y - t.y), initial=np.inf)) for t in targets]
            errors += [distance for distance in near if distance < 2]
            found += min(len(own), sum(distance < 2 for distance in near))
            false += sum(distance >= 2 for distance in near)
    instances = sum(len(scenes.recording(number)[1]) for number in (20, 21, 22))
    assert found > 0.8 * instances
    assert false < 0.1 * 120
    assert np.median(errors) < 0.4  # the labels' own median error is 0.65 m


def test_the_report_and_the_checkpoint_tell_of_the_training(trained):
    report, epochs = trained
    checkpoint = load_checkpoint(report.checkpoint, 'localizer')
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert report.validation_loss == min(epoch.figures['validation_loss'] for epoch in epochs)
    assert (report.epochs, report.frames) == (6, 240) and report.samples_per_s > 0
    assert json.loads(json.dumps(report.to_json()))['checkpoint'] == str(report.checkpoint)
    provenance = checkpoint.provenance
    assert provenance['bags']['scene_3'] == 'content of 3 with 40' and provenance['validation'] == [
        'scene_6',
        'scene_7',
    ]
    assert (provenance['labels'], provenance['labels_file']) == ('mcl_em', 'abc')
    assert provenance['labels_provenance'] == {'model': 'mcl.safetensors'} and len(provenance['labels_content']) == 64
    assert provenance['settings']['run']['seed'] == 0 and provenance['kept_labels'] == report.labels
    assert checkpoint.radar_input == SETTINGS.radar_input and checkpoint.radar.name == 'one'
    assert checkpoint.calibration['threshold'] == report.calibration.calibration.threshold


def test_the_averaged_weights_are_judged_and_are_those_that_are_saved(trained, scenes):
    report, _ = trained
    weights = load_checkpoint(report.checkpoint, 'localizer').weights
    state = torch.load(report.checkpoint.with_suffix('.run') / 'best.ckpt', weights_only=True)['state_dict']
    assert all(torch.equal(weights[name], state[f'average.{name}']) for name in weights)
    assert not any(torch.equal(weights[name], state[f'network.{name}']) for name in weights)
    recordings, labels = scenes.several(range(8))
    each = list(_noisy(labels))
    sectors = learn_sectors(each[:6], SETTINGS.sector)
    frames = LabelledFrames(recordings[6:], each[6:], SETTINGS.radar_input, sectors)
    network = network_of(load_checkpoint(report.checkpoint))
    loss, losses = LocalizerLoss(), []
    with torch.inference_mode():
        for batch in frame_loader(frames, SETTINGS.batch_size, shuffle=False):
            bumps = SETTINGS.sigma, SETTINGS.least_sigma, SETTINGS.dropped_radius, SETTINGS.most_spread
            losses.append(float(loss(network(batch.maps), *encode_batch(batch, network.cells, *bumps))))
    assert np.mean(losses) == pytest.approx(report.validation_loss, rel=1e-4)


def test_classes_are_learned_where_labels_have_them_and_named_in_unseen_scenes(scenes, tmp_path):
    """In every other frame the targets are slow: vans. Of one label in ten the class is not known."""

    def told(number):
        recording, labels = scenes.recording(number)
        slow = np.arange(len(recording)) % 2 == 1
        speeds = np.where(slow[:, None, None], 0.15, 1.0).astype(np.float32) * recording.velocity
        recording = replace(recording, velocity=speeds, store=tmp_path / f'slow_{number}')
        label = np.where(slow[labels.frame], 'van', 'car')
        return recording, replace(labels, label=np.where(np.arange(len(labels)) % 10 == 9, '', label))

    recordings, labels = zip(*(told(number) for number in range(8)), strict=True)
    # a class that validation alone has is not learned
    strange = np.where(np.arange(len(labels[7])) == 0, 'tram', labels[7].label)
    labels = (*labels[:7], replace(labels[7], label=strange))
    out = tmp_path / 'named.safetensors'
    report = train_localizer(
        recordings[:6], LabelSet('mcl_em', 'one', labels), SETTINGS, out, validation=recordings[6:]
    )
    checkpoint = load_checkpoint(out, 'localizer')
    assert report.classes == ('car', 'van') == network_of(checkpoint).classes
    assert report.calibration.class_accuracy > 0.8 and checkpoint.calibration['class_temperature'] > 0
    localizer = NetworkLocalizer(NetworkLocalizerSettings(str(out), threshold=0.4))
    names = []
    for number in (20, 21):
        recording, _ = told(number)
        localizer.reset()
        for index in range(len(recording)):
            found = localizer.localize(recording.heatmap(index))
            names += [(target.label, 'van' if index % 2 else 'car') for target in found]
    assert len(names) > 40 and np.mean([one == other for one, other in names]) > 0.8


@pytest.mark.parametrize(
    ('wanted', 'learned'), [((), ()), ('auto', ('a', 'b')), (['b', 'a'], ('b', 'a')), (('a', 'c'), None)]
)
def test_classes_are_chosen_by_the_settings(scenes, wanted, learned):
    _, labels = scenes.recording(1)
    labels = replace(labels, label=np.array(['a', 'b'])[np.arange(len(labels)) % 2])
    settings = replace(SETTINGS, classes=wanted)
    if learned is None:
        with pytest.raises(TrainingError, match='classes: expected some of a, b, which kept labels have, got c'):
            learned_classes([labels], settings.classes)
        return
    assert learned_classes([labels], settings.classes) == learned
    dropped = replace(labels, kept=labels.label == 'a')
    assert learned_classes([dropped], ('auto',)) == ()  # a single one tells nothing apart


@pytest.mark.parametrize('classes', [('car',), ('car', 'car'), ('car', '')])
def test_classes_that_tell_nothing_apart_are_refused(classes):
    with pytest.raises(ValueError, match='classes: expected two or more names, each once, or none'):
        LocalizerTrainingSettings(classes=classes)


def test_a_share_of_the_labels_takes_as_many_steps_and_tells_how_few_there_were(scenes, tmp_path):
    recordings, labels = scenes.several(range(8), 24)
    settings = replace(SHORT, run=replace(SHORT.run, epochs=1), label_share=0.25)
    report = train_localizer(recordings[:5], labels, settings, tmp_path / 'few.safetensors', validation=recordings[5:])
    provenance = load_checkpoint(report.checkpoint, 'localizer').provenance
    assert (report.frames, provenance['frames'], provenance['validation_frames']) == (30, 30, 18)
    assert provenance['label_share'] == provenance['settings']['label_share'] == 0.25
    assert 10 <= provenance['kept_labels'] == report.labels < 0.5 * sum(len(each) for each in labels)
    assert report.calibration.frames == 18 and provenance['validation_kept_labels'] >= 10
    metrics = next(report.checkpoint.with_suffix('.run').glob('log/version_0/metrics.csv')).read_text().splitlines()
    steps = max(int(row[metrics[0].split(',').index('step')]) for row in (line.split(',') for line in metrics[1:]))
    assert steps + 1 == 5 * 24 / SHORT.batch_size
    with pytest.raises(TrainingError, match='label_share: expected at least 10 kept labels for validation, got'):
        train_localizer(
            recordings[:5], labels, replace(settings, label_share=0.1), tmp_path / 'none', validation=recordings[5:]
        )


def test_a_fusion_network_is_trained_on_pictures_of_one_pose(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), 24)
    camera = {'fusion': True, 'picture_input': PictureInputSettings((8, 12)), 'camera': CameraSettings(8, 8)}
    settings = replace(SHORT, run=replace(SHORT.run, epochs=1), **camera)
    report = train_localizer(recordings, labels, settings, tmp_path / 'both.safetensors')
    checkpoint = load_checkpoint(report.checkpoint, 'fusion')
    assert checkpoint.architecture['picture'] == {'size': [8, 12], 'background_frames': 50}
    network = network_of(checkpoint)
    assert isinstance(network, FusionNetwork) and network.picture_size == (8, 12)
    assert 'threshold' in checkpoint.calibration and np.isfinite(report.validation_loss)
    turned = [*recordings[:2], replace(recordings[2], group='other')]
    with pytest.raises(TrainingError, match='fusion: expected bags of one camera pose, which has a name, got 2 poses'):
        train_localizer(turned, labels, settings, tmp_path / 'none.safetensors')
    shifted = replace(settings, variation=VariationSettings(shift=(1, 0)))
    with pytest.raises(ValueError, match=r'shift: expected \(0, 0\), for pictures would not move along'):
        train_localizer(recordings, labels, shifted, tmp_path / 'none.safetensors')


def test_losses_are_logged(trained):
    report, _ = trained
    logs = list(report.checkpoint.with_suffix('.run').glob('log/version_0/metrics.csv'))
    assert len(logs) == 1 and 'validation_loss' in logs[0].read_text()


def test_a_run_that_was_killed_goes_on_with_equal_results(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), 24)

    def train(name, resume=False, on_epoch=None):
        return train_localizer(
            recordings, labels, SHORT, tmp_path / f'{name}.safetensors', resume=resume, on_epoch=on_epoch
        )

    def kill(epoch):
        if epoch.number == 2:
            raise _KillError

    whole = train('whole')
    with pytest.raises(_KillError):
        train('broken', on_epoch=kill)
    assert not (tmp_path / 'broken.safetensors').exists()
    numbers = []
    resumed = train('broken', resume=True, on_epoch=lambda epoch: numbers.append(epoch.number))
    assert numbers == [2, 3]
    assert resumed.validation_loss == whole.validation_loss and resumed.calibration == whole.calibration
    one, other = (load_checkpoint(each.checkpoint).weights for each in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = train('broken', resume=True)  # nothing is left to be done
    assert again.calibration == whole.calibration


def test_a_run_that_is_told_to_end_says_so_and_leaves_no_model(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), 24)
    out = tmp_path / 'model.safetensors'
    with pytest.raises(TrainingError, match='ended by SIGTERM in epoch .; resume goes on'):
        train_localizer(recordings, labels, SHORT, out, on_epoch=lambda epoch: os.kill(os.getpid(), signal.SIGTERM))
    assert not out.exists()
    assert train_localizer(recordings, labels, SHORT, out, resume=True).epochs == SHORT.run.epochs


def test_a_run_that_ended_early_stays_as_it_is_when_resumed(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), 24)
    settings = replace(SHORT, run=replace(SHORT.run, epochs=5, patience=1), learning_rate=1e-30)  # nothing gets better
    ended = train_localizer(recordings, labels, settings, tmp_path / 'model.safetensors')
    assert ended.epochs == 2
    told = []
    resumed = train_localizer(
        recordings, labels, settings, tmp_path / 'model.safetensors', resume=True, on_epoch=told.append
    )
    assert (told, resumed.epochs, resumed.validation_loss) == ([], 2, ended.validation_loss)


def test_another_run_is_not_gone_on_with(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), 24)
    settings = replace(SHORT, run=replace(SHORT.run, epochs=1))
    train_localizer(recordings, labels, settings, tmp_path / 'model.safetensors')
    other = replace(settings, learning_rate=2e-2)
    with pytest.raises(TrainingError, match=r'a run of other settings.learning_rate: expected 0.01 to go on, got 0.02'):
        train_localizer(recordings, labels, other, tmp_path / 'model.safetensors', resume=True)
    with pytest.raises(TrainingError, match='a run of other labels_content'):  # though as many, by the same method
        train_localizer(recordings, _noisy(labels), settings, tmp_path / 'model.safetensors', resume=True)


def test_a_folder_that_cannot_be_written_is_named(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), 24)
    (tmp_path / 'file').write_text('in the way', encoding='utf-8')
    with pytest.raises(TrainingError, match=r'file/model\.run: expected a folder for the run that can be written'):
        train_localizer(recordings, labels, SHORT, tmp_path / 'file' / 'model.safetensors')


def test_the_end_of_a_single_recording_is_held_out_and_nothing_is_learned_from_it(scenes, tmp_path):
    (recording, labels), end = scenes.recording(0, 60), 48
    later = labels.frame >= end
    labels = replace(labels, range=labels.range + 9 * later, label=np.where(later, 'van', 'car'))
    settings = replace(SHORT, run=replace(SHORT.run, epochs=1))

    def train(labels, name, **changes):
        whole = LabelSet('mcl_em', 'one', (labels,))
        return train_localizer([recording], whole, replace(settings, **changes), tmp_path / f'{name}.safetensors')

    report = train(labels, 'model')
    assert (report.frames, report.calibration.frames) == (end, 60 - end)
    assert report.labels == np.count_nonzero(~later) and report.classes == ()
    own = np.quantile(labels.range[~later], (settings.sector.range_tail, 1 - settings.sector.range_tail))
    limits = report.calibration.calibration
    assert (limits.min_range, limits.max_range) == pytest.approx((own[0] - 1, own[1] + 1))
    for kept, said in ((later, 'labels: expected at least one that was kept'), (~later, 'validation: expected kept')):
        with pytest.raises(TrainingError, match=said):
            train(replace(labels, kept=kept), 'none')
    with pytest.raises(TrainingError, match='classes: expected some of car, .* got van'):
        train(labels, 'none', classes=('car', 'van'))


@pytest.mark.parametrize('count', [1, 2, 3, 7])
def test_no_frame_is_trained_on_and_validated_on_and_none_is_left_out(scenes, count):
    recordings, _ = scenes.several(range(count), 24)
    parts = hold_out(recordings, (), 0.25)
    frames = [
        {(each.name, frame) for each in some for frame in range(*(round(24 * share) for share in span))}
        for some, span in ((parts.training, parts.training_span), (parts.validation, parts.validation_span))
    ]
    assert not frames[0] & frames[1] and len(frames[0] | frames[1]) == 24 * count
    assert 0.25 * 24 * count <= len(frames[1]) <= 0.34 * 24 * count


def test_ranges_are_learned_from_the_labels_of_training_alone(trained, scenes):
    report, _ = trained
    _, labels = scenes.several(range(8))
    ranges = np.concatenate([each.range for each in _noisy(labels)][:6])
    own = np.quantile(ranges, (SETTINGS.sector.range_tail, 1 - SETTINGS.sector.range_tail))
    limits = load_checkpoint(report.checkpoint).calibration
    assert (limits['min_range'], limits['max_range']) == pytest.approx((own[0] - 1, own[1] + 1))


def test_data_that_cannot_be_learned_from_are_refused(scenes, tmp_path):
    recordings, labels = scenes.several(range(3), 24)
    out = tmp_path / 'model.safetensors'
    with pytest.raises(TrainingError, match='recordings: expected at least one'):
        train_localizer([], labels, SHORT, out)
    with pytest.raises(LabelError, match='scene_4'):
        train_localizer([*recordings, scenes.recording(4)[0]], labels, SHORT, out)
    with pytest.raises(TrainingError, match='scene_1: expected recordings for training or for validation'):
        train_localizer(recordings, labels, SHORT, out, validation=recordings[1:2])
    dropped = tuple(replace(each, kept=np.zeros(len(each), bool)) for each in labels)
    with pytest.raises(TrainingError, match='expected at least one that was kept'):
        train_localizer(recordings, replace(labels, recordings=dropped), SHORT, out)
    without, its = scenes.recording(5, 24, velocity=False)
    with pytest.raises(ValueError, match="velocity: expected a radar that measures it, for the channel 'moving'"):
        train_localizer([without], replace(labels, recordings=(its,)), SHORT, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: RunSettings(epochs=0), 'epochs: expected a whole number from 1 on, got 0'),
        (lambda: RunSettings(precision='8-true'), 'precision: expected one of 32-true, bf16-mixed, 16-mixed'),
        (lambda: LocalizerTrainingSettings(batch_size=0), 'batch_size'),
        (lambda: LocalizerTrainingSettings(averaging=1.0), 'averaging: expected a share from 0 to below 1'),
        (
            lambda: LocalizerTrainingSettings(label_share=0.0),
            'label_share: expected a share from above 0 to 1, got 0.0',
        ),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_processes_share_an_epoch(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    parts = []
    for rank in ('0', '1'):
        monkeypatch.setenv('RANK', rank)
        sampler = EpochSampler(11, 3, seed=1)
        sampler.set_epoch(2)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == 2
    assert {number for part in parts for batch in part for number in batch} == set(range(11))
    assert len(list(EpochSampler(11, 3, split=False))) == 4


def test_two_processes_train_one_model(tmp_path):
    for rank in range(2):
        (tmp_path / f'arrays_{rank}').mkdir()
    here = Path(__file__)
    script = [str(here.with_name('train_together.py')), str(here.with_name('conftest.py')), str(tmp_path)]
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*torchrun, *script], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    assert first['loss'] == second['loss'] and first['calibration'] == second['calibration']
    assert (first['epochs'], second['epochs']) == ([1, 2], [])
    assert load_checkpoint(tmp_path / 'model.safetensors').provenance['frames'] == 32
