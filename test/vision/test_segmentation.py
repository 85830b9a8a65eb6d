# SPDX-License-Identifier: Apache-2.0
"""What moves before a static camera is found without labels, and what hinders it is noticed."""

import numpy as np
import pytest
from mask_quality import MaskTally

from radio_visual_ssl.simulation.layout import lay_out
from radio_visual_ssl.simulation.rendering import Renderer, camera_on
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.vision.mask_settings import MaskSettings
from radio_visual_ssl.vision.masks import MaskError, Outcome
from radio_visual_ssl.vision.segmentation import MaskMaker

SHAPE = (90, 120)
METHODS = ('median', 'mog2', 'knn')
SHADOW = 0.6


def ground(seed=0, shape=SHAPE):
    """A background with texture, in colours."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(70, 130, (shape[0] // 10, shape[1] // 10, 1)).repeat(10, axis=0).repeat(10, axis=1)
    return coarse * (1.0, 0.95, 0.9)


def clip(frames=40, *, plain=False, shadow=False, gain=None, still=None, scale=1, seed=1):
    """Pictures and true masks of a box that goes from left to right over the ground, with noise.

    Args:
        plain: ground of one colour.
        shadow: darken a patch on its right.
        gain: (frames,) exposure.
        still: frames in which it does not move, from the start on.
        scale: of the picture.
    """
    rng = np.random.default_rng(seed)
    background = np.full((*SHAPE, 3), 100.0) if plain else ground()
    background = background.repeat(scale, axis=0).repeat(scale, axis=1)
    pictures, masks = [], []
    for frame in range(frames):
        left = scale * round(5 + 88 * max(frame - (still or 0), 0) / frames)
        picture, mask = background.copy(), np.zeros(background.shape[:2], np.uint8)
        place = np.s_[40 * scale : 62 * scale, left : left + 14 * scale]
        if shadow:
            picture[54 * scale : 64 * scale, left + 14 * scale : left + 26 * scale] *= SHADOW
        picture[place], mask[place] = (190, 60, 50), 1
        picture = picture * (1.0 if gain is None else gain[frame]) + rng.normal(0, 2, picture.shape)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
        masks.append(mask)
    return pictures, masks


def tally(frames, masks):
    result = MaskTally()
    for frame, mask in zip(frames, masks, strict=True):
        result.add(frame.instances, mask)
    return result.quality()


def offline(pictures, **settings):
    maker = MaskMaker(MaskSettings(**settings))
    maker.learn(pictures)
    return maker, [maker.segment(picture) for picture in pictures]


class TestOffline:
    def test_a_mover_is_found_from_the_first_frame_on(self):
        pictures, masks = clip()
        quality = tally(offline(pictures)[1], masks)
        assert quality.recall == 1.0 and quality.precision == 1.0
        assert quality.pixel_iou > 0.93
        assert quality.median_bottom_error_px <= 1.0

    @pytest.mark.parametrize('method', METHODS)
    def test_each_method_finds_one_that_is_there_in_a_third_of_the_clip(self, method):
        rng = np.random.default_rng(6)
        pictures, masks = clip(30)
        empty = [np.clip(ground() + rng.normal(0, 2, (*SHAPE, 3)), 0, 255).astype(np.uint8) for _ in range(30)]
        nothing = [np.zeros(SHAPE, np.uint8)] * 30
        quality = tally(offline(empty + pictures + empty, method=method)[1], nothing + masks + nothing)
        assert quality.recall > 0.95 and quality.precision > 0.95
        assert quality.pixel_iou > 0.8

    def test_an_empty_scene_has_no_masks(self):
        rng = np.random.default_rng(2)
        pictures = [np.clip(ground() + rng.normal(0, 3, (*SHAPE, 3)), 0, 255).astype(np.uint8) for _ in range(30)]
        for method in METHODS:
            maker, frames = offline(pictures, method=method)
            assert not any(frame.instances for frame in frames)
            assert maker.shadow_ratio is None

    def test_one_who_waits_for_a_third_of_the_clip_is_no_background(self):
        pictures, masks = clip(45, still=15)
        assert tally(offline(pictures)[1], masks).recall == 1.0

    @pytest.mark.parametrize('colour', [20, 220])
    def test_nor_is_one_where_the_camera_has_no_noise(self, colour):
        pictures = [np.full((*SHAPE, 3), 110, np.uint8) for _ in range(40)]
        for picture in pictures[10:25]:
            picture[40:62, 30:44] = colour
        _, frames = offline(pictures)
        assert [len(frame.instances) for frame in frames] == [0] * 10 + [1] * 15 + [0] * 15

    def test_one_of_many_colours_may_hide_the_ground_for_most_of_the_time(self):
        rng = np.random.default_rng(8)
        pictures = [np.clip(100 + rng.normal(0, 2, (*SHAPE, 3)), 0, 255).astype(np.uint8) for _ in range(60)]
        for picture in pictures[:36]:
            picture[40:62, 30:44] = rng.integers(120, 255, 3)
        _, frames = offline(pictures)
        assert [len(frame.instances) for frame in frames] == [1] * 36 + [0] * 24

    def test_order_of_the_pictures_does_not_matter(self):
        pictures, _ = clip(30)
        maker, backwards = MaskMaker(), MaskMaker()
        maker.learn(pictures)
        backwards.learn(pictures[::-1])
        one, other = maker.segment(pictures[7]), backwards.segment(pictures[7])
        np.testing.assert_array_equal(one.instances[0].full(), other.instances[0].full())

    def test_segmenting_learns_nothing(self):
        pictures, _ = clip(30)
        for method in METHODS:
            maker, frames = offline(pictures, method=method)
            for _ in range(5):
                maker.segment(pictures[3])
            again = [instance.full() for instance in maker.segment(pictures[9]).instances]
            np.testing.assert_array_equal(again, [instance.full() for instance in frames[9].instances])

    def test_clip_is_read_once(self):
        pictures, _ = clip(30)
        maker = MaskMaker()
        maker.learn(picture for picture in pictures)
        assert maker.segment(pictures[3]).instances

    def test_grey_pictures_will_do(self):
        pictures, masks = clip()
        _, frames = offline([picture[:, :, 0] for picture in pictures])
        assert tally(frames, masks).recall == 1.0

    def test_large_pictures_give_masks_of_their_own_size(self):
        pictures, masks = clip(24, scale=4)
        _, frames = offline(pictures, working_width=120)
        assert frames[0].instances[0].picture == (480, 360)
        quality = tally(frames, masks)
        assert quality.recall == 1.0 and quality.pixel_iou > 0.9


class TestShadows:
    def test_their_ratio_is_found(self):
        maker, _ = offline(clip(shadow=True)[0])
        low, high = maker.shadow_ratio
        assert low < SHADOW < high and high - low < 0.15

    def test_they_are_left_out(self):
        pictures, masks = clip(shadow=True)
        kept = tally(offline(pictures, shadows='keep')[1], masks)
        for shadows in ('auto', 'remove'):
            left_out = tally(offline(pictures, shadows=shadows)[1], masks)
            assert left_out.recall == 1.0 and left_out.pixel_iou > 0.9
        assert kept.pixel_iou < 0.8

    def test_a_grey_target_of_many_shades_is_none(self):
        rng = np.random.default_rng(4)
        background = np.full((*SHAPE, 3), 150.0)
        shades = rng.uniform(40, 130, (22, 14, 1)).repeat(3, axis=2)
        pictures = []
        for frame in range(40):
            picture = background + rng.normal(0, 2, background.shape)
            picture[40:62, 5 + 2 * frame : 19 + 2 * frame] = shades
            pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
        maker, frames = offline(pictures)
        assert maker.shadow_ratio is None
        assert frames[30].instances[0].area > 290
        taken = offline(pictures, shadows='remove')[1][30].instances
        assert sum(instance.area for instance in taken) < 200


class TestHidden:
    def test_who_passes_behind_something_is_suspected_to_be_hidden(self):
        pictures, _ = clip(plain=True)
        for picture in pictures:
            picture[56:70, 50:75] = 20
        _, frames = offline(pictures)
        flagged = [
            (instance.left, instance.occluded)
            for frame in frames
            for instance in frame.instances
            if not 40 < instance.left < 75
        ]
        assert flagged and not any(occluded for _, occluded in flagged)
        behind = [instance for frame in frames for instance in frame.instances if 50 <= instance.left <= 60]
        assert behind and all(instance.occluded for instance in behind)


class TestLight:
    def test_a_jump_gives_no_masks_and_is_counted(self):
        pictures, masks = clip(40)
        pictures[20] = np.clip(pictures[20].astype(float) * 0.3 + 90, 0, 255).astype(np.uint8)
        maker, frames = offline(pictures)
        assert frames[20].instances == ()
        assert frames[20].outcome is Outcome.JUMP
        assert maker.jumps == 1
        del frames[20], masks[20]
        assert tally(frames, masks).recall == 1.0

    def test_exposure_that_wanders_is_undone(self):
        gain = 1 + 0.2 * np.sin(np.arange(40) / 5)
        pictures, masks = clip(gain=gain)
        maker, frames = offline(pictures)
        quality = tally(frames, masks)
        assert maker.jumps == 0
        assert quality.recall == 1.0 and quality.precision == 1.0

    def test_another_light_in_a_part_of_the_clip_is_learned_too(self):
        pictures, masks = clip(60)
        tint = np.array([0.5, 0.9, 1.3])
        pictures = [
            np.clip(picture * tint, 0, 255).astype(np.uint8) if frame >= 38 else picture
            for frame, picture in enumerate(pictures)
        ]
        maker, frames = offline(pictures)
        assert maker.jumps == 0
        assert tally(frames, masks).recall > 0.9


class TestLive:
    @pytest.mark.parametrize('method', METHODS)
    def test_no_masks_before_it_is_warm_and_good_ones_then(self, method):
        pictures, masks = clip(60)
        maker = MaskMaker(MaskSettings(method=method, warm_up=30))
        frames = [maker.update(picture) for picture in pictures]
        assert [frame.outcome for frame in frames[:30]] == [Outcome.WARM_UP] * 30
        assert maker.warming_up == 30
        assert all(frame.outcome is Outcome.SEGMENTED for frame in frames[30:])
        assert tally(frames[30:], masks[30:]).recall > 0.9

    @pytest.mark.parametrize('method', METHODS)
    def test_lasting_change_is_learned_after_some_jumps(self, method):
        pictures, _ = clip(40)
        settings = MaskSettings(method=method, warm_up=10, patience=5, history=200)
        maker = MaskMaker(settings)
        for picture in pictures[:20]:
            maker.update(picture)
        other = [255 - picture for picture in pictures]
        outcomes = [maker.update(picture).outcome for picture in other]
        assert outcomes[0] is Outcome.JUMP
        assert Outcome.WARM_UP in outcomes or method == 'mog2'  # which is faster by itself
        assert outcomes[-1] is Outcome.SEGMENTED
        assert 0 < maker.jumps <= 10

    def test_slow_light_is_followed(self):
        rng = np.random.default_rng(5)
        maker = MaskMaker(MaskSettings(exposure=False, drift=0.2))
        for frame in range(150):
            picture = ground() + 0.1 * frame + rng.normal(0, 2, (*SHAPE, 3))
            found = maker.update(np.clip(picture, 0, 255).astype(np.uint8))
        assert found.outcome is Outcome.SEGMENTED and not found.instances


class TestBadInput:
    def test_nothing_learned(self):
        with pytest.raises(MaskError, match='learn'):
            MaskMaker().segment(clip(1)[0][0])

    @pytest.mark.parametrize('method', METHODS)
    def test_no_pictures(self, method):
        with pytest.raises(MaskError, match='at least one'):
            MaskMaker(MaskSettings(method=method)).learn([])

    def test_another_size(self):
        pictures, _ = clip(5)
        maker, _ = offline(pictures)
        with pytest.raises(MaskError, match='size'):
            maker.segment(pictures[0][:50])
        with pytest.raises(MaskError, match='size'):
            maker.learn([pictures[0], pictures[1][:50]])

    @pytest.mark.parametrize('bad', [np.zeros((20, 20, 3)), np.zeros((20, 20, 4), np.uint8), np.zeros(20, np.uint8)])
    def test_no_picture(self, bad):
        with pytest.raises(MaskError, match='uint8'):
            MaskMaker().update(bad)

    @pytest.mark.parametrize(
        ('name', 'value'),
        [('method', 'gmm'), ('shadows', 'yes'), ('jump', 1.5), ('warm_up', 0), ('threshold', 9.0), ('drift', -1.0)],
    )
    def test_wrong_setting_is_named(self, name, value):
        with pytest.raises(ValueError, match=name):
            MaskSettings(**{name: value})


class TestSimulated:
    def test_parking_lot_in_the_sun(self):
        """Cars and a pedestrian with shadows, over 30 s."""
        layout = lay_out(load_scene('parking_lot'), 0)
        renderer = Renderer(layout, camera_on(layout.scene, (320, 240)))
        views = [renderer.view(time) for time in np.arange(0, 30, 0.75)]
        maker, frames = offline([view.image for view in views])
        quality = tally(frames, [view.mask for view in views])
        assert maker.shadow_ratio is not None
        assert quality.pixel_iou > 0.7
        assert quality.recall > 0.6 and quality.precision > 0.7
        assert quality.sizes['large'].recall in (None, 1.0)
