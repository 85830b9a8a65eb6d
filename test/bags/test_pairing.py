# SPDX-License-Identifier: Apache-2.0
"""Pairs are the closest ones, live as afterwards, and are given out as soon as nothing can change them."""

import itertools
import random

import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.pairing import IMAGE, RADAR, PairMatcher, match_stamps, pair_to_message
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore

MS = 1_000_000
SECOND = 1_000_000_000
SEEDS = range(40)


def exhaustive(radar, image, slop):
    """The rule by trying all: again and again the best of all candidates that are left. Returns index pairs."""
    pairs = []
    radars, images = set(range(len(radar))), set(range(len(image)))
    while True:
        candidates = [
            (abs(radar[r] - image[i]), radar[r], image[i], r, i)
            for r, i in itertools.product(radars, images)
            if abs(radar[r] - image[i]) <= slop
        ]
        if not candidates:
            return sorted(pairs)
        *_, r, i = min(candidates)
        radars.remove(r)
        images.remove(i)
        pairs.append((r, i))


def offline(radar, image, slop, **offsets):
    found = match_stamps(np.array(radar, np.int64), np.array(image, np.int64), slop, **offsets)
    return sorted(zip(*(side.tolist() for side in found), strict=True))


class Live:
    """A matcher that is fed, and what it decided; items are (stream, index)."""

    def __init__(self, slop, **settings):
        self.matcher = PairMatcher(slop, **settings)
        self.counts = [0, 0]
        self.pairs = []
        self.unpaired = ([], [])
        self.resets = 0

    def add(self, stream, stamp):
        decision = self.matcher.add(stream, stamp, self.counts[stream])
        self.counts[stream] += 1
        return self.take(decision)

    def take(self, decision):
        self.pairs += decision.pairs
        self.resets += decision.reset
        for stream in (RADAR, IMAGE):
            self.unpaired[stream].extend(decision.unpaired[stream])
        return decision

    def run(self, arrivals):
        for stream, stamp in arrivals:
            self.add(stream, stamp)
        self.take(self.matcher.flush())
        return self

    @property
    def stamps(self):
        return sorted((pair.radar_stamp_ns, pair.image_stamp_ns) for pair in self.pairs)


def random_streams(rng):
    """Two small streams with ties, duplicates, gaps and unequal rates, and a slop."""
    span = rng.choice([6, 30, 200])
    streams = [[rng.randrange(span) for _ in range(rng.randrange(14))] for _ in range(2)]
    return *streams, rng.randrange(25)


def arrivals(rng, radar, image, reordering):
    """Any interleaving in which no message is older than the latest of its stream by more than ``reordering``."""
    waiting = [sorted(s, key=lambda stamp: stamp + rng.uniform(0, reordering)) for s in (radar, image)]
    while any(waiting):
        stream = rng.choice([s for s in (RADAR, IMAGE) if waiting[s]])
        yield stream, waiting[stream].pop(0)


def sensor_streams(rng, radar_hz, image_hz, seconds, jitter_ms=15, loss=0.1):
    """Sorted stamps of two sensors, ns, and all messages in the order of their stamps."""
    streams = []
    for rate in (radar_hz, image_hz):
        phase = rng.random()
        stamps = (
            SECOND * (phase + k) / rate + rng.uniform(-jitter_ms, jitter_ms) * MS for k in range(int(seconds * rate))
        )
        streams.append(sorted(round(stamp) for stamp in stamps if rng.random() >= loss))
    merged = sorted((stamp, stream) for stream in (RADAR, IMAGE) for stamp in streams[stream])
    return *streams, [(stream, stamp) for stamp, stream in merged]


@pytest.mark.parametrize('seed', SEEDS)
def test_whole_streams_are_paired_as_trying_all_pairs_them(seed):
    rng = random.Random(seed)
    for _ in range(20):
        radar, image, slop = random_streams(rng)
        assert offline(radar, image, slop) == exhaustive(radar, image, slop)


