# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import asdict, fields, replace

import cv2
import numpy as np
import pytest
import yaml

from radio_visual_ssl.radar.cfar_localizer import BOUNDS, CfarLocalizer, CfarLocalizerSettings, load_cfar_settings
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.share import share_path

GRID = PolarGrid(np.arange(1, 129) * 0.375, np.arcsin(np.linspace(-1, 1, 64, endpoint=False)[1:]))
OTHER = PolarGrid(np.arange(1, 129) * 0.375, np.arcsin(np.linspace(-0.9, 0.9, 63)))
CIRCLE = PolarGrid(np.arange(1, 129) * 0.375, (np.arange(180) - 89.5) * np.pi / 90, wraps=True)
PLAIN = CfarLocalizerSettings(background='none')
PARKED = ((12.0, -20.0, 35.0), (15.0, 25.0, 40.0), (22.0, -35.0, 38.0), (30.0, 5.0, 42.0))


def amplitudes(grid, spots):
    """Field of spots (range m, azimuth degrees, dB above the noise) with the beam of 16 antennas."""
    total = np.zeros(grid.shape, dtype=complex)
    for number, (range_, azimuth_deg, level) in enumerate(spots):
        if grid.wraps:
            turn = (np.mod(np.degrees(grid.azimuth) - azimuth_deg + 180, 360) - 180) / 3
        else:
            turn = (np.sin(grid.azimuth) - np.sin(np.deg2rad(azimuth_deg))) / 0.06
        beam = np.exp(-(((grid.range[:, None] - range_) / 0.45) ** 2 + turn**2) / 4)
        total += 10 ** (level / 20) * np.exp(1j * (number + 0.3 * range_)) * beam
    return total


def scene(*spots, grid=GRID, seed=0, velocity=None):
    rng = np.random.default_rng(seed)
    noise = (rng.normal(size=grid.shape) + 1j * rng.normal(size=grid.shape)) / np.sqrt(2)
    power = np.abs(amplitudes(grid, spots) + noise) ** 2
    values = (10 * np.log10(power)).astype(np.float32)
    return Heatmap(values, grid, Reference.NOISE_FLOOR, noise_floor=0.0, velocity=velocity)


def watched(settings, *spots, frames=30, **options):
    """A localizer that has seen an empty car park."""
    localizer = CfarLocalizer(settings)
    for seed in range(frames):
        localizer.localize(scene(*PARKED, *spots, seed=seed, **options))
    return localizer


def are_at(targets, *expected):
    """Whether the targets are those at (range m, azimuth degrees), in order of range, and no others."""
    found = sorted((target.range, np.degrees(target.azimuth)) for target in targets)
    return len(found) == len(expected) and np.allclose(found, sorted(expected), atol=1.0)


@pytest.mark.parametrize('method', ['ca', 'go', 'so', 'os'])
def test_targets_in_noise_are_found_by_each_method(method):
    found = CfarLocalizer(replace(PLAIN, method=method)).localize(scene((10.0, 0.0, 30.0), (25.0, 30.0, 30.0)))
    assert are_at(found, (10, 0), (25, 30))
    assert all(target.snr > 20 and target.score > 0.5 and target.covariance[0, 0] > 0 for target in found)


def test_noise_alone_gives_hardly_any_target():
    localizer = CfarLocalizer(PLAIN)
    assert sum(len(localizer.localize(scene(seed=seed))) for seed in range(50)) <= 5


@pytest.mark.parametrize('background', ['median', 'ewma'])
def test_a_mover_is_found_among_parked_cars_that_are_not(background):
    localizer = watched(CfarLocalizerSettings(background=background))
    assert localizer.localize(scene(*PARKED, seed=100)) == []
    errors = []
    for seed, range_ in enumerate(np.arange(14.0, 28.0, 0.4)):
        found = localizer.localize(scene(*PARKED, (range_, -5.0, 30.0), seed=200 + seed))
        assert len(found) == 1
        errors.append(found[0].range - range_)
    assert np.abs(errors).max() < 0.4


