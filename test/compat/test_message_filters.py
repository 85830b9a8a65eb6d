# SPDX-License-Identifier: Apache-2.0
"""Filters that store and match messages by time, of the real message_filters or of its stand-in."""

import importlib.util
import itertools
import random
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip('rclpy')
message_filters = pytest.importorskip('message_filters')

from builtin_interfaces.msg import Time as TimeMessage  # noqa: E402
from message_filters import (  # noqa: E402
    ApproximateTimeSynchronizer,
    Cache,
    SimpleFilter,
    Subscriber,
    TimeSynchronizer,
)
from rclpy.clock import ClockType, ROSClock  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from rclpy.time import Time  # noqa: E402
from std_msgs.msg import Header, String  # noqa: E402

ORIGINAL = importlib.util.find_spec('message_filters.synchronizers') is None


def message(milliseconds, name=None):
    """Return a message with the stamp that real messages have."""
    seconds, rest = divmod(milliseconds, 1000)
    header = SimpleNamespace(stamp=TimeMessage(sec=seconds, nanosec=rest * 1_000_000))
    return SimpleNamespace(header=header, name=milliseconds if name is None else name)


def ros_time(seconds):
    return Time(seconds=seconds, clock_type=ClockType.ROS_TIME)


class Harness:
    """Inputs, a synchroniser over them and the sets of names it gave."""

    def __init__(self, make, count=2):
        self.inputs = [SimpleFilter() for _ in range(count)]
        self.synchronizer = make(self.inputs)
        self.sets = []
        self.synchronizer.registerCallback(lambda *messages: self.sets.append(tuple(m.name for m in messages)))

    def feed(self, *arrivals):
        """Let messages arrive: pairs of input and milliseconds."""
        for index, milliseconds in arrivals:
            self.inputs[index].signalMessage(message(milliseconds))
        return self.sets


def exact(queue_size=10, count=2):
    return Harness(lambda inputs: TimeSynchronizer(inputs, queue_size), count)


def approximate(queue_size=10, slop=0.05, count=2, **options):
    return Harness(lambda inputs: ApproximateTimeSynchronizer(inputs, queue_size, slop, **options), count)


def test_filter_calls_back_in_order_of_registration_with_the_arguments_given_then():
    output = SimpleFilter()
    calls = []
    connections = [
        output.registerCallback(lambda *args: calls.append(('first', *args)), 'extra', 7),
        output.registerCallback(lambda *args: calls.append(('second', *args))),
    ]
    output.signalMessage('a', 'b')
    assert calls == [('first', 'a', 'b', 'extra', 7), ('second', 'a', 'b')]
    assert connections == [0, 1]


def test_subscriber_passes_on_what_is_published(graph):
    subscriber = Subscriber(graph.node, String, 'words', qos_profile=qos_profile_sensor_data)
    publisher = graph.node.create_publisher(String, 'words', 5)
    received = []
    subscriber.registerCallback(lambda msg, tag: received.append((msg.data, tag)), 'tagged')
    assert graph.spin_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data='hello'))
    assert graph.spin_until(lambda: received)
    assert received == [('hello', 'tagged')]


def test_subscriber_answers_for_its_subscription(graph):
    subscriber = Subscriber(graph.node, String, 'words')
    assert subscriber.node is graph.node
    assert subscriber.topic == subscriber.getTopic() == 'words'
    assert subscriber.topic_name == '/words'
    assert subscriber.sub.qos_profile.depth == 10
    with pytest.raises(AttributeError):
        subscriber.no_such_attribute  # noqa: B018


def test_subscriber_passes_on_undecoded_messages_when_asked_to(graph):
    subscriber = Subscriber(graph.node, Header, 'headers', qos_profile=10, raw=True)
    publisher = graph.node.create_publisher(Header, 'headers', 10)
    received = []
    subscriber.registerCallback(received.append)
    assert graph.spin_until(lambda: publisher.get_subscription_count() == 1)
    header = Header(stamp=TimeMessage(sec=3, nanosec=5), frame_id='radar')
    publisher.publish(header)
    assert graph.spin_until(lambda: received)
    assert received == [serialize_message(header)]


def test_synchronizer_pairs_what_two_real_topics_publish(graph):
    from sensor_msgs.msg import CameraInfo, Image

    image = Subscriber(graph.node, Image, 'image')
    info = Subscriber(graph.node, CameraInfo, 'info')
    image_publisher = graph.node.create_publisher(Image, 'image', 10)
    info_publisher = graph.node.create_publisher(CameraInfo, 'info', 10)
    pairs = []
    synchronizer = TimeSynchronizer([image, info], 10)
    synchronizer.registerCallback(lambda a, b: pairs.append((type(a), type(b), a.header.stamp == b.header.stamp)))
    publishers = (image_publisher, info_publisher)
    assert graph.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
    for second in range(3):
        header = Header(stamp=TimeMessage(sec=second))
        image_publisher.publish(Image(header=header))
        info_publisher.publish(CameraInfo(header=header))
    assert graph.spin_until(lambda: len(pairs) == 3)
    assert pairs == [(Image, CameraInfo, True)] * 3


