# SPDX-License-Identifier: Apache-2.0
"""Localizers are judged on bags: figures, view, calibration and refusals."""

import json
from dataclasses import fields, replace
from itertools import count

import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader, Frame
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.evaluation.evaluate import Evaluation, evaluate_bag, evaluate_bags, evaluate_frames
from radio_visual_ssl.evaluation.metrics import FALSE_PER_EMPTY_FRAME, FALSE_PER_FRAME, Metrics
from radio_visual_ssl.radar.geometry import OtherRadarError
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

TYPES = RosbagsTypes()
START, STEP = 1_700_000_000_000_000_000, 100_000_000
GRID = PolarGrid(np.arange(0.0, 40.0, 0.5), np.radians(np.arange(-80.0, 81.0, 2.0)))
CAMERA = CameraModel(200, 100, np.array([[100.0, 0, 99.5], [0, 100, 49.5], [0, 0, 1]]))


class PeakLocalizer:
    """The strongest cell, moved by a fixed offset in range."""

    def __init__(self, offset=0.0):
        self.offset, self.resets, self.frames = offset, 0, 0

    def localize(self, heatmap):
        self.frames += 1
        if heatmap.values.max() < 10:
            return []
        row, column = np.unravel_index(np.argmax(heatmap.values), heatmap.values.shape)
        range_, azimuth = heatmap.grid.range[row] + self.offset, heatmap.grid.azimuth[column]
        return [Target(range_ * np.cos(azimuth), range_ * np.sin(azimuth), score=0.8)]

    def reset(self):
        self.resets += 1


def heatmap_with_peak(range_, azimuth_deg):
    values = np.full(GRID.shape, np.nan if range_ is not None and np.isnan(range_) else 0.0, np.float32)
    if range_ is not None and np.isfinite(range_):
        row, column = GRID.index(range_, np.radians(azimuth_deg))
        values[round(float(row)), round(float(column))] = 30.0
    return Heatmap(values, GRID)


def target_at(range_, azimuth_deg, **fields):
    azimuth = np.radians(azimuth_deg)
    return Target(range_ * np.cos(azimuth), range_ * np.sin(azimuth), in_radar_view=True, **fields)


# peak and truth of each frame: a hit, a hit far off, a missed one, a false alarm in view, one outside the camera's view
SCENES = [
    ((10.0, 0.0), [target_at(10.0, 0.0, in_camera_view=True)]),
    ((21.0, 10.0), [target_at(20.0, 10.0, in_camera_view=True)]),
    ((None, 0.0), [target_at(30.0, 0.0, in_camera_view=True)]),
    ((15.0, 20.0), []),
    ((15.0, 60.0), []),
]


def write_bag(path, camera=True, truth=True, scenes=SCENES, encodings=(), mounting=CAMERA, radar=''):
    with BagWriter(path) as bag:
        for index, (peak, targets) in enumerate(scenes):
            stamp = START + index * STEP
            if encodings:
                picture = messages.image_to_message(np.full((4, 6, 3), index, np.uint8), 'rgb8', stamp, 'camera', TYPES)
                picture.encoding = encodings[index]
                bag.write('/camera/image_raw', stamp, picture)
            heatmap = replace(heatmap_with_peak(*peak), radar=radar)
            image, info = messages.heatmap_to_messages(heatmap, stamp, 'radar', TYPES)
            bag.write('/radar/heatmap', stamp, image)
            if index == 0:
                bag.write('/radar/heatmap_info', stamp, info)
                if camera:
                    pose = (mounting.rotation.T, -mounting.rotation.T @ mounting.translation)
                    transform = messages.transform_to_message(*pose, stamp, TYPES, parent='radar', child='camera')
                    bag.write('/tf_static', stamp, TYPES('tf2_msgs/msg/TFMessage')(transforms=[transform]))
                    bag.write('/camera/camera_info', stamp, messages.camera_to_info(mounting, stamp, 'camera', TYPES))
            if truth:
                bag.write('/ground_truth/targets', stamp, messages.targets_to_message(targets, stamp, 'radar', TYPES))
    return path


