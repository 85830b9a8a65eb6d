# SPDX-License-Identifier: Apache-2.0
"""The time offset between radar and camera is found to milliseconds, with honest errors, or not at all."""

import dataclasses

import numpy as np
import pytest

from radio_visual_ssl.bags import messages
from radio_visual_ssl.bags.activity import bag_time_offset
from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.bags.time_offset import Excerpt, OffsetSettings, estimate_time_offset
from radio_visual_ssl.bags.typestore import RosbagsTypes
from radio_visual_ssl.bags.writer import BagWriter
from radio_visual_ssl.datasets.radiate import import_radiate
from radio_visual_ssl.radar.formation import HeatmapFormer
from radio_visual_ssl.radar.profile import load_profile
from radio_visual_ssl.simulation.scene import CameraMount, Mast, Mover, Scene
from radio_visual_ssl.simulation.simulator import Simulator

TYPES = RosbagsTypes()
START = 1_600_000_000_000_000_000


class Street:
    """Objects on a line that come, stand, turn and vanish; each sensor draws them in its own way."""

    def __init__(self, seconds, seed):
        rng = np.random.default_rng(seed)
        self.tracks = []
        for _ in range(3):
            knots = np.append(0.0, np.cumsum(rng.uniform(0.5, 4.0, int(seconds))))
            velocity = rng.choice([-18.0, -7.0, 0.0, 0.0, 9.0, 15.0], len(knots))
            place = 20 + np.append(0.0, np.cumsum(velocity[:-1] * np.diff(knots)))
            self.tracks.append((knots, place, rng.random(len(knots)) < 0.7))

    def pictures(self, times, width, noise, seed):
        pixel = np.arange(40)
        picture = np.zeros((len(times), 40))
        for knots, place, present in self.tracks:
            there = present[np.clip(np.searchsorted(knots, times) - 1, 0, len(knots) - 1)]
            distance = (pixel - np.interp(times, knots, place)[:, None] + 20) % 40 - 20
            picture += there[:, None] * np.exp(-((distance / width) ** 2))
        return (picture + noise * np.random.default_rng(seed).standard_normal(picture.shape)).astype(np.float32)


def excerpt(offset=0.0, seconds=60, seed=0, drift=0.0, rates=(10.0, 15.0), other=None, keep=lambda times: times > -1):
    """Stamps in s; the true time of an image is its stamp plus the offset, which grows by the drift."""
    rng = np.random.default_rng(seed + 100)
    radar = np.arange(0, seconds, 1 / rates[0])
    radar = np.sort(radar + rng.uniform(-0.01, 0.01, radar.size))
    image = np.sort(np.arange(0, seconds, 1 / rates[1]) + rng.uniform(-0.01, 0.01, int(seconds * rates[1])))
    image = image[keep(image)]
    true = image + offset + drift * (image - seconds / 2)
    street = Street(seconds + 5, seed)
    seen = street if other is None else Street(seconds + 5, other)
    return Excerpt(radar, street.pictures(radar, 2.5, 0.15, seed + 1), image, seen.pictures(true, 1.5, 0.1, seed + 2))


def estimate(*excerpts, **settings):
    return estimate_time_offset([lambda: excerpts], [''], settings=OffsetSettings(**settings))


@pytest.mark.parametrize('rates', [(10.0, 15.0), (20.0, 30.0), (4.0, 15.0), (20.0, 10.0)])
@pytest.mark.parametrize('offset', [-0.31, 0.0, 0.123, 0.5])
def test_a_known_offset_is_found_to_10_ms_whatever_the_rates(offset, rates):
    found = estimate(excerpt(offset, rates=rates, seed=round(rates[0])))
    assert found.offset_s == pytest.approx(offset, abs=0.01)
    assert found.interval_s[0] < offset < found.interval_s[1]
    assert found.probability_of_chance < 0.01
    assert found.reason == ''


def test_the_intervals_hold_the_truth_about_as_often_as_they_say():
    results = [estimate(excerpt(0.2, seconds=25, seed=seed)) for seed in range(12)]
    inside = [found.interval_s[0] <= 0.2 <= found.interval_s[1] for found in results if found.interval_s]
    assert len(inside) >= 10
    assert sum(inside) >= len(inside) - 2


def test_an_image_missing_here_and_there_and_a_gap_do_no_harm():
    lost = np.random.default_rng(5).random(100_000) < 0.1
    found = estimate(excerpt(0.123, keep=lambda times: ~lost[: len(times)] & ~((times > 20) & (times < 26))))
    assert found.offset_s == pytest.approx(0.123, abs=0.01)


