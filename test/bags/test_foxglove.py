# SPDX-License-Identifier: Apache-2.0
"""Foxglove's own library reads what is written here, every message of it, check sums and all."""

from collections import Counter

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from radio_visual_ssl.bags.messages import heatmap_from_messages, stamp_to_ns
from radio_visual_ssl.bags.offline_pairing import pair_bags
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.repair import repair_bag
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    """Cubes of a street, transforms that move among them; and heatmaps of a parking lot with raw images, compressed."""
    folder = tmp_path_factory.mktemp('simulated')
    common = {'instances': 1, 'image_size': (64, 48), 'seed': 5, 'rate': 2}
    generate(DatasetPlan('street', 'fmcw_77ghz_2tx4rx', 4, cube=True, **common), folder / 'cubes')
    plan = DatasetPlan('parking_lot', 'ofdm_28ghz_100mhz_8rx', 4, raw_images=True, compress=True, **common)
    generate(plan, folder / 'heatmaps')
    return {'cubes': folder / 'cubes' / 'street_0000', 'heatmaps': folder / 'heatmaps' / 'parking_lot_0000'}


def decoded(bag):
    """(topic, message) of all of the bag's files."""
    found = []
    for file in sorted(bag.glob('*.mcap')):
        with file.open('rb') as stream:
            reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
            assert reader.get_header().profile == 'ros2'
            found += [(channel.topic, message) for _, channel, _, message in reader.iter_decoded_messages()]
    return found


@pytest.mark.parametrize('kind', ['cubes', 'heatmaps'])
@pytest.mark.parametrize('made_by', ['simulate', 'pair', 'repair'])
def test_every_message_is_decoded(simulated, tmp_path, kind, made_by):
    bag = simulated[kind]
    if made_by != 'simulate':
        pair_bags([bag], tmp_path / 'paired')
        bag = tmp_path / 'paired'
    if made_by == 'repair':
        (bag / 'metadata.yaml').unlink()
        repair_bag(bag)
    counts = {topic: stream.count for topic, stream in BagReader(bag).streams.items() if stream.count}
    assert len(counts) >= 7
    assert Counter(topic for topic, _ in decoded(bag)) == counts


def test_values_are_those_that_we_read(simulated):
    bag = simulated['heatmaps']
    told = decoded(bag)
    (info,) = [message for topic, message in told if topic == '/radar/heatmap_info']
    images = [message for topic, message in told if topic == '/radar/heatmap']
    info.range, info.azimuth = (np.asarray(values, np.float32) for values in (info.range, info.azimuth))
    for frame, image in zip(BagReader(bag).frames(), images, strict=True):
        assert stamp_to_ns(image.header.stamp) == frame.stamp_ns
        np.testing.assert_array_equal(heatmap_from_messages(image, info).values, frame.heatmap.values)
