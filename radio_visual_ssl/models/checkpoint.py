# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one safetensors file with weights, radar geometry, preprocessing, calibration and provenance."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from radio_visual_ssl.models.radar_input import VERSION as INPUT_VERSION
from radio_visual_ssl.models.radar_input import RadarInputSettings
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Reference
from radio_visual_ssl.whole_file import replacing

Kind = Literal['contrastive', 'localizer', 'fusion']
FORMAT = 1
METADATA_KEY = 'radio_visual_ssl'
_WEIGHTS = 'weights.'
_LONGEST_LINE = 160  # of what torch says of weights that do not fit


class CheckpointError(ValueError):
    """A file that is not a checkpoint of the wanted kind."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network with all it takes to run it on the radar that it was trained for.

    Attributes:
        kind: what network it is.
        weights: its tensors by name (``state_dict``).
        radar: that it was trained for.
        radar_input: how heatmaps become its input.
        architecture: arguments of the network's class.
        calibration: what the scores and variances mean, see `radio_visual_ssl.learning.calibration`.
        provenance: package version, bags with content hashes, settings, seed, labels, seconds and the like.
        path: of the file that it was read from; None for a new one.
    """

    kind: Kind
    weights: Mapping[str, Tensor]
    radar: RadarGeometry
    radar_input: RadarInputSettings
    architecture: Mapping[str, Any]
    calibration: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint as one file, whole or not at all; one of that name is replaced.

    Returns:
        The path.

    Raises:
        CheckpointError: the file cannot be written, or a value in it is neither text, number, list nor mapping.
    """
    path, radar = Path(path), checkpoint.radar
    content = {
        'format': FORMAT,
        'kind': checkpoint.kind,
        'radar': radar.name,
        'reference': radar.reference.name,
        'carrier_frequency': radar.carrier_frequency,
        'bandwidth': radar.bandwidth,
        'formation': radar.formation,
        'wraps': radar.grid.wraps,
        'radar_input': {'version': INPUT_VERSION, **asdict(checkpoint.radar_input)},
        'architecture': dict(checkpoint.architecture),
        'calibration': dict(checkpoint.calibration),
        'provenance': dict(checkpoint.provenance),
    }
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: expected texts, finite numbers, lists and mappings, got {error}') from error
    tensors = {
        _WEIGHTS + name: weight.detach().to('cpu', copy=True).contiguous()
        for name, weight in checkpoint.weights.items()
    }
    tensors['grid.range'] = torch.tensor(radar.grid.range)
    tensors['grid.azimuth'] = torch.tensor(radar.grid.azimuth)
    data = save(tensors, metadata={METADATA_KEY: text})
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise CheckpointError(f'{path}: cannot be written: {error}') from error
    return path


def load_checkpoint(path: str | Path, kind: Kind | None = None) -> Checkpoint:
    """Read a checkpoint; no code of the file is run.

    Args:
        path: of the file.
        kind: that is wanted; None = any.

    Raises:
        CheckpointError: no such file, a truncated one, another format or kind, or weights that are not finite; the
            message names the file, what was expected and got.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f'{path}: expected a checkpoint (.safetensors), found no file')
    try:
        with safe_open(path, framework='pt') as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f'{path}: expected a checkpoint (.safetensors), got a truncated or other file of'
            f' {path.stat().st_size} bytes: {error}'
        ) from error
    if text is None:
        raise CheckpointError(
            f"{path}: expected metadata '{METADATA_KEY}' of a checkpoint, got another safetensors file"
        )
    try:
        content = json.loads(text)
        found = content['format'], content['kind']
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: expected JSON with format and kind in '{METADATA_KEY}', got {error!r}"
        ) from error
    if found[0] != FORMAT:
        raise CheckpointError(f'{path}: expected format {FORMAT}, got {found[0]!r}')
    if found[1] not in get_args(Kind) or kind not in (None, found[1]):
        raise CheckpointError(
            f'{path}: expected a checkpoint of kind {kind or " or ".join(get_args(Kind))}, got {found[1]}'
        )
    try:
        return _checkpoint(path, content, tensors)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f'{path}: expected the fields of a checkpoint, got {error!r}') from error


def misfit(error: Exception) -> str:
    """The first of what does not fit, of an error that torch raises of weights, which lists everything."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not isinstance(error, RuntimeError) or len(lines) < 2:
        return str(error) if isinstance(error, CheckpointError) else repr(error)
    first = lines[1] if len(lines[1]) <= _LONGEST_LINE else f'{lines[1][:_LONGEST_LINE]} ...'
    return first + f' (the first of {len(lines) - 1} such lines)' * (len(lines) > 2)


def _checkpoint(path: Path, content: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    """The parts of a file.

    Raises:
        KeyError, TypeError, ValueError: missing or wrong ones.
    """
    for name in ('radar_input', 'architecture', 'calibration', 'provenance'):
        if not isinstance(content[name], dict):
            raise CheckpointError(f'{path}: {name}: expected a mapping, got {content[name]!r}')
    settings = dict(content['radar_input'])
    version = settings.pop('version')
    if version != INPUT_VERSION:
        raise CheckpointError(f'{path}: expected input maps of version {INPUT_VERSION}, got {version}')
    grid = PolarGrid(tensors['grid.range'].numpy(), tensors['grid.azimuth'].numpy(), bool(content['wraps']))
    radar = RadarGeometry(
        content['radar'],
        grid,
        Reference[content['reference']],
        float(content['carrier_frequency']),
        float(content['bandwidth']),
        str(content.get('formation', '')),
    )
    weights = {name.removeprefix(_WEIGHTS): each for name, each in tensors.items() if name.startswith(_WEIGHTS)}
    for name, weight in weights.items():
        bad = weight.numel() - int(torch.isfinite(weight).sum())
        if bad:
            raise CheckpointError(
                f'{path}: weights {name}: expected finite numbers, got {bad} that are NaN or infinite'
            )
    return Checkpoint(
        content['kind'],
        weights,
        radar,
        RadarInputSettings(**settings),
        content['architecture'],
        content['calibration'],
        content['provenance'],
        path,
    )
