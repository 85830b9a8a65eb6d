# SPDX-License-Identifier: Apache-2.0
"""The contrastive model: both encoders, and where in the heatmap they see what a mask shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radio_visual_ssl.learning.contrastive_data import small_images, small_masks
from radio_visual_ssl.learning.recording_inputs import recording_inputs
from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.models.attention import attention_maps, contrast_maps
from radio_visual_ssl.models.cell_grid import CellGrid
from radio_visual_ssl.models.checkpoint import Checkpoint, CheckpointError, load_checkpoint, misfit
from radio_visual_ssl.models.contrastive import near_in_time
from radio_visual_ssl.models.radar_input import RadarInput, RadarInputSettings
from radio_visual_ssl.models.radio_encoder import RadioEncoder
from radio_visual_ssl.models.vision_encoder import VisionEncoder, make_backbone
from radio_visual_ssl.radar.geometry import RadarGeometry
from radio_visual_ssl.radar.grid import PolarGrid

Objective = Literal['mcl', 'vicreg', 'scl']
"""What the encoders are trained by, which says how their attention is read.

- ``mcl``, masked contrastive learning: a target's query is to find its frame among others. Read by the attention of
  each mask's own query over its frame, `attention_maps`.
- ``vicreg``, without negatives: what a frame answers to all queries is to be its own target's. Read as mcl.
- ``scl``, scene-level contrastive learning: the whole picture is to find its frame. Read by the attention of the whole
  picture's query minus its mean over frames of other times, `contrast_maps`; all masks of a frame share it.
