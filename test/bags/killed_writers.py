# SPDX-License-Identifier: Apache-2.0
"""Program: forks writers of bags and kills each (SIGKILL) at a random moment; prints what each had written by then.

Arguments: folder, how many, seed. One JSON line per writer: the bag, its seed, when it was killed, and the times (ns)
at which its messages, numbered from 0, were written. Every other writer compresses.
"""

import json
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

from radio_visual_ssl.bags.streaming import StreamingBag
from radio_visual_ssl.bags.typestore import typestore

FILE_BYTES = 24_000_000


def write_forever(path: Path, compress: bool, log: int) -> None:
    """Write messages of 100 B to 2 MB, and tell the time of each in the log when it is written."""
    bag = StreamingBag(path, compress=compress)
    bag.add_topic('/info', 'sensor_msgs/msg/CameraInfo')
    bag.add_topic('/data', 'std_msgs/msg/UInt8MultiArray')
    bag.write('/info', time.time_ns(), b'\0\1\0\0info')
    noise, number = os.urandom(2_000_000), 0
    while True:
        now = time.time_ns()
        size = len(noise) if number % 3 else 100
        bag.write('/data', now, b'\0\1\0\0' + struct.pack('<I', number) + noise[:size])
        os.write(log, struct.pack('<q', now))
        if bag.file_bytes > FILE_BYTES:
            bag.split()
        number += 1
        time.sleep(0.005)


def main() -> None:
    folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    moments = random.Random(seed)
    typestore()  # loaded once, not in each child
    for number in range(count):
        path = folder / f'bag{number}'
        log_path = folder / f'log{number}'
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        child = os.fork()
        if child == 0:
            try:
                write_forever(path, bool(number % 2), log)
            finally:
                os._exit(1)
        os.close(log)
        while not log_path.stat().st_size:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.05, 1.0))
        os.kill(child, signal.SIGKILL)
        killed_ns = time.time_ns()
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        times = [found[0] for found in struct.iter_unpack('<q', log_path.read_bytes())]
        print(json.dumps({'bag': path.name, 'killed_ns': killed_ns, 'times_ns': times}), flush=True)


if __name__ == '__main__':
    main()
