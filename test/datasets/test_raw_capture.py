# SPDX-License-Identifier: Apache-2.0
"""A raw capture becomes a bag of cubes that pairs with a camera's, and captures that do not fit are named."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from radio_visual_ssl.bags.messages import cube_from_message, image_to_message
from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.cli import app
from radio_visual_ssl.datasets.raw_capture import import_capture, parse_time
from radio_visual_ssl.radar.capture import CaptureError
from radio_visual_ssl.radar.cube import CubeError, canonical
from radio_visual_ssl.radar.profile import load_profile

RADAR = """
waveform: {type: fmcw, carrier_frequency: 77.0e+9, slope: 20.0e+12, sample_rate: 5.0e+6, chirp_period: 60.0e-6,
           num_chirps: 4, num_samples: 16}
position_unit: wavelength
tx_positions: [[0, 0, 0], [0, 1, 0]]
rx_positions: {count: 2, spacing: 0.5}
"""
START_NS = 1_777_882_272_500_000_000


@pytest.fixture
def capture(tmp_path):
    """A DCA1000 file of three frames, its profile, and the samples (frame, chirp and slot, receiver, sample)."""
    (tmp_path / 'mine.yaml').write_text(RADAR)
    rng = np.random.default_rng(0)
    parts = rng.integers(-2000, 2000, (3, 8, 2, 16, 2), dtype=np.int16)
    # two samples' I, then their Q
    parts.reshape(3, 8, 2, 8, 2, 2).swapaxes(4, 5).astype('<i2').tofile(tmp_path / 'adc.bin')
    return tmp_path / 'adc.bin', tmp_path / 'mine.yaml', parts[..., 0] + 1j * parts[..., 1]


def test_every_frame_is_written_with_its_stamp(capture, tmp_path):
    file, radar, samples = capture
    steps = []
    report = import_capture(
        file, str(radar), tmp_path / 'bag', START_NS, 0.05, lambda done, total: steps.append((done, total))
    )
    assert (report.frames, report.radar, steps[-1]) == (3, 'mine', (3, 3))
    reader, profile = BagReader(tmp_path / 'bag'), load_profile(str(radar))
    assert reader.radar_name() == 'mine'
    cubes = list(reader.messages('/radar/cube'))
    for number, (_, message) in enumerate(cubes):
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == START_NS + number * 50_000_000
        cube = canonical(cube_from_message(message), profile)
        np.testing.assert_array_equal(cube, samples[number].reshape(4, 4, 16))
    assert [frame.heatmap.values.shape[0] for frame in reader.frames()] == [16, 16, 16]


def test_it_pairs_with_the_bag_of_a_camera(capture, tmp_path):
    file, radar, _ = capture
    types, image = RosbagsTypes(), np.zeros((4, 6, 3), np.uint8)
    with BagWriter(tmp_path / 'camera') as bag:
        for number in range(3):
            stamp_ns = START_NS + number * 50_000_000 + 3_000_000
            bag.write('/camera/image_raw', stamp_ns, image_to_message(image, 'rgb8', stamp_ns, 'camera', types))

    def run(*words):
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    asked = ('--radar', radar, '--start', '2026-05-04T10:11:12.5+02:00', '--period', 0.05, '--out', tmp_path / 'radar')
    assert run('import', 'capture', file, *asked, '--json')['frames'] == 3
    assert run('pair', tmp_path / 'radar', tmp_path / 'camera', '--out', tmp_path / 'both', '--json')['pairs'] == 3
    frames = list(BagReader(tmp_path / 'both').frames())
    assert [frame.image.shape for frame in frames] == [(4, 6, 3)] * 3


def test_what_does_not_fit_is_named_and_leaves_no_bag(capture, tmp_path):
    file, radar, _ = capture
    out = tmp_path / 'bag'
    np.save(tmp_path / 'wrong.npy', np.zeros((4, 3, 16), np.complex64))
    with pytest.raises(CubeError, match='cube axis VIRTUAL_CHANNEL: expected 4 elements'):
        import_capture(tmp_path / 'wrong.npy', str(radar), out, START_NS, 0.05)
    np.save(tmp_path / 'empty.npy', np.zeros((0, 4, 4, 16), np.complex64))
    with pytest.raises(CaptureError, match=r'empty\.npy: expected at least one frame, got none'):
        import_capture(tmp_path / 'empty.npy', str(radar), out, START_NS, 0.05)
    with pytest.raises(CaptureError, match=r'none\.bin: no such file'):
        import_capture(tmp_path / 'none.bin', str(radar), out, START_NS, 0.05)
    for period in (0, -1, float('nan'), float('inf')):
        with pytest.raises(ValueError, match='period: expected seconds between frames'):
            import_capture(file, str(radar), out, START_NS, period)
    for start_ns in (0, 2**62):
        with pytest.raises(ValueError, match='start: expected a time from 1970 to 2038'):
            import_capture(file, str(radar), out, start_ns, 0.05)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(BagError, match='bag'):
        import_capture(file, str(radar), out, START_NS, 0.05)


def test_times_are_seconds_or_iso_8601_with_an_offset():
    assert parse_time('1777882272.500000001') == START_NS + 1
    assert parse_time('2026-05-04T10:11:12.5+02:00') == parse_time('2026-05-04T08:11:12.500000Z') == START_NS
    for text in ('', 'now', 'nan', '2026-05-04T10:11:12', '10:11'):
        with pytest.raises(ValueError, match='expected seconds since 1970, or a time with its offset from UTC'):
            parse_time(text)
