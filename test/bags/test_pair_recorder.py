# SPDX-License-Identifier: Apache-2.0
"""Recordings with real threads and real files: what goes in, what comes out, and what is told about the rest."""

import os
import resource
import struct
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from radio_visual_ssl.bags.messages import header, serialized_stamp_ns
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.offline_pairing import pair_bags
from radio_visual_ssl.bags.pair_recorder import PairRecorder, free_bytes
from radio_visual_ssl.bags.pairing import match_stamps
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.recorder_settings import (
    Event,
    EventKind,
    Level,
    RecorderSettings,
    RecordingStatistics,
    State,
)
from radio_visual_ssl.bags.typestore import RosbagsTypes, serialize, typestore

RADAR, IMAGE, PAIRS, INFO, ODOMETRY = (
    '/radar/heatmap',
    '/camera/image_raw',
    '/pairs',
    '/camera/camera_info',
    '/odometry',
)
BEGIN = 1_700_000_000_000_000_000
MS = 1_000_000
TYPES = RosbagsTypes()


@cache
def black_image(size: int) -> bytes:
    return serialize(
        TYPES('sensor_msgs/msg/Image')(
            header=header(0, 'radar', TYPES),
            height=1,
            width=size,
            encoding='mono8',
            is_bigendian=0,
            step=size,
            data=np.zeros(size, np.uint8),
        )
    )


