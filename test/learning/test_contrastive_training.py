# SPDX-License-Identifier: Apache-2.0
"""Contrastive training: it finds targets that nobody has shown it, goes on after a kill as before, and refuses."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from radio_visual_ssl.learning.attention_picture import (
    draw_attention,
    draw_attention_panels,
    groups_of_near,
    most_masked,
)
from radio_visual_ssl.learning.contrastive_data import ContrastiveFrames, SceneSampler
from radio_visual_ssl.learning.contrastive_model import ContrastiveModel, EncoderSettings
from radio_visual_ssl.learning.contrastive_training import ContrastiveTrainingSettings, train_contrastive
from radio_visual_ssl.learning.recording_inputs import recording_inputs
from radio_visual_ssl.learning.training_run import RunSettings, TrainingError
from radio_visual_ssl.models.attention import find_peaks
from radio_visual_ssl.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from radio_visual_ssl.models.radar_input import RadarInputSettings

WIDTH, HEIGHT = 32, 24
SIDE = 5
SETTINGS = ContrastiveTrainingSettings(
    radar_input=RadarInputSettings(channels=('change',)),
    encoders=EncoderSettings(
        embedding_dim=16, radio_width=8, strides=((2, 1), (1, 1)), coordinate_bands=3, backbone_width=8, image_width=32
    ),
    run=RunSettings(epochs=6, accelerator='cpu'),
    scenes=4,
    frames_per_scene=6,
    steps=40,
    exclusion_s=0.3,
    learning_rate=1e-2,
)
SHORT = replace(SETTINGS, run=replace(SETTINGS.run, epochs=2), steps=3)


def with_pictures(recording, labels):
    """The recording with pictures: each mover is a bright square, the farther the higher, the more left the lefter."""
    frames = len(recording)
    images = np.full((frames, HEIGHT, WIDTH, 3), 90, np.uint8)
    row, column = recording.grid.index(labels.range, labels.azimuth)
    left = np.rint((1 - column / recording.grid.shape[1]) * (WIDTH - SIDE)).astype(int)
    top = np.rint((1 - row / recording.grid.shape[0]) * (HEIGHT - SIDE)).astype(int)
    for frame, x, y in zip(labels.frame, left, top, strict=True):
        images[frame, y : y + SIDE, x : x + SIDE] = (230, 40, 60)
    count = len(labels.frame)
    bits = np.packbits(np.ones(SIDE * SIDE, np.bool_))
    arrays = {
        **recording._arrays,
        'mask_boxes': np.column_stack((left, top, np.full((count, 2), SIDE))),
        'mask_bits': np.tile(bits, count),
        'mask_offsets': np.arange(count + 1) * bits.size,
        'mask_flags': np.zeros((count, 3), np.bool_),
        'mask_numbers': np.zeros(count, np.int64),
        'mask_scores': np.ones(count),
        'mask_fragments': np.ones(count, np.int64),
    }
    return replace(
        recording,
        images=images,
        image_size=(WIDTH, HEIGHT),
        mask_starts=np.searchsorted(labels.frame, np.arange(frames + 1)),
        store=recording.store.with_name(f'{recording.store.name}_pictures'),
        _arrays=arrays,
    )


@pytest.fixture(scope='module')
def pairs(scenes):
    """Recordings with pictures, and where the targets truly are."""
    made = [scenes.recording(number, 60) for number in range(8)]
    return [with_pictures(*each) for each in made], [labels for _, labels in made]


@pytest.fixture(scope='module')
def trained(pairs, tmp_path_factory):
    """A masked model with its report."""
    recordings, _ = pairs
    out = tmp_path_factory.mktemp('contrastive') / 'mcl.safetensors'
    return train_contrastive(recordings[:6], SETTINGS, out, validation=recordings[6:])


def peak_errors(model, recording, labels):
    """m, from the peak of each mask's attention to where its target is."""
    maps = model.attention(recording, np.arange(len(recording)))
    peaks = find_peaks(torch.from_numpy(maps))
    range_, azimuth = model.cells.decode(peaks.row.numpy(), peaks.column.numpy())
    return np.hypot(
        range_ * np.cos(azimuth) - labels.range * np.cos(labels.azimuth),
        range_ * np.sin(azimuth) - labels.range * np.sin(labels.azimuth),
    )


