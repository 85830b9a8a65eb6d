# SPDX-License-Identifier: Apache-2.0
"""Labels move towards peaks as far as targets are shallow along the range, and to the middle of vehicles."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from radio_visual_ssl.learning.candidates import Candidates
from radio_visual_ssl.learning.label_refinement import RefinementSettings, radians_per_width, refine_labels
from radio_visual_ssl.learning.recording_evidence import RecordingEvidence
from radio_visual_ssl.learning.self_labels import SelfLabels

FOCAL = 300.0
SIZE = (320, 240)
FRAMES = 60
MAP_VARIANCE = np.array([1.0, 0.03**2])
PEAK_VARIANCE = np.array([0.01, 1e-4])


def column_of(azimuth):
    """In widths of the picture from its middle."""
    return -FOCAL / SIZE[0] * np.tan(azimuth)


def world(
    width=0.6, height=1.8, offset=(0.0, 0.0), range_=20.0, group='mast', frames=FRAMES, pair=1.0, fill=1.0, label=''
):
    """One target a frame, so wide and high in m, whose mask fills that share of its box.

    Its peak lies so far from the map's answer in m and rad.
    """
    azimuth = np.linspace(-0.4, 0.4, frames)
    # off its axis a camera shows things larger than on it
    wide = width / range_ / np.cos(azimuth) ** 2 * FOCAL / SIZE[0]
    high = height / range_ / np.cos(azimuth) * FOCAL / SIZE[1]
    features = [
        np.array([[column_of(each), 0.1, *np.log(share), np.log(fill)]])
        for each, *share in zip(azimuth, wide, high, strict=True)
    ]
    candidates = [
        Candidates(
            np.array([5.0, range_ + offset[0]]),
            np.array([0.0, each + offset[1]]),
            np.tile(PEAK_VARIANCE, (2, 1)),
            np.full(2, 20.0),
            np.zeros(2),
        )
        for each in azimuth
    ]
    recording = SimpleNamespace(
        image_size=SIZE,
        instances=frames,
        group=group,
        mask_labels=np.full(frames, label),
        stamps_ns=10**18 + np.arange(frames) * 10**10,  # so far apart that no two labels are of one target
    )
    evidence = RecordingEvidence(recording, candidates, features, [np.ones(1)] * frames)
    labels = SelfLabels.given(
        np.arange(frames), np.full(frames, range_), azimuth, np.full(frames, 0.9), tuple(MAP_VARIANCE)
    )
    return evidence, replace(labels, candidate=np.ones(frames, np.int64), pair=np.full(frames, pair))


def refined(evidence, labels, **settings):
    return refine_labels(labels, [evidence], {'mast'}, RefinementSettings(**settings))[0]


def test_radians_of_a_pixel_are_learned_from_labels_half_of_which_are_nearly_wrong():
    random = np.random.default_rng(0)
    azimuth = random.uniform(-0.45, 0.45, 2000)
    column = column_of(azimuth) + random.normal(0, 0.004, 2000)
    azimuth[:600] = random.uniform(-0.45, 0.45, 600)
    scale = radians_per_width(column, azimuth, np.ones(2000))
    assert scale == pytest.approx(SIZE[0] / FOCAL, rel=0.03)


@pytest.mark.parametrize('yaw', [-0.6, 0.3, 0.6])
def test_radians_of_a_pixel_are_those_of_a_camera_that_looks_aside(yaw):
    azimuth = yaw + np.linspace(-0.45, 0.45, 400)
    scale = radians_per_width(column_of(azimuth - yaw), azimuth, np.ones(400))
    assert scale == pytest.approx(SIZE[0] / FOCAL, rel=0.01)


@pytest.mark.parametrize('change', ['few', 'unsure', 'mirrored', 'one place'])
def test_nothing_is_known_of_pixels_without_labels_to_learn_from(change):
    azimuth = np.linspace(-0.4, 0.4, 20 if change == 'few' else 200)
    column = column_of(np.zeros_like(azimuth) if change == 'one place' else azimuth)
    weight = np.full(azimuth.size, 0.2 if change == 'unsure' else 1.0)
    assert radians_per_width(-column if change == 'mirrored' else column, azimuth, weight) is None


@pytest.mark.parametrize(
    ('width', 'height', 'depth'),
    [(0.6, 1.8, 0.6), (1.0, 1.5, 1.0), (1.8, 1.4, 4.4), (4.0, 1.5, 4.4 * 1.8 / 4.0), (1.2, 2.2, 6.0), (6.0, 2.2, 1.8)],
    ids=['pedestrian', 'cyclist', 'car from behind', 'car from the side', 'cut off', 'two vehicles'],
)
def test_map_and_peak_are_weighed_by_their_variances(width, height, depth):
    evidence, labels = world(width, height, offset=(0.8, 0.0))
    labels = replace(labels, variance=4 * labels.variance)
    found = refined(evidence, labels)
    wandering = min(depth**2 / 12, 0.75 * 4 * MAP_VARIANCE[0])
    of_map, of_peak = 4 * MAP_VARIANCE[0] - wandering, wandering + PEAK_VARIANCE[0]
    np.testing.assert_allclose(found.range, 20 + 0.8 * of_map / (of_map + of_peak), rtol=1e-3)
    np.testing.assert_allclose(found.variance[:, 0], of_map * of_peak / (of_map + of_peak), rtol=1e-2)
    np.testing.assert_array_equal(found.confidence, labels.confidence)


def test_azimuth_moves_too_and_goes_round():
    evidence, labels = world(offset=(0.0, 0.02 - 2 * np.pi))
    moved = refined(evidence, labels).azimuth - labels.azimuth
    assert np.all((moved > 0.005) & (moved < 0.02))


def test_a_label_moves_as_far_as_it_is_sure_of_its_peak():
    evidence, labels = world(offset=(0.8, 0.0))
    whole = refined(evidence, labels)
    half = refined(evidence, replace(labels, pair=np.full(FRAMES, 0.5)))
    np.testing.assert_allclose(half.range - 20, (whole.range - 20) / 2)
    assert np.all(half.variance[:, 0] > whole.variance[:, 0] + 0.2 * (whole.range - 20) ** 2), 'it may be either'
    missed = replace(labels, candidate=np.full(FRAMES, -1))
    np.testing.assert_array_equal(refined(evidence, missed).range, labels.range)


def test_refined_labels_err_by_what_they_say():
    """Map errors, places of reflection on the target and peak errors as the model has them, of a target 1.2 m wide."""
    random, errors, claimed = np.random.default_rng(1), [], []
    of_map, of_target, of_peak = 0.8, 1.2 / np.sqrt(12), 0.3
    for _ in range(150):
        evidence, labels = world(1.2, fill=0.8)
        shift = random.normal(0, of_map, FRAMES)
        seen = 20 + random.uniform(-0.6, 0.6, FRAMES) + random.normal(0, of_peak, FRAMES)
        for candidates, place in zip(evidence.candidates, seen, strict=True):
            candidates.range[1], candidates.variance[:, 0] = place, of_peak**2
        variance = np.column_stack((np.full(FRAMES, of_map**2 + of_target**2), labels.variance[:, 1]))
        found = refined(evidence, replace(labels, range=20 + shift, variance=variance))
        errors.append(found.range - 20)
        claimed.append(found.variance[:, 0])
    best = of_map**2 * (of_target**2 + of_peak**2) / (of_map**2 + of_target**2 + of_peak**2)
    assert np.var(errors) == pytest.approx(best, rel=0.05)
    assert np.mean(claimed) == pytest.approx(np.var(errors), rel=0.05)


@pytest.mark.parametrize(
    ('width', 'height', 'fill', 'depth'),
    [(0.6, 1.8, 0.6, 0.2), (2.4, 2.1, 0.5, 0.2), (1.8, 1.4, 0.95, 0.9), (4.5, 1.5, 0.7, 0.9)],
    ids=['pedestrian', 'cyclist whose mask is too large', 'car from behind', 'car from the side'],
)
def test_depth_is_added_by_the_silhouette(width, height, fill, depth):
    evidence, labels = world(width, height, fill=fill)
    found = refined(evidence, labels, towards_peaks=False, person_depth=0.2, vehicle_depth=0.9)
    np.testing.assert_allclose(found.range, 20 + depth)


@pytest.mark.parametrize(
    ('label', 'depth'), [('Van', 0.9), ('bicycle', 0.2), ('', 0.9), ('2', 0.9), ('vehicle.car', 0.9)]
)
def test_a_class_that_is_known_tells_what_is_a_vehicle_before_the_size_does(label, depth):
    evidence, labels = world(2.4, 1.6, label=label)
    found = refined(evidence, labels, towards_peaks=False, person_depth=0.2, vehicle_depth=0.9)
    np.testing.assert_allclose(found.range, 20 + depth)


def driven(size=(4.4, 1.8), passes=8, focal=FOCAL, stopped=False, rng=None, label=''):
    """Vehicles that pass one after the other on bent ways before the radar, labelled at 2 Hz at their near side.

    Their masks are the silhouettes of boxes in a pinhole camera beside the radar. Returns also where centres are.
    """
    seconds, position, heading = [], [], []
    for number in range(passes):
        time = np.arange(16) / 2
        bend = 2 * np.pi * (0.11 * number + time / 60)
        way = np.column_stack((30 + 14 * np.cos(bend), 12 * SIZE[0] / focal * np.sin(2 * bend)))
        velocity = np.column_stack((-14 * np.sin(bend), 24 * SIZE[0] / focal * np.cos(2 * bend)))
        seconds.append(time + 100 * number)
        position.append(way[[0] * 16] if stopped else way)
        heading.append(np.arctan2(velocity[:, 1], velocity[:, 0]))
    seconds, position, heading = map(np.concatenate, (seconds, position, heading))
    range_, azimuth = np.hypot(*position.T), np.arctan2(position[:, 1], position[:, 0])
    corners = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)]) * np.array(size) / 2
    turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]]).transpose(2, 0, 1)
    x, y = (position[:, :, None] + turn @ corners.T).transpose(1, 0, 2)
    column, row = -focal / SIZE[0] * y / x, focal / SIZE[1] * 1.5 / x
    aspect = azimuth - heading
    near = range_ - np.minimum(size[0] / np.abs(np.cos(aspect)), size[1] / np.abs(np.sin(aspect))) / 2
    evidence, labels = world(frames=len(seconds), label=label)
    for number, features in enumerate(evidence.features):
        edges = column[number].min(), column[number].max()
        features[0, [0, 2, 3]] = np.mean(edges), np.log(np.ptp(edges)), np.log(row[number].max())
    evidence.recording.stamps_ns = 10**18 + (seconds * 1e9).astype(np.int64)
    if rng is not None:
        near = near + rng.normal(0, 0.3, near.size)
    for candidates, *place in zip(evidence.candidates, near, azimuth, strict=True):
        candidates.range[1], candidates.azimuth[1] = place
    return evidence, replace(labels, range=near, azimuth=azimuth), range_


@pytest.mark.parametrize(
    ('size', 'focal', 'label'),
    [((4.4, 1.8), FOCAL, ''), ((6.5, 2.4), FOCAL, ''), ((4.4, 1.8), FOCAL / 2, ''), ((10.0, 2.5), FOCAL, 'bus')],
    ids=['car', 'larger ones, of a size that nobody told', 'before a camera of wide angle', 'bus'],
)
def test_labels_of_vehicles_move_to_their_centre_by_heading_and_size(size, focal, label):
    evidence, labels, centre = driven(size, focal=focal, rng=np.random.default_rng(0), label=label)
    before, after = labels.range - centre, refined(evidence, labels).range - centre
    assert np.median(before) < -0.9
    assert abs(np.median(after)) < 0.08 * size[0]
    assert np.median(np.abs(after)) < 0.5 * np.median(np.abs(before))


def test_vehicles_whose_heading_is_not_seen_move_as_those_that_look_alike_and_are_less_sure():
    evidence, labels, centre = driven()
    unsure = np.arange(len(labels)) % 7 == 3
    doubted = replace(labels, detected=np.where(unsure, 0.1, labels.detected))
    found, sure = refined(evidence, doubted), refined(evidence, labels)
    error = np.abs(found.range - centre)
    assert np.median(error[unsure]) < 0.5 * np.median(np.abs(labels.range - centre)[unsure])
    assert np.mean(found.variance[unsure, 0]) > np.mean(sure.variance[unsure, 0]) + 0.03
    missed = {'candidate': np.where(unsure, -1, labels.candidate), 'pair': np.where(unsure, 0.0, labels.pair)}
    found, sure = refined(evidence, replace(doubted, **missed)), refined(evidence, replace(labels, **missed))
    assert np.mean(found.variance[unsure, 0]) > np.mean(sure.variance[unsure, 0]) + 0.03


def test_the_nearest_of_the_peaks_of_a_vehicle_is_its_near_side():
    evidence, labels, centre = driven()
    plain = refined(evidence, labels)
    for number, candidates in enumerate(evidence.candidates):
        near = labels.range[number]
        # the likeliest peak is that of the roof; the one of its near side has no label, one far before it counts not
        candidates.range[:], candidates.azimuth[:] = (near, near + 1.6), labels.azimuth[number]
    other = refined(evidence, labels)
    np.testing.assert_allclose(other.range, plain.range, atol=1e-6)
    for candidates in evidence.candidates:
        candidates.azimuth[0] += 0.3
    assert np.median(refined(evidence, labels).range - plain.range) > 0.8
    assert np.median(np.abs(plain.range - centre)) < 0.3


def test_sizes_of_classes_are_not_mixed():
    evidence, labels, centre = driven((10.0, 2.5), passes=8, label='bus')
    other, its_labels, its_centre = driven(passes=8, label='car')
    both = replace(
        labels,
        **{
            name: np.concatenate((getattr(labels, name), getattr(its_labels, name)))
            for name in ('range', 'azimuth', 'variance', 'confidence', 'detected', 'candidate', 'pair', 'purity')
        },
        frame=np.concatenate((labels.frame, its_labels.frame + len(labels))),
        instance=np.concatenate((labels.instance, its_labels.instance)),
    )
    settings = RefinementSettings(towards_peaks=False)
    found, _ = refine_labels(both, [evidence, other], {'mast'}, settings)
    error = np.abs(found.range - np.concatenate((centre, its_centre)))
    assert np.median(error[: len(labels)]) < 0.6  # of 5 m from the rear of a bus to its centre
    assert np.median(error[len(labels) :]) < 0.3


def test_headings_before_a_radar_that_drives_are_those_over_the_ground():
    """Vans are followed 25 m behind at their speed: they hardly move before the radar, and head where that drives."""
    evidence, labels = world(2.0, 2.2, frames=160, range_=25.0)
    seconds = np.arange(160) / 2 + 100 * (np.arange(160) // 16)
    evidence.recording.stamps_ns = 10**18 + (seconds * 1e9).astype(np.int64)
    labels = replace(labels, azimuth=np.linspace(-0.05, 0.05, 160))
    for row, azimuth in zip(evidence.features, labels.azimuth, strict=True):
        row[0, 0] = 4 * column_of(azimuth)
        row[0, 2:4] += np.log(4)
    yaw = 0.1 * np.arange(160) / 2  # a long bend to the left
    heading = yaw + labels.azimuth
    steps = 8 * 0.5 * np.column_stack((np.cos(heading), np.sin(heading)))
    place = np.cumsum(steps, axis=0) - 25 * np.column_stack((np.cos(heading), np.sin(heading)))
    trajectory = np.column_stack((place, yaw))
    settings = RefinementSettings(towards_peaks=False)
    found, notes = refine_labels(labels, [evidence], {'mast'}, settings, [trajectory])
    assert notes == []
    np.testing.assert_allclose(found.range - labels.range, 2.2, atol=0.15)
    lost = trajectory.copy()
    lost[:20] = np.nan
    found, _ = refine_labels(labels, [evidence], {'mast'}, settings, [lost])
    np.testing.assert_array_equal(found.range[:20], labels.range[:20])
    np.testing.assert_allclose(found.range[20:] - labels.range[20:], 2.2, atol=0.15)
    unknown, notes = refine_labels(labels, [evidence], {'mast'}, settings, [np.full((160, 3), np.nan)])
    np.testing.assert_array_equal(unknown.range, labels.range)
    assert notes == ['labels of vehicles of mast stay at their near side: too few are seen to go anywhere']


def test_labels_of_vehicles_stay_at_their_near_side_where_hardly_a_heading_is_seen():
    for evidence, labels, _ in (driven(stopped=True), driven(passes=4)):
        assert np.array_equal(refined(evidence, labels, towards_peaks=False).range, labels.range)


def test_names_of_classes_may_be_given_as_a_detector_has_them():
    evidence, labels = world(2.4, 1.0, label='Van', fill=0.3)
    settings = {'vehicle_classes': ('Van',), 'vehicle_depth': 2.0, 'towards_peaks': False}
    np.testing.assert_allclose(refined(evidence, labels, **settings).range, 22)


def test_labels_stay_as_they_are_where_nothing_is_asked_for_or_known():
    evidence, labels = world(offset=(0.8, 0.0))
    assert refined(evidence, labels, towards_peaks=False, vehicle_depth=0.0) is labels
    other, left = refine_labels(labels, [evidence], set(), RefinementSettings())
    assert left == []
    np.testing.assert_array_equal(other.range, labels.range)
    evidence, labels = world(offset=(0.8, 0.0), frames=12)
    unknown, left = refine_labels(labels, [evidence], {'mast'}, RefinementSettings(vehicle_depth=1.0))
    np.testing.assert_array_equal(unknown.range, labels.range)
    assert len(left) == 1
    assert 'labels of mast stay as the map has them, without a depth' in left[0]


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        ({'person_depth': -1.0}, 'person_depth: expected a number of metres from 0 to 20, got -1.0'),
        ({'vehicle_depth': float('nan')}, 'vehicle_depth'),
        ({'vehicle_silhouette': 0.0}, 'vehicle_silhouette: expected a positive number of m.2, got 0.0'),
        ({'vehicle_size': (1.8, 4.4)}, r'vehicle_size: expected a length and a width from .* got \(1.8, 4.4\)'),
    ],
)
def test_settings_out_of_range_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        RefinementSettings(**settings)
