# SPDX-License-Identifier: Apache-2.0
"""Examples are chosen by their rules, from distinct bags where there are such, and few frames are held meanwhile."""

import gc
import weakref

import numpy as np
import pytest

from radio_visual_ssl.bags.reader import Frame
from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame
from radio_visual_ssl.evaluation.examples import MOST_FRAMES, RULES, ExampleChooser
from radio_visual_ssl.evaluation.metrics import match_frame
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target

HEATMAP = Heatmap(np.zeros((3, 3), np.float32), PolarGrid(np.arange(1.0, 4.0), np.linspace(-1, 1, 3)))
TRUTH = [Target(10.0 * index, 0.0, in_camera_view=True) for index in range(1, 6)]


def frame(found=5, false=0, error=0.0, targets=5, stamp=0, image=True, other=None):
    """Of one localizer, or of two of which the other one finds so many; all in the first of the targets."""
    truth, matches, detections = TRUTH[:targets], {}, {}
    for name, count in (('one', found), ('other', other)):
        if count is not None:
            detections[name] = [Target(each.x + error, 0.0) for each in truth[:count]]
            detections[name] += [Target(10.0, 20.0 + index) for index in range(false)]
            matches[name] = match_frame(detections[name], truth)
    picture = np.zeros((2, 2, 3), np.uint8) if image else None
    return EvaluatedFrame(Frame(stamp, 'radar', HEATMAP, picture, truth=truth), detections, matches)


def chosen(frames):
    chooser = ExampleChooser()
    for bag, each in frames:
        chooser.add(bag, each)
    return {example.name: example for example in chooser.chosen()}


def test_each_rule_finds_its_frame():
    frames = {
        'missed': frame(found=1),
        'false_alarms': frame(false=3),
        'largest_error': frame(error=1.5),
        'all_right': frame(),
        'differ': frame(found=5, other=3),
    }
    frames['fullest'] = frame(found=4)
    examples = chosen((f'bag {name}', each) for name, each in frames.items())
    assert {name: example.bag for name, example in examples.items()} == {name: f'bag {name}' for name in frames}
    assert list(examples) == [rule.name for rule in RULES]
    assert examples['missed'].reason == 'most targets missed, all localizers together: 4'
    assert examples['largest_error'].reason == 'largest error of a hit to the centre: 1.50 m'


def test_an_image_goes_first_then_the_rank_then_time():
    early, late = frame(found=3, stamp=1), frame(found=3, stamp=2)
    frames = [('a', frame(found=0, image=False)), ('b', early), ('c', late)]
    assert chosen(frames)['missed'].frame is early
    assert chosen(frames[:1])['missed'].bag == 'a'


def test_bags_that_have_no_example_go_first_and_no_frame_is_shown_twice():
    worst, second = frame(found=0, false=9), frame(found=4, false=1)
    examples = chosen([('a', worst), ('b', second)])
    assert examples['missed'].frame is worst
    assert examples['false_alarms'].frame is second
    assert examples['false_alarms'].reason.endswith('together: 1, where no example above is from')
    assert examples['missed'].reason.endswith('together: 5')
    shown = [example.frame for example in chosen([('a', worst), ('a', second)]).values()]
    assert len(shown) == len({id(each) for each in shown})


def test_what_is_not_there_is_no_example():
    examples = chosen([('a', frame(found=0, targets=0))])
    assert list(examples) == ['fullest']
    # not even where another bag has no example yet
    assert 'fullest' not in chosen([('a', frame(found=5)), ('b', frame(found=0, targets=0))])
    unjudged = EvaluatedFrame(Frame(0, 'radar', HEATMAP), {'one': []}, {})
    assert chosen([('a', unjudged)]) == {}


@pytest.mark.parametrize('seed', range(3))
def test_choices_from_few_kept_frames_are_those_from_all(seed):
    """The rule, applied to everything at once, against the one that forgets."""
    random = np.random.default_rng(seed)
    frames = [
        (f'bag {random.integers(9)}', frame(random.integers(6), random.integers(4), random.uniform(0, 2), stamp=index,
                                           other=random.integers(6), image=bool(random.random() < 0.8)))
        for index in range(300)
    ]  # fmt: skip
    expected, bags = {}, set()
    for rule in RULES:
        best = {}  # of each bag
        for bag, each in frames:
            value = rule.rank(list(each.matches.values()))
            rank = None if value is None else (each.frame.image is not None, value, -each.frame.stamp_ns)
            if rank is not None and (bag not in best or rank > best[bag][0]):
                best[bag] = rank, each
        left = {bag: of for bag, of in best.items() if bag not in bags}
        left = left or {bag: of for bag, of in best.items() if of[1] not in expected.values()}
        bag = max(left, key=lambda bag: left[bag][0])
        bags.add(bag)
        expected[rule.name] = left[bag][1]
    assert {name: example.frame for name, example in chosen(frames).items()} == expected


def test_few_frames_are_held():
    chooser, held = ExampleChooser(), []
    random = np.random.default_rng(0)
    for index in range(400):
        each = frame(random.integers(6), random.integers(5), random.uniform(0, 2), other=random.integers(6))
        chooser.add(f'bag {index % 50}', each)
        held.append(weakref.ref(each))
    del each
    gc.collect()
    assert sum(reference() is not None for reference in held) <= MOST_FRAMES