class TestMasked:
    def test_attention_peaks_stand_on_targets_of_scenes_that_were_not_trained_on(self, pairs, trained):
        recordings, labels = pairs
        model = ContrastiveModel.load(trained.checkpoint)
        errors = np.concatenate([peak_errors(model, *each) for each in zip(recordings[6:], labels[6:], strict=True)])
        assert np.median(errors) < 1.0  # two bins; a guess would be off by 7 m
        assert trained.peak_superiority > 0.65

    def test_the_picture_shows_each_mask_and_its_attention_in_one_colour(self, pairs, trained, tmp_path):
        recording, frame = most_masked(pairs[0][6:])[0]
        counts = np.diff(recording.mask_starts)
        assert (counts[frame], int(np.argmax(counts == counts.max()))) == (counts.max(), frame)
        model = ContrastiveModel.load(trained.checkpoint)
        drawn = cv2.imread(str(draw_attention(recording, frame, model, tmp_path / 'new' / 'attention.png')))
        blue = np.all(np.abs(drawn.astype(int) - (0xE9, 0xB4, 0x56)) < 6, axis=2)  # of the first mask
        middle = drawn.shape[1] // 2
        assert blue[:, :middle].any() and blue[:, middle:].any()
        none = replace(recording, mask_starts=np.zeros_like(recording.mask_starts))
        assert most_masked([none]) == []

    def test_masks_and_peaks_are_numbered_so_that_an_attention_under_another_one_is_told(self, pairs, trained):
        recording, frame = most_masked(pairs[0][6:])[0]
        figure = Figure()
        axes = figure.subplots(1, 2)
        draw_attention_panels(*axes, recording, frame, ContrastiveModel.load(trained.checkpoint))
        count = int(np.diff(recording.mask_starts)[frame])
        numbers = [str(number + 1) for number in range(count)]
        assert [text.get_text() for text in axes[0].texts] == numbers
        at_peaks = ', '.join(text.get_text() for text in axes[1].texts).split(', ')
        assert sorted(at_peaks, key=int) == numbers

    def test_places_that_fall_together_are_one_group(self):
        places = np.array([(0.0, 10.0), (5.0, 10.0), (0.5, 10.5), (5.0, 11.5), (0.0, 9.0)])
        assert groups_of_near(places, 1.0) == [[0, 2, 4], [1], [3]]

    def test_the_report_tells_what_was_trained_on(self, pairs, trained):
        report = trained.to_json()
        assert report['queries'] == sum(recording.instances for recording in pairs[0][:6])
        assert report['epochs'] == 6
        assert report['samples_per_s'] > 0

    def test_the_checkpoint_tells_its_radar_and_its_making(self, trained):
        checkpoint = load_checkpoint(trained.checkpoint, 'contrastive')
        assert checkpoint.radar.name == 'one'
        assert checkpoint.architecture['objective'] == 'mcl'
        assert checkpoint.provenance['validation'] == ['scene_6', 'scene_7']

    def test_masks_of_a_frame_have_maps_of_their_own_in_order(self, pairs, trained):
        model = ContrastiveModel.load(trained.checkpoint)
        recording = next(each for each in pairs[0] if np.diff(each.mask_starts).max() > 1)
        frame = int(np.argmax(np.diff(recording.mask_starts)))
        alone = model.attention(recording, np.array([frame]))
        among = model.attention(recording, np.array([0, frame]))
        assert alone.shape == (2, *model.cells.shape)
        assert np.abs(alone[0] - alone[1]).max() > 1
        np.testing.assert_allclose(among[-2:], alone, atol=1e-4)


class TestScenes:
    def test_a_scene_model_is_trained_without_any_mask_and_read_out_against_other_frames(self, pairs, tmp_path):
        recordings, labels = pairs
        settings = replace(SETTINGS, objective='scl')
        bare = [replace(each, mask_starts=np.zeros(len(each) + 1, np.int64)) for each in recordings]
        report = train_contrastive(bare[:6], settings, tmp_path / 'scl.safetensors', validation=bare[6:])
        assert report.queries == 6 * 60
        model = ContrastiveModel.load(report.checkpoint)
        one = next(n for n in (6, 7) if np.diff(recordings[n].mask_starts).max() == 1)
        errors = peak_errors(model, recordings[one], labels[one])
        assert np.median(errors) < 3.0


