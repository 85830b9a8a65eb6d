# SPDX-License-Identifier: Apache-2.0
"""Runs the suite live on a simulated scene, through the launch file, and shows what it found.

Usage: python tools/demo.py [FRAMES]. Writes out/demo.png and prints detection rate and error against the ground truth.
"""

import signal
import subprocess
import sys
from pathlib import Path

LAUNCH_STOP_TIME_S = 20


def main() -> int:
    """Launch, watch a number of frames, stop; the exit status is the watcher's."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    out = Path('out').resolve()
    out.mkdir(exist_ok=True)
    log = out / 'demo_launch.log'
    print(f'ros2 launch radio_visual_ssl localize.launch.py source:=simulator   (its output: {log})', flush=True)
    watch = ['ros2', 'run', 'radio_visual_ssl', 'watch_node', '--ros-args']
    watch += ['-p', f'frames:={frames}', '-p', f'out:={out / "demo.png"}', '-p', 'max_range:=50.0']
    with log.open('w') as output:
        launch = subprocess.Popen(
            ['ros2', 'launch', 'radio_visual_ssl', 'localize.launch.py', 'source:=simulator'],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            status = subprocess.run(watch, check=False).returncode
        finally:
            launch.send_signal(signal.SIGINT)
            try:
                launch.wait(LAUNCH_STOP_TIME_S)
            except subprocess.TimeoutExpired:
                launch.kill()
                print(f'demo: the launch file did not end within {LAUNCH_STOP_TIME_S} s', file=sys.stderr)
                status = 1
    if status != 0:
        print(f'demo: failed; the launch file said:\n{log.read_text()}', file=sys.stderr)
        return status
    print(f'picture: {out / "demo.png"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