def test_a_bag_is_judged_inside_the_cameras_sector(tmp_path):
    localizer = PeakLocalizer()
    evaluation = evaluate_bag(write_bag(tmp_path / 'bag'), {'peak': localizer})
    metrics = evaluation.metrics['peak']
    assert (metrics.frames, metrics.targets) == (5, 3)
    assert metrics.recall == pytest.approx(2 / 3)
    assert metrics.precision == pytest.approx(2 / 3)
    assert metrics.false_per_frame == pytest.approx(1 / 5)
    assert metrics.bias_range_m == pytest.approx(0.5, abs=1e-3)
    assert (localizer.resets, localizer.frames) == (1, 5)
    assert evaluation.notes == []


def test_without_calibration_every_detection_is_judged_and_the_notes_say_so(tmp_path):
    evaluation = evaluate_bag(write_bag(tmp_path / 'bag', camera=False), {'peak': PeakLocalizer()})
    assert evaluation.metrics['peak'].false_per_frame == pytest.approx(2 / 5)
    assert 'no camera calibration' in evaluation.notes[0]


def test_the_radars_view_judges_every_detection(tmp_path):
    evaluation = evaluate_bag(write_bag(tmp_path / 'bag'), {'peak': PeakLocalizer()}, view='radar')
    assert evaluation.metrics['peak'].false_per_frame == pytest.approx(2 / 5)
    assert evaluation.notes == []


def test_json_holds_the_first_back_end_on_top_and_every_one_below(tmp_path):
    localizers = {'peak': PeakLocalizer(), 'late': PeakLocalizer(offset=0.4)}
    content = json.loads(json.dumps(evaluate_bag(write_bag(tmp_path / 'bag'), localizers).to_json()))
    keys = {
        'frames', 'targets', 'recall', 'precision', 'false_per_frame', 'median_error_m', 'p90_error_m',
        'median_footprint_error_m', 'bias_range_m', 'bias_azimuth_deg', 'ap_2m', 'mean_footprint_error_m',
        'p90_footprint_error_m', 'empty_frames', 'false_per_empty_frame', 'false_beside_share', 'recall_at_false',
        'recall_at_false_bounds', 'at_false_per_frame',
    }  # fmt: skip
    assert keys == {field.name for field in fields(Metrics)}
    keys |= {'per_class', 'per_visibility', 'classes'}
    assert list(content['backends']) == ['peak', 'late']
    for entry in content['backends'].values():
        assert set(entry) == keys
        assert list(entry['recall_at_false']) == [f'{rate:g}' for rate in FALSE_PER_EMPTY_FRAME]
        assert list(entry['at_false_per_frame']) == [f'{rate:g}' for rate in FALSE_PER_FRAME]
        assert set(entry['at_false_per_frame']['0.1']) == {'threshold', 'recall', 'median_error_m', 'bound'}
        # one false alarm in five frames, two of them empty
        assert [at['bound'] for at in entry['at_false_per_frame'].values()] == [False] * 4 + [True]
        assert entry['recall_at_false_bounds'] == []
        assert entry['per_class']['unknown']['targets'] == entry['per_visibility']['unknown']['targets'] == 3
        assert entry['classes'] is None  # these localizers know none
        assert set(entry['per_visibility']['75-100 %']) == {'targets', 'recall', 'median_error_m'}
    assert {key: content[key] for key in keys} == content['backends']['peak']
    difference = content['backends']['late']['bias_range_m'] - content['bias_range_m']
    assert difference == pytest.approx(0.4, abs=1e-3)


def test_undefined_figures_are_null_in_json():
    frame = Frame(START, 'radar', heatmap_with_peak(None, 0), truth=[])
    content = json.loads(json.dumps(evaluate_frames([frame], {'peak': PeakLocalizer()}).to_json()))
    assert content['recall'] is None
    assert content['median_error_m'] is None
    assert set(content['recall_at_false'].values()) == {None}
    nothing = {'threshold': None, 'recall': None, 'median_error_m': None, 'bound': False}
    assert content['at_false_per_frame']['0.1'] == nothing


