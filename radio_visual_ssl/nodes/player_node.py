# SPDX-License-Identifier: Apache-2.0
"""Plays a bag onto topics, for machines without ``ros2 bag play``."""

import threading
import time
from collections.abc import Iterator

from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage

from radio_visual_ssl.bags.messages import RclpyTypes, serialized_stamp_ns, stamp_from_ns, stamp_to_ns
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader, RawMessage, Stream
from radio_visual_ssl.bags.topics import CUBE_TYPE
from radio_visual_ssl.msg import TargetArray
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.parameters import ParameterSpec
from radio_visual_ssl.nodes.qos import latched_qos, output_qos

PARAMETERS = (
    ParameterSpec('bag', '', 'The rosbag2 folder (MCAP or SQLite) to play.', static=True),
    ParameterSpec('rate', 1.0, 'Speed: 1 = as recorded, 2 = twice as fast.', 0.01, 1000.0),
    ParameterSpec('loop', False, 'Start again at the end of the bag; the stamps jump back then.'),
    ParameterSpec(
        'start_offset', 0.0, 'Seconds of the bag to skip; latched topics are sent all the same.', 0.0, static=True
    ),
    ParameterSpec('topics', [''], 'Topics to play, as named in the bag; empty: all.', static=True),
    ParameterSpec(
        'publish_clock', False, 'Send the time of the bag on /clock, for nodes with use_sim_time.', static=True
    ),
    ParameterSpec(
        'clock_rate', 100.0, 'Messages per second on /clock, besides one at each message of the bag.', 1.0, 1000.0
    ),
    ParameterSpec(
        'wait_for_subscribers',
        [''],
        "Topics of which nothing may be lost: playing waits for a subscription to each, or as many as '/topic 2' says.",
        static=True,
    ),
    ParameterSpec(
        'wait_timeout', 15.0, 'Seconds to wait for them, then playing starts with a warning.', 0.0, static=True
    ),
    ParameterSpec(
        'wait_for_targets',
        '',
        'Topic of a TargetArray for each radar frame; the process does not end before that of the last one has come.',
        static=True,
    ),
    ParameterSpec(
        'queue_size',
        100,
        'Messages kept for subscribers that are slower than the bag, for each topic.',
        1,
        10000,
        static=True,
    ),
)

ABSOLUTE_TOPICS = ('/tf', '/tf_static', '/clock', '/diagnostics', '/rosout', '/parameter_events')
"""Topics that a namespace does not apply to."""

SETTLE_SECONDS = 0.5
"""Without a node or topic coming or going, until those that know of each other here are sure to do so there too: a
subscription that is matched, and whoever listens to what its node will publish."""

ANSWER_SECONDS = 5.0
"""Longest wait for the next targets at the end of the bag."""

DRAIN_SECONDS = 5.0
"""Longest wait for the acknowledgements of the last messages."""


