# SPDX-License-Identifier: Apache-2.0
"""The vision encoder: an image, or one target cut out of it, to a normalised query that knows what and where."""

import math
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
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


class TimmBackbone(nn.Module):
    """The first stages of a model of the timm library (Wightman, "PyTorch Image Models", 2019).

    Masked targets are small: of the model's feature maps the deepest is taken that has at least an eighth of the
    image's size, or else the first one. Nothing is downloaded.

    Args:
        name: of the model in timm, such as ``'resnet18'``.
        input_channels: of the images; weights for three are spread over them.
        weights: file of weights for the whole model (.safetensors, or .pth, of which weights alone are read); empty =
            random ones.

    Raises:
        ValueError: timm is not installed, it has no such model, the model has no feature maps, or the file is missing
            or does not fit it.
    """

    def __init__(self, name: str, input_channels: int = INSIDE_CHANNELS, weights: str | Path = '') -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            expected = f'expected one of {", ".join(sorted(BACKBONES))}, or a model of the Python package timm'
            raise ValueError(f'backbone: {expected}, which cannot be imported ({error}), got {name!r}') from error
        if not timm.is_model(name):
            near = ', '.join(timm.list_models(f'*{name[:4]}*')[:5])
            raise ValueError(f'backbone: expected a model of timm ({near or "see timm.list_models()"}), got {name!r}')
        create = partial(timm.create_model, name, in_chans=input_channels, features_only=True)
        try:
            reductions = create().feature_info.reduction()
        except (RuntimeError, AttributeError, AssertionError, NotImplementedError) as error:
            raise ValueError(f'backbone: expected a model with feature maps, got {name!r}: {error}') from error
        level = max((number for number, each in enumerate(reductions) if each <= _REDUCTION), default=0)
        begun = {}
        if weights:
            state = _whole_weights(timm, name, weights)
            begun = {'pretrained': True, 'pretrained_cfg_overlay': {'state_dict': state, 'custom_load': False}}
        try:
            self.model: Any = create(out_indices=(level,), **begun)
        except (RuntimeError, KeyError) as error:
            raise ValueError(f'backbone_weights: expected weights of {name}, got {weights}: {error}') from error
        self.out_channels = int(self.model.feature_info.channels()[0])
        self._freeze_unused(name, input_channels)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_channels, h, w)."""
        return self.model(images)[0]

    def _freeze_unused(self, name: str, input_channels: int) -> None:
        """Stages that the model keeps although nothing asks for them: several processes would wait for their turn.

        Raises:
            ValueError: the model does not take pictures of any size, or its maps have another layout.
        """
        self.model.eval()
        try:
            features = self.model(torch.zeros(1, input_channels, 30, 40))[0]
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(f'backbone: expected a model of pictures of any size, got {name!r}: {error}') from error
        if features.dim() != 4 or features.shape[1] != self.out_channels:
            shape = f'(1, {self.out_channels}, h, w)'
            raise ValueError(
                f'backbone: expected a model with feature maps {shape}, got {name!r} with {tuple(features.shape)}'
            )
        parameters = list(self.model.parameters())
        used = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
        for parameter, grad in zip(parameters, used, strict=True):
            parameter.requires_grad_(grad is not None)
        self.model.train()


def _whole_weights(timm: Any, name: str, file: str | Path) -> dict[str, Any]:
    """Weights of a model of timm.

    Raises:
        ValueError: the file is missing, is no file of weights, or those of another model.
    """
    if not Path(file).is_file():
        raise ValueError(f'backbone_weights: expected a file, got {str(file)!r}')
    try:
        state = timm.models.load_state_dict(str(file), weights_only=True)
    except (OSError, RuntimeError, ValueError, AttributeError, SafetensorError, pickle.UnpicklingError) as error:
        raise ValueError(f'backbone_weights: expected weights of {name}, got {file}: {error}') from error
    wanted = set(timm.create_model(name, num_classes=0).state_dict())
    missing = sorted(wanted - set(state))
    if len(missing) > len(wanted) / 2:
        raise ValueError(f'backbone_weights: expected weights of {name}, got {file} without {", ".join(missing[:3])}')
    return state


BACKBONES: dict[str, Callable[[int, int], nn.Module]] = {'small': SmallBackbone}
"""By name: a function from the numbers of input channels and of channels inside to a `VisionBackbone`."""

_REDUCTION = 8  # of a feature map's size against the image's, at most


def make_backbone(
    name: str, input_channels: int = INSIDE_CHANNELS, width: int = 32, weights: str | Path = ''
) -> nn.Module:
    """A new backbone by name.

    Args:
        name: in `BACKBONES`, or of a model of timm.
        input_channels: of the images.
        width: channels inside, of the first layer of those in `BACKBONES`.
        weights: file to begin with, for models of timm.

    Raises:
        ValueError: see `TimmBackbone`, or weights for another backbone.
    """
    if name not in BACKBONES:
        return TimmBackbone(name, input_channels, weights)
    if weights:
        raise ValueError(f'backbone_weights: expected none for {name!r}, got {str(weights)!r}')
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
