# SPDX-License-Identifier: Apache-2.0
"""Which recordings are trained on, and which choose the epoch."""

from collections.abc import Sequence
from typing import NamedTuple

from radio_visual_ssl.learning.recordings import Recording
from radio_visual_ssl.learning.training_run import TrainingError

_FEWEST = 3


class Parts(NamedTuple):
    """Recordings parted in two.

    Attributes:
        training: to be trained on.
        validation: that choose the epoch.
        until: share of each of ``training`` that is trained on, from its beginning; 1 where ``validation`` are others.
    """

    training: list[Recording]
    validation: list[Recording]
    until: float

    @property
    def training_span(self) -> tuple[float, float]:
        """Share of each recording from which to which it is trained on."""
        return 0.0, self.until

    @property
    def validation_span(self) -> tuple[float, float]:
        """Share of each recording from which to which it is validated on."""
        return (self.until if self.until < 1 else 0.0), 1.0


def hold_out(recordings: Sequence[Recording], validation: Sequence[Recording], share: float) -> Parts:
    """Part recordings into those to train on and those that choose the epoch.

    Args:
        recordings: to be trained on; where ``validation`` is empty, some of them are held out, spread over all, and of
            fewer than three the end of each.
        validation: that are not trained on.
        share: of the recordings that are held out, above 0 and below 1.

    Raises:
        TrainingError: no recordings, or one twice; the message names it.
    """
    if not recordings:
        raise TrainingError('recordings: expected at least one to train on, got none')
    twice = {each.content for each in recordings} & {each.content for each in validation}
    if twice:
        name = next(each.name for each in validation if each.content in twice)
        raise TrainingError(f'{name}: expected recordings for training or for validation, got this one for both')
    for some in (recordings, validation):
        seen: dict[str, str] = {}
        for each in some:
            if each.content in seen:
                raise TrainingError(f'{each.name}: expected each bag once, got the content of {seen[each.content]}')
            seen[each.content] = each.name
    if validation:
        return Parts(list(recordings), list(validation), 1.0)
    if len(recordings) < _FEWEST:
        return Parts(list(recordings), list(recordings), 1 - share)
    count = max(round(len(recordings) * share), 1)
    chosen = {round((place + 0.5) * len(recordings) / count - 0.5) for place in range(count)}
    others = [each for number, each in enumerate(recordings) if number in chosen]
    return Parts([each for number, each in enumerate(recordings) if number not in chosen], others, 1.0)


def contents(recordings: Sequence[Recording]) -> dict[str, str]:
    """Content of each recording by name; names that several have are told apart by their content."""
    by_content = {each.content: each.name for each in recordings}
    names = list(by_content.values())
    return {
        name if names.count(name) == 1 else f'{name}@{content[:8]}': content for content, name in by_content.items()
    }
