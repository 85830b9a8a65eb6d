# SPDX-License-Identifier: Apache-2.0
"""The learned localizer: runs a checkpoint behind the interface that the classical one has."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from torch import Tensor

from radio_visual_ssl.models.checkpoint import Checkpoint, CheckpointError, Kind, load_checkpoint, misfit
from radio_visual_ssl.models.fusion import FusionNetwork
from radio_visual_ssl.models.localizer import Detections, LocalizerNetwork, LocalizerOutput, decode
from radio_visual_ssl.models.network_settings import NetworkLocalizerSettings, model_file, shipped_model
from radio_visual_ssl.models.picture_input import PictureInputSettings
from radio_visual_ssl.models.radar_input import RadarInput
from radio_visual_ssl.radar.geometry import RadarGeometry, check_same_radar
from radio_visual_ssl.radar.ground import places_on_ground
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target

LEAST_SCORE = 0.01
"""The network's own, from which ``localize_all`` tells what ``localize`` withholds."""


@dataclass(frozen=True)
class LocalizerCalibration:
    """What a network's scores and variances mean, learned on data that it was not trained on.

    The calibrated score is ``1 / (1 + exp(-(slope * logit + intercept)))`` of the network's log-odds.

    Attributes:
        slope, intercept: of the log-odds.
        threshold: calibrated score from which a detection is reported.
        range_variance, azimuth_variance: factors of the predicted variances.
        min_range, max_range: m, as the radar reads it, of what the network has learned from: what it says of nearer and
            farther places means nothing and is dropped; 0 = no limit.
        class_temperature: by which logits of classes are divided before the softmax.
    """

    slope: float = 1.0
    intercept: float = 0.0
    threshold: float = 0.3
    range_variance: float = 1.0
    azimuth_variance: float = 1.0
    min_range: float = 0.0
    max_range: float = 0.0
    class_temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('slope', 'range_variance', 'azimuth_variance', 'class_temperature'):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f'calibration, {name}: expected a positive number, got {getattr(self, name)}')
        if not (math.isfinite(self.intercept) and 0 <= self.threshold <= 1):
            raise ValueError(f'calibration: expected a threshold in [0, 1] and a finite intercept, got {self}')
        if not (0 <= self.min_range < math.inf and (self.max_range == 0 or self.min_range < self.max_range < math.inf)):
            raise ValueError(f'calibration: expected ranges from min_range up to max_range, got {self}')

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> 'LocalizerCalibration':
        """That of a checkpoint; what it lacks keeps its default.

        Raises:
            ValueError: values out of range, or that are no numbers.
        """
        values = {name: content[name] for name in asdict(cls()) if name in content}
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f'calibration, {name}: expected a number, got {value!r}')
        return cls(**{name: float(value) for name, value in values.items()})

    def score(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Calibrated scores of the network's own, which both are in [0, 1]."""
        raw = np.clip(np.asarray(raw, dtype=np.float64), 1e-12, 1 - 1e-12)
        return 1 / (1 + np.exp(-(self.slope * np.log(raw / (1 - raw)) + self.intercept)))

    def class_probability(self, logit: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, classes) calibrated probabilities of the logits of classes."""
        return np.asarray(softmax(logit / self.class_temperature, axis=1))

    def within(self, range_: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which ranges, as the radar reads them (m), the network has learned from."""
        return (range_ >= self.min_range) & (range_ <= (self.max_range or math.inf))

    def raw(self, score: float) -> float:
        """The network's own score of a calibrated one."""
        if score in (0, 1):
            return float(score)
        return 1 / (1 + math.exp(-(math.log(score / (1 - score)) - self.intercept) / self.slope))


def make_network(kind: Kind, radar_input: RadarInput, architecture: Mapping[str, Any]) -> LocalizerNetwork:
    """A new network, on the CPU.

    Args:
        kind: 'localizer' or 'fusion'.
        radar_input: what makes its maps.
        architecture: as a checkpoint of this kind holds it.

    Raises:
        ValueError: numbers out of range.
        TypeError: unknown names.
    """
    values = {name: _pair(value) for name, value in architecture.items()}
    if kind != 'fusion':
        return LocalizerNetwork(radar_input.grid, radar_input.channels, **values)
    picture = PictureInputSettings(**values.pop('picture'))
    return FusionNetwork(radar_input.grid, radar_input.channels, picture_size=picture.size, **values)


def network_of(checkpoint: Checkpoint) -> LocalizerNetwork:
    """The network of a localizer's checkpoint, radio alone or fusion, ready to be run (``eval``), on the CPU.

    Raises:
        CheckpointError: another kind of checkpoint, or weights that do not fit its architecture.
    """
    where = checkpoint.path or 'checkpoint'
    if checkpoint.kind not in ('localizer', 'fusion'):
        raise CheckpointError(f'{where}: expected a checkpoint of kind localizer, got {checkpoint.kind}')
    radar_input = RadarInput(checkpoint.radar_input, checkpoint.radar.grid)
    try:
        network = make_network(checkpoint.kind, radar_input, checkpoint.architecture)
        network.load_state_dict(dict(checkpoint.weights))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f'{where}: expected weights that fit the architecture, got {misfit(error)}') from error
    return network.eval()