@pytest.mark.parametrize('seed', SEEDS)
def test_live_pairs_equal_those_of_the_whole_streams_in_any_order_of_arrival(seed):
    rng = random.Random(seed)
    for reordering in (0, 0, 4, 30):
        radar, image, slop = random_streams(rng)
        live = Live(slop, reordering_ns=reordering).run(arrivals(rng, radar, image, reordering))
        expected = exhaustive(radar, image, slop)
        assert live.stamps == sorted((radar[r], image[i]) for r, i in expected)
        for stream, member in ((RADAR, 'radar'), (IMAGE, 'image')):
            decided = live.unpaired[stream] + [getattr(pair, member) for pair in live.pairs]
            assert sorted(decided) == list(range(live.counts[stream])), 'each message is decided once'


@pytest.mark.parametrize('seed', SEEDS)
def test_nothing_waits_that_no_future_could_change(seed):
    """What is still open after a message would be decided otherwise if certain later messages came."""
    rng = random.Random(seed)
    slop, reordering = rng.randrange(1, 7), rng.choice([0, 0, 2])
    radar, image = ([rng.randrange(25) for _ in range(rng.randrange(1, 6))] for _ in range(2))
    live = Live(slop, reordering_ns=reordering)
    seen = [], []
    for stream, stamp in arrivals(rng, radar, image, reordering):
        live.add(stream, stamp)
        seen[stream].append(stamp)
        marks = [max(stamps, default=-99) - reordering for stamps in seen]
        copies = len(seen[RADAR]) + len(seen[IMAGE]) + 1
        floods = [sorted(range(max(mark, -slop), 26 + slop)) * copies for mark in marks]
        futures = [([], []), (floods[RADAR], []), ([], floods[IMAGE])]
        outcomes = []
        for more in futures:
            pairs = exhaustive_sorted(seen[RADAR] + more[RADAR], seen[IMAGE] + more[IMAGE], slop)
            known = {(r, i) for r, i in pairs if r < len(seen[RADAR]) and i < len(seen[IMAGE])}
            alone = [set(range(len(seen[s]))) - {pair[s] for pair in pairs} for s in (RADAR, IMAGE)]
            outcomes.append((known, alone))
        certain = set.intersection(*(known for known, _ in outcomes))
        assert {(pair.radar, pair.image) for pair in live.pairs} == certain
        for side in (RADAR, IMAGE):
            assert set(live.unpaired[side]) == set.intersection(*(alone[side] for _, alone in outcomes))


def exhaustive_sorted(radar, image, slop):
    """As ``exhaustive``, for streams too large for it."""
    pairs, radars, images = [], set(), set()
    for *_, r, i in sorted(
        (abs(x - y), x, y, r, i) for r, x in enumerate(radar) for i, y in enumerate(image) if abs(x - y) <= slop
    ):
        if r not in radars and i not in images:
            radars.add(r)
            images.add(i)
            pairs.append((r, i))
    return pairs


@pytest.mark.parametrize('slop_ms', [17, 25, 50])
@pytest.mark.parametrize('rates', [(20, 30), (30, 30), (10, 60), (20, 20.01)])
def test_sensors_with_jitter_and_losses_are_paired_the_same_live_and_afterwards(rates, slop_ms):
    radar, image, merged = sensor_streams(random.Random(slop_ms), *rates, seconds=30)
    live = Live(slop_ms * MS).run(merged)
    expected = exhaustive_sorted(radar, image, slop_ms * MS)
    assert live.stamps == sorted((radar[r], image[i]) for r, i in expected)
    assert offline(radar, image, slop_ms * MS) == sorted(expected)


def test_pairs_come_promptly_where_each_message_has_a_candidate_all_the_time():
    *_, merged = sensor_streams(random.Random(1), 20, 30, seconds=120)
    live = Live(50 * MS)
    delays, most = [], 0
    for stream, stamp in merged:
        delays += [stamp - max(p.radar_stamp_ns, p.image_stamp_ns) for p in live.add(stream, stamp).pairs]
        most = max(most, *live.matcher.pending)
    assert len(delays) > 2000
    assert np.median(delays) < 50 * MS, 'about a radar period'
    assert max(delays) < 300 * MS
    assert most < 12


