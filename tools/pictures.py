# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of docs/images that are not `make demo`'s, from simulated data.

Usage: python tools/pictures.py
"""

import tempfile
from pathlib import Path

import numpy as np

from radio_visual_ssl.radar.formation import FormationSettings
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.radar.quicklook import draw_quick_look, quick_look
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.simulator import Simulator

IMAGES = Path(__file__).resolve().parents[1] / 'docs' / 'images'
TIME_S = 3.0


def main() -> None:
    """A raw capture of the parking lot, looked into."""
    profile = load_profile('fmcw_77ghz_2tx4rx')
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / 'parking_lot.npy'
        np.save(capture, Simulator(load_scene('parking_lot'), profile).cube(TIME_S))
        settings = FormationSettings(max_range=50.0)
        print(draw_quick_look(quick_look(capture, profile, settings), IMAGES / 'quick_look.png'))


if __name__ == '__main__':
    main()
