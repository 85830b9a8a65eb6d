# SPDX-License-Identifier: Apache-2.0
"""Pictures of frames and errors are complete PNG files with the marks where they belong."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from radio_visual_ssl.bags.reader import Frame
from radio_visual_ssl.evaluation.evaluate import evaluate_frames
from radio_visual_ssl.evaluation.pictures import draw_frame, draw_panels, table_rows
from radio_visual_ssl.evaluation.plots import draw_errors, draw_reliability
from radio_visual_ssl.evaluation.tally import Tally
from radio_visual_ssl.radar.grid import PolarGrid
from radio_visual_ssl.radar.heatmap import Heatmap
from radio_visual_ssl.radar.target import Target
from radio_visual_ssl.vision.camera import CameraModel

GRID = PolarGrid(np.arange(0.0, 40.0, 0.5), np.radians(np.arange(-80.0, 81.0, 2.0)))
REAR_GRID = PolarGrid(GRID.range, GRID.azimuth + np.pi)
ROUND_GRID = PolarGrid(np.arange(0.0, 40.0, 0.5), np.radians(np.arange(-180.0, 179.0, 2.0)), wraps=True)
CAMERA = CameraModel(200, 100, np.array([[100.0, 0, 99.5], [0, 100, 49.5], [0, 0, 1]]))
CAR = Target(20.0, 3.0, -1.0, size=(4.0, 2.0, 1.5), heading=0.3, in_camera_view=True, in_radar_view=True)


class Fixed:
    """A localizer that always says the same."""

    def __init__(self, detections):
        self.detections = detections

    def localize(self, heatmap):
        return self.detections

    def reset(self):
        pass


DETECTIONS = [Target(20.5, 3.2, score=0.9), Target(10.0, -2.0, score=0.4), Target(5.0, 20.0, score=0.2)]


def heatmap(grid=GRID):
    values = np.random.default_rng(1).normal(0, 2, grid.shape).astype(np.float32)
    return Heatmap(values, grid)


def metrics():
    tally = Tally()
    tally.add(DETECTIONS, [CAR])
    return tally.metrics()


def picture(path):
    loaded = cv2.imread(str(path))
    assert loaded is not None
    return cv2.cvtColor(loaded, cv2.COLOR_BGR2RGB)


def has_colour(image, colour):
    wanted = np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)])
    return bool(np.any(np.all(np.abs(image.astype(int) - wanted) < 6, axis=2)))


def test_a_frame_shows_hits_and_false_alarms(tmp_path):
    image = np.full((100, 200, 3), 90, np.uint8)
    out = draw_frame(
        image, heatmap(), DETECTIONS, [CAR], CAMERA, out=tmp_path / 'new' / 'frame.png', metrics=metrics(), title='x'
    )
    drawn = picture(out)
    assert out == tmp_path / 'new' / 'frame.png'
    assert drawn.shape[1] > 1000
    for colour in ('#56B4E9', '#F0E442', '#D55E00'):
        assert has_colour(drawn, colour)
    assert not has_colour(drawn[:, : drawn.shape[1] // 2], '#E69F00')
    assert [path.name for path in out.parent.iterdir()] == ['frame.png']


@pytest.mark.parametrize('max_range', [None, 25.0])
def test_the_legends_of_the_views_from_above_hide_nothing(max_range):
    figure = Figure(figsize=(13.2, 10.8), dpi=80, layout='constrained')
    FigureCanvasAgg(figure)
    parts = figure.subfigures(2, 1)
    for part in parts:
        draw_panels(*part.subplots(1, 2), np.full((100, 200, 3), 90, np.uint8), heatmap(), DETECTIONS, [CAR], CAMERA,
                    max_range=max_range)  # fmt: skip
    figure.canvas.draw()
    for part in parts:
        (legend,) = (each.get_window_extent() for each in part.legends)
        below = min(axes.get_tightbbox().y0 for axes in part.axes)
        assert part.bbox.y0 <= legend.y0 < legend.y1 <= below + 1
        assert part.bbox.x0 <= legend.x0 and legend.x1 <= part.bbox.x1


def test_a_missed_target_is_marked(tmp_path):
    drawn = picture(draw_frame(None, heatmap(), [], [CAR], CAMERA, out=tmp_path / 'frame.png'))
    assert has_colour(drawn, '#E69F00')


@pytest.mark.parametrize('grid', [GRID, ROUND_GRID, REAR_GRID], ids=['sector', 'all round', 'backwards'])
@pytest.mark.parametrize('camera', [CAMERA, None], ids=['camera', 'no camera'])
def test_pictures_need_neither_image_nor_truth_nor_camera(tmp_path, grid, camera):
    out = draw_frame(None, heatmap(grid), DETECTIONS, None, camera, out=tmp_path / 'frame.png', max_range=25.0)
    assert picture(out).std() > 10


def test_an_old_picture_is_replaced(tmp_path):
    path = tmp_path / 'frame.png'
    path.write_text('old')
    draw_frame(None, heatmap(), [], None, out=path)
    assert picture(path).size > 0


def test_error_curves_of_several_localizers(tmp_path):
    frames = [Frame(0, 'radar', heatmap(), truth=[CAR])]
    evaluation = evaluate_frames(frames, {'one': Fixed(DETECTIONS), 'none': Fixed([])})
    drawn = picture(draw_errors(evaluation, tmp_path / 'errors.png', 'errors'))
    assert has_colour(drawn, '#0072B2')
    assert has_colour(drawn, '#D55E00')


def test_reliability_is_drawn_of_each_localizer_of_one_without_detections_too(tmp_path):
    sure = [replace(detection, covariance=np.eye(2)) for detection in DETECTIONS]
    frames = [Frame(0, 'radar', heatmap(), truth=[CAR])]
    evaluation = evaluate_frames(frames, {'one': Fixed(sure), 'none': Fixed([])})
    drawn = picture(draw_reliability(evaluation, tmp_path / 'reliability.png', 'reliability'))
    assert has_colour(drawn, '#0072B2')
    assert not has_colour(drawn, '#D55E00')


def test_tables_show_a_dash_for_undefined_figures():
    header, row = table_rows(Tally().metrics())
    assert len(header) == len(row)
    assert row[:3] == ['0', '0', '-']
    named = table_rows({'cfar': metrics(), 'other': metrics()})
    assert [row[0] for row in named] == ['', 'cfar', 'other']
