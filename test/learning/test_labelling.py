# SPDX-License-Identifier: Apache-2.0
"""Bags in which boxes cross a yard before a camera and a radar are labelled, by the library and by the command."""

import json
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from typer.testing import CliRunner

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.learning.contrastive_model import ContrastiveModel, Encoders, EncoderSettings
from radio_visual_ssl.learning.label_evaluation import draw_curves, evaluate_labels, read_mask_truth, write_report
from radio_visual_ssl.learning.label_refinement import RefinementSettings
from radio_visual_ssl.learning.label_set import LABEL_TOPIC, LabelError, LabelSet
from radio_visual_ssl.learning.label_settings import SelfLabelSettings
from radio_visual_ssl.learning.labelling import LabellingSettings, default_methods, make_labels, surer_labels
from radio_visual_ssl.learning.recording_evidence import gather_evidence, recording_trajectory, with_detections
from radio_visual_ssl.learning.recording_settings import RecordingSettings
from radio_visual_ssl.learning.recordings import open_recordings
from radio_visual_ssl.learning.self_labels import SelfLabels
from radio_visual_ssl.learning.truth import read_truth
from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.checkpoint import Checkpoint, save_checkpoint
from radio_visual_ssl.models.network_localizer import NetworkLocalizer
from radio_visual_ssl.models.network_settings import NetworkLocalizerSettings
from radio_visual_ssl.models.radar_input import RadarInputSettings
from radio_visual_ssl.radar.geometry import OtherRadarError, RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.target import Target

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_model import write_tiny_model

TYPES = RosbagsTypes()
GRID = PolarGrid(2 + 0.5 * np.arange(56), np.arcsin((np.arange(24) - 11.5) / 14))
SIZE, FOCAL, HEIGHT, PITCH = (160, 120), 110.0, 3.0, 0.2  # px, px, m, rad
START, PERIOD = 1_600_000_000_000_000_000, 500_000_000
WIDTH, TALL = 1.2, 1.6  # m, of the boxes
SETTINGS = LabellingSettings(
    least_masks=40,
    em=SelfLabelSettings(folds=2, restarts=8, restart_frames=120),
    refinement=RefinementSettings(vehicle_depth=0.0),  # boxes of the yard reflect in their middle
)
CAMERA = RecordingSettings(image_width=80, camera_pose='mast')


def box_in_picture(x, y):
    """(left, top, right, bottom) px of a box that stands at (x, y) m."""
    edges = []
    for side in (-WIDTH / 2, WIDTH / 2):
        for z in (-HEIGHT, TALL - HEIGHT):
            depth = x * np.cos(PITCH) - z * np.sin(PITCH)
            row = -(x * np.sin(PITCH) + z * np.cos(PITCH)) / depth
            edges.append((SIZE[0] / 2 - FOCAL * (y + side) / depth, SIZE[1] / 2 + FOCAL * row))
    (left, top), (right, bottom) = np.clip(np.min(edges, axis=0), 0, SIZE), np.clip(np.max(edges, axis=0), 0, SIZE)
    return round(left), round(top), round(right), round(bottom)


def bump(x, y, db):
    range_, azimuth = np.hypot(np.hypot(x, y), HEIGHT), np.arcsin(y / np.hypot(np.hypot(x, y), HEIGHT))
    along = np.exp(-0.5 * ((GRID.range[:, None] - range_) / 0.5) ** 2)
    return 10 ** (db / 10) * along * np.exp(-0.5 * ((GRID.azimuth - azimuth) / 0.06) ** 2)


