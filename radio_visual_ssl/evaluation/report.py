# SPDX-License-Identifier: Apache-2.0
"""Writes an evaluation as pictures and as one page that holds them all: report.html needs no other file, no network."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from html import escape
from pathlib import Path
from typing import Any

from radio_visual_ssl.evaluation.breakdown import (
    LEAST_TARGETS,
    Confusion,
    GroupFigures,
    per_class,
    per_visibility,
)
from radio_visual_ssl.evaluation.comparison import FIGURES, TITLES, Comparison, Difference
from radio_visual_ssl.evaluation.evaluate import AnyLocalizer, Evaluation
from radio_visual_ssl.evaluation.examples import RULES, Example
from radio_visual_ssl.evaluation.metrics import BESIDE, Metrics
from radio_visual_ssl.evaluation.pictures import draw_example
from radio_visual_ssl.evaluation.plots import (
    draw_bias,
    draw_comparison,
    draw_errors,
    draw_groups,
    draw_maps,
    draw_precision_recall,
    draw_reliability,
)
from radio_visual_ssl.whole_file import replacing

PAGE = 'report.html'
BOUND_NOTE = '>= where a localizer makes fewer with all of its detections: it may find more if it reports more'
_WIDE = 800  # pixels
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 70rem; margin: 0 auto;
  padding: 0 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { font-size: 1.3rem; margin-top: 2.5rem; } h3 { font-size: 1.05rem; }
a { color: #0061a8; } nav ul { columns: 16rem; padding-left: 1.2rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } thead th { border-bottom: 2px solid #888; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; } figcaption { color: #444; max-width: 48rem; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .3rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; background: #f5f5f5; padding: .6rem; font-size: .85rem; }
.note { border-left: 4px solid #e69f00; padding-left: .8rem; }
@media (max-width: 40rem) { figure.wide { overflow-x: auto; } figure.wide img { max-width: none; width: 44rem; }
  th:first-child { white-space: normal; min-width: 5.5rem; } th, td { padding: .25rem .4rem; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"""


@dataclass(frozen=True)
class Picture:
    """One that was drawn elsewhere for the report.

    Attributes:
        path: of a PNG in the report's folder.
        alternative: what it shows, for those who do not see it.
        caption: how to read it.
    """

    path: Path
    alternative: str
    caption: str


@dataclass(frozen=True)
class _Section:
    """Of the page: its anchor, heading and HTML."""

    anchor: str
    heading: str
    body: str


def write_report(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    title: str,
    about: Mapping[str, str],
    localizers: Mapping[str, AnyLocalizer] | None = None,
    examples: Sequence[Example] = (),
    comparison: Comparison | None = None,
    attention: Sequence[Picture] = (),
) -> list[Path]:
    """Draws all pictures of an evaluation and writes them, with all figures, as one page.

    Pictures of an earlier report in the folder that this one does not have are removed.

    Args:
        evaluation: of one or several localizers.
        folder: made if need be; files are replaced one by one, each atomically.
        title: of the page, such as the name of the data.
        about: how it was measured beyond what the evaluation knows (bags, command ...), as text by name.
        localizers: whose settings and checkpoints are told.
        examples: frames to show.
        comparison: of the localizers.
        attention: pictures of what the encoders attend to.

    Returns:
        The page and the pictures.
    """
    folder = Path(folder)
    drawn = {
        'errors': draw_errors(evaluation, folder / 'errors.png'),
        'bias': draw_bias(evaluation, folder / 'bias.png'),
        'maps': draw_maps(evaluation, folder / 'maps.png'),
        'precision_recall': draw_precision_recall(evaluation, folder / 'precision_recall.png'),
        'reliability': draw_reliability(evaluation, folder / 'reliability.png'),
        'groups': draw_groups(evaluation, folder / 'groups.png'),
    }
    if comparison is not None:
        drawn['comparison'] = draw_comparison(comparison, folder / 'comparison.png')
    for example in examples:
        drawn[f'example_{example.name}'] = draw_example(
            example.frame,
            folder / f'example_{example.name}.png',
            view=evaluation.view,
            hit_distance=evaluation.hit_distance,
        )
    files = [*drawn.values(), *(each.path for each in attention)]
    names = [f'example_{rule.name}.png' for rule in RULES]
    for stale in [folder / 'comparison.png', *(folder / name for name in names), *folder.glob('attention_[0-9].png')]:
        if stale not in files:
            stale.unlink(missing_ok=True)
    sections = [
        _Section('figures', 'Figures', _figures(evaluation)),
        *([] if comparison is None else [_Section('comparison', 'Comparison', _compared(comparison, drawn))]),
        _Section('measured', 'How it was measured', _measured(evaluation, about, localizers or {})),
        *_plots(evaluation, drawn),
        _Section('examples', 'Examples', _examples(examples, drawn)),
    ]
    if attention:
        pictures = ''.join(_figure(each.path, each.alternative, each.caption) for each in attention)
        sections.append(_Section('attention', 'Attention of the encoders', pictures))
    page = _write(folder / PAGE, _page(title, evaluation, sections))
    return [page, *files]


