# SPDX-License-Identifier: Apache-2.0
"""Back ends by name, and the settings that ship for a radar."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny_model import write_tiny_model

from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.evaluation.backends import (
    automatic_backend,
    check_radars,
    load_localizer,
    settings_file,
    shipped_settings,
)
from radio_visual_ssl.models.network_settings import load_network_settings, model_file
from radio_visual_ssl.radar.geometry import OtherRadarError
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap, Reference
from radio_visual_ssl.radar.peak_localizer import PeakLocalizer
from radio_visual_ssl.simulation.dataset import DatasetPlan, generate

GRID = PolarGrid(np.arange(1.0, 33.0), np.linspace(-1.0, 1.0, 24))


def heatmap(seed=0, **changes):
    values = np.random.default_rng(seed).normal(0, 3, GRID.shape).astype(np.float32)
    return replace(Heatmap(values, GRID, Reference.NOISE_FLOOR, 0.0, radar='Acme R-7'), **changes)


@pytest.mark.parametrize('radar', ['navtech', 'Navtech CTS350-X', 'navtech_cts350x'])
def test_shipped_settings_are_found_by_the_beginning_of_the_radars_name(radar):
    file = shipped_settings('cfar', radar)
    assert file is not None
    assert file.stem == 'navtech'


@pytest.mark.parametrize('radar', ['', 'nav', 'ofdm_28ghz', 'some navtech'])
def test_another_radar_has_no_shipped_settings(radar):
    assert shipped_settings('cfar', radar) is None


def test_settings_are_named_or_given_as_a_path(tmp_path):
    (tmp_path / 'mine.yaml').write_text('min_snr: 11.0\n')
    assert settings_file('cfar', 'static').name == 'static.yaml'
    assert settings_file('cfar', str(tmp_path / 'mine.yaml')) == tmp_path / 'mine.yaml'
    with pytest.raises(ValueError, match=r"expected 'auto', 'default', a name in config/cfar/ or a path, got 'other'"):
        settings_file('cfar', 'other')


def test_a_back_end_is_made_with_the_settings_for_its_radar():
    assert load_localizer('cfar', radar='Navtech CTS350-X').settings.background == 'none'
    assert load_localizer('cfar', 'default', radar='Navtech CTS350-X').settings.background == 'median'
    peak = load_localizer('peak', 'mast')
    assert isinstance(peak, PeakLocalizer) and peak.settings.radar_height == 3.2
    with pytest.raises(ValueError, match=r"backend: expected one of cfar, peak, network, fusion, got 'magic'"):
        load_localizer('magic')


def test_a_network_is_made_of_its_model_and_its_settings(tmp_path):
    model = write_tiny_model(tmp_path / 'tiny.safetensors', heatmap())
    (tmp_path / 'mine.yaml').write_text(f'model: {model}\nmax_targets: 2\nthreshold: 0.001\n')
    localizer = load_localizer('network', str(tmp_path / 'mine.yaml'))
    assert [len(localizer.localize(heatmap(seed))) for seed in range(2)] == [2, 2]
    assert load_localizer('network', 'default', model=str(model)).settings.max_targets == 32


def test_a_model_that_does_not_fit_a_bag_of_cubes_is_told_what_makes_others(tmp_path):
    plan = DatasetPlan('parking_lot', 'ofdm_28ghz_100mhz_8rx', 1, instances=1, image_size=(64, 48), cube=True)
    generate(plan, tmp_path / 'set')
    reader = BagReader(tmp_path / 'set' / 'parking_lot_0000')
    known = reader.radar_geometry()
    check_radars({'mine': known}, reader)
    other = {'mine': replace(known, formation='clutter_removal=static')}
    with pytest.raises(OtherRadarError, match=r'mine learned from \(`radio-visual-ssl form` .*\); formation .*none'):
        check_radars(other, reader)
    # what the first model does not tell the second one does
    with pytest.raises(OtherRadarError, match='formation of the heatmaps: expected clutter_removal=static, got .*none'):
        check_radars({'old': replace(known, formation=''), **other}, reader)


def test_settings_of_the_network_that_ships_are_not_those_of_another_one(tmp_path):
    radar = 'ofdm_28ghz_400mhz_16rx'
    own = tmp_path / 'mine.safetensors'
    shipped = model_file(radar)
    own.write_bytes(shipped.read_bytes())
    beside = load_network_settings(radar)
    assert beside.threshold > 0
    for model in ('', radar, str(shipped)):
        assert load_localizer('network', radar=radar, model=model).settings.threshold == beside.threshold
    settings = load_localizer('network', radar=radar, model=str(own)).settings
    assert (settings.threshold, settings.radar_height) == (0, 0)
    assert load_localizer('network', 'mast', radar, str(own)).settings.radar_height == 3.2


def test_a_model_that_is_missing_or_not_the_back_ends_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"model: expected a checkpoint, for none ships in models/ for radar 'Acme R-7'"
    ):
        load_localizer('network', radar='Acme R-7')
    with pytest.raises(ValueError, match=r'model: expected the path of a checkpoint .*none\.safetensors'):
        load_localizer('network', model=str(tmp_path / 'none.safetensors'))
    with pytest.raises(ValueError, match=r"model: expected back end 'network' with it, got 'cfar'"):
        load_localizer('cfar', model='x.safetensors')


def test_the_command_and_the_nodes_know_the_back_ends_without_torch():
    code = 'import sys, radio_visual_ssl.cli, radio_visual_ssl.evaluation.backends; print("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == 'False\n'


@pytest.mark.parametrize('package', ['torch', 'safetensors'])
def test_a_missing_package_is_named_with_what_to_do(package):
    code = (
        f'import sys; sys.modules[{package!r}] = None\n'
        'from radio_visual_ssl.evaluation.backends import load_localizer\n'
        'try: load_localizer("network", model="x.safetensors")\n'
        'except ValueError as error: print(error)'
    )
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert f"backend 'network': expected the Python package {package}, found none" in said
    assert 'pip install' in said


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A function that ships a tiny model for the radar."""
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))

    def ship(**settings):
        path = tmp_path / 'share/radio_visual_ssl/models/acme.safetensors'
        return write_tiny_model(path, heatmap(), **settings)

    return ship


