# SPDX-License-Identifier: Apache-2.0
"""Bags become arrays of paired frames once; what of them cannot be used is told, and never guessed."""

import multiprocessing
import os
import pickle
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.offline_pairing import pair_bags
from radio_visual_ssl.bags.pairing import Matched, pair_to_message
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.learning.bag_selection import expand_bags
from radio_visual_ssl.learning.candidates import CandidateSettings
from radio_visual_ssl.learning.recording_evidence import recording_candidates
from radio_visual_ssl.learning.recording_inputs import recording_inputs, recording_pictures
from radio_visual_ssl.learning.recording_settings import RecordingError, RecordingSettings
from radio_visual_ssl.learning.recordings import (
    bag_content,
    default_cache,
    derived_array,
    open_recording,
    open_recordings,
)
from radio_visual_ssl.models.picture_input import PictureInputSettings
from radio_visual_ssl.models.radar_input import CHANNELS, RadarInputSettings
from radio_visual_ssl.radar.geometry import OtherRadarError
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.vision.mask_settings import MaskSettings

TYPES = RosbagsTypes()
MS = 1_000_000
START = 1_600_000_000_000_000_000
PERIOD = 100 * MS
GRID = PolarGrid([1.0, 2.0, 3.0], [-0.125, 0.125])
SIZE = (96, 64)  # px
RADAR, CAMERA = '/radar/heatmap', '/camera/image_raw'