def test_a_mover_beside_a_parked_car_is_not_pushed_away_from_it():
    localizer, errors = watched(CfarLocalizerSettings()), []
    mover = np.abs(amplitudes(GRID, [(15.0, 18.0, 38.0)])) ** 2  # of any phase against the car, on average
    for seed in range(20):
        parked = scene(*PARKED, seed=100 + seed)
        values = 10 * np.log10(10 ** (parked.values / 10) + mover)
        targets = localizer.localize(replace(parked, values=values.astype(np.float32)))
        errors += [np.degrees(target.azimuth) - 18.0 for target in targets if abs(target.range - 15.0) < 1]
    assert len(errors) == 20
    assert abs(np.median(errors)) < 0.7


def test_a_radar_on_a_mast_tells_where_targets_stand_on_the_ground():
    heatmap = scene((20.0, 30.0, 40.0))
    (read,) = CfarLocalizer(PLAIN).localize(heatmap)
    (target,) = CfarLocalizer(replace(PLAIN, radar_height=8.0, surface_to_centre=0.5)).localize(heatmap)
    ground = np.sqrt(read.range**2 - 64)
    assert target.range == pytest.approx(ground + 0.5)
    assert target.y * ground / (ground + 0.5) == pytest.approx(read.range * np.sin(read.azimuth)), 'a cone angle'
    assert target.z == -8.0
    along = np.array([np.cos(target.azimuth), np.sin(target.azimuth)])
    before = np.array([np.cos(read.azimuth), np.sin(read.azimuth)])
    stretch = read.range / ground
    own = before @ read.covariance @ before - PLAIN.extent_std**2  # of the reflecting point
    assert along @ target.covariance @ along == pytest.approx(stretch**2 * own + PLAIN.extent_std**2)
    assert CfarLocalizer(replace(PLAIN, radar_height=21.0)).localize(heatmap) == [], 'nearer than the ground'
    (around,) = CfarLocalizer(replace(PLAIN, radar_height=8.0)).localize(scene((20.0, 30.0, 40.0), grid=CIRCLE))
    assert np.degrees(around.azimuth) == pytest.approx(30.0, abs=0.5), 'a radar that turns round reads true azimuths'


def test_without_background_parked_cars_are_targets_too():
    found = CfarLocalizer(PLAIN).localize(scene(*PARKED, (18.0, -5.0, 30.0)))
    assert are_at(found, (12, -20), (15, 25), (18, -5), (22, -35), (30, 5))


def test_there_is_no_target_before_the_background_is_known():
    localizer = CfarLocalizer(CfarLocalizerSettings(background_warmup=6))
    found = [localizer.localize(scene((10.0 + seed, 0.0, 30.0), seed=seed)) for seed in range(10)]
    assert [len(targets) for targets in found[:6]] == [0] * 6
    assert all(len(targets) == 1 for targets in found[6:])


@pytest.mark.parametrize('background', ['median', 'ewma'])
def test_a_heatmap_is_no_part_of_its_own_background(background):
    localizer = CfarLocalizer(CfarLocalizerSettings(background=background, background_frames=1, background_warmup=1))
    shown = scene((18.0, -5.0, 30.0))
    assert localizer.localize(replace(shown, values=np.zeros_like(shown.values))) == []
    (found,), (plain,) = localizer.localize(shown), CfarLocalizer(PLAIN).localize(shown)
    assert found.snr == pytest.approx(plain.snr, abs=1e-3)  # over a background of 0 dB, all that there is stands out


def test_reset_and_another_grid_start_the_background_afresh():
    mover = (18.0, -5.0, 30.0)
    localizer = watched(CfarLocalizerSettings())
    assert len(localizer.localize(scene(*PARKED, mover))) == 1
    localizer.reset()
    assert localizer.background.count == 0
    assert localizer.localize(scene(*PARKED, mover)) == []

    localizer = watched(CfarLocalizerSettings())
    assert localizer.localize(scene(*PARKED, mover, grid=OTHER)) == []
    assert localizer.background.count == 1


