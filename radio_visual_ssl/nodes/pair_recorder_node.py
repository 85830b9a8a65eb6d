# SPDX-License-Identifier: Apache-2.0
"""Records a radar and a camera as time-synchronised pairs, with whatever else belongs to them, into an MCAP bag."""

import dataclasses
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from message_filters import ApproximateTimeSynchronizer, SimpleFilter
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from std_srvs.srv import Trigger

from radio_visual_ssl.bags.messages import RclpyTypes
from radio_visual_ssl.bags.pair_recorder import PairRecorder
from radio_visual_ssl.bags.recorder_settings import (
    OVERFLOW_POLICIES,
    SYNC_POLICIES,
    Event,
    EventKind,
    Level,
    RecorderSettings,
    State,
)
from radio_visual_ssl.bags.topics import (
    CUBE_TYPE,
    PICTURE_TYPES,
    RADAR_TYPES,
    camera_info_topic,
    radar_info_topic,
    velocity_topic,
)
from radio_visual_ssl.msg import Pair, RecorderStatus
from radio_visual_ssl.nodes.base import ManagedNode
from radio_visual_ssl.nodes.definitions import message_definition, type_hash
from radio_visual_ssl.nodes.discovery import Source, find_source, similar_topics
from radio_visual_ssl.nodes.parameters import (
    ParameterSpec,
    Value,
    settings_from_parameters,
    specs_from_settings,
)
from radio_visual_ssl.nodes.qos import latched_qos, overridable
from radio_visual_ssl.nodes.raw_subscriber import RawHeader, RawMessage, RawSubscriber, has_header
from radio_visual_ssl.nodes.recorder_health import RecordedStream, RecordingHealth
from radio_visual_ssl.srv import Annotate

OWN_TOPICS = {'pairs_topic': 'pairs', 'annotations_topic': '~/annotations'}
"""Topics that the recorder itself puts into the bag; remapping renames them."""

STANDARD_TOPICS = ['/tf', '/tf_static', 'ground_truth/targets']

DISCOVERY_PERIOD = 0.25
"""Seconds between looks at the graph for topics that nobody published yet."""

CHECK_EVERY = 4
"""Looks at the graph after which topics that are being recorded are looked at, too."""

DRAIN_SECONDS = 3.0
"""Longest time from Ctrl-C to the end of the bag; launch asks again after 5 s."""

STAMP_JUMP_NS = 1_000_000_000
"""A stamp that is older than its predecessor by more begins a new time (a bag that starts again)."""

RECORDER_PARAMETERS = (
    ParameterSpec(
        'output',
        'pairs_%Y-%m-%d_%H-%M-%S',
        'Folder of the new bag; strftime codes are filled in at the start of each recording. Never overwritten.',
    ),
    ParameterSpec('record_on_start', True, 'Record from activation on; false waits for ~/start.'),
    ParameterSpec(
        'exit_when_finished',
        False,
        'End the process when a recording ends by itself: exit code 0 after max_duration_s, 1 after a failure.',
    ),
    ParameterSpec('extra_topics', [''], 'Further topics to record, as they appear.', static=True),
    ParameterSpec(
        'standard_topics',
        STANDARD_TOPICS,
        "What is recorded besides wherever it exists; the streams' info topics and velocities come by themselves.",
        static=True,
    ),
    ParameterSpec(
        'queue_depth', 30, 'Messages of a topic that the middleware keeps for this node.', 1, 1000, static=True
    ),
    ParameterSpec(
        'sync_queue_size', 30, "sync approximate: messages of a stream that wait for the other's.", 1, 100, static=True
    ),
)

SETTINGS = RecorderSettings()
"""Defaults; topics are relative as parameters."""

CHOICES = {'sync': SYNC_POLICIES, 'overflow': OVERFLOW_POLICIES}

RECORDING_PARAMETERS = tuple(
    dataclasses.replace(
        spec,
        static=True,
        choices=CHOICES.get(spec.name, ()),
        default=spec.default.lstrip('/') if spec.name.endswith('_topic') else spec.default,
    )
    for spec in specs_from_settings(SETTINGS, '')
    if spec.name not in OWN_TOPICS
)


class Keyed(NamedTuple):
    """A recorded message as a synchronizer sees it: its header, and the key it has in the recording."""

    header: RawHeader
    key: int | None