def _figures(evaluation: Evaluation) -> str:
    metrics = evaluation.metrics
    rows = [
        ('frames', [str(of.frames) for of in metrics.values()]),
        ('targets', [str(of.targets) for of in metrics.values()]),
        *((what, [_number(getattr(of, field)) for of in metrics.values()]) for what, field in _FIGURE_FIELDS),
    ]
    overall = _table('At the own threshold of each localizer', metrics, rows)
    return overall + _table(f'At equal false alarms; {BOUND_NOTE}', metrics, rows_at_equal_false_alarms(metrics))


_FIGURE_FIELDS = (
    ('recall', 'recall'),
    ('precision', 'precision'),
    ('false alarms per frame', 'false_per_frame'),
    ('false alarms per empty frame', 'false_per_empty_frame'),
    (f'false alarms within {BESIDE:g} m of a target, share', 'false_beside_share'),
    ('average precision', 'ap_2m'),
    ('error to the centre, median (m)', 'median_error_m'),
    ('error to the centre, p90 (m)', 'p90_error_m'),
    ('error to the footprint, median (m)', 'median_footprint_error_m'),
    ('error to the footprint, mean (m)', 'mean_footprint_error_m'),
    ('error to the footprint, p90 (m)', 'p90_footprint_error_m'),
    ('bias in range (m, + too far)', 'bias_range_m'),
    ('bias in azimuth (deg, + too far left)', 'bias_azimuth_deg'),
)


def rows_at_equal_false_alarms(metrics: Mapping[str, Metrics]) -> list[tuple[str, list[str]]]:
    """Name and one text for each localizer of each rate of false alarms, ``>= `` before a lower bound of a recall."""
    some = next(iter(metrics.values()))
    rows = [
        (
            f'recall at {rate} per empty frame',
            [_number(of.recall_at_false[rate], rate in of.recall_at_false_bounds) for of in metrics.values()],
        )
        for rate in some.recall_at_false
    ]
    for rate in some.at_false_per_frame:
        points = [of.at_false_per_frame[rate] for of in metrics.values()]
        rows.append((f'recall at {rate} per frame', [_number(point.recall, point.bound) for point in points]))
        rows.append((f'median error (m) at {rate} per frame', [_number(point.median_error_m) for point in points]))
    return rows


def difference_text(difference: Difference) -> str:
    """Such as ``+0.120 [+0.080, +0.160]``; a dash for what is undefined."""
    if difference.value is None:
        return '-'
    if difference.low is None or difference.high is None:
        return f'{difference.value:+.3f} [-]'
    return f'{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]'


def _compared(comparison: Comparison, drawn: Mapping[str, Path]) -> str:
    rows = [
        (TITLES[figure], [difference_text(of[figure]) for of in comparison.differences.values()]) for figure in FIGURES
    ]
    names = [f'{name} minus {comparison.reference}' for name in comparison.differences]
    return (
        _table('Differences with their intervals', names, rows)
        + _figure(
            drawn['comparison'],
            f'Differences of {" and ".join(comparison.differences)} to {comparison.reference} with intervals.',
            f'{comparison.method}. Full dots: the interval leaves out zero, so that the difference is unlikely to be '
            'an accident of the bags; hollow: it may well be one, or there is no interval. Undefined: one has no hit.',
        )
        + _notes(comparison.notes)
    )