@pytest.fixture
def filled_cache():
    source = SimpleFilter()
    cache = Cache(source, 5)
    for second in range(5):
        source.signalMessage(message(1000 * second))
    return source, cache


def names(messages):
    return [m.name for m in messages]


def test_cache_returns_an_interval_with_both_ends(filled_cache):
    _, cache = filled_cache
    assert names(cache.getInterval(ros_time(1), ros_time(3))) == [1000, 2000, 3000]
    assert names(cache.getInterval(ros_time(2.5), ros_time(3.5))) == [3000]
    assert names(cache.getInterval(ros_time(5), ros_time(9))) == []
    with pytest.raises(AssertionError):
        cache.getInterval(ros_time(3), ros_time(1))


def test_cache_returns_the_neighbours_of_a_time(filled_cache):
    _, cache = filled_cache
    assert cache.getElemAfterTime(ros_time(2)).name == 2000
    assert cache.getElemAfterTime(ros_time(2.1)).name == 3000
    assert cache.getElemBeforeTime(ros_time(2.9)).name == 2000
    assert cache.getElemAfterTime(ros_time(4.1)) is None
    assert cache.getElemBeforeTime(ros_time(4.1)).name == 4000
    assert cache.getLast().name == 4000


def test_cache_forgets_the_oldest_arrival_when_it_is_full(filled_cache):
    source, cache = filled_cache
    assert (cache.getOldestTime(), cache.getLastestTime()) == (ros_time(0), ros_time(4))
    source.signalMessage(message(5000))
    assert (cache.getOldestTime(), cache.getLastestTime()) == (ros_time(1), ros_time(5))


def test_cache_keeps_messages_in_order_of_arrival():
    source = SimpleFilter()
    cache = Cache(source, 4)
    for milliseconds in (3000, 1000, 2000):
        source.signalMessage(message(milliseconds))
    assert names(cache.getInterval(ros_time(0), ros_time(9))) == [3000, 1000, 2000]
    assert cache.getElemAfterTime(ros_time(1)).name == 3000
    assert cache.getElemBeforeTime(ros_time(9)).name == 2000
    assert (cache.getOldestTime(), cache.getLastestTime()) == (ros_time(3), ros_time(2))
    assert cache.getLast().name == 3000


def test_cache_holds_one_message_unless_told_otherwise_and_passes_all_on():
    source = SimpleFilter()
    cache = Cache(source)
    passed = []
    cache.registerCallback(passed.append)
    assert cache.getLast() is None
    assert cache.getOldestTime() is None
    assert cache.getLastestTime() is None
    for milliseconds in (1, 2, 3):
        source.signalMessage(message(milliseconds))
    assert names(passed) == [1, 2, 3]
    assert names(cache.cache_msgs) == [3]


def test_cache_drops_messages_without_header_unless_allowed():
    source = SimpleFilter()
    strict, lenient = Cache(source, 5), Cache(source, 5, allow_headerless=True)
    before = ROSClock().now()
    source.signalMessage(String(data='no header'))
    after = ROSClock().now()
    assert strict.getLast() is None
    assert lenient.getInterval(before, after) == [String(data='no header')]
    assert lenient.getElemAfterTime(after + Duration(seconds=1)) is None


def test_exact_synchronizer_matches_equal_stamps_only():
    assert exact().feed((0, 10), (1, 11), (1, 10)) == [(10, 10)]


def test_exact_synchronizer_gives_messages_in_order_of_its_inputs():
    harness = exact(count=3)
    received = []
    harness.synchronizer.registerCallback(lambda *args: received.append(args), 'extra')
    for index in (2, 0, 1):
        harness.inputs[index].signalMessage(message(5, name=f'input {index}'))
    assert harness.sets == [('input 0', 'input 1', 'input 2')]
    assert received[0][-1] == 'extra'


def test_exact_synchronizer_recombines_scrambled_streams():
    generator = random.Random(0)
    harness = exact(queue_size=8)
    harness.feed(*((0, milliseconds) for milliseconds in generator.sample(range(8), 8)))
    assert harness.sets == []
    order = generator.sample(range(8), 8)
    assert harness.feed(*((1, milliseconds) for milliseconds in order)) == [(m, m) for m in order]


def test_exact_synchronizer_forgets_the_oldest_stamps_of_a_full_queue():
    harness = exact(queue_size=2)
    harness.feed((0, 1), (0, 3), (0, 2))
    assert harness.feed((1, 1), (1, 2), (1, 3)) == [(2, 2), (3, 3)]


def test_exact_synchronizer_uses_each_message_once_and_the_later_of_two_with_one_stamp():
    harness = exact()
    harness.inputs[0].signalMessage(message(1, name='early'))
    harness.inputs[0].signalMessage(message(1, name='late'))
    harness.feed((1, 1), (1, 1))
    assert harness.sets == [('late', 1)]


