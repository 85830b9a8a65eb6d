# SPDX-License-Identifier: Apache-2.0
"""Heatmaps of recorded cubes: what a bag holds in which they stand in for the cubes."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from radio_visual_ssl.bags.forming import form_bag
from radio_visual_ssl.bags.messages import cube_from_message, profile_from_info, stamp_to_ns
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.offline_pairing import pair_bags
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.radar.cube import canonical
from radio_visual_ssl.radar.formation import FormationSettings, HeatmapFormer
from radio_visual_ssl.radar.heatmap import Reference
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

MOVING = FormationSettings(clutter_removal='ego_motion', transform='scipy')


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """A paired bag of four cubes on a street."""
    folder = tmp_path_factory.mktemp('cubes')
    plan = DatasetPlan('street', 'fmcw_77ghz_2tx4rx', 4, instances=1, image_size=(64, 48), seed=5, rate=2, cube=True)
    generate(plan, folder / 'set')
    pair_bags([folder / 'set' / 'street_0000'], folder / 'recording')
    return folder / 'recording'


@pytest.fixture(scope='module')
def formed(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp('formed') / 'bag'
    return out, form_bag(recording, out, MOVING)


def raw(bag, topic):
    return [(message.time_ns, message.data) for message in BagReader(bag).raw_messages([topic])]


def spoiled(recording, path, change):
    """A copy of the recording whose second cube was changed."""
    reader, count = BagReader(recording), 0
    with BagWriter(path) as writer:
        for name, stream in reader.streams.items():
            writer.add_stream(name, stream)
        for message in reader.raw_messages():
            if message.topic == '/radar/cube':
                count += 1
                cube = reader.decode(message)
                if count == 2:
                    change(cube)
                writer.write('/radar/cube', message.time_ns, cube)
            else:
                writer.write_serialized(message.topic, message.time_ns, message.type, message.data)
    return path


def test_heatmaps_are_those_that_are_formed_of_the_cubes(recording, formed):
    out, report = formed
    reader = BagReader(recording)
    profile = profile_from_info(next(reader.messages('/radar/info'))[1])
    former = HeatmapFormer(profile, MOVING)
    frames = list(BagReader(out).frames())
    cubes = [message for _, message in reader.messages('/radar/cube')]
    assert len(frames) == len(cubes) == 4
    for frame, cube in zip(frames, cubes, strict=True):
        heatmap = former.form(canonical(cube_from_message(cube), profile))
        assert frame.stamp_ns == stamp_to_ns(cube.header.stamp)
        np.testing.assert_allclose(frame.heatmap.values, heatmap.values, atol=1e-3)
        np.testing.assert_allclose(frame.heatmap.velocity, heatmap.velocity, atol=1e-5)
        assert (frame.heatmap.radar, frame.heatmap.noise_floor) == (profile.name, 0.0)
        assert frame.image is not None
    assert (report.heatmaps, report.refused, report.radar) == (4, 0, profile.name)
    assert report.shape == former.grid.shape


def test_all_else_is_copied_as_it_is(recording, formed):
    out, report = formed
    before, after = BagReader(recording), BagReader(out)
    assert set(before.streams) - set(after.streams) == {'/radar/cube'}
    assert set(after.streams) - set(before.streams) == {'/radar/heatmap', '/radar/heatmap_info', '/radar/velocity'}
    for topic in set(before.streams) & set(after.streams) - {'/pairs'}:
        assert raw(recording, topic) == raw(out, topic)
        assert before.streams[topic].latched == after.streams[topic].latched
        assert before.streams[topic].type_hash == after.streams[topic].type_hash
    assert after.streams['/radar/heatmap_info'].latched
    assert after.streams['/radar/heatmap_info'].count == 1
    assert report.messages == sum(stream.count for stream in after.streams.values())


def test_pairs_name_the_heatmaps(recording, formed):
    out, _ = formed
    before = [pair for _, pair in BagReader(recording).messages('/pairs')]
    after = [pair for _, pair in BagReader(out).messages('/pairs')]
    assert len(before) == len(after) == 4
    assert {pair.radar_topic for pair in before} == {'/radar/cube'}
    assert {pair.radar_topic for pair in after} == {'/radar/heatmap'}
    assert [(pair.index, pair.image_stamp) for pair in before] == [(pair.index, pair.image_stamp) for pair in after]


def test_a_cube_that_cannot_be_used_is_left_out_with_its_pair_and_told(recording, tmp_path):
    def spoil(cube):
        cube.data = cube.data.copy()
        cube.data[:64] = np.frombuffer(np.full(16, np.nan, np.float32).tobytes(), np.uint8)

    bad = spoiled(recording, tmp_path / 'bad', spoil)
    result = CliRunner().invoke(app, ['form', str(bad), '--out', str(tmp_path / 'out'), '--json'])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told['heatmaps'], told['refused']) == (3, 1)
    assert '1 cubes left out; the first:' in result.stderr
    assert 'expected finite samples, got NaN or infinity' in ' '.join(result.stderr.split())
    after = BagReader(tmp_path / 'out')
    assert (after.streams['/radar/heatmap'].count, after.streams['/pairs'].count) == (3, 3)


def test_what_the_levels_mean_is_told_anew_after_a_cube_of_zeros(recording, tmp_path):
    bad = spoiled(recording, tmp_path / 'zeros', lambda cube: setattr(cube, 'data', 0 * cube.data))
    form_bag(bad, tmp_path / 'out')
    heatmaps = [frame.heatmap for frame in BagReader(tmp_path / 'out').frames()]
    assert [heatmap.reference == Reference.NOISE_FLOOR for heatmap in heatmaps] == [True, False, True, True]
    assert np.isnan([heatmap.noise_floor for heatmap in heatmaps]).tolist() == [False, True, False, False]


def test_heatmaps_that_keep_what_stands_are_counted(recording, formed, tmp_path):
    assert formed[1].with_clutter == 0
    bad = spoiled(recording, tmp_path / 'zeros', lambda cube: setattr(cube, 'data', 0 * cube.data))
    options = ['--formation', 'clutter_removal=ego_motion', '--json']
    result = CliRunner().invoke(app, ['form', str(bad), '--out', str(tmp_path / 'out'), *options])
    assert json.loads(result.stdout)['with_clutter'] == 1
    assert "what stands is still in 1 of them, for too little told the radar's own velocity" in result.stderr
    assert form_bag(recording, tmp_path / 'plain').with_clutter is None


def test_the_command_forms_as_it_is_told(recording, tmp_path):
    options = ['--formation', 'azimuth_bins=32', '--formation', 'clutter_removal=static', '--json']
    result = CliRunner().invoke(app, ['form', str(recording), '--out', str(tmp_path / 'a [b]'), *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)['shape'] == [256, 32]
    assert next(BagReader(tmp_path / 'a [b]').frames()).heatmap.values.shape == (256, 32)
    again = CliRunner().invoke(app, ['form', str(recording), '--out', str(tmp_path / 'a [b]'), *options])
    assert 'exists already' in str(again.exception)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ['--formation', 'clutter_removal=all'],
            "clutter_removal: expected one of none, static, ego_motion, got 'all'",
        ),
        (['--formation', 'beamformer'], "--formation: expected name.of.field=value, got 'beamformer'"),
        (['--cube-topic', '/radar/info'], 'topic /radar/info: expected type radio_visual_ssl/msg/RadarCube'),
    ],
)
def test_what_cannot_be_formed_is_told_and_nothing_is_left(recording, tmp_path, options, message):
    result = CliRunner().invoke(app, ['form', str(recording), '--out', str(tmp_path / 'out'), *options])
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_a_bag_without_cubes_is_told(formed, tmp_path):
    out, _ = formed
    with pytest.raises(BagError, match='expected one topic of radar cubes, found /camera'):
        form_bag(out, tmp_path / 'again')


def test_the_radar_is_as_fast_as_the_doppler_of_what_stands_tells(recording):
    reader = BagReader(recording)
    profile = profile_from_info(next(reader.messages('/radar/info'))[1])
    former = HeatmapFormer(profile, MOVING)
    cubes = [message for _, message in reader.messages('/radar/cube')]
    seen = [former.form(canonical(cube_from_message(cube), profile)).ego_velocity for cube in cubes]
    stamps = np.array([stamp_to_ns(cube.header.stamp) for cube in cubes])
    radar = reader.trajectory('radar', stamps)
    ahead = (radar[1:, :2] - radar[:-1, :2]) / np.diff(stamps * 1e-9)[:, None]
    speed = np.array([each[0] for each in seen if each is not None])
    assert speed.size >= 3
    np.testing.assert_allclose(np.median(np.hypot(*ahead.T)), np.median(speed), rtol=0.03)
    np.testing.assert_allclose(np.arctan2(ahead[:, 1], ahead[:, 0]), radar[1:, 2], atol=0.05)
    assert reader.trajectory('elsewhere', stamps) is None
