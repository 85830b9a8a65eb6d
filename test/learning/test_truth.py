# SPDX-License-Identifier: Apache-2.0
"""The ground truth of simulated bags belongs to the right frames and masks, and is no part of a recording."""

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.learning.recording_settings import RecordingError, RecordingSettings
from radio_visual_ssl.learning.recordings import Recording, open_recording
from radio_visual_ssl.learning.truth import TRUE_MASKS_TOPIC, Truth, read_truth
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate
from radio_visual_ssl.vision.masks import masks_from_image

TYPES = RosbagsTypes()
TRUTH = '/ground_truth/targets'

SCENE = """
movers:
  - {kind: car, path: [[10, -5], [20, 0], [10, 5]], speed: 5.0}
  - {kind: pedestrian, path: [[8, 3], [8, -3]], speed: 1.5, motion: shuttle}
ground: {x: [5, 15], y: [-5, 5]}
camera: {width: 160, height: 120, focal_length: 130}
"""

RADAR = """
waveform: {type: ofdm, carrier_frequency: 28.0e+9, subcarrier_spacing: 3.125e+6, symbol_period: 125.0e-6,
           num_symbols: 8, num_subcarriers: 64}
position_unit: wavelength
tx_positions: [[0, 0, 0]]
rx_positions: {count: 8, spacing: 0.5}
front_end: {tx_power_dbm: 30}
"""


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a simulated yard, with true masks and targets."""
    folder = tmp_path_factory.mktemp('truth')
    (folder / 'yard.yaml').write_text(SCENE)
    (folder / 'small.yaml').write_text(RADAR)
    plan = DatasetPlan(
        str(folder / 'yard.yaml'), str(folder / 'small.yaml'), 12, instances=1, rate=4, image_size=(160, 120), seed=5
    )
    generate(plan, folder / 'set')
    return folder / 'set' / 'yard_0000'


def opened(path: Path, masks: str = TRUE_MASKS_TOPIC) -> Recording:
    return open_recording(path, RecordingSettings(masks=masks), path.parent / 'cache')


def rewritten(bag: Path, path: Path, *, without: str = '', later_ns: int = 0) -> Path:
    """A copy of the bag that lacks a topic, or whose truth has later stamps."""
    reader = BagReader(bag)
    with BagWriter(path) as copy:
        for message in reader.raw_messages():
            if message.topic == TRUTH and later_ns:
                targets = messages.targets_from_message(reader.decode(message))
                stamp_ns = reader.stamp_reader(TRUTH)(message) + later_ns
                copy.write(TRUTH, message.time_ns, messages.targets_to_message(targets, stamp_ns, 'radar', TYPES))
            elif message.topic != without:
                copy.write_serialized(message.topic, message.time_ns, message.type, message.data)
    return path


def places(truth: Truth) -> list[list[tuple[int, float]] | None]:
    return [frame and [(target.track_id, target.x) for target in frame] for frame in truth.targets]


def test_a_recording_itself_holds_no_truth(bag: Path) -> None:
    recording = opened(bag, masks='motion')
    assert not any(isinstance(getattr(recording, field.name), Target | Truth) for field in fields(recording))
    assert {path.stem for path in recording.store.glob('*.npy')}.isdisjoint({'targets', 'truth'})


def test_targets_are_those_of_the_frames(bag: Path) -> None:
    truth = read_truth(opened(bag))
    expected = [frame.truth for frame in BagReader(bag).frames()]
    assert [[target.x for target in frame or ()] for frame in truth.targets] == [
        [target.x for target in frame or ()] for frame in expected
    ]
    assert any(truth.targets)


def test_true_masks_show_the_targets_of_their_track_ids(bag: Path) -> None:
    recording = opened(bag)
    truth = read_truth(recording)
    assert truth.masks_known.all()
    assert recording.instances > 6
    for index, shown in enumerate(truth.shown):
        assert [target and target.track_id for target in shown] == [mask.number for mask in recording.masks(index)]
    assert truth.shown_by_instance() == [target for frame in truth.shown for target in frame]


def test_masks_of_what_moves_show_targets_where_they_overlap_true_masks(bag: Path) -> None:
    recording = opened(bag, masks='motion')
    truth = read_truth(recording)
    reader = BagReader(bag)
    true = [masks_from_image(message, binary=False) for _, message in reader.messages(TRUE_MASKS_TOPIC)]
    found = 0
    for index, shown in enumerate(truth.shown):
        for mask, target in zip(recording.masks(index), shown, strict=True):
            covered = {other.number: other.covered_by(mask) for other in true[index] if mask.iou(other) >= 0.2}
            found += target is not None
            if target is None:
                assert max(covered.values(), default=0) < 0.5
            else:
                assert covered[target.track_id] >= 0.5
    assert found > 0


def test_truth_within_half_a_period_belongs_to_the_frame(bag: Path, tmp_path: Path) -> None:
    late = read_truth(opened(rewritten(bag, tmp_path / 'late', later_ns=100_000_000)))
    assert places(late) == places(read_truth(opened(bag)))
    far = read_truth(opened(rewritten(bag, tmp_path / 'far', later_ns=10_000_000_000)))
    assert far.targets == [None] * 12
    assert not far.masks_known.any()
    assert set(far.shown_by_instance()) == {None}


def test_without_true_masks_the_targets_are_still_known(bag: Path, tmp_path: Path) -> None:
    recording = opened(rewritten(bag, tmp_path / 'bag', without=TRUE_MASKS_TOPIC), masks='motion')
    truth = read_truth(recording)
    assert any(truth.targets)
    assert not truth.masks_known.any()
    assert [len(frame) for frame in truth.shown] == np.diff(recording.mask_starts).tolist()
    with pytest.raises(BagError, match='expected topic /other'):
        read_truth(recording, masks_topic='/other')


def test_a_bag_without_truth_is_refused(bag: Path, tmp_path: Path) -> None:
    recording = opened(rewritten(bag, tmp_path / 'bag', without=TRUTH))
    with pytest.raises(BagError, match=f'expected topic {TRUTH}'):
        read_truth(recording)


def test_truth_of_another_bag_is_refused(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(bag, copy)
    recording = opened(copy)
    shutil.rmtree(copy)
    rewritten(bag, copy, without=TRUE_MASKS_TOPIC)
    with pytest.raises(RecordingError, match=r'copy: expected the bag of the recording \(content .*got another one'):
        read_truth(recording)


def test_a_bag_that_is_gone_is_named(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(bag, copy)
    recording = opened(copy)
    shutil.rmtree(copy)
    with pytest.raises(BagError, match='copy: expected a rosbag2 folder'):
        read_truth(recording)
