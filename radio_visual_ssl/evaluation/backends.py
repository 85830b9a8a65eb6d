# SPDX-License-Identifier: Apache-2.0
"""The back ends that find targets, by name, with the settings that ship for known radars."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radio_visual_ssl.bags.topics import CUBE_TYPE
from radio_visual_ssl.models import network_settings
from radio_visual_ssl.models.network_settings import (
    NetworkLocalizerSettings,
    load_network_settings,
    model_file,
    shipped_model,
)
from radio_visual_ssl.optional_packages import needed_by
from radio_visual_ssl.radar import cfar_localizer, peak_localizer
from radio_visual_ssl.radar.cfar_localizer import CfarLocalizer, CfarLocalizerSettings, load_cfar_settings
from radio_visual_ssl.radar.geometry import RadarGeometry, check_same_radar
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.localizer import Localizer
from radio_visual_ssl.radar.peak_localizer import PeakLocalizer, PeakLocalizerSettings, load_peak_settings
from radio_visual_ssl.radar.plain_settings import Bounds
from radio_visual_ssl.share import share_path_of_radar

if TYPE_CHECKING:
    from radio_visual_ssl.bags.reader import BagReader
    from radio_visual_ssl.evaluation.evaluate import AnyLocalizer


@dataclass(frozen=True)
class Backend:
    """One way to find targets in heatmaps.

    Attributes:
        settings: dataclass of plain fields with defaults; each field is a parameter of localizer_node.
        load: reads such settings from a YAML file.
        make: builds the localizer from such settings, and takes over what the previous one, if any, has learned of the
            same stream as far as they allow.
        bounds: (minimum, maximum) of the number fields, by name.
    """

    settings: type[Any]
    load: Callable[[Path], Any]
    make: Callable[[Any, Any], Localizer]
    bounds: Bounds


_NETWORK = ("backend 'network'", 'torch', 'safetensors')


def _network_localizer(settings: NetworkLocalizerSettings, previous: Any = None) -> Localizer:
    """The learned localizer; torch is imported here, for that takes seconds."""
    with needed_by(*_NETWORK):
        from radio_visual_ssl.models.network_localizer import NetworkLocalizer
    return NetworkLocalizer(settings, previous)


BACKENDS = {
    'cfar': Backend(CfarLocalizerSettings, load_cfar_settings, CfarLocalizer, cfar_localizer.BOUNDS),
    'peak': Backend(PeakLocalizerSettings, load_peak_settings, PeakLocalizer, peak_localizer.BOUNDS),
    'network': Backend(NetworkLocalizerSettings, load_network_settings, _network_localizer, network_settings.BOUNDS),
}

FUSION = 'fusion'
"""The network that sees the camera, too: of recorded frames alone, with the settings of back end 'network'."""

AUTO = 'auto'
"""In place of a back end: the network that ships for the radar, or else CFAR, see `automatic_backend`."""


def automatic_backend(heatmap: Heatmap) -> tuple[str, str]:
    """The network, where one ships in models/ for the radar and can take its heatmaps; else CFAR.

    The file of a model is named after its radar, or after the beginning of the radar's name. Grid, reference, carrier,
    bandwidth and formation of the heatmap must be the checkpoint's too, and there must be velocities where it wants
    them.

    Args:
        heatmap: any of the stream.

    Returns:
        Name of the back end, and why it is this one.
    """
    file = shipped_model(heatmap.radar)
    if file is None:
        return 'cfar', f'no model ships for radar {heatmap.radar!r}'
    try:
        with needed_by(*_NETWORK):
            from radio_visual_ssl.models.checkpoint import load_checkpoint
        checkpoint = load_checkpoint(file, 'localizer')
    except ValueError as error:
        return 'cfar', f'a model ships for radar {heatmap.radar!r}, but: {error}'
    difference = checkpoint.radar.difference(RadarGeometry.of(heatmap))
    if checkpoint.radar_input.needs_velocity and heatmap.velocity is None:
        difference = difference or 'velocity: expected one for each cell, got none'
    if difference:
        return 'cfar', f'the model that ships for radar {heatmap.radar!r} does not fit it: {difference}'
    return 'network', f'{file} ships for radar {heatmap.radar!r}'


def shipped_settings(backend: str, name: str, model: str = 'auto') -> Path | None:
    """The file in config/<backend>/ that is named after a radar, or after the beginning of its name.

    Letter case and punctuation do not count: the radar 'Navtech CTS350-X' finds navtech.yaml, or rather
    navtech_cts350_x.yaml where there is one. None where the package has neither. Settings of back end 'network' hold
    the threshold and the mounting of the model that ships for the radar: another model has none.

    Args:
        backend: one of `BACKENDS`.
        name: of the radar, as in HeatmapInfo.
        model: that back end 'network' runs: 'auto', a path, or a name in models/.
    """
    if backend == 'network' and model != 'auto' and not _ships_for(model, name):
        return None
    return share_path_of_radar(name, '.yaml', 'config', backend)


def _ships_for(model: str, radar: str) -> bool:
    """Whether a model is the one that ships for a radar."""
    shipped = shipped_model(radar)
    try:
        return shipped is not None and shipped.samefile(model_file(model))
    except ValueError:
        return False


def settings_file(backend: str, name: str) -> Path:
    """The settings file of that path, or the shipped one of that name.

    Raises:
        ValueError: neither exists.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = None if '/' in name else shipped_settings(backend, name)
    if shipped is None:
        raise ValueError(f"expected 'auto', 'default', a name in config/{backend}/ or a path, got {name!r}")
    return shipped


