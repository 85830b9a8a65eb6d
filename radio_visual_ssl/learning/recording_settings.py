# SPDX-License-Identifier: Apache-2.0
"""What of a bag is used for learning."""

from dataclasses import dataclass, field

from radio_visual_ssl.bags.metadata import BagError
from radio_visual_ssl.vision.mask_settings import MaskSettings

MOTION, NO_MASKS = 'motion', 'none'


class RecordingError(BagError):
    """A bag that cannot be learned from; the message names it, what it holds and what was expected."""


@dataclass(frozen=True)
class RecordingSettings:
    """What of a bag is used.

    Attributes:
        radar_topic: heatmaps or cubes; None = that of the bag's own pairs, or what ``BagReader.radar_topic`` finds.
        image_topic: raw or compressed images; None = that of the bag's own pairs, or the default name.
        slop_s: s, largest distance of a radar frame and its image, where the bag has no pairs of its own.
        image_offset_s: s, added to the image stamps; None = the bag's own pairs where it has an index of them.
        image_width: px, of the stored pictures; smaller ones keep their size.
        masks: ``motion``: what moves before a static camera; ``none``; else a topic with recorded masks
            (sensor_msgs/Image of instance numbers) or boxes (vision_msgs/Detection2DArray) of the same images.
        mask_settings: of ``motion``.
        camera_pose: name shared by the bags in which the camera stood alike, so that one map from places in the picture
            to places on the ground holds for them; empty = this bag's alone.
        wrong_masks: share of the masks that are exchanged with masks of other frames of the bag, to study what wrong
            ones cost.
    """

    radar_topic: str | None = None
    image_topic: str | None = None
    slop_s: float = 0.05
    image_offset_s: float | None = None
    image_width: int = 160
    masks: str = MOTION
    mask_settings: MaskSettings = field(default_factory=MaskSettings)
    camera_pose: str = ''
    wrong_masks: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.slop_s >= 0:
            raise ValueError(f'slop_s: expected 0 s or more, got {self.slop_s} s')
        if self.image_width < 8:
            raise ValueError(f'image_width: expected 8 px or more, got {self.image_width} px')
        if not self.masks:
            raise ValueError(f"masks: expected '{MOTION}', '{NO_MASKS}' or a topic, got nothing")
        if not 0 <= self.wrong_masks <= 1:
            raise ValueError(f'wrong_masks: expected a share from 0 to 1, got {self.wrong_masks}')
