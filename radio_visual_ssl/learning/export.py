# SPDX-License-Identifier: Apache-2.0
"""Localizer checkpoints as ONNX files for other runtimes, checked against torch."""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from radio_visual_ssl.bags.reader import BagReader
from radio_visual_ssl.models.checkpoint import Checkpoint, load_checkpoint
from radio_visual_ssl.models.localizer import LocalizerNetwork
from radio_visual_ssl.models.network_localizer import LocalizerCalibration, network_of
from radio_visual_ssl.models.radar_input import RadarInput
from radio_visual_ssl.optional_packages import needed_by
from radio_visual_ssl.radar.geometry import RadarGeometry, check_same_radar
from radio_visual_ssl.whole_file import replacing

if TYPE_CHECKING:
    import onnxruntime

OPSET = 17
"""Of the ONNX operators; onnxruntime has it since 1.12 (2022)."""

INPUT = 'maps'
OUTPUTS = ('centre', 'offset', 'log_variance')

CLASS_OUTPUT = 'class'
"""Of networks that have learned classes, behind `OUTPUTS`."""

TOLERANCE = 1e-4
"""Largest difference of an output between torch and onnxruntime."""

FORMAT = 1
"""Of the metadata."""

_BATCHES = (1, 2, 5)
_EXPORT = ('export', 'onnx', 'onnxruntime')


class ExportError(ValueError):
    """The file cannot be written or would not say what the checkpoint says, or a bag cannot be compared."""


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how near it is.

    Attributes:
        path: of the ONNX file.
        size: bytes.
        opset: of its operators.
        random_inputs, real_inputs: frames that were compared.
        max_difference_random: largest difference of any output on random frames.
        max_difference_real: likewise on frames of a bag; None without one.
    """

    path: Path
    size: int
    opset: int
    random_inputs: int
    real_inputs: int
    max_difference_random: float
    max_difference_real: float | None

    @property
    def max_difference(self) -> float:
        """The larger of both."""
        return max(self.max_difference_random, self.max_difference_real or 0.0)

    def to_json(self) -> dict[str, Any]:
        """As one flat object."""
        return {**asdict(self), 'path': str(self.path), 'max_difference': self.max_difference}


def export_localizer(
    checkpoint: str | Path,
    out: str | Path,
    *,
    bag: str | Path | None = None,
    frames: int = 50,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write a localizer's network as ONNX, whole or not at all; a file of that name is replaced.

    The graph takes ``maps`` (batch, channels, range_bins, azimuth_bins), float32, as `RadarInput` makes them, and gives
    the fields of `LocalizerOutput`, the last of which is called ``class`` and is there only where classes were learned;
    the batch may be of any size. The metadata of the file (`metadata_of`) says which radar it is of, how heatmaps
    become maps and how the outputs become targets.

    Args:
        checkpoint: of kind localizer.
        out: the ONNX file.
        bag: whose heatmaps are compared too; None = random frames alone.
        frames: of the bag, from its beginning, that are compared.
        progress: called with frames done and wanted.

    Raises:
        CheckpointError: not a checkpoint of a localizer.
        ExportError: a bag without frames, outputs that differ by more than `TOLERANCE`, or a file that cannot be
            written.
        OtherRadarError: a bag of another radar.
        BagError: a bag that cannot be read.
        ValueError: no package onnx or onnxruntime.
    """
    source, out = load_checkpoint(checkpoint, 'localizer'), Path(out)
    network = network_of(source)
    data = _to_onnx(network, metadata_of(source, network))
    session = _session(data)
    real = None if bag is None else _inputs(source, Path(bag), frames, progress)
    difference = max(_difference(network, session, _random(network, size)) for size in _BATCHES)
    measured = None if real is None else max(_difference(network, session, each[None]) for each in real)
    worst = max(difference, measured or 0.0)
    if not worst <= TOLERANCE:
        raise ExportError(f'{out}: expected the outputs of {source.path} within {TOLERANCE:g}, got {worst:g} off')
    _write(out, data)
    return ExportReport(out, len(data), OPSET, sum(_BATCHES), 0 if real is None else len(real), difference, measured)