def test_frames_without_truth_are_localized_but_not_judged():
    frames = [
        Frame(START + index * STEP, 'radar', heatmap_with_peak(*peak), truth=targets if index else None)
        for index, (peak, targets) in enumerate(SCENES)
    ]
    localizer, seen = PeakLocalizer(), []
    evaluation = evaluate_frames(frames, {'peak': localizer}, on_frame=seen.append)
    assert localizer.frames == len(seen) == 5
    assert evaluation.metrics['peak'].frames == 4
    assert seen[0].matches == {}
    assert len(seen[0].detections['peak']) == 1
    assert len(seen[1].matches['peak'].hits) == 1
    assert '1 frames without ground truth' in evaluation.notes[-1]


def restamped(source, path, topic, stamp_of):
    """A copy of a bag in which a topic has other stamps, by the number of the message."""
    reader, numbers = BagReader(source), count()
    with BagWriter(path) as bag:
        for raw in reader.raw_messages():
            message = reader.decode(raw)
            if raw.topic == topic:
                message.header.stamp = messages.stamp_from_ns(stamp_of(next(numbers)), TYPES)
            bag.write(raw.topic, raw.time_ns, message)
    return path


@pytest.mark.parametrize('topic', ['/radar/heatmap', '/ground_truth/targets'])
@pytest.mark.parametrize('stamp', [0, START])
def test_bags_whose_stamps_tell_nothing_are_refused(tmp_path, topic, stamp):
    bag = restamped(write_bag(tmp_path / 'x'), tmp_path / 'y', topic, lambda number: stamp)
    with pytest.raises(
        BagError, match=rf'y: expected stamps that tell .* topic {topic}: of 5 stamps .*--stamps reception'
    ):
        evaluate_bag(bag, {'peak': PeakLocalizer()})


def test_stamps_that_jump_back_are_noted(tmp_path):
    source = write_bag(tmp_path / 'x')
    stamps = [START, START + STEP, START + 2 * STEP, START + STEP, START + 4 * STEP]
    evaluation = evaluate_bag(
        restamped(source, tmp_path / 'y', '/radar/heatmap', stamps.__getitem__), {'peak': PeakLocalizer()}
    )
    assert any('topic /radar/heatmap: of 5 stamps 1 are earlier than' in note for note in evaluation.notes)
    assert evaluate_bag(source, {'peak': PeakLocalizer()}).notes == []


def test_bags_without_truth_are_refused(tmp_path):
    with pytest.raises(BagError, match=r'/ground_truth/targets.*found.*/radar/heatmap'):
        evaluate_bag(write_bag(tmp_path / 'bag', truth=False), {'peak': PeakLocalizer()})


class Picky(PeakLocalizer):
    """Refuses what is not finite, as real localizers do."""

    def localize(self, heatmap):
        if not np.all(np.isfinite(heatmap.values)):
            raise ValueError('heatmap: expected finite values')
        return super().localize(heatmap)


def spoil(*indices):
    """Peaks that make the heatmaps of these scenes NaN."""
    return [((np.nan, 0.0), targets) if index in indices else (peak, targets)
            for index, (peak, targets) in enumerate(SCENES)]  # fmt: skip


def test_a_heatmap_that_is_refused_is_not_judged_and_the_notes_name_it(tmp_path):
    path, seen = write_bag(tmp_path / 'bag', scenes=spoil(1, 3)), []
    evaluation = evaluate_bag(path, {'peak': PeakLocalizer(), 'picky': Picky()}, on_frame=seen.append)
    for metrics in evaluation.metrics.values():
        assert (metrics.frames, metrics.targets, metrics.recall) == (3, 2, 0.5)
    assert [bool(frame.matches) for frame in seen] == [True, False, True, False, True]
    (note,) = evaluation.to_json()['notes']
    assert f'{path}: topic /radar/heatmap: 2 of 5 heatmaps were refused and are not judged' in note
    assert 'first by picky, stamp 1700000000.100 s: heatmap: expected finite values' in note