@pytest.mark.parametrize(
    'change', [{'min_snr': 13.0}, {'method': 'os'}, {'background_warmup': 20}], ids=lambda change: next(iter(change))
)
def test_new_settings_keep_a_background_that_they_do_not_concern(change):
    previous = watched(CfarLocalizerSettings())
    localizer = CfarLocalizer(CfarLocalizerSettings(**change), previous)
    assert localizer.background is previous.background
    assert are_at(localizer.localize(scene(*PARKED, (18.0, -5.0, 30.0), seed=100)), (18, -5))


@pytest.mark.parametrize(
    'change', [{'background': 'ewma'}, {'background_frames': 40}, {'background_interval': 2}, {'background': 'none'}]
)
def test_settings_of_another_background_start_it_afresh(change):
    localizer = CfarLocalizer(CfarLocalizerSettings(**change), watched(CfarLocalizerSettings(), frames=12))
    assert localizer.background is None or localizer.background.count == 0


def test_only_what_moves_is_found_where_a_least_speed_is_set():
    velocity = np.zeros(GRID.shape, dtype=np.float32)
    velocity[:, GRID.azimuth > 0] = -3.0
    localizer = CfarLocalizer(replace(PLAIN, min_speed=0.5))
    (target,) = localizer.localize(scene((15.0, -20.0, 35.0), (25.0, 20.0, 30.0), velocity=velocity))
    assert target.azimuth > 0
    assert target.radial_velocity == pytest.approx(-3.0)
    with pytest.raises(ValueError, match='heatmap: expected velocities, for min_speed is 0.5 m/s'):
        localizer.localize(scene())


def test_range_and_azimuth_limits_leave_out_what_is_beyond():
    spots = ((6.0, 0.0, 30.0), (20.0, -40.0, 30.0), (20.0, 0.0, 30.0), (20.0, 40.0, 30.0), (40.0, 0.0, 30.0))
    limits = {'min_range': 10.0, 'max_range': 30.0, 'min_azimuth_deg': -30.0, 'max_azimuth_deg': 45.0}
    assert are_at(CfarLocalizer(replace(PLAIN, **limits)).localize(scene(*spots)), (20, 0), (20, 40))


@pytest.mark.parametrize('first', [0.0, -360.0, -90.0])
def test_azimuth_limits_mean_the_same_on_a_circle_that_begins_elsewhere(first):
    grid = PolarGrid(GRID.range, np.radians(first + 1.0 + 2 * np.arange(180)), wraps=True)
    spots = ((14.0, -120.0, 35.0), (18.0, -40.0, 35.0), (22.0, 50.0, 35.0), (26.0, 170.0, 35.0))
    shown = scene(*spots, grid=grid)
    assert are_at(CfarLocalizer(PLAIN).localize(shown), (14, -120), (18, -40), (22, 50), (26, 170))
    limits = {'min_azimuth_deg': -60.0, 'max_azimuth_deg': 45.0}
    assert are_at(CfarLocalizer(replace(PLAIN, **limits)).localize(shown), (18, -40))


def test_azimuth_limits_hold_for_a_sector_from_200_to_340_degrees():
    grid = PolarGrid(GRID.range, np.radians(200.0 + np.arange(141.0)))
    beam = np.exp(-(((np.degrees(grid.azimuth) - 270) / 3) ** 2 + ((grid.range[:, None] - 20.0) / 0.45) ** 2) / 2)
    values = 10 * np.log10(1e3 * beam + np.random.default_rng(0).exponential(size=grid.shape))
    heatmap = Heatmap(values.astype(np.float32), grid, Reference.NOISE_FLOOR, noise_floor=0.0)
    for limits in ({}, {'min_azimuth_deg': -100.0, 'max_azimuth_deg': -80.0}):
        assert are_at(CfarLocalizer(replace(PLAIN, **limits)).localize(heatmap), (20, -90))
    assert CfarLocalizer(replace(PLAIN, min_azimuth_deg=-80.0)).localize(heatmap) == []


def test_a_target_straight_behind_is_one_on_a_radar_that_looks_all_around():
    (target,) = CfarLocalizer(PLAIN).localize(scene((20.0, 180.0, 35.0), grid=CIRCLE))
    assert (target.x, target.y) == pytest.approx((-20.0, 0.0), abs=0.4)


