# SPDX-License-Identifier: Apache-2.0
"""Tune the CFAR localizer on bags with ground truth: random search, the best settings as YAML and a JSON line.

    python tools/tune_cfar.py data/parking_lot --split val --radar-height 3.2 --out tuned.yaml

Judged by recall at a rate of false alarms over all frames, a hit within 1 m of the footprint: the baseline is to be as
good as it gets at the point where it is compared. Never tune on the bags that you judge with.
"""

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import yaml

from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.commands.output import progress_bar
from radio_visual_ssl.evaluation.evaluate import evaluate_bags
from radio_visual_ssl.learning.bag_selection import expand_bags
from radio_visual_ssl.radar.cfar_localizer import CfarLocalizer, CfarLocalizerSettings

CHOICES = {
    'method': ['ca', 'go', 'os'],
    'guard_cells': [(1, 1), (2, 2), (3, 3), (4, 4)],
    'training_cells': [(4, 4), (8, 3), (8, 6), (12, 6)],
    'probability_of_false_alarm': [1e-2, 1e-3, 1e-4],
    'rank': [0.4, 0.6, 0.75],
    'min_snr': [4.0, 6.0, 8.0, 10.0],
    'merge_radius': [1.5, 2.0, 2.5, 3.0, 4.0],
    'extent_db': [6.0, 12.0],
    'min_cells': [1, 2, 3],
    'sidelobe_rejection': [10.0, 12.0, 15.0, 18.0],
}


def main() -> None:
    """Search, print, and write the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bags', nargs='+', type=Path)
    parser.add_argument('--split', help='part of the data sets')
    parser.add_argument('--tries', type=int, default=48)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--false-per-frame', default='0.1', choices=['0.02', '0.05', '0.1', '0.2', '0.5'])
    parser.add_argument('--radar-height', type=float, default=0.0)
    parser.add_argument('--out', type=Path, help='YAML file of the best settings')
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    tried = [CfarLocalizerSettings(radar_height=arguments.radar_height)]  # the defaults take part
    while len(tried) < arguments.tries:
        drawn = {name: values[random.integers(len(values))] for name, values in CHOICES.items()}
        tried.append(CfarLocalizerSettings(radar_height=arguments.radar_height, **drawn))
    paths = expand_bags(arguments.bags, arguments.split)
    localizers = {str(number): CfarLocalizer(settings) for number, settings in enumerate(tried)}
    readers = [BagReader(path) for path in paths]
    total = sum(reader.streams[reader.radar_topic()].count for reader in readers)
    with progress_bar('tuning') as progress:
        done = 0

        def on_frame(path: object, frame: object) -> None:
            nonlocal done
            done += 1
            progress(done, total)

        metrics = evaluate_bags(paths, localizers, hit_distance=1.0, on_frame=on_frame).metrics

    def merit(number: str) -> tuple[float, float]:
        found = metrics[number]
        at = found.at_false_per_frame[arguments.false_per_frame]
        # settings that never make so many false alarms are judged as they are
        recall = at.recall if at.recall is not None else found.recall
        return recall or 0.0, found.ap_2m or 0.0

    ranked = sorted(localizers, key=merit, reverse=True)
    best = tried[int(ranked[0])]
    defaults = asdict(CfarLocalizerSettings())
    content = {
        each.name: list(value) if isinstance(value := getattr(best, each.name), tuple) else value
        for each in fields(best)
        if getattr(best, each.name) != defaults[each.name]
    }
    for number in [*ranked[:5], '0']:
        recall, average = merit(number)
        print(f'{number:>4}: recall {recall:.3f} at {arguments.false_per_frame} false per frame, AP {average:.3f}')
    if arguments.out is not None:
        arguments.out.write_text(yaml.safe_dump(content, sort_keys=False), encoding='utf-8')
    at = metrics[ranked[0]].at_false_per_frame[arguments.false_per_frame]
    figures = {'recall': merit(ranked[0])[0], 'ap_1m': merit(ranked[0])[1], 'median_error_m': at.median_error_m}
    print(json.dumps({'settings': content, **figures, 'default_recall': merit('0')[0], 'tries': len(tried)}))


if __name__ == '__main__':
    main()
