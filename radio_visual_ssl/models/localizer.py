# SPDX-License-Identifier: Apache-2.0
"""The radio localizer: heatmaps to target centres, several per frame, each with a score and variances of its place."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radio_visual_ssl.models.attention import is_local_maximum
from radio_visual_ssl.models.cell_grid import CellGrid, Pair
from radio_visual_ssl.models.polar_layers import ChannelNorm, PolarConv2d, PolarCoordinates, check_maps
from radio_visual_ssl.radar.grid import PolarGrid

RARE = -4.6
"""Log-odds of a target in a cell before training, 1 %: the focal loss starts small (arXiv 1708.02002, section 3.3)."""

LOG_VARIANCE_LIMIT = 8.0
"""Predicted standard deviations stay between 1/55 and 55 cells."""

_PLACE_MAPS = 5  # of the last layer, before those of the classes


class LocalizerOutput(NamedTuple):
    """What the network says of each cell.

    Attributes:
        centre: (B, rows, columns) log-odds that a target's centre is in the cell.
        offset: (B, 2, rows, columns) from the cell's centre to the target's, along (range, azimuth), in cells.
        log_variance: (B, 2, rows, columns) of the offset, log cells^2.
        class_logit: (B, classes, rows, columns) whose softmax is the probability of each class of a target in the cell;
            None where no classes were learned.
    """

    centre: Tensor
    offset: Tensor
    log_variance: Tensor
    class_logit: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Detections:
    """Targets found in one frame, highest score first; numpy arrays of N.

    Attributes:
        score: in [0, 1].
        range, azimuth: m and rad, as the radar reads them (slant range; anticlockwise from x forward).
        variance: (N, 2) m^2 and rad^2 of (range, azimuth).
        class_logit: (N, classes), see `LocalizerOutput`; None where no classes were learned.
    """

    score: NDArray[np.float64]
    range: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    variance: NDArray[np.float64]
    class_logit: NDArray[np.float64] | None = None

    def chosen(self, rows: NDArray[np.bool_]) -> 'Detections':
        """Some of them.

        Args:
            rows: (N,) bool.
        """
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        some: dict[str, Any] = {name: None if value is None else value[rows] for name, value in values.items()}
        return Detections(**some)


class _Residual(nn.Module):
    """Two convolutions, the first dilated, added to the input; the grid stays."""

    def __init__(self, cells: CellGrid, width: int, dilation: Pair) -> None:
        super().__init__()
        first = PolarConv2d(cells, width, width, 3, dilation=dilation)
        self.cells = first.cells
        self.layers = nn.Sequential(ChannelNorm(width), nn.GELU(), first, nn.GELU(), nn.Conv2d(width, width, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)


class LocalizerNetwork(nn.Module):
    """One strided convolution, dilated residual blocks, and per cell a centre, an offset and its variance.

    After CenterNet (arXiv 1904.07850): targets are local maxima of a centre map, their sub-cell place is regressed. The
    receptive field may be wide here, unlike the encoder's: a label says where the target is. All convolutions keep the
    grid, so that cells decode exactly, and wrap with it.

    Args:
        grid: of the heatmaps.
        input_channels: maps per frame: `log_power` of the heatmap and of a background-subtracted one, Doppler.
        width: channels inside.
        kernel, stride: of the first convolution; the stride is the output's.
        dilations: of the residual blocks.
        coordinate_bands: octaves of the coordinate features, few: a localizer should not know places by heart.
        classes: names of what targets may be, at least two; () = what a target is is not told.

    Attributes:
        grid, input_channels, classes: as given.
        cells: the output's cells.
        head_layers: how many of ``layers`` come before the residual blocks.
        sees_camera: whether it takes a picture beside each heatmap.

    Raises:
        ValueError: numbers out of range; the message names the field.
    """

    sees_camera: ClassVar[bool] = False

    def __init__(
        self,
        grid: PolarGrid,
        input_channels: int = 2,
        width: int = 32,
        kernel: Pair = 5,
        stride: Pair = 2,
        dilations: Sequence[Pair] = (1, 2, 4, 2, 1),
        coordinate_bands: int = 2,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        check_classes(classes)
        self.classes = tuple(classes)
        for name, value in (('input_channels', input_channels), ('width', width)):
            if value < 1:
                raise ValueError(f'{name}: expected a whole number from 1 on, got {value}')
        self.grid, self.input_channels = grid, input_channels
        stem = PolarConv2d(CellGrid.of(grid), input_channels, width, kernel, stride)
        coordinates = PolarCoordinates(stem.cells, coordinate_bands)
        layers: list[nn.Module] = [stem, coordinates, nn.Conv2d(width + coordinates.channels, width, 1)]
        self.head_layers = len(layers)
        cells = stem.cells
        for dilation in dilations:
            block = _Residual(cells, width, dilation)
            layers.append(block)
            cells = block.cells
        self.cells = cells
        output = nn.Conv2d(width, _PLACE_MAPS + len(self.classes), 1)
        nn.init.normal_(output.weight, std=0.01)
        self.layers = nn.Sequential(*layers, ChannelNorm(width), nn.GELU(), output)

    @property
    def receptive_field(self) -> tuple[int, int]:
        """Heatmap bins along (range, azimuth) that a cell sees."""
        return self.cells.receptive_field

    def forward(self, heatmaps: Tensor) -> LocalizerOutput:
        """What each cell holds.

        Args:
            heatmaps: (B, input_channels, range_bins, azimuth_bins), finite.

        Raises:
            ValueError: heatmaps of another shape.
        """
        check_maps('heatmaps', heatmaps, self.input_channels, self.grid.shape)
        return output_of(self.layers(heatmaps))


def check_classes(classes: Sequence[str]) -> None:
    """Refuse names that tell nothing apart.

    Raises:
        ValueError: a single one, one twice, or an empty one.
    """
    if len(classes) == 1 or len(set(classes)) < len(classes) or '' in classes:
        raise ValueError(f'classes: expected two or more names, each once, or none, got {tuple(classes)!r}')


def output_of(maps: Tensor) -> LocalizerOutput:
    """The parts of the last layer's (B, 5 + classes, rows, columns)."""
    return LocalizerOutput(
        maps[:, 0] + RARE,
        maps[:, 1:3],
        maps[:, 3:_PLACE_MAPS].clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT),
        maps[:, _PLACE_MAPS:] if maps.shape[1] > _PLACE_MAPS else None,
    )