def _pair(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(_pair(each) for each in value) if isinstance(value, list) else value


class NetworkLocalizer:
    """Finds targets with a trained network; refuses another radar than the one it was trained for.

    Args:
        settings: see `NetworkLocalizerSettings`.
        previous: localizer of the same stream that this one replaces: its background is taken over, and its network,
            unless the settings name another model.
        checkpoint: to be used in place of the one that the settings name.

    Raises:
        ValueError: no such checkpoint, or not one of a localizer (with model 'auto': raised by ``localize``), or device
            cuda without one.
    """

    def __init__(
        self,
        settings: NetworkLocalizerSettings = NetworkLocalizerSettings(),
        previous: 'NetworkLocalizer | None' = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._settings = settings
        cuda = torch.cuda.is_available()
        if settings.device == 'cuda' and not cuda:
            raise ValueError('device: expected cpu or auto, for there is no GPU that torch can use, got cuda')
        self._device = torch.device('cuda' if cuda and settings.device != 'cpu' else 'cpu')
        self._checkpoint: Checkpoint | None = None
        if checkpoint is None and previous is not None and previous.settings.model == settings.model:
            checkpoint = previous.checkpoint
        if checkpoint is None and settings.model != 'auto':
            checkpoint = load_checkpoint(model_file(settings.model), 'localizer')
        if checkpoint is not None:
            self._use(checkpoint)
            if previous is not None and previous.checkpoint is not None:
                self._input.share_background(previous._input)

    @property
    def settings(self) -> NetworkLocalizerSettings:
        """As given."""
        return self._settings

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What is run; None before the first heatmap where the model is chosen by the radar."""
        return self._checkpoint

    @property
    def needs_velocity(self) -> bool:
        """Whether it refuses heatmaps without velocities; true where the model is not chosen yet."""
        return self._checkpoint is None or self._checkpoint.radar_input.needs_velocity

    @property
    def calibration(self) -> LocalizerCalibration:
        """Of the checkpoint."""
        return self._calibration

    def localize(self, heatmap: Heatmap) -> list[Target]:
        """Targets in the heatmap, highest calibrated score first.

        Raises:
            ValueError: another radar than the checkpoint's, no model for this radar, cells that are NaN or infinite.
        """
        return self.targets(*self._run(heatmap))

    def localize_all(self, heatmap: Heatmap) -> tuple[list[Target], list[Target]]:
        """What ``localize`` returns, and the less likely targets that it withholds, down to `LEAST_SCORE`.

        Raises:
            ValueError: as ``localize``.
        """
        return self.decode_all(*self._run(heatmap))

    def decode_all(self, output: LocalizerOutput, heatmap: Heatmap) -> tuple[list[Target], list[Target]]:
        """What the network's output for a heatmap says, as ``localize_all`` does.

        Args:
            output: of one frame.
            heatmap: that it is of, on the checkpoint's grid.
        """
        least = self._least_score
        scores, targets = self._decoded(output, heatmap, min(least, LEAST_SCORE))
        reported = int(np.count_nonzero(scores >= least))
        return targets[:reported], targets[reported:]

    def targets(self, output: LocalizerOutput, heatmap: Heatmap) -> list[Target]:
        """What the network's output for a heatmap says, for those who run the network by other means.

        Args:
            output: of one frame.
            heatmap: that it is of, for velocities and signal-to-noise ratios.
        """
        return self._decoded(output, heatmap, self._least_score)[1]

    @property
    def _least_score(self) -> float:
        """The network's own, from which a target is reported."""
        return self._calibration.raw(self._settings.threshold or self._calibration.threshold)

    def _run(self, heatmap: Heatmap) -> tuple[LocalizerOutput, Heatmap]:
        """The network's output for a heatmap, and the heatmap on the checkpoint's grid."""
        maps, heatmap = self.prepare(heatmap)
        with torch.inference_mode():
            return self._network(maps), heatmap

    def prepare(self, heatmap: Heatmap) -> tuple[Tensor, Heatmap]:
        """(1, C, R, A) input of the network for a heatmap, which the background learns, and the heatmap on its grid.

        Raises:
            ValueError: as ``localize``.
        """
        heatmap = self._matched(heatmap)
        maps = self._input(heatmap)
        return torch.from_numpy(maps)[None].to(self._device), heatmap

    @property
    def network(self) -> LocalizerNetwork:
        """Of the checkpoint."""
        return self._network

    def _decoded(
        self, output: LocalizerOutput, heatmap: Heatmap, least_score: float
    ) -> tuple[NDArray[np.float64], list[Target]]:
        """(N,) the network's own scores, highest first, and the targets."""
        settings, calibration = self._settings, self._calibration
        (found,) = decode(
            output,
            self._network.cells,
            least_score,
            settings.max_targets,
            settings.separation,
            (calibration.range_variance, calibration.azimuth_variance),
        )
        inside = calibration.within(found.range)
        found = found.chosen(inside)
        position, covariance = _on_ground(
            found, settings.radar_height, settings.surface_to_centre, heatmap.grid.reads_cone_angles
        )
        row, column = (np.rint(each).astype(int) for each in heatmap.grid.index(found.range, found.azimuth))
        column = column % heatmap.grid.shape[1]
        snr = heatmap.values[row, column] - heatmap.noise_level
        velocity = np.full(len(row), np.nan) if heatmap.velocity is None else heatmap.velocity[row, column]
        labels = self._labels(found)
        return found.score, [
            Target(
                float(position[number, 0]),
                float(position[number, 1]),
                z=-settings.radar_height,
                covariance=covariance[number],
                radial_velocity=float(velocity[number]),
                snr=float(snr[number]),
                score=float(score),
                label=labels[number],
            )
            for number, score in enumerate(calibration.score(found.score))
        ]

    def _labels(self, found: Detections) -> list[str]:
        """Class name of each detection; empty where no class is likely enough, or none were learned."""
        if found.class_logit is None:
            return [''] * len(found.score)
        probability = self._calibration.class_probability(found.class_logit)
        sure = probability.max(axis=1) >= self._settings.class_threshold
        names = zip(probability.argmax(axis=1), sure, strict=True)
        return [self._network.classes[number] if told else '' for number, told in names]

    def reset(self) -> None:
        """Forget the background: the stream jumped or the radar moved."""
        if self._checkpoint is not None:
            self._input.reset()

    def _use(self, checkpoint: Checkpoint) -> None:
        """Run this checkpoint from now on."""
        self._network = network_of(checkpoint).to(self._device)
        radar_input, interval = checkpoint.radar_input, self._settings.background_interval
        if interval:
            radar_input = replace(radar_input, background_interval=interval)
        self._input = RadarInput(radar_input, checkpoint.radar.grid)
        try:
            self._calibration = LocalizerCalibration.of(checkpoint.calibration)
        except ValueError as error:
            raise CheckpointError(f'{checkpoint.path or "checkpoint"}: {error}') from error
        self._checkpoint = checkpoint

    def _matched(self, heatmap: Heatmap) -> Heatmap:
        """The heatmap on the very grid of the checkpoint; chooses the model where the radar does.

        Raises:
            ValueError: no model for this radar, or one of another radar.
        """
        if self._checkpoint is None:
            file = shipped_model(heatmap.radar)
            if file is None:
                raise ValueError(
                    f'model: expected the path of a checkpoint, for none ships for radar {heatmap.radar!r}'
                )
            self._use(load_checkpoint(file, 'localizer'))
        assert self._checkpoint is not None
        radar = self._checkpoint.radar
        name = self._checkpoint.path.name if self._checkpoint.path else 'checkpoint'
        check_same_radar(radar, RadarGeometry.of(heatmap), 'heatmap', f'the radar that {name} was trained for')
        return replace(heatmap, grid=radar.grid)


def _on_ground(
    found: Detections, height: float, surface_to_centre: float, cone: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 2) m and (N, 2, 2) m^2 of (x, y), with the radar's height above the targets taken out.

    Azimuths as read are cone angles or true ones, see ``PolarGrid.reads_cone_angles``.
    """
    covariance = np.zeros((len(found.range), 2, 2))
    covariance[:, 0, 0] = found.variance[:, 0]
    covariance[:, 1, 1] = found.range**2 * found.variance[:, 1]
    return places_on_ground(found.range, found.azimuth, covariance, height, surface_to_centre, cone=cone)
