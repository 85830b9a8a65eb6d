# SPDX-License-Identifier: Apache-2.0
"""What came of the steps of a study: read from their last line of JSON, and kept beside their output."""

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import radio_visual_ssl
from radio_visual_ssl.exit_status import DIVERGED_STATUS
from radio_visual_ssl.study.description import Step
from radio_visual_ssl.whole_file import replacing

State = Literal['finished', 'diverged', 'failed', 'not run']
MARKER = 'done.json'
"""In the folder of a step that has ended well, or has diverged."""
NEEDS = 'needs '
"""How the reason begins of a step that was not run for want of another."""
_CHUNK = 1 << 20  # bytes at the end of a log in which its last line is looked for


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        state: finished: its figures count. diverged: it ended, but nothing was learned. failed: by itself or for want
            of a step that failed.
        result: its last line of JSON.
        reason: why it is not finished.
        seconds: that it took.
        workers: processes that it could use.
        code: hash of the package's code that it ran with.
        removed: whether its output has been removed since.
    """

    state: State
    result: dict[str, Any] = field(default_factory=dict)
    reason: str = ''
    seconds: float = 0.0
    workers: int = 1
    code: str = ''
    removed: bool = False


def read_outcome(folder: Path, step: Step) -> Outcome | None:
    """What is kept of a step, judged by the bounds that the step has now.

    Args:
        folder: of the step.
        step: of the recipe, whose bounds may be others than when it was run.

    Returns:
        None where it has not ended, or not well.
    """
    try:
        content = json.loads((folder / MARKER).read_text(encoding='utf-8'))
        outcome = Outcome(**content['outcome'])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # a command that ended with DIVERGED_STATUS has no result that bounds could be asked about
    return _judged(step, outcome) if outcome.result else outcome


def _judged(step: Step, outcome: Outcome) -> Outcome:
    """Finished or diverged, by the bounds of a step."""
    reasons = _divergence(step, outcome.result)
    return replace(outcome, state='diverged' if reasons else 'finished', reason='; '.join(reasons))


def write_outcome(folder: Path, outcome: Outcome, command: list[str]) -> None:
    """Mark a step as done; in one piece."""
    content = {'command': command, 'version': radio_visual_ssl.__version__, 'outcome': asdict(outcome)}
    write_atomically(folder / MARKER, json.dumps(content, indent=1))


def mark_removed(folder: Path, outcome: Outcome) -> Outcome:
    """Note that the output of a step is no longer there."""
    content = json.loads((folder / MARKER).read_text(encoding='utf-8'))
    changed = replace(outcome, removed=True)
    write_atomically(folder / MARKER, json.dumps({**content, 'outcome': asdict(changed)}, indent=1))
    return changed


def write_atomically(path: Path, text: str) -> Path:
    """Write a file of a folder that is there, whole or not at all; returns its path."""
    # a step whose folder was removed meanwhile is not done: no new folder for it
    with replacing(path, make_folder=False) as temporary:
        temporary.write_text(text, encoding='utf-8')
    return path


def outcome_of(step: Step, status: int, log: Path, begin: int) -> Outcome:
    """What came of a command that has ended.

    Args:
        step: of the recipe.
        status: exit status.
        log: what the command printed.
        begin: byte of it at which this run began.
    """
    with log.open('rb') as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(begin, end - _CHUNK))
        lines = file.read().decode(errors='replace').splitlines()
    said = [line for line in lines if line.strip()]
    if status == DIVERGED_STATUS:
        return Outcome('diverged', reason=said[-1] if said else 'diverged')
    if status != 0:
        ended = f'exit status {status}' if status > 0 else f'killed by signal {-status}'
        return Outcome('failed', reason='\n'.join([ended, *said[-12:]]))
    for line in reversed(said):
        try:
            result = json.loads(line)
        except ValueError:
            continue
        if isinstance(result, dict):
            return _judged(step, Outcome('finished', result))
    last = f', got {said[-1]!r}' if said else ''
    return Outcome('failed', reason=f'expected one JSON object as its last line (--json){last}')


def _divergence(step: Step, result: dict[str, Any]) -> list[str]:
    """Figures out of their bounds."""
    reasons = []
    for path, bounds in step.converged.items():
        try:
            value = lookup(result, path)
        except KeyError as error:
            value, _ = None, error
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (number and bounds.least <= value <= bounds.most):
            expected = f'from {bounds.least:g} to {bounds.most:g}' if math.isfinite(bounds.least + bounds.most) else (
                f'{bounds.least:g} or more' if math.isfinite(bounds.least) else
                f'{bounds.most:g} or less' if math.isfinite(bounds.most) else 'a finite number'
            )  # fmt: skip
            reasons.append(f'{path}: expected {expected}, got {value}')
    return reasons


def lookup(result: Any, path: str) -> Any:
    """A value in nested mappings by keys with points between them; keys may hold points themselves.

    Raises:
        KeyError: there is none; the argument tells what there is.
    """
    if not path:
        return result
    if isinstance(result, dict):
        names = path.split('.')
        for count in range(len(names), 0, -1):
            key = '.'.join(names[:count])
            if key in result:
                return lookup(result[key], '.'.join(names[count:]))
        raise KeyError(f'expected one of {", ".join(map(str, result))}, got {names[0]}')
    raise KeyError(f'expected keys within a mapping, got {path} of {result!r}')


@cache
def code_digest() -> str:
    """Hash of the package's Python files: what was run with one state of them is not mixed unseen with another's."""
    root = Path(radio_visual_ssl.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob('*.py')):
        digest.update(f'{path.relative_to(root)} '.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
