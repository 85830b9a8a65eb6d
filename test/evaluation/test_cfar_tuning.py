# SPDX-License-Identifier: Apache-2.0
"""The CFAR baseline is tuned on bags with truth: what is called the best one is, and can be used."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from radio_visual_ssl.cli import app
from radio_visual_ssl.evaluation.cfar_tuning import (
    CHOICES,
    SURFACE_TO_CENTRE,
    TriedSettings,
    best_of,
    draw_settings,
    nearest_of,
    tune_cfar,
    with_surfaces,
)
from radio_visual_ssl.evaluation.evaluate import evaluate_bags
from radio_visual_ssl.radar.cfar_localizer import CfarLocalizer, CfarLocalizerSettings, load_cfar_settings
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

TRIES = 4


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tuning') / 'set'
    plan = DatasetPlan(
        'parking_lot', 'ofdm_28ghz_200mhz_8rx', 40, seed=4, instances=1, rate=2.0, image_size=(32, 24),
        overrides=('movers_present=[3, 3]', 'lighting.fog=0'),
    )  # fmt: skip
    generate(plan, folder)
    return folder


def test_settings_are_the_defaults_and_draws_of_the_choices():
    base = CfarLocalizerSettings(radar_height=3.2, background='none')
    settings = draw_settings(30, 1, base)
    assert settings[0] == base
    assert all((each.radar_height, each.background) == (3.2, 'none') for each in settings)
    assert all(getattr(each, name) in values for each in settings[1:] for name, values in CHOICES.items())
    assert len(set(settings)) == 30
    assert draw_settings(5, seed=1) == draw_settings(30, seed=1)[:5]
    assert draw_settings(5, seed=2)[1:] != draw_settings(5, seed=1)[1:]


def test_each_is_judged_as_if_it_were_alone(data):
    bags = [data / 'parking_lot_0000']
    settings = draw_settings(TRIES, 0, CfarLocalizerSettings(radar_height=3.2))
    frames = []
    tried = tune_cfar(bags, settings, false_per_frame=0.5, on_frame=lambda: frames.append(1))
    assert len(frames) == 40
    assert [each.settings for each in tried] == settings
    alone = evaluate_bags(bags, {'it': CfarLocalizer(settings[2])}, hit_distance=1.0).metrics['it']
    at = alone.at_false_per_frame['0.5']
    assert (tried[2].recall, tried[2].median_error_m) == (at.recall, at.median_error_m)
    assert tried[2].recall > 0
    assert tried[2].average_precision == alone.ap_2m


def test_the_best_has_the_largest_recall_then_precision():
    plain = CfarLocalizerSettings()
    tried = [
        TriedSettings(plain, recall, precision, None) for recall, precision in ((0.5, 0.9), (0.6, 0.2), (0.6, 0.3))
    ]
    assert best_of(tried) is tried[2]


def test_the_surface_with_the_smallest_error_is_taken_among_those_that_lose_next_to_no_recall():
    surfaces = with_surfaces(CfarLocalizerSettings(min_snr=4.0))
    assert [each.surface_to_centre for each in surfaces] == list(SURFACE_TO_CENTRE) == [0.0, 0.3, 0.6, 0.9]
    assert {each.min_snr for each in surfaces} == {4.0}
    figures = ((0.6, 0.8), (0.597, 0.5), (0.595, 0.3), (0.594, 0.1))
    tried = [TriedSettings(each, recall, 0.5, error) for each, (recall, error) in zip(surfaces, figures, strict=True)]
    assert nearest_of(tried).settings.surface_to_centre == 0.6
    blind = [TriedSettings(each, 0.0, 0.0, None) for each in surfaces]
    assert nearest_of(blind) is blind[0]


def test_only_what_is_not_as_by_default_is_written():
    settings = CfarLocalizerSettings(guard_cells=(4, 4), min_snr=4.0)
    assert TriedSettings(settings, 1.0, 1.0, None).changes == {'guard_cells': [4, 4], 'min_snr': 4.0}


def test_a_rate_that_is_not_counted_is_named(data):
    with pytest.raises(ValueError, match='false_per_frame: expected one of 0.02, .*, got 0.3'):
        tune_cfar([data], draw_settings(1, 0), false_per_frame=0.3)


def test_the_command_writes_settings_that_the_back_end_takes(data, tmp_path):
    asked = ['--tries', '3', '--radar-height', '3.2', '--background', 'ewma']
    options = [*asked, '--out', str(tmp_path / 'new' / 'tuned.yaml'), '--json']
    result = CliRunner().invoke(app, ['tune', str(data / 'parking_lot_0000'), *options])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told['recall'] >= told['default_recall'] - 0.005
    # cars reflect with the side that the radar sees, a part of a car before its centre
    assert told['settings']['surface_to_centre'] in SURFACE_TO_CENTRE[1:]
    drawn = {**told['settings'], 'surface_to_centre': 0.0}
    near = tune_cfar([data / 'parking_lot_0000'], [CfarLocalizerSettings(**drawn)])[0]
    assert told['median_error_m'] < near.median_error_m
    assert f'surface_to_centre: {told["settings"]["surface_to_centre"]}' in ' '.join(result.stderr.split())
    written = tmp_path / 'new' / 'tuned.yaml'
    assert yaml.safe_load(written.read_text()) == told['settings']
    assert (load_cfar_settings(written).radar_height, load_cfar_settings(written).background) == (3.2, 'ewma')
    assert [path.name for path in written.parent.iterdir()] == ['tuned.yaml']