def test_equal_stamps_are_a_pair_at_once():
    live = Live(50 * MS, reordering_ns=100 * MS)
    live.add(RADAR, SECOND)
    assert [p.difference_ns for p in live.add(IMAGE, SECOND).pairs] == [0]


def test_a_pair_waits_until_nothing_closer_can_come():
    live = Live(50 * MS)
    live.add(RADAR, 100 * MS)
    assert not live.add(IMAGE, 110 * MS).pairs, 'a radar frame could come at 115 ms'
    assert not live.add(IMAGE, 140 * MS).pairs
    decision = live.add(RADAR, 120 * MS)
    assert [(p.radar_stamp_ns, p.image_stamp_ns) for p in decision.pairs] == [(100 * MS, 110 * MS)], (
        'the earlier of two'
    )


def test_a_closer_message_that_comes_later_takes_the_partner():
    live = Live(50 * MS)
    for stream, stamp in ((RADAR, 100 * MS), (IMAGE, 110 * MS), (RADAR, 115 * MS), (IMAGE, 170 * MS)):
        live.add(stream, stamp)
    assert live.stamps == [(115 * MS, 110 * MS)]
    assert live.unpaired == ([0], [])


def test_a_chain_of_ever_closer_candidates_is_decided_by_its_end():
    chain = [0, 100, 190, 270, 340, 400, 450]
    for end, first in ((450, False), (400, True)):
        stamps = [stamp for stamp in chain if stamp <= end]
        live = Live(100)
        for index, stamp in enumerate(stamps):
            live.add(index % 2, stamp)
        assert not live.pairs
        live.take(live.matcher.flush())
        assert any(p.radar_stamp_ns == 0 for p in live.pairs) is first


def test_offsets_are_added_before_and_left_out_of_the_stamps_of_a_pair():
    radar, image = [1000, 2000, 3000], [440, 1460, 2450]
    live = Live(50, radar_offset_ns=-100, image_offset_ns=450).run(
        sorted([(RADAR, s) for s in radar] + [(IMAGE, s) for s in image], key=lambda x: x[1])
    )
    assert live.stamps == [(1000, 440), (2000, 1460), (3000, 2450)]
    assert [p.difference_ns for p in sorted(live.pairs, key=lambda p: p.radar)] == [-10, 10, 0]
    assert offline(radar, image, 50, radar_offset_ns=-100, image_offset_ns=450) == [(0, 0), (1, 1), (2, 2)]
    assert not offline(radar, image, 50)


def test_the_slop_is_inclusive():
    assert offline([0], [25], 25) == [(0, 0)]
    assert offline([0], [26], 25) == []
    assert offline([7, 7], [7], 0) == [(0, 0)]


def test_of_two_equally_close_the_earlier_one_is_chosen():
    assert offline([10], [15, 5], 5) == [(0, 1)]
    assert offline([15, 5], [10], 5) == [(1, 0)]
    assert offline([0, 10], [5, 15], 5) == [(0, 0), (1, 1)]


def test_indices_come_in_the_order_of_the_radar_stamps():
    radars, images = match_stamps(np.array([30, 10, 20]), np.array([11, 31, 21]), 5)
    assert radars.tolist() == [1, 2, 0]
    assert images.tolist() == [0, 2, 1]


def test_many_equal_stamps_are_paired_in_their_order():
    count = 20_000
    radars, images = match_stamps(np.zeros(count, np.int64), np.zeros(count, np.int64), 10)
    assert np.array_equal(radars, np.arange(count))
    assert np.array_equal(images, np.arange(count))


def test_a_silent_stream_costs_no_more_than_the_pending_messages():
    live = Live(25 * MS, max_pending=100)
    for index in range(1000):
        live.add(IMAGE, index * 33 * MS)
        assert live.matcher.pending[IMAGE] <= 100
    assert len(live.unpaired[IMAGE]) == 900
    live.take(live.matcher.flush())
    assert live.unpaired[IMAGE] == list(range(1000))


