# SPDX-License-Identifier: Apache-2.0
"""The report is one page that holds everything itself."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np

from radio_visual_ssl.bags.reader import Frame
from radio_visual_ssl.evaluation.comparison import Difference, compare
from radio_visual_ssl.evaluation.evaluate import evaluate_frames
from radio_visual_ssl.evaluation.examples import ExampleChooser
from radio_visual_ssl.evaluation.pictures import draw_frame
from radio_visual_ssl.evaluation.report import Picture, difference_text, rows_at_equal_false_alarms, write_report
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

GRID = PolarGrid(np.arange(0.0, 40.0, 0.5), np.radians(np.arange(-80.0, 81.0, 2.0)))
CAMERA = CameraModel(200, 100, np.array([[100.0, 0, 99.5], [0, 100, 49.5], [0, 0, 1]]))


class Scripted:
    """Finds the truth of each frame, given beforehand, with an error and a share of misses."""

    needs_velocity = False

    def __init__(self, truths, error, share, seed):
        random = np.random.default_rng(seed)
        self.script = [
            [
                Target(
                    each.x + random.normal(0, error),
                    each.y,
                    covariance=np.eye(2) * error**2,
                    score=random.random(),
                    label='car' if seed else '',
                )
                for each in truth
                if random.random() < share
            ]
            + [Target(5.0, 1.0, score=0.1)] * int(random.random() < 0.3)
            for truth in truths
        ]

    def reset(self):
        self.next = iter(self.script)

    def localize(self, heatmap):
        return next(self.next)


def evaluated(names=('cfar', '<b>net</b>'), empty=False):
    random, truths = np.random.default_rng(0), []
    for _ in range(60):
        truths.append([] if empty else [
            Target(random.uniform(8, 35), random.uniform(-5, 5), label=random.choice(['car', 'pedestrian']),
                   visibility=random.random(), size=(1.0, 1.0, 1.5), heading=0.0, in_camera_view=True)
            for _ in range(random.integers(4))
        ])  # fmt: skip
    values = random.normal(0, 2, GRID.shape).astype(np.float32)
    frames = [
        Frame(index * 1_000_000_000, 'radar', Heatmap(values, GRID), np.full((100, 200, 3), 90, np.uint8), truth=truth)
        for index, truth in enumerate(truths)
    ]
    localizers = {
        name: Scripted(truths, 0.3 + 0.3 * index, 0.5 + 0.4 * index, index) for index, name in enumerate(names)
    }
    chooser = ExampleChooser()
    evaluation = evaluate_frames(
        frames, localizers, camera=CAMERA, on_frame=lambda frame: chooser.add('bags/lot_1', frame)
    )
    return evaluation, chooser.chosen()[1:3]  # each takes a second to draw


class Page(HTMLParser):
    """Collects what a page is made of, and that its tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ''
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ('meta', 'img'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_holds_every_picture_and_needs_nothing_else(tmp_path):
    evaluation, examples = evaluated()
    files = write_report(
        evaluation, tmp_path / 'new', title='a & b', about={'Command': 'evaluate "x" <y>'}, examples=examples,
        comparison=compare(evaluation.tallies, evaluation.recordings, resamples=200),
    )  # fmt: skip
    assert sorted(tmp_path.joinpath('new').iterdir()) == sorted(files)
    text = files[0].read_text()
    page = Page(text)
    assert not page.all('script') and not page.all('link')
    assert re.findall(r'(?:https?:)?//[a-z]', re.sub(r'base64,[^"]*', '', text)) == []
    pictures = page.all('img')
    assert len(pictures) == len(files) - 1
    for picture in pictures:
        content = base64.b64decode(picture['src'].removeprefix('data:image/png;base64,'), validate=True)
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).std() > 5
        assert len(picture['alt']) > 20
    anchors = [link['href'].removeprefix('#') for link in page.all('a')]
    assert anchors == [heading['id'] for heading in page.all('h2')]
    assert len(anchors) == 10
    for wanted in (
        'a & b', 'evaluate "x" <y>', 'average precision', 'recall at 0.1 per frame', '75-100 %', 'pedestrian',
        'How <b>net</b> names the targets that it finds',
        '<b>net</b> minus cfar', 'of the paired bootstrap: 200 resamples of 8 stretches of 8 s',
        'unlikely to be an accident of the bags', 'the same, of the targets that both find (m)',
        'within 2 m of the footprint', 'lot_1, stamp', 'Chosen for: most false alarms',
    ):  # fmt: skip
        assert wanted in page.text
    figures = evaluation.metrics
    assert f'recall{figures["cfar"].recall:.3f}{figures["<b>net</b>"].recall:.3f}' in page.text


def test_one_localizer_without_targets_has_a_report_too_and_old_pictures_go(tmp_path):
    evaluation, examples = evaluated(('cfar',), empty=True)
    (tmp_path / 'comparison.png').write_bytes(b'old')
    (tmp_path / 'example_differ.png').write_bytes(b'old')
    (tmp_path / 'attention_2.png').write_bytes(b'old')
    (tmp_path / 'mine.png').write_bytes(b'kept')
    seen = Picture(draw_frame(None, Heatmap(np.zeros(GRID.shape, np.float32), GRID), [], None,
                              out=tmp_path / 'attention_1.png'), 'what is seen', 'as it is')  # fmt: skip
    files = write_report(evaluation, tmp_path, title='x', about={}, examples=examples[:1], attention=[seen])
    assert sorted(tmp_path.iterdir()) == sorted([*files, tmp_path / 'mine.png'])
    page = Page(files[0].read_text())
    assert 'Comparison' not in page.text
    assert 'Attention of the encoders' in page.text and 'as it is' in page.text
    assert 'of which 60 are without a target' in page.text
    assert len(page.all('img')) == len(files) - 1


def test_a_lower_bound_of_a_recall_is_told_from_a_recall():
    tally, silent = Tally(), Tally()
    for each in (tally, silent):
        each.add([Target(9.0, 0.0, score=0.5)], [Target(10.0, 0.0, in_camera_view=True)])
    tally.add([Target(10.0, 0.0, score=0.6)], [])
    silent.add([], [])
    rows = dict(rows_at_equal_false_alarms({'loud': tally.metrics(), 'quiet': silent.metrics()}))
    assert rows['recall at 0.05 per empty frame'] == ['0.000', '>= 1.000']
    assert rows['recall at 0.5 per frame'] == ['1.000', '>= 1.000']
    assert rows['median error (m) at 0.1 per frame'] == ['-', '1.000']


def test_differences_are_signed_and_a_dash_where_undefined():
    assert difference_text(Difference(0.12, 0.08, 0.161)) == '+0.120 [+0.080, +0.161]'
    assert difference_text(Difference(-0.1, None, None)) == '-0.100 [-]'
    assert difference_text(Difference(None, None, None)) == '-'
