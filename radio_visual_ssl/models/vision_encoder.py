# SPDX-License-Identifier: Apache-2.0
"""The vision encoder: an image, or one target cut out of it, to a normalised query that knows what and where."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from radio_visual_ssl.models.polar_layers import Standardization, fourier_features

INSIDE_CHANNELS = 6
"""What a backbone sees: red, green, blue, the mask, and the two image coordinates."""


class VisionBackbone(Protocol):
    """What the encoder asks of a backbone, which is an ``nn.Module``."""

    out_channels: int
    """Channels of the feature map."""

    def __call__(self, images: Tensor) -> Tensor:
        """(B, INSIDE_CHANNELS, H, W) to a feature map (B, out_channels, h, w) that keeps the image's layout."""
        ...


class SmallBackbone(nn.Module):
    """Four convolutions to an eighth of the image's size: 0.1 M parameters, enough for masked targets on a CPU.

    Args:
        input_channels: of the images.
        width: channels of the first layer; the last one has twice as many.
    """

    def __init__(self, input_channels: int, width: int = 32) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise ValueError(f'width: expected a multiple of 4, got {width}')
        self.out_channels = 2 * width
        self.layers = nn.Sequential(
            nn.Conv2d(input_channels, width, 5, 2, 2),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.GroupNorm(4, 2 * width),
            nn.GELU(),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1),
            nn.GELU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_channels, ceil(H / 8), ceil(W / 8))."""
        return self.layers(images)


BACKBONES: dict[str, Callable[[int, int], nn.Module]] = {'small': SmallBackbone}
"""By name: a function from the numbers of input channels and of channels inside to a `VisionBackbone`."""


def make_backbone(name: str, input_channels: int = INSIDE_CHANNELS, width: int = 32) -> nn.Module:
    """A new backbone by name.

    Args:
        name: in `BACKBONES`.
        input_channels: of the images.
        width: channels inside, of its first layer.

    Raises:
        ValueError: no backbone of this name; the message lists those there are.
    """
    if name not in BACKBONES:
        raise ValueError(f'backbone: expected one of {", ".join(sorted(BACKBONES))}, got {name!r}')
    return BACKBONES[name](input_channels, width)


class VisionEncoder(nn.Module):
    """Backbone, then learned heads that look at parts of the feature map and read features and coordinates there.

    Masked contrastive learning: one query per target, of the image with everything but the target blacked out; the
    heads look inside the mask only. Its complement gives the background query. Scene-level learning: the whole image,
    no mask. A head's mean of Fourier features of the image coordinates carries a target's position and extent.

    Args:
        embedding_dim: length D of a query, that of the radio encoder's keys.
        backbone: name in `BACKBONES`, or a module that is a `VisionBackbone`.
        heads: number of places a query is read from.
        coordinate_bands: octaves of the features of each image coordinate.

    Raises:
        ValueError: an unknown backbone or a number below 1.
    """

    def __init__(
        self, embedding_dim: int = 64, backbone: str | nn.Module = 'small', heads: int = 4, coordinate_bands: int = 4
    ) -> None:
        super().__init__()
        numbers = (('embedding_dim', embedding_dim), ('heads', heads), ('coordinate_bands', coordinate_bands))
        for name, value in numbers:
            if value < 1:
                raise ValueError(f'{name}: expected a whole number from 1 on, got {value}')
        self.embedding_dim, self.coordinate_bands = embedding_dim, coordinate_bands
        self.backbone = make_backbone(backbone) if isinstance(backbone, str) else backbone
        channels = int(self.backbone.out_channels)  # type: ignore[arg-type]
        self.look = nn.Conv2d(channels, heads, 1)
        self.head = nn.Sequential(
            nn.Linear(heads * (channels + 4 * coordinate_bands), 2 * embedding_dim),
            nn.GELU(),
            nn.Linear(2 * embedding_dim, embedding_dim),
            Standardization(embedding_dim),
        )

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Queries of unit length.

        Args:
            images: (B, 3, H, W) RGB in [0, 1]; a frame's image once per query.
            masks: (B, 1, H, W) in [0, 1], the pixels that are seen, not empty; None = all.

        Returns:
            (B, D).

        Raises:
            ValueError: images or masks of another shape.
        """
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f'images: expected shape (B, 3, H, W), got {tuple(images.shape)}')
        count, _, height, width = images.shape
        if masks is None:
            masks = images.new_ones(count, 1, height, width)
        if masks.shape != (count, 1, height, width):
            raise ValueError(f'masks: expected shape {(count, 1, height, width)}, got {tuple(masks.shape)}')
        coordinates = image_coordinates(height, width, images).expand(count, -1, -1, -1)
        features = self.backbone(torch.cat(((images - 0.5) * 4 * masks, masks, coordinates), dim=1))
        seen = functional.interpolate(masks, features.shape[-2:], mode='area')
        # a cell that the mask does not touch weighs a millionth: an empty mask gives a query, not NaN
        weights = (self.look(features) + seen.clamp_min(1e-6).log()).flatten(2).softmax(dim=2)
        places = image_coordinates(features.shape[-2], features.shape[-1], features)[0]
        places = fourier_features(places * (math.pi / 2), self.coordinate_bands).flatten(0, 1)
        read = torch.cat((features, places.expand(count, -1, -1, -1)), dim=1).flatten(2)
        return functional.normalize(self.head((weights @ read.transpose(1, 2)).flatten(1)), dim=1)


def image_coordinates(height: int, width: int, like: Tensor) -> Tensor:
    """(1, 2, height, width) pixel centres (v, u) from -1 (upper, left border) to 1, on a tensor's device and dtype."""
    v = (torch.arange(height, device=like.device) + 0.5) * (2 / height) - 1
    u = (torch.arange(width, device=like.device) + 0.5) * (2 / width) - 1
    return torch.stack(torch.meshgrid(v, u, indexing='ij')).to(like.dtype)[None]