def test_a_stream_that_dies_leaves_its_last_messages_paired():
    live = Live(25 * MS, max_pending=10)
    for index in range(100):
        live.add(RADAR, index * 50 * MS)
        if index < 50:
            live.add(IMAGE, index * 50 * MS + 3 * MS)
    assert len(live.pairs) == 50
    assert live.unpaired[RADAR] == list(range(50, 90))


def test_a_looping_bag_is_paired_in_each_loop():
    live = Live(25 * MS)
    for _ in range(3):
        for index in range(100):
            live.add(RADAR, index * 50 * MS)
            live.add(IMAGE, index * 50 * MS + 7 * MS)
    live.take(live.matcher.flush())
    assert len(live.pairs) == 300
    assert live.unpaired == ([], [])
    assert {pair.radar - pair.image for pair in live.pairs} == {0}, 'nothing is paired across loops'
    assert live.resets == 2, 'once per loop'


def test_messages_of_the_loop_before_that_come_late_harm_nothing():
    live = Live(25 * MS)
    for index in range(100):
        live.add(RADAR, index * 50 * MS)
        if index < 99:
            live.add(IMAGE, index * 50 * MS)
    for stream, stamp in ((RADAR, 0), (IMAGE, 99 * 50 * MS), (RADAR, 50 * MS), (IMAGE, 2 * MS), (IMAGE, 52 * MS)):
        live.add(stream, stamp)
    live.take(live.matcher.flush())
    assert live.stamps[:4] == [(0, 0), (0, 2 * MS), (50 * MS, 50 * MS), (50 * MS, 52 * MS)]
    assert live.unpaired == ([99], [99])
    assert live.resets == 1


def test_one_stream_that_jumps_back_for_good_is_paired_where_the_times_meet_again():
    live = Live(25 * MS)
    for index in range(200):
        live.add(RADAR, (index if index < 100 else index - 30) * 50 * MS)
        live.add(IMAGE, index * 50 * MS)
    live.take(live.matcher.flush())
    assert live.resets == 1
    assert {pair.radar for pair in live.pairs} >= {*range(100), *range(160, 200)}


def test_a_step_back_below_the_limit_is_no_jump():
    live = Live(25 * MS, jump_ns=SECOND)
    live.add(RADAR, 5 * SECOND)
    assert not live.add(RADAR, 4 * SECOND).reset
    assert live.add(RADAR, 4 * SECOND - 1).reset


def test_a_stamp_far_in_the_future_costs_that_message_alone():
    live = Live(25 * MS)
    for index in range(100):
        if index == 50:
            live.add(RADAR, 10**6 * SECOND)
        live.add(RADAR, index * 50 * MS)
        live.add(IMAGE, index * 50 * MS)
    live.take(live.matcher.flush())
    assert len(live.pairs) == 100
    assert live.unpaired == ([50], [])
    assert live.resets == 1


def test_a_message_older_than_the_watermark_is_paired_with_what_is_left():
    live = Live(25 * MS)
    for stream, stamp in ((RADAR, 0), (IMAGE, 100 * MS), (IMAGE, 200 * MS), (RADAR, 300 * MS), (IMAGE, 290 * MS)):
        live.add(stream, stamp)
    live.add(RADAR, 275 * MS)
    live.take(live.matcher.flush())
    assert live.stamps == [(300 * MS, 290 * MS)]
    assert sorted(live.unpaired[RADAR]) == [0, 2]


def test_give_up_decides_the_oldest_as_it_stands():
    live = Live(25 * MS)
    for stream, stamp in ((IMAGE, 20 * MS), (IMAGE, 100 * MS), (RADAR, 10 * MS)):
        live.add(stream, stamp)
    first = live.matcher.give_up(IMAGE)
    assert [(p.radar, p.image) for p in first.pairs] == [(0, 0)]
    assert live.matcher.give_up(IMAGE).unpaired == ([], [1])
    assert live.matcher.give_up(IMAGE).unpaired == ([], [])