def decode(
    output: LocalizerOutput,
    cells: CellGrid,
    threshold: float = 0.1,
    count: int = 32,
    separation: float = 1.0,
    variance_scale: float | tuple[float, float] = 1.0,
) -> list[Detections]:
    """Targets of each frame: local maxima of the centre map, moved by their offsets, the best of near ones kept.

    Range and azimuth err independently, in cells: their variances become those in m and rad by the size of the cell.

    Args:
        output: of `LocalizerNetwork`, B frames.
        cells: of the network.
        threshold: lowest score.
        count: most targets per frame.
        separation: m; of two targets that decode to places nearer than this, the one with the higher score stays.
        variance_scale: factor of the predicted variances, one for both or (range, azimuth).

    Returns:
        B detections.

    Raises:
        ValueError: a threshold outside [0, 1], a count below 1, a negative separation, or a scale that is not positive.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f'threshold: expected a score from 0 to 1, got {threshold}')
    if count < 1:
        raise ValueError(f'count: expected a whole number from 1 on, got {count}')
    if not separation >= 0:
        raise ValueError(f'separation: expected 0 m or more, got {separation}')
    scales = np.broadcast_to(np.asarray(variance_scale, dtype=np.float64), 2)
    if not np.all(scales > 0):
        raise ValueError(f'variance_scale: expected a positive number, got {variance_scale}')
    score = output.centre.detach().float().sigmoid()
    kept = torch.where(is_local_maximum(score, cells.wraps), score, -1.0).flatten(1)
    # one more candidate for each that a nearer one may take away
    scores, flat = kept.topk(min(2 * count, kept.shape[1]), dim=1)
    offset = output.offset.detach().float().flatten(2).gather(2, flat[:, None].expand(-1, 2, -1))
    variance = output.log_variance.detach().float().flatten(2).gather(2, flat[:, None].expand(-1, 2, -1)).exp()
    classes = None
    if output.class_logit is not None:
        logit = output.class_logit.detach().float().flatten(2)
        classes = logit.gather(2, flat[:, None].expand(-1, logit.shape[1], -1)).cpu().numpy().astype(np.float64)
    row = (flat // cells.shape[1]).cpu().numpy() + offset[:, 0].cpu().numpy()
    column = (flat % cells.shape[1]).cpu().numpy() + offset[:, 1].cpu().numpy()
    range_, azimuth = cells.decode(row, column)
    height, angle = cells.cell_size(row, column)
    spread = variance.cpu().numpy().astype(np.float64) * np.stack((height, angle), axis=1) ** 2 * scales[:, None]
    position = np.stack((range_ * np.cos(azimuth), range_ * np.sin(azimuth)), axis=-1)
    detections = []
    for frame, frame_scores in enumerate(scores.cpu().numpy().astype(np.float64)):
        chosen = _separated(position[frame], frame_scores, threshold, separation)[:count]
        detections.append(
            Detections(
                frame_scores[chosen],
                range_[frame, chosen],
                azimuth[frame, chosen],
                spread[frame][:, chosen].T,
                None if classes is None else classes[frame][:, chosen].T,
            )
        )
    return detections


def _separated(
    position: NDArray[np.float64], scores: NDArray[np.float64], threshold: float, separation: float
) -> NDArray[np.int64]:
    """Indices of candidates, given highest score first, that no better one is too near to."""
    candidates = np.flatnonzero(scores >= threshold)
    distance = np.linalg.norm(position[candidates, None] - position[None, candidates], axis=-1)
    alive = np.ones(len(candidates), dtype=bool)
    for best in range(len(candidates)):
        if alive[best]:
            alive[best + 1 :] &= distance[best, best + 1 :] >= separation
    return candidates[alive]
