# SPDX-License-Identifier: Apache-2.0
"""What the networks see of a recording's frames: made once, kept beside its other arrays, memory-mapped."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radio_visual_ssl.learning.recordings import Recording, derived_array
from radio_visual_ssl.models import picture_input, radar_input
from radio_visual_ssl.models.picture_input import PictureInput, PictureInputSettings
from radio_visual_ssl.models.radar_input import RadarInputSettings, stream_inputs


def recording_inputs(recording: Recording, settings: RadarInputSettings) -> NDArray[np.float16]:
    """(N, C, R, A) radar inputs of a recording's frames.

    Raises:
        ValueError: as `RadarInput`; the message names the bag.
    """
    key = f'radar input {radar_input.VERSION}: {"+".join(settings.channels)}, up to {settings.max_range!r} m'
    if 'change' in settings.channels:
        key += f', background {settings.background_frames} x {settings.background_interval}'
    if 'moving' in settings.channels:
        key += f', moving {settings.moving_speed!r} m/s'
    if 'velocity' in settings.channels:
        key += f', velocity over {settings.velocity_scale!r} m/s from {settings.velocity_min_snr!r} dB on'
    heatmaps = (recording.heatmap(index) for index in range(len(recording)))
    if recording.velocity is not None:
        # a recorder that began amid a frame has missed the velocities of the first, which are then unknown (NaN)
        velocities = iter(recording.velocity)
        heatmaps = (replace(heatmap, velocity=next(velocities)) for heatmap in heatmaps)
    try:
        return derived_array(recording, key, lambda: stream_inputs(heatmaps, settings, recording.grid))
    except ValueError as error:
        raise ValueError(f'{recording.path}: {error}') from error


def recording_pictures(recording: Recording, settings: PictureInputSettings) -> NDArray[np.float16]:
    """(N, 4, rows, columns) picture inputs of a recording's frames."""

    def maps() -> Iterator[NDArray[np.float16]]:
        stream = PictureInput(settings)
        for image, there in zip(recording.images, recording.has_image, strict=True):
            yield stream(image if there else None).astype(np.float16)

    key = f'picture input {picture_input.VERSION}: {settings.size}, background {settings.background_frames}'
    return derived_array(recording, key, maps)
