# SPDX-License-Identifier: Apache-2.0
"""Label files: what is written comes back, and only for the bag that it was made from."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from radio_visual_ssl.bags.messages import targets_from_message
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.learning.label_set import (
    LABEL_TOPIC,
    LabelError,
    LabelSet,
    RecordingLabels,
    labels_of_recordings,
    write_labels_to_bag,
)
from radio_visual_ssl.learning.self_labels import SelfLabels

SECOND = 1_000_000_000


@dataclass
class Bag:
    """A recording, as far as labels need one."""

    name: str
    content: str
    stamps_ns: np.ndarray


def some_labels(name='a', content='hash of a'):
    """Four frames: two instances, none, one that is dropped, one whose picture could not be segmented."""
    return RecordingLabels(
        name=name,
        content=content,
        group='mast',
        stamps_ns=np.arange(1, 5) * SECOND,
        known=np.array([True, True, True, False]),
        frame=np.array([0, 0, 2]),
        instance=np.array([0, 1, 0]),
        range=np.array([10.0, 20.0, 30.0]),
        azimuth=np.array([0.1, -0.2, 0.3]),
        variance=np.tile([0.25, 0.01], (3, 1)),
        confidence=np.array([0.9, 0.8, 0.1]),
        kept=np.array([True, True, False]),
    )


def some_set():
    """Labels of two bags."""
    return LabelSet('em', 'radar', (some_labels(), some_labels('b', 'hash of b')), {'settings': {'folds': 5}})


def test_a_label_file_comes_back_as_it_was(tmp_path):
    labels = LabelSet.load(some_set().save(tmp_path / 'new' / 'labels.safetensors'))
    assert (labels.method, labels.radar, labels.provenance) == ('em', 'radar', {'settings': {'folds': 5}})
    assert labels.coverage == pytest.approx(2 / 3)
    assert [x.name for x in labels] == ['a', 'b']
    for got, expected in zip(labels, some_set(), strict=True):
        for name, value in vars(expected).items():
            np.testing.assert_array_equal(getattr(got, name), value)
    assert [x.name for x in (tmp_path / 'new').iterdir()] == ['labels.safetensors']


def test_a_file_that_cannot_be_written_to_its_end_leaves_the_old_one_whole(tmp_path, largest_file):
    path = some_set().save(tmp_path / 'labels.safetensors')
    before = path.read_bytes()
    with (
        largest_file(len(before) // 2),
        pytest.raises(LabelError, match='labels.safetensors: labels cannot be written'),
    ):
        replace(some_set(), method='attention').save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_classes_come_back_and_follow_their_labels(tmp_path):
    named = replace(some_labels(), label=np.array(['van', '', 'pedestrian']))
    labels = replace(some_set(), recordings=(named, some_labels('b', 'hash of b')))
    path = labels.save(tmp_path / 'labels.safetensors')
    first, second = LabelSet.load(path)
    assert first.label.tolist() == ['van', '', 'pedestrian'] and first.classes == ['pedestrian', 'van']
    assert second.label.tolist() == [''] * 3 and second.classes == []
    assert first.aligned(np.array([0, 1, 3]) * SECOND).label.tolist() == ['van', '', 'pedestrian']
    assert first.aligned(np.array([3]) * SECOND).label.tolist() == ['pedestrian']
    assert [target.label for target in first.targets()[0]] == ['van', '']
    assert LabelSet.load(path).content == labels.content != some_set().content


def test_label_files_without_classes_are_what_they_were(tmp_path):
    with safe_open(some_set().save(tmp_path / 'labels'), framework='numpy') as file:
        names = set(file.keys())
        assert not [name for name in names if 'label' in name] and 'classes' not in str(file.metadata())
    content = '57a46699256c6c6565c8dec1d6455b870da16b4c530dfbfa3dff758f7a353e7f'
    assert some_set().content == content  # of the package before there were classes


def test_classes_that_a_file_does_not_name_are_refused(tmp_path):
    named = replace(some_set(), recordings=(replace(some_labels(), label=np.array(['van', '', 'van'])),))
    path = named.save(tmp_path / 'labels')
    with safe_open(path, framework='numpy') as file:
        arrays, header = {name: file.get_tensor(name) for name in set(file.keys())}, file.metadata()
    save_file({**arrays, '0.label': np.array([0, -1, 1])}, path, header)
    with pytest.raises(LabelError, match=r"labels of 'a': label: expected whole numbers from -1 to 0.* got int64 \[-1"):
        LabelSet.load(path)


def test_labels_are_found_by_content_whatever_the_bag_is_called():
    bag = Bag('renamed', 'hash of b', np.arange(1, 5) * SECOND)
    assert some_set().of(bag).name == 'b'


def test_labels_of_another_bag_are_refused():
    with pytest.raises(LabelError, match=r'a: labels are of another bag.*expected content new, got hash of a'):
        some_set().of(Bag('a', 'new', np.arange(1, 5) * SECOND))
    with pytest.raises(LabelError, match=r'c: expected labels of this bag.*2 others: a, b'):
        some_set().of(Bag('c', 'hash of c', np.arange(1, 5) * SECOND))


def test_labels_follow_their_frames_when_the_bag_is_paired_otherwise():
    aligned = some_set().of(Bag('a', 'hash of a', np.array([0, 1, 3, 9]) * SECOND))
    assert aligned.known.tolist() == [False, True, True, False]
    assert aligned.frame.tolist() == [1, 1, 2]
    assert aligned.range.tolist() == [10, 20, 30]
    without = some_set().of(Bag('a', 'hash of a', np.array([2, 3]) * SECOND))
    assert without.frame.tolist() == [1] and without.kept.tolist() == [False]
    with pytest.raises(LabelError, match=r'none of 2 is among the 4'):
        some_set().of(Bag('a', 'hash of a', np.array([7, 8])))


def test_a_bag_whose_stamps_repeat_keeps_its_labels_as_long_as_it_is_paired_alike():
    labels = replace(some_labels(), stamps_ns=np.array([5, 6, 5, 6]))
    assert labels.aligned(np.array([5, 6, 5, 6])) is labels
    with pytest.raises(LabelError, match='none twice'):
        labels.aligned(np.array([5, 6, 5]))


def test_empty_unknown_and_dropped_frames_are_told_apart():
    first, empty, dropped, unknown = some_labels().targets()
    assert [target.range for target in first] == pytest.approx([10, 20])
    assert first[0].azimuth == pytest.approx(0.1)
    assert empty == []
    assert dropped is None and unknown is None
    assert some_labels().of_frame(0).tolist() == [0, 1]
    assert some_labels().of_frame(1).size == 0


def test_labels_of_many_recordings_are_parted():
    bags = [Bag('a', 'A', np.arange(1, 4)), Bag('b', 'B', np.arange(1, 3))]
    every = SelfLabels.given(np.array([0, 2, 3, 3]), np.array([5.0, 6, 7, 8]), np.zeros(4), np.ones(4))
    known = [np.ones(3, dtype=bool), np.ones(2, dtype=bool)]
    first, second = labels_of_recordings(bags, ['one', 'two'], known, every, np.array([True, False, True, True]))
    assert (first.frame.tolist(), first.range.tolist(), first.kept.tolist()) == ([0, 2], [5, 6], [True, False])
    assert (second.frame.tolist(), second.instance.tolist(), second.group) == ([0, 0], [0, 1], 'two')


def test_labels_become_targets_in_a_bag(tmp_path):
    assert write_labels_to_bag(tmp_path / 'labels', some_labels(), 'radar', radar_height=3.0) == 2
    messages = list(BagReader(tmp_path / 'labels').messages(LABEL_TOPIC))
    assert [len(targets_from_message(message)) for _, message in messages] == [2, 0]
    target = targets_from_message(messages[0][1])[0]
    assert target.range == pytest.approx(np.sqrt(100 - 9), rel=1e-6)
    assert target.score == pytest.approx(0.9)
    assert messages[0][1].header.frame_id == 'radar'


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'range': np.array([10.0, np.nan, 30.0])}, 'finite'),
        ({'variance': np.zeros((3, 2))}, 'variances'),
        ({'kept': np.ones(2, dtype=bool)}, r'kept: expected shape \(3,\), got \(2,\)'),
        ({'frame': np.array([0, 0, 4])}, 'frame: expected numbers from 0 to 3'),
        ({'frame': np.array([2, 0, 0])}, 'frame: expected ascending'),
        ({'confidence': np.array([0.5, 2.0, 0.5])}, 'confidence'),
        ({'label': np.array(['car'])}, r'label: expected 3 class names, got <U3 \(1,\)'),
        ({'label': np.array([1, 2, 3])}, 'label: expected 3 class names, got int64'),
    ],
)
def test_labels_that_contradict_themselves_are_refused(change, expected):
    with pytest.raises(LabelError, match=expected):
        replace(some_labels(), **change)


def test_truncated_and_other_files_are_refused(tmp_path):
    with pytest.raises(LabelError, match='found none'):
        LabelSet.load(tmp_path / 'absent')
    path = some_set().save(tmp_path / 'labels')
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(LabelError, match='whole label file'):
        LabelSet.load(path)
    save_file({'x': np.zeros(3)}, tmp_path / 'other')
    with pytest.raises(LabelError, match='another safetensors file'):
        LabelSet.load(tmp_path / 'other')
    save_file({'x': np.zeros(3)}, tmp_path / 'model', {'radio_visual_ssl': '{"kind": "localizer", "version": 1}'})
    with pytest.raises(LabelError, match="kind 'labels', got 'localizer'"):
        LabelSet.load(tmp_path / 'model')
    (tmp_path / 'text').write_text('not labels')
    with pytest.raises(LabelError, match='whole label file'):
        LabelSet.load(tmp_path / 'text')


def test_a_label_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(LabelError, match='cannot be written'):
        some_set().save(tmp_path / 'file' / 'labels')