def metadata_of(checkpoint: Checkpoint, network: LocalizerNetwork) -> dict[str, str]:
    """What the file says of itself, each value as JSON.

    ``radar``, ``reference`` of 0 dB, ``carrier_frequency`` and ``bandwidth`` (Hz, 0 = unknown), ``formation`` (see
    HeatmapInfo.msg), ``range`` (m), ``azimuth`` (rad) and ``wraps`` of the maps; ``input_channels`` and
    ``radar_input``, see `RadarInputSettings`; ``classes``, the names in the order of output ``class``, empty without
    it; ``cell_range`` and ``cell_azimuth``, the centres of the output's rows and columns, between which offsets
    interpolate; ``calibration``, see `LocalizerCalibration`; ``provenance`` and ``format``.
    """
    radar, grid = checkpoint.radar, network.grid
    content = {
        'format': FORMAT,
        'radar': radar.name,
        'reference': radar.reference.name,
        'carrier_frequency': radar.carrier_frequency,
        'bandwidth': radar.bandwidth,
        'formation': radar.formation,
        'range': grid.range.tolist(),
        'azimuth': grid.azimuth.tolist(),
        'wraps': grid.wraps,
        'input_channels': list(checkpoint.radar_input.channels),
        'radar_input': asdict(checkpoint.radar_input),
        'classes': list(network.classes),
        'cell_range': network.cells.range.tolist(),
        'cell_azimuth': network.cells.azimuth.tolist(),
        'calibration': asdict(LocalizerCalibration.of(checkpoint.calibration)),
        'provenance': dict(checkpoint.provenance),
    }
    return {name: json.dumps(value) for name, value in content.items()}


class _Outputs(nn.Module):
    """The network's outputs that it has."""

    def __init__(self, network: LocalizerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(each for each in self.network(maps) if each is not None)


def _names(network: LocalizerNetwork) -> list[str]:
    """Of its outputs."""
    return [*OUTPUTS, *([CLASS_OUTPUT] if network.classes else [])]


def _to_onnx(network: LocalizerNetwork, metadata: dict[str, str]) -> bytes:
    """The ONNX file of a network."""
    with needed_by(*_EXPORT):
        import onnx
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        # checks of shapes become constants, which they are; torch's newer exporter needs a package more
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
        file = Path(folder) / 'network.onnx'
        torch.onnx.export(
            _Outputs(network).eval(),
            (_random(network, 2),),
            file,
            dynamo=False,
            input_names=[INPUT],
            output_names=_names(network),
            dynamic_axes={name: {0: 'batch'} for name in (INPUT, *_names(network))},
            opset_version=OPSET,
        )
        model = onnx.load(file)
    model.producer_name = 'radio_visual_ssl'
    for name, value in metadata.items():
        model.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _session(data: bytes) -> 'onnxruntime.InferenceSession':
    with needed_by(*_EXPORT):
        import onnxruntime
    return onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])


def _random(network: LocalizerNetwork, count: int) -> torch.Tensor:
    """(count, C, R, A) maps of noise, as strong as real ones: log-power of up to 60 dB, mostly little."""
    shape = (count, network.input_channels, *network.grid.shape)
    return 14 * torch.rand(shape, generator=torch.Generator().manual_seed(count)) ** 4


def _inputs(
    checkpoint: Checkpoint, bag: Path, count: int, progress: Callable[[int, int], None] | None
) -> NDArray[np.float32]:
    """(N, C, R, A) maps of a bag's first heatmaps.

    Raises:
        ExportError: no heatmaps, or one that cannot be used.
        OtherRadarError: those of another radar.
    """
    radar_input, maps = RadarInput(checkpoint.radar_input, checkpoint.radar.grid), []
    for frame in islice(BagReader(bag).frames(image_topic=None, truth_topic=None), count):
        expected = f'the radar that {checkpoint.path} was trained for'
        check_same_radar(checkpoint.radar, RadarGeometry.of(frame.heatmap), str(bag), expected)
        try:
            maps.append(radar_input(replace(frame.heatmap, grid=checkpoint.radar.grid)))
        except ValueError as error:
            raise ExportError(f'{bag}: stamp {frame.stamp_ns * 1e-9:.3f} s: {error}') from error
        if progress is not None:
            progress(len(maps), count)
    if not maps:
        raise ExportError(f'{bag}: expected heatmaps to compare, found none')
    return np.stack(maps)


def _difference(
    network: LocalizerNetwork, session: 'onnxruntime.InferenceSession', maps: torch.Tensor | NDArray[np.float32]
) -> float:
    """Largest difference of any output, of both runtimes on the same maps; NaN where one is not finite."""
    maps = torch.as_tensor(maps)
    with torch.inference_mode():
        expected = _Outputs(network)(maps)
    got = session.run(_names(network), {INPUT: maps.numpy()})
    return max(float(np.abs(one.numpy() - other).max()) for one, other in zip(expected, got, strict=True))


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        ExportError: it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise ExportError(f'{path}: cannot be written: {error}') from error
