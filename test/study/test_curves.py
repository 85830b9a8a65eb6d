# SPDX-License-Identifier: Apache-2.0
"""Curves show runs that were lost, and no spread where there is none; curves that are not drawn any more are gone."""

import json

import pytest
from matplotlib.axes import Axes

from radio_visual_ssl.study import curves
from radio_visual_ssl.study.curves import draw_results
from radio_visual_ssl.study.outcomes import Outcome
from radio_visual_ssl.study.results import Results


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the pictures, by name."""
    pictures: dict[str, Axes] = {}
    save = curves.save_figure

    def keep(figure, path):
        pictures[path.stem] = figure.axes[0]
        return save(figure, path)

    monkeypatch.setattr(curves, 'save_figure', keep)
    return pictures


def results_of(workshop, judged, **restrictions):
    """Results whose judge said a number, diverged (None), at each (size, seed)."""
    plan = workshop.plan(**restrictions)
    outcomes = {folder: Outcome('finished', {}) for folder in plan.steps}
    for (point, seed, name), folder in plan.of.items():
        if name == 'judge':
            value = judged[point, seed]
            result = {'value': value, 'nested': {'0.1': {'value': value}}}
            outcomes[folder] = Outcome('diverged') if value is None else Outcome('finished', result)
    return Results.collect(plan, outcomes)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def crosses(axes):
    """Places of the crosses, in the coordinates of the picture, and those of the axes' corners."""
    found = [line for line in axes.lines if line.get_marker() == 'x']
    return [tuple(line.get_transform().transform((line.get_xdata()[0], line.get_ydata()[0]))) for line in found]


def bars(axes):
    """Segments of the error bars that have a length."""
    ends = [segment for container in axes.containers for bar in container[2] for segment in bar.get_segments()]
    return [segment for segment in ends if len(segment) == 2]


def caps(axes):
    return [
        place for container in axes.containers for cap in container[1] for place in zip(*cap.get_data(), strict=True)
        if all(value == value for value in place)
    ]  # fmt: skip


def test_lost_runs_are_told_and_a_point_without_any_is_a_cross_at_the_axis(workshop, drawn, tmp_path):
    workshop.content['axes'][0]['values'] = [1, 2, 3]
    judged = {(0, seed): 1.0 + seed for seed in range(3)} | {(1, seed): None for seed in range(3)}
    judged |= {(2, 0): 5.0, (2, 1): None, (2, 2): None}
    draw_results(results_of(workshop, judged), tmp_path)
    axes = drawn['sum']
    assert texts(axes) == ['3 of 3 lost', '2 of 3 lost']
    (cross,) = crosses(axes)
    assert cross == pytest.approx((axes.transData.transform((2, 0))[0], axes.bbox.y0))
    # the line does not lead over the point that was lost
    means = axes.containers[0][0].get_ydata()
    assert means[0] == 2.0
    assert means[1] != means[1]
    assert means[2] == 5.0
    # a bar of the first point alone: of the third there is one run
    (bar,) = bars(axes)
    assert [tuple(end) for end in bar] == [(1, 1.0), (1, 3.0)]
    assert {x for x, _ in caps(axes)} == {1.0}


def test_rows_tell_lost_runs_too(workshop, drawn, tmp_path):
    workshop.content['axes'] = []
    workshop.content['settings'] = {'size': 1}
    workshop.content['recipe']['other'] = {**workshop.content['recipe']['judge'], 'run': 'other {train.out}'}
    workshop.content['series'] = {'mine': {'judged': 'judge'}, 'theirs': {'judged': 'other'}}
    workshop.content['figures'] = [{'name': 'sum', 'value': 'judged.value'}]
    plan = workshop.plan()
    outcomes = {folder: Outcome('diverged') for folder in plan.steps}
    outcomes[plan.of[0, 1, 'judge']] = Outcome('finished', {'value': 7.0})
    draw_results(Results.collect(plan, outcomes), tmp_path)
    axes = drawn['sum']
    assert texts(axes) == ['2 of 3 lost', '3 of 3 lost']
    (cross,) = crosses(axes)
    assert cross == pytest.approx((axes.bbox.x0, axes.transData.transform((0, 1))[1]))
    assert bars(axes) == []
    assert caps(axes) == []


def test_a_part_leaves_the_results_of_the_whole_alone_and_curves_not_drawn_any_more_are_removed(workshop, tmp_path):
    out = tmp_path / 'out'

    def write(judged, **restrictions):
        results = results_of(workshop, judged, **restrictions)
        place = out / results.plan.results_folder
        results.write(place, draw_results(results, place))
        return place

    everything = {(point, seed): 1.0 for point in range(2) for seed in range(3)}
    whole = write(everything)
    assert whole == out / 'sums'
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert set(before) == {'results.json', 'results.md', 'sum.png', 'half.png'}
    place = write({(0, 0): 3.0}, only={'size': ['1']}, seeds=[0])
    assert {path.name: path.read_bytes() for path in whole.iterdir() if path.is_file()} == before
    assert (place / 'results.md').read_text().startswith('# Sums (only size=1, seeds 0)\n')
    assert json.loads((place / 'results.json').read_text())['restriction'] == 'size=1, seeds 0'
    # a figure that is not drawn any more, also where earlier results did not list their curves; others' files stay
    (whole / 'mine.png').touch()
    content = json.loads((whole / 'results.json').read_text())
    assert content.pop('curves') == ['sum.png', 'half.png']
    (whole / 'results.json').write_text(json.dumps(content))
    workshop.content['figures'][1]['curve'] = False
    write(everything)
    assert {path.name for path in whole.glob('*.png')} == {'sum.png', 'mine.png'}
    workshop.content['figures'] = [{'name': 'other', 'value': 'judge.value'}]
    write(everything)
    assert {path.name for path in whole.glob('*.png')} == {'other.png', 'mine.png'}