def test_the_strongest_come_first_and_their_number_is_limited():
    spots = [(8.0 + 6 * number, 0.0, 40.0 - 4 * number) for number in range(5)]
    found = CfarLocalizer(replace(PLAIN, max_targets=3, min_snr=0.0)).localize(scene(*spots))
    assert [round(target.range) for target in found] == [8, 14, 20]
    assert [target.score for target in found] == sorted((target.score for target in found), reverse=True)


@pytest.mark.parametrize('settings', [PLAIN, CfarLocalizerSettings()], ids=['plain', 'background'])
def test_the_unit_of_the_heatmap_does_not_matter(settings):
    for offset in (-150.0, 0.0, 600.0):
        localizer = CfarLocalizer(settings)
        for seed in range(12):
            shown = scene(*PARKED, *([(18.0, -5.0, 30.0)] if seed == 11 else []), seed=seed)
            shown = replace(shown, values=shown.values + np.float32(offset), noise_floor=offset)
            found = localizer.localize(shown)
        others = () if settings.background != 'none' else ((12, -20), (15, 25), (22, -35), (30, 5))
        assert are_at(found, (18, -5), *others)


def test_background_works_without_a_known_noise_floor():
    localizer = CfarLocalizer(CfarLocalizerSettings())
    for seed in range(60):
        shown = scene(*PARKED, *([(18.0, -5.0, 30.0)] if seed == 59 else []), seed=seed)
        found = localizer.localize(replace(shown, reference=Reference.ARBITRARY, noise_floor=float('nan')))
    assert are_at(found, (18, -5))


@pytest.mark.parametrize('background', ['none', 'median'])
def test_cells_that_are_not_finite_are_counted_and_refused_and_leave_no_trace(background):
    localizer = watched(CfarLocalizerSettings(background=background))
    values = scene(*PARKED).values.copy()
    values[3, 4:7] = np.nan
    values[9, 9] = np.inf
    with pytest.raises(ValueError, match=r'heatmap: expected finite values \(dB\), got 4 of 8064 NaN or infinite'):
        localizer.localize(Heatmap(values, GRID))
    found = localizer.localize(scene(*PARKED, (18.0, -5.0, 30.0), seed=50))
    others = () if background != 'none' else ((12, -20), (15, 25), (22, -35), (30, 5))
    assert are_at(found, (18, -5), *others)


def test_a_heatmap_of_equal_values_has_no_target():
    assert CfarLocalizer(PLAIN).localize(Heatmap(np.full(GRID.shape, -40, np.float32), GRID)) == []


def test_every_setting_is_described_and_every_number_has_bounds():
    for field in fields(CfarLocalizerSettings):
        assert f'{field.name}: ' in CfarLocalizerSettings.__doc__
        value = getattr(CfarLocalizerSettings(), field.name)
        assert (field.name in BOUNDS) is not isinstance(value, str)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'method': 'best'}, r"method: expected one of ca, go, so, os, got 'best'"),
        ({'background': 'mean'}, "background: expected one of none, median, ewma, got 'mean'"),
        ({'background_frames': 0}, 'background_frames: expected a whole number from 1 to 1000, got 0'),
        ({'guard_cells': (1, 2, 3)}, r'guard_cells: expected 2 numbers, got \(1, 2, 3\)'),
        ({'guard_cells': (1, 2.5)}, 'guard_cells: expected a whole number from 0 to 200, got 2.5'),
        ({'training_cells': [0, 0]}, 'training_cells: expected at least one along one axis, got none'),
        ({'probability_of_false_alarm': 2.0}, 'probability_of_false_alarm: expected a number from .* to 0.5, got 2.0'),
        ({'min_range': -1.0}, 'min_range: expected a number from 0 on, got -1.0'),
        ({'min_snr': float('nan')}, 'min_snr: expected a number from 0 to 100, got nan'),
        ({'max_targets': True}, 'max_targets: expected a whole number from 1 to 1000, got True'),
        ({'min_range': 9, 'max_range': 8}, r'max_range: expected more than min_range \(9 m\), got 8'),
        ({'min_azimuth_deg': 20, 'max_azimuth_deg': 10}, r'max_azimuth_deg: expected more than min_azimuth_deg'),
    ],
)
def test_wrong_settings_name_the_field_expected_and_got(change, message):
    with pytest.raises(ValueError, match=message):
        CfarLocalizerSettings(**change)