def detections(labels, stamp):
    """What a detector says of the boxes in a mask: one of them is a cart, of the other it does not know what it is."""
    header = messages.header(stamp, 'camera', TYPES)
    found = []
    for number in (1, 2):
        rows, columns = np.nonzero(labels == number)
        if len(rows):
            position = TYPES('vision_msgs/msg/Point2D')(x=float(columns.mean()), y=float(rows.mean()))
            centre = TYPES('vision_msgs/msg/Pose2D')(position=position, theta=0.0)
            size = float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)
            box = TYPES('vision_msgs/msg/BoundingBox2D')(center=centre, size_x=size[0], size_y=size[1])
            target = Target(1.0, 0.0, label='cart', score=0.9)
            results = messages.targets_to_detections3d([target], stamp, 'camera', TYPES).detections[0].results
            make = TYPES('vision_msgs/msg/Detection2D')
            found.append(make(header=header, results=results if number == 1 else [], bbox=box, id=str(number)))
    return TYPES('vision_msgs/msg/Detection2DArray')(header=header, detections=found)


def write_bag(path, seed, frames=60, truth=True, boxes=2, grid=GRID, speed=None, poles=3):
    random = np.random.default_rng(seed)
    yard = np.random.default_rng(99).integers(70, 90, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    static = sum(bump(*random.uniform((8, -5), (24, 5)), 35) for _ in range(poles))
    with BagWriter(path) as bag:
        info = Heatmap(np.zeros(grid.shape, np.float32), grid, Reference.NOISE_FLOOR, 0.0, None, 'yard')
        bag.write('/radar/heatmap_info', START, messages.heatmap_to_info(info, START, 'radar', TYPES))
        starts, ends = random.uniform((7, -4), (22, 4), (2, 5, 2)), random.uniform((7, -4), (22, 4), (2, 5, 2))
        for frame in range(frames):
            stamp, image, labels = START + frame * PERIOD, yard.copy(), np.zeros(SIZE[::-1], np.uint8)
            power, targets = random.exponential(1.0, GRID.shape) + static, []
            leg, part = divmod(frame / frames * 5, 1)
            for number in range(boxes if frame >= 5 else 0):
                x, y = starts[number, int(leg)] * (1 - part) + ends[number, int(leg)] * part
                left, top, right, bottom = box_in_picture(x, y)
                image[top:bottom, left:right] = (220, 40, 40) if number else (30, 60, 230)
                labels[top:bottom, left:right] = number + 1
                power += bump(x, y, 28 + random.normal(0, 2))
                size = (WIDTH, WIDTH, TALL)
                targets.append(
                    Target(x, y, -HEIGHT - TALL / 2, track_id=number + 1, size=size, heading=0.0, in_camera_view=True)
                )
            if speed is not None:  # of the cart that carries the radar, whose place is wrong where it is infinite
                place = np.array([speed * frame * PERIOD * 1e-9, 0, 0]) if np.isfinite(speed) else np.zeros(3)
                carried = messages.transform_to_message(np.eye(3), place, stamp, TYPES, parent='odom', child='radar')
                carried.transform.rotation.w = 1.0 if np.isfinite(speed) else 7.0
                bag.write('/tf', stamp, TYPES('tf2_msgs/msg/TFMessage')(transforms=[carried]))
            values = (10 * np.log10(power)).astype(np.float32)[: grid.shape[0]]
            made = replace(info, values=values)
            bag.write('/radar/heatmap', stamp, messages.heatmap_to_image(made, stamp, 'radar', TYPES))
            bag.write('/camera/image_raw', stamp, messages.image_to_message(image, 'rgb8', stamp, 'camera', TYPES))
            if boxes == 2:
                bag.write('/detector/boxes', stamp, detections(labels, stamp))
            if truth:
                bag.write('/ground_truth/targets', stamp, messages.targets_to_message(targets, stamp, 'radar', TYPES))
                mask = messages.image_to_message(labels, 'mono8', stamp, 'camera', TYPES)
                bag.write('/camera/mask', stamp, mask)


@pytest.fixture(scope='module')
def yard(tmp_path_factory):
    """Four bags of one camera pose with truth, one without truth, and one of another radar."""
    folder = tmp_path_factory.mktemp('yard')
    for number in range(4):
        write_bag(folder / f'yard_{number}', number)
    write_bag(folder / 'short', 7, frames=12, truth=False)
    write_bag(folder / 'still', 8, frames=12, boxes=0)
    write_bag(folder / 'other', 9, frames=12, grid=PolarGrid(GRID.range[:30] * 1.01, GRID.azimuth))
    return folder


@pytest.fixture(scope='module')
def recordings(yard):
    return open_recordings([yard / f'yard_{number}' for number in range(4)], CAMERA, yard / 'cache')


@pytest.fixture(scope='module')
def labelling(recordings):
    return make_labels(recordings, settings=SETTINGS, methods=['em', 'background_peak'])


def test_labels_have_the_classes_of_recorded_detections_and_what_moves_has_none(yard, labelling):
    named = replace(CAMERA, masks='/detector/boxes')
    recordings = open_recordings([yard / 'yard_0', yard / 'yard_1'], named, yard / 'cache')
    made = make_labels(recordings, settings=SETTINGS, methods=['background_peak']).methods['background_peak']
    for recording, labels in zip(recordings, made.label_set, strict=True):
        masks = [recording.masks(frame)[at] for frame, at in zip(labels.frame, labels.instance, strict=True)]
        assert labels.label.tolist() == ['cart' if mask.number == 1 else '' for mask in masks]
        assert labels.classes == ['cart'] and '' in labels.label
    assert all(labels.classes == [] for labels in labelling.methods['em'].label_set)


@dataclass
class TrueAttention:
    """Attention that looks where the target is, up to an offset; one mask in six looks elsewhere."""

    cells: CellGrid
    radar: RadarGeometry
    truth: dict
    offset: tuple[float, float] = (0.8, 0.03)

    def attention(self, recording, frames):
        maps = []
        for number in np.concatenate([np.arange(*recording.mask_starts[[f, f + 1]]) for f in frames]):
            target = self.truth[recording.name][number]
            lost = target is None or number % 6 == 0
            place = (12.0, -0.3) if lost else (target.slant_range, target.cone_angle)
            along = (self.cells.range[:, None] - place[0] - self.offset[0]) / 1.5
            maps.append(-0.5 * (along**2 + ((self.cells.azimuth - place[1] - self.offset[1]) / 0.1) ** 2))
        return np.array(maps)


@pytest.fixture(scope='module')
def attention(recordings):
    truth = {recording.name: read_mask_truth([recording]).shown for recording in recordings}
    radar = RadarGeometry('yard', GRID, Reference.NOISE_FLOOR)
    return TrueAttention(CellGrid.of(GRID).convolved(3, 2, 1), radar, truth)


def test_em_alone_labels_the_boxes_without_bias(recordings, labelling):
    assert list(labelling.methods) == ['em', 'background_peak']
    figures = evaluate_labels(labelling.methods, read_mask_truth(recordings)).figures
    assert figures['em'].labels == round(0.8 * figures['em'].instances) > 250
    assert figures['em'].gross <= 0.02
    assert figures['em'].median_error_m < 0.5
    assert abs(figures['em'].radial_bias_centre_m) < 0.3
    assert abs(figures['em'].azimuth_bias_deg) < 0.5


def test_attention_alone_is_biased_and_em_takes_the_bias_off(recordings, attention):
    labelling = make_labels(recordings, attention, SETTINGS, ['mcl_em', 'attention', 'attention_candidate'])
    figures = evaluate_labels(labelling.methods, read_mask_truth(recordings)).figures
    assert figures['attention'].radial_bias_centre_m == pytest.approx(0.8, abs=0.25)
    assert figures['attention'].azimuth_bias_deg == pytest.approx(1.7, abs=0.5)
    assert abs(figures['mcl_em'].radial_bias_centre_m) < 0.3
    assert abs(figures['mcl_em'].azimuth_bias_deg) < 0.5
    assert figures['mcl_em'].gross < figures['attention'].gross
    assert figures['attention_candidate'].median_error_m < figures['attention'].median_error_m


def test_attention_that_leads_astray_is_left_out_and_told():
    def labels(confidence):
        return SelfLabels.given(np.arange(4), np.full(4, 9.0), np.zeros(4), np.full(4, confidence))

    good, bad, alone = labels(0.58), labels(0.1), labels(0.6)
    assert surer_labels(good, alone) == (good, '')
    chosen, note = surer_labels(bad, alone)
    assert chosen is alone
    assert 'leads astray: mean confidence 0.10 with it, 0.60 without' in note


def test_all_methods_that_can_be_are_made_by_default(attention):
    assert default_methods(attention) == ('mcl_em', 'em', 'attention', 'attention_candidate', 'background_peak')
    assert default_methods(None) == ('em', 'background_peak')


def test_radar_peaks_are_the_same_whatever_the_number_of_workers(recordings, tmp_path):
    copies = open_recordings([recording.path for recording in recordings[:2]], CAMERA, tmp_path)
    for one, other in zip(gather_evidence(recordings[:2]), gather_evidence(copies, workers=2), strict=True):
        for mine, its in zip(one.candidates, other.candidates, strict=True):
            np.testing.assert_array_equal(mine.range, its.range)
            np.testing.assert_array_equal(mine.variance, its.variance)


def test_raw_heatmaps_have_peaks_that_never_move(recordings):
    raw, static = (gather_evidence(recordings[:1], background)[0] for background in ('raw', 'static'))
    place = float(np.median([peaks.range[0] for peaks in raw.candidates[:5]]))
    stay = [np.mean([np.any(abs(p.range - place) < 0.2) for p in item.candidates]) for item in (raw, static)]
    assert stay[0] > 0.9
    assert stay[1] < 0.3


def test_the_label_set_knows_which_frames_are_empty_or_unknown(recordings, labelling):
    made = labelling.methods['em'].label_set
    labels = made.of(recordings[0])
    assert labels.known.all()
    assert labels.targets()[0] == []
    assert labels.group == 'mast'
    assert made.coverage == pytest.approx(0.8, abs=0.01)
    assert made.provenance['settings']['background'] == 'static'


def test_confidence_decides_where_it_is_given(recordings):
    settings = replace(SETTINGS, confidence=0.9)
    made = make_labels(recordings, settings=settings, methods=['background_peak']).methods['background_peak']
    np.testing.assert_array_equal(made.kept, made.labels.confidence >= 0.9)
    assert 0 < made.kept.mean() < 1


def test_small_groups_are_named_and_left_out(recordings):
    alone = replace(recordings[0], group='alone')
    settings = replace(SETTINGS, least_masks=recordings[0].instances + 1)
    labelling = make_labels([alone, *recordings[1:]], settings=settings, methods=['em'])
    note = labelling.notes[0]
    assert sum('alone' in each for each in labelling.notes) == 1
    assert note.startswith('alone: ') and 'too few' in note and 'camera pose' in note
    labels = labelling.methods['em'].label_set.of(alone)
    assert len(labels) == 0
    assert not labels.known[10] and labels.known[0]
    with pytest.raises(LabelError, match=r'at least 9999 masks of one camera pose.*name one camera pose'):
        make_labels(recordings, settings=replace(SETTINGS, least_masks=9999))


def test_detections_of_a_localizer_become_candidates(recordings):
    class Sees:
        def reset(self):
            self.frame = -1

        def localize(self, heatmap):
            self.frame += 1
            return [Target(9.0, 1.0, covariance=np.diag([0.04, 0.04]), score=0.9)] if self.frame == 3 else []

    (evidence,) = gather_evidence(recordings[:1])
    raised = with_detections(evidence, Sees())
    assert raised.candidates[3].range[0] == pytest.approx(np.hypot(9, 1))
    assert raised.candidates[3].snr[0] > 150
    np.testing.assert_array_equal(raised.candidates[4].range, evidence.candidates[4].range)
    default = replace(SETTINGS, refinement=RefinementSettings())
    labelling = make_labels(recordings, settings=default, methods=['em'], localizer=Sees())
    assert evaluate_labels(labelling.methods, read_mask_truth(recordings)).figures['em'].gross <= 0.02


def test_vehicles_before_a_radar_that_drives_move_to_their_centre_where_tf_tells_its_way(yard, tmp_path):
    moving = replace(SETTINGS, background='raw', refinement=RefinementSettings(vehicle_silhouette=1.0))
    near = replace(moving, refinement=RefinementSettings(vehicle_silhouette=1.0, vehicle_depth=0.0))
    speeds = {'yard_0': 8.0, 'yard_1': -8.0, 'yard_2': None, 'yard_3': float('inf')}
    for name, speed in speeds.items():
        write_bag(tmp_path / name, int(name[-1]), speed=speed, poles=0)  # what stands has been taken out
    carried = open_recordings([tmp_path / name for name in speeds], CAMERA, tmp_path / 'cache')
    for recording, speed in zip(carried[:2], (8.0, -8.0), strict=True):
        found = recording_trajectory(recording)
        np.testing.assert_allclose(found[:, 0], speed * (recording.stamps_ns - START) * 1e-9, atol=1e-6)
        np.testing.assert_array_equal(found[:, 1:], 0)
    made = make_labels(carried, settings=moving, methods=['em'])
    assert any('yard_3: the trajectory of the radar is not known' in note for note in made.notes)
    assert any('in 120 of 240 frames /tf does not tell where the radar is' in note for note in made.notes)
    labels, stayed = (
        made.methods['em'].label_set,
        make_labels(carried, settings=near, methods=['em']).methods['em'].label_set,
    )
    moved = [after.range - before.range for after, before in zip(labels, stayed, strict=True)]
    # boxes that cross before a radar that drives at 8 m/s go along its way: they show their front or their rear
    assert all(np.median(each) == pytest.approx(2.2, abs=0.2) for each in moved[:2])
    assert all(np.array_equal(each, np.zeros(len(each))) for each in moved[2:])


def test_what_cannot_be_labelled_is_refused(recordings, attention, yard):
    with pytest.raises(LabelError, match='expected at least one, got none'):
        make_labels([])
    with pytest.raises(LabelError, match='yard_0: expected each bag once'):
        make_labels([recordings[0], recordings[0]], settings=SETTINGS)
    with pytest.raises(LabelError, match='mcl_em: expected a contrastive model, got none'):
        make_labels(recordings, settings=SETTINGS, methods=['mcl_em'])
    with pytest.raises(LabelError, match='methods: expected some of mcl_em.*got guess'):
        make_labels(recordings, settings=SETTINGS, methods=['guess'])
    unmasked = open_recordings([yard / 'yard_0'], replace(CAMERA, masks='none'), yard / 'cache')
    with pytest.raises(LabelError, match='yard_0: expected masks of targets, got none in 1 bags'):
        make_labels(unmasked, settings=SETTINGS)
    other = open_recordings([yard / 'other'], CAMERA, yard / 'cache')
    with pytest.raises(
        OtherRadarError, match=r'other: expected the radar that the model .*; grid: expected 56 x 24 bins.*got 30 x 24'
    ):
        make_labels(other, attention, replace(SETTINGS, least_masks=1))
    broken = TrueAttention(attention.cells, attention.radar, attention.truth)
    broken.attention = lambda recording, frames: np.zeros((1, 2, 3))
    with pytest.raises(LabelError, match=r'yard_0: attention: expected finite maps of shape .* got \(1, 2, 3\)'):
        make_labels(recordings, broken, SETTINGS)
    with pytest.raises(ValueError, match="background: expected 'static' or 'raw'"):
        LabellingSettings(background='none')


def test_masks_are_judged_by_what_they_show_and_by_what_they_miss(yard, recordings):
    truth = read_mask_truth(recordings)
    known = [recording.masks_known for recording in map(read_truth, recordings)]
    assert truth.visible == 2 * sum(int(frames[5:].sum()) for frames in known)
    assert truth.precision == np.mean([target is not None for target in truth.shown])
    # two that stand in one mask are one instance
    assert 0.7 < truth.recall == sum(target is not None for target in truth.shown) / truth.visible <= 1
    (blind,) = open_recordings([yard / 'yard_0'], replace(CAMERA, wrong_masks=1.0), yard / 'cache')
    wrong = read_mask_truth([blind])
    assert wrong.recall < 0.3 and wrong.precision < 0.3
    without = read_mask_truth(open_recordings([yard / 'short'], CAMERA, yard / 'cache'))
    assert without.precision is without.recall is None


def test_report_and_curves_show_all_methods(recordings, labelling, tmp_path):
    evaluation = evaluate_labels(labelling.methods, read_mask_truth(recordings))
    text = write_report(labelling.methods, evaluation, tmp_path / 'new' / 'labels.md').read_text()
    truth = evaluation.masks
    assert f'| {truth.known.sum()} | {100 * truth.precision:.1f} % | {truth.visible} |' in text
    assert '| em |' in text and '| background_peak |' in text and 'azimuth_bias_deg' in text
    assert draw_curves(evaluation, tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')
    curve = evaluation.curves['em']
    assert curve[0].coverage == pytest.approx(0.1, abs=0.01) and curve[-1].coverage > 0.9
    assert 'No truth' in write_report(labelling.methods, None, tmp_path / 'labels.md').read_text()


def command(*arguments):
    """Runs the label command."""
    return CliRunner().invoke(app, ['label', *map(str, arguments)])


def test_the_command_writes_labels_bags_and_a_report(yard, recordings, tmp_path):
    bags = [recording.path for recording in recordings[:2]]
    options = ('--camera-pose', 'mast', '--cache', yard / 'cache', '--least-masks', 40)
    folders = ('--report', tmp_path / 'report', '--bags', tmp_path / 'bags')
    result = command(*bags, *options, *folders, '--out', tmp_path / 'labels.safetensors', '--json')
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report['out'], report['method']) == (str(tmp_path / 'labels.safetensors'), 'em')
    assert report['coverage'] == pytest.approx(0.8, abs=0.01) and report['gross'] <= 0.05
    assert set(report['methods']) == {'em', 'background_peak'}
    assert 0.8 < report['mask_precision'] <= 1 and 0.7 < report['mask_recall'] < 1
    assert f'mask recall: {report["mask_recall"]:.3f}' in result.stderr
    assert 'note: no labels by ground_plane: yard_0: expected a calibrated camera' in result.stderr
    assert {'seconds', 'samples_per_s', 'radial_bias_m', 'azimuth_bias_deg'} <= set(report)
    assert (tmp_path / 'report' / 'curves.png').is_file() and (tmp_path / 'report' / 'labels.md').is_file()
    labels = LabelSet.load(tmp_path / 'labels.safetensors').of(recordings[1])
    written = BagReader(tmp_path / 'bags' / 'yard_1').streams[LABEL_TOPIC]
    assert written.count == sum(targets is not None for targets in labels.targets())


def test_bags_without_truth_are_labelled_without_figures(yard, tmp_path):
    options = ('--cache', tmp_path / 'cache', '--least-masks', 5, '--report', tmp_path)
    result = command(yard / 'short', *options, '--out', tmp_path / 'labels', '--json')
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report['masks'] > 5 and 'radial_bias_m' not in report
    assert not (tmp_path / 'curves.png').exists()


def test_labels_of_a_bag_with_damaged_truth_are_saved_and_a_note_says_what_is_missing(tmp_path):
    write_bag(tmp_path / 'whole', 7, frames=12)
    with BagWriter(tmp_path / 'damaged') as bag:
        for message in BagReader(tmp_path / 'whole').raw_messages():
            data = message.data[:20] if message.topic == '/ground_truth/targets' else message.data
            bag.write_serialized(message.topic, message.time_ns, message.type, data)
    options = ('--cache', tmp_path / 'cache', '--least-masks', 5)
    result = command(tmp_path / 'damaged', *options, '--out', tmp_path / 'labels')
    assert result.exit_code == 0, result.output
    assert 'note: no figures of the labels, for the truth cannot be read: ' in result.stdout
    assert sum(len(labels) for labels in LabelSet.load(tmp_path / 'labels')) > 0


def test_any_setting_of_the_labels_is_overridden_kept_with_them_and_named_if_it_is_none(yard, tmp_path):
    options = ('--cache', tmp_path / 'cache', '--least-masks', 5, '--out', tmp_path / 'labels', '--seed', 3)
    result = command(yard / 'short', *options, '--set', 'candidates.max_candidates=8', '--set', 'em.start_std=[3, 0.1]')
    assert result.exit_code == 0, result.output
    settings = LabelSet.load(tmp_path / 'labels').provenance['settings']
    assert settings['candidates']['max_candidates'] == 8
    assert settings['em']['start_std'] == [3, 0.1]
    assert (settings['em']['seed'], settings['least_masks']) == (3, 5)
    for text, message in (
        ('em.positon=map', 'label with --set em.positon=map: em: positon: expected one of'),
        ('coverage=2', 'label with --set coverage=2: coverage: expected a number from 0 to 1'),
        ('em.folds=many', 'label with --set em.folds=many: em: folds: expected int'),
    ):
        result = command(yard / 'short', *options, '--set', text)
        assert message in ' '.join(str(result.exception or result.output).split())


def contrastive_model(path):
    """A checkpoint of nobody's training for the radar of the yard."""
    torch.manual_seed(2)
    settings = EncoderSettings(embedding_dim=8, radio_width=4, backbone_width=4, image_width=40)
    weights = Encoders(GRID, 1, settings).state_dict()
    radar = RadarGeometry('yard', GRID, Reference.NOISE_FLOOR)
    about = {'objective': 'mcl', 'encoders': asdict(settings), 'temperature': 0.1}
    return save_checkpoint(path, Checkpoint('contrastive', weights, radar, RadarInputSettings(('change',)), about))


def test_each_option_of_the_command_has_its_effect_on_the_labels(yard, tmp_path):
    empty = Heatmap(np.zeros(GRID.shape, np.float32), GRID, Reference.NOISE_FLOOR, 0.0, None, 'yard')
    localizer = write_tiny_model(tmp_path / 'localizer.safetensors', empty)
    model = contrastive_model(tmp_path / 'mcl.safetensors')
    settings, peak = replace(SETTINGS, least_masks=5), 'background_peak'

    def written(*options):
        out = tmp_path / 'labels'
        common = ('--cache', yard / 'cache', '--least-masks', 5, '--camera-pose', 'mast', '--out', out)
        result = command(yard / 'short', *common, *options)
        assert result.exit_code == 0, result.output
        return LabelSet.load(out)

    def made(method=peak, opened=CAMERA, changed=settings, model=None, **options):
        recordings = open_recordings([yard / 'short'], replace(opened, image_width=160), yard / 'cache')
        return make_labels(recordings, model, changed, [method], **options).methods[method].label_set

    plain = written('--method', peak)
    assert plain.content == made().content
    network = NetworkLocalizer(NetworkLocalizerSettings(str(localizer), threshold=0.02))
    for options, expected in (
        (('--relabel', localizer), made(localizer=network)),
        (('--background', 'raw'), made(changed=replace(settings, background='raw'))),
        (('--coverage', 0.4), made(changed=replace(settings, coverage=0.4))),
        (('--confidence', 0.9), made(changed=replace(settings, confidence=0.9))),
        (('--wrong-masks', 0.6), made(opened=replace(CAMERA, wrong_masks=0.6))),
        (('--masks', '/detector/boxes'), made(opened=replace(CAMERA, masks='/detector/boxes'))),
    ):
        labels = written('--method', peak, *options)
        assert labels.content == expected.content != plain.content, options[0]
    by_attention = written('--method', 'attention', '--model', model)
    assert by_attention.content == made('attention', model=ContrastiveModel.load(model)).content
    assert by_attention.provenance['model'] == str(model)
    assert (written('--model', model).method, written().method) == ('mcl_em', 'em')


def test_labels_move_from_the_surface_to_the_middle_where_a_depth_is_given(yard, recordings, tmp_path):
    bags = [recording.path for recording in recordings[:2]]
    options = ('--camera-pose', 'mast', '--cache', yard / 'cache', '--least-masks', 40, '--method', 'em')
    made = {}
    for name, depth in (
        ('surface', ('--vehicle-depth', 0)),
        ('middle', ('--person-depth', 0.5, '--vehicle-depth', 1.5)),
    ):
        result = command(*bags, *options, *depth, '--out', tmp_path / name)
        assert result.exit_code == 0, result.output
        made[name] = LabelSet.load(tmp_path / name).of(recordings[0])
    added = made['middle'].range - made['surface'].range
    person, vehicle = (np.abs(added - depth) < 1e-4 for depth in (0.5, 1.5))
    assert np.all(person | vehicle)
    assert person.any() and vehicle.any(), 'boxes of 1.2 m x 1.6 m are at the border between both'
    np.testing.assert_array_equal(made['middle'].kept, made['surface'].kept)


def test_several_parts_of_data_sets_are_labelled_and_no_others(yard, tmp_path):
    splits = [{'bag': f'yard_{number}', 'split': split} for number, split in enumerate(('train', 'test', 'val'))]
    for entry in splits:
        (tmp_path / entry['bag']).symlink_to(yard / entry['bag'])
    (tmp_path / 'dataset.yaml').write_text(json.dumps({'bags': splits}), encoding='utf-8')
    options = ('--camera-pose', 'mast', '--cache', tmp_path / 'cache', '--least-masks', 40)
    parts = ('--split', 'train', '--split', 'val')
    result = command(tmp_path, *parts, '--method', 'background_peak', *options, '--out', tmp_path / 'labels')
    assert result.exit_code == 0, result.output
    assert [labels.name for labels in LabelSet.load(tmp_path / 'labels')] == ['yard_0', 'yard_2']


def test_a_folder_of_bags_that_has_one_of_the_name_is_refused_before_the_work(yard, tmp_path):
    (tmp_path / 'bags' / 'short').mkdir(parents=True)
    options = ('--cache', tmp_path / 'cache', '--least-masks', 5, '--bags', tmp_path / 'bags')
    result = command(yard / 'short', *options, '--out', tmp_path / 'labels')
    assert '--bags: expected a folder without bags of these names' in str(result.exception)
    assert not (tmp_path / 'labels').exists()


@pytest.mark.parametrize(
    ('bags', 'options', 'said'),
    [
        (['short'], [], 'at least 100 masks of one camera pose'),
        (['still'], [], 'still: expected masks of targets, got none'),
        (['short', 'other'], [], 'expected the radar of'),
        (['short'], ['--split', 'train'], 'expected a data set'),
        (['short'], ['--method', 'mcl_em'], '--method: expected auto, em'),
        (['absent'], [], 'absent'),
        (['short'], ['--masks', '/masks'], '/masks'),
        (['short'], ['--relabel', 'weights'], 'expected metadata'),
    ],
)
def test_wrong_input_is_named(yard, tmp_path, bags, options, said, monkeypatch):
    shutil.copytree(yard / 'cache', tmp_path / 'cache') if (yard / 'cache').exists() else None
    save_file({'x': np.zeros(1)}, tmp_path / 'weights')
    monkeypatch.chdir(tmp_path)
    out = tmp_path / 'labels'
    result = command(*(yard / bag for bag in bags), *options, '--cache', tmp_path / 'cache', '--out', out)
    assert result.exit_code == 1
    assert isinstance(result.exception, OSError | ValueError)
    assert said in str(result.exception)
    assert not out.exists()