def picture(index):
    """A bright block that moves by 6 px a frame before a background with texture."""
    image = np.random.default_rng(0).integers(60, 100, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    image[20:40, 6 * index : 6 * index + 8] = (250, 20, 20)
    return image


def heatmap(value, velocity=None, **changes):
    values = np.full(GRID.shape, value, np.float32)
    speeds = None if velocity is None else np.full(GRID.shape, velocity, np.float32)
    plain = Heatmap(values, GRID, Reference.NOISE_FLOOR, -1.5, speeds, 'small', 28e9, 4e8)
    return replace(plain, **changes)


class Clip:
    """A bag under construction: heatmaps of value i at START + i * PERIOD, and pictures with them."""

    def __init__(self, path):
        self.bag = BagWriter(path)
        self.path = path

    def __enter__(self):
        self.bag.__enter__()
        return self

    def __exit__(self, *error):
        self.bag.__exit__(*error)

    def radar(self, index, stamp_ns=None, topic=RADAR, time_ns=None, **changes):
        stamp_ns = START + index * PERIOD if stamp_ns is None else stamp_ns
        time_ns = time_ns or stamp_ns or START + index * PERIOD
        made = heatmap(index, **changes)
        self.bag.write(topic, time_ns, messages.heatmap_to_image(made, stamp_ns, 'radar', TYPES))
        if made.velocity is not None:
            self.bag.write('/radar/velocity', time_ns, messages.velocity_to_image(made, stamp_ns, 'radar', TYPES))
        return made

    def info(self, time_ns=START, topic=RADAR, **changes):
        message = messages.heatmap_to_info(heatmap(0, **changes), time_ns, 'radar', TYPES)
        self.bag.write(f'{topic}_info', time_ns, message)

    def image(self, index, stamp_ns=None, topic=CAMERA, image=None):
        stamp_ns = START + index * PERIOD if stamp_ns is None else stamp_ns
        shown = picture(index) if image is None else image
        message = messages.image_to_message(shown, 'rgb8', stamp_ns, 'camera', TYPES)
        self.bag.write(topic, stamp_ns or START + index * PERIOD, message)

    def pair(self, radar, image, radar_topic=RADAR, image_topic=CAMERA):
        """Marks the radar frame and the image of these stamps as a pair."""
        matched = Matched(None, None, START + radar * PERIOD, START + image * PERIOD, (image - radar) * PERIOD)
        topics = {'radar_topic': radar_topic, 'image_topic': image_topic, 'frame_id': 'radar'}
        self.bag.write('/pairs', START + radar * PERIOD, pair_to_message(matched, radar, TYPES, **topics))

    def jpeg(self, index, broken=False):
        stamp_ns = START + index * PERIOD
        message = messages.image_to_compressed(picture(index), 'rgb8', stamp_ns, 'camera', TYPES)
        if broken:
            message.data = message.data[:40]
        self.bag.write(f'{CAMERA}/compressed', stamp_ns, message)


@pytest.fixture
def clip(tmp_path):
    """Twelve pairs, at once."""
    with Clip(tmp_path / 'clip') as made:
        made.info()
        for index in range(12):
            made.radar(index, velocity=index / 10)
            made.image(index)
    return made.path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / 'cache'


def make_clip(path, frames=6, **changes):
    with Clip(path) as made:
        made.info(**changes)
        for index in range(frames):
            grid = changes.get('grid', GRID)
            made.radar(index, values=np.full(grid.shape, index, np.float32), **changes)
            made.image(index)
    return path


# What a recording holds -----------------------------------------------------------------------------------------------


def test_a_recording_holds_the_frames_of_the_bag(clip, cache):
    recording = open_recording(clip, cache=cache)
    assert len(recording) == 12
    assert (recording.name, recording.radar, recording.frame_id) == ('clip', 'small', 'radar')
    assert recording.grid == GRID
    assert recording.reference is Reference.NOISE_FLOOR
    assert recording.stamps_ns.tolist() == [START + index * PERIOD for index in range(12)]
    assert recording.heatmaps[:, 0, 0].tolist() == list(range(12))
    assert recording.noise_floor.tolist() == [-1.5] * 12
    np.testing.assert_allclose(recording.velocity[:, 1, 1], np.arange(12) / 10, rtol=1e-6)
    assert recording.has_image.all()
    assert recording.faults == ()


def test_a_frame_is_the_heatmap_that_the_bag_holds(clip, cache):
    recording = open_recording(clip, cache=cache)
    for index, frame in enumerate(BagReader(clip).frames()):
        ours, theirs = recording.heatmap(index), frame.heatmap
        assert ours.values.tobytes() == theirs.values.tobytes()
        assert ours.velocity.tobytes() == theirs.velocity.tobytes()
        assert (ours.grid, ours.reference, ours.noise_floor) == (theirs.grid, theirs.reference, theirs.noise_floor)
        assert (ours.radar, ours.carrier_frequency, ours.bandwidth) == ('small', 28e9, 4e8)


def test_pictures_are_stored_small_with_their_aspect(clip, cache):
    recording = open_recording(clip, RecordingSettings(image_width=48), cache)
    assert recording.images.shape == (12, 32, 48, 3)
    assert recording.image_size == SIZE
    red = recording.images[5].astype(int)
    assert red[15, 17].tolist() == [250, 20, 20]


def test_pictures_are_never_enlarged(clip, cache):
    recording = open_recording(clip, RecordingSettings(image_width=4000), cache)
    np.testing.assert_array_equal(recording.images[3], picture(3))


def test_masks_show_what_moves(clip, cache):
    recording = open_recording(clip, cache=cache)
    assert recording.segmented.all()
    assert recording.instances == recording.mask_starts[-1] == 12
    for index in range(12):
        (mask,) = recording.masks(index)
        assert mask.picture == SIZE
        assert abs(mask.left - 6 * index) <= 1
        assert abs(mask.top - 20) <= 1
        assert mask.area == pytest.approx(160, rel=0.15)
        assert mask.truncated == (index == 0)


def test_without_masks_no_frame_is_segmented(clip, cache):
    recording = open_recording(clip, RecordingSettings(masks='none'), cache)
    assert not recording.segmented.any()
    assert recording.instances == 0
    assert recording.masks(3) == []


def test_frames_beyond_the_last_one_are_refused(clip, cache):
    recording = open_recording(clip, cache=cache)
    assert recording.masks(-1)[0].left == recording.masks(11)[0].left
    with pytest.raises(IndexError):
        recording.masks(12)


def test_velocity_may_begin_later_and_be_missing_at_times(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(5):
            made.radar(index, velocity=0.5 if index in (2, 4) else None)
            made.image(index)
    recording = open_recording(made.path, cache=cache)
    assert np.isnan(recording.velocity).all(axis=(1, 2)).tolist() == [True, True, False, True, False]
    assert recording.heatmap(1).velocity is None
    assert recording.heatmap(4).velocity[0, 0] == 0.5


def test_where_velocities_are_missing_at_times_nothing_is_seen_to_move_there(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(3):
            made.radar(index, velocity=None if index == 0 else 0.5)
            made.image(index)
    inputs = recording_inputs(open_recording(tmp_path / 'bag', cache=cache), RadarInputSettings(('power', 'moving')))
    assert [bool(moving.any()) for moving in inputs[:, 1]] == [False, True, True]


def test_a_radar_without_velocity_has_none(tmp_path, cache):
    assert open_recording(make_clip(tmp_path / 'bag'), cache=cache).velocity is None


def test_recordings_are_pickled_as_a_place(clip, cache):
    recording = open_recording(clip, RecordingSettings(camera_pose='mast'), cache)
    packed = pickle.dumps(recording)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    np.testing.assert_array_equal(again.heatmaps, recording.heatmaps)
    assert (again.name, again.group, again.content) == (recording.name, 'mast', recording.content)
    assert again.masks(4)[0].area == recording.masks(4)[0].area


def test_the_camera_pose_is_the_bags_own_unless_it_is_named(tmp_path, cache):
    first = open_recording(make_clip(tmp_path / 'a', 5), cache=cache)
    second = open_recording(make_clip(tmp_path / 'b', 6), cache=cache)
    assert first.group != second.group
    named = [open_recording(tmp_path / name, RecordingSettings(camera_pose='mast'), cache).group for name in 'ab']
    assert named == ['mast', 'mast']


# Pairing --------------------------------------------------------------------------------------------------------------


def test_an_image_belongs_to_one_radar_frame_at_most(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(3):
            made.radar(index)
            made.radar(index + 100, START + index * PERIOD + 20 * MS)
            made.image(index, START + index * PERIOD + 21 * MS)
    recording = open_recording(made.path, cache=cache)
    assert recording.heatmaps[recording.has_image, 0, 0].tolist() == [100, 101, 102]
    assert recording.image_stamps_ns[~recording.has_image].tolist() == [0, 0, 0]
    assert not recording.images[~recording.has_image].any()
    assert not recording.segmented[~recording.has_image].any()


def test_images_beyond_the_slop_belong_to_none(clip, cache):
    with pytest.raises(RecordingError, match=r'got none among 12 radar frames and 12 images: .* 0\.030 s away'):
        open_recording(clip, RecordingSettings(slop_s=0.01, image_offset_s=0.03), cache)
    assert not cache.exists() or all(entry.suffix == '.lock' for entry in cache.iterdir())


def test_the_bags_own_pairs_are_kept(tmp_path, clip, cache):
    marked = tmp_path / 'marked'
    pair_bags([clip], marked, slop_s=0.01, image_offset_s=0.1)
    recording = open_recording(marked, cache=cache)
    assert recording.has_image.tolist() == [False] + [True] * 11
    assert (recording.stamps_ns - recording.image_stamps_ns)[1:].tolist() == [PERIOD] * 11


def test_of_pairs_of_several_sensors_those_count_whose_topics_are_wanted_or_else_come_first(tmp_path, cache):
    """Radars are marked with cameras whose images are so many frames late; the first of them lack two marks."""
    late = {(RADAR, CAMERA): 1, (RADAR, '/camera/right'): 2, ('/radar/other', CAMERA): 3}
    with Clip(tmp_path / 'bag') as made:
        for topic in (RADAR, '/radar/other'):
            made.info(topic=topic)
        for index in range(8):
            for topic in (RADAR, '/radar/other'):
                made.radar(index, START + index * PERIOD, topic=topic)
            for topic in (CAMERA, '/camera/right'):
                made.image(index, START + index * PERIOD, topic=topic)
            for topics, frames in late.items():
                if index >= frames and (frames, index) not in ((1, 4), (1, 5)):
                    made.pair(index, index - frames, *topics)
    for settings, frames in (
        ({}, 1),
        ({'image_topic': '/camera/right'}, 2),
        ({'radar_topic': '/radar/other'}, 3),
        ({'radar_topic': '/radar/other', 'image_topic': '/camera/right'}, 0),  # marked with none: the nearest images
    ):
        recording = open_recording(made.path, RecordingSettings(masks='none', **settings), cache)
        assert recording.has_image.tolist() == [
            index >= frames and (frames, index) not in ((1, 4), (1, 5)) for index in range(8)
        ]
        apart = (recording.stamps_ns - recording.image_stamps_ns)[recording.has_image]
        assert np.all(apart == frames * PERIOD)


def test_pairs_of_equal_stamps_are_those_of_their_order(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(4):
            made.radar(index, START + index // 2 * PERIOD)
            made.image(index, START + index // 2 * PERIOD)
            made.pair(index // 2, index // 2)
    recording = open_recording(made.path, RecordingSettings(masks='none'), cache)
    assert recording.has_image.all()
    for index in range(4):
        np.testing.assert_array_equal(recording.images[index], picture(index))


def test_an_offset_that_is_given_goes_before_the_bags_own_pairs(tmp_path, clip, cache):
    marked = tmp_path / 'marked'
    pair_bags([clip], marked, slop_s=0.01, image_offset_s=0.1)
    recording = open_recording(marked, RecordingSettings(image_offset_s=0.0), cache)
    assert recording.stamps_ns.tolist() == recording.image_stamps_ns.tolist()


def test_nothing_is_paired_across_a_jump_back(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for turn in range(2):
            for index in range(20):
                time_ns = START + (20 * turn + index) * PERIOD
                made.bag.write(
                    RADAR,
                    time_ns,
                    messages.heatmap_to_image(heatmap(index + 100 * turn), START + index * PERIOD, 'radar', TYPES),
                )
                image = messages.image_to_message(
                    picture(index + turn), 'rgb8', START + index * PERIOD, 'camera', TYPES
                )
                made.bag.write(CAMERA, time_ns, image)
    recording = open_recording(made.path, RecordingSettings(masks='none'), cache)
    assert len(recording) == 40
    assert recording.has_image.all()
    np.testing.assert_array_equal(recording.images[25], picture(6))
    assert recording.faults == ('stamps jump back in time 1 times; nothing is paired across that',)


# What cannot be used --------------------------------------------------------------------------------------------------


def test_heatmaps_with_nan_are_left_out_and_told(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(6):
            unusable = {'values': np.full(GRID.shape, np.nan, np.float32)} if index == 2 else {}
            made.info(START + index * PERIOD, noise_floor=-float(index))
            made.radar(index, **unusable)
            made.image(index)
    recording = open_recording(made.path, cache=cache)
    assert recording.heatmaps[:, 0, 0].tolist() == [0, 1, 3, 4, 5]
    assert recording.noise_floor.tolist() == [0, -1, -3, -4, -5]
    assert recording.stamps_ns.tolist() == [START + index * PERIOD for index in (0, 1, 3, 4, 5)]
    np.testing.assert_array_equal(recording.images[2], picture(3))
    (fault,) = recording.faults
    assert fault.startswith('1 of 6 radar frames cannot be used; the first: heatmap: expected finite numbers')


def test_broken_jpegs_are_told_and_their_frames_have_no_image(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(6):
            made.radar(index)
            made.jpeg(index, broken=index in (1, 3))
    recording = open_recording(made.path, cache=cache)
    assert recording.has_image.tolist() == recording.segmented.tolist() == [True, False, True, False, True, True]
    (fault,) = recording.faults
    assert fault.startswith('2 of 6 paired images cannot be used; the first:')
    assert 'JPEG' in fault


def test_images_of_another_size_are_told(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(6):
            made.radar(index)
            made.image(index, image=picture(index)[:32] if index == 4 else None)
    recording = open_recording(made.path, cache=cache)
    assert recording.has_image.tolist() == [True, True, True, True, False, True]
    assert recording.faults == ('1 of 6 paired images cannot be used; the first: expected 96 x 64 px, got 96 x 32',)


def test_messages_without_a_stamp_are_told(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(6):
            made.radar(index)
            made.image(index, stamp_ns=0 if index == 2 else None)
    recording = open_recording(made.path, cache=cache)
    assert recording.has_image.tolist() == [True, True, False, True, True, True]
    (fault,) = recording.faults
    assert fault.startswith('1 of 6 images have no stamp (0 or below) and are in no pair; `radio-visual-ssl pair')


def test_a_bag_of_which_no_message_has_a_stamp_is_refused_with_what_to_do(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(6):
            made.radar(index)
            made.image(index, stamp_ns=0)
    expected = (
        'got none among 6 radar frames and 6 images; topic .*: of 6 stamps 6 are 0 or no time: .*--stamps reception'
    )
    with pytest.raises(RecordingError, match=expected) as said:
        open_recording(made.path, cache=cache)
    assert 'nearest' not in str(said.value)


def test_a_bag_without_camera_is_refused(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        made.radar(0)
    with pytest.raises(BagError, match=r'bag: expected topic /camera/image_raw .*found /radar/heatmap'):
        open_recording(made.path, cache=cache)


def test_a_bag_without_radar_is_refused(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.image(0)
    with pytest.raises(BagError, match='bag: expected topic /radar/heatmap'):
        open_recording(made.path, cache=cache)


def test_a_bag_with_nothing_but_nan_is_refused(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(3):
            made.radar(index, values=np.full(GRID.shape, np.inf, np.float32))
            made.image(index)
    with pytest.raises(RecordingError, match='expected radar frames, none of 3 can be used; the first: heatmap'):
        open_recording(made.path, cache=cache)


@pytest.mark.parametrize('masks', ['motion', 'none'])
def test_a_bag_with_nothing_but_broken_images_is_refused(tmp_path, cache, masks):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(3):
            made.radar(index)
            made.jpeg(index, broken=True)
    with pytest.raises(RecordingError, match='expected images, none of 3 can be used; the first: .*JPEG'):
        open_recording(made.path, RecordingSettings(masks=masks), cache)


def test_a_radar_that_changes_within_the_bag_is_refused(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        made.radar(0)
        made.image(0)
        made.info(START + PERIOD, bandwidth=1e8)
        made.radar(1)
    with pytest.raises(OtherRadarError, match=r'frame 1: .* the first one; bandwidth: expected 400 MHz, got 100 MHz'):
        open_recording(made.path, cache=cache)


def test_heatmaps_that_are_formed_otherwise_within_the_bag_are_refused(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info(formation='clutter_removal=none')
        made.radar(0)
        made.image(0)
        made.info(START + PERIOD, formation='clutter_removal=static')
        made.radar(1)
    with pytest.raises(OtherRadarError, match='expected clutter_removal=none, got clutter_removal=static'):
        open_recording(made.path, cache=cache)


def test_bags_that_do_not_tell_how_they_were_formed_hide_no_difference_of_others(tmp_path, cache):
    paths = []
    for name, formation in (('a', ''), ('b', 'clutter_removal=static'), ('c', 'clutter_removal=none')):
        with Clip(tmp_path / name) as made:
            made.info(formation=formation)
            made.radar(0)
            made.image(0)
        paths.append(made.path)
    assert len(open_recordings(paths[:2], cache=cache)) == 2
    with pytest.raises(OtherRadarError, match='c: expected the radar of .*/a; formation .*=static, got .*=none'):
        open_recordings(paths, cache=cache)
    with Clip(tmp_path / 'd') as made:
        for index, formation in enumerate(('', 'clutter_removal=static', 'clutter_removal=none')):
            made.info(START + index * PERIOD, formation=formation)
            made.radar(index)
            made.image(index)
    with pytest.raises(OtherRadarError, match='frame 2: .*=static, got .*=none'):
        open_recording(made.path, cache=cache)


def test_how_heatmaps_were_formed_is_kept(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info(formation='clutter_removal=static')
        made.radar(0)
        made.image(0)
    for _ in range(2):
        recording = open_recording(made.path, cache=cache)
        assert recording.geometry.formation == recording.heatmap(0).formation == 'clutter_removal=static'


def test_a_folder_that_is_no_bag_is_refused(tmp_path, cache):
    (tmp_path / 'folder').mkdir()
    with pytest.raises(BagError, match='folder: expected a rosbag2 folder'):
        open_recording(tmp_path / 'folder', cache=cache)


def test_a_truncated_bag_is_refused(clip, cache):
    (file,) = clip.glob('*.mcap')
    os.truncate(file, 2000)
    with pytest.raises(BagError, match='clip: expected a complete bag'):
        open_recording(clip, cache=cache)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'slop_s': -1.0}, 'slop_s'),
        ({'image_width': 2}, 'image_width'),
        ({'masks': ''}, 'masks'),
        ({'wrong_masks': 1.2}, 'wrong_masks'),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        RecordingSettings(**settings)


# Recorded masks -------------------------------------------------------------------------------------------------------


def labels(index):
    image = np.zeros(SIZE[::-1], np.uint8)
    image[20:40, 6 * index : 6 * index + 8] = index + 1
    image[50:60, 80:90] = 77
    return image


def write_labels(made, index, image):
    stamp_ns = START + index * PERIOD
    message = messages.image_to_message(np.repeat(image[:, :, None], 3, axis=2), 'rgb8', stamp_ns, 'camera', TYPES)
    message = TYPES('sensor_msgs/msg/Image')(
        header=message.header,
        height=image.shape[0],
        width=image.shape[1],
        encoding='mono8',
        is_bigendian=0,
        step=image.shape[1],
        data=image.reshape(-1),
    )
    made.bag.write('/detector/mask', stamp_ns, message)


def test_recorded_masks_belong_to_the_images_of_their_stamps(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(6):
            made.radar(index)
            made.image(index)
            if index % 2 == 0:
                write_labels(made, index, labels(index))
    recording = open_recording(made.path, RecordingSettings(masks='/detector/mask'), cache)
    assert recording.segmented.tolist() == [True, False, True, False, True, False]
    assert [[mask.number for mask in recording.masks(index)] for index in range(6)] == [
        [1, 77], [], [3, 77], [], [5, 77], [],
    ]  # fmt: skip
    np.testing.assert_array_equal(recording.masks(4)[0].full(), labels(4) == 5)


def test_recorded_masks_of_another_size_are_refused(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        made.radar(0)
        made.image(0)
        write_labels(made, 0, labels(0)[:32])
    with pytest.raises(RecordingError, match=r'/detector/mask: expected masks of the size \(96, 64\).* got \(96, 32\)'):
        open_recording(made.path, RecordingSettings(masks='/detector/mask'), cache)


def test_a_mask_topic_that_is_missing_is_named(clip, cache):
    with pytest.raises(BagError, match='expected topic /detector/mask'):
        open_recording(clip, RecordingSettings(masks='/detector/mask'), cache)


def boxes(index):
    def make(name, **fields):
        return TYPES(f'vision_msgs/msg/{name}')(**fields)

    header = messages.header(START + index * PERIOD, 'camera', TYPES)
    position = make('Point2D', x=6.0 * index + 3.5, y=29.5)
    box = make('BoundingBox2D', center=make('Pose2D', position=position, theta=0.0), size_x=8.0, size_y=20.0)
    hypothesis = make('ObjectHypothesis', class_id='van', score=0.9)
    pose = make(
        'ObjectHypothesisWithPose',
        hypothesis=hypothesis,
        pose=TYPES('geometry_msgs/msg/PoseWithCovariance')(
            pose=TYPES('geometry_msgs/msg/Pose')(
                position=TYPES('geometry_msgs/msg/Point')(x=0.0, y=0.0, z=0.0),
                orientation=TYPES('geometry_msgs/msg/Quaternion')(x=0.0, y=0.0, z=0.0, w=1.0),
            ),
            covariance=np.zeros(36),
        ),
    )
    results = [pose] if index == 2 else []
    detection = make('Detection2D', header=header, results=results, bbox=box, id=str(index + 3))
    return make('Detection2DArray', header=header, detections=[detection] if index else [])


def test_recorded_boxes_are_masks(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        for index in range(4):
            made.radar(index)
            made.image(index)
            made.bag.write('/detector/boxes', START + index * PERIOD, boxes(index))
    recording = open_recording(made.path, RecordingSettings(masks='/detector/boxes'), cache)
    assert recording.segmented.all()
    assert [[mask.number for mask in recording.masks(index)] for index in range(4)] == [[], [4], [5], [6]]
    (mask,) = recording.masks(2)
    assert (mask.left, mask.top, mask.width, mask.height) == (12, 20, 8, 20)
    assert recording.mask_labels.tolist() == ['', 'van', '']
    assert [instance.label for index in range(4) for instance in recording.masks(index)] == ['', 'van', '']


def test_what_moves_has_no_class(clip, cache):
    recording = open_recording(clip, cache=cache)
    assert recording.instances > 0 and recording.mask_labels.tolist() == [''] * recording.instances


# The cache ------------------------------------------------------------------------------------------------------------


def entries(cache):
    return sorted(entry for entry in cache.iterdir() if entry.is_dir())


def test_the_second_time_the_bag_is_not_read_again(clip, cache):
    steps = []
    open_recording(clip, cache=cache, progress=lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1] == 60
    open_recording(clip, cache=cache, progress=lambda *step: pytest.fail('read again'))


def test_a_copy_of_a_bag_is_the_same_bag(tmp_path, clip, cache):
    shutil.copytree(clip, tmp_path / 'elsewhere')
    recordings = [open_recording(path, cache=cache) for path in (clip, tmp_path / 'elsewhere')]
    assert recordings[0].content == recordings[1].content == bag_content(clip)
    assert [recording.name for recording in recordings] == ['clip', 'elsewhere']
    assert len(entries(cache)) == 1


def test_other_settings_and_other_bags_have_arrays_of_their_own(tmp_path, clip, cache):
    open_recording(clip, cache=cache)
    open_recording(clip, RecordingSettings(image_width=32), cache)
    open_recording(make_clip(tmp_path / 'other'), cache=cache)
    assert len(entries(cache)) == 3


def arrays(recording):
    """All that a recording holds, to be compared."""
    masks = [
        (frame, mask.left, mask.top, mask.area) for frame in range(len(recording)) for mask in recording.masks(frame)
    ]
    names = ('heatmaps', 'images', 'image_stamps_ns', 'has_image', 'segmented')
    return masks, [(getattr(recording, name).shape, getattr(recording, name).tobytes()) for name in names]


def test_every_setting_that_changes_what_a_recording_holds_has_arrays_of_its_own(tmp_path, cache):
    with Clip(tmp_path / 'bag') as made:
        made.info()
        made.info(topic='/radar/other')
        for index in range(12):
            made.radar(index)
            made.radar(index + 50, START + index * PERIOD, topic='/radar/other')
            made.image(index, START + index * PERIOD + 30 * MS * (index % 2))
            made.image(11 - index, START + index * PERIOD, topic='/camera/right')
    changes = {
        'radar_topic': '/radar/other',
        'image_topic': '/camera/right',
        'slop_s': 0.02,
        'image_offset_s': 0.1,
        'image_width': 32,
        'masks': 'none',
        'mask_settings': MaskSettings(smallest=0.1),
        'wrong_masks': 0.5,
    }
    assert {*changes, 'camera_pose'} == {field.name for field in fields(RecordingSettings)}
    plain = open_recording(made.path, cache=cache)
    for number, (name, value) in enumerate(changes.items()):
        settings = RecordingSettings(**{name: value})
        held = arrays(open_recording(made.path, settings, cache))
        assert held == arrays(open_recording(made.path, settings, tmp_path / str(number))) != arrays(plain), name
    assert open_recording(made.path, RecordingSettings(camera_pose='mast'), cache).store == plain.store


RADAR_INPUTS = {
    'channels': CHANNELS[::-1],
    'max_range': 12.0,
    'background_frames': 3,
    'background_interval': 4,
    'moving_speed': 2.0,
    'velocity_scale': 5.0,
    'velocity_min_snr': 20.0,
}


@pytest.mark.parametrize(
    ('make', 'plain', 'changes'),
    [
        (recording_inputs, RadarInputSettings(CHANNELS), RADAR_INPUTS),
        (recording_pictures, PictureInputSettings((8, 12)), {'size': (12, 8), 'background_frames': 3}),
    ],
)
def test_every_setting_that_changes_an_input_has_inputs_of_its_own(scenes, tmp_path, make, plain, changes):
    assert {*changes} == {field.name for field in fields(plain)}
    recording, _ = scenes.recording(1, 20)
    images = np.random.default_rng(0).integers(0, 255, (20, 16, 16, 3)).astype(np.uint8)
    recording = replace(recording, images=images, store=tmp_path / 'kept')
    first = np.array(make(recording, plain))
    for name, value in changes.items():
        settings = replace(plain, **{name: value})
        shared, alone = (
            make(replace(recording, store=store), settings) for store in (recording.store, tmp_path / name)
        )
        np.testing.assert_array_equal(shared, alone)
        assert not np.array_equal(shared, first), name


def test_radar_peaks_of_other_settings_are_looked_for_again(scenes, tmp_path):
    recording = replace(scenes.recording(1, 20)[0], store=tmp_path / 'kept')
    most = [
        max(len(found) for found in recording_candidates(recording, 'raw', CandidateSettings(max_candidates=count)))
        for count in (64, 2)
    ]
    assert most[0] > most[1] == 2


def test_a_damaged_cache_is_made_again(clip, cache):
    before = open_recording(clip, cache=cache)
    os.truncate(before.store / 'heatmaps.npy', 300)
    again = open_recording(clip, cache=cache)
    assert again.heatmaps[:, 0, 0].tolist() == list(range(12))
    assert again.faults == ()


def test_the_default_cache_follows_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_cache() == tmp_path / 'radio_visual_ssl'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert default_cache() == tmp_path / '.cache' / 'radio_visual_ssl'


def open_at_once(clip, cache, start):
    start.wait()
    recording = open_recording(clip, cache=cache)
    os._exit(0 if recording.instances == 12 and recording.heatmaps[11, 0, 0] == 11 else 1)


def test_two_processes_may_open_a_new_bag_at_once(clip, cache):
    context = multiprocessing.get_context('fork')
    start = context.Event()
    processes = [context.Process(target=open_at_once, args=(clip, cache, start)) for _ in range(2)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(entries(cache)) == 1


def test_derived_arrays_are_computed_once(clip, cache):
    recording = open_recording(clip, cache=cache)
    first = derived_array(recording, 'twice v1', lambda: recording.heatmaps * 2)
    again = derived_array(open_recording(clip, cache=cache), 'twice v1', lambda: pytest.fail('computed again'))
    other = derived_array(recording, 'thrice v1', lambda: (row * 3 for row in recording.heatmaps))
    np.testing.assert_array_equal(first, recording.heatmaps * 2)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(other, recording.heatmaps * 3)
    assert not again.flags.writeable


def test_derived_arrays_that_fail_leave_nothing(clip, cache):
    recording = open_recording(clip, cache=cache)
    with pytest.raises(ZeroDivisionError):
        derived_array(recording, 'x', lambda: 1 // 0)
    assert len(entries(cache)) == 1


# Several bags ---------------------------------------------------------------------------------------------------------


def test_several_bags_are_made_by_several_processes(tmp_path, cache):
    bags = [make_clip(tmp_path / name, frames) for name, frames in (('a', 4), ('b', 5), ('c', 6))]
    steps = []
    recordings = open_recordings(bags, RecordingSettings(), cache, workers=2, progress=lambda *step: steps.append(step))
    assert [(recording.name, len(recording)) for recording in recordings] == [('a', 4), ('b', 5), ('c', 6)]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    serial = open_recordings(bags, RecordingSettings(), tmp_path / 'other')
    for ours, theirs in zip(recordings, serial, strict=True):
        for name in ('heatmaps', 'images', 'mask_starts'):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_an_error_in_another_process_is_told(tmp_path, cache):
    bags = [make_clip(tmp_path / 'a'), tmp_path / 'none']
    with pytest.raises(BagError, match='none: expected a bag that can be read'):
        open_recordings(bags, RecordingSettings(), cache, workers=2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'grid': PolarGrid([1.0, 2.0, 3.5], [-0.125, 0.125])},
            r'radar of .*a; .*range bins: expected 3 m at 2 .*got 3.5',
        ),
        ({'reference': Reference.RCS}, r'b: .*reference of 0 dB: expected NOISE_FLOOR, got RCS'),
        ({'radar': 'large'}, "b: .*radar: expected 'small', got 'large'"),
        ({'bandwidth': 1e8}, r'b: .*bandwidth: expected 400 MHz, got 100 MHz'),
    ],
)
def test_bags_of_different_radars_are_refused(tmp_path, cache, changes, message):
    bags = [make_clip(tmp_path / 'a'), make_clip(tmp_path / 'b', **changes)]
    with pytest.raises(OtherRadarError, match=message):
        open_recordings(bags, RecordingSettings(), cache)


def test_no_bags_are_refused():
    with pytest.raises(RecordingError, match='expected at least one, got none'):
        open_recordings([])


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / 'set'
    for name in 'abc':
        make_clip(folder / name, 2)
    entries = ''.join(
        f'- {{bag: {name}, split: {split}}}\n' for name, split in zip('abc', ('train', 'val', 'train'), strict=True)
    )
    (folder / 'dataset.yaml').write_text(f'format: 1\nbags:\n{entries}')
    return folder


def test_a_data_set_stands_for_its_bags(dataset):
    assert expand_bags([dataset]) == [dataset / name for name in 'abc']
    assert expand_bags([dataset], 'train') == [dataset / 'a', dataset / 'c']
    assert expand_bags([dataset / 'b', dataset]) == [dataset / name for name in 'bac']


def test_a_folder_of_bags_stands_for_them(tmp_path):
    bags = [make_clip(tmp_path / 'day' / name, 2) for name in 'ab']
    assert expand_bags([tmp_path / 'day']) == bags


@pytest.mark.parametrize(
    ('path', 'split', 'message'),
    [('', 'tset', "expected bags of the split 'tset', found train, val"), ('a', 'val', 'a: expected a data set')],
)
def test_splits_that_do_not_exist_are_refused(dataset, path, split, message):
    with pytest.raises(RecordingError, match=message):
        expand_bags([dataset / path], split)


def test_bags_that_a_data_set_lacks_are_named(dataset):
    shutil.rmtree(dataset / 'b')
    with pytest.raises(RecordingError, match='1 are missing, first b'):
        expand_bags([dataset])


def test_a_description_that_is_none_is_named(dataset):
    (dataset / 'dataset.yaml').write_text('bags: 3')
    with pytest.raises(RecordingError, match=r'dataset\.yaml: expected a list of bags'):
        expand_bags([dataset])


def test_wrong_masks_are_those_of_other_frames(clip, cache):
    right = open_recording(clip, cache=cache)
    wrong = open_recording(clip, RecordingSettings(wrong_masks=0.5), cache)
    lefts = [[recording.masks(index)[0].left for index in range(12)] for recording in (right, wrong)]
    moved = [before != after for before, after in zip(*lefts, strict=True)]
    assert sum(moved) == 6
    assert sorted(lefts[0]) == sorted(lefts[1])
    for index, left in enumerate(lefts[1]):
        of = lefts[0].index(left)
        np.testing.assert_array_equal(wrong.masks(index)[0].full(), right.masks(of)[0].full())
    np.testing.assert_array_equal(wrong.heatmaps, right.heatmaps)
    again = open_recording(clip, RecordingSettings(wrong_masks=0.5), cache.parent / 'other')
    assert [again.masks(index)[0].left for index in range(12)] == lefts[1]
    # without wrong ones, arrays that are there already are used
    assert open_recording(clip, RecordingSettings(wrong_masks=0.0), cache).store == right.store
