# SPDX-License-Identifier: Apache-2.0
"""The localizer network with a camera beside the radar: what can be reached where both see. A baseline."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from radio_visual_ssl.models.cell_grid import CellGrid, Pair
from radio_visual_ssl.models.localizer import LocalizerNetwork, LocalizerOutput, output_of
from radio_visual_ssl.models.picture_input import CHANNELS
from radio_visual_ssl.models.polar_layers import ChannelNorm, check_maps, fourier_features
from radio_visual_ssl.radar.grid import PolarGrid

_BANDS = 4  # octaves of the place features of queries and keys


class FusionNetwork(LocalizerNetwork):
    """A `LocalizerNetwork` that adds to each cell, behind the first convolution, what the camera sees of its place.

    A small convolutional network describes parts of the picture. Each cell of the radar attends to them (scaled
    dot-product attention, arXiv 1706.03762) by places alone: its query knows its range and azimuth, the keys their
    column and row. The weights are thus the same in all frames, a projection from the radar to the picture that is
    learned in place of a calibration, and hold for one pose of the camera.

    Args:
        grid, input_channels, width, kernel, stride, dilations, coordinate_bands, classes: see `LocalizerNetwork`.
        picture_size: rows and columns, px.
        picture_width: channels of the description.
        place_width: of queries and keys.

    Attributes:
        picture_size: as given.
    """

    query_places: Tensor
    mirrored_places: Tensor
    key_places: Tensor

    sees_camera = True

    def __init__(
        self,
        grid: PolarGrid,
        input_channels: int = 2,
        width: int = 32,
        kernel: Pair = 5,
        stride: Pair = 2,
        dilations: Sequence[Pair] = (1, 2, 4, 2, 1),
        coordinate_bands: int = 2,
        picture_size: tuple[int, int] = (60, 80),
        picture_width: int = 24,
        place_width: int = 32,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(grid, input_channels, width, kernel, stride, dilations, coordinate_bands, classes)
        for name, value in (('picture_width', picture_width), ('place_width', place_width)):
            if value < 1:
                raise ValueError(f'{name}: expected a whole number from 1 on, got {value}')
        self.picture_size = picture_size
        self.camera = nn.Sequential(
            nn.Conv2d(CHANNELS, picture_width, 5, 2, 2),
            ChannelNorm(picture_width),
            nn.GELU(),
            nn.Conv2d(picture_width, picture_width, 3, (2, 1), 1),
            ChannelNorm(picture_width),
            nn.GELU(),
            nn.Conv2d(picture_width, picture_width, 3, 1, 1),
            ChannelNorm(picture_width),
        )
        with torch.no_grad():
            rows, columns = self.camera(torch.zeros(1, CHANNELS, *picture_size)).shape[2:]
        places = 4 * _BANDS
        self.query, self.key = (
            nn.Sequential(nn.Linear(places, place_width), nn.GELU(), nn.Linear(place_width, place_width))
            for _ in range(2)
        )
        self.register_buffer('query_places', _cell_places(self.cells, 1.0), persistent=False)
        self.register_buffer('mirrored_places', _cell_places(self.cells, -1.0), persistent=False)
        row, column = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing='ij')
        self.register_buffer('key_places', _place_features(row.flatten(), column.flatten()), persistent=False)
        self.camera_to_radio = nn.Linear(picture_width, width)
        self.camera_head = nn.Conv2d(width, 5, 1)
        nn.init.normal_(self.camera_head.weight, std=0.01)

    def forward(
        self, heatmaps: Tensor, pictures: Tensor | None = None, mirrored: Tensor | None = None
    ) -> LocalizerOutput:
        """What each cell holds.

        Args:
            heatmaps: (B, input_channels, range_bins, azimuth_bins), finite.
            pictures: (B, 4, rows, columns), see `PictureInput`.
            mirrored: (B,) bool, frames whose heatmaps, but not their pictures, are seen in a mirror; None = none is.

        Raises:
            ValueError: heatmaps or pictures of another shape, or no pictures.
        """
        return self.both(heatmaps, pictures, mirrored)[0]

    def both(
        self, heatmaps: Tensor, pictures: Tensor | None = None, mirrored: Tensor | None = None
    ) -> tuple[LocalizerOutput, LocalizerOutput]:
        """What each cell holds, and what of it the camera alone tells.

        The latter is for training: where the radar explains most of the loss, nothing else teaches where to look.

        Args:
            heatmaps: see ``forward``.
            pictures: see ``forward``.
            mirrored: see ``forward``.

        Raises:
            ValueError: as ``forward``.
        """
        check_maps('heatmaps', heatmaps, self.input_channels, self.grid.shape)
        if pictures is None:
            raise ValueError('pictures: expected one for each heatmap, got none')
        check_maps('pictures', pictures, CHANNELS, self.picture_size)
        seen = self.camera(pictures).flatten(2).transpose(1, 2)
        if mirrored is None:
            described = self._attended(self.query_places, seen)
        else:
            described = seen.new_empty(len(seen), len(self.query_places), seen.shape[2])
            for places, chosen in ((self.query_places, ~mirrored), (self.mirrored_places, mirrored)):
                described = described.index_put((chosen,), self._attended(places, seen[chosen]))
        added = self.camera_to_radio(described).transpose(1, 2).unflatten(2, self.cells.shape)
        maps = self.layers[: self.head_layers](heatmaps) + added
        return output_of(self.layers[self.head_layers :](maps)), output_of(self.camera_head(added))

    def _attended(self, places: Tensor, seen: Tensor) -> Tensor:
        """(B, cells, picture_width) of (B, parts, picture_width), by the places (cells, features) of the cells."""
        query, key = self.query(places), self.key(self.key_places)
        return torch.softmax(query @ key.T, dim=-1) @ seen


def _cell_places(cells: CellGrid, side: float) -> Tensor:
    """(cells, features) of range and azimuth, the latter seen in a mirror where ``side`` is -1."""
    range_ = torch.from_numpy(cells.range / cells.grid.range[-1]).float() * 2 - 1
    azimuth = torch.from_numpy(cells.azimuth).float()
    across = azimuth / torch.pi if cells.wraps else azimuth.sin()
    row, column = torch.meshgrid(range_, side * across, indexing='ij')
    return _place_features(row.flatten(), column.flatten())


def _place_features(row: Tensor, column: Tensor) -> Tensor:
    """(N, features) of places from -1 to 1."""
    both = [fourier_features(each * (torch.pi / 2), _BANDS) for each in (row, column)]
    return torch.cat(both).T.contiguous()