def test_a_bag_of_which_every_heatmap_is_refused_is_an_error(tmp_path):
    path = write_bag(tmp_path / 'bag', scenes=spoil(*range(5)))
    expected = r'bag: topic /radar/heatmap: .*got 5 refused; first by picky, stamp 1700000000\.000 s: heatmap: expected'
    with pytest.raises(ValueError, match=expected):
        evaluate_bag(path, {'picky': Picky()})


def test_images_are_read_only_where_wanted_and_bad_ones_are_told(tmp_path):
    path, seen = write_bag(tmp_path / 'bag', encodings=['rgb8', 'yuv422_yuy2', 'rgb8', 'yuv422_yuy2', 'rgb8']), []
    assert evaluate_bag(path, {'peak': PeakLocalizer()}, on_frame=seen.append).notes == []
    assert all(frame.frame.image is None for frame in seen)
    seen.clear()
    evaluation = evaluate_bag(path, {'peak': PeakLocalizer()}, images=True, on_frame=seen.append)
    assert [frame.frame.image is not None for frame in seen] == [True, False, True, False, True]
    assert evaluation.metrics['peak'].frames == 5
    (note,) = evaluation.notes
    assert note.startswith('2 frames go without their image')
    assert '/camera/image_raw' in note
    assert "got 'yuv422_yuy2'" in note


def test_the_camera_offset_holds_for_each_of_several_bags(tmp_path):
    paths, shown = [write_bag(tmp_path / name, encodings=['rgb8'] * 5) for name in ('one', 'other')], []

    def see(path, evaluated):
        shown.append(None if evaluated.frame.image is None else int(evaluated.frame.image[0, 0, 0]))

    for offset, pictures in ((None, [0, 1, 2, 3, 4]), (0.2, [None, None, 0, 1, 2])):
        shown.clear()
        evaluate_bags(paths, {'peak': PeakLocalizer()}, images=True, image_offset_s=offset, on_frame=see)
        assert shown == 2 * pictures


TURNED = CameraModel(200, 100, CAMERA.matrix, rotation=CAMERA.rotation @ np.diag([-1.0, -1.0, 1.0]))  # backwards


def test_several_bags_are_judged_as_one_each_with_its_own_camera_and_a_fresh_localizer(tmp_path):
    paths = [
        write_bag(tmp_path / 'one'),
        write_bag(tmp_path / 'other', mounting=TURNED),
    ]
    localizer, seen = PeakLocalizer(), []
    evaluation = evaluate_bags(paths, {'peak': localizer}, on_frame=lambda path, frame: seen.append((path, frame)))
    metrics = evaluation.metrics['peak']
    assert (metrics.frames, metrics.targets, metrics.empty_frames) == (10, 6, 4)
    assert metrics.recall == pytest.approx(4 / 6)
    # the camera that looks back sees neither false alarm, the other one sees one
    assert metrics.false_per_frame == pytest.approx(1 / 10)
    assert metrics.false_per_empty_frame == pytest.approx(1 / 4)
    assert (localizer.resets, localizer.frames) == (2, 10)
    assert [path for path, _ in seen] == [paths[0]] * 5 + [paths[1]] * 5
    np.testing.assert_allclose(seen[0][1].camera.rotation, CAMERA.rotation, atol=1e-9)
    np.testing.assert_allclose(seen[5][1].camera.rotation, TURNED.rotation, atol=1e-9)
    assert evaluation.to_json()['frames'] == 10