class TestWithoutNegatives:
    def test_a_model_is_trained_and_each_mask_has_an_attention_of_its_own_as_with_negatives(self, pairs, tmp_path):
        recordings, _ = pairs
        settings = replace(SHORT, objective='vicreg', temperature=0.2)
        report = train_contrastive(recordings[:6], settings, tmp_path / 'x.safetensors', validation=recordings[6:])
        model = ContrastiveModel.load(report.checkpoint)
        assert model.objective == 'vicreg'
        recording = next(each for each in recordings if np.diff(each.mask_starts).max() > 1)
        frame = int(np.argmax(np.diff(recording.mask_starts)))
        maps = torch.from_numpy(model.attention(recording, np.array([frame])))
        images = torch.from_numpy(recording.images[[frame, frame]]).movedim(3, 1).float() / 255
        masks = np.stack([mask.full() for mask in recording.masks(frame)])
        queries = model.queries(images, torch.from_numpy(masks)[:, None].float())
        inputs = recording_inputs(recording, SETTINGS.radar_input)[[frame]]
        keys = model.keys(torch.from_numpy(inputs.astype(np.float32)))
        torch.testing.assert_close(maps, torch.einsum('qd,drc->qrc', queries, keys[0]) / 0.2, atol=1e-3, rtol=0)


class TestSoftNegatives:
    def test_a_weight_of_nothing_changes_nothing_and_another_one_the_model(self, pairs, tmp_path):
        weights = []
        for number, soft in enumerate((None, 0.0, 1.0)):
            settings = SHORT if soft is None else replace(SHORT, soft_negatives=soft)
            out = tmp_path / f'{number}.safetensors'
            train_contrastive(pairs[0][:6], settings, out, validation=pairs[0][6:])
            weights.append(load_checkpoint(out).weights['vision.look.weight'])
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])


