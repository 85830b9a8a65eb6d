# SPDX-License-Identifier: Apache-2.0
"""The base of every node: a lifecycle node that starts itself, checks its parameters and says what is wrong."""

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.timer import Timer

from radio_visual_ssl.nodes.diagnostics import StreamHealth, key_values
from radio_visual_ssl.nodes.parameters import ParameterSpec, Value, similar_names
from radio_visual_ssl.nodes.qos import output_qos, overridable, sensor_qos

COMMON_PARAMETERS = (
    ParameterSpec('autostart', True, 'Configure and activate the node at its start.', read_only=True),
    ParameterSpec(
        'allow_unknown_parameters',
        False,
        'Warn of parameters that the node does not know instead of refusing to be configured.',
    ),
    ParameterSpec(
        'input_timeout',
        2.0,
        'Seconds without a message after which /diagnostics warns of a silent input.',
        minimum=0.01,
    ),
)

CONFIGURED = ('inactive', 'active')

LATER = object()
"""Returned by a message callback that keeps the message, to ``deliver`` it later to what does the work."""


class ManagedNode(LifecycleNode):
    """A lifecycle node whose errors are told instead of swallowed.

    A node says what it does in four hooks: ``configure`` (make outputs), ``activate`` (make inputs and timers),
    ``deactivate`` and ``cleanup``. An exception in a hook is logged, shown on /diagnostics and makes the transition
    fail; the node lives on and can be configured again. An exception in a message callback is logged (the same one at
    most every 5 s), counted and shown on /diagnostics until a good message comes.

    Attributes:
        finished: set to the exit code by a node that ends by itself.
        hardware_id: the radar or camera, for /diagnostics.
    """

    def __init__(self, name: str, parameters: Iterable[ParameterSpec] = ()) -> None:
        """Declare the parameters; one that cannot be used is logged and fails the configure transition."""
        super().__init__(name)
        self.finished = Future()
        self.hardware_id = ''
        self._specs = {spec.name: spec for spec in (*COMMON_PARAMETERS, *parameters)}
        self._parameter_problems: dict[str, str] = {}
        self._transition_problem = ''
        self._streams: dict[str, StreamHealth] = {}
        self._inputs: list[Subscription] = []
        self._outputs: list[LifecyclePublisher] = []
        self._enabled = False
        self._running_timers: list[Timer] = []
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        for spec in self._specs.values():
            self._declare(spec)
        # Steady time: a paused simulation or bag is exactly when diagnostics are wanted.
        self.create_timer(1.0, self.publish_diagnostics, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # ---- hooks of the nodes

    def configure(self) -> None:
        """Read the parameters and make the outputs."""

    def activate(self) -> None:
        """Make the inputs and timers."""

    def deactivate(self) -> None:
        """Called after inputs and timers are gone."""

    def cleanup(self) -> None:
        """Called after the outputs are gone."""

    def check_parameters(self, values: Mapping[str, Value]) -> None:
        """Refuse values that contradict each other.

        Args:
            values: all parameters, as they would become.

        Raises:
            ValueError: names the parameter, expected and got; nothing is changed then.
        """

    def parameters_changed(self, names: set[str]) -> None:
        """Take changed parameters over; called only between configure and cleanup.

        Where it raises, the change is refused: all parameters get their old values again.
        """

    def notes(self) -> dict[str, str]:
        """More values for the node's own status on /diagnostics."""
        return {}

    # ---- start and end

    def start(self) -> bool:
        """Configure and activate, where the parameter autostart asks for it; whether that went well."""
        if not self.value('autostart'):
            self.get_logger().info('waiting for the configure and activate transitions (autostart is false)')
            return True
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def finish(self, code: int) -> None:
        """End the process with this exit code; callable from any thread."""
        if not self.finished.done():
            self.finished.set_result(code)

    def close(self) -> int:
        """Free what the node holds; the process is about to end.

        Returns:
            Exit code, for where there is none yet: 1 where something did not let go.
        """
        code = 0
        for hook in (self.deactivate, self.cleanup):
            try:
                hook()
            except Exception as error:  # what fails must not keep the rest from its end; after Ctrl-C no log is left
                code = 1
                print(f'{self.get_name()}: cannot {hook.__name__}: {error}', file=sys.stderr)
                if not isinstance(error, (ValueError, OSError)):
                    traceback.print_exc()
        self.destroy_node()
        return code

    @property
    def state(self) -> str:
        """Label of the lifecycle state."""
        return self._state_machine.current_state[1]

    # ---- parameters

    def value(self, name: str) -> Any:
        """Value of a parameter in its own type."""
        value = self.get_parameter(name).value
        return list(value) if isinstance(self._specs[name].default, list) else value

    def values(self) -> dict[str, Value]:
        """All parameters of the node's table."""
        return {name: self.value(name) for name in self._specs}

    def is_given(self, name: str) -> bool:
        """Whether the user gave this parameter at the start (file, command line or launch)."""
        return name in self._parameter_overrides

    def resolve(self, parameter: str, topic: str) -> str:
        """Full name of a topic that a parameter names.

        Raises:
            ValueError: no name, or one that no topic can have; the message names the parameter.
        """
        if not topic:
            raise ValueError(f"parameter '{parameter}': expected the name of a topic, got none")
        try:
            return self.resolve_topic_name(topic)
        except Exception as error:  # rcl's errors share no class
            reason = str(error).partition(', at ')[0]  # of rcl's source
            raise ValueError(
                f"parameter '{parameter}': expected the name of a topic, got {topic!r}: {reason}"
            ) from error

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Check and take over parameters, all or none; a refusal gives its reason and is logged."""
        try:
            changed = self._check_change(parameter_list)
        except (ValueError, OSError) as error:
            self.get_logger().warning(f'refused: {error}')
            return SetParametersResult(successful=False, reason=str(error))
        before = [self.get_parameter(name) for name in {*self._specs, *(parameter.name for parameter in changed)}]
        result = super().set_parameters_atomically(changed)
        if not result.successful:
            return result
        names = {parameter.name for parameter in changed if parameter.name in self._specs}
        for name in names:
            self._parameter_problems.pop(name, None)
        if names and self.state in CONFIGURED:
            try:
                self.parameters_changed(names)
            except Exception as error:  # it would end the process from inside rclpy's parameter service
                self.get_logger().error(f'cannot take over {", ".join(sorted(names))}: {error}')
                # those that the node has overwritten meanwhile, too
                old = [parameter for parameter in before if self.get_parameter(parameter.name) is not parameter]
                super().set_parameters_atomically(old)
                return SetParametersResult(successful=False, reason=f'not taken over: {error}')
        return result

    def overwrite(self, values: Mapping[str, Value]) -> None:
        """Set the node's own parameters, so that a reader sees what is in effect (values of a settings file)."""
        parameters = [Parameter(name, value=self._specs[name].read(value)) for name, value in values.items()]
        result = super().set_parameters_atomically(parameters)
        if not result.successful:
            raise ValueError(result.reason)

    def _declare(self, spec: ParameterSpec) -> None:
        value = spec.default
        if self.is_given(spec.name):
            try:
                value = spec.read(self._parameter_overrides[spec.name].value)
            except ValueError as error:
                self._parameter_problems[spec.name] = str(error)
                self.get_logger().error(str(error))
        self.declare_parameter(spec.name, value, spec.descriptor(), ignore_override=True)

    def _check_change(self, parameters: Sequence[Parameter]) -> list[Parameter]:
        changed = []
        candidate = self.values()
        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            if spec is None:
                if not self.has_parameter(parameter.name):
                    raise ValueError(self._unknown(parameter.name, parameter.value))
                changed.append(parameter)
                continue
            value = spec.read(parameter.value)
            if spec.static and self.state in CONFIGURED and value != candidate[spec.name]:
                raise ValueError(
                    f"parameter '{spec.name}': expected a change while the node is unconfigured, got it while "
                    f'{self.state} (ros2 lifecycle set {self.get_fully_qualified_name()} deactivate, then cleanup)'
                )
            candidate[spec.name] = value
            changed.append(Parameter(spec.name, value=value))
        # before that, values may come one by one and the configure transition checks them together
        if self.state in CONFIGURED:
            self.check_parameters(candidate)
        return changed

    def _unknown(self, name: str, value: Any) -> str:
        return (
            f"parameter '{name}': expected a parameter of {self.get_fully_qualified_name()}, got an unknown one "
            f'(= {value!r}){similar_names(name, self._specs)}'
        )

    def _unknown_overrides(self, *, of_qos: bool) -> list[str]:
        return [
            self._unknown(name, override.value)
            for name, override in self._parameter_overrides.items()
            if name.startswith('qos_overrides.') == of_qos and not self.has_parameter(name)
        ]

    # ---- inputs, outputs, timers

    def add_output(self, message_type: type, topic: str, qos: QoSProfile | None = None) -> LifecyclePublisher:
        """A publisher that lives until cleanup and is silent unless the node is active."""
        publisher = self.create_lifecycle_publisher(
            message_type, topic, qos or output_qos(), qos_overriding_options=overridable()
        )
        if self._enabled:
            publisher.on_activate(None)
        self._outputs.append(publisher)
        return publisher

    def remove_output(self, publisher: LifecyclePublisher) -> None:
        """End a publisher early."""
        self._outputs.remove(publisher)
        self.destroy_lifecycle_publisher(publisher)

    def add_input(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], Any],
        qos: QoSProfile | None = None,
        *,
        may_be_silent: bool = False,
        ready: Callable[[], bool] = lambda: True,
        waits_for: str = '',
    ) -> StreamHealth:
        """A subscription that lives until deactivate; what the callback raises is told, and the node lives on.

        Args:
            message_type: class of the message.
            topic: relative to the node's namespace.
            callback: called with each message; it may return LATER.
            qos: sensor data unless given.
            may_be_silent: no warning where nothing arrives (latched information, optional inputs).
            ready: while it says no, the latest messages are kept for ``release`` and a warning is given.
            waits_for: the topic that makes it ready.
        """
        resolved = self.resolve_topic_name(topic)
        health = self._streams.setdefault(
            resolved,
            StreamHealth(
                resolved,
                None if may_be_silent else lambda: self.value('input_timeout'),
                lambda: self.count_publishers(resolved),
            ),
        )
        self._inputs.append(
            self.create_subscription(
                message_type,
                topic,
                self._receiver(health, callback, ready, self.resolve_topic_name(waits_for) if waits_for else ''),
                qos or sensor_qos(),
                qos_overriding_options=overridable(),
            )
        )
        return health

    def add_stream(self, name: str, timeout: Callable[[], float] | None) -> StreamHealth:
        """Health of what reaches the node by other ways than a subscription (a camera), shown until deactivate.

        Args:
            name: on /diagnostics.
            timeout: s without anything after which a warning is given; None = never.
        """
        return self._streams.setdefault(name, StreamHealth(name, timeout, None))

    def remove_input(self, topic: str) -> None:
        """End a subscription early and forget its health."""
        resolved = self.resolve_topic_name(topic)
        for subscription in [entry for entry in self._inputs if self.resolve_topic_name(entry.topic_name) == resolved]:
            self._inputs.remove(subscription)
            self.destroy_subscription(subscription)
        self._streams.pop(resolved, None)

    def add_timer(self, name: str, period: float, callback: Callable[[], None], clock: Clock | None = None) -> Timer:
        """A timer that lives until deactivate; what the callback raises is told under ``name``, and it ticks on."""
        health = self._streams.setdefault(name, StreamHealth(name, None, None))

        def tick() -> None:
            health.receive()
            self.deliver(health, callback)

        timer = self.create_timer(period, tick, clock=clock)
        self._running_timers.append(timer)
        return timer

    def release(self, health: StreamHealth, callback: Callable[[Any], Any]) -> None:
        """Deliver the messages that waited, oldest first."""
        health.note = ''
        while health.waiting:
            self.deliver(health, callback, health.waiting.popleft())

    def _receiver(
        self, health: StreamHealth, callback: Callable[[Any], Any], ready: Callable[[], bool], waits_for: str
    ) -> Callable[[Any], None]:
        def receive(message: Any) -> None:
            health.receive()
            if ready():
                self.deliver(health, callback, message)
                return
            line = health.wait(message, waits_for)
            if line is not None:
                self.get_logger().warning(line)

        return receive

    def deliver(self, health: StreamHealth, callback: Callable[..., Any], *messages: Any) -> None:
        """Let a callback work on an input's message: it is timed, and what it raises is told as the input's error."""
        began = time.perf_counter()
        try:
            if callback(*messages) is LATER:
                return
        except Exception as error:  # the border between the node's work and rclpy: one message costs no node
            if self.context.ok():
                self._input_failed(health, error)
            return
        header = getattr(messages[0], 'header', None) if messages else None
        mended = health.failing
        health.succeed(time.perf_counter() - began, self.age(header.stamp) if header is not None else None)
        if mended:
            self.publish_diagnostics()

    def age(self, stamp: Any) -> float:
        """Seconds from a message's stamp to now."""
        return (self.get_clock().now().nanoseconds - (stamp.sec * 1_000_000_000 + stamp.nanosec)) * 1e-9

    def _input_failed(self, health: StreamHealth, error: Exception) -> None:
        text = f'{health.topic}: {error}' if isinstance(error, ValueError) else f'{health.topic}: {error!r}'
        line = health.fail(text)
        if line is None:
            return
        self.get_logger().error(line)
        self.publish_diagnostics()
        if not isinstance(error, ValueError):  # bad input is a ValueError everywhere; the rest is a fault of ours
            self.get_logger().error(''.join(traceback.format_exception(error)).rstrip())

    # ---- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, then ``configure``."""
        return self._transition('configure', self._configure, self._destroy_outputs)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the outputs, then ``activate``."""
        super().on_activate(state)
        self._enabled = True
        result = self._transition('activate', self._activate, self._destroy_inputs)
        if result != TransitionCallbackReturn.SUCCESS:
            self._disable(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy inputs and timers, then ``deactivate``; a node that fails in it is unconfigured, not active still."""
        self._destroy_inputs()
        result = self._transition(
            'deactivate', self.deactivate, lambda: None, of_failure=TransitionCallbackReturn.ERROR
        )
        self._disable(state)
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the outputs, then ``cleanup``."""
        self._destroy_outputs()
        return self._transition('cleanup', self.cleanup, lambda: None, of_failure=TransitionCallbackReturn.ERROR)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy inputs and timers, ``deactivate``, destroy the outputs, ``cleanup``; the process ends.

        Exit code 1 where that failed, unless a signal came meanwhile.
        """
        self._destroy_inputs()
        result = self._transition('shutdown', lambda: self._shut_down(state), self._destroy_outputs)
        self.finish(1 if result != TransitionCallbackReturn.SUCCESS and self.context.ok() else 0)
        return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, so that the node can be configured again."""
        self._destroy_inputs()
        self._disable(state)
        self._destroy_outputs()
        try:
            self.cleanup()
        except Exception as error:  # what failed was told; the node is to stay, whatever else fails
            self.get_logger().error(f'cannot clean up: {error!r}')
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        unknown = self._unknown_overrides(of_qos=False)
        problems = list(self._parameter_problems.values())
        if self.value('allow_unknown_parameters'):
            for text in unknown:
                self.get_logger().warning(text)
        else:
            problems += unknown
        if problems:
            raise ValueError('; '.join(problems))
        self.check_parameters(self.values())
        self.configure()

    def _shut_down(self, state: LifecycleState) -> None:
        self.deactivate()  # with outputs, for what there is still to say
        self._disable(state)
        self._destroy_outputs()
        self.cleanup()

    def _activate(self) -> None:
        self.activate()
        for text in self._unknown_overrides(of_qos=True):
            self.get_logger().warning(text)

    def _transition(
        self,
        verb: str,
        work: Callable[[], Any],
        undo: Callable[[], None],
        of_failure: TransitionCallbackReturn = TransitionCallbackReturn.FAILURE,
    ) -> TransitionCallbackReturn:
        try:
            work()
        except Exception as error:  # rclpy would swallow it without a line
            undo()
            if self.context.ok():
                self._transition_problem = f'cannot {verb}: {error}'
                self.get_logger().error(self._transition_problem)
                if not isinstance(error, (ValueError, OSError)):
                    self.get_logger().error(traceback.format_exc().rstrip())
                self.publish_diagnostics()
            return of_failure
        self._transition_problem = ''
        self.get_logger().debug(f'{verb}: done')
        return TransitionCallbackReturn.SUCCESS

    def _disable(self, state: LifecycleState) -> None:
        super().on_deactivate(state)
        self._enabled = False

    def _destroy_inputs(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for timer in self._running_timers:
            self.destroy_timer(timer)
        self._inputs.clear()
        self._running_timers.clear()
        self._streams.clear()

    def _destroy_outputs(self) -> None:
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()

    # ---- diagnostics

    def publish_diagnostics(self) -> None:
        """Publish the node's own status and that of each stream."""
        name = self.get_fully_qualified_name().lstrip('/')
        status = DiagnosticStatus(level=DiagnosticStatus.OK, message=self.state)
        if self._transition_problem:
            status.level, status.message = DiagnosticStatus.ERROR, self._transition_problem
        status.values = key_values({'state': self.state, **self.notes()})
        status.name = f'{name}: state'
        statuses = [status]
        for stream in self._streams.values():
            status = stream.status()
            status.name = f'{name}: {stream.topic}'
            statuses.append(status)
        for status in statuses:
            status.hardware_id = self.hardware_id
        self._diagnostics.publish(DiagnosticArray(header=self._header(), status=statuses))

    def _header(self) -> Any:
        header = DiagnosticArray().header
        header.stamp = self.get_clock().now().to_msg()
        return header
