# SPDX-License-Identifier: Apache-2.0
"""A ROS graph of its own for tests: real processes on one side, a probe that talks to them on the other."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

DEFAULT_TIMEOUT = 60.0
"""s; generous, since the machine may be busy: nothing is asserted about time."""


def values_of(status):
    """The values of a status on /diagnostics, by their keys."""
    return {entry.key: entry.value for entry in status.values}


class Started:
    """A process whose output is read as it comes."""

    def __init__(self, command, environment, cwd=None):
        self.command = command
        self.lines = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip('\n'))
                self._changed.notify_all()

    @property
    def output(self):
        return '\n'.join(self.lines)

    def wait_for_line(self, pattern, timeout=DEFAULT_TIMEOUT, start=0):
        """The first line from number ``start`` on in which the regular expression is found."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self.lines[start:]:
                    if re.search(pattern, line):
                        return line
                if not self._changed.wait(min(deadline - time.monotonic(), 0.5)) and time.monotonic() > deadline:
                    raise AssertionError(f'{pattern!r} was not said by {self.command}:\n' + '\n'.join(self.lines))

    def wait(self, timeout=DEFAULT_TIMEOUT):
        """Exit code, once the process has ended by itself."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.command} has not ended after {timeout} s:\n{self.output}') from None
        self._reader.join(5)
        return code

    def stop(self, number=signal.SIGINT, timeout=DEFAULT_TIMEOUT):
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def children(self):
        """Process ids of the session that this process leads, itself included."""
        listed = subprocess.run(
            ['ps', '-e', '-o', 'pid=,sid=,stat='], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split() for line in listed.splitlines()]
        return [int(pid) for pid, sid, state in rows if int(sid) == self.process.pid and not state.startswith('Z')]

    def kill(self):
        """End it and all of its children, whatever they do."""
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Collected:
    """Messages of one topic, as they arrive."""

    def __init__(self, topic):
        self.topic = topic
        self.messages = []
        self._changed = threading.Condition()

    def __call__(self, message):
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def __len__(self):
        return len(self.messages)

    def wait(self, condition: Callable[[list], bool] | int, timeout=DEFAULT_TIMEOUT):
        """The messages, once there are so many, or once the condition holds for them."""
        holds = condition if callable(condition) else (lambda messages: len(messages) >= condition)
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self.messages), timeout):
                raise AssertionError(f'{self.topic}: {len(self.messages)} messages after {timeout} s are not it')
            return list(self.messages)

    def clear(self):
        with self._changed:
            self.messages.clear()


class Graph:
    """A probe node on a DDS domain of its own, and the processes started on that domain."""

    def __init__(self, domain_id):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.domain_id = domain_id
        self.environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain_id), 'RCUTILS_COLORIZED_OUTPUT': '0'}
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node('probe', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._started = []
        self._diagnostics = None
        self._thread.start()

    def _spin(self):
        from rclpy.executors import ExternalShutdownException

        with suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self):
        import rclpy

        for started in self._started:
            if started.process.poll() is None:
                started.process.send_signal(signal.SIGINT)
        for started in self._started:
            with suppress(subprocess.TimeoutExpired):
                started.process.wait(10)
            started.kill()
        # let the others' leave-taking arrive: Fast DDS may hang when it ends in the middle of it (its issue 6513)
        time.sleep(0.3)
        rclpy.shutdown(context=self._context)
        self._thread.join(10)
        self.node.destroy_node()

    # ---- processes

    def start(self, *command, environment=None, cwd=None):
        """Start any program on this graph's domain."""
        started = Started(command, {**self.environment, **(environment or {})}, cwd)
        self._started.append(started)
        return started

    def start_node(self, executable, *arguments, environment=None, **parameters):
        """Start an executable of the package; a keyword but environment is a parameter, with __ for a dot."""
        from ament_index_python.packages import get_package_prefix

        program = Path(get_package_prefix('radio_visual_ssl')) / 'lib' / 'radio_visual_ssl' / executable
        given = [text for name, value in parameters.items() for text in ('-p', f'{name.replace("__", ".")}:={value}')]
        ros = [*given, *arguments]
        return self.start(program, *(['--ros-args', *ros] if ros else []), environment=environment)

    # ---- messages

    def listen(self, message_type, topic, qos=50):
        """Collect a topic's messages from now on."""
        collected = Collected(topic)
        self.node.create_subscription(message_type, topic, collected, qos)
        return collected

    def publisher(self, message_type, topic, qos=10, settle=0.5):
        """A publisher that somebody listens to already."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        self.wait_until(publisher.get_subscription_count, f'a subscription to {topic}')
        # matched here does not mean matched there
        time.sleep(settle)
        return publisher

    @staticmethod
    def wait_until(condition, what, timeout=DEFAULT_TIMEOUT):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f'{what}: not after {timeout} s'
            time.sleep(0.02)

    def call(self, service_type, name, request, timeout=DEFAULT_TIMEOUT):
        """Response of a service."""
        client = self.node.create_client(service_type, name)
        try:
            assert client.wait_for_service(timeout), f'no service {name}'
            future = client.call_async(request)
            self.wait_until(future.done, f'answer of {name}', timeout)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def set_parameter(self, node, name, value):
        """Result of setting one parameter of a running node."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f'{node}/set_parameters', request).results[0]

    def get_parameter(self, node, name):
        """Value of one parameter of a running node."""
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        values = self.call(GetParameters, f'{node}/get_parameters', GetParameters.Request(names=[name])).values
        return parameter_value_to_python(values[0])

    def change_state(self, node, label):
        """Whether a lifecycle transition succeeded."""
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request()
        request.transition.label = label
        return self.call(ChangeState, f'{node}/change_state', request).success

    def state(self, node):
        """Label of a node's lifecycle state."""
        from lifecycle_msgs.srv import GetState

        return self.call(GetState, f'{node}/get_state', GetState.Request()).current_state.label

    def wait_for_state(self, node, label, timeout=DEFAULT_TIMEOUT):
        """Wait until a node is in a state."""
        self.wait_until(lambda: self.state(node) == label, f'{node} {label}', timeout)

    def wait_for_status(self, name, level=None, text='', timeout=DEFAULT_TIMEOUT):
        """The next status on /diagnostics of this name and level (None: any) whose message holds the text."""
        diagnostics = self._new_diagnostics()

        def matching(messages):
            return [
                status
                for message in messages
                for status in message.status
                if status.name == name and level in (None, status.level) and text in status.message
            ]

        try:
            return matching(diagnostics.wait(lambda messages: bool(matching(messages)), timeout))[0]
        except AssertionError:
            node = name.partition(':')[0]
            said = {s.name: f'{s.level} {s.name}: {s.message}' for m in diagnostics.messages for s in m.status}
            seen = [line for status, line in sorted(said.items()) if status.startswith(node)] or sorted(said)[:20]
            raise AssertionError(f'{level} {name}: {text!r} is not on /diagnostics; last\n' + '\n'.join(seen)) from None

    def wait_until_received(self, node, counts, timeout=DEFAULT_TIMEOUT):
        """Wait until a node says that it has received so many messages of each topic: what was sent is behind it."""
        diagnostics = self._new_diagnostics()

        def received(messages):
            said = {status.name: values_of(status).get('received') for m in messages for status in m.status}
            return {topic: said.get(f'{node.lstrip("/")}: {topic}') for topic in counts}

        expected = {topic: str(count) for topic, count in counts.items()}
        try:
            diagnostics.wait(lambda messages: received(messages) == expected, timeout)
        except AssertionError:
            got = received(diagnostics.messages)
            raise AssertionError(f'{node}: expected {expected} received messages, got {got}') from None

    def _new_diagnostics(self):
        """What comes on /diagnostics from now on."""
        from diagnostic_msgs.msg import DiagnosticArray

        if self._diagnostics is None:
            self._diagnostics = self.listen(DiagnosticArray, '/diagnostics')
        self._diagnostics.clear()
        return self._diagnostics


@pytest.fixture(scope='module')
def graph() -> Iterator[Graph]:
    """A graph that no other test shares."""
    domain_coordinator = pytest.importorskip('domain_coordinator')
    with domain_coordinator.domain_id() as domain_id:
        made = Graph(int(domain_id))
        yield made
        made.close()