def _measured(evaluation: Evaluation, about: Mapping[str, str], localizers: Mapping[str, AnyLocalizer]) -> str:
    some = next(iter(evaluation.metrics.values()))
    entries = {
        **about,
        'View': f'{evaluation.view}: targets that are seen there count',
        'Hit': f'within {evaluation.hit_distance:g} m of the footprint, one detection for one target',
        'Frames': f'{some.frames}, of which {some.empty_frames} are without a target that counts',
        'Targets': str(some.targets),
    }
    return (
        _list(entries) + _notes(evaluation.notes) + ''.join(_localizer(name, each) for name, each in localizers.items())
    )


def _notes(notes: Sequence[str]) -> str:
    return ''.join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _localizer(name: str, localizer: AnyLocalizer) -> str:
    """Its settings, and of a network where its checkpoint comes from."""
    body, settings, checkpoint = '', getattr(localizer, 'settings', None), getattr(localizer, 'checkpoint', None)
    if checkpoint is not None:
        provenance = checkpoint.provenance
        told = {
            'file': str(checkpoint.path or ''),
            'radar': checkpoint.radar.name,
            **{key: str(value) for key, value in provenance.items() if isinstance(value, (str, int, float))},
            **{key: f'{len(value)}' for key, value in provenance.items() if key in ('bags', 'validation')},
        }
        body += ''.join(
            f'<dt>{escape(key.replace("_", " "))}</dt><dd>{escape(text)}</dd>' for key, text in told.items() if text
        )
        body = f'<dl>{body}</dl>{_details("Provenance of the model, all of it", provenance)}'
    if settings is not None and is_dataclass(settings) and not isinstance(settings, type):
        body += _details('Settings', asdict(settings))
    return f'<h3>Localizer: {escape(name)}</h3>{body}' if body else ''


def _list(entries: Mapping[str, str]) -> str:
    items = ''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in entries.items())
    return f'<dl>{items}</dl>'


def _details(summary: str, content: Any) -> str:
    text = escape(json.dumps(content, indent=1, default=str))
    return f'<details><summary>{summary}</summary><pre>{text}</pre></details>'


def _plots(evaluation: Evaluation, drawn: Mapping[str, Path]) -> list[_Section]:
    who, least = ' and '.join(evaluation.tallies), f'fewer than {LEAST_TARGETS}'
    records = {name: tally.records() for name, tally in evaluation.tallies.items()}
    confusions = {name: Confusion.of(of) for name, of in records.items()}
    tables = _group_table('By class', {name: per_class(of) for name, of in records.items()})
    tables += ''.join(_confusion_table(name, of) for name, of in confusions.items() if of is not None)
    tables += _group_table('By visibility to the camera', {name: per_visibility(of) for name, of in records.items()})
    return [
        _Section('errors', 'Errors', _figure(
            drawn['errors'], f'Curves of the share of targets found within each distance, by {who}.',
            'The share of all targets that a detection finds within a distance; a curve that rises early is precise, '
            'and it ends at the recall.')),
        _Section('bias', 'Bias', _figure(
            drawn['bias'], f'Signed errors in range and azimuth against range, of {who}.',
            'Mean signed error of the hits against range, with a bar over the middle half of them; what is right lies '
            f'on zero. Bins with {least} hits are left out.')),
        _Section('maps', 'Where it works', _figure(
            drawn['maps'], f'Maps of recall and of median error over range and azimuth, of {who}.',
            'In each cell its figure and, small, how many targets (below: hits) it is of; yellow is good; cells with '
            f'{least} show the count alone.')),
        _Section('precision-recall', 'Precision and recall', _figure(
            drawn['precision_recall'], f'Precision against recall as the threshold falls, of {who}.',
            'As the threshold falls, more targets are found at more false alarms; the farther up and right, the '
            'better, and the dot is the own threshold.')),
        _Section('reliability', 'Scores and covariances', _figure(
            drawn['reliability'], f'Reliability of scores and of covariances, of {who}.',
            'Left: of the detections of a score, the share that finds a target; right: the share of hits within the '
            'ellipse that is to hold so many. What is right lies on the diagonal, what is too sure below it.')),
        _Section('groups', 'Classes and visibility', _figure(
            drawn['groups'], f'Recall and median error by class and by visibility, of {who}.',
            'Bars of few targets mean little: their number stands below. Visibility is the share of the target that '
            'the camera sees.') + tables),
    ]  # fmt: skip