class PairRecorderNode(ManagedNode):
    """Records whatever its topics carry, byte for byte, and marks which radar frame and image belong together.

    In: the radar and image topics with their info topics, ``standard_topics`` and ``extra_topics``, of any installed
    type. Out: the bag, ``pairs`` (live, one Pair for each), ``~/status`` once a second, and the services ``~/start``,
    ``~/stop``, ``~/pause``, ``~/resume``, ``~/split``, ``~/snapshot`` and ``~/annotate``.
    """

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('pair_recorder_node', (*RECORDER_PARAMETERS, *RECORDING_PARAMETERS))
        self._settings = SETTINGS
        self._recorder: PairRecorder | None = None
        self._recorded: dict[str, RecordedStream] = {}
        self._health = RecordingHealth(SETTINGS)
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._woken = self.create_guard_condition(self._take_events)
        self._status_out: Publisher | None = None
        self._pairs_out: Publisher | None = None
        self._made_services: list[Any] = []
        self._looks = 0
        self._before_clock: deque[tuple[RecordedStream, RawMessage]] = deque()
        self._before_clock_bytes = 0
        self._sync_inputs: tuple[SimpleFilter, SimpleFilter] | None = None
        self._sync_stamps: dict[int, int] = {}

    # ---- lifecycle

    def start(self) -> bool:
        """Configure and activate; a recorder that is to end with its recording ends where there can be none."""
        started = super().start()
        if not started and self.value('exit_when_finished'):
            self.finish(1)
        return started

    def configure(self) -> None:
        """Make outputs and services."""
        self._settings = self._read_settings(self.values())
        self._pairs_out = self.add_output(Pair, 'pairs')
        self._status_out = self.add_output(RecorderStatus, '~/status', latched_qos())
        for name, work in (
            ('start', self._start_recording),
            ('stop', self._stop_recording),
            ('pause', lambda: self._active_recorder().pause()),
            ('resume', lambda: self._active_recorder().resume()),
            ('split', lambda: self._active_recorder().split()),
            ('snapshot', self._snapshot),
        ):
            self._made_services.append(self.create_service(Trigger, f'~/{name}', self._answer(work)))
        self._made_services.append(self.create_service(Annotate, '~/annotate', self._annotate))

    def activate(self) -> None:
        """Look for the topics, and record."""
        self._recorder = PairRecorder(self._settings, on_event=self._happened, on_pair=self._publish_pair)
        self._health = RecordingHealth(self._settings)
        self._streams['recording'] = self._health
        self._recorded = {}
        self._before_clock.clear()
        self._before_clock_bytes = 0
        self._synchronize()
        self._add_stream(self._settings.radar_topic, 0, RADAR_TYPES)
        self._add_stream(self._settings.image_topic, 1, PICTURE_TYPES)
        self._add_stream(camera_info_topic(self._settings.image_topic))
        for topic in (*self.value('standard_topics'), *self.value('extra_topics')):
            if topic:
                self._add_stream(self.resolve_topic_name(topic))
        try:
            if self.value('record_on_start'):
                self._start_recording()
        except Exception:
            self._recorder.close(0.0)
            self._recorder = None
            raise
        self._discover()
        self._tell()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.add_timer('discovery', DISCOVERY_PERIOD, self._discover, steady)
        self.add_timer('status', 1.0, self._tell, steady)

    def deactivate(self) -> None:
        """End the recording; what has arrived is written first."""
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        recorder.close(DRAIN_SECONDS)
        self._health.statistics = recorder.statistics()
        self._take_events()
        self._recorded = {}
        if self.context.ok():
            self._publish_status()

    def cleanup(self) -> None:
        """Remove the services."""
        for service in self._made_services:
            self.destroy_service(service)
        self._made_services.clear()
        self._pairs_out = self._status_out = None

    def close(self) -> int:
        """End; exit code 1 where the last recording could not be completed."""
        code = super().close()
        return 1 if self._health.failed else code

    def check_parameters(self, values: Mapping[str, Value]) -> None:
        """Refuse settings that contradict each other, and topics that are recorded anyway."""
        settings = self._read_settings(values)
        if not str(values['output']).strip():
            raise ValueError("parameter 'output': expected the folder of the new bag, got none")
        own = {settings.pairs_topic, settings.annotations_topic}
        for name in ('standard_topics', 'extra_topics'):
            for topic in values[name]:
                if topic and self.resolve(name, topic) in own:
                    raise ValueError(f"parameter '{name}': expected topics of others, got {topic!r}, my own")

    def notes(self) -> dict[str, str]:
        """What is recorded where."""
        return {'recording': self._health.statistics.state.name.lower(), 'bag': str(self._health.statistics.bag or '')}

    def _read_settings(self, values: Mapping[str, Value]) -> RecorderSettings:
        topics = {name: self.resolve_topic_name(topic) for name, topic in OWN_TOPICS.items()}
        for name in ('radar_topic', 'image_topic'):
            topics[name] = self.resolve(name, values[name])
        return settings_from_parameters(RecorderSettings, '', {**values, **topics})

    # ---- services

    def _answer(self, work: Callable[[], object]) -> Callable[[Any, Any], Any]:
        def answer(_request: Any, response: Any) -> Any:
            try:
                work()
            except (ValueError, OSError) as error:
                response.success, response.message = False, str(error)
                self.get_logger().warning(f'refused: {error}')
                return response
            self._tell()
            numbers = self._health.statistics
            response.success, response.message = True, f'{numbers.state.name.lower()}: {numbers.bag or ""}'
            return response

        return answer

    def _annotate(self, request: Any, response: Any) -> Any:
        return self._answer(lambda: self._active_recorder().annotate(request.text, self._now_ns()))(request, response)

    def _active_recorder(self) -> PairRecorder:
        if self._recorder is None:
            raise ValueError(f'expected an active node, {self.get_fully_qualified_name()} is {self.state}')
        return self._recorder

    def _start_recording(self) -> None:
        path = Path(datetime.now().strftime(self.value('output'))).expanduser()
        self._active_recorder().start(path, self._now_ns())
        self._health.failed = False

    def _stop_recording(self) -> None:
        self._active_recorder().stop(timeout_s=DRAIN_SECONDS)

    def _snapshot(self) -> None:
        """Record the last seconds and what follows."""
        if self._settings.pre_trigger_s <= 0:
            raise ValueError("parameter 'pre_trigger_s': expected more than 0 for a snapshot, got 0: nothing was kept")
        self._start_recording()

    def _now_ns(self) -> int:
        """The node's time, or the system's where the simulated one has not begun."""
        return self.get_clock().now().nanoseconds or time.time_ns()

    # ---- topics

    def _add_stream(self, topic: str, index: int | None = None, wanted: tuple[str, ...] = ()) -> None:
        if topic in self._recorded:
            return
        stream = RecordedStream(
            topic,
            None if index is None else lambda: self.value('input_timeout'),
            lambda: self.count_publishers(topic),
            index=index,
            wanted=wanted,
            similar=lambda: similar_topics(self, topic, wanted, self._recorded),
        )
        self._recorded[topic] = self._streams[topic] = stream

    def _discover(self) -> None:
        """Subscribe to what has appeared, and notice what has changed."""
        published = {name for name, _ in self.get_topic_names_and_types()}
        check = self._looks % CHECK_EVERY == 0
        self._looks += 1
        for stream in list(self._recorded.values()):
            if not (check or stream.subscriber is None):
                continue
            try:
                source = find_source(self, stream.topic) if stream.topic in published else None
                if source is None:
                    self._miss(stream)
                    continue
                stream.missing_since = None
                self._follow(stream, source)
                stream.problem = ''
            except ValueError as error:
                if stream.problem != str(error):
                    stream.problem = str(error)
                    self.get_logger().error(f'not recorded: {error}')
                    self.publish_diagnostics()

    def _miss(self, stream: RecordedStream) -> None:
        """Say once that nobody publishes the radar or image topic, and what might be meant."""
        now = time.monotonic()
        if stream.index is None:
            return
        if stream.missing_since is None:
            stream.missing_since = now
        elif now - stream.missing_since > self.value('input_timeout'):
            stream.missing_since = math.inf
            self.get_logger().warning(f'waiting for {stream.topic}: nobody publishes it{stream.similar()}')

    def _follow(self, stream: RecordedStream, source: Source) -> None:
        """Subscribe anew where another kind of publisher has come; tell of restarts and of what was lost."""
        before, stream.source = stream.source, source
        lost = stream.count_lost()
        if lost:
            self._warn(stream, f'{stream.topic}: {lost} messages were sent but did not arrive (transport)')
        if before is None or stream.subscriber is None:
            self._subscribe(stream, source)
        elif source.publishers != before.publishers:
            if not source.publishers & before.publishers:
                stream.restarts += 1
                self._warn(stream, f'{stream.topic}: its publisher was replaced ({", ".join(source.nodes)})')
            old = before.message_type, before.reliable, before.latched
            if (source.message_type, source.reliable, source.latched) != old:
                self._subscribe(stream, source)
        several = stream.index is not None and len(source.publishers) > 1
        stream.note = f'{stream.topic}: expected one publisher, got {len(source.publishers)}' if several else ''

    def _subscribe(self, stream: RecordedStream, source: Source) -> None:
        """Subscribe to a topic in the way that its publishers offer it.

        Raises:
            ValueError: a type that cannot be recorded; the message names the topic, expected and got.
        """
        assert self._recorder is not None
        if stream.subscriber is not None:
            self._inputs.remove(stream.subscriber.subscription)
            self.destroy_subscription(stream.subscriber.subscription)
            stream.subscriber = None
        topic, kind = stream.topic, source.message_type
        message_type = installed_type(topic, kind)
        if stream.index is not None and not has_header(message_type):
            sensible = ' or '.join(stream.wanted)
            raise ValueError(f'{topic}: expected a type that begins with a header (such as {sensible}), got {kind}')
        installed = type_hash(kind)
        if source.type_hash and installed and source.type_hash != installed:
            self._warn(stream, f'{topic}: its publisher was built with another definition of {kind} than is installed')
        self._recorder.add_topic(
            topic,
            kind,
            qos=source.recorded_qos(),
            latched=False if stream.index is not None else source.latched or None,
            definition=message_definition(kind),
            type_hash=source.type_hash or installed,
        )
        overridden = any(name.startswith(f'qos_overrides.{topic}.') for name in self._parameter_overrides)
        stream.subscriber = RawSubscriber(
            self,
            message_type,
            topic,
            source.qos(self.value('queue_depth')),
            offset_ns=self._offset_ns(stream),
            qos_overriding_options=overridable() if overridden else None,
        )
        stream.subscriber.registerCallback(self._take, stream)
        self._inputs.append(stream.subscriber.subscription)
        self.get_logger().info(f'listening to {topic} ({kind}) of {", ".join(source.nodes)}')
        if stream.index == 0:
            self._add_stream(radar_info_topic(topic, kind))
            if kind != CUBE_TYPE:
                self._add_stream(velocity_topic(topic))

    def _offset_ns(self, stream: RecordedStream) -> int:
        if stream.index is None:
            return 0
        return round((self._settings.radar_offset_s, self._settings.image_offset_s)[stream.index] * 1e9)

    # ---- messages

    def _take(self, message: RawMessage, stream: RecordedStream) -> None:
        stream.receive()
        began = time.perf_counter()
        try:
            self._record(message, stream)
        except Exception as error:  # one message costs no node
            if self.context.ok():
                self._input_failed(stream, error)
            return
        latency = None
        if message.stamp_ns and message.received_ns:
            latency = (message.received_ns - message.stamp_ns) * 1e-9
        stream.succeed(time.perf_counter() - began, latency)

    def _record(self, message: RawMessage, stream: RecordedStream) -> None:
        assert self._recorder is not None
        if message.received_ns == 0:
            self._wait_for_clock(message, stream)
            return
        while self._before_clock:
            early_stream, early = self._before_clock.popleft()
            self._recorder.receive(early_stream.topic, message.received_ns, early.stamp_ns, early.data)
        self._before_clock_bytes = 0
        key = self._recorder.receive(stream.topic, message.received_ns, message.stamp_ns, message.data)
        if self._sync_inputs is not None and stream.index is not None and message.stamp_ns:
            if message.stamp_ns < self._sync_stamps.get(stream.index, 0) - STAMP_JUMP_NS:
                self._synchronize()
            assert self._sync_inputs is not None
            self._sync_stamps[stream.index] = message.stamp_ns
            self._sync_inputs[stream.index].signalMessage(Keyed(message.header, key))

    def _wait_for_clock(self, message: RawMessage, stream: RecordedStream) -> None:
        """Simulated time has not begun, so there is no time to record a message at: keep the latest ones until then."""
        if not self._before_clock:
            self._warn(stream, 'use_sim_time: messages wait for the first /clock')
        self._before_clock.append((stream, message))
        self._before_clock_bytes += len(message.data)
        while self._before_clock_bytes > self._settings.queue_bytes:
            lost_stream, lost = self._before_clock.popleft()
            self._before_clock_bytes -= len(lost.data)
            lost_stream.lost_before_clock += 1
            lost_stream.alarms.ring(f'{lost_stream.lost_before_clock} messages lost while waiting for /clock')

    def _synchronize(self) -> None:
        """Begin anew with message_filters' synchronizer, where that is to find the pairs."""
        self._sync_stamps = {}
        if self._settings.sync != 'approximate':
            self._sync_inputs = None
            return
        self._sync_inputs = SimpleFilter(), SimpleFilter()
        synchronizer = ApproximateTimeSynchronizer(
            self._sync_inputs, self.value('sync_queue_size'), self._settings.slop_s
        )
        synchronizer.registerCallback(self._mark)

    def _mark(self, radar: Keyed, image: Keyed) -> None:
        if self._recorder is not None:
            self._recorder.mark_pair(radar.key, image.key)

    # ---- what the recording tells, from its own thread

    def _publish_pair(self, data: bytes) -> None:
        try:
            if self._pairs_out is not None:
                self._pairs_out.publish(data)
        except Exception as error:  # at the end of the process the middleware may leave before the last pairs
            if self.context.ok():
                self.get_logger().error(f'{self._settings.pairs_topic}: {error}')

    def _happened(self, event: Event) -> None:
        self._events.put(event)
        self._woken.trigger()

    def _take_events(self) -> None:
        """Log what happened, show it on /diagnostics, and end where the recording has ended by itself."""
        if self._log_events() and self._recorder is not None:
            self._tell()
            self.publish_diagnostics()

    def _log_events(self) -> bool:
        """Whether anything has happened."""
        happened = False
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                return happened
            happened = True
            health = self._recorded.get(event.topic) or self._health
            if event.level is Level.WARN:
                health.alarms.ring(event.message)
            if not self.context.ok():  # after Ctrl-C the log goes nowhere any more
                print(f'{self.get_name()}: {event.message}', file=sys.stderr)
            elif event.level is Level.ERROR:  # rclpy wants one line of code for each level
                self.get_logger().error(event.message)
            elif event.level is Level.WARN:
                self.get_logger().warning(event.message)
            else:
                self.get_logger().info(event.message)
            if event.kind is EventKind.FAILED:
                self._health.failed = True

    def _warn(self, stream: RecordedStream, text: str) -> None:
        stream.alarms.ring(text)
        self.get_logger().warning(text)

    def _tell(self) -> None:
        """Take the numbers, and publish them."""
        if self._recorder is not None:
            self._health.statistics = self._recorder.statistics()
            for topic, counts in self._health.statistics.streams.items():
                if topic in self._recorded:
                    self._recorded[topic].counts = counts
            self._publish_status()
            if self._health.statistics.state is State.STOPPED and self.value('exit_when_finished'):
                self._log_events()  # whether it failed was told before it ended, but perhaps not yet heard
                self.finish(1 if self._health.failed else 0)

    def _publish_status(self) -> None:
        if self._status_out is None:
            return
        numbers = self._health.statistics
        self._status_out.publish(
            RecorderStatus(
                header=self._header(),
                state=numbers.state.value,
                message=numbers.message,
                bag=str(numbers.bag or ''),
                file=str(numbers.file or ''),
                duration=numbers.duration_s,
                pairs=numbers.pairs,
                unpaired_radar=numbers.unpaired_radar,
                unpaired_image=numbers.unpaired_image,
                messages=numbers.messages,
                dropped=numbers.dropped,
                median_time_difference=numbers.median_time_difference_s,
                bytes=numbers.bytes,
                bytes_per_second=numbers.bytes_per_second,
                queue_bytes=numbers.queue_bytes,
                ring_bytes=numbers.ring_bytes,
                free_bytes=numbers.free_bytes,
            )
        )


def installed_type(topic: str, message_type: str) -> type:
    """Class of a message type.

    Raises:
        ValueError: it is not installed here; the message names topic and type.
    """
    try:
        return RclpyTypes()(message_type)
    except (ImportError, AttributeError, ValueError) as error:
        package = message_type.partition('/')[0]
        expected = f'expected a type that is installed here (install and source {package}: {error})'
        raise ValueError(f'{topic}: {expected}, got {message_type}') from error
