# SPDX-License-Identifier: Apache-2.0
"""How pictures of a static camera are segmented."""

from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal['median', 'mog2', 'knn']
Shadows = Literal['auto', 'remove', 'keep']


@dataclass(frozen=True)
class MaskSettings:
    """How pictures are segmented. Lengths and areas are relative to the picture, so that they fit every size.

    Attributes:
        method: kind of background, see `radio_visual_ssl.vision.background`.
        shadows: ``auto``: those of the ratio that the clip shows; ``remove``: whatever is darker than the background
            and of its hue; ``keep``: shadows belong to the target.
        threshold: of ``median``, standard deviations by which a pixel must differ from the background.
        sure_threshold: likewise, that at least one pixel of each blob must reach.
        contrast: of ``median``, part of the strongest difference nearby that a pixel must reach: edges stay sharp.
        background_frames: frames that ``median`` keeps of a clip, evenly over its length.
        history: frames that ``mog2`` and ``knn`` remember; offline at least the whole clip.
        warm_up: live, frames before the first masks.
        drift: live, grey levels by which ``median`` follows in each frame.
        exposure: whether a change of all of the picture's brightness by one factor is undone.
        jump: share of changed pixels from which a picture gives no masks.
        patience: live, jumps in a row after which the background is learned afresh.
        smallest: share of the picture below which a blob is noise.
        closing: part of the picture's height over which gaps are closed.
        separate: whether blobs with a narrow bridge are cut in two.
        working_width: px; larger pictures are segmented at this width.
    """

    method: Method = 'median'
    shadows: Shadows = 'auto'
    threshold: float = 4.0
    sure_threshold: float = 8.0
    contrast: float = 0.3
    background_frames: int = 60
    history: int = 500
    warm_up: int = 25
    drift: float = 0.1
    exposure: bool = True
    jump: float = 0.5
    patience: int = 10
    smallest: float = 0.0002
    closing: float = 0.02
    separate: bool = True
    working_width: int = 640

    def __post_init__(self) -> None:
        """Check the values."""
        for name, choice in (('method', Method), ('shadows', Shadows)):
            if getattr(self, name) not in get_args(choice):
                raise ValueError(f'{name}: expected one of {", ".join(get_args(choice))}, got {getattr(self, name)!r}')
        for name in ('background_frames', 'history', 'warm_up', 'patience', 'working_width'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name}: expected a whole number from 1 on, got {getattr(self, name)}')
        for name in ('contrast', 'jump', 'smallest', 'closing'):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f'{name}: expected a share from 0 to 1, got {getattr(self, name)}')
        if not 0 < self.threshold <= self.sure_threshold:
            got = f'{self.threshold} and {self.sure_threshold}'
            raise ValueError(f'threshold: expected one above 0 and at most sure_threshold, got {got}')
        if self.drift < 0:
            raise ValueError(f'drift: expected 0 grey levels or more, got {self.drift}')