"""

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

REFERENCE_FRAMES = 24
"""Frames of a recording whose attention says what any frame would answer, for scene-level models."""


@dataclass(frozen=True)
class EncoderSettings:
    """Size of the encoders, see `RadioEncoder` and `VisionEncoder`.

    Attributes:
        embedding_dim: length of keys and queries.
        radio_width: channels inside of the radio encoder.
        kernels, strides: of its convolutions, (range, azimuth) each.
        coordinate_bands: octaves of its coordinate features.
        symmetric: mirror-symmetric kernels.
        backbone: of the vision encoder: 'small', or the name of a model of timm.
        backbone_width: channels of the first layer of the small one.
        backbone_weights: file of weights that a model of timm begins with; empty = random ones.
        heads: places that a query is read from.
        image_width: px, to which pictures and masks are reduced.
    """

    embedding_dim: int = 32
    radio_width: int = 16
    kernels: tuple[tuple[int, int], ...] = ((5, 5), (3, 3))
    strides: tuple[tuple[int, int], ...] = ((4, 2), (1, 1))
    coordinate_bands: int = 6
    symmetric: bool = True
    backbone: str = 'small'
    backbone_width: int = 16
    backbone_weights: str = ''
    heads: int = 4
    image_width: int = 40

    def __post_init__(self) -> None:
        """Lists become tuples; the encoders check the values."""
        for name in ('kernels', 'strides'):
            pairs = tuple((each, each) if isinstance(each, int) else tuple(each) for each in getattr(self, name))
            object.__setattr__(self, name, pairs)
        if self.image_width < 8:
            raise ValueError(f'image_width: expected 8 px or more, got {self.image_width}')


class Encoders(nn.Module):
    """Both encoders.

    Args:
        grid: of the radio encoder's input.
        channels: of it.
        settings: sizes.
    """

    def __init__(self, grid: PolarGrid, channels: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.radio = RadioEncoder(
            grid,
            channels,
            settings.embedding_dim,
            settings.radio_width,
            settings.kernels,
            settings.strides,
            settings.coordinate_bands,
            settings.symmetric,
        )
        backbone = make_backbone(settings.backbone, width=settings.backbone_width, weights=settings.backbone_weights)
        self.vision = VisionEncoder(settings.embedding_dim, backbone, settings.heads)


@dataclass(frozen=True, eq=False)
class ContrastiveModel:
    """Trained encoders with what they were trained on.

    Attributes:
        encoders: in evaluation mode.
        objective: see `Objective`.
        settings: sizes.
        radar: that they were trained for.
        radar_input: how heatmaps become the radio encoder's input.
        temperature: of the loss.
        device: that they run on.
    """

    encoders: Encoders
    objective: Objective
    settings: EncoderSettings
    radar: RadarGeometry
    radar_input: RadarInputSettings
    temperature: float
    device: torch.device

    @classmethod
    def load(cls, path: str | Path, device: str = 'auto') -> 'ContrastiveModel':
        """Read a checkpoint of kind 'contrastive'.

        Raises:
            CheckpointError: another file, or one whose weights do not fit its own settings.
        """
        return cls.of(load_checkpoint(path, 'contrastive'), device)

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: str = 'auto') -> 'ContrastiveModel':
        """The model of a checkpoint.

        Raises:
            CheckpointError: see `load`.
        """
        about: Mapping[str, Any] = checkpoint.architecture
        try:
            settings = EncoderSettings(**about['encoders'])
            radar_input = RadarInput(checkpoint.radar_input, checkpoint.radar.grid)
            encoders = Encoders(radar_input.grid, radar_input.channels, settings)
            encoders.load_state_dict(dict(checkpoint.weights))
            objective, temperature = about['objective'], float(about['temperature'])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f'{checkpoint.path}: expected weights that fit the settings beside them, got {misfit(error)}'
            ) from error
        if objective not in OBJECTIVES:
            raise CheckpointError(
                f'{checkpoint.path}: objective: expected one of {", ".join(OBJECTIVES)}, got {objective!r}'
            )
        name = ('cuda' if torch.cuda.is_available() else 'cpu') if device == 'auto' else device
        return cls(
            encoders.to(name).eval(),
            objective,
            settings,
            checkpoint.radar,
            checkpoint.radar_input,
            temperature,
            torch.device(name),
        )

    @property
    def cells(self) -> CellGrid:
        """Where the attention is."""
        return self.encoders.radio.cells

    @torch.no_grad()
    def keys(self, maps: Tensor) -> Tensor:
        """Keys (B, D, rows, columns) of inputs (B, C, R, A)."""
        return self.encoders.radio(maps.to(self.device))

    @torch.no_grad()
    def queries(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Queries (B, D) of images (B, 3, h, w) in [0, 1], of ``settings.image_width``, and masks (B, 1, h, w)."""
        return self.encoders.vision(images.to(self.device), None if masks is None else masks.to(self.device))

    def attention(self, recording: Recording, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """Attention of all masks of some frames, one frame's after the other, read as `Objective` says.

        That of a scene-level model has local peaks at targets without saying which.

        Args:
            recording: of the radar that the model was trained for.
            frames: numbers of frames.

        Returns:
            (I, rows, columns) cosines over the temperature.
        """
        masks = [np.arange(*recording.mask_starts[frame : frame + 2]) for frame in frames]
        place = np.repeat(np.arange(len(frames)), [len(some) for some in masks])
        instances = np.concatenate(masks) if masks else np.zeros(0, np.int64)
        if not instances.size:
            return np.zeros((0, *self.cells.shape), dtype=np.float32)
        if self.objective != 'scl':
            keys = self._keys(recording, frames)
            images = self._images(recording, frames[place])
            cut = torch.from_numpy(small_masks(recording, self.settings.image_width)[instances])[:, None]
            queries = self.queries(images, cut.float() / 255)
            maps = attention_maps(keys, queries, torch.from_numpy(place).to(self.device))
        else:
            others = np.unique(np.linspace(0, len(recording) - 1, REFERENCE_FRAMES).round().astype(np.int64))
            joint = np.concatenate((frames, others))
            near = near_in_time(torch.from_numpy(np.asarray(recording.stamps_ns)[joint]), 1.0)
            near[:, : len(frames)] = True  # only the reference frames are one
            queries = self.queries(self._images(recording, frames))
            own = torch.arange(len(frames), device=self.device)
            maps = contrast_maps(self._keys(recording, joint), queries, own, near.to(self.device))[place]
        return (maps / self.temperature).float().cpu().numpy()

    def _keys(self, recording: Recording, frames: NDArray[np.int64]) -> Tensor:
        inputs = recording_inputs(recording, self.radar_input)
        return self.keys(torch.from_numpy(inputs[frames].astype(np.float32)))

    def _images(self, recording: Recording, frames: NDArray[np.int64]) -> Tensor:
        images = small_images(recording, self.settings.image_width)[frames]
        return torch.from_numpy(images).movedim(3, 1).float() / 255