def _confusion_table(name: str, confusion: Confusion) -> str:
    """Hits by true class (rows) and by the name that the detection gives (columns)."""
    caption = (
        f'How {name} names the targets that it finds: {100 * confusion.accuracy:.1f} % of {confusion.hits} rightly, '
        f'{100 * confusion.unnamed:.1f} % not at all (rows: true classes)'
    )
    rows = zip(confusion.classes, confusion.counts.tolist(), strict=True)
    return _table(caption, confusion.names, [(one, [str(count) for count in row]) for one, row in rows])


def _group_table(caption: str, groups: Mapping[str, Mapping[str, GroupFigures]]) -> str:
    first = next(iter(groups.values()))
    several = len(groups) > 1
    header = ['targets', *(f'{what}{f", {name}" if several else ""}' for what in ('recall', 'median error (m)')
                           for name in groups)]  # fmt: skip
    rows = [
        (
            group,
            [
                str(first[group].targets),
                *(_number(of[group].recall) for of in groups.values()),
                *(_number(of[group].median_error_m) for of in groups.values()),
            ],
        )
        for group in first
    ]
    return _table(caption, header, rows)


def _examples(examples: Sequence[Example], drawn: Mapping[str, Path]) -> str:
    if not examples:
        return '<p>No frame was judged.</p>'
    rule = (
        '<p>Chosen by fixed rules, stated below each: the first frame of the highest count (or error), from a bag that '
        'has no example yet where there is one. Of several localizers each has its row.</p>'
    )
    return rule + ''.join(
        _figure(
            drawn[f'example_{example.name}'],
            f'Camera picture and radar heatmap from above with targets and detections: {example.reason}.',
            f'{Path(example.bag).name}, stamp {example.frame.frame.stamp_ns * 1e-9:.3f} s. Chosen for: '
            f'{example.reason}.',
            f'<h3>{escape(_HEADINGS[example.name])}</h3>',
        )
        for example in examples
    )


_HEADINGS = {
    'missed': 'Most missed',
    'false_alarms': 'Most false alarms',
    'largest_error': 'Largest error',
    'all_right': 'All right',
    'differ': 'Greatest difference',
    'fullest': 'Most targets',
}


def _figure(picture: Path, alternative: str, caption: str, heading: str = '') -> str:
    content = picture.read_bytes()
    # of two panels, by the header of the PNG: too much for the width of a phone
    wide = ' class="wide"' if int.from_bytes(content[16:20], 'big') > _WIDE else ''
    data = base64.b64encode(content).decode('ascii')
    return (
        f'{heading}<figure{wide}><img alt="{escape(alternative)}" src="data:image/png;base64,{data}">'
        f'<figcaption>{escape(caption)}</figcaption></figure>\n'
    )


def _table(caption: str, columns: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    header = ''.join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = ''.join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(text)}</td>" for text in texts)}</tr>\n'
        for name, texts in rows
    )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr><th></th>{header}</tr></thead>\n'
        f'<tbody>{body}</tbody></table></div>\n'
    )


def _number(value: float | None, bound: bool = False) -> str:
    return '-' if value is None else f'{">= " if bound else ""}{value:.3f}'


def _page(title: str, evaluation: Evaluation, sections: Sequence[_Section]) -> str:
    contents = ''.join(f'<li><a href="#{each.anchor}">{escape(each.heading)}</a></li>' for each in sections)
    body = '\n'.join(
        f'<section><h2 id="{each.anchor}">{escape(each.heading)}</h2>\n{each.body}</section>' for each in sections
    )
    heading = f'Evaluation of {" and ".join(evaluation.tallies)} on {title}'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(heading)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(heading)}</h1>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main>
{body}
</main>
</body>
</html>
"""


def _write(path: Path, text: str) -> Path:
    """The file is either the old one or complete."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')
    return path