def test_figures_of_several_bags_are_those_of_all_their_frames_in_one(tmp_path):
    parts = [write_bag(tmp_path / 'first', scenes=SCENES[:2]), write_bag(tmp_path / 'second', scenes=SCENES[2:])]
    whole = evaluate_bag(write_bag(tmp_path / 'whole'), {'peak': PeakLocalizer()})
    joined = evaluate_bags(parts, {'peak': PeakLocalizer()})
    assert joined.metrics == whole.metrics
    records = joined.tallies['peak'].records()
    assert [part.split(':')[0] for part in joined.recordings] == [str(part) for part in parts]
    assert records.frames['recording'].tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(np.diff(records.frames['stamp']), [0.1, -0.1, 0.1, 0.1], atol=1e-6)
    assert (records.targets['frame'].tolist(), records.targets['range'].round(3).tolist()) == ([0, 1, 2], [10, 20, 30])


def test_a_nearer_hit_distance_counts_fewer_hits(tmp_path):
    path = write_bag(tmp_path / 'bag')
    evaluation = evaluate_bags([path], {'peak': PeakLocalizer()}, hit_distance=0.5)
    assert evaluation.metrics['peak'].recall == pytest.approx(1 / 3)
    assert evaluation.to_json()['hit_distance_m'] == 0.5


def test_bags_of_several_radars_and_none_are_refused(tmp_path):
    paths = [write_bag(tmp_path / name, radar=name) for name in ('one', 'other')]
    with pytest.raises(OtherRadarError, match=r"other: .* the radar of .*one; radar: expected 'one', got 'other'"):
        evaluate_bags(paths, {'peak': PeakLocalizer()})
    with pytest.raises(ValueError, match='bags: expected at least one'):
        evaluate_bags([], {'peak': PeakLocalizer()})


class Shy(PeakLocalizer):
    """Withholds what it finds in every second frame, at a low score."""

    needs_velocity = False

    def localize_all(self, heatmap):
        found = self.localize(heatmap)
        return (found, []) if self.frames % 2 else ([], [replace(target, score=0.1) for target in found])


def test_what_a_localizer_withholds_counts_in_the_figures_that_move_the_threshold_alone(tmp_path):
    evaluation = evaluate_bag(write_bag(tmp_path / 'bag'), {'shy': Shy()})
    metrics = evaluation.metrics['shy']
    # frames 2 and 4, a hit and the false alarm, are withheld
    assert (metrics.recall, metrics.precision, metrics.false_per_frame) == (pytest.approx(1 / 3), 1.0, 0.0)
    assert metrics.false_per_empty_frame == 0.0
    # the withheld hit and the withheld false alarm share one score: precision 1 up to recall 1/3, then 2/3
    assert metrics.ap_2m == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert metrics.at_false_per_frame['0.2'].recall == pytest.approx(2 / 3)
    assert metrics.at_false_per_frame['0.2'].threshold == pytest.approx(0.1)
    assert metrics.at_false_per_frame['0.1'].recall == pytest.approx(1 / 3)
    assert metrics.at_false_per_frame['0.5'] == replace(metrics.at_false_per_frame['0.2'], bound=True)


def test_no_localizers_are_refused():
    with pytest.raises(ValueError, match='localizers: expected at least one'):
        evaluate_frames([], {})


def test_location_similarity_goes_through_all_scores_and_all_bags(tmp_path):
    class Withholding(Shy):
        """Reports one target and withholds another."""

        def localize_all(self, heatmap):
            return [target_at(10.0, 0.0, score=0.9)], [target_at(20.0, 0.0, score=0.1)]

    truth = [target_at(10.0, 0.0, label='car'), target_at(20.0, 0.0, label='car')]
    frames = [Frame(START, 'radar', heatmap_with_peak(None, 0), truth=truth)]
    plain = evaluate_frames(frames, {'one': Withholding()}, view='all')
    assert (plain.ols, 'ols' in plain.to_json()) == ({}, False)
    both = Evaluation.joined([evaluate_frames(frames, {'one': Withholding()}, view='all', ols=True)] * 2)
    assert both.ols['one'].targets == {'pedestrian': 0, 'cyclist': 0, 'car': 4}
    assert both.to_json()['ols']['average_recall'] == pytest.approx(1.0)