def test_exact_synchronizer_refuses_messages_without_header():
    with pytest.raises(AttributeError):
        exact().inputs[0].signalMessage(String())


def test_approximate_synchronizer_needs_less_than_the_slop():
    assert approximate(slop=0.05).feed((0, 100), (1, 150)) == []
    assert approximate(slop=0.05).feed((0, 100), (1, 149)) == [(100, 149)]
    assert approximate(slop=0.0).feed((0, 100), (1, 100)) == []


def test_approximate_synchronizer_takes_the_nearest_that_waits():
    assert approximate().feed((0, 100), (0, 120), (0, 140), (1, 125)) == [(120, 125)]


def test_approximate_synchronizer_decides_on_arrival_even_if_a_nearer_message_follows():
    assert approximate().feed((0, 100), (1, 140), (0, 139)) == [(100, 140)]


def test_approximate_synchronizer_uses_each_message_once():
    assert approximate().feed((0, 100), (1, 101), (1, 102), (0, 103)) == [(100, 101), (103, 102)]


def test_approximate_synchronizer_keeps_whole_sets_within_the_slop():
    harness = approximate(slop=0.05, count=3)
    assert harness.feed((0, 100), (1, 140), (2, 60)) == []
    assert harness.feed((2, 110)) == [(100, 140, 110)]


def test_approximate_synchronizer_prefers_the_nearest_of_the_first_input():
    harness = approximate(slop=0.05, count=3)
    assert harness.feed((0, 100), (0, 130), (1, 90), (1, 150), (2, 120)) == [(130, 90, 120)]


def test_approximate_synchronizer_forgets_the_oldest_stamps_of_a_full_queue():
    assert approximate(queue_size=1).feed((0, 100), (0, 130), (1, 95)) == [(130, 95)]
    assert approximate(queue_size=1).feed((1, 90), (0, 130), (0, 100)) == [(130, 90)]
    assert approximate(queue_size=1).feed((0, 130), (0, 100), (1, 81)) == [(130, 81)]
    assert approximate(queue_size=1, slop=0.03).feed((0, 130), (1, 90), (0, 100)) == []


def test_approximate_synchronizer_accepts_rclpy_times():
    harness = approximate()
    for index, nanoseconds in ((0, 100_000_000), (1, 120_000_000)):
        header = SimpleNamespace(stamp=Time(nanoseconds=nanoseconds))
        harness.inputs[index].signalMessage(SimpleNamespace(header=header, name=nanoseconds))
    assert harness.sets == [(100_000_000, 120_000_000)]


def test_approximate_synchronizer_drops_messages_without_header_unless_allowed():
    headerless = SimpleNamespace(name='no header')
    now = ROSClock().now().to_msg()
    stamped = SimpleNamespace(header=SimpleNamespace(stamp=now), name='stamped')
    for allowed, expected in ((False, []), (True, [('stamped', 'no header')])):
        harness = approximate(slop=30.0, allow_headerless=allowed)
        harness.inputs[0].signalMessage(stamped)
        harness.inputs[1].signalMessage(headerless)
        assert harness.sets == expected


@pytest.mark.parametrize('count', [2, 3])
def test_approximate_synchronizer_matches_jittering_streams_as_a_plain_search_would(count):
    generator = random.Random(count)
    slop_ms, queue_size = 50, 4
    arrivals = [(generator.randrange(count), 10 * k + generator.randrange(-60, 60) + 1000) for k in range(400)]
    waiting = [{} for _ in range(count)]
    expected = []
    for index, stamp in arrivals:
        waiting[index][stamp] = None
        if len(waiting[index]) > queue_size:
            del waiting[index][min(waiting[index])]
        near = [
            [stamp] if i == index else sorted(queue, key=lambda other: abs(other - stamp))
            for i, queue in enumerate(waiting)
        ]
        for chosen in itertools.product(*near):
            if stamp in waiting[index] and max(chosen) - min(chosen) < slop_ms:
                expected.append(chosen)
                for queue, used in zip(waiting, chosen, strict=True):
                    del queue[used]
                break
    assert len(expected) > 20
    assert approximate(queue_size, slop_ms / 1000, count).feed(*arrivals) == expected


@pytest.mark.skipif(ORIGINAL, reason='the original stays locked after a callback raised')
@pytest.mark.parametrize('make', [exact, approximate])
def test_synchronizer_works_on_after_a_callback_raised(make):
    harness = make()
    harness.synchronizer.callbacks.clear()

    def fail_once(*messages):
        if messages[0].name == 1:
            raise RuntimeError('callback failed')
        harness.sets.append(tuple(m.name for m in messages))

    harness.synchronizer.registerCallback(fail_once)
    with pytest.raises(RuntimeError, match='callback failed'):
        harness.feed((0, 1), (1, 1))
    assert harness.feed((0, 200), (1, 200)) == [(200, 200)]
