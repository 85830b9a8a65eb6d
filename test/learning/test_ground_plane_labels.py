# SPDX-License-Identifier: Apache-2.0
"""Labels by calibration: masks stand where the ray of their foot meets the ground, as the radar reads that place."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from radio_visual_ssl.bags.messages import camera_to_info, transform_to_message
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.learning.ground_plane_labels import (
    CalibrationError,
    GroundPlane,
    ground_places,
    read_ground_plane,
)
from radio_visual_ssl.learning.label_evaluation import evaluate_labels, read_mask_truth
from radio_visual_ssl.learning.label_metrics import judge_labels
from radio_visual_ssl.learning.label_set import LabelError, LabelSet
from radio_visual_ssl.learning.labelling import LabellingSettings, default_methods, make_labels
from radio_visual_ssl.learning.recording_settings import RecordingSettings
from radio_visual_ssl.learning.recordings import open_recordings
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate
from radio_visual_ssl.vision.camera import FORWARD_LOOKING, CameraModel
from radio_visual_ssl.vision.masks import TargetMask

HEIGHT = 4.0  # m, of the radar above the ground
UP = np.array([0.0, 0, 1])
SIZE = (8000, 6000)  # px, so many that whole ones are fine enough to compare with closed forms


def turned(angle, axis):
    """Rotation by an angle about an axis of the coordinates."""
    one, other = [number for number in range(3) if number != axis]
    rotation = np.eye(3)
    rotation[one, one] = rotation[other, other] = np.cos(angle)
    rotation[one, other], rotation[other, one] = -np.sin(angle), np.sin(angle)
    return rotation


def camera_at(place, pitch=0.15, size=SIZE, tilt=np.eye(3)):
    """A camera at a place of the radar frame that looks down by ``pitch``, with a lens, in a radar frame that tilts."""
    focal = 0.9 * size[0]
    matrix = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
    rotation = turned(pitch, 0) @ FORWARD_LOOKING @ tilt
    return CameraModel(*size, matrix, np.array([-0.1, 0.02, 0.001, 0, 0]), rotation, -rotation @ place)


def mask_of(camera, foot, top, width=3):
    """A rectangle between the pixels of two places, the lower and the upper end of an upright line."""
    (left, bottom), (_, upper) = camera.project([foot, top])[0]
    rows = round(upper + 0.5), round(bottom + 0.5)
    shape = (rows[1] - rows[0], width)
    return TargetMask(round(left) - width // 2, rows[0], np.ones(shape, bool), (camera.width, camera.height))


@pytest.mark.parametrize('tilt', [np.eye(3), turned(0.1, 1) @ turned(-0.05, 0)])
def test_places_are_what_the_radar_reads_of_the_middle_of_an_upright_target(tilt):
    camera = camera_at(np.array([0.2, 0.1, 0.3]), tilt=tilt)
    plane = GroundPlane(camera, tilt[2], HEIGHT)
    places = np.random.default_rng(0).uniform((10, -5), (40, 5), (20, 2))
    level = np.column_stack((places, np.full(20, -HEIGHT)))  # in a frame that does not tilt
    masks = [mask_of(camera, tilt.T @ each, tilt.T @ (each + 1.8 * UP)) for each in level]
    found = ground_places(masks, plane, cone=True)
    middle = (level + 0.9 * UP) @ tilt
    distance = np.linalg.norm(middle, axis=1)
    np.testing.assert_allclose(found.place[:, 0], distance, atol=0.06)
    np.testing.assert_allclose(found.place[:, 1], np.arcsin(middle[:, 1] / distance), atol=2e-4)
    true = ground_places(masks, plane, cone=False).place[:, 1]
    np.testing.assert_allclose(true, np.arctan2(middle[:, 1], middle[:, 0]), atol=2e-4)
    target = Target(*level[0], size=(0.3, 0.3, 1.8))
    if np.array_equal(tilt, np.eye(3)):
        assert found.place[0] == pytest.approx([target.slant_range, target.cone_angle], abs=0.05)


def test_variances_are_those_of_a_pixel_and_far_masks_are_less_sure():
    camera = camera_at(np.zeros(3), size=(640, 480))
    plane = GroundPlane(camera, UP, HEIGHT)
    masks = [mask_of(camera, (x, 0, -HEIGHT), (x, 0, -HEIGHT + 1.6)) for x in (10.0, 20.0, 40.0)]
    found = ground_places(masks, plane, cone=True)
    lower, aside = (
        ground_places([replace(each, **{name: getattr(each, name) + 1}) for each in masks], plane, cone=True).place
        for name in ('top', 'left')
    )
    np.testing.assert_allclose(np.sqrt(found.variance[:, 0]), np.abs(lower - found.place)[:, 0], rtol=0.1)
    np.testing.assert_allclose(np.sqrt(found.variance[:, 1]), np.abs(aside - found.place)[:, 1], rtol=0.1)
    assert np.all(np.diff(found.confidence) < 0) and np.all(found.confidence > 0)
    hidden = ground_places([replace(each, occluded=True) for each in masks], plane, cone=True)
    assert np.all(hidden.confidence < 0.5 * found.confidence)


def test_the_foot_is_that_of_the_middle_not_of_a_corner():
    camera = camera_at(np.zeros(3), size=(640, 480))
    plane = GroundPlane(camera, UP, HEIGHT)
    whole = np.ones((30, 40), bool)
    slanted = whole.copy()
    slanted[20:, 6:] = False  # a corner that reaches down to the left
    masks = [TargetMask(300, 300, shape, (640, 480)) for shape in (whole[:20], slanted)]
    near, far = ground_places(masks, plane, cone=True).place[:, 0]
    assert far == pytest.approx(near, abs=0.05)
    legs = np.zeros((30, 40), bool)
    legs[:, :5] = legs[:, -5:] = True
    (place,) = ground_places([TargetMask(300, 300, legs, (640, 480))], plane, cone=True).place
    assert np.all(np.isfinite(place))


def test_masks_without_a_foot_on_the_ground_have_no_place():
    camera = camera_at(np.zeros(3), size=(640, 480))
    plane = GroundPlane(camera, UP, HEIGHT)
    cut_off = TargetMask(300, 440, np.ones((40, 20), bool), (640, 480))
    in_the_sky = TargetMask(300, 20, np.ones((30, 20), bool), (640, 480))
    found = ground_places([cut_off, in_the_sky], plane, cone=True)
    assert np.isnan(found.place).all() and np.isnan(found.variance).all() and found.confidence.tolist() == [0, 0]


@pytest.fixture(scope='module')
def lot(tmp_path_factory):
    """Two simulated bags with masks and calibration."""
    folder = tmp_path_factory.mktemp('lot')
    plan = DatasetPlan(
        'parking_lot', 'ofdm_28ghz_400mhz_16rx', 40, instances=2, image_size=(320, 240), seed=5, rate=2.0
    )
    generate(plan, folder / 'set')
    return folder


@pytest.fixture(scope='module')
def recordings(lot):
    bags = sorted(path for path in (lot / 'set').iterdir() if path.is_dir())
    return open_recordings(bags, RecordingSettings(masks='/camera/mask', camera_pose='mast'), lot / 'cache')


def test_masks_of_a_calibrated_bag_are_labelled_near_their_targets(recordings):
    planes = [read_ground_plane(each) for each in recordings]
    assert planes[0].height == pytest.approx(4.0) and planes[0].up == pytest.approx([0, 0, 1])
    settings = LabellingSettings(least_masks=1)
    made = make_labels(recordings, settings=settings, methods=['ground_plane'], planes=planes).methods
    truth, labels = read_mask_truth(recordings), made['ground_plane'].labels
    figures = evaluate_labels(made, truth).figures['ground_plane']
    assert figures.labels == round(0.8 * figures.instances) > 20
    assert figures.gross <= 0.05 and figures.median_error_m < 1.2 and abs(figures.azimuth_bias_deg) < 0.2
    whole = np.array([target is not None and target.visibility > 0.95 for target in truth.shown])
    clear = judge_labels('ground_plane', labels, truth.shown, whole & (labels.confidence > 0.3))
    # bodies of vehicles end above the ground, so that their foot is seen a little too far
    assert clear.labels > 20 and -0.2 < clear.radial_bias_m < 0.8 and clear.mean_footprint_error_m < 0.3
    half = make_labels(recordings, settings=settings, methods=['ground_plane'], planes=[planes[0], None]).methods
    of_each = [len(each) for each in half['ground_plane'].label_set]
    assert of_each[0] > 0 and of_each[1] == 0
    assert not half['ground_plane'].label_set.recordings[1].known[recordings[1].segmented].all()


def test_it_is_made_where_it_is_asked_for_alone(recordings):
    assert default_methods(None, calibrated=True) == ('em', 'background_peak', 'ground_plane')
    assert default_methods(None) == ('em', 'background_peak')
    with pytest.raises(LabelError, match='ground_plane: expected a calibrated camera above a known ground, got none'):
        make_labels(recordings, methods=['ground_plane'], planes=[None, None])
    with pytest.raises(LabelError, match='planes: expected one for each of 2 recordings, got 1'):
        make_labels(recordings, methods=['ground_plane'], planes=[read_ground_plane(recordings[0])])


def test_what_the_ground_is_may_be_told(recordings, lot):
    assert read_ground_plane(recordings[0], radar_above_ground=3.5).height == 3.5
    with pytest.raises(CalibrationError, match=r"expected frame floor of the ground .*, connected with 'radar'"):
        read_ground_plane(recordings[0], 'floor')
    types = RosbagsTypes()
    with BagWriter(lot / 'other') as bag:
        camera = camera_at(np.zeros(3), size=(64, 48))
        bag.write('/camera/camera_info', 1, camera_to_info(camera, 1, 'camera', types))
        transform = transform_to_message(camera.rotation.T, np.zeros(3), 1, types, parent='radar', child='camera')
        sunk = transform_to_message(np.eye(3), -UP, 1, types, parent='floor', child='radar')
        bag.write('/tf_static', 1, types('tf2_msgs/msg/TFMessage')(transforms=[transform, sunk]))
    other = replace(recordings[0], path=lot / 'other', name='other')
    with pytest.raises(CalibrationError, match='other: expected a calibration of 320x240 px, got 64x48 px'):
        read_ground_plane(other)
    with pytest.raises(CalibrationError, match='expected a radar above the ground, got one at -1 m'):
        read_ground_plane(replace(other, image_size=(64, 48)), 'floor')
    with pytest.raises(CalibrationError, match='other: expected frame map or base_footprint of the ground'):
        read_ground_plane(replace(other, image_size=(64, 48)))
    with pytest.raises(CalibrationError, match=r'other: expected a calibrated camera \(camera_info beside /else/image'):
        read_ground_plane(replace(other, image_topic='/else/image'))


def test_the_command_sets_it_beside_the_others_and_saves_it(lot, recordings, tmp_path):
    def run(*options):
        bags = [recording.path for recording in recordings]
        common = ['--masks', '/camera/mask', '--camera-pose', 'mast', '--least-masks', '1', '--cache', lot / 'cache']
        texts = ['label', *bags, *common, '--out', tmp_path / 'labels', '--json', *options]
        return CliRunner().invoke(app, list(map(str, texts)))

    result = run('--method', 'ground_plane')
    assert result.exit_code == 0, result.output
    assert LabelSet.load(tmp_path / 'labels').method == 'ground_plane'
    found = run('--method', 'background_peak', '--report', tmp_path / 'report')
    assert set(json.loads(found.stdout)['methods']) == {'em', 'background_peak', 'ground_plane'}
    refused = run('--method', 'ground_plane', '--ground-frame', 'x').exception
    assert 'ground_plane: expected a calibrated camera' in str(refused)
