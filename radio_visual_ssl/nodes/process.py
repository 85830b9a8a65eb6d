# SPDX-License-Identifier: Apache-2.0
"""Runs one node as a process: ends quietly on SIGINT and SIGTERM, with one exit code."""

import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path

SERIAL_MATH = {'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'}
"""Nodes share the cores: threads of a matrix product that wait for one another cost more than they bring. On two busy
cores a heatmap took 20 times as long, and a network's detections came 87 ms after the frame instead of 53."""


LONGEST_END = 4
"""Seconds that the middleware may take to end, less than the 5 after which launch loses its patience."""


def run(module: str, node: str) -> int:
    """Import and run a node until it finishes or the process is asked to end.

    A signal that comes while node and middleware are being made waits until they are: it finds nothing half made.

    Args:
        module: that holds the node, e.g. ``'radio_visual_ssl.nodes.heatmap_node'``.
        node: class of the node, a ManagedNode without arguments.

    Returns:
        Exit code: that of the node, 0 after a signal, 2 for ROS arguments that cannot be read.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    for number in signals:
        # rclpy's own handler ends the spinning: nothing may be raised in the middle of a callback
        signal.signal(number, lambda _number, _frame: None)
    for name, count in SERIAL_MATH.items():
        os.environ.setdefault(name, count)

    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    node_class = getattr(import_module(module), node)
    try:
        rclpy.init(args=sys.argv)
    except Exception as error:  # rcl's errors share no class; the text names the argument or the file
        print(f'{Path(sys.argv[0]).name}: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    code = 0
    managed = node_class()
    executor = SingleThreadedExecutor()
    executor.add_node(managed)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    try:
        managed.start()
        while rclpy.ok() and not managed.finished.done():
            try:
                executor.spin_until_future_complete(managed.finished)
            except Exception as error:
                # What rclpy's own services raise (an impossible lifecycle transition) must not cost the node. After a
                # signal the context is invalid while a callback may be at work: what fails then is the end itself.
                if rclpy.ok():
                    managed.get_logger().error(''.join(traceback.format_exception(error)).rstrip())
        if managed.finished.done():
            code = managed.finished.result()
    except Exception:
        if rclpy.ok():
            raise
    finally:
        closing_code = managed.close()
        code = code or closing_code
        rclpy.try_shutdown()
        # Fast DDS may spin for ever when it ends while another process comes or goes, and holds Python's lock meanwhile
        # (https://github.com/eProsima/Fast-DDS/issues/6513): only the kernel can end the process then.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST_END)
    return code