def load_localizer(backend: str, settings: str = 'auto', radar: str = '', model: str = '') -> 'AnyLocalizer':
    """A back end with its settings.

    Args:
        backend: one of `BACKENDS`, or `FUSION`.
        settings: 'auto' (those shipped for the radar and, of networks, its model, if any), 'default', a name in
            config/<backend>/, or a path.
        radar: name of the radar, as in HeatmapInfo.
        model: of back ends 'network' and 'fusion': path of a checkpoint or name of one in models/, in place of the
            settings' own.

    Raises:
        ValueError: an unknown back end, no such settings file or model, or a wrong one; no model that ships for the
            radar, where none is given.
    """
    if backend not in (*BACKENDS, FUSION):
        raise ValueError(f'backend: expected one of {", ".join((*BACKENDS, FUSION))}, got {backend!r}')
    name = backend
    backend = 'network' if name == FUSION else name
    chosen = BACKENDS[backend]
    if settings == 'auto':
        file = shipped_settings(backend, radar, model or 'auto')
    elif settings == 'default':
        file = None
    else:
        try:
            file = settings_file(backend, settings)
        except ValueError as error:
            raise ValueError(f'settings: {error}') from error
    values = chosen.settings() if file is None else chosen.load(file)
    if isinstance(values, NetworkLocalizerSettings):
        values = replace(values, model=model or values.model)
        if name == FUSION:
            if not model:
                raise ValueError("model: expected a checkpoint of kind fusion with back end 'fusion', got none")
            with needed_by("back end 'fusion'", 'torch', 'safetensors'):
                from radio_visual_ssl.evaluation.fusion_localizer import FusionLocalizer
            return FusionLocalizer(values)
        if values.model == 'auto' and shipped_model(radar) is None:
            raise ValueError(f'model: expected a checkpoint, for none ships in models/ for radar {radar!r}')
    elif model:
        raise ValueError(f"model: expected back end 'network' with it, got {backend!r}")
    return chosen.make(values, None)


def radars_of(localizers: 'Mapping[str, AnyLocalizer]') -> dict[str, RadarGeometry]:
    """The radars that the checkpoints of localizers learned from, by name; of the others nothing is said.

    Others are those without a checkpoint, and those whose checkpoint the first heatmap chooses.
    """
    checkpoints = {name: getattr(localizer, 'checkpoint', None) for name, localizer in localizers.items()}
    return {name: checkpoint.radar for name, checkpoint in checkpoints.items() if checkpoint is not None}


def check_radars(radars: Mapping[str, RadarGeometry], reader: 'BagReader') -> None:
    """Finds out before a long run that models are of several radars, or of another one than the bag.

    Args:
        radars: that the models learned from, by name of the model.
        reader: of the bag, whose first heatmap is looked at.

    Raises:
        OtherRadarError: what differs, by name of the model.
    """
    if not radars:
        return
    (first, radar), *others = radars.items()
    for name, other in others:
        radar = check_same_radar(radar, other, name, f'a model of the same radar as {first}')
    heatmaps = reader.radar_geometry()
    if heatmaps is not None:
        expected = f'heatmaps of the radar that {first} learned from'
        if reader.streams[reader.radar_topic()].type == CUBE_TYPE:
            expected += ' (`radio-visual-ssl form` makes others of these cubes)'
        check_same_radar(radar, heatmaps, str(reader.path), expected)


def models_of(backend: str, models: Sequence[str], backends: Collection[str]) -> list[str]:
    """Which of the given checkpoints a back end runs.

    Args:
        backend: one of ``backends``.
        models: paths, or names of those in models/.
        backends: that are compared; with networks and fusion among them, the kind of each checkpoint tells.

    Raises:
        ValueError: no such checkpoint.
    """
    if backend not in ('network', FUSION):
        return []
    if not {'network', FUSION} <= set(backends):
        return list(models)
    with needed_by(f'back end {backend!r}', 'torch', 'safetensors'):
        from radio_visual_ssl.models.checkpoint import load_checkpoint
    fusion = [model for model in models if load_checkpoint(model_file(model)).kind == FUSION]
    return fusion if backend == FUSION else [model for model in models if model not in fusion]