def test_several_stretches_of_one_recording_count_together():
    whole = excerpt(0.2, seconds=60)
    parts = []
    for begin in (0, 20, 40):
        radar = (whole.radar_s >= begin) & (whole.radar_s < begin + 15)
        parts.append(Excerpt(whole.radar_s[radar], whole.radar[radar], whole.image_s, whole.image))
    assert estimate(*parts).offset_s == pytest.approx(0.2, abs=0.01)


def test_unrelated_streams_have_no_offset():
    results = [estimate(excerpt(seed=seed, other=seed + 50)) for seed in range(5)]
    assert sum(found.offset_s is not None for found in results) <= 1
    unknown = next(found for found in results if found.offset_s is None)
    assert 'chance' in unknown.reason or 'too little happens' in unknown.reason
    assert unknown.drift_ppm is None
    assert unknown.drift_reason


def test_an_offset_beyond_the_search_is_found_when_looked_for_further():
    assert estimate(excerpt(3.0, seconds=40), search_s=5.0).offset_s == pytest.approx(3.0, abs=0.01)


def test_a_drift_of_200_ppm_shows_in_five_minutes_and_its_interval_holds_it():
    found = estimate(excerpt(0.1, seconds=300, drift=200e-6, seed=3))
    assert found.offset_s == pytest.approx(0.1, abs=0.01)
    assert found.drift_ppm == pytest.approx(200, abs=80)
    assert found.drift_interval_ppm[0] < 200 < found.drift_interval_ppm[1]


def test_half_a_minute_cannot_tell_the_drift_and_says_how_far_it_would_be_off():
    found = estimate(excerpt(0.1, seconds=30, drift=200e-6))
    assert found.offset_s == pytest.approx(0.1, abs=0.015)
    assert found.drift_ppm is None
    assert 'ppm' in found.drift_reason
    assert found.drift_interval_ppm[0] < 200 < found.drift_interval_ppm[1]


def test_where_nothing_overlaps_or_moves_the_reason_is_given():
    still = excerpt(seconds=20)
    still = dataclasses.replace(still, radar=np.zeros_like(still.radar))
    assert 'stretches of time' in estimate(still).reason
    short = excerpt(seconds=20)
    brief = dataclasses.replace(short, radar_s=short.radar_s[:3], radar=short.radar[:3])
    assert 'stretches of time' in estimate(brief).reason
    apart = excerpt(seconds=20)
    assert 'both sensors are there, got 0' in estimate(dataclasses.replace(apart, image_s=apart.image_s + 500)).reason


def test_under_some_hypothesis_the_radar_may_see_nothing_for_a_while():
    whole = excerpt(0.123)
    idle = whole.radar.copy()
    idle[whole.radar_s > 45] = 0.0
    blind = dataclasses.replace(whole, radar=idle)
    for order in ((whole, blind), (blind, whole)):
        found = estimate_time_offset([lambda part=part: [part] for part in order], ['first', 'second'])
        assert found.offset_s == pytest.approx(0.123, abs=0.01)
        assert found.probability_of_chance < 0.01


def test_a_search_range_must_be_one():
    with pytest.raises(ValueError, match='search_s: expected more than 0'):
        OffsetSettings(search_s=0.0)


# Bags -----------------------------------------------------------------------------------------------------------------


def small_radar():
    """The 28 GHz array with fewer samples, for the speed of the test."""
    profile = load_profile('ofdm_28ghz_400mhz_16rx')
    waveform = dataclasses.replace(
        profile.waveform, num_subcarriers=128, num_symbols=2, subcarrier_spacing=profile.waveform.subcarrier_spacing * 2
    )
    return dataclasses.replace(profile, waveform=waveform)


def crossing():
    """A crossing with vehicles, people and cyclists that come out of side streets and vanish in others."""
    movers = (
        Mover('car', ((14.0, 6.0), (15.0, -6.0)), 7.0, 'reenter', pause=1.3),
        Mover('car', ((30.0, -9.0), (29.0, 8.0)), 8.0, 'reenter', pause=2.1),
        Mover('cyclist', ((22.0, 7.0), (20.0, -5.0)), 4.0, 'reenter', pause=1.0),
        Mover('pedestrian', ((18.0, -6.0), (24.0, -5.0)), 1.6, 'reenter', pause=1.7),
        Mover('car', ((38.0, 0.0), (26.0, 1.0)), 6.0, 'reenter', pause=0.7),
    )
    camera = CameraMount(width=128, height=96, focal_length=110.0)
    return Scene('crossing', movers, mast=Mast(height=4.0), camera=camera)