def test_expire_decides_what_is_old_with_the_partners_that_it_has():
    live = Live(25 * MS)
    for stream, stamp in ((RADAR, 100 * MS), (IMAGE, 110 * MS), (RADAR, 112 * MS - 50), (IMAGE, 10 * MS)):
        live.add(stream, stamp)
    decision = live.matcher.expire(105 * MS)
    assert decision.pairs == []
    assert live.unpaired[IMAGE] + decision.unpaired[IMAGE] == [1]
    assert live.unpaired[RADAR] + decision.unpaired[RADAR] == [0]
    assert [(p.radar, p.image) for p in live.matcher.flush().pairs] == [(1, 0)]
    assert live.matcher.pending == (0, 0)


def test_after_a_flush_all_begins_anew():
    live = Live(25 * MS)
    live.add(RADAR, 100 * SECOND)
    live.take(live.matcher.flush())
    assert not live.add(RADAR, SECOND).reset
    assert len(live.add(IMAGE, SECOND).pairs) == 1


@pytest.mark.parametrize('empty', [RADAR, IMAGE])
def test_one_stream_alone_has_no_pairs(empty):
    stamps = [[1, 2, 3], [1, 2, 3]]
    stamps[empty] = []
    assert offline(*stamps, 5) == []


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({'slop_ns': -1}, 'slop_ns: expected 0 ns or more, got -1 ns'),
        ({'slop_ns': 1, 'reordering_ns': -5}, 'reordering_ns: expected 0 ns or more, got -5 ns'),
        ({'slop_ns': 1, 'reordering_ns': SECOND}, 'jump_ns: expected more than reordering_ns'),
        ({'slop_ns': 1, 'max_pending': 0}, 'max_pending: expected 1 or more, got 0'),
    ],
)
def test_settings_that_cannot_be_are_named(settings, expected):
    with pytest.raises(ValueError, match=expected):
        PairMatcher(**settings)


def test_other_bad_input_is_named():
    with pytest.raises(ValueError, match=r'stream: expected 0 \(radar\) or 1 \(image\), got 2'):
        PairMatcher(1).add(2, 0, None)
    with pytest.raises(ValueError, match='slop_ns: expected 0 ns or more, got -1 ns'):
        offline([1], [1], -1)
    with pytest.raises(ValueError, match=r'image_ns: expected a list of integers \(ns\), got float64 of shape \(1,\)'):
        match_stamps(np.array([1]), np.array([1.5]), 1)
    with pytest.raises(ValueError, match=r'radar_ns: expected a list of integers \(ns\), got int64 of shape \(1, 1\)'):
        match_stamps(np.array([[1]]), np.array([1]), 1)


def test_the_message_of_a_pair_holds_stamps_topics_and_offsets():
    live = Live(SECOND, image_offset_ns=450 * MS)
    live.add(RADAR, 7 * SECOND)
    live.add(IMAGE, 7 * SECOND - 440 * MS)
    live.take(live.matcher.flush())
    message = pair_to_message(
        live.pairs[0],
        3,
        RosbagsTypes(),
        radar_topic='/radar/heatmap',
        image_topic='/camera/image_raw',
        frame_id='radar',
        image_offset_ns=450 * MS,
    )
    read = typestore().deserialize_cdr(serialize(message), 'radio_visual_ssl/msg/Pair')
    assert (read.header.stamp.sec, read.header.stamp.nanosec, read.header.frame_id) == (7, 0, 'radar')
    assert (read.index, read.radar_topic, read.image_topic) == (3, '/radar/heatmap', '/camera/image_raw')
    assert messages.stamp_to_ns(read.image_stamp) == 6_560 * MS
    assert (read.time_difference, read.radar_offset, read.image_offset) == (0.01, 0.0, 0.45)


def test_the_frame_id_is_read_from_serialized_messages():
    image = messages.image_to_message(np.zeros((2, 2), np.uint8), 'mono8', SECOND, 'radar_frame', RosbagsTypes())
    data = serialize(image)
    assert messages.serialized_frame_id(data) == 'radar_frame'
    for length in (0, 3, 12, 20):
        with pytest.raises(messages.MessageError, match='expected bytes up to the end of the frame_id'):
            messages.serialized_frame_id(data[:length])