def test_the_network_that_ships_for_a_radar_is_its_automatic_back_end(shipped):
    assert automatic_backend(heatmap()) == ('cfar', "no model ships for radar 'Acme R-7'")
    model = shipped()
    backend, why = automatic_backend(heatmap())
    assert backend == 'network'
    assert str(model) in why
    localizer = load_localizer('network', radar='Acme R-7')
    localizer.localize(heatmap())
    assert localizer.checkpoint.path == model


def test_the_automatic_back_end_is_cfar_where_the_model_does_not_fit_and_says_why(shipped):
    model = shipped(channels=('power', 'moving'))
    moving = heatmap(velocity=np.ones(GRID.shape, np.float32))
    assert automatic_backend(moving)[0] == 'network'
    for other, why in (
        (heatmap(), 'velocity: expected one for each cell, got none'),
        (replace(moving, reference=Reference.RCS), 'reference of 0 dB: expected NOISE_FLOOR, got RCS'),
        (replace(moving, grid=PolarGrid(GRID.range * 2, GRID.azimuth)), 'grid, range bins: expected'),
        (replace(moving, radar='Acme R-9'), "radar: expected 'Acme R-7', got 'Acme R-9'"),
    ):
        backend, said = automatic_backend(other)
        assert backend == 'cfar'
        assert why in said
    model.write_bytes(model.read_bytes()[:100])
    backend, said = automatic_backend(moving)
    assert backend == 'cfar'
    assert 'acme.safetensors' in said and 'truncated' in said
