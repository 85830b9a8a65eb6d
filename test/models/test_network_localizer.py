# SPDX-License-Identifier: Apache-2.0
"""The learned localizer behind the common interface: what it reports, takes over and refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_visual_ssl.models import network_localizer
from radio_visual_ssl.models.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from radio_visual_ssl.models.localizer import LocalizerNetwork, LocalizerOutput
from radio_visual_ssl.models.network_localizer import (
    LocalizerCalibration,
    NetworkLocalizer,
    network_of,
)
from radio_visual_ssl.models.network_settings import (
    NetworkLocalizerSettings,
    load_network_settings,
    shipped_model,
)
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.localizer import WithholdingLocalizer
from radio_visual_ssl.radar.target import Target

GRID = PolarGrid(np.arange(60) * 0.5, np.arcsin(np.linspace(-0.95, 0.95, 32)))
ARCHITECTURE = {'width': 6, 'kernel': 3, 'stride': [2, 2], 'dilations': [1], 'coordinate_bands': 1}


def _heatmap(seed=0, grid=GRID, **changes):
    values = np.random.default_rng(seed).normal(0, 2, grid.shape).astype(np.float32)
    fields = {'reference': Reference.NOISE_FLOOR, 'noise_floor': 0.0, 'radar': 'one', 'bandwidth': 400e6}
    return Heatmap(values, grid, **{**fields, 'velocity': np.full(grid.shape, 1.5, np.float32), **changes})


def _checkpoint(calibration=None, radar_input=RadarInputSettings(max_range=24.0), **changes):
    torch.manual_seed(0)
    grid = RadarInput(radar_input, GRID).grid
    network = LocalizerNetwork(grid, len(radar_input.channels), 6, 3, (2, 2), (1,), 1)
    checkpoint = Checkpoint(
        'localizer',
        network.state_dict(),
        RadarGeometry.of(_heatmap(formation='clutter_removal=static')),
        radar_input,
        ARCHITECTURE,
        {'threshold': 0.005} if calibration is None else calibration,
    )
    return replace(checkpoint, **changes)


def _localizer(checkpoint=None, **settings):
    return NetworkLocalizer(NetworkLocalizerSettings(**settings), checkpoint=checkpoint or _checkpoint())


def _output(localizer, *targets):
    """What a perfect network would say of targets (m, rad, log-odds)."""
    cells = network_of(localizer.checkpoint).cells
    centre = torch.full((1, *cells.shape), -12.0)
    offset = torch.zeros(1, 2, *cells.shape)
    for range_, azimuth, logit in targets:
        row, column = (float(each) for each in cells.index(range_, azimuth))
        centre[0, round(row), round(column)] = logit
        offset[0, :, round(row), round(column)] = torch.tensor([row - round(row), column - round(column)])
    return LocalizerOutput(centre, offset, torch.zeros_like(offset))


def test_a_checkpoint_from_a_file_gives_what_its_network_gives(tmp_path):
    path = save_checkpoint(tmp_path / 'model.safetensors', _checkpoint())
    ours, its = _localizer(), NetworkLocalizer(NetworkLocalizerSettings(str(path), 'cpu'))
    for seed in range(4):
        one, other = (each.localize(_heatmap(seed)) for each in (ours, its))
        assert one and [target.x for target in one] == [target.x for target in other]
        scores = [target.score for target in one]
        assert scores == sorted(scores, reverse=True) and min(scores) >= 0.005


def test_the_height_of_the_radar_is_taken_out():
    """Truth as a mast reads it comes back to its place on the ground."""
    truth = [Target(9.0, -4.0, z=-4.0, size=(4, 2, 1.6)), Target(3.0, 2.5, z=-4.0, size=(4, 2, 1.6))]
    localizer = _localizer(radar_height=3.2)
    output = _output(localizer, *((each.slant_range, each.cone_angle, 3.0 - i) for i, each in enumerate(truth)))
    found = localizer.targets(output, _heatmap())
    for target, true in zip(found, truth, strict=True):
        assert (target.x, target.y, target.z) == pytest.approx((true.x, true.y, -3.2), abs=1e-3)
    flat = _localizer().targets(output, _heatmap())
    assert flat[1].range > found[1].range + 1


def test_a_constant_from_the_surface_to_the_centre_is_added_along_range():
    place = (15.0, 0.4, 2.0)
    (near,) = _localizer().targets(_output(_localizer(), place), _heatmap())
    (centre,) = _localizer(surface_to_centre=0.8).targets(_output(_localizer(), place), _heatmap())
    assert (centre.range - near.range, centre.azimuth) == pytest.approx((0.8, near.azimuth), abs=1e-6)


def test_scores_and_variances_are_calibrated_and_the_threshold_is_the_checkpoints():
    calibration = {'slope': 0.5, 'intercept': -1.0, 'threshold': 0.25, 'range_variance': 4.0, 'azimuth_variance': 9.0}
    localizer = _localizer(_checkpoint(calibration))
    plain = _localizer()
    output = _output(localizer, (15.0, 0.0, 2.0), (9.0, 0.3, -1.0))
    (found,) = localizer.targets(output, _heatmap())
    assert found.score == pytest.approx(0.5, abs=1e-6)  # 0.5 * 2 - 1
    first = plain.targets(output, _heatmap())[0].covariance
    np.testing.assert_allclose(np.diag(found.covariance), np.diag(first) * [4, 9], rtol=0.02)
    assert len(_localizer(_checkpoint(calibration), threshold=0.1).targets(output, _heatmap())) == 2


def test_what_is_withheld_is_what_a_lower_threshold_would_add(monkeypatch):
    monkeypatch.setattr(network_localizer, 'LEAST_SCORE', 0.005)  # an untrained network's scores are low
    whole = _localizer().localize(_heatmap())
    threshold = (whole[2].score + whole[3].score) / 2
    localizer = _localizer(_checkpoint({'threshold': threshold}))
    assert isinstance(localizer, WithholdingLocalizer)
    reported, withheld = localizer.localize_all(_heatmap())
    assert len(reported) == 3 and withheld
    assert [target.x for target in (*reported, *withheld)] == [target.x for target in whole]
    alone = _localizer(_checkpoint({'threshold': threshold})).localize(_heatmap())
    assert [target.x for target in alone] == [target.x for target in reported]


def test_nothing_is_said_of_ranges_that_were_never_learned_from():
    localizer = _localizer(_checkpoint({'threshold': 0.3, 'min_range': 8.0, 'max_range': 16.0}))
    output = _output(localizer, (15.0, 0.0, 2.0), (17.0, 0.3, 3.0), (7.0, -0.3, 1.0), (9.0, 0.2, 0.5))
    assert [target.range for target in localizer.targets(output, _heatmap())] == pytest.approx([15.0, 9.0], abs=0.01)
    assert len(_localizer(_checkpoint({'threshold': 0.3})).targets(output, _heatmap())) == 4
    for wrong in ({'min_range': 9.0, 'max_range': 8.0}, {'min_range': -1.0}, {'max_range': float('inf')}):
        with pytest.raises(ValueError, match='calibration: expected ranges from min_range up to max_range'):
            LocalizerCalibration.of(wrong)


def test_calibrated_scores_go_back_to_raw_ones():
    calibration = LocalizerCalibration(0.7, -0.4)
    assert [calibration.raw(float(calibration.score(raw))) for raw in (0.02, 0.5, 0.9)] == pytest.approx(
        [0.02, 0.5, 0.9]
    )
    assert (calibration.raw(0.0), calibration.raw(1.0)) == (0.0, 1.0)


def test_targets_tell_velocity_and_signal_to_noise_ratio():
    localizer, heatmap = _localizer(), _heatmap(noise_floor=-3.0)
    place = float(GRID.range[30]), float(GRID.azimuth[16])
    (found,) = localizer.targets(_output(localizer, (*place, 2.0)), heatmap)
    assert found.radial_velocity == 1.5
    assert found.snr == pytest.approx(float(heatmap.values[30, 16]) + 3.0)


def test_a_target_is_named_by_its_class_where_that_is_likely_enough():
    classes = ('bus', 'car', 'van')
    architecture = {**ARCHITECTURE, 'classes': list(classes)}
    torch.manual_seed(0)
    network = LocalizerNetwork(RadarInput(RadarInputSettings(max_range=24.0), GRID).grid, 3, 6, 3, 2, (1,), 1, classes)
    calibration = {'threshold': 0.3, 'class_temperature': 2.0}
    changes = {'weights': network.state_dict(), 'architecture': architecture}
    localizer, sure = (_localizer(_checkpoint(calibration, **changes), class_threshold=p) for p in (0.5, 0.7))
    output = _output(localizer, (15.0, 0.0, 3.0), (9.0, 0.3, 2.0))
    cells, logit = network.cells, torch.zeros(1, 3, *output.centre.shape[1:])
    for (range_, azimuth), values in (((15.0, 0.0), (0.0, 4.0, 0.0)), ((9.0, 0.3), (0.0, 0.0, 3.0))):
        row, column = (round(float(each)) for each in cells.index(range_, azimuth))
        logit[0, :, row, column] = torch.tensor(values)
    # e^2 / (e^2 + 2) = 0.79 and e^1.5 / (e^1.5 + 2) = 0.69, with the logits over the temperature
    named = output._replace(class_logit=logit)
    assert [target.label for target in localizer.targets(named, _heatmap())] == ['car', 'van']
    assert [target.label for target in sure.targets(named, _heatmap())] == ['car', '']
    probability = localizer.calibration.class_probability(np.array([[0.0, 4.0, 0.0]]))
    assert probability[0, 1] == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    assert [target.label for target in _localizer().localize(_heatmap())][:1] == ['']  # learned none
    assert {target.label for target in localizer.localize_all(_heatmap())[1]} <= {*classes, ''}


def test_models_that_ship_know_no_classes_and_load_as_ever():
    checkpoint = load_checkpoint(shipped_model('ofdm_28ghz_400mhz_16rx'), 'localizer')
    assert network_of(checkpoint).classes == ()
    assert NetworkLocalizer(checkpoint=checkpoint).calibration.class_temperature == 1.0


def test_a_reset_forgets_the_background():
    localizer = _localizer(_checkpoint(radar_input=RadarInputSettings(('change',))))
    first = [target.score for target in localizer.localize(_heatmap(1))]
    second = [target.score for target in localizer.localize(_heatmap(1))]
    localizer.reset()
    assert [target.score for target in localizer.localize(_heatmap(1))] == first != second


def test_new_settings_go_on_with_network_and_background(tmp_path):
    path = save_checkpoint(tmp_path / 'model.safetensors', _checkpoint())
    one, other = (NetworkLocalizer(NetworkLocalizerSettings(str(path))) for _ in range(2))
    for seed in range(3):
        one.localize(_heatmap(seed)), other.localize(_heatmap(seed))
    path.unlink()
    changed = NetworkLocalizer(NetworkLocalizerSettings(str(path), radar_height=1.0), one)
    expected = [target.score for target in other.localize(_heatmap(5))]
    assert [target.score for target in changed.localize(_heatmap(5))] == expected


@pytest.mark.parametrize(
    ('heatmap', 'message'),
    [
        (_heatmap(radar='two'), "trained for; radar: expected 'one', got 'two'"),
        (_heatmap(bandwidth=1e9), 'bandwidth: expected 400 MHz, got 1000 MHz'),
        (_heatmap(formation='clutter_removal=none'), 'formation .*: expected clutter_removal=static, got .*=none'),
        (_heatmap(reference=Reference.RCS), 'reference of 0 dB: expected NOISE_FLOOR, got RCS'),
        (_heatmap(grid=PolarGrid(GRID.range + 0.2, GRID.azimuth)), 'grid, range bins: expected .* m at .*, got .* m'),
        (_heatmap(velocity=None), "velocity: expected a radar that measures it, for the channel 'moving'"),
    ],
)
def test_another_radar_is_refused(heatmap, message):
    with pytest.raises(ValueError, match=message):
        _localizer().localize(heatmap)


def test_nan_is_refused_and_the_next_heatmap_taken():
    localizer, values = _localizer(), _heatmap().values.copy()
    values[3, 3] = np.nan
    with pytest.raises(ValueError, match='1 of 1920 NaN'):
        localizer.localize(replace(_heatmap(), values=values))
    assert localizer.localize(_heatmap())


def test_models_that_do_not_exist_or_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match='expected the path of a checkpoint.*none.safetensors'):
        NetworkLocalizer(NetworkLocalizerSettings(str(tmp_path / 'none.safetensors')))
    with pytest.raises(ValueError, match='expected a checkpoint or the name of one that ships.*no_such_model'):
        NetworkLocalizer(NetworkLocalizerSettings('no_such_model'))
    with pytest.raises(CheckpointError, match='expected a checkpoint of kind localizer, got contrastive'):
        _localizer(_checkpoint(kind='contrastive'))
    with pytest.raises(
        CheckpointError, match=r'fit the architecture, got size mismatch .* \(the first of \d+ such'
    ) as said:
        _localizer(_checkpoint(architecture={**ARCHITECTURE, 'width': 7}))
    assert '\n' not in str(said.value)
    with pytest.raises(CheckpointError, match='calibration, slope: expected a number, got None'):
        _localizer(_checkpoint({'slope': None}))
    assert shipped_model('a radar that nobody knows') is None
    with pytest.raises(ValueError, match='none ships for radar'):
        NetworkLocalizer().localize(_heatmap(radar='a radar that nobody knows'))


def test_settings_come_from_a_file_and_are_checked(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('threshold: 0.2\nradar_height: 3\n')
    assert load_network_settings(path) == NetworkLocalizerSettings(threshold=0.2, radar_height=3.0)
    path.write_text('treshold: 0.2\n')
    with pytest.raises(ValueError, match='did you mean threshold'):
        load_network_settings(path)
    with pytest.raises(ValueError, match='device: expected one of auto, cpu, cuda'):
        NetworkLocalizerSettings(device='tpu')
    with pytest.raises(ValueError, match='threshold: expected a number from 0 to 1, got 2'):
        NetworkLocalizerSettings(threshold=2)


def test_a_faster_stream_may_learn_its_background_from_every_tenth_heatmap():
    scores = {}
    for interval in (0, 10):
        checkpoint = _checkpoint(radar_input=RadarInputSettings(('change',)))
        localizer = _localizer(checkpoint, background_interval=interval)
        for seed in range(1, 5):
            localizer.localize(_heatmap(seed))
        scores[interval] = [target.score for target in localizer.localize(_heatmap(1))]
    twice = _localizer(_checkpoint(radar_input=RadarInputSettings(('change',))))
    twice.localize(_heatmap(1))
    # a background of the first heatmap alone: the same one again is no change at all
    assert scores[10] == [target.score for target in twice.localize(_heatmap(1))] != scores[0]
