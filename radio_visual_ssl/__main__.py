# SPDX-License-Identifier: Apache-2.0
"""``python -m radio_visual_ssl``: the radio-visual-ssl command where it is not on the path."""

from radio_visual_ssl.cli import main

if __name__ == '__main__':  # the processes that simulate spawns import this file
    main()
