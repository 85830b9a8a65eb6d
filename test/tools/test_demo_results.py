# SPDX-License-Identifier: Apache-2.0
"""What `make demo` tells of its localizers: judged after the warm-up, each bag from a fresh start, told as figures."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='the demo trains networks')

from radio_visual_ssl.learning.label_set import LabelSet, RecordingLabels
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

FILE = Path(__file__).resolve().parents[2] / 'tools' / 'demo_results.py'
SPEC = importlib.util.spec_from_file_location('demo_results', FILE)
demo_results = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(demo_results)

FRAMES = 14


class Always:
    """Finds the same targets in every heatmap, and withholds others."""

    def __init__(self, found, withheld=()):
        self.found, self.withheld, self.resets = list(found), list(withheld), 0

    def localize(self, heatmap):
        return self.found

    def localize_all(self, heatmap):
        return self.found, self.withheld

    def reset(self):
        self.resets += 1


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'set'
    plan = DatasetPlan('parking_lot', 'ofdm_28ghz_400mhz_16rx', 2 * FRAMES, 4, instances=2, image_size=(64, 48))
    generate(plan, folder)
    return [folder / plan.instance(number).bag for number in range(2)]


def test_frames_of_the_warm_up_are_not_judged_and_each_bag_begins_afresh(bags):
    somewhere = Target(3.0, 0.0, score=0.9)
    localizers = {'silent': Always([]), 'wrong': Always([somewhere], [Target(4.0, 0.0, score=0.1)])}
    judged = demo_results.judge(bags, localizers)
    assert {name: of.frames for name, of in judged.metrics.items()} == dict.fromkeys(
        localizers, 2 * (FRAMES - demo_results.WARM_UP)
    )
    assert [localizer.resets for localizer in localizers.values()] == [2, 2]
    assert judged.metrics['silent'].targets > 0
    assert judged.metrics['silent'].recall == 0
    assert judged.detections['wrong'] == [somewhere]
    assert judged.frame.image is not None
    silent, wrong = demo_results.rows_of(judged.metrics)
    assert len(silent) == 1 + len(demo_results.COLUMNS)
    assert silent[:4] == ['silent', '0.00', '-', '0.00']
    assert silent[-2:] == ['>= 0.00', '-']
    assert wrong[-2:] == ['0.00', '-']
    assert wrong[0] == 'wrong'


def test_bags_without_a_target_to_show_are_refused():
    with pytest.raises(ValueError, match='expected a frame with targets and an image, got none'):
        demo_results.judge([], {'silent': Always([])})


class Bag:
    """What label files know a recording by."""

    def __init__(self, name, frames):
        self.name, self.content, self.stamps_ns = name, f'content of {name}', np.arange(frames)


def labels_of(bag, frame, kept):
    count = len(frame)
    return RecordingLabels(
        bag.name, bag.content, 'pose', bag.stamps_ns, np.ones(len(bag.stamps_ns), bool), np.array(frame),
        np.arange(count), np.full(count, 9.0), np.zeros(count), np.ones((count, 2)), np.linspace(0.5, 0.9, count),
        np.array(kept),
    )  # fmt: skip


def test_the_frame_with_the_most_kept_labels_is_shown():
    bags = Bag('first', 3), Bag('second', 3)
    parts = labels_of(bags[0], [0, 1, 1, 1], [True, True, False, False]), labels_of(bags[1], [0, 2, 2], [True] * 3)
    label_set = LabelSet('mcl_em', 'radar', parts)
    recording, labels, frame = demo_results.most_labelled(bags, label_set)
    assert (recording, labels.name, frame) == (bags[1], 'second', 2)


def test_labels_of_which_none_was_kept_are_refused():
    bag = Bag('first', 3)
    with pytest.raises(ValueError, match='expected at least one that was kept'):
        demo_results.most_labelled([bag], LabelSet('mcl_em', 'radar', (labels_of(bag, [1], [False]),)))