def image(stamp_ns: int, size: int = 2000) -> bytes:
    data = bytearray(black_image(size))
    struct.pack_into('<iI', data, 4, *divmod(stamp_ns, 10**9))
    data[-size:] = bytes([stamp_ns // MS % 251]) * size
    return bytes(data)


def text(content: str) -> bytes:
    return serialize(TYPES('std_msgs/msg/String')(data=content))


@dataclass
class Sent:
    """One message as the recording got it."""

    topic: str
    received_ns: int
    stamp_ns: int | None
    data: bytes


@dataclass
class Recorder:
    """A recording with its events, and all that was sent to it."""

    settings: RecorderSettings
    free_space: Callable[[Path], int] = free_bytes
    events: list[Event] = field(default_factory=list)
    published: list[bytes] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recording = PairRecorder(
            self.settings, on_event=self.events.append, on_pair=self.published.append, free_space=self.free_space
        )
        self.recording.add_topic(self.settings.radar_topic, 'sensor_msgs/msg/Image')
        self.recording.add_topic(self.settings.image_topic, 'sensor_msgs/msg/Image')

    def send(
        self, topic: str, stamp_ns: int | None, received_ns: int | None = None, data: bytes | None = None
    ) -> int | None:
        received_ns = received_ns if received_ns is not None else (stamp_ns or BEGIN)
        message = Sent(topic, received_ns, stamp_ns, data or image(stamp_ns or 0))
        self.sent.append(message)
        return self.recording.receive(topic, message.received_ns, stamp_ns, message.data)

    def told(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.recording.statistics()
            time.sleep(0.005)

    def wait_until_written(self) -> None:
        self.wait_for(lambda: self.recording.statistics().queue_bytes == 0)


@pytest.fixture
def make() -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def recorder(free_space: Callable[[Path], int] = free_bytes, **settings: object) -> Recorder:
        made.append(Recorder(RecorderSettings(**({'min_free_bytes': 0} | settings)), free_space))
        return made[-1]

    yield recorder
    for one in made:
        one.recording.close()


def stamps(rate_hz: float, seconds: float, jitter_ms: float = 0.0, loss: float = 0.0, seed: int = 0) -> list[int]:
    random = np.random.default_rng([seed, round(rate_hz)])
    times = np.arange(0, seconds, 1 / rate_hz) * 1e9
    times = times + random.uniform(-jitter_ms, jitter_ms, times.size) * 1e6
    return [BEGIN + int(t) for t in times[random.random(times.size) >= loss]]


def play(recorder: Recorder, radar: list[int], images: list[int], image_bytes: int = 2000) -> None:
    """Send both streams in the order of their stamps (radar 40 ms late, images 10 ms), each stream ascending."""
    todo = [(t + 40 * MS, RADAR, t) for t in sorted(radar)] + [(t + 10 * MS, IMAGE, t) for t in sorted(images)]
    for received_ns, topic, stamp_ns in sorted(todo):
        size = image_bytes if topic == IMAGE else 500
        recorder.send(topic, stamp_ns, received_ns, image(stamp_ns, size))


def stamp_of(pair: object) -> tuple[int, int]:
    radar, camera = pair.header.stamp, pair.image_stamp  # type: ignore[attr-defined]
    return radar.sec * 10**9 + radar.nanosec, camera.sec * 10**9 + camera.nanosec


def pairs_of(bag: Path) -> list[tuple[int, int]]:
    return [stamp_of(message) for _, message in BagReader(bag).messages(PAIRS)]


def stamps_of(bag: Path, topic: str) -> list[int]:
    return [serialized_stamp_ns(message.data) for message in BagReader(bag).raw_messages([topic])]


def contents(file: Path) -> dict[str, list]:
    """Of one file alone: stamps of the radar frames and images, pairs of such stamps, and the bytes of all others."""
    found: dict[str, list] = {RADAR: [], IMAGE: [], PAIRS: []}
    for _, channel, message in messages_of(file):
        if channel.topic == PAIRS:
            content: object = stamp_of(typestore().deserialize_cdr(message.data, 'radio_visual_ssl/msg/Pair'))
        else:
            content = serialized_stamp_ns(message.data) if channel.topic in (RADAR, IMAGE) else message.data
        found.setdefault(channel.topic, []).append(content)
    return found


def messages_of(file: Path) -> list[tuple]:
    """What the mcap library reads, in the order of the file."""
    with file.open('rb') as stream:
        return list(make_reader(stream).iter_messages(log_time_order=False))


def best_pairs(radar: list[int], images: list[int], slop_ms: float, **offsets: int) -> list[tuple[int, int]]:
    radar, images = sorted(radar), sorted(images)
    i, j = match_stamps(np.array(radar), np.array(images), int(slop_ms * MS), **offsets)
    return [(radar[a], images[b]) for a, b in zip(i, j, strict=True)]


def test_every_message_is_in_the_bag_as_it_came(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.add_topic(ODOMETRY, 'std_msgs/msg/String')
    recorder.recording.start(tmp_path / 'bag')
    play(recorder, stamps(20, 3, 15, 0.1), stamps(30, 3, 15, 0.1))
    for i in range(50):
        recorder.send(ODOMETRY, None, BEGIN + 3_100 * MS + i, text(f'note {i}'))
    recorder.recording.stop()
    found = [
        (m.topic, m.time_ns, bytes(m.data)) for m in BagReader(tmp_path / 'bag').raw_messages() if m.topic != PAIRS
    ]
    assert sorted(found) == sorted((m.topic, m.received_ns, m.data) for m in recorder.sent)
    statistics = recorder.recording.statistics()
    assert statistics.dropped == 0
    assert statistics.messages == len(found) + statistics.pairs
    assert [event.kind for event in recorder.events] == [EventKind.STARTED, EventKind.STOPPED]


def test_messages_of_many_threads_are_all_recorded(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    for number in range(4):
        recorder.recording.add_topic(f'/stream{number}', 'std_msgs/msg/String')
    recorder.recording.start(tmp_path / 'bag')

    def send(topic: str) -> None:
        for i in range(500):
            recorder.recording.receive(topic, BEGIN + i, None, text(f'{i}'))

    threads = [threading.Thread(target=send, args=(f'/stream{number}',)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.recording.stop()
    found = contents(tmp_path / 'bag' / 'bag_0.mcap')
    for number in range(4):
        assert found[f'/stream{number}'] == [text(f'{i}') for i in range(500)]


@pytest.mark.parametrize('slop_ms', [17, 25, 50])
def test_pairs_are_those_of_the_whole_streams(make: Callable[..., Recorder], tmp_path: Path, slop_ms: int) -> None:
    recorder = make(slop_s=slop_ms / 1e3)
    radar, images = stamps(20, 10, 15, 0.1, seed=slop_ms), stamps(30, 10, 15, 0.1, seed=slop_ms)
    recorder.recording.start(tmp_path / 'bag')
    play(recorder, radar, images)
    recorder.recording.stop()
    expected = best_pairs(radar, images, slop_ms)
    assert sorted(pairs_of(tmp_path / 'bag')) == expected
    statistics = recorder.recording.statistics()
    assert statistics.pairs == len(expected)
    assert statistics.unpaired_radar == len(radar) - len(expected)
    assert statistics.unpaired_image == len(images) - len(expected)
    differences = [(b - a) / 1e9 for a, b in expected[-100:]]
    assert statistics.median_time_difference_s == pytest.approx(np.median(differences), abs=1e-9)


@pytest.mark.parametrize('pairs_only', [False, True])
def test_the_recorder_gives_the_bag_that_pairing_afterwards_gives(
    make: Callable[..., Recorder], tmp_path: Path, pairs_only: bool
) -> None:
    radar, images = stamps(20, 6, 15, 0.1), [t - 30 * MS for t in stamps(30, 6, 15, 0.1)]
    for name, wanted in (('whole', False), ('live', pairs_only)):
        recorder = make(image_offset_s=0.03, reordering_s=0.05, pairs_only=wanted)
        recorder.recording.start(tmp_path / name)
        play(recorder, radar, images)
        recorder.recording.stop()
    pair_bags(
        [tmp_path / 'whole'],
        tmp_path / 'after',
        slop_s=RecorderSettings().slop_s,
        image_offset_s=0.03,
        reordering_s=0.05,
        pairs_only=pairs_only,
    )
    live, after = (
        sorted((m.topic, m.time_ns, bytes(m.data)) for m in BagReader(tmp_path / name).raw_messages())
        for name in ('live', 'after')
    )
    assert live == after


def test_pairs_only_leaves_out_what_has_no_partner_and_nothing_else(
    make: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = make(pairs_only=True, slop_s=0.017)
    recorder.recording.add_topic(ODOMETRY, 'std_msgs/msg/String')
    recorder.recording.start(tmp_path / 'bag')
    radar, images = stamps(20, 5, 15, 0.1), stamps(30, 5, 15, 0.1)
    play(recorder, radar, images)
    recorder.send(ODOMETRY, None, BEGIN, text('odometry'))
    recorder.recording.stop()
    expected = best_pairs(radar, images, 17)
    assert sorted(stamps_of(tmp_path / 'bag', RADAR)) == [a for a, _ in expected]
    assert sorted(stamps_of(tmp_path / 'bag', IMAGE)) == sorted(b for _, b in expected)
    assert BagReader(tmp_path / 'bag').stream(ODOMETRY).count == 1
    statistics = recorder.recording.statistics()
    assert statistics.streams[IMAGE].unpaired == len(images) - len(expected) > 0
    assert statistics.dropped == statistics.queue_bytes == 0


def test_pairs_only_gives_up_the_oldest_where_a_partner_never_comes(
    make: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = make(pairs_only=True, queue_bytes=1_000_000)
    recorder.recording.start(tmp_path / 'bag')
    for stamp_ns in stamps(30, 3):
        recorder.send(IMAGE, stamp_ns, data=image(stamp_ns, 100_000))
        recorder.wait_for(lambda: recorder.recording.statistics().queue_bytes < 600_000)
    recorder.send(RADAR, recorder.sent[-1].stamp_ns)
    recorder.recording.stop()
    assert pairs_of(tmp_path / 'bag') == [(recorder.sent[-1].stamp_ns,) * 2]
    assert recorder.recording.statistics().dropped == 0


@pytest.mark.parametrize('slop_ms', [17, 50])
def test_files_are_cut_between_pairs(make: Callable[..., Recorder], tmp_path: Path, slop_ms: int) -> None:
    recorder = make(slop_s=slop_ms / 1e3, max_file_bytes=200_000)
    radar, images = stamps(20, 20, 15, 0.05), stamps(30, 20, 15, 0.05)
    recorder.recording.start(tmp_path / 'bag')
    play(recorder, radar, images, image_bytes=3000)
    recorder.recording.stop()
    files = sorted((tmp_path / 'bag').glob('*.mcap'))
    assert len(files) == recorder.recording.statistics().splits + 1 > 5
    whole: dict[str, list] = {RADAR: [], IMAGE: [], PAIRS: []}
    for file in files:
        inside = contents(file)
        assert all(a in inside[RADAR] and b in inside[IMAGE] for a, b in inside[PAIRS]), file
        for topic, found in inside.items():
            whole[topic] += found
    assert sorted(whole[PAIRS]) == best_pairs(radar, images, slop_ms)
    assert sorted(whole[RADAR]) == sorted(radar)
    assert sorted(whole[IMAGE]) == sorted(images)
    assert max(file.stat().st_size for file in files) < 260_000


def test_a_split_does_not_wait_for_a_silent_stream_for_ever(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(split_wait_s=0.2)
    recorder.recording.start(tmp_path / 'bag')
    play(recorder, [], stamps(30, 1))
    recorder.recording.split()
    recorder.wait_for(lambda: bool(recorder.told(EventKind.SPLIT)), 2.0)
    late = BEGIN + 2_000 * MS
    recorder.send(IMAGE, late)
    recorder.send(RADAR, late)
    recorder.recording.stop()
    first, second = sorted((tmp_path / 'bag').glob('*.mcap'))
    assert len(stamps_of(first, IMAGE)) == 30
    assert stamps_of(second, IMAGE) == stamps_of(second, RADAR) == [late]
    assert pairs_of(second) == [(late, late)]


def test_stopping_while_a_split_waits_keeps_all(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(split_wait_s=60)
    recorder.recording.start(tmp_path / 'bag')
    recorder.send(IMAGE, BEGIN)
    recorder.recording.split()
    recorder.send(RADAR, BEGIN + 10 * MS)
    recorder.send(IMAGE, BEGIN + 33 * MS)
    recorder.recording.stop()
    assert pairs_of(tmp_path / 'bag') == [(BEGIN + 10 * MS, BEGIN)]
    assert stamps_of(tmp_path / 'bag', IMAGE) == [BEGIN, BEGIN + 33 * MS]


def test_files_are_cut_by_age(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(max_file_duration_s=0.15)
    began = time.monotonic()
    recorder.recording.start(tmp_path / 'bag')
    for i in range(50):
        recorder.send(RADAR, BEGIN + 10 * i * MS)
        recorder.send(IMAGE, BEGIN + 10 * i * MS)
        time.sleep(0.01)
    recorder.recording.stop()
    assert 2 <= recorder.recording.statistics().splits <= (time.monotonic() - began) / 0.15
    assert len(pairs_of(tmp_path / 'bag')) == 50


def test_each_file_begins_with_the_latched_messages(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.add_topic('/tf_static', 'tf2_msgs/msg/TFMessage')
    recorder.recording.add_topic('/description', 'std_msgs/msg/String', latched=True)
    transforms = [
        serialize(TYPES('tf2_msgs/msg/TFMessage')(transforms=[_transform(child)])) for child in ('radar', 'camera')
    ]
    recorder.send('/tf_static', None, BEGIN - 10**12, transforms[0])
    recorder.send('/tf_static', None, BEGIN - 10**12, transforms[1])
    recorder.send('/tf_static', None, BEGIN - 10**11, transforms[1])
    recorder.send('/description', None, BEGIN - 10**12, text('old'))
    recorder.send('/description', None, BEGIN - 10**12, text('new'))
    recorder.recording.start(tmp_path / 'bag', time_ns=BEGIN)
    for i in range(3):
        recorder.send(RADAR, BEGIN + 100 * i * MS)
        recorder.recording.split()
        recorder.wait_for(lambda i=i: recorder.recording.statistics().splits == i + 1)
    recorder.send(RADAR, BEGIN + 1000 * MS)
    recorder.recording.stop()
    for file in sorted((tmp_path / 'bag').glob('*.mcap')):
        inside = contents(file)
        tf = [typestore().deserialize_cdr(data, 'tf2_msgs/msg/TFMessage') for data in inside['/tf_static']]
        assert {t.child_frame_id for message in tf for t in message.transforms} == {'radar', 'camera'}
        assert inside['/description'] == [text('new')]
    assert BagReader(tmp_path / 'bag').start_ns == BEGIN


def _transform(child: str) -> object:
    vector, quaternion = TYPES('geometry_msgs/msg/Vector3'), TYPES('geometry_msgs/msg/Quaternion')
    return TYPES('geometry_msgs/msg/TransformStamped')(
        header=header(0, 'map', TYPES),
        child_frame_id=child,
        transform=TYPES('geometry_msgs/msg/Transform')(
            translation=vector(x=0.0, y=0.0, z=0.0), rotation=quaternion(x=0.0, y=0.0, z=0.0, w=1.0)
        ),
    )


def test_what_came_before_the_trigger_is_recorded(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(pre_trigger_s=0.8)
    recorder.recording.add_topic(INFO, 'std_msgs/msg/String', latched=True)
    recorder.send(INFO, None, BEGIN - 1, text('camera'))
    play(recorder, stamps(20, 1), stamps(30, 1))
    time.sleep(0.9)
    late = [t + 2_000 * MS for t in stamps(20, 1)]
    play(recorder, late[:10], late[:10])
    assert recorder.recording.statistics().ring_bytes > 0
    recorder.recording.start(tmp_path / 'bag', time_ns=late[10])
    play(recorder, late[10:], late[10:])
    recorder.recording.stop()
    assert stamps_of(tmp_path / 'bag', RADAR) == late
    assert pairs_of(tmp_path / 'bag') == [(t, t) for t in late]
    assert BagReader(tmp_path / 'bag').stream(INFO).count == 1
    assert BagReader(tmp_path / 'bag').start_ns == late[0] + 10 * MS
    assert recorder.recording.statistics().ring_bytes == 0


def test_the_ring_is_bounded_in_bytes(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(pre_trigger_s=60, ring_bytes=1_000_000)
    for stamp_ns in stamps(30, 2):
        recorder.send(IMAGE, stamp_ns, data=image(stamp_ns, 90_000))
        assert recorder.recording.statistics().ring_bytes <= 1_000_000
    recorder.recording.start(tmp_path / 'bag')
    recorder.recording.stop()
    assert stamps_of(tmp_path / 'bag', IMAGE) == stamps(30, 2)[-11:]


def test_nothing_is_kept_without_a_ring(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    assert recorder.send(RADAR, BEGIN) is None
    recorder.recording.start(tmp_path / 'bag')
    recorder.recording.stop()
    streams = BagReader(tmp_path / 'bag').streams
    assert {topic: stream.count for topic, stream in streams.items()} == {PAIRS: 0}, 'a bag lists what it holds'


class StalledDisk:
    """A look at the free space that does not return: the disk hangs."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.reached = threading.Event()
        self._looks = 0

    def __call__(self, folder: Path) -> int:
        self._looks += 1
        if self._looks > 1:  # the first look is that of start(), before anything is recorded
            self.reached.set()
            self.released.wait(20)
        return free_bytes(folder)


@pytest.mark.parametrize(('overflow', 'kept'), [('drop_newest', slice(0, 10)), ('drop_oldest', slice(20, 30))])
def test_what_a_slow_disk_costs_is_counted_and_told(
    make: Callable[..., Recorder], tmp_path: Path, overflow: str, kept: slice
) -> None:
    disk = StalledDisk()
    recorder = make(disk, queue_bytes=1_000_000, overflow=overflow)
    recorder.recording.add_topic('/tf', 'std_msgs/msg/String')
    recorder.recording.add_topic(INFO, 'std_msgs/msg/String', latched=True)
    recorder.recording.start(tmp_path / 'bag')
    assert disk.reached.wait(10)
    times = stamps(30, 1)
    for i, stamp_ns in enumerate(times):
        recorder.send('/tf', None, stamp_ns, text(f'transform {i}'))
        recorder.send(IMAGE, stamp_ns, data=image(stamp_ns, 99_000))
    recorder.send(INFO, None, BEGIN, text('camera'))
    disk.released.set()
    recorder.recording.stop()
    assert stamps_of(tmp_path / 'bag', IMAGE) == times[kept]
    bag = BagReader(tmp_path / 'bag')
    assert (bag.stream('/tf').count, bag.stream(INFO).count) == (30, 1)
    statistics = recorder.recording.statistics()
    assert statistics.dropped == statistics.streams[IMAGE].dropped == 20
    assert (statistics.streams[IMAGE].received, statistics.streams[IMAGE].recorded) == (30, 10)
    (event,) = recorder.told(EventKind.DROPPING)
    assert event.level is Level.ERROR
    assert f'20 of {IMAGE}' in event.message
    assert f'lost 20 of {IMAGE}' in recorder.told(EventKind.STOPPED)[0].message


def test_a_message_larger_than_the_queue_pushes_nothing_else_out(make: Callable[..., Recorder], tmp_path: Path) -> None:
    disk = StalledDisk()
    recorder = make(disk, queue_bytes=1_000_000, overflow='drop_oldest')
    recorder.recording.start(tmp_path / 'bag')
    assert disk.reached.wait(10)
    times = stamps(5, 1)
    for stamp_ns in times:
        recorder.send(IMAGE, stamp_ns)
    assert recorder.send(IMAGE, times[-1], data=image(times[-1], 2_000_000)) is None
    disk.released.set()
    recorder.recording.stop()
    assert stamps_of(tmp_path / 'bag', IMAGE) == times
    assert recorder.recording.statistics().dropped == 1


def test_small_messages_outlast_images_but_are_bounded_too(make: Callable[..., Recorder], tmp_path: Path) -> None:
    disk = StalledDisk()
    recorder = make(disk, queue_bytes=1_000_000)
    recorder.recording.add_topic('/tf', 'std_msgs/msg/String')
    recorder.recording.start(tmp_path / 'bag')
    assert disk.reached.wait(10)
    for i in range(20):
        recorder.send(IMAGE, BEGIN + i, data=image(BEGIN + i, 99_000))
    for i in range(200):
        recorder.send('/tf', None, BEGIN, text(f'{i:01000}'))
    disk.released.set()
    recorder.recording.stop()
    streams = recorder.recording.statistics().streams
    assert (streams[IMAGE].recorded, streams[IMAGE].dropped) == (10, 10)
    assert 100 < streams['/tf'].recorded < 200
    assert streams['/tf'].recorded + streams['/tf'].dropped == 200


def test_closing_gives_up_on_a_disk_that_hangs_and_says_so(make: Callable[..., Recorder], tmp_path: Path) -> None:
    disk = StalledDisk()
    recorder = make(disk)
    recorder.recording.start(tmp_path / 'bag')
    assert disk.reached.wait(10)
    play(recorder, stamps(20, 1), stamps(30, 1))
    began = time.monotonic()
    recorder.recording.close(timeout_s=0.5)
    assert time.monotonic() - began < 3
    assert 'hangs' in recorder.told(EventKind.FAILED)[0].message
    disk.released.set()
    recorder.recording.close()
    statistics = recorder.recording.statistics()
    assert statistics.dropped == 50
    assert (statistics.streams[RADAR].dropped, statistics.streams[IMAGE].dropped) == (20, 30)
    last = recorder.told(EventKind.FAILED)[-1].message
    assert f'lost 30 of {IMAGE}, 20 of {RADAR}' in last
    assert set(BagReader(tmp_path / 'bag').streams) == {PAIRS}


def test_closing_writes_what_waits(make: Callable[..., Recorder], tmp_path: Path) -> None:
    disk = StalledDisk()
    recorder = make(disk)
    recorder.recording.start(tmp_path / 'bag')
    assert disk.reached.wait(10)
    times = stamps(30, 2)
    for stamp_ns in times:
        recorder.send(IMAGE, stamp_ns, data=image(stamp_ns, 100_000))
    threading.Timer(0.2, disk.released.set).start()
    recorder.recording.close()
    assert stamps_of(tmp_path / 'bag', IMAGE) == times
    recorder.recording.close()
    assert recorder.recording.statistics().state is State.IDLE


def test_stopping_loses_nothing_on_a_slow_disk(make: Callable[..., Recorder], tmp_path: Path) -> None:
    disk = StalledDisk()
    recorder = make(disk)
    recorder.recording.start(tmp_path / 'bag')
    assert disk.reached.wait(10)
    times = stamps(30, 1)
    play(recorder, [], times)
    recorder.recording.stop(timeout_s=0.05)
    (event,) = recorder.told(EventKind.DRAINING)
    assert (event.level, 'bag: stopped; 0 MB wait for the disk' in event.message) == (Level.WARN, True)
    assert recorder.recording.statistics().queue_bytes > 0
    disk.released.set()
    recorder.wait_for(lambda: bool(recorder.told(EventKind.STOPPED)))
    assert stamps_of(tmp_path / 'bag', IMAGE) == times
    assert recorder.recording.statistics().dropped == recorder.recording.statistics().queue_bytes == 0


def test_a_pause_leaves_out_all_but_latched_messages(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.add_topic(INFO, 'std_msgs/msg/String', latched=True)
    recorder.recording.start(tmp_path / 'bag')
    recorder.send(RADAR, BEGIN)
    recorder.recording.pause()
    assert recorder.recording.statistics().state is State.PAUSED
    recorder.send(RADAR, BEGIN + 100 * MS)
    recorder.send(INFO, None, BEGIN + 110 * MS, text('camera'))
    duration = recorder.recording.statistics().duration_s
    time.sleep(0.2)
    assert recorder.recording.statistics().duration_s == duration
    recorder.recording.resume()
    recorder.send(RADAR, BEGIN + 200 * MS)
    recorder.recording.stop()
    assert stamps_of(tmp_path / 'bag', RADAR) == [BEGIN, BEGIN + 200 * MS]
    assert BagReader(tmp_path / 'bag').stream(INFO).count == 1
    assert [e.kind.value for e in recorder.events] == ['started', 'paused', 'resumed', 'stopped']


def test_a_recording_ends_when_its_duration_is_over(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(max_duration_s=0.3)
    recorder.recording.start(tmp_path / 'bag')
    recorder.send(RADAR, BEGIN)
    recorder.wait_for(lambda: recorder.recording.statistics().state is State.STOPPED)
    statistics = recorder.recording.statistics()
    assert 0.3 <= statistics.duration_s < 3
    assert 'duration of 0.3 s is over' in statistics.message
    assert recorder.told(EventKind.STOPPED)[0].level is Level.OK
    assert BagReader(tmp_path / 'bag').stream(RADAR).count == 1
    recorder.recording.start(tmp_path / 'again')
    recorder.recording.stop()


@pytest.mark.parametrize('paused', [False, True])
def test_a_duration_begins_with_the_first_radar_frame_or_image(
    make: Callable[..., Recorder], tmp_path: Path, paused: bool
) -> None:
    recorder = make(max_duration_s=0.1)
    recorder.recording.add_topic(ODOMETRY, 'std_msgs/msg/String')
    recorder.recording.start(tmp_path / 'bag')
    recorder.send(ODOMETRY, None, BEGIN, text('before'))
    if paused:
        recorder.recording.pause()
        recorder.recording.resume()
    time.sleep(0.3)
    statistics = recorder.recording.statistics()
    assert (statistics.state, statistics.duration_s) == (State.RECORDING, 0.0)
    recorder.send(IMAGE, BEGIN)
    recorder.wait_for(lambda: recorder.recording.statistics().state is State.STOPPED)
    assert 0.1 <= recorder.recording.statistics().duration_s < 3
    assert BagReader(tmp_path / 'bag').stream(ODOMETRY).count == 1


def test_an_almost_full_disk_ends_a_recording_and_refuses_the_next(
    make: Callable[..., Recorder], tmp_path: Path
) -> None:
    left = [10_000_000]
    recorder = make(lambda folder: left[0], min_free_bytes=5_000_000)
    recorder.recording.start(tmp_path / 'bag')
    recorder.send(RADAR, BEGIN)
    left[0] = 4_000_000
    recorder.wait_for(lambda: recorder.recording.statistics().state is State.STOPPED)
    statistics = recorder.recording.statistics()
    assert statistics.free_bytes == 4_000_000
    assert 'the disk is almost full: 4 MB left, the limit is 5 MB' in statistics.message
    assert recorder.told(EventKind.FAILED)[0].level is Level.ERROR
    assert BagReader(tmp_path / 'bag').stream(RADAR).count == 1
    with pytest.raises(BagError, match='expected 5 MB of free space at least, got 4 MB'):
        recorder.recording.start(tmp_path / 'next')
    assert not (tmp_path / 'next').exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', str(folder)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip('mounting a small tmpfs is not permitted here')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def test_a_full_disk_ends_a_recording_that_can_be_read(make: Callable[..., Recorder], small_disk: Path) -> None:
    recorder = make()
    recorder.recording.start(small_disk / 'bag')
    for stamp_ns in stamps(30, 4):
        recorder.send(IMAGE, stamp_ns, data=image(stamp_ns, 100_000))
    recorder.wait_for(lambda: recorder.recording.statistics().state is State.STOPPED)
    assert 'No space left on device' in recorder.recording.statistics().message
    (event,) = recorder.told(EventKind.FAILED)
    assert 'No space left on device' in event.message
    found = stamps_of(small_disk / 'bag', IMAGE)
    assert found == stamps(30, 4)[: len(found)]
    assert len(found) > 30
    statistics = recorder.recording.statistics()
    assert statistics.messages == len(found)
    assert statistics.streams[IMAGE].received == statistics.messages + statistics.dropped
    assert statistics.state is State.STOPPED


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process can be larger than 1 MB: writing on fails as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def accounted(recorder: Recorder) -> RecordingStatistics:
    """Statistics of an ended recording in which each message is in the bag, was on its way there, or is dropped."""
    statistics = recorder.recording.statistics()
    for topic, counts in statistics.streams.items():
        left_out = counts.unpaired if recorder.settings.pairs_only else 0
        assert counts.received == counts.recorded + counts.dropped + left_out, topic
    assert statistics.queue_bytes == 0
    return statistics


@pytest.mark.usefixtures('small_files')
def test_what_a_failing_split_costs_is_counted(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(flush_interval_s=60, split_wait_s=60)
    recorder.recording.add_topic(ODOMETRY, 'std_msgs/msg/String')
    recorder.recording.start(tmp_path / 'bag')
    recorder.send(IMAGE, BEGIN, data=image(BEGIN, 2_000_000))
    recorder.recording.split()
    for i in range(10):
        recorder.send(ODOMETRY, None, BEGIN, text(f'{i}'))
    recorder.send(RADAR, BEGIN)
    recorder.wait_for(lambda: bool(recorder.told(EventKind.FAILED)))
    statistics = accounted(recorder)
    assert statistics.streams[ODOMETRY].dropped == 10
    assert 'File too large' in recorder.told(EventKind.FAILED)[0].message


@pytest.mark.usefixtures('small_files')
@pytest.mark.parametrize('first', [RADAR, IMAGE])
def test_a_pair_that_cannot_be_written_is_counted(make: Callable[..., Recorder], tmp_path: Path, first: str) -> None:
    recorder = make(pairs_only=True)
    recorder.recording.start(tmp_path / 'bag')
    for topic in (first, IMAGE if first == RADAR else RADAR):
        recorder.send(topic, BEGIN, data=image(BEGIN, 5_000_000 if topic == IMAGE else 500))
    recorder.wait_for(lambda: bool(recorder.told(EventKind.FAILED)))
    statistics = accounted(recorder)
    assert statistics.pairs == 0
    assert BagReader(tmp_path / 'bag').stream(IMAGE).count == 0


def test_the_guard_stops_before_a_real_disk_is_full(make: Callable[..., Recorder], small_disk: Path) -> None:
    recorder = make(min_free_bytes=4_000_000)
    recorder.recording.start(small_disk / 'bag')
    for stamp_ns in stamps(30, 1.5):
        recorder.send(IMAGE, stamp_ns, data=image(stamp_ns, 100_000))
    recorder.wait_for(lambda: recorder.recording.statistics().state is State.STOPPED)
    assert 'almost full' in recorder.recording.statistics().message
    assert recorder.recording.statistics().dropped == 0
    assert stamps_of(small_disk / 'bag', IMAGE) == stamps(30, 1.5)
    assert free_bytes(small_disk) > 0


def test_a_looping_bag_and_a_restarted_sensor_are_told_and_recorded(
    make: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    radar, images = stamps(20, 4, 5), stamps(30, 4, 5)
    for loop in range(3):
        todo = [(t, RADAR) for t in radar] + [(t, IMAGE) for t in images]
        for stamp_ns, topic in sorted(todo):
            recorder.send(topic, stamp_ns, stamp_ns + loop * 4_000 * MS)
    recorder.recording.stop()
    assert sorted(pairs_of(tmp_path / 'bag')) == sorted(3 * best_pairs(radar, images, 25))
    assert recorder.told(EventKind.MATCHER_RESET)
    assert sorted(event.topic for event in recorder.told(EventKind.STAMPS_JUMPED)) == [IMAGE, RADAR]
    assert all('jumped by -3.9' in event.message for event in recorder.told(EventKind.STAMPS_JUMPED))
    assert not recorder.told(EventKind.CLOCK_JUMPED)


def test_two_clocks_on_one_topic_make_no_flood_of_events(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    for i in range(200):
        recorder.send(IMAGE, BEGIN + 33 * i * MS + (i % 2) * 3_600_000 * MS, BEGIN + 33 * i * MS)
    recorder.recording.stop()
    assert BagReader(tmp_path / 'bag').stream(IMAGE).count == 200
    assert {event.kind for event in recorder.events[1:-1]} == {EventKind.STAMPS_JUMPED, EventKind.MATCHER_RESET}
    assert len(recorder.events) <= 8


@pytest.mark.parametrize('jump_s', [-3600.0, 3600.0])
def test_a_jump_of_the_clock_is_told_and_recording_goes_on(
    make: Callable[..., Recorder], tmp_path: Path, jump_s: float
) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    before = stamps(20, 2)
    after = [t + int(jump_s * 1e9) + 2_000 * MS for t in before]
    for t in before + after:
        recorder.send(RADAR, t)
        recorder.send(IMAGE, t)
    recorder.recording.stop()
    assert sorted(pairs_of(tmp_path / 'bag')) == sorted((t, t) for t in before + after)
    (event,) = recorder.told(EventKind.CLOCK_JUMPED)
    assert f'{jump_s + 0.05:+.3f} s' in event.message
    assert not recorder.told(EventKind.STAMPS_JUMPED)


def test_a_stream_that_was_silent_is_told(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    for pause_s in (0.02, 0.02, 0.02, 1.2, 0.0):
        recorder.send(IMAGE, BEGIN + int(time.monotonic() * 1e9))
        time.sleep(pause_s)
    recorder.recording.stop()
    (event,) = recorder.told(EventKind.STREAM_RETURNED)
    assert (event.topic, event.level) == (IMAGE, Level.WARN)
    assert 'messages again after' in event.message


def test_one_stream_alone_is_recorded(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    times = stamps(30, 30)
    play(recorder, [], times)
    recorder.wait_until_written()
    recorder.recording.stop()
    assert stamps_of(tmp_path / 'bag', IMAGE) == times
    assert recorder.recording.statistics().unpaired_image == len(times)


@pytest.mark.parametrize(
    ('stamp_ns', 'reason'),
    [
        (0, 'a stamp of 0 s'),
        (-7_000 * MS, 'a stamp of -7 s'),
        (2**31 * 1000 * MS, 'a stamp of 2.1'),
        (None, 'no header'),
    ],
)
def test_messages_without_a_stamp_are_recorded_but_not_paired(
    make: Callable[..., Recorder], tmp_path: Path, stamp_ns: int | None, reason: str
) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    for i in range(5):
        recorder.send(RADAR, stamp_ns, BEGIN + i, image(0))
        recorder.send(IMAGE, stamp_ns, BEGIN + i, image(0))
    recorder.recording.stop()
    assert BagReader(tmp_path / 'bag').stream(RADAR).count == 5
    assert recorder.recording.statistics().streams[RADAR].unstamped == 5
    assert recorder.recording.statistics().pairs == 0
    for topic, event in zip((RADAR, IMAGE), recorder.told(EventKind.UNSTAMPED), strict=True):
        assert f'{topic}: expected a stamp in each message, got {reason}' in event.message


def test_what_is_written_can_be_read_while_nothing_more_comes(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    recorder.send(RADAR, BEGIN)
    file = recorder.recording.statistics().file
    began = time.monotonic()
    recorder.wait_for(lambda: recorder.sent[0].data in file.read_bytes())
    assert time.monotonic() - began < 2


def test_pairs_can_be_marked_from_outside(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(sync='approximate', pairs_only=True, pre_trigger_s=60, max_file_bytes=50_000)
    keys: list[tuple[int | None, int | None]] = []
    for i, stamp_ns in enumerate(stamps(20, 4)):
        if i == 10:
            recorder.recording.start(tmp_path / 'bag')
        keys.append((recorder.send(RADAR, stamp_ns), recorder.send(IMAGE, stamp_ns + 5 * MS)))
        if i % 2:
            recorder.recording.mark_pair(*keys[-1])
    recorder.recording.mark_pair(None, 3)
    recorder.recording.mark_pair(10**6, 3)
    recorder.recording.stop()
    expected = [(t, t + 5 * MS) for t in stamps(20, 4)[1::2]]
    assert pairs_of(tmp_path / 'bag') == expected
    assert stamps_of(tmp_path / 'bag', RADAR) == [a for a, _ in expected]
    statistics = recorder.recording.statistics()
    assert (statistics.unpaired_radar, statistics.unpaired_image) == (40, 40)
    assert statistics.median_time_difference_s == pytest.approx(0.005)


def test_pairs_are_published_as_they_are_recorded(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    play(recorder, stamps(20, 2), stamps(30, 2))
    recorder.recording.stop()
    found = [bytes(m.data) for m in BagReader(tmp_path / 'bag').raw_messages([PAIRS])]
    assert recorder.published == found
    decoded = [typestore().deserialize_cdr(data, 'radio_visual_ssl/msg/Pair') for data in found]
    assert [pair.index for pair in decoded] == list(range(len(found)))
    assert {(pair.header.frame_id, pair.radar_topic, pair.image_topic) for pair in decoded} == {('radar', RADAR, IMAGE)}


def test_a_listener_that_fails_ends_no_recording(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise RuntimeError('the publisher is gone')

    events: list[Event] = []
    recording = PairRecorder(RecorderSettings(min_free_bytes=0), on_event=events.append, on_pair=fail)
    for topic in (RADAR, IMAGE):
        recording.add_topic(topic, 'sensor_msgs/msg/Image')
    recording.start(tmp_path / 'bag')
    for i in range(3):
        recording.receive(RADAR, BEGIN, BEGIN + 100 * i * MS, image(BEGIN + 100 * i * MS))
        recording.receive(IMAGE, BEGIN, BEGIN + 100 * i * MS, image(BEGIN + 100 * i * MS))
    recording.stop()
    assert len(pairs_of(tmp_path / 'bag')) == 3
    assert sum('no longer published' in event.message for event in events) == 1
    deaf = PairRecorder(RecorderSettings(min_free_bytes=0), on_event=fail)
    deaf.start(tmp_path / 'deaf')
    deaf.stop()
    assert BagReader(tmp_path / 'deaf').streams


def test_notes_go_into_the_bag(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    with pytest.raises(BagError, match='nothing is recorded'):
        recorder.recording.annotate('too early')
    recorder.recording.start(tmp_path / 'bag')
    recorder.recording.annotate('a lorry passes', BEGIN)
    recorder.recording.stop()
    ((time_ns, note),) = BagReader(tmp_path / 'bag').messages('/annotations')
    assert (time_ns, note.data) == (BEGIN, 'a lorry passes')


def test_a_topic_can_be_added_while_recording(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    recorder.recording.start(tmp_path / 'bag')
    recorder.recording.add_topic(ODOMETRY, 'std_msgs/msg/String')
    recorder.recording.add_topic(ODOMETRY, 'std_msgs/msg/String')
    recorder.send(ODOMETRY, None, BEGIN, text('odometry'))
    with pytest.raises(BagError, match=r'/odometry: expected std_msgs/msg/String as before, got sensor_msgs'):
        recorder.recording.add_topic(ODOMETRY, 'sensor_msgs/msg/Image')
    recorder.recording.stop()
    assert BagReader(tmp_path / 'bag').stream(ODOMETRY).count == 1


def test_nothing_that_exists_is_overwritten(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(BagError, match='exists already'):
        recorder.recording.start(tmp_path / 'bag')
    with pytest.raises(BagError, match='cannot be written'):
        recorder.recording.start(tmp_path / 'file' / 'bag')
    assert recorder.recording.statistics().state is State.IDLE
    assert (tmp_path / 'file').read_text() == 'mine'
    recorder.recording.start(tmp_path / 'new' / 'folder')
    with pytest.raises(BagError, match='is being recorded; stop it first'):
        recorder.recording.start(tmp_path / 'other')
    recorder.recording.stop()
    with pytest.raises(BagError, match='exists already'):
        recorder.recording.start(tmp_path / 'new' / 'folder')


def test_commands_out_of_turn_are_refused(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    for command in (recorder.recording.stop, recorder.recording.pause, recorder.recording.split):
        with pytest.raises(BagError, match='nothing is recorded'):
            command()
    recorder.recording.start(tmp_path / 'bag')
    with pytest.raises(BagError, match='expected a paused recording'):
        recorder.recording.resume()
    recorder.recording.pause()
    with pytest.raises(BagError, match='one that is paused'):
        recorder.recording.pause()
    with pytest.raises(BagError, match='/unknown: expected one that was added'):
        recorder.send('/unknown', BEGIN)
    with pytest.raises(BagError, match='approximate'):
        recorder.recording.mark_pair(1, 2)


def test_consecutive_recordings_count_anew(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make()
    for name, count in (('first', 5), ('second', 3)):
        recorder.recording.start(tmp_path / name)
        for i in range(count):
            recorder.send(RADAR, BEGIN + i * 50 * MS)
            recorder.send(IMAGE, BEGIN + i * 50 * MS)
        recorder.recording.stop()
        statistics = recorder.recording.statistics()
        assert (statistics.pairs, statistics.streams[RADAR].recorded) == (count, count)
        assert statistics.bag == tmp_path / name
        assert len(pairs_of(tmp_path / name)) == count


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('slop_s', -1.0),
        ('slop_s', float('nan')),
        ('radar_offset_s', float('inf')),
        ('radar_topic', 'radar'),
        ('pairs_topic', RADAR),
        ('overflow', 'block'),
        ('sync', 'exact'),
        ('queue_bytes', 10),
        ('max_file_bytes', -1),
        ('flush_interval_s', 0.0),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f'{name}: expected .* got'):
        RecorderSettings(**{name: value})


def test_times_of_the_bag_ascend_where_arrival_does(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(max_file_bytes=100_000)
    recorder.recording.start(tmp_path / 'bag')
    play(recorder, stamps(20, 5, 15), stamps(30, 5, 15))
    recorder.recording.stop()
    for file in (tmp_path / 'bag').glob('*.mcap'):
        times = [message.log_time for _, _, message in messages_of(file)]
        assert all(a <= b for a, b in pairwise(times))


@pytest.mark.parametrize('pairs_only', [False, True])
@pytest.mark.parametrize('seed', range(2))
def test_every_message_is_accounted_for_whatever_is_commanded(
    make: Callable[..., Recorder], tmp_path: Path, seed: int, pairs_only: bool
) -> None:
    random = np.random.default_rng(seed)
    recorder = make(
        pairs_only=pairs_only,
        queue_bytes=1_000_000,
        overflow=('drop_newest', 'drop_oldest')[seed % 2],
        max_file_bytes=3_000_000,
        pre_trigger_s=0.2,
        split_wait_s=0.05,
    )
    recording = recorder.recording
    for number in range(2):
        radar, images = stamps(20, 10, 15, 0.1, seed + number), stamps(30, 10, 15, 0.1, seed + number)
        todo = sorted([(t, RADAR) for t in radar] + [(t, IMAGE) for t in images])
        recording.start(tmp_path / f'{number}')
        paused = False
        for stamp_ns, topic in todo:
            recorder.send(topic, stamp_ns, data=image(stamp_ns, int(random.integers(100, 90_000))))
            command = random.integers(0, 100)
            if command < 2:
                recording.split()
            elif command < 4:
                (recording.resume if paused else recording.pause)()
                paused = not paused
            elif command < 6:
                time.sleep(0.02)
        recording.stop()
        statistics = recording.statistics()
        bag = BagReader(tmp_path / f'{number}')
        for topic in (RADAR, IMAGE, PAIRS):
            counts = statistics.streams[topic]
            left_out = counts.unpaired if pairs_only and topic != PAIRS else 0
            assert counts.received == counts.recorded + counts.dropped + left_out, topic
            assert bag.stream(topic).count == counts.recorded
        assert statistics.queue_bytes == 0
        assert statistics.dropped == sum(counts.dropped for counts in statistics.streams.values())
        assert statistics.messages == sum(counts.recorded for counts in statistics.streams.values())
        for file in (tmp_path / f'{number}').glob('*.mcap'):
            inside = contents(file)
            assert all(a in inside[RADAR] and b in inside[IMAGE] for a, b in inside[PAIRS])


def test_the_bytes_of_a_message_are_never_copied(make: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = make(max_file_bytes=1_000_000)
    recorder.recording.start(tmp_path / 'bag')
    large = [image(BEGIN + 33 * i * MS, 10_000_000) for i in range(4)]
    tracemalloc.start()
    for i, data in enumerate(large):
        recorder.recording.receive(IMAGE, BEGIN, BEGIN + 33 * i * MS, data)
        recorder.recording.receive(RADAR, BEGIN, BEGIN + 33 * i * MS, image(BEGIN + 33 * i * MS))
    recorder.recording.stop()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3_000_000
    assert len(pairs_of(tmp_path / 'bag')) == 4
