# SPDX-License-Identifier: Apache-2.0
"""What the localizer learns: centre and offset maps of labelled places, and losses that outlying labels do not rule."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.localizer import LocalizerOutput

OFFSET_LOSSES = ('student_t', 'huber')


@dataclass(frozen=True, eq=False)
class LocalizerLabels:
    """Labels as maps over the cells of F frames.

    Attributes:
        centre: (F, rows, columns) 1 in the cell nearest to a label, falling off around it (Gaussian), else 0.
        centre_weight: (F, rows, columns) the label's confidence in the cells where ``centre`` is 1, else 0.
        offset: (F, 2, rows, columns) cells, from a cell's centre to the nearest label's place, where weighted.
        offset_weight: (F, rows, columns) confidence times the label's bump in the cells near a label, else 0.
        class_index: (F, rows, columns) int64, place of the nearest label's class in the network's list, where weighted;
            -1 where there is no label or its class is not known. None = no classes.
    """

    centre: Tensor
    centre_weight: Tensor
    offset: Tensor
    offset_weight: Tensor
    class_index: Tensor | None = None


def encode_labels(
    cells: CellGrid,
    range_: Tensor,
    azimuth: Tensor,
    frame: Tensor,
    frames: int,
    confidence: Tensor | None = None,
    sigma: float = 0.75,
    least_sigma: float = 0.7,
    class_index: Tensor | None = None,
    spread: Tensor | None = None,
) -> LocalizerLabels:
    """Places of several targets in several frames as maps (CenterNet, arXiv 1904.07850, section 3).

    Args:
        cells: of the network.
        range_: (N,) m, as the radar reads it; places outside the grid are left out.
        azimuth: (N,) rad, as the radar reads it.
        frame: (N,) int64, from 0 to frames - 1.
        frames: F.
        confidence: (N,) in [0, 1]; None = 1.
        sigma: m, of the Gaussian, along range and across it.
        least_sigma: cells, lower bound of it, which a wide beam or cell needs.
        class_index: (N,) int64, place of each label's class in the network's list, -1 = unknown; None = no classes.
        spread: (N, 2) m, standard deviation by which the place may be off along the range and across it. Its bump is as
            much wider (in quadrature): a centre where another label of such a target would be costs little, and leads
            to the same place. None = 0.

    Returns:
        Maps of F frames on the device of ``range_``, float32.

    Raises:
        ValueError: shapes that differ, frames out of range, or sigmas that are not positive.
    """
    confidence = torch.ones_like(range_) if confidence is None else confidence
    numbers = torch.full_like(frame, -1) if class_index is None else class_index
    spread = torch.zeros(len(range_), 2) if spread is None else spread
    shapes = {tuple(each.shape) for each in (range_, azimuth, frame, confidence, numbers)}
    if len(shapes) != 1 or range_.dim() != 1:
        raise ValueError(
            f'range_, azimuth, frame, confidence, class_index: expected the same shape (N,), got {sorted(shapes)}'
        )
    if spread.shape != (len(range_), 2):
        raise ValueError(f'spread: expected shape ({len(range_)}, 2), got {tuple(spread.shape)}')
    if len(frame) and (frame.min() < 0 or frame.max() >= frames):
        raise ValueError(f'frame: expected 0 to {frames - 1}, got {int(frame.min())} to {int(frame.max())}')
    if not (sigma > 0 and least_sigma > 0):
        raise ValueError(f'sigma, least_sigma: expected positive numbers, got {sigma} m and {least_sigma} cells')
    device, (rows, columns) = range_.device, cells.shape
    place = cells.index(range_.double().cpu().numpy(), azimuth.double().cpu().numpy())
    row, column = (torch.from_numpy(each) for each in place)
    inside = torch.isfinite(row) & torch.isfinite(column)
    row, column = row[inside], column[inside]
    height, angle = (torch.from_numpy(each) for each in cells.cell_size(row.numpy(), column.numpy()))
    off = spread.double().cpu()[inside]
    inside = inside.to(device)
    size = torch.stack((height, range_[inside].double().cpu().clamp_min(1e-3) * angle), dim=1)
    row, column = row.float().to(device), column.float().to(device)
    frame, confidence = frame[inside], confidence[inside].float()
    near_row, near_column = row.round().clamp(0, rows - 1), column.round()
    near_column = near_column % columns if cells.wraps else near_column.clamp(0, columns - 1)
    down = torch.arange(rows, device=device) - near_row[:, None]
    right = _around(torch.arange(columns, device=device) - near_column[:, None], cells)

    def bumps(width: Tensor) -> tuple[Tensor, Tensor]:
        """(n, rows, columns) Gaussians of widths (n, 2) m, and (F, rows, columns) the highest of each frame."""
        sigma_row, sigma_column = (width / size).clamp_min(least_sigma).float().to(device).unbind(1)
        sigma_column = sigma_column.clamp_max(columns / 4)
        power = (down / sigma_row[:, None])[:, :, None] ** 2 + (right / sigma_column[:, None])[:, None, :] ** 2
        bump = torch.exp(-0.5 * power)
        highest = torch.zeros(frames, rows * columns, device=device)
        highest.scatter_reduce_(0, frame[:, None].expand(-1, rows * columns), bump.flatten(1), 'amax')
        return bump, highest.view(frames, rows, columns)

    narrow, highest = bumps(torch.full_like(off, sigma))
    bump, centre = bumps(torch.hypot(off, torch.tensor(sigma, dtype=torch.float64)))
    # A cell within about one sigma learns the way to the nearest label: wherever a target may be found, all lead to one
    # place. Labels that may be off have more cells and weigh more: with equal weights vans were found twice.
    learns = (narrow >= highest[frame]) & (bump >= math.exp(-0.75))
    label, cell_row, cell_column = learns.nonzero(as_tuple=True)
    offset = torch.zeros(frames, 2, rows, columns, device=device)
    weight, centre_weight = torch.zeros_like(centre), torch.zeros_like(centre)
    offset[frame[label], 0, cell_row, cell_column] = row[label] - cell_row
    offset[frame[label], 1, cell_row, cell_column] = _around(column[label] - cell_column, cells)
    weight[frame[label], cell_row, cell_column] = confidence[label] * bump[learns]
    centre_weight.index_put_((frame, near_row.long(), near_column.long()), confidence)
    classes = None
    if class_index is not None:
        classes = torch.full_like(centre, -1, dtype=torch.int64)
        classes[frame[label], cell_row, cell_column] = class_index[inside][label]
    return LocalizerLabels(centre, centre_weight, offset, weight, classes)


def _around(columns: Tensor, cells: CellGrid) -> Tensor:
    """Differences of columns, the short way where the grid wraps."""
    half = cells.shape[1] / 2
    return torch.remainder(columns + half, cells.shape[1]) - half if cells.wraps else columns


class LocalizerLoss(nn.Module):
    """Penalty-reduced focal loss of the centre map plus a robust loss of the offsets, and one of the classes.

    Centre: CenterNet's equation 1 (arXiv 1904.07850), divided by the sum of confidences. Offset, per axis, in cells:

    - ``student_t``: negative log-likelihood of Student's t with the predicted scale: an outlying label pulls less the
      further it is off, and the scale that is learned is that of the labels that agree;
    - ``huber``: without variance; the network's log-variances stay untrained.

    Classes: cross-entropy in the cells that learn the offset to a label of known class, weighted as the offset is; a
    cell next to a label's own may well be the one that is found. Labels of unknown class teach nothing of classes.

    Args:
        offset_loss: as above.
        degrees_of_freedom: of Student's t; fewer = more robust.
        delta: cells, where Huber's loss turns linear.
        offset_weight: of the offset loss against the centre loss.
        alpha, beta: exponents of the focal loss.
        class_weight: of the class loss against the centre loss.

    Raises:
        ValueError: an unknown loss, or a number that is not positive.
    """

    def __init__(
        self,
        offset_loss: Literal['student_t', 'huber'] = 'student_t',
        degrees_of_freedom: float = 3.0,
        delta: float = 0.5,
        offset_weight: float = 1.0,
        alpha: float = 2.0,
        beta: float = 4.0,
        class_weight: float = 3.0,
    ) -> None:
        super().__init__()
        if offset_loss not in OFFSET_LOSSES:
            raise ValueError(f'offset_loss: expected one of {", ".join(OFFSET_LOSSES)}, got {offset_loss!r}')
        numbers = {'degrees_of_freedom': degrees_of_freedom, 'delta': delta, 'alpha': alpha, 'beta': beta}
        for name, value in numbers.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f'{name}: expected a positive number, got {value}')
        for name, value in (('offset_weight', offset_weight), ('class_weight', class_weight)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f'{name}: expected 0 or more, got {value}')
        self.offset_loss, self.degrees_of_freedom, self.delta = offset_loss, degrees_of_freedom, delta
        self.offset_weight, self.class_weight, self.alpha, self.beta = offset_weight, class_weight, alpha, beta

    def forward(self, output: LocalizerOutput, labels: LocalizerLabels, visible: Tensor | None = None) -> Tensor:
        """The loss of F frames.

        Args:
            output: of the network.
            labels: see `encode_labels`.
            visible: (F, rows, columns) or broadcastable, in [0, 1]: weight of each cell in the centre loss; 0 where the
                camera cannot see, so that no label could be there. Cells that hold a label always count.

        Returns:
            Scalar; an empty frame adds what its false centres cost.

        Raises:
            ValueError: maps of different shapes.
        """
        if output.centre.shape != labels.centre.shape:
            raise ValueError(
                f'labels: expected shape {tuple(output.centre.shape)} of the output, got {tuple(labels.centre.shape)}'
            )
        count = labels.centre_weight.sum().clamp_min(1.0)
        loss = self._centre(output.centre.float(), labels, visible).sum() / count
        if self.offset_weight:
            loss = loss + self.offset_weight * _mean(self._offset(output, labels), labels.offset_weight[:, None])
        if self.class_weight and output.class_logit is not None and labels.class_index is not None:
            known = labels.class_index >= 0
            cost = functional.cross_entropy(
                output.class_logit.float(), labels.class_index.clamp_min(0), reduction='none'
            )
            loss = loss + self.class_weight * _mean(cost, labels.offset_weight * known)
        return loss

    def _centre(self, logit: Tensor, labels: LocalizerLabels, visible: Tensor | None) -> Tensor:
        """(F, rows, columns) focal loss."""
        probability = logit.sigmoid()
        hit = -functional.logsigmoid(logit) * (1 - probability) ** self.alpha * labels.centre_weight
        false = -functional.logsigmoid(-logit) * probability**self.alpha * (1 - labels.centre) ** self.beta
        return hit + (false if visible is None else false * visible)

    def _offset(self, output: LocalizerOutput, labels: LocalizerLabels) -> Tensor:
        """(F, 2, rows, columns) loss of the offsets."""
        error = output.offset.float() - labels.offset
        if self.offset_loss == 'huber':
            return functional.huber_loss(error, torch.zeros_like(error), reduction='none', delta=self.delta)
        log_variance, freedom = output.log_variance.float(), self.degrees_of_freedom
        tail = torch.log1p(error**2 / (freedom * log_variance.exp()))
        return 0.5 * log_variance + 0.5 * (freedom + 1) * tail


def _mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; less where the weights sum up to less than one."""
    return (loss * weight).sum() / weight.sum().clamp_min(1.0)
