# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of docs/images that are not `make demo`'s, from simulated data.

Usage: python tools/pictures.py
"""

import tempfile
from pathlib import Path

import numpy as np

from radio_visual_ssl.bags.contact_sheet import draw_contact_sheet
from radio_visual_ssl.learning.bag_selection import expand_bags
from radio_visual_ssl.learning.mask_sheet import draw_mask_sheet
from radio_visual_ssl.learning.recordings import open_recordings
from radio_visual_ssl.radar.formation import FormationSettings
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.radar.quicklook import draw_quick_look, quick_look
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate
from radio_visual_ssl.simulation.scene import load_scene
from radio_visual_ssl.simulation.simulator import Simulator

IMAGES = Path(__file__).resolve().parents[1] / 'docs' / 'images'
TIME_S = 3.0
# seeds of data sets of one instance: by day, with several targets
SCENES = {'parking_lot': 4, 'street': 1, 'indoor_hall': 13}


def main() -> None:
    """A raw capture of the parking lot, looked into, a contact sheet of each scene, and masks of what moves."""
    for scene, seed in SCENES.items():
        with tempfile.TemporaryDirectory() as folder:
            plan = DatasetPlan(scene, 'ofdm_28ghz_400mhz_16rx', 2, seed, instances=1, rate=0.4, image_size=(640, 480))
            generate(plan, Path(folder) / 'set')
            picture = IMAGES / f'simulation_{scene}.png'
            draw_contact_sheet(Path(folder) / 'set' / plan.instance(0).bag, picture, count=2)
            print(picture)
    with tempfile.TemporaryDirectory() as folder:
        plan = DatasetPlan('parking_lot', 'ofdm_28ghz_100mhz_8rx', 320, seed=7, instances=8, rate=2)
        generate(plan, Path(folder) / 'set')
        recordings = open_recordings(expand_bags([Path(folder) / 'set']), cache=Path(folder) / 'cache')
        print(draw_mask_sheet(recordings, IMAGES / 'masks.png', count=8))
    profile = load_profile('fmcw_77ghz_2tx4rx')
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / 'parking_lot.npy'
        np.save(capture, Simulator(load_scene('parking_lot'), profile).cube(TIME_S))
        settings = FormationSettings(max_range=50.0)
        print(draw_quick_look(quick_look(capture, profile, settings), IMAGES / 'quick_look.png'))


if __name__ == '__main__':
    main()
