# SPDX-License-Identifier: Apache-2.0
"""Becomes the command of a step, which is killed together with the study: ``step_process.py PARENT COMMAND...``.

A study that is killed cannot end its commands; one that went on alone would write into the folder of the step that the
next run of the study begins anew. It is run as a script by itself and imports nothing of the package.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before the signal was asked for
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f'error: {command[0]}: {error.strerror}')


if __name__ == '__main__':
    main()