@pytest.fixture(scope='module')
def recording():
    """Simulator, and (time, heatmap or image) of half a minute: radar at 10 Hz, camera at 20 Hz."""
    simulator = Simulator(crossing(), small_radar(), seed=1)
    former = HeatmapFormer(simulator.profile)
    radar = [(time, former.form(simulator.cube(time))) for time in np.arange(0, 30, 0.1)]
    images = [(time, simulator.image(time)) for time in np.arange(0.017, 30, 0.05)]
    return simulator, sorted(radar + images, key=lambda event: event[0])


def simulated_bag(path, recording, offset, *, calibrated=True, clock=0.0, seconds=30.0):
    """The camera's stamps are too small by the offset, and of another epoch by the clock."""
    simulator, events = recording
    with BagWriter(path) as bag:
        if calibrated:
            mounting = messages.transform_to_message(
                simulator.camera.rotation.T,
                -simulator.camera.rotation.T @ simulator.camera.translation,
                START,
                TYPES,
                parent='radar',
                child='optical',
            )
            bag.write('/tf_static', START, TYPES('tf2_msgs/msg/TFMessage')(transforms=[mounting]))
            bag.write('/camera/camera_info', START, messages.camera_to_info(simulator.camera, START, 'optical', TYPES))
        for time, content in events:
            received = START + round(time * 1e9)
            if time > seconds:
                break
            if isinstance(content, np.ndarray):
                stamp = received - round((offset + clock) * 1e9)
                message = messages.image_to_message(content, 'rgb8', stamp, 'optical', TYPES)
                bag.write('/camera/image_raw', received, message)
            else:
                image, info = messages.heatmap_to_messages(content, received, 'radar', TYPES)
                if time == 0:
                    bag.write('/radar/heatmap_info', received, info)
                bag.write('/radar/heatmap', received, image)
    return BagReader(path)


def test_a_simulated_bag_tells_its_offset_and_how_well_it_is_known(tmp_path, recording):
    done = []
    bag = simulated_bag(tmp_path / 'x', recording, 0.187)
    found = bag_time_offset(bag, '/radar/heatmap', '/camera/image_raw', progress=lambda *step: done.append(step))
    assert found.offset_s == pytest.approx(0.187, abs=0.02)
    assert found.interval_s[0] < 0.187 < found.interval_s[1]
    assert 'radar 4.1 m above the ground' in found.camera
    assert done[-1] == (100, 100)
    assert sorted(done) == done


def test_without_calibration_directions_and_fields_of_view_are_tried(tmp_path, recording):
    bag = simulated_bag(tmp_path / 'x', recording, -0.3, calibrated=False)
    found = bag_time_offset(bag, '/radar/heatmap', '/camera/image_raw')
    assert found.offset_s == pytest.approx(-0.3, abs=0.04)
    assert found.interval_s[0] < -0.3 < found.interval_s[1]
    assert 'no calibration' in found.camera


def test_clocks_of_other_epochs_are_brought_together_by_the_time_of_reception(tmp_path, recording):
    bag = simulated_bag(tmp_path / 'x', recording, 0.25, clock=1_000_000.0, seconds=20.0)
    found = bag_time_offset(bag, '/radar/heatmap', '/camera/image_raw')
    assert found.offset_s == pytest.approx(1_000_000.25, abs=0.03)


def test_the_measured_clip_is_judged_honestly(shared_data, tmp_path):
    """A hand fit says about +0.45 s; 18 scans may not be able to tell, but must not tell anything else."""
    import_radiate(shared_data / 'radiate_tiny_foggy', tmp_path / 'r')
    found = bag_time_offset(BagReader(tmp_path / 'r'), '/radar/heatmap', '/camera/image_raw')
    if found.offset_s is None:
        assert found.reason
    else:
        assert found.offset_s == pytest.approx(0.45, abs=0.15)
        assert found.interval_s[0] < 0.45 < found.interval_s[1]


def test_of_a_long_bag_stretches_are_read(tmp_path, recording, monkeypatch):
    monkeypatch.setattr('radio_visual_ssl.bags.activity.LONGEST_S', 20.0)
    bag = simulated_bag(tmp_path / 'x', recording, 0.187)
    found = bag_time_offset(bag, '/radar/heatmap', '/camera/image_raw')
    assert found.interval_s[0] < 0.187 < found.interval_s[1]
    assert found.best_s == pytest.approx(0.187, abs=0.05)