class PlayerNode(ManagedNode):
    """Publishes a bag's messages, byte for byte (those of older versions completed), in the rhythm of their recording.

    The bag's topic ``/radar/heatmap`` becomes the relative ``radar/heatmap``, so that a namespace applies; /tf and the
    like stay as they are. Deactivating pauses, activating goes on. At the end of the bag the process ends with exit
    code 0, after reliable subscribers have acknowledged what they were sent; a bag that cannot be played gives 1.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('player_node', PARAMETERS)
        self._bag: BagReader | None = None
        self._bag_publishers: dict[str, Publisher] = {}
        self._clock_publisher: Publisher | None = None
        self._messages: Iterator[RawMessage] | None = None
        self._pending: RawMessage | None = None
        self._awaited: dict[str, int] = {}
        self._waited = False
        self._radar_topic = ''  # whose frames are answered by targets, if that is waited for
        self._asked = b''  # its last message
        self._answered: tuple[int, float] | None = None  # stamp of the last targets, and when they came
        self._paused = threading.Event()
        self._thread: threading.Thread | None = None
        self._played = 0
        self._began = 0.0

    def start(self) -> bool:
        """Configure and activate; without anybody to mend it, a failure ends the process."""
        started = super().start()
        if not started:
            self.finish(1)
        return started

    def configure(self) -> None:
        """Open the bag and make a publisher for each topic."""
        path = self.value('bag')
        if not path:
            raise ValueError("parameter 'bag': expected the path of a rosbag2 folder, got none")
        bag = BagReader(path)
        for topic in self._texts('topics'):
            bag.stream(topic)
        self._awaited = dict(map(read_awaited, self._texts('wait_for_subscribers')))
        offset = self.value('start_offset')
        length = (bag.end_ns - bag.start_ns) * 1e-9
        if offset and offset >= length:
            raise ValueError(f"parameter 'start_offset': expected less than the bag's {length:.3f} s, got {offset} s")
        self._bag_publishers = self._make_publishers(bag)
        if not self._bag_publishers:
            raise BagError(f'{bag.path}: expected messages to play, got none of a type that is installed here')
        if self.value('publish_clock'):
            self._clock_publisher = self.add_output(ClockMessage, '/clock')
        self._radar_topic = self._answered_topic(bag) if self.value('wait_for_targets') else ''
        self._asked, self._answered = b'', None
        self._bag = bag
        self._messages = None
        self._pending = None
        self._waited = False
        self._played = 0

    def activate(self) -> None:
        """Start playing, or go on."""
        if self._radar_topic:
            name = self._played_name(self._texts('wait_for_targets')[0])
            self.add_input(TargetArray, name, self._take_targets, output_qos(), may_be_silent=True)
        self._paused.clear()
        self._thread = threading.Thread(target=self._play, name='player', daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Pause."""
        self._paused.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def cleanup(self) -> None:
        """Forget the bag."""
        self._bag = None
        self._messages = None
        self._bag_publishers = {}
        self._clock_publisher = None

    def notes(self) -> dict[str, str]:
        """What is played, and how far."""
        return {'bag': str(self._bag.path) if self._bag else '', 'played': str(self._played)}

    # ---- set-up

    def _texts(self, name: str) -> list[str]:
        value = self.value(name)
        texts = [value] if isinstance(value, str) else value
        return [text if text.startswith('/') else f'/{text}' for text in texts if text]

    def _make_publishers(self, bag: BagReader) -> dict[str, Publisher]:
        wanted = self._texts('topics') or list(bag.streams)
        publishers: dict[str, Publisher] = {}
        for topic in wanted:
            stream = bag.streams[topic]
            if stream.count == 0:
                continue
            if topic == '/clock' and self.value('publish_clock'):
                self.get_logger().warning(f'{topic}: not played, since publish_clock sends it')
                continue
            try:
                message_type = RclpyTypes()(stream.type)
            except (ImportError, AttributeError):
                self.get_logger().warning(f'{topic}: not played, since its type {stream.type} is not installed here')
                continue
            name = topic if topic in ABSOLUTE_TOPICS else topic.lstrip('/')
            publishers[topic] = self.add_output(message_type, name, playing_qos(stream, self.value('queue_size')))
        return publishers

    def _answered_topic(self, bag: BagReader) -> str:
        """The radar topic whose frames targets answer, of those that are played; empty without one."""
        topic = bag.radar_topic()
        cubes = [name for name in self._bag_publishers if bag.streams[name].type == CUBE_TYPE]
        return topic if topic in self._bag_publishers else next(iter(cubes), '')

    # ---- playing, in a thread of its own so that a long gap in the bag blocks no service

    def _play(self) -> None:
        try:
            if not self._waited and not self._wait_for_subscribers():
                return
            while self._play_through():
                self.get_logger().info('the bag starts again')
            if self._paused.is_set():
                return
            self._drain()
        except Exception as error:  # a thread's exception would end it without a word
            if self.context.ok():
                self.get_logger().error(f'cannot play: {error}')
                self.finish(1)
            return
        self.get_logger().info(f'played {self._played} messages in {time.monotonic() - self._began:.1f} s')
        self.finish(0)

    def _wait_for_subscribers(self) -> bool:
        """Wait for the subscriptions that must miss nothing; False when paused meanwhile."""
        deadline = time.monotonic() + self.value('wait_timeout')
        while missing := [topic for topic, count in self._awaited.items() if self._subscribers(topic) < count]:
            if time.monotonic() > deadline:
                names = ', '.join(map(self._played_name, missing))
                self.get_logger().warning(
                    f'too few have subscribed to {names} within {self.value("wait_timeout"):g} s; playing all the same'
                )
                break
            if self._paused.wait(0.05):
                return False
        if self._awaited and not self._wait_until_settled(max(deadline, time.monotonic() + SETTLE_SECONDS)):
            return False
        self._waited = True
        self._began = time.monotonic()
        assert self._bag is not None
        seconds = (self._bag.end_ns - self._bag.start_ns) * 1e-9
        self.get_logger().info(
            f'playing {self._bag.path} ({len(self._bag_publishers)} topics, {seconds:.1f} s) at {self.value("rate"):g}x'
        )
        return True

    def _wait_until_settled(self, deadline: float) -> bool:
        """Wait until nodes and topics have stopped changing for a while; False when paused meanwhile."""
        known, since = self._graph(), time.monotonic()
        while (now := time.monotonic()) < deadline and now - since < SETTLE_SECONDS:
            if self._paused.wait(0.05):
                return False
            if (found := self._graph()) != known:
                known, since = found, time.monotonic()
        return True

    def _graph(self) -> tuple[list[str], dict[str, tuple[int, int]]]:
        """Nodes, and how many publish and subscribe to each topic."""
        topics = [name for name, _ in self.get_topic_names_and_types()]
        counts = {name: (self.count_publishers(name), self.count_subscribers(name)) for name in topics}
        return sorted(self.get_fully_qualified_node_names()), counts

    def _subscribers(self, topic: str) -> int:
        """Subscriptions to a topic: those matched where it is played here, else those that are known."""
        publisher = self._clock_publisher if topic == '/clock' else None
        publisher = publisher or self._bag_publishers.get(topic)
        return publisher.get_subscription_count() if publisher else self.count_subscribers(self._played_name(topic))

    def _played_name(self, topic: str) -> str:
        """Name under which a topic of the bag is played."""
        return self.resolve_topic_name(topic if topic in ABSOLUTE_TOPICS else topic.lstrip('/'))

    def _play_through(self) -> bool:
        """Play to the end of the bag or to a pause; whether to start again."""
        if self._messages is None:
            self._messages = self._read()
            self._pending = next(self._messages, None)
        rate = self.value('rate')
        anchor = None
        while self._pending is not None:
            message = self._pending
            if anchor is None or rate != self.value('rate'):
                rate = self.value('rate')
                anchor = (time.monotonic(), message.time_ns)
            if not self._sleep_until(anchor, message.time_ns, rate):
                return False
            self._bag_publishers[message.topic].publish(message.data)
            if message.topic == self._radar_topic:
                self._asked = message.data
            self._played += 1
            self._pending = next(self._messages, None)
        self._messages = None
        return bool(self.value('loop')) and not self._paused.is_set()

    def _read(self) -> Iterator[RawMessage]:
        """The bag's messages from start_offset on; before that, the last one of each latched topic."""
        assert self._bag is not None
        topics = list(self._bag_publishers)
        begin = self._bag.start_ns + round(self.value('start_offset') * 1e9)
        if begin > self._bag.start_ns:
            latched = [topic for topic in topics if self._bag.streams[topic].latched]
            last: dict[str, RawMessage] = {}
            for message in self._bag.raw_messages(latched) if latched else ():
                if message.time_ns >= begin:
                    break
                last[message.topic] = message
            yield from (message._replace(time_ns=begin) for message in last.values())
        yield from self._bag.raw_messages(topics, start_ns=begin)

    def _sleep_until(self, anchor: tuple[float, int], time_ns: int, rate: float) -> bool:
        """Wait until a time of the bag is due, sending /clock meanwhile; False when paused."""
        began, first_ns = anchor
        due = began + (time_ns - first_ns) * 1e-9 / rate
        while (left := due - time.monotonic()) > 0:
            self._send_clock(time_ns - round(left * rate * 1e9))
            step = 1.0 / self.value('clock_rate') if self._clock_publisher is not None else 0.1
            if self._paused.wait(min(left, step)):
                return False
        self._send_clock(time_ns)
        return not self._paused.is_set() and self.context.ok()

    def _send_clock(self, time_ns: int) -> None:
        if self._clock_publisher is not None:
            self._clock_publisher.publish(ClockMessage(clock=stamp_from_ns(time_ns, RclpyTypes())))

    def _drain(self) -> None:
        """Wait until reliable subscribers have what they were sent."""
        deadline = time.monotonic() + DRAIN_SECONDS
        publishers = dict(self._bag_publishers)
        if self._clock_publisher is not None:
            publishers['/clock'] = self._clock_publisher
        for topic, publisher in publishers.items():
            left = max(deadline - time.monotonic(), 0.0)
            if not publisher.wait_for_all_acked(Duration(seconds=left)):
                self.get_logger().warning(f'{topic}: a subscriber has not acknowledged all messages')
        if self._asked:
            self._wait_for_targets(serialized_stamp_ns(self._asked))

    def _take_targets(self, message: TargetArray) -> None:
        self._answered = stamp_to_ns(message.header.stamp), time.monotonic()

    def _wait_for_targets(self, stamp_ns: int) -> None:
        """Wait for the targets of the last radar frame, as long as there are new ones of those before."""
        began = time.monotonic()
        while self._answered is None or self._answered[0] != stamp_ns:
            last = began if self._answered is None else max(began, self._answered[1])
            if time.monotonic() - last > ANSWER_SECONDS:
                topic = self._played_name(self._texts('wait_for_targets')[0])
                self.get_logger().warning(f'{topic}: no targets of the last radar frame within {ANSWER_SECONDS:g} s')
                return
            if self._paused.wait(0.05):
                return


def read_awaited(text: str) -> tuple[str, int]:
    """Topic and number of subscriptions of an entry of wait_for_subscribers.

    Raises:
        ValueError: not a topic, with or without a number from 1 on.
    """
    topic, *count = text.split()
    if len(count) > 1 or not all(number.isdigit() and int(number) > 0 for number in count):
        raise ValueError(f"parameter 'wait_for_subscribers': expected '/topic' or '/topic 2', got {text!r}")
    return topic, int(count[0]) if count else 1


def playing_qos(stream: Stream, queue_size: int) -> QoSProfile:
    """QoS to play a topic with: latched as it was recorded, and reliable, which any subscription can hear.

    A latched topic keeps all its messages: where several publishers were recorded (/tf_static), each had its own last.
    """
    if stream.latched:
        return latched_qos(min(stream.count, queue_size))
    qos = output_qos()
    qos.depth = queue_size
    return qos
