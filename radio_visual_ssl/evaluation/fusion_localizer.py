# SPDX-License-Identifier: Apache-2.0
"""Runs a fusion checkpoint on recorded frames: the radar's heatmap and the camera's picture together."""

import torch

from radio_visual_ssl.bags.reader import Frame
from radio_visual_ssl.models.checkpoint import Checkpoint, load_checkpoint
from radio_visual_ssl.models.network_localizer import NetworkLocalizer
from radio_visual_ssl.models.network_settings import NetworkLocalizerSettings, model_file
from radio_visual_ssl.models.picture_input import PictureInput, PictureInputSettings
from radio_visual_ssl.radar.target import Target


class FusionLocalizer:
    """Finds targets with a network that sees both sensors; for evaluation, not live.

    Args:
        settings: ``model`` names a checkpoint of kind fusion.

    Raises:
        ValueError: no such checkpoint, one of another kind, or device cuda without one.
    """

    def __init__(self, settings: NetworkLocalizerSettings) -> None:
        checkpoint = load_checkpoint(model_file(settings.model), 'fusion')
        self._radio = NetworkLocalizer(settings, checkpoint=checkpoint)
        self._pictures = PictureInput(PictureInputSettings(**checkpoint.architecture['picture']))

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What is run."""
        return self._radio.checkpoint

    @property
    def needs_velocity(self) -> bool:
        """Whether it refuses heatmaps without velocities."""
        return self._radio.needs_velocity

    def localize_frame(self, frame: Frame) -> tuple[list[Target], list[Target]]:
        """Targets in a frame, and the less likely ones that are withheld, each highest score first.

        A frame without a picture is one in which the camera sees nothing.

        Raises:
            ValueError: another radar than the checkpoint's, or cells that are NaN or infinite.
        """
        maps, heatmap = self._radio.prepare(frame.heatmap)
        picture = torch.from_numpy(self._pictures(frame.image))[None].to(maps.device)
        with torch.inference_mode():
            output = self._radio.network(maps, picture)
        return self._radio.decode_all(output, heatmap)

    def reset(self) -> None:
        """Forget both backgrounds: the stream jumped, or a sensor moved."""
        self._radio.reset()
        self._pictures.reset()