def test_lists_and_whole_numbers_are_taken_for_pairs_and_numbers():
    settings = CfarLocalizerSettings(guard_cells=[2, 1], merge_radius=3)
    assert settings.guard_cells == (2, 1)
    assert isinstance(settings.merge_radius, float)


def test_settings_survive_a_file(tmp_path):
    settings = CfarLocalizerSettings(method='os', training_cells=(7, 5), min_snr=13.5)
    path = tmp_path / 'mine.yaml'
    content = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
    path.write_text(yaml.safe_dump(content))
    assert load_cfar_settings(path) == settings
    path.write_text('method: os\n')
    assert load_cfar_settings(str(path)) == CfarLocalizerSettings(method='os')
    path.write_text('probability_of_false_alarm: 1e-3')
    assert load_cfar_settings(path) == CfarLocalizerSettings(probability_of_false_alarm=1e-3)
    path.write_text('# nothing but defaults\n')
    assert load_cfar_settings(path) == CfarLocalizerSettings()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('guard_cell: [1, 1]', r'expected one of background, .*; got guard_cell \(did you mean guard_cells\?\)'),
        ('min_snr: high', "min_snr: expected a number from 0 to 100, got 'high'"),
        ('- 1', 'expected a mapping of settings, got list'),
        ('a: [1', 'expected YAML'),
    ],
)
def test_wrong_files_name_file_and_field(tmp_path, text, message):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=rf'mine\.yaml: {message}'):
        load_cfar_settings(path)


def test_a_missing_file_is_named():
    with pytest.raises(
        FileNotFoundError, match=r'nowhere/mine\.yaml: expected a YAML file or a name in config/cfar/ \(.*static'
    ):
        load_cfar_settings('nowhere/mine.yaml')
    with pytest.raises(FileNotFoundError, match=r'nobody: expected a YAML file or a name'):
        load_cfar_settings('nobody')


@pytest.mark.parametrize('path', sorted(share_path('config', 'cfar').glob('*.yaml')), ids=lambda path: path.stem)
def test_shipped_settings_load_by_name(path):
    assert load_cfar_settings(path.stem) == load_cfar_settings(path)


def test_static_settings_are_the_defaults():
    assert load_cfar_settings('static') == CfarLocalizerSettings()


def test_vehicles_of_the_measured_clip_are_found_and_hits_are_not_by_chance(shared_data):
    """Box-by-box truth is the importer's matter; here two oncoming vehicles are followed by their annotated centres."""
    folder, cell = shared_data / 'radiate_tiny_foggy', 0.173611
    grid = PolarGrid(np.arange(576) * cell, (np.arange(400) + 0.5) * np.pi / 200 - np.pi, wraps=True)
    localizer = CfarLocalizer(load_cfar_settings('navtech'))
    boxes = {
        entry['id']: entry['bboxes'] for entry in json.loads((folder / 'annotations/annotations.json').read_text())
    }
    hits = chances = seen = 0
    for scan in range(1, 19):
        counts = cv2.imread(str(folder / f'Navtech_Polar/{scan:06d}.png'), cv2.IMREAD_UNCHANGED)
        values = np.roll(counts[:, ::-1], 200, axis=1).astype(np.float32) / 2
        found = np.array([(target.x, target.y) for target in localizer.localize(Heatmap(values, grid))])
        for identity, radius in ((1, 7.0), (3, 3.5)):
            box = boxes[identity][scan - 1]
            if not box:
                continue
            left, top, width, height = box['position']
            centre = np.array([576 - top - height / 2, 576 - left - width / 2]) * cell
            seen += 1
            hits += np.hypot(*(found - centre).T).min() < radius
            chances += np.hypot(*(found - centre * [1, -1]).T).min() < radius
    assert seen == 26
    assert hits / seen > 0.8
    assert chances / seen < 0.5
