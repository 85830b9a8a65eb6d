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
    share = width / range_ * FOCAL / SIZE[0], height / range_ * FOCAL / SIZE[1]
    features = [
        np.array([[column_of(each), 0.1, np.log(share[0]), np.log(share[1]), np.log(fill)]]) for each in azimuth
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


def driven(length=4.4, width=1.8, frames=120, stopped=False):
    """A vehicle whose near side is labelled at 2 Hz on a bent way before the radar, and where its middle is.

    Range is long against the vehicle, so that the line of sight to the middle enters it where its label is.
    """
    seconds = np.arange(frames) / 2
    bend = 2 * np.pi * seconds / 60
    position = np.column_stack((60 + 22 * np.cos(bend), 22 * np.sin(2 * bend)))
    velocity = np.gradient(position, 0.5, axis=0)
    if stopped:
        position[:] = position[0]
    range_, azimuth = np.hypot(*position.T), np.arctan2(position[:, 1], position[:, 0])
    turned = azimuth - np.arctan2(velocity[:, 1], velocity[:, 0])
    looks = length * np.abs(np.sin(turned)) + width * np.abs(np.cos(turned))
    near = range_ - np.minimum(length / np.abs(np.cos(turned)), width / np.abs(np.sin(turned))) / 2
    evidence, labels = world(1.8, 1.5, frames=frames)
    for row, at, wide, far in zip(evidence.features, azimuth, looks, near, strict=True):
        row[0, 0], row[0, 2] = column_of(at), np.log(wide / far * FOCAL / SIZE[0])
        row[0, 3] = np.log(1.5 / far * FOCAL / SIZE[1])
    evidence.recording.stamps_ns = 10**18 + (seconds * 1e9).astype(np.int64)
    return evidence, replace(labels, range=near, azimuth=azimuth), range_


@pytest.mark.parametrize('size', [(4.4, 1.8), (6.5, 2.4)], ids=['car', 'truck, of a size that nobody told'])
def test_labels_of_vehicles_move_to_their_middle_by_heading_and_size(size):
    evidence, labels, middle = driven(*size)
    assert np.abs(middle - labels.range).max() > 1.5
    found = refined(evidence, labels, towards_peaks=False)
    error = np.abs(found.range - middle)
    assert np.median(error) < 0.1
    assert np.mean(error < 0.4) > 0.8  # in a bend the near side does not go where the vehicle goes
    np.testing.assert_array_equal(found.azimuth, labels.azimuth)


def test_vehicles_whose_heading_is_not_seen_move_as_the_median_of_the_others():
    evidence, labels, _ = driven()
    unsure = np.arange(len(labels)) % 7 == 3
    labels = replace(labels, detected=np.where(unsure, 0.1, labels.detected))
    moved = refined(evidence, labels, towards_peaks=False).range - labels.range
    np.testing.assert_allclose(moved[unsure], np.median(moved[~unsure]), rtol=1e-6)
    assert np.ptp(moved[~unsure]) > 0.5


def test_headings_before_a_radar_that_drives_are_those_over_the_ground():
    """A van is followed 25 m behind at its speed: it hardly moves before the radar, and heads where that drives."""
    evidence, labels = world(2.0, 2.2, frames=60, range_=25.0)
    evidence.recording.stamps_ns = 10**18 + np.arange(60) * 5 * 10**8
    bearing = labels.azimuth
    heading = 0.3 + bearing  # so that the van, always seen from behind, stays before the radar
    steps = 8 * 0.5 * np.column_stack((np.cos(heading), np.sin(heading)))
    yaw = heading - bearing
    place = np.cumsum(steps, axis=0) - 25 * np.column_stack((np.cos(yaw + bearing), np.sin(yaw + bearing)))
    way = np.column_stack((place, yaw))
    settings = RefinementSettings(towards_peaks=False)
    found, _ = refine_labels(labels, [evidence], {'mast'}, settings, [way])
    np.testing.assert_allclose(found.range - labels.range, 2.2, atol=0.15)
    unknown, _ = refine_labels(labels, [evidence], {'mast'}, settings, [np.full((60, 3), np.nan)])
    np.testing.assert_array_equal(unknown.range, labels.range)


def test_labels_of_vehicles_stay_at_their_near_side_where_no_heading_is_seen():
    evidence, labels, _ = driven(stopped=True)
    np.testing.assert_array_equal(refined(evidence, labels, towards_peaks=False).range, labels.range)


def test_labels_stay_as_they_are_where_nothing_is_asked_for_or_known():
    evidence, labels = world(offset=(0.8, 0.0))
    assert refined(evidence, labels, towards_peaks=False, vehicle_depth=0.0) is labels
    other, left = refine_labels(labels, [evidence], set(), RefinementSettings())
    assert left == []
    np.testing.assert_array_equal(other.range, labels.range)
    evidence, labels = world(offset=(0.8, 0.0), frames=12)
    unknown, left = refine_labels(labels, [evidence], {'mast'}, RefinementSettings(vehicle_depth=1.0))
    np.testing.assert_array_equal(unknown.range, labels.range)
    assert left == ['mast']


@pytest.mark.parametrize(
    ('settings', 'told'),
    [
        ({'person_depth': -1.0}, 'person_depth: expected a number of metres from 0 to 20, got -1.0'),
        ({'vehicle_depth': float('nan')}, 'vehicle_depth'),
        ({'vehicle_silhouette': 0.0}, 'vehicle_silhouette: expected a positive number of m.2, got 0.0'),
        ({'vehicle_size': (1.8, 4.4)}, r'vehicle_size: expected metres, 0 < width <= length <= 30, got \(1.8, 4.4\)'),
    ],
)
def test_settings_out_of_range_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        RefinementSettings(**settings)
