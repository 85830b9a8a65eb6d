# SPDX-License-Identifier: Apache-2.0
"""Chooses the few frames of an evaluation that are shown: the worst, the fullest, and one where all is right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from radio_visual_ssl.evaluation.evaluate import EvaluatedFrame
from radio_visual_ssl.evaluation.metrics import FrameMatch


@dataclass(frozen=True, eq=False)
class Example:
    """A frame that is shown.

    Attributes:
        name: of what it is an example; also of its file.
        bag: where it comes from.
        frame: as evaluated.
        reason: why it was chosen, one sentence.
    """

    name: str
    bag: str
    frame: EvaluatedFrame
    reason: str


@dataclass(frozen=True)
class _Rule:
    """What to look for.

    Attributes:
        name: of the example.
        reason: with the rank's value as ``{value}``.
        rank: of a frame by the matches of all localizers; None: not a candidate.
    """

    name: str
    reason: str
    rank: Callable[[Sequence[FrameMatch]], float | None]


def _positive(value: float) -> float | None:
    return value if value > 0 else None


def _largest_error(matches: Sequence[FrameMatch]) -> float | None:
    errors = [
        ((found.x - target.x) ** 2 + (found.y - target.y) ** 2) ** 0.5
        for match in matches
        for found, target in match.hits
    ]
    return max(errors, default=None)


def _targets_all_right(matches: Sequence[FrameMatch]) -> float | None:
    right = all(not match.misses and not match.false for match in matches)
    return _positive(matches[0].targets) if right else None


def _spread(matches: Sequence[FrameMatch]) -> float | None:
    hits = [len(match.hits) for match in matches]
    return _positive(max(hits) - min(hits))


RULES = (
    _Rule('missed', 'most targets missed, all localizers together: {value:.0f}',
          lambda matches: _positive(sum(len(match.misses) for match in matches))),
    _Rule('false_alarms', 'most false alarms, all localizers together: {value:.0f}',
          lambda matches: _positive(sum(len(match.false) for match in matches))),
    _Rule('largest_error', 'largest error of a hit to the centre: {value:.2f} m', _largest_error),
    _Rule('all_right', 'most targets where every localizer finds all and nothing else: {value:.0f}',
          _targets_all_right),
    _Rule('differ', 'localizers differ most in the number of hits: by {value:.0f}', _spread),
    _Rule('fullest', 'most targets in view: {value:.0f}', lambda matches: float(matches[0].targets)),
)  # fmt: skip


class ExampleChooser:
    """Keeps the candidates while the frames of an evaluation go by: of each rule the best frame of each of few bags.

    At most `MOST_FRAMES` are held, whatever is evaluated.
    """

    def __init__(self) -> None:
        self._best: list[dict[str, tuple[tuple[bool, float, int], EvaluatedFrame]]] = [{} for _ in RULES]
        self._frames = 0

    def add(self, bag: str, frame: EvaluatedFrame) -> None:
        """Looks at one more frame; one that was not judged is passed over."""
        if not frame.matches:
            return
        matches = list(frame.matches.values())
        self._frames += 1
        for number, (rule, best) in enumerate(zip(RULES, self._best, strict=True)):
            value = rule.rank(matches)
            if value is None:
                continue
            rank = (frame.frame.image is not None, value, -self._frames)
            if bag in best and best[bag][0] > rank:
                continue
            best[bag] = rank, frame
            if len(best) > number + 1:  # the rules before this one take no more bags than that
                del best[min(best, key=lambda name: best[name][0])]

    def chosen(self) -> list[Example]:
        """The examples, at most one for each of `RULES`, in their order.

        Each is the best frame by its rule of the bags that have none yet, or else of all; a frame with an image goes
        before one without, an earlier one before its equals. No frame is chosen twice.
        """
        examples: list[Example] = []
        for rule, kept in zip(RULES, self._best, strict=True):
            # a frame without targets is shown where no frame has any, and not for the sake of another bag
            best = {bag: entry for bag, entry in kept.items() if entry[0][1] > 0} or kept
            free = {
                bag: entry for bag, entry in best.items() if all(entry[1] is not example.frame for example in examples)
            }
            unused = [bag for bag in free if all(bag != example.bag for example in examples)]
            if free:
                bag = max(unused or free, key=lambda name: free[name][0])
                (_, value, _), frame = free[bag]
                reason = rule.reason.format(value=value)
                if best[bag][0] < max(rank for rank, _ in best.values()):
                    reason += ', where no example above is from'
                examples.append(Example(rule.name, bag, frame, reason))
        return examples


MOST_FRAMES = sum(range(1, len(RULES) + 1))
"""That `ExampleChooser` holds."""