class TestRuns:
    def test_a_killed_run_goes_on_to_equal_weights(self, pairs, tmp_path):
        recordings, _ = pairs
        whole = train_contrastive(recordings[:6], SHORT, tmp_path / 'a.safetensors', validation=recordings[6:])

        class KilledError(Exception):
            pass

        def kill(epoch):
            raise KilledError

        out = tmp_path / 'b.safetensors'
        with pytest.raises(KilledError):
            train_contrastive(recordings[:6], SHORT, out, validation=recordings[6:], on_epoch=kill)
        resumed = train_contrastive(recordings[:6], SHORT, out, validation=recordings[6:], resume=True)
        one, other = (load_checkpoint(each.checkpoint).weights for each in (whole, resumed))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert resumed.epochs == 2
        again = train_contrastive(recordings[:6], SHORT, out, validation=recordings[6:], resume=True)
        told = {(each.validation_loss, each.peak_superiority) for each in (whole, resumed, again)}
        assert len(told) == 1  # those of the epoch that was chosen, in whichever part of the run it was

    def test_a_damaged_state_is_named(self, pairs, tmp_path):
        out = tmp_path / 'x.safetensors'
        train_contrastive(pairs[0][:3], SHORT, out)
        last = out.with_suffix('.run') / 'last.ckpt'
        for damaged in (last.read_bytes()[:5000], b'text', b''):
            last.write_bytes(damaged)
            with pytest.raises(TrainingError, match=r'last\.ckpt: expected the state of a run, got a damaged file'):
                train_contrastive(pairs[0][:3], SHORT, out, resume=True)

    @pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
    def test_a_gpu_that_is_not_there_is_told(self, pairs, tmp_path):
        settings = replace(SHORT, run=replace(SHORT.run, accelerator='gpu'))
        with pytest.raises(TrainingError, match='accelerator: expected auto or cpu'):
            train_contrastive(pairs[0][:3], settings, tmp_path / 'x.safetensors')

    def test_of_few_bags_the_ends_are_held_out(self, pairs, tmp_path):
        frames = ContrastiveFrames(pairs[0][:2], SETTINGS.radar_input, WIDTH, span=(0.0, 0.8))
        sampled = {frame for batch in SceneSampler(frames, 2, 6, 40) for _, frame, _ in batch}
        assert max(sampled) == 47
        assert len(frames) == 96
        report = train_contrastive(pairs[0][:1], SHORT, tmp_path / 'x.safetensors')
        assert report.frames == 48
        whole = pairs[0][0]
        starts = np.minimum(whole.mask_starts, whole.mask_starts[48])  # no mask from frame 48 on
        begun = replace(whole, mask_starts=starts, store=tmp_path / 'begun')
        with pytest.raises(TrainingError, match='validation: expected recordings with clear masks of targets'):
            train_contrastive([begun], SHORT, tmp_path / 'none.safetensors')

    def test_batches_hold_frames_of_several_scenes_and_depend_on_seed_and_epoch_alone(self, pairs):
        frames = ContrastiveFrames(pairs[0], SETTINGS.radar_input, WIDTH)
        sampler = SceneSampler(frames, 3, 6, 4, seed=1)
        first = list(sampler)
        assert list(sampler) == first
        sampler.set_epoch(1)
        assert list(sampler) != first
        assert list(SceneSampler(frames, 3, 6, 4, seed=1)) == first != list(SceneSampler(frames, 3, 6, 4, seed=2))
        for batch in first:
            assert len({recording for recording, _, _ in batch}) == 3
            assert any(asked for _, _, asked in batch)
        batch = frames.__getitems__(first[0])
        assert len(batch.masks) == len(batch.query_frame)
        assert batch.background.min() == 0  # a target is blacked out

    def test_bags_without_clear_masks_are_refused_by_name(self, pairs, tmp_path):
        bare = [replace(each, mask_starts=np.zeros(len(each) + 1, np.int64)) for each in pairs[0][:3]]
        with pytest.raises(TrainingError, match='scene_0.*clear mask'):
            train_contrastive(bare, SHORT, tmp_path / 'x.safetensors')

    def test_a_bag_cannot_be_trained_on_and_validate(self, pairs, tmp_path):
        with pytest.raises(TrainingError, match='scene_1: expected recordings for training or for validation'):
            train_contrastive(pairs[0][:3], SHORT, tmp_path / 'x.safetensors', validation=pairs[0][1:2])
        copied = [*pairs[0][:3], replace(pairs[0][1], name='copy')]  # which might be held out
        with pytest.raises(TrainingError, match='copy: expected each bag once, got the content of scene_1'):
            train_contrastive(copied, SHORT, tmp_path / 'x.safetensors')

    def test_weights_that_do_not_fit_are_refused(self, trained, tmp_path):
        checkpoint = load_checkpoint(trained.checkpoint)
        wrong = dict(checkpoint.architecture, encoders={**checkpoint.architecture['encoders'], 'embedding_dim': 8})
        path = save_checkpoint(tmp_path / 'wrong.safetensors', replace(checkpoint, architecture=wrong))
        with pytest.raises(CheckpointError, match='expected weights that fit'):
            ContrastiveModel.load(path)

    @pytest.mark.parametrize(
        ('name', 'value'),
        [
            ('objective', 'moco'),
            ('soft_negatives', 1.1),
            ('frames_per_scene', 1),
            ('learning_rate', 0),
            ('empty_share', 1.0),
            ('held_out', 0.0),
        ],
    )
    def test_settings_out_of_range_are_named(self, name, value):
        with pytest.raises(ValueError, match=name):
            replace(SETTINGS, **{name: value})

    @pytest.mark.parametrize('objective', ['scl', 'vicreg'])
    def test_what_an_objective_does_not_know_is_refused(self, objective):
        with pytest.raises(ValueError, match=f'soft_negatives: expected none with {objective}, got 0.5'):
            replace(SETTINGS, objective=objective, soft_negatives=0.5)

    def test_a_checkpoint_of_an_unknown_objective_is_refused(self, trained, tmp_path):
        checkpoint = load_checkpoint(trained.checkpoint)
        other = replace(checkpoint, architecture={**checkpoint.architecture, 'objective': 'moco'})
        path = save_checkpoint(tmp_path / 'other.safetensors', other)
        with pytest.raises(CheckpointError, match="objective: expected one of mcl, vicreg, scl, got 'moco'"):
            ContrastiveModel.load(path)
